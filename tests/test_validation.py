"""Validation data, scores and histories of a fit; class weights and logits; several epochs of partial_fit."""

import pickle
import sys
import warnings

import numpy as np
import pytest
from problems import assert_same_weights, small
from scipy.sparse import csr_array
from scipy.special import expit, softmax
from sklearn import metrics, set_config
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.core.network import Network

ESTIMATORS = (MLPClassifier, MLPRegressor)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def multiclass():
    X, y = load_digits(return_X_y=True)
    return MLPClassifier, {}, X[:300] / 16, y[:300]


def binary():
    _, _, X, y = multiclass()
    return MLPClassifier, {}, X, np.where(y < 4, "few", "many")


def multilabel():
    X, Y = make_multilabel_classification(300, 12, n_classes=5, random_state=0)
    return MLPClassifier, {}, X / 10, Y


def one_target():
    X, y = make_regression(300, 9, random_state=0)
    return MLPRegressor, {}, X, y / y.std()


def two_targets():
    X, Y = make_regression(300, 9, n_targets=2, random_state=0)
    return MLPRegressor, {}, X, Y / Y.std()


def counts():
    X = np.random.RandomState(0).uniform(size=(300, 5))
    return MLPRegressor, {"loss": "poisson"}, X, np.random.RandomState(1).poisson(np.exp(X.sum(axis=1) - 1))


TASKS = (multiclass, binary, multilabel, one_target, two_targets, counts)


def parted(task):
    """(estimator class, parameters, X, X_val, y, y_val)."""
    ours, parameters, X, y = task()
    return ours, parameters, *train_test_split(X, y, test_size=0.3, random_state=0)


def true_loss(estimator, X, y, weights):
    """The loss by scikit-learn's metrics."""
    if isinstance(estimator, MLPClassifier):
        p = estimator.predict_proba(X)
        if y.ndim == 2:
            return sum(metrics.log_loss(y[:, k], p[:, k], sample_weight=weights) for k in range(y.shape[1]))
        return metrics.log_loss(y, p, sample_weight=weights, labels=estimator.classes_)
    if estimator.loss == "poisson":
        return metrics.mean_poisson_deviance(y, estimator.predict(X), sample_weight=weights) / 2
    return metrics.mean_squared_error(y, estimator.predict(X), sample_weight=weights) / 2


# --- logits -----------------------------------------------------------------------------------------------------------


def test_decision_function():
    for task, link in ((multiclass, lambda z: softmax(z, axis=1)), (binary, expit), (multilabel, expit)):
        ours, _, X, y = task()
        estimator = small(ours).fit(X, y)
        logits, p = estimator.decision_function(X), estimator.predict_proba(X)
        p = p[:, 1] if task is binary else p
        assert logits.shape == p.shape
        np.testing.assert_allclose(link(logits), p, rtol=1e-12)
        assert estimator.decision_function(X.astype(np.float32)).dtype == np.float64
    assert small(MLPClassifier).fit(X, np.ones(len(X))).decision_function(X).shape == (len(X),)
    estimator = small(MLPClassifier).fit(X.astype(np.float32), y)
    assert estimator.decision_function(X.astype(np.float32)).dtype == np.float32


# --- class_weight -----------------------------------------------------------------------------------------------------


def balanced(y, sample_weight):
    """Σ w / (n_classes * Σ w of the row's class)."""
    w = np.ones(len(y)) if sample_weight is None else sample_weight
    sums = {label: w[y == label].sum() for label in np.unique(y)}
    return np.array([w.sum() / (len(sums) * sums[label]) for label in y])


