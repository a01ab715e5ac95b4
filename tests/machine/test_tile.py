"""The register tile, scalar products and the transpose against NumPy: all of it written, nothing beyond."""

import numpy as np
import pytest
from numba import njit

from fastmlp.machine import tile
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.target import REGISTERS, lanes_of_dtype

pytestmark = pytest.mark.width

GUARD = 12345.0  # stands wherever nothing may be written; where nothing may be read stands a NaN
MARGIN = 37  # numbers on both sides of an operand; odd, so that no operand is aligned to more than its dtype
GAP = 5  # numbers between two rows
TILES = [shape for shape in tile.TILE_TABLE if shape]
DEPTHS = [1, 2, 7, 16, 31]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-14}

over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
over_tiles = pytest.mark.parametrize(("rows", "vectors"), TILES)


@njit(**OPTIONS)
def multiply(shape, left, left_at, right, right_at, start, start_at, out, out_at):
    tile.multiply(
        shape,
        (left, left_at[0], left_at[1], left_at[2]),
        (right, right_at[0], right_at[1]),
        (start, start_at[0], start_at[1]),
        (out, out_at[0], out_at[1]),
    )


@njit(**OPTIONS)
def dots(shape, left, left_at, right, right_at, out, out_at):
    tile.dots(shape, (left, left_at[0], left_at[1]), (right, right_at[0], right_at[1]), (out, out_at[0], out_at[1]))


@njit(**OPTIONS)
def transpose(source, source_at, target, target_at):
    tile.transpose((source, source_at[0], source_at[1]), (target, target_at[0], target_at[1]))


def surrounded(matrix, by):
    """(buffer, (offset, row stride)): the rows of a matrix in a buffer that holds `by` wherever no row is."""
    stride = matrix.shape[1] + GAP
    buffer = np.full(2 * MARGIN + len(matrix) * stride, by, matrix.dtype)
    block(buffer, *matrix.shape)[...] = matrix
    return buffer, (MARGIN, stride)


def block(buffer, rows, columns):
    """View of the matrix in a buffer made by `surrounded`."""
    stride = columns + GAP
    return buffer[MARGIN : MARGIN + rows * stride].reshape(rows, stride)[:, :columns]


def result_of(buffer, rows, columns):
    """The matrix in a buffer, around which nothing may have changed."""
    result = block(buffer, rows, columns).copy()
    block(buffer, rows, columns)[...] = GUARD
    np.testing.assert_array_equal(buffer, GUARD)
    return result


def product(left, right, start, *, transposed=False):
    """start + left right by one tile; `start` is a row (a bias), a matrix, or None for zeros."""
    lanes = lanes_of_dtype(right.dtype)
    (rows, depth), width = left.shape, right.shape[1]
    if transposed:
        left_buffer, (at, row) = surrounded(left.T, np.nan)
        left_at = at, 1, row
    else:
        left_buffer, (at, row) = surrounded(left, np.nan)
        left_at = at, row, 1
    right_buffer, right_at = surrounded(right, np.nan)
    start = np.zeros(width, right.dtype) if start is None else start
    start_buffer, start_at = surrounded(np.atleast_2d(start), np.nan)
    if start.ndim == 1:
        start_at = start_at[0], 0
    out, out_at = surrounded(np.full((rows, width), np.nan, right.dtype), GUARD)
    multiply(
        (rows, width // lanes, depth), left_buffer, left_at, right_buffer, right_at, start_buffer, start_at, out, out_at
    )
    return result_of(out, rows, width)


def operands(rows, vectors, depth, dtype):
    """Random left and right side, and a row and a matrix to start from."""
    generator = np.random.default_rng(rows * 1000 + vectors * 100 + depth)
    width = vectors * lanes_of_dtype(np.dtype(dtype))
    shapes = (rows, depth), (depth, width), width, (rows, width)
    return [generator.normal(size=shape).astype(dtype) for shape in shapes]


def assert_close(result, truth, dtype):
    scale = max(1, np.abs(truth).max())
    np.testing.assert_allclose(result / scale, truth / scale, rtol=0, atol=TOLERANCE[dtype])


@over_dtypes
@over_tiles
@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "columns"])
def test_multiply(rows, vectors, transposed, dtype):
    for depth in DEPTHS:
        left, right, bias, partial = operands(rows, vectors, depth, dtype)
        wide = left.astype(np.float64) @ right.astype(np.float64)
        for start in (bias, partial, None):
            truth = wide if start is None else start.astype(np.float64) + wide
            assert_close(product(left, right, start, transposed=transposed), truth, dtype)


