"""A team of threads that run `nogil` code side by side, and the barrier where they meet.

Ordinary Python threads need no runtime of OpenMP, TBB or Numba's own: nothing aborts on concurrent use, dies after a
fork or goes missing in a virtual environment. The caller is thread 0, so a team of one is a plain function call.
"""

import os
import sys
import time

import numpy as np
from llvmlite import ir

from .jit import cgutils, inlined, intrinsic, types
from .placement import core_beside
from .simd import I32, I64, address
from .target import TARGET
from .worker import start_workers

SPINS = 200  # then yield: pure spinning costs a factor of 80 where threads outnumber cores
YIELDING = 5_000_000  # nanoseconds; then sleep: the leader is busy elsewhere
NAP, LONGEST_NAP = 50, 10_000  # microseconds; a nap is an eighth of what has been slept before, so that none is long
# Places in `barrier_state`, a cache line apart: threads at the barrier, and how often it has opened; the number of the
# leader's task, or LEAVE; nanoseconds that threads have waited at the barrier for more than SPINS.
ARRIVED, GENERATION, TASK, WAITED = 0, 8, 16, 24
BARRIER_SIZE = 32
LEAVE = -1
# Threads hinder each other where more than this share of their time goes into waiting, and so many nanoseconds more.
STALLED, STALL = 0.3, 200_000

# The instruction for a spinning loop by architecture: LLVM's intrinsic and its arguments.
PAUSE = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "i686": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [I32(1)]),
    "arm64": ("llvm.aarch64.hint", [I32(1)]),
}
# Symbols of the C library by platform: yield the processor; sleep, and the microseconds of its unit; read the clock.
if sys.platform == "win32":
    YIELD, SLEEP, SLEEP_UNIT, CLOCK = "SwitchToThread", "Sleep", 1000, "GetSystemTimePreciseAsFileTime"
else:
    YIELD, SLEEP, SLEEP_UNIT, CLOCK = "sched_yield", "usleep", 1, "clock_gettime"
MONOTONIC = 6 if sys.platform == "darwin" else 1  # CLOCK_MONOTONIC


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
        architecture = TARGET.triple.split("-")[0]
        if architecture in PAUSE:
            name, arguments = PAUSE[architecture]
            kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def yield_processor(typing_context):
    """Let other threads run. The function is declared by name, here and below, so that the code can be cached."""

    def emit(context, builder, sig, values):
        builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, []), YIELD), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def nap(typing_context, microseconds):
    """Sleep for so long, or a little longer."""

    def emit(context, builder, sig, values):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, [I32]), SLEEP)
        units = builder.udiv(builder.add(values[0], I64(SLEEP_UNIT - 1)), I64(SLEEP_UNIT))
        builder.call(function, [builder.trunc(units, I32)])
        return context.get_dummy_value()

    return types.void(types.int64), emit


@intrinsic
def nanoseconds(typing_context):
    """The time of a clock that goes on, as int64."""

    def emit(context, builder, sig, values):
        place = cgutils.alloca_once(builder, ir.ArrayType(I64, 2))
        parts = [builder.gep(place, [I32(0), I32(n)]) for n in range(2)]
        if sys.platform == "win32":
            kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer()])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, CLOCK), parts[:1])
            return builder.mul(builder.load(parts[0]), I64(100))
        kind = ir.FunctionType(I32, [I32, I64.as_pointer()])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, CLOCK), [I32(MONOTONIC), parts[0]])
        return builder.add(builder.mul(builder.load(parts[0]), I64(10**9)), builder.load(parts[1]))

    return types.int64(), emit


