"""Everything private of scikit-learn that the estimators touch, so that a new version of it can break one file only.

Each item was seen to work in scikit-learn 1.6 to 1.9; the tests use every one of them. A version in which an item has
gone is refused at import, with a sentence that says what to install.
"""

from collections.abc import Callable
from typing import Any

import sklearn

SEEN_TO_WORK = ("1.6", "1.9")  # oldest and newest

try:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils import _safe_indexing
    from sklearn.utils._param_validation import Interval, InvalidParameterError, Options, StrOptions
    from sklearn.utils._param_validation import validate_parameter_constraints as validate_parameters
    from sklearn.utils.multiclass import _check_partial_fit_first_call as is_first_partial_fit
    from sklearn.utils.validation import _check_sample_weight as check_sample_weight
except ImportError as error:
    raise ImportError(
        f"This version of fastmlp works with scikit-learn {SEEN_TO_WORK[0]} to {SEEN_TO_WORK[1]}; scikit-learn "
        f"{sklearn.__version__} lacks something that it needs ({error}). Install scikit-learn=={SEEN_TO_WORK[1]}.*, or "
        "a newer fastmlp."
    ) from error

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before 1.9: nothing to support, nothing to tear down
    CallbackSupportMixin = type("CallbackSupportMixin", (), {})

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """The method itself."""
        return method


__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "InvalidParameterError",
    "Options",
    "StrOptions",
    "admits",
    "check_sample_weight",
    "fit_context",
    "is_first_partial_fit",
    "root_of_callbacks",
    "safe_indexing",
    "their_optimizers",
    "validate_parameters",
    "with_callbacks",
]


def safe_indexing(X: Any, rows: Any) -> Any:
    """Some rows of an array, a list or a frame; scikit-learn 1.6 cannot take them of a table of pyarrow."""
    return X.take(rows) if hasattr(X, "column_names") and not hasattr(X, "iloc") else _safe_indexing(X, rows)


def admits(estimator_class: type, name: str, value: Any) -> bool:
    """Whether one of scikit-learn's estimators has this value of a parameter."""
    constraint = estimator_class._parameter_constraints[name]  # type: ignore[attr-defined]
    try:
        validate_parameters({name: constraint}, {name: value}, caller_name=estimator_class.__name__)
    except InvalidParameterError:
        return False
    return True


def their_optimizers() -> tuple[Any, Any]:
    """scikit-learn's classes of Adam and of stochastic gradient descent; its networks need time to be imported."""
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    return AdamOptimizer, SGDOptimizer


def root_of_callbacks(estimator: Any, task: str, max_epochs: int) -> Any:
    """The context that scikit-learn's callbacks of an estimator are told through (1.9); None without callbacks."""
    if not getattr(estimator, "_skl_callbacks", None):
        return None
    return estimator._init_callback_context(task_name=task, max_subtasks=max_epochs)
