"""Tables from files: separators, decimal points, encodings, compression, dates, and broken files."""

import argparse
import bz2
import gzip
import io
import lzma
import os
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from extras import all_need, optional

from fastnn.cli.arguments import add_reading_arguments, names
from fastnn.tables.commands.reading import found_decimal, found_separator, given_names, read_table
from fastnn.tables.commands.texts import hint

pytestmark = all_need("pandas")
pd = optional("pandas")

FRAME = pd.DataFrame(
    {"name": ["Müller", "Öz", "a,b;c", "x"], "size": [1.5, 2.25, np.nan, -3.0], "n": [1, 2, 3, 5]}
)


def options(*arguments):
    """Parse arguments of the command line that concern the reading of tables."""
    parser = argparse.ArgumentParser()
    add_reading_arguments(parser)
    return parser.parse_args(arguments)


def read(path, *arguments, **more):
    return read_table(path, options(*arguments), **more)


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_separator_encoding_and_decimal_point_are_detected(sep, encoding, tmp_path):
    path = tmp_path / "t.csv"
    for decimal in {".", "." if sep == "," else ","}:
        FRAME.to_csv(path, sep=sep, encoding=encoding, decimal=decimal, index=False)
        found = read(path)
        pd.testing.assert_frame_equal(found.frame, FRAME)
        assert any("not UTF-8" in note for note in found.notes) == (encoding == "cp1252")
        assert any("separated by" in note for note in found.notes) == (sep != ",")
        assert any("decimal point ','" in note for note in found.notes) == (decimal == ",")


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "-"])
def test_compressed_files_and_standard_input_are_read(packed, name, tmp_path, monkeypatch):
    content = packed(FRAME.to_csv(index=False).encode())
    path = name
    if name == "-":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    else:
        path = tmp_path / name
        path.write_bytes(content)
    pd.testing.assert_frame_equal(read(path).frame, FRAME)


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])
def test_little_of_a_compressed_file_is_unpacked_to_find_its_form(packed, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(packed(bytes(1 << 25)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="is neither a CSV file nor a Parquet file"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 24  # of which the dictionary of xz takes half


def test_closed_standard_input_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="standard input is closed: name a file"):
        read("-")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes with the names of files")
def test_pipes_are_read(tmp_path):
    """The shell passes the output of a command, <(...), as the name of a pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("a;b\n1;2\n3;4\n",))
    writer.start()
    found = read(path)
    writer.join()
    assert found.frame.to_dict("list") == {"a": [1, 3], "b": [2, 4]}


@pytest.mark.needs("pyarrow")
def test_parquet_files_are_read_with_a_named_index_as_a_column(tmp_path):
    path = tmp_path / "t.parquet"
    FRAME.to_parquet(path)
    pd.testing.assert_frame_equal(read(path).frame, FRAME)
    FRAME.set_index("name").to_parquet(path)
    pd.testing.assert_frame_equal(read(path).frame, FRAME)
    FRAME.iloc[::-1].to_parquet(path)
    pd.testing.assert_frame_equal(read(path).frame, FRAME.iloc[::-1].reset_index(drop=True))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="t.parquet is a damaged Parquet file"):
        read(path)


@pytest.mark.needs("pyarrow")
def test_a_folder_whose_files_differ_in_the_type_of_a_column_is_refused_by_name(tmp_path):
    for name, values in (("0", [1, 2]), ("1", ["a", "b"])):
        pd.DataFrame({"x": [0.5, 1.5], "y": values}).to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(ValueError, match=r"1\.parquet, row group 0: column 'y' should hold int64 .* row 0 "):
        read(tmp_path)


def test_options_overrule_what_is_detected(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1;5,x\n2;5,?\n", encoding="utf-8")
    found = read(path, "--decimal", ";", "--na", "?,x").frame
    assert found["a"].tolist() == [1.5, 2.5]
    assert found["b"].isna().all()
    for encoding in ("cp1252", "utf-16-le", "utf-32"):
        path.write_bytes("a,b\n1,é\n".encode(encoding))
        assert read(path, "--encoding", encoding).frame["b"].tolist() == ["é"]


def test_lines_may_end_with_a_separator(tmp_path):
    path = tmp_path / "t.csv"
    for header in ("a,b", "a,b,"):
        path.write_text(f"{header}\n1,2,\n3,4,\n", encoding="utf-8")
        assert read(path).frame[["a", "b"]].to_numpy().tolist() == [[1, 2], [3, 4]]


def test_points_between_thousands_are_removed_where_the_decimal_point_is_a_comma(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1.234,5;x\n2,5;y\n", encoding="utf-8")
    assert read(path).frame["a"].tolist() == [1234.5, 2.5]


def test_points_stay_where_they_do_not_separate_thousands(tmp_path):
    path = tmp_path / "t.csv"
    columns = {  # fields, and what they are read as
        "lat": (["52.1", "53.250", "58.270"], [52.1, 53.25, 58.27]),
        "price": (["1.643,34", "547,5", "-2,5e1"], [1643.34, 547.5, -25]),
        "fee": (["547,78", "1,5", "2"], [547.78, 1.5, 2]),
        "version": (["1.0.0", "1.0.1", "1.1.0"], ["1.0.0", "1.0.1", "1.1.0"]),
        "big": (["1.234.567", "2", "3.000"], [1234567, 2, 3000]),
        "n": (["1.234", "567", "2.000"], [1234, 567, 2000]),
        "small": (["0.123", "1.234", "2.345"], [0.123, 1.234, 2.345]),
        "mixed": (["52.1", "3,5", "4"], ["52.1", "3,5", "4"]),
        **{f"weight {k}": (["0,5", "0,25", "1,5"], [0.5, 0.25, 1.5]) for k in range(8)},
    }
    fields = {name: given for name, (given, _) in columns.items()}
    dates = {"day": ["01.01.2010", "02.01.2010", "31.12.2010"], "y": ["1.001", "", "2.001"]}
    pd.DataFrame(fields | dates).to_csv(path, sep=";", index=False)
    found = read(path, "--date-format", "%d.%m.%Y", target="y")
    assert found.frame["day"].dt.day.tolist() == [1, 2, 31]
    assert found.frame["y"].dropna().tolist() == [1001, 2001]
    for name, (_, values) in columns.items():
        assert found.frame[name].tolist() == values, name
    assert found.frame["n"].dtype == "int64"
    assert found.notes[2:] == ["points separate thousands in 'n', 'y'"]
    path.write_text("a;b\n1.234,5 €;1,5\n52 €;2,5\n", encoding="utf-8")
    assert read(path, "--units", "€").frame["a"].tolist() == [1234.5, 52]


def test_the_separator_of_thousands_is_left_out_of_all_columns_if_the_user_names_it(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("lat;fee;c\n52.1;1,5;0,5\n53.250;2,5;0,5\n", encoding="utf-8")
    assert read(path, "--thousands", ".").frame["lat"].tolist() == [521, 53250]
    assert read(path, "--thousands", "").frame["lat"].tolist() == [52.1, 53.25]


@pytest.mark.parametrize(
    ("texts", "task", "values"),
    [
        (["52.1", "53.5", ""], "classification", ["52.1", "53.5"]),
        (["1.643,5", "2", ""], "classification", ["1643.5", "2"]),
        (["9.007.199.254.740.993", "2", ""], None, [9007199254740993, 2]),
    ],
)
def test_targets_with_points_and_decimal_commas_are_not_rounded(texts, task, values, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;y\n" + "".join(f"1,5;{text}\n" for text in texts), encoding="utf-8")
    assert read(path, target="y", task=task).frame["y"].dropna().tolist() == values


@pytest.mark.parametrize(
    ("texts", "task", "values"),
    [
        (["01", "02", "10"], None, ["01", "02", "10"]),
        (["01", "", "02"], "classification", ["01", "02"]),
        (["1", "2", "0"], None, [1, 2, 0]),
        (["01", "02", "10"], "regression", [1, 2, 10]),
        ([f"{k:02d}" for k in range(12)], None, [*range(12)]),
        ([f"{k:02d}" for k in range(12)], "classification", [f"{k:02d}" for k in range(12)]),
    ],
)
def test_classes_may_begin_with_0(texts, task, values, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"1,{text}\n" for text in texts), encoding="utf-8")
    assert read(path, target="y", task=task).frame["y"].dropna().tolist() == values


def test_dates_in_columns_that_are_named_as_text_stay_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("renewed,since\n2024-01-01,2024-01-01\n2024-02-01,2024-02-01\n", encoding="utf-8")
    found = read(path, text_columns={"renewed": ()}).frame
    assert found["renewed"].tolist() == ["2024-01-01", "2024-02-01"]
    assert found["since"].dtype.kind == "M"


def test_quoted_fields_may_follow_a_space(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a, b\n1, "x, y"\n2, "z, w"\n', encoding="utf-8")
    assert read(path).frame["b"].tolist() == ["x, y", "z, w"]


def test_names_of_columns_are_given_as_in_a_csv_file():
    assert names('a, b ,"c,d",a,," "') == ("a", "b ", "c,d")
    assert names("") == ()
    assert given_names(("a ", "b ", "b", "c "), ["a ", "b"]) == ["a ", "b", "c"]
    with pytest.raises(argparse.ArgumentTypeError, match="as in a line of a CSV file"):
        names("a\nb")


@pytest.mark.parametrize(
    ("texts", "arguments", "is_date"),
    [
        (["2024-01-31", "2023-12-01"], [], True),
        (["2024-01-31 12:30", "2023-12-01 00:00:01"], [], True),
        (["2024-01-31T12:30:00Z", "2023-12-01T00:00:00Z"], [], True),
        (["2024-01-31", "", "2023-12-01"], [], True),
        (["2024-01-31", "unknown"], [], False),
        (["31/01/2024", "01/12/2023"], [], False),
        (["31/01/2024", "01/12/2023"], ["--date-format", "%d/%m/%Y"], True),
        (["2024-13-31", "2023-12-01"], [], False),
    ],
)
def test_iso_dates_are_recognised_and_others_by_their_format(texts, arguments, is_date, tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"d": texts, "n": range(len(texts))}).to_csv(path, index=False)
    found = read(path, *arguments).frame["d"]
    assert (found.dtype.kind == "M" or "datetime" in str(found.dtype)) == is_date
    if is_date:
        assert (found.dropna().dt.year >= 2023).all()


@pytest.mark.parametrize("format", ["%", "%Q", "%d/%d", "%z%z", "%G-%V"])
def test_impossible_formats_of_dates_are_refused(format, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("d,n\n31/01/2024,1\n01/12/2023,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"--date-format '{format}': "):
        read(path, "--date-format", format)


def test_columns_that_are_named_as_text_stay_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("zone,n\n01,1\n02,2\n", encoding="utf-8")
    assert read(path).frame["zone"].tolist() == [1, 2]
    assert read(path, text_columns={"zone": (), "elsewhere": ()}).frame["zone"].tolist() == ["01", "02"]


def test_a_first_column_that_numbers_the_rows_is_left_out(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv")
    found = read(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(found.frame, FRAME)
    assert found.notes == ["the first column, which numbers the rows, is left out"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b\n", "has a header but no rows"),
        (b"a,b\n1,2\n1,2,3\n", "line 3 has 3 fields instead of 2, separated by ','"),
        (b"a,b\n1,2,3\n4,5,6\n", "the lines have more fields than the header"),
        (b"PK\x03\x04abc", "is a ZIP archive or a spreadsheet"),
        (b"(\xb5/\xfdabc", "is compressed by Zstandard"),
        (b"a,\0\n1,2\n", "is neither a CSV file nor a Parquet file"),
        (gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-30], "is damaged"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"\x1f\x8bbroken", "is damaged"),
    ],
)
def test_files_without_a_table_are_refused(content, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"t.csv.*{message}"):
        read(path)


def test_classes_that_are_read_as_missing_values_are_noted_and_can_be_kept(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("size,level\n1,None\nNA,high\n3,\n,None\n5,NA\n")
    found = read(path, target="level")
    assert found.frame["level"].isna().tolist() == [True, False, True, True, True]
    assert found.notes == [
        "the target 'level' holds 'None', 'NA' in 3 rows, read as missing values: "
        "--no-default-na makes classes of such texts"
    ]
    found = read(path, "--na", "NA", "--no-default-na", target="level")
    assert found.frame["level"].fillna("").tolist() == ["None", "high", "", "None", ""]
    assert found.frame["size"].dtype == float
    assert not found.notes
    path.write_text("size,level\n1,NA\n2,high\n3,\n")
    assert not read(path, target="level", task="regression").notes
    path.write_text("size,level\n1,x\n2,high\n3,\n")
    assert not read(path, target="level").notes
    for classes in (["1", "2"], ["01", "02"], ["True", "False"]):
        path.write_text("size,level\n" + "".join(f"{k},{[*classes, 'None'][k % 3]}\n" for k in range(9)))
        assert "holds 'None' in 3 rows" in read(path, target="level").notes[0]


@pytest.mark.parametrize(
    ("text", "arguments", "values"),
    [
        ("a;b\n13.772;23,4\n6.558;78,1\n252;5,5\n", [], {"a": [13772, 6558, 252], "b": [23.4, 78.1, 5.5]}),
        ("a;b\n1,5;0.125 %\n2,5;0.5 %\n3,5;1.250 %\n", ["--units", "%"], {"b": [0.125, 0.5, 1.25]}),
        ("a;b\n1,5;1.125 %\n2,5;0,5 %\n3,5;1.250 %\n", ["--units", "%"], {"b": [1125, 0.5, 1250]}),
        ('a,b\n"0,785",1\n"1,250",2\n', ["--decimal", ","], {"a": [0.785, 1.25]}),
        ("a,b\nx,1\ny,2\nz,3\n3,4\n", ["--na", "x,y", "--na", "z"], {"a": [np.nan] * 3 + [3]}),
        ('a,b\n"x, y",1\n3,4\n', ["--na", '"x, y"'], {"a": [np.nan, 3]}),
    ],
)
def test_numbers_in_many_forms_are_read_as_such(text, arguments, values, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    frame = read(tmp_path / "t.csv", *arguments).frame
    for name, expected in values.items():
        np.testing.assert_array_equal(frame[name].to_numpy(float), expected)


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        (['"502,40 €"', '"1.502,40 €"', '"3,20 €"'], "--units '€' reads it as numbers"),
        (["$5", "$7.5", "-"] + ["$1"] * 9, "--units '$' --na=- reads it as numbers"),
        ([f"{k}.5" for k in range(3000)] + ["n.v."], "beside 'n.v.' (first in row 3001): --na n.v. reads it"),
        (['"0,785"', '"5,97"', '"1,250"'], "--decimal , reads it as numbers"),
        (['"1,785"', '"5,970.5"', "12"], "--thousands , reads it as numbers"),
    ],
)
def test_advice_on_texts_that_are_numbers_suits_the_file(fields, advice, tmp_path):
    sep = ";" if "€" in fields[0] else ","
    rows = "".join(f"{field}{sep}{'1,5' if sep == ';' else k}\n" for k, field in enumerate(fields))
    (tmp_path / "t.csv").write_text(f"a{sep}b\n{rows}")
    found = read(tmp_path / "t.csv")
    assert advice in hint(found.frame["a"], found.is_csv, found.decimal)[1]
    assert hint(pd.Series(["1.5", "2"]), False)[1].endswith("convert it")


def test_points_that_may_separate_thousands_are_noted(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1.500;2\n2.500;3\n")
    assert any("--decimal , --thousands ." in note for note in read(tmp_path / "t.csv").notes)
    found = read(tmp_path / "t.csv", "--decimal", ",", "--thousands", ".")
    assert found.frame["a"].tolist() == [1500, 2500]
    (tmp_path / "t.csv").write_text("a;b\n1.500;2\n2.5;3\n")
    assert not any("thousands" in note for note in read(tmp_path / "t.csv").notes)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file .*none.csv"):
        read(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="is a folder"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sep", "ab"], "--sep must be one character"),
        (["--decimal", ".."], "--decimal must be one character, got '..'"),
        (["--encoding", "none"], "there is no encoding 'none'"),
        (["--encoding", "ascii"], "is not encoded in ascii, as --encoding says:"),
        (["--encoding", "idna"], "--encoding: 'idna' is not an encoding of files: name another"),
        (["--encoding", "undefined"], "--encoding: 'undefined' is not an encoding of files"),
    ],
)
def test_impossible_options_are_refused(arguments, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,é\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read(path, *arguments)


def test_names_that_the_header_has_twice_are_noted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a;a; a;"t";t;;\n1;2;3;4;5;6;7\n', encoding="utf-8")
    found = read(path)
    assert found.frame.columns.tolist()[:5] == ["a", "a.1", "a.2", "t", "t.1"]
    assert found.notes[1:] == [
        "the header has more than one column named 'a': the others become 'a.1', 'a.2'",
        "the header has more than one column named 't': the others become 't.1'",
    ]
    for header in ("a,a.1,b", "\ta,a.1,b", '"c\nd",a,b', '"c\nd","c\nd",b'):
        path.write_text(f"{header}\n1,2,3\n", encoding="utf-8")
        assert not [note for note in read(path).notes if "'a" in note or "'c\\nd'" in note]


@pytest.mark.parametrize(
    ("form", "notes"),
    [
        ("foo", ["no column holds dates in the format 'foo' of --date-format"]),
        ("%d/%m/%Y", ["no column holds dates in the format '%d/%m/%Y' of --date-format"]),
        ("%Y-%m-%d", []),
    ],
)
def test_a_form_of_dates_that_no_column_has_is_noted(form, notes, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,since\nx,2024-12-31\ny,2024-01-02\n", encoding="utf-8")
    assert read(path, "--date-format", form).notes == notes
    path.write_text("a,since\nx,\ny,\n", encoding="utf-8")  # dates that are all missing
    assert read(path, "--date-format", form).notes == []


def test_separators_and_decimal_points_are_found_in_odd_lines():
    assert found_separator([]) == ","
    assert found_separator(["a", "b"]) == ","
    assert found_separator(['"a,b";c', '"d,e";f']) == ";"
    assert found_separator(["a|b,c", "1|2", "3|4,5"]) == "|"
    assert found_decimal(["a;b", "1,5;2.5", "1,5;3,5"], ";") == ","
    assert found_decimal(["a;b", "1,5;2.5"], ";") == ","
    assert found_decimal(["a;b", "1.5;2"], ";") == "."


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0b", "\x1d"])
def test_only_ends_of_lines_divide_lines(mark, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"a{mark}b;c;d\n" + f"x{mark}y;1,5;2\n" * 3, encoding="utf-8")
    found = read(path).frame
    assert found.columns.tolist() == [f"a{mark}b", "c", "d"]
    assert found["c"].tolist() == [1.5] * 3


def test_lines_may_have_any_length(tmp_path):
    """The module csv limits fields to 131,072 characters, and a line without the separator is one field."""
    path, n_columns = tmp_path / "t.csv", 11_000
    names = ",".join(f"feature_{k:05d}" for k in range(n_columns))
    path.write_text(f"{names}\n{'1,' * (n_columns - 1)}1\n", encoding="utf-8")
    assert len(names) > 131_072
    assert read(path).frame.shape == (1, n_columns)


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_that_are_damaged_near_the_end_are_refused(packed, tmp_path):
    numbers = np.random.RandomState(0).standard_normal((30_000, 2))
    content = bytearray(packed("\n".join(["a,b", *(f"{a},{b}" for a, b in numbers)]).encode()))
    place = len(content) * 9 // 10
    assert place > 300_000
    content[place : place + 2000] = bytes(2000)
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.csv"):
        read(path)
