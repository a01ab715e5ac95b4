"""The network against the reference: every word, shape and batch, any number of threads."""

import itertools
import os
import signal

import numpy as np
import pytest

from fastmlp import engine
from fastmlp.activations import ACTIVATIONS
from fastmlp.losses import LOSSES
from fastmlp.network import Network
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.reference import Reference

pytestmark = [pytest.mark.width, pytest.mark.threads]
TOLERANCE = {np.float32: 1e-3, np.float64: 1e-11}
SETTINGS = {"learning_rate": 0.01, "alpha": 0.1, "momentum": 0.8}


@pytest.fixture(scope="session", autouse=True)
def one_compilation_per_dtype():
    """At the end of the whole run: nothing that any test did has compiled the engine for another kind of argument."""
    yield
    dtypes = [arguments[1] for arguments in engine.work.overloads]
    assert len(dtypes) == len(set(dtypes)) <= 2


def make(units, rows, dtype, loss, seed=0):
    """Parameters and data of a problem of that shape."""
    generator = np.random.default_rng(seed)
    coefs = [generator.normal(size=shape).astype(dtype) / shape[0] ** 0.5 for shape in itertools.pairwise(units)]
    intercepts = [generator.normal(size=n).astype(dtype) for n in units[1:]]
    X = generator.normal(size=(rows, units[0])).astype(dtype)
    if LOSSES[loss].codes:
        y = generator.integers(0, units[-1], rows)
    elif loss == "logistic_log_loss":
        y = generator.integers(0, 2, (rows, units[-1])).astype(dtype)
    else:
        y = generator.poisson(1.5, (rows, units[-1])).astype(dtype)
    return coefs, intercepts, X, y


def train(
    units,
    rows,
    batch_size,
    dtype,
    *,
    activation="relu",
    loss="softmax_log_loss",
    optimizer="adam",
    n_threads=1,
    weighted=False,
):
    """Two epochs of both; (network's results, reference's results)."""
    coefs, intercepts, X, y = make(units, rows, dtype, loss)
    generator = np.random.default_rng(1)
    sample_weight = generator.uniform(0.2, 2, rows).astype(dtype) if weighted else None
    orders = [generator.permutation(rows) for _ in range(2)]
    words = {"activation": activation, "loss": loss, "optimizer": optimizer}
    network = Network(units, dtype=dtype, **words)
    network.set_weights(coefs, intercepts)
    reference = Reference(coefs, intercepts, **words)
    results, expected = [], []
    steps = -(-rows // batch_size)
    with network.session(X, y, sample_weight, batch_size=batch_size, n_threads=n_threads) as session:
        for e, order in enumerate(orders):
            results.append(session.epoch(order, step=e * steps, **SETTINGS))
            expected.append(
                reference.epoch(X, y, order, batch_size, sample_weight=sample_weight, step=e * steps, **SETTINGS)
            )
        results.append(session.predict())
    expected.append(reference.predict(X))
    (coefs, intercepts), moments = network.weights(), network.moments()
    results += [*coefs, *intercepts, *moments[0], *moments[1]]
    coefs, intercepts = reference.weights()
    expected += [*coefs, *intercepts]
    for moment in (reference.buffers.first, reference.buffers.second):
        expected += [*(m[:-1] for m in moment), *(m[-1] for m in moment)]
    return results, expected


def assert_close(results, expected, dtype):
    assert len(results) == len(expected)
    for result, truth in zip(results, expected, strict=True):
        scale = np.abs(truth).max() + 1e-12
        np.testing.assert_allclose(result / scale, truth / scale, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_words_of_the_forward_pass(activation, loss, dtype):
    assert_close(*train((5, 19, 7, 3), 50, 16, dtype, activation=activation, loss=loss), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(optimizer, dtype):
    assert_close(*train((5, 19, 7, 3), 50, 16, dtype, optimizer=optimizer, weighted=True), dtype)


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name, dtype):
    assert_close(*train(*SHAPES[name], dtype, activation="tanh"), dtype)


@pytest.mark.parametrize("outputs", range(1, 18))
def test_narrow_outputs(outputs):
    assert_close(*train((6, 21, outputs), 40, 16, np.float64, loss="squared_error"), np.float64)


@pytest.mark.parametrize("batch_size", range(1, 10))
def test_small_batches(batch_size):
    assert_close(*train((6, 50, 4), 2 * batch_size + 1, batch_size, np.float64), np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["tile and one", "chunks in batches", "linear", "one row"])
def test_same_bits_for_any_team(name, dtype):
    alone, _ = train(*SHAPES[name], dtype, weighted=True)
    for n_threads in (2, 3, 5):
        together, _ = train(*SHAPES[name], dtype, n_threads=n_threads, weighted=True)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)


def test_gradient_is_that_of_the_loss():
    units = (4, 6, 3)
    coefs, intercepts, X, y = make(units, 30, np.float64, "softmax_log_loss")
    network = Network(units, dtype=np.float64, activation="tanh", loss="softmax_log_loss", optimizer="gradient")
    network.set_weights(coefs, intercepts)
    with network.session(X, y, batch_size=30, n_threads=1) as session:
        _, gradients, _ = session.gradient(alpha=0.3)
        losses = []
        for change in (1e-6, -1e-6):
            changed = [W.copy() for W in coefs]
            changed[0][2, 3] += change
            network.set_weights(changed, intercepts)
            losses.append(session.gradient(alpha=0.3)[0])
    assert gradients[0][2, 3] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-6)


