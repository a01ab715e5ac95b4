"""The command line: `fastmlp demo`, `fit`, `predict`, `info`, `warmup`; `python -m fastmlp` is the same.

Nothing heavy is imported before the arguments are read.
"""

import argparse
import importlib.metadata
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Sequence

PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "scikit-learn")


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if answer:
            return answer
    return platform.processor() or platform.machine()


def cache_folder() -> str:
    """Where the machine code of the package's functions is kept between processes."""
    from .machine.object_file import cache_folder

    return str(cache_folder() or "nowhere: no folder can be written")


def facts() -> list[tuple[str, str]]:
    """What `fastmlp info` prints."""
    import numpy as np

    from . import __version__
    from .core import session  # noqa: F401 (whose kernels are listed)
    from .machine.cores import available_cores
    from .machine.kernels import KERNELS
    from .machine.target import REGISTERS, TARGET, lanes_of_dtype

    lanes = " or ".join(f"{lanes_of_dtype(np.dtype(name))} {name}" for name in ("float32", "float64"))
    return [
        ("fastmlp", __version__),
        ("Python", platform.python_version()),
        *((package, importlib.metadata.version(package)) for package in PACKAGES),
        ("processor", f"{processor()} ({platform.machine()})"),
        ("vectors", f"{REGISTERS.count} registers of {REGISTERS.bits} bits: {lanes} lanes"),
        ("threads", str(available_cores())),
        ("level", TARGET.name),
        *(("kernel", f"{k.symbol(dtype)}: {k.status(dtype)}") for k in KERNELS for dtype in k.dtypes),
        ("cache", cache_folder()),
    ]


def info(arguments: argparse.Namespace) -> None:
    """Print versions, processor, vector width, threads, cache folder, and where each kernel comes from."""
    for name, value in facts():
        print(f"{name:<13} {value}")


def warmup(arguments: argparse.Namespace) -> None:
    """Compile every kernel in both precisions, or load what is there."""
    from . import warmup as load

    for dtype in ("float32", "float64"):
        print(f"{dtype} ...", end=" ", flush=True)
        start = time.perf_counter()
        load([dtype])
        print(f"{time.perf_counter() - start:.1f} s", flush=True)
    print(f"cached at {cache_folder()}")


def demo(arguments: argparse.Namespace) -> None:
    """Run the demo of that name, or list their names."""
    from .demos import DEMOS, Options, run

    if arguments.list:
        for name, about in DEMOS.items():
            print(f"{name:<11} {about}")
        return
    options = Options(arguments.epochs, arguments.mnist, arguments.output, arguments.quick, cache_folder())
    run(arguments.name, options)


def positive(text: str) -> int:
    """An integer from 1 up, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more; got {number}")
    return number


def parser() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    from .demos import DEMOS

    top = argparse.ArgumentParser(prog="fastmlp", description="scikit-learn's MLP, trained by fused Numba kernels.")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    about = {"demo": demo, "info": info, "warmup": warmup}
    parsers = {}
    for name, function in about.items():
        text = (function.__doc__ or "").strip()
        parsers[name] = commands.add_parser(name, help=text[0].lower() + text[1:].rstrip("."), description=text)
        parsers[name].set_defaults(function=function)
    from .tabular.command import add_arguments

    add_arguments(commands)
    demos = parsers["demo"]
    demos.add_argument("name", nargs="?", choices=list(DEMOS), default="digits", help="its name (default: digits)")
    demos.add_argument("--list", action="store_true", help="say what each demo shows")
    demos.add_argument("--quick", action="store_true", help="show everything on a small scale, within seconds")
    demos.add_argument("--epochs", metavar="N", type=positive, help="to train, at most (default: the demo's own)")
    demos.add_argument("--output", metavar="FOLDER", type=pathlib.Path, default=".", help="for figures (default: here)")
    demos.add_argument("--mnist", metavar="FOLDER", type=pathlib.Path, help="the four files of MNIST, gzipped or not")
    return top


def main(components: Sequence[str] | None = None) -> int:
    """Run the command in `components` (the process's own without it) and return the exit status."""
    from .demos import Interrupted
    from .demos.data import DataError
    from .tabular.command import TableError

    arguments = parser().parse_args(components)
    try:
        arguments.function(arguments)
    except (DataError, TableError) as error:
        print(f"fastmlp: error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Interrupted):
        print("fastmlp: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
