"""Predictions for those who serve: nothing is checked but shape and dtype, and the weights are the predictor's own."""

from typing import Any

import numpy as np

from ..core.layout import aligned
from ..core.predictor import Predictor as CorePredictor
from ..core.predictor import machine_function
from ..losses import codes_of
from .model import Model, finished, read_model


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
        if type(X) is not np.ndarray or X.dtype.char not in "fd":
            raise TypeError(f"X must be an ndarray of float32 or float64; got {_kind(X)}.")
        if X.ndim == 1:
            return self(X.reshape(1, -1))[0]
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(
                f"X must have the shape ({self.n_features},) or (n_rows, {self.n_features}); got {X.shape}."
            )
        rows = X
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


def predictor(estimator: Any) -> Predictor:
    """A lean predictor of a fitted estimator, with its own copy of the weights.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor of fastmlp, or a Pipeline that ends in one
        Before it may stand StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, OneHotEncoder and OrdinalEncoder
        (of numbers), and FunctionTransformer(np.clip).

    Returns
    -------
    predictor : Predictor
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
    return Predictor(read_model(estimator, "predictor"))


def _own(array: np.ndarray) -> np.ndarray:
    """A copy on a cache line's boundary, on huge pages where it is large."""
    copy = aligned(array.size, array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _kind(X: Any) -> str:
    return f"dtype {X.dtype}" if isinstance(X, np.ndarray) else type(X).__name__
