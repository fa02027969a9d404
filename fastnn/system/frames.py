"""Table: the columns of any table, sorted into numbers, booleans, dates and categories.

Dataframes of pandas, Polars, PyArrow and others are read by narwhals; anything else must convert to a
two-dimensional array.
"""

from __future__ import annotations

import datetime
import math
import numbers
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .extras import import_extra
from .validation import Array, is_masked

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

    # Table in memory: a dataframe, or what converts to a two-dimensional array.
    TableLike: TypeAlias = ArrayLike | IntoDataFrame

# Kinds of columns by kind of NumPy dtype; columns of other dtypes are inspected value by value.
_KINDS_OF_DTYPES = {"f": "number", "i": "number", "u": "number", "b": "boolean", "M": "date", "m": "number"}
# Largest magnitude of a date in microseconds since 1970, 146,000 years, so that differences of
# dates do not overflow.
MAX_MICROSECONDS = int(np.iinfo(np.int64).max) // 2
# Units of dates and durations whose conversion to microseconds cannot overflow.
_FINE_UNITS = ("us", "ns", "ps", "fs", "as", "generic")
# Microseconds of a day.
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Table:
    """Columns of a table in the form that the encoders read."""

    names: list[str]  # "x0", "x1" and so on if the table has none
    kinds: list[str]  # kind of every column: "number", "boolean", "date" or "category"
    # Values of every column: for "number" and "boolean" an array (n,) of floats, missing values as NaN; for
    # "date" an array of datetime64 in microseconds, missing values as NaT; for "category" a list of Python
    # objects, or `CodedValues` where the table itself has codes.
    columns: list[Any]
    n_rows: int
    has_names: bool  # True if the table itself names its columns, all by text


class CodedValues(Sequence[Any]):
    """Values of a column of categories that the table keeps as codes (n,): -1 for a missing value."""

    def __init__(self, categories: list[Any], codes: Array) -> None:
        self.categories, self.codes = categories, codes
        self._values = [*categories, None]  # -1, the code of a missing value, is the index of the last

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Any]:
        return map(self._values.__getitem__, self.codes.tolist())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return CodedValues(self.categories, self.codes[index])
        return self._values[self.codes[index]]


def as_table(X: Any) -> Table:
    """Return the columns of a table in memory, with their names and kinds.

    A sparse matrix, and names of which only some are text, are a TypeError. A LazyFrame, X that is not
    two-dimensional or is empty, infinity, a date over 146,000 years from 1970, and a column whose values are
    neither numbers, booleans, dates nor hashable are a ValueError.
    """
    if isinstance(X, str | os.PathLike):
        raise ValueError(
            f"X is the name of a file, {os.fspath(X)!r}: pass its table, as pandas.read_parquet returns it"
        )
    import narwhals.stable.v2 as nw
    from narwhals.stable.v2.dependencies import is_into_dataframe, is_polars_lazyframe

    if is_polars_lazyframe(X):
        raise ValueError("X is a LazyFrame, a query that has not run: pass its result, X.collect()")
    arrow = sys.modules.get("pyarrow")  # only a program that has imported it has such an object
    if arrow is not None and isinstance(X, arrow.RecordBatch):
        X = arrow.Table.from_batches([X])
    if is_into_dataframe(X):
        try:
            frame = nw.from_native(X, eager_only=True)
        except ValueError as error:  # names that occur twice
            reason = str(error).replace(":\n-", "").replace("\n-", ",")
            raise ValueError(f"X: {reason}. Rename these columns, or leave out all but one") from None
        n_rows, n_columns = frame.shape
        if not (n_rows and n_columns):
            what = "sample(s)" if n_columns else "feature(s)"
            raise ValueError(
                f"Found array with 0 {what} (shape={frame.shape}) while a minimum of 1 is required."
            )
        given = list(frame.columns)
        is_text = [isinstance(name, str) for name in given]
        has_names = all(is_text)
        if any(is_text) and not has_names:
            raise TypeError(
                "Feature names are only supported if all input features have string names, but X has the "
                f"name {given[is_text.index(False)]!r} too: X.columns = X.columns.astype(str) converts it"
            )
        names = [str(name) for name in given]
        pairs = [_read_series(s, name) for s, name in zip(frame.iter_columns(), names, strict=True)]
    else:
        values = _as_array(X)
        n_rows, has_names = values.shape[0], False
        names = [f"x{k}" for k in range(values.shape[1])]
        pairs = [_read_values(values[:, k], name) for k, name in enumerate(names)]
    kinds, columns = [kind for kind, _ in pairs], [column for _, column in pairs]
    for name, kind, column in zip(names, kinds, columns, strict=True):
        if kind == "number" and np.isinf(column).any():
            row = int(np.isinf(column).argmax())
            raise ValueError(f"column {name!r} holds infinity in row {row}: replace it by a number or by NaN")
    return Table(names, kinds, columns, n_rows, has_names)


