"""The cores of a process, shared by leases."""

import gc
import math
import os
import signal
import threading
import time
from random import Random
from types import SimpleNamespace

import pytest
from problems import comes_true

from fastmlp.machine import cores
from fastmlp.machine.cores import (
    Cancellation,
    Cancelled,
    CoreBudget,
    available_cores,
    check_cancelled,
    fair_shares,
)

pytestmark = pytest.mark.threads


@pytest.mark.parametrize(
    ("n_cores", "wanted", "shares"),
    [
        (4, [], []),
        (4, [1], [1]),
        (4, [9], [4]),
        (4, [3, 3, 3], [2, 1, 1]),
        (4, [1, 9], [1, 3]),
        (4, [9, 1], [3, 1]),
        (3, [3, 3], [2, 1]),
        (2, [2, 2], [1, 1]),
        (1, [2, 2, 2], [1, 1, 1]),
        (64, [64, 2, 64], [31, 2, 31]),
        (65, [64, 2, 64], [32, 2, 31]),
        (10, [8, 8, 2], [4, 4, 2]),
    ],
)
def test_fair_shares(n_cores, wanted, shares):
    assert fair_shares(n_cores, wanted) == shares


@pytest.mark.parametrize(
    ("membership", "files", "granted"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1),
        ("0::/a/b\n", {"cpu.max": "400000 100000\n", "a/cpu.max": "200000 100000\n", "b/cpu.max": "1 1\n"}, 2),
        ("0::/elsewhere\n", {"cpu.max": "300000 100000\n"}, 3),
        (
            "4:memory:/m\n2:cpu,cpuacct:/s\n0::/\n",
            {"cpu/s/cpu.cfs_quota_us": "50000\n", "cpu/s/cpu.cfs_period_us": "100000\n", "cpu.max": "9 1\n"},
            0.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("1:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "1\n", "cpu/cpu.cfs_period_us": "1\n"}, math.inf),
        ("nonsense", {"cpu.max": "1 1\n"}, math.inf),
        (None, {"cpu.max": "1 1\n"}, math.inf),
    ],
)
def test_quotas_of_control_groups(membership, files, granted, tmp_path, monkeypatch):
    """The least of the process's own group and of those above it, in both versions of Linux's files."""
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "cgroup")
    if membership is not None:
        (tmp_path / "cgroup").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cores.quota() == granted


