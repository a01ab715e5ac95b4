"""Where everything lies: nothing overlaps, all of it is aligned, and what is packed can be unpacked."""

import itertools
import mmap

import numpy as np
import pytest
from numba import njit

from fastmlp.core import layout
from fastmlp.core.layout import LINE, PAGE, aligned, pack, panel, partition, plan, round_up, unpack
from fastmlp.core.records import UNIT_PARAMETERS, Layout
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.record import read, table_of
from fastmlp.machine.target import lanes_of_dtype
from fastmlp.machine.tile import MR, NR, tallest

pytestmark = pytest.mark.width

WIDTHS = [*range(1, 70), 95, 96, 97, 127, 128, 129, 255, 256, 257, 1000]
NETWORKS = [
    (1, 1),
    (3, 2),
    (1, 1, 1, 1),
    (8, 32, 32, 3),
    (64, 100, 10),
    (784, 100, 10),
    (255, 256, 511, 512, 1023, 7),
    (13, 101, 53, 11),
    (300, 1100, 2),
    (4, *[9] * 20, 3),
    (2, 20_000, 1),
]
MEMBERS = range(1, 10)
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
over_networks = pytest.mark.parametrize("units", NETWORKS, ids=lambda units: "-".join(map(str, units[:6])))
over_inputs = pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])


@njit(**OPTIONS)
def rows_of_blocks(units, rows):
    for block in range(rows.size):
        rows[block] = layout.block_rows(units, block)


@njit(**OPTIONS)
def compiled_unit_parameter_at(table, unit_parameter, level):
    return layout.unit_parameter_at(read(Layout, table, 0.0), unit_parameter, level)


def unit_parameter_of(where, unit_parameter, level):
    """Where compiled code finds a unit parameter of a level's units."""
    return compiled_unit_parameter_at(table_of(where), unit_parameter, level)


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hugepages", [True, False])
@pytest.mark.parametrize("size", [1, 100, 2**18 - 1, 2**18, 300_001])
@over_dtypes
def test_aligned(size, hugepages, dtype, monkeypatch):
    if not hugepages:
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    array = aligned(size, dtype)
    assert array.shape == (size,)
    assert array.dtype == dtype
    assert array.ctypes.data % LINE == 0
    np.testing.assert_array_equal(array, 0)
    array[:] = 1


def test_round_up():
    assert [round_up(n, 4) for n in (0, 1, 3, 4, 5, 8, 9)] == [0, 4, 4, 4, 8, 8, 12]


