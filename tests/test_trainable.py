"""The network and its reference through the same calls: sessions, epochs, gradients, and steps by them."""

import inspect

import numpy as np
import pytest
from problems import Problem, assert_close, make_weights
from scipy import sparse

from fastmlp.core.network import Network
from fastmlp.core.session import Session
from fastmlp.losses import SquaredError
from fastmlp.normalizations import NORMALIZATIONS
from fastmlp.optimizers import AdamW
from fastmlp.reference import Reference, ReferenceSession
from fastmlp.trainable import Parameters, Trainable, TrainingSession

pytestmark = pytest.mark.threads

UNITS = (5, 19, 7, 3)
PENALTIES = {"alpha": 0.1, "l1": 0.05}


def sparse_rows(rows):
    return sparse.random(rows, 40, 0.1, "csr", np.float64, random_state=0)


PROBLEMS = {
    "plain": lambda: Problem(UNITS, 50, 50, np.float64),
    "float32": lambda: Problem(UNITS, 50, 50, np.float32, activation="tanh"),
    "small batches": lambda: Problem(UNITS, 50, 16, np.float64, optimizer="momentum"),
    "weighted": lambda: Problem(UNITS, 50, 50, np.float64, weighted=True, optimizer="nesterov"),
    "narrow": lambda: Problem((6, 21, 1), 40, 40, np.float64, loss=SquaredError(), optimizer="rmsprop"),
    "wide": lambda: Problem((9, 49, 47, 17), 65, 65, np.float64, optimizer=AdamW(weight_decay=0.5)),
    "several chunks": lambda: Problem((7, 33, 2), 1300, 1300, np.float64),
    "sparse": lambda: Problem((40, 20, 2), 60, 60, np.float64, X=sparse_rows(60)),
    "sparse, several chunks": lambda: Problem((40, 20, 2), 1100, 1100, np.float64, X=sparse_rows(1100)),
    "learned slopes": lambda: Problem(UNITS, 50, 50, np.float64, activation=["prelu", "tanh"]),
    "layer normalization": lambda: Problem(
        UNITS, 50, 50, np.float64, activation="prelu", normalization=NORMALIZATIONS["layer"]()
    ),
    "batch normalization": lambda: Problem(UNITS, 50, 50, np.float64, normalization=NORMALIZATIONS["batch"]()),
    "dropout": lambda: Problem(UNITS, 50, 50, np.float64, dropout=[0.1, 0.5, 0.2]),
    "groups": lambda: Problem(UNITS, 50, 50, np.float64, rate_factors={"first_layer": 2.0, "biases": 0.1}),
}
over_problems = pytest.mark.parametrize("name", PROBLEMS)
over_networks = pytest.mark.parametrize("make", [Problem.network, Problem.reference], ids=["network", "reference"])


def arrays_of(parameters):
    return [array for part in parameters for array in part]


