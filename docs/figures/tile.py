"""A register tile: rows of the left matrix times three vectors of the right one, summed over k in registers."""

from drawing import COLOURS, LIGHT, arrow, bare, box
from matplotlib import pyplot

from fastmlp.machine.target import REGISTERS
from fastmlp.machine.tile import MR, NR

LANES, DEPTH = 4, 8
figure, ax = pyplot.subplots(figsize=(6.4, 3.7))
width = NR * LANES
bare(ax, DEPTH + width + 3.4, DEPTH + MR + 2.6)
left, top = DEPTH + 1.6, DEPTH + 1.2
for row in range(MR):
    for k in range(DEPTH):
        box(ax, k, top + row, 1, 1, "", COLOURS[5] if k == 2 else LIGHT)
for k in range(DEPTH):
    for vector in range(NR):
        for lane in range(LANES):
            box(ax, left + LANES * vector + lane, k, 1, 1, "", COLOURS[4] if k == 2 else LIGHT)
for row in range(MR):
    for vector in range(NR):
        box(ax, left + LANES * vector, top + row, LANES, 1, "", COLOURS[0])
ax.text(DEPTH / 2, top + MR + 0.9, f"left: {MR} rows, k = 0, 1, ...", ha="center")
ax.text(left + width + 0.3, DEPTH / 2, f"right: a panel,\n{NR} vectors wide", va="center")
ax.text(left + width / 2, top + MR + 0.9, f"{MR} × {NR} accumulators in registers", ha="center")
arrow(ax, (2.5, top - 0.1), (left - 0.3, 2.5))
ax.text(
    0,
    1.2,
    f"each k: {MR} numbers, broadcast\nto vectors, times {NR} vectors;\n{REGISTERS.count} registers here",
    va="top",
)
