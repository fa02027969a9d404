"""Decision boundaries: rendered as pictures, traced as lines, and written to files."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return a class that pickles of version 0.1 import from this package; to be removed in version 0.3."""
    if name in ("BoundaryImage", "RenderStats"):
        from . import image

        return getattr(image, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
