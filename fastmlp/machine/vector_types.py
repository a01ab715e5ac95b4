"""The types that Numba knows a SIMD vector, a mask and a pointer by, and what it may do with them.

Imported once something must be compiled; see `simd` for what they mean.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typeconv import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

from .simd import splat
from .target import REGISTERS


def scalar(dtype):
    """LLVM's type of a number."""
    if dtype == types.float32:
        return ir.FloatType()
    return ir.DoubleType() if dtype == types.float64 else ir.IntType(dtype.bitwidth)


class Vector(types.Type):
    """One register of float32, float64, int32 or int64 lanes."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = REGISTERS.bits // dtype.bitwidth
        super().__init__(name=f"Vector({self.lanes} x {dtype})")

    @property
    def real(self):
        return isinstance(self.dtype, types.Float)

    @property
    def llvm(self):
        return ir.VectorType(scalar(self.dtype), self.lanes)

    def can_convert_from(self, typing_context, other):
        return Conversion.safe if isinstance(other, types.Number) else None


class Mask(types.Type):
    """What a comparison of two vectors gives: one bit a lane. `dtype` is that of the compared vectors."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = REGISTERS.bits // dtype.bitwidth
        super().__init__(name=f"Mask({self.lanes} x {dtype})")


class Pointer(types.Type):
    """The address of numbers of one dtype: one register where an array is seven."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Pointer({dtype})")


VECTORS = {dtype: Vector(dtype) for dtype in (types.float32, types.float64, types.int32, types.int64)}
INTEGER = {types.float32: types.int32, types.float64: types.int64}
REAL = {integer: real for real, integer in INTEGER.items()}


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, vector.llvm)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, mask):
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.lanes))


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager, pointer):
        super().__init__(manager, pointer, scalar(pointer.dtype).as_pointer())


@lower_cast(types.Number, Vector)
def _number_to_vector(context, builder, number, vector, value):
    return splat(builder, context.cast(builder, value, number, vector.dtype), vector.lanes)


# --- functions of vectors ---------------------------------------------------------------------------------------------


def register_function(function, arity, emit, result):
    """Let compiled code call `function` of `arity` vectors; numbers beside a vector become vectors."""

    class _Template(AbstractTemplate):
        key = function

        def generic(self, args, kws):
            vector = next((a for a in args if isinstance(a, Vector)), None)
            if len(args) == arity and vector and all(a == vector or isinstance(a, types.Number) for a in args):
                return signature(result(vector), *[vector] * arity)

    infer_global(function, types.Function(_Template))

    @lower_builtin(function, *[Vector] * arity)
    def _lower(context, builder, sig, values):
        return emit(builder, sig.args[0], *values)


def register_choice(function):
    """Let compiled code call `function` of a mask and two vectors, which chooses lane by lane."""

    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            mask, *values = args
            vector = next((v for v in values if isinstance(v, Vector)), None)
            if isinstance(mask, Mask) and vector:
                return signature(vector, mask, vector, vector)

    @lower_builtin(function, Mask, Vector, Vector)
    def _lower(context, builder, sig, values):
        return builder.select(*values)


def register_dispatch(function, arity, results, emit):
    """Let compiled code call `function` of an integer and `arity` vectors, which gives `results` vectors.

    emit : (builder, vector, code, *values) -> LLVM's values
    """

    class _Template(AbstractTemplate):
        key = function

        def generic(self, args, kws):
            vector = next((a for a in args if isinstance(a, Vector)), None)
            if vector and len(args) == arity + 1:
                result = vector if results == 1 else types.UniTuple(vector, results)
                return signature(result, types.int64, *[vector] * arity)

    infer_global(function, types.Function(_Template))

    @lower_builtin(function, types.int64, *[Vector] * arity)
    def _lower(context, builder, sig, values):
        return emit(builder, sig.args[1], *values)


# --- memory -----------------------------------------------------------------------------------------------------------


@infer_global(operator.getitem)
class _PointerGet(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Pointer) and isinstance(args[1], types.Integer):
            return signature(args[0].dtype, args[0], types.intp)


@infer_global(operator.setitem)
class _PointerSet(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Pointer) and isinstance(args[1], types.Integer):
            return signature(types.none, args[0], types.intp, args[0].dtype)


@lower_builtin(operator.getitem, Pointer, types.intp)
def _pointer_get(context, builder, sig, values):
    return builder.load(builder.gep(values[0], [values[1]]))


@lower_builtin(operator.setitem, Pointer, types.intp, types.Number)
def _pointer_set(context, builder, sig, values):
    builder.store(values[2], builder.gep(values[0], [values[1]]))
    return context.get_dummy_value()
