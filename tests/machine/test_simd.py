"""The vector type against NumPy: every operator and function, NaN, memory, and the width in use."""

import ctypes
import functools
import itertools
import json
import mmap
import os
import platform
import subprocess
import sys

import llvmlite.binding
import numpy as np
import pytest
from llvmlite import ir
from numba import njit, types
from vectors import mapped

from fastmlp.machine import simd
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.simd import VECTORS, Lanes, where
from fastmlp.machine.target import REGISTERS, lanes_of_dtype, registers
from fastmlp.machine.vector_types import Mask, Vector

pytestmark = pytest.mark.width

INF, NAN = np.inf, np.nan
GUARD = 77.0
INTEGER = {np.float32: np.int32, np.float64: np.int64}
UNSIGNED = {np.dtype(np.float32): np.uint32, np.dtype(np.float64): np.uint64}
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
over_integers = pytest.mark.parametrize("dtype", [np.int32, np.int64])

# Expressions of vectors x, y, z, each written twice: to be compiled, and in NumPy where that reads otherwise.
REAL = {
    "x + y": None,
    "x - y": None,
    "x * y": None,
    "x / y": None,
    "-x": None,
    "x + 2.5": None,
    "2.5 - x": None,
    "x * 3": None,
    "3 * x": None,
    "1 / x": None,
    "x / 8": None,
    "sqrt(x)": None,
    "absolute(x)": None,
    "rint(x)": None,
    "copysign(x, y)": None,
    "copysign(2.5, y)": None,
    "maximum(x, y)": "where(x < y, y, x)",
    "minimum(x, y)": "where(x > y, y, x)",
    "maximum(x, 0)": "where(x < 0, 0, x)",
    "minimum(x, 1.5)": "where(x > 1.5, 1.5, x)",
    "maximum(1.5, y)": "where(1.5 < y, y, 1.5)",
    "full_like(x, 2.5)": None,
    "full_like(x, 3)": None,
    "epsilon_like(x)": "full_like(x, finfo(x.dtype).eps)",
    "where(x < y, x, y)": None,
    "where(x < y, 1, y)": None,
    "where(x < y, x, 2.5)": None,
    "where(x <= y, x, z)": None,
    "where(x > y, x, z)": None,
    "where(x >= y, x, z)": None,
    "where(x == y, x, z)": None,
    "where(x != y, x, z)": None,
    "where(x > 0, x, z)": None,
    "where(x != x, x, z)": None,
    "where(x == 0, x, z)": None,
    "where(0 < x, x, z)": None,
    "real_of_bits(bits_of(x))": "x",
    "real_of_bits(bits_of(x) ^ bits_of(y))": None,
    "real_of_bits(bits_of(x) & bits_of(y))": None,
    "real_of_bits(bits_of(x) | bits_of(y))": None,
    "real_of_bits(bits_of(x) >> 3)": None,
    "real_of_bits(bits_of(x) << 2)": None,
    "real_of_bits(bits_of(x) >> (bits_of(y) & 7))": None,
    "real_of_bits(bits_of(x) + bits_of(y))": None,
    "real_of(integer_of(where(absolute(z) < 1e6, rint(z), 0)))": "where(absolute(z) < 1e6, rint(z), 0)",
}
ALMOST = {"fma(x, y, z)": "x * y + z", "fma(x, 2.5, z)": "x * 2.5 + z", "x * y + z": None}  # rounded once or twice
INTEGERS = {
    "x + y": None,
    "x - y": None,
    "x * y": None,
    "-x": None,
    "x & y": None,
    "x | y": None,
    "x ^ y": None,
    "x + 3": None,
    "x * 3": None,
    "x & 255": None,
    "x << 3": None,
    "x >> 3": "(x.view(unsigned) >> 3).view(x.dtype)",
    "x >> (y & 15)": "(x.view(unsigned) >> (y & 15).view(unsigned)).view(x.dtype)",
    "x << (y & 15)": None,
    "maximum(x, y)": None,
    "minimum(x, y)": None,
    "where(x < y, x, z)": None,
    "where(x >= 0, x, z)": None,
    "where(x == y, x, z)": None,
    "where(x != y, x, 7)": None,
}
NUMPY = {
    **vars(np),
    "bits_of": lambda x: x.view(UNSIGNED[x.dtype]),
    "real_of_bits": lambda n: n.view({np.dtype(u): real for real, u in UNSIGNED.items()}[n.dtype]),
}


