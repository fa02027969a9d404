"""Notes on columns that need a decision: ids, groups, sentinels, and columns that give the target away."""

from __future__ import annotations

import re

import numpy as np
import pandas
from pandas import DataFrame, Series
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ...system.messages import pluralize
from ...system.validation import Array
from ..members import make_splits
from .hints import find_hint, format_option, read_as_missing
from .reading import ReadTable

# Number of random rows on which a column is checked, the fewest that show something, and the folds.
N_ROWS, MIN_ROWS, N_FOLDS = 2000, 40, 2
# Largest number of classes that single columns are checked for.
MAX_CHECKED_CLASSES = 50
# Fewest rows of all classes but the most frequent from which the accuracy of a column means something.
MIN_OTHERS = 15
# Smallest fraction of the constant prediction's errors, or of the variance, that a suspicious column removes.
MIN_SKILL = {"classification": 0.9, "regression": 0.99}
# Smallest fraction of different values in a column with the name of an id.
MIN_DISTINCT = 0.5
# Fewest groups that a column of them holds, and largest mean number of runs of equal values of a group.
MIN_GROUPS, MAX_RUNS = 20, 3
# Numbers that often stand for a missing value.
_SENTINEL = re.compile(r"-?9{2,}")
_ID_NAME = re.compile(r"(?:^|[\W_])(?:id|key|uuid|guid|index|row|nr|no|number)s?$|[a-z]I[Dd]$", re.IGNORECASE)
_CODE_NAME = re.compile(r"(?:^|[\W_])(?:code|zip|zipcode|postcode)s?$|[a-z](?:Code|Zip)$", re.IGNORECASE)


def find_suspicions(
    frame: DataFrame, target: Series, task: str, read: ReadTable, has_groups: bool = False
) -> list[str]:
    """Return notes on the columns to predict from, and on a target of numbers without missing values.

    With `has_groups`, the user has named the column of the groups.
    """
    notes = [] if task == "classification" else _note_sentinel(target, "the target", read)
    # The encoder refuses lists and other values that cannot be categories, and names the column.
    are_hashable = [
        column.dtype != object or all(map(pandas.api.types.is_hashable, column))
        for _, column in frame.items()
    ]
    frame = frame.loc[:, are_hashable]
    for name in frame.columns:
        column, drop = frame[name], f"{format_option('--drop', name)} leaves it out"
        advice = find_hint(column, read.reading)
        if advice is not None:
            notes.append(f"column {name!r} {advice[1]}")
        if len(frame) > 2 and column.dtype.kind in "iu" and (column.diff().iloc[1:] == 1).all():
            notes.append(f"column {name!r} numbers the rows: {drop}")
        elif _is_id(column):
            notes.append(f"column {name!r} looks like an id ({column.nunique():,} different values): {drop}")
        elif not has_groups and _is_group(column):
            notes.append(
                f"column {name!r} looks like {column.nunique():,} groups of rows that belong together: "
                f"{format_option('--groups', name)} evaluates networks on groups that they did not see"
            )
        elif _is_code(column):
            option = format_option("--categories", name)
            notes.append(f"column {name!r} looks like a code: {option} makes categories of its numbers")
        notes += _note_sentinel(column, "column", read)
    return notes + _find_leaks(frame, target, task)


def _is_id(column: Series) -> bool:
    """Return True for integers and text with the name of an id and few repeated values."""
    if column.dtype.kind in "fbM" or not _ID_NAME.search(str(column.name)) or len(column) < MIN_ROWS:
        return False
    n_values, n_rows = column.nunique(), len(column)
    # Text without repeated values is left out anyway.
    return bool(n_values >= MIN_DISTINCT * n_rows and (column.dtype.kind in "iu" or n_values < n_rows))


def _is_code(column: Series) -> bool:
    """Return True for integers with the name of an id or a code and many repeated values."""
    name = str(column.name)
    if column.dtype.kind not in "iu" or not (_ID_NAME.search(name) or _CODE_NAME.search(name)):
        return False
    return bool(MIN_GROUPS <= column.nunique() < MIN_DISTINCT * len(column))


