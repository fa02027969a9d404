"""Arguments, files and values that streamed fits refuse, with messages that name their place."""

import numpy as np
import pytest
from extras import all_need, optional
from parquet_files import COLUMNS, table, written
from streamed_fits import streamed

import fastnn
from fastnn import Checkpoint, TabularClassifier, TabularRegressor
from fastnn.tables.streaming import rows as streamed_rows
from fastnn.tables.streaming.fit import StreamedFit

pytestmark = all_need("pandas", "pyarrow")
pd = optional("pandas")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory_limit": "1 MiB"}, "memory_limit must be at least 64 MiB, got '1 MiB'"),
        (
            {"memory_limit": "much"},
            "memory_limit must be a number of bytes, or a number with a unit",
        ),
        ({"memory_limit": 1.5}, "memory_limit must be a number of bytes"),
        ({"memory_limit": "5"}, "memory_limit must be at least 64 MiB, got '5'"),
        ({"passes": 0}, "passes must be"),
        ({"checkpoint": 3}, "checkpoint must be a path or a Checkpoint, got 3"),
        ({"resume": 3}, "resume must be a path or a Checkpoint, got 3"),
        ({"checkpoint": Checkpoint("a.fastnn", keep_best=True)}, "leave keep_best out"),
    ],
)
def test_wrong_arguments_are_refused(path, arguments, message):
    with pytest.raises(ValueError, match=message):
        TabularRegressor(random_state=0).fit(path, "size", columns=COLUMNS, **arguments)


@pytest.mark.parametrize("is_streamed", [True, False])
def test_messages_name_the_file_and_its_row(tmp_path, is_streamed):
    """The wrong value is in the second file; the message is the same for a fit in memory."""
    frame = table(700)
    first = written(frame, tmp_path / "a.parquet")
    frame.loc[400, "size"] = np.inf
    paths = [first, written(frame, tmp_path / "b.parquet")]
    checkpoint = tmp_path / "run.fastnn" if is_streamed else None
    message = r"b.parquet, row group 1: the target 'size' holds inf in row 400 of the file"
    with pytest.raises(ValueError, match=message):
        TabularRegressor(preset="fast").fit(paths, "size", columns=COLUMNS, checkpoint=checkpoint)


def test_training_and_validation_each_need_a_row_with_a_weight(tmp_path):
    frame = table()
    with pytest.raises(ValueError, match="only one row with a target: two are needed"):
        streamed(TabularRegressor, written(frame[:1], tmp_path / "a.parquet"), tmp_path)
    path = written(frame.assign(weight=np.arange(2000) == 3), tmp_path / "a.parquet")
    # The only row with a weight is either a validation row or a training row.
    with pytest.raises(ValueError, match="have the weight 0: pass X_val|no row .* has a weight above 0"):
        streamed(TabularRegressor, path, tmp_path, sample_weight="weight", settings={"preset": "fast"})
    settings = {"preset": "fast", "class_weight": {"low": 0, "high": 1}}
    model = streamed(TabularClassifier, path, tmp_path, passes=1, settings=settings)
    assert (model.predict(frame[COLUMNS]) == "high").all()
    with pytest.raises(ValueError, match="have the weight 0|no row .* has a weight above 0"):
        streamed(
            TabularClassifier, path, tmp_path, settings={"class_weight": {"low": 0, "high": 0}}, passes=1
        )


def test_columns_of_validation_files_are_found_by_name(path, tmp_path):
    frame = table(300, seed=1)
    val = written(frame[["weight", "size", *reversed(COLUMNS)]], tmp_path / "val.parquet")
    given = {"X_val": val, "y_val": "size", "sample_weight": "weight", "columns": None}
    renamed = written(table().drop(columns="sort"), tmp_path / "b.parquet")
    model = streamed(TabularRegressor, renamed, tmp_path, settings={"preset": "fast"}, passes=1, **given)
    assert len(model.oof_rows_) == 300
    with pytest.raises(ValueError, match="X is the name of a file, .*b.parquet': pass its table"):
        model.predict(renamed)
    with pytest.raises(ValueError, match="y_val must be the name of a column where X_val names files"):
        TabularRegressor().fit(path, "size", X_val=val, y_val=frame["size"])


