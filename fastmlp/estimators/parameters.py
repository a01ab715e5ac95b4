"""An estimator's parameters as users write them: nested names for numbers of components, and errors with a remedy.

A component never changes. Where scikit-learn would set a number of a nested object in place, an estimator gets another
component: clones and other estimators that hold the first one keep it.
"""

import weakref
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier

from ..activations import ACTIVATIONS
from ..augmentations import AUGMENTATIONS
from ..components import Component, Registry, did_you_mean
from ..initializers import INITIALIZERS
from ..losses import LOSSES
from ..normalizations import NORMALIZATIONS
from ..optimizers import OPTIMIZERS
from ..schedules import SCHEDULES
from .configuration import solver_of
from .constraints import own_constraint
from .sklearn_internals import InvalidParameterError, StrOptions, validate_parameters

REGISTRIES: dict[str, Registry[Any]] = {
    registry.parameter: registry
    for registry in (ACTIVATIONS, AUGMENTATIONS, INITIALIZERS, LOSSES, NORMALIZATIONS, OPTIMIZERS, SCHEDULES)
}
# What other libraries call the choices of parameters, beside the synonyms of the registries.
SYNONYMS = {
    "output_activation": {"sigmoid": "logistic", "linear": "identity", "none": "identity"},
    "solver": {"gd": "gradient_descent", "bfgs": "lbfgs"},
    "dtype": {"float": "float64", "double": "float64", "single": "float32"},
}


# What other libraries call the parameters themselves.
OTHER_NAMES = {
    "criterion": "loss",
    "epochs": "max_iter",
    "hidden_units": "hidden_layer_sizes",
    "l2": "alpha",
    "lr": "learning_rate_init",
    "max_epochs": "max_iter",
    "n_epochs": "max_iter",
    "n_jobs": "n_threads",
    "optimizer": "solver",
    "patience": "n_iter_no_change",
    "scheduler": "learning_rate",
    "seed": "random_state",
}

UNCHANGEABLE = (int, float, str, type(None), np.number, np.bool_, np.dtype, type, np.random.RandomState, Component)
# The latest valid parameters of each class: checking them takes a tenth of a small fit.
_VALID: weakref.WeakKeyDictionary[type, dict[str, Any]] = weakref.WeakKeyDictionary()


def is_unchangeable(value: Any) -> bool:
    """Whether a parameter's value stays as valid as it is: the same object is the same value."""
    return isinstance(value, UNCHANGEABLE) or (isinstance(value, tuple) and all(map(is_unchangeable, value)))


class SortedNames(StrOptions):
    """A constraint of scikit-learn's that prints its names in one order: a set has another one in each process."""

    def __str__(self) -> str:
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


class ComponentParameters(BaseEstimator):
    """An estimator of which some parameters are components."""

    _parameter_constraints: dict[str, Any]

    def set_params(self, **params: Any) -> Any:
        """Set parameters; those of a component by ``name__parameter``.

        Parameters
        ----------
        **params : dict
            Parameters by name. ``solver__weight_decay=0.1`` puts a component with that number in the place of the
            component ``solver``, which itself does not change; a name such as 'adamw' becomes its component first.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If there is no such parameter, or the number is out of its bounds. No parameter is then changed.
        """
        known = type(self)._get_param_names()
        plain: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, delimiter, inner = key.partition("__")
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: {known!r}."
                    f"{did_you_mean(name, known, OTHER_NAMES)}"
                )
            if delimiter and name in REGISTRIES:
                nested.setdefault(name, {})[inner] = value
            else:
                plain[key] = value
        if nested:
            changed = type(self)(**(self.get_params(deep=False) | plain))
            for name, numbers in nested.items():
                plain[name] = _component_of(changed, name, next(iter(numbers))).set_params(**numbers)
        return super().set_params(**plain)

    def _validate_params(self) -> None:
        """Check all parameters: scikit-learn's errors, with names in one order and a suggestion where one is close."""
        values = {name: value for name, value in vars(self).items() if name in self._parameter_constraints}
        known = _VALID.get(type(self), {})
        if len(known) == len(values) and all(known.get(name, self) is value for name, value in values.items()):
            return
        for name, registry in REGISTRIES.items():
            value = values.get(name)
            for component in value if isinstance(value, list | tuple) else [value]:
                registry.refuse_class(component)
                registry.adopt(component)
        constraints = {name: self._constraints_of(name) for name in values}
        try:
            validate_parameters(constraints, values, type(self).__name__)
        except InvalidParameterError:
            for name, value in values.items():
                self._refuse_invalid(name, value, constraints[name])
        else:
            if all(map(is_unchangeable, values.values())):
                _VALID[type(self)] = values

    def _constraints_of(self, name: str) -> list[Any]:
        """What a parameter may be, components of a user's own included."""
        constraints = list(self._parameter_constraints[name])
        if name in REGISTRIES:
            constraints += own_constraint(REGISTRIES[name], "classifies" if is_classifier(self) else "regresses")
        return constraints

    def _refuse_invalid(self, name: str, value: Any, constraints: list[Any]) -> None:
        """Raise scikit-learn's error for a parameter that breaks its constraints, with more to read."""
        readable = [
            SortedNames(constraint.options) if isinstance(constraint, StrOptions) else constraint
            for constraint in constraints
        ]
        try:
            validate_parameters({name: readable}, {name: value}, type(self).__name__)
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{error}{_suggestion(name, value, readable)}") from None


def _component_of(estimator: Any, name: str, number: str) -> Component:
    """The component that a parameter holds or names.

    Raises
    ------
    ValueError
        If it is none, such as 'lbfgs' or a list.
    """
    value = getattr(estimator, name)
    component = value
    if isinstance(value, str):
        component = solver_of(estimator) if name == "solver" else REGISTRIES[name].resolve(value)
    if not isinstance(component, Component):
        raise ValueError(f"{name}__{number} requires one component as {name}; got {name}={value!r}.")
    return component


def _suggestion(name: str, value: Any, constraints: list[Any]) -> str:
    """A sentence with the name that was meant, if it is one of those that the parameter takes."""
    options = [
        option for constraint in constraints if isinstance(constraint, StrOptions) for option in constraint.options
    ]
    registry = REGISTRIES.get(name)
    if registry is not None and isinstance(value, str) and value in registry:
        return ""  # a component of this kind, but not for this estimator
    return did_you_mean(value, sorted(options), (registry.synonyms if registry else {}) | SYNONYMS.get(name, {}))
