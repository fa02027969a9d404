"""Sparse tables: the first layer, trainings, predictions and fits agree with those on the dense table."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.pipeline import make_pipeline
from strategies import dtypes, is_padding, keys, networks, seeds, tolerance, untouched
from trainings import begin, run_on

import fastnn
from fastnn.engine import limits
from fastnn.engine.arguments import max_threads
from fastnn.engine.arrays import n_operations
from fastnn.engine.choice import get_backend
from fastnn.engine.job import Job
from fastnn.estimators import samples
from fastnn.network.description import Network, aligned_empty
from fastnn.reference import gate as reference
from fastnn.reference.random import dropout
from fastnn.system.threads import available_cores
from fastnn_kernels import sparse as compiled
from fastnn_kernels.calls.prediction import Table


def sparse_table(random, n_samples, n_features, dtype, share=0.3):
    """Return a CSR matrix with empty rows, unsorted columns, stored zeros and duplicate entries."""
    X = scipy.sparse.random_array(
        (n_samples, n_features), density=share, format="coo", random_state=random, dtype=dtype
    )
    values, (rows, columns) = random.normal(size=X.nnz).astype(dtype), X.coords
    values[random.random(X.nnz) < 0.1] = 0
    twice = random.random(X.nnz) < 0.2
    order = random.permutation(X.nnz + twice.sum())
    values, rows, columns = (
        np.concatenate([array, array[twice]])[order] for array in (values, rows, columns)
    )
    by_row = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[by_row], np.arange(n_samples + 1))
    return scipy.sparse.csr_array((values[by_row], columns[by_row], starts), shape=X.shape)


def as_table(X, rows):
    """Return the kernels' table of the rows of a CSR matrix."""
    return Table(X.data, X.indices.astype(np.int32), X.indptr.astype(np.int64), rows)


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 70), st.integers(1, 40), dtypes, seeds, keys,
    st.sampled_from([0.0, 0.3, 0.9]),
)  # fmt: skip
def test_a_sparse_layer_matches_the_dense_one(n_samples, n_inputs, n_outputs, count, dtype, seed, key, rate):
    random = np.random.default_rng(seed)
    network = Network((n_inputs, n_outputs, 2), ("tanh", "tanh"), dtype)
    X = sparse_table(random, n_samples, n_inputs, dtype)
    rows = random.integers(0, n_samples, n_samples + 5)
    first = int(random.integers(0, rows.size))
    count = min(count, rows.size - first)
    T, V = network.whole_tile(count + int(random.integers(0, 20))), network.whole_tile(n_outputs)
    parameters = aligned_empty(network.n_parameters, dtype)
    parameters[...] = random.normal(size=parameters.size)
    (W, _), (b, _) = network.weights(parameters), network.biases(parameters)
    sums = untouched((T, V), dtype)
    tile = compiled.SparseTile(as_table(X, rows), first, first + count - 1, sums)
    position, key = 2 * int(random.integers(0, 100)), np.uint64(key)

    # Two threads compute a part of the samples each.
    middle = int(random.integers(0, T + 1))
    for part in ((middle, T), (0, middle)):
        compiled.sparse_affine_forward(tile, parameters, 0, b, key, position, rate, *part)
    Z = sums[:, :n_outputs].T
    chosen = X.toarray()[rows[first : first + count]].astype(np.float64)
    if rate:
        chosen = dropout(chosen, int(key), position, rate)
    expected = reference.affine_forward(W.astype(np.float64), b.astype(np.float64), chosen)
    error = tolerance(dtype, 50 * (n_inputs + 1))
    np.testing.assert_allclose(Z[:, :count].T, expected, rtol=0, atol=error * max(1, np.abs(expected).max()))
    assert np.isfinite(Z).all()

    dZ = random.normal(size=(n_outputs, T)).astype(dtype)
    dZ[:, count:] = 0
    dW_expected, _, _ = reference.affine_backward(
        W.astype(np.float64), chosen, dZ[:, :count].T.astype(np.float64)
    )
    gradient = np.full(network.n_parameters, 7, dtype)
    dW = network.weights(gradient)[0]
    sums[...] = 0
    sums[:, :n_outputs] = dZ.T
    largest = max(1, np.abs(dW_expected).max())
    # Two threads compute the rows of a part of the features each, and leave those of the other part alone.
    middle = int(random.integers(0, n_inputs + 1))
    arguments = tile, gradient, 0, n_outputs, key, position, rate
    compiled.sparse_affine_backward(*arguments, middle, n_inputs)
    assert (gradient[: middle * n_outputs] == 7).all()
    compiled.sparse_affine_backward(*arguments, 0, middle)
    np.testing.assert_allclose(dW, 7 + dW_expected, rtol=0, atol=error * largest * count)
    assert (gradient[n_inputs * n_outputs :] == 7).all()
    # Any parts give the same bits.
    whole = np.full(network.n_parameters, 7, dtype)
    compiled.sparse_affine_backward(tile, whole, *arguments[2:], 0, n_inputs)
    np.testing.assert_array_equal(whole, gradient)


