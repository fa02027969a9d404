"""Steps that threads share: workspaces far apart, and the same bits for any number of threads."""

from itertools import pairwise

import numpy as np
import pytest
from estimator_checks import parameters
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import dtypes

import fastnn
from fastnn.engine import limits
from fastnn.engine.arguments import allocate_distant_rows, make_training_workspace
from fastnn.engine.job import Job
from fastnn.engine.tiles import choose_training_width
from fastnn.network.description import ALIGNMENT, Network
from fastnn_kernels.compiler.kinds import get_address


@given(st.integers(1, 8), st.integers(1, 5000), dtypes)
def test_rows_of_threads_lie_apart_and_begin_at_cache_lines(n_rows, n_lines, dtype):
    size = n_lines * ALIGNMENT // dtype.itemsize
    array = allocate_distant_rows(n_rows, size, dtype)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.shape[0] == n_rows
    starts = [get_address(row) for row in array]
    assert all(start % ALIGNMENT == 0 for start in starts)
    distances = np.diff(starts) - size * dtype.itemsize
    assert (distances == limits.GAP_BYTES).all()
    assert array.shape[1] >= size


@given(
    st.lists(st.integers(1, 90), min_size=2, max_size=4),
    dtypes,
    st.integers(1, 600),
    st.integers(2, 8),
    st.booleans(),
    st.booleans(),
)
def test_workspaces_of_threads_do_not_overlap(layers_dim, dtype, batch_size, n_threads, whole, dropped):
    network = Network.create(layers_dim, dtype=dtype, dropout=0.5 if dropped else 0.0)
    n_samples = batch_size if whole else batch_size + 1
    X, y = np.zeros((n_samples, layers_dim[0]), dtype), np.zeros((n_samples, 1), dtype)
    job = Job(X, y, np.ones(n_samples), 1, batch_size)
    width = choose_training_width(network, batch_size)
    work = make_training_workspace(network, job, width, n_threads)
    spans = []
    for array in (work.tiles, work.units, work.dunits, work.scratch):  # a row for each thread
        n_bytes = array.shape[1] * dtype.itemsize - limits.GAP_BYTES
        starts = enumerate(map(get_address, array))
        spans += [(start, start + n_bytes, thread) for thread, start in starts]
    spans = sorted(span for span in spans if span[0] < span[1])
    for (_, end, thread), (begin, _, other) in pairwise(spans):
        assert begin >= end
        assert thread == other or begin - end >= limits.GAP_BYTES


@with_examples(30)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=2),
    dtypes,
    st.integers(9, 150),
    st.integers(1, 7),
    st.sampled_from([None, 0.5]),
    st.sampled_from([None, 0.7]),
    st.integers(0, 99),
)
def test_uneven_parts_give_the_same_bits_for_any_number_of_threads(
    hidden, dtype, batch_size, n_more, clip_norm, ema_decay, seed
):
    """The last batch of an epoch is short: some of its shards have few samples or none."""
    random = np.random.default_rng(seed)
    n_samples = batch_size + n_more
    X, y = random.normal(size=(n_samples, 11)), random.integers(0, 3, n_samples)
    options = {"batch_size": batch_size, "optimizer": "adam", "reduction": "mean", "random_state": seed}
    options |= {"clip_norm": clip_norm, "ema_decay": ema_decay}
    results = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SHARED_OPERATIONS": 0, "TEAM_SAMPLES": 1, "MIN_SHARD": 2}.items():
            patch.setattr(limits, name, value)
        for n_threads in (1, 2, 3, 8):
            model = fastnn.Model([11, *hidden, 3], activation="relu", dtype=dtype, random_state=seed)
            history = model.train(X, y, 3, 0.01, n_threads=n_threads, **options)
            results.append(np.concatenate([parameters(model), history.loss, history.gradient_norm]))
    assert np.isfinite(results[0]).all()
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
