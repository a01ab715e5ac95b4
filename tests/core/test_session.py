"""Sessions: where slices end, what an interrupt leaves, and teams that shrink between slices."""

import gc
import itertools
import mmap
import sys

import numpy as np
import pytest
from problems import Problem, assert_close, comes_true, live_threads, results_of

from fastmlp.core import layout
from fastmlp.core import session as sessions
from fastmlp.core.records import TRAIN
from fastmlp.core.session import slice_end
from fastmlp.machine import cores, pacing, team, worker
from fastmlp.machine.cores import BUDGET, Cancellation, Cancelled
from fastmlp.machine.pacing import Pacing
from fastmlp.normalizations import BatchNormalization

pytestmark = pytest.mark.threads

ROWS = 29
# Batches of 1 to all rows, in chunks that divide them or not; slices shorter and longer than both.
RELATIONS = [
    (batch, chunk, rows)
    for batch, chunk, rows in itertools.product((1, 4, 5, 7, 14, ROWS), (1, 2, 3, 5, ROWS), (1, 3, 6, 11, 100))
    if chunk <= batch or chunk == ROWS
]


def kind_of(batch, chunk, rows):
    """How batch, chunk, slice and all rows relate: which of them end together, and which is the longer."""
    chunk = min(batch, chunk)
    lengths = (rows < chunk, rows == chunk, rows < batch, rows == batch, rows < ROWS)
    whole = (batch % chunk == 0, rows % chunk == 0, rows % batch == 0, ROWS % batch == 0)
    return whole, chunk == batch, chunk == 1, lengths


# One of each kind, the smallest batch and chunk of it.
KINDS = [*{kind_of(*relation): relation for relation in reversed(RELATIONS)}.values()]


def chunk_ends(batch, chunk, stop):
    """Positions at which a batch or a part of it ends."""
    ends = set()
    for start in range(0, stop, batch):
        ends |= {*range(start, min(start + batch, stop), chunk)}
    return ends | {stop}


@pytest.mark.parametrize(("batch", "chunk", "rows"), RELATIONS)
def test_slices_end_where_chunks_do(batch, chunk, rows):
    chunk = min(batch, chunk)
    for first in range(0, ROWS, batch):
        ends = [first]
        while ends[-1] < ROWS:
            ends.append(slice_end(ends[-1], ROWS, rows, batch, chunk))
        cut = [*itertools.pairwise(ends)]
        assert ends[-1] == ROWS
        assert {*ends[1:]} <= chunk_ends(batch, chunk, ROWS)
        assert all(end - at <= max(rows, chunk) for at, end in cut)


