"""`ParquetRows`: rows in the order of the files, pieces in a random order, messages that name the place."""

import re
from collections import Counter
from contextlib import closing
from decimal import Decimal

import hypothesis.strategies as st
import numpy as np
import pytest
from extras import all_need, optional, since
from hypothesis import given
from parquet_files import COLUMNS, table, written

from fastnn.system.frames import as_table
from fastnn.tables.streaming import parquet
from fastnn.tables.streaming.parquet import Group, GroupReader, ParquetRows
from fastnn.tables.streaming.rows import shuffled_pieces
from fastnn.tables.streaming.source import is_files, read_dataset

pytestmark = all_need("pandas", "pyarrow")
pd = optional("pandas")
pa = optional("pyarrow")
pq = optional("pyarrow.parquet")
pds = optional("pyarrow.dataset")


def test_rows_are_read_in_their_order(tmp_path):
    frame = table(1000)
    files = ParquetRows(written(frame, tmp_path / "a.parquet"), "size", "weight", COLUMNS)
    assert [group.n_rows for group in files.groups] == [300, 300, 300, 100]
    block = files.read()
    np.testing.assert_array_equal(block.rows, np.arange(1000))
    pd.testing.assert_frame_equal(block.table.to_pandas(), frame[COLUMNS], check_dtype=False)
    np.testing.assert_array_equal(files.numbers(block), frame["size"])
    np.testing.assert_array_equal(block.weights, frame["weight"])
    some = np.array([0, 5, 299, 300, 999])
    chosen = files.read(some)
    np.testing.assert_array_equal(chosen.rows, some)
    np.testing.assert_array_equal(files.numbers(chosen), frame["size"][some])


@pytest.mark.parametrize("form", ["path", "text", "paths", "folder", "dataset"])
def test_several_files_are_one_table(tmp_path, form):
    frame = table(500)
    paths = [written(frame[:200], tmp_path / "a.parquet"), written(frame[200:], tmp_path / "b.parquet", 77)]
    source = {
        "path": paths[0], "text": str(paths[0]), "paths": paths, "folder": tmp_path,
        "dataset": pds.dataset(tmp_path),
    }[form]  # fmt: skip
    assert is_files(source)
    files = ParquetRows(source, "sort", columns=COLUMNS)
    values, places = files.classes(files.read())
    np.testing.assert_array_equal(values[places], frame["sort"][: files.n_rows])
    assert files.n_rows == (200 if form in ("path", "text") else 500)


def test_partitions_in_names_of_folders_are_columns(tmp_path):
    frame = table(400)
    pds.write_dataset(
        pa.Table.from_pandas(frame), tmp_path / "parts", format="parquet",
        partitioning=pds.partitioning(pa.schema([("group", pa.string())]), flavor="hive"),
    )  # fmt: skip
    files = ParquetRows(tmp_path / "parts", "size")
    read = files.read().table.to_pandas()
    assert Counter(read["group"]) == Counter(frame["group"])
    by_noise = frame.set_index("noise")["group"]
    assert (by_noise[read["noise"]].to_numpy() == read["group"].to_numpy()).all()


def test_tables_are_no_files():
    for other in ([], [["a"]], [1.0], np.zeros((2, 2)), table(5), pa.table({"a": [1]})):
        assert not is_files(other)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12), capacity=st.integers(1, 60),
    n_open=st.integers(1, 5), seed=st.integers(0, 100),
)  # fmt: skip
def test_an_epoch_has_every_row_once(sizes, capacity, n_open, seed):
    ends = np.cumsum(sizes).tolist()
    groups = [
        Group(0, None, (), k, end - n, end - n, n) for k, (end, n) in enumerate(zip(ends, sizes, strict=True))
    ]
    buffers = list(shuffled_pieces(groups, capacity, n_open, np.random.RandomState(seed)))
    assert [sum(piece.n_rows for piece in pieces) for pieces in buffers[:-1]] == [capacity] * (
        len(buffers) - 1
    )
    done = dict.fromkeys(groups, 0)
    for pieces in buffers:
        for piece in pieces:  # a reader decodes the rows of a group in their order
            assert piece.first == done[piece.group]
            done[piece.group] += piece.n_rows
            running = [group for group, count in done.items() if 0 < count < group.n_rows]
            assert len(running) <= n_open
    assert all(count == group.n_rows for group, count in done.items())
    again = list(shuffled_pieces(groups, capacity, n_open, np.random.RandomState(seed)))
    assert again == buffers


