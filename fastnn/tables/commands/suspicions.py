"""Notes on columns that a model should perhaps not see: ids, and columns that give the target away."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ...system.extras import import_extra
from .reading import ReadTable
from .scores import folds_of
from .texts import hint, option

__all__ = ["suspicions"]

Array = NDArray[Any]

# Number of random rows on which a column is checked, the fewest that show something, and the folds.
N_ROWS, MIN_ROWS, N_FOLDS = 2000, 40, 2
# Largest number of classes that single columns are checked for.
MAX_CLASSES = 50
# Fewest rows of all classes but the most frequent from which the accuracy of a column means something.
MIN_OTHERS = 15
# Smallest fraction of the constant prediction's errors, or of the variance, that a suspicious column removes.
MIN_SKILL = {"classification": 0.9, "regression": 0.99}
# Smallest fraction of different values in a column with the name of an id.
MIN_DISTINCT = 0.5
_ID_NAME = re.compile(r"(?:^|[\W_])(?:id|key|uuid|guid|index|row|nr|no|number)s?$|[a-z]I[Dd]$", re.IGNORECASE)


def suspicions(frame: Any, target: Any, task: str, read: ReadTable) -> list[str]:
    """Return notes on columns.

    Parameters
    ----------
    frame : pandas DataFrame
        Columns to predict from.
    target : pandas Series
        Target without missing values.
    task : {"classification", "regression"}
        Kind of the target.
    read : ReadTable
        Table of the columns.
    """
    notes = []
    # The encoder refuses lists and other values that cannot be categories, and names the column.
    frame = frame[[name for name in frame.columns if _is_hashable(frame[name])]]
    for name in frame.columns:
        column, drop = frame[name], f"{option('--drop', name)} leaves it out"
        advice = hint(column, read.is_csv, read.decimal)
        if advice is not None:
            notes.append(f"column {name!r} {advice[1]}")
        if len(frame) > 2 and column.dtype.kind in "iu" and (column.diff().iloc[1:] == 1).all():
            notes.append(f"column {name!r} numbers the rows: {drop}")
        elif _is_id(column):
            notes.append(f"column {name!r} looks like an id ({column.nunique():,} different values): {drop}")
    return notes + _leaks(frame, target, task)


def _is_hashable(column: Any) -> bool:
    """Return True if all values of a column are hashable."""
    if column.dtype == object:
        try:
            for value in column:
                hash(value)
        except TypeError:
            return False
    return True


def _is_id(column: Any) -> bool:
    """Return True for integers and text with the name of an id and few repeated values."""
    if column.dtype.kind in "fbM" or not _ID_NAME.search(str(column.name)) or len(column) < MIN_ROWS:
        return False
    n_values, n_rows = column.nunique(), len(column)
    # Text without repeated values is left out anyway.
    return bool(n_values >= MIN_DISTINCT * n_rows and (column.dtype.kind in "iu" or n_values < n_rows))


def _leaks(frame: Any, target: Any, task: str) -> list[str]:
    """Return notes on columns that alone predict the target almost perfectly."""
    n_rows = len(target)
    rows = np.arange(n_rows)
    if n_rows > N_ROWS:
        rows = np.sort(np.random.RandomState(0).permutation(n_rows)[:N_ROWS])
    values, y = np.unique(target.to_numpy()[rows], return_inverse=True)
    is_checked = len(rows) >= MIN_ROWS and len(values) > 1
    if task == "classification":
        is_checked &= len(values) <= MAX_CLASSES and len(rows) - np.bincount(y).max() >= MIN_OTHERS
    elif is_checked:
        y = values[y] / np.abs(values).max()
    notes = []
    for name in frame.columns:
        drop = f"{option('--drop', name)} leaves it out"
        if (frame[name].astype(object) == target.astype(object)).all():
            notes.append(f"column {name!r} is a copy of the target: {drop}")
        elif is_checked:
            skill, score = _skill(_as_numbers(frame[name].iloc[rows]), y, task)
            if skill >= MIN_SKILL[task]:
                notes.append(
                    f"column {name!r} alone predicts the target almost perfectly ({score}): if it is known "
                    f"only after the target, {drop}"
                )
    return notes


def _as_numbers(column: Any) -> Array:
    """Return a column as float64 in its order, a missing value as the least."""
    pandas = import_extra("pandas", "cli", "reading a table")
    if column.dtype.kind not in "iufb":
        return pandas.factorize(column, sort=column.dtype.kind == "M")[0].astype(np.float64)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    least = np.nanmin(values, initial=0)
    return np.where(np.isnan(values), least - max(1.0, abs(least)), values)


def _skill(x: Array, y: Array, task: str) -> tuple[float, str]:
    """Return the skill of a column in cross-validation, and the accuracy or R2 as text."""
    is_class = task == "classification"
    tree = (DecisionTreeClassifier if is_class else DecisionTreeRegressor)(random_state=0)
    ranks = np.unique(x, return_inverse=True)[1].reshape(-1, 1)
    found = cross_val_predict(tree, ranks, y, cv=folds_of(task, y, N_FOLDS, 0))
    if is_class:
        error = float((found != y).mean())
        return 1 - error / (1 - float(np.bincount(y).max()) / len(y)), f"accuracy {1 - error:.1%}"
    r2 = 1 - float(np.mean((found - y) ** 2) / y.var())
    largest = np.abs(x).max()
    if largest > 0 and (x / largest).std() > 0:  # a line, as of another unit
        r2 = max(r2, float(np.corrcoef(x / largest, y)[0, 1] ** 2))
    return r2, f"R2 {r2:.4f}"