@inlined
def await_change(barrier_state, at, value):
    """Wait until `barrier_state[at]` is no longer `value`: spin, then yield, then sleep; returns nanoseconds or 0."""
    spins, slept, waited = 0, 0, np.int64(0)
    while spins < SPINS and atomic_load(barrier_state, at) == value:
        pause()
        spins += 1
    if spins == SPINS:
        begin = nanoseconds()
        while atomic_load(barrier_state, at) == value:
            if waited < YIELDING:
                yield_processor()
            else:
                length = min(NAP + slept // 8, LONGEST_NAP)
                nap(length)
                slept += length
            waited = nanoseconds() - begin
    return waited


@inlined
def barrier(barrier_state, n_threads):
    """Wait until all threads are here. What each wrote before is seen by all after."""
    if n_threads > 1:
        generation = atomic_load(barrier_state, GENERATION)
        if atomic_add(barrier_state, ARRIVED, 1) == n_threads - 1:
            atomic_store(barrier_state, ARRIVED, 0)
            atomic_store(barrier_state, GENERATION, generation + 1)
        else:
            waited = await_change(barrier_state, GENERATION, generation)
            if waited:
                atomic_add(barrier_state, WAITED, waited)


@inlined
def next_task(rank, seen, barrier_state, n_threads):
    """The number of the leader's next task, once it has begun; LEAVE where the team is parked.

    seen : the number of the task before
    """
    if rank == 0:
        if n_threads > 1:
            atomic_add(barrier_state, TASK, 1)
        return seen + 1
    await_change(barrier_state, TASK, seen)
    return atomic_load(barrier_state, TASK)


class Team:
    """Threads that run compiled code together with their leader, thread 0, which calls it itself.

    They are started beforehand, which nobody has to wait for, and rest between two times at work.

    Attributes
    ----------
    n_threads : how many are at work or wait for the leader's next task, the leader included
    barrier_state : where they meet and see the next task; a new one each time they begin
    """

    n_threads = 1  # where an exception has ended `__init__` before it began: there is no thread to park

    def __init__(self):
        self._process, self._workers, self._at_work = os.getpid(), [], []
        self.n_threads, self.barrier_state = 1, np.zeros(BARRIER_SIZE, np.int64)

    @property
    def here(self):
        """Whether this is the process whose threads they are: a forked child has none of them."""
        return os.getpid() == self._process

    def grow(self, n_threads, patience=0.0):
        """Start threads until there is one for each but the leader; where the system gives none, there are fewer.

        patience : seconds to wait for those that have not started yet

        Returns
        -------
        ready : int
            Size of the team that can begin now.
        """
        if not self.here:
            self._process, self._workers, self._at_work, self.n_threads = os.getpid(), [], [], 1
        self._workers = [worker for worker in self._workers if worker.alive]
        self._workers += start_workers(n_threads - 1 - len(self._workers))
        deadline = time.monotonic() + patience
        for worker in self._workers:
            if worker not in self._at_work:
                worker.wait_until_idle(deadline)
        return min(n_threads, 1 + len(self._ready()))

    def _ready(self):
        """Workers of the present team, which will leave it when it is parked, and those that wait."""
        return [worker for worker in self._workers if worker in self._at_work or worker.waits]

    def begin(self, n_threads, prepare):
        """Put threads to work, as many as are ready.

        prepare : callable(rank) -> callable()
            What rank 0, 1, ... calls: compiled code, which returns when the leader parks the team; in the leader,
            after each task. `n_threads` and `barrier_state` tell how many meet, and where.

        Returns
        -------
        call : callable()
            The leader's.
        """
        workers = self._ready()[: n_threads - 1]
        self.park()
        self._at_work, self.n_threads = workers, 1 + len(workers)
        calls = [prepare(rank) for rank in range(self.n_threads)]
        for rank, worker in enumerate(workers, 1):
            worker.give(calls[rank], core=core_beside(rank))
        return calls[0]

    def park(self):
        """Let the threads rest: they leave the compiled code as soon as they look."""
        if self.n_threads > 1:
            self.barrier_state[TASK] = LEAVE
            self._at_work = []
            self.n_threads, self.barrier_state = 1, np.zeros(BARRIER_SIZE, np.int64)

    def end(self):
        """Park the threads, and wait for them to end. After an exception in it, it can be called again."""
        self.park()
        for worker in self._workers if self.here else ():
            worker.end()
        while self._workers:
            if self.here:
                self._workers[-1].join()
            self._workers.pop()

    def __del__(self):
        self.park()
