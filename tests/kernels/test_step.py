"""Shares of the parameters that threads update."""

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import dtypes

from fastnn.network.description import ALIGNMENT
from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.step import thread_share


@numba.njit(**OPTIONS)
def share_of(parameters, thread, n_threads):
    return thread_share(parameters, thread, n_threads)


@given(st.integers(1, 300), st.integers(1, 9), dtypes)
def test_shares_of_threads_divide_the_cache_lines_evenly(n_lines, n_threads, dtype):
    line = ALIGNMENT // dtype.itemsize
    parameters = np.zeros(n_lines * line, dtype)
    shares = [share_of(parameters, thread, n_threads) for thread in range(n_threads)]
    assert [begin for begin, _ in shares] == [0, *(end for _, end in shares[:-1])]
    assert shares[-1][1] == len(parameters)
    assert all(begin % line == 0 for begin, _ in shares)
    sizes = [(end - begin) // line for begin, end in shares]
    assert max(sizes) - min(sizes) <= 1
