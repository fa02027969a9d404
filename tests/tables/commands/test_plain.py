"""CSV files of numbers, read without pandas: as pandas reads them, or with an error that says why not."""

import argparse
import sys

import numpy as np
import pytest

from fastnn.cli.arguments import add_reading_arguments
from fastnn.play.table import checked_table
from fastnn.tables.commands.plain import read_plain_table


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a CSV file of a text or bytes, with options and columns to leave out."""

    def read_text(text, *arguments, target="y", drop=()):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        parser = argparse.ArgumentParser()
        add_reading_arguments(parser)
        return read_plain_table(path, parser.parse_args(arguments), target, drop)

    return read_text


def columns(table):
    return {
        name: (kind, list(values))
        for name, kind, values in zip(table.names, table.kinds, table.columns, strict=True)
    }


def test_numbers_booleans_and_texts_are_told_apart(read):
    table, y, notes = read("a,b,c,d,y\n1,.5,True,red,x\n-2,1e3,False,,y\n+3, 7 ,True,blue,x\n")
    assert columns(table) == {
        "a": ("number", [1, -2, 3]),
        "b": ("number", [0.5, 1000, 7]),
        "c": ("boolean", [1, 0, 1]),
        "d": ("category", ["red", None, "blue"]),
    }
    assert (y, notes, table.n_rows) == (["x", "y", "x"], [], 3)


def test_missing_values_are_read_as_such(read):
    table, y, _ = read("a,b,y\n1,NA,yes\nnull,2,\n-,3,no\n,4", "--na", "-")
    np.testing.assert_array_equal(table.columns[0], [1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(table.columns[1], [np.nan, 2, 3, 4])
    assert y == ["yes", None, "no", None]
    table, y, _ = read("a,y\n1,NA\n,None\n-,\n", "--na", "-", "--no-default-na")
    np.testing.assert_array_equal(table.columns[0], [1, np.nan, np.nan])
    assert y == ["NA", "None", None]


@pytest.mark.parametrize(
    ("target", "values"),
    [
        (["3", "1", "2"], [3, 1, 2]),
        (["0.5", "1", "2"], [0.5, 1.0, 2.0]),
        (["True", "False", "True"], [True, False, True]),
        (["1", "x", "2"], ["1", "x", "2"]),
        (["12345678901234567890123"] * 3, [12345678901234567890123] * 3),
        (["1_000", "2", "3"], ["1_000", "2", "3"]),
    ],
)
def test_targets_have_the_type_of_their_values(read, target, values):
    _, y, _ = read("a,y\n" + "".join(f"{k},{value}\n" for k, value in enumerate(target)))
    assert y == values
    assert [type(value) for value in y] == [type(value) for value in values]


def test_the_form_of_the_file_is_found(read):
    table, y, notes = read("\ufeffa;b;y\r\n1,5;1.000,25;x\r\n2,5;2.000,5;\u00fc\r\n")
    assert columns(table) == {"a": ("number", [1.5, 2.5]), "b": ("number", [1000.25, 2000.5])}
    assert y == ["x", "ü"]
    assert notes == ["fields are separated by ';'", "decimal point ','"]
    assert read("a\tb\ty\n1\t2\tx\n")[0].names == ["a", "b"]
    _, y, notes = read("a,y\n1,\u00fc\n".encode("cp1252"))
    assert y == ["ü"]
    assert "cp1252" in notes[0]
    assert read("a,y\n1,\u00fc\n".encode("cp1250"), "--encoding", "cp1250")[1] == ["ü"]
    assert columns(read("a:y\n1'000.5:x\n", "--sep", ":", "--thousands", "'")[0]) == {
        "a": ("number", [1000.5])
    }


def test_points_stay_where_they_do_not_separate_thousands(read):
    table, y, _ = read("lat;n;price;fee;y\n52.1;1.234;1.643,5;0,5;01\n53.25;2;2,5;0,5;02\n;3;3,5;1;01\n")
    np.testing.assert_array_equal(table.columns[0], [52.1, 53.25, np.nan])
    assert [list(values) for values in table.columns[1:3]] == [[1234, 2, 3], [1643.5, 2.5, 3.5]]
    assert y == ["01", "02", "01"]


def test_the_numbers_of_the_rows_and_columns_to_drop_are_left_out(read):
    table, _, notes = read(",a,b,y\n0,5,1,x\n1,6,2,x\n2,8,3,y\n", drop=["b"])
    assert table.names == ["a"]
    assert notes == ["the first column, which numbers the rows, is left out"]
    assert read(",a,y\n0,5,x\n2,6,x\n")[0].names == ["Unnamed: 0", "a"]


def test_quotes_blank_lines_and_separators_at_the_ends_of_lines(read):
    table, y, _ = read('a,"b ""c"" d",y\n\n1,"2","x, y"\n\n3,4,"z\nw"\n')
    assert columns(table) == {"a": ("number", [1, 3]), 'b "c" d': ("number", [2, 4])}
    assert y == ["x, y", "z\nw"]
    assert read("a,b,y\n1,2,x,\n3,4,y,\n")[1] == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", [], "is empty"),
        (" \n\n", [], "is empty"),
        ("a,y\n", [], "no rows"),
        ("a,b,y\n1,2,3,4,5\n", [], "line 2 has 5 fields instead of 3"),
        ("a,a,y\n1,2,3\n", [], "more than one column named 'a'"),
        ("a,why\n1,2\n", [], "--target: .* has no column 'y'"),
        ("a,b,y\n1,2,3\ninf,2,3\n", [], "column 'a' holds infinity in row 2"),
        ("a,y\n1" + 400 * "0" + ",3\n", [], "beyond"),
        ("a,y\n1,2\0\n", [], "neither a CSV file"),
        (b"PK\x03\x04", [], "spreadsheet"),
        ("a,y\n1,\u00fc\n".encode("cp1252"), ["--encoding", "utf-8"], "is not encoded in utf-8"),
        ("a,y\n1,2\n", ["--encoding", "nowhere"], "no encoding 'nowhere'"),
        ("a,y\n1,2\n", ["--sep", "ab"], "--sep"),
        ("a,y\n1," + 200_000 * "x", [], "not a CSV file"),
    ],
)
def test_files_that_hold_no_such_table_are_refused(read, text, arguments, message):
    with pytest.raises(ValueError, match=message):
        read(text, *arguments)


def test_columns_to_drop_must_exist_and_not_be_the_target(read):
    with pytest.raises(ValueError, match="--drop: .* has no column 'c'"):
        read("a,b,y\n1,2,3\n", drop=["c"])
    with pytest.raises(ValueError, match="cannot be dropped"):
        read("a,b,y\n1,2,3\n", drop=["y"])


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (b"PAR1...", [], "a Parquet file needs pandas"),
        (b"\x1f\x8b...", [], "a compressed file needs pandas"),
        ("a,y\n1,2\n", ["--units", "$"], "--units"),
    ],
)
def test_what_needs_pandas_names_its_extra(read, monkeypatch, text, arguments, message):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=message) as caught:
        read(text, *arguments)
    assert "[cli]" in str(caught.value)


@pytest.mark.needs("pandas")
@pytest.mark.parametrize(
    "text",
    [
        "a,b,y\n1,0.1,x\n2,-7.25e-3,z\n,9007199254740993,x\n",
        ",a,b,word,y\n0,1,2,u,1\n1,3,5,v,2\n2,8,1,w,1\n",
        "a;b;y\n1,5;3;u\n2,5;4;v\n",
        "a,b,y\nTrue,1,0.5\nFalse,2,1.5\nTrue,3,NA\n",
        "lat;price;small;n;word;e;f;g;h;y\n52.1;1.643,34;0.123;1.234;1.0;0,5;0,5;0,5;0,5;01\n"
        "53.25;2;1.234;2;x;1,5;1,5;1,5;2,5;02\n54.5;,5;2.345;3;1,5;1;2;3;4;01\n",
        "a;b;y\n1,5;4;1.234\n2,5;5;2.345\n3,5;6;3\n",
        "a,b,y\n1,2,01\n3,4,02\n5,6,01\n",
        "a,b,y\n1,2,12345678901234567\n3,4,12345678901234568\n5,6,\n",
    ],
)
def test_the_playgrounds_table_is_that_of_pandas(read, tmp_path, text):
    from fastnn.tables.commands.problem import posed_problem
    from fastnn.tables.commands.reading import read_table

    table, y, _ = read(text)
    plain = checked_table(table, y, "y")
    parser = argparse.ArgumentParser()
    add_reading_arguments(parser)
    problem = posed_problem(
        read_table(tmp_path / "table.csv", parser.parse_args([]), target="y"), "y", None, (), None
    )
    other = checked_table(problem.frame, problem.target, "y")
    assert (plain.kind, plain.classes, list(plain.columns)) == (
        other.kind,
        other.classes,
        list(other.columns),
    )
    np.testing.assert_array_equal(plain.y, other.y)
    for name, values in plain.columns.items():
        np.testing.assert_array_equal(values, other.columns[name])
