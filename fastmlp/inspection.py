"""Looking inside a network: what its layers hold, whether its gradients are right, where its signal fades away.

A model is a fitted estimator, or a `Network` or a `Reference` as it stands, before its training, say; with these two,
y is what the loss takes, class codes or a matrix, and there is no penalty. Tables print themselves; ``table["mean"]``
is a column of one, ``table[0]`` a row.

>>> from fastmlp.inspection import summary
>>> summary((784, 500, 500, 500, 500, 100))
layer  activation      shape    weights  biases      bytes  operations per row
    1  –           784 × 500    392,000     500  3,140,000             784,000
    2  –           500 × 500    250,000     500  2,004,000             500,000
    3  –           500 × 500    250,000     500  2,004,000             500,000
    4  –           500 × 500    250,000     500  2,004,000             500,000
    5  –           500 × 100     50,000     100    400,800             100,000
total                         1,192,000   2,100  9,552,800           2,384,000
"""

from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .core.network import Network
from .estimators import MLPClassifier, MLPRegressor
from .estimators.validation import checked_weights
from .optimizers import OPTIMIZERS
from .reference import Reference, output_delta

Estimator = MLPClassifier | MLPRegressor
Model = Estimator | Network | Reference

# The step of a central difference, relative to x, at which its two errors are of one size: that of the formula grows
# with step², that of rounding with 1 / step.
STEP = float(np.finfo(np.float64).eps ** (1 / 3))


# --- tables -----------------------------------------------------------------------------------------------------------


class Table(Sequence[Any]):
    """Rows with named fields, which print as an aligned table.

    Parameters
    ----------
    rows : list of named tuples

    Attributes
    ----------
    formats : dict
        The fields to show, each with the format of its numbers; ``"<"`` is for text, which stands at the left. A field
        of which all values are None is left out.
    """

    formats: dict[str, str] = {}

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        """A row by its number, or a column by its name."""
        return [getattr(row, key) for row in self.rows] if isinstance(key, str) else self.rows[key]

    def __repr__(self) -> str:
        columns = []
        for name, form in self.formats.items():
            values = [getattr(row, name) for row in self.shown()]
            if any(value is not None for value in values):
                cells = [name.replace("_", " "), *("–" if v is None else f"{v:{form}}" for v in values)]
                width = max(map(len, cells))
                columns.append([cell.ljust(width) if form == "<" else cell.rjust(width) for cell in cells])
        return "\n".join("  ".join(line).rstrip() for line in zip(*columns))

    def shown(self) -> list[Any]:
        """The rows to print."""
        return self.rows


# --- the parts of a model ---------------------------------------------------------------------------------------------


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
    """
    parts = _network_of(model, folded) if isinstance(model, Estimator) else model
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
        own.number, own.gain, own.shift, own.mean, own.variance = values.astype(coefs[0].dtype)
    return reference


def _network_of(model: Estimator, folded: bool) -> Network:
    """The network of a fitted estimator."""
    check_is_fitted(model)
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


def _rows(model: Model, X: Any, dtype: Any) -> Any:
    """X, checked as the model does it."""
    if isinstance(model, Estimator):
        return model._check_rows(X)[0].astype(dtype, copy=False)
    return X.astype(dtype) if issparse(X) else np.ascontiguousarray(X, dtype)


class Objective:
    """What the training of a model descends: the loss of all rows with the penalty, in float64.

    loss = sum of the rows' losses / n_rows + (alpha / 2 ||W||² + l1 ||W||_1) / n_rows, with the sum of the weights in
    place of n_rows where rows have weights. Losses of an error (squared, absolute ...) are a mean over the outputs,
    but scikit-learn's gradient is that of their sum over the outputs. What training descends is therefore the sum; it
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
            self.y, by_class = targets.values, model._class_weights(targets, incremental=False)
        else:
            codes = self.reference.loss.takes_codes(self.reference.output)
            self.X, by_class = _rows(model, X, np.float64), None
            y = np.ascontiguousarray(y, np.int64 if codes else np.float64)
            self.y = y if codes else y.reshape(len(y), -1)
        weights = checked_weights(sample_weight, self.X)
        if by_class is not None:
            weights = checked_weights(by_class if weights is None else by_class * weights, self.X)
        self.sample_weight = weights

    def parameters(self) -> list[dict[str, np.ndarray]]:
        """All that is learned, by name, for each layer; whoever writes to the arrays changes the loss."""
        reference, found = self.reference, []
        for W, component, unit_parameters in zip_longest(
            reference.buffers.weights, reference.activations, reference.buffers.unit_parameters[1:]
        ):
            arrays = {"coefs": W[:-1], "intercepts": W[-1]}
            if component is not None and component.learned:
                arrays["slopes"] = unit_parameters.number
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
            optimizer="gradient",
            output=reference.output,
            normalization=reference.normalization,
            sparse=issparse(self.X),
        )
        network.set_weights(*reference.weights())
        network.set_unit_parameters(reference.unit_parameters())
        with network.session(self.X, self.y, self.sample_weight, batch_size=n_rows) as session:
            _, coefs, intercepts = session.gradient(alpha=self.alpha, l1=self.l1)
        found = [{"coefs": G, "intercepts": g} for G, g in zip(coefs, intercepts)]
        if network.has_unit_parameters:
            ((*_, learned),) = network.take_states()
            for arrays, first, n in zip(found, network.layout.units_at[1:], network.units[1:-1]):
                arrays |= zip(("slopes", "gains", "shifts"), learned[:, first : first + n])
        return found


