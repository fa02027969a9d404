"""Operations on vectors, and bounds checking of every kind of access to an array."""

import numba
import numpy as np
import pytest
from processes import run_python
from strategies import padded

from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.vectors.processor import IS_AARCH64, IS_X86, flush_subnormals, restore_mode
from fastnn_kernels.vectors.value import fill
from fastnn_kernels.vectors.vector import load, store


@pytest.mark.skipif(not (IS_X86 or IS_AARCH64), reason="this processor cannot flush subnormal numbers")
def test_subnormals_are_zero_only_between_flush_and_restore(dtype):
    @numba.njit(**OPTIONS)
    def run(x, out):
        mode = flush_subnormals()
        store(out, 0, 0, load(x, 0, 0) * fill(x, 0.5))
        restore_mode(mode)
        store(out, 1, 0, load(x, 0, 0) * fill(x, 0.5))

    tiny = np.finfo(dtype).tiny
    x = np.full((1, padded(1, dtype)), tiny, dtype)
    out = np.ones((2, x.shape[1]), dtype)
    run(x, out)
    assert (out[0, 0], out[1, 0]) == (0, tiny / 2)
    assert (x * dtype.type(0.5)).all(), "Python computes with subnormal numbers again"


# A product of 2 inputs and 16 outputs with a number of packed weights.
PACKED_PRODUCT = (
    "product_forward(matrix, view(flat, 0, 1, 16), view(flat, 0, 2, 8), view(flat, 0, 1, {}), tile)"
)
# Statements that access an array out of bounds, and two that do not.
ACCESSES = {
    "load beyond a row": "load(matrix, 1, 16)",
    "load beyond the rows": "load(matrix, 2, 0)",
    "load before the row": "load(matrix, 1, -1)",
    "several vectors beyond a row": "load_several(matrix, 1, 8, 4)",
    "view beyond the end": "view(flat, 20, 2, 8)",
    "view before the beginning": "view(flat, -1, 2, 8)",
    "row beyond the rows": "row(matrix, 2)",
    "store beyond a row": "store(matrix, 1, 16, load(matrix, 0, 0))",
    "store of several beyond a row": "store(matrix, 1, 12, load_several(matrix, 0, 0, 2))",
    "integers beyond a row": "store_integers(numbers, 0, 14, load(matrix, 0, 0))",
    "product of matrices that do not fit": "product_forward(matrix, matrix, matrix, None, matrix)",
    "product of packed weights of another size": PACKED_PRODUCT.format(23),
    "backward product of matrices that do not fit": "product_backward(matrix, matrix, matrix)",
    "outer product of matrices that do not fit": "outer_product(matrix, matrix, matrix, True)",
    "outer sums beyond the columns": "add_outer_sums(1, 2, matrix, matrix, matrix, 0, 1)",
    "row sum beyond the rows": "add_row_sum(matrix, matrix, 2)",
    "gathering a sample that does not exist": "gather_tile(matrix, order, 0, 3, tile)",
    "copying a sample that does not exist": "copy_tile(matrix, 1, 2, tile)",
    "load within a row": "load(matrix, 1, 8)",
    "product of packed weights": PACKED_PRODUCT.format(24),
}
WITHIN = {"load within a row", "product of packed weights"}


PROGRAM = """
import numba, numpy as np
from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.vectors.sample_sums import add_outer_sums, add_row_sum
from fastnn_kernels.vectors.product import outer_product, product_backward, product_forward
from fastnn_kernels.vectors.vector import load, load_several, row, store, store_integers, view
from fastnn_kernels.vectors.tile import copy_tile, gather_tile

def report(access, statement):
    matrix, flat, numbers = np.zeros((2, 16)), np.zeros(32), np.zeros((2, 16), np.uint8)
    try:
        numba.njit(**OPTIONS)(statement)(matrix, flat, numbers, np.array([1, 0, 2]), np.zeros((16, 8)))
        print(access, "passed", sep=": ")
    except IndexError:
        print(access, "IndexError", sep=": ")
"""
STATEMENT = """
def statement(matrix, flat, numbers, order, tile):
    {}
report({!r}, statement)
"""


@pytest.fixture(scope="module")
def outcomes():
    """Return the outcome of each access in a process that checks bounds."""
    program = PROGRAM + "".join(STATEMENT.format(statement, access) for access, statement in ACCESSES.items())
    printed = run_python(program, NUMBA_BOUNDSCHECK="1")
    return dict(line.split(": ") for line in printed.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("access", ACCESSES)
def test_bounds_checking_finds_every_access_out_of_bounds(outcomes, access):
    assert outcomes[access] == ("passed" if access in WITHIN else "IndexError")
