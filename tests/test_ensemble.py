"""Ensembles: members side by side, averaged; and averages of one network's weights."""

import _thread
import pickle

import numpy as np
import pytest
from problems import comes_true, live_threads
from scipy.sparse import csr_array
from sklearn import config_context, get_config
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.machine import worker

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def ensemble(**parameters):
    return MLPClassifier(
        **{"hidden_layer_sizes": 10, "max_iter": 4, "n_estimators": 3, "random_state": 0, **parameters}
    )


def test_outputs_are_the_mean_of_the_members(digits):
    X, y = digits
    model = ensemble().fit(X, y)
    assert len(model.estimators_) == 3
    members = [member.predict_proba(X) for member in model.estimators_]
    assert not np.array_equal(members[0], members[1])
    np.testing.assert_allclose(model.predict_proba(X), np.mean(members, axis=0))
    np.testing.assert_array_equal(model.predict(X), model.classes_[np.mean(members, axis=0).argmax(axis=1)])
    assert model.loss_ == pytest.approx(np.mean([member.loss_ for member in model.estimators_]))
    assert (model.n_iter_, model.n_features_in_, model.n_outputs_) == (4, 64, 10)


@pytest.mark.parametrize("n_threads", [1, 2, None])
def test_members_do_not_depend_on_threads(digits, n_threads):
    X, y = digits
    one, other = (ensemble(n_threads=threads).fit(X, y) for threads in (1, n_threads))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_regressor_and_early_stopping(digits):
    X, y = digits
    model = MLPRegressor(
        hidden_layer_sizes=20, n_estimators=2, max_iter=60, random_state=0, early_stopping=True, learning_rate_init=0.01
    ).fit(X, y)
    np.testing.assert_allclose(model.predict(X), np.mean([member.predict(X) for member in model.estimators_], axis=0))
    assert all(member.best_validation_score_ is not None for member in model.estimators_)


def test_partial_fit_and_warm_start_go_on(digits):
    X, y = digits
    model = ensemble()
    for _ in range(2):
        model.partial_fit(X, y, classes=np.arange(10))
    assert model.t_ == 800
    members = model.estimators_
    model.set_params(warm_start=True).fit(X, y)
    assert [len(member.loss_curve_) for member in model.estimators_] == [6, 6, 6]
    assert [len(member.loss_curve_) for member in members] == [2, 2, 2]


LONG = {"max_iter": 10**6, "tol": 0, "n_iter_no_change": np.inf}


@pytest.mark.parametrize("error", [ValueError("what a scorer says"), MemoryError()], ids=repr)
def test_an_exception_in_one_member_ends_the_others(digits, error):
    """Nothing computes any more when fit has raised, though the members have a million epochs before them."""
    scored = []

    def scorer(estimator, X, y):
        scored.append(estimator)
        if len(scored) == 20:
            raise error
        return 0.0

    before, model = live_threads(), ensemble(n_threads=3, metrics={"score": scorer}, **LONG)
    with pytest.raises(type(error)):
        model.fit(*digits)
    assert comes_true(lambda: live_threads() <= before)
    assert not hasattr(model, "estimators_")


@pytest.mark.usefixtures("keyboard")
@pytest.mark.parametrize("n_threads", [1, 2, None])
def test_an_interrupt_ends_all_members(digits, n_threads):
    before, model, looks = live_threads(), ensemble(n_threads=n_threads), []

    def scorer(estimator, X, y):
        looks.append(estimator)
        if len(looks) == 3:
            _thread.interrupt_main()
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        model.set_params(metrics={"score": scorer}, **LONG).fit(*digits)
    assert comes_true(lambda: live_threads() <= before)
    model.set_params(metrics=None, max_iter=2).fit(*digits)
    assert len(model.estimators_) == 3


def test_an_ensemble_where_no_thread_can_be_started(digits, monkeypatch):
    expected = ensemble(n_threads=1).fit(*digits)

    class NoWorker:
        def __init__(self):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker, "Worker", NoWorker)
    np.testing.assert_array_equal(ensemble().fit(*digits).predict_proba(digits[0]), expected.predict_proba(digits[0]))


