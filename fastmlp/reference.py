"""A multi-layer perceptron in NumPy: the passes of training, each a few lines of whole-array mathematics.

Start reading here. The core holds the same passes with the same names and arguments, compiled, for the part of the work
that one thread owns. Here a pass takes everything at once, so that some arguments, such as the thread's `rank`, serve
no purpose.

Notation: a network of units (n_0, ..., n_L) has layers l = 0 ... L - 1, each with a matrix W of shape
(n_l + 1, n_(l+1)) whose last row is the bias. A batch of m rows runs upward as outputs A_0 ... A_L,

    Z = A_below W[:-1] + W[-1],    A_above = f(Z),

and back down as deltas, the derivatives of the loss by Z (Rumelhart, Hinton and Williams, "Learning representations by
back-propagating errors", Nature 323, 1986):

    delta_below = (delta W[:-1]^T) * f'(Z_below),    dW = [A_below, 1]^T delta.

A network of 2 inputs, 4 hidden units and 2 classes learns the exclusive or from its four rows:

>>> X, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
>>> random = np.random.default_rng(0)
>>> coefs = [random.normal(size=(2, 4)), random.normal(size=(4, 2))]
>>> intercepts = [np.zeros(4), np.zeros(2)]
>>> network = Reference(coefs, intercepts, activation="tanh", loss="log_loss", optimizer="gradient_descent")
>>> for epoch in range(300):
...     loss = network.epoch(X, y, order=np.arange(4), batch_size=4, learning_rate=0.5)
>>> network.predict(X).argmax(axis=1)
array([0, 1, 1, 0])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import sparse

from .activations import ACTIVATIONS, Activation
from .losses import LOSSES, Loss, output_formula
from .normalizations import BatchNormalization, LayerNormalization
from .optimizers import BIASES, FIRST_LAYER, GROUPS, NORMALIZATION, OPTIMIZERS, SLOPES, WEIGHTS, Optimizer
from .trainable import Parameters

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Reference", "ReferenceSession"]

ALL, GRADIENT, STEP = range(3)  # phases of an update
UNIT_PARAMETERS = "hyperparameter", "gain", "shift", "mean", "variance"
LEARNED = UNIT_PARAMETERS[:3]

Normalization: TypeAlias = BatchNormalization | LayerNormalization

# What the passes of the core take as records:
Layout: TypeAlias = SimpleNamespace  # layers
Data: TypeAlias = SimpleNamespace  # inputs, targets, order, sample_weight; predictions
Scalars: TypeAlias = SimpleNamespace  # settings, share, scale, optimizer_scalars
Blocks: TypeAlias = SimpleNamespace  # phase


@dataclass
class UnitParameters:
    """What the units of a level have beside weights: arrays of shape (n_units,); see `Parameters`."""

    hyperparameter: np.ndarray
    gain: np.ndarray
    shift: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass
class Buffers:
    """All that a training keeps: arrays of each layer, each level, each (level, learned unit parameter)."""

    weights: list[np.ndarray]
    states: list[list[np.ndarray]]  # of the optimizer, each like the weights
    gradient: list[np.ndarray]
    penalties: list[float]
    norms: list[float]
    outputs: list[np.ndarray]  # with a last column of ones; of level 0 sparse where X is
    deltas: list[np.ndarray]
    saved: list[SimpleNamespace]  # what the forward pass of a level keeps for the backward pass
    unit_parameters: list[UnitParameters]
    unit_parameter_gradient: dict[tuple[int, str], np.ndarray]
    unit_parameter_states: dict[tuple[int, str], list[np.ndarray]]
    losses: np.ndarray


def gather(layout: Layout, data: Data, span: slice, buffers: Buffers) -> None:
    """A_0 = X[order]: the rows of the batch, of shape (m, n_features), with a last column of ones for the bias."""
    X = data.inputs[data.order[span]]
    ones = np.ones((X.shape[0], 1), X.dtype)
    buffers.outputs[0] = sparse.hstack([X, ones], "csr") if sparse.issparse(X) else np.hstack([X, ones])


def affine_forward(layout: Layout, layer: int, activation: Activation, span: slice, buffers: Buffers) -> None:
    """A_above = f([A_below, 1] W). The slope f'(Z) waits where delta will be: the backward pass needs no more of f."""
    buffers.outputs[layer + 1] = with_ones(buffers.outputs[layer] @ buffers.weights[layer])
    activate(layout, layer + 1, activation, activation.learned, span, buffers)


