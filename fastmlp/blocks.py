"""Rows in blocks: data larger than memory or in many files, which `fit` and `partial_fit` accept in place of arrays.

>>> import numpy as np
>>> from fastmlp import MLPClassifier, blocks
>>> X, y = np.random.default_rng(0).normal(size=(300, 4)), np.arange(300) % 2
>>> rows = blocks.from_arrays(X, y, block_rows=100)  # X may be a memory map, or anything that slices
>>> model = MLPClassifier(max_iter=5, random_state=0).fit(rows)

Every source is a `Blocks`: it names its blocks, and reads one of them at a time, with labels and weights beside its
rows. What each block holds is checked when it is read; errors name the block and the row.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Block", "Blocks", "as_blocks", "from_arrays", "from_arrow", "from_dask", "from_folder", "from_iterable"]

# Of a block cut from an array or a file: large enough for a disk, and so small that a window has many of them, which
# matters where the data are sorted.
BLOCK_BYTES = 1 << 20


class Block(NamedTuple):
    """Rows of one block.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
    sample_weight : ndarray of shape (n_rows,), or None
    """

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None = None


def joined(blocks: Sequence[Block]) -> Block:
    """The rows of some blocks, one block after the other, as one."""
    X, y, weights = zip(*blocks, strict=True)
    return Block(np.concatenate(X), np.concatenate(y), None if weights[0] is None else np.concatenate(weights))


class Blocks:
    """Blocks of rows that are read when they are needed, as often as they are needed.

    Parameters
    ----------
    names : sequence of str
        Name of each block, for errors; an empty sequence is refused.
    read : callable (position) -> tuple
        X, y and, if rows have weights, sample_weight of the block at that position. It may be called from another
        thread, but never by two at a time.
    ordered : bool, default=False
        Whether blocks must be read in their order, one after the other: then only rows are shuffled, not blocks.

    Attributes
    ----------
    window_rows : int or None
        Rows that a fit shuffles together, and keeps in memory twice; None for what an eighth of the free memory holds.

    Raises
    ------
    ValueError
        If there is no block.
    """

    def __init__(self, names: Sequence[str], read: Callable[[int], Sequence[Any]], *, ordered: bool = False) -> None:
        if not len(names):
            raise ValueError("X must have at least one block of rows; got none.")
        self.names = names
        self.ordered = ordered
        self.window_rows: int | None = None
        self._read = read

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} blocks, from {self.names[0]!r}>"

    def read(self, position: int) -> Block:
        """The block at a position, as arrays of whatever dtype they have, checked for shape alone."""
        name = self.names[position]
        try:
            X, y, *weights = self._read(position)
        except (OSError, EOFError, ValueError) as error:
            raise ValueError(f"X could not be read in {name}: {error}") from error
        X, y = _as_matrix(X, name), np.asarray(y)
        weight = None if not weights or weights[0] is None else np.asarray(weights[0])
        for what, values in (("y", y), ("sample_weight", weight)):
            if values is not None and (values.ndim == 0 or len(values) != len(X)):
                raise ValueError(f"{what} must have {len(X)} rows in {name}, as X has; got shape {values.shape}.")
        return Block(X, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y, weight)

    def with_window(self, window_rows: int) -> "Blocks":
        """The same blocks, of which a fit shuffles so many rows together."""
        if window_rows < 1:
            raise ValueError(f"window_rows must be an int in the range [1, inf); got {window_rows!r}.")
        same = Blocks(self.names, self._read, ordered=self.ordered)
        same.window_rows = int(window_rows)
        return same

    def __iter__(self) -> Iterator[Block]:
        return (self.read(position) for position in range(len(self)))


def _as_matrix(X: Any, name: str) -> np.ndarray:
    """X of one block as a matrix of numbers; columns of mixed dtype become their common one."""
    matrix = np.asarray(X)
    if matrix.ndim != 2:
        raise ValueError(f"X must be a matrix in {name}; got shape {matrix.shape}. Reshape it to (n_rows, n_features).")
    if matrix.dtype.kind not in "fiub":
        try:
            matrix = matrix.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"X must be numbers in {name}; got dtype {matrix.dtype}: encode text before.") from error
    return matrix


# --- sources ----------------------------------------------------------------------------------------------------------


def from_arrays(X: Any, y: Any, sample_weight: Any = None, *, block_rows: int | None = None) -> Blocks:
    """Blocks of consecutive rows of anything that has a shape and slices: memory maps, Zarr or HDF5 arrays.

    Parameters
    ----------
    X : of shape (n_rows, n_features); y : of shape (n_rows,) or (n_rows, n_outputs)
    sample_weight : of shape (n_rows,), default=None
    block_rows : int, default=None
        Rows of a block; None for some 1 MiB, in whole chunks where X has chunks.
    """
    n_rows = X.shape[0]
    for what, values in (("y", y), ("sample_weight", sample_weight)):
        if values is not None and values.shape[0] != n_rows:
            raise ValueError(f"{what} must have {n_rows} rows, as X has; got {values.shape[0]}.")
    if block_rows is None:
        of_row = X.shape[1] * np.dtype(X.dtype).itemsize
        block_rows = max(1, BLOCK_BYTES // max(1, of_row))
        chunks = getattr(X, "chunks", None)
        if chunks and isinstance(chunks[0], int):
            block_rows = max(1, block_rows // chunks[0]) * chunks[0]
    elif block_rows < 1:
        raise ValueError(f"block_rows must be an int in the range [1, inf); got {block_rows!r}.")
    starts = range(0, n_rows, block_rows)

    def read(position: int) -> tuple[Any, ...]:
        rows = slice(starts[position], min(starts[position] + block_rows, n_rows))
        return X[rows], y[rows], None if sample_weight is None else sample_weight[rows]

    return Blocks([f"rows {start} to {min(start + block_rows, n_rows) - 1}" for start in starts], read)


def from_folder(folder: str | os.PathLike[str]) -> Blocks:
    """A folder of ``X*.npy`` files, each with its ``y*.npy`` and, where rows have weights, ``sample_weight*.npy``.

    Parameters
    ----------
    folder : path
        ``X_000.npy`` belongs to ``y_000.npy`` and ``sample_weight_000.npy``. They come in the order of their names; a
        large file is read in blocks of some 1 MiB.
    """
    folder = pathlib.Path(folder)
    files = sorted(folder.glob("X*.npy"))
    if not files:
        raise ValueError(f"X must be a folder with files X*.npy and y*.npy; got {str(folder)!r}, which has none.")

    def beside(path: pathlib.Path, kind: str) -> pathlib.Path:
        return path.with_name(kind + path.name[1:])

    for path in files:
        if not beside(path, "y").exists():
            raise ValueError(
                f"X must have a y file beside each X file; {beside(path, 'y').name} is missing in {str(folder)!r}."
            )

    pieces = [(path, *rows) for path in files for rows in _pieces_of(path)]

    def read(position: int) -> tuple[Any, ...]:
        path, n_rows, *rows = pieces[position]
        weight = beside(path, "sample_weight")
        y = _rows_of_file(beside(path, "y"), n_rows, *rows)
        return _rows_of_file(path, n_rows, *rows), y, _rows_of_file(weight, n_rows, *rows) if weight.exists() else None

    names = [
        path.name if stop - start == n_rows else f"{path.name}, rows {start} to {stop - 1}"
        for path, n_rows, start, stop in pieces
    ]
    return Blocks(names, read)


class _Header(NamedTuple):
    """What a ``.npy`` file says of itself, and where its numbers begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    offset: int


