"""Memory, start-up and imports: what only a new process can tell."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from benchmarks.contest import bar
from benchmarks.fresh_process import interpreter_of_all, measure

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


@pytest.fixture(scope="session")
def installed():
    """Folder of the package as `pip install .` leaves it, its kernels compiled for this processor's level."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fastmlp-installed-"))
    folder.chmod(0o755)  # for all users
    root = pathlib.Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(folder), str(root)]
    subprocess.run(command, check=True)
    assert list(folder.glob("fastmlp/machine/prebuilt/*.kernel"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_fit_of_an_installed_package(benchmark, installed, tmp_path, dtype):
    """Without a folder that can be written, and without a home."""
    (tmp_path / "file").touch()
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"), str(tmp_path / "file"))
    found = []

    def fit():
        found.append(measure("first_fit", dtype, installed=installed, **nowhere))

    benchmark.pedantic(fit, rounds=5)
    seconds = min(pair["first"] - pair["second"] for pair in found)
    start_up_row(benchmark, f"first fit of an installed package, {dtype}, more than a second fit", seconds, must=0.15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_fit_without_any_rights(benchmark, installed, unprivileged, dtype):
    """A user without a home, on a file system that is read-only."""
    found = []

    def fit():
        found.append(measure("first_fit", dtype, installed=installed, confine=unprivileged))

    benchmark.pedantic(fit, rounds=5)
    seconds = min(pair["first"] - pair["second"] for pair in found)
    start_up_row(benchmark, f"first fit without any rights, {dtype}, more than a second fit", seconds, must=0.15)


@pytest.fixture
def unprivileged():
    """An interpreter for a user who may write nowhere."""
    return interpreter_of_all() or pytest.skip("no user without rights: this needs root, unshare and setpriv")


@pytest.mark.parametrize("rights", ["as usual", "without any rights"])
def test_whole_process(benchmark, installed, request, rights):
    """Import, fit the digits, predict, end; against the same with scikit-learn, alternating."""
    confine = request.getfixturevalue("unprivileged") if rights != "as usual" else None
    found = {"fastmlp": [], "scikit-learn": []}

    def both():
        for package, seconds in found.items():
            start = time.perf_counter()
            measure("whole", package, installed=installed, confine=confine)
            seconds.append(time.perf_counter() - start)

    benchmark.pedantic(both, rounds=5, warmup_rounds=1)
    benchmark.extra_info["seconds"] = found
    share = min(found["fastmlp"]) / min(found["scikit-learn"])
    benchmark.extra_info["table"] = "start-up"
    what = f"a whole process {rights}, of scikit-learn's time"
    benchmark.extra_info["row"] = {"what": what, "seconds": share}
    benchmark.extra_info["bars"] = [bar(what, share, must=0.85, unit=" ×", better="lower")]


def test_first_fit_from_an_empty_cache(benchmark, tmp_path):
    folders = iter(tmp_path / str(number) for number in range(3))
    found = []

    def fit():
        found.append(measure("first_fit", NUMBA_CACHE_DIR=str(next(folders))))

    benchmark.pedantic(fit, rounds=3)
    start_up_row(benchmark, "first fit, empty cache", min(pair["first"] for pair in found), must=6.0)


def test_first_fit_from_the_disk_cache(benchmark, tmp_path):
    measure("first_fit", NUMBA_CACHE_DIR=str(tmp_path))
    found = []

    def fit():
        found.append(measure("first_fit", NUMBA_CACHE_DIR=str(tmp_path)))

    benchmark.pedantic(fit, rounds=5)
    seconds = min(pair["first"] - pair["second"] for pair in found)
    start_up_row(benchmark, "first fit from the disk cache, more than a second fit", seconds, must=0.15)


def test_import(benchmark):
    found = {"fastmlp": [], "scikit-learn": []}

    def import_both():
        for package, seconds in found.items():
            seconds.append(measure("import_time", package)["seconds"])

    benchmark.pedantic(import_both, rounds=5, warmup_rounds=1)
    benchmark.extra_info["seconds"] = found
    seconds = min(found["fastmlp"]) - min(found["scikit-learn"])
    start_up_row(benchmark, "import, more than scikit-learn's", seconds, must=0.1)
