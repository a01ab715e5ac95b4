"""The demos of the command line: fastmlp beside scikit-learn's MLP, with the same parameters and the same seed.

Both are timed by their own `fit`, from call to return. A second thread looks at `loss_curve_`, which either class
extends epoch by epoch, and draws the progress; it wakes ten times a second and touches nothing.
"""

import argparse
import contextlib
import gzip
import importlib.util
import math
import pathlib
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .progress import Bar, bar

LOOK = 0.1  # seconds between two looks at the loss curve
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class DataError(ValueError):
    """Data that cannot be read; the message is one sentence for the user."""


class Interrupted(Exception):
    """The user has stopped a fit."""


class Data(NamedTuple):
    """A classification problem: pixels in [0, 1] as float32, integer labels."""

    name: str
    X_train: NDArray[Any]
    y_train: NDArray[Any]
    X_test: NDArray[Any]
    y_test: NDArray[Any]


class Result(NamedTuple):
    """What one fit gave."""

    side: str
    seconds: float
    epochs: int
    accuracy: float


# --- data -------------------------------------------------------------------------------------------------------------


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


# --- progress ---------------------------------------------------------------------------------------------------------


class Lines:
    """One line a second, at most; what `fastmlp.progress.Bar` is where no bar can be drawn."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.latest: tuple[int, float | None] = (0, None)
        self.drawn = 0
        self.due = time.monotonic() + 1

    def update(self, epochs: int, rows: int, loss: float | None) -> None:
        """Note epochs done and the latest loss; print, if it was long ago."""
        self.latest = epochs, loss
        if time.monotonic() >= self.due:
            self.draw()

    def draw(self) -> None:
        """Print what was noted last, once."""
        epochs, loss = self.latest
        if epochs > self.drawn:
            print(f"{self.title}epoch {epochs:>4}   loss {loss:.4f}", flush=True)
            self.drawn, self.due = epochs, time.monotonic() + 1


@contextlib.contextmanager
def display(title: str, max_epochs: int, n_rows: int) -> Iterator[Bar | Lines]:
    """A bar on a terminal where rich is installed, else lines."""
    if sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        with bar(max_epochs, n_rows, title=title) as shown:
            yield shown
    else:
        lines = Lines(title)
        yield lines
        lines.draw()


def fit_watched(estimator: Any, data: Data, side: str) -> Result:
    """Fit `estimator`, show its loss curve while it grows, and measure it on the test rows."""
    ended = threading.Event()

    def look() -> None:
        losses = list(getattr(estimator, "loss_curve_", ()))
        screen.update(len(losses), 0, losses[-1] if losses else None)

    def watch() -> None:
        while not ended.wait(LOOK):
            look()

    with (
        display(f"{side:<14} ", estimator.max_iter, len(data.X_train)) as screen,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            start = time.perf_counter()
            estimator.fit(data.X_train, data.y_train)
            seconds = time.perf_counter() - start
        finally:
            ended.set()
            watcher.join()
        look()
    if any("interrupted by user" in str(warning.message) for warning in caught):
        raise Interrupted
    return Result(side, seconds, estimator.n_iter_, float(estimator.score(data.X_test, data.y_test)))


# --- the demo ---------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result]) -> list[list[str]]:
    """Header and rows; the ratio is to the slowest side, by seconds."""
    slowest = max(result.seconds for result in results)
    rows = [["", "seconds", "epochs", "test accuracy", "ratio"]]
    for side, seconds, epochs, accuracy in results:
        rows.append([side, f"{seconds:.3f}", str(epochs), f"{accuracy:.2%}", f"{slowest / seconds:.1f}×"])
    return rows


def print_table(rows: Sequence[Sequence[str]], title: str) -> None:
    """The table, drawn by rich where it is installed."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(*rows)]
        print(title)
        for first, *others in rows:
            cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:]))
            print(f"{first:<{widths[0]}}  " + "  ".join(cells))
        return
    drawn = Table(title=title, title_justify="left")
    drawn.add_column()
    for name in rows[0][1:]:
        drawn.add_column(name, justify="right")
    for row in rows[1:]:
        drawn.add_row(*row)
    Console().print(drawn)


def warm_up(data: Data) -> float:
    """Seconds of a first, tiny fit and score of fastmlp: the kernels' compilation, or their loading from the cache."""
    from . import MLPClassifier

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MLPClassifier((4,), max_iter=1, random_state=0).fit(data.X_train[:64], data.y_train[:64]).score(
            data.X_test[:64], data.y_test[:64]
        )
    return time.perf_counter() - start


def compare(data: Data, max_epochs: int, cache_folder: str) -> list[Result]:
    """Fit both sides on the same rows, with default parameters and the same seed."""
    from sklearn.neural_network import MLPClassifier as Original

    from . import MLPClassifier

    rows, features = data.X_train.shape
    print(f"{data.name}: {rows:,} rows of {features} pixels (float32) to train on, {len(data.X_test):,} to test on")
    print(f"compiling kernels (once; cached at {cache_folder}) ...", end=" ", flush=True)
    print(f"{warm_up(data):.1f} s", flush=True)
    results = []
    for side, estimator_class in (("fastmlp", MLPClassifier), ("scikit-learn", Original)):
        results.append(fit_watched(estimator_class(max_iter=max_epochs, random_state=0), data, side))
    return results


def digits_demo(arguments: argparse.Namespace, cache_folder: str) -> None:
    """fastmlp beside scikit-learn on handwritten digits: scikit-learn's own, or MNIST with --mnist FOLDER."""
    data = load_digits() if arguments.mnist is None else load_mnist(pathlib.Path(arguments.mnist))
    results = compare(data, arguments.epochs, cache_folder)
    print()
    print_table(table(results), f"MLPClassifier(random_state=0) on {data.name}")


DEMOS: dict[str, Callable[[argparse.Namespace, str], None]] = {"digits": digits_demo}
