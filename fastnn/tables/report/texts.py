"""Texts from files on a page of HTML."""

from __future__ import annotations

import html

from ...system.messages import visible

__all__ = ["escape"]


def escape(text: str) -> str:
    """Return a text as HTML, with its control characters as escapes."""
    return html.escape(visible(text))
