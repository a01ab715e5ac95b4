"""The order in which the weights of a layer lie in memory: in an ordinary array, and in panels."""

import numpy as np
from matplotlib import pyplot

from fastmlp.core.layout import unpack
from fastmlp.machine.target import lanes_of_dtype
from fastmlp.machine.tile import NR

lanes = lanes_of_dtype(np.dtype("float64"))
shape = 10, 2 * NR * lanes
ordinary = np.arange(shape[0] * shape[1], dtype=float).reshape(shape)
panels = np.empty(shape)
unpack(ordinary.reshape(-1), 0, panels)
figure, axes = pyplot.subplots(1, 2, figsize=(7.2, 2.4))
for ax, places, title in zip(axes, (ordinary, panels), ("an array, row by row", "panels of three vectors")):
    image = ax.imshow(places, cmap="viridis", aspect="auto")
    ax.set(title=title, xlabel="unit above", ylabel="unit below")
    ax.set_xticks(np.arange(0, shape[1], lanes) - 0.5, range(0, shape[1], lanes))
    ax.grid(axis="x", color="white", linewidth=0.5)
figure.colorbar(image, ax=axes, label="place in memory")
