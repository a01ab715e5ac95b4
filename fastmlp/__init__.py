"""fastmlp: multi-layer perceptrons with scikit-learn's interface, trained by fused Numba kernels.

>>> from fastmlp import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor

The estimators load scikit-learn and Numba when they are first named; ``import fastmlp`` alone loads neither.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .estimators import MLPClassifier, MLPRegressor
    from .tabular import TabularClassifier, TabularRegressor

__version__ = "0.2.0"
__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor", "__version__", "warmup"]


def warmup(dtypes: Iterable[str] = ("float32", "float64")) -> dict[str, str]:
    """Load all kernels, compiling what neither came with the package nor lies in the cache.

    Parameters
    ----------
    dtypes : iterable of "float32", "float64"
        Precisions that fits will use.

    Returns
    -------
    dict
        For each kernel where its machine code comes from: "prebuilt", "cache" or "compiled".
    """
    from .core import session  # noqa: F401 (whose kernels are loaded)
    from .machine.kernels import load_all

    return load_all(tuple(dtypes))


def __getattr__(name: str) -> Any:
    """Load the estimators at their first use (PEP 562)."""
    if name in ("MLPClassifier", "MLPRegressor"):
        from . import estimators

        return getattr(estimators, name)
    if name in ("TabularClassifier", "TabularRegressor"):
        from . import tabular

        return getattr(tabular, name)
    raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
