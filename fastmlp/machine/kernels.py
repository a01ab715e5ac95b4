"""Kernels: the compiled functions that Python calls, from where machine code is found to where it is called.

A kernel comes compiled with the package, or lies in the cache of an earlier process, or is compiled; what comes of it
is the same: an object file, which LLVM links into the process within milliseconds. Its arguments are 64-bit integers,
addresses among them; it needs neither Python nor Numba, and runs without Python's lock.
"""

import ctypes
import functools
import hashlib
import importlib.metadata
import logging
import os
import pathlib
import sys
import threading
from typing import NamedTuple

from .object_file import DIGEST, ENDING, PACKAGE, PREBUILT, ObjectCode, Unfit, cache_folders, read, write
from .target import TARGET

LOG = logging.getLogger("fastmlp")
SECONDS = {True: 10, False: 1}  # that compiling takes as a rule, of a kernel for numbers of a dtype and of another
KERNELS = []  # all that there are


class Found(NamedTuple):
    """Machine code, or why there is none.

    compiled : ObjectCode or None; origin : "prebuilt", "cache" or "compiled"; reasons : what was wrong with other files
    """

    compiled: ObjectCode | None
    origin: str
    reasons: list


class Kernel:
    """A function for Python to call, once it is loaded.

    Parameters
    ----------
    function : callable of integers
        An argument named `zero`, if any, is a number of the kernel's dtype and no argument of the machine code.

    Attributes
    ----------
    origins : dict of what each loaded dtype's machine code comes from
    """

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.py_func = function
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        self.arguments = [name for name in names if name != "zero"]
        self.dtypes = ("float32", "float64") if "zero" in names else ("",)
        self.name = f"{function.__module__}.{function.__name__}"
        self.origins = {}
        self._loaded = {}
        KERNELS.append(self)

    def load(self, dtype=""):
        """The machine code as a function of integers, for numbers of `dtype`; compiled if need be."""
        dtype = str(dtype)
        if dtype not in self._loaded:
            with LOCK:
                if dtype not in self._loaded:
                    self._loaded[dtype] = self._load(dtype)
        return self._loaded[dtype]

    def address(self, dtype=""):
        """Where the machine code lies, for other kernels to call; loaded, or compiled, if need be."""
        return ctypes.cast(self.load(dtype), ctypes.c_void_p).value

    def _load(self, dtype):
        _check_processor()
        found = self.find(dtype)
        if found.compiled is None:
            found = self._compile(dtype, found.reasons)
        self.origins[dtype] = found.origin
        return link(found.compiled.code, self.symbol(dtype), len(self.arguments))

    def symbol(self, dtype):
        """What the C function is called."""
        return "_".join(filter(None, ("fastmlp", self.__name__, dtype)))

    def stamp(self, dtype):
        """What machine code must say of itself to be this kernel's, wherever it lies."""
        return {
            "kernel": self.name,
            "dtype": dtype,
            "arguments": len(self.arguments),
            "sources": self._sources(),
            "level": TARGET.name,
            "cpu": TARGET.cpu,
            "features": TARGET.features,
            "system": TARGET.system,
        }

    def _sources(self):
        """Digest of what it is made from: the package's kernels, and its own file where that is another one."""
        path = pathlib.Path(self.py_func.__code__.co_filename)
        if path.is_relative_to(PACKAGE) or not path.is_file():
            return DIGEST
        return hashlib.sha256(DIGEST.encode() + path.read_bytes()).hexdigest()[:16]

    def file_name(self, dtype):
        """Of the machine code, in whatever folder."""
        return "-".join(filter(None, (self.name, dtype, TARGET.name))) + ENDING

    def find(self, dtype):
        """Machine code that lies ready: what came with the package, or what an earlier process has compiled."""
        reasons, name, stamp = [], self.file_name(dtype), self.stamp(dtype)
        for origin, folders in (("prebuilt", [PREBUILT]), ("cache", cache_folders())):
            expected = stamp if origin == "prebuilt" else {**stamp, "compiler": compiler_version()}
            for folder in folders:
                try:
                    compiled = read(folder / name, expected)
                    check_symbols(compiled)
                    return Found(compiled, origin, reasons)
                except Unfit as error:
                    reasons.append(f"{folder / name}: {error}")
                    LOG.debug("not used: %s", reasons[-1])
        return Found(None, "", reasons)

    def _compile(self, dtype, reasons):
        from .compiler import compile_kernel

        announce(self, dtype)
        compiled = compile_kernel(self, dtype)
        check_symbols(compiled)
        stamp = {**self.stamp(dtype), "compiler": compiler_version()}
        for folder in cache_folders():
            try:
                write(folder / self.file_name(dtype), stamp, compiled)
                break
            except OSError as error:
                LOG.debug("not kept in %s: %s", folder, error)
        return Found(compiled, "compiled", reasons)

    def status(self, dtype):
        """Where the machine code comes from, or would: a sentence for people."""
        if dtype in self.origins:
            return f"{self.origins[dtype]}, in use"
        found = self.find(dtype)
        if found.compiled is not None:
            return found.origin
        worth_saying = [reason for reason in found.reasons if not reason.endswith("there is none")]
        return "; ".join(["compiled when first used", *worth_saying])


