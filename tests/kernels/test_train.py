"""The training loop: both backends alike, the same bits however calls, threads and jobs are cut."""

import itertools
from contextlib import contextmanager, nullcontext
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
from trainings import begin, first_parameters, run_on

from fastnn.engine import arguments, limits
from fastnn.engine.choice import get_backend
from fastnn.engine.job import Job
from fastnn.network.description import Network
from fastnn.optimizers import SGD, Adam, Momentum, Nesterov
from fastnn.reference import train as reference
from fastnn.reference.norm import EPS
from fastnn.schedules import Constant, ExponentialDecay, InverseTimeDecay
from fastnn.system import threads
from fastnn.training.loop import run_training
from fastnn_kernels import train as compiled
from fastnn_kernels.team import N_PARTS
from fastnn_kernels.train import BLOCK

# Tiles are full, nearly full, many.
counts = st.one_of(st.integers(2, 40), st.sampled_from([128, 129, 513]))
optional = st.booleans()
either_backend = st.sampled_from(["numba", "numpy"])
# By which an objective is to fall: not at all, about as much as it does, more than it ever does.
tolerances = st.sampled_from([0.0, 1e-3, 0.02, 100.0])
# Optimizers whose step is as long as the gradient.
LINEAR = {"sgd", "momentum", "nesterov"}


# What threads may share of a step: nothing, as in small ones; its samples, in shards; the units of layers.
SHARED = ["samples", "units"]
shared = st.sampled_from(SHARED)
shared_or_not = st.sampled_from([None, *SHARED])


@contextmanager
def sharing(what, network=None):
    """Threads may share `what` of a step, however little there is to do; units where nothing is dropped."""
    if what == "units" and network is not None and network.dropout:
        what = "samples"
    with pytest.MonkeyPatch.context() as patch:
        if what:
            patch.setattr(limits, "SHARED_OPERATIONS", 0)
            patch.setattr(limits, "LEAST_SHARD", 4)
            patch.setattr(limits, "TEAM_SAMPLES", 10**9 if what == "units" else 0)
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
    # Far from chaos, whether a step is as long as the gradient or not, and many make up a momentum.
    epsilon = 0.05 if averaged or recipe.optimizer.name not in LINEAR else 0.05 / size
    epsilon *= 1 - getattr(recipe.optimizer, "momentum", 0.0)
    # Switches that kernels see as other numbers, and are not compiled for.
    optimizer, switched = recipe.optimizer, draw(optional)
    if isinstance(optimizer, Adam):
        optimizer = replace(optimizer, eps_hat=switched)
    elif isinstance(optimizer, Momentum | Nesterov):
        optimizer = replace(optimizer, rate_in_velocity=switched)
    options = {
        "num_passes": draw(st.integers(0, 12 if n_batches == 1 else 4 if n_batches < 50 else 1)),
        "optimizer": optimizer,
        "averaged": averaged,
        "shuffled": recipe.gathered and draw(optional),
        "seed": draw(keys),
        "epsilon": epsilon,
        "schedule": draw(st.sampled_from([Constant(), InverseTimeDecay(), ExponentialDecay()])),
        "reg_lambda": draw(st.sampled_from([0.0, 0.5])),
        # The derivative of |p| jumps at 0, and rounding decides when p is there.
        "l1": draw(st.sampled_from([0.0, 0.03])) if network.dtype == F64 else 0.0,
        "max_norm": draw(st.sampled_from([0.0, 0.6, 5.0])),
        "clip_norm": draw(st.sampled_from([0.0, 0.5, 100.0])),
        "average_share": draw(st.sampled_from([0.0, 0.2])),
        "record_every": draw(st.integers(1, 3)),
        "of_objective": averaged and draw(optional),
        "loss_share": draw(st.sampled_from([1.0, 0.25])),
        "tol": draw(tolerances),
        "patience": draw(st.integers(0, 2)),
        "steps_before": draw(st.sampled_from([0, 1, 1000])),
        "total_steps": draw(st.sampled_from([0, 5000])),
    }
    return Training(network, count, size, draw(seeds), options)


def train(backend: str, network: Network, job: Job, rounds_a_call=None, nudge=0.0):
    """What is there after all passes, or where it has halted."""
    trainer, results = begin(backend, network, job, nudge)
    run_on(trainer, job.num_passes, rounds_a_call)
    return results


def assert_same_bits(one, other):
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def fewest_samples(job):
    """Of a batch, those without weight not counted, as the order may have it."""
    smallest = job.X.shape[0] % job.batch_size or job.batch_size
    return smallest - np.count_nonzero(job.weights == 0)


