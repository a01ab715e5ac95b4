"""Multi-layer perceptrons written down once more, for derivatives by PyTorch's autograd or by `fastmlp.graph`.

Nothing here is shared with the package but the optimizers' formulas: activations, losses and normalizations are
expressions of `exp`, `log`, `maximum` and sums, and their derivatives are left to the automatic differentiation.
"""

import math

import numpy as np
from scipy.special import erf

from fastmlp import graph

try:
    import torch
except ImportError:
    torch = None


class GraphBackend:
    """Arrays as nodes of `fastmlp.graph`."""

    name = "graph"
    exp, log, maximum = staticmethod(graph.exp), staticmethod(graph.log), staticmethod(graph.maximum)

    @staticmethod
    def erf(x):
        y = erf(x.value)
        return graph.Node(y, "erf", (x,), lambda gradient: (gradient * np.exp(-(x.value**2)) * 2 / math.sqrt(math.pi),))

    @staticmethod
    def variable(array):
        return graph.Node(np.asarray(array, np.float64))

    @staticmethod
    def total(x, axis=None):
        return x.sum(axis=axis, keepdims=axis is not None)

    @staticmethod
    def gradients(loss, variables):
        loss.backward()
        return [
            np.broadcast_to(v.gradient, v.value.shape) if v.gradient is not None else 0 * v.value for v in variables
        ]

    @staticmethod
    def value(x):
        return x.value


class TorchBackend:
    """Arrays as PyTorch's tensors."""

    name = "torch"

    @staticmethod
    def variable(array):
        return torch.tensor(np.asarray(array, np.float64), requires_grad=True)

    @staticmethod
    def maximum(a, b):
        return torch.maximum(a, torch.as_tensor(b, dtype=a.dtype))

    @staticmethod
    def total(x, axis=None):
        return x.sum() if axis is None else x.sum(dim=axis, keepdim=True)

    @staticmethod
    def gradients(loss, variables):
        found = torch.autograd.grad(loss, variables, allow_unused=True)
        return [np.zeros(tuple(v.shape)) if g is None else g.numpy() for g, v in zip(found, variables, strict=True)]

    @staticmethod
    def value(x):
        return x.detach().numpy()

    @staticmethod
    def exp(x):
        return torch.exp(x)

    @staticmethod
    def log(x):
        return torch.log(x)

    @staticmethod
    def erf(x):
        return torch.erf(x)


BACKEND = GraphBackend if torch is None else TorchBackend


class Mathematics:
    """Functions of arrays of a backend, from `exp`, `log` and `maximum`."""

    def __init__(self, backend):
        self.backend = backend
        self.exp, self.log, self.maximum, self.total = backend.exp, backend.log, backend.maximum, backend.total

    def minimum(self, a, b):
        """The smaller number, elementwise."""
        return -self.maximum(-a, -b)

    def absolute(self, x):
        """|x|."""
        return self.maximum(x, -x)

    def reciprocal(self, x):
        """1 / x of positive x."""
        return self.exp(-self.log(x))

    def root(self, x):
        """sqrt(x) of positive x."""
        return self.exp(self.log(x) * 0.5)

    def softplus(self, x):
        """log(1 + exp(x))."""
        return self.maximum(x, 0.0) + self.log(self.exp(-self.absolute(x)) + 1.0)

    def logistic(self, x):
        """1 / (1 + exp(-x))."""
        return self.exp(-self.softplus(-x))

    def tanh(self, x):
        """Hyperbolic tangent."""
        return self.logistic(x * 2.0) * 2.0 - 1.0

    def log_softmax(self, z):
        """Logarithm of the softmax of each row."""
        top = self.backend.value(z).max(axis=1, keepdims=True)
        shifted = z - self.constant(top)
        return shifted - self.log(self.total(self.exp(shifted), 1))

    def constant(self, array):
        """An array that is no parameter."""
        return torch.tensor(array) if self.backend is TorchBackend else array

    def activation(self, component, z, slope):
        """f(z) of a component; `slope` is PReLU's, a variable."""
        positive, negative = self.maximum(z, 0.0), self.minimum(z, z * 0.0)
        alpha, scale = 1.6732632423543772, 1.0507009873554805
        functions = {
            "identity": lambda: z,
            "logistic": lambda: self.logistic(z),
            "tanh": lambda: self.tanh(z),
            "relu": lambda: positive,
            "leaky_relu": lambda: positive + negative * component.slope,
            "prelu": lambda: positive + negative * slope,
            "elu": lambda: positive + (self.exp(negative) - 1.0) * component.alpha,
            "selu": lambda: (positive + (self.exp(negative) - 1.0) * alpha) * scale,
            "softplus": lambda: self.softplus(z),
            "gelu": lambda: z * (self.backend.erf(z * math.sqrt(0.5)) + 1.0) * 0.5,
            "gelu_tanh": lambda: z * self.logistic((z + z * z * z * 0.044715) * (2 * math.sqrt(2 / math.pi))),
            "silu": lambda: z * self.logistic(z),
            "mish": lambda: z * self.tanh(self.softplus(z)),
            "hard_sigmoid": lambda: self.hard_sigmoid(z),
            "hard_swish": lambda: z * self.hard_sigmoid(z),
        }
        return functions[component.name]()

    def hard_sigmoid(self, z):
        """min(max(z / 6 + 1/2, 0), 1)."""
        line = self.maximum(z * (1 / 6) + 0.5, 0.0)
        return self.minimum(line, line * 0.0 + 1.0)

    def output(self, name, z):
        """The output activation of errors and rates."""
        return {
            "identity": lambda: z,
            "logistic": lambda: self.logistic(z),
            "tanh": lambda: self.tanh(z),
            "exp": lambda: self.exp(z),
        }[name]()

    def loss(self, component, output, z, t):
        """The loss of each row, summed over the outputs; of class codes `t` is one-hot."""
        name = component.name
        if output == "softmax":
            log_p = self.log_softmax(z)
            if name == "kl_divergence":
                entropy = np.where(t > 0, t * np.log(np.where(t > 0, t, 1)), 0)
                return self.total(self.constant(entropy) - log_p * self.constant(t), 1)
            if name == "log_loss":
                s = component.label_smoothing
                return self.total(log_p * self.constant(-((1 - s) * t + s / t.shape[1])), 1)
            if name == "focal":
                log_p = self.total(log_p * self.constant(t), 1)
                return -self.exp(self.log(-(self.exp(log_p) - 1.0)) * component.gamma) * log_p
        if name == "log_loss":
            q = component.label_smoothing / 2 + (1 - component.label_smoothing) * t
            return self.total(self.softplus(z) - z * self.constant(q), 1)
        if name == "focal":
            log_p = -self.softplus(z * self.constant(1 - 2 * t))
            return self.total(-self.exp(self.log(-(self.exp(log_p) - 1.0)) * component.gamma) * log_p, 1)
        if name == "poisson":
            constant = np.where(t > 0, t * np.log(np.where(t > 0, t, 1)), 0) - t
            return self.total(self.exp(z) - z * self.constant(t) + self.constant(constant), 1)
        if name == "gamma":
            return self.total(self.exp(-z) * self.constant(t) + z - self.constant(np.log(t) + 1), 1)
        return self.error(component, self.output(output, z), t)

    def error(self, component, y, t):
        """The loss of errors e = y - t."""
        name = component.name
        if name == "quantile":
            q = self.constant(np.resize(component.levels, t.shape[1])[None, :])
            e = y - self.constant(t)
            return self.total(self.maximum(e, 0.0) * (1.0 - q) + self.maximum(-e, 0.0) * q, 1)
        e = y - self.constant(t)
        size = self.absolute(e)
        if name == "huber":
            near = self.minimum(size, size * 0.0 + component.delta)
            return self.total(near * (size - near * 0.5), 1)
        functions = {
            "squared_error": lambda: e * e * 0.5,
            "absolute_error": lambda: size,
            "log_cosh": lambda: size + self.log(self.exp(size * -2.0) + 1.0) - math.log(2),
        }
        return self.total(functions[name](), 1)

    def normalize(self, x, axis, epsilon):
        """(x - mean) / sqrt(variance + epsilon) over an axis; also mean and variance."""
        share = 1 / x.shape[axis] if hasattr(x, "shape") else 1 / x.value.shape[axis]
        mean = self.total(x, axis) * share
        centred = x - mean
        variance = self.total(centred * centred, axis) * share
        return centred * self.reciprocal(self.root(variance + epsilon)), mean, variance


class Perceptron:
    """A network of a case, and its training step by step.

    Parameters
    ----------
    coefs, intercepts : lists of ndarrays (n_below, n_above) and (n_above,), copied
    activations : list of components, one for each hidden layer
    loss, output : component, and name of the output activation
    normalization : component or None
    optimizer : component, whose NumPy formula is taken
    """

    def __init__(self, coefs, intercepts, *, activations, loss, output, normalization, optimizer, backend=BACKEND):
        self.math, self.backend = Mathematics(backend), backend
        self.activations, self.loss, self.output = activations, loss, output
        self.normalization, self.optimizer = normalization, optimizer
        self.parameters = {("W", n): np.array(W, np.float64) for n, W in enumerate(coefs)}
        self.parameters |= {("b", n): np.array(b, np.float64)[None, :] for n, b in enumerate(intercepts)}
        self.running = {}
        for n, component in enumerate(activations):
            width = coefs[n].shape[1]
            if component.learned:
                self.parameters["slope", n] = np.full((1, width), component.slope)
            if normalization is not None:
                self.parameters["gain", n], self.parameters["shift", n] = np.ones((1, width)), np.zeros((1, width))
                self.running[n] = np.zeros((1, width)), np.ones((1, width))
        self.states = {key: [np.zeros_like(p)] * optimizer.states for key, p in self.parameters.items()}
        self.step_count = 0

    def forward(self, variables, X, training):
        """The last layer's z; in training running statistics follow those of the batch."""
        math_, A = self.math, X
        layers = len(self.activations) + 1
        for n in range(layers):
            z = A @ variables["W", n] + variables["b", n]
            if n == layers - 1:
                return z
            if self.normalization is not None:
                z = self.normalized(n, z, training) * variables["gain", n] + variables["shift", n]
            A = math_.activation(self.activations[n], z, variables.get(("slope", n)))

    def normalized(self, n, z, training):
        """z normalized as the component says."""
        epsilon = self.normalization.epsilon
        if self.normalization.name == "layer":
            return self.math.normalize(z, 1, epsilon)[0]
        if not training:
            mean, variance = self.running[n]
            return (z - self.math.constant(mean)) * self.math.constant(1 / np.sqrt(variance + epsilon))
        x, mean, variance = self.math.normalize(z, 0, epsilon)
        rows = len(self.backend.value(z))
        if rows > 1:
            share, (old_mean, old_variance) = self.normalization.momentum, self.running[n]
            new = self.backend.value(mean), self.backend.value(variance) * rows / (rows - 1)
            self.running[n] = (
                old_mean + share * (new[0] - old_mean),
                old_variance + share * (new[1] - old_variance),
            )
        return x

    def step(self, X, t, weights, *, learning_rate, alpha, l1, clip_value, clip_norm, max_norm):
        """One optimizer step on a batch; its loss, penalty included, before the step."""
        variables = {key: self.backend.variable(p) for key, p in self.parameters.items()}
        rows = self.math.loss(self.loss, self.output, self.forward(variables, self.math.constant(X), True), t)
        total = weights.sum()
        objective = self.math.total(rows * self.math.constant(weights[:, None])) * (1 / total)
        found = self.backend.gradients(objective, list(variables.values()))
        value = float(self.backend.value(objective)) * (1 / t.shape[1] if self.loss.averaged else 1.0)
        gradients = dict(zip(variables, found, strict=True))
        for key, p in self.parameters.items():
            if key[0] == "W":
                value += (0.5 * alpha * (p**2).sum() + l1 * abs(p).sum()) / total
                gradients[key] = gradients[key] + (alpha * p + l1 * np.sign(p)) / total
        if clip_value is not None:
            gradients = {key: np.clip(g, -clip_value, clip_value) for key, g in gradients.items()}
        if clip_norm is not None:
            norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
            gradients = {key: g * min(1, clip_norm / norm) for key, g in gradients.items()}
        self.step_count += 1
        scalars = self.optimizer.scalars(np.array([float(self.step_count)]), np.array([learning_rate]))[0]
        for key, g in gradients.items():
            self.parameters[key], *self.states[key] = self.optimizer.formula(
                scalars, g, self.parameters[key], *self.states[key]
            )
        if max_norm is not None:
            for key, W in self.parameters.items():
                if key[0] == "W":
                    norms = np.sqrt((W**2).sum(axis=0))
                    self.parameters[key] = W * np.where(norms > max_norm, max_norm / np.where(norms > 0, norms, 1), 1)
        return value

    def fit(self, X, t, weights, batch_size, epochs, **settings):
        """Loss of each epoch over consecutive batches, the mean by rows."""
        curve = []
        for _ in range(epochs):
            total = 0.0
            for start in range(0, len(X), batch_size):
                rows = slice(start, start + batch_size)
                total += self.step(X[rows], t[rows], weights[rows], **settings) * len(X[rows])
            curve.append(total / len(X))
        return curve

    def predict(self, X):
        """Outputs of the trained network, (n_rows, n_outputs)."""
        constants = {key: self.backend.variable(p) for key, p in self.parameters.items()}
        z = self.forward(constants, self.math.constant(X), False)
        y = self.math.exp(self.math.log_softmax(z)) if self.output == "softmax" else self.math.output(self.output, z)
        return self.backend.value(y)
