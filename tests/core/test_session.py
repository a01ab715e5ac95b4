"""Sessions: where slices end, what an interrupt leaves, and teams that shrink between slices."""

import itertools

import numpy as np
import pytest
from problems import Problem, assert_close, results_of

from fastmlp.core import session as sessions
from fastmlp.core.session import slices
from fastmlp.normalizations import BatchNormalization

pytestmark = pytest.mark.threads

ROWS = 29
# Batches of 1 to all rows, in chunks that divide them or not; slices shorter and longer than both.
RELATIONS = [
    (batch, chunk, rows)
    for batch, chunk, rows in itertools.product((1, 4, 5, 7, 14, ROWS), (1, 2, 3, 5, ROWS), (1, 3, 6, 11, 100))
    if chunk <= batch or chunk == ROWS
]


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
        cut = [*slices(first, ROWS, rows, batch, chunk)]
        assert [at for at, _ in cut] == [first, *(end for _, end in cut[:-1])]
        assert cut[-1][1] == ROWS
        assert {end for _, end in cut} <= chunk_ends(batch, chunk, ROWS)
        assert all(end - at <= max(rows, chunk) for at, end in cut)


@pytest.fixture
def cut(monkeypatch):
    """Makes sessions cut batches into chunks of some rows and epochs into slices of some rows."""

    def set_sizes(problem, chunk, rows):
        monkeypatch.setattr(sessions, "CHUNK", chunk)
        with problem.session(problem.network()) as session:
            operations = session._row_operations
        monkeypatch.setattr(sessions, "SLICE", rows * operations)

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


@pytest.mark.parametrize(("batch", "chunk", "rows"), RELATIONS)
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


class Shrinking:
    """A budget of cores that grants three and takes one back at each of some looks."""

    def __init__(self, looks):
        self.looks, self.looked, self.granted = looks, 0, 3

    def take(self, wanted):
        return self.granted

    def excess(self, granted):
        self.looked += 1
        return int(self.looked in self.looks and granted > 1)

    def spare(self, cores):
        self.granted -= cores

    def give_back(self, granted):
        assert granted == self.granted


@pytest.mark.parametrize(("batch", "chunk", "rows"), [r for r in RELATIONS if r[2] <= 6])
def test_a_team_that_shrinks_between_slices_changes_no_bit(batch, chunk, rows, cut, monkeypatch):
    problem = problem_of(batch)
    cut(problem, chunk, rows)
    expected = problem.by_network(1)
    for looks in ({2, 3}, {1, 2}):
        budget = Shrinking(looks)
        monkeypatch.setattr(sessions, "BUDGET", budget)
        for one, other in zip(problem.by_network(None), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        assert budget.granted == 1
