"""exp, log and their kin against wider arithmetic: float32 against NumPy's float64, float64 against mpmath."""

import functools

import mpmath
import numpy as np
import pytest
import scipy.special
from numba import njit

from fastmlp.machine import elementary
from fastmlp.machine.jit import FASTMATH
from fastmlp.machine.simd import lanes_of, load, store

pytestmark = pytest.mark.width

DTYPES = (np.float32, np.float64)
# name: (largest error in ulp, lower end of the domain, truth for float32, truth for float64)
FUNCTIONS = {
    "exp": (2, -np.inf, np.exp, mpmath.exp),
    "expm1": (4, -np.inf, np.expm1, mpmath.expm1),
    "log": (2, 0, np.log, mpmath.log),
    "log1p": (4, -1, np.log1p, mpmath.log1p),
    "tanh": (4, -np.inf, np.tanh, mpmath.tanh),
    "logistic": (4, -np.inf, scipy.special.expit, lambda x: 1 / (1 + mpmath.exp(-x))),
    "erf": (4.5, -np.inf, scipy.special.erf, mpmath.erf),  # above 4 only in float64 without fused multiply-add
}
INF, NAN = np.inf, np.nan
EDGES = {
    "exp": [(0, 1), (INF, INF), (-INF, 0), (1000, INF), (-1000, 0)],
    "expm1": [(0, 0), (INF, INF), (-INF, -1), (1000, INF), (-1000, -1)],
    "log": [(1, 0), (0, -INF), (-0.0, -INF), (-1, NAN), (-INF, NAN), (INF, INF)],
    "log1p": [(0, 0), (-1, -INF), (-1.5, NAN), (-INF, NAN), (INF, INF)],
    "tanh": [(0, 0), (INF, 1), (-INF, -1), (1000, 1), (-1000, -1)],
    "logistic": [(0, 0.5), (INF, 1), (-INF, 0), (1000, 1), (-1000, 0)],
    "erf": [(0, 0), (INF, 1), (-INF, -1), (1000, 1), (-1000, -1)],
}

over_functions = pytest.mark.parametrize("name", FUNCTIONS)
over_dtypes = pytest.mark.parametrize("dtype", DTYPES)


@functools.cache
def loop_over(function):
    @njit(fastmath=FASTMATH, error_model="numpy")
    def apply(x, out):
        for i in range(0, x.size, lanes_of(x)):
            store(out, i, function(load(x, i)))

    return apply


def evaluate(function, x):
    """`function` of every element of `x`, whose length need not be a whole number of vectors."""
    padded = np.resize(x, -(-x.size // 16) * 16)
    out = np.full_like(padded, np.nan)
    loop_over(function)(padded, out)
    return out[: x.size]


def samples(dtype, above=-np.inf):
    """Finite numbers above `above`: of all magnitudes, and densely where the functions bend."""
    bits, each = (np.uint32, 2**19) if dtype == np.float32 else (np.uint64, 2**9)
    span = 2 ** (8 * np.dtype(bits).itemsize)
    everywhere = np.arange(0, span, span // (2 * each) + 1, dtype=bits).view(dtype)
    ranges = [(-1, 1), (0.3, 3), (-20, 20), (-105, 90), (-750, 710)]
    x = np.concatenate([everywhere, *(np.linspace(*ends, each, dtype=dtype) for ends in ranges)])
    return x[np.isfinite(x) & (x > above)]


def wide(name, x):
    """True values: float64 for float32, mpmath's numbers of 100 bits for float64."""
    _, _, for_single, for_double = FUNCTIONS[name]
    with np.errstate(all="ignore"), mpmath.workprec(100):
        if x.dtype == np.float32:
            return for_single(x.astype(np.float64))
        return np.array([for_double(mpmath.mpf(value)) for value in x.tolist()])


@over_dtypes
@over_functions
def test_error_in_ulp_stays_within_bound(name, dtype):
    bound, above, *_ = FUNCTIONS[name]
    x = samples(dtype, above)
    got, true = evaluate(getattr(elementary, name), x), wide(name, x)
    with np.errstate(over="ignore"):
        rounded = true.astype(dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    got, true, ulp = got[finite], true[finite], np.spacing(np.abs(rounded[finite]))
    error = (np.abs(got.astype(true.dtype) - true) / ulp.astype(true.dtype)).astype(float)
    worst = np.argmax(error)
    assert error[worst] <= bound, f"{error[worst]:.2f} ulp at {x[finite][worst]!r}"


@over_dtypes
@over_functions
def test_edges(name, dtype):
    x, expected = np.array(EDGES[name], dtype).T
    np.testing.assert_array_equal(evaluate(getattr(elementary, name), np.ascontiguousarray(x)), expected)


@over_dtypes
@over_functions
def test_nan_comes_through(name, dtype):
    x = np.array([np.nan, 0.5], dtype)
    np.testing.assert_array_equal(np.isnan(evaluate(getattr(elementary, name), x)), [True, False])


@over_dtypes
@pytest.mark.parametrize(("name", "low"), [("tanh", -1), ("erf", -1), ("logistic", 0)])
def test_sigmoids_stay_between_their_limits(name, low, dtype):
    x = np.concatenate([samples(dtype), np.linspace(-40, 40, 2**18, dtype=dtype)])
    y = evaluate(getattr(elementary, name), x)
    assert y.min() == low
    assert y.max() == 1


@over_dtypes
@pytest.mark.parametrize("degree", [0, 1, 4, 5, 8])
def test_polynomial(degree, dtype):
    single, double = np.arange(1.0, degree + 2), np.arange(2.0, degree + 3)
    x = np.linspace(-1.5, 1.5, 32, dtype=dtype)
    coefficients = single if dtype == np.float32 else double
    expected = np.polynomial.polynomial.polyval(x.astype(np.float64), coefficients)
    got = evaluate(elementary.polynomial(single.tolist(), double.tolist()), x)
    np.testing.assert_allclose(got, expected, rtol=1e-4 if dtype == np.float32 else 1e-13)
