"""Kernels from where they lie to where they are called: whatever goes wrong, a call gives the right answer."""

import json
import logging
import os
import pathlib
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from source_files import module_of

import fastmlp
from fastmlp.machine import kernels, object_file
from fastmlp.machine.object_file import ENDING, ObjectCode

ROOT = pathlib.Path(fastmlp.__file__).parent.parent
SOURCE = """
import numpy as np
from fastmlp.machine.jit import inlined
from fastmlp.machine.kernels import entry
from fastmlp.machine.simd import number_like, pointer

@inlined
def twice(x):
    return 2 * x

@entry
def triple(numbers, count, zero):
    x = pointer(numbers, zero)
    for i in range(max(count, 0)):  # a function that Numba itself has compiled
        x[i] = number_like(x, twice(x[i]) + x[i])
"""
DTYPES = ("float32", "float64")


@pytest.fixture
def source(file_of):
    """A file with a kernel."""
    return file_of(SOURCE)


def load(path):
    """The kernel of a file, as a new process would have it."""
    return module_of(path).triple


def call(path, dtype="float32"):
    """Call the kernel as a new process would; where its machine code came from."""
    triple = load(path)
    x = np.array([2.5, -1, 0.125], dtype)
    triple.load(dtype)(x.ctypes.data, 3)
    np.testing.assert_array_equal(x, np.array([7.5, -3, 0.375], dtype))
    return triple.origins[dtype]


def cached(path):
    return sorted((path.parent / "cache").rglob(f"*{ENDING}"))


# --- all is well ------------------------------------------------------------------------------------------------------


def test_a_second_process_finds_the_machine_code(source):
    assert call(source) == "compiled"
    assert call(source) == "cache"
    assert len(cached(source)) == 1


def test_a_file_for_each_dtype(source):
    assert [call(source, dtype) for dtype in DTYPES] == ["compiled"] * 2
    assert len(cached(source)) == 2
    assert [call(source, dtype) for dtype in DTYPES] == ["cache"] * 2


def test_what_comes_with_the_package_goes_first(source, monkeypatch, tmp_path):
    call(source)
    (path,) = cached(source)
    monkeypatch.setattr(kernels, "PREBUILT", tmp_path / "prebuilt")
    shutil.move(path.parent, tmp_path / "prebuilt")
    assert call(source) == "prebuilt"
    triple = load(source)
    assert triple.status("float32") == "prebuilt"
    assert triple.status("float64") == "compiled when first used"
    (tmp_path / "prebuilt" / path.name).write_bytes(b"nonsense")
    assert "its checksum is wrong" in load(source).status("float32")
    assert call(source) == "compiled"


def test_an_edit_of_its_file_compiles_anew(source):
    assert call(source) == "compiled"
    source.write_text(SOURCE + "# edited\n", encoding="utf8")
    assert call(source) == "compiled"
    assert call(source) == "cache"


