"""What selects: a score of the validation rows from predictions, higher is better."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, log_loss

from .selection import Score

OF_PROBABILITIES = ("log_loss", "roc_auc", "average_precision", "brier")
LOG_LOSS = ("log_loss", "neg_log_loss")
ALIASES = {
    "auc": "roc_auc",
    "mse": "neg_mean_squared_error",
    "rmse": "neg_root_mean_squared_error",
}


def wants_probabilities(metric: Any) -> bool:
    """Whether a metric scores probabilities, for which smoothed labels are wrong."""
    return isinstance(metric, str) and any(name in metric for name in (*OF_PROBABILITIES, "auc"))


def checked_scorer(metric: Any) -> Any:
    """None for 'auto', else a scorer.

    Raises
    ------
    ValueError
        If it is neither a scorer nor the name of one.
    """
    if isinstance(metric, str) and metric == "auto":
        return None
    if isinstance(metric, str) and metric in LOG_LOSS:
        return negative_log_loss
    if isinstance(metric, str):
        try:
            return get_scorer(ALIASES.get(metric, metric))
        except ValueError:
            raise ValueError(
                f"metric must be 'auto', a scorer or one of sklearn.metrics.get_scorer_names(); got {metric!r}."
            ) from None
    if not callable(metric):
        raise ValueError(f"metric must be 'auto', a scorer or the name of one; got {metric!r}.")
    return metric


def negative_log_loss(estimator: Any, X: Any, y: np.ndarray, sample_weight: Any = None) -> float:
    """scikit-learn's scorer 'neg_log_loss', for rows that may lack classes, as a few or sorted ones do."""
    probabilities = np.asarray(estimator.predict_proba(X), np.float64)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)  # which float32 rounds
    return -float(log_loss(y, probabilities, sample_weight=sample_weight, labels=estimator.classes_))


class Predicted(BaseEstimator):
    """Predictions that are known already, for a scorer, which wants an estimator; X is ignored."""

    def __init__(self, predictions: np.ndarray) -> None:
        self.predictions = predictions

    def __sklearn_is_fitted__(self) -> bool:
        return True


class PredictedClasses(ClassifierMixin, Predicted):
    """Probabilities of each class."""

    def __init__(self, predictions: np.ndarray, classes: np.ndarray) -> None:
        super().__init__(predictions)
        self.classes = classes

    @property
    def classes_(self) -> np.ndarray:
        """Labels, in the order of the columns."""
        return self.classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities."""
        return self.predictions

    def predict(self, X: Any) -> np.ndarray:
        """The labels of the greatest ones."""
        return self.classes[self.predictions.argmax(axis=1)]


class PredictedNumbers(RegressorMixin, Predicted):
    """Numbers."""

    def predict(self, X: Any) -> np.ndarray:
        """The numbers."""
        return self.predictions


def class_score(scorer: Any, codes: np.ndarray, classes: np.ndarray, weights: Any) -> Callable[[np.ndarray], Score]:
    """A function of probabilities (n, n_classes): the scorer's number, without one the accuracy, and the log loss."""
    labels, rows = classes[codes], np.arange(len(codes))

    def score(probabilities: np.ndarray) -> Score:
        if scorer is None:
            value = float(np.average(probabilities.argmax(axis=1) == codes, weights=weights))
        else:
            value = float(_scored(scorer, PredictedClasses(probabilities, classes), labels, weights))
        least = np.finfo(probabilities.dtype).tiny
        return Score(value, float(np.average(np.log(np.maximum(probabilities[rows, codes], least)), weights=weights)))

    return score


def number_score(scorer: Any, y: np.ndarray, weights: Any) -> Callable[[np.ndarray], Score]:
    """A function of predictions (n, n_outputs): the scorer's number, or without one R², and the mean R² of outputs."""
    spread = np.average((y - np.average(y, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    spread = np.where(spread > 0, spread, 1.0)

    def score(predictions: np.ndarray) -> Score:
        closeness = float(np.mean(1 - np.average((predictions - y) ** 2, axis=0, weights=weights) / spread))
        if scorer is None:
            return Score(closeness, closeness)
        single = y.shape[1] == 1
        given, targets = (predictions.ravel(), y.ravel()) if single else (predictions, y)
        return Score(float(_scored(scorer, PredictedNumbers(given), targets, weights)), closeness)

    return score


def _scored(scorer: Any, predicted: Any, y: np.ndarray, weights: Any) -> float:
    empty = np.empty((len(y), 0))
    try:
        return scorer(predicted, empty, y) if weights is None else scorer(predicted, empty, y, sample_weight=weights)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"metric must be able to score this target; got {scorer!r}, which says: {error}; choose another."
        ) from error
