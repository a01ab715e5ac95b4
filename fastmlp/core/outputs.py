"""The top of the network: losses and their deltas, and predictions, of the thread's rows.

`reference.py` explains the mathematics. Losses of single outputs and what follows from the probability of the true
class are components (`losses.py`); the softmax needs a whole row, so it stands here.

Z, its deltas D and predictions have the shape (m, n_L) for a chunk of m rows and n_L outputs; losses (m,); targets
(n_rows, n_L), or class codes (n_rows,).
"""

from .. import losses
from ..machine.elementary import exp, log
from ..machine.jit import inlined
from ..machine.kernels import entry
from ..machine.record import read
from ..machine.simd import (
    full_like,
    lanes_of,
    load,
    load_first,
    mask_first,
    maximum,
    number_like,
    reduce_add,
    reduce_max,
    store,
    store_first,
    where,
)
from .affine import row_of
from .layout import row_at
from .records import Buffers, Chunk, Components, Data, Layout, Tables

DELTA, PREDICTIONS = range(2)


@entry
def output_pass(zero, number, nothing, tables):
    """`output_delta` or `predict`, as `number` is DELTA or PREDICTIONS, for the thread whose `tables` these are.

    Parameters
    ----------
    zero : a number of the network's dtype
    number : DELTA or PREDICTIONS
    nothing : 0
    tables : address of the table of Tables

    Shapes as in `output_delta` and `predict`.
    """
    records = read(Tables, tables, zero)
    layout, buffers = read(Layout, records.layout, zero), read(Buffers, records.buffers, zero)
    data, loss = read(Data, records.data, zero), read(Components, records.components, zero).loss
    span = read(Chunk, records.chunk, zero).span
    if number == DELTA:
        output_delta(layout, data, loss, span, buffers)
    else:
        predict(layout, data, loss, span, buffers)


@inlined
def only_softmax(loss, weighted):
    """Whether `softmax_of_codes` is all that the loss needs, as it is for plain classification."""
    return loss.kind == losses.SOFTMAX_OF_CODES and not loss.smoothed and not weighted


@inlined
def output_delta(layout, data, loss, span, buffers):
    """The loss (m,) of each row, and delta (m, n_L): its derivative by z, times the row's weight."""
    if loss.kind == losses.SOFTMAX_OF_CODES:
        softmax_of_codes(layout, data, loss, span, buffers)
        for r in range(span.start, span.stop if loss.smoothed else span.start):
            smooth(layout, data, r, span, buffers)
    elif loss.kind == losses.SOFTMAX_OF_ROWS:
        softmax_of_rows(layout, data, span, buffers)
    else:
        elementwise_loss(layout, data, loss, span, buffers)
    if data.weighted:
        apply_sample_weight(layout, data, span, buffers)


@inlined
def softmax(layout, r, buffers):
    """exp(z - max z) of row r, zeros in the padding, in D. Returns the largest z and the sum."""
    Z, E = buffers.outputs, buffers.deltas
    lanes = lanes_of(Z)
    top_level = layout.layers
    at, classes = row_at(layout, top_level, r), layout.units[top_level]
    last = (classes - 1) // lanes * lanes
    largest = where(mask_first(load(Z, at), classes - last), load(Z, at + last), full_like(load(Z, at), Z[at]))
    for c in range(0, last, lanes):
        largest = maximum(largest, load(Z, at + c))
    top = full_like(largest, reduce_max(largest))
    total = full_like(top, 0)
    for c in range(0, last, lanes):
        e = exp(load(Z, at + c) - top)
        store(E, at + c, e)
        total = total + e
    e = where(mask_first(top, classes - last), exp(load(Z, at + last) - top), 0)
    store(E, at + last, e)
    return reduce_max(largest), reduce_add(total + e)


@inlined
def softmax_of_codes(layout, data, loss, span, buffers):
    """delta = c (softmax(z) - onehot(t)); loss and c, (m,), from log p_t = z_t - max z - log sum exp(z - max z).

    A vector of rows at a time. Smoothed labels q = (1 - s) onehot(t) + s / K have delta = softmax(z) - q.
    """
    Z, D, totals = buffers.outputs, buffers.deltas, buffers.scratch
    lanes, s = lanes_of(Z), span.scratch
    top_level = layout.layers
    classes = layout.units[top_level]
    for group in range(span.start, span.stop, lanes):
        count = min(lanes, span.stop - group)
        for r in range(group, group + count):
            at = row_at(layout, top_level, r)
            largest, total = softmax(layout, r, buffers)
            for c in range(at, at + classes, lanes):
                store(D, c, load(D, c) * (1 / total))
            target = at + data.codes[row_of(data, span.at + r)]
            D[target] -= 1
            totals[s + r - group] = total
            buffers.losses[r] = Z[target] - largest
        log_total = log(load_first(totals, s, count))
        logarithm = load_first(buffers.losses, group, count) - log_total
        value, factor = losses.row(loss.component, logarithm, full_like(logarithm, buffers.loss_hyperparameters[0]))
        store_first(buffers.losses, group, value, count)
        if loss.factored:
            store_first(totals, s, factor, count)
            for r in range(group, group + count):
                at = row_at(layout, top_level, r)
                for c in range(at, at + classes, lanes):
                    store(D, c, load(D, c) * totals[s + r - group])


