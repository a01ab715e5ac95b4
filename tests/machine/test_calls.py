"""One kernel calls another by its address, as the engine calls the passes that only some networks need."""

import numpy as np
import pytest
from source_files import module_of

SOURCE = """
import numpy as np
from fastmlp.machine.calls import call
from fastmlp.machine.kernels import entry
from fastmlp.machine.simd import number_like, pointer

@entry
def called(zero, number, place, table):
    x = pointer(pointer(table, np.int64(0))[0], zero)
    x[place] = number_like(x, number / 4)
    return 10 * number

@entry
def caller(kernel, first, last, table):
    total = 0
    for place in range(first, last):
        total += call(kernel, place + 1, place, pointer(table, np.int64(0)))
    return total
"""


@pytest.fixture
def kernels(file_of):
    """The module of the source."""
    return module_of(file_of(SOURCE))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_kernel_calls_another(kernels, dtype):
    """For each dtype the one of its own, with a table that leads to numbers; what it returns comes back."""
    numbers = np.full(6, -1, dtype)
    table = np.array([numbers.ctypes.data])
    result = kernels.caller.load()(kernels.called.address(dtype), 1, 5, table.ctypes.data)
    np.testing.assert_array_equal(numbers, np.array([-1, 0.5, 0.75, 1, 1.25, -1], dtype))
    assert result == 10 * (2 + 3 + 4 + 5)


def test_an_address_is_that_of_the_loaded_code(kernels):
    assert kernels.called.address("float32") == kernels.called.address("float32")
    assert kernels.called.address("float32") != kernels.called.address("float64")
    assert kernels.called.origins == {"float32": "compiled", "float64": "compiled"}
