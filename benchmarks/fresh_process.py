"""What must be measured in a new process: memory, start-up, imports. `python fresh_process.py TASK [ARGUMENT ...]`

Each task prints one JSON object. The file is run as a script and imports of its neighbours the workloads at most.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
import warnings

MB = 10**6
ROWS, FEATURES = 60_000, 784  # MNIST's shape


# What a process of nobody's is started by, in a namespace of mounts of its own: all is read-only, and there is no home.
CONFINED = """mount --make-rprivate / && mount -o remount,bind,ro / &&
exec setpriv --reuid=65534 --regid=65534 --clear-groups env -i "$@" """


def measure(task, *arguments, installed=None, confine=None, **environment):
    """Run a task in a new process, with these environment variables besides the present ones.

    Parameters
    ----------
    installed : the folder of an installed package that is to be measured in place of the source
    confine : the interpreter, of `interpreter_of_all`, for a process that may write nowhere and has no such variables
    """
    root = str(pathlib.Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (installed and str(installed), root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, __file__, task, *map(str, arguments)]
    if confine is not None:
        path = os.pathsep.join((path, *(folder for folder in sys.path if folder.endswith("-packages"))))
        command = ["unshare", "-m", "sh", "-c", CONFINED, "sh", f"PYTHONPATH={path}", confine, *command[1:]]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path, **environment}
    )
    if answer.returncode:
        raise RuntimeError(f"{task} {arguments} failed:\n{answer.stderr}")
    return json.loads(answer.stdout.splitlines()[-1])


def interpreter_of_all():
    """An interpreter of this version that an unprivileged user may run, confined as in `measure`; None without one."""
    for python in (sys.executable, "/usr/bin/python{}.{}".format(*sys.version_info)):
        command = ["unshare", "-m", "sh", "-c", CONFINED, "sh", python, "-c", "import os; assert os.getuid() == 65534"]
        try:
            if not subprocess.run(command, capture_output=True, check=False).returncode:
                return python
        except OSError:  # another system
            return None
    return None


def peak_bytes():
    """Peak of the resident memory so far."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak():
    """Let the peak start from what is resident now (Linux), so that the compiler's own needs hide nothing."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def memory(case, scale="1"):
    """Growth of the peak by fitting MNIST's shape, C-contiguous float32, after a fit of 1,000 rows."""
    import numpy as np

    from fastmlp import MLPClassifier

    classes = 1000 if case == "classes" else 10
    rows = int(ROWS * float(scale))
    random = np.random.default_rng(0)
    X = random.random((rows, FEATURES), dtype=np.float32)
    y = np.arange(rows) % classes
    parameters = {"max_iter": 3, "random_state": 0, "n_threads": 2, "early_stopping": case == "early_stopping"}
    MLPClassifier(**parameters).fit(X[:1000], y[:1000] % 10)
    forget_peak()
    before = peak_bytes()
    estimator = MLPClassifier(**parameters).fit(X, y)
    grown = peak_bytes() - before
    count = sum(part.size for part in estimator.coefs_ + estimator.intercepts_)
    size = sum(part.nbytes for part in estimator.coefs_ + estimator.intercepts_)
    allowed = 0.3 * X.nbytes + 8 * size + 30 * MB
    return {"grown": grown / MB, "allowed": allowed / MB, "X": X.nbytes / MB, "parameters": count}


def sparse_memory(package, dtype="float64"):
    """Growth of the peak, and the peak, of a fit of 20,000 x 50,000 sparse rows, after a fit of 1,000 narrow ones."""
    from benchmarks.workloads import SPARSE, make_sparse_data

    if package == "fastmlp":
        from fastmlp import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier
    X, y = make_sparse_data(SPARSE, dtype)
    parameters = {"hidden_layer_sizes": SPARSE.hidden, "batch_size": SPARSE.batch, "max_iter": 2, "random_state": 0}
    MLPClassifier(**parameters).fit(X[:1000, :1000], y[:1000])
    forget_peak()
    before = peak_bytes()
    MLPClassifier(**parameters).fit(X, y)
    return {"grown": (peak_bytes() - before) / MB, "peak": peak_bytes() / MB}


