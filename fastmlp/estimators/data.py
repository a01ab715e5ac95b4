"""Checked data of one fit: rows, targets and weights, and which of them train and which validate."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from .sklearn_internals import check_sample_weight
from .targets import Targets


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


class TrainingData(NamedTuple):
    """Checked data of one call to fit; ``training_rows`` and ``validation_rows`` index them, nothing is copied.

    Attributes
    ----------
    X, targets : all rows
    sample_weight, scoring_weight : weights in the loss, classes' weights included; weights in scores
    training_rows, validation_rows : indices; None where no rows are set aside
    given : validation data that were passed to fit, or None
    stream : where X is blocks: what trains on them; the other fields hold examples of their rows
    """

    X: Any
    targets: Targets
    sample_weight: np.ndarray | None
    scoring_weight: np.ndarray | None
    training_rows: Any
    validation_rows: np.ndarray | None = None
    given: ValidationData | None = None
    stream: Any = None


def checked_weights(weights: Any, X: Any, name: str = "sample_weight") -> np.ndarray | None:
    """Weights of rows in X's dtype, not all of them 0, and neither too small nor too large for the dtype.

    They are checked in float64, since a weight that float32 cannot hold would be zero or infinite in silence. Their
    bounds are the roots of the dtype's: products with losses and gradients stay within it.
    """
    if weights is None:
        return None
    weights = check_sample_weight(weights, X, dtype=np.float64)
    greatest = np.abs(weights).max(initial=0)
    if greatest == 0:
        raise ValueError("Sample weights must contain at least one non-zero number.")  # as scikit-learn from 1.9 on
    limits = np.finfo(X.dtype)
    low, high = float(limits.tiny) ** 0.5, float(limits.max) ** 0.5
    if greatest < low or np.abs(weights).sum() > high:
        remedy = "Divide by the mean" if name == "class_weight" else f"Divide by the mean: {name} / np.mean({name})"
        raise ValueError(
            f"{name} must have a sum over all rows of at most {high:.0e} and a greatest number of at least {low:.0e} "
            f"in {X.dtype}; the greatest is {greatest:g}. {remedy}."
        )
    return np.ascontiguousarray(weights, dtype=X.dtype)


def with_class_weights(
    sample_weight: np.ndarray | None, class_weight: Any, targets: Targets, X: Any
) -> np.ndarray | None:
    """Weights of rows in the loss: checked sample weights times those of the classes; None where all weigh alike."""
    if class_weight is None:
        return sample_weight
    by_class = targets.kind.weights(class_weight, targets.values, sample_weight)
    return checked_weights(by_class if sample_weight is None else by_class * sample_weight, X, "class_weight")


def set_aside(data: TrainingData, fraction: float, random_state: np.random.RandomState) -> TrainingData:
    """Set rows aside for early stopping, by index: the same rows and random stream as splitting the data."""
    training_rows, validation_rows = train_test_split(
        data.training_rows, random_state=random_state, test_size=fraction, stratify=data.targets.stratify
    )
    if len(validation_rows) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    for weights, rows, what in (
        (data.scoring_weight, validation_rows, "set aside for validation"),
        (data.sample_weight, training_rows, "left to train on"),
    ):
        if weights is not None and not weights[rows].any():
            raise ValueError(
                f"sample_weight must not be zero on all of the {len(rows)} rows that early stopping has {what}; leave "
                "out rows of weight zero, or give X_val and y_val."
            )
    return data._replace(training_rows=training_rows, validation_rows=validation_rows)
