"""Rounds on a Dask cluster: shards stay on their workers, and what is lost with a worker is computed again."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ..blocks import Block
from ..rounds import Plan, Result, State, train_round
from .client import dask_distributed, submit_with_data

PATIENCE = 30  # seconds without a scheduler after which a training ends with an error


def _threads_here() -> int:
    """Threads of the worker that runs this task."""
    return int(dask_distributed().get_worker().state.nthreads)


def _round_here(plan: Plan, state: State, shard: Block, number: int, index: int) -> Result:
    """A round with the threads of this worker."""
    return train_round(plan, state, shard, number=number, index=index, n_threads=_threads_here())


class Cluster:
    """Rounds on a Dask cluster. Shards stay where they are; a worker that is lost costs its work of the round.

    Parameters
    ----------
    client : distributed.Client
    shards : futures of `Block`
    """

    def __init__(self, client: Any, shards: Sequence[Any]) -> None:
        self.client, self.shards = client, shards

    def round(self, plan: Plan, state: State, number: int) -> list[Result]:
        """All shards of a round; what is lost with a worker is computed again."""

        def submit() -> list[Any]:
            return [
                submit_with_data(self.client, _round_here, plan, state, shard, number, index, retries=3)
                for index, shard in enumerate(self.shards)
            ]

        return self.results_of(submit)

    def results_of(self, submit: Callable[[], list[Any]]) -> list[Any]:
        """The results of the futures that ``submit`` makes, in their order; made again where a worker took them along.

        Raises
        ------
        RuntimeError
            If the scheduler is gone, or no worker has come back, for half a minute.
        """
        distributed = dask_distributed()
        lost = None
        work: list[Any] = []
        while True:
            try:
                if self.client.scheduler is None:
                    raise OSError("the connection to the scheduler is closed")
                work = work or submit()
                with self.client.as_current():
                    distributed.wait(work, timeout=1)
                return list(self.client.gather(work))
            except (TimeoutError, distributed.TimeoutError):
                lost = lost if self.client.status != "running" else None
            except (OSError, distributed.CancelledError):  # a worker, or the scheduler, has gone with what it held
                work = []
            if work and self.client.status == "running":
                continue
            lost = time.monotonic() if lost is None else lost
            gone = time.monotonic() - lost
            if gone > PATIENCE or self.client.status in ("closed", "closing"):
                raise RuntimeError(
                    f"client must have a scheduler with workers; it has been {self.client.status} without them for "
                    f"{gone:.0f} s. Start them, and fit again with the same checkpoint to go on."
                )
            time.sleep(0.2)
