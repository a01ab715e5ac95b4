"""exp, expm1, log, log1p, tanh, logistic and erf of a `Vector`, lane by lane: no tables, no calls, at most one division.

Every function reduces its argument with exact steps and ends in a polynomial or in a quotient of two. float32 and float64
share the steps and differ in the constants, which `polynomial` chooses while Numba compiles. The steps need no fused
multiply-add to be exact. NaN in gives NaN out. Errors are maximal errors in units in the last place (ulp) of the true
value, denormal numbers included; where two are given, the first is with fused multiply-add, the second without.

The polynomials are minimax fits of our own, in 70 digits (Lawson's iteration; for quotients on top of Sanathanan and
Koerner's). The reductions are those of Cody and Waite, "Software Manual for the Elementary Functions" (1980).
"""

import math

from numba.extending import intrinsic

from .jit import inlined
from .simd import (
    absolute,
    bits_of,
    call,
    constant,
    copysign,
    fma,
    maximum,
    minimum,
    real_of_bits,
    suffix,
    where,
)


def by_dtype(single, double):
    """The function of a vector that gives `single` in 32-bit lanes, `double` in 64-bit lanes: a constant of the code."""

    @intrinsic
    def number(typing_context, x):
        value = single if x.dtype.bitwidth == 32 else double
        return x(x), lambda context, builder, sig, values: constant(x, value)

    return number


def polynomial(single, double):
    """The function c₀ + c₁ x + c₂ x² + ... of a vector; the coefficients of float32, then those of float64.

    Even and odd powers are two chains of fused multiply-adds, half as long as one.
    """

    @intrinsic
    def evaluate(typing_context, x):
        coefficients = single if x.dtype.bitwidth == 32 else double

        def emit(context, builder, sig, values):
            def add_product(x_, y, z):
                return call(builder, f"llvm.fmuladd.{suffix(x)}", x.llvm, x_, y, z)

            def horner(at, coefficients):
                *lower, value = (constant(x, c) for c in coefficients)
                for c in reversed(lower):
                    value = add_product(value, at, c)
                return value

            square = builder.fmul(values[0], values[0])
            even, odd = (horner(square, coefficients[start::2]) for start in (0, 1))
            return add_product(odd, values[0], even)

        return x(x), emit

    return evaluate


# --- exponentials -----------------------------------------------------------------------------------------------------

# Beyond these exp is 0 or inf; up to them, 2^(n/2) is a normal number.
_LOWEST = by_dtype(-104.0, -746.0)
_HIGHEST = by_dtype(89.0, 710.0)
# Added to a small number, 1.5·2^23 (1.5·2^52) rounds it to a whole one, n, and leaves n in the low bits of the sum; the
# rest of the shift makes these bits the sum of two biased exponents.
_SHIFT = by_dtype(1.5 * 2.0**23 + 2 * 127, 1.5 * 2.0**52 + 2 * 1023)
_MANTISSA_BITS = by_dtype(23, 52)
_BIAS = by_dtype(127, 1023)
# ln 2 = high + low; n·high is exact.
_LN2_HIGH = by_dtype(0.693359375, 6.93147180369123816490e-01)
_LN2_LOW = by_dtype(-2.12194440054690583e-4, 1.90821492927058770002e-10)
# (eʳ - 1 - r) / r² on |r| <= ln(2)/2; relative error of eʳ - 1: 1.3e-8 and 1.8e-17.
_EXP_TAIL = polynomial(
    [4.99999981416283113e-1, 1.66665430565333367e-1, 4.16672020904501778e-2, 8.36659640641357161e-3, 1.38825269301545443e-3],
    [
        5.00000000000000527e-1,
        1.66666666666665865e-1,
        4.16666666665757166e-2,
        8.3333333333902741e-3,
        1.38888889318946843e-3,
        1.98412697185671739e-4,
        2.48015048801057159e-5,
        2.75574072366980406e-6,
        2.76261954668478533e-7,
        2.5054064792339725e-8,
    ],
)


@inlined
def _reduced(x):
    """eʳ - 1 and the bits of n + 2·bias, where x = n ln 2 + r and |r| <= ln(2)/2."""
    shifted = fma(x, 1.44269504088896341, _SHIFT(x))
    n = shifted - _SHIFT(x)
    r = fma(n, -_LN2_HIGH(x), x)
    r = fma(n, -_LN2_LOW(x), r)
    return fma(r * r, _EXP_TAIL(r), r), bits_of(shifted)


@inlined
def exp(x):
    """eˣ = 2ⁿ eʳ, where x = n ln 2 + r and |r| <= ln(2)/2."""
    q, n = _reduced(minimum(maximum(x, _LOWEST(x)), _HIGHEST(x)))
    half = n >> 1
    power = real_of_bits(half << _MANTISSA_BITS(n))
    other = real_of_bits((n - half) << _MANTISSA_BITS(n))
    return fma(q, power, power) * other


@inlined
def expm1(x):
    """eˣ - 1 = 2 (2ⁿ⁻¹ (eʳ - 1) + (2ⁿ⁻¹ - ½))."""
    q, n = _reduced(minimum(maximum(x, -38.0), _HIGHEST(x)))
    power = real_of_bits((n - _BIAS(n) - 1) << _MANTISSA_BITS(n))
    y = fma(q, power, power - 0.5)
    return where(absolute(x) < 1e-30, x, y + y)


@inlined
def logistic(x):
    """1 / (1 + e⁻ˣ)."""
    e = exp(-absolute(x))
    return where(x < 0, e, 1.0) / (e + 1)


