"""Text that stands for numbers or dates, and the options that read it so."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import re
import shlex
import unicodedata
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas
from numpy.typing import NDArray
from pandas import Series

from ..encoding.categories import parse_numbers
from ..encoding.encoder import MAX_CATEGORIES

if TYPE_CHECKING:
    from ..options import ReadOptions

# Fraction of a column's values from which the others are taken for mistakes, however much they differ.
MOSTLY = 0.8
# Largest number of different values beside numbers or dates where these are fewer, but most.
MAX_OTHERS = 5
# Largest number of different values that are inspected, the most frequent first.
MAX_VALUES = 2000
# Units beside all signs of currencies.
UNITS = ("%", "‰", "°", "USD", "EUR", "GBP", "CHF", "JPY", "CNY", "INR", "CAD", "AUD")
# Separators of thousands.
THOUSANDS = (",", "'", " ", "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}")
# Numbers of files with decimal commas; points may separate thousands.
_DECIMAL_COMMA = re.compile(
    r"[+-]?(?:(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+|[0-9]+)(?:,[0-9]*)?|,[0-9]+)(?:[eE][+-]?[0-9]+)?"
)
# Texts that often stand for missing values.
_MARKER = re.compile(
    r"\W{1,4}|_+|\W*(?:n\W?[aksv]\W?|k\W?a\W?|nan|nil|null|none|missing|unk|unknown|undefined|tb[ad]|"
    r"not (?:available|applicable|given|known|reported))\W*",
    re.IGNORECASE,
)
# Dates with years of two digits, whose format pandas does not guess: a separator, and the name of a month.
_SHORT_DATE = re.compile(r"\d\d?([-/.])(?:\d\d?|([A-Za-z]{3}))\1\d\d?")
_ENDS = re.compile(r"^[+-]?\s*([^\d\s.,+-]+)\s*[+-]?[\d.]|\d\.?\s*([^\d\s.,]+)\s*$")


def to_python_form(texts: Series, units: Iterable[str], thousands: str | None, decimal: str) -> Series:
    """Return a column of text in which Python reads the texts of numbers.

    Without a separator of thousands, points separate them in a column with decimal commas where all numbers
    allow that: 1.234 and 1.234,5 are 1234 and 1234.5, but 1.234 beside 52.1 has a decimal point. A few
    decimal points beside many commas are mistakes, which Python reads.
    """
    for unit in units:
        texts = texts.str.replace(unit, "", regex=False)
    texts = texts.str.strip()
    if thousands is not None:
        is_number = texts.str.fullmatch(_compile_grouped(thousands, decimal)).fillna(False).astype(bool)
        texts = texts.where(~is_number, texts.str.replace(thousands, "", regex=False))
    elif decimal == ",":
        is_number = texts.str.fullmatch(_DECIMAL_COMMA.pattern).fillna(False).astype(bool)
        n_points = pandas.to_numeric(texts[~is_number], errors="coerce").count()
        are_mistakes = n_points <= (1 - MOSTLY) * (n_points + is_number.sum())
        if not n_points or (are_mistakes and texts[is_number].str.contains(",", regex=False).any()):
            plain = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
            texts = texts.where(~is_number, plain)
    if decimal not in (".", ",") or (decimal == "," and thousands is not None):
        texts = texts.str.replace(decimal, ".", regex=False)
    return texts.str.replace(r"^([+-])\s+", r"\1", regex=True)


def parse_units(texts: Series, units: Iterable[str], thousands: str | None, decimal: str) -> Series:
    """Return a column of text as numbers, NaN for missing values and other text."""
    return pandas.to_numeric(to_python_form(texts, units, thousands, decimal), errors="coerce")


def find_hint(
    column: Series, reading: ReadOptions | None, missing_values: bool = True
) -> tuple[str, str] | None:
    """Return what most values of a column of text stand for, "numbers" or "dates", and how they are read.

    The second text is the end of a sentence about the column. The result is None for a column of other text,
    and without `missing_values` where plain numbers are text only because of a few other values. `reading` is
    the table's `ReadTable.reading`.
    """
    decimal = (reading and reading.decimal) or "."
    if not (pandas.api.types.is_string_dtype(column.dtype) or column.dtype == object):
        return None
    counts = column.dropna().value_counts()
    if not len(counts) or not all(isinstance(value, str) for value in counts.index):
        return None
    texts, n_rows = pandas.Series(counts.index, dtype="string"), counts.to_numpy()
    texts, more, n_rows = texts[:MAX_VALUES], texts[MAX_VALUES:], n_rows[:MAX_VALUES]
    options: list[str] = []
    what, read = "numbers", functools.partial(parse_units, units=(), thousands=None, decimal=decimal)
    if not _are_most(read(texts), n_rows):
        units = _find_units(texts)
        thousands, other_decimal = _find_separators(texts, units, decimal)
        read = functools.partial(parse_units, units=units, thousands=thousands, decimal=other_decimal)
        if units:
            options.append(format_option("--units", *units))
        if thousands is not None:
            options.append(f"--thousands {shlex.quote(thousands)}")
        if other_decimal != decimal:
            options.append(f"--decimal {other_decimal}")
    if not _are_most(read(texts), n_rows):
        what, formats = "dates", _find_date_formats(texts, n_rows)
        if not formats:
            return None
        read = functools.partial(pandas.to_datetime, format=formats[0], errors="coerce")
        if not _are_most(read(texts), n_rows):
            return None
        forms = " or ".join(shlex.quote(date_format) for date_format in formats)
        options = [] if formats[0].startswith("%Y-%m-%d") else [f"--date-format {forms}"]
    parsed = read(texts)
    others = [*texts[parsed.isna()], *more[read(more).isna()]]
    is_noted = others or (what == "numbers" and reading is None)
    if not (options or (is_noted and missing_values)):
        return None
    example = texts[parsed.notna()].iloc[0]
    text = f"holds {what} as text, such as {example!r}"
    condition = ""
    if others:
        row = int(column.index[(column == others[0]).to_numpy(dtype=bool, na_value=False).argmax()]) + 1
        text += f", beside {', '.join(map(repr, others[:MAX_OTHERS]))}"
        text += f" and {len(others) - MAX_OTHERS:,} more" if len(others) > MAX_OTHERS else ""
        text += f" (first in row {row})"
        if not all(map(is_marker, others)):
            return what, f"{text}: correct the others, or all stay text"
        condition = "if that means missing, "
        options.append(format_option("--na", *(f"{column.name}={one}" for one in others[:MAX_OTHERS])))
    if reading is None and what == "numbers" and not (others or options):
        numbers = parse_numbers([*column])
        if numbers is None or len(np.unique(numbers)) <= MAX_CATEGORIES:
            return what, f"{text}: {format_option('--numbers', column.name)} reads it as numbers"
        return what, f"{text}, read as such: {format_option('--categories', column.name)} keeps the texts"
    if reading is None:
        return what, f"{text}: convert it"
    return what, f"{text}: {condition}{' '.join(options)} reads it as {what}"


def is_marker(text: str) -> bool:
    """Return True for a text that often stands for a missing value, such as "?" or "unknown"."""
    return bool(_MARKER.fullmatch(text.strip()))


def read_as_missing(column: object, *texts: str) -> str:
    """Return the advice to read texts of a column as missing values."""
    option = format_option("--na", *(f"{column}={text}" for text in texts))
    return f"if it means missing, read it so by {option}"


def _compile_grouped(thousands: str, decimal: str) -> str:
    return rf"[+-]?\s*[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+(?:{re.escape(decimal)}\d*)?"


def format_option(name: str, *values: str) -> str:
    """Return an option of the command line with names or texts, quoted for the shell and as in a CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    text = line.getvalue()
    return f"{name}={shlex.quote(text)}" if text[:1] == "-" else f"{name} {shlex.quote(text)}"


