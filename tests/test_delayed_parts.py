"""Partitions of Dask collections, and delayed blocks."""

import re

import numpy as np
import pytest

from fastmlp import blocks
from fastmlp.delayed_parts import is_dask, partitions_of

array = pytest.importorskip("dask.array")
delayed = pytest.importorskip("dask.delayed").delayed

X = np.random.default_rng(0).normal(size=(23, 3))
Y = np.arange(23) % 2


def test_what_is_dask():
    assert is_dask(array.from_array(X))
    assert is_dask(delayed(X))
    assert is_dask([delayed(X), delayed(X)])
    for other in (X, X.tolist(), [], [delayed(X), X], "folder", None):
        assert not is_dask(other)


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (lambda: array.from_array(X, chunks=(8, 2)), lambda: array.from_array(Y, chunks=8)),
        (lambda: [delayed(X[:8]), delayed(X[8:])], lambda: [delayed(Y[:8]), delayed(Y[8:])]),
        (lambda: delayed(X), lambda: delayed(Y)),
        (lambda: [array.from_array(X[:8]), array.from_array(X[8:])], lambda: array.from_array(Y, chunks=((8, 15),))),
    ],
)
def test_every_collection_gives_its_rows(rows, labels):
    for found in (list(blocks.from_dask(rows(), labels())), list(blocks.as_blocks(rows(), labels()))):
        np.testing.assert_array_equal(np.concatenate([block.X for block in found]), X)
        np.testing.assert_array_equal(np.concatenate([block.y for block in found]), Y)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda: Y, "y must be a Dask collection or delayed blocks, as X is; got ndarray. Use dask.array.from_array"),
        (lambda: None, "y must be a Dask collection or delayed blocks, as X is; got NoneType."),
        (lambda: array.from_array(Y, chunks=12), "y must have the 3 partitions of X; got 2. Rechunk it."),
    ],
)
def test_labels_must_be_beside_the_rows(labels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        partitions_of(array.from_array(X, chunks=8), labels())


def test_weights_must_be_beside_the_rows():
    rows, labels = (array.from_array(values, chunks=8) for values in (X, Y))
    with pytest.raises(ValueError, match="sample_weight must be a Dask collection"):
        partitions_of(rows, labels, np.ones(23))
    assert all(weights is None for _, _, weights in partitions_of(rows, labels))


def test_columns_of_one_table_have_the_same_partitions(tmp_path):
    """Dask joins the files that it reads where it needs few of their columns, the target alone for instance."""
    frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pandas.DataFrame(np.arange(780.0).reshape(60, 13), columns=list("abcdefghijklm"))
    frames.from_pandas(table, npartitions=6).to_parquet(tmp_path)
    read = frames.read_parquet(tmp_path)
    found = list(blocks.from_dask(read.drop(columns="m"), read["m"], read["a"]))
    assert [block.X.shape for block in found] == [(10, 12)] * 6
    np.testing.assert_array_equal(np.concatenate([block.y for block in found]), table["m"])
    np.testing.assert_array_equal(np.concatenate([block.sample_weight for block in found]), table["a"])
