"""The benchmark of tables: what it makes of a log, without any fit."""

import importlib
import json
import pathlib

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def tables(monkeypatch):
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("the benchmarks are not beside the tests")
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.tables")


def entry(name, side, error, deleted=0.0, seed=0):
    numbers = {"error": error, "seconds": 1.0, "processor_seconds": 2.0, "threads": 2}
    return {"set": name, "side": side, "seed": seed, **numbers, "deleted": deleted}


def row(rows, name):
    return next(each for each in rows if each["set"].strip("*") == name)


def test_a_side_counts_on_the_sets_that_it_ran_on(tables):
    entries = [entry(name, "fast", 2 * error) for name, error in tables.TD_S.items()]
    entries += [entry("adult", "default", 0.5 * tables.TD_S["adult"]), entry("adult", tables.REFERENCE, 0.9)]
    results = tables.means(entries)
    rows = tables.rows_of(results)
    mean = row(rows, "mean ratio")
    assert (mean["RealMLP-TD-S"], mean["fast"], mean["default"]) == pytest.approx((1, 2, 0.5))
    assert row(rows, "sets")["default"] == 1
    assert row(rows, "adult")["RealMLP-TD-S"] == tables.TD_S["adult"], "one set measured anew is no reference"
    assert row(rows, "mean rank") == {"set": "**mean rank**", "fast": 2.0, "RealMLP-TD-S": 1.0}
    assert [bar["measured"] for bar in tables.bars_of(results)] == pytest.approx([2.0])


def test_seeds_are_averaged(tables):
    results = tables.means([entry("adult", "fast", error, seed=seed) for seed, error in enumerate((0.1, 0.3))])
    assert results["fast"]["adult"][0] == pytest.approx(0.2)


def test_missing_values_make_errors_rise(tables):
    rise = {"fast": 1.5, "HistGradientBoosting": 1.2}
    entries = [
        entry(name, side, 0.1 * (factor if deleted else 1), deleted)
        for name in tables.WITH_GAPS
        for side, factor in rise.items()
        for deleted in (0.0, tables.DELETED)
    ]
    rows = tables.rises(entries)
    assert row(rows, "mean")["fast"] == pytest.approx(1.5)
    (bar,) = tables.bars_of_missing(rows)
    assert bar["measured"] == pytest.approx(1.25)
    assert "HistGradientBoosting" not in tables.rises(entries[:-1])[0], "a side that is not there on all five"


def test_entries_are_deleted_at_random(tables):
    X = np.arange(20_000).reshape(200, 100)
    gaps = tables.with_gaps(X, 0.2, 0)
    assert np.isnan(gaps).mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(gaps[~np.isnan(gaps)], X[~np.isnan(gaps)])
    assert not np.array_equal(np.isnan(gaps), np.isnan(tables.with_gaps(X, 0.2, 1)))


def test_older_logs_have_nothing_deleted(tables, tmp_path):
    log = tmp_path / "log.jsonl"
    old = entry("adult", "fast", 0.1)
    del old["deleted"]
    log.write_text(json.dumps(old) + "\n", encoding="utf8")
    assert tables.read(log) == [entry("adult", "fast", 0.1)]
    assert tables.read(tmp_path / "none.jsonl") == []
