"""The connection to a cluster: whether it is open, its workers are alike, and what is sent to them can be sent."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import __version__


def dask_distributed() -> Any:
    """dask.distributed.

    Raises
    ------
    ImportError
        Without it, with the name of the extra.
    """
    try:
        import distributed
    except ImportError as error:
        raise ImportError("backend='dask' needs dask.distributed: pip install 'fastmlp[dask]'.") from error
    return distributed


def connected(client: Any) -> Any:
    """The client, or the one that is open."""
    distributed = dask_distributed()
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError as error:
            raise ValueError("client must be a dask.distributed.Client, or one must be open; got None.") from error
    if not isinstance(client, distributed.Client):
        raise ValueError(f"client must be a dask.distributed.Client; got {client!r}.")
    if client.status != "running":
        raise ValueError(f"client must be connected to a scheduler; got one that is {client.status}. Open a new one.")
    return client


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    import sklearn

    return {"fastmlp": __version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__}


def submit_with_data(client: Any, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The future of a task that holds its data, and is made again where a worker is lost; scattered data is not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        return client.submit(function, *arguments, pure=False, **options)


def asked(question: Callable[[], Any]) -> Any:
    """What a scheduler answers.

    Raises
    ------
    RuntimeError
        If it has gone, for which Dask has several errors of its own.
    """
    distributed = dask_distributed()
    try:
        return question()
    except (OSError, TimeoutError, distributed.TimeoutError, distributed.CancelledError) as error:
        raise RuntimeError(
            "client must have a scheduler that answers; it has gone before the training began. Start one, and fit "
            "again."
        ) from error


def check_versions(client: Any) -> None:
    """Refuse workers whose results would differ; of one that leaves meanwhile nothing is asked."""
    ours = versions()
    answers = asked(lambda: client.run(versions, on_error="return"))
    for address, theirs in answers.items():
        if isinstance(theirs, OSError):
            continue
        if isinstance(theirs, Exception):
            raise ValueError(f"client must have workers with fastmlp {ours['fastmlp']}; {address} has none: {theirs}.")
        refuse_others(theirs, ours, address)


def refuse_others(theirs: dict[str, str], ours: dict[str, str], address: str) -> None:
    """Refuse a worker with other versions than those of the process that trains.

    Raises
    ------
    ValueError
        With both.
    """
    for library, version in ours.items():
        if theirs[library] != version:
            raise ValueError(
                f"client must have workers of one version; {address} has {library} {theirs[library]}, the process "
                f"that trains {version}. Install the same on all."
            )


def check_sendable(value: Any) -> None:
    """Refuse what workers cannot receive, before any work is sent."""
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception as error:
        raise ValueError(f"The estimator must have parameters that can be pickled for workers: {error}") from error
