"""Predictions and losses of whole tables, and grids: both backends against scores computed in float64."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import scipy.sparse
from committees import reference_side
from hypothesis import given
from hypothesis import strategies as st
from strategies import RECIPES, networks, sample_weights, seeds, targets, wide

from fastnn.boundary.committee import Committee
from fastnn.boundary.grids import Grid
from fastnn.engine import arrays, get_backend, limits
from fastnn.network.description import Network
from fastnn.reference import predict as reference
from fastnn.reference.grid import grid_classes
from fastnn.reference.network import scores
from fastnn.reference.output import output_forward
from fastnn.system import threads
from fastnn_kernels import network as compiled_network

of_classes = st.sampled_from(RECIPES[:3])
# Numbers of samples that fill less than a tile, a whole tile, nearly one, and many tiles.
counts = st.one_of(st.integers(1, 40), st.sampled_from([128, 129, 511, 512, 513, 1100]))


def draw_problem(network, count, seed, is_sparse=False):
    """Return parameters with batch normalisation folded in, samples, targets and weights."""
    random = np.random.default_rng(seed)
    parameters = network.draw_parameters(np.random.RandomState(seed))
    statistics = network.make_statistics()
    for running in network.running(statistics):
        if running is not None:
            running[...] = random.uniform(0.3, 2, running.shape)
    X = random.normal(size=(count, network.n_inputs)).astype(network.dtype)
    X = scipy.sparse.csr_array(X * (random.random(X.shape) < 0.5)) if is_sparse else X
    y = targets(network.loss, network.n_outputs, count, network.dtype, random)
    return network.fold_batch_norm(parameters, statistics), X, y, sample_weights(count, random)


def exact_scores(network, parameters, X):
    parameters, X = wide(parameters), wide(X.toarray() if scipy.sparse.issparse(X) else X)
    return scores(network.activations, network.weights(parameters), network.biases(parameters), X)


def rounding(network, S):
    """Return the largest distance that rounding can put between scores and the exact S."""
    return 500 * float(np.finfo(network.dtype).eps) * max(1.0, float(np.abs(S).max()))


BACKENDS = get_backend("numba"), get_backend("numpy")


@given(networks(), counts, seeds, st.booleans())
def test_outputs_and_classes_match_the_reference(network: Network, count, seed, is_sparse):
    parameters, X, _, _ = draw_problem(network, count, seed, is_sparse)
    S = exact_scores(network, parameters, X)
    name, error = network.loss.output, rounding(network, S)
    expected = output_forward(name, S)
    for backend in BACKENDS:
        P = backend.outputs(network, parameters, X, name)
        assert P.dtype == network.dtype
        # An exponential turns an absolute error of its argument into a relative one of its value.
        np.testing.assert_allclose(P, expected, rtol=0, atol=error * max(1.0, np.abs(expected).max()))
        if name == "softmax":
            np.testing.assert_allclose(P.sum(axis=1), 1, rtol=20 * np.finfo(network.dtype).eps)
        classes = backend.outputs(network, parameters, X, None)
        assert classes.dtype == np.int64
        # Either class may be predicted if their scores differ by less than the rounding error.
        assert (S[np.arange(count), classes] >= S.max(axis=1) - error).all()


@given(networks(), counts, seeds, st.booleans())
def test_loss_matches_the_reference(network: Network, count, seed, is_sparse):
    parameters, X, y, weights = draw_problem(network, count, seed, is_sparse)
    S, loss = exact_scores(network, parameters, X), network.loss
    labels = y[:, 0] if loss.of_labels else y
    expected = reference.loss_value(loss.name, S, wide(labels), weights, loss.parameter)
    # A bound of a loss's derivative by a score; no loss but Poisson's grows faster than a square.
    slope = max(1.0, float(np.abs(S).max())) + float(np.abs(y).max())
    slope = np.exp(slope) if loss.output == "exponential" else slope
    error = rounding(network, S) * slope * network.n_outputs * max(1.0, weights.sum())
    for backend in BACKENDS:
        assert backend.loss(network, X, y, weights)(parameters) == pytest.approx(expected, abs=error)


def predict_all(network, parameters, X, y, weights, n_threads=1):
    """Return outputs, classes and the loss, and what the grid of a plane shows if there are two inputs."""
    backend = get_backend("numba")
    found = [
        backend.outputs(network, parameters, X, "identity", n_threads),
        backend.outputs(network, parameters, X, None, n_threads),
        backend.loss(network, X, y, weights, n_threads)(parameters),
    ]
    if network.n_inputs == 2 and network.n_outputs > 1:
        classes = np.zeros((3, 150), np.uint8)
        xs, ys = (np.linspace(-2, 2, n).astype(network.dtype) for n in (150, 3))
        Grid(Committee([(network, parameters)], votes=False)).classes(xs, ys, classes)
        found.append(classes)
    return found


@given(networks(least_inputs=2), counts, seeds, st.booleans())
def test_packed_weights_give_the_same_bits(network: Network, count, seed, is_sparse):
    parameters, X, y, weights = draw_problem(network, count, seed, is_sparse)
    expected = predict_all(network, parameters, X, y, weights)
    with pytest.MonkeyPatch.context() as patch:
        # Pack all weights, whatever the processor, and for few samples too.
        patch.setattr(compiled_network, "PACKED_BYTES", 0)
        patch.setattr(arrays, "plan_packing", lambda: compiled_network.plan_packing.py_func)
        patch.setattr(limits, "PACKED_TILES", 0)
        found = predict_all(network, parameters, X, y, weights)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@given(networks(), st.integers(1, 1100), seeds, st.booleans())
def test_any_number_of_calls_and_threads_gives_the_same_bits(network, count, seed, is_sparse):
    parameters, X, y, weights = draw_problem(network, count, seed, is_sparse)
    expected = predict_all(network, parameters, X, y, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "count_cores", lambda: 8)
        patch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)  # one tile in each call
        for n_threads in (1, 2, 8, 0):
            found = predict_all(network, parameters, X, y, weights, n_threads)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)
    assert threads._budget.in_use == 0


planes = networks(of_classes, least_inputs=2, most_inputs=2)


@given(planes, st.integers(1, 40), st.sampled_from([1, 5, 64, 129, 700]), seeds)
def test_grids_have_the_predictions_at_their_points(network: Network, height, width, seed):
    parameters, *_ = draw_problem(network, 1, seed)
    xs = (-1.0 + np.arange(width) * (3.0 / width)).astype(network.dtype)
    ys = (0.5 + np.arange(height) * (2.0 / height)).astype(network.dtype)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    expected = get_backend("numba").outputs(network, parameters, points, None).reshape(height, width)
    S = np.sort(exact_scores(network, parameters, points), axis=1)
    close = np.zeros(len(points), bool)
    if network.n_outputs > 1:
        close = S[:, -1] - S[:, -2] <= rounding(network, S)
    committee = Committee([(network, parameters)], votes=False)
    with_reference = partial(grid_classes, reference_side(committee), False)
    for fill, excused in ((Grid(committee).classes, np.zeros_like(close)), (with_reference, close)):
        classes = np.full((height + 2, width), 99, np.uint8)
        fill(xs, ys, classes[1:-1])
        assert ((classes[1:-1] == expected) | excused.reshape(height, width)).all()
        assert (classes[[0, -1]] == 99).all()


@pytest.mark.parametrize("n_taken", [0, 2])
def test_the_caller_computes_alone_without_a_thread_or_a_free_core(monkeypatch, n_taken):
    monkeypatch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)  # many calls
    monkeypatch.setattr(threads, "count_cores", lambda: 2)
    network = Network((3, 4, 2), ("tanh", "tanh"), RECIPES[0].dtype)
    X, parameters = np.ones((2000, 3)), network.draw_parameters(np.random.RandomState(1))

    def refuse(n_threads):
        raise RuntimeError("can't start new thread")

    def predict():
        return get_backend("numba").outputs(network, parameters, X, "identity")

    expected = predict()
    monkeypatch.setattr(threads, "start_pool", refuse if n_taken == 0 else None)
    with threads.acquire_cores(n_taken) if n_taken else nullcontext():
        np.testing.assert_array_equal(predict(), expected)
        assert threads._budget.in_use == n_taken
    assert threads._budget.in_use == 0