def assert_equal(one, other):
    for ours, theirs in zip(arrays_of(one), arrays_of(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# --- the calls --------------------------------------------------------------------------------------------------------


@over_networks
def test_both_answer_to_the_protocol(make):
    problem = PROBLEMS["plain"]()
    network = make(problem)
    assert isinstance(network, Trainable)
    with problem.session(network) as session:
        assert isinstance(session, TrainingSession)
        assert session.steps == 0


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [(Trainable, Network), (Trainable, Reference), (TrainingSession, Session), (TrainingSession, ReferenceSession)],
    ids=lambda kind: kind.__name__,
)
def test_arguments_are_those_of_the_protocol(protocol, kind):
    """By name, kind and default; what is left over goes into `settings`."""
    for name, function in inspect.getmembers(protocol, inspect.isfunction):
        if not name.startswith("_") and not (kind is ReferenceSession and name == "apply"):
            wanted, found = (
                [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
                for f in (function, getattr(kind, name))
            )
            assert found == wanted, name


@over_networks
def test_a_session_trains_counts_and_predicts(make):
    problem = PROBLEMS["small batches"]()
    network, seen = make(problem), []
    with problem.session(network) as session:
        (order, settings), _ = problem.epochs()
        loss = session.epoch(order, progress=seen.append, **settings)
        assert session.steps == 4
        predictions = session.predict()
        np.testing.assert_array_equal(session.predict(order[:5]), predictions[order[:5]])
    assert seen[-1] == 50
    other = problem.reference()
    assert other.epoch(problem.X, problem.y, order, 16, **settings) == pytest.approx(loss)
    np.testing.assert_allclose(other.predict(problem.X), predictions, rtol=1e-9)


# --- gradients and steps ----------------------------------------------------------------------------------------------


@over_problems
def test_both_have_the_same_gradient(name):
    """Of all rows and of some; with penalties, and clipped by value. No bit depends on the threads."""
    problem = PROBLEMS[name]()
    rows = problem.orders[0][: problem.batch_size // 2]
    found = []
    for network, n_threads in ((problem.reference(), 1), (problem.network(), 1), (problem.network(), 3)):
        with problem.session(network, n_threads) as session:
            settings = ({}, {"order": rows, **PENALTIES}, {"order": rows, "seed": 5, "clip_value": 0.01})
            results = [session.gradient(**given) for given in settings]
            assert session.steps == 0
        flat = [(np.array(loss), np.concatenate([a.ravel() for a in arrays_of(by)])) for loss, by in results]
        found.append([array for pair in flat for array in pair])
    expected, alone, together = found
    assert_close(alone, expected, problem.dtype)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@over_problems
@over_networks
@pytest.mark.parametrize(
    "limits", [{}, {"clip_norm": 0.05, "max_norm": 1.0}, {"clip_value": 0.01}], ids=["free", "norms", "value"]
)
def test_a_gradient_applied_is_a_step(limits, make, name):
    """In compiled code to the bit: weights, learned unit parameters, states and loss."""
    problem = PROBLEMS[name]()
    rows, trained, losses = problem.orders[0][: problem.batch_size], [], []
    for whole in (True, False):
        network = make(problem)
        with problem.session(network, n_threads=2) as session:
            for step in range(2):
                numbers, given = {"learning_rate": 0.01, "step": step}, {"seed": step, **PENALTIES}
                if whole:
                    losses.append(session.epoch(rows, **numbers, **given, **limits))
                else:
                    loss, gradient = session.gradient(rows, **given)
                    session.apply(gradient, **numbers, **limits)
                    losses.append(loss)
            assert session.steps == 2
        trained.append(network.parameters())
    if make is Problem.network:
        assert_equal(*trained)
        assert losses[:2] == losses[2:]
    else:  # NumPy's products may round otherwise from call to call
        assert_close(*map(arrays_of, trained), problem.dtype)
        assert losses[:2] == pytest.approx(losses[2:], rel=1e-6)


@pytest.mark.parametrize("name", ["plain", "small batches", "sparse", "sparse, several chunks", "narrow"])
def test_looking_at_a_gradient_changes_nothing(name):
    """Training goes on as if nobody had looked, by the same threads."""
    problem = PROBLEMS[name]()
    trained = []
    for looks in (False, True):
        network = problem.network()
        with problem.session(network, n_threads=2) as session:
            for order, settings in problem.epochs():
                before = network.parameters()
                if looks:
                    session.gradient(alpha=0.3)
                assert_equal(network.parameters(), before)
                session.epoch(order, **settings)
        trained.append(network.parameters())
    assert_equal(*trained)


@over_networks
def test_a_mean_of_gradients_is_that_of_all_rows(make):
    """As machines that share the rows would train."""
    problem = PROBLEMS["plain"]()
    network, apart = make(problem), make(problem)
    with problem.session(network) as session, problem.session(apart) as other:
        _, gradient = session.gradient()
        parts = [other.gradient(rows)[1] for rows in (np.arange(25), np.arange(25, 50))]
        mean = Parameters(*([(a + b) / 2 for a, b in zip(*pair)] for pair in zip(*parts)))
        session.apply(gradient, learning_rate=0.1)
        other.apply(mean, learning_rate=0.1)
    assert_close(arrays_of(apart.parameters()), arrays_of(network.parameters()), problem.dtype)


@over_networks
def test_parameters_go_from_one_to_the_other(make):
    problem = PROBLEMS["layer normalization"]()
    network, heir = make(problem), problem.reference()
    with problem.session(network) as session:
        session.epoch(problem.orders[0], learning_rate=0.01)
    heir.set_parameters(network.parameters())
    assert_equal(heir.parameters(), network.parameters())


def test_an_interrupted_gradient_of_sparse_rows_leaves_nothing(monkeypatch):
    problem = PROBLEMS["sparse, several chunks"]()
    network = problem.network()
    with problem.session(network, n_threads=1) as session:
        expected = session.gradient(alpha=0.1)
        work = session._work

        def interrupted(*arguments):
            work(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(session, "_work", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.gradient(alpha=0.1)
        monkeypatch.setattr(session, "_work", work)
        again = session.gradient(alpha=0.1)
    assert again[0] == expected[0]
    assert_equal(again[1], expected[1])


def test_batch_normalization_takes_one_batch():
    problem = Problem(UNITS, 50, 16, np.float64, normalization=NORMALIZATIONS["batch"]())
    with (
        problem.session(problem.network()) as session,
        pytest.raises(ValueError, match="order must have at most batch_size=16 rows with batch normalization; got 50"),
    ):
        session.gradient()


def test_gradients_of_a_narrow_layer_write_its_padding():
    """Whatever lies in it: padding that is no number would stay in the weights."""
    network = Network((6, 21, 1), dtype=np.float64, activation="relu", loss=SquaredError(), optimizer="adam")
    network.set_weights(*make_weights((6, 21, 1)))
    buffer = np.full(network._weights.size, np.nan)
    gradient = Parameters(*network.weights(), [])
    network.write_gradient(gradient, buffer, np.zeros((3, network.layout.unit_parameter_row)))
    stop = network.layout.weights_at[1] + network.layout.narrow[1]
    assert network.layout.narrow[1]
    assert not np.isnan(buffer[network.layout.weights_at[1] : stop]).any()
    assert_equal(network.read_gradient(buffer, np.zeros((3, 1))), gradient)
