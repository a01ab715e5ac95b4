"""Training on blocks: windows of rows, read ahead of the engine, shuffled inside, and never all in memory.

An epoch is cut into windows of about one size. Each takes one block of every run of consecutive blocks, at random, so
that every window is a sample of the whole, whatever the order of the rows; and it reads them in their order, which a
disk likes. Its rows are shuffled and trained on in whole batches; rows that make no whole batch go on into the next
window. While the engine works on one window, a thread reads the next one, so that the engine waits only for a disk that
is slower. Two windows are all that is kept in memory, beside a group of blocks.

Shuffled blocks in a window: L. Xu et al., "In-database machine learning with CorgiPile", SIGMOD 2022, there of blocks
drawn at random; one of each run instead is stratified sampling, whose error falls with the number of blocks in a window
and not with its root.
"""

import contextlib
import threading
from _queue import SimpleQueue  # see `fastmlp.machine.worker`
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .blocks import Block, Blocks, applied
from .core.network import Network
from .machine.cores import BUDGET
from .machine.memory import free_memory
from .machine.worker import threads_are_native

__all__ = ["StreamSession", "default_window", "read_ahead"]

T = TypeVar("T")
WINDOW_SHARE = 8  # a window takes this part of the free memory: two of them, a block and its conversion take half
WINDOW_BYTES = 1 << 20, 1 << 30  # the least and the largest window by default
STACK_BYTES = 8 << 20  # of a thread, usually; a limit of a process's memory counts them whether they are used or not
# Of blocks that are checked and converted together; those that are read to the window itself take no memory of theirs.
GROUP_BYTES, GROUP_BYTES_THERE = 2 << 20, 16 << 20


