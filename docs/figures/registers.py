"""How fast a tile of each shape is, from what was measured."""

import importlib.util
import pathlib

from matplotlib import pyplot

from fastmlp.plotting import COLOURS

root = pathlib.Path.cwd().resolve().parent
specification = importlib.util.spec_from_file_location("report", root / "benchmarks" / "report.py")
report = importlib.util.module_from_spec(specification)
specification.loader.exec_module(report)
newest, entries = report.measured_last(report.load(report.RESULTS), "tiles")
rows = [row for row in report.tables(entries)["tiles"] if row["dtype"] == "float32"]
figure, ax = pyplot.subplots(figsize=(6.4, 3.2))
for vectors, colour in zip((1, 2, 3), COLOURS):
    shapes = [(int(row["tile"].split()[0]), row["GFLOP/s"]) for row in rows if f"× {vectors} " in row["tile"]]
    ax.plot(*zip(*sorted(shapes)), "o-", color=colour, label=f"{vectors} vector{'s' * (vectors > 1)} wide")
ax.set(xlabel="rows of the tile", ylabel="GFLOP/s of one thread", ylim=(0, None))
ax.set_title(f"{newest['machine_info']['cpu'].get('brand_raw', '')}, float32", fontsize=9)
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
