"""Predictions: rows through the layers, with weights read where a user's arrays have them. Nothing is learned here.

Neither a copy of all weights nor a team stands before the first product. A few rows stream: eight rows of W at a time
pass by once, in the order of memory, for each row of A; a product of one row is bound by reading the weights, and
nothing else is read. More rows share panels of W, packed into the thread's scratch, all of them once where they fit,
else one after the other. Several threads take blocks of rows each, or, of a single block, panels. All make the same
chains of fused multiply-adds, the bias first and then k in ascending order, so that a row's outputs do not depend on
the rows beside it, on the rows taken together, or on the threads: they are the same to the bit.

`predict_rows` and `predict_panels` are the entries. Their arguments are integers, addresses of tables among them,
beside one number whose dtype is the network's.
"""

import numpy as np

from .. import activations
from ..machine.jit import inlined
from ..machine.kernels import entry
from ..machine.record import read
from ..machine.simd import (
    fma,
    full_like,
    lanes_of,
    load,
    load_first,
    number_like,
    pointer,
    prefetch,
    reduce_add,
    store,
)
from ..machine.target import REGISTERS
from ..machine.team import atomic_add, atomic_load, await_change
from ..machine.tile import NR, TALL_ROWS, multiply
from .engine import IDENTITY
from .layout import KC, LINE, panel_of, row_at, unit_parameter_at, vectors_of
from .outputs import predict
from .records import HYPERPARAMETERS, LAYER, Data, PredictionForm, Span, SparseRows
from .units import layer_normalize

