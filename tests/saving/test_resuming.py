"""Resumed trainings: k epochs that are resumed to k + m have the bits of k + m epochs at once."""

import re
import signal
from contextlib import nullcontext
from dataclasses import fields

import numpy as np
import pytest
from saved_models import X, model, rewrite, trained, y

import fastnn
from fastnn.engine import limits
from fastnn.optimizers import STEPPING
from fastnn.training.loop import Hook
from fastnn.training.options import TrainOptions

# Minibatches of 16 of the 60 samples: four steps per epoch, the last one of 12 samples.
BASE = {"num_passes": 12, "epsilon": 0.01, "batch_size": 16, "reduction": "mean", "random_state": 4}
PENALTIES = {"l1": 1e-3, "reg_lambda": 0.1, "max_norm": 1.0, "clip_norm": 0.5}
REGRESSION = {"loss": "squared_error", "output_activation": "identity"}
WHOLE = {"batch_size": None, "y": np.column_stack([np.sin(X[:, 0]), X[:, 1] ** 2])}
# Options of the network and of the training: every optimizer, and every kind of schedule and network.
TRAININGS = {name: ({}, {"optimizer": name}) for name in STEPPING} | {
    "sgd": ({}, {"schedule": "step_decay"}),
    "momentum": ({}, {"optimizer": "momentum", "schedule": "one_cycle"}),
    "nesterov": ({"dropout": 0.2}, {"optimizer": "nesterov", "ema_decay": 0.9}),
    "adagrad": ({}, {"optimizer": "adagrad", "schedule": fastnn.WarmUp("exponential_decay", length=7)}),
    "rmsprop": (
        {},
        {"optimizer": fastnn.RMSprop(0.9, momentum=0.5), "sample_weight": np.arange(60.0), **PENALTIES},
    ),
    "adam": ({"batch_norm": True}, {"optimizer": "adam", "schedule": "cosine_decay"}),
    "adamw": (
        {"dropout": [0.1, 0.2, 0.0], "batch_norm": True, "dtype": np.float32},
        {"optimizer": "adamw", "ema_decay": 0.9, "schedule": "cosine_decay"},
    ),
    "whole epochs": ({"dropout": 0.2}, {"optimizer": "adam", "ema_decay": 0.9, "batch_size": None}),
    "whole epochs, normalised": ({"batch_norm": True}, {"optimizer": "adam", "batch_size": None}),
    "early stopping": (
        {"batch_norm": True},
        {
            "epsilon": 0.5,
            "validation_data": (X[::2], y[::2]),
            "num_passes": 40,
            "callbacks": [fastnn.EarlyStopping(6)],
            "ema_decay": 0.5,
        },
    ),
    # 7 epochs fill a part of the ring of 10 pairs, and 40 overwrite it.
    "lbfgs": ({}, {"optimizer": "lbfgs", "batch_size": None, "num_passes": 7}),
    "long lbfgs": (
        {"batch_norm": True, "dtype": np.float32},
        {"optimizer": "lbfgs", "batch_size": None, "num_passes": 40},
    ),
    "levenberg_marquardt": (REGRESSION, {"optimizer": "levenberg_marquardt", **WHOLE}),
    "bayes": (REGRESSION | {"dtype": "f4"}, {"optimizer": fastnn.LevenbergMarquardt(bayesian=True), **WHOLE}),
}


class StopAfter(Hook):
    """Hook that ends a training after exactly `n_passes` epochs."""

    def __init__(self, n_passes):
        self.n_passes = n_passes

    def next_stop(self, training):
        later = training.job.num_passes
        return self.n_passes if training.n_passes < self.n_passes < later else later

    def after_chunk(self, training):
        return training.n_passes == self.n_passes


class StopInEpoch(Hook):
    """Hook that ends a training after `n_calls` calls of its trainer, in the middle of an epoch."""

    def __init__(self, n_calls=1):
        self.n_left = n_calls

    def after_chunk(self, training):
        self.n_left -= 1
        return self.n_left == 0


