"""Steps that threads share: workspaces far apart, and the same bits for any number of threads."""

from itertools import pairwise

import numpy as np
import pytest
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import dtypes

import fastnn
from fastnn.engine import limits
from fastnn.engine.arguments import distant_rows, training_workspace
from fastnn.engine.job import Job
from fastnn.engine.tiles import training_width
from fastnn.network.description import ALIGNMENT, Network
from fastnn.system import threads
from fastnn_kernels.compiler.addresses import address_of

# Arrays of a workspace with a row for each thread.
PER_THREAD = "tiles", "units", "dunits", "scratch"


def bytes_of(row):
    """Return the addresses of a row's first byte and of the byte after its last."""
    return address_of(row), address_of(row) + row.nbytes


@given(st.integers(1, 8), st.integers(1, 5000), dtypes)
def test_rows_of_threads_lie_apart_and_begin_at_cache_lines(n_rows, n_lines, dtype):
    size = n_lines * ALIGNMENT // dtype.itemsize
    array = distant_rows(n_rows, size, dtype)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.shape[0] == n_rows
    starts = [address_of(row) for row in array]
    assert all(start % ALIGNMENT == 0 for start in starts)
    distances = np.diff(starts) - size * dtype.itemsize
    assert (distances == limits.GAP_BYTES).all()
    assert array.shape[1] >= size


@given(
    st.lists(st.integers(1, 90), min_size=2, max_size=4), dtypes, st.integers(1, 600), st.integers(2, 8),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_workspaces_of_threads_do_not_overlap(layers_dim, dtype, batch_size, n_threads, whole, dropped):
    network = Network.create(layers_dim, dtype=dtype, dropout=0.5 if dropped else 0.0)
    n_samples = batch_size if whole else batch_size + 1
    job = Job(
        np.zeros((n_samples, layers_dim[0]), dtype), np.zeros((n_samples, 1), dtype), np.ones(n_samples), 1,
        batch_size,
    )  # fmt: skip
    width = training_width(network, batch_size)
    work = training_workspace(network, job, width, n_threads)
    spans = []
    for name in PER_THREAD:
        array = getattr(work, name)
        used = array.shape[1] - limits.GAP_BYTES // dtype.itemsize
        spans += [(*bytes_of(row[:used]), thread) for thread, row in enumerate(array)]
    spans = sorted(span for span in spans if span[0] < span[1])
    for (_, end, thread), (begin, _, other) in pairwise(spans):
        assert begin >= end
        assert thread == other or begin - end >= limits.GAP_BYTES


def test_the_workspace_of_one_thread_has_no_gaps():
    network = Network.create([20, 8, 2])
    job = Job(np.zeros((30, 20)), np.zeros((30, 1)), np.ones(30), 1, 8)
    work = training_workspace(network, job, 8, 1)
    assert work.units.shape == (1, network.training_layout.n_units * 8)


@with_examples(30)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=2), dtypes, st.integers(9, 150), st.integers(1, 7),
    st.sampled_from([None, 0.5]), st.sampled_from([None, 0.7]), st.integers(0, 99),
)  # fmt: skip
def test_uneven_parts_give_the_same_bits_for_any_number_of_threads(
    hidden, dtype, batch_size, n_more, clip_norm, ema_decay, seed
):
    """The last batch of an epoch is short: some of its shards have few samples or none."""
    random = np.random.default_rng(seed)
    n_samples = batch_size + n_more
    X, y = random.normal(size=(n_samples, 11)), random.integers(0, 3, n_samples)
    results = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SHARED_OPERATIONS": 0, "TEAM_SAMPLES": 1, "MIN_SHARD": 2}.items():
            patch.setattr(limits, name, value)
        patch.setattr(threads, "available_cores", lambda: 8)
        for n_threads in (1, 2, 3, 8):
            model = fastnn.Model([11, *hidden, 3], activation="relu", dtype=dtype, random_state=seed)
            history = model.train(
                X, y, 3, 0.01, batch_size=batch_size, optimizer="adam", reduction="mean", clip_norm=clip_norm,
                ema_decay=ema_decay, n_threads=n_threads, random_state=seed,
            )  # fmt: skip
            results.append(np.concatenate([model._parameters, history.loss, history.gradient_norm]))
    assert np.isfinite(results[0]).all()
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
