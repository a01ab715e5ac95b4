"""In float64 the same seed gives scikit-learn's model, for every solver and task: weights, losses, scores, epochs."""

import warnings
from itertools import product

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning

import fastmlp

EPOCHS = 8
WEIGHTS = 1e-6  # of the largest coefficient of an array
LOSS = 1e-9  # relative

SOLVERS = {
    "adam": {},
    "adam, early stopping": {"early_stopping": True, "validation_fraction": 0.2},
    "adam, large penalty, other moments": {"alpha": 10.0, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "adam, not shuffled, last batch of one row": {"shuffle": False, "batch_size": 23},
    "adam, batches of one row": {"batch_size": 1, "learning_rate_init": 1e-4},
    "adam, stops early": {"tol": 0.3, "n_iter_no_change": 2},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.005},
    "sgd, momentum": {"solver": "sgd", "learning_rate_init": 0.005, "nesterovs_momentum": False, "momentum": 0.5},
    "sgd, no momentum": {"solver": "sgd", "learning_rate_init": 0.005, "momentum": 0},
    "sgd, invscaling": {"solver": "sgd", "learning_rate_init": 0.005, "learning_rate": "invscaling", "power_t": 0.2},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1},
    "sgd, adaptive, early stopping": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "early_stopping": True,
        "tol": 0.1,
        "n_iter_no_change": 1,
    },
    "lbfgs": {"solver": "lbfgs"},
}
ACTIVATIONS = ("relu", "tanh", "logistic", "identity")
N_ROWS = 300  # not a multiple of 23


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:N_ROWS] / 16, y[:N_ROWS]


def multiclass():
    return "MLPClassifier", {}, *digits()


def binary():
    X, y = digits()
    return "MLPClassifier", {}, X, np.where(y < 4, 7, -3)


def multilabel():
    X, Y = make_multilabel_classification(N_ROWS, 12, n_classes=5, random_state=0)
    return "MLPClassifier", {}, X / 10, Y


def one_target():
    X, y = make_regression(N_ROWS, 9, noise=1.0, random_state=0)
    return "MLPRegressor", {}, X, y / y.std()


def three_targets():
    X, Y = make_regression(N_ROWS, 9, n_targets=3, noise=1.0, random_state=0)
    return "MLPRegressor", {}, X, Y / Y.std()


def counts():
    X = np.random.RandomState(0).uniform(size=(N_ROWS, 5))
    return "MLPRegressor", {"loss": "poisson"}, X, np.random.RandomState(1).poisson(np.exp(X.sum(axis=1) - 1))


TASKS = (multiclass, binary, multilabel, one_target, three_targets, counts)


def cases():
    """Each solver with each task and activation, every other one weighted: each pair is weighted once and once not."""
    for (s, name), (t, task), (a, activation) in product(*map(enumerate, (SOLVERS, TASKS, ACTIVATIONS))):
        weighted = (s + t + a) % 2 == 1
        newer = [pytest.mark.scikit_learn("1.7")] if weighted or task is counts else []
        label = f"{name}-{task.__name__}-{activation}" + "-weighted" * weighted
        yield pytest.param(SOLVERS[name], task, activation, weighted, id=label, marks=newer)


def fit_both(fit, task, **parameters):
    """fit(estimator, X, y) of scikit-learn's class and ours."""
    name, more, X, y = task()
    estimators = []
    for module in (neural_network, fastmlp):
        estimator = getattr(module, name)(**{"max_iter": EPOCHS, "random_state": 3, **more, **parameters})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit(estimator, X, y)
        estimators.append(estimator)
    return estimators


def public(estimator):
    """Names of the attributes that a fit has set."""
    return {name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")}


def assert_same_model(theirs, ours):
    assert not [name for name in public(theirs) if not hasattr(ours, name)]
    for expected, got in zip(theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_, strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=0, atol=WEIGHTS * np.abs(expected).max())
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=LOSS)
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        expected = getattr(theirs, name, None)
        if expected is None:
            assert getattr(ours, name, None) is None, name
        else:
            np.testing.assert_allclose(getattr(ours, name), expected, rtol=LOSS, err_msg=name)


def assert_same_predictions(theirs, ours, X):
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-5)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-5, atol=1e-9)
    else:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("parameters", "task", "activation", "weighted"), list(cases()))