FEW = 12  # rows for which weights are streamed rather than packed
ACTIVATED = 32  # rows of a panel's outputs that go through the activation together
AHEAD = 16  # rows of W that are fetched before they are packed
SHARED = 16  # numbers of a layer in the table of what threads share: panels taken, and a cache line later panels done
DONE = 8
LINE_VECTORS = max(1, LINE // (REGISTERS.bits // 8))  # vectors of a cache line
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
    data, entries = data_of(zero, inputs, outputs, indptr, indices)
    i = np.int64(0)
    return predict_blocks(read(PredictionForm, pointer(form, i), zero), pointer(weights, i), data, entries, n_rows)


@inlined
def data_of(zero, inputs, outputs, indptr, indices):
    """Data and stored entries, from addresses: of X, (n_rows, n_0), of outputs, (n_rows, n_L), and of sparse rows."""
    i = np.int64(0)
    nothing, no_codes = pointer(i, zero), pointer(i, i)
    values = pointer(inputs, zero)
    data = Data(False, False, no_codes, no_codes, values, nothing, nothing, pointer(outputs, zero))
    return data, SparseRows(pointer(indptr, i), pointer(indices, i), values, no_codes)


@inlined
def predict_blocks(form, weights, data, entries, n_rows):
    """As many rows of X, (n_rows, n_0), as the buffers hold, then the next ones."""
    status = 0
    for at in range(0, n_rows, form.capacity):
        rows = min(form.capacity, n_rows - at)
        span = Span(at, 0, rows, rows, n_rows, 0, form.capacity)
        if not finite(form.layout, data, entries, span):
            status = NOT_FINITE
        panels = 0
        for layer in range(form.layout.layers):
            panels = forward_layer(form, layer, panels, weights, data, entries, span)
        predict(form.layout, data, form.components.loss, span, form.buffers)
    return status


@inlined
def finite(layout, data, entries, span):
    """Whether all inputs of the span, (m, n_0), are: 0 x is NaN for the others. They are in the cache afterwards."""
    X = data.inputs
    first, stop = span.at * layout.units[0], (span.at + span.rows) * layout.units[0]
    if layout.sparse[0]:
        first, stop = entries.indptr[span.at], entries.indptr[span.at + span.rows]
    lanes = lanes_of(X)
    zeros = full_like(load_first(X, first, 0), 0)
    a, b, c, d = zeros, zeros, zeros, zeros  # four sums, since each waits for its last addition
    fours = first + (stop - first) // (4 * lanes) * 4 * lanes
    whole = first + (stop - first) // lanes * lanes
    for n in range(first, fours, 4 * lanes):
        a = fma(load(X, n), zeros, a)
        b = fma(load(X, n + lanes), zeros, b)
        c = fma(load(X, n + 2 * lanes), zeros, c)
        d = fma(load(X, n + 3 * lanes), zeros, d)
    for n in range(fours, whole, lanes):
        a = fma(load(X, n), zeros, a)
    b = fma(load_first(X, whole, stop - whole), zeros, b)
    return reduce_add((a + b) + (c + d)) == 0


@entry
def predict_panels(zero, form, weights, inputs, outputs, n_rows, shared, rank):
    """One thread's part of a prediction of rows that fit the buffers; rank 0 returns what `predict_rows` does.

    Threads take panels of W, layer by layer, as long as there are any. None waits for one that has not begun.

    Parameters
    ----------
    zero, form, weights, inputs, outputs, n_rows : shapes as in `predict_rows`; not with normalization
    shared : address of int64[SHARED * layers], zeros at first
    rank : of the thread; its part of the scratch, and 0 for the one that ends the work
    """
    i = np.int64(0)
    data, entries = data_of(zero, inputs, outputs, i, i)
    form, weights, shared = read(PredictionForm, pointer(form, i), zero), pointer(weights, i), pointer(shared, i)
    layout, lanes = form.layout, lanes_of(form.buffers.outputs)
    scratch = rank * (KC + 1) * NR * lanes
    span = Span(0, 0, n_rows, n_rows, n_rows, scratch, form.capacity)
    for layer in range(layout.layers):
        vectors, j, number = vectors_of(layout.units[layer + 1], lanes), 0, 0
        left, right = operands_of(form, layer, weights, data, span)
        panels = (vectors + NR - 1) // NR
        mine = atomic_add(shared, SHARED * layer, 1)
        while j < vectors:
            count = panel_of(vectors, j)[1]
            if number == mine:
                panel_of_rows(form, layer, (j, count), left, right, (scratch, True, False), span)
                atomic_add(shared, SHARED * layer + DONE, 1)
                mine = atomic_add(shared, SHARED * layer, 1)
            number += 1
            j += count
        seen = atomic_load(shared, SHARED * layer + DONE)
        while seen < panels:
            await_change(shared, SHARED * layer + DONE, seen)
            seen = atomic_load(shared, SHARED * layer + DONE)
    if rank:
        return 0
    predict(layout, data, form.components.loss, span, form.buffers)
    return 0 if finite(layout, data, entries, span) else NOT_FINITE


@inlined
def forward_layer(form, layer, panels, weights, data, entries, span):
    """A_above = f(normalize(A_below W + b)) for the rows of the span; the last layer keeps its z.

    A_below : (m, n_below); W : (n_below, n_above), b : (n_above,); A_above : (m, n_above)
    panels : where in the scratch the layer's begin, if it holds all; returns where the next layer's do
    """
    layout, buffers, components = form.layout, form.buffers, form.components
    level = layer + 1
    by_rows = level < layout.layers and components.normalization == LAYER
    left, right = operands_of(form, layer, weights, data, span)
    _, _, column_stride, _ = right
    streams = layout.sparse[layer] or (span.rows <= FEW and column_stride == 1)
    if layout.sparse[layer]:
        sparse_rows(layout, layer, right, entries, span, buffers)
    elif streams:
        few_rows(layout, layer, left, right, span, buffers)
    else:
        panels = many_rows(form, layer, panels, left, right, span)
    if by_rows:
        layer_normalize(layout, level, form.epsilon, span, buffers)
    if by_rows or streams:
        activate(layout, level, components.activation[layer], span.rows, 0, layout.units[level], span.start, buffers)
    return panels


@inlined
def operands_of(form, layer, weights, data, span):
    """A_below, (m, n_below), as (array, offset, stride); W, (n_below, n_above), and b as (W, its two strides, b)."""
    layout, outputs = form.layout, form.buffers.outputs
    left = (outputs, row_at(layout, layer, 0), layout.stride[layer])
    if layer == 0:
        left = (data.inputs, span.at * layout.units[0], layout.units[0])
    w = WEIGHTS * layer
    W, b = pointer(weights[w], number_like(outputs, 0)), pointer(weights[w + 3], number_like(outputs, 0))
    return left, (W, weights[w + 1], weights[w + 2], b)


@inlined
def activate(layout, level, activation, rows, column, width, row, buffers):
    """z -> f(z), (rows, width), of rows from `row` on and units from `column` on; nobody needs the slopes."""
    stride = layout.stride[level]
    at = row_at(layout, level, row) + column
    unit_parameters = (buffers.weights, unit_parameter_at(layout, HYPERPARAMETERS, level) + column, 0)
    streams = ((buffers.outputs, at, stride), (buffers.deltas, 0, 0), unit_parameters)
    activations.apply(activation, (rows, width), (buffers.weights, 0), streams)


@inlined
def start_with_bias(layout, level, b, rows, buffers):
    """Z = b, (n_above,), for some rows, with zeros in the padding."""
    Z, units, lanes = buffers.outputs, layout.units[level], lanes_of(buffers.outputs)
    for r in range(rows):
        at = row_at(layout, level, r)
        for c in range(0, units, lanes):
            store(Z, at + c, load_first(b, c, units - c))


@inlined
def add_eight(x, W, w, Z, at, units):
    """z = z + x_0 W_0 + ... + x_7 W_7 of one row, (units,), at `at` of Z; w : where these eight rows of W begin."""
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
    """z = z + x W_k of one row, (units,), at `at` of Z; w : where row k of W begins."""
    lanes = lanes_of(Z)
    for n in range(0, units, lanes):
        row = load_first(W, w + n, units - n)
        store(Z, at + n, fma(full_like(row, x), row, load(Z, at + n)))


@inlined
def few_rows(layout, layer, left, right, span, buffers):
    """Z = b + A W, shapes as in `forward_layer`: eight rows of W for every row of A, then the next eight."""
    A, first, stride = left
    W, w, _, b = right
    Z, units, depth = buffers.outputs, layout.units[layer + 1], layout.units[layer]
    start_with_bias(layout, layer + 1, b, span.rows, buffers)
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
    """Z = b + X W, shapes as in `forward_layer`, over the stored entries of each row."""
    V, (W, w, _, b) = entries.values, right
    Z, units = buffers.outputs, layout.units[layer + 1]
    start_with_bias(layout, layer + 1, b, span.rows, buffers)
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
def many_rows(form, layer, panels, left, right, span):
    """f(b + A W), shapes as in `forward_layer`, panel by panel; returns where the next layer's panels begin."""
    layout, lanes = form.layout, lanes_of(form.buffers.outputs)
    vectors = vectors_of(layout.units[layer + 1], lanes)
    packs = not form.holds_all or span.at == 0
    j = 0
    while j < vectors:
        count = panel_of(vectors, j)[1]
        size = panel_of_rows(form, layer, (j, count), left, right, (panels, packs, form.holds_all), span)
        panels += size
        j += count
    return panels


@inlined
def panel_of_rows(form, layer, columns, left, right, place, span):
    """Some vectors of f(b + A W), shapes as in `forward_layer`, for all rows; long rows of A go in stretches.

    columns : (first vector, vectors)
    place : (where in the scratch the panel lies, whether it must be packed first, whether it is kept)

    Returns the numbers of a panel that is kept.
    """
    layout, buffers = form.layout, form.buffers
    (A, first, stride), (j, count), (panel, packs, kept) = left, columns, place
    P, Z, lanes = buffers.scratch, buffers.outputs, lanes_of(buffers.outputs)
    depth, width, tall = layout.units[layer], count * lanes, TALL_ROWS[count]
    above_stride = layout.stride[layer + 1]
    by_rows = layer + 1 < layout.layers and form.components.normalization == LAYER
    activation = IDENTITY if by_rows else form.components.activation[layer]
    at = panel
    for k in range(0, depth, KC):
        stretch = min(KC, depth - k)
        if packs:
            pack_panel(right, (k, stretch), (j * lanes, width), layout.units[layer + 1], (P, at))
        for group in range(0, span.rows, ACTIVATED):
            rows = min(ACTIVATED, span.rows - group)
            for i in range(group, group + rows, tall):
                if layer == k == 0 and span.at + span.rows < span.last:
                    fetch_ahead(layout, j, count, (i, tall), A, span)
                out = row_at(layout, layer + 1, i) + j * lanes
                begin = (Z, out, above_stride) if k else (P, at, 0)
                multiply(
                    (min(tall, group + rows - i), count, stretch),
                    (A, first + i * stride + k, stride, 1),
                    (P, at + width, width),
                    begin,
                    (Z, out, above_stride),
                )
            if k + stretch == depth:
                activate(layout, layer + 1, activation, rows, j * lanes, width, group, buffers)
        at += (stretch + 1) * width if kept else 0
    return at - panel


@inlined
def fetch_ahead(layout, j, count, rows, X, span):
    """Prefetch rows of the next block of X, (m, n_0): of each the share of its columns that the panel is of all."""
    features, vectors = layout.units[0], vectors_of(layout.units[1], lanes_of(X))
    line = LINE_VECTORS * lanes_of(X)
    first, stop = features * j // vectors // line * line, features * (j + count) // vectors
    for r in range(rows[0], rows[0] + rows[1]):
        row = (span.at + span.rows + r) * features
        for c in range(first, stop, line):
            prefetch(X, row + c)


@inlined
def pack_panel(right, rows, columns, units, target):
    """The bias and some rows of W as a panel, (depth + 1, width), from `column` on; zeros beyond the last unit."""
    (W, row, step, b), (P, p) = right, target
    (k, depth), (column, width) = rows, columns
    lanes = lanes_of(P)
    for c in range(0, width, lanes):
        store(P, p + c, load_first(b, column + c, units - column - c))
    p += width
    if step != 1:
        for c in range(width):
            for n in range(depth):
                P[p + n * width + c] = W[(k + n) * row + (column + c) * step] if column + c < units else 0
        return
    whole = min(width, max(0, units - column) // lanes * lanes)
    at = k * row + column
    for _ in range(depth):
        prefetch(W, at + AHEAD * row)
        prefetch(W, at + AHEAD * row + width - 1)
        for c in range(0, whole, lanes):
            store(P, p + c, load(W, at + c))
        for c in range(whole, width, lanes):
            store(P, p + c, load_first(W, at + c, units - column - c))
        at += row
        p += width
