"""Initializers: shapes, dtypes, statistics over the table, scikit-learn's numbers, arrays of one's own."""

import math
import pickle
from copy import deepcopy

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.neural_network import MLPRegressor

from fastmlp import MLPClassifier
from fastmlp.activations import ACTIVATIONS
from fastmlp.initializers import (
    INITIALIZERS,
    Auto,
    DataDriven,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    Uniform,
    Zeros,
    initial_weights,
)

COMPONENTS = [
    *[cls() for cls in INITIALIZERS.classes],
    Normal(1.0),
    Uniform(0.5, 2.0),
    Orthogonal(2.0),
    DataDriven(rows=20, mixed=1),
]
over_components = pytest.mark.parametrize("component", COMPONENTS, ids=repr)
UNITS = (5, 30, 1, 7)


def weights(component, units=UNITS, *, seed=0, dtype=np.float64, activation="relu"):
    stream = np.random.RandomState(seed)
    return initial_weights(
        units,
        stream,
        dtype=np.dtype(dtype),
        activation=activation,
        initializer=component,
        X=np.random.RandomState(7).normal(size=(1000, units[0])),
        activations=[ACTIVATIONS.resolve(activation)] * (len(units) - 2),
    )


# --- over the table ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@over_components
def test_shapes_and_dtype(component, dtype):
    coefs, intercepts = weights(component, dtype=dtype)
    assert [c.shape for c in coefs] == [(5, 30), (30, 1), (1, 7)]
    assert [b.shape for b in intercepts] == [(30,), (1,), (7,)]
    for array in coefs + intercepts:
        assert array.dtype == dtype
        assert np.isfinite(array).all()


@over_components
def test_a_seed_gives_the_same_weights_in_both_dtypes(component):
    once, again, single, other = (
        weights(component),
        weights(component),
        weights(component, dtype=np.float32),
        weights(component, seed=1),
    )
    for ours, same, rounded, different in zip(*(a + b for a, b in (once, again, single, other))):
        np.testing.assert_array_equal(ours, same)
        np.testing.assert_array_equal(ours.astype(np.float32), rounded)
        assert not ours.any() or not np.array_equal(ours, different)


@over_components
def test_intercepts_are_zero_but_for_scikit_learns_and_those_by_rows(component):
    *hidden, last = weights(component)[1]
    assert last.all() if isinstance(component, Auto) else not last.any()
    hidden = np.concatenate(hidden)
    assert hidden.all() if isinstance(component, Auto | DataDriven) else not hidden.any()


@over_components
def test_equal_by_value_hashable_and_pickled(component):
    for copy in (deepcopy(component), pickle.loads(pickle.dumps(component)), eval(repr(component))):
        assert copy == component
        assert hash(copy) == hash(component)
    assert INITIALIZERS.resolve(component) is component
    assert INITIALIZERS.resolve(component.name) == type(component)()


def test_names_of_others():
    assert INITIALIZERS.resolve("xavier_uniform") == GlorotUniform()
    assert INITIALIZERS.resolve("xavier_normal") == GlorotNormal()
    assert INITIALIZERS.resolve("lecun") == LeCunNormal()


# --- statistics -------------------------------------------------------------------------------------------------------

FAN_IN, FAN_OUT = 300, 200
MOMENTS = {  # mean, standard deviation, whether uniform
    Auto(): (0, math.sqrt(2 / 500), True),
    Normal(): (0, 0.01, False),
    Normal(1.0): (0, 1, False),
    Uniform(): (0, 0.1 / math.sqrt(12), True),
    Uniform(0.5, 2.0): (1.25, 1.5 / math.sqrt(12), True),
    GlorotUniform(): (0, math.sqrt(2 / 500), True),
    GlorotNormal(): (0, math.sqrt(2 / 500), False),
    HeUniform(): (0, math.sqrt(2 / 300), True),
    HeNormal(): (0, math.sqrt(2 / 300), False),
    LeCunUniform(): (0, math.sqrt(1 / 300), True),
    LeCunNormal(): (0, math.sqrt(1 / 300), False),
    Orthogonal(): (0, math.sqrt(1 / 300), False),
    Orthogonal(2.0): (0, 2 * math.sqrt(1 / 300), False),
    DataDriven(): (0, math.sqrt(1 / 300), False),  # of rows with independent columns of variance 1
}


