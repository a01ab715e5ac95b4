"""One page: the order of phases and barriers in the life of one thread of the team."""

import math
from typing import Any, NamedTuple

import numpy as np

from ..activations import ACTIVATIONS
from ..losses import LossCodes
from ..machine.jit import entry, inlined
from ..machine.simd import number_like, pointer
from ..machine.team import barrier
from .affine import (
    affine_backward,
    affine_forward,
    affine_gradient,
    affine_update,
    gather,
    row_of,
)
from .layout import (
    ALL,
    GAINS,
    GRADIENT,
    HYPERPARAMETERS,
    SHIFTS,
    STEP,
    Blocks,
    Span,
    buffers_of,
    data_of,
    layout_of,
)
from .outputs import output_delta, predict
from .units import (
    activate_rows,
    batch_backward,
    batch_normalize,
    batch_statistics,
    batch_sums,
    drop,
    layer_backward,
    layer_normalize,
    limit_norms,
    running_statistics,
    scale_unit_gradient,
    unit_parameter_gradient,
    unit_parameter_squares,
    unit_parameter_update,
)

LEAVE, TRAIN, PREDICT = range(3)
IDENTITY = ACTIVATIONS["identity"].code
NO_NORMALIZATION, BATCH, LAYER = range(3)
OPTIMIZER_SCALARS = 8  # room for the numbers of an optimizer step


class Components(NamedTuple):
    """The codes of a network's components; `activation` and `learned` (of its slope) point to one number per layer.

    unit_parameters : whether units learn anything beside their weights
    """

    loss: LossCodes
    optimizer: int
    normalization: int
    unit_parameters: int
    activation: Any
    learned: Any


class Task(NamedTuple):
    """What the leader asks for; published in an int64 array before a barrier and read by all after it.

    start, stop : positions of the order to work through; rows : length of the order
    batch, chunk : rows of a batch, and of a part of it; step : the row of `scalars` for position 0, may be negative
    seed : of this epoch's random bits
    """

    kind: int
    start: int
    stop: int
    rows: int
    batch: int
    chunk: int
    step: int
    seed: int


class Settings(NamedTuple):
    """What a user chooses, as float64.

    alpha, l1 : penalties; clip_value, clip_norm : of the gradient; max_norm : of the weights into a unit; inf: none
    momentum, epsilon : of the normalization
    """

    alpha: float = 0.0
    l1: float = 0.0
    clip_value: float = math.inf
    clip_norm: float = math.inf
    max_norm: float = math.inf
    momentum: float = 0.1
    epsilon: float = 1e-5


class StepScalars(NamedTuple):
    """The numbers of one step beside the optimizer's, in the dtype of the weights.

    share : 1 / sum of the batch's sample weights; clip : largest component of the gradient; scale : what clipping by
    the norm leaves of it; optimizer_scalars : where the optimizer's are
    """

    alpha: float
    l1: float
    clip: float
    max_norm: float
    momentum: float
    epsilon: float
    share: float
    scale: float
    optimizer_scalars: int


class ThreadContext(NamedTuple):
    """What the threads share beside the buffers.

    capacity : rows that the buffers hold; tiles : where in `gradient` the threads' tiles begin, -1 where it is whole
    scratch, tile : each thread's share of `scratch` and of these tiles
    barrier_state : see `barrier`; task, settings : fields of Task and Settings
    partition : (threads + 1) * layers blocks
    keep : share of outputs that dropout leaves, for each level
    total : the loss of the epoch so far; and how many steps the session has taken
    """

    n_threads: int
    capacity: int
    tiles: int
    scratch: int
    tile: int
    barrier_state: Any
    task: Any
    partition: Any
    settings: Any
    keep: Any
    total: Any


@inlined
def components_of(t):
    """Components from a table of codes and addresses."""
    i = np.int64(0)
    loss = LossCodes(t[0], t[1], t[2], t[3], t[4], t[5])
    return Components(loss, t[6], t[7], t[8], pointer(t[9], i), pointer(t[10], i))


@inlined
def context_of(t):
    """ThreadContext from a table of its numbers and addresses."""
    p, i = pointer, np.int64(0)
    return ThreadContext(
        t[0], t[1], t[2], t[3], t[4], p(t[5], i), p(t[6], i), p(t[7], i), p(t[8], 0.0), p(t[9], 0.0), p(t[10], 0.0)
    )


@entry
def work(rank, zero, components, layout, buffers, data, context):
    """The life of thread `rank`: task after task until told to leave. The leader, rank 0, returns after each.

    `zero` is a number of the network's dtype. Everything else comes as tables of numbers and addresses, so that an
    array that is read-only or not aligned is no other type, and a call costs next to nothing.
    """
    serve(
        rank,
        components_of(components),
        layout_of(layout),
        buffers_of(buffers, zero),
        data_of(data, zero),
        context_of(context),
    )


