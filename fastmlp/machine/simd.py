"""A SIMD vector as a Numba type, so that a component reads as mathematics: `return maximum(z, 0)`.

A `Vector` holds as many numbers as one register of the host: 16 float32 with AVX-512, 8 with AVX2, 4 elsewhere.
Arithmetic, comparisons and the functions below work lane by lane; a plain number beside a vector is spread over its
lanes and takes its dtype, so float32 code holds no float64. A comparison gives a `Mask`, for `where`. Integer vectors
(`bits_of`, `integer_of`) have the operators `+ - * & | ^ << >>` (shifts are logical) and serve exp, log and random
bits. A `Pointer` stands for an array inside compiled code.

Numba compiles the loops. A component, which has none, is traced instead: called once with `Lanes`, whose operators
write the LLVM code down. That takes a millisecond where Numba takes some sixty.

NaN comes through every function here: `maximum` and `minimum` compare and select, since LLVM's `maxnum` drops it.
"""

import functools
import inspect
import operator
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typeconv import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from .jit import FASTMATH


class Registers(NamedTuple):
    """The vector registers of a processor: their width in bits and their number."""

    bits: int
    count: int


def registers(features):
    """Vector registers, by the LLVM features in use (an iterable of names such as "avx2")."""
    features = set(features)
    if "avx512f" in features:
        return Registers(512, 32)
    if "avx2" in features:
        return Registers(256, 16)
    return Registers(128, 32 if "neon" in features else 16)


# NUMBA_CPU_FEATURES decides first (empty for NUMBA_CPU_NAME=generic), the host's features second: as in Numba itself.
FEATURES = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
REGISTERS = registers(feature[1:] for feature in FEATURES.split(",") if feature.startswith("+"))
FLAGS = tuple(sorted(FASTMATH))
I32, I64 = ir.IntType(32), ir.IntType(64)


class Vector(types.Type):
    """Numba type of one register of float32, float64, int32 or int64 lanes."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = REGISTERS.bits // dtype.bitwidth
        super().__init__(name=f"Vector({self.lanes} x {dtype})")

    @property
    def real(self):
        return isinstance(self.dtype, types.Float)

    @property
    def llvm(self):
        return ir.VectorType(_scalar(self.dtype), self.lanes)

    def can_convert_from(self, typing_context, other):
        return Conversion.safe if isinstance(other, types.Number) else None


class Mask(types.Type):
    """Numba type of what a comparison of two vectors gives: one bit a lane. `dtype` is that of the compared vectors."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = REGISTERS.bits // dtype.bitwidth
        super().__init__(name=f"Mask({self.lanes} x {dtype})")


