"""Small batches: kernels with vectors along the units, against the reference; and when trainings use them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import (
    Draw,
    Windows,
    draws,
    is_padding,
    networks,
    read_only,
    sample_weights,
    seeds,
    targets,
    tolerance,
    untouched,
    wide,
)

from fastnn.engine import arguments, limits
from fastnn.engine.choice import get_backend
from fastnn.engine.job import Job, Memory
from fastnn.network.description import Network
from fastnn.reference import gate as reference
from fastnn.reference.train import loss_and_gradient
from fastnn_kernels import small_batch as compiled
from fastnn_kernels.vectors.narrow_product import MAX_OUTPUTS
from fastnn_kernels.vectors.processor import VECTOR_BYTES
from fastnn_kernels.vectors.tile import gather_tile

# A single sample has code of its own.
batch_sizes = st.one_of(st.just(1), st.integers(1, 9))
# Narrow layers, layers of one vector, of several, and of blocks of vectors.
units = st.one_of(st.integers(1, MAX_OUTPUTS + 1), st.integers(1, 40), st.sampled_from([64, 100, 135]))


def padded(count, dtype):
    """Return the length of a row of `count` units: whole vectors of this processor."""
    lanes = VECTOR_BYTES // dtype.itemsize
    return -(-count // lanes) * lanes


def rows_of(draw: Draw, count, width):
    """Return samples (count, V), of which the columns from `width` on are 0."""
    rows = np.zeros((count, padded(width, draw.dtype)), draw.dtype)
    rows[:, :width] = draw.array(count, width)
    return rows


@given(draws, units, units, batch_sizes, st.booleans())
def test_rows_forward_matches_the_reference(draw: Draw, n_in, n_out, count, is_wide):
    W, b = draw.array(n_in, n_out), draw.array(1, n_out)
    X = rows_of(draw, count, n_in) if is_wide else draw.array(count, n_in)
    output = Windows(untouched((count, padded(n_out, draw.dtype)), draw.dtype))
    (Z,) = output.views
    compiled.rows_forward(W, b, X, Z)
    samples = wide(X[:, :n_in])
    expected = reference.affine_forward(wide(W), wide(b), samples)
    bound = tolerance(draw.dtype, n_in) * (np.abs(samples) @ np.abs(W) + np.abs(b))
    assert (np.abs(Z[:, :n_out] - expected) <= bound).all()
    assert (Z[:, n_out:] == 0).all()
    assert output.are_kept_apart()


@given(draws, units, units, batch_sizes, st.booleans(), st.booleans())
def test_rows_backward_matches_the_reference(draw: Draw, n_in, n_out, count, adds, with_inputs):
    dtype = draw.dtype
    W, X, dZ = draw.array(n_in, n_out), rows_of(draw, count, n_in), rows_of(draw, count, n_out)
    before = draw.array(n_in, n_out), draw.array(1, n_out)
    outputs = before if adds else tuple(untouched(array.shape, dtype) for array in before)
    outputs = Windows(*outputs, untouched((count if with_inputs else 0, padded(n_in, dtype)), dtype))
    dW, db, dX = outputs.views
    compiled.rows_backward(W, X, dZ, dW, db, dX, adds)
    samples, slopes = wide(X[:, :n_in]), wide(dZ[:, :n_out])
    exact = reference.affine_backward(wide(W), samples, slopes)
    sizes = (
        np.abs(samples).T @ np.abs(slopes), np.abs(slopes).sum(axis=0, keepdims=True),
        np.abs(slopes) @ np.abs(W).T,
    )  # fmt: skip
    for ours, expected, size, old in zip((dW, db), exact[:2], sizes[:2], before, strict=True):
        start = wide(old) if adds else 0 * old
        assert (np.abs(ours - start - expected) <= tolerance(dtype, count) * (size + np.abs(start))).all()
    if with_inputs:
        assert (np.abs(dX[:, :n_in] - exact[2]) <= tolerance(dtype, n_out) * sizes[2]).all()
        assert (dX[:, n_in:] == 0).all()
    assert outputs.are_kept_apart()


def trainer_of(network, parameters, job):
    memory = Memory.fresh(network, parameters, job)
    return get_backend("numba").trainer(network, parameters, network.initial_statistics(), job, memory)


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
        trainer = trainer_of(network, parameters, job)
        assert trainer._settings.by_rows
        assert trainer.run(1)
    labels = y[:, 0] if network.loss.of_labels else y
    exact = wide(parameters)
    loss, gradient = loss_and_gradient(
        network, exact, network.initial_statistics(), wide(X), labels, weights, 0
    )
    ours = trainer._state.gradients[0]
    error = 2000 * float(np.finfo(network.dtype).eps)
    np.testing.assert_allclose(ours, gradient, rtol=error, atol=error * max(1.0, np.abs(gradient).max()))
    assert trainer.records.losses[0] == pytest.approx(loss, rel=error, abs=error)
    assert (ours[is_padding(network)] == 0).all()


def test_gather_samples_copies_the_indexed_rows():
    X = np.arange(12.0).reshape(4, 3)
    rows = untouched((2, 3), X.dtype)
    compiled.gather_samples(read_only(X), np.array([1, 3, 0, 2]), 1, rows)
    np.testing.assert_array_equal(rows, X[[3, 0]])


@given(draws, st.integers(1, 9), st.integers(1, 3), st.integers(0, 3), st.integers(1, 3))
def test_gathered_columns_are_those_of_a_tile(draw: Draw, count, n_columns, first, n_vectors):
    width = max(n_vectors, -(-count // draw.padded(1))) * draw.padded(1)
    table, indices = draw.array(20, n_columns), draw.random.permutation(20)
    expected = untouched((n_columns, width), draw.dtype)
    gather_tile(read_only(table), indices, first, count, expected)
    output = Windows(untouched((n_columns, width), draw.dtype))
    (tile,) = output.views
    compiled.gather_columns(read_only(table), indices, first, count, tile)
    np.testing.assert_array_equal(tile, expected)
    assert output.are_kept_apart()


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 8), (np.float64, 4)])
def test_batches_of_at_most_half_a_vector_are_small(dtype, most):
    def is_small(batch_size, **options):
        network = Network.create([3, 5, 2], dtype=dtype, **options)
        X, y = np.zeros((20, 3), dtype), np.zeros((20, 1), dtype)
        return arguments.is_by_rows(network, Job(X, y, np.ones(20), 1, batch_size))

    assert [is_small(size) for size in (1, most, most + 1)] == [True, True, False]
    assert not is_small(1, batch_norm=True)
    assert not is_small(1, dropout=0.5)