def expected_of(network, job):
    """What the reference does, and how far from it kernels may be, by name."""
    expected = train("numpy", network, job)
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
    bounds = {}
    for name, values in expected.items():
        if is_real(name, values):
            moved = max((np.abs(other[name] - values).max(initial=0) for other in nudged), default=0.0)
            # In the kernels subnormal numbers are 0.
            bounds[name] = error * max(1.0, np.abs(values).max(initial=0)) + 20 * moved + 4 * info.tiny
    return expected, bounds


def assert_close(ours, expected, bounds):
    """Of what `train` returns: real numbers within bounds, whole ones the same."""
    for name, values in expected.items():
        if name in bounds:
            np.testing.assert_allclose(ours[name], values, rtol=0, atol=bounds[name], err_msg=name)
        elif name != "plateau":  # has an infinity in it until there is an objective
            np.testing.assert_array_equal(ours[name], values, err_msg=name)
    assert ours["plateau"][1] == expected["plateau"][1]


def is_real(name, values):
    return name != "plateau" and values.dtype.kind == "f"


def is_clear(job, losses, bound):
    """Whether rounding has no say in which passes are an improvement."""
    best = np.minimum.accumulate(losses)[:-1] - job.tol * job.X.shape[0]
    return (np.abs(losses[1:] - best) > 2 * bound).all()


@settings(max_examples=120)
@given(trainings(), shared_or_not)
def test_backends_agree(training, what):
    network, job = training.network, training.job(patience=0)
    with sharing(what, network):
        expected, bounds = expected_of(network, job)
        if training.options["patience"] and is_clear(job, expected["losses"], bounds["losses"]):
            job = training.job()
            expected, bounds = expected_of(network, job)
        ours = train("numba", network, job)
    assert_close(ours, expected, bounds)
    assert (ours["parameters"][is_padding(network)] == 0).all()
    assert ours["parameters"].dtype == ours["average"].dtype == ours["optimizer"].dtype == network.dtype


@given(trainings(), st.lists(st.integers(0, 4), max_size=5), st.integers(1, 3), shared_or_not)
def test_interrupted_and_taken_up_is_the_same_to_the_last_bit(training, portions, rounds_a_call, what):
    network, job = training.network, training.job(num_passes=sum(portions))
    with sharing(what, network):
        whole = train("numba", network, job)
        trainer, parts = begin("numba", network, job)
    done = 0
    for portion in portions:
        done += portion
        run_on(trainer, done, rounds_a_call)  # calls end in the middle of passes, and of steps
        assert trainer.n_passes == done or trainer.halted
    assert_same_bits(parts, whole)


@settings(max_examples=100)
@given(trainings(), st.lists(st.integers(0, 3), min_size=1, max_size=4), either_backend, shared_or_not)
def test_one_training_goes_on_where_another_ended(training, portions, backend, what):
    network, before = training.network, training.options["steps_before"]
    n_batches = training.job().n_batches
    # The schedules' last step is the same then.
    total = training.options["total_steps"] or before + max(1, sum(portions) * n_batches)
    options = {"record_every": 1, "total_steps": total}
    records = []
    with sharing(what, network):
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


def halt_of(losses, job):
    """Passes after which a training with these records ends, and whether it halts then."""
    best, n_without = np.inf, 0
    for n_pass, objective in zip(job.kept.tolist(), (losses / job.X.shape[0]).tolist(), strict=True):
        n_without = n_without + 1 if objective > best - job.tol else 0
        best = min(best, objective)
        if n_without > job.patience > 0:
            return n_pass + 1, True
    return job.num_passes, False


def check_halting(backend, training, rounds_a_call=None, **changes):
    """A training halts where a plain look at the records of one without patience says; returns that."""
    network, job = training.network, training.job(**changes)
    # The schedule's last step is the same in all of them.
    changes["total_steps"] = job.total_steps or job.steps_before + max(1, job.num_passes * job.n_batches)
    trainer, whole = begin(backend, network, training.job(**{**changes, "patience": 0}))
    run_on(trainer, job.num_passes)
    assert trainer.n_passes == job.num_passes
    assert (whole.pop("plateau") == [np.inf, 0]).all()
    n_passes, halts = halt_of(whole["losses"], job)
    n_kept = int(np.searchsorted(job.kept, n_passes))

    trainer, results = begin(backend, network, training.job(**changes))
    run_on(trainer, job.num_passes, rounds_a_call)
    assert (trainer.n_passes, trainer.halted) == (n_passes, halts)
    # What it leaves is what there is after so many passes without patience.
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
    # There it stays.
    kept = {name: array.copy() for name, array in results.items()}
    assert trainer.run(job.num_passes)
    assert trainer.n_passes == n_passes
    assert_same_bits(results, kept)
    return n_passes, halts


