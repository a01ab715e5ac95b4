"""Errors and seconds of networks and trees on 18 tables, with the defaults of each.

python benchmarks/tables.py run LOG.jsonl --sides fast LightGBM    measure, and go on where LOG ends
python benchmarks/tables.py run LOG.jsonl --deleted 0.2 ...    the same with so many of the entries missing
python benchmarks/tables.py store LOG.jsonl    write bench_results/<machine>/NNNN_tables.json and docs/tables.md

The data are in the folder that FASTMLP_DATA names. Protocol: rows in the order of `default_rng(0).permutation`, at most
10,000 to train on (four fifths), as many to test on; the error is the share of wrong classes, or 1 - R², the mean of
the outputs. RealMLP-TD-S's errors are those of pytabkit 1.7.2, seed 0; with pytabkit installed the side 'RealMLP-TD-S'
measures them anew. Recipes were tuned on some of the sets (TUNED) and are reported on all.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import sys
import time
import warnings

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROWS = 10_000
TD_S = {  # set -> error of RealMLP-TD-S; the first eleven are classifications
    "adult": 0.1514,
    "credit_default": 0.18,
    "covertype": 0.1979,
    "shuttle": 0.0007002801120448179,
    "connect_4": 0.1899,
    "higgs": 0.2958593842161142,
    "spambase": 0.04777415852334419,
    "pendigits": 0.0050022737608003635,
    "optdigits": 0.014234875444839857,
    "satimage": 0.08236208236208237,
    "usps": 0.023655913978494623,
    "california_housing": 0.20999660061608194,
    "diamonds": 0.020218016361264857,
    "bike_sharing": 0.05403497379661659,
    "blog_feedback": 0.6576,
    "wine_quality": 0.50691,
    "kin8nm": 0.05638,
    "naval_propulsion": 0.00043,
}
REFERENCE = "RealMLP-TD-S"  # unless it is measured anew on all sets, its errors are those above
CLASSES = set(list(TD_S)[:11])
TUNED = ("shuttle", "pendigits", "satimage", "wine_quality", "california_housing", "kin8nm", "naval_propulsion")
WITH_GAPS = (
    "adult",
    "california_housing",
    "satimage",
    "spambase",
    "wine_quality",
)  # sets of the part on missing values
DELETED = 0.2  # of their entries
MISSING = ("HistGradientBoosting", 1.1)  # its rise of the error, times this, is what ours may be
BARS = {"fast": (1.05, 0.97), "default": (0.97, 0.92), "best": (0.93, 0.86)}


# --- sides ------------------------------------------------------------------------------------------------------------


def tabular(preset):
    """One of our presets."""

    def make(classes, categorical, seed, threads):
        from fastmlp import TabularClassifier, TabularRegressor

        kind = TabularClassifier if classes else TabularRegressor
        return kind(preset=preset, categorical_features=categorical, random_state=seed, n_threads=threads)

    return make


def mlp(classes, categorical, seed, threads):
    """scikit-learn's network on scaled numbers and one-hot categories, with early stopping."""
    from sklearn.compose import ColumnTransformer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encoder = ColumnTransformer(
        [("categories", OneHotEncoder(handle_unknown="ignore"), categorical)], remainder=StandardScaler()
    )
    kind = MLPClassifier if classes else MLPRegressor
    return make_pipeline(encoder, kind(early_stopping=True, random_state=seed))


def histogram(classes, categorical, seed, threads):
    """scikit-learn's boosted trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(categorical_features=categorical or None, random_state=seed)


def lightgbm(classes, categorical, seed, threads):
    """LightGBM."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMClassifier if classes else LGBMRegressor
    return kind(random_state=seed, n_jobs=threads, verbose=-1, categorical_feature=categorical or None)


def xgboost(classes, categorical, seed, threads):
    """XGBoost."""
    from xgboost import XGBClassifier, XGBRegressor

    return (XGBClassifier if classes else XGBRegressor)(random_state=seed, n_jobs=threads)


def realmlp(classes, categorical, seed, threads):
    """RealMLP with its simplified tuned defaults, by pytabkit."""
    from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

    kind = RealMLP_TD_S_Classifier if classes else RealMLP_TD_S_Regressor
    return kind(device="cpu", random_state=seed, n_threads=threads)


SIDES = {
    "fast": tabular("fast"),
    "default": tabular("default"),
    "best": tabular("best"),
    "scikit-learn MLP": mlp,
    "HistGradientBoosting": histogram,
    "LightGBM": lightgbm,
    "XGBoost": xgboost,
    REFERENCE: realmlp,
}


# --- measuring --------------------------------------------------------------------------------------------------------


