"""Resumed trainings: k epochs that are resumed to k + m have the bits of k + m epochs at once."""

import itertools
import re
import signal

import numpy as np
import pytest
from saved_models import X, model, trained, y

import fastnn
from fastnn.training.loop import Hook
from fastnn_kernels.calls.lbfgs import ENDED, N_EVALUATIONS, N_TRIALS, PHASE

# Minibatches of 16 of the 60 samples: four steps per epoch, the last one of 12 samples.
BASE = {"num_passes": 12, "epsilon": 0.01, "batch_size": 16, "reduction": "mean", "random_state": 4}
OPTIMIZERS = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]
SCHEDULES = [
    "constant",
    "step_decay",
    "cosine_decay",
    "one_cycle",
    fastnn.WarmUp("exponential_decay", length=7),
]
NETWORKS = {
    "plain": {},
    "dropout": {"dropout": 0.2},
    "batch normalisation": {"batch_norm": True},
    "both": {"dropout": [0.1, 0.2, 0.0], "batch_norm": True, "dtype": np.float32},
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


def check(make, folder, stop=5, **options):
    """Assert that a training stopped and resumed, in memory or from a file, has the bits of one at once."""
    options = BASE | options
    at_once = make()
    at_once.train(X, y, **options)
    expected = everything(at_once, folder)
    stopped = make()
    callbacks = [*options.pop("callbacks", ()), StopAfter(stop)]
    assert len(stopped.train(X, y, callbacks=callbacks, **options)) == stop
    stopped.save(folder / "stopped.fastnn")
    options["callbacks"] = callbacks[:-1]
    history = stopped.train(X, y, resume=True, **options)
    assert len(history) == len(at_once.history_)
    assert everything(stopped, folder) == expected
    other = make()
    other.W = [np.zeros(W.shape) for W in other.W]
    other.train(X, y, resume=folder / "stopped.fastnn", **options)
    assert everything(other, folder) == expected


@pytest.mark.parametrize(("optimizer", "schedule"), [*itertools.product(OPTIMIZERS, SCHEDULES)])
def test_every_optimizer_resumes_with_every_schedule(optimizer, schedule, tmp_path):
    check(model, tmp_path, optimizer=optimizer, schedule=schedule)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch", [16, None])
def test_every_kind_of_network_resumes_on_every_backend(network, ema, backend, batch, tmp_path):
    options = NETWORKS[network]
    check(
        lambda: model(backend=backend, **options),
        tmp_path,
        optimizer="adam",
        ema_decay=ema,
        batch_size=batch,
        schedule="cosine_decay",
    )


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("network", [{}, {"batch_norm": True, "dtype": np.float32}], ids=["plain", "float32"])
@pytest.mark.parametrize(
    "n_passes", [7, 40]
)  # 7 epochs fill a part of the ring of 10 pairs, and 40 overwrite it
def test_lbfgs_resumes(network, backend, n_passes, tmp_path):
    options = {"optimizer": "lbfgs", "batch_size": None, "num_passes": n_passes, "reg_lambda": 0.01}
    check(lambda: model(backend=backend, **network), tmp_path, **options)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_lbfgs_can_be_resumed_for_more_epochs_than_planned(backend, tmp_path):
    options = {"optimizer": "lbfgs", "epsilon": 0.01, "reduction": "mean", "random_state": 0}
    for first, then in [(1, 30), (2, 3), (6, 9), (8, 25), (25, 26)]:
        at_once = trained(model(backend=backend), y, num_passes=then, **options)
        longer = trained(model(backend=backend), y, num_passes=first, **options)
        longer.train(X, y, num_passes=then, resume=True, **options)
        assert everything(longer, tmp_path) == everything(at_once, tmp_path), (first, then)


def test_lbfgs_resumes_in_the_middle_of_an_evaluation(tmp_path, monkeypatch):
    """A call of the kernel evaluates one of several tiles: most calls end in the middle of a line search.

    A resumed training begins the evaluation anew, so that only a training of enough calls goes on: each is
    longer than the one before.
    """
    from fastnn.engine import limits

    monkeypatch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
    monkeypatch.setattr(limits, "CALL_SECONDS", 0.0)
    samples, labels = np.random.RandomState(0).normal(size=(1500, 2)), np.arange(1500) % 2
    options = {"optimizer": "lbfgs", "reduction": "mean", "num_passes": 4, "random_state": 0}
    at_once = model(batch_norm=False)
    at_once.train(samples, labels, **options)
    stopped, n_trainings = model(batch_norm=False), 0
    evaluations = set()
    while stopped._training is None or stopped._training.n_steps < 4:
        callbacks, resume = [StopInEpoch(n_trainings + 1)], n_trainings > 0
        stopped.train(samples, labels, callbacks=callbacks, resume=resume, **options)
        stopped.save(tmp_path / "stopped.fastnn")
        stopped, n_trainings = fastnn.load(tmp_path / "stopped.fastnn"), n_trainings + 1
        evaluations.add(int(stopped._training.memory.counts[N_EVALUATIONS]))
    assert n_trainings > 8
    assert len(evaluations) > 4  # the trainings have stopped in several evaluations
    assert everything(stopped, tmp_path) == everything(at_once, tmp_path)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_lbfgs_that_has_converged_does_nothing_more(backend, tmp_path):
    options = {"optimizer": fastnn.LBFGS(gtol=0.05), "epsilon": 0.01, "reduction": "mean", "random_state": 0}
    stopped = trained(model(backend=backend), y, num_passes=500, **options)
    assert 0 < len(stopped.history_) < 500
    before = everything(stopped, tmp_path)
    stopped.train(X, y, num_passes=500, resume=True, **options)
    assert everything(stopped, tmp_path) == before


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_states_of_lbfgs_that_contradict_themselves_are_refused(backend):
    options = {"optimizer": "lbfgs", "epsilon": 0.01, "reduction": "mean", "num_passes": 9}
    for name, place, value in [
        ("counts", slice(None), -1),
        ("counts", slice(None), 99),
        ("numbers", None, 0),
    ]:
        stopped = trained(model(backend=backend), y, callbacks=[StopAfter(4)], **options)
        array = getattr(stopped._training.memory, name)
        if place is None:
            stopped._training.memory.numbers = array[:-1]
        else:
            array[place] = value
        with pytest.raises(ValueError, match="the state of L-BFGS contradicts itself"):
            stopped.train(X, y, resume=True, **options)
    for place, value in [(PHASE, ENDED), (N_TRIALS, 10**9), (N_EVALUATIONS, 2**62)] * (backend == "numba"):
        stopped = trained(model(), y, callbacks=[StopAfter(4)], **options)
        stopped._training.memory.counts[place] = value  # the minimisation would never end
        with pytest.raises(ValueError, match="the state of L-BFGS contradicts itself"):
            stopped.train(X, y, resume=True, **options)
    stopped = trained(model(backend=backend), y, callbacks=[StopAfter(4)], **options)
    stopped.b[0][0, 0] += 1
    with pytest.raises(ValueError, match="the parameters have been changed"):
        stopped.train(X, y, resume=True, **options)
    assert stopped._training is not None


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


def test_trainings_with_penalties_limits_and_sample_weights_resume(tmp_path):
    options = {
        "l1": 1e-3,
        "reg_lambda": 0.1,
        "max_norm": 1.0,
        "clip_norm": 0.5,
        "sample_weight": np.arange(60.0),
    }
    check(model, tmp_path, optimizer=fastnn.RMSprop(0.9, momentum=0.5), **options)


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_trainings_with_early_stopping_resume(stop, tmp_path):
    options = {"epsilon": 0.5, "validation_data": (X[::2], y[::2]), "num_passes": 40}
    check(
        lambda: model(batch_norm=True),
        tmp_path,
        stop,
        callbacks=[fastnn.EarlyStopping(6)],
        ema_decay=0.5,
        **options,
    )


def test_a_training_that_early_stopping_ended_does_nothing_more(tmp_path):
    options = {"validation_data": (X, y), "callbacks": [fastnn.EarlyStopping(1)], "epsilon": 0.5}
    stopped = trained(model(batch_norm=True), y, **BASE | options)
    assert stopped.history_.stopped_early
    before = everything(stopped, tmp_path)
    stopped.train(X, y, resume=True, **BASE | options)
    assert everything(stopped, tmp_path) == before


@pytest.mark.parametrize("options", [{}, {"batch_norm": True, "dropout": 0.1}])
@pytest.mark.parametrize("batch_size", [16, 2])
def test_a_training_that_ended_in_the_middle_of_an_epoch_resumes(options, batch_size, tmp_path, monkeypatch):
    from fastnn.engine import limits

    at_once = trained(model(**options), y, **BASE | {"batch_size": batch_size})
    expected = everything(at_once, tmp_path)
    monkeypatch.setattr(limits, "CALL_STEPS", 3)  # a call ends after three steps
    stopped = trained(model(**options), y, callbacks=[StopInEpoch()], **BASE | {"batch_size": batch_size})
    assert stopped._training.n_steps == 3
    stopped.train(X, y, resume=True, **BASE | {"batch_size": batch_size})
    assert everything(stopped, tmp_path) == expected


@pytest.mark.parametrize(("first", "then"), [(17, 40), (1500, 1501), (1500, 4000)])
def test_a_training_can_be_resumed_for_more_epochs_than_planned(first, then):
    """The parameters equal those of the longer training; the histories are compared in the epochs of both."""
    options = {"epsilon": 0.01, "optimizer": "adam", "reduction": "mean", "random_state": 0}
    at_once = trained(model(), y, num_passes=then, **options)
    longer = trained(model(), y, num_passes=first, **options)
    history = longer.train(X, y, num_passes=then, resume=True, **options)
    assert all((u == v).all() for u, v in zip(longer.W, at_once.W, strict=True))
    assert history.passes[-1] == then - 1
    both, ours, theirs = np.intersect1d(history.passes, at_once.history_.passes, return_indices=True)
    assert len(both) > 0.3 * len(history)
    assert (history.loss[ours] == at_once.history_.loss[theirs]).all()


def test_a_training_without_resume_begins_anew():
    options = {"epsilon": 0.01, "optimizer": "adam", "reduction": "mean"}
    twice = trained(model(), y, **options)
    twice.train(X, y, num_passes=4, random_state=0, **options)
    other = model()
    other.W, other.b = trained(model(), y, **options).W, trained(model(), y, **options).b
    other.train(X, y, num_passes=4, random_state=0, **options)
    assert all((u == v).all() for u, v in zip(twice.W, other.W, strict=True))


def test_an_interrupted_training_resumes(tmp_path):
    def interrupt(history):
        if len(history) >= 3:
            raise KeyboardInterrupt

    options = BASE | {"num_passes": 300, "ema_decay": 0.9}
    expected = everything(trained(model(), y, **options), tmp_path)
    stopped = model()
    with pytest.raises(KeyboardInterrupt):
        stopped.train(X, y, callbacks=[StopAfter(3), interrupt], **options)
    stopped.train(X, y, resume=True, **options)
    assert everything(stopped, tmp_path) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.02}, "epsilon (0.01 before, 0.02 now)"),
        ({"optimizer": fastnn.Adam(eps=1e-6)}, "optimizer (Adam(betas=(0.9, 0.999), eps=1e-08"),
        ({"reduction": "sum"}, "reduction ('mean' before, 'sum' now)"),
        ({"ema_decay": 0.5}, "ema_decay (None before, 0.5 now)"),
        (
            {"clip_norm": 2.0, "batch_size": 20},
            "batch_size (16 before, 20 now), clip_norm (None before, 2.0 now)",
        ),
        ({"random_state": 5}, "random_state or rng"),
        ({"random_state": None, "rng": 5}, "random_state or rng"),
        ({"sample_weight": np.arange(1.0, 61)}, "sample_weight"),
        ({"X": X + 1e-9}, "X"),
        ({"X": X[:50], "y": y[:50]}, "the number of samples, X, y, sample_weight"),
        ({"num_passes": 2}, "num_passes=2 counts the epochs of the whole training, and 5 of them are done"),
        ({"resume": 3}, "resume must be True, the name of a file or a Checkpoint, got 3"),
    ],
)
def test_what_differs_from_the_stopped_training_is_named(change, message):
    stopped = trained(model(), y, callbacks=[StopAfter(5)], optimizer="adam", **BASE)
    before = stopped._parameters.copy()
    options = {"X": X, "y": y, "resume": True, "optimizer": "adam", **BASE} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        stopped.train(**options)
    assert (stopped._parameters == before).all()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"dtype": np.float32}, "dtype is float64 in the file, float32 here"),
        ({"dropout": 0.1}, "dropout"),
        ({"backend": "numpy"}, "backend is numba in the file, numpy here"),
        ({"activation": "relu"}, "activations"),
    ],
)
def test_a_different_model_cannot_resume_from_a_file(other, message, tmp_path):
    trained(model(), y, **BASE).save(tmp_path / "model.fastnn")
    with pytest.raises(ValueError, match=re.escape(message)):
        model(**other).train(X, y, resume=tmp_path / "model.fastnn", **BASE)