def first_fit(dtype="float32"):
    """Seconds of the first and of the second fit of a process, on the digits."""
    from sklearn.datasets import load_digits

    from fastmlp import MLPClassifier

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(dtype)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        MLPClassifier(max_iter=2, random_state=0).fit(X, y)
        seconds.append(time.perf_counter() - start)
    return {"first": seconds[0], "second": seconds[1]}


def whole(package):
    """Nothing but what a user does: import, fit the digits with default parameters, predict, end."""
    from sklearn.datasets import load_digits

    if package == "fastmlp":
        from fastmlp import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier
    X, y = load_digits(return_X_y=True)
    X = X / 16
    return {"accuracy": float((MLPClassifier(random_state=0).fit(X, y).predict(X) == y).mean())}


def import_time(package):
    """Seconds until the classifier of "fastmlp" or "scikit-learn" is there."""
    start = time.perf_counter()
    if package == "fastmlp":
        import fastmlp

        fastmlp.MLPClassifier  # noqa: B018 (loaded when first asked for)
    else:
        from sklearn.neural_network import MLPClassifier  # noqa: F401
    return {"seconds": time.perf_counter() - start}


GRID = {"alpha": [1e-5, 1e-4, 1e-3, 1e-2], "learning_rate_init": [5e-4, 1e-3, 2e-3]}


def search(package, backend, dtype):
    """Seconds of the first and of the second search of a process, each the same; its scores and best parameters.

    12 candidates x 5 folds x 50 epochs on the digits, in two jobs. The classifier is imported beforehand here, but not
    in the workers.
    """
    import joblib
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV

    if package == "fastmlp":
        from fastmlp import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(dtype)
    classifier = MLPClassifier(max_iter=50, tol=0.0, n_iter_no_change=50, random_state=0)
    seconds = []
    with joblib.parallel_config(backend):
        for _ in range(2):
            searching = GridSearchCV(classifier, GRID, cv=5, n_jobs=2)
            start = time.perf_counter()
            searching.fit(X, y)
            seconds.append(time.perf_counter() - start)
    scores = searching.cv_results_["mean_test_score"].tolist()
    return {"seconds": seconds, "scores": scores, "best": searching.best_params_}


def large_table(rows="100000", epochs="8"):
    """Seconds of the encoding and of the fit of a table of 50 mixed columns, and the growth of the peak by the fit."""
    import numpy as np
    import pandas as pd

    from fastmlp import TabularClassifier
    from fastmlp.tabular import TableEncoder

    n = int(rows)
    random = np.random.default_rng(0)
    columns = {f"number{k}": random.lognormal(sigma=1 + k % 3, size=n) for k in range(20)}
    columns |= {f"count{k}": random.poisson(1 + k, size=n) for k in range(10)}
    columns |= {f"text{k}": random.choice([f"level {j}" for j in range(3 + 2 * k)], n) for k in range(10)}
    columns |= {f"flag{k}": random.uniform(size=n) < 0.2 for k in range(5)}
    columns |= {f"date{k}": np.datetime64("2020-01-01") + random.integers(0, 10**8, n) for k in range(5)}
    table = pd.DataFrame(columns)
    for k in range(0, 20, 4):
        table.loc[random.uniform(size=n) < 0.1, f"number{k}"] = np.nan
    y = (np.log(columns["number1"]) + columns["flag0"] + random.normal(size=n) > 0.5).astype(int)
    model = TabularClassifier(preset="fast", max_epochs=int(epochs), random_state=0)
    model.fit(table[:1000], y[:1000])
    forget_peak()
    before, start = peak_bytes(), time.perf_counter()
    model.fit(table, y)
    seconds, grown = time.perf_counter() - start, peak_bytes() - before
    start = time.perf_counter()
    encoded = TableEncoder().fit_transform(table)
    encoding = time.perf_counter() - start
    return {"encoding": encoding, "fit": seconds, "grown": grown / MB, "encoded": encoded.nbytes / MB}


TASKS = {task.__name__: task for task in (memory, sparse_memory, first_fit, whole, import_time, search, large_table)}

if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore"  # nothing converges in so few epochs, in worker processes neither
    warnings.simplefilter("ignore")
    print(json.dumps(TASKS[sys.argv[1]](*sys.argv[2:])))
