"""Displays: what is drawn is what was measured, on whose axes, and how missing parts are told."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from fastmlp import MLPClassifier
from fastmlp.inspection import activations, gradient_norms, optimizer_path
from fastmlp.optimizers import Momentum
from fastmlp.plotting import (
    ActivationHistogramDisplay,
    GradientNormDisplay,
    LossCurveDisplay,
    PathDisplay,
    WeightImageDisplay,
)
from fastmlp.reference import Reference

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def without_windows():
    """Figures stay in memory and are closed."""
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")


@pytest.fixture(scope="module")
def data():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


@pytest.fixture(scope="module")
def model(data):
    X, y = data
    return MLPClassifier((30, 12), max_iter=6, random_state=0, metrics="accuracy").fit(
        X[:300], y[:300], X_val=X[300:], y_val=y[300:]
    )


def valley(p):
    return p[0] ** 2 / 20 + p[1] ** 2


def all_displays(model, data, ax=None):
    """One of each kind."""
    yield LossCurveDisplay.from_estimator(model, ax=ax)
    yield ActivationHistogramDisplay.from_estimator(model, data[0], ax=ax)
    yield GradientNormDisplay(np.geomspace(1, 1e-6, 20).reshape(5, 4)).plot(ax)
    yield WeightImageDisplay.from_estimator(model, ax=ax)
    yield PathDisplay.from_function(valley, (-7, 2), {"adam": 0.3, "adagrad": 1.5}, ax=ax)


def test_displays_draw_on_axes_of_their_own(model, data):
    displays = [*all_displays(model, data)]
    assert len({id(display.figure_) for display in displays}) == len(displays)
    for display in displays:
        display.figure_.canvas.draw()
        assert display.ax_.figure is display.figure_
        if not isinstance(display, WeightImageDisplay):
            assert display.ax_.get_xlabel()
            assert display.ax_.get_ylabel()


def test_displays_draw_on_given_axes(model, data):
    figure, axes = matplotlib.pyplot.subplots(1, 2)
    for display in all_displays(model, data, axes[1]):
        assert display.ax_ is axes[1]
        assert display.figure_ is figure
        assert display.plot() is display
        assert display.ax_ is not axes[1]
        axes[1].clear()
    assert not axes[0].has_data()


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_loss_curves_are_the_history(model):
    training, validation = LossCurveDisplay.from_estimator(model).ax_.get_lines()
    np.testing.assert_array_equal(training.get_xdata(), np.arange(1, 7))
    np.testing.assert_array_equal(training.get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(validation.get_ydata(), model.validation_loss_curve_)
    assert [training.get_label(), validation.get_label()] == ["training", "validation"]


def test_other_measures_and_single_curves(model):
    display = LossCurveDisplay.from_estimator(model, "accuracy")
    np.testing.assert_array_equal(display.curves["validation"], model.history_["val_accuracy"])
    assert display.ax_.get_ylabel() == "accuracy"
    display = LossCurveDisplay.from_estimator(model, "learning_rate")
    assert [*display.curves] == ["training"]
    assert display.ax_.get_legend() is None
    assert display.ax_.get_ylabel() == "learning rate"


def test_ticks_are_whole_epochs_and_the_legend_hides_no_curve(model):
    for n_epochs in (1, 2, 3, 7, 200):
        curve = np.linspace(1, 0.5, n_epochs)
        display = LossCurveDisplay({"training": curve, "validation": curve}).plot()
        display.figure_.draw_without_rendering()
        low, high = display.ax_.get_xlim()
        ticks = [tick for tick in display.ax_.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == int(tick) for tick in ticks)
        assert display.ax_.get_legend().get_window_extent().x0 >= display.ax_.get_window_extent().x1
        first, second = display.ax_.get_lines()
        assert first.get_linestyle() != second.get_linestyle()  # they coincide


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (make_pipeline(MLPClassifier()), TypeError, "got Pipeline. Pass its last step"),
        (MLPClassifier(), NotFittedError, "This MLPClassifier instance is not fitted yet"),
    ],
)
def test_what_has_no_curves_is_refused(estimator, error, message):
    with pytest.raises(error, match=message):
        LossCurveDisplay.from_estimator(estimator)
    with pytest.raises(error, match=message):
        WeightImageDisplay.from_estimator(estimator)
    with pytest.raises(error, match=message):
        ActivationHistogramDisplay.from_estimator(estimator, np.zeros((2, 3)))


def test_curves_need_a_history(model, data):
    with pytest.raises(ValueError, match=r"^measure must be one of \['loss', .*; got 'f1'\. It is recorded where"):
        LossCurveDisplay.from_estimator(model, "f1")
    with pytest.raises(ValueError, match=r"^measure must be one of \[\], what history_"):
        LossCurveDisplay.from_estimator(MLPClassifier(solver="lbfgs", max_iter=2).fit(*data))


def test_histograms_count_all_outputs_but_zeros(model, data):
    display = ActivationHistogramDisplay.from_estimator(model, data[0], limits=(-1, 1000), bins=7)
    outputs = [activations(model, data[0], layer) for layer in (1, 2)]
    assert [counts.sum() for counts in display.counts] == [(A > 0).sum() for A in outputs]
    partition = [f"{layer} relu, {(A == 0).mean():.0%} zeros" for layer, A in enumerate(outputs, 1)]
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == partition
    tallest = [patch.get_data().values.max() for patch in display.ax_.patches]
    np.testing.assert_allclose(tallest, [0.85, 1.85])


def test_histograms_cover_the_outputs(data):
    model = MLPClassifier((20,), activation="tanh", max_iter=2, random_state=0).fit(*data)
    display = ActivationHistogramDisplay.from_estimator(model, data[0])
    assert display.counts[0].sum() >= 0.99 * activations(model, data[0], 1).size
    assert display.names == ["1 tanh"]


def test_histograms_of_constant_outputs():
    """Weights of zero: every output of a logistic unit is 1/2, every one of tanh is 0."""
    for activation in ("logistic", "tanh"):
        zeros = [np.zeros((3, 3))] * 3, [np.zeros(3)] * 3
        model = Reference(*zeros, activation=activation, loss="log_loss", optimizer="gradient_descent")
        display = ActivationHistogramDisplay.from_estimator(model, np.ones((5, 3)))
        assert [counts.sum() for counts in display.counts] == ([15, 15] if activation == "logistic" else [0, 0])


def test_histograms_need_a_hidden_layer(data):
    model = MLPClassifier((), max_iter=1, random_state=0).fit(*data)
    with pytest.raises(ValueError, match=r"^model must have a hidden layer; got a network of none\.$"):
        ActivationHistogramDisplay.from_estimator(model, data[0])


def test_norms_are_those_of_a_fit(data):
    estimator = MLPClassifier((6, 5), max_iter=3, random_state=0)
    display = GradientNormDisplay.from_estimator(estimator, *data, X_val=data[0], y_val=data[1])
    np.testing.assert_array_equal(display.norms, gradient_norms(estimator, *data))
    lines = display.ax_.get_lines()
    np.testing.assert_array_equal(np.transpose([line.get_ydata() for line in lines]), display.norms)
    assert [line.get_label() for line in lines] == ["1", "2", "3"]
    assert display.ax_.get_yscale() == "log"


def test_weight_images_are_the_largest_coefficients(model):
    display = WeightImageDisplay.from_estimator(model, units=5)
    assert display.images.shape == (5, 8, 8)
    norms = np.linalg.norm(display.images, axis=(1, 2))
    np.testing.assert_allclose(norms, np.sort(np.linalg.norm(model.coefs_[0], axis=0))[::-1][:5])
    (drawn,) = display.ax_.get_images()
    mosaic = drawn.get_array()
    assert np.isfinite(mosaic).sum() == 5 * 64
    np.testing.assert_array_equal(mosaic[:8, :8], display.images[0])
    assert drawn.norm.vmax == -drawn.norm.vmin == abs(display.images).max()


def test_weight_images_of_chosen_units_and_shape(model):
    images = WeightImageDisplay.from_estimator(model, units=[3, 1], shape=(4, 16)).images
    np.testing.assert_array_equal(images, model.coefs_[0].T[[3, 1]].reshape(2, 4, 16))
    with pytest.raises(ValueError, match=r"^shape must be \(height, width\) of the 64 inputs; got \(5, 5\)\.$"):
        WeightImageDisplay.from_estimator(model, shape=(5, 5))
    zeros = [np.zeros((3, 2)), np.zeros((2, 1))], [np.zeros(2), np.zeros(1)]
    flat = Reference(*zeros, activation="relu", loss="squared_error", optimizer="gradient_descent")
    with pytest.raises(ValueError, match=r"of the 3 inputs; got None, a square\.$"):
        WeightImageDisplay.from_estimator(flat)
    WeightImageDisplay.from_estimator(flat, shape=(1, 3)).figure_.canvas.draw()


def test_paths_are_those_of_the_optimizers():
    display = PathDisplay.from_function(valley, (-7, 2), {"adam": 0.3, Momentum(momentum=0.5): 0.1}, n_steps=9)
    expected = optimizer_path(valley, (-7, 2), "adam", learning_rate=0.3, n_steps=9)
    adam, momentum, start = display.ax_.get_lines()
    np.testing.assert_array_equal(adam.get_xydata(), expected)
    labels = [line.get_label() for line in (adam, momentum, start)]
    assert labels == ["adam, rate 0.3", "momentum, momentum 0.5, rate 0.1", "start"]
    for line in (adam, momentum):
        assert (line.get_xydata() >= [low for low, _ in display.limits]).all()
        assert (line.get_xydata() <= [high for _, high in display.limits]).all()


def test_a_path_that_diverges_is_drawn_as_far_as_it_goes():
    display = PathDisplay({"far": np.array([[0, 0], [1, 2], [np.inf, np.nan]])}, valley).plot()
    np.testing.assert_allclose(display.limits, [(-0.1, 1.1), (-0.2, 2.2)])
    display.figure_.canvas.draw()


def test_there_are_colours_for_any_number_of_things():
    display = PathDisplay.from_function(valley, (-7, 2), {Momentum(momentum=n / 10): 0.1 for n in range(10)})
    looks = {(line.get_color(), line.get_marker()) for line in display.ax_.get_lines()}
    assert len(looks) == 11
    assert len(LossCurveDisplay({str(n): [1.0, n] for n in range(9)}).plot().ax_.get_lines()) == 9


def test_paths_within_given_limits():
    display = PathDisplay.from_function(valley, (-7, 2), {"adam": 0.3}, limits=((-8, 8), (-4, 4)))
    assert display.ax_.get_xlim() == (-8, 8)
    assert display.ax_.get_ylim() == (-4, 4)


# --- matplotlib -------------------------------------------------------------------------------------------------------


def test_matplotlib_is_loaded_by_plot_only():
    code = "import sys, fastmlp.plotting; print('matplotlib' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_a_missing_matplotlib_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'^fastmlp\.plotting needs matplotlib; install it with pip install "fastmlp'):
        LossCurveDisplay({"training": [1.0]}).plot()
