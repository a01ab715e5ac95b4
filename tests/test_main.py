"""The command line: what it prints, and what it refuses."""

import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp.__main__ import main
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
    assert max(map(len, lines)) <= 120


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


@pytest.mark.parametrize("components", [[], ["dance"], ["demo", "--epochs", "0"], ["demo", "nothing"]])
def test_bad_arguments_are_refused(components, capsys):
    with pytest.raises(SystemExit) as caught:
        main(components)
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
