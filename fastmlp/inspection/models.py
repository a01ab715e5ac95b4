"""The network inside a model: a copy of it in NumPy, with the outputs of its layers.

A model is a fitted estimator, or a `Network` or a `Reference` as it stands, before its training, say; with these two,
y is what the loss takes, class codes or a matrix, and there is no penalty.
"""

from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted

from ..core.network import Network
from ..estimators import MLPClassifier, MLPRegressor
from ..reference import Reference

__all__ = [
    "Estimator",
    "Model",
    "check_estimator",
    "check_fitted",
    "forward",
    "names_of",
    "reference_of",
    "rows_of",
    "units_of",
]

Estimator: TypeAlias = MLPClassifier | MLPRegressor
Model: TypeAlias = Estimator | Network | Reference


def reference_of(model: Model, dtype: Any = None, *, folded: bool = True) -> Reference:
    """A network in NumPy with copies of the model's weights, without dropout.

    Parameters
    ----------
    model : fitted estimator, Network or Reference
    dtype : dtype of the copies; None for the model's own
    folded : bool, default=True
        Whether an estimator's batch normalization is folded into its weights, as in predictions, or still to be
        trained.

    Raises
    ------
    ValueError
        If the model is an ensemble.
    TypeError
        If it is something else, such as a pipeline.
    NotFittedError
        If it is an estimator that is not fitted.
    """
    parts = _network_of(model, folded)
    coefs, intercepts = ([array.astype(dtype or array.dtype) for array in arrays] for arrays in parts.weights())
    reference = Reference(
        coefs,
        intercepts,
        activation=parts.activations,
        loss=parts.loss,
        optimizer="gradient",
        output=parts.output,
        normalization=parts.normalization,
    )
    for own, values in zip(reference.buffers.unit_parameters[1:], parts.unit_parameters()):
        own.hyperparameter, own.gain, own.shift, own.mean, own.variance = values.astype(coefs[0].dtype)
    return reference


def check_estimator(model: Any) -> None:
    """Raise a TypeError, with what to pass instead, if the model is no estimator of this package."""
    if isinstance(model, Estimator):
        return
    name, remedy = type(model).__name__, "Pass a fitted MLPClassifier or MLPRegressor."
    if isinstance(model, type):
        name, remedy = f"the class {model.__name__}", "Pass an object of it, fitted."
    elif hasattr(model, "steps"):
        remedy = "Pass its last step, pipeline[-1], with rows that pipeline[:-1].transform(X) has prepared."
    elif hasattr(model, "best_estimator_") or hasattr(model, "param_grid"):
        remedy = "Pass its best_estimator_."
    raise TypeError(f"model must be an MLPClassifier or MLPRegressor, or a network; got {name}. {remedy}")


def check_fitted(model: Any) -> None:
    """Raise a TypeError for what is no estimator of this package, and a NotFittedError for one that is not fitted."""
    check_estimator(model)
    check_is_fitted(model)


def _network_of(model: Model, folded: bool) -> Network | Reference:
    """The network of a fitted estimator; else the model itself."""
    if isinstance(model, Network | Reference):
        return model
    check_fitted(model)
    if hasattr(model, "estimators_"):
        raise ValueError(
            f"model must be one network; got an ensemble of {model.n_estimators}. Look at one of its estimators_."
        )
    loss, output = model._loss()
    return model._learned_network(model.coefs_[0], folded=folded, loss=loss, output=output, optimizer="gradient")


def units_of(reference: Reference) -> tuple[int, ...]:
    """(n_features, hidden units ..., n_outputs)."""
    weights = reference.buffers.weights
    return (len(weights[0]) - 1, *(W.shape[1] for W in weights))


def names_of(reference: Reference) -> list[str]:
    """The activation of each level, the inputs' and the output's among them."""
    return ["inputs", *(component.name for component in reference.activations), reference.output]


def rows_of(model: Model, X: Any, dtype: Any) -> Any:
    """X, checked as the model does it."""
    if isinstance(model, Estimator):
        return model._check_rows(X)[0].astype(dtype, copy=False)
    return X.astype(dtype) if issparse(X) else np.ascontiguousarray(X, dtype)


def forward(model: Model, X: Any) -> tuple[Reference, list[Any]]:
    """The network after a forward pass of the rows X, and the outputs of all its levels, from X to the last."""
    reference = reference_of(model)
    X = rows_of(model, X, reference.buffers.weights[0].dtype)
    last = reference.predict(X)
    return reference, [X, *(A[:, :-1] for A in reference.buffers.outputs[1:-1]), last]