def test_a_buffer_mixes_several_row_groups():
    groups = [Group(0, None, (), k, 100 * k, 100 * k, 100) for k in range(10)]
    first = next(shuffled_pieces(groups, 40, 4, np.random.RandomState(0)))
    assert Counter(piece.n_rows for piece in first) == {10: 4}
    assert len({piece.group for piece in first}) == 4


def test_a_reader_skips_and_takes_rows_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_ROWS", 16)
    monkeypatch.setattr(parquet, "MIN_ROWS", 16)
    frame = table(250)
    files = ParquetRows(written(frame, tmp_path / "a.parquet", 100), "size", columns=COLUMNS)
    with closing(GroupReader(files, files.groups[1], 21)) as reader:
        rows = np.concatenate([block.rows for n in (3, 40, 36) for block in reader.take(n)])
    np.testing.assert_array_equal(rows, np.arange(121, 200))


def test_text_columns_are_read_as_dates_on_request(tmp_path):
    frame = table(50).astype({"day": str})
    path = written(frame, tmp_path / "a.parquet")
    read = ParquetRows(path, "size", columns=COLUMNS, dates=["day"]).read()
    np.testing.assert_array_equal(read.table["day"].to_numpy(), pd.to_datetime(frame["day"]).to_numpy())
    frame.loc[7, "day"] = "soon"
    path = written(frame, tmp_path / "b.parquet")
    with pytest.raises(
        ValueError,
        match=r"b.parquet, row group 0: column 'day' should hold .* row 7 of the file holds 'soon'",
    ):
        ParquetRows(path, "size", columns=COLUMNS, dates=["day"]).read()


def test_damaged_columns_are_named(tmp_path):
    path = written(table(3000).round({"noise": 3}), tmp_path / "a.parquet", 1500)
    metadata = pq.ParquetFile(path).metadata
    names = [metadata.row_group(1).column(k).path_in_schema for k in range(metadata.num_columns)]
    column = metadata.row_group(1).column(names.index("noise"))
    data = bytearray(path.read_bytes())
    begin = column.data_page_offset + 30
    data[begin : begin + 400] = bytes(400)
    path.write_bytes(data)
    files = ParquetRows(path, "size")
    with pytest.raises(ValueError, match=r"a.parquet, row group 1, column 'noise': the file is damaged"):
        files.read()


