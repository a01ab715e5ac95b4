"""Mini-batches that come one after another: the network of a partial_fit stays between the calls.

A call then costs the step, not copies of weights and moments and not the making of buffers. What the estimator shows of
the network (``coefs_``, ``intercepts_``, the optimizer's state, the random stream) is read from it when somebody asks.
An attribute that was read or set is the truth from then on, since it may have been modified: the next call takes it
over. Copies and pickles have attributes and no network.
"""

import functools
import math
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from numbers import Integral
from operator import is_
from typing import Any

import numpy as np

from ..core.network import Network
from ..core.session import Session
from ..core.step_time import row_operations
from ..trainable import Parameters
from ..training import History, OptimizerState, Trainer, TrainingSettings, all_finite
from .configuration import Configuration, configure
from .continuation import optimizer_to_go_on_with, same_components
from .data import TrainingData
from .fitting import Fit, warn_convergence
from .history import history_of, set_history
from .labels import columns_are_classes, known_codes
from .parameters import is_unchangeable
from .targets import RealTargets, Targets
from .weights import check_classes, check_weights, dtype_of_weights, of_dtype

LAZY = ("coefs_", "intercepts_", "_optimizer", "_stream")
SMALL = 5e7  # operations of a call for which one thread is enough
KEPT_SESSIONS = 4  # of different numbers of rows


class KeptOptimizer(OptimizerState):
    """An optimizer whose states are in the network already, and stay there."""

    def load_into(self, network: Network) -> None:
        """Nothing to do."""

    def save_from(self, network: Network) -> None:
        """Nothing to do."""


class Batches:
    """Rows that are replaced by those of each call, and where they are few, the session that reads them.

    Parameters
    ----------
    network : Network
    n_rows, batch_size : rows of a call, and of a batch
    n_threads : as of `Configuration`, where the work is large
    """

    def __init__(self, network: Network, n_rows: int, batch_size: int, n_threads: int | None) -> None:
        self.X = np.zeros((n_rows, network.units[0]), network.dtype)
        codes = network.loss.takes_codes(network.output)
        self.y = np.zeros(n_rows, np.int64) if codes else np.zeros((n_rows, network.units[-1]), network.dtype)
        self.order = np.zeros(n_rows, np.intp)
        self.small = n_rows * row_operations(network.units) <= SMALL
        n_threads = 1 if self.small else n_threads
        self._session: Session = network.session(self.X, self.y, batch_size=batch_size, n_threads=n_threads)
        if self.small:
            self._session.__enter__()  # of one thread: it holds nothing but memory

    def session(self) -> AbstractContextManager[Session]:
        """The session, with its threads. It remembers how many of them have paid."""
        return nullcontext(self._session) if self.small else self._session


