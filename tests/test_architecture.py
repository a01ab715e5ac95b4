"""Rules of the architecture that the import contract cannot see."""

import importlib
import json
import pathlib
import re
import subprocess
import sys

import pytest
from source_files import module_of

import fastmlp

try:
    import tomllib
except ImportError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fastmlp"
MADE = {"_build", "gallery"}  # what a build of the documentation leaves
SOURCES = sorted(
    path
    for folder in ("fastmlp", "benchmarks", "tests", "docs")
    for path in (ROOT / folder).rglob("*.py")
    if not MADE & set(path.relative_to(ROOT).parts)
)
TOP = {
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "fastmlp",
    "benchmarks",
    "tests",
    "bench_results",
    "docs",
}
README = ROOT / "README.md"
GENERATED = re.compile(r"<!-- table:[\w-]+ -->.*?<!-- end -->", re.DOTALL)
FENCED = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
MEASURED = re.compile(r"\d[\d.,]*\s*(×|x\b|times|%|ms\b|s\b|seconds|minutes|GFLOP|GB|MB|MiB)")


@pytest.fixture(scope="module")
def report():
    """benchmarks/report.py as a module."""
    return module_of(ROOT / "benchmarks" / "report.py")


def tracked():
    """Files that git knows, or None outside a repository."""
    answer = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.split("\n")[:-1] if answer.returncode == 0 and answer.stdout else None


def test_layout_at_the_top():
    names = tracked()
    top = {path.name for path in ROOT.iterdir()} if names is None else {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.startswith(".")} <= TOP


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_says_what_it_is(path):
    text = path.read_text(encoding="utf8")
    assert text.startswith('"""'), "the first line is a docstring"
    assert path.stem not in {"utils", "helpers", "common", "base"}
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text) or path == pathlib.Path(__file__)


def test_no_machine_path_in_any_source():
    for path in SOURCES:
        assert not re.search(r"/(work|home|root)/", path.read_text(encoding="utf8")) or path == pathlib.Path(__file__)


@pytest.mark.parametrize("folder", ["fastmlp", "benchmarks", "docs", "README.md"])
def test_texts_use_the_terms_of_the_field(folder):
    """Component, registry, pass, layer, thread; and none of the package's own names of an earlier time."""
    own = re.compile(
        r"(?<![.\w])(crews?|house|rooms|floors?|words?|grammar|vocabular(y|ies)|traits?|judge[ds]?|watchers?)(?!\w)"
    )
    places = [ROOT / folder] if (ROOT / folder).is_file() else sorted((ROOT / folder).rglob("*.*"))
    for path in places:
        if path.suffix in {".py", ".md"} and not MADE & set(path.relative_to(ROOT).parts):
            found = own.search(path.read_text(encoding="utf8"))
            assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"


def test_the_version_is_in_one_place():
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text(encoding="utf8")
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?\w+)?", fastmlp.__version__)


def test_the_package_says_that_it_has_types():
    assert (PACKAGE / "py.typed").is_file()


def test_importing_the_package_is_cheap():
    """Neither Numba nor scikit-learn, nor anything that draws, before an estimator is asked for."""
    heavy = "{'numba', 'sklearn', 'scipy', 'matplotlib', 'rich'} & set(sys.modules)"
    code = f"import sys, fastmlp; print(sorted({heavy}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"


