"""The register tile: a block of accumulators that stays in registers while k runs.

    out[i, j] = start[i, j] + sum over k of left[i, k] right[k, j]        i < rows, j < vectors * lanes

Each number of `left` is broadcast to a vector; `right` is read in whole vectors. `left` has free strides along i and k,
so the one tile serves X W (rows of X), delta W^T (rows of delta) and X^T delta (columns of X). `start` is read like
`out`: a bias (row stride 0), zeros, or what an earlier stretch of k has left. Every element is a chain of fused
multiply-adds in the order of k, whatever the shape of the tile: shapes, stretches and threads change no bit of it.

The accumulators, one row of `right` and (without AVX-512) one number in all lanes must fit the register file, see
`tallest`. With 8 x 3 vectors AVX-512 needs 27 of 32 registers and reaches the peak of two fused multiply-adds a cycle,
AVX2 does so with 4 x 3 (benchmarks/test_tiles.py). Each shape is one LLVM function, called through a table: the
caller's registers and its compile time stay out of it.
"""

from functools import partial

from llvmlite import ir

from .jit import inlined, intrinsic, types
from .simd import (
    FLAGS,
    I32,
    I64,
    VECTORS,
    address,
    call,
    constant,
    load_vector,
    shuffle,
    splat,
    store_vector,
    suffix,
    unrelated,
)
from .table import declare_table, operand
from .target import REGISTERS

NR = 3
MR = 8 if REGISTERS.count >= 32 else 4
TALLEST_POSSIBLE = 16


