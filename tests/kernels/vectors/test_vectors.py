"""Operations on vectors, and bounds checking of every kind of access to an array."""

import numba
import numpy as np
import pytest
from processes import run_python
from strategies import DTYPES, padded, read_only

from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.vectors import vmath
from fastnn_kernels.vectors.elementwise import elementwise
from fastnn_kernels.vectors.processor import IS_AARCH64, IS_X86, VECTOR_BYTES, flush_subnormals, restore_mode
from fastnn_kernels.vectors.value import add_weighted, fill, is_zero, reduce_add_weighted
from fastnn_kernels.vectors.vector import (
    N_INTERLEAVED,
    lanes,
    load,
    load_several,
    store,
    store_integers,
    view,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@each_dtype
def test_vector_arithmetic_matches_numpy(dtype):
    @numba.njit(**OPTIONS)
    def run(x, y, out):
        for t in range(0, x.shape[1], lanes(x)):
            a, b = load(x, 0, t), load(y, 0, t)
            store(out, 0, t, a + b)
            store(out, 1, t, a - b)
            store(out, 2, t, a * b)
            store(out, 3, t, -a)
            store(out, 4, t, fill(x, 2.5))

    x, y = np.arange(64, dtype=dtype)[None], np.linspace(-1, 1, 64, dtype=dtype)[None]
    out = np.empty((5, 64), dtype)
    run(read_only(x), read_only(y), out)
    np.testing.assert_array_equal(out, np.concatenate([x + y, x - y, x * y, -x, np.full_like(x, 2.5)]))


@each_dtype
def test_sums_are_weighted_and_in_float64(dtype):
    @numba.njit(**OPTIONS)
    def run(x, weights):
        return reduce_add_weighted(load(x, 0, 0), load(weights, 0, 0)), lanes(x)

    random = np.random.default_rng(0)
    x = random.normal(size=(1, 64)).astype(dtype)
    weights = random.uniform(size=(1, 64)).astype(dtype)
    weights[0, ::3] = 0
    total, n_lanes = run(x, weights)
    assert type(total) is float
    exact = x.astype(np.float64) * weights
    assert total == pytest.approx(exact[0, :n_lanes].sum(), rel=1e-14)
    # Values of weight 0 do not count, not even NaN and infinity.
    x[0, :12:3] = np.nan, np.inf, -np.inf, np.finfo(dtype).max
    assert run(x, weights)[0] == total
    x[0, 1] = np.nan
    assert np.isnan(run(x, weights)[0])


@each_dtype
def test_sums_of_several_vectors_are_added_one_after_another(dtype):
    @numba.njit(**OPTIONS)
    def several(x, weights, total):
        values, shares = load_several(x, 0, 0, N_INTERLEAVED), load_several(weights, 0, 0, N_INTERLEAVED)
        return add_weighted(total, values, shares)

    @numba.njit(**OPTIONS)
    def single(x, weights, total):
        for t in range(0, N_INTERLEAVED * lanes(x), lanes(x)):
            total += reduce_add_weighted(load(x, 0, t), load(weights, 0, t))
        return total

    random = np.random.default_rng(0)
    x, weights = random.normal(size=(2, 1, 64)).astype(dtype)
    assert several(x, weights, 0.1) == single(x, weights, 0.1)
    x[0, 5], weights[0, 5] = np.inf, 0
    assert several(x, weights, 0.1) == single(x, weights, 0.1)


@each_dtype
def test_vectors_in_turns_have_the_bits_of_single_vectors(dtype):
    @numba.njit(**OPTIONS)
    def single(Z, A):
        for k in range(0, Z.shape[1], lanes(Z)):
            store(A, 0, k, vmath.tanh(load(Z, 0, k)))

    compute = elementwise(vmath.tanh)
    random = np.random.default_rng(0)
    for n_lines in range(1, 14):  # from no block of several vectors to some, with and without a rest
        Z = random.normal(scale=3, size=(1, n_lines * 64 // np.dtype(dtype).itemsize)).astype(dtype)
        expected, A = np.empty_like(Z), np.empty_like(Z)
        single(Z, expected)
        compute(Z, A)
        np.testing.assert_array_equal(A, expected)
        np.testing.assert_allclose(A, np.tanh(Z), rtol=10 * np.finfo(dtype).eps)
        compute(Z, Z)  # in place
        np.testing.assert_array_equal(Z, expected)


@each_dtype
def test_is_zero_is_true_only_if_every_lane_is_zero(dtype):
    @numba.njit(**OPTIONS)
    def run(x):
        return is_zero(load(x, 0, 0))

    x = np.zeros((1, 64), dtype)
    x[0, 1] = -0.0
    assert run(x)
    for position in (0, VECTOR_BYTES // dtype.itemsize - 1):  # the first and the last lane
        for value in (np.nan, np.inf, -np.inf, 1, -1, np.finfo(dtype).smallest_subnormal):
            y = x.copy()
            y[0, position] = value
            assert not run(y)


@each_dtype
@pytest.mark.parametrize("integer", [np.uint8, np.int16, np.uint32, np.int64])
def test_store_integers_converts_and_writes_nothing_else(dtype, integer):
    @numba.njit(**OPTIONS)
    def run(x, out):
        for t in range(0, x.shape[1], lanes(x)):
            store_integers(out, 1, t + 3, load(x, 0, t))

    x = np.arange(64, dtype=dtype)[None]
    out = np.full((3, 70), 77, integer)
    run(x, out)
    np.testing.assert_array_equal(out[1, 3:67], np.arange(64))
    out[1, 3:67] = 77
    assert (out == 77).all()


@pytest.mark.skipif(not (IS_X86 or IS_AARCH64), reason="this processor cannot flush subnormal numbers")
@each_dtype
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
    assert out[0, 0] == 0
    assert out[1, 0] == tiny / 2
    assert (x * dtype.type(0.5)).all(), "Python computes with subnormal numbers again"


def test_view_reads_and_writes_a_part_of_a_flat_array():
    @numba.njit(**OPTIONS)
    def run(flat):
        window = view(flat, 3, 2, 4)
        window[1, 2] = -1
        return window.shape, window[0, 1], window.sum()

    flat = np.arange(20.0)
    shape, value, total = run(flat)
    assert shape == (2, 4)
    assert value == 4
    assert flat[9] == -1
    assert total == np.arange(3, 11).sum() - 10


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
