"""Shares of the parameters that threads update, and the options that a step uses."""

import numba
import numpy as np
import pytest
from drawn_trainings import Training
from hypothesis import given
from hypothesis import strategies as st
from strategies import dtypes
from trainings import begin

from fastnn.network.description import ALIGNMENT, Network
from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.step import thread_share


@numba.njit(**OPTIONS)
def share_of(parameters, thread, n_threads):
    return thread_share(parameters, thread, n_threads)


@given(st.integers(1, 300), st.integers(1, 9), dtypes)
def test_shares_of_threads_divide_the_cache_lines_evenly(n_lines, n_threads, dtype):
    line = ALIGNMENT // dtype.itemsize
    parameters = np.zeros(n_lines * line, dtype)
    shares = [share_of(parameters, thread, n_threads) for thread in range(n_threads)]
    assert [begin for begin, _ in shares] == [0, *(end for _, end in shares[:-1])]
    assert shares[-1][1] == len(parameters)
    assert all(begin % line == 0 for begin, _ in shares)
    sizes = [(end - begin) // line for begin, end in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("batch_size", "settings", "used"),
    [
        (20, {}, {"gradient_norm", "record_ratios"}),
        (4, {"of_objective": True}, {"gather_by_rows"}),
        (20, {"of_objective": True}, set()),
        (20, {"of_objective": True, "reg_lambda": 0.1}, {"weight_squares"}),
        (20, {"of_objective": True, "clip_norm": 1.0}, {"gradient_norm"}),
        (20, {"of_objective": True, "max_norm": 1.0}, {"limit_all_norms"}),
        (20, {"of_objective": True, "average_share": 0.1}, {"average_share"}),
    ],
)
def test_a_training_has_the_code_of_the_options_that_it_uses(batch_size, settings, used):
    """The loop would call an option without code if it read other settings than those named here."""
    network = Network((2, 3, 2), ("tanh", "identity"), np.dtype(float))
    training = Training(network, 20, batch_size, 0, {"num_passes": 2, "epsilon": 0.01, **settings})
    trainer, _ = begin("numba", network, training.job())
    assert trainer.run(2)
    assert {name for name, pointer in trainer._options._asdict().items() if pointer.address} == used
