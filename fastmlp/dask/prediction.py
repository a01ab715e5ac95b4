"""Predictions on Dask collections: lazy, partition by partition, by the local model."""

from typing import Any

import numpy as np

from ..delayed_parts import is_dask


def mapped(local: Any, method: str, X: Any) -> Any:
    """A method of the local model on every partition of a Dask collection, lazily; on arrays at once."""
    if is_dask(X) and not hasattr(type(X), "to_delayed"):
        raise ValueError(
            f"X must be a Dask array or frame, or an array; got {type(X).__name__}. Use dask.array.from_delayed."
        )
    if hasattr(X, "to_delayed") and not hasattr(X, "numblocks"):
        X = X.to_dask_array(lengths=True)
    if not hasattr(X, "map_blocks"):
        return getattr(local, method)(X)
    if X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    example = getattr(local, method)(np.zeros((1, X.shape[1]), X.dtype))
    more: dict[str, Any] = {"drop_axis": 1} if example.ndim == 1 else {"chunks": (X.chunks[0], (example.shape[1],))}
    return X.map_blocks(_apply, local, method, dtype=example.dtype, meta=example[:0], **more)


def _apply(part: np.ndarray, local: Any, method: str) -> np.ndarray:
    """A method of a local model on one partition."""
    result: np.ndarray = getattr(local, method)(part)
    return result
