"""Saved transformers and tabular estimators: loaded ones compute the same bits."""

import tracemalloc

import numpy as np
import pytest
from extras import all_need, optional
from saved_models import rewrite
from sklearn.base import clone

import fastnn
from fastnn.tables.presets import PRESETS, Preset

pytestmark = all_need("pandas")
pd = optional("pandas")

N = 200
ROWS = np.arange(N)
NUMBERS = np.random.RandomState(0).normal(size=(N, 2))
FRAME = pd.DataFrame(
    {
        "number": np.where(ROWS % 9 == 0, np.nan, NUMBERS[:, 0]),
        "count": ROWS % 7,
        "gap or one": np.where(ROWS % 5 == 0, np.nan, 1.0),
        "flag": ROWS % 2 == 0,
        "two": np.array(["y", "n"])[ROWS % 2],
        "few": pd.Series(["red", "green", None, "blue", "ünïcode"] * (N // 5)),
        "many": [f"city {k % 50}" for k in range(N)],
        "words": [f"a text of {k} words and {k * k} letters" for k in range(N)],
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(ROWS * 7, "h"),
        "same": 1,
        "key": [f"k{k}" for k in range(N)],
    }
)
FRAME.loc[3, "day"] = pd.NaT
SCORE = NUMBERS.sum(axis=1)
CLASSES = np.where(SCORE > 0, "high", "low")


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    """Fit small networks for a few epochs."""
    monkeypatch.setitem(PRESETS, "fast", Preset(1, (8,), 6))


TRANSFORMERS = {
    "scaler": lambda: fastnn.SmoothRobustScaler(2.5).fit(NUMBERS.astype(np.float32)),
    "piecewise": lambda: fastnn.PiecewiseLinearEncoder(5).fit(FRAME[["number", "gap or one"]]),
    "dates": lambda: fastnn.DateEncoder().fit(FRAME[["day"]]),
    "table": lambda: fastnn.TableEncoder(random_state=0).fit(FRAME, CLASSES),
    "table of numbers": lambda: fastnn.TableEncoder("smooth", text="hash", n_hashes=7).fit(FRAME, SCORE),
    "table without target": lambda: fastnn.TableEncoder(random_state=np.random.RandomState(0)).fit(FRAME),
    "table with output": lambda: fastnn.TableEncoder().set_output(transform="pandas").fit(FRAME),
    "array": lambda: fastnn.TableEncoder().fit(NUMBERS),
}
C, R = fastnn.TabularClassifier, fastnn.TabularRegressor
ESTIMATORS = {
    "classifier": lambda: C(2, "fast", random_state=0).fit(FRAME, CLASSES),
    "three": lambda: C(2, "fast", scoring="accuracy", class_weight={0: 2.0}).fit(FRAME, ROWS % 3),
    "booleans": lambda: C(1, "fast").fit(FRAME, SCORE > 0),
    "regressor": lambda: R(2, "fast", random_state=0).fit(FRAME, pd.Series(SCORE, name="score")),
    "quantiles": lambda: R(1, "fast", quantiles=(0.1, 0.9), random_state=np.random.RandomState(1)).fit(
        FRAME, SCORE
    ),
    "validation": lambda: R(1, "fast").fit(FRAME, SCORE, X_val=FRAME[:50], y_val=SCORE[:50]),
    "array": lambda: C(1, "fast").fit(NUMBERS, CLASSES),
}


def save_and_load(thing, folder, **options):
    thing.save(folder / "thing.fastnn", **options)
    return fastnn.load(folder / "thing.fastnn")


def make_rows(thing):
    """Return rows of the columns on which an object was fitted, with missing values and new categories."""
    if (names := getattr(thing, "feature_names_in_", None)) is None:
        return NUMBERS
    return FRAME.assign(few=FRAME["few"].where(ROWS % 3 > 0, "new"), number=np.nan)[list(names)]


def compute(thing):
    """Return everything that an object computes from such rows."""
    X = make_rows(thing)
    found = [
        getattr(thing, name)(X) for name in ("transform", "predict", "predict_proba") if hasattr(thing, name)
    ]
    return [*found, thing.predict(X, quantiles=True)] if getattr(thing, "quantiles", None) else found


def assert_same(one, other):
    for a, b in zip(compute(one), compute(other), strict=True):
        assert type(a) is type(b)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [*TRANSFORMERS.values(), *ESTIMATORS.values()])
def test_a_loaded_object_equals_the_saved_one(make, tmp_path):
    thing = make()
    loaded = save_and_load(thing, tmp_path)
    assert type(loaded) is type(thing)
    assert set(vars(loaded)) == set(vars(thing))
    assert_same(loaded, thing)
    for name, value in vars(thing).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(loaded, name), value)
            assert getattr(loaded, name).dtype == value.dtype
    if isinstance(thing, C | R):
        assert (loaded.summary(), loaded.columns_) == (thing.summary(), thing.columns_)
        assert loaded.target_name_ == thing.target_name_
    else:
        assert loaded.get_feature_names_out().tolist() == thing.get_feature_names_out().tolist()
    loaded.save(tmp_path / "again.fastnn")
    assert (tmp_path / "again.fastnn").read_bytes() == (tmp_path / "thing.fastnn").read_bytes()
    assert b".memory." not in (tmp_path / "thing.fastnn").read_bytes()  # the state of a training


