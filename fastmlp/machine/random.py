"""Random numbers by counting: bits that are a function of where they are used, so that no thread waits for another.

The same numbers come out in float32 and in float64, on registers of any width.
"""

from functools import partial

from llvmlite import ir

from .simd import by_dtype, operation, real_like, real_of, traced

# The lower 32 bits, as integers of 32 bits (where all are) and of 64.
_WORD = by_dtype(-1, 0xFFFFFFFF)
_FIRST, _SECOND = by_dtype(0x7FEB352D, 0x7FEB352D), by_dtype(0x846CA68B - 2**32, 0x846CA68B)


@operation(lambda builder, vector, n: ir.Constant(vector.llvm, list(range(vector.lanes))))
def counting(n):
    """0, 1, 2, ... in an integer vector like `n`."""


@traced
def scrambled(n):
    """A bijection of 32-bit integers whose bits look random: xor with itself shifted, times an odd number, twice.

    Source: C. Wellons, "Prospecting for Hash Functions" (2018), lowbias32; the design is MurmurHash3's finalizer.
    """
    n = n & _WORD(n)
    n = n ^ (n >> 16)
    n = (n * _FIRST(n)) & _WORD(n)
    n = n ^ (n >> 15)
    n = (n * _SECOND(n)) & _WORD(n)
    return n ^ (n >> 16)


@partial(traced, result=real_like)
def uniform(n):
    """Numbers in [0, 1) from the upper 24 of 32 random bits."""
    return real_of(n >> 8) * 2.0**-24
