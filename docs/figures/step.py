"""The two phases of a step, for two threads: rows of the batch first, tiles of the weights next."""

from drawing import THREADS, bare, box
from matplotlib import pyplot

figure, ax = pyplot.subplots(figsize=(7.2, 3.3))
bare(ax, 19.4, 8.6)
PASSES = "gather", "forward", "loss, δ", "backward"
ax.text(4.6, 0.4, "phase 1: each thread owns rows of the batch", ha="center")
ax.text(14.6, 0.4, "phase 2: each thread owns tiles of the weights", ha="center")
for thread, colour in enumerate(THREADS):
    top = 1 + 3.9 * thread
    ax.text(-0.15, top + 1.6, f"thread {thread}", rotation=90, ha="right", va="center")
    for column, name in enumerate(PASSES):
        for row in range(4):
            box(ax, 2.3 * column, top + 0.8 * row, 2.2, 0.7, name if row == 0 else "", colour)
    for column in range(8):
        for row in range(4):
            box(ax, 10.6 + column, top + 0.8 * row, 1, 0.7, "", colour)
for x, text in ((9.75, "barrier: all deltas are ready"), (19.05, "barrier: all weights are new")):
    ax.plot([x, x], [0.8, 8.1], color="black", linewidth=2)
    ax.text(x + 0.12, 4.6, text, rotation=90, ha="left", va="center", fontsize=7.5)