def test_public_modules_say_what_they_offer():
    """By `__all__`: what is in it exists, and is all that has a public name and was written there."""
    for path in sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("*/__init__.py")]):
        name = ".".join(["fastmlp", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        if path.parent.name in {"core", "demos", "machine"} or path.stem == "__main__":
            continue
        module = importlib.import_module(name)
        assert list(module.__all__) == sorted(module.__all__, key=sort_key), name
        assert not [offered for offered in module.__all__ if not hasattr(module, offered)], name


def sort_key(name):
    """Constants, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_private_names_of_scikit_learn_are_in_one_file():
    private = re.compile(
        r"^\s*(from sklearn[\w.]*\._|from sklearn[\w.]* import .*(?<![\w.])_[a-z]|import sklearn[\w.]*\._)", re.M
    )
    found = [path.name for path in PACKAGE.rglob("*.py") if private.search(path.read_text(encoding="utf8"))]
    assert found == ["sklearn_internals.py"]


# --- layers -----------------------------------------------------------------------------------------------------------


def contract_layers():
    """The layers of the import contract in pyproject.toml, from the top: a set of module names for each."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    (contract,) = (
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers" and contract["containers"] == ["fastmlp"]
    )
    return [{name.strip(" ()") for name in re.split(r"[:|]", layer)} for layer in contract["layers"]]


def readme_layers():
    """The layers of the table in the README's architecture section, from the top: a set of paths for each."""
    section = README.read_text(encoding="utf8").partition("## Architecture\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|([^|]+)\|[^|]+\|$", section, re.MULTILINE)[2:]
    return [set(re.findall(r"`([^`]+)`", row)) for row in rows]


def package_paths():
    """Every module of the package as the README writes it: `name.py`, or `name/` where it is a folder."""
    files = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    return files | {f"{path.name}/" for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}


def test_readme_and_contract_have_the_same_layers():
    shown = [{path.removesuffix("/").removesuffix(".py") for path in layer} for layer in readme_layers()]
    assert shown == contract_layers()


def test_readme_shows_every_module_once():
    shown = [path for layer in readme_layers() for path in sorted(layer)]
    assert sorted(shown) == sorted(package_paths())


# --- README -----------------------------------------------------------------------------------------------------------


def test_readme_is_short():
    assert len(README.read_text(encoding="utf8").splitlines()) < 150


def test_readme_holds_the_two_commands():
    blocks = [text.strip() for _, text in FENCED.findall(README.read_text(encoding="utf8"))]
    assert "pip install . && fastmlp demo" in blocks
    assert 'pip install -e ".[test]" && pytest' in blocks


def test_readme_examples_run(capsys):
    """All of them, one after the other in one namespace; the first one prints how well it does."""
    names = {}
    for language, example in FENCED.findall(README.read_text(encoding="utf8")):
        if language == "python":
            exec(compile(example, "README.md", "exec"), names)
    accuracy = re.fullmatch(r"([\d.]+)% after \d+ epochs\n", capsys.readouterr().out)
    assert float(accuracy[1]) > 90


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf8")):
        assert (ROOT / target).exists(), target


def test_numbers_in_the_readme_are_measured(report):
    """Measurements stand in generated tables only, and these are what bench_results holds."""
    text = README.read_text(encoding="utf8")
    assert not MEASURED.findall(FENCED.sub("", GENERATED.sub("", text)))
    assert report.fill(text, report.load(report.RESULTS)) == text


# --- results ----------------------------------------------------------------------------------------------------------


def test_results_page_is_generated(report):
    machines = report.load(report.RESULTS)
    assert machines, "no results are stored"
    assert (report.RESULTS / "README.md").read_text(encoding="utf8") == report.page(machines)


def test_results_name_no_host(report):
    for path in report.RESULTS.glob("*/*.json"):
        content = json.loads(path.read_text(encoding="utf8"))
        assert not {"node", "release"} & set(content["machine_info"]), path.name


def entry(name, value, **bar):
    """A benchmark's entry as pytest-benchmark stores it, with one bar."""
    promise = {"name": name, "measured": value, "must": 2.0, "aim": 4.0, "unit": "×", "better": "higher", **bar}
    extra = {"table": "training", "row": {"workload": name, "rows/s": value}, "bars": [promise]}
    return {"name": f"test_training[{name}]", "fullname": f"benchmarks/x.py::{name}", "extra_info": extra}


@pytest.fixture
def results(tmp_path):
    """A folder with two runs on one machine; the second repeats one benchmark of the first."""
    folder = tmp_path / "Linux-CPython-3.11-64bit"
    folder.mkdir()
    info = {"cpu": {"brand_raw": "Processor"}, "cores": 2, "python_version": "3.11.7", "packages": {"numpy": "2.4"}}
    for number, entries in enumerate([[entry("a", 1.5), entry("b", 3.0)], [entry("a", 5.0)]], 1):
        content = {"machine_info": info, "datetime": f"2026-01-0{number}T00:00:00", "benchmarks": entries}
        (folder / f"000{number}_run.json").write_text(json.dumps(content), encoding="utf8")
    return tmp_path


def test_the_newest_result_counts(report, results):
    machines = report.load(results)
    ((_, entries),) = machines.values()
    assert report.tables(entries) == {"training": [{"workload": "a", "rows/s": 5.0}, {"workload": "b", "rows/s": 3.0}]}
    text = "x\n<!-- table:training -->\nold\n<!-- end -->\ny <!-- table:other -->\n<!-- end -->"
    new = report.fill(text, machines)
    assert new.startswith(
        "x\n<!-- table:training -->\n| workload | rows/s |\n| --- | ---: |\n| a | 5.00 |\n| b | 3.00 |\n"
    )
    assert [line[-11:] for line in new.splitlines() if "cores" in line] == ["2026-01-01.", "2026-01-02."]
    assert new.endswith("2026-01-02.\n<!-- end -->\ny <!-- table:other -->\n<!-- end -->")
    assert report.fill(new, machines) == new


def test_a_table_comes_from_where_it_was_measured_last(report, results):
    other = results / "Linux-CPython-3.12-64bit"
    other.mkdir()
    content = json.loads((results / "Linux-CPython-3.11-64bit" / "0001_run.json").read_text(encoding="utf8"))
    newer = {**content, "datetime": "2026-01-03T00:00:00", "benchmarks": [entry("a", 7.0)]}
    (other / "0001_run.json").write_text(json.dumps(newer), encoding="utf8")
    last = entry("c", 1.0)
    last["extra_info"]["table"] = "memory"
    (results / "Linux-CPython-3.11-64bit" / "0003_run.json").write_text(
        json.dumps({**content, "datetime": "2026-01-04T00:00:00", "benchmarks": [last]}), encoding="utf8"
    )
    new = report.fill("<!-- table:training -->\n<!-- end -->", report.load(results))
    assert "| a | 7.00 |" in new
    assert "| b | 3.00 |" not in new


def test_bars_are_judged(report, results, capsys):
    rows = [
        report.bar_row(entry("a", value, **limits)["extra_info"]["bars"][0])
        for value, limits in [(1.9, {}), (2.0, {}), (4.0, {}), (9.0, {"aim": None}), (1.9, {"better": "lower"})]
    ]
    assert [row["result"] for row in rows] == ["**miss**", "pass", "pass, aim reached", "pass", "pass, aim reached"]
    assert report.check(report.load(results)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 bars, 0 missed"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0123456, "0.0123"),
        (0.5, "0.500"),
        (4.5678, "4.57"),
        (45.678, "45.7"),
        (97.531, "97.53"),
        (456.7, "456.7"),
        (123456.0, "123,000"),
        (11013994.6, "11,000,000"),
        (0.0, "0"),
        (1797, "1,797"),
        ("8-32-3", "8-32-3"),
        (None, "–"),
        (float("nan"), "nan"),
    ],
)
def test_cells(report, value, expected):
    assert report.text(value) == expected
