"""Steps of the five networks on 1, 2, 4, … threads, up to the cores of the machine, and on the default number."""

import os

import numpy as np
import pytest

from benchmarks.conftest import ALLOWED
from benchmarks.contest import bar
from benchmarks.step_model import (
    counts_of_threads,
    fitted,
    make_network,
    seconds_of_steps,
    some_steps,
    units_of,
)
from benchmarks.workloads import WORKLOADS
from fastmlp.core.step_time import best_threads, step_seconds


@pytest.fixture
def every_core():
    """All cores of the process; the other benchmarks have two."""
    if not ALLOWED:
        pytest.skip("this system cannot bind a process to cores")
    two = os.sched_getaffinity(0)
    os.sched_setaffinity(0, ALLOWED)
    yield
    os.sched_setaffinity(0, two)


def weights_after_some_steps(workload, n_threads):
    X, y = some_steps(workload)
    network = make_network(workload)
    with network.session(X, y, batch_size=workload.batch, n_threads=n_threads) as session:
        session.epoch(np.arange(len(X)), learning_rate=1e-3, alpha=0.0)
    return [*network.weights()[0], *network.weights()[1]]


def test_threads(benchmark, every_core):
    threads = counts_of_threads()
    for name in ("tiny", "dmlp"):
        expected = weights_after_some_steps(WORKLOADS[name], 1)
        for n in (*threads[1:], None):
            for ours, theirs in zip(weights_after_some_steps(WORKLOADS[name], n), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    found = {}

    def measure():
        for name, workload in WORKLOADS.items():
            found[name] = seconds_of_steps(workload, (*threads, None))

    benchmark.pedantic(measure, rounds=1)
    rows, bars, measured = [], [], {}
    for name, seconds in found.items():
        workload = WORKLOADS[name]
        case = workload.batch, units_of(workload)
        default = seconds.pop(None)
        measured |= {(n, *case): value for n, value in seconds.items()}
        best = min(seconds, key=seconds.get)
        rows.append(
            {
                "workload": name,
                "1 thread, µs a step": 1e6 * seconds[1],
                **{f"× with {n}": seconds[1] / value for n, value in seconds.items() if n > 1},
                "× by default": seconds[1] / default,
                "at most, by the model": best_threads(threads[-1], *case),
                "× of the model": step_seconds(1, *case) / step_seconds(threads[-1], *case),
            }
        )
        bars.append(bar(f"{name}: default over the best number of threads", seconds[best] / default, must=0.8))
    benchmark.extra_info["table"] = "threads"
    benchmark.extra_info["rows"] = rows
    benchmark.extra_info["bars"] = bars
    benchmark.extra_info["seconds"] = {
        name: {str(n): value for n, value in seconds.items()} for name, seconds in found.items()
    }
    benchmark.extra_info["constants of the model"] = fitted(measured)
