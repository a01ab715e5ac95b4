"""Training: epochs of minibatch steps, when to stop, what to remember, what to print, and Ctrl-C.

This module drives a `fastmlp.core.session.Session` and knows nothing of estimators: scores and warnings come in as
callables, rows as indices. Rules and printed lines are those of scikit-learn
(``sklearn/neural_network/_multilayer_perceptron.py``).
"""

import math
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from .core.network import Network
from .core.session import Session
from .machine.random import Shuffler
from .schedules import Progress, Schedule
from .trainable import Parameters
from .training_state import History, OptimizerState

__all__ = [
    "Callback",
    "History",
    "OptimizerState",
    "OutOfTime",
    "Trainer",
    "TrainingSettings",
    "WeightAverage",
    "all_finite",
    "divergence_message",
    "out_of_time_message",
    "say",
]


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how to train.

    Attributes
    ----------
    max_epochs : most epochs of this training
    batch_size : rows per step; the last batch of an epoch is smaller
    alpha, l1 : strength of the L2 and of the L1 penalty
    limits : more settings of `Session.epoch`: clip_value, clip_norm, max_norm
    regularization : schedule that dropout and weight decay follow, epoch by epoch, from those of the network; or None
    seeded : draw a seed for each epoch's random bits, before its order; dropout needs them
    shuffle : draw a new order of the rows before each epoch
    tol, patience : stop after more than ``patience`` consecutive epochs that improve by less than ``tol``
    may_stop : whether too little improvement ends the training; it lowers an adaptive learning rate in any case
    warn_at_limit : warn when ``max_epochs`` is reached
    max_time : seconds from ``started`` (of `time.perf_counter`) after which training ends with the step; None for ever
    verbose : print a line per epoch
    name : what the lines say in addition, where several networks train side by side
    score_name : of the score that decides, for lines and warnings; ``best_score`` : what it cannot exceed
    enough_scores : epochs after which a score that has never changed is told
    """

    max_epochs: int
    batch_size: int
    alpha: float
    l1: float = 0.0
    limits: Mapping[str, float] = field(default_factory=dict)
    regularization: Schedule | None = None
    seeded: bool = False
    shuffle: bool = True
    tol: float = 1e-4
    patience: float = 10
    may_stop: bool = True
    warn_at_limit: bool = True
    max_time: float | None = None
    started: float = field(default_factory=perf_counter)
    verbose: bool = False
    name: str = ""
    score_name: str = "score"
    best_score: float = math.inf
    enough_scores: float = 10


class Callback:
    """What a `Trainer` calls while it runs; by itself it does nothing."""

    def before_epoch(self) -> None:
        """Called before each epoch."""

    def rows_done(self, rows: int) -> None:
        """Called every some milliseconds within an epoch, with its rows that are done."""

    def after_epoch(self) -> bool:
        """Called after each epoch, when its loss and score are recorded; True ends the training."""
        return False


class WeightAverage(Callback):
    """The mean of what a network has learned after each epoch from some epoch on.

    Parameters
    ----------
    network : Network in training; begin : epochs after which the mean begins

    Source: P. Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018,
    algorithm 1, with one model an epoch.
    """

    def __init__(self, network: Network, begin: int) -> None:
        self.network = network
        self.begin = begin
        self.epochs = 0
        self.mean: Parameters | None = None

    def after_epoch(self) -> bool:
        self.epochs += 1
        count = self.epochs - self.begin
        if count > 0:
            latest = self.network.parameters()
            before = latest if self.mean is None else self.mean
            self.mean = Parameters(
                *([a + (b - a) / a.dtype.type(count) for a, b in zip(old, new)] for old, new in zip(before, latest))
            )
        return False


class OutOfTime(Exception):
    """Ends a training whose time is over, from within an epoch."""


def out_of_time_message(max_time: float, done: str, kept: str) -> str:
    """The warning of a training that ended for lack of time."""
    return f"Training ended after {done}, when max_time={max_time:g} seconds were over; {kept} weights are kept."


def say(line: str) -> None:
    """Print a line. A closed pipe ends no training, and a terminal without "²" gets a "?" for it."""
    try:
        print(line)
    except UnicodeEncodeError:
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        print(line.encode(encoding, "replace").decode(encoding))
    except (BrokenPipeError, ValueError):  # a closed pipe, a closed file
        pass


def all_finite(arrays: Iterable[np.ndarray]) -> bool:
    """True if no array holds NaN or infinity."""
    return all(np.isfinite(array).all() for array in arrays)


def divergence_message(where: str, loss: float, learning_rate: float | None) -> str:
    """The warning before scikit-learn's error on non-finite weights: where it happened and what to do."""
    rate = "" if learning_rate is None else f"a learning_rate_init below {learning_rate:g}, "
    return (
        f"Training diverged in {where} (loss = {loss:g}): the weights are no longer finite. "
        f"Use {rate}features scaled to unit variance or a larger alpha."
    )


