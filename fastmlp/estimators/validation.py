"""Validation data of a fit: given beside the training data or set aside from them, by whatever name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.utils.validation import _check_sample_weight

from ..core.network import Network
from ..core.session import Session
from ..training import History
from .evaluation import EvaluatedEstimator, EvaluationCallback, EvaluationSet, validation_loss
from .rows import as_rows_like

# Operations for the validation rows from which a second thread is worth its start.
LARGE = 100_000_000


class ValidationData(NamedTuple):
    """Checked validation data that were given to ``fit``.

    Attributes
    ----------
    X : array of shape (n_rows, n_features), of the training's dtype
    values : targets, as `Targets.values`
    sample_weight : ndarray of shape (n_rows,), or None
    """

    X: Any
    values: np.ndarray
    sample_weight: np.ndarray | None


def checked_weights(sample_weight: Any, X: Any) -> np.ndarray | None:
    """Sample weights in X's dtype, not all of them zero."""
    if sample_weight is None:
        return None
    weights = np.ascontiguousarray(_check_sample_weight(sample_weight, X), dtype=X.dtype)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def checked_validation(estimator: Any, validation: tuple[Any, Any, Any], X: Any) -> ValidationData | None:
    """X_val, y_val and sample_weight_val of ``fit``, checked against the training X; None if there are none."""
    X_val, y_val, sample_weight_val = validation
    if X_val is None and y_val is None:
        if sample_weight_val is not None:
            raise ValueError("sample_weight_val is provided, but X_val and y_val were not provided.")
        return None
    if y_val is None:
        raise ValueError("X_val is provided, but y_val was not provided.")
    if X_val is None:
        raise ValueError("y_val is provided, but X_val was not provided.")
    if estimator.solver == "lbfgs":
        raise ValueError("X_val requires a solver that has epochs to look at, such as 'adam'; got solver='lbfgs'.")
    X_val, targets = estimator._check_validation_data(X_val, y_val, X.dtype)
    if targets.n_outputs != estimator.n_outputs_:
        raise ValueError(f"y_val must have as many outputs as y, {estimator.n_outputs_}; got {targets.n_outputs}.")
    return ValidationData(as_rows_like(X_val, X), targets.values, checked_weights(sample_weight_val, X_val))


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
    return {name: get_scorer(scoring) for name, scoring in scorers.items()}


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
    operations = 2 * n_rows * sum(a * b for a, b in zip(network.units, network.units[1:], strict=False))
    threads = n_threads if operations > LARGE else 1
    with network.session(validation.X, validation.values, batch_size=n_rows, n_threads=threads) as session:
        yield session


def evaluation_callbacks(
    estimator: Any, network: Network, session: Session, second: Session | None, data: Any, history: History
) -> tuple[Callable[[], float] | None, list[EvaluationCallback]]:
    """What to look at after each epoch of a fit.

    Parameters
    ----------
    session, second : of the training data, and of validation data that were given
    data : TrainingData
    record : Record to extend

    Returns
    -------
    score : decides on stopping; None without early stopping
    watchers : at most one `EvaluationCallback`
    """
    scorers = metrics_by_name(estimator.metrics)
    validation = _validation_sample(session, second, data)
    if validation is None and not scorers:
        return None, []
    cached: list[EvaluationSet | EvaluatedEstimator] = []
    measures: dict[str, Callable[[], float]] = {}
    score = None
    if scorers:
        training, X = _training_sample(session, data)
        view = EvaluatedEstimator(estimator, network, training, X, estimator._labels(training.values))
        cached += [training, view]
        measures |= {name: view.scorer(scorer) for name, scorer in scorers.items()}
    if validation is not None:
        loss = measures["val_loss"] = validation_loss(validation, *estimator._loss())
        cached.append(validation)
        if estimator.early_stopping:
            score = estimator._score(validation) if estimator.scoring is None else lambda: -loss()
        decides = estimator.early_stopping and estimator.scoring not in (None, "loss")
        if scorers or decides:
            X = data.X[validation.rows] if second is None else data.given.X
            view = EvaluatedEstimator(estimator, network, validation, X, estimator._labels(validation.values))
            cached.append(view)
            measures |= {f"val_{name}": view.scorer(scorer) for name, scorer in scorers.items()}
            score = view.scorer(estimator.scoring) if decides else score
    return score, [EvaluationCallback(history, measures, cached)]


def _training_sample(session: Session, data: Any) -> tuple[EvaluationSet, Any]:
    """The rows to train on, and their X: the data as they are, or a copy where other rows are set aside."""
    rows = data.training_rows.copy()  # the training shuffles its own
    values, weights = data.targets.values, data.scoring_weight
    if data.validation_rows is None:
        return EvaluationSet(session, rows, values, weights), data.X
    return EvaluationSet(session, rows, values[rows], None if weights is None else weights[rows]), data.X[rows]


def _validation_sample(session: Session, second: Session | None, data: Any) -> EvaluationSet | None:
    """The rows to validate on, if any."""
    if second is not None:
        given = data.given
        return EvaluationSet(second, np.arange(given.X.shape[0]), given.values, given.sample_weight)
    rows = data.validation_rows
    if rows is None:
        return None
    weights = None if data.scoring_weight is None else data.scoring_weight[rows]
    return EvaluationSet(session, rows, data.targets.values[rows], weights)
