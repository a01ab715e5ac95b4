"""A network at work on data: the buffers, and the team of threads that works on them."""

import functools
import math
from dataclasses import asdict
from time import perf_counter

import numpy as np

from .. import activations, normalizations, optimizers
from ..losses import codes_of
from ..machine.cores import BUDGET, check_cancelled
from ..machine.pacing import Pacing
from ..machine.record import room_for, table_of, write
from ..machine.target import lanes_of_dtype
from ..machine.team import WAITED, Team
from ..machine.tile import NR, TALLEST_POSSIBLE
from .engine import IDENTITY, work
from .layout import CHUNK, KC, LINE, aligned, partition, plan, round_up
from .optimizer_scalars import MAX_SCALARS_AHEAD, OptimizerScalars
from .passes import needed
from .records import (
    APPLY,
    BATCH,
    DIFFERENTIATE,
    LEARNED,
    PREDICT,
    STOP,
    TRAIN,
    Buffers,
    Chunk,
    Components,
    Data,
    Passes,
    Settings,
    SparseRows,
    Tables,
    Task,
    ThreadContext,
)
from .step_time import best_threads, row_operations

PREDICTION_ROWS = 64  # rows that a thread takes through the network together when it only predicts
# Operations of a step below which a second thread costs more than it brings.
SHARED_WORK = 100_000
STARTING = 3e-4  # seconds that a slice waits for new threads; those that take longer join at a later one
# Operations in whose time the optimizer takes one weight from memory and back, above sparse inputs.
STREAMED = 500


