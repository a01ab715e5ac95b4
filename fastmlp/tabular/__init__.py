"""Raw tables: an encoder, and estimators that are strong with their defaults.

>>> from fastmlp.tabular import TableEncoder
"""

from .encoder import TableEncoder

__all__ = ["TableEncoder"]
