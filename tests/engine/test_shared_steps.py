"""Steps that threads share: workspaces far apart, and the same bits for any number of threads."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import dtypes

from fastnn.engine import limits
from fastnn.engine.arguments import make_training_workspace
from fastnn.engine.job import Job
from fastnn.engine.tiles import choose_training_width
from fastnn.network.description import Network
from fastnn_kernels.compiler.kinds import get_address


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
