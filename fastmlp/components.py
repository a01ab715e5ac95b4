"""Components: what a user names by a string or, with numbers of its own, by a small frozen object.

A kind of component has one file and in it one `Registry`, its table. A component is a class: a docstring with its
formula and source, numbers with their defaults, the mathematics in NumPy, and the same as a function of SIMD vectors.

>>> from fastmlp.activations import ACTIVATIONS, LeakyReLU
>>> ACTIVATIONS.resolve("leaky_relu") == LeakyReLU(slope=0.01)
True
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**settings: Any) -> Callable[[Any], Any]:
        """For type checkers: subclasses are dataclasses."""
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Component:
    """What all components have.

    Attributes
    ----------
    name, code : in the table of its kind
    """

    name: ClassVar[str]
    code: ClassVar[int]

    @property
    def number(self) -> Any:
        """Its first number, which kernels receive beside the code; 0 without any."""
        return next((getattr(self, field.name) for field in fields(self)), 0.0)  # type: ignore[arg-type]


W = TypeVar("W", bound=type[Component])


class Registry(Mapping[str, type[Component]]):
    """The components of one kind by name, in the order of their codes.

    Parameters
    ----------
    parameter : str
        What error messages call the kind: the estimators' parameter.
    """

    def __init__(self, parameter: str) -> None:
        self.parameter = parameter
        self.classes: list[type[Component]] = []
        self._by_name: dict[str, type[Component]] = {}

    def add(self, name: str, *aliases: str) -> Callable[[W], W]:
        """Class decorator: a frozen dataclass, equal by value, whose position in the table is its ``code``."""

        def register(cls: W) -> W:
            component: Any = dataclass(frozen=True)(cls)
            component.name, component.code = name, len(self.classes)
            self.classes.append(component)
            self._by_name |= dict.fromkeys((name, *aliases), component)
            return component

        return register

    def resolve(self, value: Any) -> Any:
        """The component that a user means: an instance as it is, a name with its default numbers.

        Raises
        ------
        ValueError
            If it is no component of this kind.
        """
        if type(value) in self.classes:
            return value
        if isinstance(value, str) and value in self._by_name:
            return self._by_name[value]()
        raise ValueError(f"{self.parameter} must be {self.choices()}; got {value!r}.")

    def choices(self) -> str:
        """What is allowed, as a part of a sentence."""
        names = ", ".join(map(repr, self))
        example = next((cls for cls in self.classes if cls.__dataclass_fields__), None)  # type: ignore[attr-defined]
        with_numbers = (
            "" if example is None else f" or a component with its own numbers such as {example.__name__}(...)"
        )
        return f"one of {names}{with_numbers}"

    def __getitem__(self, name: str) -> type[Component]:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)


def check_number(
    component: Any,
    field: str,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    whole: bool = False,
) -> None:
    """Check one number of a component: finite, within its bounds, and whole if so. NumPy scalars become Python's.

    Raises
    ------
    ValueError
        With the component, the field, its bounds and what it is.
    """
    value = getattr(component, field)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
        object.__setattr__(component, field, value)
    try:
        good = math.isfinite(value) and above < value < below and at_least <= value <= at_most
        good = good and (not whole or value == int(value))
    except TypeError:
        good = False
    if not good:
        low = f"({above:g}" if above > at_least else f"[{at_least:g}" if at_least > -math.inf else "(-inf"
        high = f"{below:g})" if below < at_most else f"{at_most:g}]" if at_most < math.inf else "inf)"
        kind = "whole number" if whole else "number"
        raise ValueError(f"{field} of {type(component).__name__} must be a {kind} in {low}, {high}; got {value!r}.")
