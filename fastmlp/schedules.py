"""Learning-rate schedules: how the learning rate changes during a training.

A schedule answers two questions: which rate to use at some point of the training, and, when training no longer
improves, which smaller rate to go on with. It says how often its rate changes: after each epoch or at every step.

The estimator's ``learning_rate_init`` is ``initial`` here. It is the first rate, or the greatest one where a schedule
begins low. A ``factor`` always multiplies a rate; a bound such as ``smallest`` is itself a rate.
"""

import math
import warnings
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .components import Component, Registry, check_number

__all__ = [
    "SCHEDULES",
    "SMALLEST_ADAPTIVE_RATE",
    "Adaptive",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Coslog",
    "Exponential",
    "FlatCosine",
    "InverseScaling",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Progress",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "WarmUp",
]

SCHEDULES: "Registry[Schedule]" = Registry(
    "learning_rate",
    {
        "cosine_annealing": "cosine",
        "cosine_decay": "cosine",
        "sgdr": "cosine_restarts",
        "cosine_annealing_warm_restarts": "cosine_restarts",
        "exp": "exponential",
        "linear": "polynomial",
        "plateau": "reduce_on_plateau",
        "step": "step_decay",
    },
)
SMALLEST_ADAPTIVE_RATE = 1e-6
Numbers: TypeAlias = float | NDArray[np.float64]


class Progress(NamedTuple):
    """Points of a training, each before a step: numbers, or arrays of one shape.

    Attributes
    ----------
    epochs : epochs done so far, with the part of the present epoch that is done
    steps : steps done so far
    rows : rows seen in all finished epochs, those of earlier optimizers included
    share : share of the planned epochs that is done, from 0 to 1; each fit or partial_fit has its own plan
    planned : how many epochs this fit or partial_fit has planned
    """

    epochs: Numbers
    steps: Numbers
    rows: Numbers
    share: Numbers
    planned: Numbers

    def after(self, epochs: float) -> "Progress":
        """The same points, as a schedule sees them that begins after the given number of epochs."""
        done = np.maximum(np.subtract(self.epochs, epochs), 0)
        here = np.multiply(self.share, self.planned)  # epochs of this fit that are done
        before = np.clip(
            epochs - (self.epochs - here), 0, self.planned
        )  # epochs of this fit before the schedule begins
        rest = np.maximum(self.planned - before, 1e-300)
        rows_share = np.floor(done) / np.maximum(np.floor(self.epochs), 1)
        return Progress(
            epochs=done,
            steps=np.multiply(self.steps, done / np.maximum(self.epochs, 1e-300)),
            rows=np.multiply(self.rows, rows_share),
            share=np.maximum(here - before, 0) / rest,
            planned=rest,
        )


class Schedule(Component):
    """What all schedules have.

    Attributes
    ----------
    per : "epoch" if the rate is constant within an epoch, "step" if it changes with every step
    stopping_message : what training says when ``on_plateau`` gives None
    """

    per = "epoch"

    @property
    def stopping_message(self) -> str:
        return "Stopping."

    def rate(self, initial: float, progress: Progress) -> Numbers:
        """The rate of the step that begins at `progress`; arrays there give an array, if the rate changes at all."""
        raise NotImplementedError

    def on_plateau(self, rate: float) -> float | None:
        """The ``initial`` to go on with in place of `rate` when training no longer improves; None: stop."""
        return None


@SCHEDULES.add("constant")
class Constant(Schedule):
    """The same rate throughout: rate = initial."""

    def rate(self, initial: float, progress: Progress) -> Numbers:
        return initial


