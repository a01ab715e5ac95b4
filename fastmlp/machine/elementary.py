"""exp, expm1, log, log1p, tanh, logistic and erf of a `Vector`: no tables, no branches, at most one division.

float32 and float64 go the same way with other constants, which `by_dtype` and `polynomial` choose for each.
NaN in gives NaN out. The errors below are the largest ones found, in units in the last place (ulp) of the true value,
denormal numbers included; where two are given, the second is that of a processor without fused multiply-add.

The polynomials are minimax fits of our own, made with 70 digits: Lawson's reweighted least squares and, for quotients,
Sanathanan and Koerner's linearization. What surrounds them is published; each docstring says where.
"""

import math

from .simd import (
    FLAGS,
    absolute,
    bits_of,
    by_dtype,
    call,
    constant,
    copysign,
    fma,
    full_like,
    maximum,
    minimum,
    operation,
    real_of_bits,
    suffix,
    traced,
    where,
)


def polynomial(single, double):
    """The function c0 + c1 x + c2 x² + ... of a vector, given its coefficients for float32 and for float64.

    Horner's rule; a long polynomial is E(x²) + x O(x²), two chains half as long, which run side by side.
    """

    def emit(builder, vector, x):
        coefficients = single if vector.dtype.bitwidth == 32 else double

        def multiply_add(*factors_and_term):
            return call(builder, f"llvm.fmuladd.{suffix(vector)}", vector.llvm, *factors_and_term)

        def horner(variable, coefficients):
            *lower, value = (constant(vector, c) for c in coefficients)
            for c in reversed(lower):
                value = multiply_add(value, variable, c)
            return value

        if len(coefficients) < 6:
            return horner(x, coefficients)
        square = builder.fmul(x, x, flags=FLAGS)
        odd = horner(square, coefficients[1::2])
        return multiply_add(odd, x, horner(square, coefficients[::2]))

    return operation(emit)(lambda x: None)


_MANTISSA_BITS = by_dtype(23, 52)
_BIAS = by_dtype(127, 1023)
# ln 2 = high + low. `high` ends in zeros, so that n high is exact for every exponent n (Cephes; fdlibm).
_LN2_HIGH = by_dtype(0.693359375, 6.93147180369123816490e-01)
_LN2_LOW = by_dtype(-2.12194440e-4, 1.90821492927058770002e-10)


# --- exponentials -----------------------------------------------------------------------------------------------------

# exp is 0 below the first and infinite above the second.
_LOWEST = by_dtype(-104.0, -746.0)
_HIGHEST = by_dtype(89.0, 710.0)
# Added to 1.5 2^23, a small number is rounded to a whole one, which stands in the low bits of the sum. With twice the
# bias on top these bits are the sum of two biased exponents.
_ROUNDER = by_dtype(1.5 * 2.0**23 + 2 * 127, 1.5 * 2.0**52 + 2 * 1023)
# (eʳ - 1 - r) / r² on |r| <= ln(2) / 2; error of eʳ - 1 1.3e-8 and 1.8e-17.
_EXP_TAIL = polynomial(
    [0.499999981, 0.166665431, 0.0416672021, 0.00836659641, 0.00138825269],
    [
        0.50000000000000053,
        0.16666666666666586,
        0.041666666666575717,
        0.0083333333333902741,
        0.0013888888931894684,
        1.9841269718567174e-4,
        2.4801504880105716e-5,
        2.7557407236698041e-6,
        2.7626195466847853e-7,
        2.5054064792339725e-8,
    ],
)


def _reduced(x):
    """eʳ - 1, and n + 2 bias in the low bits of integers: x = n ln 2 + r, |r| <= ln(2) / 2 (Cody and Waite)."""
    rounded = fma(x, 1.4426950408889634, _ROUNDER(x))
    n = rounded - _ROUNDER(x)
    r = fma(n, -_LN2_LOW(x), fma(n, -_LN2_HIGH(x), x))
    return fma(r * r, _EXP_TAIL(r), r), bits_of(rounded)


