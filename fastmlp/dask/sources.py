"""Where the rows are, on a cluster's workers or in this process, and the shards that become of them."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from scipy.sparse import issparse

from ..blocks import Block, Blocks, as_block, as_blocks, from_arrays, joined
from ..delayed_parts import is_dask, partitions_of
from ..estimators.block_fits import Survey, survey_of
from ..rounds import InProcess, Joblib
from .client import check_sendable, check_versions, connected, submit_with_data
from .cluster import Cluster, Kept, result_of


class OnCluster:
    """Partitions of Dask collections, on their workers.

    Parameters
    ----------
    estimator : with ``client``, ``n_shards`` and ``checkpoint``
    X, y, sample_weight : Dask collections, or what `as_blocks` and arrays are, which are sent to the workers
    labels : whether y holds labels

    Raises
    ------
    ValueError
        If the client is not connected, or workers have other versions.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, labels: bool) -> None:
        self.client = client = connected(estimator.client)
        check_versions(client)
        self.n_shards = estimator.n_shards or max(1, len(client.nthreads()))
        if is_dask(X):
            from dask.delayed import delayed

            lazy = [delayed(tuple)(part) for part in partitions_of(X, y, sample_weight)]
            self.parts = Kept(lambda: client.compute(lazy))
        else:
            blocks = list(_blocks_of(X, y, sample_weight, self.n_shards))
            self.parts = Kept(lambda: [submit_with_data(client, tuple, tuple(block)) for block in blocks])
        self.names = [f"partition {n}" for n in range(len(self.parts()))]
        look = partial(_survey, labels=labels, checked=estimator.checkpoint is not None)

        def surveys() -> Any:
            each = [client.submit(look, part, name, pure=False) for part, name in zip(self.parts(), self.names)]
            return client.submit(list, each, pure=False)

        found = result_of(client, surveys)
        self.surveys: list[Survey] = [survey for survey, _ in found]
        self.checksum = _checksum_of(checksum for _, checksum in found)

    def executor(self, convert: Callable[[Block, str], Block]) -> tuple[Cluster, int]:
        """Shards of consecutive partitions, made on the workers, and their number."""
        groups = _groups([survey.n_rows for survey in self.surveys], self.n_shards)
        check_sendable(convert)

        def shards() -> list[Any]:
            parts = self.parts()
            return [
                self.client.submit(
                    _joined, convert, [self.names[n] for n in group], *(parts[n] for n in group), pure=False
                )
                for group in groups
            ]

        return Cluster(self.client, Kept(shards)), len(groups)


class Here:
    """Rows in this process: arrays, `Blocks`, or Dask collections that are computed here."""

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, labels: bool) -> None:
        self.backend, self.n_threads = estimator.backend, estimator.n_threads
        self.n_shards = estimator.n_shards or (effective_n_jobs() if self.backend == "joblib" else 1)
        self.blocks = _blocks_of(X, y, sample_weight, self.n_shards)
        look = partial(_survey, labels=labels, checked=estimator.checkpoint is not None)
        found = [look(tuple(block), name) for name, block in zip(self.blocks.names, self.blocks)]
        self.surveys = [survey for survey, _ in found]
        self.checksum = _checksum_of(checksum for _, checksum in found)

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
    if not issparse(X):  # which is refused by name
        X = np.asarray(X)
    y, weight = (None if values is None else np.asarray(values) for values in (y, sample_weight))
    if X.ndim != 2 or not X.shape[0]:
        raise ValueError(f"X must be a matrix with a row at least; got shape {X.shape}.")
    return from_arrays(X, y, weight, block_rows=-(-X.shape[0] // n_shards))


def _survey(part: tuple[Any, ...], name: str, labels: bool, checked: bool) -> tuple[Survey, int]:
    """A survey of one partition, where it is, and a checksum of its rows if a checkpoint wants one."""
    block = as_block(part, name)
    return survey_of(block, name, labels=labels), _checksum_of(block) if checked else 0


def _checksum_of(values: Iterable[Any]) -> int:
    """A checksum of arrays or numbers."""
    found = 0
    for value in values:
        array = np.ascontiguousarray(value)
        text = array.astype(str) if array.dtype == object else array
        found = zlib.crc32(text.reshape(-1).view(np.uint8).data, found)
    return found


def _groups(rows: Sequence[int], n_shards: int) -> list[list[int]]:
    """Consecutive partitions of each shard; shards without rows are left out."""
    parts = np.array_split(np.arange(len(rows)), n_shards)
    return [part.tolist() for part in parts if sum(rows[n] for n in part)]


def _joined(convert: Callable[[Block, str], Block], names: Sequence[str], *parts: tuple[Any, ...]) -> Block:
    """One shard from its partitions, in the network's dtypes."""
    blocks = [as_block(part, name) for name, part in zip(names, parts, strict=True)]
    return joined([convert(block, name) for name, block in zip(names, blocks, strict=True) if len(block.X)])