def test_arguments_for_files_and_for_tables_do_not_mix(path):
    frame = table()
    with pytest.raises(ValueError, match="columns, checkpoint and resume work only with Parquet files"):
        TabularRegressor().fit(frame[COLUMNS], frame["size"], columns=COLUMNS)
    with pytest.raises(
        ValueError, match="y='size' names a column, which works only with the name of a Parquet file as X"
    ):
        TabularRegressor().fit(frame[COLUMNS], "size")
    with pytest.raises(ValueError, match=r"pass fit\(df.drop\(columns='size'\), df\['size'\]\)"):
        TabularRegressor().fit(frame, "size")
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
        (
            TabularRegressor,
            {"size": (700, np.nan)},
            "row group 2: the target 'size' is missing in row 700",
        ),
        (TabularRegressor, {"size": (700, np.inf)}, "row group 2: the target 'size' holds inf in row 700"),
        (
            TabularClassifier,
            {"sort": (10, None)},
            "row group 0: the target 'sort' is missing in row 10",
        ),
        (TabularClassifier, {"sort": (slice(None), "low")}, "y holds only one class, 'low'"),
        (TabularRegressor, {"size": (slice(None), 2.5)}, "y holds only one value, 2.5"),
        (TabularRegressor, {"weight": (30, -2.0)}, "row group 0: the weight 'weight' in row 30 of the file"),
        (TabularRegressor, {"weight": (slice(None), 0.0)}, "the weights 'weight' are all 0"),
        (TabularRegressor, {"weight": (slice(None), 1e300)}, "the weights 'weight' sum to 2e.303, but"),
    ],
)
def test_wrong_values_are_found_with_their_place(tmp_path, kind, change, message):
    frame = table()
    for column, (row, value) in change.items():
        frame.loc[row, column] = value
    path = written(frame, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        streamed(kind, path, tmp_path, sample_weight="weight")


def test_targets_of_the_wrong_kind_are_refused(path, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"a.parquet, row group 0: the target 'group' should hold numbers"):
        TabularRegressor().fit(path, "group", checkpoint=tmp_path / "run.fastnn")
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        TabularClassifier().fit(path, "noise", checkpoint=tmp_path / "run.fastnn")
    with pytest.raises(ValueError, match="the target 'day' holds timestamp.*: choose a column of numbers"):
        TabularClassifier().fit(path, "day", checkpoint=tmp_path / "run.fastnn")
    monkeypatch.setattr(streamed_rows, "MAX_CLASSES", 1000)
    with pytest.raises(ValueError, match="holds more than 1,000 different values, too many for classes"):
        TabularClassifier().fit(path, "noise", checkpoint=tmp_path / "run.fastnn")


def test_integers_and_booleans_and_categories_are_classes(path, tmp_path):
    frame = table()
    frame["digit"] = pd.cut(frame["noise"], 4, labels=False)
    frame["shade"] = pd.Categorical(np.where(frame["x"] > 0, "dark", "light"), ["dark", "grey", "light"])
    path = written(frame, tmp_path / "b.parquet")
    for target, classes in (("digit", [0, 1, 2, 3]), ("flag", [False, True]), ("shade", ["dark", "light"])):
        model = TabularClassifier(preset="fast", random_state=0)
        given = {"columns": ["x", "group", "noise"], "checkpoint": tmp_path / "run.fastnn"}
        model.fit(path, target, passes=1, **given)
        assert model.classes_.tolist() == classes
        assert fastnn.load(tmp_path / "run.fastnn").classes_.tolist() == classes


def test_a_network_that_diverges_keeps_its_best_parameters(path, tmp_path, monkeypatch):
    original = StreamedFit._trained

    def trained(self, run, portion, stopped):
        if self.n_done == 4 and run.place == 0:
            run.member.learning_rate_init = 1e30
        return original(self, run, portion, stopped)

    monkeypatch.setattr(StreamedFit, "_trained", trained)
    with pytest.warns(match="The estimator holds the parameters with the best validation score"):
        model = streamed(TabularRegressor, path, tmp_path, passes=3)
    assert [member.n_iter_ for member in model.estimators_] == [1, 3, 3, 3, 3]
    assert np.isfinite(model.predict(table()[COLUMNS])).all()
