"""The package as it is imported: modules load when they are named, and say what they offer."""

import importlib
import inspect
import pathlib
import subprocess
import sys

import pytest

import fastmlp
from fastmlp.tabular import TableEncoder

# What a user imports from: no folder of the machinery, no command line.
PUBLIC = [
    "activations",
    "augmentations",
    "components",
    "graph",
    "initializers",
    "inspection",
    "losses",
    "normalizations",
    "optimizers",
    "plotting",
    "progress",
    "schedules",
]
over_modules = pytest.mark.parametrize("name", PUBLIC)


@over_modules
def test_a_module_loads_when_it_is_named(name):
    code = f"import sys, fastmlp; assert 'numpy' not in sys.modules; print(fastmlp.{name}.__name__)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.stdout == f"fastmlp.{name}\n", answer.stderr
    assert name in dir(fastmlp)


def test_the_bar_by_its_full_name():
    assert callable(fastmlp.progress.bar)


@pytest.mark.parametrize("name", ["nothing", "_nothing", "__nothing__"])
def test_what_is_not_there(name):
    assert not hasattr(fastmlp, name)
    with pytest.raises(AttributeError, match=f"^module 'fastmlp' has no attribute '{name}'$"):
        getattr(fastmlp, name)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, fastmlp; print(sorted({'numpy', 'numba', 'scipy', 'sklearn'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@over_modules
def test_a_module_says_what_it_offers(name):
    """``__all__`` holds what is there, and every class that is defined there."""
    module = importlib.import_module(f"fastmlp.{name}")
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, each) for each in module.__all__)
    classes = {
        key
        for key, value in vars(module).items()
        if inspect.isclass(value) and value.__module__.startswith(f"fastmlp.{name}") and not key.startswith("_")
    }
    assert classes <= set(module.__all__)


def test_the_package_is_typed():
    assert pathlib.Path(fastmlp.__file__).with_name("py.typed").is_file()


@pytest.mark.parametrize(
    "estimator",
    [fastmlp.MLPClassifier, fastmlp.MLPRegressor, fastmlp.TabularClassifier, fastmlp.TabularRegressor, TableEncoder],
)
def test_a_fit_gives_the_very_estimator(estimator):
    """To an editor too: what is fitted has the methods of its own class."""
    for name in ("fit", "partial_fit", "drop_optimizer_state"):
        if name in dir(estimator):
            assert inspect.signature(getattr(estimator, name)).return_annotation == "Self"
