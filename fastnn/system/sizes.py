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
_SIZE = re.compile(rf"([0-9]+\.?[0-9]*|\.[0-9]+) ?({'|'.join(UNITS)})")


def parse_size(value: Any, name: str, least: int) -> int:
    """Return the bytes of a size.

    Parameters
    ----------
    value : int or str
        Number of bytes, or a text such as "512MB" or "1.5 GiB".
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
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match:
        size = int(float(match[1]) * UNITS[match[2]])
    elif isinstance(value, numbers.Integral) and value is not True:
        size = int(value)
    else:
        raise ValueError(f"{name} must be a number of bytes, or a size such as '2GiB', got {shown(value)}")
    if size < least:
        raise ValueError(f"{name} must be at least {least >> 20} MiB, got {shown(value)}")
    return size
