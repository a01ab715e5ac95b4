"""The demo `optimizers`: how they find their way over two bowls, then what they make of one task on the same budget.

Over x²/20 + y², a valley twenty times as long as it is wide, the gradient points across rather than along: gradient
descent zigzags, momentum swings, AdaGrad and Adam give each variable a step of its own size. Over x² + y² the gradient
points to the minimum, and gradient descent needs nothing more.

Source: K. Saitoh, "Deep learning from scratch" (O'Reilly Japan 2016), section 6.1, with its rates for the valley.
"""

from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import MLPClassifier
from ..inspection import optimizer_path
from ..plotting import COLOURS, DASHES, PathDisplay, legend_beside, name_epochs
from . import Options
from .data import load_digits
from .output import print_table, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

START, STEPS = (-7.0, 2.0), 30


class Bowl(NamedTuple):
    """A function of two variables, from an array (2, ...) to one (...), and a learning rate for each optimizer."""

    f: Callable[[Any], Any]
    rates: dict[str, float]


BOWLS = {
    "x²/20 + y²": Bowl(
        lambda p: p[0] ** 2 / 20 + p[1] ** 2, {"gradient_descent": 0.95, "momentum": 0.1, "adagrad": 1.5, "adam": 0.3}
    ),
    "x² + y²": Bowl(
        lambda p: p[0] ** 2 + p[1] ** 2, {"gradient_descent": 0.1, "momentum": 0.02, "adagrad": 1.5, "adam": 0.3}
    ),
}

# Learning rates for the task, each about the best of its component by the loss in the end.
FAMILIES = {
    "the gradient, velocities, sums of squares": {
        "gradient_descent": 1.0,
        "momentum": 0.3,
        "nesterov": 0.3,
        "adagrad": 0.3,
        "rmsprop": 0.03,
        "adadelta": 10.0,
    },
    "Adam and its relatives": {
        "adam": 0.03,
        "amsgrad": 0.03,
        "adamw": 0.03,
        "nadam": 0.03,
        "radam": 0.1,
        "lion": 0.003,
    },
}


def draw_paths(figure: "Figure", paths: dict[str, dict[str, NDArray[Any]]]) -> None:
    """A row for each bowl, a column for each optimizer."""
    rows = figure.subplots(len(BOWLS), 4, sharex=True, sharey=True)
    for (formula, bowl), row in zip(BOWLS.items(), rows):
        for (name, rate), ax in zip(bowl.rates.items(), row):
            PathDisplay({name: paths[formula][name]}, bowl.f, [(-8, 8), (-4, 4)]).plot(ax)
            ax.get_legend().remove()
            ax.set(xlabel="x", ylabel="", title=f"{name}, rate {rate:g}", aspect="equal")
        row[0].set_ylabel(f"{formula}\ny")


def draw_losses(figure: "Figure", models: dict[str, MLPClassifier]) -> None:
    """The training loss by epoch, in two families."""
    axes = figure.subplots(1, len(FAMILIES), sharey=True)
    for (title, rates), ax in zip(FAMILIES.items(), axes):
        widths = np.linspace(3.4, 1.4, len(rates))  # curves that coincide show below each other
        for name, colour, dashes, width in zip(rates, COLOURS, cycle(DASHES), widths):
            losses, label = models[name].loss_curve_, f"{name}, {rates[name]:g}"
            ax.plot(range(1, len(losses) + 1), losses, color=colour, linestyle=dashes, linewidth=width, label=label)
        ax.set(title=title, yscale="log")
        name_epochs(ax)
        ax.spines[["top", "right"]].set_visible(False)
        legend_beside(ax, title="optimizer, rate")
    axes[0].set_ylabel("training loss")


def demonstrate(options: Options) -> None:
    """The paths, then the losses; each as a table and as a figure."""
    paths = {}
    for formula, (f, rates) in BOWLS.items():
        paths[formula] = {
            name: optimizer_path(f, START, name, learning_rate=rate, n_steps=STEPS) for name, rate in rates.items()
        }
    table = [["optimizer", *BOWLS]]
    table += [[name, *(f"{BOWLS[formula].f(of[name][-1]):.1e}" for formula, of in paths.items())] for name in rates]
    print_table(table, f"What is left after {STEPS} steps from {START}")

    data, epochs = load_digits(), options.budget(30, quick=3)
    print(f"\n{data}")
    models, table = {}, [["optimizer", "rate", "training loss", "test accuracy"]]
    for name, rate in (pair for rates in FAMILIES.values() for pair in rates.items()):
        model = MLPClassifier(
            (50,),
            solver=name,
            learning_rate_init=rate,
            alpha=0,
            batch_size=100,
            max_iter=epochs,
            n_iter_no_change=np.inf,
            random_state=0,
        ).fit(data.X_train, data.y_train)
        models[name] = model
        accuracy = model.score(data.X_test, data.y_test)
        table.append([name, f"{rate:g}", f"{model.loss_:.4f}", f"{accuracy:.2%}"])
    print_table(table, f"After {epochs} epochs, in batches of 100, from the same weights")
    save_figure(lambda figure: draw_paths(figure, paths), options.output / "optimizer_paths.png", (13, 4.2))
    save_figure(lambda figure: draw_losses(figure, models), options.output / "optimizer_losses.png", (13, 4.5))
