"""Losses: what is minimized, as a function of the output layer's z (before its output activation) and the target t.

A loss may be met by several output activations y = g(z). In general delta = dloss/dz = dloss/dy g'(z). For the
canonical pairs the two factors cancel and the same delta = y - t is left: softmax and logistic with log_loss, exp with
poisson, identity with squared_error; softmax with kl_divergence too, where targets sum to 1.

Elementwise components stand here twice: as a NumPy formula and as a function of SIMD vectors, written independently, so
that one can check the other. The softmax needs a whole row: its pass is in `core/outputs.py`, and what it calls is
here.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax, xlogy

from .components import Component, Registry, check_number, require, require_number, require_shapes
from .machine import elementary, own
from .machine.elementary import exp, expm1, log, log1p
from .machine.elementwise import vector_dispatch
from .machine.simd import absolute, copysign, epsilon_like, full_like, maximum, minimum, smallest_like, traced, where

__all__ = [
    "LOSSES",
    "OUTPUTS",
    "PAIRS",
    "AbsoluteError",
    "ClassLoss",
    "ErrorLoss",
    "Focal",
    "Gamma",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "LogLoss",
    "Loss",
    "LossCodes",
    "Output",
    "Poisson",
    "Quantile",
    "SquaredError",
]

LOSSES: "Registry[Loss]" = Registry(
    "loss",
    {
        **dict.fromkeys(("mse", "l2", "mean_squared_error", "squared_loss"), "squared_error"),
        **dict.fromkeys(("mae", "l1", "mean_absolute_error"), "absolute_error"),
        **dict.fromkeys(("bce", "nll", "ce", "binary_crossentropy", "categorical_crossentropy", "logloss"), "log_loss"),
        **dict.fromkeys(("kl", "kld"), "kl_divergence"),
        "smooth_l1": "huber",
        "pinball": "quantile",
    },
)

# --- output activations -----------------------------------------------------------------------------------------------


class Output(NamedTuple):
    """An output activation y = g(z).

    Attributes
    ----------
    formula : callable z -> y, of an array
    vector : the same of a vector
    slope : callable y -> g'(z), of both
    """

    formula: Callable[[np.ndarray], np.ndarray]
    vector: Callable[[Any], Any] | None = None
    slope: Callable[[Any], Any] | None = None


_OUTPUTS = {
    "identity": Output(lambda z: z, lambda z: z, lambda y: 1),
    "logistic": Output(expit, elementary.logistic, lambda y: y * (1 - y)),
    "tanh": Output(np.tanh, elementary.tanh, lambda y: 1 - y * y),
    "exp": Output(np.exp, elementary.exp, lambda y: y),
    "softmax": Output(partial(softmax, axis=1)),
}
OUTPUTS = tuple(_OUTPUTS)


def output_formula(output: str, z: np.ndarray) -> np.ndarray:
    """y = g(z): z, 1 / (1 + exp(-z)), tanh(z), exp(z), or the softmax exp(z_k) / sum_j exp(z_j)."""
    return _OUTPUTS[output].formula(z)


def output_vector(output: Any, z: Any) -> Any:
    """See output_formula; on vectors, all but the softmax."""
    vector: Any = _OUTPUTS[output].vector
    return vector(z)


def output_slope(output: str, y: np.ndarray) -> Any:
    """g'(z) as a function of y = g(z), of an array or a vector; all but the softmax."""
    slope: Any = _OUTPUTS[output].slope
    return slope(y)


# --- what losses have in common ---------------------------------------------------------------------------------------


