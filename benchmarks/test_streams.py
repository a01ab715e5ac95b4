"""Mini-batches one after another through partial_fit, and fits so small that all around the kernels counts."""

import gc
import time
import warnings

import numpy as np
import pytest
from sklearn import neural_network

import fastmlp
from benchmarks.contest import bar
from benchmarks.workloads import WORKLOADS, make_data

warnings.filterwarnings("ignore", module="sklearn")
ROUNDS = 7
STREAMS = {"tiny": 3.0, "digits": 3.0, "mnist": 2.0, "dmlp": 1.5}  # least ratio to scikit-learn
FITS = {1: 2.0, 20: 6.0, 200: 12.0}


def alternating(benchmark, sides, calls):
    """Best seconds per call of each side, in alternation; the first side is the one that the fixture times."""
    seconds = {side: [] for side in sides}

    def run(side):
        begin = time.perf_counter()
        for _ in range(calls):
            sides[side]()
        seconds[side].append((time.perf_counter() - begin) / calls)

    leader, *others = sides
    gc.collect()
    benchmark.pedantic(run, (leader,), setup=lambda: [run(side) for side in others] and None, rounds=ROUNDS)
    benchmark.extra_info["seconds"] = seconds
    return {side: min(values) for side, values in seconds.items()}


def assert_same_weights(ours, theirs, rtol):
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("rows", [1, 32, 200])
@pytest.mark.parametrize("name", STREAMS)
def test_partial_fit(benchmark, name, rows):
    workload = WORKLOADS[name]
    X, y = make_data(workload)
    X, y = np.ascontiguousarray(X[:rows]), y[:rows]
    parameters = {"hidden_layer_sizes": workload.hidden, "activation": workload.activation, "random_state": 0}
    models = {
        "fastmlp": fastmlp.MLPClassifier(**parameters, shuffle=False),
        "scikit-learn": neural_network.MLPClassifier(**parameters, shuffle=False),
    }
    for model in models.values():
        for _ in range(3):
            model.partial_fit(X, y, classes=np.arange(workload.classes))
    assert_same_weights(*models.values(), rtol=1e-3)
    sides = {side: lambda model=model: model.partial_fit(X, y) for side, model in models.items()}
    best = alternating(benchmark, sides, calls=5 if name == "dmlp" else 30)
    ratio = best["scikit-learn"] / best["fastmlp"]
    benchmark.extra_info["table"] = "streams"
    benchmark.extra_info["row"] = {
        "network": workload.network,
        "rows of a call": rows,
        "fastmlp, µs": 1e6 * best["fastmlp"],
        "scikit-learn, µs": 1e6 * best["scikit-learn"],
        "× scikit-learn": ratio,
    }
    benchmark.extra_info["bars"] = [bar(f"partial_fit of {rows} rows, {name}", ratio, must=STREAMS[name])]


@pytest.mark.parametrize("epochs", FITS)
def test_small_fits(benchmark, epochs):
    random = np.random.RandomState(0)
    X = random.rand(300, 10)
    y = (X.sum(axis=1) > 5).astype(int)
    parameters = {"max_iter": epochs, "tol": 0.0, "n_iter_no_change": epochs, "random_state": 0}
    sides = {
        "fastmlp": lambda: fastmlp.MLPClassifier(**parameters).fit(X, y),
        "scikit-learn": lambda: neural_network.MLPClassifier(**parameters).fit(X, y),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same_weights(*(fit() for fit in sides.values()), rtol=1e-8)
        best = alternating(benchmark, sides, calls=10 if epochs < 100 else 2)
    ratio = best["scikit-learn"] / best["fastmlp"]
    benchmark.extra_info["table"] = "small fits"
    benchmark.extra_info["row"] = {
        "epochs": epochs,
        "fastmlp, ms": 1e3 * best["fastmlp"],
        "scikit-learn, ms": 1e3 * best["scikit-learn"],
        "× scikit-learn": ratio,
    }
    benchmark.extra_info["bars"] = [bar(f"fit of 300 × 10, {epochs} epochs", ratio, must=FITS[epochs])]
