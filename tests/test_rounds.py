"""Training by rounds: pure rounds, one mean in a fixed order, checkpoints that go on exactly."""

import os
import pickle
import re
from itertools import count

import joblib
import numpy as np
import pytest
from problems import make_weights

from fastmlp import rounds
from fastmlp.blocks import Block
from fastmlp.core.network import Network
from fastmlp.optimizers import Adam
from fastmlp.rounds import (
    Checkpoints,
    InProcess,
    Joblib,
    OuterStep,
    Plan,
    Progression,
    Result,
    State,
    Stopping,
    mean_of,
    train_round,
)
from fastmlp.schedules import Constant, Polynomial
from fastmlp.trainable import Parameters

UNITS = (4, 6, 3)
RANDOM = np.random.default_rng(0)
SHARDS = [
    Block(RANDOM.normal(size=(rows, 4)), RANDOM.integers(0, 3, rows), RANDOM.uniform(0.2, 2, rows))
    for rows in (40, 25, 7)
]


def plan_of(**changes):
    network = {"units": UNITS, "dtype": "float64", "activation": "tanh", "loss": "log_loss", "optimizer": Adam()}
    return Plan(
        **{
            "network": network,
            "batch_size": 10,
            "steps": 5,
            "learning_rate_init": 0.01,
            "schedule": Constant(),
            "settings": {"alpha": 0.1},
            "shuffle": True,
            "seed": 3,
            "n_rounds": 4,
            "n_shards": 3,
            "n_rows": 72,
            **changes,
        }
    )


def start():
    return State(Parameters(*make_weights(UNITS), []))


def trained(plan=None, executor=None, **settings):
    progression = Progression(start(), settings.pop("outer", None) or OuterStep())
    clock = count().__next__
    return rounds.train(plan or plan_of(), progression, executor or InProcess(SHARDS), clock=clock, **settings)


def arrays_of(state):
    return [array for part in state.parameters for array in part] + [a for part in state.states or [] for a in part]


