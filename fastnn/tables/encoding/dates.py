"""DateEncoder: dates as elapsed days and as parts such as month, weekday and hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from ...system.frames import Table, as_table
from .transformers import PartsTransformer

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from ...system.frames import TableLike


Dates = NDArray[np.datetime64]

# 1970-01-01, from which NumPy counts days, was a Thursday: day 3 of a week that begins on Monday.
_WEEKDAY_OF_EPOCH = 3


def _count(dates: Dates, unit: str) -> NDArray[np.int64]:
    """Return the whole units, such as "D" for days, since the beginning of 1970."""
    return dates.astype(f"datetime64[{unit}]").astype(np.int64)


# Registry of the parts of a date: functions of dates without missing values, by name.
PARTS: dict[str, Callable[[Dates], NDArray[np.int64]]] = {
    "year": lambda dates: _count(dates, "Y") + 1970,
    "month": lambda dates: _count(dates, "M") % 12 + 1,
    "day": lambda dates: _count(dates, "D") - _count(dates.astype("datetime64[M]"), "D") + 1,
    "weekday": lambda dates: (_count(dates, "D") + _WEEKDAY_OF_EPOCH) % 7,
    "hour": lambda dates: _count(dates, "h") % 24,
    "minute": lambda dates: _count(dates, "m") % 60,
}


def split_dates(dates: Dates, names: Iterable[str]) -> list[NDArray[np.float64]]:
    """Return the parts `names` of dates, each as an array (n,) with NaN for missing values."""
    missing = np.isnat(dates)
    filled = np.where(missing, np.datetime64(0, "us"), dates)
    parts = [PARTS[name](filled).astype(np.float64) for name in names]
    for part in parts:
        part[missing] = np.nan
    return parts


def count_days(dates: Dates, origin: int) -> NDArray[np.float64]:
    """Return the days, with fractions, since `origin`, in microseconds since 1970; NaN for missing values."""
    counts = dates.astype("datetime64[us]").astype(np.int64)
    days = (counts - int(origin)) / 86_400_000_000
    days[np.isnat(dates)] = np.nan
    return days


def find_varying_parts(dates: Dates) -> list[str]:
    """Return the names of the parts that are not the same for all dates."""
    present = dates[~np.isnat(dates)]
    if not present.size:
        return []
    return [name for name, part in PARTS.items() if np.ptp(part(present)) > 0]


def find_first_microsecond(dates: Dates) -> int:
    """Return the earliest date as microseconds since 1970; 0 if all are missing values."""
    present = dates[~np.isnat(dates)]
    return int(present.min().astype("datetime64[us]").astype(np.int64)) if present.size else 0


class DateEncoder(PartsTransformer):
    """Encode dates and times by the days since the earliest date and by their parts.

    The parts are year, month, day, weekday (0 for Monday), hour and minute. Parts that are the same for all
    dates in `fit` are left out: a column of days has neither hours nor minutes.

    Attributes
    ----------
    origins_ : list of int
        Earliest date of every feature, in microseconds since 1970.
    parts_ : list of list of str
        Names of the parts of every feature.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array (n_features_in_,)
        Names of the features, where X has names and all of them are text.

    Notes
    -----
    Times with a time zone are read as local times of their zone. A missing date, NaT, gives NaN.

    Examples
    --------
    >>> import numpy as np; import fastnn
    >>> days = np.array([["2024-02-28"], ["2024-02-29"], ["2024-03-01"]], "datetime64[D]")
    >>> encoder = fastnn.DateEncoder().fit(days)
    >>> encoder.get_feature_names_out().tolist()
    ['x0_elapsed', 'x0_month', 'x0_day', 'x0_weekday']
    >>> encoder.transform(days).tolist()
    [[0.0, 2.0, 28.0, 2.0], [1.0, 2.0, 29.0, 3.0], [2.0, 3.0, 1.0, 4.0]]
    """

    _SAVED: ClassVar = {"origins_": list[int], "parts_": list[list[str]]}
    _PER_FEATURE = ("origins_", "parts_")

    def fit(self, X: TableLike, y: ArrayLike | None = None) -> DateEncoder:
        """Find the earliest date of every feature, and the parts that vary.

        Parameters
        ----------
        X : dataframe, or array (n_samples, n_features) of datetime64
            Dates.
        y : None
            Ignored.

        Returns
        -------
        DateEncoder
            The transformer itself.

        Raises
        ------
        ValueError
            If a column holds no dates.
        """
        table = as_table(X)
        columns = _read_dates(table)
        validate_data(self, X, skip_check_array=True)
        self.origins_ = [find_first_microsecond(dates) for dates in columns]
        self.parts_ = [find_varying_parts(dates) for dates in columns]
        return self

    def transform(self, X: TableLike) -> NDArray[np.float64]:
        """Encode dates.

        Parameters
        ----------
        X : dataframe, or array (n_samples, n_features) of datetime64
            Dates.

        Returns
        -------
        array (n_samples, n_outputs) of float64
            For every feature the elapsed days, and then its parts.

        Raises
        ------
        ValueError
            If a column holds no dates, or the columns differ from the columns in `fit`.
        """
        check_is_fitted(self)
        table = as_table(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        out = []
        for dates, origin, parts in zip(_read_dates(table), self.origins_, self.parts_, strict=True):
            out += [count_days(dates, origin), *split_dates(dates, parts)]
        return np.column_stack(out)

    def _list_parts(self) -> list[list[str]]:
        return [["elapsed", *parts] for parts in self.parts_]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # an array of dates, not of numbers
        tags.input_tags.allow_nan = True
        return tags


def _read_dates(table: Table) -> list[Dates]:
    for name, values in zip(table.names, table.columns, strict=True):
        if not (isinstance(values, np.ndarray) and values.dtype.kind == "M"):
            raise ValueError(
                f"column {name!r} holds no dates: convert it, for instance with pandas.to_datetime, or "
                "leave it out"
            )
    return table.columns
