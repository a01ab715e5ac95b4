"""What both estimators share: parameters, the order of events in a fit, optimizer and history, prediction."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import copy
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ..core.network import Network, Parameters
from ..core.session import Session
from ..initializers import initial_weights
from ..losses import LOSSES, KLDivergence, Loss
from ..normalizations import BatchNormalization
from ..optimizers import GradientDescent, Optimizer
from ..training import OptimizerState, Trainer, TrainingSettings, WeightAverage, all_finite, minimize_lbfgs
from .configuration import (
    COMPONENT_CONSTRAINTS,
    Augmenter,
    activations_of,
    augmentations_of,
    check_combination,
    dropout_of,
    initializer_of,
    learned_attributes,
    limits_of,
    name_for_drawing,
    normalization_of,
    parameters_of,
    schedule_of,
    solver_of,
)
from .evaluation import EvaluationSet
from .events import CallbackSupportMixin, ProgressReport, SklearnCallbacks, with_callbacks
from .history import forget_training, history_of, set_history, show_history
from .parameters import ComponentParameters
from .predictions import Predicting
from .storage import Storable
from .validation import ValidationData, checked_validation, checked_weights, evaluation_callbacks, validation_session


class Targets(NamedTuple):
    """Checked targets in the form that the loss wants.

    Attributes
    ----------
    values : int64 class codes of shape (n_samples,), or a real matrix of shape (n_samples, n_outputs)
    n_outputs : width of the last layer
    output_activation : that of the last layer
    stratify : labels by which to split for early stopping, or None
    """

    values: np.ndarray
    n_outputs: int
    output_activation: str
    stratify: np.ndarray | None = None


class TrainingData(NamedTuple):
    """Checked data of one call to fit; ``training_rows`` and ``validation_rows`` index them, nothing is copied.

    Attributes
    ----------
    X, targets : all rows
    sample_weight, scoring_weight : weights in the loss, classes' weights included; weights in scores
    training_rows, validation_rows : indices; None where no rows are set aside
    given : validation data that were passed to fit, or None
    """

    X: np.ndarray
    targets: Targets
    sample_weight: np.ndarray | None
    scoring_weight: np.ndarray | None
    training_rows: np.ndarray
    validation_rows: np.ndarray | None
    given: ValidationData | None


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


def checked_epochs(n_epochs: Any) -> int:
    """The epochs of a partial_fit."""
    if not isinstance(n_epochs, Integral) or n_epochs < 1:
        raise ValueError(f"n_epochs must be an int in the range [1, inf); got {n_epochs!r}.")
    return int(n_epochs)


def warn_convergence(message: str) -> None:
    """What training calls with its warnings."""
    warnings.warn(message, ConvergenceWarning, stacklevel=2)


class Perceptron(CallbackSupportMixin, ComponentParameters, Predicting, Storable):
    """A multi-layer perceptron with scikit-learn's interface; the base of `MLPClassifier` and `MLPRegressor`.

    A subclass gives ``_check_data`` and ``_check_validation_data`` (checked X and `Targets`), ``_labels``, ``_score``
    and the prediction methods.
    """

    _parameter_constraints: dict = {
        **COMPONENT_CONSTRAINTS,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
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
        "scoring": [str, callable, None],
        "metrics": [str, list, tuple, dict, None],
        "progress": [callable, None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
    }

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    # What a subclass adds.

    def _check_data(self, X: Any, y: Any, *, dtype: Any, incremental: bool, reset: bool) -> tuple[np.ndarray, Targets]:
        raise NotImplementedError

    def _check_validation_data(self, X: Any, y: Any, dtype: Any) -> tuple[np.ndarray, Targets]:
        raise NotImplementedError

    def _class_weights(self, targets: Targets, incremental: bool) -> np.ndarray | None:
        return None

    def _labels(self, values: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _score(self, sample: EvaluationSet) -> Callable[[], float]:
        raise NotImplementedError

    # Fitting.

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "Perceptron":
        """Train on X and y.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)
            Training rows. A C-contiguous array of the computing dtype is used as it is, and so is CSR with sorted
            indices; others are converted once. Sparse rows never become dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, a 0/1 matrix for multilabel classification, or real targets for regression. A matrix with a
            column for each class is one-hot with ``one_hot=True``, and holds probabilities with loss 'kl_divergence'.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss; None weighs all rows alike.
        X_val : {array-like, sparse CSR or CSC} of shape (n_val, n_features), default=None
            Validation rows, for every solver but 'lbfgs'. Without ``early_stopping`` their loss and ``metrics`` are
            recorded after each epoch; with it they decide, in place of rows set aside. In a ``Pipeline`` they are
            transformed as X is with ``Pipeline(..., transform_input=["X_val"])``.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their labels or targets.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights in losses and scores.

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
            self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))
        return self

    @with_callbacks
    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple = (None, None, None), n_epochs: int | None = None
    ) -> None:
        """Check everything, then train: a fit, or ``n_epochs`` of partial_fit.

        Attributes may be half-set on an error: see `unchanged_on_error`.
        """
        incremental = n_epochs is not None
        if self.n_estimators > 1:
            self._fit_members(X, y, sample_weight, validation, n_epochs)
            return
        self.__dict__.pop("estimators_", None)
        component = solver_of(self)
        data, parameters, random_state = self._prepare(X, y, sample_weight, validation, incremental=incremental)
        max_epochs = n_epochs or (0 if component is None else self.max_iter)
        sklearn_callbacks = SklearnCallbacks(
            self, "partial_fit" if incremental else "fit", max_epochs, X, y, sample_weight
        )
        optimizer = None if component is None else self._optimizer_to_use(component, incremental)
        network = self._training_network(parameters, data, "gradient" if component is None else component)
        del parameters  # a copy would be in the way of large networks
        if optimizer is None:
            self._fit_lbfgs(data, network)
        else:
            self._fit_stochastic(
                data, network, optimizer, random_state, sklearn_callbacks, max_epochs, incremental=incremental
            )
        if not all_finite(self.coefs_ + self.intercepts_):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        seeded = isinstance(self.random_state, Integral)
        self._stream = (self.random_state, random_state.get_state()) if seeded else None
        sklearn_callbacks.end()

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple, *, incremental: bool
    ) -> tuple[TrainingData, Parameters, np.random.RandomState]:
        """Check parameters and data; the data, the parameters to start from, and the random stream behind both."""
        hidden = self._hidden_units()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        dtype = self._training_dtype(first_pass)
        X, targets = self._check_data(X, y, dtype=dtype, incremental=incremental, reset=first_pass)
        sample_weight = scoring_weight = checked_weights(sample_weight, X)
        class_weights = self._class_weights(targets, incremental)
        if class_weights is not None:
            sample_weight = checked_weights(
                class_weights if sample_weight is None else class_weights * sample_weight, X
            )
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        self._check_optimizer_state(incremental)
        check_combination(
            self,
            len(hidden),
            X.shape[1],
            sparse=issparse(X),
            weighted=sample_weight is not None,
            incremental=incremental,
        )

        random_state = self._random_stream(goes_on=incremental and not first_pass)
        if first_pass:
            units = (X.shape[1], *hidden, targets.n_outputs)
            weights = initial_weights(
                units,
                random_state,
                dtype=X.dtype,
                activation=name_for_drawing(self),
                initializer=initializer_of(self),
            )
            parameters = Parameters(*weights, [])
            forget_training(self)
            self.n_layers_, self.t_ = len(units), 0
            self.out_activation_ = targets.output_activation
        else:
            parameters = parameters_of(self, activations_of(self, len(hidden)), normalization_of(self))
            self._check_width(parameters.coefs, targets)
        self.n_outputs_ = targets.n_outputs

        given = checked_validation(self, validation, X)
        data = TrainingData(
            X, targets, sample_weight, scoring_weight, np.arange(X.shape[0], dtype=np.intp), None, given
        )
        if self.early_stopping and solver_of(self) is not None and given is None:
            data = self._split(data, random_state)
        return data, parameters, random_state

    def _fit_stochastic(
        self,
        data: TrainingData,
        network: Network,
        optimizer: OptimizerState,
        random_state: np.random.RandomState,
        sklearn_callbacks: SklearnCallbacks,
        max_epochs: int,
        *,
        incremental: bool,
    ) -> None:
        """Train by epochs of minibatch steps and set the attributes that result."""
        n_rows = len(data.training_rows)
        settings = TrainingSettings(
            max_epochs=max_epochs,
            batch_size=self._rows_per_step(n_rows),
            alpha=float(self.alpha),
            l1=float(self.l1),
            limits=limits_of(self),
            seeded=bool((network.keep < 1).any()),
            shuffle=bool(self.shuffle),
            tol=float(self.tol),
            patience=self.n_iter_no_change,
            may_stop=not incremental,
            warn_at_limit=not incremental,
            verbose=bool(self.verbose),
        )
        if isinstance(network.normalization, BatchNormalization) and settings.batch_size == 1:
            raise ValueError("batch_size must be at least 2 with normalization='batch'; got 1.")
        history = history_of(self)
        X, targets, augmenters = self._augmented(data, random_state)
        average = (
            [] if self.weight_averaging is None else [WeightAverage(network, int(self.weight_averaging * max_epochs))]
        )
        with (
            self._session(network, X, targets, data.sample_weight, settings.batch_size) as session,
            validation_session(network, data.given, self.n_threads) as second,
            self._as_given(network, data, targets, augmenters) as given,
            nullcontext() if self.progress is None else self.progress(max_epochs, n_rows) as display,
        ):
            score, evaluations = evaluation_callbacks(self, network, given or session, second, data, history)
            show_history(self, history)
            descent = Trainer(
                network,
                session,
                data.training_rows,
                optimizer=optimizer,
                history=history,
                settings=settings,
                score=score,
                warn=warn_convergence,
                callbacks=[
                    *augmenters,
                    *average,
                    *evaluations,
                    *([] if display is None else [ProgressReport(display, history)]),
                    *sklearn_callbacks.callbacks(network, data.training_rows, data.validation_rows is not None),
                ],
            )
            parameters = descent.run(random_state)
        if average and average[0].mean is not None:
            parameters = average[0].mean
        elif average:
            warn_convergence(
                f"Training ended after {history.n_epochs} epochs, before the averaging of weights began; lower "
                "weight_averaging or raise n_iter_no_change."
            )
        self.__dict__.update(learned_attributes(network, parameters))
        self._optimizer = optimizer
        set_history(self, history)

    def _fit_lbfgs(self, data: TrainingData, network: Network) -> None:
        """Train by L-BFGS over all rows and set the attributes that result."""
        self._parameters = None
        with self._session(network, data.X, data.targets.values, data.sample_weight, data.X.shape[0]) as session:
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

    def _training_network(self, parameters: Parameters, data: TrainingData, optimizer: Any) -> Network:
        """A network that starts from the given parameters and trains on the data."""
        loss, output = self._loss()
        if data.targets.values.ndim == 1 and any(component.mixes_targets for component in augmentations_of(self)):
            loss = KLDivergence()  # of mixed classes, which is the log loss but for a constant
        n_hidden = len(parameters.coefs) - 1
        return self._network(
            parameters,
            data.X,
            activation=activations_of(self, n_hidden),
            loss=loss,
            output=output,
            optimizer=optimizer,
            normalization=normalization_of(self),
            dropout=dropout_of(self, n_hidden),
            clips=self.clip_norm is not None,
        )

    def _augmented(
        self, data: TrainingData, random_state: np.random.RandomState
    ) -> tuple[Any, np.ndarray, list[Augmenter]]:
        """What the session reads: X and targets, copies of them where they change with each epoch."""
        components, X, targets = augmentations_of(self), data.X, data.targets.values
        if not components:
            return X, targets, []
        if any(component.mixes_targets for component in components):
            smoothing, classes = getattr(self._loss()[0], "label_smoothing", 0.0), data.targets.n_outputs
            if targets.ndim == 1:
                targets = ((1 - smoothing) * np.eye(classes) + smoothing / classes).astype(X.dtype)[targets]
            targets = targets.copy()
        X = X.copy()
        return X, targets, [Augmenter(components, X, targets, data.training_rows, random_state)]

    def _as_given(self, network: Network, data: TrainingData, targets: np.ndarray, augmenters: list[Augmenter]) -> Any:
        """A session of the rows as they were given, for metrics, where training changes them; else nothing."""
        if not augmenters or self.metrics is None:
            return nullcontext()
        return self._session(network, data.X, targets, None, len(targets))

    def _loss(self) -> tuple[Loss, str]:
        """The loss in use, and its output activation."""
        return LOSSES.resolve(self.loss), self.out_activation_

    def _session(self, network: Network, X: Any, targets: np.ndarray, sample_weight: Any, batch_size: int) -> Session:
        return network.session(X, targets, sample_weight, batch_size=batch_size, n_threads=self.n_threads)

    def _split(self, data: TrainingData, random_state: np.random.RandomState) -> TrainingData:
        """Set rows aside for early stopping, by index: the same rows and random stream as splitting the data."""
        training_rows, validation_rows = train_test_split(
            data.training_rows,
            random_state=random_state,
            test_size=self.validation_fraction,
            stratify=data.targets.stratify,
        )
        if len(validation_rows) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return data._replace(training_rows=training_rows, validation_rows=validation_rows)

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
        return np.float32 if self._weights_dtype() == np.float32 else np.float64

    def _rows_per_step(self, n_rows: int) -> int:
        """Rows per optimizer step."""
        if self.batch_size == "auto":
            return n_rows if isinstance(solver_of(self), GradientDescent) else min(200, n_rows)
        if self.batch_size > n_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        return min(int(self.batch_size), n_rows)

    def _check_width(self, coefs: list[np.ndarray], targets: Targets) -> None:
        n_outputs = coefs[-1].shape[1]
        if targets.n_outputs != n_outputs:
            raise ValueError(
                f"y must have as many outputs as in the previous call to fit, {n_outputs}; got {targets.n_outputs}. "
                "Fit with warm_start=False to begin anew."
            )

    # Optimizer state and random stream.

    def _optimizer_to_use(self, component: Optimizer, incremental: bool) -> OptimizerState:
        """The one that partial_fit goes on with, as a copy, or a new one."""
        stored = getattr(self, "_optimizer", None) if incremental else None
        return OptimizerState(component, self.learning_rate_init, schedule_of(self)) if stored is None else copy(stored)

    def _random_stream(self, *, goes_on: bool) -> np.random.RandomState:
        """The stream of ``random_state``; after an int seed partial_fit goes on where the latest training stopped."""
        seed, state = (goes_on and getattr(self, "_stream", None)) or (None, None)
        if state is None or seed != self.random_state:
            return check_random_state(self.random_state)
        stream = np.random.RandomState(0)
        stream.set_state(state)
        return stream

    # scikit-learn's protocols.

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check_solver(self) -> bool:
        if isinstance(self.solver, str) and self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True
