"""Inside scikit-learn's pipelines, searches and meta-estimators, also in two processes and two threads."""

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
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from fastmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GRID = {"alpha": [1e-4, 1.0]}


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


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_inside(name, digits):
    X, y = digits
    assert CLASSIFIERS[name]().fit(X, y).score(X, y) > 0.8


REGRESSORS = {
    "TransformedTargetRegressor": lambda: compose.TransformedTargetRegressor(regressor(), transformer=StandardScaler()),
    "BaggingRegressor": lambda: ensemble.BaggingRegressor(regressor(), 2, random_state=0),
    "VotingRegressor": lambda: ensemble.VotingRegressor([("a", regressor()), ("b", regressor(activation="tanh"))]),
    "StackingRegressor": lambda: ensemble.StackingRegressor([("a", regressor())], regressor(), cv=2),
    "MultiOutputRegressor": lambda: multioutput.MultiOutputRegressor(regressor()),
    "RegressorChain": lambda: multioutput.RegressorChain(regressor()),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor_inside(name):
    several = name in ("MultiOutputRegressor", "RegressorChain")
    X, y = make_regression(200, 5, n_targets=2 if several else 1, random_state=0)
    y = y / y.std(axis=0)
    assert REGRESSORS[name]().fit(X, y).score(X, y) > 0.5


def test_multi_output_classifier():
    X, Y = make_multilabel_classification(100, 6, n_classes=3, random_state=0)
    assert multioutput.MultiOutputClassifier(classifier()).fit(X, Y).predict(X).shape == Y.shape


def test_cross_validation_and_learning_curve(digits):
    X, y = digits
    scores = model_selection.cross_validate(classifier(), X, y, cv=2, scoring=["accuracy", "neg_log_loss"])
    assert scores["test_accuracy"].mean() > 0.8
    _, _, tests = model_selection.learning_curve(
        classifier(), X, y, cv=2, train_sizes=[0.5, 1.0], exploit_incremental_learning=True
    )
    assert np.isfinite(tests).all()


def test_inspection(digits):
    X, y = digits
    model = classifier().fit(X, y)
    importances = inspection.permutation_importance(model, X, y, n_repeats=2, random_state=0).importances_mean
    assert importances.argmax() != 0  # the corner of the picture is always empty
    shape = inspection.partial_dependence(model, X, [20], response_method="predict_proba")["average"].shape
    assert shape[0] == 4


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_search_in_parallel_finds_the_same(backend, digits):
    """The same scores to the bit in one process, two processes and two threads."""
    X, y = digits
    alone = model_selection.GridSearchCV(classifier(), GRID, cv=2).fit(X, y)
    with joblib.parallel_backend(backend):
        shared = model_selection.GridSearchCV(classifier(), GRID, cv=2, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(shared.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(shared.predict_proba(X), alone.predict_proba(X))


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


def test_html_representation():
    assert "MLPClassifier" in classifier()._repr_html_()
