"""What kernels need of Numba beside its public interface, item by item; seen to work with 0.68.1.

Where one fails on a new version, `fastmlp/machine/numba_internals.py` says what it is for.
"""

import functools
import os
import subprocess
import sys
import threading

import numba
import pytest
from llvmlite import ir
from numba.core import codegen, compiler, config
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from fastmlp.machine.jit import OPTIONS, inlined, intrinsic, load_numba
from fastmlp.machine.kernels import link
from fastmlp.machine.simd import I64
from fastmlp.machine.target import LEVELS, TARGET

load_numba()
internals = sys.modules["fastmlp.machine.numba_internals"]


@inlined
def twice(x):
    return 2 * x


@pytest.mark.parametrize("version", ["0.61.2", "0.59", "0.5.1"])
def test_a_version_that_is_known_to_break_is_refused(version):
    with pytest.raises(ImportError, match=rf"fastmlp needs numba 0.62 or newer .* this is {version}"):
        internals.check_version(version)


@pytest.mark.parametrize("version", ["0.62.0", "0.68.1", "0.70.0rc1", "1.0", numba.__version__])
def test_newer_versions_are_taken(version):
    internals.check_version(version)


def test_the_compiler_has_its_library_and_context():
    """Compiler.compile_extra, state.library, state.targetctx."""
    pipeline = compiler.Compiler(cpu_target.typing_context, cpu_target.target_context, None, (), None, _flags(), {})
    assert pipeline.state.library is None
    assert pipeline.state.targetctx.codegen() is cpu_target.target_context.codegen()
    assert callable(pipeline.compile_extra)


def _flags():
    flags = compiler.Flags()
    flags.error_model = "numpy"
    return flags


@pytest.mark.parametrize(
    "path",
    [
        "codegen.JITCodeLibrary._ensure_finalized",
        "codegen.JITCPUCodegen._create_empty_module",
        "codegen.JITCPUCodegen._customize_tm_options",
        "codegen.JITCPUCodegen._get_host_cpu_features",
        "codegen.JITCPUCodegen._get_host_cpu_name",
        "codegen.JITCPUCodegen._init",
        "cpu_target.target_context.subtarget",
        "cpu_target.target_context.call_conv.call_function",
        "cpu_target.target_context.declare_function",
        "cpu_target.target_context.refresh",
        "cpu_target.typing_context.callstack._lock.release",
        "cpu_target.typing_context.callstack._stack.clear",
        "cpu_target.typing_context.refresh",
        "cpu_target.typing_context.resolve_value_type",
        "global_compiler_lock.is_locked",
        "global_compiler_lock._lock.release",
    ],
)
def test_what_is_called_or_replaced_is_there(path):
    first, *names = path.split(".")
    assert callable(functools.reduce(getattr, names, globals()[first]))


@pytest.mark.parametrize("name", ["add_ir_module", "finalize", "_get_module_for_linking", "_optimize_final_module"])
def test_libraries_have_the_stages_that_are_replaced_or_called(name):
    assert callable(getattr(codegen.JITCodeLibrary, name))


def test_generators_of_code_say_what_libraries_they_make():
    assert codegen.JITCPUCodegen._library_class is codegen.JITCodeLibrary
    assert type(internals._context().codegen().create_library("empty")) is internals._Part


def test_passes_without_use_are_left_out():
    """Compiler.define_pipelines, PassManager.passes."""
    arguments = (cpu_target.typing_context, cpu_target.target_context, None, (), None, _flags(), {})
    (whole,) = compiler.Compiler(*arguments).define_pipelines()
    (short,) = internals._PartCompiler(*arguments).define_pipelines()
    left_out = [step for step in whole.passes if step not in short.passes]
    assert {step for step, _ in left_out} == internals.NEEDLESS_PASSES
    assert [step for step in whole.passes if step in short.passes] == short.passes


