"""Where threads begin: on cores of their own.

Linux wakes a thread at the side of whoever wakes it, as a rule on the same core, where it waits until the other one's
time is over: some milliseconds, in which a prediction has ended and a team has missed thousands of meetings. So whoever
gives work to a waiting thread says on which core it shall wake. From then on the thread is free to be moved again.
"""

import ctypes
import os

try:
    sched_getcpu = ctypes.CDLL(None).sched_getcpu
except (AttributeError, OSError, TypeError):  # another system, or an old C library
    sched_getcpu = None


def core_beside(steps):
    """The core so many steps further than that of this thread; None where the system does not tell (it does on Linux).

    Cores that the process may use are counted in a circle.
    """
    if sched_getcpu is None or not hasattr(os, "sched_getaffinity"):
        return None
    here, allowed = sched_getcpu(), sorted(os.sched_getaffinity(0))
    return allowed[(allowed.index(here) + steps) % len(allowed)] if here in allowed else None


def confine(thread, core):
    """Let a thread run on one core only, until it calls `set_free`; returns the cores for that, None without effect.

    thread : the system's number of a thread of this process, or None
    """
    if thread is None or core is None:
        return None
    try:
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(thread, {core})
    except OSError:  # the affinity has changed meanwhile
        return None
    return allowed


def set_free(allowed):
    """Let this thread be moved to all these cores; it stays where it is as long as that is good."""
    try:
        os.sched_setaffinity(0, allowed)
    except OSError:  # none of them is left
        pass
