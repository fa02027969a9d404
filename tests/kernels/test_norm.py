"""Batch normalisation: kernels against the reference, the reference against central differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    DTYPES,
    Draw,
    Windows,
    counts,
    draws,
    padded,
    read_only,
    tolerance,
    untouched,
    wide,
    widths,
)

from fastnn.reference import norm as reference
from fastnn_kernels import norm as compiled

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def problem(draw: Draw, n_units, count):
    """Return sums (J, T), weights (1, T), scale and shift (1, J), and running statistics (2, J)."""
    Z = draw.array(n_units, draw.padded(count)) + draw.array(n_units, 1)
    scale, shift = draw.array(1, n_units), draw.array(1, n_units)
    running = np.abs(draw.array(2, n_units))
    return Z, draw.weights(count), scale, shift, running


def forward(Z, weights, scale, shift, running):
    """Return the results of the kernel: outcome, N, inverse and the updated running statistics."""
    buffers = Windows(Z, running, untouched(Z.shape, Z.dtype), untouched(scale.shape, Z.dtype))
    outcome, moved, N, inverse = buffers.views
    means, variances = moved[:1], moved[1:]
    compiled.batch_norm_forward(
        outcome, read_only(weights), read_only(scale), read_only(shift), means, variances, N, inverse
    )
    assert buffers.are_kept_apart()
    return outcome, N, inverse, moved


def reference_forward(Z, weights, scale, shift, running):
    """Return the results of the reference in the kernels' layout, a unit in each row."""
    running = running.copy()
    outcome, N, inverse = reference.batch_norm_forward(
        Z.T, weights[0], scale, shift, running[:1], running[1:]
    )
    return outcome.T, N.T, inverse, running


@given(draws, widths, counts)
def test_forward_matches_the_reference(draw: Draw, n_units, count):
    Z, weights, scale, shift, running = arrays = problem(draw, n_units, count)
    outcome, N, inverse, moved = forward(*arrays)
    exact_outcome, exact_N, exact_inverse, exact_moved = reference_forward(*map(wide, arrays))
    # The mean is rounded, and so are the deviations from it; sums are in float64.
    error = tolerance(draw.dtype) + tolerance(np.dtype(np.float64), Z.shape[1])
    largest = (
        np.abs(Z).max(axis=1, initial=0) if not weights.any() else np.abs(Z[:, weights[0] > 0]).max(axis=1)
    )
    deviation_error = error * (np.abs(Z) + largest[:, None])
    # The variance has rounding errors of its own and those of the squared deviations.
    deviation = largest * 2
    variance_error = error * (deviation**2 + deviation * largest)
    unbiased = 2  # n / (n - 1) is at most 2, for two samples
    assert (np.abs(moved[0] - exact_moved[0]) <= error * (largest + np.abs(running[0]))).all()
    assert (np.abs(moved[1] - exact_moved[1]) <= unbiased * variance_error + error * np.abs(running[1])).all()
    # inverse = (variance + EPS)^(-1/2)
    inverse_error = exact_inverse * (error + variance_error / 2 * exact_inverse**2)
    assert (np.abs(inverse - exact_inverse) <= inverse_error).all()
    N_error = exact_inverse.T * deviation_error + np.abs(exact_N) * (inverse_error / exact_inverse).T
    assert (np.abs(N - exact_N) <= N_error).all()
    bound = np.abs(scale.T) * N_error + error * (np.abs(exact_outcome) + np.abs(shift.T))
    assert (np.abs(outcome - exact_outcome) <= bound).all()
    assert {array.dtype for array in (outcome, N, inverse, moved)} == {draw.dtype}


