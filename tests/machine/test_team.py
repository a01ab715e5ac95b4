"""Threads that meet at the barrier, how they come and go, and what is missing elsewhere."""

import _thread
import faulthandler
import os
import signal
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit
from problems import comes_true, live_threads

from fastmlp.machine import placement, team, worker
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.team import LEAVE, Team, barrier

pytestmark = pytest.mark.threads

LINE = 8  # int64 of a cache line


@pytest.fixture(autouse=True)
def end_of_patience():
    """A barrier that never opens ends the run, with a traceback of every thread."""
    faulthandler.dump_traceback_later(300, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@njit(**OPTIONS)
def add_in_rounds(rank, n_threads, rounds, barrier_state, scalars, errors):
    """Each thread adds to its number, meets the others, and reads the numbers of all."""
    expected = 0
    for thread in range(n_threads):
        expected += thread + 1
    for r in range(1, rounds + 1):
        scalars[rank * LINE] += rank + 1
        barrier(barrier_state, n_threads)
        total = 0
        for thread in range(n_threads):
            total += scalars[thread * LINE]
        if total != r * expected:
            errors[rank] += 1
        barrier(barrier_state, n_threads)


@njit(**OPTIONS)
def add_together(times, counter):
    for _ in range(times):
        team.atomic_add(counter, 3, 2)


@njit(**OPTIONS)
def store_and_load(array, number):
    team.atomic_store(array, 1, number)
    return team.atomic_load(array, 1)


@njit(**OPTIONS)
def follow(rank, n_threads, barrier_state, done):
    """Count the leader's tasks until the team is parked; the leader returns after each."""
    number = 0
    while True:
        number = team.next_task(rank, number, barrier_state, n_threads)
        if number == LEAVE:
            return
        done[rank * LINE] += 1
        barrier(barrier_state, n_threads)
        if rank == 0:
            return


@njit(**OPTIONS)
def wait_in_every_way():
    team.pause()
    team.yield_processor()
    team.nap(50)


@njit(**OPTIONS)
def nap_and_look(microseconds):
    begin = team.nanoseconds()
    team.nap(microseconds)
    return team.nanoseconds() - begin


def rounds_of(wanted, rounds, late=0.0):
    """(threads, errors) of a team that adds in rounds; the leader may come late."""
    scalars, errors = np.zeros(16 * LINE, np.int64), np.zeros(16, np.int64)
    add_in_rounds(0, 1, 1, np.zeros(team.BARRIER_SIZE, np.int64), scalars.copy(), errors)  # compiled beforehand

    def prepare(rank):
        return partial(add_in_rounds, rank, context.n_threads, rounds, context.barrier_state, scalars, errors)

    context = Team()
    context.grow(wanted, patience=30.0)
    lead = context.begin(wanted, prepare)
    time.sleep(late)
    lead()
    n_threads = context.n_threads
    context.end()
    np.testing.assert_array_equal(scalars[: n_threads * LINE : LINE], rounds * np.arange(1, n_threads + 1))
    np.testing.assert_array_equal(scalars[n_threads * LINE :], 0)
    return n_threads, errors


@pytest.fixture
def fewer_threads(monkeypatch):
    """A function that lets the system give only so many threads more, and then raise an error."""
    start = _thread.start_new_thread

    def allow(possible, error):
        started = []

        def limited(*arguments):
            if len(started) == possible:
                raise error
            started.append(arguments)
            return start(*arguments)

        monkeypatch.setattr(_thread, "start_new_thread", limited)
        monkeypatch.setattr(worker, "threads_are_native", lambda: True)

    return allow


# --- team and barrier -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [1, 2, 3, 4, 5])
def test_barrier(wanted):
    n_threads, errors = rounds_of(wanted, 2000)
    assert n_threads == wanted
    np.testing.assert_array_equal(errors, 0)


def test_leader_who_comes_late():
    """The others spin, yield and at last sleep."""
    _, errors = rounds_of(3, 5, late=0.2)
    np.testing.assert_array_equal(errors, 0)


def test_threads_end_with_the_team():
    before = live_threads()
    rounds_of(4, 10)
    assert live_threads() == before


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
@pytest.mark.parametrize("possible", [0, 1, 2])
def test_team_is_smaller_where_no_thread_can_be_started(possible, error, fewer_threads):
    fewer_threads(possible, error)
    n_threads, errors = rounds_of(5, 100)
    assert n_threads == possible + 1
    np.testing.assert_array_equal(errors, 0)


def test_nobody_waits_for_a_thread_that_dies_as_it_starts(monkeypatch):
    """As it does where there is no memory for its first call."""
    start, born = _thread.start_new_thread, []

    def die(*arguments):
        raise MemoryError

    def start_some(function, arguments):
        born.append(function)
        return start(die if len(born) in (1, 3) else function, arguments)

    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    monkeypatch.setattr(_thread, "start_new_thread", start_some)
    monkeypatch.setattr(worker, "threads_are_native", lambda: True)
    n_threads, errors = rounds_of(5, 100)
    assert n_threads == 3
    np.testing.assert_array_equal(errors, 0)


def test_ranks_are_numbered_and_each_thread_has_one():
    seen, context = [], Team()
    assert context.grow(4, patience=30.0) == 4
    context.begin(4, lambda rank: partial(seen.append, (rank, context.n_threads)))
    context.end()
    assert sorted(seen) == [(1, 4), (2, 4), (3, 4)]


def test_team_grows_shrinks_and_rests():
    """The same threads, in teams of other sizes; each does the tasks of its team and no other."""
    before, context, done = live_threads(), Team(), np.zeros(8 * LINE, np.int64)
    follow(0, 1, np.zeros(team.BARRIER_SIZE, np.int64), np.zeros(LINE, np.int64))  # compiled beforehand
    expected = np.zeros(8, int)
    for n_threads in (3, 1, 4, 2, 3, 3):
        assert context.grow(n_threads, patience=30.0) == n_threads
        lead = context.begin(
            n_threads, lambda rank: partial(follow, rank, context.n_threads, context.barrier_state, done)
        )
        for _ in range(5):
            lead()
        expected[:n_threads] += 5
        if n_threads > 2:  # a team need not be parked before the next one
            context.park()
        np.testing.assert_array_equal(done[::LINE], expected)
    for n_threads in (2, 4, 3):
        context.grow(n_threads, patience=30.0)
        context.begin(n_threads, lambda rank: partial(follow, rank, context.n_threads, context.barrier_state, done))()
        assert context.n_threads == n_threads
    assert live_threads() == before + 3
    context.end()
    assert live_threads() == before


@pytest.mark.parametrize("kind", [Team, worker.Worker])
def test_what_was_not_begun_ends_in_silence(kind):
    """An exception may end `__init__` before its first line."""
    kind.__new__(kind).__del__()


def test_threads_that_nobody_needs_end():
    """Also those of a team that has been forgotten while they wait for a task."""
    before, context = live_threads(), Team()
    context.grow(3, patience=30.0)
    done, state = np.zeros(8 * LINE, np.int64), context.barrier_state
    context.begin(3, lambda rank: partial(follow, rank, 3, state, done))
    workers = [*context._workers]
    del context
    while workers:
        workers[-1].wait_until_idle()
        workers.pop()
    assert comes_true(lambda: live_threads() <= before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system tells no thread's core")
def test_members_begin_on_other_cores_and_may_be_moved():
    found, context = [], Team()
    assert context.grow(2, patience=30.0) == 2
    there = placement.core_beside(1)
    context.begin(2, lambda rank: lambda: found.append((placement.core_beside(0), os.sched_getaffinity(0))))
    context.end()
    assert found[0][1] == os.sched_getaffinity(0)
    assert there in found[0][1]


def test_atomic_add():
    counter = np.zeros(5, np.int64)
    add_together(0, counter)
    threads = [threading.Thread(target=add_together, args=(50_000, counter)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(counter, [0, 0, 0, 400_000, 0])


def test_atomic_store_and_load():
    array = np.zeros(3, np.int64)
    assert store_and_load(array, 2**40) == 2**40
    np.testing.assert_array_equal(array, [0, 2**40, 0])


def test_waiting():
    wait_in_every_way()


def test_clock_goes_on_with_the_systems():
    assert nap_and_look(2000) >= 2_000_000
    assert min(nap_and_look(0) for _ in range(9)) < nap_and_look(200_000)  # one may be kept from its core


def test_time_at_the_barrier_is_counted_where_it_is_long():
    scalars, errors = np.zeros(16 * LINE, np.int64), np.zeros(16, np.int64)
    add_in_rounds(0, 1, 1, np.zeros(team.BARRIER_SIZE, np.int64), scalars.copy(), errors)
    context = Team()
    context.grow(2, patience=30.0)
    lead = context.begin(2, lambda rank: partial(add_in_rounds, rank, 2, 1, context.barrier_state, scalars, errors))
    time.sleep(0.02)
    begin = time.perf_counter()
    lead()
    seconds = time.perf_counter() - begin + 0.02
    waited = context.barrier_state[team.WAITED]
    context.end()
    assert 0 <= waited <= 2e9 * (seconds + 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_has_a_team_of_its_own():
    context = Team()
    context.grow(2, patience=30.0)
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            assert not context.here
            context.end()  # nobody to wait for
            assert rounds_of(3, 10)[0] == 3
            assert context.grow(2, patience=30.0) == 2
            context.end()
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert context.here
    context.end()


@pytest.mark.parametrize("triple", ["riscv64-unknown-linux-gnu", "s390x-ibm-linux"])
def test_waiting_where_there_is_no_pause(triple, monkeypatch):
    monkeypatch.setattr(team, "TARGET", SimpleNamespace(triple=triple))

    @njit(**OPTIONS)
    def wait():
        team.pause()

    wait()
    (code,) = wait.inspect_llvm().values()
    assert not [name for name, _ in team.PAUSE.values() if name in code]
