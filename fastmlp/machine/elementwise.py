"""Components in compiled code: dispatch to functions of vectors by an integer, outside a loop or inside.

A component is a function of vectors without loops, traced once for each dtype (see `Lanes`). `elementwise_dispatch`
makes one LLVM function of each component, loops included, and calls it through a table: dispatch costs nothing within
the loops, and the caller is compiled without them. `vector_dispatch` writes all components down where it is called, for
loops that are not hot. Both take any code that no component of theirs has for the address of a function that was made
later, of a user's own component (see `own`): no code leads beyond a table.
"""

from typing import Any, NamedTuple

from llvmlite import ir

from .jit import cgutils, intrinsic, types, vector_types, with_numba
from .simd import I64, VECTORS, Lanes, load_vector, splat, store_vector, unrelated
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
        pairs = list(zip(streams[::2], streams[1::2], strict=True))
        with cgutils.for_range(builder, rows) as row:
            starts = [builder.gep(base, [builder.mul(row.index, stride)]) for base, stride in pairs]
            # Where a component leaves a number as it was, the compiler would write the others alone, through a mask,
            # which takes AMD's processors tens of cycles: it must not see that a number is written back to its place.
            ends = {n: unrelated(builder, starts[n]) for n in component.outputs}
            with cgutils.for_range_slice(builder, I64(0), width, I64(vector.lanes), I64) as (column, _):
                places = [builder.gep(starts[n], [column]) for n in component.inputs]
                inputs = [load_vector(builder, place, vector.llvm, bits) for place in places]
                outputs = component.function(splats, *(Lanes(builder, vector, value) for value in inputs))
                for n, output in zip(component.outputs, outputs, strict=True):
                    store_vector(builder, output.value, builder.gep(ends[n], [column]), bits)
        builder.ret_void()

    return make


def elementwise_function(component, streams, vector):
    """(LLVM's type, what writes the body) of the function that a call with so many streams asks for."""
    return _function_type(streams)(vector), _function_body(component)


def pointer_function(function, arity, results, vector):
    """(LLVM's type, what writes the body) of a function of vectors that takes and gives them in memory."""
    pointer, bits = vector.llvm.element.as_pointer(), vector.dtype.bitwidth

    def body(llvm_function, vector):
        builder = ir.IRBuilder(llvm_function.append_basic_block())
        places = llvm_function.args
        values = [load_vector(builder, place, vector.llvm, bits) for place in places[:arity]]
        found = function(*(Lanes(builder, vector, value) for value in values))
        for place, lanes in zip(places[arity:], found, strict=True):
            store_vector(builder, lanes.value, place, bits)
        builder.ret_void()

    return ir.FunctionType(ir.VoidType(), [pointer] * (arity + results)), body


def _call_own(builder, code, vector, values, results):
    """What the function at an address makes of vectors; see `pointer_function`."""
    bits, pointer = vector.dtype.bitwidth, vector.llvm.element.as_pointer()
    memory = [cgutils.alloca_once(builder, vector.llvm) for _ in range(len(values) + results)]
    places = [builder.bitcast(place, pointer) for place in memory]
    for place, value in zip(places, values):
        store_vector(builder, value, place, bits)
    kind = ir.FunctionType(ir.VoidType(), [pointer] * len(places))
    builder.call(builder.inttoptr(code, kind.as_pointer()), places)
    return [load_vector(builder, place, vector.llvm, bits) for place in places[len(values) :]]


def elementwise_dispatch(name, components):
    """A function for compiled code: run(code, (rows, width), (array, offset) of the numbers, streams).

    `code` is the place of a component, or the address of a function that `own.elementwise_address` has made.

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
            known = builder.icmp_unsigned("<", values[0], I64(len(bodies)))
            place = builder.gep(table, [I64(0), builder.select(known, values[0], I64(0))])
            own = builder.inttoptr(values[0], _function_type(len(streams))(vector).as_pointer())
            builder.call(builder.select(known, builder.load(place), own), [rows, width, *arguments])
            return context.get_dummy_value()

        return types.void(types.int64, shape, scalars, streams), emit

    return run


def vector_dispatch(functions, arity, results=1):
    """A function for compiled code: chosen(code, *vectors) -> functions[code](*vectors), one vector or a tuple.

    `code` is the place of a function, or the address of one that `own.vector_address` has made.
    """

    def chosen(code, *vectors):
        """Only compiled code calls it."""

    def emit(builder, vector, code, *values):
        end = builder.append_basic_block()
        blocks = [builder.append_basic_block() for _ in functions]
        own = builder.append_basic_block()
        switch = builder.switch(code, own)
        builder.position_at_end(own)
        found = _call_own(builder, code, vector, values, results)
        builder.branch(end)
        arrivals = [(own, found)]
        for n, (block, function) in enumerate(zip(blocks, functions, strict=True)):
            switch.add_case(I64(n), block)
            builder.position_at_end(block)
            found = function(*(Lanes(builder, vector, value) for value in values))
            values_found = [lanes.value for lanes in ([found] if results == 1 else found)]
            arrivals.append((builder.block, values_found))
            builder.branch(end)
        builder.position_at_end(end)
        phis = [builder.phi(vector.llvm) for _ in range(results)]
        for block, found in arrivals:
            for phi, value in zip(phis, found, strict=True):
                phi.add_incoming(value, block)
        return phis[0] if results == 1 else cgutils.pack_array(builder, phis)

    @with_numba
    def register():
        vector_types.register_dispatch(chosen, arity, results, emit)

    return chosen