@traced
def exp(x):
    """eˣ = 2ⁿ eʳ, where x = n ln 2 + r.

    The factor 2ⁿ is applied in two halves, the second of which alone can round: denormal results are right.

    Source: Cody and Waite, "Software Manual for the Elementary Functions" (1980), chapter 6; Cephes, exp.c.
    Error: 1.1 ulp in float32, 1.1 in float64.
    """
    q, n = _reduced(minimum(maximum(x, _LOWEST(x)), _HIGHEST(x)))
    half = n >> 1
    scale = real_of_bits(half << _MANTISSA_BITS(n))
    return fma(q, scale, scale) * real_of_bits((n - half) << _MANTISSA_BITS(n))


@traced
def expm1(x):
    """eˣ - 1 = 2 (2ⁿ⁻¹ (eʳ - 1) + (2ⁿ⁻¹ - 1/2)), where x = n ln 2 + r.

    Half of the result is computed, for 2ⁿ may overflow before it; halves of denormal numbers would lose a bit.

    Source: fdlibm, s_expm1.c.
    Error: 1.8 ulp in float32, 2.5 in float64.
    """
    q, n = _reduced(minimum(maximum(x, -38.0), _HIGHEST(x)))
    scale = real_of_bits((n - _BIAS(n) - 1) << _MANTISSA_BITS(n))
    half = fma(q, scale, scale - 0.5)
    return where(absolute(x) < 1e-30, x, half + half)


@traced
def logistic(x):
    """1 / (1 + e⁻ˣ), for x < 0 as eˣ / (1 + eˣ).

    Source: Cody and Waite for the exponential.
    Error: 2.5 ulp in float32, 2.5 in float64.
    """
    e = exp(-absolute(x))
    return where(x < 0, e, 1.0) / (e + 1)


# --- logarithms -------------------------------------------------------------------------------------------------------

_SMALLEST_NORMAL = by_dtype(2.0**-126, 2.0**-1022)
_MANTISSA = by_dtype(2**23 - 1, 2**52 - 1)
# A whole number below 2^23 in the low bits of 2^23 is their sum.
_WHOLE = by_dtype(2.0**23, 2.0**52)
_WHOLE_AND_BIAS = by_dtype(2.0**23 + 127, 2.0**52 + 1023)
# (ln((1 + s) / (1 - s)) - 2 s) / s³ as a polynomial in s², |s| <= 0.1716; error of the logarithm 8.1e-10 and 1.3e-18.
_LOG_TAIL = polynomial(
    [0.666667765, 0.399775135, 0.298727021],
    [
        0.66666666666667347,
        0.3999999999941216,
        0.28571428743024312,
        0.22222198500133506,
        0.18183568522139598,
        0.1531393310368083,
        0.1479722373908855,
    ],
)


def _split(x):
    """m and n of x = 2ⁿ m with √½ <= m < √2, for normal x > 0."""
    root_half = bits_of(full_like(x, math.sqrt(0.5)))
    bits = bits_of(x) + (bits_of(full_like(x, 1.0)) - root_half)
    n = real_of_bits((bits >> _MANTISSA_BITS(bits)) | bits_of(_WHOLE(x))) - _WHOLE_AND_BIAS(x)
    return real_of_bits((bits & _MANTISSA(bits)) + root_half), n


def _log(f, n):
    """ln(2ⁿ (1 + f)) = n ln 2 + f - s (f - R(s²)), where s = f / (2 + f)."""
    s = f / (f + 2)
    z = s * s
    correction = s * fma(-z, _LOG_TAIL(z), f)
    return fma(n, _LN2_HIGH(f), f - fma(n, -_LN2_LOW(f), correction))


def _at_the_edges(x, y):
    """`y` = ln x, corrected where x is 0, negative, infinite or NaN."""
    y = where(x > 0, y, where(x == 0, -math.inf, full_like(x, math.nan)))
    return where(x == math.inf, x, y)


@traced
def log(x):
    """ln x = n ln 2 + ln m, where x = 2ⁿ m and m is near 1.

    Source: fdlibm, e_log.c.
    Error: 1.0 ulp in float32, 1.0 in float64.
    """
    denormal = x < _SMALLEST_NORMAL(x)
    m, n = _split(where(denormal, x * 2.0**60, x))
    return _at_the_edges(x, _log(m - 1, where(denormal, n - 60, n)))


