"""Rows in blocks: data larger than memory or in many files, which `fit` and `partial_fit` accept in place of arrays.

>>> import numpy as np
>>> from fastmlp import MLPClassifier, blocks
>>> X, y = np.random.default_rng(0).normal(size=(300, 4)), np.arange(300) % 2
>>> rows = blocks.from_arrays(X, y, block_rows=100)  # X may be a memory map, or anything that slices
>>> model = MLPClassifier(max_iter=5, random_state=0).fit(rows)

Every source is a `Blocks`: it names its blocks, and reads one of them at a time, with labels and weights beside its
rows. What each block holds is checked when it is read; errors name the block and the row.
"""

import bisect
import itertools
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy.sparse import issparse

from .arrow_files import Columns, parts_of
from .delayed_parts import is_dask, partitions_of
from .frames import text_names
from .machine.memory import free_memory
from .npy_files import OpenFiles, header_of

__all__ = ["Block", "Blocks", "as_blocks", "from_arrays", "from_arrow", "from_dask", "from_folder", "from_iterable"]

T = TypeVar("T")
# A block cut from an array or a file has the least of so many bytes, so many rows, and this part of all rows: so small
# that a window has many of them, from all over the data, which matters where these are sorted. But it has some rows in
# any case, so that a block's own cost does not show.
BLOCK_BYTES, BLOCK_ROWS, N_BLOCKS = 512 << 10, 512, 1024
LEAST_ROWS = 16


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


def are_alike(blocks: Sequence[Block]) -> bool:
    """Whether blocks can be joined without a change of any of their numbers."""
    kinds = {
        tuple(None if values is None else (values.shape[1:], values.dtype) for values in block) for block in blocks
    }
    return len(kinds) == 1