def test_a_quota_bounds_the_cores(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for granted, expected in ((math.inf, 4), (9.0, 4), (1.5, 2), (0.2, 1)):
        monkeypatch.setattr(cores, "quota", lambda granted=granted: granted)
        cores._granted_cores.cache_clear()
        assert available_cores() == expected
    cores._granted_cores.cache_clear()


@pytest.fixture
def budget(monkeypatch):
    """A budget of four cores, for which a newcomer has no patience."""
    monkeypatch.setattr(cores, "available_cores", lambda: 4)
    monkeypatch.setattr(cores, "PATIENCE", 0.0)
    return CoreBudget()


class Fit:
    """A lease in a thread of its own, as far as the budget can tell."""

    threads = iter(range(-1, -(10**6), -1))

    def __init__(self, budget, wanted):
        self.budget, self.lease = budget, budget.lease(wanted)
        self.lease.thread = next(self.threads)

    def slice(self):
        """Threads of the next slice."""
        return self.budget.begin(self.lease, self.lease.wanted)


def test_one_fit_has_all_cores_that_it_wants(budget):
    assert [Fit(budget, wanted).slice() for wanted in (3,)] == [3]
    gc.collect()
    assert Fit(budget, 8).slice() == 4


def test_teams_make_room_and_grow_again(budget):
    """A newcomer begins with one thread; the larger team loses one at its next slice, and has it back in the end."""
    first = Fit(budget, 9)
    assert first.slice() == 4
    second = Fit(budget, 9)
    assert second.slice() == 1
    assert first.slice() == 2
    assert [second.slice(), first.slice()] == [2, 2]
    third = Fit(budget, 1)
    assert [third.slice(), second.slice(), first.slice(), second.slice()] == [1, 1, 2, 1]
    third.lease.close()
    assert second.slice() == 2
    second.lease.close()
    assert first.slice() == 4


def test_never_more_threads_at_work_than_cores_or_fits(budget):
    random, fits = Random(0), []
    for _ in range(3000):
        if random.random() < 0.05 or not fits:
            fits.append(Fit(budget, random.randint(1, 9)))
        elif random.random() < 0.05:
            fits.pop(random.randrange(len(fits)))
        elif random.random() < 0.1:
            random.choice(fits).lease.at_work = 0  # between two epochs
        else:
            fit = random.choice(fits)
            others = [other.lease.at_work for other in fits if other is not fit]
            n_threads = fit.slice()
            assert n_threads == 1 or sum(others) + n_threads <= 4
            assert 1 <= n_threads <= fit.lease.wanted
    for _ in range(2):  # everybody's next slices
        sizes = [fit.slice() for fit in fits]
    assert sum(sizes) == min(max(4, len(fits)), sum(fit.lease.wanted for fit in fits))


def test_leases_of_one_thread_are_at_rest_while_another_works(budget):
    outer, inner = budget.lease(3), budget.lease(9)
    assert budget.begin(outer, 3) == 3
    assert budget.begin(inner, 9) == 4
    inner.close()
    assert budget.begin(outer, 3) == 3


def test_a_lost_lease_is_no_loss(budget):
    fit = Fit(budget, 4)
    assert fit.slice() == 4
    del fit
    gc.collect()
    assert Fit(budget, 4).slice() == 4
    with pytest.raises(ZeroDivisionError), budget.lease(4) as lease:
        raise ZeroDivisionError
    assert lease.wanted == 0


def test_newcomer_waits_until_a_larger_team_has_left_a_core(budget, monkeypatch):
    monkeypatch.setattr(cores, "PATIENCE", 60)
    first = Fit(budget, 9)
    assert first.slice() == 4
    sizes = []
    newcomer = threading.Thread(target=lambda: sizes.append(budget.begin(budget.lease(9), 9)))
    newcomer.start()
    assert comes_true(lambda: len(budget._leases) == 2)
    assert not sizes
    assert first.slice() == 2
    newcomer.join()
    assert sizes == [2]


def test_newcomer_does_not_wait_for_what_will_not_come(budget, monkeypatch):
    monkeypatch.setattr(cores, "time", SimpleNamespace(monotonic=time.monotonic, sleep=None))  # who sleeps fails
    crowd = [Fit(budget, 1) for _ in range(4)]
    assert [fit.slice() for fit in crowd] == [1] * 4
    ensemble = Fit(budget, 4)  # is counted, but has no slices
    assert Fit(budget, 9).slice() == 1
    assert budget.share(ensemble.lease) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_starts_with_a_fresh_budget(budget):
    fit = Fit(budget, 3)
    assert fit.slice() == 3
    other = Fit(budget, 1)
    assert other.slice() == 1
    child = os.fork()
    if not child:
        signal.alarm(20)  # a child that hangs ends
        try:
            right = [fit.slice(), Fit(budget, 4).slice()] == [3, 1]
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert fit.slice() == 3


# --- cancellation -----------------------------------------------------------------------------------------------------


def test_cancellation_concerns_the_thread_in_its_block():
    cancellation = Cancellation()
    with cancellation:
        check_cancelled()
        cancellation.requested = True
        threading.Thread(target=check_cancelled).start()
        with pytest.raises(Cancelled):
            check_cancelled()
    check_cancelled()
    assert not issubclass(Cancelled, Exception)


# --- available cores --------------------------------------------------------------------------------------------------


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
    budget = CoreBudget()
    assert budget.begin(budget.lease(1), 1) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_limits_the_cores(unlimited):
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("0.00 0.00 0.00 1/99 7", 4),
        ("0.00 0.00 0.00 3/99 7", 2),
        ("9 9 9 30/99 7", 0),
        ("", 4),
        ("a b c d/e", 4),
    ],
)
def test_cores_left(text, left, tmp_path, monkeypatch):
    (tmp_path / "loadavg").write_text(text)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cores, "LOADAVG", str(tmp_path / "loadavg"))
    assert cores.cores_left(1) == left
    monkeypatch.setattr(cores, "LOADAVG", str(tmp_path / "missing"))
    assert cores.cores_left(1) == 4
