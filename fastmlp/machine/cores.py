"""The cores of the process, and who works on how many of them.

Concurrent fits share the cores instead of multiplying them. Nothing is taken and given back: what a fit may use follows
from the leases that exist, so that nothing can be lost, and a lease ends with the object that holds it at the latest.
"""

import functools
import math
import os
import pathlib
import threading
import time
import weakref

PATIENCE = 0.2  # seconds that a newcomer waits for a core which a larger team is about to leave
LOADAVG = "/proc/loadavg"
POLLING = 0.0005  # seconds between two looks
GROUPS, MEMBERSHIP = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/proc/self/cgroup")


def numbers_in(path):
    """The whole numbers in a file of the system; none where it cannot be read. "max" is none."""
    try:
        return [int(text) for text in path.read_text().split() if text != "max"]
    except (OSError, ValueError):
        return []


def control_groups(controller):
    """Folders of the process's control groups of a controller, 'cpu' or 'memory', and of all groups above them.

    A service has a group of its own below the root, and each group above it may bound it too: cgroups(7). In a
    container the root is its own group.
    """
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and controller not in controllers.split(","):
            continue
        root = GROUPS / controller if controllers else GROUPS
        group = root / path.strip("/")
        yield from (group, *(above for above in group.parents if above.is_relative_to(root)))


def quota():
    """Cores that the quotas of the process's control groups are worth; inf without any.

    Sources: "CFS Bandwidth Control" and "Control Group v2" of Linux's documentation.
    """
    granted = math.inf
    for folder in control_groups("cpu"):
        numbers = numbers_in(folder / "cpu.max") or [
            number for name in ("quota", "period") for number in numbers_in(folder / f"cpu.cfs_{name}_us")
        ]
        if len(numbers) == 2 and min(numbers) > 0:
            granted = min(granted, numbers[0] / numbers[1])
    return granted


@functools.lru_cache(maxsize=1)
def _granted_cores(process, affinity, second):
    """What affinity and quotas grant, looked up once in a second: it reads files of the system."""
    from joblib import cpu_count  # here, since importing it takes longer than all of this layer

    return math.ceil(min(cpu_count(), quota()))


