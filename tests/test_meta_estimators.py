"""Inside scikit-learn's pipelines, searches and meta-estimators, also in two processes and two threads."""

import threading

import joblib
import numpy as np
import pytest
from sklearn import (
    calibration,
    compose,
    ensemble,
    get_config,
    inspection,
    model_selection,
    multiclass,
    multioutput,
    pipeline,
    set_config,
)
from sklearn.base import clone
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.core import session
from fastmlp.machine import cores, pacing

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GRID = {"alpha": [1e-4, 1.0]}
BACKENDS = ("loky", "threading")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(n_class=4, return_X_y=True)
    return X[:200] / 16, y[:200]


def classifier(**parameters):
    return MLPClassifier(
        **{"hidden_layer_sizes": 16, "max_iter": 20, "random_state": 0, "batch_size": 32, **parameters}
    )


def regressor(**parameters):
    return MLPRegressor(**{"hidden_layer_sizes": 16, "max_iter": 60, "random_state": 0, "batch_size": 16, **parameters})


def columns():
    return compose.ColumnTransformer([("a", StandardScaler(), slice(0, 32)), ("b", MinMaxScaler(), slice(32, 64))])


CLASSIFIERS = {
    "Pipeline": lambda: pipeline.make_pipeline(StandardScaler(), classifier()),
    "ColumnTransformer": lambda: pipeline.make_pipeline(columns(), classifier()),
    "GridSearchCV": lambda: model_selection.GridSearchCV(classifier(), GRID, cv=2),
    "RandomizedSearchCV": lambda: model_selection.RandomizedSearchCV(
        classifier(), GRID, cv=2, n_iter=2, random_state=0
    ),
    "HalvingGridSearchCV": lambda: model_selection.HalvingGridSearchCV(
        classifier(), GRID, cv=2, min_resources=80, random_state=0
    ),
    "CalibratedClassifierCV": lambda: calibration.CalibratedClassifierCV(classifier(), cv=2),
    "BaggingClassifier": lambda: ensemble.BaggingClassifier(classifier(), 2, random_state=0),
    "VotingClassifier": lambda: ensemble.VotingClassifier(
        [("a", classifier()), ("b", classifier(solver="sgd"))], voting="soft"
    ),
    "StackingClassifier": lambda: ensemble.StackingClassifier([("a", classifier())], classifier(max_iter=100), cv=2),
    "OneVsRestClassifier": lambda: multiclass.OneVsRestClassifier(classifier()),
    "AdaBoostClassifier": lambda: ensemble.AdaBoostClassifier(classifier(), n_estimators=2, random_state=0),
}


def fitted_in_parallel(make, X, y, backend):
    """The fitted estimator; in two processes or two threads, where it has use for them, it predicts the same bits."""
    alone = make().fit(X, y)
    with joblib.parallel_config(backend, n_jobs=2):
        shared = make().fit(X, y)
        np.testing.assert_array_equal(shared.predict(X), alone.predict(X))
    return shared


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_inside(name, backend, digits):
    assert fitted_in_parallel(CLASSIFIERS[name], *digits, backend).score(*digits) > 0.8


