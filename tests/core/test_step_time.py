"""The model of a step's time: what it says of one, two and many threads."""

import pytest

from fastmlp.core.step_time import best_threads, step_seconds


def test_two_threads_halve_large_steps_and_spoil_small_ones():
    assert step_seconds(2, 256, 10**6) < 0.55 * step_seconds(1, 256, 10**6)
    assert step_seconds(2, 8, 100) > step_seconds(1, 8, 100)


@pytest.mark.parametrize(
    ("batch", "row_operations", "lower", "upper"),
    [
        (32, 100, 1, 1),
        (32, 8_000, 2, 8),  # 8-32-32-3
        (200, 480_000, 16, 64),  # 784-100-10
        (128, 11_000_000, 20, 64),
    ],
)
def test_best_threads_of_many_cores(batch, row_operations, lower, upper):
    assert lower <= best_threads(64, batch, row_operations) <= upper
    assert best_threads(1, batch, row_operations) == 1


def test_more_work_never_asks_for_fewer_threads():
    best = [best_threads(64, 256, 10**power) for power in range(1, 8)]
    assert best == sorted(best)
