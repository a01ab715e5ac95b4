"""Predictions of 1, 100 and 10,000 rows: the estimator, the lean predictor, scikit-learn and ONNX Runtime.

All hold the same float32 weights: scikit-learn's, as it drew them. Answers are compared before anything is timed; then
the sides take turns, and the best time of each counts. Where rows are many enough for threads, a side rests until those
of the side before have stopped spinning, and calls once before the call that is timed: after a rest cores are slow.
"""

import time
import warnings

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier as TheirClassifier

from benchmarks.conftest import CORES
from benchmarks.contest import REST, bar
from benchmarks.workloads import WORKLOADS
from fastmlp.conversion import from_sklearn
from fastmlp.serving import predictor

ROUNDS = {1: 2000, 100: 30, 10_000: 12}
CALLS = 100_000
TURN = 1000  # calls of the predictor, before as many that only wait for as long
# Times over scikit-learn's for 1 and 100 rows, rates over its and ONNX Runtime's for 10,000, and the lean predictor's
# time over ONNX Runtime's for one row.
PROMISES = {"digits": (0.7, 0.6, 2.5, 1.5, 0.5), "mnist": (0.7, 0.6, 2.0, 1.5, 0.5), "dmlp": (0.6, 0.6, 1.2, 1.1, 1.3)}


def sides_of(name):
    """(X, {side: callable(rows) -> probabilities}) of a workload's network."""
    workload = WORKLOADS[name]
    random = np.random.default_rng(0)
    X = random.standard_normal((max(ROUNDS), workload.features), dtype=np.float32)
    y = np.arange(len(X)) % workload.classes
    theirs = TheirClassifier(workload.hidden, activation=workload.activation, max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged
        theirs.fit(X[:500], y[:500])
    ours = from_sklearn(theirs)
    sides = {"fastmlp": ours.predict_proba, "predictor": predictor(ours), "scikit-learn": theirs.predict_proba}
    runtime, skl2onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("skl2onnx")
    converted = skl2onnx.to_onnx(theirs, X[:1], options={id(theirs): {"zipmap": False}})
    options = runtime.SessionOptions()
    options.intra_op_num_threads = CORES  # by default one for each core of the machine, and bound to it
    session = runtime.InferenceSession(converted.SerializeToString(), options, providers=["CPUExecutionProvider"])
    sides["ONNX Runtime"] = lambda rows: session.run(None, {"X": rows})[1]
    return X, sides


def bars_of(name, n_rows, best):
    """What is promised for that many rows."""
    one, hundred, rate, rate_of_onnx, lean = PROMISES[name]
    ours, lean_time, theirs, onnx = (best[side] for side in ("fastmlp", "predictor", "scikit-learn", "ONNX Runtime"))
    title = f"{name}, {n_rows:,} rows"
    if n_rows == 10_000:
        return [
            bar(f"{title}: rate over scikit-learn's", theirs / ours, must=rate),
            bar(f"{title}: rate over ONNX Runtime's", onnx / ours, must=rate_of_onnx),
        ]
    bars = [
        bar(f"{title}: time over scikit-learn's", ours / theirs, must=one if n_rows == 1 else hundred, better="lower")
    ]
    if n_rows == 1:
        bars.append(bar(f"{title}: predictor over ONNX Runtime", lean_time / onnx, must=lean, better="lower"))
    return bars


@pytest.mark.parametrize("n_rows", ROUNDS)
@pytest.mark.parametrize("name", PROMISES)
def test_prediction(benchmark, name, n_rows):
    X, sides = sides_of(name)
    rows = X[:n_rows]
    expected = sides["scikit-learn"](rows)
    for side, predict in sides.items():
        np.testing.assert_allclose(predict(rows), expected, atol=2e-5, err_msg=side)
    seconds = {side: [] for side in sides}

    def turn():
        for side, predict in sides.items():
            if n_rows > 1:
                time.sleep(REST)
                predict(rows)
            begin = time.perf_counter()
            predict(rows)
            seconds[side].append(time.perf_counter() - begin)

    benchmark.pedantic(turn, rounds=ROUNDS[n_rows], iterations=1, warmup_rounds=2)
    best = {side: min(times) for side, times in seconds.items()}
    network = WORKLOADS[name].network
    microseconds = {f"{side} [µs]": 1e6 * value for side, value in best.items()}
    benchmark.extra_info["table"] = "prediction"
    benchmark.extra_info["row"] = {"workload": name, "network": network, "rows": n_rows, **microseconds}
    benchmark.extra_info["bars"] = bars_of(name, n_rows, best)
    benchmark.extra_info["seconds"] = {side: sorted(times)[:20] for side, times in seconds.items()}


def wait(seconds):
    """Look at the clock until so much time is over: what nothing but the machine can disturb."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.parametrize("name", PROMISES)
def test_tail_of_the_predictor(benchmark, name):
    """p99.9 of many calls with one row, against their median, beside that of a loop which computes nothing."""
    X, sides = sides_of(name)
    predict, row = sides["predictor"], X[0]
    np.testing.assert_allclose(predict(row), sides["scikit-learn"](X[:1])[0], atol=2e-5)

    def seconds_of(call, argument, times):
        for n in range(len(times)):
            begin = time.perf_counter()
            call(argument)
            times[n] = time.perf_counter() - begin

    times, waits = np.empty((2, CALLS))
    seconds_of(predict, row, times[:TURN])
    length = float(np.median(times[:TURN]))

    def calls():
        for first in range(0, CALLS, TURN):
            seconds_of(predict, row, times[first : first + TURN])
            seconds_of(wait, length, waits[first : first + TURN])

    benchmark.pedantic(calls, rounds=1, iterations=1)
    median, tail = np.quantile(times, [0.5, 0.999])
    tail_of_waiting = np.quantile(waits, 0.999)
    weights = 4 * WORKLOADS[name].parameters
    benchmark.extra_info["table"] = "prediction tail"
    benchmark.extra_info["row"] = {
        "workload": name,
        "median [µs]": 1e6 * median,
        "p99.9 [µs]": 1e6 * tail,
        "p99.9 of waiting as long [µs]": 1e6 * tail_of_waiting,
        "weights [MB]": weights / 1e6,
        "weights read [GB/s]": weights / median / 1e9,
    }
    benchmark.extra_info["bars"] = [bar(f"{name}: p99.9 over the median", tail / median, must=3.0, better="lower")]
