"""Training, on a session that plays back losses and scores: when it stops, what it remembers, what it says."""

import io
import math
import re

import numpy as np
import pytest
from sklearn.utils import shuffle

from fastmlp import training
from fastmlp.machine.random import Shuffler
from fastmlp.optimizers import Adam, Momentum
from fastmlp.schedules import Adaptive, Constant, Cosine, InverseScaling, Polynomial, ReduceOnPlateau, StepDecay, WarmUp
from fastmlp.trainable import Parameters
from fastmlp.training import History, OptimizerState, Trainer, TrainingSettings


class PlayedNetwork:
    """Weights that count the epochs: one coefficient and one intercept."""

    dtype = np.dtype(np.float64)

    def __init__(self):
        self.value = 0.0
        self.lent = None
        self.keep = np.ones(1)

    def weights(self):
        return self.parameters()[:2]

    def parameters(self):
        return Parameters([np.array([[self.value]])], [np.array([self.value])], [])

    def set_states(self, states):
        self.lent = states

    def take_states(self):
        return [[np.array([[self.value]]), np.array([1.0])], [np.array([[2.0]]), np.array([3.0])]]


class PlayedSession:
    """Each epoch returns the next loss, raises it if it is an exception, and remembers how it was called."""

    def __init__(self, network, losses):
        self.network = network
        self.losses = list(losses)
        self.calls = []
        self.steps = 0

    def epoch(self, order, *, progress, **settings):
        self.calls.append({"order": order.copy(), **settings})
        loss = self.losses[len(self.calls) - 1]
        self.network.value += 1
        if isinstance(loss, BaseException):
            progress(6)
            self.steps += 1
            raise loss
        if math.isnan(loss):
            self.network.value = math.nan
        progress(len(order))
        self.steps += -(-len(order) // 4)
        return loss


def train(losses, *, optimizer=None, history=None, scores=None, n_rows=10, seed=0, **settings):
    """Run a descent over played losses: (weights, session, optimizer, record, warnings)."""
    network = PlayedNetwork()
    session = PlayedSession(network, losses)
    optimizer = optimizer or OptimizerState(Adam(), 0.1, Constant())
    history = history or History()
    messages = []
    remaining = iter(scores or ())
    descent = Trainer(
        network,
        session,
        np.arange(n_rows, dtype=np.intp),
        optimizer=optimizer,
        history=history,
        settings=TrainingSettings(**{"max_epochs": len(losses), "batch_size": 4, "alpha": 0.0, **settings}),
        score=None if scores is None else lambda: next(remaining),
        warn=messages.append,
    )
    weights = descent.run(np.random.RandomState(seed))[:2]
    return weights, session, optimizer, history, messages


# --- stopping by the loss ---------------------------------------------------------------------------------------------


def test_stops_after_patience_epochs_without_improvement():
    _, _, _, history, messages = train([5, 4, 3, 2.95, 2.92, 2.91, 2.9, 2.89], tol=0.1, patience=3)
    assert history.loss_curve == [5, 4, 3, 2.95, 2.92, 2.91, 2.9]
    assert history.n_epochs == 7
    assert history.best_loss == 2.9
    assert history.no_improvement_count == 4
    assert messages == []


def test_improvement_starts_the_count_anew():
    _, _, _, history, _ = train([5, 5, 5, 1, 1, 1, 1, 1], patience=2)
    assert history.n_epochs == 7


def test_warns_at_the_limit_of_epochs():
    message = "Stochastic Optimizer: Maximum iterations (3) reached and the optimization hasn't converged yet."
    assert train([3, 2, 1])[4] == [message]
    assert train([3, 2, 1], warn_at_limit=False)[4] == []


def test_infinite_patience_goes_to_the_limit():
    _, _, _, history, _ = train([1.0] * 50, patience=math.inf)
    assert history.n_epochs == 50
    assert history.no_improvement_count == 49


def test_record_goes_on_in_a_second_training():
    first = train([3, 2, 1])[3]
    second = train([0.5, 0.4], history=first)[3]
    assert second.loss_curve == [3, 2, 1, 0.5, 0.4]
    assert second.rows_seen == 50
    assert second.n_epochs == 2


# --- schedules and optimizer state ------------------------------------------------------------------------------------


def stepwise(schedule, losses=(3, 2, 1), rate=0.1, **settings):
    """Descend by momentum with a schedule: (the learning rate of each call, optimizer, record)."""
    optimizer = settings.pop("optimizer", None) or OptimizerState(Momentum(), rate, schedule)
    _, session, _, history, _ = train(losses, optimizer=optimizer, **settings)
    return [call["learning_rate"] for call in session.calls], optimizer, history


def test_steps_and_settings_reach_the_session():
    _, session, optimizer, history, _ = train([3, 2, 1], alpha=0.5, l1=0.25)
    assert [call.pop("step") for call in session.calls] == [0, 3, 6]
    assert (optimizer.step, optimizer.epochs) == (9, 3)
    for call in session.calls:
        del call["order"]
        assert call == {"learning_rate": 0.1, "alpha": 0.5, "l1": 0.25, "seed": 0}
    assert history.learning_rates == [0.1] * 3


def test_states_are_lent_and_taken_back():
    optimizer = OptimizerState(Adam(), 0.1, Constant())
    train([1.0], optimizer=optimizer)
    assert optimizer.states == [[1.0, 1.0], [2.0, 3.0]]
    _, session, _, _, _ = train([1.0], optimizer=optimizer)
    assert session.network.lent == [[1.0, 1.0], [2.0, 3.0]]
    assert session.calls[0]["step"] == 3


def test_inverse_scaling_counts_rows():
    rates, optimizer, history = stepwise(InverseScaling(0.5))
    assert rates == history.learning_rates == [0.1, 0.1 / 11**0.5, 0.1 / 21**0.5]
    assert stepwise(None, [1], optimizer=optimizer, history=history)[0] == [0.1 / 31**0.5]


def test_inverse_scaling_begins_anew_with_a_new_optimizer():
    """As in scikit-learn, where a warm start still counts the rows."""
    history = stepwise(InverseScaling(0.5), [3])[2]
    assert stepwise(InverseScaling(0.5), [2, 1], history=history)[0] == [0.1, 0.1 / 21**0.5]


def test_adaptive_divides_by_five_at_each_plateau(capsys):
    optimizer = OptimizerState(Momentum(), 1e-5, Adaptive())
    _, session, _, history, messages = train([1.0] * 20, optimizer=optimizer, patience=1, verbose=True)
    rates = [call["learning_rate"] for call in session.calls]
    np.testing.assert_allclose(rates, [1e-5] * 3 + [2e-6] * 2 + [4e-7] * 2)
    assert history.n_epochs == 7
    assert messages == []
    out = capsys.readouterr().out
    assert "for 1 consecutive epochs. Setting learning rate to 0.000002\n" in out
    assert out.endswith("Learning rate too small. Stopping.\n")


def test_a_rate_per_epoch_is_one_number():
    rates, optimizer, history = stepwise(StepDecay(every=2), [5, 4, 3, 2, 1])
    assert rates == history.learning_rates == [0.1, 0.1, 0.05, 0.05, 0.025]
    assert all(isinstance(rate, float) for rate in rates)
    rates, _, _ = stepwise(None, [3, 2], optimizer=optimizer, history=history)
    assert rates == [0.025, 0.0125]


def test_a_rate_per_step_is_an_array():
    """Three steps per epoch; epochs go on from training to training, the plan begins anew with each."""
    rates, optimizer, history = stepwise(Polynomial(), [2, 1])
    np.testing.assert_allclose(rates, np.linspace(0.1, 0, 6, endpoint=False).reshape(2, 3))
    np.testing.assert_allclose(history.learning_rates, [0.1, 0.05])
    assert all(type(rate) is float for rate in history.learning_rates)
    again, _, _ = stepwise(None, [0.5, 0.4], optimizer=optimizer, history=history)
    np.testing.assert_array_equal(again, rates)
    rates, optimizer, history = stepwise(Cosine(2), [2])
    rates += stepwise(None, [1, 1], optimizer=optimizer, history=history)[0]
    np.testing.assert_allclose(np.ravel(rates), 0.05 * (1 + np.cos(np.pi * (np.arange(9) % 6) / 6)))


def test_a_plateau_lowers_the_rate_after_a_warm_up():
    schedule = WarmUp(2, ReduceOnPlateau(0.5, smallest=0.05), start_factor=0.5)
    _, optimizer, history = stepwise(schedule, [1.0] * 9, patience=2)
    np.testing.assert_allclose(history.learning_rates, [0.05, 0.075, 0.1, 0.1, 0.05, 0.05, 0.05])
    assert optimizer.base_rate == 0.05
    assert optimizer.learning_rate_init == 0.1


# --- order of rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 2, 7, 1000])
def test_orders_are_those_of_scikit_learn(n_rows):
    """Epoch after epoch the same rows as `sklearn.utils.shuffle`, and the same state of the stream after it."""
    ours, theirs = np.random.RandomState(1), np.random.RandomState(1)
    order, expected = np.arange(n_rows, dtype=np.intp), np.arange(n_rows)
    for _ in range(4):
        Shuffler(ours)(order)
        expected = shuffle(expected, random_state=theirs)
        np.testing.assert_array_equal(order, expected)
    assert ours.randint(2**31) == theirs.randint(2**31)


def test_shuffles_before_each_epoch_or_not_at_all():
    _, session, _, _, _ = train([3, 2, 1])
    orders = [call["order"] for call in session.calls]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert not np.array_equal(orders[0], np.arange(10))
    assert not np.array_equal(orders[0], orders[1])
    _, session, _, _, _ = train([3, 2, 1], shuffle=False)
    assert all(np.array_equal(call["order"], np.arange(10)) for call in session.calls)


# --- early stopping ---------------------------------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_weights(capsys):
    weights, _, _, history, _ = train([3, 2, 1, 1, 1, 1], scores=[0.5, 0.9, 0.7, 0.8, 0.9], patience=2, verbose=True)
    assert weights[0][0].item() == 2.0
    assert history.validation_scores == [0.5, 0.9, 0.7, 0.8, 0.9]
    assert history.best_validation_score == 0.9
    assert history.best_loss is None
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Iteration 1, loss = 3\.00000000, \d+\.\d\d s", lines[0])
    assert lines[1] == "Validation score: 0.500000 (score)"
    assert lines[-1] == "Validation score did not improve more than tol=0.000100 for 2 consecutive epochs. Stopping."


@pytest.mark.parametrize("score", [math.nan, -math.inf, math.inf])
def test_scores_that_are_none_never_win(score):
    """The weights of the last epoch are then the model, and a warning tells which score it was."""
    weights, _, _, history, messages = train([3, 2, 1, 1], scores=[score] * 4, patience=1, score_name="roc_auc")
    assert weights[0][0].item() == 4.0
    assert "(roc_auc) was NaN or infinite after every epoch" in messages[-1]
    assert history.n_epochs == 4
    assert history.best_validation_score == -math.inf


@pytest.mark.parametrize("score", [0.0, -3.0])
def test_a_score_that_never_changes_is_told(score):
    """R² of constant targets, say, is 0 for whatever is predicted."""
    settings = {"patience": 5, "score_name": "R²", "best_score": 1.0, "enough_scores": 2}
    weights, _, _, history, messages = train([3, 2, 1], scores=[score] * 3, **settings)
    assert weights[0][0].item() == 1.0
    assert history.n_epochs == 3
    assert f"(R²) was {score:g} after every epoch, so that it cannot tell which was the best" in messages[-1]


@pytest.mark.parametrize(
    ("scores", "enough"), [([0.5, 0.5], 3), ([0.5, 0.5, 0.6], 2), ([1.0] * 3, 2)], ids=["few", "changes", "perfect"]
)
def test_scores_that_may_be_the_same(scores, enough):
    settings = {"may_stop": False, "best_score": 1.0, "enough_scores": enough, "warn_at_limit": False}
    assert train([3, 2, 1][: len(scores)], scores=scores, **settings)[-1] == []


def test_stops_when_the_score_cannot_get_better(capsys):
    scores = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    weights, _, _, history, messages = train([3, 2, 1, 1, 1, 1], scores=scores, best_score=1.0, verbose=True)
    assert weights[0][0].item() == 2.0
    assert history.n_epochs == 2
    assert messages == []
    assert capsys.readouterr().out.splitlines()[-1] == "Validation score (score) cannot exceed 1. Stopping."
    history = train([3, 2, 1, 1, 1, 1], scores=scores, best_score=1.0, may_stop=False, patience=math.inf)[3]
    assert history.n_epochs == 6


# --- max_time ---------------------------------------------------------------------------------------------------------


def test_ends_within_an_epoch_when_the_time_is_over(monkeypatch):
    """The clock of this test runs one second for each look at it."""
    seconds = iter(range(1000))
    monkeypatch.setattr(training, "perf_counter", lambda: next(seconds))
    weights, session, _, history, messages = train([3, 2, 1, 1, 1, 1], max_time=2.5, started=0)
    assert 0 < history.n_epochs < 6
    assert weights[0][0].item() == len(session.calls)
    assert "when max_time=2.5 seconds were over; the latest weights are kept." in messages[0]
    assert len(messages) == 1


def test_keeps_the_best_weights_when_the_time_is_over():
    weights, _, _, history, messages = train([3, 2, 1], scores=[0.9, 0.1, 0.2], max_time=1e-9)
    assert weights[0][0].item() == 1.0
    assert history.n_epochs == 1
    assert messages[0].endswith("the best weights are kept.")
    assert train([3], max_time=1e-9)[4][0].startswith("Stochastic Optimizer")  # it was the last epoch anyway


# --- what is printed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_a_closed_pipe_ends_no_training(monkeypatch, error):
    def write(*arguments, **keywords):
        raise error

    monkeypatch.setattr("builtins.print", write)
    assert train([3, 2, 1], verbose=True)[3].n_epochs == 3


def test_a_terminal_without_superscripts(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    train([3], scores=[0.5], verbose=True, score_name="R²")
    stream.flush()
    assert b"Validation score: 0.500000 (R?)" in stream.buffer.getvalue()


def test_a_warm_start_may_change_the_rule():
    history = train([3, 2])[3]
    history = train([1, 1], history=history, scores=[0.5, 0.6])[3]
    assert history.validation_scores == [0.5, 0.6]
    assert history.best_loss is None
    history = train([0.5], history=history)[3]
    assert history.validation_scores is None
    assert history.best_loss == 0.5


# --- divergence -------------------------------------------------------------------------------------------------------


def test_divergence_warns_once_and_stops():
    weights, session, _, history, messages = train([3, math.nan, math.nan, math.nan])
    assert len(session.calls) == 2
    assert history.diverged
    assert math.isnan(weights[0][0].item())
    assert len(messages) == 1
    assert "diverged in epoch 2 (loss = nan)" in messages[0]
    assert "learning_rate_init below 0.1" in messages[0]


def test_infinite_loss_of_finite_weights_may_recover():
    _, _, _, history, messages = train([math.inf, 2, 1], warn_at_limit=False)
    assert history.loss_curve == [math.inf, 2, 1]
    assert not history.diverged
    assert messages == []


def test_weights_lost_in_the_last_step_are_reported(monkeypatch):
    monkeypatch.setattr(training, "all_finite", lambda arrays: False)
    history, messages = train([3, 2], warn_at_limit=False)[3:]
    assert history.diverged
    assert "diverged in epoch 2" in messages[0]


def test_early_stopping_survives_divergence():
    """As in scikit-learn, training goes on to its limit and the best weights are the model."""
    weights, session, _, history, messages = train([3, math.nan, math.nan], scores=[0.5, math.nan, math.nan])
    assert weights[0][0].item() == 1.0
    assert len(session.calls) == 3
    assert len(messages) == 2
    assert messages[0].endswith("The weights of the best validation score are kept.")
    assert math.isnan(history.validation_scores[-1])


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


def test_interrupt_keeps_weights_and_counts_steps():
    with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
        weights, _, optimizer, history, messages = train([3, 2, KeyboardInterrupt(), 1])
    assert weights[0][0].item() == 3.0
    assert history.n_epochs == 2
    assert history.loss_curve == [3, 2]
    assert optimizer.epochs == 2
    assert optimizer.step == 3 + 3 + 1  # six rows of the third epoch in batches of four: the second batch is not done
    assert messages == []


def test_interrupt_restores_the_best_weights():
    with pytest.warns(UserWarning, match="interrupted"):
        weights = train([3, 2, KeyboardInterrupt()], scores=[0.9, 0.1])[0]
    assert weights[0][0].item() == 1.0


def test_other_exceptions_pass():
    with pytest.raises(MemoryError):
        train([3, MemoryError()])
