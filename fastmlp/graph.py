"""A computation graph in NumPy: back-propagation by the chain rule, one small node at a time.

    dL/dx = sum over every y made from x of  dL/dy dy/dx

Forward, each operation of an expression makes a node, which keeps its value, its inputs and its own derivative dy/dx.
Backward, from the last node L, a number, down to the leaves, each node turns dL/dy into its share of dL/dx for each of
its inputs, and needs to know of nothing else. One walk gives the derivative of L by every node, at a small multiple of
the cost of L itself (S. Linnainmaa, "Taylor expansion of the accumulated rounding error", BIT 16, 1976).

Nothing trains with it. It is here to be read, and as a second opinion on the passes of `reference.py`, where the same
rule stands written out for whole layers.

>>> price, number = Node(100.0), Node(2.0)
>>> total = price * number + 30.0
>>> total.backward()
>>> print(total.value, price.gradient, number.gradient)
230.0 2.0 100.0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, Union

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Affine", "Node", "ReLU", "Sigmoid", "SoftmaxWithLoss", "exp", "log", "maximum", "summed_to", "tanh"]

Operand: TypeAlias = Union["Node", ArrayLike]
Rule: TypeAlias = Callable[[np.ndarray], tuple[np.ndarray, ...]]


class Node:
    """A value in the graph; after `backward` of a node above it, also that node's derivative by this value.

    Parameters
    ----------
    value : number or ndarray
        Integers become float64; float32 stays float32.
    operation : str
        The sign of the operation that made the value.
    inputs : tuple of Node
        What it was made from; empty for a leaf: data, a parameter, a constant.
    rule : function
        dL/d(value) -> a tuple of dL/d(input), one for each input; None for a leaf.
    """

    __array_ufunc__ = None  # lets `array + node` reach node.__radd__

    def __init__(
        self,
        value: ArrayLike,
        operation: str = "leaf",
        inputs: tuple[Node, ...] = (),
        rule: Rule | None = None,
    ) -> None:
        array = np.asarray(value)
        self.value: np.ndarray = array if array.dtype.kind == "f" else array.astype(np.float64)
        self.operation, self.inputs, self.rule = operation, inputs, rule
        self.depth: int = 1 + max((node.depth for node in inputs), default=-1)
        self.gradient: np.ndarray | None = None

    def __repr__(self) -> str:
        def text(array: np.ndarray) -> str:
            return f"{array:.6g}" if array.ndim == 0 else f"{array.dtype} of shape {array.shape}"

        gradient = "none before backward()" if self.gradient is None else text(self.gradient)
        return f"<Node {self.operation}: value {text(self.value)}, gradient {gradient}>"

    # --- backward -----------------------------------------------------------------------------------------------------

    def history(self) -> list[Node]:
        """This node and all that went into it, each once, in topological order: inputs first, as they are less deep."""
        found, waiting = dict[Node, None](), [self]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found[node] = None
                waiting.extend(reversed(node.inputs))
        return sorted(found, key=lambda node: node.depth)

    def backward(self) -> None:
        """Set `gradient` in every node of the history to dL/d(value), where L is this node; earlier ones are forgotten.

        It starts from dL/dL = 1. A node's turn comes when all nodes made from it have added their shares to it.
        """
        if self.value.ndim:
            shape = self.value.shape
            raise ValueError(f"backward() starts from a number; got shape {shape}. Sum first: node.sum().backward().")
        nodes = self.history()
        gradients = {node: np.zeros_like(node.value) for node in nodes}
        gradients[self] = np.ones_like(self.value)
        for node in reversed(nodes):
            node.gradient = gradients[node]
            if node.rule is not None:
                for below, gradient in zip(node.inputs, node.rule(node.gradient)):
                    gradients[below] = gradients[below] + summed_to(below.value.shape, gradient)

    # --- operations ---------------------------------------------------------------------------------------------------

    def constant(self, other: Operand) -> Node:
        """`other`, unless it is a node, as a leaf of this node's dtype."""
        return other if isinstance(other, Node) else Node(np.asarray(other, self.value.dtype))

    def __add__(self, other: Operand) -> Node:
        """y = a + b: the gradient passes on, dL/da = dL/db = dL/dy."""
        other = self.constant(other)
        return Node(self.value + other.value, "+", (self, other), lambda gradient: (gradient, gradient))

    def __mul__(self, other: Operand) -> Node:
        """y = a b, elementwise: the inputs swap, dL/da = dL/dy b, dL/db = dL/dy a."""
        a, b = self, self.constant(other)
        return Node(a.value * b.value, "×", (a, b), lambda gradient: (gradient * b.value, gradient * a.value))

    def __matmul__(self, other: Operand) -> Node:
        """Y = A B, for matrices: dL/dA = dL/dY B^T, dL/dB = A^T dL/dY."""
        A, B = self, self.constant(other)
        if A.value.ndim != 2 or B.value.ndim != 2 or A.value.shape[1] != B.value.shape[0]:
            raise ValueError(f"@ multiplies matrices (m, k) @ (k, n); got shapes {A.value.shape} and {B.value.shape}.")
        return Node(A.value @ B.value, "@", (A, B), lambda gradient: (gradient @ B.value.T, A.value.T @ gradient))

    def __truediv__(self, other: Operand) -> Node:
        """y = a / b, elementwise: dL/da = dL/dy / b, dL/db = -dL/dy a / b^2."""
        a, b = self, self.constant(other)
        y = a.value / b.value
        return Node(y, "/", (a, b), lambda gradient: (gradient / b.value, -gradient * y / b.value))

    def __pow__(self, power: Operand) -> Node:
        """y = a^p, elementwise: dL/da = dL/dy p a^(p-1). A node as the power gives exp(p log a), for a above 0."""
        if isinstance(power, Node):
            return exp(power * log(self))
        p = np.asarray(power, self.value.dtype)
        slope = p * self.value ** np.where(p == 0, 0, p - 1).astype(p.dtype)  # 0 where p = 0, at a = 0 too
        return Node(self.value**p, "power", (self,), lambda gradient: (gradient * slope,))

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Node:
        """y = sum of x over an axis, or over all: each number in it gets the whole of dL/dy."""
        kept, ones = self.value.sum(axis=axis, keepdims=True), np.ones_like(self.value)
        y = kept if keepdims else kept.squeeze(axis)
        return Node(y, "sum", (self,), lambda gradient: (gradient.reshape(kept.shape) * ones,))

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Node:
        """y = mean of x over an axis, or over all: each number in it gets its share of dL/dy."""
        total = self.sum(axis, keepdims)
        return total * (total.value.size / self.value.size)

    def __neg__(self) -> Node:
        return self * -1

    def __sub__(self, other: Operand) -> Node:
        return self + -self.constant(other)

    def __rsub__(self, other: Operand) -> Node:
        return -self + other

    def __rmatmul__(self, other: Operand) -> Node:
        return self.constant(other) @ self

    def __rtruediv__(self, other: Operand) -> Node:
        return self.constant(other) / self

    def __rpow__(self, other: Operand) -> Node:
        return self.constant(other) ** self

    __radd__, __rmul__ = __add__, __mul__


