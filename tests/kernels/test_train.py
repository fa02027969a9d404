"""The training loop: backends agree, and calls, threads and continued jobs do not change a bit."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from drawn_trainings import SHARED, Training, either_backend, shared, shared_or_not, sharing, train, trainings
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import RECIPES, is_padding
from trainings import STEP_OPTIONS, begin, run_on

import fastnn
from fastnn.engine import compiled_trainer, get_backend
from fastnn.network.description import Network
from fastnn.optimizers import SGD
from fastnn.reference import train as reference
from fastnn.reference.norm import EPS
from fastnn.system import threads
from fastnn.training.patience import Patience
from fastnn_kernels import train as compiled
from fastnn_kernels.calls.training import BLOCK


def assert_same_bits(one, other):
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def count_fewest_samples(job):
    """Return the smallest number of samples with a weight that a batch can have, whatever the order."""
    smallest = job.X.shape[0] % job.batch_size or job.batch_size
    return smallest - np.count_nonzero(job.weights == 0)


def largest(results):
    """Return the largest magnitude in each array of real numbers, which are compared within bounds."""
    real = {name: values for name, values in results.items() if values.dtype.kind == "f"}
    return {name: np.abs(values).max(initial=0) for name, values in real.items() if name != "plateau"}


def compute_expected(network, job):
    """Return the reference's arrays by name, and the largest permitted error of the kernels' real arrays."""
    expected = train("numpy", network, job)
    # Batch normalisation magnifies rounding errors where the samples of a batch are nearly alike: measure by
    # how much a change of the first parameters by an ulp or two changes the results.
    nudges = [k * np.finfo(network.dtype).eps for k in (-2, -1, 1, 2)] if network.batch_norm else []
    nudged = [train("numpy", network, job, nudge=nudge) for nudge in nudges]
    info = np.finfo(network.dtype)
    error = 50 * info.eps * (1 + job.num_passes * job.n_batches)
    if network.batch_norm and count_fewest_samples(job) < 3:
        # In a batch of one or two samples variances may be 0: normalised sums are then rounding errors,
        # divided by the root of the constant that is added to variances.
        error /= np.sqrt(EPS)
    bounds = {}
    for name, size in largest(expected).items():
        moved = max((np.abs(other[name] - expected[name]).max(initial=0) for other in nudged), default=0.0)
        # Kernels flush subnormal numbers to 0.
        bounds[name] = error * max(1.0, size) + 20 * moved + 4 * info.tiny
    return expected, bounds


def assert_close(ours, expected, bounds):
    """Assert that arrays of `train` agree: real numbers within bounds, integers exactly.

    Of the plateau, the number of epochs is compared, and not the best objective, which is infinite at first.
    """
    for name, values in expected.items():
        if name in bounds:
            np.testing.assert_allclose(ours[name], values, rtol=0, atol=bounds[name], err_msg=name)
        elif name != "plateau":
            np.testing.assert_array_equal(ours[name], values, err_msg=name)
    assert ours["plateau"][1] == expected["plateau"][1]


def has_clear_plateau(job, losses, bound):
    """Return True if rounding cannot change which epochs are an improvement."""
    best = np.minimum.accumulate(losses)[:-1] - job.tol * job.X.shape[0]
    return (np.abs(losses[1:] - best) > 2 * bound).all()


@pytest.mark.parametrize("recipe", RECIPES)
@with_examples(12)
@given(data=st.data(), what=shared_or_not)
def test_backends_agree(recipe, data, what):
    training = data.draw(trainings(st.just(recipe)))
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
                arrays = state.parameters, state.statistics
                trainer = get_backend(backend).trainer(network, *arrays, job, trainer.memory)
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


@given(trainings(THREADED), st.lists(st.integers(0, 4), max_size=4), st.sampled_from([None, 1, 3]), shared)
def test_any_number_of_threads_and_calls_gives_the_same_bits(training, portions, steps_per_call, what):
    network = training.network
    with sharing(what):
        alone = train("numba", network, training.job(num_passes=sum(portions)))
        for n_threads in (1, 2, 3, 8):
            job = training.job(num_passes=sum(portions), n_threads=n_threads)
            trainer, parts = begin("numba", network, job)
            for done in itertools.accumulate(portions):
                run_on(trainer, done, steps_per_call)  # calls end in the middle of epochs
                assert trainer.n_passes == done or trainer.halted
            assert_same_bits(parts, alone)


@given(trainings(THREADED), st.lists(st.booleans(), min_size=1, max_size=6), shared)
def test_cores_that_are_taken_between_calls_do_not_change_the_bits(training, turns, what):
    # A call runs on one thread while one of the two cores is taken; calls end within epochs.
    network, n_passes = training.network, training.options["num_passes"]
    with sharing(what), pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "count_cores", lambda: 2)
        alone = train("numba", network, training.job())
        trainer, results = begin("numba", network, training.job(n_threads=2))
        for is_core_taken in itertools.cycle(turns):
            if trainer.n_passes == n_passes or trainer.halted:
                break
            trainer._calls.n_steps = 1
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
    options = {"num_passes": 2, "shuffle": recipe.gathered, "reduction": "mean", "epsilon": 0.05}
    options |= STEP_OPTIONS | {"reg_lambda": 0.1, "of_objective": of_objective}
    size = 700 if recipe.gathered else 1000
    training = Training(network, recipe.optimizer, 1000, size, 0, options)
    with sharing(what):
        alone = train("numba", network, training.job())
        expected = train("numpy", network, training.job())
        for n_threads in (2, 3):
            assert_same_bits(train("numba", network, training.job(n_threads=n_threads)), alone)
    error = 1000 * np.finfo(network.dtype).eps
    assert_close(alone, expected, {name: error * max(1.0, size) for name, size in largest(expected).items()})


def test_an_option_that_was_taken_for_unused_is_an_error(monkeypatch):
    monkeypatch.setattr(compiled_trainer, "find_used_options", lambda settings, gathered: ())
    # The error leaves the thread in the mode of the kernels, without subnormal numbers.
    with ThreadPoolExecutor(1) as thread, pytest.raises(ValueError, match="called an unused pointer"):
        thread.submit(fastnn.Model([1, 1]).train, [[0.0]], [0]).result()


def count_steps(trainer):
    return int(np.ravel(trainer._state.progress)[0])


@pytest.mark.parametrize(
    ("backend", "what"), [("numpy", None), ("numba", None), *(("numba", what) for what in SHARED)]
)
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_divergence_leaves_the_last_finite_step(recipe, backend, what):
    network = Network((2, 3, 2), (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    size = 12 if recipe.gathered else 30  # the divergence may come in the middle of an epoch
    options = {"epsilon": 1e3, "reg_lambda": 1.0, "num_passes": 1000, "shuffle": recipe.gathered, "seed": 5}
    options["patience"] = 1000  # makes the trainer keep a plateau, which must be restored as well
    job = Training(network, SGD(), 30, size, 0, {**options, "ema_decay": 0.9}).job()
    with sharing(what):
        trainer, results = begin(backend, network, replace(job, n_threads=3 if what else 1))
    while trainer.run(1000):
        assert trainer.n_passes < 1000
    n_steps = count_steps(trainer)
    assert n_steps > 1
    assert trainer.n_passes == n_steps // job.n_batches
    assert np.isfinite(results["parameters"]).all()
    # As many steps, one by one on one thread, lead to the same bits, and one more step diverges.
    with sharing(what):
        again, expected = begin(backend, network, job)
    with np.errstate(all="ignore"):
        while count_steps(again) < n_steps:
            if backend == "numba":
                again._calls.n_steps = 1
                assert again._call(n_steps)
            else:
                assert reference.train_step(network, again._state, job, again.records)
    assert_same_bits(results, expected)
    assert not again.run(1000)
    assert count_steps(again) == n_steps
    assert_same_bits(results, expected)


def find_halt(losses, job):
    """Return the number of epochs that a training with these losses does, and whether it halts."""
    best, n_without = np.inf, 0
    for n_pass, objective in zip(job.kept.tolist(), (losses / job.X.shape[0]).tolist(), strict=True):
        n_without = n_without + 1 if objective > best - job.tol else 0
        best = min(best, objective)
        if n_without > job.patience > 0:
            return n_pass + 1, True
    return job.num_passes, False


@with_examples(120)
@given(trainings(), either_backend, st.sampled_from([None, 1, 10**9]), shared_or_not)
def test_a_training_halts_after_the_epoch_that_exceeds_the_patience(training, backend, steps_per_call, what):
    """The expected epoch follows from the losses of the same training without patience."""
    network, job = training.network, training.job()
    # Schedules depend on the length of the run: give all trainings the same `total_steps`.
    total = job.total_steps or job.steps_before + max(1, job.num_passes * job.n_batches)
    with sharing(what):
        whole = train(backend, network, training.job(patience=0, total_steps=total))
        assert (whole.pop("plateau") == [np.inf, 0]).all()
        n_passes, halts = find_halt(whole["losses"], job)
        n_kept = int(np.searchsorted(job.kept, n_passes))
        trainer, results = begin(backend, network, training.job(total_steps=total))
        run_on(trainer, job.num_passes, steps_per_call)
        assert (trainer.n_passes, trainer.halted) == (n_passes, halts)
        # The halted training leaves what a training of that many epochs without patience leaves.
        shorter = train(backend, network, training.job(patience=0, num_passes=n_passes, total_steps=total))
    if job.patience:
        assert results["plateau"][0] == min(whole["losses"][:n_kept] / job.X.shape[0], default=np.inf)
    for name in results.keys() - {"plateau"}:
        if name in trainer.records._fields:
            np.testing.assert_array_equal(results[name][:n_kept], whole[name][:n_kept], err_msg=name)
            assert not results[name][n_kept:].any()
        else:
            np.testing.assert_array_equal(results[name], shorter[name], err_msg=name)
    # A further call changes nothing.
    kept = {name: array.copy() for name, array in results.items()}
    assert trainer.run(job.num_passes)
    assert trainer.n_passes == n_passes
    assert_same_bits(results, kept)


objectives = st.one_of(st.integers(0, 5).map(float), st.sampled_from([np.inf, -np.inf, np.nan]))


@given(st.lists(objectives | st.floats()), st.sampled_from([0.0, 1.0, 1.5]), st.integers(1, 3))
def test_kernel_and_reference_keep_the_rule_of_patience(series, tol, limit):
    ours, theirs = np.array([np.inf, 0.0]), np.array([np.inf, 0.0])
    patience = Patience(limit + 1, tol, keeps_small=True)
    for k, objective in enumerate(series):
        compiled.update_plateau(objective, tol, ours)
        reference.update_plateau(objective, tol, theirs)
        patience.observe(objective, k + 1)
        np.testing.assert_array_equal(ours, [patience.best, patience.count])
        np.testing.assert_array_equal(theirs, [patience.best, patience.count])
        assert patience.is_over == (ours[1] > limit)  # as `train_steps` and the trainers decide
