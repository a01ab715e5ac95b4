"""Predictions against the reference; the same bits for any rows together, any layout of W and any number of threads."""

import ctypes
import itertools
import mmap
import sys

import numpy as np
import pytest
from scipy import sparse

from fastmlp.activations import ACTIVATIONS, LeakyReLU
from fastmlp.core.prediction import FEW
from fastmlp.core.predictor import ALL_PANELS, BLOCK, FEWEST, KEPT_POOLS, POOLS, Predictor
from fastmlp.core.records import GAINS, HYPERPARAMETERS, SHIFTS, UNIT_PARAMETERS
from fastmlp.losses import LogLoss, SquaredError, codes_of
from fastmlp.normalizations import LayerNormalization
from fastmlp.reference import Reference

DTYPES = [np.float32, np.float64]
SHAPES = [(1, 1), (5, 3, 1), (7, 8, 9, 2), (64, 100, 10), (1, 31, 33, 3), (1030, 25, 17)]
TOLERANCE = {np.float32: 3e-5, np.float64: 1e-12}


def parameters_of(units, dtype, seed=0):
    """Weights that keep outputs near 1."""
    random = np.random.default_rng(seed)
    coefs = [random.normal(size=pair, scale=pair[0] ** -0.5).astype(dtype) for pair in itertools.pairwise(units)]
    return coefs, [random.normal(size=n).astype(dtype) for n in units[1:]]


def predictor_of(coefs, intercepts, activation="tanh", **choices):
    """A predictor with one activation for all hidden layers and probabilities at the top."""
    component = ACTIVATIONS.resolve(activation)
    defaults = {"dtype": np.asarray(coefs[0]).dtype, "activations": [component] * (len(coefs) - 1)}
    return Predictor(coefs, intercepts, **{**defaults, "codes": codes_of(LogLoss(), "softmax"), **choices})


def rows_of(units, count, dtype, seed=1):
    return np.random.default_rng(seed).normal(size=(count, units[0])).astype(dtype)


def expected_of(coefs, intercepts, X, activation="tanh", output="softmax"):
    loss = "log_loss" if output == "softmax" else "squared_error"
    parts = [[array.astype(np.float64) for array in arrays] for arrays in (coefs, intercepts)]
    return Reference(*parts, activation=activation, loss=loss, optimizer="adam").predict(X.astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", SHAPES)
@pytest.mark.parametrize("count", [1, FEW, FEW + 1, BLOCK + 3])
def test_outputs_are_those_of_the_reference(units, count, dtype):
    coefs, intercepts = parameters_of(units, dtype)
    X = rows_of(units, count, dtype)
    codes = codes_of(SquaredError(), "identity")
    outputs, finite = predictor_of(coefs, intercepts, codes=codes).predict(X, 1)
    assert finite
    np.testing.assert_allclose(
        outputs, expected_of(coefs, intercepts, X, output="identity"), rtol=0, atol=TOLERANCE[dtype]
    )


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if not ACTIVATIONS[name].learned])
@pytest.mark.parametrize("count", [2, 20])
def test_every_activation(name, count):
    units = (9, 21, 13, 4)
    coefs, intercepts = parameters_of(units, np.float64)
    X = rows_of(units, count, np.float64)
    outputs, _ = predictor_of(coefs, intercepts, name).predict(X)
    np.testing.assert_allclose(outputs, expected_of(coefs, intercepts, X, name), rtol=1e-10, atol=1e-13)


@pytest.fixture(params=[0, ALL_PANELS], ids=["panel by panel", "all panels"])
def room(request, monkeypatch):
    """How many numbers of panels are packed once."""
    monkeypatch.setattr("fastmlp.core.predictor.ALL_PANELS", request.param)
    POOLS.clear()
    yield request.param
    POOLS.clear()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", [None, LayerNormalization(epsilon=0.01)])
@pytest.mark.parametrize("units", [(7, 8, 9, 2), (64, 100, 10), (1030, 25, 17)])
def test_a_row_does_not_depend_on_the_rows_beside_it(units, normalization, dtype, room):
    """To the bit: alone, in any number together, in parts, in another order, by any number of threads, sparse."""
    coefs, intercepts = parameters_of(units, dtype)
    X = rows_of(units, 2 * BLOCK + 5, dtype)
    X[:, ::3] = 0
    unit_parameters = [np.ones((UNIT_PARAMETERS, n), dtype) for n in units[1:-1]]
    model = predictor_of(coefs, intercepts, unit_parameters=unit_parameters, normalization=normalization)
    together, _ = model.predict(X, 1)
    for count in [*range(1, 2 * FEW + 2), BLOCK - 1, BLOCK, BLOCK + 1]:
        np.testing.assert_array_equal(model.predict(X[:count])[0], together[:count])
        np.testing.assert_array_equal(model.predict(X[-count:])[0], together[-count:])
    order = np.random.default_rng(2).permutation(len(X))
    np.testing.assert_array_equal(model.predict(X[order])[0], together[order])
    repeated = np.tile(X, (40 if units[0] < 1000 else 20, 1))
    for n_threads in (1, 2, 3):
        parts = model.predict(repeated, n_threads)[0].reshape(-1, *together.shape)
        assert all(np.array_equal(part, together) for part in parts)
    rows = sparse.csr_array(X)
    thin = predictor_of(coefs, intercepts, unit_parameters=unit_parameters, normalization=normalization, sparse=True)
    for count in (1, FEW + 1, len(X)):
        np.testing.assert_array_equal(thin.predict(rows[:count])[0], together[:count])


