"""Models of scikit-learn from ours and the reverse; ONNX models against ours in ONNX Runtime."""

import sys
import warnings

import numpy as np
import pytest
import skl2onnx
from onnxruntime import InferenceSession
from sklearn import neural_network
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp.activations import ReLU
from fastmlp.conversion import from_sklearn, register_onnx, to_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning")

DIGITS, DIGIT = load_digits(return_X_y=True)
DIGITS, DIGIT = DIGITS[:300] / 16, DIGIT[:300]
TARGETS = make_regression(300, 9, n_targets=3, random_state=0)


def multiclass():
    return "MLPClassifier", {}, DIGITS, DIGIT


def binary():
    return "MLPClassifier", {}, DIGITS, np.where(DIGIT < 4, 7, -3)


def multilabel():
    return "MLPClassifier", {}, *make_multilabel_classification(300, 12, n_classes=5, random_state=0)


def one_target():
    return "MLPRegressor", {}, TARGETS[0], TARGETS[1][:, 0] / 100


def three_targets():
    return "MLPRegressor", {"activation": "tanh"}, TARGETS[0], TARGETS[1] / 100


def counts():
    X = np.random.RandomState(0).uniform(size=(300, 5))
    return "MLPRegressor", {"loss": "poisson"}, X, np.random.RandomState(1).poisson(np.exp(X.sum(axis=1) - 1))


TASKS = (
    *(multiclass, binary, multilabel, one_target, three_targets),
    pytest.param(counts, marks=pytest.mark.scikit_learn("1.7")),
)
SOLVERS = {
    "adam": {},
    "sgd": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
    "early stopping": {"early_stopping": True},
    "lbfgs": {"solver": "lbfgs"},
}
FIXED = ("hidden_layer_sizes", "max_iter", "random_state", "shuffle")
WITHOUT_PARTIAL_FIT = ("early stopping", "lbfgs")


def fitted(module, task, **parameters):
    name, more, X, y = task()
    parameters = {"hidden_layer_sizes": (8, 5), "max_iter": 4, "random_state": 0, "shuffle": False, **parameters}
    return getattr(module, name)(**more, **parameters).fit(X, y), X, y


def assert_same(one, other, X):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(one.predict(X), other.predict(X)) if hasattr(one, "classes_") else None
    predict = "predict_proba" if hasattr(one, "classes_") else "predict"
    np.testing.assert_allclose(getattr(one, predict)(X), getattr(other, predict)(X), rtol=1e-9)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "loss_"):
        np.testing.assert_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_to_scikit_learn_and_back(task, solver):
    """The same predictions, and partial_fit goes on alike on both sides, optimizer included."""
    ours, X, y = fitted(fastmlp, task, **SOLVERS[solver])
    theirs = to_sklearn(ours)
    assert type(theirs) is getattr(neural_network, type(ours).__name__)
    assert_same(theirs, ours, X)
    back = from_sklearn(theirs, n_threads=1)
    assert back.n_threads == 1
    assert_same(back, ours, X)
    if solver in WITHOUT_PARTIAL_FIT:
        return
    for model in (ours, theirs, back):
        for _ in range(3):
            model.partial_fit(X, y)
    for other in (theirs, back):
        for a, b in zip(other.coefs_ + other.intercepts_, ours.coefs_ + ours.intercepts_, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(other.loss_curve_, ours.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_from_scikit_learn(task, solver):
    theirs, X, y = fitted(neural_network, task, **SOLVERS[solver])
    ours = from_sklearn(theirs, dtype="float64")
    assert type(ours) is getattr(fastmlp, type(theirs).__name__)
    assert_same(ours, theirs, X)
    if solver in WITHOUT_PARTIAL_FIT:
        return
    ours.partial_fit(X, y)
    theirs.partial_fit(X, y)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-6, atol=1e-9)


def test_conversion_copies():
    ours, X, y = fitted(fastmlp, multiclass)
    expected = ours.predict_proba(X)
    theirs = to_sklearn(ours)
    theirs.partial_fit(X, y)
    theirs.coefs_[0][:] = 0
    np.testing.assert_array_equal(ours.predict_proba(X), expected)
    assert len(ours.loss_curve_) == 4


def test_a_model_without_optimizer_state():
    ours, X, _ = fitted(fastmlp, multiclass)
    theirs = to_sklearn(ours.drop_optimizer_state())
    assert not hasattr(theirs, "_optimizer")
    np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))


def test_float32_and_names_survive():
    pandas = pytest.importorskip("pandas")
    _, _, X, y = multiclass()
    frame = pandas.DataFrame(X.astype(np.float32)).add_prefix("x")
    ours = fastmlp.MLPClassifier(8, max_iter=2, random_state=0).fit(frame, y)
    theirs = to_sklearn(ours)
    assert theirs.coefs_[0].dtype == np.float32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(theirs.predict(frame), ours.predict(frame))
        np.testing.assert_array_equal(from_sklearn(theirs).feature_names_in_, frame.columns)


def test_errors_of_conversion():
    with pytest.raises(TypeError, match=r"to_sklearn takes an MLPClassifier or MLPRegressor of fastmlp; got .*Scaler"):
        to_sklearn(StandardScaler())
    with pytest.raises(TypeError, match=r"from_sklearn takes an MLPClassifier .* of scikit-learn; got .*fastmlp"):
        from_sklearn(fastmlp.MLPClassifier())
    with pytest.raises(NotFittedError):
        to_sklearn(fastmlp.MLPClassifier())
    with pytest.raises(NotFittedError):
        from_sklearn(neural_network.MLPRegressor())


