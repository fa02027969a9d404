"""Sparse tables: the first layer, trainings, predictions and fits agree with those on the dense table."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from strategies import dtypes, keys, seeds, tolerance, untouched, wide
from trainings import STEP_OPTIONS, begin, run_on

import fastnn
from fastnn.engine import limits
from fastnn.engine.job import Job
from fastnn.estimators import samples
from fastnn.network.description import Network, allocate_empty
from fastnn.reference import gate as reference
from fastnn.reference.random import dropout
from fastnn.system.threads import count_cores
from fastnn_kernels import sparse as compiled
from fastnn_kernels.calls.prediction import SparseTable


def sparse_table(random, n_samples, n_features, dtype, share=0.3):
    """Return a CSR matrix with empty rows, unsorted columns, stored zeros and duplicate entries."""
    X = scipy.sparse.random_array(
        (n_samples, n_features), density=share, format="coo", random_state=random, dtype=dtype
    )
    values, (rows, columns) = random.normal(size=X.nnz).astype(dtype), X.coords
    values[random.random(X.nnz) < 0.1] = 0
    twice = random.random(X.nnz) < 0.2
    order = random.permutation(X.nnz + twice.sum())
    values, rows, columns = (np.concatenate([one, one[twice]])[order] for one in (values, rows, columns))
    by_row = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[by_row], np.arange(n_samples + 1))
    return scipy.sparse.csr_array((values[by_row], columns[by_row], starts), shape=X.shape)


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 70), st.integers(1, 40))


@given(sizes, dtypes, seeds, keys, st.sampled_from([0.0, 0.3, 0.9]))
def test_a_sparse_layer_matches_the_dense_one(sizes, dtype, seed, key, rate):
    n_samples, n_inputs, n_outputs, count = sizes
    random = np.random.default_rng(seed)
    network = Network((n_inputs, n_outputs, 2), ("tanh", "tanh"), dtype)
    X = sparse_table(random, n_samples, n_inputs, dtype)
    rows = random.integers(0, n_samples, n_samples + 5)
    first = int(random.integers(0, rows.size))
    count = min(count, rows.size - first)
    T = network.whole_tile(count + int(random.integers(0, 20)))
    parameters = allocate_empty(network.n_parameters, dtype)
    parameters[...] = random.normal(size=parameters.size)
    W, b = network.weights(parameters)[0], network.biases(parameters)[0]
    sums = untouched((T, network.whole_tile(n_outputs)), dtype)
    table = SparseTable(X.data, X.indices.astype(np.int32), X.indptr.astype(np.int64), rows)
    tile = compiled.SparseTile(table, first, first + count - 1, sums)
    position, key = 2 * int(random.integers(0, 100)), np.uint64(key)

    # Two threads compute a part of the samples each.
    middle = int(random.integers(0, T + 1))
    for part in ((middle, T), (0, middle)):
        compiled.sparse_affine_forward(tile, parameters, 0, b, key, position, rate, *part)
    chosen = wide(X.toarray()[rows[first : first + count]])
    if rate:
        chosen = dropout(chosen, int(key), position, rate)
    expected = reference.affine_forward(wide(W), wide(b), chosen)
    error = tolerance(dtype, 50 * (n_inputs + 1))
    bound = error * max(1, np.abs(expected).max())
    np.testing.assert_allclose(sums[:count, :n_outputs], expected, rtol=0, atol=bound)
    assert np.isfinite(sums[:, :n_outputs]).all()

    dZ = random.normal(size=(T, n_outputs)).astype(dtype)
    dZ[count:] = 0
    expected, _, _ = reference.affine_backward(wide(W), chosen, wide(dZ[:count]))
    sums[...] = 0
    sums[:, :n_outputs] = dZ
    # Two threads compute the rows of a part of the features each, and leave the other rows alone:
    # not even 0 may be added, which turns -0.0 into 0.0.
    middle = int(random.integers(0, n_inputs + 1))
    gradient, whole = np.full((2, network.n_parameters), -0.0, dtype)
    arguments = 0, n_outputs, key, position, rate
    compiled.sparse_affine_backward(tile, gradient, *arguments, middle, n_inputs)
    assert np.signbit(gradient[: middle * n_outputs]).all()
    compiled.sparse_affine_backward(tile, gradient, *arguments, 0, middle)
    bound = error * max(1, np.abs(expected).max()) * count
    np.testing.assert_allclose(network.weights(gradient)[0], expected, rtol=0, atol=bound)
    outside = gradient[n_inputs * n_outputs :]
    assert np.signbit(outside).all()
    assert not outside.any()
    # Any parts give the same bits.
    compiled.sparse_affine_backward(tile, whole, *arguments, 0, n_inputs)
    np.testing.assert_array_equal(whole, gradient)


# The parameters take three blocks (`train.BLOCK`), the last one incomplete.
SHARED_LAYERS = (260, 33, 3)


def shared_job(n_threads, n_samples=90, dtype=np.float64, **options):
    """Return a job on a sparse table, with batches of 40 samples unless the options say otherwise."""
    random = np.random.default_rng(3)
    X = sparse_table(random, n_samples, SHARED_LAYERS[0], np.dtype(dtype), 0.05)
    y = random.integers(0, SHARED_LAYERS[-1], (n_samples, 1)).astype(dtype)
    options = {"batch_size": 40, "seed": 5, "epsilon": 0.01, "num_passes": 3, "reduction": "mean"} | options
    return Job(X, y, np.ones(n_samples), n_threads=n_threads, **options)


@pytest.mark.parametrize(
    ("dtype", "layer", "options"),
    [
        (np.float64, {}, {}),
        (np.float32, {}, {"shuffle": True, "optimizer": fastnn.SGD(), "l1": 1e-3, "reg_lambda": 0.1}),
        (np.float64, {}, STEP_OPTIONS),
        (np.float32, {"dropout": (0.2, 0.3)}, {}),
        (np.float64, {"batch_norm": True}, {"shuffle": True}),
        (np.float32, {}, {"n_samples": 700, "batch_size": 600}),  # tiles: a call may end within a step
    ],
    ids=["plain", "penalties", "options of a step", "dropout", "batch norm", "tiles"],
)
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, dtype, layer, options):
    network = Network(SHARED_LAYERS, ("tanh", "identity"), np.dtype(dtype), **layer)
    reference, expected = begin("numpy", network, shared_job(1, dtype=dtype, **options))
    run_on(reference, 3)
    monkeypatch.setattr(limits, "MIN_TOUCHED", 1)
    alone = None
    for n_threads, steps_per_call in ((1, None), (2, None), (2, 1), (3, 2)):
        trainer, result = begin("numba", network, shared_job(n_threads, dtype=dtype, **options))
        run_on(trainer, 3, steps_per_call)
        assert trainer._calls.n_running == min(n_threads, count_cores())
        alone = alone or result
        for name, array in result.items():
            np.testing.assert_array_equal(array, alone[name], err_msg=f"{name}, {n_threads} threads")
    error = 2e-3 if dtype == np.float32 else 1e-8
    np.testing.assert_allclose(alone["parameters"], expected["parameters"], rtol=error, atol=error)


@pytest.mark.parametrize(("batch_size", "n_threads"), [(1, 1), (40, 2)])
def test_steps_of_few_values_have_one_thread(batch_size, n_threads, monkeypatch):
    """A batch of 40 samples touches some 43,000 numbers, a single sample 9,600."""
    monkeypatch.setattr(limits, "MIN_TOUCHED", 20_000)
    network = Network(SHARED_LAYERS, ("tanh", "identity"), np.dtype(float))
    trainer, _ = begin("numba", network, shared_job(2, batch_size=batch_size))
    run_on(trainer, 1)
    assert trainer._calls.n_running == n_threads


OPTIONS = [{"solver": "lbfgs"}, {"early_stopping": True, "class_weight": "balanced"}, {"method": "snapshots"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.filterwarnings("ignore::UserWarning")  # too few epochs, a batch larger than the table
def test_fits_match_those_on_the_dense_table(monkeypatch, options):
    random = np.random.default_rng(0)
    X, y = sparse_table(random, 200, 300, np.float64, 0.05), random.integers(0, 3, 200)
    estimator = fastnn.MLPClassifier((8,), max_iter=6, random_state=0, tol=0)
    if "method" in options:
        member = estimator.set_params(random_state=None, batch_size=20)
        estimator = fastnn.MLPEnsembleClassifier(member, 2, random_state=0)
    estimator.set_params(**options)
    probabilities = []
    for sparse in (True, False):
        monkeypatch.setattr(samples, "SPARSE_FRACTION", 1.0 if sparse else -1.0)  # the largest that stays
        probabilities.append(clone(estimator).fit(X, y).predict_proba(X if sparse else X.toarray()))
    np.testing.assert_allclose(*probabilities, atol=1e-6)


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
