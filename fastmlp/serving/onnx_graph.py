"""Fitted estimators as nodes of ONNX, which skl2onnx asks for: every component, ensembles, and what stands around them.

A meta-estimator of scikit-learn that asks a classifier for ``decision_function`` (a calibration, a stack, one against
one) gets its numbers too: the option 'raw_scores' of skl2onnx.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.pipeline import Pipeline

from ..core.records import GAINS, SHIFTS
from ..estimators.classifier import HALF
from .model import CLIP, NORMALIZE, Model, of_activation, read_model

OPTIONS = {
    "zipmap": [True, False, "columns"],
    "output_class_labels": [False, True],
    "nocl": [True, False],
    "raw_scores": [True, False],
}


class Graph:
    """Nodes of one operator. A value is the name of a result; numbers and arrays beside it become constants."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        from skl2onnx.common._apply_operation import apply_cast
        from skl2onnx.common.data_types import guess_proto_type
        from skl2onnx.proto import onnx_proto

        self.scope, self.container, self.types = scope, container, onnx_proto.TensorProto
        self._apply_cast = apply_cast
        double = guess_proto_type(operator.inputs[0].type) == self.types.DOUBLE
        self.dtype = self.types.DOUBLE if double else self.types.FLOAT
        self.rows = self.cast(operator.inputs[0].full_name, self.dtype)

    def constant(self, values: Any) -> str:
        """An initializer."""
        array = np.asarray(values, np.float64)
        name = self.scope.get_unique_variable_name("constant")
        self.container.add_initializer(name, self.dtype, array.shape, array.ravel())
        return name

    def positions(self, values: Any) -> str:
        """An initializer of whole numbers."""
        array = np.asarray(values, np.int64)
        name = self.scope.get_unique_variable_name("positions")
        self.container.add_initializer(name, self.types.INT64, array.shape, array.ravel())
        return name

    def __call__(self, kind: str, *inputs: Any, result: str | None = None, **attributes: Any) -> str:
        """The result of a node of that kind."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        result = result or self.scope.get_unique_variable_name(kind.lower())
        self.container.add_node(kind, names, result, name=self.scope.get_unique_operator_name(kind), **attributes)
        return result

    def cast(self, value: str, to: Any, result: str | None = None) -> str:
        """The same numbers as another type."""
        result = result or self.scope.get_unique_variable_name("cast")
        self._apply_cast(self.scope, value, result, self.container, to=to)
        return result


# --- components -------------------------------------------------------------------------------------------------------


def _leaky(graph: Graph, z: str, p: Any) -> str:
    return graph("Add", graph("Relu", z), graph("Mul", graph("Min", z, 0.0), p))


def _elu(graph: Graph, z: str, p: Any) -> str:
    below = graph("Sub", graph("Exp", graph("Min", z, 0.0)), 1.0)
    return graph("Add", graph("Relu", z), graph("Mul", below, p))


def _softplus(graph: Graph, z: str, p: Any) -> str:
    e = graph("Exp", graph("Neg", graph("Abs", z)))
    return graph("Add", graph("Relu", z), graph("Log", graph("Add", e, 1.0)))


def _gelu(graph: Graph, z: str, p: Any) -> str:
    """ONNX Runtime has no erf in double: there it is one of single precision, and gelu right to 1e-7."""
    x = graph("Mul", z, 0.7071067811865476)
    if graph.dtype == graph.types.DOUBLE:
        erf = graph.cast(graph("Erf", graph.cast(x, graph.types.FLOAT)), graph.dtype)
    else:
        erf = graph("Erf", x)
    return graph("Mul", graph("Mul", z, 0.5), graph("Add", erf, 1.0))


def _gelu_tanh(graph: Graph, z: str, p: Any) -> str:
    cubic = graph("Mul", graph("Mul", graph("Mul", z, z), z), 0.044715)
    return graph("Mul", z, graph("Sigmoid", graph("Mul", graph("Add", z, cubic), 1.5957691216057308)))


def _hard_sigmoid(graph: Graph, z: str, p: Any) -> str:
    return graph("Min", graph("Max", graph("Add", graph("Mul", z, 1 / 6), 0.5), 0.0), 1.0)


ONNX_OF_ACTIVATION: dict[str, Callable[[Graph, str, Any], str]] = {
    "identity": lambda graph, z, p: z,
    "logistic": lambda graph, z, p: graph("Sigmoid", z),
    "tanh": lambda graph, z, p: graph("Tanh", z),
    "relu": lambda graph, z, p: graph("Relu", z),
    "leaky_relu": _leaky,
    "prelu": _leaky,
    "elu": _elu,
    "selu": lambda graph, z, p: graph("Mul", _elu(graph, z, 1.6732632423543772), 1.0507009873554805),
    "softplus": _softplus,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda graph, z, p: graph("Mul", z, graph("Sigmoid", z)),
    "mish": lambda graph, z, p: graph("Mul", z, graph("Tanh", _softplus(graph, z, p))),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": lambda graph, z, p: graph("Mul", z, _hard_sigmoid(graph, z, p)),
}
ONNX_OF_OUTPUT: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda graph, z: z,
    "logistic": lambda graph, z: graph("Sigmoid", z),
    "tanh": lambda graph, z: graph("Tanh", z),
    "exp": lambda graph, z: graph("Exp", z),
    "softmax": lambda graph, z: graph("Softmax", z, axis=1),
}
# The z of an averaged output y, as `Ensemble._average` has it.
ONNX_OF_INVERSE: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda graph, y: y,
    "logistic": lambda graph, y: graph("Log", graph("Div", y, graph("Sub", 1.0, y))),
    "tanh": lambda graph, y: graph("Mul", graph("Log", graph("Div", graph("Add", y, 1.0), graph("Sub", 1.0, y))), 0.5),
    "exp": lambda graph, y: graph("Log", y),
    "softmax": lambda graph, y: graph("Log", y),
}


def _mean_of_rows(graph: Graph, z: str, n: int) -> str:
    """A product with 1 / n: ReduceMean takes its axes as an attribute or as an input, by version."""
    return graph("MatMul", z, np.full((n, 1), 1 / n))


def logits_of(graph: Graph, model: Model, rows: str) -> str:
    """Values of the last layer for the rows, before its activation."""
    value = rows
    for layer, (coef, intercept) in enumerate(zip(model.coefs, model.intercepts, strict=True)):
        value = graph("Add", graph("MatMul", value, coef), intercept[None])
        if layer == len(model.coefs) - 1:
            break
        if model.normalization is not None:
            centred = graph("Sub", value, _mean_of_rows(graph, value, len(intercept)))
            variance = _mean_of_rows(graph, graph("Mul", centred, centred), len(intercept))
            deviation = graph("Sqrt", graph("Add", variance, model.normalization.epsilon))
            gain, shift = model.unit_parameters[layer][GAINS], model.unit_parameters[layer][SHIFTS]
            value = graph("Add", graph("Mul", graph("Div", centred, deviation), gain[None]), shift[None])
        component = model.activations[layer]
        node = of_activation(ONNX_OF_ACTIVATION, component, "ONNX")
        value = node(graph, value, model.numbers_of(layer)[None])
    return value


# --- estimators -------------------------------------------------------------------------------------------------------


def _models(estimator: Any) -> list[Model]:
    """The networks of an estimator: one, or an ensemble's."""
    return [read_model(member, "ONNX") for member in getattr(estimator, "estimators_", [estimator])]


