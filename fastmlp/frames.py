"""What a frame is, and what its columns are called; no library of frames is imported."""

from typing import Any

__all__ = ["column_names", "is_frame", "text_names"]


def is_frame(X: Any) -> bool:
    """Whether X has named columns: a frame of pandas or polars, a table of pyarrow, or one column of pandas."""
    return hasattr(X, "iloc") or hasattr(X, "get_column") or hasattr(X, "column_names")


def column_names(X: Any) -> list[Any]:
    """The names of a frame's columns."""
    return list(X.columns if hasattr(X, "iloc") or hasattr(X, "get_column") else X.column_names)


def text_names(X: Any) -> list[str] | None:
    """Names of the columns of a frame; None where they are not all text, or X is no frame."""
    names = column_names(X) if is_frame(X) and len(X.shape) == 2 else []
    return names if names and all(isinstance(name, str) for name in names) else None
