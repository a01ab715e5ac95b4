"""A fit by default on a machine that is busy or small, beside one that is told to take one thread.

Other processes compute on the same cores: two of them, or none; or the process has one core, or the time of one; or
another fit beside it. Wall-clock times under load are noisy, so that the sides alternate and the medians are compared.
Choose by name: ``pytest -n 0 benchmarks/test_busy.py -k two_processes``; one workload: ``-k "quota and tiny"``.
"""

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

import pytest

from benchmarks.conftest import cores
from benchmarks.contenders import fastmlp_side
from benchmarks.contest import bar, timed
from benchmarks.workloads import WORKLOADS, make_data

ROUNDS, FEWEST_ROUNDS = 7, 3
SECONDS = 25  # of a condition of a workload, after which no new round begins
THREADS = (None, 1, 2, 4)
BUSY = "while True: pass"
GROUPS = pathlib.Path("/sys/fs/cgroup/cpu")
PERIOD = 100_000  # microseconds


@contextlib.contextmanager
def foreign_processes(count):
    """So many processes that compute all the time, on the cores of this one."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def one_core():
    """This thread and those that it starts have one core, as under `taskset`."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def quota_of_one_core():
    """This process may use as much time as one core has, on however many, as a container's quota says (cgroup 1)."""
    group = GROUPS / f"fastmlp-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(PERIOD))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        pytest.skip(f"no group of processes with a quota can be made: {error}")
    try:
        yield
    finally:
        (GROUPS / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


@contextlib.contextmanager
def another_fit(workload, X, y):
    """The same fit by default, again and again, in another thread."""
    over, fit = threading.Event(), fastmlp_side(workload, X, y, n_threads=None)

    def go_on():
        while not over.is_set():
            fit(workload.epochs)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


CONDITIONS = {
    "idle": lambda *job: contextlib.nullcontext(),
    "two_processes": lambda *job: foreign_processes(2),
    "one_core": lambda *job: one_core(),
    "quota": lambda *job: quota_of_one_core(),
    "two_fits": another_fit,
}
# The most time that a fit by default may take, in multiples of one by a single thread.
MOST = {"idle": 1.02, "two_processes": 1.3, "one_core": 1.1, "quota": 1.3, "two_fits": 1.3}
# And in multiples of the better of one thread and a team of two, where other processes compute beside it.
MOST_OF_BETTER = 1.15


@pytest.mark.skipif(not cores(), reason="the system has no affinity")
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_busy(benchmark, condition, name):
    workload = WORKLOADS[name]
    X, y = make_data(workload)
    fits = {threads: fastmlp_side(workload, X, y, n_threads=threads) for threads in THREADS}
    answers = [fit(1) for fit in fits.values()]
    for answer in answers[1:]:
        for ours, theirs in zip(answers[0][0] + answers[0][1], answer[0] + answer[1]):
            assert ours.tobytes() == theirs.tobytes(), "the number of threads changes the result"
    seconds = {threads: [] for threads in fits}

    def alternate():
        end = time.monotonic() + SECONDS
        while len(seconds[None]) < FEWEST_ROUNDS or (len(seconds[None]) < ROUNDS and time.monotonic() < end):
            for threads, fit in fits.items():
                seconds[threads].append(timed(fit, workload.epochs))

    with CONDITIONS[condition](workload, X, y):
        benchmark.pedantic(alternate, rounds=1)
    middle = {threads: statistics.median(times) for threads, times in seconds.items()}
    row = {"workload": name, "beside it": condition.replace("_", " "), "one thread, s": middle[1]}
    row |= {"by default": middle[None] / middle[1], "two threads": middle[2] / middle[1]}
    benchmark.extra_info["row"] = row | {"four threads": middle[4] / middle[1]}
    benchmark.extra_info["seconds"] = {str(threads): times for threads, times in seconds.items()}
    benchmark.extra_info["table"] = "busy"
    against_one, against_better = middle[None] / middle[1], middle[None] / min(middle[1], middle[2])
    benchmark.extra_info["bars"] = [
        bar(f"{name}, {row['beside it']}: {what}", measured, must=most, better="lower")
        for what, measured, most in (
            ("time by default against one thread", against_one, MOST[condition]),
            ("time by default against the better of one and two threads", against_better, MOST_OF_BETTER),
        )
    ]
