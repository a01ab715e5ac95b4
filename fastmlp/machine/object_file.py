"""Files of machine code: written whole, and read only if every bit of them is as it was written.

A file is a digest (SHA-256) of all that follows it; one line of JSON, the stamp, which says what the code was made from
and for; and an object file of the system's own format. What a loader expects is a stamp, and nothing else will do:
machine code of doubtful origin crashes a process, while compiling takes seconds.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import sys
import tempfile
from typing import NamedTuple

ENDING = ".kernel"
PACKAGE = pathlib.Path(__file__).resolve().parent.parent
PREBUILT = pathlib.Path(__file__).resolve().parent / "prebuilt"

# What machine code is made of, beside components: the rest of the package only calls it.
PARTS = ("machine", "core")
DRIVERS = (
    "core/network.py",
    "core/passes.py",
    "core/predictor.py",
    "core/session.py",
    "core/step_time.py",
    "machine/cores.py",
    "machine/kernels.py",
    "machine/object_file.py",
    "machine/pacing.py",
    "machine/worker.py",
)


class Unfit(Exception):
    """A file that must not be used; says why."""


def kernel_sources(root):
    """Files that machine code is made of: the compiler, the passes, and components, which lie beside these folders."""
    paths = [*root.glob("*.py"), *(path for part in PARTS for path in (root / part).glob("*.py"))]
    components = {path for path in root.glob("*.py") if "from .machine.elementwise import" in path.read_text("utf8")}
    return sorted(
        path
        for path in paths
        if (path.parent != root or path in components) and path.relative_to(root).as_posix() not in DRIVERS
    )


def digest_of(root):
    """Digest of the kernels' sources: what code was made from."""
    digest = hashlib.sha256()
    for path in kernel_sources(root):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


DIGEST = digest_of(PACKAGE)


class ObjectCode(NamedTuple):
    """An object file's bytes, and the symbols that it asks the process for."""

    code: bytes
    symbols: tuple


def pack(stamp, compiled):
    """The bytes of a file."""
    line = {**stamp, "size": len(compiled.code), "symbols": [*compiled.symbols]}
    rest = json.dumps(line, sort_keys=True).encode() + b"\n" + compiled.code
    return hashlib.sha256(rest).digest() + rest


def unpack(data, stamp):
    """The ObjectCode in the bytes of a file.

    Raises
    ------
    Unfit
        If a bit of it is wrong, or it was made for or from something else.
    """
    expected, rest = data[:32], data[32:]
    if hashlib.sha256(rest).digest() != expected:
        raise Unfit("its checksum is wrong")
    line, _, code = rest.partition(b"\n")
    found = json.loads(line)
    if found.pop("size") != len(code):
        raise Unfit("its size is wrong")
    for name, value in stamp.items():
        if found.get(name) != value:
            raise Unfit(f"its {name} is {found.get(name)!r}, not {value!r}")
    return ObjectCode(code, tuple(found["symbols"]))


def read(path, stamp):
    """The ObjectCode of a file.

    Raises
    ------
    Unfit
        If it must not be used, or is not there.
    """
    try:
        return unpack(path.read_bytes(), stamp)
    except FileNotFoundError:
        raise Unfit("there is none") from None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise Unfit(f"it cannot be read ({error})") from error


def write(path, stamp, compiled):
    """Write a file as a whole, or raise an OSError and leave none.

    Other processes see the file of before or the new one, whatever happens to this one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pack(stamp, compiled))
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def user_folder():
    """Where the system keeps caches of this user; None where it does not say so with an absolute path."""
    environment = os.environ
    try:
        if sys.platform == "win32":
            base = pathlib.Path(environment.get("LOCALAPPDATA", ""))
        elif sys.platform == "darwin":
            base = pathlib.Path.home() / "Library" / "Caches"
        else:
            base = (
                pathlib.Path(environment["XDG_CACHE_HOME"])
                if environment.get("XDG_CACHE_HOME")
                else (pathlib.Path.home() / ".cache")
            )
    except RuntimeError:  # no home
        return None
    return base / "fastmlp" if base.is_absolute() else None


def cache_folders():
    """Where compiled kernels may be kept: NUMBA_CACHE_DIR alone where it is set, else beside this file, else at home.

    They are looked up in each, and kept in the first that can be written.
    """
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return [pathlib.Path(named).absolute() / "fastmlp"]
    return [folder for folder in (pathlib.Path(__file__).resolve().parent / "__pycache__", user_folder()) if folder]


def cache_folder():
    """The folder where kernels are kept that are compiled now; None where none can be written."""
    for folder in cache_folders():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return None
