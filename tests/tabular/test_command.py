"""`fastmlp fit` and `fastmlp predict`: from a file to a model, a report and predictions; errors of one sentence."""

import io

import numpy as np
import pandas as pd
import pytest

from fastmlp.__main__ import main


@pytest.fixture
def table():
    """400 rows with an id, a constant, a date, a category and a number; the class depends on the last two."""
    rng = np.random.default_rng(0)
    x, colour = rng.normal(size=400), rng.choice(["red", "blue", "green"], 400)
    return pd.DataFrame(
        {
            "key": [f"k{n}" for n in range(400)],
            "planet": "Earth",
            "day": pd.date_range("2020-01-01", periods=400).strftime("%Y-%m-%d"),
            "colour": colour,
            "x": x,
            "big": np.where(x + (colour == "red") > 0.3, "yes", "no"),
        }
    )


def small(monkeypatch):
    """Presets that train within a second."""
    from dataclasses import replace

    from fastmlp.tabular import presets

    fast = presets.PRESETS["fast"]
    tiny = [
        tuple(replace(recipe, hidden_layer_sizes=(16,), max_epochs=8) for recipe in recipes)
        for recipes in (fast.classes[:1], fast.numbers[:1])
    ]
    monkeypatch.setitem(presets.PRESETS, "fast", replace(fast, classes=tiny[0], numbers=tiny[1]))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_fit_and_predict(table, tmp_path, capsys, monkeypatch, suffix):
    small(monkeypatch)
    path, model, output = tmp_path / f"table{suffix}", tmp_path / "m.model", tmp_path / "out.csv"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    assert main(["fit", str(path), "--target", "big", "--preset", "fast", "--output", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rows       400"
    assert lines[1] == "columns    1 date, 1 category, 1 number"
    assert lines[2] == "dates      day"
    assert lines[3] == "dropped    key: it is an id: 320 of 320 values are distinct"
    assert lines[4] == "dropped    planet: it is constant"
    assert lines[5] == "accuracy on 80 held-out rows"
    scores = {line[:36].strip(): float(line[36:].split()[0]) for line in lines[6:9]}
    assert list(scores) == ["fastmlp", "majority", "scikit-learn HistGradientBoosting"]
    assert scores["fastmlp"] > scores["majority"]
    assert main(["predict", str(model), str(path), "--output", str(output)]) == 0
    found = pd.read_csv(output)
    assert list(found.columns) == ["big", "big_no", "big_yes"]
    assert np.mean(found["big"] == table["big"]) > 0.8
    np.testing.assert_allclose(found["big_no"] + found["big_yes"], 1, atol=2e-6)


def test_numbers_and_missing_targets(table, tmp_path, capsys, monkeypatch):
    small(monkeypatch)
    path = tmp_path / "table.csv"
    table.assign(x=table["x"].where(table.index > 4)).to_csv(path, index=False)
    assert main(["fit", str(path), "--target", "x", "--preset", "fast"]) == 0
    text = capsys.readouterr().out
    assert "rows       395 (5 without x are left out)" in text
    assert "R² on 79 held-out rows" in text
    assert "  mean " in text
    assert main(["predict", str(tmp_path / "table.fastmlp"), str(path)]) == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert found.columns.tolist() == ["x"]
    assert len(found) == 400


def test_errors_are_one_sentence(table, tmp_path, capsys):
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    (tmp_path / "table.xls").write_text("")
    (tmp_path / "one.csv").write_text("x\n1\n2\n")
    (tmp_path / "few.csv").write_text("a,x\n" + "1,2\n" * 9 + "1,\n")
    (tmp_path / "no.fastmlp").write_text("nothing")
    for arguments, message in [
        (["fit", str(path), "--target", "size"], "'colour', 'x' and 1 more); got 'size'."),
        (["fit", str(tmp_path / "no.csv"), "--target", "x"], "cannot be read"),
        (["fit", str(tmp_path / "table.xls"), "--target", "x"], "TABLE must end in .csv, .tsv or .parquet"),
        (["fit", str(tmp_path / "one.csv"), "--target", "x"], "one.csv must have a column besides 'x'"),
        (["fit", str(tmp_path / "few.csv"), "--target", "x"], "few.csv must have 10 rows or more with a 'x'; got 9."),
        (["fit", str(path), "--target", "planet"], "y must have two classes or more; got 1 class, 'Earth'"),
        (["fit", str(path), "--target", "key", "--task", "numbers"], "y must hold numbers in regression; got 'k"),
        (["predict", str(tmp_path / "no.fastmlp"), str(path)], "MODEL must be a file that fastmlp fit has written"),
    ]:
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("fastmlp: error: ")
        assert message in error
        assert len(error.splitlines()) == 1


def test_a_class_of_one_row_is_learned_and_told(table, tmp_path, capsys, monkeypatch):
    small(monkeypatch)
    path = tmp_path / "table.csv"
    table.assign(big=["rare", *table["big"].astype(str)[1:]]).to_csv(path, index=False)
    assert main(["fit", str(path), "--target", "big", "--preset", "fast"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "fastmlp: warning: Class 'rare' of y has a single row" in lines[0]


def test_a_table_without_the_models_columns(table, tmp_path, capsys, monkeypatch):
    small(monkeypatch)
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    main(["fit", str(path), "--target", "big", "--preset", "fast"])
    table.drop(columns="colour").to_csv(path, index=False)
    assert main(["predict", str(tmp_path / "table.fastmlp"), str(path)]) == 2
    assert "table.csv must have the model's columns; 'colour' is missing." in capsys.readouterr().err
