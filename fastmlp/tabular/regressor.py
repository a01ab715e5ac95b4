"""`TabularRegressor`."""

from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import RegressorMixin

from ..losses import SquaredError
from .estimator import TabularEstimator, documented
from .metric import number_score
from .training import Problem


class TabularRegressor(RegressorMixin, TabularEstimator):
    """A regressor of raw tables, strong with its defaults.

    Columns are encoded by `TableEncoder`; targets are standardized, and predictions clipped to the range of the targets
    seen. Networks of the preset's recipes are trained side by side, for noisy targets and for smooth ones; the best at
    the best end of a cycle is selected on rows set aside, and trained again on all rows; predictions are averaged.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import TabularRegressor
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> model = TabularRegressor(preset="fast", random_state=0).fit(X, 1e6 * X[:, 0] * X[:, 1])
    >>> model.score(X, 1e6 * X[:, 0] * X[:, 1]) > 0.95
    True
    """

    __doc__ = f"{__doc__}{documented()}"
    _estimator_type_is_classifier = False

    def predict(self, X: Any) -> np.ndarray:
        """Predictions for raw rows: float64 ndarray of shape (n_rows,), or (n_rows, n_outputs)."""
        values = self._mean(X)
        return values.ravel() if self._flat else values

    # Targets.

    def _as_targets(self, y: Any) -> np.ndarray:
        """Finite numbers, of shape (n_rows,) or (n_rows, n_outputs)."""
        return _as_numbers(y)

    def _summary(self, values: np.ndarray) -> "Spread":
        """Where the targets lie."""
        columns = values.reshape(len(values), -1)
        return Spread(
            len(columns),
            columns.mean(axis=0),
            columns.var(axis=0),
            columns.min(axis=0),
            columns.max(axis=0),
            values.ndim,
        )

    def _describe(self, summaries: list[Any]) -> None:
        """Set what targets are standardized by, and the range of predictions."""
        all_rows = reduce(Spread.beside, summaries)
        self._flat = all_rows.ndim == 1
        deviation = np.sqrt(all_rows.variance)
        self._center, self._scale = all_rows.mean, np.where(deviation > 0, deviation, 1.0)
        self._low, self._high = all_rows.low, all_rows.high
        self.n_outputs_ = len(self._center)

    def _coded(self, values: np.ndarray) -> np.ndarray:
        """Targets of shape (n_rows, n_outputs)."""
        return values.reshape(len(values), -1)

    def _checked_targets_again(self, y: Any) -> np.ndarray:
        values = self._coded(_as_numbers(y))
        if values.shape[1] != self.n_outputs_:
            raise ValueError(f"validation must have as many outputs as y, {self.n_outputs_}; got {values.shape[1]}.")
        return values

    def _strata(self, targets: np.ndarray) -> None:
        return None

    def _learned(self, targets: np.ndarray, X: np.ndarray, sample_weight: Any) -> Problem:
        weights = None if sample_weight is None else (sample_weight / np.mean(sample_weight)).astype(np.float32)
        standardized = ((targets - self._center) / self._scale).astype(np.float32)
        return Problem(X, standardized, weights, SquaredError(), "identity", targets.shape[1])

    def _finish(self, outputs: np.ndarray) -> np.ndarray:
        """Predictions in the targets' units and within their range."""
        return np.clip(outputs.astype(np.float64) * self._scale + self._center, self._low, self._high)

    def _score_of(self, scorer: Any, targets: np.ndarray, weights: Any) -> Any:
        return number_score(scorer, targets, weights if np.any(weights) else None)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class Spread(NamedTuple):
    """Where the targets of some rows lie, each of shape (n_outputs,) but for the number of rows and y's dimensions."""

    n_rows: int
    mean: np.ndarray
    variance: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ndim: int

    def beside(self, other: "Spread") -> "Spread":
        """Of these rows and of others.

        Source: T. Chan, G. Golub and R. LeVeque 1983, "Algorithms for computing the sample variance", (2.1).
        """
        n_rows = self.n_rows + other.n_rows
        share = other.n_rows / n_rows
        gap = other.mean - self.mean
        variance = self.variance * (1 - share) + other.variance * share + gap**2 * share * (1 - share)
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Spread(n_rows, self.mean + gap * share, variance, low, high, self.ndim)


def _as_numbers(y: Any) -> np.ndarray:
    """Targets as float64, all finite.

    Raises
    ------
    ValueError
        With the first one that is none.
    """
    values = np.asarray(y)
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: y must be real; got {values.dtype}.")
    if values.dtype.kind in "mM":
        raise ValueError(
            f"y must hold numbers in regression; got {values.dtype}; subtract a date and divide by a unit."
        )
    texts = values.ravel().tolist() if values.dtype.kind in "OSU" else []
    bad = next((value for value in texts if isinstance(value, str | bytes) or not _is_number(value)), None)
    if bad is not None:
        raise ValueError(
            f"y must hold numbers in regression; got {bad!r} (Unknown label type for it); use TabularClassifier for "
            "classes, or convert texts to numbers."
        )
    values = values.astype(np.float64)
    if values.ndim not in (1, 2):
        raise ValueError(f"y must have the shape (n_rows,) or (n_rows, n_outputs); got {values.shape}.")
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(
            f"Input y contains NaN or infinity: y must be a finite number in each row; got {values[row]} in row {row}; "
            "drop such rows."
        )
    return values


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
