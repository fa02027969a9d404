"""Small batches: kernels with vectors along the units, against the reference; and when trainings use them."""

import numpy as np
import pytest
from comparisons import call_kernel
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import (
    Draw,
    draws,
    is_padding,
    networks,
    sample_weights,
    seeds,
    targets,
    tolerance,
    wide,
)

from fastnn.engine import arguments, get_backend, limits
from fastnn.engine.job import Job, Memory
from fastnn.network.description import Network
from fastnn.reference import gate as reference
from fastnn.reference.train import loss_and_gradient
from fastnn_kernels import small_batch as compiled
from fastnn_kernels.vectors.narrow_product import MAX_OUTPUTS
from fastnn_kernels.vectors.processor import VECTOR_BYTES

# A single sample has code of its own.
batch_sizes = st.one_of(st.just(1), st.integers(1, 9))
# Narrow layers, layers of one vector, of several, and of blocks of vectors.
units = st.one_of(st.integers(1, MAX_OUTPUTS + 1), st.integers(1, 40), st.sampled_from([64, 100, 135]))


def padded(count, dtype):
    """Return the length of a row of `count` units: whole vectors of this processor."""
    lanes = VECTOR_BYTES // dtype.itemsize
    return -(-count // lanes) * lanes


def draw_rows(draw: Draw, count, width):
    """Return samples (count, V), of which the columns from `width` on are 0."""
    rows = np.zeros((count, padded(width, draw.dtype)), draw.dtype)
    rows[:, :width] = draw.array(count, width)
    return rows


@given(draws, units, units, batch_sizes, st.booleans())
def test_rows_forward_matches_the_reference(draw: Draw, n_in, n_out, count, is_wide):
    W, b = draw.array(n_in, n_out), draw.array(1, n_out)
    X = draw_rows(draw, count, n_in) if is_wide else draw.array(count, n_in)
    (Z,) = call_kernel(compiled.rows_forward, (W, b, X), [draw.untouched(count, padded(n_out, draw.dtype))])
    samples = wide(X[:, :n_in])
    expected = reference.affine_forward(wide(W), wide(b), samples)
    bound = tolerance(draw.dtype, n_in) * (np.abs(samples) @ np.abs(W) + np.abs(b))
    assert (np.abs(Z[:, :n_out] - expected) <= bound).all()
    assert (Z[:, n_out:] == 0).all()


@given(draws, units, units, batch_sizes, st.booleans(), st.booleans())
def test_rows_backward_matches_the_reference(draw: Draw, n_in, n_out, count, adds, with_inputs):
    dtype = draw.dtype
    W, X, dZ = draw.array(n_in, n_out), draw_rows(draw, count, n_in), draw_rows(draw, count, n_out)
    before = draw.array(n_in, n_out), draw.array(1, n_out)
    buffers = before if adds else [draw.untouched(*array.shape) for array in before]
    outputs = *buffers, draw.untouched(count * with_inputs, padded(n_in, dtype))
    dW, db, dX = call_kernel(lambda *arrays: compiled.rows_backward(*arrays, adds), (W, X, dZ), outputs)
    samples, slopes = wide(X[:, :n_in]), wide(dZ[:, :n_out])
    exact = reference.affine_backward(wide(W), samples, slopes)
    sizes = np.abs(samples).T @ np.abs(slopes), np.abs(slopes).sum(axis=0, keepdims=True)
    for ours, expected, size, start in zip((dW, db), exact[:2], sizes, before, strict=True):
        start = wide(start) * adds
        assert (np.abs(ours - start - expected) <= tolerance(dtype, count) * (size + np.abs(start))).all()
    if with_inputs:
        size = np.abs(slopes) @ np.abs(W).T
        assert (np.abs(dX[:, :n_in] - exact[2]) <= tolerance(dtype, n_out) * size).all()
        assert (dX[:, n_in:] == 0).all()


@given(networks(), batch_sizes, st.lists(units, max_size=2), seeds)
def test_gradient_matches_the_reference(drawn: Network, count, hidden, seed):
    assume(not drawn.batch_norm and not drawn.dropout)
    dims = (drawn.n_inputs, *hidden, drawn.n_outputs)
    activations = (*(drawn.activations[:1] * len(hidden)), drawn.activations[-1])
    network = Network(dims, activations, drawn.dtype, drawn.loss)
    random = np.random.default_rng(seed)
    parameters = network.draw_parameters(np.random.RandomState(seed % 2**31))
    X = random.normal(size=(count, network.n_inputs)).astype(network.dtype)
    y = targets(network.loss, network.n_outputs, count, network.dtype, random)
    weights = sample_weights(count, random)
    weights[0] = 1.0
    job = Job(X, y, weights, 1, count, epsilon=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "ROW_BYTES", 1 << 10)
        memory = Memory.fresh(network, parameters, job)
        statistics = network.make_statistics()
        trainer = get_backend("numba").trainer(network, parameters, statistics, job, memory)
        assert trainer._settings.by_rows
        assert trainer.run(1)
    labels = y[:, 0] if network.loss.of_labels else y
    exact = wide(parameters)
    loss, gradient = loss_and_gradient(network, exact, network.make_statistics(), wide(X), labels, weights, 0)
    ours = trainer._state.gradients[0]
    error = 2000 * float(np.finfo(network.dtype).eps)
    np.testing.assert_allclose(ours, gradient, rtol=error, atol=error * max(1.0, np.abs(gradient).max()))
    assert trainer.records.losses[0] == pytest.approx(loss, rel=error, abs=error)
    assert (ours[is_padding(network)] == 0).all()


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 8), (np.float64, 4)])
def test_batches_of_at_most_half_a_vector_are_small(dtype, most):
    def is_small(batch_size, **options):
        network = Network.create([3, 5, 2], dtype=dtype, **options)
        X, y = np.zeros((20, 3), dtype), np.zeros((20, 1), dtype)
        return arguments.is_by_rows(network, Job(X, y, np.ones(20), 1, batch_size))

    assert [is_small(size) for size in (1, most, most + 1)] == [True, True, False]
    assert not is_small(1, batch_norm=True)
    assert not is_small(1, dropout=0.5)
