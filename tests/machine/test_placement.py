"""Threads begin where they are told to, and are free afterwards."""

import os
import threading

import pytest

from fastmlp.machine import placement
from fastmlp.machine.placement import confine, core_beside, set_free
from fastmlp.machine.worker import Worker

pytestmark = [
    pytest.mark.threads,
    pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system tells no thread's core"),
]


def test_cores_are_counted_in_a_circle(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {6, 2, 9})
    monkeypatch.setattr(placement, "sched_getcpu", lambda: 6)
    assert [core_beside(steps) for steps in range(4)] == [6, 9, 2, 6]
    monkeypatch.setattr(placement, "sched_getcpu", lambda: 5)  # moved meanwhile, or the system does not know
    assert core_beside(1) is None
    monkeypatch.setattr(placement, "sched_getcpu", None)
    assert core_beside(1) is None


def test_a_worker_wakes_where_it_shall_and_is_free_at_once():
    allowed, found = os.sched_getaffinity(0), []
    worker = Worker()
    worker.wait_until_idle()
    for core in sorted(allowed):
        worker.give(lambda: found.append((placement.sched_getcpu(), os.sched_getaffinity(0))), core=core)
        worker.wait_until_idle()
    worker.end()
    assert [set_at_work for _, set_at_work in found] == [allowed] * len(allowed)
    assert {core for core, _ in found} <= allowed


def test_a_confined_thread_stays_there():
    allowed = os.sched_getaffinity(0)
    try:
        assert confine(threading.get_native_id(), min(allowed)) == allowed
        assert os.sched_getaffinity(0) == {min(allowed)}
        assert placement.sched_getcpu() == min(allowed)
    finally:
        set_free(allowed)
    assert os.sched_getaffinity(0) == allowed


def test_nothing_happens_where_it_cannot():
    allowed = os.sched_getaffinity(0)
    assert confine(None, min(allowed)) is None
    assert confine(threading.get_native_id(), None) is None
    assert confine(threading.get_native_id(), max(allowed) + 1000) is None  # no core
    set_free({max(allowed) + 1000})
    assert os.sched_getaffinity(0) == allowed
