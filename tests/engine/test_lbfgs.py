"""The L-BFGS trainers of both backends agree, and short calls and threads give the same bits.

That the minimiser of the reference matches SciPy's is tested in `tests/kernels/test_lbfgs.py`.
"""

import dataclasses
import functools

import numpy as np
import pytest

from fastnn.engine import compiled_lbfgs, get_backend
from fastnn.engine.job import Job
from fastnn.network.description import Network
from fastnn.optimizers import LBFGS
from fastnn.system import threads

N_EPOCHS = 8
random = np.random.default_rng(0)
X = random.standard_normal((150, 5)) * (random.random((150, 5)) < 0.6)
labels = (np.abs(X).sum(axis=1) > 2).astype(np.float64)[:, None]
sample_weights = random.uniform(0.5, 2, 150)

LABELS, OBJECTIVE = {"loss": "sigmoid_binary_cross_entropy"}, {"reduction": "mean", "of_objective": True}
# Sizes, settings of the network, of the job and of L-BFGS.
CASES = {
    "tanh": ([5, 7, 2], {}, {}, {}),
    "float32": ([5, 7, 2], {"dtype": np.dtype("f4")}, {}, {}),
    "deep": ([5, 20, 9, 2], {"activation": "gelu"}, {}, {"maxcor": 3}),
    "linear": ([5, 2], {}, {"reg_lambda": 0.0}, {}),
    "normalised": ([5, 7, 2], {"batch_norm": True}, {}, {}),
    "averaged": ([5, 7, 2], {}, {"reduction": "mean"}, {}),
    "of the objective": ([5, 7, 1], LABELS, OBJECTIVE, {}),
    "means of limited losses": ([5, 7, 1], LABELS, OBJECTIVE | {"loss_share": 0.7, "max_loss": 1.2}, {}),
    "limited losses of classes": ([5, 7, 3], {}, {"reduction": "mean", "max_loss": 2.0}, {}),
    "short searches": ([5, 7, 2], {}, {}, {"maxls": 2}),
    "kept epochs": ([5, 7, 2], {}, {"record_every": 3}, {}),
}


def problem(name, sparse=False):
    sizes, settings, job, options = CASES[name]
    network = Network.create(sizes, output_activation="identity", **settings)
    samples = X.astype(network.dtype)
    if sparse:
        import scipy.sparse

        samples = scipy.sparse.csr_array(samples)
    settings = {"reg_lambda": 0.1, "optimizer": LBFGS(**options)} | job
    job = Job(samples, labels.astype(network.dtype), sample_weights, N_EPOCHS, len(X), **settings)
    return network, network.draw_parameters(np.random.RandomState(0)), network.make_statistics(), job


def run(backend, network, parameters, statistics, job, n_steps=None):
    """Run a job; return the parameters (n, P) after every iteration, and the trainer.

    Every call of the kernel runs `n_steps` evaluations, if given.
    """
    parameters, iterates = parameters.copy(), []
    trainer = get_backend(backend).minimisers["lbfgs"](network, parameters, statistics.copy(), job, None)
    while trainer.n_passes < job.num_passes and not trainer.halted:
        if n_steps:
            trainer._calls.n_steps = n_steps
        assert trainer.run(trainer.n_passes + 1)
        if trainer.n_passes > len(iterates):
            iterates.append(parameters.copy())
    return np.array(iterates), trainer


def check_alike(network, run, other):
    """Check that two runs have the same iterates, records, statistics and ending, up to rounding errors."""
    (ours, trainer), (expected, reference) = run, other
    rtol = 1e-2 if network.dtype == np.float32 else 1e-7
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=rtol)
    for found, wanted in zip(trainer.records, reference.records, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-12)
    running = network.running(trainer.statistics), network.running(reference.statistics)
    for found, wanted in zip(*running, strict=True):
        if found is not None:
            np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol)
    assert trainer.ending == reference.ending
    assert trainer.objective == pytest.approx(reference.objective, rel=rtol)


@functools.cache
def run_reference(name, sparse):
    return run("numpy", *problem(name, sparse))


# The evaluations of a call by the number of threads.
EVALUATIONS = {1: (1, 3), 2: (1,), 3: (3, 10**6)}


@pytest.mark.parametrize(
    ("name", "sparse"),
    [*((name, False) for name in CASES), *((name, True) for name in CASES if name != "float32")],
)
@pytest.mark.parametrize(
    "n_shards", [1, *(pytest.param(n, marks=pytest.mark.native("threads")) for n in (2, 7))]
)
def test_calls_of_any_length_and_number_of_threads_give_the_same_bits(name, sparse, n_shards, monkeypatch):
    network, *begin, job = problem(name, sparse)
    monkeypatch.setattr(threads, "count_cores", lambda: 3)
    monkeypatch.setattr(compiled_lbfgs, "divide_step", lambda *_: (n_shards, False))
    if not network.batch_norm:  # the last shards have fewer tiles; batch normalisation needs a single tile
        monkeypatch.setattr(compiled_lbfgs, "choose_training_width", lambda net, _: net.whole_tile(16))
    alone, trainer = run("numba", network, *begin, dataclasses.replace(job, n_threads=1))
    check_alike(network, (alone, trainer), run_reference(name, sparse))
    for n_threads in range(1, min(n_shards, 3) + 1):
        shared = dataclasses.replace(job, n_threads=n_threads)
        for n_steps in EVALUATIONS[n_threads]:
            found, again = run("numba", network, *begin, shared, n_steps)
            np.testing.assert_array_equal(found, alone)
            assert again.ending == trainer.ending
            for record, wanted in zip(again.records, trainer.records, strict=True):
                np.testing.assert_array_equal(record, wanted)
            assert again._calls.n_running == (1 if network.batch_norm else n_threads)


ENDINGS = [
    ({"gtol": 1e9}, 0, 0, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"),
    ({"ftol": 0.9}, 1, 0, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"),
    ({}, 50, 1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"),
    ({"maxfun": 2}, 2, 1, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"),
    ({"maxls": 1}, 1, 2, "ABNORMAL: "),
]


@pytest.mark.parametrize(("options", "n_passes", "status", "message"), ENDINGS)
def test_every_ending_has_scipys_status_and_message(options, n_passes, status, message, backend):
    network, *begin, job = problem("deep")
    job = dataclasses.replace(job, optimizer=LBFGS(**options), num_passes=50)
    _, trainer = run(backend, network, *begin, job)
    assert (trainer.ending, trainer.n_passes) == ((status, message), n_passes)
    before = trainer.current.copy(), trainer.objective
    assert trainer.run(50)  # an ended minimisation does no more
    np.testing.assert_array_equal(trainer.current, before[0])
    assert (trainer.n_passes, trainer.objective) == (n_passes, before[1])
