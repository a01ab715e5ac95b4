"""Lean predictors: the estimator's own numbers, errors, threads, pickles, and calls from compiled code."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.losses import Quantile
from fastmlp.serving import predictor

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 6)).astype(np.float32)
LABELS = np.arange(90) % 3
LEVELS = RANDOM.integers(0, 4, size=(90, 5)).astype(np.float32)

CLIPPER = FunctionTransformer(np.clip, kw_args={"a_min": -1, "a_max": 1})

CASES = {
    "classes": (MLPClassifier, LABELS, {}),
    "two classes": (MLPClassifier, LABELS > 1, {}),
    "multilabel": (MLPClassifier, np.stack([LABELS > 1, LABELS > 0], axis=1).astype(int), {}),
    "outputs that are no probabilities": (MLPClassifier, LABELS, {"loss": "squared_error"}),
    "two classes, squared error": (MLPClassifier, LABELS > 1, {"loss": "squared_error"}),
    "mixed layers": (MLPClassifier, LABELS, {"activation": ["prelu", "gelu"], "normalization": "layer"}),
    "batch normalization": (MLPClassifier, LABELS, {"normalization": "batch"}),
    "one target": (MLPRegressor, X[:, 0], {}),
    "targets": (MLPRegressor, X[:, :2], {}),
    "counts": (MLPRegressor, np.abs(X[:, 0]).round(), {"loss": "poisson"}),
    "quantiles": (MLPRegressor, X[:, 0], {"loss": Quantile((0.1, 0.9))}),
    "quantiles of targets": (MLPRegressor, X[:, :2], {"loss": Quantile((0.1, 0.9))}),
}


def fitted(estimator, rows, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows, y)


def network(kind=MLPClassifier, **parameters):
    return kind(hidden_layer_sizes=(9, 8), max_iter=4, random_state=0, **parameters)


def results(estimator, rows):
    return estimator.predict_proba(rows) if hasattr(estimator, "predict_proba") else estimator.predict(rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_the_estimator(case, dtype):
    kind, y, parameters = CASES[case]
    rows = X.astype(dtype)
    model = fitted(network(kind, **parameters), rows, y)
    expected = results(model, rows)
    for predict in (predictor(model), pickle.loads(pickle.dumps(predictor(model)))):
        answer = predict(rows)
        assert answer.dtype == dtype
        assert answer.shape == expected.shape
        np.testing.assert_array_equal(answer, expected)
        one = predict(rows[7])
        assert one.shape == expected.shape[1:]
        np.testing.assert_array_equal(one, expected[7])
        np.testing.assert_array_equal(predict(np.asfortranarray(rows)[::2]), expected[::2])
        other = predict(rows.astype(np.float64 if dtype == np.float32 else np.float32))
        np.testing.assert_allclose(other, expected, rtol=1e-5, atol=1e-6)


def test_the_weights_are_its_own():
    model = fitted(network(), X, LABELS)
    predict, expected = predictor(model), model.predict_proba(X)
    model.coefs_[0][:] = 0
    np.testing.assert_array_equal(predict(X), expected)


@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler()],
        [StandardScaler(with_mean=False), RobustScaler()],
        [StandardScaler(with_std=False), MaxAbsScaler()],
        [RobustScaler(with_centering=False), MinMaxScaler((-1, 3), clip=True)],
        [
            RobustScaler(with_scaling=False),
            "passthrough",
            FunctionTransformer(np.clip, kw_args={"a_min": -1, "a_max": 1}),
        ],
        [OneHotEncoder(handle_unknown="ignore")],
        [OneHotEncoder(drop="first", sparse_output=False), StandardScaler()],
        [OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), MinMaxScaler()],
    ],
    ids=lambda steps: "-".join(each if isinstance(each, str) else type(each).__name__ for each in steps),
)
def test_steps_before_the_network(steps):
    rows = LEVELS if "Encoder" in type(steps[0]).__name__ else X * 3 + 1
    model = fitted(make_pipeline(*steps, network()), rows, LABELS)
    predict = predictor(model)
    assert predict.n_features == rows.shape[1]
    test = rows if getattr(steps[0], "drop", None) else rows + (RANDOM.random(rows.shape) > 0.9)
    np.testing.assert_allclose(predict(test), model.predict_proba(test), atol=2e-6)
    np.testing.assert_array_equal(predict(test[3]), predict(test)[3])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(predict))(test), predict(test))


def test_unknown_categories_are_refused_where_the_encoder_does():
    for encoder in (OneHotEncoder(), OrdinalEncoder()):
        predict = predictor(fitted(make_pipeline(encoder, network()), LEVELS, LABELS))
        with pytest.raises(ValueError, match="Feature 2 must be one of the encoder's categories"):
            predict(np.array([0, 1, 9, 2, 3], np.float32))


def test_what_is_refused():
    model = fitted(network(), X, LABELS)
    cases = [
        (network(), NotFittedError, "not fitted yet"),
        (fitted(LogisticRegression(), X, LABELS), TypeError, "takes an MLPClassifier .* got LogisticRegression"),
        (fitted(network(n_estimators=2), X, LABELS), ValueError, "a single network; got an ensemble of 2"),
        (fitted(make_pipeline(PowerTransformer(), network()), X, LABELS), ValueError,
         "Step 'powertransformer' .* must be one of MaxAbsScaler, .* got PowerTransformer"),
        (fitted(make_pipeline(FunctionTransformer(np.abs), network()), X, LABELS), ValueError, "'functiontransformer'"),
        (fitted(make_pipeline(OneHotEncoder(), network()), LEVELS.astype(str), LABELS), ValueError,
         "OneHotEncoder must have numbers"),
    ]  # fmt: skip
    for estimator, error, message in cases:
        with pytest.raises(error, match=message):
            predictor(estimator)
    model.coefs_[1][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"coefs_\[1\] must be finite for predictor; got NaN"):
        predictor(model)
    model.coefs_[1] = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"coefs_\[1\] "):
        predictor(model)


def test_only_shape_and_dtype_and_finite_numbers_are_asked_for():
    predict = predictor(fitted(network(), X, LABELS))
    for bad, error, message in [
        ([0.0] * 6, TypeError, "X must be an ndarray of float32 or float64; got list"),
        (np.zeros(6, int), TypeError, "got dtype int64"),
        (np.zeros(5), ValueError, r"X must have the shape \(6,\) or \(n_rows, 6\); got \(1, 5\)"),
        (np.zeros((2, 3, 6)), ValueError, r"got \(2, 3, 6\)"),
        (np.full(6, np.nan), ValueError, "X must hold finite numbers"),
        (np.full((20, 6), np.inf), ValueError, "X must hold finite numbers"),
    ]:
        with pytest.raises(error, match=message):
            predict(bad)
    assert predict(X[:0]).shape == (0, 3)


@pytest.mark.threads
def test_any_number_of_threads_may_call():
    predict = predictor(fitted(network(), X, LABELS))
    expected = predict(X)
    with ThreadPoolExecutor(4) as pool:
        for n, answer in enumerate(pool.map(lambda n: predict(X[n % 90]), range(600))):
            np.testing.assert_array_equal(answer, expected[n % 90])


def test_from_compiled_code():
    numba = pytest.importorskip("numba")
    model = fitted(network(), X, LABELS)
    function = predictor(model).numba_function()

    @numba.njit
    def largest(rows):
        outputs = np.empty((len(rows), 3), np.float32)
        function(rows, outputs)
        return [row.argmax() for row in outputs]

    assert largest(X) == list(model.predict_proba(X).argmax(axis=1))
    with pytest.raises(ValueError, match="numba_function takes a model without other steps"):
        predictor(fitted(make_pipeline(StandardScaler(), network()), X, LABELS)).numba_function()
