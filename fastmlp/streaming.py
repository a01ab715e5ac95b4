"""Training on blocks: windows of rows, read ahead of the engine, shuffled inside, and never all in memory.

An epoch reads the blocks in a new random order, fills a window with rows of some of them, and trains on the window's
rows in a random order, in whole batches; rows that make no whole batch go on into the next window. While the engine
works on one window, a thread reads the next one, so that the engine waits only for a disk that is slower. Two windows
are all that is kept in memory, beside one block.

A window is a good sample where its blocks are: of data sorted by class, take windows of many blocks, and small blocks.
"""

import contextlib
import os
import pathlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .blocks import Block, Blocks, joined
from .core.network import Network

try:
    import resource

    # What the system may bound of a process, and what it says of it in /proc/self/status.
    MEMORY_LIMITS: tuple[tuple[int, str], ...] = ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:"))
except ImportError:  # Windows
    MEMORY_LIMITS = ()

__all__ = ["StreamSession", "default_window", "free_memory", "read_ahead"]

T = TypeVar("T")
WINDOW_SHARE = 8  # a window takes this part of the free memory: two of them, a block and its conversion take half
WINDOW_BYTES = 1 << 20, 1 << 30  # the least and the largest window by default
GROUP_BYTES = 4 << 20  # of blocks that are checked and converted together


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control group and of its own limits."""
    free = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else [WINDOW_BYTES[1]]
    available = _number_after("MemAvailable:", "/proc/meminfo")
    if available is not None:
        free = [available * 1024]
    for limit, label in MEMORY_LIMITS:
        allowed, taken = resource.getrlimit(limit)[0], _number_after(label, "/proc/self/status")
        if allowed != resource.RLIM_INFINITY and taken is not None:
            free.append(allowed - taken * 1024)
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
    """Rows to train on: from ``begin`` to ``end`` of the arrays of `Buffers`; and whether more follow in this epoch."""

    begin: int
    end: int
    more: bool


class Buffers:
    """Arrays for two windows, one of which is filled while the other one trains.

    Before the rows of each there is a margin for those that the window before has left.

    Parameters
    ----------
    like : Block in the network's dtypes; rows : of a window; margin : rows that a window may leave
    """

    def __init__(self, like: Block, rows: int, margin: int) -> None:
        self.rows, self.margin = rows, margin
        X, targets, weights = (
            None if values is None else np.zeros((2 * (margin + rows), *values.shape[1:]), values.dtype)
            for values in like
        )
        assert X is not None
        assert targets is not None
        self.block = Block(X, targets, weights)

    def fill(self, turn: int, filled: int, block: Block, start: int) -> int:
        """Copy rows of a block from ``start`` on behind those that are in, as many as fit; how many they are."""
        count = min(len(block.X) - start, self.rows - filled)
        at = self._start(turn) + filled
        for array, values in zip(self.block, block, strict=True):
            if array is not None and values is not None:
                array[at : at + count] = values[start : start + count]
        return count

    def window(self, turn: int, filled: int, left: Block | None, more: bool) -> Window:
        """The rows that are in, after those that were left."""
        start = self._start(turn)
        begin = start - (0 if left is None else len(left.X))
        for array, values in zip(self.block, left or (), strict=left is not None):
            if array is not None and values is not None:
                array[begin:start] = values
        return Window(begin, start + filled, more)

    def _start(self, turn: int) -> int:
        """Where the rows of a window begin."""
        return turn % 2 * (self.margin + self.rows) + self.margin


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
        self._buffers: Buffers | None = None
        self._session: Any = None  # over the buffers, from the first window on
        self._resources = contextlib.ExitStack()

    @property
    def steps(self) -> int:
        """Optimizer steps taken, as `Session` counts them."""
        return 0 if self._session is None else self._session.steps

    def __enter__(self) -> "StreamSession":
        return self

    def __exit__(self, *exception: object) -> None:
        self._buffers = None
        self._resources.close()

    def _converted(self, positions: Iterable[int]) -> Iterator[Block]:
        """Blocks that are checked and converted; small ones together, since a check costs as much for any size."""
        group: list[tuple[Block, str]] = []
        size = 0
        for position in positions:
            block = self.blocks.read(position)
            group.append((block, self.blocks.names[position]))
            size += block.X.nbytes
            if size >= GROUP_BYTES:
                yield converted_together(group, self.convert)
                group, size = [], 0
        if group:
            yield converted_together(group, self.convert)

    def _filled(self, positions: Iterable[int]) -> Iterator[tuple[int, int, bool]]:
        """The turn of a window that is full, its rows, and whether more follow."""
        turn = filled = 0
        for block in self._converted(positions):
            start = 0
            while start < len(block.X):
                if self._buffers is None:
                    self._buffers = Buffers(block, self.window_rows, self.batch_size)
                if filled == self.window_rows:
                    yield turn, filled, True
                    turn, filled = turn + 1, 0
                count = self._buffers.fill(turn, filled, block, start)
                start, filled = start + count, filled + count
        if filled:
            yield turn, filled, False

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
            for turn, filled, more in windows:
                assert self._buffers is not None
                window = self._buffers.window(turn, filled, left, more)
                rows = window.end - window.begin
                count = rows // self.batch_size * self.batch_size if more else rows
                now = random.permutation(rows) if self.shuffle else np.arange(rows)
                now += window.begin
                left = _rows_of(self._buffers.block, now[count:])
                if count:
                    total += count * self._train(
                        now[:count], done, learning_rate, step=step, seed=seed, progress=progress, **settings
                    )
                    seed = int(random.integers(2**31))  # the next window has other random bits
                done += count
        finally:
            windows.close()  # type: ignore[attr-defined]
        if done != len(order):
            raise ValueError(f"X must have the same rows in every pass; got {done}, and {len(order)} in the first one.")
        return total / done

    def _train(
        self, order: np.ndarray, done: int, learning_rate: Any, *, step: int, progress: Any, **settings: Any
    ) -> float:
        """Train on rows of the buffers, ``done`` rows after the epoch's first one."""
        if self._session is None:
            assert self._buffers is not None
            X, targets, weights = self._buffers.block
            self._session = self._resources.enter_context(
                self.network.session(X, targets, weights, batch_size=self.batch_size, n_threads=self.n_threads)
            )
        steps = done // self.batch_size
        if isinstance(learning_rate, np.ndarray):
            learning_rate = learning_rate[steps : steps - (-len(order) // self.batch_size)]
        loss: float = self._session.epoch(
            order,
            learning_rate=learning_rate,
            step=step + steps,
            progress=None if progress is None else lambda rows: progress(done + rows),
            **settings,
        )
        return loss


def converted_together(group: list[tuple[Block, str]], convert: Callable[[Block, str], Block]) -> Block:
    """Blocks as one, checked and converted; where something is wrong with one of them, its own error."""
    if len(group) == 1:
        return convert(*group[0])
    blocks = [block for block, _ in group]
    like = blocks[0]
    alike = all(
        (block.X.shape[1:], block.y.shape[1:], block.X.dtype, block.y.dtype, block.sample_weight is None)
        == (like.X.shape[1:], like.y.shape[1:], like.X.dtype, like.y.dtype, like.sample_weight is None)
        for block in blocks
    )
    if alike:
        try:
            return convert(joined(blocks), group[0][1])
        except ValueError:
            pass  # one of them says below what is wrong
    return joined([convert(*each) for each in group])


def _rows_of(block: Block, rows: np.ndarray) -> Block:
    """Copies of some rows."""
    return Block(block.X[rows], block.y[rows], None if block.sample_weight is None else block.sample_weight[rows])
