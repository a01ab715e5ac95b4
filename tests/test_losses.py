"""Every loss of the table: delta by finite differences, the vector functions against the formulas."""

import numpy as np
import pytest
from numba import njit
from sklearn import metrics

from fastmlp import losses
from fastmlp.losses import LOSSES
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.simd import lanes_of, load, store

pytestmark = pytest.mark.width

OUTPUTS = 4
ELEMENTWISE = [name for name, loss in LOSSES.items() if not loss.codes]
MODERATE = np.linspace(-8, 8, 321)
LARGE = np.array([-1e30, -1e4, -80, -50, 50, 80, 1e4, 1e30])
over_losses = pytest.mark.parametrize("name", LOSSES)
over_elementwise = pytest.mark.parametrize("name", ELEMENTWISE)
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@njit(**OPTIONS)
def apply_to_all(code, z, t, loss, delta):
    for i in range(0, z.size, lanes_of(z)):
        value, derivative = losses.apply(code, load(z, i), load(t, i))
        store(loss, i, value)
        store(delta, i, derivative)


@njit(**OPTIONS)
def predict_all(code, z, y):
    for i in range(0, z.size, lanes_of(z)):
        store(y, i, losses.predict(code, load(z, i)))


@njit(**OPTIONS)
def clipped_logs(x, out):
    for i in range(0, x.size, lanes_of(x)):
        store(out, i, losses.clipped_log(load(x, i)))


def whole_vectors(x):
    return np.resize(x, -(-x.size // 16) * 16)


def on_vectors(name, z, t):
    """(loss, delta) of every single output by the vector functions."""
    code = LOSSES[name].code
    loss, delta = (np.full_like(whole_vectors(z), 7) for _ in range(2))
    apply_to_all(code, whole_vectors(z), whole_vectors(t), loss, delta)
    return loss[: z.size] * losses.scale.py_func(code, 1), delta[: z.size]


def formula(name, z, t):
    """(loss, delta) of rows of one output by the formula."""
    with np.errstate(over="ignore", invalid="ignore"):
        loss, delta = LOSSES[name].formula(z[:, None], t[:, None])
    return loss, delta[:, 0]


def rows(name, dtype=np.float64):
    """z and targets that every loss accepts: codes, or numbers that are 0 or 1."""
    random = np.random.default_rng(0)
    z = (3 * random.normal(size=(50, OUTPUTS))).astype(dtype)
    t = random.integers(0, OUTPUTS, 50) if LOSSES[name].codes else random.integers(0, 2, z.shape).astype(dtype)
    return z, t


def test_codes_are_the_rows_of_the_table():
    assert [word.code for word in LOSSES.values()] == list(range(len(LOSSES)))


# --- formulas ---------------------------------------------------------------------------------------------------------


@over_losses
def test_delta_is_the_derivative(name):
    z, t = rows(name)
    h, scale = 1e-6, losses.scale.py_func(LOSSES[name].code, OUTPUTS)
    delta = LOSSES[name].formula(z, t)[1]
    for k in range(OUTPUTS):
        step = h * (np.arange(OUTPUTS) == k)
        difference = LOSSES[name].formula(z + step, t)[0] - LOSSES[name].formula(z - step, t)[0]
        np.testing.assert_allclose(delta[:, k] * scale, difference / (2 * h), rtol=1e-6, atol=1e-7)


@over_losses
def test_delta_is_prediction_less_target(name):
    z, t = rows(name)
    target = np.eye(OUTPUTS)[t] if LOSSES[name].codes else t
    np.testing.assert_allclose(LOSSES[name].formula(z, t)[1], LOSSES[name].prediction(z) - target, atol=1e-15)


@over_dtypes
@over_losses
def test_formula_keeps_the_dtype(name, dtype):
    z, t = rows(name, dtype)
    loss, delta = LOSSES[name].formula(z, t)
    assert loss.shape == (len(z),)
    assert delta.shape == z.shape
    assert {loss.dtype, delta.dtype, LOSSES[name].prediction(z).dtype} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("name", "metric", "factor"),
    [
        ("softmax_log_loss", lambda t, y: metrics.log_loss(t, y, labels=range(OUTPUTS)), 1),
        ("logistic_log_loss", lambda t, y: sum(map(metrics.log_loss, t.T, y.T)), 1),
        ("squared_error", metrics.mean_squared_error, 0.5),
        ("poisson", lambda t, y: sum(map(metrics.mean_poisson_deviance, t.T, y.T)), 0.5),
    ],
)
def test_mean_loss_is_scikit_learns_metric(name, metric, factor):
    z, t = rows(name)
    mean = LOSSES[name].formula(z, t)[0].mean()
    assert mean == pytest.approx(factor * metric(t, LOSSES[name].prediction(z)), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "z", "t", "loss", "delta"),
    [
        ("softmax_log_loss", [0, 0], 1, np.log(2), [0.5, -0.5]),
        ("softmax_log_loss", [0, np.log(3)], 0, np.log(4), [-0.75, 0.75]),
        ("logistic_log_loss", [0, np.log(3)], [1, 0], np.log(2) + np.log(4), [-0.5, 0.75]),
        ("squared_error", [1, -1], [0, 2], (1 + 9) / 4, [1, -3]),
        ("poisson", [0, np.log(2)], [0, 2], 1, [1, 0]),
        ("poisson", [0, 0], [2, 1], 2 * np.log(2) - 1, [-1, 0]),
    ],
)
def test_known_values(name, z, t, loss, delta):
    t = np.array([t]) if LOSSES[name].codes else np.array([t], np.float64)
    got = LOSSES[name].formula(np.array([z], np.float64), t)
    np.testing.assert_allclose(got[0], [loss], atol=1e-15)
    np.testing.assert_allclose(got[1], [delta], atol=1e-15)


