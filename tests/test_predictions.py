"""Predictions of estimators: the weights of the moment, the checks of X, threads, and dtypes."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as TheirClassifier

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.activations import LeakyReLU

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 7)).astype(np.float32)
Y = np.arange(120) % 3

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def small(**parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MLPClassifier((11,), max_iter=3, random_state=0, **parameters).fit(X, Y)


@pytest.fixture
def model():
    return small()


def formula(model, rows):
    """Probabilities of a relu network, in NumPy."""
    hidden = np.maximum(rows @ model.coefs_[0] + model.intercepts_[0], 0)
    e = np.exp(hidden @ model.coefs_[1] + model.intercepts_[1])
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 120])
def test_what_a_user_writes_into_the_weights_counts(model, count):
    rows = X[:count]
    np.testing.assert_allclose(model.predict_proba(rows), formula(model, rows), atol=1e-6)
    model.coefs_[0][3, 4] += 2  # in place
    model.intercepts_[1][:] -= 0.5 * np.arange(3)
    np.testing.assert_allclose(model.predict_proba(rows), formula(model, rows), atol=1e-6)
    model.coefs_[1] = np.asfortranarray(model.coefs_[1] * 2)  # one array replaced
    np.testing.assert_allclose(model.predict_proba(rows), formula(model, rows), atol=1e-6)
    model.coefs_ = [W.astype(np.float64) for W in model.coefs_]  # all of them, of another dtype
    model.predict_proba(rows)
    model.coefs_[0] *= 0.5
    np.testing.assert_allclose(model.predict_proba(rows), formula(model, rows), atol=1e-6)
    assert model.predict_proba(rows).dtype == np.float64


def test_a_component_that_is_set_waits_for_the_next_training(model):
    """Weights belong to the activation that they were trained with."""
    before = model.predict_proba(X)
    model.set_params(activation=[LeakyReLU(0.3)])
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_predictions_leave_no_trace(model):
    before, stored = dict(vars(model)), pickle.dumps(model)
    for rows in (X[:1], X, X.astype(np.float64), csr_array(X)):
        model.predict(rows), model.predict_proba(rows), model.decision_function(rows)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert pickle.dumps(model) == stored
    np.testing.assert_array_equal(deepcopy(model).predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("width", [1, 8])
def test_errors_are_those_of_scikit_learn(model, width):
    """Also where X is taken as it is: one text for one mistake."""
    theirs = TheirClassifier((11,), max_iter=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(X, Y)
    bad = X[:5].copy()
    bad[3, 6] = np.nan
    infinite = X.copy()
    infinite[0, 0] = np.inf
    for rows in (bad, infinite, X[:3, :width].repeat(2, axis=1), X[0], X[:0], X[:2].astype(str)):
        messages = []
        for estimator in (theirs, model):
            for method in ("predict", "predict_proba"):
                with pytest.raises(ValueError) as caught:
                    getattr(estimator, method)(rows)
                messages.append(str(caught.value).replace("MLPClassifier", ""))
        assert len(set(messages)) == 1, messages


def test_huge_inputs_and_configuration(model):
    """A sum that overflows is no infinite input; with assume_finite nothing is refused."""
    rows = np.full((2, 7), 3e38, np.float32)
    model.coefs_[0][:] = 0
    assert np.isfinite(model.predict_proba(rows)).all()
    assert model.predict(rows).shape == (2,)
    rows[0, 0] = np.nan
    with config_context(assume_finite=True):
        assert np.isnan(model.predict_proba(rows)[0]).all()


def test_not_fitted_and_feature_names():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        MLPClassifier().predict_proba(X)
    frame = pd.DataFrame(X, columns=list("abcdefg"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPClassifier((4,), max_iter=2).fit(frame, Y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict_proba(X)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict_proba(frame[list("bacdefg")])


@pytest.mark.parametrize("dtype", ["auto", "float32", "float64"])
@pytest.mark.parametrize("rows", [X, X.astype(np.float64), X.astype(np.int64), np.asfortranarray(X), X[::2]])
def test_dtypes_of_results(dtype, rows):
    model = small(dtype=dtype)
    weights = model.coefs_[0].dtype
    outputs = model.predict_proba(rows)
    assert outputs.dtype == (np.float32 if rows.dtype == weights == np.float32 else np.float64)
    np.testing.assert_allclose(outputs, formula(model, rows), atol=1e-6)
    np.testing.assert_array_equal(model.predict_proba(rows[:1]), outputs[:1])


def test_weights_that_do_not_fit_are_named(model):
    model.coefs_[1] = np.zeros((10, 3), np.float32)
    for rows in (X[:1], X):
        with pytest.raises(ValueError, match=r"coefs_\[1\] must have shape \(11, n\), .* got \(10, 3\)"):
            model.predict(rows)
    model.coefs_[1] = np.zeros((11, 3), np.complex128)
    with pytest.raises(ValueError, match=r"coefs_\[1\] must be an ndarray of float32 or float64; got dtype complex128"):
        model.predict(X)
    model = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=3).fit(X, X[:, 0])
    model.intercepts_[0] = np.zeros(5)
    with pytest.raises(ValueError, match=r"intercepts_\[0\] must have shape \(4,\)"):
        model.predict(X)


def test_many_threads_predict_with_one_model(model):
    """While another thread trains a copy."""
    expected, trained = model.predict_proba(X), deepcopy(model)
    with ThreadPoolExecutor(4) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training = pool.submit(lambda: [trained.partial_fit(X, Y) for _ in range(20)])
        futures = [pool.submit(model.predict_proba, X[n % 100 : n % 100 + 1 + n % 20]) for n in range(400)]
        for n, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(), expected[n % 100 : n % 100 + 1 + n % 20])
        training.result()
    assert not np.array_equal(trained.coefs_[0], model.coefs_[0])