@settings(max_examples=100)
@given(trainings(), either_backend, st.sampled_from([None, 1, 10**9]), shared_or_not)
def test_halts_after_the_pass_that_used_up_the_patience(training, backend, rounds_a_call, what):
    with sharing(what, training.network):
        check_halting(backend, training, rounds_a_call)


# Steps that lead down, and that jump to and fro about the bottom.
lengths = st.sampled_from([0.05, 2.0, 20.0])


@settings(max_examples=20)
@given(
    st.sampled_from(RECIPES[:2]), lengths, tolerances, st.integers(0, 6), st.integers(1, 3),
    st.sampled_from([None, 1, 10**9]), shared,
)  # fmt: skip
def test_long_trainings_halt_on_any_number_of_threads(
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
def test_halting_at_last_sooner_and_never(recipe, backend):
    halts = [
        check_halting(backend, long_training(recipe, epsilon=0.05, tol=tol, patience=patience))
        for tol, patience in ((1e-3, 2), (1e-3, 5), (100.0, 5), (100.0, 98), (100.0, 99), (100.0, 0))
    ]
    assert 7 < halts[0][0] <= halts[1][0] - 3 < 97
    # Its first pass is always an improvement.
    assert halts[2:] == [(7, True), (100, True), (100, False), (100, False)]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_going_on_after_a_halt(recipe, backend):
    options = {"epsilon": 0.05, "tol": 100.0, "patience": 3, "total_steps": 1000}
    training = long_training(recipe, **options)
    network, job = training.network, training.job()
    whole = train(backend, network, replace(job, patience=0))
    trainer, results = begin(backend, network, job)
    run_on(trainer, 100)
    assert (trainer.n_passes, trainer.halted) == (5, True)
    # Forgiven, it goes on for as many passes as it was patient for, and one more.
    trainer.memory.plateau[1] = 0
    assert not trainer.halted
    run_on(trainer, 100)
    assert (trainer.n_passes, trainer.halted) == (9, True)
    # Another is not kept from its first pass by what was before.
    job = replace(job, steps_before=9 * job.n_batches, num_passes=91)
    state = trainer._state
    again = get_backend(backend).trainer(network, state.parameters, state.statistics, job, trainer.memory)
    assert not again.halted
    run_on(again, 91)
    assert (again.n_passes, again.halted) == (1, True)
    # And where it is an improvement, not from the others.
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


@given(st.lists(objectives), st.sampled_from([0.0, 1.0, 1.5]))
def test_plateaus_are_noted_alike(series, tol):
    ours, theirs = np.array([np.inf, 0.0]), np.array([np.inf, 0.0])
    best, n_without = np.inf, 0
    for objective in series:
        compiled.note_plateau(objective, tol, ours)
        reference.note_plateau(objective, tol, theirs)
        n_without = n_without + 1 if objective > best - tol else 0
        if objective < best:
            best = objective
        np.testing.assert_array_equal(ours, [best, n_without])
        np.testing.assert_array_equal(theirs, [best, n_without])


def descent_by_hand(network, job, parameters):
    """Objectives of the passes, and the weights and biases after them, of a [2, 3, 2] network."""
    (W1, W2), (b1, b2) = ([a.copy() for a in part(parameters)] for part in (network.weights, network.biases))
    objectives = np.zeros(job.num_passes)
    for n_pass in range(job.num_passes):
        for first in range(0, len(job.X), job.batch_size):
            part = slice(first, first + job.batch_size)
            X, labels, weights = job.X[part], job.y[part, 0].astype(int), job.weights[part]
            total, rows = weights.sum(), np.arange(len(X))
            if total == 0:  # nothing to learn from
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
def test_objectives_and_their_steps_are_those_by_hand(batch_size, loss_share, backend):
    network = Network((2, 3, 2), ("tanh", "tanh"), F64)
    options = {
        "num_passes": 4, "averaged": True, "of_objective": True, "loss_share": loss_share, "reg_lambda": 2.0,
        "epsilon": 0.3, "optimizer": SGD(),
    }  # fmt: skip
    job = Training(network, 30, batch_size, 0, options).job()
    job.weights[8:16] = 0  # all of a small batch
    _, results = begin(backend, network, job)
    objectives, weights, biases = descent_by_hand(network, job, results["parameters"])
    results = train(backend, network, job)
    np.testing.assert_allclose(results["losses"] / 30, objectives, rtol=1e-13)
    for name in ("norms", "ratios"):  # which nobody asks for then
        np.testing.assert_array_equal(results[name], 0)
    for part, expected in ((network.weights, weights), (network.biases, biases)):
        for ours, theirs in zip(part(results["parameters"]), expected, strict=True):
            np.testing.assert_allclose(ours, np.reshape(theirs, ours.shape), rtol=1e-12, atol=1e-14)


# Compiled once more for several threads: a whole batch of float64 and small batches of float32.
THREADED = st.sampled_from(RECIPES[:2])


@settings(max_examples=40)
@given(trainings(THREADED), st.sampled_from([None, 1]), shared)
def test_any_number_of_threads_gives_the_same_bits(training, rounds_a_call, what):
    network = training.network
    with sharing(what):
        alone = train("numba", network, training.job())
        for n_threads in (2, 3, 8):
            assert_same_bits(train("numba", network, training.job(n_threads=n_threads), rounds_a_call), alone)


@given(trainings(THREADED), st.lists(optional, min_size=1, max_size=6), shared)
def test_cores_that_others_take_and_give_back_change_nothing(training, turns, what):
    # A call on two threads, a call on one, in the middle of passes and of steps.
    network = training.network
    with sharing(what), pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "available_cores", lambda: 2)
        alone = train("numba", network, training.job())
        trainer, results = begin("numba", network, training.job(n_threads=2))
        kernel, used, expected = trainer._kernel, [], []

        def watched(thread, n_threads, *arguments):
            used.append(n_threads)
            return kernel(thread, n_threads, *arguments)

        trainer._kernel = watched
        for turn in itertools.cycle(turns):
            if trainer.n_passes == training.options["num_passes"] or trainer.halted:
                break
            trainer._rounds_a_call = 1
            with threads.taken_cores(1) if turn else nullcontext():
                assert trainer.run(training.options["num_passes"])
            expected += [1] if turn or trainer._n_threads == 1 else [2, 2]
    assert used == expected
    assert_same_bits(results, alone)


