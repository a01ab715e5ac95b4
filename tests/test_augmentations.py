"""Augmentations: what they do to rows and targets, and that nobody else's arrays change."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.augmentations import AUGMENTATIONS, GaussianNoise, Mixup, Shift

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def images():
    """Two hundred digits of 8 x 8 pixels and their one-hot targets, float32."""
    X, y = load_digits(return_X_y=True)
    return (X[:200] / 16).astype(np.float32), np.eye(10, dtype=np.float32)[y[:200]]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_word_keeps_shapes_dtypes_and_inputs(name, images):
    X, targets = images
    before = X.copy(), targets.copy()
    new = AUGMENTATIONS.resolve(name).apply(X, targets, np.random.RandomState(0))
    again = AUGMENTATIONS.resolve(name).apply(X, targets, np.random.RandomState(0))
    for array, original, old, second in zip(new, images, before, again):
        assert (array.shape, array.dtype) == (original.shape, original.dtype)
        np.testing.assert_array_equal(original, old)
        np.testing.assert_array_equal(array, second)
    assert not np.array_equal(new[0], X)
    assert AUGMENTATIONS.resolve(name).mixes_targets == (not np.array_equal(new[1], targets))


def test_noise_has_the_standard_deviation_that_was_asked_for(images):
    X, targets = images
    noise = GaussianNoise(std=0.5).apply(X, targets, np.random.RandomState(0))[0] - X
    assert abs(noise.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * noise.size)
    assert abs(noise.mean()) < 5 * 0.5 / np.sqrt(noise.size)


def test_mixup_mixes_rows_and_targets_by_the_same_share():
    targets = np.arange(6.0).reshape(-1, 1)
    X = np.hstack([targets, 2 * targets])
    mixed, mixed_targets = Mixup(alpha=1.0).apply(X, targets, np.random.RandomState(0))
    np.testing.assert_allclose(mixed, np.hstack([mixed_targets, 2 * mixed_targets]))
    assert not np.isin(mixed_targets, targets).all()


def test_shares_of_mixup_are_beta_distributed():
    X = np.array([[0.0], [1.0]] * 4000)
    random_state = np.random.RandomState(0)
    mixed = Mixup(alpha=0.5).apply(X, X, random_state)[0]
    between = mixed[(mixed > 0) & (mixed < 1)]
    assert abs(between.mean() - 0.5) < 0.03
    assert abs(between.var() - 0.125) < 0.01  # Beta(1/2, 1/2): 1 / (4 (2 alpha + 1))


def test_shift_moves_whole_images_with_zeros_at_the_edges():
    image = np.arange(1.0, 13).reshape(3, 4)
    X = np.repeat(image.reshape(1, -1), 400, axis=0)
    moved = Shift(pixels=1, shape=(3, 4)).apply(X, X, np.random.RandomState(0))[0].reshape(-1, 3, 4)
    padded = np.pad(image, 1)
    expected = {padded[i : i + 3, j : j + 4].tobytes() for i in range(3) for j in range(3)}
    found, counts = np.unique(moved.reshape(400, -1), axis=0, return_counts=True)
    assert {row.tobytes() for row in found} == expected
    assert counts.min() > 400 / 9 - 5 * np.sqrt(400 / 9)


def test_a_shift_beyond_the_edge_leaves_zeros():
    X = np.ones((50, 4))
    moved = Shift(pixels=3).apply(X, X, np.random.RandomState(0))[0]
    assert set(moved.sum(axis=1)) <= {0.0, 1.0, 2.0, 4.0}
    assert (moved.sum(axis=1) == 0).any()


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"shape of Shift must be \(height, width\) .* 64 pixels .*; got \(3, 3\)\."):
        MLPClassifier(augmentation=Shift(shape=(3, 3))).fit(np.ones((10, 64)), np.arange(10) % 2)


@pytest.mark.parametrize("component", [GaussianNoise, Mixup, Shift])
def test_bad_numbers_are_told(component):
    field = next(iter(component.__dataclass_fields__))
    with pytest.raises(ValueError, match=rf"{field} of {component.__name__} must be a (whole )?number in .*; got -1\."):
        component(-1)


def test_no_noise_changes_nothing(images):
    """Random components draw after the weights, and only when they are switched on."""
    X, targets = images
    y = targets.argmax(axis=1)
    plain, noisy = (
        MLPClassifier((8,), max_iter=2, shuffle=False, random_state=0, augmentation=component).fit(X, y)
        for component in (None, GaussianNoise(std=0.0))
    )
    for ours, theirs in zip(plain.coefs_, noisy.coefs_):
        np.testing.assert_array_equal(ours, theirs)


def test_validation_rows_and_the_users_arrays_stay(images):
    X, targets = images
    y = targets.argmax(axis=1)
    X.flags.writeable = False
    before = X.copy()
    model = MLPClassifier(
        (8,), max_iter=3, random_state=0, augmentation=["gaussian_noise", Mixup(), Shift()], early_stopping=True
    ).fit(X, y)
    np.testing.assert_array_equal(X, before)
    assert len(model.validation_loss_curve_) == 3
    split = MLPClassifier((8,), max_iter=3, random_state=0, early_stopping=True).fit(X, y)
    assert model.validation_loss_curve_ != split.validation_loss_curve_


@pytest.mark.parametrize("n_threads", [1, 2])
def test_mixup_of_every_kind_of_target(n_threads, images):
    X, targets = images
    y = targets.argmax(axis=1)
    common = {"augmentation": "mixup", "max_iter": 60, "batch_size": 20, "random_state": 0, "n_threads": n_threads}
    assert MLPClassifier((30,), **common).fit(X, y).score(X, y) > 0.8
    assert MLPClassifier((30,), **common).fit(X, y % 2).score(X, y % 2) > 0.7
    assert MLPClassifier((30,), **common).fit(X, targets.astype(int)).n_outputs_ == 10
    assert MLPRegressor(hidden_layer_sizes=30, **common).fit(X, y / 9).score(X, y / 9) > 0.2
