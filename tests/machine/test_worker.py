"""A thread that makes calls for others, and threads that are none."""

import _thread
import threading
import types

import pytest

from fastmlp.machine import worker as module
from fastmlp.machine.worker import Worker, threads_are_native

pytestmark = pytest.mark.threads


def test_worker_makes_its_calls_in_order_and_ends():
    seen, worker = [], Worker()
    for n in range(3):
        worker.give(seen.append, n)
    worker.settle()
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
