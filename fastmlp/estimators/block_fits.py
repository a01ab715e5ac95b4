"""Fits on blocks: what one pass over all rows tells, and how each block is checked and converted when it is read.

The first pass finds the number of rows, the classes and what is wrong with a block, before any attribute changes. It
keeps a few rows as examples, which stand for the data wherever a fit looks at them: classes, widths, dtypes.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn import config_context

from ..blocks import Block, Blocks, applied, check_columns
from ..core.network import Network
from ..streaming import GROUP_BYTES, StreamSession, default_window
from .configuration import Configuration
from .data import TrainingData, checked_weights, with_class_weights
from .labels import known_codes

EXAMPLES = 2  # rows of a block that are kept in any case


@dataclass(frozen=True)
class Survey:
    """What a pass over rows has found.

    Attributes
    ----------
    name : of the first block
    n_rows : rows seen
    examples : a row of each label, and the first ones
    counts : rows of each label, or their weights where they have some; empty where y is no vector of labels
    weighted : whether any row counts: not all have weight 0
    columns : names of the columns of X, or None
    """

    name: str
    n_rows: int
    examples: Block
    counts: dict[Any, float]
    weighted: bool = True
    columns: list[str] | None = None

    def rows(self) -> tuple[np.ndarray, np.ndarray, None]:
        """X and y of the examples; weights count in the blocks only."""
        return self.examples.X, self.examples.y, None

    def configured(self, configuration: Configuration) -> Configuration:
        """A configuration that every block can apply: weights of 'balanced' classes are those of all rows."""
        if configuration.class_weight != "balanced" or not self.counts:
            return configuration
        total = sum(self.counts.values())
        weights = {label: total / (len(self.counts) * count) for label, count in self.counts.items() if count}
        return replace(configuration, class_weight=weights)


def survey_of(block: Block, name: str, *, labels: bool) -> Survey:
    """Look at one block.

    Parameters
    ----------
    block : Block; name : of it
    labels : whether y holds labels, whose classes are to be found

    Raises
    ------
    ValueError
        With the name and the row, where a number is not finite.
    """
    check_finite(block, name)
    if labels:
        _check_text(block.y, name)
    rows, counts = np.arange(min(EXAMPLES, len(block.X))), {}
    if labels and block.y.ndim == 1:
        try:
            found, first, codes = np.unique(block.y, return_index=True, return_inverse=True)
        except TypeError as error:
            row = next(row for row, label in enumerate(block.y) if type(label) is not type(block.y[0]))
            raise ValueError(
                f"y must have labels of one type; row 0 of {name} has {block.y[0]!r}, row {row} {block.y[row]!r}. "
                "Fill in or leave out such rows."
            ) from error
        rows = np.union1d(rows, first)
        counts = dict(zip(found.tolist(), np.bincount(codes, block.sample_weight, len(found)).tolist(), strict=True))
    elif labels and len(rows):
        rows = np.unique([*rows, *block.y.argmin(axis=0), *block.y.argmax(axis=0)])
    weighted = block.sample_weight is None or bool(block.sample_weight.any())
    return Survey(name, len(block.X), _rows_of(block, rows), counts, weighted)


def _check_text(labels: np.ndarray, name: str) -> None:
    """Refuse labels that are bytes, which scikit-learn's classifiers do not take."""
    values = labels.ravel()
    if len(values) and (labels.dtype.kind == "S" or isinstance(values[0], bytes)):
        raise TypeError(
            f"y must have labels that are text or numbers; row 0 of {name} has {bytes(values[0])!r}: decode bytes."
        )


def _rows_of(block: Block, rows: np.ndarray) -> Block:
    """Some rows of a block."""
    return Block(block.X[rows], block.y[rows], None if block.sample_weight is None else block.sample_weight[rows])


def merged(surveys: Iterable[Survey]) -> Survey:
    """One survey of all rows; those of blocks without rows have no part.

    Raises
    ------
    ValueError
        With the name of a block that differs from the first one in width, kind of dtype or weights, or if no row is
        there.
    """
    total: Survey | None = None
    for survey in surveys:
        if not survey.n_rows:
            continue
        if total is None:
            total = survey
            continue
        check_alike(survey.examples, total.examples, survey.name)
        check_columns(survey.columns, total.columns, survey.name)
        new = [label not in total.counts for label in survey.examples.y.tolist()] if total.counts else []
        more = _rows_of(survey.examples, np.flatnonzero(new))
        counts = {
            label: total.counts.get(label, 0.0) + survey.counts.get(label, 0.0)
            for label in {**total.counts, **survey.counts}
        }
        weights = total.examples.sample_weight
        examples = Block(
            np.concatenate([total.examples.X, more.X]),
            np.concatenate([total.examples.y, more.y]),
            None if weights is None or more.sample_weight is None else np.concatenate([weights, more.sample_weight]),
        )
        weighted = total.weighted or survey.weighted
        total = Survey(total.name, total.n_rows + survey.n_rows, examples, counts, weighted, total.columns)
    if total is None:
        raise ValueError("X must have at least one row; all of its blocks are empty.")
    if not total.weighted:
        raise ValueError("sample_weight must contain at least one non-zero number; it is 0 in all blocks.")
    return total


