"""Columns by name, and the rows of a table in the form that a saved model expects."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas
from pandas import DataFrame, Series

from ...system.messages import did_you_mean, find_similar, join_names, pluralize
from ...system.validation import Array
from ..encoding.categories import UNSEEN, CategoryEncoding
from ..encoding.columns import NumberEncoding
from .hints import find_hint, format_option, is_marker, read_as_missing
from .reading import ISO, ReadTable, TableInPieces, parse_dates

if TYPE_CHECKING:
    from ..estimators import TabularClassifier, TabularRegressor

# Largest number of categories unseen in the fit that are remembered for each column.
MAX_UNSEEN = 10_000


def check_known(names: Iterable[str | None], columns: Sequence[str], table: str, argument: str) -> None:
    """Raise ValueError if the columns of a table, given its name, lack one that an argument names."""
    for name in names:
        if name is not None and name not in columns:
            hint = did_you_mean(name, columns) or f"its columns are {join_names(columns)}"
            raise ValueError(f"{argument}: {table} has no column {name!r}: {hint}")


def find_first(column: Series, is_wrong: Array) -> tuple[int, object] | None:
    """Return row, counted from 1, and value of the first entry of a column that is wrong, or None."""
    if not is_wrong.any():
        return None
    place = int(is_wrong.argmax())
    return int(column.index[place]) + 1, column.iloc[place]


def find_text(column: Series) -> Array:
    """Return which entries (n,) of a column are neither numeric nor missing."""
    numbers = pandas.to_numeric(column, errors="coerce")
    return (numbers.isna() & column.notna()).to_numpy()


def parse_numbers(column: Series, read: ReadTable, what: str) -> Array:
    """Return a column as float64 numbers, NaN for missing values; raise ValueError for other rows."""
    is_text = find_text(column)
    if is_text.any():
        advice = find_hint(column, read.reading, missing_values=False)
        if advice is not None and advice[0] == "numbers":
            raise ValueError(f"{read.name}: {what} {column.name!r} {advice[1]}")
    _refuse(column, is_text, read, "numbers", what=what)
    return pandas.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)


def check_finite(frame: DataFrame, read: ReadTable) -> None:
    """Raise ValueError that names column and row if a table holds infinity."""
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind != "f":
            continue
        if wrong := find_first(column, np.isinf(column.to_numpy(dtype=np.float64, na_value=np.nan))):
            raise ValueError(
                f"{read.name}: column {name!r} holds infinity in row {wrong[0]}: correct it"
                + (f", {read_as_missing(name, 'inf', '-inf')}" if read.reading is not None else "")
                + f", or leave the column out of the training by {format_option('--drop', name)}"
            )


def find_text_columns(frame: DataFrame) -> list[str]:
    """Return the names of the columns of a dataframe whose first value is text."""
    firsts = {name: frame[name].dropna().head(1).tolist() for name in frame.columns}
    return [name for name, first in firsts.items() if first and isinstance(first[0], str)]


def load_model(path: Path) -> TabularClassifier | TabularRegressor:
    """Return the tabular estimator in a file; raise ValueError if it holds no fitted one."""
    import fastnn

    model = fastnn.load(path)
    if not isinstance(model, fastnn.TabularClassifier | fastnn.TabularRegressor):
        raise ValueError(
            f"the {type(model).__name__} in {path} knows no columns: 'fastnn train' writes models for tables"
        )
    if not hasattr(model, "estimators_"):
        raise ValueError(f"the {type(model).__name__} in {path} is not fitted")
    return model


def list_fitted_columns(model: TabularClassifier | TabularRegressor) -> list[str]:
    """Return the names of the columns in the fit of a model."""
    return [record["name"] for record in model.columns_]


def find_known_texts(model: TabularClassifier | TabularRegressor) -> dict[str, Iterable[str]]:
    """Return the columns that were text in the fit of a model, each with the texts that it knows."""
    pairs = zip(model.columns_, model.encoder_.encodings_, strict=True)
    return {
        record["name"]: getattr(encoding, "known", ())
        for record, encoding in pairs
        if record["kind"] == "category"
    }


@contextmanager
def ignore_unseen() -> Iterator[None]:
    """Leave out the library's warnings of unseen categories, for commands that count them, or expect them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".*{UNSEEN}", UserWarning)
        yield


