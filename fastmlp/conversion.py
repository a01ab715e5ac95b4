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
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from .estimators import MLPClassifier, MLPRegressor
from .optimizers import Adam, Momentum, Nesterov
from .schedules import Adaptive, Constant, InverseScaling, Progress
from .training import OptimizerState

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


SCHEDULES_OF_BOTH = {"constant": Constant, "invscaling": InverseScaling, "adaptive": Adaptive}


def _check_plain(estimator: Any) -> None:
    """Refuse a network that scikit-learn's classes, and ONNX's converters of them, could not compute."""
    outputs = ("softmax", "logistic") if isinstance(estimator, MLPClassifier) else ("identity", "exp")
    for name, allowed in {
        "activation": ("identity", "logistic", "relu", "tanh"),
        "output_activation": ("auto",),
        "out_activation_": outputs,
        "normalization": (None,),
        "n_estimators": (1,),
    }.items():
        if (value := getattr(estimator, name)) not in allowed:
            expected = " or ".join(map(repr, allowed))
            raise ValueError(f"{name} must be {expected} to convert a model; got {value!r}: fit one that has it so.")


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
        If scikit-learn has no such network: other activations, normalization, an ensemble; or, before 1.7, no Poisson
        loss.
    """
    target = next((theirs for ours, theirs in PAIRS if isinstance(estimator, ours)), None)
    if target is None:
        raise TypeError(f"to_sklearn takes an MLPClassifier or MLPRegressor of fastmlp; got {type(estimator)}.")
    check_is_fitted(estimator)
    _check_plain(estimator)
    known = target().get_params()
    parameters = {name: value for name, value in estimator.get_params().items() if name in known}
    if "loss" not in known and estimator.out_activation_ == "exp":
        raise ValueError("loss='poisson' requires scikit-learn>=1.7, whose MLPRegressor has it.")
    result = target(**{name: deepcopy(value) for name, value in parameters.items() if _admits(target, name, value)})
    _copy_fitted(estimator, result)
    optimizer = _their_optimizer(estimator, result.coefs_ + result.intercepts_)
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


def _admits(target: Any, name: str, value: Any) -> bool:
    """Whether scikit-learn's class has this value of a parameter."""
    constraint = target._parameter_constraints[name]
    try:
        validate_parameter_constraints({name: constraint}, {name: value}, caller_name=target.__name__)
    except InvalidParameterError:
        return False
    return True


def _their_optimizer(estimator: Any, params: list[np.ndarray]) -> Any:
    """scikit-learn's object for our record of an optimizer; None where there is neither."""
    state: OptimizerState | None = getattr(estimator, "_optimizer", None)
    schedule = state and next(
        (name for name, kind in SCHEDULES_OF_BOTH.items() if isinstance(state.schedule, kind)), None
    )
    if state is None or schedule is None:
        return None
    component, initial = state.optimizer, state.learning_rate_init
    optimizer: Any
    if isinstance(component, Adam) and schedule == "constant":
        optimizer = AdamOptimizer(params, initial, component.beta_1, component.beta_2, component.epsilon)
        optimizer.t = state.step
        if state.states is not None:
            optimizer.ms, optimizer.vs = deepcopy(state.states)
        return optimizer
    if not isinstance(component, Momentum | Nesterov):
        return None
    power = getattr(state.schedule, "power", estimator.power_t)
    optimizer = SGDOptimizer(params, initial, schedule, component.momentum, isinstance(component, Nesterov), power)
    so_far = Progress(epochs=state.epochs, steps=state.step, rows=estimator.t_, share=0.0, planned=1)
    optimizer.learning_rate = float(state.schedule.rate(state.base_rate, so_far))
    if state.states is not None:
        (optimizer.velocities,) = deepcopy(state.states)
    return optimizer


def _our_optimizer(estimator: Any) -> OptimizerState:
    """Our record for scikit-learn's object."""
    optimizer, initial = estimator._optimizer, estimator._optimizer.learning_rate_init
    if isinstance(optimizer, AdamOptimizer):
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

ONNX_OF_ACTIVATION = {
    "identity": "Identity",
    "logistic": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "softmax": "Softmax",
    "exp": "Exp",
}
ONNX_OPTIONS = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}


