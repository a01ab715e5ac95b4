"""What both estimators share: the order of events in a fit, what goes on between fits, and prediction."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import check_random_state

from ..blocks import as_blocks
from ..core.network import Network
from ..initializers import initial_weights
from ..losses import LOSSES, Loss
from ..trainable import Parameters
from ..training import all_finite
from .block_fits import BlockRows, check_block_fit, first_pass, without_names
from .configuration import Configuration, check_combination, configure
from .constraints import CONSTRAINTS
from .continuation import (
    check_n_estimators,
    check_network,
    components_of,
    optimizer_to_go_on_with,
    same_components,
)
from .data import TrainingData, ValidationData, checked_weights, set_aside, with_class_weights
from .events import SklearnCallbacks
from .fitting import Fit, train_by_lbfgs, train_by_steps
from .history import forget_training
from .parameters import ComponentParameters
from .predictions import Predicting
from .rows import as_rows_like
from .sklearn_internals import CallbackSupportMixin, fit_context, with_callbacks
from .storage import Storable
from .stream import ReadWhenAsked, read_all, release
from .targets import Targets
from .validation import check_validation
from .weights import parameters_of

if TYPE_CHECKING:
    from typing_extensions import Self

# Estimators that some thread is training, by their identity.
_IN_TRAINING: dict[int, object] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IN_TRAINING.clear)


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Give an estimator its attributes back if the block raises: a fit succeeds as a whole or leaves no trace.

    The block must replace attributes, not modify them in place.

    Raises
    ------
    RuntimeError
        If another thread is in such a block with the same estimator: both would write to it.
    """
    mine = object()
    if _IN_TRAINING.setdefault(id(estimator), mine) is not mine:
        raise RuntimeError(
            f"This {type(estimator).__name__} is being fitted by another thread; give each thread a clone of it."
        )
    try:
        release(estimator)
        before = dict(vars(estimator))
    except BaseException:
        del _IN_TRAINING[id(estimator)]
        raise
    try:
        yield
    except BaseException:
        estimator.__dict__ = before
        raise
    finally:
        del _IN_TRAINING[id(estimator)]


def checked_epochs(n_epochs: Any) -> int:
    """The epochs of a partial_fit."""
    if not isinstance(n_epochs, Integral) or n_epochs < 1:
        raise ValueError(f"n_epochs must be an int in the range [1, inf); got {n_epochs!r}.")
    return int(n_epochs)


