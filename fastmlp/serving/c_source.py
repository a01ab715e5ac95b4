"""A fitted model as one file of C99: constants, static buffers, one function."""

import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import __version__
from ..core.records import GAINS, SHIFTS
from ..tabular.estimator import TabularEstimator
from .c_text import c_array, c_float
from .model import CLIP, COMPLEMENT, NORMALIZE, Model, TableModel, of_activation, read_model, read_table_model

# f(z) of one unit, `p` its number; written from the formulas in `activations.py`.
C_OF_ACTIVATION = {
    "identity": "z",
    "logistic": "logistic(z)",
    "tanh": "tanhf(z)",
    "relu": "z > 0.0f ? z : 0.0f",
    "leaky_relu": "z > 0.0f ? z : p * z",
    "prelu": "z > 0.0f ? z : p * z",
    "elu": "z > 0.0f ? z : p * expm1f(z)",
    "selu": "1.0507009873554804934f * (z > 0.0f ? z : 1.6732632423543772848f * expm1f(z))",
    "softplus": "fmaxf(z, 0.0f) + log1pf(expf(-fabsf(z)))",
    "gelu": "0.5f * z * erfcf(-0.70710678118654752f * z)",
    "gelu_tanh": "z * logistic(1.5957691216057308f * (z + 0.044715f * z * z * z))",
    "silu": "z * logistic(z)",
    "mish": "z * tanhf(fmaxf(z, 0.0f) + log1pf(expf(-fabsf(z))))",
    "hard_sigmoid": "fminf(fmaxf(z / 6.0f + 0.5f, 0.0f), 1.0f)",
    "hard_swish": "z * fminf(fmaxf(z / 6.0f + 0.5f, 0.0f), 1.0f)",
}
C_OF_OUTPUT = {"identity": "z", "logistic": "logistic(z)", "tanh": "tanhf(z)", "exp": "expf(z)"}

HEAD = """\
/* Made by fastmlp {version}: {network}.
 *
 *     void predict(const float *x, float *y);
 *
 * x: {n_features} numbers of one row; y: {n_results} numbers, {meaning}.
 * Self-contained C99 (link with -lm where the platform wants it). Nothing is allocated; the buffers are static, so one
 * call at a time. Compile it without -ffast-math.
 */
#include <math.h>
"""

LOGISTIC = """\
static float logistic(float z)
{
    const float e = expf(-fabsf(z));
    return (z < 0.0f ? e : 1.0f) / (1.0f + e);
}
"""

AFFINE = """\
static void affine_{layer}(const float *x, float *z)
{{
    int i, j;
    for (j = 0; j < {above}; j++)
        z[j] = b_{layer}[j];
    for (i = 0; i < {below}; i++)
        for (j = 0; j < {above}; j++)
            z[j] += x[i] * W_{layer}[i * {above} + j];
}}
"""

NORMALIZATION = """\
static void normalize_{layer}(float *z)
{{
    float mean = 0.0f, variance = 0.0f, scale;
    int j;
    for (j = 0; j < {n}; j++)
        mean += z[j];
    mean /= {n}.0f;
    for (j = 0; j < {n}; j++)
        variance += (z[j] - mean) * (z[j] - mean);
    scale = 1.0f / sqrtf(variance / {n}.0f + {epsilon});
    for (j = 0; j < {n}; j++)
        z[j] = (z[j] - mean) * scale * gain_{layer}[j] + shift_{layer}[j];
}}
"""

ELEMENTWISE = """\
static void {name}(float *values)
{{
    int j;
    for (j = 0; j < {n}; j++) {{
        const float z = values[j];{number}
        values[j] = {formula};
    }}
}}
"""

SOFTMAX = """\
static void output(float *z)
{{
    float largest = z[0], total = 0.0f;
    int j;
    for (j = 1; j < {n}; j++)
        largest = fmaxf(largest, z[j]);
    for (j = 0; j < {n}; j++)
        total += z[j] = expf(z[j] - largest);
    for (j = 0; j < {n}; j++)
        z[j] /= total;
}}
"""


