"""Raw tables: an encoder, and estimators that are strong with their defaults.

>>> from fastmlp.tabular import TableEncoder, TabularClassifier, TabularRegressor

What a name needs is loaded when it is first named, so that the command line starts without it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import TabularClassifier
    from .display import TabularDisplay
    from .encoder import TableEncoder
    from .regressor import TabularRegressor

__all__ = ["TableEncoder", "TabularClassifier", "TabularDisplay", "TabularRegressor"]
_HOMES = {
    "TableEncoder": "encoder",
    "TabularClassifier": "classifier",
    "TabularDisplay": "display",
    "TabularRegressor": "regressor",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fastmlp.tabular' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
