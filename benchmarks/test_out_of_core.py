"""Rows of a folder that memory cannot hold beside the same rows in memory; and rows that are sorted by class.

FASTMLP_BENCH_GB=8 for so many gigabytes in place of the small default.
"""

import os
import pathlib
import warnings

import numpy as np
import pytest

from benchmarks.contest import bar
from benchmarks.out_of_core import Side, write
from benchmarks.workloads import WORKLOADS, Workload, make_data
from fastmlp import MLPClassifier, blocks

warnings.filterwarnings("ignore", module="fastmlp")
SIZES = {"tabular": 0.1, "mnist": 0.25}  # gigabytes by default
ROUNDS, EPOCHS = 2, 5


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="the system tells of no limits of memory")
@pytest.mark.parametrize("name", ["tabular", "mnist"])
def test_out_of_core(benchmark, tmp_path, name):
    workload = WORKLOADS[name]
    write(workload, tmp_path, int(float(os.environ.get("FASTMLP_BENCH_GB", SIZES[name])) * 10**9))
    size = sum(path.stat().st_size for path in tmp_path.glob("X_*"))
    with Side("memory", workload, tmp_path, 0) as memory, Side("blocks", workload, tmp_path, size // 4) as streamed:
        sides = {"blocks": streamed, "memory": memory}
        in_order = {side: process.fit(1, shuffle=False)["losses"] for side, process in sides.items()}
        assert in_order["blocks"] == pytest.approx(in_order["memory"], rel=1e-4), "the same rows, the same losses"
        fits = {side: {1: [], EPOCHS: []} for side in sides}

        def run(side):
            for epochs, found in fits[side].items():
                found.append(sides[side].fit(epochs))

        benchmark.pedantic(run, ("blocks",), setup=lambda: run("memory"), rounds=ROUNDS)

    def of_an_epoch(side, what):
        least = {epochs: min(fit[what] for fit in found) for epochs, found in fits[side].items()}
        return (least[EPOCHS] - least[1]) / (EPOCHS - 1)

    rows = size // (4 * workload.features)
    rate = of_an_epoch("memory", "seconds") / of_an_epoch("blocks", "seconds")
    work = of_an_epoch("memory", "cpu") / of_an_epoch("blocks", "cpu")
    loss, expected = (fits[side][EPOCHS][0]["losses"][-1] for side in ("blocks", "memory"))
    peak = max(fit["grown"] for found in fits["blocks"].values() for fit in found)
    benchmark.extra_info["table"] = "out of core"
    benchmark.extra_info["row"] = {
        "workload": name,
        "data, MB": size / 1e6,
        "memory allowed, MB": size / 4e6,
        "peak, MB": peak / 1e6,
        "rows/s in memory": rows / of_an_epoch("memory", "seconds"),
        "of it from a folder": rate,
        "the same by processor time": work,
        "loss after 5 epochs": loss,
        "in memory": expected,
    }
    benchmark.extra_info["bars"] = [
        bar(f"{name} from a folder: share of the rate in memory", rate, must=0.8),
        bar(f"{name} from a folder: peak of what is allowed", peak / (size / 4), must=1.0, better="lower"),
        bar(f"{name} from a folder: loss is off by", abs(loss / expected - 1), must=0.02, better="lower"),
    ]


# --- sorted by class --------------------------------------------------------------------------------------------------


def sorted_task(name):
    """Rows to train on and to test, standardized: covertype and higgs where FASTMLP_DATA has them, else made ones."""
    folder = os.environ.get("FASTMLP_DATA")
    if folder:
        with np.load(pathlib.Path(folder) / name / f"{name}.npz") as file:
            X, y = file["X"].astype(np.float32), file["y"]
    else:
        of = {"covertype": (60_000, 54, 7), "higgs": (18_000, 28, 2)}[name]
        X, y = make_data(Workload(name, *of[:2], (), of[2], 0, "relu", 0))
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    test = len(X) // 5
    X = (X - X[test:].mean(axis=0)) / np.maximum(X[test:].std(axis=0), 1e-6)
    return X[test:], y[test:], X[:test], y[:test]


SEEDS = 3


def accuracy(data, X_test, y_test, epochs):
    """Per cent of the test rows; mean of some seeds."""
    scores = []
    for seed in range(SEEDS):
        model = MLPClassifier((128,), max_iter=epochs, n_iter_no_change=epochs, random_state=seed, n_threads=2)
        scores.append(model.fit(*data).score(X_test, y_test))
    return 100 * float(np.mean(scores))


@pytest.mark.parametrize(("name", "epochs"), [("covertype", 20), ("higgs", 10)])
def test_sorted_by_class(benchmark, name, epochs):
    """Rows sorted by class, in windows of an eighth of them, beside rows that are shuffled: in blocks as they are cut
    by default, and in a hundred large ones."""
    X, y, X_test, y_test = sorted_task(name)
    order = np.argsort(y, kind="stable")
    by_default = blocks.from_arrays(X[order], y[order]).with_window(len(X) // 8)
    large = blocks.from_arrays(X[order], y[order], block_rows=len(X) // 100).with_window(len(X) // 8)

    shuffled = accuracy((X, y), X_test, y_test, epochs)
    assert shuffled > 100 * np.bincount(y_test).max() / len(y_test) + 3, "more than the most frequent class"
    found = {"hundred": accuracy((large,), X_test, y_test, epochs)}
    found["default"] = benchmark.pedantic(accuracy, ((by_default,), X_test, y_test, epochs), rounds=1)
    benchmark.extra_info["table"] = "sorted data"
    benchmark.extra_info["row"] = {
        "data": name if os.environ.get("FASTMLP_DATA") else f"made like {name}",
        "rows": len(X),
        "epochs": epochs,
        "accuracy, shuffled, %": shuffled,
        "sorted by class, in windows, %": found["default"],
        "sorted, in a hundred blocks, %": found["hundred"],
    }
    benchmark.extra_info["bars"] = [
        bar(f"{name}, sorted by class: points of accuracy lost", shuffled - found["default"], must=0.3, better="lower")
    ]
