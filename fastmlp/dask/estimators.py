"""The estimators for clusters: the local classes' parameters and those of the rounds."""

from typing import Any

from ..estimators import MLPClassifier, MLPRegressor
from .fitting import RoundsMixin
from .interface import constructor
from .prediction import mapped

_PARAMETERS = """
    Parameters
    ----------
    client : dask.distributed.Client, default=None
        None for the one that is open. It belongs to this process: a pickle has none.
    backend : {'dask', 'joblib', 'local'}, default='dask'
        Who computes the shards: a cluster's workers, joblib's, or this process, one after the other.
    n_shards : int, default=None
        Parts of consecutive rows that are trained on apart in a round; None for as many as there are workers. The
        result depends on it.
    n_rounds : int, default=None
        None for as many as see all rows ``max_iter`` times.
    steps_per_round : int, default=100
        Optimizer steps on each shard between two means.
    outer : {'average', 'nesterov'}, default='average'
        How the mean of the shards becomes the next round's start: as it is, or by a Nesterov step towards it, as in
        DiLoCo (arXiv:2311.08105), which learns more from the same rows where there are several shards.
    outer_learning_rate, outer_momentum : float, default=0.7 and 0.9
        Of 'nesterov'.
    checkpoint : path, default=None
        A file that holds the training after every ``checkpoint_every`` rounds; the same fit goes on from it.
    checkpoint_every : int, default=1
    others : those of the local class
        A worker trains with its own threads. Early stopping needs X_val; it counts rounds. What only a local fit knows,
        such as ``metrics`` or ``max_time``, is refused.
    """


_OWN = {
    "client": None,
    "backend": "dask",
    "n_shards": None,
    "n_rounds": None,
    "steps_per_round": 100,
    "outer": "average",
    "outer_learning_rate": 0.7,
    "outer_momentum": 0.9,
    "checkpoint": None,
    "checkpoint_every": 1,
}


class DaskMLPClassifier(RoundsMixin, MLPClassifier):
    """`MLPClassifier`, trained by rounds on the shards of a cluster.

    Predictions on Dask collections are Dask collections; `to_local` gives the model without the cluster.
    """

    __doc__ = f"{__doc__}\n{_PARAMETERS}"
    __init__ = constructor(MLPClassifier, _OWN)
    _local = MLPClassifier

    def predict(self, X: Any) -> Any:
        """Labels, as `MLPClassifier.predict`; of a Dask collection, as a lazy Dask array."""
        return mapped(self.to_local(), "predict", X)

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes, as `MLPClassifier.predict_proba`; of a Dask collection, as a Dask array."""
        return mapped(self.to_local(), "predict_proba", X)

    def decision_function(self, X: Any) -> Any:
        """Scores of the classes, as `MLPClassifier.decision_function`; of a Dask collection, as a Dask array."""
        return mapped(self.to_local(), "decision_function", X)


class DaskMLPRegressor(RoundsMixin, MLPRegressor):
    """`MLPRegressor`, trained by rounds on the shards of a cluster.

    Predictions on Dask collections are Dask collections; `to_local` gives the model without the cluster.
    """

    __doc__ = f"{__doc__}\n{_PARAMETERS}"
    __init__ = constructor(MLPRegressor, _OWN)
    _local = MLPRegressor

    def predict(self, X: Any) -> Any:
        """Numbers, as `MLPRegressor.predict`; of a Dask collection, as a lazy Dask array."""
        return mapped(self.to_local(), "predict", X)
