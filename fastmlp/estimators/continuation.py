"""What happens to a parameter that was changed since the latest training: one rule for each, in a table.

A ``partial_fit`` goes on with weights, optimizer, random stream and history; a ``fit`` with ``warm_start=True`` with
weights and history alone, since it starts a new optimizer and random stream in any case. `CHANGES` says for each
parameter what a change does to them. It is what the code obeys, and what the page of the documentation is made from.
"""

from copy import copy
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from ..trainable import Parameters
from ..training import OptimizerState
from .configuration import Configuration
from .weights import Components


class Rule(Enum):
    """What a changed parameter does in the next training that goes on."""

    EFFECT = "takes effect"
    FRESH = "takes effect and starts a fresh optimizer state"
    REFUSED = "is refused"
    UNUSED = "has no meaning there"


class Change(NamedTuple):
    """The rules of one parameter.

    Attributes
    ----------
    partial_fit, warm_start : for the next ``partial_fit``, and for the next ``fit`` with ``warm_start=True``
    remark : what is special about it
    """

    partial_fit: Rule
    warm_start: Rule
    remark: str = ""


_EFFECT = Change(Rule.EFFECT, Rule.EFFECT)
_NETWORK = "The weights stay, and learn to serve the new one."
_HYPERPARAMETER = "The optimizer's state stays; for solvers that have this number."

CHANGES: dict[str, Change] = {
    "hidden_layer_sizes": Change(Rule.REFUSED, Rule.REFUSED, "It must be that of ``coefs_``."),
    "activation": Change(Rule.FRESH, Rule.EFFECT, _NETWORK),
    "solver": Change(
        Rule.FRESH, Rule.EFFECT, "Another kind of optimizer starts anew; the same one with other numbers goes on."
    ),
    "alpha": _EFFECT,
    "batch_size": _EFFECT,
    "learning_rate": Change(
        Rule.EFFECT, Rule.EFFECT, "The schedule goes on at the present epoch, from ``learning_rate_init``."
    ),
    "learning_rate_init": Change(Rule.EFFECT, Rule.EFFECT, "A rate lowered at plateaus starts at the new one."),
    "power_t": Change(Rule.EFFECT, Rule.EFFECT, "As ``learning_rate``."),
    "max_iter": Change(Rule.UNUSED, Rule.EFFECT, "``partial_fit`` has ``n_epochs``."),
    "shuffle": _EFFECT,
    "random_state": Change(Rule.EFFECT, Rule.EFFECT, "The random stream begins anew."),
    "tol": _EFFECT,
    "verbose": _EFFECT,
    "warm_start": Change(Rule.UNUSED, Rule.EFFECT, "``fit`` draws weights anew with ``warm_start=False``."),
    "momentum": Change(Rule.EFFECT, Rule.EFFECT, _HYPERPARAMETER),
    "nesterovs_momentum": Change(Rule.FRESH, Rule.EFFECT, "With solver 'sgd': another kind of optimizer."),
    "early_stopping": Change(Rule.REFUSED, Rule.EFFECT, "``partial_fit`` never stops early."),
    "validation_fraction": Change(Rule.UNUSED, Rule.EFFECT),
    "beta_1": Change(Rule.EFFECT, Rule.EFFECT, _HYPERPARAMETER),
    "beta_2": Change(Rule.EFFECT, Rule.EFFECT, _HYPERPARAMETER),
    "epsilon": Change(Rule.EFFECT, Rule.EFFECT, _HYPERPARAMETER),
    "n_iter_no_change": _EFFECT,
    "max_fun": Change(Rule.UNUSED, Rule.EFFECT, "For solver 'lbfgs'."),
    "n_threads": _EFFECT,
    "dtype": Change(Rule.EFFECT, Rule.EFFECT, "Weights and the optimizer's state are converted."),
    "class_weight": _EFFECT,
    "scoring": Change(Rule.UNUSED, Rule.EFFECT, "``partial_fit`` never stops early."),
    "metrics": Change(Rule.EFFECT, Rule.EFFECT, "In ``history_`` NaN stands for epochs that were not measured."),
    "progress": _EFFECT,
    "output_activation": Change(Rule.FRESH, Rule.EFFECT, _NETWORK),
    "initializer": Change(Rule.UNUSED, Rule.UNUSED, "It serves a ``fit`` that draws weights anew."),
    "normalization": Change(
        Rule.FRESH, Rule.EFFECT, "Batch normalization stays in the weights, into which it was folded."
    ),
    "dropout": _EFFECT,
    "l1": _EFFECT,
    "clip_value": _EFFECT,
    "clip_norm": _EFFECT,
    "max_norm": _EFFECT,
    "augmentation": _EFFECT,
    "weight_averaging": Change(Rule.REFUSED, Rule.EFFECT, "``partial_fit`` does not know when training ends."),
    "n_estimators": Change(Rule.REFUSED, Rule.REFUSED, "The trained networks stay as many as they are."),
    "loss": Change(Rule.FRESH, Rule.EFFECT, _NETWORK + " Refused where it needs another number of outputs."),
    "one_hot": Change(Rule.EFFECT, Rule.EFFECT, "The columns of y must be the known classes."),
    "max_time": _EFFECT,
}


