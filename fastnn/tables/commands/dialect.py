"""Form of a CSV file, found in its first lines: header, separator, quotes, decimal point, thousands."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...system.messages import pluralize
from ..options import ReadOptions

# Lines that are inspected.
MAX_LINES = 500
SEPARATORS = (",", ";", "\t", "|")
_COMMA_NUMBER = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_POINT_NUMBER = re.compile(r"[+-]?\d+\.\d+")
# Numbers whose points perhaps separate thousands.
_POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
_NUMBER = re.compile(r"\s*[+-]?(?=[.,]*\d)[\d.,]+(?:[eE][+-]?\d+)?\s*")
# Fields in single quotes.
_SINGLE_QUOTED = re.compile(r"(?:^|[,;\t|])\s*'[^']*'\s*(?=$|[,;\t|])")

# Row of a file: its number, counted from 0 and with blank rows as pandas counts, and its fields.
Row = tuple[int, list[str]]


@dataclass(frozen=True)
class Dialect:
    """How the fields of a CSV file are separated and written."""

    sep: str
    quote: str
    decimal: str
    thousands: str | None
    n_skipped: int  # rows before the header that are left out
    comment: str | None  # sign with which lines begin that are left out
    header: Sequence[str]  # names of the columns, as the file has them
    has_surplus: bool  # True if all lines but the header end with a separator

    @property
    def may_have_points(self) -> bool:
        """True if points may separate thousands in some columns: pandas would remove points in all."""
        return self.decimal == "," and self.thousands is None


def find_dialect(text: str, is_cut: bool, options: ReadOptions, name: str) -> tuple[Dialect, list[str]]:
    """Return the dialect of a CSV file, as options say or its first lines suggest, and notes on it.

    The text is the beginning of the file, and `is_cut` True if it ends within a line perhaps. Without an
    option, the file of a model's training decides where both files have the same separator: it may have had
    decimal commas that these lines do not show. An impossible option is a ValueError.
    """
    lines = re.split(r"\r\n?|\n", text)  # `str.splitlines` also divides at other characters, as U+2028
    lines = (lines[:-1] if is_cut else lines)[:MAX_LINES]
    quote = _find_quote(lines)
    sep = options.sep.replace("\\t", "\t") if options.sep else _find_separator(lines, quote)
    if len(sep) != 1:
        raise ValueError(f"--sep must be one character, got {sep!r}")
    rows = _split_fields(lines, sep, quote)
    start = _count_titles(rows)
    n_skipped, rows = (rows[start][0] if start else 0), rows[start:]
    comment = _find_comment(rows)
    rows = [row for row in rows if comment is None or not row[1][0].startswith(comment)]
    decimal, thousands = options.decimal, options.thousands or None
    trained = options.trained
    is_open = options.decimal is None and options.thousands is None
    if is_open and trained and trained.sep == sep and (trained.thousands or trained.decimal != "."):
        decimal, thousands = trained.decimal, trained.thousands
    if decimal is None:
        decimal = "." if sep == "," else _find_decimal(rows)
    if len(decimal) != 1 or decimal.isalnum() or decimal.isspace():
        raise ValueError(f"--decimal must be a sign, such as '.' or ',', got {decimal!r}")
    if thousands is not None and (thousands == decimal or len(thousands) != 1):
        raise ValueError(f"--thousands must be one character other than the decimal point, got {thousands!r}")
    notes = []
    if n_skipped:
        verb = "is" if n_skipped == 1 else "are"
        notes.append(f"{pluralize(n_skipped, 'line')} before the header {verb} left out")
    if comment is not None:
        notes.append(f"lines that begin with {comment} are left out")
    if sep != ",":
        names = {"\t": "tabs", " ": "blanks"}
        notes.append(f"fields are separated by {names.get(sep, repr(sep))}")
    if decimal != ".":
        notes.append(f"decimal point {decimal!r}")
    elif not (options.decimal or thousands) and sep != "," and _may_be_groups(rows):
        notes.append(
            "points are read as decimal points: --decimal , --thousands . reads them as separators of "
            "thousands"
        )
    header = rows[0][1] if rows else []
    has_surplus = _has_empty_surplus(rows, sep, name)
    return Dialect(sep, quote, decimal, thousands, n_skipped, comment, header, has_surplus), notes


def _split_fields(lines: Sequence[str], sep: str, quote: str) -> list[Row]:
    """Return the rows that are not blank; none if a field is longer than the module csv allows."""
    lines = [line.strip() for line in lines] if sep == " " else lines
    reader = csv.reader(lines, delimiter=sep, quotechar=quote, skipinitialspace=True)
    rows = []
    try:
        for number, fields in enumerate(reader):
            if any(field.strip() for field in fields) or len(fields) > 1:
                rows.append((number, fields))
    except csv.Error:
        return []
    return rows


def _find_quote(lines: Sequence[str]) -> str:
    """Return the sign that encloses fields: ' if most lines have such fields, and none has the sign "."""
    n_quoted = sum(bool(_SINGLE_QUOTED.search(line)) for line in lines)
    n_lines = sum(bool(line.strip()) for line in lines)
    return "'" if 2 * n_quoted > n_lines and not any('"' in line for line in lines) else '"'


