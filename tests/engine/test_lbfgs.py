"""The L-BFGS trainers of both backends: they match SciPy, and short calls give the same bits."""

import dataclasses
import signal

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from fastnn.engine import compiled_lbfgs
from fastnn.engine.choice import get_backend
from fastnn.engine.job import Job
from fastnn.engine.shared_calls import SharedCalls
from fastnn.network.description import Network
from fastnn.optimizers import LBFGS
from fastnn.system import threads

N_EPOCHS = 8
random = np.random.default_rng(0)
X = random.standard_normal((150, 5)) * (random.random((150, 5)) < 0.6)
labels = (np.abs(X).sum(axis=1) > 2).astype(np.float64)[:, None]
sample_weights = random.uniform(0.5, 2, 150)

BACKENDS = ("numba", "numpy")
each_backend = pytest.mark.parametrize("backend", BACKENDS)
# Sizes, settings of the network, of the job and of L-BFGS.
CASES = {
    "tanh": ([5, 7, 2], {}, {}, {}),
    "float32": ([5, 7, 2], {"dtype": np.dtype("f4")}, {}, {}),
    "deep": ([5, 20, 9, 2], {"activation": "gelu"}, {}, {"maxcor": 3}),
    "linear": ([5, 2], {}, {"reg_lambda": 0.0}, {}),
    "normalised": ([5, 7, 2], {"batch_norm": True}, {}, {}),
    "averaged": ([5, 7, 2], {}, {"averaged": True}, {}),
    "of the objective": (
        [5, 7, 1],
        {"loss": "sigmoid_binary_cross_entropy"},
        {"averaged": True, "of_objective": True},
        {},
    ),
    "short searches": ([5, 7, 2], {}, {}, {"maxls": 2}),
    "kept epochs": ([5, 7, 2], {}, {"record_every": 3}, {}),
}
each_case = pytest.mark.parametrize("name", CASES)
each_form = pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])


def problem(name, sparse=False):
    """Return network, parameters, statistics and job of a case."""
    sizes, settings, job, options = CASES[name]
    network = Network.create(sizes, output_activation="identity", **settings)
    samples = X.astype(network.dtype)
    samples = scipy.sparse.csr_array(samples) if sparse else samples
    settings = {"reg_lambda": 0.1, "optimizer": LBFGS(**options)} | job
    job = Job(samples, labels.astype(network.dtype), sample_weights, N_EPOCHS, len(X), **settings)
    return network, network.draw_parameters(np.random.RandomState(0)), network.initial_statistics(), job


def narrow_tiles(network, n_samples):
    """Return a width of tiles so small that the samples fill ten: the same for both dtypes."""
    return network.whole_tile(16)


def run(backend, network, parameters, statistics, job, n_rounds=None):
    """Run a job; return the parameters (n, P) after every iteration, and the trainer.

    Every call of the kernel runs `n_rounds` rounds, if given.
    """
    parameters, iterates = parameters.copy(), []
    trainer = get_backend(backend).lbfgs_trainer(network, parameters, statistics.copy(), job)
    while trainer.n_passes < job.num_passes and not trainer.halted:
        if n_rounds:
            trainer._calls.n_rounds = n_rounds
        assert trainer.run(trainer.n_passes + 1)
        if trainer.n_passes > len(iterates):
            iterates.append(parameters.copy())
    return np.array(iterates), trainer


def scipy_iterates(backend, network, parameters, statistics, job):
    """Return the parameters (n, P) after every iteration of SciPy's L-BFGS-B."""
    weights = job.weight_scale * job.weights
    reg_lambda = job.reg_lambda * (job.weight_scale if job.of_objective else 1)
    loss_and_gradient = get_backend(backend).loss_and_gradient(
        network, statistics.copy(), job.X, job.y, weights, 0
    )
    is_weight = np.arange(network.n_parameters) < network.n_weights
    iterates = []

    def objective(values):
        loss, gradient = loss_and_gradient(values.astype(network.dtype))
        decay = reg_lambda * is_weight * values
        return loss + 0.5 * decay @ values, gradient + decay

    def keep(intermediate_result):
        iterates.append(intermediate_result.x.copy())

    optimizer = job.optimizer
    options = {name: getattr(optimizer, name) for name in ("maxcor", "ftol", "gtol", "maxls")}
    scipy.optimize.minimize(
        objective, parameters.astype(np.float64), jac=True, method="L-BFGS-B", callback=keep,
        options=options | {"maxiter": job.num_passes},
    )  # fmt: skip
    return np.array(iterates)


@each_backend
@each_case
@each_form
def test_iterates_match_scipy(name, sparse, backend):
    network, *begin, job = problem(name, sparse)
    expected = scipy_iterates(backend, network, *begin, job)
    iterates, trainer = run(backend, network, *begin, job)
    assert len(iterates) == len(expected) == trainer.n_passes
    rtol = 1e-3 if network.dtype == np.float32 else 1e-7  # rounding errors grow with every iteration
    np.testing.assert_allclose(iterates, expected, rtol=rtol, atol=rtol)


@each_case
@each_form
def test_backends_agree(name, sparse):
    network, *begin, job = problem(name, sparse)
    (ours, trainer), (expected, reference) = (run(backend, network, *begin, job) for backend in BACKENDS)
    rtol = 1e-2 if network.dtype == np.float32 else 1e-7
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=rtol)
    for found, wanted in zip(trainer.records, reference.records, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-12)
    for found, wanted in zip(
        network.running(trainer.statistics), network.running(reference.statistics), strict=True
    ):
        if found is not None:
            np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol)
    assert trainer.ending == reference.ending
    assert trainer.value == pytest.approx(reference.value, rel=rtol)
    assert trainer.objective == pytest.approx(reference.objective, rel=rtol, nan_ok=True)


