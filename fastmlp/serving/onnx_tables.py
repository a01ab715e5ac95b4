"""Models of tables as nodes of ONNX: the encoder's columns, and the weighted mean of the networks.

The input is a matrix of numbers, of the table's columns in their order; NaN is a missing entry.
"""

from typing import Any

import numpy as np

from ..tabular.classifier import TabularClassifier
from .model import TableModel, read_table_model
from .onnx_graph import ONNX_OF_OUTPUT, Graph, check_classes, logits_of, probabilities_of
from .table_step import Encode, Group

OPTIONS = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}
CONSUMER = "ONNX"


def encoded(graph: Graph, step: Encode, rows: str) -> str:
    """The encoder's columns."""
    parts, order, levels = [], [], ""
    for kind, group in step.groups.items():
        x = graph("Gather", rows, graph.positions(group.feature), axis=1)
        if kind == "rest":
            values = _rest(graph, group, step.groups["level"], levels, x)
        else:
            values = NODES_OF_KIND[kind](graph, group, x)
        levels = values if kind == "level" else levels
        parts.append(values)
        order.append(group.at)
    together = graph("Concat", *parts, axis=1)
    return graph("Gather", together, graph.positions(np.argsort(np.concatenate(order))), axis=1)


def _filled(graph: Graph, x: str, values: np.ndarray) -> str:
    return graph("Where", graph("IsNaN", x), values[None], x)


def _number(graph: Graph, group: Group, x: str) -> str:
    z = graph("Div", graph("Sub", _filled(graph, x, group.a), group.a[None]), group.b[None])
    return graph("Div", z, graph("Sqrt", graph("Add", graph("Mul", graph("Mul", z, z), 1 / 9), 1.0)))


def _bin(graph: Graph, group: Group, x: str) -> str:
    share = graph("Div", graph("Sub", _filled(graph, x, group.c), group.a[None]), group.b[None])
    return graph("Sub", graph("Mul", graph("Min", graph("Max", share, 0.0), 1.0), 2.0), 1.0)


def _level(graph: Graph, group: Group, x: str) -> str:
    first, second = (graph.cast(graph("Equal", x, level[None]), graph.dtype) for level in (group.a, group.b))
    return graph("Sub", first, second)


def _rest(graph: Graph, group: Group, levels: Group, values: str, x: str) -> str:
    """What is neither missing nor a level of the column."""
    before = group.at[None] - levels.at[:, None]
    own = (before > 0) & (before <= group.a[None])
    present = graph("Sub", 1.0, graph.cast(graph("IsNaN", x), graph.dtype))
    return graph("Sub", present, graph("MatMul", values, own))


def _missing(graph: Graph, group: Group, x: str) -> str:
    return graph("Where", graph("IsNaN", x), np.ones((1, len(group.a))), group.a[None])


NODES_OF_KIND = {"number": _number, "bin": _bin, "level": _level, "missing": _missing}


def _mean(graph: Graph, table: TableModel, outputs: list[str]) -> str:
    """The weighted mean of the networks' probabilities, or of their numbers in the targets' units."""
    if table.scale is not None:
        outputs = [graph("Add", graph("Mul", y, table.scale[None]), table.center[None]) for y in outputs]  # type: ignore[index]
        outputs = [graph("Min", graph("Max", y, table.low[None]), table.high[None]) for y in outputs]  # type: ignore[index]
    weighted = [graph("Mul", y, float(weight)) for y, weight in zip(outputs, table.weights, strict=True)]
    return weighted[0] if len(weighted) == 1 else graph("Sum", *weighted)


def _outputs(graph: Graph, table: TableModel) -> str:
    rows = encoded(graph, table.step, graph.rows)
    return _mean(
        graph, table, [ONNX_OF_OUTPUT[model.output](graph, logits_of(graph, model, rows)) for model in table.networks]
    )


# --- what skl2onnx asks for -------------------------------------------------------------------------------------------


def encoder_shape(operator: Any) -> None:
    """A matrix of encoded columns."""
    from skl2onnx.common.utils import check_input_and_output_numbers

    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
    step = Encode(operator.raw_operator, CONSUMER)
    operator.outputs[0].type = _like_input(operator, step.out_width)


def convert_encoder(scope: Any, operator: Any, container: Any) -> None:
    """The encoded columns."""
    graph = Graph(scope, operator, container)
    values = encoded(graph, Encode(operator.raw_operator, CONSUMER), graph.rows)
    graph("Identity", values, result=operator.outputs[0].full_name)


def classifier_shapes(operator: Any) -> None:
    """skl2onnx's shapes of classifiers."""
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    read_table_model(operator.raw_operator, CONSUMER)
    calculate_linear_classifier_output_shapes(operator)


def convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Labels and probabilities."""
    from skl2onnx.common.utils_classifier import _finalize_converter_classes, get_label_classes

    estimator: TabularClassifier = operator.raw_operator
    table = read_table_model(estimator, CONSUMER)
    classes = np.asarray(get_label_classes(scope, estimator))
    check_classes(classes)
    labels, numbers = (output.full_name for output in operator.outputs)
    graph = Graph(scope, operator, container)
    probabilities = probabilities_of(graph, table.networks[0], _outputs(graph, table))
    graph("Identity", probabilities, result=numbers)
    if classes.dtype.kind == "u":
        classes = classes.astype(np.int64)
    position = graph("ArgMax", probabilities, axis=1)
    _finalize_converter_classes(scope, position, labels, container, classes, graph.dtype)


def regressor_shape(operator: Any) -> None:
    """A matrix of outputs."""
    from skl2onnx.common.utils import check_input_and_output_numbers

    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
    operator.outputs[0].type = _like_input(operator, read_table_model(operator.raw_operator, CONSUMER).n_results)


def convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Predictions, of shape (n_rows, n_outputs)."""
    graph = Graph(scope, operator, container)
    values = _outputs(graph, read_table_model(operator.raw_operator, CONSUMER))
    graph("Identity", values, result=operator.outputs[0].full_name)


def _like_input(operator: Any, width: int) -> Any:
    from skl2onnx.common.data_types import guess_tensor_type

    source = operator.inputs[0].type
    return type(guess_tensor_type(source))([source.shape[0], width])