def test_predictions_of_chosen_rows():
    units = (4, 6, 3)
    coefs, intercepts, X, y = make(units, 300, np.float64, "softmax_log_loss")
    network = Network(units, dtype=np.float64, activation="tanh", loss="softmax_log_loss", optimizer="adam")
    network.set_weights(coefs, intercepts)
    with network.session(X, batch_size=300) as session:
        everything = session.predict()
    rows = np.array([299, 0, 7, 7])
    with network.session(X, y, batch_size=10, n_threads=2) as session:
        np.testing.assert_array_equal(session.predict(rows), everything[rows])


def test_batch_without_weight():
    """It contributes nothing, to the weights nor to the loss; another batch is not changed by it."""
    units, loss = (4, 6, 3), "squared_error"
    coefs, intercepts, X, y = make(units, 30, np.float64, loss)
    words = {"activation": "tanh", "loss": loss, "optimizer": "sgd"}
    settings = {"learning_rate": 0.1, "alpha": 0.3, "momentum": 0.0}
    sample_weight = np.repeat([1.0, 0.0], [15, 15])
    network, half = Network(units, dtype=np.float64, **words), Reference(coefs, intercepts, **words)
    network.set_weights(coefs, intercepts)
    with network.session(X, y, sample_weight, batch_size=15, n_threads=1) as session:
        total = session.epoch(np.arange(30), **settings)
    expected = half.epoch(X[:15], y[:15], np.arange(15), 15, **settings)
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

    units = (4, 6, 3)
    coefs, intercepts, X, y = make(units, 30, np.float32, "softmax_log_loss")
    predictions = []
    for arrays in ((X, y, X[:, 0] ** 2), map(other, (X, y, X[:, 0] ** 2))):
        network = Network(units, dtype=np.float32, activation="tanh", loss="softmax_log_loss", optimizer="adam")
        network.set_weights(coefs, intercepts)
        with network.session(*arrays, batch_size=7, n_threads=1) as session:
            session.epoch(np.arange(30), **SETTINGS)
            predictions.append(session.predict())
    np.testing.assert_array_equal(*predictions)


def test_without_affinity_and_fork_hooks(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")  # joblib would warn on Linux that it knows no affinity
    assert_close(*train(*SHAPES["primes"], np.float64, n_threads=None), np.float64)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("n_threads", [2, None])
def test_forked_child_trains(n_threads):
    """Also one that is forked while its parent trains."""
    shape = SHAPES["primes"]
    expected, _ = train(*shape, np.float64, n_threads=n_threads)
    coefs, intercepts, X, y = make(shape[0], shape[1], np.float64, "softmax_log_loss")
    network = Network(shape[0], dtype=np.float64, activation="relu", loss="softmax_log_loss", optimizer="adam")
    network.set_weights(coefs, intercepts)
    with network.session(X, y, batch_size=shape[2], n_threads=n_threads) as session:
        session.epoch(np.arange(shape[1]), **SETTINGS)
        child = os.fork()
        if not child:
            signal.alarm(60)  # a child that waits for threads it does not have ends
            try:
                results, _ = train(*shape, np.float64, n_threads=n_threads)
                os._exit(0 if all(map(np.array_equal, results, expected)) else 1)
            finally:
                os._exit(2)
        status = os.waitpid(child, 0)[1]
        session.epoch(np.arange(shape[1]), **SETTINGS)
    assert os.waitstatus_to_exitcode(status) == 0
