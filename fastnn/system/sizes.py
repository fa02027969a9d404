"""Sizes in bytes, as numbers or texts such as "2GiB"."""

from __future__ import annotations

import numbers
import re
from typing import Any

from .validation import shown

__all__ = ["parse_size"]

# Bytes of the units of a size.
UNITS = {
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
# Text of more digits is refused: int() limits them, and a float overflows.
_BYTES = re.compile("[0-9]{1,18}")
_SIZE = re.compile(
    rf"([0-9]{{1,18}}\.?[0-9]{{0,18}}|\.[0-9]{{1,18}}) ?({'|'.join(UNITS)})", re.IGNORECASE | re.ASCII
)
_FACTORS = {unit.lower(): factor for unit, factor in UNITS.items()}


def parse_size(value: Any, name: str, least: int) -> int:
    """Return the bytes of a size.

    Parameters
    ----------
    value : int or str
        Number of bytes, also as text, or a text such as "512MB" or "1.5 GiB" with one of `UNITS`, in letters
        of either case.
    name : str
        Name of the argument, for messages.
    least : int
        Least number of bytes.

    Raises
    ------
    ValueError
        If `value` is not a size, or is below `least`.

    Examples
    --------
    >>> from fastnn.system.sizes import parse_size
    >>> parse_size("1.5 GiB", "memory_limit", 0)
    1610612736
    """
    size = _bytes_of(value)
    if size is None:
        raise ValueError(
            f"{name} must be a number of bytes, or a number with a unit such as '2GiB' (units: "
            f"{', '.join(UNITS)}), got {shown(value)}"
        )
    if size < least:
        raise ValueError(f"{name} must be at least {least >> 20} MiB, got {shown(value)}")
    return size


def _bytes_of(value: Any) -> int | None:
    """Return the bytes of a size; None if the value is not a size."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match:
            return int(float(match[1]) * _FACTORS[match[2].lower()])
        return int(value) if _BYTES.fullmatch(value) else None
    return int(value) if isinstance(value, numbers.Integral) and value is not True else None
