"""Parameters changed between fits: the table is complete, it is what the documentation shows, and it is obeyed."""

import inspect
import itertools
import pickle
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from problems import assert_same_weights
from scipy.sparse import csc_array, csr_array

import fastmlp.estimators.perceptron as perceptron
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.activations import LeakyReLU
from fastmlp.estimators.configuration import configure
from fastmlp.estimators.constraints import SOLVERS
from fastmlp.estimators.continuation import CHANGES, Rule, optimizer_to_go_on_with
from fastmlp.losses import LogLoss
from fastmlp.optimizers import AdamW
from fastmlp.schedules import Cosine
from fastmlp.serving import predictor

DATA = Path(__file__).parent / "data"
PAGE = Path(__file__).parents[1] / "docs" / "parameters_between_fits.md"

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning")


def small(**parameters):
    return MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0, **parameters})


def test_the_table_has_all_parameters():
    parameters = {*inspect.signature(MLPClassifier).parameters, *inspect.signature(MLPRegressor).parameters}
    assert set(CHANGES) == parameters


def test_the_page_shows_the_table():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", PAGE.read_text(encoding="utf8"), re.MULTILINE)
    table = [
        (name, change.partial_fit.value, change.warm_start.value, change.remark.replace("``", "`"))
        for name, change in CHANGES.items()
    ]
    assert rows == table


# --- the optimizer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [*itertools.permutations(sorted(SOLVERS - {"lbfgs"}), 2)])
def test_another_solver_starts_a_fresh_state(before, after):
    """Unless both names mean one optimizer; without a training, since only the choice is looked at."""
    stored = optimizer_to_go_on_with(None, configure(MLPClassifier(solver=before)), same_network=True, dtype=np.float64)
    stored.step, stored.base_rate = 7, 0.5
    configuration = configure(MLPClassifier(solver=after))
    state = optimizer_to_go_on_with(stored, configuration, same_network=True, dtype=np.float64)
    assert state.optimizer == configuration.optimizer
    assert state is not stored
    if {before, after} == {"sgd", "nesterov"}:
        assert state.step == 7
    else:
        assert (state.step, state.base_rate, state.states) == (0, 0.001, None)


@pytest.mark.parametrize("before", ["adam", "sgd", "adagrad"])
@pytest.mark.parametrize("after", ["gradient_descent", "amsgrad", "rmsprop"])
def test_partial_fit_goes_on_with_another_solver(before, after, digits):
    """As a model with the same weights and without optimizer."""
    ours = small(solver=before).partial_fit(*digits, classes=np.arange(10))
    expected = small(solver=after, warm_start=True, max_iter=1, shuffle=False)
    for name, value in vars(ours).items():
        if name.endswith("_") or name in ("_components", "_label_binarizer", "_parameters", "_no_improvement_count"):
            setattr(expected, name, value)
    ours.set_params(solver=after, shuffle=False).partial_fit(*digits)
    expected.fit(*digits)
    assert_same_weights(ours, expected)


def test_numbers_of_the_optimizer_take_effect_and_its_state_stays(digits):
    model = small(solver="sgd").partial_fit(*digits, classes=np.arange(10))
    velocity = model._optimizer.states[0][0]
    assert np.abs(velocity).max() > 0
    model.set_params(momentum=0.0, learning_rate_init=1e-300).partial_fit(*digits)
    assert model._optimizer.step == 2 * 2
    assert np.abs(model._optimizer.states[0][0]).max() < 1e-290  # v = 0 v - rate g


def test_a_new_learning_rate_and_schedule_take_effect(digits):
    model = small().partial_fit(*digits, classes=np.arange(10))
    before = model.coefs_[0].copy()
    model.set_params(learning_rate_init=1e-30).partial_fit(*digits)
    np.testing.assert_allclose(model.coefs_[0], before, atol=1e-25)
    assert model.history_["learning_rate"] == [0.001, 1e-30]
    model.set_params(learning_rate=Cosine()).partial_fit(*digits, n_epochs=2)
    assert model.history_["learning_rate"][2] > model.history_["learning_rate"][3]


@pytest.mark.parametrize(
    "changed",
    [
        {"activation": "tanh"},
        {"activation": LeakyReLU(slope=0.3)},
        {"loss": LogLoss(label_smoothing=0.1)},
        {"normalization": "layer"},
        {"activation": "prelu"},
    ],
    ids=str,
)
def test_another_network_starts_a_fresh_optimizer(changed, digits):
    model = small().partial_fit(*digits, classes=np.arange(10))
    model.set_params(**changed).partial_fit(*digits)
    assert model._optimizer.step == 2
    model.partial_fit(*digits)
    assert model._optimizer.step == 4
    assert (CHANGES[next(iter(changed))]).partial_fit is Rule.FRESH


