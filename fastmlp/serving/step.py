"""What stands before a network: rows of numbers become other rows, in NumPy and in C."""

import numpy as np


class Step:
    """Rows of ``width`` numbers become rows of ``out_width``."""

    width: int
    out_width: int

    def apply(self, X: np.ndarray) -> np.ndarray:
        """The new rows, in the dtype of X."""
        raise NotImplementedError

    def c_source(self, name: str) -> list[str]:
        """Lines of a C function ``static void name(const float *x, float *y)``, its constants before it."""
        raise NotImplementedError