def test_files_without_a_training_are_refused(tmp_path):
    path = tmp_path / "model.fastnn"
    with pytest.raises(FileNotFoundError, match="there is no file.*pass the Checkpoint itself"):
        model().train(X, y, resume=path)
    trained(model(), y, **BASE).save(path, training=False)
    with pytest.raises(ValueError, match="has no training to resume.*training=False"):
        model().train(X, y, resume=path, **BASE)
    with pytest.raises(ValueError, match="this model has no training to resume"):
        model().train(X, y, resume=True)
    fastnn.MLPClassifier((4,)).save(path)
    with pytest.raises(ValueError, match="the MLPClassifier in .* is not a Model"):
        model().train(X, y, resume=path, **BASE)


def test_a_refused_resumption_leaves_the_model_as_it_was(tmp_path):
    path, folder = tmp_path / "model.fastnn", tmp_path / "checkpoints"
    saved = trained(model(), y, **BASE)
    saved.save(path)
    saved.W[0][0, 0] = np.nan
    saved.save(tmp_path / "nan.fastnn")
    folder.mkdir()
    checkpoint = fastnn.Checkpoint(folder / "a.fastnn")
    folder.rmdir()
    mine = trained(model(), y, **BASE | {"num_passes": 3})
    before = everything(mine, tmp_path)
    with pytest.raises(ValueError, match="W or b holds NaN"):
        mine.train(X, y, resume=tmp_path / "nan.fastnn", **BASE)
    assert everything(mine, tmp_path) == before
    with pytest.raises(ValueError, match="there is no folder"):
        mine.train(X, y, resume=path, callbacks=[checkpoint], **BASE)
    assert everything(mine, tmp_path) == before


