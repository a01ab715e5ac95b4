"""Evaluation of a network while it trains: losses and scores after each epoch, on validation and training data."""

import inspect
from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names

from ..components import did_you_mean
from ..core.network import Network
from ..core.session import Session
from ..losses import Loss
from ..training import Callback, History
from .weights import learned_attributes

OUTPUTS_AT_ONCE = 2**22  # a thousand classes need no n_rows × 1000 matrix


class EvaluationSet:
    """Rows of a session, and the network's outputs on them, which are computed once after each epoch.

    Parameters
    ----------
    session : Session that holds the rows, their targets too
    rows : indices of the rows
    values : their targets, in the form of `Targets.values`
    weights : ndarray of shape (n_rows,), or None
    """

    def __init__(self, session: Session, rows: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> None:
        self.session = session
        self.rows = rows
        self.values = values
        self.weights = weights
        self._outputs: np.ndarray | None = None

    def invalidate(self) -> None:
        """Called when the weights change."""
        self._outputs = None

    def outputs(self) -> np.ndarray:
        """Outputs of the network on all rows, of shape (n_rows, n_outputs)."""
        if self._outputs is None:
            self._outputs = self.session.predict(self.rows)
        return self._outputs

    def average(self, of_rows: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
        """Weighted mean of ``of_rows(outputs, values)``, a number for each row, computed for some rows at a time."""
        n_at_once = max(1, OUTPUTS_AT_ONCE // self.session.network.units[-1])
        if len(self.rows) <= n_at_once:
            numbers = of_rows(self.outputs(), self.values)
        else:
            parts = [slice(start, start + n_at_once) for start in range(0, len(self.rows), n_at_once)]
            numbers = np.concatenate(
                [of_rows(self.session.predict(self.rows[part]), self.values[part]) for part in parts]
            )
        return float(numbers.mean() if self.weights is None else np.average(numbers, weights=self.weights))


# --- the loss ---------------------------------------------------------------------------------------------------------


def validation_loss(sample: EvaluationSet, loss_component: Loss, output: str) -> Callable[[], float]:
    """The loss on a sample, without penalty: the weighted mean over rows."""
    of_rows = partial(loss_component.of_outputs, output)

    def loss() -> float:
        with np.errstate(all="ignore"):  # a diverging network has no finite loss, and training tells
            return sample.average(of_rows)

    return loss


# --- scikit-learn's scorers -------------------------------------------------------------------------------------------


def takes_sample_weight(scorer: Callable[..., Any]) -> bool:
    """Whether a scorer, or the metric of one of scikit-learn's, can weigh rows."""
    try:
        return "sample_weight" in inspect.signature(getattr(scorer, "_score_func", scorer)).parameters
    except ValueError:  # no signature
        return False


def scorer_of(scoring: Any, parameter: str, estimator: Any = None) -> Callable[..., Any]:
    """The scorer that a name or a callable means; of an estimator, one that it can serve.

    Raises
    ------
    ValueError
        If there is none; it names the ``parameter``.
    """
    try:
        scorer: Callable[..., Any] = get_scorer(scoring) if estimator is None else check_scoring(estimator, scoring)
    except ValueError as error:
        raise ValueError(f"{parameter}: {error}{did_you_mean(scoring, get_scorer_names())}") from error
    return scorer


class EvaluatedEstimator:
    """An estimator as a scorer wants it: a shallow copy that predicts with the weights of the moment.

    After each epoch the weights are copied once. Predictions on the sample itself are those that the loss uses too;
    predictions on any other X start a network of their own.

    Parameters
    ----------
    estimator : the estimator in training
    sample : EvaluationSet
    X : the sample's rows as a checked array; ``y``: their targets as given
    """

    def __init__(
        self, estimator: BaseEstimator, network: Network, sample: EvaluationSet, X: Any, y: np.ndarray
    ) -> None:
        self.network = network
        self.sample = sample
        self.X = X
        self.y = y
        self.estimator = copy(estimator)
        vars(self.estimator).pop("feature_names_in_", None)  # the checked array has no names
        self._forward = self.estimator._forward
        self.estimator._forward = self._forward_known
        self._current = False

    def _forward_known(self, X: Any, logits: bool = False) -> np.ndarray:
        return self.sample.outputs() if X is self.X and not logits else self._forward(X, logits)

    def invalidate(self) -> None:
        """Called when the weights change."""
        self._current = False

    def scorer(self, scoring: Any, parameter: str) -> Callable[[], float]:
        """A function that gives the score of the moment. ``scoring`` is a scorer's name or (estimator, X, y) -> float.

        Sample weights are passed to scorers that take them. An error names the estimator's ``parameter``.
        """
        scorer = scorer_of(scoring, parameter, self.estimator)
        weighted = self.sample.weights is not None and takes_sample_weight(scorer)
        weights = {"sample_weight": self.sample.weights} if weighted else {}

        def score() -> float:
            if not self._current:
                vars(self.estimator).update(learned_attributes(self.network, self.network.parameters()))
                self._current = True
            try:
                with config_context(assume_finite=True):  # X has been checked
                    result = scorer(self.estimator, self.X, self.y, **weights)
            except ValueError as error:
                raise ValueError(f"{parameter}={scoring!r} failed on the data of this fit: {error}") from error
            except Exception as error:
                if hasattr(error, "add_note"):  # Python 3.11
                    error.add_note(f"It was raised by {parameter}={scoring!r}.")
                raise
            try:
                return float(result)
            except (TypeError, ValueError):
                raise ValueError(f"{parameter}={scoring!r} must give a number; got {result!r}.") from None

        return score


class EvaluationCallback(Callback):
    """Appends losses and scores to the history after each epoch.

    Parameters
    ----------
    history : History to extend
    measures : name and function of each
    cached : what holds outputs or weights of the moment, to be invalidated when the weights change
    """

    def __init__(
        self,
        history: History,
        measures: dict[str, Callable[[], float]],
        cached: Iterable[EvaluationSet | EvaluatedEstimator],
    ) -> None:
        self.measures = [(history.measure(name), function) for name, function in measures.items()]
        self.cached = list(cached)

    def before_epoch(self) -> None:
        for each in self.cached:
            each.invalidate()

    def after_epoch(self) -> bool:
        for values, function in self.measures:
            values.append(function())
        return False
