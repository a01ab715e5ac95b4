"""Where pickles of fastmlp 0.2 look for what a network has learned."""

from .trainable import Parameters

__all__ = ["Parameters"]
