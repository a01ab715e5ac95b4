"""TabularClassifier and TabularRegressor: scikit-learn's checks, what they learn, select and keep, bad input."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp import TabularClassifier, TabularRegressor
from fastmlp.tabular import TableEncoder
from fastmlp.tabular.presets import PRESETS

SMALL = {"hidden_layer_sizes": 16, "max_epochs": 8, "random_state": 0, "n_threads": 1}
NOT_EQUAL = "the rows that validate, and the order of the others, depend on how many there are"


def made_of_chance(estimator):
    """The checks that no estimator passes that draws rows for validation and for batches."""
    return dict.fromkeys(
        ("check_sample_weight_equivalence_on_dense_data", "check_sample_weights_invariance"), NOT_EQUAL
    )


@parametrize_with_checks(
    [
        TabularClassifier(preset="fast", hidden_layer_sizes=(32,), max_epochs=24, n_threads=1),
        TabularRegressor(preset="fast", hidden_layer_sizes=(32,), max_epochs=24, n_threads=1),
    ],
    expected_failed_checks=made_of_chance,
)
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


@pytest.fixture(scope="module")
def table():
    """600 rows of a number, a category and a date beside noise, with gaps; a class and a number that depend on them."""
    rng = np.random.default_rng(0)
    n = 600
    income, city = rng.lognormal(10, 1, n), rng.choice(["Oslo", "Rome", "Lima"], n)
    since = pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 3000, n), unit="D")
    value = np.log(income) + 2 * (city == "Rome") + (since.day_of_week > 4)
    frame = pd.DataFrame({"income": income, "city": city, "since": since, "noise": rng.normal(size=n), "one": 1})
    frame.loc[rng.random(n) < 0.1, "income"] = None
    return frame, np.where(value > np.median(value), "rich", "poor"), 1e6 * value


# --- learning ---------------------------------------------------------------------------------------------------------


def test_a_raw_table_in_one_call(table):
    frame, y, _ = table
    model = TabularClassifier(random_state=0, hidden_layer_sizes=(64, 64), importances=True).fit(frame[:450], y[:450])
    assert model.score(frame[450:], y[450:]) > 0.88
    assert model.classes_.tolist() == ["poor", "rich"]
    probabilities = model.predict_proba(frame[450:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert model.feature_names_in_.tolist() == list(frame)
    assert model.encoder_.dropped_ == {"one": "it is constant"}
    importances = dict(zip(frame, model.feature_importances_))
    assert importances["one"] == 0
    assert min(importances["income"], importances["city"]) > max(0.02, importances["noise"])
    assert len(model.members_) == PRESETS["default"].n_members
    assert len(model.validation_targets_) == len(model.validation_predictions_) == 90
    accuracy = np.mean(model.validation_predictions_.argmax(axis=1) == model.validation_targets_)
    assert model.validation_score_ == pytest.approx(accuracy)
    np.testing.assert_array_equal(model.predict(pl.from_pandas(frame[450:])), model.predict(frame[450:]))


def test_targets_of_any_scale(table):
    frame, _, y = table
    for scale, shift in ((1e-9, 0), (1, 1e5), (1e12, -1e3)):
        model = TabularRegressor(preset="fast", hidden_layer_sizes=64, random_state=0).fit(frame, scale * y + shift)
        assert model.score(frame, scale * y + shift) > 0.8
        assert model.predict(frame[:3]).dtype == np.float64


def test_predictions_stay_within_the_range_seen(table):
    frame, _, y = table
    model = TabularRegressor(**SMALL).fit(frame, y)
    far = frame.assign(income=1e12)
    assert y.min() <= model.predict(far).min() <= model.predict(far).max() <= y.max()


def test_several_outputs(table):
    frame, _, y = table
    model = TabularRegressor(preset="fast", hidden_layer_sizes=64, random_state=0).fit(
        frame, np.column_stack([y, -3 * y])
    )
    assert model.predict(frame).shape == (600, 2)
    assert model.score(frame, np.column_stack([y, -3 * y])) > 0.8
    assert TabularRegressor(**SMALL).fit(frame, y[:, None]).predict(frame).shape == (600, 1)


def test_more_classes_and_rows_of_unequal_weight():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 2)), rng.integers(0, 3, 400)
    weights = np.where(y == 2, 50.0, 1.0)
    for model in (
        TabularClassifier(**SMALL).fit(X, y, sample_weight=weights),
        TabularClassifier(class_weight={0: 1, 1: 1, 2: 50}, **SMALL).fit(X, y),
    ):
        assert np.mean(model.predict(X) == 2) > 0.9
    y[:300] = 0
    balanced = TabularClassifier(class_weight="balanced", **SMALL).fit(X, y)
    assert np.mean(balanced.predict(X) == 0) < np.mean(TabularClassifier(**SMALL).fit(X, y).predict(X) == 0)


def test_little_noise_calls_for_smooth_networks():
    """An almost exact function: the recipe for little noise is tried, wins, and is far better."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(1500, 3))
    y = np.sin(2 * X[:, 0]) * X[:, 1] + X[:, 2] ** 2
    model = TabularRegressor(preset="fast", hidden_layer_sizes=(64, 64), random_state=0).fit(X, y)
    assert [item["recipe"].activation for item in model.history_] == ["prelu", "mish", "mish"]
    noisy_one, smooth = (max(item["validation_score"]) for item in model.history_[:2])
    assert 1 - smooth < (1 - noisy_one) / 2
    assert model.validation_score_ == pytest.approx(smooth, abs=1e-4)
    noisy = TabularRegressor(preset="fast", **SMALL).fit(X, y + rng.normal(size=1500))
    assert {item["recipe"].activation for item in noisy.history_} == {"prelu"}


