"""What both estimators share: continuing, storing, stopping, diverging, and Ctrl-C."""

import _thread
import json
import os
import pickle
import subprocess
import sys
import threading
from copy import copy

import joblib
import numpy as np
import pytest
from problems import assert_same_weights, small
from sklearn import metrics, neural_network
from sklearn.datasets import make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.core.session import Session
from fastmlp.estimators.targets import r_squared

ESTIMATORS = (MLPClassifier, MLPRegressor)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# --- partial_fit and warm_start ---------------------------------------------------------------------------------------


def test_partial_fit_errors(digits):
    X, y = digits
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        MLPClassifier().partial_fit(X, y)
    estimator = small(MLPClassifier).partial_fit(X, y, classes=np.arange(10))
    with pytest.raises(ValueError, match="is not the same as on last call"):
        estimator.partial_fit(X, y, classes=np.arange(9))
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        estimator.partial_fit(X, y + 5)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        small(MLPRegressor, early_stopping=True).partial_fit(X, y)
    for ours in ESTIMATORS:
        assert not hasattr(ours(solver="lbfgs"), "partial_fit")


def test_a_failing_first_partial_fit_leaves_no_classes(digits):
    X, y = digits
    estimator = small(MLPClassifier)
    with pytest.raises(ValueError):
        estimator.partial_fit(X, y[:-1], classes=np.arange(10))
    assert not hasattr(estimator, "classes_")
    estimator.partial_fit(X, y, classes=np.arange(12))
    assert estimator.predict_proba(X).shape == (400, 12)


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("parameters", [{}, {"solver": "sgd"}, {"solver": "sgd", "learning_rate": "adaptive"}], ids=str)
@pytest.mark.parametrize("store", ["pickle", "joblib", "clone of state"])
def test_partial_fit_goes_on_exactly_after_storing(ours, parameters, store, digits, tmp_path):
    X, y = digits
    estimator = small(ours, **parameters).fit(X, y)
    if store == "pickle":
        copy = pickle.loads(pickle.dumps(estimator))
    elif store == "joblib":
        joblib.dump(estimator, tmp_path / "model")
        copy = joblib.load(tmp_path / "model")
    else:
        copy = ours()
        copy.__setstate__(estimator.__getstate__())
    for _ in range(3):
        estimator.partial_fit(X, y)
        copy.partial_fit(X, y)
    assert_same_weights(copy, estimator)
    assert copy.loss_curve_ == estimator.loss_curve_
    assert copy.t_ == estimator.t_ == 6 * len(y)


def test_pickles_of_other_versions(digits):
    """An older one, without what came later, predicts and goes on; a newer one says what it needs."""
    estimator = small(MLPRegressor).fit(*digits)
    state = estimator.__getstate__()
    older = MLPRegressor.__new__(MLPRegressor)
    later = {"n_threads", "metrics", "history_", "validation_loss_curve_", "_optimizer_lost", "_stream"}
    older.__setstate__({name: state[name] for name in {*state} - later} | {"_fastmlp_version": "0.0.1"})
    assert older.n_threads is None
    before = estimator.predict(digits[0])
    np.testing.assert_array_equal(older.predict(digits[0]), before)
    estimator.random_state, older.random_state = (np.random.RandomState(1) for _ in range(2))
    assert_same_weights(older.partial_fit(*digits), estimator.partial_fit(*digits))
    other_form = copy(estimator._optimizer)
    other_form.of_old = 0
    older.__setstate__({**state, "_fastmlp_version": "0.0.1", "_optimizer": other_form})
    np.testing.assert_array_equal(older.predict(digits[0]), before)
    with pytest.raises(
        ValueError, match=r"partial_fit cannot continue after loading a pickle of fastmlp 0.0.1, .* fit"
    ):
        older.partial_fit(*digits)
    older.fit(*digits).partial_fit(*digits)
    with pytest.raises(ValueError, match=r"needs fastmlp 99.1 or later, .* Install fastmlp>=99.1 to load it."):
        older.__setstate__({**state, "_fastmlp_version": "99.1.2"})