def assert_same(one, other):
    for a, b in zip(arrays_of(one), arrays_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_round_is_a_pure_function():
    plan, before = plan_of(), start()
    first = train_round(plan, before, SHARDS[0], number=1, index=0)
    assert_same(before, start())
    again = train_round(*pickle.loads(pickle.dumps((plan, before, SHARDS[0]))), number=1, index=0, n_threads=2)
    assert_same(first.state, again.state)
    assert first.loss == again.loss
    other = train_round(plan, before, SHARDS[0], number=2, index=0)
    assert first.loss != other.loss


@pytest.mark.parametrize("steps", [1, 3, 4, 9])
def test_rounds_on_one_shard_are_a_training(steps):
    """Without shuffling, rounds of some steps are epochs over the same rows, one after the other."""
    shard = SHARDS[0]
    plan = plan_of(shuffle=False, steps=steps, n_rounds=4, n_shards=1, n_rows=40, schedule=Polynomial())
    found = trained(plan, InProcess([shard])).state
    network = Network(**plan.network)
    network.set_parameters(start().parameters)
    with network.session(*shard, batch_size=10, n_threads=1) as session:
        for step in range(4 * steps):
            rows = np.arange(10) + step * 10 % 40
            session.epoch(rows, learning_rate=plan.rates(step)[:1], step=step, alpha=0.1)
    assert_same(found, State(network.parameters(), network.take_states()))


def test_every_row_of_a_shard_comes_once_a_pass():
    order = np.concatenate([rounds._order(plan_of(), 25, start, 10, 1) for start in range(0, 250, 10)])
    for each in order.reshape(10, 25):
        assert sorted(each) == list(range(25))
    assert not np.array_equal(order[:25], order[25:50])


def test_the_mean_goes_by_rows():
    results = [
        Result(
            State(Parameters([np.full((1, 1), value, np.float32)], [np.zeros(1, np.float32)], []), [], 5), value, rows
        )
        for value, rows in ((1.0, 10), (4.0, 30))
    ]
    mean, loss, rows = mean_of(results)
    assert (loss, rows) == (3.25, 40)
    assert mean.parameters.coefs[0] == 3.25
    assert mean.parameters.coefs[0].dtype == np.float32
    assert mean.step == 5


def test_nesterov_is_the_formula_of_diloco():
    outer = OuterStep("nesterov", learning_rate=0.7, momentum=0.9)
    theta, velocity, state = 1.0, 0.0, State(Parameters([np.array([[1.0]])], [np.zeros(1)], []))
    for target in (0.5, 0.4, 0.7):
        gradient = theta - target
        velocity = 0.9 * velocity + gradient
        theta -= 0.7 * (gradient + 0.9 * velocity)
        state = outer(state, State(Parameters([np.array([[target]])], [np.zeros(1)], [])))
        assert state.parameters.coefs[0].item() == pytest.approx(theta, rel=1e-14)


@pytest.mark.parametrize("outer", rounds.OUTER)
def test_executors_give_the_same_bits(outer):
    alone = trained(outer=OuterStep(outer))
    with joblib.parallel_config("threading"):
        beside = trained(executor=Joblib(SHARDS, n_jobs=2), outer=OuterStep(outer))
    threads = trained(executor=InProcess(SHARDS, n_threads=2), outer=OuterStep(outer))
    for other in (beside, threads):
        assert_same(alone.state, other.state)
        assert alone.losses == other.losses
    assert alone.losses[-1] < alone.losses[0]


def test_shards_without_rows_have_no_part():
    empty = Block(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    with_empty = trained(executor=InProcess([*SHARDS, empty]))
    assert_same(with_empty.state, trained().state)


def test_rates_follow_the_plan():
    plan = plan_of(schedule=Polynomial())
    rates = np.concatenate([plan.rates(step) for step in range(0, 20, 5)])
    assert len(rates) == 20
    assert rates[0] == pytest.approx(0.01)
    assert (np.diff(rates) <= 0).all()
    assert rates[-1] < 0.002


def test_a_score_that_stops_improving_ends_the_training():
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    done = trained(plan_of(n_rounds=50), stopping=Stopping(lambda parameters: next(scores), patience=2))
    assert done.scores == [0.1, 0.5, 0.4, 0.3, 0.2]
    assert done.best_score == 0.5
    two = trained(plan_of(n_rounds=2))  # the best is the one after the second round
    expected = [array for part in two.state.parameters for array in part]
    for a, b in zip([array for part in done.best for array in part], expected, strict=True):
        np.testing.assert_array_equal(a, b)


def interrupted_after(n_rounds, error):
    def after_round(progression):
        if len(progression.losses) == n_rounds:
            raise error

    return after_round


def test_an_interrupt_leaves_the_latest_round():
    with pytest.warns(UserWarning, match="interrupted"):
        done = trained(after_round=interrupted_after(2, KeyboardInterrupt()))
    with pytest.warns(UserWarning, match="interrupted"):
        within = trained(executor=_Limited(2))
    assert_same(done.state, within.state)
    assert len(done.losses) == len(within.losses) == 2


class _Limited(InProcess):
    """An executor that is interrupted in a round."""

    def __init__(self, n_rounds):
        super().__init__(SHARDS)
        self.n_rounds = n_rounds

    def round(self, plan, state, number):
        if number == self.n_rounds:
            raise KeyboardInterrupt
        return super().round(plan, state, number)


@pytest.mark.parametrize("outer", rounds.OUTER)
def test_a_checkpoint_goes_on_to_the_same_bits(tmp_path, outer):
    path, whole = tmp_path / "rounds", trained(outer=OuterStep(outer))
    with pytest.raises(MemoryError):
        trained(outer=OuterStep(outer), checkpoints=Checkpoints(path), after_round=interrupted_after(2, MemoryError()))
    progression = rounds.load_checkpoint(path, plan_of())
    assert len(progression.losses) == 2
    done = rounds.train(plan_of(), progression, InProcess(SHARDS), clock=count().__next__)
    assert_same(done.state, whole.state)
    assert done.losses == whole.losses


def test_checkpoints_are_written_now_and_then(tmp_path):
    written = []

    def after_round(progression):
        written.append((tmp_path / "rounds").exists())

    trained(checkpoints=Checkpoints(tmp_path / "rounds", every=3), after_round=after_round)
    assert written == [False, False, True, True]


def test_a_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "rounds"
    trained(plan_of(n_rounds=1), checkpoints=Checkpoints(path))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        trained(checkpoints=Checkpoints(path))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["rounds"]


def test_what_is_no_checkpoint_of_this_training(tmp_path):
    path = tmp_path / "rounds"
    assert rounds.load_checkpoint(path, plan_of()) is None
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="checkpoint must be a file written by an earlier fit"):
        rounds.load_checkpoint(path, plan_of())
    path.unlink()
    trained(checkpoints=Checkpoints(path))
    with pytest.raises(ValueError, match=re.escape("has another seed (give random_state an int). Remove the file")):
        rounds.load_checkpoint(path, plan_of(seed=4))
