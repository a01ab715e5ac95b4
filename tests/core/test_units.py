"""What concerns whole units or rows: normalization, learned slopes, dropout, clipping, penalties, max-norm.

Each against the reference, over shapes and teams; the reference against definitions and finite differences.
"""

import itertools

import numpy as np
import pytest
from problems import Problem, make_weights, over_dtypes, over_optimizers

from fastmlp.activations import ACTIVATIONS, PReLU
from fastmlp.core.layout import CHUNK
from fastmlp.core.network import Network
from fastmlp.core.records import LEARNED
from fastmlp.losses import LogLoss, SquaredError
from fastmlp.normalizations import NORMALIZATIONS, BatchNormalization, LayerNormalization

pytestmark = [pytest.mark.width, pytest.mark.threads]

NORMALIZATION_WORDS = [cls() for cls in NORMALIZATIONS.classes]
NORMALIZATION_WORDS += [BatchNormalization(momentum=1.0, epsilon=0.1), LayerNormalization(epsilon=0.1)]
over_normalizations = pytest.mark.parametrize("normalization", NORMALIZATION_WORDS, ids=repr)

# What a step has beside products and elementwise components: {name: (components, settings)}.
SPECIAL_PASSES = {
    "dropout": ({"dropout": 0.3}, {}),
    "batch normalization": ({"normalization": BatchNormalization()}, {}),
    "layer normalization": ({"normalization": LayerNormalization()}, {}),
    "learned slopes": ({"activation": "prelu"}, {}),
    "clipping by value": ({}, {"clip_value": 0.01}),
    "clipping by norm": ({}, {"clip_norm": 0.1}),
    "max-norm": ({}, {"max_norm": 0.9}),
    "l1": ({}, {"l1": 0.3}),
    "everything by batch": (
        {"dropout": 0.3, "normalization": BatchNormalization(), "activation": "prelu"},
        {"clip_value": 0.05, "clip_norm": 0.1, "max_norm": 0.9, "l1": 0.3},
    ),
    "everything by layer": (
        {"dropout": 0.3, "normalization": LayerNormalization(), "activation": "prelu"},
        {"clip_value": 0.05, "clip_norm": 0.1, "max_norm": 0.9, "l1": 0.3},
    ),
}
SHAPES = {  # (units, rows, batch size)
    "one of everything": ((1, 1, 1, 1), 5, 1),
    "batch of one row": ((7, 33, 2), 20, 1),
    "one row": ((7, 5, 2), 1, 1),
    "tile": ((8, 48, 48, 16), 64, 8),
    "tile and one": ((9, 49, 47, 17), 65, 9),
    "tile less one": ((7, 47, 15, 15), 63, 7),
    "primes": ((13, 101, 53, 11), 97, 31),
    "one unit": ((5, 17, 1, 17, 3), 40, 20),
    "narrow": ((30, 3, 5, 2), 40, 13),
    "wide": ((20, 1100, 2), 30, 12),
    "several chunks": ((7, 33, 19, 2), 2 * CHUNK + 7, 2 * CHUNK + 7),
    "chunks in batches": ((7, 33, 19, 2), 1300, CHUNK + 1),
    "linear": ((30, 2), 17, 4),
}
over_passes = pytest.mark.parametrize("special", SPECIAL_PASSES)


def make(special, shape, dtype, **components):
    """A problem with one of them, of one of the shapes."""
    units, rows, batch_size = SHAPES[shape]
    chosen, settings = SPECIAL_PASSES[special]
    chosen = {"activation": "tanh", "optimizer": "momentum", **chosen, **components}
    if share := chosen.get("dropout"):
        chosen["dropout"] = [share] * (len(units) - 1)
    return Problem(units, rows, batch_size, dtype, settings=settings, **chosen)


# --- the network against the reference --------------------------------------------------------------------------------


@over_dtypes
@over_passes
@pytest.mark.parametrize("shape", SHAPES)
def test_network_is_the_reference_for_any_team(special, shape, dtype):
    make(special, shape, dtype).check(n_threads=(1, 2, 3))


@pytest.mark.parametrize("special", [name for name in SPECIAL_PASSES if "batch" not in name])
@over_optimizers
def test_every_optimizer(special, optimizer):
    """Not above a batch normalization: there a bias has no gradient but its rounding, which some divide by itself."""
    make(special, "tile", np.float64, optimizer=optimizer).check(n_threads=(1, 2))


@over_dtypes
@over_normalizations
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_after_a_normalization(normalization, activation, dtype):
    components = {"normalization": normalization, "activation": activation, "optimizer": "momentum"}
    Problem((6, 19, 35, 3), 50, 16, dtype, **components).check(n_threads=(1, 2))


