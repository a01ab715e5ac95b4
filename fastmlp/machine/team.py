"""A team of threads that run `nogil` code side by side, the barrier where they meet, and the process's cores.

Ordinary Python threads need no runtime of OpenMP, TBB or Numba's own: nothing aborts on concurrent use, dies after a
fork or goes missing in a virtual environment. The caller is thread 0, so a team of one is a plain function call.
"""

import ctypes
import os
import sys
import threading

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_process_triple
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import inlined
from .simd import I32, address

SPINS = 200  # then yield: pure spinning costs a factor of 80 where threads outnumber cores
YIELDS = 20_000  # some ten milliseconds; then sleep: the leader is busy elsewhere
NAP = 50  # microseconds
ARRIVED, GENERATION = 0, 8  # places in `barrier_state`, a cache line apart
BARRIER_SIZE = 16
PATIENCE = 0.2  # seconds that a fit waits for a core which a larger team can spare

# The instruction for a spinning loop by architecture: LLVM's intrinsic and its arguments.
PAUSE = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "i686": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [I32(1)]),
    "arm64": ("llvm.aarch64.hint", [I32(1)]),
}
# Symbols of the C library by platform: (yield the processor, sleep, argument for the nap).
if sys.platform == "win32":
    YIELD, SLEEP, NAP_ARGUMENT = "SwitchToThread", "Sleep", max(NAP // 1000, 1)
else:
    YIELD, SLEEP, NAP_ARGUMENT = "sched_yield", "usleep", NAP


def _at(context, builder, sig, values):
    return address(context, builder, sig.args[0], *values[:2])


@intrinsic
def atomic_add(typing_context, array, at, number):
    """Add to `array[at]` as one indivisible act; returns what stood there before."""

    def emit(context, builder, sig, values):
        return builder.atomic_rmw("add", _at(context, builder, sig, values), values[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), emit


@intrinsic
def atomic_load(typing_context, array, at):
    """`array[at]`, and all that its writer wrote before it."""

    def emit(context, builder, sig, values):
        return builder.load_atomic(_at(context, builder, sig, values), "acquire", 8)

    return types.int64(array, types.intp), emit


@intrinsic
def atomic_store(typing_context, array, at, number):
    """Write `array[at]` so that whoever sees it sees all that was written before."""

    def emit(context, builder, sig, values):
        builder.store_atomic(values[2], _at(context, builder, sig, values), "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), emit


@intrinsic
def pause(typing_context):
    """Tell the processor that this is a spinning loop; nothing on architectures without such an instruction."""

    def emit(context, builder, sig, values):
        architecture = get_process_triple().split("-")[0]
        if architecture in PAUSE:
            name, arguments = PAUSE[architecture]
            kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)
        return context.get_dummy_value()

    return types.void(), emit


def _c_function(symbol, *arguments):
    """An intrinsic that calls a function of the C library; declared by name, so that the code can be cached."""

    @intrinsic
    def function(typing_context):
        def emit(context, builder, sig, values):
            kind = ir.FunctionType(I32, [I32] * len(arguments))
            builder.call(
                cgutils.get_or_insert_function(builder.module, kind, symbol), [I32(argument) for argument in arguments]
            )
            return context.get_dummy_value()

        return types.void(), emit

    return function


yield_processor = _c_function(YIELD)
nap = _c_function(SLEEP, NAP_ARGUMENT)


@inlined
def barrier(barrier_state, n_threads):
    """Wait until all threads are here. What each wrote before is seen by all after."""
    if n_threads > 1:
        generation = atomic_load(barrier_state, GENERATION)
        if atomic_add(barrier_state, ARRIVED, 1) == n_threads - 1:
            atomic_store(barrier_state, ARRIVED, 0)
            atomic_store(barrier_state, GENERATION, generation + 1)
        else:
            waited = 0
            while atomic_load(barrier_state, GENERATION) == generation:
                if waited < SPINS:
                    pause()
                elif waited < SPINS + YIELDS:
                    yield_processor()
                else:
                    nap()
                waited += 1


try:
    sched_getcpu = ctypes.CDLL(None).sched_getcpu
except (AttributeError, OSError, TypeError):  # another system, or an old C library
    sched_getcpu = None


def current_core():
    """The core that this thread runs on; None where the system does not tell (it does on Linux)."""
    core = sched_getcpu() if sched_getcpu is not None else None
    return core if hasattr(os, "sched_getaffinity") and core in os.sched_getaffinity(0) else None


def move_beside(core, steps):
    """Take this thread to the core that is so many steps further, and leave it free to be moved again.

    Linux may start a thread on the core of its parent and part the two only after some ten milliseconds, in which they
    meet thousands of times: fits of small networks took 16 ms in place of 6.
    """
    allowed = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, {allowed[(allowed.index(core) + steps) % len(allowed)]})
        os.sched_setaffinity(0, allowed)
    except (OSError, ValueError):  # the affinity has changed meanwhile
        pass


class Team:
    """Threads that live until what they do returns in each.

    Parameters
    ----------
    wanted : int
        Size of the team, the caller included.
    prepare : callable(rank, team) -> callable()
        Gives what ranks 1, 2, ... do, compiled beforehand; `team.n_threads` and `team.barrier_state` tell how many
        meet, and where.
    """

    def __init__(self, wanted, prepare):
        self.barrier_state = np.zeros(BARRIER_SIZE, np.int64)
        self.n_threads = 1
        self._core = current_core() if wanted > 1 else None
        self._complete = threading.Event()
        self._threads = []
        for rank in range(1, wanted):
            thread = threading.Thread(target=self._run, args=(prepare, rank), name=f"fastmlp-{rank}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads: the team is smaller
                break
            self._threads.append(thread)
            self.n_threads += 1
        self._complete.set()

    def _run(self, prepare, rank):
        self._complete.wait()
        serve = prepare(rank, self)
        if self._core is not None:
            move_beside(self._core, rank)  # last: whoever wakes a thread, for Python's lock say, takes it to its side
        serve()

    def join(self):
        """Wait for all threads to end."""
        for thread in self._threads:
            thread.join()


def available_cores():
    """Cores this process may use: affinity and container quota, no more than NUMBA_NUM_THREADS or OMP_NUM_THREADS."""
    from joblib import cpu_count  # here, since importing it takes longer than all of this floor

    limits = [cpu_count()]
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").split(",")[0]
        if value.isdecimal() and int(value) > 0:
            limits.append(int(value))
    return min(limits)


class CoreBudget:
    """The process's cores, shared by concurrent fits instead of multiplied by them.

    A newcomer for whom no core is free waits until a larger team spares one. Teams look at `excess` every some
    milliseconds, so that there are never more threads at work than cores, or than fits where these are more.
    """

    def __init__(self):
        self._renew()

    def _renew(self):
        self._process, self._changed = os.getpid(), threading.Condition()
        self._cores = self._taken = self._waiting = 0
        self._holders = []  # thread of each team

    def _settled(self):
        """Whether a newcomer has nothing to wait for: a core is free, or no team has more than one."""
        return self._taken < self._cores or self._taken == len(self._holders)

    def take(self, wanted):
        """Up to `wanted` free cores, at least one; give them back in the same thread."""
        if os.getpid() != self._process:  # a forked child: the lock may be held by a thread that is not here
            self._renew()
        thread = threading.get_ident()
        with self._changed:
            if wanted > 1:  # asking takes longer than predicting a row
                self._cores = available_cores()
            if thread not in self._holders:  # a fit that predicts between two epochs: its own team is at rest
                self._waiting += 1
                try:
                    self._changed.wait_for(self._settled, PATIENCE)
                finally:
                    self._waiting -= 1
            granted = max(1, min(wanted, self._cores - self._taken))
            self._taken += granted
            self._holders.append(thread)
        return granted

    def excess(self, granted):
        """How many of its `granted` cores a team should `spare`, since others wait; one is its own."""
        return max(0, min(granted - 1, self._taken + self._waiting - self._cores))

    def spare(self, cores):
        """Return some of what `take` granted."""
        with self._changed:
            self._taken -= cores
            self._changed.notify_all()

    def give_back(self, granted):
        """Return all that is left of what `take` granted (in the same process)."""
        if os.getpid() == self._process:
            with self._changed:
                self._holders.remove(threading.get_ident())
                self.spare(granted)


BUDGET = CoreBudget()
