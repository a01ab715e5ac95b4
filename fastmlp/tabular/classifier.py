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
from .estimator import TabularEstimator
from .metric import class_score
from .training import Problem


class TabularClassifier(ClassifierMixin, TabularEstimator):
    """A classifier of raw tables, strong with its defaults.

    Columns are encoded by `TableEncoder`; networks of the preset's recipes are trained side by side, the best at the
    best end of a cycle is selected on rows set aside, and trained again on all rows; probabilities are averaged.

    Parameters
    ----------
    preset : {'fast', 'default', 'best'}, default='default'
        A row of `fastmlp.tabular.presets.PRESETS`. None below means its number.
    hidden_layer_sizes : sequence of int, int or None, default=None
    max_epochs : int or None, default=None
        Epochs of a network, of which the best end of a cycle counts.
    batch_size : int or None, default=None
    learning_rate : float or None, default=None
        The greatest rate.
    dropout, weight_decay : float or None, default=None
        Until half of the training; then they fall to 0.
    n_members : int or None, default=None
        Networks averaged.
    validation : 'auto', float, int, splitter, pair (X, y) or None, default='auto'
        Rows by which to select: a share of them (a fifth by default, and none of a table below 40 rows), so many folds,
        a splitter's folds, or data of one's own. None trains as long as it may and selects nothing.
    refit : bool, default=True
        Train what was selected again, on all rows of the table, and average it with what was selected.
    metric : 'auto', str or scorer, default='auto'
        What selects, higher is better: 'auto' is the accuracy. For 'log_loss', 'roc_auc' and other metrics of
        probabilities labels are not smoothed.
    max_time : float or None, default=None
        Seconds for all of it. Fewer networks and shorter trainings are planned where it is short; when it is over, the
        best so far is kept.
    categorical_features : 'from_dtype' or array-like, default='from_dtype'
        See `TableEncoder`.
    class_weight : dict, 'balanced' or None, default=None
        Weights of the classes, on validation rows too.
    importances : bool, default=False
        Find ``feature_importances_``, which takes five predictions of the validation rows for each column.
    random_state : int, RandomState or None, default=None
    n_threads : int or None, default=None
        Threads; None for the process's free cores. Results are the same to the bit for any number.
    verbose : bool, default=False
        Print dropped columns and what was selected.
    progress : callable or None, default=None
        Such as `fastmlp.progress.bar`, over the epochs of all networks.

    Attributes
    ----------
    encoder_ : TableEncoder, fitted
    classes_ : ndarray of shape (n_classes,)
    members_ : list of `fastmlp.tabular.members.Member`, the networks averaged
    history_ : list of dicts, one for each network trained: recipe, loss, validation_score and seconds of each epoch
    best_epoch_ : epochs of the network that was selected first
    validation_score_ : of the selected networks together, before the refit; NaN without validation rows
    validation_targets_, validation_predictions_ : class codes of the validation rows, and their probabilities
    feature_importances_ : ndarray of shape (n_features_in_,), where asked for
    n_features_in_, feature_names_in_ : of the table
    n_iter_ : epochs of the longest training

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
        self.preset = preset
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.n_members = n_members
        self.validation = validation
        self.refit = refit
        self.metric = metric
        self.max_time = max_time
        self.categorical_features = categorical_features
        self.class_weight = class_weight
        self.importances = importances
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose
        self.progress = progress

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes for raw rows: float64 ndarray of shape (n_rows, n_classes)."""
        return self._mean(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    # Targets.

    def _checked_targets(self, y: Any) -> np.ndarray:
        """Class codes; sets ``classes_``."""
        labels = column_or_1d(np.asarray(y), warn=True)
        _refuse_missing(labels)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must have two classes or more; got 1 class, {self.classes_.tolist()[0]!r}, in all rows."
            )
        for name, count in zip(self.classes_.tolist(), np.bincount(codes)):
            if count == 1 and len(codes) > 2:
                warnings.warn(
                    f"Class {name!r} of y has a single row, which serves for training alone; add rows or merge rare "
                    "classes.",
                    stacklevel=5,
                )
        return codes.astype(np.int64)

    def _checked_targets_again(self, y: Any) -> np.ndarray:
        labels = column_or_1d(np.asarray(y))
        _refuse_missing(labels)
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(
                f"validation must hold classes of y; got {unknown.tolist()[0]!r}, which is not among them."
            )
        return np.searchsorted(self.classes_, labels).astype(np.int64)

    def _strata(self, targets: np.ndarray) -> np.ndarray:
        return targets

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
