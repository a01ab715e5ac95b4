"""What all estimators for clusters share: parameters beside the local ones, the local model, clones and pickles."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score

from ..delayed_parts import is_dask

BACKENDS = ("dask", "joblib", "local")


def constructor(local: Any, own: dict[str, Any]) -> Callable[..., None]:
    """A constructor that takes the parameters of a local class, then others with their defaults."""

    def __init__(self: Any, *arguments: Any, **parameters: Any) -> None:
        chosen = {name: parameters.pop(name, default) for name, default in own.items()}
        local.__init__(self, *arguments, **parameters)
        vars(self).update(chosen)

    theirs = inspect.signature(local.__init__).parameters.values()
    ours = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=own[name]) for name in own]
    __init__.__signature__ = inspect.Signature([*theirs, *ours])  # type: ignore[attr-defined]
    return __init__


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuse a parameter that is none of some names."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}.")


def check_count(name: str, value: Any) -> None:
    """Refuse a parameter that is neither None nor an int from 1 on."""
    if value is not None and (not isinstance(value, int | np.integer) or value < 1):
        raise ValueError(f"{name} must be an int in the range [1, inf); got {value!r}.")


class OnClient:
    """An estimator with a client, which stands before its local class."""

    client: Any
    backend: str
    n_shards: int | None
    _local: type

    def _check_cluster(self) -> None:
        """Refuse a backend that is not there, or a number of shards that is none."""
        check_choice("backend", self.backend, BACKENDS)
        check_count("n_shards", self.n_shards)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of labels, R² of numbers; where X is a Dask collection, y and sample_weight may be some too."""
        if not is_dask(X):
            plain: float = super().score(X, y, sample_weight)  # type: ignore[misc]
            return plain
        import dask.base

        # one after the other: arrays and frames are no work that Dask likes to do together
        found, y, sample_weight = (dask.base.compute(values)[0] for values in (self.predict(X), y, sample_weight))  # type: ignore[attr-defined]
        measure = accuracy_score if is_classifier(self) else r2_score
        return float(measure(y, found, sample_weight=sample_weight))

    def to_local(self) -> Any:
        """The same model as a local estimator: its parameters, and all that it has learned."""
        parameters = self.get_params(deep=False)  # type: ignore[attr-defined]
        names = inspect.signature(self._local).parameters
        local = self._local(**{name: parameters[name] for name in names})
        local.__dict__.update({name: value for name, value in vars(self).items() if name not in parameters})
        return local

    def __sklearn_clone__(self) -> Any:
        """A clone with the same client, which cannot be copied."""
        made = super(OnClient, copy.copy(self)).__sklearn_clone__()  # type: ignore[misc]
        made.client = self.client
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the client, which belongs to this process."""
        return {**super().__getstate__(), "client": None}  # type: ignore[misc]