class Perceptron(CallbackSupportMixin, ComponentParameters, Predicting, Storable):
    """A multi-layer perceptron with scikit-learn's interface; the base of `MLPClassifier` and `MLPRegressor`.

    A subclass gives ``_check_data`` and ``_check_validation_data`` (checked X and `Targets`), and the prediction
    methods.
    """

    _parameter_constraints: dict[str, Any] = CONSTRAINTS

    coefs_: Any = ReadWhenAsked()
    intercepts_: Any = ReadWhenAsked()
    _optimizer: Any = ReadWhenAsked()
    _stream: Any = ReadWhenAsked()

    # What a subclass adds.

    def _check_data(
        self, X: Any, y: Any, configuration: Configuration, *, dtype: Any, incremental: bool, reset: bool
    ) -> tuple[Any, Targets]:
        raise NotImplementedError

    def _check_validation_data(
        self, X: Any, y: Any, dtype: Any, configuration: Configuration | None = None
    ) -> tuple[Any, Targets]:
        raise NotImplementedError

    # Fitting.

    @fit_context(prefer_skip_nested_validation=True)
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
        """Train on X and y.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)
            Training rows. A C-contiguous array of the computing dtype is used as it is, and so is CSR with sorted
            indices; others are converted once. Sparse rows never become dense. Rows that are larger than memory come
            as `fastmlp.blocks.Blocks`, as a folder, or as Dask, Zarr or HDF5 collections.
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
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any] = (None, None, None),
        n_epochs: int | None = None,
    ) -> None:
        """Check everything, then train: a fit, or ``n_epochs`` of partial_fit.

        Attributes may be half-set on an error: see `unchanged_on_error`.
        """
        started = perf_counter()
        incremental = n_epochs is not None
        goes_on = incremental or self.warm_start
        if goes_on:
            check_n_estimators(self)
        configuration = configure(self)
        stream = None
        if (rows := as_blocks(X, y, sample_weight)) is not None:
            check_block_fit(configuration, validation, self.n_estimators)
            stream = BlockRows(rows, first_pass(rows, labels=is_classifier(self)))
        if self.n_estimators > 1:
            self._fit_members(X, y, sample_weight, validation, n_epochs)
            return
        self.__dict__.pop("estimators_", None)
        goes_on = goes_on and hasattr(self, "coefs_")
        examples, columns = (X, y, sample_weight), None
        if stream is not None:
            configuration, examples = stream.survey.configured(configuration), stream.survey.rows()
            columns = stream.survey.columns
        data = self._checked_data(
            examples, validation, configuration, incremental=incremental, goes_on=goes_on, columns=columns
        )
        data = data if stream is None else stream.standing_for(data)
        random_state = self._random_stream(goes_on=goes_on and incremental)
        network_was_the_same = same_components(self, configuration, data.targets.output_activation)
        parameters = self._starting_parameters(configuration, data, random_state, goes_on=goes_on)
        if configuration.early_stopping and configuration.optimizer is not None and data.given is None:
            data = set_aside(data, configuration.validation_fraction, random_state)
        max_epochs = n_epochs or (0 if configuration.optimizer is None else configuration.max_iter)
        callbacks = SklearnCallbacks(self, "partial_fit" if incremental else "fit", max_epochs, X, y, sample_weight)
        name = getattr(self, "_name", "")
        fit = Fit(
            self, configuration, data, random_state, max_epochs, incremental=incremental, started=started, name=name
        )
        network = fit.network(parameters)
        del parameters  # a copy would be in the way of large networks
        learned = self._train(fit, network, callbacks, same_network=network_was_the_same)
        self.__dict__.update(learned)
        seeded = isinstance(self.random_state, Integral)
        self._stream = (self.random_state, random_state.get_state()) if seeded else None
        callbacks.end()

    def _train(self, fit: Fit, network: Network, callbacks: SklearnCallbacks, *, same_network: bool) -> dict[str, Any]:
        """Train a network; the attributes that come of it."""
        if fit.configuration.optimizer is None:
            learned = train_by_lbfgs(fit, network)
        else:
            stored = getattr(self, "_optimizer", None) if fit.incremental else None
            optimizer = optimizer_to_go_on_with(
                stored, fit.configuration, same_network=same_network, dtype=network.dtype
            )
            learned = train_by_steps(fit, network, optimizer, callbacks)
        if not all_finite(learned["coefs_"] + learned["intercepts_"]):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        return learned

    def _checked_data(
        self,
        rows: tuple[Any, Any, Any],
        validation: tuple[Any, Any, Any],
        configuration: Configuration,
        *,
        incremental: bool,
        goes_on: bool,
        columns: list[str] | None = None,
    ) -> TrainingData:
        """Check X, y and weights, and whether the configuration can serve them; ``columns`` are names that X hides."""
        X, y, sample_weight = rows
        has_validation = check_validation(validation, configuration)
        dtype = configuration.dtype or self._dtypes_to_train_in(goes_on)
        with without_names(self, columns, reset=not goes_on):
            X, targets = self._check_data(X, y, configuration, dtype=dtype, incremental=incremental, reset=not goes_on)
        scoring_weight = checked_weights(sample_weight, X)
        sample_weight = with_class_weights(scoring_weight, configuration.class_weight, targets, X)
        self._check_optimizer_state(incremental)
        check_combination(
            self,
            configuration,
            X.shape[1],
            sparse=issparse(X),
            weighted=sample_weight is not None,
            incremental=incremental,
        )
        given = None
        if has_validation:
            X_val, y_val, sample_weight_val = validation
            X_val, val_targets = self._check_validation_data(X_val, y_val, X.dtype, configuration)
            if val_targets.n_outputs != targets.n_outputs:
                raise ValueError(
                    f"y_val must have as many outputs as y, {targets.n_outputs}; got {val_targets.n_outputs}."
                )
            given = ValidationData(
                as_rows_like(X_val, X),
                val_targets.values,
                checked_weights(sample_weight_val, X_val, "sample_weight_val"),
            )
        numbers = np.arange(X.shape[0], dtype=np.intp)
        return TrainingData(X, targets, sample_weight, scoring_weight, numbers, None, given)

    def _starting_parameters(
        self, configuration: Configuration, data: TrainingData, random_state: np.random.RandomState, *, goes_on: bool
    ) -> Parameters:
        """The parameters to start from: those that there are, or new ones, which make the estimator forget the old."""
        targets = data.targets
        if goes_on:
            parameters = parameters_of(self, configuration)
            check_network(parameters, configuration, targets.n_outputs, getattr(self, "_components", None))
        else:
            units = (data.X.shape[1], *configuration.hidden_units, targets.n_outputs)
            weights = initial_weights(
                units,
                random_state,
                dtype=data.X.dtype,
                activation=configuration.drawn_for,
                initializer=configuration.initializer,
                X=data.X,
                activations=configuration.activations,
            )
            parameters = Parameters(*weights, [])
            forget_training(self)
            self.n_layers_, self.t_ = len(units), 0
        self.n_outputs_, self.out_activation_ = targets.n_outputs, targets.output_activation
        self._components = components_of(configuration)
        return parameters

    def _dtypes_to_train_in(self, goes_on: bool) -> Any:
        """The dtype, or the admitted ones with the preferred one first, of X and the weights with ``dtype='auto'``."""
        if not goes_on:
            return np.float64, np.float32
        return np.float32 if self._weights_dtype() == np.float32 else np.float64

    def _random_stream(self, *, goes_on: bool) -> np.random.RandomState:
        """The stream of ``random_state``; after an int seed partial_fit goes on where the latest training stopped."""
        seed, state = (goes_on and getattr(self, "_stream", None)) or (None, None)
        if state is None or seed != self.random_state:
            return check_random_state(self.random_state)
        stream = np.random.RandomState(0)
        stream.set_state(state)
        return stream

    def _loss(self) -> tuple[Loss, str]:
        """The loss in use, and its output activation."""
        trained = getattr(self, "_components", None)
        loss = None if trained is None else trained.loss
        return loss or LOSSES.resolve(self.loss), self.out_activation_

    # scikit-learn's protocols.

    def __getstate__(self) -> dict[str, Any]:
        """All attributes, those of a network in a stream too."""
        read_all(self)
        return super().__getstate__()

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
