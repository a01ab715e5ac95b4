"""Memory, start-up and imports: what only a new process can tell."""

import pytest

from benchmarks.contest import bar
from benchmarks.fresh_process import measure

CASES = {
    "plain": "default parameters",
    "early_stopping": "early_stopping=True",
    "classes": "1,000 classes",
}


@pytest.mark.parametrize("case", CASES)
def test_memory(benchmark, case):
    """Growth of the peak by a fit of 60,000 x 784 float32: at most 0.3 X + 8 x the parameters + 30 MB."""
    found = benchmark.pedantic(measure, ("memory", case), rounds=1)
    benchmark.extra_info["table"] = "memory"
    benchmark.extra_info["row"] = {
        "fit": CASES[case],
        "X, MB": found["X"],
        "grown, MB": found["grown"],
        "allowed, MB": found["allowed"],
    }
    benchmark.extra_info["bars"] = [
        bar(f"memory, {CASES[case]}", found["grown"], must=found["allowed"], unit=" MB", better="lower")
    ]


def start_up_row(benchmark, what, seconds, **limits):
    """A row of the start-up table and its bar."""
    benchmark.extra_info["table"] = "start-up"
    benchmark.extra_info["row"] = {"what": what, "seconds": seconds}
    benchmark.extra_info["bars"] = [bar(what, seconds, unit=" s", better="lower", **limits)]


def test_first_fit_from_an_empty_cache(benchmark, tmp_path):
    folders = iter(tmp_path / str(number) for number in range(3))
    found = []

    def fit():
        found.append(measure("first_fit", NUMBA_CACHE_DIR=str(next(folders))))

    benchmark.pedantic(fit, rounds=3)
    start_up_row(benchmark, "first fit, empty cache", min(pair["first"] for pair in found), must=9.0, aim=6.0)


def test_first_fit_from_the_disk_cache(benchmark, tmp_path):
    measure("first_fit", NUMBA_CACHE_DIR=str(tmp_path))
    found = []

    def fit():
        found.append(measure("first_fit", NUMBA_CACHE_DIR=str(tmp_path)))

    benchmark.pedantic(fit, rounds=5)
    seconds = min(pair["first"] - pair["second"] for pair in found)
    start_up_row(benchmark, "first fit from the disk cache, more than a second fit", seconds, must=0.4)


def test_import(benchmark):
    found = {"fastmlp": [], "scikit-learn": []}

    def import_both():
        for package, seconds in found.items():
            seconds.append(measure("import_time", package)["seconds"])

    benchmark.pedantic(import_both, rounds=5, warmup_rounds=1)
    benchmark.extra_info["seconds"] = found
    seconds = min(found["fastmlp"]) - min(found["scikit-learn"])
    start_up_row(benchmark, "import, more than scikit-learn's", seconds, must=0.3)
