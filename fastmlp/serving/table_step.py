"""The encoder of a raw table as a step: what `TableEncoder` makes of columns of numbers, in NumPy and in C.

Encoded columns of one kind form a group, which is computed together.
"""

from collections.abc import Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..tabular.encoder import TableEncoder
from ..tabular.encodings import Dated, Encoding, Flag, OneHot, Scaled
from .c_text import c_array
from .step import Step

ABSENT = np.nan  # a level that no number equals


class Group(NamedTuple):
    """Encoded columns of one kind: their ``feature`` in the row, where they stand, and their numbers.

    With x the number of the feature, which is missing where it is NaN:

    * NUMBER: z / √(1 + (z / 3)²), z = (x - a) / b; 0 for a missing one
    * BIN: 2 min(max((x - a) / b, 0), 1) - 1, of x = c for a missing one
    * LEVEL: (x = a) - (x = b)
    * REST: whether x is neither missing nor one of the a levels in the columns before
    * MISSING: 1 for a missing one, else a
    """

    feature: np.ndarray
    at: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray


KINDS = ("number", "bin", "level", "rest", "missing")
# y of column `at` in C; `v` is the number, `k` the position in the group, {n} the group's name.
C_OF_KIND = {
    "number": "z = isnan(v) ? 0.0f : (v - {n}_a[k]) / {n}_b[k];\n"
    "        y[{n}_at[k]] = z / sqrtf(1.0f + z * z / 9.0f);",
    "bin": "z = ((isnan(v) ? {n}_c[k] : v) - {n}_a[k]) / {n}_b[k];\n"
    "        y[{n}_at[k]] = 2.0f * fminf(fmaxf(z, 0.0f), 1.0f) - 1.0f;",
    "level": "y[{n}_at[k]] = (float)(v == {n}_a[k]) - (float)(v == {n}_b[k]);",
    "rest": "z = isnan(v) ? 0.0f : 1.0f;\n        for (j = 1; j <= (int){n}_a[k]; j++)\n"
    "            z -= y[{n}_at[k] - j];\n        y[{n}_at[k]] = z;",
    "missing": "y[{n}_at[k]] = isnan(v) ? 1.0f : {n}_a[k];",
}
NUMBERS_OF_KIND = {"number": "ab", "bin": "abc", "level": "ab", "rest": "a", "missing": "a"}


class Encode(Step):
    """What a fitted `TableEncoder` does to rows of numbers, NaN standing for a missing one.

    Attributes
    ----------
    groups : kind -> Group, those that have columns, in the order of `KINDS`
    """

    def __init__(self, encoder: TableEncoder, consumer: str) -> None:
        columns: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
        for feature, (encoding, (first, _)) in enumerate(zip(encoder._encodings, encoder.spans())):
            if encoding is not None:
                for n, (kind, *numbers) in enumerate(_columns_of(encoding, consumer)):
                    columns[kind].append((feature, first + n, *numbers, *[0.0] * (3 - len(numbers))))
        self.groups = {kind: _group(rows) for kind, rows in columns.items() if rows}
        self.width, self.out_width = int(encoder.n_features_in_), encoder.spans()[-1][1]

    def apply(self, X: np.ndarray) -> np.ndarray:
        """As the encoder: in float64, rounded to float32."""
        rows = X.astype(np.float64, copy=False)
        out = np.empty((len(X), self.out_width), np.float32)
        for kind, group in self.groups.items():
            out[:, group.at] = self._values(kind, group, rows[:, group.feature], out)
        return out

    def _values(self, kind: str, group: Group, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        absent = np.isnan(x)
        if kind == "number":
            z = np.where(absent, 0.0, (x - group.a) / group.b)
            return z / np.hypot(1, z / 3)
        if kind == "bin":
            share = (np.where(absent, group.c, x) - group.a) / group.b
            return 2 * np.clip(share, 0, 1) - 1
        if kind == "level":
            return np.subtract(x == group.a, x == group.b, dtype=np.float64)
        if kind == "missing":
            return np.where(absent, 1.0, group.a)
        known = [out[:, at - int(count) : at].sum(axis=1) for at, count in zip(group.at, group.a)]
        return ~absent - np.stack(known, axis=1)

    def c_source(self, name: str) -> list[str]:
        lines, body = [], []
        for kind, group in self.groups.items():
            own = f"{name}_{kind}"
            lines += [c_array(f"{own}_feature", group.feature, "int"), c_array(f"{own}_at", group.at, "int")]
            lines += [c_array(f"{own}_{letter}", getattr(group, letter)) for letter in NUMBERS_OF_KIND[kind]]
            body += [f"    for (k = 0; k < {len(group.at)}; k++) {{", f"        v = x[{own}_feature[k]];",
                     f"        {C_OF_KIND[kind].format(n=own)}", "    }"]  # fmt: skip
        variables = ["    float v;", "    int k;"] + ["    int j;"] * ("rest" in self.groups)
        variables += ["    float z;"] * any(kind in self.groups for kind in ("number", "bin", "rest"))
        return [*lines, f"static void {name}(const float *x, float *y)", "{", *variables, *body, "}"]


def _group(rows: Sequence[tuple[float, ...]]) -> Group:
    feature, at, *numbers = map(np.array, zip(*rows))
    return Group(feature.astype(np.int64), at.astype(np.int64), *(each.astype(np.float64) for each in numbers))


def _columns_of(encoding: Encoding, consumer: str) -> list[tuple[Any, ...]]:
    """(kind, its numbers) of each encoded column.

    Raises
    ------
    ValueError
        With the name of a column of texts or dates, which no row of numbers has.
    """
    if isinstance(encoding, Scaled):
        center, bounds = encoding.center, encoding.bounds
        found: list[tuple[Any, ...]] = [("number", center, encoding.scale)] * bool(encoding.scale)
        found += [("bin", low, high - low, center) for low, high in pairwise(bounds)]
        return found + [("missing", -1.0)] * encoding.missing
    if isinstance(encoding, Flag):
        return [("level", 1.0, 0.0)] * encoding.varies + [("missing", -1.0)] * encoding.missing
    if isinstance(encoding, OneHot):
        return _columns_of_levels(encoding, consumer)
    name = encoding.number.name if isinstance(encoding, Dated) else encoding.names[0]
    raise ValueError(
        f"{consumer} takes rows of numbers: column {name!r} holds dates; give them as numbers, such as days since "
        "1970, and fit again."
    )


def _columns_of_levels(encoding: OneHot, consumer: str) -> list[tuple[Any, ...]]:
    known: list[Any] = [*encoding.levels, *encoding.rest]
    for level in known:
        if not isinstance(level, Real):
            raise ValueError(
                f"{consumer} takes rows of numbers: column {encoding.name!r} holds {level!r}; code such levels as "
                "numbers, as OrdinalEncoder does, and fit again with categorical_features."
            )
    levels = [float(level) for level in known[: len(encoding.levels)]]
    if len({np.float32(level) for level in levels}) < len(levels):
        raise ValueError(
            f"{consumer} compares levels in single precision: two of column {encoding.name!r} are equal there; code "
            "them as smaller numbers and fit again."
        )
    if len(levels) <= 2 and not encoding.rest:  # one column or none
        pair: list[tuple[Any, ...]] = [("level", levels[1], levels[0])] if len(levels) == 2 else []
        return pair + [("missing", -1.0)] * encoding.missing
    found: list[tuple[Any, ...]] = [("level", level, ABSENT) for level in levels]
    found += [("rest", float(len(levels)))] * bool(encoding.rest)
    return found + [("missing", 0.0)] * encoding.missing
