"""A fit by default on a machine that is busy or small, beside one that is told to take one thread.

Other processes compute on the same cores: two of them, or none; or the process has one core, or another fit beside it.
Wall-clock times under load are noisy, so that the two sides alternate and the medians are compared.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import threading

import pytest

from benchmarks.conftest import cores
from benchmarks.contenders import fastmlp_side
from benchmarks.contest import bar, timed
from benchmarks.workloads import WORKLOADS, make_data

ROUNDS = 7
BUSY = "while True: pass"


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


def conditions(workload, X, y):
    """What is computed beside the fit: name -> context."""
    return {
        "idle": contextlib.nullcontext,
        "two busy processes": lambda: foreign_processes(2),
        "one core": one_core,
        "two fits": lambda: another_fit(workload, X, y),
    }


# The most time that a fit by default may take, in multiples of one by a single thread.
MOST = {"idle": 1.02, "two busy processes": 1.3, "one core": 1.1, "two fits": 1.3}


@pytest.mark.skipif(not cores(), reason="the system has no affinity")
@pytest.mark.parametrize("condition", MOST)
@pytest.mark.parametrize("name", WORKLOADS)
def test_busy(benchmark, name, condition):
    workload = WORKLOADS[name]
    X, y = make_data(workload)
    fits = {threads: fastmlp_side(workload, X, y, n_threads=threads) for threads in (None, 1, 4)}
    answers = [fit(2) for fit in fits.values()]
    for answer in answers[1:]:
        for ours, theirs in zip(answers[0][0] + answers[0][1], answer[0] + answer[1]):
            assert ours.tobytes() == theirs.tobytes(), "the number of threads changes the result"
    seconds = {threads: [] for threads in fits}

    def by_default():
        seconds[None].append(timed(fits[None], workload.epochs))

    def others():
        for threads in (1, 4):
            seconds[threads].append(timed(fits[threads], workload.epochs))

    with conditions(workload, X, y)[condition]():
        benchmark.pedantic(by_default, setup=others, rounds=ROUNDS)
    middle = {threads: statistics.median(times) for threads, times in seconds.items()}
    benchmark.extra_info["seconds"] = {str(threads): times for threads, times in seconds.items()}
    benchmark.extra_info["table"] = "busy"
    benchmark.extra_info["row"] = {
        "workload": name,
        "beside it": condition,
        "one thread, s": middle[1],
        "by default": middle[None] / middle[1],
        "four threads": middle[4] / middle[1],
    }
    benchmark.extra_info["bars"] = [
        bar(
            f"{name}, {condition}: time by default against one thread",
            middle[None] / middle[1],
            must=MOST[condition],
            better="lower",
        )
    ]