def exp(x: Node) -> Node:
    """y = exp(x): dL/dx = dL/dy y."""
    y = np.exp(x.value)
    return Node(y, "exp", (x,), lambda gradient: (gradient * y,))


def log(x: Node) -> Node:
    """y = log(x): dL/dx = dL/dy / x."""
    return Node(np.log(x.value), "log", (x,), lambda gradient: (gradient / x.value,))


def tanh(x: Node) -> Node:
    """y = tanh(x): dL/dx = dL/dy (1 - y^2)."""
    y = np.tanh(x.value)
    return Node(y, "tanh", (x,), lambda gradient: (gradient * (1 - y * y),))


def maximum(a: Node, b: Operand) -> Node:
    """y = max(a, b), elementwise, of a node and a node or constant: the gradient goes to the larger; to b if equal."""
    b = a.constant(b)
    first = a.value > b.value
    return Node(np.maximum(a.value, b.value), "max", (a, b), lambda gradient: (gradient * first, gradient * ~first))


def summed_to(shape: tuple[int, ...], gradient: np.ndarray) -> np.ndarray:
    """The gradient of an input of this shape that broadcasting repeated: a number used n times gets n gradients."""
    padded = (1,) * (gradient.ndim - len(shape)) + shape
    repeated = tuple(axis for axis, length in enumerate(padded) if length == 1)
    summed: np.ndarray = gradient.sum(axis=repeated)
    return summed.reshape(shape)


# --- layers: compositions, so that none needs a backward pass of its own ----------------------------------------------


class Affine:
    """Z = X W + b, for X of shape (m, n_below), W of (n_below, n_above), b of (n_above,).

    The nodes' rules come to dL/dX = dL/dZ W^T, dL/dW = X^T dL/dZ, dL/db = the sum of dL/dZ over its rows.
    """

    def __init__(self, W: ArrayLike, b: ArrayLike) -> None:
        self.W, self.b = Node(W), Node(b)

    def __call__(self, X: Operand) -> Node:
        return X @ self.W + self.b


class ReLU:
    """max(z, 0), with slope 0 at z = 0."""

    def __call__(self, z: Node) -> Node:
        return maximum(z, 0)


class Sigmoid:
    """1 / (1 + exp(-z)) = exp(z) / (exp(z) + exp(0)): the softmax of z and 0, and computed like it."""

    def __call__(self, z: Node) -> Node:
        top = np.maximum(z.value, 0)
        shifted = z - top
        return exp(shifted - log(exp(shifted) + np.exp(-top)))


class SoftmaxWithLoss:
    """L = -1/m sum t log p, p = exp(z) / sum over k of exp(z_k), for z of shape (m, n); dL/dz comes to (p - t) / m.

    p does not change when a number is subtracted from a whole row. With the row's largest, taken as a constant, no
    exponential overflows. `t` is an array of the shape of z, one-hot or probabilities, each row with the sum 1.
    """

    def __call__(self, z: Node, t: np.ndarray) -> Node:
        if z.value.ndim != 2 or np.shape(t) != z.value.shape:
            shapes = f"{np.shape(t)} and {z.value.shape}"
            raise ValueError(f"t and z must be matrices of one shape; got {shapes}. Of class codes: np.eye(n)[codes].")
        top: np.ndarray = z.value.max(axis=1, keepdims=True)
        shifted = z - top
        log_p = shifted - log(exp(shifted).sum(axis=1, keepdims=True))
        return (log_p * t).sum() * (-1 / len(t))
