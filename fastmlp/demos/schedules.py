"""The demo `schedules`: the learning rate of every schedule, drawn over 100 epochs.

Components that wait for a training to stop improving are told so after some epochs. What each does, and its source,
is in `fastmlp.schedules`.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..plotting import COLOURS
from ..schedules import (
    SCHEDULES,
    Cosine,
    CosineRestarts,
    Coslog,
    InverseScaling,
    MultiStep,
    Polynomial,
    Progress,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
)
from . import Options
from .output import print_table, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INITIAL, EPOCHS, STEPS, ROWS = 0.01, 100, 20, 1000  # the rate that is chosen; steps and rows of an epoch
PLATEAUS = (40, 60, 80)  # epochs after which the training is said not to improve

# Numbers with which a component shows itself better than with its defaults.
CHOSEN: dict[str, Schedule] = {
    "invscaling": InverseScaling(power=0.2),
    "step_decay": StepDecay(every=20),
    "multi_step": MultiStep((50, 75), factor=0.3),
    "polynomial": Polynomial(power=2),
    "cosine_restarts": CosineRestarts(period=100 / 7, growth=2),
    "warm_up": WarmUp(epochs=20, then=Cosine()),
    "reduce_on_plateau": ReduceOnPlateau(factor=0.3),
    "coslog": Coslog(k=4),
}


def rates(component: Schedule) -> NDArray[np.float64]:
    """The rate of each step of a training, of shape (EPOCHS, STEPS); from where the component stops it, NaN."""
    initial, found = INITIAL, np.full((EPOCHS, STEPS), np.nan)
    for epoch in range(EPOCHS):
        if epoch in PLATEAUS and (lower := component.on_plateau(initial)) is not None:
            initial = lower
        done = epoch + np.arange(STEPS) / STEPS * (component.per == "step")
        found[epoch] = component.rate(initial, Progress(done, done * STEPS, epoch * ROWS, done / EPOCHS, EPOCHS))
    return found


def draw(figure: "Figure", found: dict[str, NDArray[np.float64]]) -> None:
    """One small picture for each component."""
    columns = 4
    axes = figure.subplots(-(-len(found) // columns), columns, sharex=True, sharey=True).ravel()
    for (name, of_steps), ax in zip(found.items(), axes):
        ax.plot(np.linspace(0, EPOCHS, of_steps.size, endpoint=False), of_steps.ravel(), color=COLOURS[0])
        ax.set_title(name)
        ax.set(ylim=(0, 1.05 * INITIAL), xticks=np.linspace(0, EPOCHS, 5))
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[len(found) - columns : len(found)]:
        ax.tick_params(labelbottom=True)  # the lowest of its column
    for ax in axes[len(found) :]:
        ax.set_axis_off()
    figure.supxlabel("epoch")
    figure.supylabel("learning rate")


def demonstrate(options: Options) -> None:
    """A table of the rates on the way, and a figure."""
    components = {name: CHOSEN.get(name) or SCHEDULES.resolve(name) for name in SCHEDULES}
    found = {name: rates(component) for name, component in components.items()}
    parts = [0, 25, 50, 75, EPOCHS - 1]
    table = [["schedule", "per", *(f"epoch {part + 1}" for part in parts)]]
    for name, of_steps in found.items():
        table.append([name, components[name].per, *(f"{of_steps[part, 0]:.2g}" for part in parts)])
    print_table(table, f"Rate of the first step of an epoch, where {INITIAL} is chosen")
    save_figure(lambda figure: draw(figure, found), options.output / "schedules.png", (11, 7))
