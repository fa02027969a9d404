"""Trainings that halt when the objective stops falling, and the recorded objectives."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_trainings import (
    Training,
    assert_same_bits,
    either_backend,
    shared,
    shared_or_not,
    sharing,
    tolerances,
    train,
    trainings,
)
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    F64,
    RECIPES,
)
from trainings import begin, run_on

from fastnn.engine.choice import get_backend
from fastnn.network.description import Network
from fastnn.optimizers import SGD
from fastnn.reference import train as reference
from fastnn.training.loop import run_training
from fastnn.training.patience import Patience
from fastnn_kernels import train as compiled


def expected_halt(losses, job):
    """Return the number of epochs that a training with these losses does, and whether it halts."""
    best, n_without = np.inf, 0
    for n_pass, objective in zip(job.kept.tolist(), (losses / job.X.shape[0]).tolist(), strict=True):
        n_without = n_without + 1 if objective > best - job.tol else 0
        best = min(best, objective)
        if n_without > job.patience > 0:
            return n_pass + 1, True
    return job.num_passes, False


def check_halting(backend, training, rounds_per_call=None, **changes):
    """Check that a training halts after the expected epoch; return that epoch and whether it halts.

    The expectation is computed from the losses of the same training without patience.
    """
    network, job = training.network, training.job(**changes)
    # Schedules depend on the length of the run: give all trainings of this check the same `total_steps`.
    changes["total_steps"] = job.total_steps or job.steps_before + max(1, job.num_passes * job.n_batches)
    trainer, whole = begin(backend, network, training.job(**{**changes, "patience": 0}))
    run_on(trainer, job.num_passes)
    assert trainer.n_passes == job.num_passes
    assert (whole.pop("plateau") == [np.inf, 0]).all()
    n_passes, halts = expected_halt(whole["losses"], job)
    n_kept = int(np.searchsorted(job.kept, n_passes))

    trainer, results = begin(backend, network, training.job(**changes))
    run_on(trainer, job.num_passes, rounds_per_call)
    assert (trainer.n_passes, trainer.halted) == (n_passes, halts)
    # The halted training leaves what a training of that many epochs without patience leaves.
    shorter = train(backend, network, training.job(**{**changes, "patience": 0, "num_passes": n_passes}))
    best, _ = results["plateau"]
    if job.patience:
        assert best == min(whole["losses"][:n_kept] / job.X.shape[0], default=np.inf)
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
    return n_passes, halts


@with_examples(100)
@given(trainings(), either_backend, st.sampled_from([None, 1, 10**9]), shared_or_not)
def test_a_training_halts_after_the_epoch_that_exceeds_the_patience(training, backend, rounds_per_call, what):
    with sharing(what):
        check_halting(backend, training, rounds_per_call)


# The smallest rate descends steadily, the others jump to and fro across the minimum.
learning_rates = st.sampled_from([0.05, 2.0, 20.0])


@with_examples(20)
@given(
    st.sampled_from(RECIPES[:2]), learning_rates, tolerances, st.integers(0, 6), st.integers(1, 3),
    st.sampled_from([None, 1, 10**9]), shared,
)  # fmt: skip
def test_the_number_of_threads_does_not_change_where_a_training_halts(
    recipe, epsilon, tol, patience, n_threads, rounds, what
):
    training = long_training(recipe, num_passes=40, epsilon=epsilon, tol=tol, patience=patience)
    with sharing(what):
        halt = check_halting("numba", training, rounds, n_threads=n_threads)
        assert halt == check_halting("numba", training)


def long_training(recipe, **options):
    network = Network((2, 3, 2), (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    options = {
        "num_passes": 100, "averaged": True, "of_objective": True, "reg_lambda": 0.1,
        "shuffled": recipe.gathered, "optimizer": recipe.optimizer, **options,
    }  # fmt: skip
    return Training(network, 64, 24 if recipe.gathered else 64, 0, options)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_tolerance_and_patience_decide_when_a_training_halts(recipe, backend):
    halts = [
        check_halting(backend, long_training(recipe, epsilon=0.05, tol=tol, patience=patience))
        for tol, patience in ((1e-3, 2), (1e-3, 5), (100.0, 5), (100.0, 98), (100.0, 99), (100.0, 0))
    ]
    assert 7 < halts[0][0] <= halts[1][0] - 3 < 97
    # With a tolerance of 100, only the first epoch improves on the initial best objective, infinity.
    assert halts[2:] == [(7, True), (100, True), (100, False), (100, False)]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_a_halted_training_can_be_continued(recipe, backend):
    options = {"epsilon": 0.05, "tol": 100.0, "patience": 3, "total_steps": 1000}
    training = long_training(recipe, **options)
    network, job = training.network, training.job()
    whole = train(backend, network, replace(job, patience=0))
    trainer, results = begin(backend, network, job)
    run_on(trainer, 100)
    assert (trainer.n_passes, trainer.halted) == (5, True)
    # After a reset of the count of epochs without improvement, the trainer does patience + 1 more epochs.
    trainer.memory.plateau[1] = 0
    assert not trainer.halted
    run_on(trainer, 100)
    assert (trainer.n_passes, trainer.halted) == (9, True)
    # A new trainer with the memory of a halted training does one epoch before it halts.
    job = replace(job, steps_before=9 * job.n_batches, num_passes=91)
    state = trainer._state
    again = get_backend(backend).trainer(network, state.parameters, state.statistics, job, trainer.memory)
    assert not again.halted
    run_on(again, 91)
    assert (again.n_passes, again.halted) == (1, True)
    # If that first epoch is an improvement, the count begins at 0 again.
    trainer.memory.plateau[0] = np.inf
    job = replace(job, steps_before=10 * job.n_batches, num_passes=90)
    again = get_backend(backend).trainer(network, state.parameters, state.statistics, job, trainer.memory)
    run_on(again, 90)
    assert (again.n_passes, again.halted) == (5, True)
    job = replace(job, steps_before=15 * job.n_batches, num_passes=85, patience=0)
    again = get_backend(backend).trainer(network, state.parameters, state.statistics, job, trainer.memory)
    run_on(again, 85)
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


def descent_by_hand(network, job, parameters):
    """Train a [2, 3, 2] network; return the objectives of the epochs, the final weights and biases."""
    (W1, W2), (b1, b2) = ([a.copy() for a in part(parameters)] for part in (network.weights, network.biases))
    objectives = np.zeros(job.num_passes)
    for n_pass in range(job.num_passes):
        for first in range(0, len(job.X), job.batch_size):
            part = slice(first, first + job.batch_size)
            X, labels, weights = job.X[part], job.y[part, 0].astype(int), job.weights[part]
            total, rows = weights.sum(), np.arange(len(X))
            if total == 0:  # a step without weights changes nothing
                continue
            A = np.tanh(X @ W1 + b1)
            S = np.tanh(A @ W2 + b2)
            P = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
            loss = np.average(-np.log(P[rows, labels]), weights=weights)
            squares = (W1**2).sum() + (W2**2).sum()
            objective = job.loss_share * loss + job.reg_lambda / 2 * squares / total
            objectives[n_pass] += len(X) / len(job.X) * objective
            P[rows, labels] -= 1
            dS = weights[:, None] / total * P * (1 - S**2)
            dA = dS @ W2.T * (1 - A**2)
            decay = job.reg_lambda / total
            W2, b2 = W2 - job.epsilon * (A.T @ dS + decay * W2), b2 - job.epsilon * dS.sum(axis=0)
            W1, b1 = W1 - job.epsilon * (X.T @ dA + decay * W1), b1 - job.epsilon * dA.sum(axis=0)
    return objectives, [W1, W2], [b1, b2]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("loss_share", [1.0, 0.25])
@pytest.mark.parametrize("batch_size", [30, 8])
def test_objectives_and_steps_match_formulas_written_by_hand(batch_size, loss_share, backend):
    network = Network((2, 3, 2), ("tanh", "tanh"), F64)
    options = {
        "num_passes": 4, "averaged": True, "of_objective": True, "loss_share": loss_share, "reg_lambda": 2.0,
        "epsilon": 0.3, "optimizer": SGD(),
    }  # fmt: skip
    job = Training(network, 30, batch_size, 0, options).job()
    job.weights[8:16] = 0  # the whole second batch of 8 samples
    _, results = begin(backend, network, job)
    objectives, weights, biases = descent_by_hand(network, job, results["parameters"])
    results = train(backend, network, job)
    np.testing.assert_allclose(results["losses"] / 30, objectives, rtol=1e-13)
    for name in ("norms", "ratios"):  # not recorded together with objectives
        np.testing.assert_array_equal(results[name], 0)
    for part, expected in ((network.weights, weights), (network.biases, biases)):
        for ours, theirs in zip(part(results["parameters"]), expected, strict=True):
            np.testing.assert_allclose(ours, np.reshape(theirs, ours.shape), rtol=1e-12, atol=1e-14)


def test_a_history_ends_where_its_training_halts():
    training = long_training(RECIPES[0], epsilon=0.05, tol=100.0, patience=3)
    for backend in ("numba", "numpy"):
        trainer, _ = begin(backend, training.network, training.job())
        assert len(run_training(trainer, training.job()).history()) == 5
