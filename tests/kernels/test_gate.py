"""The gates of an affine layer: kernels against the reference, the reference against central differences."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panels import panel_columns
from strategies import (
    DTYPES,
    Draw,
    Windows,
    counts,
    draws,
    read_only,
    tolerance,
    untouched,
    wide,
    widths,
)

import fastnn
from fastnn.reference import gate as reference
from fastnn_kernels import gate as compiled
from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.vectors.product import outer_product


@given(draws, widths, widths, counts)
def test_affine_forward_matches_the_reference(draw: Draw, n_in, n_out, count):
    T = draw.padded(count)
    W, b, X = draw.array(n_in, n_out), draw.array(1, n_out), draw.array(n_in, T)
    Z = untouched((n_out, T), draw.dtype)
    compiled.affine_forward(read_only(W), read_only(b), read_only(X), None, Z)
    # The bound of the rounding error is proportional to the sum of the terms' magnitudes.
    expected = reference.affine_forward(wide(W), wide(b), wide(X.T)).T
    bound = tolerance(draw.dtype, n_in) * (np.abs(W).T @ np.abs(X) + np.abs(b).T)
    assert Z.dtype == draw.dtype
    assert (np.abs(Z - expected) <= bound).all()


def scratch_for(n_outputs, T, dtype):
    """Return scratch memory of exactly the size that the kernel asks for."""
    return untouched((T * panel_columns(n_outputs, dtype),), dtype)


def gradient_buffers(draw, n_in, n_out, adds):
    """Return buffers for dW and db, and the numbers to which kernels add: random if `adds`, else 0."""
    before = draw.array(n_in, n_out), draw.array(1, n_out)
    if adds:
        return Windows(*before), before
    return Windows(*(untouched(array.shape, draw.dtype) for array in before)), tuple(0 * a for a in before)


def check_gradients(gradients: Windows, before, X, dZ):
    """Check that dW and db match the reference up to rounding."""
    T = X.shape[1]
    exact_dW, exact_db, _ = reference.affine_backward(np.zeros(before[0].shape), wide(X.T), wide(dZ.T))
    dW, db = (wide(after) - wide(array) for after, array in zip(gradients.views, before, strict=True))
    sums = np.abs(X) @ np.abs(dZ).T + np.abs(before[0])
    assert (np.abs(dW - exact_dW) <= tolerance(X.dtype, T + 1) * sums).all()
    sums = np.abs(dZ).sum(axis=1) + np.abs(before[1])
    assert (np.abs(db - exact_db) <= tolerance(X.dtype, T + 1) * sums).all()
    assert gradients.are_kept_apart()


@given(draws, widths, widths, counts, st.booleans())
def test_affine_backward_matches_the_reference(draw: Draw, n_in, n_out, count, adds):
    T = draw.padded(count)
    W, X, dZ = draw.array(n_in, n_out), draw.array(n_in, T), draw.array(n_out, T)
    gradients, before = gradient_buffers(draw, n_in, n_out, adds)
    outputs = Windows(untouched((n_in, T), draw.dtype), scratch_for(n_out, T, draw.dtype))
    inputs = read_only(W), read_only(X), read_only(dZ)
    compiled.affine_backward(*inputs, *gradients.views, *outputs.views, adds)
    check_gradients(gradients, before, X, dZ)
    exact_dX = wide(W) @ wide(dZ)
    error = tolerance(draw.dtype, n_out) * (np.abs(W) @ np.abs(dZ))
    assert (np.abs(outputs.views[0] - exact_dX) <= error).all()
    assert outputs.are_kept_apart()


@given(draws, widths, widths, counts)
def test_affine_backward_without_dX_gives_the_same_gradient(draw: Draw, n_in, n_out, count):
    T = draw.padded(count)
    W, X, dZ = draw.array(n_in, n_out), draw.array(n_in, T), draw.array(n_out, T)
    results = []
    for rows in (n_in, 0):
        dW, db = untouched((n_in, n_out), draw.dtype), untouched((1, n_out), draw.dtype)
        arguments = read_only(W), read_only(X), read_only(dZ), dW, db, np.empty((rows, T), draw.dtype)
        compiled.affine_backward(*arguments, scratch_for(n_out, T, draw.dtype), False)
        results.append((dW, db))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n_in", "n_out", "T", "is_transposed"), [(3, 2, 512, False), (70, 131, 64, True)])
def test_both_algorithms_for_the_weights_gradient_are_used(n_in, n_out, T, is_transposed, dtype):
    W, X, dZ = (np.ones(shape, dtype) for shape in ((n_in, n_out), (n_in, T), (n_out, T)))
    dW, db, dX = untouched(W.shape, dtype), untouched((1, n_out), dtype), np.empty_like(X)
    scratch = scratch_for(n_out, T, dtype)
    for adds, times in ((False, 1), (True, 2), (False, 1)):
        compiled.affine_backward(read_only(W), read_only(X), read_only(dZ), dW, db, dX, scratch, adds)
        assert (dW == times * T).all()
        assert (db == times * T).all()
    # Only the algorithm with a transposition writes to the scratch; narrow vectors do not fill all of it.
    assert np.isnan(scratch).all() != is_transposed


@numba.njit(**OPTIONS)  # not @kernel, whose cache on disk does not notice changes of this file
def gradient_by_transposition(X, dZ, dW, db, scratch, adds):
    """Compute dW and db by the algorithm with a transposition, as `affine_backward` does."""
    panels = compiled.transposed_panels(dZ, scratch)
    outer_product(X, panels, dW, adds)
    compiled.panel_sums(panels, db, adds)


@given(draws, widths, widths, counts, st.booleans())
def test_both_algorithms_are_right_for_any_size(draw: Draw, n_in, n_out, count, adds):
    # `affine_backward` chooses the algorithm that is faster on this processor: test both directly.
    T = draw.padded(count)
    X, dZ = draw.array(n_in, T), draw.array(n_out, T)
    gradients, before = gradient_buffers(draw, n_in, n_out, True)
    compiled.add_sums_of_samples(read_only(X), read_only(dZ), *gradients.views)
    check_gradients(gradients, before, X, dZ)
    gradients, before = gradient_buffers(draw, n_in, n_out, adds)
    scratch = scratch_for(n_out, T, draw.dtype)
    gradient_by_transposition(read_only(X), read_only(dZ), *gradients.views, scratch, adds)
    check_gradients(gradients, before, X, dZ)


@pytest.mark.parametrize("name", ["W", "b", "X"])
def test_reference_gradients_match_central_differences(name):
    random = np.random.default_rng(0)
    arrays = {
        "W": random.normal(size=(3, 4)),
        "b": random.normal(size=(1, 4)),
        "X": random.normal(size=(5, 3)),
    }
    dZ = random.normal(size=(5, 4))
    dW, db, dX = reference.affine_backward(arrays["W"], arrays["X"], dZ)
    gradient = {"W": dW, "b": db, "X": dX}[name]
    for index in np.ndindex(gradient.shape):
        values = []
        for step in (1e-6, -1e-6):
            moved = {other: array.copy() for other, array in arrays.items()}
            moved[name][index] += step
            values.append((reference.affine_forward(**moved) * dZ).sum())
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient[index], rel=1e-7, abs=1e-8)


def test_units_compute_the_affine_layer():
    random = np.random.default_rng(1)
    W, b, X = random.normal(size=(3, 4)), random.normal(size=(1, 4)), random.normal(size=(5, 3))
    multiply, add = fastnn.MultiplyGate(), fastnn.AddGate()
    product = multiply.forward(W, X)
    np.testing.assert_array_equal(add.forward(product, b), reference.affine_forward(W, b, X))
    dZ = random.normal(size=(5, 4))
    db, dproduct = add.backward(product, b, dZ)
    dW, dX = multiply.backward(W, X, dproduct)
    for ours, theirs in zip((dW, db, dX), reference.affine_backward(W, X, dZ), strict=True):
        np.testing.assert_array_equal(ours, theirs)
