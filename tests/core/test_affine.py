"""The passes in Numba against those of the reference, on owned ranges, in buffers that end in guard values."""

import inspect
import itertools
import pathlib
import re
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from numba import njit
from problems import make_targets, over_activations, over_dtypes, over_losses, over_optimizers

from fastmlp import reference
from fastmlp.activations import Tanh
from fastmlp.core import affine, engine, layout, prediction, sparse, units, update
from fastmlp.core import outputs as top
from fastmlp.core.layout import KC, LINE, aligned, pack, plan, round_up, unpack
from fastmlp.core.records import (
    ALL,
    GRADIENT,
    HYPERPARAMETERS,
    OPTIMIZER_SCALARS,
    STEP,
    Blocks,
    Buffers,
    Data,
    Layout,
    Settings,
    Span,
    SparseRows,
    StepScalars,
)
from fastmlp.losses import OUTPUTS, Focal, Gamma, Huber, KLDivergence, LogLoss, LossCodes, codes_of, output_formula
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.record import read, table_of
from fastmlp.machine.target import lanes_of_dtype
from fastmlp.machine.tile import MR, NR, TALLEST_POSSIBLE
from fastmlp.optimizers import GROUPS, Adam, Nesterov

pytestmark = pytest.mark.width

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-13}
GUARD = 54321.0
MARGIN = 4 * LINE  # numbers on both sides of a buffer; whole cache lines, as the passes expect
LAYER = 1  # of two, so that there is a layer below to go back to
TERMS = StepScalars(
    Settings(alpha=0.3, l1=0.2), share=0.125, scale=1.0, groups=1, optimizer_scalars=2 * OPTIMIZER_SCALARS
)
TANH, ADAM = Tanh(), Adam()
GATHER, FORWARD, DELTA, BACKWARD, SUM, UPDATE, PREDICT = range(7)
STATES = ("state0", "state1", "state2")

# (rows, units below, units above); whether a layer is narrow depends on the lanes, hence the many small widths above.
TILE = MR, NR * 16
SHAPES = [
    (1, 1, 1),
    (1, 30, 31),
    (19, 1, 13),
    (19, 13, 1),
    *[(TILE[0] + n, TILE[0] + n, TILE[1] + n) for n in (-1, 0, 1)],
    *[(2 * TILE[0] + n, TILE[1] + n, TILE[0] + n) for n in (-1, 0, 1)],
    (17, 47, 97),
    (23, 101, 53),
    *[(13, 61, above) for above in (2, 3, 5, 9, 10, 17, 21)],
    (5, KC + 1, 33),
    (5, 2 * KC + 7, 3),
    (21, 35, KC + 1),
    (3, 7, 2 * KC + 5),
]

over_shapes = pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}x{0[2]}".format)
any_shape = strategies.tuples(*[strategies.integers(1, limit) for limit in (40, 70, 70)])
over_any_shape = hypothesis.given(shape=any_shape, dtype=strategies.sampled_from([np.float32, np.float64]))
settings = hypothesis.settings(max_examples=150, deadline=None, derandomize=True, database=None)


@njit(**OPTIONS)
def run(which, zero, layout, buffers, data, span, blocks, codes, scalars):
    """One pass over a range; `codes` are those of a loss, or begin with that of another component."""
    layout, buffers, data = read(Layout, layout, zero), read(Buffers, buffers, zero), read(Data, data, zero)
    span, blocks = read(Span, span, zero), read(Blocks, blocks, zero)
    loss, scalars = read(LossCodes, codes, zero), read(StepScalars, scalars, zero)
    if which == GATHER:
        affine.gather(layout, data, span, buffers)
    elif which == FORWARD:
        affine.affine_forward(layout, LAYER, codes[0], span, buffers)
    elif which == DELTA:
        top.output_delta(layout, data, loss, span, buffers)
    elif which == BACKWARD:
        affine.affine_backward(layout, LAYER, codes[0], span, buffers)
    elif which == SUM:
        update.affine_gradient(layout, LAYER, blocks, buffers)
    elif which == UPDATE:
        update.affine_update(layout, LAYER, codes[0], scalars, blocks, buffers)
    else:
        top.predict(layout, data, loss, span, buffers)


