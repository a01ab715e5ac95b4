"""What happens to the partitions of a raw table, where they are: pure functions, of a look to a trained shard."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..blocks import as_blocks
from ..delayed_parts import is_dask, partitions_of
from ..estimators.sklearn_internals import safe_indexing
from ..frames import column_names, is_frame
from ..tabular.columns import Column, as_table, joined, read_columns
from ..tabular.encoder import TableEncoder, check_finite
from ..tabular.estimator import checked_weights

SAMPLE_ROWS = 100_000  # of a table choose its encoding


class Rows:
    """A table in parts that are in memory; see `fastmlp.dask.sources.Parts`."""

    columns: list[str] | None = None  # each part shows its own

    def __init__(self, names: Sequence[str], parts: Sequence[tuple[Any, ...]]) -> None:
        self.names, self.parts = names, parts

    def __len__(self) -> int:
        return len(self.parts)

    def read(self, position: int) -> tuple[Any, ...]:
        """X, y and sample_weight of a part."""
        return self.parts[position]


def rows_of(X: Any, y: Any, sample_weight: Any, n_shards: int) -> Rows:
    """A table in as many parts of consecutive rows as there are shards; partitions of a Dask collection, computed.

    Raises
    ------
    ValueError, TypeError
        If X is no table, or y or sample_weight have other rows.
    """
    if is_dask(X):
        import dask.base

        parts = dask.base.compute(*(tuple(part) for part in partitions_of(X, y, sample_weight)))
        return Rows([f"partition {n}" for n in range(len(parts))], parts)
    if not hasattr(X, "shape") and as_blocks(X, y, sample_weight) is not None:
        raise TypeError(
            f"X must be a Dask collection, a frame or an array; got {type(X).__name__}, whose blocks are numbers."
        )
    X = as_table(X)
    if not X.shape[0]:
        raise ValueError(f"X must have a row at least; got shape {X.shape}.")
    table = [
        X,
        *(_with_rows(values, name, X.shape[0]) for values, name in ((y, "y"), (sample_weight, "sample_weight"))),
    ]
    size = -(-X.shape[0] // n_shards)
    slices = [np.arange(start, min(start + size, X.shape[0])) for start in range(0, X.shape[0], size)]
    return Rows(
        [f"rows {rows[0]} to {rows[-1]}" for rows in slices],
        [tuple(None if values is None else safe_indexing(values, rows) for values in table) for rows in slices],
    )


def _with_rows(values: Any, name: str, n_rows: int) -> Any:
    """y or weights, if they have so many rows, or are None."""
    if values is None:
        return None
    values = values if hasattr(values, "shape") else np.asarray(values)
    if len(values.shape) == 0 or values.shape[0] != n_rows:
        raise ValueError(f"{name} must have {n_rows} rows, as X has; got shape {values.shape}.")
    return values


@contextmanager
def named(name: str) -> Iterator[None]:
    """Errors of data say in which part it is.

    Raises
    ------
    ValueError, TypeError
        What the block raises, with the name.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{str(error).rstrip('.')}, in {name}.") from error


class Look(NamedTuple):
    """What is to be known of a part before the table is read.

    Attributes
    ----------
    name, n_rows : of the part
    columns : names of X's columns, or their number where they have none
    targets : kind and shape of the rows of y
    weights : sum of the weights, or None where there are none
    """

    name: str
    n_rows: int
    columns: Any
    targets: tuple[str, tuple[int, ...]]
    weights: float | None


def look_at(estimator: Any, part: tuple[Any, ...], name: str) -> Look:
    """Check y and the weights of a part, and look at the shape of X.

    Raises
    ------
    ValueError, TypeError
        If something is wrong, with the part's name.
    """
    X, y, weights = (*part, None)[:3]
    with named(name):
        X = as_table(X)
        columns = [str(column) for column in column_names(X)] if is_frame(X) else X.shape[1]
        shape = np.shape(y)
        if len(shape) == 0 or shape[0] != X.shape[0]:
            raise ValueError(f"y must have {X.shape[0]} rows, as X has; got shape {shape}")
        if not shape[0]:
            return Look(name, 0, columns, ("", ()), None)
        values = estimator._as_targets(y)
        total = None if weights is None else float(_weights_of(weights, X).sum())
    return Look(name, X.shape[0], columns, (_kind_of(values), values.shape[1:]), total)


def _weights_of(weights: Any, X: Any) -> np.ndarray:
    """The weights of a part's rows, checked; none of them may count."""
    weights = np.asarray(weights)
    if weights.shape == X.shape[:1] and not weights.any():
        return np.zeros(len(weights))
    return checked_weights(weights, X)


def _kind_of(values: np.ndarray) -> str:
    """Which labels and numbers can stand in one array."""
    if values.dtype.kind == "O":
        values = np.array(values[0])
    return "numbers" if values.dtype.kind in "biuf" else "texts" if values.dtype.kind == "U" else str(values.dtype)


