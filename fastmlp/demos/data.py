"""Handwritten digits for the demos: scikit-learn's small ones, or MNIST from its four files."""

import gzip
import math
import os
import pathlib
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import Options

IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class DataError(ValueError):
    """Data that cannot be read; the message is one sentence for the user."""


class Data(NamedTuple):
    """A classification problem: pixels in [0, 1] as float32, integer labels."""

    name: str
    X_train: NDArray[Any]
    y_train: NDArray[Any]
    X_test: NDArray[Any]
    y_test: NDArray[Any]

    def __str__(self) -> str:
        rows, features = self.X_train.shape
        return f"{self.name}: {rows:,} rows of {features} pixels (float32) to train on, {len(self.X_test):,} to test on"


def handwritten(options: Options) -> Data:
    """MNIST from the folder that the user names, or from FASTMLP_DATA; where neither is, and when quick, the digits."""
    if options.mnist is not None:
        return load_mnist(options.mnist)
    folder = pathlib.Path(os.environ.get("FASTMLP_DATA", "nowhere")) / "mnist"
    return load_mnist(folder) if folder.is_dir() and not options.quick else load_digits()


def load_digits() -> Data:
    """The 1,797 digits of 8 x 8 pixels that scikit-learn ships, a quarter of them for testing."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        (X / 16).astype(np.float32), y, test_size=0.25, random_state=0, stratify=y
    )
    return Data("digits", X_train, y_train, X_test, y_test)


def read_idx(folder: pathlib.Path, name: str, dimensions: int) -> NDArray[Any]:
    """The array in `folder/name` or `folder/name.gz`, an idx file (http://yann.lecun.com/exdb/mnist/).

    Two zero bytes, a type, the number of dimensions, each dimension as a big-endian 32-bit integer, the values.
    """
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise DataError(f"--mnist needs {name} or {name}.gz in {folder}; there is neither.")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise DataError(f"{path} is no idx file: it starts with {content[:4].hex(' ') or 'nothing'}.")
    if content[3] != dimensions:
        raise DataError(f"{path} must hold an array of {dimensions} dimensions; it holds {content[3]}.")
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    dtype = np.dtype(IDX_TYPES[content[2]])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DataError(f"{path} must hold {expected} bytes by its header; it holds {len(content)}.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def load_mnist(folder: pathlib.Path) -> Data:
    """The four files of MNIST in `folder`, gzipped or not."""
    if not folder.is_dir():
        raise DataError(f"--mnist needs a folder with the four idx files; {folder} is none.")
    parts = []
    for part in ("train", "t10k"):
        images = read_idx(folder, f"{part}-images-idx3-ubyte", 3)
        labels = read_idx(folder, f"{part}-labels-idx1-ubyte", 1)
        if len(images) != len(labels) or images.size == 0:
            raise DataError(f"{folder} holds {len(images)} images but {len(labels)} labels of {part}.")
        parts += [images.reshape(len(images), -1).astype(np.float32) / np.float32(255), labels.astype(np.int64)]
    return Data("MNIST", *parts)
