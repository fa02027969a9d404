"""Tables from files: CSV and Parquet, compressed or not, with separator, encoding and decimal point found."""

from __future__ import annotations

import csv
import io
import lzma
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...system.extras import import_extra
from ...system.files import is_url
from ...system.messages import counted, listed
from ...system.targets import MAX_CLASSES
from ...system.validation import shown
from ..streaming.parquet import ParquetRows
from ..streaming.source import first_line, is_parquet_folder, read_dataset, read_url, shown_source
from .texts import in_python_form, without_units

__all__ = [
    "INDEX",
    "ReadTable",
    "finished_table",
    "given_names",
    "is_parquet",
    "opened_bytes",
    "read_table",
]

# Number of bytes at the beginning of a file that determine its form.
HEAD = 256 * 1024
# Lines of the head that are inspected.
MAX_LINES = 500
SEPARATORS = (",", ";", "\t", "|")
# First bytes of compressed files, and the names of the compressions in pandas.
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "xz"}
# First bytes of Parquet files, and the column in which pandas writes an index without a name.
PARQUET = b"PAR1"
INDEX = "__index_level_0__"
# First bytes of files that are not tables here, with a remedy.
REFUSED = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet: save the table as CSV or Parquet",
    b"(\xb5/\xfd": "compressed by Zstandard: compress by gzip instead",
    b"\x89HDF": "an HDF5 file: save the table as CSV or Parquet",
    b"SQLite": "a database: save the table as CSV or Parquet",
}
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Encoding of CSV files that are not UTF-8, such as those of spreadsheets on Windows.
FALLBACK = "cp1252"
# Magnitude from which floats may be rounded integers.
MAX_EXACT = 2**53
# Texts that pandas reads as missing values.
MISSING = {
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip
# Integers that are perhaps names of classes.
PADDED_INTEGER = re.compile(r"[+-]?0[0-9]+")
_COMMA_NUMBER = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_POINT_NUMBER = re.compile(r"[+-]?\d+\.\d+")
# Numbers whose points perhaps separate thousands.
_POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?")


@dataclass
class ReadTable:
    """Table that was read, and how.

    Parameters
    ----------
    frame : pandas DataFrame
        Rows; columns have distinct names.
    name : str
        Name of the file in messages.
    notes : list of str
        Remarks for the user about what was found or changed.
    is_csv : bool
        True for the rows of a CSV file, which options may read in another way.
    decimal : str, default "."
        Decimal point of the numbers in a CSV file.
    copied : pandas DataFrame, optional
        Fields of a CSV file, as they are, of the columns to copy.
    """

    frame: Any
    name: str
    notes: list[str] = field(default_factory=list)
    is_csv: bool = False
    decimal: str = "."
    copied: Any = None


class Form(NamedTuple):
    """Form of a CSV file."""

    sep: str
    decimal: str
    thousands: str | None
    # True if points separate thousands in some columns perhaps: pandas would remove those of all columns.
    may_have_points: bool


def read_table(
    source: str | Path, options: Any, text_columns: Any = (), kept: Any = (), target: str | None = None,
    task: str | None = None, copied: Sequence[str] = (),
) -> ReadTable:  # fmt: skip
    """Read a table from a CSV or Parquet file.

    Parameters
    ----------
    source : str or Path
        Name of the file, its URL, or "-" for standard input.
    options : namespace
        Options of `add_reading_arguments`.
    text_columns : mapping of str to iterable of str
        Columns whose texts stay as they are, such as the numbers of postal districts in a CSV file, and the
        texts that are known: of these, NA, None and the like are not missing values.
    kept : iterable of str
        Columns that are not left out, even if they number the rows.
    target : str, optional
        Column that may hold classes. Where it does, numbers that float64 would round are nullable integers of
        pandas, or text as in the file; integers of which some begin with 0, such as 01, are text.
    task : {"classification", "regression"}, optional
        Kind of the target, where it is known.
    copied : sequence of str
        Columns of a CSV file to be copied as they are, of those that the file has.

    Returns
    -------
    ReadTable
        Table of one row at least.

    Raises
    ------
    ValueError
        If the file is empty, holds no table, or has a line with too many fields.
    OSError
        If the file does not exist or cannot be read.
    ImportError
        If pandas, or pyarrow for Parquet, is missing.
    """
    pandas = import_extra("pandas", "cli", "reading a table")
    name = "standard input" if source == "-" else shown_source(source)
    text_columns = dict(text_columns)
    if is_parquet_folder(source):
        read = ReadTable(_read_parquet(pandas, source, name, target), name)
    else:
        with opened_bytes(source, name) as file:
            head = _head(file)
            if not head.strip():
                raise ValueError(f"{name} is empty")
            if head.startswith(PARQUET):
                read = ReadTable(_read_parquet(pandas, file, name, target), name)
            else:
                read = _read_csv(pandas, file, head, name, options, text_columns, target, task, copied)
    return finished_table(pandas, read, options.date_format, kept, text_columns)


def finished_table(
    pandas: Any, read: ReadTable, date_formats: Sequence[str] | None, kept: Any = (), text_columns: Any = ()
) -> ReadTable:
    """Return a table with its names checked, without a column of row numbers, and with columns of dates.

    A column of row numbers that `kept` names stays, and dates in `text_columns` stay text.
    """
    name = read.name
    if not isinstance(read.frame.index, pandas.RangeIndex):  # of a dataframe that was saved with its index
        read.frame = read.frame.reset_index(drop=read.frame.index.name is None)
    frame = read.frame.reset_index(drop=True)
    read.frame = frame
    frame.columns = [str(column) for column in frame.columns]
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"{name} has more than one column named {twice!r}: rename or remove one")
    if not len(frame):
        raise ValueError(f"{name} has a header but no rows")
    if frame.columns[0] not in kept:
        _drop_index(read)
    _parse_dates(pandas, read, date_formats, text_columns)
    return read


