"""Predictions: rows through the layers, with weights read where a user's arrays have them. Nothing is learned here.

Neither a copy of all weights nor a team stands before the first product. A few rows stream: eight rows of W at a time
pass by once, in the order of memory, for each row of A; a product of one row is bound by reading the weights, and
nothing else is read. More rows share panels of W, packed into the thread's scratch one after the other. Both make the
same chains of fused multiply-adds, the bias first and then k in ascending order, so that a row's outputs do not depend
on the rows beside it, on the rows taken together, or on the threads: they are the same to the bit.

`predict_rows` is the one entry. Its arguments are integers, addresses of tables among them, beside one number whose
dtype is the network's.
"""

import numpy as np

from .. import activations
from ..machine.jit import inlined
from ..machine.kernels import entry
from ..machine.record import read
from ..machine.simd import fma, full_like, lanes_of, load, load_first, number_like, pointer, reduce_add, store
from ..machine.tile import TALL_ROWS, multiply
from .engine import IDENTITY
from .layout import KC, panel_of, row_at, unit_parameter_at, vectors_of
from .outputs import predict
from .records import HYPERPARAMETERS, LAYER, Data, PredictionForm, Span, SparseRows
from .units import layer_normalize

FEW = 12  # rows for which weights are streamed rather than packed
WEIGHTS = 4  # numbers of a layer in the table of weights: address of W, its strides by row and column, address of b
NOT_FINITE = 1  # what `predict_rows` returns where an input is NaN or infinite


@entry
def predict_rows(zero, form, weights, inputs, outputs, indptr, indices, n_rows):
    """Outputs of `n_rows` rows; returns 0, or NOT_FINITE where an input is not finite.

    Parameters
    ----------
    zero : a number of the network's dtype
    form : address of the table of a PredictionForm
    weights : address of int64[WEIGHTS * layers]; strides count numbers
    inputs : address of the rows, C-contiguous; of sparse ones, of the stored numbers
    outputs : address of (n_rows, n_outputs) numbers
    indptr, indices : addresses of those of sparse rows, int64
    """
    i = np.int64(0)
    nothing, no_codes = pointer(i, zero), pointer(i, i)
    values = pointer(inputs, zero)
    data = Data(False, False, no_codes, no_codes, values, nothing, nothing, pointer(outputs, zero))
    entries = SparseRows(pointer(indptr, i), pointer(indices, i), values, no_codes)
    return predict_blocks(read(PredictionForm, pointer(form, i), zero), pointer(weights, i), data, entries, n_rows)


@inlined
def predict_blocks(form, weights, data, entries, n_rows):
    """As many rows as the buffers hold, then the next ones."""
    status = 0
    for at in range(0, n_rows, form.capacity):
        rows = min(form.capacity, n_rows - at)
        span = Span(at, 0, rows, rows, n_rows, 0, form.capacity)
        if not finite(form.layout, data, entries, span):
            status = NOT_FINITE
        for layer in range(form.layout.layers):
            forward_layer(form, layer, weights, data, entries, span)
        predict(form.layout, data, form.components.loss, span, form.buffers)
    return status


@inlined
def finite(layout, data, entries, span):
    """Whether all inputs of the span are: 0 x is NaN for the others. They are in the cache afterwards."""
    X = data.inputs
    first, stop = span.at * layout.units[0], (span.at + span.rows) * layout.units[0]
    if layout.sparse[0]:
        first, stop = entries.indptr[span.at], entries.indptr[span.at + span.rows]
    lanes = lanes_of(X)
    whole = first + (stop - first) // lanes * lanes
    total = full_like(load_first(X, first, 0), 0)
    for c in range(first, whole, lanes):
        total = fma(load(X, c), full_like(total, 0), total)
    total = fma(load_first(X, whole, stop - whole), full_like(total, 0), total)
    return reduce_add(total) == 0


