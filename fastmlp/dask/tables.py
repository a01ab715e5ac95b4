"""The estimators for raw tables on clusters: each shard trains its part of the networks, and all are averaged."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.validation import check_is_fitted

from ..delayed_parts import is_dask
from ..estimators.perceptron import unchanged_on_error
from ..tabular.classifier import CLASS_WEIGHT, CLASSES, TabularClassifier
from ..tabular.encoder import TableEncoder
from ..tabular.estimator import TabularEstimator, documented
from ..tabular.presets import PRESETS
from ..tabular.regressor import TabularRegressor
from .interface import OnClient, constructor
from .prediction import mapped
from .sources import source_of
from .table_parts import (
    SAMPLE_ROWS,
    TrainedShard,
    check_alike,
    drawn_rows,
    encoder_of,
    look_at,
    rows_of,
    sample_of,
    shard_of,
    summary_of,
    trained,
)

if TYPE_CHECKING:
    from typing_extensions import Self

FEWEST_MEMBERS = 2  # of a shard, where there are two at all: the first one has not seen the rows that validate
_OWN = {"client": None, "backend": "dask", "n_shards": None}
_PARAMETERS = """    client : dask.distributed.Client, default=None
        None for the one that is open. It belongs to this process: a pickle has none.
    backend : {'dask', 'joblib', 'local'}, default='dask'
        Who trains the shards: a cluster's workers, joblib's, or this process, one after the other.
    n_shards : int, default=None
        Parts of consecutive rows, each of which trains its share of ``n_members``, two at least unless that is 1; None
        for as many as there are workers. The result depends on it. One shard gives the local class's model. Progress
        counts shards; ``max_time`` is not served.
