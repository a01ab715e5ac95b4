"""What a training remembers: the history of its epochs, and what its optimizer needs to go on."""

import math
from dataclasses import dataclass, field

import numpy as np

from .core.network import Network
from .optimizers import Optimizer
from .schedules import Schedule

__all__ = ["History", "OptimizerState"]


@dataclass
class OptimizerState:
    """What an optimizer remembers between steps: plain numbers and arrays, so that a pickle continues exactly.

    Attributes
    ----------
    optimizer : component of `fastmlp.optimizers.OPTIMIZERS`; ``schedule`` : component of `fastmlp.schedules.SCHEDULES`
    learning_rate_init : the learning rate that was chosen
    base_rate : what the schedule computes its rates from: ``learning_rate_init``, lowered at plateaus
    step, epochs : steps taken and epochs finished so far
    states : a list of ndarrays shaped like coefs_ followed by intercepts_ for each state of the optimizer, velocities
        or moments; None before the first step
    """

    optimizer: Optimizer
    learning_rate_init: float
    schedule: Schedule
    base_rate: float = field(init=False)
    step: int = 0
    epochs: int = 0
    states: list[list[np.ndarray]] | None = None

    def __post_init__(self) -> None:
        self.base_rate = float(self.learning_rate_init)

    def load_into(self, network: Network) -> None:
        """Give the states to a network that is about to train."""
        if self.states is not None:
            network.set_states(self.states)

    def save_from(self, network: Network) -> None:
        """Fetch the states after training."""
        self.states = network.take_states()


@dataclass
class History:
    """The history of a training: what is kept from epoch to epoch and across warm starts.

    Attributes
    ----------
    loss_curve : loss of each epoch
    learning_rates : rate of each epoch, of its first step where the rate changes at every step
    seconds : duration of each epoch, scoring included
    measures : what else is measured after each epoch, by name; see `measure`
    validation_scores : score of each epoch, NaN included; None without early stopping
    best_loss : least loss so far; None with early stopping
    best_validation_score : best score so far; None without early stopping
    no_improvement_count : consecutive epochs that did not improve by ``tol``
    rows_seen : rows in all epochs so far
    n_epochs : epochs of the latest training alone
    diverged : loss or weights have become infinite or NaN
    """

    loss_curve: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    measures: dict[str, list[float]] = field(default_factory=dict)
    validation_scores: list[float] | None = None
    best_loss: float | None = math.inf
    best_validation_score: float | None = None
    no_improvement_count: int = 0
    rows_seen: int = 0
    n_epochs: int = 0
    diverged: bool = False

    def prepare(self, early_stopping: bool) -> None:
        """Begin the best score in place of the best loss, or the reverse, where a warm start changes the rule."""
        if early_stopping and self.best_validation_score is None:
            self.validation_scores, self.best_validation_score, self.best_loss = [], -math.inf, None
        elif not early_stopping and self.best_loss is None:
            self.validation_scores, self.best_validation_score, self.best_loss = None, None, math.inf

    def as_dict(self) -> dict[str, list[float]]:
        """The lists by name; they grow during a training."""
        return {"loss": self.loss_curve, "learning_rate": self.learning_rates, "seconds": self.seconds, **self.measures}

    def measure(self, name: str) -> list[float]:
        """The list of that name, to append to; NaN stands for earlier epochs that were not measured."""
        return self.measures.setdefault(name, [math.nan] * len(self.loss_curve))

    def pad(self) -> None:
        """Make all lists as long as the loss curve, with NaN for epochs that were not measured or not finished."""
        for values in (self.learning_rates, self.seconds, *self.measures.values()):
            values.extend([math.nan] * (len(self.loss_curve) - len(values)))

    def note_loss(self, loss: float, tol: float) -> bool:
        """Compare a loss with the least one; True if it failed to improve by ``tol``. NaN is no failure."""
        best = self.best_loss
        assert best is not None
        if loss < best:
            self.best_loss = loss
        return loss > best - tol

    def note_score(self, score: float, tol: float) -> tuple[bool, bool]:
        """Append a score; (failed to improve on the best by ``tol``, is the best so far). NaN and inf are neither."""
        best = self.best_validation_score
        assert best is not None
        assert self.validation_scores is not None
        self.validation_scores.append(score)
        is_best = best < score < math.inf
        if is_best:
            self.best_validation_score = score
        return score < best + tol, is_best