@pytest.mark.parametrize("n_outputs", range(1, 20))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_of_some_features_touches_nothing_else(n_outputs, dtype):
    """Another thread may be changing the other features: not even 0 may be added, which makes -0.0 to 0.0."""
    n_features, n_samples = 20, 3
    network = Network((n_features, n_outputs), ("identity",), np.dtype(dtype))
    X = scipy.sparse.csr_array(np.ones((n_samples, n_features), dtype))
    sums = np.zeros((network.whole_tile(n_samples), network.whole_tile(n_outputs)), dtype)
    sums[:n_samples, :n_outputs] = 1
    tile = compiled.SparseTile(as_table(X, np.arange(n_samples)), 0, n_samples - 1, sums)
    for first, end in itertools.combinations(range(n_features + 1), 2):
        gradient = np.full(network.n_parameters, -0.0, dtype)
        compiled.sparse_affine_backward(tile, gradient, 0, n_outputs, np.uint64(0), 0, 0.0, first, end)
        part = np.arange(gradient.size) // n_outputs
        part = (part >= first) & (part < end)
        assert (gradient[part] == n_samples).all()
        assert np.signbit(gradient[~part]).all()


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_narrow_layers_have_the_same_bits_on_two_threads(monkeypatch, width, dtype):
    monkeypatch.setattr(limits, "MIN_TOUCHED", 1)
    random = np.random.default_rng(0)
    X = sparse_table(random, 4000, 40, np.dtype(dtype))
    y = random.integers(0, 2, (4000, 1)).astype(dtype)
    results = []
    for n_threads in (1, 2):
        job = Job(X, y, np.ones(4000), 20, 2000, n_threads=n_threads, epsilon=0.01, averaged=True)
        trainer, result = begin("numba", Network((40, width, 2), ("tanh", "identity"), X.dtype), job)
        run_on(trainer, 20)
        assert trainer._calls.n_running == min(n_threads, available_cores())
        results.append(result["parameters"])
    np.testing.assert_array_equal(*results)


def test_dropout_factors_match_dense_dropout_at_any_position_of_a_batch():
    values = np.ones((9, 64))
    for first in (0, 2, 130):
        mask = dropout(values.T, 99, first, 0.4).T
        ours = [
            [compiled.dropout_factor(np.uint64(99), j, first + t, 0.4) for t in range(64)]
            for j in range(len(values))
        ]
        np.testing.assert_allclose(ours, mask, rtol=1e-15)
        assert 0 < np.count_nonzero(mask) < mask.size


@given(networks(), st.integers(1, 30), seeds, st.sampled_from([None, 4, 7]))
def test_trainings_match_those_on_the_dense_table(network, count, seed, size):
    random = np.random.default_rng(seed)
    X = sparse_table(random, count, network.n_inputs, network.dtype)
    y = (
        random.integers(0, 2, (count, network.n_outputs if not network.loss.of_labels else 1))
        % network.n_outputs
    )
    size = count if size is None else min(size, count)
    options = {"averaged": True, "shuffled": size < count, "seed": 5, "epsilon": 0.01, "num_passes": 2}
    results = []
    for table in (X, X.toarray()):
        job = Job(table, y.astype(network.dtype), np.ones(count), batch_size=size, **options)
        trainer, result = begin("numba", network, job)
        run_on(trainer, 2)
        results.append(result)
    for name in ("parameters", "losses"):
        ours, theirs = (result[name] for result in results)
        # Normalisation magnifies rounding errors, as `drawn_trainings.expected_of` explains.
        error = (1e-3 if network.batch_norm else 1e-9) if network.dtype == np.float64 else 1e-2
        np.testing.assert_allclose(ours, theirs, rtol=error, atol=error, err_msg=name)


# The parameters take three blocks (`train.BLOCK`), of which the last is incomplete.
SHARED_LAYERS = (260, 33, 3)