def applied(
    function: Callable[[Block, str], T], blocks: Sequence[Block], names: Sequence[str], X: np.ndarray | None = None
) -> list[T]:
    """A function of small blocks as one, since a check costs as much for any size; or of each.

    Parameters
    ----------
    function : callable (Block, name)
    blocks, names : of some blocks
    X : their rows where they lie one after the other, else None

    Returns
    -------
    results : list
        One of all blocks; one of each where they differ, or where something is wrong with one, which then says so.
    """
    if len(blocks) > 1 and are_alike(blocks):
        whole = joined([block._replace(X=block.X[:0]) for block in blocks])._replace(X=X) if X is not None else None
        try:
            return [function(joined(blocks) if whole is None else whole, names[0])]
        except ValueError:
            pass  # one of them says below what is wrong
    return [function(block, name) for block, name in zip(blocks, names, strict=True)]


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
    read_to : callable (position, out) -> tuple, default=None
        As ``read``, but X is put to the beginning of ``out``, where that has its dtype and as many rows.
    columns : list of str, default=None
        Names of X's columns, where it has some; of blocks that are frames they are found when the first one is read.

    Attributes
    ----------
    window_rows : int or None
        Rows that a fit shuffles together, and keeps in memory twice; None for what an eighth of the free memory holds.

    Raises
    ------
    ValueError
        If there is no block.
    """

    def __init__(
        self,
        names: Sequence[str],
        read: Callable[[int], Sequence[Any]],
        *,
        ordered: bool = False,
        read_to: Callable[[int, np.ndarray], Sequence[Any]] | None = None,
        columns: list[str] | None = None,
    ) -> None:
        if not len(names):
            raise ValueError("X must have at least one block of rows; got none.")
        self.names = names
        self.ordered = ordered
        self.columns = columns
        self.window_rows: int | None = None
        self._read, self._read_to = read, read_to

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} blocks, from {self.names[0]!r}>"

    def read(self, position: int, out: np.ndarray | None = None) -> Block:
        """The block at a position, as arrays of whatever dtype they have, checked for shape alone.

        Parameters
        ----------
        out : C-contiguous ndarray of shape (rows, n_features), default=None
            Where X is put, at the beginning, if it has the same dtype and no more rows; X is then a part of it.
        """
        name = self.names[position]
        try:
            there = None if out is None or self._read_to is None else self._read_to(position, out)
            values = self._read(position) if there is None else there
        except MemoryError:
            raise
        except Exception as error:  # whatever a source of the user's raises
            raise ValueError(f"X could not be read in {name}: {_sentence(error)}") from error
        block = as_block(values, name)
        columns = text_names(values[0])
        if columns is not None:
            self.columns = self.columns or columns
            check_columns(columns, self.columns, name)
        X = block.X
        if out is not None and X.dtype == out.dtype and X.shape[1] == out.shape[1] and len(X) <= len(out):
            if not np.may_share_memory(X, out):
                out[: len(X)] = X
            block = block._replace(X=out[: len(X)])
        return block

    def with_window(self, window_rows: int) -> "Blocks":
        """The same blocks, of which a fit shuffles so many rows together."""
        if window_rows < 1:
            raise ValueError(f"window_rows must be an int in the range [1, inf); got {window_rows!r}.")
        same = Blocks(self.names, self._read, ordered=self.ordered, read_to=self._read_to, columns=self.columns)
        same.window_rows = int(window_rows)
        return same

    def __iter__(self) -> Iterator[Block]:
        return (self.read(position) for position in range(len(self)))


def _sentence(error: Exception) -> str:
    """What an error says; its type where that is no sentence, such as the key of a KeyError."""
    known = isinstance(error, OSError | EOFError | ValueError | TypeError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def as_block(values: Any, name: str) -> Block:
    """A tuple (X, y) or (X, y, sample_weight) as arrays of whatever dtype they have, checked for shape alone.

    Raises
    ------
    ValueError
        With its name, if it is something else.
    """
    if not isinstance(values, tuple | list) or not 2 <= len(values) <= 3:
        what = f"{len(values)} items" if isinstance(values, tuple | list) else type(values).__name__
        raise ValueError(f"X must have blocks (X, y) or (X, y, sample_weight); got {what} in {name}.")
    X, (y, *weights) = _as_matrix(values[0], name), values[1:]
    y = np.asarray(y)
    weight = None if not weights or weights[0] is None else np.asarray(weights[0])
    for what, array in (("y", y), ("sample_weight", weight)):
        if array is not None and (array.ndim == 0 or len(array) != len(X)):
            raise ValueError(f"{what} must have {len(X)} rows in {name}, as X has; got shape {array.shape}.")
    return Block(X, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y, weight)


def check_columns(columns: list[str] | None, first: list[str] | None, name: str) -> None:
    """Refuse a block whose columns have other names than those of the first one."""
    if columns != first:
        raise ValueError(f"X must have the same columns in all blocks, {first}; got {columns} in {name}.")


def _as_matrix(X: Any, name: str) -> np.ndarray:
    """X of one block as a matrix of numbers; columns of mixed dtype become their common one."""
    if issparse(X):
        raise ValueError(f"X must be dense where it comes in blocks; {name} is a {type(X).__name__}: use X.toarray().")
    matrix = np.asarray(X)
    if matrix.ndim != 2:
        raise ValueError(f"X must be a matrix in {name}; got shape {matrix.shape}. Reshape it to (n_rows, n_features).")
    if matrix.dtype.kind not in "fiub":
        try:
            if matrix.dtype.kind not in "OUS":
                raise TypeError("neither numbers nor text that holds numbers")
            matrix = matrix.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"X must be numbers in {name}; got dtype {matrix.dtype}: encode text before.") from error
    return matrix


class _Names(Sequence[str]):
    """Names that are made when one is asked for: there may be millions of blocks."""

    def __init__(self, count: int, name_of: Callable[[int], str]) -> None:
        self.n_blocks, self.name_of = count, name_of

    def __len__(self) -> int:
        return self.n_blocks

    def __getitem__(self, position: int) -> str:  # type: ignore[override]
        if not 0 <= position < self.n_blocks:
            raise IndexError(f"block {position} of {self.n_blocks}")
        return self.name_of(position)


# --- sources ----------------------------------------------------------------------------------------------------------


def _block_rows(n_rows: int, row_bytes: int, block_rows: int | None) -> int:
    """Rows of a block: those asked for, or by default as many as are small enough."""
    if block_rows is None:
        return max(1, min(BLOCK_BYTES // max(1, row_bytes), BLOCK_ROWS, max(n_rows // N_BLOCKS, LEAST_ROWS)))
    if block_rows < 1:
        raise ValueError(f"block_rows must be an int in the range [1, inf); got {block_rows!r}.")
    return block_rows


def from_arrays(X: Any, y: Any, sample_weight: Any = None, *, block_rows: int | None = None) -> Blocks:
    """Blocks of consecutive rows of anything that has a shape and slices: memory maps, Zarr or HDF5 arrays.

    Parameters
    ----------
    X : of shape (n_rows, n_features); y : of shape (n_rows,) or (n_rows, n_outputs)
    sample_weight : of shape (n_rows,), default=None
    block_rows : int, default=None
        Rows of a block; None for 512, 512 KiB or a thousandth of all (16 if that is less), whichever is least, in whole
        chunks where X has chunks. Smaller ones serve sorted data, larger ones a disk that is slow to find them.
    """
    y, sample_weight = (_with_shape(values) for values in (y, sample_weight))
    if not (hasattr(X, "dtype") and hasattr(X, "shape")) or issparse(X):
        raise ValueError(
            "X must have a dtype, a shape and slices of rows, as an array has; got "
            f"{type(X).__name__}. Give numpy.asarray(X), or X.toarray() of a sparse matrix."
        )
    if len(X.shape) != 2:
        raise ValueError(f"X must be a matrix; got shape {X.shape}. Reshape it to (n_rows, n_features).")
    n_rows = X.shape[0]
    for what, values in (("y", y), ("sample_weight", sample_weight)):
        if values is not None and values.shape[0] != n_rows:
            raise ValueError(f"{what} must have {n_rows} rows, as X has; got {values.shape[0]}.")
    chunks = getattr(X, "chunks", None)
    rows = _block_rows(n_rows, X.shape[1] * np.dtype(X.dtype).itemsize, block_rows)
    if block_rows is None and chunks and isinstance(chunks[0], int):
        rows = max(1, rows // chunks[0]) * chunks[0]
    starts = range(0, n_rows, rows)

    def read(position: int) -> tuple[Any, ...]:
        part = slice(starts[position], min(starts[position] + rows, n_rows))
        return X[part], y[part], None if sample_weight is None else sample_weight[part]

    def name_of(position: int) -> str:
        return f"rows {starts[position]} to {min(starts[position] + rows, n_rows) - 1}"

    return Blocks(_Names(len(starts), name_of), read)


def _with_shape(values: Any) -> Any:
    """What has a shape as it is, so that it is read when it is needed; None; and the rest as an array."""
    return (
        values if values is None or (hasattr(values, "shape") and not hasattr(values, "iloc")) else np.asarray(values)
    )


def from_folder(folder: str | os.PathLike[str], *, block_rows: int | None = None) -> Blocks:
    """A folder of ``X*.npy`` files, each with its ``y*.npy`` and, where rows have weights, ``sample_weight*.npy``.

    Parameters
    ----------
    folder : path
        ``X_000.npy`` belongs to ``y_000.npy`` and ``sample_weight_000.npy``. They come in the order of their names.
    block_rows : int, default=None
        Rows that are read from a file at a time; None for 512, 512 KiB or a thousandth of all (16 if that is less),
        whichever is least. Smaller ones serve sorted data, larger ones a disk that is slow to find them.
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
    weights = [os.fspath(weight) if (weight := beside(path, "sample_weight")).exists() else None for path in files]
    paths = [(os.fspath(path), os.fspath(beside(path, "y")), weight) for path, weight in zip(files, weights)]
    sizes = [_size_of(path) for path, *_ in paths]
    n_rows = sum(rows for rows, _ in sizes)
    rows_of = [(rows, _block_rows(n_rows, row_bytes, block_rows)) for rows, row_bytes in sizes]
    ends = list(itertools.accumulate(max(1, -(-n_rows // rows)) for n_rows, rows in rows_of))

    open_files = OpenFiles()

    def place(position: int) -> tuple[int, int, int, int]:
        """Number of a file, its rows, and the first row and the end of a block."""
        number = bisect.bisect_right(ends, position)
        n_rows, rows = rows_of[number]
        start = rows * (position - (ends[number - 1] if number else 0))
        return number, n_rows, start, min(start + rows, n_rows)

    def read(position: int, out: np.ndarray | None = None) -> tuple[Any, ...]:
        number, n_rows, start, stop = place(position)
        X, y, weight = paths[number]
        rows = slice(start, stop)
        weights = None if weight is None else open_files.read(weight, n_rows, rows)
        return open_files.read(X, n_rows, rows, out), open_files.read(y, n_rows, rows), weights

    def name_of(position: int) -> str:
        number, n_rows, start, stop = place(position)
        return files[number].name + ("" if stop - start == n_rows else f", rows {start} to {stop - 1}")

    return Blocks(_Names(ends[-1], name_of), read, read_to=read)


def _size_of(path: str) -> tuple[int, int]:
    """Number of rows of a file, and bytes of a row; none where it is no file of rows, which is said when it is read."""
    try:
        shape, _, dtype, _ = header_of(path)
    except (OSError, ValueError):
        return 0, 0
    return shape[0] if shape else 0, math.prod(shape[1:]) * dtype.itemsize


def from_arrow(source: Any, target: str | Sequence[str], *, sample_weight: str | None = None) -> Blocks:
    """Row groups of Parquet files, other files of an Arrow dataset, or record batches of an Arrow table.

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
    ValueError
        If there are no files, a column is missing, or a feature is no number.
    """
    parts, schema = parts_of(source)
    columns = Columns(schema, target, sample_weight)
    names = [part.name for part in parts]
    return Blocks(names, lambda position: columns.of(parts[position].read()), columns=columns.features)


def from_dask(X: Any, y: Any, sample_weight: Any = None) -> Blocks:
    """Partitions of Dask arrays or frames, computed one at a time.

    Parameters
    ----------
    X : dask Array of shape (n_rows, n_features), DataFrame, or a list of delayed matrices
    y : dask Array, DataFrame or Series with the same partitions of rows, or a list of delayed arrays
    sample_weight : the same, default=None

    Raises
    ------
    ValueError
        If y or sample_weight are no Dask collections, or have other partitions.
    """
    parts = partitions_of(X, y, sample_weight)

    def read(position: int) -> tuple[Any, ...]:
        import dask.base

        block: tuple[Any, ...] = dask.base.compute(*parts[position])
        return block

    return Blocks([f"partition {n}" for n in range(len(parts))], read)


def from_iterable(source: Any) -> Blocks:
    """A user's own blocks, read in their order.

    Parameters
    ----------
    source : object with a method ``blocks()``
        Each call gives a new iterator over tuples (X, y) or (X, y, sample_weight), the same ones every time. It is
        called once here, to count them.
    """

    def begun() -> Iterator[Any]:
        iterable = source.blocks()
        if not isinstance(iterable, Iterable):
            raise ValueError(f"X must have a method blocks() that gives an iterator; got {type(iterable).__name__}.")
        return iter(iterable)

    count = sum(1 for _ in begun())
    iterator: Iterator[Any] = iter(())
    following = count

    def read(position: int) -> Sequence[Any]:
        nonlocal iterator, following
        if position < following:
            iterator, following = begun(), 0
        while following <= position:
            try:
                block: Sequence[Any] = next(iterator)
            except StopIteration:
                raise EOFError(f"blocks() gave {following} blocks, {count} before") from None
            following += 1
        if following == count and next(iterator, None) is not None:
            raise ValueError(f"blocks() gives more than the {count} blocks of before")
        return block

    return Blocks([f"block {n}" for n in range(count)], read, ordered=True)


def _fits(X: np.memmap) -> bool:
    """Whether memory holds a memory map: its pages, or a copy in float64 where it must be converted."""
    as_it_is = X.dtype.char in "fd" and X.flags.c_contiguous
    return bool(X.size * (X.itemsize if as_it_is else 8) <= free_memory())


def as_blocks(X: Any, y: Any = None, sample_weight: Any = None) -> Blocks | None:
    """X as `Blocks`: what is larger than memory or in many files, such as a `Blocks`, a folder or a Dask collection.

    Returns
    -------
    blocks : Blocks, or None
        None for whatever is used as it is: arrays, memory maps that memory can hold, frames, sparse matrices, lists.

    Raises
    ------
    ValueError
        If y is missing, or given a second time.
    """
    if is_dask(X):
        if y is None:
            raise ValueError("y must be a Dask collection beside a Dask collection X; got None.")
        return from_dask(X, y, sample_weight)
    if isinstance(X, Blocks) or callable(getattr(X, "blocks", None)) or isinstance(X, str | os.PathLike):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "y and sample_weight must be None where the blocks of X hold them; got arrays beside them."
            )
        if isinstance(X, str | os.PathLike):
            return from_folder(X)
        return X if isinstance(X, Blocks) else from_iterable(X)
    if isinstance(X, np.memmap) and X.ndim == 2 and y is not None and not _fits(X):
        return from_arrays(X, y, sample_weight)
    if type(X).__module__.partition(".")[0] in ("zarr", "h5py"):
        if not (hasattr(X, "shape") and hasattr(X, "dtype")):
            raise ValueError(
                f"X must be an array of a Zarr or HDF5 file; got {type(X).__name__}. Choose one of its arrays."
            )
        if y is None:
            raise ValueError(f"y must hold a target for each row of X; got None with X of {type(X).__name__}.")
        return from_arrays(X, y, sample_weight)
    return None
