"""Predictions and losses of whole tables, and grids: both backends against scores computed in float64."""

import signal

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from strategies import RECIPES, networks, sample_weights, seeds, targets, wide

from fastnn.boundary.committee import Committee
from fastnn.boundary.grids import GRIDS
from fastnn.engine import arrays, limits
from fastnn.engine import compiled as compiled_backend
from fastnn.engine.arrays import with_packed_weights
from fastnn.engine.choice import get_backend
from fastnn.engine.tiles import widest_tile
from fastnn.network.description import Network
from fastnn.reference import predict as reference
from fastnn.reference.network import scores
from fastnn.reference.output import output_forward
from fastnn.system import threads
from fastnn_kernels import network as compiled_network
from fastnn_kernels.calls.prediction import PACKED

of_classes = st.sampled_from(RECIPES[:3])
# Numbers of samples that fill less than a tile, a whole tile, nearly one, and many tiles.
counts = st.one_of(st.integers(1, 40), st.sampled_from([128, 129, 511, 512, 513, 1100]))


@pytest.fixture(scope="module", params=["one call", "many calls"], autouse=True)
def calls(request):
    """Run every test with tables predicted in one call, and in many calls of a part each."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "many calls":
            patch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
        yield


def problem(network, count, seed):
    """Return parameters with batch normalisation folded in, samples, targets and weights."""
    random = np.random.default_rng(seed)
    parameters = network.draw_parameters(np.random.RandomState(seed))
    statistics = network.initial_statistics()
    for running in network.running(statistics):
        if running is not None:
            running[...] = random.uniform(0.3, 2, running.shape)
    X = random.normal(size=(count, network.n_inputs)).astype(network.dtype)
    y = targets(network.loss, network.n_outputs, count, network.dtype, random)
    return network.folded(parameters, statistics), X, y, sample_weights(count, random)


def exact_scores(network, parameters, X):
    parameters = wide(parameters)
    return scores(network.activations, network.weights(parameters), network.biases(parameters), wide(X))


def rounding(network, S):
    """Return the largest distance that rounding can put between scores and the exact S."""
    return 500 * float(np.finfo(network.dtype).eps) * max(1.0, float(np.abs(S).max()))


@given(networks(), counts, seeds)
def test_outputs_match_the_reference(network: Network, count, seed):
    parameters, X, _, _ = problem(network, count, seed)
    S = exact_scores(network, parameters, X)
    name = network.loss.output
    expected = output_forward(name, S)
    # An exponential turns an absolute error of its argument into a relative one of its value.
    error = rounding(network, S) * max(1.0, np.abs(expected).max())
    for backend in (get_backend("numba"), get_backend("numpy")):
        P = backend.outputs(network, parameters, X, name)
        assert P.dtype == network.dtype
        np.testing.assert_allclose(P, expected, rtol=0, atol=error)
        if name == "softmax":
            np.testing.assert_allclose(P.sum(axis=1), 1, rtol=20 * np.finfo(network.dtype).eps)


@given(networks(of_classes), counts, seeds)
def test_predict_takes_the_highest_score(network: Network, count, seed):
    parameters, X, _, _ = problem(network, count, seed)
    S = exact_scores(network, parameters, X)
    error = rounding(network, S)
    for backend in (get_backend("numba"), get_backend("numpy")):
        classes = backend.predict(network, parameters, X)
        assert classes.dtype == np.int64
        # Either class may be predicted if their scores differ by less than the rounding error.
        assert (S[np.arange(count), classes] >= S.max(axis=1) - error).all()


@given(networks(), counts, seeds)
def test_loss_matches_the_reference(network: Network, count, seed):
    parameters, X, y, weights = problem(network, count, seed)
    S = exact_scores(network, parameters, X)
    loss = network.loss
    flat = y[:, 0] if loss.of_labels else y
    expected = reference.loss_value(loss.name, S, wide(flat), weights, loss.parameter)
    # A bound of a loss's derivative by a score; no loss but Poisson's grows faster than a square.
    slope = max(1.0, float(np.abs(S).max())) + float(np.abs(y).max())
    slope = np.exp(slope) if loss.output == "exponential" else slope
    error = rounding(network, S) * slope * network.n_outputs * max(1.0, weights.sum())
    for backend in (get_backend("numba"), get_backend("numpy")):
        assert backend.loss(network, parameters, X, y, weights) == pytest.approx(expected, abs=error)


@given(networks(), counts, seeds)
def test_samples_of_weight_0_do_not_change_the_loss(network: Network, count, seed):
    parameters, X, y, weights = problem(network, count, seed)
    weights[0] = 1  # at least one sample counts
    used = weights > 0
    for backend in (get_backend("numba"), get_backend("numpy")):
        loss = backend.loss(network, parameters, X, y, weights)
        loss_of_used = backend.loss(network, parameters, X[used], y[used], weights[used])
        error = 50 * float(np.finfo(network.dtype).eps) * max(1.0, weights.sum() * network.n_outputs)
        assert loss == pytest.approx(loss_of_used, rel=error, abs=error)


def results(network, parameters, X, y, weights):
    """Return outputs, classes and the loss, and what the grid of a plane shows if there are two inputs."""
    backend = get_backend("numba")
    found = [
        backend.outputs(network, parameters, X, "identity"),
        backend.predict(network, parameters, X),
        backend.loss(network, parameters, X, y, weights),
    ]
    if network.n_inputs == 2 and network.n_outputs > 1:
        classes = np.zeros((3, 150), np.uint8)
        xs, ys = (np.linspace(-2, 2, n).astype(network.dtype) for n in (150, 3))
        GRIDS["numba"](Committee([(network, parameters)], votes=False)).classes(xs, ys, classes)
        found.append(classes)
    return found


def pack_from(patch, n_bytes):
    """Let weights of more bytes than `n_bytes` be packed, whatever the processor."""
    patch.setattr(compiled_network, "PACKED_BYTES", n_bytes)
    patch.setattr(arrays, "plan_packing", lambda: compiled_network.plan_packing.py_func)


@given(networks(least_inputs=2), counts, seeds, st.booleans())
def test_packed_weights_give_the_same_bits(network: Network, count, seed, is_sparse):
    parameters, X, y, weights = problem(network, count, seed)
    X = scipy.sparse.csr_array(X) if is_sparse else X
    expected = results(network, parameters, X, y, weights)
    with pytest.MonkeyPatch.context() as patch:
        pack_from(patch, 0)
        patch.setattr(limits, "PACKED_TILES", 0)
        found = results(network, parameters, X, y, weights)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def wide_network(monkeypatch):
    """Return a network whose first two layers are packed on every processor, and its parameters."""
    pack_from(monkeypatch, 1 << 17)
    network = Network((300, 257, 100, 3), ("relu", "relu", "identity"), np.dtype(np.float64))
    return network, network.draw_parameters(np.random.RandomState(0))


def test_weights_of_wide_layers_are_packed(wide_network):
    network, parameters = wide_network
    for is_sparse, expected in ((False, [0, 300 * 252, -1]), (True, [-1, 0, -1])):
        plan, packed = with_packed_weights(network.layout.plan, parameters, is_sparse)
        assert plan[:, PACKED].tolist() == expected
        assert packed.size == 300 * 252 * (not is_sparse) + 257 * 96


@pytest.mark.parametrize("n_threads", [1, 2, 0])
def test_weights_are_packed_where_every_thread_has_many_tiles(wide_network, monkeypatch, n_threads):
    monkeypatch.setattr(compiled_backend, "available_cores", lambda: 3)
    network, parameters = wide_network
    fewest = limits.PACKED_TILES * (n_threads or 3) * widest_tile(network)
    for count in (fewest - 1, fewest):
        X = np.zeros((count, 300))
        plan, same, packed = get_backend("numba")._weights(network, parameters, X, n_threads)
        assert same is parameters
        assert (packed is not parameters) == (plan is not network.layout.plan) == (count == fewest)


def test_large_networks_are_not_copied(wide_network, monkeypatch):
    network, parameters = wide_network
    monkeypatch.setattr(arrays, "LARGE_BYTES", parameters.nbytes - 1)
    plan, packed = with_packed_weights(network.layout.plan, parameters)
    assert plan is network.layout.plan
    assert packed is parameters


@given(
    networks(of_classes, least_inputs=2, most_inputs=2),
    st.integers(1, 40),
    st.sampled_from([1, 5, 64, 129, 700]),
    seeds,
)
def test_grids_have_the_predictions_at_their_points(network: Network, height, width, seed):
    parameters, *_ = problem(network, 1, seed)
    xs = (-1.0 + np.arange(width) * (3.0 / width)).astype(network.dtype)
    ys = (0.5 + np.arange(height) * (2.0 / height)).astype(network.dtype)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    expected = get_backend("numba").predict(network, parameters, points).reshape(height, width)
    S = np.sort(exact_scores(network, parameters, points), axis=1)
    close = np.zeros(len(points), bool)
    if network.n_outputs > 1:
        close = S[:, -1] - S[:, -2] <= rounding(network, S)
    committee = Committee([(network, parameters)], votes=False)
    for name, excused in (("numba", np.zeros_like(close)), ("numpy", close)):
        classes = np.full((height + 2, width), 99, np.uint8)
        GRIDS[name](committee).classes(xs, ys, classes[1:-1])
        assert ((classes[1:-1] == expected) | excused.reshape(height, width)).all()
        assert (classes[[0, -1]] == 99).all()


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_read_only_tables_give_the_same_results(backend):
    network = Network((3, 4, 2), ("tanh", "tanh"), RECIPES[0].dtype)
    parameters, X, y, weights = problem(network, 50, 0)
    results = []
    for writeable in (True, False):
        for array in (X, y, weights):
            array.flags.writeable = writeable
        side = get_backend(backend)
        P = side.outputs(network, parameters, X, "softmax")
        results.append(
            (P, side.predict(network, parameters, X), side.loss(network, parameters, X, y, weights))
        )
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@given(networks(), st.integers(1, 700), seeds, st.booleans())
def test_any_number_of_threads_gives_the_same_bits(network, count, seed, is_sparse):
    network = Network(network.layers_dim, network.activations, network.dtype, network.loss)
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, network.n_inputs)).astype(network.dtype)
    X = scipy.sparse.csr_array(X) if is_sparse else X
    y = targets(network.loss, network.n_outputs, count, network.dtype, random)
    parameters, weights = network.draw_parameters(np.random.RandomState(1)), random.random(count)
    backend = get_backend("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "available_cores", lambda: 8)
        patch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)  # one tile in each call
        results = [
            (
                backend.outputs(network, parameters, X, "identity", n_threads).tobytes(),
                backend.predict(network, parameters, X, n_threads).tobytes(),
                backend.loss(network, parameters, X, y, weights, n_threads),
            )
            for n_threads in (1, 2, 8, 0)
        ]
        assert threads._budget.in_use == 0
    assert all(result == results[0] for result in results)


@pytest.fixture
def predict_many(monkeypatch):
    """Return a function that predicts 2000 samples in many calls."""
    monkeypatch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
    network = Network((3, 4, 2), ("tanh", "tanh"), RECIPES[0].dtype)
    X = np.random.default_rng(0).normal(size=(2000, 3))
    parameters = network.draw_parameters(np.random.RandomState(1))
    return lambda: get_backend("numba").outputs(network, parameters, X, "identity")


def test_predictions_are_made_without_threads_if_none_can_be_started(predict_many, monkeypatch):
    expected = predict_many()
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    monkeypatch.setattr(threads, "started_pool", lambda n_threads: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # predictions do start a pool
        predict_many()

    def refuse(n_threads):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "started_pool", refuse)
    np.testing.assert_array_equal(predict_many(), expected)
    assert threads._budget.in_use == 0


def test_the_caller_computes_alone_if_all_cores_are_taken(predict_many, monkeypatch):
    expected = predict_many()
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    monkeypatch.setattr(threads, "started_pool", None)
    with threads.acquired_cores(2):
        np.testing.assert_array_equal(predict_many(), expected)
        assert threads._budget.in_use == 2
    assert threads._budget.in_use == 0


@pytest.mark.parametrize("raises", [True, False])
def test_an_interrupt_of_a_prediction_on_threads_is_raised_or_handled(predict_many, monkeypatch, raises):
    """KeyboardInterrupt ends the threads after their part; after a handler the prediction is complete."""
    expected, heard, held = predict_many(), [], []
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    map_in_order = threads.map_in_order

    def interrupted(work, items, n_threads, stop):
        for k, done in enumerate(map_in_order(work, items, n_threads, stop)):
            if k == 2 and not held:
                signal.raise_signal(signal.SIGINT)
                held.append(k)
            yield done

    monkeypatch.setattr(threads, "map_in_order", interrupted)
    previous = signal.getsignal(signal.SIGINT)
    if not raises:
        signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        if raises:
            with pytest.raises(KeyboardInterrupt):
                predict_many()
        else:
            np.testing.assert_array_equal(predict_many(), expected)
            assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, previous)
    assert held == [2], "the interrupt must come between two parts"
    assert threads._budget.in_use == 0