def test_columns_of_later_files_are_converted_or_refused(tmp_path):
    frame = table(100)
    written(frame, tmp_path / "a.parquet")
    written(frame.astype({"flag": int, "x": "float32"}), tmp_path / "b.parquet")
    files = ParquetRows(tmp_path, "size", columns=["x", "flag"])
    assert files.read().table["x"].to_numpy().dtype == np.float64
    written(frame.assign(x="many"), tmp_path / "c.parquet")
    with pytest.raises(
        ValueError, match=r"c.parquet, row group 0: column 'x' should hold double as .* row 0 of"
    ):
        ParquetRows(tmp_path, "size", columns=["x", "flag"]).read()
    written(frame.drop(columns="x"), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match=r"c.parquet lacks the column 'x' of the other files"):
        ParquetRows(tmp_path, "size", columns=["x", "flag"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("length",), "y: .*a.parquet has no column 'length'; its columns are 'x', 'group', 'town'"),
        (("size", "w"), "sample_weight: .* has no column 'w'"),
        (("size", None, ["x", "z"]), "columns: .* has no column 'z'"),
        (("size", None, ["x", "size"]), "columns: the target 'size' and the weights cannot be predicted"),
        (("size", None, ["x", "x"]), "columns holds 'x' more than once"),
        (("size", None, "x"), "columns must be a list of names, got 'x'"),
        (("size", None, {"x"}), "columns must be a list of names, got {'x'}"),
        (("size", None, 5), "columns must be a list of names, got 5"),
        (("size", "size"), "sample_weight: 'size' is the target, and cannot hold the weights as well"),
        (("size", None, []), "has no column to predict 'size' from"),
        ((3.0,), "y must be the name of a column where X names files, got 3.0"),
        (("size", np.ones(3)), "sample_weight must be the name of a column"),
    ],
)
def test_wrong_columns_are_refused(tmp_path, arguments, message):
    path = written(table(20), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        ParquetRows(path, *arguments)


def test_missing_and_empty_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is no file {tmp_path / 'none.parquet'}")):
        ParquetRows(tmp_path / "none.parquet", "y")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"a.csv is not a Parquet file that can be read"):
        ParquetRows(tmp_path / "a.csv", "y")
    with pytest.raises(ValueError, match=r"is a dataset whose files are not Parquet"):
        ParquetRows(pds.dataset(tmp_path / "a.csv", format="csv"), "y")
    path = written(table(100), tmp_path / "a.parquet")
    filtered = pds.dataset(path).filter(pds.field("x") > 0)
    with pytest.raises(ValueError, match=r"fragments of a filtered or projected dataset"):
        ParquetRows(filtered, "size")
    with pytest.raises(ValueError, match=r"a.parquet has no rows"):
        ParquetRows(written(table(10)[:0], path), "size")


def test_the_type_of_a_column_holds_the_values_of_all_files(tmp_path):
    """In either order of the files, integers and floats give floats, missing values and text give text."""
    n = 20
    whole = {"x": np.arange(n), "t": pa.nulls(n), "day": pa.array(range(n), pa.timestamp("us"))}
    mixed = {"x": np.arange(n) + 0.5, "t": ["a"] * n, "day": pa.array(range(n), pa.timestamp("ns"))}
    for k, columns in enumerate((whole, mixed)):
        pq.write_table(pa.table(columns | {"y": np.arange(n)}), tmp_path / f"{k}.parquet")
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for source in (paths, paths[::-1], tmp_path):
        read = ParquetRows(source, "y").read().table
        assert [str(kind) for kind in read.schema.types] == ["double", "string", "timestamp[ns]"]
        np.testing.assert_array_equal(np.sort(read["x"].to_numpy()), np.arange(0, n, 0.5))
    whole_table = read_dataset(tmp_path)
    assert whole_table.schema.field("x").type == pa.float64()
    assert whole_table.num_rows == 2 * n


def test_views_of_text_and_bytes_are_read_as_such():
    for view, kind in ((pa.string_view(), pa.string()), (pa.binary_view(), pa.binary())):
        assert parquet._takeable(pa, view) == kind


@since("pyarrow", "21")  # earlier versions cannot write views to Parquet files
def test_columns_of_string_views_are_text(tmp_path):
    texts = pa.array(["a", "b", None] * 5, pa.string_view())
    pq.write_table(pa.table({"t": texts, "y": np.arange(15)}), tmp_path / "a.parquet")
    files = ParquetRows(tmp_path / "a.parquet", "y")
    assert files.types["t"] == pa.string()
    assert files.read(np.array([1, 2])).table["t"].to_pylist() == ["b", None]


