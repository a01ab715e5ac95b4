"""The passes in NumPy against finite differences and against steps computed by hand."""

import doctest
import math

import numpy as np
import pytest
from problems import make_targets, make_weights, over_activations, over_losses, over_optimizers

from fastmlp import reference
from fastmlp.activations import PReLU, Tanh
from fastmlp.losses import LogLoss, Poisson, SquaredError
from fastmlp.normalizations import BatchNormalization, LayerNormalization
from fastmlp.reference import Reference

UNITS = (3, 5, 4, 2)
ROWS = 7
CHANGE = 1e-6


def problem(loss, output=None):
    """(coefs, intercepts, X, y), with targets that suit the loss."""
    coefs, intercepts = make_weights(UNITS)
    X = np.random.default_rng(1).normal(size=(ROWS, UNITS[0]))
    return coefs, intercepts, X, make_targets(loss, output or loss.outputs[0], (ROWS, UNITS[-1]))


# --- gradients --------------------------------------------------------------------------------------------------------


class Slope:
    """A gradient and the loss that it is the slope of, by what is learned: (layer, "weights") or (level, name)."""

    def __init__(self, *, loss=None, output=None, weighted=False, settings=None, **components):
        self.loss = LogLoss() if loss is None else loss
        self.output = output or self.loss.outputs[0]
        *self.weights, self.X, self.y = problem(self.loss, self.output)
        self.components = {"activation": Tanh(), "loss": self.loss, "output": self.output, **components}
        self.order = np.array([4, 0, 6, 6, 1])
        self.sample_weight = np.random.default_rng(1).uniform(0.5, 2, ROWS) if weighted else None
        self.settings = {} if settings is None else settings

    def __call__(self, key=None, values=None):
        """(loss, gradients) after a step; with a key, from these values there. A mean over outputs counts as a sum."""
        network = Reference(*self.weights, optimizer="gradient", **self.components)
        buffers = network.buffers
        if key is not None:
            place, name = key
            if name == "weights":
                buffers.weights[place] = values
            else:
                setattr(buffers.unit_parameters[place], name, values)
        self.before = {(layer, "weights"): W for layer, W in enumerate(buffers.weights)}
        self.before |= {
            (level, name): array
            for level, unit_parameters in enumerate(buffers.unit_parameters)
            for name, array in vars(unit_parameters).items()
        }
        settings = {"learning_rate": 0.1, "seed": 3, "sample_weight": self.sample_weight, **self.settings}
        network.epoch(self.X, self.y, self.order, len(self.order), **settings)
        weight = len(self.order) if self.sample_weight is None else self.sample_weight[self.order].sum()
        loss = (buffers.losses.sum() / self.loss.row_scale(UNITS[-1]) + sum(buffers.penalties)) / weight
        found = {(layer, "weights"): G for layer, G in enumerate(buffers.states[0])}
        return loss, found | {key: states[0] for key, states in buffers.unit_parameter_states.items()}

    def check(self):
        """Every component against central differences."""
        _, gradients = self()
        start = self.before
        for key, gradient in gradients.items():
            slopes = np.empty_like(gradient)
            for place in np.ndindex(gradient.shape):
                change = np.zeros_like(gradient)
                change[place] = CHANGE
                slopes[place] = (self(key, start[key] + change)[0] - self(key, start[key] - change)[0]) / (2 * CHANGE)
            np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-8, err_msg=str(key))


PENALTIES = {"alpha": 0.7, "l1": 0.2}


@over_losses
def test_gradient_of_every_loss(loss, output):
    Slope(loss=loss, output=output, weighted=True, settings=PENALTIES).check()


@over_activations
def test_gradient_of_every_activation(activation):
    Slope(activation=activation).check()


@pytest.mark.parametrize("activation", [Tanh(), PReLU(), [PReLU(), Tanh()]], ids=["tanh", "prelu", "both"])
@pytest.mark.parametrize("dropout", [None, [0.2, 0.4, 0.3]], ids=["whole", "dropout"])
@pytest.mark.parametrize("normalization", [None, BatchNormalization(), LayerNormalization()], ids=str)
def test_gradient_of_all_components(normalization, dropout, activation):
    Slope(normalization=normalization, dropout=dropout, activation=activation, weighted=True).check()


