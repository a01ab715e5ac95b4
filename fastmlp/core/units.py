"""What concerns whole units or whole rows, beside the products: normalization, learned slopes, dropout.

A tile sees eight rows of a few units. What needs more of them comes after the product, in loops over the thread's rows
of the chunk: some operations for each output, where the product takes as many as there are units below. Batch
normalization needs all rows besides, hence two barriers on the way up and two on the way down.

Z, A, D (slopes, then deltas) and what is saved have the shape (m, n) at a level of n units, for a chunk of m rows;
gain, shift and the other unit parameters (n,). Threads share out the rows, or the units where all rows are needed.
"""

from ..machine.jit import inlined
from ..machine.kernels import entry
from ..machine.random import iota, scrambled, uniform
from ..machine.record import read
from ..machine.simd import (
    bits_of,
    full_like,
    lanes_of,
    load,
    mask_first,
    maximum,
    minimum,
    number_like,
    reduce_add,
    reduce_max,
    sqrt,
    store,
    where,
)
from ..optimizers import NORMALIZATION, SLOPES
from .affine import activate_tile, write_ones
from .layout import narrow_at, panel_at, panel_of, row_at, unit_at, unit_parameter_at, vectors_of
from .records import (
    GAINS,
    GRADIENT,
    HYPERPARAMETERS,
    LAYER,
    LEARNED,
    MEANS,
    NO_NORMALIZATION,
    SHIFTS,
    STEP,
    VARIANCES,
    Buffers,
    Chunk,
    Components,
    Layout,
    Tables,
    ThreadContext,
)
from .update import optimizer_step

# What `unit_pass` does: on the way up, on the way down, with the weights.
DROP, LAYER_NORMALIZE, BATCH_STATISTICS, RUNNING_STATISTICS, BATCH_NORMALIZE, ACTIVATE = range(6)
LAYER_BACKWARD, BATCH_SUMS, BATCH_BACKWARD = range(6, 9)
UPDATE, SQUARES, LIMIT_NORMS = range(9, 12)

# Rows of `statistics`: one number for each unit; then, of layer normalization, one for each row of each level.
MEAN, SCALE, OF_ROWS = range(3)


@entry
def unit_pass(zero, number, level, tables):
    """One of the passes of this file, at a level of shape (m, n), for the thread whose `tables` these are.

    Parameters
    ----------
    zero : a number of the network's dtype
    number : which one, from DROP to LIMIT_NORMS
    level : of its units; any where it is about all
    tables : address of the table of Tables
    """
    records = read(Tables, tables, zero)
    components, layout = read(Components, records.components, zero), read(Layout, records.layout, zero)
    buffers, context = read(Buffers, records.buffers, zero), read(ThreadContext, records.context, zero)
    chunk = read(Chunk, records.chunk, zero)
    if number <= ACTIVATE:
        pass_up(number, components, layout, level, chunk, context, buffers)
    elif number <= BATCH_BACKWARD:
        pass_down(number, layout, level, chunk.span, context, buffers)
    elif number == UPDATE:
        update_units(components, layout, chunk, context, buffers)
    elif number == SQUARES:
        buffers.norms[layout.blocks] = unit_parameter_squares(layout, buffers)  # every thread writes the same
    else:
        limit_norms(layout, chunk.scalars.settings.max_norm, context.rank, context.n_threads, buffers)


@inlined
def pass_up(number, components, layout, level, chunk, context, buffers):
    """A pass on the way up; Z : (m, n) at its level."""
    span, epsilon = chunk.span, chunk.scalars.settings.epsilon
    learned = level and components.learned[level - 1]
    if number == DROP:
        drop(layout, level, context.keep[level], learned, chunk.seed, span, buffers)
    elif number == LAYER_NORMALIZE:
        layer_normalize(layout, level, epsilon, span, buffers)
    elif number == BATCH_STATISTICS:
        batch_statistics(layout, level, chunk.scalars, span.rows, context.rank, context.n_threads, buffers)
    elif number == RUNNING_STATISTICS:
        running_statistics(layout, level, epsilon, buffers)
    elif number == BATCH_NORMALIZE:
        batch_normalize(layout, level, span, buffers)
    else:
        activate(layout, level, components.activation[level - 1], learned, span, buffers)


