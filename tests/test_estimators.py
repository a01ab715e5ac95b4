"""Estimators: scikit-learn's signature, errors and attributes; data of any kind; pickles; threads; interrupts."""

import inspect
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
from problems import assert_same_weights, small
from scipy.sparse import csr_array
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.estimators.evaluation import OUTPUTS_AT_ONCE

ESTIMATORS = (MLPClassifier, MLPRegressor)
COMPONENT_PARAMETERS = {
    "output_activation",
    "initializer",
    "normalization",
    "dropout",
    "l1",
    "clip_value",
    "clip_norm",
    "max_norm",
    "augmentation",
    "weight_averaging",
    "n_estimators",
}
OURS = {"n_threads", "dtype", "scoring", "metrics", "progress", "max_time", *COMPONENT_PARAMETERS}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def parameters_of(estimator_class):
    return inspect.signature(estimator_class).parameters


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.scikit_learn("1.7")
def test_parameters_are_those_of_scikit_learn(ours):
    """Names, defaults, positions and kinds; keyword-only ones of ours at the end."""
    theirs = getattr(neural_network, ours.__name__)
    expected, got = list(parameters_of(theirs).values()), list(parameters_of(ours).values())
    assert [(p.name, p.default, p.kind) for p in got[: len(expected)]] == [
        (p.name, p.default, p.kind) for p in expected
    ]
    assert {p.name for p in got[len(expected) :]} == OURS | (
        {"class_weight", "loss", "one_hot"} if ours is MLPClassifier else set()
    )
    assert all(p.kind is p.KEYWORD_ONLY for p in got[len(expected) :])


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
@pytest.mark.scikit_learn("1.7")
def test_methods_take_the_arguments_of_scikit_learn(ours, method):
    """In the same order; ours are keyword-only."""
    theirs = getattr(neural_network, ours.__name__)
    expected = list(inspect.signature(getattr(theirs(), method)).parameters)
    got = inspect.signature(getattr(ours(), method)).parameters
    assert list(got)[: len(expected)] == expected
    assert all(p.kind is p.KEYWORD_ONLY for name, p in got.items() if name not in expected)


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_each_class_documents_every_parameter(ours):
    for name in parameters_of(ours):
        assert name in ours.__doc__, name


def validation_error(estimator_class, name, value):
    """What the check of one parameter says; None if it is content."""
    try:
        estimator_class(**{name: value})._validate_params()
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("ours", "name"),
    [(ours, name) for ours in ESTIMATORS for name in parameters_of(getattr(neural_network, ours.__name__))],
)
def test_each_parameter_is_checked_as_by_scikit_learn(ours, name):
    """The same values are refused, in the same components; a set of components may be larger here."""
    theirs = getattr(neural_network, ours.__name__)
    errors = []
    for value in (None, True, -1, -0.5, 0, 0.0, 0.5, 1, 1.5, 2, np.inf, np.nan, "", "ReLU", [5], [], {}, len):
        expected, got = (validation_error(cls, name, value) for cls in (theirs, ours))
        errors.append(expected)
        if expected and "str among" in expected:
            if isinstance(value, list):  # of components, perhaps
                continue
            expected, got = (
                text and text[text.index("Got") :].partition(" Did you mean")[0] for text in (expected, got)
            )
        assert got == expected, value
    assert any(errors)


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("sizes", [0, (5, 0), -3, "wide"], ids=str)
def test_errors_of_layer_sizes_are_those_of_scikit_learn(ours, sizes, digits):
    texts = []
    for estimator_class in (getattr(neural_network, ours.__name__), ours):
        with pytest.raises((ValueError, TypeError)) as error:
            estimator_class(hidden_layer_sizes=sizes).fit(*digits)
        texts.append(str(error.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"n_threads": 0},
            r"The 'n_threads' parameter of MLP\w+ must be an int in the range \[1, inf\), a int among \{-1\} or None. Got 0 in",  # noqa: E501
        ),
        (
            {"dtype": "float16"},
            r"The 'dtype' parameter of MLP\w+ must be a str among .*'float32'.* Got 'float16' instead",
        ),
    ],
)
@pytest.mark.parametrize("ours", ESTIMATORS)
def test_errors_of_our_parameters(ours, parameters, message, digits):
    with pytest.raises(ValueError, match=message):
        ours(**parameters).fit(*digits)


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_clone_and_set_params(ours, digits):
    estimator = small(ours, n_threads=1, dtype="float32", momentum=0.3).fit(*digits)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "coefs_")
    assert "momentum=0.3" in repr(copy)
    assert_same_weights(copy.fit(*digits), estimator)


