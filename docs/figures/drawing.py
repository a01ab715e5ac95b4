"""Boxes, arrows and colours that the figures of "How it works" share."""

from matplotlib.patches import FancyArrowPatch, Rectangle

from fastmlp.plotting import COLOURS, GREY

THREADS = COLOURS[0], COLOURS[4]
LIGHT = "#eef1f4"


def box(ax, x, y, width, height, text="", colour=LIGHT, **style):
    """A rectangle with a text in its middle."""
    style = {"edgecolor": "white", "linewidth": 1.2, **style}
    ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, **style))
    dark = colour in COLOURS[:4]
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", color="white" if dark else "black")


def arrow(ax, start, stop):
    """An arrow from point to point."""
    ax.add_patch(FancyArrowPatch(start, stop, arrowstyle="-|>", mutation_scale=12, color=GREY, shrinkA=3, shrinkB=3))


def bare(ax, width, height):
    """Axes that show no axes, with square units from (0, 0) to (width, height), y downward."""
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    ax.set_axis_off()