@pytest.mark.parametrize("special", SPECIAL_PASSES)
def test_each_changes_the_result(special):
    """So that a test that passes means something."""
    plain = Problem(*SHAPES["tile"], np.float64, activation="tanh", optimizer="momentum").by_network()
    changed = make(special, "tile", np.float64).by_network()
    assert not np.allclose(plain[2], changed[2], rtol=0, atol=1e-4)


@over_passes
def test_rows_with_weights(special):
    problem = make(special, "tile less one", np.float64)
    problem.sample_weight = np.random.default_rng(0).uniform(0, 2, problem.rows)
    problem.sample_weight[problem.orders[0][:7]] = 0
    problem.check(n_threads=(1, 2))


def test_learned_slopes_beside_fixed_ones():
    Problem((6, 19, 35, 7, 3), 50, 16, np.float64, activation=["prelu", "gelu", PReLU(0.5)]).check((1, 2))


# --- normalization ----------------------------------------------------------------------------------------------------


@over_normalizations
def test_normalized_layer_is_its_definition(normalization):
    """Written out: the product, its normalization, gain and shift, the activation, the next product."""
    problem = Problem((6, 19, 3), 50, 50, np.float64, normalization=normalization, activation="tanh")
    (W, V), (b, c) = make_weights(problem.units)
    random, network = np.random.default_rng(2), problem.network()
    unit_parameters = np.stack([np.zeros(19), *random.uniform(0.5, 2, (4, 19))])
    network.set_unit_parameters([unit_parameters])
    np.testing.assert_array_equal(network.unit_parameters(), [unit_parameters])
    _, gain, shift, mean, variance = unit_parameters
    Z = problem.X @ W + b
    over_layer = normalization.name == "layer"
    expected = normalization.formula(Z)[0] if over_layer else (Z - mean) / np.sqrt(variance + normalization.epsilon)
    logits = np.tanh(expected * gain + shift) @ V + c
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    with problem.session(network) as session:
        np.testing.assert_allclose(session.predict(), share, rtol=1e-12)


def test_running_statistics_follow_the_batches():
    """By their definition, with the variance of the population."""
    momentum, rows = 0.25, 12
    problem = Problem((6, 19, 3), 2 * rows, rows, np.float64, normalization=BatchNormalization(momentum=momentum))
    problem.settings["learning_rate"] = 0.0
    (W, _), (b, _) = make_weights(problem.units)
    network, order = problem.network(), problem.orders[0]
    with problem.session(network, n_threads=2) as session:
        session.epoch(order, **problem.settings)
    mean, variance = np.zeros(19), np.ones(19)
    for batch in (order[:rows], order[rows:]):
        Z = problem.X[batch] @ W + b
        mean += momentum * (Z.mean(axis=0) - mean)
        variance += momentum * (Z.var(axis=0, ddof=1) - variance)
    np.testing.assert_allclose(network.unit_parameters()[0][3:], [mean, variance], rtol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "prelu"])
@over_dtypes
def test_folded_weights_predict_the_same(activation, dtype):
    normalization, units = BatchNormalization(), (6, 19, 35, 3)
    problem = Problem(units, 60, 16, dtype, normalization=normalization, activation=activation)
    network = problem.network()
    with problem.session(network) as session:
        for order, settings in problem.epochs():
            session.epoch(order, **settings)
        expected = session.predict()
    (*coefs, top), (*intercepts, last) = network.weights()
    folded = [normalization.fold(*layer) for layer in zip(coefs, intercepts, network.unit_parameters())]
    plain = Network(units, dtype=dtype, activation=activation, loss="log_loss", optimizer="adam")
    plain.set_weights([*(W for W, _ in folded), top], [*(b for _, b in folded), last])
    plain.set_unit_parameters(network.unit_parameters())  # the slopes of PReLU; gains and shifts serve no one
    with problem.session(plain) as session:
        predictions = session.predict()
    assert predictions.dtype == dtype
    np.testing.assert_allclose(predictions, expected, rtol=0, atol=100 * np.finfo(dtype).eps)


@over_normalizations
@over_dtypes
def test_units_that_do_not_vary(normalization, dtype):
    """A variance of zero: the outputs are the shifts, and nothing is infinite."""
    problem = Problem((6, 1, 19, 3), 20, 10, dtype, normalization=normalization, X=np.ones((20, 6), dtype))
    assert all(np.isfinite(array).all() for array in problem.by_network())


# --- clipping and max-norm --------------------------------------------------------------------------------------------

NETWORKS = [(7, 33, 2), (30, 3, 5, 1), (9, 49, 47, 17)]
over_networks = pytest.mark.parametrize("units", NETWORKS, ids=lambda units: "-".join(map(str, units)))


