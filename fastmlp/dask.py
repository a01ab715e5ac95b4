"""Training on a cluster: scikit-learn's interface over Dask collections, by rounds on shards that stay on workers.

>>> from dask.distributed import Client                                       # doctest: +SKIP
>>> from fastmlp.dask import DaskMLPClassifier                                # doctest: +SKIP
>>> model = DaskMLPClassifier(client=Client(), random_state=0).fit(X, y)      # doctest: +SKIP

A round is a pure function (see `fastmlp.rounds`): the result depends on the data, the seed and the number of shards,
and not on which worker did what. ``backend="joblib"`` and ``backend="local"`` train the same model without a cluster.
"""

import inspect
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils import check_random_state

from . import __version__
from .blocks import Block, Blocks, as_blocks, from_arrays, partitions_of
from .core.network import Network, Parameters
from .estimators import MLPClassifier, MLPRegressor
from .estimators.block_fits import Survey, converter, merged, survey_of
from .estimators.configuration import Configuration, configure
from .estimators.perceptron import Perceptron, unchanged_on_error
from .estimators.weights import learned_attributes
from .rounds import (
    OUTER,
    InProcess,
    Joblib,
    OuterStep,
    Plan,
    Progression,
    Result,
    State,
    load_checkpoint,
    train,
    train_round,
)

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor"]

PATIENCE = 30  # seconds without a scheduler after which a training ends with an error
BACKENDS = ("dask", "joblib", "local")


def _dask() -> Any:
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


# --- what runs on the workers -----------------------------------------------------------------------------------------


def _versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    import sklearn

    return {"fastmlp": __version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__}


def _threads_here() -> int:
    """Threads of the worker that runs this task."""
    return int(_dask().get_worker().state.nthreads)


def _joined(convert: Callable[[Block, str], Block], names: Sequence[str], *parts: tuple[Any, ...]) -> Block:
    """One shard from its partitions, in the network's dtypes."""
    blocks = [convert(_block(part), name) for name, part in zip(names, parts, strict=True) if len(part[0])]
    X, y, weights = zip(*blocks, strict=True)
    return Block(np.concatenate(X), np.concatenate(y), None if weights[0] is None else np.concatenate(weights))


