"""`TabularDisplay`: a training of tables in two pictures. Needs ``pip install "fastmlp[plot]"``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..plotting import COLOURS, DASHES, GREY, Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10  # of equal size, for calibration


class TabularDisplay(Display):
    """Validation curves of the networks tried, and how far predictions for the validation rows can be believed.

    For classes the second picture is the calibration: the share of rows that are of a class, by the probability that
    was given to it, in ten groups of equal size. For numbers it is the targets by their predictions.

    Parameters
    ----------
    curves : list of (name, validation score of each epoch)
    targets, predictions : of the validation rows; class codes and probabilities (n, n_classes), or numbers
    best_epoch : of the network selected first

    Examples
    --------
    >>> from fastmlp.tabular import TabularDisplay
    >>> TabularDisplay.from_estimator(model)  # doctest: +SKIP
    """

    def __init__(self, curves: list[Any], targets: np.ndarray, predictions: np.ndarray, best_epoch: int) -> None:
        self.curves = curves
        self.targets = targets
        self.predictions = predictions
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(cls, estimator: Any, axes: Any = None) -> TabularDisplay:
        """Draw a fitted `TabularClassifier` or `TabularRegressor` that had validation rows.

        Parameters
        ----------
        axes : two of matplotlib's axes, or None for those of a new figure
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "validation_targets_"):
            raise ValueError("estimator must have had validation rows; fit it with validation='auto' or another one.")
        curves = [
            (f"{item['recipe'].activation} {number}", item["validation_score"])
            for number, item in enumerate(estimator.history_, 1)
            if item["validation_score"]
        ]
        display = cls(curves, estimator.validation_targets_, estimator.validation_predictions_, estimator.best_epoch_)
        return display.plot(axes)

    def plot(self, ax: Any = None) -> TabularDisplay:
        """Draw on two axes: ``ax_`` and ``second_ax_`` of ``figure_``."""
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                'fastmlp.tabular.TabularDisplay needs matplotlib; install it with pip install "fastmlp[plot]".'
            ) from error
        if ax is None:
            _, ax = pyplot.subplots(1, 2, figsize=(9.6, 4.0), layout="constrained")
        self.ax_, self.second_ax_ = ax
        self.figure_ = self.ax_.figure
        for number, (name, scores) in enumerate(self.curves):
            colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
            self.ax_.plot(range(1, len(scores) + 1), scores, color=colour, linestyle=dashes, label=name)
        self.ax_.axvline(self.best_epoch, color=GREY, linestyle=":", label="selected")
        self.ax_.set(xlabel="epoch", ylabel="validation score")
        self.ax_.legend(frameon=False)
        if self.predictions.shape == self.targets.shape:
            self._draw_numbers(self.second_ax_)
        else:
            self._draw_calibration(self.second_ax_)
        return self

    def calibration(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean probability, and share of rows that are of the class, in groups of equal size over all classes."""
        given = self.predictions[:, 1:] if self.predictions.shape[1] == 2 else self.predictions
        first = self.predictions.shape[1] - given.shape[1]
        true = self.targets[:, None] == np.arange(first, self.predictions.shape[1])
        order = np.argsort(given, axis=None, kind="stable")
        groups = np.array_split(order, min(BINS, len(order)))
        return (
            np.array([given.ravel()[group].mean() for group in groups]),
            np.array([true.ravel()[group].mean() for group in groups]),
        )

    def _draw_calibration(self, ax: Axes) -> None:
        probabilities, shares = self.calibration()
        ax.plot([0, 1], [0, 1], color=GREY, linestyle=":")
        ax.plot(probabilities, shares, marker="o", color=COLOURS[0])
        ax.set(xlabel="probability given", ylabel="share of rows", aspect="equal")

    def _draw_numbers(self, ax: Axes) -> None:
        ax.scatter(self.predictions.ravel(), self.targets.ravel(), s=4, alpha=0.5, color=COLOURS[0])
        ends = [float(self.targets.min()), float(self.targets.max())]
        ax.plot(ends, ends, color=GREY, linestyle=":")
        ax.set(xlabel="prediction", ylabel="target")