@over_dtypes
@over_tiles
def test_stretches_of_k_change_no_bit(rows, vectors, dtype):
    left, right, bias, _ = operands(rows, vectors, 61, dtype)
    whole = product(left, right, bias)
    for ends in [(1,), (60,), (7, 20, 21, 53)]:
        partial = bias
        for first, stop in zip((0, *ends), (*ends, 61)):
            partial = product(left[:, first:stop], right[first:stop], partial)
        np.testing.assert_array_equal(partial, whole)


@over_dtypes
@over_tiles
def test_shape_of_the_tile_changes_no_bit(rows, vectors, dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    left, right, bias, _ = operands(rows, vectors, 61, dtype)
    by_element = [
        [product(left[i : i + 1], right[:, j : j + lanes], bias[j : j + lanes]) for j in range(0, len(bias), lanes)]
        for i in range(rows)
    ]
    np.testing.assert_array_equal(product(left, right, bias), np.block(by_element))
    np.testing.assert_array_equal(product(left, right, bias, transposed=True), np.block(by_element))


@over_dtypes
def test_start_may_be_the_output(dtype):
    rows, vectors = tile.MR, tile.NR
    lanes = lanes_of_dtype(np.dtype(dtype))
    left, right, _, partial = operands(rows, vectors, 7, dtype)
    out, out_at = surrounded(partial, GUARD)
    left_at, right_at = (0, left.shape[1], 1), (0, right.shape[1])
    multiply((rows, vectors, 7), left.ravel(), left_at, right.ravel(), right_at, out, out_at, out, out_at)
    np.testing.assert_array_equal(result_of(out, rows, vectors * lanes), product(left, right, partial))


@over_dtypes
@pytest.mark.parametrize("where", ["left", "right", "start"])
def test_nan_and_infinity_reach_the_output(where, dtype):
    sides = dict(zip(("left", "right", "start"), operands(3, 2, 5, dtype)))
    for value in (np.nan, np.inf):
        sides[where].flat[0] = value
        with np.errstate(invalid="ignore"):
            truth = sides["start"] + sides["left"] @ sides["right"]
        np.testing.assert_array_equal(np.isfinite(product(*sides.values())), np.isfinite(truth))


def test_tiles_fit_the_registers():
    for rows, vectors in TILES:
        assert rows * vectors + vectors + 1 <= REGISTERS.count
    assert (tile.MR, tile.NR) in TILES
    for vectors, rows in enumerate(tile.TALL_ROWS[1:], 1):
        assert tile.MR <= rows <= tile.tallest(vectors)


def scalar_products(left, right):
    """left rightᵀ by one call."""
    (rows, depth), outputs = left.shape, len(right)
    left_buffer, left_at = surrounded(left, np.nan)
    right_buffer, right_at = surrounded(right, np.nan)
    out, out_at = surrounded(np.full((rows, outputs), np.nan, left.dtype), GUARD)
    dots((rows, outputs, depth), left_buffer, left_at, right_buffer, right_at, out, out_at)
    return result_of(out, rows, outputs)


@over_dtypes
@pytest.mark.parametrize(("rows", "outputs"), tile.DOT_TABLE)
def test_dots(rows, outputs, dtype):
    generator = np.random.default_rng(0)
    for vectors in (1, 2, 7):
        depth = vectors * lanes_of_dtype(np.dtype(dtype))
        left, right = (generator.normal(size=(n, depth)).astype(dtype) for n in (rows, outputs))
        result = scalar_products(left, right)
        assert_close(result, left.astype(np.float64) @ right.astype(np.float64).T, dtype)
        alone = [scalar_products(left[i : i + 1], right) for i in range(rows)]
        np.testing.assert_array_equal(result, np.concatenate(alone))


@over_dtypes
def test_transpose(dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    side = tile.side(lanes)
    matrix = np.arange(side * lanes, dtype=dtype).reshape(side, lanes)
    source, source_at = surrounded(matrix, np.nan)
    target, target_at = surrounded(np.full((lanes, side), np.nan, dtype), GUARD)
    transpose(source, source_at, target, target_at)
    np.testing.assert_array_equal(result_of(target, lanes, side), matrix.T)


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_side_of_the_transpose(lanes):
    side = tile.side(lanes)
    assert lanes % side == 0
    assert side <= tile.MR
