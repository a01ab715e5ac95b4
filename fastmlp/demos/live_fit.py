"""Showing a fit while it goes on, from outside, so that any class with scikit-learn's interface can be watched.

A second thread looks at `loss_curve_`, which fastmlp and scikit-learn alike extend epoch by epoch, and draws the
progress; it wakes ten times a second and touches nothing.
"""

import contextlib
import importlib.util
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..progress import Bar, bar
from .data import Data

LOOK = 0.1  # seconds between two looks at the loss curve


class Result(NamedTuple):
    """What one fit gave: seconds by the clock and of all processors together, accuracy on the rows for testing."""

    side: str
    seconds: float
    epochs: int
    accuracy: float
    cpu_seconds: float


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

    with display(f"{side:<29} ", estimator.max_iter, len(data.X_train)) as screen:
        callback = threading.Thread(target=watch, daemon=True)
        callback.start()
        try:
            start, cpu_start = time.perf_counter(), time.process_time()
            estimator.fit(data.X_train, data.y_train)
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        finally:
            ended.set()
            callback.join()
        look()
    accuracy = float(estimator.score(data.X_test, data.y_test))
    return Result(side, seconds, estimator.n_iter_, accuracy, cpu_seconds)
