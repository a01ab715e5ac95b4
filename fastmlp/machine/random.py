"""Random numbers: counter-based ones, and those of NumPy's stream.

Counter-based bits are a function of where they are used, so that no thread waits for another. The same numbers come out
in float32 and in float64, on registers of any width.
"""

import ctypes
from functools import partial

import numpy as np
from llvmlite import ir

from .jit import intrinsic, types
from .kernels import entry
from .simd import I32, I64, by_dtype, operation, pointer, real_like, real_of, traced

# The lower 32 bits, as integers of 32 bits (where all are) and of 64.
_LOW_BITS = by_dtype(-1, 0xFFFFFFFF)
_FIRST, _SECOND = by_dtype(0x7FEB352D, 0x7FEB352D), by_dtype(0x846CA68B - 2**32, 0x846CA68B)


@operation(lambda builder, vector, n: ir.Constant(vector.llvm, list(range(vector.lanes))))
def iota(n):
    """0, 1, 2, ... in an integer vector like `n`."""


@traced
def scrambled(n):
    """A bijection of 32-bit integers whose bits look random: xor with itself shifted, times an odd number, twice.

    Source: C. Wellons, "Prospecting for Hash Functions" (2018), lowbias32; the design is MurmurHash3's finalizer.
    """
    n = n & _LOW_BITS(n)
    n = n ^ (n >> 16)
    n = (n * _FIRST(n)) & _LOW_BITS(n)
    n = n ^ (n >> 15)
    n = (n * _SECOND(n)) & _LOW_BITS(n)
    return n ^ (n >> 16)


@partial(traced, result=real_like)
def uniform(n):
    """Numbers in [0, 1) from the upper 24 of 32 random bits."""
    return real_of(n >> 8) * 2.0**-24


# --- NumPy's stream ---------------------------------------------------------------------------------------------------


@intrinsic
def next_bits(typing_context, function, state):
    """32 random bits from a generator of NumPy's: the addresses of its function and of its state."""

    def emit(context, builder, sig, values):
        kind = ir.FunctionType(I32, [I64])
        bits = builder.call(builder.inttoptr(values[0], kind.as_pointer()), [values[1]])
        return builder.zext(bits, I64)

    return types.int64(types.int64, types.int64), emit


@entry
def _shuffle(address, count, function, state):
    """Fisher and Yates: number i changes places with number j, drawn evenly from 0 ... i, for i = count - 1 ... 1.

    A draw is the lowest bits that i has, again until it is not above i. One above it changes i with itself instead of
    taking a branch, which nobody could foresee.
    """
    order = pointer(address, np.int64(0))
    i, mask = count - 1, 1
    while mask < i:
        mask = 2 * mask + 1
    while i > 0:
        drawn = next_bits(function, state) & mask
        accepted = drawn <= i
        j = drawn if accepted else i
        order[i], order[j] = order[j], order[i]
        i -= accepted
        if mask >> 1 >= i:
            mask >>= 1


class Shuffler:
    """RandomState.shuffle for arrays of int64: the same stream and result in half the time.

    Parameters
    ----------
    random_state : numpy.random.RandomState
    """

    def __init__(self, random_state):
        self._generator = random_state._bit_generator
        interface = self._generator.ctypes
        self._addresses = ctypes.cast(interface.next_uint32, ctypes.c_void_p).value, interface.state_address
        self._call = _shuffle.load()

    def __call__(self, order):
        """Shuffle a contiguous int64 array in place."""
        with self._generator.lock:
            self._call(order.ctypes.data, len(order), *self._addresses)
