"""Problem: the rows, the target and the weights of a training, checked, and the kind of its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...system.extras import import_extra
from ...system.messages import counted, listed
from ...system.targets import MAX_CLASSES, suggested_task
from .columns import check_finite, check_names, numbers_of
from .reading import ReadTable, given_names
from .suspicions import suspicions
from .texts import hint

__all__ = [
    "Problem",
    "are_numbers",
    "check_any",
    "check_classes",
    "missing_target_notes",
    "posed_problem",
    "posed_rows",
    "stated_rows",
    "stated_targets",
]

# Largest integer of 64 bits with a sign.
MAX_INTEGER = 2**63 - 1
# Largest number of classes whatever the number of rows; more are refused if they exceed half of the rows.
MAX_UNCHECKED_CLASSES = 100
# Mean number of rows of a class below which more classes look like an id.
MIN_ROWS_OF_CLASS = 20


@dataclass
class Problem:
    """Rows from which a target is to be learned.

    Parameters
    ----------
    task : {"classification", "regression"}
        Kind of the target.
    frame : pandas DataFrame
        Columns to predict from.
    target : pandas Series
        Target without missing values; texts, integers or booleans for classes, float64 for numbers.
    weights : array (n,) or None
        Weights of the rows.
    notes : list of str
        Remarks for the user.
    """

    task: str
    frame: Any
    target: Any
    weights: NDArray[np.float64] | None
    notes: list[str]


def posed_problem(
    read: ReadTable, target: str, task: str | None, drop: Sequence[str], weights: str | None,
    is_whole: bool = True,
) -> Problem:  # fmt: skip
    """Return the problem that a table and the arguments of the command pose.

    A sample of a table, for which `is_whole` is False, may hold only one target, or only weights of 0: the
    fit checks all rows.

    Raises
    ------
    ValueError
        If a column does not exist, or the target or the weights are unusable; the message names the row.
    """
    check_names([target], read, "--target")
    drop = given_names(drop, list(read.frame.columns))
    check_names(drop, read, "--drop")
    check_names([] if weights is None else [weights], read, "--weights")
    if target in drop or target == weights:
        raise ValueError(f"--target: {target!r} cannot be dropped or be the weights as well")
    columns = [name for name in read.frame.columns if name not in {target, weights, *drop}]
    if not columns:
        raise ValueError(f"{read.name} has no column to predict {target!r} from")
    notes: list[str] = []
    present = read.frame[target].dropna()
    check_any(len(present), None, read.name, target, weights)
    task = task or _found_task(present, read, notes)
    problem = (posed_rows if is_whole else stated_rows)(read, target, task, weights, columns)
    distinct = np.unique(problem.target)
    if is_whole and len(distinct) < 2:
        raise ValueError(
            f"{read.name}: the target {target!r} holds only one value, {str(distinct[0])!r}: there is "
            "nothing to learn" + "".join(f"; {note}" for note in read.notes if "--no-default-na" in note)
        )
    n_rows = len(problem.target)
    if task == "classification" and len(distinct) > max(MAX_UNCHECKED_CLASSES, n_rows // 2):
        raise ValueError(
            f"{read.name}: the target {target!r} holds {len(distinct):,} different values in {n_rows:,} "
            "rows, too many for classes: choose another --target, or --task regression"
        )
    n_classes = len(distinct) if task == "classification" else 0
    if n_classes > MAX_UNCHECKED_CLASSES and n_rows < MIN_ROWS_OF_CLASS * n_classes:
        notes.append(
            f"the target {target!r} holds {n_classes:,} classes of {n_rows / n_classes:.1f} rows each on "
            "average: it looks like an id, and so many classes make a fit slow"
        )
    problem.notes += notes + suspicions(problem.frame, problem.target, task, read)
    return problem


def posed_rows(read: ReadTable, target: str, task: str, weights: str | None, columns: list[str]) -> Problem:
    """Return the rows of a table that have a target, with the given columns.

    Raises
    ------
    ValueError
        If no row has a target, or the target or the weights are unusable; the message names the row.
    """
    problem = stated_rows(read, target, task, weights, columns)
    check_any(len(problem.target), problem.weights, read.name, target, weights)
    return problem


def check_any(n_rows: int, row_weights: Any, name: str, target: str, weights: str | None) -> None:
    """Raise ValueError if no row has a target, or a weight above 0."""
    if not n_rows:
        raise ValueError(f"{name}: the target {target!r} holds only missing values")
    if row_weights is not None and not np.any(row_weights):
        raise ValueError(f"{name}: the weights {weights!r} are all 0")


def missing_target_notes(n_missing: int) -> list[str]:
    """Return the remark on rows without a target, if there are any."""
    verb = "is" if n_missing == 1 else "are"
    return [f"{counted(n_missing, 'row')} without a target {verb} left out"] if n_missing else []


def stated_rows(read: ReadTable, target: str, task: str, weights: str | None, columns: list[str]) -> Problem:
    """Return the rows, if any, of a table or a piece of one that have a target, with the given columns.

    Raises
    ------
    ValueError
        If the target or the weights are unusable; the message names the row.
    """
    frame = read.frame[read.frame[target].notna()]
    notes = missing_target_notes(len(read.frame) - len(frame))
    values = stated_targets(frame[target], read, task)
    row_weights = None
    if weights is not None:
        row_weights = numbers_of(frame[weights], read, "the weight")
        wrong = ~(row_weights >= 0) | np.isinf(row_weights)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{read.name}: the weight {weights!r} in row {frame.index[row] + 1} is "
                f"{frame[weights].iloc[row]}: weights are numbers of at least 0"
            )
    pandas = import_extra("pandas", "cli", "reading a table")
    check_finite(frame[columns], read)
    features = frame[columns].reset_index(drop=True)
    return Problem(task, features, pandas.Series(values, name=target), row_weights, notes)


def stated_targets(column: Any, read: ReadTable, task: str) -> NDArray[Any]:
    """Return a target without missing values as float64 numbers, or as classes: texts, integers, booleans."""
    if task == "regression":
        values = numbers_of(column, read, "the target")
        is_infinite = np.isinf(values)
        if is_infinite.any():
            row = int(column.index[is_infinite.argmax()]) + 1
            raise ValueError(
                f"{read.name}: the target {column.name!r} holds infinity in row {row}: correct it, or "
                "read it as a missing value by --na inf,-inf, which leaves the row out"
            )
        return values
    pandas = import_extra("pandas", "cli", "reading a table")
    kinds = {type(value) for value in column}
    if kinds <= {bool, np.bool_}:
        return column.to_numpy(dtype=bool)
    if pandas.api.types.is_numeric_dtype(column.dtype) or kinds == {Decimal}:
        # float64 in between would join large integers.
        if column.dtype.kind == "u":
            values = column.to_numpy(dtype=np.uint64)
            return values if values.max(initial=0) > MAX_INTEGER else values.astype(np.int64)
        if column.dtype.kind == "i":
            return column.to_numpy(dtype=np.int64)
        values = column.to_numpy()
        if all(abs(value) < MAX_INTEGER and value == int(value) for value in values.tolist()):
            return values.astype(np.int64)
    return _texts(column)


def check_classes(y: NDArray[Any], classes: NDArray[Any], read: ReadTable, target: str) -> NDArray[Any]:
    """Return true classes with the data type of a model's classes; raise ValueError for a class it lacks."""
    known = {one: one for one in classes.tolist()}
    values = y.tolist()
    if classes.dtype.kind in "OU":
        values = list(map(str, values))
    if are_numbers(classes):  # one table may hold 2, and another 2.0 or 02
        same = {_decimal(str(one)): one for one in known}
        values = [value if value in known else same.get(_decimal(str(value)), value) for value in values]
    new = sorted(set(values) - set(known), key=str)
    if new:
        raise ValueError(
            f"{read.name}: the target {target!r} holds {listed(new)}, but the model knows the classes "
            f"{listed(classes)}"
        )
    return np.array([known[value] for value in values], classes.dtype)


