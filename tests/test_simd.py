"""Vectors: every access of a kernel stays within its array, as bounds checking shows."""

import os
import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest
from strategies import DTYPES

from fastnn_kernels.jit import OPTIONS
from fastnn_kernels.simd import fill, lanes, load, reduce_add_scaled, store, view


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic_on_vectors(dtype):
    @numba.njit(**OPTIONS)
    def run(x, y, out):
        for t in range(0, x.shape[1], lanes(x)):
            a, b = load(x, 0, t), load(y, 0, t)
            store(out, 0, t, a + b)
            store(out, 1, t, a - b)
            store(out, 2, t, a * b)
            store(out, 3, t, -a)
            store(out, 4, t, fill(x, 2.5))
        return reduce_add_scaled(load(x, 0, 0), 0.5)

    x, y = np.arange(64, dtype=dtype)[None], np.linspace(-1, 1, 64, dtype=dtype)[None]
    out = np.empty((5, 64), dtype)
    total = run(x, y, out)
    np.testing.assert_array_equal(out, np.concatenate([x + y, x - y, x * y, -x, np.full_like(x, 2.5)]))
    assert 2 * total in (x[0, : 32 // dtype.itemsize].sum(), x[0, : 64 // dtype.itemsize].sum())


def test_view_is_a_window():
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


BROKEN = {
    "load beyond a row": "load(matrix, 1, 16)",
    "load beyond the rows": "load(matrix, 2, 0)",
    "load before the row": "load(matrix, 1, -1)",
    "view beyond the end": "view(flat, 20, 2, 8)",
    "view before the beginning": "view(flat, -1, 2, 8)",
    "store beyond a row": "store(matrix, 1, 16, load(matrix, 0, 0))",
    "integers beyond a row": "store_integers(numbers, 0, 12, load(matrix, 0, 0))",
    "product beyond the rows": "forward_rows(2, matrix, matrix, matrix, matrix, 15)",
    "outer sums beyond the columns": "add_outer_sums(1, 2, matrix, matrix, matrix, 0, 1)",
    "nothing": "load(matrix, 1, 8)",
}


@pytest.mark.parametrize("what", BROKEN)
def test_bounds_are_checked_when_asked(what):
    program = f"""
        import numba, numpy as np
        from fastnn_kernels.jit import OPTIONS
        from fastnn_kernels.product import add_outer_sums, forward_rows
        from fastnn_kernels.simd import load, store, store_integers, view
        matrix, flat, numbers = np.zeros((2, 16)), np.zeros(32), np.zeros((2, 16), np.uint8)
        @numba.njit(**OPTIONS)
        def run(matrix, flat, numbers):
            {BROKEN[what]}
        try:
            run(matrix, flat, numbers)
        except IndexError:
            print("IndexError")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ("" if what == "nothing" else "IndexError")
