"""The estimators' components: every one of each kind trains, and what cannot be is told in a sentence."""

import pickle
import warnings

import numpy as np
import pytest
from problems import assert_same_weights
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier as Original

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.activations import ACTIVATIONS, LeakyReLU
from fastmlp.initializers import INITIALIZERS, Normal
from fastmlp.losses import Gamma, Huber, KLDivergence, LogLoss, Poisson, Quantile
from fastmlp.machine.kernels import Kernel
from fastmlp.optimizers import OPTIMIZERS, Adam, AdamW, GradientDescent
from fastmlp.schedules import SCHEDULES, Adaptive, Cosine, InverseScaling, StepDecay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def curve():
    """A positive target of one feature, with noise that grows."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 1))
    return X, np.exp(X[:, 0] + 0.3 * (1.5 + X[:, 0]) * rng.standard_normal(600))


def small(**parameters):
    return MLPClassifier(**{"hidden_layer_sizes": (12, 9), "max_iter": 15, "random_state": 0, **parameters})


EVERY = [
    *(("activation", name) for name in ACTIVATIONS),
    *(("solver", name) for name in OPTIMIZERS if name != "gradient"),
    *(("learning_rate", name) for name in SCHEDULES),
    *(("initializer", name) for name in INITIALIZERS),
]


@pytest.mark.parametrize(("parameter", "name"), EVERY)
def test_every_word_trains_clones_and_pickles(digits, parameter, name):
    solver = {} if parameter == "solver" else {"solver": "momentum"}
    model = small(**{parameter: name}, **solver, learning_rate_init=0.02, batch_size=20).fit(*digits)
    assert model.loss_curve_[-1] < model.loss_curve_[0] or name in ("zeros", "normal", "adadelta")
    table = {"activation": ACTIVATIONS, "solver": OPTIMIZERS, "learning_rate": SCHEDULES, "initializer": INITIALIZERS}
    component = table[parameter].resolve(name)
    with_object = clone(small(**{parameter: component}, **solver, learning_rate_init=0.02, batch_size=20)).fit(*digits)
    if name != "adam":  # the string takes the estimator's numbers
        assert_same_weights(model, with_object)
    assert type(component).__name__ in repr(with_object)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(digits[0]), model.predict(digits[0]))


def test_numbers_of_a_word_matter_and_equal_words_are_equal(digits):
    plain, same, steep = (
        small(activation=component).fit(*digits)
        for component in ("leaky_relu", LeakyReLU(slope=0.01), LeakyReLU(slope=0.3))
    )
    assert_same_weights(plain, same)
    assert not np.array_equal(plain.coefs_[0], steep.coefs_[0])


def test_an_activation_for_each_layer(digits):
    both = small(activation=["tanh", "relu"]).fit(*digits)
    assert_same_weights(both, small(activation=("tanh", "relu")).fit(*digits))
    assert not np.array_equal(both.coefs_[0], small(activation=["relu", "tanh"]).fit(*digits).coefs_[0])
    hidden = np.tanh(digits[0] @ both.coefs_[0] + both.intercepts_[0])
    hidden = np.maximum(hidden @ both.coefs_[1] + both.intercepts_[1], 0)
    np.testing.assert_allclose(both.decision_function(digits[0]), hidden @ both.coefs_[2] + both.intercepts_[2])


def test_a_cosine_is_one_descent_over_the_training(digits):
    X, y = digits
    with pytest.warns(FutureWarning, match="'cosine' is one descent over the whole training; in 0.2 it restarted"):
        classifier = MLPClassifier((3,), learning_rate="cosine", max_iter=20, random_state=0).fit(X, y)
    epochs = np.arange(20)
    np.testing.assert_allclose(classifier.history_["learning_rate"], 0.0005 * (1 + np.cos(np.pi * epochs / 20)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # the component says which of both is meant
        same = clone(classifier).set_params(learning_rate=Cosine()).fit(X, y)
    assert_same_weights(classifier, same)


def test_scikit_learns_schedules_concern_its_sgd_alone(digits):
    """With 'adam' their names change nothing, as there; the components do."""
    plain = small().fit(*digits)
    assert_same_weights(plain, small(learning_rate="invscaling").fit(*digits))
    assert_same_weights(plain, small(learning_rate="adaptive").fit(*digits))
    decayed = small(learning_rate=InverseScaling()).fit(*digits)
    assert not np.array_equal(plain.coefs_[0], decayed.coefs_[0])
    assert decayed.history_["learning_rate"][1] < decayed.history_["learning_rate"][0]
    assert small(learning_rate=Adaptive(), tol=10, n_iter_no_change=1).fit(*digits).history_["learning_rate"][-1] < 1e-3


def test_words_of_the_solvers_names(digits):
    assert_same_weights(small(beta_1=0.8).fit(*digits), small(solver=Adam(beta_1=0.8)).fit(*digits))
    assert_same_weights(small(solver="adamw").fit(*digits), small(solver=AdamW()).fit(*digits))


def test_gradient_descent_takes_all_rows_unless_it_is_told_otherwise(digits):
    model = small(solver="gradient_descent").fit(*digits)
    assert model._optimizer.step == 15
    assert small(solver=GradientDescent(), batch_size=100).fit(*digits)._optimizer.step == 60
    assert small(solver="gradient_descent", batch_size=1, max_iter=1).fit(*digits)._optimizer.step == 400


def test_own_arrays_as_initial_weights(digits):
    X, y = digits
    first = small(max_iter=1).fit(X, y)
    weights = first.coefs_, first.intercepts_
    before = [array.copy() for arrays in weights for array in arrays]
    model = small(initializer=weights, max_iter=1).fit(X, y)
    assert model.loss_ < first.loss_
    for array, old in zip((array for arrays in weights for array in arrays), before):
        np.testing.assert_array_equal(array, old)


def test_dropout_draws_after_the_weights_and_only_when_switched_on(digits):
    plain = small().fit(*digits)
    assert_same_weights(plain, small(dropout=0.0).fit(*digits))
    assert_same_weights(plain, small(dropout=[0, 0, 0]).fit(*digits))
    dropped = small(dropout=0.5).fit(*digits)
    assert not np.array_equal(plain.coefs_[0], dropped.coefs_[0])
    assert_same_weights(dropped, small(dropout=[0, 0.5, 0.5]).fit(*digits))
    assert_same_weights(dropped, small(dropout=0.5, n_threads=2).fit(*digits))
    ours, theirs = small(dropout=0.5, max_iter=1, learning_rate_init=1e-12), Original((12, 9), random_state=0)
    theirs.set_params(max_iter=1, learning_rate_init=1e-12)
    np.testing.assert_allclose(ours.fit(*digits).coefs_[0], theirs.fit(*digits).coefs_[0], atol=1e-9)


def test_limits(digits):
    model = small(max_norm=0.5, max_iter=3).fit(*digits)
    assert max(np.linalg.norm(coef, axis=0).max() for coef in model.coefs_) <= 0.5 * (1 + 1e-12)
    start, clipped = small(max_iter=1, learning_rate_init=1e-12), small(solver="gradient_descent", clip_norm=0.01)
    clipped.set_params(max_iter=1, learning_rate_init=1.0)
    arrays = [model.coefs_ + model.intercepts_ for model in (start.fit(*digits), clipped.fit(*digits))]
    step = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(*arrays)))
    assert step == pytest.approx(0.01, rel=1e-6)
    clipped.set_params(clip_norm=None, clip_value=1e-4).fit(*digits)
    steps = [np.abs(a - b).max() for a, b in zip(arrays[0], clipped.coefs_ + clipped.intercepts_)]
    assert max(steps) == pytest.approx(1e-4, rel=1e-6)
    sparse = small(l1=5.0, alpha=0, max_iter=40, solver="momentum", learning_rate_init=0.05).fit(*digits)
    dense = small(alpha=0, max_iter=40, solver="momentum", learning_rate_init=0.05).fit(*digits)
    assert np.abs(sparse.coefs_[0]).sum() < 0.5 * np.abs(dense.coefs_[0]).sum()


# --- losses and targets -----------------------------------------------------------------------------------------------


def test_one_hot_targets_are_labels_where_that_is_asked_for(digits):
    X, y = digits
    onehot = np.eye(10, dtype=int)[y]
    labels, matrix = small().fit(X, y), small(one_hot=True).fit(X, onehot)
    assert_same_weights(labels, matrix)
    np.testing.assert_array_equal(matrix.predict(X), labels.predict(X))
    assert small().fit(X, onehot).predict(X).shape == (400, 10)  # scikit-learn reads them as multilabel
    two = small(one_hot=True).fit(X, np.eye(2)[y % 2])
    assert_same_weights(two, small().fit(X, y % 2))
    assert small(one_hot=True, early_stopping=True).fit(X, onehot).best_validation_score_ > 0


def test_soft_targets(digits):
    X, y = digits
    hard, soft = np.eye(10)[y], 0.1 + 0.0 * np.eye(10)[y]
    assert_close = np.testing.assert_allclose
    assert_close(small(loss="kl_divergence").fit(X, hard).coefs_[0], small().fit(X, y).coefs_[0], rtol=1e-6)
    model = small(loss="kl_divergence", max_iter=200, alpha=0).fit(X, soft)
    assert_close(model.predict_proba(X), 0.1, atol=0.05)
    named = small(loss=KLDivergence(classes=tuple("abcdefghij"))).fit(X, hard)
    assert set(named.predict(X)) <= set("abcdefghij")
    model = small(loss="kl_divergence")
    assert model.partial_fit(X, hard).partial_fit(X, hard).t_ == 800


@pytest.mark.parametrize("output", ["identity", "logistic", "tanh"])
def test_squared_error_on_one_hot_targets(digits, output):
    X, y = digits
    model = small(
        hidden_layer_sizes=50, loss="squared_error", output_activation=output, max_iter=60, batch_size=20
    ).fit(X, y)
    assert model.out_activation_ == output
    assert model.score(X, y) > 0.9
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities >= 0).all()
    assert model.decision_function(X).shape == (400, 10)


def test_label_smoothing_makes_probabilities_less_certain(digits):
    X, y = digits
    hard, smooth = (small(loss=LogLoss(s), max_iter=150, learning_rate_init=0.01).fit(X, y) for s in (0.0, 0.2))
    assert smooth.predict_proba(X).max(axis=1).mean() < hard.predict_proba(X).max(axis=1).mean() - 0.05
    binary = small(loss=LogLoss(0.2), max_iter=150, learning_rate_init=0.01).fit(X, y % 2)
    assert binary.predict_proba(X).max() < 0.98


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "log_cosh", Huber(0.1), "gamma", "poisson"])
def test_losses_of_regression(curve, loss):
    X, y = curve
    model = MLPRegressor(hidden_layer_sizes=20, loss=loss, random_state=0, max_iter=100, learning_rate_init=0.01).fit(
        X, y
    )
    assert model.score(X, y) > 0.2
    assert (model.predict(X) > 0).all() or not isinstance(loss, str) or loss not in ("gamma", "poisson")


def test_quantiles_cover_their_share(curve):
    X, y = curve
    levels = (0.1, 0.5, 0.9)
    model = MLPRegressor(
        hidden_layer_sizes=30, loss=Quantile(levels), random_state=0, max_iter=300, learning_rate_init=0.01, tol=0
    ).fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == (600, 3)
    np.testing.assert_allclose((y[:, None] < predicted).mean(axis=0), levels, atol=0.05)
    twice = MLPRegressor(hidden_layer_sizes=5, loss=Quantile(levels), max_iter=2).fit(X, np.column_stack([y, y]))
    assert twice.predict(X).shape == (600, 2, 3)
    stopped = MLPRegressor(
        hidden_layer_sizes=5, loss=Quantile(levels), max_iter=3, early_stopping=True, random_state=0
    ).fit(X, y)
    assert stopped.best_validation_score_ == -min(stopped.validation_loss_curve_)


@pytest.mark.parametrize("loss", [Poisson(), Gamma()])
def test_validation_losses_are_those_of_training(curve, loss):
    X, y = curve
    model = MLPRegressor(
        hidden_layer_sizes=5, loss=loss, alpha=0, max_iter=2, batch_size=600, learning_rate_init=1e-12, random_state=0
    )
    model.fit(X, y, X_val=X, y_val=y)
    assert model.validation_loss_curve_[-1] == pytest.approx(model.loss_curve_[-1], rel=1e-6)


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"activation": ["relu"]}, r"activation must have one component for each of 2 hidden layers; got 1\."),
        ({"activation": ["relu", "ReLU"]}, r"activation must be one of 'elu', .*; got 'ReLU'\."),
        ({"dropout": [0.1]}, r"dropout must be a number in \[0, 1\) or 3 of them, .*; got \[0\.1\]\."),
        ({"dropout": [0.1, 0.2, 1.0]}, r"dropout must be a number in \[0, 1\) or 3 of them"),
        ({"solver": "lbfgs", "dropout": 0.1}, r"dropout=0\.1 requires a solver that takes steps, .*solver='lbfgs'\."),
        ({"solver": "lbfgs", "activation": "prelu"}, r"activation='prelu' requires a solver that takes steps"),
        ({"solver": "lbfgs", "clip_norm": 1.0}, r"clip_norm=1\.0 requires a solver that takes steps"),
        ({"output_activation": "tanh"}, r"output_activation must be one of 'softmax', 'logistic' with loss 'log_loss'"),
        ({"initializer": ([], [])}, r"initializer must be a component or \(coefs, intercepts\)"),
        ({"solver": "rprop"}, r"The 'solver' parameter of MLPClassifier must be a str among"),
        ({"loss": "poisson"}, r"The 'loss' parameter of MLPClassifier must be"),
        ({"loss": Poisson()}, r"The 'loss' parameter of MLPClassifier must be"),
        ({"max_norm": 0}, r"The 'max_norm' parameter of MLPClassifier must be"),
        ({"n_estimators": 0}, r"The 'n_estimators' parameter of MLPClassifier must be"),
    ],
)
def test_bad_words_are_told(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(*digits)


@pytest.mark.parametrize(
    ("parameters", "y", "message"),
    [
        (
            {"one_hot": True},
            np.eye(10)[[0, 1]] * 2,
            r"y must hold one 1 and zeros beside it in each row; got .* row 0\.",
        ),
        ({"one_hot": True}, np.array([0, 1]), r"y must be a matrix of at least 2 columns, one for each class"),
        ({"loss": "kl_divergence"}, np.array([[0.5, 0.6], [0.5, 0.5]]), r"y must hold probabilities that sum to 1"),
        (
            {"loss": KLDivergence(classes=(1, 2, 3))},
            np.full((2, 2), 0.5),
            r"y must be a matrix of 3 columns, as classes",
        ),
        ({"output_activation": "softmax"}, np.array([[1, 1], [0, 1]]), r"requires one label for each row"),
    ],
)
def test_bad_targets_are_told(parameters, y, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**parameters).fit(np.ones((2, 3)), y)


def test_gamma_needs_positive_targets():
    with pytest.raises(ValueError, match=r"y must be above 0 with loss 'gamma'; got -1\."):
        MLPRegressor(loss="gamma").fit(np.ones((2, 3)), [1.0, -1.0])


def test_sparse_rows_and_what_needs_dense_ones(digits):
    from scipy.sparse import csr_array

    X, y = digits
    with pytest.raises(ValueError, match=r"dropout of the inputs requires dense X; got sparse X"):
        small(dropout=[0.1, 0, 0]).fit(csr_array(X), y)
    with pytest.raises(ValueError, match=r"augmentation requires dense X; got sparse X"):
        small(augmentation="mixup").fit(csr_array(X), y)
    components = {"normalization": "layer", "dropout": 0.2, "activation": "prelu", "clip_norm": 0.5}
    dense, sparse = (small(**components).fit(rows, y) for rows in (X, csr_array(X)))
    for ours, theirs in zip(dense.coefs_, sparse.coefs_):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_a_grid_over_words_compiles_nothing_after_the_first_fit(digits, monkeypatch):
    X, y = digits
    small().fit(X, y).predict(X)
    loaded = []
    monkeypatch.setattr(Kernel, "_load", lambda kernel, dtype: loaded.append((kernel.name, dtype)))
    grid = {
        "activation": ["gelu", LeakyReLU(0.2), "mish"],
        "solver": ["adamw", "lion"],
        "loss": ["log_loss", "focal"],
        "learning_rate": [StepDecay(2), "cosine"],
        "initializer": [Normal(0.1)],
    }
    search = GridSearchCV(small(max_iter=2), grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 24
    assert loaded == []


# --- components together ---------------------------------------------------------------------------------------------


def test_classes_of_columns_need_not_be_sorted(digits):
    X, y = digits
    names = np.array(list("jihgfedcba"))
    soft = np.eye(10)[y]
    model = small(loss=KLDivergence(classes=tuple(names)), max_iter=80, batch_size=20)
    model.fit(X, soft, X_val=X, y_val=soft)
    assert (model.predict(X) == names[y]).mean() > 0.9
    assert model.score(X, soft) == (model.predict(X) == names[y]).mean() == model.score(X, names[y])
    assert model.validation_loss_curve_[-1] < 0.5
    going_on = small(loss=KLDivergence(classes=tuple(names)), batch_size=20).partial_fit(X, soft, n_epochs=80)
    assert (going_on.predict(X) == names[y]).mean() > 0.9
    with pytest.raises(ValueError, match=r"classes of KLDivergence must be different from each other"):
        small(loss=KLDivergence(classes=("a", "a"))).fit(X, np.full((400, 2), 0.5))


def test_mixup_beside_other_words(digits):
    X, y = digits
    hard, smooth = (
        small(augmentation="mixup", loss=LogLoss(s), max_iter=60, batch_size=20).fit(X, y) for s in (0.0, 0.3)
    )
    assert smooth.predict_proba(X).max(axis=1).mean() < hard.predict_proba(X).max(axis=1).mean() - 0.05
    with pytest.raises(ValueError, match=r"requires another loss than 'focal'"):
        small(augmentation="mixup", loss="focal").fit(X, y)
    with pytest.raises(ValueError, match=r"requires rows of equal weight; got sample_weight or class_weight\."):
        small(augmentation="mixup").fit(X, y, np.ones(400))
    with pytest.raises(ValueError, match=r"requires rows of equal weight"):
        small(augmentation="mixup", class_weight="balanced").fit(X, y)


def test_metrics_see_the_rows_as_they_were_given(digits):
    X, y = digits
    model = small(augmentation=["shift", "mixup"], metrics="accuracy", max_iter=4).fit(X, y)
    assert model.history_["accuracy"][-1] == pytest.approx(model.score(X, y))


@pytest.mark.parametrize("activation", ["logistic", "relu"])
def test_initial_weights_of_a_linear_model_are_those_of_scikit_learn(digits, activation):
    parameters = {"hidden_layer_sizes": (), "activation": activation, "random_state": 0, "max_iter": 3}
    ours, theirs = MLPClassifier(**parameters).fit(*digits), Original(**parameters).fit(*digits)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-6)


def test_a_warm_start_without_normalization_begins_with_the_folded_weights(digits):
    X, y = digits
    model = small(normalization="batch").fit(X, y)
    before = model.decision_function(X)
    model.set_params(normalization=None, warm_start=True, max_iter=1, learning_rate_init=1e-12).fit(X, y)
    np.testing.assert_allclose(model.decision_function(X), before, atol=1e-6)
    model = small(normalization="layer", activation="prelu", warm_start=True).fit(X, y)
    model.coefs_ = [0 * coef for coef in model.coefs_]
    model.set_params(max_iter=1, learning_rate_init=1e-12).fit(X, y)
    assert max(np.abs(coef).max() for coef in model.coefs_) < 1e-6


def test_batch_normalization_needs_a_batch(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"batch_size must be at least 2 with normalization='batch'; got 1\."):
        small(normalization="batch", batch_size=1).fit(X, y)
    odd = small(normalization="batch", batch_size=200, max_iter=30).fit(X[:201], y[:201])
    even = small(normalization="batch", batch_size=200, max_iter=30).fit(X[:200], y[:200])
    for ours, theirs in zip(odd._parameters.unit_parameters, even._parameters.unit_parameters):
        assert 0.5 < np.median(ours[4] / theirs[4]) < 2  # a last batch of one row leaves the running variance


@pytest.mark.parametrize("output", ["identity", "logistic", "tanh"])
def test_decisions_agree_with_predictions(digits, output):
    X, y = digits
    model = small(loss="squared_error", output_activation=output).fit(X, y % 2)
    np.testing.assert_array_equal(model.decision_function(X) > 0, model.predict(X) == 1)


def test_names_take_the_numbers_of_the_estimator(digits):
    for name in ("momentum", "nesterov"):
        ours = small(solver=name, momentum=0.5).fit(*digits)
        assert_same_weights(ours, small(solver=OPTIMIZERS[name](momentum=0.5)).fit(*digits))
    for name in ("adam", "adamw", "amsgrad", "nadam", "radam"):
        ours = small(solver=name, beta_1=0.7, beta_2=0.9, epsilon=1e-6).fit(*digits)
        assert_same_weights(ours, small(solver=OPTIMIZERS[name](beta_1=0.7, beta_2=0.9, epsilon=1e-6)).fit(*digits))


def test_other_names_of_words(digits):
    assert_same_weights(small(loss="cross_entropy").fit(*digits), small().fit(*digits))
    assert_same_weights(small(activation="sigmoid").fit(*digits), small(activation="logistic").fit(*digits))


def test_the_score_of_matrices(digits):
    X, y = digits
    onehot = np.eye(10, dtype=int)[y]
    model = small(one_hot=True).fit(X, onehot)
    assert model.score(X, onehot) == (model.predict(X) == y).mean()
    search = GridSearchCV(small(one_hot=True, max_iter=3), {"alpha": [0, 1]}, cv=3, error_score="raise")
    assert np.isfinite(search.fit(X, onehot).best_score_)


def test_the_score_of_quantiles(curve):
    X, y = curve
    model = MLPRegressor(Quantile((0.1, 0.9)), 20, random_state=0, max_iter=200, learning_rate_init=0.01).fit(X, y)
    assert 0.2 < model.score(X, y) < 1
    one = MLPRegressor(Quantile((0.9,)), 20, random_state=0, max_iter=5, early_stopping=True).fit(X, y)
    assert one.best_validation_score_ == -min(one.validation_loss_curve_)


def test_the_optimizer_that_only_looks_is_refused(digits):
    with pytest.raises(ValueError, match=r"solver must be a component that moves the weights"):
        small(solver=OPTIMIZERS["gradient"]()).fit(*digits)
