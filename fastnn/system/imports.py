"""Imports inside functions, for which a fork in another thread waits."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any

from fastnn_kernels.compiler.forks import import_lock

__all__ = ["imported"]


def imported(name: str) -> Any:
    """Import a module on first use and return it.

    Python locks a module while it is imported. A child that another thread forks meanwhile would inherit the
    lock without the thread that holds it, and would wait for it for ever: a fork waits for the end of the
    import. So functions that may be called in any thread import modules by this function.

    A module that is loaded is returned at once, without a lock, even while another import takes seconds. One
    that another thread is still loading is waited for.

    Garbage collection pauses during an import: what a module creates lives to the end, and visiting it again
    and again takes a fifth of the time.
    """
    module = sys.modules.get(name)
    # The import system sets the private flag until the module has run, and asks for it in the same way.
    if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
        return module
    with import_lock:
        collects = gc.isenabled()
        try:
            gc.disable()
            return importlib.import_module(name)
        finally:
            if collects:
                gc.enable()