def load(name):
    """(X_train, y_train, X_test, y_test, positions of categorical columns)."""
    folder = pathlib.Path(os.environ["FASTMLP_DATA"]) / name
    data = np.load(folder / f"{name}.npz")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf8"))
    order = np.random.default_rng(0).permutation(len(data["X"]))
    X, y = data["X"][order], data["y"][order]
    train = min(ROWS, int(0.8 * len(X)))
    test = slice(train, train + ROWS)
    X, y, X_test, y_test = X[:train], y[:train], X[test], y[test]
    if name in CLASSES:
        known = np.unique(y)
        some = np.isin(y_test, known)
        X_test, y_test = X_test[some], np.searchsorted(known, y_test[some])
        y = np.searchsorted(known, y)
    return X, y, X_test, y_test, list(meta.get("categorical_columns") or [])


def error(name, predicted, y):
    """The share of wrong classes, or of variance left."""
    if name in CLASSES:
        return float(np.mean(np.ravel(predicted) != y))
    y = y.reshape(len(y), -1)
    return float(np.mean(((y - predicted.reshape(y.shape)) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)))


def with_gaps(X, share, seed):
    """A copy of X, float64, without a share of its entries, chosen at random."""
    X = X.astype(np.float64)
    X[np.random.default_rng(seed).uniform(size=X.shape) < share] = np.nan
    return X


def measured(name, side, seed, threads, deleted=0.0):
    """One fit and its error, with a share of the entries deleted."""
    from sklearn.multioutput import MultiOutputRegressor

    X, y, X_test, y_test, categorical = load(name)
    if deleted:
        X, X_test = with_gaps(X, deleted, 1 + seed), with_gaps(X_test, deleted, 1001 + seed)
    model = SIDES[side](name in CLASSES, categorical, seed, threads)
    if y.ndim > 1 and side in ("HistGradientBoosting", "LightGBM"):
        model = MultiOutputRegressor(model)
    wall, processor = time.perf_counter(), time.process_time()
    model.fit(X, y)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {
        "set": name,
        "side": side,
        "seed": seed,
        "error": error(name, model.predict(X_test), y_test),
        "seconds": wall,
        "processor_seconds": processor,
        "threads": threads,
        "deleted": deleted,
    }


def run(log, names, sides, seeds, threads, deleted):
    """Append to the log what is not in it."""
    done = {(entry["set"], entry["side"], entry["seed"]) for entry in read(log) if entry["deleted"] == deleted}
    for seed in seeds:
        for name in names:
            for side in sides:
                if (name, side, seed) in done:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    entry = measured(name, side, seed, threads, deleted)
                with log.open("a", encoding="utf8") as file:
                    file.write(json.dumps(entry) + "\n")
                ratio = entry["error"] / TD_S[name]
                print(
                    f"{name:<20} {side:<22} {seed} {entry['error']:.5f} {ratio:.3f} {entry['seconds']:.1f} s",
                    flush=True,
                )


def read(log):
    """Entries of a log."""
    lines = log.read_text(encoding="utf8").splitlines() if log.exists() else []
    return [{"deleted": 0.0, **json.loads(line)} for line in lines]


# --- results ----------------------------------------------------------------------------------------------------------


def means(entries):
    """side -> set -> (mean error, mean seconds of processors), over seeds."""
    found = {}
    for entry in entries:
        found.setdefault(entry["side"], {}).setdefault(entry["set"], []).append(
            (entry["error"], entry["processor_seconds"])
        )
    return {side: {name: tuple(np.mean(v, axis=0)) for name, v in sets.items()} for side, sets in found.items()}


def ratios(results):
    """side -> geometric mean of its errors in multiples of TD-S's, over the sets that it ran on."""
    return {
        side: float(np.exp(np.mean([np.log(max(sets[name][0], 1e-9) / TD_S[name]) for name in sets])))
        for side, sets in results.items()
    }


def complete(results):
    """Results of the sides that ran on all sets."""
    return {side: sets for side, sets in results.items() if len(sets) == len(TD_S)}


def rises(entries):
    """Rows of the table of missing values: by how much each side's error grows, and the mean."""
    whole, gaps = (means(e for e in entries if e["deleted"] == share) for share in (0.0, DELETED))
    found = {
        side: {name: float(gaps[side][name][0] / whole[side][name][0]) for name in WITH_GAPS}
        for side in SIDES
        if all(name in results.get(side, {}) for results in (whole, gaps) for name in WITH_GAPS)
    }
    rows = [{"set": name, **{side: growth[name] for side, growth in found.items()}} for name in WITH_GAPS]
    mean = {side: float(np.exp(np.mean(np.log([*growth.values()])))) for side, growth in found.items()}
    return [*rows, {"set": "**mean**", **mean}] if found else []


