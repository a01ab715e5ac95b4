"""Where the rows are, on a cluster's workers or in this process, and the shards that become of them."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from scipy.sparse import issparse

from ..blocks import Block, Blocks, as_block, as_blocks, from_arrays, joined
from ..delayed_parts import is_dask, partitions_of
from ..estimators.block_fits import Survey, survey_of
from ..frames import text_names
from ..rounds import InProcess, Joblib
from .client import asked, check_sendable, check_versions, connected, submit_with_data, versions
from .cluster import Cluster, Kept, on_worker, result_of


class Parts(Protocol):
    """Rows in parts, each with a name, and names of X's columns that X itself does not show; such as `Blocks`."""

    names: Sequence[str]
    columns: list[str] | None

    def __len__(self) -> int: ...

    def read(self, position: int) -> Sequence[Any]:
        """X, y and sample_weight of a part."""


class OnCluster:
    """Partitions of Dask collections, on their workers.

    Parameters
    ----------
    estimator : with ``client`` and ``n_shards``
    X, y, sample_weight : Dask collections, or what ``cut`` takes, which is sent to the workers
    cut : callable (X, y, sample_weight, n_shards) -> Parts

    Raises
    ------
    ValueError
        If the client is not connected, or workers have other versions.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, cut: Callable[..., Parts]) -> None:
        self.client = client = connected(estimator.client)
        check_versions(client)
        self.n_shards = estimator.n_shards or max(1, len(asked(client.nthreads)))
        self.columns: list[str] | None = None  # of parts that have lost their names when they were read
        if is_dask(X):
            from dask.delayed import delayed as lazily

            lazy = [lazily(tuple)(part) for part in partitions_of(X, y, sample_weight)]
            self.parts = Kept(lambda: client.compute(lazy))
        else:
            parts = cut(X, y, sample_weight, self.n_shards)
            read = [tuple(parts.read(n)) for n in range(len(parts))]
            self.columns = parts.columns
            self.parts = Kept(lambda: [submit_with_data(client, tuple, part) for part in read])
        self.names = [f"partition {n}" for n in range(len(self.parts()))]

    def of_each(
        self, look: Callable[..., Any], arguments: Sequence[Any] | None = None, then: Callable[..., Any] = list
    ) -> Any:
        """What ``then`` makes of the list of ``look(part, name)`` of each part, all of it on the workers.

        Parameters
        ----------
        arguments : a third argument of ``look`` for each part, default=None
        """
        check_sendable((look, then))
        more = [()] * len(self.names) if arguments is None else [(argument,) for argument in arguments]

        def submit() -> Any:
            each = [
                submit_with_data(self.client, look, part, name, *argument)
                for part, name, argument in zip(self.parts(), self.names, more, strict=True)
            ]
            return submit_with_data(self.client, then, each)

        return result_of(self.client, submit)

    def shards(self, rows: Sequence[int], make: Callable[..., Any]) -> tuple[Any, int]:
        """Futures of ``make(names, *parts)`` of consecutive parts, by the rows of each part; and their number."""
        groups = _groups(rows, self.n_shards)
        check_sendable(make)

        def made() -> list[Any]:
            parts = self.parts()
            return [
                submit_with_data(self.client, make, [self.names[n] for n in group], *(parts[n] for n in group))
                for group in groups
            ]

        return Kept(made), len(groups)

    def of_shards(
        self,
        shards: Kept,
        work: Callable[..., Any],
        arguments: Sequence[Any],
        done: Callable[[int], None] | None = None,
    ) -> list[Any]:
        """``work(shard, argument, n_threads, progress)`` of each shard, where it is.

        Parameters
        ----------
        done : callable (number of shards) that is told now and then how many are done, default=None
        """
        check_sendable((work, arguments))
        each: list[Any] = []

        def submit() -> Any:
            each[:] = [
                submit_with_data(self.client, on_worker, work, shard, argument, versions())
                for shard, argument in zip(shards(), arguments, strict=True)
            ]
            return submit_with_data(self.client, list, each)

        def watch() -> None:
            if done is not None:
                done(sum(future.status == "finished" for future in each))

        found: list[Any] = result_of(self.client, submit, watch)
        watch()
        return found

    def rounds(self, shards: Kept) -> Cluster:
        """What trains by rounds on the shards."""
        return Cluster(self.client, shards)


class Here:
    """Rows in this process: what ``cut`` takes, Dask collections that are computed here among it; see `OnCluster`."""

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, cut: Callable[..., Parts]) -> None:
        self.backend, self.n_threads = estimator.backend, estimator.n_threads
        self.n_shards = estimator.n_shards or (effective_n_jobs() if self.backend == "joblib" else 1)
        self.parts = cut(X, y, sample_weight, self.n_shards)
        self.names = self.parts.names

    @property
    def columns(self) -> list[str] | None:
        """Names of X's columns, where parts that were read do not show them."""
        return self.parts.columns

    def _part(self, position: int) -> tuple[Any, ...]:
        return tuple(self.parts.read(position))

    def of_each(
        self, look: Callable[..., Any], arguments: Sequence[Any] | None = None, then: Callable[..., Any] = list
    ) -> Any:
        """What ``then`` makes of the list of ``look(part, name)`` of each part; see `OnCluster.of_each`."""
        more = [()] * len(self.names) if arguments is None else [(argument,) for argument in arguments]
        return then([look(self._part(n), self.names[n], *argument) for n, argument in enumerate(more)])

    def shards(self, rows: Sequence[int], make: Callable[..., Any]) -> tuple[Any, int]:
        """``make(names, *parts)`` of consecutive parts, by the rows of each part; and their number."""
        groups = _groups(rows, self.n_shards)
        shards = [make([self.names[n] for n in group], *(self._part(n) for n in group)) for group in groups]
        return shards, len(groups)

    def of_shards(
        self,
        shards: list[Any],
        work: Callable[..., Any],
        arguments: Sequence[Any],
        done: Callable[[int], None] | None = None,
    ) -> list[Any]:
        """``work(shard, argument, n_threads, progress)`` of each shard, one after the other or by joblib."""
        n_jobs, n_threads = (self.n_shards, self.n_threads or 1) if self.backend == "joblib" else (1, self.n_threads)
        results = Parallel(n_jobs=n_jobs, return_as="generator")(
            delayed(work)(shard, argument, n_threads, None) for shard, argument in zip(shards, arguments, strict=True)
        )
        found = []
        for result in results:
            found.append(result)
            if done is not None:
                done(len(found))
        return found

    def rounds(self, shards: list[Block]) -> InProcess | Joblib:
        """What trains by rounds on the shards."""
        if self.backend == "joblib":
            return Joblib(shards, self.n_shards, self.n_threads or 1)
        return InProcess(shards, self.n_threads)


