"""The training loop: both backends alike, the same bits however calls and threads are cut."""

from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    F64,
    RECIPES,
    is_padding,
    keys,
    networks,
    recipe_of,
    recipes,
    sample_weights,
    seeds,
    targets,
)

from fastnn import backends
from fastnn.backends import Job, get_backend
from fastnn.network import Network
from fastnn.optimizers import SGD
from fastnn.reference.norm import EPS
from fastnn.reference.train import train_step
from fastnn.schedules import Constant, InverseTimeDecay
from fastnn.training import run_training
from fastnn_kernels.train import BLOCK

# Tiles are full, nearly full, many.
counts = st.one_of(st.integers(2, 40), st.sampled_from([128, 129, 513]))
optional = st.booleans()
# Optimizers whose step is as long as the gradient.
LINEAR = {"sgd", "momentum", "nesterov"}


@contextmanager
def many_shards(wanted=True):
    """Steps are cut into shards however little there is to do."""
    with pytest.MonkeyPatch.context() as patch:
        if wanted:
            patch.setattr(backends, "SHARDED_OPERATIONS", 0)
            patch.setattr(backends, "LEAST_SHARD", 4)
        yield


class Training(NamedTuple):
    """A network, and how it is trained."""

    network: Network
    count: int
    batch_size: int
    data_seed: int
    options: dict

    def job(self, **changes) -> Job:
        network, random = self.network, np.random.default_rng(self.data_seed)
        X = random.normal(size=(self.count, network.n_inputs)).astype(network.dtype)
        y = targets(network.loss, network.n_outputs, self.count, network.dtype, random)
        weights = sample_weights(self.count, random)
        weights[0] = 1.5  # not all of them are 0
        options = {"optimizer": recipe_of(network).optimizer, **self.options, **changes}
        return Job(X, y, weights, batch_size=self.batch_size, **options)