# --- panels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", range(1, 32))
def test_panels_cover_a_row(vectors):
    sizes, at = [], 0
    while at < vectors:
        first, count = panel(vectors, at)
        assert first == at
        assert [panel(vectors, vector) for vector in range(at, at + count)] == [(first, count)] * count
        sizes.append(count)
        at += count
    assert at == vectors
    assert sizes == sorted(sizes, reverse=True)
    assert set(sizes) <= {NR, NR - 1} or vectors == 1
    assert len(sizes) == -(-vectors // NR)


@over_dtypes
@pytest.mark.parametrize("rows", [1, 5])
def test_pack_and_unpack(rows, dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    for width in WIDTHS:
        matrix = np.arange(1, rows * width + 1, dtype=dtype).reshape(rows, width)
        size = rows * round_up(width, lanes)
        target = np.full(size + 20, np.nan, dtype)
        pack(matrix, target, 7)
        assert np.isnan(target[:7]).all()
        assert np.isnan(target[7 + size :]).all()
        packed = target[7 : 7 + size]
        np.testing.assert_array_equal(np.sort(packed[packed != 0]), matrix.ravel())  # once each; zeros as padding
        result = np.full((rows, width), np.nan, dtype)
        unpack(target, 7, result)
        np.testing.assert_array_equal(result, matrix)


@over_dtypes
def test_a_panel_holds_all_rows_one_after_the_other(dtype):
    lanes = lanes_of_dtype(np.dtype(dtype))
    width, rows = 5 * lanes - 1, 4  # panels of three and of two vectors
    matrix = np.random.default_rng(0).normal(size=(rows, width)).astype(dtype)
    target = np.full(rows * 5 * lanes, np.nan, dtype)
    pack(matrix, target, 0)
    first = target[: rows * 3 * lanes].reshape(rows, -1)
    second = target[rows * 3 * lanes :].reshape(rows, -1)
    np.testing.assert_array_equal(first, matrix[:, : 3 * lanes])
    np.testing.assert_array_equal(second[:, :-1], matrix[:, 3 * lanes :])
    np.testing.assert_array_equal(second[:, -1], 0)


# --- the plan ---------------------------------------------------------------------------------------------------------


@over_dtypes
@over_networks
@over_inputs
@pytest.mark.parametrize("rows", [0, 1, 37])
def test_plan(units, rows, sparse, dtype):
    where, sizes = plan(units, dtype, rows, sparse)
    lanes, itemsize = lanes_of_dtype(np.dtype(dtype)), np.dtype(dtype).itemsize
    layers = list(zip(units, units[1:], where.narrow))
    assert where.layers == len(layers)
    needed = {
        "rows": [rows * (0 if sparse and level == 0 else n + 1) for level, n in enumerate(units)],
        "weights": [
            (above if narrow else below + 1) * (narrow or round_up(above, lanes)) for below, above, narrow in layers
        ],
    }
    ends = {"rows": sizes["outputs"], "weights": sizes["weights"]}
    for name, scalars in needed.items():
        offsets = getattr(where, f"{name}_at")
        assert offsets[0] == 0
        assert (offsets * itemsize % LINE == 0).all()
        assert (np.diff(offsets) >= scalars).all()
        assert ends[name] >= offsets[-1] + NR * lanes  # a tile may read past the last row


@over_dtypes
@over_networks
@over_inputs
def test_unit_parameters_stand_after_the_weights(units, sparse, dtype):
    """Five rows of a number for each unit, each level in whole cache lines, beyond what a tile reads of the weights."""
    where, sizes = plan(units, dtype, 5, sparse)
    lanes, line = lanes_of_dtype(np.dtype(dtype)), LINE // np.dtype(dtype).itemsize
    assert where.unit_parameters_at >= where.weights_at[-1] + NR * lanes
    assert where.unit_parameters_at % line == where.unit_parameter_row % line == 0
    assert sizes["weights"] == where.unit_parameters_at + UNIT_PARAMETERS * where.unit_parameter_row
    assert (np.diff(where.units_at) >= round_up(np.array(units), lanes)).all()
    assert where.units_at[0] == 0
    assert where.units_at[-1] == where.unit_parameter_row
    for unit_parameter, level in itertools.product(range(UNIT_PARAMETERS), range(len(units))):
        assert (
            unit_parameter_of(where, unit_parameter, level)
            == where.unit_parameters_at + unit_parameter * where.unit_parameter_row + where.units_at[level]
        )


@over_dtypes
@over_networks
@over_inputs
def test_strides(units, sparse, dtype):
    stride = plan(units, dtype, 5, sparse)[0].stride
    itemsize = np.dtype(dtype).itemsize
    if sparse:
        assert stride[0] == 0
        stride, units = stride[1:], units[1:]
    assert (stride > units).all()  # room for the column of ones
    assert (stride * itemsize % LINE == 0).all()
    assert (stride * itemsize % (PAGE // 4) != 0).all()
    assert (stride * itemsize <= round_up((np.array(units) + 1) * itemsize, LINE) + LINE).all()


def narrow(units, lanes, sparse=False):
    return layout.narrow_strides(units, lanes, sparse).tolist()


@pytest.mark.parametrize(
    ("below", "above", "lanes", "stride"),
    [
        (100, 10, 16, 112),  # six of sixteen lanes would be idle
        (100, 11, 16, 0),
        (100, 16, 16, 0),
        (100, 21, 16, 112),
        (100, 22, 16, 0),
        (100, 1, 16, 112),
        (15, 1, 16, 16),
        (16, 1, 16, 32),  # the bias needs a place too
        (2, 10, 16, 0),  # transposed, ten vectors; as it is, three
        (9, 10, 16, 0),  # ten either way
        (10, 10, 16, 16),
        (100, 5, 8, 104),
        (100, 6, 8, 0),
        (100, 2, 4, 104),
        (100, 3, 4, 0),
        (100, 1, 2, 102),
        (100, 2, 2, 0),
    ],
)
def test_narrow(below, above, lanes, stride):
    assert narrow((below, above), lanes) == [stride]
    assert narrow((7, below, above), lanes)[1] == stride
    assert narrow((below, above), lanes, sparse=True) == [0]


@over_dtypes
@over_networks
@over_inputs
def test_parameters_of_all_layers_fit_side_by_side(units, sparse, dtype):
    where, sizes = plan(units, dtype, 0, sparse)
    buffer = np.full(sizes["weights"], np.nan, dtype)
    random = np.random.default_rng(0)
    matrices = [random.normal(size=(below + 1, above)).astype(dtype) for below, above in itertools.pairwise(units)]
    wide = [layer for layer in range(where.layers) if not where.narrow[layer]]
    for layer in wide:
        pack(matrices[layer], buffer, where.weights_at[layer])
    for layer in wide:
        result = np.empty_like(matrices[layer])
        unpack(buffer, where.weights_at[layer], result)
        np.testing.assert_array_equal(result, matrices[layer])


# --- blocks and shares ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [*range(1, 60), 1000])
def test_blocks_cover_the_rows_of_a_layer(units):
    rows = np.zeros(layout.block_count(units), np.int64)
    rows_of_blocks(units, rows)
    assert rows.sum() == units + 1
    assert (rows[:-1] == MR).all()
    assert 1 <= rows[-1] <= tallest(NR)


@over_dtypes
@over_networks
@over_inputs
def test_blocks_of_the_plan(units, sparse, dtype):
    where, _ = plan(units, dtype, 0, sparse)
    lanes = lanes_of_dtype(np.dtype(dtype))
    counts = [
        stride // lanes if stride else layout.block_count(below) for below, stride in zip(units[:-1], where.narrow)
    ]
    np.testing.assert_array_equal(np.diff(where.blocks_at), counts)
    assert where.blocks_at[0] == 0
    assert where.blocks_at[-1] == where.blocks


@over_dtypes
@over_networks
@over_inputs
def test_shares_cover_every_block_once(units, sparse, dtype):
    where, _ = plan(units, dtype, 0, sparse)
    for n_threads in MEMBERS:
        owned = partition(units, dtype, n_threads, sparse)
        assert owned.shape == (n_threads + 1, where.layers)
        assert owned.dtype == np.int64
        assert owned.flags.c_contiguous
        np.testing.assert_array_equal(owned[0], 0)
        np.testing.assert_array_equal(owned[-1], np.diff(where.blocks_at))
        assert (np.diff(owned, axis=0) >= 0).all()


@over_dtypes
@over_networks
def test_shares_are_balanced(units, dtype):
    """No thread has more work than its part, one block, and half a block of each layer that is shared out by itself."""
    where, _ = plan(units, dtype, 0, False)
    lanes = lanes_of_dtype(np.dtype(dtype))
    widths = [
        lanes * above if stride else MR * round_up(above, lanes) for above, stride in zip(units[1:], where.narrow)
    ]
    for n_threads in MEMBERS:
        work = (np.diff(partition(units, dtype, n_threads, False), axis=0) * widths).sum(axis=1)
        assert abs(work - work.sum() / n_threads).max() <= max(widths) + sum(widths) / 2


@over_networks
def test_a_layer_above_sparse_inputs_is_shared_out_by_itself(units):
    for n_threads in MEMBERS:
        owned = np.diff(partition(units, np.float32, n_threads, True)[:, 0])
        assert owned.max() - owned.min() <= 1