def first_pass(blocks: Blocks, *, labels: bool) -> Survey:
    """Read all blocks once, and look at small ones together."""

    def surveys() -> Iterator[Survey]:
        look = partial(survey_of, labels=labels)
        group: list[Block] = []
        begin = size = 0
        for position, block in enumerate(blocks):
            group.append(block)
            size += block.X.nbytes
            if size >= GROUP_BYTES or position == len(blocks) - 1:
                yield from applied(look, group, [blocks.names[n] for n in range(begin, position + 1)])
                group, begin, size = [], position + 1, 0

    return replace(merged(surveys()), columns=blocks.columns)


def check_finite(block: Block, name: str) -> None:
    """Refuse a block with a number that is not finite."""
    for what, values in zip(("X", "y", "sample_weight"), block, strict=True):
        if values is not None and values.dtype.kind == "f" and not _all_finite(values):
            row = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0]
            raise ValueError(f"{what} must be finite; row {row} of {name} is not. Fill in or leave out such rows.")


def _all_finite(values: np.ndarray) -> bool:
    """Whether all numbers are finite: their sum says so in one pass without a copy, unless it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def check_alike(block: Block, like: Block, name: str) -> None:
    """Refuse a block that differs from the first one."""
    if block.X.shape[1] != like.X.shape[1]:
        raise ValueError(f"X must have {like.X.shape[1]} columns in every block; got {block.X.shape[1]} in {name}.")
    if block.y.shape[1:] != like.y.shape[1:]:
        raise ValueError(
            f"y must have rows of shape {like.y.shape[1:]} in every block; got {block.y.shape[1:]} in {name}."
        )
    if (block.sample_weight is None) != (like.sample_weight is None):
        raise ValueError(f"sample_weight must be there in every block or in none; {name} differs from the first one.")
    for what, values, first in (("X", block.X, like.X), ("y", block.y, like.y)):
        kinds = {("numbers" if dtype.kind in "fiub" else dtype.kind) for dtype in (values.dtype, first.dtype)}
        if len(kinds) > 1:
            raise ValueError(
                f"{what} must have one kind of dtype in all blocks, {first.dtype}; got {values.dtype} in {name}."
            )


def check_labels(y: np.ndarray, classes: np.ndarray, name: str) -> None:
    """Refuse labels that the first pass has not found."""
    new = np.flatnonzero(~np.isin(y, classes))
    if len(new):
        raise ValueError(
            f"y must have the labels of the first pass in every later one, {classes.tolist()}; row {new[0]} of {name} "
            f"has {y[new[0]].item()!r}. Use rows that do not change."
        )


class LabelTable:
    """What each label becomes, to be looked up: to check a small block in full takes longer than to read it.

    Parameters
    ----------
    classes : ascending integers
    labels, values : some labels, and what a check has made of them
    """

    def __init__(self, classes: np.ndarray, labels: np.ndarray, values: np.ndarray) -> None:
        self.classes = classes
        codes = np.searchsorted(classes, labels)
        self.complete = len(np.unique(codes)) == len(classes)
        self.values = np.zeros((len(classes), *values.shape[1:]), values.dtype)
        self.values[codes] = values

    def of(self, y: np.ndarray) -> np.ndarray | None:
        """Targets of some labels; None if there is a new one."""
        codes = known_codes(y, self.classes)
        return None if codes is None else self.values[codes]


def check_block_fit(configuration: Configuration, validation: tuple[Any, Any, Any], n_estimators: int) -> None:
    """Refuse what needs all rows at once.

    Raises
    ------
    ValueError
        With the parameter, and what to do.
    """
    check_steps(configuration, n_estimators, "where X is blocks")
    if configuration.early_stopping and validation[0] is None:
        raise ValueError("early_stopping=True needs X_val and y_val where X is blocks, of which none are set aside.")
    for name in ("augmentation", "metrics"):
        if getattr(configuration, "augmentations" if name == "augmentation" else name):
            raise ValueError(f"{name} must be None where X is blocks: it looks at all rows at once.")


def check_steps(configuration: Configuration, n_estimators: int, where: str) -> None:
    """Refuse what one network cannot learn in steps on some of the rows, from initial weights that need none.

    Raises
    ------
    ValueError
        With the parameter, ``where`` that is so, and what to do.
    """
    if configuration.optimizer is None:
        raise ValueError(f"solver must be one that takes steps, such as 'adam', {where}; got 'lbfgs'.")
    if n_estimators > 1:
        raise ValueError(f"n_estimators must be 1 {where}; got {n_estimators}. Fit members one by one.")
    chosen = configuration.initializer
    if getattr(chosen, "needs_rows", False):
        raise ValueError(
            "initializer must be one that looks at no rows where X is blocks, such as 'he_normal'; "
            f"got {chosen.name!r}."
        )


def converter(
    estimator: Any, configuration: Configuration, survey: Survey, dtype: np.dtype
) -> Callable[[Block, str], Block]:
    """A function that checks a block as arrays are checked in a fit, and gives X, targets and weights to train on.

    Parameters
    ----------
    estimator : knows the classes
    configuration : of the fit; survey : of all rows; dtype : of the network
    """
    like = survey.examples
    checker = copy.copy(estimator).set_params(warm_start=False)  # which would want all classes in every block
    vars(checker).pop("feature_names_in_", None)  # blocks come as arrays
    classes = getattr(estimator, "classes_", None)

    def checked_targets(X: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        return checker._check_data(X, y, configuration, dtype=dtype, incremental=True, reset=False)

    table = None
    if classes is not None and like.y.ndim == 1 and like.y.dtype.kind in "iu" and configuration.class_weight is None:
        table = LabelTable(classes, like.y, checked_targets(like.X, like.y)[1].values)

    def convert(block: Block, name: str) -> Block:
        check_alike(block, like, name)
        check_finite(block, name)
        plain = block.X.dtype == dtype and block.X.flags.c_contiguous and block.sample_weight is None
        if plain and table is not None and table.complete and block.y.dtype.kind in "iu":
            targets = table.of(block.y)
            if targets is not None:
                return Block(block.X, targets)
        if classes is not None and block.y.ndim == 1:
            check_labels(block.y, classes, name)
        as_it_is = block.X.dtype == dtype and block.y.dtype.kind in "fiub"  # a conversion may overflow
        try:
            with config_context(assume_finite=as_it_is):  # one pass over a block is enough
                X, targets = checked_targets(block.X, block.y)
            weights = block.sample_weight
            if weights is None or weights.any():  # a block whose rows do not count is none to complain about
                weights = with_class_weights(checked_weights(weights, X), configuration.class_weight, targets, X)
            else:
                weights = np.zeros(len(X), X.dtype)
        except ValueError as error:
            raise ValueError(f"{str(error).rstrip('.')}, in {name}.") from error
        return Block(X, targets.values, weights)

    return convert


@contextmanager
def without_names(estimator: Any, columns: list[str] | None, *, reset: bool) -> Iterator[None]:
    """A check of a few rows of blocks, which are arrays; the estimator has the columns' names again after it.

    Parameters
    ----------
    columns : names of the columns, or None where there are none, and nothing is to be done
    reset : whether these become the estimator's; else they must be the names that it has, if it has some

    Raises
    ------
    ValueError
        If they are not.
    """
    if columns is None:
        yield
        return
    names = np.array(columns, dtype=object) if reset else vars(estimator).get("feature_names_in_")
    if names is not None and list(names) != columns:
        raise ValueError(f"X must have the columns of the first fit, {list(names)}; got {columns}.")
    vars(estimator).pop("feature_names_in_", None)
    yield
    if names is not None:
        estimator.feature_names_in_ = names


class BlockRows(NamedTuple):
    """Blocks to train on, and what the first pass over them has found."""

    blocks: Blocks
    survey: Survey

    def session(self, estimator: Any, configuration: Configuration, network: Network, batch_size: int) -> StreamSession:
        """What trains a network on the blocks."""
        row_bytes = network.units[0] * network.dtype.itemsize + 8 * (1 + network.units[-1])
        return StreamSession(
            network,
            self.blocks,
            converter(estimator, configuration, self.survey, network.dtype),
            batch_size=batch_size,
            window_rows=self.blocks.window_rows or default_window(row_bytes, batch_size, configuration.n_threads),
            shuffle=configuration.shuffle,
            n_threads=configuration.n_threads,
        )

    def standing_for(self, data: TrainingData) -> TrainingData:
        """The checked examples, as what stands for all rows."""
        return data._replace(training_rows=range(self.survey.n_rows), stream=self)