class Step:
    """A network in the middle of a training step, in guarded buffers and as the reference has it.

    Whatever no pass has written yet is NaN. The padding of outputs and slopes holds finite numbers, that of deltas and
    weights zeros: what the passes promise each other.

    Parameters
    ----------
    shape : (rows, units below, units above) of layer 1
    features : units at the bottom
    """

    def __init__(self, shape, dtype, features=2):
        rows, below, above = shape
        self.rows, self.units, self.dtype = rows, (features, below, above), np.dtype(dtype)
        self.random = np.random.default_rng(shape)
        self.layout, sizes = plan(self.units, self.dtype, rows, False)
        panel = NR * lanes_of_dtype(self.dtype)
        self.tile = panel * TALLEST_POSSIBLE
        self.scratch = panel * (KC + rows) + self.tile
        size = {
            **dict.fromkeys(("weights", "gradient", *STATES), sizes["weights"]),
            **dict.fromkeys(("outputs", "deltas", "saved"), sizes["outputs"]),
            "optimizer_scalars": 4 * OPTIMIZER_SCALARS,
            "loss_hyperparameters": above + panel,
            "losses": rows,
            "scratch": 3 * self.scratch,
            "zeros": panel,
            "penalties": self.layout.blocks,
            "norms": self.layout.blocks,
        }
        self.whole = {}
        names = [name for name in Buffers._fields if name != "rows"]
        no_rows = SparseRows(*[np.zeros(0, np.int64)] * 2, np.zeros(0, self.dtype), np.zeros(0, np.int64))
        self.buffers = Buffers(**{name: self.guarded(name, size.get(name, 0)) for name in names}, rows=no_rows)
        self.buffers.zeros[:] = 0
        names = ("weights", "gradient", "outputs", "deltas", "penalties", "norms")
        self.truth = SimpleNamespace(**{name: [None] * 3 for name in names})
        self.truth.states = [[None] * 3 for _ in STATES]
        self.truth.saved, self.truth.unit_parameters = ([SimpleNamespace() for _ in range(3)] for _ in range(2))
        self.set_parameters("weights", self.random.normal(size=(below + 1, above)))
        for name in STATES:  # positive, as averages of squares are
            self.set_parameters(name, np.abs(self.random.normal(size=(below + 1, above))) + 0.1)
        self.truth.gradient[LAYER] = np.zeros((below + 1, above))
        flags = dict.fromkeys(("ordered", "weighted"), 0)
        codes = dict.fromkeys(("order", "codes"), np.zeros(0, np.int64))
        self.data = Data(**{**dict.fromkeys(Data._fields, np.zeros(0, self.dtype)), **flags, **codes})

    def guarded(self, name, size):
        """A buffer of NaN, aligned to a cache line, between guard values."""
        dtype = np.dtype(np.float64) if name in ("penalties", "norms") else self.dtype
        whole = aligned(size + 2 * MARGIN, dtype)
        whole[:] = GUARD
        self.whole[name] = whole
        buffer = whole[MARGIN : MARGIN + size]
        buffer[:] = np.nan
        return buffer

    # --- matrices in and out of the buffers -----------------------------------------------------------------------

    def write(self, buffer, matrix):
        """Put the parameters of the layer into a buffer, with zeros as padding."""
        at, stride = self.layout.weights_at[LAYER], self.layout.narrow[LAYER]
        if stride:
            rows = buffer[at : at + matrix.shape[1] * stride].reshape(-1, stride)
            rows[:] = 0
            rows[:, : len(matrix)] = matrix.T
        else:
            pack(matrix, buffer, at)

    def read(self, buffer):
        """The parameters of the layer in a buffer."""
        _, below, above = self.units
        at, stride = self.layout.weights_at[LAYER], self.layout.narrow[LAYER]
        if stride:
            return buffer[at : at + above * stride].reshape(above, stride)[:, : below + 1].T.copy()
        matrix = np.empty((below + 1, above), buffer.dtype)
        unpack(buffer, at, matrix)
        return matrix

    def set_parameters(self, name, matrix):
        matrix = matrix.astype(self.dtype)
        self.write(getattr(self.buffers, name), matrix)
        target = self.truth.states[STATES.index(name)] if name in STATES else getattr(self.truth, name)
        target[LAYER] = matrix.astype(np.float64)

    def set_numbers(self, level, activation):
        """The unit parameters that a level's activation reads, with zeros as padding."""
        first, units = self.layout.unit_parameters_at + self.layout.units_at[level], self.units[level]
        unit_parameters = self.buffers.weights[first + HYPERPARAMETERS * self.layout.unit_parameter_row :]
        unit_parameters[: round_up(units, lanes_of_dtype(self.dtype))] = 0
        unit_parameters[:units] = activation.hyperparameter + 0.1 * self.random.normal(size=units) * activation.learned
        self.truth.unit_parameters[level].hyperparameter = unit_parameters[:units].astype(np.float64)

    def set_optimizer(self, optimizer):
        """The scalars of a step, in their row of several; the reference's terms."""
        optimizer_scalars = optimizer.scalars(np.array([3.0]), np.array([0.01]))[0].astype(self.dtype)
        at = TERMS.optimizer_scalars
        self.buffers.optimizer_scalars[at : at + OPTIMIZER_SCALARS] = 0
        self.buffers.optimizer_scalars[at : at + len(optimizer_scalars)] = optimizer_scalars
        return optimizer_scalars.astype(np.float64)

    def set_loss(self, loss):
        """The number of the loss for each output, with zeros as padding."""
        self.buffers.loss_hyperparameters[:] = 0
        self.buffers.loss_hyperparameters[: self.units[2]] = np.resize(loss.hyperparameter, self.units[2])

    def level(self, buffer, level):
        """View of the rows of a level, padding included."""
        at, stride = self.layout.rows_at[level], self.layout.stride[level]
        return buffer[at : at + self.rows * stride].reshape(self.rows, stride)

    def set_outputs(self, level, matrix=None, scale=1):
        if matrix is None:
            matrix = scale * self.random.normal(size=(self.rows, self.units[level]))
        view, units = self.level(self.buffers.outputs, level), self.units[level]
        view[:] = 7
        view[:, :units] = matrix
        view[:, units] = 1
        self.truth.outputs[level] = view[:, : units + 1].astype(np.float64)

    def set_deltas(self, level, padding=0):
        view, units = self.level(self.buffers.deltas, level), self.units[level]
        view[:] = padding
        view[:, :units] = self.random.normal(size=(self.rows, units))
        view[:, units] = 0
        self.truth.deltas[level] = view[:, :units].astype(np.float64)

    # --- passes ---------------------------------------------------------------------------------------------------

    def span(self, first=0, stop=None, at=0):
        """The rows of a thread, which has the second of three places in the scratch."""
        stop = self.rows if stop is None else stop
        return Span(at, first, stop, self.rows, len(self.data.order), self.scratch, self.rows)

    def run(self, which, span=None, *, blocks=None, codes=(0,), scalars=TERMS):
        nothing = Blocks(0, 0, 0, False, 0, ALL)
        records = (self.layout, self.buffers, self.data, span or self.span(), blocks or nothing)
        codes = np.resize(np.array(codes, np.int64), len(LossCodes._fields))
        run(which, self.dtype.type(0), *map(table_of, records), codes, table_of(scalars))
        for name, whole in self.whole.items():
            for guards in (whole[:MARGIN], whole[-MARGIN:]):
                np.testing.assert_array_equal(guards, GUARD, err_msg=f"beyond `{name}`")
        np.testing.assert_array_equal(self.buffers.zeros, 0)
        for foreign in (self.buffers.scratch[: self.scratch], self.buffers.scratch[2 * self.scratch :]):
            np.testing.assert_array_equal(foreign, np.nan, err_msg="another thread's scratch")

    def arrays(self):
        """The data as the reference takes them, in float64."""
        rows, data = len(self.data.order), self.data
        return SimpleNamespace(
            inputs=data.inputs.reshape(-1, self.units[0]).astype(np.float64),
            targets=data.codes if len(data.codes) else data.targets.reshape(-1, self.units[-1]).astype(np.float64),
            order=data.order if data.ordered else np.arange(rows),
            sample_weight=data.sample_weight.astype(np.float64) if data.weighted else None,
        )

    def close(self, result, truth):
        """Assert that a result is the reference's within the dtype's error."""
        assert result.dtype == self.dtype
        scale = max(1, np.abs(truth).max())
        np.testing.assert_allclose(result / scale, truth / scale, rtol=0, atol=TOLERANCE[self.dtype.type])

    def only_rows(self, name, before, level, first, stop):
        """Assert that nothing in a buffer has changed but the given rows of a level."""
        now, before = getattr(self.buffers, name).copy(), before.copy()
        for buffer in (now, before):
            self.level(buffer, level)[first:stop] = 0
        np.testing.assert_array_equal(now, before, err_msg=f"rows of `{name}` that another thread owns")


