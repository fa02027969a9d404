"""Encoding of tables: kinds of columns, missing values, rare and new categories, dataframes, messages."""

import copy
import datetime
import decimal
import importlib
import json
import pickle

import numpy as np
import pytest
from extras import all_need, optional
from sklearn.preprocessing import TargetEncoder

from fastnn import DateEncoder, TableEncoder
from fastnn.system.frames import as_table
from fastnn.tables.encoding import encoder as module

pytestmark = all_need("pandas")
pd = optional("pandas")

N = 60
random = np.random.RandomState(0)
# Columns of every kind, by their names.
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
FRAME = pd.DataFrame(DATA)


def by_name(encoder, X):
    """Return the encoded columns by the names of the features."""
    return dict(zip(encoder.get_feature_names_out(), encoder.transform(X).T, strict=True))


def test_every_kind_of_column_has_its_encoding():
    encoder = TableEncoder(n_bins=4).fit(FRAME)
    assert encoder.feature_names_in_.tolist() == list(DATA)
    kinds = {record["name"]: record["kind"] for record in encoder.columns_}
    assert kinds == {
        "size": "number", "count": "number", "gappy": "number", "flag": "boolean", "colour": "category",
        "yes": "category", "city": "category", "sold": "date", "same": "number",
    }  # fmt: skip
    out = by_name(encoder, FRAME)
    assert {values.dtype for values in out.values()} == {np.dtype(np.float32)}
    assert all(np.isfinite(values).all() for values in out.values())
    np.testing.assert_array_equal(out["flag"], np.where(DATA["flag"], 1, -1))
    np.testing.assert_array_equal(out["yes_y"], np.where(np.array(DATA["yes"]) == "y", 1, -1))
    for colour in ("red", "green", "blue"):
        np.testing.assert_array_equal(out[f"colour_{colour}"], np.array(DATA["colour"]) == colour)
    np.testing.assert_array_equal(out["city_missing"], [k % 7 == 0 for k in range(N)])
    np.testing.assert_array_equal(out["gappy_missing"], [k % 5 == 0 for k in range(N)])
    assert {"sold_elapsed", "sold_month_bin0", "sold_weekday"} <= out.keys()
    assert not [name for name in out if name.startswith("same")]
    (record,) = (record for record in encoder.columns_ if record["name"] == "same")
    assert record["treatment"] == "left out: constant"
    (record,) = (record for record in encoder.columns_ if record["name"] == "city")
    assert (record["values"], record["missing"]) == (4, 9)
    assert sum(record["features"] for record in encoder.columns_) == len(out)


def test_blocks_of_rows_are_encoded_as_the_whole_table(monkeypatch):
    frame = FRAME.assign(text=[f"good wine no{k}" for k in range(N)], shop=[f"s{k // 2}" for k in range(N)])
    encoder = TableEncoder(max_categories=9).fit(frame, np.arange(N) % 2)
    whole = encoder.transform(frame)
    monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_array_equal(encoder.transform(frame), whole)


def test_a_gap_is_encoded_as_the_median_with_an_indicator():
    encoder = TableEncoder().fit(FRAME)
    rows = FRAME.head(2).copy()
    rows["gappy"] = [np.nan, FRAME["gappy"].median()]
    out = encoder.transform(rows)
    names = encoder.get_feature_names_out().tolist()
    differs = [name for name, a, b in zip(names, *out, strict=True) if a != b and name.startswith("gappy")]
    assert differs == ["gappy_missing"]


def test_gaps_in_columns_that_had_none_are_encoded():
    encoder = TableEncoder().fit(FRAME)
    rows = pd.DataFrame({name: [None] for name in DATA})
    out = by_name(encoder, rows)
    assert all(np.isfinite(values).all() for values in out.values())
    assert out["flag"] == out["yes_y"] == out["colour_red"] == 0


def test_rare_and_new_categories_share_a_feature():
    values = ["a"] * 30 + ["b"] * 20 + ["c"] + ["d"]
    frame = pd.DataFrame({"v": values})
    encoder = TableEncoder(min_frequency=5).fit(frame)
    assert encoder.get_feature_names_out().tolist() == ["v_a", "v_b", "v_other"]
    out = encoder.transform(pd.DataFrame({"v": ["b", "c", "new", None]}))
    assert out.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
    encoder = TableEncoder(max_categories=1, text="rare").fit(frame)
    assert encoder.get_feature_names_out().tolist() == ["v_a", "v_other"]
    known = TableEncoder(min_frequency=1).fit(frame)
    assert known.transform(pd.DataFrame({"v": ["new", "a"]})).tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]


