"""A network's parameters and buffers, and the team that works on them."""

import functools
import itertools
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from . import normalizations
from .activations import ACTIVATIONS
from .engine import (
    BATCH,
    LEAVE,
    NUMBERS_OF_STEP,
    PREDICT,
    TRAIN,
    Crew,
    Settings,
    Task,
    work,
)
from .layout import (
    CHUNK,
    DEPTH,
    GAINS,
    LEARNED,
    LINE,
    NUMBERS,
    TRAITS,
    VARIANCES,
    Buffers,
    Data,
    aligned,
    forget,
    pack,
    plan,
    shares,
    table_of,
    unpack,
)
from .losses import LOSSES, codes_of
from .machine.jit import compiled
from .machine.simd import lanes_of_dtype
from .machine.team import BUDGET, Team
from .machine.tile import TALLEST_POSSIBLE, TILE_VECTORS
from .optimizers import MOST_STATES, OPTIMIZERS

PREDICTION_ROWS = 64  # rows that a member takes through the network together when it only predicts
# Operations between two returns to Python: some ten milliseconds, so that an interrupt is seen in time.
SLICE = 2e9
# Operations of a step below which a second thread costs more than it brings.
SHARED_WORK = 100_000
# Operations in whose time the optimizer takes one weight from memory and back, above sparse inputs.
STREAMED = 500
# Steps whose numbers are worked out together, in NumPy.
FORESIGHT = 256
MOST_FORESIGHT = 4096


@functools.cache
def machine_code(dtype):
    """The engine for a dtype, compiled or from the disk cache."""
    table = np.zeros(1, np.int64)
    return compiled(work, 0, dtype.type(0), table, table, table, table, table)


class Parameters(NamedTuple):
    """What a network learns: coefs and intercepts of each layer; traits of each hidden layer, where units have some."""

    coefs: list
    intercepts: list
    traits: list


