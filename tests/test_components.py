"""Components: named, or with numbers of their own; equal by value; in the order of their codes. Over every table."""

import copy
import pickle
import sys
from dataclasses import FrozenInstanceError, fields
from dataclasses import field as dataclass_field

import numpy as np
import pytest
from sklearn.base import clone

from fastmlp.activations import ACTIVATIONS, ELU, LeakyReLU
from fastmlp.augmentations import AUGMENTATIONS
from fastmlp.components import Component, Registry, check_number, did_you_mean
from fastmlp.initializers import INITIALIZERS
from fastmlp.losses import LOSSES, Quantile
from fastmlp.normalizations import NORMALIZATIONS
from fastmlp.optimizers import OPTIMIZERS, AdamW
from fastmlp.schedules import SCHEDULES, Cosine, StepDecay, WarmUp

TABLES = [ACTIVATIONS, AUGMENTATIONS, INITIALIZERS, LOSSES, NORMALIZATIONS, OPTIMIZERS, SCHEDULES]
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
def test_a_name_means_the_component_with_its_default_numbers(table, cls):
    assert table.resolve(cls.name) == cls()
    assert table.resolve(cls.name).code == cls.code


@over_classes
def test_a_component_means_itself(table, cls):
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
def test_every_component_documents_its_numbers(table, cls):
    assert all(field.name in cls.__doc__ and "default=" in cls.__doc__ for field in fields(cls))


@over_classes
def test_every_activation_loss_and_optimizer_has_its_formula(table, cls):
    assert "=" in cls.__doc__ or table not in (ACTIVATIONS, LOSSES, OPTIMIZERS)


@pytest.mark.parametrize("cls", OPTIMIZERS.classes[1:], ids=lambda cls: cls.name)
def test_help_on_an_optimizer_starts_with_its_use(cls):
    first, second, *_ = cls.__doc__.split("\n\n")
    assert f'solver="{cls.name}"' in first
    assert "learning_rate_init" in second


def test_other_numbers_make_another_component():
    assert LeakyReLU(0.01) == LeakyReLU()
    assert LeakyReLU(0.02) != LeakyReLU()
    assert {LeakyReLU(0.01), LeakyReLU(), LeakyReLU(0.02)} == {LeakyReLU(), LeakyReLU(0.02)}
    assert repr(LeakyReLU(0.02)) == "LeakyReLU(slope=0.02)"


def test_only_other_numbers_than_the_defaults_are_printed():
    assert repr(LeakyReLU()) == repr(LeakyReLU(slope=0.01)) == "LeakyReLU()"
    assert repr(AdamW(0.9, weight_decay=0.1)) == "AdamW(weight_decay=0.1)"
    assert repr(WarmUp(3, StepDecay(4))) == "WarmUp(epochs=3, then=StepDecay(every=4))"
    assert repr(Quantile(0.5)) == repr(Quantile((0.5,))) == "Quantile()"


def test_one_level_needs_no_sequence():
    assert Quantile(0.9) == Quantile([0.9]) == Quantile((0.9,))


# --- numbers as scikit-learn's parameters -----------------------------------------------------------------------------


@over_classes
def test_parameters_are_the_numbers(table, cls):
    params = cls().get_params(deep=False)
    assert list(params) == [field.name for field in fields(cls)]
    assert cls(**params) == cls()
    assert cls().set_params(**params) == cls()


@over_classes
def test_a_clone_is_the_component_itself(table, cls):
    component = cls()
    assert clone(component) is component


def test_setting_a_number_makes_another_component():
    component = AdamW(0.8)
    assert component.set_params(weight_decay=0.5) == AdamW(0.8, weight_decay=0.5)
    assert component == AdamW(0.8)


def test_numbers_of_a_component_inside_another():
    component = WarmUp(3, StepDecay(4))
    assert component.get_params()["then__every"] == 4
    assert "then__every" not in component.get_params(deep=False)
    assert component.set_params(then__every=7, epochs=2) == WarmUp(2, StepDecay(7))
    assert component.set_params(then="cosine", then__period=7) == WarmUp(3, Cosine(7))


