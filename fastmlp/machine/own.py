"""Machine code of a user's own components: one function each, made when it is first used, called by its address.

The kernels know the package's components by their place in tables of constants, whatever else is registered. Any other
code that they are given is the address of such a function, so that nothing of the kernels is compiled again.
"""

import itertools
from numbers import Real

from llvmlite import ir

from .elementwise import elementwise_function, pointer_function
from .kernels import LOCK, linker
from .simd import Lanes, full_like

_ADDRESSES = {}  # by component, dtype and kind
_NUMBERS = itertools.count()


class TracingError(TypeError):
    """A function of vectors that cannot be compiled; says why."""


def elementwise_address(key, component, streams, dtype, name):
    """Address of the loops over one component, for `elementwise_dispatch` with so many streams.

    Parameters
    ----------
    key : hashable, what the function depends on
    component : ElementwiseFunction
    streams : how many each call has
    dtype : numpy.dtype of the numbers
    name : of the function of vectors, for errors

    Raises
    ------
    TypeError
        If the function cannot be traced, or gives something else than so many vectors.
    """
    function = checked(component.function, len(component.outputs), name)
    component = component._replace(function=function)
    return _address((key, streams, dtype), dtype, lambda vector: elementwise_function(component, streams, vector))


def vector_address(key, function, arity, results, dtype, name):
    """Address of a function of `arity` vectors that gives `results` vectors, for `vector_dispatch`.

    Parameters and errors as in `elementwise_address`.
    """
    function = checked(function, results, name)
    return _address((key, arity, dtype), dtype, lambda vector: pointer_function(function, arity, results, vector))


def checked(function, results, name):
    """A function of vectors that gives a tuple of so many vectors, or a TypeError in one sentence.

    A number among its results stands for a vector full of it.
    """

    def call(*arguments):
        try:
            found = function(*arguments)
        except TracingError:
            raise
        except Exception as error:
            raise TracingError(
                f"{name} must be made of operators and of the functions in fastmlp.machine.simd and "
                f"fastmlp.machine.elementary; it failed with {type(error).__name__}: {error}."
            ) from error
        like = arguments[-1]
        found = [full_like(like, each) if isinstance(each, Real) else each for each in _listed(found)]
        if [_kind(each) for each in found] != ["vector"] * results:
            raise TracingError(f"{name} must give {results} vectors; got {', '.join(map(_kind, found)) or 'nothing'}.")
        return tuple(found)

    return call


def _listed(found):
    return found if isinstance(found, tuple | list) else [found]


def _kind(value):
    """What a value is: "vector", "mask" or the name of its type."""
    return type(value.kind if isinstance(value, Lanes) else value).__name__.lower()


def _address(key, dtype, parts):
    """The address of a function, made at the first call; `parts` gives its LLVM type and what writes its body.

    Functions are traced: nothing is registered with Numba, which takes longer than all the rest.
    """
    with LOCK:
        if key not in _ADDRESSES:
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
