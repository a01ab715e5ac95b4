"""Looking inside: gradients against differences for every component, tables, and classic facts about deep networks."""

import math

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.activations import ACTIVATIONS
from fastmlp.core.network import Network
from fastmlp.initializers import GlorotNormal, HeNormal, Normal, Zeros, initial_weights
from fastmlp.inspection import (
    Objective,
    activation_statistics,
    activations,
    check_gradients,
    gradient_norms,
    gradient_statistics,
    numerical_gradient,
    optimizer_path,
    summary,
)
from fastmlp.losses import PAIRS
from fastmlp.normalizations import BatchNormalization, LayerNormalization
from fastmlp.reference import Reference

AGREEMENT = 1e-6
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning")


def network(units, activation="tanh", initializer=None, *, loss="log_loss", dtype=np.float64, seed=0, **components):
    """An untrained network in NumPy."""
    weights = initial_weights(
        units,
        np.random.RandomState(seed),
        dtype=dtype,
        activation=activation,
        initializer=initializer or GlorotNormal(),
    )
    return Reference(*weights, activation=activation, loss=loss, optimizer="adam", **components)


def rows(n_rows, n_features, seed=0):
    return np.random.RandomState(seed).normal(size=(n_rows, n_features))


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


# --- numerical gradient -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 0), (2, 1, 2)])
def test_numerical_gradient_of_any_shape(shape):
    x = np.random.RandomState(0).normal(size=shape)
    before = x.copy()
    gradient = numerical_gradient(lambda x: (np.sin(x) * x).sum(), x)
    assert gradient.shape == shape
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, np.cos(x) * x + np.sin(x), atol=1e-9)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("x", [[3, 4], np.array([3, 4], np.float32), (3.0, 4.0)])
def test_numerical_gradient_works_in_float64(x):
    """x² + y² at (3, 4), the example of many a textbook: (6, 8)."""
    np.testing.assert_allclose(numerical_gradient(lambda x: np.array([(x**2).sum()]), x), [6, 8], rtol=1e-9)


@pytest.mark.parametrize("x", [1e-12, 1.0, 1e6])
def test_steps_grow_with_x(x):
    assert numerical_gradient(lambda x: x**2, x) == pytest.approx(2 * x, rel=1e-8, abs=1e-11)


def test_a_function_may_do_with_its_argument_what_it_likes():
    def f(x):
        x *= 2
        return x.sum()

    np.testing.assert_allclose(numerical_gradient(f, np.ones(3)), 2)


def test_numerical_gradient_refuses():
    with pytest.raises(ValueError, match=r"^f must return one number; got an array of shape \(2,\)\.$"):
        numerical_gradient(lambda x: x, np.ones(2))
    with pytest.raises(ValueError, match=r"^eps must be above 0; got 0\.$"):
        numerical_gradient(np.sum, np.ones(2), eps=0)


# --- check_gradients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ACTIVATIONS.classes, ids=lambda component: component.name)
def test_gradients_of_every_activation(component):
    model = network((5, 7, 6, 3), component(), normalization=LayerNormalization())
    check = check_gradients(model, rows(8, 5), np.arange(8) % 3)
    assert check.relative_error < AGREEMENT
    learned = ["slopes"] * component.learned + ["gains", "shifts"]
    assert check["parameter"] == [*["coefs", "intercepts", *learned] * 2, "coefs", "intercepts"]
    assert min(check["largest"]) > 1e-12 or component.name == "identity"


@pytest.mark.parametrize(("component", "output"), PAIRS, ids=lambda part: getattr(part, "name", part))
def test_gradients_of_every_loss_and_output(component, output):
    """Errors are averaged over the outputs in the loss and summed in the gradient: what is minimized is the sum."""
    model = network((5, 6, 3), loss=component(), output=output)
    if component.takes_codes(output):
        y = np.arange(8) % 3
    elif output == "softmax":
        y = np.random.RandomState(1).dirichlet(np.ones(3), 8)
    else:
        y = np.random.RandomState(1).uniform(0.5, 2, (8, 3))
        y = (y > 1).astype(float) if component.name in ("log_loss", "focal") else y
    assert check_gradients(model, rows(8, 5), y).relative_error < AGREEMENT