class Matching:
    """Columns of a model's fit, found in a table that is read as a whole or in pieces.

    Columns that the fit did not have are left out and named in a note; columns in `others` have another
    purpose, such as the target, and count for no place where a model knows no names. Rows with categories
    that did not occur in the fit are counted. A missing column is a ValueError.
    """

    def __init__(
        self,
        model: TabularClassifier | TabularRegressor,
        table: TableInPieces,
        date_formats: Sequence[str],
        others: Sequence[str] = (),
    ) -> None:
        self._model, self._date_formats, self._others = model, date_formats, list(others)
        # Rows by category that did not occur in the fit, for each column; None is any beyond `MAX_UNSEEN`.
        self._unseen: dict[str, Counter[str | None]] = {}
        self._far: dict[str, Array] = {}  # results of `_count_far` by column
        self.n_rows = 0
        self._surplus: list[str] = []
        self.fitted = list_fitted_columns(model)
        self._has_names = hasattr(model, "feature_names_in_")
        if not self._has_names:
            return
        missing = [column for column in self.fitted if column not in table.columns]
        if missing:
            surplus = [column for column in table.columns if column not in self.fitted]
            close = find_similar(missing[0], surplus)
            hint = f": is {missing[0]!r} now called {close[0]!r}?" if close else ""
            verb = "column" if len(missing) == 1 else "columns"
            raise ValueError(f"{table.name} lacks the {verb} {join_names(missing)} of the model{hint}")
        known = (*self.fitted, *self._others, model.target_name_)
        self._surplus = [column for column in table.columns if column not in known]

    def match_rows(self, read: ReadTable) -> DataFrame | Array:
        """Return the columns of the fit, each of its kind in the fit; an array for a model without names.

        Infinity, and text in a column that held numbers or dates, are a ValueError that names the row.
        """
        self.n_rows += len(read.frame)
        if not self._has_names:
            frame = read.frame.drop(columns=self._others)
            if len(frame.columns) != len(self.fitted):
                raise ValueError(
                    f"{read.name} has {len(frame.columns)} columns, but the model, which knows no names, "
                    f"takes {len(self.fitted)}"
                )
            return frame.to_numpy()
        frame = read.frame[self.fitted].copy()
        check_finite(frame, read)
        for record, encoding in zip(self._model.columns_, self._model.encoder_.encodings_, strict=True):
            name, kind = record["name"], record["kind"]
            column = frame[name]
            if not record["features"]:
                continue
            frame[name] = convert_column(column, kind, read, self._date_formats)
            if isinstance(encoding, NumberEncoding) and kind == "number" and column.dtype.kind != "m":
                self._far[name] = self._far.get(name, 0) + _count_far(frame[name], encoding.edges)
            elif isinstance(encoding, CategoryEncoding):
                unseen = self._unseen.setdefault(name, Counter())
                for value, n_rows in encoding.count_unseen(column.tolist()).items():
                    unseen[value if value in unseen or len(unseen) < MAX_UNSEEN else None] += n_rows
        return frame

    @property
    def notes(self) -> list[str]:
        """Remarks on columns that the model does not use, and on values that it did not see."""
        notes = []
        if self._surplus:
            notes.append(f"columns that the model does not use: {join_names(self._surplus, quoted=False)}")
        for name, unseen in self._unseen.items():
            if n_rows := unseen.total():
                rows = "1 row has a value" if n_rows == 1 else f"{n_rows:,} rows have values"
                rows = f"all {rows}" if 1 < n_rows == self.n_rows else rows
                values = join_names(value for value, _ in unseen.most_common() if value is not None)
                others = " or others" if None in unseen else ""
                notes.append(f"column {name!r}: {rows} not seen in training: {values}{others}")
        for encoding in self._model.encoder_.encodings_:
            if encoding.name not in self._far or not isinstance(encoding, NumberEncoding):
                continue
            n_rows, n_outside, n_far = self._far[encoding.name].tolist()
            low, high = encoding.edges[[0, -1]]
            if low < high and (n_far or 2 * n_outside > n_rows):
                notes.append(
                    f"column {encoding.name!r}: {pluralize(n_outside, 'row')} outside of the range of the "
                    f"training, {low:.6g} to {high:.6g}"
                )
        return notes


def _count_far(column: Series, edges: Array) -> Array:
    """Return how many values there are, beyond the edges, and beyond them by more than their distance."""
    x, low, high = column.to_numpy(dtype=np.float64, na_value=np.nan), edges[0], edges[-1]
    beyond = np.maximum(low - x, x - high)
    return np.array([(~np.isnan(x)).sum(), (beyond > 0).sum(), (beyond > high - low).sum()])


def convert_column(column: Series, kind: str, read: ReadTable, date_formats: Sequence[str]) -> Series | Array:
    """Return a column in the form of a kind; raise ValueError that names the first row of another form."""
    dtype = column.dtype
    if kind == "boolean" and dtype.kind != "b":
        numbers = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
        found = column.astype("string").str.strip().str.lower().map(numbers)
        _refuse(column, (found.isna() & column.notna()).to_numpy(dtype=bool), read, "True and False")
        return found.to_numpy(dtype=np.float64, na_value=np.nan)
    if kind == "date" and dtype.kind != "M":
        dates = parse_dates(column.astype("string"), [*date_formats, ISO])
        remedy = "write dates as 2024-12-31, or name their --date-format"
        _refuse(column, (dates.isna() & column.notna()).to_numpy(), read, "dates", remedy)
        return dates
    # The encoder reads durations as days. pandas would turn dates into numbers without an error.
    if kind == "number" and dtype.kind != "m" and not pandas.api.types.is_numeric_dtype(dtype):
        return parse_numbers(column.astype(str) if dtype.kind == "M" else column, read, "column")
    return column


def _refuse(
    column: Series,
    is_wrong: Array,
    read: ReadTable,
    expected: str,
    remedy: str | None = None,
    what: str = "column",
) -> None:
    """Raise ValueError that names the first wrong row, if any, and its value.

    The remedy for a text of a CSV file that looks like a missing value is to read it so.
    """
    wrong = find_first(column, is_wrong)
    if wrong is None:
        return
    row, value = wrong[0], str(wrong[1])
    if remedy is None:
        remedy = "correct it"
        if read.reading is not None and is_marker(value):
            remedy += f", or {read_as_missing(column.name, value)}"
    raise ValueError(
        f"{read.name}: {what} {column.name!r} should hold {expected}, but row {row} holds {value!r}: {remedy}"
    )
