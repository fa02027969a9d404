"""Batch normalisation: kernels against the reference, the reference against formulas and differences."""

import numpy as np
from comparisons import central_differences, twin_results
from hypothesis import given
from strategies import Draw, Windows, counts, draws, read_only, tolerance, wide, widths

from fastnn.reference import norm as reference
from fastnn_kernels import norm as compiled


def make_problem(draw: Draw, n_units, count):
    """Return sums (J, T), weights (1, T), scale and shift (1, J), and running statistics (2, J)."""
    Z = draw.array(n_units, draw.padded(count)) + draw.array(n_units, 1)
    scale, shift = draw.array(1, n_units), draw.array(1, n_units)
    return Z, draw.weights(count), scale, shift, np.abs(draw.array(2, n_units))


def forward(Z, weights, scale, shift, running):
    """Return the results of the kernel: outcome, N, inverse and the updated running statistics."""
    buffers = Windows(Z, running, np.full_like(Z, np.nan), np.full_like(scale, np.nan))
    outcome, moved, N, inverse = buffers.views
    inputs = read_only(weights), read_only(scale), read_only(shift)
    compiled.batch_norm_forward(outcome, *inputs, moved[:1], moved[1:], N, inverse)
    assert buffers.are_kept_apart()
    return outcome, N, inverse, moved


def reference_forward(Z, weights, scale, shift, running):
    """Return the results of the reference in the kernels' layout, a unit in each row."""
    running = running.copy()
    Z, N, inverse = reference.batch_norm_forward(Z.T, weights[0], scale, shift, running[:1], running[1:])
    return Z.T, N.T, inverse, running


def backward(N, weights, scale, inverse, dZ):
    empty = [np.full_like(scale, np.nan)] * 2
    buffers = Windows(dZ, *empty)
    compiled.batch_norm_backward(*map(read_only, (N, weights, scale, inverse)), *buffers.views)
    assert buffers.are_kept_apart()
    return buffers.views


def reference_backward(N, weights, scale, inverse, dZ):
    dZ, dscale, dshift = reference.batch_norm_backward(N.T, weights[0], scale, inverse, dZ.T)
    return dZ.T, dscale, dshift


@given(draws, widths, counts)
def test_forward_matches_the_reference(draw: Draw, n_units, count):
    arrays = make_problem(draw, n_units, count)
    expected = twin_results(reference_forward, arrays, draw.random)
    for ours, (exact, error) in zip(forward(*arrays), expected, strict=True):
        assert (np.abs(ours - exact) <= error).all()


@given(draws, widths, counts)
def test_backward_matches_the_reference(draw: Draw, n_units, count):
    Z, weights, scale, *_ = arrays = make_problem(draw, n_units, count)
    _, N, inverse, _ = forward(*arrays)
    dZ = draw.array(*Z.shape) * (weights > 0)  # the derivatives of samples without weight are 0
    results = backward(N, weights, scale, inverse, dZ)
    exact = reference_backward(*map(wide, (N, weights, scale, inverse, dZ)))
    error = tolerance(draw.dtype) + tolerance(np.dtype(np.float64), Z.shape[1])
    scale_terms, shift_terms = np.abs(dZ * N).sum(axis=1), np.abs(dZ).sum(axis=1)
    share = weights / max(weights.sum(), np.finfo(draw.dtype).tiny)
    terms = np.abs(dZ) + share * (shift_terms[:, None] + np.abs(N) * scale_terms[:, None])
    bounds = 2 * np.abs(scale * inverse).T * terms, scale_terms, shift_terms
    for ours, theirs, bound in zip(results, exact, bounds, strict=True):
        assert (np.abs(wide(ours) - theirs) <= error * bound).all()


def test_reference_matches_the_formula_and_central_differences():
    random = np.random.default_rng(0)
    Z, weights, running = random.normal(1, 2, (7, 3)), random.uniform(0.2, 2, 7), random.uniform(1, 2, (2, 3))
    weights[2] = 0
    scale, shift = random.normal(size=(2, 1, 3))
    moved = running.copy()
    outcome, N, inverse = reference.batch_norm_forward(Z, weights, scale, shift, moved[:1], moved[1:])
    mean = np.average(Z, axis=0, weights=weights)
    variance = np.average((Z - mean) ** 2, axis=0, weights=weights)
    np.testing.assert_allclose(N, (Z - mean) / np.sqrt(variance + 1e-5), rtol=1e-13)
    np.testing.assert_allclose(inverse, 1 / np.sqrt(variance + 1e-5)[None], rtol=1e-14)
    np.testing.assert_allclose(outcome, N * scale + shift, rtol=1e-14)
    # The unbiased variance of the six samples with a weight.
    batch = np.stack([mean, variance * 6 / 5])
    np.testing.assert_allclose(moved, 0.9 * running + 0.1 * batch, rtol=1e-14)

    top = random.normal(size=Z.shape) * (weights[:, None] > 0)
    derivatives = reference.batch_norm_backward(N, weights, scale, inverse, top)

    def evaluate():
        zeros = np.zeros((2, 1, 3))
        return (reference.batch_norm_forward(Z, weights, scale, shift, *zeros)[0] * top).sum()

    for array, derivative in zip((Z, scale, shift), derivatives, strict=True):
        np.testing.assert_allclose(derivative, central_differences(evaluate, array), rtol=1e-6, atol=1e-8)
