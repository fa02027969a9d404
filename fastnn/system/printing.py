"""`print` of the commands: names in files may hold control characters, which a terminal would obey."""

from __future__ import annotations

import builtins
import io
import sys
from typing import Any

from .messages import visible

__all__ = ["VisibleText", "escaped", "print"]


def escaped(text: str) -> str:
    """Return a text of several lines with its control characters as escapes."""
    return "\n".join(map(visible, text.split("\n")))


def print(*values: Any, **options: Any) -> None:
    """Print values as Python's function does, with their control characters as escapes."""
    builtins.print(*(escaped(str(value)) for value in values), **options)


class VisibleText(io.TextIOBase):
    """Text file that writes to standard output, with control characters as escapes."""

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        sys.stdout.write(escaped(text))
        return len(text)
