"""Where everything lies in memory. Only this file and the kernels know; above them, weights are ordinary arrays.

A network of units (n_0, ..., n_L) has layers 0 ... L - 1; layer l goes from n_l units below to n_(l+1) units above.

* Rows of outputs A and of deltas D, one pair per level, are padded to whole cache lines. Column n_l of every output row
  is 1, so that the bias is one more weight in the update.
* Weights W of a layer, of shape (n_l + 1, n_(l+1)) with the bias as last row, lie in panels: the vectors of a row are
  cut into runs of three (or two, where that leaves no single one over), and a panel holds its run of all rows, one
  after the other. Moments and gradients lie as the weights do. A tile is then contiguous, cheap for the TLB and easy to
  prefetch.
* Where the padding of a row would waste more than a third of it (few outputs, say), the layer is narrow: it lies
  transposed, a row of n_l + 1 numbers for each unit above, with the bias as last column.
* What a unit has for itself stands after the weights, as unit parameters: five rows of numbers, one for each unit of
  all levels, among them those that units learn (see UNIT_PARAMETERS).
* Where the inputs are sparse, level 0 has no rows (their stored entries are read where they lie) and layer 0 is not
  narrow.

All offsets count numbers, not bytes.
"""

import functools
import itertools
import mmap
from typing import Any, NamedTuple

import numpy as np

from ..machine.jit import inlined
from ..machine.simd import REGISTERS, lanes_of_dtype, pointer
from ..machine.tile import MR, NR, tallest

LINE = 64  # bytes of a cache line
PAGE = 4096
# Rows of a batch that pass through the network together. A larger batch goes chunk by chunk and sums its gradient.
CHUNK = 512
# A stretch of k in one tile: a panel of the right side, three vectors wide, then fits the second-level cache.
KC = 1024
# Vectors of A that an update goes through for each panel of weights: they fit the second-level cache beside the rest.
NEAR = 2**19 // (REGISTERS.bits // 8)
# Units from which on rows are so far apart that the processor does not foresee the next one.
FAR = 4096
# Blocks per thread from which on a layer is shared out by itself.
MANY_BLOCKS = 8
# The last block of an update holds the bias; it may be one row taller than a tile where the registers allow.
SLACK = max(0, tallest(NR) - MR)


# Of a unit: its activation's hyperparameter; gain and shift of its normalization; running mean and variance.
HYPERPARAMETERS, GAINS, SHIFTS, MEANS, VARIANCES = range(5)
LEARNED, UNIT_PARAMETERS = 3, 5
# Sweeps of an update: all at once; or first the whole gradient, then the step.
ALL, GRADIENT, STEP = range(3)


class Layout(NamedTuple):
    """Numbers of layers and blocks; then pointers to int64, one number per level (L + 1) or layer (L).

    unit_parameters_at : where unit parameters begin; unit_parameter_row : numbers of one unit parameter, for all levels
    rows_at, weights_at, blocks_at, units_at : offsets; stride : of rows of outputs and deltas
    narrow : stride of rows of the weights of a narrow layer, 0 for the others
    sparse : whether the rows below a layer are sparse; only those of layer 0 can be
    """

    layers: int
    blocks: int
    unit_parameters_at: int
    unit_parameter_row: int
    units: Any
    rows_at: Any
    stride: Any
    weights_at: Any
    blocks_at: Any
    narrow: Any
    sparse: Any
    units_at: Any


class Buffers(NamedTuple):
    """What a step reads and writes; every field a pointer to numbers of the network's dtype, aligned to cache lines.

    weights, state0, state1, state2 : parameters and the optimizer's states, in panels, then unit parameters
    optimizer_scalars : OPTIMIZER_SCALARS for each step
    loss_hyperparameters : that of the loss, for each output
    gradient : a tile for each thread; or all of it, in panels, where a batch has more than one chunk. Where the inputs
        are sparse, that of layer 0 comes first, whole, and is zero between steps
    outputs, deltas : rows of every level, for one chunk. `deltas` holds the slopes first, the deltas later
    saved : three more arrays like `outputs`: what each row gives to the gradient of the three learned unit parameters
    unit_parameter_gradient : of the learned unit parameters
    statistics : mean and 1 / deviation of each unit or row, while it is needed
    losses : the loss of each row of the chunk
    penalties, norms : the penalty and the squared gradient of each block of weights, then of each level's units
    scratch : room for each thread's transposed stretch of a panel, and products, in the backward pass
    zeros : where a tile starts that starts from nothing
    values, indices : the stored entries of sparse inputs: numbers, and their features as int64
    bounds : of each row of the chunk, its first entry and the one after its last, in int64
    """

    weights: Any
    state0: Any
    state1: Any
    state2: Any
    gradient: Any
    outputs: Any
    deltas: Any
    saved: Any
    unit_parameter_gradient: Any
    statistics: Any
    optimizer_scalars: Any
    loss_hyperparameters: Any
    losses: Any
    scratch: Any
    zeros: Any
    penalties: Any
    norms: Any
    values: Any
    indices: Any
    bounds: Any


