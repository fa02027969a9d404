"""Memory: how much is free, whether an array fits, and sizes as texts such as "2GiB"."""

from __future__ import annotations

import numbers
import re
import sys

from .validation import short_repr

# Before the allocation of at least this many bytes, the free memory is checked; the check takes time.
LARGE_BYTES = 1 << 28

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


def get_free_memory() -> int:
    """Return the number of bytes that are free on this machine; in a browser, to which memory may grow."""
    if sys.platform == "emscripten":
        return 1 << 31
    import psutil

    return psutil.virtual_memory().available


def check_memory(needed: int, what: str, remedy: str) -> None:
    """Raise MemoryError if `needed` bytes exceed the free memory; `what` and `remedy` extend the message.

    Fewer than `LARGE_BYTES` are not checked.
    """
    if needed >= LARGE_BYTES and needed > (available := get_free_memory()):
        amount = f"{needed:,}" if needed < 2**63 else "2**63 or more"
        raise MemoryError(f"{what} {amount} bytes, and {available:,} are free: {remedy}")


def parse_size(value: object, name: str) -> int:
    """Return the bytes of a size, which ValueErrors call `name`.

    It is an integer, also as text, or a text such as "512MB" or "1.5 GiB" with one of `UNITS`, in letters of
    either case.

    Examples
    --------
    >>> parse_size("1.5 GiB", "memory_limit")
    1610612736
    """
    if value is not True and isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, str) and _BYTES.fullmatch(value):
        return int(value)
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(float(match[1]) * _FACTORS[match[2].lower()])
    raise ValueError(
        f"{name} must be a number of bytes, or a number with a unit such as '2GiB' (units: "
        f"{', '.join(UNITS)}), got {short_repr(value)}"
    )
