"""Rows in blocks: every source gives the same rows, and what is wrong with one is said with its name."""

import re

import numpy as np
import pytest
from scipy import sparse

from fastmlp import blocks
from fastmlp.blocks import Blocks

RANDOM = np.random.default_rng(0)
X, Y, WEIGHTS = RANDOM.normal(size=(23, 3)), RANDOM.integers(0, 3, 23), RANDOM.uniform(size=23)


def folder(path):
    for n, rows in enumerate((slice(0, 10), slice(10, 11), slice(11, 23))):
        for kind, values in (("X", X), ("y", Y), ("sample_weight", WEIGHTS)):
            np.save(path / f"{kind}_{n:02}.npy", values[rows])
    return blocks.from_folder(path)


def memory_map(path):
    np.save(path / "all.npy", X)
    return blocks.from_arrays(np.load(path / "all.npy", mmap_mode="r"), Y, WEIGHTS, block_rows=7)


def parquet(path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    columns = {"a": X[:, 0], "w": WEIGHTS, "b": X[:, 1], "y": Y, "c": X[:, 2]}
    files.write_table(pyarrow.table(columns), path / "rows.parquet", row_group_size=9)
    return blocks.from_arrow(path, "y", sample_weight="w")


def arrow_table(path):
    pyarrow = pytest.importorskip("pyarrow")
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": Y, "w": WEIGHTS}
    return blocks.from_arrow(pyarrow.table(columns), ["y"], sample_weight="w")


def dask_arrays(path):
    array = pytest.importorskip("dask.array")
    return blocks.from_dask(*(array.from_array(values, chunks=8) for values in (X, Y, WEIGHTS)))


def dask_frame(path):
    frame = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    table = frame.from_pandas(
        pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": Y, "w": WEIGHTS}), npartitions=3
    )
    return blocks.from_dask(table[["a", "b", "c"]], table["y"], table["w"])


def hdf5(path):
    h5py = pytest.importorskip("h5py")
    file = h5py.File(path / "rows.h5", "w")
    return blocks.from_arrays(file.create_dataset("X", data=X, chunks=(5, 3)), Y, WEIGHTS, block_rows=10)


def zarr_array(path):
    zarr = pytest.importorskip("zarr")
    return blocks.from_arrays(zarr.array(X, chunks=(5, 3)), Y, WEIGHTS)


class Own:
    """A user's own blocks."""

    def __init__(self, sizes=(10, 6, 7)):
        self.sizes, self.passes = sizes, 0

    def blocks(self):
        self.passes += 1
        start = 0
        for size in self.sizes:
            yield X[start : start + size], Y[start : start + size], WEIGHTS[start : start + size]
            start += size


class Fixed:
    """Blocks that are a list, or whatever it is."""

    def __init__(self, found):
        self.found = found

    def blocks(self):
        return self.found


SOURCES = (folder, memory_map, parquet, arrow_table, dask_arrays, dask_frame, hdf5, zarr_array)


@pytest.mark.parametrize("source", [*SOURCES, lambda path: blocks.from_iterable(Own())])
def test_every_source_gives_all_rows(tmp_path, source):
    rows = source(tmp_path)
    for _ in range(2):
        found = list(rows)
        np.testing.assert_array_equal(np.concatenate([block.X for block in found]), X)
        np.testing.assert_array_equal(np.concatenate([block.y for block in found]), Y)
        np.testing.assert_array_equal(np.concatenate([block.sample_weight for block in found]), WEIGHTS)
    assert len(found) == len(rows) == len(rows.names)


@pytest.mark.parametrize("source", SOURCES)
def test_blocks_are_read_in_any_order(tmp_path, source):
    rows = source(tmp_path)
    forward = list(rows)
    for position in reversed(range(len(rows))):
        np.testing.assert_array_equal(rows.read(position).X, forward[position].X)


def test_blocks_are_cut_small():
    """512 rows, 512 KiB, or a thousandth of all rows or 16 of them, whichever is least."""
    labels = np.zeros(1 << 20, np.int8)
    for n_rows, columns, expected in ((100, 1, 16), (1 << 17, 1, 128), (1 << 20, 1, 512), (1 << 17, 1 << 13, 8)):
        wide = np.broadcast_to(np.zeros(1, np.float64), (n_rows, columns))
        assert len(blocks.from_arrays(wide, labels[:n_rows]).read(0).X) == expected


def test_own_blocks_start_again_only_when_they_must():
    own = Own()
    rows = blocks.from_iterable(own)
    assert rows.ordered
    assert own.passes == 1
    list(rows)
    assert own.passes == 2
    rows.read(1)
    rows.read(2)
    assert own.passes == 3


def test_own_blocks_that_become_fewer():
    own = Own()
    rows = blocks.from_iterable(own)
    own.sizes = (10, 6)
    with pytest.raises(ValueError, match=re.escape("X could not be read in block 2: blocks() gave 2 blocks, 3 before")):
        list(rows)


def test_own_blocks_that_become_more():
    own = Own((10, 6))
    rows = blocks.from_iterable(own)
    own.sizes = (10, 6, 7)
    with pytest.raises(ValueError, match=re.escape("read in block 1: blocks() gives more than the 2 blocks of before")):
        list(rows)


def test_labels_and_weights_beside_an_array_may_be_lists():
    rows = blocks.from_arrays(X, Y.tolist(), WEIGHTS.tolist(), block_rows=10)
    assert np.concatenate([block.y for block in rows]).tolist() == Y.tolist()
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(Y, index=np.arange(23)[::-1])  # whose slices are by position
    assert np.concatenate([block.y for block in blocks.from_arrays(X, series, block_rows=10)]).tolist() == Y.tolist()


def test_no_memory_is_said_as_it_is():
    def read(position):
        raise MemoryError

    with pytest.raises(MemoryError):
        list(Blocks(["a"], read))


def test_a_group_of_a_file_is_no_array(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        with pytest.raises(ValueError, match=r"X must be an array of a Zarr or HDF5 file; got File\. Choose one"):
            blocks.as_blocks(file, Y)
        with pytest.raises(ValueError, match="y must hold a target for each row of X; got None with X of Dataset"):
            blocks.as_blocks(file.create_dataset("X", data=X))


def test_what_is_taken_for_blocks(tmp_path):
    rows = folder(tmp_path)
    assert blocks.as_blocks(rows) is rows
    assert len(blocks.as_blocks(tmp_path)) == len(blocks.as_blocks(str(tmp_path))) == 3
    assert blocks.as_blocks(Own()).ordered
    np.save(tmp_path / "map.npy", X)
    for plain in (X, X.tolist(), np.load(tmp_path / "map.npy", mmap_mode="r")):
        assert blocks.as_blocks(plain, Y) is None
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        assert len(blocks.as_blocks(file.create_dataset("X", data=X), Y)) == 2  # of 16 rows at least
    array = pytest.importorskip("dask.array")
    assert len(blocks.as_blocks(array.from_array(X, chunks=8), array.from_array(Y, chunks=8))) == 3


def bad(read, count=1):
    return lambda path: Blocks([f"block {n}" for n in range(count)], read)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda path: Blocks([], None), "X must have at least one block of rows; got none."),
        (lambda path: blocks.from_folder(path), "X must be a folder with files X*.npy and y*.npy; got "),
        (lambda path: blocks.from_arrays(X, Y[:5]), "y must have 23 rows, as X has; got 5."),
        (
            lambda path: blocks.from_arrays(X, Y, block_rows=0),
            "block_rows must be an int in the range [1, inf); got 0.",
        ),
        (bad(lambda n: (X, Y[:4])), "y must have 23 rows in block 0, as X has; got shape (4,)."),
        (bad(lambda n: (X[0], Y)), "X must be a matrix in block 0; got shape (3,)."),
        (bad(lambda n: (np.array([["a"]]), [1])), "X must be numbers in block 0; got dtype <U1: encode text before."),
        (bad(lambda n: (X.astype(complex), Y)), "X must be numbers in block 0; got dtype complex128"),
        (bad(lambda n: (X.astype("M8[s]"), Y)), "X must be numbers in block 0; got dtype datetime64[s]"),
        (bad(lambda n: (sparse.csr_array(X), Y)), "X must be dense where it comes in blocks; block 0 is a csr_array"),
        (bad(lambda n: X), "X must have blocks (X, y) or (X, y, sample_weight); got ndarray in block 0."),
        (bad(lambda n: (X, Y, None, 1)), "X must have blocks (X, y) or (X, y, sample_weight); got 4 items in block 0."),
        (bad(lambda n: {}["id"]), "X could not be read in block 0: KeyError: 'id'"),
        (bad(lambda n: 1 / 0), "X could not be read in block 0: ZeroDivisionError: division by zero"),
        (lambda path: blocks.from_arrays(X[0], Y), "X must be a matrix; got shape (3,). Reshape it to"),
        (
            lambda path: blocks.from_arrays(X.tolist(), Y),
            "X must have a dtype, a shape and slices of rows, as an array",
        ),
        (
            lambda path: blocks.from_arrays(sparse.csr_array(X), Y),
            "got csr_array. Give numpy.asarray(X), or X.toarray()",
        ),
        (
            lambda path: blocks.from_iterable(Fixed(None)),
            "X must have a method blocks() that gives an iterator; got None",
        ),
        (lambda path: blocks.as_blocks(Own(), Y), "y and sample_weight must be None where the blocks of X hold them"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, source, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        list(source(tmp_path))


def test_a_file_without_its_y(tmp_path):
    folder(tmp_path)
    (tmp_path / "y_01.npy").unlink()
    with pytest.raises(ValueError, match=r"y_01\.npy is missing"):
        blocks.from_folder(tmp_path)


def test_a_file_that_ends_early(tmp_path):
    rows = folder(tmp_path)
    path = tmp_path / "X_02.npy"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"X could not be read in X_02\.npy: "):
        list(rows)
