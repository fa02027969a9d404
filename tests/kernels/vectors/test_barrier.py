"""The barrier: no thread passes before all have arrived."""

import threading

import numpy as np
import pytest

from fastnn_kernels.calls.training import COUNTER_DISTANCE
from fastnn_kernels.compiler.jit import kernel
from fastnn_kernels.vectors.barrier import wait


@kernel
def rounds(barrier, thread, n_threads, counts, seen):
    """Count the rounds of a thread; write the counts of all threads after each wait."""
    for k in range(seen.shape[0]):
        counts[thread] = k + 1
        wait(barrier, thread, n_threads)
        for other in range(n_threads):
            seen[k, other] = counts[other]
        wait(barrier, thread, n_threads)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_all_threads_see_what_the_others_wrote_before(n_threads):
    barrier = np.zeros(n_threads * COUNTER_DISTANCE, np.int64)
    counts, seen = np.zeros(n_threads, np.int64), np.zeros((n_threads, 200, n_threads), np.int64)
    rounds(np.zeros(COUNTER_DISTANCE, np.int64), 0, 1, counts[:1], seen[0, :1])
    counts[...] = 0
    threads = [
        threading.Thread(target=rounds, args=(barrier, k, n_threads, counts, seen[k]))
        for k in range(n_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen == np.arange(1, 201)[:, None]).all()
    assert set(barrier[::COUNTER_DISTANCE]) == ({400} if n_threads > 1 else {0})
