"""The gates of an affine layer: kernels against the reference, the reference against central differences."""

import numba
import numpy as np
import pytest
from comparisons import call_kernel, central_differences
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from panels import panel_columns
from strategies import DTYPES, Draw, counts, draws, tolerance, wide, widths

import fastnn
from fastnn.reference import gate as reference
from fastnn_kernels import gate as compiled
from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.vectors.processor import VECTOR_BYTES
from fastnn_kernels.vectors.product import outer_product


@given(draws, widths, widths, counts)
def test_affine_forward_matches_the_reference(draw: Draw, n_in, n_out, count):
    T = draw.padded(count)
    W, b, X = draw.array(n_in, n_out), draw.array(1, n_out), draw.array(n_in, T)
    (Z,) = call_kernel(compiled.affine_forward, (W, b, X, None), [draw.untouched(n_out, T)])
    # The bound of the rounding error is proportional to the sum of the terms' magnitudes.
    expected = reference.affine_forward(wide(W), wide(b), wide(X.T)).T
    bound = tolerance(draw.dtype, n_in) * (np.abs(W).T @ np.abs(X) + np.abs(b).T)
    assert (np.abs(Z - expected) <= bound).all()


@numba.njit(**OPTIONS)  # not @kernel, whose cache on disk does not notice changes of this file
def gradient_by_transposition(X, dZ, dW, db, scratch, adds):
    """Compute dW and db by the algorithm with a transposition, as `affine_backward` does."""
    panels = compiled.transpose_to_panels(dZ, scratch)
    outer_product(X, panels, dW, adds)
    compiled.panel_sums(panels, db, adds)


ALGORITHMS = {
    "the faster one": compiled.affine_backward,
    "sums": lambda W, X, dZ, dW, db, dX, scratch, adds: compiled.add_sums_of_samples(X, dZ, dW, db),
    "transposition": lambda W, X, dZ, dW, db, dX, *rest: gradient_by_transposition(X, dZ, dW, db, *rest),
}


@with_examples(150)
@given(draws, widths, widths, counts, st.sampled_from(sorted(ALGORITHMS)), st.booleans(), st.booleans())
def test_affine_backward_matches_the_reference(draw: Draw, n_in, n_out, count, algorithm, adds, wants_dX):
    """The kernel uses the algorithm that is faster on this processor: both are also called directly."""
    T = draw.padded(count)
    W, X, dZ = draw.array(n_in, n_out), draw.array(n_in, T), draw.array(n_out, T)
    before = draw.array(n_in, n_out), draw.array(1, n_out)
    if algorithm == "sums":
        adds = True
    outputs = before if adds else [draw.untouched(*array.shape) for array in before]
    outputs = (
        *outputs,
        draw.untouched(n_in * wants_dX, T),
        draw.untouched(T * panel_columns(n_out, draw.dtype)),
    )
    dW, db, dX, _ = call_kernel(
        lambda *arguments: ALGORITHMS[algorithm](*arguments, adds), (W, X, dZ), outputs
    )
    exact = reference.affine_backward(wide(W), wide(X.T), wide(dZ.T))
    sizes = np.abs(X) @ np.abs(dZ).T, np.abs(dZ).sum(axis=1)
    for ours, theirs, size, start in zip((dW, db), exact[:2], sizes, before, strict=True):
        start = wide(start) * adds
        assert (np.abs(ours - start - theirs) <= tolerance(draw.dtype, T + 1) * (size + np.abs(start))).all()
    if wants_dX and algorithm == "the faster one":
        error = tolerance(draw.dtype, n_out) * (np.abs(W) @ np.abs(dZ))
        assert (np.abs(dX - exact[2].T) <= error).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_algorithm_is_the_faster_one_for_some_layers(dtype):
    n_lanes = VECTOR_BYTES // dtype.itemsize
    assert compiled.sample_sums_are_faster(3, 2, 512, n_lanes)
    assert not compiled.sample_sums_are_faster(70, 131, 64, n_lanes)


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
