"""Counter-based random numbers: the formula, its statistics, the same bits whatever the lanes."""

import numpy as np
import pytest
from numba import njit

from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.random import iota, scrambled, uniform
from fastmlp.machine.simd import bits_of, full_like, lanes_of, load, real_of_bits, store
from fastmlp.reference import scrambled as formula

pytestmark = pytest.mark.width

COUNT = 2**16
DTYPES = (np.float32, np.float64)


@njit(**OPTIONS)
def bits_from(start, out):
    """scrambled(start), scrambled(start + 1), ... as the bits of `out`."""
    zero = bits_of(full_like(load(out, 0), 0))
    for i in range(0, out.size, lanes_of(out)):
        store(out, i, real_of_bits(scrambled(iota(zero) + (start + i))))


@njit(**OPTIONS)
def uniform_from(start, out):
    """uniform(scrambled(start)), ..."""
    zero = bits_of(full_like(load(out, 0), 0))
    for i in range(0, out.size, lanes_of(out)):
        store(out, i, uniform(scrambled(iota(zero) + (start + i))))


def bits(start, dtype):
    """COUNT integers of 32 bits."""
    out = np.zeros(COUNT, dtype)
    bits_from(start, out)
    return out.view(np.uint32 if dtype == np.float32 else np.uint64)


def uniforms(start, dtype):
    """COUNT numbers."""
    out = np.zeros(COUNT, dtype)
    uniform_from(start, out)
    return out


@pytest.mark.parametrize("start", [0, 1, 12345, 2**31 - 100, 2**32 - 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_those_of_the_formula(start, dtype):
    """32 of them, of the lower 32 of the counter."""
    counter = np.arange(start, start + COUNT, dtype=np.uint64).astype(np.uint32)
    np.testing.assert_array_equal(bits(start, dtype), formula(counter))


def test_known_bits():
    """lowbias32, worked out in whole numbers."""

    def by_hand(n):
        n ^= n >> 16
        n = n * 0x7FEB352D % 2**32
        n ^= n >> 15
        n = n * 0x846CA68B % 2**32
        return n ^ n >> 16

    np.testing.assert_array_equal(bits(0, np.float64)[:1000], [by_hand(n) for n in range(1000)])


def test_numbers_are_the_same_in_both_dtypes():
    np.testing.assert_array_equal(uniforms(7, np.float32), uniforms(7, np.float64))


def test_no_bits_come_twice():
    assert len(np.unique(bits(0, np.float32))) == COUNT


def test_numbers_are_uniform():
    x = uniforms(0, np.float64)
    assert x.min() >= 0
    assert x.max() < 1
    assert (x * 2**24 == np.rint(x * 2**24)).all()
    counts, _ = np.histogram(x, 64, (0, 1))
    expected = COUNT / 64
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_squared - 63) < 5 * np.sqrt(2 * 63)


@pytest.mark.parametrize("lag", [1, 2, 3, 16, 64, 101, 1024])
def test_numbers_are_independent_of_those_before(lag):
    z = (uniforms(0, np.float64) - 0.5) * np.sqrt(12)
    assert abs((z[lag:] * z[:-lag]).mean()) < 5 / np.sqrt(COUNT - lag)


@pytest.mark.parametrize("bit", range(32))
def test_each_bit_is_fair_and_flips_with_every_bit_of_the_counter(bit):
    counter = np.arange(COUNT, dtype=np.uint32)
    known = formula(counter) >> np.uint32(bit) & np.uint32(1)
    assert abs(known.mean() - 0.5) < 5 * 0.5 / np.sqrt(COUNT)
    for flipped in range(32):
        other = formula(counter ^ np.uint32(2**flipped)) >> np.uint32(bit) & np.uint32(1)
        assert abs((known != other).mean() - 0.5) < 0.02
