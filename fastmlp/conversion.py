"""Other forms of a fitted estimator: scikit-learn's own classes, both ways, and ONNX.

They are functions, not methods, so that an estimator imports nothing for them.

>>> from fastmlp import MLPRegressor
>>> from fastmlp.conversion import from_sklearn, to_sklearn
>>> model = MLPRegressor(solver="lbfgs", random_state=0).fit([[0.0], [1.0]], [0.0, 1.0])
>>> type(to_sklearn(model))
<class 'sklearn.neural_network._multilayer_perceptron.MLPRegressor'>
>>> from_sklearn(to_sklearn(model), n_threads=1)
MLPRegressor(n_threads=1, random_state=0, solver='lbfgs')

With ``register_onnx()``, called once, ``skl2onnx.to_onnx(model, X[:1])`` takes the estimators, alone or in pipelines.
"""

from copy import deepcopy
from typing import Any

import numpy as np
from sklearn import neural_network
from sklearn.utils.validation import check_is_fitted

from .estimators import MLPClassifier, MLPRegressor
from .estimators.configuration import activations_of
from .estimators.sklearn_internals import admits, their_optimizers
from .optimizers import Adam, Momentum, Nesterov
from .schedules import Adaptive, Constant, InverseScaling, Progress
from .training import OptimizerState

__all__ = ["from_sklearn", "register_onnx", "to_sklearn"]

PAIRS = ((MLPClassifier, neural_network.MLPClassifier), (MLPRegressor, neural_network.MLPRegressor))
FITTED = (  # attributes that both sides have, with the same meaning; some exist after some fits only
    "coefs_",
    "intercepts_",
    "n_layers_",
    "n_outputs_",
    "out_activation_",
    "n_features_in_",
    "feature_names_in_",
    "classes_",
    "_label_binarizer",
    "t_",
    "n_iter_",
    "loss_",
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "_no_improvement_count",
)


THEIR_ACTIVATIONS = ("identity", "logistic", "relu", "tanh")
SCHEDULES_OF_BOTH = {"constant": Constant, "invscaling": InverseScaling, "adaptive": Adaptive}


def _plain_activation(estimator: Any) -> str:
    """The one activation of the hidden layers; refuses a network that scikit-learn's classes could not compute.

    Batch normalization is in the weights already.
    """
    outputs = ("softmax", "logistic") if isinstance(estimator, MLPClassifier) else ("identity", "exp")
    for name, allowed in {
        "output_activation": ("auto",),
        "out_activation_": outputs,
        "n_estimators": (1,),
    }.items():
        if (value := getattr(estimator, name)) not in allowed:
            expected = " or ".join(map(repr, allowed))
            raise ValueError(f"{name} must be {expected} to convert a model; got {value!r}: fit one that has it so.")
    _, activations, normalization = estimator._learned()
    if normalization is not None:
        raise ValueError(
            "normalization must be None or 'batch', which is in the weights, to convert a model; "
            f"got {estimator.normalization!r}: fit one that has it so."
        )
    names: set[str] = {component.name for component in activations} or {activations_of(estimator, 1)[0].name}
    if len(names) > 1 or not names <= set(THEIR_ACTIVATIONS):
        expected = " or ".join(map(repr, THEIR_ACTIVATIONS))
        raise ValueError(
            f"activation must be {expected} to convert a model; got {estimator.activation!r}: fit one that has it so."
        )
    return names.pop()


def to_sklearn(estimator: MLPClassifier | MLPRegressor) -> Any:
    """The same fitted model as an estimator of scikit-learn, which needs fastmlp no more.

    Weights, classes, curves and the optimizer's state are copied, so that predictions are the same up to rounding and
    ``partial_fit`` goes on. What only fastmlp has is left out: parameters such as ``class_weight``, other
    optimizers, schedules and losses, in whose place the defaults stand, and the state of such an optimizer. The random
    stream begins anew in every ``partial_fit``, as it does there.

    Parameters
    ----------
    estimator : fastmlp.MLPClassifier or fastmlp.MLPRegressor, fitted

    Returns
    -------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor

    Raises
    ------
    ValueError
        If scikit-learn has no such network: other activations, layer normalization, an ensemble; or, before 1.7, no
        Poisson loss.
    """
    target = next((theirs for ours, theirs in PAIRS if isinstance(estimator, ours)), None)
    if target is None:
        raise TypeError(f"to_sklearn takes an MLPClassifier or MLPRegressor of fastmlp; got {type(estimator)}.")
    check_is_fitted(estimator)
    activation = _plain_activation(estimator)
    known = target().get_params()
    parameters = {name: value for name, value in estimator.get_params(deep=False).items() if name in known}
    parameters["activation"] = activation
    if "loss" not in known and estimator.out_activation_ == "exp":
        raise ValueError("loss='poisson' requires scikit-learn>=1.7, whose MLPRegressor has it.")
    result = target(**{name: deepcopy(value) for name, value in parameters.items() if admits(target, name, value)})
    _copy_fitted(estimator, result)
    optimizer = _their_optimizer(estimator, [*result.coefs_, *result.intercepts_])
    if optimizer is not None:
        result._optimizer = optimizer
    if estimator.early_stopping:
        result._best_coefs, result._best_intercepts = deepcopy((result.coefs_, result.intercepts_))
    return result


