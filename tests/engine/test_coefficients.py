"""The optimizers' coefficients of many steps, and the choice of the update kernel."""

from dataclasses import replace

import numpy as np
import pytest

import fastnn
from fastnn import optimizers
from fastnn.engine.job import Job

NAMES = sorted(optimizers.STEPPING)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", [fastnn.Constant(), fastnn.CosineDecay()])
@each_dtype
def test_coefficients_do_not_depend_on_the_other_steps_of_a_call(name, schedule, dtype):
    dtype = np.dtype(dtype)
    data = np.zeros((9, 2), np.float32), np.zeros((9, 1), np.float32), np.ones(9)
    job = Job(*data, 10_000, 1, optimizer=optimizers.OPTIMIZERS[name](), schedule=schedule, steps_before=3)
    together = job.coefficients(400, 29, dtype)
    assert (together.dtype, together.flags.c_contiguous, len(together)) == (dtype, True, 29)
    alone = [job.coefficients(400 + k, 1, dtype)[0] for k in range(29)]
    np.testing.assert_array_equal(together, alone)
    if schedule == fastnn.Constant():  # the steps of earlier trainings count
        later = replace(job, steps_before=0).coefficients(403, 1, dtype)
        np.testing.assert_array_equal(later[0], alone[0])


@pytest.mark.parametrize("kind", [fastnn.Adam, fastnn.AdamW])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5), (0.99, 0.9), (0.3, 1 - 2**-53)])
def test_bias_corrections_are_those_of_the_formula(kind, betas):
    steps = np.concatenate([np.arange(60_000), np.array([10**6, 10**9, 10**15], np.int64)])
    rates = np.full(steps.shape, 0.1)
    optimizer = kind(betas)
    first, second = (1.0 - beta ** (steps + 1.0) for beta in betas)
    # The power is a product of a few factors for each digit of the exponent, each with a rounding error.
    allowed = np.finfo(float).eps * 200
    for part in (slice(None), slice(50_000, None), slice(-1, None)):
        numbers = optimizer.coefficients(rates[part], steps[part])
        for column, expected in enumerate((rates * np.sqrt(second) / first, optimizer.eps * np.sqrt(second))):
            np.testing.assert_allclose(numbers[:, column], expected[part], rtol=allowed / second[0])
    some = np.array([0, 1, 62, 63, 64, 4095, 4096, 41_998, 10**6], np.int64)
    alone = [optimizer.coefficients(rates[:1], some[k : k + 1])[0] for k in range(len(some))]
    np.testing.assert_array_equal(alone, optimizer.coefficients(rates[: len(some)], some))
