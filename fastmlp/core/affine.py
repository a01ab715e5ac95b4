"""The passes of a network in Numba, each on the part that one thread of the team owns: phase 1, rows.

`reference.py` explains the mathematics under the same names; this file and `update.py` tell who owns what and how it is
tiled. In phase 1 a thread owns rows of the chunk, `span.start` to `span.stop`; in phase 2 blocks of rows of the
weights. Every number has one owner and one order of summation, so no result depends on the team.

Shapes are those of the whole chunk of m rows and of a layer with n_below units under it and n_above over it; where
they lie in `buffers` (see `records`) is what `layout` says. Every pass takes of them the part that `span` or `blocks`
says the thread owns.
"""

from .. import activations
from ..machine.jit import inlined
from ..machine.simd import fma, full_like, lanes_of, load, load_first, mask_first, prefetch, store, where
from ..machine.tile import DOT_OUTPUTS, DOT_ROWS, NR, TALL_ROWS, dots, multiply, side_of, transpose
from .layout import FAR, KC, narrow_at, panel_at, panel_of, row_at, unit_parameter_at, vectors_of
from .records import HYPERPARAMETERS


@inlined
def gather(layout, data, span, buffers):
    """A_0[r] = X[order[at + r]], with a 1 after the last feature; asks for the next chunk's rows meanwhile.

    X, `data.inputs` : (n_rows, n_0); A_0, in `buffers.outputs` : (m, n_0 + 1)
    """
    X, A = data.inputs, buffers.outputs
    features, lanes = layout.units[0], lanes_of(A)
    whole = features // lanes * lanes
    for r in range(span.start, span.stop):
        source = row_of(data, span.at + r) * features
        target = row_at(layout, 0, r)
        for c in range(0, whole, lanes):
            store(A, target + c, load(X, source + c))
        if whole < features:
            store(A, target + whole, load_first(X, source + whole, features - whole))
        A[target + features] = 1
        following = span.at + span.rows + r
        if following < span.last:
            source = row_of(data, following) * features
            for c in range(0, features, lanes):
                prefetch(X, source + c)


@inlined
def row_of(data, position):
    """Index of the row at that position of the order; without an order, the position itself."""
    return data.order[position] if data.ordered else position


@inlined
def affine_forward(layout, layer, activation, span, buffers):
    """A_above = f(A_below W + b), and the slope f' where delta will be. 2 n_below n_above operations a row.

    A_below : (m, n_below + 1); W : (n_below, n_above), b : (n_above,); A_above : (m, n_above + 1), slope : (m, n_above)
    """
    if layout.narrow[layer]:
        narrow_forward(layout, layer, activation, span, buffers)
    else:
        wide_forward(layout, layer, activation, span, buffers)
    write_ones(layout, layer + 1, span, buffers)


@inlined
def write_ones(layout, level, span, buffers):
    """The column that brings the bias of the layer above, the last one of A : (m, n_level + 1)."""
    for r in range(span.start, span.stop):
        buffers.outputs[row_at(layout, level, r) + layout.units[level]] = 1


@inlined
def wide_forward(layout, layer, activation, span, buffers):
    """The bias starts the accumulators. Long rows of A go in stretches, so that a panel of W stays in the cache.

    Shapes as in `affine_forward`.
    """
    A, W = buffers.outputs, buffers.weights
    lanes = lanes_of(A)
    units = layout.units[layer]
    stride, above_stride = layout.stride[layer], layout.stride[layer + 1]
    vectors = vectors_of(layout.units[layer + 1], lanes)
    j = 0
    while j < vectors:
        count = panel_of(vectors, j)[1]
        width = count * lanes
        tall = TALL_ROWS[count]
        weights = panel_at(layout, layer, j, lanes)
        for k in range(0, units, KC):
            depth = min(KC, units - k)
            for i in range(span.start, span.stop, tall):
                rows = min(tall, span.stop - i)
                out = row_at(layout, layer + 1, i) + j * lanes
                left = (A, row_at(layout, layer, i) + k, stride, 1)
                start = (A, out, above_stride) if k else (W, weights + units * width, 0)
                multiply((rows, count, depth), left, (W, weights + k * width, width), start, (A, out, above_stride))
                if k + depth == units:
                    activate_tile(layout, layer + 1, activation, rows, j * lanes, width, out, buffers)
        j += count


@inlined
def narrow_forward(layout, layer, activation, span, buffers):
    """Scalar products with the rows of W^T : (n_above, n_below + 1); the column of ones brings the bias.

    Other shapes as in `affine_forward`.
    """
    A, W = buffers.outputs, buffers.weights
    units, wide = layout.units[layer + 1], layout.narrow[layer]
    stride, above_stride = layout.stride[layer], layout.stride[layer + 1]
    for i in range(span.start, span.stop, DOT_ROWS):
        rows = min(DOT_ROWS, span.stop - i)
        for r in range(i, i + rows):
            for c in range(0, units, lanes_of(A)):  # padding holds no number of an earlier step
                store(A, row_at(layout, layer + 1, r) + c, full_like(load(A, 0), 0))
        for n in range(0, units, DOT_OUTPUTS):
            outputs = min(DOT_OUTPUTS, units - n)
            left, right = (A, row_at(layout, layer, i), stride), (W, narrow_at(layout, layer, n, 0), wide)
            dots((rows, outputs, wide), left, right, (A, row_at(layout, layer + 1, i) + n, above_stride))
        activate_tile(layout, layer + 1, activation, rows, 0, units, row_at(layout, layer + 1, i), buffers)


