"""A thread of the system that makes calls for others."""

import _thread
import contextlib
import math
import os
import threading
import time
import types
import weakref
from _queue import (  # of the interpreter: gevent puts greenlets' queues in the place of those in `queue`
    Empty,
    SimpleQueue,
)

from .placement import confine, core_beside, set_free

JOINING = 0.05  # seconds between two looks at whether a thread still lives
WAITS, ENDED = range(2)  # what a worker tells
NATIVE_ID = getattr(threading, "get_native_id", lambda: None)  # some systems number no threads


def threads_are_native():
    """Whether a new thread is one of the system's: gevent and eventlet put greenlets of one thread in their place.

    Compiled code that waits for a greenlet never ends, since the greenlet cannot run meanwhile.
    """
    starts = _thread.start_new_thread, getattr(threading, "_start_new_thread", _thread.start_new_thread)
    return all(isinstance(start, types.BuiltinFunctionType) for start in starts)


class Worker:
    """One thread of the system: makes the calls that it is given, one after the other, and waits in between.

    Not a `threading.Thread`, whose `start` never returns where the new thread dies of a MemoryError.

    Raises
    ------
    RuntimeError, MemoryError
        If the system gives no more threads.
    """

    _calls = None  # where an exception has ended `__init__` before it began

    def __init__(self):
        self._calls, self._events = SimpleQueue(), SimpleQueue()
        self._given = self._told = 0
        self._ended = False
        ticket = _Ticket()
        self._alive = weakref.ref(ticket)  # dead when the thread is, whatever has ended it; else it tells its number
        _thread.start_new_thread(_make_calls, (self._calls, self._events, ticket))

    @property
    def alive(self):
        """Whether the thread has not ended."""
        return not self._ended and self._alive() is not None

    @property
    def waits(self):
        """Whether the thread has started and made all its calls."""
        while not self._events.empty():
            self._note_event(0)
        return self._told == self._given + 1

    def _note_event(self, timeout):
        """Count what the thread tells, within `timeout` seconds."""
        with contextlib.suppress(Empty):
            self._ended |= self._events.get(timeout=timeout) is ENDED
            self._told += 1

    def give(self, call, *arguments, core=None):
        """Let the thread call a function, which should not raise.

        core : where it begins, if the system can do that; None to leave it to the system
        """
        allowed = confine(getattr(self._alive(), "thread", None), core)
        self._given += 1
        self._calls.put((call, arguments, allowed))

    def wait_until_idle(self, deadline=math.inf):
        """Wait until the thread waits, or has ended, or the time of `time.monotonic` has come."""
        while self.alive and not self.waits and (left := deadline - time.monotonic()) > 0:
            self._note_event(min(JOINING, left))

    def end(self):
        """Let the thread end after its calls."""
        self._calls.put(None)

    def join(self, timeout=math.inf):
        """Wait for the thread to end, after `end`, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.alive and time.monotonic() < deadline:
            self._note_event(JOINING)

    def __del__(self):
        if self._calls is not None:
            self.end()


class _Ticket:
    """What a thread holds as long as it lives.

    thread : the system's number of the thread, None before it has started
    """

    thread = None


def _make_calls(calls, events, ticket):
    """What a worker's thread does. It tells when it has started, when it has made a call, and when it ends."""
    try:
        ticket.thread = NATIVE_ID()
        events.put(WAITS)
        while (call := calls.get()) is not None:
            function, arguments, allowed = call
            if allowed is not None:
                set_free(allowed)
            function(*arguments)
            del call, function, arguments, allowed
            events.put(WAITS)
    finally:
        events.put(ENDED)


def start_workers(count):
    """Start so many workers, or fewer where the system gives no more threads."""
    workers = []
    with contextlib.suppress(RuntimeError, MemoryError):
        while len(workers) < count and threads_are_native():
            workers.append(Worker())
    return workers


class WorkerPool:
    """Workers that wait for anybody's next call: to wake one takes less time than to start one.

    most : how many it keeps
    """

    def __init__(self, most):
        self.most = most
        self._process, self._waiting = os.getpid(), []

    @property
    def waiting(self):
        """How many workers of this process wait."""
        return len(self._waiting) if os.getpid() == self._process else 0

    def take(self, count):
        """So many workers for the caller alone, or fewer where the system gives no more threads."""
        if os.getpid() != self._process:  # a forked child has none of its parent's threads
            self._process, self._waiting = os.getpid(), []
        taken = []
        with contextlib.suppress(IndexError):
            while len(taken) < count:
                worker = self._waiting.pop()
                taken += [worker] if worker.alive else []
        return taken + start_workers(count - len(taken))

    def give_back(self, workers):
        """Keep them for later; those that are too many end."""
        for worker in workers:
            if worker.alive and len(self._waiting) < self.most:
                self._waiting.append(worker)
            else:
                worker.end()


POOL = WorkerPool(most=16)


def share(work, n_threads):
    """Call work(rank) in this thread, as rank 0, and in others that begin before it returns.

    A thread that has not begun by then is not waited for, and does nothing: on a busy machine the leader does all.

    Returns
    -------
    results : list of what each call has returned, the leader's first
    """
    workers = POOL.take(n_threads - 1)
    ranks, results = [*range(len(workers), 0, -1)], SimpleQueue()

    def follow():
        try:
            rank = ranks.pop()
        except IndexError:  # the leader has finished
            return
        try:
            results.put((work(rank), None))
        except BaseException as error:  # out of memory, say
            results.put((None, error))

    found = []
    try:
        for steps, worker in enumerate(workers, 1):
            worker.give(follow, core=core_beside(steps))
        own = work(0)
    finally:
        missing = len(workers)
        with contextlib.suppress(IndexError):
            while ranks.pop():
                missing -= 1
        while len(found) < missing and any(worker.alive for worker in workers):
            with contextlib.suppress(Empty):
                found.append(results.get(timeout=JOINING))
        POOL.give_back(workers)
    for _, error in found:
        if error is not None:
            raise error
    return [own, *(result for result, _ in found)]
