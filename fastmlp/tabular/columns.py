"""Reading tables: pandas, polars and pyarrow frames and arrays become columns of numbers or of coded levels.

No library beside NumPy is imported: a frame is known by what it offers (`iloc`, `get_column`, `column_names`), so that
a frame's own library does the work and nothing has to be installed for the others.
"""

import datetime
from collections.abc import Hashable, Iterator, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from ..frames import is_frame

NUMBER, BOOLEAN, CATEGORY, DATE, EMPTY = "number", "boolean", "category", "date", "empty"
HOLDS = {NUMBER: "numbers", BOOLEAN: "booleans", CATEGORY: "categories", DATE: "dates", EMPTY: "nothing"}
DAY = 86_400.0


class Column(NamedTuple):
    """A column as it was read.

    Attributes
    ----------
    name : str
    kind : NUMBER, BOOLEAN, CATEGORY, DATE, or EMPTY where all values are missing and no kind is known
    values : ndarray of shape (n_rows,)
        Numbers with NaN where one is missing: of any real dtype for NUMBER, 0 and 1 for BOOLEAN, seconds since 1970 for
        DATE; for CATEGORY codes, positions in ``levels``, -1 where a value is missing.
    levels : list of the values that occur or may occur, each once
    declared : whether the table's own dtype says that the column is categorical
    """

    name: str
    kind: str
    values: np.ndarray
    levels: Sequence[Hashable] = ()
    declared: bool = False


def read_columns(X: Any) -> Iterator[Column]:
    """The columns of a frame, or of an array of two dimensions, one after another.

    Raises
    ------
    TypeError, ValueError
        If a column is nested or holds complex numbers, with its name.
    """
    if hasattr(X, "iloc"):
        for position, name in enumerate(X.columns):
            yield _from_pandas(str(name), X.iloc[:, position])
    elif hasattr(X, "get_column"):
        for name in X.columns:
            yield _from_polars(str(name), X.get_column(name))
    elif hasattr(X, "column_names"):
        for position, name in enumerate(X.column_names):
            yield _from_arrow(str(name), X.column(position))
    else:
        for position in range(X.shape[1]):
            yield _from_array(f"x{position}", X[:, position])


def as_table(X: Any) -> Any:
    """X itself where it is a frame, else an ndarray of two dimensions.

    Raises
    ------
    TypeError
        If X is sparse or a lazy frame.
    ValueError
        If X has not two dimensions or holds complex numbers.
    """
    if is_frame(X):
        if len(X.shape) != 2:
            raise ValueError(f"X must be a table; got a {type(X).__name__}, a single column; use X.to_frame().")
        return X
    if issparse(X):
        raise TypeError("Sparse data was passed, but dense data is required; use X.toarray().")
    if hasattr(X, "collect_schema"):
        raise TypeError(f"X must be a table in memory; got a {type(X).__name__}; use X.collect().")
    array = np.asarray(X)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X must be real; got {array.dtype}.")
    if array.dtype.names is not None:
        raise ValueError("X must be a frame or an array of two dimensions; got a structured array.")
    if array.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead. Reshape your data: X.reshape(-1, 1) where it is one "
            "column, X.reshape(1, -1) where it is one row."
        )
    return array


def as_category(column: Column) -> Column:
    """The column with its distinct values as levels."""
    if column.kind in (CATEGORY, EMPTY):
        return column
    values = np.asarray(column.values, np.float64)
    absent = np.isnan(values)
    levels, codes = np.unique(values[~absent], return_inverse=True)
    coded = np.full(len(values), -1, np.int64)
    coded[~absent] = codes
    return Column(column.name, CATEGORY, coded, levels.tolist(), True)


