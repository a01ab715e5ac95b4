"""Rows of ``.npy`` files, read apart from each other and straight to where they are wanted."""

import functools
import math
import os
import threading
from typing import NamedTuple

import numpy as np

__all__ = ["Header", "OpenFiles", "header_of"]


class Header(NamedTuple):
    """What a ``.npy`` file says of itself, and where its numbers begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    offset: int


@functools.lru_cache(maxsize=4096)
def _header(path: str, size: int, modified: int) -> Header:
    """The header of a file as it is now: it takes longer to parse than a block to read."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return Header(*read(file), file.tell())


def header_of(path: str) -> Header:
    """The header of a file; read again where the file has changed.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or is no such file.
    """
    status = os.stat(path)
    return _header(path, status.st_size, status.st_mtime_ns)


class OpenFile:
    """An open file, closed with the object; ``identity`` tells whether its path still leads to it, as it was."""

    descriptor = -1  # where `__init__` has failed

    def __init__(self, path: str) -> None:
        self.header = header_of(path)
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.identity = _identity(os.fstat(self.descriptor))

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class OpenFiles(threading.local):
    """Files whose rows are read; the latest ones stay open, since to open one takes as long as to read a small block.

    Each thread has its own.

    Parameters
    ----------
    most : files that stay open
    """

    def __init__(self, most: int = 64) -> None:
        self.most = most
        self._open: dict[str, OpenFile] = {}  # the latest one last

    def _opened(self, path: str) -> OpenFile:
        """The file that the path leads to now."""
        file = self._open.pop(path, None)
        if file is None or file.identity != _identity(os.stat(path)):
            if len(self._open) >= self.most:
                del self._open[next(iter(self._open))]
            file = OpenFile(path)
        self._open[path] = file
        return file

    def read(self, path: str, n_rows: int, rows: slice, out: np.ndarray | None = None) -> np.ndarray:
        """Read some rows of a file of ``n_rows``.

        Parameters
        ----------
        rows : slice of two positions
        out : C-contiguous ndarray, or None
            They are read to its beginning where it has their dtype and as many rows; else to a new array.

        Raises
        ------
        ValueError, EOFError
            If the file has another number of rows, or ends early.
        """
        name = os.path.basename(path)
        file = self._opened(path)
        shape, fortran_order, dtype, offset = file.header
        if not shape or shape[0] != n_rows:
            raise ValueError(f"{name} must have {n_rows} rows; got shape {shape}")
        if fortran_order or dtype.hasobject:
            return np.array(np.load(path, mmap_mode="r")[rows])
        wanted = (rows.stop - rows.start, *shape[1:])
        if out is not None and out.dtype == dtype and out.shape[1:] == wanted[1:] and len(out) >= wanted[0]:
            values = out[: wanted[0]]
        else:
            values = np.empty(wanted, dtype)
        of_row = math.prod(shape[1:]) * dtype.itemsize
        target = values.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(target):
            count = _read_at(file.descriptor, target[done:], offset + rows.start * of_row + done)
            if not count:
                raise EOFError(f"{name} ends in row {rows.start + done // of_row} of {n_rows}")
            done += count
        return values


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    """What tells a file from another one, and from itself after a change."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_at(descriptor: int, target: memoryview, position: int) -> int:
    """Read from a position to the target; the bytes that came."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [target], position)
    os.lseek(descriptor, position, os.SEEK_SET)
    came = os.read(descriptor, len(target))
    target[: len(came)] = came
    return len(came)