def test_what_is_no_file_of_a_model_is_refused_by_the_name_of_the_argument(tmp_path):
    (tmp_path / "text").write_text("none")
    for path in (tmp_path, "", tmp_path / "text"):
        with pytest.raises(ValueError, match="^resume: .* not "):
            model().train(X, y, resume=path)


def test_changed_averages_of_the_parameters_are_refused():
    stopped = trained(model(), y, ema_decay=0.9, callbacks=[StopAfter(5)], **BASE)
    stopped.W[0][0, 0] += 1
    with pytest.raises(ValueError, match="the parameters have been changed since the training"):
        stopped.train(X, y, ema_decay=0.9, resume=True, **BASE)


def test_a_resumed_training_does_not_depend_on_the_global_generator(tmp_path):
    options = BASE | {"random_state": None}
    np.random.seed(3)
    at_once = trained(model(dropout=0.1), y, **options)
    np.random.seed(3)
    stopped = trained(model(dropout=0.1), y, callbacks=[StopAfter(5)], **options)
    stopped.train(X, y, resume=True, **options)
    assert (stopped.W[0] == at_once.W[0]).all()


@pytest.mark.parametrize("seed", [lambda: 3, lambda: np.random.default_rng(3)], ids=["integer", "generator"])
def test_a_training_with_rng_is_resumed(seed):
    options = BASE | {"random_state": None}
    at_once = trained(model(dropout=0.1), y, rng=seed(), **options)
    stopped = trained(model(dropout=0.1), y, rng=seed(), callbacks=[StopAfter(5)], **options)
    stopped.train(X, y, resume=True, rng=seed(), **options)
    assert (stopped.W[0] == at_once.W[0]).all()


