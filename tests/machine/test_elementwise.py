"""Components in compiled code: strips over rows and choices between vectors, against the same in NumPy."""

import numpy as np
import pytest
from numba import njit

from fastmlp.machine.elementwise import ElementwiseFunction, elementwise_dispatch, vector_dispatch
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.simd import lanes_of, load, sqrt, store, where
from fastmlp.machine.target import lanes_of_dtype

pytestmark = pytest.mark.width

GUARD = 4321.0
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])

# Streams 0, 1 and 2; each component in NumPy: (numbers, streams before) -> streams after.
COMPONENTS = [
    ElementwiseFunction(lambda n, x: (x * 2 + 1,), 0, (0,), (0,)),
    ElementwiseFunction(lambda n, x, z: (z - x, x), 0, (0, 2), (1, 2)),
    ElementwiseFunction(lambda n, y: (where(y > n[0], n[1] * y, n[2]),), 3, (1,), (1,)),
    ElementwiseFunction(lambda n, x, y, z: (x + y, y + z, sqrt(z * z) + n[0]), 1, (0, 1, 2), (0, 1, 2)),
]
FORMULAS = [
    lambda n, x, y, z: (x * 2 + 1, y, z),
    lambda n, x, y, z: (x, z - x, x),
    lambda n, x, y, z: (x, np.where(y > n[0], n[1] * y, n[2]), z),
    lambda n, x, y, z: (x + y, y + z, abs(z) + n[0]),
]
run = elementwise_dispatch("components_of_a_test", COMPONENTS)


@njit(**OPTIONS)
def run_strip(code, rows, width, scalars, at, x, y, z, strides):
    run(code, (rows, width), (scalars, at), ((x, 32, strides[0]), (y, 32, strides[1]), (z, 32, strides[2])))


def view(buffer, rows, width, stride):
    """The rows of a stream, which begin at 32."""
    return np.lib.stride_tricks.as_strided(buffer[32:], (rows, width), (stride * buffer.itemsize, buffer.itemsize))


@over_dtypes
@pytest.mark.parametrize("code", range(len(COMPONENTS)))
@pytest.mark.parametrize(("rows", "vectors"), [(1, 1), (3, 1), (1, 5), (4, 3), (0, 2)])
def test_strips(code, rows, vectors, dtype):
    width = vectors * lanes_of_dtype(np.dtype(dtype))
    strides = np.array([width, width + 7, width + 32])
    scalars = np.array([np.nan, np.nan, 0.25, 3, -1, np.nan], dtype)
    random, buffers, before = np.random.default_rng(0), [], []
    for stride in strides:
        buffer = np.full(rows * stride + 64, GUARD, dtype)
        view(buffer, rows, width, stride)[:] = random.normal(size=(rows, width))
        buffers.append(buffer)
        before.append(view(buffer, rows, width, stride).copy())
    run_strip(code, rows, width, scalars, 2, *buffers, strides)
    for buffer, stride, expected in zip(buffers, strides, FORMULAS[code](scalars[2:5], *before)):
        rows_now = view(buffer, rows, width, stride)
        np.testing.assert_allclose(rows_now, expected, rtol=1e-6 if dtype == np.float32 else 1e-15)
        rows_now[:] = GUARD
        np.testing.assert_array_equal(buffer, GUARD)  # nothing beside the rows


@over_dtypes
def test_a_stream_of_stride_zero_is_one_row_for_all(dtype):
    width = lanes_of_dtype(np.dtype(dtype))
    x, y, z = (np.arange(float(n), n + 64 + 3 * width).astype(dtype) for n in (0, 100, 200))
    expected = z[32 : 32 + width] - view(x, 3, width, width)
    run_strip(1, 2, width, np.zeros(0, dtype), 0, x, y, z.copy(), np.array([width, width, 0]))
    np.testing.assert_array_equal(view(y, 1, width, width), expected[:1])


def test_a_width_is_taken_in_whole_vectors():
    lanes = lanes_of_dtype(np.dtype(np.float64))
    x = np.ones(64 + 2 * lanes)
    run_strip(0, 1, lanes + 1, np.zeros(0), 0, x, x, x, np.zeros(3, np.int64))
    np.testing.assert_array_equal(np.flatnonzero(x == 3), np.arange(32, 32 + 2 * lanes))


TWO = [lambda x, y: x + y, lambda x, y: where(x < y, x, 0.5), lambda x, y: x * y - 1]
PAIRS = [lambda x: (x, x * x), lambda x: (-x, x + 1)]
one_of_two, pair_of_one = vector_dispatch(TWO, 2), vector_dispatch(PAIRS, 1, results=2)


@njit(**OPTIONS)
def choose(code, x, y, out):
    for i in range(0, x.size, lanes_of(x)):
        store(out, i, one_of_two(code, load(x, i), load(y, i)))


@njit(**OPTIONS)
def choose_pair(code, x, first, second):
    for i in range(0, x.size, lanes_of(x)):
        one, other = pair_of_one(code, load(x, i))
        store(first, i, one)
        store(second, i, other)


@over_dtypes
def test_choice(dtype):
    x, y = np.random.default_rng(0).normal(size=(2, 64)).astype(dtype)
    out, other = np.empty_like(x), np.empty_like(x)
    for code, expected in enumerate([x + y, np.where(x < y, x, dtype(0.5)), x * y - 1]):
        choose(code, x, y, out)
        np.testing.assert_allclose(out, expected, rtol=0, atol=4 * np.finfo(dtype).eps)
    for code, expected in enumerate([(x, x * x), (-x, x + 1)]):
        choose_pair(code, x, out, other)
        np.testing.assert_array_equal([out, other], expected)


def test_one_compilation_serves_every_word():
    """The choice is a number: it is no part of a type."""
    for function in (run_strip, choose, choose_pair):
        assert len(function.signatures) <= 2
