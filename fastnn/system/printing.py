"""`print` of the commands, which escapes control characters: a terminal would interpret them."""

from __future__ import annotations

import builtins
import io
import sys
from typing import Any

from .messages import escape_controls


def escape_lines(text: str) -> str:
    """Return a text of several lines with its control characters as escapes."""
    return "\n".join(map(escape_controls, text.split("\n")))


def print(*values: object, **options: Any) -> None:
    """Print values as Python's function does, with their control characters as escapes."""
    builtins.print(*(escape_lines(str(value)) for value in values), **options)


class VisibleText(io.TextIOBase):
    """Text file that writes to standard output, with control characters as escapes."""

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        sys.stdout.write(escape_lines(text))
        return len(text)
