"""The user's own data, checked: numeric columns and a target of classes or numbers."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..system.frames import as_table, is_missing
from ..system.messages import join_names, note_renamed_columns
from ..system.targets import MAX_CLASSES, are_numbers, stands_for_number, suggest_task
from ..system.validation import short_repr
from .datasets import TABLES
from .settings import MAX_SAMPLES

Array = NDArray[Any]

# Largest magnitude of a number. The squares in a standard deviation must not overflow.
MAX_MAGNITUDE = 1e150
# Number of rows from which the use of a column is estimated, so that there are fewer classes than rows.
MIN_ROWS_OF_USE = 2 * MAX_CLASSES
# The histogram from which it is estimated: rows of a cell, on average, and bins of a column.
ROWS_PER_CELL, MAX_BINS = 5, 10
# Fields of a CSV file that are missing values.
MISSING = {"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?"}


@dataclass(frozen=True)
class PlayTable:
    """Columns of a table, and the target that is learned from two of them."""

    columns: dict[str, NDArray[np.float64]]  # numbers of the columns, NaN for missing values
    target: str
    kind: str  # "classes" or "regression"
    y: Array  # numbers (n,) of the classes, counted from 0, or targets of a regression
    classes: list[str] | None  # None for a regression
    by_use: list[str]  # all columns, by the information that they share with the target, most first

    @property
    def state(self) -> dict[str, Any]:
        return {"dataset": "table", **TABLES[self.kind].best}


def make_table(X: Any, y: Any, target: str | None = None) -> PlayTable:
    """Return the table of a user's arrays or dataframes, without the rows whose target is a missing value.

    Columns of X that are not numbers are left out; X may be a dict of columns. y holds classes, as text,
    booleans or at most ten integers, or numbers of a regression, which may be text if there are more than
    ten. By default the target has the name of y, or "y".
    """
    if not (target is None or isinstance(target, str)):
        raise TypeError(f"target must be the name of the target, a str, or None, got {short_repr(target)}")
    values = np.asarray(y)
    try:
        n_rows = len(values if isinstance(X, dict) else X)
    except TypeError:
        n_rows = 0  # a sparse matrix or no table at all: as_table says so
    if n_rows > MAX_SAMPLES:
        raise ValueError(
            f"the table has {n_rows:,} rows, but the playground draws at most {MAX_SAMPLES:,}: take a "
            "sample of its rows, for instance X.sample(5000) of a dataframe"
        )
    if isinstance(X, dict):
        names, columns = list(X), {name: column for name, column in X.items() if column.dtype.kind == "f"}
    else:
        read = as_table(X)
        named = zip(read.names, read.kinds, read.columns, strict=True)
        columns = {name: column for name, kind, column in named if kind in ("number", "boolean")}
        names, n_rows = read.names, read.n_rows
    if len(columns) < 2:
        others = [name for name in names if name not in columns]
        raise ValueError(
            f"the playground needs two columns of numbers, but the table has {list(columns) or 'none'}"
            + (f"; no numbers in: {join_names(others)}" if others else "")
        )
    given = getattr(y, "name", None)
    target = target or (given if isinstance(given, str) else "y")
    if values.shape != (n_rows,):
        raise ValueError(f"X has {n_rows} rows, but y has shape {values.shape}: give one target for each row")
    is_known = np.array([not is_missing(value) for value in values.tolist()], bool)
    if not is_known.any():
        raise ValueError(f"the target {target!r} holds only missing values: name another")
    columns = {name: column[is_known] for name, column in columns.items()}
    for name, column in columns.items():
        _check_numbers(column, f"column {name!r}")
        if len(np.unique(column[np.isfinite(column)])) < 2:
            raise ValueError(f"column {name!r} holds fewer than two different numbers: leave it out")
    kind, y, classes = _read_target(values[is_known], target)
    return PlayTable(columns, target, kind, y, classes, _sort_by_use(columns, y))


def read_csv(path: str | Path, target: str | None = None) -> tuple[PlayTable, list[str], list[str]]:
    """Return a CSV file as a table, all names and notes, by NumPy alone; the last column is the target."""
    text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    try:
        dialect: Any = csv.Sniffer().sniff(text[:10_000], ",;\t|")
    except csv.Error:  # a single column
        dialect = csv.excel
    dialect.skipinitialspace = True
    lines = [row for row in csv.reader(io.StringIO(text), dialect) if any(row)]
    if len(lines) < 2:
        raise ValueError("the file has no rows below a header")
    header, *rows = [[field.strip() for field in row] for row in lines]
    names: list[str] = []
    for name in header:
        numbered = (f"{name}.{k}" for k in itertools.count(1))  # as pandas does
        names.append(
            next(each for each in numbered if each not in {*header, *names}) if name in names else name
        )
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} fields, but the header {len(names)}")
    target = names[-1] if target is None else target
    if target not in names:
        raise ValueError(f"there is no column {target!r}: the columns are {join_names(names)}")
    has_points = dialect.delimiter == ","
    fields = dict(zip(names, zip(*rows, strict=True), strict=True))
    columns = {name: _parse_fields(each, has_points) for name, each in fields.items()}
    y = columns.pop(target)
    return make_table(columns, y, target), names, note_renamed_columns(header, names)


def _parse_fields(fields: Sequence[str], has_points: bool) -> Array:
    """Return numbers, with decimal commas unless the file has points, or objects; None is a missing value."""
    values = [None if field in MISSING else field for field in fields]
    texts = [value and (value if has_points else value.replace(",", ".")) for value in values]
    if all(text is None or stands_for_number(text) for text in texts):
        return np.array([np.nan if text is None else float(text) for text in texts])
    return np.array(values, object)


def _sort_by_use(columns: dict[str, NDArray[np.float64]], y: Array) -> list[str]:
    """Return the columns by their information on the target times the fraction of rows with a value."""
    use = {}
    for name, column in columns.items():
        rows = np.flatnonzero(np.isfinite(column) & np.isfinite(y))
        has_enough = len(rows) >= MIN_ROWS_OF_USE
        use[name] = _estimate_information(column[rows], y[rows]) * len(rows) / len(y) if has_enough else 0.0
    return sorted(columns, key=use.__getitem__, reverse=True)


def _estimate_information(x: Array, y: Array) -> float:
    """Return the mutual information of two columns, from their histogram and without its bias."""
    n_bins = int(min(MAX_BINS, (len(x) / ROWS_PER_CELL) ** 0.5))
    (n_rows, i), (n_columns, j) = _bin_values(x, n_bins), _bin_values(y, n_bins)
    joint = np.bincount(i * n_columns + j, minlength=n_rows * n_columns).reshape(n_rows, n_columns) / len(x)
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    seen = joint > 0
    bias = (n_rows - 1) * (n_columns - 1) / (2 * len(x))
    return float(np.sum(joint[seen] * np.log(joint[seen] / apart[seen])) - bias)


def _bin_values(values: Array, n_bins: int) -> tuple[int, Array]:
    """Return the number of bins and the bin of each value: bins hold about as many, or one value each."""
    if len(np.unique(values)) > MAX_BINS:
        values = np.searchsorted(np.quantile(values, np.arange(1, n_bins) / n_bins), values, side="right")
    distinct, bins = np.unique(values, return_inverse=True)
    return len(distinct), bins


def _check_numbers(values: NDArray[np.float64], what: str) -> None:
    if np.abs(values).max(initial=0.0, where=~np.isnan(values)) > MAX_MAGNITUDE:
        raise ValueError(f"{what} holds numbers beyond {MAX_MAGNITUDE:g}: scale it")


def _read_target(values: Array, target: str) -> tuple[str, Array, list[str] | None]:
    """Return kind, numbers and names of the classes of a target without missing values."""
    if values.dtype.kind == "O" and are_numbers(values):  # the array had missing values
        values = np.array(values.tolist())
    elif values.dtype.kind not in "fiub":
        values = np.array([str(value) for value in values])
    if are_numbers(values):
        _convert_to_numbers(values, target)  # raises for infinity, also where the numbers are classes
    # The integers themselves, because float64 would join large ones.
    distinct = np.unique(values)
    if len(distinct) < 2:
        raise ValueError(
            f"the target {target!r} holds only one value, {short_repr(str(distinct[0]))}: nothing to learn"
        )
    if suggest_task(distinct) == "regression":
        return "regression", _convert_to_numbers(values, target), None
    if len(distinct) > MAX_CLASSES:
        raise ValueError(
            f"the target {target!r} holds {len(distinct):,} different values, but the playground draws at "
            f"most {MAX_CLASSES} classes: choose another target, or merge some classes"
        )
    if values.dtype.kind == "f" and np.abs(values).max() < 2**63:
        values = values.astype(np.int64)
    classes, y = np.unique(values, return_inverse=True)
    return "classes", y.astype(np.int64), [str(label) for label in classes]


def _convert_to_numbers(values: Array, target: str) -> NDArray[np.float64]:
    """Return numbers, or text that stands for them, as float64; raise ValueError unless all are finite."""
    for value in values.tolist():
        if not stands_for_number(value):
            raise ValueError(f"the target {target!r} holds {short_repr(value)} among numbers: correct it")
    try:
        numbers = values.astype(np.float64)
    except OverflowError as error:  # a Python integer of more than 300 digits
        raise ValueError(f"the target {target!r}: {error}") from None
    if np.isinf(numbers).any():
        raise ValueError(f"the target {target!r} holds infinity")
    _check_numbers(numbers, f"the target {target!r}")
    return numbers
