"""A thread that makes calls for others, and threads that are none."""

import _thread
import threading
import types

import pytest
from problems import comes_true

from fastmlp.machine import worker as module
from fastmlp.machine.worker import Worker, WorkerPool, share, threads_are_native

pytestmark = pytest.mark.threads


def test_worker_makes_its_calls_in_order_and_ends():
    seen, worker = [], Worker()
    for n in range(3):
        worker.give(seen.append, n)
    worker.wait_until_idle()
    assert worker.waits
    assert seen == [0, 1, 2]
    assert worker.alive
    worker.end()
    worker.join()
    assert not worker.alive


def test_join_does_not_wait_longer_than_it_should():
    worker, held = Worker(), threading.Event()
    worker.give(held.wait)
    worker.end()
    worker.join(timeout=0)
    assert worker.alive
    held.set()
    worker.join()
    assert not worker.alive


def test_threads_are_native(monkeypatch):
    assert threads_are_native()
    monkeypatch.setattr(module, "_thread", types.SimpleNamespace(start_new_thread=lambda *arguments: None))
    assert not threads_are_native()
    monkeypatch.setattr(module, "_thread", _thread)
    monkeypatch.setattr(threading, "_start_new_thread", lambda *arguments: None, raising=False)
    assert not threads_are_native()


def test_workers_of_a_pool_serve_again():
    pool = WorkerPool(most=2)
    first = pool.take(3)
    assert len(first) == 3
    for worker in first:
        worker.wait_until_idle()
    pool.give_back(first)
    second = pool.take(3)
    assert sum(worker in first for worker in second) == 2
    assert comes_true(lambda: not first[2].alive)  # it was too many
    for worker in second:
        worker.end()
        worker.join()
    pool.give_back(second)
    assert not set(pool.take(1)) & set(second)  # they have ended


def test_shared_work_is_done_by_all():
    barrier = threading.Barrier(3)

    def work(rank):
        barrier.wait(30.0)
        return rank

    assert sorted(share(work, 3)) == [0, 1, 2]
    assert share(lambda rank: rank, 1) == [0]


def test_nobody_waits_for_a_thread_that_has_not_begun(monkeypatch):
    """It is busy with another call, and finds nothing to do when it comes."""
    pool, held, seen = WorkerPool(most=2), threading.Event(), []
    monkeypatch.setattr(module, "POOL", pool)
    (worker,) = pool.take(1)
    worker.give(held.wait)
    pool.give_back([worker])
    assert share(lambda rank: seen.append(rank), 2) == [None]
    held.set()
    worker.wait_until_idle()
    assert seen == [0]
    assert pool.take(1) == [worker]


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_of_any_thread_is_raised_after_all_have_ended(bad):
    barrier, ended = threading.Barrier(2), []

    def work(rank):
        barrier.wait(30.0)
        if rank == bad:
            raise MemoryError
        ended.append(rank)

    with pytest.raises(MemoryError):
        share(work, 2)
    assert ended == [1 - bad]


def test_a_forked_child_has_none_of_the_workers(monkeypatch):
    pool = WorkerPool(most=2)
    (worker,) = pool.take(1)
    worker.wait_until_idle()
    pool.give_back([worker])
    monkeypatch.setattr(module.os, "getpid", lambda: 1)
    assert pool.take(1) != [worker]
