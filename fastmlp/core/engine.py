"""The order of phases and barriers of one thread of the team, from task to task."""

import math

import numpy as np

from ..activations import ACTIVATIONS
from ..machine.calls import call
from ..machine.jit import inlined
from ..machine.kernels import entry
from ..machine.record import put, read, replacing
from ..machine.simd import number_like
from ..machine.team import LEAVE, STALLED, WAITED, atomic_load, barrier, nanoseconds, next_task
from .affine import affine_backward, affine_forward, gather, row_of
from .outputs import DELTA, PREDICTIONS, only_softmax, softmax_of_codes
from .records import (
    ALL,
    APPLY,
    BATCH,
    DIFFERENTIATE,
    GRADIENT,
    LAYER,
    NO_NORMALIZATION,
    OPTIMIZER_SCALARS,
    PREDICT,
    STEP,
    STOP,
    TRAIN,
    Batch,
    Blocks,
    Buffers,
    Chunk,
    Components,
    Data,
    Layout,
    Passes,
    Settings,
    Span,
    StepScalars,
    Task,
    ThreadContext,
    WaitingTime,
)
from .sparse import ADD_GRADIENT, FORWARD, LOCATE
from .units import (
    ACTIVATE,
    BATCH_BACKWARD,
    BATCH_NORMALIZE,
    BATCH_STATISTICS,
    BATCH_SUMS,
    DROP,
    LAYER_BACKWARD,
    LAYER_NORMALIZE,
    LIMIT_NORMS,
    RUNNING_STATISTICS,
    SQUARES,
    UPDATE,
)
from .update import affine_gradient, affine_update

IDENTITY = ACTIVATIONS["identity"].code

with_scale = replacing(StepScalars, "scale")


@entry
def work(zero, components, layout, buffers, data, context):
    """What a thread does: task after task until told to leave. The leader, rank 0, returns after each.

    `zero` is a number of the network's dtype. Everything else comes as the address of a record's table, (fields,)
    int64, so that an array that is read-only or not aligned is no other type, and a call costs next to nothing.
    """
    serve(
        read(Components, components, zero),
        read(Layout, layout, zero),
        read(Buffers, buffers, zero),
        read(Data, data, zero),
        read(ThreadContext, context, zero),
    )


@inlined
def serve(components, layout, buffers, data, context):
    """Task after task: chunks of batches to train on, together, or rows of the thread's own to predict.

    To apply a gradient that is there already is a batch of one position, without a row.

    The records' arrays have the shapes that `records` gives.
    """
    number = np.int64(0)
    while True:
        number = next_task(context.rank, number, context.barrier_state, context.n_threads)
        if number == LEAVE:
            return
        task = read(Task, context.task, buffers.weights)
        begin = WaitingTime(nanoseconds(), atomic_load(context.barrier_state, WAITED))
        predicting = task.kind == PREDICT
        position, stop = task.start, task.stop
        if predicting:
            rows = stop - position
            stop = position + rows * (context.rank + 1) // context.n_threads
            position += rows * context.rank // context.n_threads
        while position < stop:
            batch = batch_of(task, position, data)
            span = (
                prediction_span(position, stop, context) if predicting else chunk_span(task, batch, position, context)
            )
            scalars = step_scalars_of(context, components.groups, task.step + batch.number, batch, buffers)
            note(span, scalars, Blocks(0, 0, 0, False, -1, ALL), False, task.seed, context)
            if task.kind != APPLY:
                forward(components, layout, data, task, span, buffers, context)
            if predicting:
                call(passes_of(context).outputs, PREDICTIONS, 0, context.tables)
            else:
                if context.rank == 0 and context.n_threads > 1 and stalled(task, context, begin):
                    context.task[STOP] = position + span.rows  # all see it, since barriers follow
                if task.kind != APPLY:
                    if only_softmax(components.loss, data.weighted):
                        softmax_of_codes(layout, data, components.loss, span, buffers)
                    else:
                        call(passes_of(context).outputs, DELTA, 0, context.tables)
                    backward(components, layout, span, buffers, context)
                    barrier(context.barrier_state, context.n_threads)  # all deltas are ready
                update_chunk(components, layout, scalars, task, batch, span, buffers, context)
                stop = min(stop, context.task[STOP])
            position += span.rows
        barrier(context.barrier_state, context.n_threads)
        if context.rank == 0:
            return


@inlined
def passes_of(context):
    """The passes of other kernels, which the session has put there before the task."""
    return read(Passes, context.passes, context.rank)


