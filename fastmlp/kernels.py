"""The passes of a network in Numba, each on the part that one member of the team owns.

`reference.py` explains the mathematics under the same names; this file tells who owns what and how it is tiled. In phase 1
a member owns rows of the chunk, `span.first` to `span.stop`; in phase 2 blocks of rows of the weights. Every number has one
owner and one order of summation, so no result depends on the team.
"""

from . import activations, losses, optimizers
from .layout import DEPTH, block_rows, blocks_of, panel_of
from .machine.elementary import exp, log
from .machine.jit import inlined
from .machine.simd import (
    first,
    full_like,
    lanes_of,
    largest_of,
    load,
    load_first,
    maximum,
    prefetch,
    store,
    store_first,
    total_of,
    where,
)
from .machine.tile import TALL_ROWS, TILE_ROWS, multiply, side_of, transpose


@inlined
def gather(layout, data, span, buffers):
    """A_0[r] = X[order[at + r]], with a 1 after the last feature; asks for the next chunk's rows meanwhile."""
    X, A = data.inputs, buffers.outputs
    features, lanes = layout.units[0], lanes_of(A)
    whole = features // lanes * lanes
    for r in range(span.first, span.stop):
        source = row_of(data, span.at + r) * features
        target = layout.rows_at[0] + r * layout.stride[0]
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

    The bias starts the accumulators. Long rows of A go in stretches of DEPTH, so that a panel of W stays in the cache.
    """
    A, D, W = buffers.outputs, buffers.deltas, buffers.weights
    lanes = lanes_of(A)
    units, above_units = layout.units[layer], layout.units[layer + 1]
    below, stride = layout.rows_at[layer], layout.stride[layer]
    above, above_stride = layout.rows_at[layer + 1], layout.stride[layer + 1]
    vectors = (above_units + lanes - 1) // lanes
    j = 0
    while j < vectors:
        count = panel_of(vectors, j)[1]
        width = count * lanes
        tall = TALL_ROWS[count]
        weights = layout.weights_at[layer] + j * lanes * (units + 1)
        for k in range(0, units, DEPTH):
            depth = min(DEPTH, units - k)
            for i in range(span.first, span.stop, tall):
                rows = min(tall, span.stop - i)
                left = (A, below + i * stride + k, stride, 1)
                out = above + i * above_stride + j * lanes
                start = (A, out, above_stride) if k else (W, weights + units * width, 0)
                multiply((rows, count, depth), left, (W, weights + k * width, width), start, (A, out, above_stride))
                if k + depth == units:
                    for r in range(rows):
                        activate(activation, out + r * above_stride, width, A, D)
        j += count
    for r in range(span.first, span.stop):
        A[above + r * above_stride + above_units] = 1


@inlined
def activate(activation, at, width, A, D):
    """z -> f(z) in A, f'(z) in D."""
    for c in range(at, at + width, lanes_of(A)):
        y, slope = activations.apply(activation, load(A, c))
        store(A, c, y)
        store(D, c, slope)


@inlined
def output_delta(layout, data, loss, span, buffers):
    """The loss of each row, and delta = (prediction - target) times the row's weight."""
    if loss == losses.SOFTMAX_LOG_LOSS:
        softmax_log_loss(layout, data, span, buffers)
    else:
        elementwise_loss(layout, data, loss, span, buffers)
    if data.weighted:
        weigh(layout, data, span, buffers)


@inlined
def softmax(layout, r, buffers):
    """exp(z - max z) of row r, zeros in the padding, in D. Returns the largest z and the sum."""
    Z, E = buffers.outputs, buffers.deltas
    lanes = lanes_of(Z)
    top_level = layout.layers
    at, classes = layout.rows_at[top_level] + r * layout.stride[top_level], layout.units[top_level]
    last = (classes - 1) // lanes * lanes
    largest = where(first(load(Z, at), classes - last), load(Z, at + last), full_like(load(Z, at), Z[at]))
    for c in range(0, last, lanes):
        largest = maximum(largest, load(Z, at + c))
    top = full_like(largest, largest_of(largest))
    total = full_like(top, 0)
    for c in range(0, last, lanes):
        e = exp(load(Z, at + c) - top)
        store(E, at + c, e)
        total = total + e
    e = where(first(top, classes - last), exp(load(Z, at + last) - top), 0)
    store(E, at + last, e)
    return largest_of(largest), total_of(total + e)


