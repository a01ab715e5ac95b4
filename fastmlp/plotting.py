"""Pictures of a training and of what is inside a network, in the style of scikit-learn's displays.

A display holds what it draws, as plain arrays, and ``plot(ax=)`` draws it, on axes of one's own where a figure has
several. ``from_estimator`` (or ``from_function``) makes the data and draws at once; ``figure_`` and ``ax_`` are what
was drawn on, to be refined by matplotlib's own means. Needs ``pip install "fastmlp[plot]"``.

>>> from fastmlp.plotting import LossCurveDisplay
>>> LossCurveDisplay({"training": [0.7, 0.5, 0.4]}).plot().figure_.savefig("curve.png")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from math import ceil, isqrt, sqrt
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .inspection import Estimator, Model, forward, gradient_norms, names_of, optimizer_path, reference_of
from .inspection.models import check_fitted
from .optimizers import OPTIMIZERS, Optimizer

__all__ = [
    "ActivationHistogramDisplay",
    "Display",
    "GradientNormDisplay",
    "LossCurveDisplay",
    "PathDisplay",
    "WeightImageDisplay",
]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

D = TypeVar("D", bound="Display")

# Colours that all kinds of colour vision tell apart. Source: M. Okabe and K. Ito, "Color universal design" (2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"
DASHES = ("-", (0, (4, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)))  # curves that coincide show through each other
GREY = "#808080"
INCHES = (6.4, 4.0)


class Display:
    """What all displays share: axes to draw on.

    Attributes
    ----------
    ax_, figure_ : the axes drawn on and their figure, after `plot`
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def plot(self: D, ax: Axes | None = None) -> D:
        """Draw.

        Parameters
        ----------
        ax : matplotlib axes or None
            None for axes of a new figure.

        Returns
        -------
        self : object

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                'fastmlp.plotting needs matplotlib; install it with pip install "fastmlp[plot]".'
            ) from error
        self.ax_ = pyplot.subplots(figsize=INCHES, layout="constrained")[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        self.ax_.spines[["top", "right"]].set_visible(False)
        self._draw(self.ax_)
        return self

    def _draw(self, ax: Axes) -> None:
        raise NotImplementedError


def shades(count: int) -> list[Any]:
    """Colours of things in an order, from dark to light, none too light to be seen on white."""
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0, 0.85, count)))


def name_epochs(ax: Axes) -> None:
    """Label a horizontal axis of epochs, with ticks at integers."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def legend_beside(ax: Axes, **options: Any) -> None:
    """A legend to the right of the axes, where it hides no curve."""
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, **options)


class LossCurveDisplay(Display):
    """The loss after each epoch, of training and validation.

    Parameters
    ----------
    curves : mapping of names to sequences of float, one number for each epoch, NaN where there is none
    label : str, default="loss"
        Of the vertical axis.
    """

    def __init__(self, curves: Mapping[str, Sequence[float]], label: str = "loss") -> None:
        self.curves = {name: np.asarray(curve, float) for name, curve in curves.items()}
        self.label = label

    @classmethod
    def from_estimator(cls, estimator: Estimator, measure: str = "loss", *, ax: Axes | None = None) -> LossCurveDisplay:
        """Draw what ``history_`` has of a measure.

        Parameters
        ----------
        estimator : fitted by epochs
        measure : "loss", "learning_rate", "seconds" or one of the estimator's ``metrics``
            Beside it, what it is on validation data, if there were any.
        ax : matplotlib axes or None

        Raises
        ------
        ValueError
            If the estimator has no such history.
        TypeError, NotFittedError
            If it is something else, such as a pipeline, or not fitted.
        """
        check_fitted(estimator)
        history = getattr(estimator, "history_", {})
        if measure not in history:
            raise ValueError(
                f"measure must be one of {[*history]}, what history_ of the estimator has; got {measure!r}. "
                "It is recorded where training has epochs, not by L-BFGS."
            )
        sides = {"training": measure, "validation": f"val_{measure}"}
        curves = {side: history[name] for side, name in sides.items() if name in history}
        return cls(curves, measure.replace("_", " ")).plot(ax)

    def _draw(self, ax: Axes) -> None:
        for (name, curve), colour, dashes in zip(self.curves.items(), cycle(COLOURS), cycle(DASHES)):
            epochs = np.arange(1, len(curve) + 1)
            marker = "." if len(curve) == 1 else None
            ax.plot(epochs, curve, color=colour, linestyle=dashes, label=name, marker=marker)
        ax.set_ylabel(self.label)
        name_epochs(ax)
        if len(self.curves) > 1:
            legend_beside(ax)


