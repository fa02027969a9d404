"""Tabular estimators fitted to Parquet files: in memory, streamed, interrupted, resumed."""

import signal
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pds
import pyarrow.parquet as pq
import pytest
from parquet_files import COLUMNS, table, written
from processes import run_python
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score

import fastnn
from fastnn import Checkpoint, TabularClassifier, TabularRegressor
from fastnn.estimators import streamed_rows, streaming, tabular_presets
from fastnn.estimators.moments import Moments, MomentsOfParts
from fastnn.estimators.streamed_rows import Scan, Sizes
from fastnn.estimators.streaming import StreamedFit, needed_bytes, streamed_passes
from fastnn.estimators.tabular_presets import Preset, Recipe
from fastnn.preprocessing.parquet import ParquetRows

# Fewer passes than usual need larger steps.
RECIPE = Recipe("selu", "lecun_normal", 0.02)
TARGETS = {TabularClassifier: "sort", TabularRegressor: "size"}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Fit small networks for a few passes, with several small buffers a pass."""
    monkeypatch.setitem(tabular_presets.PRESETS, "good", Preset(5, (16, 16), 24, RECIPE))
    monkeypatch.setitem(tabular_presets.PRESETS, "fast", Preset(1, (16,), 12, RECIPE))
    within = Sizes.within

    def small(*arguments):
        return replace(within(*arguments), capacity=768, n_open=3)

    monkeypatch.setattr(streaming.Sizes, "within", small)


@pytest.fixture
def path(tmp_path):
    """Return a file of 2000 rows in seven row groups."""
    return written(table(), tmp_path / "a.parquet")


def streamed(kind, path, tmp_path, name="run.fastnn", settings=(), **arguments):
    """Return an estimator fitted to a file by streaming, which a checkpoint demands."""
    given = {"columns": COLUMNS, "checkpoint": tmp_path / name} | arguments
    return kind(**{"random_state": 0, **dict(settings)}).fit(path, TARGETS[kind], **given)


def outputs(model, frame):
    """Return the predictions of a model for a table, and what it learned of them."""
    predict = model.predict_proba if isinstance(model, TabularClassifier) else model.predict
    order = np.argsort(model.oof_rows_)
    return predict(frame[COLUMNS]), model.oof_rows_[order], model.oof_prediction_[order], model.importances_


def check_equal(one, other, frame):
    """Check that two estimators are equal, bit for bit."""
    for ours, theirs in zip(outputs(one, frame), outputs(other, frame), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(one.estimators_, other.estimators_, strict=True):
        assert ours.loss_curve_ == theirs.loss_curve_
        assert ours.validation_scores_ == theirs.validation_scores_
        assert ours.n_iter_ == theirs.n_iter_


# --- files that fit into memory ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("form", ["path", "text", "paths", "folder", "dataset"])
def test_small_files_are_fitted_as_their_table(path, kind, form):
    source = {
        "path": path, "text": str(path), "paths": [path], "folder": path.parent, "dataset": pds.dataset(path)
    }[form]  # fmt: skip
    model = kind(preset="fast", random_state=0).fit(source, TARGETS[kind], "weight", columns=COLUMNS)
    frame = table()
    target = frame[TARGETS[kind]]
    expected = kind(preset="fast", random_state=0).fit(frame[COLUMNS], target, frame["weight"])
    check_equal(model, expected, frame)
    assert model.target_name_ == TARGETS[kind]
    assert model.feature_names_in_.tolist() == COLUMNS


def test_the_limit_decides(path, monkeypatch):
    ran = []
    monkeypatch.setattr(StreamedFit, "run", lambda self, *_: ran.append(self.limit))
    files = ParquetRows(path, "sort", columns=COLUMNS)
    needed = needed_bytes(files, 5, 16)
    n_features = 2 * 18 + 72 + 2 * 35 + 2  # numbers, date, texts, truth value
    assert needed == 2000 * (8 * 6 + 4 * n_features * 6)
    monkeypatch.setattr("fastnn.estimators.tabular_base.LEAST_MEMORY", 1)
    model = TabularClassifier(random_state=0)
    model.fit(path, "sort", columns=COLUMNS, memory_limit=needed - 1)
    assert ran == [needed - 1]
    model.fit(path, "sort", columns=COLUMNS, memory_limit=needed, passes=1)
    assert ran == [needed - 1]
    assert [member.n_iter_ for member in model.estimators_] == [1] * 5
    model.fit(path, "sort", columns=COLUMNS, memory_limit="2 KB")
    assert ran == [needed - 1, 2000]


def test_validation_files(path, tmp_path):
    frame = table(400, seed=1)
    other = written(frame, tmp_path / "b.parquet")
    model = TabularRegressor(preset="fast", random_state=0)
    for source in (path, table()[COLUMNS]):
        y = "size" if source is path else table()["size"]
        columns = {"columns": COLUMNS} if source is path else {}
        one = clone(model).fit(source, y, X_val=frame[COLUMNS], y_val=frame["size"], **columns)
        assert one.oof_prediction_.shape == (400,)
    check_equal(clone(model).fit(path, "size", X_val=other, y_val="size", columns=COLUMNS), one, frame)


# --- streamed fits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TARGETS)
def test_a_streamed_fit_is_as_good(path, tmp_path, kind):
    frame, test = table(), table(seed=1)
    model = streamed(kind, path, tmp_path)
    whole = kind(random_state=0).fit(frame[COLUMNS], frame[TARGETS[kind]])
    score = model.score(test[COLUMNS], test[TARGETS[kind]])
    assert score > whole.score(test[COLUMNS], test[TARGETS[kind]]) - 0.02
    assert score > 0.9
    assert len(model.estimators_) == 5
    assert model.n_features_in_ == len(COLUMNS)
    for record, other in zip(model.columns_, whole.columns_, strict=True):
        assert record == other  # the sample is the whole file
    assert {member.n_iter_ for member in model.estimators_} <= set(range(1, 25))
    for member in model.estimators_:
        assert len(member.loss_curve_) == len(member.validation_scores_) == member.n_iter_
    assert "out of fold" in model.summary()


@pytest.mark.parametrize("kind", TARGETS)
def test_the_rows_that_judge(path, tmp_path, kind):
    """Out-of-fold rows are different ones for every network, and belong to the predictions."""
    frame = table()
    model = streamed(kind, path, tmp_path)
    rows = model.oof_rows_
    assert len(np.unique(rows)) == len(rows) == 2000  # a fifth for each of five networks
    target = frame[TARGETS[kind]].to_numpy()[rows]
    if kind is TabularClassifier:
        np.testing.assert_array_equal(model._oof_targets, target)
        assert model.oof_accuracy_ == accuracy_score(target, model.classes_[model.oof_prediction_.argmax(1)])
    else:
        np.testing.assert_allclose(model._oof_targets, target)
        assert model.oof_r2_ == pytest.approx(r2_score(target, model.oof_prediction_))


def test_networks_do_not_see_the_rows_that_judge_them(path, tmp_path, monkeypatch):
    now, seen = [], [set() for _ in range(5)]
    train, fit = StreamedFit._trained, TabularRegressor._MEMBER._fit

    def trained(self, run, portion, stopped):
        now[:] = [run.place, portion.rows]
        return train(self, run, portion, stopped)

    def fitted(self, Z, targets, weights, **arguments):
        place, rows = now
        seen[place].update(rows[weights > 0].tolist())
        assert weights.max() == 1
        return fit(self, Z, targets, weights, **arguments)

    monkeypatch.setattr(StreamedFit, "_trained", trained)
    monkeypatch.setattr(TabularRegressor._MEMBER, "_fit", fitted)
    model = streamed(TabularRegressor, path, tmp_path, settings={"n_jobs": 1})
    parts = model.oof_rows_.reshape(5, -1)  # the networks' rows one after another
    for rows, own in zip(parts, seen, strict=True):
        assert own == set(range(2000)) - set(rows.tolist())


def test_statistics_of_the_target_leave_out_the_row(tmp_path):
    """A category of its own for nearly every row would tell the network the target, were it not left out."""
    random = np.random.RandomState(0)
    frame = pd.DataFrame({"x": random.normal(size=900), "code": [f"c{k // 2}" for k in range(900)]})
    frame["size"] = frame["x"] + random.normal(size=900)
    path = written(frame, tmp_path / "a.parquet", 200)
    model = TabularRegressor(random_state=0).fit(path, "size", checkpoint=tmp_path / "run.fastnn")
    treatment = model.columns_[1]["treatment"]
    assert "means of the target" in treatment
    assert 0.2 < model.oof_r2_ < 0.6  # half of the variance is noise


@pytest.mark.parametrize("kind", TARGETS)
def test_fits_are_reproducible_whatever_the_timing(path, tmp_path, kind, monkeypatch):
    frame = table()
    model = streamed(kind, path, tmp_path)
    check_equal(streamed(kind, path, tmp_path, settings={"n_jobs": 1}), model, frame)
    filled, trained = streamed_rows.Feed._filled, StreamedFit._train_on

    def slow(self, *arguments):
        time.sleep(0.02)
        return filled(self, *arguments)

    monkeypatch.setattr(streamed_rows.Feed, "_filled", slow)
    check_equal(streamed(kind, path, tmp_path), model, frame)
    monkeypatch.setattr(streamed_rows.Feed, "_filled", filled)

    def late(self, *arguments):
        time.sleep(0.02)
        trained(self, *arguments)

    monkeypatch.setattr(StreamedFit, "_train_on", late)
    check_equal(streamed(kind, path, tmp_path), model, frame)
    other = streamed(kind, path, tmp_path, settings={"random_state": 1})
    assert (outputs(other, frame)[0] != outputs(model, frame)[0]).any()


def test_no_second_thread_is_needed(path, tmp_path, monkeypatch):
    model = streamed(TabularClassifier, path, tmp_path, settings={"n_jobs": 1})

    def refused(self):
        if self.name == "fastnn rows":
            raise RuntimeError("can't start new thread")
        started(self)

    started = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", refused)
    check_equal(streamed(TabularClassifier, path, tmp_path, settings={"n_jobs": 1}), model, table())


def test_weights_of_rows_and_classes(path, tmp_path):
    frame = table()
    weighted = streamed(TabularClassifier, path, tmp_path, sample_weight="weight")
    plain = streamed(TabularClassifier, path, tmp_path)
    assert (outputs(weighted, frame)[0] != outputs(plain, frame)[0]).any()
    order = np.argsort(weighted.oof_rows_)
    expected = accuracy_score(
        frame["sort"], weighted.classes_[weighted.oof_prediction_[order].argmax(axis=1)],
        sample_weight=frame["weight"],
    )  # fmt: skip
    assert weighted.oof_accuracy_ == pytest.approx(expected)
    rare = frame[(frame["sort"] == "low") | (frame.index % 12 == 0)]
    path = written(rare, tmp_path / "rare.parquet")
    shares = []
    for weight in (None, "balanced", {"high": 12.0}):
        model = streamed(TabularClassifier, path, tmp_path, settings={"class_weight": weight})
        shares.append((model.predict(frame[COLUMNS]) == "high").mean())
    assert shares[1] > shares[0]
    assert shares[2] > shares[0]
    counts = rare["sort"].value_counts()[["high", "low"]].to_numpy()
    factors = TabularClassifier(class_weight="balanced")._begin_streamed(counts)
    np.testing.assert_allclose(factors, len(rare) / (2 * counts))


def test_quantiles_and_scores(path, tmp_path):
    test = table(seed=1)
    model = streamed(
        TabularRegressor, path, tmp_path, settings={"quantiles": (0.1, 0.9), "preset": "fast"}, passes=24
    )
    low, high = model.predict(test[COLUMNS], quantiles=True).T
    assert 0.6 < ((low <= test["size"]) & (test["size"] <= high)).mean() < 0.95
    settings = {"scoring": "neg_mean_absolute_error", "preset": "fast"}
    scored = streamed(TabularRegressor, path, tmp_path, settings=settings)
    assert max(scored.estimators_[0].validation_scores_) < 0
    assert scored.estimators_[0].scoring == "loss"


def test_validation_data_are_used_in_place_of_own_rows(path, tmp_path):
    frame = table(300, seed=1)
    model = streamed(
        TabularClassifier, path, tmp_path, X_val=frame[COLUMNS], y_val=frame["sort"].to_numpy()
    )  # fmt: skip
    np.testing.assert_array_equal(model.oof_rows_, np.arange(300))
    assert model.oof_accuracy_ == pytest.approx(model.score(frame[COLUMNS], frame["sort"]), abs=0.03)


def test_the_sample_has_gaps_where_the_file_has(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed_rows, "MOST_SAMPLED", 20)
    frame = table(3000)
    frame["noise"] = frame["noise"].where(frame.index != 1234)
    path = written(frame, tmp_path / "a.parquet")
    model = streamed(TabularRegressor, path, tmp_path, settings={"preset": "fast"})
    records = {record["name"]: record for record in model.columns_}
    assert records["noise"]["gaps"] == 1
    assert records["x"]["gaps"] == frame["x"].isna().sum()
    assert "indicator of gaps" in records["noise"]["treatment"]
    assert records["x"]["values"] <= 22


def test_the_time_is_limited(path, tmp_path):
    model = streamed(TabularRegressor, path, tmp_path, settings={"time_limit": 1e-9})
    assert {member.n_iter_ for member in model.estimators_} == {1}
    assert np.isfinite(model.predict(table()[COLUMNS])).all()


def test_a_pass_may_end_with_less_than_a_batch(tmp_path):
    path = written(table(768 + 20), tmp_path / "a.parquet")
    model = streamed(TabularRegressor, path, tmp_path)  # a warning would be an error
    assert model.estimators_[0].batch_size == 32
    assert model.estimators_[0].t_ == 24 * 788


def test_bars_count_rows(path, tmp_path, capsys):
    streamed(TabularRegressor, path, tmp_path, passes=2, progress=True)
    errors = capsys.readouterr().err
    assert "reading: 100%" in errors
    assert "4.00k/4.00k" in errors


# --- checkpoints and interrupts ------------------------------------------------------------------------


@pytest.fixture
def interrupted_after(monkeypatch):
    """Return a function that lets fits be interrupted after some buffers, as by Ctrl-C."""

    def after(n_buffers, within=False):
        def train_on(self, portion):
            if self.n_done == n_buffers:
                if within:
                    side_by_side = streaming.run_side_by_side

                    def interrupted(*arguments):
                        side_by_side(*arguments)
                        raise KeyboardInterrupt

                    with monkeypatch.context() as patch:
                        patch.setattr(streaming, "run_side_by_side", interrupted)
                        trained(self, portion)
                raise KeyboardInterrupt
            trained(self, portion)

        monkeypatch.setattr(StreamedFit, "_train_on", train_on)

    trained = StreamedFit._train_on
    yield after
    monkeypatch.setattr(StreamedFit, "_train_on", trained)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(
    ("n_buffers", "within"), [(1, False), (3, True), (4, False), (17, True), (71, False)]
)
def test_a_resumed_fit_equals_one_that_was_not_interrupted(
    path, tmp_path, kind, n_buffers, within, interrupted_after, monkeypatch
):
    frame = table()
    settings = {"settings": {"quantiles": (0.2,)}} if kind is TabularRegressor else {}
    expected = streamed(kind, path, tmp_path, "other.fastnn", **settings)
    trained = StreamedFit._train_on
    interrupted_after(n_buffers, within)
    with pytest.raises(KeyboardInterrupt):
        streamed(kind, path, tmp_path, **settings)
    saved = fastnn.load(tmp_path / "run.fastnn")
    assert np.isfinite(outputs(saved, frame)[0].astype(float)).all()
    monkeypatch.setattr(StreamedFit, "_train_on", trained)
    resumed = streamed(kind, path, tmp_path, resume=tmp_path / "run.fastnn", **settings)
    check_equal(resumed, expected, frame)
    for ours, theirs in zip(resumed.estimators_, expected.estimators_, strict=True):
        np.testing.assert_array_equal(ours._state.memory.optimizer, theirs._state.memory.optimizer)
    # A finished fit that is resumed is the same once more.
    check_equal(streamed(kind, path, tmp_path, resume=tmp_path / "run.fastnn", **settings), expected, frame)


def test_an_interrupted_fit_leaves_a_usable_estimator(path, tmp_path, interrupted_after):
    frame = table()
    interrupted_after(20, True)
    model = TabularClassifier(random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(path, "sort", columns=COLUMNS, checkpoint=tmp_path / "run.fastnn")
    assert model.score(frame[COLUMNS], frame["sort"]) > 0.8
    saved = fastnn.load(tmp_path / "run.fastnn")
    check_equal(saved, model, frame)
    model.save(tmp_path / "model.fastnn")  # the model itself holds no state to go on from
    assert "_stream" not in fastnn.load(tmp_path / "model.fastnn").__dict__
    assert (tmp_path / "model.fastnn").stat().st_size < (tmp_path / "run.fastnn").stat().st_size


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("seconds", [0.05, 0.4, 0.8])
def test_a_signal_ends_a_fit_soon(tmp_path, seconds):
    frame = table(20_000)
    path = written(frame, tmp_path / "a.parquet", 3000)
    model = TabularRegressor(random_state=0)
    before = set(threading.enumerate())
    timer = threading.Timer(seconds, signal.raise_signal, [signal.SIGINT])
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(path, "size", columns=COLUMNS, checkpoint=tmp_path / "run.fastnn", passes=2000)
    finally:
        timer.cancel()
        timer.join()
    assert set(threading.enumerate()) == before
    if (tmp_path / "run.fastnn").exists():
        assert fastnn.load(tmp_path / "run.fastnn").predict(frame[COLUMNS]).shape == (20_000,)


def test_checkpoints_of_passes_and_of_times(path, tmp_path, monkeypatch):
    saved = []
    save = StreamedFit._save
    monkeypatch.setattr(StreamedFit, "_save", lambda self: (saved.append(self.n_done), save(self)))
    checkpoint = Checkpoint(tmp_path / "run.fastnn", every=2)
    model = streamed(TabularRegressor, path, tmp_path, checkpoint=checkpoint, passes=5)
    assert saved == [1, 6, 12, 15]  # three buffers a pass; the first shows early what cannot be saved
    check_equal(fastnn.load(tmp_path / "run.fastnn"), model, table())
    saved.clear()
    streamed(TabularRegressor, path, tmp_path, checkpoint=Checkpoint(tmp_path / "run.fastnn"), passes=5)
    assert saved == [1, 15]


def test_a_checkpoint_object_begins_where_there_is_no_file(path, tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.fastnn")
    model = streamed(TabularRegressor, path, tmp_path, checkpoint=checkpoint, resume=checkpoint)
    check_equal(model, streamed(TabularRegressor, path, tmp_path), table())
    with pytest.raises(FileNotFoundError, match=r"resume: there is no file .*none.fastnn: leave resume out"):
        streamed(TabularRegressor, path, tmp_path, resume=tmp_path / "none.fastnn")


def test_a_generator_of_chance_goes_on_by_the_checkpoint(path, tmp_path, interrupted_after, monkeypatch):
    trained = StreamedFit._train_on
    interrupted_after(5)
    with pytest.raises(KeyboardInterrupt):
        streamed(TabularRegressor, path, tmp_path, settings={"random_state": None})
    seeds = fastnn.load(tmp_path / "run.fastnn")._stream["seeds"]
    monkeypatch.setattr(StreamedFit, "_train_on", trained)
    one = streamed(
        TabularRegressor, path, tmp_path, settings={"random_state": None}, resume=tmp_path / "run.fastnn"
    )
    assert fastnn.load(tmp_path / "run.fastnn")._stream["seeds"] == seeds
    assert np.isfinite(one.oof_prediction_).all()


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"random_state": 1}, {}, "random_state"),
        ({"preset": "fast"}, {}, r"n_estimators \(5 before, 1 now\), preset"),
        ({}, {"passes": 3}, r"passes \(24 before, 3 now\)"),
        ({}, {"columns": COLUMNS[:4]}, "the columns or row groups of X"),
        ({"quantiles": (0.5,)}, {}, "quantiles"),
        ({}, {"sample_weight": "weight"}, r"sample_weight \(None before, weight now\)"),
    ],
)
def test_what_differs_from_the_checkpoint_is_named(path, tmp_path, settings, arguments, message):
    streamed(TabularRegressor, path, tmp_path)
    with pytest.raises(ValueError, match=f"resume: these differ from the fit that is to go on: .*{message}"):
        streamed(
            TabularRegressor, path, tmp_path, settings=settings, resume=tmp_path / "run.fastnn", **arguments
        )


def test_other_content_and_other_files_are_not_gone_on_from(path, tmp_path):
    streamed(TabularRegressor, path, tmp_path)
    frame = table()
    frame["noise"] += 1
    written(frame, path)
    with pytest.raises(ValueError, match="these differ .*: the content of X, X_val or y_val"):
        streamed(TabularRegressor, path, tmp_path, resume=tmp_path / "run.fastnn")
    with pytest.raises(ValueError, match="holds no checkpoint of a streamed fit of TabularClassifier"):
        streamed(TabularClassifier, path, tmp_path, resume=tmp_path / "run.fastnn")
    TabularRegressor(random_state=0).fit(path, "size", columns=COLUMNS).save(tmp_path / "model.fastnn")
    with pytest.raises(ValueError, match="holds no checkpoint of a streamed fit of TabularRegressor"):
        streamed(TabularRegressor, path, tmp_path, resume=tmp_path / "model.fastnn")


def test_damaged_states_are_refused(path, tmp_path):
    streamed(TabularRegressor, path, tmp_path, passes=1)
    model = fastnn.load(tmp_path / "run.fastnn")
    for change in ({"n_buffers": -1}, {"seeds": [-1]}, {"runs": []}, {"seconds": []}, {"settings": None}):
        model._stream, before = model._stream | change, model._stream
        model.save(tmp_path / "other.fastnn")
        with pytest.raises(ValueError, match=r"other.fastnn holds a description that fits no model"):
            fastnn.load(tmp_path / "other.fastnn")
        model._stream = before


# --- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory_limit": "1 MiB"}, "memory_limit must be at least 64 MiB, got '1 MiB'"),
        ({"memory_limit": "much"}, "memory_limit must be a number of bytes, or a size such as '2GiB'"),
        ({"memory_limit": 1.5}, "memory_limit must be a number of bytes"),
        ({"passes": 0}, "passes must be"),
        ({"checkpoint": 3}, "checkpoint must be a path or a Checkpoint, got 3"),
        ({"resume": 3}, "resume must be a path or a Checkpoint, got 3"),
        ({"checkpoint": Checkpoint("a.fastnn", keep_best=True)}, "leave keep_best out"),
    ],
)
def test_wrong_arguments(path, arguments, message):
    with pytest.raises(ValueError, match=message):
        TabularRegressor(random_state=0).fit(path, "size", columns=COLUMNS, **arguments)


@pytest.mark.parametrize("is_streamed", [True, False])
def test_places_are_those_of_the_file(tmp_path, is_streamed):
    """A wrong value is found in the second file, however the files are fitted."""
    frame = table(700)
    first = written(frame, tmp_path / "a.parquet")
    frame.loc[400, "size"] = np.inf
    paths = [first, written(frame, tmp_path / "b.parquet")]
    checkpoint = tmp_path / "run.fastnn" if is_streamed else None
    message = r"b.parquet, row group 1: the target 'size' holds inf in row 400 of the file"
    with pytest.raises(ValueError, match=message):
        TabularRegressor(preset="fast").fit(paths, "size", columns=COLUMNS, checkpoint=checkpoint)


def test_rows_that_have_no_weight(tmp_path):
    """Rows of weight 0 alone can neither train a network nor judge it."""
    frame = table()
    with pytest.raises(ValueError, match="one row with a target only: two are needed"):
        streamed(TabularRegressor, written(frame[:1], tmp_path / "a.parquet"), tmp_path)
    path = written(frame.assign(weight=np.arange(2000) == 3), tmp_path / "a.parquet")
    # One row is either set aside or trained on.
    with pytest.raises(ValueError, match="have the weight 0: pass X_val|no row .* has a weight above 0"):
        streamed(
            TabularRegressor, path, tmp_path, sample_weight="weight", settings={"preset": "fast"}.items()
        )
    model = streamed(
        TabularClassifier, path, tmp_path, settings={"class_weight": {"low": 0, "high": 1}}.items()
    )
    assert (model.predict(frame[COLUMNS]) == "high").all()
    with pytest.raises(ValueError, match="have the weight 0|no row .* has a weight above 0"):
        streamed(TabularClassifier, path, tmp_path, settings={"class_weight": {"low": 0, "high": 0}}.items())


def test_the_first_buffers_may_have_no_weight(tmp_path):
    """A network is created by the first rows that have a weight, and the first checkpoint follows then."""
    frame = table()
    path = written(frame.assign(weight=(np.arange(2000) >= 1900) * 1.0), tmp_path / "a.parquet", 100)
    given = {"sample_weight": "weight", "passes": 2, "X_val": frame[COLUMNS], "y_val": frame["size"]}
    for seed in range(3):
        settings = {"preset": "fast", "random_state": seed}.items()
        model = streamed(TabularRegressor, path, tmp_path, settings=settings, **given)
        assert np.isfinite(model.predict(frame[COLUMNS])).all()


def test_columns_of_validation_files_are_found_by_name(path, tmp_path):
    frame = table(300, seed=1)
    val = written(frame[["weight", "size", *reversed(COLUMNS)]], tmp_path / "val.parquet")
    given = {"X_val": val, "y_val": "size", "sample_weight": "weight", "columns": None}
    renamed = written(table().drop(columns="sort"), tmp_path / "b.parquet")
    model = streamed(TabularRegressor, renamed, tmp_path, settings={"preset": "fast"}.items(), **given)
    assert len(model.oof_rows_) == 300
    with pytest.raises(ValueError, match="y_val must be the name of a column where X_val names files"):
        TabularRegressor().fit(path, "size", X_val=val, y_val=frame["size"])


def test_names_of_files_are_no_tables_to_predict(path, tmp_path):
    model = streamed(TabularRegressor, path, tmp_path, settings={"preset": "fast"}.items())
    with pytest.raises(ValueError, match="X is the name of a file, .*a.parquet': pass its table"):
        model.predict(path)


@pytest.mark.parametrize("n_holds", [1, 2])
def test_an_interrupt_at_the_ends_of_a_feed_leaves_no_thread(path, tmp_path, monkeypatch, n_holds):
    """An interrupt during the start of the thread, or during its end, is delivered when the hold ends."""
    entered, holds = streamed_rows.held_interrupts, []

    @contextmanager
    def interrupted():
        with entered():
            yield
        holds.append(None)
        if len(holds) == n_holds:
            raise KeyboardInterrupt

    monkeypatch.setattr(streamed_rows, "held_interrupts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        streamed(TabularRegressor, path, tmp_path, settings={"preset": "fast"}.items())
    assert not [thread for thread in threading.enumerate() if thread.name == "fastnn rows"]


def test_arguments_of_files_and_of_tables(path):
    frame = table()
    with pytest.raises(ValueError, match="columns, checkpoint and resume are for Parquet files"):
        TabularRegressor().fit(frame[COLUMNS], frame["size"], columns=COLUMNS)
    with pytest.raises(ValueError, match="y is the name 'size', which needs the name of a Parquet file as X"):
        TabularRegressor().fit(frame[COLUMNS], "size")
    with pytest.raises(ValueError, match="y must be the name of a column where X names files"):
        TabularRegressor().fit(path, frame["size"])


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            TabularRegressor,
            {"noise": (1500, np.inf)},
            "row group 5: column 'noise' holds infinity in row 1500",
        ),
        (TabularRegressor, {"size": (700, np.nan)}, "row group 2: the target 'size' has a gap in row 700"),
        (TabularRegressor, {"size": (700, np.inf)}, "row group 2: the target 'size' holds inf in row 700"),
        (TabularClassifier, {"sort": (10, None)}, "row group 0: the target 'sort' has a gap in row 10"),
        (TabularClassifier, {"sort": (slice(None), "low")}, "y holds one class only, 'low'"),
        (TabularRegressor, {"size": (slice(None), 2.5)}, "y holds one value only, 2.5"),
        (TabularRegressor, {"weight": (30, -2.0)}, "row group 0: the weight 'weight' in row 30 of the file"),
        (TabularRegressor, {"weight": (slice(None), 0.0)}, "the weights 'weight' are all 0"),
    ],
)
def test_wrong_values_are_found_with_their_place(tmp_path, kind, change, message):
    frame = table()
    for column, (row, value) in change.items():
        frame.loc[row, column] = value
    path = written(frame, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        streamed(kind, path, tmp_path, sample_weight="weight")


def test_targets_of_the_wrong_kind(path, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"a.parquet, row group 0: the target 'group' should hold numbers"):
        TabularRegressor().fit(path, "group", checkpoint=tmp_path / "run.fastnn")
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        TabularClassifier().fit(path, "noise", checkpoint=tmp_path / "run.fastnn")
    with pytest.raises(ValueError, match="the target 'day' holds timestamp.*: choose numbers or classes"):
        TabularClassifier().fit(path, "day", checkpoint=tmp_path / "run.fastnn")
    monkeypatch.setattr(streamed_rows, "MOST_CLASSES", 1000)
    with pytest.raises(ValueError, match="holds more than 1,000 different values, too many for classes"):
        TabularClassifier().fit(path, "noise", checkpoint=tmp_path / "run.fastnn")


def test_whole_numbers_and_truth_values_are_classes(path, tmp_path):
    frame = table()
    frame["digit"] = pd.cut(frame["noise"], 4, labels=False)
    frame["shade"] = pd.Categorical(np.where(frame["x"] > 0, "dark", "light"), ["dark", "grey", "light"])
    path = written(frame, tmp_path / "b.parquet")
    for target, classes in (("digit", [0, 1, 2, 3]), ("flag", [False, True]), ("shade", ["dark", "light"])):
        model = TabularClassifier(preset="fast", random_state=0)
        model.fit(path, target, columns=["x", "group", "noise"], checkpoint=tmp_path / "run.fastnn")
        assert model.classes_.tolist() == classes
        assert fastnn.load(tmp_path / "run.fastnn").classes_.tolist() == classes


def test_diverged_networks_keep_their_best_part(path, tmp_path, monkeypatch):
    original = StreamedFit._trained

    def trained(self, run, portion, stopped):
        if self.n_done == 10 and run.place == 0:
            run.member.learning_rate_init = 1e30
        return original(self, run, portion, stopped)

    monkeypatch.setattr(StreamedFit, "_trained", trained)
    with pytest.warns(match="The estimator holds the parameters of the best part"):
        model = streamed(TabularRegressor, path, tmp_path)
    assert model.estimators_[0].n_iter_ < 24
    assert np.isfinite(model.predict(table()[COLUMNS])).all()


# --- sizes and parts -----------------------------------------------------------------------------------


def test_moments_of_parts_are_those_of_the_whole():
    random = np.random.RandomState(0)
    y, weights = 1e6 + random.normal(size=1000), random.rand(1000)
    weights[:100] = 0
    parts = MomentsOfParts()
    for first in range(0, 1000, 100):
        parts.add(y[first : first + 100], weights[first : first + 100])
    whole, found = Moments.of(y, weights), parts.result()
    assert found.mean == pytest.approx(whole.mean, rel=1e-13)
    assert found.deviation == pytest.approx(whole.deviation, rel=1e-9)
    assert (found.least, found.largest) == (y.min(), y.max())


def test_the_scan_keeps_rows_in_order(path):
    files = ParquetRows(path, "sort", columns=COLUMNS)
    rows = np.array([5, 800, 801, 1999])

    class Bar:
        n = 0

        def update(self, n):
            self.n += n

    bar = Bar()
    scan = Scan(files, True, rows, rows[1:3]).run(bar)
    assert bar.n == scan.n_rows == 2000
    assert set(rows) <= set(scan.sample.rows.tolist())
    np.testing.assert_array_equal(scan.validation.rows, [800, 801])
    assert scan.counts == table()["sort"].value_counts().to_dict()


def test_passes_over_large_files():
    assert streamed_passes(128, 10_000) == 128
    assert streamed_passes(128, 1 << 20) == 128
    assert streamed_passes(128, 20_000_000) == 7
    assert streamed_passes(48, 10**12) == 1


@pytest.mark.parametrize("limit", [64 << 20, 1 << 30, 8 << 30])
@pytest.mark.parametrize("n_features", [20, 400, 5000])
def test_sizes_stay_within_the_limit(path, monkeypatch, limit, n_features):
    monkeypatch.undo()
    files = ParquetRows(path, "sort", columns=COLUMNS)
    files.n_rows = 10**8
    sizes = Sizes.within(limit, files, n_features, 5, 5, 256)
    row = 4 * n_features
    assert sizes.n_validation * 5 * row <= limit / 8
    assert 2 * sizes.capacity * row <= limit / 4 + 2 * 256 * row
    assert sizes.capacity % 256 == 0
    assert sizes.n_open * 3 * 2**20 * 7 <= max(limit / 4, 3 * 2**20 * 7)
    assert 2 <= sizes.n_sampled <= 100_000


@pytest.mark.slow
def test_memory_is_bounded(tmp_path):
    """The peak of a process that streams a file of ten times the limit grows by the limit at most."""
    path, random = tmp_path / "large.parquet", np.random.default_rng(0)
    n_rows, group, limit = 1_500_000, 250_000, 256 << 20
    writer = None
    for _ in range(n_rows // group):
        columns = {f"x{k}": random.normal(size=group) for k in range(19)}
        columns["sort"] = np.where(columns["x0"] * columns["x1"] > 0, "a", "b")
        part = pa.table({**columns, "town": random.choice(["north", "south", "east"], group)})
        writer = writer or pq.ParquetWriter(path, part.schema)
        writer.write_table(part)
    writer.close()
    assert needed_bytes(ParquetRows(path, "sort"), 5, 16) > 10 * limit
    grown = run_python(
        """
        import resource, sys
        import numpy as np
        import pyarrow.dataset
        import fastnn

        def peak():
            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

        path, limit = sys.argv[1], int(sys.argv[2])
        X = np.random.RandomState(0).normal(size=(600, 4))
        # Load, and where needed compile, the kernels first.
        fastnn.TabularClassifier(random_state=0).fit(X, X[:, 0] > 0, passes=1)
        before = peak()
        model = fastnn.TabularClassifier(random_state=0)
        model.fit(path, "sort", memory_limit=limit, passes=1)
        print(peak() - before, model.oof_accuracy_)
        """,
        path, limit,
    )  # fmt: skip
    n_bytes, accuracy = grown.split()
    assert int(n_bytes) < limit
    assert float(accuracy) > 0.8
