"""The network against the reference: every component, shape and batch, any number of threads."""

import itertools
import os
import signal

import numpy as np
import pytest
from problems import (
    Problem,
    assert_close,
    make_targets,
    make_weights,
    over_activations,
    over_dtypes,
    over_losses,
    over_optimizers,
)

from fastmlp.activations import ACTIVATIONS, LeakyReLU
from fastmlp.core import engine
from fastmlp.core.network import Network
from fastmlp.core.optimizer_scalars import SCALARS_AHEAD
from fastmlp.core.outputs import output_pass
from fastmlp.core.units import unit_pass
from fastmlp.losses import LogLoss, SquaredError
from fastmlp.normalizations import NORMALIZATIONS
from fastmlp.optimizers import OPTIMIZERS, AdamW
from fastmlp.reference import Reference

pytestmark = [pytest.mark.width, pytest.mark.threads]
SETTINGS = {"learning_rate": 0.01, "alpha": 0.1}

# --- components ------------------------------------------------------------------------------------------------------


@over_dtypes
@over_activations
def test_activations(activation, dtype):
    Problem((5, 19, 7, 3), 50, 16, dtype, activation=activation).check()


@over_dtypes
@over_losses
@pytest.mark.parametrize("outputs", [3, 18])
def test_losses(loss, output, outputs, dtype):
    Problem((5, 19, 7, outputs), 50, 16, dtype, loss=loss, output=output, activation="tanh", weighted=True).check()


@over_dtypes
@over_optimizers
def test_optimizers(optimizer, dtype):
    Problem((5, 19, 7, 3), 50, 16, dtype, optimizer=optimizer, weighted=True).check()


@over_dtypes
def test_each_hidden_layer_has_an_activation_of_its_own(dtype):
    Problem((5, 19, 7, 11, 3), 50, 16, dtype, activation=["gelu", LeakyReLU(0.3), "tanh"]).check()


def test_a_grid_over_words_compiles_nothing_after_the_first_fit(monkeypatch):
    """The numbers and names of components are data; only the dtype is a type."""
    for kernel, dtype in itertools.product((engine.work, output_pass, unit_pass), (np.float32, np.float64)):
        kernel.load(np.dtype(dtype))
    loaded = []
    monkeypatch.setattr(type(engine.work), "_load", lambda kernel, dtype: loaded.append((kernel.name, dtype)))
    for activation in ACTIVATIONS:
        for optimizer in OPTIMIZERS:
            Problem((4, 6, 5, 3), 9, 4, np.float32, activation=activation, optimizer=optimizer).by_network()
    for normalization in (None, *(cls() for cls in NORMALIZATIONS.classes)):
        for dropout in (None, [0.1, 0.5, 0.2]):
            settings = {"l1": 0.1, "clip_norm": 1.0, "max_norm": 2.0}
            components = {"normalization": normalization, "dropout": dropout, "loss": SquaredError(), "output": "tanh"}
            Problem((4, 6, 5, 3), 9, 4, np.float64, settings=settings, **components).by_network(n_threads=2)
    assert loaded == []


# --- shapes -----------------------------------------------------------------------------------------------------------

SHAPES = {
    "linear": ((3, 2), 17, 4),
    "one of everything": ((1, 1, 1, 1), 5, 1),
    "one row": ((7, 5, 2), 1, 1),
    "batch of one row": ((7, 33, 2), 20, 1),
    "whole data set": ((7, 33, 2), 40, 40),
    "several chunks": ((7, 33, 2), 1300, 1300),
    "chunks in batches": ((7, 33, 2), 1300, 600),
    "tile": ((8, 48, 48, 16), 64, 8),
    "tile and one": ((9, 49, 47, 17), 65, 9),
    "tile less one": ((7, 47, 15, 15), 63, 7),
    "primes": ((13, 101, 53, 11), 97, 31),
    "wide": ((300, 1100, 2), 30, 12),
    "deep": ((4, *[9] * 20, 3), 30, 12),
}


