"""Machine code of a user's own components: one function each, made when it is first used, called by its address.

The kernels know the package's components by their place in tables of constants, whatever else is registered. Any other
code that they are given is the address of such a function, so that nothing of the kernels is compiled again.
"""

import itertools

from llvmlite import ir

from .elementwise import elementwise_function, pointer_function
from .jit import load_numba
from .kernels import LOCK, linker

_ADDRESSES = {}  # by component, dtype and kind
_NUMBERS = itertools.count()


def elementwise_address(key, component, streams, dtype):
    """Address of the loops over one component, for `elementwise_dispatch` with so many streams.

    Parameters
    ----------
    key : hashable, what the function depends on
    component : ElementwiseFunction
    streams : how many each call has
    dtype : numpy.dtype of the numbers
    """
    return _address((key, streams, dtype), dtype, lambda vector: elementwise_function(component, streams, vector))


def vector_address(key, function, arity, results, dtype):
    """Address of a function of `arity` vectors that gives `results` vectors, for `vector_dispatch`."""
    return _address((key, arity, dtype), dtype, lambda vector: pointer_function(function, arity, results, vector))


def _address(key, dtype, parts):
    """The address of a function, made at the first call; `parts` gives its LLVM type and what writes its body."""
    with LOCK:
        if key not in _ADDRESSES:
            load_numba()
            from numba import from_dtype

            from . import numba_internals
            from .vector_types import VECTORS

            vector = VECTORS[from_dtype(dtype)]
            kind, body = parts(vector)
            symbol = f"fastmlp_own_{next(_NUMBERS)}"

            def write(module):
                body(ir.Function(module, kind, symbol), vector)

            _ADDRESSES[key] = _link(numba_internals.object_code_of(write, symbol), symbol)
        return _ADDRESSES[key]


def _link(code, symbol):
    """Link an object file into the process; it stays there. Returns the address of a symbol."""
    from llvmlite.binding import ObjectFileRef

    engine = linker()
    engine.add_object_file(ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address(symbol)
