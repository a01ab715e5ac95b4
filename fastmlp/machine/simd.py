"""A SIMD vector as a Numba type, so that a component reads as mathematics: `return maximum(z, 0)`.

A `Vector` holds as many numbers as one register of the host: 16 float32 with AVX-512, 8 with AVX2, 4 elsewhere.
Arithmetic, comparisons and the functions below work lane by lane; a plain number beside a vector is broadcast to its
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

from llvmlite import ir

from .jit import FASTMATH, cgutils, intrinsic, types, vector_types, with_numba

FLAGS = tuple(sorted(FASTMATH))
I32, I64 = ir.IntType(32), ir.IntType(64)


class _Vectors:
    """Numba's types of vectors, by the dtypes that Numba has for numbers; only what compiles looks them up."""

    def __getitem__(self, dtype):
        return vector_types.VECTORS[dtype]


VECTORS = _Vectors()


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
    base = value if isinstance(kind, vector_types.Pointer) else context.make_array(kind)(context, builder, value).data
    return builder.gep(base, [offset])


def load_vector(builder, pointer, llvm, bits):
    """Read a vector of numbers of `bits` bits, at any of their addresses."""
    value = builder.load(builder.bitcast(pointer, llvm.as_pointer()))
    value.align = bits // 8
    return value


def store_vector(builder, value, pointer, bits):
    """Write a vector of numbers of `bits` bits, at any of their addresses."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = bits // 8


def unrelated(builder, pointer):
    """The same address, which LLVM cannot know to be that of `pointer`."""
    hidden = ir.InlineAsm(ir.FunctionType(pointer.type, [pointer.type]), "", "=r,0")
    return builder.call(hidden, [pointer])


# --- operators --------------------------------------------------------------------------------------------------------


class Lanes:
    """A vector or mask of code that is being written: what a component sees in place of numbers.

    builder : of the LLVM code; kind : Vector or Mask; value : LLVM's
    """

    __array_ufunc__ = None  # numbers of NumPy leave operators to it

    def __init__(self, builder, kind, value):
        self.builder, self.kind, self.value = builder, kind, value

    def __bool__(self):
        raise TypeError("a vector has no truth value: choose lane by lane, with `where`")


def _trace(emit, result, values):
    """Write the code of an operation on Lanes; numbers beside them become constants."""
    like = next(v for v in values if isinstance(v, Lanes) and isinstance(v.kind, vector_types.Vector))
    operands = (v.value if isinstance(v, Lanes) else constant(like.kind, v) for v in values)
    return Lanes(like.builder, result(like.kind), emit(like.builder, like.kind, *operands))


def _register(function, arity, emit, result=lambda vector: vector):
    """Let compiled code call `function` of `arity` vectors; numbers beside a vector become vectors."""

    @with_numba
    def registration():
        vector_types.register_function(function, arity, emit, result)


def operation(emit, result=lambda vector: vector):
    """Decorator: a function of vectors from what it emits; its own body is empty."""

    def define(stub):
        @functools.wraps(stub)
        def function(*values):
            return _trace(emit, result, values)

        _register(function, len(inspect.signature(stub).parameters), emit, result)
        return function

    return define


def traced(function, result=lambda vector: vector):
    """Let compiled code call a function of vectors: its code is what the function does to `Lanes`."""

    def emit(builder, vector, *values):
        return function(*(Lanes(builder, vector, value) for value in values)).value

    _register(function, len(inspect.signature(function).parameters), emit, result)
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
    return vector_types.Mask(vector.dtype)


def _define_operator(name, arity, emit, result=lambda vector: vector):
    """An operator of vectors, in compiled code and on Lanes."""
    _register(getattr(operator, name), arity, emit, result)
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
    """Of a vector type: that of integers with as many lanes, as wide."""
    return VECTORS[vector_types.INTEGER[vector.dtype]]


def real_like(vector):
    """Of a vector type: that of real numbers with as many lanes, as wide."""
    return VECTORS[vector_types.REAL[vector.dtype]]


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


@with_numba
def _register_where():
    vector_types.register_choice(where)


# --- lanes ------------------------------------------------------------------------------------------------------------


@intrinsic
def lanes_of(typing_context, array):
    """Lanes of a vector of the array's dtype, a constant of the compiled code."""
    lanes = VECTORS[array.dtype].lanes
    return types.intp(array), lambda context, builder, sig, values: ir.Constant(I64, lanes)


def _first(builder, lanes, count):
    positions = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", positions, splat(builder, builder.trunc(count, I32), lanes))


@intrinsic
def mask_first(typing_context, vector, count):
    """Mask of the first `count` lanes of a vector like `vector`."""

    def emit(context, builder, sig, values):
        return _first(builder, vector.lanes, values[1])

    return vector_types.Mask(vector.dtype)(vector, types.intp), emit


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
    kind = vector_types.Pointer(types.unliteral(like))

    def emit(context, builder, sig, values):
        return builder.inttoptr(values[0], vector_types.scalar(kind.dtype).as_pointer())

    return kind(types.int64, like), emit


@intrinsic
def number_like(typing_context, pointer, number):
    """`number` in the dtype that `pointer` points to."""

    def emit(context, builder, sig, values):
        return context.cast(builder, values[1], number, pointer.dtype)

    return pointer.dtype(pointer, number), emit


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
