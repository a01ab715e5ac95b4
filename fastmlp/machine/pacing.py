"""How many threads work on a task, and how long a slice of it is: decided by what it has taken so far.

A second thread pays on an idle machine only. Where other processes compute on the same cores, threads that meet at a
barrier wait for whoever is off its core: a fit of two threads took ninety times as long as one of a single thread. So a
fit begins alone, tries more threads once it has run for a millisecond, keeps them as long as they are worth it, and
tries again after a while, later each time. No result depends on any of it.
"""

import math

from .cores import cores_left
from .team import STALL, STALLED

ALONE = 1e-3  # seconds of work before more threads are tried
FIRST_SLICE, SLICE = 1e-3, 10e-3  # seconds between two looks, at first and later
FIRST_COST = 5e-11  # seconds of an operation, before any has been timed
COMPARED = 3e-3  # seconds after which a team's speed is compared with that of a smaller one
MEMORY = 20e-3  # seconds in which what has been measured is forgotten by a factor of e
GAIN = 0.9  # share of the time without them that more threads may take at most
ACCIDENT = 10  # a stall is an accident after so many times its length without one
NEVER = 2**62  # nanoseconds
FIRST_PAUSE, LONGEST_PAUSE = 20e-3, 2.0  # seconds of work before more threads are tried again; or...
PAUSE_PER_TRIAL = 10  # ... so many times what the trial has taken
LOAD_CHECK = 5e-3  # seconds of work between two looks at whether the machine has a core left


class Pacing:
    """The size of a team, and of the slices of its work.

    Parameters
    ----------
    n_threads : int or None
        A size that is always kept, or None to find it.
    cores_left : callable(n_threads) -> int
        See `cores.cores_left`.

    Attributes
    ----------
    n_threads : threads that should work on the next slice, at most
    patience : nanoseconds at barriers, beyond a share of a slice's time, after which it should end early
    """

    def __init__(self, n_threads=None, cores_left=cores_left):
        self.cores_left = cores_left
        self.fixed = n_threads is not None
        self.n_threads = n_threads or 1
        self.patience = NEVER if self.fixed else STALL
        self._costs = {}  # (kind of work, threads) -> seconds per operation
        self._worked, self._next_trial = 0.0, ALONE
        self._pause, self._undisturbed = FIRST_PAUSE, 0.0
        self._size, self._settled = 1, 0.0  # threads of the latest slice, and seconds since it was another number

    def wanted(self, most):
        """How many threads to try for the next slice, of `most` that could be had."""
        if self.fixed:
            return self.n_threads
        self.n_threads = min(self.n_threads, most)
        if self.n_threads < most and self._worked >= self._next_trial:
            trial = min(most, self.cores_left(self.n_threads))
            if trial > self.n_threads:
                return trial if self._pause == FIRST_PAUSE else min(2 * self.n_threads, trial)
            self._next_trial = self._worked + LOAD_CHECK
        return self.n_threads

    def operations(self, kind, n_threads):
        """Of the next slice of this kind of work, by so many threads."""
        known = self._costs.get((kind, n_threads))
        if known is None:
            return FIRST_SLICE / self._costs.get((kind, 1), FIRST_COST)
        return (SLICE if self._settled > SLICE else FIRST_SLICE) / known

    def note(self, kind, n_threads, operations, seconds, waited=0.0):
        """Learn from a slice: by how many threads, how long, and how long all of them together waited at barriers."""
        self._worked += seconds
        if n_threads != self._size:
            self._size, self._settled = n_threads, 0.0
        self._settled += seconds
        self._note_cost((kind, n_threads), seconds / operations, seconds)
        if self.fixed:
            return
        if n_threads == 1:
            self.n_threads = 1
        elif self._hinder_each_other(n_threads, seconds, waited) or not self._pays(kind, n_threads):
            self._shrink(n_threads, seconds)
        else:
            self.n_threads = n_threads

    def _note_cost(self, key, cost, seconds):
        """Of one thread the least cost counts, which it needs on an idle core; of more, the recent mean."""
        before = self._costs.get(key, cost)
        weight = math.exp(-seconds / MEMORY)
        self._costs[key] = min(before, cost) if key[1] == 1 else weight * before + (1 - weight) * cost

    def _hinder_each_other(self, n_threads, seconds, waited):
        """Whether a slice stalled; not where it is the first time for long."""
        if waited < STALLED * n_threads * seconds + 1e-9 * STALL:
            self._undisturbed += seconds
            if self._undisturbed > 10 * self._pause:
                self._pause = FIRST_PAUSE
            return False
        accident = self._undisturbed > ACCIDENT * seconds
        self._undisturbed = 0.0
        return not accident

    def _pays(self, kind, n_threads):
        """Whether a team is faster than the largest smaller one that is known; in doubt it is."""
        smaller = [n for known, n in self._costs if known == kind and n < n_threads]
        if not smaller or self._settled < COMPARED:
            return True
        return self._costs[kind, n_threads] < GAIN * self._costs[kind, max(smaller)]

    def _shrink(self, n_threads, seconds):
        """Half the team, and a longer pause before the next trial."""
        self.n_threads = n_threads // 2
        self._undisturbed = 0.0
        self._next_trial = self._worked + max(self._pause, PAUSE_PER_TRIAL * seconds)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._costs = {}  # what has disturbed the team may have changed all of them
