"""Problem: the rows, the target and the weights of a training, checked, and the kind of its task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import pandas
from numpy.typing import NDArray
from pandas import DataFrame, Series

from ...system.messages import join_names, pluralize
from ...system.targets import MAX_CLASSES, suggest_task
from ...system.validation import Array
from ..members import number_groups
from .hints import find_hint, format_option
from .matching import check_finite, check_known, find_first, parse_numbers
from .reading import ReadTable, resolve_names
from .suspicions import find_suspicions

# Largest integer of 64 bits with a sign.
MAX_INTEGER = 2**63 - 1
# Largest number of classes whatever the number of rows; more are refused if they exceed half of the rows.
MAX_UNCHECKED_CLASSES = 100
# Mean number of rows of a class below which more classes look like an id.
MIN_ROWS_OF_CLASS = 20


@dataclass
class Problem:
    """Rows from which a target is to be learned."""

    task: str  # kind of the target: "classification" or "regression"
    frame: DataFrame  # columns to predict from
    # Target without missing values; texts, integers or booleans for classes, float64 for numbers.
    target: Series
    weights: NDArray[np.float64] | None  # (n,): weights of the rows
    groups: Array | None  # (n,): names of the rows' groups, or their numbers from 0 on
    notes: list[str]  # remarks for the user


def make_problem(
    read: ReadTable,
    target: str,
    task: str | None,
    drop: Sequence[str],
    weights: str | None,
    groups: str | None = None,
) -> Problem:
    """Return the problem that a table and the arguments of the command pose.

    A missing column, and an unusable target, weight or group, are a ValueError that names the row.
    """
    known = [*read.frame.columns, *read.unread]
    drop = resolve_names(drop, known)
    named: dict[str, Sequence[str | None]] = {
        "--target": [target],
        "--weights": [weights],
        "--groups": [groups],
        "--drop": drop,
    }
    for argument, names in named.items():
        check_known(names, known, read.name, argument)
    if target in {*drop, weights, groups}:
        raise ValueError(f"--target: {target!r} cannot be dropped, or be the weights or groups as well")
    if weights in drop:
        raise ValueError(f"--weights: {weights!r} cannot be dropped as well")
    columns = [name for name in read.frame.columns if name not in {target, weights, groups, *drop}]
    if not columns:
        raise ValueError(f"{read.name} has no column to predict {target!r} from")
    notes: list[str] = []
    present = read.frame[target].dropna()
    check_any(len(present), None, read.name, target, weights)
    task = task or _find_task(present, read, notes)
    problem = parse_rows(read, target, task, weights, columns, groups)
    check_any(len(problem.target), problem.weights, read.name, target, weights)
    if problem.groups is not None:
        try:
            problem.groups = number_groups(problem.groups, len(problem.groups))
        except ValueError as error:
            raise ValueError(f"--groups {groups}: {error}") from None
    distinct = np.unique(problem.target)
    if len(distinct) < 2:
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
            "average: it looks like an id, and a fit to this many classes is slow"
        )
    problem.notes += notes + find_suspicions(problem.frame, problem.target, task, read, groups is not None)
    return problem


def check_any(
    n_rows: int, row_weights: NDArray[np.float64] | None, name: str, target: str, weights: str | None
) -> None:
    """Raise ValueError if no row has a target, or a weight above 0."""
    if not n_rows:
        raise ValueError(f"{name}: the target {target!r} holds only missing values")
    if row_weights is not None and not np.any(row_weights):
        raise ValueError(f"{name}: the weights {weights!r} are all 0")


def note_missing_targets(n_missing: int) -> list[str]:
    """Return the remark on rows without a target, if there are any."""
    verb = "is" if n_missing == 1 else "are"
    return [f"{pluralize(n_missing, 'row')} without a target {verb} left out"] if n_missing else []


def parse_rows(
    read: ReadTable, target: str, task: str, weights: str | None, columns: list[str], groups: str | None
) -> Problem:
    """Return the rows, if any, of a table or a piece of one that have a target, with the given columns.

    An unusable target or weight, and a missing group, are a ValueError that names the row.
    """
    frame = read.frame[read.frame[target].notna()]
    notes = note_missing_targets(len(read.frame) - len(frame))
    values = parse_targets(frame[target], read, task)
    row_weights = None
    if weights is not None:
        row_weights = parse_numbers(frame[weights], read, "the weight")
        if wrong := find_first(frame[weights], ~(row_weights >= 0) | np.isinf(row_weights)):
            row, value = wrong
            raise ValueError(
                f"{read.name}: the weight {weights!r} in row {row} is {value}: weights are numbers of "
                "at least 0"
            )
    names = None
    if groups is not None:
        if missing := find_first(frame[groups], frame[groups].isna().to_numpy()):
            raise ValueError(f"{read.name}: the group {groups!r} is missing in row {missing[0]}: name it")
        names = frame[groups].astype(str).to_numpy(object)
    check_finite(frame[columns], read)
    features = frame[columns].reset_index(drop=True)
    return Problem(task, features, pandas.Series(values, name=target), row_weights, names, notes)


def parse_targets(column: Series, read: ReadTable, task: str) -> Array:
    """Return a target without missing values as float64 numbers, or as classes: texts, integers, booleans."""
    if task == "regression":
        values = parse_numbers(column, read, "the target")
        if wrong := find_first(column, np.isinf(values)):
            raise ValueError(
                f"{read.name}: the target {column.name!r} holds infinity in row {wrong[0]}: correct it, or "
                f"leave the row out by {format_option('--na', f'{column.name}=inf', f'{column.name}=-inf')}"
            )
        return values
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
    return np.array([*map(str, column)], object)


def check_classes(y: Array, classes: Array, read: ReadTable, target: str) -> Array:
    """Return true classes with the data type of a model's classes; raise ValueError for a class it lacks."""
    known = {one: one for one in classes.tolist()}
    values = y.tolist()
    if classes.dtype.kind in "OU":
        values = list(map(str, values))
    if are_numbers(classes):  # one table may hold 2, and another 2.0 or 02
        same = {_parse_decimal(str(one)): one for one in known}
        values = [
            value if value in known else same.get(_parse_decimal(str(value)), value) for value in values
        ]
    new = sorted(set(values) - set(known), key=str)
    if new:
        raise ValueError(
            f"{read.name}: the target {target!r} holds {join_names(new)}, but the model knows the classes "
            f"{join_names(classes)}"
        )
    return np.array([known[value] for value in values], classes.dtype)


