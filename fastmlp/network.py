"""A network's parameters and buffers, and the team that works on them."""

import functools
import itertools

import numpy as np

from .activations import ACTIVATIONS
from .engine import LEAVE, PREDICT, TRAIN, Crew, Task, Words, work
from .layout import CHUNK, DEPTH, LINE, Buffers, Data, aligned, forget, pack, plan, shares, table_of, unpack
from .losses import LOSSES
from .machine.jit import compiled
from .machine.simd import lanes_of_dtype
from .machine.team import BUDGET, Team
from .machine.tile import TALLEST_POSSIBLE, TILE_VECTORS
from .optimizers import OPTIMIZERS, Settings

PREDICTION_ROWS = 64  # rows that a member takes through the network together when it only predicts
# Operations between two returns to Python: some ten milliseconds, so that an interrupt is seen in time.
SLICE = 2e9
# Operations of a step below which a second thread costs more than it brings.
SHARED_WORK = 100_000
# Operations in whose time the optimizer takes one weight from memory and back, above sparse inputs.
STREAMED = 500


@functools.cache
def machine_code(dtype):
    """The engine for a dtype, compiled or from the disk cache."""
    table = np.zeros(1, np.int64)
    return compiled(work, 0, dtype.type(0), table, table, table, table, table)


class Network:
    """Parameters of a multi-layer perceptron and its optimizer's state.

    Parameters
    ----------
    units : sequence of int
        (n_features, hidden units ..., n_outputs).
    dtype : dtype
        float32 or float64, of all parameters and computations.
    activation, loss, optimizer : str
        Names in ACTIVATIONS, LOSSES and OPTIMIZERS. The loss determines the output activation.
    sparse : bool
        Whether the inputs of its sessions are sparse.
    """

    def __init__(self, units, *, dtype, activation, loss, optimizer, sparse=False):
        self.sparse = bool(sparse)
        self.units = tuple(int(n) for n in units)
        self.dtype = np.dtype(dtype)
        self.loss = LOSSES[loss]
        self.words = Words(ACTIVATIONS[activation].code, self.loss.code, OPTIMIZERS[optimizer].code)
        self.layout, sizes = plan(self.units, self.dtype, 0, self.sparse)
        self._weights, self._first, self._second = (aligned(sizes["weights"], self.dtype) for _ in range(3))
        self._gradient = aligned(0, self.dtype)

    def set_weights(self, coefs, intercepts):
        """Copy in parameters: matrices (n_below, n_above) and vectors (n_above,)."""
        self._write(self._weights, [*coefs, *intercepts])

    def weights(self):
        """Parameters as lists (coefs, intercepts) of new arrays."""
        arrays = self._read(self._weights)
        layers = len(self.units) - 1
        return arrays[:layers], arrays[layers:]

    def set_moments(self, first, second):
        """Copy in the optimizer's state, as lists of arrays shaped like coefs followed by intercepts."""
        self._write(self._first, first)
        self._write(self._second, second)

    def moments(self):
        """The optimizer's state as lists (first, second) of new arrays shaped like coefs followed by intercepts."""
        return self._read(self._first), self._read(self._second)

    def take_moments(self):
        """The same at the end of a training: memory that it needed is given back before as much is taken for copies."""
        forget(self._gradient)
        moments = []
        for buffer in (self._first, self._second):
            moments.append(self._read(buffer))
            forget(buffer)
        return tuple(moments)

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
        Class codes (n_rows,) int64 for `softmax_log_loss`, else a matrix (n_rows, n_outputs); None to predict only.
    sample_weight : ndarray of shape (n_rows,) or None
    batch_size : int
        Rows of a batch; a batch of more than CHUNK rows passes in parts.
    n_threads : int or None
        Size of the team; None for as many of the process's free cores as the work is worth.
    """

    def __init__(self, network, X, y, sample_weight, batch_size, n_threads):
        self.network = network
        self._rows = X.shape[0]
        self._batch = min(batch_size, self._rows)
        self._chunk = -(-self._batch // -(-self._batch // CHUNK))
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
        self._wanted = n_threads or self._granted

    def _useful_threads(self):
        return int(max(1, (self._batch * self._row_operations + self._step_operations) // SHARED_WORK))

    def _bind(self, X, y, sample_weight):
        network = self.network
        nothing = np.zeros(0, network.dtype)
        has_codes, has_targets = y is not None and network.loss.codes, y is not None and not network.loss.codes
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
        self._tiles = -1 if self._batch > CHUNK else before_tiles
        return layout, Buffers(
            weights=network._weights,
            first=network._first,
            second=network._second,
            gradient=network._room_for_gradient(sizes["weights"] if self._tiles < 0 else before_tiles + members * tile),
            outputs=aligned(sizes["outputs"], dtype),
            deltas=aligned(sizes["outputs"], dtype),
            losses=aligned(self._capacity, dtype),
            penalties=aligned(layout.blocks, np.float64),
            scratch=aligned(panel * self._chunk + members * (panel * DEPTH + tile), dtype),
            zeros=aligned(panel, dtype),
            values=self._data.inputs,
            indices=self._indices,
            bounds=aligned(2 * self._capacity if network.sparse else 0, np.int64),
        )

    def __enter__(self):
        network = self.network
        layout, buffers = self._allocate(self._wanted)
        records = [np.array(network.words, np.int64), *map(table_of, (layout, buffers, self._data))]
        self._alive = layout, buffers  # the tables hold addresses only
        zero = network.dtype.type(0)
        call = machine_code(network.dtype)

        def member(rank, team):
            crew = self._crew(team, buffers)
            table = table_of(crew)

            def serve(crew=crew):  # whose arrays live as long as this function
                call(rank, zero, *records, table)

            return serve

        self._team = Team(self._wanted, lambda rank, team: member(rank, team)())
        self._lead = member(0, self._team)
        return self

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
            total=self._total,
        )

    def __exit__(self, *exception):
        self._publish(LEAVE, 0, 0, 0, 0)
        self._lead()
        self._team.join()
        BUDGET.give_back(self._granted)

    def _publish(self, kind, first, stop, rows, step):
        self._task[:] = Task(kind, first, stop, rows, self._batch, self._chunk, step)

    def _run(self, kind, rows, row_operations, step=0, progress=None):
        """Positions 0 to `rows` in slices of some milliseconds, between which Python sees interrupts."""
        slice_rows = max(1, int(SLICE / row_operations) // self._chunk) * self._chunk
        for first in range(0, rows, slice_rows):
            stop = min(first + slice_rows, rows)
            self._publish(kind, first, stop, rows, step)
            self._lead()
            if progress is not None:
                progress(stop)

    def epoch(self, order, *, step=0, progress=None, **settings):
        """Train on the rows `order` (n,), in consecutive batches, the last one smaller.

        Parameters
        ----------
        order : ndarray of indices
        step : int
            Optimizer steps taken before.
        progress : callable(rows done) or None
            Called every some milliseconds.
        settings : fields of Settings

        Returns
        -------
        loss : float
            Mean of the batches' losses by their rows, penalty included, each at the weights before its step.
        """
        rows = len(order)
        self._data.order[:rows] = order
        self._settings[:] = Settings(**settings)
        self._total[0] = 0.0
        try:
            self._run(TRAIN, rows, self._row_operations + self._step_operations // self._batch, step, progress)
        except BaseException:
            self._alive[1].gradient[:] = 0  # an interrupt may have left a part of a batch in it
            raise
        return self._total[0] / rows

    def gradient(self, *, alpha):
        """Loss over all rows and its gradient: (loss, coef_grads, intercept_grads). The optimizer is `gradient`."""
        loss = self.epoch(np.arange(self._rows), learning_rate=0.0, alpha=alpha)
        arrays = self.network._read(self.network._first)
        layers = len(self.network.units) - 1
        return loss, arrays[:layers], arrays[layers:]

    def predict(self, rows=None):
        """Output activations (n, n_outputs) of the rows with these indices, by default of all rows."""
        count = self._rows if rows is None else len(rows)
        if self._data.ordered:
            self._data.order[:count] = np.arange(count) if rows is None else rows
        self._run(PREDICT, count, self._row_operations / 3)
        outputs = self.network.units[-1]
        return self._data.predictions[: count * outputs].reshape(count, outputs).copy()
