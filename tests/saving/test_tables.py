"""Saved transformers and tabular estimators: loaded ones compute the same bits; contents are checked."""

import contextlib
import copy

import numpy as np
import pytest
from extras import all_need, optional
from mutations import loaded_mutations
from sklearn.base import clone

import fastnn
from fastnn.saving.records import Reader, Writer
from fastnn.tables import presets as tabular_presets
from fastnn.tables.encoding.categories import WordsEncoding
from fastnn.tables.encoding.saved_encodings import describe_encoding, restore_encoding
from fastnn.tables.presets import Preset

pytestmark = all_need("pandas")
pd = optional("pandas")

N = 200
random = np.random.RandomState(0)
NUMBERS = random.normal(size=(N, 2))
FRAME = pd.DataFrame(
    {
        "number": np.where(np.arange(N) % 9 == 0, np.nan, NUMBERS[:, 0]),
        "count": np.arange(N) % 7,
        "gap or one": np.where(np.arange(N) % 5 == 0, np.nan, 1.0),
        "flag": np.arange(N) % 2 == 0,
        "two": np.array(["y", "n"])[np.arange(N) % 2],
        "few": pd.Series(["red", "green", None, "blue", "ünïcode"] * (N // 5)),
        "many": [f"city {k % 50}" for k in range(N)],
        "words": [f"a text of {k} words and {k * k} letters" for k in range(N)],
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N) * 7, "h"),
        "same": 1,
        "key": [f"k{k}" for k in range(N)],
    }
)
FRAME.loc[3, "day"] = pd.NaT
DATES = FRAME[["day"]]
SCORE = NUMBERS.sum(axis=1)
CLASSES = np.where(SCORE > 0, "high", "low")


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    """Fit small networks for a few epochs."""
    monkeypatch.setitem(tabular_presets.PRESETS, "fast", Preset(1, (8,), 6))


TRANSFORMERS = {
    "scaler": lambda: fastnn.SmoothRobustScaler(2.5).fit(NUMBERS.astype(np.float32)),
    "piecewise": lambda: fastnn.PiecewiseLinearEncoder(5).fit(FRAME[["number", "gap or one"]]),
    "dates": lambda: fastnn.DateEncoder().fit(DATES),
    "table": lambda: fastnn.TableEncoder(random_state=0).fit(FRAME, CLASSES),
    "table of numbers": lambda: fastnn.TableEncoder("smooth", text="hash", n_hashes=7).fit(FRAME, SCORE),
    "table without target": lambda: fastnn.TableEncoder(random_state=np.random.RandomState(0)).fit(FRAME),
    "table with output": lambda: fastnn.TableEncoder().set_output(transform="pandas").fit(FRAME),
    "array": lambda: fastnn.TableEncoder().fit(NUMBERS),
    "not fitted": lambda: fastnn.TableEncoder(n_bins=3),
}
ESTIMATORS = {
    "classifier": lambda: fastnn.TabularClassifier(2, "fast", random_state=0).fit(FRAME, CLASSES),
    "classifier of three": lambda: fastnn.TabularClassifier(
        2, "fast", scoring="accuracy", class_weight={0: 2.0}, random_state=0
    ).fit(FRAME, np.arange(N) % 3),
    "classifier of booleans": lambda: fastnn.TabularClassifier(1, "fast").fit(FRAME, SCORE > 0),
    "regressor": lambda: fastnn.TabularRegressor(2, "fast", random_state=0).fit(
        FRAME, pd.Series(SCORE, name="score")
    ),
    "regressor of quantiles": lambda: fastnn.TabularRegressor(
        1, "fast", quantiles=(0.1, 0.5, 0.9), random_state=np.random.RandomState(1)
    ).fit(FRAME, SCORE),
    "regressor with validation": lambda: fastnn.TabularRegressor(1, "fast").fit(
        FRAME, SCORE, X_val=FRAME[:50], y_val=SCORE[:50]
    ),
    "classifier of an array": lambda: fastnn.TabularClassifier(1, "fast").fit(NUMBERS, CLASSES),
}


def saved(thing, folder, **options):
    thing.save(folder / "thing.fastnn", **options)
    return fastnn.load(folder / "thing.fastnn")


def table_of(thing):
    """Return the table on which an object was fitted, with missing values and new categories."""
    names = getattr(thing, "feature_names_in_", None)
    if names is None:
        return NUMBERS
    few = FRAME["few"].where(np.arange(N) % 3 > 0, "new")
    return FRAME.assign(few=few, number=np.nan)[list(names)]