@inlined
def pass_down(number, layout, level, span, context, buffers):
    """A pass on the way down; D : (m, n) at its level."""
    if number == LAYER_BACKWARD:
        layer_backward(layout, level, span, buffers)
    elif number == BATCH_SUMS:
        batch_sums(layout, level, span.rows, context.rank, context.n_threads, buffers)
    else:
        batch_backward(layout, level, span, buffers)


@inlined
def update_units(components, layout, chunk, context, buffers):
    """Gradients of the thread's unit parameters, (n_l,) of level l, and where the batch ends, the step."""
    scalars, blocks, rank, n_threads = chunk.scalars, chunk.blocks, context.rank, context.n_threads
    for level in range(1, layout.layers):
        for unit_parameter in (HYPERPARAMETERS, GAINS, SHIFTS):
            slopes, by_layer = unit_parameter == HYPERPARAMETERS, components.normalization == LAYER
            if components.learned[level - 1] if slopes else components.normalization != NO_NORMALIZATION:
                if blocks.rows and (slopes or by_layer):
                    unit_parameter_gradient(
                        layout, level, unit_parameter, blocks.rows, blocks.accumulate, rank, n_threads, buffers
                    )
                if blocks.phase != STEP and chunk.ends_batch:
                    scale_unit_gradient(layout, level, unit_parameter, scalars, rank, n_threads, buffers)
                if blocks.phase != GRADIENT and chunk.ends_batch:
                    unit_parameter_update(
                        layout, level, unit_parameter, components.optimizer, scalars, rank, n_threads, buffers
                    )


@inlined
def saved_at(layout, unit_parameter):
    """How far from the outputs of a row lies, in `saved`, what it gives to the gradient of a learned unit parameter."""
    return unit_parameter * layout.rows_at[layout.layers + 1]


@inlined
def thread_vectors(layout, level, rank, n_threads, lanes):
    """(first, stop) of the numbers (n,) of a level's units that a thread owns, in whole vectors."""
    vectors = vectors_of(layout.units[level], lanes)
    return vectors * rank // n_threads * lanes, vectors * (rank + 1) // n_threads * lanes


@inlined
def activate(layout, level, activation, learned, span, buffers):
    """Z -> f(Z) and its slope, (m, n), for the thread's rows; a learned slope keeps min(Z, 0) for its gradient."""
    Z, lanes, stride = buffers.outputs, lanes_of(buffers.outputs), layout.stride[level]
    at = row_at(layout, level, span.start)
    if learned:
        saved = saved_at(layout, HYPERPARAMETERS)
        for r in range(span.stop - span.start):
            for c in range(at + r * stride, at + r * stride + layout.units[level], lanes):
                store(buffers.saved, saved + c, minimum(load(Z, c), 0))
    activate_tile(layout, level, activation, span.stop - span.start, 0, layout.units[level], at, buffers)
    write_ones(layout, level, span, buffers)


@inlined
def layer_normalize(layout, level, epsilon, span, buffers):
    """X = (Z - mean) / sqrt(variance + epsilon), means (m,) over units; Z = gain X + shift. X, (m, n), is kept."""
    Z, X, W = buffers.outputs, buffers.saved, buffers.weights
    lanes, units = lanes_of(Z), layout.units[level]
    gains, shifts = unit_parameter_at(layout, GAINS, level), unit_parameter_at(layout, SHIFTS, level)
    saved = saved_at(layout, GAINS)
    inverse = unit_at(layout, OF_ROWS, 0) + level * span.capacity
    share = number_like(Z, 1 / units)
    for r in range(span.start, span.stop):
        at = row_at(layout, level, r)
        total = full_like(load(Z, at), 0)
        for c in range(0, units, lanes):
            total = total + where(mask_first(total, units - c), load(Z, at + c), 0)
        mean = full_like(total, reduce_add(total) * share)
        total = full_like(mean, 0)
        for c in range(0, units, lanes):
            deviation = where(mask_first(total, units - c), load(Z, at + c) - mean, 0)
            total = total + deviation * deviation
        scale = 1 / sqrt(full_like(mean, reduce_add(total) * share + epsilon))
        buffers.statistics[inverse + r] = reduce_max(scale)
        for c in range(0, units, lanes):
            x = where(mask_first(mean, units - c), (load(Z, at + c) - mean) * scale, 0)
            store(X, saved + at + c, x)
            store(Z, at + c, x * load(W, gains + c) + load(W, shifts + c))


