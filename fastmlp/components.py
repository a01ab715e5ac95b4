"""Components: what a user chooses by a name or, with hyperparameters of its own, by a small frozen object.

Each kind of component (activation, loss, optimizer, ...) has one file, and in it one `Registry`. A component is a
class: a docstring with its formula and source, hyperparameters with their defaults, the mathematics in NumPy, and the
same as a function of SIMD vectors.

>>> from fastmlp.activations import ACTIVATIONS, LeakyReLU
>>> ACTIVATIONS.resolve("leaky_relu") == LeakyReLU(slope=0.01)
True
>>> LeakyReLU(slope=0.2).get_params()
{'slope': 0.2}
"""

import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**settings: Any) -> Callable[[Any], Any]:
        """For type checkers: subclasses are dataclasses."""
        return lambda cls: cls


__all__ = ["Component", "Registry", "check_number", "did_you_mean"]


@dataclass_transform(frozen_default=True)
class Component:
    """What all components have.

    A component never changes, so that estimators may share it. scikit-learn sees its fields as nested parameters:
    ``solver__weight_decay`` is the ``weight_decay`` of the component ``solver``.

    Attributes
    ----------
    name, code : its name and its position in the registry of its kind
    """

    name: ClassVar[str]
    code: ClassVar[int]
    _registry: ClassVar[str]  # its `parameter`

    @property
    def hyperparameter(self) -> Any:
        """Its first field, which kernels receive beside the code; 0 without any."""
        return next((getattr(self, field.name) for field in _fields(self)), 0.0)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The hyperparameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add those of components inside this one, as ``then__period``.
        """
        params = {}
        for field in _fields(self):
            value = params[field.name] = getattr(self, field.name)
            if deep and isinstance(value, Component):
                params |= {f"{field.name}__{key}": inner for key, inner in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> "Self":
        """A component like this one with other hyperparameters; this one does not change.

        ``estimator.set_params(solver__weight_decay=0.1)`` puts the new component in the place of the old.

        Parameters
        ----------
        **params : hyperparameters by name; ``then__period`` is one of the component ``then``

        Raises
        ------
        ValueError
            If there is no such hyperparameter, or it is out of its bounds.
        """
        names = [field.name for field in _fields(self)]
        plain: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, delimiter, inner = key.partition("__")
            if name not in names:
                owner = type(self).__name__
                has = f"has the parameters {', '.join(sorted(names))}" if names else "has no parameters"
                raise ValueError(f"{owner} {has}; got {name!r}.{did_you_mean(name, names)}")
            if delimiter:
                nested.setdefault(name, {})[inner] = value
            else:
                plain[name] = value
        result = replace(self, **plain)  # type: ignore[type-var]
        for name, inner_params in nested.items():
            component = getattr(result, name)
            if not isinstance(component, Component):
                key = next(iter(inner_params))
                raise ValueError(
                    f"{name}__{key} requires a component as {name} of {type(self).__name__}; got {component!r}."
                )
            result = replace(result, **{name: component.set_params(**inner_params)})  # type: ignore[type-var]
        return result

    def __sklearn_clone__(self) -> "Self":
        return self  # it cannot change

    def __repr__(self) -> str:
        shown = (
            f"{field.name}={getattr(self, field.name)!r}" for field in _fields(self) if not _is_default(self, field)
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def _fields(component: Component) -> tuple[Field[Any], ...]:
    """The dataclass fields that its constructor takes; none of a class that no registry has made a dataclass."""
    return tuple(field for field in fields(component) if field.init) if is_dataclass(component) else ()


def _is_default(component: Component, field: Field[Any]) -> bool:
    """Whether the component has the default value of a field."""
    default = field.default if _is_missing(field.default_factory) else field.default_factory()  # type: ignore[operator]
    try:
        return bool(getattr(component, field.name) == default)
    except ValueError:  # an array of several numbers
        return False


def _is_missing(default: Any) -> bool:
    """Whether it stands for no default: of a class that came by value from another process it is another object."""
    return isinstance(default, type(MISSING))


C = TypeVar("C", bound=type[Component])
Kind = TypeVar("Kind", bound=Component)


class Registry(Mapping[str, type[Kind]]):
    """The components of one kind by name, in the order of their codes.

    Parameters
    ----------
    parameter : str
        What error messages call the kind: the estimators' parameter.
    synonyms : mapping of str to str, or None
        Names that other libraries use, with the name to suggest in place of each.

    Attributes
    ----------
    built_in : int or None
        How many components the package itself has: those that compiled code knows. None where all are Python's.
    """

    def __init__(self, parameter: str, synonyms: Mapping[str, str] | None = None) -> None:
        self.parameter = parameter
        self.built_in: int | None = None
        self._check: Callable[[type[Component]], None] = lambda cls: None
        self.synonyms = dict(synonyms or {})
        self.classes: list[type[Kind]] = []
        self._by_name: dict[str, type[Kind]] = {}

    def add(self, name: str, *aliases: str) -> Callable[[C], C]:
        """Class decorator: a frozen dataclass, equal by value, whose position in the registry is its ``code``.

        A class that is a frozen dataclass already stays as it is.

        A class that is defined again, in a notebook say, takes the place of the one before.

        Raises
        ------
        ValueError
            If a name belongs to another component.
        TypeError
            If the class lacks something; the message says what to add.
        """

        def register(cls: C) -> C:
            for each in (name, *aliases):
                owner = self._by_name.get(each)
                if owner is not None and (owner.__module__, owner.__qualname__) != (cls.__module__, cls.__qualname__):
                    raise ValueError(
                        f"{self.parameter} {each!r} is the name of {owner.__module__}.{owner.__qualname__}; "
                        f"give {cls.__qualname__} another one."
                    )
            component: Any = _frozen(cls)
            self._check(component)
            component.name, component.code, component._registry = name, len(self.classes), self.parameter
            self.classes.append(component)
            self._by_name |= dict.fromkeys((name, *aliases), component)
            return cls

        return register

    def complete(self, check: Callable[[type[Component]], None]) -> None:
        """What compiled code knows is all there: what is added later is a user's own and must pass a check."""
        self.built_in, self._check = len(self.classes), check

    def is_own(self, component: Component | type[Component]) -> bool:
        """Whether a component is a user's own, that compiled code knows only by the address of its function."""
        return self.built_in is not None and component.code >= self.built_in

    def resolve(self, value: str | Kind) -> Kind:
        """The component that a user means: an instance as it is, a name with its defaults.

        Raises
        ------
        ValueError
            If it is no component of this kind.
        """
        self.adopt(value)
        if not isinstance(value, str) and type(value) in self.classes:
            return value
        if isinstance(value, str) and value in self._by_name:
            return self._by_name[value]()
        self.refuse_class(value)
        if isinstance(value, Component) and "code" not in vars(type(value)):
            raise ValueError(
                f"{self.parameter} must be a registered component; got an object of {type(value).__qualname__}. "
                f"Decorate the class with @{self._variable(type(value))}.add and a name of its own."
            )
        raise ValueError(
            f"{self.parameter} must be {self.choices()}; got {value!r}.{did_you_mean(value, self, self.synonyms)}"
        )

    def adopt(self, value: Any) -> None:
        """Register the class of a component that came from another process by value, as joblib sends those of a script.

        A class that can be imported is registered when it is.
        """
        cls = type(value)
        if isinstance(value, Component) and vars(cls).get("_registry") == self.parameter and cls not in self.classes:
            self.add(cls.name)(cls)

    def _variable(self, cls: type) -> str:
        """What the registry is called in the modules that a class comes from."""
        modules = [sys.modules[base.__module__] for base in cls.__mro__]
        return next((name for module in modules for name, value in vars(module).items() if value is self), "registry")

    def refuse_class(self, value: Any) -> None:
        """Raise a ValueError if the value is the class of a component where a component is due."""
        if isinstance(value, type) and value in self.classes:
            raise ValueError(
                f"{self.parameter} must be a component, not its class; got the class {value.__name__}. "
                f"Write {value.__name__}()."
            )

    def choices(self) -> str:
        """What is allowed, as a part of a sentence."""
        names = ", ".join(map(repr, sorted(self)))
        example = next((cls for cls in self.classes if cls.__dataclass_fields__), None)  # type: ignore[attr-defined]
        with_numbers = (
            "" if example is None else f" or a component with its own numbers such as {example.__name__}(...)"
        )
        return f"one of {names}{with_numbers}"

    def __getitem__(self, name: str) -> type[Kind]:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)


