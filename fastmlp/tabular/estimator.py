"""What both estimators for tables do: check, encode, divide the rows, search, and remember."""

from contextlib import nullcontext
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..estimators.perceptron import unchanged_on_error
from ..estimators.sklearn_internals import Interval, StrOptions, check_sample_weight
from .encoder import TableEncoder
from .importance import permutation_importance
from .members import Member
from .metric import checked_scorer, wants_probabilities
from .presets import PRESETS, Recipe, resolve
from .search import Clock, Outcome, Search
from .selection import Split, checked_validation, splits_of
from .training import Problem

if TYPE_CHECKING:
    from typing_extensions import Self

_COUNT = Interval(Integral, 1, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")

_DOCUMENTED = """
    Parameters
    ----------
    preset : {{'fast', 'default', 'best'}}, default='default'
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
        What selects, higher is better: 'auto' is the accuracy of classes and R², the mean of all outputs, of numbers.
        For 'log_loss', 'roc_auc' and other metrics of probabilities labels are not smoothed.
    max_time : float or None, default=None
        Seconds for all of it. Fewer networks and shorter trainings are planned where it is short; when it is over, the
        best so far is kept.
    categorical_features : 'from_dtype' or array-like, default='from_dtype'
        See `TableEncoder`.
{parameters}    importances : bool, default=False
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
{attributes}    members_ : list of `fastmlp.tabular.members.Member`, the networks averaged
    history_ : list of dicts, one for each network trained: recipe, loss, validation_score and seconds of each epoch
    best_epoch_ : epochs of the network that was selected first
    validation_score_ : of the selected networks together, before the refit; NaN without validation rows
    validation_targets_, validation_predictions_ : of the validation rows class codes and probabilities, or numbers
    feature_importances_ : ndarray of shape (n_features_in_,), where asked for
    n_features_in_, feature_names_in_ : of the table
    n_iter_ : epochs of the longest training
    """


def documented(parameters: str = "", attributes: str = "") -> str:
    """Parameters and attributes of an estimator for tables, with those of its own, for its docstring."""
    return _DOCUMENTED.format(parameters=parameters, attributes=attributes)


_NO_WEIGHT = "sample_weight must hold no negative numbers and a positive one."


def checked_weights(sample_weight: Any, table: Any) -> np.ndarray:
    """Weights of the rows of a table as float64, none of them negative."""
    weights: np.ndarray = check_sample_weight(sample_weight, table, dtype=np.float64)
    if len(weights) and not weights.min() >= 0:
        raise ValueError(_NO_WEIGHT)
    return weights


class TabularEstimator(BaseEstimator):
    """The common part; a subclass knows its targets.

    It gives ``_as_targets`` (y -> checked values), ``_summary`` (values -> what is to be known of them), ``_describe``
    (summaries of all rows, in parts -> attributes), ``_coded`` (values -> targets), ``_learned`` (targets -> Problem),
    ``_finish`` (outputs of a network -> predictions that are scored) and ``_score_of`` (rows -> a score of such
    predictions).
    """

    _parameter_constraints: dict[str, Any] = {
        "preset": [StrOptions(set(PRESETS))],
        "hidden_layer_sizes": ["array-like", _COUNT, None],
        "max_epochs": [_COUNT, None],
        "batch_size": [_COUNT, None],
        "learning_rate": [_POSITIVE, None],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "n_members": [_COUNT, None],
        "refit": ["boolean"],
        "max_time": [_POSITIVE, None],
        "importances": ["boolean"],
        "n_threads": [_COUNT, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _estimator_type_is_classifier: bool
    encoder_: TableEncoder
    members_: list[Member]

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

    # Subclasses.

    def _as_targets(self, y: Any) -> np.ndarray:
        raise NotImplementedError

    def _summary(self, values: np.ndarray) -> Any:
        raise NotImplementedError

    def _describe(self, summaries: list[Any]) -> None:
        raise NotImplementedError

    def _coded(self, values: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _learned(self, targets: np.ndarray, X: np.ndarray, sample_weight: Any) -> Problem:
        raise NotImplementedError

    def _finish(self, outputs: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _score_of(self, scorer: Any, targets: np.ndarray, weights: Any) -> Any:
        raise NotImplementedError

    def _weighted(self, targets: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        return sample_weight

    # Fitting.

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Self":
        """Train on a table.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, or array-like of shape (n_rows, n_columns)
        y : array-like of shape (n_rows,), or (n_rows, n_outputs) in regression
        sample_weight : array-like of shape (n_rows,), or None

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter, a column or the target cannot be used; in one sentence with what to do. The estimator then
            stays as it was.
        """
        with unchanged_on_error(self):
            self._fit(X, y, sample_weight)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        self._check_arguments(y)
        self.encoder_ = TableEncoder(self.categorical_features, verbose=bool(self.verbose))
        encoded = self.encoder_.fit_transform(X)
        self._copy_names()
        values = self._as_targets(y)
        self._describe([self._summary(values)])
        if len(values) != len(encoded):
            raise ValueError(
                f"Found input variables with inconsistent numbers of samples: [{len(encoded)}, {len(values)}]"
            )
        weights = None if sample_weight is None else checked_weights(sample_weight, encoded)
        if weights is not None and not weights.max() > 0:
            raise ValueError(_NO_WEIGHT)
        self._fit_encoded(encoded, self._coded(values), weights)

    def _check_arguments(self, y: Any) -> None:
        """Refuse parameters that cannot be used, and rows without targets, before any row is read."""
        self._validate_params()
        checked_scorer(self.metric)
        checked_validation(self.validation)
        self._recipes()
        if y is None:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")

    def _fit_encoded(self, encoded: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> None:
        """Train on encoded rows, where the encoder and what describes the targets are known; set what results.

        Parameters
        ----------
        encoded : float32 ndarray of shape (n_rows, n_encoded)
        targets : what `_coded` gives for each row
        weights : ndarray of shape (n_rows,), or None
        """
        n_rows, validation = len(encoded), self.validation
        random_state = check_random_state(self.random_state)
        if isinstance(validation, tuple | list):
            encoded, targets, splits = self._with_given(encoded, targets, validation)
            weights = None if weights is None else np.concatenate([weights, np.ones(len(targets) - n_rows)])
        else:
            splits = splits_of(validation, n_rows, self._strata(targets), random_state)
        self._search(encoded, targets, weights, splits, np.arange(n_rows), random_state)

    def _with_given(self, encoded: np.ndarray, targets: np.ndarray, given: Any) -> tuple[np.ndarray, Any, list[Split]]:
        """The table with the user's validation rows at its end."""
        X, y = given
        rows, values = self.encoder_.transform(X), self._checked_targets_again(y)
        if len(rows) != len(values):
            raise ValueError(f"validation must have as many rows in X as in y; got {len(rows)} and {len(values)}.")
        n = len(encoded)
        split = Split(np.arange(n), np.arange(n, n + len(rows)))
        return np.concatenate([encoded, rows]), np.concatenate([targets, values]), [split]

    def _search(
        self,
        encoded: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        splits: list[Split],
        rows: np.ndarray,
        random_state: Any,
    ) -> None:
        """Train and select; set the attributes that result."""
        scorer = checked_scorer(self.metric)
        preset, recipes = self._recipes()
        n_members = self.n_members or preset.n_members
        validates = bool(len(splits[0].validation))
        weights = self._weighted(targets, weights)
        problem = self._learned(targets, encoded, weights)

        def score_of(some: np.ndarray) -> Any:
            return self._score_of(scorer, targets[some], None if weights is None else weights[some])

        def error_of(some: np.ndarray) -> Any:
            good = self._score_of(None, targets[some], None if weights is None else weights[some])
            return lambda outputs: 1 - good(outputs).value

        total = sum(recipe.max_epochs for recipe in recipes) * preset.seeds * len(splits)
        total += n_members * max(recipe.max_epochs for recipe in recipes) * self.refit
        with nullcontext() if self.progress is None else self.progress(total, len(rows)) as display:
            search = Search(
                problem,
                self.encoder_.bin_columns(),
                splits,
                refit_rows=rows if self.refit and validates else None,
                finish=self._finish,
                score_of=score_of,
                error_of=error_of,
                clock=Clock(self.max_time, display, total),
                n_threads=self.n_threads,
            )
            outcome = search.run(preset, recipes, n_members, random_state)
        self._remember(outcome)
        if self.importances and validates:
            self._rank(outcome, encoded, splits, score_of, random_state)
        if validates:
            validated = np.concatenate([split.validation for split in splits])
            self.validation_targets_ = targets[validated]
            self.validation_predictions_ = outcome.outputs

    def _recipes(self) -> tuple[Any, tuple[Recipe, ...]]:
        sizes = self.hidden_layer_sizes
        if sizes is not None:
            sizes = tuple(int(size) for size in np.atleast_1d(sizes))
            if not sizes or min(sizes) < 1:
                raise ValueError(f"hidden_layer_sizes must be > 0, got {list(sizes)}.")
        changes = {"hidden_layer_sizes": sizes}
        changes |= {
            name: getattr(self, name)
            for name in ("max_epochs", "batch_size", "learning_rate", "dropout", "weight_decay")
        }
        return resolve(
            self.preset,
            classes=self._estimator_type_is_classifier,
            smooth_labels=not wants_probabilities(self.metric),
            changes=changes,
        )

    def _remember(self, outcome: Outcome) -> None:
        self.members_ = outcome.members
        self.history_ = outcome.history
        self.best_epoch_ = outcome.best_epoch
        self.validation_score_ = outcome.score
        self.n_iter_ = max(len(item["loss"]) for item in outcome.history)
        if self.verbose:
            print(
                f"{len(outcome.history)} networks trained, {len(self.members_)} of them averaged; best epoch "
                f"{self.best_epoch_}, validation score {self.validation_score_:.4f}."
            )

    def _rank(
        self, outcome: Outcome, encoded: np.ndarray, splits: list[Split], score_of: Any, random_state: Any
    ) -> None:
        """Set ``feature_importances_``: what the networks lose that have not seen the rows."""
        rows = splits[0].validation
        validated = outcome.validated[:1] if len(splits) > 1 else outcome.validated
        score = score_of(rows)
        self.feature_importances_ = permutation_importance(
            encoded[rows],
            self.encoder_,
            lambda X: score(self._mean_of(validated, X)).value,
            random_state,
        )

    # Prediction.

    def _mean(self, X: Any) -> np.ndarray:
        """Finished predictions for raw rows, the members' mean."""
        check_is_fitted(self)
        encoded = self.encoder_.transform(X)
        return self._mean_of(self.members_, encoded)

    def _mean_of(self, members: list[Member], encoded: np.ndarray) -> np.ndarray:
        """Finished predictions for encoded rows, the weighted mean of some members'."""
        finished = [self._finish(member.outputs(encoded, self.n_threads)) for member in members]
        return np.average(finished, axis=0, weights=[member.weight for member in members])

    # scikit-learn's protocols.

    def _copy_names(self) -> None:
        self.n_features_in_ = self.encoder_.n_features_in_
        if hasattr(self.encoder_, "feature_names_in_"):
            self.feature_names_in_ = self.encoder_.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags
