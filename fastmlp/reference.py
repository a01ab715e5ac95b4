"""A multi-layer perceptron in NumPy: the passes of training, each a few lines of whole-array mathematics.

Start reading here. `kernels.py` holds the same passes under the same names, in Numba, for the part of the work that one
thread owns. Here a pass takes everything at once.

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
from .losses import LOSSES
from .optimizers import OPTIMIZERS, Rates, Settings, effective_learning_rate


def gather(layout, data, span, buffers):
    """A_0 = X[order]: the rows of the batch, of shape (m, n_features), with a last column of ones for the bias."""
    X = data.inputs[data.order[span]]
    ones = np.ones((X.shape[0], 1), X.dtype)
    buffers.outputs[0] = sparse.hstack([X, ones], "csr") if sparse.issparse(X) else np.hstack([X, ones])


def affine_forward(layout, layer, activation, span, buffers):
    """A_above = f([A_below, 1] W). The slope f'(Z) waits where delta will be: the backward pass needs no more of f."""
    Z = buffers.outputs[layer] @ buffers.weights[layer]
    A, slope = ACTIVATIONS[activation].formula(Z)
    buffers.outputs[layer + 1] = np.column_stack([A, np.ones(len(A), A.dtype)])
    buffers.deltas[layer + 1] = slope


def output_delta(layout, data, loss, span, buffers):
    """The loss of each row, and delta = dloss/dZ at the top: prediction - target for every canonical pair of both.

    A row's sample weight multiplies its loss, hence its delta.
    """
    Z = buffers.outputs[layout.layers][:, :-1]
    targets = data.codes if LOSSES[loss].codes else data.targets
    buffers.losses, delta = LOSSES[loss].formula(Z, targets[data.order[span]])
    if data.sample_weight is not None:
        weight = data.sample_weight[data.order[span]]
        buffers.losses, delta = buffers.losses * weight, delta * weight[:, None]
    buffers.deltas[layout.layers] = delta


def affine_backward(layout, layer, span, buffers):
    """delta_below = (delta W^T) * slope: what the loss feels of a unit below is the sum over all units it feeds."""
    W = buffers.weights[layer][:-1]
    buffers.deltas[layer] = (buffers.deltas[layer + 1] @ W.T) * buffers.deltas[layer]


def affine_gradient(layout, layer, blocks, buffers):
    """G = G + [A_below, 1]^T delta: the gradient of the summed loss, for a batch that comes in several parts."""
    buffers.gradient[layer] += buffers.outputs[layer].T @ buffers.deltas[layer + 1]


def affine_update(layout, layer, optimizer, rates, blocks, buffers):
    """One optimizer step with g = (G + [A_below, 1]^T delta + alpha W) / sum of the row weights; biases: alpha = 0.

    Keeps the sum of squares of the weights before the step, for the penalty alpha/2 ||W||^2 in the loss.
    """
    affine_gradient(layout, layer, blocks, buffers)
    W = buffers.weights[layer]
    penalized = W.copy()
    penalized[-1] = 0
    buffers.penalties[layer] = (penalized**2).sum()
    g = (buffers.gradient[layer] + rates.alpha * penalized) * rates.share
    step = OPTIMIZERS[optimizer].formula(g, W, buffers.first[layer], buffers.second[layer], rates)
    buffers.weights[layer], buffers.first[layer], buffers.second[layer] = step
    buffers.gradient[layer] = np.zeros_like(W)


class Reference:
    """A perceptron that trains by the passes above; the same parameters and batches as `Network`.

    Parameters
    ----------
    coefs, intercepts : lists of ndarrays of shapes (n_below, n_above) and (n_above,)
    activation, loss, optimizer : str
        Names of words.
    """

    def __init__(self, coefs, intercepts, *, activation, loss, optimizer):
        weights = [np.vstack([W, b]) for W, b in zip(coefs, intercepts, strict=True)]
        self.activation, self.loss, self.optimizer = activation, loss, optimizer
        self.layout = SimpleNamespace(layers=len(weights))
        self.buffers = SimpleNamespace(
            weights=weights,
            first=[np.zeros_like(W) for W in weights],
            second=[np.zeros_like(W) for W in weights],
            gradient=[np.zeros_like(W) for W in weights],
            penalties=[0.0] * len(weights),
            outputs=[None] * (len(weights) + 1),
            deltas=[None] * (len(weights) + 1),
            losses=None,
        )

    def weights(self):
        """Parameters as lists (coefs, intercepts)."""
        return [W[:-1] for W in self.buffers.weights], [W[-1] for W in self.buffers.weights]

    def _data(self, X, y=None, order=None, sample_weight=None):
        order = np.arange(X.shape[0]) if order is None else order
        return SimpleNamespace(inputs=X, codes=y, targets=y, order=order, sample_weight=sample_weight)

    def forward(self, data, span):
        """The rows `span` of the order through all layers; the last one keeps its Z."""
        gather(self.layout, data, span, self.buffers)
        for layer in range(self.layout.layers):
            activation = self.activation if layer < self.layout.layers - 1 else "identity"
            affine_forward(self.layout, layer, activation, span, self.buffers)

    def epoch(self, X, y, order, batch_size, *, sample_weight=None, step=0, **settings):
        """Train on consecutive batches of the rows `order`, the last one smaller; the mean loss, weighted by rows."""
        data = self._data(X, y, order, sample_weight)
        settings = Settings(**settings)
        total = 0.0
        for at in range(0, len(order), batch_size):
            step += 1
            span = slice(at, min(at + batch_size, len(order)))
            total += self.step(data, span, settings, step) * (span.stop - span.start)
        return total / len(order)

    def step(self, data, span, settings, step):
        """One batch: upward, back down, and one optimizer step on every layer. Returns the batch's loss."""
        layers, buffers = self.layout.layers, self.buffers
        self.forward(data, span)
        output_delta(self.layout, data, self.loss, span, buffers)
        for layer in range(layers - 1, 0, -1):
            affine_backward(self.layout, layer, span, buffers)
        weight = span.stop - span.start if data.sample_weight is None else data.sample_weight[data.order[span]].sum()
        rates = self.rates(settings, step, weight)
        for layer in range(layers):
            affine_update(self.layout, layer, self.optimizer, rates, None, buffers)
        return (buffers.losses.sum() + 0.5 * settings.alpha * sum(buffers.penalties)) * rates.share

    def rates(self, settings, step, weight):
        """The numbers of one step, in the dtype of the weights. A batch of no weight has no loss and no gradient."""
        rate = effective_learning_rate.py_func(OPTIMIZERS[self.optimizer].code, settings, step)
        beta_1, beta_2 = settings.beta_1, settings.beta_2
        numbers = (rate, settings.momentum, beta_1, beta_2, 1 - beta_1, 1 - beta_2, settings.epsilon)
        return Rates(
            *map(self.buffers.weights[0].dtype.type, (*numbers, settings.alpha, 1 / weight if weight else 0.0))
        )

    def predict(self, X):
        """Output activations of all rows of X."""
        self.forward(self._data(X), slice(0, X.shape[0]))
        return LOSSES[self.loss].prediction(self.buffers.outputs[-1][:, :-1])