def between(array, fill):
    """A copy of `array` that lies between values no pass may use."""
    whole = np.full(array.size + 64, fill, array.dtype)
    whole[32:-32] = array.ravel()
    return whole[32:-32]


def parts(count):
    """Ranges of a few threads that together own `count` rows or blocks."""
    ends = sorted({0, count // 3, count // 3 + 1, count - count // 4, count})
    return list(itertools.pairwise(ends))


# --- special passes ---------------------------------------------------------------------------------------------------


def arguments(module, name):
    """Names of a pass's arguments."""
    function = getattr(module, name)
    return [*inspect.signature(getattr(function, "py_func", function)).parameters]


MODULES = (affine, top, units, update)
WHOLE_ARRAYS = {"with_learned_slopes", "with_ones"}  # what is no pass


def passes():
    """Names of the reference's passes."""
    functions = {n for n, f in vars(reference).items() if inspect.isfunction(f) and f.__module__ == reference.__name__}
    return sorted(functions - WHOLE_ARRAYS)


@pytest.mark.parametrize("name", passes())
def test_both_have_the_same_pass(name):
    """With the same arguments."""
    found = {tuple(arguments(module, name)) for module in MODULES if hasattr(module, name)}
    assert found == {tuple(arguments(reference, name))}


def test_compiled_passes_that_the_reference_has():
    """All that are no step within a pass."""
    called = {name for name in vars(engine) if any(hasattr(module, name) for module in MODULES)}
    functions = {name for name in called if hasattr(vars(engine)[name], "py_func")}
    assert functions - {"barrier", "row_of", "only_softmax", "softmax_of_codes"} <= {*passes()}


@pytest.mark.parametrize(
    "module", [affine, engine, layout, prediction, sparse, top, units, update], ids=lambda module: module.__name__
)
def test_compiled_functions_say_the_shapes(module):
    """Each one of four arguments or more; none has more than eight."""
    for name, function in vars(module).items():
        compiled = getattr(function, "py_func", None)
        if compiled and compiled.__module__ == module.__name__ and len(inspect.signature(compiled).parameters) > 3:
            shape, elsewhere = r"\(\w+([ +]*\w+)?,( \w[^()]*)?\)", r"[Ss]hapes (as in|that) `\w+`"
            assert re.search(f"{shape}|{elsewhere}", compiled.__doc__), name
            assert len(inspect.signature(compiled).parameters) <= 8, name


def test_positions_in_tables_are_written_nowhere():
    for path in pathlib.Path(affine.__file__).parent.glob("*.py"):
        assert not re.search(r"t\[\d+\]", path.read_text(encoding="utf8")), path.name


# --- phase 1: rows ----------------------------------------------------------------------------------------------------


@over_dtypes
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("features", [1, 2, 3, 7, 15, 16, 17, 31, 64, 101])
def test_gather(features, ordered, dtype):
    step = Step((11, 3, 2), dtype, features)
    X = step.random.normal(size=(30, features)).astype(dtype)
    order = step.random.permutation(30)
    step.data = step.data._replace(ordered=int(ordered), inputs=between(X, np.nan), order=order)
    for first, stop in parts(11):
        before = step.buffers.outputs.copy()
        step.run(GATHER, step.span(first, stop, at=5))
        step.only_rows("outputs", before, 0, first, stop)
    reference.gather(None, step.arrays(), slice(5, 16), step.truth)
    rows = step.level(step.buffers.outputs, 0)
    np.testing.assert_array_equal(rows[:, : features + 1], step.truth.outputs[0])
    assert np.isfinite(rows[:, : round_up(features, lanes_of_dtype(step.dtype))]).all()


def check_affine_forward(shape, dtype, activation=TANH):
    step = Step(shape, dtype)
    step.set_outputs(1, scale=shape[1] ** -0.5)
    step.set_numbers(2, activation)
    for first, stop in parts(step.rows):
        before = step.buffers.outputs.copy(), step.buffers.deltas.copy()
        step.run(FORWARD, step.span(first, stop), codes=[activation.code])
        step.only_rows("outputs", before[0], 2, first, stop)
        step.only_rows("deltas", before[1], 2, first, stop)
    reference.affine_forward(None, LAYER, activation, None, step.truth)
    units = step.units[2]
    A, D = (step.level(buffer, 2) for buffer in (step.buffers.outputs, step.buffers.deltas))
    step.close(A[:, :units], step.truth.outputs[2][:, :-1])
    step.close(D[:, :units], step.truth.deltas[2])
    np.testing.assert_array_equal(A[:, units], 1)
    width = round_up(units, lanes_of_dtype(step.dtype))
    assert np.isfinite([A[:, :width], D[:, :width]]).all()
    together = A[:, :units].copy()
    step.run(FORWARD, codes=[activation.code])
    np.testing.assert_array_equal(A[:, :units], together)


@over_dtypes
@over_shapes
def test_affine_forward(shape, dtype):
    check_affine_forward(shape, dtype)


@over_dtypes
@over_activations
def test_affine_forward_of_every_activation(activation, dtype):
    check_affine_forward((9, 20, 35), dtype, activation)


@settings
@over_any_shape
def test_affine_forward_of_any_shape(shape, dtype):
    check_affine_forward(shape, dtype)


def targets_of(step, loss, output, rows):
    """Targets in the domain of a loss; some probabilities are 0."""
    y = make_targets(loss, output, (rows, step.units[-1]), step.dtype)
    if loss.takes_codes(output):
        return {"codes": y}
    if isinstance(loss, KLDivergence):
        y[::3, 0] = 0
    return {"targets": between(y, np.nan)}


def check_output_delta(loss, output, outputs, dtype):
    step = Step((19, 3, outputs), dtype)
    step.set_loss(loss)
    weights = between(step.random.uniform(0.5, 2, 40).astype(dtype), np.nan)
    order = step.random.permutation(40)
    step.data = step.data._replace(ordered=1, sample_weight=weights, order=order)
    step.data = step.data._replace(**targets_of(step, loss, output, 40))
    step.set_outputs(2, scale=2)
    for weighted in (0, 1):
        step.data = step.data._replace(weighted=weighted)
        for first, stop in parts(19):
            before, losses = step.buffers.deltas.copy(), step.buffers.losses.copy()
            step.run(DELTA, step.span(first, stop, at=21), codes=codes_of(loss, output))
            step.only_rows("deltas", before, 2, first, stop)
            losses[first:stop] = step.buffers.losses[first:stop]
            np.testing.assert_array_equal(step.buffers.losses, losses)
        reference.output_delta(step.layout, step.arrays(), (loss, output), slice(21, 40), step.truth)
        D = step.level(step.buffers.deltas, 2)
        step.close(D[:, :outputs], step.truth.deltas[2])
        step.close(step.buffers.losses, step.truth.losses)
        np.testing.assert_array_equal(D[:, outputs : round_up(outputs, lanes_of_dtype(step.dtype))], 0)


@over_dtypes
@pytest.mark.parametrize("outputs", [7, 33])
@over_losses
def test_output_delta_of_every_loss(loss, output, outputs, dtype):
    check_output_delta(loss, output, outputs, dtype)


@over_dtypes
@pytest.mark.parametrize("outputs", [1, 2, 8, 9, 15, 16, 17, 100])
@pytest.mark.parametrize("loss", [LogLoss(), LogLoss(0.2), Focal(), KLDivergence(), Huber()], ids=repr)
def test_output_delta_of_any_width(loss, outputs, dtype):
    check_output_delta(loss, loss.outputs[0], outputs, dtype)


@over_dtypes
@over_losses
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_output_delta_of_extreme_logits(loss, output, dtype):
    """Of a network that has gone far astray: kernel and formula agree, and what is finite is exact."""
    step = Step((64, 3, 3), dtype)
    step.set_loss(loss)
    step.set_outputs(2, step.random.choice([-1e4, -50, 0, 50, 1e4], size=(64, 3)))
    step.data = step.data._replace(order=np.arange(64), **targets_of(step, loss, output, 64))
    step.run(DELTA, codes=codes_of(loss, output))
    with np.errstate(all="ignore"):
        arrays = step.arrays()
        z = step.truth.outputs[2][:, :-1].astype(dtype)
        truth = loss.formula(output, z, arrays.targets if loss.takes_codes(output) else arrays.targets.astype(dtype))
    for got, expected in zip((step.buffers.losses, step.level(step.buffers.deltas, 2)[:, :3]), truth, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2 * np.finfo(dtype).eps)


LOSS_OF_OUTPUT = {"softmax": LogLoss(), "exp": Gamma(), **dict.fromkeys(("identity", "logistic", "tanh"), Huber())}


@over_dtypes
@pytest.mark.parametrize("outputs", [1, 2, 16, 17, 50])
@pytest.mark.parametrize("output", OUTPUTS)
def test_predict(output, outputs, dtype):
    step = Step((19, 3, outputs), dtype)
    step.set_outputs(2, scale=2)
    predictions = step.guarded("predictions", 25 * outputs)
    step.data = step.data._replace(predictions=predictions)
    for first, stop in parts(19):
        step.run(PREDICT, step.span(first, stop, at=3), codes=codes_of(LOSS_OF_OUTPUT[output], output))
        assert np.isfinite(predictions).sum() == stop * outputs
    rows = predictions.reshape(25, outputs)
    step.close(rows[3:22], output_formula(output, step.truth.outputs[2][:, :-1]))


over_softmax = pytest.mark.parametrize("loss", [LogLoss(), LogLoss(0.2), Focal(), KLDivergence()], ids=repr)


@over_dtypes
@over_softmax
@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_softmax_of_large_numbers(loss, shift, dtype):
    step = Step((19, 3, 21), dtype)
    step.set_loss(loss)
    step.set_outputs(2, step.random.normal(size=(19, 21)).astype(np.float16) * 8 + shift)
    step.data = step.data._replace(order=np.arange(19), **targets_of(step, loss, "softmax", 19))
    step.run(DELTA, codes=codes_of(loss, "softmax"))
    reference.output_delta(step.layout, step.arrays(), (loss, "softmax"), slice(0, 19), step.truth)
    step.close(step.level(step.buffers.deltas, 2)[:, :21], step.truth.deltas[2])
    assert np.isfinite(step.buffers.losses).all()


@over_dtypes
@over_softmax
def test_softmax_of_nan_is_nan(loss, dtype):
    step = Step((3, 3, 21), dtype)
    step.set_loss(loss)
    step.set_outputs(2)
    step.level(step.buffers.outputs, 2)[[0, 1, 2], [0, 5, 20]] = np.nan
    step.data = step.data._replace(order=np.arange(3), **targets_of(step, loss, "softmax", 3))
    step.run(DELTA, codes=codes_of(loss, "softmax"))
    assert np.isnan(step.buffers.losses).all()
    assert np.isnan(step.level(step.buffers.deltas, 2)[:, :21]).any(axis=1).all()


def check_affine_backward(shape, dtype, learned=False):
    step = Step(shape, dtype)
    step.set_deltas(2)
    step.set_deltas(1, padding=7)  # the slopes
    K = step.level(step.buffers.saved, 1)
    K[:] = 0
    K[:, : shape[1]] = step.random.normal(size=(shape[0], shape[1]))
    step.truth.saved[1].hyperparameter = K[:, : shape[1]].astype(np.float64)
    slopes, optimizer_scalars = step.buffers.deltas.copy(), step.buffers.saved.copy()
    for first, stop in parts(step.rows):
        before = step.buffers.deltas.copy()
        step.run(BACKWARD, step.span(first, stop), codes=[learned])
        step.only_rows("deltas", before, 1, first, stop)
    reference.affine_backward(None, LAYER, learned, None, step.truth)
    units = step.units[1]
    D = step.level(step.buffers.deltas, 1)
    step.close(D[:, :units], step.truth.deltas[1])
    np.testing.assert_array_equal(D[:, units : round_up(units, lanes_of_dtype(step.dtype))], 0)
    step.close(K[:, :units], step.truth.saved[1].hyperparameter)
    if not learned:
        np.testing.assert_array_equal(step.buffers.saved, optimizer_scalars)
    apart = D.copy(), K[:, :units].copy()
    step.buffers.deltas[:], step.buffers.saved[:] = slopes, optimizer_scalars
    step.run(BACKWARD, codes=[learned])
    np.testing.assert_array_equal(D, apart[0])
    np.testing.assert_array_equal(K[:, :units], apart[1])


@over_dtypes
@over_shapes
@pytest.mark.parametrize("learned", [False, True], ids=["fixed slopes", "learned slopes"])
def test_affine_backward(shape, learned, dtype):
    check_affine_backward(shape, dtype, learned)


@settings
@over_any_shape
def test_affine_backward_of_any_shape(shape, dtype):
    check_affine_backward(shape, dtype)


# --- phase 2: blocks of weights ---------------------------------------------------------------------------------------


def owned(step, first, stop):
    """Rows of the parameters, bias included, that the blocks first ... stop - 1 cover."""
    height = lanes_of_dtype(step.dtype) if step.layout.narrow[LAYER] else MR
    last = stop == step.layout.blocks_at[LAYER + 1] - step.layout.blocks_at[LAYER]
    return slice(first * height, step.units[1] + 1 if last else stop * height)


def block_parts(step):
    return parts(step.layout.blocks_at[LAYER + 1] - step.layout.blocks_at[LAYER])


def check_affine_gradient(shape, dtype, accumulate):
    step = Step(shape, dtype)
    step.set_outputs(1)
    step.set_deltas(2)
    G = step.buffers.gradient
    if accumulate:
        step.set_parameters("gradient", step.random.normal(size=(shape[1] + 1, shape[2])))
    for first, stop in block_parts(step):
        before = step.read(G)
        step.run(SUM, blocks=Blocks(first, stop, step.rows, accumulate, -1, ALL))
        before[owned(step, first, stop)] = step.read(G)[owned(step, first, stop)]
        np.testing.assert_array_equal(step.read(G), before)
    reference.affine_gradient(None, LAYER, None, step.truth)
    step.close(step.read(G), step.truth.gradient[LAYER])
    before, after = (np.isnan(G[: step.layout.weights_at[LAYER]]), np.isnan(G[step.layout.weights_at[LAYER + 1] :]))
    assert before.all()
    assert after.all()


@over_dtypes
@over_shapes
@pytest.mark.parametrize("accumulate", [False, True], ids=["from zero", "from a sum"])
def test_affine_gradient(shape, accumulate, dtype):
    check_affine_gradient(shape, dtype, accumulate)


def updated(step, optimizer, accumulate, whole, ranges, phase=ALL, scalars=TERMS):
    """Run the update over ranges of blocks, checking that each stays within its own."""
    W, G = step.buffers.weights, step.buffers.gradient
    arrays = [W, *(getattr(step.buffers, name) for name in STATES[: optimizer.states])]
    sums = step.buffers.penalties, step.buffers.norms
    at = step.layout.blocks_at[LAYER]
    for first, stop in ranges:
        matrices, before = [step.read(buffer) for buffer in arrays], [buffer.copy() for buffer in arrays]
        sums_before = [values.copy() for values in sums]
        if not whole:
            G[:] = np.nan
        tile = -1 if whole else step.tile
        blocks = Blocks(first, stop, 0 if phase == STEP else step.rows, accumulate, tile, phase)
        step.run(UPDATE, blocks=blocks, codes=[optimizer.code], scalars=scalars)
        for now, buffer, matrix in zip(arrays, before, matrices):
            matrix[owned(step, first, stop)] = step.read(now)[owned(step, first, stop)]
            step.write(buffer, matrix)  # with zeros as padding
            np.testing.assert_array_equal(now, buffer)
        for values, buffer in zip(sums, sums_before):
            buffer[at + first : at + stop] = values[at + first : at + stop]
            np.testing.assert_array_equal(values, buffer)
        if not whole:
            assert np.isnan(G[: step.tile]).all()
            assert np.isnan(G[2 * step.tile :]).all()


def reference_update(step, optimizer, scalars, optimizer_scalars, clip_norm=np.inf):
    """The same by the reference; returns the norm of the gradient before it is clipped."""
    step.truth.states = step.truth.states[: optimizer.states]
    scalars = scalars._replace(optimizer_scalars=[optimizer_scalars] * len(GROUPS))
    reference.affine_gradient(None, LAYER, None, step.truth)
    reference.affine_update(None, LAYER, optimizer, scalars, SimpleNamespace(phase=GRADIENT), step.truth)
    norm = step.truth.norms[LAYER] ** 0.5
    scalars = scalars._replace(scale=min(1, clip_norm / norm))
    reference.affine_update(None, LAYER, optimizer, scalars, SimpleNamespace(phase=STEP), step.truth)
    return norm


def assert_updated(step, optimizer, rtol):
    """Assert that weights, states and penalty are the reference's."""
    step.close(step.read(step.buffers.weights), step.truth.weights[LAYER])
    for name, truth in zip(STATES, step.truth.states):
        step.close(step.read(getattr(step.buffers, name)), truth[LAYER])
    first, stop = step.layout.blocks_at[LAYER : LAYER + 2]
    assert step.buffers.penalties[first:stop].sum() == pytest.approx(step.truth.penalties[LAYER], rel=rtol)


def check_affine_update(shape, dtype, optimizer=ADAM, accumulate=False, whole=False, scalars=TERMS):
    steps = [Step(shape, dtype) for _ in range(2)]
    for step in steps:
        if not whole:
            step.buffers = step.buffers._replace(gradient=step.guarded("gradient", 3 * step.tile))
        if accumulate:
            step.set_parameters("gradient", step.random.normal(size=(shape[1] + 1, shape[2])))
        step.set_outputs(1)
        step.set_deltas(2)
        optimizer_scalars = step.set_optimizer(optimizer)
    step, alone = steps
    updated(step, optimizer, accumulate, whole, block_parts(step), scalars=scalars)
    reference_update(step, optimizer, scalars, optimizer_scalars)
    assert_updated(step, optimizer, TOLERANCE[dtype])
    first, stop = step.layout.blocks_at[LAYER : LAYER + 2]
    updated(alone, optimizer, accumulate, whole, [(0, stop - first)], scalars=scalars)
    for name in ("weights", *STATES, "penalties"):
        np.testing.assert_array_equal(getattr(alone.buffers, name), getattr(step.buffers, name))


@over_dtypes
@over_shapes
def test_affine_update(shape, dtype):
    check_affine_update(shape, dtype)


@over_dtypes
@over_shapes
def test_affine_update_of_a_sum(shape, dtype):
    check_affine_update(shape, dtype, Nesterov(), accumulate=True, whole=True)


@over_dtypes
@pytest.mark.parametrize("above", [3, 50])
@over_optimizers
def test_affine_update_by_every_optimizer(optimizer, above, dtype):
    check_affine_update((9, 20, above), dtype, optimizer)


@over_dtypes
@over_shapes
def test_affine_update_clips_by_value(shape, dtype):
    check_affine_update(
        shape, dtype, Nesterov(), scalars=TERMS._replace(settings=TERMS.settings._replace(clip_value=0.2))
    )


@over_dtypes
@over_shapes
@pytest.mark.parametrize("accumulate", [False, True], ids=["from zero", "from a sum"])
def test_affine_update_in_two_sweeps(shape, accumulate, dtype):
    """First the gradient and its squares, then, scaled to a third of its norm, the step."""
    step, optimizer = Step(shape, dtype), Nesterov()
    if accumulate:
        step.set_parameters("gradient", step.random.normal(size=(shape[1] + 1, shape[2])))
    step.set_outputs(1)
    step.set_deltas(2)
    optimizer_scalars = step.set_optimizer(optimizer)
    first, stop = step.layout.blocks_at[LAYER : LAYER + 2]
    before = step.buffers.weights.copy()
    updated(step, optimizer, accumulate, True, block_parts(step), GRADIENT)
    np.testing.assert_array_equal(step.buffers.weights, before)
    norm = np.sqrt(step.buffers.norms[first:stop].sum())
    scalars = TERMS._replace(scale=1 / 3)
    updated(step, optimizer, accumulate, True, block_parts(step), STEP, scalars)
    assert norm == pytest.approx(
        reference_update(step, optimizer, scalars, optimizer_scalars, norm / 3), rel=TOLERANCE[dtype]
    )
    assert_updated(step, optimizer, TOLERANCE[dtype])


@settings
@over_any_shape
def test_affine_update_of_any_shape(shape, dtype):
    check_affine_update(shape, dtype)