def check_alike(looks: Sequence[Look]) -> list[Look]:
    """The parts with rows, of one kind.

    Raises
    ------
    ValueError
        With the name of a part that differs from the first one, or if no part has rows.
    """
    looks = [look for look in looks if look.n_rows]
    if not looks:
        raise ValueError("X must have at least one row; all of its partitions are empty.")
    first = looks[0]
    for look in looks:
        if look.columns != first.columns:
            raise ValueError(
                f"X must have the columns of {first.name} in every partition, {first.columns}; got {look.columns} in "
                f"{look.name}."
            )
        if look.targets != first.targets:
            raise ValueError(
                f"y must hold {first.targets[0]} of one shape in every partition, as in {first.name}, "
                f"{first.targets[1]} for each row; got {look.targets[0]}, {look.targets[1]}, in {look.name}."
            )
        if (look.weights is None) != (first.weights is None):
            raise ValueError(
                f"sample_weight must be there in every partition or in none; {look.name} differs from {first.name}."
            )
    if first.weights is not None and not sum(look.weights or 0.0 for look in looks) > 0:
        raise ValueError("sample_weight must hold a number that is not zero; all are zero in all partitions.")
    return looks


class Sample(NamedTuple):
    """Rows of a part that help to choose the encoding.

    Attributes
    ----------
    name : of the part
    example : its first row, which has its columns' names; None of a part without rows
    columns : of the rows drawn
    """

    name: str
    example: Any
    columns: list[Column]


def drawn_rows(rows: Sequence[int], most: int, random_state: np.random.RandomState) -> list[np.ndarray]:
    """Numbers of the rows of each part that choose the encoding: all of them, or a sample of all parts.

    Parameters
    ----------
    rows : of each part; most : rows in all; random_state : draws them, where there are more
    """
    ends = np.cumsum([0, *rows])
    if ends[-1] <= most:
        return [np.arange(count) for count in rows]
    seed = random_state.randint(2**31)
    drawn = np.sort(np.random.default_rng(seed).choice(ends[-1], most, replace=False))
    places = np.searchsorted(drawn, ends)
    return [drawn[begin:end] - start for start, begin, end in zip(ends, places, places[1:])]


def sample_of(part: tuple[Any, ...], name: str, rows: np.ndarray) -> Sample:
    """The rows drawn of a part, as columns."""
    X = as_table(part[0])
    if not X.shape[0]:
        return Sample(name, None, [])
    with named(name):
        columns = list(read_columns(X if len(rows) == X.shape[0] else safe_indexing(X, rows)))
        for column in columns:
            check_finite(column, rows)
    return Sample(name, safe_indexing(X, [0]), columns)


def encoder_of(encoder: TableEncoder, n_rows: int, samples: Sequence[Sample]) -> TableEncoder:
    """The encoder, fitted on the samples of all parts of a table of so many rows."""
    samples = [sample for sample in samples if sample.example is not None]
    names = [sample.name for sample in samples]
    columns = [joined(parts, names) for parts in zip(*(sample.columns for sample in samples), strict=True)]
    return encoder.fit_sample(samples[0].example, columns, n_rows)


class Shard(NamedTuple):
    """Rows that train together.

    Attributes
    ----------
    name : of its parts
    encoded : float32 ndarray of shape (n_rows, n_encoded)
    values : labels or numbers, as they were given
    weights : float64 ndarray of shape (n_rows,), or None
    """

    name: str
    encoded: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None


def shard_of(estimator: Any, names: Sequence[str], *parts: tuple[Any, ...]) -> Shard:
    """One shard from its parts, encoded by the estimator's encoder."""
    encoded, values, weights = [], [], []
    for name, part in zip(names, parts, strict=True):
        X, y, weight = (*part, None)[:3]
        if not as_table(X).shape[0]:
            continue
        with named(name):
            encoded.append(estimator.encoder_.transform(X))
            values.append(estimator._as_targets(y))
            weights.append(None if weight is None else _weights_of(weight, encoded[-1]))
    name = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    return Shard(name, _joined(encoded), _joined(values), None if weights[0] is None else _joined(weights))


def _joined(arrays: Sequence[Any]) -> np.ndarray:
    """Arrays one after the other; one alone is not copied."""
    whole: np.ndarray = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return whole


def summary_of(shard: Shard, estimator: Any, n_threads: int | None, progress: Any) -> Any:
    """What the estimator is to know of the targets of a shard."""
    return estimator._summary(shard.values)


class TrainedShard(NamedTuple):
    """What a shard has learned.

    Attributes
    ----------
    share : what its rows weigh; 0 where none counts, and then nothing is learned
    learned : the estimator's attributes
    """

    share: float
    learned: dict[str, Any]


def trained(shard: Shard, estimator: Any, n_threads: int | None, progress: Any) -> TrainedShard:
    """Train an estimator, which knows encoder and targets, on a shard; it stays as it is."""
    model = copy.copy(estimator)
    model.n_threads, model.progress, model.random_state = n_threads, progress, copy.deepcopy(estimator.random_state)
    targets = model._coded(shard.values)
    weights = model._weighted(targets, shard.weights)
    share = float(len(targets) if weights is None else weights.sum())
    if not share:
        return TrainedShard(0.0, {})
    with named(shard.name):
        model._fit_encoded(shard.encoded, targets, shard.weights)
    known = vars(estimator)
    return TrainedShard(share, {name: value for name, value in vars(model).items() if name not in known})
