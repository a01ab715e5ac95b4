"""Where everything lies in memory. Only the passes and what makes their buffers know; above, weights are plain arrays.

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
  all levels, among them those that units learn (see `records`).
* Where the inputs are sparse, level 0 has no rows (their stored entries are read where they lie) and layer 0 is not
  narrow.

Buffers that passes write begin at a cache line. All offsets count numbers, not bytes.
"""

import functools
import itertools
import mmap

import numpy as np

from ..machine.jit import inlined
from ..machine.target import REGISTERS, lanes_of_dtype
from ..machine.tile import MR, NR, tallest
from .records import UNIT_PARAMETERS, Layout

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


def vectors(units, lanes):
    """Vectors that hold a number for each of some units."""
    return (units + lanes - 1) // lanes


vectors_of = inlined(vectors)


@inlined
def row_at(layout, level, r):
    """Where row r of the chunk begins in `outputs` and `deltas`, of shape (m, n_level + 1) at each level."""
    return layout.rows_at[level] + r * layout.stride[level]


@inlined
def panel_at(layout, layer, j, lanes):
    """Where the panel of vector j of a layer that is not narrow begins: an array (n_below + 1, width of the panel)."""
    return layout.weights_at[layer] + j * lanes * (layout.units[layer] + 1)


@inlined
def narrow_at(layout, layer, n, column):
    """Where the weights into unit n begin, from that column on, in a narrow layer: an array (n_above, n_below + 1)."""
    return layout.weights_at[layer] + n * layout.narrow[layer] + column


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
        try:
            memory = mmap.mmap(-1, round_up(count, 1 << 21))
        except OSError as error:  # errno 12
            raise MemoryError(f"no room for a buffer of {count} bytes") from error
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


def panel(count, vector):
    """(first vector, number of vectors) of the panel that holds `vector` of a row of `count` vectors."""
    panels = (count + NR - 1) // NR
    full = max(0, count - (NR - 1) * (NR * panels - count))
    if vector < full:
        return vector // NR * NR, NR
    narrow = min(NR - 1, count)
    return full + (vector - full) // narrow * narrow, narrow


panel_of = inlined(panel)


def narrow_strides(units, lanes, sparse, narrow=True):
    """Stride of the rows of each narrow layer, 0 for the others.

    A layer is narrow where padding would waste more than a third of its vectors, and less of them lie the other way;
    but not one above sparse inputs, whose entries each need the weights of one feature, side by side; and none unless
    `narrow`.
    """
    strides = []
    for below, above in itertools.pairwise(units):
        across, down = vectors(above, lanes), vectors(below + 1, lanes)
        wasteful = 3 * above < 2 * across * lanes
        wasteful &= narrow
        strides.append(down * lanes if wasteful and above * down < across * (below + 1) else 0)
    if sparse:
        strides[0] = 0
    return np.array(strides, np.int64)


def block_counts(units, lanes, sparse, narrow=True):
    """Blocks of the weights of each layer: of MR rows, bias included, or of one vector where it is narrow."""
    strides = narrow_strides(units, lanes, sparse, narrow)
    return np.array([n // lanes if n else block_count(k) for k, n in zip(units[:-1], strides, strict=True)], np.int64)


def block_count(units):
    """Blocks of rows of the weights of a layer with that many units below, bias included."""
    return (units - SLACK) // MR + 1


blocks_of = inlined(block_count)


@inlined
def block_rows(units, block):
    """Rows of one block: MR, or what is left for the last one."""
    return MR if block < blocks_of(units) - 1 else units + 1 - block * MR


@functools.lru_cache
def plan(units, dtype, rows, sparse, panels_only=False):
    """Layout of a network and the sizes of its buffers, for chunks of `rows` rows; not to be changed.

    `sparse` tells whether the inputs are sparse, `panels_only` whether no layer may be narrow.

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
    narrow = narrow_strides(units, lanes, sparse, not panels_only)
    weights = np.where(narrow, units[1:] * narrow, (units[:-1] + 1) * widths[1:])

    def offsets(sizes):
        return np.concatenate([[0], np.cumsum(round_up(sizes, line))])

    rows_at, weights_at = offsets(rows * stride), offsets(weights)
    blocks_at = np.concatenate([[0], np.cumsum(block_counts(units, lanes, sparse, not panels_only))])
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
def partition(units, dtype, n_threads, sparse, panels_only=False):
    """Which blocks of each layer each thread updates: thread m owns blocks [m, layer] to [m + 1, layer] - 1.

    A layer of many blocks, or above sparse inputs, is shared out by itself, so that all threads work on the same rows
    and deltas at a time; the others together, so that their work is equal within a block. No result depends on it.
    """
    lanes = lanes_of_dtype(np.dtype(dtype))
    counts = block_counts(units, lanes, sparse, not panels_only)
    wide = [MR * vectors(above, lanes) for above in units[1:]]
    costs = np.where(narrow_strides(units, lanes, sparse, not panels_only), units[1:], wide)
    many = counts >= MANY_BLOCKS * n_threads
    many[0] |= sparse
    work = np.where(many, 0, counts * costs)
    ends = np.cumsum(work)
    parts = np.arange(n_threads + 1)[:, None] / n_threads
    together = np.clip(np.rint((ends[-1] * parts - (ends - work)) / costs), 0, counts)
    return np.where(many, np.rint(counts * parts), together).astype(np.int64)


def _panels(width, lanes):
    """Column ranges of the panels of a matrix of `width` columns."""
    columns = vectors(width, lanes)
    first = 0
    while first < columns:
        count = panel(columns, first)[1]
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
