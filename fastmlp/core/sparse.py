"""Products with sparse inputs: the first layer of a network whose rows store few of their numbers.

Entry e of `buffers.rows` has the feature `indices[e]` and the number `values[e]`; row r of the chunk owns the entries
from bounds[r, 0] to bounds[r, 1] - 1, in ascending order of their features, none twice. Both products take as many
multiplications as there are entries, times the units above, in the order of the dense ones in panels: a term that is 0
changes no sum, so that results are the same to the bit as those of dense rows. Where the dense layer would be narrow
(see `layout`: so few units above that padding them to whole vectors wastes more than a third), its sums run in another
order, and both agree to rounding only.
"""

from ..machine.jit import inlined
from ..machine.simd import fma, full_like, lanes_of, load, store
from ..machine.tile import MR
from .layout import blocks_of, panel_at, panel_of, row_at, vectors_of


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
