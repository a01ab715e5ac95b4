"""Predictions on Dask collections: lazy, partition by partition, by the local model."""

import copy
from typing import Any

import numpy as np

from ..delayed_parts import is_dask


def mapped(local: Any, method: str, X: Any, example: np.ndarray | None = None) -> Any:
    """A method of the local model on every partition of a Dask collection, lazily; on others at once.

    Parameters
    ----------
    example : ndarray of shape (0,) or (0, n_columns)
        What it gives, without rows; None to find it by a row of zeros.
    """
    if not is_dask(X):
        return getattr(local, method)(X)
    if not hasattr(type(X), "to_delayed"):
        raise ValueError(
            f"X must be a Dask array or frame, or an array; got {type(X).__name__}. Use dask.array.from_delayed."
        )
    if example is None:
        dtype = getattr(X, "dtype", np.float64)
        nameless = copy.copy(local)
        vars(nameless).pop("feature_names_in_", None)
        example = getattr(nameless, method)(np.zeros((1, X.shape[1]), dtype))[:0]
    if not hasattr(X, "numblocks"):
        return _of_frame(local, method, X, example)
    if X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    more: dict[str, Any] = {"drop_axis": 1} if example.ndim == 1 else {"chunks": (X.chunks[0], (example.shape[1],))}
    return X.map_blocks(_apply, local, method, example, dtype=example.dtype, meta=example, **more)


def _of_frame(local: Any, method: str, X: Any, example: np.ndarray) -> Any:
    """The same on the partitions of a frame, which stay frames; how many rows each has is known when it is computed."""
    from dask import array
    from dask.delayed import delayed

    model = delayed(local)
    parts = [
        array.from_delayed(
            delayed(_apply)(part, model, method, example),
            (np.nan, *example.shape[1:]),
            dtype=example.dtype,
            meta=example,
        )
        for part in X.to_delayed()
    ]
    return array.concatenate(parts)


def _apply(part: Any, local: Any, method: str, example: np.ndarray) -> np.ndarray:
    """A method of a local model on one partition, which may have no rows."""
    result: np.ndarray = getattr(local, method)(part) if len(part) else example
    return result