@inlined
def softmax_log_loss(layout, data, span, buffers):
    """delta = softmax(z) - onehot(t), loss = log sum exp(z - max z) - (z_t - max z); a vector of logarithms at a time."""
    Z, D, totals = buffers.outputs, buffers.deltas, buffers.scratch
    lanes, s = lanes_of(Z), span.scratch
    top_level = layout.layers
    for group in range(span.first, span.stop, lanes):
        count = min(lanes, span.stop - group)
        for r in range(group, group + count):
            at = layout.rows_at[top_level] + r * layout.stride[top_level]
            largest, total = softmax(layout, r, buffers)
            for c in range(at, at + layout.units[top_level], lanes):
                store(D, c, load(D, c) * (1 / total))
            target = at + data.codes[row_of(data, span.at + r)]
            D[target] -= 1
            totals[s + r - group] = total
            buffers.losses[r] = Z[target] - largest
        logarithm = load_first(buffers.losses, group, count) - log(load_first(totals, s, count))
        store_first(buffers.losses, group, -losses.clipped_log(logarithm), count)


@inlined
def elementwise_loss(layout, data, loss, span, buffers):
    """Losses that know only z and t of one output: a row's loss is their sum, scaled."""
    Z, D = buffers.outputs, buffers.deltas
    lanes = lanes_of(Z)
    top_level = layout.layers
    outputs = layout.units[top_level]
    for r in range(span.first, span.stop):
        at = layout.rows_at[top_level] + r * layout.stride[top_level]
        targets = row_of(data, span.at + r) * outputs
        total = full_like(load(Z, at), 0)
        for c in range(0, outputs, lanes):
            count = min(lanes, outputs - c)
            mask = first(total, count)
            value, delta = losses.apply(loss, load(Z, at + c), load_first(data.targets, targets + c, count))
            store(D, at + c, where(mask, delta, 0))
            total = total + where(mask, value, 0)
        buffers.losses[r] = total_of(total) * losses.scale(loss, outputs)


@inlined
def weigh(layout, data, span, buffers):
    """Multiply the losses and deltas of each row by its weight."""
    D = buffers.deltas
    lanes = lanes_of(D)
    top_level = layout.layers
    for r in range(span.first, span.stop):
        at = layout.rows_at[top_level] + r * layout.stride[top_level]
        weight = data.sample_weight[row_of(data, span.at + r)]
        for c in range(at, at + layout.units[top_level], lanes):
            store(D, c, load(D, c) * weight)
        buffers.losses[r] *= weight


@inlined
def affine_backward(layout, layer, span, buffers):
    """delta_below = (delta W^T) * slope, in place of the slope. 2 n_below n_above operations a row.

    The transposed copy makes W^T the right side of a tile. Products stay in the member's scratch, one tile; where delta is
    longer than one stretch, a column of tiles, so that a panel of W^T stays in the cache.
    """
    D, WT, scratch = buffers.deltas, buffers.transposed, buffers.scratch
    lanes = lanes_of(D)
    units, above_units = layout.units[layer], layout.units[layer + 1]
    below, stride = layout.rows_at[layer], layout.stride[layer]
    above, above_stride = layout.rows_at[layer + 1], layout.stride[layer + 1]
    vectors, padded = (units + lanes - 1) // lanes, (above_units + lanes - 1) // lanes * lanes
    j = 0
    while j < vectors:
        count = panel_of(vectors, j)[1]
        width = count * lanes
        tall = TALL_ROWS[count]
        weights = layout.transposed_at[layer] + j * lanes * padded
        for k in range(0, above_units, DEPTH):
            depth = min(DEPTH, above_units - k)
            for i in range(span.first, span.stop, tall):
                rows = min(tall, span.stop - i)
                s = span.scratch + (i - span.first if above_units > DEPTH else 0) * width
                left = (D, above + i * above_stride + k, above_stride, 1)
                start = (scratch, s, width) if k else (buffers.zeros, 0, 0)
                multiply((rows, count, depth), left, (WT, weights + k * width, width), start, (scratch, s, width))
                if k + depth == above_units:
                    for r in range(rows):
                        at = below + (i + r) * stride + j * lanes
                        for c in range(0, width, lanes):
                            store(D, at + c, load(D, at + c) * load(scratch, s + r * width + c))
        j += count


