"""Where the rows are, on a cluster's workers or in this process, and the shards that become of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from joblib import effective_n_jobs

from ..blocks import Block, Blocks, as_blocks, from_arrays, joined, partitions_of
from ..estimators.block_fits import Survey, survey_of
from ..rounds import InProcess, Joblib
from .client import check_sendable, check_versions, connected, submit_with_data
from .cluster import Cluster


class OnCluster:
    """Partitions of Dask collections, on their workers.

    Parameters
    ----------
    estimator : with ``client`` and ``n_shards``
    X, y, sample_weight : Dask collections, or what `as_blocks` and arrays are, which are sent to the workers
    labels : whether y holds labels

    Raises
    ------
    ValueError
        If the client is not connected, or workers have other versions.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, labels: bool) -> None:
        self.client = connected(estimator.client)
        check_versions(self.client)
        self.n_shards = estimator.n_shards or max(1, len(self.client.scheduler_info()["workers"]))
        if hasattr(X, "__dask_graph__"):
            from dask.delayed import delayed

            parts = [[None] if values is None else partitions_of(values) for values in (X, y, sample_weight)]
            count = len(parts[0])
            for name, values in zip(("y", "sample_weight"), parts[1:], strict=True):
                if values[0] is not None and len(values) != count:
                    raise ValueError(f"{name} must have the {count} partitions of X; got {len(values)}. Rechunk it.")
            rows = zip(*(values * count if values[0] is None else values for values in parts), strict=True)
            self.parts = self.client.compute([delayed(tuple)(part) for part in rows])
        else:
            blocks = _blocks_of(X, y, sample_weight, self.n_shards)
            self.parts = [submit_with_data(self.client, tuple, tuple(block)) for block in blocks]
        self.names = [f"partition {n}" for n in range(len(self.parts))]
        self.surveys: list[Survey] = Cluster(self.client, []).results_of(
            lambda: [
                self.client.submit(_survey, part, name, labels, pure=False)
                for part, name in zip(self.parts, self.names, strict=True)
            ]
        )

    def executor(self, convert: Callable[[Block, str], Block]) -> tuple[Cluster, int]:
        """Shards of consecutive partitions, made on the workers, and their number."""
        groups = _groups([survey.n_rows for survey in self.surveys], self.n_shards)
        check_sendable(convert)
        shards = [
            self.client.submit(
                _joined, convert, [self.names[n] for n in group], *(self.parts[n] for n in group), pure=False
            )
            for group in groups
        ]
        return Cluster(self.client, shards), len(shards)


class Here:
    """Rows in this process: arrays, `Blocks`, or Dask collections that are computed here."""

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, labels: bool) -> None:
        self.backend, self.n_threads = estimator.backend, estimator.n_threads
        self.n_shards = estimator.n_shards or (effective_n_jobs() if self.backend == "joblib" else 1)
        self.blocks = _blocks_of(X, y, sample_weight, self.n_shards)
        named = zip(self.blocks.names, self.blocks)
        self.surveys = [survey_of(block, name, labels=labels) for name, block in named]

    def executor(self, convert: Callable[[Block, str], Block]) -> tuple[InProcess | Joblib, int]:
        """Shards of consecutive blocks, and their number."""
        shards = [
            _joined(convert, [self.blocks.names[n] for n in group], *(tuple(self.blocks.read(n)) for n in group))
            for group in _groups([survey.n_rows for survey in self.surveys], self.n_shards)
        ]
        if self.backend == "joblib":
            return Joblib(shards, self.n_shards, self.n_threads or 1), len(shards)
        return InProcess(shards, self.n_threads), len(shards)


def _blocks_of(X: Any, y: Any, sample_weight: Any, n_shards: int) -> Blocks:
    """X as blocks; arrays in as many as there are shards."""
    found = as_blocks(X, y, sample_weight)
    if found is not None:
        return found
    if y is None:
        raise ValueError("y must hold a target for each row of X; got None.")
    X, y, weight = (None if values is None else np.asarray(values) for values in (X, y, sample_weight))
    return from_arrays(X, y, weight, block_rows=max(1, -(-len(X) // n_shards)))


def _survey(part: tuple[Any, ...], name: str, labels: bool) -> Survey:
    """A survey of one partition, on its worker."""
    return survey_of(_block(part), name, labels=labels)


def _groups(rows: Sequence[int], n_shards: int) -> list[list[int]]:
    """Consecutive partitions of each shard; shards without rows are left out."""
    parts = np.array_split(np.arange(len(rows)), n_shards)
    return [part.tolist() for part in parts if sum(rows[n] for n in part)]


def _joined(convert: Callable[[Block, str], Block], names: Sequence[str], *parts: tuple[Any, ...]) -> Block:
    """One shard from its partitions, in the network's dtypes."""
    return joined([convert(_block(part), name) for name, part in zip(names, parts, strict=True) if len(part[0])])


def _block(part: tuple[Any, ...]) -> Block:
    """A partition as arrays."""
    X, y = np.asarray(part[0]), np.asarray(part[1])
    weight = None if part[2] is None else np.asarray(part[2])
    return Block(X, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y, weight)
