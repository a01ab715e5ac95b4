"""Which thread updates which blocks of the weights of a network, as the code shares them out."""

import numpy as np
from drawing import THREADS, bare, box
from matplotlib import pyplot

from fastmlp.core.layout import block_counts, partition
from fastmlp.machine.target import lanes_of_dtype

UNITS, DTYPE = (784, 100, 10), np.dtype("float32")
counts = block_counts(UNITS, lanes_of_dtype(DTYPE), False)
ends = partition(UNITS, DTYPE, 2, False)
figure, ax = pyplot.subplots(figsize=(6.4, 1.9))
bare(ax, 100, 26)
for layer, count in enumerate(counts):
    top = 4 + 13 * layer
    ax.text(0, top - 1, f"layer {layer}: {UNITS[layer]} → {UNITS[layer + 1]}, {count} blocks", va="bottom")
    width = 100 / counts.max()
    for thread, colour in enumerate(THREADS):
        start, stop = ends[thread, layer], ends[thread + 1, layer]
        box(ax, start * width, top, (stop - start) * width, 5, f"thread {thread}" if layer == 0 else "", colour)
