"""One training of one network on checked data: sessions, callbacks, and the attributes that result."""

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from ..core.network import Network
from ..core.session import Session
from ..lbfgs import MinimizationSettings, minimize_lbfgs
from ..losses import KLDivergence
from ..normalizations import BatchNormalization
from ..streaming import StreamSession
from ..trainable import Parameters
from ..training import OptimizerState, Trainer, TrainingSettings, WeightAverage
from .augmenter import augmented
from .configuration import Configuration
from .data import TrainingData
from .events import ProgressReport, SklearnCallbacks
from .history import history_of, set_history, show_history
from .validation import Sessions, Watched, validation_session, watch
from .weights import learned_attributes, of_dtype


def warn_convergence(message: str) -> None:
    """What training calls with its warnings."""
    warnings.warn(message, ConvergenceWarning, stacklevel=2)


@dataclass(frozen=True)
class Fit:
    """One training: what it is made from.

    Attributes
    ----------
    estimator : it receives the history while it grows
    configuration : its parameters
    data : checked
    random_state : the stream that goes on from the initial weights
    max_epochs : most epochs
    incremental : whether it is a partial_fit, which never stops early
    started : of `time.perf_counter`, when ``max_time`` begins
    name : what printed lines say in addition
    """

    estimator: Any
    configuration: Configuration
    data: TrainingData
    random_state: np.random.RandomState
    max_epochs: int
    incremental: bool
    started: float
    name: str

    def network(self, parameters: Parameters) -> Network:
        """A network for the data that starts from the given parameters."""
        configuration, data = self.configuration, self.data
        codes = data.targets.values.ndim == 1
        coefs = parameters.coefs
        network = Network(
            (coefs[0].shape[0], *(coef.shape[1] for coef in coefs)),
            dtype=data.X.dtype,
            sparse=issparse(data.X),
            activation=list(configuration.activations),
            # the loss of mixed classes is the log loss but for a constant
            loss=KLDivergence() if codes and configuration.mixes_targets else configuration.loss,
            output=data.targets.output_activation,
            optimizer=configuration.optimizer or "gradient_descent",  # L-BFGS takes no step by it
            normalization=configuration.normalization,
            dropout=configuration.dropout,
        )
        network.set_parameters(of_dtype(parameters, network.dtype))
        return network

    def settings(self, network: Network, watched: Watched) -> TrainingSettings:
        """How long and how to train."""
        configuration = self.configuration
        return TrainingSettings(
            max_epochs=self.max_epochs,
            batch_size=self.batch_size(),
            alpha=configuration.alpha,
            l1=configuration.l1,
            limits=configuration.limits,
            seeded=bool((network.keep < 1).any()) or self.data.stream is not None,
            shuffle=configuration.shuffle and self.data.stream is None,
            tol=configuration.tol,
            patience=configuration.n_iter_no_change,
            may_stop=not self.incremental,
            warn_at_limit=not self.incremental,
            max_time=configuration.max_time,
            started=self.started,
            verbose=configuration.verbose,
            name=self.name,
            score_name=watched.score_name,
            best_score=watched.best_score,
            enough_scores=watched.enough_scores,
        )

    def batch_size(self) -> int:
        """Rows of a batch."""
        return self.configuration.rows_per_step(len(self.data.training_rows))

    def session(self, network: Network, X: Any, targets: np.ndarray, sample_weight: Any, batch_size: int) -> Session:
        return network.session(X, targets, sample_weight, batch_size=batch_size, n_threads=self.configuration.n_threads)

    def training_session(self, network: Network, X: Any, targets: np.ndarray) -> Session | StreamSession:
        """What trains the network: on arrays, or on blocks."""
        if self.data.stream is not None:
            return self.data.stream.session(self.estimator, self.configuration, network, self.batch_size())
        return self.session(network, X, targets, self.data.sample_weight, self.batch_size())

    def check_batch_size(self) -> None:
        """Warn of a batch that is larger than the data; refuse one too small for batch normalization."""
        batch_size = self.configuration.batch_size
        if not isinstance(batch_size, str) and batch_size > len(self.data.training_rows):
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        if isinstance(self.configuration.normalization, BatchNormalization) and self.batch_size() == 1:
            raise ValueError("batch_size must be at least 2 with normalization='batch'; got 1.")


def train_by_steps(
    fit: Fit, network: Network, optimizer: OptimizerState, sklearn_callbacks: SklearnCallbacks
) -> dict[str, Any]:
    """Train by epochs of minibatch steps.

    Returns
    -------
    attributes : what the estimator has learned; its history has been set
    """
    estimator, configuration, data = fit.estimator, fit.configuration, fit.data
    fit.check_batch_size()
    history = history_of(estimator)
    X, targets, augmenters = augmented(data, configuration, fit.random_state)
    share = configuration.weight_averaging
    average = [] if share is None else [WeightAverage(network, int(share * fit.max_epochs))]
    with ExitStack() as stack:
        session = stack.enter_context(fit.training_session(network, X, targets))
        second = stack.enter_context(validation_session(network, data.given, configuration.n_threads))
        plain = session
        if augmenters and configuration.metrics is not None:  # metrics see the rows as they were given
            plain = stack.enter_context(fit.session(network, data.X, targets, None, data.X.shape[0]))
        watched = watch(estimator, configuration, network, Sessions(session, plain, second), data, history)
        display = []
        if configuration.progress is not None:
            shown = stack.enter_context(configuration.progress(fit.max_epochs, len(data.training_rows)))
            display = [ProgressReport(shown, history)]
        show_history(estimator, history)
        trainer = Trainer(
            network,
            session,
            data.training_rows,
            optimizer=optimizer,
            history=history,
            settings=fit.settings(network, watched),
            score=watched.score,
            warn=warn_convergence,
            callbacks=[
                *augmenters,
                *average,
                *watched.callbacks,
                *display,
                *sklearn_callbacks.callbacks(network, data.training_rows, data.validation_rows is not None),
            ],
        )
        parameters = trainer.run(fit.random_state)
    if average and average[0].mean is not None:
        parameters = average[0].mean
    elif average:
        warn_convergence(
            f"Training ended after {history.n_epochs} epochs, before the averaging of weights began; lower "
            "weight_averaging or raise n_iter_no_change."
        )
    set_history(estimator, history)
    return {**learned_attributes(network, parameters), "_optimizer": optimizer}


def train_by_lbfgs(fit: Fit, network: Network) -> dict[str, Any]:
    """Train by L-BFGS over all rows.

    Returns
    -------
    attributes : what the estimator has learned
    """
    configuration, data = fit.configuration, fit.data
    settings = MinimizationSettings(
        alpha=configuration.alpha,
        tol=configuration.tol,
        max_iter=configuration.max_iter,
        max_fun=configuration.max_fun,
        max_time=configuration.max_time,
        started=fit.started,
        verbose=configuration.verbose,
        name=fit.name,
    )
    with fit.session(network, data.X, data.targets.values, data.sample_weight, data.X.shape[0]) as session:
        (coefs, intercepts), loss, n_iter = minimize_lbfgs(network, session, settings, warn_convergence)
    return {
        "coefs_": coefs,
        "intercepts_": intercepts,
        "loss_": loss,
        "n_iter_": n_iter,
        "_parameters": None,
        "_optimizer": None,
    }