@pytest.mark.parametrize("estimator", [TabularClassifier(**SMALL), TabularRegressor(**SMALL)])
def test_the_same_bits_for_any_number_of_threads(estimator, table):
    frame, labels, values = table
    y = labels if isinstance(estimator, TabularClassifier) else values
    results = [clone(estimator).set_params(n_threads=n).fit(frame, y)._mean(frame) for n in (1, 2, None)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


# --- validation and selection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("validation", "refit", "networks", "members"),
    [("auto", True, 2, 2), (0.3, False, 2, 2), (3, False, 3, 3), (KFold(2), True, 2, 2), (None, True, 2, 2)],
    ids=str,
)
def test_validation(table, validation, refit, networks, members):
    frame, y, _ = table
    model = TabularClassifier(preset="fast", validation=validation, refit=refit, **SMALL).fit(frame, y)
    assert (len(model.history_), len(model.members_)) == (networks, members)
    assert np.isnan(model.validation_score_) == (validation is None)


def test_validation_rows_of_ones_own(table):
    frame, y, _ = table
    given = frame[500:], y[500:]
    model = TabularClassifier(preset="fast", validation=given, **SMALL).fit(frame[:500], y[:500])
    assert len(model.validation_targets_) == 100
    judged = model.members_[:1]
    outputs = model._mean_of(judged, model.encoder_.transform(given[0]))
    np.testing.assert_allclose(outputs, model.validation_predictions_, rtol=1e-5, atol=1e-6)


def test_the_metric_selects_and_probabilities_want_plain_labels(table):
    frame, y, _ = table
    for metric in ("log_loss", "roc_auc", "neg_log_loss"):
        model = TabularClassifier(preset="fast", metric=metric, **SMALL).fit(frame, y)
        assert all(item["recipe"].label_smoothing == 0 for item in model.history_)
    assert TabularClassifier(preset="fast", metric="f1_macro", **SMALL).fit(frame, y).validation_score_ > 0.5
    assert TabularRegressor(metric="neg_mean_absolute_error", **SMALL).fit(frame, table[2]).validation_score_ < 0