@pytest.mark.parametrize("field", ["DIGEST", "TARGET", "compiler"])
def test_other_sources_level_or_compiler_compile_anew(source, monkeypatch, field):
    call(source)
    if field == "compiler":
        monkeypatch.setattr(kernels, "compiler_version", lambda: "numba 0.0")
    elif field == "DIGEST":
        monkeypatch.setattr(kernels, "DIGEST", "0" * 16)
    else:
        monkeypatch.setattr(kernels, "TARGET", kernels.TARGET._replace(system="another"))
    assert load(source).find("float32").compiled is None


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_a_file_that_was_tampered_with(source, caplog):
    call(source)
    (path,) = cached(source)
    whole = path.read_bytes()
    chance = random.Random(0)
    caplog.set_level(logging.DEBUG, "fastmlp")
    for _ in range(200):
        tampered = bytearray(whole)
        tampered[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(tampered)
        assert load(source).find("float32").compiled is None
    assert "its checksum is wrong" in caplog.text
    assert call(source) == "compiled"
    assert call(source) == "cache"  # it is whole again


def test_machine_code_that_calls_what_is_not_there(source):
    call(source)
    (path,) = cached(source)
    triple = load(source)
    stamp = {**triple.stamp("float32"), "compiler": kernels.compiler_version()}
    code = object_file.read(path, stamp).code
    object_file.write(path, stamp, ObjectCode(code, ("no_such_function",)))
    assert "it calls no_such_function" in " ".join(triple.find("float32").reasons)
    assert call(source) == "compiled"


def test_a_folder_where_the_file_should_be(source):
    call(source)
    (path,) = cached(source)
    path.unlink()
    path.mkdir()
    assert call(source) == "compiled"


def test_no_folder_can_be_written(source, monkeypatch):
    (source.parent / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(source.parent / "file"))
    assert call(source) == "compiled"
    assert call(source) == "compiled"


def test_a_level_that_the_processor_lacks_is_refused(source, monkeypatch):
    monkeypatch.setattr(type(kernels.TARGET), "runs_here", lambda target: False)
    with pytest.raises(RuntimeError, match=r"FASTMLP_TARGET=.* asks for instructions that this"):
        load(source).load("float32")


# --- processes --------------------------------------------------------------------------------------------------------

PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from functions import triple
x = np.full(5, 2.5)
triple.load("float64")(x.ctypes.data, 5)
assert (x == 7.5).all()
print(triple.origins["float64"], "numba" in sys.modules)
"""


def start(source, code=PROCESS, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", code, str(source.parent)]
    return subprocess.Popen(
        command, env=environment, cwd=source.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.strip(), err


def test_several_cold_processes_at_once(source):
    for process in [start(source) for _ in range(3)]:
        assert finish(process)[0] in ("compiled True", "cache False")
    assert finish(start(source))[0] == "cache False"


def test_two_processes_compile_the_same_bytes(source):
    files = []
    for _ in range(2):
        assert finish(start(source))[0] == "compiled True"
        (path,) = cached(source)
        files.append(path.read_bytes())
        path.unlink()
    assert files[0] == files[1]


def test_silence_is_broken_once_where_something_is_compiled(source):
    _, err = finish(start(source, FASTMLP_QUIET=""))
    assert err.startswith("fastmlp: compiling the kernels for float64 (")
    assert err.count("\n") == 1
    assert finish(start(source, FASTMLP_QUIET=""))[1] == ""
    cached(source)[0].unlink()
    assert finish(start(source, FASTMLP_QUIET="1"))[1] == ""


def test_a_process_in_which_numba_is_told_not_to_compile(source):
    assert finish(start(source, NUMBA_DISABLE_JIT="1"))[0] == "compiled True"


FORK = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from functions import triple

def use():
    x = np.full(5, 2.5)
    triple.load("float64")(x.ctypes.data, 5)
    return (x == 7.5).all()

thread = threading.Thread(target=use)
thread.start()
while "numba.core.compiler" not in sys.modules:
    time.sleep(0.001)
time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0.05)
child = os.fork()
if child == 0:
    os._exit(0 if use() else 1)
status = os.waitpid(child, 0)[1]
thread.join()
print(status, use())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_while_another_thread_compiles(source):
    assert finish(start(source, FORK))[0] == "0 True"


NUMBA_LOCK = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
import numpy as np
from functions import triple
from fastmlp.machine import jit
jit.load_numba()
from numba.core.compiler_lock import global_compiler_lock
held, done = threading.Event(), threading.Event()

def hold():
    with global_compiler_lock:
        held.set()
        done.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    x = np.full(5, 2.5)
    triple.load("float64")(x.ctypes.data, 5)
    os._exit(0 if (x == 7.5).all() else 1)
print(os.waitpid(child, 0)[1])
done.set()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_while_another_thread_has_the_compilers_lock(source):
    assert finish(start(source, NUMBA_LOCK))[0] == "0"


TAMPERED = """
import json, pathlib, random, sys
from fastmlp.core.engine import work
from fastmlp.machine import kernels
kernels.PREBUILT = pathlib.Path(sys.argv[1]) / "none"
(path,) = pathlib.Path(sys.argv[1]).rglob("*work-float32*.kernel")
whole, chance, refused = path.read_bytes(), random.Random(1), 0
for _ in range(300):
    tampered = bytearray(whole)
    for _ in range(chance.choice([1, 1, 8])):
        tampered[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    path.write_bytes(tampered)
    refused += work.find("float32").compiled is None
path.write_bytes(whole)
work.load("float32")
print(json.dumps([refused, work.origins["float32"]]))
"""


def test_bit_flips_in_the_engines_machine_code(tmp_path):
    from fastmlp.core.engine import work

    folder = tmp_path / "fastmlp"
    found = work.find("float32")
    if found.compiled is None:
        work.load("float32")
        found = work.find("float32")
    stamp = {**work.stamp("float32"), "compiler": kernels.compiler_version()}
    object_file.write(folder / work.file_name("float32"), stamp, found.compiled)
    out, _ = finish(start(tmp_path / "functions.py", TAMPERED, NUMBA_CACHE_DIR=str(tmp_path)))
    assert json.loads(out) == [300, "cache"]