def rows_of(results):
    """The table: a row for each set, errors by side, and the means."""
    results = {side: sets for side, sets in results.items() if side != REFERENCE or len(sets) == len(TD_S)}
    order = [side for side in SIDES if side in results]
    rows = [
        {"set": name, REFERENCE: error, **{s: float(results[s][name][0]) for s in order if name in results[s]}}
        for name, error in TD_S.items()
    ]
    rows.append({"set": "**mean ratio**", REFERENCE: 1.0, **ratios(results)})
    rows.append({"set": "**sets**", REFERENCE: len(TD_S), **{side: len(results[side]) for side in order}})
    on_all = complete(results)
    ranks = {side: [] for side in (*on_all, REFERENCE)}
    for name, reference in TD_S.items():
        errors = {REFERENCE: reference} | {side: on_all[side][name][0] for side in on_all}
        for side, value in errors.items():
            below, equal = (sum(f(other, value) for other in errors.values()) for f in (np.less, np.equal))
            ranks[side].append(below + (equal + 1) / 2)
    rows.append({"set": "**mean rank**", **{side: float(np.mean(values)) for side, values in ranks.items()}})
    seconds = {side: float(sum(results[side][name][1] for name in results[side])) for side in order}
    rows.append({"set": "**seconds**", **seconds})
    return rows


def bars_of(results):
    """Bars of our presets that ran on all sets."""
    return [
        {
            "name": f"tables, {side}: error in multiples of RealMLP-TD-S's",
            "measured": mean,
            "must": BARS[side][0],
            "aim": BARS[side][1],
            "unit": "×",
            "better": "lower",
        }
        for side, mean in ratios(complete(results)).items()
        if side in BARS
    ]


def bars_of_missing(rows):
    """The bar of missing values, for our presets."""
    peer, most = MISSING
    mean = rows[-1] if rows and peer in rows[-1] else {}
    return [
        {
            "name": f"tables, {side}: rise of the error by missing values, in multiples of {peer}'s",
            "measured": mean[side] / mean[peer],
            "must": most,
            "aim": None,
            "unit": "×",
            "better": "lower",
        }
        for side in mean
        if side in BARS
    ]


def benchmarks_of(table, rows, bars):
    """Rows of a table, as pytest-benchmark would store them; the first one has the bars."""
    return [
        {
            "name": f"{table}[{row['set'].strip('*')}]",
            "fullname": f"benchmarks/tables.py::{table}[{row['set'].strip('*')}]",
            "extra_info": {"table": table, "row": row, "bars": bars if not number else []},
        }
        for number, row in enumerate(rows)
    ]


def stored(log_entries):
    """The file's content, as pytest-benchmark would store it."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.conftest import cores, packages

    results, missing = means(e for e in log_entries if not e["deleted"]), rises(log_entries)
    entries = benchmarks_of("tables", rows_of(results), bars_of(results))
    entries += benchmarks_of("missing-values", missing, bars_of_missing(missing))
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines() if sys.platform == "linux" else []
    brand = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    info = {
        "machine": platform.machine(),
        "python_version": platform.python_version(),
        "system": platform.system(),
        "cpu": {"brand_raw": brand},
        "cores": len(cores()),
        "packages": packages(),
        "seeds": sorted({entry["seed"] for entry in log_entries}),
    }
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    return {"machine_info": info, "benchmarks": entries, "datetime": now, "version": "5"}


def store(log):
    """Write the results and the table of the documentation."""
    sys.path.insert(0, str(ROOT))
    from benchmarks import report

    content = stored(read(log))
    bits = platform.architecture()[0]
    machine = (
        f"{platform.system()}-{platform.python_implementation()}-{'.'.join(platform.python_version_tuple()[:2])}-{bits}"
    )
    folder = ROOT / "bench_results" / machine
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name[:4]) for path in folder.glob("[0-9]*_*.json")]
    path = folder / f"{max(numbers, default=0) + 1:04}_tables.json"
    path.write_text(json.dumps(content, indent=1), encoding="utf8")
    page = ROOT / "docs" / "tables.md"
    if page.exists():
        page.write_text(
            report.fill(page.read_text(encoding="utf8"), report.load(ROOT / "bench_results")), encoding="utf8"
        )
    print(f"written: {path} and {page}; now python benchmarks/report.py")


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("run", help="measure")
    measure.add_argument("log", type=pathlib.Path)
    measure.add_argument("--sides", nargs="+", choices=SIDES, default=["fast", "default", "LightGBM"])
    measure.add_argument("--sets", nargs="+", choices=TD_S, default=list(TD_S))
    measure.add_argument("--seeds", nargs="+", type=int, default=[0])
    measure.add_argument("--threads", type=int, default=2)
    measure.add_argument("--deleted", type=float, default=0.0, help="share of the entries that are deleted")
    keep = commands.add_parser("store", help="write the results")
    keep.add_argument("log", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.log, arguments.sets, arguments.sides, arguments.seeds, arguments.threads, arguments.deleted)
    else:
        store(arguments.log)


if __name__ == "__main__":
    main()
