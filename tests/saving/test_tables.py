"""Files of tabular estimators: what they tell and refuse; `test_models.py` tests that all is kept."""

import tracemalloc

import numpy as np
import pytest
from extras import all_need, optional
from saved_models import SCORE, make, rewrite, set_entry, table

import fastnn

pytestmark = all_need("pandas")
pd = optional("pandas")


def test_a_file_without_training_state_has_no_out_of_fold_predictions(tmp_path):
    thing, path = make("tabular classifier"), tmp_path / "thing.fastnn"
    thing.save(path)
    assert b".memory." not in path.read_bytes()  # the networks' states are never saved
    thing.save(path, training=False)
    loaded = fastnn.load(path)
    assert "epochs" in loaded.summary()
    with pytest.raises(ValueError, match="saved with training=False"):
        fastnn.plot_calibration(loaded)


def test_information_on_a_file_lists_columns_and_scores(tmp_path):
    thing, path = fastnn.TabularRegressor(2, "fast", random_state=0), tmp_path / "thing.fastnn"
    thing.fit(table(), pd.Series(SCORE, name="score"), passes=3, X_val=table()[:50], y_val=SCORE[:50])
    thing.save(path)
    found = fastnn.info(path)
    assert (found.kind, found.target, found.n_members) == ("TabularRegressor", "score", 2)
    assert found.columns == thing.columns_
    assert found.scores == {"r2": thing.oof_r2_, "rmse": thing.oof_rmse_}
    assert found.layers_dim == thing.estimators_[0].model_.layers_dim
    text = str(found)
    assert "columns     11: 5 categories, 4 numbers, 1 boolean, 1 date" in text
    assert "target      score" in text
    assert "training" not in text
    make("encoder").save(path)
    assert len(fastnn.info(path).columns) == 11


def test_functions_and_networks_that_do_not_fit_the_encoder_are_refused(tmp_path):
    thing = make("tabular classifier").set_params(scoring=lambda *_: 1.0)
    with pytest.raises(ValueError, match="scoring is the function.*nothing in a file"):
        thing.save(tmp_path / "thing.fastnn")
    assert not list(tmp_path.iterdir())
    thing.set_params(scoring=None).encoder_ = make("encoder of an array")
    thing.save(tmp_path / "thing.fastnn")
    with pytest.raises(ValueError, match=r"thing.fastnn .*a network does not fit the encoder"):
        fastnn.load(tmp_path / "thing.fastnn")


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (fastnn.SmoothRobustScaler, "n_features_in_", 2**32),
        (fastnn.SmoothRobustScaler, "scale_", 1.5),
        (fastnn.SmoothRobustScaler, "scale_", ...),
        (fastnn.PiecewiseLinearEncoder, "edges_", [1, 2]),
        (fastnn.PiecewiseLinearEncoder, "n_features_in_", 2**32),
        (fastnn.DateEncoder, "parts_", "ab"),
        (fastnn.TableEncoder, "columns_", [{"kind": []}, {}]),
        (fastnn.TableEncoder, "_kinds", ["number"]),
    ],
)
def test_forged_sizes_and_types_of_fitted_attributes_are_refused(kind, key, value, tmp_path):
    X = np.linspace(0, 1, 40).reshape(20, 2)
    kind().fit(X.astype("datetime64[D]") if kind is fastnn.DateEncoder else X).save(tmp_path / "a.fastnn")

    rewrite(tmp_path / "a.fastnn", tmp_path / "b.fastnn", set_entry(key, value=value))
    with pytest.raises(ValueError, match=r"is not of the type|not have an item for each feature"):
        fastnn.load(tmp_path / "b.fastnn")


def find_encodings(part, kind):
    """Yield the descriptions of all encodings of a class of columns."""
    if isinstance(part, dict) and part.get("$class") == kind:
        yield part
    for item in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from find_encodings(item, kind)


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
        encoding = next(find_encodings(description, kind))
        if isinstance(value, int):
            encoding[key] = value
        else:
            arrays[encoding[key]["$array"]] = value

    path, other = tmp_path / "encoder.fastnn", tmp_path / "other.fastnn"
    make("encoder of numbers").save(path)
    rewrite(path, other, change)
    if message is not None:
        with pytest.raises(ValueError, match=message):
            fastnn.load(other)
        return
    fastnn.load(path)
    tracemalloc.start()
    fastnn.load(other)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