def shared_job(n_threads, n_samples=90, dtype=np.float64, **options):
    """Return a job on a sparse table, with batches of 40 samples unless the options say otherwise."""
    random = np.random.default_rng(3)
    X = sparse_table(random, n_samples, SHARED_LAYERS[0], np.dtype(dtype), 0.05)
    y = random.integers(0, SHARED_LAYERS[-1], (n_samples, 1)).astype(dtype)
    options = {"batch_size": 40, "seed": 5, "epsilon": 0.01, "num_passes": 3, "averaged": True} | options
    return Job(X, y, np.ones(n_samples), n_threads=n_threads, **options)


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ({}, {}),
        ({}, {"shuffled": True, "optimizer": fastnn.SGD(), "l1": 1e-3, "reg_lambda": 0.1}),
        ({}, {"clip_norm": 0.5, "max_norm": 1.0, "average_share": 0.5}),
        ({"dropout": (0.2, 0.3)}, {}),
        ({"batch_norm": True}, {"shuffled": True}),
        ({}, {"n_samples": 700, "batch_size": 600}),  # several tiles: a call may end within a step
    ],
    ids=["plain", "penalties", "limits and average", "dropout", "batch norm", "tiles"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, layer, options, dtype):
    network = Network(SHARED_LAYERS, ("tanh", "identity"), np.dtype(dtype), **layer)
    reference, expected = begin("numpy", network, shared_job(1, dtype=dtype, **options))
    run_on(reference, 3)
    monkeypatch.setattr(limits, "MIN_TOUCHED", 1)
    alone = None
    for n_threads, rounds_per_call in ((1, None), (2, None), (2, 1), (3, 2)):
        trainer, result = begin("numba", network, shared_job(n_threads, dtype=dtype, **options))
        run_on(trainer, 3, rounds_per_call)
        assert trainer._calls.n_running == min(n_threads, available_cores())
        alone = alone or result
        for name, array in result.items():
            np.testing.assert_array_equal(array, alone[name], err_msg=f"{name}, {n_threads} threads")
    error = 2e-3 if dtype == np.float32 else 1e-8
    np.testing.assert_allclose(alone["parameters"], expected["parameters"], rtol=error, atol=error)


def test_a_divergence_on_two_threads_ends_at_the_last_finite_step(monkeypatch):
    """Steps are repeated up to the last finite one; each must begin with a gradient of 0."""
    network = Network(SHARED_LAYERS, ("relu", "identity"), np.dtype(np.float32))
    monkeypatch.setattr(limits, "MIN_TOUCHED", 1)
    results = []
    for n_threads in (1, 2):
        job = shared_job(n_threads, dtype=np.float32, num_passes=60, epsilon=1e9, optimizer=fastnn.SGD())
        trainer, result = begin("numba", network, job)
        while trainer.n_passes < 60 and trainer.run(60):
            pass
        assert trainer.non_finite
        assert np.isfinite(result["parameters"]).all()
        results.append((trainer.n_steps, result["parameters"]))
    assert results[0][0] == results[1][0] > 0
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize(
    ("width", "n_values", "expected"),
    [(10, 0, 1), (20, 0, 1), (30, 0, 2), (100, 0, 7), (20, 100, 1), (20, 1000, 2), (10, 5000, 2)],
)
def test_threads_share_steps_with_many_parameters_or_many_values(width, n_values, expected):
    X = scipy.sparse.random_array(
        (10, 5000), density=2 * n_values / 50_000, format="csr", random_state=np.random.default_rng(0)
    )
    job = Job(X, np.zeros((10, 1)), np.ones(10), 1, batch_size=5)
    network = Network((5000, width, 2), ("tanh", "identity"), np.dtype(np.float64))
    assert max_threads(network, job) == expected


@given(networks(), st.integers(1, 200), seeds)
def test_predictions_match_those_on_the_dense_table(network, count, seed):
    network = Network(network.layers_dim, network.activations, network.dtype, network.loss)
    random = np.random.default_rng(seed)
    X = sparse_table(random, count, network.n_inputs, network.dtype)
    parameters = network.draw_parameters(np.random.RandomState(1))
    weights = random.random(count)
    y = np.zeros((count, 1 if network.loss.of_labels else network.n_outputs), network.dtype)
    for backend in (get_backend("numba"), get_backend("numpy")):
        S, ours = (backend.outputs(network, parameters, table, "identity") for table in (X.toarray(), X))
        error = 1000 * np.finfo(network.dtype).eps * max(1, np.abs(S).max())
        np.testing.assert_allclose(ours, S, rtol=0, atol=error)
        apart = np.diff(np.sort(S, axis=1), axis=1)[:, -1] > 2 * error if S.shape[1] > 1 else slice(None)
        classes = [backend.predict(network, parameters, table)[apart] for table in (X.toarray(), X)]
        np.testing.assert_array_equal(*classes)
        losses = [backend.loss(network, parameters, table, y, weights) for table in (X.toarray(), X)]
        np.testing.assert_allclose(*losses, rtol=1e-3 if network.dtype == np.float32 else 1e-9)