def load_all(dtypes):
    """Load all kernels for numbers of these dtypes, compiling what is missing; returns {symbol: origin}."""
    origins = {}
    for kernel in KERNELS:
        for dtype in kernel.dtypes:
            if dtype in ("", *dtypes):
                kernel.load(dtype)
                origins[kernel.symbol(dtype)] = kernel.origins[dtype]
    return origins


def compile_into(folder, dtypes):
    """Compile all kernels for numbers of these dtypes into files of a folder: what a wheel brings."""
    from .compiler import compile_kernel

    for kernel in KERNELS:
        for dtype in kernel.dtypes:
            if dtype in ("", *dtypes):
                write(
                    pathlib.Path(folder) / kernel.file_name(dtype), kernel.stamp(dtype), compile_kernel(kernel, dtype)
                )


def entry(function):
    """Decorator: a function for Python to call as machine code; see `Kernel`."""
    return Kernel(function)


@functools.cache
def compiler_version():
    """Versions of what compiles here."""
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numba", "llvmlite"))


def _check_processor():
    if not TARGET.runs_here():
        raise RuntimeError(
            f"FASTMLP_TARGET={TARGET.name} asks for instructions that this processor does not have; "
            "unset it, or set it to 'native'."
        )


_announced = False


def announce(kernel, dtype):
    """Say on stderr what the process is waiting for, once; FASTMLP_QUIET keeps it silent."""
    global _announced
    LOG.info("compiling %s for %s", kernel.symbol(dtype), TARGET.name)
    if _announced or os.environ.get("FASTMLP_QUIET") or sys.stderr is None:
        return
    _announced = True
    what = f"the kernels for {dtype}" if dtype else "a kernel"
    try:
        print(
            f"fastmlp: compiling {what} ({TARGET.name}), once for this machine; this takes some "
            f"{SECONDS[bool(dtype)]} s (FASTMLP_QUIET=1 for silence).",
            file=sys.stderr,
            flush=True,
        )
    except (OSError, ValueError):  # a closed stream
        pass


# --- linking ----------------------------------------------------------------------------------------------------------


@functools.cache
def linker():
    """LLVM's engine that links object files into the process; what it has linked lives as long as the process."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def check_symbols(compiled):
    """Refuse machine code that calls what this process does not have: to link it would end the process.

    Raises
    ------
    Unfit
    """
    linker()  # which opens the process's own symbols
    from llvmlite.binding import address_of_symbol

    missing = [symbol for symbol in compiled.symbols if not address_of_symbol(symbol)]
    if missing:
        raise Unfit(f"it calls {', '.join(missing)}, which this process does not have")


def link(code, symbol, arguments):
    """A function of integers from an object file."""
    from llvmlite.binding import ObjectFileRef

    engine = linker()
    engine.add_object_file(ObjectFileRef.from_data(code))
    engine.finalize_object()
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * arguments)(engine.get_function_address(symbol))


# --- forks ------------------------------------------------------------------------------------------------------------

LOCK = threading.RLock()
FORK_PATIENCE = 60.0  # seconds that a fork waits for another thread that compiles
_held = False


def _before_fork():
    """Wait for a thread that compiles: the child would find a half-finished compilation that no thread completes."""
    global _held
    _held = LOCK.acquire(timeout=FORK_PATIENCE)


def _after_fork_in_parent():
    if _held:
        LOCK.release()


def _after_fork_in_child():
    global LOCK
    LOCK = threading.RLock()
    internals = sys.modules.get(f"{__package__}.numba_internals")
    if internals is not None:
        internals.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
