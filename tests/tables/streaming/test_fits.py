"""Tabular estimators fitted to Parquet files, in memory or streamed."""

import sys
import threading
import time

import numpy as np
import pytest
from extras import all_need, optional
from parquet_files import COLUMNS, table, written
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from streamed_fits import TARGETS, check_equal, outputs, streamed

from fastnn import TabularClassifier, TabularRegressor
from fastnn.tables.streaming import rows as streamed_rows
from fastnn.tables.streaming.fit import StreamedFit, needed_bytes
from fastnn.tables.streaming.parquet import ParquetRows
from fastnn.training.checkpoint import BackgroundWriter

pytestmark = all_need("pandas", "pyarrow")
pd = optional("pandas")

# --- files that fit into memory ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TARGETS)
def test_small_files_are_fitted_as_their_table(path, kind):
    model = kind(preset="fast", random_state=0).fit(path, TARGETS[kind], "weight", columns=COLUMNS)
    frame = table()
    target = frame[TARGETS[kind]]
    expected = kind(preset="fast", random_state=0).fit(frame[COLUMNS], target, frame["weight"])
    check_equal(model, expected, frame)
    assert model.target_name_ == TARGETS[kind]
    assert model.feature_names_in_.tolist() == COLUMNS


def test_files_that_need_more_than_the_memory_limit_are_streamed(path, monkeypatch):
    limits_of_streamed_fits = []
    monkeypatch.setattr(StreamedFit, "run", lambda self, *_: limits_of_streamed_fits.append(self.limit))
    files = ParquetRows(path, "sort", columns=COLUMNS)
    needed = needed_bytes(files, 5, 16)
    n_features = 2 * 18 + 72 + 2 * 35 + 2  # two numbers, a date, two texts, a boolean
    assert needed == 2000 * (8 * 6 + 4 * n_features * 6)
    monkeypatch.setattr("fastnn.tables.base.MIN_MEMORY", 1)
    model = TabularClassifier(random_state=0)
    model.fit(path, "sort", columns=COLUMNS, memory_limit=needed - 1)
    assert limits_of_streamed_fits == [needed - 1]
    model.fit(path, "sort", columns=COLUMNS, memory_limit=needed, passes=1)
    assert limits_of_streamed_fits == [needed - 1]
    assert [member.n_iter_ for member in model.estimators_] == [1] * 5
    model.fit(path, "sort", columns=COLUMNS, memory_limit="2 KB")
    assert limits_of_streamed_fits == [needed - 1, 2000]


def test_validation_data_may_be_a_table_or_a_file(path, tmp_path):
    train, validation = table(), table(400, seed=1)
    validation_path = written(validation, tmp_path / "b.parquet")
    model = TabularRegressor(preset="fast", random_state=0)
    validation_table = {"X_val": validation[COLUMNS], "y_val": validation["size"]}
    of_tables = clone(model).fit(train[COLUMNS], train["size"], **validation_table)
    assert of_tables.oof_prediction_.shape == (400,)
    mixed = clone(model).fit(path, "size", columns=COLUMNS, **validation_table)
    of_files = clone(model).fit(path, "size", columns=COLUMNS, X_val=validation_path, y_val="size")
    for other in (mixed, of_files):
        check_equal(other, of_tables, validation)


# --- streamed fits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TARGETS)
def test_a_streamed_fit_scores_as_well_as_a_fit_in_memory(finished, kind):
    frame, test = table(), table(seed=1)
    model = finished(kind)[0]
    whole = kind(random_state=0).fit(frame[COLUMNS], frame[TARGETS[kind]])
    score = model.score(test[COLUMNS], test[TARGETS[kind]])
    assert score > whole.score(test[COLUMNS], test[TARGETS[kind]]) - 0.02
    assert score > 0.9
    assert len(model.estimators_) == 5
    assert model.n_features_in_ == len(COLUMNS)
    assert model.columns_ == whole.columns_  # the sample is the whole file
    assert {member.n_iter_ for member in model.estimators_} <= set(range(1, 25))
    for member in model.estimators_:
        assert len(member.loss_curve_) == len(member.validation_scores_) == member.n_iter_
    assert "out of fold" in model.summary()
    # Every row is a validation row of one network: predictions, targets and scores belong to these rows.
    rows = model.oof_rows_
    assert len(np.unique(rows)) == len(rows) == 2000  # a fifth for each of five networks
    target = frame[TARGETS[kind]].to_numpy()[rows]
    if kind is TabularClassifier:
        np.testing.assert_array_equal(model._oof_targets, target)
        assert model.oof_accuracy_ == accuracy_score(target, model.classes_[model.oof_prediction_.argmax(1)])
    else:
        np.testing.assert_allclose(model._oof_targets, target)
        assert model.oof_r2_ == pytest.approx(r2_score(target, model.oof_prediction_))


