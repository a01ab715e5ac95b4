"""Fitted models for those who serve: lean predictors, C, ONNX."""

from .c_source import to_c
from .predictor import Predictor, predictor

__all__ = ["Predictor", "predictor", "to_c"]