def with_ones(A: np.ndarray) -> np.ndarray:
    """[A, 1]: a last column of ones, which brings the bias."""
    return np.column_stack([A, np.ones(len(A), A.dtype)])


def activate(layout: Layout, level: int, activation: Activation, learned: bool, span: slice, buffers: Buffers) -> None:
    """A = f(Z), and the slope f'(Z)."""
    Z = buffers.outputs[level][:, :-1]
    component: Any = with_learned_slopes(level, Z, buffers) if learned else activation
    A, buffers.deltas[level] = type(activation).formula(component, Z)
    buffers.outputs[level] = with_ones(A)


def affine_backward(layout: Layout, layer: int, learned: bool, span: slice, buffers: Buffers) -> None:
    """delta_below = (delta W^T) * f'(Z_below): a unit below acts on the loss through all units that it feeds.

    Where units below learn the slope of their activation, dL/dA dA/da is kept for its gradient.
    """
    product = buffers.deltas[layer + 1] @ buffers.weights[layer][:-1].T
    if learned:
        buffers.saved[layer].hyperparameter = buffers.saved[layer].hyperparameter * product
    buffers.deltas[layer] = product * buffers.deltas[layer]


def affine_gradient(layout: Layout, layer: int, blocks: Blocks, buffers: Buffers) -> None:
    """G = G + [A_below, 1]^T delta: the gradient of the summed loss, for a batch that comes in several parts."""
    buffers.gradient[layer] = buffers.gradient[layer] + buffers.outputs[layer].T @ buffers.deltas[layer + 1]


def affine_update(
    layout: Layout, layer: int, optimizer: Optimizer, scalars: Scalars, blocks: Blocks, buffers: Buffers
) -> None:
    """g = (G + alpha W + l1 sign W) / sum of the row weights, clipped; then one optimizer step on W with g.

    Biases have no penalty: alpha = l1 = 0. Keeps the penalty alpha/2 ||W||^2 + l1 ||W||_1 of the weights before the
    step, for the loss. Clipping by the norm of the whole gradient takes two phases, as in the core: GRADIENT leaves g
    and its squares, STEP goes on from there with g scaled; ALL is both.
    """
    W, settings = buffers.weights[layer], scalars.settings
    if blocks.phase != STEP:
        penalized = W.copy()
        penalized[-1] = 0
        squares, absolutes = (penalized**2).sum(), np.abs(penalized).sum()
        buffers.penalties[layer] = 0.5 * settings.alpha * squares + settings.l1 * absolutes
        g = (buffers.gradient[layer] + settings.alpha * penalized + settings.l1 * np.sign(penalized)) * scalars.share
        buffers.gradient[layer] = np.clip(g, -settings.clip_value, settings.clip_value)
        buffers.norms[layer] = (buffers.gradient[layer].astype(float) ** 2).sum()
    if blocks.phase != GRADIENT:
        g, states = buffers.gradient[layer] * scalars.scale, [state[layer] for state in buffers.states]
        parts = [
            optimizer.formula(scalars.optimizer_scalars[group], g[rows], W[rows], *(state[rows] for state in states))
            for group, rows in ((FIRST_LAYER if layer == 0 else WEIGHTS, slice(0, -1)), (BIASES, slice(-1, None)))
        ]
        buffers.weights[layer], *new = map(np.vstack, zip(*parts))
        for state, values in zip(buffers.states, new):
            state[layer] = values
        buffers.gradient[layer] = np.zeros_like(g)


# --- the top ----------------------------------------------------------------------------------------------------------


