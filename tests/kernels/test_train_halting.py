"""Trainings that halt when the objective stops falling."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_trainings import (
    Training,
    assert_same_bits,
    either_backend,
    shared_or_not,
    sharing,
    train,
    trainings,
)
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import RECIPES
from trainings import begin, run_on

from fastnn.engine import get_backend
from fastnn.network.description import Network
from fastnn.reference import train as reference
from fastnn.training.patience import Patience
from fastnn_kernels import train as compiled


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
def test_a_training_halts_after_the_epoch_that_exceeds_the_patience(training, backend, rounds_per_call, what):
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
        run_on(trainer, job.num_passes, rounds_per_call)
        assert (trainer.n_passes, trainer.halted) == (n_passes, halts)
        # The halted training leaves what a training of that many epochs without patience leaves.
        shorter = train(backend, network, training.job(patience=0, num_passes=n_passes, total_steps=total))
    if job.patience:
        best = min(whole["losses"][:n_kept] / job.X.shape[0], default=np.inf)
        assert results["plateau"][0] == best
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


def long_training(recipe, **options):
    network = Network((2, 3, 2), (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    settings = {"num_passes": 100, "reduction": "mean", "of_objective": True, "reg_lambda": 0.1}
    settings |= {"shuffle": recipe.gathered, "optimizer": recipe.optimizer, **options}
    return Training(network, 64, 24 if recipe.gathered else 64, 0, settings)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_a_halted_training_can_be_continued(recipe, backend):
    training = long_training(recipe, epsilon=0.05, tol=100.0, patience=3, total_steps=1000)
    network, job = training.network, training.job()
    whole = train(backend, network, replace(job, patience=0))
    trainer, results = begin(backend, network, job)
    run_on(trainer, 100)
    assert (trainer.n_passes, trainer.halted) == (5, True)
    # After a reset of the count of epochs without improvement, the trainer does patience + 1 more epochs.
    trainer.memory.plateau[1] = 0
    run_on(trainer, 100)
    assert (trainer.n_passes, trainer.halted) == (9, True)
    # A new trainer with the memory of a halted training does one epoch before it halts. If that first epoch
    # is an improvement, the count begins at 0 again.
    done, state = 9, trainer._state
    for best, patience, n_passes in ((None, 3, 1), (np.inf, 3, 5), (None, 0, 85)):
        if best is not None:
            trainer.memory.plateau[0] = best
        job = replace(job, steps_before=done * job.n_batches, num_passes=100 - done, patience=patience)
        again = get_backend(backend).trainer(network, state.parameters, state.statistics, job, trainer.memory)
        run_on(again, 100 - done)
        assert (again.n_passes, again.halted) == (n_passes, patience > 0)
        done += n_passes
    for name in ("parameters", "optimizer", "order", "generator"):
        np.testing.assert_array_equal(results[name], whole[name], err_msg=name)


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