def large_training(recipe, **options):
    """More parameters than a block, and tiles in every shard."""
    network = Network(
        (30, 140, 40, 3), (*recipe.hidden * 2, recipe.output), recipe.dtype, recipe.loss, recipe.batch_norm
    )
    assert network.n_parameters > 2 * BLOCK
    size = 700 if recipe.gathered else 1000
    options = {"num_passes": 3, "shuffled": recipe.gathered, "averaged": True, "epsilon": 0.05, **options}
    return Training(network, 1000, size, 0, options)


@pytest.mark.parametrize("what", SHARED)
@pytest.mark.parametrize("of_objective", [False, True])
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_blocks_of_parameters_are_all_of_them(recipe, of_objective, what):
    training = large_training(
        recipe, clip_norm=0.3, max_norm=0.8, l1=1e-3, reg_lambda=0.1, average_share=0.1,
        of_objective=of_objective,
    )  # fmt: skip
    network = training.network
    with sharing(what):
        alone = train("numba", network, training.job())
        expected = train("numpy", network, training.job())
        for n_threads in (2, 3):
            assert_same_bits(train("numba", network, training.job(n_threads=n_threads)), alone)
    error = 1000 * np.finfo(network.dtype).eps
    bounds = {
        name: error * max(1.0, np.abs(values).max(initial=0))
        for name, values in expected.items()
        if is_real(name, values)
    }
    assert_close(alone, expected, bounds)


def test_the_problem_says_what_threads_may_share():
    network = large_training(RECIPES[0]).network
    shares = {size: arguments.sharing(network, size) for size in (1, 63, 255, 1000, 10**6)}
    assert shares[1] == shares[63] == (1, False)
    assert shares[255] == (N_PARTS, True)
    assert 1 < shares[1000][0] <= shares[10**6][0] == limits.MOST_SHARDS
    assert not shares[1000][1]
    assert arguments.sharing(replace(network, dropout=(0.5, 0.0, 0.0)), 255) == (3, False)
    assert arguments.sharing(replace(network, batch_norm=True), 10**6) == (1, False)
    assert arguments.sharing(Network((2, 3, 2), ("tanh", "tanh"), F64), 200) == (1, False)


def test_both_sides_know_how_many_parts_there_are():
    assert limits.N_PARTS == N_PARTS


