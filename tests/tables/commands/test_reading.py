"""Tables from files: the form of CSV files, compression, dates, remembered forms, and broken files."""

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

from fastnn.system.arguments import parse_names
from fastnn.tables.commands import reading
from fastnn.tables.commands.hints import find_hint
from fastnn.tables.commands.reading import Columns, read_table, resolve_names
from fastnn.tables.options import ReadOptions

pytestmark = all_need("pandas")
pd = optional("pandas")

FRAME = pd.DataFrame(
    {"name": ["Müller", "Öz", "a,b;c", "x"], "size": [1.5, 2.25, np.nan, -3.0], "n": [1, 2, 3, 5]}
)
PACKED = pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.csv"


def options(*arguments):
    """Return the options of a command line that concern the reading of tables."""
    parser = argparse.ArgumentParser()
    ReadOptions.add_arguments(parser)
    return ReadOptions.from_arguments(parser.parse_args(arguments))


def read(path, *arguments, record=None, **more):
    return read_table(path, options(*arguments).follow(record), Columns(**more))


def read_text(path, text, *arguments, **more):
    path.write_text(text, encoding="utf-8")
    return read(path, *arguments, **more)


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-16-le"])
def test_separator_encoding_and_decimal_point_are_detected(sep, encoding, path):
    for decimal in {".", "." if sep == "," else ","}:
        FRAME.to_csv(path, sep=sep, encoding=encoding, decimal=decimal, index=False)
        found = read(path, *(["--encoding", encoding] if encoding == "utf-16-le" else []))
        pd.testing.assert_frame_equal(found.frame, FRAME)
        assert any("not UTF-8" in note for note in found.notes) == (encoding == "cp1252")
        assert any("separated by" in note for note in found.notes) == (sep != ",")
        assert any("decimal point ','" in note for note in found.notes) == (decimal == ",")


@PACKED
@pytest.mark.parametrize("name", ["t.csv.gz", "-"])
def test_compressed_files_and_standard_input_are_read(packed, name, tmp_path, monkeypatch):
    content = packed(FRAME.to_csv(index=False).encode())
    if name == "-":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    else:
        name = tmp_path / name
        name.write_bytes(content)
    pd.testing.assert_frame_equal(read(name).frame, FRAME)