def _block(part: tuple[Any, ...]) -> Block:
    """A partition as arrays."""
    X, y = np.asarray(part[0]), np.asarray(part[1])
    weight = None if part[2] is None else np.asarray(part[2])
    return Block(X, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y, weight)


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
            with warnings.catch_warnings():  # the state goes with the task: what is scattered is lost with a worker
                warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
                return [
                    self.client.submit(_round_here, plan, state, shard, number, index, pure=False, retries=3)
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
        distributed = _dask()
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


# --- where the rows are -----------------------------------------------------------------------------------------------


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
        self.client = self._connected(estimator.client)
        self._check_versions()
        self.n_shards = estimator.n_shards or max(1, len(self.client.scheduler_info()["workers"]))
        if hasattr(X, "__dask_graph__"):
            from dask.delayed import delayed

            parts = [[None] if values is None else partitions_of(values) for values in (X, y, sample_weight)]
            count = len(parts[0])
            for name, values in zip(("y", "sample_weight"), parts[1:], strict=True):
                if values != [None] and len(values) != count:
                    raise ValueError(f"{name} must have the {count} partitions of X; got {len(values)}. Rechunk it.")
            rows = zip(*(values * count if values == [None] else values for values in parts), strict=True)
            self.parts = self.client.compute([delayed(tuple)(part) for part in rows])
        else:
            self.parts = self.client.scatter([tuple(block) for block in _blocks_of(X, y, sample_weight, self.n_shards)])
        self.names = [f"partition {n}" for n in range(len(self.parts))]
        self.surveys: list[Survey] = Cluster(self.client, []).results_of(
            lambda: [
                self.client.submit(_survey, part, name, labels, pure=False)
                for part, name in zip(self.parts, self.names, strict=True)
            ]
        )

    @staticmethod
    def _connected(client: Any) -> Any:
        """The client, or the one that is open."""
        distributed = _dask()
        if client is None:
            try:
                client = distributed.default_client()
            except ValueError as error:
                raise ValueError("client must be a dask.distributed.Client, or one must be open; got None.") from error
        if client.status != "running":
            raise ValueError(
                f"client must be connected to a scheduler; got one that is {client.status}. Open a new one."
            )
        return client

    def _check_versions(self) -> None:
        """Refuse workers whose results would differ."""
        ours = _versions()
        for address, theirs in self.client.run(_versions).items():
            for library, version in ours.items():
                if theirs[library] != version:
                    raise ValueError(
                        f"client must have workers of one version; {address} has {library} {theirs[library]}, this "
                        f"process {version}. Install the same on all."
                    )

    def executor(self, convert: Callable[[Block, str], Block]) -> tuple[Cluster, int]:
        """Shards of consecutive partitions, made on the workers, and their number."""
        groups = _groups([survey.n_rows for survey in self.surveys], self.n_shards)
        _check_sendable(convert)
        shards = [
            self.client.submit(
                _joined, convert, [self.names[n] for n in group], *(self.parts[n] for n in group), pure=False
            )
            for group in groups
        ]
        return Cluster(self.client, shards), len(shards)


def _check_sendable(value: Any) -> None:
    """Refuse what workers cannot receive, before any work is sent."""
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception as error:
        raise ValueError(f"The estimator must have parameters that can be pickled for workers: {error}") from error


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


# --- estimators -------------------------------------------------------------------------------------------------------


_PARAMETERS = """
    Parameters
    ----------
    client : dask.distributed.Client, default=None
        None for the one that is open. It belongs to this process: a pickle has none.
    backend : {'dask', 'joblib', 'local'}, default='dask'
        Who computes the shards: a cluster's workers, joblib's, or this process, one after the other.
    n_shards : int, default=None
        Parts of consecutive rows that are trained on apart in a round; None for as many as there are workers. The
        result depends on it.
    n_rounds : int, default=None
        None for as many as see all rows ``max_iter`` times.
    steps_per_round : int, default=100
        Optimizer steps on each shard between two means.
    outer : {'average', 'nesterov'}, default='average'
        How the mean of the shards becomes the next round's start: as it is, or by a Nesterov step towards it, as in
        DiLoCo (arXiv:2311.08105).
    outer_learning_rate, outer_momentum : float, default=0.7 and 0.9
        Of 'nesterov'.
    checkpoint : path, default=None
        A file that holds the training after every ``checkpoint_every`` rounds; the same fit goes on from it.
    checkpoint_every : int, default=1
    others : those of the local class
        A worker trains with its own number of threads. Early stopping needs X_val.
    """


class RoundsMixin(Perceptron):
    """An estimator that trains by rounds, on a cluster or on this machine; see `DaskMLPClassifier`."""

    client: Any
    backend: str
    n_shards: int | None
    n_rounds: int | None
    steps_per_round: int
    outer: str
    outer_learning_rate: float
    outer_momentum: float
    checkpoint: Any
    checkpoint_every: int
    _local: type

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Train by rounds.

        Parameters
        ----------
        X, y, sample_weight : Dask arrays or frames with the same partitions of rows; or arrays, or `Blocks`
        X_val, y_val, sample_weight_val : arrays
            A validation block, which decides with ``early_stopping=True``; its loss is recorded in any case.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, RuntimeError
            If parameters or data are invalid, versions differ between workers, or the scheduler is gone. The estimator
            is then as it was before.
        """
        self._validate_params()
        self._check_rounds()
        with unchanged_on_error(self):
            self._fit_rounds(X, y, sample_weight, (X_val, y_val, sample_weight_val))
        return self

    def partial_fit(self, *arguments: Any, **keywords: Any) -> Any:
        """Not available: rounds need all shards.

        Raises
        ------
        AttributeError
            In any case.
        """
        raise AttributeError(f"partial_fit is not available for {type(self).__name__}; use to_local().partial_fit.")

    def _check_rounds(self) -> None:
        """Check the parameters of the rounds."""
        for name, allowed in (("backend", BACKENDS), ("outer", OUTER)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {getattr(self, name)!r}.")
        for name in ("n_shards", "n_rounds", "steps_per_round", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | np.integer) or value < 1):
                raise ValueError(f"{name} must be an int in the range [1, inf); got {value!r}.")
        for name, most in (("outer_learning_rate", np.inf), ("outer_momentum", 1)):
            value = getattr(self, name)
            if not 0 <= value < most:
                raise ValueError(f"{name} must be a number in the range [0, {most:g}); got {value!r}.")

    def _fit_rounds(self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any]) -> None:
        """Shards, a plan, and rounds until the end."""
        configuration = configure(self)
        if configuration.optimizer is None:
            raise ValueError("solver must be one that takes steps, such as 'adam', to train by rounds; got 'lbfgs'.")
        labels = isinstance(self, MLPClassifier)
        find = OnCluster if self.backend == "dask" else Here
        source = find(self, X, y, sample_weight, labels)
        survey = merged(source.surveys)
        configuration = survey.configured(configuration)
        data = self._checked_data(*survey.rows(), validation, configuration, incremental=False, goes_on=False)
        random_state = check_random_state(self.random_state)
        parameters = self._starting_parameters(configuration, data, random_state, goes_on=False)
        local = self.to_local().set_params(progress=None, scoring=None, metrics=None)
        sent = replace(configuration, progress=None, scoring=None, metrics=None)
        convert = converter(local, sent, survey, data.X.dtype)
        executor, n_shards = source.executor(convert)
        plan = self._plan(configuration, data, parameters, survey, n_shards, int(random_state.randint(2**31)))
        progression = None if self.checkpoint is None else load_checkpoint(self.checkpoint, plan)
        if progression is None:
            outer = OuterStep(self.outer, self.outer_learning_rate, self.outer_momentum)
            progression = Progression(State(parameters), outer)
        score = self._validation_score(configuration, data, plan)
        progression = train(
            plan,
            progression,
            executor,
            score=score if configuration.early_stopping else None,
            tol=configuration.tol,
            patience=configuration.n_iter_no_change,
            checkpoint=self.checkpoint,
            every=self.checkpoint_every,
            after_round=partial(_report, configuration.verbose),
            clock=time.perf_counter,
        )
        self._learn(plan, progression)

    def _plan(
        self, configuration: Configuration, data: Any, parameters: Parameters, survey: Survey, n_shards: int, seed: int
    ) -> Plan:
        """The plan of all rounds."""
        coefs = parameters.coefs
        batch = configuration.rows_per_step(survey.n_rows)
        of_round = self.steps_per_round * batch * n_shards
        return Plan(
            network={
                "units": (coefs[0].shape[0], *(coef.shape[1] for coef in coefs)),
                "dtype": data.X.dtype.name,
                "activation": list(configuration.activations),
                "loss": configuration.loss,
                "output": data.targets.output_activation,
                "optimizer": configuration.optimizer,
                "normalization": configuration.normalization,
                "dropout": configuration.dropout,
                "clips": "clip_norm" in configuration.limits,
            },
            batch_size=batch,
            steps=self.steps_per_round,
            learning_rate_init=configuration.learning_rate_init,
            schedule=configuration.schedule,
            settings={"alpha": configuration.alpha, "l1": configuration.l1, **configuration.limits},
            shuffle=configuration.shuffle,
            seed=seed,
            n_rounds=self.n_rounds or max(1, -(-configuration.max_iter * survey.n_rows // of_round)),
            n_shards=n_shards,
            n_rows=survey.n_rows,
        )

    def _validation_score(self, configuration: Configuration, data: Any, plan: Plan) -> Any:
        """Minus the loss on the validation block, of some parameters; None without one."""
        given = data.given
        if given is None:
            if configuration.early_stopping:
                raise ValueError("early_stopping=True needs X_val and y_val, a validation block, to train by rounds.")
            return None

        def score(parameters: Parameters) -> float:
            network = Network(**plan.network)
            network.set_parameters(parameters)
            with network.session(given.X, batch_size=len(given.X), n_threads=configuration.n_threads) as session:
                outputs = session.predict()
            rows = configuration.loss.of_outputs(data.targets.output_activation, outputs, given.values)
            return -float(np.average(rows, weights=given.sample_weight))

        return score

    def _learn(self, plan: Plan, progression: Progression) -> None:
        """Set the attributes that result."""
        parameters = progression.state.parameters if progression.best is None else progression.best
        network = Network(**plan.network)
        network.set_parameters(parameters)
        if not all(np.isfinite(array).all() for part in parameters for array in part):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
        self.__dict__.update(learned_attributes(network, network.parameters()))
        self.loss_curve_, self.n_iter_ = list(progression.losses), len(progression.losses)
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        self.best_loss_ = min(self.loss_curve_, default=np.nan)
        self.validation_scores_ = list(progression.scores) or None
        self.best_validation_score_ = progression.best_score if progression.scores else None
        self.history_ = {"loss": self.loss_curve_, "seconds": list(progression.seconds)}
        self.t_ = self.n_iter_ * plan.steps * plan.batch_size * plan.n_shards
        self._no_improvement_count, self._optimizer, self._stream = progression.no_improvement_count, None, None

    def to_local(self) -> Any:
        """The same model as a local estimator: its parameters, and all that it has learned."""
        parameters = self.get_params(deep=False)
        names = inspect.signature(self._local).parameters
        local = self._local(**{name: parameters[name] for name in names})
        local.__dict__.update({name: value for name, value in vars(self).items() if name not in parameters})
        return local

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the client, which belongs to this process."""
        return {**super().__getstate__(), "client": None}

    def _mapped(self, method: str, X: Any, **shape: Any) -> Any:
        """A method of the local model on every partition of a Dask collection, lazily; on arrays at once."""
        local = self.to_local()
        if hasattr(X, "to_delayed") and not hasattr(X, "numblocks"):
            X = X.to_dask_array(lengths=True)
        if not hasattr(X, "map_blocks"):
            return getattr(local, method)(X)
        if X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        example = getattr(local, method)(np.zeros((1, X.shape[1]), X.dtype))
        more: dict[str, Any] = {"drop_axis": 1} if example.ndim == 1 else {"chunks": (X.chunks[0], (example.shape[1],))}
        return X.map_blocks(_apply, local, method, dtype=example.dtype, meta=example[:0], **more)


def _apply(part: np.ndarray, local: Any, method: str) -> np.ndarray:
    """A method of a local model on one partition."""
    result: np.ndarray = getattr(local, method)(part)
    return result


def _report(verbose: bool, progression: Progression) -> None:
    """Print a line after a round."""
    if verbose:
        losses = progression.losses
        score = f", validation loss {-progression.scores[-1]:.6f}" if progression.scores else ""
        print(f"Round {len(losses)}, loss = {losses[-1]:.8f}{score}, {progression.seconds[-1]:.2f} s", flush=True)


def _constructor(local: Any) -> Callable[..., None]:
    """A constructor that takes the parameters of a local class, then those of the rounds."""

    def __init__(
        self: Any,
        *arguments: Any,
        client: Any = None,
        backend: str = "dask",
        n_shards: int | None = None,
        n_rounds: int | None = None,
        steps_per_round: int = 100,
        outer: str = "average",
        outer_learning_rate: float = 0.7,
        outer_momentum: float = 0.9,
        checkpoint: Any = None,
        checkpoint_every: int = 1,
        **parameters: Any,
    ) -> None:
        local.__init__(self, *arguments, **parameters)
        self.client = client
        self.backend = backend
        self.n_shards = n_shards
        self.n_rounds = n_rounds
        self.steps_per_round = steps_per_round
        self.outer = outer
        self.outer_learning_rate = outer_learning_rate
        self.outer_momentum = outer_momentum
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every

    own = [p for p in inspect.signature(__init__).parameters.values() if p.kind is p.KEYWORD_ONLY]
    theirs = inspect.signature(local.__init__).parameters.values()
    __init__.__signature__ = inspect.Signature([*theirs, *own])  # type: ignore[attr-defined]
    return __init__


class DaskMLPClassifier(RoundsMixin, MLPClassifier):
    """`MLPClassifier`, trained by rounds on the shards of a cluster.

    Predictions on Dask collections are Dask collections; `to_local` gives the model without the cluster.
    """

    __doc__ = f"{__doc__}\n{_PARAMETERS}"
    __init__ = _constructor(MLPClassifier)
    _local = MLPClassifier

    def predict(self, X: Any) -> Any:
        """Labels, as `MLPClassifier.predict`; of a Dask collection, as a lazy Dask array."""
        return self._mapped("predict", X)

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes, as `MLPClassifier.predict_proba`; of a Dask collection, as a Dask array."""
        return self._mapped("predict_proba", X)


class DaskMLPRegressor(RoundsMixin, MLPRegressor):
    """`MLPRegressor`, trained by rounds on the shards of a cluster.

    Predictions on Dask collections are Dask collections; `to_local` gives the model without the cluster.
    """

    __doc__ = f"{__doc__}\n{_PARAMETERS}"
    __init__ = _constructor(MLPRegressor)
    _local = MLPRegressor

    def predict(self, X: Any) -> Any:
        """Numbers, as `MLPRegressor.predict`; of a Dask collection, as a lazy Dask array."""
        return self._mapped("predict", X)
