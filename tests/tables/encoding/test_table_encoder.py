"""Encoding of tables: kinds of columns, missing values, rare and new categories, dataframes, messages."""

import copy
import datetime
import decimal
import importlib
import pickle

import numpy as np
import pytest
from extras import all_need, optional
from sklearn.preprocessing import TargetEncoder

from fastnn import DateEncoder, TableEncoder
from fastnn.system.frames import as_table
from fastnn.tables.encoding import encoder as module

pytestmark = all_need("pandas")
pd, pa = optional("pandas"), optional("pyarrow")

N = 60
ROWS = np.arange(N)
# Columns of every kind, by their names, and the kinds.
DATA = {
    "size": [float(k % 11) for k in range(N)],
    "count": list(range(N)),
    "gappy": [None if k % 5 == 0 else float(k) for k in range(N)],
    "flag": [k % 3 == 0 for k in range(N)],
    "colour": ["red", "green", "blue"] * (N // 3),
    "yes": ["y", "n"] * (N // 2),
    "city": [None if k % 7 == 0 else f"city{k % 4}" for k in range(N)],
    "sold": [datetime.datetime(2024, 1, 1) + datetime.timedelta(days=9 * k) for k in range(N)],
    "same": [1.0] * N,
}
KINDS = ["number", "number", "number", "boolean", "category", "category", "category", "date", "number"]
FRAME = pd.DataFrame(DATA)


def by_name(encoder, X):
    return dict(zip(encoder.get_feature_names_out(), encoder.transform(X).T, strict=True))


def assert_equal_encodings(one, other):
    """Check that two tables have the same encoding, and each the same features by either encoding."""
    encoder, others = TableEncoder(min_frequency=1).fit(one), TableEncoder(min_frequency=1).fit(other)
    assert others.columns_ == encoder.columns_
    expected = encoder.transform(one)
    for found in (others.transform(other), encoder.transform(other), others.transform(one)):
        np.testing.assert_array_equal(found, expected)


def test_masked_numbers_are_missing_and_what_float64_makes_constant_says_so():
    masked = np.ma.masked_where(ROWS % 3 == 0, ROWS + 0.5)[:, None]
    assert_equal_encodings(masked, masked.filled(np.nan))
    record = TableEncoder().fit(pd.DataFrame({"id": 2**60 + ROWS % 9, "n": ROWS})).columns_[0]
    assert record["treatment"] == "left out: its integers are one number in float64"


def test_every_kind_of_column_has_its_encoding(monkeypatch):
    encoder = TableEncoder(n_bins=4).fit(FRAME)
    assert encoder.feature_names_in_.tolist() == list(DATA)
    records = {record["name"]: record for record in encoder.columns_}
    assert [record["kind"] for record in records.values()] == KINDS
    out = by_name(encoder, FRAME)
    assert {values.dtype for values in out.values()} == {np.dtype(np.float32)}
    assert all(np.isfinite(values).all() for values in out.values())
    np.testing.assert_array_equal(out["flag"], np.where(DATA["flag"], 1, -1))
    np.testing.assert_array_equal(out["yes_y"], np.where(np.array(DATA["yes"]) == "y", 1, -1))
    for colour in ("red", "green", "blue"):
        np.testing.assert_array_equal(out[f"colour_{colour}"], np.array(DATA["colour"]) == colour)
    np.testing.assert_array_equal(out["city_missing"], ROWS % 7 == 0)
    np.testing.assert_array_equal(out["gappy_missing"], ROWS % 5 == 0)
    assert {"sold_elapsed", "sold_month_bin0", "sold_weekday"} <= out.keys()
    assert not [name for name in out if name.startswith("same")]
    assert records["same"]["treatment"] == "left out: constant"
    assert (records["city"]["values"], records["city"]["missing"]) == (4, 9)
    assert sum(record["features"] for record in encoder.columns_) == len(out)
    for copied in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        np.testing.assert_array_equal(copied.transform(FRAME), encoder.transform(FRAME))
    frame = FRAME.assign(text=[f"good wine no{k}" for k in range(N)], shop=[f"s{k // 2}" for k in range(N)])
    encoder = TableEncoder(max_categories=9).fit(frame, ROWS % 2)
    whole = encoder.transform(frame)
    monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_array_equal(encoder.transform(frame), whole)


def test_a_missing_value_is_encoded_as_the_median_with_an_indicator():
    encoder = TableEncoder().fit(FRAME)
    rows = FRAME.head(2).copy()
    rows["gappy"] = [np.nan, FRAME["gappy"].median()]
    pairs = zip(encoder.get_feature_names_out().tolist(), *encoder.transform(rows), strict=True)
    assert [name for name, a, b in pairs if a != b and name.startswith("gappy")] == ["gappy_missing"]
    out = by_name(encoder, pd.DataFrame({name: [None] for name in DATA}))  # also where the fit met none
    assert all(np.isfinite(values).all() for values in out.values())
    assert out["flag"] == out["yes_y"] == out["colour_red"] == 0


def test_categories_and_numbers_are_read_as_the_kind_of_the_fit():
    encoder = TableEncoder().fit(FRAME)
    changes = {"flag": FRAME.flag.astype("category"), "count": FRAME["count"].astype("category")}
    for other in (FRAME.assign(**changes), FRAME.assign(flag=FRAME.flag.astype(int))):
        np.testing.assert_array_equal(encoder.transform(other), encoder.transform(FRAME))


def test_rare_and_new_categories_share_a_feature():
    frame = pd.DataFrame({"v": ["a"] * 30 + ["b"] * 20 + ["c"] + ["d"]})
    encoder = TableEncoder(min_frequency=5).fit(frame)
    assert encoder.get_feature_names_out().tolist() == ["v_a", "v_b", "v_other"]
    out = encoder.transform(pd.DataFrame({"v": ["b", "c", "new", None]}))
    assert out.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
    encoder = TableEncoder(max_categories=1, text="rare").fit(frame)
    assert encoder.get_feature_names_out().tolist() == ["v_a", "v_other"]
    assert TableEncoder().fit(frame[25:52]).get_feature_names_out().tolist() == ["v_b", "v_a", "v_c", "v_d"]
    known = TableEncoder(min_frequency=1).fit(frame)
    assert known.transform(pd.DataFrame({"v": ["new", "a"]})).tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]


# A flag of two texts, categories, and a category with target statistics.
@pytest.mark.parametrize(
    ("others", "max_categories"), [([], 32), ([None, "other"], 32), (["other", "none"], 2)]
)
@pytest.mark.parametrize("dtype", [object, "category"])
def test_a_column_of_mostly_unseen_values_is_named_in_a_warning(others, max_categories, dtype):
    values = ["male", "female", *others]
    frame = pd.DataFrame({"sex": pd.Series(values * (40 // len(values)), dtype=dtype), "age": range(40)})
    encoder = TableEncoder(max_categories=max_categories, min_frequency=1).fit(frame, np.arange(40) % 3)
    words = "column 'sex': 100% of the values did not occur in the fit, such as 'True': write them as in the"
    with pytest.warns(UserWarning, match=words):
        encoder.transform(frame.assign(sex=[value and value == "male" for value in frame["sex"]]))
    seen = frame.assign(sex=pd.Series(["male", "new", None, None] * 10, dtype=dtype))
    encoder.transform(seen)  # half of the values
    with pytest.warns(UserWarning, match="column 'sex': 67% of the values"):
        encoder.transform(seen.assign(sex=pd.Series(["male", "new", None, "old"] * 10, dtype=dtype)))
    encoder.transform(frame.assign(sex=None))


def test_target_statistics_equal_scikit_learns_and_leave_out_the_rows_fold():
    n, random = 400, np.random.RandomState(0)
    codes = random.randint(0, 50, n)
    frame = pd.DataFrame({"shop": [f"s{code}" for code in codes]})
    for y, kind in [
        (codes + random.normal(size=n), "continuous"),
        (np.array(["no", "yes"])[(codes + 9 * random.normal(size=n) > 25) * 1], "binary"),
        ((codes + random.randint(0, 2, n)) % 3, "multiclass"),
    ]:
        encoder = TableEncoder(max_categories=8, random_state=0)
        trained = encoder.fit_transform(frame, y)
        out = encoder.transform(frame)
        n_statistics = 3 if kind == "multiclass" else 1
        theirs = TargetEncoder(target_type=kind).fit(frame, y).transform(frame)
        standardised = (theirs - theirs.mean(axis=0)) / theirs.std(axis=0)
        np.testing.assert_allclose(out[:, -n_statistics:], standardised, atol=1e-5)
        np.testing.assert_array_equal(trained[:, :-n_statistics], out[:, :-n_statistics])
        assert (trained[:, -n_statistics:] != out[:, -n_statistics:]).mean() > 0.4
        again = TableEncoder(max_categories=8, random_state=0).fit_transform(frame, y)
        np.testing.assert_array_equal(trained, again)
    # Each category has two rows: statistics that included a row's own target would correlate with it.
    frame, y = pd.DataFrame({"shop": [f"s{k // 2}" for k in range(2000)]}), random.normal(size=2000)
    assert np.corrcoef(TableEncoder(random_state=0).fit_transform(frame, y)[:, -1], y)[0, 1] < 0.1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("counts", [[60, 59, 1], [117, 1, 1, 1], [119, 1], [2] * 60])
def test_target_statistics_are_finite_with_fewer_rows_than_folds(counts):
    frame = pd.DataFrame({"shop": [f"s{k % 40}" for k in range(120)]})
    y = np.random.RandomState(0).permutation(np.repeat(np.arange(len(counts)), counts))
    encoder = TableEncoder(random_state=0)
    n_statistics = len(counts) if len(counts) > 2 else 1
    statistics = encoder.fit_transform(frame, y)[:, -n_statistics:]
    assert np.isfinite(statistics).all()
    assert encoder.get_feature_names_out()[-1] == f"shop_target{n_statistics - 1}"
    if counts[-1] == 1:  # the row's statistics come from the other folds, which lack its class
        assert statistics[y == len(counts) - 1, -1] == statistics[:, -1].min()


def test_words_are_hashed_and_identifiers_left_out():
    words = ["red wine", "white wine from France", "strong beer", "beer", "wine, red"] * 10
    texts = [f"{text} no{k}" for k, text in enumerate(words)]
    frame = pd.DataFrame({"text": texts, "id": [f"id{k}" for k in range(50)], "number": range(50)})
    encoder = TableEncoder(n_hashes=16).fit(frame)
    treatments = [record["treatment"] for record in encoder.columns_]
    assert treatments[:2] == ["words hashed to 16 numbers", "left out: every row has another value"]
    assert treatments[2] == "scaled, 16 intervals"
    one, other = encoder.transform(pd.DataFrame({"text": ["Red WINE", "wine red"], "id": "", "number": 0}))
    np.testing.assert_array_equal(one, other)


def test_equal_values_with_different_texts_are_different_categories():
    """1 equals True, and a decimal fraction another one with more zeros: the order of rows has no effect."""
    decimals = [decimal.Decimal("1.5"), decimal.Decimal("1.50")]
    frame = pd.DataFrame({"v": pd.Series([True, 1, "a", *decimals, None] * 5, dtype=object)})
    encoder = TableEncoder(min_frequency=1).fit(frame)
    names = ["v_1", "v_1.5", "v_1.50", "v_True", "v_a", "v_missing"]
    assert encoder.get_feature_names_out().tolist() == names
    out = encoder.transform(frame)
    assert out[:6].argmax(axis=1).tolist() == [3, 0, 4, 1, 2, 5]
    np.testing.assert_array_equal(encoder.transform(frame[::-1]), out[::-1])


@pytest.mark.parametrize(
    ("values", "names", "new", "out"),
    [
        (pd.Categorical([1, 2, 3]), ["v_1", "v_2", "v_3"], [1.0, np.nan], [[1, 0, 0], [0, 0, 0]]),
        (["a", np.inf, -np.inf], ["v_-inf", "v_a", "v_inf"], ["a"], [[0, 1, 0]]),
        (["a", "b", float("nan"), float("nan")], ["v_a", "v_b", "v_missing"], [None], [[0, 0, 1]]),
    ],
)
def test_categories_have_the_texts_of_their_values(values, names, new, out):
    """Integers and equal floats are the same category, infinity is one, and every NaN is missing."""
    encoder = TableEncoder(min_frequency=1).fit(pd.DataFrame({"v": values}))
    assert encoder.get_feature_names_out().tolist() == names
    assert encoder.transform(pd.DataFrame({"v": new})).tolist() == out


def test_arrays_and_lists_of_mixed_values_are_encoded_as_frames():
    rows = [[1, "a", None], [2, "b", True], [3, "a", False]]
    expected = TableEncoder(min_frequency=1).fit(rows).transform(rows)
    for X in (np.array(rows, object), pd.DataFrame(rows)):
        encoder = TableEncoder(min_frequency=1).fit(X)
        assert not hasattr(encoder, "feature_names_in_")
        np.testing.assert_array_equal(encoder.transform(X), expected)


@pytest.mark.parametrize(
    "library", [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("polars", "pyarrow")]
)
def test_libraries_of_dataframes_agree(library):
    module = importlib.import_module(library)
    assert_equal_encodings(FRAME, module.DataFrame(DATA) if library == "polars" else module.table(DATA))


def test_every_feature_has_a_name_of_its_own():
    others = {"sold_month": DATA["size"], "size_bin0": DATA["flag"], "kind": ["other", "missing", None] * 20}
    encoder = TableEncoder(max_categories=1, text="rare").set_output(transform="pandas")
    names = list(encoder.fit_transform(FRAME.assign(**others, kind_other=DATA["flag"])))
    assert {"sold_month", "sold_month_", "size_bin0_", "kind_missing", "kind_missing_"} <= {*names}
    assert len(names) == len({*names})


def test_nullable_columns_are_encoded_as_plain_ones():
    plain = pd.DataFrame({"n": [1.0, np.nan, 3.0, 4.0], "b": [True, False, None, True], "c": list("abca")})
    nullable = {"n": pd.array([1, None, 3, 4], "Int64"), "b": pd.array([True, False, None, True], "boolean")}
    assert_equal_encodings(plain, pd.DataFrame(nullable | {"c": pd.Categorical(list("abca"))}))


@pytest.mark.needs("pyarrow")
def test_columns_of_pyarrow_in_pandas_are_encoded_as_plain_ones():
    """Large identifiers are rounded as in other dtypes; a dictionary has no codes of pandas."""
    numbers, texts = [2**62, None, 1, -(2**62)] * 9, ["a", None, "b", "c"] * 9
    plain = {"n": [np.nan if n is None else float(n) for n in numbers], "c": texts}
    dictionary = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    typed = {"n": pd.array(numbers, "int64[pyarrow]"), "c": pd.array(texts, dictionary)}
    assert_equal_encodings(pd.DataFrame(plain), pd.DataFrame(typed))


@pytest.mark.needs("pyarrow")
@pytest.mark.parametrize("form", ["arrow", "pandas"])
def test_dictionaries_of_pyarrow_have_the_kinds_of_their_values(form):
    """A dictionary of Arrow is a way to store values; pandas' categorical type is a choice of the user."""
    day = datetime.date(2024, 5, 6)
    plain = pa.table({"number": [1.5, None], "flag": [None, True], "day": [day, None], "text": ["a", "b"]})
    coded = pa.table({name: plain[name].dictionary_encode() for name in plain.column_names})
    found = as_table(coded if form == "arrow" else coded.to_pandas(types_mapper=pd.ArrowDtype))
    expected = as_table(plain.to_batches()[0])
    assert found.kinds == expected.kinds == ["number", "boolean", "date", "category"]
    assert found.names == expected.names == plain.column_names
    for values, others in zip(found.columns[:3], expected.columns[:3], strict=True):
        np.testing.assert_array_equal(values, others)
    assert as_table(plain.to_pandas().astype("category")).kinds == ["category"] * 4
    if hasattr(pa, "string_view"):
        views = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", "b"], pa.string_view()))
        assert as_table(pa.table({"text": views})).kinds == ["category"]


def test_objects_of_dates_in_different_units_keep_their_values():
    dates = {
        np.datetime64("9999-12-31", "D"): "9999-12-31",
        np.datetime64("100000", "Y"): "100000-01-01",
        np.datetime64("-4000-01-01T05", "h"): "-4000-01-01T05",
        pd.Timestamp("2024-05-06 07:08:09.123456789"): "2024-05-06T07:08:09.123456",
        datetime.datetime(1, 2, 3, 4): "0001-02-03T04",
        None: "NaT",
    }
    durations = [np.timedelta64(36, "h"), datetime.timedelta(days=10**7), np.timedelta64(2, "W"), pd.NaT]
    table = as_table(pd.DataFrame({"d": pd.Series(list(dates), dtype=object)}))
    np.testing.assert_array_equal(table.columns[0], np.array(list(dates.values()), "M8[us]"))
    table = as_table(pd.DataFrame({"d": pd.Series(durations, dtype=object)}))
    np.testing.assert_array_equal(table.columns[0], [1.5, 1e7, 14, np.nan])


@pytest.mark.parametrize("unit", ["s", "D", "Y"])
def test_dates_that_microseconds_cannot_hold_are_refused(unit):
    """NumPy's conversion of such dates to microseconds overflows without an error."""
    with pytest.raises(ValueError, match="column 'x0' holds the date 400000.* in row 2, more than 146,000"):
        as_table(np.array([["NaT"], ["1970-01-01"], ["400000-01-01"]], f"M8[{unit}]"))
    with pytest.raises(ValueError, match="'x0' holds the duration .* in row 1, more than 146,000 years long"):
        as_table(np.array([[1], [2**58 if unit == "s" else 2**45]], f"m8[{unit}]"))
    far = np.array([["146000-01-01"], ["-140000-01-01"]], f"M8[{unit}]")
    elapsed = DateEncoder().fit_transform(far)[:, 0]
    assert elapsed[0] == (far[0, 0].astype("M8[D]") - far[1, 0].astype("M8[D]")).astype(int)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (np.datetime64("600000-01-01", "D"), "date 600000-01-01"),
        (np.datetime64("-600000", "Y"), "date -600000"),
        (pd.Timestamp(np.datetime64("600000-01-01", "s")), "date 600000-01-01"),
        (np.timedelta64(10**12, "h"), "duration 1000000000000 hours"),
        (datetime.timedelta.min, "duration -999999999 days"),
    ],
)
def test_objects_of_dates_that_microseconds_cannot_hold_are_refused(value, what):
    near = np.timedelta64(1, "D") if what.startswith("duration") else datetime.date(2024, 1, 1)
    for values in ([None, near, value], [None, value]):
        column = np.empty((len(values), 1), object)
        column[:, 0] = values
        with pytest.raises(ValueError, match=f"'x0' holds the {what}.* in row {len(values) - 1}, more than"):
            as_table(column)


@pytest.mark.parametrize(
    ("frame", "y", "message"),
    [
        ({"a": [1.0, np.inf]}, None, "column 'a' holds infinity in row 1"),
        ({"a": [1.0, 1.0]}, None, r"no column of X tells .*, n_samples=2: 'a' \(left out: constant\)"),
        ({"a": [None, None]}, None, "only missing values"),
        ({"a": [[1], [2]]}, None, "column 'a' holds values that are neither"),
        ({"a": [decimal.Decimal("sNaN"), decimal.Decimal(1)]}, None, "'a' holds values that are neither"),
        ({"a": []}, None, "0 sample"),
        (pd.DataFrame(index=range(2)), None, "0 feature"),
        (pd.DataFrame([[1.0, 2.0]] * 2, columns=["a", "a"]), None, "^X: .*names, got 'a' 2 times. Rename"),
        (FRAME, [None, "a"] * (N // 2), "^y holds classes that cannot be compared .*leave out rows"),
    ],
)
def test_unusable_tables_and_targets_are_refused_with_the_reason(frame, y, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(pd.DataFrame(frame), y)


def test_names_of_which_only_some_are_text_are_refused_as_by_scikit_learn():
    with pytest.raises(TypeError, match="only supported if all input .* the name 1 too: X.columns ="):
        TableEncoder().fit(FRAME.rename(columns={"flag": 1}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="size"), "now missing:\n- size"),
        (lambda f: f.assign(new=1), "unseen at fit time:\n- new"),
        (lambda f: f[f.columns[::-1]], "must be in the same order"),
        (lambda f: f.assign(count="x"), "'count' held numbers in the fit, but now holds 'x' in row 0"),
        (lambda f: f.assign(size=[1, "x"] * (N // 2)), "'size' held numbers in .* holds 'x' in row 1"),
        (lambda f: f.assign(flag=f.flag + 1), "'flag' held booleans in the fit, but now holds 2.0 in row 0"),
        (lambda f: f.assign(sold=3.0), "'sold' held dates in the fit, but now holds 3.0 in row 0"),
    ],
)
def test_columns_that_differ_from_the_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(FRAME).transform(change(FRAME))


def test_many_numbers_that_are_text_are_read_as_numbers():
    numbers = np.arange(40) / 4
    texts = pd.Series([*map(str, numbers), None])
    codes = [f"{k:03}" for k in range(41)]
    frame = pd.DataFrame(
        {"text": texts, "few": ["7", *"8" * 40], "code": codes, "kind": texts.astype("category")}
    )
    encoder = TableEncoder(min_frequency=1, text="rare").fit(frame)
    assert [record["kind"] for record in encoder.columns_] == ["number", "category", "category", "category"]
    assert encoder.columns_[0]["treatment"].endswith(", read from text")
    same = encoder.transform(frame.assign(text=[*numbers, None]))
    np.testing.assert_array_equal(encoder.transform(frame), same)
    np.testing.assert_array_equal(
        encoder.transform(frame.assign(text=[*texts[:-1], "?"])), same
    )  # as another fold may hold
    with pytest.warns(UserWarning, match="'text': 100% of the values are not numbers .* such as 'x'"):
        encoder.transform(frame.assign(text="x"))
