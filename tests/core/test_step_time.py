"""The model of a step's time: what it says of one, two and many threads, and what a team of many does by its counts."""

import itertools

import numpy as np
import pytest

from fastmlp.core import step_time
from fastmlp.core.layout import block_counts, partition
from fastmlp.core.network import Network
from fastmlp.core.step_time import barriers, best_threads, exchanged_bytes, row_operations, step_seconds
from fastmlp.machine.target import lanes_of_dtype
from fastmlp.machine.team import GENERATION
from fastmlp.normalizations import BatchNormalization
from fastmlp.optimizers import Adam

TINY, TABULAR, MNIST = (8, 32, 32, 3), (54, 256, 256, 256, 7), (784, 100, 10)
DEEP = (784, 1024, 512, 512, 512, 10)
RANDOM = np.random.default_rng(0)


def test_two_threads_halve_large_steps_and_spoil_small_ones():
    assert step_seconds(2, 256, TABULAR) < 0.6 * step_seconds(1, 256, TABULAR)
    assert step_seconds(2, 8, (4, 4, 2)) > step_seconds(1, 8, (4, 4, 2))


@pytest.mark.parametrize(
    ("batch", "units", "lower", "upper"),
    [(32, (4, 2), 1, 1), (32, TINY, 1, 8), (200, MNIST, 8, 64), (256, TABULAR, 8, 64), (128, DEEP, 8, 64)],
)
def test_best_threads_of_many_cores(batch, units, lower, upper):
    assert lower <= best_threads(64, batch, units) <= upper
    assert best_threads(1, batch, units) == 1


def test_more_work_never_asks_for_fewer_threads():
    best = [best_threads(64, 256, (width, width, 2)) for width in (2, 8, 32, 128, 512, 2048)]
    assert best == sorted(best)


def test_a_thread_alone_meets_nobody_and_reads_from_nobody():
    work, exchanged, met, arrivals, serial = step_time.terms(1, 200, MNIST)
    assert (exchanged, met, arrivals, serial) == (0, 0, 0, 1)
    assert work == 200 * row_operations(MNIST) * 4 or work > 200 * row_operations(MNIST) * 4  # whole tiles of rows
    assert step_time.terms(1, 200, MNIST, 8)[0] == 2 * work


# --- a team of more threads than cores: its counts, not its time ------------------------------------------------------


def network_of(units, **choices):
    return Network(
        units, **{"dtype": "float32", "activation": "relu", "loss": "log_loss", "optimizer": Adam(), **choices}
    )


@pytest.mark.threads
@pytest.mark.parametrize("n_threads", [2, 5, 8, 16])
@pytest.mark.parametrize(
    ("choices", "settings", "batch", "expected"),
    [
        ({}, {}, 32, {}),
        ({}, {}, 1300, {"chunks": 3}),
        ({"normalization": BatchNormalization()}, {}, 32, {"layers": 3, "by_batch": True}),
        ({}, {"clip_norm": 1.0}, 32, {"clips": True}),
        ({}, {"max_norm": 1.0}, 32, {"limits": True}),
    ],
)
def test_a_step_has_the_barriers_of_the_model(n_threads, choices, settings, batch, expected):
    """Counted by the barrier itself: how often it has opened. One more ends each task."""
    units, steps = (6, 9, 7, 3), 4
    X = RANDOM.normal(size=(steps * batch, 6)).astype(np.float32)
    y = RANDOM.integers(0, 3, len(X))
    network = network_of(units, **choices)
    with network.session(X, y, batch_size=batch, n_threads=n_threads) as session:
        opened, tasks = [0], []
        work = session._work

        def counting(kind, at, operations):
            before = session._team.barrier_state[GENERATION]
            end = work(kind, at, operations)
            opened[0] += session._team.barrier_state[GENERATION] - before
            tasks.append(session._team.n_threads)
            return end

        session._work = counting
        session.epoch(np.arange(len(X)), learning_rate=0.01, alpha=0.0, **settings)
        assert session.steps == steps
    assert set(tasks) == {n_threads}
    assert opened[0] - len(tasks) == steps * barriers(**expected)


@pytest.mark.parametrize("n_threads", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("units", [TINY, TABULAR, MNIST, DEEP])
def test_bytes_that_come_from_other_threads(n_threads, units):
    """The weights that others have updated, by the blocks that the code shares out."""
    batch, dtype = 128, np.dtype("float32")
    lanes = lanes_of_dtype(dtype)
    counts = block_counts(units, lanes, False)
    ends = partition(units, dtype, n_threads, False)
    own = np.diff(ends, axis=0)
    np.testing.assert_array_equal(own.sum(axis=0), counts)
    sizes = np.array([(below + 1) * above for below, above in itertools.pairwise(units)])
    of_block, below = sizes / counts, np.array(units[:-1])
    weights = [((counts - blocks) * of_block).sum() for blocks in own]
    assert max(weights) <= sizes.sum()
    transposed = [((counts - blocks) * of_block * below / (below + 1))[1:].sum() for blocks in own]
    rows = [batch * (rank + 1) // n_threads - batch * rank // n_threads for rank in range(n_threads)]
    outputs = [(batch - count) * (sum(units[:-1]) + sum(units[1:])) for count in rows]
    counted = np.mean(weights) + np.mean(transposed) + np.mean(outputs)
    assert exchanged_bytes(n_threads, batch, units, dtype.itemsize) == pytest.approx(counted * dtype.itemsize)