@pytest.mark.threads
def test_threads_share_large_work(monkeypatch):
    """Each thread takes slices until none is left; the outputs are those of one."""
    units = (50, 60, 5)
    coefs, intercepts = parameters_of(units, np.float32)
    X = rows_of(units, 20_000, np.float32)
    model = predictor_of(coefs, intercepts)
    alone, _ = model.predict(X, 1)
    monkeypatch.setattr("fastmlp.core.predictor.SHARED_WORK", 1e5)
    for n_threads in (2, 3, 5, None):
        shared, finite = model.predict(X, n_threads)
        assert finite
        np.testing.assert_array_equal(shared, alone)
    for count in (2 * FEWEST - 1, 2 * FEWEST, 100, 3 * BLOCK + 1):  # of which a block would be all, or most
        for n_threads in (2, 3, None):
            np.testing.assert_array_equal(model.predict(X[:count], n_threads)[0], alone[:count])
    X[19_999, 49] = np.inf
    assert not model.predict(X, 3)[1]


@pytest.mark.threads
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [(1030, 70, 49, 17), (8, 3), (5, 200, 1)])
@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_threads_share_the_panels_of_a_block(units, output, dtype, room, monkeypatch):
    """Long rows in stretches, panels of one to three vectors; whoever comes late finds less to do."""
    monkeypatch.setattr("fastmlp.core.predictor.SHARED_WORK", 1.0)
    coefs, intercepts = parameters_of(units, dtype)
    X = rows_of(units, BLOCK, dtype)
    codes = codes_of(LogLoss(), "softmax") if output == "softmax" else codes_of(SquaredError(), "identity")
    model = predictor_of(coefs, intercepts, codes=codes)
    expected, _ = model.predict(X, 1)
    for count in (FEWEST * 2, 99, BLOCK):
        for n_threads in (2, 3, 2, None):
            outputs, finite = model.predict(X[:count], n_threads)
            assert finite
            np.testing.assert_array_equal(outputs, expected[:count])
    X[70, -1] = np.nan
    assert not model.predict(X[:99], 2)[1]


def test_nothing_is_written_beyond_the_outputs():
    """Also not by the whole vectors that rows before the last one write."""
    units = (6, 9, 5)
    coefs, intercepts = parameters_of(units, np.float32)
    model, X = predictor_of(coefs, intercepts), rows_of(units, BLOCK + 7, np.float32)
    expected, _ = model.predict(X, 1)
    guarded = np.full((len(X) + 2, 5), 7, np.float32)
    slices = [(FEW + 3, len(X)), (0, FEW + 3)]  # the second part first
    for first, stop in slices:
        nothing = np.zeros(0, np.int64)
        assert model._work([(0, stop - first)], X[first:stop], guarded[1 + first :], nothing, nothing)
    np.testing.assert_array_equal(guarded[1:-1], expected)
    np.testing.assert_array_equal(guarded[[0, -1]], 7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, FEW + 1])
def test_any_strides_of_the_weights_give_the_same_bits(count, dtype):
    units = (37, 29, 11, 3)
    coefs, intercepts = parameters_of(units, dtype)
    X = rows_of(units, count, dtype)
    expected, _ = predictor_of(coefs, intercepts).predict(X)
    for layout in (
        np.asfortranarray,
        lambda W: np.repeat(np.repeat(W, 2, 0), 3, 1)[::2, ::3],
        lambda W: np.ascontiguousarray(W[::-1, ::-1])[::-1, ::-1],
        lambda W: W.view(),
    ):
        model = predictor_of([layout(W) for W in coefs], [np.repeat(b, 2)[::2] for b in intercepts])
        np.testing.assert_array_equal(model.predict(X)[0], expected)


def test_weights_are_read_where_they_lie():
    coefs, intercepts = parameters_of((6, 5, 3), np.float32)
    X = rows_of((6,), 4, np.float32)
    model = predictor_of(coefs, intercepts)
    assert model.in_place
    assert model.reads(coefs, intercepts)
    assert not model.reads(coefs[:1], intercepts)
    assert not model.reads([coefs[0].copy(), coefs[1]], intercepts)
    before, _ = model.predict(X)
    coefs[0][2, 1] += 1
    intercepts[1][0] -= 1
    after, _ = model.predict(X)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, predictor_of(coefs, intercepts).predict(X)[0])
    other = predictor_of([W.astype(np.float64) for W in coefs], intercepts, dtype=np.dtype(np.float32))
    assert not other.in_place
    np.testing.assert_array_equal(other.predict(X)[0], after)


