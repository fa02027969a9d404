"""The training loop: backends agree, and calls, threads and continued jobs do not change a bit."""

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
from drawn_trainings import (
    SHARED,
    Training,
    assert_close,
    assert_same_bits,
    compute_expected,
    count_fewest_samples,
    counts,
    either_backend,
    has_clear_plateau,
    largest,
    shared,
    shared_or_not,
    sharing,
    train,
    trainings,
)
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    F64,
    RECIPES,
    is_padding,
    networks,
    seeds,
)
from trainings import begin, first_parameters, run_on

from fastnn.engine import get_backend, limits
from fastnn.engine.job import Job
from fastnn.network.description import Network
from fastnn.optimizers import SGD
from fastnn.reference import train as reference
from fastnn.reference.norm import EPS
from fastnn.system import threads
from fastnn_kernels.calls.training import BLOCK


@with_examples(120)
@given(trainings(), shared_or_not)
def test_backends_agree(training, what):
    network, job = training.network, training.job(patience=0)
    with sharing(what):
        expected, bounds = compute_expected(network, job)
        if training.options["patience"] and has_clear_plateau(job, expected["losses"], bounds["losses"]):
            job = training.job()
            expected, bounds = compute_expected(network, job)
        ours = train("numba", network, job)
    assert_close(ours, expected, bounds)
    assert (ours["parameters"][is_padding(network)] == 0).all()
    assert ours["parameters"].dtype == ours["average"].dtype == ours["optimizer"].dtype == network.dtype


@given(trainings(), st.lists(st.integers(0, 4), max_size=5), st.integers(1, 3), shared_or_not)
def test_a_training_in_several_calls_gives_the_same_bits(training, portions, rounds_per_call, what):
    network, job = training.network, training.job(num_passes=sum(portions))
    with sharing(what):
        whole = train("numba", network, job)
        trainer, parts = begin("numba", network, job)
    for done in itertools.accumulate(portions):
        run_on(trainer, done, rounds_per_call)  # calls end in the middle of epochs, and of steps
        assert trainer.n_passes == done or trainer.halted
    assert_same_bits(parts, whole)


@with_examples(100)
@given(trainings(), st.lists(st.integers(0, 3), min_size=1, max_size=4), either_backend, shared_or_not)
def test_a_training_continued_by_other_trainers_gives_the_same_bits(training, portions, backend, what):
    network, before = training.network, training.options["steps_before"]
    n_batches = training.job().n_batches
    # Schedules depend on the length of the run: give all parts the length of the whole.
    total = training.options["total_steps"] or before + max(1, sum(portions) * n_batches)
    options = {"record_every": 1, "total_steps": total}
    records = []
    with sharing(what):
        whole = train(backend, network, training.job(num_passes=sum(portions), **options))
        trainer, parts = begin(backend, network, training.job(num_passes=portions[0], **options))
        for k, n_passes in enumerate(portions):
            if k > 0:
                state = trainer._state
                done = before + sum(portions[:k]) * n_batches
                job = training.job(num_passes=n_passes, steps_before=done, **options)
                trainer = get_backend(backend).trainer(
                    network, state.parameters, state.statistics, job, trainer.memory
                )
            run_on(trainer, n_passes)
            records.append([array[: trainer.n_passes] for array in trainer.records])
            if trainer.halted:
                break
    joined = dict(zip(trainer.records._fields, map(np.concatenate, zip(*records, strict=True)), strict=True))
    assert (whole["losses"][len(joined["losses"]) :] == 0).all()
    for name, array in joined.items():
        whole[name] = whole[name][: len(array)]
    assert_same_bits(parts | joined, whole)


# Kernels for several threads are compiled separately: whole batches in float64, minibatches in float32.
THREADED = st.sampled_from(RECIPES[:2])


@with_examples(40)
@given(trainings(THREADED), st.sampled_from([None, 1]), shared)
def test_any_number_of_threads_gives_the_same_bits(training, rounds_per_call, what):
    network = training.network
    with sharing(what):
        alone = train("numba", network, training.job())
        for n_threads in (2, 3, 8):
            assert_same_bits(
                train("numba", network, training.job(n_threads=n_threads), rounds_per_call), alone
            )


@given(trainings(THREADED), st.lists(st.booleans(), min_size=1, max_size=6), shared)
def test_cores_that_are_taken_between_calls_do_not_change_the_bits(training, turns, what):
    # A call runs on one thread while one of the two cores is taken; calls end within epochs and steps.
    network, n_passes = training.network, training.options["num_passes"]
    with sharing(what), pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "count_cores", lambda: 2)
        alone = train("numba", network, training.job())
        trainer, results = begin("numba", network, training.job(n_threads=2))
        for is_core_taken in itertools.cycle(turns):
            if trainer.n_passes == n_passes or trainer.halted:
                break
            trainer._calls.n_rounds = 1
            with threads.acquire_cores(1) if is_core_taken else nullcontext():
                assert trainer.run(n_passes)
    assert_same_bits(results, alone)


@pytest.mark.parametrize("what", SHARED)
@pytest.mark.parametrize("of_objective", [False, True])
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_blocks_cover_all_parameters(recipe, of_objective, what):
    """More than two blocks of parameters, and several tiles in every shard."""
    activations = *recipe.hidden * 2, recipe.output
    network = Network((30, 140, 40, 3), activations, recipe.dtype, recipe.loss, recipe.batch_norm)
    assert network.n_parameters > 2 * BLOCK
    penalties = {"l1": 1e-3, "reg_lambda": 0.1, "clip_norm": 0.3, "max_norm": 0.8, "ema_decay": 0.9}
    options = {"num_passes": 2, "shuffle": recipe.gathered, "reduction": "mean", "epsilon": 0.05, **penalties}
    size = 700 if recipe.gathered else 1000
    training = Training(network, 1000, size, 0, {**options, "of_objective": of_objective})
    with sharing(what):
        alone = train("numba", network, training.job())
        expected = train("numpy", network, training.job())
        for n_threads in (2, 3):
            assert_same_bits(train("numba", network, training.job(n_threads=n_threads)), alone)
    error = 1000 * np.finfo(network.dtype).eps
    assert_close(alone, expected, {name: error * max(1.0, size) for name, size in largest(expected).items()})


