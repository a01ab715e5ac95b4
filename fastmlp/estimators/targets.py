"""Targets in the form that the loss wants, and back; those of regression. Those of classification are in `labels`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..losses import Loss, Quantile
from .evaluation import EvaluationSet, validation_loss


class TargetKind(Protocol):
    """What a fit asks about targets beyond their numbers."""

    score_name: str  # of what `score` computes
    best_score: float  # what it cannot exceed

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Targets as a user gives them, from `Targets.values`."""

    def score(self, sample: EvaluationSet, loss: Loss, output: str) -> Callable[[], float]:
        """What early stopping watches by default, for a sample: higher is better, at most 1 if it has a bound."""


class Targets(NamedTuple):
    """Checked targets in the form that the loss wants.

    Attributes
    ----------
    values : int64 class codes of shape (n_samples,), or a real matrix of shape (n_samples, n_outputs)
    n_outputs : width of the last layer
    output_activation : that of the last layer
    kind : `Labels` or `RealTargets`
    stratify : labels by which to split for early stopping, or None
    """

    values: np.ndarray
    n_outputs: int
    output_activation: str
    kind: Any
    stratify: np.ndarray | None = None


def r_squared(truth: np.ndarray, weights: np.ndarray | None) -> Callable[[np.ndarray], float]:
    """R² of predictions for one truth: 1 - Σ w (y - ŷ)² / Σ w (y - ȳ)², averaged over outputs.

    The same number as ``sklearn.metrics.r2_score``, whose checks would take longer than an epoch of a small network:
    1 for a constant output that is met exactly and 0 for one that is not; NaN for less than two rows.

    Parameters
    ----------
    truth : ndarray of shape (n_rows, n_outputs)
    weights : ndarray of shape (n_rows,) or None

    Returns
    -------
    score : callable (predicted of the shape of truth) -> float; NaN if a prediction is not finite
    """
    if len(truth) < 2:
        return lambda predicted: np.nan
    truth = truth.astype(np.float64)
    weight = 1.0 if weights is None else weights[:, None]
    total = np.sum(weight * (truth - np.average(truth, axis=0, weights=weights)) ** 2, axis=0)
    varies = total != 0

    def score(predicted: np.ndarray) -> float:
        if not np.isfinite(predicted).all():
            return float("nan")
        with np.errstate(over="ignore"):
            residual = np.sum(weight * (truth - predicted) ** 2, axis=0)
        met = np.where(residual == 0, 1.0, 0.0)
        return float(np.average(np.where(varies, 1 - residual / np.where(varies, total, 1), met)))

    return score


@dataclass(frozen=True)
class RealTargets:
    """Targets of regression: a column for each target, or for each of its quantiles.

    Attributes
    ----------
    levels : outputs for each target with a quantile loss; 0 with any other
    """

    levels: int = 0

    @property
    def score_name(self) -> str:
        return "loss, its sign changed" if self.levels else "R²"

    @property
    def best_score(self) -> float:
        return 0.0 if self.levels else 1.0

    @classmethod
    def of(cls, loss: Loss) -> "RealTargets":
        """Those of a loss."""
        return cls(len(loss.levels) if isinstance(loss, Quantile) else 0)

    @property
    def outputs_per_target(self) -> int:
        return self.levels or 1

    def targets(self, y: np.ndarray, dtype: np.dtype, loss: Loss, output: str) -> Targets:
        """Checked y as a matrix of the dtype.

        Raises
        ------
        ValueError
            If y holds no numbers, or such as the loss has no value for.
        """
        if y.dtype.kind not in "biuf":
            raise ValueError(f"y must hold numbers; got dtype {y.dtype}, which y.astype(float) may convert.")
        matrix = np.ascontiguousarray(y.reshape(len(y), -1), dtype=dtype)
        if loss.positive and not (matrix > 0).all():
            raise ValueError(f"y must be above 0 with loss {loss.name!r}; got {matrix.min():g}.")
        if loss.nonnegative and not (matrix >= 0).all():
            raise ValueError(f"y must be at least 0 with loss {loss.name!r}; got {matrix.min():g}.")
        return Targets(
            np.repeat(matrix, self.outputs_per_target, axis=1) if self.levels else matrix,
            matrix.shape[1] * self.outputs_per_target,
            loss.outputs[0] if output == "auto" else output,
            self,
        )

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Targets as they were given."""
        values = values[:, :: self.outputs_per_target]
        return values[:, 0] if values.shape[1] == 1 else values

    def score(self, sample: EvaluationSet, loss: Loss, output: str) -> Callable[[], float]:
        """R² on a sample, NaN where a prediction is not finite; of quantiles the loss, its sign changed."""
        if self.levels:
            measured = validation_loss(sample, loss, output)
            return lambda: -measured()
        determination = r_squared(sample.values, sample.weights)
        return lambda: determination(sample.outputs())
