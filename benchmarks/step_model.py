"""Constants of the model of a step's time, fitted to steps on all cores: `python -m benchmarks.step_model`.

Least squares of relative errors with no negative constant. Two cores cannot tell a barrier from the arrivals at it:
half of what they take together is put down to either.
"""

import os
import time

import numpy as np
from scipy.optimize import nnls

from benchmarks.workloads import WORKLOADS, make_data
from fastmlp.core.network import Network
from fastmlp.core.step_time import step_seconds, terms
from fastmlp.optimizers import Adam

REPEATS = 7
SECONDS = 0.1  # of a repetition
ROWS = 5000  # at most


def counts_of_threads():
    """1, 2, 4, … up to the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [2**power for power in range(cores.bit_length())]


def units_of(workload):
    """Units of each level, as of `Network`."""
    return (workload.features, *workload.hidden, workload.classes)


def make_network(workload, seed=0):
    """A network of the workload with random weights, the same for the same seed."""
    network = Network(
        units_of(workload),
        dtype="float32",
        activation=workload.activation,
        loss="log_loss",
        optimizer=Adam(),
        output="softmax",
    )
    random = np.random.default_rng(seed)
    network.set_weights(
        [random.normal(0, below**-0.5, (below, above)).astype("float32") for below, above in workload.shapes],
        [np.zeros(above, "float32") for _, above in workload.shapes],
    )
    return network


def some_steps(workload):
    """(X, y) of whole batches, ROWS at most."""
    steps = max(1, min(workload.rows, ROWS) // workload.batch)
    return make_data(workload._replace(rows=steps * workload.batch))


def seconds_of_steps(workload, threads):
    """Seconds of a step for each number of threads (None: the default), the best of some alternating repetitions."""
    X, y = some_steps(workload)
    network = make_network(workload)
    order = np.arange(len(X))

    def seconds_of_a_step(session):
        before, begin = session.steps, time.perf_counter()
        while time.perf_counter() - begin < SECONDS:
            session.epoch(order, learning_rate=1e-4, alpha=0.0)
        return (time.perf_counter() - begin) / (session.steps - before)

    found = {n: [] for n in threads}
    for _ in range(REPEATS):
        for n in threads:
            with network.session(X, y, batch_size=workload.batch, n_threads=n) as session:
                seconds_of_a_step(session)  # caches are warm, and trials have found how many threads pay
                found[n].append(seconds_of_a_step(session))
    return {n: min(values) for n, values in found.items()}


def fitted(measured):
    """The constants of `core.step_time`, name -> value, from {(n_threads, batch, units): seconds}."""
    seconds = np.array(list(measured.values()))
    rows = np.array([terms(*case) for case in measured], np.float64)
    if rows[:, 3].max() <= 4:  # of two threads at most
        rows[:, 2], rows[:, 3] = rows[:, 2] + rows[:, 3] / 2, 0
    relative = rows / seconds[:, None]
    scales = np.maximum(relative.max(axis=0), 1e-300)
    found, _ = nnls(relative / scales, np.ones(len(seconds)))
    work, exchange, barrier, arrival, serial = found / scales
    return {
        "RATE": 1 / work,
        "BANDWIDTH": 1 / max(exchange, 1e-15),
        "BARRIER": barrier,
        "ARRIVAL": arrival or barrier / 2,
        "SERIAL": serial,
    }


def main():
    """Measure, fit, and print what the constants in use say beside it."""
    measured = {}
    for workload in WORKLOADS.values():
        for n, seconds in seconds_of_steps(workload, counts_of_threads()).items():
            measured[n, workload.batch, units_of(workload)] = seconds
    for name, value in fitted(measured).items():
        print(f"{name} = {value:.2g}")
    for (n, batch, units), seconds in measured.items():
        model = step_seconds(n, batch, units)
        print(
            f"{'-'.join(map(str, units))}, batch {batch}, {n} threads: {1e6 * seconds:.1f} µs, model {1e6 * model:.1f}"
        )


if __name__ == "__main__":
    main()