@inlined
def note(span, scalars, blocks, ends_batch, seed, context):
    """Write down what the thread is at, with a span of its chunk (m,), where passes of other kernels may ask for it."""
    passes = passes_of(context)
    if passes.units or passes.sparse or passes.outputs:
        put(Chunk(span, scalars, blocks, ends_batch, seed), context.chunk)


@inlined
def stalled(task, context, begin):
    """Whether the threads have waited for each other for too much of the time since then."""
    waited = atomic_load(context.barrier_state, WAITED) - begin.waited
    if waited < task.patience:
        return False
    return waited - STALLED * context.n_threads * (nanoseconds() - begin.moment) > task.patience


@inlined
def batch_of(task, position, data):
    """The batch that a position of the order (rows,) belongs to. Tasks that go through no loss need no weight: 1."""
    number = position // task.batch
    start = number * task.batch
    stop = min(start + task.batch, task.rows)
    weighs = task.kind == TRAIN or task.kind == DIFFERENTIATE
    return Batch(number, start, stop, batch_weight(data, start, stop) if weighs else 1.0)


@inlined
def chunk_span(task, batch, position, context):
    """The thread's rows of the chunk (m,) of a batch that begins at a position of the order (rows,)."""
    rows = min(task.chunk, batch.stop - position)
    start, stop = rows * context.rank // context.n_threads, rows * (context.rank + 1) // context.n_threads
    return Span(position, start, stop, rows, task.rows, context.scratch * context.rank, context.capacity)


