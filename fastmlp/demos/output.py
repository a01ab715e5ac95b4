"""What demos have in common to show: tables, drawn by rich where it is installed, and figures, by matplotlib."""

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def print_table(rows: Sequence[Sequence[str]], title: str) -> None:
    """A table: the names of the columns, then the rows; the first column at the left, numbers at the right."""
    try:
        from rich.console import Console
        from rich.measure import Measurement
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(*rows)]
        print(title)
        for first, *others in rows:
            cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:]))
            print(f"{first:<{widths[0]}}  " + "  ".join(cells))
        return
    names, *rest = rows
    drawn = Table(title=title, title_justify="left")
    drawn.add_column(names[0])
    for name in names[1:]:
        drawn.add_column(name, justify="right")
    for row in rest:
        drawn.add_row(*row)
    console = Console(soft_wrap=True)
    wide = console.options.update(width=10_000)
    console.width = max(console.width, Measurement.get(console, wide, drawn).maximum)  # no column is cut
    console.print(drawn)


def save_figure(draw: Callable[["Figure"], None], path: pathlib.Path, size: tuple[float, float]) -> None:
    """Save what ``draw`` draws on a figure of that size in inches, and say where; without matplotlib say what it needs.

    Folders are made as needed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f'The figure {path.name} needs matplotlib; install it with pip install "fastmlp[plot]".')
        return
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")