def test_dictionaries_of_numbers_are_numbers(tmp_path):
    """A dataset may declare any column a dictionary, and pyarrow makes dictionaries of text alone."""
    frame = pd.DataFrame({"x": [1.5, 2.5, 1.5], "kind": ["a", "b", "a"], "size": [3, 4, 3], "weight": 1.0})
    path = written(frame, tmp_path / "a.parquet")
    fields = zip(frame, (pa.float64(), pa.string(), pa.int64(), pa.float64()), strict=True)
    schema = pa.schema([(name, pa.dictionary(pa.int32(), kind)) for name, kind in fields])
    files = ParquetRows(pds.dataset(path, schema=schema), "size", "weight")
    block = files.read()
    read = as_table(block.table)
    assert read.kinds == ["number", "category"]
    assert read.columns[0].tolist() == [1.5, 2.5, 1.5]
    assert files.numbers(block).tolist() == [3, 4, 3]
    assert files.types["x"] == pa.float64()


def test_files_that_change_while_they_are_read_are_refused(tmp_path):
    path = written(table(700), tmp_path / "a.parquet")
    files = ParquetRows(path, "size")
    written(table(700, seed=1), path)
    with pytest.raises(ValueError, match=r"a.parquet has changed while it was read: begin again"):
        files.read()
    path.unlink()
    with pytest.raises(ValueError, match=r"a.parquet has changed while it was read"):
        files.read()


def test_a_file_that_is_truncated_names_no_column(tmp_path, monkeypatch):
    path = written(table(700), tmp_path / "a.parquet")
    files = ParquetRows(path, "size")
    monkeypatch.setattr(parquet, "_stamp", lambda _: files.groups[0].stamp)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"a.parquet, row group 0: the file is damaged"):
        files.read()


def test_integers_too_large_for_floats_are_rounded(tmp_path):
    large = np.array([2**60 + 1, 3, 2**62 + 1] * 5)
    pq.write_table(pa.table({"x": large, "y": large}), tmp_path / "a.parquet")
    block = ParquetRows(tmp_path / "a.parquet", "y", columns=["x"]).read()
    np.testing.assert_array_equal(as_table(block.table).columns[0], large.astype(float))
    files = ParquetRows(tmp_path / "a.parquet", "y", columns=["x"])
    np.testing.assert_array_equal(files.numbers(block), large.astype(float))


def test_decimals_are_classes_and_bytes_and_lists_are_not(tmp_path):
    decimals = pa.array([Decimal(k % 3) for k in range(15)], pa.decimal128(10, 0))
    columns = {"x": np.arange(15), "sort": decimals, "raw": pa.array([b"a"] * 15), "parts": [[1]] * 15}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    files = ParquetRows(tmp_path / "a.parquet", "sort", columns=["x"])
    values, places = files.classes(files.read())
    np.testing.assert_array_equal(values[places], np.arange(15) % 3)
    for name, kind in (("raw", "binary"), ("parts", "list")):
        files = ParquetRows(tmp_path / "a.parquet", name, columns=["x"])
        with pytest.raises(
            ValueError, match=f"the target '{name}' holds {kind}.*: choose a column of numbers"
        ):
            files.classes(files.read())


def test_empty_folders_and_folders_among_files_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no Parquet file"):
        ParquetRows(tmp_path / "empty", "y")
    path = written(table(20), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"empty is a folder: pass one folder, or a list of files alone"):
        ParquetRows([path, tmp_path / "empty"], "size")


def test_chosen_rows_without_a_target_are_left_out(tmp_path):
    """No neighbour takes the place of a row that is left out."""
    frame = table(1000)
    frame.loc[::3, "size"] = np.nan
    path = written(frame, tmp_path / "a.parquet")
    rows = np.arange(100, 1000, 2)
    block = ParquetRows(path, "size", skips_missing=True).read(rows)
    expected = rows[frame["size"].notna().to_numpy()[rows]]
    np.testing.assert_array_equal(block.rows, expected)
    np.testing.assert_array_equal(block.target.to_numpy(), frame["size"].to_numpy()[expected])
