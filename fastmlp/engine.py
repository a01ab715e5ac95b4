"""One page: the order of phases and barriers in the life of one member of the team."""

from typing import Any, NamedTuple

import numpy as np

from .activations import IDENTITY
from .kernels import (
    affine_backward,
    affine_forward,
    affine_gradient,
    affine_update,
    gather,
    output_delta,
    predict,
    row_of,
)
from .layout import Blocks, Span, buffers_of, data_of, layout_of
from .machine.jit import entry, inlined
from .machine.simd import number_like, pointer
from .machine.team import meet
from .optimizers import Rates, Settings, effective_learning_rate

LEAVE, TRAIN, PREDICT = range(3)


class Words(NamedTuple):
    """The codes of a network's words."""

    activation: int
    loss: int
    optimizer: int


class Task(NamedTuple):
    """What the leader asks for; published in an int64 array before a barrier and read by all after it.

    first, stop : positions of the order to work through; rows : length of the order
    batch, chunk : rows of a batch, and of a part of it; step : optimizer steps taken before position 0
    """

    kind: int
    first: int
    stop: int
    rows: int
    batch: int
    chunk: int
    step: int


class Crew(NamedTuple):
    """What the members share beside the buffers.

    capacity : rows that the buffers hold; tiles : where in `gradient` the members' tiles begin, -1 where it is whole
    scratch, tile : each member's share of `scratch` and of these tiles
    meeting : the barrier; task, settings : fields of Task and Settings; shares : (members + 1) * layers blocks
    total : the loss so far
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
    total: Any


@inlined
def crew_of(table):
    """Crew from a table of its numbers and addresses."""
    i = np.int64(0)
    return Crew(
        table[0],
        table[1],
        table[2],
        table[3],
        table[4],
        pointer(table[5], i),
        pointer(table[6], i),
        pointer(table[7], i),
        pointer(table[8], 0.0),
        pointer(table[9], 0.0),
    )


@entry
def work(rank, zero, words, layout, buffers, data, crew):
    """The life of member `rank`: task after task until told to leave. The leader, rank 0, returns after each.

    `zero` is a number of the network's dtype. Everything else comes as tables of numbers and addresses, so that an
    array that is read-only or not aligned is no other type, and a call costs next to nothing.
    """
    serve(
        rank,
        Words(words[0], words[1], words[2]),
        layout_of(layout),
        buffers_of(buffers, zero),
        data_of(data, zero),
        crew_of(crew),
    )


@inlined
def serve(rank, words, layout, buffers, data, crew):
    """Task after task."""
    while True:
        meet(crew.meeting, crew.members)
        t = crew.task
        task = Task(t[0], t[1], t[2], t[3], t[4], t[5], t[6])
        if task.kind == LEAVE:
            return
        if task.kind == TRAIN:
            train(rank, words, layout, buffers, data, crew, task)
        else:
            evaluate(rank, words, layout, buffers, data, crew, task)
        meet(crew.meeting, crew.members)
        if rank == 0:
            return


@inlined
def forward(words, layout, data, span, buffers):
    """Rows through all layers; the last one keeps its z."""
    layers = layout.layers
    gather(layout, data, span, buffers)
    for layer in range(layers):
        activation = words.activation if layer < layers - 1 else IDENTITY
        affine_forward(layout, layer, activation, span, buffers)


@inlined
def train(rank, words, layout, buffers, data, crew, task):
    """Chunks of batches from position `first` to `stop`: two phases and two barriers each."""
    layers = layout.layers
    position = task.first
    while position < task.stop:
        batch_first = position // task.batch * task.batch
        batch_stop = min(batch_first + task.batch, task.rows)
        rows = min(task.chunk, batch_stop - position)
        mine, next_mine = rows * rank // crew.members, rows * (rank + 1) // crew.members
        span = Span(position, mine, next_mine, rows, task.rows, crew.scratch * rank)
        forward(words, layout, data, span, buffers)
        output_delta(layout, data, words.loss, span, buffers)
        for layer in range(layers - 1, 0, -1):
            affine_backward(layout, layer, span, buffers)
        meet(crew.meeting, crew.members)  # all deltas are ready

        begun, final = position > batch_first, position + rows == batch_stop
        tile = -1 if crew.tiles < 0 else crew.tiles + crew.tile * rank
        weight = batch_weight(data, batch_first, batch_stop)
        rates = rates_of(words, crew, task.step + position // task.batch + 1, weight, buffers)
        here = rank * layers
        for layer in range(layers):
            blocks = Blocks(crew.shares[here + layer], crew.shares[here + layers + layer], rows, begun, tile)
            if layout.sparse[layer] or not final:
                affine_gradient(layout, layer, blocks, buffers)
            if final:
                affine_update(layout, layer, words.optimizer, rates, blocks, buffers)
        share = (batch_stop - batch_first) / weight if weight else 0.0
        if rank == 0:
            crew.total[0] += sum_of(buffers.losses, rows) * share
        meet(crew.meeting, crew.members)  # all weights are new
        if rank == 0 and final:
            penalty = 0.5 * crew.settings[ALPHA] * sum_of(buffers.penalties, layout.blocks)
            crew.total[0] += penalty * share
        position += rows


ALPHA = Settings._fields.index("alpha")


@inlined
def rates_of(words, crew, step, weight, buffers):
    """The numbers of one optimizer step."""
    s, w = crew.settings, buffers.weights
    settings = Settings(s[0], s[1], s[2], s[3], s[4], s[5])
    return Rates(
        number_like(w, effective_learning_rate(words.optimizer, settings, step)),
        number_like(w, settings.momentum),
        number_like(w, settings.beta_1),
        number_like(w, settings.beta_2),
        number_like(w, 1 - settings.beta_1),
        number_like(w, 1 - settings.beta_2),
        number_like(w, settings.epsilon),
        number_like(w, settings.alpha),
        number_like(w, 1 / weight if weight else 0.0),
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


@inlined
def evaluate(rank, words, layout, buffers, data, crew, task):
    """Predictions for positions `first` to `stop`. No barrier: each member has rows of its own, in the buffers too."""
    room, next_room = crew.capacity * rank // crew.members, crew.capacity * (rank + 1) // crew.members
    rows = task.stop - task.first
    position = task.first + rows * rank // crew.members
    stop = task.first + rows * (rank + 1) // crew.members
    while position < stop:
        count = min(next_room - room, stop - position)
        span = Span(position - room, room, room + count, 0, 0, 0)
        forward(words, layout, data, span, buffers)
        predict(layout, data, words.loss, span, buffers)
        position += count
