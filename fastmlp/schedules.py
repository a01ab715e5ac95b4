"""Learning-rate schedules: how the rate of gradient descent changes from epoch to epoch.

A schedule is two plain functions. ``after_epoch`` gives the rate of the next epoch; ``on_plateau`` is asked when
training no longer improves and gives a smaller rate to go on with, or None to stop. A new schedule is one more entry of
`SCHEDULES`. The rates of Adam are its own: it uses 'constant'.

Source: scikit-learn, ``sklearn/neural_network/_stochastic_optimizers.py`` (class SGDOptimizer).
"""

from collections.abc import Callable
from typing import NamedTuple

SMALLEST_ADAPTIVE_RATE = 1e-6


class Schedule(NamedTuple):
    """One word: the two questions that training asks about the learning rate.

    Attributes
    ----------
    after_epoch : callable (rate, initial_rate, rows_seen, power) -> float
        The rate of the next epoch. ``rows_seen`` counts the rows of all epochs so far, ``power`` is ``power_t``.
    on_plateau : callable (rate) -> float or None
        The rate to go on with when training no longer improves; None: stop.
    stopping_words : str
        What the verbose line says when ``on_plateau`` gives None.
    """

    after_epoch: Callable[[float, float, int, float], float]
    on_plateau: Callable[[float], float | None]
    stopping_words: str = "Stopping."


def keep_rate(rate: float, initial_rate: float, rows_seen: int, power: float) -> float:
    """rate → rate."""
    return rate


def inverse_scaling(rate: float, initial_rate: float, rows_seen: int, power: float) -> float:
    """initial_rate / (rows_seen + 1) ** power."""
    return initial_rate / (rows_seen + 1) ** power


def stop(rate: float) -> None:
    """A plateau ends training."""
    return


def divide_by_five(rate: float) -> float | None:
    """rate / 5, until the rate is at most 1e-6: then stop."""
    return None if rate <= SMALLEST_ADAPTIVE_RATE else rate / 5.0


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(keep_rate, stop),
    "invscaling": Schedule(inverse_scaling, stop),
    "adaptive": Schedule(keep_rate, divide_by_five, "Learning rate too small. Stopping."),
}