def count_steps(trainer):
    return int(np.ravel(trainer._state.progress)[0])


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_divergence_leaves_the_last_finite_step(recipe, backend):
    network = Network((2, 3, 2), (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    size = 12 if recipe.gathered else 30  # the divergence may come in the middle of an epoch
    options = {"epsilon": 1e3, "reg_lambda": 1.0, "num_passes": 1000, "shuffle": recipe.gathered, "seed": 5}
    options["patience"] = 1000  # makes the trainer keep a plateau, which must be restored as well
    job = Training(network, 30, size, 0, {**options, "ema_decay": 0.9, "optimizer": SGD()}).job()
    trainer, results = begin(backend, network, job)
    while trainer.run(1000):
        assert trainer.n_passes < 1000
    n_steps = count_steps(trainer)
    assert n_steps > 1
    assert trainer.n_passes == n_steps // job.n_batches
    assert np.isfinite(results["parameters"]).all()
    # As many steps, one by one, lead to the same bits, and one more step diverges.
    again, expected = begin(backend, network, job)
    with np.errstate(all="ignore"):
        while count_steps(again) < n_steps:
            if backend == "numba":
                again._calls.n_rounds = 1
                assert again._call(n_steps)
            else:
                assert reference.train_step(network, again._state, job, again.records)
    assert_same_bits(results, expected)
    assert not again.run(1000)
    assert count_steps(again) == n_steps
    assert_same_bits(results, expected)


@pytest.mark.parametrize("what", SHARED)
def test_divergence_on_several_threads_leaves_the_same_bits_as_on_one(what):
    options = {"epsilon": 1e12, "reg_lambda": 1.0, "num_passes": 500, "ema_decay": 0.9, "patience": 500}
    training = Training(Network((2, 3, 2), ("tanh", "tanh"), F64), 64, 64, 0, options)
    with sharing(what):
        trainers = [begin("numba", training.network, training.job(n_threads=n)) for n in (1, 2, 3)]
        for trainer, _ in trainers:
            while trainer.run(500):
                assert trainer.n_passes < 500
    (alone, expected), *others = trainers
    assert count_steps(alone) > 1
    for trainer, results in others:
        assert count_steps(trainer) == count_steps(alone)
        assert_same_bits(results, expected)


@pytest.mark.parametrize(
    ("backend", "what"), [("numpy", None), *(("numba", what) for what in (None, *SHARED))]
)
@pytest.mark.parametrize("dims", [(2, 3, 2), (44, 32, 2)])  # the first layer of (44, 32, 2) has strips
def test_fewer_records_change_neither_the_records_nor_the_training(backend, what, dims):
    """A step whose norms are recorded updates the weights block by block, other steps strip by strip."""
    recipe = RECIPES[1]
    network = Network(dims, (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    training = Training(network, 90, 40, 0, {"num_passes": 7, "optimizer": recipe.optimizer})
    with sharing(what):
        all_kept = train(backend, network, training.job())
        for distance in (2, 3, 100):
            fewer = train(backend, network, training.job(record_every=distance))
            for name in ("losses", "norms", "ratios"):
                np.testing.assert_array_equal(
                    fewer[name], all_kept[name][sorted({*range(0, 7, distance), 6})]
                )
            np.testing.assert_array_equal(fewer["parameters"], all_kept["parameters"])


def evaluate(backend: str, network: Network, job: Job, key: int, nudge: float = 0.0):
    """Return loss, gradient and updated statistics; `nudge` is the relative change of the parameters."""
    parameters = first_parameters(network, np.random.RandomState(1), nudge)
    statistics = network.make_statistics()
    compute = get_backend(backend).loss_and_gradient(network, statistics, job.X, job.y, job.weights, key)
    loss, gradient = compute(parameters)
    return [np.array(loss), gradient, *(view for view in network.running(statistics) if view is not None)]


@given(networks(), counts, seeds, st.integers(0, 2**31), st.booleans())
def test_losses_and_gradients_agree(network: Network, count, seed, key, in_small_calls):
    job = Training(network, count, count, seed, {"num_passes": 1}).job()
    with pytest.MonkeyPatch.context() as patch:
        if in_small_calls:  # one tile in each call
            patch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
        ours = evaluate("numba", network, job, key)
    expected = evaluate("numpy", network, job, key)
    # As in `compute_expected`, the effect of changing the parameters by an ulp bounds the error.
    eps = np.finfo(network.dtype).eps
    nudged = [evaluate("numpy", network, job, key, k * eps) for k in (-2, -1, 1, 2)]
    error = 50 * eps
    if network.batch_norm and (network.dropout or count_fewest_samples(job) < 3):
        error /= np.sqrt(EPS)  # samples whose features are all dropped are alike, too
    for k, (actual, values) in enumerate(zip(ours, expected, strict=True)):
        moved = max(np.abs(other[k] - values).max(initial=0) for other in nudged)
        largest = max(1.0, np.abs(values).max(initial=0))
        np.testing.assert_allclose(actual, values, rtol=0, atol=error * largest + 20 * moved)