def test_the_log_loss_of_validation_rows_that_lack_a_class(table):
    frame, y, _ = table
    rare = y.astype(object)
    rare[0] = "rarer"
    with warnings.catch_warnings():
        warnings.filterwarnings("error")  # of sums of probabilities, too
        warnings.filterwarnings("ignore", "Class 'rarer' of y has a single row")
        model = TabularClassifier(preset="fast", metric="log_loss", **SMALL).fit(frame, rare)
    rows, codes = np.arange(len(model.validation_targets_)), model.validation_targets_
    expected = np.log(model.validation_predictions_[rows, codes]).mean()
    assert model.validation_score_ == pytest.approx(expected, rel=1e-5)


def test_a_blend_is_at_least_as_good_as_its_best_network(table):
    frame, y, _ = table
    model = TabularClassifier(preset="best", **SMALL).fit(frame, y)
    tried = [item for item in model.history_ if item["validation_score"]]
    best = max(item["validation_score"][end - 1] for item in tried for end in item["ends"])
    assert model.validation_score_ >= best
    assert 1 <= sum(member.weight for member in model.members_) <= PRESETS["best"].n_members  # the best mean on the way


def test_own_numbers_replace_those_of_the_preset(table):
    frame, y, _ = table
    own = {"hidden_layer_sizes": (8, 4), "max_epochs": 5, "batch_size": 64, "learning_rate": 0.01, "dropout": 0.0}
    model = TabularClassifier(weight_decay=0.0, n_members=3, random_state=0, **own).fit(frame, y)
    recipe = model.history_[0]["recipe"]
    assert all(getattr(recipe, name) == value for name, value in own.items())
    assert [coef.shape[1] for coef in model.members_[0].coefs] == [8, 4, 1]
    assert len(model.members_) == 3


def test_time_is_kept(table):
    frame, _, y = table
    large = pd.concat([frame] * 10)
    model = TabularRegressor(max_epochs=20_000, max_time=2.0, random_state=0)
    TabularRegressor(**SMALL).fit(frame, y)  # compiles
    start = pd.Timestamp.now()
    model.fit(large, np.tile(y, 10))
    assert (pd.Timestamp.now() - start).total_seconds() < 10
    assert model.n_iter_ < 20_000
    assert np.isfinite(model.predict(frame)).all()


def test_small_tables_have_no_validation_rows():
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    model = TabularClassifier(**SMALL).fit(X, y)
    assert np.isnan(model.validation_score_)
    assert not hasattr(model, "validation_targets_")


# --- scikit-learn's ways ----------------------------------------------------------------------------------------------


def test_in_pipelines_searches_and_cross_validation(table):
    frame, y, _ = table
    pipeline = make_pipeline(FunctionTransformer(), TabularClassifier(preset="fast", **SMALL))
    search = GridSearchCV(pipeline, {"tabularclassifier__dropout": [0.0, 0.1]}, cv=2).fit(frame, y)
    assert search.best_score_ > 0.5
    assert cross_val_score(TabularRegressor(preset="fast", **SMALL), frame, table[2], cv=2).shape == (2,)


def test_models_pickle(table):
    frame, y, _ = table
    model = TabularClassifier(**SMALL).fit(frame, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))


def test_a_prediction_depends_on_its_row_alone_and_leaves_no_trace(table):
    frame, _, y = table
    model = TabularRegressor(**SMALL).fit(frame, y)
    before, together = pickle.dumps(model), model.predict(frame)
    np.testing.assert_array_equal([model.predict(frame.iloc[[n]])[0] for n in range(20)], together[:20])
    assert pickle.dumps(model) == before


def test_the_encoder_alone_serves_others(table):
    frame, y, _ = table
    model = TabularClassifier(**SMALL).fit(frame, y)
    np.testing.assert_array_equal(model.encoder_.transform(frame), TableEncoder().fit_transform(frame))


def test_progress_counts_the_epochs_of_all_networks(table):
    frame, y, _ = table
    seen = []

    class Display:
        def __init__(self, max_epochs, n_rows):
            self.max_epochs = max_epochs

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def update(self, epochs, rows, loss):
            seen.append((epochs, self.max_epochs))

    TabularClassifier(preset="fast", progress=Display, **SMALL).fit(frame, y)
    done = [epochs for epochs, _ in seen]
    assert (np.diff(done) > 0).all()
    assert done[-1] == seen[0][1]  # networks that were planned and not needed count as done


