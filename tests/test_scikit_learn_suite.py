"""scikit-learn's own tests of its MLP, run on ours; those that reach into private state, as tests of behaviour."""

import pathlib
import types

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.datasets import load_digits

from fastmlp import MLPClassifier

SUITE = pathlib.Path(neural_network.__file__).parent / "tests" / "test_mlp.py"
IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
PORTED = {  # what reaches into private state there: what is tested here in its place
    "test_fit": "test_one_step_worked_out_by_hand",
    "test_gradient": "test_a_step_follows_the_gradient",
    "test_learning_rate_warmstart": "test_learning_rate_after_a_warm_start",
    "test_adaptive_learning_rate": "test_adaptive_learning_rate_falls_to_its_end",
    "test_n_iter_no_change": "test_training_stops_after_n_iter_no_change",
    "test_n_iter_no_change_inf": "test_infinite_n_iter_no_change_never_stops",
}


def suite():
    """Their tests by name, from the installed source, in which one line imports our classes."""
    source = SUITE.read_text(encoding="utf-8")
    assert source.count(IMPORT) == 1
    module = types.ModuleType("fastmlp_in_test_mlp")
    code = compile(source.replace(IMPORT, IMPORT.replace("sklearn.neural_network", "fastmlp")), SUITE, "exec")
    exec(code, vars(module))
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


THEIRS = suite() if SUITE.is_file() else {}
globals().update({name: test for name, test in THEIRS.items() if name not in PORTED})


@pytest.fixture
def global_random_seed():
    """What their conftest gives by default."""
    return 42


def test_only_what_is_ported_is_left_out():
    if not THEIRS:
        pytest.skip("the installed scikit-learn comes without its tests")
    assert THEIRS.keys() - globals().keys() == PORTED.keys()
    assert globals().keys() >= {*PORTED.values()}


# --- ported -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_digits():
    X, y = load_digits(n_class=2, return_X_y=True)
    return X[:100] / 16, y[:100]


def with_weights(model, coefs, intercepts):
    """The model with these weights, in place of those that a first epoch gave."""
    model.coefs_ = [np.array(coef, dtype=float) for coef in coefs]
    model.intercepts_ = [np.array(intercept, dtype=float) for intercept in intercepts]
    return model


def test_one_step_worked_out_by_hand():
    """The numbers of scikit-learn's example: 3-2-1 logistic units, one row, one step of gradient descent."""
    X, y = np.array([[0.6, 0.8, 0.7]]), np.array([0])
    model = MLPClassifier(2, "logistic", solver="sgd", learning_rate_init=0.1, alpha=0.1, momentum=0, random_state=1)
    model.partial_fit(X, y, classes=[0, 1])
    with_weights(model, [[[0.1, 0.2], [0.3, 0.1], [0.5, 0]], [[0.1], [0.2]]], [[0.1, 0.1], [1.0]]).partial_fit(X, y)
    for got, expected in [
        (model.coefs_[0], [[0.098, 0.195756], [0.2956664, 0.096008], [0.4939998, -0.002244]]),
        (model.coefs_[1], [[0.04706], [0.154089]]),
        (model.intercepts_[0], [0.098333, 0.09626]),
        (model.intercepts_[1], [0.9235]),
        (model.predict_proba(X)[0, 1], 0.739),
    ]:
        np.testing.assert_almost_equal(got, expected, decimal=3)


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_a_step_follows_the_gradient(activation, n_labels):
    """Weights lose learning_rate × the numerical gradient of ``loss_``, which is that before the step."""
    X, y = np.random.RandomState(42).rand(5, 10), 1 + np.arange(1, 6) % n_labels
    model = MLPClassifier(10, activation, solver="sgd", alpha=1e-5, momentum=0, learning_rate_init=1.0, random_state=1)
    model.partial_fit(X, y, classes=np.unique(y))
    start = [array.copy() for array in model.coefs_ + model.intercepts_]

    def step(layer=0, index=(0, 0), by=0.0):
        """Loss at the start, moved ``by`` in one weight, and the weights after the step from there."""
        weights = [array.copy() for array in start]
        weights[layer][index] += by
        with_weights(model, weights[:2], weights[2:]).partial_fit(X, y)
        return model.loss_, model.coefs_ + model.intercepts_

    _, after = step()
    for layer, (before, now) in enumerate(zip(start, after, strict=True)):
        numerical = np.empty_like(before)
        for index in np.ndindex(*before.shape):
            numerical[index] = (step(layer, index, 1e-5)[0] - step(layer, index, -1e-5)[0]) / 2e-5
        np.testing.assert_almost_equal(before - now, numerical)


@pytest.mark.parametrize(("learning_rate", "factor"), [("constant", 1), ("invscaling", (8 + 1) ** -0.25)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_learning_rate_after_a_warm_start(learning_rate, factor):
    """A fit begins with ``learning_rate_init``; the schedule goes on with the rows seen in both: 8 after two epochs."""
    X, y = [[3, 2], [1, 6], [5, 6], [-2, -4]], [1, 1, 1, 0]
    model = MLPClassifier(4, solver="sgd", learning_rate=learning_rate, max_iter=1, power_t=0.25, warm_start=True)
    model.fit(X, y).set_params(max_iter=2).fit(X, y)
    assert model.history_["learning_rate"] == [0.001, 0.001, pytest.approx(0.001 * factor)]


def test_adaptive_learning_rate_falls_to_its_end():
    X, y = [[3, 2], [1, 6]], [1, 0]
    model = MLPClassifier(tol=0.5, max_iter=3000, solver="sgd", learning_rate="adaptive").fit(X, y)
    assert model.n_iter_ < model.max_iter
    assert model.history_["learning_rate"][-1] < 1e-6


def epochs_without_improvement(model):
    """How many of the last epochs were not better by ``tol`` than the best before."""
    best, count = np.inf, 0
    for loss in model.loss_curve_:
        count = count + 1 if loss > best - model.tol else 0
        best = min(best, loss)
    return count


@pytest.mark.parametrize("patience", [2, 5, 10, 50, 100])
def test_training_stops_after_n_iter_no_change(patience, two_digits):
    model = MLPClassifier(tol=0.01, max_iter=3000, solver="sgd", n_iter_no_change=patience).fit(*two_digits)
    assert epochs_without_improvement(model) == patience + 1
    assert model.n_iter_ < model.max_iter


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_infinite_n_iter_no_change_never_stops(two_digits):
    model = MLPClassifier(tol=1e9, max_iter=3000, solver="sgd", n_iter_no_change=np.inf).fit(*two_digits)
    assert model.n_iter_ == model.max_iter
    assert epochs_without_improvement(model) == model.n_iter_ - 1