def _is_group(column: Series) -> bool:
    """Return True for text, and integers with the name of an id, of which equal values follow each other."""
    if column.dtype.kind in "fbMm" or (column.dtype.kind in "iu" and not _ID_NAME.search(str(column.name))):
        return False
    n_values, n_rows = column.nunique(), len(column)
    if not MIN_GROUPS <= n_values <= n_rows / 2:
        return False
    n_runs = int((column != column.shift()).sum())
    return n_runs <= min(MAX_RUNS * n_values, n_rows / 2)


def _note_sentinel(column: Series, what: str, read: ReadTable) -> list[str]:
    """Return a note on a number such as -999 that lies further from all others than these from each other."""
    if column.dtype.kind not in "iuf" or read.reading is None:
        return []
    values, counts = np.unique(column.dropna().to_numpy(dtype=np.float64), return_counts=True)
    for end, others in ((0, values[1:]), (-1, values[:-1])):
        if len(others) < 2 or counts[end] < 2 or not _SENTINEL.fullmatch(text := f"{values[end]:g}"):
            continue
        if np.abs(others - values[end]).min() > np.ptp(others):
            n_rows = f"{pluralize(int(counts[end]), 'row')} ({counts[end] / counts.sum():.1%})"
            return [f"{what} {column.name!r} holds {text} in {n_rows}: {read_as_missing(column.name, text)}"]
    return []


def _find_leaks(frame: DataFrame, target: Series, task: str) -> list[str]:
    n_rows = len(target)
    rows = np.arange(n_rows)
    if n_rows > N_ROWS:
        rows = np.sort(np.random.RandomState(0).permutation(n_rows)[:N_ROWS])
    values, y = np.unique(target.to_numpy()[rows], return_inverse=True)
    is_checked = len(rows) >= MIN_ROWS and len(values) > 1
    if task == "classification":
        is_checked &= len(values) <= MAX_CHECKED_CLASSES and len(rows) - np.bincount(y).max() >= MIN_OTHERS
    elif is_checked:
        y = values[y] / np.abs(values).max()
    notes = []
    for name in frame.columns:
        drop = f"{format_option('--drop', name)} leaves it out"
        if (frame[name].astype(object) == target.astype(object)).all():
            notes.append(f"column {name!r} is a copy of the target: {drop}")
        elif is_checked:
            skill, score = _measure_skill(_convert_to_numbers(frame[name].iloc[rows]), y, task)
            if skill >= MIN_SKILL[task]:
                notes.append(
                    f"column {name!r} alone predicts the target almost perfectly ({score}): if it is known "
                    f"only after the target, {drop}"
                )
    return notes


def _convert_to_numbers(column: Series) -> Array:
    """Return a column as float64 in its order, a missing value as the least."""
    if column.dtype.kind not in "iufb":
        return pandas.factorize(column, sort=column.dtype.kind == "M")[0].astype(np.float64)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    least = np.nanmin(values, initial=0)
    return np.where(np.isnan(values), least - max(1.0, abs(least)), values)


def _measure_skill(x: Array, y: Array, task: str) -> tuple[float, str]:
    """Return the skill of a column in cross-validation, and the accuracy or R2 as text."""
    is_class = task == "classification"
    tree = (DecisionTreeClassifier if is_class else DecisionTreeRegressor)(random_state=0)
    ranks = np.unique(x, return_inverse=True)[1].reshape(-1, 1)
    found = cross_val_predict(
        tree, ranks, y, cv=make_splits(N_FOLDS, len(y), np.random.RandomState(0), y if is_class else None)
    )
    if is_class:
        error = float((found != y).mean())
        return 1 - error / (1 - float(np.bincount(y).max()) / len(y)), f"accuracy {1 - error:.1%}"
    r2 = 1 - float(np.mean((found - y) ** 2) / y.var())
    largest = np.abs(x).max()
    if largest > 0 and (x / largest).std() > 0:  # a line, as of another unit
        r2 = max(r2, float(np.corrcoef(x / largest, y)[0, 1] ** 2))
    return r2, f"R2 {r2:.4f}"
