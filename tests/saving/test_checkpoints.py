"""Checkpoints: files of running trainings that can be loaded at any time, even after a kill."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from saved_models import X, classifier, model, y

import fastnn
from fastnn.training.loop import Hook

OPTIONS = {"num_passes": 20, "epsilon": 0.01, "batch_size": 16, "reduction": "mean", "random_state": 4}

pytestmark = pytest.mark.filterwarnings("ignore:.*hasn't converged")


@pytest.fixture
def copies(monkeypatch, tmp_path):
    """Return the list of copies of all files that are written to the test's folder, in their order."""
    written, replace = [], os.replace

    def replace_and_copy(source, goal):
        replace(source, goal)
        if goal.parent != tmp_path:  # an entry of the kernels' cache
            return
        written.append(tmp_path / f"copy-{len(written)}-{goal.name}")
        shutil.copy(goal, written[-1])

    monkeypatch.setattr(os, "replace", replace_and_copy)
    return written


def count_epochs(paths):
    return [fastnn.info(path).n_steps // 4 for path in paths]


@pytest.mark.parametrize(("every", "passes"), [(7, [7, 14, 20]), (10, [10, 20]), (100, [20])])
def test_a_checkpoint_is_written_every_so_many_epochs(every, passes, tmp_path, copies):
    path = tmp_path / "run.fastnn"
    trained, dropout = model(dropout=0.1), {"ema_decay": 0.9}
    checkpoint = fastnn.Checkpoint(path, every=every)
    trained.train(X, y, callbacks=[checkpoint], resume=checkpoint, **OPTIONS, **dropout)  # there is no file
    assert count_epochs(copies) == passes
    trained.save(tmp_path / "end.fastnn")
    assert path.read_bytes() == (tmp_path / "end.fastnn").read_bytes()
    # Every checkpoint predicts and can be resumed.
    for copy in copies[: len(passes)]:
        assert fastnn.load(copy).predict(X).shape == (60,)
        again = model(dropout=0.1)
        again.train(X, y, resume=copy, **OPTIONS, **dropout)
        again.save(tmp_path / "again.fastnn")
        assert (tmp_path / "again.fastnn").read_bytes() == path.read_bytes()


def test_a_resumed_training_counts_the_epochs_before_it(tmp_path, copies):
    model().train(X, y, callbacks=[fastnn.Checkpoint(tmp_path / "run.fastnn", every=7)], **OPTIONS)
    first, n_written = copies[0], len(copies)
    checkpoint = fastnn.Checkpoint(tmp_path / "other.fastnn", every=4)
    model().train(X, y, callbacks=[checkpoint], resume=first, **OPTIONS)  # from epoch 7
    assert count_epochs(copies[n_written:]) == [8, 12, 16, 20]


@pytest.mark.parametrize(
    ("every", "passes"),
    [("5s", [5, 10, 15, 20]), ("0.1min", [6, 12, 18, 20]), ("0.002 h", [8, 16, 20]), ("1h", [20])],
)
def test_a_checkpoint_is_written_every_so_many_seconds(every, passes, tmp_path, copies, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def advance(history):
        now[0] = float(len(history))

    one_by_one = fastnn.Checkpoint(tmp_path / "other.fastnn", every=1)
    other = fastnn.Checkpoint(tmp_path / "run.fastnn", every)
    model().train(X, y, callbacks=[advance, one_by_one, other], **OPTIONS)
    assert count_epochs(path for path in copies if path.name.endswith("-run.fastnn")) == passes


def test_the_best_epoch_is_kept(tmp_path):
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", every=7, keep_best=True)
    X_val, y_val = X[:20], 1 - y[:20]
    options = OPTIONS | {"epsilon": 0.3, "validation_data": (X_val, y_val)}
    history = model().train(X, y, callbacks=[checkpoint], **options)
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
    trained = classifier(max_iter=8, learning_rate_init=0.1).set_callbacks(checkpoint)
    trained.fit(X, y, X_val=X[:20], y_val=y[:20])
    loss = fastnn.load(checkpoint.best_path).model_.calculate_loss(X[:20], y[:20, None])
    assert loss == pytest.approx(min(trained.validation_loss_curve_), rel=1e-9)
    assert loss < trained.validation_loss_curve_[-1]


class Breaking(Hook):
    """Hook that makes a parameter infinite after 5 epochs."""

    def next_stop(self, training):
        return training.n_passes + 1

    def at_stop(self, training):
        if training.n_passes == 5:
            training.trainer.current[0] = np.inf


def test_the_last_checkpoint_and_the_best_epoch_before_a_divergence_are_kept(tmp_path):
    """No checkpoint is due right before the divergence, and none is written at the end."""
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", every=3, keep_best=True)
    trained, at_once, options = model(), model(), OPTIONS | {"validation_data": (X, y)}
    with pytest.raises(fastnn.DivergenceError):
        trained.train(X, y, callbacks=[checkpoint, Breaking()], **options)
    best, last = fastnn.load(checkpoint.best_path), fastnn.load(checkpoint.path)
    assert best.calculate_loss(X, y) == pytest.approx(trained.history_.validation_loss.min(), rel=1e-12)
    assert len(last.history_) == 3
    last.train(X, y, resume=True, **options)
    at_once.train(X, y, **options)
    assert (last.W[0] == at_once.W[0]).all()


@pytest.mark.parametrize(
    "options",
    [
        {"early_stopping": True},
        {"learning_rate": "cosine_decay", "dropout": 0.1, "ema_decay": 0.9, "batch_norm": True},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 2},
    ],
)
def test_a_fit_can_be_continued_from_its_checkpoint(options, tmp_path, copies):
    pytest.importorskip("sklearn.callback", reason="callbacks exist from scikit-learn 1.9 on")
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", every=7)
    at_once = classifier(**{"max_iter": 20} | options).set_callbacks(checkpoint).fit(X, y)
    loaded = fastnn.load(copies[0])
    assert loaded.n_iter_ == 7
    loaded.set_params(warm_start=True, max_iter=at_once.n_iter_ - 7).fit(X, y)
    assert loaded.loss_curve_ == at_once.loss_curve_
    for other in (loaded, fastnn.load(checkpoint.path)):
        assert all((u == v).all() for u, v in zip(other.coefs_, at_once.coefs_, strict=True))


@pytest.mark.parametrize("keep_best", [True, False])
def test_a_training_whose_checkpoints_are_refused_changes_nothing(keep_best, tmp_path):
    options = {"resume": True} if keep_best else {"schedule": lambda step: 1.0}
    message = "keep_best=True.*validation data" if keep_best else "schedule is the function"
    checkpoint = fastnn.Checkpoint(tmp_path / "run.fastnn", keep_best=keep_best)
    trained, at_once = model(), model()
    history = trained.train(X, y, **OPTIONS | {"num_passes": 5})
    with pytest.raises(ValueError, match=message):
        trained.train(X, y, callbacks=[checkpoint], **OPTIONS | options)
    assert trained.history_ is history
    assert not list(tmp_path.iterdir())
    trained.train(X, y, resume=True, **OPTIONS)
    at_once.train(X, y, **OPTIONS)
    assert (trained.W[0] == at_once.W[0]).all()


def test_a_checkpoint_that_cannot_be_written_keeps_no_other_from_its_last(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    first, second = (fastnn.Checkpoint(place / "a.fastnn", every=100) for place in (folder, tmp_path))
    remove = lambda history: shutil.rmtree(folder, ignore_errors=True)  # noqa: E731
    trained, at_once = model(), model()
    with pytest.raises(FileNotFoundError, match="gone"):
        trained.train(X, y, callbacks=[remove, first, second], **OPTIONS)
    assert len(trained.history_) == len(fastnn.load(second.path).history_) == 20
    for one in (trained, at_once):  # the training can be resumed
        one.train(X, y, resume=one is trained, **OPTIONS | {"num_passes": 25})
    assert (trained.W[0] == at_once.W[0]).all()


# A training that writes checkpoints often, and resumes from its checkpoint if it was killed before.
PROGRAM = """
import sys
import numpy as np, fastnn
X = np.random.RandomState(0).normal(size=(300, 4)); y = (X[:, 0] * X[:, 1] > 0).astype(int)
model = fastnn.Model([4, 30, 2], dropout=0.1, random_state=0)
checkpoint = fastnn.Checkpoint(sys.argv[1], every="0.02s")
print("begins", flush=True)
model.train(
    X, y, num_passes=1500, epsilon=1e-3, batch_size=16, reduction="mean", optimizer="adam",
    schedule="cosine_decay", ema_decay=0.99, callbacks=[checkpoint], resume=checkpoint, random_state=0,
)
"""


@pytest.mark.native("processes")
def test_a_training_that_is_killed_and_resumed_ends_with_the_same_file(tmp_path):
    at_once, killed = tmp_path / "at_once.fastnn", tmp_path / "killed.fastnn"
    subprocess.run([sys.executable, "-c", PROGRAM, at_once], check=True)
    n_kills = int(os.environ.get("FASTNN_KILLS", "3"))
    for seconds in (*np.random.RandomState(0).uniform(0.01, 0.25, n_kills), None):
        with subprocess.Popen([sys.executable, "-c", PROGRAM, killed], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"begins\n"
            if seconds is not None:
                time.sleep(seconds)
                process.kill()
    assert killed.read_bytes() == at_once.read_bytes()
