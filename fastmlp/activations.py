"""Activations: the words f(z) between the layers, each with its slope f'(z).

A word stands here twice: as a NumPy formula and as a function of a SIMD vector, written independently, so that one can
check the other. To add one: a formula, a vector function, a line in `apply`, a row in the table.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from .machine import elementary
from .machine.jit import inlined
from .machine.simd import full_like, maximum, where


class Activation(NamedTuple):
    """A row of the table: the integer that kernels switch on, and the formula z -> (f(z), f'(z))."""

    code: int
    formula: object


# --- in NumPy ---------------------------------------------------------------------------------------------------------


def identity_formula(z):
    """f(z) = z, f'(z) = 1."""
    return z, np.ones_like(z)


def logistic_formula(z):
    """f(z) = 1 / (1 + exp(-z)), f'(z) = f(z) (1 - f(z))."""
    y = expit(z)
    return y, y * (1 - y)


def tanh_formula(z):
    """f(z) = tanh(z), f'(z) = 1 - f(z)^2."""
    y = np.tanh(z)
    return y, 1 - y * y


def relu_formula(z):
    """f(z) = max(z, 0), f'(z) = 1 where z > 0, else 0 (also at z = 0)."""
    return np.maximum(z, 0), (z > 0).astype(z.dtype)


IDENTITY, LOGISTIC, TANH, RELU = range(4)
ACTIVATIONS = {
    "identity": Activation(IDENTITY, identity_formula),
    "logistic": Activation(LOGISTIC, logistic_formula),
    "tanh": Activation(TANH, tanh_formula),
    "relu": Activation(RELU, relu_formula),
}


# --- on vectors -------------------------------------------------------------------------------------------------------


@inlined
def identity(z):
    """See identity_formula."""
    return z, full_like(z, 1)


@inlined
def logistic(z):
    """See logistic_formula."""
    y = elementary.logistic(z)
    return y, y * (1 - y)


@inlined
def tanh(z):
    """See tanh_formula."""
    y = elementary.tanh(z)
    return y, 1 - y * y


@inlined
def relu(z):
    """See relu_formula."""
    return maximum(z, 0), where(z > 0, full_like(z, 1), 0)


@inlined
def apply(code, z):
    """(f(z), f'(z)) of the activation `code`."""
    if code == LOGISTIC:
        return logistic(z)
    if code == TANH:
        return tanh(z)
    if code == RELU:
        return relu(z)
    return identity(z)
