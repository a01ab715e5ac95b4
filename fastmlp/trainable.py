"""What can be trained step by step: the calls that the compiled network and the one in NumPy both answer to.

A `core.network.Network` and a `reference.Reference` are each a `Trainable`, and what their `session` returns is a
`TrainingSession`. Who trains one in a demonstration, a test or on several machines can hold either, since a step in one
call is the same as its two halves::

    with network.session(X, y, batch_size=len(X)) as session:
        loss, gradient = session.gradient(alpha=1e-4)
        session.apply(gradient, learning_rate=0.1)  # as session.epoch(np.arange(len(X)), ...) would
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

__all__ = ["Parameters", "Trainable", "TrainingSession"]


class Parameters(NamedTuple):
    """What a network learns, or a gradient by it.

    Attributes
    ----------
    coefs : list of ndarrays (n_below, n_above), one for each layer
    intercepts : list of ndarrays (n_above,)
    unit_parameters : list of ndarrays, one for each hidden layer; empty where units learn nothing beside their weights
        Of parameters (5, n_units): hyperparameter of the activation, gain, shift, running mean and variance. Of a
        gradient (3, n_units): by the first three, 0 for what is not learned.
    """

    coefs: list[np.ndarray]
    intercepts: list[np.ndarray]
    unit_parameters: list[np.ndarray]


@runtime_checkable
class TrainingSession(Protocol):
    """A network at work on data, within a `with` block."""

    @property
    def steps(self) -> int:
        """Optimizer steps that the session has taken."""

    def __enter__(self) -> TrainingSession: ...

    def __exit__(self, *exception: object) -> None: ...

    def epoch(
        self,
        order: np.ndarray,
        *,
        learning_rate: float | np.ndarray,
        step: int = 0,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
        dropout: Sequence[float] | None = None,
        optimizer: Any = None,
        **settings: float,
    ) -> float:
        """Train on the rows `order`, batch by batch; the mean of the batches' losses by their rows.

        Parameters
        ----------
        order : ndarray of indices
        learning_rate : a number, or one for each batch
        step : optimizer steps taken before
        seed : of the random bits for dropout
        progress : called now and then with the rows done
        dropout : from this epoch on, as of the network
        optimizer : the network's with other numbers, for this epoch
        settings : alpha, l1, clip_value, clip_norm, max_norm
        """

    def gradient(
        self,
        order: np.ndarray | None = None,
        *,
        seed: int = 0,
        alpha: float = 0.0,
        l1: float = 0.0,
        clip_value: float = np.inf,
    ) -> tuple[float, Parameters]:
        """Loss of one batch, by default of all rows, and its gradient, penalty included; no weight moves."""

    def apply(
        self,
        gradient: Parameters,
        *,
        learning_rate: float,
        step: int = 0,
        optimizer: Any = None,
        clip_value: float = np.inf,
        clip_norm: float = np.inf,
        max_norm: float = np.inf,
    ) -> None:
        """One optimizer step by a gradient: that of `gradient`, or what became of it, such as a mean over machines."""

    def predict(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Output activations (n, n_outputs) of the rows with these indices, by default of all rows."""


@runtime_checkable
class Trainable(Protocol):
    """A network whose parameters can be read, written, and trained in sessions."""

    def parameters(self) -> Parameters:
        """All that is learned."""

    def set_parameters(self, parameters: Parameters) -> None:
        """Take on what `parameters` gives."""

    def session(
        self,
        X: Any,
        y: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        *,
        batch_size: int,
        n_threads: int | None = None,
    ) -> TrainingSession:
        """A session on data: class codes (n_rows,) or a matrix (n_rows, n_outputs); without y to predict only."""