@functools.cache
def compiled(expressions):
    """A function that evaluates each expression for one vector of x, y and z and puts it into a row of `out`."""
    lines = [f"    store(out, {row} * lanes_of(x_), {expression})" for row, expression in enumerate(expressions)]
    loads = [f"    {name} = load({name}_, 0)" for name in "xyz"]
    source = "\n".join(["def evaluate(x_, y_, z_, out):", *loads, *lines])
    namespace = dict(vars(simd))
    exec(source, namespace)
    return njit(**OPTIONS)(namespace["evaluate"])


def values(dtype):
    """x, y and z with every pair of the numbers that need care, and ordinary ones."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        special = [0, 1, -1, 3, -7, 100, limits.max, limits.min]
        ordinary = np.random.default_rng(0).integers(limits.min, limits.max, (64, 2), dtype)
    else:
        limits = np.finfo(dtype)
        special = [
            0,
            -0.0,
            1,
            -1.5,
            2.5,
            3.5,
            1e10,
            limits.max,
            -limits.tiny,
            limits.smallest_subnormal,
            INF,
            -INF,
            NAN,
        ]
        ordinary = np.random.default_rng(0).normal(scale=10, size=(64, 2)).astype(dtype)
    pairs = np.concatenate([np.array(list(itertools.product(special, repeat=2)), dtype), ordinary])
    pairs = np.resize(pairs, (-(-len(pairs) // 16) * 16, 2))
    x, y = np.ascontiguousarray(pairs.T)
    return x, y, np.roll(x, 5)


@functools.cache
def results(expressions, dtype):
    """Each expression for all values: {expression: array}."""
    x, y, z = values(dtype)
    lanes = lanes_of_dtype(np.dtype(dtype))
    out = np.zeros((len(x) // lanes, len(expressions), lanes), dtype)
    for n, at in enumerate(range(0, len(x), lanes)):
        compiled(expressions)(x[at : at + lanes], y[at : at + lanes], z[at : at + lanes], out[n].ravel())
    return dict(zip(expressions, out.transpose(1, 0, 2).reshape(len(expressions), -1)))


def truth(table, expression, dtype):
    x, y, z = values(dtype)
    with np.errstate(all="ignore"):
        names = {**NUMPY, "x": x, "y": y, "z": z, "unsigned": f"u{np.dtype(dtype).itemsize}"}
        return np.broadcast_to(eval(table[expression] or expression, names), x.shape).astype(dtype)


@over_dtypes
@pytest.mark.parametrize("expression", REAL)
def test_real_lanes(expression, dtype):
    np.testing.assert_array_equal(results(tuple(REAL), dtype)[expression], truth(REAL, expression, dtype))


@over_dtypes
@pytest.mark.parametrize("expression", ALMOST)
def test_multiply_and_add(expression, dtype):
    """Within the error of rounding once or twice, wherever nothing overflows."""
    got, expected = results(tuple(ALMOST), dtype)[expression], truth(ALMOST, expression, dtype)
    x, y, z = (array.astype(np.longdouble) for array in values(dtype))
    limits = np.finfo(dtype)
    with np.errstate(all="ignore"):
        size = np.abs(x * (2.5 if "2.5" in expression else y)) + np.abs(z)
        allowed = 2 * limits.eps * size + 2 * limits.smallest_subnormal
        ordinary = size < limits.max
        assert (np.abs(got - expected)[ordinary] <= allowed[ordinary]).all()
    assert np.isnan(got[np.isnan(size)]).all()


@over_integers
@pytest.mark.parametrize("expression", INTEGERS)
def test_integer_lanes(expression, dtype):
    np.testing.assert_array_equal(results(tuple(INTEGERS), dtype)[expression], truth(INTEGERS, expression, dtype))


def test_numbers_beside_a_float32_vector_become_float32():
    everything = (*REAL, *ALMOST)
    for dtype in (np.float32, np.float64):
        results(everything, dtype)
    codes = compiled(everything).inspect_llvm()
    for signature, code in codes.items():
        assert ("double" in code) == (signature[0].dtype.bitwidth == 64)
    assert len(codes) == 2


# --- tracing ----------------------------------------------------------------------------------------------------------


@functools.cache
def traced_results(dtype):
    """Each real expression by a component of them all: {expression: array}."""
    component = eval(f"lambda x, y, z: ({', '.join(REAL)})", vars(simd))
    return dict(zip(REAL, mapped(component, results=len(REAL))(*values(dtype))))


@over_dtypes
@pytest.mark.parametrize("expression", REAL)
def test_a_traced_word_is_the_compiled_one(expression, dtype):
    """Operators from both sides, and numbers of Python beside vectors."""
    np.testing.assert_array_equal(traced_results(dtype)[expression], results(tuple(REAL), dtype)[expression])


@pytest.fixture
def lanes():
    """Three real vectors of a function that is being written."""
    vector = VECTORS[types.float32]
    function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), [vector.llvm] * 3), "component")
    builder = ir.IRBuilder(function.append_basic_block())
    return [Lanes(builder, vector, argument) for argument in function.args]


def test_numbers_become_constants_of_the_vectors_dtype(lanes):
    x, _, _ = lanes
    for result in (x + 0.1, 0.1 + x):
        constant = next(value for value in result.value.operands if isinstance(value, ir.Constant))
        assert constant.type == x.kind.llvm
        assert len(set(constant.constant)) == 1
    assert "double" not in str((2 - x * 0.1 > 3).value.parent)


def test_reflected_operators_keep_their_sides(lanes):
    x, _, _ = lanes
    for reflected, place in ((1 - x, 1), (1 / x, 1), (x - 1, 0), (x / 1, 0)):
        assert reflected.value.operands[place] is x.value


def test_comparisons_give_masks(lanes):
    x, y, z = lanes
    for mask in (x < y, x <= 0, x > y, x >= 0, x == y, x != y):
        assert isinstance(mask.kind, Mask)
        assert mask.kind.lanes == x.kind.lanes
        assert isinstance(where(mask, z, 0).kind, Vector)


@pytest.mark.parametrize(
    "misuse",
    [
        bool,
        lambda x: 1 if x > 0 else 0,
        lambda x: max(x, 0),
        lambda x: x > 0 and x < 1,
        lambda x: not x,
        lambda x: 0 < x < 1,
    ],
    ids=["bool", "if", "max", "and", "not", "chain"],
)
def test_a_vector_has_no_truth_value(misuse, lanes):
    with pytest.raises(TypeError, match="a vector has no truth value: choose lane by lane, with `where`"):
        misuse(lanes[0])


def test_integer_vectors_have_no_division(lanes):
    with pytest.raises(TypeError):
        simd.bits_of(lanes[0]) / 2


# --- lanes ------------------------------------------------------------------------------------------------------------


@njit(**OPTIONS)
def reduce(x):
    return simd.reduce_add(simd.load(x, 0)), simd.reduce_max(simd.load(x, 0)), simd.lanes_of(x)


@njit(**OPTIONS)
def select_first(x, count, out):
    v = simd.load(x, 0)
    simd.store(out, 0, simd.where(simd.mask_first(v, count), v, 7))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_reductions(dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    for seed in range(5):
        x = np.random.default_rng(seed).integers(-1000, 1000, lanes).astype(dtype)
        assert reduce(x) == (x.sum(), x.max(), lanes)
    for place in range(lanes):
        x = np.full(lanes, -3, dtype)
        x[place] = -2
        assert reduce(x) == (1 - 3 * lanes, -2, lanes)


@over_dtypes
def test_total_of_nan_is_nan(dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    for place in range(lanes):
        x = np.ones(lanes, dtype)
        x[place] = np.nan
        assert np.isnan(reduce(x)[0])


@over_dtypes
def test_first(dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    x, out = np.arange(1, lanes + 1, dtype=dtype), np.zeros(lanes, dtype)
    for count in range(-2, lanes + 3):
        select_first(x, count, out)
        np.testing.assert_array_equal(out, np.where(np.arange(lanes) < count, x, 7))


# --- memory -----------------------------------------------------------------------------------------------------------


@njit(**OPTIONS)
def copy(source, at, target, to):
    simd.prefetch(source, at)
    simd.prefetch(source, 10**12)
    simd.store(target, to, simd.load(source, at))


@njit(**OPTIONS)
def load_first(source, at, count, target):
    simd.store(target, 0, simd.load_first(source, at, count))


@njit(**OPTIONS)
def store_first(source, target, at, count):
    simd.store_first(target, at, simd.load(source, 0), count)


@njit(**OPTIONS)
def through_pointers(source, target, like, at, number):
    source, target = simd.pointer(source, like), simd.pointer(target, like)
    target[0] = source[at]
    target[1] = simd.number_like(target, number)
    simd.store(target, 2, simd.load(source, at) * source[at])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_load_and_store(dtype):
    """At any offset, aligned or not; one vector and nothing beside it."""
    lanes = lanes_of_dtype(np.dtype(dtype))
    source = np.arange(3 * lanes, dtype=dtype)
    for at, to in itertools.product(range(lanes), repeat=2):
        target = np.full(3 * lanes, GUARD, dtype)
        copy(source, at, target, to)
        expected = np.full(3 * lanes, GUARD, dtype)
        expected[to : to + lanes] = source[at : at + lanes]
        np.testing.assert_array_equal(target, expected)


@over_dtypes
def test_load_first(dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    source, target = np.arange(1, lanes + 9, dtype=dtype), np.zeros(lanes, dtype)
    for count in range(-1, lanes + 3):
        load_first(source, 3, count, target)
        np.testing.assert_array_equal(target, np.where(np.arange(lanes) < count, source[3 : 3 + lanes], 0))


@over_dtypes
def test_store_first(dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    source = np.arange(1, lanes + 1, dtype=dtype)
    for count in range(-1, lanes + 3):
        target, expected = (np.full(lanes + 9, GUARD, dtype) for _ in range(2))
        store_first(source, target, 5, count)
        stored = min(max(count, 0), lanes)
        expected[5 : 5 + stored] = source[:stored]
        np.testing.assert_array_equal(target, expected)


@pytest.fixture
def last_page():
    """A page of memory after which none may be touched."""
    if not sys.platform.startswith("linux"):
        pytest.skip("mprotect is called as on Linux")
    size = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * size)
    page = np.frombuffer(memory, np.uint8)
    second = ctypes.c_void_p(page.ctypes.data + size)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    assert protect(second, ctypes.c_size_t(size), 0) == 0
    yield page[:size]
    assert protect(second, ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE) == 0


@over_dtypes
def test_nothing_beyond_the_first_lanes_is_touched(dtype, last_page):
    lanes = lanes_of_dtype(np.dtype(dtype))
    array, vector = last_page.view(dtype), np.arange(1, lanes + 1, dtype=dtype)
    for count in range(lanes + 1):
        array[:] = 0
        at = array.size - count
        store_first(vector, array, at, count)
        out = np.full(lanes, GUARD, dtype)
        load_first(array, at, count, out)
        np.testing.assert_array_equal(out, np.where(np.arange(lanes) < count, vector, 0))


@over_dtypes
def test_pointers(dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    source, target = np.arange(lanes + 9, dtype=dtype), np.full(2 + lanes, GUARD, dtype)
    through_pointers(source.ctypes.data, target.ctypes.data, dtype(0), 5, 0.1)
    np.testing.assert_array_equal(target, [5, dtype(0.1), *5 * source[5 : 5 + lanes]])


# --- the width in use -------------------------------------------------------------------------------------------------


def test_lanes():
    assert [lanes_of_dtype(np.dtype(dtype)) * 8 * dtype().itemsize for dtype in INTEGER] == [REGISTERS.bits] * 2


REPORT = """
import json
import numpy as np
from numba import njit
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.simd import load, store
from fastmlp.machine.target import REGISTERS, lanes_of_dtype, registers

