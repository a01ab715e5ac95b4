"""Training on blocks: windows of rows, read ahead of the engine, shuffled inside, and never all in memory.

An epoch reads the blocks in a new random order, fills a window with rows of some of them, and trains on the window's
rows in a random order, in whole batches; rows that make no whole batch go on into the next window. While the engine
works on one window, a thread reads the next one, so that the engine waits only for a disk that is slower. Two windows
are all that is kept in memory, beside one block.

A window is a good sample where its blocks are: of data sorted by class, take windows of many blocks, and small blocks.
"""

import os
import pathlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .blocks import Block, Blocks
from .core.network import Network

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

T = TypeVar("T")
WINDOW_SHARE = 8  # a window takes this part of the free memory: two of them, a block and its conversion take half
WINDOW_BYTES = 1 << 20, 1 << 30  # the least and the largest window by default


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control group and of its address space."""
    free = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else [WINDOW_BYTES[1]]
    available = _number_after("MemAvailable:", "/proc/meminfo")
    if available is not None:
        free = [available * 1024]
    if resource is not None:
        limit, size = resource.getrlimit(resource.RLIMIT_AS)[0], _number_after("VmSize:", "/proc/self/status")
        if limit != resource.RLIM_INFINITY and size is not None:
            free.append(limit - size * 1024)
    most, used = (_number_after("", f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if most is not None and used is not None:
        free.append(most - used)
    return max(0, min(free))


def _number_after(label: str, path: str) -> int | None:
    """The number behind a label in a file of the system; None where there is none."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf8")
    except OSError:
        return None
    fields = text.partition(label)[2].split() if label else text.split()
    return int(fields[0]) if fields and fields[0].isdecimal() else None