@pytest.mark.parametrize("count", [1, 9])
def test_unit_parameters(count):
    """Learned slopes, and gains and shifts of a layer normalization."""
    units, dtype = (8, 13, 2), np.float64
    coefs, intercepts = parameters_of(units, dtype)
    X = rows_of(units, count, dtype)
    values = np.random.default_rng(3).normal(size=(UNIT_PARAMETERS, 13))
    model = predictor_of(
        coefs,
        intercepts,
        "prelu",
        unit_parameters=[values],
        normalization=LayerNormalization(epsilon=0.1),
        codes=codes_of(SquaredError(), "identity"),
    )
    z = X @ coefs[0] + intercepts[0]
    x = (z - z.mean(axis=1, keepdims=True)) / np.sqrt(z.var(axis=1, keepdims=True) + 0.1)
    z = values[GAINS] * x + values[SHIFTS]
    expected = LeakyReLU(1.0).formula(np.where(z > 0, z, values[HYPERPARAMETERS] * z))[0] @ coefs[1] + intercepts[1]
    np.testing.assert_allclose(model.predict(X)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, BLOCK + 20])
def test_inputs_that_are_not_finite_are_seen(count, bad):
    coefs, intercepts = parameters_of((19, 4, 2), np.float32)
    model = predictor_of(coefs, intercepts)
    X = np.full((count, 19), np.finfo(np.float32).max)  # finite, though their sum is not
    assert model.predict(X)[1]
    for row, column in ((0, 0), (count - 1, 18), (count // 2, 7)):
        X[row, column] = bad
        assert not model.predict(X)[1]
        X[row, column] = 0


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect of Linux")
@pytest.mark.parametrize("shape", [(3, 5), (9, 1), (8, 13), (17, 24), (1, 7)])
def test_nothing_beyond_the_weights_and_rows_is_read(shape):
    """They end where the page ends, and the next page may not be read."""

    def at_the_end(array):
        memory = mmap.mmap(-1, 3 * mmap.PAGESIZE)
        view = np.frombuffer(memory, np.uint8)
        library = ctypes.CDLL(None, use_errno=True)
        guard = ctypes.c_void_p(view.ctypes.data + 2 * mmap.PAGESIZE)
        assert library.mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        stop = 2 * mmap.PAGESIZE
        result = view[stop - array.nbytes : stop].view(array.dtype).reshape(array.shape)
        result[...] = array
        return result

    for dtype in DTYPES:
        coefs, intercepts = parameters_of(shape, dtype)
        X = rows_of(shape, 20, dtype)
        expected = predictor_of(coefs, intercepts).predict(X)[0]
        model = predictor_of([at_the_end(coefs[0])], [at_the_end(intercepts[0])])
        for count in (1, FEW + 1, 20):
            outputs, _ = model.predict(at_the_end(X[:count]))
            np.testing.assert_array_equal(outputs, expected[:count])


@pytest.mark.parametrize(
    ("layer", "array", "message"),
    [
        (0, np.zeros((4, 5), np.complex64), r"coefs_\[0\] must be an array of real numbers"),
        (1, np.zeros((4, 2), np.float32), r"coefs_\[1\] must be .* of shape \(5, n\); got dtype float32 and shape"),
        (1, np.zeros(5, np.float32), r"coefs_\[1\] must be"),
        (0, None, r"coefs_\[0\] must be"),
        (1, np.array([["a"]]), r"coefs_\[1\] must be"),
    ],
)
def test_weights_that_do_not_fit_are_named(layer, array, message):
    coefs, intercepts = parameters_of((4, 5, 2), np.float32)
    coefs[layer] = array
    with pytest.raises(ValueError, match=message):
        predictor_of(coefs, intercepts, dtype=np.dtype(np.float32), activations=[ACTIVATIONS.resolve("relu")])


def test_intercepts_and_numbers_of_layers_are_checked():
    coefs, intercepts = parameters_of((4, 5, 2), np.float32)
    with pytest.raises(ValueError, match=r"intercepts_\[1\] must be .* shape \(2,\); got .* shape \(3,\)"):
        predictor_of(coefs, [intercepts[0], np.zeros(3, np.float32)])
    with pytest.raises(ValueError, match="must have 2 arrays each, one for each layer; got 2 and 1"):
        predictor_of(coefs, intercepts[:1])
    with pytest.raises(ValueError, match=r"coefs_\[0\] must have a row for each of 3 features"):
        predictor_of(coefs, intercepts).predict(np.zeros((1, 3), np.float32))


def test_buffers_wait_for_the_next_call_and_memory_is_constant_in_the_rows():
    coefs, intercepts = parameters_of((3, 4, 2), np.float32)
    model = predictor_of(coefs, intercepts)
    for count in (1, 1, 1000, 100_000):
        model.predict(np.zeros((count, 3), np.float32), 1)
    kept = [pool.free for pool in POOLS.values() if pool.shape == model.shape]
    assert sorted(len(free) for free in kept) == [1, 1]
    for n in range(1, 40):
        predictor_of(*parameters_of((n, 2), np.float32)).predict(np.zeros((1, n), np.float32))
    assert len(POOLS) <= KEPT_POOLS
