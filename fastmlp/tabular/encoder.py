"""`TableEncoder`: a raw table as float32 columns that a network learns well from."""

from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..estimators.sklearn_internals import Interval, StrOptions
from ..frames import column_names, is_frame
from .columns import (
    BOOLEAN,
    CATEGORY,
    DATE,
    EMPTY,
    HOLDS,
    NUMBER,
    Column,
    as_category,
    as_table,
    read_columns,
)
from .encodings import Encoding, dated, flag, one_hot, scaled

if TYPE_CHECKING:
    from typing_extensions import Self

BLOCK = 4096  # rows encoded together: their temporary arrays stay in the cache
ID_ROWS = 50  # rows from which a column of distinct values is an id
ID_SHARE = 0.95  # share of distinct values from which a column of categories is one


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode a raw table as float32 for a network.

    Numbers are scaled robustly and clipped smoothly, and stand beside a piecewise-linear encoding; categories are
    one-hot, those of two levels -1 and 1; dates are numbers with their places in the year, week and day. Values may be
    missing and levels unseen, at ``fit`` and at ``transform``. Columns that say nothing (constant, empty, ids) are
    dropped.

    Parameters
    ----------
    categorical_features : 'from_dtype' or array-like, default='from_dtype'
        Which columns hold categories: names, positions or a mask, beside those of strings, which always do.
        'from_dtype' believes the dtype: categories of a frame, strings and objects that are no numbers.
    n_bins : int, default=8
        Most bins of the piecewise-linear encoding of a number; below 2 none.
    max_bin_columns : int, default=512
        Most columns of all these encodings together: with many columns of more than two numbers each gets fewer bins.
    max_levels : int, default=100
        Most columns of one categorical column; less frequent levels share the last one.
    drop_ids : bool, default=True
        Drop columns of categories that are nearly all distinct, and of whole numbers that count the rows.
    verbose : bool, default=False
        Print a line for each column that is dropped.

    Attributes
    ----------
    dropped_ : dict, name of a column -> why it was dropped
    kinds_ : dict, name of a column -> 'number', 'boolean', 'category', 'date' or 'empty'
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where the table has names

    Examples
    --------
    >>> from fastmlp.tabular import TableEncoder
    >>> table = [["blue", 1.0], ["red", 2.0], ["red", None]]
    >>> TableEncoder(n_bins=0).fit(table).get_feature_names_out().tolist()
    ['x0_red', 'x1', 'x1_missing']
    """

    _parameter_constraints: dict[str, Any] = {
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "n_bins": [Interval(Integral, 0, None, closed="left")],
        "max_bin_columns": [Interval(Integral, 0, None, closed="left")],
        "max_levels": [Interval(Integral, 2, None, closed="left")],
        "drop_ids": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        categorical_features: Any = "from_dtype",
        *,
        n_bins: int = 8,
        max_bin_columns: int = 512,
        max_levels: int = 100,
        drop_ids: bool = True,
        verbose: bool = False,
    ) -> None:
        self.categorical_features = categorical_features
        self.n_bins = n_bins
        self.max_bin_columns = max_bin_columns
        self.max_levels = max_levels
        self.drop_ids = drop_ids
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> "Self":
        """Choose the encoding of each column of X, of shape (n_rows, n_columns); ``y`` is ignored."""
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Fit and transform, reading each column once: float32 ndarray of shape (n_rows, n_encoded)."""
        return self._encode(self._fit(X))

    def fit_sample(self, X: Any, columns: list[Column], n_rows: int) -> "Self":
        """Choose the encoding of each column of a table by some of its rows.

        Parameters
        ----------
        X : some rows of the table, whose columns have the names and dtypes of all
        columns : each column of the table, of those rows that choose; see `fastmlp.tabular.columns`
        n_rows : of the whole table, which tell whether a column numbers them
        """
        self._fit(X, columns, n_rows)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows: float32 ndarray of shape (n_rows, n_encoded), C-contiguous."""
        check_is_fitted(self)
        X = as_table(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        _check_rows(X)
        return self._encode(self._checked(column, position) for position, column in enumerate(read_columns(X)))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the encoded columns: of the column, with its bin, level or wave."""
        check_is_fitted(self)
        if input_features is not None:
            known = getattr(self, "feature_names_in_", None)
            if known is not None and list(input_features) != list(known):
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(input_features) != self.n_features_in_:
                raise ValueError(
                    f"input_features should have length equal to number of features ({self.n_features_in_}), "
                    f"got {len(input_features)}"
                )
        return np.array([name for encoding in self._encodings if encoding for name in encoding.names], dtype=object)

    def spans(self) -> list[tuple[int, int]]:
        """For each column of the table, its first encoded column and the one after its last."""
        check_is_fitted(self)
        ends = np.cumsum([0, *(len(encoding.names) if encoding else 0 for encoding in self._encodings)]).tolist()
        return list(pairwise(ends))

    def bin_columns(self) -> np.ndarray:
        """Which encoded columns are bins of a number: boolean ndarray of shape (n_encoded,)."""
        check_is_fitted(self)
        return np.concatenate([encoding.bins() for encoding in self._encodings if encoding])

    # Fitting.

    def _fit(self, X: Any, sample: list[Column] | None = None, n_rows: int | None = None) -> list[Column]:
        """Set the attributes; returns the columns, as read from X or given."""
        self._validate_params()
        X = as_table(X)
        _check_rows(X)
        if X.shape[1] == 0:
            raise ValueError(f"0 feature(s) (shape={X.shape}) while a minimum of 1 is required.")
        if is_frame(X):
            _check_names(column_names(X))
        validate_data(self, X, skip_check_array=True)
        chosen = self._categorical(X)
        columns = []
        for position, column in enumerate(read_columns(X) if sample is None else sample):
            if position in chosen or (column.declared and column.kind != CATEGORY):
                column = as_category(column)
            check_finite(column)
            columns.append(column)
        dropped = [self._reason(column, n_rows or len(column.values)) for column in columns]
        numbers = sum(reason is None and _has_third_value(column) for column, reason in zip(columns, dropped))
        n_bins = min(self.n_bins, self.max_bin_columns // max(1, numbers))
        self._encodings = [
            None if reason else self._encoding(column, n_bins) for column, reason in zip(columns, dropped)
        ]
        self.dropped_ = {column.name: reason for column, reason in zip(columns, dropped) if reason}
        self.kinds_ = {column.name: column.kind for column in columns}
        if self.verbose:
            self.report_dropped()
        if len(self.dropped_) == len(columns):
            raise ValueError(_nothing_left(self.dropped_, X.shape[0]))
        return columns

    def report_dropped(self) -> None:
        """Print a line for each column that is dropped."""
        for name, reason in self.dropped_.items():
            print(f"Column {name!r} is dropped: {reason}.")

    def _categorical(self, X: Any) -> set[int]:
        """Positions of the columns that the user says are categorical."""
        chosen = self.categorical_features
        if chosen is None or isinstance(chosen, str):
            return set()
        names = [str(name) for name in column_names(X)] if is_frame(X) else []
        chosen = list(chosen)
        if chosen and all(isinstance(item, bool | np.bool_) for item in chosen):
            if len(chosen) != X.shape[1]:
                raise ValueError(
                    f"categorical_features must have one boolean for each of {X.shape[1]} columns; got {len(chosen)}."
                )
            return set(np.flatnonzero(chosen).tolist())
        positions = set()
        for item in chosen:
            if isinstance(item, str):
                if item not in names:
                    raise ValueError(f"categorical_features must name columns of X; got {item!r}, which is not there.")
                positions.add(names.index(item))
            elif isinstance(item, Integral) and -X.shape[1] <= item < X.shape[1]:
                positions.add(int(item) % X.shape[1])
            else:
                raise ValueError(
                    f"categorical_features must hold names, positions below {X.shape[1]} or booleans; got {item!r}."
                )
        return positions

    def _reason(self, column: Column, n_rows: int) -> str | None:
        """Why a column says nothing of a table of so many rows; None if it says something."""
        values = column.values
        if column.kind == CATEGORY:
            present = values[values >= 0]
            distinct = len(np.unique(present))
        else:
            present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
            constant = not len(present) or present.min() == present.max()
            distinct = min(len(present), 1) if constant else 2
        if not distinct:
            return "all its values are missing"
        if distinct == 1 and len(present) == len(values):
            return "it is constant"
        if not self.drop_ids or len(present) < ID_ROWS or len(present) < len(values):
            return None
        if column.kind == CATEGORY:
            return (
                f"it is an id: {distinct} of {len(values)} values are distinct" * (distinct >= ID_SHARE * len(values))
                or None
            )
        return "it is an id: it numbers the rows" * (column.kind == NUMBER and _counts_rows(values, n_rows)) or None

    def _encoding(self, column: Column, n_bins: int) -> Encoding:
        if column.kind == CATEGORY:
            return one_hot(column, self.max_levels)
        if column.kind == DATE:
            return dated(column, n_bins)
        return flag(column) if column.kind == BOOLEAN else scaled(column.name, column.values, n_bins)

    # Encoding.

    def _checked(self, column: Column, position: int) -> Column:
        """A column at `transform`, of the kind that it had at `fit`.

        Raises
        ------
        ValueError
            If it is of another kind, or not finite; with its name.
        """
        encoding = self._encodings[position]
        if encoding is None:
            return column
        was, name = encoding.kind, column.name
        if column.kind == EMPTY:
            if was == CATEGORY:
                return Column(name, CATEGORY, np.full(len(column.values), -1), [])
            return Column(name, was, column.values)
        if was == CATEGORY and column.kind in (NUMBER, BOOLEAN) and not isinstance(encoding.levels[0], str):  # type: ignore[attr-defined]
            column = as_category(column)
        if {was, column.kind} == {NUMBER, BOOLEAN}:
            column = column._replace(kind=was)
        if column.kind != was:
            raise ValueError(
                f"Column {name!r} must hold {HOLDS[was]}, as at fit; got {HOLDS[column.kind]}; convert it, or fit anew."
            )
        check_finite(column)
        return column

    def _encode(self, columns: Any) -> np.ndarray:
        """Fill a new array, block by block of rows."""
        width = sum(len(encoding.names) for encoding in self._encodings if encoding)
        out, at = None, 0
        for encoding, column in zip(self._encodings, columns):
            if out is None:
                out = np.empty((len(column.values), width), np.float32)
            if encoding is None:
                continue
            values, end = encoding.values(column), at + len(encoding.names)
            for first in range(0, len(values), BLOCK):
                encoding.fill(values[first : first + BLOCK], out[first : first + BLOCK, at:end])
            at = end
        assert out is not None
        return out

    # scikit-learn's protocols.

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _check_rows(X: Any) -> None:
    if X.shape[0] == 0:
        raise ValueError(f"Found array with 0 sample(s) (shape={tuple(X.shape)}) while a minimum of 1 is required.")


def _check_names(names: list[Any]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f"Column names must be unique; got {name!r} twice; rename one of the columns.")
        seen.add(name)


def check_finite(column: Column, rows: np.ndarray | None = None) -> None:
    """Refuse infinite numbers, with the first row that has one; ``rows`` are their numbers, from 0 on by default."""
    if column.kind == NUMBER and column.values.dtype.kind == "f" and np.isinf(column.values).any():
        at = int(np.flatnonzero(np.isinf(column.values))[0])
        row = at if rows is None else int(rows[at])
        raise ValueError(
            f"Input X contains infinity: column {column.name!r} must be finite or missing; got {column.values[at]} in "
            f"row {row}; replace it by NaN or by a bound."
        )


def _has_third_value(column: Column) -> bool:
    """Whether bins can say more of a column of numbers or dates than the number does: not where it has two values."""
    if column.kind not in (NUMBER, DATE):
        return False
    present = column.values[~np.isnan(column.values)] if column.values.dtype.kind == "f" else column.values
    return bool(((present > present.min()) & (present < present.max())).any())


def _counts_rows(values: np.ndarray, n_rows: int) -> bool:
    """Whether the numbers are whole, all distinct, and so close together that they number a table's rows, or some."""
    span = float(values.max()) - float(values.min())
    if span + 1 > 2 * n_rows or (values.dtype.kind == "f" and (values != np.floor(values)).any()):
        return False
    return span + 1 >= len(values) and len(np.unique(values)) == len(values)


def _nothing_left(dropped: dict[str, str], n_rows: int) -> str:
    named = "; ".join(f"{name!r}: {reason}" for name, reason in list(dropped.items())[:5])
    more = f" and {len(dropped) - 5} more" if len(dropped) > 5 else ""
    return (
        f"X must have a column that tells its rows apart; with n_samples={n_rows} all are dropped ({named}{more}); "
        "add such a column, or set drop_ids=False."
    )
