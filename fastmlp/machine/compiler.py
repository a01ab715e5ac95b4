"""From a kernel's source to an object file: the one place that needs Numba."""

from .jit import load_numba
from .object_file import ObjectCode


def compile_kernel(kernel, dtype):
    """The ObjectCode of a kernel for numbers of `dtype`."""
    load_numba()
    from numba import types

    from .numba_internals import object_code

    names = kernel.py_func.__code__.co_varnames[: kernel.py_func.__code__.co_argcount]
    kinds = [getattr(types, dtype) if name == "zero" else types.int64 for name in names]
    constants = {n: 0.0 for n, name in enumerate(names) if name == "zero"}
    code, symbols = object_code(kernel.py_func, kinds, kernel.symbol(dtype), constants)
    return ObjectCode(code, tuple(sorted(symbols)))
