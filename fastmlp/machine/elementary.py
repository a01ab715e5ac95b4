"""exp, expm1, log, log1p, tanh, logistic and erf of a `Vector`, lane by lane: no tables, no calls, at most one division.

Every function reduces its argument with exact steps and ends in a polynomial or in a quotient of two. float32 and float64
share the steps and differ in the constants, which `polynomial` chooses while Numba compiles. The steps need no fused
multiply-add to be exact. NaN in gives NaN out. Errors are maximal errors in units in the last place (ulp) of the true
value, denormal numbers included; where two are given, the first is with fused multiply-add, the second without.

The polynomials are minimax fits of our own, in 70 digits (Lawson's iteration; for quotients on top of Sanathanan and
Koerner's). The reductions are those of Cody and Waite, "Software Manual for the Elementary Functions" (1980).
"""

import math

from numba import types
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


def polynomial(single, double):
    """The function c₀ + c₁ x + c₂ x² + ... of a vector, by Horner's rule; the cs of float32 first, those of float64 second.

    With one coefficient each it is a constant of the vector's dtype.
    """

    @intrinsic
    def evaluate(typing_context, x):
        *lower, highest = single if x.dtype.bitwidth == 32 else double

        def emit(context, builder, sig, values):
            value = constant(x, highest)
            for c in reversed(lower):
                value = call(builder, f"llvm.fmuladd.{suffix(x)}", x.llvm, value, values[0], constant(x, c))
            return value

        return x(x), emit

    return evaluate


# --- exponentials -----------------------------------------------------------------------------------------------------

# Beyond these exp is 0 or inf; up to them, 2^(n/2) is a normal number.
_LOWEST = polynomial([-104.0], [-746.0])
_HIGHEST = polynomial([89.0], [710.0])
# Added to a small number, 1.5·2^23 (1.5·2^52) rounds it to a whole one, n, and leaves n in the low bits of the sum; the
# rest of the shift makes these bits the sum of two biased exponents.
_SHIFT = polynomial([1.5 * 2.0**23 + 2 * 127], [1.5 * 2.0**52 + 2 * 1023])
_MANTISSA_BITS = polynomial([23], [52])
_BIAS = polynomial([127], [1023])
# ln 2 = high + low; n·high is exact.
_LN2_HIGH = polynomial([0.693359375], [6.93147180369123816490e-01])
_LN2_LOW = polynomial([-2.12194440054690583e-4], [1.90821492927058770002e-10])
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
    return (q + 1) * power * other


@inlined
def expm1(x):
    """eˣ - 1 = 2 (2ⁿ⁻¹ (eʳ - 1) + (2ⁿ⁻¹ - ½))."""
    q, n = _reduced(minimum(maximum(x, -38.0), _HIGHEST(x)))
    power = real_of_bits((n - _BIAS(n) - 1) << _MANTISSA_BITS(n))
    y = fma(q, power, power - 0.5)
    return where(absolute(x) < 1e-10, x, y + y)


@inlined
def logistic(x):
    """1 / (1 + e⁻ˣ)."""
    e = exp(-absolute(x))
    return where(x < 0, e, 1.0) / (e + 1)


# --- logarithms -------------------------------------------------------------------------------------------------------

_TINY = polynomial([2.0**-126], [2.0**-1022])
_ONE_BITS = polynomial([0x3F800000], [0x3FF0000000000000])
_ROOT_HALF_BITS = polynomial([0x3F3504F3], [0x3FE6A09E667F3BCD])
_MANTISSA = polynomial([0x007FFFFF], [0x000FFFFFFFFFFFFF])
_WHOLE_BITS = polynomial([0x4B000000], [0x4330000000000000])
_WHOLE = polynomial([2.0**23 + 127], [2.0**52 + 1023])
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

_TANH_END = polynomial([9.02], [19.07])
_TANH_P = polynomial(
    [1.0, 1.33821909944234415e-1, 3.49688588400238342e-3, 2.06270532572950337e-5, 1.3373252890408835e-8],
    [1.0, 1.518084697600808e-1, 5.97517745924421349e-3, 9.36203700853410842e-5, 6.83287797830931911e-7,
     2.44190463927923395e-9, 4.17449061641707031e-12, 3.06725981209632833e-15, 7.42541374365766621e-19,
     2.50657549491550552e-23],
)
_TANH_Q = polynomial(
    [1.0, 4.671551131633814e-1, 2.58821409958321575e-2, 3.28761056396001859e-4, 7.78550028838195986e-7],
    [1.0, 4.85141803093413582e-1, 3.43557784903834723e-2, 8.28226756010640352e-4, 8.75591155783996416e-6,
     4.46525426843623113e-8, 1.11192594124706054e-10, 1.27167970675876117e-13, 5.63930496613708048e-17,
     6.23452556050655522e-21],
)
_ERF_END = polynomial([3.93], [5.93])
_ERF_P = polynomial(
    [1.12837914399396676, 1.90892688714809852e-1, 5.28037606530736793e-2, 3.78406432094762241e-3,
     2.84874458562126356e-4, 2.0406732778730494e-6],
    [1.12837916709551253, 2.20174679018280215e-1, 6.61221359758697953e-2, 6.88972333772139791e-3,
     8.55682645381277094e-4, 5.69465236004848076e-5, 3.90064321166576006e-6, 1.69496895201007651e-7,
     6.76063976042519678e-9, 1.72010095321278352e-10, 3.33706852705025127e-12, 2.22710635090654146e-14,
     1.57142286520832421e-17],
)
_ERF_Q = polynomial(
    [1.0, 5.02506933573566079e-1, 1.14301709226551291e-1, 1.5006325830754167e-2, 1.16623182692811235e-3,
     3.7994088535018751e-5],
    [1.0, 5.28458062182249065e-1, 1.34751904664381429e-1, 2.198687747672328e-2, 2.56480287717809267e-3,
     2.26103423764330001e-4, 1.54994584838029205e-5, 8.35086242360131315e-7, 3.51591090207720198e-8,
     1.1247301491365512e-9, 2.54991153923916177e-11, 3.31962594682049563e-13, 8.85173323692512203e-16],
)


@inlined
def tanh(x):
    """(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ) ≈ x P(x²) / Q(x²)."""
    a = minimum(absolute(x), _TANH_END(x))
    s = a * a
    return copysign(minimum(a * _TANH_P(s) / _TANH_Q(s), 1.0), x)


@inlined
def erf(x):
    """2/√π ∫₀ˣ exp(-t²) dt ≈ x P(x²) / Q(x²)."""
    a = minimum(absolute(x), _ERF_END(x))
    s = a * a
    return copysign(minimum(a * _ERF_P(s) / _ERF_Q(s), 1.0), x)