class ActivationHistogramDisplay(Display):
    """How the outputs of each layer are distributed: a histogram for each, one above the other.

    Each is drawn as high as its highest bar, so that their shapes can be compared. Outputs that are 0, as many of a
    relu are, are told beside the name instead: their bar would outgrow all others.

    Parameters
    ----------
    counts : sequence of ndarrays of shape (n_bins,), from the first layer to the last
    edges : ndarray of shape (n_bins + 1,)
    names : sequence of str, one for each layer
    """

    def __init__(self, counts: Sequence[np.ndarray], edges: np.ndarray, names: Sequence[str]) -> None:
        self.counts, self.edges, self.names = counts, edges, names

    @classmethod
    def from_estimator(
        cls,
        model: Model,
        X: Any,
        *,
        bins: int = 60,
        limits: tuple[float, float] | None = None,
        ax: Axes | None = None,
    ) -> ActivationHistogramDisplay:
        """Draw the outputs of the hidden layers for the rows X.

        Parameters
        ----------
        model : fitted estimator, Network or Reference
        X : {array-like, sparse CSR or CSC} of shape (n_rows, n_features)
        bins : int, default=60
        limits : (float, float) or None
            What the bins cover; None for all but the outermost thousandth of the outputs of any layer, at either end.
        ax : matplotlib axes or None

        Raises
        ------
        ValueError
            If the model has no hidden layer.
        """
        reference, (_, *outputs, _) = forward(model, X)
        if not outputs:
            raise ValueError("model must have a hidden layer; got a network of none.")
        names = names_of(reference)[1:-1]
        if limits is None:
            ends = np.array([np.quantile(A, (0.001, 0.999)) for A in outputs])
            limits = ends[:, 0].min(), ends[:, 1].max()
        edges = np.histogram_bin_edges([], bins, limits)
        counts = [np.histogram(A[A != 0], edges)[0] for A in outputs]
        zeros = [f", {(A == 0).mean():.0%} zeros" if (A == 0).any() else "" for A in outputs]
        return cls(counts, edges, [f"{n} {name}{rest}" for n, (name, rest) in enumerate(zip(names, zeros), 1)]).plot(ax)

    def _draw(self, ax: Axes) -> None:
        for level, (counts, colour) in enumerate(zip(self.counts, shades(len(self.counts)))):
            heights = 0.85 * counts / max(1, counts.max())
            ax.stairs(level + heights, self.edges, baseline=level, fill=True, color=colour)
            ax.axhline(level, color=GREY, linewidth=0.5)
        ax.set(xlabel="output", ylabel="layer", ylim=(0, len(self.counts)), xlim=(self.edges[0], self.edges[-1]))
        ax.set_yticks(np.arange(len(self.names)) + 0.3, self.names)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)


class GradientNormDisplay(Display):
    """The norm of the gradient by the coefficients of each layer, epoch by epoch.

    Parameters
    ----------
    norms : array-like of shape (n_epochs, n_layers)
    """

    def __init__(self, norms: Any) -> None:
        self.norms = np.asarray(norms, float)

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, X: Any, y: Any, *, ax: Axes | None = None, **fit_parameters: Any
    ) -> GradientNormDisplay:
        """Train a clone of the estimator, as scikit-learn's learning curves do, and draw; see `gradient_norms`."""
        return cls(gradient_norms(estimator, X, y, **fit_parameters)).plot(ax)

    def _draw(self, ax: Axes) -> None:
        n_epochs, n_layers = self.norms.shape
        marker = "." if n_epochs == 1 else None
        for layer, (colour, dashes) in enumerate(zip(shades(n_layers), cycle(DASHES))):
            epochs = np.arange(1, n_epochs + 1)
            ax.plot(epochs, self.norms[:, layer], color=colour, linestyle=dashes, label=layer + 1, marker=marker)
        ax.set(ylabel="norm of the gradient", yscale="log")
        name_epochs(ax)
        legend_beside(ax, title="layer", reverse=True)