@over_losses
def test_gradient_of_a_batch_is_the_sum_over_its_parts(loss, output):
    coefs, intercepts, X, y = problem(loss, output)
    sums = []
    for parts in ([slice(0, 7)], [slice(0, 3), slice(3, 4), slice(4, 7)]):
        network = Reference(coefs, intercepts, activation="tanh", loss=loss, output=output, optimizer="gradient")
        layout, buffers, data = network.layout, network.buffers, network._data(X, y)
        for part in parts:
            network.forward(data, part)
            reference.output_delta(layout, data, (loss, output), part, buffers)
            for layer in range(layout.layers - 1, 0, -1):
                reference.affine_backward(layout, layer, False, part, buffers)
            for layer in range(layout.layers):
                reference.affine_gradient(layout, layer, None, buffers)
        sums.append(buffers.gradient)
    for whole, in_parts in zip(*sums):
        np.testing.assert_allclose(in_parts, whole, rtol=1e-12, atol=1e-15)


# --- steps by hand ----------------------------------------------------------------------------------------------------


def test_step_computed_by_hand():
    network = Reference(
        [np.array([[0.5]]), np.array([[-1.0]])],
        [np.array([0.1]), np.array([0.2])],
        activation="relu",
        loss="squared_error",
        optimizer="gradient_descent",
    )
    X, y = np.array([[2.0]]), np.array([[0.1]])
    # upward: z = 2 0.5 + 0.1 = 1.1 = a, y = -1.1 + 0.2 = -0.9
    np.testing.assert_allclose(network.predict(X), [[-0.9]])
    # loss (-0.9 - 0.1)² / 2 = 0.5, penalties 0.5 (0.5² + 1²) / 2 = 0.3125 and 0.2 (0.5 + 1) = 0.3
    loss = network.epoch(X, y, np.array([0]), 1, learning_rate=0.1, alpha=0.5, l1=0.2)
    assert loss == pytest.approx(1.1125)
    # downward: delta -1 at the top, (-1)(-1) 1 = 1 below. dW = -1.1 and 2, db = -1 and 1; penalties add 0.5 W ± 0.2
    coefs, intercepts = network.weights()
    np.testing.assert_allclose(np.ravel(coefs), [0.5 - 0.1 * (2 + 0.25 + 0.2), -1 - 0.1 * (-1.1 - 0.5 - 0.2)])
    np.testing.assert_allclose(np.ravel(intercepts), [0.1 - 0.1 * 1, 0.2 - 0.1 * -1], atol=1e-15)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"clip_value": 1.0}, [1, 1, -1, -1]),  # of the gradients 2, 1, -1.1, -1: below, its bias, above, its bias
        ({"clip_value": 1.05}, [1.05, 1, -1.05, -1]),
        ({"clip_norm": math.sqrt(7.21) / 2}, [1, 0.5, -0.55, -0.5]),  # half of their norm
        ({"clip_norm": 3.0}, [2, 1, -1.1, -1]),
    ],
    ids=str,
)
def test_clipping_by_hand(settings, steps):
    weights = [np.array([[0.5]]), np.array([[-1.0]])], [np.array([0.1]), np.array([0.2])]
    network = Reference(*weights, activation="relu", loss="squared_error", optimizer="gradient_descent")
    network.epoch(np.array([[2.0]]), np.array([[0.1]]), np.array([0]), 1, learning_rate=0.1, **settings)
    (W, V), (b, c) = network.weights()
    before = np.array([0.5, 0.1, -1.0, 0.2])
    np.testing.assert_allclose(np.ravel([W, b[None], V, c[None]]), before - 0.1 * np.array(steps), atol=1e-15)


def test_max_norm_by_hand():
    """Columns of norm 5 and 0.5, limited to 1 after a step of no length; the bias counts for nothing."""
    W, b = np.array([[3.0, 0.3], [4.0, 0.4]]), np.array([7.0, 7.0])
    network = Reference([W], [b], activation=[], loss="squared_error", optimizer="gradient_descent")
    network.epoch(np.ones((1, 2)), np.zeros((1, 2)), np.array([0]), 1, learning_rate=0.0, max_norm=1.0)
    (coefs,), (intercepts,) = network.weights()
    np.testing.assert_allclose(coefs, [[0.6, 0.3], [0.8, 0.4]])
    np.testing.assert_array_equal(intercepts, b)


def test_moments_follow_from_batch_to_batch():
    """Adam's first two steps on one weight with a gradient of 1 and a rate of 0.1 are 0.1 long each."""
    network = Reference([np.array([[0.0]])], [np.array([0.0])], activation=[], loss="squared_error", optimizer="adam")
    X, y = np.ones((2, 1)), np.full((2, 1), 1e6)
    network.epoch(X, y, np.arange(2), 1, learning_rate=0.1)
    np.testing.assert_allclose(network.weights()[0][0], [[0.2]], rtol=1e-6)
    network.epoch(X, y, np.arange(2), 1, step=2, learning_rate=0.1)
    np.testing.assert_allclose(network.weights()[0][0], [[0.4]], rtol=1e-6)