def _as_array(X: Any) -> Array:
    """Return an array-like as a two-dimensional array, in which mixed values remain Python objects."""
    if isinstance(X, list | tuple) and np.asarray(X).dtype.kind in "US":
        X = np.array(X, object)  # an array of text would turn the numbers into text
    if getattr(getattr(X, "dtype", None), "kind", None) in ("M", "m") and X.ndim == 2 and X.size:
        return X
    from sklearn.utils import check_array

    if is_masked(X):
        X = X.astype(np.float64 if X.dtype.kind in "fiub" else object).filled(np.nan)
    return check_array(X, dtype=None, ensure_all_finite=False)


def _read_series(s: Any, name: str) -> tuple[str, Any]:
    import narwhals.stable.v2 as nw
    from narwhals.stable.v2.dependencies import is_pandas_series

    dtype, native = s.dtype, s.to_native()
    is_pandas = is_pandas_series(native)
    if dtype.is_numeric():
        # narwhals' cast refuses integers of PyArrow that a float rounds.
        if s.implementation.is_pyarrow():
            return "number", native.cast("float64", safe=False).to_numpy()
        if is_pandas and hasattr(native.dtype, "pyarrow_dtype"):
            return "number", native.to_numpy(np.float64, na_value=np.nan)
        return "number", s.cast(nw.Float64).to_numpy()
    if dtype == nw.Boolean:
        return "boolean", s.cast(nw.Float64).to_numpy()
    if dtype == nw.Datetime and dtype.time_zone is not None:
        s = s.dt.replace_time_zone(None)
    if dtype == nw.Date:
        s = s.cast(nw.Datetime("us"))
    if dtype in (nw.Datetime, nw.Date, nw.Duration):
        return _read_values(s.to_numpy(), name)
    is_categorical = dtype in (nw.Categorical, nw.Enum)
    if is_categorical and is_pandas and hasattr(native.dtype, "categories"):
        return "category", CodedValues(native.cat.categories.tolist(), native.cat.codes.to_numpy())
    if dtype == nw.Categorical and (is_pandas or s.implementation.is_pyarrow()):
        # A dictionary of Arrow is a way to store values that repeat: numbers and dates are no categories.
        array = s.to_arrow()
        kind = array.type.value_type
        if str(kind) not in ("string", "large_string", "string_view"):
            values = import_extra("pyarrow", "cli", "a dictionary of Arrow").chunked_array([array.cast(kind)])
            return _read_series(nw.from_native(values, series_only=True), name)
    values = s.to_list()
    if is_categorical and s.implementation.is_polars():
        known = [value for value in dict.fromkeys(values) if value is not None]
        codes = {value: code for code, value in enumerate(known)}
        return "category", CodedValues(known, np.array([codes.get(value, -1) for value in values]))
    if is_categorical or dtype == nw.String:
        return "category", values
    return read_objects(values, name)


def _read_values(values: Array, name: str) -> tuple[str, Any]:
    dtype = values.dtype.kind
    kind = _KINDS_OF_DTYPES.get(dtype)
    if kind is None:
        return read_objects(values.tolist(), name)
    if dtype == "M":
        return kind, _in_microseconds(values, name)
    if dtype == "m":  # durations become days
        days = _in_microseconds(values, name).astype(np.int64) / _DAY
        return kind, np.where(np.isnat(values), np.nan, days)
    return kind, values.astype(np.float64)


