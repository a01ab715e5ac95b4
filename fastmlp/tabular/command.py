"""`fastmlp fit TABLE --target COLUMN` and `fastmlp predict MODEL TABLE`: from a file to a model and a report.

Files are read by pandas, Parquet by pyarrow beneath it: ``pip install "fastmlp[tables]"``. A model is a pickle; load
only models from where you would run programs from.
"""

import argparse
import pathlib
import pickle
import sys
import time
import warnings
from collections import Counter
from typing import Any

import numpy as np

MOST_CLASSES = 20  # distinct whole numbers in a target up to which they are classes
HELD_OUT = 0.2  # of the rows are for the report
FEWEST = 10  # rows, of which two are held out


class TableError(Exception):
    """What is wrong with a file or a column, in one sentence."""


def read_table(path: pathlib.Path) -> Any:
    """A file of comma-separated values (``.csv``, ``.tsv``, also compressed) or Parquet as a pandas frame."""
    try:
        import pandas
    except ImportError as error:
        raise TableError('fastmlp fit needs pandas; install it with pip install "fastmlp[tables]".') from error
    kinds = {suffix.lower() for suffix in path.suffixes}
    try:
        if kinds & {".parquet", ".pq"}:
            return pandas.read_parquet(path)
        if not kinds & {".csv", ".tsv", ".txt"}:
            raise TableError(f"TABLE must end in .csv, .tsv or .parquet; got {path.name}.")
        return pandas.read_csv(path, sep="\t" if ".tsv" in kinds else ",")
    except ImportError as error:
        raise TableError('Parquet files need pyarrow; install it with pip install "fastmlp[tables]".') from error
    except (OSError, ValueError) as error:
        raise TableError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def with_dates(frame: Any) -> Any:
    """The frame with its columns of texts that are all dates in ISO's form read as dates."""
    import pandas

    for name in frame.columns:
        column = frame[name]
        if not (pandas.api.types.is_object_dtype(column) or pandas.api.types.is_string_dtype(column)):
            continue
        present = column.dropna().astype(str)
        if len(present) and present.str.match(r"\d{4}-\d{2}-\d{2}").all():
            dates = pandas.to_datetime(column, format="ISO8601", errors="coerce")
            if dates.notna().sum() == len(present):
                frame = frame.assign(**{name: dates})
    return frame


def task_of(target: Any, wanted: str) -> str:
    """'classes' or 'numbers': what the user says, or what the target looks like."""
    if wanted != "auto":
        return wanted
    if target.dtype.kind == "f" and not (target == target.round()).all():
        return "numbers"
    return "numbers" if target.dtype.kind in "iuf" and target.nunique() > MOST_CLASSES else "classes"


