"""Every activation of the table: its slope by finite differences, its vector function against its formula."""

import numpy as np
import pytest
from numba import njit

from fastmlp import activations
from fastmlp.activations import ACTIVATIONS
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.simd import lanes_of, load, store

pytestmark = pytest.mark.width

INF, NAN = np.inf, np.nan
POINTS = np.linspace(-12, 12, 480)  # none at a kink
HARD = [0.0, -0.0, 1e-40, -1e-40, 30, -30, 100, -100, 1e4, -1e4, 1e30, -1e30, INF, -INF]
over_activations = pytest.mark.parametrize("name", ACTIVATIONS)
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@njit(**OPTIONS)
def apply_to_all(code, z, y, slope):
    for i in range(0, z.size, lanes_of(z)):
        value, derivative = activations.apply(code, load(z, i))
        store(y, i, value)
        store(slope, i, derivative)


def on_vectors(name, z):
    """(f(z), f'(z)) by the vector function."""
    padded = np.resize(z, -(-z.size // 16) * 16)
    y, slope = np.full_like(padded, 7), np.full_like(padded, 7)
    apply_to_all(ACTIVATIONS[name].code, padded, y, slope)
    return y[: z.size], slope[: z.size]


def test_codes_are_the_rows_of_the_table():
    assert [word.code for word in ACTIVATIONS.values()] == list(range(len(ACTIVATIONS)))


@over_activations
def test_slope_is_the_derivative(name):
    formula, h = ACTIVATIONS[name].formula, 1e-6
    differences = (formula(POINTS + h)[0] - formula(POINTS - h)[0]) / (2 * h)
    np.testing.assert_allclose(formula(POINTS)[1], differences, rtol=0, atol=1e-8)


@over_dtypes
@over_activations
def test_formula_keeps_the_dtype(name, dtype):
    assert [array.dtype for array in ACTIVATIONS[name].formula(POINTS.astype(dtype))] == [dtype, dtype]


@over_dtypes
@over_activations
@pytest.mark.parametrize("points", ["ordinary", "hard"])
@pytest.mark.filterwarnings("ignore:overflow")
def test_vector_function_is_the_formula(name, points, dtype):
    z = np.array(POINTS if points == "ordinary" else HARD, dtype)
    expected = ACTIVATIONS[name].formula(z.astype(np.float64))
    error = 8 * np.finfo(dtype).eps
    for got, true in zip(on_vectors(name, z), expected):
        np.testing.assert_allclose(got, true.astype(dtype), rtol=error, atol=error)


@over_dtypes
@over_activations
def test_nan_comes_through(name, dtype):
    z = np.array([0.5, NAN, -0.5, 2.0], dtype)
    for y, _ in (on_vectors(name, z), ACTIVATIONS[name].formula(z)):
        np.testing.assert_array_equal(np.isnan(y), [False, True, False, False])


@pytest.mark.parametrize(
    ("name", "z", "y", "slope"),
    [
        ("identity", -3, -3, 1),
        ("logistic", 0, 0.5, 0.25),
        ("logistic", np.log(3), 0.75, 0.1875),
        ("tanh", 0, 0, 1),
        ("tanh", np.log(2), 0.6, 0.64),
        ("relu", 2, 2, 1),
        ("relu", -2, 0, 0),
        ("relu", 0, 0, 0),
    ],
)
def test_known_values(name, z, y, slope):
    z = np.array([z], np.float64)
    for got in (ACTIVATIONS[name].formula(z), on_vectors(name, z)):
        np.testing.assert_allclose(np.ravel(got), [y, slope], rtol=1e-15, atol=1e-15)