@inlined
def serve(rank, components, layout, buffers, data, context):
    """Task after task: chunks of batches to learn from, together, or rows of the thread's own to predict."""
    while True:
        barrier(context.barrier_state, context.n_threads)
        t = context.task
        task = Task(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
        if task.kind == LEAVE:
            return
        training = task.kind == TRAIN
        position, stop = task.start, task.stop
        if not training:
            rows = stop - position
            stop = position + rows * (rank + 1) // context.n_threads
            position += rows * rank // context.n_threads
        while position < stop:
            batch = batch_of(task, position, training, data)
            span = (
                chunk_span(rank, task, batch, position, context)
                if training
                else prediction_span(rank, position, stop, context)
            )
            scalars = step_scalars_of(context, task.step + batch.number, batch, buffers)
            forward(rank, components, layout, data, scalars, task.seed, training, span, buffers, context)
            if training:
                train_chunk(rank, components, layout, data, scalars, batch, span, buffers, context)
            else:
                predict(layout, data, components.loss, span, buffers)
            position += span.rows
        barrier(context.barrier_state, context.n_threads)
        if rank == 0:
            return


class Batch(NamedTuple):
    """A batch: its number, its positions in the order, and the sum of its rows' weights."""

    number: int
    start: int
    stop: int
    weight: float


@inlined
def batch_of(task, position, training, data):
    """The batch that a position of the order belongs to; a prediction weighs nothing up."""
    number = position // task.batch
    start = number * task.batch
    stop = min(start + task.batch, task.rows)
    return Batch(number, start, stop, batch_weight(data, start, stop) if training else 1.0)


@inlined
def chunk_span(rank, task, batch, position, context):
    """The thread's rows of the chunk of a batch that begins at a position."""
    rows = min(task.chunk, batch.stop - position)
    start, stop = rows * rank // context.n_threads, rows * (rank + 1) // context.n_threads
    return Span(position, start, stop, rows, task.rows, context.scratch * rank, context.capacity)


@inlined
def prediction_span(rank, position, stop, context):
    """The next rows to predict, where the thread has room for them in the buffers: no barrier is needed."""
    capacity_begin, capacity_end = (
        context.capacity * rank // context.n_threads,
        context.capacity * (rank + 1) // context.n_threads,
    )
    rows = min(capacity_end - capacity_begin, stop - position)
    return Span(
        position - capacity_begin,
        capacity_begin,
        capacity_begin + rows,
        rows,
        position * 0,
        context.scratch * rank,
        context.capacity,
    )


@inlined
def forward(rank, components, layout, data, scalars, seed, training, span, buffers, context):
    """Rows through all layers; the last one keeps its z. Batch normalization in training has two barriers a layer."""
    layers = layout.layers
    gather(layout, data, span, buffers)
    for layer in range(layers):
        if training and context.keep[layer] < 1:
            drop(layout, layer, context.keep[layer], layer and components.learned[layer - 1], seed, span, buffers)
        level, learned = layer + 1, components.learned[layer]
        hidden = level < layers
        by_rows = hidden and (learned or components.normalization != NO_NORMALIZATION)
        affine_forward(layout, layer, IDENTITY if by_rows else components.activation[layer], span, buffers)
        if hidden and components.normalization == LAYER:
            layer_normalize(layout, level, scalars.epsilon, span, buffers)
        if hidden and components.normalization == BATCH:
            if training:
                barrier(context.barrier_state, context.n_threads)  # all rows are there
                batch_statistics(layout, level, scalars, span.rows, rank, context.n_threads, buffers)
                barrier(context.barrier_state, context.n_threads)  # so are their means
            else:
                running_statistics(layout, level, scalars.epsilon, buffers)
            batch_normalize(layout, level, span, buffers)
        if by_rows:
            activate_rows(layout, level, components.activation[layer], learned, span, buffers)


@inlined
def train_chunk(rank, components, layout, data, scalars, batch, span, buffers, context):
    """From the outputs of a chunk back down, and where the batch ends, a step. Two barriers, or more."""
    accumulate, last_chunk = span.at > batch.start, span.at + span.rows == batch.stop
    output_delta(layout, data, components.loss, span, buffers)
    backward(rank, components, layout, span, buffers, context)
    barrier(context.barrier_state, context.n_threads)  # all deltas are ready

    clipped = last_chunk and context.settings[CLIP_NORM] < np.inf
    for phase in range(GRADIENT if clipped else ALL, (STEP if clipped else ALL) + 1):
        update(rank, components, layout, scalars, span.rows, accumulate, last_chunk, phase, buffers, context)
        if phase == GRADIENT:
            barrier(context.barrier_state, context.n_threads)  # the gradient is whole
            scalars = clipped_scalars(layout, scalars, context, buffers)
            barrier(context.barrier_state, context.n_threads)  # all know its norm
    share = (batch.stop - batch.start) / batch.weight if batch.weight else 0.0
    if rank == 0:
        context.total[0] += sum_of(buffers.losses, span.rows) * share
    barrier(context.barrier_state, context.n_threads)  # all weights are new
    if rank == 0 and last_chunk:
        context.total[0] += sum_of(buffers.penalties, layout.blocks) * share
        context.total[1] += 1
    if last_chunk and context.settings[MAX_NORM] < np.inf:
        limit_norms(layout, scalars.max_norm, rank, context.n_threads, buffers)
        barrier(context.barrier_state, context.n_threads)  # none is too long


@inlined
def backward(rank, components, layout, span, buffers, context):
    """Deltas of all levels, from the top down."""
    for layer in range(layout.layers - 1, 0, -1):
        affine_backward(layout, layer, components.learned[layer - 1], span, buffers)
        if components.normalization == LAYER:
            layer_backward(layout, layer, span, buffers)
        if components.normalization == BATCH:
            barrier(context.barrier_state, context.n_threads)  # all rows are there
            batch_sums(layout, layer, span.rows, rank, context.n_threads, buffers)
            barrier(context.barrier_state, context.n_threads)  # so are their sums
            batch_backward(layout, layer, span, buffers)


@inlined
def update(rank, components, layout, scalars, rows, accumulate, last_chunk, phase, buffers, context):
    """Gradients of the thread's blocks and units, or their sum so far where the batch goes on; and the step."""
    layers, here = layout.layers, rank * layout.layers
    tile = -1 if context.tiles < 0 else context.tiles + context.tile * rank
    for layer in range(layers):
        blocks = Blocks(
            context.partition[here + layer], context.partition[here + layers + layer], rows, accumulate, tile, phase
        )
        if phase != STEP and (layout.sparse[layer] or not last_chunk):
            affine_gradient(layout, layer, blocks, buffers)
        if last_chunk:
            affine_update(layout, layer, components.optimizer, scalars, blocks, buffers)
    for level in range(1, layers if components.unit_parameters else 0):
        for unit_parameter in (HYPERPARAMETERS, GAINS, SHIFTS):
            normalized = components.normalization != NO_NORMALIZATION
            if components.learned[level - 1] if unit_parameter == HYPERPARAMETERS else normalized:
                if phase != STEP and (unit_parameter == HYPERPARAMETERS or components.normalization == LAYER):
                    unit_parameter_gradient(
                        layout, level, unit_parameter, rows, accumulate, rank, context.n_threads, buffers
                    )
                if phase != STEP and last_chunk:
                    scale_unit_gradient(layout, level, unit_parameter, scalars, rank, context.n_threads, buffers)
                if phase != GRADIENT and last_chunk:
                    unit_parameter_update(
                        layout, level, unit_parameter, components.optimizer, scalars, rank, context.n_threads, buffers
                    )


ALPHA, CLIP_NORM, MAX_NORM = map(Settings._fields.index, ("alpha", "clip_norm", "max_norm"))


@inlined
def step_scalars_of(context, step, batch, buffers):
    """The numbers of one step."""
    s, w = context.settings, buffers.weights
    settings = Settings(s[0], s[1], s[2], s[3], s[4], s[5], s[6])
    return StepScalars(
        number_like(w, settings.alpha),
        number_like(w, settings.l1),
        number_like(w, settings.clip_value),
        number_like(w, settings.max_norm),
        number_like(w, settings.momentum),
        number_like(w, settings.epsilon),
        number_like(w, 1 / batch.weight if batch.weight else 0.0),
        number_like(w, 1.0),
        step * OPTIMIZER_SCALARS,
    )


@inlined
def clipped_scalars(layout, scalars, context, buffers):
    """Clipping by the norm of the whole gradient (Pascanu et al. 2013, algorithm 1): g min(1, clip_norm / |g|)."""
    blocks = layout.blocks
    norm = math.sqrt(sum_of(buffers.norms, blocks) + unit_parameter_squares(layout, buffers))
    limit = context.settings[CLIP_NORM]
    scale = limit / norm if norm > limit else 1.0
    return StepScalars(
        scalars.alpha,
        scalars.l1,
        scalars.clip,
        scalars.max_norm,
        scalars.momentum,
        scalars.epsilon,
        scalars.share,
        number_like(buffers.weights, scale),
        scalars.optimizer_scalars,
    )


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
