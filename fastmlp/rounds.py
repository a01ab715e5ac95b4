"""Training by rounds: a few steps on every shard of the data, then one mean; the same for a process and for a cluster.

    theta_k = the network after H steps on shard k, from theta
    theta   = outer(theta, sum_k n_k theta_k / sum_k n_k)

A round on one shard, `train_round`, is a pure function of the state it starts from, the shard's rows and the round's
number. So a result depends on the data, the seed and the number of shards, and not on who computed which shard, in what
order, or how often: an executor that loses a worker asks another one for the same round again.

The optimizer's states are averaged as the weights are. The outer step is the mean itself (local SGD; S. Stich, "Local
SGD converges fast and communicates little", ICLR 2019), or a Nesterov step on the change that the mean brings (DiLoCo;
A. Douillard et al., arXiv:2311.08105, algorithm 1, there with SGD of rate 0.7 and momentum 0.9).
"""

import os
import pathlib
import pickle
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from .blocks import Block
from .core.network import Network
from .schedules import Progress, Schedule
from .trainable import Parameters

__all__ = [
    "OUTER",
    "Checkpoints",
    "Executor",
    "InProcess",
    "Joblib",
    "OuterStep",
    "Plan",
    "Progression",
    "Result",
    "State",
    "Stopping",
    "load_checkpoint",
    "mean_of",
    "save_checkpoint",
    "train",
    "train_round",
]

OUTER = ("average", "nesterov")


class State(NamedTuple):
    """What a round starts from, and gives.

    Attributes
    ----------
    parameters : Parameters of the network
    states : the optimizer's, as `Network.set_states` takes them; None before the first step
    step : optimizer steps so far, on each shard
    """

    parameters: Parameters
    states: list[list[np.ndarray]] | None = None
    step: int = 0


class Result(NamedTuple):
    """What one shard gives, or some: the state after the steps, their mean loss, and the rows, which are its weight."""

    state: State
    loss: float
    rows: int


@dataclass(frozen=True)
class Plan:
    """What all rounds of a training have in common.

    Attributes
    ----------
    network : keywords of `Network`
    batch_size : rows of a step; steps : steps of a round on each shard
    learning_rate_init, schedule : of the steps; the share of the training that is done counts steps
    settings : of `Session.epoch`: alpha, l1 and the limits
    shuffle : whether each pass over a shard takes its rows in a new random order
    seed : of all random orders
    n_rounds : rounds of the whole training; n_shards, n_rows : shards that have rows, and their rows
    outer : kind, learning rate and momentum of the `OuterStep`
    class_weight, checksum : weights of the classes, and a number for all rows; both only tell trainings apart
    """

    network: Mapping[str, Any]
    batch_size: int
    steps: int
    learning_rate_init: float
    schedule: Schedule
    settings: Mapping[str, float]
    shuffle: bool
    seed: int
    n_rounds: int
    n_shards: int
    n_rows: int
    outer: tuple[str, float, float] = ("average", 0.7, 0.9)
    class_weight: Any = None
    checksum: int = 0

    def rates(self, step: int) -> np.ndarray:
        """The learning rates of the ``steps`` steps after ``step``, float64 ndarray of shape (steps,)."""
        steps = np.arange(step, step + self.steps, dtype=np.float64)
        rows = steps * (self.batch_size * self.n_shards)
        epochs, planned = rows / self.n_rows, self.n_rounds * self.steps
        progress = Progress(
            epochs=epochs if self.schedule.per == "step" else np.floor(epochs),
            steps=steps,
            rows=rows,
            share=steps / planned,
            planned=planned * self.batch_size * self.n_shards / self.n_rows,
        )
        rates = self.schedule.rate(self.learning_rate_init, progress)
        of_steps: np.ndarray = np.broadcast_to(np.asarray(rates, np.float64), steps.shape).copy()
        return of_steps


