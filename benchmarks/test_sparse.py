"""Sparse input: 20,000 x 50,000 at density 0.001, time and memory beside scikit-learn's."""

import pytest

from benchmarks.contenders import fastmlp_side, sklearn_side
from benchmarks.contest import assert_same_answer, bar, race
from benchmarks.fresh_process import measure
from benchmarks.workloads import SPARSE, STORED, make_sparse_data

ROUNDS = 3
DTYPES = ("float64", "float32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_training(benchmark, dtype):
    data = make_sparse_data(SPARSE, dtype)
    fits = {"fastmlp": fastmlp_side(SPARSE, *data), "scikit-learn": sklearn_side(SPARSE, *data)}
    assert_same_answer(SPARSE, data, fits, dtype=dtype, rtol=1e-6 if dtype == "float64" else 2e-2)
    best = race(benchmark, fits, SPARSE.epochs, ROUNDS)
    ratio = best["scikit-learn"] / best["fastmlp"]
    benchmark.extra_info["table"] = "sparse"
    benchmark.extra_info["row"] = {
        "X": f"{SPARSE.rows:,} × {SPARSE.features:,}, {STORED} entries in a row, {dtype}",
        "network": SPARSE.network,
        "batch": SPARSE.batch,
        "rows/s": SPARSE.rows / best["fastmlp"],
        "× scikit-learn": ratio,
    }
    benchmark.extra_info["bars"] = [bar(f"sparse, {dtype}: speed against scikit-learn", ratio, must=1.0)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_memory(benchmark, dtype):
    measure("sparse_memory", "fastmlp", dtype)  # leaves the kernels in the disk cache
    ours = benchmark.pedantic(measure, ("sparse_memory", "fastmlp", dtype), rounds=1)
    theirs = measure("sparse_memory", "scikit-learn", dtype)
    benchmark.extra_info["table"] = "sparse memory"
    benchmark.extra_info["row"] = {
        "X": f"{SPARSE.rows:,} × {SPARSE.features:,}, {dtype}",
        "grown, MB": ours["grown"],
        "scikit-learn, MB": theirs["grown"],
        "peak of the process, MB": ours["peak"],
        "of scikit-learn's, MB": theirs["peak"],
    }
    limited = {"grown": "growth of the peak by a fit"}
    if dtype == "float64":  # in float32 the compiler's own memory is most of the difference between the processes
        limited["peak"] = "peak of the process"
    benchmark.extra_info["bars"] = [
        bar(f"sparse, {dtype}: {what} against scikit-learn's", ours[key] / theirs[key], must=1.2, better="lower")
        for key, what in limited.items()
    ]