@inlined
def activate_tile(layout, level, activation, rows, column, width, at, buffers):
    """z -> f(z) in A, f'(z) in D, of shape (rows, width), whose first numbers, of unit `column`, are at `at`."""
    stride = layout.stride[level]
    unit_parameters = (buffers.weights, unit_parameter_at(layout, HYPERPARAMETERS, level) + column, 0)
    streams = ((buffers.outputs, at, stride), (buffers.deltas, at, stride), unit_parameters)
    activations.apply(activation, (rows, width), (buffers.weights, 0), streams)


@inlined
def affine_backward(layout, layer, learned, span, buffers):
    """delta_below = (delta W^T) * slope, in place of the slope. 2 n_below n_above operations a row.

    delta : (m, n_above); W : (n_below, n_above); slope, delta_below, `saved` : (m, n_below)

    Where units below learn the slope of their activation, what its derivative needs of the product is kept.

    W^T is the right side of a tile: a narrow layer's own rows, or a stretch of a panel that each thread transposes into
    its scratch. For some ten rows that costs less than a second copy of the weights, which every step would have to
    write and the caches to hold. Products stay in the scratch too, one tile; where delta is longer than one stretch, a
    column of tiles.
    """
    D, scratch, narrow = buffers.deltas, buffers.scratch, layout.narrow[layer]
    lanes = lanes_of(D)
    units, above_units = layout.units[layer], layout.units[layer + 1]
    if narrow and above_units == 1:
        outer_backward(layout, layer, learned, span, buffers)
        return
    above_stride = layout.stride[layer + 1]
    products = span.scratch + KC * NR * lanes
    vectors = vectors_of(units, lanes)
    j = 0
    while j < vectors:
        count = panel_of(vectors, j)[1]
        width = count * lanes
        tall = TALL_ROWS[count]
        for k in range(0, above_units, KC):
            depth = min(KC, above_units - k)
            if narrow:
                right = (buffers.weights, narrow_at(layout, layer, k, j * lanes), narrow)
            else:
                transpose_stretch(layout, layer, j, k, depth, span.scratch, buffers)
                right = (scratch, span.scratch, width)
            for i in range(span.start, span.stop, tall):
                rows = min(tall, span.stop - i)
                s = products + (i - span.start if above_units > KC else 0) * width
                left = (D, row_at(layout, layer + 1, i) + k, above_stride, 1)
                start = (scratch, s, width) if k else (buffers.zeros, 0, 0)
                if units > FAR:
                    for r in range(rows):
                        for c in range(0, width, lanes):
                            prefetch(D, row_at(layout, layer, i + r) + j * lanes + c)
                multiply((rows, count, depth), left, right, start, (scratch, s, width))
                if k + depth == above_units:
                    for r in range(rows):
                        at = row_at(layout, layer, i + r) + j * lanes
                        for c in range(0, width, lanes):
                            product = load(scratch, s + r * width + c)
                            if learned:
                                store(buffers.saved, at + c, load(buffers.saved, at + c) * product)
                            delta = load(D, at + c) * product
                            store(D, at + c, where(mask_first(delta, units - j * lanes - c), delta, 0))
        j += count


@inlined
def outer_backward(layout, layer, learned, span, buffers):
    """The same above which there is one unit: delta W^T is an outer product, too short for a tile.

    delta : (m, 1); W^T : (1, n_below)
    """
    D, W, lanes = buffers.deltas, buffers.weights, lanes_of(buffers.deltas)
    units, weights = layout.units[layer], narrow_at(layout, layer, 0, 0)
    whole, nothing = units // lanes * lanes, full_like(load(D, 0), 0)
    for r in range(span.start, span.stop):
        at, above = row_at(layout, layer, r), full_like(nothing, D[row_at(layout, layer + 1, r)])
        for c in range(0, units, lanes):
            product = fma(above, load(W, weights + c), nothing)  # which makes no zero of it negative
            if learned:
                store(buffers.saved, at + c, load(buffers.saved, at + c) * product)
            store(D, at + c, load(D, at + c) * product)
        if whole < units:
            store(D, at + whole, where(mask_first(nothing, units - whole), load(D, at + whole), 0))


@inlined
def transpose_stretch(layout, layer, j, k, depth, target, buffers):
    """Rows k ... k + depth - 1 of the panel of W^T at vector j, side by side in the scratch from `target` on.

    W^T : (n_above, n_below), of which a stretch of shape (depth, width of the panel) is written

    Whole squares are taken; what they hold beyond the weights ends in the padding of the products.
    """
    W, WT = buffers.weights, buffers.scratch
    lanes = lanes_of(W)
    side, units = side_of(lanes), layout.units[layer]
    vectors = vectors_of(layout.units[layer + 1], lanes)
    width = panel_of(vectors_of(units, lanes), j)[1] * lanes
    for v in range(k // lanes, vectors_of(k + depth, lanes)):
        first_vector, count = panel_of(vectors, v)
        row = count * lanes
        source = panel_at(layout, layer, first_vector, lanes) + (v - first_vector) * lanes
        for below in range(j * lanes, min(j * lanes + width, units), side):
            out = target + (v * lanes - k) * width + below - j * lanes
            transpose((W, source + below * row, row), (WT, out, width))
            for ahead in range(below + width, below + width + side):  # the next panel of W^T
                prefetch(W, source + ahead * row)
