"""The command line: `fastmlp demo`, `fit`, `predict`, `info`, `warmup`; `python -m fastmlp` is the same.

Nothing heavy is imported before the arguments are read.
"""

import argparse
import codecs
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

SIGPIPE = 13  # which ends other programs there
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
    from .core import predictor, session  # noqa: F401 (whose kernels are listed)
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


def demos_by_line() -> str:
    """The demos, a line for each."""
    from .demos import DEMOS

    return "\n".join(f"{name:<11} {about}" for name, about in DEMOS.items())


def demo(arguments: argparse.Namespace) -> None:
    """Run the demo of that name, or list their names."""
    from .demos import Options, run

    if arguments.list:
        print(demos_by_line())
        return
    options = Options(arguments.epochs, arguments.mnist, arguments.output, arguments.quick, cache_folder())
    run(arguments.name, options)


def positive(text: str) -> int:
    """An integer from 1 up, for argparse."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more; got {text!r}")
    return int(text)


def writable_folder(text: str) -> pathlib.Path:
    """A folder that is there or can be made, for argparse: no demo should find out at its end that it cannot write."""
    folder = path = pathlib.Path(text)
    while not path.exists() and path != path.parent:
        path = path.parent
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder; {path} is a file")
    if not os.access(path, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"must be a folder that can be written; {path} cannot")
    return folder


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fastmlp demo`."""
    from .demos import DEMOS

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"demos:\n{demos_by_line()}"
    parser.add_argument(
        "name", nargs="?", choices=list(DEMOS), default="digits", metavar="NAME", help="its name (default: digits)"
    )
    parser.add_argument("--list", action="store_true", help="say what each demo shows")
    parser.add_argument("--quick", action="store_true", help="show everything on a small scale, within seconds")
    parser.add_argument("--epochs", metavar="N", type=positive, help="to train, at most (default: the demo's own)")
    parser.add_argument(
        "--output", metavar="FOLDER", type=writable_folder, default=pathlib.Path(), help="for figures (default: here)"
    )
    parser.add_argument("--mnist", metavar="FOLDER", type=pathlib.Path, help="the four files of MNIST, gzipped or not")


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """For a command that takes none."""


class Command(NamedTuple):
    """A command: what runs it, what `--help` says of it, and what adds its arguments."""

    run: Callable[[argparse.Namespace], None]
    about: str
    add_arguments: Callable[[argparse.ArgumentParser], None] = no_arguments


COMMANDS = {
    "demo": Command(demo, "Run a demo, or list them with what each shows.", demo_arguments),
    "info": Command(info, "Print versions, processor, vector width, threads, and where compiled kernels are kept."),
    "warmup": Command(warmup, "Compile every kernel in both precisions, or load what is there."),
}


def parser() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    from . import __version__
    from .tabular.command import add_arguments

    top = argparse.ArgumentParser(prog="fastmlp", description="scikit-learn's MLP, trained by fused Numba kernels.")
    top.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        text = command.about
        below = commands.add_parser(name, help=text[0].lower() + text[1:].rstrip("."), description=text)
        below.set_defaults(function=command.run)
        command.add_arguments(below)
    add_arguments(commands)
    return top


PLAIN = {"×": "x", "²": "^2", "→": "->", "–": "-", "−": "-", "π": "pi", "…": "...", "·": "*", "α": "alpha"}


def plain_letters(error: UnicodeError) -> tuple[str, int]:
    """What is printed for letters that the terminal's encoding has not."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter, "?") for letter in letters), error.end


def main(components: Sequence[str] | None = None) -> int:
    """Run the command in `components` (the process's own without it) and return the exit status."""
    from .demos import Interrupted
    from .demos.data import DataError
    from .tabular.command import TableError

    codecs.register_error("fastmlp.plain", plain_letters)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="fastmlp.plain")
    arguments = parser().parse_args(components)
    try:
        arguments.function(arguments)
        sys.stdout.flush()
    except (DataError, TableError) as error:
        print(f"fastmlp: error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Interrupted):
        print("fastmlp: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the answer wants no more of it; nor does the interpreter's last flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + SIGPIPE
    return 0


if __name__ == "__main__":
    sys.exit(main())
