"""The passes in NumPy against finite differences and against a step computed by hand."""

import itertools

import numpy as np
import pytest

from fastmlp import losses
from fastmlp.activations import ACTIVATIONS
from fastmlp.losses import LOSSES
from fastmlp.reference import Reference

UNITS = (3, 5, 4, 2)
ROWS = 7
CHANGE = 1e-6


def problem(loss, seed=0):
    """(coefs, intercepts, X, y), with targets in the domain of every loss."""
    random = np.random.default_rng(seed)
    coefs = [random.normal(size=shape) / shape[0] ** 0.5 for shape in itertools.pairwise(UNITS)]
    intercepts = [random.normal(size=n) for n in UNITS[1:]]
    X = random.normal(size=(ROWS, UNITS[0]))
    y = random.integers(0, 2, ROWS) if LOSSES[loss].codes else random.integers(0, 2, (ROWS, UNITS[-1])).astype(float)
    return coefs, intercepts, X, y


def objective(network, loss, alpha, weight):
    """What the gradient of the last step is the gradient of: a mean over outputs counts as a sum."""
    scale = losses.scale.py_func(LOSSES[loss].code, UNITS[-1])
    buffers = network.buffers
    return (buffers.losses.sum() / scale + 0.5 * alpha * sum(buffers.penalties)) / weight


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("alpha", [0, 0.7])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_slope_of_the_loss(loss, activation, alpha, weighted):
    coefs, intercepts, X, y = problem(loss)
    order = np.array([4, 0, 6, 6, 1])
    sample_weight = np.random.default_rng(1).uniform(0.5, 2, ROWS) if weighted else None
    weight = sample_weight[order].sum() if weighted else len(order)

    def trained():
        network = Reference(coefs, intercepts, activation=activation, loss=loss, optimizer="gradient")
        network.epoch(X, y, order, len(order), sample_weight=sample_weight, learning_rate=0.1, alpha=alpha)
        return network

    gradients = trained().buffers.first
    for layer, gradient in enumerate(gradients):
        slopes = np.empty_like(gradient)
        for place in np.ndindex(gradient.shape):
            array, at = (coefs[layer], place) if place[0] < UNITS[layer] else (intercepts[layer], place[1])
            number, values = array[at], []
            for change in (CHANGE, -CHANGE):
                array[at] = number + change
                values.append(objective(trained(), loss, alpha, weight))
            array[at] = number
            slopes[place] = (values[0] - values[1]) / (2 * CHANGE)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-8)