def joined(parts: Sequence[Column], names: Sequence[str]) -> Column:
    """One column, of the rows of several parts of a table, one part after the other.

    Parameters
    ----------
    parts : the column in each part; names : of the parts

    Raises
    ------
    ValueError
        If the parts hold different kinds, with two of them.
    """
    known = [(part, name) for part, name in zip(parts, names, strict=True) if part.kind != EMPTY]
    if not known:
        return parts[0]._replace(values=np.concatenate([part.values for part in parts]))
    first, first_name = known[0]
    for part, name in known:
        if part.kind != first.kind and {part.kind, first.kind} != {NUMBER, BOOLEAN}:
            raise ValueError(
                f"Column {first.name!r} must hold {HOLDS[first.kind]} in every part of the table, as in {first_name}; "
                f"got {HOLDS[part.kind]} in {name}; convert it."
            )
    declared = any(part.declared for part, _ in known)
    if first.kind == CATEGORY:
        levels: dict[Hashable, int] = {}
        coded = []
        for part in parts:
            places = np.array([levels.setdefault(level, len(levels)) for level in part.levels] + [-1], np.int64)
            coded.append(places[np.full(len(part.values), -1) if part.kind == EMPTY else part.values])
        return Column(first.name, CATEGORY, np.concatenate(coded), list(levels), declared)
    kind = NUMBER if any(part.kind == NUMBER for part, _ in known) else first.kind
    return Column(first.name, kind, np.concatenate([part.values for part in parts]), (), declared)


def is_missing(value: Any) -> bool:
    """Whether a single value stands for nothing: None, NaN, NaT or pandas' NA."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Real) and value != value)
    )


def _nested(name: str, kind: str) -> TypeError:
    return TypeError(
        f"Column {name!r} holds a {kind} where argument must be a string or a real number, a boolean or a date; spread "
        "nested values over columns of their own."
    )


# --- arrays and plain values ------------------------------------------------------------------------------------------


def _from_array(name: str, values: np.ndarray) -> Column:
    kind = values.dtype.kind
    if kind in "iuf":
        return Column(name, NUMBER, values)
    if kind == "b":
        return Column(name, BOOLEAN, values.astype(np.float64))
    if kind in "mM":
        return _from_times(name, values)
    return _from_values(name, values.tolist())


def _from_times(name: str, values: np.ndarray) -> Column:
    """Dates, or durations, which are numbers, in seconds."""
    kind = DATE if values.dtype.kind == "M" else NUMBER
    ticks = values.astype(f"{values.dtype.kind}8[us]").astype(np.int64)
    return Column(name, kind, np.where(np.isnat(values), np.nan, ticks / 1e6))


def _from_values(name: str, values: list[Any]) -> Column:
    """A column of Python's values: their types tell its kind."""
    present = [value for value in values if not is_missing(value)]
    types = {type(value) for value in present}
    if not types:
        return Column(name, EMPTY, np.full(len(values), np.nan))
    for value in present if types & {list, dict, set, tuple, np.ndarray} else ():
        if isinstance(value, list | dict | set | tuple | np.ndarray):
            raise _nested(name, type(value).__name__)
    if types <= {bool, np.bool_}:
        return Column(name, BOOLEAN, _floats(values))
    if all(issubclass(kind, Real | Decimal) for kind in types):
        return Column(name, NUMBER, _floats(values))
    if any(issubclass(kind, complex | np.complexfloating) for kind in types):
        raise ValueError(f"Complex data not supported: column {name!r} must be real.")
    if all(issubclass(kind, datetime.date | np.datetime64) for kind in types):
        return _from_times(name, np.array([_without_zone(value) for value in values], "datetime64[us]"))
    if all(issubclass(kind, datetime.timedelta | np.timedelta64) for kind in types):
        return _from_times(name, np.array([None if is_missing(v) else v for v in values], "timedelta64[us]"))
    if all(issubclass(kind, datetime.time) for kind in types):
        return Column(name, NUMBER, np.array([_seconds(value) for value in values]))
    return _from_levels(name, values)


def _seconds(time: Any) -> float:
    """Seconds since midnight; NaN for a missing time."""
    if is_missing(time):
        return np.nan
    return 3600.0 * time.hour + 60 * time.minute + time.second + time.microsecond / 1e6