@inlined
def layer_backward(layout, level, span, buffers):
    """delta = (d - mean(d) - x mean(d x)) / sqrt(variance + epsilon), d = delta gain; keeps delta x and delta.

    delta, x : (m, n); means over the units of a row : (m,)

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016, supplement.
    """
    D, X, W = buffers.deltas, buffers.saved, buffers.weights
    lanes, units = lanes_of(D), layout.units[level]
    gains = unit_parameter_at(layout, GAINS, level)
    saved = saved_at(layout, GAINS)
    shift = saved_at(layout, SHIFTS)
    inverse = unit_at(layout, OF_ROWS, 0) + level * span.capacity
    share = number_like(D, 1 / units)
    for r in range(span.start, span.stop):
        at = row_at(layout, level, r)
        plain = full_like(load(D, at), 0)
        along = plain
        for c in range(0, units, lanes):
            d = load(D, at + c) * load(W, gains + c)
            plain = plain + d
            along = along + d * load(X, saved + at + c)
        mean, slope = reduce_add(plain) * share, reduce_add(along) * share
        scale = buffers.statistics[inverse + r]
        for c in range(0, units, lanes):
            delta, x = load(D, at + c), load(X, saved + at + c)
            store(X, shift + at + c, delta)
            store(X, saved + at + c, delta * x)
            d = (delta * load(W, gains + c) - mean - x * slope) * scale
            store(D, at + c, where(mask_first(d, units - c), d, 0))


@inlined
def batch_statistics(layout, level, scalars, rows, rank, n_threads, buffers):
    """Mean and 1 / sqrt(variance + epsilon) of the thread's units over all rows; running ones follow.

    Z : (m, n); means and deviations : (n,)

    The running variance is that of the population, rows / (rows - 1) times the batch's (Ioffe and Szegedy 2015,
    algorithm 2).
    """
    Z, W, S = buffers.outputs, buffers.weights, buffers.statistics
    lanes, stride = lanes_of(Z), layout.stride[level]
    share, population = number_like(Z, 1 / rows), number_like(Z, rows / max(1, rows - 1))
    means, variances = unit_parameter_at(layout, MEANS, level), unit_parameter_at(layout, VARIANCES, level)
    begin, stop = thread_vectors(layout, level, rank, n_threads, lanes)
    for c in range(begin, stop, lanes):
        at = row_at(layout, level, 0) + c
        total = full_like(load(Z, at), 0)
        for r in range(rows):
            total = total + load(Z, at + r * stride)
        mean = total * share
        total = full_like(mean, 0)
        for r in range(rows):
            deviation = load(Z, at + r * stride) - mean
            total = total + deviation * deviation
        variance = total * share
        store(S, unit_at(layout, MEAN, level) + c, mean)
        store(S, unit_at(layout, SCALE, level) + c, 1 / sqrt(variance + scalars.settings.epsilon))
        if rows > 1:  # a single row, such as the last of an epoch, has no variance
            running = load(W, means + c)
            store(W, means + c, running + (mean - running) * scalars.settings.momentum)
            running = load(W, variances + c)
            store(W, variances + c, running + (variance * population - running) * scalars.settings.momentum)


@inlined
def running_statistics(layout, level, epsilon, buffers):
    """The statistics (n,) for predictions: those of training, as they ran. Every thread writes the same."""
    W, S = buffers.weights, buffers.statistics
    means, variances = unit_parameter_at(layout, MEANS, level), unit_parameter_at(layout, VARIANCES, level)
    for c in range(0, layout.units[level], lanes_of(W)):
        store(S, unit_at(layout, MEAN, level) + c, load(W, means + c))
        store(S, unit_at(layout, SCALE, level) + c, 1 / sqrt(load(W, variances + c) + epsilon))