# --- gradients, checked -----------------------------------------------------------------------------------------------


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

    gradient = np.empty_like(x)
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
        return max(self["relative_error"])


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
    """Compare the gradient that training descends with central differences of the loss.

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


# --- what a network is made of ----------------------------------------------------------------------------------------


class LayerSummary(NamedTuple):
    """What one layer is made of.

    Attributes
    ----------
    layer : from 1, or "total"; activation : above it
    shape : (n_below, n_above), as a text
    weights, biases : how many; unit parameters : how many learned slopes, gains and shifts, None without any
    bytes : of all these
    operations_per_row : multiplications and additions of one prediction, one each for every weight
    """

    layer: int | str
    activation: str | None
    shape: str
    weights: int
    biases: int
    unit_parameters: int | None
    bytes: int
    operations_per_row: int


class Summary(Table):
    """Rows of `LayerSummary`, and their sum as ``total``. Training takes about three times as many operations."""

    formats = {
        "layer": "",
        "activation": "<",
        "shape": "",
        "weights": ",",
        "biases": ",",
        "unit_parameters": ",",
        "bytes": ",",
        "operations_per_row": ",",
    }

    @property
    def total(self) -> LayerSummary:
        """The sum over the layers."""
        fields = "weights", "biases", "bytes", "operations_per_row"
        sums = {name: sum(self[name]) for name in fields}
        unit_parameters = sum(n for n in self["unit_parameters"] if n) or None
        return LayerSummary(layer="total", activation="", shape="", unit_parameters=unit_parameters, **sums)

    def shown(self) -> list[Any]:
        return [*self.rows, self.total]


def summary(model: Model | Sequence[int], dtype: Any = np.float64) -> Summary:
    """Shapes, parameters, bytes and operations of each layer.

    Parameters
    ----------
    model : fitted estimator, Network or Reference; or units (n_features, hidden units ..., n_outputs)
    dtype : dtype, default=float64
        Of the parameters, where only units are given.
    """
    if isinstance(model, Sequence):
        units, learned = tuple(model), [0] * len(model)
        names: Sequence[str | None] = [None] * len(model)
    else:
        reference = reference_of(model, folded=False)
        units, names = units_of(reference), names_of(reference)
        dtype = reference.buffers.weights[0].dtype
        by_normalization = 0 if reference.normalization is None else 2
        learned = [
            n * (component.learned + by_normalization) for n, component in zip(units[1:], reference.activations)
        ] + [0]
    size = np.dtype(dtype).itemsize
    return Summary(
        [
            LayerSummary(
                layer=layer,
                activation=names[layer],
                shape=f"{below} × {above}",
                weights=below * above,
                biases=above,
                unit_parameters=unit_parameters if any(learned) else None,
                bytes=size * (below * above + above + unit_parameters),
                operations_per_row=2 * below * above,
            )
            for layer, ((below, above), unit_parameters) in enumerate(zip(pairwise(units), learned), 1)
        ]
    )


# --- what flows through it --------------------------------------------------------------------------------------------


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


def forward(model: Model, X: Any) -> tuple[Reference, list[Any]]:
    """The network after a forward pass of the rows X, and the outputs of all its levels, from X to the last."""
    reference = reference_of(model)
    X = _rows(model, X, reference.buffers.weights[0].dtype)
    last = reference.predict(X)
    return reference, [X, *(A[:, :-1] for A in reference.buffers.outputs[1:-1]), last]


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


# --- what happens in training -----------------------------------------------------------------------------------------


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

    if estimator.n_estimators > 1 or estimator.solver == "lbfgs":
        raise ValueError(
            "estimator must be one network, n_estimators=1, whose solver takes steps, such as 'adam' or 'sgd'; got "
            f"n_estimators={estimator.n_estimators} and solver={estimator.solver!r}."
        )
    clone(estimator).set_params(metrics={"gradient": note}).fit(X, y, **fit_parameters)
    return np.array(norms)


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
