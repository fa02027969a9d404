"""Encodings of one column: numbers, booleans and dates; for categories and text, see ``categories.py``.

A fitted encoding is a dataclass of numbers, text, lists and arrays, so that any file can keep it. Its
method `prepare` is called once with all values of the column, and returns a function that writes the
features of a block of rows into some columns of the encoded table. A block of all columns stays in the
processor's cache; a whole table of many features would be read and written anew for every column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.calls.encoding import piecewise_linear, smooth_scaled

from ...engine.arrays import align
from ...system.messages import pluralize
from ...system.validation import Array
from .dates import count_days, find_first_microsecond, find_varying_parts, split_dates
from .transformers import LIMIT, compute_interval_terms, find_center_and_scale, find_quantile_edges

# Function (rows, out, first) that writes the features of a slice of the rows of a column into the columns
# `first`, `first + 1`, ... of `out` (n, F), float32 and C-contiguous.
Write = Callable[[slice, Array, int], None]


class Encoding(Protocol):
    """Fitted encoding of one column."""

    name: str

    @property
    def features(self) -> list[str]:
        """Names of the features."""

    @property
    def treatment(self) -> str:
        """Treatment of the column, in words."""

    def prepare(self, values: Any) -> Write:
        """Return the function that writes the features of rows, given all values of a column."""


def count_features(encoding: Encoding) -> int:
    """Return the number of features of a column's encoding, without listing the names of hashed words."""
    number = getattr(encoding, "n_features", None)
    return len(encoding.features) if number is None else int(number)


@dataclass
class Dropped(Encoding):
    """Column that is left out."""

    name: str  # name of the column
    reason: str  # reason why the column is left out

    @property
    def features(self) -> list[str]:
        return []

    @property
    def treatment(self) -> str:
        return f"left out: {self.reason}"

    def prepare(self, values: Any) -> Write:
        return lambda rows, out, first: None


@dataclass
class NumberEncoding(Encoding):
    """Number as a smoothly scaled value, positions between quantiles, or both, and a flag for missing values.

    A missing value has the features of the median; the indicator tells it apart.
    """

    name: str  # name of the column
    # Median, and divisor of the distance from it.
    center: float
    scale: float
    is_scaled: bool  # True if the scaled value is a feature
    edges: NDArray[np.float64]  # (T + 1,): edges of the intervals; a single edge if there are no intervals
    has_indicator: bool  # True if an indicator of missing values is a feature

    limit = LIMIT  # bound of the scaled value; no field, since only a linear model has another one

    def __post_init__(self) -> None:
        # The kernels rely on the number of features, which these fields determine.
        if self.edges.ndim != 1 or not self.edges.size:
            raise ValueError(f"the encoding of the numbers {self.name!r} has no edges")

    @classmethod
    def fit(cls, name: str, x: Array, numbers: str, n_bins: int) -> NumberEncoding | FlagEncoding | Dropped:
        """Return the encoding for the values of a column; see `TableEncoder` for `numbers` and `n_bins`."""
        missing = np.isnan(x)
        present = x[~missing]
        if not present.size:
            return Dropped(name, "only missing values")
        if present.min() == present.max():
            if missing.any():
                return FlagEncoding(name, np.nan, f"{name}_missing")
            is_exact = abs(present[0]) <= 2.0**53
            return Dropped(name, "constant" if is_exact else "its integers are one number in float64")
        edges = np.zeros(1) if numbers == "smooth" else find_quantile_edges(present, n_bins)
        # One interval already is a scaled value; without intervals, the scaled value is the only feature.
        is_scaled = edges.size == 1 or (numbers != "piecewise" and edges.size > 2)
        center, scale = find_center_and_scale(present)
        return cls(name, center, scale, is_scaled, edges, bool(missing.any()))

    @property
    def features(self) -> list[str]:
        names = [self.name] if self.is_scaled else []
        names += [f"{self.name}_bin{t}" for t in range(self.edges.size - 1)]
        if self.has_indicator:
            names.append(f"{self.name}_missing")
        return names

    @property
    def treatment(self) -> str:
        phrases = ["scaled"] if self.is_scaled else []
        if self.edges.size > 1:
            phrases.append(pluralize(self.edges.size - 1, "interval"))
        if self.has_indicator:
            phrases.append("indicator of missing values")
        return ", ".join(phrases)

    def prepare(self, values: Array) -> Write:
        low, width, factor = compute_interval_terms(self.edges, np.dtype(np.float64))
        terms = align(low), align(width), factor
        bins = int(self.is_scaled)
        end = bins + low.size

        def write(rows: slice, out: Array, first: int) -> None:
            x = np.ascontiguousarray(values[rows])
            missing = np.isnan(x)
            if missing.any():
                x = np.where(missing, self.center, x)
            x = align(x)
            if self.is_scaled:
                smooth_scaled()(x, self.center, self.scale, self.limit, out, first)
            if low.size:
                piecewise_linear()(x, *terms, out, first + bins)
            if self.has_indicator:
                out[:, first + end] = missing

        return write