# --- logarithms -------------------------------------------------------------------------------------------------------

_TINY = by_dtype(2.0**-126, 2.0**-1022)
_ONE_BITS = by_dtype(0x3F800000, 0x3FF0000000000000)
_ROOT_HALF_BITS = by_dtype(0x3F3504F3, 0x3FE6A09E667F3BCD)
_MANTISSA = by_dtype(0x007FFFFF, 0x000FFFFFFFFFFFFF)
_WHOLE_BITS = by_dtype(0x4B000000, 0x4330000000000000)
_WHOLE = by_dtype(2.0**23 + 127, 2.0**52 + 1023)
_LOG_TAIL = polynomial(
    [6.66667765289289834e-1, 3.99775135212062264e-1, 2.98727020821198268e-1],
    [
        6.66666666666673473e-1,
        3.999999999941216e-1,
        2.85714287430243117e-1,
        2.22221985001335058e-1,
        1.81835685221395985e-1,
        1.53139331036808298e-1,
        1.47972237390885497e-1,
    ],
)


@inlined
def _split(x):
    """m and n of x = 2ⁿ m, √½ <= m < √2, for a normal x > 0."""
    bits = bits_of(x) + (_ONE_BITS(bits_of(x)) - _ROOT_HALF_BITS(bits_of(x)))
    n = real_of_bits((bits >> _MANTISSA_BITS(bits)) | _WHOLE_BITS(bits)) - _WHOLE(x)
    return real_of_bits((bits & _MANTISSA(bits)) + _ROOT_HALF_BITS(bits)), n


@inlined
def _log(f, n):
    s = f / (f + 2)
    z = s * s
    half = f * f * 0.5
    low = fma(s, fma(z, _LOG_TAIL(z), half), n * _LN2_LOW(f))
    return fma(n, _LN2_HIGH(f), f - (half - low))


@inlined
def _over_domain(x, y):
    y = where(x > 0, y, where(x == 0, -math.inf, x * math.nan))
    return where(x == math.inf, x, y)


@inlined
def log(x):
    """ln x."""
    denormal = x < _TINY(x)
    m, n = _split(where(denormal, x * 2.0**60, x))
    return _over_domain(x, _log(m - 1, where(denormal, n - 60, n)))


@inlined
def log1p(x):
    """ln(1 + x)."""
    u = x + 1
    m, n = _split(u)
    scale = bits_of(m) - bits_of(u) + _ONE_BITS(bits_of(u))
    scale = real_of_bits(maximum(scale, bits_of(_TINY(x))))
    return _over_domain(u, _log(fma(x - (u - 1), scale, m - 1), n))


# --- sigmoids ---------------------------------------------------------------------------------------------------------

_TANH_END = by_dtype(9.02, 19.07)
_TANH_P = polynomial([2.83617618492740968e-2, 7.6879962975765126e-5, -6.95819509085926304e-8],
[3.58672770089259388e-2, 2.97754949742781552e-4, 8.08863366840586298e-7, 6.98800950851222736e-10, 1.06438547345905679e-13, -6.84425314031700828e-18])
_TANH_Q = polynomial([2.0, 2.233900692139738e-1, 2.10305932437508948e-3],
[2.0, 2.38401220684517366e-1, 3.79561162319721654e-3, 1.77497928027622209e-5, 2.78463325019938264e-8, 1.17785220534444211e-11])
_ERF_END = by_dtype(3.93, 5.93)
_ERF_P = polynomial([1.88005739059227364e-1, 2.16239495097760588e-2, 1.1738882179470026e-3, -4.87015367916560688e-6],
[3.06043627505875532e-1, 8.44817409921921284e-2, 1.20637503225300311e-2, 1.56334641229194394e-3, 1.20102036121993755e-4, 9.00219203961020918e-6, 3.69516022251085262e-7, 1.61722210511189294e-8, 3.23546183082770007e-10, 7.89305489781090638e-12, 1.61648094090916128e-14])
_ERF_Q = polynomial([1.7724538047080655, 3.59861320924878464e-1, 7.14960466961187995e-2, 6.4908111968948981e-3, 5.6917223157267937e-5],
[1.77245385090551607, 5.6907657287195916e-1, 1.86059433176381655e-1, 3.0776883718886362e-2, 4.73600345384307936e-3, 4.28904276788876567e-4, 3.63683612872777635e-5, 1.73361549431783912e-6, 8.91272635802099302e-8, 2.13032435733950576e-9, 6.0085518306012535e-11, 5.58262096822309936e-13])


@inlined
def _doubled(p, q, x):
    """2t / (1 + t²) with the sign of x, where t = p/q: t = tanh(y/2) gives tanh y."""
    return copysign(minimum((p + p) * q / fma(q, q, p * p), 1.0), x)


@inlined
def tanh(x):
    """(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ) = 2t / (1 + t²), where t = tanh(x/2) ≈ x P(x²) / Q(x²)."""
    a = minimum(absolute(x), _TANH_END(x))
    s = a * a
    return _doubled(fma(a * s, _TANH_P(s), a), _TANH_Q(s), x)


@inlined
def erf(x):
    """2/√π ∫₀ˣ exp(-t²) dt ≈ x P(x²) / Q(x²)."""
    a = minimum(absolute(x), _ERF_END(x))
    s = a * a
    return _doubled(fma(a * s, _ERF_P(s), a), _ERF_Q(s), x)