def _find_separators(texts: Series, units: Iterable[str], decimal: str) -> tuple[str | None, str]:
    """Return the separator of thousands in texts of numbers, None if there is none, and the decimal point."""
    for unit in units:
        texts = texts.str.replace(unit, "", regex=False)
    texts = texts.str.strip()
    for separator in THOUSANDS:
        holders = texts[texts.str.contains(separator, regex=False)]
        if separator == decimal or not len(holders):
            continue
        is_grouped = holders.str.fullmatch(_compile_grouped(separator, decimal))
        if is_grouped.mean() >= MOSTLY:
            return separator, decimal
        if (
            separator == ","
            and decimal == "."
            and holders.str.fullmatch(_DECIMAL_COMMA.pattern).mean() >= MOSTLY
        ):
            return None, ","
    return None, decimal


def _are_most(parsed: Series, n_rows: NDArray[np.int64]) -> bool:
    """Return True if most rows have values that were parsed, and the others look like mistakes."""
    is_parsed = parsed.notna().to_numpy()
    share = n_rows[is_parsed].sum() / n_rows.sum()
    return bool(share >= MOSTLY or (share > 0.5 and (~is_parsed).sum() <= MAX_OTHERS))


def _find_units(texts: Series) -> list[str]:
    found = dict.fromkeys(unit for text in texts for pair in _ENDS.findall(text) for unit in pair)
    return [one for one in found if one in UNITS or (len(one) == 1 and unicodedata.category(one) == "Sc")]


def guess_date_formats(texts: Series) -> list[str]:
    """Return the formats of the first texts that may be dates, in every order of day, month and year."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a format that has the day first only where it has to
        guesses = [
            pandas.tseries.api.guess_datetime_format(text, dayfirst=is_first)
            for text in texts[:MAX_OTHERS]
            for is_first in (False, True)
        ]
    # A number such as 2017 is a date to pandas, too, and so is a day between year and month.
    found = [one for one in filter(None, guesses) if "%d" in one and re.search("%Y(?!.%d)", one)]
    for match in filter(None, map(_SHORT_DATE.fullmatch, texts[:MAX_OTHERS])):
        separator, month = match.groups()
        orders = ("%d %b %y",) if month else ("%m %d %y", "%d %m %y", "%y %m %d")
        found += [order.replace(" ", separator) for order in orders]
    return list(dict.fromkeys(found))


def _find_date_formats(texts: Series, n_rows: NDArray[np.int64]) -> list[str]:
    """Return the formats that suit most rows with texts of dates, equally well."""
    counts: dict[str, int] = {}
    for date_format in guess_date_formats(texts):
        with contextlib.suppress(ValueError):  # time zones differ
            dates = pandas.to_datetime(texts, format=date_format, errors="coerce")
            counts[date_format] = n_rows[dates.notna().to_numpy()].sum()
    return [one for one, count in counts.items() if count == max(counts.values()) > 0]
