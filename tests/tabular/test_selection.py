"""Rows that validate, ties, greedy blends, presets, and how long a network trains: without any training."""

import math

import numpy as np
import pytest
from sklearn.model_selection import KFold

from fastmlp.tabular.metric import checked_scorer, class_score, number_score
from fastmlp.tabular.presets import NOISY, PRESETS, SMOOTH, Recipe, cycles_in, resolve, rows_per_step
from fastmlp.tabular.selection import FRACTION, MOST_ROWS, Score, best_of, checked_validation, greedy, splits_of
from fastmlp.tabular.training import cycle_ends


@pytest.mark.parametrize(
    ("scores", "expected"), [([1, 3, 3, 2], 2), ([2], 0), ([math.nan, 1, math.nan], 1), ([0, 0, 0], 2), ([5, 1], 0)]
)
def test_the_last_of_the_best(scores, expected):
    assert best_of(scores) == expected


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([(0.9, -0.2), (0.9, -0.1), (0.9, -0.3)], 1),
        ([(0.9, -0.2), (0.91, -5.0), (0.9, -0.1)], 1),
        ([(0.9, -0.2), (0.9, -0.2)], 1),
        ([(0.9, math.nan), (0.9, -9.0), (math.nan, 0.0)], 1),
    ],
)
def test_ties_of_a_metric_are_broken_by_how_close_predictions_are(scores, expected):
    assert best_of([Score(*score) for score in scores]) == expected


@pytest.mark.parametrize("scorer", [None, "balanced_accuracy"])
def test_log_loss_tells_equal_accuracies_apart(scorer):
    codes, classes = np.array([0, 1, 1]), np.array(["no", "yes"])
    score = class_score(checked_scorer(scorer or "auto"), codes, classes, None)
    sure, unsure = ([[1 - p, p] for p in (0.1, q, q)] for q in (0.9, 0.6))
    good, worse = score(np.array(sure)), score(np.array(unsure))
    assert good.value == worse.value == 1
    assert good.closeness == pytest.approx(np.log(0.9))
    assert good > worse
    assert np.isfinite(score(np.array([[1.0, 0.0]] * 3)).closeness)


def test_squares_tell_equal_scores_of_numbers_apart():
    y = np.array([[1.0], [2.0], [4.0]])
    score = number_score(checked_scorer("neg_max_error"), y, None)
    near, far = score(y + [[0], [0], [1]]), score(y + 1)
    assert near.value == far.value == -1
    assert near > far
    auto = number_score(None, y, None)(y + 1)
    assert auto.value == auto.closeness == far.closeness


def test_greedy_finds_the_mean_that_is_best():
    target = np.array([1.0, 2.0, 3.0])
    outputs = [target + 1, target - 1, target + 5]
    counts = greedy(outputs, lambda mean: -float(np.abs(mean - target).sum()), 6)
    assert counts[0] == counts[1] > 0
    assert counts[2] == 0


def test_greedy_takes_one_alone_where_none_helps():
    target = np.zeros(3)
    assert greedy([target, target + 1], lambda mean: -float(np.abs(mean).sum()), 4)[1] == 0


@pytest.mark.parametrize("n_rows", [40, 1000, 250_000])
def test_a_fifth_validates_but_not_too_many(n_rows):
    (split,) = splits_of("auto", n_rows, None, 0)
    assert len(split.validation) == round(min(FRACTION * n_rows, MOST_ROWS))
    assert len(np.union1d(*split)) == n_rows


def test_classes_are_in_both_parts_and_single_rows_are_trained_on():
    classes = np.array([0] * 50 + [1] * 8 + [2])
    (split,) = splits_of(0.25, len(classes), classes, 0)
    assert np.bincount(classes[split.validation]).tolist() == [12, 2]
    assert 58 in split.training


def test_folds_and_splitters():
    folds = splits_of(4, 20, np.arange(20) % 2, 0)
    assert sorted(np.concatenate([fold.validation for fold in folds])) == list(range(20))
    assert all((np.arange(20) % 2)[fold.validation].sum() in (2, 3) for fold in folds)
    splitter = KFold(2)
    for mine, theirs in zip(splits_of(splitter, 10, None, 0), splitter.split(np.empty((10, 1)))):
        np.testing.assert_array_equal(mine.validation, theirs[1])


@pytest.mark.parametrize("good", ["auto", None, 0.1, 2, KFold(), ([[1]], [1])])
def test_good_validation(good):
    assert checked_validation(good) is good


@pytest.mark.parametrize("bad", ["none", 0, 1, 0.0, 1.0, -3, True, (1, 2, 3), object()])
def test_bad_validation(bad):
    with pytest.raises(ValueError, match="validation must be"):
        checked_validation(bad)


# --- recipes ----------------------------------------------------------------------------------------------------------


def test_own_numbers_and_plain_labels():
    preset, recipes = resolve(
        "fast", classes=True, smooth_labels=False, changes={"max_epochs": 3, "dropout": None, "batch_size": 10}
    )
    assert preset is PRESETS["fast"]
    assert {(recipe.max_epochs, recipe.batch_size, recipe.label_smoothing) for recipe in recipes} == {(3, 10, 0.0)}
    assert recipes[0].dropout == NOISY.dropout


def test_recipes_that_become_equal_are_tried_once():
    same = {name: getattr(NOISY, name) for name in ("dropout", "weight_decay")}
    _, recipes = resolve("best", classes=True, smooth_labels=True, changes=same)
    assert len(recipes) == len(set(recipes)) < len(PRESETS["best"].classes)


@pytest.mark.parametrize(("n_rows", "expected"), [(1, 1), (20, 20), (300, 32), (1000, 64), (4096, 256), (10**6, 256)])
def test_small_tables_have_small_batches(n_rows, expected):
    assert rows_per_step(Recipe(), n_rows) == expected


@pytest.mark.parametrize(("epochs", "expected"), [(1, 1), (3, 2), (8, 3), (15, 4), (64, 4)])
def test_no_cycle_is_shorter_than_an_epoch(epochs, expected):
    assert cycles_in(Recipe(max_epochs=epochs)) == expected


def test_cycles_end_where_the_rate_is_zero():
    from fastmlp.schedules import Coslog, Progress

    for recipe in (NOISY, SMOOTH):
        ends = np.array(cycle_ends(recipe.max_epochs, recipe.cycles))
        assert ends[-1] == recipe.max_epochs
        shares = ends / recipe.max_epochs
        progress = Progress(epochs=ends, steps=ends, rows=ends, share=shares, planned=recipe.max_epochs)
        rates = Coslog(k=recipe.cycles).rate(1.0, progress)
        assert (rates < 0.1).all()
