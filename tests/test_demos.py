"""The demos: each one in its quick form says what it is there to say; what they read and show is right."""

import gzip
import sys
import types
import warnings

import numpy as np
import pytest

from fastmlp import MLPClassifier
from fastmlp.demos import DEMOS, Interrupted, Options, capacity, deep_mnist, optimizers, run, schedules, vanishing
from fastmlp.demos.data import DataError, handwritten, load_digits, load_mnist, read_idx
from fastmlp.demos.digits import compare, median, table
from fastmlp.demos.graph import fruit_bill
from fastmlp.demos.live_fit import Result, display, fit_watched
from fastmlp.demos.output import print_table, save_figure
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.schedules import SCHEDULES

IDX_CODES = {"uint8": 0x08, "int32": 0x0C, "float64": 0x0E}
FIGURES = {
    "deep-mnist": {"deep_mnist.png"},
    "vanishing": {"vanishing.png"},
    "optimizers": {"optimizer_paths.png", "optimizer_losses.png"},
    "schedules": {"schedules.png"},
    "capacity": {"capacity.png"},
}


def idx(array):
    """`array` as the content of an idx file."""
    head = bytes([0, 0, IDX_CODES[array.dtype.name], array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def mnist_folder(tmp_path):
    """Four small idx files in a folder `mnist`: two gzipped, two not."""
    random, folder = np.random.default_rng(0), tmp_path / "mnist"
    folder.mkdir()
    for part, rows in (("train", 60), ("t10k", 20)):
        labels = (np.arange(rows) % 10).astype(np.uint8)
        images = random.integers(0, 256, (rows, 4, 3), dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images), mtime=0))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


@pytest.fixture
def without_rich(monkeypatch):
    """As if rich were not installed."""
    for name in ("rich", "rich.console", "rich.progress", "rich.table"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def told_anew(without_rich, monkeypatch, capsys, tmp_path):
    """A function that runs a demo in its quick form: what it prints."""
    monkeypatch.delenv("FASTMLP_DATA", raising=False)

    def of(name):
        run(name, Options(output=tmp_path / "figures", quick=True))
        return capsys.readouterr().out

    return of


@pytest.fixture(scope="module")
def texts():
    """What the demos have printed so far in this module, and the folders of their figures, by name."""
    return {}


@pytest.fixture
def told(told_anew, texts, tmp_path):
    """A function that gives what a demo prints, as a text and as a list of each line's cells; each runs once."""

    def of(name):
        if name not in texts:
            texts[name] = told_anew(name), tmp_path / "figures"
        return texts[name][0], cells(texts[name][0])

    return of


def cells(text):
    """The cells of each line."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


# --- each demo --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_figures(name, told, texts):
    """Figures are saved, and the demo says where."""
    pytest.importorskip("matplotlib")
    text, _ = told(name)
    saved = sorted(texts[name][1].iterdir())
    assert {path.name for path in saved} == FIGURES[name]
    for path in saved:
        assert f"figure: {path}\n" in text
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", FIGURES)
def test_without_matplotlib(name, told_anew, monkeypatch, tmp_path):
    """The tables are printed, and one sentence for each figure names the extra."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"] + ["matplotlib.figure"]:
        monkeypatch.setitem(sys.modules, module, None)
    text = told_anew(name)
    assert max(map(len, cells(text))) > 2
    for figure in FIGURES[name]:
        assert f'The figure {figure} needs matplotlib; install it with pip install "fastmlp[plot]".\n' in text
    assert not (tmp_path / "figures").exists()


def test_graph_values_and_gradients():
    nodes = fruit_bill()
    nodes["bill"].backward()
    assert [float(node.value) for node in nodes.values()] == pytest.approx([100, 2, 150, 3, 1.1, 200, 450, 650, 715])
    gradients = [2.2, 110, 3.3, 165, 650, 1.1, 1.1, 1.1, 1]
    assert [float(node.gradient) for node in nodes.values()] == pytest.approx(gradients)


