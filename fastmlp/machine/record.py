"""Records: what Python hands to compiled code in a table of integers, declared once.

A record is a NamedTuple whose annotations say what each field is:

    int, bool   an integer, a flag
    float       a number in float64
    Number      a number of the network's dtype
    Integers    the address of int64 numbers
    Reals       the address of float64 numbers
    Numbers     the address of numbers of the network's dtype
    a record    its fields, in their order

From them follow the table that Python writes, reader and writer in compiled code, and the copy with one field replaced.
No position in a table is written down anywhere.
"""

import functools
import struct

import numpy as np
from llvmlite import ir

from .jit import intrinsic, types, vector_types
from .simd import I64, address


class Number:
    """Annotation: a number of the network's dtype."""


class Integers:
    """Annotation: the address of numbers of type int64."""


class Reals:
    """Annotation: the address of numbers of type float64."""


class Numbers:
    """Annotation: the address of numbers of the network's dtype."""


DTYPES = {Integers: (np.dtype(np.int64),), Reals: (np.dtype(np.float64),)}
DTYPES[Numbers] = (np.dtype(np.float32), np.dtype(np.float64))


def is_record(kind):
    """Whether an annotation is itself a record."""
    return issubclass(kind, tuple)


@functools.cache
def kinds_of(record):
    """What each field of a record class is, by name."""
    return {name: record.__annotations__[name] for name in record._fields}


@functools.cache
def _flat(record):
    """(names, kind) of every number in the table of a record class, in their order."""
    places = []
    for name, kind in kinds_of(record).items():
        inner = _flat(kind) if is_record(kind) else [((), kind)]
        places += [((name, *names), kind) for names, kind in inner]
    return places


@functools.cache
def _packing(record):
    """(what writes the table of a record class, whether its fields are all numbers)."""
    kinds = [kind for _, kind in _flat(record)]
    form = "".join("d" if kind in (float, Number) else "q" for kind in kinds)
    plain = len(kinds) == len(record._fields) and not DTYPES.keys() & kinds
    return struct.Struct(form).pack_into, plain


def _numbers(record):
    """The numbers of a record's table: those of inner records in their place, addresses for arrays."""
    for value, (name, kind) in zip(record, kinds_of(type(record)).items(), strict=True):
        if is_record(kind):
            yield from _numbers(value)
        elif kind in DTYPES:
            if value.dtype not in DTYPES[kind]:
                expected = " or ".join(map(str, DTYPES[kind]))
                raise TypeError(f"{type(record).__name__}.{name} must be of dtype {expected}; got {value.dtype}.")
            yield value.ctypes.data
        else:
            yield value


def table_of(record):
    """A new table of a record's numbers and of the addresses of its arrays, which must outlive it.

    Raises
    ------
    TypeError
        If an array has not the dtype that its field's annotation asks for.
    """
    table = room_for(type(record))
    write(record, table)
    return table


def room_for(record):
    """A table of zeros for a record class."""
    return np.zeros(len(_flat(record)), np.int64)


def write(record, table):
    """Write a record into an int64 ndarray of one number for each field, as compiled code will read it."""
    pack_into, plain = _packing(type(record))
    pack_into(table, 0, *(record if plain else _numbers(record)))


# --- in compiled code -------------------------------------------------------------------------------------------------


def _type_of(record, number):
    """Numba's type of a record class whose network's dtype is `number`."""
    fields = {
        int: types.int64,
        bool: types.boolean,
        float: types.float64,
        Number: number,
        Integers: vector_types.Pointer(types.int64),
        Reals: vector_types.Pointer(types.float64),
        Numbers: vector_types.Pointer(number),
    }
    kinds = [_type_of(kind, number) if is_record(kind) else fields[kind] for kind in kinds_of(record).values()]
    return types.BaseTuple.from_types(kinds, record)


def _read_tuple(context, builder, kind, next_number):
    """A record of Numba's type `kind` from its numbers, one after the other."""
    fields = []
    for field in kind:
        if isinstance(field, types.BaseTuple):
            fields.append(_read_tuple(context, builder, field, next_number))
            continue
        number = next_number()
        if isinstance(field, vector_types.Pointer):
            number = builder.inttoptr(number, context.get_value_type(field))
        elif field == types.boolean:
            number = builder.icmp_unsigned("!=", number, I64(0))
        elif isinstance(field, types.Float):
            number = context.cast(builder, builder.bitcast(number, ir.DoubleType()), types.float64, field)
        fields.append(number)
    return context.make_tuple(builder, kind, fields)


@intrinsic
def read(typing_context, record, table, like):
    """The record of a class from its table: an array, a pointer or an address.

    `like` is a number of the network's dtype, or the address of some.
    """
    number = types.unliteral(like.dtype if isinstance(like, vector_types.Pointer) else like)
    kind = _type_of(record.instance_class, number)

    def emit(context, builder, sig, values):
        if isinstance(table, types.Integer):
            first = builder.inttoptr(values[1], I64.as_pointer())
        else:
            first = address(context, builder, table, values[1], I64(0))
        place = iter(range(len(_flat(record.instance_class))))
        return _read_tuple(context, builder, kind, lambda: builder.load(builder.gep(first, [I64(next(place))])))

    return kind(record, table, like), emit


def _numbers_of(context, builder, kind, value):
    """The numbers of a record of Numba's type `kind`, as its table holds them."""
    declared = kinds_of(kind.instance_class).values()
    for n, (field, wanted) in enumerate(zip(kind, declared, strict=True)):
        number = builder.extract_value(value, n)
        if is_record(wanted):
            yield from _numbers_of(context, builder, field, number)
        elif wanted in DTYPES:
            yield builder.ptrtoint(number, I64)
        elif wanted in (float, Number):
            yield builder.bitcast(context.cast(builder, number, field, types.float64), I64)
        else:
            yield context.cast(builder, number, field, types.int64)


@intrinsic
def put(typing_context, record, table):
    """Write a record into the table that a pointer leads to, where `read` finds it."""

    def emit(context, builder, sig, values):
        for place, number in enumerate(_numbers_of(context, builder, record, values[0])):
            builder.store(number, builder.gep(values[1], [I64(place)]))
        return context.get_dummy_value()

    return types.void(record, table), emit


def replacing(record, field):
    """A function for compiled code: (record, value) -> the same record but for one field."""
    position = record._fields.index(field)

    @intrinsic
    def replace(typing_context, old, value):
        def emit(context, builder, sig, values):
            number = context.cast(builder, values[1], value, old[position])
            return builder.insert_value(values[0], number, position)

        return old(old, value), emit

    return replace