def _frozen(cls: Any) -> Any:
    """The class itself, as a frozen dataclass whose fields have defaults.

    Raises
    ------
    TypeError
        If it is another kind of dataclass, or a field has no default.
    """
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None:
        dataclass(frozen=True, repr=False)(cls)
    elif not parameters.frozen:
        raise TypeError(
            f"{cls.__qualname__} must be frozen: leave out the decorator dataclass, or add frozen=True to it."
        )
    for field in fields(cls):
        if field.init and _is_missing(field.default) and _is_missing(field.default_factory):
            raise TypeError(f"{field.name} of {cls.__qualname__} must have a default value, for which the name stands.")
    return cls


# --- what a component of a user's own must have -----------------------------------------------------------------------


def require(cls: type[Component], base: type[Component], methods: Mapping[str, str], reason: str) -> None:
    """Raise a TypeError unless a class is a subclass of `base` with these methods of its own.

    Parameters
    ----------
    methods : names, each with the arguments that it must take, "self" among them unless it is static
    reason : what the message says of those that are missing, a sentence
    """
    if not issubclass(cls, base):
        raise TypeError(f"{cls.__qualname__} must be a subclass of {base.__qualname__}.")
    missing = [name for name in methods if getattr(cls, name) is getattr(base, name)]
    if missing:
        raise TypeError(f"{cls.__qualname__} lacks {' and '.join(missing)}. {reason}")
    for name, arguments in methods.items():
        signature = inspect.signature(getattr(cls, name))
        kind = "a method" if arguments.startswith("self") else "a static method"
        try:
            signature.bind(*arguments.split(", "))
        except TypeError:
            raise TypeError(
                f"{name} of {cls.__qualname__} must be {kind} that takes ({arguments}); it takes {signature}."
            ) from None


