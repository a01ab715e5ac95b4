"""Training of one network on encoded rows: initial weights, annealing, scores of validation rows, snapshots."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from ..activations import ACTIVATIONS
from ..core.network import Network
from ..core.session import Session
from ..initializers import DataDriven, initial_weights
from ..optimizers import AdamW
from ..schedules import Coslog, FlatCosine
from ..trainable import Parameters
from ..training import Callback, History, OptimizerState, Trainer, TrainingSettings
from .presets import Recipe, cycles_in, rows_per_step
from .selection import best_of

INITIALIZER = DataDriven()


class Problem(NamedTuple):
    """Encoded rows and targets, and what is to be learned of them.

    Attributes
    ----------
    X : float32 ndarray of shape (n_rows, n_encoded), as the network reads it
    values : class codes (n_rows,) int64 or float32 matrix (n_rows, n_outputs)
    sample_weight : float32 ndarray of shape (n_rows,) with mean 1, or None
    loss, output : the loss and its output activation
    n_outputs : width of the last layer
    """

    X: np.ndarray
    values: np.ndarray
    sample_weight: np.ndarray | None
    loss: Any
    output: str
    n_outputs: int


@dataclass
class Run:
    """What a training leaves.

    Attributes
    ----------
    ends : epochs at whose ends there are snapshots
    snapshots : Parameters after each of these
    outputs : of the validation rows after each of these, or empty
    scores : Score of the validation rows after each epoch, or empty
    losses, seconds : of each epoch
    epochs : done
    """

    ends: list[int] = field(default_factory=list)
    snapshots: list[Parameters] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    scores: list[Any] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    epochs: int = 0


def cycle_ends(max_epochs: int, cycles: int) -> list[int]:
    """Epochs at which coslog's cycles end, from the second one on, or the only one."""
    ends = [max(1, round(max_epochs * (2**cycle - 1) / (2**cycles - 1))) for cycle in range(min(2, cycles), cycles + 1)]
    return sorted(set(ends))


class Watch(Callback):
    """Scores the validation rows after each epoch and keeps snapshots; keeps time.

    Parameters
    ----------
    network, recipe : in training; ``run`` : Run to extend
    predict : callable () -> outputs of the validation rows, or None without any
    score : callable (outputs) -> Score, or None
    clock : has ``deadline``, the `time.monotonic` at which to stop, and ``tick``, called after each epoch
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        run: Run,
        *,
        predict: Callable[[], np.ndarray] | None,
        score: Callable[[np.ndarray], Any] | None,
        clock: Any,
    ) -> None:
        self.network, self.recipe, self.run = network, recipe, run
        self.predict, self.score, self.clock = predict, score, clock
        self.epochs = 0
        self.ends = cycle_ends(recipe.max_epochs, cycles_in(recipe))

    def after_epoch(self) -> bool:
        self.epochs += 1
        late = monotonic() >= self.clock.deadline
        outputs = self.predict() if self.predict is not None else None
        if outputs is not None and self.score is not None:
            self.run.scores.append(self.score(outputs))
        ended = self.epochs in self.ends
        if late or ended:
            self.keep(outputs)
        self.clock.tick()
        return late or (ended and self.recipe.patient and self._worse())

    def _worse(self) -> bool:
        """Whether the cycle that has ended is worse than one before."""
        scores = [self.run.scores[end - 1] for end in self.run.ends] if self.run.scores else [0.0]
        return best_of(scores) < len(scores) - 1

    def keep(self, outputs: np.ndarray | None) -> None:
        """Take a snapshot."""
        self.run.ends.append(self.epochs)
        self.run.snapshots.append(self.network.parameters())
        if outputs is not None:
            self.run.outputs.append(outputs)


def train(
    problem: Problem,
    rows: np.ndarray,
    recipe: Recipe,
    seed: int,
    *,
    predict: Callable[[Network, Session], np.ndarray] | None = None,
    score: Callable[[np.ndarray], Any] | None = None,
    clock: Any,
    n_threads: int | None = 1,
) -> Run:
    """Train a network of the recipe on some rows of the problem.

    Parameters
    ----------
    rows : indices of the rows to train on
    predict : callable (network, session) -> outputs of the validation rows at the weights of the moment, or None
    score, clock : see `Watch`
    """
    random_state = np.random.RandomState(seed)
    network = initialized(problem, rows, recipe, random_state)
    settings = settings_of(recipe, len(rows))
    run, history = Run(), History()
    with network.session(
        problem.X, problem.values, problem.sample_weight, batch_size=settings.batch_size, n_threads=n_threads
    ) as session:
        outputs = None if predict is None else partial(predict, network, session)
        watch = Watch(network, recipe, run, predict=outputs, score=score, clock=clock)
        Trainer(
            network,
            session,
            np.array(rows, np.intp),
            optimizer=OptimizerState(network.optimizer, recipe.learning_rate, Coslog(k=cycles_in(recipe))),
            history=history,
            settings=settings,
            score=None,
            warn=lambda message: warnings.warn(message, RuntimeWarning, stacklevel=2),
            callbacks=[watch],
        ).run(random_state)
        if not run.ends:  # interrupted in its first epochs
            watch.keep(None if outputs is None else outputs())
    run.losses, run.seconds, run.epochs = history.loss_curve, history.seconds, watch.epochs
    return run


def initialized(problem: Problem, rows: np.ndarray, recipe: Recipe, random_state: np.random.RandomState) -> Network:
    """A network of the recipe, with initial weights that some of the rows decide on."""
    X = problem.X
    units = (X.shape[1], *recipe.hidden_layer_sizes, problem.n_outputs)
    activations = [ACTIVATIONS.resolve(recipe.activation)] * len(recipe.hidden_layer_sizes)
    network = Network(
        units,
        dtype=X.dtype,
        activation=activations,
        loss=problem.loss,
        output=problem.output,
        optimizer=AdamW(weight_decay=recipe.weight_decay, beta_2=recipe.beta_2),
        dropout=[0.0] + [recipe.dropout] * len(activations),
    )
    some = random_state.permutation(rows)[: INITIALIZER.rows]
    weights = initial_weights(
        units,
        random_state,
        dtype=X.dtype,
        activation=recipe.activation,
        initializer=INITIALIZER,
        X=X[some],
        activations=activations,
    )
    network.set_weights(*weights)
    return network


def settings_of(recipe: Recipe, n_rows: int) -> TrainingSettings:
    """How long and how to train by the recipe, on so many rows."""
    return TrainingSettings(
        max_epochs=recipe.max_epochs,
        batch_size=rows_per_step(recipe, n_rows),
        alpha=0.0,
        regularization=FlatCosine() if recipe.anneal else None,
        seeded=recipe.dropout > 0,
        may_stop=False,
        patience=math.inf,
        warn_at_limit=False,
    )
