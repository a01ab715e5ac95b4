"""Two workers of one thread each beside one: rows in a second, loss and accuracy after the same rows, bytes exchanged.

The workers are processes of a LocalCluster on this machine.
"""

import contextlib
import os
import pathlib
import pickle
import time
import warnings

import numpy as np
import pytest

from benchmarks.contest import bar
from benchmarks.workloads import WORKLOADS, mean_loss
from fastmlp.blocks import Block
from fastmlp.dask import DaskMLPClassifier
from fastmlp.dask.cluster import Cluster
from fastmlp.rounds import train_round

distributed = pytest.importorskip("distributed")
array = pytest.importorskip("dask.array")
warnings.filterwarnings("ignore", module="distributed")
REPEATS = 3
# Rows, and the rounds of one worker; FASTMLP_BENCH_ROUNDS divides them, for a machine that is slow or lent for minutes.
ROWS = {"tabular": (50_000, 60), "dmlp": (20_000, 24)}
FEWER = int(os.environ.get("FASTMLP_BENCH_ROUNDS", "1"))


@contextlib.contextmanager
def workers(count):
    """A client of so many workers of one thread, each a process."""
    with (
        distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(count, timeout=120)
        yield client


@contextlib.contextmanager
def noted_rounds(noted):
    """Each round's plan and the state before it, as they go to the workers."""
    plain = Cluster.round

    def round_of(self, plan, state, number):
        noted[:] = [plan, state]
        return plain(self, plan, state, number)

    Cluster.round = round_of
    try:
        yield
    finally:
        Cluster.round = plain


def task(name):
    """Rows of a workload, with classes that a network of its kind can learn in a few epochs."""
    workload = WORKLOADS[name]._replace(rows=ROWS[name][0])
    random = np.random.default_rng(0)
    X = random.standard_normal((workload.rows, workload.features), dtype=np.float32)
    projections = random.standard_normal((workload.features, workload.classes), dtype=np.float32)
    y = (X @ projections + random.gumbel(size=(workload.rows, workload.classes)) * 4).argmax(axis=1)
    return workload, X, y


def estimator(workload, **parameters):
    return DaskMLPClassifier(
        hidden_layer_sizes=workload.hidden,
        activation=workload.activation,
        batch_size=workload.batch,
        random_state=0,
        **parameters,
    )


def losses_after(n_rounds, workload, X, y):
    """Losses of one shard after so many rounds, and of two after as many, or as many rows; a cluster gives the same
    bits."""
    sides = {
        "one": (1, "average", n_rounds),
        "average, as many rounds": (2, "average", n_rounds),
        "average": (2, "average", n_rounds // 2),
        "nesterov": (2, "nesterov", n_rounds // 2),
    }
    losses = {}
    for side, (count, outer, rounds) in sides.items():
        model = estimator(workload, backend="local", n_shards=count, n_rounds=rounds, outer=outer).fit(X, y)
        losses[side] = mean_loss(workload, X, y, model.coefs_, model.intercepts_)
    return losses


def seconds_of_steps(plan, state, shard):
    """Least seconds of a round on one shard with one thread, without a cluster."""
    computed = []
    for number in range(REPEATS):
        begin = time.perf_counter()
        train_round(plan, state, shard, number=number, index=0, n_threads=1)
        computed.append(time.perf_counter() - begin)
    return min(computed)


def seconds_at_once(client, plan, state, shard):
    """The same on every worker of a client at a time, of the slowest."""
    every = [
        client.submit(seconds_of_steps, plan, state, shard, workers=[worker], pure=False)
        for worker in client.scheduler_info(n_workers=-1)["workers"]
    ]
    return max(client.gather(every))


@pytest.mark.parametrize("name", ROWS)
def test_rows_per_second(benchmark, name):
    workload, X, y = task(name)
    n_rounds, noted = max(6, ROWS[name][1] // FEWER), []
    with workers(1) as one, workers(2) as two, noted_rounds(noted):
        sides = {2: two, 1: one}
        data = {
            count: [array.from_array(values, chunks=(len(X) // count, *values.shape[1:])) for values in (X, y)]
            for count in sides
        }

        def fit(count, rounds):
            return estimator(workload, client=sides[count], n_shards=count, n_rounds=rounds).fit(*data[count])

        local = estimator(workload, backend="local", n_shards=2, n_rounds=2).fit(X, y)
        for ours, theirs in zip(fit(2, 2).coefs_, local.coefs_, strict=True):
            assert ours.tobytes() == theirs.tobytes(), "a cluster changes the result"
        seconds = {count: [] for count in sides}

        def run(count):  # the first round begins before the shards are made
            seconds[count] += fit(count, n_rounds // 3).history_["seconds"][1:]

        benchmark.pedantic(run, (2,), setup=lambda: run(1), rounds=REPEATS)
        plan, state = noted
        shard = Block(X[: len(X) // 2], y[: len(X) // 2], None)
        steps = {count: seconds_at_once(sides[count], plan, state, shard) for count in sides}
    losses = losses_after(n_rounds, workload, X, y)
    middle = {count: float(np.median(values)) for count, values in seconds.items()}
    ratio = 2 * middle[1] / middle[2]
    sent = len(pickle.dumps((plan, state), protocol=5))
    benchmark.extra_info["seconds"] = {str(count): values for count, values in seconds.items()}
    benchmark.extra_info["table"] = "cluster"
    benchmark.extra_info["row"] = {
        "workload": name,
        "steps of a round": plan.steps,
        "MB of a state, which goes out and comes back once in a round": sent / 1e6,
        "a round of one worker, s": middle[1],
        "of two, s": middle[2],
        "of it steps, s": steps[2],
        "rows/s of two": 2 * plan.steps * plan.batch_size / middle[2],
        "× one worker": ratio,
        "× one worker, the steps alone": 2 * steps[1] / steps[2],
        "loss of one": losses["one"],
        "of two, averaged, after as many rounds": losses["average, as many rounds"],
        "of two, averaged, after the same rows": losses["average"],
        "of two, nesterov": losses["nesterov"],
    }
    benchmark.extra_info["bars"] = [
        bar(f"{name}: two workers against one", ratio, must=1.6),
        bar(
            f"{name}: loss of two workers, averaged, as many rounds, above that of one",
            losses["average, as many rounds"] / losses["one"] - 1,
            must=0.03,
            better="lower",
        ),
        bar(
            f"{name}: loss of two workers, nesterov, as many rows, above that of one",
            losses["nesterov"] / losses["one"] - 1,
            must=0.03,
            better="lower",
        ),
    ]


@pytest.mark.skipif("FASTMLP_DATA" not in os.environ, reason="FASTMLP_DATA is not set")
def test_covertype(benchmark):
    """Accuracy after the same number of rows, on one shard and on two."""
    with np.load(pathlib.Path(os.environ["FASTMLP_DATA"]) / "covertype" / "covertype.npz") as file:
        X, y = file["X"].astype(np.float32), file["y"]
    order = np.random.default_rng(0).permutation(len(X))
    X, y, test = X[order], y[order], len(X) // 5
    X = (X - X[test:].mean(axis=0)) / np.maximum(X[test:].std(axis=0), 1e-6)

    def accuracy(count, **parameters):
        scores = []
        for seed in range(3):
            model = DaskMLPClassifier(
                (128,), backend="local", n_shards=count, max_iter=15, batch_size=200, random_state=seed, **parameters
            )
            scores.append(model.fit(X[test:], y[test:]).score(X[:test], y[:test]))
        return 100 * float(np.mean(scores))

    one = accuracy(1)
    assert one > 100 * np.bincount(y).max() / len(y) + 5, "more than the most frequent class"
    average = accuracy(2)
    nesterov = benchmark.pedantic(accuracy, (2,), {"outer": "nesterov"}, rounds=1)
    benchmark.extra_info["table"] = "accuracy by rounds"
    benchmark.extra_info["row"] = {
        "data": "covertype",
        "one shard, %": one,
        "two shards, averaged, %": average,
        "two shards, nesterov, %": nesterov,
    }
    benchmark.extra_info["bars"] = [
        bar("covertype, two shards, nesterov: points lost", one - nesterov, must=0.5, better="lower")
    ]
