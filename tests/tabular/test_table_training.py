"""One network on encoded rows: initial weights, annealing, snapshots, patience, and folding into a member."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fastmlp.activations import ACTIVATIONS
from fastmlp.losses import SquaredError
from fastmlp.optimizers import AdamW
from fastmlp.tabular.members import folded
from fastmlp.tabular.presets import Recipe
from fastmlp.tabular.search import Clock
from fastmlp.tabular.training import AnnealedAdamW, Problem, cycle_ends, data_driven_weights, flat_cosine, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)).astype(np.float32)
PROBLEM = Problem(X, X[:, :1] * X[:, 1:2], None, SquaredError(), "identity", 1)
ROWS = np.arange(250)
RECIPE = Recipe(hidden_layer_sizes=(16,), max_epochs=8, learning_rate=0.01)


def predicted(network, session):
    """Outputs of the rows that are not trained on."""
    return session.predict(np.arange(250, 300))


def test_initial_weights_by_the_data():
    activations = [ACTIVATIONS.resolve("selu")] * 2
    coefs, intercepts, _ = data_driven_weights((4, 50, 30, 2), X, activations, np.random.RandomState(0))
    values = X
    for layer, (W, b) in enumerate(zip(coefs, intercepts)):
        z = values @ W
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-3)
        if layer == 2:
            assert (b == 0).all()
            break
        assert ((-b > z.min(axis=0)) & (-b < z.max(axis=0))).all(), "each hinge lies among the rows"
        values = activations[layer].formula(z + b)[0]


def test_decay_follows_the_annealing_and_nothing_else_does():
    plain = AdamW(weight_decay=0.3, beta_2=0.95)
    t, rate = np.arange(1.0, 101.0), np.full(100, 0.01)
    rows, annealed = plain.scalars(t, rate), AnnealedAdamW(plain, 100).scalars(t, rate)
    np.testing.assert_allclose(annealed[:, 2], rows[:, 2] * flat_cosine((t - 1) / 100))
    np.testing.assert_array_equal(np.delete(annealed, 2, axis=1), np.delete(rows, 2, axis=1))


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


def test_dropout_has_gone_when_training_ends(monkeypatch):
    from fastmlp.core.session import Session

    kept, epoch = [], Session.epoch
    monkeypatch.setattr(
        Session, "epoch", lambda self, *a, **k: (kept.append(self.network.keep.copy()), epoch(self, *a, **k))[1]
    )
    train(PROBLEM, ROWS, RECIPE, 0, clock=Clock(None, None))
    dropped = 1 - np.array(kept)
    assert (dropped[:, 0] == 0).all(), "never of the inputs"
    np.testing.assert_allclose(dropped[:, 1], RECIPE.dropout * flat_cosine(np.arange(8) / 8))


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