class Stream:
    """A network that learns one batch after another for an estimator.

    Parameters
    ----------
    estimator : fitted, one that `serves`
    configuration : its parameters
    """

    def __init__(self, estimator: Any, configuration: Configuration) -> None:
        self.lock = threading.RLock()  # a thread that predicts waits for the end of a step
        self.configuration = configuration
        self.values = values_of_parameters(estimator)
        self.seed = estimator.random_state
        dtype = dtype_of_weights(estimator)
        targets = Targets(np.zeros((0, 1)), estimator.n_outputs_, estimator.out_activation_, None)
        data = TrainingData(np.zeros((0, 0), dtype), targets, None, None, np.arange(0))
        self.random_state: np.random.RandomState = estimator._random_stream(goes_on=True)
        fit = Fit(estimator, configuration, data, self.random_state, 1, incremental=True, started=0.0, name="")
        self.network = fit.network(Parameters(estimator.coefs_, estimator.intercepts_, []))
        self.shown: OptimizerState = estimator._optimizer  # what the estimator shows of the optimizer
        resumed = optimizer_to_go_on_with(self.shown, configuration, same_network=True, dtype=dtype)
        resumed.load_into(self.network)
        self.optimizer = KeptOptimizer(resumed.optimizer, resumed.learning_rate_init, resumed.schedule)
        self.optimizer.__dict__.update({**vars(resumed), "states": None})
        self.history: History = history_of(estimator)
        self.sessions: dict[int, Batches] = {}
        self.buffers = [self.network._weights, *self.network._states[: resumed.optimizer.states]]
        self.twins = [np.empty_like(buffer) for buffer in self.buffers]

    def goes_on(self, estimator: Any) -> bool:
        """Whether the estimator is as the latest call left it, apart from its weights."""
        known = vars(estimator)
        return (
            all(map(is_, self.values, values_of_parameters(estimator)))
            and known.get("loss_curve_", self.history.loss_curve) is self.history.loss_curve
            and known.get("_optimizer", self.shown) is self.shown
            and known.get("_optimizer_lost") is None
            and not known.get("_skl_callbacks")
        )

    def batches(self, n_rows: int) -> Batches:
        """The session for so many rows."""
        if n_rows not in self.sessions:
            if len(self.sessions) == KEPT_SESSIONS:
                del self.sessions[next(iter(self.sessions))]
            batch_size = self.configuration.rows_per_step(n_rows)
            self.sessions[n_rows] = Batches(self.network, n_rows, batch_size, self.configuration.n_threads)
        return self.sessions[n_rows]

    def take_over(self, estimator: Any) -> None:
        """Take over weights that somebody has read or set."""
        if not vars(estimator).keys().isdisjoint(("coefs_", "intercepts_")):
            check_weights(estimator)
            parameters = Parameters(estimator.coefs_, estimator.intercepts_, [])
            self.network.set_weights(*of_dtype(parameters, self.network.dtype)[:2])

    @contextmanager
    def unchanged_on_error(self) -> Iterator[None]:
        """Put everything back if the block raises."""
        for buffer, twin in zip(self.buffers, self.twins):
            np.copyto(twin, buffer)
        state, optimizer, history = self.random_state.get_state(), dict(vars(self.optimizer)), dict(vars(self.history))
        n_epochs = len(self.history.loss_curve)
        try:
            yield
        except BaseException:
            for buffer, twin in zip(self.buffers, self.twins):
                np.copyto(buffer, twin)
            self.random_state.set_state(state)
            self.optimizer.__dict__.update(optimizer)
            self.history.__dict__.update(history)
            for values in self.history.as_dict().values():
                del values[n_epochs:]
            raise

    def train(self, estimator: Any, X: np.ndarray, targets: np.ndarray, n_epochs: int) -> None:
        """Train; on an error everything is as before."""
        batches = self.batches(len(X))
        self.take_over(estimator)
        batches.X[...], batches.y[...], batches.order[...] = X, targets, np.arange(len(X))
        with self.unchanged_on_error():
            with batches.session() as session:
                trainer = Trainer(
                    self.network,
                    session,
                    batches.order,
                    optimizer=self.optimizer,
                    history=self.history,
                    settings=self.settings(len(X), n_epochs),
                    score=None,
                    warn=warn_convergence,
                )
                trainer.train(self.random_state)
            if not math.isfinite(float(self.network._weights.sum())):
                coefs, intercepts = self.network.weights()
                if not all_finite(coefs + intercepts):
                    trainer.report_divergence()
                    raise ValueError(
                        "Solver produced non-finite parameter weights. The input data may"
                        " contain large values and need to be preprocessed."
                    )
        for name in LAZY:
            vars(estimator).pop(name, None)
        set_history(estimator, self.history)

    def settings(self, n_rows: int, n_epochs: int) -> TrainingSettings:
        """How long and how to train."""
        configuration = self.configuration
        return TrainingSettings(
            max_epochs=n_epochs,
            batch_size=configuration.rows_per_step(n_rows),
            alpha=configuration.alpha,
            l1=configuration.l1,
            limits=configuration.limits,
            seeded=any(configuration.dropout),
            shuffle=configuration.shuffle,
            tol=configuration.tol,
            patience=configuration.n_iter_no_change,
            may_stop=False,
            warn_at_limit=False,
        )

    def read(self, name: str) -> Any:
        """What an attribute of the estimator would be now."""
        with self.lock:
            if name == "_optimizer":
                states = [self.network._read(buffer) for buffer in self.buffers[1:]]
                self.shown = OptimizerState(
                    self.optimizer.optimizer, self.optimizer.learning_rate_init, self.optimizer.schedule
                )
                self.shown.__dict__.update({**vars(self.optimizer), "states": states})
                return self.shown
            if name == "_stream":
                return (self.seed, self.random_state.get_state()) if isinstance(self.seed, Integral) else None
            return self.network.weights()[name == "intercepts_"]


_STREAMS: weakref.WeakKeyDictionary[Any, Stream] = weakref.WeakKeyDictionary()


