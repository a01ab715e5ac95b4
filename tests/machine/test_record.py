"""Records: what Python writes is what compiled code reads, whatever the kinds of the fields."""

from typing import NamedTuple

import numpy as np
import pytest
from numba import njit

from fastmlp.core import records
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.record import (
    Integers,
    Number,
    Numbers,
    Reals,
    is_record,
    kinds_of,
    put,
    read,
    replacing,
    room_for,
    table_of,
    write,
)
from fastmlp.machine.simd import pointer


class Inner(NamedTuple):
    """A record within another."""

    count: int
    values: Numbers
    share: Number = 0.25


class Outer(NamedTuple):
    """One field of every kind."""

    first: int
    flag: bool
    exact: float
    inner: Inner
    order: Integers
    sums: Reals
    factor: Number


with_factor = replacing(Outer, "factor")


@njit(**OPTIONS)
def fields(zero, table, out):
    outer = read(Outer, table, zero)
    changed = with_factor(outer, 0.1)
    out[0], out[1], out[2] = outer.first, 1.0 if outer.flag else 0.0, outer.exact
    out[3], out[4], out[5] = outer.inner.count, outer.inner.values[1], outer.inner.share
    out[6], out[7], out[8] = outer.order[1], outer.sums[1], outer.factor
    out[9], out[10] = changed.factor, changed.first
    outer.inner.values[0] = outer.factor


def outer(dtype, **changes):
    inner = Inner(5, np.array([1, 0.1], dtype))
    values = {"first": -7, "flag": True, "exact": 0.1, "inner": inner, "factor": 0.3}
    arrays = {"order": np.array([1, 2**40]), "sums": np.array([0, 1 / 3])}
    return Outer(**{**values, **arrays, **changes})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_code_reads_what_python_writes(dtype):
    record, out = outer(dtype), np.zeros(11)
    fields(dtype(0), table_of(record), out)
    short = [dtype(number) for number in (0.1, 0.25, 0.3, 0.1)]
    expected = [-7, 1, 0.1, 5, short[0], short[1], 2**40, 1 / 3, short[2], short[3], -7]
    np.testing.assert_array_equal(out, expected)
    assert record.inner.values[0] == dtype(0.3)


@njit(**OPTIONS)
def copy(zero, table, target):
    put(read(Outer, table, zero), pointer(target, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("flag", [False, True])
def test_compiled_code_writes_what_it_has_read(dtype, flag):
    """The same numbers in the same places; addresses lead to the same arrays. Nothing beyond the table."""
    table, target = table_of(outer(dtype, flag=flag)), np.full(20, -1)
    copy(dtype(0), table, target.ctypes.data)
    size, out = len(table), np.zeros(11)
    exact = table.copy()  # in float32, fields of the network's dtype are rounded to it
    share, factor = exact.view(np.float64)[5:6], exact.view(np.float64)[-1:]
    share[:], factor[:] = dtype(share[0]), dtype(factor[0])
    np.testing.assert_array_equal(target[:size], exact)
    assert set(target[size:]) == {-1}
    fields(dtype(0), target[:size], out)
    assert out[1] == flag


@njit(**OPTIONS)
def build(zero, target):
    inner = Inner(zero > 1, pointer(target, zero), 1)
    put(Outer(True, 3, 2, inner, pointer(target, 0), pointer(target, 0.0), 4), pointer(target, 0))


def test_fields_are_written_as_what_they_are_declared():
    """A truth value as an integer, an integer as a flag or as a number."""
    target = room_for(Outer)
    build(np.float32(0), target.ctypes.data)
    numbers = target.view(np.float64)
    assert [target[0], target[1], numbers[2], target[3], numbers[5], numbers[8]] == [1, 3, 2.0, 0, 1.0, 4.0]


@pytest.mark.parametrize("field", ["order", "sums"])
def test_an_array_of_another_dtype_is_refused(field):
    with pytest.raises(TypeError, match=f"Outer.{field} must be of dtype (int|float)64; got int32"):
        table_of(outer(np.float64, **{field: np.zeros(2, np.int32)}))
    with pytest.raises(TypeError, match=r"Inner.values must be of dtype float32 or float64; got int64"):
        table_of(outer(np.float64, inner=Inner(1, np.zeros(2, np.int64))))


@pytest.mark.parametrize("record", [records.Task(*range(len(records.Task._fields))), records.Settings(0.1, 0.2)])
def test_writing_at_once_is_writing_one_by_one(record):
    """Records of integers alone, or of numbers alone, are written in one go."""
    table = np.zeros(len(record), np.int64)
    write(record, table)
    assert [*(table if isinstance(record, records.Task) else table.view(np.float64))] == [*record]


def test_every_field_of_the_engine_has_a_kind():
    classes = [cls for cls in vars(records).values() if isinstance(cls, type) and is_record(cls)]
    assert len(classes) > 10
    for cls in classes:
        for name, kind in kinds_of(cls).items():
            assert kind in (int, bool, float, Number, Integers, Reals, Numbers) or is_record(kind), (cls, name)
