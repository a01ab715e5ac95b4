"""Products with sparse inputs: the first layer of a network whose rows store few of their numbers.

Entry e of `buffers.rows` has the feature `indices[e]` and the number `values[e]`; row r of the chunk owns the entries
from bounds[r, 0] to bounds[r, 1] - 1, in ascending order of their features, none twice. Both products take as many
multiplications as there are entries, times the units above, in the order of the dense ones in panels: a term that is 0
changes no sum, so that results are the same to the bit as those of dense rows. Where the dense layer would be narrow
(see `layout`: so few units above that padding them to whole vectors wastes more than a third), its sums run in another
order, and both agree to rounding only.
"""

from ..machine.jit import inlined
from ..machine.kernels import entry
from ..machine.record import read
from ..machine.simd import fma, full_like, lanes_of, load, prefetch, store
from ..machine.tile import MR
from .affine import activate_tile, row_of, write_ones
from .layout import blocks_of, panel_at, panel_of, row_at, vectors_of
from .records import Blocks, Buffers, Chunk, Data, Layout, Tables, ThreadContext

LOCATE, FORWARD, ADD_GRADIENT = range(3)


@entry
def sparse_pass(zero, number, activation, tables):
    """One of the passes above sparse inputs, X : (n_rows, n_0), for the thread whose `tables` these are.

    Parameters
    ----------
    zero : a number of the network's dtype
    number : LOCATE, FORWARD or ADD_GRADIENT
    activation : code of that of layer 0, for FORWARD
    tables : address of the table of Tables
    """
    records = read(Tables, tables, zero)
    layout, buffers = read(Layout, records.layout, zero), read(Buffers, records.buffers, zero)
    context, chunk = read(ThreadContext, records.context, zero), read(Chunk, records.chunk, zero)
    if number == LOCATE:
        locate(read(Data, records.data, zero), chunk.span, buffers.rows)
    elif number == FORWARD:
        sparse_forward(layout, activation, chunk.span, buffers)
    else:
        here, blocks = context.rank * layout.layers, chunk.blocks
        start, stop = context.partition[here], context.partition[here + layout.layers]
        own = Blocks(start, stop, blocks.rows, blocks.accumulate, blocks.tile, blocks.phase)
        sparse_gradient(layout, own, buffers)


@inlined
def locate(data, span, rows):
    """Sparse rows stay where they are: `bounds` says where."""
    for r in range(span.start, span.stop):
        row = row_of(data, span.at + r)
        rows.bounds[2 * r] = rows.indptr[row]
        rows.bounds[2 * r + 1] = rows.indptr[row + 1]
        following = span.at + span.rows + r
        if following < span.last:
            entry = rows.indptr[row_of(data, following)]
            prefetch(rows.indices, entry)
            prefetch(rows.values, entry)


@inlined
def sparse_forward(layout, activation, span, buffers):
    """A_1 = f(X W + b), (m, n_1 + 1), and the slope f', (m, n_1), panel by panel of W : (n_0, n_1)."""
    A, W = buffers.outputs, buffers.weights
    lanes, rows = lanes_of(A), span.stop - span.start
    vectors = vectors_of(layout.units[1], lanes)
    j = 0
    while j < vectors:
        count = panel_of(vectors, j)[1]
        width = count * lanes
        weights, out = panel_at(layout, 0, j, lanes), row_at(layout, 1, span.start) + j * lanes
        right, bias = (W, weights, width), weights + layout.units[0] * width
        sparse_product(span.start, rows, right, bias, (A, out, layout.stride[1]), buffers)
        activate_tile(layout, 1, activation, rows, j * lanes, width, out, buffers)
        j += count
    write_ones(layout, 1, span, buffers)


@inlined
def sparse_product(row, rows, right, start, out, buffers):
    """One panel of X W + b for some rows of the chunk, each a sum over its entries in three vectors.

    right : (W, offset, width) of the panel, an array of shape (n_0, width) whose row k are the weights of feature k
    start : offset of the bias in W, of shape (width,); out : (array, offset, stride), of shape (rows, width)
    """
    entries = buffers.rows
    W, weights, width = right
    A, target, stride = out
    third = width - lanes_of(W)  # a panel of fewer vectors goes through its last one again
    second = min(lanes_of(W), third)
    for r in range(row, row + rows):
        a, b, c = load(W, start), load(W, start + second), load(W, start + third)
        for e in range(entries.bounds[2 * r], entries.bounds[2 * r + 1]):
            x, k = full_like(a, entries.values[e]), weights + entries.indices[e] * width
            a, b, c = fma(x, load(W, k), a), fma(x, load(W, k + second), b), fma(x, load(W, k + third), c)
        store(A, target + third, c)
        store(A, target + second, b)
        store(A, target, a)
        target += stride


@inlined
def sparse_gradient(layout, blocks, buffers):
    """G = G + [X, 1]^T delta for the features of the thread's blocks, whose entries it finds in every row of the chunk.

    The last block has the bias. G lies whole, and is zero where a batch begins.
    """
    D, G, entries = buffers.deltas, buffers.gradient, buffers.rows
    lanes, units = lanes_of(D), layout.units[0]
    vectors = vectors_of(layout.units[1], lanes)
    has_bias = blocks.start < blocks.stop and blocks.stop == blocks_of(units)
    features = units if has_bias else blocks.stop * MR
    for r in range(blocks.rows):
        stop = entries.bounds[2 * r + 1]
        first = entry_of(entries.indices, entries.bounds[2 * r], stop, blocks.start * MR)
        stop = entry_of(entries.indices, first, stop, features)
        j = 0
        while j < vectors:
            width = panel_of(vectors, j)[1] * lanes
            gradient, delta = panel_at(layout, 0, j, lanes), row_at(layout, 1, r) + j * lanes
            for e in range(first, stop):
                x, k = full_like(load(D, delta), entries.values[e]), gradient + entries.indices[e] * width
                for c in range(0, width, lanes):
                    store(G, k + c, fma(x, load(D, delta + c), load(G, k + c)))
            if has_bias:
                k = gradient + units * width
                for c in range(0, width, lanes):
                    store(G, k + c, load(G, k + c) + load(D, delta + c))
            j += width // lanes


@inlined
def entry_of(indices, first, stop, feature):
    """The first of the entries first ... stop - 1 whose feature is not smaller; `stop` if there is none.

    indices : (n_entries,), ascending from `first` to `stop`
    """
    while first < stop:
        middle = (first + stop) >> 1
        if indices[middle] < feature:
            first = middle + 1
        else:
            stop = middle
    return first