@over_optimizers
def test_epochs_are_their_steps(optimizer):
    """An epoch with a rate for each step is as many epochs of one step."""
    coefs, intercepts, X, y = problem(LogLoss())
    whole, apart = (
        Reference(coefs, intercepts, activation="tanh", loss="log_loss", optimizer=optimizer) for _ in range(2)
    )
    rates, order = np.array([0.1, 0.05, 0.02]), np.arange(6)
    loss = whole.epoch(X, y, order, 2, learning_rate=rates, step=4)
    pairs = zip(order.reshape(3, 2), rates)
    steps = [apart.epoch(X, y, rows, 2, learning_rate=rate, step=4 + n) for n, (rows, rate) in enumerate(pairs)]
    assert loss == pytest.approx(np.mean(steps))
    for one, other in zip(whole.buffers.weights, apart.buffers.weights):
        np.testing.assert_allclose(one, other, rtol=1e-12)


# --- losses of an epoch -----------------------------------------------------------------------------------------------


@over_losses
def test_loss_of_an_epoch_is_the_mean_over_rows(loss, output):
    """At a learning rate of zero, that of batches of any size; the last one counts by its rows."""
    coefs, intercepts, X, y = problem(loss, output)
    network = Reference(coefs, intercepts, activation="tanh", loss=loss, output=output, optimizer="gradient_descent")
    whole = network.epoch(X, y, np.arange(ROWS), ROWS, learning_rate=0.0)
    for batch_size in (1, 3, 5):
        assert network.epoch(X, y, np.arange(ROWS)[::-1], batch_size, learning_rate=0.0) == pytest.approx(whole)


@over_losses
def test_a_weight_of_two_is_a_row_twice(loss, output):
    coefs, intercepts, X, y = problem(loss, output)
    components = {"activation": "tanh", "loss": loss, "output": output, "optimizer": "momentum"}
    networks = [Reference(coefs, intercepts, **components) for _ in range(2)]
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
@pytest.mark.parametrize("settings", [{}, {"clip_norm": 1.0}, {"clip_value": 1.0}, {"max_norm": 100.0}], ids=str)
def test_a_batch_without_weight_changes_nothing(settings):
    coefs, intercepts, X, y = problem(SquaredError())
    network = Reference(coefs, intercepts, activation="tanh", loss="squared_error", optimizer="gradient_descent")
    settings = {"learning_rate": 0.1, "alpha": 0.3, "sample_weight": np.zeros(ROWS), **settings}
    assert network.epoch(X, y, np.arange(ROWS), ROWS, **settings) == 0
    for now, before in zip(network.weights()[0], coefs):
        np.testing.assert_array_equal(now, before)


# --- predictions ------------------------------------------------------------------------------------------------------


@over_activations
def test_predictions_are_the_network_written_out(activation):
    coefs, intercepts, X, _ = problem(Poisson())
    network = Reference(coefs, intercepts, activation=activation, loss="poisson", optimizer="adam")
    A = X
    for W, b in zip(coefs[:-1], intercepts[:-1]):
        A = activation.formula(A @ W + b)[0]
    np.testing.assert_allclose(network.predict(X), np.exp(A @ coefs[-1] + intercepts[-1]))


@pytest.mark.parametrize("rows", [1, ROWS])
def test_batch_normalization_predicts_by_running_statistics(rows):
    """Of momentum 1: the batch's mean and the population's variance, however few rows there are."""
    *_, X, y = problem(SquaredError())
    (W, V), (b, c) = weights = make_weights((3, 5, 2))
    components = {"activation": "tanh", "loss": "squared_error", "optimizer": "gradient_descent"}
    network = Reference(*weights, normalization=BatchNormalization(momentum=1.0), **components)
    network.epoch(X, y, np.arange(ROWS), ROWS, learning_rate=0.0)
    Z = X @ W + b
    expected = np.tanh((Z - Z.mean(axis=0)) / np.sqrt(Z.var(axis=0, ddof=1) + 1e-5)) @ V + c
    np.testing.assert_allclose(network.predict(X[:rows]), expected[:rows], rtol=1e-12)


def test_example_in_the_docstring():
    assert doctest.testmod(reference) == (0, 7)