@pytest.mark.parametrize(
    ("task", "class_weight"),
    [
        (multiclass, "balanced"),
        (multiclass, {0: 5.0, 3: 0.25}),
        (binary, "balanced"),
        (binary, {"few": 3}),
        (multilabel, "balanced"),
        (multilabel, [{0: 1, 1: 2}] * 5),
    ],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weight_is_sample_weight(task, class_weight, solver, weighted):
    _, _, X, y = task()
    sample_weight = np.random.RandomState(0).uniform(0.5, 2, len(y)) if weighted else None
    if class_weight == "balanced":  # of the weighted rows, as in scikit-learn's LogisticRegression
        by_class = np.prod([balanced(column, sample_weight) for column in (y.T if y.ndim == 2 else [y])], axis=0)
    else:
        by_class = compute_sample_weight(class_weight, y)
    expected = small(MLPClassifier, solver=solver).fit(X, y, by_class * sample_weight if weighted else by_class)
    ours = small(MLPClassifier, solver=solver, class_weight=class_weight).fit(X, y, sample_weight)
    if weighted and class_weight == "balanced":  # the sums of weights are rounded in another order
        for a, b in zip(ours.coefs_ + ours.intercepts_, expected.coefs_ + expected.intercepts_, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 if solver == "adam" else 1e-6)
    else:
        assert_same_weights(ours, expected)


def test_class_weight_in_partial_fit():
    """By all classes, also those that a call does not see; 'balanced' cannot be known."""
    _, _, X, y = multiclass()
    weights = {k: k + 1.0 for k in range(10)}
    ours, expected = small(MLPClassifier, class_weight=weights), small(MLPClassifier)
    for few in (y < 5, y > 3):
        ours.partial_fit(X[few], y[few], classes=np.arange(10))
        expected.partial_fit(X[few], y[few], y[few] + 1.0, classes=np.arange(10))
    assert_same_weights(ours, expected)
    errors = []
    for estimator in (SGDClassifier(class_weight="balanced"), small(MLPClassifier, class_weight="balanced")):
        with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit") as error:
            estimator.partial_fit(X, y, classes=np.arange(10))
        errors.append(str(error.value))
    assert errors[0].replace(", use compute", ", use compute") == errors[1]


@pytest.mark.parametrize(
    ("task", "class_weight", "message"),
    [
        (binary, {"few": 1, "none": 2}, r"The classes, \['many'\], are not in class_weight"),
        (multiclass, "even", "The 'class_weight' parameter of MLPClassifier must be"),
        (multiclass, [{0: 1}], "a list of dicts for multilabel targets only; give a dict"),
        (multilabel, {0: 1}, "For multi-output, class_weight should be a list of dicts, or the string 'balanced'."),
        (multilabel, [{0: 1}], r"number of elements in class_weight should match .* Got 1 element\(s\)"),
        (binary, {"few": -1.0}, r"class_weight must hold numbers in \[0, inf\); got -1.0 for label 'few'"),
        (multilabel, [{0: np.nan}] * 5, r"class_weight must hold numbers in \[0, inf\); got nan for label 0"),
        (binary, {"few": 0, "many": 0}, "Sample weights must contain at least one non-zero number."),
    ],
)
def test_errors_of_class_weight(task, class_weight, message):
    _, _, X, y = task()
    with pytest.raises(ValueError, match=message):
        small(MLPClassifier, class_weight=class_weight).fit(X, y)


# --- validation data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_loss_and_metrics_are_recorded(task, weighted):
    """They change nothing in the training, and agree with the finished model's in the last epoch."""
    ours, parameters, X, X_val, y, y_val = parted(task)
    rng = np.random.RandomState(0)
    w, w_val = (rng.uniform(0.5, 2, len(y)), rng.uniform(0.5, 2, len(y_val))) if weighted else (None, None)
    name = "accuracy" if ours is MLPClassifier else "r2"
    estimator = small(ours, **parameters, metrics=[name, "neg_max_error"] if y.ndim == 1 and name == "r2" else name)
    estimator.fit(X, y, w, X_val=X_val, y_val=y_val, sample_weight_val=w_val)
    assert_same_weights(estimator, small(ours, **parameters).fit(X, y, w))
    history = estimator.history_
    assert {len(values) for values in history.values()} == {3}
    assert history["loss"] == estimator.loss_curve_
    assert history["val_loss"] == estimator.validation_loss_curve_
    assert history["learning_rate"] == [0.001] * 3
    assert all(isinstance(value, float) for values in history.values() for value in values)
    np.testing.assert_allclose(history["val_loss"][-1], true_loss(estimator, X_val, y_val, w_val), rtol=1e-10)
    np.testing.assert_allclose(history[name][-1], estimator.score(X, y, w), rtol=1e-12)
    np.testing.assert_allclose(history[f"val_{name}"][-1], estimator.score(X_val, y_val, w_val), rtol=1e-12)
    assert estimator.validation_scores_ is None


def test_history_without_options():
    ours, _, X, y = multiclass()
    estimator = small(ours, solver="sgd", learning_rate="invscaling").fit(X, y)
    assert list(estimator.history_) == ["loss", "learning_rate", "seconds"]
    np.testing.assert_allclose(estimator.history_["learning_rate"], [1e-3, 1e-3 / 301**0.5, 1e-3 / 601**0.5])
    assert all(0 < seconds < 10 for seconds in estimator.history_["seconds"])
    assert estimator.validation_loss_curve_ is None
    assert not hasattr(small(ours, solver="lbfgs").fit(X, y), "history_")


def test_history_goes_on_with_gaps():
    """Over warm starts and partial_fit; NaN where a measure was not taken."""
    ours, _, X, X_val, y, y_val = parted(multiclass)
    estimator = small(ours, warm_start=True).fit(X, y)
    estimator.set_params(metrics=("accuracy",)).fit(X, y, X_val=X_val, y_val=y_val)
    estimator.set_params(metrics=None).partial_fit(X, y, n_epochs=2)
    lengths = {name: len(values) for name, values in estimator.history_.items()}
    assert lengths == dict.fromkeys(("loss", "learning_rate", "seconds", "accuracy", "val_loss", "val_accuracy"), 8)
    np.testing.assert_array_equal(np.isnan(estimator.history_["val_loss"]), [True] * 3 + [False] * 3 + [True] * 2)


@pytest.mark.parametrize("task", TASKS)
def test_validation_data_decide_with_early_stopping(task):
    """As rows set aside would, but all given rows are trained on; the best weights are the model."""
    ours, parameters, X, X_val, y, y_val = parted(task)
    estimator = small(ours, **parameters, early_stopping=True, max_iter=60, n_iter_no_change=2, learning_rate_init=0.05)
    estimator.fit(X, y, X_val=X_val, y_val=y_val)
    assert estimator.t_ == estimator.n_iter_ * len(X)
    assert estimator.n_iter_ == len(estimator.validation_scores_) == len(estimator.validation_loss_curve_) < 60
    assert estimator.best_validation_score_ == max(estimator.validation_scores_)
    np.testing.assert_allclose(estimator.score(X_val, y_val), estimator.best_validation_score_, rtol=1e-12)
    assert estimator.best_loss_ is None


def test_rows_set_aside_have_a_loss_too():
    ours, _, X, y = multiclass()
    estimator = small(ours, early_stopping=True, metrics="accuracy").fit(X, y)
    assert estimator.history_["val_accuracy"] == estimator.validation_scores_
    assert np.isfinite(estimator.validation_loss_curve_).all()
    assert_same_weights(estimator, small(ours, early_stopping=True).fit(X, y))


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    ("task", "scoring"),
    [
        (multiclass, "loss"),
        (binary, "neg_log_loss"),
        (multiclass, "balanced_accuracy"),
        (binary, "roc_auc"),
        (multilabel, "f1_micro"),
        (one_target, "neg_mean_absolute_error"),
        (counts, "loss"),
        (two_targets, lambda estimator, X, y: -abs(estimator.predict(X) - y).max()),
    ],
)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true:UserWarning")
def test_scoring(given, task, scoring):
    """The best score is that of the finished model."""
    ours, parameters, X, X_val, y, y_val = parted(task)
    validation = {"X_val": X_val, "y_val": y_val} if given else {}
    estimator = small(ours, **parameters, early_stopping=True, scoring=scoring, max_iter=8, learning_rate_init=0.02)
    estimator.fit(X, y, **validation)
    assert len(estimator.validation_scores_) == estimator.n_iter_
    if scoring == "loss":
        assert estimator.validation_scores_ == [-loss for loss in estimator.validation_loss_curve_]
    elif given:
        score = scoring if callable(scoring) else metrics.get_scorer(scoring)
        np.testing.assert_allclose(score(estimator, X_val, y_val), estimator.best_validation_score_, rtol=1e-12)