def _renew_locks() -> None:
    """In a forked child, where the thread that held a lock is not."""
    for stream in _STREAMS.values():
        stream.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class ReadWhenAsked:
    """An attribute that is read from the estimator's stream when somebody asks, and is an ordinary one from then on."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, estimator: Any, owner: type) -> Any:
        stream = None if estimator is None else _STREAMS.get(estimator)
        if stream is None:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self.name!r}")
        return vars(estimator).setdefault(self.name, stream.read(self.name))


def release(estimator: Any) -> None:
    """Give the estimator its attributes and let the network go."""
    if estimator in _STREAMS:
        read_all(estimator)
        del _STREAMS[estimator]


def read_all(estimator: Any) -> None:
    """Make ordinary attributes of all that the network holds."""
    if estimator in _STREAMS:
        for name in LAZY:
            getattr(estimator, name)


@functools.cache
def _names(estimator_class: Any) -> tuple[str, ...]:
    return tuple(estimator_class._get_param_names())


def values_of_parameters(estimator: Any) -> list[Any]:
    """The values of all parameters, in one order."""
    known = vars(estimator)
    estimator_class: Any = type(estimator)
    return [known[name] for name in _names(estimator_class)]


def serves(estimator: Any, configuration: Configuration) -> bool:
    """Whether a stream can do what partial_fit would do; the rest is for the ordinary way."""
    known = vars(estimator)
    estimator_class: Any = type(estimator)
    names = _names(estimator_class)
    plain = (
        known.get("_optimizer") is not None
        and "coefs_" in known
        and known.get("_parameters") is None
        and not known.get("_skl_callbacks")
        and not estimator.verbose
        and not estimator.warm_start
        and all(is_unchangeable(value) for name, value in known.items() if name in names)
    )
    return (
        plain
        and configuration.optimizer is not None
        and configuration.hidden_units == tuple(coef.shape[1] for coef in known["coefs_"][:-1])
        and configuration.dtype in (None, known["coefs_"][0].dtype)
        and not configuration.early_stopping
        and configuration.normalization is None
        and not any(component.learned for component in configuration.activations)
        and not columns_are_classes(configuration.one_hot, configuration.loss)
        and same_components(estimator, configuration, estimator.out_activation_)
        and configuration.output in ("auto", estimator.out_activation_)
        and all(
            value is None
            for value in (
                configuration.class_weight,
                configuration.metrics,
                configuration.progress,
                configuration.max_time,
                configuration.weight_averaging,
                configuration.augmentations or None,
            )
        )
    )


def _targets(estimator: Any, network: Network, y: np.ndarray) -> np.ndarray | None:
    """Targets in the form of the loss; None where they need the checks of the ordinary way."""
    if hasattr(estimator, "classes_"):
        check_classes(estimator)
        classes = estimator.classes_
        if y.dtype.kind not in "iub" or classes.dtype.kind != y.dtype.kind:
            return None
        codes = known_codes(y, classes)
        if codes is None or network.loss.takes_codes(network.output):
            return codes
        return codes[:, np.newaxis] if network.units[-1] == 1 else None
    if y.dtype.kind not in "iuf" or network.units[-1] != 1 or not math.isfinite(float(y.sum())):
        return None
    loss = network.loss
    return RealTargets.of(loss).targets(y, network.dtype, loss, network.output).values


def trained_by_stream(estimator: Any, X: Any, y: Any, sample_weight: Any, classes: Any, n_epochs: Any) -> bool:
    """Train on a batch by the estimator's stream, where one serves; if not, nothing has been done."""
    known = vars(estimator)
    if not (
        type(X) is np.ndarray
        and type(y) is np.ndarray
        and X.ndim == 2
        and y.ndim == 1
        and len(X) == len(y) > 0
        and X.dtype.char in "fd"
        and sample_weight is None
        and known.get("n_features_in_") == X.shape[1]
        and "feature_names_in_" not in known
        and isinstance(n_epochs, int)
        and n_epochs >= 1
        and (classes is None or np.array_equal(classes, known.get("classes_")))
        and "estimators_" not in known
    ):
        return False
    stream = _STREAMS.get(estimator)
    if stream is not None and not stream.goes_on(estimator):
        release(estimator)
        stream = None
    if stream is None:
        stream = _new_stream(estimator)
    if stream is None or X.dtype != stream.network.dtype or not math.isfinite(float(X.sum())):
        return False
    batch_size = stream.configuration.batch_size
    if not isinstance(batch_size, str) and batch_size > len(X):  # which is told
        return False
    with stream.lock:
        targets = _targets(estimator, stream.network, y)
        if targets is None:
            return False
        stream.train(estimator, X, targets, int(n_epochs))
    return True


def _new_stream(estimator: Any) -> Stream | None:
    """A new stream, if one can serve the estimator."""
    known = vars(estimator)
    if known.get("_optimizer") is None or "coefs_" not in known or estimator.n_estimators != 1:
        return None
    check_weights(estimator)
    estimator._validate_params()
    configuration = configure(estimator)
    if not serves(estimator, configuration):
        return None
    stream = _STREAMS[estimator] = Stream(estimator, configuration)
    return stream
