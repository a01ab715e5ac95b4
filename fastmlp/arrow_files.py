"""Parts of Parquet files, and of Arrow datasets and tables, with their columns as arrays."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Columns", "Part", "parts_of"]


class Part(NamedTuple):
    """A part of some rows that is read at a time, and its name; ``source`` is a fragment of a dataset, or rows."""

    name: str
    source: Any

    def read(self) -> Any:
        """Its rows, as an Arrow table or record batch."""
        return self.source.to_table() if hasattr(self.source, "to_table") else self.source


def parts_of(source: Any) -> tuple[list[Part], Any]:
    """The parts of a path, dataset or table, and its schema.

    Raises
    ------
    ImportError
        Without pyarrow, the extra ``arrow``.
    ValueError
        If there are no files, or source is something else.
    """
    try:
        import pyarrow
        from pyarrow import dataset
    except ImportError as error:
        raise ImportError("Parquet and Arrow data need pyarrow: pip install 'fastmlp[arrow]'.") from error
    if isinstance(source, pyarrow.Table):
        batches = source.to_batches()
        return [Part(f"record batch {n}", batch) for n, batch in enumerate(batches)], source.schema
    if isinstance(source, str | os.PathLike):
        path, source = os.fspath(source), dataset.dataset(os.fspath(source), format="parquet")
        if not source.files:
            raise ValueError(f"source must have Parquet files; got {path!r}, which has none.")
    if not isinstance(source, dataset.Dataset):
        raise ValueError(
            "source must be the path of a Parquet file or folder, a pyarrow Dataset or a pyarrow Table; got "
            f"{type(source).__name__}."
        )
    parts = [part for n, fragment in enumerate(source.get_fragments()) for part in _parts_of_fragment(fragment, n)]
    return parts, source.schema


def _parts_of_fragment(fragment: Any, number: int) -> list[Part]:
    """Row groups of a Parquet file; another file, or rows in memory, as a whole."""
    name = pathlib.PurePath(fragment.path).name if hasattr(fragment, "path") else f"fragment {number}"
    if not hasattr(fragment, "split_by_row_group"):
        return [Part(name, fragment)]
    return [Part(f"{name}, row group {group.row_groups[0].id}", group) for group in fragment.split_by_row_group()]


class Columns:
    """Which columns are features, targets and weights.

    Parameters
    ----------
    schema : pyarrow.Schema; target : str or list of str; sample_weight : str, or None

    Raises
    ------
    ValueError
        If a column is missing, comes twice, or is a feature and no number.
    """

    def __init__(self, schema: Any, target: str | Sequence[str], sample_weight: str | None) -> None:
        from pyarrow import types

        names = schema.names
        self.targets = [target] if isinstance(target, str) else list(target)
        self.weights = [] if sample_weight is None else [sample_weight]
        for column in (*self.targets, *self.weights):
            if column not in names:
                raise ValueError(
                    f"target and sample_weight must be columns of the data; got {column!r}, which it has not."
                )
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"X must have columns of different names; {twice!r} comes twice. Rename one of them.")
        self.features = [name for name in names if name not in (*self.targets, *self.weights)]
        if not self.features:
            raise ValueError("X must have a column beside target and sample_weight; the data have none.")
        checks = types.is_floating, types.is_integer, types.is_boolean, types.is_decimal, types.is_null
        for name in self.features:
            kind = schema.field(name).type
            if not any(check(kind) for check in checks):
                raise ValueError(f"X must be numbers; column {name!r} is of type {kind}: encode it, or leave it out.")

    def of(self, table: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """X, y and weights of some rows."""
        X, y, weights = (_stacked(table, names) for names in (self.features, self.targets, self.weights))
        assert X is not None
        assert y is not None
        return X, y, weights if weights is None else weights[:, 0]


def _stacked(table: Any, names: Sequence[str]) -> np.ndarray | None:
    """Some columns side by side, in their common dtype; None of none."""
    if not names:
        return None
    return np.stack([table.column(name).to_numpy(zero_copy_only=False) for name in names], axis=1)
