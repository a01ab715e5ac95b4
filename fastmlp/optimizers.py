"""Optimizers: how a weight w follows its gradient g.

An optimizer remembers up to three numbers beside each weight, its states, which are zero at the start. What is the same
for all weights (the learning rate, corrections for averages that start at zero) is worked out for each step beforehand,
in float64, by ``scalars``. The step itself stands here twice: as a NumPy formula and as a function of SIMD vectors.

None of the components knows where g comes from: over all rows, over one, or over a batch between them.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .components import Component, Registry, check_number, require, require_shapes
from .machine import own
from .machine.elementwise import ElementwiseFunction, elementwise_dispatch
from .machine.simd import maximum, sqrt, where

__all__ = [
    "GROUPS",
    "OPTIMIZERS",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Gradient",
    "GradientDescent",
    "Inertia",
    "Lion",
    "Moments",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RAdam",
    "RMSProp",
    "rows_of",
]

# Groups of parameters that an optimizer may treat each in its own way: coefficients of the first layer and of the
# others, intercepts, learned slopes, and gains and shifts of a normalization.
GROUPS = ("first_layer", "weights", "biases", "slopes", "normalization")
FIRST_LAYER, WEIGHTS, BIASES, SLOPES, NORMALIZATION = range(len(GROUPS))

OPTIMIZERS: "Registry[Optimizer]" = Registry("solver", {"nag": "nesterov", "rms": "rmsprop", "gd": "gradient_descent"})


def rows_of(t: np.ndarray, *scalars: np.ndarray | float) -> np.ndarray:
    """One row for each step of t, one column for each scalar: a float64 ndarray of shape (len(t), len(scalars))."""
    rows = np.empty((len(t), len(scalars)))
    for column, scalar in enumerate(scalars):
        rows[:, column] = scalar
    return rows


class Optimizer(Component):
    """What all optimizers have.

    Attributes
    ----------
    states : how many arrays shaped like the weights it keeps, zero at the start
    """

    states = 0

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        """What all weights share in each of some steps.

        Parameters
        ----------
        t : float64 ndarray of shape (steps,), their numbers, the first step of a training being 1
        rate : float64 ndarray of shape (steps,), their learning rates

        Returns
        -------
        float64 ndarray of shape (steps, k), k at most 8; its rows are the n of `formula` and `vector`
        """
        raise NotImplementedError

    def for_group(self, group: str) -> "Optimizer":
        """The optimizer of one group of parameters, of the same class: by default this one for all `GROUPS`."""
        return self

    def formula(self, n: Any, g: Any, w: Any, *states: Any) -> tuple[np.ndarray, ...]:
        """(w, *states) after a step, in NumPy; n holds k numbers in the dtype of the arrays."""
        raise NotImplementedError

    @staticmethod
    def vector(n: Any, g: Any, w: Any, *states: Any) -> Any:
        """(w, *states) after a step, of SIMD vectors; n holds k vectors."""
        raise NotImplementedError


@OPTIMIZERS.add("gradient")
class Gradient(Optimizer):
    """Keeps the gradient, state = g, and moves no weight: an epoch only looks."""

    states = 1

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        return rows_of(t)

    def formula(self, n: np.ndarray, g: np.ndarray, w: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, ...]:
        return w, g

    @staticmethod
    def vector(n: Any, g: Any, w: Any, state: Any) -> Any:
        return w, g


@OPTIMIZERS.add("gradient_descent")
class GradientDescent(Optimizer):
    """Plain gradient descent: ``solver="gradient_descent"``.

    The learning rate is the estimator's ``learning_rate_init``; 0.1 is a usual one. Without a ``batch_size`` each step
    takes all rows. With batches of one row it is stochastic gradient descent, with batches between them mini-batch
    gradient descent: the component is the same, the batch size differs.

    Notes
    -----
    w = w - rate g.

    Source: A. Cauchy 1847, "Méthode générale pour la résolution des systèmes d'équations simultanées"; H. Robbins and
    S. Monro 1951, "A stochastic approximation method".
    """

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        return rows_of(t, rate)

    def formula(self, n: np.ndarray, g: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
        (rate,) = n
        return (w - rate * g,)

    @staticmethod
    def vector(n: Any, g: Any, w: Any) -> Any:
        (rate,) = n
        return (w - g * rate,)


@dataclass(frozen=True, repr=False)
class Inertia(Optimizer):
    """v = momentum v - rate g: a velocity, the state of the two components below. ``momentum`` is in [0, 1]."""

    momentum: float = 0.9

    states = 1

    def __post_init__(self) -> None:
        check_number(self, "momentum", at_least=0, at_most=1)

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        return rows_of(t, rate, self.momentum)


@OPTIMIZERS.add("momentum")
class Momentum(Inertia):
    """Gradient descent with a velocity: ``solver="momentum"``, or ``Momentum(0.8)`` for another number.

    The learning rate is the estimator's ``learning_rate_init``; 0.01 is a usual one. scikit-learn's 'sgd' with
    ``nesterovs_momentum=False`` is the same.

    Parameters
    ----------
    momentum : float in [0, 1], default=0.9
        Share of the velocity that a step keeps.

    Notes
    -----
    v = momentum v - rate g,  w = w + v.

    Source: B. Polyak 1964, "Some methods of speeding up the convergence of iteration methods"; in this form
    I. Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", equations 1 and 2.
    """

    def formula(self, n: np.ndarray, g: np.ndarray, w: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        rate, momentum = n
        v = momentum * v - rate * g
        return w + v, v

    @staticmethod
    def vector(n: Any, g: Any, w: Any, v: Any) -> Any:
        rate, momentum = n
        v = v * momentum - g * rate
        return w + v, v


@OPTIMIZERS.add("nesterov")
class Nesterov(Inertia):
    """Momentum that takes the gradient where the velocity leads: ``solver="nesterov"``, or ``Nesterov(0.8)``.

    The learning rate is the estimator's ``learning_rate_init``; 0.01 is a usual one. scikit-learn's 'sgd' is the same.

    Parameters
    ----------
    momentum : float in [0, 1], default=0.9
        Share of the velocity that a step keeps.

    Notes
    -----
    v = momentum v - rate g,  w = w + momentum v - rate g.

    Source: Y. Nesterov 1983; I. Sutskever et al. 2013, equations 3 and 4, with w the point that is looked ahead to.
    """

    def formula(self, n: np.ndarray, g: np.ndarray, w: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        rate, momentum = n
        v = momentum * v - rate * g
        return w + momentum * v - rate * g, v

    @staticmethod
    def vector(n: Any, g: Any, w: Any, v: Any) -> Any:
        rate, momentum = n
        v = v * momentum - g * rate
        return w + v * momentum - g * rate, v


@dataclass(frozen=True, repr=False)
class Moments(Optimizer):
    """m = beta_1 m + (1 - beta_1) g,  v = beta_2 v + (1 - beta_2) g^2: Adam's averages, and those of its relatives.

    Both start at zero, so that after t steps their weights sum to 1 - beta^t instead of 1. ``beta_1`` and ``beta_2``
    are in [0, 1), ``epsilon`` is above 0.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    states = 2

    def __post_init__(self) -> None:
        check_number(self, "beta_1", at_least=0, below=1)
        check_number(self, "beta_2", at_least=0, below=1)
        check_number(self, "epsilon", above=0)

    def bias_corrections(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """1 - beta_1^t and √(1 - beta_2^t): what m and √v have of their true size after t steps."""
        return 1 - self.beta_1**t, np.sqrt(1 - self.beta_2**t)

    def decays(self) -> tuple[float, float, float, float]:
        """beta_1, beta_2, 1 - beta_1 and 1 - beta_2."""
        return self.beta_1, self.beta_2, 1 - self.beta_1, 1 - self.beta_2


def averages(betas: Any, g: Any, m: Any, v: Any) -> Any:
    """(m, v) of `Moments` after a step, of SIMD vectors."""
    beta_1, beta_2, rest_1, rest_2 = betas
    return m * beta_1 + g * rest_1, v * beta_2 + g * g * rest_2


@OPTIMIZERS.add("adam")
class Adam(Moments):
    """Each weight moves by its average gradient, relative to its usual size: ``solver="adam"``, or ``Adam(0.8)``.

    The learning rate is the estimator's ``learning_rate_init``; 0.001 is a usual one.

    Parameters
    ----------
    beta_1, beta_2 : float in [0, 1), default=0.9 and default=0.999
        Decay of the averages of the gradient and of its square.
    epsilon : float > 0, default=1e-8
        Added to the square root, so that nothing is divided by 0.

    Notes
    -----
    w = w - rate_t m / (√v + epsilon),  rate_t = rate √(1 - beta_2^t) / (1 - beta_1^t); m and v as in
    `Moments`. This is scikit-learn's Adam, which adds epsilon before the moments are corrected; PyTorch's adds it
    after.

    Source: D. Kingma and J. Ba 2015, "Adam: a method for stochastic optimization", section 2, last paragraph.
    """

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        correction_1, correction_2 = self.bias_corrections(t)
        return rows_of(t, rate * correction_2 / correction_1, self.epsilon, *self.decays())

    def formula(
        self, n: np.ndarray, g: np.ndarray, w: np.ndarray, m: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        rate, epsilon, beta_1, beta_2, rest_1, rest_2 = n
        m = beta_1 * m + rest_1 * g
        v = beta_2 * v + rest_2 * g**2
        return w - rate * m / (np.sqrt(v) + epsilon), m, v

    @staticmethod
    def vector(n: Any, g: Any, w: Any, m: Any, v: Any) -> Any:
        rate, epsilon, *betas = n
        m, v = averages(betas, g, m, v)
        return w - m * rate / (sqrt(v) + epsilon), m, v


@OPTIMIZERS.add("adagrad")
class AdaGrad(Optimizer):
    """Weights that have moved much move less: ``solver="adagrad"``, or ``AdaGrad(epsilon=1e-8)``.

    The learning rate is the estimator's ``learning_rate_init``; 0.01 is a usual one.

    Parameters
    ----------
    epsilon : float > 0, default=1e-10
        Added to the square root, so that nothing is divided by 0.

    Notes
    -----
    s = s + g^2,  w = w - rate g / (√s + epsilon).

    Source: J. Duchi, E. Hazan and Y. Singer 2011, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, section 1.1, of the diagonal.
    """

    epsilon: float = 1e-10

    states = 1

    def __post_init__(self) -> None:
        check_number(self, "epsilon", above=0)

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        return rows_of(t, rate, self.epsilon)

    def formula(self, n: np.ndarray, g: np.ndarray, w: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, ...]:
        rate, epsilon = n
        s = s + g**2
        return w - rate * g / (np.sqrt(s) + epsilon), s

    @staticmethod
    def vector(n: Any, g: Any, w: Any, s: Any) -> Any:
        rate, epsilon = n
        s = s + g * g
        return w - g * rate / (sqrt(s) + epsilon), s


@OPTIMIZERS.add("rmsprop")
class RMSProp(Optimizer):
    """AdaGrad that forgets old gradients: ``solver="rmsprop"``, or ``RMSProp(rho=0.9)`` for another number.

    The learning rate is the estimator's ``learning_rate_init``; 0.001 is a usual one. The defaults are PyTorch's, where
    rho is called alpha.

    Parameters
    ----------
    rho : float in [0, 1), default=0.99
        Decay of the average of the squared gradient.
    epsilon : float > 0, default=1e-8
        Added to the square root, so that nothing is divided by 0.

    Notes
    -----
    s = rho s + (1 - rho) g^2,  w = w - rate g / (√s + epsilon).

    Source: T. Tieleman and G. Hinton 2012, "Neural networks for machine learning", Coursera, lecture 6.5.
    """

    rho: float = 0.99
    epsilon: float = 1e-8

    states = 1

    def __post_init__(self) -> None:
        check_number(self, "rho", at_least=0, below=1)
        check_number(self, "epsilon", above=0)

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        return rows_of(t, rate, self.epsilon, self.rho, 1 - self.rho)

    def formula(self, n: np.ndarray, g: np.ndarray, w: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, ...]:
        rate, epsilon, rho, rest = n
        s = rho * s + rest * g**2
        return w - rate * g / (np.sqrt(s) + epsilon), s

    @staticmethod
    def vector(n: Any, g: Any, w: Any, s: Any) -> Any:
        rate, epsilon, rho, rest = n
        s = s * rho + g * g * rest
        return w - g * rate / (sqrt(s) + epsilon), s


@OPTIMIZERS.add("adadelta")
class AdaDelta(Optimizer):
    """RMSProp whose steps have the unit of the weights: ``solver="adadelta"``, or ``AdaDelta(rho=0.95)``.

    The learning rate is the estimator's ``learning_rate_init``; use 1.0 with this solver.

    Parameters
    ----------
    rho : float in [0, 1), default=0.9
        Decay of both averages.
    epsilon : float > 0, default=1e-6
        Added below both square roots.

    Notes
    -----
    s = rho s + (1 - rho) g^2,  d = g √(u + epsilon) / √(s + epsilon),  u = rho u + (1 - rho) d^2,
    w = w - rate d.

    Source: M. Zeiler 2012, "ADADELTA: an adaptive learning rate method", algorithm 1, where the rate is 1.
    """

    rho: float = 0.9
    epsilon: float = 1e-6

    states = 2

    def __post_init__(self) -> None:
        check_number(self, "rho", at_least=0, below=1)
        check_number(self, "epsilon", above=0)

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        return rows_of(t, rate, self.epsilon, self.rho, 1 - self.rho)

    def formula(
        self, n: np.ndarray, g: np.ndarray, w: np.ndarray, s: np.ndarray, u: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        rate, epsilon, rho, rest = n
        s = rho * s + rest * g**2
        d = g * np.sqrt(u + epsilon) / np.sqrt(s + epsilon)
        return w - rate * d, s, rho * u + rest * d**2

    @staticmethod
    def vector(n: Any, g: Any, w: Any, s: Any, u: Any) -> Any:
        rate, epsilon, rho, rest = n
        s = s * rho + g * g * rest
        d = g * sqrt((u + epsilon) / (s + epsilon))
        return w - d * rate, s, u * rho + d * d * rest


@OPTIMIZERS.add("amsgrad")
class AMSGrad(Moments):
    """Adam whose divisor never shrinks: ``solver="amsgrad"``, or ``AMSGrad(beta_2=0.99)`` for other numbers.

    The learning rate is the estimator's ``learning_rate_init``; 0.001 is a usual one.

    Parameters
    ----------
    beta_1, beta_2 : float in [0, 1), default=0.9 and default=0.999
        Decay of the averages of the gradient and of its square.
    epsilon : float > 0, default=1e-8
        Added to the square root, so that nothing is divided by 0.

    Notes
    -----
    largest = max(largest, v),
    w = w - rate / (1 - beta_1^t) m / (√(largest / (1 - beta_2^t)) + epsilon).

    Here and below the fraction is multiplied through by √(1 - beta_2^t), so that a step has one root and
    one division; epsilon stays where PyTorch has it.

    Source: S. Reddi, S. Kale and S. Kumar 2018, "On the convergence of Adam and beyond", algorithm 2, with Adam's
    corrections as in PyTorch.
    """

    states = 3

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        correction_1, correction_2 = self.bias_corrections(t)
        return rows_of(t, rate * correction_2 / correction_1, self.epsilon * correction_2, *self.decays())

    def formula(
        self, n: np.ndarray, g: np.ndarray, w: np.ndarray, m: np.ndarray, v: np.ndarray, largest: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        rate, epsilon, beta_1, beta_2, rest_1, rest_2 = n
        m = beta_1 * m + rest_1 * g
        v = beta_2 * v + rest_2 * g**2
        largest = np.maximum(largest, v)
        return w - rate * m / (np.sqrt(largest) + epsilon), m, v, largest

    @staticmethod
    def vector(n: Any, g: Any, w: Any, m: Any, v: Any, largest: Any) -> Any:
        rate, epsilon, *betas = n
        m, v = averages(betas, g, m, v)
        largest = maximum(v, largest)
        return w - m * rate / (sqrt(largest) + epsilon), m, v, largest


@OPTIMIZERS.add("adamw")
class AdamW(Moments):
    """Adam with weight decay: ``solver="adamw"``, or ``AdamW(weight_decay=0.1)`` for other numbers.

    The learning rate is the estimator's ``learning_rate_init``; 0.001 is a usual one. The decay is separate from the
    gradient and hence from v, which the L2 penalty ``alpha`` is not. It draws every parameter towards zero, intercepts
    too, as in PyTorch. ``alpha`` stays in force beside it: set ``alpha=0`` for weight decay alone.

    Parameters
    ----------
    beta_1, beta_2 : float in [0, 1), default=0.9 and default=0.999
        Decay of the averages of the gradient and of its square.
    epsilon : float > 0, default=1e-8
        Added to the square root, so that nothing is divided by 0.
    weight_decay : float >= 0, default=0.01
        Share of each weight, times the learning rate, that a step takes off.
    weights_only : bool, default=False
        Whether intercepts, learned slopes, and gains and shifts of a normalization are spared from the decay.

    Notes
    -----
    w = w - rate weight_decay w - rate / (1 - beta_1^t) m / (√(v / (1 - beta_2^t)) + epsilon).

    Source: I. Loshchilov and F. Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    weight_decay: float = 0.01
    weights_only: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "weight_decay", at_least=0)
        if not isinstance(self.weights_only, bool):
            raise ValueError(f"weights_only of AdamW must be True or False; got {self.weights_only!r}.")

    def for_group(self, group: str) -> "Optimizer":
        spared = self.weights_only and group not in ("first_layer", "weights")
        return replace(self, weight_decay=0.0) if spared else self

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        correction_1, correction_2 = self.bias_corrections(t)
        decay = rate * self.weight_decay
        return rows_of(t, rate * correction_2 / correction_1, self.epsilon * correction_2, decay, *self.decays())

    def formula(
        self, n: np.ndarray, g: np.ndarray, w: np.ndarray, m: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        rate, epsilon, decay, beta_1, beta_2, rest_1, rest_2 = n
        m = beta_1 * m + rest_1 * g
        v = beta_2 * v + rest_2 * g**2
        return w - decay * w - rate * m / (np.sqrt(v) + epsilon), m, v

    @staticmethod
    def vector(n: Any, g: Any, w: Any, m: Any, v: Any) -> Any:
        rate, epsilon, decay, *betas = n
        m, v = averages(betas, g, m, v)
        return w - w * decay - m * rate / (sqrt(v) + epsilon), m, v


@OPTIMIZERS.add("nadam")
class NAdam(Moments):
    """Adam with Nesterov's momentum, which grows during training: ``solver="nadam"``, or ``NAdam(beta_1=0.8)``.

    The learning rate is the estimator's ``learning_rate_init``; 0.002 is a usual one.

    Parameters
    ----------
    beta_1, beta_2 : float in [0, 1), default=0.9 and default=0.999
        Decay of the averages of the gradient and of its square.
    epsilon : float > 0, default=1e-8
        Added to the square root, so that nothing is divided by 0.
    momentum_decay : float >= 0, default=0.004
        How fast the momentum grows from beta_1 / 2 to beta_1.

    Notes
    -----
    mu_t = beta_1 (1 - 0.96^(t momentum_decay) / 2),
    m_hat = (1 - mu_t) g / (1 - mu_1 ... mu_t) + mu_(t+1) m / (1 - mu_1 ... mu_(t+1)),
    w = w - rate m_hat / (√(v / (1 - beta_2^t)) + epsilon).

    Source: T. Dozat 2016, "Incorporating Nesterov momentum into Adam"; PyTorch.
    """

    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "momentum_decay", at_least=0)

    def mu(self, t: Any) -> Any:
        """The momentum of step t."""
        return self.beta_1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))

    @cached_property
    def mu_products(self) -> np.ndarray:
        """mu_1 ... mu_t for t = 0, 1, ... until they no longer change 1: after 54 steps by default."""
        products = [1.0]
        while products[-1] > 1e-17:
            products.append(products[-1] * self.mu(len(products)))
        return np.array(products)

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        correction_2 = self.bias_corrections(t)[1]
        mu, mu_next = self.mu(t), self.mu(t + 1)
        product = self.mu_products[np.minimum(t, len(self.mu_products) - 1).astype(np.intp)]
        of_gradient = rate * correction_2 * (1 - mu) / (1 - product)
        of_average = rate * correction_2 * mu_next / (1 - product * mu_next)
        return rows_of(t, of_gradient, of_average, self.epsilon * correction_2, *self.decays())

    def formula(
        self, n: np.ndarray, g: np.ndarray, w: np.ndarray, m: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        of_gradient, of_average, epsilon, beta_1, beta_2, rest_1, rest_2 = n
        m = beta_1 * m + rest_1 * g
        v = beta_2 * v + rest_2 * g**2
        return w - (of_gradient * g + of_average * m) / (np.sqrt(v) + epsilon), m, v

    @staticmethod
    def vector(n: Any, g: Any, w: Any, m: Any, v: Any) -> Any:
        of_gradient, of_average, epsilon, *betas = n
        m, v = averages(betas, g, m, v)
        return w - (g * of_gradient + m * of_average) / (sqrt(v) + epsilon), m, v


@OPTIMIZERS.add("radam")
class RAdam(Moments):
    """Adam that divides by √v only when enough gradients are known: ``solver="radam"``, or ``RAdam(beta_2=0.99)``.

    The learning rate is the estimator's ``learning_rate_init``; 0.001 is a usual one, and no warm-up is needed.

    Parameters
    ----------
    beta_1, beta_2 : float in [0, 1), default=0.9 and default=0.999
        Decay of the averages of the gradient and of its square.
    epsilon : float > 0, default=1e-8
        Added to the square root, so that nothing is divided by 0.

    Notes
    -----
    rho_t = rho - 2 t beta_2^t / (1 - beta_2^t),  rho = 2 / (1 - beta_2) - 1,
    w = w - rate / (1 - beta_1^t) m                                          while rho_t <= 5, then
    w = w - rate / (1 - beta_1^t) m r_t √(1 - beta_2^t) / (√v + epsilon),
    r_t^2 = (rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t).

    Both are one step, with one of its two rates zero.

    Source: L. Liu et al. 2020, "On the variance of the adaptive learning rate and beyond", algorithm 2; epsilon and
    the bound 5 as in PyTorch.
    """

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        correction_1, correction_2 = self.bias_corrections(t)
        rho = 2 / (1 - self.beta_2) - 1
        rho_t = rho - 2 * t * self.beta_2**t / correction_2**2
        trusted = rho_t > 5
        above, below = (rho_t - 4) * (rho_t - 2) * rho, (rho - 4) * (rho - 2) * rho_t
        rectification = np.sqrt(np.divide(above, below, out=np.zeros_like(rate), where=trusted))
        plain, adaptive = rate / correction_1 * ~trusted, rate / correction_1 * rectification * correction_2
        return rows_of(t, plain, adaptive, self.epsilon, *self.decays())

    def formula(
        self, n: np.ndarray, g: np.ndarray, w: np.ndarray, m: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        plain, adaptive, epsilon, beta_1, beta_2, rest_1, rest_2 = n
        m = beta_1 * m + rest_1 * g
        v = beta_2 * v + rest_2 * g**2
        return w - plain * m - adaptive * m / (np.sqrt(v) + epsilon), m, v

    @staticmethod
    def vector(n: Any, g: Any, w: Any, m: Any, v: Any) -> Any:
        plain, adaptive, epsilon, *betas = n
        m, v = averages(betas, g, m, v)
        return w - m * plain - m * adaptive / (sqrt(v) + epsilon), m, v


@OPTIMIZERS.add("lion")
class Lion(Optimizer):
    """Every weight moves by the same amount, up or down: ``solver="lion"``, or ``Lion(weight_decay=0.1)``.

    The learning rate is the estimator's ``learning_rate_init``; use a third to a tenth of Adam's, 0.0001 say.

    Parameters
    ----------
    beta_1, beta_2 : float in [0, 1), default=0.9 and default=0.99
        Share of the average in the direction of a step, and decay of the average itself.
    weight_decay : float >= 0, default=0.0
        Share of each weight, times the learning rate, that a step takes off.

    Notes
    -----
    w = w - rate [sign(beta_1 m + (1 - beta_1) g) + weight_decay w],  m = beta_2 m + (1 - beta_2) g.

    Source: X. Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2.
    """

    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0

    states = 1

    def __post_init__(self) -> None:
        check_number(self, "beta_1", at_least=0, below=1)
        check_number(self, "beta_2", at_least=0, below=1)
        check_number(self, "weight_decay", at_least=0)

    def scalars(self, t: np.ndarray, rate: np.ndarray) -> np.ndarray:
        decay = rate * self.weight_decay
        return rows_of(t, rate, decay, self.beta_1, self.beta_2, 1 - self.beta_1, 1 - self.beta_2)

    def formula(self, n: np.ndarray, g: np.ndarray, w: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, ...]:
        rate, decay, beta_1, beta_2, rest_1, rest_2 = n
        return w - rate * np.sign(beta_1 * m + rest_1 * g) - decay * w, beta_2 * m + rest_2 * g

    @staticmethod
    def vector(n: Any, g: Any, w: Any, m: Any) -> Any:
        rate, decay, beta_1, beta_2, rest_1, rest_2 = n
        direction = m * beta_1 + g * rest_1
        sign = where(direction > 0, 1, where(direction < 0, -1, direction))  # 0 and NaN are their own
        return w - sign * rate - w * decay, m * beta_2 + g * rest_2


# --- for compiled code ------------------------------------------------------------------------------------------------

MOST_STATES = max(component.states for component in OPTIMIZERS.classes)
MOST_SCALARS = 8


def _elementwise(component: Any) -> Any:
    """Streams: g; w and the states, which become new."""
    n_scalars = component.scalars(np.ones(1), np.ones(1)).shape[1]
    updated = tuple(range(1, 2 + component.states))
    return ElementwiseFunction(component.vector, n_scalars, (0, *updated), updated)


apply = elementwise_dispatch("optimizer", [_elementwise(component()) for component in OPTIMIZERS.classes])


def code_of(optimizer: Optimizer, dtype: Any) -> int:
    """What kernels know it by: its place among the built-in ones, or the address of a user's own."""
    if not OPTIMIZERS.is_own(optimizer):
        return optimizer.code
    cls, function = type(optimizer), _elementwise(optimizer)
    name = f"vector of {cls.__qualname__}"
    address: int = own.elementwise_address((cls, function.scalars), function, 2 + MOST_STATES, dtype, name)
    return address


def _check(cls: Any) -> None:
    """What an optimizer of a user's own needs."""
    reason = (
        "An optimizer has scalars(t, rate), formula(n, g, w, *states) and vector(n, g, w, *states), the latter two "
        "giving (w, *states): see Optimizer."
    )
    if issubclass(cls, Optimizer) and cls.states not in range(MOST_STATES + 1):
        raise TypeError(f"states of {cls.__qualname__} must be an int of at most {MOST_STATES}; got {cls.states!r}.")
    states = [f"state{n}" for n in range(getattr(cls, "states", 0))]
    arguments = ", ".join(("n", "g", "w", *states))
    methods = {"scalars": "self, t, rate", "formula": f"self, {arguments}", "vector": arguments}
    require(cls, Optimizer, methods, reason)
    t, w = np.array([1.0, 2.0]), np.linspace(-2, 2, 6).reshape(2, 3)
    rows = np.asarray(cls().scalars(t, 0.1 * t))
    if rows.ndim != 2 or len(rows) != 2 or rows.shape[1] > MOST_SCALARS:
        raise TypeError(
            f"scalars of {cls.__qualname__} must give an array of shape (steps, k), k at most {MOST_SCALARS}; "
            f"got shape {rows.shape} for 2 steps."
        )
    new = [w.shape] * (1 + len(states))
    require_shapes(f"formula of {cls.__qualname__}", lambda: cls().formula(rows[0], w, w, *[abs(w)] * len(states)), new)


OPTIMIZERS.complete(_check)
