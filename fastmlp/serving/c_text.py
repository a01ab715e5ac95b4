"""Constants as C text."""

from typing import Any

import numpy as np


def c_array(name: str, values: Any, kind: str = "float") -> str:
    """``static const float name[n] = {...};``: nine digits give a float32 back to the bit."""
    numbers = np.asarray(values).ravel()
    if kind == "float":
        texts = [*map(c_float, numbers)]
    else:
        texts = [str(int(number)) for number in numbers]
    lines = [", ".join(texts[first : first + 8]) for first in range(0, len(texts), 8)]
    body = ",\n    ".join(lines)
    return f"static const {kind} {name}[{len(texts)}] = {{\n    {body}\n}};"


def c_float(number: float) -> str:
    """A constant of type float."""
    if np.isnan(number):
        return "NAN"
    if np.isinf(number):
        return "HUGE_VALF" if number > 0 else "-HUGE_VALF"
    return f"{np.float32(number):.9e}f"
