"""Tabular estimators fitted to Parquet files: paths, folders, URLs and datasets, all rows or a sample."""

import io
import re
import sys
from decimal import Decimal

import numpy as np
import pytest
from extras import all_need, optional
from sklearn.base import clone
from sklearn.metrics import r2_score
from tables_of_customers import make_mixed

from fastnn import TabularClassifier, TabularRegressor
from fastnn.tables.parquet import Source, name_source

pytestmark = [all_need("pandas", "pyarrow"), pytest.mark.usefixtures("small_presets")]
pd, pa, pq, pds = map(optional, ("pandas", "pyarrow", "pyarrow.parquet", "pyarrow.dataset"))

COLUMNS = ["x", "group", "town", "flag", "day", "noise"]
TARGETS = {TabularClassifier: "sort", TabularRegressor: "size"}


def table(n=2000, seed=0):
    return make_mixed(n, seed)


def write(frame, path, rows=300):
    """Write a dataframe as a Parquet file with row groups of `rows` rows, and return the path."""
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=rows)
    return path


@pytest.fixture
def path(tmp_path):
    """Return a Parquet file of 2000 rows in seven row groups."""
    return write(table(), tmp_path / "a.parquet")


def fit(source, y="size", **arguments):
    return TabularRegressor(preset="fast", random_state=0).fit(source, y, passes=1, **arguments)


def assert_equal(one, other):
    frame = table(seed=1)[COLUMNS]
    np.testing.assert_array_equal(one.predict(frame), other.predict(frame))
    np.testing.assert_array_equal(one.oof_rows_, other.oof_rows_)
    np.testing.assert_array_equal(one.oof_prediction_, other.oof_prediction_)


@pytest.mark.parametrize("kind", TARGETS)
def test_a_file_is_fitted_as_its_table(path, kind):
    names = {"y": TARGETS[kind], "sample_weight": "weight", "groups": "town"}
    columns = [name for name in COLUMNS if name != "town"]
    model, frame = kind(preset="fast", random_state=0), table()
    expected = clone(model).fit(frame[columns], **{name: frame[value] for name, value in names.items()})
    model.fit(path, **names, columns=columns)
    assert (model.feature_names_in_.tolist(), model.target_name_) == (columns, TARGETS[kind])
    np.testing.assert_array_equal(model.predict(frame[columns]), expected.predict(frame[columns]))
    np.testing.assert_array_equal(model.oof_rows_, expected.oof_rows_)
    held_out = set(frame["town"][model.oof_rows_])
    assert held_out.isdisjoint(frame["town"][np.setdiff1d(np.arange(2000), model.oof_rows_)])
    others = kind(preset="fast").fit(path, **names, passes=1)  # all other columns
    assert set(others.feature_names_in_) == {*frame} - {TARGETS[kind], "weight", "town"}


@pytest.mark.parametrize("form", ["text", "paths", "folder", "URL", "dataset", "filter"])
def test_sources_of_the_same_rows_give_the_same_fit(tmp_path, form):
    frame, folder = table(500), tmp_path / "parts"
    folder.mkdir()
    paths = [write(frame[:200], folder / "a.parquet"), write(frame[200:], folder / "b.parquet", 77)]
    whole = write(frame, tmp_path / "whole.parquet")
    source = {
        "text": str(whole),
        "paths": paths,
        "folder": folder,
        "URL": folder.as_uri(),
        "dataset": pds.dataset(paths),
        "filter": pds.dataset(whole).filter(pds.field("weight") >= 0),
    }[form]
    assert_equal(fit(source, columns=COLUMNS), fit(whole, columns=COLUMNS))


@pytest.mark.needs("fsspec")
def test_urls_of_fsspec_are_read(path, memory):
    url = memory("parts/a.parquet", path.read_bytes())
    for source in (url, [url], url.rpartition("/")[0]):
        assert_equal(fit(source, columns=COLUMNS), fit(path, columns=COLUMNS))


