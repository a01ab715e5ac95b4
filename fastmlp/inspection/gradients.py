"""Gradients: of a training's loss, checked against differences of it; and where an optimizer goes with them."""

from collections.abc import Callable
from itertools import zip_longest
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state

from ..core.network import Network
from ..estimators.data import checked_weights, with_class_weights
from ..optimizers import OPTIMIZERS
from ..reference import output_delta
from .models import Estimator, Model, reference_of, rows_of, units_of
from .tables import Table

__all__ = [
    "STEP",
    "GradientCheck",
    "GradientRow",
    "Objective",
    "check_gradients",
    "numerical_gradient",
    "optimizer_path",
]

# The step of a central difference, relative to x, at which its two errors are of one size: that of the formula grows
# with step², that of rounding with 1 / step.
STEP = float(np.finfo(np.float64).eps ** (1 / 3))


class Objective:
    """What the training of a model minimizes: the loss of all rows with the penalty, in float64.

    loss = sum of the rows' losses / n_rows + (alpha / 2 ||W||² + l1 ||W||_1) / n_rows, with the sum of the weights in
    place of n_rows where rows have weights. Losses of an error (squared, absolute ...) are a mean over the outputs,
    but scikit-learn's gradient is that of their sum over the outputs. What training minimizes is therefore the sum; it
    is counted here. Dropout and augmentation are off; normalization over the batch takes X as the batch.

    Parameters
    ----------
    model : fitted estimator, Network or Reference
    X, y, sample_weight : as `fit` takes them; for the latter two models as `Network.session` does
    """

    def __init__(self, model: Model, X: Any, y: Any, sample_weight: Any = None) -> None:
        self.reference = reference_of(model, np.float64, folded=False)
        self.alpha, self.l1 = float(getattr(model, "alpha", 0)), float(getattr(model, "l1", 0))
        if isinstance(model, Estimator):
            self.X, targets = model._check_validation_data(X, y, np.float64)
            self.y = targets.values
            weights = checked_weights(sample_weight, self.X)
            self.sample_weight = with_class_weights(weights, getattr(model, "class_weight", None), targets, self.X)
        else:
            codes = self.reference.loss.takes_codes(self.reference.output)
            self.X = rows_of(model, X, np.float64)
            y = np.ascontiguousarray(y, np.int64 if codes else np.float64)
            self.y = y if codes else y.reshape(len(y), -1)
            self.sample_weight = checked_weights(sample_weight, self.X)

    def parameters(self) -> list[dict[str, np.ndarray]]:
        """All that is learned, by name, for each layer; whoever writes to the arrays changes the loss."""
        reference, found = self.reference, []
        for W, component, unit_parameters in zip_longest(
            reference.buffers.weights, reference.activations, reference.buffers.unit_parameters[1:]
        ):
            arrays = {"coefs": W[:-1], "intercepts": W[-1]}
            if component is not None and component.learned:
                arrays["slopes"] = unit_parameters.hyperparameter
            if component is not None and reference.normalization is not None:
                arrays |= {"gains": unit_parameters.gain, "shifts": unit_parameters.shift}
            found.append(arrays)
        return found

    def loss(self) -> float:
        """The loss at the present parameters, by a forward pass in NumPy."""
        reference, rows = self.reference, slice(0, self.X.shape[0])
        data = SimpleNamespace(
            inputs=self.X, targets=self.y, order=np.arange(rows.stop), sample_weight=self.sample_weight
        )
        reference.forward(data, rows, seed=0)
        output_delta(reference.layout, data, (reference.loss, reference.output), rows, reference.buffers)
        coefs = reference.weights()[0]
        penalty = sum(self.alpha / 2 * (W**2).sum() + self.l1 * abs(W).sum() for W in coefs)
        summed = reference.buffers.losses.sum() / reference.loss.row_scale(coefs[-1].shape[1])
        return float((summed + penalty) / (rows.stop if self.sample_weight is None else self.sample_weight.sum()))

    def gradients(self) -> list[dict[str, np.ndarray]]:
        """Its gradient by all `parameters`, from the compiled passes that train."""
        reference, n_rows = self.reference, self.X.shape[0]
        network = Network(
            units_of(reference),
            dtype=np.float64,
            activation=reference.activations,
            loss=reference.loss,
            optimizer="gradient_descent",  # which has no states
            output=reference.output,
            normalization=reference.normalization,
            sparse=issparse(self.X),
        )
        network.set_weights(*reference.weights())
        network.set_unit_parameters(reference.unit_parameters())
        with network.session(self.X, self.y, self.sample_weight, batch_size=n_rows) as session:
            _, gradient = session.gradient(alpha=self.alpha, l1=self.l1)
        found = [{"coefs": G, "intercepts": g} for G, g in zip(gradient.coefs, gradient.intercepts)]
        for arrays, learned in zip(found, gradient.unit_parameters):
            arrays |= zip(("slopes", "gains", "shifts"), learned)
        return found


