"""Tables that print themselves, and the shapes, parameters and operations of each layer as one of them.

>>> from fastmlp.inspection import summary
>>> summary((784, 500, 500, 500, 500, 100))
layer  activation      shape    weights  biases      bytes  operations per row
    1  –           784 × 500    392,000     500  3,140,000             784,000
    2  –           500 × 500    250,000     500  2,004,000             500,000
    3  –           500 × 500    250,000     500  2,004,000             500,000
    4  –           500 × 500    250,000     500  2,004,000             500,000
    5  –           500 × 100     50,000     100    400,800             100,000
total                         1,192,000   2,100  9,552,800           2,384,000
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .models import Model, names_of, reference_of, units_of

__all__ = ["LayerSummary", "Summary", "Table", "summary"]


class Table(Sequence[Any]):
    """Rows with named fields, which print as an aligned table.

    Parameters
    ----------
    rows : list of named tuples

    Attributes
    ----------
    formats : dict
        The fields to show, each with the format of its numbers; ``"<"`` is for text, which stands at the left. A field
        of which all values are None is left out.
    """

    formats: dict[str, str] = {}

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        """A row by its number, or a column by its name."""
        return [getattr(row, key) for row in self.rows] if isinstance(key, str) else self.rows[key]

    def __repr__(self) -> str:
        columns = []
        for name, form in self.formats.items():
            values = [getattr(row, name) for row in self.shown()]
            if any(value is not None for value in values):
                cells = [name.replace("_", " "), *("–" if v is None else f"{v:{form}}" for v in values)]
                width = max(map(len, cells))
                columns.append([cell.ljust(width) if form == "<" else cell.rjust(width) for cell in cells])
        return "\n".join("  ".join(line).rstrip() for line in zip(*columns))

    def shown(self) -> list[Any]:
        """The rows to print."""
        return self.rows


class LayerSummary(NamedTuple):
    """What one layer is made of.

    Attributes
    ----------
    layer : from 1, or "total"; activation : above it
    shape : (n_below, n_above), as a text
    weights, biases : how many; unit parameters : how many learned slopes, gains and shifts, None without any
    bytes : of all these
    operations_per_row : multiplications and additions of one prediction, one each for every weight
    """

    layer: int | str
    activation: str | None
    shape: str
    weights: int
    biases: int
    unit_parameters: int | None
    bytes: int
    operations_per_row: int


class Summary(Table):
    """Rows of `LayerSummary`, and their sum as ``total``. Training takes about three times as many operations."""

    formats = {
        "layer": "",
        "activation": "<",
        "shape": "",
        "weights": ",",
        "biases": ",",
        "unit_parameters": ",",
        "bytes": ",",
        "operations_per_row": ",",
    }

    @property
    def total(self) -> LayerSummary:
        """The sum over the layers."""
        fields = "weights", "biases", "bytes", "operations_per_row"
        sums = {name: sum(self[name]) for name in fields}
        unit_parameters = sum(n for n in self["unit_parameters"] if n) or None
        return LayerSummary(layer="total", activation="", shape="", unit_parameters=unit_parameters, **sums)

    def shown(self) -> list[Any]:
        return [*self.rows, self.total]


def summary(model: Model | Sequence[int], dtype: Any = np.float64) -> Summary:
    """Shapes, parameters, bytes and operations of each layer.

    Parameters
    ----------
    model : fitted estimator, Network or Reference; or units (n_features, hidden units ..., n_outputs)
    dtype : dtype, default=float64
        Of the parameters, where only units are given.
    """
    if isinstance(model, Sequence):
        units, learned = tuple(model), [0] * len(model)
        names: Sequence[str | None] = [None] * len(model)
    else:
        reference = reference_of(model, folded=False)
        units, names = units_of(reference), names_of(reference)
        dtype = reference.buffers.weights[0].dtype
        by_normalization = 0 if reference.normalization is None else 2
        learned = [
            n * (component.learned + by_normalization) for n, component in zip(units[1:], reference.activations)
        ] + [0]
    size = np.dtype(dtype).itemsize
    return Summary(
        [
            LayerSummary(
                layer=layer,
                activation=names[layer],
                shape=f"{below} × {above}",
                weights=below * above,
                biases=above,
                unit_parameters=unit_parameters if any(learned) else None,
                bytes=size * (below * above + above + unit_parameters),
                operations_per_row=2 * below * above,
            )
            for layer, ((below, above), unit_parameters) in enumerate(zip(pairwise(units), learned), 1)
        ]
    )