@pytest.mark.parametrize("normalization", [None, BatchNormalization(), LayerNormalization()])
def test_gradients_of_a_compiled_network_with_unit_parameters(normalization):
    model = Network(
        (4, 5, 3),
        dtype=np.float32,
        activation="prelu",
        loss="squared_error",
        optimizer="lion",
        normalization=normalization,
        dropout=[0.2, 0.5],
    )
    model.set_weights(*network((4, 5, 3), dtype=np.float32).weights())
    unit_parameters = model.unit_parameters()
    unit_parameters[0][:3] += np.random.RandomState(0).normal(scale=0.3, size=(3, 5))
    model.set_unit_parameters(unit_parameters)
    check = check_gradients(model, rows(9, 4), rows(9, 3, seed=1))
    assert check.relative_error < AGREEMENT
    assert "slopes" in check["parameter"]
    assert ("gains" in check["parameter"]) == (normalization is not None)


CASES = {
    "softmax": (MLPClassifier(alpha=0.1), lambda y: y),
    "two classes": (MLPClassifier(activation="relu"), lambda y: y > 4),
    "multilabel": (MLPClassifier(activation=["elu"]), lambda y: np.column_stack([y > 4, y % 2])),
    "class_weight": (MLPClassifier(class_weight="balanced"), lambda y: np.minimum(y, 3)),
    "l1": (MLPClassifier(l1=0.2, alpha=0), lambda y: y),
    "squared error of classes": (MLPClassifier(loss="squared_error", output_activation="tanh"), lambda y: y),
    "probabilities": (MLPClassifier(loss="kl_divergence"), lambda y: np.full((len(y), 10), 0.02) + 0.8 * np.eye(10)[y]),
    "one-hot": (MLPClassifier(one_hot=True), lambda y: np.eye(10)[y]),
    "float32": (MLPClassifier(dtype="float32"), lambda y: y),
    "batch normalization": (MLPClassifier(normalization="batch", activation="prelu", alpha=0.3), lambda y: y),
    "layer normalization": (MLPClassifier(normalization="layer"), lambda y: y),
    "dropout": (MLPClassifier(dropout=0.5), lambda y: y),
    "regression": (MLPRegressor(), lambda y: y / 10),
    "two targets": (MLPRegressor(alpha=1.0), lambda y: np.column_stack([y / 10, np.cos(y)])),
    "poisson": (MLPRegressor(loss="poisson"), lambda y: y.astype(float)),
    "lbfgs": (MLPRegressor(solver="lbfgs", activation="logistic"), lambda y: y / 10),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_fitted_estimators(digits, case, weighted):
    model, targets = CASES[case]
    X, y = digits[0], targets(digits[1])
    model.set_params(hidden_layer_sizes=(9,), max_iter=2, random_state=0).fit(X, y)
    weights = np.random.RandomState(0).uniform(0.5, 2, 40) if weighted else None
    check = check_gradients(model, X[:40], y[:40], weights, max_numbers=20)
    assert check.relative_error < AGREEMENT, check


def test_a_vector_of_targets_is_a_matrix_of_one_column():
    model = network((5, 6, 1), loss="squared_error")
    assert check_gradients(model, rows(8, 5), np.arange(8) / 8).relative_error < AGREEMENT


def test_gradients_over_sparse_rows(digits):
    X, y = sparse.csr_matrix(digits[0]), digits[1]
    model = MLPClassifier((9,), max_iter=2, random_state=0).fit(X, y)
    assert check_gradients(model, X[:40], y[:40], max_numbers=20).relative_error < AGREEMENT
    bare = network((64, 5, 10))
    dense = check_gradients(bare, X.toarray(), y)
    np.testing.assert_allclose(check_gradients(bare, X, y)[0].analytic, dense[0].analytic, atol=1e-12)


def test_the_objective_is_the_loss_of_the_fit(digits):
    X, y = digits
    model = MLPClassifier((9,), solver="lbfgs", alpha=0.5, max_iter=5, random_state=0).fit(X, y)
    assert Objective(model, X, y).loss() == pytest.approx(model.loss_, rel=1e-10)


def test_a_wrong_gradient_is_found(monkeypatch):
    right = Objective.gradients

    def wrong(self):
        gradients = right(self)
        gradients[0]["coefs"][1, 2] *= 1.1
        return gradients

    monkeypatch.setattr(Objective, "gradients", wrong)
    check = check_gradients(network((5, 6, 3)), rows(8, 5), np.arange(8) % 3, max_numbers=None)
    assert check.relative_error == check[0].relative_error > 1e-3
    assert abs(check[0].analytic - check[0].numerical).argmax() == 1 * 6 + 2
    assert max(check["relative_error"][2:]) < AGREEMENT


def test_numbers_are_drawn_and_the_model_stays(digits):
    X, y = digits
    model = MLPClassifier((9,), max_iter=2, random_state=0).fit(X, y)
    before = [array.copy() for array in model.coefs_]
    check = check_gradients(model, X[:20], y[:20], max_numbers=30)
    assert check["checked"] == [30, 9, 30, 10]
    assert len(np.unique(check[0].indices)) == 30
    again = check_gradients(model, X[:20], y[:20], max_numbers=30)
    np.testing.assert_array_equal(check[0].indices, again[0].indices)
    for array, old in zip(model.coefs_, before):
        np.testing.assert_array_equal(array, old)


def test_layers_without_gradient_agree():
    """Of zero weights the hidden units learn nothing at all: nothing over nothing is no error."""
    check = check_gradients(network((4, 5, 3), initializer=Zeros()), rows(6, 4), np.arange(6) % 3)
    assert check[0].largest == 0
    assert check.relative_error < AGREEMENT


# --- summary ----------------------------------------------------------------------------------------------------------


def test_summary_counts_as_a_lecture_does():
    table = summary((784, 500, 500, 500, 500, 100))
    assert table.total.weights == 784 * 500 + 3 * 500 * 500 + 500 * 100 == 1_192_000
    assert table.total.biases == 4 * 500 + 100
    assert table.total.bytes == 8 * (1_192_000 + 2_100)
    assert table.total.operations_per_row == 2 * 1_192_000
    assert repr(table).splitlines()[-1].split() == ["total", "1,192,000", "2,100", "9,552,800", "2,384,000"]
    assert summary((784, 500), np.float32).total.bytes == 4 * 785 * 500


def test_summary_prints_aligned():
    assert repr(summary(network((784, 20, 3), "gelu"))) == (
        "layer  activation     shape  weights  biases    bytes  operations per row\n"
        "    1  gelu        784 × 20   15,680      20  125,600              31,360\n"
        "    2  softmax       20 × 3       60       3      504                 120\n"
        "total                         15,740      23  126,104              31,480"
    )


def test_summary_of_a_fitted_estimator(digits):
    model = MLPClassifier(
        (9, 8), activation=["prelu", "relu"], normalization="batch", dtype="float32", max_iter=1, random_state=0
    ).fit(*digits)
    table = summary(model)
    assert table["activation"] == ["prelu", "relu", "softmax"]
    assert table["unit_parameters"] == [3 * 9, 2 * 8, 0]
    assert table.total.unit_parameters == 43
    arrays = model.coefs_ + model.intercepts_
    assert table.total.bytes == sum(array.nbytes for array in arrays) + 4 * 43


def test_a_table_is_a_sequence_with_columns():
    table = summary((3, 4, 2))
    assert len(table) == 2
    assert table[-1].weights == 8
    assert [row.layer for row in table] == table["layer"] == [1, 2]


# --- activations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "components", [{}, {"normalization": "batch"}, {"normalization": "layer", "activation": "prelu"}]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_lead_to_the_prediction(digits, components, dtype):
    X, y = digits
    model = MLPClassifier((9, 8), max_iter=2, random_state=0, dtype=dtype, dropout=0.2, **components).fit(X, y)
    outputs = [activations(model, X, layer) for layer in range(4)]
    assert [A.shape for A in outputs] == [(300, 64), (300, 9), (300, 8), (300, 10)]
    assert {A.dtype for A in outputs} == {np.dtype(dtype)}
    np.testing.assert_array_equal(outputs[0], X.astype(dtype))
    np.testing.assert_array_equal(outputs[-1], activations(model, X, -1))
    np.testing.assert_allclose(outputs[-1], model.predict_proba(X), atol=1e-12 if dtype == "float64" else 1e-5)
    if components.get("normalization") != "layer":
        np.testing.assert_allclose(outputs[1], np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0), atol=1e-5)


