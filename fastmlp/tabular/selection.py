"""Which rows validate, and which of the trained networks, at which of their epochs, make the model."""

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.utils import check_random_state

FRACTION = 0.2  # of the rows validate, as in RealMLP's protocol
MOST_ROWS = 20_000  # that validate by default: more hardly change what is selected
FEWEST_ROWS = 40  # of a table below which none are set aside by default


class Split(NamedTuple):
    """Indices of rows to train on and of rows to validate on, which may be empty."""

    training: np.ndarray
    validation: np.ndarray


def splits_of(validation: Any, n_rows: int, classes: np.ndarray | None, random_state: Any) -> list[Split]:
    """The rows of a table, divided.

    Parameters
    ----------
    validation : 'auto', a share, a number of folds, or a splitter of scikit-learn's
    classes : class codes to stratify by, or None
    """
    everything = np.arange(n_rows)
    if validation is None or (isinstance(validation, str) and n_rows < FEWEST_ROWS):
        return [Split(everything, everything[:0])]
    if hasattr(validation, "split") and not isinstance(validation, str):
        return [Split(*pair) for pair in validation.split(np.empty((n_rows, 1)), classes)]
    seed = check_random_state(random_state).randint(2**31)
    if isinstance(validation, Integral):
        count = int(validation)
        if count > n_rows:
            raise ValueError(f"validation must be at most the number of rows, {n_rows}, as folds; got {count}.")
        folds = KFold if classes is None or np.bincount(classes).min() < count else StratifiedKFold
        splitter = folds(count, shuffle=True, random_state=seed)
        return [Split(*pair) for pair in splitter.split(np.empty((n_rows, 1)), classes)]
    share = min(FRACTION, MOST_ROWS / n_rows) if isinstance(validation, str) else float(validation)
    return [divided(everything, share, classes, seed)]


def divided(rows: np.ndarray, share: float, classes: np.ndarray | None, seed: int) -> Split:
    """Two parts; classes of one row stay in the first, the others are in both in proportion where they fit."""
    alone = np.zeros(len(rows), bool) if classes is None else np.bincount(classes)[classes] < 2
    some = rows[~alone]
    count = max(1, round(share * len(some)))
    stratify = None if classes is None else classes[some]
    if stratify is not None and min(count, len(some) - count) < len(np.unique(stratify)):
        stratify = None
    training, validation = train_test_split(some, test_size=count, random_state=seed, stratify=stratify)
    return Split(np.sort(np.concatenate([training, rows[alone]])), np.sort(validation))


def checked_validation(validation: Any) -> Any:
    """The parameter, if it is one that `splits_of` takes or a pair (X, y).

    Raises
    ------
    ValueError
        If it is not.
    """
    text = isinstance(validation, str)
    good = validation is None or (validation == "auto" if text else hasattr(validation, "split"))
    good = good or (isinstance(validation, tuple | list) and len(validation) == 2)
    if isinstance(validation, Real) and validation is not True:
        share = float(validation)
        good = share >= 2 if isinstance(validation, Integral) else 0 < share < 1
    if not good:
        raise ValueError(
            "validation must be 'auto', a share of the rows in (0, 1), a number of folds from 2 up, a splitter, a pair "
            f"(X, y) or None; got {validation!r}."
        )
    return validation


class Score(NamedTuple):
    """How good predictions are, higher is better; scores compare first by ``value`` and then by ``closeness``.

    Attributes
    ----------
    value : by the metric that selects
    closeness : minus the log loss of probabilities, R² of numbers. A metric that counts rows, as the accuracy does, is
        the same for many networks on a few thousand rows, and this tells them apart
    """

    value: float
    closeness: float


def best_of(scores: Sequence[float | Score]) -> int:
    """The last of the best ones, NaN being the worst: of equal scores the longer training is the surer one."""
    keys = np.reshape(np.asarray(scores, np.float64), (len(scores), -1))
    keys[np.isnan(keys)] = -np.inf
    return max(range(len(keys)), key=lambda n: (*keys[n], n))


def greedy(outputs: Sequence[np.ndarray], score: Callable[[np.ndarray], Any], additions: int) -> list[int]:
    """How often each of some outputs counts in the mean that scores best, found by adding one after the other.

    Source: R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes 2004, "Ensemble selection from libraries of models",
    with replacement; of the means on the way the best one counts, the last of equal ones.
    """
    counts = [0] * len(outputs)
    total = np.zeros_like(outputs[0], np.float64)
    found, values = [], []
    for n in range(1, additions + 1):
        candidates = [score((total + other) / n) for other in outputs]
        chosen = best_of(candidates)
        total += outputs[chosen]
        counts[chosen] += 1
        found.append(list(counts))
        values.append(candidates[chosen])
    return found[best_of(values)]
