"""The command line: what it prints, what it refuses, and that being watched changes nothing in a fit."""

import gzip
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp import MLPClassifier
from fastmlp.__main__ import main
from fastmlp.demo import (
    DEMOS,
    DataError,
    Interrupted,
    Result,
    display,
    fit_watched,
    load_digits,
    load_mnist,
    read_idx,
    table,
)

IDX_CODES = {"uint8": 0x08, "int32": 0x0C, "float64": 0x0E}


def idx(array):
    """`array` as the content of an idx file."""
    head = bytes([0, 0, IDX_CODES[array.dtype.name], array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def mnist_folder(tmp_path):
    """Four small idx files: two gzipped, two not."""
    random = np.random.default_rng(0)
    for part, rows in (("train", 60), ("t10k", 20)):
        labels = (np.arange(rows) % 10).astype(np.uint8)
        images = random.integers(0, 256, (rows, 4, 3), dtype=np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


@pytest.fixture(params=[True, False], ids=["rich", "plain"])
def rich(request, monkeypatch):
    """With rich, and as if it were not installed."""
    if request.param:
        pytest.importorskip("rich")
    else:
        for name in ("rich", "rich.console", "rich.progress", "rich.table"):
            monkeypatch.setitem(sys.modules, name, None)
    return request.param


def test_demo_ends_with_a_table(rich, capsys):
    assert main(["demo", "--epochs", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits: 1,347 rows of 64 pixels (float32) to train on, 450 to test on"
    assert lines[1].startswith("compiling kernels (once; cached at ")
    head = next(line for line in lines if "test accuracy" in line)
    assert all(word in head for word in ("seconds", "epochs", "ratio"))
    for side in ("fastmlp", "scikit-learn"):
        row = next(line for line in lines[lines.index(head) :] if side in line)
        assert " 3 " in row
        assert "%" in row
        assert "×" in row


def test_demo_on_mnist(mnist_folder, capsys):
    assert main(["demo", "digits", "--mnist", str(mnist_folder), "--epochs", "2"]) == 0
    assert "MNIST: 60 rows of 12 pixels (float32) to train on, 20 to test on" in capsys.readouterr().out


def test_demo_reads_the_real_mnist(data_folder):
    data = load_mnist(data_folder / "mnist")
    assert data.X_train.shape == (60000, 784)
    assert data.X_test.shape == (10000, 784)
    assert data.X_train.dtype == np.float32
    assert (data.X_train.min(), data.X_train.max()) == (0, 1)
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_a_watched_fit_is_the_same_fit():
    data = load_digits()
    watched, alone = (MLPClassifier((8,), max_iter=5, random_state=0) for _ in range(2))
    result = fit_watched(watched, data, "fastmlp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone.fit(data.X_train, data.y_train)
    assert result.epochs == 5
    assert result.accuracy == alone.score(data.X_test, data.y_test)
    for ours, theirs in zip(watched.coefs_, alone.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_ctrl_c_during_a_fit_ends_the_demo(monkeypatch, capsys):
    class Stopped(MLPClassifier):
        def fit(self, X, y):
            super().fit(X, y)
            warnings.warn("Training interrupted by user.", stacklevel=2)
            return self

    monkeypatch.setattr(fastmlp, "MLPClassifier", Stopped)
    with pytest.raises(Interrupted):
        fit_watched(Stopped((4,), max_iter=1), load_digits(), "fastmlp")
    assert main(["demo", "--epochs", "1"]) == 130
    assert capsys.readouterr().err == "fastmlp: interrupted\n"


def test_lines_come_once_a_second(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("fastmlp.demo.time", types.SimpleNamespace(monotonic=lambda: now[0]))
    with display("fastmlp  ", 100, 50) as screen:
        for second, epochs, loss in [(0.5, 1, 3.0), (1.0, 2, 2.0), (1.5, 3, 1.5), (2.5, 2, 2.0)]:
            now[0] = second
            screen.update(epochs, 0, loss)
        screen.update(3, 0, 1.0)
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["fastmlp  epoch    2   loss 2.0000", "fastmlp  epoch    3   loss 1.0000"]


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with display("fastmlp  ", 7, 50) as screen:
        screen.update(0, 0, None)
        screen.update(3, 0, 0.5)
    task = screen.progress.tasks[0]
    assert task.description == "fastmlp  "
    assert (task.completed, task.total, task.fields["epochs"]) == (150, 150, "epoch 3/7")
    assert task.fields["facts"].startswith("loss 0.5")


def test_the_ratio_is_to_the_slowest():
    rows = table([Result("fastmlp", 0.5, 10, 0.9), Result("scikit-learn", 2.0, 11, 0.875)])
    assert rows[1:] == [["fastmlp", "0.500", "10", "90.00%", "4.0×"], ["scikit-learn", "2.000", "11", "87.50%", "1.0×"]]


@pytest.mark.parametrize("dtype", IDX_CODES)
def test_read_idx(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("plain", "zipped"):
        np.testing.assert_array_equal(read_idx(tmp_path, name, 3), array)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", b"", "is no idx file: it starts with nothing."),
        ("a", b"\x89PNG....", "is no idx file: it starts with 89 50 4e 47."),
        ("a", bytes([0, 0, 1, 1]) + bytes(8), "is no idx file: it starts with 00 00 01 01."),
        ("a", idx(np.zeros((2, 2, 2), np.uint8)), "must hold an array of 1 dimensions; it holds 3."),
        ("a", idx(np.zeros(9, np.uint8))[:-2], "must hold 17 bytes by its header; it holds 15."),
        ("a", bytes([0, 0, 8, 1, 0]), "by its header; it holds 5."),
        ("a.gz", b"not gzipped", "cannot be read: Not a gzipped file"),
        ("a.gz", gzip.compress(idx(np.zeros(999, np.uint8)))[:-9], "cannot be read: Compressed file ended"),
        ("b", b"", "--mnist needs a or a.gz in "),
    ],
)
def test_bad_idx_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(tmp_path, "a", 1)
    assert message in str(caught.value)


def test_images_and_labels_must_match(mnist_folder):
    (mnist_folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match="holds 20 images but 3 labels of t10k"):
        load_mnist(mnist_folder)


def test_errors_are_one_sentence(tmp_path, capsys):
    assert main(["demo", "--mnist", str(tmp_path / "nowhere")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"fastmlp: error: --mnist needs a folder with the four idx files; {tmp_path}/nowhere is none.\n"


@pytest.mark.parametrize("words", [[], ["dance"], ["demo", "--epochs", "0"], ["demo", "nothing"]])
def test_bad_arguments_are_refused(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: fastmlp" in capsys.readouterr().err


def test_help_names_every_demo(capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in DEMOS)


def test_info(capsys):
    assert main(["info"]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["fastmlp"] == fastmlp.__version__
    assert facts["numpy"] == np.__version__
    assert int(facts["threads"]) >= 1
    assert "float32" in facts["vectors"]
    assert {"Python", "numba", "llvmlite", "scipy", "scikit-learn", "processor", "cache"} <= set(facts)


def test_info_tells_where_the_cache_is(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    main(["info"])
    assert f"cache         {tmp_path}" in capsys.readouterr().out


def test_info_without_a_cache(monkeypatch, capsys):
    def refuse(function):
        raise RuntimeError("no locator")

    monkeypatch.setattr("fastmlp.machine.jit.PackageCache", refuse)
    main(["info"])
    assert "cache         nowhere: no folder can be written" in capsys.readouterr().out


def test_warmup(capsys):
    assert main(["warmup"]) == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("float32 ... ")
    assert second.startswith("float64 ... ")
    assert first.endswith(" s")
    assert last.startswith("cached at ")


def test_python_dash_m():
    command = [sys.executable, "-m", "fastmlp", "info"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith(f"fastmlp       {fastmlp.__version__}\n")
