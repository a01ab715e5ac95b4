"""Rows of ``.npy`` files, read apart from each other and straight to where they are wanted."""

import functools
import math
import os
from typing import NamedTuple

import numpy as np

__all__ = ["Header", "Rows", "header_of"]


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


class Rows(NamedTuple):
    """Rows ``start`` to ``stop`` of a file of ``n_rows``."""

    path: str
    n_rows: int
    start: int
    stop: int

    def read(self, out: np.ndarray | None = None) -> np.ndarray:
        """Read them.

        Parameters
        ----------
        out : C-contiguous ndarray, or None
            They are read to its beginning where it has their dtype and as many rows; else to a new array.

        Raises
        ------
        ValueError, EOFError
            If the file has another number of rows, or ends early.
        """
        name = os.path.basename(self.path)
        shape, fortran_order, dtype, offset = header_of(self.path)
        if not shape or shape[0] != self.n_rows:
            raise ValueError(f"{name} must have {self.n_rows} rows; got shape {shape}")
        if fortran_order or dtype.hasobject:
            mapped = np.load(self.path, mmap_mode="r")
            return np.array(mapped[self.start : self.stop])
        wanted = (self.stop - self.start, *shape[1:])
        if out is not None and out.dtype == dtype and out.shape[1:] == wanted[1:] and len(out) >= wanted[0]:
            values = out[: wanted[0]]
        else:
            values = np.empty(wanted, dtype)
        of_row = math.prod(shape[1:]) * dtype.itemsize
        with open(self.path, "rb", buffering=0) as file:
            file.seek(offset + self.start * of_row)
            target = values.reshape(-1).view(np.uint8).data
            done = 0
            while done < len(target):
                count = file.readinto(target[done:])
                if not count:
                    raise EOFError(f"{name} ends in row {self.start + done // of_row} of {self.n_rows}")
                done += count
        return values