class Data(NamedTuple):
    """What a session works on.

    ordered, weighted : whether there is an `order`, and `sample_weight`
    inputs : (n_rows * n_features,); order : indices of rows; codes : class of each row
    indptr : (n_rows + 1,), where the stored entries of each row of sparse inputs begin
    targets : (n_rows * n_outputs,); sample_weight : (n_rows,)
    predictions : (rows to predict * n_outputs,)
    """

    ordered: int
    weighted: int
    order: Any
    codes: Any
    indptr: Any
    inputs: Any
    targets: Any
    sample_weight: Any
    predictions: Any


@inlined
def layout_of(t):
    """Layout from a table of its numbers and addresses."""
    p, i = pointer, np.int64(0)
    return Layout(
        t[0], t[1], t[2], t[3], p(t[4], i), p(t[5], i), p(t[6], i), p(t[7], i), p(t[8], i), p(t[9], i), p(t[10], i),
        p(t[11], i),
    )  # fmt: skip


@inlined
def buffers_of(t, zero):
    """Buffers from a table of addresses; `zero` has the network's dtype."""
    p, i = pointer, np.int64(0)
    return Buffers(
        p(t[0], zero), p(t[1], zero), p(t[2], zero), p(t[3], zero), p(t[4], zero), p(t[5], zero), p(t[6], zero),
        p(t[7], zero), p(t[8], zero), p(t[9], zero), p(t[10], zero), p(t[11], zero), p(t[12], zero), p(t[13], zero),
        p(t[14], zero), p(t[15], 0.0), p(t[16], 0.0), p(t[17], zero), p(t[18], i), p(t[19], i),
    )  # fmt: skip


@inlined
def data_of(t, zero):
    """Data from a table of flags and addresses; `zero` has the network's dtype."""
    p, i = pointer, np.int64(0)
    return Data(
        t[0], t[1], p(t[2], i), p(t[3], i), p(t[4], i), p(t[5], zero), p(t[6], zero), p(t[7], zero), p(t[8], zero)
    )


def table_of(record):
    """The numbers and addresses of a Layout, Buffers or Data whose fields are numbers and arrays."""
    return np.array([f.ctypes.data if isinstance(f, np.ndarray) else f for f in record], np.int64)


class Span(NamedTuple):
    """What a thread owns in phase 1: rows start ... stop - 1 of a chunk whose row 0 is at position `at` of the order.

    rows : rows of the chunk; last : positions of the order; scratch : the thread's own place in the scratch
    capacity : rows that the buffers hold
    """

    at: int
    start: int
    stop: int
    rows: int
    last: int
    scratch: int
    capacity: int


class Blocks(NamedTuple):
    """What a thread owns in phase 2: blocks start ... stop - 1 of a layer's weights.

    rows : rows of the chunk; begun : whether `gradient` holds the sum over earlier chunks
    tile : the thread's own place in `gradient`, or -1 where the gradient lies there whole
    sweep : ALL, GRADIENT or STEP
    """

    start: int
    stop: int
    rows: int
    accumulate: bool
    tile: int
    phase: int


@inlined
def unit_at(layout, row, level):
    """Where a level's units begin in that row of a table that has a number for each unit."""
    return row * layout.unit_parameter_row + layout.units_at[level]


@inlined
def unit_parameter_at(layout, unit_parameter, level):
    """Where that unit parameter of a level's units begins, in `weights` and the optimizer's states."""
    return layout.unit_parameters_at + unit_at(layout, unit_parameter, level)


