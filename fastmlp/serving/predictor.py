"""Predictions for those who serve: nothing is checked but shape and dtype, and the weights are the predictor's own."""

from typing import Any

import numpy as np

from ..core.layout import aligned
from ..core.predictor import Predictor as CorePredictor
from ..core.predictor import machine_function
from ..losses import codes_of
from ..tabular.estimator import TabularEstimator
from .model import Model, TableModel, finished, read_model, read_table_model


class Predictor:
    """A fitted model that only predicts; made by `predictor`. Any number of threads may call it; the GIL is released.

    Attributes
    ----------
    n_features : int
    dtype : dtype of weights and results
    """

    def __init__(self, model: Model) -> None:
        self._model = model._replace(
            coefs=[_own(coef) for coef in model.coefs], intercepts=[_own(each) for each in model.intercepts]
        )
        self._prepare()

    def _prepare(self) -> None:
        model = self._model
        self.dtype, self.n_features = model.coefs[0].dtype, model.n_features
        self._core = CorePredictor(
            model.coefs,
            model.intercepts,
            model.unit_parameters,
            dtype=self.dtype,
            activations=model.activations,
            normalization=model.normalization,
            codes=codes_of(model.loss, model.output),
        )
        self._plain = not (model.finish or model.squeezes)

    def __getstate__(self) -> dict[str, Any]:
        return {"_model": self._model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        model = state["_model"]
        self.__init__(model)  # type: ignore[misc]

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """What ``predict_proba`` of a classifier, ``predict`` of a regressor gives.

        Parameters
        ----------
        X : ndarray of float32 or float64, of shape (n_features,) for one row, or (n_rows, n_features)

        Returns
        -------
        outputs : ndarray
            Of the weights' dtype; for one row, its own part, without an axis of rows.

        Raises
        ------
        TypeError, ValueError
            If X is no such array, or holds NaN or infinity.
        """
        if (rows := _rows_of(X, self.n_features)) is not X:
            return self(rows)[0]
        for step in self._model.steps:
            rows = step.apply(rows)
        outputs, finite = self._core.predict(rows)
        if not finite:
            raise ValueError("X must hold finite numbers; got NaN or infinity. Impute or remove such rows.")
        return outputs if self._plain else finished(self._model, outputs)

    def numba_function(self) -> Any:
        """A function for ``@njit`` code: predict(X, outputs) of C-contiguous matrices of `dtype`.

        It writes the network's outputs, of shape (n_rows, n_outputs), before what `__call__` makes of them (the second
        column of two classes, say). It has buffers of its own, so a function serves one thread at a time: call this
        method once for each. It is compiled in each process that uses it.

        Raises
        ------
        ValueError
            For a model behind steps of a pipeline.
        """
        if self._model.steps:
            raise ValueError(
                "numba_function takes a model without other steps; apply those of the pipeline to X before."
            )
        return machine_function(self._core)


class TablePredictor:
    """A fitted `TabularClassifier` or `TabularRegressor` that only predicts, from rows of numbers; made by `predictor`.

    A column of coded categories or booleans is a column of numbers too, in the order of the table, and NaN is a missing
    entry of any column. Any number of threads may call it; the GIL is released.

    Attributes
    ----------
    n_features : int
    """

    def __init__(self, model: TableModel) -> None:
        self._model, self.n_features = model, model.n_features
        self._networks = [Predictor(network) for network in model.networks]

    def __getstate__(self) -> dict[str, Any]:
        networks = [network._model for network in self._networks]
        return {"_model": self._model._replace(networks=networks)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        model = state["_model"]
        self.__init__(model)  # type: ignore[misc]

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """What ``predict_proba`` of the classifier, ``predict`` of the regressor gives.

        Parameters
        ----------
        X : ndarray of float32 or float64, of shape (n_features,) for one row, or (n_rows, n_features)

        Returns
        -------
        outputs : float64 ndarray
            For one row, its own part, without an axis of rows.

        Raises
        ------
        TypeError, ValueError
            If X is no such array, or holds infinity.
        """
        if (rows := _rows_of(X, self.n_features)) is not X:
            return self(rows)[0]
        if np.isinf(X).any():
            raise ValueError("X must hold finite numbers, or NaN where one is missing; got infinity.")
        model, encoded = self._model, self._model.step.apply(X)
        found = [self._finished(network._core.predict(encoded)[0]) for network in self._networks]
        mean = np.average(found, axis=0, weights=model.weights)
        return mean[:, 0] if model.squeezes else mean

    def _finished(self, outputs: np.ndarray) -> np.ndarray:
        """A network's probabilities, or its numbers in the targets' units."""
        model = self._model
        if model.scale is None:
            return finished(model.networks[0], outputs)
        return np.clip(outputs.astype(np.float64) * model.scale + model.center, model.low, model.high)


def predictor(estimator: Any) -> Any:
    """A lean predictor of a fitted estimator, with its own copy of the weights.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, or a Pipeline that ends in one
        Before it may stand StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, OneHotEncoder and OrdinalEncoder
        (of numbers), TableEncoder and FunctionTransformer(np.clip). An encoder of tables must know numbers, booleans
        and coded categories alone.

    Returns
    -------
    predictor : Predictor, or TablePredictor for one of tables
        It pickles, and releases the GIL.

    Raises
    ------
    TypeError, ValueError
        If the estimator is another one, not fitted, an ensemble, has weights that are not finite, or stands behind an
        unknown step.

    Notes
    -----
    A row costs a call, some ten microseconds, and reading the weights once. It can take no less than their bytes over
    the bandwidth of the cache, or of the memory, that holds them.

    >>> import numpy as np
    >>> from fastmlp import MLPRegressor
    >>> from fastmlp.serving import predictor
    >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit([[0.0], [1.0]], [0.0, 1.0])
    >>> predict = predictor(model)
    >>> bool(predict(np.array([0.5])) == model.predict([[0.5]])[0])
    True
    """
    if isinstance(estimator, TabularEstimator):
        return TablePredictor(read_table_model(estimator, "predictor"))
    return Predictor(read_model(estimator, "predictor"))


def _rows_of(X: Any, n_features: int) -> np.ndarray:
    """X itself where it is a matrix of rows, a matrix of one row where it is that row."""
    if type(X) is not np.ndarray or X.dtype.char not in "fd":
        raise TypeError(f"X must be an ndarray of float32 or float64; got {_kind(X)}.")
    if X.ndim == 1:
        return X.reshape(1, -1)
    if X.ndim != 2 or X.shape[1] != n_features:
        raise ValueError(f"X must have the shape ({n_features},) or (n_rows, {n_features}); got {X.shape}.")
    return X


def _own(array: np.ndarray) -> np.ndarray:
    """A copy on a cache line's boundary, on huge pages where it is large."""
    copy = aligned(array.size, array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _kind(X: Any) -> str:
    return f"dtype {X.dtype}" if isinstance(X, np.ndarray) else type(X).__name__
