"""Columns by name, and the rows of a table in the form that a saved model expects."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...system.extras import import_extra
from ...system.messages import listed, meant, nearest
from ..encoding.categories import UNSEEN, CategoryEncoding
from .reading import ReadTable, as_dates
from .texts import hint, option

__all__ = [
    "Matching",
    "check_finite",
    "check_kinds",
    "check_known",
    "check_names",
    "columns_of_text",
    "first_text",
    "fitted_columns",
    "numbers_of",
    "text_columns",
    "unseen_unwarned",
]

# Largest number of categories unseen in the fit that are remembered for each column.
MAX_UNSEEN = 10_000


def check_names(names: Iterable[str], read: ReadTable, argument: str) -> None:
    """Raise ValueError if a table lacks one of the columns that an argument names."""
    check_known(names, list(read.frame.columns), read.name, argument)


def check_known(names: Iterable[str], columns: Sequence[str], table: str, argument: str) -> None:
    """Raise ValueError if the columns of a table, given its name, lack one that an argument names."""
    for name in names:
        if name not in columns:
            hint = meant(name, columns) or f"its columns are {listed(columns)}"
            raise ValueError(f"{argument}: {table} has no column {name!r}: {hint}")


def first_text(column: Any) -> tuple[int, Any] | None:
    """Return row, counted from 1, and value of the first entry neither numeric nor missing, or None."""
    pandas = import_extra("pandas", "cli", "reading a table")
    wrong = (pandas.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy()
    if not wrong.any():
        return None
    row = int(wrong.argmax())
    return int(column.index[row]) + 1, column.iloc[row]


def numbers_of(column: Any, read: ReadTable, what: str) -> Any:
    """Return a column as float64 numbers, NaN for missing values; raise ValueError for other rows."""
    pandas = import_extra("pandas", "cli", "reading a table")
    wrong = first_text(column)
    if wrong is not None:
        advice = hint(column, read.is_csv, read.decimal, missing_values=False)
        if advice is not None and advice[0] == "numbers":
            raise ValueError(f"{read.name}: {what} {column.name!r} {advice[1]}")
        row, value = wrong
        raise ValueError(
            f"{read.name}: {what} {column.name!r} should hold numbers, but row {row} holds {str(value)!r}: "
            f"correct it{_or_missing(value, read)}"
        )
    return pandas.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)


def check_finite(frame: Any, read: ReadTable) -> None:
    """Raise ValueError that names column and row if a table holds infinity."""
    for name in frame.columns:
        if frame[name].dtype.kind == "f":
            wrong = np.isinf(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))
            if wrong.any():
                row = int(frame.index[wrong.argmax()]) + 1
                raise ValueError(
                    f"{read.name}: column {name!r} holds infinity in row {row}: correct it"
                    + (", read it as a missing value by --na inf,-inf" if read.is_csv else "")
                    + f", or leave the column out of the training by {option('--drop', name)}"
                )


def columns_of_text(frame: Any) -> list[str]:
    """Return the names of the columns of a dataframe whose first value is text."""
    firsts = {name: frame[name].dropna().head(1).tolist() for name in frame.columns}
    return [name for name, first in firsts.items() if first and isinstance(first[0], str)]


def check_kinds(read: ReadTable, fitted: Any, date_formats: Sequence[str] | None) -> None:
    """Raise ValueError that names the first row with text where columns of the fit hold numbers or dates."""
    pandas = import_extra("pandas", "cli", "reading a table")
    for name in fitted.columns:
        kind, column = fitted[name].dtype.kind, read.frame[name]
        if kind in "iuf" and not pandas.api.types.is_numeric_dtype(column.dtype):
            numbers_of(_without_dates(pandas, column), read, "column")
        elif kind == "M":
            _dates_of(pandas, column, read, date_formats)


def fitted_columns(model: Any) -> list[str]:
    """Return the names of the columns in the fit of a model."""
    return [record["name"] for record in model.columns_]


def text_columns(model: Any) -> dict[str, Iterable[str]]:
    """Return the columns that were text in the fit of a model, each with the texts that it knows."""
    pairs = zip(model.columns_, model.encoder_.encodings_, strict=True)
    return {
        record["name"]: getattr(encoding, "known", ())
        for record, encoding in pairs
        if record["kind"] == "category"
    }


@contextmanager
def unseen_unwarned() -> Iterator[None]:
    """Leave out the library's warnings of unseen categories, for commands that count them, or expect them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".*{UNSEEN}", UserWarning)
        yield