def check_n_estimators(estimator: Any) -> None:
    """Refuse to train on with another number of networks.

    Raises
    ------
    ValueError
        If there are trained networks, and not as many as ``n_estimators`` says.
    """
    present = len(estimator.estimators_) if hasattr(estimator, "estimators_") else int(hasattr(estimator, "coefs_"))
    if present and present != estimator.n_estimators:
        raise ValueError(
            f"n_estimators must be {present}, as in the previous call to fit, to train on; got "
            f"{estimator.n_estimators}. Fit with warm_start=False to begin anew."
        )


def check_network(parameters: Parameters, configuration: Configuration, n_outputs: int, trained: Any) -> None:
    """Refuse to train on with other layers than those of the weights.

    Raises
    ------
    ValueError
        That names the parameter which asks for them.
    """
    units = tuple(coef.shape[1] for coef in parameters.coefs)
    if units[:-1] != configuration.hidden_units:
        raise ValueError(
            f"hidden_layer_sizes must be {units[:-1]}, as in the previous call to fit, to train on; got "
            f"{configuration.hidden_units}. Fit with warm_start=False to begin anew."
        )
    if n_outputs != units[-1]:
        loss = configuration.loss
        if trained is not None and trained.loss is not None and trained.loss != loss:
            raise ValueError(
                f"loss must be {trained.loss!r}, as in the previous call to fit, or another of {units[-1]} outputs, to "
                f"train on; got {loss!r}, which needs {n_outputs}. Fit with warm_start=False to begin anew."
            )
        raise ValueError(
            f"y must have as many outputs as in the previous call to fit, {units[-1]}; got {n_outputs}. "
            "Fit with warm_start=False to begin anew."
        )


def optimizer_to_go_on_with(
    stored: OptimizerState | None, configuration: Configuration, *, same_network: bool, dtype: np.dtype
) -> OptimizerState:
    """The optimizer of a partial_fit: a copy of the stored one, with what has changed, or a fresh one.

    Parameters
    ----------
    stored : what the latest training has left; None for a fresh one
    same_network : whether its network had the same components as the present one
    dtype : of the network
    """
    component = configuration.optimizer
    assert component is not None
    if stored is None or type(stored.optimizer) is not type(component) or not same_network:
        return OptimizerState(component, configuration.learning_rate_init, configuration.schedule)
    state = copy(stored)
    state.optimizer = component
    if (state.schedule, state.learning_rate_init) != (configuration.schedule, configuration.learning_rate_init):
        state.schedule = configuration.schedule
        state.learning_rate_init = state.base_rate = configuration.learning_rate_init
    if state.states is not None and state.states[:1] and state.states[0][0].dtype != dtype:
        state.states = [[array.astype(dtype) for array in arrays] for arrays in state.states]
    return state


def components_of(configuration: Configuration) -> Components:
    """The components of a network that is trained by this configuration."""
    return Components(configuration.activations, configuration.normalization, configuration.loss)


def same_components(estimator: Any, configuration: Configuration, output: str) -> bool:
    """Whether the estimator's network was trained with the components of now, as far as it is known."""
    trained: Components | None = getattr(estimator, "_components", None)
    if getattr(estimator, "out_activation_", output) != output:
        return False
    if trained is None:
        return True
    present = components_of(configuration)
    return trained[:2] == present[:2] and trained.loss in (None, present.loss)
