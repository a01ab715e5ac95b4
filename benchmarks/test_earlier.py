"""Against an earlier version of the package: FASTMLP_EARLIER=FOLDER pytest -n 0 benchmarks/test_earlier.py

FOLDER holds a checkout of it. Each version has a process of its own; they take turns.
"""

import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks.contest import bar
from benchmarks.workloads import WORKLOADS

ROUNDS = 15
HERE = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = """
import json, sys, time
sys.path[:0] = [{package!r}, {benchmarks!r}]
from benchmarks.contenders import fastmlp_side
from benchmarks.workloads import WORKLOADS, make_data
for line in sys.stdin:
    name = line.strip()
    workload = WORKLOADS[name]
    fit = fastmlp_side(workload, *make_data(workload))
    fit(1)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        epochs = int(line)
        start = time.perf_counter()
        weights, _ = fit(epochs)
        print(json.dumps([time.perf_counter() - start, float(abs(weights[-1]).sum())]), flush=True)
"""


class Version:
    """One checkout at work."""

    def __init__(self, folder):
        program = PROGRAM.format(package=str(folder), benchmarks=str(HERE))
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line):
        """Send a line, and read one."""
        self.tell(line)
        return self.process.stdout.readline()

    def tell(self, line):
        """Send a line."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


def test_speed_against_an_earlier_version(benchmark):
    folder = os.environ.get("FASTMLP_EARLIER")
    if not folder:
        pytest.skip("FASTMLP_EARLIER names no checkout of an earlier version")
    versions = {"now": Version(HERE), "earlier": Version(folder)}
    ratios, seconds = {}, {}

    def contest():
        for name, workload in WORKLOADS.items():
            for version in versions.values():
                version.ask(name)
            found = {version: {1: [], 3: []} for version in versions}
            for _ in range(ROUNDS):
                for times in (1, 3):
                    answers = {
                        version: json.loads(process.ask(times * workload.epochs))
                        for version, process in versions.items()
                    }
                    assert answers["now"][1] == pytest.approx(answers["earlier"][1], rel=2e-2)
                    for version, (taken, _) in answers.items():
                        found[version][times].append(taken)
            for version in versions.values():
                version.tell("end")
            best = {version: min(times[3]) - min(times[1]) for version, times in found.items()}
            ratios[name] = best["earlier"] / best["now"]
            seconds[name] = {version: [times[1], times[3]] for version, times in found.items()}

    benchmark.pedantic(contest, rounds=1)
    for version in versions.values():
        version.process.stdin.close()
        version.process.wait()
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    benchmark.extra_info["seconds"] = seconds
    benchmark.extra_info["table"] = "earlier version"
    benchmark.extra_info["row"] = {"speed against": "an earlier version", **ratios, "geometric mean": mean}
    benchmark.extra_info["bars"] = [
        bar("speed against an earlier version, geometric mean", mean, must=0.98),
        *(bar(f"{name}: speed against an earlier version", ratio, must=0.95) for name, ratio in ratios.items()),
    ]