def _find_separator(lines: Sequence[str], quote: str) -> str:
    """Return the separator with which most rows have as many fields as the header; a comma if none has.

    Blanks separate the fields of lines that no other sign does, if all have as many.
    """
    best, best_key = ",", (0.0, 0)
    for sep in SEPARATORS:
        rows = _split_fields(lines, sep, quote)
        widths = [len(fields) for _, fields in rows[_count_titles(rows) :]]
        if not widths or widths[0] < 2:
            continue
        key = (round(widths.count(widths[0]) / len(widths), 1), widths[0])
        if key > best_key:
            best, best_key = sep, key
    widths_by_blanks = {len(fields) for _, fields in _split_fields(lines, " ", quote)}
    return " " if best_key == (0.0, 0) and len(widths_by_blanks) == 1 and max(widths_by_blanks) > 1 else best


def _count_titles(rows: Sequence[Row]) -> int:
    """Return the number of rows before the header: comments, and titles of one field.

    The header is the first row as wide as most that holds names, if a later row holds a number. Otherwise the
    first row may be the header of rows that are too long.
    """
    width = Counter(len(fields) for _, fields in rows).most_common(1)[0][0] if rows else 0
    for start, (_, fields) in enumerate(rows):
        if fields[0].startswith("#") or (len(fields) != width and sum(map(bool, fields)) <= 1):
            continue
        if len(fields) == width > 1 and all(field and not _NUMBER.fullmatch(field) for field in fields):
            others = (field for _, row in rows[start + 1 :] for field in row)
            return start if any(map(_NUMBER.fullmatch, others)) else 0
        if sum(map(bool, fields)) > 1:
            return 0
    return 0


def _find_comment(rows: Sequence[Row]) -> str | None:
    """Return "#" if lines after the header begin with it, as comments of one field, and no other has it."""
    others = [fields for _, fields in rows if not (len(fields) == 1 and fields[0].startswith("#"))]
    has_comments = 0 < len(others) < len(rows) and len(others[0]) > 1
    return "#" if has_comments and not any("#" in field for fields in others for field in fields) else None


def _has_empty_surplus(rows: Sequence[Row], sep: str, name: str) -> bool:
    """Return True if all lines but the header end with a separator; raise ValueError for surplus fields.

    pandas would take the first column of these lines for an index.
    """
    if len(rows) < 2 or len(rows[1][1]) <= len(rows[0][1]):
        return False
    if len(rows[1][1]) == len(rows[0][1]) + 1 and not any(fields[-1] for _, fields in rows[1:]):
        return True
    (_, header), (number, first) = rows[:2]
    raise ValueError(
        f"{name}: line {number + 1} has {len(first)} fields instead of the header's {len(header)}, separated "
        f"by {sep!r}: correct the line, or name another --sep"
    )


def _find_decimal(rows: Sequence[Row]) -> str:
    """Return the decimal point of the numbers in rows, a comma where commas and points are as frequent."""
    fields = _list_fields(rows)
    n_commas = sum(bool(_COMMA_NUMBER.fullmatch(field)) for field in fields)
    n_points = sum(bool(_POINT_NUMBER.fullmatch(field)) for field in fields)
    n_points -= sum(bool(_POINT_GROUPS.fullmatch(field)) for field in fields)
    return "," if n_commas >= max(1, n_points) else "."


def _may_be_groups(rows: Sequence[Row]) -> bool:
    """Return True if all points of the numbers in rows may separate thousands, and there are some."""
    with_points = [field for field in _list_fields(rows) if _POINT_NUMBER.fullmatch(field)]
    return bool(with_points) and all(map(_POINT_GROUPS.fullmatch, with_points))


def _list_fields(rows: Sequence[Row]) -> list[str]:
    """Return the fields of all rows but the header."""
    return [field.strip() for _, fields in rows[1:] for field in fields]