def _logits_and_outputs(graph: Graph, models: list[Model]) -> tuple[str, str]:
    """z and output activations; of an ensemble, the mean of these, and the z that would give it."""
    logits = [logits_of(graph, model, graph.rows) for model in models]
    outputs = [ONNX_OF_OUTPUT[model.output](graph, z) for model, z in zip(models, logits, strict=True)]
    if len(models) == 1:
        return logits[0], outputs[0]
    mean = graph("Mul", graph("Sum", *outputs), 1 / len(outputs))
    return ONNX_OF_INVERSE[models[0].output](graph, mean), mean


def probabilities_of(graph: Graph, model: Model, outputs: str) -> str:
    """As `predict_proba` makes them of outputs."""
    if model.finish & CLIP:
        outputs = graph("Min", graph("Max", outputs, 0.0), 1.0)
    if model.n_results > model.units[-1]:
        return graph("Concat", graph("Sub", 1.0, outputs), outputs, axis=1)
    if model.finish & NORMALIZE:
        n = model.units[-1]
        total = graph("MatMul", outputs, np.ones((n, 1)))
        # Where all outputs are 0 each class gets 1 / n: numerator and denominator grow by what is missing to it.
        nothing = graph("Sub", 1.0, graph("Min", graph("Mul", total, 1e30), 1.0))
        return graph("Div", graph("Add", outputs, nothing), graph("Add", total, graph("Mul", nothing, float(n))))
    return outputs


def _scores(graph: Graph, model: Model, logits: str, one_column: bool) -> str:
    """As `decision_function` makes them; two classes have two columns of opposite sign, or the second one only."""
    n = model.units[-1]
    if n > 2:
        return logits
    difference = np.array([[-1.0], [1.0]]) if n == 2 else np.ones((1, 1))
    score = graph("Sub", graph("MatMul", logits, difference), 0.0 if n == 2 else float(HALF[model.output]))
    return score if one_column else graph("Concat", graph("Neg", score), score, axis=1)