class Matching:
    """Columns of a model's fit, found in a table that is read as a whole or in pieces.

    Columns that the fit did not have are left out and named in a note. Rows with categories that did not
    occur in the fit are counted.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Fitted estimator.
    columns : sequence of str
        Columns of the table.
    name : str
        Name of the table in messages.
    date_formats : sequence of str or None
        Form of dates that are not ISO 8601.
    others : sequence of str
        Columns of a table with another purpose, such as the target, which count for no place where a model
        knows no names.

    Raises
    ------
    ValueError
        If a column of the fit is missing.
    """

    def __init__(
        self, model: Any, columns: Sequence[str], name: str, date_formats: Sequence[str] | None,
        others: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._model, self._date_formats, self._others = model, date_formats, list(others)
        self._unseen: dict[str, Unseen] = {}
        self._n_rows = 0
        self._surplus: list[str] = []
        self.fitted = fitted_columns(model)
        self._has_names = hasattr(model, "feature_names_in_")
        if not self._has_names:
            return
        missing = [column for column in self.fitted if column not in columns]
        if missing:
            surplus = [column for column in columns if column not in self.fitted]
            close = nearest(missing[0], surplus)
            hint = f": is {missing[0]!r} now called {close[0]!r}?" if close else ""
            verb = "column" if len(missing) == 1 else "columns"
            raise ValueError(f"{name} lacks the {verb} {listed(missing)} of the model{hint}")
        known = (*self.fitted, *self._others, model.target_name_)
        self._surplus = [column for column in columns if column not in known]

    def rows(self, read: ReadTable) -> Any:
        """Return the columns of the fit, each of the kind that it had in the fit.

        Parameters
        ----------
        read : ReadTable
            Rows. The index of the dataframe holds their numbers in the table.

        Returns
        -------
        pandas DataFrame, or array for a model without names
            Rows to predict.

        Raises
        ------
        ValueError
            If a column holds infinity, or text where it held numbers or dates.
        """
        if not self._has_names:
            frame = read.frame.drop(columns=self._others)
            return _by_position(ReadTable(frame, read.name), len(self.fitted))
        pandas = import_extra("pandas", "cli", "reading a table")
        frame = read.frame[self.fitted].copy()
        self._n_rows += len(frame)
        check_finite(frame, read)
        for record, encoding in zip(self._model.columns_, self._model.encoder_.encodings_, strict=True):
            name, kind = record["name"], record["kind"]
            column = frame[name]
            if not record["features"]:
                continue
            if kind == "boolean" and column.dtype.kind != "b":
                frame[name] = _booleans_of(pandas, column, read)
            elif kind == "number":
                is_duration = column.dtype.kind == "m"  # which the encoder reads as days
                if not (is_duration or pandas.api.types.is_numeric_dtype(column.dtype)):
                    frame[name] = numbers_of(_without_dates(pandas, column), read, "column")
            elif kind == "date":
                frame[name] = _dates_of(pandas, column, read, self._date_formats)
            elif isinstance(encoding, CategoryEncoding):
                self._unseen.setdefault(name, Unseen()).add(encoding.unseen(column.tolist()))
        return frame

    @property
    def notes(self) -> list[str]:
        """Remarks on columns that the model does not use, and on categories new to it."""
        notes = []
        if self._surplus:
            notes.append(f"columns that the model does not use: {listed(self._surplus, quoted=False)}")
        for name, unseen in self._unseen.items():
            if unseen.n_rows:
                rows = "1 row has a value" if unseen.n_rows == 1 else f"{unseen.n_rows:,} rows have values"
                rows = f"all {rows}" if 1 < unseen.n_rows == self._n_rows else rows
                values = listed(value for value, _ in unseen.counts.most_common())
                notes.append(f"column {name!r}: {rows} not seen in training: {values}{unseen.others}")
        return notes


class Unseen:
    """Number of rows with categories that did not occur in the fit, and the first such categories."""

    def __init__(self) -> None:
        self.n_rows, self.counts, self.others = 0, Counter[str](), ""

    def add(self, counts: Counter[str]) -> None:
        """Add the categories of a piece; at most `MAX_UNSEEN` are remembered."""
        self.n_rows += counts.total()
        for value, n_rows in counts.items():
            if value in self.counts or len(self.counts) < MAX_UNSEEN:
                self.counts[value] += n_rows
            else:
                self.others = " or others"


def _by_position(read: ReadTable, n_columns: int) -> Any:
    """Return the values of a table for a model that was fitted to an array."""
    if len(read.frame.columns) != n_columns:
        raise ValueError(
            f"{read.name} has {len(read.frame.columns)} columns, but the model, which knows no names, takes "
            f"{n_columns}"
        )
    return read.frame.to_numpy()


def _without_dates(pandas: Any, column: Any) -> Any:
    """Return a column, dates as text: pandas would turn them into numbers without an error."""
    return column.astype(str) if column.dtype.kind == "M" else column


def _booleans_of(pandas: Any, column: Any, read: ReadTable) -> Any:
    """Return a column as 1 and 0; raise ValueError that names the first row with something else."""
    numbers = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
    found = column.astype("string").str.strip().str.lower().map(numbers)
    wrong = (found.isna() & column.notna()).to_numpy(dtype=bool)
    if wrong.any():
        row = int(wrong.argmax())
        place, value = column.index[row] + 1, str(column.iloc[row])
        raise ValueError(
            f"{read.name}: column {column.name!r} should hold True and False, but row {place} "
            f"holds {value!r}: correct it{_or_missing(value, read)}"
        )
    return found.to_numpy(dtype=np.float64, na_value=np.nan)


def _or_missing(value: Any, read: ReadTable) -> str:
    """Return the advice to read a value of a CSV file as a missing one; "" for other files."""
    return f", or read it as a missing value by {option('--na', str(value))}" if read.is_csv else ""


def _dates_of(pandas: Any, column: Any, read: ReadTable, date_formats: Sequence[str] | None) -> Any:
    """Return a column as dates; raise ValueError that names the first row with something else."""
    if column.dtype.kind == "M" or isinstance(column.dtype, pandas.DatetimeTZDtype):
        return column
    dates = as_dates(pandas, column.astype("string"), date_formats)
    wrong = column.notna().to_numpy() if dates is None else (dates.isna() & column.notna()).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{read.name}: column {column.name!r} should hold dates, but row {column.index[row] + 1} holds "
            f"{str(column.iloc[row])!r}: write dates as 2024-12-31, or name their --date-format"
        )
    return dates
