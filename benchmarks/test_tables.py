"""A large raw table: what its encoding takes of a fit's time and memory. Errors are in `tables.py`."""

from benchmarks.contest import bar
from benchmarks.fresh_process import measure

EPOCHS = 8  # a quarter of what "fast" may take, so that the share of the encoding is an upper bound


def test_large_table(benchmark):
    """100,000 rows of 50 columns: numbers, counts, texts, booleans and dates, some of them missing."""
    found = benchmark.pedantic(measure, ("large_table", 100_000, EPOCHS), rounds=1)
    share, multiple = found["encoding"] / found["fit"], found["grown"] / found["encoded"]
    benchmark.extra_info["table"] = "large tables"
    benchmark.extra_info["row"] = {
        "table": "100,000 × 50, mixed",
        "encoding, s": found["encoding"],
        "fit, s": found["fit"],
        "encoding, share of the fit": share,
        "encoded, MB": found["encoded"],
        "peak, × encoded": multiple,
    }
    benchmark.extra_info["bars"] = [
        bar("large table: encoding, share of the fit", share, must=0.15, unit="", better="lower"),
        bar("large table: growth of the peak by a fit", multiple, must=3.0, unit=" × encoded", better="lower"),
    ]