def bytes_of_weights(estimator):
    return sum(array.nbytes for array in estimator.coefs_ + estimator.intercepts_)


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "parameters", [{}, {"solver": "sgd", "early_stopping": True}, {"solver": "lbfgs", "max_iter": 9}], ids=str
)
@pytest.mark.parametrize("hidden_layer_sizes", [1, 300])
def test_a_model_without_optimizer_state_is_small(ours, dtype, parameters, hidden_layer_sizes, digits):
    parameters = {"hidden_layer_sizes": hidden_layer_sizes, "dtype": dtype, "max_iter": 200, **parameters}
    estimator = small(ours, **parameters).fit(*digits)
    data = pickle.dumps(estimator.drop_optimizer_state())
    assert len(data) <= 1.2 * bytes_of_weights(estimator) + 20_000
    np.testing.assert_array_equal(pickle.loads(data).predict(digits[0]), estimator.predict(digits[0]))


def test_dropping_the_optimizer_state(digits):
    X, y = digits
    estimator = MLPClassifier(300, max_iter=3, random_state=0, warm_start=True).fit(X, y)
    expected = estimator.predict(X)
    assert len(pickle.dumps(estimator)) > 2.9 * bytes_of_weights(estimator)
    assert estimator.drop_optimizer_state() is estimator
    data = pickle.dumps(estimator)
    estimator = pickle.loads(data)
    np.testing.assert_array_equal(estimator.predict(X), expected)
    with pytest.raises(ValueError, match=r"partial_fit cannot continue after drop_optimizer_state\(\).* call fit"):
        estimator.partial_fit(X, y)
    estimator.fit(X, y).partial_fit(X, y)
    with pytest.raises(NotFittedError):
        MLPClassifier().drop_optimizer_state()


