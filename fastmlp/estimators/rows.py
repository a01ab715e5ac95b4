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
    X = X.astype(dtype, copy=False)
    rows = csr_array(X)  # of the same arrays where X is CSR; what it finds out about them is not noted on X
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
        return rows
    return X if X.format == "csr" else rows


def as_rows_like(X: Any, other: Any) -> Any:
    """Rows that are sparse where ``other`` is and dense where it is dense, as a network takes only one of both."""
    if issparse(X) and not issparse(other):
        return X.toarray()
    return csr_array(X) if issparse(other) and not issparse(X) else X
