"""Ensembles: networks of different random streams, trained side by side, whose outputs are averaged."""

from copy import copy
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy.special import logit
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state

from ..machine.team import BUDGET
from .history import forget_training


class Ensemble(BaseEstimator):
    """What an estimator with ``n_estimators`` above 1 does: its members are estimators like itself with one network.

    Source: L. Hansen and P. Salamon, "Neural network ensembles", IEEE Transactions on Pattern Analysis 12 (1990).
    """

    n_estimators: int
    n_threads: int | None
    random_state: Any
    warm_start: bool
    out_activation_: str
    estimators_: list[Any]

    def _new_members(self) -> list[Any]:
        """Members with one thread and a seed each, drawn from ``random_state``."""
        seeds = check_random_state(self.random_state).randint(2**31, size=self.n_estimators)
        return [
            clone(self).set_params(n_estimators=1, n_threads=1, random_state=int(seed), progress=None) for seed in seeds
        ]

    def _average(self, X: Any, logits: bool) -> np.ndarray:
        """The mean of the members' outputs, or the z that would give it."""
        outputs = np.mean([member._forward(X) for member in self.estimators_], axis=0)
        if not logits:
            return outputs
        inverse = {"softmax": np.log, "logistic": logit, "tanh": np.arctanh, "exp": np.log}
        with np.errstate(divide="ignore"):
            return inverse.get(self.out_activation_, np.copy)(outputs)

    def _going_on(self, member: Any) -> Any:
        """A member that trains on, by the parameters of now, while the original stays as it is."""
        other = copy(member)
        own = ("n_estimators", "n_threads", "random_state", "progress")
        parameters = self.get_params(deep=False)
        return other.set_params(**{name: value for name, value in parameters.items() if name not in own})

    def _fit_members(self, X: Any, y: Any, sample_weight: Any, validation: tuple, n_epochs: int | None) -> None:
        """Check the data once, then train every member; the first one gives the ensemble its attributes."""
        begin = not hasattr(self, "estimators_") or (not self.warm_start and n_epochs is None)
        if not begin and len(self.estimators_) != self.n_estimators:
            raise ValueError(
                f"n_estimators must be {len(self.estimators_)}, as in the previous call to fit, to train on; got "
                f"{self.n_estimators}. Fit with warm_start=False to begin anew."
            )
        members = self._new_members() if begin else [self._going_on(member) for member in self.estimators_]
        names = ("X_val", "y_val", "sample_weight_val")

        def train(member: Any) -> Any:
            if n_epochs is None:
                return member.fit(X, y, sample_weight, **dict(zip(names, validation)))
            known = {"classes": self.classes_} if hasattr(self, "classes_") else {}
            return member.partial_fit(X, y, sample_weight, n_epochs=n_epochs, **known)

        granted = BUDGET.take(len(members)) if self.n_threads is None else 0
        try:
            jobs = min(self.n_threads or granted, len(members))
            trained = Parallel(n_jobs=jobs, require="sharedmem")(delayed(train)(member) for member in members)
        finally:
            if granted:
                BUDGET.give_back(granted)
        forget_training(self)
        for name in ("coefs_", "intercepts_", "_parameters", "feature_names_in_"):
            self.__dict__.pop(name, None)
        self.estimators_ = trained
        first = self.estimators_[0]
        inherited = ("classes_", "_label_binarizer", "n_features_in_", "feature_names_in_", "n_outputs_", "n_layers_")
        for name in (*inherited, "out_activation_"):
            if hasattr(first, name):
                setattr(self, name, getattr(first, name))
        self.loss_ = float(np.mean([member.loss_ for member in self.estimators_]))
        self.n_iter_ = max(member.n_iter_ for member in self.estimators_)
        self.t_ = first.t_
