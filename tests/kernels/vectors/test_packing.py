"""Products whose operands are copied, against the reference and against products that copy nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from panels import panels_of
from strategies import DTYPES, Windows, padded, read_only, tolerance, untouched, wide

from fastnn_kernels import gate
from fastnn_kernels.compiler.jit import kernel
from fastnn_kernels.vectors import packing
from fastnn_kernels.vectors.processor import LINE_BYTES
from fastnn_kernels.vectors.product import CHUNK, HIGHEST, outer_product, product_backward, product_forward

# Lengths about the limits of blocks, groups of rows and chunks of terms.
LENGTHS = st.one_of(
    st.integers(1, 20),
    st.sampled_from([47, 48, 49, 53, 96, 127, 128, 129, 191, 192, 193, 255, 256, 385]),
    st.integers(250, 600),
)


@kernel
def forward(W, b, X, packed, Z):
    product_forward(W, b, X, packed, Z)


@kernel
def backward(W, dZ, dX):
    product_backward(W, dZ, dX)


@kernel
def outer(X, panels, dW, adds):
    outer_product(X, panels, dW, adds)


def check(call, left, source, start=0.0, before=None):
    """Check the product ``left @ source + start``, also against the bits of products of a few columns each.

    `call(source, result)` computes the product; the columns of both are the same. A product that is added to
    `before` begins with it.
    """
    if before is None:
        before = untouched((len(left), source.shape[1]), source.dtype)
    else:
        start = before
    results = Windows(before.copy())
    call(read_only(source), results.views[0])
    expected = wide(left) @ wide(source) + start
    bound = tolerance(source.dtype, len(source) + 1) * (np.abs(left) @ np.abs(source) + np.abs(start))
    assert (np.abs(wide(results.views[0]) - expected) <= bound).all()
    assert results.are_kept_apart()
    width = LINE_BYTES // source.itemsize  # products of so few columns copy nothing
    for first in range(0, source.shape[1], width):
        columns = slice(first, first + width)
        piece = before[:, columns].copy()
        call(read_only(source[:, columns].copy()), piece)
        np.testing.assert_array_equal(results.views[0][:, columns], piece)


def pack(W):
    """Return the weights packed by the kernel, after a comparison with NumPy."""
    result = Windows(untouched((1, gate.count_packed_weights(*W.shape)), W.dtype))
    gate.pack(read_only(W), result.views[0])
    whole = W[:, : W.shape[1] // HIGHEST * HIGHEST]
    chunks = (whole[begin : begin + CHUNK] for begin in range(0, len(W), CHUNK))
    blocks = [chunk.reshape(len(chunk), -1, HIGHEST).transpose(1, 0, 2).ravel() for chunk in chunks]
    np.testing.assert_array_equal(result.views[0][0], np.concatenate(blocks))
    assert result.are_kept_apart()
    return read_only(result.views[0])


def check_products(seed, n_in, n_out, T, dtype):
    random = np.random.default_rng(seed)
    shapes = (n_in, n_out), (1, n_out), (n_in, T), (n_out, T), (n_in, n_out)
    W, b, X, dZ, before = arrays = [random.normal(size=shape).astype(dtype) for shape in shapes]
    weights, bias, inputs, *_ = map(read_only, arrays)
    for packed in (pack(W), read_only(np.empty((1, 0), dtype))):
        check(lambda X, Z, packed=packed: forward(weights, bias, X, packed, Z), W.T, X, wide(b).T)
    check(lambda dZ, dX: backward(weights, dZ, dX), W, dZ)
    check(lambda source, dW: outer(inputs, panels_of(source), dW, False), X, dZ.T)
    check(lambda source, dW: outer(inputs, panels_of(source), dW, True), X, dZ.T, before=before)
    return W, X, dZ


@given(st.integers(0, 2**32), LENGTHS, LENGTHS, st.integers(1, 150), st.sampled_from(DTYPES))
def test_products_match_the_reference_and_have_the_bits_of_narrow_products(seed, n_in, n_out, count, dtype):
    check_products(seed, n_in, n_out, padded(count, dtype), dtype)


def test_products_of_these_sizes_copy_both_operands(dtype):
    W, X, dZ = check_products(0, 600, 509, 512, dtype)
    assert min(W.nbytes, X.nbytes) > packing.PACKED_BYTES
    assert {source.strides[0] % packing.COPIED_DISTANCE for source in (X, dZ)} == {0}
