"""The demo `digits`: fastmlp beside scikit-learn's MLP, with the same parameters and the same seed.

Both are timed by their own `fit`, from call to return.
"""

import time
from collections.abc import Sequence

from . import Options
from .data import Data, load_digits, load_mnist
from .live_fit import Result, fit_watched
from .output import print_table


def table(results: Sequence[Result]) -> list[list[str]]:
    """Header and rows; the ratio is to the slowest side, by seconds."""
    slowest = max(result.seconds for result in results)
    rows = [["", "seconds", "epochs", "test accuracy", "ratio"]]
    for side, seconds, epochs, accuracy in results:
        rows.append([side, f"{seconds:.3f}", str(epochs), f"{accuracy:.2%}", f"{slowest / seconds:.1f}×"])
    return rows


def warm_up(data: Data) -> float:
    """Seconds of a first, tiny fit and score of fastmlp: the kernels' compilation, or their loading from the cache."""
    from .. import MLPClassifier

    start = time.perf_counter()
    classifier = MLPClassifier((4,), max_iter=1, random_state=0).fit(data.X_train[:64], data.y_train[:64])
    classifier.score(data.X_test[:64], data.y_test[:64])
    return time.perf_counter() - start


def compare(data: Data, max_epochs: int) -> list[Result]:
    """Fit both sides on the same rows, with default parameters and the same seed."""
    from sklearn.neural_network import MLPClassifier as Original

    from .. import MLPClassifier

    sides = {"fastmlp": MLPClassifier, "scikit-learn": Original}
    return [fit_watched(side(max_iter=max_epochs, random_state=0), data, name) for name, side in sides.items()]


def demonstrate(options: Options) -> None:
    """On scikit-learn's digits, or on MNIST with --mnist FOLDER."""
    data = load_digits() if options.mnist is None else load_mnist(options.mnist)
    print(data)
    print(f"compiling kernels (once; cached at {options.cache}) ...", end=" ", flush=True)
    print(f"{warm_up(data):.1f} s", flush=True)
    results = compare(data, options.budget(200, quick=3))
    print()
    print_table(table(results), f"MLPClassifier(random_state=0) on {data.name}")
