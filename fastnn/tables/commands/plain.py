"""CSV files of numbers, read without pandas, for commands that need no more of a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...system.extras import import_extra
from ...system.frames import Table
from ...system.targets import MAX_CLASSES, stands_for_number
from ..streaming.source import shown_source
from .columns import check_known
from .reading import (
    COMPRESSIONS,
    FALLBACK,
    MISSING,
    PADDED_INTEGER,
    PARQUET,
    check_kind,
    first_lines,
    found_form,
    given_names,
    marked_encoding,
    opened_bytes,
)
from .texts import in_python_form, option

__all__ = ["read_plain_table"]

BOOLEANS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_INTEGER = re.compile(r"[+-]?[0-9]+")


def read_plain_table(
    source: str | Path, options: Any, target: str, drop: Sequence[str] = ()
) -> tuple[Table, list[Any], list[str]]:
    """Read numbers and a target from a CSV file.

    Parameters
    ----------
    source : str or Path
        Name of the file.
    options : namespace
        Options of `add_reading_arguments`.
    target : str
        Column of the target.
    drop : sequence of str
        Columns to leave out.

    Returns
    -------
    Table
        Columns but the target and those to leave out.
    list
        Values of the target: integers, floats, booleans or texts, None for missing ones.
    list of str
        Remarks for the user about what was found.

    Raises
    ------
    ValueError
        If the file is empty or holds no such table, or a column does not exist.
    OSError
        If the file does not exist or cannot be read.
    ImportError
        For a file or an option that needs pandas.
    """
    name = shown_source(source)
    notes: list[str] = []
    with opened_bytes(source, name) as file:
        content = file.read()
    if options.units or options.date_format:
        import_extra("pandas", "cli", "--units or --date-format")
    columns = _columns(_text(content, name, options, notes), name, options, notes)
    first = next(iter(columns))
    n_rows = len(columns[first])
    if len(columns) > 1 and first == "Unnamed: 0" and _numbers_rows(columns[first]):
        del columns[first]
        notes.append("the first column, which numbers the rows, is left out")
    check_known([target], list(columns), name, "--target")
    drop = given_names(drop, list(columns))
    check_known(drop, list(columns), name, "--drop")
    if target in drop:
        raise ValueError(f"--target: {target!r} cannot be dropped as well")
    y = _targets(columns.pop(target))
    names = [column for column in columns if column not in drop]
    kinds, values = [], []
    for column in names:
        found = _values(columns[column])
        kind = {bool: "boolean", str: "category"}.get(type(next(filter(_is_present, found), None)), "number")
        kinds.append(kind)
        values.append(found if kind == "category" else _as_floats(found, column, name))
    return Table(names, kinds, values, n_rows, has_names=True), y, notes


def _text(content: bytes, name: str, options: Any, notes: list[str]) -> str:
    """Return the text of a CSV file."""
    if content.startswith(PARQUET):
        import_extra("pandas", "cli", "a Parquet file")
    if content.startswith(tuple(COMPRESSIONS)):
        import_extra("pandas", "cli", "a compressed file")
    check_kind(content, name)
    encoding = options.encoding or marked_encoding(content)
    try:
        text = content.decode(encoding)
    except LookupError:
        raise ValueError(f"--encoding: there is no encoding {encoding!r}") from None
    except UnicodeError as error:
        if options.encoding:
            raise ValueError(f"{name} is not encoded in {encoding}, as --encoding says: {error}") from None
        notes.append(f"the file is not UTF-8: read as {FALLBACK}, unless --encoding names another")
        text = content.decode(FALLBACK, "replace")
    if "\0" in text:
        raise ValueError(f"{name} is neither a CSV file nor a Parquet file")
    if not text.strip():
        raise ValueError(f"{name} is empty")
    return text


def _columns(text: str, name: str, options: Any, notes: list[str]) -> dict[str, list[str]]:
    """Return the fields of the columns by their names; numbers have a decimal point, no others."""
    sep, decimal, thousands, may_have_points = found_form(first_lines(text), options, notes)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sep, skipinitialspace=True)
    rows: list[list[str]] = []
    try:
        header = [field or f"Unnamed: {k}" for k, field in enumerate(next(filter(None, reader)))]
        for row in filter(None, reader):
            if len(row) == len(header) + 1 and not row[-1]:  # every line may end with a separator
                row.pop()
            if len(row) > len(header):
                raise ValueError(
                    f"{name}: line {reader.line_num} has {len(row)} fields instead of {len(header)}, "
                    f"separated by {sep!r}: correct the line, or name another --sep"
                )
            rows.append(row + [""] * (len(header) - len(row)))
    except csv.Error as error:
        raise ValueError(f"{name} is not a CSV file: {error}") from None
    for column in header:
        if header.count(column) > 1:
            raise ValueError(f"{name} has more than one column named {column!r}: rename or remove one")
    if not rows:
        raise ValueError(f"{name} has a header but no rows")
    missing = {"", *options.na, *(MISSING if options.default_na else ())}
    columns = {}
    for column, fields in zip(header, zip(*rows, strict=True), strict=True):
        present = ["" if field in missing else field for field in fields]
        if may_have_points:
            columns[column] = _in_python_form(present)
        else:
            columns[column] = [_plain(field, decimal, thousands) for field in present]
    return columns


def _in_python_form(fields: list[str]) -> list[str]:
    """Return a column of a file with decimal commas, its numbers as Python writes them."""
    numbers = iter(in_python_form([field for field in fields if field]))
    return [field and next(numbers) for field in fields]


def _plain(field: str, decimal: str, thousands: str | None) -> str:
    """Return a field, the text of a number in Python's form if it stands for one."""
    if decimal == "." and thousands is None:
        return field
    number = field.replace(thousands, "") if thousands else field
    number = number.replace(decimal, ".")
    return number if stands_for_number(number) else field