def step_of(trainer):
    """Steps done."""
    return int(np.ravel(trainer._state.progress)[0])


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_divergence_leaves_the_last_finite_step(recipe, backend):
    network = Network((2, 3, 2), (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    size = 12 if recipe.gathered else 30  # in the middle of a pass, too
    options = {"epsilon": 1e3, "reg_lambda": 1.0, "num_passes": 1000, "shuffled": recipe.gathered, "seed": 5}
    options["patience"] = 1000  # the plateau goes back, too
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
                assert reference.train_step(network, again._state, job, again.records)
    assert_same_bits(results, expected)
    assert not again.run(1000)
    assert step_of(again) == n_steps
    assert_same_bits(results, expected)


@pytest.mark.parametrize("what", SHARED)
@pytest.mark.parametrize("n_threads", [2, 3])
def test_divergence_on_several_threads_is_that_of_one(n_threads, what):
    recipe = RECIPES[0]
    options = {"epsilon": 1e4, "reg_lambda": 1.0, "num_passes": 500, "average_share": 0.1, "patience": 500}
    training = Training(Network((2, 3, 2), (*recipe.hidden, recipe.output), F64), 64, 64, 0, options)
    with sharing(what):
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


@pytest.mark.parametrize(
    ("backend", "what"), [("numpy", None), *(("numba", what) for what in (None, *SHARED))]
)
@pytest.mark.parametrize("dims", [(2, 3, 2), (44, 32, 2)])  # the second's first layer is changed in strips
def test_records_are_of_the_passes_asked_for(backend, what, dims):
    """And change nothing, though weights are changed otherwise where a pass is looked at closely."""
    recipe = RECIPES[1]
    network = Network(dims, (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    options = {"num_passes": 7, "optimizer": recipe.optimizer}
    training = Training(network, 90, 40, 0, options)
    with sharing(what, network):
        every = train(backend, network, training.job())
        for step in (2, 3, 7, 100):
            some = train(backend, network, training.job(record_every=step))
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


def evaluated(backend: str, network: Network, job: Job, key: int, nudge: float = 0.0):
    """Loss, gradient and moved statistics; `nudge`: relative change of the parameters they are of."""
    parameters = first_parameters(network, np.random.RandomState(1), nudge)
    statistics = network.initial_statistics()
    evaluate = get_backend(backend).objective(network, statistics, job.X, job.y, job.weights, key)
    loss, gradient = evaluate(parameters)
    return [np.array(loss), gradient, *(view for view in network.running(statistics) if view is not None)]


@given(networks(), counts, seeds, st.integers(0, 2**31), optional)
def test_objectives_agree(network: Network, count, seed, key, small):
    job = Training(network, count, count, seed, {"num_passes": 1}).job()
    with pytest.MonkeyPatch.context() as patch:
        if small:  # a tile a call
            patch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
        ours = evaluated("numba", network, job, key)
    expected = evaluated("numpy", network, job, key)
    # As of trainings: what an ulp makes of it says how close they can be.
    eps = np.finfo(network.dtype).eps
    nudged = [evaluated("numpy", network, job, key, k * eps) for k in (-2, -1, 1, 2)]
    error = 50 * eps
    if network.batch_norm and (network.dropout or fewest_samples(job) < 3):
        error /= np.sqrt(EPS)  # also samples of which all is dropped are alike
    for k, (own, values) in enumerate(zip(ours, expected, strict=True)):
        moved = max(np.abs(other[k] - values).max(initial=0) for other in nudged)
        largest = max(1.0, np.abs(values).max(initial=0))
        np.testing.assert_allclose(own, values, rtol=0, atol=error * largest + 20 * moved)


def test_a_history_holds_the_records():
    training = Training(
        Network((2, 3, 2), ("tanh", "tanh"), F64), 30, 30, 0, {"num_passes": 5, "record_every": 2}
    )
    job = training.job()
    trainer, results = begin("numba", training.network, job)
    history = run_training(trainer, job).history()
    np.testing.assert_array_equal(history.passes, [0, 2, 4])
    np.testing.assert_array_equal(history.loss, results["losses"] / job.weights.sum())
    np.testing.assert_array_equal(history.gradient_norm, results["norms"])
    np.testing.assert_array_equal(history.update_ratio, results["ratios"])


def test_a_history_ends_where_its_training_halts():
    training = long_training(RECIPES[0], epsilon=0.05, tol=100.0, patience=3)
    for backend in ("numba", "numpy"):
        trainer, _ = begin(backend, training.network, training.job())
        assert len(run_training(trainer, training.job()).history()) == 5