def are_numbers(classes: Any) -> bool:
    """Return True for classes that are numbers, or the texts of numbers."""
    return all(_decimal(str(one)) is not None for one in classes)


def _decimal(text: str) -> Decimal | None:
    """Return the number that a text stands for, exactly; None for another text."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _texts(column: Any) -> NDArray[Any]:
    texts = np.empty(len(column), object)
    texts[:] = [str(value) for value in column]
    return texts


def _found_task(column: Any, read: ReadTable, notes: list[str]) -> str:
    """Return the task that the values of a target suggest."""
    pandas = import_extra("pandas", "cli", "reading a table")
    if column.dtype.kind == "M" or isinstance(column.dtype, pandas.DatetimeTZDtype):
        raise ValueError(f"{read.name}: the target {column.name!r} holds dates: choose numbers or classes")
    distinct, dtype = column.drop_duplicates(), column.dtype
    has_numbers = pandas.api.types.is_numeric_dtype(dtype) and not pandas.api.types.is_bool_dtype(dtype)
    task = suggested_task(distinct.to_numpy(np.float64 if has_numbers else object))
    if has_numbers and task == "classification" and len(distinct) > 2:
        notes.append(
            f"the {len(distinct)} integers of {column.name!r} are taken for classes: --task "
            "regression takes them for numbers"
        )
    is_long = len(distinct) > MAX_CLASSES and not has_numbers
    if task == "regression" or (
        is_long and (hint(column, read.is_csv, read.decimal) or [""])[0] == "numbers"
    ):
        numbers_of(column, read, "the target")  # raises where other text is among numbers, and names the row
        return "regression"
    return task