@pytest.mark.parametrize("component", MOMENTS, ids=repr)
def test_mean_deviation_and_shape(component):
    """Within five standard errors; the fourth moment tells a uniform distribution (1.8) from a normal one (3)."""
    mean, std, uniform = MOMENTS[component]
    (coefs,), _ = weights(component, (FAN_IN, FAN_OUT))
    z, root = (coefs - mean) / std, math.sqrt(coefs.size)
    assert abs(z.mean()) < 5 / root
    assert abs((z**2).mean() - 1) < 5 * math.sqrt(0.8 if uniform else 2) / root
    assert abs((z**4).mean() - (1.8 if uniform else 3)) < 5 * math.sqrt(96) / root
    if uniform:
        assert abs(z).max() == pytest.approx(math.sqrt(3), rel=1e-3)
        assert abs(z).max() <= math.sqrt(3)


def test_every_word_has_its_moments():
    assert {type(component) for component in MOMENTS} | {Zeros} == set(INITIALIZERS.classes)


@pytest.mark.parametrize("fans", [(40, 30), (30, 40), (7, 7), (1, 5), (5, 1), (1, 1)])
def test_orthogonal(fans):
    """Orthonormal columns, or rows where they are fewer, times the gain; both signs at every place."""
    coefs = np.array([Orthogonal(1.5).coefficients(np.random.RandomState(seed), *fans) for seed in range(40)])
    for W in coefs:
        product = W.T @ W if fans[0] >= fans[1] else W @ W.T
        np.testing.assert_allclose(product, 2.25 * np.eye(min(fans)), atol=1e-12)
    assert (coefs.min(axis=0) < 0).all()
    assert (coefs.max(axis=0) > 0).all()


def test_orthogonal_keeps_the_length_of_a_signal():
    signal = np.ones(50)
    for W in weights(Orthogonal(), (50, 50, 50, 50))[0]:
        signal = signal @ W
    assert np.linalg.norm(signal) == pytest.approx(math.sqrt(50))


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_auto_draws_the_numbers_of_scikit_learn(activation):
    X = np.zeros((2, 4))
    theirs = MLPRegressor(hidden_layer_sizes=(9, 3), activation=activation, solver="sgd", random_state=8, momentum=0)
    theirs.set_params(learning_rate_init=1e-300, alpha=0).partial_fit(X, np.zeros(2))
    coefs, intercepts = weights(Auto(), (4, 9, 3, 1), seed=8, activation=activation)
    for expected, got in zip(theirs.coefs_ + theirs.intercepts_, coefs + intercepts, strict=True):
        np.testing.assert_array_equal(got, expected)


# --- by rows of X -----------------------------------------------------------------------------------------------------


def by_rows(X, component=DataDriven(), activation="selu", units=(4, 50, 30, 2), seed=0):  # noqa: B008
    return initial_weights(
        units,
        np.random.RandomState(seed),
        dtype=np.dtype(np.float64),
        activation=activation,
        initializer=component,
        X=X,
        activations=[ACTIVATIONS.resolve(activation)] * (len(units) - 2),
    )


@pytest.mark.parametrize("activation", ["selu", "mish", "prelu", "tanh"])
def test_units_have_variance_1_and_their_zero_lies_among_the_rows(activation):
    X = np.random.RandomState(1).normal(size=(300, 4)) * [1, 100, 0.01, 3] + 5
    coefs, intercepts = by_rows(X, activation=activation)
    values = X
    for layer, (W, b) in enumerate(zip(coefs, intercepts)):
        z = values @ W
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-3)
        if layer == 2:
            assert (b == 0).all()
            break
        assert ((-b >= z.min(axis=0)) & (-b <= z.max(axis=0))).all()
        values = ACTIVATIONS.resolve(activation).formula(z + b)[0]


def test_one_row_in_the_mix_has_its_zero_there():
    X = np.random.RandomState(1).normal(size=(10, 4))
    coefs, intercepts = by_rows(X, DataDriven(mixed=1))
    assert np.abs(X @ coefs[0] + intercepts[0]).min(axis=0).max() < 1e-12


