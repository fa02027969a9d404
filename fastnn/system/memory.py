"""The check that an allocation fits into the free memory."""

from __future__ import annotations

from .imports import imported

__all__ = ["LARGE_BYTES", "check_memory"]

# Before the allocation of at least this many bytes, the free memory is checked; the check takes time.
LARGE_BYTES = 1 << 28


def check_memory(needed: int, what: str, remedy: str) -> None:
    """Raise MemoryError if `needed` bytes exceed the free memory; `what` and `remedy` extend the message."""
    available = imported("psutil").virtual_memory().available
    if needed > available:
        amount = f"{needed:,}" if needed < 2**63 else "2**63 or more"
        raise MemoryError(f"{what} {amount} bytes, and {available:,} are free: {remedy}")
