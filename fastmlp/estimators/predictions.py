"""Predictions of a fitted estimator: checks of X, and the weights of the moment."""

import weakref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted, validate_data

from ..core.network import Network
from ..core.predictor import Predictor
from ..losses import Loss, SquaredError, codes_of
from ..normalizations import BatchNormalization
from ..trainable import Parameters
from .configuration import activations_of, dtype_of, threads_of
from .ensemble import Ensemble
from .rows import ACCEPTED, as_rows
from .weights import check_weights, dtype_of_weights, of_dtype


class Known(NamedTuple):
    """A predictor and all that it was made of beside weights."""

    predictor: Predictor
    choices: tuple[Any, ...]
    learned: Any


# Making a predictor takes longer than predicting a row. scikit-learn wants predictions to leave no trace in vars().
_KNOWN: weakref.WeakKeyDictionary[Any, Known] = weakref.WeakKeyDictionary()


class Predicting(Ensemble):
    """What predictions of both estimators share: ``_outputs`` from X as given, ``_forward`` from checked rows."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    activation: Any
    dtype: DTypeLike
    loss: Any

    def _loss(self) -> tuple[Loss, str]:
        raise NotImplementedError

    def _weights_dtype(self) -> np.dtype:
        member = self.estimators_[0] if hasattr(self, "estimators_") else self
        return dtype_of_weights(member)

    def _outputs(self, X: Any, logits: bool = False) -> np.ndarray:
        """Values of the last layer, with its activation or without: ndarray of shape (n_samples, n_outputs).

        Their dtype is float64 if X or the weights are, as in scikit-learn, whatever ``dtype`` has chosen to compute in.
        """
        if self._needs_no_check(X):
            outputs, finite = self._predictor(X, logits).predict(X, threads_of(self.n_threads))
            if finite:
                return outputs
        rows, result_dtype = self._check_rows(X)
        return self._forward(rows, logits).astype(result_dtype, copy=False)

    def _needs_no_check(self, X: Any) -> bool:
        """Whether X is certainly what `_check_rows` would give, but for numbers that are not finite.

        scikit-learn's checks of any kind of X take longer than predicting a row.
        """
        known = vars(self)
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and "coefs_" in known
            and X.dtype == dtype_of_weights(self)
            and X.dtype.char in "fd"
            and X.shape[1] == known["n_features_in_"]
            and X.shape[0] > 0
            and "feature_names_in_" not in known
            and "_forward" not in known
            and known["dtype"] in ("auto", X.dtype.name)
        )

    def _check_rows(self, X: Any) -> tuple[np.ndarray, np.dtype]:
        """X for prediction, checked, C-contiguous, of the computing dtype; and the dtype of the result."""
        if self._needs_no_check(X):
            with np.errstate(over="ignore", invalid="ignore"):
                finite = np.isfinite(X.sum())
            if finite:
                return as_rows(X), X.dtype
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=ACCEPTED["accept_sparse"], reset=False)
        both = np.result_type(X.dtype, self._weights_dtype())
        result_dtype = np.dtype(np.float32 if both == np.float32 else np.float64)
        dtype = dtype_of(self.dtype) or result_dtype
        with np.errstate(over="ignore"):
            rows = as_rows(X, dtype)
        if dtype.itemsize < X.dtype.itemsize:
            assert_all_finite(rows, input_name="X")
        return rows, result_dtype

    def _forward(self, X: np.ndarray, logits: bool = False) -> np.ndarray:
        """Outputs for checked rows, from ``coefs_`` and ``intercepts_`` as they are now.

        Any thread may call, and weights may be replaced or modified in between.
        """
        if hasattr(self, "estimators_"):
            return self._average(X, logits)
        return self._predictor(X, logits).predict(X, threads_of(self.n_threads))[0]

    def _predictor(self, X: Any, logits: bool) -> Predictor:
        """For rows like X. The last one serves again while it would be made of the same arrays and components."""
        activation = tuple(self.activation) if isinstance(self.activation, list) else self.activation
        learned = getattr(self, "_parameters", None)
        choices = logits, X.dtype, issparse(X), activation, self.loss, self.out_activation_
        known = _KNOWN.get(self)
        fits = known is not None and known.learned is learned and known.choices == choices
        if known is not None and fits and known.predictor.reads(self.coefs_, self.intercepts_):
            return known.predictor
        parameters, activations, normalization = self._learned()
        predictor = Predictor(
            *parameters,
            dtype=X.dtype,
            activations=activations,
            normalization=normalization,
            codes=codes_of(*((SquaredError(), "identity") if logits else self._loss())),
            sparse=issparse(X),
        )
        if predictor.in_place:
            _KNOWN[self] = Known(predictor, choices, learned)
        return predictor

    def _learned(self, *, folded: bool = True) -> tuple[Parameters, list[Any], Any]:
        """Parameters, activations and normalization as fitted; batch normalization in the weights, or as it trained."""
        check_weights(self)
        learned, trained = getattr(self, "_parameters", None), getattr(self, "_components", None)
        parameters = Parameters(self.coefs_, self.intercepts_, [] if learned is None else learned.unit_parameters)
        if trained is None:
            return parameters, list(activations_of(self.activation, len(self.coefs_) - 1)), None
        if learned is None:
            return parameters, list(trained.activations), None
        if isinstance(trained.normalization, BatchNormalization):
            if folded:
                return parameters, list(trained.activations), None
            parameters = learned
        return parameters, list(trained.activations), trained.normalization

    def _network(self, parameters: Parameters, X: Any, **components: Any) -> Network:
        """A network for rows like X that holds the given parameters."""
        coefs = parameters.coefs
        units = (coefs[0].shape[0], *(coef.shape[1] for coef in coefs))
        network = Network(units, dtype=X.dtype, sparse=issparse(X), **components)
        network.set_parameters(of_dtype(parameters, network.dtype))
        return network

    def _learned_network(self, X: Any, *, folded: bool = True, **components: Any) -> Network:
        """The fitted network, for rows like X, to look into it or to train it."""
        parameters, activations, normalization = self._learned(folded=folded)
        return self._network(parameters, X, activation=activations, normalization=normalization, **components)
