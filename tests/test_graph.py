"""The computation graph against finite differences and closed forms; then as a second opinion on the reference."""

import doctest
import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastmlp import graph
from fastmlp.activations import ACTIVATIONS
from fastmlp.graph import Affine, Node, ReLU, Sigmoid, SoftmaxWithLoss, exp, log, maximum, tanh
from fastmlp.losses import LOSSES, PAIRS
from fastmlp.normalizations import BatchNormalization, LayerNormalization
from fastmlp.reference import Reference

H = 1e-6


def differences(f, arrays):
    """The derivatives of the number f(*arrays) by all numbers in the arrays, by central differences."""
    gradients = [np.empty_like(array) for array in arrays]
    for array, gradient in zip(arrays, gradients):
        for place in np.ndindex(array.shape):
            number = array[place]
            array[place] = number + H
            above = f(*arrays)
            array[place] = number - H
            below = f(*arrays)
            array[place] = number
            gradient[place] = (above - below) / (2 * H)
    return gradients


def assert_slopes_are_right(f, *arrays):
    """Gradients of a random weighting of f's numbers, by the graph and by differences."""
    shape = f(*map(Node, arrays)).value.shape
    weight = np.random.default_rng(0).normal(size=shape)
    nodes = [Node(array) for array in arrays]
    (f(*nodes) * weight).sum().backward()
    expected = differences(lambda *arrays: (f(*map(Node, arrays)).value * weight).sum(), arrays)
    for node, slope in zip(nodes, expected):
        assert node.gradient.shape == node.value.shape
        np.testing.assert_allclose(node.gradient, slope, rtol=1e-6, atol=1e-7)


def matrix(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


# --- nodes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        maximum,
        lambda a, b: a @ (b * b),
        lambda a, b: -a + 3 * b - 1,
        lambda a, b: 2 - a * b + matrix(4, 4),
        lambda a, b: matrix(2, 4) @ a @ (a - b) @ matrix(4, 3),
    ],
    ids=["add", "subtract", "multiply", "maximum", "matmul", "numbers", "arrays", "matrices"],
)
def test_operations_of_two(f):
    assert_slopes_are_right(f, matrix(4, 4), matrix(4, 4, seed=2))


@pytest.mark.parametrize(
    "f",
    [
        exp,
        lambda x: log(x * x + 0.1),
        lambda x: maximum(x, 0.1),
        lambda x: x.sum(),
        lambda x: x.sum(axis=0),
        lambda x: x.sum(axis=1),
        lambda x: x.sum(axis=-1, keepdims=True),
        lambda x: x.sum(axis=(0, 1), keepdims=True),
        lambda x: exp(x) * x.sum(axis=1, keepdims=True),
        tanh,
        lambda x: x.mean(),
        lambda x: x.mean(axis=0) * x.mean(axis=1, keepdims=True),
        lambda x: x.mean(axis=(0, 1), keepdims=True) ** 2,
        lambda x: x**3 - x**2 + x**1 + x**0,
        lambda x: (x * x + 0.1) ** 0.5 + (x * x + 0.1) ** -1.5,
        lambda x: x ** np.array([0, 1, 2, 3]),
        lambda x: 2**x,
        lambda x: 1 / (x * x + 1) + x / 3,
        lambda x: (x - x.mean(axis=0)) / (((x - x.mean(axis=0)) ** 2).mean(axis=0) + 1e-3) ** 0.5,
    ],
    ids=[
        *("exp", "log", "maximum", "sum", "columns", "rows", "kept", "both", "reused"),
        *("tanh", "mean", "means", "kept mean", "powers", "roots", "power by column", "exponent", "divide"),
        "batch normalization",
    ],
)
def test_operations_of_one(f):
    assert_slopes_are_right(f, matrix(3, 4))


@hypothesis.settings(deadline=None)  # a busy machine takes its time
@hypothesis.given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), st.sampled_from(["+", "×", "/", "max"])
)
def test_a_gradient_is_summed_over_what_broadcasting_repeated(shapes, operation):
    f = {"+": lambda a, b: a + b, "×": lambda a, b: a * b, "/": lambda a, b: a / (b * b + 1), "max": maximum}[operation]
    assert_slopes_are_right(f, *(matrix(*shape, seed=seed) for seed, shape in enumerate(shapes.input_shapes)))


def test_quotients_and_powers_of_nodes():
    assert_slopes_are_right(lambda a, b: a / (b * b + 1), matrix(3, 4), matrix(4, seed=2))
    assert_slopes_are_right(lambda a, b: (a * a + 0.1) ** b, matrix(3, 4), matrix(3, 1, seed=2))
    assert (Node(8.0) / 2).value == (16 / Node(4.0)).value == (Node(2.0) ** 2).value == (2 ** Node(2.0)).value == 4


