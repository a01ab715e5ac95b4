"""Numba's options, in one place, and a disk cache that never stands in the way.

`inlined` marks everything beneath an entry function: components, kernels, phases. `entry` marks the few functions that
Python calls; only they are cached, and all that they call lives inside them.
"""

import hashlib
import os
import pathlib

import llvmlite
import numba
from numba import njit
from numba.core import caching
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

# Training must still see a NaN, so neither "nnan" nor "ninf"; and no "reassoc": the order of summation is ours.
FASTMATH = {"contract", "nsz", "arcp"}
OPTIONS = {
    "nogil": True,
    "fastmath": FASTMATH,
    "error_model": "numpy",
    "boundscheck": False,
    "_nrt": False,
    "no_cfunc_wrapper": True,
}


# What machine code is made of, beside components: the rest of the package only calls it.
PARTS = ("machine", "core")
DRIVERS = ("core/network.py", "core/predictor.py", "core/session.py")


def _kernel_sources(root):
    """Files that machine code is made of: the compiler, the passes, and components, which lie beside these folders."""
    paths = [*root.glob("*.py"), *(path for part in PARTS for path in (root / part).glob("*.py"))]
    components = {path for path in root.glob("*.py") if "from .machine.elementwise import" in path.read_text("utf8")}
    return sorted(
        path
        for path in paths
        if (path.parent != root or path in components) and path.relative_to(root).as_posix() not in DRIVERS
    )


def _digest():
    """Digest of the kernels' sources and of the compiler's versions: the cache's measure of freshness."""
    root = pathlib.Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for path in _kernel_sources(root):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


DIGEST = _digest()


class _PackageLocator:
    """Where a cached function lies; fresh as long as no source of the package has changed."""

    def get_source_stamp(self):
        return DIGEST

    def get_disambiguator(self):
        return DIGEST


class _Provided(_PackageLocator, caching.UserProvidedCacheLocator):
    pass


class _InTree(_PackageLocator, caching.InTreeCacheLocator):
    pass


class _UserWide(_PackageLocator, caching.UserWideCacheLocator):
    def ensure_cache_path(self):
        if not os.path.isabs(self.get_cache_path()):  # an empty XDG_CACHE_HOME would mean the working directory
            raise OSError("the user's cache folder has no absolute path")
        super().ensure_cache_path()


class _PackageCacheImpl(caching.CompileResultCacheImpl):
    _locator_classes = [_Provided, _InTree, _UserWide]


class PackageCache(caching.FunctionCache):
    """Numba's disk cache of one function; whatever goes wrong with it, the answer is to compile.

    Stock `cache=True` notices edits only in the function's own file, fails for ever on a truncated file and raises at
    import where no directory can be written.
    """

    _impl_class = _PackageCacheImpl

    def load_overload(self, sig, target_context):
        """The machine code, or None.

        Numba would first import all that it needs to compile, a tenth of a second; machine code needs none of that.
        """
        try:
            found = self._load_overload(sig, target_context)
        except Exception:
            return None
        return found if found is not None and tuple(found.signature.args) == tuple(sig) else None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except Exception:  # a truncated index, a full disk: start over once, else run uncached
            try:
                self.flush()
                super().save_overload(sig, data)
            except Exception:
                self.disable()


class _Environments:
    """Numba's code generator for functions that have no Python environment: they neither raise nor call Python."""

    def __init__(self, codegen):
        self._codegen = codegen

    def __getattr__(self, name):
        return getattr(self._codegen, name)

    def set_env(self, name, environment):
        """Nothing to set."""


class _Part(JITCodeLibrary):
    """LLVM code that only lives inside other code: optimized and turned into machine code there, once.

    Numba does both for every function; leaving it out halves the time of a first fit.
    """

    @property
    def codegen(self):
        return _Environments(self._codegen)

    def get_pointer_to_function(self, name):
        return 0

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True


def part(codegen, name):
    """A library of LLVM code to be linked into others."""
    return _Part(codegen, name)


class _PartCompiler(Compiler):
    """Numba's compiler, into a `_Part`."""

    def compile_extra(self, func):
        self.state.library = part(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


def inlined(function):
    """Compile `function` into whatever calls it."""
    return njit(no_cpython_wrapper=True, forceinline=True, pipeline_class=_PartCompiler, **OPTIONS)(function)


def entry(function):
    """Compile `function` for Python to call, and keep the machine code on disk."""
    dispatcher = njit(**OPTIONS)(function)
    try:
        dispatcher._cache = PackageCache(function)
    except RuntimeError:  # no directory can be written: compile in every process
        pass
    return dispatcher


def compiled(dispatcher, *arguments):
    """The machine code of an entry function for arguments of these types, to be called with no further look at them."""
    kinds = tuple(numba.typeof(argument) for argument in arguments)
    if kinds not in dispatcher.overloads:
        dispatcher.compile(kinds)
    return dispatcher.overloads[kinds].entry_point


def callable_from_compiled(function):
    """Let Numba's compiled code of a user call `function`, whose numbers from outside become constants."""
    return njit(nogil=True)(function)