def _parents(scope: Any, estimator: Any) -> list[Any]:
    """Estimators around this one: pipelines that end in it, and what is around these."""
    others = [operator.raw_operator for operator in scope.operators.values()]
    pipelines = [each for each in others if isinstance(each, Pipeline) and each.steps[-1][1] is estimator]
    inner = [estimator, *pipelines]
    around = [
        each
        for each in others
        if (
            isinstance(each, CalibratedClassifierCV)
            and any(fold.estimator is model for fold in each.calibrated_classifiers_ for model in inner)
        )
        or (isinstance(each, StackingClassifier) and any(model in each.estimators_ for model in inner))
    ]
    return pipelines + around


def _check_parents(parents: list[Any]) -> None:
    for parent in parents:
        if isinstance(parent, CalibratedClassifierCV) and parent.method != "sigmoid":
            raise ValueError(
                "CalibratedClassifierCV must have method='sigmoid' to become ONNX; "
                f"got {parent.method!r}, which skl2onnx computes otherwise than scikit-learn does."
            )


def _wants_scores(container: Any, estimator: Any, parents: list[Any]) -> bool:
    """Whether this estimator, or a pipeline that ends in it, is asked for its decision function."""
    asked = [estimator, *(parent for parent in parents if isinstance(parent, Pipeline))]
    return any(container.get_options(each, {"raw_scores": False})["raw_scores"] for each in asked)


def _is_multilabel(estimator: Any) -> bool:
    return estimator._known_labels().multilabel


def classifier_shapes(operator: Any) -> None:
    """skl2onnx's shapes, but a matrix of labels for multilabel."""
    from skl2onnx.common.data_types import Int64TensorType
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    estimator = operator.raw_operator
    _models(estimator)
    calculate_linear_classifier_output_shapes(operator)
    if _is_multilabel(estimator):
        operator.outputs[0].type = Int64TensorType([operator.inputs[0].type.shape[0], estimator.n_outputs_])


def convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Labels, and probabilities or scores."""
    from skl2onnx.common.utils_classifier import _finalize_converter_classes, get_label_classes

    estimator = operator.raw_operator
    models = _models(estimator)
    classes = np.asarray(get_label_classes(scope, estimator))
    check_classes(classes, at_least=1 if _is_multilabel(estimator) else 2)
    labels, numbers = (output.full_name for output in operator.outputs)
    parents = _parents(scope, estimator)
    _check_parents(parents)
    graph = Graph(scope, operator, container)
    logits, outputs = _logits_and_outputs(graph, models)
    if _wants_scores(container, estimator, parents):
        stacked = any(isinstance(parent, StackingClassifier) for parent in parents)
        graph("Identity", _scores(graph, models[0], logits, stacked), result=numbers)
    else:
        graph("Identity", probabilities_of(graph, models[0], outputs), result=numbers)
    if _is_multilabel(estimator):
        graph.cast(graph("Greater", outputs, 0.5), graph.types.INT64, result=labels)
        return
    if models[0].units[-1] == 1:
        position = graph.cast(graph("Greater", outputs, 0.5), graph.types.INT64)
    else:
        position = graph("ArgMax", outputs, axis=1)
    if classes.dtype.kind == "u":
        classes = classes.astype(np.int64)
    _finalize_converter_classes(scope, position, labels, container, classes, graph.dtype)


def check_classes(classes: np.ndarray, at_least: int = 2) -> None:
    """Refuse labels that skl2onnx or ONNX cannot hold."""
    if len(classes) < at_least:
        raise ValueError(f"ONNX takes at least two classes; got {classes!r}.")
    if classes.dtype.kind in "iuf" and np.abs(classes.astype(np.float64)).max() > np.iinfo(np.int32).max:
        raise ValueError(f"skl2onnx holds labels as 32-bit integers; the greatest of classes_ is {classes[-1]}.")


def regressor_shape(operator: Any) -> None:
    """A matrix of outputs."""
    from skl2onnx.common.data_types import guess_tensor_type
    from skl2onnx.common.utils import check_input_and_output_numbers

    _models(operator.raw_operator)
    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
    source = operator.inputs[0].type
    kind = type(guess_tensor_type(source))
    operator.outputs[0].type = kind([source.shape[0], operator.raw_operator.n_outputs_])


def convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Outputs, of shape (n_samples, n_outputs)."""
    graph = Graph(scope, operator, container)
    _, outputs = _logits_and_outputs(graph, _models(operator.raw_operator))
    graph("Identity", outputs, result=operator.outputs[0].full_name)