REGRESSORS = {
    "TransformedTargetRegressor": lambda: compose.TransformedTargetRegressor(regressor(), transformer=StandardScaler()),
    "BaggingRegressor": lambda: ensemble.BaggingRegressor(regressor(), 2, random_state=0),
    "VotingRegressor": lambda: ensemble.VotingRegressor([("a", regressor()), ("b", regressor(activation="tanh"))]),
    "StackingRegressor": lambda: ensemble.StackingRegressor([("a", regressor())], regressor(), cv=2),
    "MultiOutputRegressor": lambda: multioutput.MultiOutputRegressor(regressor()),
    "RegressorChain": lambda: multioutput.RegressorChain(regressor()),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor_inside(name, backend):
    several = name in ("MultiOutputRegressor", "RegressorChain")
    X, y = make_regression(200, 5, n_targets=2 if several else 1, random_state=0)
    y = y / y.std(axis=0)
    assert fitted_in_parallel(REGRESSORS[name], X, y, backend).score(X, y) > 0.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_multi_output_classifier(backend):
    X, Y = make_multilabel_classification(100, 6, n_classes=3, random_state=0)
    model = fitted_in_parallel(lambda: multioutput.MultiOutputClassifier(classifier()), X, Y, backend)
    assert model.predict(X).shape == Y.shape


@pytest.mark.parametrize("backend", BACKENDS)
def test_cross_validation_and_learning_curve(backend, digits):
    X, y = digits
    with joblib.parallel_config(backend):
        scores = model_selection.cross_validate(
            classifier(), X, y, cv=2, scoring=["accuracy", "neg_log_loss"], n_jobs=2
        )
        _, _, tests = model_selection.learning_curve(
            classifier(), X, y, cv=2, train_sizes=[0.5, 1.0], exploit_incremental_learning=True, n_jobs=2
        )
    assert scores["test_accuracy"].mean() > 0.8
    assert np.isfinite(tests).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_inspection(backend, digits):
    pytest.importorskip("matplotlib").use("agg")
    X, y = digits
    model = classifier().fit(X, y)
    with joblib.parallel_config(backend):
        importance = inspection.permutation_importance(model, X, y, n_repeats=2, random_state=0, n_jobs=2)
        drawn = inspection.PartialDependenceDisplay.from_estimator(model, X, [20, 21], target=1, n_jobs=2)
    assert importance.importances_mean.argmax() != 0  # the corner of the picture is always empty
    alone = inspection.partial_dependence(model, X, [20])
    np.testing.assert_array_equal(drawn.pd_results[0]["average"], alone["average"])
    assert len(alone["average"]) == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_search_in_parallel_finds_the_same(backend, digits):
    """The same scores to the bit in one process, two processes and two threads."""
    X, y = digits
    alone = model_selection.GridSearchCV(classifier(), GRID, cv=2).fit(X, y)
    with joblib.parallel_config(backend):
        shared = model_selection.GridSearchCV(classifier(), GRID, cv=2, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(shared.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(shared.predict_proba(X), alone.predict_proba(X))


@pytest.mark.threads
def test_searches_in_threads_share_the_cores(digits, monkeypatch):
    """Two fits at a time on two cores: never more than two threads in the kernels."""
    at_work, most, lock = 0, 0, threading.Lock()
    work = session.Session._work

    def counted(self, *arguments):
        nonlocal at_work, most
        n_threads = self._team.n_threads
        with lock:
            at_work += n_threads
            most = max(most, at_work)
        try:
            return work(self, *arguments)
        finally:
            with lock:
                at_work -= n_threads

    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    monkeypatch.setattr(cores, "PATIENCE", 60)
    for name in ("ALONE", "FIRST_PAUSE", "LONGEST_PAUSE"):  # more threads are always tried
        monkeypatch.setattr(pacing, name, 0.0)
    monkeypatch.setattr(session.Session, "_work", counted)
    model = classifier(hidden_layer_sizes=64, batch_size=100)
    for _ in range(300):  # until the second thread comes in time
        if most == 2:
            break
        model.fit(*digits)
    else:
        pytest.skip("the system has no second core at present")
    with joblib.parallel_config("threading"):
        model_selection.GridSearchCV(model, GRID, cv=5, n_jobs=2).fit(*digits)
    assert most == 2


def test_worker_processes_share_the_cores():
    """joblib tells its workers how many threads each may have."""
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(cores.available_cores)() for _ in range(2))
    assert max(found) <= max(1, cores.available_cores() // 2)


def test_metadata_routing(digits):
    X, y = digits
    routed = get_config()["enable_metadata_routing"]
    set_config(enable_metadata_routing=True)
    try:
        search = model_selection.GridSearchCV(
            classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=False), GRID, cv=2
        )
        weights = np.where(y == 0, 1e-9, 1.0)
        assert search.fit(X, y, sample_weight=weights).score(X, y) < 0.9  # zeros are hardly learned
    finally:
        set_config(enable_metadata_routing=routed)


@pytest.mark.parametrize("model", [classifier(), regressor()])
def test_html_representation(model):
    """Of a new and of a fitted estimator, alone and in a pipeline."""
    X = np.random.RandomState(0).uniform(size=(40, 3))
    for each in (clone(model), pipeline.make_pipeline(StandardScaler(), clone(model))):
        assert "Not fitted" in each._repr_html_()
        html = each.fit(X, np.arange(40) % 2)._repr_html_()
        assert type(model).__name__ in html
        assert "Not fitted" not in html
