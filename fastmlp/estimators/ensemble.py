"""Ensembles: networks of different random streams, trained side by side, whose outputs are averaged."""

from _queue import Empty, SimpleQueue  # see `fastmlp.machine.worker`
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np
from scipy.special import logit
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state

from ..machine.cores import BUDGET, Cancellation, Cancelled, Lease, available_cores
from ..machine.worker import Worker, start_workers
from .configuration import threads_of
from .history import forget_training

PROMPT = (
    1.0  # seconds that an interrupt waits for members to stop: they do at their next step, or when a scorer returns
)


class SideBySide:
    """Calls of a function with one item each, in several threads.

    Parameters
    ----------
    function : callable(item)
    items : its arguments
    lease : by which the threads may become fewer between two calls; None keeps all
    """

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any], lease: Lease | None) -> None:
        self.function, self.items, self.lease = function, items, lease
        self.results: list[Any] = [None] * len(items)
        self.pending = iter(range(len(items)))  # whose `next` is one indivisible act
        self.outcomes: SimpleQueue[Any] = SimpleQueue()
        self.cancellation = Cancellation()
        self.config = get_config()

    def work(self, rank: int) -> None:
        """What thread `rank` does: call after call; an exception goes to whoever waits."""
        try:
            with self.cancellation, config_context(**self.config):
                for n in self.pending:
                    if self.cancellation.requested:
                        break
                    self.results[n] = self.function(self.items[n])
                    self.outcomes.put(None)
                    if self.lease is not None and rank >= BUDGET.share(self.lease):
                        break
        except Cancelled:
            pass
        except BaseException as error:
            self.outcomes.put(error)

    def run(self, n_threads: int) -> list[Any]:
        """All results, in order; the first exception ends all calls, and so does an interrupt."""
        workers: list[Worker] = []
        try:
            try:
                workers += start_workers(n_threads)
                for rank, worker in enumerate(workers):
                    worker.give(self.work, rank)
                if not workers:
                    return [self.function(item) for item in self.items]
                return self._wait_for(workers)
            finally:
                self._stop(workers)
        finally:
            self._stop(workers)

    def _wait_for(self, workers: list[Worker]) -> list[Any]:
        done = 0
        while done < len(self.items):
            try:
                error = self.outcomes.get(timeout=PROMPT)
            except Empty:
                if not any(worker.alive for worker in workers):
                    raise MemoryError("the threads of the ensemble have died") from None
                continue
            if error is not None:
                raise error
            done += 1
        return self.results

    def _stop(self, workers: list[Worker]) -> None:
        self.cancellation.requested = True
        for worker in workers:
            worker.end()
        for worker in workers:
            worker.join(PROMPT)


def side_by_side(function: Callable[[Any], Any], items: Sequence[Any], n_threads: int | None) -> list[Any]:
    """``[function(item) for item in items]`` in so many threads; None for as many as there are cores for it."""
    if n_threads is not None:
        return SideBySide(function, items, None).run(min(n_threads, len(items)))
    with BUDGET.lease(len(items)) as lease:
        return SideBySide(function, items, lease).run(BUDGET.share(lease))


class Ensemble(BaseEstimator):
    """What an estimator with ``n_estimators`` above 1 does: its members are estimators like itself with one network.

    Source: L. Hansen and P. Salamon, "Neural network ensembles", IEEE Transactions on Pattern Analysis 12 (1990).
    """

    n_estimators: int
    n_threads: int | None
    random_state: Any
    warm_start: bool
    max_time: float | None
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

    def _fit_members(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any], n_epochs: int | None
    ) -> None:
        """Check the data once, then train every member; the first one gives the ensemble its attributes."""
        begin = not hasattr(self, "estimators_") or (not self.warm_start and n_epochs is None)
        members = self._new_members() if begin else [self._going_on(member) for member in self.estimators_]
        names = ("X_val", "y_val", "sample_weight_val")

        n_threads = threads_of(self.n_threads)
        if self.max_time is not None:  # members that wait for others have what these have left
            rounds = -(-len(members) // min(n_threads or available_cores(), len(members)))
            for member in members:
                member.max_time = self.max_time / rounds

        def train(numbered: tuple[int, Any]) -> Any:
            number, member = numbered
            member._name = f", network {number} of {len(members)}"  # for the lines that it prints
            try:
                if n_epochs is None:
                    return member.fit(X, y, sample_weight, **dict(zip(names, validation)))
                known = {"classes": self.classes_} if hasattr(self, "classes_") else {}
                return member.partial_fit(X, y, sample_weight, n_epochs=n_epochs, **known)
            finally:
                del member._name

        trained = side_by_side(train, list(enumerate(members, 1)), n_threads)
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