class WeightImageDisplay(Display):
    """The coefficients into the first hidden units, each unit's as an image.

    Parameters
    ----------
    images : ndarray of shape (n_units, height, width)
    """

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    @classmethod
    def from_estimator(
        cls,
        model: Model,
        *,
        shape: tuple[int, int] | None = None,
        units: int | Sequence[int] = 24,
        ax: Axes | None = None,
    ) -> WeightImageDisplay:
        """Draw the coefficients of the first layer.

        Parameters
        ----------
        model : fitted estimator, Network or Reference
        shape : (height, width) or None
            Of the inputs as an image; None for a square.
        units : int or sequence of int, default=24
            How many units, those of the largest coefficients; or which.
        ax : matplotlib axes or None

        Raises
        ------
        ValueError
            If the inputs have not that shape.
        """
        W = reference_of(model).weights()[0][0]
        side = isqrt(len(W))
        height, width = (side, side) if shape is None else shape
        if height * width != len(W):
            given = "None, a square" if shape is None else shape
            raise ValueError(f"shape must be (height, width) of the {len(W)} inputs; got {given}.")
        if isinstance(units, Integral):
            units = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:units].tolist()
        return cls(W.T[units].reshape(-1, height, width)).plot(ax)

    def _draw(self, ax: Axes) -> None:
        count, height, width = self.images.shape
        columns = ceil(sqrt(1.5 * count * height / width))
        rows = ceil(count / columns)
        gap = max(1, min(height, width) // 10)
        mosaic = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
        for place, image in enumerate(self.images):
            top, left = place // columns * (height + gap), place % columns * (width + gap)
            mosaic[top : top + height, left : left + width] = image
        limit = abs(self.images).max()
        drawn = ax.imshow(mosaic, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set_axis_off()
        self.figure_.colorbar(drawn, ax=ax, label="coefficient", shrink=0.8)


def title(component: Optimizer, rate: float) -> str:
    """An optimizer's name, those of its numbers that are not the default ones, and its learning rate."""
    defaults = type(component)().get_params()
    own = [f"{name} {value:g}" for name, value in component.get_params().items() if value != defaults[name]]
    return ", ".join([component.name.replace("_", " "), *own, f"rate {rate:g}"])


class PathDisplay(Display):
    """The paths of optimizers on the contour lines of a function of two variables.

    Parameters
    ----------
    paths : mapping of names to ndarrays of shape (n_steps + 1, 2)
    f : callable
        From an array (2, ...) to an array (...), whose contour lines are drawn.
    limits : ((float, float), (float, float)) or None
        Of both variables; None for what the paths need.
    """

    def __init__(
        self,
        paths: Mapping[str, np.ndarray],
        f: Callable[[np.ndarray], Any],
        limits: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        self.paths, self.f = paths, f
        points = np.concatenate([*paths.values()])
        points = points[np.isfinite(points).all(axis=1)]
        low, high = points.min(axis=0), points.max(axis=0)
        margin = np.maximum(0.1 * (high - low), 1e-3)
        self.limits = [*zip(low - margin, high + margin)] if limits is None else limits

    @classmethod
    def from_function(
        cls,
        f: Callable[[np.ndarray], Any],
        start: Sequence[float],
        optimizers: Mapping[Any, float],
        *,
        n_steps: int = 30,
        limits: Sequence[tuple[float, float]] | None = None,
        ax: Axes | None = None,
    ) -> PathDisplay:
        """Let optimizers run, by the numerical gradient, and draw their ways.

        Parameters
        ----------
        f : callable, from an array (2, ...) to an array (...): ``lambda p: p[0] ** 2 / 20 + p[1] ** 2``
        start : (float, float)
        optimizers : mapping of names or components of `fastmlp.optimizers` to learning rates
        n_steps : int, default=30
        limits, ax : as of the display and of `plot`
        """
        paths = {
            title(OPTIMIZERS.resolve(component), rate): optimizer_path(
                f, start, component, learning_rate=rate, n_steps=n_steps
            )
            for component, rate in optimizers.items()
        }
        return cls(paths, f, limits).plot(ax)

    def _draw(self, ax: Axes) -> None:
        grid = np.array(np.meshgrid(*(np.linspace(low, high, 200) for low, high in self.limits)))
        heights = np.asarray(self.f(grid))
        levels = heights.min() + np.ptp(heights) * np.linspace(0, 1, 13)[1:] ** 2  # evenly spaced around a minimum
        ax.contour(*grid, heights, levels, colors=GREY, linewidths=0.6, alpha=0.7)
        for (name, path), colour, marker in zip(self.paths.items(), cycle(COLOURS), cycle(MARKERS)):
            ax.plot(*path.T, color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=name)
        start = next(iter(self.paths.values()))[0]
        ax.plot(*start, "o", color="black", markerfacecolor="white", label="start")
        ax.set(xlabel="x", ylabel="y", xlim=self.limits[0], ylim=self.limits[1])
        legend_beside(ax)