def are_numbers(classes: Iterable[object]) -> bool:
    """Return True for classes that are numbers, or the texts of numbers."""
    return all(_parse_decimal(str(one)) is not None for one in classes)


def _parse_decimal(text: str) -> Decimal | None:
    """Return the number that a text stands for, exactly; None for another text."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _find_task(column: Series, read: ReadTable, notes: list[str]) -> str:
    if column.dtype.kind == "M":
        raise ValueError(f"{read.name}: the target {column.name!r} holds dates: choose numbers or classes")
    distinct, dtype = column.drop_duplicates(), column.dtype
    has_numbers = pandas.api.types.is_numeric_dtype(dtype) and not pandas.api.types.is_bool_dtype(dtype)
    task = suggest_task(distinct.to_numpy(np.float64 if has_numbers else object))
    if has_numbers and task == "classification" and len(distinct) > 2:
        notes.append(
            f"the {len(distinct)} integers of {column.name!r} are taken for classes: --task "
            "regression takes them for numbers"
        )
    is_long = len(distinct) > MAX_CLASSES and not has_numbers
    if task == "regression" or (is_long and (find_hint(column, read.reading) or [""])[0] == "numbers"):
        parse_numbers(
            column, read, "the target"
        )  # raises where other text is among numbers, and names the row
        return "regression"
    return task