@pytest.mark.parametrize("scoring", [None, "r2", "explained_variance"])
def test_a_score_that_cannot_tell_epochs_apart_is_named(scoring):
    """R² of constant targets is 0 for whatever is predicted, and so is the explained variance."""
    ours, _, X, y = one_target()
    estimator = small(ours, early_stopping=True, scoring=scoring, max_iter=2)
    name = {None: "R²", "r2": "r2"}.get(scoring, scoring)
    with pytest.warns(ConvergenceWarning, match=rf"The validation score \({name}\) was 0 after every epoch"):
        estimator.fit(X, y, X_val=X, y_val=np.ones_like(y))
    assert set(estimator.validation_scores_) == {0.0}


def test_a_perfect_score_of_a_single_target_ends_no_training():
    """The explained variance of one number is 1 for whatever is predicted."""
    ours, _, X, y = one_target()
    estimator = small(ours, early_stopping=True, scoring="explained_variance", max_iter=5)
    with pytest.warns(ConvergenceWarning, match=r"\(explained_variance\) was 1 after every epoch"):
        estimator.fit(X, y, X_val=X[:1], y_val=y[:1])
    assert estimator.n_iter_ == 5


def test_targets_that_are_all_the_same_need_no_other_scoring():
    """No score could tell their epochs apart, and the fit is as silent as scikit-learn's."""
    ours, _, X, y = one_target()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(ours, early_stopping=True, n_iter_no_change=1, max_iter=50).fit(X, np.ones_like(y))


