"""Normalizations: inputs of hidden units brought to mean 0 and variance 1, before the activation.

Then they get a learned gain and shift: y = gain x + shift.

They need a whole column or row, so the compiled code is a pass of its own (`core/units.py`); here is what they are.
"""

import numpy as np

from .components import Component, Registry, check_number

__all__ = ["NORMALIZATIONS", "BatchNormalization", "LayerNormalization"]

NORMALIZATIONS: "Registry[Component]" = Registry(
    "normalization",
    {
        **dict.fromkeys(("batchnorm", "batch_normalization", "bn"), "batch"),
        **dict.fromkeys(("layernorm", "layer_normalization", "ln"), "layer"),
    },
)


@NORMALIZATIONS.add("batch")
class BatchNormalization(Component):
    """Each unit's inputs brought to mean 0 and variance 1 over the rows of a batch: ``normalization="batch"``.

    x = (z - mean) / sqrt(variance + epsilon). Predictions use running statistics instead, so that a row's prediction
    does not depend on other rows, and they are folded into the weights.

    Parameters
    ----------
    momentum : float in (0, 1], default=0.1
        Share of the new batch in the running statistics, as in PyTorch.
    epsilon : float > 0, default=1e-5
        Added to the variance, so that nothing is divided by 0.

    Notes
    -----
    running = running + momentum (batch - running), with the variance of the population, n / (n - 1) times the batch's.

    Source: S. Ioffe and C. Szegedy, "Batch Normalization", ICML 2015, algorithms 1 and 2.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_number(self, "momentum", above=0, at_most=1)
        check_number(self, "epsilon", above=0)

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(x, mean, variance) of a batch of shape (n_rows, n_units)."""
        mean, variance = z.mean(axis=0), z.var(axis=0)
        return (z - mean) / np.sqrt(variance + z.dtype.type(self.epsilon)), mean, variance

    def fold(
        self, coefs: np.ndarray, intercept: np.ndarray, unit_parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights that give y = gain x + shift by running statistics without normalization.

        Parameters
        ----------
        coefs, intercept : of the layer below the units; unit parameters : ndarray of shape (5, n_units), see `layout`
        """
        _, gain, shift, mean, variance = unit_parameters
        scale = gain / np.sqrt(variance + variance.dtype.type(self.epsilon))
        return coefs * scale, (intercept - mean) * scale + shift


@NORMALIZATIONS.add("layer")
class LayerNormalization(Component):
    """Each row's inputs of a layer brought to mean 0 and variance 1 over its units: ``normalization="layer"``.

    x = (z - mean) / sqrt(variance + epsilon).

    Parameters
    ----------
    epsilon : float > 0, default=1e-5
        Added to the variance, so that nothing is divided by 0.

    Notes
    -----
    Source: J. Ba, J. Kiros and G. Hinton, "Layer Normalization", 2016, arXiv:1607.06450, equation 4.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_number(self, "epsilon", above=0)

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(x, mean, variance) of rows of shape (n_rows, n_units)."""
        mean, variance = z.mean(axis=1, keepdims=True), z.var(axis=1, keepdims=True)
        return (z - mean) / np.sqrt(variance + z.dtype.type(self.epsilon)), mean, variance


def code_of(normalization: Component | None) -> int:
    """The number that kernels know it by: 0 for none."""
    return 0 if normalization is None else 1 + normalization.code
