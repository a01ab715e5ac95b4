"""Augmentation: training rows changed at random before each epoch, so that a network sees none of them twice.

It works on whole arrays in NumPy, beside the kernels: a pass over the data for each epoch. Only the rows to train on
are changed; rows to validate on stay as they are, and so do the user's arrays.
"""

import math

import numpy as np

from .components import Component, Registry, check_number

__all__ = ["AUGMENTATIONS", "Augmentation", "GaussianNoise", "Mixup", "Shift"]

AUGMENTATIONS: "Registry[Augmentation]" = Registry(
    "augmentation", {"noise": "gaussian_noise", "gaussian": "gaussian_noise", "translate": "shift"}
)


class Augmentation(Component):
    """What all augmentations have.

    Attributes
    ----------
    mixes_targets : whether targets change too
    """

    mixes_targets = False

    def check(self, n_features: int) -> None:
        """Raise a ValueError if rows of that many features do not fit."""

    def apply(
        self, X: np.ndarray, targets: np.ndarray, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Changed copies of X (n_rows, n_features) and of the targets (n_rows, n_outputs), in their dtypes."""
        raise NotImplementedError


@AUGMENTATIONS.add("gaussian_noise")
class GaussianNoise(Augmentation):
    """Noise added to each number of X: x + std n, n ~ N(0, 1).

    Parameters
    ----------
    std : float >= 0, default=0.1
        Standard deviation of the noise, in units of X.

    Notes
    -----
    Source: C. Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7 (1995).
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        check_number(self, "std", at_least=0)

    def apply(
        self, X: np.ndarray, targets: np.ndarray, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        return X + (self.std * random_state.standard_normal(X.shape)).astype(X.dtype), targets


@AUGMENTATIONS.add("mixup")
class Mixup(Augmentation):
    """Weighted means of pairs of rows, and of their targets.

    Parameters
    ----------
    alpha : float > 0, default=0.2
        Of the distribution of the weights. With small numbers most rows hardly change.

    Notes
    -----
    λ x_i + (1 - λ) x_j has the target λ t_i + (1 - λ) t_j, with λ ~ Beta(alpha, alpha) for each row i; the rows j are
    a permutation of the rows i.

    Source: H. Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, section 2.
    """

    alpha: float = 0.2
    mixes_targets = True

    def __post_init__(self) -> None:
        check_number(self, "alpha", above=0)

    def apply(
        self, X: np.ndarray, targets: np.ndarray, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        share = random_state.beta(self.alpha, self.alpha, (len(X), 1)).astype(X.dtype)
        partner = random_state.permutation(len(X))
        return X[partner] + share * (X - X[partner]), targets[partner] + share * (targets - targets[partner])


@AUGMENTATIONS.add("shift")
class Shift(Augmentation):
    """Each image moved up or down and left or right by a random number of pixels; zeros come in at the edges.

    Parameters
    ----------
    pixels : int >= 0, default=1
        Greatest move in each direction; all moves are equally probable.
    shape : (height, width) or None, default=None
        Of the image that each row is; None for a square.

    Notes
    -----
    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
    1998, section III.B (distortions).
    """

    pixels: int = 1
    shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_number(self, "pixels", at_least=0, whole=True)
        shape = self.shape
        if shape is not None:
            if np.shape(shape) != (2,) or not all(size == int(size) > 0 for size in shape):
                raise ValueError(f"shape of Shift must be (height, width) or None; got {shape!r}.")
            object.__setattr__(self, "shape", tuple(map(int, shape)))

    def check(self, n_features: int) -> None:
        height, width = self._shape(n_features)
        if height * width != n_features:
            raise ValueError(
                f"shape of Shift must be (height, width) of images with the {n_features} pixels that X has columns; "
                f"got {self.shape}."
            )

    def _shape(self, n_features: int) -> tuple[int, int]:
        return self.shape or (math.isqrt(n_features),) * 2

    def apply(
        self, X: np.ndarray, targets: np.ndarray, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        height, width = self._shape(X.shape[1])
        images, moved = X.reshape(-1, height, width), np.zeros((len(X), height, width), X.dtype)
        steps = random_state.randint(-self.pixels, self.pixels + 1, (len(X), 2))
        for down, right in np.unique(steps, axis=0):
            rows = (steps == (down, right)).all(axis=1)
            source, target = _overlap(down, height, right, width)
            (to_down, to_right), (from_down, from_right) = target, source
            moved[rows, to_down, to_right] = images[rows, from_down, from_right]
        return moved.reshape(X.shape), targets


def _overlap(down: int, height: int, right: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the pixels that stay in the image, before and after the move."""

    def pair(step: int, size: int) -> tuple[slice, slice]:
        return slice(max(0, -step), max(0, size - max(0, step))), slice(max(0, step), max(0, size + min(0, step)))

    (above, below), (left, beside) = pair(down, height), pair(right, width)
    return (above, left), (below, beside)