def test_graph_has_every_node_in_both_tables(told):
    text, _ = told("graph")
    up, down = text.split("Backward")
    for name in fruit_bill():
        assert f"\n{name:<14}" in up
        assert f"\n{name:<14}" in down
    assert "apples cost        200   apple price × apples" in up
    assert "apple price        2.2   a product swaps: gradient of apples cost 1.1 × value of apples 2" in down
    assert "fruit              650   apples cost + oranges cost" in up
    assert "apples cost        1.1   a sum passes on: gradient of fruit 1.1" in down
    assert text.endswith("with an apple price of 101 the bill is 717.2, 2.2 more.\n")


def test_two_layer_gradients_agree_and_so_do_both_networks(told):
    text, rows = told("two-layer")
    checks = [row for row in rows if row and ", layer " in row[0]]
    assert [row[0] for row in checks] == ["64 × 50, layer 1", "50 × 10, layer 2"]
    for _, numbers, largest, difference in checks:
        assert numbers == "100"
        assert float(difference) < 1e-9 < 1e-3 < float(largest)
    head = next(number for number, row in enumerate(rows) if row[:1] == ["batch"])
    trained = {row[0]: dict(zip(rows[head], row, strict=True)) for row in rows[head + 1 : head + 4]}
    assert [row["updates"] for row in trained.values()] == ["1", "14", "1,347"]
    accuracies = [float(row["accuracy"].rstrip("%")) for row in trained.values()]
    assert accuracies == sorted(accuracies)
    assert accuracies[-1] > 90
    assert float(text.rpartition(" to ")[2].rstrip(".\n")) < 1e-9


def test_deep_mnist_learns_in_all_forms(told):
    text, rows = told("deep-mnist")
    assert text.startswith("digits: 1,347 rows of 64 pixels")
    forms, results = deep_mnist.forms(3), rows[-4:-1]  # the last line tells of the figure
    for form, (name, last, best, seconds) in zip(forms, results, strict=True):
        assert name == form
        assert 60 < float(last.rstrip("%")) <= float(best.rstrip("%"))
        assert float(seconds) > 0
    assert sum(line.startswith("epoch ") for line in text.splitlines()) == 3 * len(forms)


def test_vanishing_tells_where_signal_and_gradient_fade(told):
    _, rows = told("vanishing")
    found = {tuple(row[:2]): row[2:] for row in rows if row and row[0] in vanishing.ACTIVATIONS}
    assert len(found) == 16

    def numbers(key, column):
        return [float(number) for number in found[key][column].split(" → ")]

    first, last = numbers(("logistic", "Xavier"), 2)
    assert last < first / 1e4  # the gradient of logistic units vanishes
    assert numbers(("tanh", "N(0, 0.01²)"), 0)[1] < 1e-6  # and so does the signal from too small weights
    assert numbers(("relu", "N(0, 1)"), 0)[1] > 1e6  # and grows with too large ones
    for key in (("tanh", "Xavier"), ("relu", "He"), ("leaky relu", "He")):
        low, high = sorted(numbers(key, 0))
        assert high < 4 * low
        low, high = sorted(numbers(key, 2))
        assert high < 10 * low
    saturated = {key: float(row[1].rstrip("%")) for key, row in found.items()}
    assert saturated["tanh", "N(0, 1)"] > 50 > saturated["tanh", "Xavier"]


def test_optimizers_have_a_rate_each(told):
    _, rows = told("optimizers")
    components = {name for rates in optimizers.FAMILIES.values() for name in rates}
    assert components == set(OPTIMIZERS) - {"gradient"}
    left = {row[0]: [*map(float, row[1:])] for row in rows if len(row) == 3 and row[0] in components}
    assert set(left) == {"gradient_descent", "momentum", "adagrad", "adam"}
    starts = [bowl.f(optimizers.START) for bowl in optimizers.BOWLS.values()]
    assert all(value < start / 10 for values in left.values() for value, start in zip(values, starts))
    assert len([row for row in rows if len(row) == 4 and row[0] in components]) == len(components)


