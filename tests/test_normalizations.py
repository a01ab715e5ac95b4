"""Normalizations: the formulas, and weights into which batch normalization is folded."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastmlp import MLPClassifier
from fastmlp.normalizations import NORMALIZATIONS, BatchNormalization, LayerNormalization, code_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(("name", "axis"), [("batch", 0), ("layer", 1)])
def test_mean_zero_and_variance_one(name, axis):
    z = np.random.default_rng(0).normal(3, 5, (40, 30))
    x, mean, variance = NORMALIZATIONS.resolve(name).formula(z)
    np.testing.assert_allclose(x.mean(axis=axis), 0, atol=1e-12)
    np.testing.assert_allclose(x.var(axis=axis), 1, rtol=1e-5)
    np.testing.assert_allclose(mean.ravel(), z.mean(axis=axis))
    np.testing.assert_allclose(variance.ravel(), z.var(axis=axis))


def test_codes():
    assert [code_of(None), code_of(BatchNormalization()), code_of(LayerNormalization())] == [0, 1, 2]


@pytest.mark.parametrize(
    ("component", "numbers", "message"),
    [
        (BatchNormalization, {"momentum": 0}, r"momentum of BatchNormalization must be a number in \(0, 1\]; got 0\."),
        (BatchNormalization, {"epsilon": -1}, r"epsilon of BatchNormalization must be .* got -1\."),
        (LayerNormalization, {"epsilon": 0}, r"epsilon of LayerNormalization must be .* got 0\."),
    ],
)
def test_bad_numbers_are_told(component, numbers, message):
    with pytest.raises(ValueError, match=message):
        component(**numbers)


def test_folding_is_the_definition():
    rng = np.random.default_rng(0)
    A, W, b = rng.normal(size=(6, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    gain, shift, mean = rng.normal(size=(3, 3))
    variance = rng.uniform(0.5, 2, 3)
    component = BatchNormalization(epsilon=1e-3)
    folded, intercept = component.fold(W, b, np.array([np.zeros(3), gain, shift, mean, variance]))
    z = A @ W + b
    expected = gain * (z - mean) / np.sqrt(variance + 1e-3) + shift
    np.testing.assert_allclose(A @ folded + intercept, expected)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_estimators_predict_as_they_validate(normalization):
    """What training sees of the validation rows is what the fitted model predicts for them."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:600] / 16, y[:600]
    model = MLPClassifier((20, 15), normalization=normalization, max_iter=4, random_state=0, activation="prelu")
    model.fit(X, y, X_val=X[:100], y_val=y[:100])
    loss = -np.log(model.predict_proba(X[:100])[np.arange(100), y[:100]]).mean()
    assert loss == pytest.approx(model.validation_loss_curve_[-1], rel=1e-9)


def test_training_goes_on_from_unfolded_weights():
    """One fit of six epochs and one of three with three more by warm start: no unit forgets its statistics."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:600] / 16, y[:600]
    model = MLPClassifier((20,), normalization="batch", solver="momentum", max_iter=3, random_state=0, shuffle=False)
    losses = model.fit(X, y).loss_curve_
    model.set_params(warm_start=True).fit(X, y)
    assert model.loss_curve_[3] < losses[2]