def train_round(
    plan: Plan, state: State, shard: Block, *, number: int, index: int, n_threads: int | None = 1
) -> Result:
    """``plan.steps`` optimizer steps on the rows of one shard.

    Parameters
    ----------
    plan, state : see there
    shard : Block of rows in the network's dtypes; of the same rows in every round
    number : of the round; index : of the shard
    """
    network = Network(**plan.network)
    network.set_parameters(state.parameters)
    if state.states is not None:
        network.set_states(state.states)
    n_rows = len(shard.X)
    batch = min(plan.batch_size, n_rows)
    order = _order(plan, n_rows, number * plan.steps * batch, plan.steps * batch, index)
    at_once = n_rows // batch * batch  # a session takes no more rows in one call than it has
    rates, total = plan.rates(state.step), 0.0
    with network.session(shard.X, shard.y, shard.sample_weight, batch_size=batch, n_threads=n_threads) as session:
        for start in range(0, len(order), at_once):
            part = order[start : start + at_once]
            steps = slice(start // batch, (start + len(part)) // batch)
            seed = int(np.random.default_rng([plan.seed, index, number, start]).integers(2**31))
            total += len(part) * session.epoch(
                part, learning_rate=rates[steps], step=state.step + steps.start, seed=seed, **plan.settings
            )
    after = State(network.parameters(), network.take_states(), state.step + plan.steps)
    return Result(after, total / len(order), n_rows)


def _order(plan: Plan, n_rows: int, start: int, count: int, index: int) -> np.ndarray:
    """Positions ``start`` to ``start + count`` of an endless sequence of passes over a shard's rows."""
    passes = range(start // n_rows, -(-(start + count) // n_rows))
    rows = [
        np.random.default_rng([plan.seed, index, each]).permutation(n_rows) if plan.shuffle else np.arange(n_rows)
        for each in passes
    ]
    return np.concatenate(rows)[start - passes.start * n_rows :][:count]


# --- the mean of the shards, and the outer step -----------------------------------------------------------------------


def mean_of(results: Sequence[Result]) -> Result:
    """The mean of the shards' states and losses, by their rows; summed in float64 in the order of the shards."""
    rows = np.array([result.rows for result in results], np.float64)
    weights = rows / rows.sum()

    def mean(*arrays: np.ndarray) -> np.ndarray:
        total = sum(weight * array.astype(np.float64) for weight, array in zip(weights, arrays, strict=True))
        return np.asarray(total, arrays[0].dtype)

    def mean_lists(lists: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
        return [mean(*arrays) for arrays in zip(*lists, strict=True)]

    states = [result.state for result in results]
    parameters = Parameters(*(mean_lists(part) for part in zip(*(state.parameters for state in states), strict=True)))
    moments = [mean_lists(part) for part in zip(*(state.states or [] for state in states), strict=True)]
    loss = float(np.average([result.loss for result in results], weights=rows))
    return Result(State(parameters, moments, states[0].step), loss, int(rows.sum()))


@dataclass
class OuterStep:
    """What happens to the parameters between two rounds.

    Attributes
    ----------
    kind : 'average', the mean as it is, or 'nesterov'
    learning_rate, momentum : of 'nesterov'
    velocity : of 'nesterov', one array for each of the network's; None before the first step
    """

    kind: str = "average"
    learning_rate: float = 0.7
    momentum: float = 0.9
    velocity: list[np.ndarray] | None = None

    def __call__(self, before: State, mean: State) -> State:
        """The state that the next round starts from."""
        if self.kind == "average":
            return mean
        old, new = ([array for part in state.parameters for array in part] for state in (before, mean))
        changes = [a.astype(np.float64) - b for a, b in zip(old, new, strict=True)]
        velocity = [np.zeros_like(change) for change in changes] if self.velocity is None else self.velocity
        self.velocity = [self.momentum * v + change for v, change in zip(velocity, changes, strict=True)]
        stepped = iter(
            (a - self.learning_rate * (change + self.momentum * v)).astype(a.dtype)
            for a, change, v in zip(old, changes, self.velocity, strict=True)
        )
        return mean._replace(parameters=Parameters(*([next(stepped) for _ in part] for part in before.parameters)))


# --- rounds -----------------------------------------------------------------------------------------------------------


class Executor(Protocol):
    """Who computes the shards of a round."""

    def round(self, plan: Plan, state: State, number: int) -> Result:
        """`mean_of` the results of `train_round`, of every shard that has rows, in the order of the shards."""


class InProcess:
    """All shards one after the other, in the calling process.

    Parameters
    ----------
    shards : sequence of Block; n_threads : of each round on a shard
    """

    def __init__(self, shards: Sequence[Block], n_threads: int | None = None) -> None:
        self.shards, self.n_threads = shards, n_threads

    def round(self, plan: Plan, state: State, number: int) -> Result:
        return mean_of(
            [
                train_round(plan, state, shard, number=number, index=index, n_threads=self.n_threads)
                for index, shard in enumerate(self.shards)
                if len(shard.X)
            ]
        )


class Joblib:
    """Shards beside each other in joblib's workers, of whatever backend is chosen.

    Parameters
    ----------
    shards : sequence of Block; n_jobs : workers; n_threads : of each round on a shard
    """

    def __init__(self, shards: Sequence[Block], n_jobs: int | None = None, n_threads: int | None = 1) -> None:
        self.shards, self.n_jobs, self.n_threads = shards, n_jobs, n_threads

    def round(self, plan: Plan, state: State, number: int) -> Result:
        import joblib

        work = joblib.delayed(train_round)
        results: list[Result] = joblib.Parallel(n_jobs=self.n_jobs)(
            work(plan, state, shard, number=number, index=index, n_threads=self.n_threads)
            for index, shard in enumerate(self.shards)
            if len(shard.X)
        )
        return mean_of(results)


@dataclass
class Progression:
    """How a training by rounds goes; a checkpoint holds it.

    Attributes
    ----------
    state : what the next round starts from; outer : the outer step, with its velocity
    losses : mean training loss of each round, by the rows of the shards
    scores : score on the validation rows after each round, higher is better
    best, best_score : the parameters of the best score so far; None without scores
    seconds : of each round
    """

    state: State
    outer: OuterStep
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best: Parameters | None = None
    best_score: float = -np.inf
    no_improvement_count: int = 0


class Stopping(NamedTuple):
    """Early stopping: after more than ``patience`` rounds in a row that improve the score by less than ``tol``.

    Attributes
    ----------
    score : of the parameters on validation rows, higher is better
    patience : inf to note the scores, and never stop
    """

    score: Callable[[Parameters], float]
    tol: float = 1e-4
    patience: float = 10


class Checkpoints(NamedTuple):
    """A file that is written whole, or not at all, after each ``every`` rounds."""

    path: str | os.PathLike[str]
    every: int = 1


def train(
    plan: Plan,
    progression: Progression,
    executor: Executor,
    *,
    stopping: Stopping | None = None,
    checkpoints: Checkpoints | None = None,
    after_round: Callable[[Progression], None] = lambda progression: None,
    clock: Callable[[], float],
) -> Progression:
    """Round after round until all are done or the score no longer improves; Ctrl-C leaves the latest round's state.

    Parameters
    ----------
    plan, progression : where the training begins, or goes on
    executor : who computes the shards
    stopping : by a score; None for all rounds of the plan
    checkpoints : where and how often; None for none
    after_round : called after each round
    clock : seconds
    """
    try:
        for number in range(len(progression.losses), plan.n_rounds):
            if stopping is not None and progression.no_improvement_count > stopping.patience:
                break
            began = clock()
            mean = executor.round(plan, progression.state, number)
            state = progression.outer(progression.state, mean.state)
            progression.state = state
            progression.losses.append(mean.loss)
            if stopping is not None:
                _note_score(progression, stopping.score(state.parameters), stopping.tol)
            progression.seconds.append(clock() - began)
            if checkpoints is not None and (number + 1) % checkpoints.every == 0:
                save_checkpoint(checkpoints.path, plan, progression)
            after_round(progression)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    return progression


def _note_score(progression: Progression, score: float, tol: float) -> None:
    """Keep the best parameters, and count the rounds without an improvement."""
    failed = not score > progression.best_score + tol
    progression.no_improvement_count = progression.no_improvement_count + 1 if failed else 0
    progression.scores.append(score)
    if score > progression.best_score:
        progression.best, progression.best_score = progression.state.parameters, score


# --- checkpoints ------------------------------------------------------------------------------------------------------


def save_checkpoint(path: str | os.PathLike[str], plan: Plan, progression: Progression) -> None:
    """Write a checkpoint: to a new file beside it, which then takes its name."""
    path = pathlib.Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            pickle.dump({"plan": plan, "progression": progression}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def load_checkpoint(path: str | os.PathLike[str], plan: Plan) -> Progression | None:
    """The training in a checkpoint, to go on exactly; None if there is no such file.

    Raises
    ------
    ValueError
        If it is no checkpoint, or one of another training: other data, parameters or seed.
    """
    if not pathlib.Path(path).exists():
        return None
    try:
        with open(path, "rb") as file:
            content = pickle.load(file)
        theirs: Plan = content["plan"]
        progression: Progression = content["progression"]
    except Exception as error:
        raise ValueError(
            f"checkpoint must be a file written by an earlier fit; {os.fspath(path)!r} is none: {error}"
        ) from error
    for name, value in vars(plan).items():
        if getattr(theirs, name, None) != value:
            special = {"checksum": "other data", "seed": "another seed (give random_state an int)"}
            raise ValueError(
                f"checkpoint must be that of the same training; {os.fspath(path)!r} has "
                f"{special.get(name, 'another ' + name)}. "
                "Remove the file to begin anew."
            )
    return progression
