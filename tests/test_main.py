"""The command line: what it prints, and what it refuses."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp.__main__ import main
from fastmlp.core.engine import work
from fastmlp.core.outputs import output_pass
from fastmlp.core.prediction import predict_rows
from fastmlp.core.sparse import sparse_pass
from fastmlp.core.units import unit_pass
from fastmlp.demos import DEMOS, Interrupted, Options


@pytest.fixture
def asked(monkeypatch):
    """What demos are run with, in place of running them."""
    found = []
    monkeypatch.setattr("fastmlp.demos.run", lambda name, options: found.append((name, options)))
    return found


def test_demo_by_default(asked, monkeypatch):
    monkeypatch.setattr("fastmlp.__main__.cache_folder", lambda: "there")
    assert main(["demo"]) == 0
    assert asked == [("digits", Options(cache="there"))]


@pytest.mark.parametrize("name", DEMOS)
def test_demo_with_options(name, asked, tmp_path, monkeypatch):
    monkeypatch.setattr("fastmlp.__main__.cache_folder", lambda: "there")
    components = ["--quick", "--epochs", "3", "--output", str(tmp_path / "figures"), "--mnist", str(tmp_path)]
    assert main(["demo", name, *components]) == 0
    assert asked == [(name, Options(3, tmp_path, tmp_path / "figures", True, "there"))]


def test_demo_for_real(capsys):
    assert main(["demo", "--quick"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("digits: 1,347 rows of 64 pixels (float32) to train on, 450 to test on\n")
    assert "test accuracy" in text


def test_demos_are_listed(capsys):
    assert main(["demo", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*DEMOS]
    assert max(map(len, lines)) < 80


def test_an_interrupted_demo(monkeypatch, capsys):
    def stopped(name, options):
        raise Interrupted

    monkeypatch.setattr("fastmlp.demos.run", stopped)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "fastmlp: interrupted\n"


def test_errors_are_one_sentence(tmp_path, capsys):
    assert main(["demo", "--mnist", str(tmp_path / "nowhere")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"fastmlp: error: --mnist needs a folder with the four idx files; {tmp_path}/nowhere is none.\n"


@pytest.mark.parametrize("components", [[], ["dance"], ["demo", "--epochs", "0"], ["demo", "nothing"]], ids=str)
def test_bad_arguments_are_refused(components, capsys):
    with pytest.raises(SystemExit) as caught:
        main(components)
    assert caught.value.code == 2
    assert "usage: fastmlp" in capsys.readouterr().err


def test_help_has_a_line_for_every_demo(capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert all(f"{name:<11} {about}" in lines for name, about in DEMOS.items())


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fastmlp {fastmlp.__version__}\n"


@pytest.mark.parametrize("value", ["abc", "0", "-3", "2.5", ""])
def test_epochs_are_a_whole_number(value, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["demo", f"--epochs={value}"])
    assert caught.value.code == 2
    expected = f"argument --epochs: must be a whole number, 1 or more; got {value!r}"
    assert capsys.readouterr().err.splitlines()[-1].endswith(expected)


def test_a_bad_folder_is_told_before_the_work(asked, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SystemExit) as caught:
            main(["demo", "schedules", "--output", str(folder)])
        assert caught.value.code == 2
        assert f"argument --output: must be a folder; {tmp_path}/file is a file" in capsys.readouterr().err
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(SystemExit):
        main(["demo", "schedules", "--output", str(tmp_path / "new" / "folder")])
    assert f"must be a folder that can be written; {tmp_path} cannot" in capsys.readouterr().err
    assert asked == []


def test_a_new_folder_is_accepted_and_not_made_yet(asked, tmp_path):
    assert main(["demo", "schedules", "--output", str(tmp_path / "new" / "folder")]) == 0
    assert not (tmp_path / "new").exists()


def test_on_a_terminal_without_the_letters():
    """An ASCII terminal shows what it can; nothing dies on a multiplication sign."""
    code = "from fastmlp.__main__ import main; main(['info']); print('3 × x² → ½')"
    answer = run_python("-c", code, PYTHONIOENCODING="ascii")
    assert answer.stdout.splitlines()[-1] == "3 x x^2 -> ?"
    assert run_python("-m", "fastmlp", "demo", "graph", PYTHONIOENCODING="ascii").returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["info"], ["demo", "--list"], ["demo", "--help"], ["demo", "graph"]])
def test_without_docstrings(arguments):
    """python -OO strips docstrings and assertions."""
    answer = run_python("-OO", "-m", "fastmlp", *arguments)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout


def test_a_fit_without_docstrings():
    code = """
import numpy as np
from fastmlp import MLPClassifier
print(MLPClassifier((4,), max_iter=1).fit(np.random.rand(9, 2), np.arange(9) % 2).n_iter_)
"""
    assert run_python("-OO", "-W", "ignore", "-c", code).stdout == "1\n"


def run_python(*arguments, **environment):
    """A process of its own."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_info(capsys):
    assert main(["info"]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["fastmlp"] == fastmlp.__version__
    assert facts["numpy"] == np.__version__
    assert int(facts["threads"]) >= 1
    assert "float32" in facts["vectors"]
    assert {"Python", "numba", "llvmlite", "scipy", "scikit-learn", "processor", "cache"} <= set(facts)


def test_info_tells_where_the_cache_is(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    main(["info"])
    assert f"cache         {tmp_path}" in capsys.readouterr().out


def test_info_without_a_cache(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    main(["info"])
    assert "cache         nowhere: no folder can be written" in capsys.readouterr().out


def test_info_says_which_kernels_are_used_and_why(capsys):
    main(["info"])
    text = capsys.readouterr().out
    for dtype in ("float32", "float64"):
        (line,) = (line for line in text.splitlines() if f"fastmlp_work_{dtype}" in line)
        assert any(origin in line for origin in ("prebuilt", "cache", "compiled"))


def test_a_reader_that_wants_no_more(tmp_path):
    """Such as `fastmlp demo --list | head -1`: no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fastmlp", "demo", "--list"]
    answer = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (answer.returncode, answer.stderr) == (141, "")


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
    assert {kernel for kernel in kernels_of_the_core() if f"{kernel}: " not in answer.stdout} == set()


def kernels_of_the_core():
    """Symbols of the kernels that training and prediction call."""
    optional = unit_pass, sparse_pass, output_pass
    return {kernel.symbol(dtype) for kernel in (work, predict_rows, *optional) for dtype in kernel.dtypes}


def test_a_new_process_warms_all_kernels_up():
    """Those of the predictor too, which a process that has only imported the package does not know yet."""
    code = "import fastmlp; print(*fastmlp.warmup(['float64']))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {kernel for kernel in kernels_of_the_core() if kernel.endswith("float64")} <= {*answer.stdout.split()}