def test_sparse_rows_and_samples_of_them():
    X = np.random.RandomState(1).normal(size=(300, 4)) * (np.random.RandomState(2).uniform(size=(300, 4)) < 0.3)
    for component in (DataDriven(), DataDriven(rows=20)):
        for dense, sparse in zip(by_rows(X, component), by_rows(csr_matrix(X), component)):
            assert all(map(np.array_equal, dense, sparse))
    assert not np.array_equal(by_rows(X)[0][0], by_rows(X, DataDriven(rows=20))[0][0])


@pytest.mark.parametrize("X", [np.zeros((5, 4)), np.ones((1, 4))])
def test_rows_without_variance_give_finite_weights(X):
    assert all(np.isfinite(array).all() for arrays in by_rows(X) for array in arrays)


def test_without_rows():
    with pytest.raises(ValueError, match="initializer 'data_driven' needs rows of X"):
        by_rows(None)


def test_an_estimator_starts_by_its_own_rows():
    X = np.random.RandomState(1).normal(size=(200, 4)) * [1, 100, 0.01, 3]
    model = MLPClassifier((20, 10), initializer="data_driven", activation="selu", learning_rate_init=1e-12, alpha=0)
    model.set_params(max_iter=1, random_state=0, solver="gradient_descent").fit(X, X[:, 0] > 0)
    z = X @ model.coefs_[0]
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-3)
    assert ((-model.intercepts_[0] > z.min(axis=0)) & (-model.intercepts_[0] < z.max(axis=0))).all()
    np.testing.assert_allclose((selu(z + model.intercepts_[0]) @ model.coefs_[1]).std(axis=0), 1, rtol=1e-3)


def selu(z):
    return ACTIVATIONS.resolve("selu").formula(z)[0]


# --- arrays of one's own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_own_arrays_are_copied(dtype):
    own = weights(Auto())
    stream = np.random.RandomState(0)
    coefs, intercepts = initial_weights(UNITS, stream, dtype=dtype, activation="relu", initializer=own)
    for ours, theirs in zip(own[0] + own[1], coefs + intercepts, strict=True):
        np.testing.assert_array_equal(theirs, ours.astype(dtype))
        assert theirs.dtype == dtype
        assert not np.shares_memory(ours, theirs)
    assert stream.randint(2**31) == np.random.RandomState(0).randint(2**31)


def test_own_lists():
    coefs, intercepts = weights(([[[1], [2]]], [[3]]), (2, 1))
    np.testing.assert_array_equal(coefs[0], [[1.0], [2.0]])
    np.testing.assert_array_equal(intercepts[0], [3.0])


def with_one(index, layer, array):
    own = weights(Auto())
    own[index][layer] = array
    return own


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            ([np.zeros((5, 30))], [np.zeros(30)]),
            "initializer must be a component or (coefs, intercepts), two lists of 3 arrays, one per layer; "
            "got 2 of lengths [1, 1].",
        ),
        (
            ([], [], []),
            "initializer must be a component or (coefs, intercepts), two lists of 3 arrays, one per layer; "
            "got 3 of lengths [0, 0, 0].",
        ),
        (with_one(0, 1, np.zeros((1, 30))), "coefs[1] of initializer must have shape (30, 1); got (1, 30)."),
        (with_one(1, 2, np.zeros((7, 1))), "intercepts[2] of initializer must have shape (7,); got (7, 1)."),
        (with_one(1, 0, [math.nan] * 30), "intercepts[0] of initializer must be finite in float32; got nan."),
        (
            with_one(0, 2, [[1, 2, -math.inf, 3, 4, 5, 6]]),
            "coefs[2] of initializer must be finite in float32; got -inf.",
        ),
        (with_one(0, 2, [[1e39] * 7]), "coefs[2] of initializer must be finite in float32; got inf."),
    ],
)
def test_own_arrays_that_do_not_fit(own, message):
    with pytest.raises(ValueError) as error:
        weights(own, dtype=np.float32)
    assert str(error.value) == message


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal(std=0), "std of Normal must be a number in (0, inf); got 0."),
        (lambda: Uniform(low=math.nan), "low of Uniform must be a number in (-inf, inf); got nan."),
        (lambda: Uniform(low=1), "high of Uniform must be a number in (1, inf); got 0.05."),
        (lambda: Uniform(high="wide"), "high of Uniform must be a number in (-0.05, inf); got 'wide'."),
        (lambda: Orthogonal(gain=-1), "gain of Orthogonal must be a number in (0, inf); got -1."),
    ],
)
def test_bad_numbers(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message
