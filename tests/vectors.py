"""Components on vectors, called from tests: whole arrays through the code that kernels contain."""

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.simd import I64, VECTORS, Lanes, address, load_vector, splat, store_vector
from fastmlp.machine.target import lanes_of_dtype


def mapped(function, results=1, numbers=0):
    """A traced function as one of equally long 1-D arrays of one dtype, which returns `results` arrays.

    With `numbers`, the first argument is a sequence of that many numbers, which `function` gets as a list.
    """

    @intrinsic
    def run(typing_context, length, constants, inputs, outputs):
        vector = VECTORS[inputs.dtype.dtype]
        bits = vector.dtype.bitwidth

        def emit(context, builder, sig, values):
            def places(position, index):
                kinds = sig.args[position]
                arrays = [builder.extract_value(values[position], n) for n in range(len(kinds))]
                return [address(context, builder, kinds.dtype, array, index) for array in arrays]

            given = []
            for n in range(numbers):
                place = address(context, builder, constants, values[1], I64(n))
                given.append(Lanes(builder, vector, splat(builder, builder.load(place), vector.lanes)))
            with cgutils.for_range_slice(builder, I64(0), values[0], I64(vector.lanes), I64) as (index, _):
                lanes = [Lanes(builder, vector, load_vector(builder, p, vector.llvm, bits)) for p in places(2, index)]
                found = function(given, *lanes) if numbers else function(*lanes)
                for place, one in zip(places(3, index), [found] if results == 1 else found, strict=True):
                    store_vector(builder, one.value, place, bits)
            return context.get_dummy_value()

        return types.void(types.intp, constants, inputs, outputs), emit

    @njit(**OPTIONS)
    def loop(length, constants, inputs, outputs):
        run(length, constants, inputs, outputs)

    def call(*arguments):
        constants = np.array(arguments[0] if numbers else (), arguments[-1].dtype)
        arrays = arguments[1:] if numbers else arguments
        length = len(arrays[0])
        padding = -length % lanes_of_dtype(arrays[0].dtype)
        inputs = tuple(np.concatenate([a, np.ones(padding, a.dtype)]) for a in arrays)
        outputs = tuple(np.full_like(inputs[0], np.nan) for _ in range(results))
        loop(length, constants, inputs, outputs)
        outputs = tuple(output[:length] for output in outputs)
        return outputs[0] if results == 1 else outputs

    return call