@over_dtypes
@pytest.mark.parametrize("name", ["softmax_log_loss", "logistic_log_loss"])
def test_a_hopeless_prediction_has_a_finite_loss(name, dtype):
    z = np.array([[1e4, -1e4]], dtype)
    t = np.array([1]) if LOSSES[name].codes else np.array([[0, 1]], dtype)
    loss, delta = LOSSES[name].formula(z, t)
    outputs = 1 if LOSSES[name].codes else 2
    np.testing.assert_allclose(loss, -np.log(np.finfo(dtype).eps) * outputs, rtol=1e-6)
    np.testing.assert_array_equal(delta, [[1, -1]])


# --- on vectors -------------------------------------------------------------------------------------------------------


@over_dtypes
@over_elementwise
@pytest.mark.parametrize("target", [0, 1])
def test_vector_function_is_the_formula(name, target, dtype):
    z, t = MODERATE.astype(dtype), np.full(MODERATE.size, target, dtype)
    error = 1e-5 if dtype == np.float32 else 1e-11
    expected = formula(name, z.astype(np.float64), t.astype(np.float64))
    for got, true in zip(on_vectors(name, z, t), expected):
        np.testing.assert_allclose(got, true, rtol=error, atol=8 * np.finfo(dtype).eps)


@over_dtypes
@pytest.mark.parametrize("name", ["squared_error", "poisson"])
def test_vector_function_of_counts_is_the_formula(name, dtype):
    random = np.random.default_rng(0)
    z, t = random.normal(size=320).astype(dtype), random.poisson(3, 320).astype(dtype)
    expected = formula(name, z.astype(np.float64), t.astype(np.float64))
    for got, true in zip(on_vectors(name, z, t), expected):
        np.testing.assert_allclose(got, true, rtol=0, atol=200 * np.finfo(dtype).eps)


@over_dtypes
@over_elementwise
@pytest.mark.parametrize("target", [0, 1])
def test_vector_function_of_large_numbers(name, target, dtype):
    """No NaN or infinity where the formula has none."""
    z, t = LARGE.astype(dtype), np.full(LARGE.size, target, dtype)
    for got, true in zip(on_vectors(name, z, t), formula(name, z, t)):
        known = ~np.isnan(true)
        np.testing.assert_allclose(got[known], true[known], rtol=1e-5, atol=np.finfo(dtype).eps)


@over_dtypes
@over_elementwise
def test_nan_comes_through(name, dtype):
    z, t = np.array([0.5, np.nan, -0.5, 2.0], dtype), np.array([1, 1, 0, 0], dtype)
    for loss, delta in (on_vectors(name, z, t), formula(name, z, t)):
        np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False])
        np.testing.assert_array_equal(np.isnan(delta), [False, True, False, False])


@over_dtypes
@over_elementwise
def test_prediction_on_vectors(name, dtype):
    z = np.concatenate([MODERATE, LARGE, [np.nan]]).astype(dtype)
    y = np.full_like(whole_vectors(z), 7)
    predict_all(LOSSES[name].code, whole_vectors(z), y)
    with np.errstate(over="ignore"):
        expected = LOSSES[name].prediction(z.astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(y[: z.size], expected, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


@over_dtypes
def test_clipped_log(dtype):
    epsilon = np.finfo(dtype).eps
    p = np.array([0, epsilon / 4, epsilon, 0.25, 0.5, 1], np.float64)
    with np.errstate(divide="ignore"):
        x = np.append(np.log(p), np.nan).astype(dtype)
    out = np.full_like(whole_vectors(x), 7)
    clipped_logs(whole_vectors(x), out)
    expected = np.append(np.log(np.clip(p, epsilon, 1 - epsilon)), np.nan)
    np.testing.assert_allclose(out[: x.size], expected, rtol=4 * epsilon)
