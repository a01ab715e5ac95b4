"""The demo `digits`: fastmlp beside scikit-learn's MLP, with the same parameters and the same seed.

scikit-learn runs twice: with its default number of BLAS threads, and with one, which is often faster for networks of
this size. Each side is timed by its own `fit`, from call to return; the sides take turns, and the median of the runs
counts. The ratio compares with the faster of scikit-learn's two sides.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import Options
from .data import Data, load_digits, load_mnist
from .live_fit import Result, fit_watched
from .output import print_table

RUNS = 3
OURS, THEIRS, THEIRS_ONE = "fastmlp", "scikit-learn, default threads", "scikit-learn, one thread"


def median(results: Sequence[Result]) -> Result:
    """The run whose seconds are the median."""
    return sorted(results, key=lambda result: result.seconds)[len(results) // 2]


def table(results: Sequence[Result]) -> list[list[str]]:
    """Header and rows; the ratio compares with the faster of scikit-learn's sides, by seconds."""
    best = min(result.seconds for result in results if result.side != OURS)
    rows = [["", "seconds", "CPU seconds", "epochs", "test accuracy", "ratio"]]
    for side, seconds, epochs, accuracy, cpu_seconds in results:
        numbers = f"{seconds:.3f}", f"{cpu_seconds:.3f}", str(epochs), f"{accuracy:.2%}", f"{best / seconds:.1f}×"
        rows.append([side, *numbers])
    return rows


def warm_up(data: Data) -> float:
    """Seconds of a first, tiny fit and score of fastmlp: the kernels' compilation, or their loading from the cache."""
    from .. import MLPClassifier

    start = time.perf_counter()
    classifier = MLPClassifier((4,), max_iter=1, random_state=0).fit(data.X_train[:64], data.y_train[:64])
    classifier.score(data.X_test[:64], data.y_test[:64])
    return time.perf_counter() - start


def one_blas_thread() -> Any:
    """A context in which NumPy's matrix products have one thread."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def compare(data: Data, max_epochs: int) -> list[Result]:
    """Fit all sides in turns on the same rows, with default parameters and the same seed; the median run of each."""
    from sklearn.neural_network import MLPClassifier as Original

    from .. import MLPClassifier

    sides: dict[str, tuple[type[Any], Callable[[], Any]]] = {
        OURS: (MLPClassifier, contextlib.nullcontext),
        THEIRS: (Original, contextlib.nullcontext),
        THEIRS_ONE: (Original, one_blas_thread),
    }
    runs: dict[str, list[Result]] = {side: [] for side in sides}
    for _ in range(RUNS):
        for side, (estimator_class, limits) in sides.items():
            with limits():
                runs[side].append(fit_watched(estimator_class(max_iter=max_epochs, random_state=0), data, side))
    return [median(results) for results in runs.values()]


def demonstrate(options: Options) -> None:
    """On scikit-learn's digits, or on MNIST with --mnist FOLDER."""
    data = load_digits() if options.mnist is None else load_mnist(options.mnist)
    print(data)
    print(f"first fit: {warm_up(data):.1f} s; kernels that it had to compile are kept at {options.cache}", flush=True)
    results = compare(data, options.budget(200 if options.mnist is None else 10, quick=3))
    print()
    print_table(table(results), f"MLPClassifier(random_state=0) on {data.name}, median of {RUNS} runs")
    print("The ratio compares seconds with the faster of scikit-learn's two sides.")