def output_delta(layout: Layout, data: Data, loss: tuple[Loss, str], span: slice, buffers: Buffers) -> None:
    """The loss of each row, and delta = dloss/dZ at the top: prediction - target for every canonical pair of both.

    A row's sample weight multiplies its loss, hence its delta. `loss` is a pair (component, output activation).
    """
    Z = buffers.outputs[layout.layers][:, :-1]
    component, output = loss
    buffers.losses, delta = component.formula(output, Z, data.targets[data.order[span]])
    if data.sample_weight is not None:
        weight = data.sample_weight[data.order[span]]
        buffers.losses, delta = buffers.losses * weight, delta * weight[:, None]
    buffers.deltas[layout.layers] = delta


def predict(layout: Layout, data: Data, loss: tuple[Loss, str], span: slice, buffers: Buffers) -> None:
    """Y = g(Z), the output activation of each row, of shape (n_rows, n_outputs) for all of them."""
    data.predictions[span] = output_formula(loss[1], buffers.outputs[layout.layers][:, :-1])


# --- whole units and whole rows: normalization, learned slopes, dropout -----------------------------------------------


def layer_normalize(layout: Layout, level: int, epsilon: float, span: slice, buffers: Buffers) -> None:
    """X = (Z - mean) / sqrt(variance + epsilon) over the units of each row; Z = gain X + shift. X is kept."""
    Z, own, saved = buffers.outputs[level][:, :-1], buffers.unit_parameters[level], buffers.saved[level]
    mean, variance = Z.mean(axis=1, keepdims=True), Z.var(axis=1, keepdims=True)
    saved.scale = 1 / np.sqrt(variance + Z.dtype.type(epsilon))
    saved.gain = (Z - mean) * saved.scale
    buffers.outputs[level] = with_ones(saved.gain * own.gain + own.shift)


def layer_backward(layout: Layout, level: int, span: slice, buffers: Buffers) -> None:
    """delta = scale (d - mean(d) - X mean(d X)), d = delta gain: the mean and the variance depend on Z
    too. Means over the units. Keeps delta X and delta, whose sums over the rows are the gradients of gain and
    shift.
    """
    delta, saved = buffers.deltas[level], buffers.saved[level]
    X, d = saved.gain, delta * buffers.unit_parameters[level].gain
    centred = d - d.mean(axis=1, keepdims=True) - X * (d * X).mean(axis=1, keepdims=True)
    buffers.deltas[level] = saved.scale * centred
    saved.gain, saved.shift = delta * X, delta


def batch_statistics(
    layout: Layout, level: int, scalars: Scalars, rows: int, rank: int, n_threads: int, buffers: Buffers
) -> None:
    """Mean and 1 / sqrt(variance + epsilon) of each unit over the rows; running ones follow.

    The running variance is that of the population, n / (n - 1) times the batch's; a single row has none.
    """
    Z, own, saved = buffers.outputs[level][:, :-1], buffers.unit_parameters[level], buffers.saved[level]
    saved.mean, variance = Z.mean(axis=0), Z.var(axis=0)
    saved.scale = 1 / np.sqrt(variance + Z.dtype.type(scalars.settings.epsilon))
    if rows > 1:
        share = Z.dtype.type(scalars.settings.momentum)
        population = variance * Z.dtype.type(rows / (rows - 1))
        own.mean = own.mean + share * (saved.mean - own.mean)
        own.variance = own.variance + share * (population - own.variance)


def running_statistics(layout: Layout, level: int, epsilon: float, buffers: Buffers) -> None:
    """The statistics for predictions: those of training, as they ran."""
    own, saved = buffers.unit_parameters[level], buffers.saved[level]
    saved.mean, saved.scale = own.mean, 1 / np.sqrt(own.variance + own.variance.dtype.type(epsilon))


def batch_normalize(layout: Layout, level: int, span: slice, buffers: Buffers) -> None:
    """X = (Z - mean) / sqrt(variance + epsilon) for each unit; Z = gain X + shift. X is kept."""
    Z, own, saved = buffers.outputs[level][:, :-1], buffers.unit_parameters[level], buffers.saved[level]
    saved.gain = (Z - saved.mean) * saved.scale
    buffers.outputs[level] = with_ones(saved.gain * own.gain + own.shift)


