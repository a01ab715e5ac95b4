"""One page: the order of phases and barriers in the life of one member of the team."""

import math
from typing import Any, NamedTuple

import numpy as np

from .activations import ACTIVATIONS
from .kernels import (
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
    NUMBERS,
    SHIFTS,
    STEP,
    Blocks,
    Span,
    buffers_of,
    data_of,
    layout_of,
)
from .losses import LossCodes
from .machine.jit import entry, inlined
from .machine.simd import number_like, pointer
from .machine.team import meet
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
    trait_gradient,
    trait_squares,
    trait_terms,
    trait_update,
)

LEAVE, TRAIN, PREDICT = range(3)
IDENTITY = ACTIVATIONS["identity"].code
NO_NORMALIZATION, BATCH, LAYER = range(3)
NUMBERS_OF_STEP = 8  # room for the numbers of an optimizer step


class Words(NamedTuple):
    """The codes of a network's words; `activation` and `learned` (of its slope) are pointers, one number per layer.

    traits : whether units learn anything beside their weights
    """

    loss: LossCodes
    optimizer: int
    normalization: int
    traits: int
    activation: Any
    learned: Any


class Task(NamedTuple):
    """What the leader asks for; published in an int64 array before a barrier and read by all after it.

    first, stop : positions of the order to work through; rows : length of the order
    batch, chunk : rows of a batch, and of a part of it; step : the row of `numbers` for position 0, may be negative
    seed : of this epoch's random bits
    """

    kind: int
    first: int
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


class Terms(NamedTuple):
    """The numbers of one step beside the optimizer's, in the dtype of the weights.

    share : 1 / sum of the batch's sample weights; clip : largest component of the gradient; scale : what clipping by
    the norm leaves of it; numbers : where the optimizer's numbers are
    """

    alpha: float
    l1: float
    clip: float
    max_norm: float
    momentum: float
    epsilon: float
    share: float
    scale: float
    numbers: int


class Crew(NamedTuple):
    """What the members share beside the buffers.

    capacity : rows that the buffers hold; tiles : where in `gradient` the members' tiles begin, -1 where it is whole
    scratch, tile : each member's share of `scratch` and of these tiles
    meeting : the barrier; task, settings : fields of Task and Settings; shares : (members + 1) * layers blocks
    keep : share of outputs that dropout leaves, for each level; total : the loss so far
    """

    members: int
    capacity: int
    tiles: int
    scratch: int
    tile: int
    meeting: Any
    task: Any
    shares: Any
    settings: Any
    keep: Any
    total: Any


@inlined
def words_of(t):
    """Words from a table of codes and addresses."""
    i = np.int64(0)
    loss = LossCodes(t[0], t[1], t[2], t[3], t[4], t[5])
    return Words(loss, t[6], t[7], t[8], pointer(t[9], i), pointer(t[10], i))


@inlined
def crew_of(t):
    """Crew from a table of its numbers and addresses."""
    p, i = pointer, np.int64(0)
    return Crew(
        t[0], t[1], t[2], t[3], t[4], p(t[5], i), p(t[6], i), p(t[7], i), p(t[8], 0.0), p(t[9], 0.0), p(t[10], 0.0)
    )


@entry
def work(rank, zero, words, layout, buffers, data, crew):
    """The life of member `rank`: task after task until told to leave. The leader, rank 0, returns after each.

    `zero` is a number of the network's dtype. Everything else comes as tables of numbers and addresses, so that an
    array that is read-only or not aligned is no other type, and a call costs next to nothing.
    """
    serve(
        rank,
        words_of(words),
        layout_of(layout),
        buffers_of(buffers, zero),
        data_of(data, zero),
        crew_of(crew),
    )


