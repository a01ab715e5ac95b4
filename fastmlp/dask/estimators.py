"""The estimators for clusters: the local classes' parameters and those of the rounds."""

import inspect
from collections.abc import Callable
from typing import Any

from ..estimators import MLPClassifier, MLPRegressor
from .fitting import RoundsMixin
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


def _constructor(local: Any) -> Callable[..., None]:
    """A constructor that takes the parameters of a local class, then those of the rounds."""

    def __init__(
        self: Any,
        *arguments: Any,
        client: Any = None,
        backend: str = "dask",
        n_shards: int | None = None,
        n_rounds: int | None = None,
        steps_per_round: int = 100,
        outer: str = "average",
        outer_learning_rate: float = 0.7,
        outer_momentum: float = 0.9,
        checkpoint: Any = None,
        checkpoint_every: int = 1,
        **parameters: Any,
    ) -> None:
        local.__init__(self, *arguments, **parameters)
        self.client = client
        self.backend = backend
        self.n_shards = n_shards
        self.n_rounds = n_rounds
        self.steps_per_round = steps_per_round
        self.outer = outer
        self.outer_learning_rate = outer_learning_rate
        self.outer_momentum = outer_momentum
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every

    own = [p for p in inspect.signature(__init__).parameters.values() if p.kind is p.KEYWORD_ONLY]
    theirs = inspect.signature(local.__init__).parameters.values()
    __init__.__signature__ = inspect.Signature([*theirs, *own])  # type: ignore[attr-defined]
    return __init__


class DaskMLPClassifier(RoundsMixin, MLPClassifier):
    """`MLPClassifier`, trained by rounds on the shards of a cluster.

    Predictions on Dask collections are Dask collections; `to_local` gives the model without the cluster.
    """

    __doc__ = f"{__doc__}\n{_PARAMETERS}"
    __init__ = _constructor(MLPClassifier)
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
    __init__ = _constructor(MLPRegressor)
    _local = MLPRegressor

    def predict(self, X: Any) -> Any:
        """Numbers, as `MLPRegressor.predict`; of a Dask collection, as a lazy Dask array."""
        return mapped(self.to_local(), "predict", X)
