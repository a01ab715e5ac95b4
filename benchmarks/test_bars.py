"""Precision, threads and accuracy: how the speed of fastmlp scales, and that it learns."""

import os
import pathlib
import time
import warnings

import pytest

from benchmarks.contenders import fastmlp_side, sklearn_side
from benchmarks.contest import assert_same_answer, bar, race
from benchmarks.workloads import WORKLOADS, make_data

LARGE = ("tabular", "mnist", "dmlp")
TINY = ("tiny",)  # no bar: it shows that the benchmark works


@pytest.mark.parametrize("name", (*TINY, *LARGE))
def test_float64(benchmark, name):
    workload = WORKLOADS[name]
    single, double = make_data(workload), make_data(workload, "float64")
    fits = {
        "fastmlp": fastmlp_side(workload, *double),
        "fastmlp, float32": fastmlp_side(workload, *single),
        "scikit-learn": sklearn_side(workload, *double),
    }
    same = {side: fits[side] for side in ("fastmlp", "scikit-learn")}
    assert_same_answer(workload, double, same, dtype="float64", rtol=1e-6)
    best = race(benchmark, fits, workload.epochs)
    share, ratio = best["fastmlp, float32"] / best["fastmlp"], best["scikit-learn"] / best["fastmlp"]
    benchmark.extra_info["table"] = "float64"
    benchmark.extra_info["row"] = {
        "workload": name,
        "rows/s": workload.rows / best["fastmlp"],
        "GFLOP/s": workload.rows * workload.operations / best["fastmlp"] / 1e9,
        "share of the float32 speed": share,
        "× scikit-learn": ratio,
    }
    if name in LARGE:
        benchmark.extra_info["bars"] = [
            bar(f"{name}: float64 speed against float32", share, must=0.45),
            bar(f"{name}: float64 speed against scikit-learn", ratio, must=2.2),
        ]


@pytest.mark.parametrize("name", (*TINY, *LARGE))
def test_threads(benchmark, name):
    workload = WORKLOADS[name]
    X, y = make_data(workload)
    fits = {"two threads": fastmlp_side(workload, X, y), "one thread": fastmlp_side(workload, X, y, n_threads=1)}
    two, one = (fit(2) for fit in fits.values())
    for ours, theirs in zip(two[0] + two[1], one[0] + one[1]):
        assert ours.tobytes() == theirs.tobytes(), "the number of threads changes the result"
    best = race(benchmark, fits, workload.epochs)
    speedup = best["one thread"] / best["two threads"]
    benchmark.extra_info["table"] = "threads"
    benchmark.extra_info["row"] = {
        "workload": name,
        "one thread, rows/s": workload.rows / best["one thread"],
        "two threads, rows/s": workload.rows / best["two threads"],
        "ratio": speedup,
    }
    if name in LARGE:
        benchmark.extra_info["bars"] = [bar(f"{name}: two threads against one", speedup, must=1.8)]


def test_mnist_accuracy(benchmark):
    """Default parameters on pixels in [0, 1], until either side stops by itself."""
    folder = os.environ.get("FASTMLP_DATA")
    if not folder:
        pytest.skip("FASTMLP_DATA is not set")
    from sklearn.neural_network import MLPClassifier as Original

    from fastmlp import MLPClassifier
    from fastmlp.demos.data import load_mnist

    data = load_mnist(pathlib.Path(folder) / "mnist")
    sides = {"fastmlp": MLPClassifier(random_state=0, n_threads=2), "scikit-learn": Original(random_state=0)}
    seconds = {}

    def fit(side):
        start = time.perf_counter()
        sides[side].fit(data.X_train, data.y_train)
        seconds[side] = [time.perf_counter() - start]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MLPClassifier(max_iter=1, n_threads=2).fit(data.X_train[:1000], data.y_train[:1000])
        fit("scikit-learn")
        benchmark.pedantic(fit, ("fastmlp",), rounds=1)
    accuracy = {side: estimator.score(data.X_test, data.y_test) for side, estimator in sides.items()}
    assert abs(accuracy["fastmlp"] - accuracy["scikit-learn"]) < 0.01
    benchmark.extra_info["seconds"] = seconds
    benchmark.extra_info["table"] = "accuracy"
    benchmark.extra_info["row"] = {
        "data": "MNIST, default parameters",
        "test accuracy, %": 100 * accuracy["fastmlp"],
        "scikit-learn, %": 100 * accuracy["scikit-learn"],
        "seconds": seconds["fastmlp"][0],
        "scikit-learn, seconds": seconds["scikit-learn"][0],
        "epochs": sides["fastmlp"].n_iter_,
        "scikit-learn, epochs": sides["scikit-learn"].n_iter_,
    }
    benchmark.extra_info["bars"] = [bar("MNIST: test accuracy", 100 * accuracy["fastmlp"], must=97.5, unit=" %")]