def batch_sums(layout: Layout, level: int, rows: int, rank: int, n_threads: int, buffers: Buffers) -> None:
    """The gradients of gains and shifts: sums of delta X and of delta over the rows."""
    delta, X = buffers.deltas[level], buffers.saved[level].gain
    buffers.unit_parameter_gradient[level, "gain"] = (delta * X).sum(axis=0)
    buffers.unit_parameter_gradient[level, "shift"] = delta.sum(axis=0)


def batch_backward(layout: Layout, level: int, span: slice, buffers: Buffers) -> None:
    """delta = gain (delta - mean(delta) - X mean(delta X)) scale; means over the rows, as `batch_sums` has them."""
    delta, saved, G = buffers.deltas[level], buffers.saved[level], buffers.unit_parameter_gradient
    centred = delta - (G[level, "shift"] + saved.gain * G[level, "gain"]) / delta.dtype.type(len(delta))
    buffers.deltas[level] = centred * buffers.unit_parameters[level].gain * saved.scale


def with_learned_slopes(level: int, Z: np.ndarray, buffers: Buffers) -> Any:
    """What the formula of PReLU takes: a slope a for each unit. dA/da = min(Z, 0) is saved for later."""
    buffers.saved[level].hyperparameter = np.minimum(Z, 0)
    return SimpleNamespace(slope=buffers.unit_parameters[level].hyperparameter)


def unit_parameter_gradient(
    layout: Layout,
    level: int,
    unit_parameter: str,
    rows: int,
    accumulate: bool,
    rank: int,
    n_threads: int,
    buffers: Buffers,
) -> None:
    """G = G + sums over the rows of what they give to the gradient of a learned unit parameter."""
    before = buffers.unit_parameter_gradient.get((level, unit_parameter), 0) if accumulate else 0
    sums = getattr(buffers.saved[level], unit_parameter).sum(axis=0)
    buffers.unit_parameter_gradient[level, unit_parameter] = before + sums


def scale_unit_gradient(
    layout: Layout, level: int, unit_parameter: str, scalars: Scalars, rank: int, n_threads: int, buffers: Buffers
) -> None:
    """G -> g = G / sum of the row weights, clipped."""
    clip, G = scalars.settings.clip_value, buffers.unit_parameter_gradient
    G[level, unit_parameter] = np.clip(G[level, unit_parameter] * scalars.share, -clip, clip)


def unit_parameter_squares(layout: Layout, buffers: Buffers) -> float:
    """Sum of squares of the gradients of all learned unit parameters."""
    squares: float = sum((g.astype(float) ** 2).sum() for g in buffers.unit_parameter_gradient.values())
    return squares


def unit_parameter_update(
    layout: Layout,
    level: int,
    unit_parameter: str,
    optimizer: Optimizer,
    scalars: Scalars,
    rank: int,
    n_threads: int,
    buffers: Buffers,
) -> None:
    """One optimizer step on a learned unit parameter of all units of a level."""
    own, states = buffers.unit_parameters[level], buffers.unit_parameter_states
    g = buffers.unit_parameter_gradient[level, unit_parameter] * scalars.scale
    before = states.get((level, unit_parameter), [np.zeros_like(g)] * optimizer.states)
    step_scalars = scalars.optimizer_scalars[SLOPES if unit_parameter == "hyperparameter" else NORMALIZATION]
    value, *states[level, unit_parameter] = optimizer.formula(step_scalars, g, getattr(own, unit_parameter), *before)
    setattr(own, unit_parameter, value)


def drop(layout: Layout, level: int, keep: float, learned: bool, seed: int, span: slice, buffers: Buffers) -> None:
    """Each output is 0 with probability 1 - keep, else divided by keep; so are its slopes (Srivastava et al. 2014).

    The random bits of an output are a function of (seed, level, position of the row, unit).
    """
    A = buffers.outputs[level][:, :-1]
    stream = scrambled(scrambled(np.uint32(seed)) + np.uint32(level))
    rows = scrambled(stream + np.arange(span.start, span.stop, dtype=np.uint32))
    bits = scrambled(rows[:, None] + np.arange(A.shape[1], dtype=np.uint32))
    kept = (bits >> np.uint32(8)) * A.dtype.type(2.0**-24) < A.dtype.type(keep)
    factor = np.where(kept, A.dtype.type(1 / keep), A.dtype.type(0))
    buffers.outputs[level] = with_ones(A * factor)
    if level:
        buffers.deltas[level] = buffers.deltas[level] * factor
    if learned:
        buffers.saved[level].hyperparameter = buffers.saved[level].hyperparameter * factor