@inlined
def forward_layer(form, layer, weights, data, entries, span):
    """A_above = f(normalize(A_below W + b)) for the rows of the span; the last layer keeps its z."""
    layout, buffers, components = form.layout, form.buffers, form.components
    level = layer + 1
    by_rows = level < layout.layers and components.normalization == LAYER
    left = (buffers.outputs, row_at(layout, layer, 0), layout.stride[layer])
    if layer == 0:
        left = (data.inputs, span.at * layout.units[0], layout.units[0])
    w = weights[WEIGHTS * layer]
    right = (
        pointer(w, number_like(buffers.outputs, 0)),
        weights[WEIGHTS * layer + 1],
        weights[WEIGHTS * layer + 2],
        pointer(weights[WEIGHTS * layer + 3], number_like(buffers.outputs, 0)),
    )
    streams = layout.sparse[layer] or (span.rows <= FEW and right[2] == 1)
    if layout.sparse[layer]:
        sparse_rows(layout, layer, right, entries, span, buffers)
    elif streams:
        few_rows(layout, layer, left, right, span, buffers)
    else:
        many_rows(layout, layer, IDENTITY if by_rows else components.activation[layer], left, right, span, buffers)
    if by_rows:
        layer_normalize(layout, level, form.epsilon, span, buffers)
    if by_rows or streams:
        activate(layout, level, components.activation[layer], span.rows, 0, layout.units[level], span.start, buffers)


@inlined
def activate(layout, level, activation, rows, column, width, row, buffers):
    """z -> f(z) for some rows from `row` on, `width` numbers of each from `column` on; nobody wants the slopes."""
    stride = layout.stride[level]
    at = row_at(layout, level, row) + column
    unit_parameters = (buffers.weights, unit_parameter_at(layout, HYPERPARAMETERS, level) + column, 0)
    streams = ((buffers.outputs, at, stride), (buffers.deltas, 0, 0), unit_parameters)
    activations.apply(activation, (rows, width), (buffers.weights, 0), streams)


@inlined
def start(layout, level, b, rows, buffers):
    """z = b, zeros in the padding."""
    Z, units, lanes = buffers.outputs, layout.units[level], lanes_of(buffers.outputs)
    for r in range(rows):
        at = row_at(layout, level, r)
        for c in range(0, units, lanes):
            store(Z, at + c, load_first(b, c, units - c))


@inlined
def add_eight(x, W, w, Z, at, units):
    """z = z + x_0 W_0 + ... + x_7 W_7 of one row: eight numbers and the places of as many rows of W."""
    lanes = lanes_of(Z)
    whole = units // lanes * lanes
    like = load_first(W, 0, 0)
    a, b, c, d = full_like(like, x[0]), full_like(like, x[1]), full_like(like, x[2]), full_like(like, x[3])
    e, f, g, h = full_like(like, x[4]), full_like(like, x[5]), full_like(like, x[6]), full_like(like, x[7])
    for n in range(0, whole, lanes):
        z = fma(a, load(W, w[0] + n), load(Z, at + n))
        z = fma(b, load(W, w[1] + n), z)
        z = fma(c, load(W, w[2] + n), z)
        z = fma(d, load(W, w[3] + n), z)
        z = fma(e, load(W, w[4] + n), z)
        z = fma(f, load(W, w[5] + n), z)
        z = fma(g, load(W, w[6] + n), z)
        store(Z, at + n, fma(h, load(W, w[7] + n), z))
    if whole < units:
        n, rest = whole, units - whole
        z = fma(a, load_first(W, w[0] + n, rest), load(Z, at + n))
        z = fma(b, load_first(W, w[1] + n, rest), z)
        z = fma(c, load_first(W, w[2] + n, rest), z)
        z = fma(d, load_first(W, w[3] + n, rest), z)
        z = fma(e, load_first(W, w[4] + n, rest), z)
        z = fma(f, load_first(W, w[5] + n, rest), z)
        z = fma(g, load_first(W, w[6] + n, rest), z)
        store(Z, at + n, fma(h, load_first(W, w[7] + n, rest), z))


@inlined
def add_one(x, W, w, Z, at, units):
    """z = z + x W_k of one row."""
    lanes = lanes_of(Z)
    for n in range(0, units, lanes):
        row = load_first(W, w + n, units - n)
        store(Z, at + n, fma(full_like(row, x), row, load(Z, at + n)))


