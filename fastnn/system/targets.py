"""Classes or numbers: the task that the values of a target suggest."""

from __future__ import annotations

import math
from typing import Any

from .frames import find_kind
from .validation import Array

# Largest number of different integers that are taken for classes.
MAX_CLASSES = 10
# Fraction of numbers among more different values from which the others, text, are taken for mistakes.
MOSTLY_NUMBERS = 0.8


def suggest_task(distinct: Array) -> str:
    """Return the task that a target suggests: "classification" or "regression".

    At most ten different values are classes, unless they are numbers that are not all integers. More values
    are numbers if at least 80% of them are, or are text that stands for numbers; the caller refuses the rest.
    Missing values are left out; the dtype is numeric, Boolean or object.
    """
    if are_numbers(distinct):
        is_class = len(distinct) <= MAX_CLASSES and all(map(_is_integer, distinct.tolist()))
    elif len(distinct) <= MAX_CLASSES:
        is_class = True
    else:
        is_class = sum(map(stands_for_number, distinct.tolist())) < MOSTLY_NUMBERS * len(distinct)
    return "classification" if is_class else "regression"


def are_numbers(values: Array) -> bool:
    """Return True for an array of numbers, or of objects that are all numbers; booleans are none."""
    if values.dtype.kind != "O":
        return values.dtype.kind in "fiu"
    return {find_kind(kind) for kind in {type(value) for value in values.tolist()}} == {"number"}


def _is_integer(value: Any) -> bool:
    try:
        return bool(value == int(value))
    except OverflowError:  # infinity
        return False


def stands_for_number(value: object) -> bool:
    """Return True for a number, and for the text of one."""
    if not isinstance(value, str):
        return find_kind(type(value)) == "number"
    try:
        return "_" not in value and not math.isnan(float(value))  # Python alone takes 1_000 for a number
    except ValueError:
        return False
