"""Streamed fits that are interrupted, saved and resumed."""

import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from extras import all_need
from interrupts import interrupt_after
from parquet_files import COLUMNS, table, written
from streamed_fits import TARGETS, check_equal, outputs, streamed

import fastnn
from fastnn import Checkpoint, TabularClassifier, TabularRegressor
from fastnn.tables.streaming import rows as streamed_rows
from fastnn.tables.streaming.fit import StreamedFit

pytestmark = all_need("pandas", "pyarrow")


EPOCHS = 4  # of three buffers each


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(
    ("n_buffers", "within"), [(1, False), (3, True), (4, False), (8, True), (3 * EPOCHS - 1, False)]
)
def test_a_resumed_fit_equals_an_uninterrupted_fit(
    finished, tmp_path, kind, n_buffers, within, interrupted_after, monkeypatch
):
    frame = table()
    quantiles = (("quantiles", (0.2,)),) if kind is TabularRegressor else ()
    settings = {"settings": (("n_estimators", 3), *quantiles), "passes": EPOCHS}
    expected, path, checkpoint = finished(kind, **settings)
    trained = StreamedFit._train_on
    interrupted_after(n_buffers, within)
    with pytest.raises(KeyboardInterrupt):
        streamed(kind, path, tmp_path, **settings)
    saved = fastnn.load(tmp_path / "run.fastnn")
    assert np.isfinite(outputs(saved, frame)[0].astype(float)).all()
    monkeypatch.setattr(StreamedFit, "_train_on", trained)
    resumed = streamed(kind, path, tmp_path, resume=tmp_path / "run.fastnn", **settings)
    check_equal(resumed, expected, frame)
    for one, other in zip(resumed.estimators_, expected.estimators_, strict=True):
        np.testing.assert_array_equal(one._state.memory.optimizer, other._state.memory.optimizer)
    if n_buffers == 1:  # resuming a finished fit changes nothing
        check_equal(streamed(kind, path, tmp_path, resume=checkpoint, **settings), expected, frame)


def test_an_interrupted_fit_leaves_a_usable_estimator(path, tmp_path, interrupted_after):
    frame = table()
    interrupted_after(11, True)
    model = TabularClassifier(random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(path, "sort", columns=COLUMNS, checkpoint=tmp_path / "run.fastnn", passes=EPOCHS)
    assert model.score(frame[COLUMNS], frame["sort"]) > 0.8
    saved = fastnn.load(tmp_path / "run.fastnn")
    check_equal(saved, model, frame)
    model.save(tmp_path / "model.fastnn")  # without the state that resuming needs
    assert "_stream" not in fastnn.load(tmp_path / "model.fastnn").__dict__
    assert (tmp_path / "model.fastnn").stat().st_size < (tmp_path / "run.fastnn").stat().st_size


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_signal_ends_a_fit_and_its_threads(tmp_path):
    frame = table(20_000)
    path = written(frame, tmp_path / "a.parquet", 3000)
    model = TabularRegressor(random_state=0)
    options = {"columns": COLUMNS, "checkpoint": tmp_path / "run.fastnn"}
    model.fit(path, "size", **options, passes=1)  # import and compile everything
    before = set(threading.enumerate())  # threads of other tests, which may end meanwhile
    for seconds in (0.05, 0.4, 0.8):
        (tmp_path / "run.fastnn").unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt), interrupt_after(seconds):
            model.fit(path, "size", **options, passes=2000)
        assert set(threading.enumerate()) <= before
        if (tmp_path / "run.fastnn").exists():
            assert fastnn.load(tmp_path / "run.fastnn").predict(frame[COLUMNS]).shape == (20_000,)


def test_checkpoints_are_saved_after_every_few_epochs_or_at_the_end(path, tmp_path, monkeypatch):
    saved = []
    save = StreamedFit._save
    monkeypatch.setattr(StreamedFit, "_save", lambda self: (saved.append(self.n_done), save(self)))
    checkpoint = Checkpoint(tmp_path / "run.fastnn", every=2)
    model = streamed(TabularRegressor, path, tmp_path, checkpoint=checkpoint, passes=5)
    # An epoch has three buffers. The checkpoint after the first buffer shows early if saving fails.
    assert saved == [1, 6, 12, 15]
    check_equal(fastnn.load(tmp_path / "run.fastnn"), model, table())
    saved.clear()
    streamed(TabularRegressor, path, tmp_path, checkpoint=Checkpoint(tmp_path / "run.fastnn"), passes=5)
    assert saved == [1, 15]


def test_resuming_from_a_checkpoint_without_a_file_begins_a_fit(finished, tmp_path):
    expected, path, _ = finished(TabularRegressor, passes=2)
    checkpoint = Checkpoint(tmp_path / "run.fastnn")
    model = streamed(TabularRegressor, path, tmp_path, checkpoint=checkpoint, resume=checkpoint, passes=2)
    check_equal(model, expected, table())
    with pytest.raises(FileNotFoundError, match=r"resume: there is no file .*none.fastnn: leave resume out"):
        streamed(TabularRegressor, path, tmp_path, resume=tmp_path / "none.fastnn")