@each_case
@each_form
def test_calls_of_any_length_give_the_same_bits(name, sparse, monkeypatch):
    network, *begin, job = problem(name, sparse)
    expected, trainer = run("numba", network, *begin, job)
    if not network.batch_norm:  # batch normalisation needs all samples in one tile
        monkeypatch.setattr(compiled_lbfgs, "training_width", narrow_tiles)
    by_long_calls, again = run("numba", network, *begin, job, n_rounds=10**6)
    records = again.records
    np.testing.assert_allclose(by_long_calls[0], expected[0], rtol=1e-3, atol=1e-6)
    assert again.ending == trainer.ending
    for n_rounds in (1, 3):
        by_short_calls, again = run("numba", network, *begin, job, n_rounds=n_rounds)
        np.testing.assert_array_equal(by_short_calls, by_long_calls)
        for record, wanted in zip(again.records, records, strict=True):
            np.testing.assert_array_equal(record, wanted)
        assert again.ending == trainer.ending


@each_case
@each_form
@pytest.mark.parametrize("n_shards", [2, 7])
def test_any_number_of_threads_gives_the_same_bits(name, sparse, n_shards, monkeypatch):
    network, *begin, job = problem(name, sparse)
    expected, _ = run("numpy", network, *begin, job)
    monkeypatch.setattr(threads, "available_cores", lambda: 3)
    monkeypatch.setattr(compiled_lbfgs, "sharing", lambda *_: (n_shards, False))
    if not network.batch_norm:  # the last shards have fewer tiles
        monkeypatch.setattr(compiled_lbfgs, "training_width", narrow_tiles)
    alone, trainer = run("numba", network, *begin, dataclasses.replace(job, n_threads=1))
    rtol = 1e-2 if network.dtype == np.float32 else 1e-7
    np.testing.assert_allclose(alone, expected, rtol=rtol, atol=rtol)
    for n_threads in (2, 3):
        shared = dataclasses.replace(job, n_threads=n_threads)
        for n_rounds in (1, 2, 10**6):
            found, again = run("numba", network, *begin, shared, n_rounds)
            np.testing.assert_array_equal(found, alone)
            for record, wanted in zip(again.records, trainer.records, strict=True):
                np.testing.assert_array_equal(record, wanted)
            assert again._calls.n_running == (1 if network.batch_norm else min(n_threads, n_shards))


def test_the_rounds_of_a_call_are_those_that_it_has_run(monkeypatch):
    """The speed of a call decides the length of the next one, and the number of threads."""
    network, *begin, job = problem("tanh")
    noted = []
    monkeypatch.setattr(SharedCalls, "note", lambda calls, n_rounds, seconds: noted.append(n_rounds))
    monkeypatch.setattr(compiled_lbfgs, "training_width", narrow_tiles)  # ten tiles
    run("numba", network, *begin, job, n_rounds=1)
    assert set(noted) == {1}
    assert len(noted) > 10 * N_EPOCHS
    noted.clear()
    run("numba", network, *begin, job, n_rounds=10**6)
    assert len(noted) == N_EPOCHS
    assert noted[0] >= 20
    assert all(n_rounds > 0 and n_rounds % 10 == 0 for n_rounds in noted)


@each_backend
@pytest.mark.parametrize(
    ("options", "n_passes", "status", "message"),
    [
        ({"gtol": 1e9}, 0, 0, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"),
        ({"ftol": 0.9}, 1, 0, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"),
        ({}, 50, 1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"),
        ({"maxfun": 2}, 2, 1, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"),
        ({"maxls": 1}, 1, 2, "ABNORMAL: "),
    ],
)
def test_every_ending_has_scipys_status_and_message(options, n_passes, status, message, backend):
    network, *begin, job = problem("deep")
    job = dataclasses.replace(job, optimizer=LBFGS(**options), num_passes=50)
    _, trainer = run(backend, network, *begin, job)
    assert trainer.ending == (status, message)
    assert trainer.n_passes == n_passes
    before = trainer.current.copy(), trainer.value
    assert trainer.run(50)  # an ended minimisation does no more
    np.testing.assert_array_equal(trainer.current, before[0])
    assert (trainer.n_passes, trainer.value) == (n_passes, before[1])


@each_backend
def test_an_iterate_that_overflows_leaves_the_last_finite_one(backend):
    network, parameters, statistics, job = problem("normalised")
    samples = job.X.copy()
    samples[3, 0] = 1e200  # its square overflows in the running statistics
    job = dataclasses.replace(job, X=samples)
    start = parameters.copy(), statistics.copy()
    trainer = get_backend(backend).lbfgs_trainer(network, parameters, statistics, job)
    assert not trainer.run(job.num_passes)
    assert trainer.non_finite == "a running statistic of batch normalisation"
    np.testing.assert_array_equal(parameters, start[0])
    np.testing.assert_array_equal(statistics, start[1])
    assert trainer.n_passes == 0


def test_ctrl_c_in_a_call_that_diverges_leaves_no_state_to_resume(monkeypatch):
    network, parameters, statistics, job = problem("normalised")
    samples = job.X.copy()
    samples[3, 0] = 1e200
    job = dataclasses.replace(job, X=samples)
    trainer = get_backend("numba").lbfgs_trainer(network, parameters, statistics, job)
    advance = trainer._advance

    def interrupted():
        signal.raise_signal(signal.SIGINT)  # raised as KeyboardInterrupt when the call has ended
        return advance()

    monkeypatch.setattr(trainer, "_advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(job.num_passes)
    assert trainer.non_finite == "a running statistic of batch normalisation"
    assert trainer.memory is None
