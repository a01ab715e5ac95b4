"""A fitted estimator, alone or behind the steps of a pipeline, as plain arrays and components."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..core.records import HYPERPARAMETERS
from ..estimators import MLPClassifier, MLPRegressor
from ..estimators.targets import RealTargets
from ..tabular.classifier import TabularClassifier
from ..tabular.members import Member
from .step import Step
from .steps import step_of
from .table_step import Encode

NOTHING, CLIP, COMPLEMENT, NORMALIZE = 0, 1, 2, 4


class Model(NamedTuple):
    """What there is to compute.

    Attributes
    ----------
    steps : of the rows, before the network
    coefs, intercepts : of each layer, with batch normalization folded in
    activations : components of the hidden layers
    unit_parameters : arrays (UNIT_PARAMETERS, n_units) of the hidden layers; empty without learned ones
    normalization : LayerNormalization or None
    output : name of the output activation; finish : what follows it, a sum of CLIP to [0, 1], COMPLEMENT (1 - p before
        p) and NORMALIZE (rows to the sum 1, or all alike where all are 0)
    loss : the fitted one, which goes with the output activation
    levels : quantiles of each target, 1 for no such; squeezes : whether a single target has no axis of its own
    """

    steps: list[Step]
    coefs: list[np.ndarray]
    intercepts: list[np.ndarray]
    activations: list[Any]
    unit_parameters: list[np.ndarray]
    normalization: Any
    output: str
    finish: int
    loss: Any
    levels: int
    squeezes: bool

    @property
    def units(self) -> tuple[int, ...]:
        """Units of each level of the network."""
        return (self.coefs[0].shape[0], *(coef.shape[1] for coef in self.coefs))

    @property
    def n_features(self) -> int:
        """Numbers of a row as given."""
        return self.steps[0].width if self.steps else self.units[0]

    @property
    def n_results(self) -> int:
        """Numbers of a row's result."""
        return self.units[-1] + bool(self.finish & COMPLEMENT)

    def numbers_of(self, layer: int) -> np.ndarray:
        """The hyperparameter of the activation of each unit of a hidden layer."""
        if self.unit_parameters:
            return self.unit_parameters[layer][HYPERPARAMETERS]
        return np.full(self.units[layer + 1], self.activations[layer].hyperparameter, self.coefs[0].dtype)


def of_activation(table: Mapping[str, Any], activation: Any, consumer: str) -> Any:
    """What a consumer's table has for an activation.

    Raises
    ------
    ValueError
        If the activation is a user's own.
    """
    if activation.name not in table:
        raise ValueError(
            f"activation must be one of the package's for {consumer}; got {activation!r}, of which only NumPy and SIMD "
            "code are known. Fit a model with another one."
        )
    return table[activation.name]


def read_model(estimator: Any, consumer: str) -> Model:
    """The model that an estimator of fastmlp is, or a pipeline that ends in one.

    Raises
    ------
    TypeError
        If it is no such estimator.
    ValueError
        If it is not fitted (as scikit-learn's NotFittedError), an ensemble, has weights that do not fit or are not
        finite, or a step is not known; ``consumer`` is who says so.
    """
    steps: list[Step] = []
    if isinstance(estimator, Pipeline):
        check_is_fitted(estimator)
        for name, transformer in estimator.steps[:-1]:
            if transformer is not None and transformer != "passthrough":
                steps.append(step_of(name, transformer, consumer))
        estimator = estimator.steps[-1][1]
    if not isinstance(estimator, MLPClassifier | MLPRegressor):
        raise TypeError(
            f"{consumer} takes an MLPClassifier or MLPRegressor of fastmlp, or a pipeline that ends in one; "
            f"got {type(estimator).__name__}."
        )
    check_is_fitted(estimator)
    if hasattr(estimator, "estimators_"):
        raise ValueError(
            f"{consumer} takes a single network; got an ensemble of {len(estimator.estimators_)}: pass one of its "
            "estimators_."
        )
    estimator._predictor(np.zeros((1, estimator.n_features_in_), estimator._weights_dtype()), False)  # checks shapes
    parameters, activations, normalization = estimator._learned()
    for name, arrays in (("coefs_", parameters.coefs), ("intercepts_", parameters.intercepts)):
        for layer, array in enumerate(arrays):
            if not np.isfinite(array).all():
                raise ValueError(f"{name}[{layer}] must be finite for {consumer}; got NaN or infinity. Fit again.")
    _check_widths(steps, parameters.coefs[0].shape[0])
    loss, output = estimator._loss()
    classifies = isinstance(estimator, MLPClassifier)
    n_outputs = parameters.coefs[-1].shape[1]
    return Model(
        steps,
        list(map(in_own_byte_order, parameters.coefs)),
        list(map(in_own_byte_order, parameters.intercepts)),
        list(activations),
        list(parameters.unit_parameters),
        normalization,
        output,
        _finish(estimator, output, n_outputs) if classifies else NOTHING,
        loss,
        1 if classifies else RealTargets.of(loss).outputs_per_target,
        not classifies,
    )