def tallest(vectors):
    """Rows of the tallest tile of that many vectors whose accumulators fit the register file."""
    return min((REGISTERS.count - 1) // vectors - 1, TALLEST_POSSIBLE)


TALLEST = (0, *map(tallest, range(1, NR + 1)))
# Rows of the tiles that a pass cuts its rows into, by their vectors.
TALL_ROWS = (0, 2 * MR, MR, MR)
TILE_TABLE = [
    (rows, vectors) if rows <= tallest(vectors) else None
    for vectors in range(1, NR + 1)
    for rows in range(1, TALLEST_POSSIBLE + 1)
]
DOT_ROWS, DOT_OUTPUTS = MR // 2, 4
DOT_TABLE = [(rows, outputs) for outputs in range(1, DOT_OUTPUTS + 1) for rows in range(1, DOT_ROWS + 1)]


def _tile_type(vector):
    """Type of a tile function (left, left_row, left_k, right, right_k, depth, start, start_row, out, out_row)."""
    pointer = vector.llvm.element.as_pointer()
    return ir.FunctionType(ir.VoidType(), [pointer, I64, I64, pointer, I64, I64, pointer, I64, pointer, I64])


def _tile_function(rows, vectors, function, vector):
    """The body of one shape."""
    bits = vector.dtype.bitwidth
    pointer = vector.llvm.element.as_pointer()
    left, left_row, left_k, right, right_k, depth, start, start_row, out, out_row = function.args

    def at(builder, base, row_stride, i, j):
        row = builder.gep(base, [builder.mul(row_stride, I64(i))])
        return builder.gep(row, [I64(j * vector.lanes)])

    entry, loop, done = (function.append_basic_block(name) for name in ("entry", "k", "done"))
    builder = ir.IRBuilder(entry)
    shape = [(i, j) for i in range(rows) for j in range(vectors)]
    initial = [load_vector(builder, at(builder, start, start_row, i, j), vector.llvm, bits) for i, j in shape]
    # One pointer for every four rows, unrelated in the compiler's eyes: it would make them a chain of eight additions.
    bases = [unrelated(builder, at(builder, left, left_row, i, 0)) for i in range(0, rows, 4)]
    within = [builder.mul(left_row, I64(i)) for i in range(4)]
    builder.branch(loop)

    builder.position_at_end(loop)
    remaining = builder.phi(I64)
    columns, row = [builder.phi(pointer) for _ in bases], builder.phi(pointer)
    sums = [builder.phi(vector.llvm) for _ in shape]
    loaded = [
        load_vector(builder, builder.gep(row, [I64(j * vector.lanes)]), vector.llvm, bits) for j in range(vectors)
    ]
    scalars = [builder.load(builder.gep(columns[i // 4], [within[i % 4]])) for i in range(rows)]
    splats = [splat(builder, number, vector.lanes) for number in scalars]
    name = f"llvm.fmuladd.{suffix(vector)}"
    new = [
        call(builder, name, vector.llvm, splats[i], loaded[j], total) for (i, j), total in zip(shape, sums, strict=True)
    ]
    rest = builder.sub(remaining, I64(1))
    phis = [remaining, *columns, row, *sums]
    before = [depth, *bases, right, *initial]
    after = [rest, *(builder.gep(column, [left_k]) for column in columns), builder.gep(row, [right_k]), *new]
    for phi, outside, inside in zip(phis, before, after, strict=True):
        phi.add_incoming(outside, entry)
        phi.add_incoming(inside, loop)
    builder.cbranch(builder.icmp_signed(">", rest, I64(0)), loop, done)

    builder.position_at_end(done)
    for (i, j), total in zip(shape, new, strict=True):
        store_vector(builder, total, at(builder, out, out_row, i, j), bits)
    builder.ret_void()


TILES = [shape and partial(_tile_function, *shape) for shape in TILE_TABLE]


@intrinsic
def multiply(typing_context, shape, left, right, start, out):
    """One tile: out = start + left right.

    shape : (rows, vectors, depth), with rows <= tallest(vectors) and depth >= 1
    left : (array, offset, stride of i, stride of k)
    right : (array, offset, stride of k)
    start, out : (array, offset, stride of i)
    """
    vector = VECTORS[left[0].dtype]

    def emit(context, builder, sig, values):
        rows, vectors, depth = (builder.extract_value(values[0], n) for n in range(3))
        index = builder.add(builder.mul(builder.sub(vectors, I64(1)), I64(TALLEST_POSSIBLE)), builder.sub(rows, I64(1)))
        table = declare_table(context, builder.module, "tile", vector, _tile_type(vector), TILES)
        left, right, start, out = map(operand, [context] * 4, [builder] * 4, sig.args[1:], values[1:])
        builder.call(builder.load(builder.gep(table, [I64(0), index])), [*left, *right, depth, *start, *out])
        return context.get_dummy_value()

    return types.void(shape, left, right, start, out), emit


def _dot_type(vector):
    """Type of a dot function (left, left_row, right, right_row, depth, out, out_row)."""
    pointer = vector.llvm.element.as_pointer()
    return ir.FunctionType(ir.VoidType(), [pointer, I64, pointer, I64, I64, pointer, I64])


def _dot_function(rows, outputs, function, vector):
    """The body of one shape."""
    bits, lanes = vector.dtype.bitwidth, vector.lanes
    left, left_row, right, right_row, depth, out, out_row = function.args
    entry, loop, done = (function.append_basic_block(name) for name in ("entry", "k", "done"))
    builder = ir.IRBuilder(entry)
    shape = [(i, j) for i in range(rows) for j in range(outputs)]
    lefts = [builder.gep(left, [builder.mul(left_row, I64(i))]) for i in range(rows)]
    rights = [builder.gep(right, [builder.mul(right_row, I64(j))]) for j in range(outputs)]
    builder.branch(loop)

    builder.position_at_end(loop)
    k = builder.phi(I64)
    sums = [builder.phi(vector.llvm) for _ in shape]
    a, b = ([load_vector(builder, builder.gep(p, [k]), vector.llvm, bits) for p in side] for side in (lefts, rights))
    name = f"llvm.fmuladd.{suffix(vector)}"
    new = [call(builder, name, vector.llvm, a[i], b[j], total) for (i, j), total in zip(shape, sums, strict=True)]
    following = builder.add(k, I64(lanes))
    before = [I64(0)] + [constant(vector, 0.0)] * len(sums)
    for phi, outside, inside in zip([k, *sums], before, [following, *new], strict=True):
        phi.add_incoming(outside, entry)
        phi.add_incoming(inside, loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)

    builder.position_at_end(done)
    for i in range(rows):
        base = builder.gep(out, [builder.mul(out_row, I64(i))])
        for first in range(0, outputs, lanes):
            group = new[i * outputs + first : i * outputs + min(first + lanes, outputs)]
            totals = _totals(builder, group, lanes)
            for j in range(len(group)):
                builder.store(builder.extract_element(totals, I32(j)), builder.gep(base, [I64(first + j)]))
    builder.ret_void()


def _totals(builder, vectors, lanes):
    """One vector whose first lanes are the sums over each of the vectors: they are halved together, two in one."""
    count = 1  # lanes of a vector that belong to different sums, side by side
    vectors = vectors + vectors[:1] * (2 ** (len(vectors) - 1).bit_length() - len(vectors))
    while len(vectors) > 1:  # the halves of x and y, added, stand side by side
        step = lanes // (2 * count)
        low = [n // step // 2 * 2 * step + n % step + (lanes if n // step % 2 else 0) for n in range(lanes)]
        high = [n + step for n in low]
        half = len(vectors) // 2
        pairs = zip(vectors[:half], vectors[half:], strict=True)
        vectors = [
            builder.fadd(shuffle(builder, x, y, low), shuffle(builder, x, y, high), flags=FLAGS) for x, y in pairs
        ]
        count *= 2
    total = vectors[0]
    step = lanes // count
    while step > 1:
        step //= 2
        moved = shuffle(builder, total, total, [(n + step) % lanes for n in range(lanes)])
        total = builder.fadd(total, moved, flags=FLAGS)
    return shuffle(builder, total, total, [n * (lanes // count) for n in range(count)])


DOTS = [partial(_dot_function, *shape) for shape in DOT_TABLE]


@intrinsic
def dots(typing_context, shape, left, right, out):
    """Scalar products of rows: out[i, j] = sum over k of left[i, k] right[j, k].

    For products with few outputs, which would fill a part of a vector only: here k runs along the lanes.

    shape : (rows, outputs, depth), with rows <= DOT_ROWS and outputs <= DOT_OUTPUTS; depth rounded up to whole vectors
    left, right, out : (array, offset, stride of i or j)
    """
    vector = VECTORS[left[0].dtype]

    def emit(context, builder, sig, values):
        rows, outputs, depth = (builder.extract_value(values[0], n) for n in range(3))
        index = builder.add(builder.mul(builder.sub(outputs, I64(1)), I64(DOT_ROWS)), builder.sub(rows, I64(1)))
        table = declare_table(context, builder.module, "dot", vector, _dot_type(vector), DOTS)
        left, right, out = map(operand, [context] * 3, [builder] * 3, sig.args[1:], values[1:])
        builder.call(builder.load(builder.gep(table, [I64(0), index])), [*left, *right, depth, *out])
        return context.get_dummy_value()

    return types.void(shape, left, right, out), emit


def side(lanes):
    """Rows that `transpose` takes at once: no more than a tile has, and a divisor of the lanes."""
    return min(MR, lanes)


side_of = inlined(side)


def _transposed(builder, rows, lanes):
    """Transpose the square blocks that `rows` (a power of two of vectors) hold side by side."""
    count = len(rows)
    half = count // 2
    while half:
        low = [n if not n % (2 * half) // half else n - half + lanes for n in range(lanes)]
        high = [n + half if not n % (2 * half) // half else n + lanes for n in range(lanes)]
        rows = list(rows)
        for i in range(count):
            if not i % (2 * half) // half:
                x, y = rows[i], rows[i + half]
                rows[i], rows[i + half] = shuffle(builder, x, y, low), shuffle(builder, x, y, high)
        half //= 2
    return rows


@intrinsic
def transpose(typing_context, source, target):
    """Write `side` rows of one vector each as `lanes` rows of `side` numbers each.

    source, target : (array, offset, row stride); side = side_of(lanes)
    """
    vector = VECTORS[source[0].dtype]
    lanes, bits, height = vector.lanes, vector.dtype.bitwidth, side(vector.lanes)

    def emit(context, builder, sig, values):
        def row(position, i):
            array, offset, stride = (builder.extract_value(values[position], n) for n in range(3))
            at_row = builder.add(offset, builder.mul(stride, I64(i)))
            return address(context, builder, sig.args[position][0], array, at_row)

        rows = _transposed(builder, [load_vector(builder, row(0, i), vector.llvm, bits) for i in range(height)], lanes)
        for n in range(lanes):
            block, line = n // height * height, rows[n % height]
            store_vector(builder, shuffle(builder, line, line, range(block, block + height)), row(1, n), bits)
        return context.get_dummy_value()

    return types.void(source, target), emit
