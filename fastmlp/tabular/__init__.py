"""Raw tables: an encoder, and estimators that are strong with their defaults.

>>> from fastmlp.tabular import TableEncoder, TabularClassifier, TabularRegressor
"""

from .classifier import TabularClassifier
from .encoder import TableEncoder
from .regressor import TabularRegressor

__all__ = ["TableEncoder", "TabularClassifier", "TabularRegressor"]
