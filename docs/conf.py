"""Settings of Sphinx: `sphinx-build -W docs docs/_build` makes the pages, and a warning is an error.

The pages are written in Markdown (MyST), the figures are drawn and the demos run while the pages are built; the
reference comes from the docstrings.
"""

import importlib
import importlib.util
import inspect
import itertools
import os
import pathlib
import re
import shutil
import sys

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

import fastmlp
from fastmlp.demos import DEMOS
from fastmlp.estimators.parameters import REGISTRIES
from fastmlp.plotting import COLOURS, GREY

HERE = pathlib.Path(__file__).resolve().parent

# The pages are the same wherever they are built: demos find no data but scikit-learn's, and draw no bar.
os.environ.pop("FASTMLP_DATA", None)
os.environ["FASTMLP_QUIET"] = "1"
sys.path.insert(0, str(HERE / "figures"))

project = "fastmlp"
author = "fastmlp developers"
copyright = author
version = release = fastmlp.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "demos", "figures", "examples/*.py", "sg_execution_times.rst"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
default_role = "py:obj"  # of docstrings: a name between backticks is a link, where there is one to lead to

# --- the reference, from docstrings -----------------------------------------------------------------------------------

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections have the types
autodoc_inherit_docstrings = False  # a component's methods are explained once, in the class of its kind
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# --- figures and demos ------------------------------------------------------------------------------------------------

plot_formats = [("png", 150)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_working_directory = str(HERE)
plot_rcparams = {"figure.constrained_layout.use": True, "font.size": 9}
plot_apply_rcparams = True


def saved_figures(block, block_vars, gallery_conf):
    """What a demo has saved beside its script, as images of its page."""
    folder = pathlib.Path(block_vars["src_file"]).parent
    taken = []
    for path, place in zip(sorted(folder.glob("*.png"), key=os.path.getmtime), block_vars["image_path_iterator"]):
        shutil.move(path, place)
        taken.append(place)
    return "\n".join(figure_rst([path], gallery_conf["src_dir"]) for path in taken)


class DemoOrder:
    """Sort key of the demos: the order in which `fastmlp demo --list` names them."""

    def __init__(self, src_dir):
        self.files = [f"plot_{name.replace('-', '_')}.py" for name in DEMOS]

    def __call__(self, filename):
        return self.files.index(filename)


def drawn_network(path):
    """Save the picture of a small network, for demos without figures."""
    figure = Figure(figsize=(4, 2.8))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    levels = [[(x, y - (n - 1) / 2) for y in range(n)] for x, n in enumerate((4, 5, 5, 2))]
    for below, above in itertools.pairwise(levels):
        for start, stop in itertools.product(below, above):
            ax.plot(*zip(start, stop), color=GREY, linewidth=0.8, zorder=1)
    for level, colour in zip(levels, COLOURS):
        ax.scatter(*zip(*level), s=250, color=colour, zorder=2)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
    return str(path)


sphinx_gallery_conf = {
    "examples_dirs": "demos",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "within_subsection_order": DemoOrder,
    "default_thumb_file": drawn_network(HERE / "_build" / "network.png"),
    "image_scrapers": (saved_figures,),
    "matplotlib_animations": False,
    "download_all_examples": False,
    "write_computation_times": False,  # how long a demo ran is no property of the package
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "plot_gallery": True,
    "abort_on_example_error": True,
    "parallel": False,
}

# --- pages ------------------------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"fastmlp {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False

suppress_warnings = ["config.cache"]  # the gallery's settings hold functions

# --- docstrings: plain formulas ---------------------------------------------------------------------------------------

LITERAL = re.compile(r"(``.*?``|`[^`]+`_?)")
MARKUP = re.compile(r"(?<![\\\w*])\*(?=\w)|(?<!\\)\|(?=\S)|(?<=\S)\||(?<=\w)_(?![\w`])")


def escape_formulas(app, what, name, obj, options, lines):
    """Formulas stand in docstrings as one reads them, |y - t|, t_ or (*states): no markup of reStructuredText."""
    for place, line in enumerate(lines):
        if line.lstrip().startswith(("..", ">>>", "...", ":")):
            continue
        parts = LITERAL.split(line)
        parts[::2] = [MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
        lines[place] = "".join(parts)


def name_sources(app, what, name, obj, options, lines):
    """A paragraph "Source: ..." below a section is a section of its own."""
    sections = [place for place, line in enumerate(lines) if re.fullmatch(r"-{3,}", line)]
    for place in range(len(lines) - 1, 0, -1):
        above = [section for section in sections if section < place]
        if re.match(r"Sources?: ", lines[place]) and above and lines[above[-1] - 1] not in ("Notes", "References"):
            lines[place:place] = ["Notes", "-----"]


def name_components(app, what, name, obj, options, lines):
    """By which name a component is chosen, behind the first paragraph of its docstring."""
    for parameter, registry in REGISTRIES.items():
        names = [chosen for chosen, cls in registry.items() if cls is obj and chosen != "gradient"]
        if names and f'{parameter}="{names[0]}"' not in "".join(lines):
            end = lines.index("") if "" in lines else len(lines)
            ways = " or ".join(f'``{parameter}="{chosen}"``' for chosen in names)
            lines[end:end] = ["", f"By name: {ways}."]


def sort_by_source(module):
    """Let a module's classes and functions stand in the order of its source: what is general comes first."""

    def line(name):
        value = getattr(module, name)
        return inspect.getsourcelines(value)[1] if inspect.isclass(value) or inspect.isfunction(value) else 0

    module.__all__.sort(key=line)


def skip_member(app, what, name, obj, skip, options):
    """Leave out the fields of named tuples, which their classes explain, and what estimators inherit from sklearn."""
    field = (getattr(obj, "__doc__", None) or "").startswith("Alias for field number")
    return True if field or (getattr(obj, "__module__", None) or "").startswith("sklearn") else None


# --- tables of measurements -------------------------------------------------------------------------------------------


def fill_tables(app, name, source):
    """Fill the marked tables of a page from bench_results, as benchmarks/report.py does in the README."""
    specification = importlib.util.spec_from_file_location("report", HERE.parent / "benchmarks" / "report.py")
    report = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(report)
    source[0] = report.fill(source[0], report.load(report.RESULTS))


def setup(app):
    """What Sphinx calls at its start."""
    app.connect("source-read", fill_tables)
    app.connect("autodoc-skip-member", skip_member)
    for name in (
        "components",
        *(registry.classes[0].__module__.rpartition(".")[2] for registry in REGISTRIES.values()),
    ):
        sort_by_source(importlib.import_module(f"fastmlp.{name}"))
    app.connect("autodoc-process-docstring", name_components, priority=200)
    app.connect("autodoc-process-docstring", name_sources, priority=300)
    app.connect("autodoc-process-docstring", escape_formulas, priority=400)  # before numpydoc