@pytest.mark.parametrize("is_url", [False, True])
def test_names_of_folders_are_columns(tmp_path, is_url):
    frame, folder = table(400), tmp_path / "parts"
    partitioning = pds.partitioning(pa.schema([("group", pa.string())]), flavor="hive")
    rows = pa.Table.from_pandas(frame[["noise", "size", "group"]])
    pds.write_dataset(rows, folder, format="parquet", partitioning=partitioning)
    model = fit(folder.as_uri() if is_url else folder)
    (record,) = (record for record in model.columns_ if record["name"] == "group")
    assert (record["kind"], record["values"], record["missing"]) == ("category", 4, 0)


def test_validation_data_may_be_a_table_or_a_file(path, tmp_path):
    train, validation = table(), table(400, seed=1)
    validation_path = write(validation[["weight", "size", *reversed(COLUMNS)]], tmp_path / "b.parquet")
    model = TabularRegressor(preset="fast", random_state=0)
    of_table = {"X_val": validation[COLUMNS], "y_val": validation["size"]}
    expected = clone(model).fit(train[COLUMNS], train["size"], **of_table)
    assert expected.oof_prediction_.shape == (400,)
    for given in (of_table, {"X_val": validation_path, "y_val": "size"}):
        assert_equal(clone(model).fit(path, "size", columns=COLUMNS, **given), expected)


def test_decimals_are_classes(tmp_path):
    code = pa.array([Decimal(k % 2) for k in range(200)], pa.decimal128(38, 0))
    pq.write_table(pa.table({"x": table(200)["noise"], "code": code}), tmp_path / "a.parquet")
    model = TabularClassifier(preset="fast").fit(tmp_path / "a.parquet", "code", passes=1)
    assert model.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("is_filtered", [False, True])
def test_a_sample_has_the_same_rows_for_the_same_seed(path, is_filtered):
    """The rows are random ones of all row groups; out-of-fold predictions know their numbers in the file."""
    source = pds.dataset(path).filter(pds.field("weight") >= 0) if is_filtered else path
    sizes, models = table()["size"].to_numpy(), []
    for seed in (0, 0, 1):
        model = TabularRegressor(preset="fast", random_state=seed)
        models.append(model.fit(source, "size", columns=COLUMNS, rows=700, passes=1))
        assert model.oof_r2_ == pytest.approx(r2_score(sizes[model.oof_rows_], model.oof_prediction_))
    one, same, other = models
    assert_equal(one, same)
    assert len(one.oof_rows_) == 140  # a fifth
    assert set(one.oof_rows_ // 300) == set(range(7))
    assert set(one.oof_rows_) != set(other.oof_rows_)
    assert_equal(fit(path, columns=COLUMNS, rows=10**9), fit(path, columns=COLUMNS))


def test_a_fit_that_takes_more_memory_than_allowed_is_refused_before_it_reads(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Source, "read", lambda *arguments: pytest.fail("rows are read"))
        with pytest.raises(ValueError, match="a fit to 2,000 rows of") as caught:
            fit(path, columns=COLUMNS, memory_limit="1 MiB")
    message = str(caught.value)
    assert re.search(r"parquet takes about [\d,]+ bytes, but memory_limit is 1,048,576: pass rows=", message)
    n_rows = int(re.search(r"rows=(\d+)", message)[1])
    assert 100 < n_rows < 2000
    assert fit(path, columns=COLUMNS, memory_limit="1 MiB", rows=n_rows).encoder_
    with pytest.raises(ValueError, match="memory_limit is 1,048,576"):
        fit(path, columns=COLUMNS, memory_limit="1 MiB", rows=n_rows + 1)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1 << 20}))
    with pytest.raises(ValueError, match="memory_limit is 1,048,576: pass rows="):  # what is free
        fit(path, columns=COLUMNS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": "length"}, "y: .*a.parquet has no column 'length'; its columns are 'x', 'group', 'town'"),
        ({"y": 3.0}, "y must be the name of a column where X names files, got a value of type float"),
        ({"sample_weight": "w"}, "sample_weight: .* has no column 'w'"),
        ({"sample_weight": np.ones(3)}, "sample_weight must be the name of a column where X names files"),
        ({"sample_weight": "size"}, "columns, y and sample_weight: 'size' is named more than once"),
        ({"groups": "x"}, "groups holds a missing value in row"),
        ({"columns": ["x", "x"]}, "columns, y and sample_weight: 'x' is named more than once"),
        ({"columns": 5}, "columns must be a list of names, got 5"),
        ({"columns": []}, "has no column to predict 'size' from"),
        ({"X_val": "a.parquet", "y_val": [1.0]}, "y_val must be the name of a column where X names files"),
        ({"memory_limit": 1.5}, "memory_limit must be a number of bytes"),
        ({"rows": 0}, "rows must be"),
    ],
)
def test_wrong_arguments_are_refused(path, arguments, message, monkeypatch):
    monkeypatch.chdir(path.parent)
    with pytest.raises(ValueError, match=message):
        fit(path, **arguments)