def test_a_resumed_history_has_the_validation_losses_of_all_epochs():
    options = BASE | {"validation_data": (X, y)}
    at_once = trained(model(), y, **options)
    stopped = trained(model(), y, callbacks=[StopAfter(5)], **options)
    history = stopped.train(X, y, resume=True, **options)
    assert (history.validation_loss == at_once.history_.validation_loss).all()
    assert np.isfinite(history.validation_loss).all()


# --- interrupts ----------------------------------------------------------------------------------


def test_a_training_that_ended_within_the_first_step_of_an_epoch_resumes(monkeypatch):
    """The order of an epoch is drawn before its first step, of which a call may run only some tiles."""
    from fastnn.engine import limits

    random = np.random.RandomState(0)
    samples, targets = random.randn(3000, 3), random.randn(3000, 2)
    options = {"num_passes": 4, "epsilon": 0.01, "reduction": "mean", "batch_size": 2000, "random_state": 0}

    def train(resume=False, callbacks=()):
        found.train(samples, targets, resume=resume, callbacks=callbacks, **options)
        return np.concatenate([W.ravel() for W in found.W])

    def new():
        return fastnn.Model([3, 5, 2], output_activation="identity", loss="squared_error", random_state=0)

    found = new()
    expected = train()
    monkeypatch.setattr(limits, "FIRST_CALL_OPERATIONS", 0)
    monkeypatch.setattr(limits, "CALL_SECONDS", 0)  # a call runs one tile of every shard
    n_stopped = 0
    for last in range(1, 12):
        found, calls = new(), []

        def ends(history, calls=calls, last=last):
            calls.append(len(history))
            return len(calls) == last

        train(callbacks=[ends])
        n_stopped += found.history_.n_passes < 4
        np.testing.assert_array_equal(train(resume=True), expected)
    assert n_stopped > 4