def test_activations_of_sparse_rows(digits):
    X, y = digits
    model = MLPClassifier((9,), max_iter=2, random_state=0).fit(X, y)
    np.testing.assert_allclose(activations(model, sparse.csr_array(X), 1), activations(model, X, 1), atol=1e-12)
    assert sparse.issparse(activations(model, sparse.csr_array(X), 0))
    assert activation_statistics(model, sparse.csr_array(X))["layer"] == [1, 2]


def test_activations_refuses(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"^layer must be an int from -3 to 2; got 3\.$"):
        activations(network((64, 9, 10)), X, 3)
    with pytest.raises(NotFittedError):
        activations(MLPClassifier(), X, 1)
    ensemble = MLPClassifier((9,), n_estimators=2, max_iter=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"^model must be one network; got an ensemble of 2\. Look at one of its"):
        summary(ensemble)
    assert activations(ensemble.estimators_[1], X, 1).shape == (300, 9)


# --- four facts about deep networks -----------------------------------------------------------------------------------


def test_gradients_vanish_through_sigmoids_and_not_through_relus():
    """A logistic unit's slope is 1/4 at most: ten of them, one after the other, leave next to nothing."""
    X, y = rows(200, 50), np.arange(200) % 10
    units = (50,) * 11 + (10,)
    logistic = gradient_statistics(network(units, "logistic"), X, y)
    relu = gradient_statistics(network(units, "relu", HeNormal()), X, y)
    assert logistic["norm"][0] < 1e-4 * logistic["norm"][-1]
    assert all(below < above for below, above in zip(logistic["norm"][1:], logistic["norm"][2:]))
    assert relu["norm"][0] > 0.1 * relu["norm"][-1]
    assert repr(logistic).splitlines()[0].split() == ["layer", "activation", "mean", "std", "norm", "zero", "dead"]


