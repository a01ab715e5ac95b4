"""Constants of the model of a step's time, fitted to steps on one and two cores: `python -m benchmarks.step_model`.

Least squares of relative errors with no negative constant. Two cores cannot tell a barrier from the arrivals at it:
half of what they take together is put down to either.
"""

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


def seconds_of_steps(workload, threads):
    """Seconds of a step for each number of threads, the best of some alternating repetitions."""
    steps = max(1, min(workload.rows, ROWS) // workload.batch)
    X, y = make_data(workload._replace(rows=steps * workload.batch))
    network = Network(
        (workload.features, *workload.hidden, workload.classes),
        dtype="float32",
        activation=workload.activation,
        loss="log_loss",
        optimizer=Adam(),
        output="softmax",
    )
    found = {n: [] for n in threads}
    order = np.arange(len(X))
    for _ in range(REPEATS):
        for n in threads:
            with network.session(X, y, batch_size=workload.batch, n_threads=n) as session:
                session.epoch(order, learning_rate=1e-4, alpha=0.0)
                before, begin = session.steps, time.perf_counter()
                while time.perf_counter() - begin < SECONDS:
                    session.epoch(order, learning_rate=1e-4, alpha=0.0)
                found[n].append((time.perf_counter() - begin) / (session.steps - before))
    return {n: min(values) for n, values in found.items()}


def fitted(measured):
    """RATE, BANDWIDTH, BARRIER, ARRIVAL and SERIAL from {(n_threads, batch, units): seconds}."""
    seconds = np.array(list(measured.values()))
    rows = np.array([terms(*case) for case in measured], np.float64)
    joined = np.column_stack([rows[:, 0], rows[:, 1], rows[:, 2] + rows[:, 3] / 2, rows[:, 4]])
    scales = np.abs(joined / seconds[:, None]).max(axis=0)
    found, _ = nnls(joined / seconds[:, None] / scales, np.ones(len(seconds)))
    work, exchange, barrier, serial = found / scales
    return 1 / work, 1 / max(exchange, 1e-15), barrier, barrier / 2, serial


def main():
    """Measure, fit, and print what the constants in use say beside it."""
    measured = {}
    for workload in WORKLOADS.values():
        units = (workload.features, *workload.hidden, workload.classes)
        for n, seconds in seconds_of_steps(workload, (1, 2)).items():
            measured[n, workload.batch, units] = seconds
    for name, value in zip(("RATE", "BANDWIDTH", "BARRIER", "ARRIVAL", "SERIAL"), fitted(measured), strict=True):
        print(f"{name} = {value:.2g}")
    for (n, batch, units), seconds in measured.items():
        model = step_seconds(n, batch, units)
        print(
            f"{'-'.join(map(str, units))}, batch {batch}, {n} threads: {1e6 * seconds:.1f} µs, model {1e6 * model:.1f}"
        )


if __name__ == "__main__":
    main()