# A flag of two texts, categories, and a category with target statistics.
@pytest.mark.parametrize(
    ("values", "max_categories"), [(["male", "female"], 32), (["male", "female", None, "other"], 32),
                                   (["male", "female", "other", "none"], 2)]
)  # fmt: skip
@pytest.mark.parametrize("dtype", [object, "category"])
def test_a_column_of_mostly_unseen_values_is_named_in_a_warning(values, max_categories, dtype):
    n = 40 // len(values)
    frame = pd.DataFrame({"sex": pd.Series(values * n, dtype=dtype), "age": range(40)})
    encoder = TableEncoder(max_categories=max_categories, min_frequency=1).fit(frame, np.arange(40) % 3)
    new = frame.assign(sex=[value and value == "male" for value in frame["sex"]])
    words = "column 'sex': 100% of the values did not occur in the fit, such as 'True': write them as in the"
    with pytest.warns(UserWarning, match=words):
        encoder.transform(new)
    seen = frame.assign(sex=pd.Series(["male", "new", None, None] * 10, dtype=dtype))
    encoder.transform(seen)  # half of the values
    with pytest.warns(UserWarning, match="column 'sex': 67% of the values"):
        encoder.transform(seen.assign(sex=pd.Series(["male", "new", None, "old"] * 10, dtype=dtype)))
    encoder.transform(frame.assign(sex=None))


def test_target_statistics_equal_scikit_learns_and_leave_out_the_rows_fold():
    n = 400
    random = np.random.RandomState(0)
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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("counts", [[60, 59, 1], [117, 1, 1, 1], [119, 1], [2] * 60])
def test_target_statistics_are_finite_with_fewer_rows_than_folds(counts):
    frame = pd.DataFrame({"shop": [f"s{k % 40}" for k in range(120)]})
    y = np.random.RandomState(0).permutation(np.repeat(np.arange(len(counts)), counts))
    encoder = TableEncoder(random_state=0)
    trained = encoder.fit_transform(frame, y)
    n_statistics = len(counts) if len(counts) > 2 else 1
    statistics = trained[:, -n_statistics:]
    assert np.isfinite(statistics).all()
    assert encoder.get_feature_names_out()[-1] == f"shop_target{n_statistics - 1}"
    if counts[-1] == 1:  # the row's statistics come from the other folds, which lack its class
        assert statistics[y == len(counts) - 1, -1] == statistics[:, -1].min()


def test_target_statistics_do_not_reveal_the_target_of_a_row():
    """Each category has two rows: statistics that included a row's own target would correlate with it."""
    frame = pd.DataFrame({"shop": [f"s{k // 2}" for k in range(2000)]})
    y = np.random.RandomState(0).normal(size=2000)
    statistics = TableEncoder(random_state=0).fit_transform(frame, y)[:, -1]
    assert np.corrcoef(statistics, y)[0, 1] < 0.1


def test_different_nan_objects_are_the_same_gap():
    column = ["a", "b", "c"] * 20 + [float("nan") for _ in range(40)]
    encoder = TableEncoder(random_state=0).fit([[value] for value in column], np.arange(100) % 2)
    assert encoder.get_feature_names_out().tolist() == ["x0_a", "x0_b", "x0_c", "x0_missing"]


def test_words_are_hashed_and_identifiers_left_out():
    words = ["red wine", "white wine from France", "strong beer", "beer", "wine, red"] * 10
    texts = [f"{text} no{k}" for k, text in enumerate(words)]
    frame = pd.DataFrame({"text": texts, "id": [f"id{k}" for k in range(50)], "number": range(50)})
    encoder = TableEncoder(n_hashes=16).fit(frame)
    treatments = {record["name"]: record["treatment"] for record in encoder.columns_}
    assert treatments["text"] == "words hashed to 16 numbers"
    assert treatments["id"] == "left out: every row has another value"
    one, other = encoder.transform(pd.DataFrame({"text": ["Red WINE", "wine red"], "id": "", "number": 0}))
    np.testing.assert_array_equal(one, other)


def test_arrays_and_lists_of_mixed_values_are_encoded_as_frames():
    rows = [[1, "a", None], [2, "b", True], [3, "a", False]]
    expected = TableEncoder(min_frequency=1).fit(rows).transform(rows)
    for X in (np.array(rows, object), pd.DataFrame(rows)):
        encoder = TableEncoder(min_frequency=1).fit(X)
        assert not hasattr(encoder, "feature_names_in_")
        np.testing.assert_array_equal(encoder.transform(X), expected)


