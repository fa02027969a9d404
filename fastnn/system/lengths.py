"""Lengths of time within a run: an int counts steps, a float is a fraction of the run."""

from __future__ import annotations

import math
import numbers
from typing import Any

from .validation import shown

__all__ = ["check_bounded", "check_fraction", "check_length", "in_steps"]


def in_steps(length: float, total: int) -> float:
    """Convert a checked length to steps, at least one and not rounded, for a run of `total` steps."""
    return length if isinstance(length, int) else max(1.0, length * total)


def check_length(value: Any, name: str) -> float:
    """Return a valid length: an int, which counts steps, or a float, which is a fraction of the run.

    Raises
    ------
    ValueError
        If `value` is not an int from 1 to 2**63 - 1 or a float above 0 and at most 1.
    """
    number = _as_float(value)
    if isinstance(value, numbers.Integral):
        if number >= 1 and int(value) < 2**63:
            return int(value)
    elif 0 < number <= 1:
        return number
    raise ValueError(
        f"{name} must be an int of at least 1, in steps, or a float above 0 and at most 1, "
        f"a fraction of the run, got {shown(value)}: write 100 for a hundred steps, 0.1 for a tenth of the "
        "run"
    )


def check_bounded(value: Any, name: str, low: float, high: float, remedy: str) -> float:
    """Return a finite float from `low` to `high`; raise ValueError, with `remedy`, for anything else."""
    number = _as_float(value)
    if math.isfinite(number) and low <= number <= high:
        return number
    bounds = f"number from {low} to {high}" if math.isfinite(high) else f"finite number of at least {low}"
    raise ValueError(f"{name} must be a {bounds}, got {shown(value)}: {remedy}")


def check_fraction(value: Any, name: str, remedy: str) -> float:
    """Return a float above 0 and at most 1; raise ValueError, with `remedy`, for anything else."""
    number = _as_float(value)
    if 0 < number <= 1:
        return number
    raise ValueError(f"{name} must be a number above 0 and at most 1, got {shown(value)}: {remedy}")


def _as_float(value: Any) -> float:
    """Return a real number as a float, and NaN, which passes no check, for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf
