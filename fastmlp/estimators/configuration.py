"""An estimator's parameters made concrete: resolved once, at the start of a fit, into a frozen `Configuration`."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..augmentations import AUGMENTATIONS, Augmentation
from ..initializers import INITIALIZERS
from ..losses import LOSSES, Focal, Loss, check_pair
from ..machine.cores import available_cores
from ..normalizations import NORMALIZATIONS, BatchNormalization
from ..optimizers import OPTIMIZERS, Gradient, GradientDescent, Inertia, Moments, Optimizer
from ..schedules import SCHEDULES, Constant, InverseScaling, Schedule, warn_about_changes

CLASSIC_SCHEDULES = ("constant", "invscaling", "adaptive")


@dataclass(frozen=True)
class Configuration:
    """How to build and train a network: what the parameters of an estimator mean.

    Attributes
    ----------
    hidden_units : units of each hidden layer
    activations : one for each hidden layer
    normalization : of the hidden layers, or None
    loss : component; ``output`` : 'auto' or the output activation, one that the loss allows
    dropout : shares of the inputs and of each hidden layer
    optimizer : component; None for L-BFGS
    schedule : of the learning rate, which begins at ``learning_rate_init``
    initializer : component, or arrays (coefs, intercepts)
    drawn_for : name of the activation by which 'auto' initial weights are drawn
    augmentations : in their order
    limits : what `Session.epoch` takes of clip_value, clip_norm and max_norm
    dtype : that of weights and arithmetic; None to follow X
    n_threads : None for as many as are worth it, -1 for all cores
    one_hot : whether y is a one-hot matrix; ``class_weight`` : dict, 'balanced', list of dicts or None
    the others : the estimator's parameters of the same names
    """

    hidden_units: tuple[int, ...]
    activations: tuple[Activation, ...]
    normalization: Any
    loss: Loss
    output: str
    dropout: tuple[float, ...]
    optimizer: Optimizer | None
    schedule: Schedule
    learning_rate_init: float
    initializer: Any
    drawn_for: str
    augmentations: tuple[Augmentation, ...]
    limits: Mapping[str, float]
    alpha: float
    l1: float
    batch_size: int | str
    max_iter: int
    max_fun: int
    max_time: float | None
    shuffle: bool
    tol: float
    n_iter_no_change: float
    verbose: bool
    warm_start: bool
    early_stopping: bool
    validation_fraction: float
    dtype: np.dtype | None
    n_threads: int | None
    scoring: Any
    metrics: Any
    progress: Any
    weight_averaging: float | None
    one_hot: bool = False
    class_weight: Any = None

    def rows_per_step(self, n_rows: int) -> int:
        """Rows of a batch, where a training has ``n_rows``."""
        if isinstance(self.batch_size, str):
            return n_rows if isinstance(self.optimizer, GradientDescent) else min(200, n_rows)
        return min(self.batch_size, n_rows)

    def output_activation(self, default: str | None = None) -> str:
        """The chosen one, or for 'auto' the given default or the loss's own."""
        return (default or self.loss.outputs[0]) if self.output == "auto" else self.output

    @property
    def mixes_targets(self) -> bool:
        """Whether the augmentations make targets that lie between classes."""
        return any(component.mixes_targets for component in self.augmentations)


def configure(estimator: Any) -> Configuration:
    """The configuration of an estimator whose parameters have been validated one by one.

    Raises
    ------
    ValueError
        If a parameter cannot be resolved, in one sentence that names it.
    """
    hidden = hidden_units_of(estimator.hidden_layer_sizes)
    loss = LOSSES.resolve(estimator.loss)
    if estimator.output_activation != "auto":
        check_pair(loss, estimator.output_activation)
    limits = {name: getattr(estimator, name) for name in ("clip_value", "clip_norm", "max_norm")}
    return Configuration(
        hidden_units=hidden,
        activations=activations_of(estimator.activation, len(hidden)),
        normalization=None if estimator.normalization is None else NORMALIZATIONS.resolve(estimator.normalization),
        loss=loss,
        output=estimator.output_activation,
        dropout=dropout_of(estimator.dropout, len(hidden)),
        optimizer=solver_of(estimator),
        schedule=schedule_of(estimator),
        learning_rate_init=float(estimator.learning_rate_init),
        initializer=initializer_of(estimator.initializer),
        drawn_for=name_for_drawing(estimator.activation),
        augmentations=augmentations_of(estimator.augmentation),
        limits={name: float(limit) for name, limit in limits.items() if limit is not None},
        alpha=float(estimator.alpha),
        l1=float(estimator.l1),
        batch_size="auto" if isinstance(estimator.batch_size, str) else int(estimator.batch_size),
        max_iter=int(estimator.max_iter),
        max_fun=int(estimator.max_fun),
        max_time=None if estimator.max_time is None else float(estimator.max_time),
        shuffle=bool(estimator.shuffle),
        tol=float(estimator.tol),
        n_iter_no_change=estimator.n_iter_no_change,
        verbose=bool(estimator.verbose),
        warm_start=bool(estimator.warm_start),
        early_stopping=bool(estimator.early_stopping),
        validation_fraction=estimator.validation_fraction,
        dtype=dtype_of(estimator.dtype),
        n_threads=threads_of(estimator.n_threads),
        scoring=estimator.scoring,
        metrics=estimator.metrics,
        progress=progress_of(estimator.progress),
        weight_averaging=estimator.weight_averaging,
        one_hot=bool(getattr(estimator, "one_hot", False)),
        class_weight=getattr(estimator, "class_weight", None),
    )


