"""Initial weights: how the coefficients and intercepts of a layer are drawn.

An initializer is a function of a NumPy RandomState, the layer's fan-in and fan-out, and the name of its activation; it
draws first the coefficients, then the intercepts. A new initializer is one more entry of `INITIALIZERS`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

Initializer = Callable[[np.random.RandomState, int, int, str], tuple[np.ndarray, np.ndarray]]
Weights = tuple[list[np.ndarray], list[np.ndarray]]


def glorot_uniform(
    random_state: np.random.RandomState, fan_in: int, fan_out: int, activation: str
) -> tuple[np.ndarray, np.ndarray]:
    """W, b ~ U(-r, r), r = √(6 / (fan_in + fan_out)), with 2 in place of 6 for the logistic activation.

    Every layer of a network uses the activation of the hidden layers, the last one too, and intercepts are drawn like
    coefficients: this is scikit-learn's stream, number by number.

    Returns
    -------
    coefficients : float64 ndarray of shape (fan_in, fan_out)
    intercepts : float64 ndarray of shape (fan_out,)

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, equation 16; scikit-learn, ``BaseMultilayerPerceptron._init_coef``.
    """
    bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
    coefficients = random_state.uniform(-bound, bound, (fan_in, fan_out))
    intercepts = random_state.uniform(-bound, bound, fan_out)
    return coefficients, intercepts


INITIALIZERS: dict[str, Initializer] = {"auto": glorot_uniform}


def initial_weights(
    units: Sequence[int], random_state: np.random.RandomState, *, dtype: np.dtype, activation: str, initializer: str
) -> Weights:
    """Draw all layers of a network, from the first to the last.

    Parameters
    ----------
    units : sequence of int, (n_features, \\*hidden, n_outputs)
    dtype : numpy dtype of the result; the numbers are drawn in float64 and rounded
    activation : name of the activation of the hidden layers
    initializer : name in `INITIALIZERS`

    Returns
    -------
    coefs, intercepts : lists of ndarrays of shapes (fan_in, fan_out) and (fan_out,), one per layer
    """
    draw = INITIALIZERS[initializer]
    coefs, intercepts = [], []
    for fan_in, fan_out in pairwise(units):
        coefficients, intercept = draw(random_state, fan_in, fan_out, activation)
        coefs.append(coefficients.astype(dtype, copy=False))
        intercepts.append(intercept.astype(dtype, copy=False))
    return coefs, intercepts