@given(networks(), st.integers(2, 60), seeds)
def test_losses_and_gradients_match_those_on_the_dense_table(network, count, seed):
    network = Network(network.layers_dim, network.activations, network.dtype, network.loss)
    random = np.random.default_rng(seed)
    X = sparse_table(random, count, network.n_inputs, network.dtype)
    y = np.zeros((count, 1 if network.loss.of_labels else network.n_outputs), network.dtype)
    parameters = network.draw_parameters(np.random.RandomState(1))
    (loss, gradient), (sparse_loss, sparse_gradient) = (
        get_backend("numba").loss_and_gradient(
            network, np.empty(0, network.dtype), table, y, np.ones(count), 0
        )(parameters)
        for table in (X.toarray(), X)
    )
    error = 1e-3 if network.dtype == np.float32 else 1e-9
    assert sparse_loss == pytest.approx(loss, rel=error)
    bound = error * max(1, np.abs(gradient).max())
    np.testing.assert_allclose(sparse_gradient, gradient, rtol=0, atol=bound)
    assert (sparse_gradient[is_padding(network)] == 0).all()


# --- estimators ----------------------------------------------------------------------------------


@pytest.fixture
def corpus():
    """Return documents, of words of their class and words of all classes, and their labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 200)
    common = [f"word{k}" for k in range(500)]
    documents = [
        " ".join([*random.choice(common, 10), *(f"own{label}x{k}" for k in random.integers(0, 40, 8))])
        for label in labels
    ]
    return documents, labels


def treat_as_sparse(monkeypatch, sparse):
    """Make estimators train on CSR matrices as they are, or as dense tables if `sparse` is False."""
    monkeypatch.setattr(samples, "SPARSE_FRACTION", 1.0 if sparse else -1.0)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"solver": "sgd", "learning_rate_init": 0.1}, {"solver": "lbfgs"}, {"early_stopping": True},
        {"batch_size": 1000}, {"dropout": [0.1, 0.2]}, {"batch_norm": True}, {"class_weight": "balanced"},
        {"n_threads": 2, "batch_size": 256},
    ],
    ids=str,
)  # fmt: skip
def test_fits_match_those_on_the_dense_table(corpus, monkeypatch, options):
    X, y = TfidfVectorizer().fit_transform(corpus[0]), corpus[1]
    fitted = []
    for sparse in (True, False):
        treat_as_sparse(monkeypatch, sparse)
        estimator = fastnn.MLPClassifier((8,), max_iter=5, random_state=0, tol=0, **options)
        with pytest.warns((ConvergenceWarning, UserWarning)):
            fitted.append(estimator.fit(X, y))
    ours, theirs = fitted
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X.toarray()), atol=1e-6)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-6)


def test_text_is_classified_as_by_scikit_learn(corpus):
    documents, labels = corpus
    options = {"max_iter": 10, "batch_size": 20, "learning_rate_init": 0.01, "random_state": 0}
    pipelines = [
        make_pipeline(TfidfVectorizer(), kind((10,), **options))
        for kind in (fastnn.MLPClassifier, TheirClassifier)
    ]
    with pytest.warns(ConvergenceWarning):
        ours, theirs = (pipeline.fit(documents, labels) for pipeline in pipelines)
    np.testing.assert_allclose(ours.predict_proba(documents), theirs.predict_proba(documents), atol=1e-9)
    assert ours.score(documents, labels) > 0.9


def test_a_sparse_table_is_never_made_dense(monkeypatch):
    """A dense copy of the table would take 8 GB, one of a batch 1.6 GB."""
    random = np.random.default_rng(0)
    n_features = 1_000_000
    columns = random.integers(0, n_features, 5 * 1000)
    X = scipy.sparse.csr_matrix((np.ones(5000), columns, np.arange(0, 5001, 5)), (1000, n_features))
    y = columns[::5] % 2
    monkeypatch.setattr(scipy.sparse.csr_matrix, "toarray", None)
    estimator = fastnn.MLPClassifier((2,), max_iter=2, random_state=0, early_stopping=True)
    with pytest.warns(ConvergenceWarning):
        estimator.fit(X, y)
    assert estimator.predict(X).shape == (1000,)
    assert 0 <= estimator.score(X, y) <= 1


@pytest.mark.parametrize(
    "container", [scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_matrix]
)
def test_fit_and_predict_leave_the_given_table_unchanged(container):
    X = container(sparse_table(np.random.default_rng(0), 50, 30, np.float64, 0.05))
    before = X.copy()
    regressor = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    with pytest.warns(ConvergenceWarning):
        regressor.fit(X, np.arange(50.0))
    regressor.predict(X)
    assert (before != X).nnz == 0
    assert X.nnz == before.nnz


def test_partial_fit_takes_sparse_and_dense_tables_in_turn(monkeypatch):
    X = sparse_table(np.random.default_rng(0), 60, 40, np.float32, 0.05)
    y = np.arange(60) % 2
    estimator = fastnn.MLPClassifier((5,), random_state=0, batch_size=20)
    estimator.partial_fit(X, y, classes=[0, 1]).partial_fit(X.toarray(), y)
    again = fastnn.MLPClassifier((5,), random_state=0, batch_size=20)
    treat_as_sparse(monkeypatch, False)
    again.partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    for ours, theirs in zip(estimator.coefs_, again.coefs_, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_ensembles_match_those_on_the_dense_table(monkeypatch):
    X = sparse_table(np.random.default_rng(0), 80, 40, np.float64, 0.05)
    y = np.arange(80) % 3
    for method in ("seeds", "bootstrap", "snapshots", "average"):
        probabilities = []
        for sparse in (True, False):
            treat_as_sparse(monkeypatch, sparse)
            member = fastnn.MLPClassifier((5,), max_iter=6, batch_size=20)
            ensemble = fastnn.MLPEnsembleClassifier(member, 2, method=method, random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                ensemble.fit(X, y)
            probabilities.append(ensemble.predict_proba(X))
        np.testing.assert_allclose(*probabilities, atol=1e-6)


def test_a_table_may_have_strided_arrays():
    X = sparse_table(np.random.default_rng(0), 60, 40, np.float64, 0.05)
    y = np.arange(60) % 2
    doubled = np.repeat(X.data, 2)[::2], np.repeat(X.indices, 2)[::2], X.indptr
    strided = scipy.sparse.csr_array(doubled, shape=X.shape, copy=False)
    assert not strided.data.flags.contiguous
    ours, theirs = (
        fastnn.MLPClassifier((5,), random_state=0, batch_size=20).partial_fit(table, y, classes=[0, 1])
        for table in (strided, X)
    )
    np.testing.assert_array_equal(ours.predict_proba(strided), theirs.predict_proba(X))


def test_the_cost_of_a_sparse_sample_depends_on_its_stored_values_not_on_the_features():
    network = Network((100_000, 8, 2), ("tanh", "identity"), np.dtype(np.float64))
    X = scipy.sparse.random_array(
        (50, 100_000), density=1e-4, format="csr", random_state=np.random.default_rng(0)
    )
    assert n_operations(network, X) < 2 * (11 * 8 + 8 + 64)
    assert n_operations(network, np.empty((1, 100_000))) == 2 * network.n_parameters


@pytest.mark.parametrize("column", [-1, 40, 2**31 - 1])
def test_column_indices_out_of_range_are_refused(column):
    X = scipy.sparse.csr_matrix(sparse_table(np.random.default_rng(0), 60, 40, np.float64, 0.05))
    estimator = fastnn.MLPClassifier((5,), random_state=0, batch_size=20)
    estimator.partial_fit(X, np.arange(60) % 2, classes=[0, 1])
    X.indices[X.nnz // 2] = column
    for act in (estimator.predict, lambda X: estimator.partial_fit(X, np.arange(60) % 2)):
        with pytest.raises(ValueError, match="X is not a valid CSR table"):
            act(X)


def test_decreasing_row_starts_are_refused():
    X = scipy.sparse.csr_matrix(sparse_table(np.random.default_rng(0), 60, 40, np.float64, 0.05))
    X.indptr[30] = X.nnz + 5
    with pytest.raises(ValueError, match="X is not a valid CSR table"):
        fastnn.MLPClassifier((5,)).partial_fit(X, np.arange(60) % 2, classes=[0, 1])