@pytest.mark.parametrize(
    "values",
    [
        [None if k % 7 == 0 else f"city{k % 4}" for k in range(N)], [k % 3 for k in range(N)],
        [float(k % 3) if k % 5 else None for k in range(N)], [k % 2 == 0 for k in range(N)],
        [f"shop{k % 40}" for k in range(N)], [f"good wine no{k}" for k in range(N)], [None] * N,
    ],
)  # fmt: skip
def test_categorical_columns_are_encoded_by_their_values(values):
    categories = pd.Categorical(values).add_categories(["unused"])
    coded = pd.DataFrame({"v": categories, "x": range(N)})
    plain = coded.assign(
        v=pd.Series([None if pd.isna(value) else value for value in categories], dtype=object)
    )
    y = np.arange(N) % 2
    encoder = TableEncoder(random_state=0).fit(coded, y)
    # A row of text turns the plain numbers and booleans into categories, too.
    text = pd.DataFrame({"v": ["unused"], "x": [0]})
    out = encoder.transform(coded)
    np.testing.assert_array_equal(encoder.transform(pd.concat([plain, text], ignore_index=True))[:-1], out)
    reversed_order = coded.assign(v=categories.set_categories(categories.categories[::-1]))
    np.testing.assert_array_equal(encoder.transform(reversed_order), out)
    again = TableEncoder(random_state=0).fit(reversed_order, y)
    assert again.columns_ == encoder.columns_
    np.testing.assert_array_equal(again.transform(coded), out)


@pytest.mark.parametrize(
    "library", [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("polars", "pyarrow")]
)
def test_libraries_of_dataframes_agree(library):
    module = importlib.import_module(library)
    frame = module.DataFrame(DATA) if library == "polars" else module.table(DATA)
    encoder = TableEncoder().fit(FRAME)
    other = TableEncoder().fit(frame)
    assert other.columns_ == encoder.columns_
    np.testing.assert_array_equal(other.transform(frame), encoder.transform(FRAME))
    np.testing.assert_array_equal(encoder.transform(frame), encoder.transform(FRAME))


def test_nullable_columns_are_encoded_as_plain_ones():
    plain = pd.DataFrame({"n": [1.0, np.nan, 3.0, 4.0], "b": [True, False, None, True], "c": list("abca")})
    nullable = pd.DataFrame(
        {
            "n": pd.array([1, pd.NA, 3, 4], "Int64"),
            "b": pd.array([True, False, pd.NA, True], "boolean"),
            "c": pd.Categorical(list("abca")),
        }
    )
    encoder = TableEncoder(min_frequency=1).fit(plain)
    np.testing.assert_array_equal(encoder.transform(nullable), encoder.transform(plain))
    np.testing.assert_array_equal(
        TableEncoder(min_frequency=1).fit(nullable).transform(plain), encoder.transform(plain)
    )


def test_the_kind_of_a_column_of_objects_follows_from_its_values():
    values = {
        "decimals": [decimal.Decimal("1.5"), None],
        "flags": np.array([True, None], object),
        "dates": [datetime.date(2024, 1, 1), None],
        "mixed": ["a", 1],
        "spans": np.array([3600, 86400], "timedelta64[s]"),
    }
    table = as_table(pd.DataFrame(values))
    assert table.kinds == ["number", "boolean", "date", "category", "number"]
    assert table.columns[4].tolist() == [1 / 24, 1.0]