@PACKED
def test_little_of_a_compressed_file_is_unpacked_to_find_its_form(packed, path):
    path.write_bytes(packed(bytes(20 << 20)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="is neither a CSV file nor a Parquet file"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 24  # the dictionary of xz takes half of it


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(path, monkeypatch):
    monkeypatch.setattr("fastnn.tables.parquet.MAX_UNPACKED", 1 << 20)
    path.write_bytes(gzip.compress(b"1\n" * (1 << 20)))
    with pytest.raises(ValueError, match=r"t\.csv unpacks to more than 100 times its size: .* unpack it"):
        read(path)


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
    for frame, expected in [
        (FRAME, FRAME),
        (FRAME.set_index("name"), FRAME),
        (FRAME.iloc[::-1], FRAME.iloc[::-1].reset_index(drop=True)),
    ]:
        frame.to_parquet(path)
        pd.testing.assert_frame_equal(read(path).frame, expected)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="t.parquet is not a Parquet file that can be read"):
        read(path)


NAN = np.nan
# Texts of files, options, and the columns that are read.
NUMBERS = {
    "groups": ("a;b\n13.772;23,4\n6.558;78,1\n2;5,5\n", [], {"a": [13772, 6558, 2], "b": [23.4, 78.1, 5.5]}),
    "unit, points": ("a;b\n1,5;0.125 %\n2,5;1.250 %\n", ["--units", "%"], {"b": [0.125, 1.25]}),
    "unit, groups": ("a;b\n1;1.125 %\n2,5;0,5 %\n3;1.250 %\n", ["--units", "%"], {"b": [1125, 0.5, 1250]}),
    "unit of money": ("a;b\n1.234,5 €;1,5\n52 €;2,5\n", ["--units", "€"], {"a": [1234.5, 52]}),
    "decimal comma in quotes": ('a,b\n"0,785",1\n"1,250",2\n', ["--decimal", ","], {"a": [0.785, 1.25]}),
    "decimal semicolon": ("a,b\n1;5,x\n2;5,x\n", ["--decimal", ";"], {"a": [1.5, 2.5]}),
    "missing texts": ("a,b\nx,1\ny,2\nz,3\n3,4\n", ["--na", "x,y", "--na", "z"], {"a": [NAN, NAN, NAN, 3]}),
    "missing text with comma": ('a,b\n"x, y",1\n3,4\n', ["--na", '"x, y"'], {"a": [NAN, 3]}),
    "missing by column": ("a,b\n5+,5\n3,5+\n", ["--na", "a=5+,b=5+"], {"a": [NAN, 3], "b": [5, NAN]}),
    "missing in one column": ("a,b\n-9,-9\n-1,2\n", ["--na=a=-9,-1"], {"a": [NAN, NAN], "b": [-9, 2]}),
    "comma after groups": ("a;b\n1.234,5;x\n2,5;y\n", [], {"a": [1234.5, 2.5]}),
    "one point among commas": ("a;b\n" + "1,5;x\n" * 9 + "2.5;y\n", [], {"a": [*[1.5] * 9, 2.5]}),
    "a # far below comments": ("a,b\n# by Ann\n" + "x,1\n" * 600 + "no #1,2\n", [], {"b": [*[1] * 600, 2]}),
    "a title of two lines": ('"Report\nof 2024"\n\na,b\nx,1\ny,2\n', [], {"b": [1, 2]}),
    "--thousands": ("a;b\n52.1;1,5\n53.250;2,5\n", ["--thousands", "."], {"a": [521, 53250]}),
    "no --thousands": ("a;b\n52.1;1,5\n53.250;2,5\n", ["--thousands", ""], {"a": [52.1, 53.25]}),
    "--decimal --thousands": ("a;b\n1.500;2\n", ["--decimal", ",", "--thousands", "."], {"a": [1500]}),
    "rows end with separators": ("a,b\n1,2,\n3,4,\n", [], {"a": [1, 3], "b": [2, 4]}),
    "lines end with separators": ("a,b,\n1,2,\n3,4,\n", [], {"a": [1, 3], "b": [2, 4]}),
    "most rows decide the separator": ("a|b,c\n1|2\n3|4,5\n", [], {"a": [1, 3], "b,c": [2, 4.5]}),
    "of equal separators the comma": ("a,b;c\n1,5;6\n", [], {"a": [1]}),
    "commas outnumber points": ("a;b\n1,5;2.5\n1,5;3,5\n", [], {"a": [1.5, 1.5]}),
    "as many commas as points": ("a;b\n1,5;2.5\n", [], {"a": [1.5]}),
    "points alone": ("a;b\n1.5;2\n", [], {"a": [1.5]}),
    "titles": ("Sales of 2024\n\nin euros;\na;b\n1,5;2\n3;4\n", [], {"a": [1.5, 3], "b": [2, 4]}),
    "comments": ("# by x, y and z\n# v2\na,b\n1,2\n# end of May\n3,4\n", [], {"a": [1, 3], "b": [2, 4]}),
    "single quotes": ("'a';'b, c'\n'1';'x; y'\n'2';'z'\n", [], {"a": [1, 2]}),
    "single quotes of some fields": ("'a','b, c'\n1,'2'\n3,'4'\n", [], {"b, c": [2, 4]}),
    "apostrophes": ("n,word\n1,'tis\n2,so\n3,'twas\n", [], {"n": [1, 2, 3]}),
    **{f"{ord(c):X} ends no line": (f"a{c}b;c\nx{c}y;1,5\n", [], {"c": [1.5]}) for c in "\u2028\x85\x0b\x1d"},
}


@pytest.mark.parametrize(("text", "arguments", "values"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_in_many_forms_are_read_as_such(text, arguments, values, path):
    frame = read_text(path, text, *arguments).frame
    for name, expected in values.items():
        np.testing.assert_array_equal(frame[name].to_numpy(float), expected)


# Fields of a file with decimal commas, and what they are read as.
COLUMNS = {
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


@pytest.mark.parametrize("arguments", [[], ["--decimal", ","], ["--sep", ";", "--decimal", ","]])
def test_points_stay_where_they_do_not_separate_thousands(arguments, path):
    """An option that names what is found anyway changes nothing."""
    fields = {name: given for name, (given, _) in COLUMNS.items()}
    dates = {"day": ["01.01.2010", "02.01.2010", "31.12.2010"], "y": ["1.001", "", "2.001"]}
    pd.DataFrame(fields | dates).to_csv(path, sep=";", index=False)
    found = read(path, "--date-format", "%d.%m.%Y", *arguments, target="y")
    assert found.frame["day"].dt.day.tolist() == [1, 2, 31]
    assert found.frame["y"].dropna().tolist() == [1001, 2001]
    for name, (_, values) in COLUMNS.items():
        assert found.frame[name].tolist() == values, name
    assert found.frame["n"].dtype == "int64"
    assert found.notes[2:] == ["points separate thousands in 'n', 'y'"]


@pytest.mark.parametrize(
    ("sep", "texts", "task", "values"),
    [
        (";", ["52.1", "53.5", ""], "classification", ["52.1", "53.5"]),
        (";", ["1.643,5", "2", ""], "classification", ["1643.5", "2"]),
        (";", ["9.007.199.254.740.993", "2", ""], None, [9007199254740993, 2]),
        (",", ["01", "02", "10"], None, ["01", "02", "10"]),
        (",", ["01", "", "02"], "classification", ["01", "02"]),
        (",", ["1", "2", "0"], None, [1, 2, 0]),
        (",", ["01", "02", "10"], "regression", [1, 2, 10]),
        (",", [f"{k:02d}" for k in range(12)], None, [*range(12)]),
        (",", [f"{k:02d}" for k in range(12)], "classification", [f"{k:02d}" for k in range(12)]),
        (",", ["12:30", "08:15"], None, ["12:30", "08:15"]),
    ],
)
def test_targets_that_may_be_classes_stay_as_in_the_file(sep, texts, task, values, path):
    text = f"a{sep}y\n" + "".join(f"{'1,5' if sep == ';' else 1}{sep}{text}\n" for text in texts)
    assert read_text(path, text, target="y", task=task).frame["y"].dropna().tolist() == values


@pytest.mark.parametrize(
    ("texts", "arguments", "kind"),
    [
        (["2024-01-31", "2023-12-01"], [], "M"),
        (["2024-01-31 12:30", "2023-12-01 00:00:01"], [], "M"),
        (["2024-01-31T12:30:00Z", "2023-12-01T00:00:00Z"], [], "M"),
        (["2024-01-31", "", "2023-12-01"], [], "M"),
        (["2024-01-31", "unknown"], [], "O"),
        (["31/01/2024", "01/12/2023"], [], "M"),
        (["01.02.2024", "12/31/2023"], [], "O"),
        (["31/01/2024", "01/12/2023"], ["--date-format", "%d/%m/%Y"], "M"),
        (["2024-01-31", "2023-12-01"], ["--date-format", "%d/%m/%Y"], "M"),
        (["2024-13-31", "2023-12-01"], [], "O"),
        (["2024-01-31T12:00:00+01:00", "2024-07-31T12:00:00+02:00"], [], "O"),
        (["2024-01-31 +01:00", "2024-07-31 +02:00"], ["--date-format", "%Y-%m-%d %z"], "O"),
        (["12:30", "", "8:15"], [], "m"),
        (["2024-01-31 10:00:00.5+01:00", "2024-07-31T10:00+02:00"], [], "M"),  # winter and summer
        (["12:30:15", "08:15:00"], [], "m"),
        (["12:30 PM", "8:15 am"], [], "m"),
        (["12:30", "25:15"], [], "O"),
    ],
)
def test_iso_dates_and_times_of_day_are_recognised_and_others_by_their_format(texts, arguments, kind, path):
    pd.DataFrame({"d": texts, "n": range(len(texts))}).to_csv(path, index=False)
    found = read(path, *arguments).frame["d"].dropna()
    is_text = pd.api.types.is_string_dtype(found.dtype)
    assert (is_text and kind == "O") or found.to_numpy().dtype.kind == kind or "datetime" in str(found.dtype)
    if kind == "M":
        assert (found.dt.year >= 2023).all()
    elif kind == "m":
        assert (found.dt.total_seconds() // 60).tolist() == [750, 495]


def test_missing_values_are_the_texts_that_pandas_reads_as_such():
    from pandas._libs.parsers import STR_NA_VALUES

    assert {"", *reading.MISSING_TEXTS} == STR_NA_VALUES


def test_classes_that_are_read_as_missing_values_are_noted_and_can_be_kept(path):
    found = read_text(path, "size,level\n1,None\nNA,high\n3,\n,None\n5,NA\n", target="level")
    assert found.frame["level"].isna().tolist() == [True, False, True, True, True]
    assert found.notes == [
        "the target 'level' holds 'None', 'NA' in 3 rows, read as missing values: "
        "--no-default-na makes these texts classes"
    ]
    found = read(path, "--na", "NA", "--no-default-na", target="level")
    assert found.frame["level"].fillna("").tolist() == ["None", "high", "", "None", ""]
    assert found.frame["size"].dtype == float
    assert not found.notes
    assert not read_text(path, "size,level\n1,NA\n2,high\n3,\n", target="level", task="regression").notes
    assert not read_text(path, "size,level\n1,x\n2,high\n3,\n", target="level").notes
    for classes in (["1", "2"], ["01", "02"], ["True", "False"]):
        rows = "".join(f"{k},{[*classes, 'None'][k % 3]}\n" for k in range(9))
        assert "holds 'None' in 3 rows" in read_text(path, f"size,level\n{rows}", target="level").notes[0]


def test_names_of_columns_are_given_as_in_a_csv_file():
    assert parse_names('a, b ,"c,d",a,," "') == ("a", "b ", "c,d")
    assert parse_names("") == ()
    assert resolve_names(("a ", "b ", "b", "c "), ["a ", "b"]) == ["a ", "b", "c"]
    with pytest.raises(argparse.ArgumentTypeError, match="as in a line of a CSV file"):
        parse_names("a\nb")


def test_lines_may_have_any_length(path):
    """The module csv limits fields to 131,072 characters, and a line without the separator is one field."""
    n_columns = 11_000
    names = ",".join(f"feature_{k:05d}" for k in range(n_columns))
    assert len(names) > 131_072
    assert read_text(path, f"{names}\n{'1,' * (n_columns - 1)}1\n").frame.shape == (1, n_columns)


@pytest.mark.parametrize(
    ("trained", "arguments", "new", "found"),
    [
        ("a;b\n40.000;1,5\n", [], "a;b\n40.000;2\n", [40000]),
        ("a;b\n1,500;1.5\n", ["--thousands", ",", "--decimal", "."], "a;b\n2,500;2\n", [2500]),
        ("a,b\n$5,1\n", ["--units", "$"], "a,b\n$7,2\n", [7]),
        ("a,b\n?,1\n", ["--na", "a=?"], "a,b\n?,2\n", [NAN]),
        ("a;b\n1,5;2\n", [], "a,b\n40.000,2\n", [40]),  # another separator
        ("a;b\n1.5;2\n", [], "a;b\n2,5;2\n", [2.5]),
        ("a;b\n1,5;2\n", [], "a;b\n2.5;2\n", [2.5]),
    ],
)
def test_a_later_file_is_read_as_that_of_the_training(trained, arguments, new, found, path):
    record = read_text(path, trained, *arguments).reading.to_record()
    np.testing.assert_array_equal(read_text(path, new, record=record).frame["a"], found)


def test_an_option_overrules_the_form_of_the_trainings_file(path):
    text = "a;b;day\n40.000;1,5;31.12.2024\n"
    record = read_text(path, text, "--date-format", "%d.%m.%Y").reading.to_record()
    found = read_text(path, text, "--decimal", ".", record=record)
    assert (found.frame["a"].tolist(), found.frame["day"].dt.month.tolist()) == ([40], [12])
    assert not any("--date-format" in note for note in read_text(path, "a;b\n1;2\n", record=record).notes)
    for damaged in ({}, record | {"sep": 3}, record | {"na": "x"}, record | {"units": [1]}, []):
        with pytest.raises(ValueError, match="record of how its table was read is damaged"):
            read(path, record=damaged)


@pytest.mark.parametrize(
    ("first", "second", "dates"),
    [
        ("1/2/2024", "31/1/2024", ["2024-02-01", "2024-01-31"]),
        ("1/2/2024", "1/31/2024", ["2024-01-02", "2024-01-31"]),
        ("1.2.2024 8:30", "31.1.2024 8:30", ["2024-02-01", "2024-01-31"]),
        ("2024/1/2", "2024/1/31", ["2024-01-02", "2024-01-31"]),
        ("01/02/87", "31/01/87", ["1987-02-01", "1987-01-31"]),
        ("01.02.87", "01.31.87", ["1987-01-02", "1987-01-31"]),
        ("1-Feb-24", "31-Jan-24", ["2024-02-01", "2024-01-31"]),
        ("01/02/24", "31/01/24", None),  # perhaps 2001 and 2031
        ("1/2/2024", "3/4/2024", None),
        ("1/31/2024", "31/1/2024", None),
    ],
)
def test_values_decide_the_order_of_dates_also_of_later_files(first, second, dates, path):
    found = read_text(path, f"a;day\n1;{first}\n2;{second}\n")
    if dates is None:
        assert pd.api.types.is_string_dtype(found.frame["day"].dtype)
        return
    assert found.frame["day"].dt.strftime("%Y-%m-%d").tolist() == dates
    assert any(f"column 'day' holds dates as {first}, read by %" in note for note in found.notes)
    later = read_text(path, f"a;day\n1;{first}\n", record=found.reading.to_record())
    assert later.frame["day"].dt.strftime("%Y-%m-%d").tolist() == dates[:1]


def test_columns_may_be_aligned_by_blanks(path):
    found = read_text(path, "  name   size  n\n Ann      1.5  1  \n Bo      12.5  22\n Cy     130   333\n")
    assert found.frame.to_dict("list") == {
        "name": ["Ann", "Bo", "Cy"],
        "size": [1.5, 12.5, 130],
        "n": [1, 22, 333],
    }
    assert "fields are separated by blanks" in found.notes
    assert read_text(path, "a note\none two three\n").frame.columns.tolist() == ["a note"]


@pytest.mark.parametrize(
    ("text", "arguments", "notes"),
    [
        ("a;b\n1.500;2\n2.500;3\n", [], ["fields are separated by ';'", "points are read as decimal points"]),
        ("a;b\n1.500;2\n2.5;3\n", [], ["fields are separated by ';'"]),
        (",a\n0,x\n1,y\n", [], ["the first column, which numbers the rows, is left out"]),
        ("a,d\nx,2024-12-31\n", ["--date-format", "%d/%m/%Y"], ["no column holds dates in the format '%d/"]),
        ("a,d\nx,2024-12-31\n", ["--date-format", "%Y-%m-%d"], []),
        ("a,d\nx,\n", ["--date-format", "foo"], []),  # dates that are all missing
        ("By me\na,b\n1,2\n", [], ["1 line before the header is left out"]),
        ("a,b\n1,2\n# x\n", [], ["lines that begin with # are left out"]),
        ("a,at\n1,12:30\n", [], ["column 'at' holds times of day, read as fractions of a day"]),
        (
            'a,a, a,"t",t,,\n1,2,3,4,5,6,7\n',
            [],
            [
                "the header has more than one column named 'a': the others become 'a.1', 'a.2'",
                "the header has more than one column named 't': the others become 't.1'",
            ],
        ),
        *[(f"{h}\n1,2,3\n", [], []) for h in ("a,a.1,b", "\ta,a.1,b", '"c\nd",a,b', '"c\nd","c\nd",b')],
    ],
)
def test_what_is_unusual_in_a_file_is_noted(text, arguments, notes, path):
    found = [note for note in read_text(path, text, *arguments).notes if "'c\\nd'" not in note]
    assert len(found) == len(notes)
    assert all(note.startswith(start) for note, start in zip(found, notes, strict=True))


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        (['"502,40 €"', '"1.502,40 €"', '"3,20 €"'], "such as '502,40 €': --units '€' reads it as numbers"),
        (["$5", "$7.5", "-"] + ["$1"] * 9, "row 3): if that means missing, --units '$' --na a=- reads it"),
        ([f"{k}.5" for k in range(3000)] + ["n.v."], "row 3001): if that means missing, --na a=n.v. reads"),
        (["1", "2", "5+", "5+", "3", "4"] * 9, "beside '5+' (first in row 3): correct the others, or all"),
        (['"0,785"', '"5,97"', '"1,250"'], "--decimal , reads it as numbers"),
        (['"1,785"', '"5,970.5"', "12"], "--thousands , reads it as numbers"),
    ],
)
def test_advice_on_texts_that_are_numbers_suits_the_file(fields, advice, path):
    sep = ";" if "€" in fields[0] else ","
    rows = "".join(f"{field}{sep}{'1,5' if sep == ';' else k}\n" for k, field in enumerate(fields))
    found = read_text(path, f"a{sep}b\n{rows}")
    assert advice in find_hint(found.frame["a"], found.reading)[1]
    assert find_hint(pd.Series(["$1.5", "$2"]), None)[1].endswith("convert it")


@PACKED
def test_compressed_files_that_are_damaged_near_the_end_are_refused(packed, path):
    numbers = np.random.RandomState(0).randint(10**9, size=(40_000, 2)).tolist()
    content = bytearray(packed("\n".join(["a,b", *(f"{a},{b}" for a, b in numbers)]).encode()))
    place = len(content) * 9 // 10
    assert place > 300_000
    content[place : place + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.csv"):
        read(path)


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"", [], "t.csv is empty"),
        (b"\n\n", [], "t.csv is empty"),
        (b"a,b\n", [], "t.csv has a header but no rows"),
        (b"a,b\n" + b"1,2,\n" * 600 + b"1,2,3\n", [], "a line has more fields than the header"),
        (b"a,b\n# c\n" + b"1,2\n" * 600 + b"x" * 200_000 + b",2\n", [], "is not a CSV file: field larger"),
        (b"a b c\n" + b"1 2 3\n" * 600 + b"1   3\n", [], "line 602 has 2 fields instead of 3, .* blanks"),
        (b"a,b\n1,2\n1,2,3\n", [], "t.csv: line 3 has 3 fields instead of 2, separated by ','"),
        (b"a,b\n1,2,3\n4,5,6\n", [], "t.csv: line 2 has 3 fields instead of the header's 2"),
        (b"a\nx,y\nz,w\n", [], "t.csv: line 2 has 2 fields instead of the header's 1"),
        (b"a,b\n" + b"1,2\n" * 99 + b'1,"2\n', [], "t.csv: a quote in line 101 is never closed"),
        (b"PK\x03\x04abc", [], "t.csv is a ZIP archive or a spreadsheet"),
        (b'{"a":1,"b":2}\n{"a":3,"b":4}\n', [], "t.csv holds JSON: pandas.read_json"),
        (b"\r,y\r\n1,\r\n1,\r\n", [], "t.csv: its rows have more fields than the header"),
        (b"(\xb5/\xfdabc", [], "t.csv is compressed by Zstandard"),
        (b"a,\0\n1,2\n", [], "t.csv is neither a CSV file nor a Parquet file"),
        (gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-30], [], "t.csv is damaged"),
        (gzip.compress(b"", mtime=0), [], "t.csv is empty"),
        (b"\x1f\x8bbroken", [], "t.csv is damaged"),
        (None, [], "is a folder"),
        ("a,b\n1,é\n", ["--sep", "ab"], "--sep must be one character"),
        ("a,b\n1,é\n", ["--decimal", ".."], "--decimal must be a sign, such as .*, got '..'"),
        ("a,b\n1,é\n", ["--thousands", ".."], "--thousands must be one character other than the decimal p"),
        ("a,b\n1,é\n", ["--encoding", "none"], "there is no encoding 'none'"),
        ("a,b\n1,é\n", ["--encoding", "ascii"], "is not encoded in ascii, as --encoding says:"),
        ("a,b\n1,é\n", ["--encoding", "idna"], "'idna' is not an encoding of files: name another"),
        ("a,b\n1,é\n", ["--encoding", "undefined"], "'undefined' is not an encoding of files"),
        *[
            ("d,n\n31/01/2024,1\n", ["--date-format", form], f"--date-format '{form}': ")
            for form in ("%", "%Q", "%d/%d", "%z%z", "%G-%V")
        ],
    ],
)
def test_files_without_a_table_and_impossible_options_are_refused(content, arguments, message, path):
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message):
        read(path, *arguments, target="y")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("Error tokenizing data. C error: out of memory", MemoryError, "does not fit into the free memory: "),
        ("an error\nand details", ValueError, "is not a CSV file: an error$"),
    ],
)
def test_errors_of_the_parser_are_told_in_one_line(text, kind, message, path, monkeypatch):
    def refuse(*arguments, **options):
        raise pd.errors.ParserError(text)

    monkeypatch.setattr(pd, "read_csv", refuse)
    with pytest.raises(kind, match=rf"t\.csv {message}"):
        read_text(path, "a,b\n1,2\n")


def test_missing_files_and_closed_standard_input_are_refused(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no file .*none.csv"):
        read(tmp_path / "none.csv")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="standard input is closed: name a file"):
        read("-")