def test_same_trajectory(parameters, task, activation, weighted):
    sample_weight = (np.random.RandomState(5).uniform(0.1, 3, N_ROWS),) if weighted else ()
    theirs, ours = fit_both(
        lambda estimator, X, y: estimator.fit(X, y, *sample_weight),
        task,
        activation=activation,
        hidden_layer_sizes=(17, 6),
        **parameters,
    )
    assert_same_model(theirs, ours)
    assert_same_predictions(theirs, ours, task()[2])


@pytest.mark.parametrize("hidden", [(), 1, (3,), (40, 30, 20, 10, 5)], ids=str)
@pytest.mark.parametrize("task", [multiclass, three_targets])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_same_trajectory_for_any_depth(hidden, task):
    theirs, ours = fit_both(lambda estimator, X, y: estimator.fit(X, y), task, hidden_layer_sizes=hidden)
    assert_same_model(theirs, ours)


@pytest.mark.parametrize(
    "parameters", [{}, {"solver": "sgd"}, {"solver": "sgd", "learning_rate": "invscaling"}], ids=str
)
@pytest.mark.parametrize("task", [multiclass, binary, pytest.param(counts, marks=pytest.mark.scikit_learn("1.7"))])
def test_partial_fit_follows_scikit_learn(parameters, task):
    """Optimizer state, schedule and counters go on from call to call, on rows that change.

    Theirs draws the same order in every call after an int seed, ours goes on: a RandomState goes on in both.
    """

    def in_three_parts(estimator, X, y):
        estimator.set_params(random_state=np.random.RandomState(3), batch_size=30)
        classes = {"classes": np.unique(y)} if hasattr(estimator, "predict_proba") else {}
        for part in range(9):
            rows = slice(part % 3, None, 3)
            estimator.partial_fit(X[rows], y[rows], **classes)

    assert_same_model(*fit_both(in_three_parts, task, **parameters))


@pytest.mark.parametrize("parameters", [{}, {"solver": "sgd"}, {"solver": "lbfgs"}], ids=str)
def test_warm_start_follows_scikit_learn(parameters):
    """A second fit goes on from the weights with a new optimizer and a history that grows."""

    def twice(estimator, X, y):
        estimator.fit(X, y).set_params(max_iter=3).fit(X, y)

    assert_same_model(*fit_both(twice, multiclass, warm_start=True, **parameters))


def test_random_state_instance_is_consumed_alike():
    theirs_state, our_state = np.random.RandomState(4), np.random.RandomState(4)
    _, _, X, y = multiclass()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        neural_network.MLPClassifier(max_iter=2, random_state=theirs_state, early_stopping=True).fit(X, y)
        fastmlp.MLPClassifier(max_iter=2, random_state=our_state, early_stopping=True).fit(X, y)
    assert our_state.randint(2**31) == theirs_state.randint(2**31)


@pytest.mark.parametrize(
    "parameters", [{}, {"solver": "adam"}, {"early_stopping": True}, {"learning_rate": "adaptive"}], ids=str
)
def test_same_lines_when_verbose(parameters, capsys):
    parameters = {"solver": "sgd", "tol": 0.5, "n_iter_no_change": 1, "verbose": True, "random_state": 0, **parameters}
    _, _, X, y = multiclass()
    lines = []
    for module in (neural_network, fastmlp):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            module.MLPClassifier(max_iter=20, **parameters).fit(X, y)
        lines.append(capsys.readouterr().out)
    assert "Iteration 2, loss = " in lines[0]
    theirs, ours = (text.splitlines() for text in lines)
    assert len(theirs) == len(ours)
    for expected, got in zip(theirs, ours):  # ours add the seconds, and which score it is
        assert got.startswith(expected)


@pytest.mark.parametrize(
    "parameters",
    [
        {"batch_size": 1000},
        {"solver": "sgd"},
        pytest.param({"solver": "lbfgs"}, marks=pytest.mark.scikit_learn("1.9")),
        pytest.param({"solver": "lbfgs", "max_fun": 2}, marks=pytest.mark.scikit_learn("1.9")),
    ],
    ids=str,
)
def test_same_warnings(parameters):
    _, _, X, y = multiclass()
    texts = []
    for module in (neural_network, fastmlp):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module.MLPClassifier(8, max_iter=3, random_state=0, **parameters).fit(X, y)
        texts.append([(warning.category, str(warning.message)) for warning in caught])
    assert texts[0]
    assert texts[1] == texts[0]
