"""Parts of Arrow data: what is read of them, and what is wrong with their columns."""

import decimal
import re

import numpy as np
import pytest

from fastmlp import blocks

pyarrow = pytest.importorskip("pyarrow")
dataset = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

NUMBERS = np.random.default_rng(0).normal(size=(30, 2))
LABELS = np.arange(30) % 3


def table(**changes):
    return pyarrow.table({"a": NUMBERS[:, 0], "b": NUMBERS[:, 1], "y": LABELS, **changes})


def rows_of(source, **names):
    found = list(blocks.from_arrow(source, **{"target": "y", **names}))
    return np.concatenate([block.X for block in found]), np.concatenate([block.y for block in found])


def test_every_kind_of_dataset_is_read(tmp_path):
    for name in ("feather", "csv", "parquet"):
        (tmp_path / name).mkdir()
    feather.write_feather(table(), tmp_path / "feather" / "rows.feather")
    (tmp_path / "csv" / "rows.csv").write_text(
        "a,b,y\n" + "\n".join(f"{a!r},{b!r},{y}" for (a, b), y in zip(NUMBERS.tolist(), LABELS.tolist(), strict=True))
    )
    parquet.write_table(table(), tmp_path / "parquet" / "rows.parquet", row_group_size=7)
    sources = [dataset.dataset(tmp_path / name, format=name) for name in ("feather", "csv", "parquet")]
    for source in (*sources, tmp_path / "parquet", dataset.dataset(table()), table()):
        X, y = rows_of(source)
        np.testing.assert_array_equal(X, NUMBERS)
        np.testing.assert_array_equal(y, LABELS)


def test_a_file_without_rows_is_a_block_without_rows(tmp_path):
    parquet.write_table(table().slice(0, 0), tmp_path / "a.parquet")
    parquet.write_table(table(), tmp_path / "b.parquet")
    np.testing.assert_array_equal(rows_of(tmp_path)[0], NUMBERS)


def test_columns_of_every_kind_of_number():
    source = table(a=NUMBERS[:, 0].astype("f4"), c=LABELS > 0, d=LABELS.astype("u1"), e=[decimal.Decimal("1.5")] * 30)
    X, _ = rows_of(source)
    expected = [NUMBERS[:, 0].astype("f4"), NUMBERS[:, 1], LABELS > 0, LABELS, np.full(30, 1.5)]
    np.testing.assert_array_equal(X, np.stack(expected, axis=1))


def test_labels_of_text():
    text = np.array(["u", "v", "w"])[LABELS].tolist()
    for labels in (text, pyarrow.array(text).dictionary_encode()):
        assert rows_of(table(y=labels))[1].tolist() == text


def twice():
    return pyarrow.Table.from_arrays([pyarrow.array(LABELS)] * 3, names=["a", "a", "y"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: table(b=["u"] * 30), "X must be numbers; column 'b' is of type string: encode it, or leave it out."),
        (lambda: table(b=LABELS.astype("M8[s]")), "X must be numbers; column 'b' is of type timestamp[s]"),
        (twice, "X must have columns of different names; 'a' comes twice. Rename one of them."),
        (lambda: table().select(["y"]), "X must have a column beside target and sample_weight; the data have none."),
        (lambda: table().select(["a"]), "target and sample_weight must be columns of the data; got 'y', which it has"),
        (lambda: table().to_reader(), "source must be the path of a Parquet file or folder, a pyarrow Dataset or a"),
        (lambda: 3, "or a pyarrow Table; got int."),
    ],
)
def test_what_is_wrong_is_said(source, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        blocks.from_arrow(source(), "y")


def test_a_folder_without_files(tmp_path):
    with pytest.raises(ValueError, match=r"source must have Parquet files; got .*, which has none"):
        blocks.from_arrow(tmp_path, "y")


def test_a_file_without_a_column(tmp_path):
    parquet.write_table(table(), tmp_path / "a.parquet")
    parquet.write_table(table().select(["a", "y"]), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"X could not be read in b\.parquet, row group 0: KeyError: .*'Field \"b\""):
        rows_of(tmp_path)
