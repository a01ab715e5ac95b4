"""What kernels are written with, without Numba: it is imported when something must be compiled, and not before.

`inlined` marks everything beneath an entry function: components, kernels, phases. `intrinsic` marks what writes LLVM
code itself. `types` and `cgutils` are Numba's modules of these names. `with_numba` keeps registrations until
Numba is there.
"""

import functools
import importlib
import threading

# Training must still see a NaN, so neither "nnan" nor "ninf"; and no "reassoc": the order of summation is ours.
FASTMATH = {"contract", "nsz", "arcp"}


class _Module:
    """A module that is imported when something of it is first asked for."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        return getattr(importlib.import_module(self._name), name)


types = _Module("numba.core.types")
cgutils = _Module("numba.core.cgutils")
_internals = _Module(f"{__package__}.numba_internals")
vector_types = _Module(f"{__package__}.vector_types")

_LOCK = threading.RLock()
_pending = []  # registrations to be made with Numba; None once they are made


def with_numba(registration):
    """Decorator: run a function without arguments once, when Numba is there; now, if it is."""
    with _LOCK:
        if _pending is not None:
            _pending.append(registration)
            return registration
    registration()
    return registration


def load_numba():
    """Import Numba and register with it what kernels need: vectors, pointers, components."""
    global _pending
    with _LOCK:
        if _pending is not None:
            vector_types.VECTORS  # noqa: B018 (imported)
            registrations, _pending = _pending, None
            for registration in registrations:
                registration()
            _internals.refresh()


class Inlined:
    """A function that is compiled into whatever calls it.

    Attributes
    ----------
    py_func : the function itself
    """

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.py_func = function
        self._dispatchers = {}

    @property
    def _numba_type_(self):
        """What Numba takes it for: asked when a caller is compiled, for the processor that the caller is meant for."""
        load_numba()
        context = _internals.target_in_use()
        if context not in self._dispatchers:
            self._dispatchers[context] = _internals.part_dispatcher(self.py_func)
        return types.Dispatcher(self._dispatchers[context])


class Intrinsic:
    """A function of compiled code, (typing context, *types) -> (signature, what writes its LLVM code)."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self._function = function

    @functools.cached_property
    def _numba_type_(self):
        load_numba()
        return _internals.intrinsic_type(self._function)


def new_part(codegen, name):
    """A library of LLVM code to be linked into others."""
    return _internals.part(codegen, name)


def callable_from_compiled(function):
    """Let Numba's compiled code of a user call `function`, whose numbers from outside become constants."""
    return _internals.callable_from_compiled(function)


inlined = Inlined
intrinsic = Intrinsic


def __getattr__(name):
    """OPTIONS, those of Numba's `njit`; whoever asks for them is about to compile something."""
    if name == "OPTIONS":
        load_numba()
        return _internals.OPTIONS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