def test_losses_may_change_where_the_outputs_are_as_many(digits):
    X, y = digits
    model = small(warm_start=True).fit(X, y)
    for how in ("fit", "partial_fit"):
        getattr(model.set_params(loss="squared_error"), how)(X, y)
        assert model.out_activation_ == "identity"
        getattr(model.set_params(loss="log_loss"), how)(X, y)
        assert model.out_activation_ == "softmax"
    regressor = MLPRegressor(hidden_layer_sizes=4, max_iter=2, warm_start=True).fit(X, X[:, 3] + 1)
    regressor.set_params(loss="poisson").fit(X, X[:, 3] + 1)
    assert regressor.out_activation_ == "exp"
    model = small().partial_fit(X, y % 2, classes=[0, 1]).set_params(loss="kl_divergence")
    with pytest.raises(ValueError, match=r"loss must be LogLoss\(.*\), as in the previous call to fit, .* needs 2\."):
        model.partial_fit(X, np.eye(2)[y % 2])


def test_the_dtype_takes_effect(digits):
    X, y = digits
    model = small().partial_fit(X, y, classes=np.arange(10)).set_params(dtype="float32").partial_fit(X, y)
    assert model.coefs_[0].dtype == np.float32
    assert model._optimizer.states[0][0].dtype == np.float32
    assert model._optimizer.step == 4
    assert model.set_params(dtype=np.float64).partial_fit(X, y).coefs_[0].dtype == np.float64


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("hidden", [16, (8, 4), ()])
def test_other_layers_are_refused(how, hidden, digits):
    model = MLPClassifier(8, max_iter=2, random_state=0, warm_start=True).fit(*digits)
    before = model.coefs_
    with pytest.raises(ValueError, match=r"hidden_layer_sizes must be \(8,\), as in the previous call to fit"):
        getattr(model.set_params(hidden_layer_sizes=hidden), how)(*digits)
    assert model.coefs_ is before


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_another_number_of_networks_is_refused(how, before, after, digits):
    model = MLPClassifier(4, max_iter=1, random_state=0, warm_start=True, n_estimators=before).fit(*digits)
    with pytest.raises(ValueError, match=rf"n_estimators must be {before}, as in .*; got {after}\."):
        getattr(model.set_params(n_estimators=after), how)(*digits)
    assert len(getattr(model, "estimators_", [model])) == before


def test_a_matrix_after_labels_is_refused(digits):
    X, y = digits
    model = small().partial_fit(X, y, classes=np.arange(10))
    with pytest.raises(ValueError, match=r"y must be a vector of labels, as in .*; got a matrix\..*one_hot=True\."):
        model.partial_fit(X, np.eye(10, dtype=int)[y])
    model.set_params(one_hot=True).partial_fit(X, np.eye(10)[y]).partial_fit(X, csr_array(np.eye(10)[y]))
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, np.eye(9)[y % 9])


@pytest.mark.parametrize(
    "wrong",
    [
        {"momentum": 5.0},
        {"tol": -1},
        {"n_estimators": 0},
        {"max_iter": 0},
        {"clip_norm": -1},
        {"dropout": 1.5},
        {"l1": -1},
        {"batch_size": 0},
        {"n_threads": 0},
        {"n_threads": -2},
        {"max_time": 0},
        {"class_weight": {0: -1.0}},
        {"dtype": np.int64},
        {"dtype": np.dtype("f2")},
    ],
    ids=str,
)
def test_partial_fit_validates_parameters(wrong, digits):
    model = small().partial_fit(*digits, classes=np.arange(10))
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        model.set_params(**wrong).partial_fit(*digits)
    assert model.t_ == pickle.loads(before).t_


@pytest.mark.parametrize("sizes", [(100, 1.5), [True], "ab", (3, None)])
def test_sizes_that_are_none(sizes, digits):
    with pytest.raises(ValueError, match=r"hidden_layer_sizes"):
        MLPClassifier(sizes).fit(*digits)


# --- weights that a user has set --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda m: m.coefs_.__setitem__(0, m.coefs_[0][:-1]),
            r"coefs_\[0\] must have shape \(64, n\), .* of X",
        ),
        (lambda m: m.coefs_.__setitem__(0, np.vstack([m.coefs_[0]] * 2)), r"coefs_\[0\] must have shape \(64, n\)"),
        (lambda m: m.coefs_.__setitem__(0, m.coefs_[0][:, :5]), r"intercepts_\[0\] must have shape \(5,\)"),
        (lambda m: m.coefs_.__setitem__(1, m.coefs_[1].T.copy()), r"coefs_\[1\] must have shape \(\d+, n\)"),
        (lambda m: m.coefs_.__setitem__(1, m.coefs_[1].astype(int)), r"coefs_\[1\] must be an ndarray of float32 or"),
        (lambda m: m.coefs_.__setitem__(1, m.coefs_[1].tolist()), r"coefs_\[1\] must be an ndarray .*; got list"),
        (lambda m: m.intercepts_.__setitem__(1, m.intercepts_[1][:2]), r"intercepts_\[1\] must have shape"),
        (lambda m: m.coefs_.__setitem__(0, None), r"coefs_\[0\] must be an ndarray .*; got NoneType"),
        (lambda m: m.intercepts_.pop(), r"an array for each layer"),
        (lambda m: setattr(m, "coefs_", []), r"an array for each layer; got 0"),
        (lambda m: setattr(m, "coefs_", None), r"coefs_ must be a list with an array for each layer; got NoneType"),
        (lambda m: setattr(m, "intercepts_", 3.0), r"intercepts_ must be a list with an array .*; got float"),
        (lambda m: setattr(m.coefs_[0], "shape", m.coefs_[0].shape[::-1]), r"coefs_\[0\] must have shape \(64, n\)"),
        (lambda m: setattr(m, "classes_", m.classes_[:-1]), r"classes_ must hold 10 labels, .* output; got 9"),
        (lambda m: setattr(m, "classes_", m.classes_[None]), r"classes_ must be an ndarray .*; got shape \(1, 10\)"),
        (lambda m: setattr(m, "classes_", m.classes_.tolist()), r"classes_ must be an ndarray .*; got list"),
    ],
)
@pytest.mark.parametrize("use", ["predict", "predict_proba", "decision_function", "partial_fit", "fit"])
@pytest.mark.parametrize("kind", [np.array, csr_array, np.float32])
def test_weights_of_wrong_shape_are_refused(spoil, message, use, kind, digits):
    X, y = digits
    X = kind(X)
    model = small(warm_start=use == "fit").fit(X, y)
    model.partial_fit(X, y).predict(X[:1])  # what both keep is not used unseen
    spoil(model)
    with pytest.raises(ValueError, match=message):
        getattr(model, use)(*((X, y) if "fit" in use else [X]))


