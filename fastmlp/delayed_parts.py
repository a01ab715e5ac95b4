"""Partitions of rows of Dask collections, and blocks that are delayed already."""

from typing import Any

import numpy as np

__all__ = ["is_dask", "partitions_of"]


def is_dask(X: Any) -> bool:
    """Whether X is a Dask collection, a delayed block, or a list of those."""
    parts = X if isinstance(X, list | tuple) and X else [X]
    return all(hasattr(part, "__dask_graph__") for part in parts)


def partitions_of(X: Any, y: Any, sample_weight: Any = None) -> list[tuple[Any, Any, Any]]:
    """Delayed X, y and sample_weight, which may be None, of each partition of rows.

    Raises
    ------
    ValueError
        If y or sample_weight are no Dask collections, or have other partitions.
    """
    found: list[list[Any]] = [_delayed_parts(X, "X")]
    for name, values in (("y", y), ("sample_weight", sample_weight)):
        parts = [None] * len(found[0]) if values is None and name != "y" else _delayed_parts(values, name)
        if len(parts) != len(found[0]):
            raise ValueError(f"{name} must have the {len(found[0])} partitions of X; got {len(parts)}. Rechunk it.")
        found.append(parts)
    return list(zip(*found, strict=True))


def _delayed_parts(collection: Any, name: str) -> list[Any]:
    """The delayed partitions of rows of a Dask collection, or of what is delayed already."""
    if not is_dask(collection):
        raise ValueError(
            f"{name} must be a Dask collection or delayed blocks, as X is; got {type(collection).__name__}. "
            "Use dask.array.from_array with the chunks of X."
        )
    from dask.delayed import Delayed

    if isinstance(collection, list | tuple):
        return [part for each in collection for part in _delayed_parts(each, name)]
    if isinstance(collection, Delayed):
        return [collection]
    if len(getattr(collection, "numblocks", ())) == 2 and collection.numblocks[1] > 1:
        collection = collection.rechunk({1: -1})
    parts = list(np.ravel(collection.to_delayed()))
    if len(parts) != getattr(collection, "npartitions", len(parts)):  # Dask reads several files at once for few columns
        parts = list(np.ravel(collection.to_delayed(optimize_graph=False)))
    return parts