def everything(thing, folder):
    """Return the content of the file of a model: parameters, history and the state of the training."""
    thing.save(folder / "everything.fastnn")
    return (folder / "everything.fastnn").read_bytes()


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_resumes_in_memory_and_from_a_file(name, backend, tmp_path):
    network, options = TRAININGS[name]
    options = {"y": y} | BASE | options
    at_once, stopped, other = (model(backend=backend, **network) for _ in range(3))
    at_once.train(X, **options)
    expected = everything(at_once, tmp_path)
    callbacks = [*options.pop("callbacks", ())]
    assert len(stopped.train(X, callbacks=[*callbacks, StopAfter(5)], **options)) == 5
    stopped.save(tmp_path / "stopped.fastnn")
    stopped.train(X, resume=True, callbacks=callbacks, **options)
    assert everything(stopped, tmp_path) == expected
    other.W = [np.zeros(W.shape) for W in other.W]
    other.train(X, resume=tmp_path / "stopped.fastnn", callbacks=callbacks, **options)
    assert everything(other, tmp_path) == expected


# What contradicts itself in the memory of a minimiser: an array, and what becomes of it.
FORGED = {
    "lbfgs": [
        ("numbers", lambda numbers: numbers[:-1]),
        *(("counts", lambda counts, wrong=wrong: 0 * counts + wrong) for wrong in (-1, 99)),
    ],
    "levenberg_marquardt": [
        ("numbers", lambda numbers: [-1.0, *numbers[1:]]),
        ("numbers", lambda numbers: [numbers[0], np.nan, *numbers[2:]]),
        ("counts", lambda counts: [3, *counts[1:]]),
        ("counts", lambda counts: [counts[0], 5, *counts[2:]]),
    ],
}


@pytest.mark.parametrize("optimizer", FORGED)
def test_states_of_minimisers_that_contradict_themselves_are_refused(optimizer, backend, tmp_path):
    options, path = {"optimizer": optimizer, **WHOLE, "num_passes": 9}, tmp_path / "stopped.fastnn"
    stopped = model(backend=backend, **REGRESSION)
    stopped.train(X, callbacks=[StopAfter(4)], **options)
    stopped.save(path)
    for name, change in FORGED[optimizer]:

        def forge(_, arrays, key=f"training.memory.{name}", change=change):
            arrays[key] = np.array(change(arrays[key]), arrays[key].dtype)

        rewrite(path, tmp_path / "changed.fastnn", forge)
        with pytest.raises(ValueError, match="the state of L.* contradicts itself"):
            stopped.train(X, resume=tmp_path / "changed.fastnn", **options)
    stopped.b[0][0, 0] += 1
    with pytest.raises(ValueError, match="the parameters have been changed"):
        stopped.train(X, resume=True, **options)


def test_a_change_of_any_byte_of_large_data_is_noticed_after_a_checkpoint(tmp_path):
    samples = np.random.RandomState(0).normal(size=(50_000, 2))
    labels, options = (samples[:, 0] > 0).astype(int), BASE | {"batch_size": 50_000, "num_passes": 2}
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn")
    model().train(samples, labels, callbacks=[checkpoint], **options)
    for place in (5_000, 31_234):
        changed = samples.copy()
        changed[place, 1] = np.nextafter(changed[place, 1], 9)
        with pytest.raises(ValueError, match="differ from the training to resume: X"):
            model().train(changed, labels, resume=checkpoint, **options | {"num_passes": 3})


@pytest.mark.parametrize(
    "options",
    [
        {"validation_data": (X, y), "callbacks": [fastnn.EarlyStopping(1)], "epsilon": 0.5},
        {"optimizer": fastnn.LBFGS(gtol=0.05), "batch_size": None, "num_passes": 500},
    ],
    ids=["stopped early", "converged"],
)
def test_a_training_that_ended_early_does_nothing_more(options, backend, tmp_path):
    stopped = trained(model(batch_norm=True, backend=backend), y, **BASE | options)
    assert 0 < len(stopped.history_) < (BASE | options)["num_passes"]
    before = everything(stopped, tmp_path)
    stopped.train(X, y, resume=True, **BASE | options)
    assert everything(stopped, tmp_path) == before


LONGER = {
    "adam": [(17, 40), (1500, 1501), (1500, 4000)],
    "lbfgs": [(1, 30), (2, 3), (6, 9), (8, 25), (25, 26)],
}