def to_c(estimator: Any, path: Any) -> None:
    """Write a fitted model as one self-contained C99 file.

    Its one function, ``void predict(const float *x, float *y)``, gives for a row what ``predict_proba`` of a classifier
    or ``predict`` of a regressor does, in single precision. Constants and buffers are static; nothing is allocated.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, or a Pipeline that ends in one
        With the steps that `predictor` knows. A missing entry of a table is NaN. An encoder's unknown category is all
        zeros, or -1, and no error.
    path : path-like
        Written whole or not at all; an existing file is replaced.

    Raises
    ------
    TypeError, ValueError
        As `predictor`, before anything is written.
    OSError
        If the file cannot be written.
    """
    if isinstance(estimator, TabularEstimator):
        text = source_of_table(read_table_model(estimator, "to_c"))
    else:
        text = source_of(read_model(estimator, "to_c"))
    target = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def source_of(model: Model) -> str:
    """The text of the file."""
    units = model.units
    meaning = "its predictions" if model.squeezes else "the probabilities of its classes"
    network = "-".join(map(str, units))
    parts = [HEAD.format(version=__version__, network=network, n_features=model.n_features,
                         n_results=model.n_results, meaning=meaning)]  # fmt: skip
    for number, step in enumerate(model.steps):
        parts += ["\n".join(step.c_source(f"step_{number}")) + "\n"]
    parts += [*_network_parts(model), *_output_parts(model), *_main_parts(model)]
    return _joined(parts)


def source_of_table(table: TableModel) -> str:
    """The text of the file for a table: its encoder, and the weighted mean of its networks."""
    first, n = table.networks[0], table.networks[0].units[-1]
    meaning = "its predictions" if table.scale is not None else "the probabilities of its classes"
    network = ", ".join("-".join(map(str, model.units)) for model in table.networks)
    parts = [HEAD.format(version=__version__, network=network, n_features=table.n_features,
                         n_results=table.n_results, meaning=meaning + "; NaN is a missing entry")]  # fmt: skip
    parts += ["\n".join(table.step.c_source("encode")) + "\n"]
    if table.scale is not None:
        parts += [c_array(f"target_{name}", getattr(table, name)) for name in ("scale", "center", "low", "high")]
    body, buffers = [f"for (j = 0; j < {n}; j++)", "    y[j] = 0.0f;", "encode(x, s_0);"], []
    for number, (model, weight) in enumerate(zip(table.networks, table.weights, strict=True)):
        lines, last = _network_lines(model, "s_0", f"{number}_")
        value = f"{last}[j]"
        if table.scale is not None:
            value = f"fminf(fmaxf({value} * target_scale[j] + target_center[j], target_low[j]), target_high[j])"
        body += [*lines, f"for (j = 0; j < {n}; j++)", f"    y[j] += {c_float(weight)} * {value};"]
        parts += _network_parts(model, f"{number}_")
        buffers += [(f"a_{number}_{layer}", width) for layer, width in enumerate(model.units[1:])]
    parts += _output_parts(first)
    if first.finish & COMPLEMENT:
        body += ["y[1] = y[0];", "y[0] = 1.0f - y[1];"]
    sizes = [("s_0", table.step.out_width), *buffers]
    lines = [*(f"static float {name}[{size}];" for name, size in sizes), "",
             "void predict(const float *x, float *y)", "{", "    int j;"]  # fmt: skip
    return _joined([*parts, "\n".join([*lines, *(f"    {line}" for line in body), "}", ""])])


def _joined(parts: list[str]) -> str:
    if any("logistic(" in part for part in parts):
        parts.insert(1, LOGISTIC)
    return "\n".join(parts)


def _network_parts(model: Model, prefix: str = "") -> list[str]:
    """Constants and functions of all layers; ``prefix`` tells the names of networks apart."""
    return [part for layer in range(len(model.coefs)) for part in _layer_parts(model, layer, f"{prefix}{layer}")]