# --- the parameters one by one ----------------------------------------------------------------------------------------


def hidden_units_of(sizes: Any) -> tuple[int, ...]:
    """Units of each hidden layer."""
    listed = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if not all(isinstance(size, Integral) and not isinstance(size, bool) for size in listed):
        raise ValueError(f"hidden_layer_sizes must be an int or a sequence of ints above 0; got {sizes!r}.")
    if any(size <= 0 for size in listed):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {listed}.")
    return tuple(map(int, listed))


def activations_of(chosen: Any, n_hidden: int) -> tuple[Activation, ...]:
    """One for each hidden layer."""
    if not isinstance(chosen, list | tuple):
        return (ACTIVATIONS.resolve(chosen),) * n_hidden
    if len(chosen) != n_hidden:
        raise ValueError(f"activation must have one component for each of {n_hidden} hidden layers; got {len(chosen)}.")
    return tuple(ACTIVATIONS.resolve(component) for component in chosen)


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
    warn_about_changes(chosen, schedule)
    return schedule


def initializer_of(chosen: Any) -> Any:
    """A component, or arrays (coefs, intercepts)."""
    return chosen if isinstance(chosen, list | tuple) else INITIALIZERS.resolve(chosen)


def name_for_drawing(activation: Any) -> str:
    """The activation by which 'auto' initial weights are drawn: that of all hidden layers, even where there is none."""
    chosen = activation if isinstance(activation, list | tuple) else [activation]
    names = {ACTIVATIONS.resolve(component).name for component in chosen}
    return names.pop() if len(names) == 1 else "relu"


def augmentations_of(chosen: Any) -> tuple[Augmentation, ...]:
    """The components to apply, in their order."""
    if chosen is None:
        return ()
    return tuple(map(AUGMENTATIONS.resolve, chosen if isinstance(chosen, list | tuple) else [chosen]))


def dropout_of(chosen: Any, n_hidden: int) -> tuple[float, ...]:
    """Share to drop of the inputs and of each hidden layer."""
    if isinstance(chosen, Real):
        return (0.0, *[float(chosen)] * n_hidden)
    shares = tuple(float(share) for share in chosen)
    if len(shares) != n_hidden + 1 or not all(0 <= share < 1 for share in shares):
        raise ValueError(
            f"dropout must be a number in [0, 1) or {n_hidden + 1} of them, for the inputs and each hidden layer; "
            f"got {chosen!r}."
        )
    return shares


def dtype_of(chosen: Any) -> np.dtype | None:
    """float32 or float64; None for 'auto'."""
    if isinstance(chosen, str) and chosen == "auto":
        return None
    dtype = np.dtype(chosen)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be 'auto', 'float32' or 'float64'; got {chosen!r}.")
    return dtype


def threads_of(chosen: int | None) -> int | None:
    """A number of threads; None for as many as are worth it. -1 is all cores that the process may use."""
    return available_cores() if chosen == -1 else chosen


def progress_of(chosen: Any) -> Any:
    """A display, or None; True is `fastmlp.progress.bar`, which is loaded only then, since it needs rich."""
    if chosen is True:
        return import_module("fastmlp.progress").bar
    return chosen or None


# --- combinations -----------------------------------------------------------------------------------------------------