@traced
def log1p(x):
    """ln(1 + x) = n ln 2 + ln(m + 2⁻ⁿ c), where 1 + x = 2ⁿ m + c and c is what rounding 1 + x lost.

    Source: fdlibm, s_log1p.c. 2⁻ⁿ is m / (1 + x), but not below the smallest normal number: there c is 0.
    Error: 1.6 ulp in float32, 1.5 in float64.
    """
    u = x + 1
    m, n = _split(u)
    scale = maximum(bits_of(m) - bits_of(u) + bits_of(full_like(x, 1.0)), bits_of(_SMALLEST_NORMAL(x)))
    return _at_the_edges(u, _log(fma(x - (u - 1), real_of_bits(scale), m - 1), n))


# --- sigmoids ---------------------------------------------------------------------------------------------------------


def _doubled(p, q):
    """2 t / (1 + t²), where t = p / q: for t = tanh(x/2) it is tanh x. Errors of t fade as the result comes near 1."""
    return minimum((p + p) * q / fma(q, q, p * p), 1.0)


# From here on tanh is 1, and at this very point the quotient gives 1 (with a fused multiply-add and without). Error of
# the quotient in tanh: 7.4e-9 and 1.4e-18. P(0) near 0.92 puts the mantissas of Q and Q² just below 2, where rounding
# costs least: with P(0) = 1 tanh is 1.5 ulp worse.
_TANH_END = by_dtype(9.02, 19.07)
_TANH_P = polynomial(
    [0.92, 0.0273951762, 1.05183649e-4],
    [
        0.925,
        0.033752113963237382,
        2.9577778424837851e-4,
        9.1026904924006664e-7,
        1.0460573833824892e-9,
        3.7773922961556296e-13,
        1.918231628267761e-17,
    ],
)
_TANH_Q = polynomial(
    [1.84, 0.208123624, 0.00222073459, 2.26428235e-6],
    [
        1.85,
        0.22167089459314141,
        0.0036474634512585809,
        1.8538212030335609e-5,
        3.5050119327274592e-8,
        2.3529695552023462e-11,
        3.8766569022316158e-15,
    ],
)


@traced
def tanh(x):
    """(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ) = 2 t / (1 + t²), where t = tanh(x/2) = x P(x²) / Q(x²).

    Source: our own; a quotient for tanh itself, as in Eigen, needs a higher degree and loses more to rounding.
    Error: 3.2 ulp (3.5) in float32, 3.6 (4.0) in float64.
    """
    a = minimum(absolute(x), _TANH_END(x))
    s = a * a
    return copysign(_doubled(a * _TANH_P(s), _TANH_Q(s)), x)


# As for tanh. Error of the quotient in erf: 2.2e-8 and 2.1e-17.
_ERF_END = by_dtype(3.924, 5.925)
_ERF_P = polynomial(
    [0.493101709, 0.0927059512, 0.0106628065, 5.78846286e-4, -2.4014811e-6],
    [
        0.49248108747883645,
        0.15072069849006153,
        0.041605659675940175,
        0.0059411688779127537,
        7.6991854123167396e-4,
        5.9147981357781982e-5,
        4.4334093253605605e-6,
        1.819796524790684e-7,
        7.9645130102031819e-9,
        1.5934037609422929e-10,
        3.8871802596040715e-12,
        7.9608629166775651e-15,
    ],
)
_ERF_Q = polynomial(
    [0.874, 0.177448232, 0.0352548228, 0.00320063009, 2.806598e-5],
    [
        0.8729,
        0.28025944946671176,
        0.091630751986400339,
        0.015157033163086852,
        0.0023323921312521651,
        2.112272446573098e-4,
        1.7910730116581769e-5,
        8.5377284391181002e-7,
        4.3893491691994681e-8,
        1.0491444561852132e-9,
        2.9590981397074588e-11,
        2.7493352454126668e-13,
    ],
)


@traced
def erf(x):
    """2/√π ∫₀ˣ exp(-u²) du = 2 t / (1 + t²), where t = tanh(artanh(erf x) / 2) = x P(x²) / Q(x²).

    Source: our own, like tanh.
    Error: 3.6 ulp (4.0) in float32, 4.0 (4.3) in float64.
    """
    a = minimum(absolute(x), _ERF_END(x))
    s = a * a
    return copysign(_doubled(a * _ERF_P(s), _ERF_Q(s)), x)
