"""Rounds on a Dask cluster: shards stay on their workers, and what is lost with a worker is computed again."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ..blocks import Block
from ..rounds import Plan, Result, State, mean_of, train_round
from .client import dask_distributed

SCATTER_PATIENCE = 10  # seconds that a state waits for the first worker
PATIENCE, PATIENCE_WITHOUT_WORKERS = 30, 300  # seconds without a scheduler, or without workers, that end a training


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

    def round(self, plan: Plan, state: State, number: int) -> Result:
        """The mean of all shards of a round; what is lost with a worker is computed again.

        The state goes out once, from worker to worker, and one of them takes the mean, so that two states in a round
        pass through this process, however many shards there are.
        """

        def submit() -> list[Any]:
            there = self._scattered(state)
            results = [
                self.client.submit(_round_here, plan, there, shard, number, index, retries=3, pure=False)
                for index, shard in enumerate(self.shards)
            ]
            return [self.client.submit(mean_of, results, retries=3, pure=False)]

        result: Result = self.results_of(submit)[0]
        return result

    def _scattered(self, state: State) -> Any:
        """The future of a state on every worker.

        Raises
        ------
        OSError
            If a worker leaves meanwhile, for which the scheduler has errors of its own that say nothing of a worker.
        """
        try:
            (there,) = self.client.scatter([state], broadcast=True, hash=False, timeout=SCATTER_PATIENCE)
        except (KeyError, ValueError) as error:
            raise OSError("a worker left while the state was sent to it") from error
        return there

    def results_of(self, submit: Callable[[], list[Any]]) -> list[Any]:
        """The results of the futures that ``submit`` makes, in their order; made again where a worker took them along.

        Raises
        ------
        RuntimeError
            If the scheduler is gone for half a minute, or no worker has come back in five.
        """
        distributed = dask_distributed()
        lost = None  # since when nobody works
        work: list[Any] = []
        while True:
            idle = False
            try:
                if self.client.scheduler is None:
                    raise OSError("the connection to the scheduler is closed")
                work = work or submit()
                with self.client.as_current():
                    distributed.wait(work, timeout=1)
                return list(self.client.gather(work))
            except (TimeoutError, distributed.TimeoutError):
                idle = not self._has_workers()
            except (OSError, distributed.CancelledError):  # a worker, or the scheduler, has gone with what it held
                work, idle = [], True
            if not idle:
                lost = None
                continue
            lost = time.monotonic() if lost is None else lost
            gone = time.monotonic() - lost
            most = PATIENCE_WITHOUT_WORKERS if self.client.status == "running" else PATIENCE
            if gone > most or self.client.status in ("closed", "closing"):
                raise RuntimeError(
                    f"client must have a scheduler with workers; it has been {self.client.status} without them for "
                    f"{gone:.0f} s. Start them, and fit again with the same checkpoint to go on."
                )
            time.sleep(0.2)

    def _has_workers(self) -> bool:
        """Whether the scheduler is there and has workers."""
        try:
            return self.client.status == "running" and bool(self.client.scheduler_info()["workers"])
        except OSError:
            return False
