"""The passes of a network in Numba, each on the part that one thread of the team owns.

`reference.py` explains the mathematics under the same names; this file tells who owns what and how it is tiled. In
phase 1 a thread owns rows of the chunk, `span.start` to `span.stop`; in phase 2 blocks of rows of the weights. Every
number has one owner and one order of summation, so no result depends on the team.

Shapes are those of the whole chunk of m rows and of a layer with n_below units under it and n_above over it; where
they lie in `buffers` (see `records`) is what `layout` says. Every pass takes of them the part that `span` or `blocks`
says the thread owns.
"""

from .. import activations, optimizers
from ..machine.jit import inlined
from ..machine.simd import (
    absolute,
    copysign,
    full_like,
    lanes_of,
    load,
    load_first,
    mask_first,
    maximum,
    minimum,
    number_like,
    prefetch,
    reduce_add,
    store,
    where,
)
from ..machine.tile import (
    DOT_OUTPUTS,
    DOT_ROWS,
    MR,
    NR,
    TALL_ROWS,
    TALLEST,
    dots,
    multiply,
    side_of,
    transpose,
)
from ..optimizers import BIASES, FIRST_LAYER, WEIGHTS
from .layout import (
    FAR,
    KC,
    NEAR,
    block_rows,
    narrow_at,
    panel_at,
    panel_of,
    row_at,
    unit_parameter_at,
    vectors_of,
)
from .records import GRADIENT, HYPERPARAMETERS, OPTIMIZER_SCALARS, STEP
from .sparse import sparse_gradient, sparse_product


@inlined
def gather(layout, data, span, buffers):
    """A_0[r] = X[order[at + r]], with a 1 after the last feature; asks for the next chunk's rows meanwhile.

    X, `data.inputs` : (n_rows, n_0); A_0, in `buffers.outputs` : (m, n_0 + 1)
    """
    if layout.sparse[0]:
        locate(data, span, buffers.rows)
        return
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
    stretch = layout.units[0] if layout.sparse[layer] else KC
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
        for k in range(0, units, stretch):
            depth = min(stretch, units - k)
            for i in range(span.start, span.stop, tall):
                rows = min(tall, span.stop - i)
                out = row_at(layout, layer + 1, i) + j * lanes
                if layout.sparse[layer]:
                    sparse_product(
                        i, rows, (W, weights, width), weights + units * width, (A, out, above_stride), buffers
                    )
                else:
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


@inlined
def gradient_tile(layout, layer, j, block, blocks, buffers):
    """A_below^T delta over the rows of the chunk, for one tile of weights (panel at vector j); where it now lies.

    A_below^T : (n_below + 1, m), delta : (m, n_above), the tile : (rows of the block, width of the panel)

    Row n_below of A^T is all ones: its product is the gradient of the bias. Above sparse inputs the product is there
    already, and so it is of a chunk without rows.
    """
    A, D, G = buffers.outputs, buffers.deltas, buffers.gradient
    lanes = lanes_of(A)
    units, stride, above_stride = layout.units[layer], layout.stride[layer], layout.stride[layer + 1]
    count = panel_of(vectors_of(layout.units[layer + 1], lanes), j)[1]
    width = count * lanes
    at = blocks.tile
    if at < 0 or layout.sparse[layer]:
        at = panel_at(layout, layer, j, lanes) + block * MR * width
    if layout.sparse[layer] or blocks.rows == 0:
        return at
    start = (G, at, width) if blocks.accumulate else (buffers.zeros, 0, 0)
    left = (A, row_at(layout, layer, 0) + block * MR, 1, stride)
    right = (D, row_at(layout, layer + 1, 0) + j * lanes, above_stride)
    multiply((block_rows(units, block), count, blocks.rows), left, right, start, (G, at, width))
    return at


@inlined
def affine_gradient(layout, layer, blocks, buffers):
    """G = G + A_below^T delta, for a chunk that is not the last of its batch.

    A_below : (m, n_below + 1); delta : (m, n_above); G : (n_below + 1, n_above), which lies whole in `buffers.gradient`
    """
    if layout.sparse[layer]:
        sparse_gradient(layout, blocks, buffers)
    elif layout.narrow[layer]:
        vectors, tall = narrow_shape(layout.units[layer + 1])
        for v in range(blocks.start, blocks.stop, vectors):
            for n in range(0, layout.units[layer + 1], tall):
                narrow_gradient_tile(layout, layer, v, n, blocks, buffers)
    else:
        lanes = lanes_of(buffers.outputs)
        vectors = vectors_of(layout.units[layer + 1], lanes)
        j = 0
        while j < vectors:
            for block in range(blocks.start, blocks.stop):
                gradient_tile(layout, layer, j, block, blocks, buffers)
            j += panel_of(vectors, j)[1]