def step_of(problem, n_threads=1):
    """What one step of gradient descent at rate 1 subtracts from all that a network learns."""
    problem.components["optimizer"] = "gradient_descent"
    network = problem.network()
    before = parameters(network)
    with problem.session(network, n_threads) as session:
        session.epoch(problem.orders[0], **{**problem.settings, "learning_rate": 1.0})
    return [a - b for a, b in zip(before, parameters(network))]


@over_dtypes
@over_networks
@pytest.mark.parametrize("share", [0.3, 3.0])
def test_clipping_by_norm_is_its_definition(units, share, dtype):
    """g min(1, clip_norm / |g|), over everything that is learned, the penalty's gradient included."""
    components = {"activation": "prelu", "normalization": LayerNormalization()}
    g = step_of(Problem(units, 40, 40, dtype, **components))
    norm = np.sqrt(sum((part.astype(float) ** 2).sum() for part in g))
    clipped = step_of(Problem(units, 40, 40, dtype, settings={"clip_norm": share * norm}, **components), n_threads=2)
    for got, part in zip(clipped, g):
        np.testing.assert_allclose(got, part * min(1, share), rtol=0, atol=1e-6 if dtype == np.float32 else 1e-14)


@over_dtypes
@over_networks
def test_clipping_by_value_is_its_definition(units, dtype):
    components = {"activation": "prelu", "normalization": LayerNormalization()}
    g = step_of(Problem(units, 40, 40, dtype, **components))
    clipped = step_of(Problem(units, 40, 40, dtype, settings={"clip_value": 0.02}, **components), n_threads=2)
    for got, part in zip(clipped, g):
        expected = np.clip(part, -0.02, 0.02)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 if dtype == np.float32 else 1e-14)


@over_dtypes
@over_networks
def test_max_norm_is_its_definition(units, dtype):
    """Of the weights into each unit, without the bias; shorter ones stay as they are."""
    plain, limited = (
        Problem(units, 40, 40, dtype, settings=settings, optimizer="gradient_descent")
        for settings in ({}, {"max_norm": 0.9})
    )
    networks = [problem.network() for problem in (plain, limited)]
    for problem, network in zip((plain, limited), networks):
        with problem.session(network, n_threads=2) as session:
            session.epoch(problem.orders[0], **problem.settings)
    for free, held in zip(*(network.weights()[0] for network in networks)):
        norms = np.linalg.norm(free, axis=0)
        assert (norms > 0.9).any()
        np.testing.assert_allclose(held, free * np.minimum(1, 0.9 / norms), rtol=1e-5 if dtype == np.float32 else 1e-12)
        np.testing.assert_array_equal(held[:, norms < 0.9], free[:, norms < 0.9])
    for free, held in zip(*(network.weights()[1] for network in networks)):
        np.testing.assert_array_equal(free, held)


@over_passes
def test_a_gradient_of_nan_is_seen(special):
    problem = make(special, "tile", np.float64)
    problem.X[3, 2] = np.nan
    losses, *_ = problem.by_network()
    assert np.isnan(losses).all()


# --- dropout ----------------------------------------------------------------------------------------------------------

ROWS, WIDTH, SEEDS = 400, 101, 12


def saved(level, seed, *, share=0.3, dtype=np.float64, n_threads=1):
    """What an epoch leaves of outputs that were 1: a matrix of booleans, of the inputs or of a hidden layer."""
    dropout = [share if n == level else 0.0 for n in range(3)]
    network = Network(
        (WIDTH, WIDTH, WIDTH, 1),
        dtype=dtype,
        activation="identity",
        loss=SquaredError(),
        optimizer="gradient_descent",
        dropout=dropout,
    )
    shapes = itertools.pairwise(network.units)
    network.set_weights(*zip(*((np.zeros(shape, dtype), np.ones(shape[1], dtype)) for shape in shapes)))
    X, y = np.ones((ROWS, WIDTH), dtype), np.zeros((ROWS, 1), dtype)
    with network.session(X, y, batch_size=ROWS, n_threads=n_threads) as session:
        session.epoch(np.arange(ROWS), learning_rate=0.0, seed=seed)
        layout, buffers, _ = session._keepalive
        at, stride = layout.rows_at[level], layout.stride[level]
        outputs = buffers.outputs[at : at + ROWS * stride].reshape(ROWS, stride)[:, :WIDTH]
    assert set(np.unique(outputs)) <= {0, dtype(1 / (1 - share))}
    return outputs > 0


def within_five_sigma(products, splat=1.0):
    """Assert that independent numbers of mean 0 and that standard deviation have a mean near 0."""
    assert abs(np.mean(products)) < 5 * splat / np.sqrt(np.size(products))


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_rate_of_dropout(level, share):
    masks = np.array([saved(level, seed, share=share) for seed in range(3)])
    within_five_sigma(~masks - share, np.sqrt(share * (1 - share)))