@functools.lru_cache(maxsize=4096)
def _header(path: pathlib.Path, size: int, modified: int) -> _Header:
    """The header of a file as it is now: it takes longer to parse than a block to read."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return _Header(*read(file), file.tell())


def _header_of(path: pathlib.Path) -> _Header:
    """The header of a file; read again where the file has changed."""
    status = os.stat(path)
    return _header(path, status.st_size, status.st_mtime_ns)


def _pieces_of(path: pathlib.Path) -> list[tuple[int, int, int]]:
    """Number of rows of a file, and the first row and the end of each of its blocks.

    A file that is none is one block, and what is wrong with it is said when that is read.
    """
    try:
        shape, _, dtype, _ = _header_of(path)
    except (OSError, ValueError):
        return [(0, 0, 0)]
    n_rows = shape[0] if shape else 0
    rows = max(1, BLOCK_BYTES * n_rows // max(1, dtype.itemsize * int(np.prod(shape))))
    return [(n_rows, start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)] or [(0, 0, 0)]


def _rows_of_file(path: pathlib.Path, n_rows: int, start: int, stop: int) -> np.ndarray:
    """Rows of a ``.npy`` file of ``n_rows``: read apart, but where it is in Fortran's order or holds objects."""
    shape, fortran_order, dtype, offset = _header_of(path)
    if not shape or shape[0] != n_rows:
        raise ValueError(f"{path.name} must have {n_rows} rows; got shape {shape}")
    if fortran_order or dtype.hasobject:
        whole: np.ndarray = np.load(path)
        return whole[start:stop]
    of_row = int(np.prod(shape[1:]))
    values = np.fromfile(path, dtype, (stop - start) * of_row, offset=offset + start * of_row * dtype.itemsize)
    if len(values) < (stop - start) * of_row:
        raise EOFError(f"{path.name} ends in row {start + len(values) // of_row} of {n_rows}")
    return values.reshape(stop - start, *shape[1:])