@over_dtypes
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name, dtype):
    Problem(*SHAPES[name], dtype, activation="tanh").check()


@pytest.mark.parametrize("outputs", range(1, 18))
def test_narrow_outputs(outputs):
    Problem((6, 21, outputs), 40, 16, np.float64, loss=SquaredError()).check()


@pytest.mark.parametrize("batch_size", range(1, 10))
def test_small_batches(batch_size):
    Problem((6, 50, 4), 2 * batch_size + 1, batch_size, np.float64).check()


@over_dtypes
@pytest.mark.parametrize("name", ["tile and one", "chunks in batches", "linear", "one row"])
def test_same_bits_for_any_team(name, dtype):
    Problem(*SHAPES[name], dtype, weighted=True).check(n_threads=(1, 2, 3, 5))


# --- learning rates ---------------------------------------------------------------------------------------------------


@over_dtypes
@over_optimizers
def test_a_rate_for_each_step(optimizer, dtype):
    rates = np.geomspace(0.02, 0.001, 4)
    Problem((5, 19, 3), 50, 16, dtype, optimizer=optimizer, settings={"learning_rate": rates}).check((1, 2))


def test_a_rate_for_each_of_more_steps_than_are_foreseen(monkeypatch):
    most = 32
    monkeypatch.setattr("fastmlp.core.session.MAX_SCALARS_AHEAD", most)
    monkeypatch.setattr("fastmlp.core.optimizer_scalars.MAX_SCALARS_AHEAD", most)
    steps = 2 * most + 5
    constant, spelled, falling = (
        Problem((2, 3, 2), 3 * steps - 1, 3, np.float64, settings={"learning_rate": rate, "alpha": 0.0})
        for rate in (0.01, np.full(steps, 0.01), np.geomspace(0.02, 0.001, steps))
    )
    falling.check((1, 2))
    for one, other in zip(constant.by_network(), spelled.by_network(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_constant_rate_is_an_array_of_it():
    """Numbers of steps that were worked out beforehand serve while the rate stays, through many short epochs."""
    problem = Problem((3, 4, 2), 21, 5, np.float64, optimizer="nadam")
    rates = [0.01, 0.01, 0.02, 0.01] * SCALARS_AHEAD
    trained = []
    for rate_of in (float, lambda rate: np.full(5, rate)):
        network = problem.network()
        with problem.session(network) as session:
            for epoch, rate in enumerate(rates):
                session.epoch(problem.orders[0], step=5 * epoch, learning_rate=rate_of(rate), alpha=0.1)
        trained.append(network.weights()[0])
    for one, other in zip(*trained):
        np.testing.assert_array_equal(one, other)


# --- what changes from epoch to epoch, and groups of parameters -------------------------------------------------------


def test_dropout_and_weight_decay_of_each_epoch():
    """They are those of a network that is made anew with them."""
    problem = Problem((5, 19, 7, 3), 50, 16, np.float64, optimizer=AdamW(weight_decay=0.5), dropout=[0.0, 0.5, 0.1])
    (first, settings), (second, later) = problem.epochs()
    network, other = problem.network(), AdamW(weight_decay=0.1)
    with problem.session(network) as session:
        session.epoch(first, **settings)
    middle, states = network.parameters(), network.take_states()
    network.set_states(states)
    with problem.session(network) as session:
        session.epoch(second, dropout=[0.2, 0.0, 0.3], optimizer=other, **later)
        with pytest.raises(ValueError, match="optimizer must be the network's AdamW with other numbers; got Adam"):
            session.epoch(second, optimizer=OPTIMIZERS["adam"](), **later)
    heir = Problem((5, 19, 7, 3), 50, 16, np.float64, optimizer=other, dropout=[0.2, 0.0, 0.3]).network()
    heir.set_parameters(middle)
    heir.set_states(states)
    with problem.session(heir) as session:
        session.epoch(second, **later)
    for one, expected in zip(network.weights(), heir.weights()):
        for array, truth in zip(one, expected):
            np.testing.assert_array_equal(array, truth)


FACTORS = {"first_layer": 2.0, "biases": 0.1, "slopes": 0.5, "normalization": 0.0}
GROUPED = {
    "factors": {"rate_factors": FACTORS, "optimizer": "momentum"},
    "factors of adam": {"rate_factors": FACTORS, "optimizer": "adam"},
    "weights only": {"optimizer": AdamW(weight_decay=0.5, weights_only=True)},
    "both": {"rate_factors": FACTORS, "optimizer": AdamW(weight_decay=0.5, weights_only=True)},
    "clipped": {"rate_factors": FACTORS, "optimizer": "momentum", "settings": {"clip_norm": 0.1}},
}


@over_dtypes
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", GROUPED)
def test_groups_of_parameters(name, outputs, dtype):
    components = {"activation": "prelu", "normalization": NORMALIZATIONS["layer"](), **GROUPED[name]}
    Problem((5, 19, 7, outputs), 50, 16, dtype, loss=SquaredError(), **components).check((1, 2))


def test_a_factor_of_no_group():
    with pytest.raises(ValueError, match="rate_factors must be factors of 'first_layer', 'weights', "):
        Problem((5, 3), 50, 16, np.float64, rate_factors={"weight": 1}).network()


# --- parameters and states --------------------------------------------------------------------------------------------


def test_settings_left_out_change_nothing():
    plain = Problem((5, 19, 3), 50, 16, np.float64, settings={"alpha": 0.0})
    inf = float("inf")
    spelled = Problem(
        (5, 19, 3), 50, 16, np.float64, settings={"alpha": 0.0, "l1": 0.0, "clip_value": inf, "max_norm": inf}
    )
    for one, other in zip(plain.by_network(), spelled.by_network(), strict=True):
        np.testing.assert_array_equal(one, other)


@over_dtypes
@over_optimizers
def test_training_goes_on_from_weights_unit_parameters_and_states(optimizer, dtype):
    """To the bit, in another network: what learned slopes and gains remember is among the states."""
    components = {"activation": "prelu", "normalization": NORMALIZATIONS["layer"](), "optimizer": optimizer}
    problem = Problem((5, 19, 7, 3), 50, 16, dtype, **components)
    expected = problem.by_network()
    (first, _), (second, settings) = epochs = list(problem.epochs())
    network, heir = problem.network(), problem.network()
    with problem.session(network) as session:
        session.epoch(first, **epochs[0][1])
    heir.set_weights(*network.weights())
    heir.set_unit_parameters(network.unit_parameters())
    heir.set_states(network.take_states())
    with problem.session(heir) as session:
        session.epoch(second, **settings)
    coefs, intercepts = heir.weights()
    for result, truth in zip([*coefs, *intercepts, *heir.unit_parameters()], expected[2:], strict=True):
        np.testing.assert_array_equal(result, truth)


@over_dtypes
def test_states_have_the_shapes_of_the_weights(dtype):
    problem = Problem((5, 19, 3), 50, 16, dtype, optimizer="gradient")
    network = problem.network()
    with problem.session(network) as session:
        session.epoch(problem.orders[0], learning_rate=0.0)
    (gradient,) = network.take_states()
    coefs, intercepts = network.weights()
    assert [a.shape for a in gradient] == [a.shape for a in (*coefs, *intercepts)]
    reference = problem.reference()
    reference.epoch(problem.X, problem.y, problem.orders[0], 16, learning_rate=0.0)
    matrices = reference.buffers.states[0]
    assert_close(gradient, [*(g[:-1] for g in matrices), *(g[-1] for g in matrices)], dtype)


def test_gradient_is_that_of_the_loss():
    units = (4, 6, 3)
    problem = Problem(units, 30, 30, np.float64, activation="tanh")
    network, (coefs, intercepts) = problem.network(), make_weights(units)
    with problem.session(network) as session:
        _, gradient = session.gradient(alpha=0.3)
        losses = []
        for change in (1e-6, -1e-6):
            changed = [W.copy() for W in coefs]
            changed[0][2, 3] += change
            network.set_weights(changed, intercepts)
            losses.append(session.gradient(alpha=0.3)[0])
    assert gradient.coefs[0][2, 3] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-6)


# --- rows -------------------------------------------------------------------------------------------------------------


def test_predictions_of_chosen_rows():
    problem = Problem((4, 6, 3), 300, 10, np.float64, activation="tanh")
    network = problem.network()
    with network.session(problem.X, batch_size=300) as session:
        everything = session.predict()
    rows = np.array([299, 0, 7, 7])
    with problem.session(network, n_threads=2) as session:
        np.testing.assert_array_equal(session.predict(rows), everything[rows])


def test_batch_without_weight():
    """It contributes nothing, to the weights nor to the loss; another batch is not changed by it."""
    units, settings = (4, 6, 3), {"learning_rate": 0.1, "alpha": 0.3}
    components = {"activation": "tanh", "loss": SquaredError(), "optimizer": "gradient_descent"}
    problem = Problem(units, 30, 15, np.float64, **components)
    problem.sample_weight = np.repeat([1.0, 0.0], [15, 15])
    network, half = problem.network(), Reference(*make_weights(units), **components)
    with problem.session(network) as session:
        total = session.epoch(np.arange(30), **settings)
    expected = half.epoch(problem.X[:15], problem.y[:15], np.arange(15), 15, **settings)
    assert total == pytest.approx(expected / 2)
    for ours, theirs in zip(network.weights(), half.weights(), strict=True):
        for array, truth in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(array, truth, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["read-only", "not aligned"])
def test_arrays_that_numba_would_type_otherwise(kind):
    def other(array):
        memory = np.zeros(array.nbytes + 1, np.uint8)
        result = memory[1:].view(array.dtype).reshape(array.shape) if kind == "not aligned" else array.copy()
        result[...] = array
        result.flags.writeable = kind != "read-only"
        return result

    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    y = make_targets(LogLoss(), "softmax", (30, 3))
    predictions = []
    for arrays in ((X, y, X[:, 0] ** 2), map(other, (X, y, X[:, 0] ** 2))):
        network = Network((4, 6, 3), dtype=np.float32, activation="tanh", loss="log_loss", optimizer="adam")
        network.set_weights(*make_weights((4, 6, 3), np.float32))
        with network.session(*arrays, batch_size=7, n_threads=1) as session:
            session.epoch(np.arange(30), **SETTINGS)
            predictions.append(session.predict())
    np.testing.assert_array_equal(*predictions)


# --- the system -------------------------------------------------------------------------------------------------------


def test_without_affinity_and_fork_hooks(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")  # joblib would warn on Linux that it knows no affinity
    Problem(*SHAPES["primes"], np.float64).check(n_threads=(None,))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("n_threads", [2, None])
def test_forked_child_trains(n_threads):
    """Also one that is forked while its parent trains."""
    problem = Problem(*SHAPES["primes"], np.float64)
    expected = problem.by_network(n_threads)
    network, order = problem.network(), problem.orders[0]
    with problem.session(network, n_threads) as session:
        session.epoch(order, **SETTINGS)
        child = os.fork()
        if not child:
            signal.alarm(60)  # a child that waits for threads it does not have ends
            try:
                os._exit(0 if all(map(np.array_equal, problem.by_network(n_threads), expected)) else 1)
            finally:
                os._exit(2)
        status = os.waitpid(child, 0)[1]
        session.epoch(order, **SETTINGS)
    assert os.waitstatus_to_exitcode(status) == 0
