"""Faults at random, each in a process of its own: signals, forks, little memory, a violent end, damaged caches.

What must hold after each of them: the next fit and prediction are right to the bit, no thread computes any more, and no
core is taken.
"""

import gc
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import numpy as np

from fastmlp.machine.worker import POOL

PATIENCE = 300  # seconds after which a process hangs
LOOKS = 20_000  # at threads that are about to end
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FAULTS = {}


def fault(function):
    """Add a fault to FAULTS."""
    FAULTS[function.__name__] = function
    return function


def run(name, seed):
    """Provoke a fault in a new process; what went wrong, or nothing."""
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-c",
        "from tests.faults.cases import main; main()",
        name,
        str(seed),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    try:
        output = process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return "it hangs\n" + process.communicate()[0]
    return f"exit status {process.returncode}\n{output}" if process.returncode else ""


def main():
    """What the new process does."""
    name, seed = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")
    trial = Trial(seed)
    FAULTS[name](trial)
    trial.check()


class Trial:
    """Work of a random kind, and what must hold after it.

    Attributes
    ----------
    seed, random : of the trial; X, y : rows to train on
    """

    def __init__(self, seed):
        self.seed, self.random = seed, random.Random(seed)
        numbers = np.random.default_rng(seed)
        self.X = numbers.normal(size=(3000, 20)).astype(np.float32)
        self.y = (self.X[:, 0] > 0).astype(int)
        self.threads = self.random.choice([None, 1, 2, 3])
        self.members = self.random.choice([1, 1, 2])
        self.fit()  # loads the kernels
        self.expected = self.fit().predict_proba(self.X)

    def fit(self, **parameters):
        """A model of a few epochs."""
        from fastmlp import MLPClassifier

        settings = {"max_iter": 3, "random_state": 0, "n_threads": self.threads, "n_estimators": self.members}
        return MLPClassifier(**{"hidden_layer_sizes": (40,), **settings, **parameters}).fit(self.X, self.y)

    def work(self):
        """Fit and predict once; some 20 ms."""
        return self.fit().predict_proba(self.X)

    def check(self):
        """Assert what must hold after a fault."""
        from fastmlp.machine.cores import BUDGET

        np.testing.assert_array_equal(self.work(), self.expected)
        gc.collect()
        leases = [reference() for reference in BUDGET._leases.copy().values()]
        assert not [lease for lease in leases if lease is not None and lease.wanted], "a core is taken"
        for _ in range(LOOKS):
            if len(sys._current_frames()) <= threading.active_count() + POOL.waiting:
                return
            time.sleep(0.001)
        raise AssertionError("a thread is left")


@fault
def signals(trial):
    """Interrupts at random moments of fits and predictions."""
    main_thread, over = threading.main_thread().ident, threading.Event()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored

    def send():
        for _ in range(30):
            time.sleep(trial.random.uniform(0, 0.03))
            signal.pthread_kill(main_thread, signal.SIGINT)
        over.set()

    sender = threading.Thread(target=send)
    try:
        sender.start()
    except KeyboardInterrupt:
        pass
    while not over.is_set():
        try:
            trial.work()
        except KeyboardInterrupt:
            continue
    while sender.is_alive():
        try:
            sender.join()
        except KeyboardInterrupt:
            continue


@fault
def forks(trial):
    """Children at random moments of a fit in another thread: they fit and predict themselves."""
    over = threading.Event()

    def go_on():
        while not over.is_set():
            trial.work()

    thread = threading.Thread(target=go_on)
    thread.start()
    for _ in range(5):
        time.sleep(trial.random.uniform(0, 0.05))
        child = os.fork()
        if not child:
            signal.alarm(PATIENCE // 2)
            try:
                os._exit(0 if np.array_equal(trial.work(), trial.expected) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    over.set()
    thread.join()


@fault
def little_memory(trial):
    """A limit of the address space, at random: a fit ends well or with a MemoryError."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # another system
        return
    for _ in range(10):
        room = int(trial.random.uniform(0, 60) * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (used + room, hard))
        try:
            trial.fit(hidden_layer_sizes=(trial.random.choice([10, 300, 3000]),), max_iter=1).predict_proba(trial.X)
        except MemoryError:
            pass
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@fault
def violent_end(trial):
    """A process that is killed at a random moment harms no later one: neither caches nor models."""
    command = [sys.executable, "-c", "from tests.faults.cases import main; main()", "signals", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(trial.random.uniform(0, 4))
    process.kill()
    process.wait()
    answer = subprocess.run([*command[:2], "from tests.faults.cases import Trial; Trial(0).check()"], check=False)
    assert answer.returncode == 0


# --- damaged caches ---------------------------------------------------------------------------------------------------

COMPILES = 0.2  # share of the trials in which no whole file is left: to compile takes as long as ten of the others
FOLDERS = 6  # of damaged files, which are looked through before whole ones


@fault
def damaged_caches(trial):
    """Files of machine code that are damaged, or of something else, are refused, and the fit has the same bits."""
    from fastmlp.machine import kernels, object_file

    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for kernel in kernels.KERNELS:
            for dtype in kernel.origins:
                stamp = {**kernel.stamp(dtype), "compiler": kernels.compiler_version()}
                compiled, file_name = kernel.find(dtype).compiled, kernel.file_name(dtype)
                assert compiled is not None, "machine code is kept nowhere"
                object_file.write(root / "whole" / file_name, stamp, compiled)
                for n in range(FOLDERS):
                    (root / f"damaged_{n}").mkdir(exist_ok=True)
                    (root / f"damaged_{n}" / file_name).write_bytes(damaged(trial.random, stamp, compiled))
        np.save(root / "expected.npy", trial.expected)
        code = "from tests.faults.cases import fit_beside_damaged_files; fit_beside_damaged_files()"
        compiles = trial.random.random() < COMPILES
        command = [sys.executable, "-X", "faulthandler", "-c", code, name, str(trial.seed), str(int(compiles))]
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert answer.returncode == 0, answer.stdout


def damaged(chance, stamp, compiled):
    """The bytes of a file that must not be used: random damage, or another stamp around code that would crash."""
    from fastmlp.machine.object_file import ObjectCode, pack

    whole = pack(stamp, compiled)
    nonsense = ObjectCode(chance.randbytes(len(compiled.code)), compiled.symbols)
    flipped = bytearray(whole)
    for _ in range(chance.choice([1, 1, 8])):
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    return chance.choice(
        [
            whole[: chance.randrange(len(whole))],
            bytes(flipped),
            chance.randbytes(32) + whole[32:],  # another checksum
            pack({**stamp, "sources": f"{chance.getrandbits(64):016x}"}, nonsense),
            pack({**stamp, "level": "x86-64-v4", "features": "+avx512f"}, nonsense),
            pack({**stamp, "kernel": "another"}, nonsense),
        ]
    )


def fit_beside_damaged_files():
    """What a new process does: the same fit as the one that has damaged the files."""
    from fastmlp.machine import kernels

    root, seed, compiles = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1"
    warnings.simplefilter("ignore")
    folders = [*sorted(root.glob("damaged_*")), *([] if compiles else [root / "whole"])]
    kernels.PREBUILT, kernels.cache_folders = root / "nothing", lambda: folders
    np.testing.assert_array_equal(Trial(seed).expected, np.load(root / "expected.npy"))
    for kernel in kernels.KERNELS:
        for dtype, origin in kernel.origins.items():
            assert origin == ("compiled" if compiles else "cache"), (kernel.name, origin)
            assert len(kernel.find(dtype).reasons) == (1 if compiles else FOLDERS + 1), kernel.find(dtype).reasons
