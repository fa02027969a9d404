"""The optimizers' coefficients of many steps, and the choice of the update kernel."""

from dataclasses import replace

import numpy as np
import pytest
from estimator_checks import parameters

import fastnn
from fastnn import optimizers
from fastnn.engine import limits
from fastnn.engine.arguments import get_job_update
from fastnn.engine.job import Job
from fastnn.network.description import Network
from fastnn_kernels.calls.formulas import update_pointer

NAMES = sorted(optimizers.OPTIMIZERS.keys() - {"lbfgs"})
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def make_job(**options):
    return Job(np.zeros((9, 2), np.float32), np.zeros((9, 1), np.float32), np.ones(9), 10_000, 1, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", [fastnn.Constant(), fastnn.CosineDecay()])
@each_dtype
def test_coefficients_do_not_depend_on_the_blocks_of_steps(name, schedule, dtype, monkeypatch):
    dtype = np.dtype(dtype)
    job = make_job(optimizer=optimizers.OPTIMIZERS[name](), schedule=schedule, steps_before=3)
    expected = [job.coefficients(400, count, dtype) for count in (1, 8, 29)]
    monkeypatch.setattr(limits, "COEFFICIENT_STEPS", 8)
    for whole, count in zip(expected, (1, 8, 29), strict=True):
        blocks = job.coefficients(400, count, dtype)
        np.testing.assert_array_equal(blocks, whole)
        assert (blocks.dtype, blocks.flags.c_contiguous, len(blocks)) == (dtype, True, count)
        alone = job.coefficients(400 + count - 1, 1, dtype)
        np.testing.assert_array_equal(blocks[-1:], alone)
    later = replace(job, steps_before=0).coefficients(403, 1, dtype)
    if schedule == fastnn.Constant():  # the steps of earlier trainings count
        np.testing.assert_array_equal(later, expected[0])


@pytest.mark.parametrize("kind", [fastnn.Adam, fastnn.AdamW])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5), (0.99, 0.9), (0.3, 1 - 2**-53)])
def test_bias_corrections_are_those_of_the_formula(kind, betas):
    steps = np.concatenate([np.arange(60_000), [10**6, 10**9, 10**15]])
    rates = np.full(steps.shape, 0.1)
    optimizer = kind(betas)
    first, second = (1.0 - beta ** (steps + 1.0) for beta in betas)
    # The power is a product of a few factors for each digit of the exponent, each with a rounding error.
    allowed = np.finfo(float).eps * 200
    for part in (slice(None), slice(50_000, None), slice(-1, None)):
        numbers = optimizer.coefficients(rates[part], steps[part])
        for column, expected in enumerate((rates * np.sqrt(second) / first, optimizer.eps * np.sqrt(second))):
            np.testing.assert_allclose(numbers[:, column], expected[part], rtol=allowed / second[0])
    some = np.array([0, 1, 62, 63, 64, 4095, 4096, 41_998, 10**6])
    alone = [optimizer.coefficients(rates[:1], some[k : k + 1])[0] for k in range(len(some))]
    np.testing.assert_array_equal(alone, optimizer.coefficients(rates[: len(some)], some))


@each_dtype
def test_the_update_is_plain_without_penalties_and_with_a_single_gradient(dtype):
    network, job = Network.create([2, 3, 2], dtype=dtype), make_job(optimizer=fastnn.Adam())

    def is_plain(n_shards=1, **options):
        pointer = get_job_update(network, replace(job, **options), n_shards)
        return pointer is update_pointer("adam", False, network.dtype, True)

    assert is_plain()
    assert not is_plain(n_shards=2)
    for penalty in ({"reg_lambda": 0.1}, {"l1": 0.1}, {"clip_norm": 1.0}):
        assert not is_plain(**penalty)
    assert not is_plain(optimizer=fastnn.Adam(weight_decay=0.1))


@each_dtype
@pytest.mark.parametrize("batch_size", [1, 3])
def test_trainings_across_blocks_of_coefficients_match_the_reference(dtype, batch_size, monkeypatch):
    monkeypatch.setattr(limits, "COEFFICIENT_STEPS", 500)
    random = np.random.default_rng(0)
    samples = random.normal(size=(150, 3))
    labels = (samples.sum(axis=1) > 0).astype(int)
    n_batches = 150 // batch_size
    options = {"epsilon": 1e-4, "optimizer": "adam", "batch_size": batch_size, "reduction": "mean"}
    options |= {"num_passes": -(-800 // n_batches), "reg_lambda": 0.0, "random_state": 0}

    def make_model(backend):
        return fastnn.Model([3, 7, 2], dtype=dtype, random_state=0, backend=backend)

    models = [make_model(name) for name in ("numba", "numpy")]
    for model in models:
        model.train(samples, labels, **options)
    compiled, reference = map(parameters, models)
    error = 1e4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(compiled, reference, rtol=error, atol=error)
    # In parts, the second of which begins before the border of a block, with the same bits.
    parts = make_model("numba")
    parts.train(samples, labels, **options | {"num_passes": 500 // n_batches - 1})
    parts.train(samples, labels, resume=True, **options)
    np.testing.assert_array_equal(parameters(parts), compiled)