def numerical_gradient(f: Callable[[np.ndarray], Any], x: Any, eps: float = STEP) -> np.ndarray:
    """df/dx_i = (f(x + h e_i) - f(x - h e_i)) / 2h, with h = eps max(1, |x_i|): central differences.

    Parameters
    ----------
    f : callable
        From a float64 array of the shape of x to one number. It must look at its argument: x itself never changes.
    x : array-like of any shape
    eps : float, default=6.06e-6
        The cube root of float64's epsilon: the error is then about 1e-10 of f's own size.

    Returns
    -------
    gradient : float64 ndarray of the shape of x

    Raises
    ------
    ValueError
        If f returns more than one number, or eps is not above 0.

    Source: Press, Teukolsky, Vetterling and Flannery, "Numerical recipes" (2007), section 5.7.
    """
    if not eps > 0:
        raise ValueError(f"eps must be above 0; got {eps!r}.")
    x = np.array(x, np.float64)

    def value(index: tuple[int, ...], number: float) -> float:
        moved = x.copy()
        moved[index] = number
        result = np.asarray(f(moved))
        if result.size != 1:
            raise ValueError(f"f must return one number; got an array of shape {result.shape}.")
        return float(result.item())

    gradient: np.ndarray = np.empty_like(x)
    for index in np.ndindex(x.shape):
        step = eps * max(1.0, abs(x[index]))
        above, below = x[index] + step, x[index] - step
        gradient[index] = (value(index, above) - value(index, below)) / (above - below)
    return gradient


class GradientRow(NamedTuple):
    """How well the gradient by one array of parameters agrees.

    Attributes
    ----------
    layer : from 1; parameter : "coefs", "intercepts", "slopes", "gains" or "shifts"
    checked : how many numbers of the array
    largest : |analytic|, at most; difference : |analytic - numerical|, at most
    relative_error : ||analytic - numerical|| / (||analytic|| + ||numerical||), the norms below being those of the whole
        layer, or the loss where that is larger and rounding explains the difference
    indices : positions of the checked numbers in the flat array
    analytic, numerical : derivatives by them
    """

    layer: int
    parameter: str
    checked: int
    largest: float
    difference: float
    relative_error: float
    indices: np.ndarray
    analytic: np.ndarray
    numerical: np.ndarray


class GradientCheck(Table):
    """Rows of `GradientRow`."""

    formats = {
        "layer": "",
        "parameter": "<",
        "checked": ",",
        "largest": ".2e",
        "difference": ".1e",
        "relative_error": ".1e",
    }

    @property
    def relative_error(self) -> float:
        """The largest one."""
        largest: float = max(self["relative_error"])
        return largest


def check_gradients(
    model: Model,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    eps: float = STEP,
    max_numbers: int | None = 100,
    random_state: Any = 0,
) -> GradientCheck:
    """Compare the gradient that training uses with central differences of the loss.

    The gradient comes from the compiled passes, the loss from a forward pass in NumPy, both in float64 and with the
    penalty; see `Objective` for what the loss of several outputs is. A handful of rows is enough.

    An error of 1e-7 or less is agreement, 1e-3 or more a mistake. Between them it may be a kink: where a relu's z lies
    within a step of 0 for some row, or an error of the absolute loss does, no derivative exists. Of a gradient that has
    vanished, below 1e-9 of the loss, differences see nothing but rounding.

    Parameters
    ----------
    model : fitted estimator, Network or Reference
    X, y, sample_weight : data, as `fit` takes them
    eps : step of the differences, see `numerical_gradient`
    max_numbers : int or None, default=100
        Numbers to check of each array, drawn at random; None for all.
    random_state : int, RandomState or None, default=0
        Of that draw.

    Returns
    -------
    check : GradientCheck
        A row for each array; ``check.relative_error`` is the largest.
    """
    objective, stream = Objective(model, X, y, sample_weight), check_random_state(random_state)
    loss, rows = abs(objective.loss()), []
    rounding = 10 * np.finfo(np.float64).eps * loss / eps
    for layer, (arrays, gradients) in enumerate(zip(objective.parameters(), objective.gradients()), 1):
        compared = []
        for name, array in arrays.items():
            count = array.size if max_numbers is None else min(max_numbers, array.size)
            indices = np.sort(stream.choice(array.size, count, replace=False))
            numerical = _numerical_part(objective, array, indices, eps)
            compared.append((name, indices, gradients[name].flat[indices], numerical))
        size = sum(np.linalg.norm(np.concatenate([row[side] for row in compared])) for side in (2, 3))
        for name, indices, analytic, numerical in compared:
            difference = abs(analytic - numerical)
            scale = size if difference.max() > rounding else max(size, loss)
            error = np.linalg.norm(difference) / scale if scale else 0.0
            numbers = float(abs(analytic).max()), float(difference.max()), float(error)
            rows.append(GradientRow(layer, name, len(indices), *numbers, indices, analytic, numerical))
    return GradientCheck(rows)


def _numerical_part(objective: Objective, array: np.ndarray, indices: np.ndarray, eps: float) -> np.ndarray:
    """The numerical gradient by some numbers of an array of parameters."""
    before = array.flat[indices]

    def loss_of(numbers: np.ndarray) -> float:
        array.flat[indices] = numbers
        return objective.loss()

    gradient = numerical_gradient(loss_of, before, eps)
    array.flat[indices] = before
    return gradient


def optimizer_path(
    f: Callable[[np.ndarray], Any], start: Any, optimizer: Any, *, learning_rate: float, n_steps: int = 30
) -> np.ndarray:
    """Where an optimizer goes on a function of a few variables, by its numerical gradient.

    Parameters
    ----------
    f : callable, from a vector to a number
    start : array-like of shape (n_variables,)
    optimizer : name or component of `fastmlp.optimizers`
    learning_rate : float
    n_steps : int, default=30

    Returns
    -------
    path : ndarray of shape (n_steps + 1, n_variables), from the start on
    """
    component, w = OPTIMIZERS.resolve(optimizer), np.array(start, np.float64)
    states, path = [np.zeros_like(w)] * component.states, [w]
    for scalars in component.scalars(np.arange(1.0, n_steps + 1), np.full(n_steps, float(learning_rate))):
        w, *states = component.formula(scalars, numerical_gradient(f, w), w, *states)
        path.append(w)
    return np.array(path)