def test_a_resumed_fit_without_a_seed_keeps_the_seeds_of_the_checkpoint(
    path, tmp_path, interrupted_after, monkeypatch
):
    trained, resume = StreamedFit._train_on, tmp_path / "run.fastnn"
    arguments = {"settings": {"random_state": None, "preset": "fast"}, "passes": 2}
    interrupted_after(4)
    with pytest.raises(KeyboardInterrupt):
        streamed(TabularRegressor, path, tmp_path, **arguments)
    seeds = fastnn.load(resume)._stream["seeds"]
    monkeypatch.setattr(StreamedFit, "_train_on", trained)
    model = streamed(TabularRegressor, path, tmp_path, resume=resume, **arguments)
    assert fastnn.load(resume)._stream["seeds"] == seeds
    assert np.isfinite(model.oof_prediction_).all()


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"random_state": 1}, {}, "random_state"),
        ({"preset": "fast"}, {}, r"n_estimators \(5 before, 1 now\), preset"),
        ({}, {"passes": 3}, r"passes \(2 before, 3 now\)"),
        ({}, {"columns": COLUMNS[:4]}, "the columns or row groups of X"),
        ({"quantiles": (0.5,)}, {}, "quantiles"),
        ({}, {"sample_weight": "weight"}, r"sample_weight \(None before, weight now\)"),
    ],
)
def test_settings_that_differ_from_the_checkpoint_are_named(finished, tmp_path, settings, arguments, message):
    _, path, checkpoint = finished(TabularRegressor, passes=2)
    given = {"passes": 2, "resume": checkpoint} | arguments
    with pytest.raises(ValueError, match=f"resume: these differ from the fit to resume: .*{message}"):
        streamed(TabularRegressor, path, tmp_path, settings=settings, **given)


def test_equal_weights_of_classes_resume_a_fit_in_any_order_and_type(path, tmp_path):
    weights = {name: 1.0 + k for k, name in enumerate(np.unique(table()["sort"]).tolist())}
    arguments = {"resume": Checkpoint(tmp_path / "run.fastnn"), "passes": 1}
    first = streamed(TabularClassifier, path, tmp_path, settings={"class_weight": weights}, **arguments)
    same = {name: np.float32(weights[name]) for name in reversed(weights)}
    settings = {"class_weight": same}
    second = streamed(TabularClassifier, path, tmp_path, settings=settings, **arguments)
    check_equal(second, first, table())
    settings["class_weight"] = same | {next(iter(same)): 7.0}
    with pytest.raises(ValueError, match="differ from the fit to resume: class_weight"):
        streamed(TabularClassifier, path, tmp_path, settings=settings, **arguments)


def test_resuming_refuses_changed_files_and_other_models(finished, tmp_path):
    model, path, checkpoint = finished(TabularRegressor, passes=2)
    frame = table()
    frame["noise"] += 1
    changed = written(frame, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="these differ from the fit to resume: the content of X, X_val"):
        streamed(TabularRegressor, changed, tmp_path, resume=checkpoint, passes=2)
    with pytest.raises(ValueError, match="holds no checkpoint of a streamed fit of TabularClassifier"):
        streamed(TabularClassifier, path, tmp_path, resume=checkpoint)
    model.save(tmp_path / "model.fastnn")
    with pytest.raises(ValueError, match="holds no checkpoint of a streamed fit of TabularRegressor"):
        streamed(TabularRegressor, path, tmp_path, resume=tmp_path / "model.fastnn")


def test_damaged_checkpoints_are_refused(finished, tmp_path):
    model = fastnn.load(finished(TabularRegressor, passes=2)[2])
    for change in ({"n_buffers": -1}, {"seeds": [-1]}, {"runs": []}, {"seconds": []}, {"settings": None}):
        model._stream, before = model._stream | change, model._stream
        model.save(tmp_path / "other.fastnn")
        with pytest.raises(ValueError, match=r"other.fastnn holds a description that fits no model"):
            fastnn.load(tmp_path / "other.fastnn")
        model._stream = before


@pytest.mark.parametrize("n_holds", [1, 2, 5])
def test_an_interrupt_while_a_reading_thread_starts_or_ends_leaves_no_thread(
    path, tmp_path, monkeypatch, n_holds
):
    """Interrupts are held while a thread starts, and while the last of four ends, and raised thereafter."""
    held_interrupts, holds = streamed_rows.held_interrupts, []

    @contextmanager
    def interrupted():
        with held_interrupts():
            yield
        holds.append(None)
        if len(holds) == n_holds:
            raise KeyboardInterrupt

    monkeypatch.setattr(streamed_rows, "held_interrupts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        streamed(TabularRegressor, path, tmp_path, settings={"preset": "fast"}, passes=1)
    assert not [thread for thread in threading.enumerate() if thread.name == "fastnn rows"]
