"""Statistics of what flows through a network: the outputs of each layer, and the gradients that come back."""

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone

from .gradients import Objective
from .models import Estimator, Model, check_estimator, forward, names_of
from .tables import Table

__all__ = [
    "ActivationRow",
    "ActivationStatistics",
    "GradientStatistics",
    "GradientStatisticsRow",
    "activation_statistics",
    "activations",
    "gradient_norms",
    "gradient_statistics",
]


def activations(model: Model, X: Any, layer: int) -> Any:
    """The outputs of a layer, as in a prediction.

    Parameters
    ----------
    model : fitted estimator, Network or Reference
    X : {array-like, sparse CSR or CSC} of shape (n_rows, n_features)
    layer : int
        0 for the inputs, 1 for the first hidden layer; -1 for the output activation.

    Returns
    -------
    outputs : ndarray of shape (n_rows, n_units); for layer 0, X in the network's dtype

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    _, outputs = forward(model, X)
    if not -len(outputs) <= layer < len(outputs):
        raise ValueError(f"layer must be an int from {-len(outputs)} to {len(outputs) - 1}; got {layer!r}.")
    return outputs[layer]


class ActivationRow(NamedTuple):
    """What comes out of a layer, over all rows and units.

    Attributes
    ----------
    layer : 0 for the inputs; activation : its name
    mean, std : of the outputs
    saturated : share of the outputs where the activation is flat, |slope| < threshold; of a relu the zeros
    dead : share of the units that are so for every row, and therefore learn nothing
    """

    layer: int
    activation: str
    mean: float
    std: float
    saturated: float | None
    dead: float | None


class ActivationStatistics(Table):
    """Rows of `ActivationRow`."""

    formats = {"layer": "", "activation": "<", "mean": ".4g", "std": ".3g", "saturated": ".1%", "dead": ".1%"}


def activation_statistics(model: Model, X: Any, *, threshold: float = 0.01) -> ActivationStatistics:
    """Mean and deviation of each layer's outputs, and the shares of saturated outputs and dead units.

    The inputs are among the layers unless they are sparse. The slope of the output activation is no concern of most
    losses, whose delta does without it: the output has neither share.

    Parameters
    ----------
    model : fitted estimator, Network or Reference
    X : {array-like, sparse CSR or CSC} of shape (n_rows, n_features)
    threshold : float, default=0.01
        Of the slope; a logistic unit is below it outside of (0.01, 0.99), tanh where |y| > 0.995.
    """
    reference, outputs = forward(model, X)
    rows = []
    for level, (name, A) in enumerate(zip(names_of(reference), outputs)):
        saturated, dead = None, None
        if 0 < level < reference.layout.layers:
            flat = abs(reference.buffers.deltas[level]) < threshold
            saturated, dead = float(flat.mean()), float(flat.all(axis=0).mean())
        if not issparse(A):
            rows.append(ActivationRow(level, name, float(A.mean()), float(A.std()), saturated, dead))
    return ActivationStatistics(rows)


class GradientStatisticsRow(NamedTuple):
    """The gradient by a layer's coefficients.

    Attributes
    ----------
    layer : from 1; activation : above it
    mean, std : of the derivatives by single coefficients; norm : of the whole
    zero : share of the derivatives that are 0
    dead : share of the units above the layer whose coefficients and bias have no derivative but 0
    """

    layer: int
    activation: str
    mean: float
    std: float
    norm: float
    zero: float
    dead: float


class GradientStatistics(Table):
    """Rows of `GradientStatisticsRow`."""

    formats = {
        "layer": "",
        "activation": "<",
        "mean": ".1e",
        "std": ".1e",
        "norm": ".1e",
        "zero": ".1%",
        "dead": ".1%",
    }


def gradient_statistics(model: Model, X: Any, y: Any, sample_weight: Any = None) -> GradientStatistics:
    """Mean, deviation and norm of the gradient of the loss by each layer's coefficients, without the penalty.

    Where the norms fall from the last layer to the first by orders of magnitude, the gradient vanishes.

    Parameters
    ----------
    model : fitted estimator, Network or Reference
    X, y, sample_weight : data, as `fit` takes them
    """
    objective = Objective(model, X, y, sample_weight)
    objective.alpha = objective.l1 = 0.0
    rows = []
    names = names_of(objective.reference)[1:]
    for layer, (name, gradients) in enumerate(zip(names, objective.gradients()), 1):
        G, still = gradients["coefs"], ~(gradients["coefs"].any(axis=0) | gradients["intercepts"].astype(bool))
        partition = float((G == 0).mean()), float(still.mean())
        rows.append(
            GradientStatisticsRow(layer, name, float(G.mean()), float(G.std()), float(np.linalg.norm(G)), *partition)
        )
    return GradientStatistics(rows)


def gradient_norms(estimator: Estimator, X: Any, y: Any, **fit_parameters: Any) -> np.ndarray:
    """Norms of the gradient by each layer's coefficients, after each epoch of a fit, over all of X, without penalty.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        A clone of it is trained; its own ``metrics`` rest meanwhile.
    X, y, fit_parameters : what `fit` takes

    Returns
    -------
    norms : ndarray of shape (n_epochs, n_layers)

    Raises
    ------
    ValueError
        If the estimator is an ensemble, or its solver has no epochs.
    TypeError
        If it is something else, such as a pipeline.
    """
    norms: list[list[float]] = []
    views: list[Estimator] = []
    rows, sample_weight = X if issparse(X) else np.asarray(X), fit_parameters.get("sample_weight")

    def note(model: Estimator, *_: Any) -> float:
        """A metric, asked for training rows first and for validation rows, if any, once more."""
        if not views:
            views.append(model)
        if model is views[0]:
            norms.append(gradient_statistics(model, rows, y, sample_weight)["norm"])
        return np.nan

    check_estimator(estimator)
    if estimator.n_estimators > 1 or estimator.solver == "lbfgs":
        raise ValueError(
            "estimator must be one network, n_estimators=1, whose solver takes steps, such as 'adam' or 'sgd'; got "
            f"n_estimators={estimator.n_estimators} and solver={estimator.solver!r}."
        )
    clone(estimator).set_params(metrics={"gradient": note}).fit(X, y, **fit_parameters)
    return np.array(norms)
