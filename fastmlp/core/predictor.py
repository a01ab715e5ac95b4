"""What a prediction needs beside its kernels: tables of addresses, buffers for some rows, and threads for many."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import activations, normalizations
from ..losses import LossCodes
from ..machine.cores import BUDGET
from ..machine.jit import callable_from_compiled
from ..machine.record import table_of
from ..machine.target import lanes_of_dtype
from ..machine.tile import NR
from ..machine.worker import share
from .engine import IDENTITY
from .layout import KC, aligned, plan, round_up
from .prediction import FEW, SHARED, WEIGHTS, predict_panels, predict_rows
from .records import HYPERPARAMETERS, UNIT_PARAMETERS, Buffers, Components, PredictionForm, SparseRows
from .step_time import row_operations

BLOCK = 256  # rows that pass through the network together, so that packing a panel costs little beside its products
FEWEST = 32  # rows for a thread, since each packs all weights
BLOCK_NUMBERS = 2**22  # outputs of all layers for these rows, at most
ALL_PANELS = 2**18  # numbers in the panels of all layers that are packed once, at most
# Operations for which a second thread is worth its start, and between two looks at interrupts: some ten milliseconds.
SHARED_WORK = 5e7
SLICE = 1e9
KEPT_POOLS = 32  # of buffers that wait for the next call
KEPT_NUMBERS = 2**22  # numbers in buffers that may wait


class Shape(NamedTuple):
    """All that decides on tables and buffers; hashable.

    units : of each level; activations : of the hidden layers; codes : of loss and output activation
    """

    units: tuple[int, ...]
    dtype: np.dtype
    activations: tuple[Any, ...]
    normalization: Any
    codes: LossCodes
    sparse: bool

    @property
    def row_operations(self) -> int:
        """Multiplications and additions for a dense row."""
        return row_operations(self.units) // 3  # forward alone

    @property
    def panels(self) -> int:
        """Numbers in the panels of all layers, as predictions pack them."""
        lanes = lanes_of_dtype(self.dtype)
        pairs = itertools.pairwise(self.units)
        return sum((below + -(-below // KC)) * round_up(above, lanes) for below, above in pairs)


class Workspace:
    """Tables and buffers of one thread, for some rows.

    Attributes
    ----------
    address : of the form that `predict_rows` takes
    n_threads : how many can pack panels at a time, if not all of them are kept
    inputs, outputs : room for FEW rows, where no more fit the buffers
    """

    def __init__(self, shape: Shape, capacity: int, n_threads: int = 1) -> None:
        units, dtype, self.n_threads = shape.units, shape.dtype, n_threads
        layout, sizes = plan(units, dtype, capacity, True)  # the inputs stay where they are, as sparse ones do
        sparse = np.array([shape.sparse, *[False] * (len(units) - 2)], np.int64)
        layout = layout._replace(sparse=sparse, unit_parameters_at=0)
        panel = NR * lanes_of_dtype(dtype)
        normalized = normalizations.code_of(shape.normalization)
        self.shape, self.capacity = shape, capacity
        self._row, self._units_at = layout.unit_parameter_row, layout.units_at
        self._unit_parameters = aligned(UNIT_PARAMETERS * self._row + panel, dtype)
        nothing, no_codes = aligned(0, dtype), np.zeros(0, np.int64)
        panels = panel * (KC + 1) * n_threads
        holds_all = capacity > FEW and shape.panels <= ALL_PANELS
        fields = dict.fromkeys(Buffers._fields, nothing) | {
            "weights": self._unit_parameters,
            "outputs": aligned(sizes["outputs"], dtype),
            "deltas": aligned(sizes["outputs"], dtype),
            "saved": aligned(2 * sizes["outputs"] if normalized else 0, dtype),
            "statistics": aligned(2 * self._row + len(units) * capacity + panel if normalized else 0, dtype),
            "scratch": aligned(max(panels, shape.panels) if holds_all else panels, dtype),
            **dict.fromkeys(("penalties", "norms"), np.zeros(0)),
            "rows": SparseRows(no_codes, no_codes, nothing, no_codes),
        }
        hidden = [activations.code_of(component, dtype) for component in shape.activations]
        components = Components(
            loss=shape.codes,
            optimizer=0,
            groups=1,
            normalization=normalized,
            unit_parameters=False,
            activation=np.array([*hidden, IDENTITY], np.int64),
            learned=np.zeros(len(units) - 1, np.int64),
        )
        epsilon = getattr(shape.normalization, "epsilon", 0.0)
        form = PredictionForm(components, layout, Buffers(**fields), epsilon, capacity, int(holds_all))
        table = table_of(form)
        self._keepalive = form, table
        self.address = table.ctypes.data
        self.size = 2 * sizes["outputs"]
        few = capacity if capacity <= FEW else 0
        self.inputs, self.outputs = np.zeros((few, units[0]), dtype), np.zeros((few, units[-1]), dtype)
        self.inputs_at, self.outputs_at = self.inputs.ctypes.data, self.outputs.ctypes.data
        self._set_numbers(HYPERPARAMETERS, [np.full(1, component.hyperparameter) for component in shape.activations])

    def _set_numbers(self, row: int, levels: Sequence[np.ndarray]) -> None:
        numbers = self._unit_parameters[row * self._row : (row + 1) * self._row]
        for level, values in enumerate(levels, 1):
            first = self._units_at[level]
            numbers[first : first + self.shape.units[level]] = values

    def set_unit_parameters(self, unit_parameters: Sequence[np.ndarray]) -> None:
        """Copy in what units have learned beside their weights, as `Network.unit_parameters` gives it."""
        for row in range(UNIT_PARAMETERS if unit_parameters else 0):
            self._set_numbers(row, [values[row] for values in unit_parameters])


class Pool:
    """Workspaces of one shape and capacity that wait for the next call, taken and given back by any thread."""

    def __init__(self, shape: Shape, capacity: int) -> None:
        self.shape, self.capacity = shape, capacity
        self.free: list[Workspace] = []

    def take(self, n_threads: int = 1) -> Workspace:
        """One that waits, or a new one; for so many threads at least."""
        try:
            workspace = self.free.pop()
        except IndexError:
            return Workspace(self.shape, self.capacity, n_threads)
        return workspace if workspace.n_threads >= n_threads else Workspace(self.shape, self.capacity, n_threads)

    def give_back(self, workspace: Workspace) -> None:
        """Keep it for later, unless it is large."""
        if workspace.size <= KEPT_NUMBERS:
            self.free.append(workspace)


POOLS: dict[tuple[Shape, int], Pool] = {}


def pool_of(shape: Shape, capacity: int) -> Pool:
    """The pool for this shape and as many rows; older ones are forgotten where there are many."""
    pool = POOLS.get((shape, capacity))
    if pool is None:
        if len(POOLS) >= KEPT_POOLS:
            POOLS.clear()
        pool = POOLS[shape, capacity] = Pool(shape, capacity)
    return pool


class Predictor:
    """Weights where they lie, with what predictions make of them. Any number of threads may call one.

    Parameters
    ----------
    coefs, intercepts : sequences of arrays
        Matrices (n_below, n_above) and vectors (n_above,). What is written into them later counts, if `in_place`.
    unit_parameters : sequence of ndarray of shape (UNIT_PARAMETERS, n_units)
        Of the hidden layers; empty without normalization and learned activations.
    activations, normalization, codes, sparse : see `Shape`
    dtype : dtype of the computation

    Attributes
    ----------
    in_place : bool
        Whether all weights are read where they lie: none needed another dtype.

    Raises
    ------
    ValueError
        If weights do not fit each other or are no real numbers; it names the layer.
    """

    def __init__(
        self,
        coefs: Sequence[Any],
        intercepts: Sequence[Any],
        unit_parameters: Sequence[np.ndarray] = (),
        *,
        dtype: np.dtype,
        activations: Sequence[Any],
        codes: LossCodes,
        normalization: Any = None,
        sparse: bool = False,
    ) -> None:
        if len(coefs) != len(intercepts) or len(coefs) != len(activations) + 1:
            raise ValueError(
                f"coefs_ and intercepts_ must have {len(activations) + 1} arrays each, one for each layer; "
                f"got {len(coefs)} and {len(intercepts)}."
            )
        self.originals = (*coefs, *intercepts)
        self._shapes = tuple(map(np.shape, self.originals))
        units = [np.shape(coefs[0])[0] if np.ndim(coefs[0]) == 2 else 0]
        table, self.in_place, self._arrays = [], True, []
        for layer, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
            W = _real(coef, f"coefs_[{layer}]", (units[-1], None), dtype)
            b = np.ascontiguousarray(_real(intercept, f"intercepts_[{layer}]", (W.shape[1],), dtype))
            self.in_place = self.in_place and W is coef and b is intercept
            self._arrays += [W, b]
            units.append(W.shape[1])
            steps = (stride // dtype.itemsize for stride in W.strides)
            table += [W.ctypes.data, *steps, b.ctypes.data]
        assert len(table) == WEIGHTS * len(coefs)
        self._table = np.array(table, np.int64)
        self._weights_at = self._table.ctypes.data
        self.shape = Shape(tuple(units), dtype, tuple(activations), normalization, codes, sparse)
        self._unit_parameters = unit_parameters
        self._block = max(2 * FEW, min(BLOCK, BLOCK_NUMBERS // sum(units)))
        self._few, self._many = pool_of(self.shape, FEW), pool_of(self.shape, self._block)
        self._call = predict_rows.load(dtype)

    def reads(self, coefs: Sequence[Any], intercepts: Sequence[Any]) -> bool:
        """Whether it reads these very arrays, and none has another shape since."""
        try:
            given = (*coefs, *intercepts)
        except TypeError:  # nothing to read
            return False
        return len(given) == len(self.originals) and all(
            a is b and a.shape == shape for a, b, shape in zip(self.originals, given, self._shapes)
        )

    def predict(self, X: Any, n_threads: int | None = None) -> tuple[np.ndarray, bool]:
        """Output activations of rows, and whether all inputs are finite.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features), or CSR with ascending column indices
            Where sparse or more than FEW rows, C-contiguous and of the predictor's dtype.
        n_threads : threads for many rows; None for as many free cores as the work is worth

        Returns
        -------
        outputs : new ndarray of shape (n_rows, n_outputs)
        finite : bool
        """
        shape, n_rows = self.shape, X.shape[0]
        if X.shape[1] != shape.units[0]:
            raise ValueError(
                f"coefs_[0] must have a row for each of {X.shape[1]} features; got shape {self.originals[0].shape}."
            )
        if n_rows <= FEW and not shape.sparse:
            return self._predict_few(X, n_rows)
        outputs = np.empty((n_rows, shape.units[-1]), shape.dtype)
        tables = self._tables(X, outputs)
        operations = n_rows * shape.row_operations
        if shape.sparse:
            operations = operations * (X.nnz / max(1, n_rows * shape.units[0]))
        wanted = max(1, min(n_rows // FEWEST, int(operations / SHARED_WORK) + 1, n_threads or n_rows))
        if wanted == 1 or n_threads is not None:
            return outputs, self._by_threads(n_rows, operations, wanted, tables)
        with BUDGET.lease(wanted, patient=False) as lease:
            return outputs, self._by_threads(n_rows, operations, BUDGET.begin(lease, wanted), tables)

    def _by_threads(self, n_rows: int, operations: float, n_threads: int, tables: tuple[np.ndarray, ...]) -> bool:
        """Write the outputs; whether all inputs were finite."""
        if n_threads > 1 and n_rows <= self._block and self.shape.normalization is None and not self.shape.sparse:
            return self._share_panels(n_rows, n_threads, tables)
        slices = self._slices(n_rows, operations, n_threads)
        return self._share(slices, n_threads, tables) if n_threads > 1 else self._work(slices, *tables)

    def _predict_few(self, X: np.ndarray, n_rows: int) -> tuple[np.ndarray, bool]:
        workspace = self._few.take()
        if self._unit_parameters:
            workspace.set_unit_parameters(self._unit_parameters)
        workspace.inputs[:n_rows] = X
        status = self._call(
            workspace.address, self._weights_at, workspace.inputs_at, workspace.outputs_at, 0, 0, n_rows
        )
        outputs = workspace.outputs[:n_rows].copy()
        self._few.give_back(workspace)
        return outputs, not status

    def _tables(self, X: Any, outputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Inputs or stored entries, outputs, and of sparse rows indptr and indices."""
        if not self.shape.sparse:
            nothing = np.zeros(0, np.int64)
            return np.ascontiguousarray(X, self.shape.dtype), outputs, nothing, nothing
        return (
            np.ascontiguousarray(X.data, self.shape.dtype),
            outputs,
            np.ascontiguousarray(X.indptr, np.int64),
            np.ascontiguousarray(X.indices, np.int64),
        )

    def _slices(self, n_rows: int, operations: float, wanted: int) -> list[tuple[int, int]]:
        """(first, stop) of rows between which Python looks at interrupts and threads share what is left; reversed.

        Of several threads each takes its share of half of what is left: the last slices are short.
        """
        blocks = -(-n_rows // self._block)
        most = max(1, int(SLICE * blocks / max(operations, 1))) * self._block
        slices, first = [], 0
        while first < n_rows:
            step = most
            if wanted > 1:
                step = min(most, -(-(n_rows - first) // (2 * wanted * self._block)) * self._block)
            slices.append((first, min(first + min(step, -(-n_rows // wanted)), n_rows)))
            first = slices[-1][1]
        return slices[::-1]

    def _work(self, slices: list[tuple[int, int]], *tables: np.ndarray) -> bool:
        """Slice after slice until none is left; whether all inputs were finite."""
        inputs, outputs, indptr, indices = (table.ctypes.data for table in tables)
        features, width, size = self.shape.units[0], self.shape.units[-1], self.shape.dtype.itemsize
        workspace = self._many.take()
        workspace.set_unit_parameters(self._unit_parameters)
        finite = True
        while slices:
            try:
                first, stop = slices.pop()
            except IndexError:  # another thread took the last one
                break
            finite &= not self._call(
                workspace.address,
                self._weights_at,
                inputs if self.shape.sparse else inputs + first * features * size,
                outputs + first * width * size,
                indptr + 8 * first,
                indices,
                stop - first,
            )
        self._many.give_back(workspace)
        return finite

    def _share(self, slices: list[tuple[int, int]], n_threads: int, tables: tuple[np.ndarray, ...]) -> bool:
        """The same by several threads."""

        def work(rank: int) -> bool:
            try:
                return self._work(slices, *tables)
            finally:
                if not rank:  # after an interrupt nothing is left to do
                    slices.clear()

        return all(share(work, n_threads))

    def _share_panels(self, n_rows: int, n_threads: int, tables: tuple[np.ndarray, ...]) -> bool:
        """Rows of one block by several threads, each of which takes some columns of the layers."""
        inputs, outputs = (table.ctypes.data for table in tables[:2])
        workspace = self._many.take(n_threads)
        workspace.set_unit_parameters(self._unit_parameters)
        shared = aligned(SHARED * (len(self.shape.units) - 1), np.dtype(np.int64))
        arguments = workspace.address, self._weights_at, inputs, outputs, n_rows, shared.ctypes.data
        call = predict_panels.load(self.shape.dtype)

        def work(rank: int, _alive: Any = (workspace, tables, shared)) -> int:  # as long as a thread may use them
            return call(*arguments, rank)

        finite = not share(work, n_threads)[0]
        self._many.give_back(workspace)
        return finite


def _real(array: Any, name: str, shape: tuple[int | None, ...], dtype: np.dtype) -> np.ndarray:
    """An array of real numbers of that shape (None: any length above 0), in the dtype of the computation."""
    result = np.asarray(array)
    fits = result.ndim == len(shape) and all(
        have > 0 if want is None else have == want for have, want in zip(result.shape, shape)
    )
    if not fits or result.dtype.kind not in "fiub":
        expected = ", ".join("n" if want is None else str(want) for want in shape)
        raise ValueError(
            f"{name} must be an array of real numbers of shape ({expected}{',' * (len(shape) == 1)}); "
            f"got dtype {result.dtype} and shape {result.shape}. Set it to an array of that shape, or call fit."
        )
    return result.astype(dtype, copy=False) if _aligned(result, dtype) else np.array(result, dtype)


def _aligned(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether numbers stand at multiples of their size from each other, in the machine's byte order."""
    return array.flags.aligned and array.dtype.isnative and not any(s % array.itemsize for s in array.strides)


def machine_function(predictor: Predictor) -> Any:
    """A function predict(X, outputs) for Numba's compiled code, with buffers of its own, for one thread at a time."""
    workspace = Workspace(predictor.shape, predictor._block)
    workspace.set_unit_parameters(predictor._unit_parameters)
    form, weights, call = workspace.address, predictor._weights_at, predictor._call

    def predict(X: np.ndarray, outputs: np.ndarray) -> int:
        return call(form, weights, np.int64(X.ctypes.data), np.int64(outputs.ctypes.data), 0, 0, X.shape[0])

    function = callable_from_compiled(predict)
    function.py_func.keepalive = workspace, predictor
    return function
