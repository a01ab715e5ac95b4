"""Where results are stored, what is said of the machine, and the two cores on which everything runs."""

import importlib.metadata
import os
import pathlib

import pytest

import fastmlp

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORES = 2
ALLOWED = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None  # before it becomes two cores
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "torch", "jax", "optax")


def pytest_configure(config):
    """Store in `bench_results/`; a run of the whole folder is saved without being asked."""
    if not hasattr(config.option, "benchmark_storage"):
        raise pytest.UsageError('the benchmarks need pytest-benchmark: pip install -e ".[bench]"')
    if config.option.benchmark_storage.endswith("/.benchmarks"):  # the default
        config.option.benchmark_storage = f"file://{ROOT / 'bench_results'}"
    folder = pathlib.Path(__file__).parent
    whole = [pathlib.Path(argument).resolve() for argument in config.args] == [folder]
    if whole and not (config.option.keyword or config.option.markexpr or config.option.benchmark_save):
        config.option.benchmark_save = "all"


def pytest_benchmark_update_machine_info(config, machine_info):
    """Processor and versions; neither the host's name nor its kernel's."""
    for name in ("node", "release", "python_build", "python_compiler"):
        machine_info.pop(name, None)
    cpu = machine_info.get("cpu", {})
    machine_info["cpu"] = {name: cpu[name] for name in ("brand_raw", "arch", "l2_cache_size") if name in cpu}
    machine_info["cores"], machine_info["available"] = len(cores()), len(ALLOWED or ())
    machine_info["packages"] = packages()


def pytest_benchmark_update_commit_info(config, commit_info):
    """The package's name instead of the folder's."""
    commit_info["project"] = "fastmlp"


def packages():
    """Versions of what is compared here, as far as it is installed."""
    versions = {"fastmlp": fastmlp.__version__}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def siblings(core):
    """The hardware threads that share a physical core with `core`, as text."""
    try:
        return pathlib.Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(core)


def cores():
    """Up to two of the process's cores, each physical one once; empty where the system has no affinity."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    physical = {siblings(core): core for core in sorted(os.sched_getaffinity(0), reverse=True)}
    return sorted(physical.values())[:CORES]


if cores():
    os.sched_setaffinity(0, cores())  # at import, before a peer sizes its pool of threads


@pytest.fixture(scope="session", autouse=True)
def two_threads():
    """Two threads for every side's library; fastmlp is told by `n_threads`."""
    from threadpoolctl import threadpool_limits

    try:
        import torch

        torch.set_num_threads(CORES)
    except ImportError:
        pass
    with threadpool_limits(CORES):
        yield
