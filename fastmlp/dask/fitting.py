"""Fits by rounds: the part that the estimators share, from checked parameters to the attributes that result."""

import math
import os
import pathlib
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from ..core.network import Network
from ..estimators import MLPClassifier
from ..estimators.block_fits import Survey, check_steps, converter, merged
from ..estimators.configuration import Configuration, configure
from ..estimators.perceptron import Perceptron, unchanged_on_error
from ..estimators.weights import learned_attributes
from ..rounds import OUTER, Checkpoints, OuterStep, Plan, Progression, State, Stopping, load_checkpoint, train
from ..schedules import Schedule
from ..trainable import Parameters
from .interface import OnClient, check_choice, check_count
from .sources import blocks_of, checksum_of, joined_shard, source_of, surveyed

if TYPE_CHECKING:
    from typing_extensions import Self

NOT_SERVED = ("metrics", "scoring", "weight_averaging", "max_time", "warm_start")  # parameters of local fits alone


class RoundsMixin(OnClient, Perceptron):
    """An estimator that trains by rounds, on a cluster or on this machine; see `DaskMLPClassifier`."""

    n_rounds: int | None
    steps_per_round: int
    outer: str
    outer_learning_rate: float
    outer_momentum: float
    checkpoint: Any
    checkpoint_every: int

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "Self":
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
        if self.early_stopping and X_val is None:
            raise ValueError("early_stopping=True needs X_val and y_val, a validation block, to train by rounds.")
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
        self._check_cluster()
        check_choice("outer", self.outer, OUTER)
        for name in ("n_rounds", "steps_per_round", "checkpoint_every"):
            check_count(name, getattr(self, name))
        for name, most in (("outer_learning_rate", np.inf), ("outer_momentum", 1)):
            value = getattr(self, name)
            if not 0 <= value < most:
                raise ValueError(f"{name} must be a number in the range [0, {most:g}); got {value!r}.")
        path = self.checkpoint
        if path is not None and not (isinstance(path, str | os.PathLike) and pathlib.Path(path).parent.is_dir()):
            raise ValueError(f"checkpoint must be the path of a file in a folder that exists, or None; got {path!r}.")

    def _fit_rounds(self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any]) -> None:
        """Shards, a plan, and rounds until the end."""
        configuration = configure(self)
        _check_served(configuration, self.n_estimators)
        source = source_of(self, X, y, sample_weight, blocks_of)
        labels, checked = isinstance(self, MLPClassifier), self.checkpoint is not None
        found = source.of_each(partial(surveyed, labels=labels, checked=checked))
        surveys = [survey for survey, _ in found]
        survey = merged(surveys)
        columns = survey.columns or source.columns
        configuration = survey.configured(configuration)
        data = self._checked_data(
            survey.rows(), validation, configuration, incremental=False, goes_on=False, columns=columns
        )
        random_state = check_random_state(self.random_state)
        parameters = self._starting_parameters(configuration, data, random_state, goes_on=False)
        local = self.to_local().set_params(progress=None)
        convert = converter(local, replace(configuration, progress=None), survey, data.X.dtype)
        shards, n_shards = source.shards([each.n_rows for each in surveys], partial(joined_shard, convert))
        plan = self._plan(configuration, data, parameters, survey, n_shards, int(random_state.randint(2**31)))
        plan = replace(plan, checksum=checksum_of(checksum for _, checksum in found))
        progression = None if self.checkpoint is None else load_checkpoint(self.checkpoint, plan)
        if progression is None:
            progression = Progression(State(parameters), OuterStep(*plan.outer))
        rows = plan.steps * plan.batch_size * plan.n_shards
        shown = nullcontext() if configuration.progress is None else configuration.progress(plan.n_rounds, rows)
        with shown as display:
            train(
                plan,
                progression,
                source.rounds(shards),
                stopping=self._stopping(configuration, data, plan),
                checkpoints=None if self.checkpoint is None else Checkpoints(self.checkpoint, self.checkpoint_every),
                after_round=partial(_report, configuration.verbose, display),
                clock=time.perf_counter,
            )
        self._set_results(plan, progression, configuration.early_stopping)

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
            outer=(self.outer, self.outer_learning_rate, self.outer_momentum),
            class_weight=configuration.class_weight,
        )

    def _stopping(self, configuration: Configuration, data: Any, plan: Plan) -> Stopping | None:
        """Stopping by minus the loss on the validation block, which is noted in any case; None without one."""
        given = data.given
        if given is None:
            return None

        def score(parameters: Parameters) -> float:
            network = Network(**plan.network)
            network.set_parameters(parameters)
            with network.session(given.X, batch_size=len(given.X), n_threads=configuration.n_threads) as session:
                outputs = session.predict()
            rows = configuration.loss.of_outputs(data.targets.output_activation, outputs, given.values)
            return -float(np.average(rows, weights=given.sample_weight))

        patience = configuration.n_iter_no_change if configuration.early_stopping else math.inf
        return Stopping(score, configuration.tol, patience)

    def _set_results(self, plan: Plan, progression: Progression, early_stopping: bool) -> None:
        """Set the attributes that result."""
        best = progression.best if early_stopping else None
        parameters = progression.state.parameters if best is None else best
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
        self.validation_scores_ = list(progression.scores) if early_stopping else None
        self.best_validation_score_ = progression.best_score if early_stopping else None
        self.history_ = {"loss": self.loss_curve_, "seconds": list(progression.seconds)}
        self.validation_loss_curve_ = [-score for score in progression.scores] or None
        if self.validation_loss_curve_ is not None:
            self.history_["val_loss"] = self.validation_loss_curve_
        self.t_ = self.n_iter_ * plan.steps * plan.batch_size * plan.n_shards
        self._no_improvement_count, self._optimizer, self._stream = progression.no_improvement_count, None, None


def _check_served(configuration: Configuration, n_estimators: int) -> None:
    """Refuse parameters that mean nothing to rounds.

    Raises
    ------
    ValueError
        With the parameter, and what to do.
    """
    check_steps(configuration, n_estimators, "to train by rounds")
    if type(configuration.schedule).on_plateau is not Schedule.on_plateau:
        raise ValueError(
            "learning_rate must be a schedule that is known beforehand, such as 'one_cycle', to train by rounds; "
            "got one that waits for a plateau."
        )
    values = vars(configuration)
    for name, attribute in (("augmentation", "augmentations"), *((name, name) for name in NOT_SERVED)):
        if values[attribute]:
            raise ValueError(f"{name} must be left at its default to train by rounds; got {values[attribute]!r}.")


def _report(verbose: bool, display: Any, progression: Progression) -> None:
    """Print a line after a round, and move the display of the progress."""
    losses = progression.losses
    if display is not None:
        display.update(len(losses), 0, losses[-1])
    if verbose:
        score = f", validation loss {-progression.scores[-1]:.6f}" if progression.scores else ""
        print(f"Round {len(losses)}, loss = {losses[-1]:.8f}{score}, {progression.seconds[-1]:.2f} s", flush=True)
