"""Fits on rows of a folder, in a process whose memory is limited, and the same fits in memory.

`python out_of_core.py SIDE WORKLOAD FOLDER BUDGET` answers each line of its input, `EPOCHS SHUFFLE`, with a line of
JSON. The side `blocks` has BUDGET bytes more than what the imports and a first small fit have left it with.
"""

import json
import pathlib
import subprocess
import sys
import time
import warnings

import numpy as np

from benchmarks.fresh_process import forget_peak, peak_bytes
from benchmarks.workloads import WORKLOADS

FILE_BYTES = 16 << 20
THREADS = 2


def write(workload, folder, size):
    """Rows of a workload, `size` bytes together, in files of a 32nd of them or some 16 MiB; made file by file."""
    rows = max(1, min(FILE_BYTES, size // 32) // (4 * workload.features))
    projections = np.random.default_rng(0).standard_normal((workload.features, workload.classes), dtype=np.float32)
    for number in range(max(1, size // (4 * rows * workload.features))):
        X = np.random.default_rng([1, number]).standard_normal((rows, workload.features), dtype=np.float32)
        np.save(folder / f"X_{number:05}.npy", X)
        np.save(folder / f"y_{number:05}.npy", (X @ projections).argmax(axis=1))


def files(folder, kind):
    """The files of X or of y, in their order."""
    return sorted(pathlib.Path(folder).glob(f"{kind}_*.npy"))


def in_memory(folder):
    """All rows: X is filled file by file, so that it is there once."""
    parts = [np.load(path, mmap_mode="r") for path in files(folder, "X")]
    X = np.empty((sum(map(len, parts)), parts[0].shape[1]), np.float32)
    at = 0
    for part in parts:
        X[at : at + len(part)] = part
        at += len(part)
    return X, np.concatenate([np.load(path) for path in files(folder, "y")])


def limit_memory(budget):
    """No more than so many bytes beside those of now: of all that can be written to, used or not."""
    import resource

    status = pathlib.Path("/proc/self/status").read_text(encoding="utf8")
    used = 1024 * int(status.partition("VmData:")[2].split()[0])
    resource.setrlimit(resource.RLIMIT_DATA, (used + budget, used + budget))


def serve(side, name, folder, budget):
    """One fit for each line of the standard input."""
    from fastmlp import MLPClassifier
    from fastmlp.blocks import from_folder

    warnings.simplefilter("ignore")
    workload = WORKLOADS[name]

    def fit(data, epochs, shuffle=True):
        model = MLPClassifier(
            hidden_layer_sizes=workload.hidden,
            activation=workload.activation,
            batch_size=workload.batch,
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=epochs + 1,
            shuffle=shuffle,
            random_state=0,
            n_threads=THREADS,
        )
        begin, computed = time.perf_counter(), time.process_time()
        model.fit(*data)
        return model, time.perf_counter() - begin, time.process_time() - computed

    first = [np.load(files(folder, kind)[0])[:2000] for kind in ("X", "y")]
    fit(first, 1)
    if side == "blocks":
        limit_memory(int(budget))
        data = (from_folder(folder),)
    else:
        data = in_memory(folder)
    forget_peak()
    before = peak_bytes()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        epochs, shuffle = map(int, line.split())
        model, seconds, computed = fit(data, epochs, bool(shuffle))
        answer = {"seconds": seconds, "cpu": computed, "losses": model.loss_curve_, "grown": peak_bytes() - before}
        print(json.dumps(answer), flush=True)


class Side:
    """A process that fits when it is asked to."""

    def __init__(self, side, workload, folder, budget):
        command = [sys.executable, "-m", "benchmarks.out_of_core", side, workload.name, str(folder), str(budget)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} has ended with {self.process.wait()}; its error is above.")
        return json.loads(line)

    def fit(self, epochs, *, shuffle=True):
        """Seconds, seconds of the processor, losses of the epochs, and growth of the peak of resident memory."""
        self.process.stdin.write(f"{epochs} {int(shuffle)}\n")
        self.process.stdin.flush()
        return self._answer()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait()


if __name__ == "__main__":
    serve(*sys.argv[1:])