def default_window(row_bytes: int, batch_size: int) -> int:
    """Rows of a window: what an eighth of the free memory holds, no less than a batch."""
    least, most = WINDOW_BYTES
    return max(batch_size, min(max(free_memory() // WINDOW_SHARE, least), most) // max(1, row_bytes))


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each produced by another thread while the one before it is in use; never more than these two.

    An exception of the producer is raised where its item would have been. Closing the iterator ends the thread.
    """
    ready: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
    room, closed = threading.Semaphore(2), threading.Event()

    def produce() -> None:
        try:
            while True:
                room.acquire()
                if closed.is_set():
                    return
                ready.put((True, next(items)))
        except StopIteration:
            ready.put((False, None))
        except BaseException as error:
            ready.put((False, error))

    thread = threading.Thread(target=produce, name="fastmlp-reader", daemon=True)
    thread.start()
    try:
        while True:
            more, value = ready.get()
            if not more:
                if value is not None:
                    raise value
                return
            yield value
            room.release()
    finally:
        closed.set()
        room.release()
        thread.join()


class Window(NamedTuple):
    """Rows to train on: arrays of the network's dtype, and whether more windows follow in this epoch."""

    X: np.ndarray
    targets: np.ndarray
    sample_weight: np.ndarray | None
    more: bool


class Buffers:
    """Room for one window, with ``margin`` rows before it for those that the last window has left."""

    def __init__(self, like: Block, rows: int, margin: int) -> None:
        self.margin, self.filled = margin, 0
        self.arrays = [
            None if values is None else np.empty((margin + rows, *values.shape[1:]), values.dtype) for values in like
        ]
        self.rows = rows

    def fill(self, block: Block, start: int) -> int:
        """Copy rows of a block from ``start`` on, as many as there is room for; how many they are."""
        count = min(len(block.X) - start, self.rows - self.filled)
        at = self.margin + self.filled
        for array, values in zip(self.arrays, block, strict=True):
            if array is not None and values is not None:
                array[at : at + count] = values[start : start + count]
        self.filled += count
        return count

    def window(self, left: Block | None, more: bool) -> Window:
        """The rows, after those that were left."""
        count = 0 if left is None else len(left.X)
        begin = self.margin - count
        if left is not None:
            for array, values in zip(self.arrays, left, strict=True):
                if array is not None and values is not None:
                    array[begin : self.margin] = values
        X, targets, weights = (
            None if array is None else array[begin : self.margin + self.filled] for array in self.arrays
        )
        assert X is not None
        assert targets is not None
        return Window(X, targets, weights, more)


class StreamSession:
    """What trains a network on blocks; in place of a `Session`, for a `Trainer`.

    Parameters
    ----------
    network : Network
    blocks : Blocks
    convert : callable (Block, name) -> Block
        Checks a block that was read, and gives X, targets and weights in the network's dtypes.
    batch_size : int
        Rows of a batch, in every epoch but for the last one.
    window_rows : int
        Rows that are shuffled together.
    shuffle : bool
        Whether blocks and rows are taken in a random order.
    n_threads : int or None
        Size of the team, as in `Session`.
    """

    def __init__(
        self,
        network: Network,
        blocks: Blocks,
        convert: Callable[[Block, str], Block],
        *,
        batch_size: int,
        window_rows: int,
        shuffle: bool,
        n_threads: int | None,
    ) -> None:
        self.network, self.blocks, self.convert = network, blocks, convert
        self.batch_size, self.window_rows = batch_size, max(window_rows, batch_size)
        self.shuffle, self.n_threads = shuffle, n_threads
        self.steps = 0  # optimizer steps taken, as `Session` counts them
        self._buffers: list[Buffers] = []

    def __enter__(self) -> "StreamSession":
        return self

    def __exit__(self, *exception: object) -> None:
        self._buffers.clear()

    def _filled(self, positions: Iterable[int]) -> Iterator[tuple[Buffers, bool]]:
        """Buffers full of rows, in turn, and whether more follow."""
        turn, waiting = 0, None
        for position in positions:
            block = self.convert(self.blocks.read(position), self.blocks.names[position])
            start = 0
            while start < len(block.X):
                if waiting is None:
                    while len(self._buffers) <= turn % 2:
                        self._buffers.append(Buffers(block, self.window_rows, self.batch_size))
                    waiting, turn = self._buffers[turn % 2], turn + 1
                    waiting.filled = 0
                elif waiting.filled == waiting.rows:
                    yield waiting, True
                    waiting = None
                    continue
                start += waiting.fill(block, start)
        if waiting is not None:
            yield waiting, False

    def epoch(
        self,
        order: Any,
        *,
        learning_rate: Any,
        step: int = 0,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
        **settings: Any,
    ) -> float:
        """One pass over all blocks; the mean loss of its batches by their rows. ``order`` has the number of rows.

        Parameters and result are those of `Session.epoch`; the random order depends on ``seed`` alone.
        """
        random = np.random.default_rng(seed)
        positions = np.arange(len(self.blocks))
        if self.shuffle and not self.blocks.ordered:
            random.shuffle(positions)
        total, done, left = 0.0, 0, None
        windows = read_ahead(self._filled(positions.tolist()))
        try:
            for buffers, more in windows:
                window = buffers.window(left, more)
                rows = len(window.X)
                count = rows // self.batch_size * self.batch_size if more else rows
                now = random.permutation(rows) if self.shuffle else np.arange(rows)
                left = _rows_of(window, now[count:])
                if count:
                    total += count * self._train(
                        window, now[:count], done, learning_rate, step=step, seed=seed, progress=progress, **settings
                    )
                done += count
        finally:
            windows.close()  # type: ignore[attr-defined]
        if done != len(order):
            raise ValueError(f"X must have the same rows in every pass; got {done}, and {len(order)} in the first one.")
        return total / done

    def _train(
        self,
        window: Window,
        order: np.ndarray,
        done: int,
        learning_rate: Any,
        *,
        step: int,
        progress: Any,
        **settings: Any,
    ) -> float:
        """Train on some rows of a window, ``done`` rows after the epoch's first one."""
        steps = done // self.batch_size
        if isinstance(learning_rate, np.ndarray):
            learning_rate = learning_rate[steps : steps - (-len(order) // self.batch_size)]
        with self.network.session(
            window.X, window.targets, window.sample_weight, batch_size=self.batch_size, n_threads=self.n_threads
        ) as session:
            before = self.steps
            try:
                return session.epoch(
                    order,
                    learning_rate=learning_rate,
                    step=step + steps,
                    progress=None if progress is None else lambda rows: progress(done + rows),
                    **settings,
                )
            finally:
                self.steps = before + session.steps


def _rows_of(window: Window, rows: np.ndarray) -> Block:
    """Copies of some rows of a window."""
    weights = None if window.sample_weight is None else window.sample_weight[rows]
    return Block(window.X[rows], window.targets[rows], weights)
