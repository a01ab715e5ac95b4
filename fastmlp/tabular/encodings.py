"""How one column becomes columns of float32, and how its numbers are chosen.

Each encoding knows its width and its names and fills a block of rows; `TableEncoder` puts the blocks side by side.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns import BOOLEAN, CATEGORY, DATE, DAY, NUMBER, Column

UNSEEN = -2
CYCLES = {"year": 365.2425 * DAY, "week": 7 * DAY, "day": DAY}


class Encoding:
    """What all encodings offer.

    Attributes
    ----------
    kind : the kind of column it was made for
    names : of its columns
    """

    kind: str
    names: list[str]

    def values(self, column: Column) -> np.ndarray:
        """What `fill` reads of a column of the right kind, ndarray of shape (n_rows,)."""
        return column.values

    def fill(self, values: np.ndarray, out: np.ndarray) -> None:
        """Encode some rows into ``out`` of shape (n, len(names))."""
        raise NotImplementedError

    def bins(self) -> np.ndarray:
        """Which of its columns are bins of a number."""
        return np.zeros(len(self.names), bool)


@dataclass
class Scaled(Encoding):
    """A number beside its place in each of some bins.

    z = (x - center) / scale with the median and the interquartile range (where that is 0, see `spread`), then
    z / √(1 + (z / 3)²), which is z for small z and bounded by ±3. A bin [a, b] gives 2 s - 1 with
    s = min(max((x - a) / (b - a), 0), 1); its bounds are quantiles (see `bin_bounds`). A missing number counts as the
    median and is told by one more column, ±1, where the training rows missed some.

    Attributes
    ----------
    name : of the column; ``center``, ``scale`` : see above; a scale of 0 stands for a constant, which is left out
    bounds : of the bins, ascending, of shape (bins + 1,); empty for no bins
    missing : whether there is a column for missing numbers

    Source: D. Holzmüller, L. Grinsztajn and I. Steinwart 2024, "Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data", section 3, scaling and clip; Y. Gorishniy, I. Rubachev and A. Babenko 2022, "On embeddings
    for numerical features in tabular deep learning", section 3.2.
    """

    name: str
    center: float
    scale: float
    bounds: np.ndarray
    missing: bool
    kind: str = NUMBER

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        bins = [f"{self.name}_bin{n}" for n in range(1, len(self.bounds))]
        return [self.name] * bool(self.scale) + bins + [f"{self.name}_missing"] * self.missing

    def fill(self, values: np.ndarray, out: np.ndarray) -> None:
        x = values.astype(np.float64)
        absent = np.isnan(x)
        x[absent] = self.center
        if self.scale:
            z = (x - self.center) / self.scale
            out[:, 0] = z / np.hypot(1, z / 3)
        if len(self.bounds):
            low = self.bounds[:-1]
            share = (x[:, None] - low) / (self.bounds[1:] - low)
            np.clip(share, 0, 1, out=share)
            out[:, 1 : len(self.bounds)] = 2 * share - 1
        if self.missing:
            out[:, -1] = 2 * absent - 1

    def bins(self) -> np.ndarray:
        first = int(bool(self.scale))
        return np.array([first <= n < first + max(0, len(self.bounds) - 1) for n in range(len(self.names))], bool)


def scaled(name: str, values: np.ndarray, n_bins: int) -> Scaled:
    """Choose the numbers of a column's encoding by its training rows, of which some are present."""
    x = values.astype(np.float64)
    x = x[~np.isnan(x)]
    x.sort()
    missing = len(x) < len(values)
    bounds = bin_bounds(x, n_bins) if n_bins > 1 else np.empty(0)
    return Scaled(name, *spread(x), bounds if len(bounds) > 2 else np.empty(0), missing)


def spread(x: np.ndarray) -> tuple[float, float]:
    """The median of sorted numbers, and their interquartile range.

    Where half of the numbers are equal, as in a column that is 0 for most rows, the range is 0. The others then give
    the scale: their interquartile range, or the distance of their median where that is greater; of a column of two
    values half their distance.
    """
    quarter, center, three = np.quantile(x, (0.25, 0.5, 0.75))
    if three > quarter or x[0] == x[-1]:
        return float(center), float(three - quarter)
    others = x[x != center]
    if others[0] == others[-1]:
        return float(center), float(x[-1] / 2 - x[0] / 2)  # halves first: the difference may not be a number
    low, middle, high = np.quantile(others, (0.25, 0.5, 0.75))
    return float(center), float(max(high - low, abs(middle - center)))


def bin_bounds(x: np.ndarray, n_bins: int) -> np.ndarray:
    """Bounds of at most so many bins of some numbers, ascending and distinct.

    Quantiles, but a value that fills a bin alone is a bound by itself, and the quantiles are those of the other
    numbers: else a column that is 0 in most rows would have hardly a bin for the rest. Of few values each is a bound.
    """
    values, counts = np.unique(x, return_counts=True)
    if len(values) <= n_bins + 1:
        return values
    alone = np.zeros(len(values), bool)
    while True:
        left = n_bins - np.count_nonzero(alone)
        full = ~alone & (counts * left > counts[~alone].sum())
        if not full.any():
            break
        alone |= full
    others = np.repeat(values[~alone], counts[~alone])
    return np.unique(np.concatenate([values[alone], np.quantile(others, np.linspace(0, 1, left + 1))]))


