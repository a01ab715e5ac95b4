"""Training on a cluster: scikit-learn's interface over Dask collections, by rounds on shards that stay on workers.

>>> from dask.distributed import Client                                       # doctest: +SKIP
>>> from fastmlp.dask import DaskMLPClassifier                                # doctest: +SKIP
>>> model = DaskMLPClassifier(client=Client(), random_state=0).fit(X, y)      # doctest: +SKIP

A round is a pure function (see `fastmlp.rounds`): the result depends on the data, the seed and the number of shards,
and not on which worker did what. ``backend="joblib"`` and ``backend="local"`` train the same model without a cluster.
Raw tables have `DaskTabularClassifier` and `DaskTabularRegressor`, for which every shard trains networks of its own.
"""

from .estimators import DaskMLPClassifier, DaskMLPRegressor
from .tables import DaskTabularClassifier, DaskTabularRegressor

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor", "DaskTabularClassifier", "DaskTabularRegressor"]