def test_members_have_the_callers_configuration(digits):
    with config_context(working_memory=77):
        model = ensemble(metrics={"score": lambda *_: float(get_config()["working_memory"])}, n_threads=2).fit(*digits)
    assert {*model.estimators_[2].history_["score"]} == {77.0}


def test_a_failed_fit_leaves_the_ensemble(digits):
    X, y = digits
    model = ensemble().fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X * np.nan, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert not hasattr(clone(model), "estimators_")


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_averaged_weights_are_the_mean_over_the_last_epochs(digits, share):
    """Against the weights after every epoch, from fits of each length."""
    X, y = digits
    epochs = 6
    fits = [
        MLPClassifier(10, max_iter=n, random_state=0, tol=0, n_iter_no_change=np.inf).fit(X, y)
        for n in range(1, epochs + 1)
    ]
    averaged = MLPClassifier(
        10, max_iter=epochs, random_state=0, tol=0, n_iter_no_change=np.inf, weight_averaging=share
    ).fit(X, y)
    last = fits[int(share * epochs) :]
    for layer, coef in enumerate(averaged.coefs_):
        np.testing.assert_allclose(coef, np.mean([fit.coefs_[layer] for fit in last], axis=0), atol=1e-12)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"early_stopping": True}, r"weight_averaging requires early_stopping=False, .*; got weight_averaging=0\.5\."),
        ({"normalization": "batch"}, r"weight_averaging requires normalization=None or 'layer'.*; got .*'batch'\."),
        ({"solver": "lbfgs"}, r"weight_averaging=0\.5 requires a solver that takes steps, .*; got solver='lbfgs'\."),
    ],
)
def test_averages_that_cannot_be(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(weight_averaging=0.5, **parameters).fit(*digits)


def test_another_number_of_networks(digits):
    X, y = digits
    model = MLPClassifier(10, max_iter=3, random_state=0).fit(X, y)
    model.set_params(n_estimators=2)
    assert model.predict(X).shape == (400,)  # as it was fitted
    model.fit(X, y)
    assert len(model.estimators_) == 2
    assert not hasattr(model, "coefs_")
    assert not hasattr(model, "loss_curve_")
    with pytest.raises(ValueError, match=r"n_estimators must be 2, as in the previous call to fit, .*; got 3\."):
        model.set_params(n_estimators=3, warm_start=True).fit(X, y)
    model.set_params(n_estimators=1, warm_start=False).fit(X, y)
    assert not hasattr(model, "estimators_")
    assert len(model.coefs_) == 2


def test_dropping_the_state_of_all_members(digits):
    X, y = digits
    model = ensemble().fit(X, y)
    before = len(pickle.dumps(model))
    assert len(pickle.dumps(model.drop_optimizer_state())) < 0.6 * before
    with pytest.raises(ValueError, match="partial_fit cannot continue after drop_optimizer_state"):
        model.partial_fit(X, y)


def test_decisions_are_those_of_the_mean(digits):
    X, y = digits
    model = ensemble().fit(X, y)
    np.testing.assert_array_equal(model.classes_[model.decision_function(X).argmax(axis=1)], model.predict(X))
    model = ensemble().fit(X, y % 2)
    p = model.predict_proba(X)[:, 1]
    np.testing.assert_allclose(model.decision_function(X), np.log(p / (1 - p)))


def test_validation_data_and_sparse_rows(digits):
    X, y = digits
    model = ensemble().fit(csr_array(X), y, X_val=X[:50], y_val=y[:50])
    assert all(len(member.validation_loss_curve_) == 4 for member in model.estimators_)
    np.testing.assert_allclose(model.predict_proba(csr_array(X)), ensemble().fit(X, y).predict_proba(X), atol=1e-10)


def test_an_average_that_never_begins_is_told(digits):
    with pytest.warns(ConvergenceWarning, match="before the averaging of weights began"):
        MLPClassifier(10, max_iter=50, tol=10, n_iter_no_change=1, weight_averaging=0.9).fit(*digits)
    with pytest.raises(ValueError, match=r"weight_averaging requires fit, .*; got partial_fit\."):
        MLPClassifier(weight_averaging=0.5).partial_fit(*digits, classes=np.arange(10))