def available_cores():
    """Cores this process may use: affinity and quotas, no more than NUMBA_NUM_THREADS or OMP_NUM_THREADS."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    limits = [_granted_cores(os.getpid(), affinity, int(time.monotonic()))]
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").split(",")[0]
        if value.isdecimal() and int(value) > 0:
            limits.append(int(value))
    return min(limits)


def cores_left(n_threads):
    """Cores of the machine that are idle but for the caller's threads; all of them where the system does not tell.

    n_threads : threads of the caller that compute now

    The fourth field of Linux's /proc/loadavg is the number of threads that run or could: proc(5).
    """
    cores = os.cpu_count() or 1
    try:
        with open(LOADAVG, "rb") as file:
            running = int(file.read().split()[3].split(b"/")[0])
    except (OSError, IndexError, ValueError):
        return cores
    return max(0, cores - max(0, running - n_threads))


def fair_shares(cores, wanted):
    """Cores for each of those who want so many: one at least, and none stays idle that somebody wants.

    The smallest requests are met first, so that the others get equal shares; what is left over goes to the first.
    """
    shares = [1] * len(wanted)
    free = cores - len(wanted)
    for left, who in zip(range(len(wanted), 0, -1), sorted(range(len(wanted)), key=lambda who: (wanted[who], -who))):
        extra = max(0, min(wanted[who] - 1, free // left))
        shares[who] += extra
        free -= extra
    for who, want in enumerate(wanted):
        extra = max(0, min(want - shares[who], free))
        shares[who] += extra
        free -= extra
    return shares


class Lease:
    """What one fit wants of the process's cores, until `close`.

    Attributes
    ----------
    wanted : most threads that its work is worth; 0 when it has ended
    at_work : threads that compute for it at the moment
    thread : the thread that leads it. Of several leases in one thread only the latest can be at work
    """

    def __init__(self, wanted):
        self.wanted, self.at_work = wanted, 0
        self.thread = threading.get_ident()

    def close(self):
        """It wants nothing any more."""
        self.wanted = self.at_work = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class CoreBudget:
    """The leases of a process and what each may use.

    Attributes
    ----------
    cores : what there were for the latest lease
    """

    def __init__(self):
        self.cores = 1
        self._process = None
        self._renew_after_fork()

    def _renew_after_fork(self):
        """Begin anew in a forked child, without the leases of threads that are not here."""
        if os.getpid() != self._process:
            self._process = os.getpid()
            self._leases = {}  # weak references by the lease's identity, the oldest first

    def _claims(self, lease):
        """What each thread wants and has at work: {thread: (wanted, at work)}, the oldest first.

        There is no lock, which an exception at the wrong moment could leave locked: each access to the leases is one
        call of the interpreter, and a lease notes that it wants more threads before it looks at what the others have.
        """
        leases, key = self._leases, id(lease)
        if key not in leases:  # it is new, or was the parent's
            leases[key] = weakref.ref(lease, lambda _: leases.pop(key, None))
        claims = {}
        for other in [reference() for reference in leases.copy().values()]:
            if other is not None and other.wanted:
                wanted, at_work = claims.get(other.thread, (0, 0))
                claims[other.thread] = max(wanted, other.wanted), max(at_work, other.at_work)
        if lease.thread in claims:  # its other leases are at rest
            claims[lease.thread] = lease.wanted, lease.at_work
        return claims

    def lease(self, wanted, patient=True):
        """A new lease of up to `wanted` cores; a patient one waits for a core that a larger team is about to leave."""
        lease = Lease(wanted)
        self._renew_after_fork()
        self.cores = available_cores()
        deadline = time.monotonic() + PATIENCE
        while patient and self._is_about_to_get_one(lease) and time.monotonic() < deadline:
            time.sleep(POLLING)
        return lease

    def _is_about_to_get_one(self, lease):
        """Whether all cores are at work and a team has more than its share, which it will leave in milliseconds."""
        claims = self._claims(lease)
        shares = fair_shares(self.cores, [wanted for wanted, _ in claims.values()])
        full = sum(at_work for _, at_work in claims.values()) >= self.cores
        return full and any(at_work > share for (_, at_work), share in zip(claims.values(), shares))

    def begin(self, lease, wanted):
        """Note that a lease puts up to `wanted` threads to work, as many as it may now; returns their number."""
        if wanted == 1:
            lease.at_work = 1
            return 1
        self._renew_after_fork()
        lease.at_work = wanted  # seen by all who ask meanwhile, so that two never take the same core
        claims = self._claims(lease)
        others = sum(at_work for thread, (_, at_work) in claims.items() if thread != lease.thread)
        lease.at_work = max(1, min(wanted, self._share(lease, claims), self.cores - others))
        return lease.at_work

    def share(self, lease):
        """The fair share of a lease, in threads."""
        self._renew_after_fork()
        return self._share(lease, self._claims(lease))

    def _share(self, lease, claims):
        shares = fair_shares(self.cores, [wanted for wanted, _ in claims.values()])
        return shares[[*claims].index(lease.thread)] if lease.thread in claims else 1


BUDGET = CoreBudget()


class Cancelled(BaseException):
    """Ends a training whose result is no longer wanted; not an Exception, so that no scorer catches it."""


_LOCAL = threading.local()


class Cancellation:
    """Lets trainings in other threads end at their next slice: those that run in its `with` blocks."""

    def __init__(self):
        self.requested = False

    def __enter__(self):
        _LOCAL.cancellation = self

    def __exit__(self, *exception):
        _LOCAL.cancellation = None


def check_cancelled():
    """Raise `Cancelled` where the thread's work is no longer wanted."""
    cancellation = getattr(_LOCAL, "cancellation", None)
    if cancellation is not None and cancellation.requested:
        raise Cancelled