def source_of(estimator: Any, X: Any, y: Any, sample_weight: Any, cut: Callable[..., Parts]) -> OnCluster | Here:
    """Where the rows are by the estimator's ``backend``."""
    return (OnCluster if estimator.backend == "dask" else Here)(estimator, X, y, sample_weight, cut)


def _groups(rows: Sequence[int], n_shards: int) -> list[list[int]]:
    """Consecutive parts of each shard; shards without rows are left out."""
    parts = np.array_split(np.arange(len(rows)), n_shards)
    return [part.tolist() for part in parts if sum(rows[n] for n in part)]


# --- blocks of numbers ------------------------------------------------------------------------------------------------


def blocks_of(X: Any, y: Any, sample_weight: Any, n_shards: int) -> Blocks:
    """X as blocks; arrays in as many as there are shards."""
    found = as_blocks(X, y, sample_weight)
    if found is not None:
        return found
    if y is None:
        raise ValueError("y must hold a target for each row of X; got None.")
    columns = text_names(X)
    if not issparse(X):  # which is refused by name
        X = np.asarray(X)
    y, weight = (None if values is None else np.asarray(values) for values in (y, sample_weight))
    if X.ndim != 2 or not X.shape[0]:
        raise ValueError(f"X must be a matrix with a row at least; got shape {X.shape}.")
    blocks = from_arrays(X, y, weight, block_rows=-(-X.shape[0] // n_shards))
    blocks.columns = columns
    return blocks


def surveyed(part: tuple[Any, ...], name: str, labels: bool, checked: bool) -> tuple[Survey, int]:
    """A survey of one partition, where it is, and a checksum of its rows if a checkpoint wants one."""
    block = as_block(part, name)
    survey = replace(survey_of(block, name, labels=labels), columns=text_names(part[0]))
    return survey, checksum_of(block) if checked else 0


def checksum_of(values: Iterable[Any]) -> int:
    """A checksum of arrays or numbers."""
    found = 0
    for value in values:
        array = np.ascontiguousarray(value)
        text = array.astype(str) if array.dtype == object else array
        found = zlib.crc32(text.reshape(-1).view(np.uint8).data, found)
    return found


def joined_shard(convert: Callable[[Block, str], Block], names: Sequence[str], *parts: tuple[Any, ...]) -> Block:
    """One shard from its partitions, in the network's dtypes."""
    blocks = [as_block(part, name) for name, part in zip(names, parts, strict=True)]
    return joined([convert(block, name) for name, block in zip(names, blocks, strict=True) if len(block.X)])