@pytest.mark.parametrize("n_passes", [1, 4, 9])
def test_the_last_epoch_before_an_interrupt_is_validated(n_passes, tmp_path, monkeypatch):
    from fastnn.engine.compiled_trainer import NumbaTrainer

    options = BASE | {"validation_data": (X[::2], y[::2]), "epsilon": 0.5, "num_passes": 40}
    at_once, stopped = model(), model()
    at_once.train(X, y, callbacks=[fastnn.EarlyStopping(3)], **options)
    run = NumbaTrainer.run

    def interrupted(trainer, *arguments):
        done = run(trainer, *arguments)
        if trainer.n_passes == n_passes:
            signal.raise_signal(signal.SIGINT)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(NumbaTrainer, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stopped.train(X, y, callbacks=[fastnn.EarlyStopping(3)], **options)
    assert len(stopped.history_) == n_passes
    assert np.isfinite(stopped.history_.validation_loss).all()
    stopped.train(X, y, callbacks=[fastnn.EarlyStopping(3)], resume=True, **options)
    assert everything(stopped, tmp_path) == everything(at_once, tmp_path)


def test_an_interrupt_while_the_history_is_kept_loses_nothing(tmp_path, monkeypatch):
    from fastnn.training.loop import Training

    history = Training.history

    def interrupted(training):
        signal.raise_signal(signal.SIGINT)
        return history(training)

    stopped = model()
    with monkeypatch.context() as patch:
        patch.setattr(Training, "history", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stopped.train(X, y, **BASE)
    assert len(stopped.history_) == BASE["num_passes"]
    stopped.train(X, y, resume=True, **BASE)
    assert everything(stopped, tmp_path) == everything(trained(model(), y, **BASE), tmp_path)
