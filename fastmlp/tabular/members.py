"""The networks of a model, ready to predict."""

from dataclasses import dataclass

import numpy as np

from ..core.network import Network
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

    def outputs(self, X: np.ndarray, n_threads: int | None = None) -> np.ndarray:
        """Outputs of the network for encoded rows: float32 ndarray of shape (n_rows, n_outputs)."""
        units = (X.shape[1], *(coef.shape[1] for coef in self.coefs))
        loss = "squared_error" if self.output == "identity" else "log_loss"
        network = Network(
            units,
            dtype=X.dtype,
            activation=self.activation,
            loss=loss,
            output=self.output,
            optimizer="gradient_descent",
        )
        network.set_parameters(Parameters(self.coefs, self.intercepts, self.unit_parameters))
        with network.session(X, batch_size=len(X), n_threads=n_threads) as session:
            return session.predict()


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
