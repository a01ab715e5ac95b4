"""Training on blocks: the rows of every window, in whole batches; the same bits as an array where rows are in order."""

import itertools
import threading

import numpy as np
import pytest
from problems import make_weights

from fastmlp import blocks, streaming
from fastmlp.blocks import Block, Blocks
from fastmlp.core.network import Network
from fastmlp.streaming import StreamSession, default_window, read_ahead, stratified

UNITS = (5, 8, 3)
RANDOM = np.random.default_rng(0)
X, Y, WEIGHTS = RANDOM.normal(size=(101, 5)), RANDOM.integers(0, 3, 101), RANDOM.uniform(0.2, 2, 101)


def network():
    made = Network(UNITS, dtype="float64", activation="relu", loss="log_loss", optimizer="adam")
    made.set_weights(*make_weights(UNITS))
    return made


def plain(block, name):
    return block


def session(made, rows, *, batch_size=10, window_rows=30, shuffle=False, convert=plain):
    return StreamSession(
        made, rows, convert, batch_size=batch_size, window_rows=window_rows, shuffle=shuffle, n_threads=1
    )


@pytest.mark.parametrize("block_rows", [1, 13, 101])
@pytest.mark.parametrize("window_rows", [10, 35, 500])
@pytest.mark.parametrize("batch_size", [7, 10, 101])
def test_rows_in_their_order_train_as_an_array_does(block_rows, window_rows, batch_size):
    ours, theirs = network(), network()
    rows = blocks.from_arrays(X, Y, WEIGHTS, block_rows=block_rows)
    streamed = session(ours, rows, batch_size=batch_size, window_rows=window_rows)
    steps = -(-101 // batch_size)
    seen = []
    with theirs.session(X, Y, WEIGHTS, batch_size=batch_size, n_threads=1) as whole:
        for epoch in range(2):
            rates = np.linspace(0.01, 0.02, steps)
            loss = streamed.epoch(range(101), learning_rate=rates, step=epoch * steps, progress=seen.append, alpha=0.1)
            expected = whole.epoch(np.arange(101), learning_rate=rates, step=epoch * steps, alpha=0.1)
            assert loss == pytest.approx(expected, rel=1e-14)
    for one, other in zip(ours.weights(), theirs.weights()):
        for a, b in zip(one, other):
            np.testing.assert_array_equal(a, b)
    assert seen[-1] == 101
    assert seen.count(101) == 2


class Recorder:
    """In place of a network: keeps the rows of every batch."""

    def __init__(self):
        self.batches, self.windows = [], []

    def session(self, X, targets, sample_weight, *, batch_size, n_threads):
        outer = self

        class Epoch:
            steps = 0

            def __enter__(self):
                return self

            def __exit__(self, *exception):
                pass

            def epoch(self, order, **settings):
                outer.windows.append(len(order))
                outer.batches += [X[order[n : n + batch_size], 0].tolist() for n in range(0, len(order), batch_size)]
                return 1.0

        return Epoch()


def batches_of(seed, block_rows=7, **settings):
    recorder = Recorder()
    numbers = np.arange(101.0)[:, None]
    streamed = session(recorder, blocks.from_arrays(numbers, Y, block_rows=block_rows), shuffle=True, **settings)
    streamed.epoch(range(101), learning_rate=0.1, seed=seed)
    return recorder


def test_every_row_comes_once_in_batches_of_one_size():
    for seed in range(5):
        recorder = batches_of(seed)
        assert sorted(itertools.chain.from_iterable(recorder.batches)) == list(range(101))
        assert {len(batch) for batch in recorder.batches[:-1]} == {10}
        assert len(recorder.batches[-1]) == 1
        assert max(recorder.windows) < 30 + 10


def test_the_order_depends_on_the_seed_alone():
    assert batches_of(1).batches == batches_of(1).batches
    assert batches_of(1).batches != batches_of(2).batches


def test_blocks_come_in_another_order():
    """The first batch holds rows of blocks from all over the data."""
    firsts = [max(batches_of(seed, block_rows=2).batches[0]) for seed in range(10)]
    assert min(firsts) > 30


@pytest.mark.parametrize(("n_blocks", "n_windows"), [(1000, 8), (1001, 8), (7, 7), (3, 10), (1, 1), (50, 1)])
def test_each_window_takes_a_block_of_every_run(n_blocks, n_windows):
    windows = stratified(n_blocks, n_windows, np.random.default_rng(0))
    assert sorted(itertools.chain.from_iterable(windows)) == list(range(n_blocks))
    assert len(windows) == (n_windows if n_windows < n_blocks else 1)
    for window in windows if n_windows < n_blocks else ():
        assert (np.array(window) // n_windows).tolist() in (
            list(range(n_blocks // n_windows)),
            list(range(-(-n_blocks // n_windows))),
        )
    if n_windows > 1 and n_blocks > 3:
        assert windows != stratified(n_blocks, n_windows, np.random.default_rng(1))


@pytest.mark.parametrize(("block_rows", "window_rows"), [(8, 1000), (7, 999), (13, 640)])
def test_windows_of_sorted_data_have_the_shares_of_the_whole(block_rows, window_rows):
    """Of rows sorted by class, each window has a share of each class that is off by a block or two."""
    classes = np.sort(RANDOM.choice(4, 8000, p=[0.6, 0.3, 0.08, 0.02]))
    shares = np.bincount(classes) / 8000
    recorder = Recorder()
    rows = blocks.from_arrays(np.arange(8000.0)[:, None], classes, block_rows=block_rows)
    streamed = session(recorder, rows, shuffle=True, window_rows=window_rows)
    for seed in range(2):
        streamed.epoch(range(8000), learning_rate=0.1, seed=seed)
    order = np.concatenate(recorder.batches).astype(int)
    for window in np.split(order, np.cumsum(recorder.windows)[:-1]):
        assert len(window) == pytest.approx(-(-8000 // -(-8000 // window_rows)), abs=2 * block_rows + 10)
        found = np.bincount(classes[window], minlength=4) / len(window)
        assert abs(found - shares).max() <= (3 * block_rows + 10) / len(window)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("window_rows", [40, 101])
def test_a_folder_is_read_straight_to_the_window(tmp_path, dtype, window_rows, monkeypatch):
    """The bits of an array, whether X has the network's dtype or not, and a block is whole in a window or not."""
    for n, part in enumerate(np.array_split(np.arange(101), 3)):
        np.save(tmp_path / f"X_{n}.npy", X[part].astype(dtype))
        np.save(tmp_path / f"y_{n}.npy", Y[part])
    monkeypatch.setattr(streaming, "GROUP_BYTES", 900)
    monkeypatch.setattr(streaming, "GROUP_BYTES_THERE", 900)
    ours, theirs = network(), network()
    rows = blocks.from_folder(tmp_path, block_rows=11)

    def convert(block, name):
        return Block(block.X.astype(np.float64, copy=False), block.y, None)

    streamed = session(ours, rows, convert=convert, window_rows=window_rows)
    read_there = []
    plain_read = rows.read
    monkeypatch.setattr(
        rows,
        "read",
        lambda position, out=None: (
            read_there.append(out is not None and np.may_share_memory((block := plain_read(position, out)).X, out)),
            block if read_there[-1] else plain_read(position),
        )[1],
    )
    values = X.astype(dtype).astype(np.float64)
    with theirs.session(values, Y, None, batch_size=10, n_threads=1) as whole:
        for epoch in range(2):
            streamed.epoch(range(101), learning_rate=0.01, step=epoch * 11, alpha=0.1)
            whole.epoch(np.arange(101), learning_rate=0.01, step=epoch * 11, alpha=0.1)
    for one, other in zip(ours.weights(), theirs.weights()):
        for a, b in zip(one, other):
            np.testing.assert_array_equal(a, b)
    assert any(read_there) == (dtype == "float64")


def test_blocks_of_an_iterable_keep_their_order():
    class Own:
        def blocks(self):
            yield from ((np.arange(n, n + 10.0)[:, None], np.zeros(10, int)) for n in range(0, 100, 10))

    recorder = Recorder()
    streamed = session(recorder, blocks.from_iterable(Own()), shuffle=True, window_rows=20)
    streamed.epoch(range(100), learning_rate=0.1, seed=3)
    assert sorted(recorder.batches[0] + recorder.batches[1]) == list(range(20))


def test_rows_that_change_between_passes_are_noticed():
    made = session(network(), blocks.from_arrays(X, Y, block_rows=50))
    with pytest.raises(ValueError, match="the same rows in every pass; got 101, and 99 in the first one"):
        made.epoch(range(99), learning_rate=0.01, alpha=0.0)


def test_an_error_of_a_block_ends_the_epoch_and_the_reader():
    def read(position):
        if position == 3:
            raise OSError("the disk is gone")
        return X, Y

    made = session(network(), Blocks([f"part {n}" for n in range(5)], read))
    with pytest.raises(ValueError, match="X could not be read in part 3: the disk is gone"):
        made.epoch(range(505), learning_rate=0.01, alpha=0.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "fastmlp-reader"]


def test_an_interrupt_ends_the_reader():
    def interrupt(rows):
        raise KeyboardInterrupt

    made = session(network(), blocks.from_arrays(X, Y, block_rows=7))
    with pytest.raises(KeyboardInterrupt):
        made.epoch(range(101), learning_rate=0.01, progress=interrupt, alpha=0.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "fastmlp-reader"]


def test_reading_is_one_item_ahead_and_no_further():
    made, used = [], threading.Event()

    def items():
        for n in range(5):
            made.append(n)
            if n == 1:
                used.set()
            yield n

    reader = read_ahead(items())
    assert next(reader) == 0
    assert used.wait(10)  # the second one is made while the first is in use
    assert made == [0, 1]
    assert list(reader) == [1, 2, 3, 4]


def test_the_default_window_is_a_share_of_the_free_memory(monkeypatch):
    monkeypatch.setattr(streaming, "free_memory", lambda: (80 << 20) + 2 * streaming.STACK_BYTES)
    assert default_window(1 << 10, 200, n_threads=2) == 10 << 10  # beside the stacks of the reader and of one thread
    assert default_window(1 << 30, 200) == 200  # never less than a batch
    monkeypatch.setattr(streaming, "free_memory", lambda: 1 << 50)
    assert default_window(1 << 20, 1) == 1 << 10  # nor more than a gigabyte


def test_memory_stays_that_of_two_windows():
    made = session(network(), blocks.from_arrays(X, Y, block_rows=7), window_rows=20)
    for _ in range(3):
        made.epoch(range(101), learning_rate=0.01, alpha=0.0)
    assert len(made._buffers.block.X) == 2 * (17 + 10)  # six windows of one size, and room for what is left of a batch
    assert Block._fields == ("X", "y", "sample_weight")
    made.__exit__()
    assert made._buffers is None