def register_onnx() -> None:
    """Teach skl2onnx the estimators of fastmlp, alone or in pipelines; call it once, before ``skl2onnx.to_onnx``.

    Classifiers have scikit-learn's outputs and options ('zipmap', ...); regressors an output of shape
    (n_samples, n_outputs). The model computes in float64 where its input is declared as double, else in float32.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Notes
    -----
    The conversion raises ValueError for a network that scikit-learn's classes do not have.
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError('register_onnx needs skl2onnx; install it with pip install "fastmlp[onnx]".') from error

    update_registered_converter(
        MLPClassifier, "FastmlpMLPClassifier", _classifier_shapes, _convert_classifier, options=ONNX_OPTIONS
    )
    update_registered_converter(MLPRegressor, "FastmlpMLPRegressor", _regressor_shape, _convert_regressor)


def _classifier_shapes(operator: Any) -> None:
    """skl2onnx's shapes, but a matrix of labels for multilabel."""
    from skl2onnx.common.data_types import Int64TensorType
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    model = operator.raw_operator
    _check_plain(model)
    calculate_linear_classifier_output_shapes(operator)
    if model._label_binarizer.y_type_.startswith("multilabel"):
        operator.outputs[0].type = Int64TensorType([operator.inputs[0].type.shape[0], model.n_outputs_])


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    """skl2onnx's own converter, for the attributes are scikit-learn's; its multilabel has no double in ONNX Runtime."""
    from skl2onnx.common._apply_operation import apply_cast
    from skl2onnx.operator_converters.multilayer_perceptron import convert_sklearn_mlp_classifier
    from skl2onnx.proto import onnx_proto

    labels, probabilities = (output.full_name for output in operator.outputs)
    if operator.raw_operator._label_binarizer.y_type_.startswith("multilabel"):
        dtype = _add_layers(scope, operator, container, probabilities)
        half, positive = scope.get_unique_variable_name("half"), scope.get_unique_variable_name("positive")
        container.add_initializer(half, dtype, [], [0.5])
        container.add_node("Greater", [probabilities, half], positive, name=scope.get_unique_operator_name("Greater"))
        apply_cast(scope, positive, labels, container, to=onnx_proto.TensorProto.INT64)
        return
    classes = operator.raw_operator.classes_
    if classes.dtype.kind in "iuf" and np.abs(classes.astype(np.float64)).max() > np.iinfo(np.int32).max:
        raise ValueError(f"skl2onnx holds labels as 32-bit integers; the greatest of classes_ is {classes[-1]}.")
    convert_sklearn_mlp_classifier(scope, operator, container)


def _regressor_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import guess_tensor_type
    from skl2onnx.common.utils import check_input_and_output_numbers

    _check_plain(operator.raw_operator)
    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
    source = operator.inputs[0].type
    kind = type(guess_tensor_type(source))
    operator.outputs[0].type = kind([source.shape[0], operator.raw_operator.n_outputs_])


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    _add_layers(scope, operator, container, operator.outputs[0].full_name)


def _add_layers(scope: Any, operator: Any, container: Any, result: str) -> Any:
    """x -> f(x W + b) for each layer, the last one called ``result``. Returns ONNX's code of the dtype."""
    from skl2onnx.common._apply_operation import apply_cast
    from skl2onnx.common.data_types import guess_proto_type
    from skl2onnx.proto import onnx_proto

    model = operator.raw_operator
    dtype = guess_proto_type(operator.inputs[0].type)
    if dtype != onnx_proto.TensorProto.DOUBLE:
        dtype = onnx_proto.TensorProto.FLOAT
    below = scope.get_unique_variable_name("rows")
    apply_cast(scope, operator.inputs[0].full_name, below, container, to=dtype)
    activations = [model.activation] * (len(model.coefs_) - 1) + [model.out_activation_]
    for layer, (coef, intercept, activation) in enumerate(zip(model.coefs_, model.intercepts_, activations)):
        names = {name: scope.get_unique_variable_name(f"{name}_{layer}") for name in ("coef", "intercept", "xw", "z")}
        container.add_initializer(names["coef"], dtype, coef.shape, coef.ravel())
        container.add_initializer(names["intercept"], dtype, [1, len(intercept)], intercept)
        last = layer == len(model.coefs_) - 1
        above = result if last else scope.get_unique_variable_name(f"a_{layer}")
        for kind, inputs, output in (
            ("MatMul", [below, names["coef"]], names["xw"]),
            ("Add", [names["xw"], names["intercept"]], names["z"]),
            (ONNX_OF_ACTIVATION[activation], [names["z"]], above),
        ):
            container.add_node(kind, inputs, output, name=scope.get_unique_operator_name(kind))
        below = above
    return dtype