def test_step_computed_by_hand():
    network = Reference(
        [np.array([[0.5]]), np.array([[-1.0]])],
        [np.array([0.1]), np.array([0.2])],
        activation="relu",
        loss="squared_error",
        optimizer="sgd",
    )
    X, y = np.array([[2.0]]), np.array([[0.1]])
    # upward: z = 2 0.5 + 0.1 = 1.1 = a, y = -1.1 + 0.2 = -0.9
    np.testing.assert_allclose(network.predict(X), [[-0.9]])
    # loss (-0.9 - 0.1)² / 2 = 0.5, penalty 0.5 (0.5² + 1²) / 2 = 0.3125
    loss = network.epoch(X, y, np.array([0]), 1, learning_rate=0.1, momentum=0.0, alpha=0.5)
    assert loss == pytest.approx(0.8125)
    # downward: delta -1 at the top, (-1)(-1) 1 = 1 below. dW = -1.1 and 2, db = -1 and 1; the penalty adds 0.5 W
    coefs, intercepts = network.weights()
    np.testing.assert_allclose(np.ravel(coefs), [0.5 - 0.1 * (2 + 0.25), -1 - 0.1 * (-1.1 - 0.5)])
    np.testing.assert_allclose(np.ravel(intercepts), [0.1 - 0.1 * 1, 0.2 - 0.1 * -1], atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_of_an_epoch_is_the_mean_over_rows(loss):
    """At a learning rate of zero, that of batches of any size; the last one counts by its rows."""
    coefs, intercepts, X, y = problem(loss)
    network = Reference(coefs, intercepts, activation="tanh", loss=loss, optimizer="sgd")
    settings = {"learning_rate": 0.0, "alpha": 0.0}
    whole = network.epoch(X, y, np.arange(ROWS), ROWS, **settings)
    for batch_size in (1, 3, 5):
        assert network.epoch(X, y, np.arange(ROWS)[::-1], batch_size, **settings) == pytest.approx(whole)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_of_two_is_a_row_twice(loss):
    coefs, intercepts, X, y = problem(loss)
    networks = [Reference(coefs, intercepts, activation="tanh", loss=loss, optimizer="adam") for _ in range(2)]
    weight = np.ones(ROWS)
    weight[2] = 2
    settings = {"learning_rate": 0.1, "alpha": 0.3}
    losses = [
        networks[0].epoch(X, y, np.arange(ROWS), ROWS, sample_weight=weight, **settings),
        networks[1].epoch(X, y, np.array([*range(ROWS), 2]), ROWS + 1, **settings),
    ]
    assert losses[0] == pytest.approx(losses[1])
    for one, other in zip(*(network.buffers.weights for network in networks)):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_batch_without_weight_changes_nothing():
    coefs, intercepts, X, y = problem("squared_error")
    network = Reference(coefs, intercepts, activation="tanh", loss="squared_error", optimizer="sgd")
    loss = network.epoch(X, y, np.arange(ROWS), ROWS, sample_weight=np.zeros(ROWS), learning_rate=0.1, alpha=0.3)
    assert loss == 0
    for now, before in zip(network.weights()[0], coefs):
        np.testing.assert_array_equal(now, before)


def test_gradient_of_a_batch_is_the_sum_over_its_parts():
    from fastmlp import reference

    coefs, intercepts, X, y = problem("squared_error")
    sums = []
    for parts in ([slice(0, 7)], [slice(0, 3), slice(3, 4), slice(4, 7)]):
        network = Reference(coefs, intercepts, activation="tanh", loss="squared_error", optimizer="gradient")
        layout, buffers, data = network.layout, network.buffers, network._data(X, y)
        for part in parts:
            network.forward(data, part)
            reference.output_delta(layout, data, "squared_error", part, buffers)
            for layer in range(layout.layers - 1, 0, -1):
                reference.affine_backward(layout, layer, part, buffers)
            for layer in range(layout.layers):
                reference.affine_gradient(layout, layer, None, buffers)
        sums.append(buffers.gradient)
    for whole, in_parts in zip(*sums):
        np.testing.assert_allclose(in_parts, whole, rtol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_predictions_are_the_network_written_out(activation):
    coefs, intercepts, X, _ = problem("poisson")
    network = Reference(coefs, intercepts, activation=activation, loss="poisson", optimizer="adam")
    A = X
    for W, b in zip(coefs[:-1], intercepts[:-1]):
        A = ACTIVATIONS[activation].formula(A @ W + b)[0]
    np.testing.assert_allclose(network.predict(X), np.exp(A @ coefs[-1] + intercepts[-1]))


def test_moments_follow_from_batch_to_batch():
    """Adam's first two steps on one weight with a gradient of 1 and a rate of 0.1 are 0.1 long each."""
    network = Reference(
        [np.array([[0.0]])], [np.array([0.0])], activation="identity", loss="squared_error", optimizer="adam"
    )
    X, y = np.ones((2, 1)), np.full((2, 1), 1e6)
    network.epoch(X, y, np.arange(2), 1, learning_rate=0.1)
    np.testing.assert_allclose(network.weights()[0][0], [[0.2]], rtol=1e-6)
    network.epoch(X, y, np.arange(2), 1, step=2, learning_rate=0.1)
    np.testing.assert_allclose(network.weights()[0][0], [[0.4]], rtol=1e-6)