@given(draws, widths, counts)
def test_backward_matches_the_reference(draw: Draw, n_units, count):
    Z, weights, scale, *_ = arrays = problem(draw, n_units, count)
    _, N, inverse, _ = forward(*arrays)
    dZ = draw.array(*Z.shape) * (weights > 0)  # the derivatives of samples without weight are 0
    buffers = Windows(dZ, *(untouched((1, n_units), draw.dtype) for _ in range(2)))
    compiled.batch_norm_backward(
        read_only(N), read_only(weights), read_only(scale), read_only(inverse), *buffers.views
    )
    assert buffers.are_kept_apart()
    d, dscale, dshift = buffers.views
    exact, exact_dscale, exact_dshift = reference.batch_norm_backward(
        wide(N.T), wide(weights[0]), wide(scale), wide(inverse), wide(dZ.T)
    )
    error = tolerance(draw.dtype) + tolerance(np.dtype(np.float64), Z.shape[1])
    scale_terms, shift_terms = np.abs(dZ * N).sum(axis=1), np.abs(dZ).sum(axis=1)
    assert (np.abs(wide(dscale) - exact_dscale) <= error * scale_terms).all()
    assert (np.abs(wide(dshift) - exact_dshift) <= error * shift_terms).all()
    share = weights / max(weights.sum(), np.finfo(draw.dtype).tiny)
    terms = np.abs(dZ) + share * (shift_terms[:, None] + np.abs(N) * scale_terms[:, None])
    assert (np.abs(d - exact.T) <= 2 * error * np.abs(scale * inverse).T * terms).all()


def small_problem(n=7, n_units=3):
    random = np.random.default_rng(0)
    weights = random.uniform(0.2, 2, n)
    weights[2] = 0
    return {
        "Z": random.normal(1, 2, (n, n_units)),
        "weights": weights,
        "scale": random.normal(size=(1, n_units)),
        "shift": random.normal(size=(1, n_units)),
    }


@pytest.mark.parametrize("name", ["Z", "scale", "shift"])
def test_reference_gradients_match_central_differences(name):
    arrays = small_problem()
    top = np.random.default_rng(1).normal(size=arrays["Z"].shape) * (arrays["weights"][:, None] > 0)

    def loss(**changed):
        outcome, _, _ = reference.batch_norm_forward(
            **{**arrays, **changed}, means=np.zeros((1, 3)), variances=np.zeros((1, 3))
        )
        return (outcome * top).sum()

    _, N, inverse = reference.batch_norm_forward(**arrays, means=np.zeros((1, 3)), variances=np.zeros((1, 3)))
    derivatives = reference.batch_norm_backward(N, arrays["weights"], arrays["scale"], inverse, top)
    gradient = dict(zip(("Z", "scale", "shift"), derivatives, strict=True))[name]
    for index in np.ndindex(gradient.shape):
        moved = [arrays[name].copy(), arrays[name].copy()]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        numeric = (loss(**{name: moved[0]}) - loss(**{name: moved[1]})) / 2e-6
        assert numeric == pytest.approx(gradient[index], rel=1e-6, abs=1e-8)


def test_reference_matches_the_formula():
    arrays = small_problem()
    Z, weights = arrays["Z"], arrays["weights"]
    running = np.array([[0.5, -0.5, 2.0], [1.0, 2.0, 3.0]])
    before = running.copy()
    outcome, N, inverse = reference.batch_norm_forward(**arrays, means=running[:1], variances=running[1:])
    mean = np.average(Z, axis=0, weights=weights)
    variance = np.average((Z - mean) ** 2, axis=0, weights=weights)
    np.testing.assert_allclose(N, (Z - mean) / np.sqrt(variance + 1e-5), rtol=1e-13)
    np.testing.assert_allclose(inverse, 1 / np.sqrt(variance + 1e-5)[None], rtol=1e-14)
    np.testing.assert_allclose(outcome, N * arrays["scale"] + arrays["shift"], rtol=1e-14)
    np.testing.assert_allclose(running[0], 0.9 * before[0] + 0.1 * mean, rtol=1e-14)
    # The unbiased variance of the six samples with a weight.
    np.testing.assert_allclose(running[1], 0.9 * before[1] + 0.1 * variance * 6 / 5, rtol=1e-14)