def in_own_byte_order(array: np.ndarray) -> np.ndarray:
    """The same array, or its numbers in the machine's byte order: a pickle may come from another one."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


class TableModel(NamedTuple):
    """What there is to compute for a table: an encoder, and the weighted mean of what some networks give.

    Attributes
    ----------
    step : of the rows, before all networks
    networks : Models without steps; ``weights`` : share of each, with the sum 1
    center, scale, low, high : a network's output y counts as y scale + center, cut to [low, high]: arrays (n_outputs,),
        or None for probabilities
    squeezes : whether a single target has no axis of its own
    """

    step: Encode
    networks: list[Model]
    weights: np.ndarray
    center: np.ndarray | None
    scale: np.ndarray | None
    low: np.ndarray | None
    high: np.ndarray | None
    squeezes: bool

    @property
    def n_features(self) -> int:
        """Numbers of a row as given."""
        return self.step.width

    @property
    def n_results(self) -> int:
        """Numbers of a row's result."""
        return self.networks[0].n_results


def read_table_model(estimator: Any, consumer: str) -> TableModel:
    """The model that a fitted `TabularClassifier` or `TabularRegressor` is.

    Raises
    ------
    ValueError
        If it is not fitted (as scikit-learn's NotFittedError), or a column holds texts or dates; with its name.
    """
    check_is_fitted(estimator)
    classifies = isinstance(estimator, TabularClassifier)
    weights = np.array([member.weight for member in estimator.members_], np.float64)
    center, scale, low, high = (
        None if classifies else np.asarray(getattr(estimator, name), np.float64)
        for name in ("_center", "_scale", "_low", "_high")
    )
    return TableModel(
        Encode(estimator.encoder_, consumer),
        [_network_of(member) for member in estimator.members_],
        weights / weights.sum(),
        center,
        scale,
        low,
        high,
        not classifies and estimator._flat,
    )


def _network_of(member: Member) -> Model:
    """One network of a table's model."""
    return Model(
        [],
        list(member.coefs),
        list(member.intercepts),
        member.activations,
        list(member.unit_parameters),
        None,
        member.output,
        COMPLEMENT if member.output == "logistic" else NOTHING,
        member.loss,
        1,
        False,
    )


def _finish(classifier: MLPClassifier, output: str, n_outputs: int) -> int:
    """What `predict_proba` makes of outputs."""
    if output == "softmax":
        return NOTHING
    finish = NOTHING if output == "logistic" else CLIP
    if n_outputs == 1:
        return finish | COMPLEMENT
    return finish if classifier._known_labels().multilabel else finish | NORMALIZE


def _check_widths(steps: list[Step], width: int) -> None:
    """A clipper does not know its width: it is that of its neighbour."""
    for step in reversed(steps):
        if step.width == 0:
            step.width = step.out_width = width
        width = step.width
    for step, following in itertools.pairwise(steps):
        if step.out_width != following.width:
            raise ValueError(
                f"Steps of the pipeline must fit each other; one gives {step.out_width} numbers, the next takes "
                f"{following.width}."
            )


def finished(model: Model, outputs: np.ndarray) -> np.ndarray:
    """What `predict_proba` or `predict` gives, from the network's outputs."""
    finish = model.finish
    if finish & CLIP:
        outputs = outputs.clip(0, 1)
    if finish & COMPLEMENT:
        return np.concatenate([1 - outputs, outputs], axis=1)
    if finish & NORMALIZE:
        total = outputs.sum(axis=1, keepdims=True)
        return np.where(total > 0, outputs / np.where(total > 0, total, 1), outputs.dtype.type(1 / outputs.shape[1]))
    if model.levels > 1:
        outputs = outputs.reshape(len(outputs), -1, model.levels)
    return outputs[:, 0] if outputs.shape[1] == 1 and model.squeezes else outputs
