"""ONNX Runtime's numbers for tables against the encoder's and the estimators'."""

import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from table_models import CATEGORIES, CLASSES, MODELS, NEW, TARGET, X, expected_of

from fastmlp import MLPClassifier, TabularClassifier, TabularRegressor
from fastmlp.conversion import register_onnx
from fastmlp.tabular import TableEncoder

skl2onnx = pytest.importorskip("skl2onnx")
InferenceSession = pytest.importorskip("onnxruntime").InferenceSession


def run(model, rows, **options):
    """Outputs of the model's ONNX form."""
    register_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = skl2onnx.to_onnx(model, rows[:1], options={id(model): options} if options else None)
    return InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"X": rows})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("max_levels", [2, 4, 100])
def test_an_encoder_alone(dtype, max_levels):
    fitted = TableEncoder(CATEGORIES, max_levels=max_levels).fit(X)
    for rows in (X.astype(dtype), NEW.astype(dtype)):
        (found,) = run(fitted, rows)
        np.testing.assert_allclose(found, fitted.transform(rows), atol=2e-4 if dtype == np.float32 else 1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    fitted = MODELS[name]()
    rows = NEW.astype(np.float32)
    if isinstance(fitted, TabularRegressor):
        (numbers,) = run(fitted, rows)
        np.testing.assert_allclose(numbers, expected_of(fitted, rows).reshape(len(rows), -1), rtol=1e-5, atol=1e-3)
    else:
        labels, numbers = run(fitted, rows, zipmap=False)
        np.testing.assert_allclose(numbers, expected_of(fitted, rows), atol=1e-4)
        assert (labels == fitted.predict(rows)).mean() > 0.98


def test_an_encoder_in_a_pipeline():
    model = make_pipeline(TableEncoder(CATEGORIES), MLPClassifier((9,), max_iter=5, random_state=0)).fit(X, CLASSES)
    rows = X.astype(np.float32)
    _, numbers = run(model, rows, zipmap=False)
    np.testing.assert_allclose(numbers, model.predict_proba(rows), atol=1e-4)


def test_texts_are_refused():
    rows = np.column_stack([X[:60, 0].astype(object), np.array(["Oslo", "Rome"] * 30, object)])
    model = TabularClassifier(preset="fast", max_epochs=2, random_state=0, n_threads=1).fit(rows, TARGET[:60] > 1e4)
    with pytest.raises(ValueError, match="ONNX takes rows of numbers: column 'x1' holds 'Oslo'"):
        run(model, X[:, :2].astype(np.float32))