def test_networks_are_not_trained_on_their_validation_rows(path, tmp_path, monkeypatch):
    current, seen = [], [set() for _ in range(5)]
    train, fit = StreamedFit._trained, TabularRegressor._MEMBER._fit

    def trained(self, run, portion, stopped):
        current[:] = [run.place, portion.rows]
        return train(self, run, portion, stopped)

    def fitted(self, Z, targets, weights, **arguments):
        place, rows = current
        seen[place].update(rows[weights > 0].tolist())
        assert weights.max() == 1
        return fit(self, Z, targets, weights, **arguments)

    monkeypatch.setattr(StreamedFit, "_trained", trained)
    monkeypatch.setattr(TabularRegressor._MEMBER, "_fit", fitted)
    model = streamed(TabularRegressor, path, tmp_path, settings={"n_jobs": 1}, passes=1)
    parts = model.oof_rows_.reshape(5, -1)  # the validation rows of one network after another
    for validation_rows, training_rows in zip(parts, seen, strict=True):
        assert training_rows == set(range(2000)) - set(validation_rows.tolist())


def test_means_of_the_target_leave_out_the_row_itself(tmp_path):
    """Every category has two rows: if its mean contained the row itself, it would reveal the row's target."""
    random = np.random.RandomState(0)
    frame = pd.DataFrame({"x": random.normal(size=900), "code": [f"c{k // 2}" for k in range(900)]})
    frame["size"] = frame["x"] + random.normal(size=900)
    path = written(frame, tmp_path / "a.parquet", 200)
    model = TabularRegressor(random_state=0).fit(path, "size", checkpoint=tmp_path / "run.fastnn")
    treatment = model.columns_[1]["treatment"]
    assert "means of the target" in treatment
    assert 0.2 < model.oof_r2_ < 0.6  # half of the variance is noise


@pytest.mark.parametrize("kind", TARGETS)
def test_fits_do_not_depend_on_timing_or_threads(finished, tmp_path, kind, monkeypatch):
    frame = table()
    model, path, _ = finished(kind, passes=2)

    def check(**settings):
        check_equal(streamed(kind, path, tmp_path, passes=2, settings=settings), model, frame)

    def delayed(function):
        def slow(*arguments):
            time.sleep(0.02)
            return function(*arguments)

        return slow

    check(n_jobs=1)
    for owner, name in ((streamed_rows.Feed, "_filled"), (StreamedFit, "_train_on")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, delayed(getattr(owner, name)))
            check()
    other = streamed(kind, path, tmp_path, passes=2, settings={"random_state": 1})
    assert (outputs(other, frame)[0] != outputs(model, frame)[0]).any()
    started = threading.Thread.start

    def start(self):
        if self.name == "fastnn rows":
            raise RuntimeError("can't start new thread")
        started(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    check()


def test_weights_of_rows_and_classes_change_fits_and_scores(finished, tmp_path):
    frame = table()
    plain, path, _ = finished(TabularClassifier, passes=2)
    weighted = streamed(TabularClassifier, path, tmp_path, sample_weight="weight", passes=2)
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
        settings = {"class_weight": weight, "preset": "fast"}
        model = streamed(TabularClassifier, path, tmp_path, settings=settings)
        shares.append((model.predict(frame[COLUMNS]) == "high").mean())
    assert shares[1] > shares[0]
    assert shares[2] > shares[0]
    counts = rare["sort"].value_counts()[["high", "low"]].to_numpy()
    factors = TabularClassifier(class_weight="balanced")._begin(counts)
    np.testing.assert_allclose(factors, len(rare) / (2 * counts))


def test_a_streamed_regressor_predicts_quantiles(path, tmp_path):
    test = table(seed=1)
    model = streamed(
        TabularRegressor,
        path,
        tmp_path,
        settings={"quantiles": np.array([0.1, 0.9]), "preset": "fast"},
        passes=24,
    )
    low, high = model.predict(test[COLUMNS], quantiles=True).T
    assert 0.6 < ((low <= test["size"]) & (test["size"] <= high)).mean() < 0.95


def test_scoring_scores_the_predictions_for_validation_rows(path, tmp_path):
    settings = {"scoring": "neg_mean_absolute_error", "preset": "fast"}
    model = streamed(TabularRegressor, path, tmp_path, settings=settings)
    (member,) = model.estimators_
    errors = np.abs(model._oof_targets - model.oof_prediction_)
    assert member.best_validation_score_ == pytest.approx(-errors.mean(), rel=1e-3)
    assert member.scoring == "loss"


def test_validation_data_replace_the_validation_rows_of_the_file(path, tmp_path):
    frame = table(300, seed=1)
    validation = {"X_val": frame[COLUMNS], "y_val": frame["sort"].to_numpy()}
    model = streamed(TabularClassifier, path, tmp_path, passes=3, **validation)
    np.testing.assert_array_equal(model.oof_rows_, np.arange(300))
    assert model.oof_accuracy_ == pytest.approx(model.score(frame[COLUMNS], frame["sort"]), abs=0.03)


def test_the_encoder_finds_a_gap_outside_of_its_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed_rows, "MAX_SAMPLED", 20)
    frame = table(3000)
    frame["noise"] = frame["noise"].where(frame.index != 1234)
    path = written(frame, tmp_path / "a.parquet")
    model = streamed(TabularRegressor, path, tmp_path, settings={"preset": "fast"}, passes=1)
    records = {record["name"]: record for record in model.columns_}
    assert records["noise"]["missing"] == 1
    assert records["x"]["missing"] == frame["x"].isna().sum()
    assert "indicator of missing values" in records["noise"]["treatment"]
    assert records["x"]["values"] <= 22


