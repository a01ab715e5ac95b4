"""Learning-rate schedules: how the rate changes in the course of a training.

A schedule is asked two questions: the rate at some point of the training, and, when training no longer improves, for a
smaller rate to go on with. It says how often its rate changes: after each epoch or at every step.

The learning rate that a user chooses is ``initial`` here. It is the first rate, or the greatest where a schedule begins
low; ``factor`` is always a multiple of a rate, and a bound such as ``smallest`` a rate itself.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from .components import Component, Registry, check_number

SCHEDULES = Registry("learning_rate")
SMALLEST_ADAPTIVE_RATE = 1e-6


class Progress(NamedTuple):
    """Points of a training, each before a step: numbers, or arrays of one shape.

    Attributes
    ----------
    epochs : epochs done so far; fractional within an epoch
    steps : steps done so far
    rows : rows seen in all finished epochs, whatever optimizer they served
    share : share of the planned epochs that is done, from 0 to 1; each fit or partial_fit has its own plan
    """

    epochs: Any
    steps: Any
    rows: Any
    share: Any


class Schedule(Component):
    """A component of this file.

    Attributes
    ----------
    per : "epoch" if the rate is constant within an epoch, "step" if it changes with every step
    stopping_words : what training says when ``on_plateau`` gives None
    """

    per = "epoch"
    stopping_message = "Stopping."

    def rate(self, initial, progress):
        """The rate of the step that begins at `progress`; arrays there give an array, where the rate changes at all."""
        raise NotImplementedError

    def on_plateau(self, rate):
        """The ``initial`` to go on with in place of `rate` when training no longer improves; None: stop."""
        return


@SCHEDULES.add("constant")
class Constant(Schedule):
    """rate = initial."""

    def rate(self, initial, progress):
        return initial


@SCHEDULES.add("invscaling")
class InverseScaling(Schedule):
    """rate = initial / (rows + 1)^power from the second epoch on, initial in the first; per epoch.

    ``power`` is at least 0, by default 0.5. In scikit-learn it is ``power_t``.

    Source: scikit-learn, ``sklearn/neural_network/_stochastic_optimizers.py``, SGDOptimizer.
    """

    power: float = 0.5

    def __post_init__(self):
        check_number(self, "power", at_least=0)

    def rate(self, initial, progress):
        rows = progress.rows * (progress.epochs >= 1)
        return initial / (rows + 1) ** self.power


@SCHEDULES.add("adaptive")
class Adaptive(Schedule):
    """rate / 5 at each plateau, until the rate is at most 1e-6: then stop; per epoch.

    Source: scikit-learn, ``sklearn/neural_network/_stochastic_optimizers.py``, SGDOptimizer.
    """

    stopping_message = "Learning rate too small. Stopping."

    def rate(self, initial, progress):
        return initial

    def on_plateau(self, rate):
        return None if rate <= SMALLEST_ADAPTIVE_RATE else rate / 5.0


@SCHEDULES.add("step_decay")
class StepDecay(Schedule):
    """rate = initial factor^n after n times ``every`` epochs; per epoch.

    ``every`` is at least 1 epoch, by default 10; ``factor`` is above 0 and at most 1, by default 0.5. PyTorch's StepLR.

    Source: I. Goodfellow, Y. Bengio and A. Courville 2016, "Deep learning", section 8.3.1; PyTorch.
    """

    every: float = 10
    factor: float = 0.5

    def __post_init__(self):
        check_number(self, "every", at_least=1)
        check_number(self, "factor", above=0, at_most=1)

    def rate(self, initial, progress):
        return initial * self.factor ** (progress.epochs // self.every)


@SCHEDULES.add("multi_step")
class MultiStep(Schedule):
    """rate = initial factor^n when n of the milestones are reached; per epoch.

    ``milestones`` is a tuple of increasing numbers of epochs, by default half and three quarters of 200 epochs;
    ``factor`` is above 0 and at most 1, by default 0.1. PyTorch's MultiStepLR.

    Source: the plan of K. He et al. 2016, "Deep residual learning for image recognition", section 4.2.
    """

    milestones: tuple = (100, 150)
    factor: float = 0.1

    def __post_init__(self):
        if not _increasing(self.milestones):
            raise ValueError(
                f"milestones of MultiStep must be a tuple of increasing epochs such as (100, 150); "
                f"got {self.milestones!r}."
            )
        check_number(self, "factor", above=0, at_most=1)

    def rate(self, initial, progress):
        return initial * self.factor ** np.searchsorted(self.milestones, progress.epochs, side="right")


def _increasing(values):
    """Whether values are a tuple of finite numbers, each above the one before."""
    try:
        return isinstance(values, tuple) and all(map(math.isfinite, values)) and sorted({*values}) == [*values]
    except TypeError:
        return False


@SCHEDULES.add("exponential")
class Exponential(Schedule):
    """rate = initial factor^epochs; per epoch.

    ``factor`` is above 0 and at most 1, by default 0.95. PyTorch's ExponentialLR.

    Source: I. Goodfellow, Y. Bengio and A. Courville 2016, "Deep learning", section 8.3.1; PyTorch.
    """

    factor: float = 0.95

    def __post_init__(self):
        check_number(self, "factor", above=0, at_most=1)

    def rate(self, initial, progress):
        return initial * self.factor ** (progress.epochs // 1)


@SCHEDULES.add("polynomial")
class Polynomial(Schedule):
    """rate = end + (initial - end) (1 - share)^power; per step.

    ``power`` is above 0, by default 1: a straight line; ``end`` is the last rate, at least 0, by default 0.
    PyTorch's PolynomialLR, with the planned training as its total.

    Source: I. Goodfellow, Y. Bengio and A. Courville 2016, "Deep learning", equation 8.14, the straight line; Keras,
    PolynomialDecay.
    """

    power: float = 1.0
    end: float = 0.0

    per = "step"

    def __post_init__(self):
        check_number(self, "power", above=0)
        check_number(self, "end", at_least=0)

    def rate(self, initial, progress):
        return self.end + (initial - self.end) * (1 - progress.share) ** self.power


def _cosine(start, end, share):
    """From start to end along half a wave."""
    return end + (start - end) * (1 + np.cos(np.pi * share)) / 2


@SCHEDULES.add("cosine")
class Cosine(Schedule):
    """rate = smallest + (initial - smallest) (1 + cos(π e / T)) / 2, e epochs after the latest warm restart; per step.

    The first cycle has T = ``period`` epochs, above 0, by default 10; each has ``growth`` times as many as the one
    before, at least 1, by default 1. ``smallest`` is at least 0, by default 0. PyTorch's CosineAnnealingWarmRestarts.

    Source: I. Loshchilov and F. Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5.
    """

    period: float = 10
    growth: float = 1
    smallest: float = 0.0

    per = "step"

    def __post_init__(self):
        check_number(self, "period", above=0)
        check_number(self, "growth", at_least=1)
        check_number(self, "smallest", at_least=0)

    def rate(self, initial, progress):
        periods = progress.epochs / self.period
        if self.growth == 1:
            share = periods % 1
        else:  # cycle n begins after 1 + growth + ... + growth^(n-1) periods, where `reached` is growth^n
            reached = 1 + (self.growth - 1) * periods
            cycle = np.floor(np.log(reached) / np.log(self.growth) + 1e-9)  # rounding must not miss a restart
            share = (reached / self.growth**cycle - 1) / (self.growth - 1)
        return _cosine(initial, self.smallest, share)


@SCHEDULES.add("one_cycle")
class OneCycle(Schedule):
    """From start_factor initial up to initial, then down to end_factor initial, along half waves of a cosine; per step.

    The greatest rate, ``initial``, is reached when the share ``peak_at`` of the training is done, in (0, 1), by default
    0.3. ``start_factor`` is 1/25 and ``end_factor`` 4e-6 by default, both in [0, 1]. PyTorch's OneCycleLR with its
    defaults, where ``initial`` is called max_lr.

    Source: L. Smith 2018, "A disciplined approach to neural network hyper-parameters: part 1"; L. Smith and N. Topin
    2018, "Super-convergence: very fast training of neural networks using large learning rates".
    """

    peak_at: float = 0.3
    start_factor: float = 0.04
    end_factor: float = 4e-6

    per = "step"

    def __post_init__(self):
        check_number(self, "peak_at", above=0, below=1)
        check_number(self, "start_factor", at_least=0, at_most=1)
        check_number(self, "end_factor", at_least=0, at_most=1)

    def rate(self, initial, progress):
        up = _cosine(self.start_factor, 1, progress.share / self.peak_at)
        down = _cosine(1, self.end_factor, (progress.share - self.peak_at) / (1 - self.peak_at))
        return initial * np.where(progress.share < self.peak_at, up, down)


@SCHEDULES.add("warm_up")
class WarmUp(Schedule):
    """The rate of another schedule, ``then``, times a factor that rises from start_factor to 1; per step.

    factor = start_factor + (1 - start_factor) min(epochs / E, 1): a straight line over the first E = ``epochs``, above
    0, by default 5. ``start_factor`` is in [0, 1], by default 0.1. ``then`` is a component or its name, by default
    'constant'; it runs from the start, and what it does at a plateau holds. PyTorch's LinearLR is the factor.

    Source: P. Goyal et al. 2017, "Accurate, large minibatch SGD: training ImageNet in 1 hour", section 2.2.
    """

    epochs: float = 5
    then: Any = Constant()
    start_factor: float = 0.1

    per = "step"

    def __post_init__(self):
        check_number(self, "epochs", above=0)
        check_number(self, "start_factor", at_least=0, at_most=1)
        object.__setattr__(self, "then", SCHEDULES.resolve(self.then))

    @property
    def stopping_message(self):
        return self.then.stopping_message

    def rate(self, initial, progress):
        factor = self.start_factor + (1 - self.start_factor) * np.minimum(progress.epochs / self.epochs, 1)
        return factor * self.then.rate(initial, progress)

    def on_plateau(self, rate):
        return self.then.on_plateau(rate)


@SCHEDULES.add("reduce_on_plateau")
class ReduceOnPlateau(Schedule):
    """max(factor rate, smallest) at each plateau, until the rate is ``smallest``: then stop; per epoch.

    ``factor`` is above 0 and below 1, by default 0.1; ``smallest`` is at least 0, by default 1e-6. PyTorch's
    ReduceLROnPlateau, which never stops.

    Source: PyTorch; Keras, ReduceLROnPlateau. By hand in A. Krizhevsky, I. Sutskever and G. Hinton 2012, "ImageNet
    classification with deep convolutional neural networks", section 5.
    """

    factor: float = 0.1
    smallest: float = 1e-6

    stopping_message = Adaptive.stopping_message

    def __post_init__(self):
        check_number(self, "factor", above=0, below=1)
        check_number(self, "smallest", at_least=0)

    def rate(self, initial, progress):
        return initial

    def on_plateau(self, rate):
        return None if rate <= self.smallest else max(self.factor * rate, self.smallest)


@SCHEDULES.add("coslog")
class Coslog(Schedule):
    """rate = initial (1 - cos(2π log2(1 + (2^k - 1) share))) / 2; per step.

    k cycles from 0 up to initial and down again, each twice as long as the one before. ``k`` is at least 1, by
    default 3.

    Source: D. Holzmüller, L. Grinsztajn and I. Steinwart 2024, "Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data", where k = 4.
    """

    k: int = 3

    per = "step"

    def __post_init__(self):
        check_number(self, "k", at_least=1, whole=True)

    def rate(self, initial, progress):
        return initial * (1 - np.cos(2 * np.pi * np.log2(1 + (2**self.k - 1) * progress.share))) / 2
