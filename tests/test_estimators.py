"""Estimators: scikit-learn's signature, errors and attributes; data of any kind; pickles; threads; interrupts."""

import inspect
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.estimators.judging import OUTPUTS_AT_ONCE

ESTIMATORS = (MLPClassifier, MLPRegressor)
OURS = {"n_threads", "dtype", "scoring", "metrics", "progress"}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


def small(estimator_class, **parameters):
    return estimator_class(**{"hidden_layer_sizes": 8, "max_iter": 3, "random_state": 0, **parameters})


def parameters_of(estimator_class):
    return inspect.signature(estimator_class).parameters


def assert_same_weights(one, other):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_parameters_are_those_of_scikit_learn(ours):
    """Names, defaults, positions and kinds; keyword-only ones of ours at the end."""
    theirs = getattr(neural_network, ours.__name__)
    expected, got = list(parameters_of(theirs).values()), list(parameters_of(ours).values())
    assert [(p.name, p.default, p.kind) for p in got[: len(expected)]] == [
        (p.name, p.default, p.kind) for p in expected
    ]
    assert {p.name for p in got[len(expected) :]} == OURS | ({"class_weight"} if ours is MLPClassifier else set())
    assert all(p.kind is p.KEYWORD_ONLY for p in got[len(expected) :])


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
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


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activation", "ReLU"),
        ("solver", "rmsprop"),
        ("alpha", -1.0),
        ("batch_size", 0),
        ("learning_rate", "cosine"),
        ("learning_rate_init", 0.0),
        ("power_t", -0.5),
        ("max_iter", 0),
        ("shuffle", "yes"),
        ("random_state", "seed"),
        ("tol", -1),
        ("verbose", -1),
        ("momentum", 1.5),
        ("validation_fraction", 1.0),
        ("beta_1", 1.0),
        ("beta_2", -0.1),
        ("epsilon", 0.0),
        ("n_iter_no_change", 0),
        ("max_fun", 0),
        ("hidden_layer_sizes", 0),
        ("hidden_layer_sizes", (5, 0)),
    ],
)
def test_errors_of_parameters_are_those_of_scikit_learn(ours, name, value, digits):
    theirs = getattr(neural_network, ours.__name__)
    texts = []
    for estimator_class in (theirs, ours):
        with pytest.raises(ValueError) as error:
            estimator_class(**{name: value}).fit(*digits)
        texts.append(str(error.value).partition(" Got ")[2] or str(error.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"n_threads": 0},
            r"The 'n_threads' parameter of MLP\w+ must be an int in the range \[1, inf\) or None. Got 0 in",
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
@pytest.mark.parametrize("early_stopping", [False, True])
def test_labels_of_any_kind(labels, early_stopping, digits):
    X, y = digits
    y = labels[y % len(labels)]
    ours = small(MLPClassifier, early_stopping=early_stopping).fit(X, y)
    theirs = neural_network.MLPClassifier(8, max_iter=3, random_state=0, early_stopping=early_stopping).fit(X, y)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7)
    assert ours.validation_scores_ == theirs.validation_scores_


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


def layouts(X, folder):
    np.save(folder / "X.npy", X)
    read_only = X.copy()
    read_only.setflags(write=False)
    return {
        "Fortran order": np.asfortranarray(X),
        "every other column": np.repeat(X, 2, axis=1)[:, ::2],
        "reversed": X[::-1].copy()[::-1],
        "read-only": read_only,
        "memory-mapped": np.load(folder / "X.npy", mmap_mode="r"),
        "list": X.tolist(),
        "object": X.astype(object),
    }


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_layout_does_not_matter(ours, digits, tmp_path):
    X, y = digits
    expected = small(ours).fit(X, y)
    for name, data in layouts(X, tmp_path).items():
        estimator = small(ours).fit(data, y)
        assert_same_weights(estimator, expected)
        np.testing.assert_array_equal(estimator.predict(data), expected.predict(X), err_msg=name)


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_data_are_not_modified(ours, digits):
    X, y = digits[0].copy(), digits[1].copy()
    sample_weight = np.linspace(0.5, 1, len(y))
    kept = X.copy(), y.copy(), sample_weight.copy()
    small(ours, early_stopping=True).fit(X, y, sample_weight)
    for array, before in zip((X, y, sample_weight), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library, digits):
    frames = pytest.importorskip(library)
    X, y = digits
    names = [f"pixel {i}" for i in range(64)]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    estimator = small(MLPClassifier, early_stopping=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(frame, frames.Series(y))
        predicted = estimator.predict(frame)
    np.testing.assert_array_equal(predicted, small(MLPClassifier, early_stopping=True).fit(X, y).predict(X))
    np.testing.assert_array_equal(estimator.feature_names_in_, names)


def test_pandas_nullable_and_categorical(digits):
    pandas = pytest.importorskip("pandas")
    X, y = digits
    expected = small(MLPClassifier).fit(X, y)
    frame = pandas.DataFrame(X).convert_dtypes()
    frame.columns = [f"x{i}" for i in range(64)]
    for labels in (pandas.Series(y, dtype="Int64"), pandas.Series(y).astype("category")):
        estimator = small(MLPClassifier).fit(frame, labels)
        assert_same_weights(estimator, expected)
        np.testing.assert_array_equal(estimator.predict(frame), expected.predict(X))


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