@inlined
def smooth(layout, data, r, span, buffers):
    """Label smoothing s (Szegedy et al. 2016, section 7) of row r, (n_L,): q = (1 - s) onehot(t) + s / K.

    The loss s / K sum_k (log p_t - log p_k) and delta s (onehot(t) - 1 / K) are added to those of plain cross-entropy.
    """
    Z, D = buffers.outputs, buffers.deltas
    lanes, top_level = lanes_of(Z), layout.layers
    at, classes = row_at(layout, top_level, r), layout.units[top_level]
    target = at + data.codes[row_of(data, span.at + r)]
    s = buffers.loss_hyperparameters[0]
    share = s * (1 / number_like(Z, classes))
    total = full_like(load(Z, at), 0)
    for c in range(0, classes, lanes):
        mask = mask_first(total, classes - c)
        total = total + where(mask, full_like(total, Z[target]) - load(Z, at + c), 0)
        store(D, at + c, load(D, at + c) - where(mask, full_like(total, share), 0))
    D[target] += s
    buffers.losses[r] += share * reduce_add(total)


@inlined
def softmax_of_rows(layout, data, span, buffers):
    """Targets t are rows of probabilities (n_L,): loss = sum_k t_k (log t_k - log p_k), delta = p sum_k t_k - t."""
    Z, D = buffers.outputs, buffers.deltas
    lanes, top_level = lanes_of(Z), layout.layers
    classes = layout.units[top_level]
    for r in range(span.start, span.stop):
        at = row_at(layout, top_level, r)
        targets = row_of(data, span.at + r) * classes
        largest, total = softmax(layout, r, buffers)
        log_total = log(full_like(load(Z, at), total))
        mass, value = full_like(log_total, 0), full_like(log_total, 0)
        for c in range(0, classes, lanes):
            t = load_first(data.targets, targets + c, classes - c)
            mass = mass + t
            value = value + losses.divergence(load(Z, at + c) - largest - log_total, t)
        scale = reduce_add(mass) / total
        for c in range(0, classes, lanes):
            store(D, at + c, load(D, at + c) * scale - load_first(data.targets, targets + c, classes - c))
        buffers.losses[r] = reduce_add(value)


@inlined
def elementwise_loss(layout, data, loss, span, buffers):
    """Losses that know only z and t of one output: a row's loss is their sum over (n_L,), scaled."""
    Z, D = buffers.outputs, buffers.deltas
    lanes = lanes_of(Z)
    top_level = layout.layers
    outputs = layout.units[top_level]
    for r in range(span.start, span.stop):
        at = row_at(layout, top_level, r)
        targets = row_of(data, span.at + r) * outputs
        total = full_like(load(Z, at), 0)
        for c in range(0, outputs, lanes):
            count = min(lanes, outputs - c)
            mask = mask_first(total, count)
            t = load_first(data.targets, targets + c, count)
            value, delta = losses.apply(loss.component, load(Z, at + c), t, load(buffers.loss_hyperparameters, c))
            store(D, at + c, where(mask, delta, 0))
            total = total + where(mask, value, 0)
        buffers.losses[r] = reduce_add(total) * (1 / outputs if loss.averaged else 1.0)


@inlined
def apply_sample_weight(layout, data, span, buffers):
    """Multiply the losses (m,) and deltas (m, n_L) of each row by its weight."""
    D = buffers.deltas
    lanes = lanes_of(D)
    top_level = layout.layers
    for r in range(span.start, span.stop):
        at = row_at(layout, top_level, r)
        weight = data.sample_weight[row_of(data, span.at + r)]
        for c in range(at, at + layout.units[top_level], lanes):
            store(D, c, load(D, c) * weight)
        buffers.losses[r] *= weight


@inlined
def predict(layout, data, loss, span, buffers):
    """The output activation of each row, written to `predictions`, of shape (n_rows, n_L)."""
    Z, E, Y = buffers.outputs, buffers.deltas, data.predictions
    lanes = lanes_of(Z)
    top_level = layout.layers
    outputs = layout.units[top_level]
    stop = (span.at + span.stop) * outputs  # of the thread's part, which it writes in order
    for r in range(span.start, span.stop):
        at = row_at(layout, top_level, r)
        target = (span.at + r) * outputs
        if loss.kind != losses.ELEMENTWISE:
            total = softmax(layout, r, buffers)[1]
            factor = full_like(load(E, at), total)
            for c in range(0, outputs, lanes):
                store_outputs(Y, target + c, load(E, at + c) / factor, outputs - c, stop - target - c)
        else:
            for c in range(0, outputs, lanes):
                value = losses.predict(loss.output, load(Z, at + c))
                store_outputs(Y, target + c, value, outputs - c, stop - target - c)


@inlined
def store_outputs(Y, at, value, count, left):
    """Write `count` numbers of a vector; where all fit, the next row overwrites what is too many.

    Y : the predictions, of shape (n_rows, n_L), of which (left,) numbers lie from `at` on; value : (lanes,)

    Stores through a mask take AMD's processors tens of cycles.
    """
    if left >= lanes_of(Y):
        store(Y, at, value)
    else:
        store_first(Y, at, value, count)