class Trainer:
    """One training by minibatch steps: epochs until a rule says stop.

    Parameters
    ----------
    network : Network that holds the starting weights
    session : Session over all rows; ``order`` chooses those to train on
    order : intp ndarray, rows of the first epoch; shuffled in place
    optimizer : OptimizerState, updated; ``history`` : History, updated; ``settings`` : TrainingSettings
    score : callable () -> float, higher is better, for early stopping; None watches the training loss
    warn : callable (message), called for convergence warnings
    callbacks : sequence of Callback, called before, within and after every epoch
    """

    def __init__(
        self,
        network: Network,
        session: Session,
        order: np.ndarray,
        *,
        optimizer: OptimizerState,
        history: History,
        settings: TrainingSettings,
        score: Callable[[], float] | None,
        warn: Callable[[str], None],
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.network = network
        self.session = session
        self.order = order
        self.optimizer = optimizer
        self.history = history
        self.settings = settings
        self.score = score
        self.warn = warn
        self.callbacks = callbacks
        self.best: Parameters | None = None
        self.rows_done = 0

    def run(self, random_state: np.random.RandomState) -> Parameters:
        """Train; KeyboardInterrupt ends it with a warning and the weights reached so far.

        Returns
        -------
        parameters : the last ones, or with ``score`` those of the best score
            They are not finite if training diverged; a warning has then told the epoch.
        """
        self.train(random_state)
        if self.best is not None:
            if self._has_best_score() or self.history.diverged or not self.history.n_epochs:
                self._report_equal_scores()
                return self.best
            self._report_useless_scores()
        parameters: Parameters = self.network.parameters()
        if not self.history.diverged and not all_finite(parameters.coefs + parameters.intercepts):
            self.report_divergence()
        return parameters

    def train(self, random_state: np.random.RandomState) -> None:
        """`run` without its result: the network holds the last weights."""
        self.history.n_epochs = 0
        self.history.prepare(self.score is not None)
        if self.score is not None:
            self.best = self.network.parameters()
        self.optimizer.load_into(self.network)
        keep = self.network.keep.copy()
        try:
            self._run_epochs(random_state)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        except OutOfTime:
            self._report_lack_of_time()
        finally:
            self.network.keep[:] = keep
        self.optimizer.save_from(self.network)
        self.history.pad()

    def _run_epochs(self, random_state: np.random.RandomState) -> None:
        """The loop of `run`. Its own work is some two microseconds per epoch beside the engine's and the shuffle's."""
        settings, history, optimizer, order = self.settings, self.history, self.optimizer, self.order
        steps_per_epoch = -(-len(order) // settings.batch_size)
        per_step = optimizer.schedule.per == "step"
        ahead = np.arange(steps_per_epoch) if per_step else 0
        shuffle = Shuffler(random_state) if settings.shuffle else None
        steps_before = optimizer.step - self.session.steps
        run_epoch = partial(
            self.session.epoch, order, alpha=settings.alpha, l1=settings.l1, progress=self._note_rows, **settings.limits
        )
        regularization = self._regularization()
        clock = perf_counter()
        for n_epochs in range(1, settings.max_epochs + 1):
            for callback in self.callbacks:
                callback.before_epoch()
            seed = random_state.randint(2**31) if settings.seeded else 0
            if shuffle is not None:
                shuffle(order)
            progress = self._progress(n_epochs - 1, ahead, ahead / steps_per_epoch)
            rate: Any = optimizer.schedule.rate(optimizer.base_rate, progress)
            self.rows_done = 0
            try:
                loss = float(run_epoch(learning_rate=rate, step=optimizer.step, seed=seed, **regularization(n_epochs)))
            finally:  # an interrupt ends an epoch before its last step
                optimizer.step = steps_before + self.session.steps
            self._record_epoch(n_epochs, loss, float(rate[0] if per_step else rate))
            if not math.isfinite(loss) and self._diverged_for_good():
                return
            self._count_improvement(loss)
            stopped = False
            for callback in self.callbacks:
                stopped |= callback.after_epoch()
            before, clock = clock, perf_counter()
            history.seconds.append(clock - before)
            if stopped or self._has_reason_to_stop():
                return
            if settings.max_time is not None and n_epochs < settings.max_epochs:
                self._check_time()
        if settings.warn_at_limit:
            self.warn(
                f"Stochastic Optimizer: Maximum iterations ({settings.max_epochs}) "
                "reached and the optimization hasn't converged yet."
            )

    def _record_epoch(self, n_epochs: int, loss: float, rate: float) -> None:
        """Note an epoch in the history, and print its line."""
        history, settings = self.history, self.settings
        self.optimizer.epochs += 1
        history.n_epochs = n_epochs
        history.rows_seen += len(self.order)
        history.loss_curve.append(loss)
        history.learning_rates.append(rate)
        if settings.verbose:
            seconds = perf_counter() - settings.started
            say(f"Iteration {n_epochs}, loss = {loss:.8f}, {seconds:.2f} s{settings.name}")

    def _note_rows(self, rows: int) -> None:
        """Called every some milliseconds in an epoch, with the rows that are done."""
        self.rows_done = rows
        for callback in self.callbacks:
            callback.rows_done(rows)
        if self.settings.max_time is not None and rows < len(self.order):
            self._check_time()

    def _has_best_score(self) -> bool:
        """Whether any score so far, of earlier trainings too, was above all others."""
        return self.history.best_validation_score not in (None, -math.inf)

    def _check_time(self) -> None:
        if perf_counter() - self.settings.started >= (self.settings.max_time or math.inf):
            raise OutOfTime

    def _has_reason_to_stop(self) -> bool:
        """After an epoch: no improvement for too long, or a score that cannot improve."""
        settings, history = self.settings, self.history
        if history.no_improvement_count > settings.patience and self._stops_at_plateau():
            return True
        best = history.best_validation_score
        perfect = self.score is not None and best is not None and best >= settings.best_score and settings.may_stop
        if perfect and settings.verbose:
            say(f"Validation score ({settings.score_name}) cannot exceed {settings.best_score:g}. Stopping.")
        return perfect

    def _progress(self, epochs: int, ahead: Any = 0, share: Any = 0.0) -> Progress:
        """Where training is after so many epochs of it, `ahead` more steps and their `share` of an epoch.

        Arrays stand for each step of an epoch. Optimizer and history count epochs, steps and rows of earlier trainings
        too; the plan is that of this training.
        """
        optimizer = self.optimizer
        return Progress(
            epochs=optimizer.epochs + share,
            steps=optimizer.step + ahead,
            rows=self.history.rows_seen,
            share=(epochs + share) / self.settings.max_epochs,
            planned=self.settings.max_epochs,
        )

    def _regularization(self) -> Callable[[int], dict[str, Any]]:
        """A function of the number of an epoch, from 1 on: what `Session.epoch` takes of its dropout and decay."""
        schedule, network = self.settings.regularization, self.network
        if schedule is None:
            return lambda epoch: {}
        dropout = 1 - network.keep
        optimizer: Any = network.optimizer  # of which some have a weight decay

        def of_epoch(epoch: int) -> dict[str, Any]:
            factor = float(schedule.rate(1.0, self._progress(epoch - 1)))
            changes: dict[str, Any] = {"dropout": factor * dropout}
            if getattr(optimizer, "weight_decay", 0.0):
                changes["optimizer"] = replace(optimizer, weight_decay=factor * optimizer.weight_decay)
            return changes

        return of_epoch

    def _count_improvement(self, loss: float) -> None:
        """Compare the epoch with the best one so far and keep the best weights."""
        history = self.history
        if self.score is None:
            failed = history.note_loss(loss, self.settings.tol)
        else:
            score = self.score()
            failed, is_best = history.note_score(score, self.settings.tol)
            if self.settings.verbose:
                say(f"Validation score: {score:f} ({self.settings.score_name})")
            if is_best:
                self.best = self.network.parameters()
        history.no_improvement_count = history.no_improvement_count + 1 if failed else 0

    def _stops_at_plateau(self) -> bool:
        """Ask the schedule for a smaller rate; without one, stop."""
        settings = self.settings
        watched = "Training loss" if self.score is None else "Validation score"
        message = (
            f"{watched} did not improve more than tol={settings.tol:f} for {settings.patience} consecutive epochs."
        )
        schedule = self.optimizer.schedule
        rate = schedule.on_plateau(self.optimizer.base_rate)
        if rate is not None:
            message += f" Setting learning rate to {rate:f}"
            self.optimizer.base_rate = rate
            self.history.no_improvement_count = 0
        else:
            message += " " + schedule.stopping_message
        if settings.verbose:
            say(message)
        return rate is None and settings.may_stop

    def _diverged_for_good(self) -> bool:
        """Called when a loss is not finite. True ends training: the weights are lost and no best ones are kept.

        A finite network can have an infinite loss and recover; early stopping keeps its best weights and goes on to the
        last epoch, as scikit-learn does.
        """
        if not self.history.diverged:
            coefs, intercepts = self.network.weights()
            if all_finite(coefs + intercepts):
                return False
            self.report_divergence()
        return self.best is None

    def _report_lack_of_time(self) -> None:
        done = f"{self.history.n_epochs} epochs and {self.rows_done % len(self.order)} of {len(self.order)} rows"
        kept = "the best" if self.best is not None and self._has_best_score() else "the latest"
        self.warn(out_of_time_message(self.settings.max_time or 0.0, done, kept))

    def _report_useless_scores(self) -> None:
        self.warn(
            f"The validation score ({self.settings.score_name}) was NaN or infinite after every epoch, so that none "
            "was the best: the weights of the last epoch are kept. Choose another scoring, or validation rows on which "
            "it is defined."
        )

    def _report_equal_scores(self) -> None:
        """Warn if the score told no epoch of this training from another, such as R² of constant targets."""
        count = self.history.n_epochs
        latest = (self.history.validation_scores or [])[-count:] if count else []
        score = latest[0] if latest else math.nan
        same = len(latest) >= self.settings.enough_scores and all(other == score for other in latest)
        if same and not self.history.diverged and score < self.settings.best_score:
            self.warn(
                f"The validation score ({self.settings.score_name}) was {score:g} after every epoch, so that it cannot "
                "tell which was the best: the first one counts as such. Choose another scoring, or validation rows on "
                "which it varies."
            )

    def report_divergence(self) -> None:
        """Warn that the weights are not finite, once."""
        if self.history.diverged:
            return
        self.history.diverged = True
        curve = self.history.loss_curve
        where = f"epoch {len(curve)}" if curve else "the first epoch"
        loss = curve[-1] if curve else math.nan
        message = divergence_message(where, loss, self.optimizer.learning_rate_init)
        if self.best is not None:
            message += " The weights of the best validation score are kept."
        self.warn(message)
