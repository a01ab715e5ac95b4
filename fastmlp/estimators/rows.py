"""Rows as the network wants them: C-contiguous arrays, or sparse CSR in canonical form. The user's data stay."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

ACCEPTED = {"accept_sparse": ["csr", "csc"], "order": "C"}  # for validate_data


def as_rows(X: Any, dtype: Any = None) -> Any:
    """Checked X, of ``dtype`` or its own: copied only where it is not as it must be.

    A dense one is C-contiguous. A sparse one is CSR, and in each row the indices ascend and none comes twice.
    """
    dtype = X.dtype if dtype is None else dtype
    if not issparse(X):
        return np.ascontiguousarray(X, dtype=dtype)
    check_indices(X)
    X = X.astype(dtype, copy=False)
    rows = csr_array(X)  # of the same arrays where X is CSR; what it finds out about them is not noted on X
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
        return rows
    return X if X.format == "csr" else rows


def check_indices(X: Any) -> None:
    """Refuse sparse rows or columns that point outside of the matrix, which would end the process.

    scikit-learn and SciPy trust them; here it takes one pass over the indices.

    Raises
    ------
    ValueError
        With the index that is out of its bounds.
    """
    outer, inner = X.shape if X.format == "csr" else X.shape[::-1]
    indices, indptr = X.indices, X.indptr
    if len(indptr) != outer + 1 or indptr[0] != 0 or indptr[-1] > min(len(indices), len(X.data)):
        raise ValueError(f"X.indptr must have {outer + 1} numbers from 0 to the {len(indices)} stored ones.")
    if (np.diff(indptr) < 0).any():
        raise ValueError("X.indptr must never decrease.")
    if len(indices) and not (indices.min() >= 0 and indices.max() < inner):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise ValueError(f"X.indices must be in [0, {inner}), the columns of X; got {wrong}.")


def as_rows_like(X: Any, other: Any) -> Any:
    """Rows that are sparse where ``other`` is and dense where it is dense, as a network takes only one of both."""
    if issparse(X) and not issparse(other):
        return X.toarray()
    return csr_array(X) if issparse(other) and not issparse(X) else X