def _without_zone(value: Any) -> Any:
    """A date in UTC; None for a missing one."""
    if is_missing(value):
        return None
    return value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if getattr(value, "tzinfo", None) else value


def _floats(values: list[Any]) -> np.ndarray:
    return np.array([np.nan if is_missing(value) else float(value) for value in values], np.float64)


def _from_levels(name: str, values: list[Any]) -> Column:
    """Distinct values get codes in the order of their appearance."""
    codes_by_value: dict[Hashable, int] = {}
    try:
        codes = np.array([codes_by_value.setdefault(value, len(codes_by_value)) for value in values], np.int64)
    except TypeError as error:
        value = next(value for value in values if not isinstance(value, Hashable))
        raise _nested(name, type(value).__name__) from error
    new = np.empty(len(codes_by_value), np.int64)
    levels: list[Hashable] = []
    for code, value in enumerate(codes_by_value):
        new[code] = -1 if is_missing(value) else len(levels)
        if new[code] >= 0:
            levels.append(value)
    return Column(name, CATEGORY, new[codes], levels)


# --- frames -----------------------------------------------------------------------------------------------------------


def _from_pandas(name: str, series: Any) -> Column:
    dtype = series.dtype
    text = str(dtype)
    kind = getattr(dtype, "kind", "O")
    if text.startswith("period"):
        return _from_pandas(name, series.dt.to_timestamp())
    if text == "category":
        codes = series.cat.codes.to_numpy().astype(np.int64)
        levels = series.cat.categories.tolist()
        return Column(name, CATEGORY, codes, levels, True)
    if kind == "b":
        return Column(name, BOOLEAN, series.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind in "iuf":
        plain = isinstance(dtype, np.dtype)
        return Column(name, NUMBER, series.to_numpy() if plain else series.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind == "M" and not text.startswith(("date32", "date64")):  # pyarrow's days come as a list
        return _from_times(name, series.to_numpy(dtype="datetime64[us]"))
    if kind == "m":
        return _from_times(name, series.to_numpy(dtype="timedelta64[us]"))
    if kind == "c":
        raise ValueError(f"Complex data not supported: column {name!r} must be real.")
    return _from_values(name, series.tolist())


def _from_polars(name: str, series: Any) -> Column:
    dtype = series.dtype
    text = str(dtype)
    if text.startswith(("List", "Array", "Struct", "Object")):
        raise _nested(name, text)
    if text == "Boolean":
        return Column(name, BOOLEAN, series.cast(float).to_numpy())
    if dtype.is_numeric():
        plain = text.startswith(("Int", "UInt", "Float")) and not series.null_count()
        return Column(name, NUMBER, (series if plain else series.cast(float)).to_numpy())
    if text.startswith(("Date", "Duration")):
        ticks = series.dt.timestamp("us") if text.startswith("Date") else series.dt.total_microseconds()
        return Column(name, DATE if text.startswith("Date") else NUMBER, ticks.cast(float).to_numpy() / 1e6)
    if text == "Time":
        return Column(name, NUMBER, series.cast(int).cast(float).to_numpy() / 1e9)
    column = _from_values(name, series.to_list())
    return column._replace(declared=text.startswith(("Categorical", "Enum")))


def _from_arrow(name: str, values: Any) -> Column:
    text = str(values.type)
    if text.startswith(("list", "large_list", "fixed_size_list", "struct", "map")):
        raise _nested(name, text)
    if text == "bool":
        return Column(name, BOOLEAN, values.cast("uint8").cast("double").to_numpy())
    if text.startswith(("int", "uint", "float", "double", "halffloat", "decimal")):
        return Column(name, NUMBER, values.cast("double").to_numpy())
    if text.startswith(("timestamp", "date")):
        return _from_times(name, values.cast("timestamp[us]").to_numpy())
    if text.startswith("duration"):
        return _from_times(name, values.cast("duration[us]").to_numpy())
    return _from_values(name, values.to_pylist())._replace(declared=text.startswith("dictionary"))
