"""Mini-batches one after another: to the bit what copies and new networks would give, whatever happens in between."""

import copy
import pickle
import threading
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from problems import assert_same_weights
from sklearn.base import clone

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.estimators import classifier, regressor, stream

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Got .batch_size.:UserWarning"
)


@contextmanager
def ordinary(monkeypatch):
    """partial_fit without streams."""
    with monkeypatch.context() as context:
        for module in (classifier, regressor):
            context.setattr(module, "trained_by_stream", lambda *arguments: False)
        yield


def batches(kind, dtype, sizes=(32, 32, 1, 200, 32, 7), seed=0):
    random = np.random.RandomState(seed)
    for size in sizes:
        X = random.rand(size, 12).astype(dtype)
        target = X[:, 0] + X[:, 1] ** 2
        labels = {"binary": (target > 0.8).astype(int), "multiclass": (3 * target).astype(int).clip(0, 4)}
        yield X, labels.get(kind, target)


def model(kind, **parameters):
    parameters = {"hidden_layer_sizes": (9, 7), "random_state": 0, **parameters}
    return (MLPRegressor if kind == "real" else MLPClassifier)(**parameters)


def first(estimator, kind, dtype):
    X, y = next(batches(kind, dtype, (50,), seed=1))
    known = {} if kind == "real" else {"classes": np.arange(2 if kind == "binary" else 5)}
    return estimator.partial_fit(X, y, **known)


def assert_same(one, other):
    assert_same_weights(one, other)
    assert one.loss_curve_ == other.loss_curve_
    assert one.history_.keys() == other.history_.keys()
    assert (one.t_, one.n_iter_, one.loss_, one.best_loss_) == (other.t_, other.n_iter_, other.loss_, other.best_loss_)
    assert one._optimizer.step == other._optimizer.step
    assert one._optimizer.base_rate == other._optimizer.base_rate
    for ours, theirs in zip(one._optimizer.states, other._optimizer.states, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(one._stream[1][1:3], other._stream[1][1:3], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "real"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"solver": "sgd", "learning_rate": "invscaling", "alpha": 0.1},
        {"dropout": 0.3, "clip_norm": 0.1},
        {"batch_size": 5, "solver": "adagrad", "l1": 1e-3, "shuffle": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("small", [stream.SMALL, 0])
def test_same_bits_as_the_ordinary_way(kind, dtype, parameters, small, monkeypatch):
    monkeypatch.setattr(stream, "SMALL", small)
    ours, theirs = (first(model(kind, **parameters), kind, dtype) for _ in range(2))
    with ordinary(monkeypatch):
        for X, y in batches(kind, dtype):
            theirs.partial_fit(X, y, n_epochs=2)
    for X, y in batches(kind, dtype):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a batch_size above the rows goes the ordinary way
            ours.partial_fit(X, y, n_epochs=2)
    assert ours in stream._STREAMS or parameters.get("batch_size") == 5
    assert_same(ours, theirs)


def between_nothing(estimator, X):
    return estimator


def between_reading(estimator, X):
    assert all(np.isfinite(coef).all() for coef in estimator.coefs_)
    return estimator


def between_prediction(estimator, X):
    estimator.predict(X)
    return estimator


def between_pickle(estimator, X):
    return pickle.loads(pickle.dumps(estimator))


def between_copies(estimator, X):
    copy.copy(estimator).partial_fit(X, estimator.predict(X))  # trains on its own
    return copy.deepcopy(estimator)


def between_modification(estimator, X):
    estimator.coefs_[0][:, 0] = 0
    estimator.intercepts_ = [array + 1 for array in estimator.intercepts_]
    return estimator


def between_parameters(estimator, X):
    return estimator.set_params(alpha=0.5, beta_1=0.5)


def between_another_solver(estimator, X):
    return estimator.set_params(solver="rmsprop")


def between_an_error(estimator, X):
    with pytest.raises(ValueError, match="NaN"):
        estimator.partial_fit(np.full_like(X, np.nan), np.zeros(len(X), int))
    with pytest.raises(ValueError, match="not in"):
        estimator.partial_fit(X, np.full(len(X), 9))
    with pytest.raises(ValueError, match="momentum"):
        estimator.set_params(momentum=-1).partial_fit(X, np.zeros(len(X), int))
    return estimator.set_params(momentum=0.9)


def between_a_divergence(estimator, X):
    rate = estimator.learning_rate_init
    with pytest.raises(ValueError, match="non-finite"), np.errstate(all="ignore"):
        estimator.set_params(learning_rate_init=1e300).partial_fit(X, np.zeros(len(X), int), n_epochs=5)
    return estimator.set_params(learning_rate_init=rate)


BETWEEN = [value for name, value in list(globals().items()) if name.startswith("between_")]


@pytest.mark.parametrize("between", BETWEEN, ids=lambda function: function.__name__)
def test_whatever_happens_between_two_calls(between, monkeypatch):
    ours, theirs = (first(model("multiclass"), "multiclass", np.float64) for _ in range(2))
    with ordinary(monkeypatch):
        for X, y in batches("multiclass", np.float64):
            theirs = between(theirs.partial_fit(X, y), X)
    for X, y in batches("multiclass", np.float64):
        ours = between(ours.partial_fit(X, y), X)
    assert_same(ours, theirs)


def test_an_error_within_a_stream_leaves_no_trace():
    """The steps were done in the network itself: they are undone."""
    estimator = first(model("multiclass", solver="sgd"), "multiclass", np.float64)
    calm = next(batches("multiclass", np.float64))
    estimator.partial_fit(*calm).partial_fit(*calm)
    assert estimator in stream._STREAMS
    before = pickle.dumps(estimator)
    with pytest.raises(ValueError, match="non-finite"), np.errstate(all="ignore"):
        estimator.partial_fit(calm[0] * 1e200, calm[1], n_epochs=5)
    assert_same(estimator, pickle.loads(before))
    assert_same(estimator.partial_fit(*calm), pickle.loads(before).partial_fit(*calm))


def test_attributes_are_there_or_not():
    estimator = model("multiclass")
    assert not hasattr(estimator, "coefs_")
    first(estimator, "multiclass", np.float64)
    for X, y in batches("multiclass", np.float64):
        estimator.partial_fit(X, y)
    assert "coefs_" not in vars(estimator)
    assert hasattr(estimator, "coefs_")
    assert estimator.coefs_ is estimator.coefs_
    assert not hasattr(clone(estimator), "coefs_")
    estimator.partial_fit(X, y).drop_optimizer_state()
    with pytest.raises(ValueError, match="cannot continue after drop_optimizer_state"):
        estimator.partial_fit(X, y)
    estimator.fit(X, y)
    assert estimator not in stream._STREAMS


def test_predictions_while_another_thread_learns():
    """They are those of the weights before or after a step."""
    estimator = first(model("multiclass"), "multiclass", np.float64)
    X, y = next(batches("multiclass", np.float64, (32,)))
    errors = []

    def learn():
        try:
            for _ in range(200):
                estimator.partial_fit(X, y)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=learn)
    thread.start()
    while thread.is_alive():
        assert np.isfinite(estimator.predict_proba(X)).all()
    thread.join()
    assert not errors
    assert estimator.t_ == 50 + 200 * 32
