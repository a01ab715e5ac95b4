"""A multi-layer perceptron in NumPy: the passes of training, each a few lines of whole-array mathematics.

Start reading here. `core/affine.py` holds the same passes under the same names, in Numba, for the part of the work that
one thread owns. Here a pass takes everything at once.

Notation: a network of units (n_0, ..., n_L) has layers l = 0 ... L - 1, each with a matrix W of shape
(n_l + 1, n_(l+1)) whose last row is the bias. A batch of m rows runs upward as outputs A_0 ... A_L,

    Z = A_below W[:-1] + W[-1],    A_above = f(Z),

and back down as deltas, the derivatives of the loss by Z (Rumelhart, Hinton and Williams, "Learning representations by
back-propagating errors", Nature 323, 1986):

    delta_below = (delta W[:-1]^T) * f'(Z_below),    dW = [A_below, 1]^T delta.
"""

from types import SimpleNamespace

import numpy as np
from scipy import sparse

from .activations import ACTIVATIONS
from .losses import LOSSES, output_formula
from .optimizers import OPTIMIZERS


def gather(layout, data, span, buffers):
    """A_0 = X[order]: the rows of the batch, of shape (m, n_features), with a last column of ones for the bias."""
    X = data.inputs[data.order[span]]
    ones = np.ones((X.shape[0], 1), X.dtype)
    buffers.outputs[0] = sparse.hstack([X, ones], "csr") if sparse.issparse(X) else np.hstack([X, ones])


def affine_forward(layout, layer, activation, span, buffers):
    """A_above = f([A_below, 1] W). The slope f'(Z) waits where delta will be: the backward pass needs no more of f."""
    Z = buffers.outputs[layer] @ buffers.weights[layer]
    buffers.outputs[layer + 1] = with_ones(Z)
    activate(layout, layer + 1, activation, span, buffers)


def activate(layout, level, activation, span, buffers):
    """A = f(Z), and the slope f'(Z). A learned slope a (PReLU) keeps dA/da = min(Z, 0) for its gradient."""
    Z = buffers.outputs[level][:, :-1]
    component = activation
    if component.learned:  # its formula takes a slope for each unit as well
        component = SimpleNamespace(slope=buffers.unit_parameters[level].number)
        buffers.saved[level].number = np.minimum(Z, 0)
    A, buffers.deltas[level] = type(activation).formula(component, Z)
    buffers.outputs[level] = with_ones(A)


def with_ones(A):
    """[A, 1]: a last column of ones, which brings the bias."""
    return np.column_stack([A, np.ones(len(A), A.dtype)])


def normalize(layout, level, normalization, training, buffers):
    """Z = gain X + shift, where X is Z brought to mean 0 and variance 1 over the batch or over the units.

    Over the batch, running statistics follow in training and serve for predictions.
    """
    Z, unit_parameters, saved = buffers.outputs[level][:, :-1], buffers.unit_parameters[level], buffers.saved[level]
    saved.gain, mean, variance = normalization.formula(Z)
    saved.scale = 1 / np.sqrt(variance + Z.dtype.type(normalization.epsilon))
    if normalization.name == "batch":
        rows = len(Z)
        if training and rows > 1:
            share = Z.dtype.type(normalization.momentum)
            population = variance * Z.dtype.type(rows / (rows - 1))
            unit_parameters.mean = unit_parameters.mean + share * (mean - unit_parameters.mean)
            unit_parameters.variance = unit_parameters.variance + share * (population - unit_parameters.variance)
        if not training:
            saved.gain = (Z - unit_parameters.mean) / np.sqrt(
                unit_parameters.variance + Z.dtype.type(normalization.epsilon)
            )
    buffers.outputs[level] = with_ones(saved.gain * unit_parameters.gain + unit_parameters.shift)