def test_arguments_for_files_and_for_tables_do_not_mix(path):
    frame = table(50)
    for given in ({"columns": COLUMNS}, {"rows": 5}, {"memory_limit": "1GiB"}):
        with pytest.raises(ValueError, match="columns, rows and memory_limit work only with files: pass"):
            TabularRegressor().fit(frame[COLUMNS], frame["size"], **given)
    with pytest.raises(ValueError, match="y='size' names a column, which works only with the name of a Parq"):
        TabularRegressor().fit(frame[COLUMNS], "size")
    with pytest.raises(ValueError, match=r"pass df.drop\(columns='size'\) and df\['size'\]"):
        TabularRegressor().fit(frame, "size")
    with pytest.raises(ValueError, match="X is the name of a file, .*a.parquet': pass its table"):
        fit(path).predict(path)


def test_missing_and_empty_and_foreign_files_are_refused(tmp_path, path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "empty").mkdir()
    twice = pa.Table.from_arrays([pa.array([1, 2])] * 3, ["x", "y", "x"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    write(table(10)[:0], tmp_path / "none.parquet")
    for source, message in (
        (tmp_path / "a.csv", "a.csv is not a Parquet file that can be read"),
        (tmp_path / "empty", "empty holds no Parquet file"),
        ([tmp_path / "empty", path], "empty is a folder: pass one folder, or a list of files alone"),
        (tmp_path / "none.parquet", "none.parquet has no rows"),
        (tmp_path / "twice.parquet", "twice.parquet is not .* duplicate field names"),
        ([path, path.as_uri()], "lie in different file systems: pass the files of one"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(source, "y" if "twice" in str(source) else "size")
    for source in (tmp_path / "no.parquet", (tmp_path / "no.parquet").as_uri()):
        with pytest.raises(FileNotFoundError, match=re.escape(f"there is no file {source}")):
            fit(source)


def test_columns_of_later_files_are_converted_or_refused(tmp_path):
    frame = table(100)
    write(frame, tmp_path / "a.parquet")
    write(frame.astype({"flag": int, "x": "float32"}), tmp_path / "b.parquet")
    write(frame.assign(noise=1, town=None), tmp_path / "0.parquet")  # integers, only missing values
    assert fit(tmp_path).columns_[0]["kind"] == "number"
    write(frame.assign(x="many"), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match=r"c.parquet, column 'x' cannot be read: .*'many'"):
        fit(tmp_path)
    write(frame.drop(columns="x"), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match=r"c.parquet lacks the column 'x' of the other files"):
        fit(tmp_path)


@pytest.mark.parametrize("form", ["dictionary", "compressed", "prefixes"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_small_file_of_long_texts_is_refused_before_they_take_memory(tmp_path, form, is_stream):
    size, path = 2**18 if form == "dictionary" else 2**12, tmp_path / "a.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(16_384, int)), ["x" * size])
    texts = texts if form == "dictionary" else texts.cast(pa.string())
    options = {"prefixes": {"column_encoding": {"x": "DELTA_BYTE_ARRAY"}}}.get(form, {})
    table = pa.table({"x": texts, "y": np.arange(16_384) % 2 == 0})
    pq.write_table(table, path, compression="zstd", use_dictionary=form == "dictionary", **options)
    assert path.stat().st_size < 200_000
    peak = pa.default_memory_pool().max_memory()
    with pytest.raises(ValueError, match=r"a\.parquet unpacks to more than 100 times its size: if"):
        Source.read_stream(io.BytesIO(path.read_bytes()), "a.parquet").read(["x"]) if is_stream else fit(
            path, "y"
        )
    assert pa.default_memory_pool().max_memory() < max(peak, 2**28)
    if form == "dictionary":
        assert Source.open(path).read(["x"], np.arange(3))["x"].to_pylist() == ["x" * size] * 3


def test_batches_are_limited_by_bytes(tmp_path):
    """Texts of a dictionary are counted row by row, and other columns by the file's bytes per row."""
    path, texts = tmp_path / "a.parquet", ["x" * 2**20, None, *"ab" * 10]
    codes = np.r_[np.zeros(70, int), np.arange(22)]
    noise = np.random.RandomState(0).bytes(2**25)
    columns = {"x": pa.DictionaryArray.from_arrays(codes, texts).cast(pa.large_string()), "y": [noise] * 92}
    columns["y"][5:] = [noise[:9]] * 87
    pq.write_table(pa.table(columns), path, row_group_size=92)
    source = Source.open(path)
    batches = [batch for columns in (["x"], ["y"]) for batch in source.read_batches(columns)]
    assert sum(map(len, batches)) == 2 * 92
    assert max(batch.nbytes for batch in batches) <= 2**25 + 2**20
    assert pa.Table.from_batches(batches[:1]).schema == pa.schema({"x": pa.large_string()})


def test_damaged_columns_are_named(tmp_path):
    path = write(table(3000).round({"noise": 3}), tmp_path / "a.parquet", 1500)
    group = pq.ParquetFile(path).metadata.row_group(1)
    columns = {group.column(k).path_in_schema: group.column(k) for k in range(group.num_columns)}
    data, begin = bytearray(path.read_bytes()), columns["noise"].data_page_offset + 30
    data[begin : begin + 400] = bytes(400)
    path.write_bytes(data)
    for rows in (None, 1000):
        with pytest.raises(ValueError, match=r"a.parquet, column 'noise' cannot be read: "):
            fit(path, rows=rows)


@pytest.mark.parametrize(
    ("kind", "column", "row", "value", "message"),
    [
        (TabularRegressor, "noise", 1500, np.inf, "column 'noise' holds infinity in row 1500"),
        (TabularRegressor, "size", 700, np.nan, r"the target 'size' is missing in 1 row: .*\.filter\("),
        (TabularRegressor, "size", 700, np.inf, "y contains infinity"),
        (TabularClassifier, "sort", slice(None), "low", "y holds only one class, 'low'"),
        (TabularRegressor, "weight", 30, -2.0, r"sample_weight\[30\] is -2, but weights are"),
    ],
)
def test_wrong_values_are_refused(tmp_path, kind, column, row, value, message):
    frame = table()
    frame.loc[row, column] = value
    with pytest.raises(ValueError, match=message):
        kind(preset="fast").fit(write(frame, tmp_path / "a.parquet"), TARGETS[kind], "weight")


def test_urls_that_cannot_be_read_are_named_without_password_and_signature(monkeypatch):
    assert name_source("s3://me:secret@bucket/a@b.parquet?signature=1") == "s3://bucket/a@b.parquet"
    assert name_source("abfs://container@account/a.parquet") == "abfs://container@account/a.parquet"
    with pytest.raises(ValueError, match=r"^s3:// cannot be read: ") as raised:
        fit("s3://me:secret@?signature=1")
    assert "secret" not in str(raised.value)
    if optional("fsspec"):
        message = "here://a/b cannot be read: .*here.*: pyarrow and fsspec know URL"
        with pytest.raises(ValueError, match=message):
            fit("here://a/b")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    message = "here://a/b cannot be read: pyarrow does not know here://, fsspec may: pip install fsspec"
    with pytest.raises(ImportError, match=message):
        fit("here://a/b")
