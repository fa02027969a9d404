"""Checkpoints: files of running trainings that can be loaded at any time, even after a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from saved_models import X, classifier, model, y

import fastnn
from fastnn.training import checkpoint as checkpoint_module
from fastnn.training.loop import Hook

OPTIONS = {"num_passes": 20, "epsilon": 0.01, "batch_size": 16, "reduction": "mean", "random_state": 4}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def steps(monkeypatch):
    """Return a list to which every checkpoint appends its number of steps."""
    written, write = [], checkpoint_module.write_collected

    def recorded(path, metadata, writer, synced):
        write(path, metadata, writer, synced)
        written.append(fastnn.info(path).n_steps)

    monkeypatch.setattr(checkpoint_module, "write_collected", recorded)
    return written


@pytest.mark.parametrize(("every", "passes"), [(7, [7, 14, 20]), (10, [10, 20]), (100, [20])])
def test_a_checkpoint_is_written_every_so_many_epochs(every, passes, tmp_path, steps):
    path = tmp_path / "run.fastnn"
    trained = model()
    trained.train(X, y, callbacks=[fastnn.Checkpoint(path, every=every)], **OPTIONS)
    assert [n // 4 for n in steps] == passes
    trained.save(tmp_path / "end.fastnn")
    assert path.read_bytes() == (tmp_path / "end.fastnn").read_bytes()


def test_a_checkpoint_is_written_every_so_many_seconds(tmp_path, steps, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def advance(history):
        """Let every epoch take a second."""
        now[0] = float(len(history))

    one_by_one = [fastnn.Checkpoint(tmp_path / "other.fastnn", every=1)]
    trained = model()
    trained.train(
        X, y, callbacks=[advance, *one_by_one, fastnn.Checkpoint(tmp_path / "run.fastnn", "5s")], **OPTIONS
    )
    steps = [n // 4 for n in steps]
    for n_passes in range(1, 21):
        steps.remove(n_passes)  # written by the checkpoint of every epoch
    assert steps == [5, 10, 15, 20]


def test_every_checkpoint_predicts_and_can_be_resumed(tmp_path, monkeypatch):
    copies, write = [], checkpoint_module.write_collected

    def kept(path, metadata, writer, synced):
        write(path, metadata, writer, synced)
        copies.append(tmp_path / f"copy-{len(copies)}.fastnn")
        copies[-1].write_bytes(Path(path).read_bytes())

    monkeypatch.setattr(checkpoint_module, "write_collected", kept)
    trained = model(dropout=0.1)
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", every=6)
    trained.train(X, y, callbacks=[checkpoint], ema_decay=0.9, **OPTIONS)
    assert len(copies) == 4
    monkeypatch.undo()
    for copy in copies:
        loaded = fastnn.load(copy)
        assert loaded.predict(X).shape == (60,)
        again = model(dropout=0.1)
        again.train(X, y, callbacks=[checkpoint], ema_decay=0.9, resume=copy, **OPTIONS)
        assert (tmp_path / "run.fastnn").read_bytes() == copies[-1].read_bytes()


def test_a_checkpoint_to_resume_from_need_not_exist(tmp_path):
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", every=6)
    first, second = model(), model()
    first.train(X, y, callbacks=[checkpoint], resume=checkpoint, **OPTIONS)
    history = second.train(X, y, callbacks=[checkpoint], resume=checkpoint, **OPTIONS)
    assert (first.W[0] == second.W[0]).all()
    assert len(history) == 20


def test_the_best_epoch_is_kept(tmp_path):
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", every=7, keep_best=True)
    trained = model()
    X_val, y_val = X[:20], 1 - y[:20]
    options = OPTIONS | {"epsilon": 0.3, "validation_data": (X_val, y_val)}
    history = trained.train(X, y, callbacks=[checkpoint], **options)
    assert checkpoint.best_path == tmp_path / "run.best.fastnn"
    best = fastnn.load(checkpoint.best_path)
    assert best.calculate_loss(X_val, y_val) == pytest.approx(history.validation_loss.min(), rel=1e-12)
    assert history.validation_loss.argmin() != 19
    assert fastnn.info(checkpoint.best_path).n_steps is None
    # A resumed training compares its epochs with the best one of the first training.
    before = checkpoint.best_path.read_bytes()
    model().train(X, y, callbacks=[checkpoint], resume=checkpoint, **options)
    assert checkpoint.best_path.read_bytes() == before


def test_the_best_epoch_of_an_estimator_is_kept(tmp_path):
    pytest.importorskip("sklearn.callback", reason="callbacks exist from scikit-learn 1.9 on")
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", every=3, keep_best=True)
    trained = classifier(max_iter=8, learning_rate_init=0.2).set_callbacks(checkpoint)
    trained.fit(X, y, X_val=X[:20], y_val=y[:20])
    losses = trained.validation_loss_curve_
    loss = fastnn.load(checkpoint.best_path).model_.calculate_loss(X[:20], y[:20, None])
    assert loss == pytest.approx(min(losses), rel=1e-9)


class Breaking(Hook):
    """Hook that makes a parameter infinite after 5 epochs."""

    def next_stop(self, training):
        return training.n_passes + 1

    def at_stop(self, training):
        if training.n_passes == 5:
            training.trainer.current[0] = np.inf


def test_the_best_epoch_before_a_divergence_is_kept(tmp_path):
    """No checkpoint is due before the divergence, and none is written at the end."""
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", every=100, keep_best=True)
    trained = model()
    options = OPTIONS | {"validation_data": (X, y)}
    with pytest.raises(fastnn.DivergenceError):
        trained.train(X, y, callbacks=[checkpoint, Breaking()], **options)
    best = fastnn.load(checkpoint.best_path)
    assert best.calculate_loss(X, y) == pytest.approx(trained.history_.validation_loss.min(), rel=1e-12)
    assert list(tmp_path.iterdir()) == [checkpoint.best_path]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"early_stopping": True},
        {"learning_rate": "cosine_decay", "dropout": 0.1, "ema_decay": 0.9, "batch_norm": True},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 2},
    ],
)
def test_a_fit_can_be_continued_from_its_checkpoint(options, tmp_path, monkeypatch):
    pytest.importorskip("sklearn.callback", reason="callbacks exist from scikit-learn 1.9 on")
    path, first = tmp_path / "run.fastnn", tmp_path / "first.fastnn"
    write = checkpoint_module.write_collected

    def kept(target, metadata, writer, synced):
        write(target, metadata, writer, synced)
        if not first.exists():
            first.write_bytes(path.read_bytes())

    monkeypatch.setattr(checkpoint_module, "write_collected", kept)
    options = {"max_iter": 20, **options}
    at_once = classifier(**options).set_callbacks(fastnn.Checkpoint(path, every=7)).fit(X, y)
    loaded = fastnn.load(first)
    assert loaded.n_iter_ == 7
    loaded.set_params(warm_start=True, max_iter=at_once.n_iter_ - 7).fit(X, y)
    assert all((u == v).all() for u, v in zip(loaded.coefs_, at_once.coefs_, strict=True))
    assert loaded.loss_curve_ == at_once.loss_curve_
    assert np.array_equal(fastnn.load(path).coefs_[0], at_once.coefs_[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every"),
        ({"every": "soon"}, "every must be a number of epochs, or a time such as '30s'"),
        ({"every": "0s"}, "every must be a number of epochs, or a time"),
        ({"every": "30"}, "every must be a number of epochs, or a time"),
        ({"keep_best": 3}, "keep_best must be True or False"),
        ({"path": "missing/run.fastnn"}, "there is no folder"),
    ],
)
def test_bad_arguments_are_refused(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        fastnn.Checkpoint(**{"path": "run.fastnn"} | arguments)


@pytest.mark.parametrize(("every", "seconds"), [("30s", 30), ("0.5s", 0.5), ("5min", 300), ("2 h", 7200)])
def test_times_are_converted_to_seconds(every, seconds):
    assert checkpoint_module._seconds(every) == seconds


def test_the_best_epoch_needs_validation_data(tmp_path):
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", keep_best=True)
    trained, at_once = model(), model()
    trained.train(X, y, **OPTIONS | {"num_passes": 5})
    with pytest.raises(ValueError, match="keep_best=True.*validation data"):
        trained.train(X, y, callbacks=[checkpoint], resume=True, **OPTIONS)
    trained.train(X, y, resume=True, **OPTIONS)  # the refused call has changed nothing
    at_once.train(X, y, **OPTIONS)
    assert (trained.W[0] == at_once.W[0]).all()


def test_a_function_as_schedule_is_refused_before_the_first_step(tmp_path):
    trained, at_once = model(), model()
    history = trained.train(X, y, **OPTIONS | {"num_passes": 5})
    before = trained._parameters.copy()
    with pytest.raises(ValueError, match="schedule is the function"):
        trained.train(
            X, y, callbacks=[fastnn.Checkpoint(tmp_path / "run.fastnn")], schedule=lambda step: 1.0, **OPTIONS
        )
    assert (trained._parameters == before).all()
    assert trained.history_ is history
    assert not list(tmp_path.iterdir())
    trained.train(X, y, resume=True, **OPTIONS)
    at_once.train(X, y, **OPTIONS)
    assert (trained.W[0] == at_once.W[0]).all()


def test_a_training_that_a_full_disk_ended_can_be_resumed(tmp_path, monkeypatch):
    def full(path, metadata, writer, synced):
        raise OSError(28, "No space left on device")

    at_once = model()
    at_once.train(X, y, **OPTIONS)
    monkeypatch.setattr(checkpoint_module, "write_collected", full)
    trained = model()
    with pytest.raises(OSError, match="No space left"):
        trained.train(X, y, callbacks=[fastnn.Checkpoint(tmp_path / "run.fastnn", every=5)], **OPTIONS)
    monkeypatch.undo()
    trained.train(X, y, resume=True, **OPTIONS)
    assert (trained.W[0] == at_once.W[0]).all()


def test_an_interrupt_while_the_model_is_copied_loses_no_checkpoint(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        monkeypatch.undo()
        raise KeyboardInterrupt

    trained, path = model(), tmp_path / "run.fastnn"
    checkpoint = fastnn.Checkpoint(path, every=5, keep_best=True)
    monkeypatch.setattr(checkpoint_module, "collected", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained.train(X, y, callbacks=[checkpoint], validation_data=(X, y), **OPTIONS)
    assert trained._training.n_passes == 5
    saved, best = fastnn.load(path), fastnn.load(checkpoint.best_path)
    assert (saved.W[0] == trained.W[0]).all()
    assert np.isfinite(best.W[0]).all()
    saved.train(X, y, resume=True, validation_data=(X, y), **OPTIONS)
    at_once = model()
    at_once.train(X, y, validation_data=(X, y), **OPTIONS)
    assert (saved.W[0] == at_once.W[0]).all()


def test_a_checkpoint_that_cannot_be_written_keeps_no_other_from_its_last(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    first, second = (fastnn.Checkpoint(place / "a.fastnn", every=100) for place in (folder, tmp_path))
    trained = model()

    def remove(history):
        shutil.rmtree(folder, ignore_errors=True)

    with pytest.raises(FileNotFoundError, match="gone"):
        trained.train(X, y, callbacks=[remove, first, second], **OPTIONS)
    assert len(trained.history_) == len(fastnn.load(second.path).history_) == 20


@pytest.mark.filterwarnings("ignore:epsilon=100 seems too high")  # the high rate makes the training diverge
def test_a_training_that_diverges_leaves_the_last_checkpoint(tmp_path):
    path, options = tmp_path / "run.fastnn", {"epsilon": 100.0, "reg_lambda": 1.0}
    with pytest.raises(fastnn.DivergenceError) as caught:
        model().train(X, y, num_passes=2000, callbacks=[fastnn.Checkpoint(path, every=1)], **options)
    n_passes = caught.value.iteration
    assert fastnn.info(path).n_steps == n_passes > 0
    at_once = model()
    at_once.train(X, y, num_passes=n_passes, **options)
    assert (fastnn.load(path)._parameters == at_once._parameters).all()


# A training that writes checkpoints often, and resumes from its checkpoint if it was killed before.
PROGRAM = """
import sys
import numpy as np, fastnn
X = np.random.RandomState(0).normal(size=(300, 4)); y = (X[:, 0] * X[:, 1] > 0).astype(int)
model = fastnn.Model([4, 30, 2], dropout=0.1, random_state=0)
checkpoint = fastnn.Checkpoint(sys.argv[1], every="0.02s")
print("begins", flush=True)
model.train(
    X, y, num_passes=int(sys.argv[2]), epsilon=1e-3, batch_size=16, reduction="mean", optimizer="adam",
    schedule="cosine_decay", ema_decay=0.99, callbacks=[checkpoint], resume=checkpoint, random_state=0,
)
print("ends", flush=True)
"""


def run(path, n_passes, seconds=None):
    """Run the program and kill it after some seconds of training; return True if it had ended before."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), str(n_passes)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    with process:
        assert process.stdout.readline() == "begins\n"
        if seconds is not None:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        return process.stdout.readline() == "ends\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_training_that_is_killed_and_resumed_ends_with_the_same_file(tmp_path):
    n_passes, random = 1500, np.random.RandomState(0)
    n_kills = int(os.environ.get("FASTNN_KILLS", "4"))
    assert run(tmp_path / "at_once.fastnn", n_passes)
    n_killed = 0
    while n_killed < n_kills:
        if run(tmp_path / "killed.fastnn", n_passes, random.uniform(0.01, 0.25)):
            # The training had ended before the kill: begin another one.
            assert (tmp_path / "killed.fastnn").read_bytes() == (tmp_path / "at_once.fastnn").read_bytes()
            (tmp_path / "killed.fastnn").unlink()
        n_killed += 1
        if (tmp_path / "killed.fastnn").exists():
            fastnn.load(tmp_path / "killed.fastnn")
    assert run(tmp_path / "killed.fastnn", n_passes)
    assert (tmp_path / "killed.fastnn").read_bytes() == (tmp_path / "at_once.fastnn").read_bytes()
    others = {path.name for path in tmp_path.iterdir()} - {"at_once.fastnn", "killed.fastnn"}
    assert all(name.startswith(".fastnn-") for name in others), "of the killed trainings"