def normalize_backward(layout, level, normalization, buffers):
    """delta = scale (d - mean(d) - X mean(d X)), d = delta gain: the mean and the variance depend
    on Z too. Means over the batch or over the units, as in `normalize`. Keeps delta X and delta, whose sums over the
    rows are the gradients of gain and shift.
    """
    delta, saved = buffers.deltas[level], buffers.saved[level]
    X, d = saved.gain, delta * buffers.unit_parameters[level].gain
    axis = 0 if normalization.name == "batch" else 1
    centred = d - d.mean(axis=axis, keepdims=True) - X * (d * X).mean(axis=axis, keepdims=True)
    buffers.deltas[level] = saved.scale * centred
    saved.gain, saved.shift = delta * X, delta


def drop(layout, level, keep, learned, seed, span, buffers):
    """Each output is 0 with probability 1 - keep, else divided by keep; so are its slopes (Srivastava et al. 2014).

    The random bits of an output are a function of (seed, level, position of the row, unit).
    """
    A = buffers.outputs[level][:, :-1]
    stream = scrambled(scrambled(np.uint32(seed)) + np.uint32(level))
    rows = scrambled(stream + np.arange(span.start, span.stop, dtype=np.uint32))
    bits = scrambled(rows[:, None] + np.arange(A.shape[1], dtype=np.uint32))
    saved = (bits >> np.uint32(8)) * A.dtype.type(2.0**-24) < A.dtype.type(keep)
    factor = np.where(saved, A.dtype.type(1 / keep), A.dtype.type(0))
    buffers.outputs[level] = with_ones(A * factor)
    if level:
        buffers.deltas[level] = buffers.deltas[level] * factor
    if learned:
        buffers.saved[level].number = buffers.saved[level].number * factor


def scrambled(n):
    """Bits that look random, as a function of 32-bit integers (C. Wellons, "Prospecting for Hash Functions", 2018)."""
    with np.errstate(over="ignore"):
        n = n ^ (n >> np.uint32(16))
        n = n * np.uint32(0x7FEB352D)
        n = n ^ (n >> np.uint32(15))
        n = n * np.uint32(0x846CA68B)
        return n ^ (n >> np.uint32(16))


def output_delta(layout, data, loss, span, buffers):
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


def affine_backward(layout, layer, learned, span, buffers):
    """delta_below = (delta W^T) * slope: the chain rule, summed over all units that a unit feeds."""
    W = buffers.weights[layer][:-1]
    product = buffers.deltas[layer + 1] @ W.T
    if learned:
        buffers.saved[layer].number = buffers.saved[layer].number * product
    buffers.deltas[layer] = product * buffers.deltas[layer]


def affine_gradient(layout, layer, blocks, buffers):
    """G = G + [A_below, 1]^T delta: the gradient of the summed loss, for a batch that comes in several parts."""
    buffers.gradient[layer] += buffers.outputs[layer].T @ buffers.deltas[layer + 1]


def penalized_gradient(layout, layer, scalars, buffers):
    """g = (G + alpha W + l1 sign W) / sum of the row weights, clipped; biases: alpha = l1 = 0.

    Keeps the penalty alpha/2 ||W||^2 + l1 ||W||_1 of the weights before the step, for the loss.
    """
    penalized = buffers.weights[layer].copy()
    penalized[-1] = 0
    squares, absolutes = (penalized**2).sum(), np.abs(penalized).sum()
    buffers.penalties[layer] = 0.5 * scalars.alpha * squares + scalars.l1 * absolutes
    g = (buffers.gradient[layer] + scalars.alpha * penalized + scalars.l1 * np.sign(penalized)) * scalars.share
    buffers.gradient[layer] = np.clip(g, -scalars.clip, scalars.clip)


def affine_update(layout, layer, optimizer, scalars, blocks, buffers):
    """One optimizer step on W with g, scaled to the norm that clipping leaves."""
    states = [state[layer] for state in buffers.states]
    g = buffers.gradient[layer] * scalars.scale
    new = optimizer.formula(scalars.optimizer_scalars, g, buffers.weights[layer], *states)
    buffers.weights[layer] = new[0]
    for state, values in zip(buffers.states, new[1:]):
        state[layer] = values
    buffers.gradient[layer] = np.zeros_like(g)