def kinds_of(encoder: Any) -> list[str]:
    """Lines about the columns: how many of each kind, which are dates and which are dropped."""
    counts = Counter(kind for name, kind in encoder.kinds_.items() if name not in encoder.dropped_)
    lines = ["columns    " + ", ".join(f"{count} {kind}" for kind, count in counts.items())]
    dates = [name for name, kind in encoder.kinds_.items() if kind == "date" and name not in encoder.dropped_]
    if dates:
        lines.append("dates      " + ", ".join(dates))
    return lines + [f"dropped    {name}: {reason}" for name, reason in encoder.dropped_.items()]


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning in the terminal, without the line of the program that gives it."""
    print(f"fastmlp: warning: {message}", file=sys.stderr)


def _some(names: Any) -> str:
    """The first names of a list."""
    shown = [repr(str(name)) for name in names[:5]]
    return ", ".join(shown) + f" and {len(names) - 5} more" * (len(names) > 5)


def fit(arguments: argparse.Namespace) -> None:
    """Train a model for the column of a table, and say how good it is beside simpler ones."""
    frame = with_dates(read_table(arguments.table))
    name = arguments.target
    if name not in frame.columns:
        raise TableError(f"--target must be a column of {arguments.table.name} ({_some(frame.columns)}); got {name!r}.")
    if len(frame.columns) == 1:
        raise TableError(f"{arguments.table.name} must have a column besides {name!r} to predict it from.")
    missing = frame[name].isna()
    if len(frame) - missing.sum() < FEWEST:
        raise TableError(
            f"{arguments.table.name} must have {FEWEST} rows or more with a {name!r}; got {len(frame) - missing.sum()}."
        )
    frame, target = frame[~missing].drop(columns=name), frame.loc[~missing, name]
    print(f"rows       {len(frame):,}" + f" ({missing.sum():,} without {name} are left out)" * bool(missing.any()))
    task = task_of(target, arguments.task)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            model = _fitted(frame, target.to_numpy(), task, arguments)
    except (ValueError, TypeError) as error:
        raise TableError(" ".join(str(error).split())) from error
    output = arguments.output or arguments.table.with_suffix(".fastmlp")
    with open(output, "wb") as file:
        pickle.dump({"model": model, "target": name}, file)
    print(f"model      {output}")


def _fitted(frame: Any, target: np.ndarray, task: str, arguments: argparse.Namespace) -> Any:
    """The report, by a model of four fifths of the rows; then the model of all rows."""
    from .classifier import TabularClassifier
    from .regressor import TabularRegressor
    from .selection import divided

    kind = TabularClassifier if task == "classes" else TabularRegressor
    model = kind(preset=arguments.preset, max_time=arguments.seconds, random_state=0)
    codes = np.unique(target, return_inverse=True)[1] if task == "classes" else None
    rows, others = divided(np.arange(len(target)), HELD_OUT, codes, 0)
    start = time.perf_counter()
    model.fit(frame.iloc[rows], target[rows])
    seconds = time.perf_counter() - start
    for line in kinds_of(model.encoder_):
        print(line)
    metric = "accuracy" if task == "classes" else "R²"
    print(f"{metric} on {len(others):,} held-out rows")
    scores = {"fastmlp": (model.score(frame.iloc[others], target[others]), seconds)}
    scores |= _rivals(frame, target, rows, others, task)
    for rival, (score, duration) in scores.items():
        print(f"  {rival:<34} {score:.4f}  {duration:7.1f} s")
    return model.fit(frame, target)


def _rivals(frame: Any, target: np.ndarray, rows: np.ndarray, others: np.ndarray, task: str) -> dict[str, Any]:
    """Scores and seconds of a constant and of boosted trees on the same rows."""
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    from .encoder import TableEncoder

    encoder = TableEncoder(n_bins=0).fit(frame.iloc[rows])
    X, X_other = encoder.transform(frame.iloc[rows]), encoder.transform(frame.iloc[others])
    classes = task == "classes"
    rivals = {
        "majority" if classes else "mean": DummyClassifier() if classes else DummyRegressor(),
        "scikit-learn HistGradientBoosting": (
            HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        )(random_state=0),
    }
    found = {}
    for name, rival in rivals.items():
        start = time.perf_counter()
        rival.fit(X, target[rows])
        found[name] = rival.score(X_other, target[others]), time.perf_counter() - start
    return found


def predict(arguments: argparse.Namespace) -> None:
    """Write a model's predictions for the rows of a table as comma-separated values."""
    import pandas

    try:
        with open(arguments.model, "rb") as file:
            content = pickle.load(file)
        model, name = content["model"], content["target"]
    except (OSError, pickle.UnpicklingError, KeyError, TypeError, EOFError) as error:
        raise TableError(
            f"MODEL must be a file that fastmlp fit has written; got {arguments.model} ({error})."
        ) from error
    frame = with_dates(read_table(arguments.table))
    absent = [column for column in model.feature_names_in_ if column not in frame.columns]
    if absent:
        raise TableError(f"{arguments.table.name} must have the model's columns; {absent[0]!r} is missing.")
    rows = frame[list(model.feature_names_in_)]
    try:
        found = pandas.DataFrame({name: model.predict(rows)})
        if hasattr(model, "predict_proba"):
            probabilities = model.predict_proba(rows)
            for column, label in enumerate(model.classes_.tolist()):
                found[f"{name}_{label}"] = probabilities[:, column].round(6)
    except (ValueError, TypeError) as error:
        raise TableError(" ".join(str(error).split())) from error
    found.to_csv(arguments.output or sys.stdout, index=False)


ABOUT = {  # python -OO strips docstrings
    "fit": "train a model for the column of a table, and say how good it is beside simpler ones",
    "predict": "write a model's predictions for the rows of a table as comma-separated values",
}


def add_arguments(commands: Any) -> None:
    """Give argparse's subcommands these two."""
    for function in (fit, predict):
        text = ABOUT[function.__name__]
        command = commands.add_parser(function.__name__, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(function=function)
        if function is predict:
            command.add_argument("model", metavar="MODEL", type=pathlib.Path, help="what fastmlp fit has written")
        command.add_argument("table", metavar="TABLE", type=pathlib.Path, help="a .csv, .tsv or .parquet file")
        command.add_argument("--output", metavar="FILE", type=pathlib.Path, help="to write")
        if function is fit:
            command.add_argument("--target", metavar="COLUMN", required=True, help="the column to predict")
            command.add_argument("--task", choices=("auto", "classes", "numbers"), default="auto", help="what it holds")
            command.add_argument("--preset", choices=("fast", "default", "best"), default="default")
            command.add_argument("--seconds", metavar="N", type=float, help="for each of two trainings")
