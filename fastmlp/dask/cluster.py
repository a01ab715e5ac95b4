"""Rounds on a Dask cluster: shards stay on their workers, and what is lost with a worker is computed again."""

import time
from collections.abc import Callable
from typing import Any

from ..blocks import Block
from ..rounds import Plan, Result, State, mean_of, train_round
from .client import dask_distributed, refuse_others, versions

SCATTER_PATIENCE = 10  # seconds that a state waits for the first worker
PATIENCE, PATIENCE_WITHOUT_WORKERS = 30, 300  # seconds without a scheduler or rows, or without workers, that end a fit


def threads_here(ours: dict[str, str]) -> int:
    """A task's share of its worker's threads; refused where the worker has other versions."""
    worker = dask_distributed().get_worker()
    refuse_others(versions(), ours, worker.address)
    n_threads, tasks = int(worker.state.nthreads), int(worker.state.executing_count)
    return max(1, n_threads // max(1, tasks))


class Wanted:
    """A display of progress, in a worker's task, that ends the work when nobody waits for its result any more."""

    def __init__(self) -> None:
        self.worker = dask_distributed().get_worker()
        self.key = self.worker.get_current_task()

    def __call__(self, *sizes: int) -> "Wanted":
        return self

    def __enter__(self) -> "Wanted":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, *progress: Any) -> None:
        """Called after each epoch, in any thread.

        Raises
        ------
        RuntimeError
            If the task is cancelled, or the worker closes; it goes to nobody.
        """
        task = self.worker.state.tasks.get(self.key)
        if task is None or task.state == "cancelled" or self.worker.status.name in ("closing", "closed", "failed"):
            raise RuntimeError("the task is cancelled")


def on_worker(work: Callable[..., Any], shard: Any, argument: Any, ours: dict[str, str]) -> Any:
    """``work(shard, argument, n_threads, progress)`` with this task's share of the worker's threads."""
    return work(shard, argument, threads_here(ours), Wanted())


def _round_here(plan: Plan, state: State, shard: Block, number: int, index: int, ours: dict[str, str]) -> Result:
    """A round with this task's share of the worker's threads."""
    return train_round(plan, state, shard, number=number, index=index, n_threads=threads_here(ours))


class Kept:
    """Futures that are made again where they are lost for good, as when somebody restarts the scheduler.

    Parameters
    ----------
    make : callable () -> list of futures
    """

    def __init__(self, make: Callable[[], list[Any]]) -> None:
        self.make = make
        self.futures: list[Any] = []

    def __call__(self) -> list[Any]:
        """The futures, new ones if any of them is lost."""
        if not self.futures or any(future.cancelled() for future in self.futures):
            self.futures = self.make()
        return self.futures


class Cluster:
    """Rounds on a Dask cluster. Shards stay where they are; a worker that is lost costs its work of the round.

    Parameters
    ----------
    client : distributed.Client
    shards : callable () -> futures of `Block`, such as `Kept`
    """

    def __init__(self, client: Any, shards: Callable[[], list[Any]]) -> None:
        self.client, self.shards = client, shards

    def round(self, plan: Plan, state: State, number: int) -> Result:
        """The mean of all shards of a round; what is lost with a worker is computed again.

        The state goes out once, from worker to worker, and one of them takes the mean, so that two states in a round
        pass through this process, however many shards there are.
        """

        def submit() -> Any:
            shards, there, ours = self.shards(), self._scattered(state), versions()
            results = [
                self.client.submit(_round_here, plan, there, shard, number, index, ours, retries=3, pure=False)
                for index, shard in enumerate(shards)
            ]
            return self.client.submit(mean_of, results, retries=3, pure=False)

        result: Result = result_of(self.client, submit)
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


def result_of(client: Any, submit: Callable[[], Any], watch: Callable[[], None] | None = None) -> Any:
    """The result of the future that ``submit`` makes; made again where a worker or the scheduler took it along.

    An interrupt cancels the work. ``watch`` is called every second, if it is there.

    Raises
    ------
    RuntimeError
        If for half a minute the scheduler or the rows are gone, no worker has come back in five, or a task has killed
        several workers.
    """
    distributed = dask_distributed()
    lost = None  # since when there is no worker
    work: Any = None
    while True:
        began = time.monotonic()
        try:
            if client.status != "running":  # what asks the scheduler would wait for an answer
                raise OSError("the connection to the scheduler is closed")
            work = submit() if work is None else work
            if watch is not None:
                watch()
            with client.as_current():
                distributed.wait(work, timeout=1)
            return work.result(timeout=PATIENCE_WITHOUT_WORKERS)  # it may have to be computed again
        except (TimeoutError, distributed.TimeoutError):
            idle = not _has_workers(client)
        except (OSError, distributed.CancelledError):  # a worker, or the scheduler, has gone with what it held
            if work is not None and work.status == "error" and client.status == "running":
                raise  # a task could not read its rows
            work, idle = None, True
        except distributed.KilledWorker as error:
            raise RuntimeError(
                "client must have workers that live as long as a task; some died one after the other with the same "
                "one, perhaps for want of memory. Use more shards, or workers with more memory."
            ) from error
        except KeyboardInterrupt:
            if work is not None and client.status == "running":
                client.cancel([work], force=True)
            raise
        except Exception:
            if client.status == "running":  # the error of a task
                raise
            work, idle = None, True
        if not idle:
            lost = None
            continue
        lost = began if lost is None else lost
        _check_patience(client, time.monotonic() - lost)
        time.sleep(0.2)


def _check_patience(client: Any, seconds: float) -> None:
    """Give up after so many seconds without a worker."""
    waits = client.status == "running" and not _has_workers(client)
    if seconds > (PATIENCE_WITHOUT_WORKERS if waits else PATIENCE) or client.status in ("closed", "closing"):
        raise RuntimeError(
            f"client must have a scheduler with workers; it has been {client.status} without them, or without the rows "
            f"that they held, for {seconds:.0f} s. Start them, and fit again, from the same checkpoint if there is one."
        )


def _has_workers(client: Any) -> bool:
    """Whether the scheduler is there and has workers."""
    try:
        return client.status == "running" and bool(client.nthreads())
    except Exception:  # whatever a connection raises that is about to close
        return False