class Loss(Component):
    """What all losses have.

    Attributes
    ----------
    outputs : tuple of str
        The output activations it allows, its default first.
    classifies, regresses : bool
        Whether classifiers and regressors may have it.
    positive, nonnegative : bool
        Whether targets must be above 0, and at least 0.
    averaged : bool
        Whether a row's loss is a mean over outputs, not their sum.
    """

    outputs: ClassVar[tuple[str, ...]]
    classifies = regresses = positive = nonnegative = averaged = False

    @staticmethod
    def takes_codes(output: str) -> bool:
        """Whether targets are class codes (n_rows,) rather than a matrix (n_rows, n_outputs)."""
        return False

    @classmethod
    def row_scale(cls, n_outputs: int) -> float:
        """What the sum over a row's outputs is multiplied by."""
        return 1 / n_outputs if cls.averaged else 1.0

    def formula(self, output: str, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(loss of each row, delta); shapes (n_rows,) and (n_rows, n_outputs), in the dtype of z."""
        raise NotImplementedError

    def of_outputs(self, output: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The loss of each row from the outputs y = g(z), for validation: without smoothing of labels."""
        raise NotImplementedError

    @staticmethod
    def vector(output: Any, z: Any, t: Any, hyperparameter: Any) -> Any:
        """(loss, delta) of every single output on vectors; `hyperparameter` is the vector of the outputs' own."""
        raise NotImplementedError


class ClassLoss(Loss):
    """A loss of a probability: of one class among several (softmax, class codes), or of each 0/1 output (logistic).

    A loss that scikit-learn has too clips probabilities to [epsilon, 1 - epsilon] of the dtype, as it does there; all
    others are exact however large z is, from log p = z_t - log(sum_k exp(z_k)) and 1 - p = -expm1(log p). For
    validation, where only p is known (`of_outputs`), all of them clip.
    """

    outputs = ("softmax", "logistic")
    classifies = True

    @staticmethod
    def takes_codes(output: str) -> bool:
        return output == "softmax"

    @staticmethod
    def row_vector(log_p: Any, hyperparameter: Any) -> Any:
        """(loss, factor): delta = factor (p - onehot), where log_p is the log of the true class's probability."""
        raise NotImplementedError


class ErrorLoss(Loss):
    """A loss of the errors e = y - t: loss = mean_k rho(e_k), delta_k = rho'(e_k) g'(z_k).

    delta is not divided by the number of outputs: scikit-learn's convention.
    """

    outputs: ClassVar[tuple[str, ...]] = ("identity", "logistic", "tanh", "exp")
    regresses = averaged = True

    def formula(self, output: str, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = output_formula(output, z)
        rho, slope = self.of_error(y - t)
        return rho.mean(axis=1), slope * output_slope(output, y)

    def of_outputs(self, output: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self.of_error(y - t)[0].mean(axis=1)

    @classmethod
    def vector(cls, output: Any, z: Any, t: Any, hyperparameter: Any) -> Any:
        y = output_vector(output, z)
        of_error = own.checked(cls.of_error_vector, 2, f"of_error_vector of {cls.__qualname__}")
        rho, slope = of_error(y - t, hyperparameter)
        return rho, slope * output_slope(output, y)

    def of_error(self, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rho(e), rho'(e)) of an array."""
        raise NotImplementedError

    @staticmethod
    def of_error_vector(e: Any, hyperparameter: Any) -> Any:
        """(rho(e), rho'(e)) of a vector."""
        raise NotImplementedError


def _clipped(probability: Any) -> Any:
    """Probabilities no nearer to 0 and 1 than the dtype's epsilon."""
    epsilon = np.finfo(probability.dtype).eps
    return np.clip(probability, epsilon, 1 - epsilon)


def clipped_log(logarithm: Any) -> Any:
    """log of a probability that was clipped, from the log of the probability itself; on vectors."""
    epsilon = epsilon_like(logarithm)
    return minimum(maximum(logarithm, log(epsilon)), -epsilon)


# --- for the classifier -----------------------------------------------------------------------------------------------


@LOSSES.add("log_loss", "cross_entropy")
class LogLoss(ClassLoss):
    """loss = -sum_k q_k log p_k, delta = p - q: prediction - target.

    Over the classes of a softmax, q = (1 - s) onehot(t) + s / n_classes. Over the two sides of each logistic output,
    of probability p and 1 - p, q = (1 - s) t + s / 2. Without smoothing p is clipped, as in scikit-learn.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        s in [0, 1): how much of the target is spread over all classes.

    Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990), for softmax and
    log; Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016, section 7, for
    smoothing.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "label_smoothing", at_least=0, below=1)

    def formula(self, output: str, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, s = output_formula(output, z), self.label_smoothing
        if output == "logistic":
            q = (1 - s) * t + s / 2
            clipped = _clipped(p)
            loss = np.logaddexp(0, z) - q * z if s else -(xlogy(q, clipped) + xlogy(1 - q, 1 - clipped))
            return loss.sum(axis=1), p - q
        rows, log_p = np.arange(len(t)), log_softmax(z, axis=1) if s else np.log(_clipped(p))
        delta = p - s / p.shape[1]
        delta[rows, t] -= 1 - s
        return -(1 - s) * log_p[rows, t] - s * log_p.mean(axis=1), delta

    def of_outputs(self, output: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        if output == "softmax":
            return -np.log(_clipped(y[np.arange(len(t)), t]))
        p = _clipped(y)
        return -np.log(np.where(t > 0, p, 1 - p)).sum(axis=1)

    @staticmethod
    def vector(output: Any, z: Any, t: Any, label_smoothing: Any) -> Any:
        q = t + label_smoothing * (0.5 - t)
        rest = log1p(exp(-absolute(z)))
        log_p, log_not_p = minimum(z, 0) - rest, minimum(-z, 0) - rest
        clipped = (q - 1) * clipped_log(log_not_p) - q * clipped_log(log_p)
        loss = where(label_smoothing > 0, (q - 1) * log_not_p - q * log_p, clipped)
        return loss, elementary.logistic(z) - q

    @staticmethod
    def row_vector(log_p: Any, label_smoothing: Any) -> Any:
        """But for what smoothing adds, which needs all classes: loss = -log p, delta = p - onehot."""
        return -where(label_smoothing > 0, log_p, clipped_log(log_p)), full_like(log_p, 1)


@LOSSES.add("squared_error")
class SquaredError(ErrorLoss):
    """loss = mean_k (y_k - t_k)² / 2, delta = (y - t) g'(z). Of identity: prediction - target.

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323 (1986),
    equation 3, there the sum over the outputs; the mean is scikit-learn's.
    """

    classifies = True

    def of_error(self, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 0.5 * e**2, e

    @staticmethod
    def of_error_vector(e: Any, hyperparameter: Any) -> Any:
        return e * e * 0.5, e


@LOSSES.add("kl_divergence")
class KLDivergence(Loss):
    """loss = sum_k t_k (log t_k - log p_k), 0 where t_k = 0; delta = p sum_k t_k - t.

    Each row of t holds the probabilities of all classes. Where they sum to 1, delta is prediction - target.

    Parameters
    ----------
    classes : sequence of labels of the columns, default=None: 0, 1, 2, ...

    Source: Kullback and Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22 (1951),
    equation 2.4; soft targets: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015).
    """

    classes: Sequence[Any] | None = None  # kept as a tuple
    outputs = ("softmax",)
    classifies = True
    hyperparameter = 0.0  # `classes` is none

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "classes", None if self.classes is None else tuple(self.classes))
        except TypeError:
            raise ValueError(
                f"classes of KLDivergence must be a sequence of labels or None; got {self.classes!r}."
            ) from None

    def formula(self, output: str, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_p = log_softmax(z, axis=1)
        terms = np.where(t == 0, 0, xlogy(t, t) - t * log_p)
        return terms.sum(axis=1), np.exp(log_p) * t.sum(axis=1, keepdims=True) - t

    def of_outputs(self, output: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.where(t == 0, 0, xlogy(t, t) - t * np.log(_clipped(y))).sum(axis=1)

    @staticmethod
    def term_vector(log_p: Any, t: Any) -> Any:
        """What one class adds to the loss of its row."""
        return where(t == 0, 0, t * (log(t) - log_p))


@LOSSES.add("focal")
class Focal(ClassLoss):
    """loss = -(1 - p)^gamma log p, where p is the probability of the true class, or of each output's true side.

    delta = c (p - onehot(t)), c = (1 - p)^gamma - gamma p (1 - p)^(gamma - 1) log p. Of gamma = 0 it is the log loss;
    the greater gamma, the less an easy row counts.

    Parameters
    ----------
    gamma : float, default=2.0
        In [0, inf).

    Source: Lin, Goyal, Girshick, He and Dollár, "Focal loss for dense object detection", ICCV 2017, equation 4.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        check_number(self, "gamma", at_least=0)

    def formula(self, output: str, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = output_formula(output, z)
        if output == "softmax":
            onehot = np.zeros_like(y)
            onehot[np.arange(len(t)), t] = 1
            loss, factor = self._of_log(log_softmax(z, axis=1)[onehot == 1])
            return loss, factor[:, None] * (y - onehot)
        loss, factor = self._of_log(log_expit(np.where(t == 1, z, -z)))
        return loss.sum(axis=1), factor * (y - t)

    def of_outputs(self, output: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        if output == "softmax":
            return self._of_log(np.log(_clipped(y[np.arange(len(t)), t])))[0]
        return self._of_log(np.log(_clipped(np.where(t > 0, y, 1 - y))))[0].sum(axis=1)

    def _of_log(self, log_p: Any) -> Any:
        """(loss, c) from log p: c = q^gamma (1 - gamma p log(p) / q), where q = 1 - p; log(p) / q is -1 at p = 1."""
        p, q = np.exp(log_p), -np.expm1(log_p)
        ratio = np.divide(log_p, q, out=np.full_like(q, -1), where=q != 0)
        return -(q**self.gamma) * log_p, q**self.gamma * (1 - self.gamma * p * ratio)

    @classmethod
    def vector(cls, output: Any, z: Any, t: Any, gamma: Any) -> Any:
        towards = where(t == 1, z, -z)
        loss, factor = cls.row_vector(minimum(towards, 0) - log1p(exp(-absolute(z))), gamma)
        return loss, factor * (elementary.logistic(z) - t)

    @staticmethod
    def row_vector(log_p: Any, gamma: Any) -> Any:
        """With q = 1 - p from log p without cancellation: factor = q^gamma (1 - gamma p log(p) / q).

        q = 0 is taken as the smallest number above it: for the logarithm, and so that q^0 is 1.
        """
        q = maximum(-expm1(log_p), smallest_like(log_p))
        focus = exp(gamma * log(q))
        return -focus * log_p, focus * (1 - gamma * (1 - q) * log_p / q)


# --- for the regressor ------------------------------------------------------------------------------------------------


@LOSSES.add("absolute_error")
class AbsoluteError(ErrorLoss):
    """loss = mean_k |y_k - t_k|, delta = sign(y - t) g'(z), 0 at y = t. Least at the median.

    Source: Hastie, Tibshirani and Friedman, "The elements of statistical learning" (2009), section 10.6.
    """

    def of_error(self, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return abs(e), np.sign(e)

    @staticmethod
    def of_error_vector(e: Any, hyperparameter: Any) -> Any:
        return absolute(e), where(absolute(e) > 0, copysign(full_like(e, 1), e), e)


@LOSSES.add("huber")
class Huber(ErrorLoss):
    """With e = y - t: loss = mean_k e² / 2 where |e| <= delta, else delta (|e| - delta / 2).

    rho'(e) = e, but no farther from 0 than delta.

    Parameters
    ----------
    delta : float, default=1.0
        In (0, inf): the error from which on the loss is a straight line.

    Source: Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35 (1964).
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "delta", above=0)

    def of_error(self, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        line = self.delta * (abs(e) - 0.5 * self.delta)
        return np.where(abs(e) <= self.delta, 0.5 * e**2, line), np.clip(e, -self.delta, self.delta)

    @staticmethod
    def of_error_vector(e: Any, delta: Any) -> Any:
        near = minimum(absolute(e), delta)
        return near * (absolute(e) - 0.5 * near), copysign(near, e)


@LOSSES.add("log_cosh")
class LogCosh(ErrorLoss):
    """loss = mean_k log(cosh(y_k - t_k)), rho'(e) = tanh(e): e² / 2 near 0, |e| - log 2 far away.

    Source: Saleh and Saleh, "Statistical properties of the log-cosh loss function used in machine learning" (2022).
    """

    def of_error(self, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.logaddexp(e, -e) - math.log(2), np.tanh(e)

    @staticmethod
    def of_error_vector(e: Any, hyperparameter: Any) -> Any:
        """With m = exp(-2|e|) - 1: log(cosh(e)) = |e| + log(1 + m/2), tanh|e| = -m / (2 + m)."""
        m = expm1(absolute(e) * -2)
        return absolute(e) + log1p(m * 0.5), copysign(m / (m + 2), e)


@LOSSES.add("quantile")
class Quantile(ErrorLoss):
    """The pinball loss of a level q: rho(e) = (1 - q) e where e = y - t > 0, else -q e. Least at the q-quantile.

    rho'(e) = 1 - q where e > 0, -q where e < 0, 0 at e = 0. There is one output for each target and level, in the order
    target 0 level 0, target 0 level 1, ..., and t holds each target as often.

    Parameters
    ----------
    levels : float or sequence of float, default=(0.5,)
        Numbers in (0, 1), at least one.

    Source: Koenker and Bassett, "Regression quantiles", Econometrica 46 (1978).
    """

    levels: Any = (0.5,)  # kept as a tuple
    outputs = ("identity", "exp")

    def __post_init__(self) -> None:
        try:  # one level needs no sequence
            levels = tuple(map(float, self.levels if np.ndim(self.levels) else (self.levels,)))
        except (TypeError, ValueError):
            levels = ()
        if not (levels and all(0 < level < 1 for level in levels)):
            raise ValueError(f"levels of Quantile must be numbers in (0, 1), at least one; got {self.levels!r}.")
        object.__setattr__(self, "levels", levels)

    def of_error(self, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        q = np.resize(np.array(self.levels, e.dtype), e.shape[1])
        return np.maximum((1 - q) * e, -q * e), np.where(e > 0, 1 - q, np.where(e < 0, -q, e))

    @staticmethod
    def of_error_vector(e: Any, q: Any) -> Any:
        return where(e > 0, (1 - q) * e, -q * e), where(e > 0, 1 - q, where(e < 0, -q, e))


@LOSSES.add("poisson")
class Poisson(Loss):
    """y = exp(z); half the Poisson deviance: loss = sum_k t_k log(t_k / y_k) - t_k + y_k, delta = y - t.

    Source: McCullagh and Nelder, "Generalized linear models" (1989), section 2.3; scikit-learn.
    """

    outputs = ("exp",)
    regresses = nonnegative = True

    def formula(self, output: str, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = np.exp(z)
        return (xlogy(t, t) - t * z - t + y).sum(axis=1), y - t

    def of_outputs(self, output: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        return (xlogy(t, t / y) - t + y).sum(axis=1)

    @staticmethod
    def vector(output: Any, z: Any, t: Any, hyperparameter: Any) -> Any:
        y = exp(z)
        return where(t > 0, t * (log(t) - z - 1), 0) + y, y - t


@LOSSES.add("gamma")
class Gamma(Loss):
    """y = exp(z); half the gamma deviance: loss = sum_k t_k / y_k - log(t_k / y_k) - 1, delta = 1 - t / y, for t > 0.

    Source: McCullagh and Nelder, "Generalized linear models" (1989), section 2.3.
    """

    outputs = ("exp",)
    regresses = positive = True

    def formula(self, output: str, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ratio = t * np.exp(-z)
        return (ratio - np.log(t) + z - 1).sum(axis=1), 1 - ratio

    def of_outputs(self, output: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        return (t / y - np.log(t / y) - 1).sum(axis=1)

    @staticmethod
    def vector(output: Any, z: Any, t: Any, hyperparameter: Any) -> Any:
        """With u = log(t / y): exp(u) - 1 keeps its digits where the prediction is near."""
        u = log(t) - z
        m = expm1(u)
        return m - u, -m


# --- pairs ------------------------------------------------------------------------------------------------------------

PAIRS: list[tuple[Any, str]] = [(cls, output) for cls in LOSSES.classes for output in cls.outputs]


def check_pair(loss: Any, output: str) -> None:
    """Raise a ValueError if the loss does not allow that output activation."""
    if output not in loss.outputs:
        allowed = ", ".join(map(repr, loss.outputs))
        raise ValueError(f"output_activation must be one of {allowed} with loss {loss.name!r}; got {output!r}.")


# --- for compiled code ------------------------------------------------------------------------------------------------

ELEMENTWISE, SOFTMAX_OF_CODES, SOFTMAX_OF_ROWS = range(3)
_ELEMENTWISE = [(cls, output) for cls, output in PAIRS if output != "softmax"]
_OF_CODES = [cls for cls in LOSSES.classes if issubclass(cls, ClassLoss)]


class LossCodes(NamedTuple):
    """A loss and its output activation as kernels know them.

    Attributes
    ----------
    kind : ELEMENTWISE, SOFTMAX_OF_CODES or SOFTMAX_OF_ROWS
    component : position among those of its kind, or the address of a user's own
    output : position in `OUTPUTS`
    averaged : whether a row's loss is a mean over outputs
    factored, smoothed : whether delta of a softmax of codes is more than p - onehot
    """

    kind: int
    component: int
    output: int
    averaged: int
    factored: int
    smoothed: int


def codes_of(loss: Any, output: str, dtype: Any = None) -> LossCodes:
    """LossCodes of a component that allows the output activation.

    Without a dtype they serve predictions only: the component of a user's own is left out.
    """
    check_pair(loss, output)
    position, codes, cls = OUTPUTS.index(output), loss.takes_codes(output), type(loss)
    if output != "softmax":
        component = _code_of(cls, _ELEMENTWISE, (cls, output), partial(cls.vector, output), 3, dtype)
        return LossCodes(ELEMENTWISE, component, position, loss.averaged, 0, 0)
    if not codes:
        return LossCodes(SOFTMAX_OF_ROWS, 0, position, 0, 0, 0)
    component = _code_of(cls, _OF_CODES, cls, cls.row_vector, 2, dtype)
    smoothed = getattr(loss, "label_smoothing", 0) > 0
    return LossCodes(SOFTMAX_OF_CODES, component, position, 0, not isinstance(loss, LogLoss), smoothed)


def _code_of(cls: Any, known: list[Any], key: Any, function: Any, arity: int, dtype: Any) -> int:
    """The place of a built-in loss among those of its kind, or the address of a user's own function of vectors."""
    if not LOSSES.is_own(cls):
        return known.index(key)
    if dtype is None:
        return 0
    return own.vector_address((key, arity), function, arity, 2, dtype, f"The vector functions of {cls.__qualname__}")


def _check(cls: Any) -> None:
    """What a loss of a user's own needs."""
    if issubclass(cls, ErrorLoss):
        reason = (
            "A loss of errors has of_error(e) and of_error_vector(e, hyperparameter), each giving rho and its slope: "
            "see ErrorLoss."
        )
        require(cls, ErrorLoss, {"of_error": "self, e", "of_error_vector": "e, hyperparameter"}, reason)
        require_number(cls)
        e = np.linspace(-2, 2, 6).reshape(2, 3)
        require_shapes(f"of_error of {cls.__qualname__}", lambda: cls().of_error(e), [e.shape, e.shape])
        return
    reason = (
        "A loss has formula(output, z, t) and vector(output, z, t, hyperparameter), each giving loss and delta, and "
        "of_outputs(output, y, t): see Loss."
    )
    methods = {
        "formula": "self, output, z, t",
        "vector": "output, z, t, hyperparameter",
        "of_outputs": "self, output, y, t",
    }
    require(cls, Loss, methods, reason)
    require_number(cls)
    outputs = getattr(cls, "outputs", ())
    if not (cls.classifies or cls.regresses):
        raise TypeError(f"{cls.__qualname__} must set classifies or regresses to True, so that estimators may have it.")
    if not outputs or not {*outputs} <= {*OUTPUTS}:
        allowed = ", ".join(map(repr, OUTPUTS))
        raise TypeError(f"outputs of {cls.__qualname__} must be a tuple of some of {allowed}; got {outputs!r}.")
    if "softmax" in outputs:
        reason = (
            "A loss of a softmax has row_vector(log_p, hyperparameter), which gives loss and factor: see ClassLoss."
        )
        require(cls, ClassLoss, {"row_vector": "log_p, hyperparameter"}, reason)


apply = vector_dispatch([partial(cls.vector, output) for cls, output in _ELEMENTWISE], 3, results=2)
predict = vector_dispatch([_OUTPUTS[output].vector for output in OUTPUTS if output != "softmax"], 1)
divergence = traced(KLDivergence.term_vector)
row = vector_dispatch([cls.row_vector for cls in _OF_CODES], 2, results=2)

LOSSES.complete(_check)