def from_sklearn(estimator: Any, **parameters: Any) -> MLPClassifier | MLPRegressor:
    """The same fitted model as an estimator of fastmlp: predictions up to rounding, and ``partial_fit`` goes on.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor, fitted
    **parameters : values of fastmlp's own parameters, such as ``n_threads``

    Returns
    -------
    estimator : fastmlp.MLPClassifier or fastmlp.MLPRegressor
    """
    target = next((ours for ours, theirs in PAIRS if isinstance(estimator, theirs)), None)
    if target is None:
        raise TypeError(f"from_sklearn takes an MLPClassifier or MLPRegressor of scikit-learn; got {type(estimator)}.")
    check_is_fitted(estimator)
    result = target(**{**deepcopy(estimator.get_params()), **parameters})
    _copy_fitted(estimator, result)
    if hasattr(estimator, "_optimizer"):
        result._optimizer = _our_optimizer(estimator)
    return result


def _copy_fitted(source: Any, target: Any) -> None:
    for name in FITTED:
        if name in vars(source):
            setattr(target, name, deepcopy(getattr(source, name)))


def _their_optimizer(estimator: Any, params: list[np.ndarray]) -> Any:
    """scikit-learn's object for our record of an optimizer; None where there is neither."""
    state: OptimizerState | None = getattr(estimator, "_optimizer", None)
    schedule = state and next(
        (name for name, kind in SCHEDULES_OF_BOTH.items() if isinstance(state.schedule, kind)), None
    )
    if state is None or schedule is None or getattr(estimator, "_parameters", None) is not None:
        return None  # moments of a normalization, too, have no place there
    component, initial = state.optimizer, state.learning_rate_init
    adam_class, sgd_class = their_optimizers()
    optimizer: Any
    if isinstance(component, Adam) and schedule == "constant":
        optimizer = adam_class(params, initial, component.beta_1, component.beta_2, component.epsilon)
        optimizer.t = state.step
        if state.states is not None:
            optimizer.ms, optimizer.vs = deepcopy(state.states)
        return optimizer
    if not isinstance(component, Momentum | Nesterov):
        return None
    power = getattr(state.schedule, "power", estimator.power_t)
    optimizer = sgd_class(params, initial, schedule, component.momentum, isinstance(component, Nesterov), power)
    so_far = Progress(epochs=state.epochs, steps=state.step, rows=estimator.t_, share=0.0, planned=1)
    optimizer.learning_rate = float(state.schedule.rate(state.base_rate, so_far))
    if state.states is not None:
        (optimizer.velocities,) = deepcopy(state.states)
    return optimizer


def _our_optimizer(estimator: Any) -> OptimizerState:
    """Our record for scikit-learn's object."""
    optimizer, initial = estimator._optimizer, estimator._optimizer.learning_rate_init
    if isinstance(optimizer, their_optimizers()[0]):
        component = Adam(float(optimizer.beta_1), float(optimizer.beta_2), float(optimizer.epsilon))
        states = [optimizer.ms, optimizer.vs]
        return OptimizerState(
            component, initial, Constant(), step=optimizer.t, epochs=estimator.n_iter_, states=deepcopy(states)
        )
    numbers = {"power": float(optimizer.power_t)} if optimizer.lr_schedule == "invscaling" else {}
    state = OptimizerState(
        (Nesterov if optimizer.nesterov else Momentum)(float(optimizer.momentum)),
        initial,
        SCHEDULES_OF_BOTH[optimizer.lr_schedule](**numbers),
        epochs=estimator.n_iter_,
        states=deepcopy([optimizer.velocities]),
    )
    if optimizer.lr_schedule == "adaptive":
        state.base_rate = float(optimizer.learning_rate)
    return state


# --- ONNX -------------------------------------------------------------------------------------------------------------


def register_onnx() -> None:
    """Teach skl2onnx the estimators of fastmlp, alone or in pipelines; call it once, before ``skl2onnx.to_onnx``.

    Every component and ensembles become nodes of ONNX; batch normalization is in the weights, layer normalization is
    written out. Classifiers have scikit-learn's outputs and options ('zipmap', ...), and 'raw_scores' for their
    decision function, for which a calibration asks; regressors have an output of shape (n_samples, n_outputs).
    `TableEncoder`, `TabularClassifier` and `TabularRegressor` take a matrix of numbers, of columns that hold numbers,
    booleans or coded categories, NaN for a missing entry. The model computes in float64 where its input is declared as
    double, else in float32.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Notes
    -----
    The conversion raises ValueError for what would give other numbers: labels beyond 32-bit integers, a single class,
    weights that are not finite, and an isotonic calibration, which skl2onnx computes otherwise than scikit-learn.
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError('register_onnx needs skl2onnx; install it with pip install "fastmlp[onnx]".') from error

    from .serving import onnx_graph as graph
    from .serving import onnx_tables as tables
    from .tabular import TableEncoder, TabularClassifier, TabularRegressor

    update_registered_converter(
        MLPClassifier, "FastmlpMLPClassifier", graph.classifier_shapes, graph.convert_classifier, options=graph.OPTIONS
    )
    update_registered_converter(MLPRegressor, "FastmlpMLPRegressor", graph.regressor_shape, graph.convert_regressor)
    update_registered_converter(TableEncoder, "FastmlpTableEncoder", tables.encoder_shape, tables.convert_encoder)
    update_registered_converter(
        TabularClassifier,
        "FastmlpTabularClassifier",
        tables.classifier_shapes,
        tables.convert_classifier,
        options=tables.OPTIONS,
    )
    update_registered_converter(
        TabularRegressor, "FastmlpTabularRegressor", tables.regressor_shape, tables.convert_regressor
    )
