"""The demo `capacity`: networks from too small to too large for noisy samples of a curve, and what helps the largest.

y = sin(2πx) + noise, 40 samples. Few units cannot follow the curve: both errors are large. Many units follow the noise
as well: the error on the samples falls below the noise, that on new rows grows. Weight decay, dropout, noise on the
inputs and early stopping by rows of its own hold the largest network back. The mean of ten networks has less of what
differs among them, and as much of what they share.

Sources: S. Geman, E. Bienenstock and R. Doursat 1992, "Neural networks and the bias/variance dilemma"; A. Krogh and
J. Hertz 1992, "A simple weight decay can improve generalization"; N. Srivastava et al. 2014, "Dropout"; C. Bishop 1995,
"Training with noise is equivalent to Tikhonov regularization"; L. Prechelt 1998, "Early stopping - but when?";
L. Hansen and P. Salamon 1990, "Neural network ensembles".
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import MLPRegressor
from ..augmentations import GaussianNoise
from ..plotting import COLOURS, GREY
from . import Options
from .output import print_table, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, NOISE = 40, 0.3
LARGEST = (100, 100)
RATE, QUICK_RATE = 0.005, 0.03  # the larger one gets as far in a quarter of the epochs
CASES: dict[str, dict[str, Any]] = {
    "1 unit": {"hidden_layer_sizes": (1,)},
    "2 units": {"hidden_layer_sizes": (2,)},
    "4 units": {"hidden_layer_sizes": (4,)},
    "10 units": {"hidden_layer_sizes": (10,)},
    "100 + 100 units": {},
    "... weight decay": {"alpha": 0.005},
    "... dropout": {"dropout": 0.1},
    "... noise": {"augmentation": GaussianNoise(0.1)},
    "... early stopping": {"early_stopping": True, "n_iter_no_change": 300},
    "... ensemble": {"n_estimators": 10},
}


class Samples(NamedTuple):
    """Rows to train on, rows for early stopping, rows for testing: X of shape (n, 1) and y of shape (n,) each."""

    X: NDArray[Any]
    y: NDArray[Any]
    X_val: NDArray[Any]
    y_val: NDArray[Any]
    X_test: NDArray[Any]
    y_test: NDArray[Any]


def curve(x: NDArray[Any]) -> NDArray[Any]:
    """What the samples are drawn around."""
    return np.sin(2 * np.pi * x)


def draw_samples(seed: int) -> Samples:
    """Rows of x from -1 to 1, evenly distributed."""
    random, parts = np.random.default_rng(seed), []
    for rows in (ROWS, ROWS, 1000):
        x = random.uniform(-1, 1, rows)
        parts += [x[:, None], curve(x) + NOISE * random.standard_normal(rows)]
    return Samples(*parts)


def fit(
    parameters: dict[str, Any], samples: Samples, epochs: int, rate: float = RATE
) -> tuple[MLPRegressor, float, float]:
    """A network trained with all rows in a batch, nothing else holding it back; its errors in training and test."""
    plain = {"alpha": 0, "tol": 0, "n_iter_no_change": np.inf, "hidden_layer_sizes": LARGEST}
    model = MLPRegressor(
        **{**plain, **parameters}, activation="tanh", learning_rate_init=rate, max_iter=epochs, random_state=0
    )
    X, y, X_val, y_val, X_test, y_test = samples
    validation = {"X_val": X_val, "y_val": y_val} if model.early_stopping else {}
    model.fit(X, y, **validation)
    train_error, test_error = (np.sqrt(np.mean((model.predict(X) - y) ** 2)) for X, y in ((X, y), (X_test, y_test)))
    return model, float(train_error), float(test_error)


def draw(figure: "Figure", models: dict[str, MLPRegressor], errors: dict[str, NDArray[Any]], samples: Samples) -> None:
    """The curve that each network has learned, and the errors of all of them."""
    panels = figure.subplot_mosaic("ABCDE*;FGHIJ*", width_ratios=[1, 1, 1, 1, 1, 1.6])
    x, errors_ax = np.linspace(-1, 1, 400), panels["*"]
    for (name, model), letter in zip(models.items(), "ABCDEFGHIJ"):
        ax = panels[letter]
        ax.plot(x, curve(x), color=GREY, linewidth=1, linestyle="--")
        ax.plot(samples.X, samples.y, ".", color=GREY, markersize=4)
        ax.plot(x, model.predict(x[:, None]), color=COLOURS[0])
        ax.set(title=name, ylim=(-2, 2), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
        ax.set(xlabel="x" if letter in "FGHIJ" else "", ylabel="y" if letter in "AF" else "")
        ax.spines[:].set_color(GREY)
    places = np.arange(len(errors))[::-1]
    train, test = np.array([*errors.values()]).T
    errors_ax.hlines(places, train, test, color=GREY, linewidth=1)
    errors_ax.plot(train, places, "o", color=COLOURS[0], label="training")
    errors_ax.plot(test, places, "o", color=COLOURS[1], label="test")
    errors_ax.axvline(NOISE, color=GREY, linewidth=1, linestyle="--", label="noise")
    errors_ax.set_yticks(places, errors)
    errors_ax.set(xlabel="root mean squared error", xlim=(0, None))
    errors_ax.spines[["top", "right"]].set_visible(False)
    errors_ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)


def demonstrate(options: Options) -> None:
    """Train all networks on a few sets of samples."""
    sets = [draw_samples(seed) for seed in range(1 if options.quick else 5)]
    epochs, rate = options.budget(4000, quick=1000), QUICK_RATE if options.quick else RATE
    fits = {name: [fit(parameters, samples, epochs, rate) for samples in sets] for name, parameters in CASES.items()}
    errors = {name: np.mean([each[1:] for each in several], axis=0) for name, several in fits.items()}
    table = [["network", "training error", "test error"]]
    table += [[name, f"{train:.3f}", f"{test:.3f}"] for name, (train, test) in errors.items()]
    print_table(table, f"sin(2πx) from {ROWS} rows with noise of {NOISE}; means over {len(sets)} sets of rows")
    models = {name: several[0][0] for name, several in fits.items()}
    save_figure(lambda figure: draw(figure, models, errors, sets[0]), options.output / "capacity.png", (15, 5))