def test_verbose_tells_what_was_dropped_and_selected(table, capsys):
    frame, y, _ = table
    TabularClassifier(preset="fast", verbose=True, **SMALL).fit(frame, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Column 'one' is dropped: it is constant."
    assert "networks trained" in lines[-1]


def test_a_failed_fit_leaves_the_model_as_it_was(table):
    frame, y, _ = table
    model = TabularClassifier(**SMALL).fit(frame, y)
    before = model.predict_proba(frame)
    with pytest.raises(ValueError):
        model.fit(frame.assign(income=np.inf), y)
    np.testing.assert_array_equal(model.predict_proba(frame), before)


# --- bad input --------------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(60, 2))


@pytest.mark.parametrize(
    ("estimator", "y", "message"),
    [
        (TabularRegressor(), ["a"] * 60, "y must hold numbers in regression; got 'a'"),
        (TabularRegressor(), ["1.5", "2.5"] * 30, "y must hold numbers in regression; got '1.5'"),
        (
            TabularRegressor(),
            np.arange(60).astype("datetime64[D]"),
            "y must hold numbers in regression; got datetime64",
        ),
        (
            TabularClassifier(metric="rmse"),
            ["a", "c"] * 30,
            "metric must be able to score this target; got make_scorer",
        ),
        (TabularRegressor(), [1.0] * 59 + [np.nan], "y must be a finite number in each row; got .* in row 59"),
        (TabularClassifier(), ["a"] * 59 + [None], "y must have a class in each row; got none in row 59"),
        (TabularClassifier(), ["a"] * 60, "y must have two classes or more; got 1 class, .*'a'"),
        (TabularClassifier(), [0, 1] * 29, "inconsistent numbers of samples"),
        (TabularClassifier(), None, "requires y to be passed"),
        (TabularClassifier(metric="nonsense"), [0, 1] * 30, "metric must be 'auto', a scorer or one of"),
        (TabularClassifier(metric=3), [0, 1] * 30, "metric must be 'auto', a scorer or the name of one; got 3"),
        (TabularClassifier(validation=1.5), [0, 1] * 30, "validation must be 'auto', a share of the rows"),
        (TabularClassifier(validation="all"), [0, 1] * 30, "validation must be 'auto', a share of the rows"),
        (TabularClassifier(validation=61), [0, 1] * 30, "at most the number of rows, 60, as folds; got 61"),
        (TabularClassifier(validation=(X, ["b"] * 60)), ["a", "c"] * 30, "validation must hold classes of y; got"),
        (TabularRegressor(validation=(X, np.ones((60, 2)))), np.ones(60), "as many outputs as y, 1; got 2"),
        (TabularClassifier(hidden_layer_sizes=()), [0, 1] * 30, "hidden_layer_sizes must be > 0"),
        (TabularClassifier(preset="slow"), [0, 1] * 30, "The 'preset' parameter of TabularClassifier must be"),
        (TabularClassifier(max_time=0), [0, 1] * 30, "The 'max_time' parameter"),
    ],
    ids=range(19),
)
def test_bad_input(estimator, y, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, y)
    assert not hasattr(estimator, "members_")


def test_a_class_of_one_row_is_told_and_learned():
    y = np.array(["a", "b"] * 29 + ["a", "c"])
    with pytest.warns(UserWarning, match="Class 'c' of y has a single row"):
        model = TabularClassifier(**SMALL).fit(X, y)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.predict_proba(X).shape == (60, 3)


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="sample_weight must hold no negative numbers"):
        TabularRegressor(**SMALL).fit(X, X[:, 0], sample_weight=np.full(60, -1.0))


def test_no_warnings_in_an_ordinary_fit(table):
    frame, y, _ = table
    train, test, y_train, _ = train_test_split(frame, y, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TabularClassifier(preset="fast", **SMALL).fit(train, y_train).predict(test)
