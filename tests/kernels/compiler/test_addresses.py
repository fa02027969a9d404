"""Addresses of arrays are those that NumPy gives."""

import numpy as np
import pytest

from fastnn_kernels.compiler.addresses import address_of

MATRIX = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    "array",
    [
        MATRIX,
        MATRIX[1:],
        MATRIX.T,
        MATRIX[:, ::2],
        np.frombuffer(bytes(56)),
        np.frombuffer(bytearray(57), np.uint8)[1:].view(np.float64),
        np.empty(0),
        np.empty((0, 7), np.float32),
        np.zeros((), np.int64),
        np.zeros(3, bool),
    ],
)
def test_an_address_is_the_one_that_numpy_gives(array):
    assert address_of(array) == array.ctypes.data


def test_an_array_can_be_resized_after_its_address_was_read():
    """No view of the memory stays behind, which would keep it from being moved."""
    array = np.zeros(5)
    address_of(array)
    array.resize(100_000, refcheck=False)
    assert address_of(array) == array.ctypes.data