@pytest.mark.needs("pyarrow")
def test_columns_of_pyarrow_in_pandas_are_encoded_as_plain_ones():
    """Large identifiers are rounded, as those of other dtypes are; a dictionary has no codes of pandas."""
    import pyarrow as pa

    numbers, texts = [2**62, None, 1, -(2**62)] * 9, ["a", None, "b", "c"] * 9
    plain = pd.DataFrame({"n": [np.nan if n is None else float(n) for n in numbers], "c": texts})
    typed = pd.DataFrame(
        {
            "n": pd.array(numbers, "int64[pyarrow]"),
            "c": pd.array(texts, pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
        }
    )
    encoder = TableEncoder().fit(plain)
    assert TableEncoder().fit(typed).columns_ == encoder.columns_
    np.testing.assert_array_equal(encoder.transform(typed), encoder.transform(plain))


@pytest.mark.needs("pyarrow")
@pytest.mark.parametrize("form", ["arrow", "pandas"])
def test_dictionaries_of_pyarrow_have_the_kinds_of_their_values(form):
    """A dictionary of Arrow is a way to store values; pandas' categorical type is a choice of the user."""
    import pyarrow as pa

    columns = {
        "number": [1.5, None, 2.5, 1.5], "count": [3, 1, None, 3], "flag": [True, None, False, True],
        "day": [datetime.date(2024, 5, 6), None, None, datetime.date(2024, 5, 7)],
        "text": ["a", "b", None, "a"],
    }  # fmt: skip
    plain = pa.table({name: pa.array(values) for name, values in columns.items()})
    coded = pa.table({name: plain[name].dictionary_encode() for name in columns})
    X = coded if form == "arrow" else coded.to_pandas(types_mapper=pd.ArrowDtype)
    found, expected = as_table(X), as_table(plain)
    assert found.kinds == expected.kinds == ["number", "number", "boolean", "date", "category"]
    for values, others in zip(found.columns[:4], expected.columns[:4], strict=True):
        np.testing.assert_array_equal(values, others)
    assert as_table(plain.to_pandas().astype("category")).kinds == ["category"] * 5
    if hasattr(pa, "string_view"):
        views = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", "b"], pa.string_view()))
        assert as_table(pa.table({"text": views})).kinds == ["category"]


def test_durations_are_days_whatever_holds_them():
    plain = pd.DataFrame({"d": pd.to_timedelta([1, 36, None, 5] * 5, "h"), "x": range(20)})
    encoder = TableEncoder().fit(plain)
    assert encoder.columns_[0]["kind"] == "number"
    python = [None if pd.isna(one) else one.to_pytimedelta() for one in plain["d"]]
    for values in (plain["d"].astype(object), python, plain["d"].to_numpy().astype("m8[s]")):
        other = plain.assign(d=pd.Series(values, dtype=getattr(values, "dtype", object)))
        np.testing.assert_array_equal(encoder.transform(other), encoder.transform(plain))
        assert TableEncoder().fit(other).columns_ == encoder.columns_
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        out = encoder.transform(plain.to_numpy())
    np.testing.assert_array_equal(out, encoder.transform(plain))


@pytest.mark.parametrize("unit", ["s", "D", "Y"])
def test_dates_that_microseconds_cannot_hold_are_refused(unit):
    """NumPy's conversion of such dates to microseconds overflows without an error."""
    dates = np.array([["NaT"], ["1970-01-01"], ["400000-01-01"]], f"M8[{unit}]")
    with pytest.raises(ValueError, match="column 'x0' holds the date 400000.* in row 102, more than 146,000"):
        as_table(dates, 100)
    with pytest.raises(ValueError, match="'x0' holds the date -150000-01-01.* in row 0"):
        as_table(np.array([["-150000-01-01"]], "M8[us]"))
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
        (np.datetime64(2**62, "s"), "date 146138514283"),
        (pd.Timestamp(np.datetime64("600000-01-01", "s")), "date 600000-01-01"),
        (np.timedelta64(10**12, "h"), "duration 1000000000000 hours"),
        (datetime.timedelta(days=600_000_000), "duration 600000000 days"),
        (datetime.timedelta.min, "duration -999999999 days"),
    ],
)
def test_objects_of_dates_that_microseconds_cannot_hold_are_refused(value, what):
    near = np.timedelta64(1, "D") if what.startswith("duration") else datetime.date(2024, 1, 1)
    for values in ([None, near, value], [None, value]):
        column = np.empty((len(values), 1), object)
        column[:, 0] = values
        with pytest.raises(ValueError, match=f"'x0' holds the {what}.* in row {len(values) + 9}, more than"):
            as_table(column, 10)


def test_objects_of_dates_in_different_units_keep_their_values():
    dates = [
        np.datetime64("9999-12-31", "D"), np.datetime64("100000", "Y"), np.datetime64("-4000-01-01T05", "h"),
        pd.Timestamp("2024-05-06 07:08:09.123456789"), datetime.datetime(1, 2, 3, 4), None,
    ]  # fmt: skip
    expected = [
        "9999-12-31", "100000-01-01", "-4000-01-01T05", "2024-05-06T07:08:09.123456", "0001-02-03T04", "NaT"
    ]  # fmt: skip
    durations = [np.timedelta64(36, "h"), datetime.timedelta(days=10**7), np.timedelta64(2, "W"), pd.NaT]
    table = as_table(pd.DataFrame({"d": pd.Series(dates, dtype=object)}))
    np.testing.assert_array_equal(table.columns[0], np.array(expected, "M8[us]"))
    table = as_table(pd.DataFrame({"d": pd.Series(durations, dtype=object)}))
    np.testing.assert_array_equal(table.columns[0], [1.5, 1e7, 14, np.nan])