@inlined
def batch_normalize(layout, level, span, buffers):
    """X = (Z - mean) / sqrt(variance + epsilon), means (n,) over rows; Z = gain X + shift. X, (m, n), is kept."""
    Z, X, W, S = buffers.outputs, buffers.saved, buffers.weights, buffers.statistics
    gains, shifts = unit_parameter_at(layout, GAINS, level), unit_parameter_at(layout, SHIFTS, level)
    means, scales = unit_at(layout, MEAN, level), unit_at(layout, SCALE, level)
    saved = saved_at(layout, GAINS)
    for r in range(span.start, span.stop):
        at = row_at(layout, level, r)
        for c in range(0, layout.units[level], lanes_of(Z)):
            x = (load(Z, at + c) - load(S, means + c)) * load(S, scales + c)
            store(X, saved + at + c, x)
            store(Z, at + c, x * load(W, gains + c) + load(W, shifts + c))


@inlined
def batch_sums(layout, level, rows, rank, n_threads, buffers):
    """The gradient (n,) of the thread's gains and shifts: sums of delta x and of delta over all rows."""
    D, X, G = buffers.deltas, buffers.saved, buffers.unit_parameter_gradient
    lanes, stride = lanes_of(D), layout.stride[level]
    saved = saved_at(layout, GAINS)
    begin, stop = thread_vectors(layout, level, rank, n_threads, lanes)
    for c in range(begin, stop, lanes):
        at = row_at(layout, level, 0) + c
        plain = full_like(load(D, at), 0)
        along = plain
        for r in range(rows):
            delta = load(D, at + r * stride)
            plain = plain + delta
            along = along + delta * load(X, saved + at + r * stride)
        store(G, unit_at(layout, GAINS, level) + c, along)
        store(G, unit_at(layout, SHIFTS, level) + c, plain)


@inlined
def batch_backward(layout, level, span, buffers):
    """delta = gain (delta - mean(delta) - x mean(delta x)) / sqrt(variance + epsilon); means (n,) over the rows.

    delta, x : (m, n)

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015, section 3.
    """
    D, X, W, S, G = buffers.deltas, buffers.saved, buffers.weights, buffers.statistics, buffers.unit_parameter_gradient
    gains, scales = unit_parameter_at(layout, GAINS, level), unit_at(layout, SCALE, level)
    along, plain = unit_at(layout, GAINS, level), unit_at(layout, SHIFTS, level)
    saved = saved_at(layout, GAINS)
    share = number_like(D, 1 / span.rows)
    for r in range(span.start, span.stop):
        at = row_at(layout, level, r)
        for c in range(0, layout.units[level], lanes_of(D)):
            centred = load(D, at + c) - (load(G, plain + c) + load(X, saved + at + c) * load(G, along + c)) * share
            store(D, at + c, centred * load(W, gains + c) * load(S, scales + c))


@inlined
def unit_parameter_gradient(layout, level, unit_parameter, rows, accumulate, rank, n_threads, buffers):
    """G = G + sums (n,) over the m rows of the chunk, for the thread's units and one learned unit parameter."""
    X, G, lanes = buffers.saved, buffers.unit_parameter_gradient, lanes_of(buffers.saved)
    begin, stop = thread_vectors(layout, level, rank, n_threads, lanes)
    target = unit_at(layout, unit_parameter, level)
    for c in range(begin, stop, lanes):
        at = saved_at(layout, unit_parameter) + row_at(layout, level, 0) + c
        total = load(G, target + c)
        if not accumulate:
            total = full_like(total, 0)
        for r in range(rows):
            total = total + load(X, at + r * layout.stride[level])
        store(G, target + c, total)


@inlined
def scale_unit_gradient(layout, level, unit_parameter, scalars, rank, n_threads, buffers):
    """G -> g = G / sum of sample weights, clipped, of shape (n,)."""
    G, lanes = buffers.unit_parameter_gradient, lanes_of(buffers.unit_parameter_gradient)
    begin, stop = thread_vectors(layout, level, rank, n_threads, lanes)
    target = unit_at(layout, unit_parameter, level)
    for c in range(target + begin, target + stop, lanes):
        clip = scalars.settings.clip_value
        store(G, c, minimum(maximum(load(G, c) * scalars.share, -clip), clip))


