"""Training: rows per second of fastmlp's estimator beside the NumPy reference, scikit-learn, PyTorch and JAX."""

import pytest

from benchmarks.contenders import fastmlp_side, installed_sides, sklearn_side
from benchmarks.contest import ROUNDS, assert_same_answer, bar, race
from benchmarks.workloads import WORKLOADS, make_data

BARS = {  # how many times as many rows per second as the peer: must, aim
    "tiny": {"scikit-learn": (45, 75), "JAX": (4.8, 8)},
    "digits": {"scikit-learn": (10, 18), "JAX": (4.2, 7)},
    "tabular": {"scikit-learn": (4.5, 5.2), "JAX": (1.75, 2)},
    "mnist": {"scikit-learn": (4.3, 5.8), "JAX": (1.85, 2.5)},
    "dmlp": {"scikit-learn": (4.8, 5.8), "JAX": (1.45, 1.75)},
}
LONG = 1e11  # operations of an epoch from which three rounds do: seconds are disturbed less than milliseconds


def as_row(workload, best):
    """A row of the table: our speed, then how many times the speed of each other side that is."""
    ours = best["fastmlp"]
    return {
        "workload": workload.name,
        "network": workload.network,
        "batch": workload.batch,
        "rows/s": workload.rows / ours,
        "GFLOP/s": workload.rows * workload.operations / ours / 1e9,
        **{f"× {side}": seconds / ours for side, seconds in best.items() if side != "fastmlp"},
    }


@pytest.mark.parametrize("name", WORKLOADS)
def test_training(benchmark, name):
    workload = WORKLOADS[name]
    data = make_data(workload)
    fits = installed_sides(workload, *data)
    assert_same_answer(workload, data, fits)
    rounds = ROUNDS if workload.rows * workload.operations < LONG else 3
    best = race(benchmark, fits, workload.epochs, rounds)
    benchmark.extra_info["table"] = "training"
    benchmark.extra_info["row"] = as_row(workload, best)
    benchmark.extra_info["bars"] = [
        bar(f"{name}: speed against {side}", best[side] / best["fastmlp"], must=must, aim=aim)
        for side, (must, aim) in BARS[name].items()
        if side in best
    ]


def test_batch_of_one_row(benchmark):
    """Stochastic gradient descent proper: the cost of a step where there is nothing to share."""
    workload = WORKLOADS["tiny"]._replace(batch=1, epochs=4)
    data = make_data(workload)
    fits = {"fastmlp": fastmlp_side(workload, *data), "scikit-learn": sklearn_side(workload, *data)}
    assert_same_answer(workload, data, fits)
    best = race(benchmark, fits, workload.epochs)
    benchmark.extra_info["table"] = "training"
    benchmark.extra_info["row"] = as_row(workload._replace(name="tiny, one row a batch"), best)
    benchmark.extra_info["bars"] = [
        bar("tiny, batch of 1 row: speed against scikit-learn", best["scikit-learn"] / best["fastmlp"], must=30)
    ]
