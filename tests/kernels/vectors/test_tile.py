"""Copies between tables, with a sample in each row, and tiles, with a sample in each column."""

import inspect
import sys
import textwrap

import numpy as np
import panels
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import run_python
from strategies import Draw, Windows, draws, read_only, untouched, widths

from fastnn_kernels.vectors import tile as compiled

numbers = st.one_of(st.integers(1, 40), st.sampled_from([64, 129]))
few = st.integers(0, 9)


@given(draws, widths, few, numbers, few, st.integers(0, 2), st.booleans())
def test_a_tile_has_a_sample_in_each_column(draw: Draw, n_features, first, n, after, extra, is_gathered):
    """Gathered indices have any order and may repeat. The last sample is repeated in the padding."""
    X = draw.array(first + n + after, n_features)
    indices = draw.random.integers(0, len(X), len(X)) if is_gathered else np.arange(len(X))
    output = Windows(untouched((n_features, draw.padded(n) + extra * draw.padded(1)), draw.dtype))
    (tile,) = output.views
    if is_gathered:
        compiled.gather_tile(read_only(X), indices, first, n, tile)
    else:
        compiled.copy_tile(read_only(X), first, n, tile)
    columns = np.minimum(np.arange(tile.shape[1]), n - 1)
    np.testing.assert_array_equal(tile, X[indices[first + columns]].T)
    assert output.are_kept_apart()


# Every array ends or begins at a protected page: a read or write beyond the array kills the process.
GUARDED = """
    import ctypes, faulthandler, mmap
    import numpy as np
    from fastnn_kernels import gate
    from fastnn_kernels.vectors import tile

    faulthandler.enable()
    libc = ctypes.CDLL(None, use_errno=True)
    kept = []

    def guarded(array, at_end=True):
        size = -(-max(array.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, size + 2 * mmap.PAGESIZE)
        begin = np.frombuffer(memory, np.uint8).ctypes.data
        for page in (begin, begin + size + mmap.PAGESIZE):
            assert libc.mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, 0) == 0
        offset = mmap.PAGESIZE + (size - array.nbytes if at_end else 0)
        kept.append(memory)
        result = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
        result[...] = array
        return result

    def read_only(array):
        array = array.view()
        array.flags.writeable = False
        return array

    for dtype in (np.float64, np.float32):
        lanes = 64 // np.dtype(dtype).itemsize
        for at_end in (True, False):
            for n_in, n_out, n in [(1, 1, 1), (3, 2, 5), (17, 5, 16), (5, 19, 33), (40, 70, 9)]:
                T = -(-n // lanes) * lanes
                def make(*shape):
                    return guarded(np.ones(shape, dtype), at_end)
                X, indices = read_only(make(n, n_in)), guarded(np.arange(n)[::-1].copy(), at_end)
                inputs = make(n_in, T)
                tile.gather_tile(X, indices, 0, n, inputs)
                tile.copy_tile(X, 0, n, inputs)
                tile.transpose(read_only(inputs), make(T, -(-n_in // lanes) * lanes))
                W, b, Z = read_only(make(n_in, n_out)), read_only(make(1, n_out)), make(n_out, T)
                gate.affine_forward(W, b, read_only(inputs), None, Z)
                gradients = make(n_in, n_out), make(1, n_out)
                scratch = make(T * panel_columns(n_out, dtype))
                inputs, Z, dX = read_only(inputs), read_only(Z), make(n_in, T)
                gate.affine_backward(W, inputs, Z, *gradients, dX, scratch, False)
    print("no access beyond an array")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mprotect")
@pytest.mark.slow
def test_nothing_beyond_the_arrays_is_read_or_written():
    # Bounds checking is off: it would raise an exception before the protected page is touched.
    program = textwrap.dedent(inspect.getsource(panels)) + textwrap.dedent(GUARDED)
    assert run_python(program, NUMBA_BOUNDSCHECK="0").strip() == "no access beyond an array"
