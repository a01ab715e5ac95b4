"""What a fit of a table costs beside its training, and networks side by side. Errors are in `tables.py`."""

import itertools
import time

import numpy as np
from sklearn.base import clone

from benchmarks.contest import bar
from benchmarks.fresh_process import measure
from fastmlp import MLPClassifier

EPOCHS = 8  # a quarter of what "fast" may take, so that the share of the encoding is an upper bound
ROWS, COLUMNS, CLASSES, ROUNDS = 8192, 64, 8, 5
NETWORKS = {"side by side": (2, (256, 256, 256), 8), "one large": (1, (1024, 1024, 1024), 1)}  # networks, units, epochs


def test_large_table(benchmark):
    """100,000 rows of 50 columns: numbers, counts, texts, booleans and dates, some of them missing."""
    found = benchmark.pedantic(measure, ("large_table", 100_000, EPOCHS), rounds=1)
    share, multiple = found["encoding"] / found["fit"], found["grown"] / found["encoded"]
    benchmark.extra_info["table"] = "large tables"
    benchmark.extra_info["row"] = {
        "table": "100,000 × 50, mixed",
        "encoding, s": found["encoding"],
        "fit, s": found["fit"],
        "encoding, share of the fit": share,
        "encoded, MB": found["encoded"],
        "peak, × encoded": multiple,
    }
    benchmark.extra_info["bars"] = [
        bar("large table: encoding, share of the fit", share, must=0.15, unit="", better="lower"),
        bar("large table: growth of the peak by a fit", multiple, must=3.0, unit=" × encoded", better="lower"),
    ]


def test_networks_side_by_side(benchmark):
    """Networks as small as those of tables, one thread each, do as many operations in a second as a large one does."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(ROWS, COLUMNS)).astype("float32"), random.integers(CLASSES, size=ROWS)
    models, operations, seconds = {}, {}, {side: [] for side in NETWORKS}
    for side, (networks, hidden, epochs) in NETWORKS.items():
        models[side] = MLPClassifier(
            hidden, n_estimators=networks, batch_size=256, max_iter=epochs, n_threads=2, random_state=0
        )
        weights = sum(below * above for below, above in itertools.pairwise((COLUMNS, *hidden, CLASSES)))
        operations[side] = 6 * weights * ROWS * epochs * networks
    one_of_two = models["side by side"].fit(X, y).estimators_[0]
    np.testing.assert_array_equal(one_of_two.coefs_[0], clone(one_of_two).fit(X, y).coefs_[0], "as one trains alone")

    def run(side):
        begin = time.perf_counter()
        models[side].fit(X, y)
        seconds[side].append(time.perf_counter() - begin)

    benchmark.pedantic(run, ("side by side",), setup=lambda: run("one large"), rounds=ROUNDS)
    rates = {side: operations[side] / min(found) / 1e9 for side, found in seconds.items()}
    share = rates["side by side"] / rates["one large"]
    benchmark.extra_info["table"] = "networks side by side"
    benchmark.extra_info["row"] = {f"{side}, GFLOP/s": rate for side, rate in rates.items()} | {"share": share}
    benchmark.extra_info["bars"] = [bar("two networks of 256 units, of a large one's rate", share, must=0.9, unit="×")]