@pytest.mark.parametrize(("name", "targets"), [("classifier", CLASSES), ("regressor", SCORE)])
def test_a_loaded_estimator_fits_anew_with_the_same_bits(name, targets, tmp_path):
    thing = ESTIMATORS[name]()
    assert_same(save_and_load(thing, tmp_path).fit(FRAME, targets), clone(thing).fit(FRAME, targets))


def test_an_estimator_saved_without_training_state_predicts_the_same(tmp_path):
    thing = ESTIMATORS["classifier"]()
    loaded = save_and_load(thing, tmp_path, training=False)
    assert_same(loaded, thing)
    assert "epochs" in loaded.summary()
    with pytest.raises(ValueError, match="saved with training=False"):
        loaded.plot_calibration()
    n_bytes = (tmp_path / "thing.fastnn").stat().st_size
    thing.save(tmp_path / "thing.fastnn")
    assert n_bytes < (tmp_path / "thing.fastnn").stat().st_size


def test_information_on_a_file_lists_columns_and_scores(tmp_path):
    thing = ESTIMATORS["regressor"]()
    thing.save(tmp_path / "thing.fastnn")
    found = fastnn.info(tmp_path / "thing.fastnn")
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


# --- what is refused -------------------------------------------------------------------------------------


def test_functions_and_networks_that_do_not_fit_the_encoder_are_refused(tmp_path):
    thing = C(1, "fast", scoring=lambda *_: 1.0).fit(FRAME, CLASSES)
    with pytest.raises(ValueError, match="scoring is the function.*nothing in a file"):
        thing.save(tmp_path / "thing.fastnn")
    assert not list(tmp_path.iterdir())
    thing = ESTIMATORS["classifier"]()
    thing.encoder_ = TRANSFORMERS["array"]()
    with pytest.raises(ValueError, match=r"thing.fastnn .*a network does not fit the encoder"):
        save_and_load(thing, tmp_path)


def find_encodings(description, kind):
    """Return the descriptions of all encodings of a class of columns."""
    if isinstance(description, dict):
        found = [description] if description.get("$class") == kind else []
        return found + [each for item in description.values() for each in find_encodings(item, kind)]
    if isinstance(description, list):
        return [each for item in description for each in find_encodings(item, kind)]
    return []


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        ("WordsEncoding", "n_features", -3, "n_features must be"),
        ("WordsEncoding", "n_features", 10**12, "are hashed to"),
        ("WordsEncoding", "n_features", 2**20, None),
        ("NumberEncoding", "edges", np.zeros((2, 2)), "has no edges"),
        ("NumberEncoding", "edges", np.zeros(0), "has no edges"),
    ],
)
def test_encodings_on_whose_numbers_of_features_kernels_rely_are_checked(kind, key, value, message, tmp_path):
    """A short file may state millions of features, whose names would take minutes and gigabytes."""

    def change(description, arrays):
        encoding = find_encodings(description, kind)[0]
        if isinstance(value, int):
            encoding[key] = value
        else:
            arrays[encoding[key]["$array"]] = value

    fastnn.TableEncoder(text="hash", n_hashes=9).fit(FRAME, SCORE).save(tmp_path / "encoder.fastnn")
    rewrite(tmp_path / "encoder.fastnn", tmp_path / "other.fastnn", change)
    if message is not None:
        with pytest.raises(ValueError, match=message):
            fastnn.load(tmp_path / "other.fastnn")
        return
    fastnn.load(tmp_path / "encoder.fastnn")
    tracemalloc.start()
    fastnn.load(tmp_path / "other.fastnn")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