class Network:
    """Parameters of a multi-layer perceptron and its optimizer's state.

    Parameters
    ----------
    units : sequence of int
        (n_features, hidden units ..., n_outputs).
    dtype : dtype
        float32 or float64, of all parameters and computations.
    activation : Activation, its name, or a list with one for each hidden layer
    loss, optimizer : Loss and Optimizer, or their names
    output : str or None
        Output activation, one that the loss allows; None for the loss's first.
    normalization : BatchNormalization, LayerNormalization or None
        Of the hidden layers, between product and activation.
    dropout : sequence of float or None
        Share of the outputs that training drops, for the inputs and each hidden layer.
    clips : bool
        Whether gradients are clipped by their norm, so that sessions have room for the whole gradient.
    sparse : bool
        Whether the inputs of its sessions are sparse.
    """

    def __init__(
        self,
        units,
        *,
        dtype,
        activation,
        loss,
        optimizer,
        output=None,
        normalization=None,
        dropout=None,
        clips=False,
        sparse=False,
    ):
        self.sparse, self.clips = bool(sparse), bool(clips)
        self.units = tuple(int(n) for n in units)
        self.dtype = np.dtype(dtype)
        self.loss, self.optimizer = LOSSES.resolve(loss), OPTIMIZERS.resolve(optimizer)
        self.output = output or self.loss.outputs[0]
        self.normalization = normalization
        hidden = len(self.units) - 2
        names = activation if isinstance(activation, list | tuple) else [activation] * hidden
        self.activations = [ACTIVATIONS.resolve(name) for name in names]
        self.keep = 1 - np.array(dropout if dropout is not None else [0.0] * (hidden + 1), np.float64)
        self.layout, sizes = plan(self.units, self.dtype, 0, self.sparse)
        self._states = [
            aligned(sizes["weights"] if n < self.optimizer.states else 0, self.dtype) for n in range(MOST_STATES)
        ]
        self._weights = aligned(sizes["weights"], self.dtype)
        self._gradient = aligned(0, self.dtype)
        self._set_traits()

    def _set_traits(self):
        """Traits before training: the activations' numbers, gains and variances of 1, shifts and means of 0."""
        self.learned = np.array([*(word.learned for word in self.activations), False], np.int64)
        traits = self._traits(self._weights)
        traits[:] = 0
        for level, word in enumerate(self.activations, 1):
            first = self.layout.units_at[level]
            traits[NUMBERS, first : first + self.units[level]] = word.number
        traits[GAINS] = traits[VARIANCES] = 1

    def _traits(self, buffer):
        """View of the traits of all units, of shape (TRAITS, ...)."""
        at, row = self.layout.traits_at, self.layout.trait_row
        return buffer[at : at + TRAITS * row].reshape(TRAITS, row)

    @property
    def has_traits(self):
        """Whether units learn anything beside their weights."""
        return self.normalization is not None or bool(self.learned.any())

    def traits(self):
        """What units have beside weights: a list of arrays (TRAITS, n_units), one for each hidden layer."""
        rows, at = self._traits(self._weights), self.layout.units_at
        return [rows[:, at[level] : at[level] + self.units[level]].copy() for level in range(1, len(self.units) - 1)]

    def set_traits(self, traits):
        """Copy in traits as `traits` gives them."""
        rows, at = self._traits(self._weights), self.layout.units_at
        for level, values in enumerate(traits, 1):
            rows[:, at[level] : at[level] + self.units[level]] = values

    def set_weights(self, coefs, intercepts):
        """Copy in parameters: matrices (n_below, n_above) and vectors (n_above,)."""
        self._write(self._weights, [*coefs, *intercepts])

    def weights(self):
        """Parameters as lists (coefs, intercepts) of new arrays."""
        arrays = self._read(self._weights)
        layers = len(self.units) - 1
        return arrays[:layers], arrays[layers:]

    def parameters(self):
        """All that is learned, as new arrays."""
        coefs, intercepts = self.weights()
        return Parameters(coefs, intercepts, self.traits() if self.has_traits else [])

    def set_parameters(self, parameters):
        """Copy in what `parameters` gives."""
        self.set_weights(parameters.coefs, parameters.intercepts)
        self.set_traits(parameters.traits)

    def set_states(self, states):
        """Copy in the optimizer's states, each a list of arrays shaped like coefs followed by intercepts.

        Where units learn traits, one more array of shape (LEARNED, ...) ends the list.
        """
        for buffer, arrays in zip(self._states, states, strict=False):
            if len(arrays) != 2 * len(self.units) - 2 + self.has_traits:
                raise ValueError(
                    "An optimizer can only go on with the normalization and the learned slopes that it began with; "
                    "call fit to start a new one."
                )
            self._write(buffer, arrays)
            if self.has_traits:
                self._traits(buffer)[:LEARNED] = arrays[-1]

    def take_states(self):
        """The optimizer's states, as `set_states` takes them, at the end of a training.

        Memory that it needed is given back before as much is taken for copies.
        """
        forget(self._gradient)
        states = []
        for buffer in self._states[: self.optimizer.states]:
            learned = [self._traits(buffer)[:LEARNED].copy()] if self.has_traits else []
            states.append(self._read(buffer) + learned)
            forget(buffer)
        return states

    def _room_for_gradient(self, size):
        """`size` numbers, which all sessions share, since no two train at a time: zeros, or what the last one left."""
        if self._gradient.size < size:
            self._gradient = aligned(size, self.dtype)
        return self._gradient[:size]

    def _write(self, buffer, arrays):
        for layer in range(len(self.units) - 1):
            intercept = np.reshape(arrays[len(self.units) - 1 + layer], (1, -1))
            matrix = np.concatenate([arrays[layer], intercept])
            if self.layout.narrow[layer]:
                self._narrow(buffer, layer)[...] = matrix.T
            else:
                pack(matrix, buffer, self.layout.weights_at[layer])

    def _read(self, buffer):
        matrices = []
        for layer, shape in enumerate(zip(self.units, self.units[1:], strict=False)):
            if self.layout.narrow[layer]:
                matrix = self._narrow(buffer, layer).T.copy()
            else:
                matrix = np.empty((shape[0] + 1, shape[1]), self.dtype)
                unpack(buffer, self.layout.weights_at[layer], matrix)
            matrices.append(matrix)
        return [m[:-1] for m in matrices] + [m[-1].copy() for m in matrices]

    def _narrow(self, buffer, layer):
        """View of a narrow layer's parameters, of shape (n_above, n_below + 1)."""
        at, stride, rows = self.layout.weights_at[layer], self.layout.narrow[layer], self.units[layer + 1]
        return buffer[at : at + rows * stride].reshape(rows, stride)[:, : self.units[layer] + 1]

    def session(self, X, y=None, sample_weight=None, *, batch_size, n_threads=None):
        """A team at work on data; a context manager. See Session."""
        return Session(self, X, y, sample_weight, batch_size, n_threads)