def test_no_scorer_means_accuracy():
    ours, _, X, y = multiclass()
    fits = [small(ours, early_stopping=True, scoring=scoring).fit(X, y) for scoring in (None, "accuracy")]
    assert fits[0].validation_scores_ == fits[1].validation_scores_
    assert_same_weights(*fits)


def test_the_scored_estimator_is_usable():
    """A scorer may look at it in any way, and predict other data than those it is given."""
    ours, _, X, y = multiclass()
    seen = []

    def score(estimator, X_val, y_val):
        np.testing.assert_array_equal(estimator.predict(X_val.copy()), estimator.predict(X_val))
        np.testing.assert_allclose(softmax(estimator.decision_function(X_val), axis=1), estimator.predict_proba(X_val))
        pickle.loads(pickle.dumps(estimator.coefs_))
        seen.append(estimator.coefs_[0].copy())
        return float(estimator.score(X[:7], y[:7]))

    estimator = small(ours, early_stopping=True, scoring=score).fit(X, y)
    assert len(seen) == 3
    assert not np.array_equal(seen[0], seen[1])
    assert "_forward" not in vars(estimator)


def test_validation_weights_reach_scorers_that_take_them():
    ours, _, X, X_val, y, y_val = parted(one_target)
    w_val = np.linspace(0, 1, len(y_val))
    names = ["neg_mean_squared_error", "neg_max_error"]
    estimator = small(ours, metrics=names).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=w_val)
    truth = -metrics.mean_squared_error(y_val, estimator.predict(X_val), sample_weight=w_val)
    np.testing.assert_allclose(estimator.history_["val_neg_mean_squared_error"][-1], truth)
    np.testing.assert_allclose(
        estimator.history_["val_neg_max_error"][-1], -metrics.max_error(y_val, estimator.predict(X_val))
    )


def test_class_weights_do_not_weigh_scores():
    ours, _, X, y = multiclass()
    estimator = small(ours, class_weight={0: 100.0}, metrics="accuracy").fit(X, y)
    assert estimator.history_["accuracy"][-1] == estimator.score(X, y)


def test_frames_raise_no_warning_about_names():
    pandas = pytest.importorskip("pandas")
    ours, _, X, X_val, y, y_val = parted(multiclass)
    X, X_val = (pandas.DataFrame(data).add_prefix("x") for data in (X, X_val))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="Stochastic Optimizer")
        small(ours, metrics="accuracy").fit(X, y, X_val=X_val, y_val=y_val)


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_validation_data_take_the_dtype_of_the_training(ours, dtype):
    _, _, X, X_val, y, y_val = parted(multiclass)
    estimator = small(ours).fit(X.astype(dtype), y, X_val=np.asfortranarray(X_val), y_val=y_val)
    assert estimator.coefs_[0].dtype == dtype
    assert np.isfinite(estimator.validation_loss_curve_).all()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_second_session_sees_the_weights_of_the_moment(n_threads, monkeypatch):
    """With as many threads as there are, where the validation data are large."""
    monkeypatch.setattr("fastmlp.estimators.validation.LARGE", 0)
    ours, _, X, X_val, y, y_val = parted(multiclass)
    estimator = small(ours, n_threads=n_threads).fit(X, y, X_val=X_val, y_val=y_val)
    after = [small(ours, max_iter=n).fit(X, y) for n in (1, 2, 3)]
    expected = [metrics.log_loss(y_val, model.predict_proba(X_val)) for model in after]
    np.testing.assert_allclose(estimator.validation_loss_curve_, expected, rtol=1e-10)