@dataclass
class FlagEncoding(Encoding):
    """Column of two values as +1 and -1, with 0 for missing values."""

    name: str  # name of the column
    # Value that becomes +1; every other value becomes -1. If `high` is NaN, missing values become +1
    # and all values -1.
    high: float
    feature: str  # name of the feature

    @property
    def features(self) -> list[str]:
        return [self.feature]

    @property
    def treatment(self) -> str:
        return "indicator of missing values" if np.isnan(self.high) else "+1 and -1, missing values 0"

    def prepare(self, values: Array) -> Write:
        def write(rows: slice, out: Array, first: int) -> None:
            x = values[rows]
            missing = np.isnan(x)
            if np.isnan(self.high):
                out[:, first] = np.where(missing, 1.0, -1.0)
            else:
                out[:, first] = np.where(missing, 0.0, np.where(x == self.high, 1.0, -1.0))

        return write


@dataclass
class DateEncoding(Encoding):
    """Date as elapsed days and parts, each encoded as a number."""

    name: str  # name of the column
    origin: int  # earliest date, in microseconds since 1970
    parts: list[str]  # names of the parts that vary, keys of `PARTS`
    # Encodings of the elapsed days and of every part.
    numbers: list[NumberEncoding | FlagEncoding | Dropped] = field(default_factory=list)

    @classmethod
    def fit(cls, name: str, dates: Array, numbers: str, n_bins: int) -> DateEncoding | Dropped:
        """Return the encoding for the dates of a column."""
        if np.isnat(dates).all():
            return Dropped(name, "only missing values")
        encoding = cls(name, find_first_microsecond(dates), find_varying_parts(dates))
        labels = [f"{name}_{part}" for part in ["elapsed", *encoding.parts]]
        columns = zip(labels, encoding.columns(dates), strict=True)
        encoding.numbers = [NumberEncoding.fit(label, x, numbers, n_bins) for label, x in columns]
        return encoding if encoding.features else Dropped(name, "constant")

    def columns(self, dates: Array) -> list[NDArray[np.float64]]:
        """Return the elapsed days and the parts of dates."""
        return [count_days(dates, self.origin), *split_dates(dates, self.parts)]

    @property
    def features(self) -> list[str]:
        return [feature for number in self.numbers for feature in number.features]

    @property
    def treatment(self) -> str:
        return ", ".join(["elapsed days", *self.parts])

    def prepare(self, values: Array) -> Write:
        numbers = [
            (number.prepare(x), len(number.features))
            for number, x in zip(self.numbers, self.columns(values), strict=True)
        ]

        def write(rows: slice, out: Array, first: int) -> None:
            for write_number, n_features in numbers:
                write_number(rows, out, first)
                first += n_features

        return write
