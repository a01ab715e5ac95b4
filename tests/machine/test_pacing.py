"""Sizes of teams, on machines that exist on paper only: what slices take there follows from a rule."""

from functools import partial

import pytest

from fastmlp.machine.pacing import ALONE, LONGEST_PAUSE, SLICE, Pacing

pacing_of_an_idle_machine = partial(Pacing, cores_left=lambda n_threads: 64)  # as far as the system tells
COST = 1e-10  # seconds of an operation for one thread


def work(pacing, most, seconds_of, total, kind="train"):
    """Let a pacing lead work of `total` seconds for one thread; the wall time, and the time by size of the team.

    seconds_of : (n_threads, seconds of the slice for one thread, time) -> (seconds, seconds at barriers)
    """
    clock, left, by_size = 0.0, total / COST, {}
    while left > 0:
        n_threads = pacing.wanted(most)
        operations = min(left, pacing.operations(kind, n_threads))
        seconds, waited, share = seconds_of(n_threads, operations * COST, clock)
        operations *= share
        pacing.note(kind, n_threads, operations, seconds, waited)
        left -= operations
        clock += seconds
        by_size[n_threads] = by_size.get(n_threads, 0.0) + seconds
    return clock, by_size


def idle(efficiency):
    """Nobody else computes."""

    def seconds_of(n_threads, seconds, clock):
        return seconds / (1 + (n_threads - 1) * efficiency), 0.0, 1.0

    return seconds_of


def busy(n_threads, seconds, clock):
    """Each thread has half a core; a team stalls after one millisecond, and the slice ends."""
    if n_threads == 1:
        return 2 * seconds, 0.0, 1.0
    share = min(1.0, 1e-3 * n_threads / seconds)
    return share * seconds / n_threads + 5e-3, 4e-3 * (n_threads - 1), share


@pytest.mark.parametrize("most", [2, 4, 64])
def test_idle_machine(most):
    """Nearly all of the time is worked by all threads; the first millisecond alone."""
    for total in (0.1, 1.0, 20.0):
        clock, by_size = work(pacing_of_an_idle_machine(), most, idle(0.9), total)
        fastest = total / (1 + 0.9 * (most - 1))
        assert clock < fastest + 3 * ALONE
        assert set(by_size) == {1, most}


def test_short_work_is_done_alone():
    _, by_size = work(pacing_of_an_idle_machine(), 2, idle(0.9), ALONE / 2)
    assert set(by_size) == {1}


@pytest.mark.parametrize("total", [0.04, 0.2, 1.0, 10.0])
def test_busy_machine(total):
    """At most three tenths longer than one thread, and less for long work."""
    clock, _ = work(pacing_of_an_idle_machine(), 2, busy, total)
    alone = 2 * total
    assert clock < 1.3 * alone
    assert total < 1 or clock < 1.06 * alone


def test_machine_that_becomes_busy_and_idle_again():
    def seconds_of(n_threads, seconds, clock):
        return (busy if 1 < clock < 3 else idle(0.9))(n_threads, seconds, clock)

    pacing = pacing_of_an_idle_machine()
    work(pacing, 2, seconds_of, 1.5)
    assert pacing.n_threads == 2
    sizes = []

    def later(n_threads, seconds, clock):
        sizes.append((clock, n_threads))
        return seconds_of(n_threads, seconds, clock + 0.8)

    work(pacing, 2, later, 10)
    during = [n_threads for clock, n_threads in sizes if 0.4 < clock < 2]
    after = [n_threads for clock, n_threads in sizes if clock > 2.4 + LONGEST_PAUSE]
    assert sum(during) < 1.2 * len(during)
    assert min(after) == 2


@pytest.mark.parametrize("efficiency", [-0.5, 0.0, 0.05])
def test_threads_that_do_not_pay(efficiency):
    """A team no faster than one thread, though none stalls, is given up."""
    clock, by_size = work(pacing_of_an_idle_machine(), 2, idle(efficiency), 10.0)
    assert by_size[1] > 0.95 * clock
    assert clock < 10.3


def test_one_stall_in_a_long_time_is_an_accident():
    def seconds_of(n_threads, seconds, clock):
        stall = 4e-3 if n_threads > 1 and clock % 0.2 < SLICE else 0.0
        return seconds / n_threads + stall, stall, 1.0

    _, by_size = work(pacing_of_an_idle_machine(), 2, seconds_of, 5.0)
    assert by_size[2] > 0.9 * sum(by_size.values())


def test_teams_halve_where_a_half_is_faster():
    """Sixteen threads on a machine that has eight cores to give."""

    def seconds_of(n_threads, seconds, clock):
        slowed = n_threads > 8
        return (8 if slowed else 1) * seconds / n_threads, 0.9 * n_threads * seconds if slowed else 0.0, 1.0

    _, by_size = work(pacing_of_an_idle_machine(), 16, seconds_of, 50.0)
    assert max(by_size, key=by_size.get) == 8


def test_slices_are_some_milliseconds_whatever_an_operation_costs():
    for cost in (1e-12, 1e-10, 1e-8):
        pacing, lengths = pacing_of_an_idle_machine(), []
        for _ in range(400):
            seconds = cost * pacing.operations("train", 1)
            lengths.append(seconds)
            pacing.note("train", 1, seconds / cost, seconds)
        assert lengths[-1] == pytest.approx(SLICE)
        assert max(lengths[1:]) <= 1.01 * SLICE


def test_a_fixed_size_stays():
    pacing = Pacing(3)
    _, by_size = work(pacing, 1, busy, 0.1)
    assert set(by_size) == {3}
    assert pacing.patience > 10**15


def test_fewer_cores_and_more_again():
    """What the budget takes away is tried again soon when it can be had."""
    pacing = pacing_of_an_idle_machine()
    work(pacing, 4, idle(0.9), 0.1)
    assert pacing.n_threads == 4
    work(pacing, 2, idle(0.9), 0.1)
    assert pacing.n_threads == 2
    _, by_size = work(pacing, 4, idle(0.9), 0.1)
    assert set(by_size) == {4}


def test_no_trial_where_the_machine_has_no_core_left():
    left, asked = 1, []

    def cores_left(n_threads):
        asked.append(n_threads)
        return left

    pacing = Pacing(cores_left=cores_left)
    clock, by_size = work(pacing, 4, idle(0.9), 0.1)
    assert (set(by_size), clock) == ({1}, pytest.approx(0.1))
    assert 3 < len(asked) <= 20
    left = 3
    _, by_size = work(pacing, 4, idle(0.9), 0.1)
    assert set(by_size) <= {1, 3}
    assert by_size[3] > by_size.get(1, 0.0)
