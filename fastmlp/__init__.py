"""fastmlp: multi-layer perceptrons with scikit-learn's interface, trained by fused Numba kernels.

>>> from fastmlp import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor

The estimators and all modules load when they are first named, such as ``fastmlp.progress``; ``import fastmlp`` alone
loads neither scikit-learn nor Numba.
"""

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .estimators import MLPClassifier, MLPRegressor
    from .tabular import TabularClassifier, TabularRegressor

__version__ = "0.2.0"
__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor", "__version__", "warmup"]
_MODULE_OF = {  # of what loads at its first use
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "TabularClassifier": "tabular",
    "TabularRegressor": "tabular",
}


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
    from .core import predictor, session  # noqa: F401 (whose kernels are loaded)
    from .machine.kernels import load_all

    sources: dict[str, str] = load_all(tuple(dtypes))
    return sources


def __getattr__(name: str) -> Any:
    """Load an estimator or a module at its first use (PEP 562, Scientific Python's SPEC 1)."""
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    modules = (module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    return sorted({*globals(), *__all__, *modules})
