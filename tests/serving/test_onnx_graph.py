"""ONNX Runtime's numbers against the estimators': every component, ensembles, and meta-estimators around them."""

import warnings

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.activations import ACTIVATIONS
from fastmlp.conversion import register_onnx
from fastmlp.losses import OUTPUTS, KLDivergence, Quantile
from fastmlp.serving.onnx_graph import ONNX_OF_ACTIVATION, ONNX_OF_INVERSE, ONNX_OF_OUTPUT

skl2onnx = pytest.importorskip("skl2onnx")
InferenceSession = pytest.importorskip("onnxruntime").InferenceSession

DOUBLE, LABELS = load_iris(return_X_y=True)
X = DOUBLE.astype(np.float32)
TARGET = DOUBLE[:, 0]


def network(kind=MLPClassifier, **parameters):
    return kind(hidden_layer_sizes=(8, 7), max_iter=15, learning_rate_init=0.02, random_state=0, **parameters)


def fitted(estimator, rows=X, y=LABELS):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows, y)


def run(model, rows, **options):
    """Outputs of the model's ONNX form."""
    register_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = skl2onnx.to_onnx(model, rows[:1], options={id(model): options} if options else None)
    session = InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": rows})


def check_classifier(model, rows=X, error=2e-5):
    labels, numbers = run(model, rows, zipmap=False)
    expected = model.predict_proba(rows)
    np.testing.assert_allclose(numbers, expected, atol=error)
    assert (labels == model.predict(rows)).mean() > 0.98


def test_every_component_has_its_nodes():
    assert {component.name for component in ACTIVATIONS.classes} == set(ONNX_OF_ACTIVATION)
    assert set(OUTPUTS) == set(ONNX_OF_OUTPUT) == set(ONNX_OF_INVERSE)


@pytest.mark.parametrize("name", ONNX_OF_ACTIVATION)
def test_every_activation(name):
    check_classifier(fitted(network(activation=name)))
    model = fitted(network(MLPRegressor, activation=name), DOUBLE, TARGET)
    (predicted,) = run(model, DOUBLE)
    np.testing.assert_allclose(predicted[:, 0], model.predict(DOUBLE), atol=1e-5 if name == "gelu" else 1e-11)


@pytest.mark.parametrize(
    ("y", "parameters"),
    [
        (LABELS, {"normalization": "batch"}),
        (LABELS, {"normalization": "layer", "activation": ["prelu", "tanh"]}),
        (LABELS, {"loss": "squared_error"}),
        (LABELS, {"loss": "squared_error", "output_activation": "tanh"}),
        (LABELS > 1, {"loss": "squared_error"}),
        (LABELS, {"n_estimators": 3}),
        (LABELS > 1, {"n_estimators": 2, "normalization": "layer"}),
        (np.stack([LABELS > 1, LABELS > 0], axis=1).astype(int), {"n_estimators": 2}),
        (np.array(["a", "b", "c"])[LABELS], {"loss": "focal"}),
        (LABELS.astype(np.uint8), {}),
    ],
)
def test_classifiers(y, parameters):
    check_classifier(fitted(network(**parameters), X, y))


@pytest.mark.parametrize(
    ("y", "parameters"),
    [
        (DOUBLE[:, :2], {"normalization": "layer", "n_estimators": 2}),
        (TARGET, {"loss": "poisson", "n_estimators": 2}),
        (TARGET, {"loss": Quantile((0.1, 0.9))}),
    ],
)
def test_regressors(y, parameters):
    model = fitted(network(MLPRegressor, **parameters), DOUBLE, y)
    (predicted,) = run(model, DOUBLE)
    np.testing.assert_allclose(predicted, model.predict(DOUBLE).reshape(len(DOUBLE), -1), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("parameters", [{}, {"n_estimators": 2}])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_decision_function(classes, parameters):
    """Two classes have two columns, as scikit-learn's linear classifiers do in ONNX."""
    model = fitted(network(**parameters), X, np.minimum(LABELS, classes - 1))
    labels, scores = run(model, X, zipmap=False, raw_scores=True)
    expected = model.decision_function(X)
    expected = expected if classes == 3 else np.stack([-expected, expected], axis=1)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)
    assert (labels == model.predict(X)).all()


AROUND = {
    "calibrated": lambda: CalibratedClassifierCV(network(), cv=3),
    "one calibration": lambda: CalibratedClassifierCV(network(), cv=3, ensemble=False),
    "calibrated pipeline": lambda: CalibratedClassifierCV(make_pipeline(StandardScaler(), network()), cv=3),
    "one against the rest, calibrated": lambda: OneVsRestClassifier(CalibratedClassifierCV(network(), cv=3)),
    "one against the rest": lambda: OneVsRestClassifier(network()),
    "stacked scores": lambda: StackingClassifier([("m", network())], cv=3, stack_method="decision_function"),
    "stacked": lambda: StackingClassifier([("m", network()), ("n", network(activation="gelu"))], cv=3),
    "votes": lambda: VotingClassifier(
        [("m", network()), ("n", network(activation="gelu"))], voting="soft", flatten_transform=False
    ),
    "pipeline": lambda: make_pipeline(StandardScaler(), network(n_estimators=2)),
}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", AROUND)
def test_estimators_around_it_give_the_same_numbers(name, classes):
    model = fitted(AROUND[name](), X, np.minimum(LABELS, classes - 1))
    check_classifier(model, error=1e-4)


def test_one_against_one():
    model = fitted(OneVsOneClassifier(network()))
    labels = run(model, X, zipmap=False)[0].ravel()
    assert (labels == model.predict(X)).mean() > 0.98


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"CalibratedClassifierCV must have method='sigmoid' .* got 'isotonic'"):
        run(fitted(CalibratedClassifierCV(network(), cv=3, method="isotonic")), X)
    with pytest.raises(ValueError, match="ONNX takes at least two classes"):
        run(fitted(network(), X, np.zeros(len(X), int)), X)
    model = fitted(network())
    model.coefs_[0][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"coefs_\[0\] must be finite for ONNX"):
        run(model, X)


def test_probabilities_as_targets():
    model = fitted(network(loss=KLDivergence()), X, np.eye(3, dtype=np.float32)[LABELS] * 0.8 + 0.2 / 3)
    check_classifier(model)
