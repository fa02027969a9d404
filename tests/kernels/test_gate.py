"""The gates of an affine layer: kernels against the reference, the reference against central differences."""

import numpy as np
from comparisons import call_kernel, central_differences
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from panels import panel_columns
from strategies import Draw, counts, draws, tolerance, untouched, wide, widths

import fastnn
from fastnn.reference import gate as reference
from fastnn_kernels import gate as compiled
from fastnn_kernels import small_batch
from fastnn_kernels.compiler.jit import kernel
from fastnn_kernels.vectors.narrow_product import MAX_OUTPUTS
from fastnn_kernels.vectors.processor import VECTOR_BYTES
from fastnn_kernels.vectors.product import outer_product


def padded_rows(draw: Draw, n_rows, width):
    """Return rows of whole vectors of this processor, 0 in the columns from `width` on."""
    lanes = VECTOR_BYTES // draw.dtype.itemsize
    rows = np.zeros((n_rows, -(-width // lanes) * lanes), draw.dtype)
    rows[:, :width] = draw.array(n_rows, width)
    return rows


def check_outputs(Z, W, b, X):
    """Check Z (n, J); the bound of the rounding error is proportional to the sum of the terms' magnitudes."""
    bound = tolerance(W.dtype, len(W)) * (np.abs(X) @ np.abs(W) + np.abs(b))
    assert (np.abs(Z - reference.affine_forward(wide(W), wide(b), wide(X))) <= bound).all()


def check_gradients(found, W, X, dZ, before):
    """Check the derivatives by W, b and X (n, I), the first two added to `before`, unless they are empty."""
    exact = reference.affine_backward(wide(W), wide(X), wide(dZ))
    sizes = np.abs(X).T @ np.abs(dZ), np.abs(dZ).sum(axis=0, keepdims=True), np.abs(dZ) @ np.abs(W).T
    n_terms = len(X) + 1, len(X) + 1, W.shape[1]
    for ours, theirs, size, start, terms in zip(found, exact, sizes, (*before, 0.0), n_terms, strict=True):
        bound = tolerance(W.dtype, terms) * (size + np.abs(start))
        assert ours.size == 0 or (np.abs(wide(ours) - start - theirs) <= bound).all()


@given(draws, widths, widths, counts)
def test_affine_forward_matches_the_reference(draw: Draw, n_in, n_out, count):
    T = draw.padded(count)
    W, b, X = draw.array(n_in, n_out), draw.array(1, n_out), draw.array(n_in, T)
    (Z,) = call_kernel(compiled.affine_forward, (W, b, X, None), [untouched((n_out, T), draw.dtype)])
    check_outputs(Z.T, W, b, X.T)


# A single sample has code of its own; layers are narrow, of one vector, of several, or of blocks of vectors.
batch_sizes = st.one_of(st.just(1), st.integers(1, 9))
units = st.one_of(st.integers(1, MAX_OUTPUTS + 1), st.integers(1, 40), st.sampled_from([64, 100, 135]))


@given(draws, units, units, batch_sizes, st.booleans(), st.booleans(), st.booleans())
def test_layers_of_small_batches_match_the_reference(draw: Draw, n_in, n_out, count, is_wide, adds, wants_dX):
    W, b, dZ = draw.array(n_in, n_out), draw.array(1, n_out), padded_rows(draw, count, n_out)
    X = padded_rows(draw, count, n_in)
    inputs = X if is_wide else np.ascontiguousarray(X[:, :n_in])
    (Z,) = call_kernel(small_batch.rows_forward, (W, b, inputs), [np.full_like(dZ, np.nan)])
    check_outputs(Z[:, :n_out], W, b, X[:, :n_in])
    assert (Z[:, n_out:] == 0).all()
    before = draw.array(n_in, n_out), draw.array(1, n_out)
    outputs = before if adds else [untouched(array.shape, draw.dtype) for array in before]
    dW, db, dX = call_kernel(
        lambda *arrays: small_batch.rows_backward(*arrays, adds),
        (W, X, dZ),
        [*outputs, untouched((count * wants_dX, X.shape[1]), draw.dtype)],
    )
    starts = [wide(array) * adds for array in before]
    check_gradients((dW, db, dX[:, :n_in]), W, X[:, :n_in], dZ[:, :n_out], starts)
    assert (dX[:, n_in:] == 0).all()


@kernel
def gradient_by_transposition(X, dZ, dW, db, scratch, adds):
    panels = compiled.transpose_to_panels(dZ, scratch)
    outer_product(X, panels, dW, adds)
    compiled.sum_panels(panels, db, adds)


ALGORITHMS = {
    "the faster one": compiled.affine_backward,
    "sums": lambda W, X, dZ, dW, db, dX, scratch, adds: compiled.add_sums_of_samples(X, dZ, dW, db),
    "transposition": lambda W, X, dZ, dW, db, dX, *rest: gradient_by_transposition(X, dZ, dW, db, *rest),
}


@with_examples(150)
@given(draws, widths, widths, counts, st.sampled_from(sorted(ALGORITHMS)), st.booleans(), st.booleans())
def test_affine_backward_matches_the_reference(draw: Draw, n_in, n_out, count, algorithm, adds, wants_dX):
    """The kernel uses the algorithm that is faster on this processor: both are also called directly."""
    T, adds = draw.padded(count), adds or algorithm == "sums"
    W, X, dZ = draw.array(n_in, n_out), draw.array(n_in, T), draw.array(n_out, T)
    before = draw.array(n_in, n_out), draw.array(1, n_out)
    outputs = before if adds else [untouched(array.shape, draw.dtype) for array in before]
    scratch = untouched((T * panel_columns(n_out, draw.dtype),), draw.dtype)
    dW, db, dX, _ = call_kernel(
        lambda *arguments: ALGORITHMS[algorithm](*arguments, adds),
        (W, X, dZ),
        [*outputs, untouched((n_in * wants_dX, T), draw.dtype), scratch],
    )
    dX = dX.T if wants_dX and algorithm == "the faster one" else dX[:0]
    check_gradients((dW, db, dX), W, X.T, dZ.T, [wide(array) * adds for array in before])


def test_units_compute_the_affine_layer_and_its_derivatives():
    random = np.random.default_rng(0)
    W, b, X, dZ = (random.normal(size=shape) for shape in ((3, 4), (1, 4), (5, 3), (5, 4)))
    multiply, add = fastnn.MultiplyGate(), fastnn.AddGate()
    product = multiply.forward(W, X)
    np.testing.assert_array_equal(add.forward(product, b), reference.affine_forward(W, b, X))
    db, dproduct = add.backward(product, b, dZ)
    dW, dX = multiply.backward(W, X, dproduct)
    gradients = reference.affine_backward(W, X, dZ)
    for array, ours, theirs in zip((W, b, X), (dW, db, dX), gradients, strict=True):
        expected = central_differences(lambda: (reference.affine_forward(W, b, X) * dZ).sum(), array)
        np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=1e-8)
        np.testing.assert_array_equal(theirs, ours)
