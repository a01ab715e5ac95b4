"""What a round on a cluster takes, on paper: the steps of a shard, and the exchange of states.

    t = H s(m)  +  (K + 3 + log2 K) b / B  +  latency

H steps of s(m) seconds on m rows, which `core.step_time` gives; K shards, one on each worker; b bytes of the weights
and of the optimizer's moments; B bytes in a second of every link. One state goes from the training process over the
scheduler to a worker and back, 4 b, and from worker to worker in log2 K times b. The worker that takes the mean gets
those of all others, (K - 1) b through its link, which therefore bounds the number of workers.
"""

import itertools
import math
from collections.abc import Sequence

from ..core.step_time import step_seconds

TEN_GIGABITS = 1.25e9  # bytes in a second
LATENCY = 5e-3  # seconds of a round that the scheduler takes whatever is sent, assumed


def state_bytes(units: Sequence[int], itemsize: int = 4, moments: int = 2) -> int:
    """Bytes of weights, biases and moments of a network; Adam has two moments."""
    return (1 + moments) * itemsize * sum((below + 1) * above for below, above in itertools.pairwise(units))


def exchange_seconds(
    units: Sequence[int], n_workers: int, *, bandwidth: float = TEN_GIGABITS, latency: float = LATENCY
) -> float:
    """Seconds in which a state goes to all workers, and the mean of theirs comes back."""
    states = n_workers + 3 + math.ceil(math.log2(n_workers))  # that pass through one link after another
    return states * state_bytes(units) / bandwidth + latency


def round_seconds(
    units: Sequence[int], batch: int, steps: int, n_workers: int, *, n_threads: int = 1, bandwidth: float = TEN_GIGABITS
) -> float:
    """Seconds of a round of ``steps`` steps on each of ``n_workers`` shards, each on so many threads."""
    return steps * float(step_seconds(n_threads, batch, units)) + exchange_seconds(
        units, n_workers, bandwidth=bandwidth
    )


def speed_up(
    units: Sequence[int], batch: int, steps: int, n_workers: int, *, n_threads: int = 1, bandwidth: float = TEN_GIGABITS
) -> float:
    """Rows in a second of ``n_workers`` workers, in multiples of one that trains alone and exchanges nothing."""
    alone = steps * float(step_seconds(n_threads, batch, units))
    return n_workers * alone / round_seconds(units, batch, steps, n_workers, n_threads=n_threads, bandwidth=bandwidth)


def rows_that_pay(
    units: Sequence[int], batch: int, n_workers: int, *, n_threads: int = 1, bandwidth: float = TEN_GIGABITS
) -> int:
    """Rows of a shard in a round from which on the exchange takes no longer than the steps: half of the ideal speed."""
    steps = exchange_seconds(units, n_workers, bandwidth=bandwidth) / float(step_seconds(n_threads, batch, units))
    return batch * math.ceil(steps)