def test_schedules_are_all_there(told):
    _, rows = told("schedules")
    found = {row[0]: row[1:] for row in rows[2:] if row and row[0] in SCHEDULES}
    assert set(found) == set(SCHEDULES)
    assert found["step_decay"] == ["epoch", "0.01", "0.005", "0.0025", "0.0013", "0.00063"]
    assert found["adaptive"] == ["epoch", "0.01", "0.01", "0.002", "0.0004", "8e-05"]


def test_a_schedule_per_epoch_is_constant_within_an_epoch():
    for name in SCHEDULES:
        component = SCHEDULES.resolve(name)
        within = np.ptp(schedules.rates(component), axis=1)
        assert (within.max() > 0) == (component.per == "step"), name


def test_capacity_has_a_line_for_each_network(told):
    _, rows = told("capacity")
    found = {row[0]: [*map(float, row[1:])] for row in rows if row and row[0] in capacity.CASES}
    assert set(found) == set(capacity.CASES)
    train, test = zip(*found.values())
    names = [*found]
    assert [*train[:3]] == sorted(train[:3], reverse=True)  # 1, 2, 4 units: too few to follow the curve
    assert found["1 unit"][0] > 0.6 > 0.4 > found["10 units"][1]
    largest = names.index("100 + 100 units")
    assert train[largest] < capacity.NOISE - 0.05  # it follows the noise
    assert test[largest] > found["10 units"][1] + 0.03
    assert found["... weight decay"][1] < test[largest]
    assert found["... early stopping"][1] < test[largest]


def test_capacity_too_little_and_too_much():
    """What the demo is for, on one set of rows: errors of a network too small, of one too large, and held back."""
    samples = capacity.draw_samples(0)
    names = "1 unit", "10 units", "100 + 100 units", "... weight decay"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [capacity.fit(capacity.CASES[name], samples, 4000)[1:] for name in names]
    train, test = zip(*fits)
    assert train[2] < train[1] < train[0]
    assert test[1] < test[0]
    assert test[1] < test[3] < test[2]


def test_digits_ends_with_a_table(told):
    text, rows = told("digits")
    lines = text.splitlines()
    assert lines[0] == "digits: 1,347 rows of 64 pixels (float32) to train on, 450 to test on"
    assert lines[1].startswith("first fit: ")
    assert rows[-5] == ["seconds", "CPU seconds", "epochs", "test accuracy", "ratio"]
    for side, row in zip(("fastmlp", "scikit-learn, default threads", "scikit-learn, one thread"), rows[-4:-1]):
        assert row[0] == side
        assert float(row[1]) > 0
        assert float(row[2]) > 0
        assert row[3] == "3"
        assert row[4].endswith("%")
        assert row[5].endswith("×")
    assert {row[4] for row in rows[-4:-1]} == {rows[-2][4]}  # the same seed, the same model
    assert "median of 3 runs" in text


def test_the_ratio_is_to_the_better_side_of_scikit_learn():
    results = [
        Result("fastmlp", 0.5, 10, 0.9, 0.75),
        Result("scikit-learn, default threads", 4.0, 11, 0.875, 9.0),
        Result("scikit-learn, one thread", 2.0, 11, 0.875, 1.875),
    ]
    assert table(results)[1:] == [
        ["fastmlp", "0.500", "0.750", "10", "90.00%", "4.0×"],
        ["scikit-learn, default threads", "4.000", "9.000", "11", "87.50%", "0.5×"],
        ["scikit-learn, one thread", "2.000", "1.875", "11", "87.50%", "1.0×"],
    ]
    assert median([results[0], results[1], results[2]]).seconds == 2.0


def test_sides_take_turns_and_one_has_one_blas_thread(monkeypatch):
    from threadpoolctl import threadpool_info

    seen = []

    def watched(estimator, data, side):
        threads = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        seen.append((side, type(estimator).__module__.partition(".")[0], max(threads)))
        return Result(side, float(len(seen)), 1, 0.5, 1.0)

    monkeypatch.setattr("fastmlp.demos.digits.fit_watched", watched)
    results = compare(load_digits(), 1)
    assert [side for side, _, _ in seen] == 3 * ["fastmlp", *(result.side for result in results[1:])]
    assert [package for _, package, _ in seen[:3]] == ["fastmlp", "sklearn", "sklearn"]
    assert seen[2][2] == 1
    assert seen[1][2] == seen[0][2]
    assert [result.seconds for result in results] == [4, 5, 6]