def test_integers_and_equal_floats_are_the_same_category():
    encoder = TableEncoder(min_frequency=1).fit(pd.DataFrame({"v": pd.Categorical([1, 2, 3])}))
    out = encoder.transform(pd.DataFrame({"v": [1.0, np.nan, 3.0]}))
    assert out.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_equal_values_with_different_texts_are_different_categories():
    """1 equals True, and a decimal fraction another one with more zeros: the order of rows has no effect."""
    decimals = [decimal.Decimal("1.5"), decimal.Decimal("1.50")]
    frame = pd.DataFrame({"v": pd.Series([True, 1, "a", *decimals, None] * 5, dtype=object)})
    encoder = TableEncoder(min_frequency=1).fit(frame)
    assert encoder.get_feature_names_out().tolist() == [
        "v_1",
        "v_1.5",
        "v_1.50",
        "v_True",
        "v_a",
        "v_missing",
    ]
    out = encoder.transform(frame)
    assert out[:6].argmax(axis=1).tolist() == [3, 0, 4, 1, 2, 5]
    np.testing.assert_array_equal(encoder.transform(frame[::-1]), out[::-1])


def test_infinity_among_categories_is_a_category():
    encoder = TableEncoder(min_frequency=1).fit(pd.DataFrame({"v": ["a", np.inf, -np.inf]}))
    assert encoder.get_feature_names_out().tolist() == ["v_-inf", "v_a", "v_inf"]


def test_an_encoder_can_be_copied_and_written_as_json():
    encoder = TableEncoder(max_categories=2, random_state=0)
    encoder.fit(FRAME, DATA["flag"])
    for copied in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        np.testing.assert_array_equal(copied.transform(FRAME), encoder.transform(FRAME))

    def plain(value):
        if isinstance(value, np.ndarray):
            return value.tolist()
        if isinstance(value, list):
            return [plain(one) for one in value]
        return {k: plain(v) for k, v in vars(value).items()} if hasattr(value, "__dict__") else value

    json.dumps([plain(encoding) for encoding in encoder.encodings_])
    json.dumps(encoder.columns_)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"a": [1.0, np.inf]}, "column 'a' holds infinity in row 1"),
        ({"a": [1.0, 1.0]}, r"no column of X tells the rows apart, n_samples=2: 'a' \(left out: constant\)"),
        ({"a": [None, None]}, "only missing values"),
        ({"a": [[1], [2]]}, "column 'a' holds values that are neither"),
        ({"a": [decimal.Decimal("sNaN"), decimal.Decimal(1)]}, "column 'a' holds values that are neither"),
        ({"a": []}, "0 sample"),
        ({}, "0 feature"),
    ],
)
def test_unusable_tables_are_refused_with_the_reason(frame, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(pd.DataFrame(frame, index=range(2) if not frame else None))


def test_names_that_occur_twice_and_targets_of_several_types_are_refused():
    twice = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], columns=["a", "a"])
    with pytest.raises(
        ValueError, match="^X: .*'a' 2 times. Rename these columns, or leave out all but one$"
    ):
        TableEncoder().fit(twice)
    for y in ([None, "a"] * (N // 2), [None] * N):
        with pytest.raises(ValueError, match="^y holds classes that cannot be compared .*leave out rows"):
            TableEncoder().fit(FRAME, y)


def test_columns_that_differ_from_the_fit_are_refused():
    encoder = TableEncoder().fit(FRAME)
    with pytest.raises(ValueError, match="now missing:\n- size"):
        encoder.transform(FRAME.drop(columns="size"))
    with pytest.raises(ValueError, match="unseen at fit time:\n- new"):
        encoder.transform(FRAME.assign(new=1))
    with pytest.raises(ValueError, match="must be in the same order"):
        encoder.transform(FRAME[FRAME.columns[::-1]])
    with pytest.raises(
        ValueError, match="column 'count' held numbers in the fit, but now holds 'x' in row 0"
    ):
        encoder.transform(FRAME.assign(count="x"))
    with pytest.raises(ValueError, match="column 'sold' held dates in the fit, but now holds 3.0 in row 0"):
        encoder.transform(FRAME.assign(sold=3.0))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        encoder.transform(FRAME.to_numpy())
