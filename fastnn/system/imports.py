"""Imports inside functions, for which a fork in another thread waits."""

from __future__ import annotations

import importlib
from typing import Any

from fastnn_kernels.compiler.forks import import_lock

__all__ = ["imported"]


def imported(name: str) -> Any:
    """Import a module on first use and return it.

    Python locks a module while it is imported. A child that another thread forks meanwhile would inherit the
    lock without the thread that holds it, and would wait for it for ever: a fork waits for the end of the
    import. So functions that may be called in any thread import modules by this function. A module that is
    loaded needs no lock.
    """
    with import_lock:
        return importlib.import_module(name)