def test_reference_with_equal_weights_matches_numpys_mean_and_variance():
    Z = small_problem()["Z"]
    one = np.ones((1, 3))
    running = np.zeros((2, 3))
    _, N, _ = reference.batch_norm_forward(Z, np.full(7, 0.3), one, 0 * one, running[:1], running[1:])
    np.testing.assert_allclose(N.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(N.var(axis=0), Z.var(axis=0) / (Z.var(axis=0) + 1e-5), rtol=1e-13)
    np.testing.assert_allclose(running, 0.1 * np.stack([Z.mean(axis=0), Z.var(axis=0, ddof=1)]), rtol=1e-13)


def both_sides_backward(N, weights, scale, inverse, dZ):
    """Yield (dZ, dscale, dshift), a unit in each row, of the kernel and of the reference."""
    buffers = Windows(dZ, np.zeros_like(scale), np.zeros_like(scale))
    compiled.batch_norm_backward(
        read_only(N), read_only(weights), read_only(scale), read_only(inverse), *buffers.views
    )
    yield tuple(buffers.views)
    d, dscale, dshift = reference.batch_norm_backward(N.T, weights[0], scale, inverse, dZ.T)
    yield d.T, dscale, dshift


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_a_weight_of_two_counts_as_two_equal_samples(seed, n):
    draw = Draw(DTYPES[0], np.random.default_rng(seed), 1.0)
    T = padded(2 * n, draw.dtype)
    Z, weights, scale, shift, running = problem(draw, 3, T)
    weights[...] = 0
    weights[0, :n] = 2
    twice, ones = Z.copy(), np.zeros_like(weights)
    twice[:, n : 2 * n] = Z[:, :n]
    ones[0, : 2 * n] = 1
    dZ = draw.array(3, T) * (weights > 0)
    halves = np.zeros_like(dZ)
    halves[:, :n] = halves[:, n : 2 * n] = dZ[:, :n] / 2
    for side in (forward, reference_forward):
        once, repeated = side(Z, weights, scale, shift, running), side(twice, ones, scale, shift, running)
        for one, other in zip(once[:2], repeated[:2], strict=True):
            np.testing.assert_allclose(one[:, :n], other[:, :n], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(once[2], repeated[2], rtol=1e-9)
        np.testing.assert_allclose(once[3][0], repeated[3][0], rtol=1e-12, atol=1e-14)
    N, inverse = once[1], once[2]
    N_twice = repeated[1]
    for ours, theirs in zip(
        both_sides_backward(N, weights, scale, inverse, dZ),
        both_sides_backward(N_twice, ones, scale, inverse, halves), strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(ours[0][:, :n] / 2, theirs[0][:, :n], rtol=1e-8, atol=1e-11)
        for one, other in zip(ours[1:], theirs[1:], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-11)


@each_dtype
def test_a_batch_whose_weights_are_0_has_finite_results(dtype):
    draw = Draw(dtype, np.random.default_rng(0), 1.0)
    Z, weights, scale, shift, running = problem(draw, 3, 5)
    weights[...] = 0
    for side in (forward, reference_forward):
        outcome, N, inverse, moved = side(Z, weights, scale, shift, running)
        assert np.isfinite(outcome).all()
        np.testing.assert_allclose(inverse, 1e5**0.5, rtol=tolerance(dtype))
        np.testing.assert_array_equal(moved, running)
    for d, dscale, dshift in both_sides_backward(N, weights, scale, inverse, np.zeros_like(Z)):
        for array in (d, dscale, dshift):
            assert not array.any()


@each_dtype
def test_one_sample_is_normalised_to_the_shift(dtype):
    draw = Draw(dtype, np.random.default_rng(0), 1.0)
    Z, weights, scale, shift, running = problem(draw, 4, 1)
    weights[0, 0] = 0.7
    for side in (forward, reference_forward):
        outcome, N, _, moved = side(Z, weights, scale, shift, running)
        # The rounding error of the mean, magnified by 1 / sqrt(EPS).
        np.testing.assert_allclose(N[:, 0], 0, atol=tolerance(dtype) * 400 * np.abs(Z[:, 0]).max())
        np.testing.assert_allclose(outcome[:, :1], shift.T, atol=tolerance(dtype) * 4000)
        np.testing.assert_array_equal(moved[1], running[1])
        np.testing.assert_allclose(moved[0], 0.9 * running[0] + 0.1 * Z[:, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["EPS", "MOMENTUM"])
def test_kernels_and_reference_have_the_same_constants(name):
    assert getattr(compiled, name) == getattr(reference, name)
