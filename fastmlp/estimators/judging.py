"""Judging a network while it trains: losses and scores after each epoch, on validation data and on training data."""

import inspect
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

import numpy as np
from scipy.special import xlogy
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring

from ..network import Network, Session
from ..training import Record

OUTPUTS_AT_ONCE = 2**22  # a thousand classes need no n_rows × 1000 matrix


class Sample:
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

    def forget(self) -> None:
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


def _clipped(probability: np.ndarray) -> np.ndarray:
    epsilon = np.finfo(probability.dtype).eps
    return np.clip(probability, epsilon, 1 - epsilon)


def softmax_loss(p: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """-log p_t."""
    return -np.log(_clipped(p[np.arange(len(codes)), codes]))


def logistic_loss(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    """-Σ_k [t_k log p_k + (1 - t_k) log(1 - p_k)], for t of 0 and 1."""
    p = _clipped(p)
    return -np.log(np.where(t > 0, p, 1 - p)).sum(axis=1)


def squared_loss(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """mean_k (y_k - t_k)² / 2."""
    return 0.5 * ((y - t) ** 2).mean(axis=1)


def poisson_loss(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Σ_k [t_k log(t_k / y_k) - t_k + y_k]."""
    return (xlogy(t, t / y) - t + y).sum(axis=1)


LOSS_OF_OUTPUTS = {"softmax": softmax_loss, "logistic": logistic_loss, "identity": squared_loss, "exp": poisson_loss}


def validation_loss(sample: Sample, output_activation: str) -> Callable[[], float]:
    """The loss on a sample, without penalty: scikit-learn's formulas, weighted mean over rows."""
    of_rows = LOSS_OF_OUTPUTS[output_activation]

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


class View:
    """An estimator as a scorer wants it: a shallow copy that predicts with the weights of the moment.

    After each epoch the weights are copied once. Predictions on the sample itself are those that the loss uses too;
    predictions on any other X start a network of their own.

    Parameters
    ----------
    estimator : the estimator in training
    sample : Sample
    X : the sample's rows as a checked array; ``y``: their targets as given
    """

    def __init__(self, estimator: BaseEstimator, network: Network, sample: Sample, X: Any, y: np.ndarray) -> None:
        self.network = network
        self.sample = sample
        self.X = X
        self.y = y
        self.estimator = copy(estimator)
        vars(self.estimator).pop("feature_names_in_", None)  # the checked array has no names
        self._forward = self.estimator._forward
        self.estimator._forward = self._forward_known
        self._current = False

    def _forward_known(self, X: Any, loss: str | None = None) -> np.ndarray:
        return self.sample.outputs() if X is self.X and loss is None else self._forward(X, loss)

    def forget(self) -> None:
        """Called when the weights change."""
        self._current = False

    def scorer(self, scoring: Any) -> Callable[[], float]:
        """A function that gives the score of the moment. ``scoring`` is a scorer's name or (estimator, X, y) -> float.

        Sample weights are passed to scorers that take them.
        """
        scorer = check_scoring(self.estimator, scoring)
        weighted = self.sample.weights is not None and takes_sample_weight(scorer)
        weights = {"sample_weight": self.sample.weights} if weighted else {}

        def score() -> float:
            if not self._current:
                self.estimator.coefs_, self.estimator.intercepts_ = self.network.weights()
                self._current = True
            with config_context(assume_finite=True):  # X has been checked
                return float(scorer(self.estimator, self.X, self.y, **weights))

        return score


class Judge:
    """Appends losses and scores to the history after each epoch; a `fastmlp.training.Watcher`.

    Parameters
    ----------
    record : Record to extend
    measures : name and function of each
    judged : samples and views, which forget when the weights change
    """

    def __init__(
        self, record: Record, measures: dict[str, Callable[[], float]], judged: Iterable[Sample | View]
    ) -> None:
        self.measures = [(record.measure(name), function) for name, function in measures.items()]
        self.judged = list(judged)

    def before_epoch(self) -> None:
        for each in self.judged:
            each.forget()

    def rows_done(self, rows: int) -> None:
        pass

    def after_epoch(self) -> bool:
        for values, function in self.measures:
            values.append(function())
        return False