@inlined
def unit_parameter_squares(layout, buffers):
    """Sum of squares of the gradients of all learned unit parameters; zeros where there are none."""
    G = buffers.unit_parameter_gradient
    total = 0.0
    for c in range(0, LEARNED * layout.unit_parameter_row, lanes_of(G)):
        g = load(G, c)
        total += reduce_add(g * g)
    return total


@inlined
def unit_parameter_update(layout, level, unit_parameter, optimizer, scalars, rank, n_threads, buffers):
    """One optimizer step on the thread's units of one learned unit parameter, of shape (n,)."""
    G = buffers.unit_parameter_gradient
    begin, stop = thread_vectors(layout, level, rank, n_threads, lanes_of(G))
    gradient, weights = (
        (G, unit_at(layout, unit_parameter, level) + begin, 0),
        (unit_parameter_at(layout, unit_parameter, level) + begin, 0),
    )
    group = SLOPES if unit_parameter == HYPERPARAMETERS else NORMALIZATION
    optimizer_step(optimizer, scalars, group, (1, stop - begin), gradient, weights, buffers)


@inlined
def drop(layout, level, keep, learned, seed, span, buffers):
    """Dropout: each output (m, n) is zero with probability 1 - keep, else divided by it; so are its slopes.

    Random bits are a function of (seed, level, position, unit), hence the same for any number of threads.
    Source: Srivastava et al., "Dropout", JMLR 15 (2014); the division in training, "inverted dropout", leaves
    predictions as they are.
    """
    A, D, lanes = buffers.outputs, buffers.deltas, lanes_of(buffers.outputs)
    zero = bits_of(full_like(load(A, 0), 0))
    stream = scrambled(scrambled(zero + seed) + level)
    threshold, scale = full_like(load(A, 0), keep), full_like(load(A, 0), 1 / keep)
    saved = saved_at(layout, HYPERPARAMETERS)
    for r in range(span.start, span.stop):
        at = row_at(layout, level, r)
        row = scrambled(stream + (span.at + r))
        for c in range(0, layout.units[level], lanes):
            factor = where(uniform(scrambled(row + (iota(zero) + c))) < threshold, scale, 0)
            store(A, at + c, load(A, at + c) * factor)
            if level:
                store(D, at + c, load(D, at + c) * factor)
            if learned:
                store(buffers.saved, saved + at + c, load(buffers.saved, saved + at + c) * factor)
    write_ones(layout, level, span, buffers)


@inlined
def limit_norms(layout, limit, rank, n_threads, buffers):
    """Weights into a unit, (n_below,), are scaled down to the norm `limit`, without the bias; threads share the units.

    Source: Srivastava et al. 2014, section 5.1 (max-norm regularization).
    """
    W = buffers.weights
    lanes = lanes_of(W)
    for layer in range(layout.layers):
        units, above = layout.units[layer], layout.units[layer + 1]
        if layout.narrow[layer]:
            for n in range(above * rank // n_threads, above * (rank + 1) // n_threads):
                row = narrow_at(layout, layer, n, 0)
                total = full_like(load(W, row), 0)
                for c in range(0, units, lanes):
                    w = where(mask_first(total, units - c), load(W, row + c), 0)
                    total = total + w * w
                scale = shrinking(full_like(total, reduce_add(total)), limit)
                for c in range(0, units, lanes):
                    w = load(W, row + c)
                    store(W, row + c, where(mask_first(total, units - c), w * scale, w))
        else:
            vectors = vectors_of(above, lanes)
            for v in range(vectors * rank // n_threads, vectors * (rank + 1) // n_threads):
                start, count = panel_of(vectors, v)
                width = count * lanes
                column = panel_at(layout, layer, start, lanes) + (v - start) * lanes
                total = full_like(load(W, column), 0)
                for c in range(column, column + units * width, width):
                    w = load(W, c)
                    total = total + w * w
                scale = shrinking(total, limit)
                for c in range(column, column + units * width, width):
                    store(W, c, load(W, c) * scale)


@inlined
def shrinking(squares, limit):
    """limit / norm where the norm is larger, else 1."""
    return where(squares > limit * limit, limit / sqrt(squares), full_like(squares, 1))