@dataclass
class Flag(Encoding):
    """A boolean as -1 and 1, and 0 where it is missing; one more column tells so where the training rows missed some.

    Attributes
    ----------
    name : of the column
    varies : whether it has both values
    missing : whether there is a column for missing values
    """

    name: str
    varies: bool
    missing: bool
    kind: str = BOOLEAN

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        return [self.name] * self.varies + [f"{self.name}_missing"] * self.missing

    def fill(self, values: np.ndarray, out: np.ndarray) -> None:
        absent = np.isnan(values)
        if self.varies:
            out[:, 0] = np.where(absent, 0, 2 * values - 1)
        if self.missing:
            out[:, -1] = 2 * absent - 1


def flag(column: Column) -> Flag:
    """The encoding of a column of booleans."""
    absent = np.isnan(column.values)
    return Flag(column.name, bool(np.ptp(column.values[~absent])), bool(absent.any()))


@dataclass
class Dated(Encoding):
    """A date as a number, and its place in the year, in the week and in the day as sine and cosine.

    Attributes
    ----------
    number : Scaled, of the seconds since 1970
    cycles : those of `CYCLES` in which the training rows differ
    """

    number: Scaled
    cycles: Sequence[str]
    kind: str = DATE

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        waves = [f"{self.number.name}_{cycle}_{wave}" for cycle in self.cycles for wave in ("sin", "cos")]
        return self.number.names + waves

    def fill(self, values: np.ndarray, out: np.ndarray) -> None:
        width = len(self.number.names)
        self.number.fill(values, out[:, :width])
        x = np.where(np.isnan(values), self.number.center, values)
        for n, cycle in enumerate(self.cycles):
            angle = 2 * np.pi * (x / CYCLES[cycle] % 1)
            out[:, width + 2 * n] = np.sin(angle)
            out[:, width + 2 * n + 1] = np.cos(angle)

    def bins(self) -> np.ndarray:
        return np.concatenate([self.number.bins(), np.zeros(2 * len(self.cycles), bool)])


def dated(column: Column, n_bins: int) -> Dated:
    """The encoding of a column of dates; cycles in which all rows are at the same place are left out."""
    x = column.values[~np.isnan(column.values)]
    cycles = [name for name, length in CYCLES.items() if np.ptp(x / length % 1) > 1e-9 and np.ptp(x) > length / 12]
    return Dated(scaled(column.name, column.values, n_bins), cycles)


@dataclass
class OneHot(Encoding):
    """A column for each level, 1 where a row has it and else 0; for two levels one column, -1 and 1.

    Levels that no training row had are all 0, or count as infrequent where there is a column for infrequent ones.

    Attributes
    ----------
    name : of the column
    levels : those with a column of their own
    rest : infrequent levels, which share a column
    missing : whether there is a column for missing values
    """

    name: str
    levels: list[Hashable]
    rest: list[Hashable]
    missing: bool
    kind: str = CATEGORY

    def __post_init__(self) -> None:
        self._codes = {level: code for code, level in enumerate(self.levels)}
        self._codes |= dict.fromkeys(self.rest, len(self.levels))

    @property
    def _two(self) -> bool:
        return len(self.levels) == 2 and not self.rest

    @property
    def _own(self) -> int:
        """Columns of levels."""
        if len(self.levels) == 1 and not self.rest:
            return 0
        return 1 if self._two else len(self.levels)

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        shown = self.levels[1:] if self._two else self.levels if self._own else []
        names = [f"{self.name}_{level}" for level in shown] + [f"{self.name}_infrequent"] * bool(self.rest)
        return names + [f"{self.name}_missing"] * self.missing

    def values(self, column: Column) -> np.ndarray:
        """Codes of this encoding: UNSEEN for new levels, -1 for missing values."""
        unseen = len(self.levels) if self.rest else UNSEEN
        known = np.array([*(self._codes.get(level, unseen) for level in column.levels), -1], np.int64)
        return known[column.values.astype(np.int64)]

    def fill(self, values: np.ndarray, out: np.ndarray) -> None:
        own = self._own
        if self._two:
            out[:, 0] = np.where(values < 0, 0, 2 * values - 1)
        elif own:
            out[:, : own + bool(self.rest)] = values[:, None] == np.arange(own + bool(self.rest))
        if self.missing:
            out[:, -1] = 2 * (values == -1) - 1 if self._two or not own else values == -1


def one_hot(column: Column, max_levels: int) -> OneHot:
    """The encoding of a column of categories: levels that occur, sorted where they can be; the most frequent ones."""
    counts = np.bincount(column.values[column.values >= 0], minlength=len(column.levels))
    present: Any = np.flatnonzero(counts)
    rest: Any = ()
    if len(present) > max_levels:
        order = np.argsort(-counts[present], kind="stable")
        present, rest = present[order[: max_levels - 1]], present[order[max_levels - 1 :]]
    levels: list[Any] = [column.levels[code] for code in present]
    try:
        levels.sort()
    except TypeError:  # of kinds that do not compare: the order of appearance stays
        pass
    return OneHot(column.name, levels, [column.levels[code] for code in rest], bool((column.values == -1).any()))