def outputs(thing):
    """Return everything that an object computes from rows."""
    X = table_of(thing)
    if hasattr(thing, "transform"):
        return [np.asarray(thing.transform(X))]
    found = [thing.predict(X)]
    if hasattr(thing, "predict_proba"):
        found.append(thing.predict_proba(X))
    elif thing.quantiles is not None:
        found.append(thing.predict(X, quantiles=True))
    return found


def assert_same(one, other):
    for a, b in zip(outputs(one), outputs(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_loaded_transformer_equals_the_saved_one(name, tmp_path):
    thing = TRANSFORMERS[name]()
    loaded = saved(thing, tmp_path)
    assert type(loaded) is type(thing)
    assert set(vars(loaded)) == set(vars(thing))
    if name == "not fitted":
        assert loaded.get_params() == thing.get_params()
        return
    assert_same(loaded, thing)
    assert loaded.get_feature_names_out().tolist() == thing.get_feature_names_out().tolist()
    assert type(loaded.transform(table_of(thing))) is type(thing.transform(table_of(thing)))
    loaded.save(tmp_path / "again.fastnn")
    assert (tmp_path / "again.fastnn").read_bytes() == (tmp_path / "thing.fastnn").read_bytes()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_loaded_estimator_equals_the_saved_one(name, tmp_path):
    thing = ESTIMATORS[name]()
    loaded = saved(thing, tmp_path)
    assert_same(loaded, thing)
    assert set(vars(loaded)) == set(vars(thing))
    for attribute in ("oof_prediction_", "oof_rows_", "oof_quantiles_", "_oof_targets", "importances_"):
        if hasattr(thing, attribute):
            found, expected = getattr(loaded, attribute), getattr(thing, attribute)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
    assert loaded.summary() == thing.summary()
    assert loaded.columns_ == thing.columns_
    assert loaded.target_name_ == thing.target_name_
    loaded.save(tmp_path / "again.fastnn")
    assert (tmp_path / "again.fastnn").read_bytes() == (tmp_path / "thing.fastnn").read_bytes()


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_a_loaded_estimator_fits_anew_with_the_same_bits(name, tmp_path):
    thing = ESTIMATORS[name]()
    targets = CLASSES if name == "classifier" else SCORE
    assert_same(saved(thing, tmp_path).fit(FRAME, targets), clone(thing).fit(FRAME, targets))


def test_an_estimator_saved_without_training_state_predicts_the_same(tmp_path):
    thing = ESTIMATORS["classifier"]()
    loaded = saved(thing, tmp_path, training=False)
    assert_same(loaded, thing)
    assert "epochs" in loaded.summary()
    with pytest.raises(ValueError, match="saved with training=False"):
        loaded.plot_calibration()
    n_bytes = (tmp_path / "thing.fastnn").stat().st_size
    thing.save(tmp_path / "thing.fastnn")
    assert n_bytes < (tmp_path / "thing.fastnn").stat().st_size


def test_files_hold_no_state_of_the_networks_training(tmp_path):
    ESTIMATORS["classifier"]().save(tmp_path / "thing.fastnn")
    assert b".optimizer." not in (tmp_path / "thing.fastnn").read_bytes()


def test_a_function_as_scoring_is_refused(tmp_path):
    def score(model, X, y):
        return 1.0

    thing = fastnn.TabularClassifier(1, "fast", scoring=score).fit(FRAME, CLASSES)
    with pytest.raises(ValueError, match="scoring is the function.*nothing in a file"):
        thing.save(tmp_path / "thing.fastnn")
    assert not list(tmp_path.iterdir())


def test_information_on_a_file_lists_columns_and_scores(tmp_path):
    thing = ESTIMATORS["regressor"]()
    thing.save(tmp_path / "thing.fastnn")
    found = fastnn.info(tmp_path / "thing.fastnn", check=True)
    assert (found.kind, found.target, found.n_members) == ("TabularRegressor", "score", 2)
    assert found.columns == thing.columns_
    assert found.scores == {"r2": thing.oof_r2_, "rmse": thing.oof_rmse_}
    assert found.layers_dim == thing.estimators_[0].model_.layers_dim
    text = str(found)
    assert "columns     11: 5 category, 4 number, 1 boolean, 1 date" in text
    assert "target      score" in text
    assert "training" not in text
    TRANSFORMERS["table"]().save(tmp_path / "thing.fastnn")
    assert len(fastnn.info(tmp_path / "thing.fastnn").columns) == 11


# --- contents that no version writes -------------------------------------------------------------------


@pytest.fixture(scope="module")
def encodings():
    """Return the descriptions of the encodings of every column by the column's name."""
    encoder = fastnn.TableEncoder(random_state=0).fit(FRAME, CLASSES)
    writer = Writer(True)
    return {encoding.name: describe_encoding(encoding, writer) for encoding in encoder.encodings_}


def test_the_table_has_every_encoding(encodings):
    from fastnn.tables.encoding.saved_encodings import ENCODINGS

    assert {description["encoding"] for description in encodings.values()} == set(ENCODINGS)


EDGES = {"$array": {"dtype": "float64", "shape": [2], "values": [1.0, 0.0]}}
STATISTICS = {"$array": {"dtype": "float64", "shape": [2, 1], "values": [1.0, 0.0]}}


@pytest.mark.parametrize(
    ("column", "entry", "value", "message"),
    [
        ("number", "encoding", "len", "no encoding 'len'"),
        ("number", "name", 3, "'name' must be of type str"),
        ("number", "scale", 0.0, "has no scale"),
        ("number", "center", {"$float": "nan"}, "has no scale"),
        ("number", "edges", EDGES, "do not increase"),
        ("number", "edges", [1.0], "'edges' must be of type NDArray"),
        ("number", "has_indicator", 1, "'has_indicator' must be of type bool"),
        ("day", "parts", ["year", "century"], "unknown or surplus parts"),
        ("day", "origin", 2**62 + 1, "must be of type int|begin at microsecond"),
        ("day", "numbers", 3, "must be a list of encodings"),
        ("many", "known", ["a"], "statistics of 'many' do not fit"),
        ("many", "statistics", STATISTICS, "statistics of 'many' do not fit"),
        ("few", "categories", ["a", "a"], "not distinct"),
        ("few", "categories", [], "not distinct"),
        ("words", "n_features", 10**12, "hashed to 1000000000000 numbers"),
        ("words", "n_features", True, "must be of type int"),
    ],
)
def test_invalid_encodings_are_refused(column, entry, value, message, encodings):
    description = copy.deepcopy(encodings[column]) | {entry: value}
    with pytest.raises(ValueError, match=message):
        restore_encoding(description, Reader(None))
    del description[entry]
    with pytest.raises(ValueError, match="lacks|no encoding"):
        restore_encoding(description, Reader(None))


@pytest.mark.parametrize(("column", "kind"), [("day", "DateEncoding"), ("few", "CategoryEncoding")])
def test_parts_of_dates_must_be_numbers(encodings, column, kind):
    description = copy.deepcopy(encodings["day"])
    description["numbers"][0] = encodings[column]
    with pytest.raises(ValueError, match=f"no encoding '{kind}' for a part of a date"):
        restore_encoding(description, Reader(None))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("repaired", [False, True], ids=["changed", "with repaired digests"])
@pytest.mark.parametrize(
    "name", ["classifier", "regressor of quantiles", "table", "scaler", "dates", "piecewise"]
)
def test_mutated_files_raise_nothing_but_value_errors(name, repaired, tmp_path):
    (ESTIMATORS | TRANSFORMERS)[name]().save(tmp_path / "thing.fastnn")
    for loaded in loaded_mutations(tmp_path / "thing.fastnn", repaired, 1):
        # A changed name of a column is an error, and a changed number is not: predictions may be wrong.
        with contextlib.suppress(ValueError):
            outputs(loaded)


def test_files_with_many_columns_of_hashed_words_are_loaded_without_the_names_of_the_features(
    tmp_path, monkeypatch
):
    """A short file may state many millions of features, whose names would take minutes and gigabytes."""
    frame = pd.DataFrame({name: [f"some words {k}" for k in range(40)] for name in ("a", "b", "c")})
    encoder = fastnn.TableEncoder(text="hash", max_categories=2, n_hashes=9).fit(frame)
    encoder.save(tmp_path / "encoder.fastnn")
    out = encoder.transform(frame)
    monkeypatch.delattr(WordsEncoding, "features")
    loaded = fastnn.load(tmp_path / "encoder.fastnn")
    np.testing.assert_array_equal(loaded.transform(frame), out)
