"""Callbacks of a fit: those of scikit-learn, where it has them (1.9), and a display of progress."""

from typing import Any

import numpy as np

from ..core.network import Network
from ..training import Callback, History
from .sklearn_internals import root_of_callbacks, safe_indexing
from .weights import learned_attributes


class SklearnCallbacks(Callback):
    """The callbacks set by ``set_callbacks``, told of a fit and of each epoch.

    Without callbacks nothing happens. An epoch's weights are copied only for callbacks that ask for
    ``fitted_estimator``.

    Parameters
    ----------
    estimator : the estimator in training
    task : 'fit' or 'partial_fit'
    max_epochs : most epochs; 0 for a training without epochs
    X, y, sample_weight : as they were given
    """

    def __init__(self, estimator: Any, task: str, max_epochs: int, X: Any, y: Any, sample_weight: Any) -> None:
        self.estimator = estimator
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.data = self.training = {"X": X, "y": y, "metadata": metadata}
        self.root = root_of_callbacks(estimator, task, max_epochs)
        self.present = self.root is not None
        if self.present:
            self.root.call_on_fit_task_begin(estimator=estimator, **self.data)

    def callbacks(self, network: Network, rows: np.ndarray, some: bool) -> list["SklearnCallbacks"]:
        """This, if there are callbacks; they see the given rows, ``some`` of all, in their first order."""
        if not self.present:
            return []
        self.network = network
        if some:
            rows = np.sort(rows)
            metadata = self.data["metadata"]
            self.training = {
                "X": safe_indexing(self.data["X"], rows),
                "y": safe_indexing(self.data["y"], rows),
                "metadata": metadata and {"sample_weight": safe_indexing(metadata["sample_weight"], rows)},
            }
        return [self]

    def _weights(self) -> dict[str, Any]:
        return learned_attributes(self.network, self.network.parameters())

    def before_epoch(self) -> None:
        self.epoch = self.root.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(
            estimator=self.estimator, **self.training, reconstruction_attributes=self._weights
        )

    def after_epoch(self) -> bool:
        return bool(
            self.epoch.call_on_fit_task_end(
                estimator=self.estimator, **self.training, reconstruction_attributes=self._weights
            )
        )

    def end(self) -> None:
        """Called when the estimator is fitted."""
        if self.present:
            self.root.call_on_fit_task_end(estimator=self.estimator, **self.data)


class ProgressReport(Callback):
    """Tells a display how far the training is.

    Parameters
    ----------
    display : has ``update(epochs, rows, loss)``: epochs done, rows done of the present one, latest loss or None
    history : History of the training
    """

    def __init__(self, display: Any, history: History) -> None:
        self.display = display
        self.history = history
        self.epochs = 0

    def _loss(self) -> float | None:
        return self.history.loss_curve[-1] if self.history.loss_curve else None

    def rows_done(self, rows: int) -> None:
        self.display.update(self.epochs, rows, self._loss())

    def after_epoch(self) -> bool:
        self.epochs += 1
        self.display.update(self.epochs, 0, self._loss())
        return False