def require_number(cls: type[Component]) -> None:
    """Raise a TypeError unless the hyperparameter, which compiled code receives, is a number or a sequence of them."""
    value = cls().hyperparameter
    if not all(isinstance(number, Real) for number in (value if isinstance(value, tuple | list) else [value])):
        raise TypeError(
            f"The first field of {cls.__qualname__} must be a number, since compiled code receives it; got {value!r}. "
            "Put a number before it."
        )


def require_shapes(name: str, formula: Callable[[], Any], shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise a TypeError unless a formula, called with arrays for a trial, gives arrays of these shapes."""
    try:
        results = formula()
    except Exception as error:
        raise TypeError(f"{name} failed on arrays, with {type(error).__name__}: {error}.") from error
    found = [np.shape(each) for each in results] if isinstance(results, tuple) else type(results).__name__
    if found != [*shapes]:
        raise TypeError(f"{name} must give a tuple of arrays of shapes {[*shapes]}; got {found}.")


# --- names and numbers ------------------------------------------------------------------------------------------------


def did_you_mean(value: Any, names: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """A sentence that suggests the name that a user most likely means, with a space before it; else nothing.

    Case, spaces, hyphens and underscores do not count.

    Parameters
    ----------
    value : what the user wrote
    names : what is allowed
    synonyms : other names, with the allowed name of each

    Examples
    --------
    >>> did_you_mean("ReLu", ["relu", "tanh"])
    " Did you mean 'relu'?"
    """
    if not isinstance(value, str):
        return ""
    targets = {_letters(name): name for name in names}
    targets = {_letters(other): name for other, name in (synonyms or {}).items() if name in targets.values()} | targets
    written = _letters(value)
    close = [written] if written in targets else get_close_matches(written, targets, n=1, cutoff=0.7)
    return f" Did you mean {targets[close[0]]!r}?" if close else ""


def _letters(name: str) -> str:
    """A name without what people write differently."""
    return re.sub(r"[\s_-]", "", name.lower())


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
    """Check one hyperparameter: finite, within its bounds, and whole if so. NumPy scalars become Python's.

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
