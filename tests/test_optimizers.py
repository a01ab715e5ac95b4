"""Every optimizer of the table: formulas against steps by hand and scikit-learn, vector functions against formulas."""

import math

import numpy as np
import pytest
from numba import njit

from fastmlp import optimizers
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.simd import lanes_of, load, store
from fastmlp.optimizers import OPTIMIZERS, Rates, Settings, effective_learning_rate

pytestmark = pytest.mark.width

SIZE = 320
GRADIENTS = [0.5, -2.0, 0.125]
over_optimizers = pytest.mark.parametrize("name", OPTIMIZERS)
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@njit(**OPTIONS)
def apply_to_all(code, g, w, first, second, rates):
    for i in range(0, g.size, lanes_of(g)):
        new = optimizers.apply(code, load(g, i), load(w, i), load(first, i), load(second, i), rates)
        store(w, i, new[0])
        store(first, i, new[1])
        store(second, i, new[2])


@njit(**OPTIONS)
def compiled_rate(code, settings, step):
    return effective_learning_rate(code, settings, step)


def rates_of(name, settings, step, dtype=np.float64):
    """The numbers of one step on a batch whose gradient is given."""
    rate = effective_learning_rate.py_func(OPTIMIZERS[name].code, settings, step)
    betas = settings.beta_1, settings.beta_2, 1 - settings.beta_1, 1 - settings.beta_2
    return Rates(*map(dtype, (rate, settings.momentum, *betas, settings.epsilon, 0, 1)))


def trajectory(name, gradients, settings, w=1.0):
    """The weight after each step by the formula."""
    weight, first, second = np.array([w]), np.zeros(1), np.zeros(1)
    weights = []
    for step, g in enumerate(gradients, 1):
        rates = rates_of(name, settings, step)
        weight, first, second = OPTIMIZERS[name].formula(np.array([g]), weight, first, second, rates)
        weights.append(weight[0])
    return weights


def test_codes_are_the_rows_of_the_table():
    assert [word.code for word in OPTIMIZERS.values()] == list(range(len(OPTIMIZERS)))


# --- formulas ---------------------------------------------------------------------------------------------------------


def test_sgd_by_hand():
    # v = -0.05, -0.025 + 0.2 = 0.175, 0.0875 - 0.0125 = 0.075
    weights = trajectory("sgd", GRADIENTS, Settings(0.1, momentum=0.5))
    np.testing.assert_allclose(weights, [0.95, 1.125, 1.2])


def test_nesterov_by_hand():
    # the same v; each step is v / 2 - 0.1 g: -0.075, 0.2875, 0.025
    weights = trajectory("nesterov", GRADIENTS, Settings(0.1, momentum=0.5))
    np.testing.assert_allclose(weights, [0.925, 1.2125, 1.2375])


def test_adam_by_hand():
    settings = Settings(0.1, beta_1=0.5, beta_2=0.75, epsilon=0.25)
    # m = 0.25, -0.875, -0.375; v = 0.0625, 1.046875, 0.7890625; the rate times √(1 - 0.75ᵗ) / (1 - 0.5ᵗ)
    steps = [
        0.1 * math.sqrt(0.25) / 0.5 * 0.25 / (0.25 + 0.25),
        0.1 * math.sqrt(0.4375) / 0.75 * -0.875 / (math.sqrt(1.046875) + 0.25),
        0.1 * math.sqrt(0.578125) / 0.875 * -0.375 / (math.sqrt(0.7890625) + 0.25),
    ]
    np.testing.assert_allclose(trajectory("adam", GRADIENTS, settings), 1 - np.cumsum(steps))


def test_gradient_only_remembers():
    g, w = np.array([3.0]), np.array([1.0])
    rates = rates_of("gradient", Settings(0.1), 1)
    np.testing.assert_array_equal(OPTIMIZERS["gradient"].formula(g, w, w * 7, w * 8, rates), [[1], [3], [8]])


def scikit_learns(name, settings, w):
    """scikit-learn's optimizer with the same settings, working on `w` in place."""
    module = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    if name == "adam":
        betas = settings.beta_1, settings.beta_2, settings.epsilon
        return module.AdamOptimizer([w], settings.learning_rate, *betas)
    rate, nesterov = settings.learning_rate, name == "nesterov"
    return module.SGDOptimizer([w], rate, momentum=settings.momentum, nesterov=nesterov)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam"])
def test_steps_are_scikit_learns(name):
    random = np.random.default_rng(0)
    settings = Settings(0.01, momentum=0.8, beta_1=0.85, beta_2=0.98, epsilon=1e-6)
    theirs = random.normal(size=SIZE)
    ours, first, second = theirs.copy(), np.zeros(SIZE), np.zeros(SIZE)
    optimizer = scikit_learns(name, settings, theirs)
    for step in range(1, 21):
        g = random.normal(size=SIZE)
        optimizer.update_params([theirs], [g])
        ours, first, second = OPTIMIZERS[name].formula(g, ours, first, second, rates_of(name, settings, step))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


@over_optimizers
def test_no_gradient_no_step(name):
    w, zeros = np.linspace(-2, 2, 5), np.zeros(5)
    new = OPTIMIZERS[name].formula(zeros, w, zeros, zeros, rates_of(name, Settings(0.1), 1))
    np.testing.assert_array_equal(new, [w, zeros, zeros])


# --- on numbers and vectors -------------------------------------------------------------------------------------------


@over_optimizers
def test_compiled_learning_rate(name):
    code, settings = OPTIMIZERS[name].code, Settings(0.1)
    for step in (1, 2, 1000, 10**9):
        expected = effective_learning_rate.py_func(code, settings, step)
        assert compiled_rate(code, settings, step) == pytest.approx(expected, rel=1e-15)
    assert expected == 0.1  # Adam's correction fades


@over_dtypes
@over_optimizers
def test_vector_function_is_the_formula(name, dtype):
    random = np.random.default_rng(0)
    state = [random.normal(size=SIZE).astype(dtype), *np.zeros((2, SIZE), dtype)]
    expected = [array.astype(np.float64) for array in state]
    for step in range(1, 6):
        g = random.normal(size=SIZE).astype(dtype)
        rates = rates_of(name, Settings(0.1), step, dtype)
        apply_to_all(OPTIMIZERS[name].code, g, *state, rates)
        expected = OPTIMIZERS[name].formula(g.astype(np.float64), *expected, Rates(*map(float, rates)))
        for got, true in zip(state, expected):
            np.testing.assert_allclose(got, true, rtol=0, atol=16 * np.finfo(dtype).eps * np.abs(true).max())


@over_dtypes
@over_optimizers
def test_formula_keeps_the_dtype(name, dtype):
    ones = np.ones(3, dtype)
    new = OPTIMIZERS[name].formula(ones, ones, ones, ones, rates_of(name, Settings(0.1), 1, dtype))
    assert [array.dtype for array in new] == [dtype] * 3


@over_dtypes
@over_optimizers
def test_nan_comes_through(name, dtype):
    """It ends in the weight, or in what an optimizer that takes no step keeps."""
    g = np.zeros(16, dtype)
    g[3] = np.nan
    state = [np.ones(16, dtype), np.zeros(16, dtype), np.zeros(16, dtype)]
    apply_to_all(OPTIMIZERS[name].code, g, *state, rates_of(name, Settings(0.1), 1, dtype))
    np.testing.assert_array_equal(np.isnan(state[:2]).any(axis=0), np.isnan(g))
