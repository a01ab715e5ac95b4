"""The networks of a model, ready to predict."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..core.predictor import Predictor
from ..losses import LogLoss, Loss, SquaredError, codes_of
from ..trainable import Parameters


@dataclass(frozen=True)
class Member:
    """A trained network of a model.

    Attributes
    ----------
    coefs, intercepts : of each layer, float32; the first one reads all encoded columns
    unit_parameters : learned slopes of each hidden layer, or empty
    activation : name of the activation of the hidden layers
    output : name of that of the outputs
    weight : share in the mean of the members
    """

    coefs: list[np.ndarray]
    intercepts: list[np.ndarray]
    unit_parameters: list[np.ndarray]
    activation: str
    output: str
    weight: float

    @property
    def activations(self) -> list[Activation]:
        """Those of the hidden layers, as components."""
        return [ACTIVATIONS.resolve(self.activation)] * (len(self.coefs) - 1)

    @property
    def loss(self) -> Loss:
        """What its outputs are for: numbers, or probabilities of classes."""
        return SquaredError() if self.output == "identity" else LogLoss()

    def outputs(self, X: np.ndarray, n_threads: int | None = None) -> np.ndarray:
        """Outputs of the network for encoded rows: float32 ndarray of shape (n_rows, n_outputs)."""
        return self._predictor.predict(X, n_threads)[0]

    @cached_property
    def _predictor(self) -> Predictor:
        """What reads the weights where they lie; to make one takes longer than to predict a row."""
        return Predictor(
            self.coefs,
            self.intercepts,
            self.unit_parameters,
            dtype=self.coefs[0].dtype,
            activations=self.activations,
            codes=codes_of(self.loss, self.output),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the predictor, which holds addresses."""
        return {name: value for name, value in vars(self).items() if name != "_predictor"}


def folded(parameters: Parameters, columns: np.ndarray, factor: float, **attributes: object) -> Member:
    """A member that reads all encoded columns as they are, from parameters that read some times a factor.

    Parameters
    ----------
    columns : boolean ndarray of shape (n_encoded,), those that the network has seen
    factor : by which it has seen them multiplied
    attributes : activation, output, weight
    """
    coefs = list(parameters.coefs)
    first = np.zeros((len(columns), coefs[0].shape[1]), coefs[0].dtype)
    first[columns] = coefs[0] * np.float32(factor)
    return Member(
        [first, *coefs[1:]],
        list(parameters.intercepts),
        list(parameters.unit_parameters),
        **attributes,  # type: ignore[arg-type]
    )
