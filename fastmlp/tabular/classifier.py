"""`TabularClassifier`."""

import warnings
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ..losses import LogLoss
from .columns import is_missing
from .estimator import TabularEstimator, documented
from .metric import class_score
from .training import Problem

CLASS_WEIGHT = """    class_weight : dict, 'balanced' or None, default=None
        Weights of the classes, on validation rows too.
"""
CLASSES = "    classes_ : ndarray of shape (n_classes,)\n"


class TabularClassifier(ClassifierMixin, TabularEstimator):
    """A classifier of raw tables, strong with its defaults.

    Columns are encoded by `TableEncoder`; networks of the preset's recipes are trained side by side, the best at the
    best end of a cycle is selected on rows set aside, and trained again on all rows; probabilities are averaged.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import TabularClassifier
    >>> colour = np.array(["red", "blue"] * 100, dtype=object)
    >>> table = np.column_stack([colour, np.arange(200.0) % 7])
    >>> model = TabularClassifier(preset="fast", max_epochs=8, random_state=0).fit(table, colour == "red")
    >>> model.predict(table[:3])
    array([ True, False,  True])
    """

    __doc__ = f"{__doc__}{documented(CLASS_WEIGHT, CLASSES)}"
    _parameter_constraints: dict[str, Any] = {
        **TabularEstimator._parameter_constraints,
        "class_weight": [dict, str, None],
    }
    _estimator_type_is_classifier = True
    classes_: np.ndarray

    def __init__(
        self,
        *,
        preset: str = "default",
        hidden_layer_sizes: Any = None,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        dropout: float | None = None,
        weight_decay: float | None = None,
        n_members: int | None = None,
        validation: Any = "auto",
        refit: bool = True,
        metric: Any = "auto",
        max_time: float | None = None,
        categorical_features: Any = "from_dtype",
        class_weight: Any = None,
        importances: bool = False,
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool = False,
        progress: Any = None,
    ) -> None:
        super().__init__(
            preset=preset,
            hidden_layer_sizes=hidden_layer_sizes,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            dropout=dropout,
            weight_decay=weight_decay,
            n_members=n_members,
            validation=validation,
            refit=refit,
            metric=metric,
            max_time=max_time,
            categorical_features=categorical_features,
            importances=importances,
            random_state=random_state,
            n_threads=n_threads,
            verbose=verbose,
            progress=progress,
        )
        self.class_weight = class_weight

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes for raw rows: float64 ndarray of shape (n_rows, n_classes)."""
        return self._mean(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    # Targets.

    def _as_targets(self, y: Any) -> np.ndarray:
        """Labels, one of each row."""
        labels = column_or_1d(np.asarray(y), warn=True)
        _refuse_missing(labels)
        check_classification_targets(labels)
        return labels

    def _summary(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which labels there are, ascending, and how many rows have each."""
        return np.unique(values, return_counts=True)

    def _describe(self, summaries: list[Any]) -> None:
        """Set ``classes_`` to the labels of all rows."""
        labels, counts = (np.concatenate(parts) for parts in zip(*summaries))
        self.classes_, codes = np.unique(labels, return_inverse=True)
        rows = np.bincount(codes, counts)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must have two classes or more; got 1 class, {self.classes_.tolist()[0]!r}, in all rows."
            )
        for name, count in zip(self.classes_.tolist(), rows):
            if count == 1 and rows.sum() > 2:
                warnings.warn(
                    f"Class {name!r} of y has a single row, which serves for training alone; add rows or merge rare "
                    "classes.",
                    stacklevel=4,
                )

    def _coded(self, values: np.ndarray) -> np.ndarray:
        """Class codes."""
        return np.searchsorted(self.classes_, values).astype(np.int64)

    def _checked_targets_again(self, y: Any) -> np.ndarray:
        labels = self._as_targets(y)
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(
                f"validation must hold classes of y; got {unknown.tolist()[0]!r}, which is not among them."
            )
        return self._coded(labels)

    def _strata(self, targets: np.ndarray) -> np.ndarray:
        """Codes of the classes that the rows have, from 0 on: a part of a table may lack some."""
        return np.unique(targets, return_inverse=True)[1]

    def _weighted(self, targets: np.ndarray, sample_weight: Any) -> Any:
        if self.class_weight is None:
            return sample_weight
        factors = compute_sample_weight(self.class_weight, self.classes_[targets])
        return factors if sample_weight is None else factors * sample_weight

    def _learned(self, targets: np.ndarray, X: np.ndarray, sample_weight: Any) -> Problem:
        weights = None if sample_weight is None else (sample_weight / np.mean(sample_weight)).astype(np.float32)
        if len(self.classes_) == 2:
            return Problem(X, targets[:, None].astype(np.float32), weights, LogLoss(), "logistic", 1)
        return Problem(X, targets, weights, LogLoss(), "softmax", len(self.classes_))

    def _finish(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities of all classes."""
        return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs

    def _score_of(self, scorer: Any, targets: np.ndarray, weights: Any) -> Any:
        return class_score(scorer, targets, self.classes_, weights if np.any(weights) else None)


def _refuse_missing(labels: np.ndarray) -> None:
    """Raise where a label is missing, with its row."""
    missing = np.isnan(labels) if labels.dtype.kind == "f" else ()
    if labels.dtype.kind == "O":
        missing = np.array([is_missing(label) for label in labels], bool)
    if np.any(missing):
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(
            f"Input y contains NaN: y must have a class in each row; got none in row {row}; drop such rows."
        )
