"""Optimizers: how a weight w follows its gradient g.

The state of every optimizer is two numbers beside each weight, `first` and `second`, zero at the start. Each word
stands here as a NumPy formula and as a function of SIMD vectors.
"""

import math
from typing import NamedTuple

import numpy as np

from .machine.jit import inlined
from .machine.simd import sqrt


class Optimizer(NamedTuple):
    """A row of the table: the integer that kernels switch on, and the formula (g, w, first, second, rates) -> new."""

    code: int
    formula: object


class Settings(NamedTuple):
    """What a user chooses. `momentum` is that of sgd and nesterov; the betas and epsilon are Adam's."""

    learning_rate: float
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    alpha: float = 0.0


class Rates(NamedTuple):
    """The numbers of one step, in the dtype of the weights.

    rest_1 = 1 - beta_1, rest_2 = 1 - beta_2; share = 1 / sum of the batch's sample weights; alpha is the L2 penalty.
    """

    learning_rate: float
    momentum: float
    beta_1: float
    beta_2: float
    rest_1: float
    rest_2: float
    epsilon: float
    alpha: float
    share: float


# --- in NumPy ---------------------------------------------------------------------------------------------------------


def gradient_formula(g, w, first, second, rates):
    """first = g; the weight stays."""
    return w, g, second


def sgd_formula(g, w, first, second, rates):
    """Stochastic gradient descent with momentum (Polyak 1964): v = momentum v - rate g, w = w + v."""
    velocity = rates.momentum * first - rates.learning_rate * g
    return w + velocity, velocity, second


def nesterov_formula(g, w, first, second, rates):
    """Nesterov's momentum (Sutskever et al. 2013): v = momentum v - rate g, w = w + momentum v - rate g."""
    velocity = rates.momentum * first - rates.learning_rate * g
    return w + rates.momentum * velocity - rates.learning_rate * g, velocity, second


def adam_formula(g, w, first, second, rates):
    """Adam (Kingma and Ba 2014, algorithm 1, in the form of section 2's last paragraph):

    m = beta_1 m + (1 - beta_1) g,  v = beta_2 v + (1 - beta_2) g^2,
    w = w - rate_t m / (sqrt(v) + epsilon),  rate_t = rate sqrt(1 - beta_2^t) / (1 - beta_1^t).
    """
    first = rates.beta_1 * first + rates.rest_1 * g
    second = rates.beta_2 * second + rates.rest_2 * g**2
    return w - rates.learning_rate * first / (np.sqrt(second) + rates.epsilon), first, second


GRADIENT, SGD, NESTEROV, ADAM = range(4)
OPTIMIZERS = {
    "gradient": Optimizer(GRADIENT, gradient_formula),
    "sgd": Optimizer(SGD, sgd_formula),
    "nesterov": Optimizer(NESTEROV, nesterov_formula),
    "adam": Optimizer(ADAM, adam_formula),
}


# --- on numbers and vectors -------------------------------------------------------------------------------------------


@inlined
def effective_learning_rate(code, settings, step):
    """The learning rate of a step (1, 2, ...), with Adam's correction for moments that start at zero."""
    if code == ADAM:
        return settings.learning_rate * math.sqrt(1 - settings.beta_2**step) / (1 - settings.beta_1**step)
    return settings.learning_rate


@inlined
def sgd(g, w, first, second, rates):
    """See sgd_formula."""
    velocity = first * rates.momentum - g * rates.learning_rate
    return w + velocity, velocity, second


@inlined
def nesterov(g, w, first, second, rates):
    """See nesterov_formula."""
    velocity = first * rates.momentum - g * rates.learning_rate
    return w + velocity * rates.momentum - g * rates.learning_rate, velocity, second


@inlined
def adam(g, w, first, second, rates):
    """See adam_formula."""
    first = first * rates.beta_1 + g * rates.rest_1
    second = second * rates.beta_2 + g * g * rates.rest_2
    return w - first * rates.learning_rate / (sqrt(second) + rates.epsilon), first, second


@inlined
def apply(code, g, w, first, second, rates):
    """(w, first, second) after one step of the optimizer `code`."""
    if code == ADAM:
        return adam(g, w, first, second, rates)
    if code == NESTEROV:
        return nesterov(g, w, first, second, rates)
    if code == SGD:
        return sgd(g, w, first, second, rates)
    return w, g, second
