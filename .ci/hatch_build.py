"""The build hook: wheels contain the kernels' machine code, so that a first fit compiles nothing.

`FASTMLP_PREBUILT` says for which instruction-set levels (see fastmlp/machine/target.py):

- host (default): the best level of the processor that builds
- all: all levels that LLVM can write code for here, other architectures included
- none: no machine code; the first fit compiles

Each level and dtype is compiled in a process of its own, some at a time. Where that fails the wheel is built without
machine code, and a warning says why. Editable installs have none: their sources change.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CHOICES = ("host", "all", "none")
DTYPES = ("float32", "float64")
INSIDE = "fastmlp/machine/prebuilt"
COMPILE = """
import sys
import fastmlp.core.session, fastmlp.core.predictor
from fastmlp.machine.kernels import compile_into
compile_into(sys.argv[1], sys.argv[2:])
"""
LEVELS = """
import sys
from fastmlp.machine.target import LEVELS, best_level, own_architecture
print(*(LEVELS if sys.argv[1] == "all" and own_architecture() else [best_level() or ""]))
"""


def choice():
    """What FASTMLP_PREBUILT asks for."""
    value = os.environ.get("FASTMLP_PREBUILT") or CHOICES[0]
    if value not in CHOICES:
        raise ValueError(f"FASTMLP_PREBUILT must be one of {', '.join(map(repr, CHOICES))}; got {value!r}.")
    return value


class Worker:
    """A process that runs a program with the package's source importable."""

    def __init__(self, root, program, *arguments, **environment):
        own = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "FASTMLP_"))}
        path = os.pathsep.join(filter(None, (str(root), own.get("PYTHONPATH"))))
        own |= {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "FASTMLP_QUIET": "1"} | environment
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def answer(self):
        """What it printed; RuntimeError with its last line where it failed."""
        out, err = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError((err.strip().splitlines() or [f"exit status {self._process.returncode}"])[-1])
        return out.strip()


def compile_all(root, folder, levels):
    """Files of machine code for these levels, both dtypes, in a folder; as many processes at a time as cores."""
    waiting = [(level, dtype) for level in levels for dtype in DTYPES]
    while waiting:
        now, waiting = waiting[: os.cpu_count() or 1], waiting[os.cpu_count() or 1 :]
        workers = [Worker(root, COMPILE, folder, dtype, FASTMLP_TARGET=level) for level, dtype in now]
        errors = []
        for worker in workers:
            try:
                worker.answer()
            except RuntimeError as error:
                errors.append(error)
        if errors:
            raise errors[0]


class KernelsHook(BuildHookInterface):
    """Compile the kernels into the wheel."""

    PLUGIN_NAME = "custom"
    folder = None

    def dependencies(self):
        """What the compiler needs."""
        return [] if choice() == "none" else ["numba>=0.62", "numpy>=1.24", "scipy>=1.10"]

    def initialize(self, version, build_data):
        """Compile, and name what the wheel takes in."""
        asked = choice()
        if self.target_name != "wheel" or version == "editable" or asked == "none":
            return
        root = pathlib.Path(self.root)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fastmlp-kernels-"))
        try:
            levels = Worker(root, LEVELS, asked).answer().split()
            if not levels:
                raise RuntimeError("this processor has none of the levels that kernels are built for")
            self.app.display_info(f"compiling kernels for {', '.join(levels)}")
            compile_all(root, self.folder, levels)
        except (OSError, RuntimeError) as error:
            self.app.display_warning(f"fastmlp is built without machine code, its first fit will compile it: {error}")
            return
        for path in sorted(self.folder.iterdir()):
            build_data["force_include"][str(path)] = f"{INSIDE}/{path.name}"
        if asked == "host":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag()}"

    def finalize(self, version, build_data, artifact_path):
        """Leave nothing behind."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def platform_tag():
    """The wheel tag of the system that builds."""
    if sys.platform == "darwin":
        from packaging.tags import platform_tags

        return next(iter(platform_tags()))
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