def round_up(number, multiple):
    """The smallest multiple that is not smaller."""
    return -(-number // multiple) * multiple


def aligned(size, dtype):
    """A zeroed array of `size` numbers on a cache line's boundary; on huge pages where the system has them."""
    count = size * np.dtype(dtype).itemsize
    if count >= 1 << 20 and hasattr(mmap, "MADV_HUGEPAGE"):
        memory = mmap.mmap(-1, round_up(count, 1 << 21))
        memory.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(memory, dtype, size)
    memory = np.zeros(count + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + count].view(dtype)


def release_pages(array):
    """Give the memory of an `aligned` array back to the system, where it is large; what it held is lost."""
    memory = getattr(array.base, "obj", None)
    if isinstance(memory, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)


def panel(vectors, vector):
    """(first vector, number of vectors) of the panel that holds `vector` of a row of `vectors`."""
    panels = (vectors + NR - 1) // NR
    full = max(0, vectors - (NR - 1) * (NR * panels - vectors))
    if vector < full:
        return vector // NR * NR, NR
    narrow = min(NR - 1, vectors)
    return full + (vector - full) // narrow * narrow, narrow


panel_of = inlined(panel)


def narrow_strides(units, lanes, sparse):
    """Stride of the rows of each narrow layer, 0 for the others.

    A layer is narrow where padding would waste more than a third of its vectors, and less of them lie the other way;
    but not one above sparse inputs, whose entries each need the weights of one feature, side by side.
    """
    strides = []
    for below, above in itertools.pairwise(units):
        vectors, vectors_below = -(-above // lanes), -(-(below + 1) // lanes)
        wasteful = 3 * above < 2 * vectors * lanes
        strides.append(vectors_below * lanes if wasteful and above * vectors_below < vectors * (below + 1) else 0)
    if sparse:
        strides[0] = 0
    return np.array(strides, np.int64)


def block_counts(units, lanes, sparse):
    """Blocks of the weights of each layer: of TILE_ROWS rows, bias included, or of one vector where it is narrow."""
    strides = narrow_strides(units, lanes, sparse)
    return np.array([n // lanes if n else block_count(k) for k, n in zip(units[:-1], strides, strict=True)], np.int64)


def block_count(units):
    """Blocks of rows of the weights of a layer with that many units below, bias included."""
    return (units - SLACK) // MR + 1


blocks_of = inlined(block_count)


@inlined
def block_rows(units, block):
    """Rows of one block: TILE_ROWS, or what is left for the last one."""
    return MR if block < blocks_of(units) - 1 else units + 1 - block * MR


@functools.lru_cache
def plan(units, dtype, rows, sparse):
    """Layout of a network and the sizes of its buffers, for chunks of `rows` rows; not to be changed.

    `sparse` tells whether the inputs are sparse.

    Returns
    -------
    layout : Layout
    sizes : dict of the sizes of `weights` and `outputs`
    """
    itemsize = np.dtype(dtype).itemsize
    lanes = lanes_of_dtype(np.dtype(dtype))
    line = LINE // itemsize
    units = np.asarray(units, np.int64)
    stride = round_up(units + 1, line)
    stride[stride * itemsize % (PAGE // 4) == 0] += line  # rows a page apart share one set of the cache
    if sparse:
        stride[0] = 0
    widths = round_up(units, lanes)
    narrow = narrow_strides(units, lanes, sparse)
    weights = np.where(narrow, units[1:] * narrow, (units[:-1] + 1) * widths[1:])

    def offsets(sizes):
        return np.concatenate([[0], np.cumsum(round_up(sizes, line))])

    rows_at, weights_at = offsets(rows * stride), offsets(weights)
    blocks_at = np.concatenate([[0], np.cumsum(block_counts(units, lanes, sparse))])
    layers, blocks = len(units) - 1, int(blocks_at[-1])
    below_sparse = (np.arange(layers) < int(sparse)).astype(np.int64)
    units_at = offsets(widths)
    margin = (MR + 1) * NR * lanes  # what a tile or a square may read beyond
    unit_parameters_at, unit_parameter_row = int(round_up(weights_at[-1] + margin, line)), int(units_at[-1])
    layout = Layout(
        layers, blocks, unit_parameters_at, unit_parameter_row,
        units, rows_at, stride, weights_at, blocks_at, narrow, below_sparse, units_at,
    )  # fmt: skip
    return layout, {
        "outputs": int(rows_at[-1]) + margin,
        "weights": unit_parameters_at + UNIT_PARAMETERS * unit_parameter_row,
    }


@functools.lru_cache
def partition(units, dtype, n_threads, sparse):
    """Which blocks of each layer each thread updates: thread m owns blocks [m, layer] to [m + 1, layer] - 1.

    A layer of many blocks, or above sparse inputs, is shared out by itself, so that all threads work on the same rows
    and deltas at a time; the others together, so that their work is equal within a block. No result depends on it.
    """
    lanes = lanes_of_dtype(np.dtype(dtype))
    counts = block_counts(units, lanes, sparse)
    wide = [MR * -(-above // lanes) for above in units[1:]]
    costs = np.where(narrow_strides(units, lanes, sparse), units[1:], wide)
    many = counts >= MANY_BLOCKS * n_threads
    many[0] |= sparse
    work = np.where(many, 0, counts * costs)
    ends = np.cumsum(work)
    parts = np.arange(n_threads + 1)[:, None] / n_threads
    together = np.clip(np.rint((ends[-1] * parts - (ends - work)) / costs), 0, counts)
    return np.where(many, np.rint(counts * parts), together).astype(np.int64)


def _panels(width, lanes):
    """Column ranges of the panels of a matrix of `width` columns."""
    vectors = -(-width // lanes)
    first = 0
    while first < vectors:
        count = panel(vectors, first)[1]
        yield first * lanes, (first + count) * lanes
        first += count


def pack(matrix, target, at):
    """Write a matrix into panels from `target[at]` on, zeros in its padding."""
    lanes = lanes_of_dtype(target.dtype)
    for first, stop in _panels(matrix.shape[1], lanes):
        block = target[at : at + len(matrix) * (stop - first)].reshape(len(matrix), stop - first)
        columns = matrix[:, first:stop]
        block[:, : columns.shape[1]] = columns
        block[:, columns.shape[1] :] = 0
        at += block.size


def unpack(source, at, matrix):
    """Read a matrix from panels."""
    lanes = lanes_of_dtype(source.dtype)
    for first, stop in _panels(matrix.shape[1], lanes):
        block = source[at : at + len(matrix) * (stop - first)].reshape(len(matrix), stop - first)
        columns = matrix[:, first:stop]
        columns[...] = block[:, : columns.shape[1]]
        at += block.size