@pytest.mark.parametrize("validation", ["given sparse", "given dense", "set aside"])
@pytest.mark.parametrize("scoring", [None, "balanced_accuracy"])
def test_sparse_data_are_judged_as_dense_ones(validation, scoring):
    ours, _, X, X_val, y, y_val = parted(binary)
    histories = []
    for sparse in (csr_array, np.asarray):
        X_given = sparse(X_val) if validation == "given sparse" else X_val
        given = {} if validation == "set aside" else {"X_val": X_given, "y_val": y_val}
        estimator = small(ours, early_stopping=True, scoring=scoring, metrics="accuracy", class_weight="balanced")
        histories.append(estimator.fit(sparse(X), y, **given).history_ | {"seconds": None})
    for name, values in histories[0].items():
        np.testing.assert_equal(values, histories[1][name])


def test_without_validation_data_there_is_one_session(monkeypatch):
    ours, _, X, y = multiclass()
    sessions, session = [], Network.session

    def counted(network, *args, **kwargs):
        sessions.append(network)
        return session(network, *args, **kwargs)

    monkeypatch.setattr(Network, "session", counted)
    small(ours, early_stopping=True).fit(X, y)
    assert len(sessions) == 1


def test_errors_of_validation_data():
    _, _, X, y = multiclass()
    X_val, y_val = X[:20], y[:20]
    Y = np.eye(10)[y]
    cases = [
        (MLPClassifier, y, {"X_val": X_val}, "X_val is provided, but y_val was not provided."),
        (MLPClassifier, y, {"y_val": y_val}, "y_val is provided, but X_val was not provided."),
        (MLPClassifier, y, {"sample_weight_val": y_val}, "sample_weight_val is provided, but X_val and y_val were not"),
        (MLPClassifier, y, {"X_val": X_val[:, :5], "y_val": y_val}, "X has 5 features, but MLPClassifier is expecting"),
        (MLPClassifier, y, {"X_val": X_val, "y_val": y_val[1:]}, "inconsistent numbers of samples"),
        (
            MLPClassifier,
            y,
            {"X_val": X_val, "y_val": y_val + 5},
            r"y_val has labels that y has not: \[10 11 12 13 14\]",
        ),
        (MLPClassifier, y, {"X_val": X_val, "y_val": Y[:20]}, "y_val must be a vector of labels, as y is."),
        (MLPClassifier, Y, {"X_val": X_val, "y_val": y_val}, "y_val must be a 0/1 matrix, as y is."),
        (MLPClassifier, Y, {"X_val": X_val, "y_val": Y[:20, :5]}, "mismatch with the labels"),
        (MLPRegressor, y, {"X_val": X_val, "y_val": Y[:20]}, "y_val must have as many outputs as y, 1; got 10."),
        (MLPRegressor, y, {"X_val": X_val, "y_val": y_val, "sample_weight_val": [1, 2]}, "sample_weight"),
    ]
    for ours, target, validation, message in cases:
        with pytest.raises(ValueError, match=message):
            small(ours).fit(X, target, **validation)
    with pytest.raises(ValueError, match=r"X_val requires a solver that has epochs to look at, .* got solver='lbfgs'"):
        small(MLPRegressor, solver="lbfgs").fit(X, y, X_val=X_val, y_val=y_val)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"metrics": "exactness"}, "^metrics: 'exactness' is not a valid scoring value"),
        ({"metrics": ["acuracy"]}, r"^metrics: 'acuracy' is .* Did you mean 'accuracy'\?$"),
        ({"metrics": 3}, "The 'metrics' parameter of MLPClassifier must be"),
        ({"metrics": [len]}, "metrics must be names of scorers, or a dict of names and scorers; got"),
        ({"metrics": {"val_a": "accuracy"}}, "metrics may not be named .*; got 'val_a'"),
        ({"metrics": {"loss": "accuracy"}}, "metrics may not be named .*; got 'loss'"),
        ({"scoring": 3}, "The 'scoring' parameter of MLPClassifier must be"),
        ({"scoring": "f1-macro", "early_stopping": True}, r"^scoring: 'f1-macro' is .* Did you mean 'f1_macro'\?$"),
        ({"scoring": "roc_auc", "early_stopping": True}, "^scoring='roc_auc' failed on the data of this fit: "),
        ({"progress": 3}, "The 'progress' parameter of MLPClassifier must be"),
    ],
)
def test_errors_of_parameters(parameters, message):
    ours, _, X, y = multiclass()
    with pytest.raises(ValueError, match=message):
        small(ours, **parameters).fit(X, y)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes from 3.11 on")
