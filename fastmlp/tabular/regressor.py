"""`TabularRegressor`."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from ..losses import SquaredError
from .estimator import TabularEstimator
from .metric import number_score
from .training import Problem


class TabularRegressor(RegressorMixin, TabularEstimator):
    """A regressor of raw tables, strong with its defaults.

    Columns are encoded by `TableEncoder`; targets are standardized, and predictions clipped to the range of the targets
    seen. Networks of the preset's recipes are trained side by side, for noisy targets and for smooth ones; the best at
    the best end of a cycle is selected on rows set aside, and trained again on all rows; predictions are averaged.

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
        What selects, higher is better: 'auto' is R², the mean of all outputs.
    max_time : float or None, default=None
        Seconds for all of it. Fewer networks and shorter trainings are planned where it is short; when it is over, the
        best so far is kept.
    categorical_features : 'from_dtype' or array-like, default='from_dtype'
        See `TableEncoder`.
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
    members_ : list of `fastmlp.tabular.members.Member`, the networks averaged
    history_ : list of dicts, one for each network trained: recipe, loss, validation_score and seconds of each epoch
    best_epoch_ : epochs of the network that was selected first
    validation_score_ : of the selected networks together, before the refit; NaN without validation rows
    validation_targets_, validation_predictions_ : targets of the validation rows, and predictions
    feature_importances_ : ndarray of shape (n_features_in_,), where asked for
    n_features_in_, feature_names_in_ : of the table
    n_iter_ : epochs of the longest training

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import TabularRegressor
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> model = TabularRegressor(preset="fast", random_state=0).fit(X, 1e6 * X[:, 0] * X[:, 1])
    >>> model.score(X, 1e6 * X[:, 0] * X[:, 1]) > 0.95
    True
    """

    _estimator_type_is_classifier = False

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
        self.importances = importances
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose
        self.progress = progress

    def predict(self, X: Any) -> np.ndarray:
        """Predictions for raw rows: float64 ndarray of shape (n_rows,), or (n_rows, n_outputs)."""
        values = self._mean(X)
        return values.ravel() if self._flat else values

    # Targets.

    def _checked_targets(self, y: Any) -> np.ndarray:
        """Targets of shape (n_rows, n_outputs); sets what they are standardized by."""
        values = _as_numbers(y)
        self._flat = values.ndim == 1
        values = values.reshape(len(values), -1)
        self._center, spread = values.mean(axis=0), values.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        self._low, self._high = values.min(axis=0), values.max(axis=0)
        self.n_outputs_ = values.shape[1]
        return values

    def _checked_targets_again(self, y: Any) -> np.ndarray:
        values = _as_numbers(y)
        values = values.reshape(len(values), -1)
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