def slice_end(at, stop, rows, batch, chunk):
    """Where a slice of some `rows` ends that begins at a position of the order: after one chunk at least.

    That is where a batch ends or one of its chunks, which begin anew with every batch; so do `at` and `stop`.
    """
    number, within = divmod(at + rows, batch)
    end = number * batch + within // chunk * chunk
    if end <= at:  # not even one chunk: to the end of the one that begins here
        end = min(at + chunk, (at // batch + 1) * batch)
    return min(end, stop)


class Session:
    """A network, data, and a team of threads that lives until the end of the `with` block.

    The team works in slices of some milliseconds. Between two of them Python sees interrupts, and the team may become
    smaller or larger, as other fits in the process and what the slices have taken suggest: see `Pacing`.

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

    Raises
    ------
    ValueError
        If `n_threads` is below 1.
    """

    def __init__(self, network, X, y, sample_weight, batch_size, n_threads):
        if n_threads is not None and n_threads < 1:
            raise ValueError(f"n_threads must be at least 1, or None; got {n_threads!r}.")
        self.network = network
        self._rows = X.shape[0]
        self._batch = min(batch_size, self._rows)
        self._by_batch = normalizations.code_of(network.normalization) == BATCH
        self._chunk = self._batch if self._by_batch else -(-self._batch // -(-self._batch // CHUNK))
        inputs = X.nnz // self._rows + 1 if network.sparse else X.shape[1]
        self._units = (inputs, *network.units[1:])  # of the inputs those that a row has
        self._row_operations = row_operations(self._units)
        self._step_operations = STREAMED * network.units[0] * network.units[1] if network.sparse else 0
        self._data = self._bind(X, y, sample_weight)
        self._sparse_rows = self._bind_sparse(X)
        self._task = room_for(Task)
        self._passes, self._loaded_for = room_for(Passes), set()
        self._total = np.zeros(2)
        self._scalars = OptimizerScalars(network)
        self._normalization = {} if network.normalization is None else asdict(network.normalization)
        self._settings, self._known_settings = table_of(Settings(**self._normalization)), {}
        self._n_threads = n_threads
        self._pacing = Pacing(n_threads)  # what it learns serves when the session is entered again
        self._team = self._lease = self._lead = self._allocated_for = None

    def _useful_threads(self):
        return int(max(1, (self._batch * self._row_operations + self._step_operations) // SHARED_WORK))

    def _bind(self, X, y, sample_weight):
        network = self.network
        nothing, no_codes = np.zeros(0, network.dtype), np.zeros(0, np.int64)
        codes = network.loss.takes_codes(network.output)
        has_codes, has_targets = y is not None and codes, y is not None and not codes
        return Data(
            ordered=y is not None,
            weighted=sample_weight is not None,
            order=np.zeros(0 if y is None else self._rows, np.int64),
            codes=y if has_codes else no_codes,
            inputs=nothing if network.sparse else X,
            targets=y if has_targets else nothing,
            sample_weight=nothing if sample_weight is None else sample_weight,
            predictions=np.zeros(self._rows * network.units[-1], network.dtype),
        )

    def _bind_sparse(self, X):
        """Stored entries of sparse rows; none of dense ones."""
        if self.network.sparse:
            numbers = np.ascontiguousarray(X.data)
            return SparseRows(np.asarray(X.indptr, np.int64), np.asarray(X.indices, np.int64), numbers, None)
        nothing = np.zeros(0, np.int64)
        return SparseRows(nothing, nothing, np.zeros(0, self.network.dtype), nothing)

    def _allocate(self, n_threads):
        """Layout and buffers for a team of `n_threads`."""
        network, dtype = self.network, self.network.dtype
        self._capacity = max(n_threads, min(self._rows, max(self._chunk, PREDICTION_ROWS * n_threads)))
        layout, sizes = plan(network.units, dtype, self._capacity, network.sparse, network.grouped)
        panel = NR * lanes_of_dtype(dtype)
        self._tile = round_up(panel * TALLEST_POSSIBLE, LINE // dtype.itemsize)
        _, second_layer, *_ = layout.weights_at
        self._before_tiles = int(second_layer) if network.sparse else 0
        self._tiles = -1 if self._batch > self._chunk else self._before_tiles
        state0, state1, state2 = network._states
        learned = sizes["outputs"] if network.has_unit_parameters else 0
        outputs = layout.units[-1]
        loss_hyperparameters = aligned(outputs + panel, dtype)
        loss_hyperparameters[:outputs] = np.resize(network.loss.hyperparameter, outputs)
        return layout, Buffers(
            weights=network._weights,
            state0=state0,
            state1=state1,
            state2=state2,
            gradient=network._gradient_buffer(
                sizes["weights"] if self._tiles < 0 else self._before_tiles + n_threads * self._tile
            ),
            outputs=aligned(sizes["outputs"], dtype),
            deltas=aligned(sizes["outputs"], dtype),
            saved=aligned(LEARNED * learned, dtype),
            unit_parameter_gradient=aligned(LEARNED * layout.unit_parameter_row, dtype),
            statistics=aligned(2 * layout.unit_parameter_row + (layout.layers + 1) * self._capacity + panel, dtype),
            optimizer_scalars=self._scalars.allocate() if self._data.ordered else self._scalars.array,
            loss_hyperparameters=loss_hyperparameters,
            losses=aligned(self._capacity, dtype),
            penalties=aligned(layout.blocks, np.float64),
            norms=aligned(layout.blocks + 1, np.float64),
            scratch=aligned(panel * self._chunk + n_threads * (panel * KC + self._tile), dtype),
            zeros=aligned(panel, dtype),
            rows=self._sparse_rows._replace(bounds=aligned(2 * self._capacity if network.sparse else 0, np.int64)),
        )

    # What is taken is given back here and nowhere else: twice, so that an exception on the way does no harm.

    def __enter__(self):
        try:
            try:
                self._open()
            except BaseException:
                self._close()
                raise
            return self
        except BaseException:
            self._close()
            raise

    def __exit__(self, *exception):
        try:
            self._close()
        finally:
            self._close()

    def _open(self):
        """Take what the session holds: a lease of cores, buffers, threads."""
        self._team = Team()
        self._most = self._n_threads or self._useful_threads()
        if self._n_threads is None and self._most > 1:
            self._lease = BUDGET.lease(self._most)
            most = min(self._most, BUDGET.cores)
            self._most = max(best_threads(most, self._batch, self._units, self.network.dtype.itemsize), min(2, most))
        if self._allocated_for != self._most:  # what an earlier time has allocated serves again
            layout, buffers = self._allocate(self._most)
            components = self._component_codes()
            self._records = [*map(table_of, (components, layout, buffers, self._data))]
            self._keepalive = layout, buffers, components  # the tables hold addresses only
            self._allocated_for = self._most
        self._machine_code = work.load(self.network.dtype)
        self._load_passes(TRAIN if self._data.ordered else PREDICT)

    def _close(self):
        """Let go of what `_open` has taken, also after an exception in either."""
        self._lead = None
        if self._lease is not None:
            self._lease.close()
        if self._team is not None:
            self._team.end()

    def _gather(self):
        """Have a team for the next slice."""
        wanted = self._pacing.wanted(self._most)
        if self._lease is not None:
            wanted = BUDGET.begin(self._lease, wanted)
        team = self._team
        if not team.here or wanted > team.n_threads:  # who has not started yet joins at a later slice
            wanted = max(team.grow(wanted, math.inf if self._pacing.fixed else STARTING), team.n_threads)
        if self._lead is None or wanted != team.n_threads:
            self._lead = None  # an interrupt may leave the team half begun
            self._lead = team.begin(wanted, self._prepare)
        if self._lease is not None:
            self._lease.at_work = team.n_threads

    def _prepare(self, rank):
        """What thread `rank` of the team calls."""
        context = self._thread_context(rank, self._team, self._keepalive[1])
        tables = [*self._records, table_of(context)]
        write(Tables(*tables, context.chunk), context.tables)
        call = functools.partial(self._machine_code, *(table.ctypes.data for table in tables))
        call.keepalive = context, tables  # which it has the addresses of
        return call

    def _thread_context(self, rank, team, buffers):
        network = self.network
        line = LINE // network.dtype.itemsize
        return ThreadContext(
            rank=rank,
            n_threads=team.n_threads,
            capacity=self._capacity,
            scratch=buffers.scratch.size // team.n_threads // line * line,
            barrier_state=team.barrier_state,
            task=self._task,
            partition=partition(network.units, network.dtype, team.n_threads, network.sparse, network.grouped),
            settings=self._settings,
            keep=network.keep,
            total=self._total,
            passes=self._passes,
            tables=room_for(Tables),
            chunk=room_for(Chunk),
        )

    def _component_codes(self):
        network = self.network
        hidden = [activations.code_of(component, network.dtype) for component in network.activations]
        return Components(
            loss=codes_of(network.loss, network.output, network.dtype),
            optimizer=optimizers.code_of(network.optimizer, network.dtype),
            groups=self._scalars.groups,
            normalization=normalizations.code_of(network.normalization),
            unit_parameters=network.has_unit_parameters,
            activation=np.array([*hidden, IDENTITY], np.int64),
            learned=network.learned,
        )

    def _load_passes(self, kind):
        """Load the kernels that `work` calls in a task of this kind, before the team begins it."""
        network, max_norm = self.network, self._known_settings.get("max_norm", np.inf)
        case = kind, max_norm, network.keep.tobytes()
        if case in self._loaded_for:  # as it is for all but the first of many short tasks
            return
        kernels = needed(kind, network, self._keepalive[2].loss, self._data.weighted, max_norm)
        for place, (kernel, use) in enumerate(kernels.items()):
            if use and not self._passes[place]:
                self._passes[place] = kernel.address(network.dtype)
        self._loaded_for.add(case)

    def _run(self, task, row_operations, progress=None):
        """The positions of a task in slices, between which Python sees interrupts."""
        at, kind = task.start, task.kind
        self._load_passes(kind)
        try:
            while at < task.stop:
                check_cancelled()
                self._gather()
                rows = int(self._pacing.operations(kind, self._team.n_threads) / row_operations)
                stop = slice_end(at, task.stop, rows, task.batch, task.chunk)
                write(task._replace(start=at, stop=stop, patience=self._pacing.patience), self._task)
                at = self._work(kind, at, row_operations)
                if progress is not None:
                    progress(at)
        finally:
            if self._lease is not None:
                self._lease.at_work = 0

    def _work(self, kind, at, row_operations):
        """Do the published task and learn from the time it takes; returns where it ended."""
        waited = self._team.barrier_state[WAITED]
        begin = perf_counter()
        self._lead()
        seconds = perf_counter() - begin
        waited = 1e-9 * float(self._team.barrier_state[WAITED] - waited)
        end = int(self._task[STOP])
        self._pacing.note(kind, self._team.n_threads, (end - at) * row_operations, seconds, waited)
        return end

    def _set(self, settings):
        if settings != self._known_settings:  # building them takes as long as a step of a small network
            write(Settings(**settings, **self._normalization), self._settings)
            self._known_settings = settings

    @property
    def steps(self):
        """Optimizer steps that this session has taken, exact after an interrupt too: a part of a batch is none."""
        return int(self._total[1])

    def epoch(self, order, *, learning_rate, step=0, seed=0, progress=None, dropout=None, optimizer=None, **settings):
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
        dropout : sequence of float or None
            As of `Network`, from this epoch on: what follows a schedule comes anew for each epoch.
        optimizer : Optimizer or None
            The network's with other hyperparameters, such as ``replace(network.optimizer, weight_decay=...)``.
        settings : fields of `records.Settings`

        Returns
        -------
        loss : float
            Mean of the batches' losses by their rows, penalty included, each at the weights before its step.
        """
        rows = len(order)
        self._data.order[:rows] = order
        self._set(settings)
        self._scalars.follow(optimizer)
        if dropout is not None:
            self.network.keep[:] = 1 - np.asarray(dropout, np.float64)
        self._total[0] = 0.0
        operations = self._row_operations + self._step_operations // self._batch
        tiles = self._tiles
        if settings.get("clip_norm", np.inf) < np.inf:
            self._whole_gradient()
            tiles = -1
        try:
            for first in range(0, rows, MAX_SCALARS_AHEAD * self._batch):
                stop = min(first + MAX_SCALARS_AHEAD * self._batch, rows)
                done, steps = first // self._batch, -(-(stop - first) // self._batch)
                rate = learning_rate[done : done + steps] if isinstance(learning_rate, np.ndarray) else learning_rate
                row = self._scalars.prepare(rate, step + done, steps) - done
                task = Task(TRAIN, first, stop, rows, self._batch, self._chunk, row, seed, tiles, self._tile)
                self._run(task, operations, progress)
        except BaseException:
            self._clear_sparse_gradient()
            raise
        return self._total[0] / rows

    def _clear_sparse_gradient(self):
        """Be ready for the next batch, which adds to the gradient of sparse inputs; an interrupt may leave a part."""
        self._keepalive[1].gradient[: self._before_tiles] = 0

    def _whole_gradient(self):
        """`buffers.gradient`, large enough for all of it; where it is new, the threads begin anew, with new tables."""
        layout, buffers, components = self._keepalive
        size = self.network._weights.size
        if buffers.gradient.size < size:
            buffers = buffers._replace(gradient=self.network._gradient_buffer(size))
            write(buffers, self._records[2])
            self._keepalive, self._lead = (layout, buffers, components), None
        return buffers.gradient

    def gradient(self, order=None, *, seed=0, alpha=0.0, l1=0.0, clip_value=np.inf):
        """Loss of one batch and its gradient; no weight moves.

        With `apply` it makes a step of `epoch`, to the bit. Running statistics of batch normalization follow the batch,
        as in training.

        Parameters
        ----------
        order : ndarray of indices or None
            The batch's rows (n,), by default all of them. Batch normalization takes no more than `batch_size`.
        seed : int
            Of the random bits for dropout.
        alpha, l1, clip_value : as of `records.Settings`

        Returns
        -------
        loss : float
            Of the batch, penalty included.
        gradient : Parameters
            By coefs and intercepts, in their shapes; by unit parameters as arrays (LEARNED, n_units).

        Raises
        ------
        ValueError
            If batch normalization would need more rows at a time than the buffers hold.
        """
        order = np.arange(self._rows) if order is None else order
        rows = len(order)
        if self._by_batch and rows > self._batch:
            raise ValueError(
                f"order must have at most batch_size={self._batch} rows with batch normalization; got {rows}. "
                "Make a session of larger batches."
            )
        self._data.order[:rows] = order
        self._set({"alpha": alpha, "l1": l1, "clip_value": clip_value})
        self._total[0] = 0.0
        gradient = self._whole_gradient()
        try:
            task = Task(DIFFERENTIATE, 0, rows, rows, rows, min(self._chunk, rows), seed=seed)
            self._run(task, self._row_operations + self._step_operations // rows)
            units = self._keepalive[1].unit_parameter_gradient
            return self._total[0] / rows, self.network.read_gradient(gradient, units.reshape(LEARNED, -1))
        finally:
            self._clear_sparse_gradient()

    def apply(
        self, gradient, *, learning_rate, step=0, optimizer=None, clip_value=np.inf, clip_norm=np.inf, max_norm=np.inf
    ):
        """One optimizer step by a gradient: that of `gradient`, or what became of it, such as a mean over machines.

        Parameters
        ----------
        gradient : Parameters
            As `gradient` returns it.
        learning_rate : float
        step, optimizer : as of `epoch`
        clip_value, clip_norm, max_norm : as of `records.Settings`
        """
        self._scalars.follow(optimizer)
        self._set({"clip_value": clip_value, "clip_norm": clip_norm, "max_norm": max_norm})
        row = self._scalars.prepare(learning_rate, step, 1)
        units = self._keepalive[1].unit_parameter_gradient
        self.network.write_gradient(gradient, self._whole_gradient(), units.reshape(LEARNED, -1))
        try:
            self._run(Task(APPLY, 0, 1, 1, 1, 1, step=row), self.network._weights.size)
        except BaseException:
            self._clear_sparse_gradient()
            raise

    def predict(self, rows=None):
        """Output activations (n, n_outputs) of the rows with these indices, by default of all rows."""
        count = self._rows if rows is None else len(rows)
        if self._data.ordered:
            self._data.order[:count] = np.arange(count) if rows is None else rows
        self._set({})
        self._run(Task(PREDICT, 0, count, count, self._batch, self._chunk), self._row_operations / 3)
        outputs = self.network.units[-1]
        return self._data.predictions[: count * outputs].reshape(count, outputs).copy()
