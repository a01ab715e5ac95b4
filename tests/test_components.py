"""Components: named, or with numbers of their own; equal by value; in the order of their codes. Over every table."""

import copy
import pickle
import sys
from dataclasses import FrozenInstanceError, fields

import pytest
from sklearn.base import clone

from fastmlp.activations import ACTIVATIONS, ELU, LeakyReLU
from fastmlp.components import Registry, check_number
from fastmlp.losses import LOSSES

TABLES = [ACTIVATIONS, LOSSES]
CLASSES = [(table, cls) for table in TABLES for cls in table.classes]
over_tables = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.parameter)
over_classes = pytest.mark.parametrize(("table", "cls"), CLASSES, ids=lambda value: getattr(value, "name", "component"))


@over_tables
def test_codes_are_the_rows_of_the_table(table):
    assert [cls.code for cls in table.classes] == list(range(len(table.classes)))
    assert len({cls.name for cls in table.classes}) == len(table.classes)
    assert {table[name] for name in table} == set(table.classes)
    assert len(list(table)) == len(table)


@over_classes
def test_a_name_means_the_word_with_its_own_numbers(table, cls):
    assert table.resolve(cls.name) == cls()
    assert table.resolve(cls.name).code == cls.code


@over_classes
def test_a_word_means_itself(table, cls):
    component = cls()
    assert table.resolve(component) is component


@over_classes
def test_equal_by_value(table, cls):
    assert cls() == cls()
    assert hash(cls()) == hash(cls())
    assert all(cls() != other() for other in table.classes if other is not cls)


@over_classes
def test_printed_as_it_is_written(table, cls):
    assert eval(repr(cls()), vars(sys.modules[cls.__module__])) == cls()


@over_classes
@pytest.mark.parametrize("of", [clone, copy.deepcopy, lambda component: pickle.loads(pickle.dumps(component))])
def test_copies_are_equal(table, cls, of):
    keywords = {"safe": False} if of is clone else {}
    assert of(cls(), **keywords) == cls()


@over_classes
def test_frozen(table, cls):
    for name in ("name", *(field.name for field in fields(cls))):
        with pytest.raises(FrozenInstanceError):
            setattr(cls(), name, 1)


@over_classes
def test_every_word_says_its_formula_and_its_numbers(table, cls):
    assert "=" in cls.__doc__
    assert all(field.name in cls.__doc__ and "default=" in cls.__doc__ for field in fields(cls))


def test_other_numbers_make_another_word():
    assert LeakyReLU(0.01) == LeakyReLU()
    assert LeakyReLU(0.02) != LeakyReLU()
    assert {LeakyReLU(0.01), LeakyReLU(), LeakyReLU(0.02)} == {LeakyReLU(), LeakyReLU(0.02)}
    assert repr(LeakyReLU(0.02)) == "LeakyReLU(slope=0.02)"


# --- errors -----------------------------------------------------------------------------------------------------------


def animals():
    table = Registry("animal")

    @table.add("cat", "kitty")
    class Cat:
        pass

    @table.add("dog")
    class Dog:
        age: float = 3.0

    return table


@pytest.mark.parametrize("value", ["Cat", "", None, 3, ELU(), ELU, ["cat"]], ids=repr)
def test_no_word_of_that_kind(value):
    with pytest.raises(ValueError) as error:
        animals().resolve(value)
    allowed = "'cat', 'kitty', 'dog' or a component with its own numbers such as Dog(...)"
    assert str(error.value) == f"animal must be one of {allowed}; got {value!r}."


def test_no_word_has_numbers():
    table = Registry("colour")
    table.add("red")(type("Red", (), {}))
    with pytest.raises(ValueError, match=r"^colour must be one of 'red'; got 'blue'\.$"):
        table.resolve("blue")


@pytest.mark.parametrize(
    ("bounds", "good", "bad", "interval"),
    [
        ({}, [-1e300, 0, 5], [float("nan"), float("inf"), "a", None], "(-inf, inf)"),
        ({"above": 0}, [1e-300, 7], [0, -1], "(0, inf)"),
        ({"at_least": 0}, [0, 7], [-1e-9], "[0, inf)"),
        ({"at_least": 0, "below": 1}, [0, 0.5], [1, -1], "[0, 1)"),
        ({"above": 0, "at_most": 1}, [0.5, 1], [0, 1.5], "(0, 1]"),
    ],
)
def test_bounds_of_a_number(bounds, good, bad, interval):
    for value in good:
        check_number(LeakyReLU(value), "slope", **bounds)
    for value in bad:
        component = LeakyReLU()
        object.__setattr__(component, "slope", value)
        with pytest.raises(ValueError) as error:
            check_number(component, "slope", **bounds)
        assert str(error.value) == f"slope of LeakyReLU must be a number in {interval}; got {value!r}."