def _numbers_rows(texts: list[str]) -> bool:
    """Return True for integers of which each is one more than the last."""
    if not all(map(_INTEGER.fullmatch, texts)):
        return False
    first = int(texts[0])
    return [*map(int, texts)] == [*range(first, first + len(texts))]


def _values(texts: list[str]) -> list[Any]:
    """Return the values of a column: integers, floats, booleans or texts, None for missing ones."""
    present = list(filter(None, texts))
    read: Any = str
    if all(_INTEGER.fullmatch(text.strip()) for text in present):
        read = int
    elif all(map(stands_for_number, present)):
        read = float
    elif all(text in BOOLEANS for text in present):
        read = BOOLEANS.__getitem__
    return [read(text) if text else None for text in texts]


def _targets(texts: list[str]) -> list[Any]:
    """Return the values of a target; integers that may be classes, such as 01 and 02, are texts."""
    values = _values(texts)
    distinct = set(filter(_is_present, values))
    if len(distinct) <= MAX_CLASSES and all(
        isinstance(value, int | float) and float(value).is_integer() for value in distinct
    ):
        fields = [text.strip() for text in texts]
        if any(map(PADDED_INTEGER.fullmatch, fields)):
            return [field or None for field in fields]
    return values


def _is_present(value: Any) -> bool:
    return value is not None


def _as_floats(values: list[Any], column: str, name: str) -> Any:
    """Return numbers as floats, NaN for missing ones; raise ValueError for infinity."""
    try:
        numbers = np.array([np.nan if value is None else float(value) for value in values])
    except OverflowError:  # an integer of more than 300 digits
        raise ValueError(f"{name}: column {column!r} holds numbers beyond 1e308: leave it out") from None
    wrong = np.isinf(numbers)
    if wrong.any():
        raise ValueError(
            f"{name}: column {column!r} holds infinity in row {int(wrong.argmax()) + 1}: correct it, read it "
            f"as missing by --na inf,-inf, or leave the column out by {option('--drop', column)}"
        )
    return numbers