def test_a_time_limit_ends_a_fit_after_an_epoch(path, tmp_path):
    model = streamed(TabularRegressor, path, tmp_path, settings={"time_limit": 1e-9})
    assert {member.n_iter_ for member in model.estimators_} == {1}
    assert np.isfinite(model.predict(table()[COLUMNS])).all()


def test_an_epoch_may_end_with_less_than_a_batch(tmp_path, capsys):
    path = written(table(768 + 20), tmp_path / "a.parquet")
    # A warning would be an error.
    model = streamed(TabularRegressor, path, tmp_path, passes=2, progress=True)
    assert model.estimators_[0].batch_size == 32
    assert model.estimators_[0].t_ == 2 * 788
    errors = capsys.readouterr().err  # the bars count rows
    assert "reading: 100%" in errors
    assert "1.58k/1.58k" in errors


def test_the_first_buffers_may_hold_rows_of_weight_0_alone(tmp_path):
    """The first rows with a weight create the networks; only then is the first checkpoint saved."""
    frame = table()
    path = written(frame.assign(weight=(np.arange(2000) >= 1900) * 1.0), tmp_path / "a.parquet", 100)
    given = {"sample_weight": "weight", "passes": 2, "X_val": frame[COLUMNS], "y_val": frame["size"]}
    for seed in range(3):
        settings = {"preset": "fast", "random_state": seed}
        model = streamed(TabularRegressor, path, tmp_path, settings=settings, **given)
        assert np.isfinite(model.predict(frame[COLUMNS])).all()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_at_the_end_of_a_fit_loses_no_network(error, path, tmp_path, monkeypatch):
    """Ctrl-C during the last evaluation, or a full disk at the last checkpoint."""
    target, name = (StreamedFit, "_adopt") if error is KeyboardInterrupt else (BackgroundWriter, "wait")
    original, arrived = getattr(target, name), []

    def failing(self, *arguments):
        is_last = sys._getframe(1).f_code is StreamedFit.run.__code__ and not arrived
        if is_last:
            arrived.append(True)
        if is_last and error is KeyboardInterrupt:
            raise error
        original(self, *arguments)
        if is_last:
            raise error

    expected = streamed(TabularRegressor, path, tmp_path, settings={"preset": "fast"}, passes=2)
    monkeypatch.setattr(target, name, failing)
    model = TabularRegressor(preset="fast", random_state=0)
    with pytest.raises(error):
        model.fit(path, "size", columns=COLUMNS, checkpoint=tmp_path / "other.fastnn", passes=2)
    check_equal(model, expected, table())


def test_the_number_of_jobs_is_checked_before_the_files_are_read(path, tmp_path, monkeypatch):
    monkeypatch.setattr(StreamedFit, "_scanned", None)
    with pytest.raises(ValueError, match="n_jobs must be None or an integer other than 0, got 0"):
        streamed(TabularRegressor, path, tmp_path, settings={"n_jobs": 0})
