"""Parameters as users write them: numbers of components in searches, pipelines and clones; errors with a remedy."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.activations import LeakyReLU
from fastmlp.augmentations import GaussianNoise
from fastmlp.losses import Huber, LogLoss
from fastmlp.normalizations import LayerNormalization
from fastmlp.optimizers import Adam, AdamW, Momentum
from fastmlp.schedules import Constant, Exponential, StepDecay, WarmUp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


# --- numbers of components --------------------------------------------------------------------------------------------


def test_nested_numbers_are_parameters():
    classifier = MLPClassifier(solver=AdamW(weight_decay=0.1), learning_rate=WarmUp(3, StepDecay(5)))
    params = classifier.get_params()
    assert params["solver__weight_decay"] == 0.1
    assert params["learning_rate__then__every"] == 5
    assert not any("__" in name for name in classifier.get_params(deep=False))
    assert not any("__" in name for name in MLPClassifier().get_params())
    assert MLPClassifier(**classifier.get_params(deep=False)).get_params() == params


@pytest.mark.parametrize(
    ("estimator", "params", "expected"),
    [
        (MLPClassifier(solver=AdamW()), {"solver__weight_decay": 0.3}, {"solver": AdamW(weight_decay=0.3)}),
        (MLPClassifier(activation=LeakyReLU()), {"activation__slope": 0.2}, {"activation": LeakyReLU(0.2)}),
        (MLPClassifier(loss=LogLoss()), {"loss__label_smoothing": 0.1}, {"loss": LogLoss(0.1)}),
        (MLPRegressor(loss=Huber()), {"loss__delta": 2.0}, {"loss": Huber(2.0)}),
        (
            MLPRegressor(normalization=LayerNormalization()),
            {"normalization__epsilon": 1e-3},
            {"normalization": LayerNormalization(1e-3)},
        ),
        (
            MLPRegressor(augmentation=GaussianNoise()),
            {"augmentation__std": 0.2},
            {"augmentation": GaussianNoise(0.2)},
        ),
        (
            MLPRegressor(learning_rate=WarmUp(3, StepDecay(5))),
            {"learning_rate__then__every": 8, "learning_rate__epochs": 1},
            {"learning_rate": WarmUp(1, StepDecay(8))},
        ),
        (  # the new component comes before its numbers
            MLPRegressor(learning_rate=StepDecay(5)),
            {"learning_rate__factor": 0.9, "learning_rate": Exponential()},
            {"learning_rate": Exponential(0.9)},
        ),
        (  # a name becomes its component, with the estimator's numbers as in a fit
            MLPClassifier(solver="adam", beta_2=0.9),
            {"solver__beta_1": 0.5},
            {"solver": Adam(0.5, 0.9)},
        ),
        (
            MLPClassifier(solver="sgd", momentum=0.3, nesterovs_momentum=False),
            {"solver__momentum": 0.5, "alpha": 1.0},
            {"solver": Momentum(0.5), "alpha": 1.0},
        ),
        (MLPClassifier(activation="leaky_relu"), {"activation__slope": 0.5}, {"activation": LeakyReLU(0.5)}),
    ],
    ids=str,
)
def test_setting_a_nested_number_replaces_the_component(estimator, params, expected):
    estimator = clone(estimator)
    before = estimator.get_params(deep=False)
    assert estimator.set_params(**params) is estimator
    assert estimator.get_params(deep=False) == before | expected


def test_others_keep_a_shared_component():
    component = AdamW(weight_decay=0.1)
    first, second = MLPClassifier(solver=component), MLPClassifier(solver=component)
    copied = clone(first)
    first.set_params(solver__weight_decay=0.9)
    assert component == AdamW(weight_decay=0.1)
    assert second.solver is component
    assert copied.solver == component
    assert first.solver == AdamW(weight_decay=0.9)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"solver__decay": 1},
            "AdamW has the parameters beta_1, beta_2, epsilon, weight_decay, weights_only; got 'decay'.",
        ),
        ({"solver__weight_decay": -1}, r"weight_decay of AdamW must be a number in \[0, inf\); got -1."),
        (
            {"solver": "lbfgs", "solver__beta_1": 0},
            "solver__beta_1 requires one component as solver; got solver='lbfgs'",
        ),
        ({"activation__slope": 1}, "activation__slope requires one component as activation; got activation=\\['relu'"),
        ({"activation": "elu", "activation__slope": 1}, "ELU has the parameters alpha; got 'slope'"),
        ({"normalization__epsilon": 1}, "normalization__epsilon requires one component as normalization; got .*=None"),
        ({"solvr": "sgd"}, "(?s)Invalid parameter 'solvr' for estimator MLP.*Did you mean 'solver'\\?$"),
        ({"hidden_layers": 3}, "(?s)Invalid parameter 'hidden_layers' for .*Did you mean 'hidden_layer_sizes'\\?$"),
        ({"xyz": 3}, "(?s)Invalid parameter 'xyz' for estimator .*weight_averaging'\\]\\.$"),
    ],
)
def test_a_bad_nested_number_changes_nothing(params, message):
    estimator = MLPClassifier(activation=["relu"], solver=AdamW())
    before = estimator.get_params()
    with pytest.raises(ValueError, match=message):
        estimator.set_params(alpha=5.0, **params)
    assert estimator.get_params() == before


def test_a_search_over_numbers_of_components(iris):
    X, y = iris
    split = KFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(
        MLPClassifier((8,), solver=AdamW(), max_iter=5, random_state=0, learning_rate_init=0.03),
        {"solver__weight_decay": [0.0, 30.0], "learning_rate": [Constant(), StepDecay(1)]},
        cv=split,
    ).fit(X, y)
    candidates = search.cv_results_["params"]
    assert {params["solver__weight_decay"] for params in candidates} == {0.0, 30.0}
    by_hand = [
        np.mean([_fitted(params, X[rows], y[rows]).score(X[others], y[others]) for rows, others in split.split(X)])
        for params in candidates
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], by_hand)
    assert len(set(by_hand)) > 1
    assert search.best_estimator_.solver == AdamW(weight_decay=search.best_params_["solver__weight_decay"])
    assert search.estimator.solver == AdamW()


def _fitted(params, X, y):
    """The classifier of the search, with its components made by hand."""
    solver = AdamW(weight_decay=params["solver__weight_decay"])
    settings = {"max_iter": 5, "random_state": 0, "learning_rate_init": 0.03}
    return MLPClassifier((8,), solver=solver, learning_rate=params["learning_rate"], **settings).fit(X, y)


def test_a_number_that_is_set_trains(iris):
    X, y = iris
    settings = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
    set_later = MLPClassifier(solver=AdamW(), **settings).set_params(solver__weight_decay=20.0).fit(X, y)
    set_first = MLPClassifier(solver=AdamW(weight_decay=20.0), **settings).fit(X, y)
    other = MLPClassifier(solver=AdamW(), **settings).fit(X, y)
    np.testing.assert_array_equal(set_later.coefs_[0], set_first.coefs_[0])
    assert not np.array_equal(set_later.coefs_[0], other.coefs_[0])


def test_through_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(solver=AdamW()))
    copied = clone(pipeline).set_params(mlpclassifier__solver__weight_decay=0.5)
    assert copied.get_params()["mlpclassifier__solver__weight_decay"] == 0.5
    assert pipeline.get_params()["mlpclassifier__solver__weight_decay"] == 0.01


def test_printed_pickled_and_drawn():
    estimator = MLPClassifier(solver=AdamW()).set_params(solver__weight_decay=0.5)
    assert repr(estimator) == "MLPClassifier(solver=AdamW(weight_decay=0.5))"
    copied = pickle.loads(pickle.dumps(estimator))
    assert copied.get_params() == estimator.get_params()
    assert copied.set_params(solver__beta_1=0.5).solver == AdamW(0.5, weight_decay=0.5)
    assert "AdamW(weight_decay=0.5)" in estimator._repr_html_()


def test_any_other_estimator_may_hold_a_component():
    """Its clone has the component, and its parameters are listed."""

    class Holder(BaseEstimator):
        def __init__(self, solver=None):
            self.solver = solver

    holder = Holder(AdamW())
    assert clone(holder).solver is holder.solver
    assert holder.get_params()["solver__weight_decay"] == 0.01


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (MLPClassifier(activation="ReLu"), "Got 'ReLu' instead. Did you mean 'relu'?"),
        (MLPClassifier((3, 3), activation=["relu", "rleu"]), "got 'rleu'. Did you mean 'relu'?"),
        (MLPClassifier(solver="l-bfgs"), "Got 'l-bfgs' instead. Did you mean 'lbfgs'?"),
        (MLPClassifier(normalization="batchnorm"), "Got 'batchnorm' instead. Did you mean 'batch'?"),
        (MLPClassifier(initializer="he"), "Got 'he' instead. Did you mean 'he_normal'?"),
        (MLPClassifier(class_weight="balance"), "Got 'balance' instead. Did you mean 'balanced'?"),
        (MLPClassifier(output_activation="sigmoid"), "Got 'sigmoid' instead. Did you mean 'logistic'?"),
        (MLPRegressor(loss="mse"), "Got 'mse' instead. Did you mean 'squared_error'?"),
        (MLPRegressor(loss="mae"), "Got 'mae' instead. Did you mean 'absolute_error'?"),
        (MLPRegressor(loss="log_loss"), "Got 'log_loss' instead."),  # a loss, but not a mistyped log_cosh
        (MLPRegressor(solver=3), "Got 3 instead."),
        (
            MLPClassifier(activation=LeakyReLU),
            "activation must be a component, not its class; got the class LeakyReLU. Write LeakyReLU().",
        ),
        (MLPClassifier((3, 3), activation=["relu", LeakyReLU]), "got the class LeakyReLU. Write LeakyReLU()."),
        (MLPClassifier(solver=AdamW), "solver must be a component, not its class; got the class AdamW. Write AdamW()."),
    ],
    ids=str,
)
def test_an_error_says_what_was_meant(estimator, message, iris):
    with pytest.raises(ValueError) as error:
        clone(estimator).fit(*iris)
    assert str(error.value).endswith(message)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("hiden_layer_sizes", "hidden_layer_sizes"), ("optimizer", "solver"), ("lr", "learning_rate_init")],
)
def test_what_other_libraries_call_a_parameter(written, meant):
    with pytest.raises(ValueError, match=rf"^Invalid parameter '{written}' .* Did you mean '{meant}'\?$"):
        MLPClassifier().set_params(**{written: 1})


def test_names_in_an_error_are_sorted(iris):
    with pytest.raises(InvalidParameterError) as error:
        MLPClassifier(normalization="x", solver="adam").fit(*iris)
    assert "a str among {'batch', 'layer'}" in str(error.value)
    with pytest.raises(InvalidParameterError) as error:
        MLPClassifier(solver="x").fit(*iris)
    names = str(error.value).partition("{")[2].partition("}")[0].split(", ")
    assert names == sorted(names)
    assert len(names) > 10


def test_an_error_is_the_same_in_every_process():
    code = "from fastmlp import MLPClassifier; MLPClassifier(solver='x').fit([[1], [2]], [0, 1])"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stderr.splitlines()[-1]
        for seed in ("1", "2")
    }
    assert len(answers) == 1


def test_parameters_that_were_valid_are_checked_again_where_they_change():
    """Checks are left out only for the very same values, and for none that can change in place."""
    X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
    classifier = MLPClassifier(max_iter=1, random_state=0)
    classifier.fit(X, y).fit(X, y)
    for name, bad in (("alpha", -1.0), ("max_iter", 0), ("activation", "ReLU"), ("hidden_layer_sizes", None)):
        good = getattr(classifier, name)
        setattr(classifier, name, bad)
        with pytest.raises(ValueError, match=name):
            classifier.fit(X, y)
        setattr(classifier, name, good)
    sizes = [3]
    classifier.set_params(hidden_layer_sizes=sizes, activation=["relu"])
    classifier.fit(X, y)
    classifier.activation[0] = "ReLU"
    with pytest.raises(ValueError, match="activation"):
        classifier.fit(X, y)