@inlined
def prediction_span(position, stop, context):
    """The next rows to predict, where the thread has room for them in the buffers (capacity,): no barrier is needed."""
    first = context.capacity * context.rank // context.n_threads
    rows = min(context.capacity * (context.rank + 1) // context.n_threads - first, stop - position)
    nothing_ahead = np.int64(0)
    return Span(
        position - first, first, first + rows, rows, nothing_ahead, context.scratch * context.rank, context.capacity
    )


@inlined
def forward(components, layout, data, task, span, buffers, context):
    """Rows through all layers; the last one keeps its Z. Batch normalization in training has two barriers a layer.

    A_l : (m, n_l + 1) at level l, from the rows of X : (n_rows, n_0) up to Z : (m, n_L)
    """
    layers, training, passes = layout.layers, task.kind != PREDICT, passes_of(context)
    if layout.sparse[0]:
        call(passes.sparse, LOCATE, 0, context.tables)
    else:
        gather(layout, data, span, buffers)
    for layer in range(layers):
        if training and context.keep[layer] < 1:
            call(passes.units, DROP, layer, context.tables)
        level = layer + 1
        hidden = level < layers
        by_rows = hidden and (components.learned[layer] or components.normalization != NO_NORMALIZATION)
        activation = IDENTITY if by_rows else components.activation[layer]
        if layout.sparse[layer]:
            call(passes.sparse, FORWARD, activation, context.tables)
        else:
            affine_forward(layout, layer, activation, span, buffers)
        if hidden and components.normalization == LAYER:
            call(passes.units, LAYER_NORMALIZE, level, context.tables)
        if hidden and components.normalization == BATCH:
            if training:
                barrier(context.barrier_state, context.n_threads)  # all rows are there
                call(passes.units, BATCH_STATISTICS, level, context.tables)
                barrier(context.barrier_state, context.n_threads)  # so are their means
            else:
                call(passes.units, RUNNING_STATISTICS, level, context.tables)
            call(passes.units, BATCH_NORMALIZE, level, context.tables)
        if by_rows:
            call(passes.units, ACTIVATE, level, context.tables)


@inlined
def update_chunk(components, layout, scalars, task, batch, span, buffers, context):
    """Phase 2 of a chunk: the gradient from its deltas (m, n_l), and where the batch ends, a step; a barrier, or more.

    The gradient is asked for whole where it is what the task wants, or where its norm is needed before the step.
    """
    applies, last_chunk = task.kind == APPLY, span.at + span.rows == batch.stop
    whole = last_chunk and (task.kind == DIFFERENTIATE or scalars.settings.clip_norm < np.inf)
    last_phase = ALL if not whole else GRADIENT if task.kind == DIFFERENTIATE else STEP
    rows, accumulate = 0 if applies else span.rows, applies or span.at > batch.start
    tile = -1 if task.tiles < 0 else task.tiles + task.tile * context.rank
    for phase in range(GRADIENT if whole else ALL, last_phase + 1):
        blocks = Blocks(0, 0, 0 if phase == STEP else rows, accumulate, tile, phase)
        note(span, scalars, blocks, last_chunk, task.seed, context)
        update(components, layout, scalars, blocks, last_chunk, buffers, context)
        if phase == GRADIENT:
            barrier(context.barrier_state, context.n_threads)  # the gradient is whole
            scalars = with_scale(scalars, clipping(components, layout, scalars, buffers, context))
            barrier(context.barrier_state, context.n_threads)  # all know its norm
    share = (batch.stop - batch.start) / batch.weight if batch.weight else 0.0
    if context.rank == 0:
        context.total[0] += sum_of(buffers.losses, rows) * share
    barrier(context.barrier_state, context.n_threads)  # all weights are new
    if context.rank == 0 and last_chunk:
        context.total[0] += sum_of(buffers.penalties, layout.blocks) * share
        context.total[1] += 0 if task.kind == DIFFERENTIATE else 1
    if last_chunk and scalars.settings.max_norm < np.inf:
        call(passes_of(context).units, LIMIT_NORMS, 0, context.tables)
        barrier(context.barrier_state, context.n_threads)  # none is too long


@inlined
def backward(components, layout, span, buffers, context):
    """Deltas (m, n_l) of all levels l, from the top down."""
    units = passes_of(context).units
    for layer in range(layout.layers - 1, 0, -1):
        affine_backward(layout, layer, components.learned[layer - 1], span, buffers)
        if components.normalization == LAYER:
            call(units, LAYER_BACKWARD, layer, context.tables)
        if components.normalization == BATCH:
            barrier(context.barrier_state, context.n_threads)  # all rows are there
            call(units, BATCH_SUMS, layer, context.tables)
            barrier(context.barrier_state, context.n_threads)  # so are their sums
            call(units, BATCH_BACKWARD, layer, context.tables)


@inlined
def update(components, layout, scalars, blocks, last_chunk, buffers, context):
    """Gradients of the thread's blocks and units, or their sum so far where the batch goes on; and the step.

    Weights and their gradients : (n_l + 1, n_(l+1)) of layer l; unit parameters and theirs : (n_l,) of level l;
    `blocks` : those of every layer, but for where they start and stop
    """
    layers, here, rows, passes = layout.layers, context.rank * layout.layers, blocks.rows, passes_of(context)
    for layer in range(layers):
        start, stop = context.partition[here + layer], context.partition[here + layers + layer]
        of_layer = Blocks(start, stop, rows, blocks.accumulate, blocks.tile, blocks.phase)
        if rows and layout.sparse[layer]:
            call(passes.sparse, ADD_GRADIENT, 0, context.tables)
        elif rows and not last_chunk:
            affine_gradient(layout, layer, of_layer, buffers)
        if last_chunk:
            affine_update(layout, layer, components.optimizer, scalars, of_layer, buffers)
    if components.unit_parameters:
        call(passes.units, UPDATE, 0, context.tables)


@inlined
def step_scalars_of(context, groups, step, batch, buffers):
    """The scalars of one step; those of its optimizer stand in `optimizer_scalars`, (steps, groups, scalars)."""
    like = buffers.weights
    settings = read(Settings, context.settings, like)
    share = number_like(like, 1 / batch.weight if batch.weight else 0.0)
    return StepScalars(settings, share, number_like(like, 1.0), groups, step * groups * OPTIMIZER_SCALARS)


@inlined
def clipping(components, layout, scalars, buffers, context):
    """What clipping by the norm of the whole gradient, (P,), leaves of it: min(1, limit / |g|).

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013,
    algorithm 1.
    """
    if components.unit_parameters:
        call(passes_of(context).units, SQUARES, 0, context.tables)
    limit = scalars.settings.clip_norm
    norm = math.sqrt(sum_of(buffers.norms, layout.blocks) + buffers.norms[layout.blocks])
    return limit / norm if norm > limit else 1.0


@inlined
def batch_weight(data, first, stop):
    """Sum of the sample weights of a batch. One that sums to zero has no loss and no gradient."""
    if not data.weighted:
        return np.float64(stop - first)
    total = 0.0
    for position in range(first, stop):
        total += data.sample_weight[row_of(data, position)]
    return total


@inlined
def sum_of(values, count):
    """Sum of the first `count` values, in four chains of a fixed order."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    fours = count // 4 * 4
    for i in range(0, fours, 4):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
    for i in range(fours, count):
        a += values[i]
    return (a + b) + (c + d)
