"""Changes of the training rows before each epoch, by the components of `fastmlp.augmentations`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..augmentations import Augmentation
from ..training import Callback
from .configuration import Configuration
from .data import TrainingData


class Augmenter(Callback):
    """Changes the training rows before each epoch, in the arrays that a session reads.

    Parameters
    ----------
    components : sequence of Augmentation
    X, targets : what the session reads, written to
    rows : those to change
    random_state : RandomState of the training
    """

    def __init__(
        self,
        components: Sequence[Augmentation],
        X: np.ndarray,
        targets: np.ndarray,
        rows: np.ndarray,
        random_state: Any,
    ) -> None:
        self.components = components
        self.X = X
        self.targets = targets
        self.rows = np.sort(rows)
        self.random_state = random_state
        self.originals = X[self.rows], targets[self.rows]

    def before_epoch(self) -> None:
        X, targets = self.originals
        for component in self.components:
            X, targets = component.apply(X, targets, self.random_state)
        self.X[self.rows] = X
        if any(component.mixes_targets for component in self.components):
            self.targets[self.rows] = targets


def augmented(
    data: TrainingData, configuration: Configuration, random_state: np.random.RandomState
) -> tuple[Any, np.ndarray, list[Augmenter]]:
    """What the session reads: X and targets, copies of them where they change with each epoch."""
    components, X, targets = configuration.augmentations, data.X, data.targets.values
    if not components:
        return X, targets, []
    if configuration.mixes_targets:
        smoothing, classes = getattr(configuration.loss, "label_smoothing", 0.0), data.targets.n_outputs
        if targets.ndim == 1:
            targets = ((1 - smoothing) * np.eye(classes) + smoothing / classes).astype(X.dtype)[targets]
        targets = targets.copy()
    X = X.copy()
    return X, targets, [Augmenter(components, X, targets, data.training_rows, random_state)]