def check_combination(
    estimator: Any, configuration: Configuration, n_features: int, *, sparse: bool, weighted: bool, incremental: bool
) -> None:
    """Refuse components that cannot go together, or not with such data; warn of parameters that change nothing.

    Raises
    ------
    ValueError
        In one sentence with what to do.
    """
    for component in configuration.augmentations:
        _check_augmentation(component, configuration.loss, n_features, sparse=sparse, weighted=weighted)
    if sparse and configuration.dropout[0]:
        raise ValueError(
            f"dropout of the inputs requires dense X; got sparse X with dropout={configuration.dropout[0]:g} for them."
        )
    if incremental and isinstance(configuration.class_weight, str):
        raise ValueError(
            "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, use "
            "compute_class_weight('balanced', classes=classes, y=y). In place of y you can use a large enough "
            "sample of the full training set target to properly estimate the class frequency distributions. Pass "
            "the resulting weights as the class_weight parameter."
        )
    if configuration.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    if configuration.weight_averaging is not None:
        _check_averaging(estimator, configuration, incremental)
    if configuration.optimizer is None:
        _check_lbfgs(estimator, configuration)
    if not incremental:
        for sentence in ignored_parameters(estimator, configuration):
            warnings.warn(sentence, UserWarning, stacklevel=2)


def _check_augmentation(component: Augmentation, loss: Loss, n_features: int, *, sparse: bool, weighted: bool) -> None:
    if sparse:
        raise ValueError(f"augmentation requires dense X; got sparse X with {component!r}. Use X.toarray().")
    component.check(n_features)
    if component.mixes_targets and isinstance(loss, Focal):
        raise ValueError(
            f"augmentation {component!r} requires another loss than 'focal', which knows no mixed classes."
        )
    if component.mixes_targets and weighted:
        raise ValueError(
            f"augmentation {component!r} requires rows of equal weight; got sample_weight or class_weight."
        )


def _check_averaging(estimator: Any, configuration: Configuration, incremental: bool) -> None:
    if incremental:
        raise ValueError("weight_averaging requires fit, which knows when training ends; got partial_fit.")
    if configuration.early_stopping:
        raise ValueError(
            "weight_averaging requires early_stopping=False, which keeps other weights; "
            f"got weight_averaging={configuration.weight_averaging!r}."
        )
    if isinstance(configuration.normalization, BatchNormalization):
        raise ValueError(
            "weight_averaging requires normalization=None or 'layer': averaged weights have no running statistics; "
            f"got normalization={estimator.normalization!r}."
        )


def _check_lbfgs(estimator: Any, configuration: Configuration) -> None:
    stochastic = {
        "dropout": any(configuration.dropout),
        "l1": configuration.l1 > 0,
        "normalization": configuration.normalization is not None,
        "augmentation": bool(configuration.augmentations),
        "weight_averaging": configuration.weight_averaging is not None,
        "activation": any(component.learned for component in configuration.activations),
        **dict.fromkeys(configuration.limits, True),
    }
    for name, used in stochastic.items():
        if used:
            raise ValueError(
                f"{name}={getattr(estimator, name)!r} requires a solver that takes steps, such as 'adam' or 'sgd'; "
                "got solver='lbfgs'."
            )


def ignored_parameters(estimator: Any, configuration: Configuration) -> list[str]:
    """Sentences about parameters that were set and change nothing beside the others."""
    sentences = []
    if configuration.optimizer is None:
        if estimator.early_stopping:
            sentences.append("early_stopping=True is ignored: solver='lbfgs' has no epochs after which to stop.")
        if estimator.learning_rate != "constant":
            sentences.append(f"learning_rate={estimator.learning_rate!r} is ignored: solver='lbfgs' has none.")
        if estimator.metrics is not None:
            sentences.append("metrics are ignored: solver='lbfgs' has no epochs after which to record them.")
    elif (
        isinstance(estimator.learning_rate, str)
        and configuration.schedule != SCHEDULES.resolve(estimator.learning_rate)
        and isinstance(configuration.schedule, Constant)
    ):
        component = type(SCHEDULES.resolve(estimator.learning_rate)).__name__
        sentences.append(
            f"learning_rate={estimator.learning_rate!r} is ignored by solver='adam', as in scikit-learn; give a "
            f"component to have it obeyed: fastmlp.schedules.{component}()."
        )
    if estimator.scoring is not None and not estimator.early_stopping:
        sentences.append("scoring is ignored without early_stopping=True; metrics records scores without stopping.")
    return sentences