def test_regressor_says_that_it_takes_several_targets():
    assert MLPRegressor().__sklearn_tags__().target_tags.multi_output
    assert MLPClassifier().__sklearn_tags__().classifier_tags.multi_label


# --- bad data ---------------------------------------------------------------------------------------------------------


def bad_data():
    X, y = np.random.RandomState(0).uniform(size=(20, 3)), np.arange(20) % 2
    nan, infinite = X.copy(), X.copy()
    nan[3, 1], infinite[0, 0] = np.nan, np.inf
    return {
        "NaN in X": (nan, y),
        "infinity in X": (infinite, y),
        "NaN in y": (X, np.where(y, np.nan, 1.0)),
        "one dimension": (X[:, 0], y),
        "three dimensions": (X[None], y),
        "no rows": (X[:0], y[:0]),
        "no columns": (X[:, :0], y),
        "lengths differ": (X, y[:-1]),
        "text in X": (np.full((20, 3), "a"), y),
        "complex X": (X + 1j, y),
    }


@pytest.mark.parametrize("kind", bad_data())
@pytest.mark.parametrize("ours", ESTIMATORS)
def test_errors_of_data_are_those_of_scikit_learn(ours, kind):
    X, y = bad_data()[kind]
    texts = []
    for estimator_class in (getattr(neural_network, ours.__name__), ours):
        with pytest.raises((ValueError, TypeError)) as error:
            estimator_class().fit(X, y)
        texts.append(str(error.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "y",
    [np.linspace(0, 1, 20), np.arange(40).reshape(20, 2), np.array([None, "a"] * 10, dtype=object)],
    ids=["continuous", "several classes in columns", "None among labels"],
)
def test_errors_of_labels_are_those_of_scikit_learn(y):
    X = np.random.RandomState(0).uniform(size=(20, 3))
    errors = []
    for estimator_class in (neural_network.MLPClassifier, MLPClassifier):
        with pytest.raises((ValueError, TypeError)) as error:
            estimator_class().fit(X, y)
        errors.append((error.type, str(error.value)))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("sample_weight", [[1.0, 2.0], np.zeros(400), np.full(400, np.nan), np.ones((400, 2))], ids=len)
@pytest.mark.parametrize("ours", ESTIMATORS)
def test_errors_of_sample_weight(ours, sample_weight, digits):
    with pytest.raises(ValueError, match=r"[Ss]ample.weight"):
        small(ours).fit(*digits, sample_weight=sample_weight)


@pytest.mark.parametrize("weight", [1e-50, 1e39, 1e30, 1e-30])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("ours", ESTIMATORS)
def test_weights_beyond_a_dtype_are_refused(ours, solver, weight, digits):
    """float32 cannot hold them, or their products with losses; in float64 they count by their ratios."""
    X, y = digits
    weights, model = np.full(len(X), weight), small(ours, solver=solver, alpha=0.0, dtype="float32")
    with pytest.raises(ValueError, match=r"^sample_weight must have a sum .* in float32; .*Divide by the mean"):
        model.fit(X, y, sample_weight=weights)
    relative = model.set_params(dtype="float64").fit(X, y, sample_weight=weights).coefs_[0]
    np.testing.assert_allclose(relative, model.fit(X, y, sample_weight=np.ones(len(X))).coefs_[0], atol=1e-9)


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_a_failing_fit_leaves_the_model_as_it_was(ours, digits):
    X, y = digits
    estimator = small(ours).fit(X, y)
    before, expected = dict(vars(estimator)), estimator.predict(X)
    bad = X[:, :5].copy()
    bad[0, 0] = np.nan
    for data in ((bad, y), (X, y[:-1]), (X[:1, :5], ["a"] if ours is MLPRegressor else [0.5])):
        with pytest.raises(ValueError):
            estimator.fit(*data)
        assert vars(estimator) == before
    np.testing.assert_array_equal(estimator.predict(X), expected)


def test_prediction_checks_its_input(digits):
    X, y = digits
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    estimator = small(MLPClassifier).fit(X, y)
    with pytest.raises(ValueError, match="X has 5 features, but MLPClassifier is expecting 64 features as input"):
        estimator.predict_proba(X[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        estimator.predict(np.full((1, 64), np.nan))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_float32_cannot_hold_every_float64(digits):
    X, y = digits
    with pytest.raises(ValueError, match="too large for dtype"):
        small(MLPClassifier, dtype="float32").fit(X * 1e300, y)
    estimator = small(MLPClassifier, dtype="float32").fit(X, y)
    with pytest.raises(ValueError, match="infinity"):
        estimator.predict(X * 1e300)


def test_targets_of_another_width_after_a_warm_start():
    X, Y = make_regression(50, 4, n_targets=3, random_state=0)
    estimator = small(MLPRegressor, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match=r"as many outputs as in the previous call to fit, 3; got 2. Fit with"):
        estimator.fit(X, Y[:, :2])
    with pytest.raises(ValueError, match="3; got 1"):
        estimator.partial_fit(X, Y[:, 0])
    assert estimator.n_outputs_ == 3


def odd_calls():
    """name: (class name, function of an estimator, to be answered as by scikit-learn)."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:100] / 16, y[:100]
    XM, Y = make_multilabel_classification(100, 12, random_state=0)
    early, three = {"early_stopping": True}, np.array(list("abc"))[y % 3]
    zeros, sparse = np.repeat([0.0, 1.0], [60, 40]), csr_array(np.where(X < 0.3, 0, X))
    return {
        "sparse multilabel": ("MLPClassifier", lambda e: e.fit(XM, csr_array(Y)).predict_proba(XM)),
        "one row": ("MLPClassifier", lambda e: e.fit(X[:1], y[:1]).predict_proba(X)),
        "one column": ("MLPRegressor", lambda e: e.fit(X[:, 3:4], y).predict(X[:, 3:4])),
        "array of layer sizes": ("MLPRegressor", lambda e: e.set_params(hidden_layer_sizes=np.array([4, 3])).fit(X, y)),
        "NumPy's integers": ("MLPRegressor", lambda e: e.set_params(max_iter=np.int8(2)).fit(X, y).predict(X)),
        "part of the classes": ("MLPClassifier", lambda e: e.partial_fit(X, three, classes=list("dcba")).predict(X)),
        "classes of multilabel": ("MLPClassifier", lambda e: e.partial_fit(XM, Y, classes=range(5)).predict(XM)),
        "two classes": ("MLPClassifier", lambda e: e.partial_fit(X, three == "a", classes=[0, 1]).predict(X)),
        "dates as labels": ("MLPClassifier", lambda e: e.fit(X, (y % 3).astype("M8[D]")).predict(X)),
        "column of targets": ("MLPRegressor", lambda e: e.fit(X, y[:, None]).predict(X)),
        "objects as targets": ("MLPRegressor", lambda e: e.fit(X, y.astype(object)).predict(X)),
        "other columns": ("MLPRegressor", lambda e: e.set_params(warm_start=True).fit(X, y).fit(X[:, :5], y)),
        "one weight for all": ("MLPRegressor", lambda e: e.fit(X, y, 2.0).predict(X)),
        "negative weights": ("MLPRegressor", lambda e: e.fit(X, y, -np.ones(100)).predict(X)),
        "some weights of zero": ("MLPClassifier", lambda e: e.set_params(**early).fit(X, y, zeros).validation_scores_),
        "nothing set aside": ("MLPClassifier", lambda e: e.set_params(validation_fraction=0.0, **early).fit(X, y)),
        "all set aside": ("MLPClassifier", lambda e: e.set_params(validation_fraction=0.999, **early).fit(X, y)),
        "a rare class": ("MLPClassifier", lambda e: e.set_params(**early).fit(X, np.arange(100) == 3)),
        "COO": ("MLPClassifier", lambda e: e.fit(sparse.tocoo(), y).predict_proba(sparse.todok())),
        "big-endian": ("MLPClassifier", lambda e: e.fit(X.astype(">f8"), y.astype(">i4")).predict_proba(X)),
        "long double": ("MLPRegressor", lambda e: e.fit(X.astype(np.longdouble), y).predict(X)),
        "Boolean": ("MLPRegressor", lambda e: e.fit(X > 0.5, y).predict(X > 0.5)),
        "one row as a vector": ("MLPRegressor", lambda e: e.fit(X, y).predict(X[0])),
        "no row": ("MLPRegressor", lambda e: e.fit(X, y).predict(X[:0])),
        "no targets": ("MLPRegressor", lambda e: e.fit(X, None)),
        "L-BFGS with early stopping": (
            "MLPRegressor",
            lambda e: e.set_params(solver="lbfgs", **early).fit(X, y).predict(X),
        ),
        "representation": ("MLPRegressor", lambda e: repr(e.set_params(alpha=0.5).fit(X, y))),
    }


@pytest.mark.parametrize("name", odd_calls())
@pytest.mark.scikit_learn("1.9")
@pytest.mark.filterwarnings("ignore")
def test_odd_calls_are_answered_as_by_scikit_learn(name):
    """With the same numbers or the same error."""
    class_name, call = odd_calls()[name]
    answers = []
    for module in (neural_network, fastmlp):
        try:
            answer = call(small(getattr(module, class_name)))
        except (ValueError, TypeError) as error:
            answer = str(error)
        answers.append(getattr(answer, "coefs_", [answer])[0])
    if np.asarray(answers[0]).dtype.kind == "f":
        np.testing.assert_allclose(*answers, rtol=1e-6, atol=1e-9)
    else:
        np.testing.assert_array_equal(*answers)


def test_targets_of_a_regressor_are_numbers(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"y must hold numbers; got dtype <U\d+, which y.astype\(float\) may convert."):
        MLPRegressor().fit(X, y.astype(str))


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["zero", "one", "two"]),
        np.array(["zero", "one", "two"], dtype=object),
        np.array([10, -3, 7]),
        np.array([0.0, 2.0, 1.0]),
        np.array([True, False]),
        np.array(["b", "a"], dtype=object),
        np.array([5]),
    ],
    ids=lambda labels: f"{labels.dtype}-{len(labels)}",
)
@pytest.mark.parametrize("early_stopping", [False, pytest.param(True, marks=pytest.mark.scikit_learn("1.9"))])
def test_labels_of_any_kind(labels, early_stopping, digits):
    X, y = digits
    y = labels[y % len(labels)]
    ours = small(MLPClassifier, early_stopping=early_stopping).fit(X, y)
    theirs = neural_network.MLPClassifier(8, max_iter=3, random_state=0, early_stopping=early_stopping).fit(X, y)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7)
    if early_stopping:  # which ends here when no better score is possible
        scores = ours.validation_scores_
        assert scores == theirs.validation_scores_[: len(scores)]
        assert len(scores) == 3 or scores[-1] == 1.0


def test_column_of_labels_warns_as_scikit_learn(digits):
    X, y = digits
    with pytest.warns(match="A column-vector y was passed when a 1d array was expected"):
        small(MLPClassifier).fit(X, y[:, None])


def test_multilabel_predictions_are_a_matrix():
    X, Y = make_multilabel_classification(60, random_state=0)
    estimator = small(MLPClassifier).fit(X, Y)
    np.testing.assert_array_equal(estimator.predict(X), estimator.predict_proba(X) > 0.5)
    assert estimator.out_activation_ == "logistic"
    assert estimator.predict(X).shape == Y.shape


def test_a_thousand_classes_are_decided_in_blocks():
    """Some rows at a time, the same labels as from all probabilities at once."""
    n_classes = 1000
    n_rows = OUTPUTS_AT_ONCE // n_classes + 3
    y = np.arange(n_rows) % n_classes
    X = np.random.RandomState(0).uniform(size=(n_rows, 4)).astype(np.float32)
    estimator = small(MLPClassifier, hidden_layer_sizes=(2,), max_iter=1).fit(X, y)
    np.testing.assert_array_equal(estimator.predict(X), estimator.predict_proba(X).argmax(axis=1))


# --- data of any dtype and layout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize(
    ("dtype", "given", "computed"),
    [
        ("auto", np.float32, np.float32),
        ("auto", np.float64, np.float64),
        ("auto", np.int32, np.float64),
        ("auto", np.float16, np.float64),
        ("float32", np.float64, np.float32),
        ("float64", np.float32, np.float64),
    ],
)
def test_dtype_of_the_weights(ours, dtype, given, computed, digits):
    X, y = digits
    X = (X * 16).astype(given)
    estimator = small(ours, dtype=dtype).fit(X, y)
    assert {array.dtype for array in estimator.coefs_ + estimator.intercepts_} == {np.dtype(computed)}
    assert estimator.partial_fit(X, y).coefs_[0].dtype == computed
    expected = np.result_type(given, computed)
    if ours is MLPRegressor:
        assert estimator.predict(X).dtype == expected
    else:
        assert estimator.predict_proba(X).dtype == expected


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("parameters", [{}, {"solver": "sgd", "early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_float32_stays_float32(ours, parameters, digits):
    X, y = digits[0].astype(np.float32), digits[1]
    estimator = small(ours, **parameters).fit(X, y)
    results = [estimator.predict(X)] if ours is MLPRegressor else [estimator.decision_function(X)]
    if ours is MLPClassifier:
        results += [estimator.predict_proba(X), estimator.predict_log_proba(X)]
    arrays = estimator.coefs_ + estimator.intercepts_ + results
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def layouts(X, folder):
    path = folder / f"{X.ndim} {X.dtype}.npy"
    np.save(path, X)
    read_only = X.copy()
    read_only.setflags(write=False)
    mapped = np.load(path, mmap_mode="r")
    assert not mapped.flags.writeable
    return {
        "Fortran order": np.asfortranarray(X),
        "every other number": np.repeat(X, 2, axis=-1)[..., ::2],
        "reversed": X[::-1].copy()[::-1],
        "read-only": read_only,
        "memory-mapped": mapped,
        "list": X.tolist(),
        "object": X.astype(object),
    }


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layout_does_not_matter(ours, dtype, digits, tmp_path):
    X, y = digits[0].astype(dtype), digits[1]
    weights = np.linspace(0.5, 1, len(y))
    expected = small(ours, dtype=np.dtype(dtype).name).fit(X, y, weights)
    for name, data in layouts(X, tmp_path).items():
        estimator = small(ours, dtype=np.dtype(dtype).name).fit(data, y, weights)
        assert_same_weights(estimator, expected)
        np.testing.assert_array_equal(estimator.predict(data), expected.predict(X), err_msg=name)
    others = layouts(weights, tmp_path)
    for name, labels in layouts(y, tmp_path).items():
        if name != "object":  # numbers as objects are no labels
            assert_same_weights(small(ours, dtype=np.dtype(dtype).name).fit(X, labels, others[name]), expected)


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_data_are_not_modified(ours, digits):
    X, y = digits[0].copy(), digits[1].copy()
    sample_weight = np.linspace(0.5, 1, len(y))
    kept = X.copy(), y.copy(), sample_weight.copy()
    small(ours, early_stopping=True).fit(X, y, sample_weight)
    for array, before in zip((X, y, sample_weight), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library, ours, digits):
    frames = pytest.importorskip(library)
    X, y = digits
    names = [f"pixel {i}" for i in range(64)]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    expected = small(ours, early_stopping=True).fit(X, y)
    estimator = small(ours, early_stopping=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(frame, frames.Series(y), frames.Series(np.ones(len(y))))
        predicted = estimator.predict(frame)
    np.testing.assert_array_equal(predicted, expected.predict(X))
    np.testing.assert_array_equal(estimator.feature_names_in_, names)
    assert estimator.n_features_in_ == 64
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(frame[names[::-1]])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        estimator.predict(X)


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("dtype", ["Float64", "Float32", "Int64", "boolean", "category"])
def test_frames_of_nullable_and_categorical_columns(ours, dtype, digits):
    pandas = pytest.importorskip("pandas")
    X, y = digits[0].round(), digits[1]
    frame = pandas.DataFrame(X).add_prefix("x").astype("bool" if dtype == "boolean" else "float64").astype(dtype)
    estimator = small(ours, dtype="float64").fit(frame, y)
    assert_same_weights(estimator, small(ours).fit(X, y))
    np.testing.assert_array_equal(estimator.feature_names_in_, frame.columns)


@pytest.mark.parametrize(
    "dtype", ["Int64", "Float64", "boolean", "string of text", "object of text", "category", "category of text"]
)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_pandas_labels(dtype, early_stopping, digits):
    pandas = pytest.importorskip("pandas")
    X, y = digits[0], digits[1] % 2
    labels = pandas.Series(np.array(["even", "odd"])[y] if "text" in dtype else y).astype(dtype.partition(" ")[0])
    estimator = small(MLPClassifier, early_stopping=early_stopping).fit(X, labels)
    expected = small(MLPClassifier, early_stopping=early_stopping).fit(X, y)
    assert_same_weights(estimator, expected)
    assert list(estimator.classes_) == sorted(set(labels))
    np.testing.assert_array_equal(estimator.predict(X), estimator.classes_[expected.predict(X)])
    assert estimator.score(X, labels) == expected.score(X, y)


@pytest.mark.parametrize("dtype", ["Int64", "String", "Boolean", "Categorical"])
def test_polars_labels(dtype, digits):
    polars = pytest.importorskip("polars")
    X, y = digits[0], digits[1] % 2
    numbers = polars.Series(y)
    labels = (
        numbers.cast(polars.String).cast(polars.Categorical)
        if dtype == "Categorical"
        else numbers.cast(getattr(polars, dtype))
    )
    estimator = small(MLPClassifier).fit(X, labels)
    expected = small(MLPClassifier).fit(X, y)
    assert_same_weights(estimator, expected)
    np.testing.assert_array_equal(estimator.predict(X), estimator.classes_[expected.predict(X)])


# --- prediction -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_predictions_follow_the_weights(ours, digits):
    """`coefs_` may be replaced or modified in place."""
    X, y = digits
    estimator = small(ours).fit(X, y)
    predict = estimator.predict if ours is MLPRegressor else estimator.predict_proba
    first = predict(X)
    estimator.coefs_[0][:] *= 2
    second = predict(X)
    assert not np.array_equal(first, second)
    estimator.coefs_ = [coef / (2 if layer == 0 else 1) for layer, coef in enumerate(estimator.coefs_)]
    np.testing.assert_array_equal(predict(X), first)
    estimator.intercepts_[-1] = estimator.intercepts_[-1] + 1.0
    assert not np.array_equal(predict(X), first)


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_one_row_alone_is_predicted_as_among_many(ours, digits):
    X, y = digits
    estimator = small(ours).fit(X, y)
    predict = estimator.predict if ours is MLPRegressor else estimator.predict_proba
    np.testing.assert_allclose(np.concatenate([predict(X[i : i + 1]) for i in range(20)]), predict(X)[:20], rtol=1e-12)


def test_log_probabilities(digits):
    X, y = digits
    estimator = small(MLPClassifier).fit(X, y)
    np.testing.assert_array_equal(estimator.predict_log_proba(X), np.log(estimator.predict_proba(X)))


@pytest.mark.threads
def test_many_threads_may_predict_and_fit_at_once(digits):
    X, y = digits
    fitted = small(MLPClassifier).fit(X, y)
    expected = fitted.predict_proba(X)

    def work(k):
        estimator = fitted if k % 2 else small(MLPClassifier).fit(X, y)
        return estimator.predict_proba(X)

    results = joblib.Parallel(n_jobs=4, backend="threading")(joblib.delayed(work)(k) for k in range(12))
    for result in results:
        np.testing.assert_array_equal(result, expected)


# --- the package ------------------------------------------------------------------------------------------------------


def test_works_in_a_pipeline(digits):
    X, y = digits
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=30, random_state=0)).fit(X, y)
    assert pipeline.score(X, y) > 0.9


def test_import_is_cheap():
    """`import fastmlp` alone loads neither Numba nor scikit-learn; naming an estimator does."""
    program = (
        "import sys, fastmlp; assert not {'numba', 'sklearn'} & set(sys.modules); "
        "assert 'MLPClassifier' in dir(fastmlp); fastmlp.MLPClassifier; assert 'sklearn' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="module 'fastmlp' has no attribute 'MLP'"):
        fastmlp.MLP  # noqa: B018