class Pointer(types.Type):
    """Numba type of the address of numbers of one dtype: one register where an array is seven."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Pointer({dtype})")


def _scalar(dtype):
    if dtype == types.float32:
        return ir.FloatType()
    return ir.DoubleType() if dtype == types.float64 else ir.IntType(dtype.bitwidth)


VECTORS = {dtype: Vector(dtype) for dtype in (types.float32, types.float64, types.int32, types.int64)}
INTEGER = {types.float32: types.int32, types.float64: types.int64}
REAL = {integer: real for real, integer in INTEGER.items()}


def lanes_of_dtype(dtype):
    """Lanes of a vector of `dtype` (a NumPy dtype)."""
    return REGISTERS.bits // (8 * dtype.itemsize)


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
        super().__init__(manager, pointer, _scalar(pointer.dtype).as_pointer())


# --- pieces of LLVM ---------------------------------------------------------------------------------------------------


def constant(vector, value):
    """`value` in every lane of `vector`."""
    return ir.Constant(vector.llvm, [float(value) if vector.real else value] * vector.lanes)


def splat(builder, value, lanes):
    """A scalar in every lane."""
    start = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    start = builder.insert_element(start, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(start, start, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def shuffle(builder, x, y, lanes):
    """The lanes named by `lanes` from `x` followed by `y`."""
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def call(builder, name, result, *values):
    """Call LLVM's intrinsic `name`, all of whose arguments have the type of its result."""
    kind = ir.FunctionType(result, [v.type for v in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values, fastmath=FLAGS)


def suffix(vector):
    """How LLVM's intrinsics name the type of a real vector."""
    return f"v{vector.lanes}f{vector.dtype.bitwidth}"


def address(context, builder, kind, value, offset):
    """Address of the number at `offset` of an array or from a pointer."""
    base = value if isinstance(kind, Pointer) else context.make_array(kind)(context, builder, value).data
    return builder.gep(base, [offset])


def load_vector(builder, pointer, llvm, bits):
    """Read a vector of numbers of `bits` bits, at any of their addresses."""
    value = builder.load(builder.bitcast(pointer, llvm.as_pointer()))
    value.align = bits // 8
    return value


def store_vector(builder, value, pointer, bits):
    """Write a vector of numbers of `bits` bits, at any of their addresses."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = bits // 8


# --- operators --------------------------------------------------------------------------------------------------------


@lower_cast(types.Number, Vector)
def _number_to_vector(context, builder, number, vector, value):
    return splat(builder, context.cast(builder, value, number, vector.dtype), vector.lanes)


class Lanes:
    """A vector or mask of code that is being written: what a component sees in place of numbers.

    builder : of the LLVM code; kind : Vector or Mask; value : LLVM's
    """

    def __init__(self, builder, kind, value):
        self.builder, self.kind, self.value = builder, kind, value

    def __bool__(self):
        raise TypeError("a vector has no truth value: choose lane by lane, with `where`")


def _trace(emit, result, values):
    """Write the code of an operation on Lanes; numbers beside them become constants."""
    like = next(v for v in values if isinstance(v, Lanes) and isinstance(v.kind, Vector))
    operands = (v.value if isinstance(v, Lanes) else constant(like.kind, v) for v in values)
    return Lanes(like.builder, result(like.kind), emit(like.builder, like.kind, *operands))


def _teach(function, arity, emit, result=lambda vector: vector):
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


def operation(emit, result=lambda vector: vector):
    """Decorator: a function of vectors from what it emits; its own body is empty."""

    def define(stub):
        @functools.wraps(stub)
        def function(*values):
            return _trace(emit, result, values)

        _teach(function, len(inspect.signature(stub).parameters), emit, result)
        return function

    return define


def traced(function, result=lambda vector: vector):
    """Let compiled code call a function of vectors: its code is what the function does to `Lanes`."""

    def emit(builder, vector, *values):
        return function(*(Lanes(builder, vector, value) for value in values)).value

    _teach(function, len(inspect.signature(function).parameters), emit, result)
    return function


def _arithmetic(real, integer=None):
    def emit(builder, vector, *values):
        if vector.real:
            return getattr(builder, real)(*values, flags=FLAGS)
        return getattr(builder, integer)(*values)

    return emit


def _bitwise(name):
    return lambda builder, vector, x, y: getattr(builder, name)(x, y)


def _comparison(symbol):
    def emit(builder, vector, x, y):
        if not vector.real:
            return builder.icmp_signed(symbol, x, y)
        return (builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered)(symbol, x, y)

    return emit


def _mask_like(vector):
    return Mask(vector.dtype)


def _define_operator(name, arity, emit, result=lambda vector: vector):
    """An operator of vectors, in compiled code and on Lanes."""
    _teach(getattr(operator, name), arity, emit, result)
    method = name.strip("_")
    setattr(Lanes, f"__{method}__", lambda *values: _trace(emit, result, values))
    if arity == 2:
        setattr(Lanes, f"__r{method}__", lambda x, y: _trace(emit, result, (y, x)))


for _name, _real, _integer in (
    ("add", "fadd", "add"),
    ("sub", "fsub", "sub"),
    ("mul", "fmul", "mul"),
    ("truediv", "fdiv", None),
):
    _define_operator(_name, 2, _arithmetic(_real, _integer))
_define_operator("neg", 1, _arithmetic("fneg", "neg"))
for _name, _llvm in (("and_", "and_"), ("or_", "or_"), ("xor", "xor"), ("lshift", "shl"), ("rshift", "lshr")):
    _define_operator(_name, 2, _bitwise(_llvm))
for _name, _symbol in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
    _define_operator(_name, 2, _comparison(_symbol), _mask_like)


# --- functions --------------------------------------------------------------------------------------------------------


def _select(symbol):
    def emit(builder, vector, x, y):
        return builder.select(_comparison(symbol)(builder, vector, x, y), y, x)

    return emit


def _intrinsic(name):
    def emit(builder, vector, *values):
        return call(builder, f"llvm.{name}.{suffix(vector)}", vector.llvm, *values)

    return emit


@operation(_select("<"))
def maximum(x, y):
    """The larger of `x` and `y`; a NaN in `x` stays."""


@operation(_select(">"))
def minimum(x, y):
    """The smaller of `x` and `y`; a NaN in `x` stays."""


@operation(_intrinsic("sqrt"))
def sqrt(x):
    """Square root, correctly rounded."""


@operation(_intrinsic("fabs"))
def absolute(x):
    """|x|."""


@operation(_intrinsic("rint"))
def rint(x):
    """The nearest whole number, halves to even."""


@operation(_intrinsic("fmuladd"))
def fma(x, y, z):
    """x y + z, rounded once where the processor can (LLVM's `fmuladd`)."""


@operation(_intrinsic("copysign"))
def copysign(x, y):
    """|x| with the sign of `y`."""


@operation(lambda builder, vector, x, number: number)
def full_like(x, number):
    """A vector like `x`, full of `number`."""


def integer_like(vector):
    return VECTORS[INTEGER[vector.dtype]]


def real_like(vector):
    return VECTORS[REAL[vector.dtype]]


@operation(lambda builder, vector, x: builder.bitcast(x, integer_like(vector).llvm), integer_like)
def bits_of(x):
    """The bits of a real vector, as integers."""


@operation(lambda builder, vector, n: builder.bitcast(n, real_like(vector).llvm), real_like)
def real_of_bits(n):
    """The real vector with these bits."""


@operation(lambda builder, vector, x: builder.fptosi(x, integer_like(vector).llvm), integer_like)
def integer_of(x):
    """A real vector of whole numbers (below 2^31, or 2^63), as integers."""


@operation(lambda builder, vector, n: builder.sitofp(n, real_like(vector).llvm), real_like)
def real_of(n):
    """An integer vector, as real numbers."""


def by_dtype(single, double):
    """A constant: called with a vector, `single` in every lane of 32 bits or `double` in every lane of 64."""

    def emit(builder, vector, x):
        return constant(vector, single if vector.dtype.bitwidth == 32 else double)

    return operation(emit)(lambda x: None)


epsilon_like = by_dtype(2.0**-23, 2.0**-52)
smallest_like = by_dtype(2.0**-126, 2.0**-1022)  # the smallest normal number


def where(mask, x, y):
    """`x` where the mask is set, else `y`; one of the two may be a number."""
    return _trace(lambda builder, vector, *values: builder.select(mask.value, *values), lambda vector: vector, (x, y))


@infer_global(where)
class _WhereTemplate(AbstractTemplate):
    def generic(self, args, kws):
        mask, *values = args
        vector = next((v for v in values if isinstance(v, Vector)), None)
        if isinstance(mask, Mask) and vector:
            return signature(vector, mask, vector, vector)


@lower_builtin(where, Mask, Vector, Vector)
def _lower_where(context, builder, sig, values):
    return builder.select(*values)


# --- lanes ------------------------------------------------------------------------------------------------------------


@intrinsic
def lanes_of(typing_context, array):
    """Lanes of a vector of the array's dtype, a constant of the compiled code."""
    lanes = VECTORS[array.dtype].lanes
    return types.intp(array), lambda context, builder, sig, values: ir.Constant(I64, lanes)


def _first(builder, lanes, count):
    scalars = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", scalars, splat(builder, builder.trunc(count, I32), lanes))


@intrinsic
def mask_first(typing_context, vector, count):
    """Mask of the first `count` lanes of a vector like `vector`."""

    def emit(context, builder, sig, values):
        return _first(builder, vector.lanes, values[1])

    return Mask(vector.dtype)(vector, types.intp), emit


def _reduction(combine):
    """Halve the vector until one lane is left: a fixed order, and faster than LLVM's own reductions."""

    @intrinsic
    def reduce(typing_context, x):
        def emit(context, builder, sig, values):
            value, lanes = values[0], x.lanes
            while lanes > 1:
                lanes //= 2
                low, high = (shuffle(builder, value, value, range(at, at + lanes)) for at in (0, lanes))
                value = combine(builder, x, low, high)
            return builder.extract_element(value, ir.Constant(I32, 0))

        return x.dtype(x), emit

    return reduce


reduce_add = _reduction(_arithmetic("fadd", "add"))
reduce_max = _reduction(_select("<"))


# --- memory -----------------------------------------------------------------------------------------------------------


@intrinsic
def pointer(typing_context, address, like):
    """The address (an integer) of numbers that have the dtype of the number `like`."""
    kind = Pointer(types.unliteral(like))

    def emit(context, builder, sig, values):
        return builder.inttoptr(values[0], _scalar(kind.dtype).as_pointer())

    return kind(types.int64, like), emit


@intrinsic
def number_like(typing_context, pointer, number):
    """`number` in the dtype that `pointer` points to."""

    def emit(context, builder, sig, values):
        return context.cast(builder, values[1], number, pointer.dtype)

    return pointer.dtype(pointer, number), emit


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


@intrinsic
def load(typing_context, array, offset):
    """The vector at `array.flat[offset]`."""
    vector = VECTORS[array.dtype]

    def emit(context, builder, sig, values):
        pointer = address(context, builder, array, *values)
        return load_vector(builder, pointer, vector.llvm, array.dtype.bitwidth)

    return vector(array, types.intp), emit


@intrinsic
def load_first(typing_context, array, offset, count):
    """The first `count` lanes from `array.flat[offset]`, zeros after them; nothing beyond is read."""
    vector = VECTORS[array.dtype]

    def emit(context, builder, sig, values):
        mask = _first(builder, vector.lanes, values[2])
        pointer = builder.bitcast(address(context, builder, array, *values[:2]), vector.llvm.as_pointer())
        kind = ir.FunctionType(vector.llvm, [pointer.type, I32, mask.type, vector.llvm])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{suffix(vector)}.p0")
        return builder.call(function, [pointer, I32(array.dtype.bitwidth // 8), mask, constant(vector, 0.0)])

    return vector(array, types.intp, types.intp), emit


@intrinsic
def store(typing_context, array, offset, vector):
    """Write `vector` to `array.flat[offset]` and the lanes after it."""

    def emit(context, builder, sig, values):
        pointer = address(context, builder, array, *values[:2])
        store_vector(builder, values[2], pointer, array.dtype.bitwidth)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), emit


@intrinsic
def prefetch(typing_context, array, offset):
    """Ask for the cache line of `array.flat[offset]`; any offset will do."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])

    def emit(context, builder, sig, values):
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        pointer = builder.bitcast(address(context, builder, array, *values), byte)
        builder.call(function, [pointer] + [ir.Constant(I32, n) for n in (0, 3, 1)])  # read, keep close, data
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


@intrinsic
def store_first(typing_context, array, offset, vector, count):
    """Write the first `count` lanes of `vector` to `array.flat[offset]`; nothing beyond is written."""

    def emit(context, builder, sig, values):
        mask = _first(builder, vector.lanes, values[3])
        pointer = builder.bitcast(address(context, builder, array, *values[:2]), vector.llvm.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [vector.llvm, pointer.type, I32, mask.type])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.{suffix(vector)}.p0")
        builder.call(function, [values[2], pointer, I32(array.dtype.bitwidth // 8), mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), emit