@inlined
def gradient_tile(layout, layer, j, block, blocks, buffers):
    """A_below^T delta over the rows of the chunk, for one tile of weights (panel at vector j). Where in `gradient` it is.

    Row n_below of A^T is all ones: its product is the gradient of the bias.
    """
    A, D, G = buffers.outputs, buffers.deltas, buffers.gradient
    lanes = lanes_of(A)
    units, stride, above_stride = layout.units[layer], layout.stride[layer], layout.stride[layer + 1]
    count = panel_of((layout.units[layer + 1] + lanes - 1) // lanes, j)[1]
    width = count * lanes
    at = blocks.tile
    if at < 0:
        at = layout.weights_at[layer] + j * lanes * (units + 1) + block * TILE_ROWS * width
    start = (G, at, width) if blocks.begun else (buffers.zeros, 0, 0)
    left = (A, layout.rows_at[layer] + block * TILE_ROWS, 1, stride)
    right = (D, layout.rows_at[layer + 1] + j * lanes, above_stride)
    multiply((block_rows(units, block), count, blocks.rows), left, right, start, (G, at, width))
    return at


@inlined
def affine_gradient(layout, layer, blocks, buffers):
    """G = G + A_below^T delta, for a chunk that is not the last of its batch."""
    lanes = lanes_of(buffers.outputs)
    vectors = (layout.units[layer + 1] + lanes - 1) // lanes
    j = 0
    while j < vectors:
        for block in range(blocks.first, blocks.stop):
            gradient_tile(layout, layer, j, block, blocks, buffers)
        j += panel_of(vectors, j)[1]


@inlined
def affine_update(layout, layer, optimizer, rates, blocks, buffers):
    """One optimizer step on the tiles of W and their transposed copies. 2 n_below n_above operations a row, and the step.

    g = (G + alpha W) / sum of sample weights; the bias has no penalty. Adds up W^2 before the step, block by block.
    """
    W = buffers.weights
    lanes = lanes_of(W)
    units = layout.units[layer]
    vectors = (layout.units[layer + 1] + lanes - 1) // lanes
    j = 0
    while j < vectors:
        count = panel_of(vectors, j)[1]
        width = count * lanes
        weights = layout.weights_at[layer] + j * lanes * (units + 1)
        for block in range(blocks.first, blocks.stop):
            g = gradient_tile(layout, layer, j, block, blocks, buffers)
            at = weights + block * TILE_ROWS * width
            end = at + min(TILE_ROWS, units - block * TILE_ROWS) * width
            squares = descend(optimizer, rates, rates.alpha, g, at, end, buffers)
            if block == blocks_of(units) - 1:
                descend(optimizer, rates, rates.alpha * 0, g + end - at, end, end + width, buffers)
            p = layout.blocks_at[layer] + block
            buffers.penalties[p] = squares + (buffers.penalties[p] if j else 0)
            if layer > 0:
                copy_transposed(layout, layer, j, block, buffers)
        j += count


@inlined
def descend(optimizer, rates, alpha, g, at, end, buffers):
    """The optimizer on weights[at:end], which lie side by side with their moments. Returns the sum of their squares."""
    W, M, V, G = buffers.weights, buffers.first, buffers.second, buffers.gradient
    squares = full_like(load(W, at), 0)
    for c in range(at, end, lanes_of(W)):
        w = load(W, c)
        gradient = (load(G, g + c - at) + w * alpha) * rates.share
        squares = squares + w * w
        w, m, v = optimizers.apply(optimizer, gradient, w, load(M, c), load(V, c), rates)
        store(W, c, w)
        store(M, c, m)
        store(V, c, v)
    return total_of(squares)


@inlined
def copy_transposed(layout, layer, j, block, buffers):
    """Write one tile of W, without its bias, into the transposed copy: squares by shuffles, what is left one by one."""
    W, WT = buffers.weights, buffers.transposed
    lanes = lanes_of(W)
    side = side_of(lanes)
    units, above_units = layout.units[layer], layout.units[layer + 1]
    vectors, padded = (units + lanes - 1) // lanes, (above_units + lanes - 1) // lanes * lanes
    width = panel_of(padded // lanes, j)[1] * lanes
    source = layout.weights_at[layer] + j * lanes * (units + 1)
    stop = min((block + 1) * TILE_ROWS, units)
    for k in range(block * TILE_ROWS, stop, side):
        first_vector, count = panel_of(vectors, k // lanes)
        wide = count * lanes
        target = layout.transposed_at[layer] + first_vector * lanes * padded + k - first_vector * lanes
        target += j * lanes * wide
        if k + side <= stop:
            for n in range(0, width, lanes):
                transpose((W, source + k * width + n, width), (WT, target + n * wide, wide))
        else:
            for n in range(width):
                for i in range(stop - k):
                    WT[target + n * wide + i] = W[source + (k + i) * width + n]


@inlined
def predict(layout, data, loss, span, buffers):
    """The output activation of each row, written to `predictions`."""
    Z, E, Y = buffers.outputs, buffers.deltas, data.predictions
    lanes = lanes_of(Z)
    top_level = layout.layers
    outputs = layout.units[top_level]
    for r in range(span.first, span.stop):
        at = layout.rows_at[top_level] + r * layout.stride[top_level]
        target = (span.at + r) * outputs
        if loss == losses.SOFTMAX_LOG_LOSS:
            total = softmax(layout, r, buffers)[1]
            for c in range(0, outputs, lanes):
                store_first(Y, target + c, load(E, at + c) / total, outputs - c)
        else:
            for c in range(0, outputs, lanes):
                store_first(Y, target + c, losses.predict(loss, load(Z, at + c)), outputs - c)
