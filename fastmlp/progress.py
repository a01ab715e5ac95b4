"""A bar of rich's for a training: epochs, loss, rows per second, time left. It moves within long epochs too.

>>> from fastmlp import MLPClassifier
>>> from fastmlp.progress import bar
>>> classifier = MLPClassifier(progress=bar)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Bar", "bar"]

REDRAW = 0.1  # seconds between two redraws, at least

# A console has one live area. The bars that are shown at a time on it, of threads or of fits inside a fit, share it:
# console -> (progress, number of bars).
_shown: dict[Any, tuple[Progress, int]] = {}
_lock = threading.RLock()


class Bar:
    """What `bar` draws on.

    Parameters
    ----------
    progress : rich.progress.Progress with a field ``facts``; ``task``: its task, which counts rows
    max_epochs, n_rows : most epochs, rows of each
    """

    def __init__(self, progress: Progress, task: Any, max_epochs: int, n_rows: int) -> None:
        self.progress = progress
        self.task = task
        self.max_epochs = max_epochs
        self.n_rows = n_rows
        self.start = self.drawn = time.monotonic()
        self.latest: tuple[int, int, float | None] = (0, 0, None)

    def update(self, epochs: int, rows: int, loss: float | None) -> None:
        """Note epochs done, rows done of the present epoch, and the latest loss; draw, if it was long ago."""
        self.latest = epochs, rows, loss
        now = time.monotonic()
        if now - self.drawn >= REDRAW:
            self.drawn = now
            self.draw()

    def draw(self, *, ended: bool = False) -> None:
        """Draw what was noted last. A training that has ended is complete, after however many epochs."""
        epochs, rows, loss = self.latest
        done = epochs * self.n_rows + rows
        speed = done / max(time.monotonic() - self.start, 1e-9)
        facts = "" if loss is None else f"loss {loss:.4g}  "
        self.progress.update(
            self.task,
            completed=done,
            total=done if ended else None,  # None: as it was
            facts=f"{facts}{speed:,.0f} rows/s",
            epochs=f"epoch {epochs if ended else min(epochs + 1, self.max_epochs)}/{self.max_epochs}",
            refresh=True,
        )


@contextmanager
def bar(max_epochs: int, n_rows: int, console: Any = None, title: str = "") -> Iterator[Bar]:
    """Show a bar while the block runs; for the parameter ``progress`` of an estimator.

    Parameters
    ----------
    max_epochs, n_rows : most epochs, rows of each
    console : rich.console.Console to draw on; None for the standard output
    title : text before the bar

    Raises
    ------
    ImportError
        If rich is not installed.
    """
    try:
        from rich import get_console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError as error:
        raise ImportError('fastmlp.progress.bar needs rich; install it with pip install "fastmlp[rich]".') from error
    columns = (
        TextColumn("{task.description}{task.fields[epochs]}"),
        BarColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    console = get_console() if console is None else console
    with _lock:
        progress, count = _shown.get(console, (None, 0))
        if progress is None:
            progress = _started(Progress(*columns, console=console, auto_refresh=False))
        _shown[console] = progress, count + 1
    task = progress.add_task(title, total=max_epochs * n_rows, facts="", epochs=f"epoch 1/{max_epochs}")
    shown = Bar(progress, task, max_epochs, n_rows)
    try:
        yield shown
    finally:
        shown.draw(ended=True)
        with _lock:
            progress, count = _shown[console]
            if count > 1:
                _shown[console] = progress, count - 1
                _leave(progress, task)
            else:
                del _shown[console]
                progress.stop()


def _started(progress: Progress) -> Progress:
    """The progress, started; one that draws nothing where another program's display has the console."""
    from rich.errors import LiveError

    try:
        progress.start()
    except LiveError:
        progress.disable = True
    return progress


def _leave(progress: Progress, task: Any) -> None:
    """Print the last state of a bar above those that go on, so that the live area does not grow with each fit."""
    fields = next(each for each in progress.tasks if each.id == task)
    line = f"{fields.description}{fields.fields['epochs']}  {fields.fields['facts']}"
    progress.remove_task(task)
    if not progress.disable:
        progress.console.print(line, markup=False, highlight=False)
