"""The components that an estimator's parameters name, resolved and checked before any work starts."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from ..activations import ACTIVATIONS, Activation
from ..augmentations import AUGMENTATIONS, Augmentation
from ..core.network import Network, Parameters
from ..initializers import INITIALIZERS, Initializer
from ..losses import LOSSES, OUTPUTS, Focal, Loss, pair_code
from ..normalizations import NORMALIZATIONS, BatchNormalization, LayerNormalization
from ..optimizers import OPTIMIZERS, Gradient, Inertia, Moments, Optimizer
from ..schedules import SCHEDULES, Constant, InverseScaling, Schedule, warn_about_changes
from ..training import Callback

CLASSIC_SCHEDULES = ("constant", "invscaling", "adaptive")
SOLVERS = {"lbfgs", "sgd", *OPTIMIZERS} - {"gradient"}
_POSITIVE = Interval(Real, 0, None, closed="neither")

# What scikit-learn's validation of parameters allows; numbers of a component are checked when it is made.
COMPONENT_CONSTRAINTS: dict = {
    "activation": [StrOptions(set(ACTIVATIONS)), Activation, list, tuple],
    "output_activation": [StrOptions({"auto", *OUTPUTS})],
    "solver": [StrOptions(SOLVERS), Optimizer],
    "learning_rate": [StrOptions(set(SCHEDULES)), Schedule],
    "initializer": [StrOptions(set(INITIALIZERS)), Initializer, list, tuple],
    "normalization": [StrOptions(set(NORMALIZATIONS)), BatchNormalization, LayerNormalization, None],
    "augmentation": [StrOptions(set(AUGMENTATIONS)), Augmentation, list, tuple, None],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "l1": [Interval(Real, 0, None, closed="left")],
    "clip_value": [_POSITIVE, None],
    "clip_norm": [_POSITIVE, None],
    "max_norm": [_POSITIVE, None],
    "weight_averaging": [Interval(Real, 0, 1, closed="left"), None],
}


def solver_of(estimator: Any) -> Optimizer | None:
    """The optimizer; None for L-BFGS. A name takes the estimator's momentum, betas and epsilon, as in scikit-learn."""
    name = estimator.solver
    if not isinstance(name, str):
        component = OPTIMIZERS.resolve(name)
        if isinstance(component, Gradient):
            raise ValueError(
                "solver must be a component that moves the weights; got Gradient(), which keeps the gradient."
            )
        return component
    if name == "lbfgs":
        return None
    if name == "sgd":
        name = "nesterov" if estimator.nesterovs_momentum else "momentum"
    kind = OPTIMIZERS[name]
    if issubclass(kind, Inertia):
        return kind(momentum=float(estimator.momentum))
    if issubclass(kind, Moments):
        betas = {"beta_1": float(estimator.beta_1), "beta_2": float(estimator.beta_2)}
        return kind(**betas, epsilon=float(estimator.epsilon))
    return OPTIMIZERS.resolve(name)


def schedule_of(estimator: Any) -> Schedule:
    """The schedule. scikit-learn's names concern 'sgd' alone: with 'adam' they change nothing, as there."""
    chosen = estimator.learning_rate
    if isinstance(chosen, str) and chosen in CLASSIC_SCHEDULES and estimator.solver == "adam":
        return Constant()
    if isinstance(chosen, str) and chosen == "invscaling":
        return InverseScaling(float(estimator.power_t))
    schedule = SCHEDULES.resolve(chosen)
    warn_about_changes(schedule)
    return schedule


def loss_of(estimator: Any, default_output: str | None = None) -> tuple[Loss, str]:
    """The loss and its output activation, which is the loss's own, or for 'auto' the given or the loss's first one."""
    loss = LOSSES.resolve(estimator.loss)
    chosen = estimator.output_activation
    output = (default_output or loss.outputs[0]) if chosen == "auto" else chosen
    pair_code(loss, output)
    return loss, output


def initializer_of(estimator: Any) -> Any:
    """A component, or arrays (coefs, intercepts)."""
    chosen = estimator.initializer
    return chosen if isinstance(chosen, list | tuple) else INITIALIZERS.resolve(chosen)


def augmentations_of(estimator: Any) -> list[Augmentation]:
    """The components to apply, in their order."""
    chosen = estimator.augmentation
    if chosen is None:
        return []
    return [
        AUGMENTATIONS.resolve(component) for component in (chosen if isinstance(chosen, list | tuple) else [chosen])
    ]


def activations_of(estimator: Any, n_hidden: int) -> list[Activation]:
    """One for each hidden layer."""
    chosen = estimator.activation
    if not isinstance(chosen, list | tuple):
        return [ACTIVATIONS.resolve(chosen)] * n_hidden
    if len(chosen) != n_hidden:
        raise ValueError(f"activation must have one component for each of {n_hidden} hidden layers; got {len(chosen)}.")
    return [ACTIVATIONS.resolve(component) for component in chosen]


def normalization_of(estimator: Any) -> Any:
    """The normalization of the hidden layers, or None."""
    return None if estimator.normalization is None else NORMALIZATIONS.resolve(estimator.normalization)


