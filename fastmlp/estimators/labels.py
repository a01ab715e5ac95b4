"""Labels of classification and their codes: what y may be, what the loss and the scores make of it."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from ..losses import KLDivergence, Loss
from .evaluation import EvaluationSet
from .targets import Targets


def columns_are_classes(one_hot: bool, loss: Loss) -> bool:
    """Whether y is a matrix whose columns are the classes of one label for each row."""
    return one_hot or isinstance(loss, KLDivergence)


def known_codes(y: np.ndarray, classes: np.ndarray) -> np.ndarray | None:
    """Positions of labels, of shape (n_samples,), in the sorted classes; None if there is one that they do not hold."""
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    return codes if np.array_equal(classes[codes], y) else None


def without_sparse(y: Any) -> Any:
    """A matrix of classes as an array: what OneHotEncoder gives is sparse, and small enough."""
    return y.toarray() if issparse(y) else y


def classes_of_columns(y: Any, loss: Loss) -> np.ndarray:
    """The labels of the columns of y: 0, 1, 2, ..., or those that the loss has been given.

    Raises
    ------
    ValueError
        If y has not a column for each class.
    """
    n_classes = np.shape(y)[1] if np.ndim(y) == 2 else 0
    given = getattr(loss, "classes", None)
    classes = np.arange(n_classes) if given is None else np.array(given)
    if len(set(classes.tolist())) < len(classes):
        raise ValueError(f"classes of KLDivergence must be different from each other; got {given!r}.")
    if n_classes < 2 or len(classes) != n_classes:
        expected = "at least 2 columns" if given is None else f"{len(classes)} columns, as classes are given"
        raise ValueError(f"y must be a matrix of {expected}, one for each class; got shape {np.shape(y)}.")
    return classes


def checked_probabilities(y: np.ndarray, n_classes: int, dtype: np.dtype, *, one_hot: bool) -> np.ndarray:
    """y as a matrix of probabilities of the classes, whose rows sum to 1; of 0 and 1 alone if it is one-hot."""
    try:
        matrix = np.ascontiguousarray(y, dtype=dtype)
    except (TypeError, ValueError):
        matrix = np.zeros(0, dtype)
    if matrix.ndim != 2 or matrix.shape[1] != n_classes:
        raise ValueError(f"y must be a matrix of {n_classes} columns, one for each class; got shape {np.shape(y)}.")
    good = (matrix >= 0) & np.isclose(matrix.sum(axis=1, keepdims=True), 1, atol=1e-3)
    if one_hot:
        good &= (matrix == 0) | (matrix == 1)
    if not good.all():
        row = int(np.flatnonzero(~good.all(axis=1))[0])
        kind = "one 1 and zeros beside it" if one_hot else "probabilities that sum to 1"
        raise ValueError(f"y must hold {kind} in each row; got {matrix[row].tolist()} in row {row}.")
    return matrix


def fitted_binarizer(y: np.ndarray) -> LabelBinarizer:
    """LabelBinarizer().fit of checked labels.

    Integers, booleans and strings are labels for certain, unless there are so many that scikit-learn warns; its own
    checks take as long as a short training.
    """
    if y.ndim == 1 and y.dtype.kind in "biuU":
        classes = np.unique(y)
        if 2 * len(classes) <= len(y):
            binarizer = LabelBinarizer()
            binarizer.classes_, binarizer.sparse_input_ = classes, False
            binarizer.y_type_ = "multiclass" if len(classes) > 2 else "binary"
            return binarizer
    return LabelBinarizer().fit(y)


@dataclass(frozen=True)
class Labels:
    """The labels that a classifier knows.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,), sorted
    binarizer : LabelBinarizer that was fitted on them
    """

    classes: np.ndarray
    binarizer: LabelBinarizer
    score_name: ClassVar[str] = "accuracy"
    best_score: ClassVar[float] = 1.0

    @property
    def multilabel(self) -> bool:
        """Whether y is a 0/1 matrix with any number of labels for each row."""
        return self.binarizer.y_type_.startswith("multilabel")

    def targets(self, y: np.ndarray, dtype: np.dtype, loss: Loss, output: str, one_hot: bool) -> Targets:
        """Checked labels as the loss wants them: class codes for a softmax, else a matrix of the dtype."""
        n_classes = len(self.classes)
        if columns_are_classes(one_hot, loss):
            matrix = checked_probabilities(y, n_classes, dtype, one_hot=one_hot)
            matrix = np.ascontiguousarray(matrix[:, np.argsort(classes_of_columns(y, loss))])
            if isinstance(loss, KLDivergence):
                return Targets(matrix, n_classes, loss.outputs[0] if output == "auto" else output, self)
            y = self.classes[matrix.argmax(axis=1)]
        output = self.output_activation(loss, output)
        if output == "softmax":
            if self.multilabel:
                raise ValueError("output_activation 'softmax' requires one label for each row; y is multilabel.")
            codes = np.searchsorted(self.classes, y).astype(np.int64, copy=False)
            return Targets(codes, n_classes, output, self)
        if self.multilabel:
            matrix = self.binarizer.transform(y)
        else:  # `LabelBinarizer.transform`, whose checks of what has been checked take as long as a short training
            matrix = y[:, None] == (self.classes if n_classes > 2 else self.classes[1:])
            matrix = matrix if n_classes > 1 else np.zeros((len(y), 1))
        stratify = np.where(matrix[:, 0], "True", "False") if matrix.shape[1] == 1 else None
        return Targets(np.ascontiguousarray(matrix, dtype), matrix.shape[1], output, self, stratify)

    def output_activation(self, loss: Loss, chosen: str) -> str:
        """The chosen one; for 'auto' softmax for one label among three or more where the loss has it, else its own."""
        if chosen != "auto":
            return chosen
        canonical = "softmax" if self.binarizer.y_type_ == "multiclass" else "logistic"
        return canonical if canonical in loss.outputs and loss.outputs[0] == "softmax" else loss.outputs[0]

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Class codes from `Targets.values` of one label for each row."""
        if values.ndim == 1:
            return values
        return values[:, 0].astype(np.intp) if values.shape[1] == 1 else values.argmax(axis=1)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Labels from `Targets.values`."""
        return values.astype(np.intp) if self.multilabel else self.classes[self.codes(values)]

    def decide(self, outputs: np.ndarray) -> np.ndarray:
        """From a network's outputs to codes of shape (n_rows,), or to a 0/1 matrix."""
        if self.multilabel:
            return (outputs > 0.5).astype(np.intp)
        if outputs.shape[1] > 1:
            return outputs.argmax(axis=1)
        return (outputs[:, 0] > (np.inf if len(self.classes) == 1 else 0.5)).astype(np.intp)

    def score(self, sample: EvaluationSet, loss: Loss, output: str) -> Callable[[], float]:
        """Accuracy on a sample: the share of the rows' weights whose prediction is right in every label."""

        def right(outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
            if self.multilabel:
                return (self.decide(outputs) == truth).all(axis=1)
            return self.decide(outputs) == self.codes(truth)

        return lambda: sample.average(right)

    def weights(self, class_weight: Any, values: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
        """Weight of each row by its class, without ``sample_weight``.

        'balanced' is Σ w / (n_classes * Σ w over the rows of the class), w the sample weights, as in scikit-learn's
        LogisticRegression. For multilabel the weights of a row's columns are multiplied.
        """
        codes = None if self.multilabel else self.codes(values)
        if isinstance(class_weight, str):
            columns = values.T.astype(np.intp) if codes is None else [codes]
            return np.prod([balanced_weights(column, sample_weight) for column in columns], axis=0)
        for weights in class_weight if isinstance(class_weight, list) else [class_weight]:
            check_class_weights(weights)
        if codes is None:
            return compute_sample_weight(class_weight, values.astype(np.intp))
        if isinstance(class_weight, list):
            raise ValueError("class_weight may be a list of dicts for multilabel targets only; give a dict.")
        return compute_class_weight(class_weight, classes=self.classes, y=self.classes[codes])[codes]


def balanced_weights(codes: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """Σ w / (n_classes * Σ w over the rows of the class) for each row; classes without a row do not count."""
    sums = np.bincount(codes, weights=sample_weight).astype(np.float64)
    weightless = sums == 0
    n_classes = np.count_nonzero(np.bincount(codes))
    return np.where(weightless, 1.0, sums.sum() / (n_classes * np.where(weightless, 1.0, sums)))[codes]


def check_class_weights(weights: Any) -> None:
    """Refuse a dict {label: weight} with a weight that is none."""
    for label, weight in weights.items() if isinstance(weights, dict) else ():
        if not isinstance(weight, Real) or not 0 <= float(weight) < np.inf:
            raise ValueError(f"class_weight must hold numbers in [0, inf); got {weight!r} for label {label!r}.")
