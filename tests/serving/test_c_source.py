"""C files, compiled by the system's compiler, against the estimator on a thousand rows."""

import ctypes
import shutil
import subprocess
import warnings

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    StandardScaler,
)

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.activations import ACTIVATIONS, LeakyReLU
from fastmlp.losses import OUTPUTS, Quantile
from fastmlp.serving import to_c
from fastmlp.serving.c_source import C_OF_ACTIVATION, C_OF_OUTPUT

CC = shutil.which("cc")
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(1000, 7)).astype(np.float32)
Y = np.arange(1000) % 3
LEVELS = RANDOM.integers(0, 4, size=(1000, 5)).astype(np.float32)


def fitted(estimator, rows=X, y=Y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows, y)


def network(kind=MLPClassifier, **parameters):
    return kind(hidden_layer_sizes=(12, 11), max_iter=3, random_state=0, **parameters)


def compiled(path):
    """The function of a C file."""
    library = path.with_suffix(".so")
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC"]
    subprocess.run([CC, *flags, str(path), "-o", str(library), "-lm"], check=True)
    symbols = subprocess.run(["nm", "-D", str(library)], capture_output=True, text=True, check=False).stdout
    assert "malloc" not in symbols
    return ctypes.CDLL(str(library)).predict


def check(estimator, tmp_path, rows=X):
    """The file gives what the estimator does."""
    path = tmp_path / "model.c"
    to_c(estimator, path)
    predict = compiled(path)
    expected = estimator.predict_proba(rows) if hasattr(estimator, "predict_proba") else estimator.predict(rows)
    y = np.full((len(rows), expected[0].size + 1), np.nan, np.float32)
    for row, result in zip(rows, y, strict=True):
        predict(row.ctypes.data_as(ctypes.c_void_p), result.ctypes.data_as(ctypes.c_void_p))
    assert np.isnan(y[:, -1]).all()
    np.testing.assert_allclose(y[:, :-1], expected.reshape(len(rows), -1), atol=1e-5, rtol=1e-5)


needs_cc = pytest.mark.skipif(CC is None, reason="no C compiler")


def test_every_component_has_its_formula():
    names = {component.name for component in ACTIVATIONS.classes}
    assert names == set(C_OF_ACTIVATION)
    assert {*C_OF_OUTPUT, "softmax"} == set(OUTPUTS)


@needs_cc
@pytest.mark.parametrize("name", C_OF_ACTIVATION)
def test_every_activation(name, tmp_path):
    check(fitted(network(activation=name)), tmp_path)


@needs_cc
@pytest.mark.parametrize(
    ("kind", "y", "parameters"),
    [
        (MLPClassifier, Y > 1, {}),
        (MLPClassifier, Y > 1, {"loss": "squared_error", "output_activation": "tanh"}),
        (MLPClassifier, np.stack([Y > 1, Y > 0], axis=1).astype(int), {}),
        (MLPClassifier, Y, {"loss": "squared_error"}),
        (MLPClassifier, Y, {"normalization": "layer", "activation": [LeakyReLU(0.3), "tanh"]}),
        (MLPClassifier, Y, {"normalization": "batch", "dtype": "float64"}),
        (MLPRegressor, X[:, 0], {}),
        (MLPRegressor, X[:, :2], {"normalization": "layer"}),
        (MLPRegressor, np.abs(X[:, 0]).round(), {"loss": "poisson"}),
        (MLPRegressor, X[:, 0], {"loss": Quantile((0.1, 0.9))}),
    ],
)
def test_every_kind_of_result(kind, y, parameters, tmp_path):
    check(fitted(network(kind, **parameters), X, y), tmp_path)


@needs_cc
@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler(), FunctionTransformer(np.clip, kw_args={"a_min": -1, "a_max": None})],
        [MinMaxScaler(clip=True)],
        [OneHotEncoder(handle_unknown="ignore", drop="if_binary")],
        [OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-3)],
    ],
)
def test_steps_before_the_network(steps, tmp_path):
    rows = LEVELS if "Encoder" in type(steps[0]).__name__ else X
    model = fitted(make_pipeline(*steps, network()), rows)
    check(model, tmp_path, rows + (RANDOM.random(rows.shape) > 0.95))


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.c"
    model = fitted(network())
    to_c(model, path)
    text = path.read_text()
    for bad, error in [
        (network(), NotFittedError),
        (fitted(network(n_estimators=2)), ValueError),
        (fitted(make_pipeline(PowerTransformer(), network())), ValueError),
    ]:
        with pytest.raises(error):
            to_c(bad, path)
    with pytest.raises(FileNotFoundError):
        to_c(model, tmp_path / "nowhere" / "model.c")

    def full(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full"):
        to_c(model, path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.c"]
    assert path.read_text() == text
