"""Validation data of a fit: given beside the training data or set aside from them, by whatever name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier

from ..core.network import Network
from ..core.session import Session
from ..core.step_time import row_operations
from ..training import History
from .configuration import Configuration
from .data import TrainingData, ValidationData
from .evaluation import EvaluatedEstimator, EvaluationCallback, EvaluationSet, scorer_of, validation_loss
from .targets import Targets

# Operations for the validation rows from which a second thread is worth its start.
LARGE = 100_000_000


def check_validation(validation: tuple[Any, Any, Any], configuration: Configuration) -> bool:
    """Whether X_val, y_val and sample_weight_val were given to ``fit``; an error if only some of them were."""
    X_val, y_val, sample_weight_val = validation
    if X_val is None and y_val is None:
        if sample_weight_val is not None:
            raise ValueError("sample_weight_val is provided, but X_val and y_val were not provided.")
        return False
    if y_val is None:
        raise ValueError("X_val is provided, but y_val was not provided.")
    if X_val is None:
        raise ValueError("y_val is provided, but X_val was not provided.")
    if configuration.optimizer is None:
        raise ValueError("X_val requires a solver that has epochs to look at, such as 'adam'; got solver='lbfgs'.")
    return True


def metrics_by_name(metrics: Any) -> dict[str, Any]:
    """Scorers from a name, a sequence of names, or a dict; errors name the parameter."""
    if metrics is None:
        return {}
    if isinstance(metrics, str):
        metrics = (metrics,)
    scorers = dict(metrics) if isinstance(metrics, dict) else {name: name for name in metrics}
    for name, scoring in scorers.items():
        if not isinstance(name, str) or not (isinstance(scoring, str) or callable(scoring)):
            raise ValueError(
                f"metrics must be names of scorers, or a dict of names and scorers; got {name!r}: {scoring!r}."
            )
        if name in ("loss", "learning_rate", "seconds") or name.startswith("val_"):
            raise ValueError(f"metrics may not be named 'loss', 'learning_rate', 'seconds' or 'val_...'; got {name!r}.")
    return {name: scorer_of(scoring, "metrics") for name, scoring in scorers.items()}


@contextmanager
def validation_session(
    network: Network, validation: ValidationData | None, n_threads: int | None
) -> Iterator[Session | None]:
    """A second session on the network that trains: it sees the weights of the moment, and rests while they change.

    One thread, where the rows are not so many that more are worth waking.
    """
    if validation is None:
        yield None
        return
    n_rows = validation.X.shape[0]
    operations = n_rows * row_operations(network.units) // 3  # forward alone
    threads = n_threads if operations > LARGE else 1
    with network.session(validation.X, validation.values, batch_size=n_rows, n_threads=threads) as session:
        yield session


class Watched(NamedTuple):
    """What is looked at after each epoch.

    Attributes
    ----------
    score : decides on stopping; None without early stopping
    score_name : what it is; ``best_score`` : what it cannot exceed
    enough_scores : epochs after which it should have changed
    callbacks : at most one `EvaluationCallback`
    """

    score: Callable[[], float] | None = None
    score_name: str = "score"
    best_score: float = np.inf
    callbacks: tuple[EvaluationCallback, ...] = ()
    enough_scores: float = 10


class Sessions(NamedTuple):
    """Sessions on the network in training.

    Attributes
    ----------
    training : of the rows as they train, augmented perhaps; ``plain`` : of the same rows as they were given
    validation : of validation data that were given to ``fit``, or None
    """

    training: Session
    plain: Session
    validation: Session | None


def watch(
    estimator: Any,
    configuration: Configuration,
    network: Network,
    sessions: Sessions,
    data: TrainingData,
    history: History,
) -> Watched:
    """What to look at after each epoch of a fit; measures are added to the history.

    Parameters
    ----------
    estimator : of which scorers are given copies
    """
    scorers = metrics_by_name(configuration.metrics)
    validation = _validation_sample(sessions, data)
    if validation is None and not scorers:
        return Watched()
    kind = data.targets.kind
    cached: list[EvaluationSet | EvaluatedEstimator] = []
    measures: dict[str, Callable[[], float]] = {}
    if scorers:
        training, X = _training_sample(sessions.plain, data)
        view = EvaluatedEstimator(estimator, network, training, X, kind.restore(training.values))
        cached += [training, view]
        measures |= {name: view.scorer(scorer, "metrics") for name, scorer in scorers.items()}
    if validation is None:
        return Watched(callbacks=(EvaluationCallback(history, measures, cached),))
    loss = measures["val_loss"] = validation_loss(validation, configuration.loss, network.output)
    cached.append(validation)
    score, name, best = None, "score", np.inf
    if configuration.early_stopping:
        if configuration.scoring is None:
            score = kind.score(validation, configuration.loss, network.output)
            name, best = kind.score_name, kind.best_score
        elif configuration.scoring == "loss":
            score, name = lambda: -loss(), "loss, its sign changed"
    decides = configuration.early_stopping and score is None
    if scorers or decides:
        X = data.X[validation.rows] if data.given is None else data.given.X
        view = EvaluatedEstimator(estimator, network, validation, X, kind.restore(validation.values))
        cached.append(view)
        measures |= {f"val_{name}": view.scorer(scorer, "metrics") for name, scorer in scorers.items()}
        if decides:
            score, name = view.scorer(configuration.scoring, "scoring"), name_of_scoring(configuration.scoring)
            best = 1.0 if name in BOUNDED_BY_1 and _can_vary(estimator, validation.values) else np.inf
    return Watched(
        score, name, best, (EvaluationCallback(history, measures, cached),), _enough_scores(estimator, data.targets)
    )


def _can_vary(estimator: Any, values: np.ndarray) -> bool:
    """Whether a score of these targets can: the explained variance of a single number is 1, whatever is predicted."""
    return is_classifier(estimator) or bool((values != values[0]).any())


def _enough_scores(estimator: Any, targets: Targets) -> float:
    """Labels stay the same while probabilities move, numbers do not; where all targets are one, no score could vary."""
    if (targets.values == targets.values[0]).all():
        return np.inf
    return 10 if is_classifier(estimator) else 2


# Scores whose greatest value is 1.
BOUNDED_BY_1 = frozenset(
    ("accuracy", "balanced_accuracy", "f1", "f1_macro", "f1_micro", "f1_weighted", "roc_auc", "average_precision")
    + ("precision", "recall", "r2", "explained_variance")
)


def name_of_scoring(scoring: Any) -> str:
    """The name of a scorer or of a user's function."""
    return scoring if isinstance(scoring, str) else getattr(scoring, "__name__", repr(scoring))


def _training_sample(session: Session, data: TrainingData) -> tuple[EvaluationSet, Any]:
    """The rows to train on, and their X: the data as they are, or a copy where other rows are set aside."""
    rows = data.training_rows.copy()  # the training shuffles its own
    values, weights = data.targets.values, data.scoring_weight
    if data.validation_rows is None:
        return EvaluationSet(session, rows, values, weights), data.X
    return EvaluationSet(session, rows, values[rows], None if weights is None else weights[rows]), data.X[rows]


def _validation_sample(sessions: Sessions, data: TrainingData) -> EvaluationSet | None:
    """The rows to validate on, if any."""
    if data.given is not None and sessions.validation is not None:
        given = data.given
        return EvaluationSet(sessions.validation, np.arange(given.X.shape[0]), given.values, given.sample_weight)
    rows = data.validation_rows
    if rows is None:
        return None
    weights = None if data.scoring_weight is None else data.scoring_weight[rows]
    return EvaluationSet(sessions.plain, rows, data.targets.values[rows], weights)
