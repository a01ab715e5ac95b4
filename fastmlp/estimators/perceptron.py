"""What both estimators share: parameters, the order of events in a fit, optimizer and history, prediction."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..activations import ACTIVATIONS
from ..initializers import Weights, initial_weights
from ..network import Network, Session
from ..schedules import SCHEDULES
from ..training import (
    Descent,
    OptimizerState,
    Record,
    TrainingSettings,
    all_finite,
    minimize_lbfgs,
)
from .storage import Storable

STOCHASTIC_SOLVERS = ("sgd", "adam")
LOSS_OF_OUTPUT = {
    "softmax": "softmax_log_loss",
    "logistic": "logistic_log_loss",
    "identity": "squared_error",
    "exp": "poisson",
}
HISTORY_ATTRIBUTES = (
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "_no_improvement_count",
)


class Targets(NamedTuple):
    """Checked targets in the form that the loss wants.

    Attributes
    ----------
    values : int64 class codes of shape (n_samples,), or a real matrix of shape (n_samples, n_outputs)
    n_outputs : width of the last layer
    output_activation : key of `LOSS_OF_OUTPUT`
    stratify : labels by which to split for early stopping, or None
    """

    values: np.ndarray
    n_outputs: int
    output_activation: str
    stratify: np.ndarray | None = None


class TrainingData(NamedTuple):
    """Checked data of one call to fit; ``training_rows`` and ``validation_rows`` index them, nothing is copied."""

    X: np.ndarray
    targets: Targets
    sample_weight: np.ndarray | None
    training_rows: np.ndarray
    validation_rows: np.ndarray | None


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Give an estimator its attributes back if the block raises: a fit succeeds as a whole or leaves no trace.

    The block must replace attributes, not modify them in place.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        estimator.__dict__ = before
        raise


def warn_convergence(message: str) -> None:
    warnings.warn(message, ConvergenceWarning, stacklevel=2)


class Perceptron(Storable):
    """A multi-layer perceptron with scikit-learn's interface; the base of `MLPClassifier` and `MLPRegressor`.

    A subclass gives ``_check_data`` (checked X and `Targets`), ``_validation_score`` and the prediction methods.
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC_SOLVERS})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions(set(SCHEDULES))],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "dtype": [StrOptions({"auto", "float32", "float64"})],
    }

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    # What a subclass adds.

    def _check_data(self, X: Any, y: Any, *, dtype: Any, incremental: bool, reset: bool) -> tuple[np.ndarray, Targets]:
        raise NotImplementedError

    def _validation_score(self, data: TrainingData) -> Callable[[Session], float]:
        raise NotImplementedError

    # Fitting.

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Perceptron":
        """Train on X and y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows. A C-contiguous array of the computing dtype is used as it is; others are converted once.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, a 0/1 matrix for multilabel classification, or real targets for regression.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss; None weighs all rows alike.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data are invalid, or training ends with weights that are not finite. The estimator is
            then as it was before the call.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` is reached first, or the loss diverges.
        """
        with unchanged_on_error(self):
            self._fit(X, y, sample_weight, incremental=False)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> None:
        """Check everything, then train. Attributes may be half-set on an error: see `unchanged_on_error`."""
        hidden = self._hidden_units()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        dtype = self._training_dtype(first_pass)
        X, targets = self._check_data(X, y, dtype=dtype, incremental=incremental, reset=first_pass)
        if sample_weight is not None:
            sample_weight = np.ascontiguousarray(_check_sample_weight(sample_weight, X), dtype=X.dtype)
            if not sample_weight.any():
                raise ValueError("Sample weights must contain at least one non-zero number.")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        self._check_optimizer_state(incremental)

        random_state = check_random_state(self.random_state)
        if first_pass:
            units = (X.shape[1], *hidden, targets.n_outputs)
            weights = initial_weights(
                units, random_state, dtype=X.dtype, activation=self.activation, initializer="auto"
            )
            self._forget_training()
            self.n_layers_, self.t_ = len(units), 0
            self.out_activation_ = targets.output_activation
        else:
            weights = (self.coefs_, self.intercepts_)
            self._check_width(weights, targets)
        self.n_outputs_ = targets.n_outputs

        stochastic = self.solver in STOCHASTIC_SOLVERS
        data = self._split(X, targets, sample_weight, random_state, hold_out=self.early_stopping and stochastic)
        if stochastic:
            self._fit_stochastic(data, weights, random_state, incremental=incremental)
        else:
            self._fit_lbfgs(data, weights)
        if not all_finite(self.coefs_ + self.intercepts_):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )

    def _fit_stochastic(
        self, data: TrainingData, weights: Weights, random_state: np.random.RandomState, *, incremental: bool
    ) -> None:
        """Train by epochs of minibatch steps and set the attributes that result."""
        stored = getattr(self, "_optimizer", None) if incremental else None
        optimizer = self._new_optimizer() if stored is None else copy(stored)
        settings = TrainingSettings(
            max_epochs=1 if incremental else self.max_iter,
            batch_size=self._rows_per_step(len(data.training_rows)),
            alpha=float(self.alpha),
            shuffle=bool(self.shuffle),
            tol=float(self.tol),
            patience=self.n_iter_no_change,
            warn_at_limit=not incremental,
            verbose=bool(self.verbose),
        )
        record = self._record()
        self.loss_curve_ = record.loss_curve  # grows during the fit, so that another thread can follow it
        network = self._network(weights, data.X.dtype, optimizer.name)
        with self._session(network, data, settings.batch_size) as session:
            descent = Descent(
                network,
                session,
                data.training_rows,
                optimizer=optimizer,
                record=record,
                settings=settings,
                score=None if data.validation_rows is None else self._validation_score(data),
                warn=warn_convergence,
            )
            self.coefs_, self.intercepts_ = descent.run(random_state)
        self._optimizer = optimizer
        self._set_history(record)

    def _fit_lbfgs(self, data: TrainingData, weights: Weights) -> None:
        """Train by L-BFGS over all rows and set the attributes that result."""
        network = self._network(weights, data.X.dtype, "gradient")
        with self._session(network, data, len(data.X)) as session:
            (self.coefs_, self.intercepts_), self.loss_, self.n_iter_ = minimize_lbfgs(
                network,
                session,
                alpha=float(self.alpha),
                tol=float(self.tol),
                max_iter=self.max_iter,
                max_fun=self.max_fun,
                verbose=bool(self.verbose),
                warn=warn_convergence,
            )

    def _network(self, weights: Weights, dtype: np.dtype, optimizer: str) -> Network:
        """A network of the shape of the given weights, holding them."""
        coefs, intercepts = weights
        network = Network(
            (coefs[0].shape[0], *(coef.shape[1] for coef in coefs)),
            dtype=dtype,
            activation=self.activation,
            loss=LOSS_OF_OUTPUT[self.out_activation_],
            optimizer=optimizer,
        )
        network.set_weights(coefs, intercepts)
        return network

    def _session(self, network: Network, data: TrainingData, batch_size: int) -> Session:
        return network.session(
            data.X, data.targets.values, data.sample_weight, batch_size=batch_size, n_threads=self.n_threads
        )

    def _split(
        self,
        X: np.ndarray,
        targets: Targets,
        sample_weight: np.ndarray | None,
        random_state: np.random.RandomState,
        *,
        hold_out: bool,
    ) -> TrainingData:
        """Set rows aside for early stopping, by index: the same rows and random stream as splitting the data."""
        rows = np.arange(len(X), dtype=np.intp)
        if not hold_out:
            return TrainingData(X, targets, sample_weight, rows, None)
        training_rows, validation_rows = train_test_split(
            rows, random_state=random_state, test_size=self.validation_fraction, stratify=targets.stratify
        )
        if len(validation_rows) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return TrainingData(X, targets, sample_weight, training_rows, validation_rows)

    # Parameters made concrete.

    def _hidden_units(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return sizes

    def _training_dtype(self, first_pass: bool) -> Any:
        """The dtype, or the admitted ones with the preferred one first, of X and the weights in training."""
        if self.dtype != "auto":
            return np.dtype(self.dtype)
        if first_pass:
            return np.float64, np.float32
        return np.float32 if self.coefs_[0].dtype == np.float32 else np.float64

    def _rows_per_step(self, n_rows: int) -> int:
        """Rows per optimizer step."""
        if self.batch_size == "auto":
            return min(200, n_rows)
        if self.batch_size > n_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        return min(int(self.batch_size), n_rows)

    def _check_width(self, weights: Weights, targets: Targets) -> None:
        n_outputs = weights[0][-1].shape[1]
        if targets.n_outputs != n_outputs:
            raise ValueError(
                f"y must have as many outputs as in the previous call to fit, {n_outputs}; got {targets.n_outputs}. "
                "Fit with warm_start=False to begin anew."
            )

    # Optimizer state and history.

    def _new_optimizer(self) -> OptimizerState:
        common = {"learning_rate_init": self.learning_rate_init, "momentum": float(self.momentum)}
        if self.solver == "adam":
            return OptimizerState(
                "adam", beta_1=float(self.beta_1), beta_2=float(self.beta_2), epsilon=float(self.epsilon), **common
            )
        name = "nesterov" if self.nesterovs_momentum else "sgd"
        return OptimizerState(name, schedule=self.learning_rate, power_t=float(self.power_t), **common)

    def _forget_training(self) -> None:
        """Remove what an earlier fit has left, before weights are drawn anew."""
        for name in (*HISTORY_ATTRIBUTES, "loss_", "_optimizer"):
            self.__dict__.pop(name, None)

    def _record(self) -> Record:
        """The history so far, to be continued by a warm start or partial_fit."""
        if not hasattr(self, "loss_curve_"):
            return Record(rows_seen=self.t_)
        scores = getattr(self, "validation_scores_", None)
        return Record(
            loss_curve=list(self.loss_curve_),
            validation_scores=None if scores is None else list(scores),
            best_loss=self.best_loss_,
            best_validation_score=getattr(self, "best_validation_score_", None),
            no_improvement_count=self._no_improvement_count,
            rows_seen=self.t_,
        )

    def _set_history(self, record: Record) -> None:
        self.loss_curve_ = record.loss_curve
        self.best_loss_ = record.best_loss
        self.validation_scores_ = record.validation_scores
        self.best_validation_score_ = record.best_validation_score
        self._no_improvement_count = record.no_improvement_count
        self.t_ = record.rows_seen
        self.n_iter_ = record.n_epochs
        if record.loss_curve:
            self.loss_ = record.loss_curve[-1]

    # Prediction.

    def _outputs(self, X: Any) -> np.ndarray:
        """Values of the last layer, its activation applied: ndarray of shape (n_samples, n_outputs).

        Their dtype is float64 if X or the weights are, as in scikit-learn, whatever ``dtype`` has chosen to compute in.
        """
        rows, result_dtype = self._check_rows(X)
        return self._forward(rows).astype(result_dtype, copy=False)

    def _check_rows(self, X: Any) -> tuple[np.ndarray, np.dtype]:
        """X for prediction, checked, C-contiguous, of the computing dtype; and the dtype of the result."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        both = np.result_type(X.dtype, self.coefs_[0].dtype)
        result_dtype = np.dtype(np.float32 if both == np.float32 else np.float64)
        dtype = result_dtype if self.dtype == "auto" else np.dtype(self.dtype)
        if dtype.itemsize < X.dtype.itemsize:
            with np.errstate(over="ignore"):
                X = X.astype(dtype, order="C")
            assert_all_finite(X, input_name="X")
        return np.ascontiguousarray(X, dtype=dtype), result_dtype

    def _forward(self, X: np.ndarray) -> np.ndarray:
        """Outputs for checked rows, from ``coefs_`` and ``intercepts_`` as they are now.

        Each call has its own network, so that any thread may call and weights may be replaced or modified in between.
        """
        network = self._network((self.coefs_, self.intercepts_), X.dtype, "gradient")
        with network.session(X, batch_size=len(X), n_threads=self.n_threads) as session:
            return session.predict()

    # scikit-learn's protocols.

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True
