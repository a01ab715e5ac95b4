"""One network on encoded rows: annealing, snapshots, patience, and folding into a member."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fastmlp.losses import SquaredError
from fastmlp.schedules import FlatCosine, Progress
from fastmlp.tabular.members import folded
from fastmlp.tabular.presets import Recipe
from fastmlp.tabular.search import Clock
from fastmlp.tabular.selection import Score
from fastmlp.tabular.training import Problem, cycle_ends, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)).astype(np.float32)
PROBLEM = Problem(X, X[:, :1] * X[:, 1:2], None, SquaredError(), "identity", 1)
ROWS = np.arange(250)
RECIPE = Recipe(hidden_layer_sizes=(16,), max_epochs=8, learning_rate=0.01)


def predicted(network, session):
    """Outputs of the rows that are not trained on."""
    return session.predict(np.arange(250, 300))


def epochs_of(monkeypatch, recipe):
    """(weight decay, dropout) of each epoch of a training."""
    from fastmlp.core.session import Session

    told, epoch = [], Session.epoch

    def spy(self, *args, dropout=None, optimizer=None, **rest):
        loss = epoch(self, *args, dropout=dropout, optimizer=optimizer, **rest)
        told.append(((optimizer or self.network.optimizer).weight_decay, 1 - self.network.keep))
        return loss

    monkeypatch.setattr(Session, "epoch", spy)
    train(PROBLEM, ROWS, recipe, 0, clock=Clock(None, None))
    decay, dropped = zip(*told)
    return np.array(decay), np.array(dropped)


def test_dropout_and_decay_are_flat_and_then_fall_to_nothing(monkeypatch):
    decay, dropped = epochs_of(monkeypatch, RECIPE)
    shares = np.arange(8) / 8
    factors = FlatCosine().rate(1.0, Progress(shares, shares, shares, shares, 8))
    assert (factors[:4] == 1).all()
    assert factors[-1] < 0.2
    np.testing.assert_allclose(decay, RECIPE.weight_decay * factors)
    assert (dropped[:, 0] == 0).all(), "never of the inputs"
    np.testing.assert_allclose(dropped[:, 1], RECIPE.dropout * factors)


def test_both_stay_where_nothing_is_annealed(monkeypatch):
    decay, dropped = epochs_of(monkeypatch, replace(RECIPE, anneal=False))
    np.testing.assert_allclose(decay, RECIPE.weight_decay)
    np.testing.assert_allclose(dropped[:, 1], RECIPE.dropout)


def test_a_run_keeps_scores_and_the_ends_of_cycles():
    scored = []

    def score(outputs):
        scored.append(outputs)
        return -float(np.mean((outputs - PROBLEM.values[250:]) ** 2))

    run = train(PROBLEM, ROWS, RECIPE, 0, predict=predicted, score=score, clock=Clock(None, None))
    assert run.ends == cycle_ends(8, 3)
    assert len(run.scores) == len(run.losses) == len(run.seconds) == run.epochs == 8
    for end, outputs in zip(run.ends, run.outputs):
        np.testing.assert_array_equal(outputs, scored[end - 1])
    assert run.scores[-1] > run.scores[0]


def test_a_member_reads_raw_columns_and_gives_the_same():
    run = train(PROBLEM, ROWS, RECIPE, 0, predict=predicted, score=lambda outputs: 0.0, clock=Clock(None, None))
    columns = np.array([True, False, True, True, True])
    member = folded(run.snapshots[-1], columns, 4.0, activation="prelu", output="identity", weight=1.0)
    wide = np.insert(X[250:] / np.float32(4), 1, 7.0, axis=1)
    np.testing.assert_allclose(member.outputs(wide), run.outputs[-1], rtol=1e-4, atol=1e-5)


def test_patience_ends_after_a_worse_cycle():
    scores = iter([1.0] * cycle_ends(16, 4)[0] + [0.0] * 16)
    patient = replace(RECIPE, patient=True, max_epochs=16)
    run = train(PROBLEM, ROWS, patient, 0, predict=predicted, score=lambda _: next(scores), clock=Clock(None, None))
    assert run.epochs == run.ends[1] == cycle_ends(16, 4)[1] < 16
    ties = train(PROBLEM, ROWS, patient, 0, predict=predicted, score=lambda _: 1.0, clock=Clock(None, None))
    assert ties.epochs == 16


def test_patience_sees_what_tells_equal_scores_apart():
    first, second = cycle_ends(16, 4)[:2]
    patient = replace(RECIPE, patient=True, max_epochs=16)
    for last, epochs in ((-0.3, second), (-0.1, 16)):
        told = iter([Score(1.0, -0.2)] * first + [Score(1.0, last)] * 16)
        run = train(PROBLEM, ROWS, patient, 0, predict=predicted, score=lambda _: next(told), clock=Clock(None, None))  # noqa: B023
        assert run.epochs == epochs


def test_a_clock_that_has_run_down_keeps_what_there_is():
    clock = Clock(1e-9, None)
    run = train(PROBLEM, ROWS, RECIPE, 0, predict=predicted, score=lambda _: 0.0, clock=clock)
    assert (run.epochs, run.ends) == (1, [1])
    assert len(run.snapshots) == 1
    assert math.isinf(Clock(None, None).left)


def test_seeds_differ_and_repeat():
    first, again, other = (
        train(PROBLEM, ROWS, RECIPE, seed, clock=Clock(None, None)).snapshots[-1].coefs[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("n_rows", [1, 2, 33])
def test_few_rows(n_rows):
    run = train(PROBLEM, np.arange(n_rows), RECIPE, 0, clock=Clock(None, None))
    assert np.isfinite(run.snapshots[-1].coefs[0]).all()
