"""Calls of one kernel by another, through the address of its machine code."""

from llvmlite import ir

from .jit import intrinsic, types
from .simd import I64


@intrinsic
def call(typing_context, kernel, number, place, tables):
    """kernel(number, place, tables): the address of a kernel, two integers, and the address of a table of integers."""

    def emit(context, builder, sig, values):
        function = builder.inttoptr(values[0], ir.FunctionType(I64, [I64] * 3).as_pointer())
        return builder.call(function, [values[1], values[2], builder.ptrtoint(values[3], I64)])

    return types.int64(types.int64, types.int64, types.int64, tables), emit
