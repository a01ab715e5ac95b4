"""Which kernels a session loads: those that its network and its tasks need, before the team begins, and no others."""

import numpy as np
import pytest
from scipy import sparse

from fastmlp.core.network import Network
from fastmlp.core.outputs import output_pass
from fastmlp.core.records import Passes
from fastmlp.core.sparse import sparse_pass
from fastmlp.core.units import unit_pass
from fastmlp.losses import Focal, LogLoss, SquaredError
from fastmlp.normalizations import BatchNormalization, LayerNormalization

KERNELS = {"units": unit_pass, "sparse": sparse_pass, "outputs": output_pass}
ORDER = np.arange(20)


def network(**components):
    components = {"activation": "relu", "loss": LogLoss(), "output": "softmax", "optimizer": "adam", **components}
    made = Network((4, 6, 3), dtype=np.float32, **components)
    random = np.random.default_rng(0)
    made.set_weights([random.normal(size=shape) for shape in ((4, 6), (6, 3))], [np.zeros(6), np.zeros(3)])
    return made


def session(made, weighted=False):
    random = np.random.default_rng(0)
    X = random.normal(size=(20, 4)).astype(np.float32)
    codes = made.loss.takes_codes(made.output)
    y = random.integers(0, 3, 20) if codes else random.normal(size=(20, 3)).astype(np.float32)
    weights = np.ones(20, np.float32) if weighted else None
    return made.session(sparse.csr_array(X) if made.sparse else X, y, weights, batch_size=8, n_threads=1)


def loaded(at_work):
    """The kernels whose addresses are in a session's table."""
    return {name for name, address in zip(Passes._fields, at_work._passes, strict=True) if address}


NEEDED = {
    "plain": ({}, set()),
    "another loss of classes": ({"loss": Focal()}, set()),
    "smoothed labels": ({"loss": LogLoss(label_smoothing=0.1)}, {"outputs"}),
    "numbers as targets": ({"loss": SquaredError(), "output": "identity"}, {"outputs"}),
    "dropout": ({"dropout": [0.1, 0.0]}, {"units"}),
    "batch normalization": ({"normalization": BatchNormalization()}, {"units"}),
    "layer normalization": ({"normalization": LayerNormalization()}, {"units"}),
    "learned slopes": ({"activation": "prelu"}, {"units"}),
    "sparse inputs": ({"sparse": True}, {"sparse"}),
}


@pytest.mark.parametrize("name", NEEDED)
def test_training_loads_what_the_network_needs(name):
    components, expected = NEEDED[name]
    with session(network(**components)) as at_work:
        assert loaded(at_work) == expected, "it is there when the session begins"
        at_work.epoch(ORDER, learning_rate=0.1)
        at_work.gradient(ORDER[:8])
        addresses = [KERNELS[name].address("float32") if name in expected else 0 for name in Passes._fields]
        np.testing.assert_array_equal(at_work._passes, addresses)


def test_a_task_loads_what_it_needs():
    """Sample weights, predictions, a limit of norms, and dropout that an epoch brings."""
    with session(network(), weighted=True) as at_work:
        assert loaded(at_work) == {"outputs"}
    with session(network()) as at_work:
        at_work.epoch(ORDER, learning_rate=0.1, clip_norm=0.1, l1=0.1)
        assert loaded(at_work) == set()
        at_work.predict()
        assert loaded(at_work) == {"outputs"}
        at_work.epoch(ORDER, learning_rate=0.1, max_norm=1.0)
        assert loaded(at_work) == {"outputs", "units"}
    with session(network()) as at_work:
        at_work.epoch(ORDER, learning_rate=0.1, dropout=[0.0, 0.5])
        assert loaded(at_work) == {"units"}
    with session(network()) as at_work:
        _, gradient = at_work.gradient()
        at_work.apply(gradient, learning_rate=0.1, max_norm=1.0)
        assert loaded(at_work) == {"units"}


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_kernel_that_does_not_come_leaves_everything_as_it_was(monkeypatch, error):
    """And the next try finds it."""
    made = network()

    def fail(kernel, dtype):
        raise error

    with session(made) as at_work:
        before = made.parameters()
        with monkeypatch.context() as patch:
            patch.setattr(unit_pass, "_loaded", {})
            patch.setattr(type(unit_pass), "_load", fail)
            with pytest.raises(error):
                at_work.epoch(ORDER, learning_rate=0.1, max_norm=1.0)
        for array, kept in zip(made.parameters().coefs, before.coefs, strict=True):
            np.testing.assert_array_equal(array, kept)
        assert at_work.steps == 0
        at_work.epoch(ORDER, learning_rate=0.1, max_norm=1.0)
        assert at_work.steps == 3


def test_a_session_whose_kernel_does_not_come_gives_everything_back(monkeypatch):
    made = network(normalization=LayerNormalization())

    def fail(kernel, dtype):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(unit_pass, "_loaded", {})
        patch.setattr(type(unit_pass), "_load", fail)
        with pytest.raises(MemoryError), session(made):
            pass
    with session(made) as at_work:
        at_work.epoch(ORDER, learning_rate=0.1)
