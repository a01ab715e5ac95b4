"""What several test files train: every component of the tables, targets that suit it, a network and its reference."""

import itertools
import sys
import time

import numpy as np
import pytest
from scipy import sparse

from fastmlp.activations import ACTIVATIONS, ELU, LeakyReLU, PReLU
from fastmlp.core.network import Network
from fastmlp.losses import PAIRS, ClassLoss, Focal, Huber, LogLoss, Quantile
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.reference import Reference

ACTIVATION_WORDS = [cls() for cls in ACTIVATIONS.classes] + [LeakyReLU(0.3), PReLU(-0.1), ELU(0.5)]
OPTIMIZER_WORDS = [cls() for cls in OPTIMIZERS.classes]
OTHER_LOSSES = [LogLoss(0.2), Focal(0.0), Focal(0.5), Huber(0.3), Quantile((0.1, 0.5, 0.9))]
LOSS_WORDS = [(cls(), output) for cls, output in PAIRS]
LOSS_WORDS += [(loss, output) for loss in OTHER_LOSSES for output in loss.outputs]

over_activations = pytest.mark.parametrize("activation", ACTIVATION_WORDS, ids=repr)
over_optimizers = pytest.mark.parametrize("optimizer", OPTIMIZER_WORDS, ids=repr)
over_losses = pytest.mark.parametrize(("loss", "output"), LOSS_WORDS, ids=str)
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])

TOLERANCE = {np.float32: 1e-3, np.float64: 1e-11}  # Adam and its kin divide small gradients by themselves


def make_weights(units, dtype=np.float64, seed=0):
    """(coefs, intercepts), normal, so that outputs are about as large as inputs."""
    random = np.random.default_rng(seed)
    coefs = [random.normal(size=shape).astype(dtype) / shape[0] ** 0.5 for shape in itertools.pairwise(units)]
    return coefs, [random.normal(size=n).astype(dtype) for n in units[1:]]


def make_targets(loss, output, shape, dtype=np.float64, seed=0):
    """Targets in the domain of a loss: class codes, zeros and ones, or rows of probabilities."""
    random = np.random.default_rng(seed)
    if loss.takes_codes(output):
        return random.integers(0, shape[1], shape[0])
    if isinstance(loss, ClassLoss):
        return random.integers(0, 2, shape).astype(dtype)
    return random.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype)


class Problem:
    """Two epochs of training on random rows, by the network and by the reference.

    Parameters
    ----------
    units, rows, batch_size, dtype : of the network and its data
    weighted : whether rows have weights
    X : rows to train on in place of random ones, dense or sparse
    settings : of an epoch, in place of a little L2 penalty; components : of the network, in place of the plainest
    """

    def __init__(self, units, rows, batch_size, dtype, *, weighted=False, X=None, settings=None, **components):
        random = np.random.default_rng(1)
        self.units, self.rows, self.batch_size, self.dtype = units, rows, batch_size, dtype
        self.components = {"activation": "relu", "loss": LogLoss(), "output": None, "optimizer": "adam", **components}
        self.settings = {"learning_rate": 0.01, "alpha": 0.1, **({} if settings is None else settings)}
        self.X = random.normal(size=(rows, units[0])).astype(dtype) if X is None else X
        loss, output = self.components["loss"], self.components["output"]
        self.y = make_targets(loss, output or loss.outputs[0], (rows, units[-1]), dtype)
        self.sample_weight = random.uniform(0.2, 2, rows).astype(dtype) if weighted else None
        self.orders = [random.permutation(rows) for _ in range(2)]

    def network(self):
        """A new network with the problem's weights."""
        network = Network(self.units, dtype=self.dtype, sparse=sparse.issparse(self.X), **self.components)
        network.set_weights(*make_weights(self.units, self.dtype))
        return network

    def reference(self):
        """A new reference with the problem's weights."""
        return Reference(*make_weights(self.units, self.dtype), **self.components)

    def session(self, network, n_threads=1):
        """A session on the problem's rows."""
        return network.session(self.X, self.y, self.sample_weight, batch_size=self.batch_size, n_threads=n_threads)

    def epochs(self):
        """(order, settings) of each epoch."""
        steps = -(-self.rows // self.batch_size)
        for e, order in enumerate(self.orders):
            yield order, {"step": e * steps, "seed": e + 7, **self.settings}

    def by_network(self, n_threads=1):
        """Losses, predictions, weights and unit parameters after training."""
        network = self.network()
        with self.session(network, n_threads) as session:
            losses = [session.epoch(order, **settings) for order, settings in self.epochs()]
            predictions = session.predict()
        return results_of(network, losses, predictions)

    def by_reference(self):
        """The same of the reference."""
        reference = self.reference()
        losses = [
            reference.epoch(self.X, self.y, order, self.batch_size, sample_weight=self.sample_weight, **settings)
            for order, settings in self.epochs()
        ]
        return results_of(reference, losses, reference.predict(self.X))

    def check(self, n_threads=(1,)):
        """Assert that both agree, and that no bit depends on the number of threads."""
        alone, *others = (self.by_network(n) for n in n_threads)
        assert_close(alone, self.by_reference(), self.dtype)
        for together in others:
            for one, other in zip(alone, together, strict=True):
                np.testing.assert_array_equal(one, other)


def results_of(network, losses, predictions):
    """What a network has learned, as a list of arrays."""
    coefs, intercepts = network.weights()
    return [np.array(losses), predictions, *coefs, *intercepts, *network.unit_parameters()]


def assert_close(results, expected, dtype):
    """Assert that arrays are equal within the dtype's error, by their largest number."""
    for result, truth in zip(results, expected, strict=True):
        scale = np.abs(truth).max() + 1e-12
        np.testing.assert_allclose(result / scale, truth / scale, rtol=0, atol=TOLERANCE[dtype])


# --- threads ----------------------------------------------------------------------------------------------------------

LOOKS = 100_000  # of who waits for other threads; each gives way to them, so that a busy system gets the time it needs


def live_threads():
    """Threads of this process, also those that Python's `threading` does not know."""
    return len(sys._current_frames())


def comes_true(condition):
    """Whether ``condition()`` holds at one of many looks."""
    for _ in range(LOOKS):
        if condition():
            return True
        time.sleep(0.0001)
    return False


# --- estimators -------------------------------------------------------------------------------------------------------


def small(estimator_class, **parameters):
    """An estimator that trains in no time."""
    return estimator_class(**{"hidden_layer_sizes": 8, "max_iter": 3, "random_state": 0, **parameters})


def assert_same_weights(one, other):
    """Two fitted estimators are equal to the bit."""
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