def given_names(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the names of columns that a user gave, without spaces around those that a table lacks."""
    return list(dict.fromkeys(name if name in columns else name.strip() for name in names))


def is_parquet(source: str | Path) -> bool:
    """Return True for the name of a Parquet file or of a folder of such files."""
    if is_parquet_folder(source):
        return True
    if is_url(source):
        return read_url(str(source), len(PARQUET)) == PARQUET
    if source == "-" or not Path(source).is_file():
        return False
    with Path(source).open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET


@contextmanager
def opened_bytes(source: str | Path, name: str) -> Iterator[Any]:
    """Open a file, or standard input, as bytes that can be read from the start again."""
    if source == "-":
        if sys.stdin is None:  # the process was started without it
            raise ValueError("standard input is closed: name a file instead of -")
        yield io.BytesIO(sys.stdin.buffer.read())
        return
    if is_url(source):
        yield io.BytesIO(read_url(str(source)))
        return
    path = Path(source)
    if path.is_dir():
        raise ValueError(f"{name} is a folder without Parquet files: name a file in it")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {name}") from None
    with file:
        # A pipe, as the shell's <(...), has no way back.
        yield file if file.seekable() else io.BytesIO(file.read())


def check_kind(head: bytes, name: str) -> None:
    """Raise ValueError for a file whose first bytes are those of a kind of `REFUSED`."""
    for magic, remedy in REFUSED.items():
        if head.startswith(magic):
            raise ValueError(f"{name} is {remedy}")


def marked_encoding(head: bytes) -> str:
    """Return the encoding of a CSV file by its byte order mark, UTF-8 without one."""
    return next((kind for mark, kind in BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8")


def first_lines(text: str, is_cut: bool = False) -> list[str]:
    """Return the first lines of a text that are not blank, without the last one if it is cut off."""
    lines = re.split(r"\r\n?|\n", text)  # `str.splitlines` also divides at other characters, as U+2028
    return [line for line in (lines[:-1] if is_cut else lines) if line.strip()][:MAX_LINES]


def _head(file: Any) -> bytes:
    """Return the first bytes of a file; the next read begins at the start again."""
    head = file.read(HEAD)
    file.seek(0)
    return head


def _compression(head: bytes) -> str | None:
    """Return the compression of a file by its first bytes; None if there is none."""
    return next((kind for magic, kind in COMPRESSIONS.items() if head.startswith(magic)), None)


def _unpacked(file: Any, compression: str) -> bytes:
    """Return the first bytes that a compressed file holds: all of them may be gigabytes."""
    import bz2
    import gzip

    openers: dict[str, Any] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    return openers[compression](file).read(HEAD)


def _read_parquet(pandas: Any, file: Any, name: str, target: str | None) -> Any:
    """Return the rows of a Parquet file, or of the files of a folder."""
    pyarrow = import_extra("pyarrow", "cli", "a Parquet file")
    parquet = import_extra("pyarrow.parquet", "cli", "a Parquet file")
    try:
        table = read_dataset(file) if isinstance(file, str | Path) else parquet.read_table(file)
        frame = table.to_pandas()
        if target in frame and frame[target].dtype.kind == "f":
            column = table[target]
            if pyarrow.types.is_integer(column.type):
                # NumPy's integers have no missing value, so that pandas made them floats, which round.
                is_signed = pyarrow.types.is_signed_integer(column.type)
                frame[target] = pandas.array(column.to_pylist(), "Int64" if is_signed else "UInt64")
        return frame
    except pyarrow.ArrowException as error:
        if isinstance(file, str | Path):
            for _ in ParquetRows(file, None).blocks():  # raises ValueError that names file and column
                pass
        raise ValueError(f"{name} is a damaged Parquet file: {first_line(error)}") from None


def _may_round(column: Any, task: str | None) -> bool:
    """Return True for a target of floats that may be classes, and stand for other texts in the file.

    Without a task, fractions are numbers to predict.
    """
    values = column.dropna()
    if task == "regression" or not len(values):
        return False
    if column.dtype.kind != "f":
        # pandas keeps missing values as empty text among integers that only 64 bits without a sign hold.
        return bool((values == "").any())
    are_whole = bool((values == values.round()).all())
    return bool(values.abs().max() >= MAX_EXACT) if are_whole else task == "classification"


def _may_be_padded(column: Any, task: str | None) -> bool:
    """Return True for a target of integers that may be classes, such as 01 and 02 in the file."""
    values = column.dropna()
    if task == "regression" or column.dtype.kind not in "iuf" or not (values == values.round()).all():
        return False
    return task == "classification" or values.nunique() <= MAX_CLASSES


def _may_lack_classes(column: Any, task: str | None) -> bool:
    """Return True for a target that lacks values, which may be classes, such as None in the file."""
    if task == "regression" or not column.hasnans:
        return False
    return task == "classification" or column.dtype.kind not in "iuf" or column.nunique() <= MAX_CLASSES


def _left_out_classes(texts: Any) -> list[str]:
    """Return a note on the texts in the file of a target's missing values, which may be names of classes."""
    counts = texts.value_counts()
    if not len(counts):
        return []
    n_rows = counted(int(counts.sum()), "row")
    return [
        f"the target {texts.name!r} holds {listed(counts.index)} in {n_rows}, read as missing values: "
        "--no-default-na makes classes of such texts"
    ]


def _is_padded(texts: Any) -> bool:
    """Return True if a text is an integer that begins with 0."""
    return bool(texts.dropna().str.strip().str.fullmatch(PADDED_INTEGER.pattern).any())


def _unrounded(pandas: Any, texts: Any, decimal: str, thousands: str | None) -> Any:
    """Return texts of numbers as nullable integers, or as they are if these would lose digits."""
    if thousands is not None:
        texts = texts.str.replace(thousands, "", regex=False)
    texts = texts.str.replace(decimal, ".", regex=False).str.strip()
    if _is_padded(texts) or not texts.dropna().str.fullmatch(r"[+-]?[0-9]+").all():
        return texts
    integers = [None if pandas.isna(value) else int(value) for value in texts]
    is_signed = min(value for value in integers if value is not None) < 0
    try:
        return pandas.array(integers, "Int64" if is_signed else "UInt64")
    except OverflowError:
        return texts


def _read_csv(
    pandas: Any, file: Any, head: bytes, name: str, options: Any, text_columns: Mapping[str, Iterable[str]],
    target: str | None, task: str | None, copied: Sequence[str],
) -> ReadTable:  # fmt: skip
    """Return the rows of a CSV file, and notes about its form."""
    check_kind(head, name)
    compression = _compression(head)
    if compression is not None:
        try:
            head = _unpacked(file, compression)
        except Exception as error:
            raise ValueError(f"{name} is damaged: {error}") from None
    encoding = options.encoding or marked_encoding(head)
    notes: list[str] = []
    columns = text_columns, target, task, copied
    try:
        return _parsed(pandas, file, head, name, options, encoding, compression, notes, *columns)
    except UnicodeDecodeError as error:
        if options.encoding:
            raise ValueError(
                f"{name} is not encoded in {encoding}, as --encoding says: {error.reason}"
            ) from None
        notes = [f"the file is not UTF-8: read as {FALLBACK}, unless --encoding names another"]
        try:
            return _parsed(pandas, file, head, name, options, FALLBACK, compression, notes, *columns)
        except UnicodeDecodeError:
            raise ValueError(f"{name} is neither UTF-8 nor {FALLBACK}: name its --encoding") from None
    except LookupError:
        raise ValueError(f"--encoding: there is no encoding {encoding!r}") from None
    except UnicodeError:  # of an encoding for names in the Internet, such as idna
        raise ValueError(
            f"--encoding: {encoding!r} is not an encoding of files: name another, such as utf-8 or cp1252"
        ) from None


def _parsed(
    pandas: Any, file: Any, head: bytes, name: str, options: Any, encoding: str, compression: Any,
    notes: list[str], text_columns: Mapping[str, Iterable[str]], target: str | None, task: str | None,
    copied: Sequence[str],
) -> ReadTable:  # fmt: skip
    """Return the rows of a CSV file in one encoding."""
    text = head.decode(encoding, "ignore")
    if "\0" in text:
        raise ValueError(f"{name} is neither a CSV file nor a Parquet file")
    lines = first_lines(text, is_cut=len(head) >= HEAD)
    sep, decimal, thousands, may_have_points = found_form(lines, options, notes)
    has_surplus = _has_empty_surplus(lines, sep, name)
    missing = {"na_values": ["", *options.na], "keep_default_na": options.default_na}

    def parsed(text_columns: Iterable[str], **more: Any) -> Any:
        file.seek(0)
        return pandas.read_csv(
            file, sep=sep, decimal=decimal, thousands=thousands, encoding=encoding, compression=compression,
            skipinitialspace=True, low_memory=False, dtype=dict.fromkeys(text_columns, "string") or None,
            index_col=False if has_surplus else None, **(missing | more),
        )  # fmt: skip

    try:
        frame = parsed(text_columns)
        for column, known in text_columns.items():
            if column in frame and options.default_na and not MISSING.isdisjoint(known):
                others = {"", *options.na, *MISSING.difference(known)}
                texts = parsed([column], usecols=[column], keep_default_na=False, na_values=list(others))
                frame[column] = texts[column]
        if may_have_points:
            notes += _convert_points(pandas, frame, text_columns)
        if target is not None and target in frame:
            may_round = _may_round(frame[target], task)
            if may_round or _may_be_padded(frame[target], task):
                texts = parsed([target], usecols=[target])[target]
                if may_have_points:
                    texts = _in_python_form(pandas, texts)
                if may_round or _is_padded(texts):
                    frame[target] = _unrounded(pandas, texts, decimal, thousands)
            if options.default_na and _may_lack_classes(frame[target], task):
                texts = parsed([target], usecols=[target], keep_default_na=False)[target]
                notes += _left_out_classes(texts[frame[target].isna()])
        copied = [column for column in given_names(copied, frame.columns) if column in frame]
        fields = None
        if copied:
            fields = parsed(copied, usecols=copied, keep_default_na=False, na_values=[""])
    except pandas.errors.EmptyDataError:
        raise ValueError(f"{name} is empty") from None
    except pandas.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if not found:
            raise ValueError(f"{name} is not a CSV file: {first_line(error)}") from None
        raise ValueError(
            f"{name}: line {found[2]} has {found[3]} fields instead of {found[1]}, separated by {sep!r}: "
            "correct the line, or name another --sep"
        ) from None
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{name} is damaged: {first_line(error)}") from None
    notes += _renamed_columns(_split(lines, sep), frame.columns)
    if options.units:
        _leave_out_units(pandas, frame, text_columns, options.units, thousands, decimal)
    return ReadTable(frame, name, notes, is_csv=True, decimal=decimal, copied=fields)


def _in_python_form(pandas: Any, column: Any) -> Any:
    """Return a column of a file with decimal commas with numbers as Python writes them."""
    present = column.dropna()
    texts = in_python_form(list(map(str, present)))
    return pandas.Series(texts, present.index, dtype=object).reindex(column.index)


def _convert_points(pandas: Any, frame: Any, text_columns: Mapping[str, Iterable[str]]) -> list[str]:
    """Convert columns of text whose values are all numbers, some of which have points.

    Return a note on columns where points that separate thousands might be decimal points.
    """
    doubtful = []
    for name in frame.columns:
        column = frame[name]
        if name in text_columns or not pandas.api.types.is_string_dtype(column.dtype):
            continue
        given = column.dropna().astype(str)
        if not given.str.contains(".", regex=False).any():
            continue
        texts = _in_python_form(pandas, column)
        numbers = pandas.to_numeric(texts, errors="coerce")
        if numbers.count() == len(given):
            frame[name] = numbers
            has_groups = not texts.dropna().str.contains(".", regex=False).any()
            if has_groups and given.str.count(r"\.").max() == 1:
                doubtful.append(name)
    return [f"points separate thousands in {listed(doubtful)}"] if doubtful else []


def _leave_out_units(
    pandas: Any,
    frame: Any,
    text_columns: Mapping[str, Iterable[str]],
    units: Any,
    thousands: str | None,
    decimal: str,
) -> None:
    """Convert columns of text whose values are all numbers, with one of some units or without."""
    for name in frame.columns:
        column = frame[name]
        if name in text_columns or not pandas.api.types.is_string_dtype(column.dtype):
            continue
        values = without_units(column.astype("string"), units, thousands, decimal)
        if values.notna().sum() == column.notna().sum() > 0:
            frame[name] = values.astype("float64")


def _renamed_columns(rows: list[list[str]], names: Any) -> list[str]:
    """Return a note for every name that the header, the first row, repeats: pandas adds numbers to it."""
    renamed: dict[str, list[str]] = {}
    given = [name.lstrip(" ") for name in rows[0]] if rows else []
    for old, new in zip(given, names, strict=False):
        if old and new.startswith(f"{old}.") and given.count(old) > 1:
            renamed.setdefault(old, []).append(repr(new))
    return [
        f"the header has more than one column named {name!r}: the others become {', '.join(others)}"
        for name, others in renamed.items()
    ]


def _has_empty_surplus(lines: list[str], sep: str, name: str) -> bool:
    """Return True if all lines but the header end with a separator; raise ValueError for surplus fields.

    pandas would take the first column of such lines for an index.
    """
    rows = _split(lines, sep)
    header = rows.pop(0) if rows else []
    if not rows or len(rows[0]) <= len(header):
        return False
    if len(rows[0]) == len(header) + 1 and not any(row[-1] for row in rows):
        return True
    raise ValueError(f"{name}: the lines have more fields than the header, separated by {sep!r}")


def _split(lines: list[str], sep: str) -> list[list[str]]:
    """Return the fields of lines; an empty list if a field is longer than the module csv allows."""
    try:
        return list(csv.reader(lines, delimiter=sep, skipinitialspace=True))
    except csv.Error:
        return []


def found_form(lines: list[str], options: Any, notes: list[str]) -> Form:
    """Return the form of a CSV file, as options say or its first lines suggest; note what is unusual."""
    sep = options.sep.replace("\\t", "\t") if options.sep else found_separator(lines)
    if len(sep) != 1:
        raise ValueError(f"--sep must be one character, got {sep!r}")
    decimal, thousands = options.decimal or ".", options.thousands or None
    if options.decimal is None and sep != ",":
        decimal = found_decimal(lines, sep)
    if len(decimal) != 1:
        raise ValueError(f"--decimal must be one character, got {decimal!r}")
    if thousands is not None and (thousands == decimal or len(thousands) != 1):
        raise ValueError(f"--thousands must be one character other than the decimal point, got {thousands!r}")
    if sep != ",":
        notes.append(f"fields are separated by {'tabs' if sep == chr(9) else repr(sep)}")
    if decimal != ".":
        notes.append(f"decimal point {decimal!r}")
    elif not (options.decimal or thousands) and sep != "," and _may_be_groups(lines, sep):
        notes.append(
            "points are read as decimal points: --decimal , --thousands . reads them as separators of "
            "thousands"
        )
    return Form(sep, decimal, thousands, decimal == "," and options.decimal is None and thousands is None)


def found_separator(lines: list[str]) -> str:
    """Return the separator with which most lines have as many fields as the first; a comma if none has."""
    best, best_key = ",", (0.0, 0)
    for sep in SEPARATORS:
        counts = [len(row) for row in _split(lines, sep)]
        if not counts or counts[0] < 2:
            continue
        share = sum(count == counts[0] for count in counts) / len(counts)
        key = (round(share, 1), counts[0])
        if key > best_key:
            best, best_key = sep, key
    return best


def found_decimal(lines: list[str], sep: str) -> str:
    """Return the decimal point of the numbers in lines, a comma where commas and points are as frequent."""
    fields = _fields(lines, sep)
    n_commas = sum(bool(_COMMA_NUMBER.fullmatch(field)) for field in fields)
    n_points = sum(bool(_POINT_NUMBER.fullmatch(field)) for field in fields)
    n_points -= sum(bool(_POINT_GROUPS.fullmatch(field)) for field in fields)
    return "," if n_commas >= max(1, n_points) else "."


def _may_be_groups(lines: list[str], sep: str) -> bool:
    """Return True if all points of the numbers in lines may separate thousands, and there are some."""
    with_points = [field for field in _fields(lines, sep) if _POINT_NUMBER.fullmatch(field)]
    return bool(with_points) and all(map(_POINT_GROUPS.fullmatch, with_points))


def _fields(lines: list[str], sep: str) -> list[str]:
    """Return the fields of all lines but the first."""
    return [cell.strip() for row in _split(lines[1:], sep) for cell in row]


def _drop_index(read: ReadTable) -> None:
    """Leave out the column in which pandas has written the numbers of the rows."""
    frame = read.frame
    first = frame.columns[0]
    if first in ("Unnamed: 0", INDEX) and len(frame.columns) > 1:
        values = frame[first]
        if values.dtype.kind in "iu" and (values.diff().dropna() == 1).all():
            read.frame = frame.drop(columns=first)
            read.notes.append("the first column, which numbers the rows, is left out")


def _parse_dates(
    pandas: Any, read: ReadTable, date_formats: Sequence[str] | None, text_columns: Any = ()
) -> None:
    """Convert columns of text whose values are all dates; add a note if no column has a given format."""
    may_fit = False  # True after a column of dates, and after one of missing values alone
    for name in read.frame.columns:
        if name in text_columns:
            continue
        column = read.frame[name]
        may_fit = may_fit or not column.count()
        if not (pandas.api.types.is_string_dtype(column.dtype) or column.dtype == object):
            continue
        present = column.dropna()
        sample = present.head(100)
        if not len(present) or not all(isinstance(value, str) for value in sample):
            continue
        if not date_formats and not all(_ISO_DATE.fullmatch(value) for value in sample):
            continue
        dates = as_dates(pandas, column, date_formats)
        if dates is not None and dates.isna().sum() == column.isna().sum():
            read.frame[name], may_fit = dates, True
    if date_formats and not may_fit:
        forms = " or ".join(map(shown, date_formats))
        read.notes.append(f"no column holds dates in the format {forms} of --date-format")


def as_dates(pandas: Any, column: Any, date_formats: Sequence[str] | None) -> Any:
    """Return a column as dates, in the format that most values have, NaT where a value has another form.

    Without formats, dates are ISO 8601. The result is None if time zones differ.
    """
    found = None
    for form in date_formats or ["ISO8601"]:
        try:
            dates = pandas.to_datetime(column, format=form, errors="coerce")
        except (ValueError, re.error) as error:  # pandas makes a regular expression of the format
            if date_formats and re.search("format|directive|group name", str(error)):
                raise ValueError(f"--date-format {shown(form)}: {first_line(error)}") from None
            continue
        if dates.dtype.kind == "M" and (found is None or dates.count() > found.count()):
            found = dates
    return found
