"""The user's own data, checked: numeric columns and a target of classes or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..system.frames import as_table, is_missing
from ..system.messages import join_names
from ..system.targets import are_numbers, stands_for_number, suggest_task
from ..system.validation import short_repr
from .datasets import TABLES
from .settings import MAX_SAMPLES

__all__ = ["PlayTable", "make_table"]

Array = NDArray[Any]

# Largest number of classes that are drawn.
MAX_CLASSES = 10
# Largest magnitude of a number: the squares in a standard deviation must not overflow.
MAX_MAGNITUDE = 1e150
# Numbers of rows from which the use of a column is estimated: there are fewer classes than rows.
MIN_ROWS_OF_USE, MAX_ROWS_OF_USE = 2 * MAX_CLASSES, 1000


@dataclass(frozen=True)
class PlayTable:
    """Columns of a table, and the target that is learned from two of them."""

    columns: dict[str, NDArray[np.float64]]  # numbers of the columns, NaN for missing values
    target: str
    kind: str  # "classes" or "regression"
    y: Array  # numbers (n,) of the classes, counted from 0, or targets of a regression
    classes: list[str] | None  # None for a regression
    by_use: list[str]  # the most useful columns first: those that share most information with the target

    @property
    def state(self) -> dict[str, Any]:
        """State of a page whose address holds none."""
        return {"dataset": "table", **TABLES[self.kind].best}


def make_table(X: Any, y: Any, target: str | None = None) -> PlayTable:
    """Return the table of a user's arrays or dataframes, without the rows whose target is a missing value.

    Parameters
    ----------
    X : dataframe or array-like (n, n_columns)
        At least two columns of numbers. Columns of anything else are left out.
    y : array-like (n,)
        Classes, as text, booleans or at most ten integers; or numbers of a regression, which may be
        text if there are more than ten.
    target : str, optional
        Name of the target; by default the name of `y`, or "y".

    Raises
    ------
    ValueError
        If there are fewer than two columns of numbers, too many rows or classes, or lengths that differ.
    TypeError
        If X is a sparse matrix, or `target` is not text.
    """
    if not (target is None or isinstance(target, str)):
        raise TypeError(f"target must be the name of the target, a str, or None, got {short_repr(target)}")
    try:
        n_rows = len(X)
    except TypeError:
        n_rows = 0  # a sparse matrix or no table at all: as_table says so
    if n_rows > MAX_SAMPLES:
        raise ValueError(
            f"the table has {n_rows:,} rows, but the playground draws at most {MAX_SAMPLES:,}: take a "
            "sample of its rows, for instance X.sample(5000) of a dataframe"
        )
    read = as_table(X)
    named = zip(read.names, read.kinds, read.columns, strict=True)
    columns = {name: values for name, kind, values in named if kind in ("number", "boolean")}
    if len(columns) < 2:
        others = [name for name, kind in zip(read.names, read.kinds, strict=True) if name not in columns]
        raise ValueError(
            f"the playground needs two columns of numbers, but the table has {list(columns) or 'none'}"
            + (f"; no numbers in: {join_names(others)}" if others else "")
        )
    given = getattr(y, "name", None)
    target = target or (given if isinstance(given, str) else "y")
    values = np.asarray(y)
    if values.shape != (read.n_rows,):
        raise ValueError(
            f"X has {read.n_rows} rows, but y has shape {values.shape}: give one target for each row"
        )
    is_known = np.array([not is_missing(value) for value in values.tolist()], bool)
    if not is_known.any():
        raise ValueError(f"the target {target!r} holds only missing values: name another")
    columns = {name: column[is_known] for name, column in columns.items()}
    for name, column in columns.items():
        _check_numbers(column, f"column {name!r}")
        if len(np.unique(column[np.isfinite(column)])) < 2:
            raise ValueError(f"column {name!r} holds fewer than two different numbers: leave it out")
    kind, y, classes = _target(values[is_known], target)
    return PlayTable(columns, target, kind, y, classes, _by_use(columns, y, kind))


def _by_use(columns: dict[str, NDArray[np.float64]], y: Array, kind: str) -> list[str]:
    """Return the names of columns by the information that each alone shares with the target.

    The information of a column counts by the fraction of rows in which the column has a value.
    """
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    information = mutual_info_classif if kind == "classes" else mutual_info_regression
    use = {}
    for name, column in columns.items():
        rows = np.flatnonzero(np.isfinite(column) & np.isfinite(y))
        use[name] = 0.0
        if len(rows) >= MIN_ROWS_OF_USE:
            every = -(-len(rows) // MAX_ROWS_OF_USE)
            x, target = column[rows[::every]], y[rows[::every]]
            values, codes = np.unique(x, return_inverse=True)
            is_discrete = len(values) <= MAX_CLASSES
            table = (codes if is_discrete else x)[:, None]
            (shared,) = information(table, target, discrete_features=is_discrete, random_state=0)
            use[name] = shared * len(rows) / len(y)
    return sorted(columns, key=use.__getitem__, reverse=True)


def _check_numbers(values: NDArray[np.float64], what: str) -> None:
    if np.abs(values).max(initial=0.0, where=np.isfinite(values)) > MAX_MAGNITUDE:
        raise ValueError(f"{what} holds numbers beyond {MAX_MAGNITUDE:g}: scale it")


def _target(values: Array, target: str) -> tuple[str, Array, list[str] | None]:
    """Return kind, numbers and names of the classes of a target without missing values."""
    if values.dtype.kind == "O" and are_numbers(values):  # the array had missing values
        values = np.array(values.tolist())
    elif values.dtype.kind not in "fiub":
        values = np.array([str(value) for value in values])
    if are_numbers(values):
        _as_numbers(values, target)  # raises for infinity, also where the numbers are classes
    # The integers themselves: float64 would join large ones.
    distinct = np.unique(values)
    if len(distinct) < 2:
        raise ValueError(
            f"the target {target!r} holds only one value, {short_repr(str(distinct[0]))}: there is nothing "
            "to learn"
        )
    if suggest_task(distinct) == "regression":
        return "regression", _as_numbers(values, target), None
    if len(distinct) > MAX_CLASSES:
        raise ValueError(
            f"the target {target!r} holds {len(distinct):,} different values, but the playground draws at "
            f"most {MAX_CLASSES} classes: choose another target, or merge some classes"
        )
    if values.dtype.kind == "f" and np.abs(values).max() < 2**63:
        values = values.astype(np.int64)
    classes, y = np.unique(values, return_inverse=True)
    return "classes", y.astype(np.int64), [str(label) for label in classes]


def _as_numbers(values: Array, target: str) -> NDArray[np.float64]:
    """Return numbers, or text that stands for them, as float64; raise ValueError unless all are finite."""
    for value in values.tolist():
        if not stands_for_number(value):
            raise ValueError(
                f"the target {target!r} holds {short_repr(value)} among numbers: correct it, or leave out "
                "the row"
            )
    try:
        numbers = values.astype(np.float64)
    except OverflowError as error:  # a Python integer of more than 300 digits
        raise ValueError(f"the target {target!r}: {error}") from None
    if np.isinf(numbers).any():
        raise ValueError(f"the target {target!r} holds infinity")
    _check_numbers(numbers, f"the target {target!r}")
    return numbers
