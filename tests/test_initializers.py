"""Initializers: shapes, dtypes, bounds, and scikit-learn's numbers."""

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

from fastmlp.initializers import INITIALIZERS, initial_weights


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("word", INITIALIZERS)
def test_shapes_dtype_and_range(word, dtype):
    units = (5, 30, 1, 7)
    coefs, intercepts = initial_weights(
        units, np.random.RandomState(0), dtype=np.dtype(dtype), activation="relu", initializer=word
    )
    assert [c.shape for c in coefs] == [(5, 30), (30, 1), (1, 7)]
    assert [b.shape for b in intercepts] == [(30,), (1,), (7,)]
    for array in coefs + intercepts:
        assert array.dtype == dtype
        assert np.isfinite(array).all()


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_auto_draws_the_numbers_of_scikit_learn(activation):
    X = np.zeros((2, 4))
    theirs = MLPRegressor(hidden_layer_sizes=(9, 3), activation=activation, solver="sgd", random_state=8, momentum=0)
    theirs.set_params(learning_rate_init=1e-300, alpha=0).partial_fit(X, np.zeros(2))
    coefs, intercepts = initial_weights(
        (4, 9, 3, 1), np.random.RandomState(8), dtype=np.dtype(float), activation=activation, initializer="auto"
    )
    for expected, got in zip(theirs.coefs_ + theirs.intercepts_, coefs + intercepts, strict=True):
        np.testing.assert_array_equal(got, expected)
