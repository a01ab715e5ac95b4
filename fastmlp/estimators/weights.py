"""What an estimator keeps of a network, and the checks before it is used again: a user may have put anything there."""

from typing import Any, NamedTuple

import numpy as np

from ..activations import Activation
from ..core.network import Network
from ..losses import Loss
from ..normalizations import BatchNormalization
from ..trainable import Parameters
from .configuration import Configuration


class Components(NamedTuple):
    """The components that a network was trained with.

    Attributes
    ----------
    activations : one for each hidden layer; ``normalization`` : of the hidden layers, or None
    loss : Loss, None where it is not known (of a pickle of fastmlp 0.2)
    """

    activations: tuple[Activation, ...]
    normalization: Any
    loss: Loss | None


def learned_attributes(network: Network, parameters: Parameters) -> dict[str, Any]:
    """What an estimator keeps of a network: weights into which batch normalization is folded, and what was learned."""
    coefs, intercepts, unit_parameters = parameters
    normalization = network.normalization
    if isinstance(normalization, BatchNormalization):
        folded = [normalization.fold(*layer) for layer in zip(coefs, intercepts, unit_parameters)]
        coefs = [*(coef for coef, _ in folded), coefs[-1]]
        intercepts = [*(intercept for _, intercept in folded), intercepts[-1]]
    return {"coefs_": coefs, "intercepts_": intercepts, "_parameters": parameters if unit_parameters else None}


def parameters_of(estimator: Any, configuration: Configuration) -> Parameters:
    """What training goes on from: what a network has learned, if its components are the same, else plain weights."""
    check_weights(estimator)
    parameters: Parameters | None = getattr(estimator, "_parameters", None)
    trained: Components | None = getattr(estimator, "_components", None)
    normalization = configuration.normalization
    if parameters is None or trained is None or trained[:2] != (configuration.activations, normalization):
        return Parameters(estimator.coefs_, estimator.intercepts_, [])
    if isinstance(normalization, BatchNormalization):
        return parameters
    return Parameters(estimator.coefs_, estimator.intercepts_, parameters.unit_parameters)


def of_dtype(parameters: Parameters, dtype: np.dtype) -> Parameters:
    """The same in another dtype; what has it already is not copied."""
    return Parameters(*([np.asarray(array, dtype) for array in arrays] for arrays in parameters))


def check_weights(estimator: Any) -> None:
    """Check the shapes and dtypes of ``coefs_`` and ``intercepts_`` before they are used.

    Raises
    ------
    ValueError
        With the number of the layer, what is expected there and what it is.
    """
    coefs, intercepts = estimator.coefs_, estimator.intercepts_
    for name, arrays in (("coefs_", coefs), ("intercepts_", intercepts)):
        if not isinstance(arrays, list | tuple):
            raise ValueError(f"{name} must be a list with an array for each layer; got {type(arrays).__name__}.")
    if len(coefs) != len(intercepts) or not len(coefs):
        raise ValueError(
            f"coefs_ and intercepts_ must be lists with an array for each layer; got {len(coefs)} and "
            f"{len(intercepts)} arrays."
        )
    below = estimator.n_features_in_
    for layer, (coef, intercept) in enumerate(zip(coefs, intercepts)):
        for name, array in (("coefs_", coef), ("intercepts_", intercept)):
            if not isinstance(array, np.ndarray) or array.dtype.char not in "fd":
                got = f"dtype {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
                raise ValueError(f"{name}[{layer}] must be an ndarray of float32 or float64; got {got}.")
        if coef.ndim != 2 or coef.shape[0] != below or not coef.shape[1]:
            what = "features of X" if layer == 0 else f"columns of coefs_[{layer - 1}]"
            raise ValueError(
                f"coefs_[{layer}] must have shape ({below}, n), a row for each of the {below} {what}; got {coef.shape}."
            )
        below = coef.shape[1]
        if intercept.shape != (below,):
            raise ValueError(
                f"intercepts_[{layer}] must have shape ({below},), a number for each column of coefs_[{layer}]; "
                f"got {intercept.shape}."
            )
    if below != estimator.n_outputs_:
        raise ValueError(
            f"coefs_[{len(coefs) - 1}] must have {estimator.n_outputs_} columns, one for each output; got {below}."
        )
    learned = getattr(estimator, "_parameters", None)
    if learned is not None:
        _check_unit_parameters(learned.unit_parameters, coefs)


def dtype_of_weights(estimator: Any) -> np.dtype:
    """That of the first layer's weights, which a user may have replaced by anything, in the machine's byte order.

    Raises
    ------
    ValueError
        As `check_weights`, where there is no such array.
    """
    coefs = estimator.coefs_
    if not (isinstance(coefs, list | tuple) and coefs and isinstance(coefs[0], np.ndarray)):
        check_weights(estimator)  # says what is wrong
    dtype: np.dtype = coefs[0].dtype.newbyteorder("=")  # a pickle may come from another machine
    return dtype


def check_classes(estimator: Any) -> None:
    """Check ``classes_`` of a classifier before labels are made of a network's outputs.

    Raises
    ------
    ValueError
        If it is no vector of a label for each output, or of one or two labels for a single output.
    """
    classes, n_outputs = estimator.classes_, estimator.n_outputs_
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        got = f"shape {classes.shape}" if isinstance(classes, np.ndarray) else type(classes).__name__
        raise ValueError(f"classes_ must be an ndarray of shape (n_classes,); got {got}.")
    if len(classes) != n_outputs and (n_outputs > 1 or len(classes) not in (1, 2)):
        expected = "1 or 2 labels" if n_outputs == 1 else f"{n_outputs} labels, one for each output"
        raise ValueError(f"classes_ must hold {expected}; got {len(classes)}.")


def _check_unit_parameters(unit_parameters: list[np.ndarray], coefs: list[np.ndarray]) -> None:
    """What units have learned beside weights must be as wide as their layers."""
    widths = [np.shape(array)[-1] for array in unit_parameters]
    units = [coef.shape[1] for coef in coefs[:-1]]
    if widths != units:
        differ = (layer for layer, (own, above) in enumerate(zip(widths, units)) if own != above)
        layer = next(differ, min(len(widths), len(units)))
        raise ValueError(
            f"coefs_[{layer}] must be as wide as the normalization and learned slopes of its layer, which have "
            f"{widths} units in the hidden layers; got {units}."
        )