def scrambled(n: np.ndarray) -> np.ndarray:
    """Bits that look random, as a function of 32-bit integers (C. Wellons, "Prospecting for Hash Functions", 2018)."""
    with np.errstate(over="ignore"):
        n = n ^ (n >> np.uint32(16))
        n = n * np.uint32(0x7FEB352D)
        n = n ^ (n >> np.uint32(15))
        n = n * np.uint32(0x846CA68B)
        bits: np.ndarray = n ^ (n >> np.uint32(16))
        return bits


def limit_norms(layout: Layout, limit: float, rank: int, n_threads: int, buffers: Buffers) -> None:
    """The weights into a unit are scaled down to the norm `limit`, without the bias (Srivastava et al. 2014, 5.1)."""
    for W in buffers.weights:
        norms = np.sqrt((W[:-1] ** 2).sum(axis=0))
        W[:-1] *= np.where(norms > limit, limit / np.maximum(norms, limit), 1).astype(W.dtype)


# --- the network ------------------------------------------------------------------------------------------------------


class Reference:
    """A perceptron that trains by the passes above; the same parameters and batches as `Network`.

    Parameters
    ----------
    coefs, intercepts : lists of ndarrays of shapes (n_below, n_above) and (n_above,)
    activation, loss, optimizer, output, normalization, dropout, rate_factors : as of `Network`
    """

    def __init__(
        self,
        coefs: Sequence[np.ndarray],
        intercepts: Sequence[np.ndarray],
        *,
        activation: str | Activation | Sequence[str | Activation],
        loss: str | Loss,
        optimizer: str | Optimizer,
        output: str | None = None,
        normalization: Normalization | None = None,
        dropout: Sequence[float] | None = None,
        rate_factors: Mapping[Any, float] | None = None,
    ) -> None:
        weights = [np.vstack([W, b]) for W, b in zip(coefs, intercepts, strict=True)]
        layers, dtype = len(weights), weights[0].dtype
        names = activation if isinstance(activation, list | tuple) else [activation] * (layers - 1)
        self.activations = [*map(ACTIVATIONS.resolve, names)]
        self.loss, self.optimizer = LOSSES.resolve(loss), OPTIMIZERS.resolve(optimizer)
        self.output = output or self.loss.outputs[0]
        self.normalization, self.rate_factors = normalization, dict(rate_factors or {})
        self.keep = 1 - np.array(dropout if dropout is not None else [0.0] * layers)
        self.layout = Layout(layers=layers)
        units = [0, *(W.shape[1] for W in weights[:-1])]
        ones = [np.ones(n, dtype) for n in units]
        zeros = [np.zeros(n, dtype) for n in units]
        self.buffers = Buffers(
            weights=weights,
            states=[[np.zeros_like(W) for W in weights] for _ in range(self.optimizer.states)],
            gradient=[np.zeros_like(W) for W in weights],
            penalties=[0.0] * layers,
            norms=[0.0] * layers,
            outputs=[np.empty((0, 0), dtype)] * (layers + 1),
            deltas=[np.empty((0, 0), dtype)] * (layers + 1),
            saved=[SimpleNamespace() for _ in units],
            unit_parameters=[
                UnitParameters(
                    hyperparameter=one * dtype.type(component.hyperparameter),
                    gain=one,
                    shift=zero,
                    mean=zero,
                    variance=one,
                )
                for component, one, zero in zip((ACTIVATIONS.resolve("identity"), *self.activations), ones, zeros)
            ],
            unit_parameter_gradient={},
            unit_parameter_states={},
            losses=np.empty(0, dtype),
        )

    def weights(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Parameters as lists (coefs, intercepts)."""
        return [W[:-1] for W in self.buffers.weights], [W[-1] for W in self.buffers.weights]

    def unit_parameters(self) -> list[np.ndarray]:
        """What units have beside weights: a list of arrays (5, n_units), one for each hidden layer."""
        return [
            np.array([getattr(unit_parameters, name) for name in UNIT_PARAMETERS])
            for unit_parameters in self.buffers.unit_parameters[1:]
        ]

    def parameters(self) -> Parameters:
        """All that is learned, as new arrays; see `Parameters`."""
        coefs, intercepts = ([array.copy() for array in arrays] for arrays in self.weights())
        return Parameters(coefs, intercepts, self.unit_parameters() if next(self.learned(), None) else [])

    def set_parameters(self, parameters: Parameters) -> None:
        """Take on what `parameters` gives."""
        self.buffers.weights = [np.vstack(pair) for pair in zip(parameters.coefs, parameters.intercepts)]
        for own, values in zip(self.buffers.unit_parameters[1:], parameters.unit_parameters):
            own.hyperparameter, own.gain, own.shift, own.mean, own.variance = values

    def _data(
        self,
        X: Any,
        y: np.ndarray | None = None,
        order: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> Data:
        order = np.arange(X.shape[0]) if order is None else order
        return Data(inputs=X, targets=y, order=order, sample_weight=sample_weight)

    def forward(self, data: Data, span: slice, seed: int | None = None) -> None:
        """The rows `span` of the order through all layers; the last one keeps its Z. With a seed, as in training."""
        layout, buffers = self.layout, self.buffers
        gather(layout, data, span, buffers)
        if seed is not None and self.keep[0] < 1:
            drop(layout, 0, self.keep[0], False, seed, span, buffers)
        identity = ACTIVATIONS.resolve("identity")
        for layer in range(layout.layers):
            level, hidden = layer + 1, layer < layout.layers - 1
            activation = self.activations[layer] if hidden else identity
            if hidden and self.normalization is not None:
                affine_forward(layout, layer, identity, span, buffers)
                self.normalize(self.normalization, level, seed is not None, span)
                activate(layout, level, activation, activation.learned, span, buffers)
            else:
                affine_forward(layout, layer, activation, span, buffers)
            if hidden and seed is not None and self.keep[level] < 1:
                drop(layout, level, self.keep[level], activation.learned, seed, span, buffers)

    def normalize(self, normalization: Normalization, level: int, training: bool, span: slice) -> None:
        """A hidden level's Z, over its units or over the rows; predictions take running statistics of the rows."""
        layout, buffers, epsilon = self.layout, self.buffers, normalization.epsilon
        if normalization.name == "layer":
            layer_normalize(layout, level, epsilon, span, buffers)
        else:
            if training:
                scalars = Scalars(settings=normalization)
                batch_statistics(layout, level, scalars, len(buffers.outputs[level]), 0, 1, buffers)
            else:
                running_statistics(layout, level, epsilon, buffers)
            batch_normalize(layout, level, span, buffers)

    def backward(self, span: slice) -> None:
        """Deltas of all levels, from the top down."""
        layout, buffers = self.layout, self.buffers
        for layer in range(layout.layers - 1, 0, -1):
            affine_backward(layout, layer, self.activations[layer - 1].learned, span, buffers)
            if self.normalization is not None and self.normalization.name == "layer":
                layer_backward(layout, layer, span, buffers)
            elif self.normalization is not None:
                batch_sums(layout, layer, len(buffers.outputs[layer]), 0, 1, buffers)
                batch_backward(layout, layer, span, buffers)

    def learned(self) -> Iterator[tuple[int, str, bool]]:
        """(level, name) of the unit parameters that units learn, and whether their gradient is yet to be summed."""
        by_batch = self.normalization is not None and self.normalization.name == "batch"
        for level, activation in enumerate(self.activations, 1):
            if activation.learned:
                yield level, "hyperparameter", True
            if self.normalization is not None:
                yield from ((level, name, not by_batch) for name in ("gain", "shift"))

    def update(self, scalars: Scalars, rows: int, phase: int) -> None:
        """Gradients, clipped by value, or the step; see `affine_update`. Without rows the gradient is there already."""
        layout, buffers, blocks = self.layout, self.buffers, Blocks(phase=phase)
        for layer in range(layout.layers):
            if rows:
                affine_gradient(layout, layer, blocks, buffers)
            affine_update(layout, layer, self.optimizer, scalars, blocks, buffers)
        for level, name, summed in self.learned():
            if rows and summed:
                unit_parameter_gradient(layout, level, name, rows, False, 0, 1, buffers)
            if phase != STEP:
                scale_unit_gradient(layout, level, name, scalars, 0, 1, buffers)
            if phase != GRADIENT:
                unit_parameter_update(layout, level, name, self.optimizer, scalars, 0, 1, buffers)

    def step_scalars(
        self,
        weight: float,
        optimizer_scalars: Sequence[np.ndarray] | None = None,
        *,
        alpha: float = 0.0,
        l1: float = 0.0,
        clip_value: float = np.inf,
        clip_norm: float = np.inf,
        max_norm: float = np.inf,
    ) -> Scalars:
        """The scalars of one step on rows of that weight; those of the optimizer for each of `GROUPS`."""
        number = self.buffers.weights[0].dtype.type
        settings = {"alpha": number(alpha), "l1": number(l1), "clip_value": number(clip_value)}
        return Scalars(
            settings=SimpleNamespace(**settings, clip_norm=clip_norm, max_norm=max_norm),
            share=number(1 / weight if weight else 0.0),
            scale=number(1),
            optimizer_scalars=optimizer_scalars,
        )

    def differentiate(self, data: Data, span: slice, seed: int, **settings: float) -> float:
        """One batch upward and back down. Returns its loss; its gradient stays in the buffers.

        settings : as of `step_scalars`, of which those of the gradient count
        """
        buffers, rows = self.buffers, span.stop - span.start
        self.forward(data, span, seed)
        output_delta(self.layout, data, (self.loss, self.output), span, buffers)
        self.backward(span)
        weight = rows if data.sample_weight is None else data.sample_weight[data.order[span]].sum()
        scalars = self.step_scalars(weight, None, **settings)
        self.update(scalars, rows, GRADIENT)
        loss: float = buffers.losses.sum() * scalars.share + sum(buffers.penalties) * scalars.share
        return loss

    def optimizer_step(self, scalars: Scalars) -> None:
        """One optimizer step by the gradient in the buffers."""
        buffers, limit = self.buffers, scalars.settings.clip_norm
        if np.isfinite(limit):
            norm = np.sqrt(sum(buffers.norms) + unit_parameter_squares(self.layout, buffers))
            scalars.scale = scalars.scale.dtype.type(limit / norm if norm > limit else 1)
        self.update(scalars, 0, STEP)
        if np.isfinite(scalars.settings.max_norm):
            limit_norms(self.layout, scalars.settings.max_norm, 0, 1, buffers)

    def session(
        self,
        X: Any,
        y: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        *,
        batch_size: int,
        n_threads: int | None = None,
    ) -> ReferenceSession:
        """The network at work on data, as of `Network`; `n_threads` serves no purpose here."""
        return ReferenceSession(self, self._data(X, y, None, sample_weight), batch_size)

    def epoch(
        self,
        X: Any,
        y: np.ndarray,
        order: np.ndarray,
        batch_size: int,
        *,
        sample_weight: np.ndarray | None = None,
        **settings: Any,
    ) -> float:
        """One epoch of a session on X and y; see `ReferenceSession.epoch`."""
        return self.session(X, y, sample_weight, batch_size=batch_size).epoch(order, **settings)

    def predict(self, X: Any) -> np.ndarray:
        """Output activations of all rows of X."""
        data, rows = self._data(X), slice(0, X.shape[0])
        top = self.buffers.weights[-1]
        predictions = data.predictions = np.empty((X.shape[0], top.shape[1]), top.dtype)
        self.forward(data, rows)
        predict(self.layout, data, (self.loss, self.output), rows, self.buffers)
        return predictions


class ReferenceSession:
    """A reference at work on data; it answers to the calls of `fastmlp.trainable.TrainingSession`.

    Parameters
    ----------
    network : Reference
    data : inputs, targets, order and sample_weight, as the passes take them
    batch_size : int
    """

    def __init__(self, network: Reference, data: Data, batch_size: int) -> None:
        self.network, self.data, self.batch_size, self.steps = network, data, batch_size, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def _optimizer_scalars(
        self, step: int, learning_rate: np.ndarray | Sequence[float], optimizer: Optimizer | None
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Of the steps after `step`, one for each learning rate: a row of scalars for each of `GROUPS`."""
        network = self.network
        t, rates = step + np.arange(1.0, len(learning_rate) + 1), np.asarray(learning_rate, float)
        of_groups = [
            (optimizer or network.optimizer).for_group(group).scalars(t, rates * network.rate_factors.get(group, 1))
            for group in GROUPS
        ]
        return zip(*(scalars.astype(network.buffers.weights[0].dtype) for scalars in of_groups))

    def epoch(
        self,
        order: np.ndarray,
        *,
        learning_rate: float | np.ndarray,
        step: int = 0,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
        dropout: Sequence[float] | None = None,
        optimizer: Optimizer | None = None,
        **settings: float,
    ) -> float:
        """Train on consecutive batches of the rows `order`, the last one smaller; the mean loss, weighted by rows.

        settings : alpha, l1, clip_value, clip_norm, max_norm
        """
        network, total, starts = self.network, 0.0, range(0, len(order), self.batch_size)
        self.data.order = order
        if dropout is not None:
            network.keep = 1 - np.array(dropout)
        rates = np.broadcast_to(learning_rate, len(starts))
        for start, optimizer_scalars in zip(starts, self._optimizer_scalars(step, rates, optimizer)):
            span = slice(start, min(start + self.batch_size, len(order)))
            loss = network.differentiate(self.data, span, seed, **settings)
            network.optimizer_step(network.step_scalars(1, optimizer_scalars, **settings))
            self.steps += 1
            total += loss * (span.stop - span.start)
            if progress is not None:
                progress(span.stop)
        return total / len(order)

    def gradient(
        self,
        order: np.ndarray | None = None,
        *,
        seed: int = 0,
        alpha: float = 0.0,
        l1: float = 0.0,
        clip_value: float = np.inf,
    ) -> tuple[float, Parameters]:
        """Loss of one batch, by default of all rows, and its gradient as `Parameters`; no weight moves."""
        network, buffers = self.network, self.network.buffers
        self.data.order = np.arange(self.data.inputs.shape[0]) if order is None else order
        span = slice(0, len(self.data.order))
        loss = network.differentiate(self.data, span, seed, alpha=alpha, l1=l1, clip_value=clip_value)
        matrices, buffers.gradient = buffers.gradient, [np.zeros_like(G) for G in buffers.gradient]
        units = [np.zeros((3, W.shape[1]), W.dtype) for W in buffers.weights[:-1]]
        for level, name, _ in network.learned():
            units[level - 1][LEARNED.index(name)] = buffers.unit_parameter_gradient[level, name]
        return loss, Parameters(
            [G[:-1] for G in matrices], [G[-1] for G in matrices], units if next(network.learned(), None) else []
        )

    def apply(
        self,
        gradient: Parameters,
        *,
        learning_rate: float,
        step: int = 0,
        optimizer: Optimizer | None = None,
        **settings: float,
    ) -> None:
        """One optimizer step by a gradient; settings : clip_value, clip_norm, max_norm."""
        network, buffers = self.network, self.network.buffers
        buffers.gradient = [np.vstack(pair) for pair in zip(gradient.coefs, gradient.intercepts)]
        for level, name, _ in network.learned():
            buffers.unit_parameter_gradient[level, name] = gradient.unit_parameters[level - 1][LEARNED.index(name)]
        (optimizer_scalars,) = self._optimizer_scalars(step, [learning_rate], optimizer)
        scalars = network.step_scalars(1, optimizer_scalars, **settings)
        network.update(scalars, 0, GRADIENT)
        network.optimizer_step(scalars)
        self.steps += 1

    def predict(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Output activations of the rows with these indices, by default of all rows."""
        return self.network.predict(self.data.inputs if rows is None else self.data.inputs[rows])