def _in_microseconds(values: Array, name: str, rows: Sequence[int] | None = None) -> Array:
    """Return dates or durations in microseconds; raise ValueError if one exceeds `MAX_MICROSECONDS`.

    `rows` are the numbers of the values' rows in messages, by default counted from 0.
    """
    converted = values.astype(f"{values.dtype.kind}8[us]")
    counts, present = converted.astype(np.int64), ~np.isnat(values)
    is_far = present & ((counts > MAX_MICROSECONDS) | (counts < -MAX_MICROSECONDS))
    if np.datetime_data(values.dtype)[0] not in _FINE_UNITS:
        # NumPy's conversion overflows silently: the way back then gives another value.
        is_far |= present & (converted.astype(values.dtype) != values)
    if is_far.any():
        place = int(is_far.argmax())
        row = place if rows is None else rows[place]
        what, limit = ("date", "from 1970") if values.dtype.kind == "M" else ("duration", "long")
        raise ValueError(
            f"column {name!r} holds the {what} {values[place]} in row {row}, more than 146,000 years "
            f"{limit}: replace it by a missing value"
        )
    return converted


def read_objects(values: list[Any], name: str) -> tuple[str, Any]:
    """Return kind and values of a column of Python objects; the types of the present values decide."""
    try:
        kinds = {find_kind(one) for one in {type(value) for value in values if not is_missing(value)}}
        if kinds in ({"number"}, {"boolean"}):
            return kinds.pop(), np.array([math.nan if is_missing(v) else float(v) for v in values])
        if kinds == {"date"}:
            moments = list(map(_as_date, values))
        elif kinds == {"duration"}:
            moments = list(map(_as_duration, values))
        for value in values:
            hash(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"column {name!r} holds values that are neither numbers, dates nor categories: {error}. Convert "
            "or leave out the column"
        ) from None
    if kinds in ({"date"}, {"duration"}):
        return _read_units(moments, name)
    if not kinds:  # only missing values
        return "number", np.full(len(values), math.nan)
    return "category", values


def _read_units(moments: list[Any], name: str) -> tuple[str, Any]:
    """Return kind and values of a column of dates or durations, each with a unit of its own."""
    rows: dict[np.dtype[Any], list[int]] = {}
    for row, moment in enumerate(moments):
        rows.setdefault(moment.dtype, []).append(row)
    merged = np.empty(len(moments), f"{moments[0].dtype.kind}8[us]")
    for places in rows.values():
        values = np.array([moments[row] for row in places])
        merged[places] = _in_microseconds(values, name, places)
    return _read_values(merged, name)


def find_kind(kind: type) -> str:
    """Return the kind of column to which values of a Python type belong; "duration" for durations."""
    if issubclass(kind, bool | np.bool_):
        return "boolean"
    if issubclass(kind, datetime.timedelta | np.timedelta64):  # timedelta64 is an integer, too
        return "duration"
    if issubclass(kind, numbers.Real | Decimal):
        return "number"
    if issubclass(kind, datetime.date | np.datetime64):
        return "date"
    return "category"


def _as_date(value: Any) -> Any:
    """Return a date as datetime64, without its time zone; NaT for a missing value.

    Dates of NumPy and pandas keep their unit: a conversion may overflow silently.
    """
    if is_missing(value):
        return np.datetime64("NaT", "us")
    if isinstance(value, datetime.datetime):
        value = value.replace(tzinfo=None)
    if hasattr(value, "to_datetime64"):
        return value.to_datetime64()
    return value if isinstance(value, np.datetime64) else np.datetime64(value, "us")


def _as_duration(value: Any) -> Any:
    """Return a duration as timedelta64; NaT for a missing value. Durations of NumPy keep their unit."""
    if is_missing(value):
        return np.timedelta64("NaT", "us")
    if isinstance(value, np.timedelta64):
        return value
    if abs(value.days) > MAX_MICROSECONDS // _DAY:  # Python has durations beyond NumPy's microseconds
        return np.timedelta64(value.days, "D")
    return np.timedelta64(value, "us")


def is_missing(value: object) -> bool:
    """Return True for None, NaN, NaT and pandas' NA."""
    if value is None:
        return True
    if isinstance(value, str):
        return False
    try:
        return bool(value != value)
    except (TypeError, ValueError, ArithmeticError):  # NA has no truth value; signaling NaN raises
        return type(value).__name__ == "NAType"
