"""TabularDisplay: curves of all networks tried, calibration, targets by predictions."""

import numpy as np
import pytest

from fastmlp import TabularClassifier, TabularRegressor
from fastmlp.tabular import TabularDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 2))
SMALL = {"hidden_layer_sizes": 8, "max_epochs": 4, "random_state": 0, "n_threads": 1}


def test_classes():
    model = TabularClassifier(preset="fast", **SMALL).fit(X, X[:, 0] > 0)
    display = TabularDisplay.from_estimator(model)
    curve = display.ax_.lines[0].get_ydata()
    np.testing.assert_array_equal(curve, model.history_[0]["validation_score"])
    probabilities, shares = display.calibration()
    assert (np.diff(probabilities) >= 0).all()
    assert np.mean(shares) == pytest.approx(np.mean(model.validation_targets_ == 1), abs=0.05)
    np.testing.assert_array_equal(display.second_ax_.lines[1].get_xdata(), probabilities)


def test_no_two_curves_look_alike():
    from matplotlib import pyplot

    targets = np.array([0.0, 1.0])
    display = TabularDisplay([(f"net {n}", [0.1 * n, 1.0]) for n in range(14)], targets, targets, 1).plot()
    curves = display.ax_.lines[:14]
    assert len({(curve.get_color(), curve.get_linestyle()) for curve in curves}) == 14
    pyplot.close(display.figure_)


def test_perfect_calibration_lies_on_the_diagonal():
    p = RNG.random(200_000)
    targets = (RNG.random(200_000) < p).astype(int)
    probabilities, shares = TabularDisplay([], targets, np.column_stack([1 - p, p]), 1).calibration()
    np.testing.assert_allclose(shares, probabilities, atol=0.01)


def test_numbers_on_axes_of_ones_own():
    from matplotlib import pyplot

    model = TabularRegressor(preset="fast", **SMALL).fit(X, X[:, 0])
    figure, axes = pyplot.subplots(1, 2)
    display = TabularDisplay.from_estimator(model, axes)
    assert display.figure_ is figure
    offsets = axes[1].collections[0].get_offsets()
    np.testing.assert_allclose(offsets[:, 1], model.validation_targets_.ravel())
    pyplot.close(figure)


def test_a_model_without_validation_rows_is_refused():
    model = TabularRegressor(validation=None, **SMALL).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="estimator must have had validation rows"):
        TabularDisplay.from_estimator(model)
