"""The estimators: scikit-learn's contract over `fastmlp.training`."""

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
