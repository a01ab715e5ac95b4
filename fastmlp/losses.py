"""Losses: what is minimized, as a function of the output layer's z (before its activation) and the target t.

Each loss brings the output activation that makes it canonical, so that the derivative of the loss by z is always
delta = prediction - target. Elementwise words stand here as a NumPy formula and as a function of SIMD vectors. The
softmax needs a whole row: it is grammar, and here only has its name.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, softmax, xlogy

from .machine import elementary
from .machine.jit import inlined
from .machine.simd import absolute, epsilon_like, maximum, minimum, where


class Loss(NamedTuple):
    """A row of the table.

    code : the integer that kernels switch on
    codes : whether targets are class codes (n_rows,) rather than a matrix (n_rows, n_outputs)
    formula : (z, t) -> (loss of each row, delta); shapes (n_rows, n_outputs), and (n_rows,) for class codes
    prediction : z -> what the network predicts
    """

    code: int
    codes: bool
    formula: object
    prediction: object


# --- in NumPy ---------------------------------------------------------------------------------------------------------


def _clipped(probability):
    """Probabilities no nearer to 0 and 1 than the dtype's epsilon, as in scikit-learn, so that their log is finite."""
    epsilon = np.finfo(probability.dtype).eps
    return np.clip(probability, epsilon, 1 - epsilon)


def softmax_prediction(z):
    """p_k = exp(z_k) / sum_j exp(z_j)."""
    return softmax(z, axis=1)


def softmax_log_loss_formula(z, t):
    """loss = -log p_t, delta = p - onehot(t)."""
    p = softmax_prediction(z)
    rows = np.arange(len(t))
    delta = p.copy()
    delta[rows, t] -= 1
    return -np.log(_clipped(p))[rows, t], delta


def logistic_log_loss_formula(z, t):
    """p = 1 / (1 + exp(-z)); loss = -sum_k [t_k log p_k + (1 - t_k) log(1 - p_k)], delta = p - t."""
    p = expit(z)
    clipped = _clipped(p)
    return -(xlogy(t, clipped) + xlogy(1 - t, 1 - clipped)).sum(axis=1), p - t


def identity_prediction(z):
    """y = z."""
    return z


def squared_error_formula(z, t):
    """loss = mean_k (z_k - t_k)^2 / 2, delta = z - t (not divided by the number of outputs, as in scikit-learn)."""
    delta = z - t
    return 0.5 * (delta**2).mean(axis=1), delta


def poisson_formula(z, t):
    """y = exp(z); half the Poisson deviance: loss = sum_k t_k log(t_k / y_k) - t_k + y_k, delta = y - t."""
    y = np.exp(z)
    return (xlogy(t, t) - t * z - t + y).sum(axis=1), y - t


SOFTMAX_LOG_LOSS, LOGISTIC_LOG_LOSS, SQUARED_ERROR, POISSON = range(4)
LOSSES = {
    "softmax_log_loss": Loss(SOFTMAX_LOG_LOSS, True, softmax_log_loss_formula, softmax_prediction),
    "logistic_log_loss": Loss(LOGISTIC_LOG_LOSS, False, logistic_log_loss_formula, expit),
    "squared_error": Loss(SQUARED_ERROR, False, squared_error_formula, identity_prediction),
    "poisson": Loss(POISSON, False, poisson_formula, np.exp),
}


# --- on vectors -------------------------------------------------------------------------------------------------------


@inlined
def clipped_log(logarithm):
    """log of a probability that was clipped to [epsilon, 1 - epsilon], from the log of the probability itself."""
    epsilon = epsilon_like(logarithm)
    return minimum(maximum(logarithm, elementary.log(epsilon)), -epsilon)


@inlined
def logistic_log_loss(z, t):
    """See logistic_log_loss_formula."""
    rest = elementary.log1p(elementary.exp(-absolute(z)))
    log_p, log_q = clipped_log(minimum(z, 0) - rest), clipped_log(minimum(-z, 0) - rest)
    return (t - 1) * log_q - t * log_p, elementary.logistic(z) - t


@inlined
def squared_error(z, t):
    """See squared_error_formula."""
    delta = z - t
    return delta * delta * 0.5, delta


@inlined
def poisson(z, t):
    """See poisson_formula."""
    y = elementary.exp(z)
    return where(t > 0, t * (elementary.log(t) - z - 1), 0) + y, y - t


@inlined
def apply(code, z, t):
    """(loss, delta) of every output, for the elementwise losses."""
    if code == LOGISTIC_LOG_LOSS:
        return logistic_log_loss(z, t)
    if code == POISSON:
        return poisson(z, t)
    return squared_error(z, t)


@inlined
def scale(code, outputs):
    """What a row's sum over its outputs is multiplied by."""
    if code == SQUARED_ERROR:
        return 1 / outputs
    return 1.0


@inlined
def predict(code, z):
    """The output activation of the elementwise losses."""
    if code == LOGISTIC_LOG_LOSS:
        return elementary.logistic(z)
    if code == POISSON:
        return elementary.exp(z)
    return z
