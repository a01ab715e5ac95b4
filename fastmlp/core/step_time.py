"""What a step takes on so many threads, as a model: it keeps a net that is faster on four cores from taking sixty-four.

    t(n) = (2 r(n) / (3 m) + 1 / (3 n)) m c / R  +  2 (B + b n)

m rows of a batch, c operations for a row. Forward and backward pass are two thirds of them: a thread has ceil(m / n)
rows, and takes as long for r(n), the next multiple of the rows that a register tile holds, since it reads all weights
for each tile. The update is the last third, and shared out evenly. At each of two barriers n threads add to one number,
one after the other. R, B and b are orders of magnitude, assumed and not measured: the model only bounds the number of
threads, and `machine.pacing` finds by trial how many of them pay.
"""

from ..machine.tile import MR

RATE = 4e10  # operations of a thread in a second
BARRIER, ARRIVAL = 0.3e-6, 0.1e-6  # seconds of a barrier, and of each thread's arrival there


def step_seconds(n_threads, batch, row_operations):
    """Seconds of a step of `batch` rows on so many cores that nobody else uses."""
    rows = -(-batch // n_threads)
    tiled = -(-rows // MR) * MR
    passes, update = 2 * tiled / 3, batch / (3 * n_threads)
    barriers = 2 * (BARRIER + ARRIVAL * n_threads) if n_threads > 1 else 0.0
    return (passes + update) * row_operations / RATE + barriers


def best_threads(most, batch, row_operations):
    """The number of threads, up to `most`, with the shortest step; the smallest of those."""
    return min(range(1, most + 1), key=lambda n: step_seconds(n, batch, row_operations))
