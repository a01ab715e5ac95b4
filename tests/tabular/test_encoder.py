"""TableEncoder: every kind of column from every kind of frame, missing values, new levels, bad input by name."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp.tabular import TableEncoder, columns

DATES = ["2020-01-01", "2020-05-01", None, "2021-03-01 18:00", "2020-01-02", "2022-12-31"]


def frame():
    """Six rows with a column of each kind, most of them with a missing value."""
    return pd.DataFrame(
        {
            "age": [31.0, 22.0, None, 47.0, 58.0, 31.0],
            "rooms": [1, 2, 3, 4, 5, 6],
            "city": ["Oslo", "Rome", "Oslo", None, "Lima", "Rome"],
            "sex": ["f", "m", "m", "f", "f", "m"],
            "size": pd.Categorical(["s", "m", "l", "s", None, "m"], categories=["s", "m", "l", "xl"]),
            "since": pd.to_datetime(pd.Series(DATES), format="mixed"),
            "member": [True, False, True, True, False, False],
            "country": ["NO"] * 6,
        }
    )


def encoded(table, **parameters):
    """Encoded table as a pandas frame."""
    return TableEncoder(**parameters).set_output(transform="pandas").fit_transform(table)


@parametrize_with_checks([TableEncoder()])
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


# --- values -----------------------------------------------------------------------------------------------------------


def test_numbers_are_scaled_robustly_and_clipped_smoothly():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 1e300])
    out = TableEncoder(n_bins=0).fit_transform(x[:, None])
    z = (x - 2.5) / (np.quantile(x, 0.75) - np.quantile(x, 0.25))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out[:-1, 0], z[:-1] / np.sqrt(1 + (z[:-1] / 3) ** 2), rtol=1e-6)
    assert out[-1, 0] == pytest.approx(3)


def test_a_column_of_two_values_is_scaled_by_half_their_distance():
    out = TableEncoder(n_bins=0).fit_transform(np.array([[0.0]] * 9 + [[4.0]]))
    assert out[:9, 0].tolist() == [0] * 9
    assert out[9, 0] == pytest.approx(2 / np.hypot(1, 2 / 3))


def test_bins_are_piecewise_linear_between_quantiles():
    x = np.random.default_rng(0).normal(size=500)
    out = TableEncoder(n_bins=4).fit_transform(x[:, None])
    bounds = np.quantile(x, [0, 0.25, 0.5, 0.75, 1])
    for n in range(4):
        np.testing.assert_allclose(out[:, 1 + n], np.interp(x, bounds[n : n + 2], [-1, 1]), atol=1e-6)


def test_a_column_that_is_mostly_zero_is_scaled_by_its_other_numbers():
    rest = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 100_000.0])
    out = TableEncoder(n_bins=0).fit_transform(np.concatenate([np.zeros(30), rest])[:, None])
    z = rest / 3.5  # the median of the others; their interquartile range is 2.5
    np.testing.assert_allclose(out[30:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6)


def test_a_value_that_fills_bins_alone_leaves_the_others_to_the_rest():
    rest = np.exp(np.random.default_rng(0).normal(size=50))
    x = np.concatenate([np.zeros(450), rest])
    out = TableEncoder(n_bins=4).fit_transform(x[:, None])
    bounds = [0, *np.quantile(rest, [0, 1 / 3, 2 / 3, 1])]
    assert out.shape[1] == 5
    for n in range(4):
        np.testing.assert_allclose(out[:, 1 + n], np.interp(x, bounds[n : n + 2], [-1, 1]), atol=1e-6)


@pytest.mark.parametrize("n_bins", [2, 3, 8])
def test_no_column_gets_more_bins_than_allowed(n_bins):
    rng = np.random.default_rng(0)
    for share in (0.0, 0.2, 0.5, 0.99):
        for levels in (3, 5, 9, 10, 12, 500):
            x = rng.permutation(rng.integers(levels, size=600) ** 2 * (rng.uniform(size=600) >= share))
            names = TableEncoder(n_bins=n_bins, drop_ids=False).fit(x[:, None]).get_feature_names_out()
            assert 2 * (len(np.unique(x)) > 2) <= sum("_bin" in name for name in names) <= n_bins


def test_of_few_values_each_is_a_bound():
    x = np.array([0.0, 1.0, 5.0] * 20)
    out = TableEncoder(n_bins=4).fit_transform(x[:, None])
    np.testing.assert_array_equal(out[:3, 1:], [[-1, -1], [1, -1], [1, 1]])


def test_many_columns_share_the_bins():
    X = np.random.default_rng(0).normal(size=(60, 40))
    assert TableEncoder(max_bin_columns=100).fit_transform(X).shape == (60, 40 * (1 + 2))
    assert TableEncoder(max_bin_columns=79).fit_transform(X).shape == (60, 40)


def test_columns_of_two_values_take_no_bins_from_the_others():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(60, 2)), rng.integers(2, size=(60, 30)) * 3])
    assert TableEncoder(max_bin_columns=16).fit_transform(X).shape == (60, 2 * (1 + 8) + 30)


def test_the_kinds_of_columns_by_name():
    table = encoded(frame(), n_bins=2)
    assert list(table.columns) == [
        *("age", "age_bin1", "age_bin2", "age_missing", "rooms", "rooms_bin1", "rooms_bin2"),
        *("city_Lima", "city_Oslo", "city_Rome", "city_missing", "sex_m", "size_l", "size_m", "size_s", "size_missing"),
        *("since", "since_bin1", "since_bin2", "since_missing"),
        *(f"since_{cycle}_{wave}" for cycle in ("year", "week", "day") for wave in ("sin", "cos")),
        "member",
    ]
    assert table["age_missing"].tolist() == [-1, -1, 1, -1, -1, -1]
    assert table["age"][2] == 0, "the median"
    assert table["city_Oslo"].tolist() == [1, 0, 1, 0, 0, 0]
    assert table["city_missing"].tolist() == [0, 0, 0, 1, 0, 0]
    assert table["sex_m"].tolist() == [-1, 1, 1, -1, -1, 1]
    assert table["member"].tolist() == [1, -1, 1, 1, -1, -1]
    assert table["since_day_sin"][3] == pytest.approx(-1), "six in the evening"
    encoder = TableEncoder().fit(frame())
    assert encoder.dropped_ == {"country": "it is constant"}
    assert list(encoder.kinds_.values()) == [
        *("number", "number", "category", "category", "category", "date", "boolean", "category")
    ]
    names = encoder.get_feature_names_out()
    for column, (first, end) in zip(frame(), encoder.spans()):
        assert all(name.startswith(column) for name in names[first:end])
    assert encoder.spans()[-1] == (len(names), len(names)), "a dropped column"
    np.testing.assert_array_equal(encoder.bin_columns(), ["_bin" in name for name in names])


def test_frames_of_all_libraries_encode_alike():
    expected = TableEncoder().fit(frame())
    polars = pl.from_pandas(frame())
    other = TableEncoder().fit(polars)
    np.testing.assert_array_equal(other.transform(polars), expected.transform(frame()))
    np.testing.assert_array_equal(expected.transform(polars), expected.transform(frame()))
    assert other.feature_names_in_.tolist() == list(frame().columns)


def test_arrow_tables_encode_alike():
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.Table.from_pandas(frame())
    expected = TableEncoder().fit(frame())
    np.testing.assert_array_equal(TableEncoder().fit_transform(table), expected.transform(frame()))


def test_columns_of_arrow_in_frames_and_tables():
    pyarrow = pytest.importorskip("pyarrow")
    days = pd.array([datetime.date(2020, 1, 1), None, datetime.date(2021, 2, 1)], pd.ArrowDtype(pyarrow.date32()))
    encoder = TableEncoder(n_bins=0).fit(pd.DataFrame({"day": days}))
    assert encoder.kinds_ == {"day": "date"}
    with pytest.raises(TypeError, match=r"Column 'k' holds a list<.*int64> where"):
        TableEncoder().fit(pyarrow.table({"k": [[1], [2]]}))


def test_periods_are_dates():
    months = pd.period_range("2020-01", periods=5, freq="M")
    dates = TableEncoder().fit_transform(pd.DataFrame({"month": months.to_timestamp()}))
    np.testing.assert_array_equal(TableEncoder().fit_transform(pd.DataFrame({"month": months})), dates)


def test_times_of_day_are_seconds():
    times = [datetime.time(1, 2, 3), None, datetime.time(23), datetime.time(5, 0, 0, 500_000)]
    expected = TableEncoder().fit_transform([[3723.0], [None], [82_800.0], [18_000.5]])
    np.testing.assert_array_equal(TableEncoder().fit_transform(pd.DataFrame({"at": times})), expected)
    np.testing.assert_array_equal(TableEncoder().fit_transform(pl.DataFrame({"at": times})), expected)


def test_columns_of_objects_are_what_they_hold():
    date, time = datetime.date(2020, 1, 1), datetime.timedelta(hours=1)
    X = np.empty((4, 5), object)
    X[:, 0] = [1, 2.5, None, np.float32(3)]
    X[:, 1] = ["a", "b", np.nan, pd.NA]
    X[:, 2] = [date, None, date + 40 * datetime.timedelta(1), date]
    X[:, 3] = [time, 2 * time, 3 * time, None]
    X[:, 4] = [True, False, None, True]
    encoder = TableEncoder().fit(X)
    assert list(encoder.kinds_.values()) == ["number", "category", "date", "number", "boolean"]
    assert np.isfinite(encoder.transform(X)).all()


@pytest.mark.parametrize("chosen", [["b"], [1], [-1], [False, True], np.array([False, True])], ids=str)
def test_categories_are_chosen_by_name_position_or_mask(chosen):
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [7, 8, 9, 7]})
    encoder = TableEncoder(chosen, n_bins=0).fit(table)
    assert encoder.get_feature_names_out().tolist() == ["a", "b_7.0", "b_8.0", "b_9.0"]
    new = encoder.transform(table.assign(b=[9.0, np.nan, 10.0, 7.0]))
    assert new[:, 1:].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_infrequent_levels_share_a_column():
    values = ["a"] * 5 + ["b"] * 4 + ["c", "d"]
    encoder = TableEncoder(max_levels=3).fit(pd.DataFrame({"x": values}))
    assert encoder.get_feature_names_out().tolist() == ["x_a", "x_b", "x_infrequent"]
    out = encoder.transform(pd.DataFrame({"x": ["a", "c", "new", None]}))
    assert out.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_missing_values_and_new_levels_at_transform_alone():
    table = frame().dropna().drop(columns="country")
    encoder = TableEncoder().fit(pd.concat([table, table.iloc[:1].assign(age=99.0, rooms=0, member=False)]))
    nothing = pd.DataFrame({name: [None] for name in table}).astype({"age": float})
    assert np.isfinite(encoder.transform(nothing)).all()
    names = encoder.get_feature_names_out().tolist()
    assert encoder.transform(table.iloc[:1].assign(city="Bern"))[0, names.index("city_Rome")] == 0


def test_blocks_of_rows_change_nothing(monkeypatch):
    X = np.random.default_rng(0).normal(size=(100, 3))
    expected = TableEncoder().fit_transform(X)
    monkeypatch.setattr("fastmlp.tabular.encoder.BLOCK", 7)
    np.testing.assert_array_equal(TableEncoder().fit_transform(X), expected)


def test_the_table_stays():
    table, X = frame(), np.arange(20.0).reshape(10, 2) % 7
    before, X_before = table.copy(deep=True), X.copy()
    TableEncoder().fit_transform(table)
    TableEncoder([0]).fit_transform(X)
    pd.testing.assert_frame_equal(table, before)
    np.testing.assert_array_equal(X, X_before)


# --- columns that say nothing -----------------------------------------------------------------------------------------


def test_ids_are_dropped_and_named(capsys):
    n = 100
    table = pd.DataFrame(
        {
            "row": np.random.default_rng(0).choice(n + n // 2, n, replace=False),
            "key": [f"k{i}" for i in range(n)],
            "nothing": [None] * n,
            "x": np.random.default_rng(1).normal(size=n),
            "year": np.arange(n) // 4 + 1990,
        }
    )
    encoder = TableEncoder(verbose=True).fit(table)
    assert list(encoder.dropped_) == ["row", "key", "nothing"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Column 'row' is dropped: it is an id: it numbers the rows."
    assert lines[1] == "Column 'key' is dropped: it is an id: 100 of 100 values are distinct."
    assert list(TableEncoder(drop_ids=False).fit(table).dropped_) == ["nothing"]


def test_a_constant_with_gaps_tells_where_they_are():
    encoder = TableEncoder().fit(pd.DataFrame({"x": [1.0, None, 1.0], "c": ["a", None, "a"], "b": [True, None, True]}))
    assert encoder.get_feature_names_out().tolist() == ["x_missing", "c_missing", "b_missing"]
    new = encoder.transform(pd.DataFrame({"x": [1.0, None], "c": [None, "a"], "b": [True, None]}))
    assert new.tolist() == [[-1, 1, -1], [1, -1, 1]]


# --- bad input --------------------------------------------------------------------------------------------------------

FITTED = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": ["x", "y", "z"], "c": [True, False, True]})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (FITTED.assign(a=["1", "2", "3"]), "Column 'a' must hold numbers, as at fit; got categories"),
        (FITTED.assign(b=[1, 2, 3]), "Column 'b' must hold categories, as at fit; got numbers"),
        (FITTED.assign(a=pd.to_datetime("2020-01-01")), "Column 'a' must hold numbers, as at fit; got dates"),
        (FITTED.assign(a=[1.0, np.inf, 2.0]), "column 'a' must be finite or missing; got inf in row 1"),
        (FITTED.drop(columns="b"), "Feature names seen at fit time, yet now missing:\n- b"),
        (FITTED.iloc[:0], "0 sample"),
        (FITTED.assign(b=[["x"], "y", "z"]), "Column 'b' holds a list"),
    ],
    ids=range(7),
)
def test_bad_input_at_transform(table, message):
    encoder = TableEncoder().fit(FITTED)
    with pytest.raises((TypeError, ValueError), match=message):
        encoder.transform(table)


TWICE = pd.DataFrame([[1.0, 2.0], [3.0, 5.0]], columns=["a", "a"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TWICE, "Column names must be unique; got 'a' twice"),
        (pd.DataFrame({"k": [f"id{i}" for i in range(60)]}), "'k': it is an id: 60 of 60 values are distinct"),
        (pd.DataFrame({"k": [1.0, -np.inf]}), "column 'k' must be finite or missing; got -inf in row 1"),
        (pd.DataFrame({"k": [None, None]}), "'k': all its values are missing"),
        (pd.DataFrame({"k": [{"x": 1}, {"x": 2}]}), "Column 'k' holds a dict"),
        (pl.DataFrame({"k": [[1], [2]]}), r"Column 'k' holds a List\(Int64\) where"),
        (pl.LazyFrame({"k": [1, 2]}), "in memory; got a LazyFrame; use X.collect"),
        (pd.Series([1.0, 2.0]), "got a Series, a single column; use X.to_frame"),
        (pd.DataFrame({"k": [1j, 2.0]}), "column 'k' must be real"),
        (pd.DataFrame(index=[0, 1]), "0 feature"),
        (np.zeros((0, 2)), "0 sample"),
        (np.zeros(3), "Expected 2D array, got 1D array"),
        (csr_array(np.eye(3)), "use X.toarray"),
        (np.zeros((3, 2)) + 1j, "Complex data not supported"),
    ],
    ids=range(14),
)
def test_bad_input_at_fit(table, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TableEncoder().fit(table)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["z"], "categorical_features must name columns of X; got 'z'"),
        ([7], "positions below 3 or booleans; got 7"),
        ([True, False], "one boolean for each of 3 columns; got 2"),
        ([1.5], "got 1.5"),
    ],
)
def test_bad_choices_of_categories(chosen, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder(chosen).fit(FITTED)


def test_parameters_are_checked_and_cloned():
    assert clone(TableEncoder(n_bins=3)).n_bins == 3
    with pytest.raises(ValueError, match="max_levels"):
        TableEncoder(max_levels=1).fit(FITTED)
    with pytest.raises(ValueError, match="length equal to number of features"):
        TableEncoder().fit(FITTED.to_numpy()).get_feature_names_out(["a"])


# --- a sample of rows -------------------------------------------------------------------------------------------------


def test_columns_of_parts_are_joined():
    table = pd.DataFrame(
        {
            "number": [1.0, None, 3.0, 4.0],
            "text": ["b", None, "a", "b"],
            "flag": [True, False, True, True],
            "day": pd.to_datetime(["2020-01-01", None, "2021-05-05", "2022-01-01"]),
            "empty": [None] * 4,
        }
    )
    whole = list(columns.read_columns(table))
    parts = [list(columns.read_columns(part)) for part in (table[:1], table[1:2], table[2:])]
    for number, column in enumerate(whole):
        found = columns.joined([part[number] for part in parts], ["a", "b", "c"])
        assert found._replace(values=None, levels=None) == column._replace(values=None, levels=None)
        assert list(found.levels) == list(column.levels)
        np.testing.assert_array_equal(found.values, column.values)


def test_categories_of_parts_have_all_levels():
    first, second = (pd.DataFrame({"k": pd.Categorical(values)}) for values in (["b", "a"], ["c", "a", None]))
    (one,), (other,) = (list(columns.read_columns(part)) for part in (first, second))
    found = columns.joined([one, other], ["first", "second"])
    assert found.declared
    assert [found.levels[code] if code >= 0 else None for code in found.values] == ["b", "a", "c", "a", None]


def test_parts_of_other_kinds():
    number, text = (next(columns.read_columns(pd.DataFrame({"k": values}))) for values in ([1, 2], ["a", "b"]))
    flag = next(columns.read_columns(pd.DataFrame({"k": [True, False]})))
    assert columns.joined([flag, number], ["p", "q"]).kind == "number"
    with pytest.raises(
        ValueError, match=r"Column 'k' must hold numbers in every part .*, as in p; got categories in q; convert it\."
    ):
        columns.joined([number, text], ["p", "q"])


def test_an_encoding_chosen_by_all_rows_as_a_sample_is_that_of_the_table():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=200), "k": rng.choice(["x", "y"], 200), "row": np.arange(200)})
    parts = [list(columns.read_columns(part)) for part in (table[:90], table[90:])]
    sample = [columns.joined(pair, ["p", "q"]) for pair in zip(*parts)]
    encoder = TableEncoder().fit_sample(table[:1], sample, len(table))
    np.testing.assert_array_equal(encoder.transform(table), TableEncoder().fit_transform(table))
    assert list(encoder.dropped_) == ["row"]
    some = [column._replace(values=column.values[::2]) for column in sample]
    assert list(TableEncoder().fit_sample(table[:1], some, len(table)).dropped_) == ["row"]
    assert not TableEncoder().fit_sample(table[:1], some, 10).dropped_
