"""The passes of phase 2: gradients of the weights, and the optimizer's step on them where they are.

A thread owns blocks of rows of the weights; see `affine` for shapes, and for who owns what.
"""

from .. import optimizers
from ..machine.jit import inlined
from ..machine.simd import (
    absolute,
    copysign,
    full_like,
    lanes_of,
    load,
    mask_first,
    maximum,
    minimum,
    number_like,
    prefetch,
    reduce_add,
    store,
    where,
)
from ..machine.tile import MR, NR, TALLEST, multiply
from ..optimizers import BIASES, FIRST_LAYER, WEIGHTS
from .layout import NEAR, block_rows, narrow_at, panel_at, panel_of, row_at, vectors_of
from .records import GRADIENT, OPTIMIZER_SCALARS, STEP


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
    if layout.narrow[layer]:
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
