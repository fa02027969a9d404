"""Products whose operands are copied, against the reference and against products that copy nothing."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panels import panels_of
from strategies import DTYPES, Windows, padded, read_only, tolerance, untouched, wide

from fastnn_kernels import gate
from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.vectors import packing
from fastnn_kernels.vectors.processor import LINE_BYTES
from fastnn_kernels.vectors.product import (
    CHUNK,
    HIGHEST,
    outer_product,
    product_backward,
    product_forward,
)

# Lengths about the limits of blocks, groups of rows and chunks of terms.
LENGTHS = st.one_of(
    st.integers(1, 20),
    st.sampled_from([47, 48, 49, 53, 96, 127, 128, 129, 191, 192, 193, 255, 256, 385]),
    st.integers(250, 600),
)


@numba.njit(**OPTIONS)
def forward(W, b, X, packed, Z):
    product_forward(W, b, X, packed, Z)


@numba.njit(**OPTIONS)
def backward(W, dZ, dX):
    product_backward(W, dZ, dX)


@numba.njit(**OPTIONS)
def outer(X, panels, dW, adds):
    outer_product(X, panels, dW, adds)


def slices(length, dtype):
    """Return slices of a cache line each: products of so few columns copy nothing."""
    width = LINE_BYTES // np.dtype(dtype).itemsize
    return [slice(first, min(first + width, length)) for first in range(0, length, width)]


def check(call, source, shape, expected, magnitudes, before=None):
    """Check a product against `expected`, and against the bits of products of a few columns each.

    `call(source, result)` computes the product; the columns of both are the same.
    """
    dtype, n_terms = source.dtype, source.shape[0]
    results = Windows(untouched(shape, dtype) if before is None else before.copy())
    call(read_only(source), results.views[0])
    bound = tolerance(dtype, n_terms + 1) * magnitudes
    assert (np.abs(wide(results.views[0]) - expected) <= bound).all()
    assert results.are_kept_apart()
    pieces = []
    for part in slices(shape[1], dtype):
        piece = (
            untouched((shape[0], part.stop - part.start), dtype) if before is None else before[:, part].copy()
        )
        call(read_only(source[:, part].copy()), piece)
        pieces.append(piece)
    np.testing.assert_array_equal(results.views[0], np.concatenate(pieces, axis=1))


def normal(seed, *shapes, dtype):
    """Return arrays of normal numbers."""
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype(dtype) for shape in shapes]


def packed(W):
    """Return the weights packed by the kernel, after a comparison with NumPy."""
    result = Windows(untouched((1, gate.packed_size(*W.shape)), W.dtype))
    gate.pack(read_only(W), result.views[0])
    whole = W[:, : W.shape[1] // HIGHEST * HIGHEST]
    chunks = (whole[begin : begin + CHUNK] for begin in range(0, len(W), CHUNK))
    blocks = [chunk.reshape(len(chunk), -1, HIGHEST).transpose(1, 0, 2).ravel() for chunk in chunks]
    np.testing.assert_array_equal(result.views[0][0], np.concatenate(blocks))
    assert result.are_kept_apart()
    return read_only(result.views[0])


def check_products(seed, n_in, n_out, T, dtype):
    """Check the three products of a layer; return the arrays W, X and dZ."""
    W, b, X, dZ, before = normal(
        seed, (n_in, n_out), (1, n_out), (n_in, T), (n_out, T), (n_in, n_out), dtype=dtype
    )
    weights, bias, inputs = read_only(W), read_only(b), read_only(X)
    sums, magnitudes = wide(W).T @ wide(X) + wide(b).T, np.abs(W).T @ np.abs(X) + np.abs(b).T
    for copy in (packed(W), read_only(np.empty((1, 0), dtype))):
        check(
            lambda source, result, copy=copy: forward(weights, bias, source, copy, result), X, (n_out, T),
            sums, magnitudes,
        )  # fmt: skip
    check(
        lambda source, result: backward(weights, source, result), dZ, (n_in, T),
        wide(W) @ wide(dZ), np.abs(W) @ np.abs(dZ),
    )  # fmt: skip
    product, magnitudes = wide(X) @ wide(dZ.T), np.abs(X) @ np.abs(dZ.T)
    check(
        lambda source, result: outer(inputs, panels_of(source), result, False), dZ.T, W.shape, product,
        magnitudes,
    )  # fmt: skip
    check(
        lambda source, result: outer(inputs, panels_of(source), result, True), dZ.T, W.shape,
        product + wide(before), magnitudes + np.abs(before), before,
    )  # fmt: skip
    return W, X, dZ


@given(st.integers(0, 2**32), LENGTHS, LENGTHS, st.integers(1, 150), st.sampled_from(DTYPES))
def test_products_match_the_reference_and_have_the_bits_of_narrow_products(seed, n_in, n_out, count, dtype):
    check_products(seed, n_in, n_out, padded(count, dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_these_sizes_copy_both_operands(dtype):
    W, X, dZ = check_products(0, 600, 509, 512, dtype)
    assert min(W.nbytes, X.nbytes) > packing.PACKED_BYTES
    assert {source.strides[0] % packing.COPIED_DISTANCE for source in (X, dZ)} == {0}