def test_weights_of_another_byte_order_count(digits):
    """As a pickle from another machine has them."""
    X, y = digits
    model = small().fit(X, y)
    expected = model.predict_proba(X)
    for arrays in (model.coefs_, model.intercepts_):
        arrays[:] = [array.astype(array.dtype.newbyteorder()) for array in arrays]
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    np.testing.assert_allclose(predictor(model)(X), expected, rtol=1e-12)
    model.partial_fit(X, y).partial_fit(X, y)
    assert not np.array_equal(model.predict_proba(X), expected)


def test_columns_outside_of_a_sparse_matrix_are_refused(digits):
    X, y = digits
    model = small().fit(csr_array(X), y)
    for kind, wrong in itertools.product((csr_array, csc_array), (10_000_000, -1)):
        bad = kind(X)
        bad.indices = bad.indices.copy()
        bad.indices[5] = wrong
        for use in (model.predict, lambda rows: small().fit(rows, y)):
            with pytest.raises(ValueError, match=rf"X\.indices must be in \[0, \d+\).*; got {wrong}\."):
                use(bad)


# --- pickles of 0.2 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["classifier", "components", "batch", "lbfgs", "ensemble"])
def test_pickles_of_the_second_version(name):
    """They predict what they did, and partial_fit goes on with their optimizer."""
    stored = pickle.loads((DATA / "models_0_2.pickle").read_bytes())
    data, predictions, after = stored["models"][name]
    X, y = stored["X"], stored["X"][:, 0] if name == "batch" else stored["y"]
    model = pickle.loads(data)
    predict = getattr(model, "predict_proba", model.predict)
    np.testing.assert_allclose(predict(X), predictions, rtol=1e-6)
    if after is not None:
        model.set_params(early_stopping=False).partial_fit(X, y)
        changed = name == "components"  # what follows a warm-up begins after it now, with another rate in this epoch
        np.testing.assert_allclose(predict(X), after, rtol=0.02 if changed else 1e-5, atol=1e-7)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(getattr(again, "predict_proba", again.predict)(X), predict(X))


@pytest.mark.parametrize(
    ("version", "release"), [("0.3rc1", (0, 3)), ("1.12.dev3+g1", (1, 12)), ("0.2", (0, 2)), ("odd", (0, 0))]
)
def test_any_version_is_understood(version, release, digits):
    from fastmlp.estimators.storage import release_of

    assert release_of(version) == release
    state = small(solver=AdamW()).fit(*digits).__getstate__()
    other = MLPClassifier.__new__(MLPClassifier)
    if release <= release_of(state["_fastmlp_version"]):
        other.__setstate__({**state, "_fastmlp_version": version})
        assert other.predict(digits[0]).shape == (400,)
    else:
        with pytest.raises(ValueError, match="This pickle needs fastmlp"):
            other.__setstate__({**state, "_fastmlp_version": version})


# --- threads ----------------------------------------------------------------------------------------------------------


def test_a_second_thread_with_the_same_estimator_is_refused(digits):
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        def __init__(self, max_epochs, n_rows):
            pass

        def __enter__(self):
            inside.set()
            go_on.wait(60)
            return self

        def __exit__(self, *exception):
            pass

        def update(self, epochs, rows, loss):
            pass

    model = small(progress=Slow)
    thread = threading.Thread(target=model.fit, args=digits)
    thread.start()
    try:
        assert inside.wait(60)
        with pytest.raises(RuntimeError, match=r"This MLPClassifier is being fitted by another thread; .* a clone"):
            model.fit(*digits)
    finally:
        go_on.set()
        thread.join()
    assert not perceptron._IN_TRAINING
    assert_same_weights(model, small().fit(*digits))
    model.set_params(progress=None).fit(*digits)