@st.composite
def trainings(draw, recipes=recipes):
    """Anything that a job may say."""
    network = draw(networks(recipes))
    recipe = recipe_of(network)
    count = size = draw(counts)
    if recipe.gathered:  # the last batch of a pass is full, or short, or a single sample
        size = draw(st.sampled_from([1, count - 1, (count + 1) // 2, min(7, count - 1)]))
    n_batches = -(-count // size)
    averaged = draw(optional)
    # Far from chaos, whether a step is as long as the gradient or not.
    epsilon = 0.05 if averaged or recipe.optimizer.name not in LINEAR else 0.05 / size
    options = {
        "num_passes": draw(st.integers(0, 12 if n_batches == 1 else 3 if n_batches < 50 else 1)),
        "averaged": averaged,
        "shuffled": recipe.gathered and draw(optional),
        "seed": draw(keys),
        "epsilon": epsilon,
        "schedule": draw(st.sampled_from([Constant(), InverseTimeDecay()])),
        "reg_lambda": draw(st.sampled_from([0.0, 0.5])),
        # The derivative of |p| jumps at 0, and rounding decides when p is there.
        "l1": draw(st.sampled_from([0.0, 0.03])) if network.dtype == F64 else 0.0,
        "max_norm": draw(st.sampled_from([0.0, 0.6, 5.0])),
        "clip_norm": draw(st.sampled_from([0.0, 0.5, 100.0])),
        "average_share": draw(st.sampled_from([0.0, 0.2])),
        "record_every": draw(st.integers(1, 3)),
    }
    return Training(network, count, size, draw(seeds), options)


def begin(backend: str, network: Network, job: Job, nudge: float = 0.0):
    """A trainer, and what it changes; `nudge`: relative change of the parameters it begins with."""
    random = np.random.RandomState(0)
    parameters = network.draw_parameters(random)
    # Shifts are 0 at first, and so is a normalised sum where all samples are alike: there selu has a kink.
    for shift in network.shifts(parameters):
        if shift is not None:
            shift[...] = random.normal(size=shift.shape)
    parameters *= 1 + nudge * random.uniform(-1, 1, parameters.size).astype(network.dtype)
    statistics = network.initial_statistics()
    trainer = get_backend(backend).trainer(network, parameters, statistics, job)
    running = {
        f"running[{k}]": view for k, view in enumerate(network.running(statistics)) if view is not None
    }
    results = {"parameters": parameters, "average": trainer.average, **running, **trainer.records._asdict()}
    return trainer, results


def train(backend: str, network: Network, job: Job, rounds_a_call=None, nudge=0.0):
    """What is there after all passes."""
    trainer, results = begin(backend, network, job, nudge)
    while trainer.n_passes < job.num_passes:
        if rounds_a_call:
            trainer._rounds_a_call = rounds_a_call
        assert trainer.run(job.num_passes)
    return results


def assert_same_bits(one, other):
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def fewest_samples(job):
    """Of a batch, those without weight not counted, as the order may have it."""
    smallest = job.X.shape[0] % job.batch_size or job.batch_size
    return smallest - np.count_nonzero(job.weights == 0)


@settings(max_examples=200)
@given(trainings(), optional)
def test_backends_agree(training, sharded):
    network, job = training.network, training.job()
    with many_shards(sharded):
        compiled, expected = train("numba", network, job), train("numpy", network, job)
        # Normalisation magnifies rounding where a batch's samples are nearly alike: then what an ulp in the
        # beginning makes of the end says how close the two can be.
        nudges = [k * np.finfo(network.dtype).eps for k in (-2, -1, 1, 2)] if network.batch_norm else []
        nudged = [train("numpy", network, job, nudge=nudge) for nudge in nudges]
    info = np.finfo(network.dtype)
    error = 50 * info.eps * (1 + job.num_passes * job.n_batches)
    if network.batch_norm and fewest_samples(job) < 3:
        # Quite alike, as one sample is: all that is left of it is rounding, by the root of what is added
        # to variances.
        error /= np.sqrt(EPS)
    for name, values in expected.items():
        moved = max((np.abs(other[name] - values).max(initial=0) for other in nudged), default=0.0)
        # In the kernels subnormal numbers are 0.
        bound = error * max(1.0, np.abs(values).max(initial=0)) + 20 * moved + 4 * info.tiny
        np.testing.assert_allclose(compiled[name], values, rtol=0, atol=bound, err_msg=name)
    assert (compiled["parameters"][is_padding(network)] == 0).all()
    assert compiled["parameters"].dtype == compiled["average"].dtype == network.dtype


@given(trainings(), st.lists(st.integers(0, 4), max_size=5), st.integers(1, 3), optional)
def test_interrupted_and_taken_up_is_the_same_to_the_last_bit(training, portions, rounds_a_call, sharded):
    network, job = training.network, training.job(num_passes=sum(portions))
    with many_shards(sharded):
        whole = train("numba", network, job)
        trainer, parts = begin("numba", network, job)
    done = 0
    for portion in portions:
        done += portion
        while trainer.n_passes < done:
            trainer._rounds_a_call = rounds_a_call  # calls end in the middle of passes, and of steps
            assert trainer.run(done)
        assert trainer.n_passes == done
    assert_same_bits(parts, whole)


# Compiled once more for several threads: a whole batch of float64 and small batches of float32.
THREADED = st.sampled_from(RECIPES[:2])


@given(trainings(THREADED), st.sampled_from([None, 1]))
def test_any_number_of_threads_gives_the_same_bits(training, rounds_a_call):
    network = training.network
    with many_shards():
        alone = train("numba", network, training.job())
        for n_threads in (2, 3, 8):
            assert_same_bits(train("numba", network, training.job(n_threads=n_threads), rounds_a_call), alone)


def large_training(recipe, **options):
    """More parameters than a block, and tiles in every shard."""
    network = Network(
        (30, 140, 40, 3), (*recipe.hidden * 2, recipe.output), recipe.dtype, recipe.loss, recipe.batch_norm
    )
    assert network.n_parameters > 2 * BLOCK
    size = 700 if recipe.gathered else 1000
    options = {"num_passes": 3, "shuffled": recipe.gathered, "averaged": True, "epsilon": 0.05, **options}
    return Training(network, 1000, size, 0, options)


@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_blocks_of_parameters_are_all_of_them(recipe):
    training = large_training(recipe, clip_norm=0.3, max_norm=0.8, l1=1e-3, reg_lambda=0.1, average_share=0.1)
    network = training.network
    with many_shards():
        alone = train("numba", network, training.job())
        expected = train("numpy", network, training.job())
        for n_threads in (2, 3):
            assert_same_bits(train("numba", network, training.job(n_threads=n_threads)), alone)
    for name, values in expected.items():
        error = 1000 * np.finfo(network.dtype).eps * max(1.0, np.abs(values).max(initial=0))
        np.testing.assert_allclose(alone[name], values, rtol=0, atol=error, err_msg=name)


def test_the_problem_says_how_many_shards_there_are():
    network = large_training(RECIPES[0]).network
    n_shards = {size: backends._n_shards(network, size) for size in (1, 63, 128, 1000, 10**6)}
    assert n_shards[1] == n_shards[63] == 1
    assert 1 < n_shards[1000] <= n_shards[10**6] == backends.MOST_SHARDS
    assert backends._n_shards(replace(network, batch_norm=True), 10**6) == 1
    assert backends._n_shards(Network((2, 3, 2), ("tanh", "tanh"), F64), 200) == 1


def step_of(trainer):
    """Steps done."""
    return int(np.ravel(trainer._state.progress)[0])


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_divergence_leaves_the_last_finite_step(recipe, backend):
    network = Network((2, 3, 2), (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    size = 12 if recipe.gathered else 30  # in the middle of a pass, too
    options = {"epsilon": 1e3, "reg_lambda": 1.0, "num_passes": 1000, "shuffled": recipe.gathered, "seed": 5}
    job = Training(network, 30, size, 0, {**options, "average_share": 0.1, "optimizer": SGD()}).job()
    trainer, results = begin(backend, network, job)
    while trainer.run(1000):
        assert trainer.n_passes < 1000
    n_steps = step_of(trainer)
    assert n_steps > 1
    assert trainer.n_passes == n_steps // job.n_batches
    assert np.isfinite(results["parameters"]).all()
    # The same steps, one by one, lead to the same bits; and one more diverges.
    again, expected = begin(backend, network, job)
    if backend == "numba":
        again._rounds_a_call = 1
        while step_of(again) < n_steps:
            assert again._call(n_steps)
    else:
        with np.errstate(all="ignore"):
            for _ in range(n_steps):
                assert train_step(network, again._state, job, again.records)
    assert_same_bits(results, expected)
    assert not again.run(1000)
    assert step_of(again) == n_steps
    assert_same_bits(results, expected)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_divergence_on_several_threads_is_that_of_one(n_threads):
    recipe = RECIPES[0]
    options = {"epsilon": 1e4, "reg_lambda": 1.0, "num_passes": 500, "average_share": 0.1}
    training = Training(Network((2, 3, 2), (*recipe.hidden, recipe.output), F64), 64, 64, 0, options)
    with many_shards():
        trainers = [begin("numba", training.network, training.job(n_threads=n)) for n in (1, n_threads)]
        for trainer, _ in trainers:
            while trainer.run(500):
                assert trainer.n_passes < 500
    assert step_of(trainers[0][0]) == step_of(trainers[1][0]) > 1
    assert_same_bits(trainers[0][1], trainers[1][1])


def test_trainer_keeps_the_users_data_apart():
    recipe = RECIPES[0]
    training = Training(Network((2, 3, 2), ("tanh", "tanh"), recipe.dtype), 30, 30, 0, {"num_passes": 5})
    job = training.job()
    trainer, results = begin("numba", training.network, job)
    job.X[:] = np.nan
    job.y[:] = 1 << 40
    assert trainer.run(5)
    assert_same_bits(results, train("numba", training.network, training.job()))


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_records_are_of_the_passes_asked_for(backend):
    training = Training(Network((2, 3, 2), ("tanh", "tanh"), F64), 30, 30, 0, {"num_passes": 7})
    every = train(backend, training.network, training.job())
    for step in (2, 3, 7, 100):
        some = train(backend, training.network, training.job(record_every=step))
        for name in ("losses", "norms", "ratios"):
            np.testing.assert_array_equal(some[name], every[name][sorted({*range(0, 7, step), 6})])
        np.testing.assert_array_equal(some["parameters"], every["parameters"])


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("gathered", [False, True])
def test_losses_recorded_are_sums_whatever_the_step_is_divided_by(backend, gathered):
    # Without learning, a pass's loss is that of all samples.
    recipe = RECIPES[1] if gathered else RECIPES[0]
    network = Network((2, 3, 2), (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    options = {"num_passes": 2, "epsilon": 0.0, "optimizer": recipe.optimizer}
    training = Training(network, 30, 7 if gathered else 30, 0, options)
    parameters, job = network.draw_parameters(np.random.RandomState(0)), training.job()
    expected = get_backend("numpy").loss(network, parameters, job.X, job.y, job.weights)
    for averaged in (False, True):
        results = train(backend, network, training.job(averaged=averaged))
        np.testing.assert_allclose(results["losses"], expected, rtol=100 * np.finfo(network.dtype).eps)
        np.testing.assert_array_equal(results["ratios"], 0)


@given(
    networks(st.just(RECIPES[2])),
    counts,
    seeds,
    st.integers(0, 2**31),
    optional,
)
def test_objectives_agree(network: Network, count, seed, key, small):
    job = Training(network, count, count, seed, {"num_passes": 1}).job()
    results = []
    for name in ("numba", "numpy"):
        parameters, statistics = (
            network.draw_parameters(np.random.RandomState(1)),
            network.initial_statistics(),
        )
        with pytest.MonkeyPatch.context() as patch:
            if small:  # a tile a call
                patch.setattr(backends, "FIRST_CALL_OPERATIONS", 1)
            evaluate = get_backend(name).objective(network, statistics, job.X, job.y, job.weights, key)
            loss, gradient = evaluate(parameters)
        running = [view for view in network.running(statistics) if view is not None]
        results.append((np.array(loss), gradient, *running))
    depth = 2000 if network.batch_norm else 50
    for ours, theirs in zip(*results, strict=True):
        largest = max(1.0, np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=depth * np.finfo(network.dtype).eps * largest)


def test_a_history_holds_the_records():
    training = Training(
        Network((2, 3, 2), ("tanh", "tanh"), F64), 30, 30, 0, {"num_passes": 5, "record_every": 2}
    )
    job = training.job()
    trainer, results = begin("numba", training.network, job)
    history = run_training(trainer, job)
    np.testing.assert_array_equal(history.passes, [0, 2, 4])
    np.testing.assert_array_equal(history.loss, results["losses"] / job.weights.sum())
    np.testing.assert_array_equal(history.gradient_norm, results["norms"])
    np.testing.assert_array_equal(history.update_ratio, results["ratios"])