class Session:
    """A network, data, and a team of threads that lives until the end of the `with` block.

    Parameters
    ----------
    network : Network
    X : ndarray of shape (n_rows, n_features), or a scipy.sparse CSR matrix or array for a network of sparse inputs
        C-contiguous, of the network's dtype; may be read-only. Column indices ascend in each row, none comes twice.
    y : ndarray or None
        Class codes (n_rows,) int64 where the loss takes codes, else a matrix (n_rows, n_outputs); None to predict only.
    sample_weight : ndarray of shape (n_rows,) or None
    batch_size : int
        Rows of a batch; one of more than CHUNK rows passes in parts, except for batch normalization.
    n_threads : int or None
        Size of the team; None for as many of the process's free cores as the work is worth.
    """

    def __init__(self, network, X, y, sample_weight, batch_size, n_threads):
        self.network = network
        self._rows = X.shape[0]
        self._batch = min(batch_size, self._rows)
        by_batch = normalizations.code_of(network.normalization) == BATCH
        self._chunk = self._batch if by_batch else -(-self._batch // -(-self._batch // CHUNK))
        inputs = X.nnz // self._rows + 1 if network.sparse else X.shape[1]
        units = (inputs, *network.units[1:])
        self._row_operations = sum(6 * a * b for a, b in itertools.pairwise(units))
        self._step_operations = STREAMED * network.units[0] * network.units[1] if network.sparse else 0
        self._granted = BUDGET.take(self._useful_threads()) if n_threads is None else 0
        self._data = self._bind(X, y, sample_weight)
        self._indices = np.asarray(X.indices if network.sparse else (), np.int64)
        self._task = np.zeros(len(Task._fields), np.int64)
        self._settings = np.zeros(len(Settings._fields))
        self._total = np.zeros(1)
        self._foreseen = self._known_settings = None
        self._normalization = {} if network.normalization is None else asdict(network.normalization)
        self._wanted = n_threads or self._granted

    def _useful_threads(self):
        return int(max(1, (self._batch * self._row_operations + self._step_operations) // SHARED_WORK))

    def _bind(self, X, y, sample_weight):
        network = self.network
        nothing = np.zeros(0, network.dtype)
        codes = network.loss.takes_codes(network.output)
        has_codes, has_targets = y is not None and codes, y is not None and not codes
        return Data(
            ordered=y is not None,
            weighted=sample_weight is not None,
            inputs=np.ascontiguousarray(X.data) if network.sparse else X,
            order=np.zeros(0 if y is None else self._rows, np.int64),
            codes=y if has_codes else nothing,
            indptr=np.asarray(X.indptr, np.int64) if network.sparse else nothing,
            targets=y if has_targets else nothing,
            sample_weight=nothing if sample_weight is None else sample_weight,
            predictions=np.zeros(self._rows * network.units[-1], network.dtype),
        )

    def _allocate(self, members):
        """Layout and buffers for a team of `members`."""
        network, dtype = self.network, self.network.dtype
        self._capacity = max(members, min(self._rows, max(self._chunk, PREDICTION_ROWS * members)))
        layout, sizes = plan(network.units, dtype, self._capacity, network.sparse)
        panel = TILE_VECTORS * lanes_of_dtype(dtype)
        tile = panel * TALLEST_POSSIBLE
        before_tiles = int(layout.weights_at[1]) if network.sparse else 0
        self._tiles = -1 if self._batch > self._chunk or network.clips else before_tiles
        first, second, third = network._states
        learned = sizes["outputs"] if network.has_traits else 0
        outputs = layout.units[-1]
        loss_numbers = aligned(outputs + panel, dtype)
        loss_numbers[:outputs] = np.resize(network.loss.number, outputs)
        return layout, Buffers(
            weights=network._weights,
            first=first,
            second=second,
            third=third,
            gradient=network._room_for_gradient(sizes["weights"] if self._tiles < 0 else before_tiles + members * tile),
            outputs=aligned(sizes["outputs"], dtype),
            deltas=aligned(sizes["outputs"], dtype),
            kept=aligned(LEARNED * learned, dtype),
            trait_gradient=aligned(LEARNED * layout.trait_row, dtype),
            statistics=aligned(2 * layout.trait_row + (layout.layers + 1) * self._capacity + panel, dtype),
            numbers=aligned(MOST_FORESIGHT * NUMBERS_OF_STEP if self._data.ordered else 0, dtype),
            loss_numbers=loss_numbers,
            losses=aligned(self._capacity, dtype),
            penalties=aligned(layout.blocks, np.float64),
            norms=aligned(layout.blocks, np.float64),
            scratch=aligned(panel * self._chunk + members * (panel * DEPTH + tile), dtype),
            zeros=aligned(panel, dtype),
            values=self._data.inputs,
            indices=self._indices,
            bounds=aligned(2 * self._capacity if network.sparse else 0, np.int64),
        )

    def __enter__(self):
        layout, buffers = self._allocate(self._wanted)
        words = self._words()
        self._records = [*map(table_of, (words, layout, buffers, self._data))]
        self._alive = layout, buffers, words  # the tables hold addresses only
        self._assemble(self._wanted)
        return self

    def _assemble(self, members):
        """Start a team for the buffers, which may have room for a larger one."""
        records, buffers = self._records, self._alive[1]
        zero = self.network.dtype.type(0)
        call = machine_code(self.network.dtype)

        def member(rank, team):
            crew = self._crew(team, buffers)
            table = table_of(crew)

            def serve(crew=crew):  # whose arrays live as long as this function
                call(rank, zero, *records, table)

            return serve

        self._team = Team(members, member)
        self._lead = member(0, self._team)

    def _dismiss(self):
        """Let the team go."""
        self._publish(LEAVE, 0, 0, 0)
        lead, self._lead = self._lead, lambda: None  # an interrupt from here on finds no team to dismiss
        lead()
        self._team.join()

    def _make_room(self):
        """Go on with a smaller team where other fits want cores; the bits of the results stay as they are."""
        excess = BUDGET.excess(self._granted)
        if excess:
            self._dismiss()
            BUDGET.spare(excess)
            self._granted -= excess
            self._assemble(self._granted)

    def _crew(self, team, buffers):
        line = LINE // self.network.dtype.itemsize
        return Crew(
            members=team.members,
            capacity=self._capacity,
            tiles=self._tiles,
            scratch=buffers.scratch.size // team.members // line * line,
            tile=(buffers.gradient.size - max(self._tiles, 0)) // team.members // line * line,
            meeting=team.meeting,
            task=self._task,
            shares=shares(self.network.units, self.network.dtype, team.members, self.network.sparse),
            settings=self._settings,
            keep=self.network.keep,
            total=self._total,
        )

    def _words(self):
        network = self.network
        return (
            *codes_of(network.loss, network.output),
            network.optimizer.code,
            normalizations.code_of(network.normalization),
            network.has_traits,
            np.array([*(word.code for word in network.activations), ACTIVATIONS["identity"].code], np.int64),
            network.learned,
        )

    def __exit__(self, *exception):
        self._dismiss()
        if self._granted:
            BUDGET.give_back(self._granted)

    def _publish(self, kind, first, stop, rows, step=0, seed=0):
        self._task[:] = Task(kind, first, stop, rows, self._batch, self._chunk, step, seed)

    def _run(self, kind, first, stop, rows, row_operations, progress=None, **task):
        """Positions `first` to `stop` in slices of some milliseconds, between which Python sees interrupts."""
        slice_rows = max(1, int(SLICE / row_operations) // self._chunk) * self._chunk
        for at in range(first, stop, slice_rows):
            end = min(at + slice_rows, stop)
            self._make_room()
            self._publish(kind, at, end, rows, **task)
            self._lead()
            if progress is not None:
                progress(end)

    def _set(self, settings):
        if settings != self._known_settings:  # building them takes as long as a step of a small network
            self._settings[:] = Settings(**settings, **self._normalization)
            self._known_settings = settings

    def _foresee(self, rate, step, steps):
        """Work out the optimizer's numbers for the steps after `step`; returns the first one's row in `numbers`.

        With one rate for all, some steps more: epochs of few steps share the cost of NumPy's calls.
        """
        constant = not isinstance(rate, np.ndarray)
        if constant and self._foreseen is not None:
            known, first, stop = self._foreseen
            if known == rate and first <= step and step + steps <= stop:
                return step - first
        count = min(max(steps, FORESIGHT), MOST_FORESIGHT) if constant else steps
        t = np.arange(step + 1, step + count + 1, dtype=np.float64)
        numbers = self.network.optimizer.numbers(t, np.full(count, rate) if constant else rate)
        self._alive[1].numbers.reshape(-1, NUMBERS_OF_STEP)[:count, : numbers.shape[1]] = numbers
        self._foreseen = (rate, step, step + count) if constant else None
        return 0

    def epoch(self, order, *, learning_rate, step=0, seed=0, progress=None, **settings):
        """Train on the rows `order` (n,), in consecutive batches, the last one smaller.

        Parameters
        ----------
        order : ndarray of indices
        learning_rate : float, or float64 ndarray with one number for each batch
        step : int
            Optimizer steps taken before.
        seed : int
            Of the epoch's random bits, for dropout.
        progress : callable(rows done) or None
            Called every some milliseconds.
        settings : fields of `engine.Settings`

        Returns
        -------
        loss : float
            Mean of the batches' losses by their rows, penalty included, each at the weights before its step.
        """
        rows = len(order)
        self._data.order[:rows] = order
        self._set(settings)
        self._total[0] = 0.0
        operations = self._row_operations + self._step_operations // self._batch
        try:
            for first in range(0, rows, MOST_FORESIGHT * self._batch):
                stop = min(first + MOST_FORESIGHT * self._batch, rows)
                done, steps = first // self._batch, -(-(stop - first) // self._batch)
                rate = learning_rate[done : done + steps] if isinstance(learning_rate, np.ndarray) else learning_rate
                row = self._foresee(rate, step + done, steps) - done
                self._run(TRAIN, first, stop, rows, operations, progress, step=row, seed=seed)
        except BaseException:
            self._alive[1].gradient[:] = 0  # an interrupt may have left a part of a batch in it
            raise
        return self._total[0] / rows

    def gradient(self, *, alpha, **settings):
        """Loss over all rows and its gradient: (loss, coef_grads, intercept_grads). The optimizer is `gradient`."""
        loss = self.epoch(np.arange(self._rows), learning_rate=0.0, alpha=alpha, **settings)
        arrays = self.network._read(self.network._states[0])
        layers = len(self.network.units) - 1
        return loss, arrays[:layers], arrays[layers:]

    def predict(self, rows=None):
        """Output activations (n, n_outputs) of the rows with these indices, by default of all rows."""
        count = self._rows if rows is None else len(rows)
        if self._data.ordered:
            self._data.order[:count] = np.arange(count) if rows is None else rows
        self._set({})
        self._run(PREDICT, 0, count, count, self._row_operations / 3)
        outputs = self.network.units[-1]
        return self._data.predictions[: count * outputs].reshape(count, outputs).copy()
