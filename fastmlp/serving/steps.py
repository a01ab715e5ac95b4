"""What stands before a network in a pipeline: scalers, clippers and encoders, each in NumPy and in C.

Steps are not folded into weights: x - mean, rounded once, keeps digits that x W - mean W would lose.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import preprocessing

from ..tabular.encoder import TableEncoder
from .c_text import c_array, c_float
from .step import Step
from .table_step import Encode


class Linear(Step):
    """y = (x - center) / scale, or y = x factor + shift; then cut to [low, high], if there are bounds."""

    def __init__(
        self, width: int, *, center: Any = 0.0, scale: Any = 1.0, shift: Any = 0.0, bounds: Any = None
    ) -> None:
        self.width = self.out_width = width
        self.center, self.scale, self.shift = (
            np.broadcast_to(np.asarray(number, np.float64), width) for number in (center, scale, shift)
        )
        self.bounds = bounds

    def apply(self, X: np.ndarray) -> np.ndarray:
        kind = X.dtype.type
        Y = (X - self.center.astype(kind)) / self.scale.astype(kind) + self.shift.astype(kind)
        return Y if self.bounds is None else np.clip(Y, *map(kind, self.bounds))

    def c_source(self, name: str) -> list[str]:
        lines = [c_array(f"{name}_{part}", getattr(self, part)) for part in ("center", "scale", "shift")]
        body = f"(x[i] - {name}_center[i]) / {name}_scale[i] + {name}_shift[i]"
        if self.bounds is not None:
            low, high = map(c_float, self.bounds)
            body = f"fminf(fmaxf({body}, {low}), {high})"
        return [*lines, f"static void {name}(const float *x, float *y)", "{", "    int i;",
                f"    for (i = 0; i < {self.width}; i++)", f"        y[i] = {body};", "}"]  # fmt: skip


class Clip(Step):
    """Numbers cut to [low, high]; its width is that of what stands beside it, 0 as long as it is not known."""

    width = out_width = 0

    def __init__(self, low: float, high: float) -> None:
        self.bounds = low, high

    def apply(self, X: np.ndarray) -> np.ndarray:
        return np.clip(X, *map(X.dtype.type, self.bounds))

    def c_source(self, name: str) -> list[str]:
        low, high = map(c_float, self.bounds)
        return [f"static void {name}(const float *x, float *y)", "{", "    int i;",
                f"    for (i = 0; i < {self.width}; i++)", f"        y[i] = fminf(fmaxf(x[i], {low}), {high});",
                "}"]  # fmt: skip


class OneHot(Step):
    """A column for each level of each feature but those left out; zeros for others, or an error in Python."""

    def __init__(self, levels: Sequence[np.ndarray], refuses: bool, dropped: Sequence[Any]) -> None:
        self.levels = [np.asarray(each, np.float64) for each in levels]
        self.dropped = list(dropped)
        self.refuses = refuses
        self.width = len(levels)
        self.out_width = sum(len(each) - (drop is not None) for each, drop in zip(levels, self.dropped))

    def apply(self, X: np.ndarray) -> np.ndarray:
        columns = []
        for feature, (levels, drop) in enumerate(zip(self.levels, self.dropped)):
            hits = X[:, feature, None] == levels
            if self.refuses and not hits.any(axis=1).all():
                raise ValueError(f"Feature {feature} must be one of the encoder's categories; got another number.")
            columns.append(hits if drop is None else np.delete(hits, drop, axis=1))
        return np.concatenate(columns, axis=1).astype(X.dtype)

    def c_source(self, name: str) -> list[str]:
        kept = [each if drop is None else np.delete(each, drop) for each, drop in zip(self.levels, self.dropped)]
        feature = np.repeat(np.arange(self.width), [len(each) for each in kept])
        return [
            c_array(f"{name}_level", np.concatenate(kept)),
            c_array(f"{name}_feature", feature, "int"),
            f"static void {name}(const float *x, float *y)", "{", "    int i;",
            f"    for (i = 0; i < {self.out_width}; i++)",
            f"        y[i] = x[{name}_feature[i]] == {name}_level[i] ? 1.0f : 0.0f;", "}",
        ]  # fmt: skip


class Ordinal(Step):
    """The position of each number among its feature's levels; `unknown` for others, or an error in Python."""

    def __init__(self, levels: Sequence[np.ndarray], unknown: float | None) -> None:
        self.levels = [np.asarray(each, np.float64) for each in levels]
        self.unknown = unknown
        self.width = self.out_width = len(levels)

    def apply(self, X: np.ndarray) -> np.ndarray:
        Y = np.empty_like(X)
        for feature, levels in enumerate(self.levels):
            hits = X[:, feature, None] == levels
            known = hits.any(axis=1)
            if self.unknown is None and not known.all():
                raise ValueError(f"Feature {feature} must be one of the encoder's categories; got another number.")
            Y[:, feature] = np.where(known, hits.argmax(axis=1), 0.0 if self.unknown is None else self.unknown)
        return Y

    def c_source(self, name: str) -> list[str]:
        sizes = [len(each) for each in self.levels]
        unknown = -1.0 if self.unknown is None else self.unknown
        return [
            c_array(f"{name}_level", np.concatenate(self.levels)),
            c_array(f"{name}_first", np.concatenate([[0], np.cumsum(sizes)]), "int"),
            f"static void {name}(const float *x, float *y)", "{", "    int i, k;",
            f"    for (i = 0; i < {self.width}; i++) {{", f"        y[i] = {c_float(unknown)};",
            f"        for (k = {name}_first[i]; k < {name}_first[i + 1]; k++)",
            f"            if (x[i] == {name}_level[k]) y[i] = (float)(k - {name}_first[i]);", "    }", "}",
        ]  # fmt: skip