@pytest.mark.parametrize(
    ("component", "params", "message"),
    [
        (
            AdamW(),
            {"decay": 1},
            "AdamW has the parameters beta_1, beta_2, epsilon, weight_decay, weights_only; got 'decay'.",
        ),
        (
            AdamW(),
            {"weight_decy": 1},
            "AdamW has the parameters beta_1, beta_2, epsilon, weight_decay, weights_only; got 'weight_decy'. "
            "Did you mean 'weight_decay'?",
        ),
        (ACTIVATIONS["relu"](), {"slope": 1}, "ReLU has no parameters; got 'slope'."),
        (AdamW(), {"beta_1": 2}, "beta_1 of AdamW must be a number in [0, 1); got 2."),
        (AdamW(), {"beta_1__x": 2}, "beta_1__x requires a component as beta_1 of AdamW; got 0.9."),
    ],
    ids=str,
)
def test_bad_parameters(component, params, message):
    with pytest.raises(ValueError) as error:
        component.set_params(**params)
    assert str(error.value) == message


def test_an_array_as_a_number():
    """A component of a user's own may hold an array; its repr and equality of other fields still work."""

    @Registry("own").add("own")
    class Own(Component):
        values: object = None
        table: object = dataclass_field(default_factory=lambda: np.zeros(2))

    assert repr(Own(3)).startswith("Own(values=3, table=array(")
    assert repr(Own(np.ones(2)).set_params(table=None)) == "Own(values=array([1., 1.]), table=None)"


# --- errors -----------------------------------------------------------------------------------------------------------


def animals():
    table = Registry("animal", {"puppy": "dog"})

    @table.add("cat", "kitty")
    class Cat:
        pass

    @table.add("dog")
    class Dog:
        age: float = 3.0

    return table


@pytest.mark.parametrize("value", ["horse", "", None, 3, ELU(), ELU, ["cat"]], ids=repr)
def test_no_component_of_that_kind(value):
    with pytest.raises(ValueError) as error:
        animals().resolve(value)
    allowed = "'cat', 'dog', 'kitty' or a component with its own numbers such as Dog(...)"
    assert str(error.value) == f"animal must be one of {allowed}; got {value!r}."


@pytest.mark.parametrize(
    ("value", "meant"), [("Cat", "cat"), ("kity", "kitty"), ("d-o g", "dog"), ("PUPPY", "dog"), ("pupy", "dog")]
)
def test_what_was_meant(value, meant):
    with pytest.raises(ValueError, match=rf"got '{value}'\. Did you mean '{meant}'\?$"):
        animals().resolve(value)


@pytest.mark.parametrize(
    ("table", "value", "meant"),
    [
        (LOSSES, "mse", "squared_error"),
        (LOSSES, "MAE", "absolute_error"),
        (LOSSES, "KLDivergence", "kl_divergence"),
        (ACTIVATIONS, "ReLU", "relu"),
        (ACTIVATIONS, "LeakyReLU", "leaky_relu"),
        (ACTIVATIONS, "linear", "identity"),
        (INITIALIZERS, "he", "he_normal"),
        (INITIALIZERS, "Xavier", "glorot_uniform"),
        (INITIALIZERS, "kaiming_uniform", "he_uniform"),
        (NORMALIZATIONS, "batchnorm", "batch"),
        (NORMALIZATIONS, "layer_norm", "layer"),
        (SCHEDULES, "OneCycle", "one_cycle"),
        (SCHEDULES, "cosine_annealing", "cosine"),
        (OPTIMIZERS, "AdamW", "adamw"),
        (OPTIMIZERS, "rms_prop", "rmsprop"),
        (AUGMENTATIONS, "noise", "gaussian_noise"),
    ],
)
def test_what_other_libraries_call_it(table, value, meant):
    with pytest.raises(ValueError, match=rf"Did you mean '{meant}'\?$"):
        table.resolve(value)


@over_tables
def test_every_synonym_leads_to_a_name(table):
    for synonym, name in table.synonyms.items():
        assert name in table
        assert synonym not in table
        assert did_you_mean(synonym, table, table.synonyms) == f" Did you mean {name!r}?"


def test_a_class_in_place_of_a_component():
    with pytest.raises(ValueError) as error:
        ACTIVATIONS.resolve(LeakyReLU)
    expected = "activation must be a component, not its class; got the class LeakyReLU. Write LeakyReLU()."
    assert str(error.value) == expected


def test_no_component_has_numbers():
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