"""


class ShardsMixin(OnClient, TabularEstimator):
    """An estimator for tables that trains on the shards of a cluster; see `DaskTabularClassifier`."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "Self":
        """Train on the shards of a table.

        Parameters
        ----------
        X, y, sample_weight : Dask frames or arrays, or delayed blocks, with the same partitions of rows; or what the
            local class takes

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError, RuntimeError
            If a parameter, a column or the target cannot be used, versions differ between workers, or the scheduler is
            gone; in one sentence with the partition's name. The estimator then stays as it was.
        """
        with unchanged_on_error(self):
            self._check_arguments(y)
            self._fit_shards(X, y, sample_weight)
        return self

    def _check_arguments(self, y: Any) -> None:
        super()._check_arguments(y)
        self._check_cluster()
        if self.max_time is not None:
            raise ValueError(
                "max_time must be None to train on shards, whose result depends on no clock; got "
                f"{self.max_time!r}. Use max_epochs."
            )
        if isinstance(self.validation, tuple | list) and any(is_dask(values) for values in self.validation):
            raise ValueError("validation must hold tables in memory to train on shards; use compute().")

    def _fit_shards(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Look at the parts, choose the encoding, make shards, train, and average."""
        source = source_of(self, X, y, sample_weight, rows_of)
        plain = self._local()
        looks = source.of_each(partial(look_at, plain))
        check_alike(looks)
        rows, random_state = [look.n_rows for look in looks], check_random_state(self.random_state)
        drawn = drawn_rows(rows, SAMPLE_ROWS, random_state)
        choose = partial(encoder_of, TableEncoder(self.categorical_features), sum(rows))
        self.encoder_ = plain.encoder_ = source.of_each(sample_of, drawn, choose)
        self._copy_names()
        if self.verbose:
            self.encoder_.report_dropped()
        shards, n_shards = source.shards(rows, partial(shard_of, plain))
        summaries = source.of_shards(shards, summary_of, [plain] * n_shards)
        self._describe(summaries)
        work = [
            self._template(n_shards, summaries).set_params(random_state=seed)
            for seed in _seeds(self.random_state, random_state, n_shards)
        ]
        with nullcontext() if self.progress is None else self.progress(n_shards, sum(rows)) as display:
            done = None if display is None else lambda count: display.update(count, 0, None)
            found = source.of_shards(shards, trained, work, done)
        self._average(found)

    def _template(self, n_shards: int, summaries: Sequence[Any]) -> Any:
        """What trains on a shard: a local estimator that knows encoder and targets, for its share of the networks."""
        n_members = self.n_members or PRESETS[self.preset].n_members
        share = max(-(-n_members // n_shards), min(n_members, FEWEST_MEMBERS))
        local = self.to_local().set_params(n_members=share, verbose=False, progress=None)
        for name in _LEARNED:  # by a fit before
            local.__dict__.pop(name, None)
        return local

    def _average(self, found: Sequence[TrainedShard]) -> None:
        """Set the attributes that result: networks of all shards, which share the weight of their shard's rows."""
        found = [shard for shard in found if shard.share]
        if not found:
            raise ValueError("class_weight and sample_weight must leave a row that counts; all have weight 0.")
        shares = [shard.share for shard in found]
        parts = [shard.learned for shard in found]
        self.members_ = [
            replace(member, weight=member.weight * factor)
            for part, factor in zip(parts, _factors(parts, shares))
            for member in part["members_"]
        ]
        self.history_ = [{**item, "shard": n} for n, part in enumerate(parts) for item in part["history_"]]
        self.best_epoch_ = parts[int(np.argmax(shares))]["best_epoch_"]
        self.n_iter_ = max(part["n_iter_"] for part in parts)
        validated = [n for n, part in enumerate(parts) if "validation_targets_" in part]
        for name in ("validation_targets_", "validation_predictions_", "feature_importances_"):
            self.__dict__.pop(name, None)
        self.validation_score_ = float("nan")
        if validated:
            counts = [shares[n] for n in validated]
            each = [parts[n] for n in validated]
            self.validation_score_ = float(_mean([part["validation_score_"] for part in each], counts))
            for name in ("validation_targets_", "validation_predictions_"):
                setattr(self, name, np.concatenate([part[name] for part in each]))
            if self.importances:
                self.feature_importances_ = _mean([part["feature_importances_"] for part in each], counts)
        if self.verbose:
            print(
                f"{len(self.history_)} networks trained on {len(found)} shards, {len(self.members_)} of them averaged; "
                f"validation score {self.validation_score_:.4f}."
            )


_LEARNED = (
    "members_",
    "history_",
    "best_epoch_",
    "validation_score_",
    "n_iter_",
    "validation_targets_",
    "validation_predictions_",
    "feature_importances_",
)


def _seeds(given: Any, random_state: np.random.RandomState, n_shards: int) -> list[Any]:
    """A seed of each shard; of a single one what the local class would draw from."""
    if n_shards == 1 and given is not None:
        return [given]
    return [int(seed) for seed in random_state.randint(2**31, size=n_shards)]


def _factors(parts: Sequence[dict[str, Any]], shares: Sequence[float]) -> list[float]:
    """What the weights of each shard's networks are multiplied by; a single shard keeps them as they are."""
    if len(parts) == 1:
        return [1.0]
    sums = [sum(member.weight for member in part["members_"]) for part in parts]
    return [share / sum(shares) / total for share, total in zip(shares, sums)]


def _mean(values: Sequence[Any], weights: Sequence[float]) -> Any:
    """The weighted mean; of one value the value, to the bit."""
    return values[0] if len(values) == 1 else np.average(values, axis=0, weights=weights)


class DaskTabularClassifier(ShardsMixin, TabularClassifier):
    """`TabularClassifier`, trained on the shards of a cluster.

    One encoder for all is chosen by 100,000 rows of all partitions, or by all rows where there are fewer. Each shard
    trains networks on its rows; the model is the mean of all, by the weight of their rows. Predictions on Dask
    collections are Dask arrays; `to_local` gives the model without the cluster.
    """

    __doc__ = f"{__doc__}{documented(CLASS_WEIGHT + _PARAMETERS, CLASSES)}"
    __init__ = constructor(TabularClassifier, _OWN)
    _local = TabularClassifier

    def predict(self, X: Any) -> Any:
        """Labels, as `TabularClassifier.predict`; of a Dask collection, as a lazy Dask array."""
        check_is_fitted(self)
        return mapped(self.to_local(), "predict", X, self.classes_[:0])

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes, as `TabularClassifier.predict_proba`; of a Dask collection, as a Dask array."""
        check_is_fitted(self)
        return mapped(self.to_local(), "predict_proba", X, np.empty((0, len(self.classes_))))

    def _template(self, n_shards: int, summaries: Sequence[Any]) -> Any:
        """Weights of classes are those of all shards, of which one may lack some."""
        weights = self.class_weight
        if weights is not None:
            if weights == "balanced":
                labels, counts = (np.concatenate(parts) for parts in zip(*summaries))
                rows = np.bincount(np.searchsorted(self.classes_, labels), counts)
                numbers = rows.sum() / (len(rows) * rows)
            else:
                numbers = compute_class_weight(weights, classes=self.classes_, y=self.classes_)
            weights = dict(zip(self.classes_.tolist(), numbers.tolist()))
        return super()._template(n_shards, summaries).set_params(class_weight=weights)


class DaskTabularRegressor(ShardsMixin, TabularRegressor):
    """`TabularRegressor`, trained on the shards of a cluster; see `DaskTabularClassifier`.

    Targets are standardized, and predictions clipped, by the targets of all shards.
    """

    __doc__ = f"{__doc__}{documented(_PARAMETERS)}"
    __init__ = constructor(TabularRegressor, _OWN)
    _local = TabularRegressor

    def predict(self, X: Any) -> Any:
        """Numbers, as `TabularRegressor.predict`; of a Dask collection, as a lazy Dask array."""
        check_is_fitted(self)
        return mapped(self.to_local(), "predict", X, np.empty((0,) if self._flat else (0, self.n_outputs_)))
