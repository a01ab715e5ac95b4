"""Where pickles of fastmlp 0.2 look for what a network has learned."""

from .core.network import Parameters

__all__ = ["Parameters"]
