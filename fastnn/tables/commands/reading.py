"""Tables from files: CSV and Parquet, compressed or not, with separator, encoding and decimal point found."""

from __future__ import annotations

import bz2
import csv
import functools
import gzip
import io
import lzma
import os
import re
import sys
import warnings
import zlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas
from pandas import DataFrame, Series

from ...system.files import is_url
from ...system.messages import join_names, note_renamed_columns, pluralize
from ...system.targets import MAX_CLASSES
from ...system.validation import short_repr
from ..options import ReadOptions
from ..parquet import (
    MAX_RATIO,
    PARQUET,
    Source,
    draw_rows,
    find_max_unpacked,
    get_first_line,
    import_arrow,
    is_parquet,
    name_source,
    read_url,
)
from .dialect import Dialect, find_dialect
from .hints import guess_date_formats, parse_units, to_python_form

if TYPE_CHECKING:
    from pyarrow import Schema

# Number of bytes at the beginning of a file that determine its form.
HEAD = 256 * 1024
# First bytes of compressed files, and the functions that open what such a file holds.
UNPACKERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
# Column in which pandas writes an index without a name.
INDEX = "__index_level_0__"
# First bytes of files that are not tables here, with a remedy.
REFUSED = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet: save the table as CSV or Parquet",
    b"(\xb5/\xfd": "compressed by Zstandard: compress by gzip instead",
    b"\x89HDF": "an HDF5 file: save the table as CSV or Parquet",
    b"SQLite": "a database: save the table as CSV or Parquet",
}
# First bytes of a JSON file: an object, or a list of objects.
JSON = re.compile(rb'(\xef\xbb\xbf)?\s*(\[\s*)?\{\s*"[^"]*"\s*:')
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Encoding of CSV files that are not UTF-8, such as files of spreadsheets on Windows.
FALLBACK = "cp1252"
# Remark on a sample of a table.
SAMPLED = "{:,} random rows of {:,} are read"
# Magnitude from which floats may be rounded integers.
MAX_EXACT = 2**53
# Texts that pandas reads as missing values.
MISSING_TEXTS = {"NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "<NA>", "NULL", "null", "None"}
MISSING_TEXTS |= {"NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
# Format of dates and times as in ISO 8601, for pandas.
ISO = "ISO8601"
# Offset from UTC at the end of an ISO time.
_OFFSET = re.compile(r"(?<=:\d\d)(\.\d+)?\s?(?:Z|[+-]\d\d(?::?\d\d)?)$")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?")
_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?")
# Forms of times of day.
TIME_FORMATS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M%p", "%I:%M:%S %p")


@dataclass
class ReadTable:
    """Table that was read, and how."""

    frame: DataFrame  # rows; columns have distinct names. The index holds the numbers of the rows in the file
    name: str  # name of the file in messages
    notes: list[str] = field(default_factory=list)  # remarks for the user about what was found or changed
    reading: ReadOptions | None = (
        None  # how a CSV file was read, which options may change; None for other files
    )
    copied: DataFrame | None = None  # fields of a CSV file, as they are, of the columns to copy
    unread: Sequence[str] = ()  # columns of a Parquet file that were not read


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Facts about a table's columns that are known before it is read."""

    # Columns whose texts stay as they are, such as the numbers of postal districts in a CSV file, and
    # the texts that are known: NA or None among them are not missing values.
    text: Mapping[str, Iterable[str]] = field(default_factory=dict)
    kept: Container[str] = ()  # columns that are not left out, even if they number the rows
    # Column that may hold classes. Where it does, numbers that float64 would round are nullable
    # integers of pandas, or text as in the file; integers of which some begin with 0, such as 01, are
    # text.
    target: str | None = None
    task: str | None = None  # kind of the target, where it is known: "classification" or "regression"
    copied: Sequence[str] = ()  # columns of a CSV file to copy as they are, if the file has them
    drop: Sequence[str] = ()  # columns of a Parquet file that are not read


@dataclass(frozen=True)
class CsvFile:
    """Open CSV file, its first bytes, decompressed, and how it is encoded."""

    file: BinaryIO
    head: bytes
    name: str
    encoding: str
    unpack: Callable[[BinaryIO], Any] | None  # one of `UNPACKERS`


def read_table(
    source: str | Path, options: ReadOptions, columns: Columns, rows: int | None = None, seed: int = 0
) -> ReadTable:
    """Read a table of one row at least from a CSV or Parquet file, its URL, or "-" for standard input.

    If the file has more than `rows` rows, read a random sample of that many. A file that holds no table is
    a ValueError, one that cannot be read an OSError, and a missing package an ImportError.
    """
    name = "standard input" if source == "-" else name_source(source)
    random = np.random.RandomState(seed)
    if is_parquet(source):
        read = _read_parquet(Source.open(source), columns, rows, random)
    else:
        with _open_bytes(source, name) as file:
            head = file.read(HEAD)
            file.seek(0)
            if not head.strip():
                raise ValueError(f"{name} is empty")
            if head.startswith(PARQUET):
                read = _read_parquet(Source.read_stream(file, name), columns, rows, random)
            else:
                read = _read_csv(file, head, name, options, columns)
                n_rows = len(read.frame)
                drawn = draw_rows(n_rows, rows, random)
                if drawn is not None:
                    read.frame = read.frame.iloc[drawn].copy()
                    read.notes.append(SAMPLED.format(rows, n_rows))
    frame = read.frame
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"{name} has more than one column named {twice!r}: rename or remove one")
    if not len(frame):
        raise ValueError(f"{name} has a header but no rows")
    first = frame.columns[0]
    if first in ("Unnamed: 0", INDEX) and first not in columns.kept and len(frame.columns) > 1:
        numbers = frame[first]  # of the rows, as pandas writes its index
        if numbers.dtype.kind in "iu" and (numbers - frame.index).nunique() == 1:
            read.frame = frame.drop(columns=first)
            read.notes.append("the first column, which numbers the rows, is left out")
    _convert_dates(read, options, columns)
    return read


def resolve_names(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return names of columns that a user gave, without the spaces around a name that the table lacks."""
    return list(dict.fromkeys(name if name in columns else name.strip() for name in names))


@contextmanager
def _open_bytes(source: str | Path, name: str) -> Iterator[BinaryIO]:
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


class _Unpacking(io.RawIOBase):
    """Bytes that a compressed file holds; ValueError for more than a table of its size would have."""

    def __init__(self, file: CsvFile) -> None:
        assert file.unpack is not None
        self._name = file.name
        self._n_left = find_max_unpacked(file.file.seek(0, os.SEEK_END))
        file.file.seek(0)
        self._file = file.unpack(file.file)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into a buffer, and return the number of bytes."""
        found = self._file.read(len(buffer))
        self._n_left -= len(found)
        if self._n_left < 0:
            raise ValueError(
                f"{self._name} unpacks to more than {MAX_RATIO} times its size: if it is a table, unpack it "
                "yourself"
            )
        buffer[: len(found)] = found
        return len(found)


def _read_parquet(
    source: Source, columns: Columns, rows: int | None, random: np.random.RandomState
) -> ReadTable:
    unread = [name for name in resolve_names(columns.drop, source.columns) if name in source.columns]
    n_rows = source.n_rows
    drawn = draw_rows(n_rows, rows, random)
    table = source.read([name for name in source.columns if name not in unread], drawn)
    frame = table.to_pandas()
    target = columns.target
    if target in frame and frame[target].dtype.kind == "f":
        types = import_arrow().types
        column = table[target]
        if types.is_integer(column.type):
            # NumPy's integers have no missing value, so that pandas made them floats, which round.
            frame[target] = pandas.array(
                column.to_pylist(), "Int64" if types.is_signed_integer(column.type) else "UInt64"
            )
    if not isinstance(frame.index, pandas.RangeIndex):  # of a dataframe that was saved with its index
        frame = frame.reset_index(drop=frame.index.name is None)
    frame.index = pandas.RangeIndex(len(frame)) if drawn is None else drawn
    frame.columns = [str(column) for column in frame.columns]
    notes = [] if drawn is None else [SAMPLED.format(rows, n_rows)]
    return ReadTable(frame, source.name, notes, unread=unread)


def _may_round(column: Series, task: str | None) -> bool:
    """Return True for a target of floats that may be classes, and stand for other texts in the file.

    Without a task, fractions are numbers to predict.
    """
    values = column.dropna()
    if not len(values):
        return False
    if column.dtype.kind != "f":
        # pandas keeps missing values as empty text among integers that only 64 bits without a sign hold.
        return bool((values == "").any())
    are_whole = bool((values == values.round()).all())
    return bool(values.abs().max() >= MAX_EXACT) if are_whole else task == "classification"


def _may_be_classes(column: Series, task: str | None) -> bool:
    """Return True for classes, and for a target without a task that may hold classes."""
    return task is not None or column.dtype.kind not in "iuf" or column.nunique() <= MAX_CLASSES


def _read_csv(file: BinaryIO, head: bytes, name: str, options: ReadOptions, columns: Columns) -> ReadTable:
    for magic, remedy in REFUSED.items():
        if head.startswith(magic):
            raise ValueError(f"{name} is {remedy}")
    if JSON.match(head):
        raise ValueError(f"{name} holds JSON: pandas.read_json and to_csv make a CSV file of it")
    unpack = next((unpack for magic, unpack in UNPACKERS.items() if head.startswith(magic)), None)
    if unpack is not None:
        try:
            head = unpack(file).read(HEAD)
        except Exception as error:
            raise ValueError(f"{name} is damaged: {error}") from None
    marked = (kind for mark, kind in BYTE_ORDER_MARKS.items() if head.startswith(mark))
    encoding = options.encoding or next(marked, "utf-8")
    csv_file = CsvFile(file, head, name, encoding, unpack)
    try:
        return parse_csv(csv_file, options, columns)
    except UnicodeDecodeError as error:
        if options.encoding:
            raise ValueError(
                f"{name} is not encoded in {encoding}, as --encoding says: {error.reason}"
            ) from None
        try:
            read = parse_csv(replace(csv_file, encoding=FALLBACK), options, columns)
        except UnicodeDecodeError:
            raise ValueError(f"{name} is neither UTF-8 nor {FALLBACK}: name its --encoding") from None
        read.notes.insert(0, f"the file is not UTF-8: read as {FALLBACK}, unless --encoding names another")
        return read
    except LookupError:
        raise ValueError(f"--encoding: there is no encoding {encoding!r}") from None
    except UnicodeError:  # of an encoding for names in the Internet, such as idna
        raise ValueError(
            f"--encoding: {encoding!r} is not an encoding of files: name another, such as utf-8 or cp1252"
        ) from None


def parse_csv(file: CsvFile, options: ReadOptions, columns: Columns) -> ReadTable:
    """Return the rows of a CSV file in the dialect that options or its first lines tell.

    A damaged file is a ValueError, and another encoding than the file's a UnicodeDecodeError.
    """
    text = file.head.decode(file.encoding, "ignore")
    if "\0" in text:
        raise ValueError(f"{file.name} is neither a CSV file nor a Parquet file")
    dialect, notes = find_dialect(text, len(file.head) >= HEAD, options, file.name)
    for text in options.na if options.trained is None else ():
        column, sign, _ = text.partition("=")
        if sign and column not in dialect.header:
            notes.append(f"--na reads {text!r} as a missing value, since there is no column {column!r}")
    fields = _Fields(file, dialect, options)
    with _explain_csv_errors(file.name, dialect.sep):
        frame = fields.read(columns.text)
        if len(frame) and not isinstance(frame.index, pandas.RangeIndex):  # pandas drops a blank first name
            raise ValueError(f"{file.name}: its rows have more fields than the header: correct the header")
        for column, known in columns.text.items():
            if column in frame and options.default_na and not MISSING_TEXTS.isdisjoint(known):
                others = [*fields.list_missing(column), *MISSING_TEXTS.difference(known)]
                frame[column] = fields.read_texts([column], others)[column]
        if dialect.may_have_points or options.units:
            notes += _convert_numbers(frame, columns.text, options.units, dialect)
        target = columns.target
        if target is not None and target in frame and columns.task != "regression":
            frame[target] = _restore_classes(fields, frame[target], columns.task, options.units)
            may_lack = options.default_na and frame[target].hasnans  # a class such as None
            if may_lack and _may_be_classes(frame[target], columns.task):
                texts = fields.read_texts([target], fields.list_missing(target))[target]
                texts = texts[frame[target].isna()].dropna()
                if len(texts):
                    notes.append(
                        f"the target {target!r} holds {join_names(texts.value_counts().index)} in "
                        f"{pluralize(len(texts), 'row')}, read as missing values: --no-default-na makes "
                        "these texts classes"
                    )
        copied = [column for column in resolve_names(columns.copied, frame.columns) if column in frame]
        kept = fields.read_texts(copied, [""]) if copied else None
    notes += note_renamed_columns(dialect.header, frame.columns)
    marks = {"sep": dialect.sep, "decimal": dialect.decimal, "thousands": dialect.thousands}
    return ReadTable(frame, file.name, notes, ReadOptions(**(options.to_record() | marks)), kept)


@dataclass(frozen=True)
class _Fields:
    """Fields of a CSV file, which pandas reads."""

    file: CsvFile
    dialect: Dialect
    options: ReadOptions

    def list_missing(self, column: str | None) -> list[str]:
        """Return the texts for missing values of a column, or of all, by --na alone."""
        texts = [""]
        for option in self.options.na:
            name, sign, text = option.partition("=")
            if not (sign and name in self.dialect.header):
                texts.append(option)
            elif name == column:
                texts.append(text)
        return texts

    def read(self, text_columns: Iterable[str], **settings: object) -> DataFrame:
        """Return the columns, some of them as text, with further arguments of pandas' function."""
        dialect, common = self.dialect, self.list_missing(None)
        by_column = {column: self.list_missing(column) for column in dialect.header}
        has_own = any(texts != common for texts in by_column.values())
        given = {
            "sep": r"\s+" if dialect.sep == " " else dialect.sep,
            "quotechar": dialect.quote,
            "decimal": dialect.decimal,
            "thousands": dialect.thousands,
            "encoding": self.file.encoding,
            "skipinitialspace": True,
            "low_memory": False,
            "dtype": dict.fromkeys(text_columns, "string") or None,
            "index_col": False if dialect.has_surplus else None,
            "skiprows": self._skipped,
            "na_values": by_column if has_own else common,
            "keep_default_na": self.options.default_na,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            return pandas.read_csv(self._open(), **(given | settings))

    def _open(self) -> BinaryIO:
        self.file.file.seek(0)
        return self.file.file if self.file.unpack is None else io.BufferedReader(_Unpacking(self.file))

    @functools.cached_property
    def _skipped(self) -> list[int]:
        """Numbers of the rows that are left out; a row by blanks that lacks a field is a ValueError."""
        dialect, skipped = self.dialect, list(range(self.dialect.n_skipped))
        if dialect.comment is None and dialect.sep != " ":
            return skipped
        lines = io.TextIOWrapper(self._open(), self.file.encoding, newline="")
        stripped = (line.strip(" \r\n") if dialect.sep == " " else line for line in lines)
        rows = csv.reader(stripped, delimiter=dialect.sep, quotechar=dialect.quote, skipinitialspace=True)
        width = len(dialect.header)
        for number, fields in enumerate(rows):
            if dialect.comment and fields and fields[0].startswith(dialect.comment):
                skipped.append(number)
            elif dialect.sep == " " and number >= dialect.n_skipped and 0 < len(fields) < width:
                raise ValueError(
                    f"{self.file.name}: line {rows.line_num} has {len(fields)} fields instead of {width}, "
                    "separated by blanks: correct the line, or name another --sep"
                )
        lines.detach()
        return skipped

    def read_texts(self, columns: Sequence[str], missing: Sequence[str]) -> DataFrame:
        """Return columns as text, with some texts for missing values and no others."""
        return self.read(columns, usecols=columns, na_values=missing, keep_default_na=False)


@contextmanager
def _explain_csv_errors(name: str, sep: str) -> Iterator[None]:
    try:
        yield
    except pandas.errors.EmptyDataError:
        raise ValueError(f"{name} is empty") from None
    except pandas.errors.ParserWarning:  # of fields that pandas would leave out
        raise ValueError(
            f"{name}: a line has more fields than the header, separated by {sep!r}: correct the line, or "
            "name another --sep"
        ) from None
    except pandas.errors.ParserError as error:
        if found := re.search(r"EOF inside string starting at row (\d+)", str(error)):
            raise ValueError(
                f"{name}: a quote in line {int(found[1]) + 1} is never closed: correct the line"
            ) from None
        if "out of memory" in str(error):
            raise MemoryError(f"{name} does not fit into the free memory: name a part of it") from None
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if not found:
            raise ValueError(f"{name} is not a CSV file: {get_first_line(error)}") from None
        raise ValueError(
            f"{name}: line {found[2]} has {found[3]} fields instead of {found[1]}, separated by {sep!r}: "
            "correct the line, or name another --sep"
        ) from None
    except csv.Error as error:
        raise ValueError(f"{name} is not a CSV file: {get_first_line(error)}") from None
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{name} is damaged: {get_first_line(error)}") from None


def _restore_classes(fields: _Fields, target: Series, task: str | None, units: Sequence[str]) -> Series:
    """Return a target, as in the file where it may hold classes that pandas has rounded or shortened."""
    may_round, values = _may_round(target, task), target.dropna()
    may_be_padded = target.dtype.kind in "iuf" and (values == values.round()).all()  # such as 01 in the file
    if not (may_round or (may_be_padded and _may_be_classes(target, task))):
        return target
    dialect = fields.dialect
    texts = fields.read([target.name], usecols=[target.name])[target.name]
    texts = to_python_form(texts, units, dialect.thousands, dialect.decimal)
    present = texts.dropna()
    is_padded = present.str.fullmatch("[+-]?0[0-9]+").any()
    if not (may_round or is_padded):
        return target
    if is_padded or not present.str.fullmatch("[+-]?[0-9]+").all():
        return texts
    integers = [None if pandas.isna(value) else int(value) for value in texts]
    is_signed = min(map(int, present)) < 0
    try:
        return pandas.Series(pandas.array(integers, "Int64" if is_signed else "UInt64"), texts.index)
    except OverflowError:
        return texts


def _convert_numbers(
    frame: DataFrame, text_columns: Container[str], units: Sequence[str], dialect: Dialect
) -> list[str]:
    """Convert columns of text whose values are all numbers, with one of some units or without.

    Return notes on columns where points that separate thousands might be decimal points, or both are there.
    """
    notes: list[str] = []
    doubtful: list[str] = []
    for name in frame.columns:
        column = frame[name]
        if name in text_columns or not pandas.api.types.is_string_dtype(column.dtype):
            continue
        values = parse_units(column.astype("string"), units, dialect.thousands, dialect.decimal)
        if values.notna().sum() == column.notna().sum() > 0:
            frame[name] = values.astype("float64" if values.hasnans else values.dtype.name.lower())
            plain = pandas.to_numeric(column, errors="coerce")
            if not dialect.may_have_points:
                continue
            if plain.notna().equals(column.notna()):
                if (plain != frame[name])[plain.notna()].any():
                    doubtful.append(name)
            elif len(pointed := column[(plain == frame[name]) & column.str.contains(".", regex=False)]):
                example = f"{pointed.iloc[0]!r} in row {pointed.index[0] + 1}"
                notes.append(
                    f"column {name!r} holds decimal points beside commas, such as {example}: both are read"
                )
    if doubtful:
        notes.append(f"points separate thousands in {join_names(doubtful)}")
    return notes


def _convert_dates(read: ReadTable, options: ReadOptions, columns: Columns) -> None:
    """Convert columns of text whose values are all dates, or times of day but for the target.

    Add a note if no column has a given format.
    """
    trained = () if options.trained is None else options.trained.date_format
    given = [one for one in options.date_format if one not in trained]
    may_fit = False  # True after a column of dates, and after one of missing values alone
    for name in read.frame.columns:
        if name in columns.text:
            continue
        column = read.frame[name]
        may_fit = may_fit or not column.count()
        if not (pandas.api.types.is_string_dtype(column.dtype) or column.dtype == object):
            continue
        sample = column.dropna().head(100)
        if not len(sample) or not all(isinstance(value, str) for value in sample):
            continue
        found = parse_dates(column, options.date_format)
        if _is_complete(found, column):
            may_fit = True
        elif all(_ISO_DATE.fullmatch(value) for value in sample):
            found = parse_dates(column, [ISO])
        elif name != columns.target and all(_TIME.fullmatch(value.strip()) for value in sample):
            found = parse_dates(column.str.strip(), TIME_FORMATS)
            if _is_complete(found, column):
                found -= pandas.Timestamp("1900-01-01")
                read.notes.append(f"column {name!r} holds times of day, read as fractions of a day")
        elif read.reading is not None:
            found = _convert_unambiguous_dates(read, column)
        if _is_complete(found, column):
            read.frame[name] = found
    if given and not may_fit:
        forms = " or ".join(map(short_repr, given))
        read.notes.append(f"no column holds dates in the format {forms} of --date-format")


def _convert_unambiguous_dates(read: ReadTable, column: Series) -> Series:
    """Return the dates of a column of a CSV file that one order of day, month and year fits; NaT for others.

    The format is remembered, so that dates of other files have the same order whatever their values are. No
    two columns of a file may differ in the order of day and month.
    """
    assert read.reading is not None
    guesses = guess_date_formats(column.dropna())
    forms = [one for one in guesses if _is_complete(parse_dates(column, [one]), column)]
    known = list(dict.fromkeys([*read.reading.date_format, *forms]))
    orders = {one.index("%d") < one.index("%m") for one in known if re.match("%[dm].*%[dm]", one)}
    if len(forms) != 1 or len(orders) > 1:
        return parse_dates(column, [])
    read.reading = replace(read.reading, date_format=known)
    dates = parse_dates(column, forms)
    read.notes.append(
        f"column {column.name!r} holds dates as {column.dropna().iloc[0]}, read by {forms[0]}: from "
        f"{dates.min().date()} to {dates.max().date()}"
    )
    return dates


def _is_complete(dates: Series, column: Series) -> bool:
    return bool(dates.count() == column.count())


def parse_dates(column: Series, date_formats: Iterable[str]) -> Series:
    """Return a column as dates, in the format that most values have, NaT where a value has another form.

    All are NaT without a format, or if time zones of another format than ISO differ. ISO dates with several
    offsets, as in winter and summer, become local times.
    """
    found = pandas.Series(pandas.NaT, column.index, "datetime64[ns]")
    for date_format in date_formats:
        try:
            dates = pandas.to_datetime(column, format=date_format, errors="coerce")
        except (ValueError, re.error) as error:  # pandas makes a regular expression of the format
            if date_format == ISO:
                local = column.str.replace(_OFFSET, r"\1", regex=True)
                dates = pandas.to_datetime(local, format=date_format, errors="coerce")
            elif re.search("format|directive|group name", str(error)):
                raise ValueError(
                    f"--date-format {short_repr(date_format)}: {get_first_line(error)}"
                ) from None
            else:
                continue
        if dates.dtype.kind == "M" and dates.count() > found.count():
            found = dates
    return found


class TableInPieces:
    """Table of a file whose rows are read when they are asked for.

    Only a few thousand rows of a Parquet file, or of a folder of them, are in memory at a time. A table
    of another kind, or any with `is_whole`, is read at once, and is its only piece. It has a name for
    messages, the names of its columns, and notes on how it was read.
    """

    def __init__(self, source: str | Path, options: ReadOptions, columns: Columns, is_whole: bool) -> None:
        self._read: ReadTable | None = None
        if is_whole or not is_parquet(source):
            self._read = read_table(source, options, columns)
            self.name, self.notes = self._read.name, self._read.notes
            self.columns = list(self._read.frame.columns)
        else:
            self._source = Source.open(source)
            self.name, self.notes = self._source.name, []
            self.columns = [name for name in self._source.columns if name != INDEX]

    def get_kept_schema(self, names: Sequence[str]) -> Schema | None:
        """Return the pyarrow Schema of columns to copy; None if the table is not a Parquet file."""
        if self._read is not None or not names:
            return None
        return import_arrow().schema(map(self._source.schema.field, names))

    def read_pieces(self, names: Sequence[str], kept: Sequence[str]) -> Iterator[tuple[ReadTable, DataFrame]]:
        """Yield all rows in their order, as tables with the columns `names`, and the columns `kept` to copy.

        The index holds the numbers of the rows; columns to copy have the same data types in all pieces.
        """
        if self._read is not None:
            yield self._read, _copy_columns(self._read, kept)
            return
        types, first = _map_nullable_types(), 0
        for batch in self._source.read_batches(list(dict.fromkeys([*names, *kept]))):
            rows = pandas.RangeIndex(first, first := first + len(batch))
            frame = batch.select(list(names)).to_pandas().set_axis(rows)
            copied = batch.select(list(kept)).to_pandas(types_mapper=types.get).set_axis(rows)
            yield ReadTable(frame, self.name), copied
        if not first:
            raise ValueError(f"{self.name} has no rows")


def _copy_columns(read: ReadTable, names: Sequence[str]) -> DataFrame:
    """Return columns to copy: numbers, booleans or dates only where the file has the same text for them."""
    frame = read.frame[list(names)].copy()
    if read.copied is not None:
        for name in names:
            fields = read.copied[name]
            if not frame[name].astype("string").equals(fields):
                frame[name] = fields
    return frame


def _map_nullable_types() -> dict[object, object]:
    """Return pandas data types with missing values, so that integers are written alike in every piece."""
    alias = import_arrow().type_for_alias
    names = "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "boolean"
    return {alias(name.lower()): pandas.api.types.pandas_dtype(name) for name in names}
