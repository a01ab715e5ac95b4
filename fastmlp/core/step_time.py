"""What a step takes on so many threads, as a model: it keeps a net that is faster on four cores from taking sixty-four.

    t(n) = (2 r(n) / (3 m) + 1 / (3 n)) m c s / R  +  e(n) / B  +  (a + b n) barriers  +  S

m rows of a batch, c operations for a row, s bytes of a number. Forward and backward pass are two thirds of the
operations: a thread has ceil(m / n) rows, and takes as long for r(n), the next multiple of the rows that a register
tile holds, since it reads all weights for each tile. The update is the last third, and shared out evenly. e(n) are the
bytes that a thread reads after another one has written them, which come from the other one's cache. At each barrier n
threads add to one number, one after the other. S is what one thread does alone. R and S were fitted to
steps (`benchmarks/step_model.py`), B, a and b are orders of magnitude, assumed and not measured;
`docs/internals/cores.md` derives the terms. The model only bounds the number of threads, and `machine.pacing` finds by
trial how many of them pay.
"""

import itertools

from ..machine.tile import MR

RATE = 2.9e11  # operations of a thread in a second, times the bytes of a number
BANDWIDTH = 2e10  # bytes that a thread reads in a second from another one's cache
BARRIER, ARRIVAL = 0.3e-6, 0.1e-6  # seconds of a barrier, and of each thread's arrival there
SERIAL = 2.6e-6  # seconds of a step that one thread does alone


def row_operations(units):
    """Multiplications and additions of a step for a row: forward, backward and gradient of each layer."""
    return sum(6 * below * above for below, above in itertools.pairwise(units))


def barriers(*, chunks=1, layers=1, by_batch=False, clips=False, limits=False):
    """Barriers of a step of so many chunks: when all deltas are there, and when all weights are new.

    by_batch : batch normalization has two more for each hidden layer in either direction
    clips : the norm of the whole gradient, two more; limits : norms of units, one more
    """
    return chunks * (2 + 4 * (layers - 1) * by_batch) + 2 * clips + limits


def exchanged_bytes(n_threads, batch, units, itemsize):
    """Bytes that each thread reads in a step after another one has written them.

    Weights and their transposed copy are read by all, and each thread has updated one n-th of them. Outputs and deltas
    of all rows are read for the gradient, and each thread has made one n-th of them.
    """
    weights = sum((below + 1) * above for below, above in itertools.pairwise(units))
    above_the_first = sum(above * below for below, above in itertools.pairwise(units[1:]))
    outputs = batch * (sum(units[:-1]) + sum(units[1:]))
    return (weights + above_the_first + outputs) * itemsize * (n_threads - 1) / n_threads


def terms(n_threads, batch, units, itemsize=4):
    """What the model's constants are multiplied by: seconds are their sum of products.

    Returns
    -------
    terms : tuple
        Numbers of 1 / RATE, 1 / BANDWIDTH, BARRIER, ARRIVAL and SERIAL.
    """
    rows = -(-batch // n_threads)
    tiled = -(-rows // MR) * MR
    work = (2 * tiled / 3 + batch / (3 * n_threads)) * row_operations(units) * itemsize
    met = barriers() if n_threads > 1 else 0
    return work, exchanged_bytes(n_threads, batch, units, itemsize), met, met * n_threads, 1


def step_seconds(n_threads, batch, units, itemsize=4):
    """Seconds of a step of `batch` rows on so many cores that nobody else uses.

    units : of each level, as of `Network`; itemsize : bytes of a number
    """
    constants = (1 / RATE, 1 / BANDWIDTH, BARRIER, ARRIVAL, SERIAL)
    return sum(
        number * constant for number, constant in zip(terms(n_threads, batch, units, itemsize), constants, strict=True)
    )


def best_threads(most, batch, units, itemsize=4):
    """The number of threads, up to `most`, with the shortest step; the smallest of those."""
    return min(range(1, most + 1), key=lambda n: step_seconds(n, batch, units, itemsize))