def test_a_part_is_linked_once_however_many_ask_for_it(monkeypatch):
    """Four functions call one another crosswise; the code of each is read once."""
    library = internals._Whole(internals._context().codegen(), "whole")
    parts = [internals.part(internals._context().codegen(), f"part_{n}") for n in range(4)]
    for n, part in enumerate(parts):
        module = part.create_ir_module(part.name)
        function = ir.Function(module, ir.FunctionType(I64, []), part.name)
        builder = ir.IRBuilder(function.append_basic_block())
        called = [ir.Function(module, function.function_type, f"part_{k}") for k in range(n)]
        builder.ret(functools.reduce(builder.add, [builder.call(other, []) for other in called], I64(1)))
        part.add_ir_module(module)
        for other in parts[:n]:
            part.add_linking_library(other)
    module = library.create_ir_module("whole")
    function = ir.Function(module, ir.FunctionType(I64, []), "whole")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(builder.call(ir.Function(module, function.function_type, "part_3"), []))
    library.add_ir_module(module)
    library.add_linking_library(parts[3])
    read, parse = [], internals.llvmlite.binding.parse_assembly
    monkeypatch.setattr(internals.llvmlite.binding, "parse_assembly", lambda text: read.append(text) or parse(text))
    code, wanted = library.object_code()
    assert len(read) == len(parts)
    assert wanted == set()
    if TARGET.is_own_architecture():
        assert link(code, "whole", 0)() == 8


def test_a_context_for_another_code_generator():
    """JITCPUCodegen._init, BaseContext.subtarget."""
    context = internals._context()
    assert context is internals._context()
    assert context.codegen() is not cpu_target.target_context.codegen()
    assert context.codegen()._tm.target_data is not None
    assert context.codegen()._create_empty_module("m").triple == TARGET.triple


def test_an_object_with_a_numba_type_is_one_in_compiled_code():
    @numba.njit(**OPTIONS)
    def four_times(x):
        return twice(twice(x))

    assert four_times(3) == 12


def test_intrinsics_are_made_when_they_are_needed():
    @intrinsic
    def seven(typing_context):
        return numba.types.int64(), lambda context, builder, sig, values: context.get_constant(numba.types.int64, 7)

    @numba.njit(**OPTIONS)
    def call():
        return seven()

    assert call() == 7


def test_numba_compiles_although_it_was_told_not_to(monkeypatch):
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    dispatcher = internals.part_dispatcher(twice.py_func)
    assert config.DISABLE_JIT == 1
    assert hasattr(dispatcher, "overloads")


def test_locks_are_renewed_only_where_another_thread_has_them():
    with global_compiler_lock:
        before = global_compiler_lock._lock
        internals.renew_locks()
        assert global_compiler_lock._lock is before
    held, done = threading.Event(), threading.Event()

    def hold():
        with global_compiler_lock:
            held.set()
            done.wait(60)

    before = global_compiler_lock._lock
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    try:
        internals.renew_locks()
        assert global_compiler_lock._lock is not before
        with global_compiler_lock:
            assert global_compiler_lock.is_locked()
    finally:
        global_compiler_lock._lock = before
        done.set()
        thread.join()


CROSS = """
import sys
import numpy as np
from fastmlp.machine.compiler import compile_kernel
from fastmlp.machine.kernels import entry
from fastmlp.machine.simd import load, pointer, store

@entry
def double(numbers, zero):
    x = pointer(numbers, zero)
    store(x, 0, load(x, 0) + load(x, 0))

compiled = compile_kernel(double, "float32")
assert b"fastmlp_double_float32" in compiled.code
sys.stdout.buffer.write(compiled.code)
"""
MACHINES = {"x86_64": 62, "aarch64": 183}  # e_machine of ELF


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="object files of other systems have another head")
@pytest.mark.parametrize("level", LEVELS)
def test_object_files_for_every_level(level):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU")}
    answer = subprocess.run(
        [sys.executable, "-c", CROSS], env={**environment, "FASTMLP_TARGET": level}, capture_output=True, check=False
    )
    if b"No available targets" in answer.stderr:
        pytest.skip("this LLVM writes code for its own architecture alone")
    assert answer.returncode == 0, answer.stderr.decode()
    assert answer.stdout[:4] == b"\x7fELF"
    assert int.from_bytes(answer.stdout[18:20], "little") == MACHINES[LEVELS[level].architecture]


def test_a_known_number_makes_no_second_form_of_a_function():
    """In either order: the 0 that a loop begins with, and then any number."""

    @inlined
    def below(n, limit):
        return n < limit

    @inlined
    def count(limit):
        n = 0
        while below(n, limit):
            n += 1
        return n + below(0, 5)

    code, _ = internals.object_code(count.py_func, (numba.types.int64,), "fastmlp_test_count", {})
    assert code
    (dispatcher,) = below._dispatchers.values()
    assert [*dispatcher.overloads] == [(numba.types.int64, numba.types.int64)]