@pytest.mark.parametrize("parameters", [{"scoring": None, "early_stopping": True}, {"metrics": {"own": None}}])
def test_an_error_of_a_users_scorer_names_the_parameter(parameters):
    """It passes as it is, whatever it is."""

    def broken(estimator, X, y):
        raise KeyError("column")

    ours, _, X, y = multiclass()
    name = next(iter(parameters))
    value = broken if name == "scoring" else {"own": broken}
    with pytest.raises(KeyError) as error:
        small(ours, **parameters | {name: value}).fit(X, y)
    assert error.value.args == ("column",)
    assert f"raised by {name}=<function" in error.value.__notes__[0]


def test_pipeline_transforms_validation_data():
    """With metadata routing, X_val is scaled as X is."""
    ours, _, X, X_val, y, y_val = parted(multiclass)
    set_config(enable_metadata_routing=True)
    try:
        model = small(ours, early_stopping=True).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("model", model)], transform_input=["X_val"])
        pipeline.fit(X, y, X_val=X_val, y_val=y_val)
    finally:
        set_config(enable_metadata_routing=False)
    assert pipeline.score(X_val, y_val) == pipeline["model"].best_validation_score_


# --- partial_fit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", ESTIMATORS)
@pytest.mark.parametrize("seed", ["int", "RandomState"])
@pytest.mark.parametrize("parameters", [{}, {"solver": "sgd", "learning_rate": "invscaling"}], ids=str)
def test_epochs_of_partial_fit(ours, seed, parameters):
    """Six epochs in one call equal fit; further calls go on in the stream, with a pickle between them too."""
    _, _, X, y = multiclass()
    classes = {"classes": np.arange(10)} if ours is MLPClassifier else {}

    def new(**more):
        random_state = 0 if seed == "int" else np.random.RandomState(0)
        return ours(**{"hidden_layer_sizes": 8, "batch_size": 50, "random_state": random_state, **parameters, **more})

    partly = new().partial_fit(X, y, **classes, n_epochs=6)
    fitted = new(max_iter=6, tol=0, n_iter_no_change=np.inf).fit(X, y)
    assert_same_weights(fitted, partly)
    assert fitted.loss_curve_ == partly.loss_curve_
    assert partly.n_iter_ == 6
    models = partly, fitted, pickle.loads(pickle.dumps(partly)), pickle.loads(pickle.dumps(fitted))
    continuing = new(random_state=np.random.RandomState(0)).partial_fit(X, y, **classes, n_epochs=6)
    for model in (continuing, *models):
        model.partial_fit(X, y, n_epochs=2).partial_fit(X, y)
        assert_same_weights(model, continuing)
        assert model.t_ == 9 * len(X)


def test_partial_fit_never_stops():
    ours, _, X, y = one_target()
    estimator = small(ours, tol=1e9, n_iter_no_change=1).partial_fit(X, y, n_epochs=9)
    assert estimator.n_iter_ == 9


def test_another_seed_begins_another_stream():
    ours, _, X, y = one_target()
    one, other = (small(ours, batch_size=50).partial_fit(X, y) for _ in range(2))
    one.set_params(random_state=5).partial_fit(X, y)
    other.partial_fit(X, y)
    assert one.loss_ != other.loss_


@pytest.mark.parametrize("n_epochs", [0, -1, 1.5, "2", None])
def test_errors_of_n_epochs(n_epochs):
    ours, _, X, y = one_target()
    with pytest.raises(ValueError, match=r"n_epochs must be an int in the range \[1, inf\); got"):
        small(ours).partial_fit(X, y, n_epochs=n_epochs)
