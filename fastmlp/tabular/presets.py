"""Presets: how networks for tables are trained; one preset is one row of `PRESETS`, each number with its source.

[H] D. Holzmüller, L. Grinsztajn and I. Steinwart 2024, "Better by default: strong pre-tuned MLPs and boosted trees on
tabular data": RealMLP's defaults, whose learning rates are carried over to this parametrization (first weights divided
by, inputs multiplied with 16/√d). [M] measured by `benchmarks/tables.py`.
"""

import math
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How one network trains.

    Attributes
    ----------
    hidden_layer_sizes : units of each hidden layer, by default 256-256-256 [H]
    activation : name of a component; 'prelu' where rows are noisy, 'mish' [H] where they are not [M]
    max_epochs, cycles : length of the training, and coslog's cycles in it; 4 cycles [H]
    batch_size : rows of a step, 256 [H]; fewer in small tables, see `rows_per_step`
    learning_rate : the greatest of coslog; .0025 for classes and .0125 for numbers, a ratio of 5 as in [H]
    weight_decay, beta_2 : of AdamW; .32 times the rate above is .02 of [H] in this parametrization, .95 [H]
    dropout : of each hidden layer, .15 [H]
    anneal : whether dropout and weight decay fall to 0 in the second half of the training, flat_cos of [H]
    label_smoothing : .1 [H]; 0 for metrics of probabilities
    patient : whether it ends after the first cycle that is worse than one before
    below : tried where recipes without this number leave less error, a share of wrong classes or of variance
    bins : whether the network sees the piecewise-linear encodings of numbers beside these
    """

    hidden_layer_sizes: tuple[int, ...] = (256, 256, 256)
    activation: str = "prelu"
    max_epochs: int = 64
    cycles: int = 4
    batch_size: int = 256
    learning_rate: float = 0.0025
    weight_decay: float = 0.32
    beta_2: float = 0.95
    dropout: float = 0.15
    anneal: bool = True
    label_smoothing: float = 0.1
    bins: bool = True
    patient: bool = False
    below: float = math.inf


@dataclass(frozen=True)
class Preset:
    """What is trained, and of what the model is made.

    Attributes
    ----------
    classes, numbers : recipes tried on the validation rows, for classification and regression
    seeds : networks of each recipe
    n_members : networks averaged in the end: those selected, and as many of all rows as are missing to it
    blend : whether several recipes may be selected together, greedily; else the best one alone
    """

    classes: tuple[Recipe, ...]
    numbers: tuple[Recipe, ...]
    seeds: int
    n_members: int
    blend: bool


NOISY = Recipe()
NOISY_NUMBERS = replace(NOISY, learning_rate=0.0125)
# Where a table has little noise, less error is reached without dropout, decay and bins, by a smooth activation, and the
# longer the better, cycle by cycle [M]: selu for classes and mish for numbers, both [H].
SMOOTH = Recipe(
    activation="selu",
    dropout=0.0,
    weight_decay=0.0,
    max_epochs=128,
    cycles=5,
    bins=False,
    patient=True,
    below=0.02,
)
SMOOTH_NUMBERS = replace(SMOOTH, activation="mish", learning_rate=0.0125, below=0.1)

PRESETS = {
    "fast": Preset(
        classes=(replace(NOISY, max_epochs=32), SMOOTH),
        numbers=(replace(NOISY_NUMBERS, max_epochs=32), SMOOTH_NUMBERS),
        seeds=1,
        n_members=2,
        blend=False,
    ),
    "default": Preset(
        classes=(NOISY, SMOOTH), numbers=(NOISY_NUMBERS, SMOOTH_NUMBERS), seeds=1, n_members=4, blend=False
    ),
    "best": Preset(
        classes=(
            NOISY,
            replace(NOISY, dropout=0.3),
            replace(SMOOTH, below=math.inf, cycles=4, max_epochs=64),
            replace(SMOOTH, max_epochs=256, cycles=6),
        ),
        numbers=(
            NOISY_NUMBERS,
            replace(NOISY_NUMBERS, activation="mish", dropout=0.05),
            replace(SMOOTH_NUMBERS, weight_decay=0.1, below=math.inf, cycles=4, max_epochs=64),
            replace(SMOOTH_NUMBERS, max_epochs=256, cycles=6),
        ),
        seeds=2,
        n_members=10,
        blend=True,
    ),
}


def rows_per_step(recipe: Recipe, n_rows: int) -> int:
    """The recipe's batch size, or a power of two from 32 up such that a small table has 16 steps in an epoch."""
    if n_rows >= 16 * recipe.batch_size:
        return recipe.batch_size
    return max(1, min(recipe.batch_size, n_rows, max(32, 2 ** math.ceil(math.log2(max(n_rows, 1) / 16)))))


def cycles_in(recipe: Recipe) -> int:
    """Coslog's cycles, fewer where the first of them would be shorter than an epoch."""
    return max(1, min(recipe.cycles, int(math.log2(recipe.max_epochs + 1))))


def resolve(
    name: str, *, classes: bool, smooth_labels: bool, changes: dict[str, Any]
) -> tuple[Preset, tuple[Recipe, ...]]:
    """A preset and its recipes, with a user's own numbers in place of theirs where they are not None."""
    preset = PRESETS[name]
    own = {key: value for key, value in changes.items() if value is not None}
    if not smooth_labels:
        own["label_smoothing"] = 0.0
    recipes = [replace(recipe, **own) for recipe in (preset.classes if classes else preset.numbers)]
    return preset, tuple(dict.fromkeys(recipes))
