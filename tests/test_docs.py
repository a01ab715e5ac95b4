"""Every example in the documentation runs as it stands there, and prints what the page says.

A page's Python blocks run one after the other in one namespace; a block of text right after one is what it prints.
"""

import contextlib
import io
import pathlib
import pkgutil
import re
import warnings

import pytest

import fastmlp
from fastmlp import activations, augmentations, initializers, losses, normalizations, optimizers, schedules

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)


def examples(path):
    """[code, what it prints or ""] of each Python block of a page."""
    return BLOCK.findall(path.read_text(encoding="utf8"))


REGISTRIES = [
    activations.ACTIVATIONS,
    augmentations.AUGMENTATIONS,
    initializers.INITIALIZERS,
    losses.LOSSES,
    normalizations.NORMALIZATIONS,
    optimizers.OPTIMIZERS,
    schedules.SCHEDULES,
]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.parameter)
def test_the_table_of_components_is_complete(registry):
    """Each by its name; the kinds of "glorot, he and lecun" are shown together."""
    table = (ROOT / "docs" / "components.md").read_text(encoding="utf8").partition("## Where to begin")[0]
    shown = set(re.findall(r"\w+", table))
    public = [component.name for component in registry.classes if component.name != "gradient"]  # moves no weight
    assert not [name for name in public if not {name, kind(name)} & shown]


def kind(name):
    """The family of initializers of a name, such as he of he_normal."""
    return re.sub(r"_(normal|uniform)$", "", name)


# What the estimators use, and users do not import.
INTERNAL = {
    *("__main__", "arrow_files", "core", "delayed_parts", "demos", "estimators", "frames", "lbfgs", "machine"),
    *("network", "npy_files", "streaming", "training_state"),
}


def test_the_reference_has_every_public_module():
    index = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf8")
    documented = {name.partition(".")[0] for name in re.findall(r"^   (\w[\w.]*)$", index, re.MULTILINE)}
    modules = {module.name for module in pkgutil.iter_modules(fastmlp.__path__)}
    assert documented == (modules - INTERNAL) | {*fastmlp.__all__} - {"__version__"}


def test_code_is_not_wider_than_its_page():
    """100 columns: see docs/_static/pages.css."""
    texts = {path: "".join(code for code, _ in examples(path)) for path in PAGES}
    texts |= {path: path.read_text(encoding="utf8") for path in (ROOT / "docs" / "examples").glob("*.py")}
    wide = [f"{path.name}: {line}" for path, text in texts.items() for line in text.splitlines() if len(line) > 100]
    assert not wide


def test_pages_have_examples():
    assert sum(len(examples(path)) for path in PAGES) > 15


@pytest.mark.parametrize(
    "path", [path for path in PAGES if examples(path)], ids=lambda path: path.relative_to(ROOT / "docs").as_posix()
)
def test_examples_of_a_page_run(path):
    names = {"__name__": "__main__"}
    for code, expected in examples(path):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Stochastic Optimizer")
            try:
                exec(compile(code, path.name, "exec"), names)
            except ModuleNotFoundError as error:  # an extra that is not installed
                pytest.skip(f"{error.name} is not installed")
        if expected:
            assert printed.getvalue() == expected