def limit_norms(layout, limit, buffers):
    """The weights into a unit are scaled down to the norm `limit`, without the bias (Srivastava et al. 2014, 5.1)."""
    for W in buffers.weights:
        norms = np.sqrt((W[:-1] ** 2).sum(axis=0))
        W[:-1] *= np.where(norms > limit, limit / np.maximum(norms, limit), 1).astype(W.dtype)


class Reference:
    """A perceptron that trains by the passes above; the same parameters and batches as `Network`.

    Parameters
    ----------
    coefs, intercepts : lists of ndarrays of shapes (n_below, n_above) and (n_above,)
    activation, loss, optimizer, output, normalization, dropout : as of `Network`
    """

    def __init__(
        self, coefs, intercepts, *, activation, loss, optimizer, output=None, normalization=None, dropout=None
    ):
        weights = [np.vstack([W, b]) for W, b in zip(coefs, intercepts, strict=True)]
        layers, dtype = len(weights), weights[0].dtype
        names = activation if isinstance(activation, list | tuple) else [activation] * (layers - 1)
        self.activations = [*map(ACTIVATIONS.resolve, names)]
        self.loss, self.optimizer = LOSSES.resolve(loss), OPTIMIZERS.resolve(optimizer)
        self.output = output or self.loss.outputs[0]
        self.normalization = normalization
        self.keep = 1 - np.array(dropout if dropout is not None else [0.0] * layers)
        self.layout = SimpleNamespace(layers=layers)
        units = [0, *(W.shape[1] for W in weights[:-1])]
        ones = [np.ones(n, dtype) for n in units]
        zeros = [np.zeros(n, dtype) for n in units]
        self.buffers = SimpleNamespace(
            weights=weights,
            states=[[np.zeros_like(W) for W in weights] for _ in range(self.optimizer.states)],
            gradient=[np.zeros_like(W) for W in weights],
            penalties=[0.0] * layers,
            outputs=[None] * (layers + 1),
            deltas=[None] * (layers + 1),
            saved=[SimpleNamespace() for _ in units],
            unit_parameters=[
                SimpleNamespace(
                    number=one * dtype.type(component.number), gain=one, shift=zero, mean=zero, variance=one
                )
                for component, one, zero in zip((ACTIVATIONS.resolve("identity"), *self.activations), ones, zeros)
            ],
            unit_parameter_states={},
            losses=None,
        )

    def weights(self):
        """Parameters as lists (coefs, intercepts)."""
        return [W[:-1] for W in self.buffers.weights], [W[-1] for W in self.buffers.weights]

    def unit_parameters(self):
        """What units have beside weights: a list of arrays (5, n_units), one for each hidden layer."""
        names = ("number", "gain", "shift", "mean", "variance")
        return [
            np.array([getattr(unit_parameters, name) for name in names])
            for unit_parameters in self.buffers.unit_parameters[1:]
        ]

    def _data(self, X, y=None, order=None, sample_weight=None):
        order = np.arange(X.shape[0]) if order is None else order
        return SimpleNamespace(inputs=X, targets=y, order=order, sample_weight=sample_weight)

    def forward(self, data, span, seed=None):
        """The rows `span` of the order through all layers; the last one keeps its Z. With a seed, as in training."""
        layers, training = self.layout.layers, seed is not None
        gather(self.layout, data, span, self.buffers)
        if training and self.keep[0] < 1:
            drop(self.layout, 0, self.keep[0], False, seed, span, self.buffers)
        identity = ACTIVATIONS.resolve("identity")
        for layer in range(layers):
            level, hidden = layer + 1, layer < layers - 1
            activation = self.activations[layer] if hidden else identity
            if hidden and self.normalization is not None:
                affine_forward(self.layout, layer, identity, span, self.buffers)
                normalize(self.layout, level, self.normalization, training, self.buffers)
                activate(self.layout, level, activation, span, self.buffers)
            else:
                affine_forward(self.layout, layer, activation, span, self.buffers)
            if hidden and training and self.keep[level] < 1:
                drop(self.layout, level, self.keep[level], activation.learned, seed, span, self.buffers)

    def epoch(self, X, y, order, batch_size, *, learning_rate, sample_weight=None, step=0, seed=0, **settings):
        """Train on consecutive batches of the rows `order`, the last one smaller; the mean loss, weighted by rows.

        settings : alpha, l1, clip_value, clip_norm, max_norm
        """
        data = self._data(X, y, order, sample_weight)
        starts = range(0, len(order), batch_size)
        t = np.arange(step + 1.0, step + len(starts) + 1)
        optimizer_scalars = self.optimizer.scalars(t, np.broadcast_to(learning_rate, t.shape)).astype(X.dtype)
        total = 0.0
        for at, of_step in zip(starts, optimizer_scalars):
            span = slice(at, min(at + batch_size, len(order)))
            total += self.step(data, span, of_step, seed, **settings) * (span.stop - span.start)
        return total / len(order)

    def step(
        self,
        data,
        span,
        optimizer_scalars,
        seed,
        *,
        alpha=0.0,
        l1=0.0,
        clip_value=np.inf,
        clip_norm=np.inf,
        max_norm=np.inf,
    ):
        """One batch: upward, back down, and one optimizer step on every layer. Returns the batch's loss."""
        layers, buffers = self.layout.layers, self.buffers
        self.forward(data, span, seed)
        output_delta(self.layout, data, (self.loss, self.output), span, buffers)
        for layer in range(layers - 1, 0, -1):
            affine_backward(self.layout, layer, self.activations[layer - 1].learned, span, buffers)
            if self.normalization is not None:
                normalize_backward(self.layout, layer, self.normalization, buffers)
        weight = span.stop - span.start if data.sample_weight is None else data.sample_weight[data.order[span]].sum()
        number = buffers.weights[0].dtype.type
        scalars = SimpleNamespace(alpha=number(alpha), l1=number(l1), clip=number(clip_value), scale=number(1))
        scalars.share, scalars.optimizer_scalars = number(1 / weight if weight else 0.0), optimizer_scalars
        for layer in range(layers):
            affine_gradient(self.layout, layer, None, buffers)
            penalized_gradient(self.layout, layer, scalars, buffers)
        learned = self.unit_parameter_gradients(scalars)
        norm = np.sqrt(sum((g.astype(float) ** 2).sum() for g in (*buffers.gradient, *learned.values())))
        scalars.scale = number(clip_norm / norm if norm > clip_norm else 1)
        for layer in range(layers):
            affine_update(self.layout, layer, self.optimizer, scalars, None, buffers)
        self.unit_parameter_update(learned, scalars)
        if np.isfinite(max_norm):
            limit_norms(self.layout, max_norm, buffers)
        return buffers.losses.sum() * scalars.share + sum(buffers.penalties) * scalars.share

    def unit_parameter_gradients(self, scalars):
        """Gradients of what units learn: sums over the rows of what was saved, by level and name."""
        names = ["number"] * any(component.learned for component in self.activations)
        names += ["gain", "shift"] if self.normalization is not None else []
        return {
            (level, name): np.clip(getattr(saved, name).sum(axis=0) * scalars.share, -scalars.clip, scalars.clip)
            for level, saved in enumerate(self.buffers.saved)
            for name in names
            if hasattr(saved, name)
        }

    def unit_parameter_update(self, learned, scalars):
        """One optimizer step on what units learn."""
        for (level, name), g in learned.items():
            unit_parameters, states = self.buffers.unit_parameters[level], self.buffers.unit_parameter_states
            before = states.get((level, name), [np.zeros_like(g)] * self.optimizer.states)
            value, *states[level, name] = self.optimizer.formula(
                scalars.optimizer_scalars, g * scalars.scale, getattr(unit_parameters, name), *before
            )
            setattr(unit_parameters, name, value)

    def predict(self, X):
        """Output activations of all rows of X."""
        self.forward(self._data(X), slice(0, X.shape[0]))
        return output_formula(self.output, self.buffers.outputs[-1][:, :-1])