@SCHEDULES.add("invscaling")
class InverseScaling(Schedule):
    """The rate falls with the number of rows seen, after each epoch.

    Parameters
    ----------
    power : float >= 0, default=0.5
        In scikit-learn it is ``power_t``.

    Notes
    -----
    rate = initial / (rows + 1)^power from the second epoch on, initial in the first.

    Source: scikit-learn, ``sklearn/neural_network/_stochastic_optimizers.py``, SGDOptimizer.
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "power", at_least=0)

    def rate(self, initial: float, progress: Progress) -> Numbers:
        rows = progress.rows * np.greater_equal(progress.epochs, 1)
        return initial / (rows + 1) ** self.power


@SCHEDULES.add("adaptive")
class Adaptive(Schedule):
    """The rate is divided by 5 whenever training no longer improves; training stops when it is at most 1e-6.

    Notes
    -----
    Source: scikit-learn, ``sklearn/neural_network/_stochastic_optimizers.py``, SGDOptimizer.
    """

    @property
    def stopping_message(self) -> str:
        return "Learning rate too small. Stopping."

    def rate(self, initial: float, progress: Progress) -> Numbers:
        return initial

    def on_plateau(self, rate: float) -> float | None:
        return None if rate <= SMALLEST_ADAPTIVE_RATE else rate / 5.0


@SCHEDULES.add("step_decay")
class StepDecay(Schedule):
    """The rate is multiplied by a factor every so many epochs. PyTorch calls it StepLR.

    Parameters
    ----------
    every : float >= 1, default=10
        Epochs between two changes.
    factor : float in (0, 1], default=0.5

    Notes
    -----
    rate = initial factor^n after n times ``every`` epochs.

    Source: I. Goodfellow, Y. Bengio and A. Courville 2016, "Deep learning", section 8.3.1; PyTorch.
    """

    every: float = 10
    factor: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "every", at_least=1)
        check_number(self, "factor", above=0, at_most=1)

    def rate(self, initial: float, progress: Progress) -> Numbers:
        return initial * self.factor ** (progress.epochs // self.every)


@SCHEDULES.add("multi_step")
class MultiStep(Schedule):
    """The rate is multiplied by a factor at given epochs. PyTorch calls it MultiStepLR.

    Parameters
    ----------
    milestones : tuple of increasing numbers, default=(100, 150)
        Epochs after which the rate falls. The default is half and three quarters of 200 epochs.
    factor : float in (0, 1], default=0.1

    Notes
    -----
    rate = initial factor^n when n of the milestones are reached.

    Source: the plan of K. He et al. 2016, "Deep residual learning for image recognition", section 4.2.
    """

    milestones: tuple[float, ...] = (100, 150)
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not _increasing(self.milestones):
            raise ValueError(
                f"milestones of MultiStep must be a tuple of increasing epochs such as (100, 150); "
                f"got {self.milestones!r}."
            )
        check_number(self, "factor", above=0, at_most=1)

    def rate(self, initial: float, progress: Progress) -> Numbers:
        return initial * np.power(self.factor, np.searchsorted(self.milestones, progress.epochs, side="right"))


def _increasing(values: Any) -> bool:
    """Whether values are a tuple of finite numbers, each above the one before."""
    try:
        return isinstance(values, tuple) and all(map(math.isfinite, values)) and sorted({*values}) == [*values]
    except TypeError:
        return False


@SCHEDULES.add("exponential")
class Exponential(Schedule):
    """The rate is multiplied by a factor after each epoch. PyTorch calls it ExponentialLR.

    Parameters
    ----------
    factor : float in (0, 1], default=0.95

    Notes
    -----
    rate = initial factor^epochs.

    Source: I. Goodfellow, Y. Bengio and A. Courville 2016, "Deep learning", section 8.3.1; PyTorch.
    """

    factor: float = 0.95

    def __post_init__(self) -> None:
        check_number(self, "factor", above=0, at_most=1)

    def rate(self, initial: float, progress: Progress) -> Numbers:
        return initial * self.factor ** (progress.epochs // 1)


@SCHEDULES.add("polynomial")
class Polynomial(Schedule):
    """The rate falls to its end over the whole training, by default along a straight line.

    It changes at every step. PyTorch calls it PolynomialLR.

    Parameters
    ----------
    power : float > 0, default=1.0
        1 is a straight line.
    end : float >= 0, default=0.0
        The last rate.

    Notes
    -----
    rate = end + (initial - end) (1 - share)^power, where share is the part of the planned epochs that is done.

    Source: I. Goodfellow, Y. Bengio and A. Courville 2016, "Deep learning", equation 8.14, the straight line; Keras,
    PolynomialDecay.
    """

    power: float = 1.0
    end: float = 0.0

    per = "step"

    def __post_init__(self) -> None:
        check_number(self, "power", above=0)
        check_number(self, "end", at_least=0)

    def rate(self, initial: float, progress: Progress) -> Numbers:
        return self.end + (initial - self.end) * (1 - progress.share) ** self.power


def _cosine(start: float, end: float, share: Numbers) -> Numbers:
    """From start to end along half a wave."""
    return end + (start - end) * (1 + np.cos(np.pi * share)) / 2


@SCHEDULES.add("cosine")
class Cosine(Schedule):
    """The rate falls once along half a wave of the cosine, over the whole training; with a period it restarts.

    It changes at every step. The whole training is ``max_iter`` epochs, of ``partial_fit`` its ``n_epochs``.

    Parameters
    ----------
    period : float > 0 or None, default=None
        Epochs of the first descent, after which the rate starts again from its greatest value. None: one descent over
        the whole training. See `CosineRestarts` too. The name ``"cosine"`` means the same; since it restarted every 10
        epochs in 0.2, it warns in this version, while ``Cosine()`` says what is meant.
    growth : float >= 1, default=1
        How many times longer each descent is than the one before; it needs a period.
    smallest : float >= 0, default=0.0
        The last rate of a descent.

    Notes
    -----
    rate = smallest + (initial - smallest) (1 + cos(π s)) / 2, where s is the share of the descent that is done. With a
    period it is PyTorch's CosineAnnealingWarmRestarts, without one PyTorch's CosineAnnealingLR, at every step.

    Source: I. Loshchilov and F. Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5.
    """

    period: float | None = None
    growth: float = 1
    smallest: float = 0.0

    per = "step"

    def __post_init__(self) -> None:
        if self.period is not None:
            check_number(self, "period", above=0)
        check_number(self, "growth", at_least=1)
        check_number(self, "smallest", at_least=0)
        if self.period is None and self.growth != 1:
            raise ValueError(f"growth of Cosine requires a period, such as Cosine(10, 2); got growth={self.growth!r}.")

    def rate(self, initial: float, progress: Progress) -> Numbers:
        if self.period is None:
            return _cosine(initial, self.smallest, progress.share)
        periods = np.divide(progress.epochs, self.period)
        if self.growth == 1:
            share = periods % 1
        else:  # descent n begins after 1 + growth + ... + growth^(n-1) periods, where `reached` is growth^n
            reached = 1 + (self.growth - 1) * periods
            descent = np.floor(np.log(reached) / np.log(self.growth) + 1e-9)  # rounding must not miss a restart
            share = (reached / self.growth**descent - 1) / (self.growth - 1)
        return _cosine(initial, self.smallest, share)


@SCHEDULES.add("cosine_restarts")
class CosineRestarts(Cosine):
    """The rate falls along half a wave of the cosine again and again; it changes at every step.

    Parameters
    ----------
    period : float > 0, default=10
        Epochs of the first descent.
    growth : float >= 1, default=1
        How many times longer each descent is than the one before.
    smallest : float >= 0, default=0.0
        The last rate of a descent.

    Notes
    -----
    `Cosine` with a period. It is PyTorch's CosineAnnealingWarmRestarts.

    Source: I. Loshchilov and F. Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5.
    """

    period: float | None = 10

    def __post_init__(self) -> None:
        check_number(self, "period", above=0)
        super().__post_init__()


@SCHEDULES.add("flat_cosine")
class FlatCosine(Schedule):
    """The rate stays as it is at first, and falls along half a wave of the cosine in the rest of the training.

    It changes at every step, and takes the whole training.

    Parameters
    ----------
    flat : float in [0, 1), default=0.5
        Share of the training in which the rate does not change.
    smallest : float >= 0, default=0.0
        The last rate.

    Notes
    -----
    rate = smallest + (initial - smallest) (1 + cos(π max(share - flat, 0) / (1 - flat))) / 2.

    Source: D. Holzmüller, L. Grinsztajn and I. Steinwart 2024, "Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data", flat_cos, which there is the schedule of dropout and weight decay.
    """

    flat: float = 0.5
    smallest: float = 0.0

    per = "step"

    def __post_init__(self) -> None:
        check_number(self, "flat", at_least=0, below=1)
        check_number(self, "smallest", at_least=0)

    def rate(self, initial: float, progress: Progress) -> Numbers:
        falling = np.maximum(np.subtract(progress.share, self.flat), 0) / (1 - self.flat)
        return _cosine(initial, self.smallest, falling)


@SCHEDULES.add("one_cycle")
class OneCycle(Schedule):
    """The rate rises to its greatest value and then falls below its first one, over the whole training.

    It changes at every step, along half waves of a cosine. ``learning_rate_init`` is the greatest rate, which PyTorch's
    OneCycleLR calls max_lr. It begins low by itself, so that it needs no warm-up.

    Parameters
    ----------
    peak_at : float in (0, 1), default=0.3
        Share of the training after which the rate is greatest.
    start_factor : float in [0, 1], default=0.04
        First rate, as a part of the greatest.
    end_factor : float in [0, 1], default=4e-6
        Last rate, as a part of the greatest.

    Notes
    -----
    Source: L. Smith 2018, "A disciplined approach to neural network hyper-parameters: part 1"; L. Smith and N. Topin
    2018, "Super-convergence: very fast training of neural networks using large learning rates".
    """

    peak_at: float = 0.3
    start_factor: float = 0.04
    end_factor: float = 4e-6

    per = "step"

    def __post_init__(self) -> None:
        check_number(self, "peak_at", above=0, below=1)
        check_number(self, "start_factor", at_least=0, at_most=1)
        check_number(self, "end_factor", at_least=0, at_most=1)

    def rate(self, initial: float, progress: Progress) -> Numbers:
        up = _cosine(self.start_factor, 1, progress.share / self.peak_at)
        down = _cosine(1, self.end_factor, (progress.share - self.peak_at) / (1 - self.peak_at))
        return initial * np.where(progress.share < self.peak_at, up, down)


@SCHEDULES.add("warm_up")
class WarmUp(Schedule):
    """The rate rises along a straight line, and then follows the whole of another schedule.

    ``WarmUp(epochs=3, then=Cosine())`` rises for 3 epochs and then falls along a cosine over the rest of the training.
    The rate changes at every step.

    Parameters
    ----------
    epochs : float > 0, default=5
        How long the rate rises. These are the first epochs of an optimizer: further calls of ``partial_fit`` go on from
        where the last one was.
    then : str or component, default=Constant()
        The schedule that begins after the warm-up; a name warns in this version, since both began together in 0.2; a
        component such as ``Cosine()`` does not. What it does when training no longer improves holds from the start.
        'one_cycle' and 'coslog' begin low by themselves and need no warm-up.
    start_factor : float in [0, 1], default=0.1
        The first rate, as a part of the first rate of ``then``.

    Notes
    -----
    rate = (start_factor + (1 - start_factor) min(e / epochs, 1)) r, after e epochs, where r is the rate of ``then`` at
    the same point, counted from the end of the warm-up. The factor is PyTorch's LinearLR; PyTorch's SequentialLR joins
    both.

    Source: P. Goyal et al. 2017, "Accurate, large minibatch SGD: training ImageNet in 1 hour", section 2.2.
    """

    epochs: float = 5
    then: Any = Constant()  # or a name, of which the component is kept
    start_factor: float = 0.1

    per = "step"

    def __post_init__(self) -> None:
        check_number(self, "epochs", above=0)
        check_number(self, "start_factor", at_least=0, at_most=1)
        object.__setattr__(self, "_follows_by_name", isinstance(self.then, str))
        object.__setattr__(self, "then", SCHEDULES.resolve(self.then))

    @property
    def stopping_message(self) -> str:
        return self.then.stopping_message

    def rate(self, initial: float, progress: Progress) -> Numbers:
        factor = self.start_factor + (1 - self.start_factor) * np.minimum(np.divide(progress.epochs, self.epochs), 1)
        return factor * self.then.rate(initial, progress.after(self.epochs))

    def on_plateau(self, rate: float) -> float | None:
        return self.then.on_plateau(rate)


@SCHEDULES.add("reduce_on_plateau")
class ReduceOnPlateau(Schedule):
    """The rate is multiplied by a factor whenever training no longer improves; at the smallest rate training stops.

    PyTorch's ReduceLROnPlateau is the same, but never stops.

    Parameters
    ----------
    factor : float in (0, 1), default=0.1
    smallest : float >= 0, default=1e-6

    Notes
    -----
    max(factor rate, smallest) at each plateau.

    Source: PyTorch; Keras, ReduceLROnPlateau. By hand in A. Krizhevsky, I. Sutskever and G. Hinton 2012, "ImageNet
    classification with deep convolutional neural networks", section 5.
    """

    factor: float = 0.1
    smallest: float = 1e-6

    @property
    def stopping_message(self) -> str:
        return "Learning rate too small. Stopping."

    def __post_init__(self) -> None:
        check_number(self, "factor", above=0, below=1)
        check_number(self, "smallest", at_least=0)

    def rate(self, initial: float, progress: Progress) -> Numbers:
        return initial

    def on_plateau(self, rate: float) -> float | None:
        return None if rate <= self.smallest else max(self.factor * rate, self.smallest)


@SCHEDULES.add("coslog")
class Coslog(Schedule):
    """Waves of the cosine from 0 up to the greatest rate and down again, each twice as long as the one before.

    It changes at every step, and takes the whole training. ``learning_rate_init`` is the greatest rate.

    Parameters
    ----------
    k : int >= 1, default=3
        How many waves.

    Notes
    -----
    rate = initial (1 - cos(2π log2(1 + (2^k - 1) share))) / 2, where share is the part of the planned epochs that is
    done.

    Source: D. Holzmüller, L. Grinsztajn and I. Steinwart 2024, "Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data", where k = 4.
    """

    k: int = 3

    per = "step"

    def __post_init__(self) -> None:
        check_number(self, "k", at_least=1, whole=True)

    def rate(self, initial: float, progress: Progress) -> Numbers:
        return initial * (1 - np.cos(2 * np.pi * np.log2(1 + (2**self.k - 1) * progress.share))) / 2


def warn_about_changes(chosen: Any, schedule: Schedule) -> None:
    """Warn if a name means something else than it did in version 0.2. To be dropped in 0.4.

    A component says itself what is meant, and does not warn.

    Parameters
    ----------
    chosen : str or Schedule
        As the user gave it; ``schedule``: what it means.
    """
    messages = []
    by_name = isinstance(chosen, str)
    if isinstance(schedule, WarmUp):
        by_name = getattr(schedule, "_follows_by_name", False)  # pickles of 0.2 do not know
        schedule = schedule.then
        if by_name and not isinstance(schedule, Constant | Adaptive | ReduceOnPlateau):
            messages.append("what follows a WarmUp begins when the warm-up ends; in 0.2 both began together")
    if by_name and isinstance(schedule, Cosine) and schedule.period is None:
        messages.append(
            "'cosine' is one descent over the whole training; in 0.2 it restarted every 10 epochs, as "
            "'cosine_restarts' does now"
        )
    if messages:
        warnings.warn(
            f"learning_rate: {'; '.join(messages)}. Give {type(schedule).__name__}() in place of its name to have this "
            "without the warning.",
            FutureWarning,
            stacklevel=2,
        )