@inlined
def few_rows(layout, layer, left, right, span, buffers):
    """Z = b + A W: eight rows of W for every row of A, then the next eight."""
    A, first, stride = left
    W, w, _, b = right
    Z, units, depth = buffers.outputs, layout.units[layer + 1], layout.units[layer]
    start(layout, layer + 1, b, span.rows, buffers)
    eights = depth // 8 * 8
    for k in range(0, eights, 8):
        p = k * w
        places = (p, p + w, p + 2 * w, p + 3 * w, p + 4 * w, p + 5 * w, p + 6 * w, p + 7 * w)
        for r in range(span.rows):
            q = first + r * stride + k
            x = (A[q], A[q + 1], A[q + 2], A[q + 3], A[q + 4], A[q + 5], A[q + 6], A[q + 7])
            add_eight(x, W, places, Z, row_at(layout, layer + 1, r), units)
    for r in range(span.rows):
        for k in range(eights, depth):
            add_one(A[first + r * stride + k], W, k * w, Z, row_at(layout, layer + 1, r), units)


@inlined
def sparse_rows(layout, layer, right, entries, span, buffers):
    """Z = b + X W over the stored entries of each row."""
    V, (W, w, _, b) = entries.values, right
    Z, units = buffers.outputs, layout.units[layer + 1]
    start(layout, layer + 1, b, span.rows, buffers)
    for r in range(span.rows):
        e, stop = entries.indptr[span.at + r], entries.indptr[span.at + r + 1]
        at = row_at(layout, layer + 1, r)
        while e + 8 <= stop:
            x = (V[e], V[e + 1], V[e + 2], V[e + 3], V[e + 4], V[e + 5], V[e + 6], V[e + 7])
            i = entries.indices
            places = (
                i[e] * w, i[e + 1] * w, i[e + 2] * w, i[e + 3] * w, i[e + 4] * w, i[e + 5] * w, i[e + 6] * w,
                i[e + 7] * w,
            )  # fmt: skip
            add_eight(x, W, places, Z, at, units)
            e += 8
        while e < stop:
            add_one(V[e], W, entries.indices[e] * w, Z, at, units)
            e += 1


@inlined
def many_rows(layout, layer, activation, left, right, span, buffers):
    """f(b + A W), panel by panel, each packed first, with the bias before it; long rows of A go in stretches."""
    A, first, stride = left
    P, Z, lanes = buffers.scratch, buffers.outputs, lanes_of(buffers.outputs)
    depth = layout.units[layer]
    above_stride = layout.stride[layer + 1]
    vectors = vectors_of(layout.units[layer + 1], lanes)
    j = 0
    while j < vectors:
        count = panel_of(vectors, j)[1]
        width = count * lanes
        tall = TALL_ROWS[count]
        for k in range(0, depth, KC):
            stretch = min(KC, depth - k)
            pack_panel(right, (k, stretch), (j * lanes, width), layout.units[layer + 1], P)
            for i in range(0, span.rows, tall):
                rows = min(tall, span.rows - i)
                out = row_at(layout, layer + 1, i) + j * lanes
                begin = (Z, out, above_stride) if k else (P, 0, 0)
                multiply(
                    (rows, count, stretch),
                    (A, first + i * stride + k, stride, 1),
                    (P, width, width),
                    begin,
                    (Z, out, above_stride),
                )
                if k + stretch == depth:
                    activate(layout, layer + 1, activation, rows, j * lanes, width, i, buffers)
        j += count


@inlined
def pack_panel(right, rows, columns, units, P):
    """The bias and some rows of W, `width` numbers of each from `column` on, side by side; zeros beyond the last."""
    W, row, step, b = right
    (k, depth), (column, width) = rows, columns
    lanes = lanes_of(P)
    for c in range(0, width, lanes):
        store(P, c, load_first(b, column + c, units - column - c))
    if step != 1:
        for c in range(width):
            for n in range(depth):
                P[(n + 1) * width + c] = W[(k + n) * row + (column + c) * step] if column + c < units else 0
        return
    for c in range(0, width, lanes):
        rest = units - column - c
        at = k * row + column + c
        if rest >= lanes:
            for n in range(depth):
                store(P, (n + 1) * width + c, load(W, at + n * row))
        else:
            for n in range(depth):
                store(P, (n + 1) * width + c, load_first(W, at + n * row, rest))
