"""Tables and a picture from what pytest-benchmark has stored in `bench_results/`.

python benchmarks/report.py           write bench_results/README.md, the tables in README.md, the picture
python benchmarks/report.py --check   list each bar: must, aim, measured, pass or miss; exit status 1 for a miss

Files of one machine are read in the order of their numbers; of each benchmark the newest result counts. A table in
README.md stands between `<!-- table:NAME -->` and `<!-- end -->` and comes from the machine measured last among those
that have it.
"""

import argparse
import json
import math
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench_results"
PICTURE = "training.svg"
MARKED = re.compile(r"(<!-- table:([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
TITLES = {  # the tables that come first, and what a reader must know of each
    "training": (
        "Training",
        "Rows trained per second by `MLPClassifier` (float32, Adam, two threads), and how many times the speed of each "
        "other side that is.",
    ),
    "float64": ("Training in float64", "The same jobs in double precision."),
    "threads": (
        "Threads",
        "Speed of a step on so many threads, in multiples of one thread's, on all available cores; the weights are "
        "equal to the bit.",
    ),
    "streams": ("Streams", "One call of `partial_fit` after another, float32, against scikit-learn."),
    "small fits": ("Small fits", "`fit` of 300 rows of 10 features, float64, hidden layer of 100."),
    "busy": (
        "Busy machines",
        "Time of a fit by default, and with two and four threads, in multiples of the time with `n_threads=1`, beside "
        "other work on the same two cores.",
    ),
    "accuracy": ("Accuracy", "A whole fit, until it stops by itself."),
    "memory": ("Memory", "Growth of the peak of resident memory by one fit of 60,000 rows of 784 float32."),
    "start-up": ("Start-up", "In new processes."),
    "search": (
        "Search",
        "`GridSearchCV` on the digits, 12 candidates × 5 folds × 50 epochs, `n_jobs=2`: the first search of a process, "
        "in which workers start and kernels are loaded, and the second; how many times as fast as scikit-learn's with "
        "the backend that is faster there.",
    ),
    "components": (
        "Components",
        "Time of an epoch with one component changed, in multiples of that with relu and Adam; all in one race.",
    ),
    "deep tanh network": (
        "Deep tanh network",
        "tanh in every layer and squared error on one-hot targets, in PyTorch too; scikit-learn's classifier, which "
        "has neither for its outputs, minimizes the log loss.",
    ),
    "tables": (
        "Raw tables",
        "Errors (share of wrong classes, or 1 - R²) of fits with default parameters, and of RealMLP-TD-S by pytabkit; "
        "the mean ratio is geometric, in multiples of RealMLP-TD-S's, over the sets that a side ran on; seconds are "
        "processors' time.",
    ),
    "missing-values": (
        "Missing values",
        "How many times as large the error becomes when 20 % of the entries of all columns are deleted at random, from "
        "the training and the test rows.",
    ),
    "large tables": (
        "Large tables",
        '`TabularClassifier(preset="fast", max_epochs=8)` on a pandas frame, in a new process.',
    ),
    "earlier version": (
        "Earlier version",
        "Seconds of an earlier version divided by those of this one, by workload; each in a process of its own.",
    ),
}
SIDES = {  # side -> colour of its bars; scikit-learn is the unit
    "fastmlp": "#d1495b",
    "JAX": "#30638e",
    "PyTorch": "#7a9cbf",
    "NumPy reference": "#b9c4cf",
}


# --- results ----------------------------------------------------------------------------------------------------------


def load(folder):
    """machine -> (newest file's content, benchmark's name -> newest entry), the machine measured last at the end."""
    machines = {}
    for path in sorted(folder.glob("*/[0-9][0-9][0-9][0-9]_*.json")):
        content = json.loads(path.read_text(encoding="utf8"))
        _, entries = machines.get(path.parent.name, (None, {}))
        source = {"from": describe(content), "when": content["datetime"]}
        entries.update((entry["fullname"], {**entry, **source}) for entry in content["benchmarks"])
        machines[path.parent.name] = content, entries
    return dict(sorted(machines.items(), key=lambda item: item[1][0]["datetime"]))


def tables(entries):
    """name -> rows, in the order of TITLES and then of their appearance."""
    found = {name: [] for name in TITLES}
    for entry in entries.values():
        extra = entry["extra_info"]
        if "table" in extra:
            found.setdefault(extra["table"], []).extend(extra.get("rows") or [extra["row"]])
    return {name: rows for name, rows in found.items() if rows}


def measured_last(machines, table):
    """(newest file's content, entries) of the machine on which the table was measured last; None without."""
    having = [found for found in machines.values() if table in tables(found[1])]
    return max(having, key=lambda found: max(entry["when"] for entry in _of(table, found[1])), default=None)


def _of(table, entries):
    """The entries of a table."""
    return [entry for entry in entries.values() if entry["extra_info"].get("table") == table]


def sources(entries, table):
    """Where and when the rows of a table were measured, one sentence for each set of results that they come from."""
    found = [entry["from"] for entry in _of(table, entries)]
    return "\n".join(sorted(set(found), key=lambda described: described[-11:]))  # the day ends it


def bars(entries):
    """All promises, in the order of the benchmarks."""
    return [bar for entry in entries.values() for bar in entry["extra_info"].get("bars", ())]


# --- text -------------------------------------------------------------------------------------------------------------


def text(value):
    """A cell: three digits of a number, four of those near 100; thousands grouped."""
    if value is None:
        return "–"
    if isinstance(value, bool | int | str):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    magnitude = math.floor(math.log10(abs(value)))
    digits = max(0, (3 if 90 <= abs(value) < 1000 else 2) - magnitude)
    return f"{round(value, 2 - magnitude) if magnitude > 2 else value:,.{digits}f}"


def markdown(rows):
    """A table of dicts, column -> value; numbers to the right."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    numeric = [any(isinstance(row.get(column), int | float) for row in rows) for column in columns]
    lines = [
        "| " + " | ".join(columns) + " |",
        "| " + " | ".join("---:" if right else "---" for right in numeric) + " |",
    ]
    lines += ["| " + " | ".join(text(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def reached(bar, limit):
    """Whether a bar's measurement reaches this limit of its; None where there is no such limit."""
    if bar[limit] is None:
        return None
    return bar["measured"] <= bar[limit] if bar["better"] == "lower" else bar["measured"] >= bar[limit]


def bar_row(bar):
    """A row of the table of bars."""
    row = {"bar": bar["name"]}
    sign = "≤" if bar["better"] == "lower" else "≥"
    for limit in ("must", "aim"):
        row[limit] = "–" if bar[limit] is None else f"{sign} {bar[limit]:.4g}{bar['unit']}"
    row["measured"] = text(float(bar["measured"])) + bar["unit"]
    row["result"] = "**miss**" if not reached(bar, "must") else "pass, aim reached" if reached(bar, "aim") else "pass"
    return row


def describe(content):
    """Processor, versions and day of one file of results, one sentence."""
    info = content["machine_info"]
    versions = ", ".join(f"{name} {version}" for name, version in info["packages"].items())
    processor = info["cpu"].get("brand_raw") or info["machine"]
    day, python = content["datetime"][:10], info["python_version"]
    available = f" of {info['available']}" if info.get("available", 2) > info["cores"] else ""
    return f"{processor}, {info['cores']}{available} cores; Python {python}, {versions}. {day}."


def page(machines):
    """bench_results/README.md."""
    parts = [
        "# Results\n\nWritten by `python benchmarks/report.py` from the files in this folder. "
        "How it was measured stands in `benchmarks/__init__.py`.\n"
    ]
    for machine, (_, entries) in reversed(machines.items()):
        parts.append(f"# {machine}\n")
        for name, rows in tables(entries).items():
            title, caption = TITLES.get(name, (name.capitalize(), ""))
            caption = f"{caption}\n\n" if caption else ""
            parts.append(f"## {title}\n\n{caption}{markdown(rows)}\n{sources(entries, name)}\n")
        promises = bars(entries)
        if promises:
            parts.append("## Bars\n\n" + markdown([bar_row(bar) for bar in promises]))
    return "\n".join(parts)


def fill(readme, machines):
    """`readme` with its marked tables written anew, each from the machine measured last."""

    def table(match):
        found = measured_last(machines, match[2])
        if found is None:
            return match[0]
        return f"{match[1]}{markdown(tables(found[1])[match[2]])}\n{sources(found[1], match[2])}\n{match[3]}"

    return MARKED.sub(table, readme)


# --- picture ----------------------------------------------------------------------------------------------------------


def contests(entries):
    """(workload's name, side -> how many times scikit-learn's rows per second) of each contest in training."""
    found = []
    for entry in entries.values():
        if entry["name"].startswith("test_training["):
            extra = entry["extra_info"]
            best = extra["seconds_per_epoch"]
            speeds = {side: best["scikit-learn"] / best[side] for side in SIDES if side in best}
            found.append((extra["row"]["workload"], speeds))
    return found


def draw(found, path):
    """One group of bars for each contest, on a logarithmic axis; scikit-learn is the line where they start."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sides = [side for side in SIDES if any(side in speeds for _, speeds in found)]
    pitch = len(sides) + 1
    style = {"svg.hashsalt": "fastmlp", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(7.2, 0.8 + 0.19 * len(found) * pitch), layout="constrained")
        for number, side in enumerate(sides):
            points = [
                (pitch * group + number, speeds[side]) for group, (_, speeds) in enumerate(found) if side in speeds
            ]
            places, speeds = zip(*points)
            axes.barh(places, [speed - 1 for speed in speeds], left=1, height=0.9, color=SIDES[side], label=side)
            for place, speed in points:
                away, align = ((3, 0), "left") if speed >= 1 else ((-3, 0), "right")
                label = {
                    "fontsize": 7.5,
                    "weight": "bold" if side == "fastmlp" else "normal",
                    "va": "center",
                    "ha": align,
                }
                axes.annotate(f"{text(speed)}×", (speed, place), away, textcoords="offset points", **label)
        middles = [pitch * group + (len(sides) - 1) / 2 for group in range(len(found))]
        axes.set_yticks(middles, [name for name, _ in found])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlim(min(0.7, 0.7 * min(min(speeds.values()) for _, speeds in found)), None)
        axes.set_xticks([1, 2, 5, 10, 20, 50], ["1×", "2×", "5×", "10×", "20×", "50×"])
        axes.minorticks_off()
        axes.axvline(1, color="black", linewidth=1)
        axes.set_xlabel("rows trained per second; scikit-learn = 1×")
        axes.legend(loc="lower right", frameon=False)
        figure.savefig(path, metadata={"Date": None}, facecolor="white")
        pyplot.close(figure)


# --- commands ---------------------------------------------------------------------------------------------------------


def write(machines):
    """All that is generated."""
    (RESULTS / "README.md").write_text(page(machines), encoding="utf8")
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text(encoding="utf8"), machines), encoding="utf8")
    found = measured_last(machines, "training")
    if found:
        draw(contests(found[1]), RESULTS / PICTURE)
    print(f"written: {RESULTS} and the tables of {readme}")


def check(machines):
    """Print each bar of each machine; the number of misses."""
    rows = [{"machine": name} | bar_row(bar) for name, (_, entries) in machines.items() for bar in bars(entries)]
    widths = {column: max(len(row[column]) for row in rows) for column in rows[0]} if rows else {}
    for row in rows:
        print("  ".join(f"{row[column]:<{width}}" for column, width in widths.items()).rstrip())
    misses = sum("miss" in row["result"] for row in rows)
    print(f"{len(rows)} bars, {misses} missed")
    return misses


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="list each bar and whether it is reached")
    arguments = parser.parse_args()
    machines = load(RESULTS)
    if not machines:
        print(f"no results in {RESULTS}: run `pytest -n 0 benchmarks` first", file=sys.stderr)
        return 2
    if arguments.check:
        return 1 if check(machines) else 0
    write(machines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
