"""Encoders of tables and models of tables that only predict: NumPy and C against the estimator, and what is refused."""

import ctypes
import pickle
import shutil
import subprocess

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from table_models import CATEGORIES, CLASSES, MODELS, NEW, N, X, expected_of

from fastmlp import MLPClassifier, TabularClassifier
from fastmlp.serving import predictor, to_c
from fastmlp.serving.table_step import Encode
from fastmlp.tabular import TableEncoder

CC = shutil.which("cc")
over_models = pytest.mark.parametrize("name", MODELS)


def encoder(**parameters):
    return TableEncoder(CATEGORIES, max_levels=4, **parameters)


def c_function(path):
    library = path.with_suffix(".so")
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC"]
    subprocess.run([CC, *flags, str(path), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library)).predict


def c_results(path, rows, width):
    function, found = c_function(path), np.full((len(rows), width + 1), np.nan, np.float32)
    for row, out in zip(np.ascontiguousarray(rows, np.float32), found):
        function(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
    assert np.isnan(found[:, -1]).all(), "nothing is written beyond the result"
    return found[:, :-1]


@pytest.mark.parametrize("rows", [X, NEW, X[:1], X.astype(np.float32)])
@pytest.mark.parametrize("parameters", [{}, {"n_bins": 0}, {"max_levels": 2}, {"max_levels": 100}])
def test_the_step_is_the_encoder(rows, parameters):
    fitted = TableEncoder(CATEGORIES, **{"max_levels": 4, **parameters}).fit(X)
    np.testing.assert_array_equal(Encode(fitted, "test").apply(rows), fitted.transform(rows))


def test_booleans():
    table = np.column_stack([X[:, 0], X[:, 2]]).astype(object)
    table[:, 1] = [None if value != value else bool(value) for value in X[:, 2]]
    fitted = TableEncoder().fit(table)
    assert fitted.kinds_["x1"] == "boolean"
    np.testing.assert_array_equal(Encode(fitted, "test").apply(X[:, [0, 2]]), fitted.transform(table))


@over_models
def test_a_predictor_gives_what_the_model_does(name):
    fitted = MODELS[name]()
    predict = pickle.loads(pickle.dumps(predictor(fitted)))
    for rows in (X, NEW):
        expected = expected_of(fitted, rows)
        np.testing.assert_allclose(predict(rows), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(predict(rows[5]), expected[5], rtol=1e-5, atol=1e-6)
        assert predict(rows).shape == expected.shape


@pytest.mark.skipif(CC is None, reason="no C compiler")
@over_models
def test_a_c_file_gives_what_the_model_does(name, tmp_path):
    fitted = MODELS[name]()
    to_c(fitted, tmp_path / "model.c")
    expected = expected_of(fitted, X).reshape(N, -1)
    found = c_results(tmp_path / "model.c", X, expected.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_an_encoder_in_a_pipeline(tmp_path):
    pipeline = make_pipeline(encoder(), MLPClassifier((9,), max_iter=5, random_state=0)).fit(X, CLASSES)
    expected = pipeline.predict_proba(X)
    np.testing.assert_allclose(predictor(pipeline)(X), expected, atol=1e-6)
    to_c(pipeline, tmp_path / "model.c")
    np.testing.assert_allclose(c_results(tmp_path / "model.c", X, 3), expected, atol=2e-5)


# --- what is refused --------------------------------------------------------------------------------------------------


def table(column):
    rows = np.empty((60, 2), object)
    rows[:, 0], rows[:, 1] = np.arange(60) % 7, column
    return rows


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            np.array(["Oslo", "Rome", "Bonn"] * 20, object),
            "predictor takes rows of numbers: column 'x1' holds 'Bonn'; code",
        ),
        (
            np.datetime64("2020-01-01") + np.arange(60).astype("m8[D]") * 9,
            "predictor takes rows of numbers: column 'x1' holds dates; give them as numbers",
        ),
    ],
)
def test_columns_that_are_no_numbers(column, message):
    rows = table(list(column))
    fitted = TabularClassifier(preset="fast", max_epochs=2, random_state=0, n_threads=1).fit(rows, np.arange(60) % 2)
    with pytest.raises(ValueError, match=message):
        predictor(fitted)


def test_levels_that_single_precision_does_not_tell_apart():
    rows = np.column_stack([X[:60, 1], 2.0**25 + np.arange(60) % 3])
    fitted = TableEncoder([1]).fit(rows)
    with pytest.raises(ValueError, match="to_c compares levels in single precision: two of column 'x1' are equal"):
        Encode(fitted, "to_c")


def test_models_and_rows_that_are_refused():
    with pytest.raises(NotFittedError):
        predictor(TabularClassifier())
    predict = predictor(MODELS["classes"]())
    with pytest.raises(ValueError, match=r"X must have the shape \(7,\) or \(n_rows, 7\); got \(2, 3\)"):
        predict(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="got infinity"):
        predict(np.full((2, 7), np.inf))
    with pytest.raises(TypeError, match="X must be an ndarray of float32 or float64; got list"):
        predict([[1.0] * 7])
