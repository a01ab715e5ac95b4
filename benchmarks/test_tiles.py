"""Rates of the register tiles, one core: which shapes reach the peak, and which no longer fit the registers.

MR x NR of `fastmlp/machine/tile.py` follow from this table: of the tiles that reach the peak, the
largest whose rows cut into the squares that are transposed. One row more than `tallest` spills.
"""

import functools

import numpy as np
import pytest
from numba import njit

from benchmarks.kernels import best_seconds
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.simd import lanes_of
from fastmlp.machine.target import lanes_of_dtype
from fastmlp.machine.tile import MR, NR, multiply, tallest

KC = 256
SHAPES = [
    (rows, vectors)
    for vectors in range(1, NR + 1)
    for rows in sorted({1, 2, 4, 6, MR, tallest(vectors)})
    if rows <= tallest(vectors)
]


@njit(**OPTIONS)
def products(times, shape, left, right, start, out):
    """`out = start + left right`, again and again, on blocks that stay in the first-level cache."""
    rows, vectors, depth = shape
    lanes = lanes_of(left)
    for _ in range(times):
        multiply(
            (rows, vectors, depth),
            (left, 0, depth, 1),
            (right, 0, vectors * lanes),
            (start, 0, 0),
            (out, 0, vectors * lanes),
        )


def make(rows, vectors, dtype):
    """Operands of a tile and what it must give."""
    random = np.random.default_rng(0)
    width = vectors * lanes_of_dtype(np.dtype(dtype))
    left, right = random.random((rows, KC)).astype(dtype), random.random((KC, width)).astype(dtype)
    start, out = random.random(width).astype(dtype), np.full((rows, width), np.nan, dtype)
    return left, right, start, out


@functools.cache
def peak(dtype):
    """GFLOP/s of the engine's tile on one core: what all shares are shares of."""
    return rate(MR, NR, dtype)[0]


def rate(rows, vectors, dtype):
    """GFLOP/s of a shape, and a function that runs it some milliseconds."""
    left, right, start, out = make(rows, vectors, dtype)
    operands = [array.reshape(-1) for array in (left, right, start, out)]
    shape = np.int64(rows), np.int64(vectors), np.int64(KC)
    products(1, shape, *operands)
    np.testing.assert_allclose(out, start + left @ right, rtol=1e-4)
    seconds, times = best_seconds(lambda times: products(times, shape, *operands), rounds=15, least=0.002)
    return 2 * left.size * right.shape[1] / seconds / 1e9, lambda: products(times, shape, *operands)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}".format)
def test_tile(benchmark, shape, dtype):
    reached, run = rate(*shape, dtype)
    benchmark.pedantic(run, rounds=5)
    benchmark.extra_info["table"] = "tiles"
    benchmark.extra_info["row"] = {
        "tile": f"{shape[0]} × {shape[1]} vectors",
        "dtype": dtype,
        "GFLOP/s": reached,
        "share of the engine's tile": reached / peak(dtype),
    }
