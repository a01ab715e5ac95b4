"""Threads that meet at the barrier, the cores they share, and what is missing elsewhere."""

import faulthandler
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from numba import njit

from fastmlp.machine import team
from fastmlp.machine.jit import OPTIONS
from fastmlp.machine.team import CoreBudget, Team, available_cores, barrier

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
def wait_in_every_way():
    team.pause()
    team.yield_processor()
    team.nap()


def rounds_of(wanted, rounds, late=0.0):
    """(threads, errors) of a team that adds in rounds; the leader may come late."""
    scalars, errors = np.zeros(16 * LINE, np.int64), np.zeros(16, np.int64)
    add_in_rounds(0, 1, 1, np.zeros(team.BARRIER_SIZE, np.int64), scalars.copy(), errors)  # compiled beforehand

    def prepare(rank, context):
        return lambda: add_in_rounds(rank, context.n_threads, rounds, context.barrier_state, scalars, errors)

    context = Team(wanted, prepare)
    time.sleep(late)
    prepare(0, context)()
    context.join()
    n_threads = context.n_threads
    np.testing.assert_array_equal(scalars[: n_threads * LINE : LINE], rounds * np.arange(1, n_threads + 1))
    np.testing.assert_array_equal(scalars[n_threads * LINE :], 0)
    return n_threads, errors


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
    before = threading.active_count()
    rounds_of(4, 10)
    assert threading.active_count() == before


@pytest.mark.parametrize("possible", [0, 1, 2])
def test_team_shrinks_where_no_thread_can_be_started(possible, monkeypatch):
    start, started = threading.Thread.start, []

    def limited(thread):
        if thread.name.startswith("fastmlp"):
            if len(started) == possible:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    n_threads, errors = rounds_of(5, 100)
    assert n_threads == possible + 1
    np.testing.assert_array_equal(errors, 0)


def test_members_are_numbered_and_know_their_number():
    seen = []
    context = Team(4, lambda rank, context: lambda: seen.append((rank, context.n_threads)))
    context.join()
    assert sorted(seen) == [(1, 4), (2, 4), (3, 4)]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system tells no thread's core")
def test_members_begin_on_other_cores_and_may_be_moved():
    allowed = os.sched_getaffinity(0)
    found = []

    def prepare(rank, context):
        return lambda: found.append((team.current_core(), os.sched_getaffinity(0)))

    here = team.current_core()
    assert here in allowed
    context = Team(2, prepare)
    context.join()
    assert found[0][1] == allowed == os.sched_getaffinity(0)
    cores = sorted(allowed)
    team.move_beside(here, 1)
    assert team.current_core() in allowed
    team.move_beside(max(allowed) + 1, 1)  # a core that is none: nothing happens
    assert os.sched_getaffinity(0) == set(cores)


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


@pytest.mark.parametrize("triple", ["riscv64-unknown-linux-gnu", "s390x-ibm-linux"])
def test_waiting_where_there_is_no_pause(triple, monkeypatch):
    monkeypatch.setattr(team, "get_process_triple", lambda: triple)

    @njit(**OPTIONS)
    def wait():
        team.pause()

    wait()
    (code,) = wait.inspect_llvm().values()
    assert not [name for name, _ in team.PAUSE.values() if name in code]


# --- cores ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def budget(monkeypatch):
    """A budget of four cores."""
    monkeypatch.setattr(team, "available_cores", lambda: 4)
    monkeypatch.setattr(team, "PATIENCE", 0.01)
    return CoreBudget()


def test_budget_gives_what_is_free_and_at_least_one(budget):
    assert [budget.take(3), budget.take(3), budget.take(3)] == [3, 1, 1]
    budget.give_back(3)
    assert budget.take(8) == 2  # five were taken
    for granted in (1, 1, 2):
        budget.give_back(granted)
    assert budget.take(8) == 4


@pytest.mark.parametrize(
    ("wanted", "grants"), [(1, [1] * 6), (2, [1] * 4 + [2] * 2), (3, [1] * 5 + [3]), (9, [1] * 5 + [4])]
)
def test_concurrent_fits_share_the_cores(budget, wanted, grants):
    granted, all_have_taken = [], threading.Barrier(6)

    def fit():
        for _ in range(30):
            got = budget.take(wanted)
            granted.append(got)
            all_have_taken.wait()
            budget.give_back(got)
            all_have_taken.wait()

    threads = [threading.Thread(target=fit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at in range(0, len(granted), 6):
        assert sorted(granted[at : at + 6]) == grants
    assert budget.take(9) == 4


def test_larger_team_spares_a_core_for_a_newcomer(budget, monkeypatch):
    monkeypatch.setattr(team, "PATIENCE", 60)
    assert budget.take(3) == 3
    assert budget.take(9) == 1  # the same thread: its other team is at rest
    assert budget.excess(3) == budget.excess(1) == 0
    granted = []
    newcomer = threading.Thread(target=lambda: granted.append(budget.take(2)))
    newcomer.start()
    while not budget.excess(3):
        time.sleep(0.001)
    assert not granted
    assert budget.excess(3) == 1
    budget.spare(1)
    newcomer.join()
    assert granted == [1]
    assert budget.excess(2) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_starts_with_a_fresh_budget_and_lock(budget):
    taken = budget.take(3)
    with budget._changed:
        child = os.fork()
        if not child:
            signal.alarm(20)  # a child that hangs at the lock ends
            try:
                budget.give_back(taken)  # the parent's, not the child's
                right = [budget.take(4), budget.take(4)] == [4, 1]
                budget.give_back(4)
                os._exit(0 if right and budget.take(4) == 3 else 1)
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert budget.take(4) == 1  # the child's dealings are its own


@pytest.fixture
def unlimited(monkeypatch):
    """No limit from the environment."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_available_cores(unlimited):
    assert 1 <= available_cores() <= os.cpu_count()


@pytest.mark.parametrize("name", ["NUMBA_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize("value", ["1", "1,4"])
def test_cores_are_limited_by_the_environment(name, value, unlimited):
    unlimited.setenv(name, value)
    assert available_cores() == 1


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "1.5", "100000", " "])
def test_meaningless_limits_are_none(value, unlimited):
    everything = available_cores()
    unlimited.setenv("NUMBA_NUM_THREADS", value)
    unlimited.setenv("OMP_NUM_THREADS", value)
    assert available_cores() == everything


@pytest.mark.filterwarnings("ignore:Failed to inspect CPU affinity")
def test_cores_on_systems_without_affinity_and_fork_hooks(unlimited):
    unlimited.delattr(os, "sched_getaffinity", raising=False)
    unlimited.delattr(os, "register_at_fork", raising=False)
    unlimited.delattr(os, "fork", raising=False)
    assert 1 <= available_cores() <= os.cpu_count()
    assert CoreBudget().take(1) == 1
    assert rounds_of(2, 10)[0] == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_limits_the_cores(unlimited):
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