# --- what scikit-learn calls them -------------------------------------------------------------------------------------


def _standard(scaler: Any) -> Step:
    center = scaler.mean_ if scaler.with_mean else 0.0
    return Linear(scaler.n_features_in_, center=center, scale=scaler.scale_ if scaler.with_std else 1.0)


def _robust(scaler: Any) -> Step:
    center = scaler.center_ if scaler.with_centering else 0.0
    return Linear(scaler.n_features_in_, center=center, scale=scaler.scale_ if scaler.with_scaling else 1.0)


def _largest(scaler: Any) -> Step:
    bounds = (-1.0, 1.0) if getattr(scaler, "clip", False) else None
    return Linear(scaler.n_features_in_, scale=scaler.scale_, bounds=bounds)


def _range(scaler: Any) -> Step:
    """x scale + min as (x - data_min) / (1 / scale) + low, which is nearer to the truth."""
    low, _ = scaler.feature_range
    bounds = scaler.feature_range if scaler.clip else None
    return Linear(
        scaler.n_features_in_, center=scaler.data_min_, scale=1 / scaler.scale_, shift=float(low), bounds=bounds
    )


def _numbers(encoder: Any, categories: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    for each in categories:
        if each.dtype.kind not in "biuf" or np.isnan(each.astype(np.float64)).any():
            raise ValueError(
                f"{type(encoder).__name__} must have numbers, none of them NaN, as categories; got {each!r}."
            )
    return categories


def _one_hot(encoder: Any) -> Step:
    if getattr(encoder, "infrequent_categories_", None) and any(
        each is not None for each in encoder.infrequent_categories_
    ):
        raise ValueError("OneHotEncoder must have no infrequent categories here; fit it without min_frequency.")
    dropped = [None] * encoder.n_features_in_ if encoder.drop_idx_ is None else encoder.drop_idx_
    return OneHot(_numbers(encoder, encoder.categories_), encoder.handle_unknown == "error", dropped)


def _ordinal(encoder: Any) -> Step:
    if getattr(encoder, "_infrequent_enabled", False):
        raise ValueError("OrdinalEncoder must have no infrequent categories here; fit it without min_frequency.")
    unknown = None if encoder.handle_unknown == "error" else float(encoder.unknown_value)
    return Ordinal(_numbers(encoder, encoder.categories_), unknown)


def _function(transformer: Any) -> Step | None:
    """np.clip with its bounds."""
    arguments = dict(transformer.kw_args or {})
    low = arguments.pop("a_min", arguments.pop("min", None))
    high = arguments.pop("a_max", arguments.pop("max", None))
    if transformer.func is not np.clip or arguments or not all(np.ndim(bound) == 0 for bound in (low, high)):
        return None
    return Clip(-np.inf if low is None else float(low), np.inf if high is None else float(high))


READERS = {
    preprocessing.StandardScaler: _standard,
    preprocessing.MinMaxScaler: _range,
    preprocessing.MaxAbsScaler: _largest,
    preprocessing.RobustScaler: _robust,
    preprocessing.OneHotEncoder: _one_hot,
    preprocessing.OrdinalEncoder: _ordinal,
    preprocessing.FunctionTransformer: _function,
}


def step_of(name: str, transformer: Any, consumer: str) -> Step:
    """The step that a fitted transformer is, for a consumer that is named in errors.

    Raises
    ------
    ValueError
        With its name, if it is none of those above.
    """
    if isinstance(transformer, TableEncoder):
        return Encode(transformer, consumer)
    reader = READERS.get(type(transformer))
    step = None if reader is None else reader(transformer)
    if step is None:
        others = (each for each in READERS if each is not preprocessing.FunctionTransformer)
        known = ", ".join(sorted(each.__name__ for each in (*others, TableEncoder)))
        raise ValueError(
            f"Step {name!r} of the pipeline must be one of {known} or FunctionTransformer(np.clip); "
            f"got {type(transformer).__name__}."
        )
    return step