def _layer_parts(model: Model, layer: int, label: str) -> list[str]:
    """Constants and functions of a layer, whose names end in the label; its activation, if it is a hidden one."""
    below, above = model.coefs[layer].shape
    parts = [
        c_array(f"W_{label}", model.coefs[layer]),
        c_array(f"b_{label}", model.intercepts[layer]) + "\n",
        AFFINE.format(layer=label, below=below, above=above),
    ]
    if layer == len(model.coefs) - 1:
        return parts
    if model.normalization is not None:
        parts += [
            c_array(f"gain_{label}", model.unit_parameters[layer][GAINS]),
            c_array(f"shift_{label}", model.unit_parameters[layer][SHIFTS]) + "\n",
            NORMALIZATION.format(layer=label, n=above, epsilon=c_float(model.normalization.epsilon)),
        ]
    component = model.activations[layer]
    formula = of_activation(C_OF_ACTIVATION, component, "to_c")
    number = ""
    if "p *" in formula:
        parts.append(c_array(f"p_{label}", model.numbers_of(layer)) + "\n")
        number = f"\n        const float p = p_{label}[j];"
    parts.append(ELEMENTWISE.format(name=f"activate_{label}", n=above, number=number, formula=formula))
    return parts


def _output_parts(model: Model) -> list[str]:
    """The output activation."""
    n = model.units[-1]
    if model.output == "softmax":
        return [SOFTMAX.format(n=n)]
    return [ELEMENTWISE.format(name="output", n=n, number="", formula=C_OF_OUTPUT[model.output])]


def _main_parts(model: Model) -> list[str]:
    """Buffers, and the function that calls the others in their order."""
    body, source = [], "x"
    for number in range(len(model.steps)):
        body.append(f"step_{number}({source}, s_{number});")
        source = f"s_{number}"
    lines, source = _network_lines(model, source)
    body += [*lines, *_finish_lines(model, source)]
    sizes = [(f"s_{number}", step.out_width) for number, step in enumerate(model.steps)]
    sizes += [(f"a_{layer}", n) for layer, n in enumerate(model.units[1:])]
    buffers = [f"static float {name}[{size}];" for name, size in sizes]
    total = ["    float total = 0.0f;"] if model.finish & NORMALIZE else []
    lines = [*buffers, "", "void predict(const float *x, float *y)", "{", "    int j;", *total]
    return ["\n".join([*lines, *(f"    {line}" for line in body), "}", ""])]


def _network_lines(model: Model, source: str, prefix: str = "") -> tuple[list[str], str]:
    """Calls that take a network's inputs to its outputs, and the buffer where these are."""
    lines = []
    for layer in range(len(model.coefs)):
        label = f"{prefix}{layer}"
        lines.append(f"affine_{label}({source}, a_{label});")
        source = f"a_{label}"
        if layer < len(model.coefs) - 1:
            if model.normalization is not None:
                lines.append(f"normalize_{label}({source});")
            lines.append(f"activate_{label}({source});")
    return [*lines, f"output({source});"], source


def _finish_lines(model: Model, source: str) -> Sequence[str]:
    """From outputs to y."""
    n = model.units[-1]
    value = f"{source}[j]"
    if model.finish & CLIP:
        value = f"fminf(fmaxf({value}, 0.0f), 1.0f)"
    lines = [f"for (j = 0; j < {n}; j++)", f"    y[j] = {value};"]
    if model.finish & COMPLEMENT:
        lines += ["y[1] = y[0];", "y[0] = 1.0f - y[1];"]
    if model.finish & NORMALIZE:
        lines += [f"for (j = 0; j < {n}; j++)", "    total += y[j];", f"for (j = 0; j < {n}; j++)",
                  f"    y[j] = total > 0.0f ? y[j] / total : {c_float(np.float32(1 / n))};"]  # fmt: skip
    return lines