def dropout_of(estimator: Any, n_hidden: int) -> list[float]:
    """Share to drop of the inputs and of each hidden layer."""
    if isinstance(estimator.dropout, Real):
        return [0.0] + [float(estimator.dropout)] * n_hidden
    partition = [float(share) for share in estimator.dropout]
    if len(partition) != n_hidden + 1 or not all(0 <= share < 1 for share in partition):
        raise ValueError(
            f"dropout must be a number in [0, 1) or {n_hidden + 1} of them, for the inputs and each hidden layer; "
            f"got {estimator.dropout!r}."
        )
    return partition


def limits_of(estimator: Any) -> dict[str, float]:
    """What `Session.epoch` takes of the limits that are set."""
    limits = {name: getattr(estimator, name) for name in ("clip_value", "clip_norm", "max_norm")}
    return {name: float(limit) for name, limit in limits.items() if limit is not None}


def check_combination(
    estimator: Any, n_hidden: int, n_features: int, *, sparse: bool, weighted: bool, incremental: bool
) -> None:
    """Refuse components that cannot go together, or not with such data.

    Raises
    ------
    ValueError
        In one sentence with what to do.
    """
    activations, dropout = activations_of(estimator, n_hidden), dropout_of(estimator, n_hidden)
    for component in augmentations_of(estimator):
        if sparse:
            raise ValueError(f"augmentation requires dense X; got sparse X with {component!r}. Use X.toarray().")
        component.check(n_features)
        if component.mixes_targets and isinstance(LOSSES.resolve(estimator.loss), Focal):
            raise ValueError(
                f"augmentation {component!r} requires another loss than 'focal', which knows no mixed classes."
            )
        if component.mixes_targets and weighted:
            raise ValueError(
                f"augmentation {component!r} requires rows of equal weight; got sample_weight or class_weight."
            )
    if sparse and dropout[0]:
        raise ValueError(f"dropout of the inputs requires dense X; got sparse X with dropout={dropout[0]:g} for them.")
    if estimator.weight_averaging is not None:
        if incremental:
            raise ValueError("weight_averaging requires fit, which knows when training ends; got partial_fit.")
        if estimator.early_stopping:
            raise ValueError(
                "weight_averaging requires early_stopping=False, which keeps other weights; "
                f"got weight_averaging={estimator.weight_averaging!r}."
            )
        if isinstance(normalization_of(estimator), BatchNormalization):
            raise ValueError(
                "weight_averaging requires normalization=None or 'layer': averaged weights have no running statistics; "
                f"got normalization={estimator.normalization!r}."
            )
    if solver_of(estimator) is None:
        stochastic = {
            "dropout": any(dropout),
            "l1": estimator.l1 > 0,
            "normalization": estimator.normalization is not None,
            "augmentation": bool(augmentations_of(estimator)),
            "weight_averaging": estimator.weight_averaging is not None,
            "activation": any(component.learned for component in activations),
            **dict.fromkeys(limits_of(estimator), True),
        }
        for name, used in stochastic.items():
            if used:
                raise ValueError(
                    f"{name}={getattr(estimator, name)!r} requires a solver that takes steps, such as 'adam' or 'sgd'; "
                    "got solver='lbfgs'."
                )


def learned_attributes(network: Network, parameters: Parameters) -> dict[str, Any]:
    """What an estimator keeps of a network: weights into which batch normalization is folded, and what was learned."""
    coefs, intercepts, unit_parameters = parameters
    normalization = network.normalization
    if isinstance(normalization, BatchNormalization):
        folded = [normalization.fold(*layer) for layer in zip(coefs, intercepts, unit_parameters)]
        coefs = [*(coef for coef, _ in folded), coefs[-1]]
        intercepts = [*(intercept for _, intercept in folded), intercepts[-1]]
    return {
        "coefs_": coefs,
        "intercepts_": intercepts,
        "_parameters": parameters if unit_parameters else None,
        "_words": (network.activations, normalization),
    }


def parameters_of(estimator: Any, activations: list[Activation], normalization: Any) -> Parameters:
    """What training goes on from: what a network has learned, if its components are the same, else plain weights."""
    parameters = getattr(estimator, "_parameters", None)
    if parameters is None or estimator._words != (activations, normalization):
        return Parameters(estimator.coefs_, estimator.intercepts_, [])
    if isinstance(normalization, BatchNormalization):
        return parameters
    return Parameters(estimator.coefs_, estimator.intercepts_, parameters.unit_parameters)


def name_for_drawing(estimator: Any) -> str:
    """The activation by which 'auto' initial weights are drawn: that of all hidden layers, even where there is none."""
    chosen = estimator.activation if isinstance(estimator.activation, list | tuple) else [estimator.activation]
    names = {ACTIVATIONS.resolve(component).name for component in chosen}
    return names.pop() if len(names) == 1 else "relu"


class Augmenter(Callback):
    """Changes the training rows before each epoch, in the arrays that a session reads.

    Parameters
    ----------
    components : list of Augmentation
    X, targets : what the session reads, written to
    rows : those to change
    random_state : RandomState of the training
    """

    def __init__(
        self, components: list[Augmentation], X: np.ndarray, targets: np.ndarray, rows: np.ndarray, random_state: Any
    ) -> None:
        self.components = components
        self.X = X
        self.targets = targets
        self.rows = np.sort(rows)
        self.random_state = random_state
        self.originals = X[self.rows], targets[self.rows]

    def before_epoch(self) -> None:
        X, targets = self.originals
        for component in self.components:
            X, targets = component.apply(X, targets, self.random_state)
        self.X[self.rows] = X
        if any(component.mixes_targets for component in self.components):
            self.targets[self.rows] = targets