def test_masks_are_independent():
    """No correlation between neighbours of a row, a column, both, between epochs, between levels."""
    masks = np.array([[saved(level, seed) for level in range(3)] for seed in range(SEEDS)])
    z = (masks - 0.7) / np.sqrt(0.7 * 0.3)  # seeds, levels, rows, units
    for axis in range(4):
        first, second = np.take(z, range(z.shape[axis] - 1), axis), np.take(z, range(1, z.shape[axis]), axis)
        within_five_sigma(first * second)
    within_five_sigma(z[:, :, 1:, 1:] * z[:, :, :-1, :-1])
    within_five_sigma(z[:, :, 1:, :-1] * z[:, :, :-1, 1:])
    within_five_sigma(z[1:, :-1] * z[:-1, 1:])
    for axis in (2, 3):  # sums over a column and over a row are as far from their mean as those of independent numbers
        sums = z.sum(axis=axis) / np.sqrt(z.shape[axis])
        within_five_sigma(sums**2 - 1, np.sqrt(2))


@pytest.mark.parametrize("level", [0, 2])
def test_masks_are_the_same_in_both_dtypes_and_for_any_team(level):
    expected = saved(level, 5)
    np.testing.assert_array_equal(saved(level, 5, dtype=np.float32), expected)
    np.testing.assert_array_equal(saved(level, 5, n_threads=3), expected)
    assert (saved(level, 6) != expected).any()


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_seed_has_32_bits(seed):
    np.testing.assert_array_equal(saved(1, seed, dtype=np.float32), saved(1, seed))


@over_dtypes
def test_predictions_drop_nothing(dtype):
    plain = Problem((7, 33, 19, 2), 40, 20, dtype)
    dropping = Problem((7, 33, 19, 2), 40, 20, dtype, dropout=[0.2, 0.5, 0.5])
    predictions = []
    for problem in (plain, dropping):
        with problem.session(problem.network()) as session:
            predictions.append(session.predict())
    np.testing.assert_array_equal(*predictions)


# --- gradients by finite differences ----------------------------------------------------------------------------------

DIFFERENTIABLE = {
    "plain": {},
    "learned slopes": {"activation": "prelu"},
    "batch": {"normalization": BatchNormalization()},
    "layer": {"normalization": LayerNormalization()},
    "dropout": {"dropout": [0.2, 0.4, 0.3]},
    "smoothing": {"loss": LogLoss(0.3)},
    "everything": {"activation": "prelu", "normalization": LayerNormalization(), "dropout": [0.2, 0.4, 0.3]},
}


@pytest.mark.parametrize("components", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
@pytest.mark.parametrize("settings", [{}, {"alpha": 0.7, "l1": 0.2}], ids=["plain", "penalized"])
def test_gradient_is_the_slope_of_the_loss(components, settings):
    """Of all weights and all that units learn, along random directions; a step is -rate times the gradient."""
    components = {"activation": "tanh", "optimizer": "gradient_descent", **components}
    problem, rate = Problem((4, 7, 5, 3), 24, 24, np.float64, weighted=True, **components), 1e-3

    def trained(change=0.0, direction=None):
        """(loss before the step, the step) from weights moved along a direction."""
        network = problem.network()
        if direction is not None:
            move(network, change, direction)
        before = parameters(network)
        with problem.session(network) as session:
            loss = session.epoch(np.arange(24), learning_rate=rate, seed=3, **settings)
        return loss, [b - a for a, b in zip(before, parameters(network))]

    _, steps = trained()
    gradient = [-step / rate for step in steps]
    for seed in range(6):
        random = np.random.default_rng(seed)
        direction = [random.normal(size=g.shape) for g in gradient]
        expected = sum((g * d).sum() for g, d in zip(gradient, direction))
        above, below = (trained(change, direction)[0] for change in (1e-5, -1e-5))
        assert (above - below) / 2e-5 == pytest.approx(expected, rel=1e-6, abs=1e-8)


def parameters(network):
    """All that a network learns."""
    coefs, intercepts = network.weights()
    return [*coefs, *intercepts, *(unit_parameters[:LEARNED] for unit_parameters in network.unit_parameters())]


def move(network, change, direction):
    """Move all that a network learns along a direction."""
    layers = len(network.units) - 1
    moved = [array + change * along for array, along in zip(parameters(network), direction)]
    network.set_weights(moved[:layers], moved[layers : 2 * layers])
    fixed = [unit_parameters[LEARNED:] for unit_parameters in network.unit_parameters()]
    network.set_unit_parameters([np.concatenate(pair) for pair in zip(moved[2 * layers :], fixed)])