@inlined
def affine_update(layout, layer, optimizer, scalars, blocks, buffers):
    """One optimizer step on the tiles of W. 2 n_below n_above operations a row, and the step.

    g = (G + alpha W + l1 sign W) / sum of sample weights, clipped; the bias has no penalty. Adds up the penalty of W
    before the step, block by block. Clipping by the norm takes two phases: GRADIENT leaves g where it lies whole and
    its squares in `norms`, STEP goes on from there, with `blocks` of no rows.

    W, its states, G and g : (n_below + 1, n_above), the bias last; `penalties`, `norms` : (blocks,)
    """
    if layout.narrow[layer]:
        narrow_update(layout, layer, optimizer, scalars, blocks, buffers)
    else:
        wide_update(layout, layer, optimizer, scalars, blocks, buffers)


@inlined
def wide_update(layout, layer, optimizer, scalars, blocks, buffers):
    """Panel by panel, down its rows: weights and moments stream through the cache in the order they lie in.

    Shapes as in `affine_update`. Blocks are taken in groups whose columns of A stay in the cache from panel to panel.
    """
    lanes, units = lanes_of(buffers.weights), layout.units[layer]
    vectors = vectors_of(layout.units[layer + 1], lanes)
    free = number_like(buffers.weights, 0)  # the bias has no penalty
    group = max(1, NEAR * lanes // max(1, blocks.rows * MR))
    for group_first in range(blocks.start, blocks.stop, group):
        j = 0
        while j < vectors:
            count = panel_of(vectors, j)[1]
            width = count * lanes
            weights = panel_at(layout, layer, j, lanes)
            for block in range(group_first, min(group_first + group, blocks.stop)):
                at = weights + block * MR * width
                end = at + min(MR, units - block * MR) * width
                stop = at + block_rows(units, block) * width
                p = layout.blocks_at[layer] + block
                for c in range(at, end, lanes):  # to be there when the product is
                    prefetch(buffers.weights, c)
                    prefetch(buffers.state0, c)
                    prefetch(buffers.state1, c)
                g = gradient_tile(layout, layer, j, block, blocks, buffers)
                if blocks.phase != STEP:
                    penalty = penalize(scalars, scalars.settings.alpha, scalars.settings.l1, g, at, end, buffers)
                    penalize(scalars, free, free, g + end - at, end, stop, buffers)
                    buffers.penalties[p] = penalty + (buffers.penalties[p] if j else 0)
                if blocks.phase == GRADIENT:
                    squares = squares_of(buffers.gradient, g, g + stop - at)
                    buffers.norms[p] = squares + (buffers.norms[p] if j else 0)
                else:
                    biases = end if scalars.groups > 1 else stop
                    kind, gradient = FIRST_LAYER if layer == 0 else WEIGHTS, buffers.gradient
                    optimizer_step(optimizer, scalars, kind, (1, biases - at), (gradient, g, 0), (at, 0), buffers)
                    if biases < stop:
                        left = (gradient, g + biases - at, 0)
                        optimizer_step(optimizer, scalars, BIASES, (1, stop - biases), left, (biases, 0), buffers)
                    if layout.sparse[layer]:
                        for c in range(g, g + stop - at, lanes):
                            store(buffers.gradient, c, full_like(load(buffers.gradient, c), 0))
            j += count


@inlined
def narrow_shape(units):
    """(vectors, rows) of a narrow layer's tiles: the widest if they take all units above, else the second widest."""
    if units <= TALLEST[NR]:
        return NR, TALLEST[NR]
    return NR - 1, TALLEST[NR - 1]


@inlined
def narrow_gradient_tile(layout, layer, v, n, blocks, buffers):
    """delta^T A_below over the rows of the chunk, for units n ... above and vectors v ... of a narrow layer.

    delta^T : (n_above, m); A_below : (m, n_below + 1)

    Returns where in `gradient` it is, the stride of its rows, and how many rows and vectors it has.
    """
    A, D, G = buffers.outputs, buffers.deltas, buffers.gradient
    lanes, narrow = lanes_of(A), layout.narrow[layer]
    stride, above_stride = layout.stride[layer], layout.stride[layer + 1]
    vectors, tall = narrow_shape(layout.units[layer + 1])
    rows, count = min(tall, layout.units[layer + 1] - n), min(vectors, blocks.stop - v)
    at, row = blocks.tile, count * lanes
    if at < 0:
        at, row = narrow_at(layout, layer, n, v * lanes), narrow
    if blocks.rows:
        start = (G, at, row) if blocks.accumulate else (buffers.zeros, 0, 0)
        left = (D, row_at(layout, layer + 1, 0) + n, 1, above_stride)
        right = (A, row_at(layout, layer, 0) + v * lanes, stride)
        multiply((rows, count, blocks.rows), left, right, start, (G, at, row))
    return at, row, rows, count


@inlined
def narrow_update(layout, layer, optimizer, scalars, blocks, buffers):
    """Vectors of the rows of W^T : (n_above, n_below + 1); the last column, the bias, has no penalty.

    Weights and biases share their vectors, so that they are of one group: see `Network.grouped`.
    """
    W, G, settings = buffers.weights, buffers.gradient, scalars.settings
    lanes, units, narrow = lanes_of(W), layout.units[layer], layout.narrow[layer]
    vectors, tall = narrow_shape(layout.units[layer + 1])
    for v in range(blocks.start, blocks.stop, vectors):
        for n in range(0, layout.units[layer + 1], tall):
            g, row, rows, count = narrow_gradient_tile(layout, layer, v, n, blocks, buffers)
            weights = narrow_at(layout, layer, n, v * lanes)
            if blocks.phase != STEP:
                for c in range(count):
                    like = load(W, weights)
                    penalized = mask_first(like, units - (v + c) * lanes)
                    alpha = where(penalized, full_like(like, settings.alpha), 0)
                    l1 = where(penalized, full_like(like, settings.l1), 0)
                    share = where(mask_first(like, units + 1 - (v + c) * lanes), full_like(like, scalars.share), 0)
                    squares, absolutes, norm = full_like(like, 0), full_like(like, 0), full_like(like, 0)
                    for r in range(rows):
                        w, at = load(W, weights + r * narrow + c * lanes), g + r * row + c * lanes
                        gradient = clipped_gradient(load(G, at), w, alpha, l1, share, settings.clip_value)
                        store(G, at, gradient)
                        squares = squares + where(penalized, w * w, 0)
                        absolutes = absolutes + where(penalized, absolute(w), 0)
                        norm = norm + gradient * gradient
                    p = layout.blocks_at[layer] + v + c
                    penalty = penalty_of(settings.alpha, settings.l1, squares, absolutes)
                    buffers.penalties[p] = penalty + (buffers.penalties[p] if n else 0)
                    if blocks.phase == GRADIENT:
                        buffers.norms[p] = reduce_add(norm) + (buffers.norms[p] if n else 0)
            if blocks.phase != GRADIENT:
                optimizer_step(
                    optimizer, scalars, WEIGHTS, (rows, count * lanes), (G, g, row), (weights, narrow), buffers
                )


@inlined
def clipped_gradient(g, w, alpha, l1, share, clip):
    """(g + alpha w + l1 sign w) share, no larger than `clip`; vectors, of shape (lanes,), and numbers."""
    g = (g + w * alpha + where(w == 0, 0, copysign(full_like(w, l1), w))) * share
    return minimum(maximum(g, -clip), clip)


@inlined
def penalty_of(alpha, l1, squares, absolutes):
    """alpha / 2 sum w^2 + l1 sum |w|, from vectors of the sums, of shape (lanes,)."""
    return 0.5 * alpha * reduce_add(squares) + l1 * reduce_add(absolutes)


@inlined
def penalize(scalars, alpha, l1, g, at, end, buffers):
    """G -> g, (size,), for weights[at:end], whose gradients lie from `g` on. Returns their penalty."""
    W, G = buffers.weights, buffers.gradient
    squares = full_like(load(W, at), 0)
    absolutes = squares
    for c in range(at, end, lanes_of(W)):
        w = load(W, c)
        gradient = clipped_gradient(load(G, g + c - at), w, alpha, l1, scalars.share, scalars.settings.clip_value)
        store(G, g + c - at, gradient)
        squares = squares + w * w
        absolutes = absolutes + absolute(w)
    return penalty_of(alpha, l1, squares, absolutes)


@inlined
def squares_of(values, at, end):
    """Sum of the squares of values[at:end]."""
    squares = full_like(load(values, at), 0)
    for c in range(at, end, lanes_of(values)):
        v = load(values, c)
        squares = squares + v * v
    return reduce_add(squares)


@inlined
def optimizer_step(optimizer, scalars, group, shape, gradient, weights, buffers):
    """The optimizer on (rows, width) weights of a group; `gradient` is (array, offset, stride), `weights` two of them.

    What all of them share is the row (OPTIMIZER_SCALARS,) of their group.
    """
    numbers = scalars.optimizer_scalars + min(group, scalars.groups - 1) * OPTIMIZER_SCALARS
    G, g, row = gradient
    at, stride = weights
    if scalars.scale != 1:
        for r in range(shape[0]):
            for c in range(g + r * row, g + r * row + shape[1], lanes_of(G)):
                store(G, c, load(G, c) * scalars.scale)
    states = (buffers.state0, at, stride), (buffers.state1, at, stride), (buffers.state2, at, stride)
    streams = ((G, g, row), (buffers.weights, at, stride), states[0], states[1], states[2])
    optimizers.apply(optimizer, shape, (buffers.optimizer_scalars, numbers), streams)