def from_arrow(source: Any, target: str | Sequence[str], *, sample_weight: str | None = None) -> Blocks:
    """Row groups of Parquet files, or record batches of an Arrow dataset or table.

    Parameters
    ----------
    source : path of a Parquet file or of a folder of them, ``pyarrow.dataset.Dataset`` or ``pyarrow.Table``
    target : str or list of str
        The column that holds y, or several of them.
    sample_weight : str, default=None
        The column of weights. All other columns are features, in their order.

    Raises
    ------
    ImportError
        Without pyarrow, the extra ``arrow``.
    """
    try:
        import pyarrow
        from pyarrow import dataset
    except ImportError as error:
        raise ImportError("Parquet and Arrow data need pyarrow: pip install 'fastmlp[arrow]'.") from error
    if isinstance(source, pyarrow.Table):
        parts = [(f"record batch {n}", batch) for n, batch in enumerate(source.to_batches())]
        schema = source.schema
    else:
        if isinstance(source, str | os.PathLike):
            source = dataset.dataset(os.fspath(source), format="parquet")
        schema = source.schema
        parts = [
            (f"{pathlib.PurePath(piece.path).name}, row group {group.row_groups[0].id}", group)
            for piece in source.get_fragments()
            for group in piece.split_by_row_group()
        ]
    targets = [target] if isinstance(target, str) else list(target)
    for column in (*targets, *([] if sample_weight is None else [sample_weight])):
        if column not in schema.names:
            raise ValueError(f"target and sample_weight must be columns of the data; got {column!r}, which it has not.")
    features = [name for name in schema.names if name not in (*targets, sample_weight)]

    def columns(table: Any, names: Sequence[str]) -> np.ndarray:
        return np.stack([table.column(name).to_numpy(zero_copy_only=False) for name in names], axis=1)

    def read(position: int) -> tuple[Any, ...]:
        part = parts[position][1]
        table = part if isinstance(part, pyarrow.RecordBatch) else part.to_table().combine_chunks().to_batches()[0]
        weight = None if sample_weight is None else columns(table, [sample_weight])[:, 0]
        return columns(table, features), columns(table, targets), weight

    return Blocks([name for name, _ in parts], read)


def from_dask(X: Any, y: Any, sample_weight: Any = None) -> Blocks:
    """Partitions of Dask arrays or frames, computed one at a time.

    Parameters
    ----------
    X : dask Array of shape (n_rows, n_features), or DataFrame
    y : dask Array, DataFrame or Series with the same partitions of rows
    sample_weight : the same, default=None
    """
    parts = [partitions_of(values) for values in (X, y, sample_weight) if values is not None]
    if len({len(part) for part in parts}) > 1:
        raise ValueError(
            f"y and sample_weight must have the partitions of X, {len(parts[0])}; got "
            f"{[len(part) for part in parts[1:]]}. Rechunk them."
        )

    def read(position: int) -> tuple[Any, ...]:
        import dask.base

        block: tuple[Any, ...] = dask.base.compute(*(part[position] for part in parts))
        return block

    return Blocks([f"partition {n}" for n in range(len(parts[0]))], read)


def partitions_of(collection: Any) -> list[Any]:
    """Delayed partitions of rows of a Dask collection."""
    if hasattr(collection, "numblocks") and collection.ndim == 2 and collection.numblocks[1] > 1:
        collection = collection.rechunk({1: -1})
    return list(np.ravel(collection.to_delayed()))


def from_iterable(source: Any) -> Blocks:
    """A user's own blocks, read in their order.

    Parameters
    ----------
    source : object with a method ``blocks()``
        Each call gives a new iterator over tuples (X, y) or (X, y, sample_weight), the same ones every time. It is
        called once here, to count them.
    """
    count = sum(1 for _ in source.blocks())
    iterator: Iterator[Any] = iter(())
    following = count

    def read(position: int) -> Sequence[Any]:
        nonlocal iterator, following
        if position < following:
            iterator, following = iter(source.blocks()), 0
        while following <= position:
            try:
                block: Sequence[Any] = next(iterator)
            except StopIteration:
                raise EOFError(f"blocks() gave {following} blocks, {count} before") from None
            following += 1
        return block

    return Blocks([f"block {n}" for n in range(count)], read, ordered=True)


def as_blocks(X: Any, y: Any = None, sample_weight: Any = None) -> Blocks | None:
    """X as `Blocks` where it is larger than an array: a `Blocks`, a folder, a Dask collection, an object that slices.

    Returns
    -------
    blocks : Blocks, or None
        None for whatever is used as it is: arrays, memory maps, frames, sparse matrices, lists.

    Raises
    ------
    ValueError
        If y is missing, or given a second time.
    """
    if isinstance(X, Blocks) or callable(getattr(X, "blocks", None)) or isinstance(X, str | os.PathLike):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "y and sample_weight must be None where the blocks of X hold them; got arrays beside them."
            )
        if isinstance(X, str | os.PathLike):
            return from_folder(X)
        return X if isinstance(X, Blocks) else from_iterable(X)
    if hasattr(X, "__dask_graph__"):
        if y is None:
            raise ValueError("y must be a Dask collection beside a Dask collection X; got None.")
        return from_dask(X, y, sample_weight)
    slices = hasattr(X, "shape") and hasattr(X, "dtype") and hasattr(X, "__getitem__")
    if slices and type(X).__module__.partition(".")[0] in ("zarr", "h5py"):
        if y is None:
            raise ValueError(f"y must hold a target for each row of X; got None with X of {type(X).__name__}.")
        return from_arrays(X, y, sample_weight)
    return None