def test_a_scikit_learn_without_poisson_loss(monkeypatch):
    ours, _, _ = fitted(fastmlp, counts)
    known = neural_network.MLPRegressor.get_params
    monkeypatch.setattr(
        neural_network.MLPRegressor, "get_params", lambda self: {k: v for k, v in known(self).items() if k != "loss"}
    )
    with pytest.raises(ValueError, match=r"loss='poisson' requires scikit-learn>=1.7, whose MLPRegressor has it."):
        to_sklearn(ours)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"activation": "gelu"}, "activation must be 'identity' or 'logistic' or 'relu' or 'tanh' .* got 'gelu': fit"),
        ({"activation": ["relu", "tanh"]}, r"activation must be .* got \['relu', 'tanh'\]"),
        ({"activation": "leaky_relu"}, "activation must be 'identity' or .* got 'leaky_relu': fit one that has it so"),
        ({"normalization": "layer"}, "normalization must be None or 'batch', .* got 'layer'"),
        ({"n_estimators": 2}, "n_estimators must be 1 to convert a model; got 2"),
    ],
    ids=str,
)
@pytest.mark.parametrize("task", [multiclass, one_target])
def test_networks_that_scikit_learn_has_not(parameters, message, task):
    ours, _, _ = fitted(fastmlp, task, **parameters)
    with pytest.raises(ValueError, match=message):
        to_sklearn(ours)


@pytest.mark.parametrize(
    "parameters",
    [{"normalization": "batch"}, {"activation": ["tanh"], "hidden_layer_sizes": (9,)}, {"activation": ReLU()}],
    ids=str,
)
@pytest.mark.parametrize("task", [multiclass, one_target])
def test_networks_that_scikit_learn_has_by_another_name(parameters, task):
    """Batch normalization is in the weights; a component is its name."""
    ours, X, y = fitted(fastmlp, task, **parameters)
    theirs = to_sklearn(ours)
    name = "predict_proba" if task is multiclass else "predict"
    np.testing.assert_allclose(getattr(theirs, name)(X), getattr(ours, name)(X), rtol=1e-6, atol=1e-9)
    theirs.set_params(warm_start=True, max_iter=1).fit(X, y)


@pytest.mark.parametrize(
    "parameters",
    [{"solver": "adamw"}, {"learning_rate": "cosine"}, {"dropout": 0.2, "class_weight": "balanced"}],
    ids=str,
)
def test_words_of_training_that_scikit_learn_has_not(parameters):
    """The model is converted; what trained it is left out."""
    ours, X, y = fitted(fastmlp, multiclass, **parameters)
    theirs = to_sklearn(ours)
    np.testing.assert_allclose(theirs.predict_proba(X), ours.predict_proba(X), rtol=1e-9)
    assert theirs.get_params() == neural_network.MLPClassifier(**{n: getattr(theirs, n) for n in FIXED}).get_params()
    assert hasattr(theirs, "_optimizer") == ("dropout" in parameters)
    theirs.set_params(warm_start=True).fit(X, y)


# --- ONNX -------------------------------------------------------------------------------------------------------------


def run(model, X, **options):
    """Outputs of the model's ONNX form for X, whose dtype its input is declared with."""
    register_onnx()
    converted = skl2onnx.to_onnx(model, X[:1], **options)
    session = InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 2e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("task", [multiclass, binary, multilabel])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_onnx_classifier(task, activation, dtype, error):
    ours, X, _ = fitted(fastmlp, task, activation=activation, dtype=np.dtype(dtype).name)
    X = X.astype(dtype)
    labels, probabilities = run(ours, X, options={"zipmap": False})
    expected = ours.predict_proba(X)
    np.testing.assert_allclose(probabilities, expected, atol=error)
    top = np.sort(expected, axis=1)
    sure = abs(expected - 0.5).min(axis=1) > error if task is multilabel else top[:, -1] - top[:, -2] > error
    np.testing.assert_array_equal(labels[sure], ours.predict(X)[sure])
    assert sure.mean() > 0.99


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 2e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("task", [one_target, three_targets, counts])
def test_onnx_regressor(task, dtype, error):
    ours, X, _ = fitted(fastmlp, task, max_iter=20)
    X = X.astype(dtype)
    (predicted,) = run(ours, X)
    assert predicted.shape == (len(X), ours.n_outputs_)
    np.testing.assert_allclose(predicted, ours.predict(X).reshape(len(X), -1), rtol=error, atol=error)


def test_onnx_pipeline():
    _, _, X, y = multiclass()
    X, y = X.astype(np.float32), np.array(list("abcdefghij"))[y]
    model = make_pipeline(StandardScaler(), fastmlp.MLPClassifier(8, max_iter=5, random_state=0)).fit(X, y)
    labels, scores = run(model, X)
    assert (labels == model.predict(X)).mean() > 0.99
    assert set(scores[0]) == set("abcdefghij")  # zipmap: a dict for each row


def test_errors_of_onnx(monkeypatch):
    _, _, X, y = multiclass()
    with pytest.raises(
        ValueError, match="skl2onnx holds labels as 32-bit integers; the greatest of classes_ is 9000000"
    ):
        run(fastmlp.MLPClassifier(2, max_iter=1).fit(X, y * 10**9), X)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(
        ImportError, match=r'register_onnx needs skl2onnx; install it with pip install "fastmlp\[onnx\]"'
    ):
        register_onnx()
