"""Activations: the components f(z) between the layers, each with its slope f'(z).

A component stands here twice: as a NumPy formula and as a function of SIMD vectors, written independently, so that one
can check the other. To add one: a class with the decorator `ACTIVATIONS.add`; nothing else knows its name.

Formulas are right at every finite z. Vectors are besides right at infinite z: where f fades away towards -∞, the factor
z stops at a number beyond which nothing is left, so that no infinity meets a zero.
"""

import math
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from .components import Component, Registry, check_number, require, require_number, require_shapes
from .machine import elementary, own
from .machine.elementary import erf, exp, expm1, log1p
from .machine.elementwise import ElementwiseFunction, elementwise_dispatch
from .machine.simd import absolute, full_like, maximum, minimum, where

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "GELUTanh",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyReLU",
    "Logistic",
    "Mish",
    "PReLU",
    "ReLU",
    "SiLU",
    "Softplus",
    "Tanh",
]

ACTIVATIONS: "Registry[Activation]" = Registry(
    "activation", {"linear": "identity", "none": "identity", "leaky": "leaky_relu", "rectifier": "relu"}
)


class Activation(Component):
    """What all activations have.

    Attributes
    ----------
    learned : bool
        Whether the component's hyperparameter is a parameter of the network, one for each unit; its value is then where
        they start.
    """

    learned = False

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(f(z), f'(z)) of an array, in its dtype."""
        raise NotImplementedError

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        """(f(z), f'(z)) of a vector; `hyperparameter` is the vector of the units' own, or of the component's."""
        raise NotImplementedError


# --- the classics -----------------------------------------------------------------------------------------------------


@ACTIVATIONS.add("identity")
class Identity(Activation):
    """f(z) = z, f'(z) = 1. A network of nothing else is linear however deep it is."""

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return z, np.ones_like(z)

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        return z, full_like(z, 1)


@ACTIVATIONS.add("logistic", "sigmoid")
class Logistic(Activation):
    """f(z) = 1 / (1 + exp(-z)), f'(z) = f(z) (1 - f(z)).

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323 (1986),
    equation 2.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = expit(z)
        return y, y * (1 - y)

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        y = elementary.logistic(z)
        return y, y * (1 - y)


@ACTIVATIONS.add("tanh")
class Tanh(Activation):
    """f(z) = tanh(z), f'(z) = 1 - f(z)².

    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp" (1998), section 4.4: why outputs centred on zero learn
    faster.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = np.tanh(z)
        return y, 1 - y * y

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        y = elementary.tanh(z)
        return y, 1 - y * y


@ACTIVATIONS.add("relu")
class ReLU(Activation):
    """f(z) = max(z, 0), f'(z) = 1 where z > 0, else 0 (also at z = 0).

    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010; Glorot, Bordes
    and Bengio, "Deep sparse rectifier neural networks", AISTATS 2011.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.maximum(z, 0), (z > 0).astype(z.dtype)

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        return maximum(z, 0), where(z > 0, full_like(z, 1), 0)


# --- rectifiers that let something through below zero -----------------------------------------------------------------


@ACTIVATIONS.add("leaky_relu")
class LeakyReLU(Activation):
    """f(z) = z where z > 0, else slope z; f'(z) = 1 where z > 0, else slope.

    Parameters
    ----------
    slope : float, default=0.01
        Any finite number.

    Source: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013,
    section 2.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        check_number(self, "slope")

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(z > 0, z, self.slope * z), np.where(z > 0, np.ones_like(z), self.slope)

    @staticmethod
    def vector(z: Any, slope: Any) -> Any:
        return where(z > 0, z, slope * z), where(z > 0, 1, slope)


@ACTIVATIONS.add("prelu")
class PReLU(LeakyReLU):
    """The leaky relu whose slope is learned, one for each unit: df/dslope = z where z <= 0, else 0.

    Parameters
    ----------
    slope : float, default=0.25
        Where the slopes start; any finite number.

    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015, equations 1 and 3.
    """

    slope: float = 0.25
    learned = True


@ACTIVATIONS.add("elu")
class ELU(Activation):
    """f(z) = z where z > 0, else alpha (exp(z) - 1); f'(z) = 1 where z > 0, else alpha exp(z).

    Parameters
    ----------
    alpha : float, default=1.0
        In [0, inf): -alpha is what f tends to as z falls.

    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential linear units
    (ELUs)", ICLR 2016, section 3.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "alpha", at_least=0)

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        below = np.minimum(z, 0)
        return (
            np.where(z > 0, z, self.alpha * np.expm1(below)),
            np.where(z > 0, np.ones_like(z), self.alpha * np.exp(below)),
        )

    @staticmethod
    def vector(z: Any, alpha: Any) -> Any:
        y = alpha * expm1(minimum(z, 0))
        return where(z > 0, z, y), where(z > 0, 1, y + alpha)


# With these two the mean 0 and the variance 1 of the inputs are a stable fixed point of the outputs.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@ACTIVATIONS.add("selu")
class SELU(Activation):
    """f(z) = 1.0507 elu(z), f'(z) = 1.0507 elu'(z), with alpha = 1.6733.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks", NeurIPS 2017, equation 2.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y, slope = ELU(_SELU_ALPHA).formula(z)
        return _SELU_SCALE * y, _SELU_SCALE * slope

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        y = _SELU_SCALE * _SELU_ALPHA * expm1(minimum(z, 0))
        return where(z > 0, _SELU_SCALE * z, y), where(z > 0, _SELU_SCALE, y + _SELU_SCALE * _SELU_ALPHA)


# --- smooth rectifiers ------------------------------------------------------------------------------------------------


@ACTIVATIONS.add("softplus")
class Softplus(Activation):
    """f(z) = log(1 + exp(z)), f'(z) = 1 / (1 + exp(-z)).

    Source: Dugas, Bengio, Bélisle, Nadeau and Garcia, "Incorporating second-order functional knowledge for better
    option pricing", NeurIPS 2000.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.logaddexp(0, z), expit(z)

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        e = exp(-absolute(z))
        return maximum(z, 0) + log1p(e), where(z < 0, e, 1) / (e + 1)


@ACTIVATIONS.add("gelu")
class GELU(Activation):
    """f(z) = z Φ(z), f'(z) = Φ(z) + z φ(z), with the normal distribution Φ(z) = (1 + erf(z/√2)) / 2 and its density φ.

    Source: Hendrycks and Gimpel, "Gaussian error linear units (GELUs)" (2016), section 2.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probability, density = ndtr(z), np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
        return z * probability, probability + z * density

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        above = maximum(z, -40)
        near = minimum(above, 40)
        probability = 0.5 * erf(near * math.sqrt(0.5)) + 0.5
        density = exp(near * near * -0.5) * (1 / math.sqrt(2 * math.pi))
        return above * probability, probability + near * density


@ACTIVATIONS.add("gelu_tanh")
class GELUTanh(Activation):
    """f(z) = z (1 + tanh(u)) / 2 = z s(2u), where u = √(2/π) (z + 0.044715 z³) and s is the logistic function.

    f'(z) = s(2u) + z s(2u) s(-2u) 2u'. Nearer to gelu than 5e-4.

    Source: Hendrycks and Gimpel, "Gaussian error linear units (GELUs)" (2016), section 2.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        near = np.clip(z, -30, 30)
        u = math.sqrt(2 / math.pi) * (near + 0.044715 * near**3)
        slope_of_u = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * near**2)
        return z * expit(2 * u), expit(2 * u) + near * expit(2 * u) * expit(-2 * u) * 2 * slope_of_u

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        above = maximum(z, -9)
        near = minimum(above, 9)
        c = 2 * math.sqrt(2 / math.pi)
        cubic = near * near * (c * 0.044715)
        e = exp(near * -(cubic + c))
        share = 1 / (e + 1)
        return above * share, share + near * share * (e * share) * (cubic * 3 + c)


@ACTIVATIONS.add("silu", "swish")
class SiLU(Activation):
    """f(z) = z s(z), f'(z) = s(z) (1 + z s(-z)), where s is the logistic function.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning" (2017), section 2; Ramachandran, Zoph and Le, "Searching for activation functions"
    (2017), as swish.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return z * expit(z), expit(z) * (1 + z * expit(-z))

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        above = maximum(z, -80)
        near = minimum(above, 80)
        e = exp(-near)
        share = 1 / (e + 1)
        return above * share, share + near * share * (e * share)


@ACTIVATIONS.add("mish")
class Mish(Activation):
    """f(z) = z tanh(softplus(z)), f'(z) = tanh(softplus(z)) + z (1 - tanh²(softplus(z))) / (1 + exp(-z)).

    Source: Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020, equation 1.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = np.tanh(np.logaddexp(0, z))
        return z * share, share + z * (1 - share**2) * expit(z)

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        """With e = exp(z): tanh(log(1 + e)) = ((1 + e)² - 1) / ((1 + e)² + 1), and its slope 4 e (e + 1) / (...)²."""
        above = maximum(z, -80)
        near = minimum(above, 20)
        e = exp(near)
        n = e * (e + 2)
        r = 1 / (n + 2)
        share = n * r
        return above * share, share + near * (4 * e * r) * ((e + 1) * r)


# --- of straight pieces -----------------------------------------------------------------------------------------------


@ACTIVATIONS.add("hard_sigmoid")
class HardSigmoid(Activation):
    """f(z) = min(max(z/6 + 1/2, 0), 1), f'(z) = 1/6 where -3 < z < 3, else 0.

    Source: Courbariaux, Bengio and David, "BinaryConnect", NeurIPS 2015, equation 3, there of slope 1/2; of slope 1/6
    in Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.clip(z / 6 + 0.5, 0, 1), (abs(z) < 3).astype(z.dtype) / 6

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        return minimum(maximum(z * (1 / 6) + 0.5, 0), 1), where(absolute(z) < 3, full_like(z, 1 / 6), 0)


@ACTIVATIONS.add("hard_swish")
class HardSwish(Activation):
    """f(z) = z min(max(z/6 + 1/2, 0), 1), f'(z) = z/3 + 1/2 where -3 < z < 3, 0 below and 1 above.

    Source: Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2.
    """

    def formula(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        below, above = z <= -3, z >= 3
        return (
            np.select([below, above], [np.zeros_like(z), z], z * (z / 6 + 0.5)),
            np.select([below, above], [np.zeros_like(z), np.ones_like(z)], z / 3 + 0.5),
        )

    @staticmethod
    def vector(z: Any, hyperparameter: Any) -> Any:
        share = minimum(maximum(z * (1 / 6) + 0.5, 0), 1)
        return maximum(z, -3) * share, where(absolute(z) < 3, z * (1 / 3) + 0.5, share)


# --- for compiled code ------------------------------------------------------------------------------------------------


def _elementwise(component: Any) -> Any:
    """Streams: z, which becomes f(z); f'(z); the unit's hyperparameter."""
    return ElementwiseFunction(
        lambda scalars, z, hyperparameter: component.vector(z, hyperparameter), 0, (0, 2), (0, 1)
    )


apply = elementwise_dispatch("activation", [_elementwise(component) for component in ACTIVATIONS.classes])


def code_of(activation: Activation, dtype: Any) -> int:
    """What kernels know it by: its place among the built-in ones, or the address of a user's own."""
    if not ACTIVATIONS.is_own(activation):
        return activation.code
    cls = type(activation)
    address: int = own.elementwise_address(cls, _elementwise(cls), 3, dtype, f"vector of {cls.__qualname__}")
    return address


def _check(cls: Any) -> None:
    """What an activation of a user's own needs."""
    reason = "An activation has formula(z) and vector(z, hyperparameter), each giving f and its slope: see Activation."
    require(cls, Activation, {"formula": "self, z", "vector": "z, hyperparameter"}, reason)
    require_number(cls)
    z = np.linspace(-2, 2, 6).reshape(2, 3)
    require_shapes(f"formula of {cls.__qualname__}", lambda: cls().formula(z), [z.shape, z.shape])
    if cls.learned:
        raise TypeError(
            f"{cls.__qualname__} must not set learned: only PReLU's derivative by its hyperparameter is compiled."
        )


ACTIVATIONS.complete(_check)
