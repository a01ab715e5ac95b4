"""What the parameters of the estimators may be, as scikit-learn's validation wants it."""

from numbers import Integral, Real
from typing import Any

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..augmentations import AUGMENTATIONS, Augmentation
from ..initializers import INITIALIZERS, Initializer
from ..losses import LOSSES, OUTPUTS, Loss
from ..normalizations import NORMALIZATIONS, BatchNormalization, LayerNormalization
from ..optimizers import OPTIMIZERS, Optimizer
from ..schedules import SCHEDULES, Schedule
from .sklearn_internals import Interval, Options, StrOptions

SOLVERS = {"lbfgs", "sgd", *OPTIMIZERS} - {"gradient"}
CLASSIFICATION = tuple(
    component for component in LOSSES.classes if issubclass(component, Loss) and component.classifies
)
REGRESSION = tuple(component for component in LOSSES.classes if issubclass(component, Loss) and component.regresses)

_POSITIVE = Interval(Real, 0, None, closed="neither")
_AT_LEAST_0 = Interval(Real, 0, None, closed="left")
_AT_LEAST_1 = Interval(Integral, 1, None, closed="left")
_SHARE = Interval(Real, 0, 1, closed="left")

# Of both estimators. Numbers of a component are checked when it is made.
CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", _AT_LEAST_1],
    "activation": [StrOptions(set(ACTIVATIONS)), Activation, list, tuple],
    "solver": [StrOptions(SOLVERS), Optimizer],
    "alpha": [_AT_LEAST_0],
    "batch_size": [StrOptions({"auto"}), _AT_LEAST_1],
    "learning_rate": [StrOptions(set(SCHEDULES)), Schedule],
    "learning_rate_init": [_POSITIVE],
    "power_t": [_AT_LEAST_0],
    "max_iter": [_AT_LEAST_1],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_AT_LEAST_0],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_SHARE],
    "beta_1": [_SHARE],
    "beta_2": [_SHARE],
    "epsilon": [_POSITIVE],
    "n_iter_no_change": [_AT_LEAST_1, Options(Real, {np.inf})],
    "max_fun": [_AT_LEAST_1],
    "n_threads": [_AT_LEAST_1, Options(Integral, {-1}), None],
    "dtype": [StrOptions({"auto", "float32", "float64"}), Options(type, {np.float32, np.float64}), np.dtype],
    "scoring": [str, callable, None],
    "metrics": [str, list, tuple, dict, None],
    "progress": ["boolean", callable, None],
    "output_activation": [StrOptions({"auto", *OUTPUTS})],
    "initializer": [StrOptions(set(INITIALIZERS)), Initializer, list, tuple],
    "normalization": [StrOptions(set(NORMALIZATIONS)), BatchNormalization, LayerNormalization, None],
    "dropout": [_SHARE, "array-like"],
    "l1": [_AT_LEAST_0],
    "clip_value": [_POSITIVE, None],
    "clip_norm": [_POSITIVE, None],
    "max_norm": [_POSITIVE, None],
    "augmentation": [StrOptions(set(AUGMENTATIONS)), Augmentation, list, tuple, None],
    "weight_averaging": [_SHARE, None],
    "n_estimators": [_AT_LEAST_1],
    "max_time": [_POSITIVE, None],
}


def loss_constraint(allowed: tuple[type[Loss], ...]) -> list[Any]:
    """What ``loss`` may be, where these components are allowed."""
    return [StrOptions({name for name, component in LOSSES.items() if component in allowed}), *allowed]


def own_constraint(registry: Any, serves: str) -> list[Any]:
    """What a parameter may be besides: components of a user's own, and their names.

    Parameters
    ----------
    registry : Registry of the parameter's components
    serves : the attribute of losses that tells whether they suit the estimator, "classifies" or "regresses"
    """
    own = [cls for cls in registry.classes if registry.is_own(cls) and getattr(cls, serves, True)]
    names = {name for name, cls in registry.items() if cls in own}
    return [StrOptions(names), *own] if own else []
