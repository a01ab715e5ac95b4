"""The build hook: what a wheel takes in, that it computes the same, and that a wheel without it still comes to be."""

import json
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest
from source_files import module_of

from fastmlp.machine.target import TARGET, best_level

pytest.importorskip("hatchling", reason="the build hook is hatchling's")
ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def hook():
    """The build hook's module."""
    return module_of(ROOT / ".ci" / "hatch_build.py")


class Shown:
    """Where the hook's messages go."""

    def __init__(self):
        self.lines = []

    def display_info(self, text):
        self.lines.append(text)

    display_warning = display_info


def run(hook, version="standard", target="wheel"):
    """(build data, messages, the hook) of a build."""
    shown, data = Shown(), {"force_include": {}}
    instance = hook.KernelsHook(str(ROOT), {}, None, None, "", target, shown)
    instance.initialize(version, data)
    return data, shown.lines, instance


@pytest.mark.parametrize(("choice", "version"), [("none", "standard"), ("host", "editable")])
def test_nothing_is_compiled_where_nothing_is_wanted(hook, monkeypatch, choice, version):
    monkeypatch.setenv("FASTMLP_PREBUILT", choice)
    monkeypatch.setattr(hook, "Worker", None)
    assert run(hook, version)[:2] == ({"force_include": {}}, [])


def test_an_unknown_choice_is_refused(hook, monkeypatch):
    monkeypatch.setenv("FASTMLP_PREBUILT", "some")
    with pytest.raises(ValueError, match="FASTMLP_PREBUILT must be one of 'host', 'all', 'none'; got 'some'"):
        run(hook)


def test_a_compiler_that_fails_is_a_warning(hook, monkeypatch):
    monkeypatch.setenv("FASTMLP_PREBUILT", "host")
    monkeypatch.setattr(hook, "LEVELS", "raise ImportError('no Numba for this Python')")
    data, lines, instance = run(hook)
    assert data == {"force_include": {}}
    assert len(lines) == 1
    assert lines[0].startswith("fastmlp is built without machine code")
    assert "no Numba for this Python" in lines[0]
    instance.finalize("standard", {}, "")
    assert not instance.folder.exists()


FIT = """
import json, pathlib, sys
import numpy as np
from fastmlp.machine import kernels
kernels.PREBUILT = pathlib.Path(sys.argv[1])
from fastmlp import MLPClassifier
random = np.random.RandomState(0)
X, y = random.rand(200, 20).astype("float32"), np.arange(200) % 3
components = {"activation": "gelu", "normalization": "layer", "dropout": 0.1}
model = MLPClassifier((30,), **components, max_iter=3, random_state=0).fit(X, y)
origins = {origin for kernel in kernels.KERNELS for origin in kernel.origins.values()}
bits = [*(coef.tobytes().hex() for coef in model.coefs_), model.predict_proba(X).tobytes().hex()]
print(json.dumps([bits, sorted(origins), "numba" in sys.modules]))
"""


def fit(folder, **environment):
    """What a new process fits with the machine code of a folder: (bits, origins of the code, whether with Numba)."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU")}
    own |= {"PYTHONPATH": str(ROOT), "FASTMLP_QUIET": "1", "PYTHONWARNINGS": "ignore"} | environment
    answer = subprocess.run(
        [sys.executable, "-c", FIT, str(folder)], env=own, capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout)


@pytest.mark.skipif(best_level() is None or TARGET.name != best_level(), reason="no level to build for")
def test_a_wheel_brings_kernels_that_compute_the_same_bits(hook, monkeypatch, tmp_path):
    """One dtype, this processor's level: the files, and a fit with them against one with what is compiled here."""
    monkeypatch.setenv("FASTMLP_PREBUILT", "host")
    monkeypatch.setattr(hook, "DTYPES", ("float32",))
    data, _, instance = run(hook)
    inside = sorted(data["force_include"].values())
    kernels = {name.rpartition("/")[2].partition("-")[0].rpartition(".")[2] for name in inside}
    passes = {"unit_pass", "sparse_pass", "output_pass"}
    assert kernels == {"work", "predict_rows", "predict_panels", "_shuffle", *passes}
    assert len(inside) == len(kernels)
    assert all(name.startswith("fastmlp/machine/prebuilt/") and name.endswith(".kernel") for name in inside)
    assert data["tag"].startswith("py3-none-")
    assert sum(os.path.getsize(path) for path in data["force_include"]) < 1_000_000
    nowhere = tmp_path / "file"
    nowhere.touch()
    prebuilt = fit(instance.folder, NUMBA_CACHE_DIR=str(nowhere), HOME=str(nowhere))
    assert prebuilt[1:] == [["prebuilt"], False]
    compiled = fit(tmp_path / "none")
    assert set(compiled[1]) <= {"cache", "compiled"}
    assert compiled[0] == prebuilt[0]
    instance.finalize("standard", {}, "")
    assert not instance.folder.exists()


def test_a_whole_wheel_without_machine_code(tmp_path):
    """hatchling finds the hook, and the wheel has the package."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, "FASTMLP_PREBUILT": "none"}, capture_output=True, text=True, check=True
    )
    (wheel,) = tmp_path.glob("*-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "fastmlp/machine/kernels.py" in names
    assert not [name for name in names if name.endswith(".kernel")]