def test_warm_start_checks_classes(digits):
    X, y = digits
    estimator = small(MLPClassifier, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        estimator.fit(X, y % 3)
    assert len(estimator.classes_) == 10


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_warm_start_may_change_the_solver(ours, digits):
    """lbfgs has no loss curve; a stochastic solver after it begins one, and early stopping begins its scores."""
    estimator = small(ours, warm_start=True, solver="lbfgs").fit(*digits)
    assert not hasattr(estimator, "loss_curve_")
    estimator.set_params(solver="adam").fit(*digits)
    assert len(estimator.loss_curve_) == 3
    estimator.set_params(early_stopping=True).fit(*digits)
    assert len(estimator.validation_scores_) == 3
    assert estimator.best_loss_ is None


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_a_new_fit_forgets_the_old_one(ours, digits):
    estimator = small(ours).fit(*digits)
    estimator.set_params(solver="lbfgs").fit(*digits)
    for name in ("loss_curve_", "best_loss_", "validation_scores_"):
        assert not hasattr(estimator, name)


def test_warm_start_with_early_stopping_never_ends_below_its_best():
    """The best weights of the first fit stay the model while a second one finds no better."""
    X, y = make_regression(100, 3, random_state=0)
    estimator = small(MLPRegressor, warm_start=True, early_stopping=True, max_iter=20).fit(X, y / y.std())
    best, weights = estimator.best_validation_score_, [c.copy() for c in estimator.coefs_]
    estimator.set_params(learning_rate_init=10.0, max_iter=2).fit(X, y / y.std())
    assert estimator.best_validation_score_ == best
    for coef, expected in zip(estimator.coefs_, weights, strict=True):
        np.testing.assert_array_equal(coef, expected)


# --- training ---------------------------------------------------------------------------------------------------------


def test_batch_size_is_clipped_with_a_warning(digits):
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger than sample size. It is going to be"):
        small(MLPClassifier, batch_size=1000).fit(*digits)


def test_convergence_warning_names_the_limit(digits):
    message = r"Stochastic Optimizer: Maximum iterations \(3\) reached and the optimization hasn't converged yet."
    with pytest.warns(ConvergenceWarning, match=message):
        small(MLPClassifier).fit(*digits)
    with pytest.warns(ConvergenceWarning, match=r"lbfgs failed to converge after 3 iteration\(s\)"):
        small(MLPClassifier, solver="lbfgs").fit(*digits)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_divergence(solver, digits):
    """A warning that tells where and what to do, scikit-learn's error, and the old model."""
    X, y = digits
    estimator = small(MLPRegressor, solver="adam").fit(X, y)
    expected = estimator.predict(X)
    estimator.set_params(solver=solver, learning_rate_init=1e200, activation="identity")
    with (
        pytest.warns(
            ConvergenceWarning, match=r"diverged in epoch \d+ .* Use a learning_rate_init below 1e\+200, features"
        ),
        pytest.raises(ValueError, match=r"Solver produced non-finite parameter weights. The input data may contain"),
    ):
        estimator.fit(X * 1e200, y)
    np.testing.assert_array_equal(estimator.set_params(activation="relu").predict(X), expected)


def test_divergence_with_early_stopping_keeps_the_best(digits):
    X, y = digits
    estimator = small(
        MLPRegressor, solver="sgd", learning_rate_init=10, activation="identity", early_stopping=True, max_iter=20
    )
    with pytest.warns(ConvergenceWarning, match="The weights of the best validation score are kept."):
        estimator.fit(X, y)
    assert np.isfinite(estimator.predict(X)).all()
    assert np.isnan(estimator.validation_scores_[-1])
    assert estimator.n_iter_ == 20


def test_too_small_a_validation_set():
    X, y = make_regression(n_samples=2, n_features=5, random_state=0)
    with pytest.raises(ValueError, match="The validation set is too small"):
        MLPRegressor(early_stopping=True, random_state=0).fit(X, y)


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_r_squared_is_that_of_scikit_learn(n_targets, weighted):
    rng = np.random.RandomState(0)
    truth = rng.normal(size=(30, n_targets))
    weights = rng.uniform(size=30) if weighted else None
    flat = np.full((30, n_targets), 2.0)
    for y in (truth, flat):
        for predicted in (truth + 0.1, truth**2, flat, np.where(np.arange(n_targets) > 0, y, truth + 1)):
            assert r_squared(y, weights)(predicted) == metrics.r2_score(y, predicted, sample_weight=weights)
    assert np.isnan(r_squared(truth, weights)(np.full((30, n_targets), np.nan)))


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
@pytest.mark.parametrize("weighted", [False, pytest.param(True, marks=pytest.mark.scikit_learn("1.7"))])
def test_validation_scores_are_accuracies(kind, weighted):
    X, Y = make_multilabel_classification(200, 8, random_state=0)
    y = {"multiclass": Y.sum(axis=1), "binary": Y[:, 0], "multilabel": Y}[kind]
    sample_weight = np.random.RandomState(1).uniform(size=200) if weighted else None
    parameters = {"hidden_layer_sizes": 8, "max_iter": 5, "random_state": 0, "early_stopping": True}
    ours, theirs = (
        module.MLPClassifier(**parameters).fit(X, y, *([sample_weight] if weighted else []))
        for module in (fastmlp, neural_network)
    )
    assert ours.validation_scores_ == theirs.validation_scores_
    assert all(type(score) is float for score in ours.validation_scores_)


@pytest.mark.threads
@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_any_number_of_threads_gives_the_same_bits(ours, solver, digits):
    models = [small(ours, solver=solver, n_threads=n).fit(*digits) for n in (1, 2, 3)]
    for model in models[1:]:
        assert_same_weights(model, models[0])
        assert model.loss_ == models[0].loss_


def test_the_loss_curve_grows_while_training(digits, monkeypatch):
    """Another thread may follow a fit by the list that will be `loss_curve_`."""
    estimator, lengths = small(MLPClassifier), []
    epoch = Session.epoch

    def watched(session, *args, **kwargs):
        lengths.append(len(estimator.loss_curve_))
        return epoch(session, *args, **kwargs)

    monkeypatch.setattr(Session, "epoch", watched)
    estimator.fit(*digits)
    assert lengths == [0, 1, 2]


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs", "tol": 0}], ids=str)
def test_interrupt_leaves_a_usable_model(ours, parameters, digits, monkeypatch):
    X, y = digits
    name = "gradient" if "solver" in parameters else "epoch"
    method, calls = getattr(Session, name), []

    def interrupted(session, *args, **kwargs):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return method(session, *args, **kwargs)

    monkeypatch.setattr(Session, name, interrupted)
    estimator = small(ours, max_iter=100, **parameters)
    with pytest.warns(UserWarning, match="Training interrupted by user."):
        estimator.fit(X, y)
    assert 0 < estimator.n_iter_ <= 8
    assert np.isfinite(estimator.loss_)
    assert np.isfinite(estimator.coefs_[0]).all()
    assert len(estimator.predict(X)) == len(y)


@pytest.mark.usefixtures("keyboard")
def test_ctrl_c_stops_at_once(monkeypatch):
    """A signal during one long epoch ends the fit at the next return to Python, of which there are many."""
    X = np.random.RandomState(0).uniform(size=(20_000, 200)).astype(np.float32)
    y = X[:, 0]
    slices, pressed, work = [], [], Session._work

    def counted(session, kind, at, row_operations):
        slices.append(at)
        if len(slices) == 5:
            timer.start()
        return work(session, kind, at, row_operations)

    def press():
        pressed.append(len(slices))
        _thread.interrupt_main()

    monkeypatch.setattr(Session, "_work", counted)
    timer = threading.Timer(0.001, press)
    estimator = MLPRegressor(hidden_layer_sizes=(300, 300), max_iter=1000, random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user."):
        estimator.fit(X, y)
    assert len(slices) - pressed[0] <= 2  # what was at work, and one that began while the signal was on its way
    assert slices[1:5].count(0) == 0, "an epoch of 18 Gflop is cut into too few slices"
    assert np.isfinite(estimator.predict(X[:10])).all()
    estimator.set_params(max_iter=1).partial_fit(X[:1000], y[:1000])


# --- threads that are none --------------------------------------------------------------------------------------------

ANSWERS = """
import numpy as np
from fastmlp import MLPClassifier, blocks

X = np.random.default_rng(0).normal(size=(2000, 30)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
many = np.tile(X, (30, 1))


def answer(n_threads, n_estimators, rows=(X, y)):
    model = MLPClassifier((100,), max_iter=2, random_state=0, n_threads=n_threads, n_estimators=n_estimators)
    return model.fit(*rows).predict_proba(many)[:, 1].tolist()


answers = [answer(2, 1), answer(None, 2), answer(2, 1, (blocks.from_arrays(X, y),))]
"""
UNDER_GEVENT = """
import json, sys, warnings
import gevent
from gevent import monkey

{patch}
warnings.simplefilter("ignore")
{answers}
jobs = [gevent.spawn(answer, None, 1) for _ in range(3)]
gevent.joinall(jobs, raise_error=True)
json.dump([*answers, *(job.value for job in jobs)], sys.stdout)
"""


@pytest.mark.parametrize("patch", ["monkey.patch_all()", "monkey.patch_all(thread=False)"])
def test_gevent(patch):
    """What it puts in the place of threads, locks and queues hangs no fit, changes no bit and prints nothing."""
    pytest.importorskip("gevent")
    known = {}
    exec(ANSWERS, known)
    command = [sys.executable, "-c", UNDER_GEVENT.format(patch=patch, answers=ANSWERS)]
    environment = os.environ | {"FASTMLP_QUIET": "1"}
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert json.loads(process.stdout) == [*known["answers"], *[known["answer"](None, 1)] * 3]
