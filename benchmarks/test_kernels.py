"""Each pass of the engine against the reference's, one thread on both sides: rates, and shares of the peak.

The peak is what the best register tile reaches here on data in the first-level cache (benchmarks/test_tiles.py). Of a
batch of several chunks one is measured, since the engine takes chunk after chunk.
"""

import pytest
from threadpoolctl import threadpool_limits

from benchmarks.contest import bar
from benchmarks.kernels import BACKWARD, FORWARD, GATHER, PASSES, UPDATE, Bench, Size, best_seconds
from benchmarks.test_tiles import peak

SIZES = {
    "small": Size(32, 32, 32),
    "medium": Size(200, 784, 100),
    "large": Size(256, 512, 512),
    "few outputs": Size(200, 100, 10),
    "one output": Size(200, 100, 1),
    "wide": Size(256, 10_000, 256),
    "tall": Size(4_096, 512, 512),
    "square": Size(256, 512, 256),
}
BASE = {"wide": "square", "tall": "large"}  # a size whose rate is compared with another's


def measure(benchmark, bench, which):
    """Best seconds of our pass (timed by the fixture) and of the reference's, alternating."""
    seconds, times = best_seconds(lambda times: bench.ours(which, times))
    theirs, _ = best_seconds(lambda times: [bench.theirs(which) for _ in range(times)], rounds=3)
    benchmark.pedantic(bench.ours, (which, times), rounds=5)
    return min(seconds, benchmark.stats.stats.min / times), theirs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PASSES)
def test_pass(benchmark, name, size, dtype):
    which = PASSES[name]
    bench = Bench(SIZES[size], dtype)
    with threadpool_limits(1):
        bench.assert_equal(which)
        bench.forget_slopes()
        ours, theirs = measure(benchmark, bench, which)
    bench.close()
    shape = SIZES[size]
    row = {"pass": name, "size": f"{size}: {shape}", "dtype": dtype, "µs": 1e6 * ours, "× reference": theirs / ours}
    if which in (FORWARD, BACKWARD, UPDATE):
        rate = shape._replace(rows=bench.rows).operations / ours / 1e9
        row |= {"GFLOP/s": rate, "share of peak": rate / peak(dtype)}
    else:
        scalars = bench.rows * (4 if which == GATHER else shape.above)
        row["GB/s"] = 2 * scalars * bench.dtype.itemsize / ours / 1e9
    benchmark.extra_info["table"] = "passes"
    benchmark.extra_info["row"] = row


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", BASE)
@pytest.mark.parametrize("name", ["affine_forward", "affine_backward", "affine_update"])
def test_rate_of_large_shapes(benchmark, name, size, dtype):
    """No shape is much slower than (256 × 512 → 512): rates in one run, alternating."""
    which = PASSES[name]
    benches = {key: Bench(SIZES[key], dtype) for key in (size, "large")}
    for bench in benches.values():
        bench.assert_equal(which)
        bench.forget_slopes()
    rates = dict.fromkeys(benches, 0.0)

    def run():
        for key, bench in benches.items():
            seconds, _ = best_seconds(lambda times, bench=bench: bench.ours(which, times), rounds=2)
            rate = bench.size._replace(rows=bench.rows).operations / seconds / 1e9
            rates[key] = max(rates[key], rate)

    benchmark.pedantic(run, rounds=3)
    for bench in benches.values():
        bench.close()
    share = rates[size] / rates["large"]
    benchmark.extra_info["rates"] = rates
    benchmark.extra_info["bars"] = [
        bar(f"{name}, {dtype}: rate at {SIZES[size]} against {SIZES['large']}", share, must=0.85)
    ]