def test_a_power_of_zero_has_no_slope():
    x = Node([0.0, 2.0])
    (x**0).sum().backward()
    np.testing.assert_array_equal(x.gradient, [0, 0])
    (x**1).sum().backward()
    np.testing.assert_array_equal(x.gradient, [1, 1])


def test_apples_and_oranges():
    """Two products and a sum times tax (Saitoh, "Deep Learning from Scratch", O'Reilly Japan 2016, section 5.1)."""
    apple, apples, orange, oranges, tax = leaves = [Node(x) for x in (100, 2, 150, 3, 1.1)]
    bill = (apple * apples + orange * oranges) * tax
    assert bill.value == pytest.approx(715)
    bill.backward()
    assert [float(leaf.gradient) for leaf in leaves] == pytest.approx([2.2, 110, 3.3, 165, 650])
    before_tax, _ = bill.inputs
    assert [node.gradient for node in (bill, before_tax, *before_tax.inputs)] == pytest.approx([1, 1.1, 1.1, 1.1])
    assert before_tax.inputs[0].value == 200


def test_gradients_of_a_node_used_twice_add_up():
    x = Node(3.0)
    (x * x + x + x).backward()
    assert x.gradient == 8


def test_a_node_waits_for_all_that_is_made_from_it():
    """x feeds y by a short way and by a long one: the long way's share must have come before x's turn."""
    x = Node(2.0)
    u = x * x
    v = u * 3
    y = u * (v + u)  # y = 4 x^4
    y.backward()
    assert u.gradient == 8 * 4
    assert x.gradient == 16 * 2**3
    depths = [node.depth for node in y.history()]
    assert depths == sorted(depths)
    assert len(depths) == len(set(y.history())) == 6  # x, 3, u, v, v + u, y


def test_backward_forgets_earlier_gradients():
    x = Node(3.0)
    y = x * x
    y.backward()
    y.backward()
    assert x.gradient == 6
    (x * 5).backward()
    assert x.gradient == 5


def test_a_graph_may_be_deep():
    x = Node(1.0)
    y = x
    for _ in range(20_000):
        y = y + x
    y.backward()
    assert x.gradient == 20_001