def test_relus_die_and_leaky_ones_live():
    """Units whose bias is far below zero say nothing for any row, and learn nothing from any."""
    X, y = rows(100, 20), np.arange(100) % 3
    components = {"relu": None, "leaky_relu": None}
    for activation in components:
        coefs, intercepts = network((20, 40, 3)).weights()
        intercepts[0][:10] = -100
        components[activation] = Reference(
            coefs, intercepts, activation=activation, loss="log_loss", optimizer="gradient_descent"
        )
    dead, alive = (activation_statistics(model, X)[1] for model in components.values())
    assert dead.dead == 10 / 40
    assert 0.4 < dead.saturated < 0.8
    assert alive.dead == alive.saturated == 0
    assert (activations(components["relu"], X, 1)[:, :10] == 0).all()
    assert gradient_statistics(components["relu"], X, y)[0].dead == 10 / 40
    assert gradient_statistics(components["leaky_relu"], X, y)[0].dead == 0


def test_stacked_sigmoids_tend_to_a_fixed_point():
    """x = 1 / (1 + exp(-x)) at x = 0.659: whatever goes in, the same comes out."""
    depth = 12
    coefs, intercepts = [np.eye(3)] * depth + [np.ones((3, 1))], [np.zeros(3)] * depth + [np.zeros(1)]
    model = Reference(coefs, intercepts, activation="logistic", loss="squared_error", optimizer="gradient_descent")
    table = activation_statistics(model, 3 * rows(100, 3))
    assert table[0].std > 2
    assert table[depth].mean == pytest.approx(0.659, abs=5e-4)
    assert table[depth].mean == pytest.approx(1 / (1 + math.exp(-table[depth].mean)), abs=1e-5)
    assert table[depth].std < 1e-4


def test_sigmoids_are_not_centred_on_zero():
    X = rows(500, 40)
    units = (40,) * 6 + (5,)
    logistic, tanh = (activation_statistics(network(units, component), X) for component in ("logistic", "tanh"))
    assert all(0.3 < mean < 0.7 for mean in logistic["mean"][1:-1])
    assert all(abs(mean) < 0.03 for mean in tanh["mean"][1:-1])
    assert logistic[0].saturated is logistic[-1].saturated is None


def test_large_weights_saturate_and_small_ones_say_the_same():
    """The textbook's N(0, 1) and N(0, 0.01²): outputs at both ends, or all at one half."""
    X = rows(500, 100)
    units = (100,) * 6 + (10,)
    large, small = (activation_statistics(network(units, "logistic", Normal(std)), X) for std in (1.0, 0.01))
    assert min(large["saturated"][1:-1]) > 0.3
    assert small[5].saturated == 0
    assert small[5].mean == pytest.approx(0.5, abs=0.03)
    assert small[5].std < 0.05 < 0.4 < large[5].std


