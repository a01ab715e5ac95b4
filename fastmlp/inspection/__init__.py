"""Looking inside a network: what its layers hold, whether its gradients are right, where its signal fades away.

A model is a fitted estimator, or a `Network` or a `Reference` as it stands, before its training, say; with these two,
y is what the loss takes, class codes or a matrix, and there is no penalty. Tables print themselves; ``table["mean"]``
is a column of one, ``table[0]`` a row.

>>> from fastmlp.inspection import summary
>>> summary((4, 3, 2))["weights"]
[12, 6]
"""

from .gradients import STEP, GradientCheck, GradientRow, Objective, check_gradients, numerical_gradient, optimizer_path
from .models import Estimator, Model, forward, names_of, reference_of, units_of
from .statistics import (
    ActivationRow,
    ActivationStatistics,
    GradientStatistics,
    GradientStatisticsRow,
    activation_statistics,
    activations,
    gradient_norms,
    gradient_statistics,
)
from .tables import LayerSummary, Summary, Table, summary

__all__ = [
    "STEP",
    "ActivationRow",
    "ActivationStatistics",
    "Estimator",
    "GradientCheck",
    "GradientRow",
    "GradientStatistics",
    "GradientStatisticsRow",
    "LayerSummary",
    "Model",
    "Objective",
    "Summary",
    "Table",
    "activation_statistics",
    "activations",
    "check_gradients",
    "forward",
    "gradient_norms",
    "gradient_statistics",
    "names_of",
    "numerical_gradient",
    "optimizer_path",
    "reference_of",
    "summary",
    "units_of",
]
