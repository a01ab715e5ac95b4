"""Words in compiled code: a choice among functions of vectors by an integer, outside a loop or inside.

A word is a function of vectors without loops, traced once for each dtype (see `Lanes`). `strips` makes one LLVM
function of each word, loops included, and calls it through a table: the choice costs nothing within the loops, and the
caller is compiled without them. `choice` writes all words down where it is called, for loops that are not hot.
"""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic

from .simd import I64, VECTORS, Lanes, Vector, load_vector, spread, store_vector
from .table import declare_table, operand


class Strip(NamedTuple):
    """A word over rows of vectors.

    function : (numbers, *inputs) -> outputs, one Lanes or several
    numbers : how many numbers it takes, the same for all vectors
    inputs, outputs : which of the streams it reads and writes
    """

    function: Any
    numbers: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def _strip_type(streams):
    """Type of a strip's function (rows, width, numbers, address and stride of rows of each stream)."""

    def make(vector):
        pointer = vector.llvm.element.as_pointer()
        return ir.FunctionType(ir.VoidType(), [I64, I64, pointer, *[pointer, I64] * streams])

    return make


def _strip_function(strip):
    """What writes the body of a strip's function."""

    def make(function, vector):
        bits = vector.dtype.bitwidth
        rows, width, numbers, *streams = function.args
        builder = ir.IRBuilder(function.append_basic_block())
        spreads = [builder.load(builder.gep(numbers, [I64(n)])) for n in range(strip.numbers)]
        spreads = [Lanes(builder, vector, spread(builder, number, vector.lanes)) for number in spreads]
        with cgutils.for_range(builder, rows) as row:
            bases = {
                n: builder.gep(streams[2 * n], [builder.mul(row.index, streams[2 * n + 1])])
                for n in {*strip.inputs, *strip.outputs}
            }
            with cgutils.for_range_slice(builder, I64(0), width, I64(vector.lanes), I64) as (column, _):
                places = {n: builder.gep(base, [column]) for n, base in bases.items()}
                inputs = [load_vector(builder, places[n], vector.llvm, bits) for n in strip.inputs]
                outputs = strip.function(spreads, *(Lanes(builder, vector, value) for value in inputs))
                for n, output in zip(strip.outputs, outputs, strict=True):
                    store_vector(builder, output.value, places[n], bits)
        builder.ret_void()

    return make


def strips(name, words):
    """A function for compiled code: run(code, (rows, width), (array, offset) of the numbers, streams).

    Each stream is (array, offset, stride of rows); `width` counts numbers and is taken in whole vectors.
    """

    @intrinsic
    def run(typing_context, code, shape, numbers, streams):
        vector = VECTORS[numbers[0].dtype]

        def emit(context, builder, sig, values):
            bodies = [_strip_function(word) for word in words]
            table = declare_table(context, builder.module, name, vector, _strip_type(len(streams))(vector), bodies)
            rows, width = (builder.extract_value(values[1], n) for n in range(2))
            arguments = operand(context, builder, numbers, values[2])
            for n, kind in enumerate(streams):
                arguments += operand(context, builder, kind, builder.extract_value(values[3], n))
            builder.call(builder.load(builder.gep(table, [I64(0), values[0]])), [rows, width, *arguments])
            return context.get_dummy_value()

        return types.void(types.int64, shape, numbers, streams), emit

    return run


def choice(functions, arity, results=1):
    """A function for compiled code: chosen(code, *vectors) -> functions[code](*vectors), one vector or a tuple."""

    def chosen(code, *vectors):
        """Only compiled code calls it."""

    class _Template(AbstractTemplate):
        key = chosen

        def generic(self, args, kws):
            vector = next((a for a in args if isinstance(a, Vector)), None)
            if vector and len(args) == arity + 1:
                result = vector if results == 1 else types.UniTuple(vector, results)
                return signature(result, types.int64, *[vector] * arity)

    infer_global(chosen, types.Function(_Template))

    @lower_builtin(chosen, types.int64, *[Vector] * arity)
    def _lower(context, builder, sig, values):
        vector = sig.args[1]
        code, *vectors = values
        end = builder.append_basic_block()
        blocks = [builder.append_basic_block() for _ in functions]
        switch = builder.switch(code, blocks[0])
        arrivals = []
        for n, (block, function) in enumerate(zip(blocks, functions, strict=True)):
            switch.add_case(I64(n), block)
            builder.position_at_end(block)
            found = function(*(Lanes(builder, vector, value) for value in vectors))
            arrivals.append((builder.block, [found] if results == 1 else found))
            builder.branch(end)
        builder.position_at_end(end)
        phis = [builder.phi(vector.llvm) for _ in range(results)]
        for block, found in arrivals:
            for phi, lanes in zip(phis, found, strict=True):
                phi.add_incoming(lanes.value, block)
        return phis[0] if results == 1 else cgutils.pack_array(builder, phis)

    return chosen
