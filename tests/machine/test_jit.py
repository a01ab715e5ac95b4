"""Numba's options, and the disk cache: whatever goes wrong with it, a call ends in the right answer."""

import importlib.util
import itertools
import math
import os
import pathlib
import shutil
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba.core import config

import fastmlp
from fastmlp.machine.jit import FASTMATH, OPTIONS, compiled, entry

PACKAGE = pathlib.Path(fastmlp.__file__).parent
SOURCE = """
from fastmlp.machine.jit import entry, inlined

@inlined
def twice(x):
    return 2 * x

@entry
def triple(x):
    return twice(x) + x
"""
names = (f"fastmlp_test_module_{n}" for n in itertools.count())


def load(path):
    """A new module from a file."""
    specification = importlib.util.spec_from_file_location(next(names), path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file with an entry function, whose machine code goes to a folder `cache` beside it."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "functions.py"
    path.write_text(SOURCE, encoding="utf8")
    return path


def call(path):
    """Call the entry function as a new process would; whether its machine code came from the disk."""
    triple = load(path).triple
    assert triple(2.5) == 7.5
    return sum(triple.stats.cache_hits.values()) == 1


def cached(path, ending):
    return sorted((path.parent / "cache").rglob(f"*.{ending}"))


# --- options ----------------------------------------------------------------------------------------------------------


def test_fastmath_leaves_nan_infinity_and_order_alone():
    assert not FASTMATH & {"fast", "nnan", "ninf", "reassoc"}

    @numba.njit(**OPTIONS)
    def special(x):
        return x != x, x - x, 1 / x

    assert special(math.nan)[0]
    assert math.isnan(special(math.inf)[1])
    assert special(0.0)[2] == math.inf  # no exception


def test_inlined_code_lives_inside_its_caller(source):
    module = load(source)
    module.triple(2.5)
    (code,) = module.triple.inspect_llvm().values()
    assert not [line for line in code.splitlines() if "call" in line and "twice" in line]


def test_compiled_is_the_machine_code(source):
    triple = load(source).triple
    function = compiled(triple, 1.0)
    assert function(2.5) == 7.5
    assert compiled(triple, 3.0) is function
    assert compiled(triple, np.float32(1))(np.float32(2)) == 6
    assert len(triple.signatures) == 2


# --- the cache when all is well ---------------------------------------------------------------------------------------


def test_second_process_finds_the_machine_code(source):
    assert not call(source)
    assert call(source)
    assert len(cached(source, "nbi")) == 1
    assert len(cached(source, "nbc")) == 1


def test_one_index_for_several_types(source):
    triple = load(source).triple
    triple(1.0)
    triple(np.float32(1))
    assert len(cached(source, "nbi")) == 1
    assert len(cached(source, "nbc")) == 2
    again = load(source).triple
    assert again(np.float32(2)) == 6
    assert again(2.0) == 6
    assert sum(again.stats.cache_hits.values()) == 2


def test_functions_without_a_source_file_run_uncached(source):
    namespace = {"entry": entry}
    exec("def square(x):\n    return x * x\nsquare = entry(square)", namespace)
    assert namespace["square"](3.0) == 9


@pytest.fixture
def package(tmp_path):
    """A copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def digest(package):
    return load(package / "machine" / "jit.py").DIGEST


@pytest.mark.parametrize("edited", ["losses.py", "machine/simd.py", "machine/jit.py", "core/engine.py"])
def test_edit_of_a_source_of_kernels_changes_the_digest(package, edited):
    before = digest(package)
    path = package / edited
    text = path.read_text(encoding="utf8")
    path.write_text(text + "# edited\n", encoding="utf8")
    assert digest(package) != before
    path.write_text(text, encoding="utf8")
    assert digest(package) == before


@pytest.mark.parametrize("edited", ["estimators/__init__.py", "plotting.py", "demos/graph.py", "core/network.py"])
def test_edit_of_another_source_keeps_the_digest(package, edited):
    before = digest(package)
    with (package / edited).open("a", encoding="utf8") as file:
        file.write("# edited\n")
    assert digest(package) == before


def test_rename_and_removal_of_a_source_change_the_digest(package):
    seen = {digest(package)}
    (package / "losses.py").rename(package / "lossez.py")
    seen.add(digest(package))
    (package / "lossez.py").unlink()
    seen.add(digest(package))
    assert len(seen) == 3


def test_other_version_of_the_compiler_changes_the_digest(package, monkeypatch):
    before = digest(package)
    monkeypatch.setattr(numba, "__version__", "0.0")
    assert digest(package) != before


def test_edit_of_another_file_compiles_anew(source, monkeypatch):
    from fastmlp.machine import jit

    assert not call(source)
    monkeypatch.setattr(jit, "DIGEST", "0" * 16)  # as it is after an edit
    assert not call(source)
    assert call(source)
    monkeypatch.undo()
    monkeypatch.setattr(config, "CACHE_DIR", str(source.parent / "cache"))
    assert call(source)  # the edit taken back


# --- the cache in trouble ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 40, -1])
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_truncated_file(source, ending, length):
    call(source)
    (path,) = cached(source, ending)
    path.write_bytes(path.read_bytes()[:length])
    assert not call(source)
    assert call(source)  # it is whole again


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_file_of_nonsense(source, ending):
    call(source)
    (path,) = cached(source, ending)
    path.write_bytes(b"\x80\x04 no pickle at all" * 100)
    assert not call(source)
    assert call(source)


def test_missing_machine_code(source):
    call(source)
    (path,) = cached(source, "nbc")
    path.unlink()
    assert not call(source)
    assert call(source)


def test_machine_code_for_another_type(source):
    """As two processes leave it that both write the first file, each for its own type."""
    triple = load(source).triple
    triple(1.0)
    triple(np.float32(1))
    first, second = cached(source, "nbc")
    code = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(code)
    again = load(source).triple
    assert again(2.5) == 7.5
    assert again(np.float32(2.5)) == 7.5
    assert not again.stats.cache_hits


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_file_that_cannot_be_read(source, ending):
    call(source)
    (path,) = cached(source, ending)
    path.unlink()
    path.mkdir()
    assert not call(source)


@pytest.fixture
def nowhere(source, monkeypatch):
    """No folder can be written: where one would be made stands a file, or below one."""
    file = source.parent / "file"
    file.touch()
    monkeypatch.setattr(config, "CACHE_DIR", str(file / "below"))
    (source.parent / "__pycache__").touch()
    for name in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(file / "below"))
    return source


def test_no_folder_can_be_written(nowhere):
    assert not call(nowhere)
    assert not call(nowhere)


def test_folder_vanishes_before_the_first_call(source):
    triple = load(source).triple
    shutil.rmtree(source.parent / "cache")
    (source.parent / "cache").touch()
    assert triple(2.5) == 7.5


def test_disk_is_full(source, monkeypatch):
    from numba.core import caching

    def full(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", full)
    assert not call(source)
    assert not call(source)


def test_empty_xdg_cache_home_leaves_the_working_directory_alone(nowhere, monkeypatch, tmp_path):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert not call(nowhere)
    assert list(work.iterdir()) == []


PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
from functions import triple
assert triple(2.5) == 7.5
print(sum(triple.stats.cache_hits.values()))
"""


def start(source, **environment):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment}
    command = [sys.executable, "-c", PROCESS, str(source.parent)]
    return subprocess.Popen(command, env=environment, cwd=source.parent, stdout=subprocess.PIPE, text=True)


def hits(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return int(output)


def test_several_cold_processes_at_once(source):
    cache = str(source.parent / "cache")
    for process in [start(source, NUMBA_CACHE_DIR=cache) for _ in range(3)]:
        hits(process)
    assert hits(start(source, NUMBA_CACHE_DIR=cache)) == 1


def test_a_process_that_can_write_nowhere(nowhere):
    file = str(nowhere.parent / "file" / "below")
    where = dict.fromkeys(("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"), file)
    assert hits(start(nowhere, **where, PYTHONDONTWRITEBYTECODE="1")) == 0
