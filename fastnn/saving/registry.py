"""Registry of the classes that can be saved, by the name of their kind in files."""

from __future__ import annotations

import importlib
from typing import Any, TypeVar

__all__ = ["KINDS", "kind_of", "savable", "saved_class"]

# Registry: classes by kind, which is the class's name. `savable` adds to it.
KINDS: dict[str, type] = {}
_Class = TypeVar("_Class", bound=type)


def savable(kind: _Class) -> _Class:
    """Add a class to `KINDS` and return the class; for use as a decorator.

    The class is public under its name in ``fastnn``, and has two methods: ``_file_description(writer)``
    returns a dict of JSON values, and passes the arrays to the `Writer`; the class method
    ``_restore(description, reader)`` returns an object for the description, and reads the arrays from the
    `Reader`.
    """
    KINDS[kind.__name__] = kind
    return kind


def kind_of(value: Any) -> str | None:
    """Return the kind of an object that can be saved, None for any other object."""
    kind = type(value).__name__
    return kind if KINDS.get(kind) is type(value) else None


def saved_class(kind: Any) -> Any:
    """Return the class of a kind that a file names.

    The name is looked up in fixed tables, and a module is imported only if fastnn's table of public names
    holds the kind.

    Raises
    ------
    ValueError
        If fastnn has no such kind.
    """
    from .. import _HOMES

    if isinstance(kind, str) and kind not in KINDS and kind in _HOMES:
        importlib.import_module(f"..{_HOMES[kind]}", __package__)
    if not (isinstance(kind, str) and kind in KINDS):
        raise ValueError(f"fastnn has no kind of model called {kind!r}")
    return KINDS[kind]