# --- what they share --------------------------------------------------------------------------------------------------


def test_options_know_the_budget():
    assert Options().budget(30, quick=3) == 30
    assert Options(quick=True).budget(30, quick=3) == 3
    assert Options(epochs=7, quick=True).budget(30, quick=3) == 7


@pytest.mark.parametrize("name", DEMOS)
def test_every_demo_has_a_file_of_its_name(name):
    text = sys.modules["fastmlp.demos"].import_module(f"fastmlp.demos.{name.replace('-', '_')}").__doc__
    assert text.startswith(f"The demo `{name}`: ")


def test_an_interrupted_fit_ends_the_demo(monkeypatch):
    class Stopped(MLPClassifier):
        def fit(self, X, y):
            warnings.warn("Training interrupted by user.", stacklevel=2)
            return self

    monkeypatch.setattr("fastmlp.MLPClassifier", Stopped)
    with pytest.raises(Interrupted):
        run("digits", Options(quick=True))


def test_a_table_by_rich(capsys):
    pytest.importorskip("rich")
    print_table([["", "seconds"], ["one", "1.5"]], "a title")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "a title"
    assert [component.strip() for component in lines[-2].split("│")[1:3]] == ["one", "1.5"]


def test_no_column_is_cut(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "40")
    cells = [f"a long column number {number}" for number in range(6)]
    print_table([cells, cells], "a title")
    text = capsys.readouterr().out
    assert "…" not in text
    assert all(text.count(cell) == 2 for cell in cells)


def test_a_table_without_rich(without_rich, capsys):
    print_table([["", "seconds"], ["one", "1.5"]], "a title")
    assert capsys.readouterr().out == "a title\n     seconds\none      1.5\n"


def test_folders_of_figures_are_made(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / "folder" / "figure.png"
    save_figure(lambda figure: figure.subplots().plot([1, 2]), path, (2, 1))
    assert path.is_file()
    assert capsys.readouterr().out == f"figure: {path}\n"


# --- data -------------------------------------------------------------------------------------------------------------


def test_handwritten_digits_come_from_where_the_user_says(mnist_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("FASTMLP_DATA", str(mnist_folder.parent))
    assert handwritten(Options()).name == "MNIST"
    assert handwritten(Options(quick=True)).name == "digits"
    assert handwritten(Options(mnist=mnist_folder, quick=True)).name == "MNIST"
    monkeypatch.setenv("FASTMLP_DATA", str(mnist_folder))
    assert handwritten(Options()).name == "digits"
    monkeypatch.delenv("FASTMLP_DATA")
    assert handwritten(Options()).name == "digits"


def test_the_real_mnist(data_folder):
    data = load_mnist(data_folder / "mnist")
    assert data.X_train.shape == (60000, 784)
    assert data.X_test.shape == (10000, 784)
    assert data.X_train.dtype == np.float32
    assert (data.X_train.min(), data.X_train.max()) == (0, 1)
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize("dtype", IDX_CODES)
def test_read_idx(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(idx(array), mtime=0))
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
        ("a.gz", gzip.compress(idx(np.zeros(999, np.uint8)), mtime=0)[:-9], "cannot be read: Compressed file ended"),
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


# --- watching a fit ---------------------------------------------------------------------------------------------------


def test_a_watched_fit_is_the_same_fit():
    data = load_digits()
    watched, alone = (MLPClassifier((8,), max_iter=5, random_state=0) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit_watched(watched, data, "fastmlp")
        alone.fit(data.X_train, data.y_train)
    assert result.epochs == 5
    assert result.accuracy == alone.score(data.X_test, data.y_test)
    for ours, theirs in zip(watched.coefs_, alone.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_lines_come_once_a_second(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("fastmlp.demos.live_fit.time", types.SimpleNamespace(monotonic=lambda: now[0]))
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