class Script(Pacing):
    """Slices of the same rows; in turn by teams of given sizes. They may end early, as if the threads had stalled."""

    def __init__(self, n_threads, row_operations, rows, sizes, early):
        super().__init__(n_threads)
        self.row_operations, self.slice, self.seen = row_operations, rows * row_operations, []
        self.sizes = itertools.cycle(sizes or [n_threads])
        self.fixed = True  # who is to join is waited for
        if early:
            self.patience = -(2**62)

    def wanted(self, most):
        return min(next(self.sizes), most)

    def operations(self, kind, n_threads):
        return self.slice

    def note(self, kind, n_threads, operations, seconds, waited=0.0):
        self.seen.append((kind, n_threads, operations // self.row_operations))


@pytest.fixture
def cut(monkeypatch):
    """Makes sessions cut batches into chunks of some rows and epochs into slices of some rows."""

    def set_sizes(problem, chunk, rows, sizes=(), early=False):
        monkeypatch.setattr(sessions, "CHUNK", chunk)
        row_operations = problem.session(problem.network())._row_operations
        scripts = []

        def script(n_threads=None):
            scripts.append(Script(n_threads, row_operations, rows, sizes, early))
            return scripts[-1]

        monkeypatch.setattr(sessions, "Pacing", script)
        return scripts

    return set_sizes


def problem_of(batch, **components):
    return Problem((3, 5, 4, 2), ROWS, batch, np.float64, activation="tanh", weighted=True, **components)


@pytest.mark.parametrize(("batch", "chunk", "rows"), RELATIONS)
def test_every_row_is_trained_on_once(batch, chunk, rows, cut):
    problem = problem_of(batch)
    cut(problem, chunk, rows)
    problem.check(n_threads=(1, 2))


@pytest.mark.parametrize(("batch", "rows"), [(4, 1), (7, 10), (ROWS, 3)])
def test_batch_normalization_is_never_cut(batch, rows, cut):
    problem = problem_of(batch, normalization=BatchNormalization(), optimizer="gradient_descent")
    cut(problem, 2, rows)
    problem.check()


def interrupted_training(problem, position):
    """Results of a network whose first epoch ends at the first slice's end from `position` on, then a whole one."""
    network = problem.network()
    (order, first), (other, second) = problem.epochs()

    def interrupt(rows):
        if rows >= position:
            raise KeyboardInterrupt

    with problem.session(network) as session:
        with pytest.raises(KeyboardInterrupt):
            session.epoch(order, progress=interrupt, **first)
        steps = session.steps
        loss = session.epoch(other, **{**second, "step": steps})
        assert session.steps == steps + -(-ROWS // problem.batch_size)
        return steps, results_of(network, [loss], session.predict())


@pytest.mark.parametrize(("batch", "chunk", "rows"), KINDS)
def test_an_interrupt_leaves_whole_steps(batch, chunk, rows, cut):
    """What is trained on is what `steps` says; a part of a batch leaves no trace in the next epoch."""
    problem = problem_of(batch)
    cut(problem, chunk, rows)
    for position in (1, ROWS // 2, ROWS - 1):
        steps, results = interrupted_training(problem, position)
        reference = problem.reference()
        (order, first), (other, second) = problem.epochs()
        weights = {"sample_weight": problem.sample_weight}
        if steps:
            reference.epoch(problem.X, problem.y, order[: steps * batch], batch, **weights, **first)
        loss = reference.epoch(problem.X, problem.y, other, batch, **weights, **{**second, "step": steps})
        assert_close(results, results_of(reference, [loss], reference.predict(problem.X)), np.float64)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(("batch", "chunk", "rows"), KINDS)
def test_teams_that_change_between_slices_change_no_bit(batch, chunk, rows, early, cut, monkeypatch):
    """Also where a slice ends early, after any of its chunks."""
    monkeypatch.setattr(cores, "available_cores", lambda: 3)
    monkeypatch.setattr(sessions, "SHARED_WORK", 1)
    monkeypatch.setattr(sessions, "best_threads", lambda most, *_: most)  # three threads, as small as the work is
    problem = problem_of(batch)
    cut(problem, chunk, ROWS)
    expected = problem.by_network(1)
    for sizes in ((3, 2, 1), (1, 3), (2, 3, 3)):
        scripts = cut(problem, chunk, rows, sizes, early)
        for one, other in zip(problem.by_network(None), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        (script,) = scripts
        trained = [(n_threads, rows) for kind, n_threads, rows in script.seen if kind == TRAIN]
        assert {n_threads for n_threads, _ in trained} <= {*sizes}
        if early:
            assert max(rows for n_threads, rows in trained if n_threads > 1) <= chunk


# --- what a session holds ---------------------------------------------------------------------------------------------


class Thrown(BaseException):
    """An interrupt."""


class Thrower:
    """Raises at the n-th line of Python that runs in the files of session, team, workers, cores and pacing."""

    files = {module.__file__ for module in (sessions, team, worker, cores, pacing)}

    def __init__(self, line):
        self.left = line

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename not in self.files or frame.f_code.co_name == "__del__":
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                raise Thrown
        return self


def train_until_thrown(problem, n_threads, line):
    """Train; whether the training was over before that line of Python."""
    sys.settrace(Thrower(line))
    try:
        problem.by_network(n_threads)
    except Thrown:
        return False
    finally:
        sys.settrace(None)
    return True


def open_leases():
    return [
        lease
        for lease in (reference() for reference in BUDGET._leases.copy().values())
        if lease is not None and lease.wanted
    ]


# Python ignores what is raised in `__del__`, where a tracer raises too; whoever is deleted has ended before.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("n_threads", [2, None])
def test_an_exception_at_any_line_leaves_nothing_behind(n_threads, cut, monkeypatch):
    """Neither a thread nor a core; what comes after is as if nothing had happened."""
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    monkeypatch.setattr(sessions, "SHARED_WORK", 1)
    problem = problem_of(7)
    cut(problem, 7, 14, () if n_threads else (1, 2))
    expected, before = problem.by_network(1), live_threads()
    line, over = 0, False
    while not over:
        line += 1 if n_threads else 5
        over = train_until_thrown(problem, n_threads, line)
        if open_leases() or live_threads() > before:
            gc.collect()  # of what an exception keeps alive
        assert not open_leases()
        assert comes_true(lambda: live_threads() <= before)  # who has been told to end does
    assert line > 200
    for one, other in zip(problem.by_network(n_threads), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_whose_result_nobody_wants_ends():
    problem, cancellation = problem_of(7), Cancellation()
    with cancellation, problem.session(problem.network(), 2) as session:
        (order, settings), _ = problem.epochs()
        session.epoch(order, **settings)
        cancellation.requested = True
        with pytest.raises(Cancelled):
            session.epoch(order, **settings)


def test_small_work_asks_for_no_core(monkeypatch):
    """Neither a lease, for which it might wait, nor a thread."""
    problem = Problem((2, 2), 4, 4, np.float64)
    expected = problem.by_network(1)
    monkeypatch.setattr(BUDGET, "lease", None)
    monkeypatch.setattr(worker, "Worker", None)
    for one, other in zip(problem.by_network(None), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_native_threads_one_does_the_work(monkeypatch):
    """Under gevent or eventlet, whose threads are greenlets that would wait for each other for ever."""
    monkeypatch.setattr(worker, "threads_are_native", lambda: False)
    before = live_threads()
    problem = problem_of(7)
    with problem.session(problem.network(), 3) as session:
        (order, settings), _ = problem.epochs()
        session.epoch(order, **settings)
        assert session._team.n_threads == 1
        assert live_threads() == before


@pytest.mark.parametrize("n_threads", [0, -1])
def test_no_team_of_nobody(n_threads):
    problem = problem_of(7)
    with pytest.raises(ValueError, match=rf"n_threads must be at least 1, or None; got {n_threads}\."):
        problem.session(problem.network(), n_threads)


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="small pages only")
def test_no_room_for_a_buffer_is_a_memory_error(monkeypatch):
    def none_left(*arguments):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(layout.mmap, "mmap", none_left)
    with pytest.raises(MemoryError, match=r"no room for a buffer of 8000000 bytes"):
        layout.aligned(10**6, np.float64)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_session_that_is_entered_again_has_its_buffers_and_gives_the_same_bits(n_threads, monkeypatch):
    problem, allocated = problem_of(7), []
    plain = sessions.Session._allocate

    def allocate(self, count):
        allocated.append(count)
        return plain(self, count)

    monkeypatch.setattr(sessions.Session, "_allocate", allocate)
    network, losses = problem.network(), []
    session = problem.session(network, n_threads)
    for order, settings in problem.epochs():
        with session:
            losses.append(session.epoch(order, **settings))
    with session:
        predictions = session.predict()
    assert allocated == [n_threads]
    for one, other in zip(results_of(network, losses, predictions), problem.by_network(1), strict=True):
        np.testing.assert_array_equal(one, other)