@njit(**OPTIONS)
def add(x, out):
    store(out, 0, load(x, 0) + load(x, 64))

add(np.zeros(128, np.float32), np.zeros(64, np.float32))
lanes = [lanes_of_dtype(np.dtype(dtype)) for dtype in ("float32", "float64")]
print(json.dumps([list(REGISTERS), lanes, *add.inspect_asm().values()]))
"""
PROCESSORS = {
    "host": {},
    "haswell": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
    "generic": {"NUMBA_CPU_NAME": "generic"},
}


@pytest.fixture(scope="module")
def reports():
    """What new processes say that pretend to run on these processors."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU")}
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-c", REPORT], env={**environment, **extra}, stdout=subprocess.PIPE, text=True
        )
        for name, extra in PROCESSORS.items()
    }
    return {name: process.communicate(timeout=300)[0] for name, process in processes.items()}


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="the processors and registers are of x86")
@pytest.mark.parametrize("name", PROCESSORS)
def test_width_in_use(name, reports):
    features = llvmlite.binding.get_host_cpu_features()
    host = registers(feature for feature, present in features.items() if present)
    (bits, count), lanes, code = json.loads(reports[name])
    assert (bits, count) == {"host": host, "haswell": (256, 16), "generic": (128, 16)}[name]
    assert lanes == [bits // 32, bits // 64]
    assert max(size for size, kind in ((128, "%xmm"), (256, "%ymm"), (512, "%zmm")) if kind in code) == bits