def default_window(row_bytes: int, batch_size: int, n_threads: int | None = 1) -> int:
    """Rows of a window: what an eighth of the free memory holds, no less than a batch.

    Parameters
    ----------
    row_bytes : of all that is kept of a row; batch_size : rows
    n_threads : of the fit, None for all cores; their stacks, and that of the reader, take some of a bounded memory
    """
    least, most = WINDOW_BYTES
    stacks = (n_threads or BUDGET.cores) * STACK_BYTES
    free = max(int(free_memory()) - stacks, 0) // WINDOW_SHARE
    return max(batch_size, min(max(free, least), most) // max(1, row_bytes))


def stratified(n_blocks: int, n_windows: int, random: np.random.Generator) -> list[list[int]]:
    """The blocks of each window, in an order in which each has one of every run of ``n_windows`` consecutive blocks.

    Formula: window j reads, for i = 0, 1, ..., block n_windows i + pi_i(j), pi_i a random permutation. Of a class that
    is a run of rows, windows then differ by the blocks at its two ends, where blocks drawn at random would differ by
    the root of their number. Where there are fewer blocks than windows, all of them in a random order.
    """
    if n_windows >= n_blocks:
        return [random.permutation(n_blocks).tolist()]
    runs = -(-n_blocks // n_windows)
    windows = random.permuted(np.arange(runs * n_windows).reshape(runs, n_windows), axis=1).T
    return [window[window < n_blocks].tolist() for window in windows]


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each produced by another thread while the one before it is in use; never more than these two.

    An exception of the producer is raised where its item would have been. Closing the iterator ends the thread. Where
    threads are greenlets, which take turns only, nothing is read ahead.
    """
    if not threads_are_native():
        yield from items
        return
    ready: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
    slots, closed = threading.Semaphore(2), threading.Event()

    def produce() -> None:
        try:
            while True:
                slots.acquire()
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
            slots.release()
    finally:
        closed.set()
        slots.release()
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
    block_rows : of a usual block, by two of which a window may be larger, unless they are large for a window
    """

    def __init__(self, like: Block, rows: int, margin: int, block_rows: int) -> None:
        self.usual, self.margin = rows, margin
        self.rows = rows + (2 * block_rows if block_rows <= rows // 8 else 0)
        X, targets, weights = (
            None if values is None else np.zeros((2 * (margin + self.rows), *values.shape[1:]), values.dtype)
            for values in like
        )
        assert X is not None
        assert targets is not None
        self.block = Block(X, targets, weights)

    def fill(self, turn: int, filled: int, block: Block, start: int) -> int:
        """Copy rows of a block from ``start`` on behind those that are in, as many as fit; how many they are."""
        at = self._start(turn) + filled
        there = block.X[start:].ctypes.data == self.block.X[at:].ctypes.data  # read to where it belongs
        count = min(len(block.X) - start, self.rows - filled)
        for array, values in zip(self.block, block, strict=True):
            if array is not None and values is not None and not (there and values is block.X):
                array[at : at + count] = values[start : start + count]
        return count

    def unfilled(self, turn: int, filled: int) -> np.ndarray:
        """Where the next rows of X belong."""
        start = self._start(turn)
        return self.block.X[start + filled : start + self.rows]

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
        Rows that are shuffled together, at most but for two blocks: the windows of an epoch are of about one size.
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

    def _filled(
        self, windows: Sequence[Sequence[int]], window_rows: int, n_rows: int
    ) -> Iterator[tuple[int, int, bool]]:
        """The turn of a window that is full, its rows, and whether more of all ``n_rows`` follow.

        A window ends with its blocks, and where all are in one list, when it has its rows.
        """
        turn = filled = seen = 0

        def unfilled() -> tuple[np.ndarray | None, int]:
            buffers = self._buffers
            return (None, n_rows) if buffers is None else (buffers.unfilled(turn, filled), most(buffers) - filled)

        def most(buffers: Buffers) -> int:
            return buffers.usual if len(windows) == 1 else buffers.rows

        for positions in windows:
            for group in self._groups(positions, unfilled):
                for block in applied(self.convert, *group):
                    start = 0
                    while start < len(block.X):
                        if self._buffers is None:
                            block_rows = -(-n_rows // len(self.blocks))
                            self._buffers = Buffers(block, window_rows, self.batch_size, block_rows)
                        count = self._buffers.fill(turn, filled, block, start)
                        start, filled, seen = start + count, filled + count, seen + count
                        if filled >= most(self._buffers) or seen == n_rows:
                            yield turn, filled, seen < n_rows
                            turn, filled = turn + 1, 0
            if filled > window_rows // 2:  # less is what was too much for it: that goes on into the next one
                yield turn, filled, seen < n_rows
                turn, filled = turn + 1, 0
        if filled:
            yield turn, filled, False

    def _groups(
        self, positions: Sequence[int], unfilled: Callable[[], tuple[np.ndarray | None, int]]
    ) -> Iterator[tuple[list[Block], list[str], np.ndarray | None]]:
        """Some blocks, their names, and their X where they are read to the window itself, else None.

        Parameters
        ----------
        unfilled : callable
            Gives what is left of the window that is being filled, None before there is one; and after how many rows it
            is full.
        """
        group: list[Block] = []
        names: list[str] = []
        (target, wanted), here = unfilled(), False  # whether the group is read to the window
        rows = size = 0
        for position in positions:
            block = self.blocks.read(position, None if target is None or (group and not here) else target[rows:])
            if not len(block.X):
                continue
            fits = target is not None and np.may_share_memory(block.X, target)
            if here and not fits:
                assert target is not None
                yield group, names, target[:rows]
                group, names, (target, wanted), rows, size = [], [], unfilled(), 0, 0
            group.append(block)
            names.append(self.blocks.names[position])
            here, rows, size = fits, rows + len(block.X), size + block.X.nbytes
            # Whether it is too large for what is left of the window:
            too_large = not fits and target is not None and block.X.dtype == target.dtype
            if rows >= wanted or size >= (GROUP_BYTES_THERE if here else GROUP_BYTES) or too_large:
                yield group, names, target[:rows] if target is not None and here else None
                group, names, (target, wanted), here, rows, size = [], [], unfilled(), False, 0, 0
        if group:
            yield group, names, target[:rows] if target is not None and here else None

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
        n_windows = -(-len(order) // self.window_rows)
        blocks: Sequence[Sequence[int]] = [range(len(self.blocks))]
        if self.shuffle and not self.blocks.ordered:
            blocks = stratified(len(self.blocks), n_windows, random)
        total, done, left = 0.0, 0, None
        windows = read_ahead(self._filled(blocks, -(-len(order) // n_windows), len(order)))
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
            rows = done + (0 if left is None else len(left.X))
            raise ValueError(f"X must have the same rows in every pass; got {rows}, and {len(order)} in the first one.")
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


def _rows_of(block: Block, rows: np.ndarray) -> Block:
    """Copies of some rows."""
    return Block(block.X[rows], block.y[rows], None if block.sample_weight is None else block.sample_weight[rows])