def test_the_second_of_two_equal_numbers_takes_the_gradient():
    a, b = Node([1.0, 2.0]), Node([1.0, 0.0])
    maximum(a, b).sum().backward()
    np.testing.assert_array_equal([a.gradient, b.gradient], [[0, 1], [1, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(dtype):
    random = np.random.default_rng(0)
    X, t = random.normal(size=(5, 3)), np.eye(4)[[0, 3, 1, 1, 2]]
    affine = Affine(matrix(3, 4).astype(dtype), np.zeros(4, dtype))
    loss = SoftmaxWithLoss()(Sigmoid()(2 * ReLU()(affine(X)) - 1), t)
    loss.backward()
    assert {array.dtype for node in loss.history() for array in (node.value, node.gradient)} == {np.dtype(dtype)}


def test_integers_become_floats():
    assert Node(2).value.dtype == Node([1, 2]).value.dtype == Node(True).value.dtype == np.float64


def test_repr():
    x, W = Node(2), Node(np.zeros((3, 4), np.float32))
    y = x * 1.5
    assert repr(x) == "<Node leaf: value 2, gradient none before backward()>"
    y.backward()
    assert repr(y) == "<Node ×: value 3, gradient 1>"
    assert repr(x) == "<Node leaf: value 2, gradient 1.5>"
    W.sum().backward()
    assert repr(W) == "<Node leaf: value float32 of shape (3, 4), gradient float32 of shape (3, 4)>"


def test_errors_name_the_remedy():
    with pytest.raises(ValueError, match=r"starts from a number; got shape \(2, 3\). Sum first: node.sum\(\).backw"):
        Node(np.ones((2, 3))).backward()
    with pytest.raises(ValueError, match=r"\(m, k\) @ \(k, n\); got shapes \(3,\) and \(3, 2\)."):
        Node(np.ones(3)) @ Node(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"got shapes \(2, 3\) and \(2, 3\)."):
        np.ones((2, 3)) @ Node(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"one shape; got \(2,\) and \(2, 3\). Of class codes: np.eye\(n\)\[codes\]."):
        SoftmaxWithLoss()(Node(np.ones((2, 3))), np.array([0, 2]))


def test_example_in_the_docstring():
    assert doctest.testmod(graph) == (0, 4)


# --- layers -----------------------------------------------------------------------------------------------------------


def test_affine():
    X, W, b, weight = Node(matrix(5, 3)), matrix(3, 4), matrix(4), matrix(5, 4, seed=2)
    layer = Affine(W, b)
    Z = layer(X)
    np.testing.assert_allclose(Z.value, X.value @ W + b)
    (Z * weight).sum().backward()
    np.testing.assert_allclose(X.gradient, weight @ W.T)
    np.testing.assert_allclose(layer.W.gradient, X.value.T @ weight)
    np.testing.assert_allclose(layer.b.gradient, weight.sum(axis=0))


def test_relu():
    z = Node([-2.0, 0.0, 3.0])
    y = ReLU()(z)
    y.sum().backward()
    np.testing.assert_array_equal(y.value, [0, 0, 3])
    np.testing.assert_array_equal(z.gradient, [0, 0, 1])


@pytest.mark.filterwarnings("error")
def test_sigmoid():
    """At 0 and far out too: no overflow, no warning."""
    z = Node([-1e4, -40, -1, 0, np.log(3), 40, 1e4])
    y = Sigmoid()(z)
    y.sum().backward()
    expected = np.array([0, np.exp(-40), 1 / (1 + np.e), 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(y.value, expected, rtol=1e-12)
    np.testing.assert_allclose(z.gradient, expected * (1 - expected), rtol=1e-12, atol=1e-15)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shift", [0, 1e4, -1e4])
def test_softmax_with_loss(shift):
    z, t = Node(matrix(5, 3) + shift), np.random.default_rng(0).dirichlet(np.ones(3), 5)
    loss = SoftmaxWithLoss()(z, t)
    loss.backward()
    p = np.exp(z.value - shift)
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loss.value, -(t * np.log(p)).sum() / 5)
    np.testing.assert_allclose(z.gradient, (p - t) / 5, atol=1e-15)


# --- a second opinion on the reference --------------------------------------------------------------------------------
# Each component as a graph, written here once more and without a derivative. A new component is one line.

sigmoid = Sigmoid()


def minimum(a, b):
    return -maximum(-a, -b)


def absolute(z):
    return maximum(z, -z)


def tanh(z):
    return 2 * sigmoid(2 * z) - 1


def softplus(z):
    return maximum(z, 0) + log(1 + exp(-absolute(z)))


def leaky(z, slope):
    return maximum(z, 0) + slope * minimum(z, 0)


def log_softmax(z):
    return z - log(exp(z).sum(axis=1, keepdims=True))


def focal(p, t):
    return -t * (1 - p) * (1 - p) * log(p)


def huber(e):
    near = minimum(absolute(e), 1)
    return absolute(e) - near + 0.5 * near * near


def normalized(z, axis, epsilon):
    count = z.value.shape[axis]
    centred = z - z.sum(axis=axis, keepdims=True) * (1 / count)
    variance = (centred * centred).sum(axis=axis, keepdims=True) * (1 / count)
    return centred * exp(-0.5 * log(variance + epsilon))


HIDDEN = {  # z -> f(z)
    "identity": lambda z: z,
    "logistic": sigmoid,
    "tanh": tanh,
    "relu": ReLU(),
    "leaky_relu": lambda z: leaky(z, 0.01),
    "prelu": lambda z: leaky(z, 0.25),
    "elu": lambda z: maximum(z, 0) + exp(minimum(z, 0)) - 1,
    "selu": lambda z: 1.0507009873554805 * (maximum(z, 0) + 1.6732632423543772 * (exp(minimum(z, 0)) - 1)),
    "softplus": softplus,
    "gelu_tanh": lambda z: 0.5 * z * (1 + tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z * z * z))),
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * tanh(softplus(z)),
    "hard_sigmoid": lambda z: minimum(maximum(z * (1 / 6) + 0.5, 0), 1),
    "hard_swish": lambda z: z * minimum(maximum(z * (1 / 6) + 0.5, 0), 1),
}
OUTPUT = {"identity": lambda z: z, "logistic": sigmoid, "tanh": tanh, "exp": exp}  # z -> y
ERROR = {  # e = y - t -> rho(e)
    "squared_error": lambda e: 0.5 * e * e,
    "absolute_error": absolute,
    "huber": huber,
    "log_cosh": lambda e: absolute(e) + log(1 + exp(-2 * absolute(e))),
    "quantile": lambda e: 0.5 * absolute(e),
}
LOSS = {  # z, t -> losses, up to a constant, whose sum has the derivative delta; class codes come one-hot
    ("log_loss", "softmax"): lambda z, t: SoftmaxWithLoss()(z, t) * len(t),
    ("log_loss", "logistic"): lambda z, t: softplus(z) - t * z,
    ("kl_divergence", "softmax"): lambda z, t: -t * log_softmax(z),
    ("focal", "softmax"): lambda z, t: focal(exp(log_softmax(z)), t),
    ("focal", "logistic"): lambda z, t: focal(sigmoid(z), t) + focal(sigmoid(-z), 1 - t),
    ("poisson", "exp"): lambda z, t: exp(z) - t * z,
    ("gamma", "exp"): lambda z, t: z + t * exp(-z),
    **{
        (name, output): lambda z, t, rho=rho, output=output: rho(OUTPUT[output](z) - t)
        for name, rho in ERROR.items()
        for output in LOSSES[name].outputs
    },
}
NOT_EXPRESSIBLE = {"gelu"}  # the error function is no composition of exp and log

ROWS, UNITS, ALPHA = 7, (3, 5, 4, 3), 0.3


def test_every_word_has_a_second_opinion():
    assert {cls.name for cls in ACTIVATIONS.classes} - set(HIDDEN) == NOT_EXPRESSIBLE
    assert {(cls.name, output) for cls, output in PAIRS} == set(LOSS)


@pytest.mark.parametrize("name", HIDDEN)
def test_activation_as_a_graph(name):
    assert_slopes_are_right(HIDDEN[name], 3 * matrix(6, 4))


@pytest.mark.parametrize("pair", LOSS, ids="-".join)
def test_loss_as_a_graph(pair):
    t = np.random.default_rng(0).dirichlet(np.ones(4), 6)
    assert_slopes_are_right(lambda z: LOSS[pair](z, t), 3 * matrix(6, 4))


def check_reference(pair, activation, normalization=None):
    """One batch, by the reference and as one graph: the gradients of all weights, gains, shifts and slopes."""
    random, loss, output = np.random.default_rng(0), LOSSES.resolve(pair[0]), pair[1]
    coefs = [random.normal(size=shape) for shape in itertools.pairwise(UNITS)]
    intercepts = [random.normal(size=n) for n in UNITS[1:]]
    X, t = random.normal(size=(ROWS, UNITS[0])), random.dirichlet(np.ones(UNITS[-1]), ROWS)
    codes, codes_wanted = t.argmax(axis=1), loss.takes_codes(output)
    if codes_wanted or loss.name == "focal":
        t = np.eye(UNITS[-1])[codes]

    components = {"activation": activation, "loss": loss, "output": output, "normalization": normalization}
    reference = Reference(coefs, intercepts, optimizer="gradient", **components)
    reference.epoch(X, codes if codes_wanted else t, np.arange(ROWS), ROWS, learning_rate=0.0, alpha=ALPHA)

    layers, learned = [Affine(W, b) for W, b in zip(coefs, intercepts)], {}
    A = Node(X)
    for level, layer in enumerate(layers[:-1], 1):
        Z = layer(A)
        if normalization is not None:
            gain, shift = Node(np.ones(UNITS[level])), Node(np.zeros(UNITS[level]))
            Z = normalized(Z, ("batch", "layer").index(normalization.name), normalization.epsilon) * gain + shift
            learned |= {(level, "gain"): gain, (level, "shift"): shift}
        if activation == "prelu":
            learned[level, "hyperparameter"] = slope = Node(np.full(UNITS[level], 0.25))
            A = leaky(Z, slope)
        else:
            A = HIDDEN[activation](Z)
    losses = LOSS[pair](layers[-1](A), t)
    penalty = sum((0.5 * ALPHA * layer.W * layer.W).sum() for layer in layers)
    ((losses.sum() + penalty) * (1 / ROWS)).backward()

    for layer, gradient in zip(layers, reference.buffers.states[0]):
        np.testing.assert_allclose(gradient[:-1], layer.W.gradient, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(gradient[-1], layer.b.gradient, rtol=1e-10, atol=1e-12)
    states = reference.buffers.unit_parameter_states
    assert set(states) == set(learned)
    for key, node in learned.items():
        np.testing.assert_allclose(states[key][0], node.gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", HIDDEN)
@pytest.mark.parametrize("pair", [("log_loss", "softmax"), ("squared_error", "identity")], ids="-".join)
def test_gradients_of_the_reference_by_activation(pair, activation):
    check_reference(pair, activation)


@pytest.mark.parametrize("pair", LOSS, ids="-".join)
def test_gradients_of_the_reference_by_loss(pair):
    check_reference(pair, "mish")


@pytest.mark.parametrize("activation", ["tanh", "prelu"])
@pytest.mark.parametrize("normalization", [BatchNormalization(), LayerNormalization()], ids=repr)
def test_gradients_of_the_reference_by_normalization(normalization, activation):
    check_reference(("log_loss", "softmax"), activation, normalization)