@pytest.mark.parametrize(("optimizer", "lengths"), LONGER.items())
def test_a_training_can_be_resumed_for_more_epochs_than_planned(optimizer, lengths):
    """The parameters equal the longer training's. The histories are compared in their common epochs."""
    options = {"epsilon": 0.01, "optimizer": optimizer, "reduction": "mean", "random_state": 0}
    for first, then in lengths:
        at_once, longer = (trained(model(), y, num_passes=n, **options) for n in (then, first))
        history = longer.train(X, y, num_passes=then, resume=True, **options)
        assert all((u == v).all() for u, v in zip(longer.W, at_once.W, strict=True))
        assert history.passes[-1] == then - 1
        both, ours, theirs = np.intersect1d(history.passes, at_once.history_.passes, return_indices=True)
        assert len(both) > 0.3 * len(history)
        assert (history.loss[ours] == at_once.history_.loss[theirs]).all()


def test_a_minimisation_that_has_failed_is_not_resumed_but_kept():
    options = {"optimizer": fastnn.LBFGS(maxls=1), "epsilon": 0.01, "reduction": "mean"}
    failed = trained(model(), y, num_passes=500, **options)
    before = len(failed.history_)
    assert len(failed.train(X, y, num_passes=600, resume=True, **options)) == before < 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": fastnn.Adam(eps=1e-6)}, "optimizer (Adam(betas=(0.9, 0.999), eps=1e-08"),
        ({"ema_decay": 0.5}, "ema_decay (None before, 0.5 now)"),
        ({"clip_norm": 2.0, "batch_size": 20}, "batch_size (16 before, 20 now), clip_norm"),
        ({"X": X + 1e-9}, "X"),
        ({"X": X[:50], "y": y[:50]}, "the number of samples, X, y, sample_weight"),
        ({"num_passes": 2}, "num_passes=2 counts the epochs of the whole training, and 5 of them are done"),
    ],
)
def test_what_differs_from_the_stopped_training_is_named(change, message, tmp_path):
    stopped = trained(model(), y, callbacks=[StopAfter(5)], optimizer="adam", **BASE)
    before = everything(stopped, tmp_path)
    options = {"X": X, "y": y, "resume": True, "optimizer": "adam", **BASE} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        stopped.train(**options)
    assert everything(stopped, tmp_path) == before


# Another value of every option of a training, except its length and where it begins.
OTHER_VALUES = {
    "epsilon": 0.02,
    "reg_lambda": 0.1,
    "print_loss": True,
    "print_every": 1,
    "batch_size": 20,
    "optimizer": "adam",
    "schedule": "cosine_decay",
    "reduction": "sum",
    "shuffle": False,
    "sample_weight": np.arange(1.0, 61),
    "l1": 0.1,
    "max_norm": 0.1,
    "clip_norm": 0.01,
    "ema_decay": 0.5,
    "n_threads": 2,
    "validation_data": (X, y),
    "callbacks": [lambda history: None],
    "progress": True,
    "random_state": 5,
    "rng": 5,
}


@pytest.mark.parametrize("name", sorted({f.name for f in fields(TrainOptions)} - {"num_passes", "resume"}))
def test_exactly_the_options_that_decide_the_result_must_not_differ(name):
    first = BASE | {"num_passes": 3}
    other = first | {name: OTHER_VALUES[name]} | ({"random_state": None} if name == "rng" else {})
    before, after = (trained(model(), y, **options) for options in (first, other))
    decides = any((u != v).any() for u, v in zip(before.W, after.W, strict=True))
    message = f"resume: these differ from the training to resume: .*{name}"
    with pytest.raises(ValueError, match=message) if decides else nullcontext():
        before.train(X, y, resume=True, **other)


