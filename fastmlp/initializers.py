"""Initial weights: how the coefficients and intercepts of a layer are drawn.

What matters is the variance of the coefficients. Each unit sums over fan_in inputs, so that a variance of c / fan_in
keeps the outputs of each layer as large as those of the layer before; c / fan_out does the same for the gradient on its
way back. With larger coefficients units saturate; with smaller ones all units of a layer give the same.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import issparse

from .components import Component, Registry, check_number

__all__ = [
    "INITIALIZERS",
    "Auto",
    "DataDriven",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "Orthogonal",
    "Scaled",
    "ScaledNormal",
    "ScaledUniform",
    "Uniform",
    "Zeros",
    "initial_weights",
]

Weights = tuple[list[np.ndarray], list[np.ndarray]]

INITIALIZERS: "Registry[Initializer]" = Registry(
    "initializer",
    {
        "he": "he_normal",
        "kaiming": "he_normal",
        "kaiming_normal": "he_normal",
        "kaiming_uniform": "he_uniform",
        "xavier": "glorot_uniform",
        "glorot": "glorot_uniform",
        "random_normal": "normal",
        "random_uniform": "uniform",
    },
)


class Initializer(Component):
    """What all initializers have. Intercepts start at zero, unless ``draw`` says otherwise.

    Attributes
    ----------
    needs_rows : whether the weights depend on rows of X: `draw_by_rows` then takes the place of ``draw``
    """

    needs_rows = False

    def coefficients(self, random_state: np.random.RandomState, fan_in: int, fan_out: int) -> np.ndarray:
        """A float64 ndarray of shape (fan_in, fan_out)."""
        raise NotImplementedError

    def draw(
        self, random_state: np.random.RandomState, fan_in: int, fan_out: int, activation: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The weights of one layer.

        Parameters
        ----------
        random_state : numpy RandomState
        fan_in, fan_out : units below and above
        activation : name of the activation of the hidden layers

        Returns
        -------
        coefficients : float64 ndarray of shape (fan_in, fan_out)
        intercepts : float64 ndarray of shape (fan_out,)
        """
        return self.coefficients(random_state, fan_in, fan_out), np.zeros(fan_out)

    def draw_by_rows(
        self, random_state: np.random.RandomState, units: Sequence[int], X: Any, activations: Sequence[Any]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """(coefficients, intercepts) of each layer, by rows of X, of shape (n_rows, n_features), dense or sparse.

        ``activations`` are the components of the hidden layers.
        """
        raise NotImplementedError


@INITIALIZERS.add("auto")
class Auto(Initializer):
    """The initial weights of scikit-learn, number by number: W, b ~ U(-r, r), r = √(6 / (fan_in + fan_out)).

    The logistic activation has 2 in place of 6. Every layer uses the activation of the hidden layers, the last layer
    too, and intercepts are drawn like coefficients.

    Notes
    -----
    Source: X. Glorot and Y. Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
    equation 16; scikit-learn, ``BaseMultilayerPerceptron._init_coef``.
    """

    def draw(
        self, random_state: np.random.RandomState, fan_in: int, fan_out: int, activation: str
    ) -> tuple[np.ndarray, np.ndarray]:
        bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
        coefficients = random_state.uniform(-bound, bound, (fan_in, fan_out))
        return coefficients, random_state.uniform(-bound, bound, fan_out)


@INITIALIZERS.add("zeros")
class Zeros(Initializer):
    """All coefficients start at zero: W = 0.

    All units of a layer then get the same gradient and stay alike for ever. This is why weights are drawn at random.

    Notes
    -----
    Source: I. Goodfellow, Y. Bengio and A. Courville 2016, "Deep learning", section 8.4, on breaking the symmetry;
    Keras, Zeros.
    """

    def coefficients(self, random_state: np.random.RandomState, fan_in: int, fan_out: int) -> np.ndarray:
        return np.zeros((fan_in, fan_out))


@INITIALIZERS.add("normal")
class Normal(Initializer):
    """Coefficients from a normal distribution of one width for all layers: W ~ N(0, std^2).

    Parameters
    ----------
    std : float > 0, default=0.01
        Standard deviation. For most networks 1 is too large and 0.01 too small.

    Notes
    -----
    Source: I. Goodfellow, Y. Bengio and A. Courville 2016, "Deep learning", section 8.4; Keras, RandomNormal.
    """

    std: float = 0.01

    def __post_init__(self) -> None:
        check_number(self, "std", above=0)

    def coefficients(self, random_state: np.random.RandomState, fan_in: int, fan_out: int) -> np.ndarray:
        return random_state.normal(0, self.std, (fan_in, fan_out))


@INITIALIZERS.add("uniform")
class Uniform(Initializer):
    """Coefficients from one interval for all layers: W ~ U(low, high).

    Parameters
    ----------
    low, high : float, default=-0.05 and default=0.05
        Bounds of the interval; ``low`` is below ``high``.

    Notes
    -----
    Source: I. Goodfellow, Y. Bengio and A. Courville 2016, "Deep learning", section 8.4; Keras, RandomUniform.
    """

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        check_number(self, "low")
        check_number(self, "high", above=self.low)

    def coefficients(self, random_state: np.random.RandomState, fan_in: int, fan_out: int) -> np.ndarray:
        return random_state.uniform(self.low, self.high, (fan_in, fan_out))


class Scaled(Initializer):
    """Coefficients whose variance depends on the layer's size."""

    def variance(self, fan_in: int, fan_out: int) -> float:
        """What the components below differ in."""
        raise NotImplementedError


class ScaledUniform(Scaled):
    """W ~ U(-√(3 variance), √(3 variance))."""

    def coefficients(self, random_state: np.random.RandomState, fan_in: int, fan_out: int) -> np.ndarray:
        bound = np.sqrt(3 * self.variance(fan_in, fan_out))
        return random_state.uniform(-bound, bound, (fan_in, fan_out))


class ScaledNormal(Scaled):
    """W ~ N(0, variance)."""

    def coefficients(self, random_state: np.random.RandomState, fan_in: int, fan_out: int) -> np.ndarray:
        return random_state.normal(0, np.sqrt(self.variance(fan_in, fan_out)), (fan_in, fan_out))


@INITIALIZERS.add("glorot_uniform", "xavier_uniform")
class GlorotUniform(ScaledUniform):
    """W ~ U(-r, r), r = √(6 / (fan_in + fan_out)): the variance is 2 / (fan_in + fan_out).

    It is a compromise between 1 / fan_in, which keeps the size of the outputs, and 1 / fan_out, which keeps that of the
    gradients. Other libraries call it Xavier's.

    Notes
    -----
    Source: X. Glorot and Y. Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
    equation 16.
    """

    def variance(self, fan_in: int, fan_out: int) -> float:
        return 2 / (fan_in + fan_out)


@INITIALIZERS.add("glorot_normal", "xavier_normal")
class GlorotNormal(ScaledNormal):
    """W ~ N(0, 2 / (fan_in + fan_out)). Other libraries call it Xavier's.

    Notes
    -----
    Source: X. Glorot and Y. Bengio 2010, equation 12.
    """

    def variance(self, fan_in: int, fan_out: int) -> float:
        return 2 / (fan_in + fan_out)


@INITIALIZERS.add("he_uniform")
class HeUniform(ScaledUniform):
    """W ~ U(-r, r), r = √(6 / fan_in): the variance is 2 / fan_in. Other libraries call it Kaiming's.

    Notes
    -----
    Source: as `HeNormal`.
    """

    def variance(self, fan_in: int, fan_out: int) -> float:
        return 2 / fan_in


@INITIALIZERS.add("he_normal")
class HeNormal(ScaledNormal):
    """W ~ N(0, 2 / fan_in). Other libraries call it Kaiming's.

    relu sets half of the outputs to zero; the factor 2 makes up for that.

    Notes
    -----
    Source: K. He et al. 2015, "Delving deep into rectifiers", equation 10.
    """

    def variance(self, fan_in: int, fan_out: int) -> float:
        return 2 / fan_in


@INITIALIZERS.add("lecun_uniform")
class LeCunUniform(ScaledUniform):
    """W ~ U(-r, r), r = √(3 / fan_in): the variance is 1 / fan_in.

    Notes
    -----
    Source: as `LeCunNormal`.
    """

    def variance(self, fan_in: int, fan_out: int) -> float:
        return 1 / fan_in


@INITIALIZERS.add("lecun_normal", "lecun")
class LeCunNormal(ScaledNormal):
    """W ~ N(0, 1 / fan_in): outputs have variance 1 if the inputs have; selu needs it.

    Notes
    -----
    Source: Y. LeCun et al. 1998, "Efficient backprop", section 4.6, equation 16.
    """

    def variance(self, fan_in: int, fan_out: int) -> float:
        return 1 / fan_in


@INITIALIZERS.add("orthogonal")
class Orthogonal(Initializer):
    """W = gain Q, where Q has orthonormal columns, or rows if the layer has more outputs than inputs.

    Parameters
    ----------
    gain : float > 0, default=1.0
        Factor of Q.

    Notes
    -----
    Q comes from the QR decomposition of a matrix of normal numbers, with the signs of its columns chosen so that the
    diagonal of R is positive. All such matrices are then equally probable.

    Source: A. Saxe, J. McClelland and S. Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks"; F. Mezzadri 2007, "How to generate random matrices from the classical compact
    groups", section 5.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "gain", above=0)

    def coefficients(self, random_state: np.random.RandomState, fan_in: int, fan_out: int) -> np.ndarray:
        q, r = np.linalg.qr(random_state.normal(size=(max(fan_in, fan_out), min(fan_in, fan_out))))
        q *= self.gain * np.copysign(1, np.diag(r))
        return q if fan_in >= fan_out else q.T


@INITIALIZERS.add("data_driven")
class DataDriven(Initializer):
    """Each unit's z has variance 1 on rows of X, and the z = 0 of a hidden unit lies among these rows.

    Layer by layer W ~ N(0, 1), each column divided by the standard deviation of its z = X W over the rows; the
    intercept of a hidden unit is minus a mix of the z of some rows, with weights drawn evenly from the simplex; that of
    an output is 0. It needs rows, so that it serves neither fits on blocks nor `fastmlp.dask`. A normalization is not
    taken into account.

    Parameters
    ----------
    rows : int >= 1, default=1000
        Rows of X by which the weights are chosen, at random where X has more.
    mixed : int >= 1, default=5
        Rows in the mix that places a hidden unit.

    Notes
    -----
    Source: D. Holzmüller, L. Grinsztajn and I. Steinwart 2024, "Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data", appendix A, weights 'std' and biases 'he+5', the latter after I. Steinwart 2019, "A
    sober look at neural network initializations".
    """

    rows: int = 1000
    mixed: int = 5

    needs_rows = True

    def __post_init__(self) -> None:
        check_number(self, "rows", at_least=1, whole=True)
        check_number(self, "mixed", at_least=1, whole=True)

    def draw_by_rows(
        self, random_state: np.random.RandomState, units: Sequence[int], X: Any, activations: Sequence[Any]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        some = X if X.shape[0] <= self.rows else X[random_state.permutation(X.shape[0])[: self.rows]]
        values = np.asarray(some.toarray() if issparse(some) else some, np.float64)
        layers = []
        for layer, (fan_in, fan_out) in enumerate(pairwise(units)):
            coefficients = random_state.normal(size=(fan_in, fan_out))
            z = values @ coefficients
            deviation = z.std(axis=0) + 1e-6 * np.sqrt(fan_in)  # of rows that are all alike it is 0
            coefficients /= deviation
            z /= deviation
            intercepts = np.zeros(fan_out)
            if layer < len(units) - 2:
                shares = random_state.exponential(size=(fan_out, self.mixed))
                shares /= shares.sum(axis=1, keepdims=True)
                chosen = random_state.randint(len(z), size=(fan_out, self.mixed))
                intercepts = -(z[chosen, np.arange(fan_out)[:, None]] * shares).sum(axis=1)
                values = activations[layer].formula(z + intercepts)[0]
            layers.append((coefficients, intercepts))
        return layers


def initial_weights(
    units: Sequence[int],
    random_state: np.random.RandomState,
    *,
    dtype: np.dtype,
    activation: str,
    initializer: Initializer | Weights,
    X: Any = None,
    activations: Sequence[Any] = (),
) -> Weights:
    """The weights of all layers of a network, from the first to the last.

    Parameters
    ----------
    units : sequence of int, (n_features, \\*hidden, n_outputs)
    dtype : numpy dtype of the result; the numbers are drawn in float64 and rounded
    activation : name of the activation of the hidden layers
    initializer : a component of `INITIALIZERS`, or the user's arrays (coefs, intercepts), which are copied
    X : rows of shape (n_rows, n_features), dense or sparse, for a component that needs them
    activations : components of the hidden layers, for such a component

    Returns
    -------
    coefs, intercepts : lists of ndarrays of shapes (fan_in, fan_out) and (fan_out,), one per layer

    Raises
    ------
    ValueError
        If the user's arrays do not fit the network or are not finite, or there are no rows where they are needed.
    """
    if not isinstance(initializer, Initializer):
        return _checked(initializer, units, dtype)
    if initializer.needs_rows:
        if X is None:
            raise ValueError(f"initializer {initializer.name!r} needs rows of X; choose another one, or give X.")
        layers = initializer.draw_by_rows(random_state, units, X, activations)
    else:
        layers = [initializer.draw(random_state, *fans, activation) for fans in pairwise(units)]
    coefs, intercepts = ([array.astype(dtype, copy=False) for array in arrays] for arrays in zip(*layers))
    return coefs, intercepts


def _checked(weights: Weights, units: Sequence[int], dtype: np.dtype) -> Weights:
    """Copies of the user's arrays, if they fit the network and are finite."""
    layers = len(units) - 1
    lengths = [len(arrays) if hasattr(arrays, "__len__") else None for arrays in weights]
    if lengths != [layers, layers]:
        raise ValueError(
            f"initializer must be a component or (coefs, intercepts), two lists of {layers} arrays, one per layer; "
            f"got {len(lengths)} of lengths {lengths}."
        )
    coefs, intercepts = weights
    return (
        [_checked_array(f"coefs[{n}]", *pair, dtype) for n, pair in enumerate(zip(coefs, pairwise(units)))],
        [_checked_array(f"intercepts[{n}]", b, (units[n + 1],), dtype) for n, b in enumerate(intercepts)],
    )


def _checked_array(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A copy of one of the user's arrays; an error names it."""
    with np.errstate(over="ignore"):  # too large for float32 is infinite, and told below
        array = np.array(array, dtype)
    if array.shape != shape:
        raise ValueError(f"{name} of initializer must have shape {shape}; got {array.shape}.")
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise ValueError(f"{name} of initializer must be finite in {np.dtype(dtype)}; got {bad}.")
    return array