@inlined
def serve(rank, words, layout, buffers, data, crew):
    """Task after task: chunks of batches to learn from, together, or rows of the member's own to predict."""
    while True:
        meet(crew.meeting, crew.members)
        t = crew.task
        task = Task(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
        if task.kind == LEAVE:
            return
        training = task.kind == TRAIN
        position, stop = task.first, task.stop
        if not training:
            rows = stop - position
            stop = position + rows * (rank + 1) // crew.members
            position += rows * rank // crew.members
        while position < stop:
            batch = batch_of(task, position, training, data)
            span = chunk_span(rank, task, batch, position, crew) if training else room_span(rank, position, stop, crew)
            terms = terms_of(crew, task.step + batch.number, batch, buffers)
            forward(rank, words, layout, data, terms, task.seed, training, span, buffers, crew)
            if training:
                learn(rank, words, layout, data, terms, batch, span, buffers, crew)
            else:
                predict(layout, data, words.loss, span, buffers)
            position += span.rows
        meet(crew.meeting, crew.members)
        if rank == 0:
            return


class Batch(NamedTuple):
    """A batch: its number, its positions in the order, and the sum of its rows' weights."""

    number: int
    first: int
    stop: int
    weight: float


@inlined
def batch_of(task, position, training, data):
    """The batch that a position of the order belongs to; a prediction weighs nothing up."""
    number = position // task.batch
    first = number * task.batch
    stop = min(first + task.batch, task.rows)
    return Batch(number, first, stop, batch_weight(data, first, stop) if training else 1.0)


@inlined
def chunk_span(rank, task, batch, position, crew):
    """The member's rows of the chunk of a batch that begins at a position."""
    rows = min(task.chunk, batch.stop - position)
    first, stop = rows * rank // crew.members, rows * (rank + 1) // crew.members
    return Span(position, first, stop, rows, task.rows, crew.scratch * rank, crew.capacity)


@inlined
def room_span(rank, position, stop, crew):
    """The next rows to predict, where the member has room for them in the buffers: no barrier is needed."""
    room, next_room = crew.capacity * rank // crew.members, crew.capacity * (rank + 1) // crew.members
    rows = min(next_room - room, stop - position)
    return Span(position - room, room, room + rows, rows, position * 0, crew.scratch * rank, crew.capacity)


@inlined
def forward(rank, words, layout, data, terms, seed, training, span, buffers, crew):
    """Rows through all layers; the last one keeps its z. Batch normalization in training has two barriers a layer."""
    layers = layout.layers
    gather(layout, data, span, buffers)
    for layer in range(layers):
        if training and crew.keep[layer] < 1:
            drop(layout, layer, crew.keep[layer], layer and words.learned[layer - 1], seed, span, buffers)
        level, learned = layer + 1, words.learned[layer]
        hidden = level < layers
        by_rows = hidden and (learned or words.normalization != NO_NORMALIZATION)
        affine_forward(layout, layer, IDENTITY if by_rows else words.activation[layer], span, buffers)
        if hidden and words.normalization == LAYER:
            layer_normalize(layout, level, terms.epsilon, span, buffers)
        if hidden and words.normalization == BATCH:
            if training:
                meet(crew.meeting, crew.members)  # all rows are there
                batch_statistics(layout, level, terms, span.rows, rank, crew.members, buffers)
                meet(crew.meeting, crew.members)  # so are their means
            else:
                running_statistics(layout, level, terms.epsilon, buffers)
            batch_normalize(layout, level, span, buffers)
        if by_rows:
            activate_rows(layout, level, words.activation[layer], learned, span, buffers)


@inlined
def learn(rank, words, layout, data, terms, batch, span, buffers, crew):
    """From the outputs of a chunk back down, and where the batch ends, a step. Two barriers, or more for some words."""
    begun, final = span.at > batch.first, span.at + span.rows == batch.stop
    output_delta(layout, data, words.loss, span, buffers)
    backward(rank, words, layout, span, buffers, crew)
    meet(crew.meeting, crew.members)  # all deltas are ready

    clipped = final and crew.settings[CLIP_NORM] < np.inf
    for sweep in range(GRADIENT if clipped else ALL, (STEP if clipped else ALL) + 1):
        update(rank, words, layout, terms, span.rows, begun, final, sweep, buffers, crew)
        if sweep == GRADIENT:
            meet(crew.meeting, crew.members)  # the gradient is whole
            terms = clipped_terms(layout, terms, crew, buffers)
            meet(crew.meeting, crew.members)  # all know its norm
    share = (batch.stop - batch.first) / batch.weight if batch.weight else 0.0
    if rank == 0:
        crew.total[0] += sum_of(buffers.losses, span.rows) * share
    meet(crew.meeting, crew.members)  # all weights are new
    if rank == 0 and final:
        crew.total[0] += sum_of(buffers.penalties, layout.blocks) * share
    if final and crew.settings[MAX_NORM] < np.inf:
        limit_norms(layout, terms.max_norm, rank, crew.members, buffers)
        meet(crew.meeting, crew.members)  # none is too long


@inlined
def backward(rank, words, layout, span, buffers, crew):
    """Deltas of all levels, from the top down."""
    for layer in range(layout.layers - 1, 0, -1):
        affine_backward(layout, layer, words.learned[layer - 1], span, buffers)
        if words.normalization == LAYER:
            layer_backward(layout, layer, span, buffers)
        if words.normalization == BATCH:
            meet(crew.meeting, crew.members)  # all rows are there
            batch_sums(layout, layer, span.rows, rank, crew.members, buffers)
            meet(crew.meeting, crew.members)  # so are their sums
            batch_backward(layout, layer, span, buffers)


@inlined
def update(rank, words, layout, terms, rows, begun, final, sweep, buffers, crew):
    """Gradients of the member's blocks and units, or their sum so far where the batch goes on; and the step."""
    layers, here = layout.layers, rank * layout.layers
    tile = -1 if crew.tiles < 0 else crew.tiles + crew.tile * rank
    for layer in range(layers):
        blocks = Blocks(crew.shares[here + layer], crew.shares[here + layers + layer], rows, begun, tile, sweep)
        if sweep != STEP and (layout.sparse[layer] or not final):
            affine_gradient(layout, layer, blocks, buffers)
        if final:
            affine_update(layout, layer, words.optimizer, terms, blocks, buffers)
    for level in range(1, layers if words.traits else 0):
        for trait in (NUMBERS, GAINS, SHIFTS):
            normalized = words.normalization != NO_NORMALIZATION
            if words.learned[level - 1] if trait == NUMBERS else normalized:
                if sweep != STEP and (trait == NUMBERS or words.normalization == LAYER):
                    trait_gradient(layout, level, trait, rows, begun, rank, crew.members, buffers)
                if sweep != STEP and final:
                    trait_terms(layout, level, trait, terms, rank, crew.members, buffers)
                if sweep != GRADIENT and final:
                    trait_update(layout, level, trait, words.optimizer, terms, rank, crew.members, buffers)


ALPHA, CLIP_NORM, MAX_NORM = map(Settings._fields.index, ("alpha", "clip_norm", "max_norm"))


@inlined
def terms_of(crew, step, batch, buffers):
    """The numbers of one step."""
    s, w = crew.settings, buffers.weights
    settings = Settings(s[0], s[1], s[2], s[3], s[4], s[5], s[6])
    return Terms(
        number_like(w, settings.alpha),
        number_like(w, settings.l1),
        number_like(w, settings.clip_value),
        number_like(w, settings.max_norm),
        number_like(w, settings.momentum),
        number_like(w, settings.epsilon),
        number_like(w, 1 / batch.weight if batch.weight else 0.0),
        number_like(w, 1.0),
        step * NUMBERS_OF_STEP,
    )


@inlined
def clipped_terms(layout, terms, crew, buffers):
    """Clipping by the norm of the whole gradient (Pascanu et al. 2013, algorithm 1): g min(1, clip_norm / |g|)."""
    blocks = layout.blocks
    norm = math.sqrt(sum_of(buffers.norms, blocks) + trait_squares(layout, buffers))
    limit = crew.settings[CLIP_NORM]
    scale = limit / norm if norm > limit else 1.0
    return Terms(
        terms.alpha,
        terms.l1,
        terms.clip,
        terms.max_norm,
        terms.momentum,
        terms.epsilon,
        terms.share,
        number_like(buffers.weights, scale),
        terms.numbers,
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