def test_files_that_hold_no_training_of_the_model_are_refused(tmp_path):
    path = tmp_path / "model.fastnn"

    def assert_refused(message, error=ValueError, resume=path, **other):
        with pytest.raises(error, match=message):
            model(**other).train(X, y, resume=resume, **BASE)

    assert_refused("there is no file.*pass the Checkpoint itself", FileNotFoundError)
    assert_refused("this model has no training to resume", resume=True)
    trained(model(), y, **BASE).save(path)
    assert_refused("dtype is float64 in the file, float32 here", dtype=np.float32)
    assert_refused("dropout is .* in the file, .*backend is numba in the file", backend="numpy", dropout=0.1)
    assert_refused("activations", activation="relu")
    (broken := fastnn.load(path)).W[0][0, 0] = np.nan
    broken.save(path)
    assert_refused("W or b holds NaN")
    trained(model(), y, **BASE).save(path, training=False)
    assert_refused("has no training to resume.*training=False")
    fastnn.MLPClassifier((4,)).save(path)
    assert_refused("the MLPClassifier in .* is not a Model")
    path.write_text("none")
    for other in (tmp_path, "", path):
        assert_refused("^resume: .* not ", resume=other)
    averaged = trained(model(), y, ema_decay=0.9, callbacks=[StopAfter(5)], **BASE)
    averaged.W[0][0, 0] += 1
    with pytest.raises(ValueError, match="the parameters have been changed since the training"):
        averaged.train(X, y, ema_decay=0.9, resume=True, **BASE)


@pytest.mark.parametrize("rng", [lambda: None, lambda: 3, lambda: np.random.default_rng(3)])
def test_a_training_by_any_generator_is_resumed(rng):
    """A resumed training does not depend on the global generator."""
    options = BASE | {"random_state": None}
    np.random.seed(3)
    at_once = trained(model(dropout=0.1), y, rng=rng(), **options)
    np.random.seed(3)
    stopped = trained(model(dropout=0.1), y, rng=rng(), callbacks=[StopAfter(5)], **options)
    stopped.train(X, y, resume=True, rng=rng(), **options)
    assert (stopped.W[0] == at_once.W[0]).all()


@pytest.mark.parametrize(
    ("network", "options", "n_first"),
    [
        ({}, {"batch_size": 2000}, 0),
        ({"batch_norm": True, "dropout": 0.1}, {"batch_size": 1000}, 0),
        ({}, {"optimizer": "lbfgs"}, 1),
        (REGRESSION, {"optimizer": "levenberg_marquardt"}, 3),
    ],
    ids=["batches", "normalised", "lbfgs", "levenberg_marquardt"],
)
def test_a_training_resumes_from_within_an_epoch_or_search(network, options, n_first, tmp_path, monkeypatch):
    """A call runs one step, one evaluation or one block: it ends within an epoch or a line search.

    Minimisers need their first evaluation, which takes `n_first` calls.
    """
    samples = np.random.RandomState(0).randn(3000, 2)
    labels = np.sin(samples) if network == REGRESSION else np.arange(3000) % 2
    options = {"num_passes": 8, "epsilon": 0.01, "reduction": "mean", "random_state": 0} | options
    at_once = model(**network)
    at_once.train(samples, labels, **options)
    monkeypatch.setattr(limits, "FIRST_CALL_OPERATIONS", 0)
    monkeypatch.setattr(limits, "CALL_SECONDS", 0)
    n_stopped = 0
    for n_calls in range(1, 12):
        stopped = model(**network)
        stopped.train(samples, labels, callbacks=[StopInEpoch(n_calls)], **options)
        n_stopped += stopped.history_.n_passes < 8
        if n_calls > n_first:
            stopped.train(samples, labels, resume=True, **options)
            assert everything(stopped, tmp_path) == everything(at_once, tmp_path)
    assert n_stopped > 4


class InterruptAtStop(Hook):
    """Hook that interrupts a training when an epoch has ended, as Ctrl-C does while its last steps run."""

    measures = True

    def __init__(self, n_passes):
        self.n_passes = n_passes

    def record_chunk(self, training):
        if training.n_passes == self.n_passes:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("n_passes", [1, 4, 9])
def test_the_last_epoch_before_an_interrupt_is_validated(n_passes, tmp_path):
    options = BASE | {"validation_data": (X[::2], y[::2]), "epsilon": 0.5, "num_passes": 40}
    at_once, stopped = model(), model()
    at_once.train(X, y, callbacks=[fastnn.EarlyStopping(3)], **options)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(X, y, callbacks=[InterruptAtStop(n_passes), fastnn.EarlyStopping(3)], **options)
    assert len(stopped.history_) == n_passes
    assert np.isfinite(stopped.history_.validation_loss).all()
    stopped.train(X, y, callbacks=[fastnn.EarlyStopping(3)], resume=True, **options)
    assert everything(stopped, tmp_path) == everything(at_once, tmp_path)
