"""The gates: kernels against the reference, the reference against central differences."""

import numpy as np
import pytest
from hypothesis import given
from strategies import Draw, counts, draws, read_only, tolerance, untouched, widths

import fastnn
from fastnn.reference import gate as reference
from fastnn_kernels import gate as compiled


@given(draws, widths, widths, counts)
def test_affine_forward_is_the_reference(draw: Draw, n_in, n_out, count):
    T = draw.padded(count)
    W, b, X = draw.array(n_in, n_out), draw.array(1, n_out), draw.array(n_in, T)
    Z = untouched((n_out, T), draw.dtype)
    compiled.affine_forward(read_only(W), read_only(b), read_only(X), Z)
    # As precise as its dtype allows: the error is bounded by the sum of the magnitudes.
    expected = reference.affine_forward(*(a.astype(np.float64) for a in (W, b, X.T))).T
    bound = tolerance(draw.dtype, n_in) * (np.abs(W).T @ np.abs(X) + np.abs(b).T)
    assert Z.dtype == draw.dtype
    assert (np.abs(Z - expected) <= bound).all()


@given(draws, widths, widths, counts)
def test_affine_backward_is_the_reference(draw: Draw, n_in, n_out, count):
    T = draw.padded(count)
    W, X, dZ = draw.array(n_in, n_out), draw.array(n_in, T), draw.array(n_out, T)
    dW, db = draw.array(n_in, n_out), draw.array(1, n_out)
    before = dW.astype(np.float64), db.astype(np.float64)
    dX = untouched((n_in, T), draw.dtype)
    compiled.affine_backward(read_only(W), read_only(X), read_only(dZ), dW, db, dX)

    exact_dW, exact_db, exact_dX = reference.affine_backward(*(a.astype(np.float64) for a in (W, X.T, dZ.T)))
    sums = np.abs(X) @ np.abs(dZ).T + np.abs(before[0])
    assert (np.abs(dW - before[0] - exact_dW) <= tolerance(draw.dtype, T + 1) * sums).all()
    sums = np.abs(dZ).sum(axis=1) + np.abs(before[1])
    assert (np.abs(db - before[1] - exact_db) <= tolerance(draw.dtype, T + 1) * sums).all()
    assert (np.abs(dX - exact_dX.T) <= tolerance(draw.dtype, n_out) * (np.abs(W) @ np.abs(dZ))).all()


@given(draws, widths, widths, counts)
def test_affine_backward_without_dX_gives_the_same_gradient(draw: Draw, n_in, n_out, count):
    T = draw.padded(count)
    W, X, dZ = draw.array(n_in, n_out), draw.array(n_in, T), draw.array(n_out, T)
    results = []
    for rows in (n_in, 0):
        dW, db = np.zeros((n_in, n_out), draw.dtype), np.zeros((1, n_out), draw.dtype)
        compiled.affine_backward(W, X, dZ, dW, db, np.empty((rows, T), draw.dtype))
        results.append((dW, db))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("which", ["W", "b", "X"])
def test_reference_gradients_are_central_differences(which):
    random = np.random.default_rng(0)
    arrays = {
        "W": random.normal(size=(3, 4)),
        "b": random.normal(size=(1, 4)),
        "X": random.normal(size=(5, 3)),
    }
    dZ = random.normal(size=(5, 4))
    dW, db, dX = reference.affine_backward(arrays["W"], arrays["X"], dZ)
    gradient = {"W": dW, "b": db, "X": dX}[which]
    for index in np.ndindex(gradient.shape):
        values = []
        for step in (1e-6, -1e-6):
            moved = {name: array.copy() for name, array in arrays.items()}
            moved[which][index] += step
            values.append((reference.affine_forward(**moved) * dZ).sum())
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient[index], rel=1e-7, abs=1e-8)


def test_units_are_the_affine_layer():
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