# --- in training ------------------------------------------------------------------------------------------------------


def test_gradient_norms_are_those_of_a_fit(digits):
    X, y = digits
    model = MLPClassifier((9, 8), max_iter=4, random_state=0, learning_rate="cosine")
    norms = gradient_norms(model, X, y)
    assert norms.shape == (4, 3)
    assert not hasattr(model, "coefs_")
    np.testing.assert_allclose(norms[-1], gradient_statistics(model.fit(X, y), X, y)["norm"], rtol=1e-12)


def test_gradient_norms_of_other_targets(digits):
    X, y = digits
    small = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0}
    weights = np.linspace(0.5, 2, len(y))
    assert gradient_norms(MLPRegressor(**small), X, y / 10, X_val=X, y_val=y / 10).shape == (2, 2)
    assert gradient_norms(MLPClassifier(**small, one_hot=True), X, np.eye(10)[y]).shape == (2, 2)
    assert gradient_norms(MLPClassifier(**small, loss="kl_divergence"), X, np.eye(10)[y]).shape == (2, 2)
    assert gradient_norms(MLPClassifier(**small, early_stopping=True), X, y, sample_weight=weights).shape == (2, 2)


@pytest.mark.parametrize("components", [{"solver": "lbfgs"}, {"n_estimators": 3}])
def test_gradient_norms_need_epochs_of_one_network(digits, components):
    with pytest.raises(ValueError, match=r"^estimator must be one network, n_estimators=1, whose solver takes steps"):
        gradient_norms(MLPClassifier(**components), *digits)


def test_gradient_descent_takes_the_path_of_its_formula():
    """Of c x²/2 it is x = (1 - rate c)^k x, here with c = (1/10, 2)."""
    path = optimizer_path(
        lambda p: p[0] ** 2 / 20 + p[1] ** 2, (-7, 2), "gradient_descent", learning_rate=0.95, n_steps=20
    )
    expected = np.array([-7, 2]) * (1 - 0.95 * np.array([0.1, 2])) ** np.arange(21)[:, None]
    np.testing.assert_allclose(path, expected, atol=1e-8)


@pytest.mark.parametrize(
    "component", ["momentum", "nesterov", "adagrad", "rmsprop", "adam", "amsgrad", "adamw", "nadam"]
)
def test_optimizers_find_the_minimum(component):
    path = optimizer_path(lambda p: (p**2).sum(), (2, -1), component, learning_rate=0.1, n_steps=300)
    assert path.shape == (301, 2)
    assert np.linalg.norm(path[-1]) < 0.15 * np.linalg.norm(path[0])


# --- what is no model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "look",
    [
        summary,
        lambda model: activations(model, np.zeros((2, 3)), 1),
        lambda model: activation_statistics(model, np.zeros((2, 3))),
        lambda model: gradient_statistics(model, np.zeros((2, 3)), [0, 1]),
        lambda model: check_gradients(model, np.zeros((2, 3)), [0, 1]),
    ],
    ids=["summary", "activations", "activation_statistics", "gradient_statistics", "check_gradients"],
)
@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (make_pipeline(StandardScaler(), MLPClassifier()), TypeError, r"got Pipeline\. Pass its last step, pipeline"),
        (GridSearchCV(MLPClassifier(), {}), TypeError, r"got GridSearchCV\. Pass its best_estimator_\.$"),
        (MLPClassifier, TypeError, r"got the class MLPClassifier\. Pass an object of it, fitted\.$"),
        (StandardScaler(), TypeError, r"got StandardScaler\. Pass a fitted MLPClassifier or MLPRegressor\.$"),
        (MLPRegressor(), NotFittedError, "This MLPRegressor instance is not fitted yet"),
    ],
    ids=["pipeline", "search", "class", "other", "unfitted"],
)
def test_what_is_no_model_is_refused(look, model, error, message):
    with pytest.raises(error, match=message):
        look(model)


def test_gradient_norms_of_a_pipeline_are_refused():
    with pytest.raises(TypeError, match="Pass its last step"):
        gradient_norms(make_pipeline(MLPClassifier()), np.zeros((2, 3)), [0, 1])
