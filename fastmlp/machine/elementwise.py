"""Components in compiled code: a choice among functions of vectors by an integer, outside a loop or inside.

A component is a function of vectors without loops, traced once for each dtype (see `Lanes`). `elementwise_dispatch`
makes one LLVM function of each component, loops included, and calls it through a table: the choice costs nothing within
the loops, and the caller is compiled without them. `vector_dispatch` writes all components down where it is called, for
loops that are not hot.
"""

from typing import Any, NamedTuple

from llvmlite import ir

from .jit import cgutils, intrinsic, types, vector_types, with_numba
from .simd import I64, VECTORS, Lanes, load_vector, splat, store_vector
from .table import declare_table, operand


class ElementwiseFunction(NamedTuple):
    """A component over rows of vectors.

    function : (scalars, *inputs) -> outputs, one Lanes or several
    scalars : how many numbers it takes, the same for all vectors
    inputs, outputs : which of the streams it reads and writes
    """

    function: Any
    scalars: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def _function_type(streams):
    """Type of an elementwise function's LLVM function (rows, width, scalars, then address and row stride of each)."""

    def make(vector):
        pointer = vector.llvm.element.as_pointer()
        return ir.FunctionType(ir.VoidType(), [I64, I64, pointer, *[pointer, I64] * streams])

    return make


def _function_body(component):
    """What writes the loops of an elementwise function."""

    def make(function, vector):
        bits = vector.dtype.bitwidth
        rows, width, scalars, *streams = function.args
        builder = ir.IRBuilder(function.append_basic_block())
        splats = [builder.load(builder.gep(scalars, [I64(n)])) for n in range(component.scalars)]
        splats = [Lanes(builder, vector, splat(builder, number, vector.lanes)) for number in splats]
        with cgutils.for_range(builder, rows) as row:
            bases = {
                n: builder.gep(streams[2 * n], [builder.mul(row.index, streams[2 * n + 1])])
                for n in {*component.inputs, *component.outputs}
            }
            with cgutils.for_range_slice(builder, I64(0), width, I64(vector.lanes), I64) as (column, _):
                places = {n: builder.gep(base, [column]) for n, base in bases.items()}
                inputs = [load_vector(builder, places[n], vector.llvm, bits) for n in component.inputs]
                outputs = component.function(splats, *(Lanes(builder, vector, value) for value in inputs))
                for n, output in zip(component.outputs, outputs, strict=True):
                    store_vector(builder, output.value, places[n], bits)
        builder.ret_void()

    return make


def elementwise_dispatch(name, components):
    """A function for compiled code: run(code, (rows, width), (array, offset) of the numbers, streams).

    Each stream is (array, offset, stride of rows); `width` counts numbers and is taken in whole vectors.
    """

    @intrinsic
    def run(typing_context, code, shape, scalars, streams):
        vector = VECTORS[scalars[0].dtype]

        def emit(context, builder, sig, values):
            bodies = [_function_body(component) for component in components]
            table = declare_table(context, builder.module, name, vector, _function_type(len(streams))(vector), bodies)
            rows, width = (builder.extract_value(values[1], n) for n in range(2))
            arguments = operand(context, builder, scalars, values[2])
            for n, kind in enumerate(streams):
                arguments += operand(context, builder, kind, builder.extract_value(values[3], n))
            builder.call(builder.load(builder.gep(table, [I64(0), values[0]])), [rows, width, *arguments])
            return context.get_dummy_value()

        return types.void(types.int64, shape, scalars, streams), emit

    return run


def vector_dispatch(functions, arity, results=1):
    """A function for compiled code: chosen(code, *vectors) -> functions[code](*vectors), one vector or a tuple."""

    def chosen(code, *vectors):
        """Only compiled code calls it."""

    def emit(builder, vector, code, *values):
        end = builder.append_basic_block()
        blocks = [builder.append_basic_block() for _ in functions]
        switch = builder.switch(code, blocks[0])
        arrivals = []
        for n, (block, function) in enumerate(zip(blocks, functions, strict=True)):
            switch.add_case(I64(n), block)
            builder.position_at_end(block)
            found = function(*(Lanes(builder, vector, value) for value in values))
            arrivals.append((builder.block, [found] if results == 1 else found))
            builder.branch(end)
        builder.position_at_end(end)
        phis = [builder.phi(vector.llvm) for _ in range(results)]
        for block, found in arrivals:
            for phi, lanes in zip(phis, found, strict=True):
                phi.add_incoming(lanes.value, block)
        return phis[0] if results == 1 else cgutils.pack_array(builder, phis)

    @with_numba
    def register():
        vector_types.register_dispatch(chosen, arity, results, emit)

    return chosen
