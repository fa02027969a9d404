"""Locks that `os.fork` waits for.

A forked child process has one thread. If another thread of the parent held a lock, as during an import or a
compilation, the lock stays held in the child, and the child waits for ever. So a fork first acquires all
locks. This module imports the standard library alone, so that importing it does not load numba.
"""

from __future__ import annotations

# The hooks of a fork run last registered first. A thread that imports numba asks for logging's lock: its
# hook, registered when logging is imported, must run after the one below, which waits for the import's end.
import logging  # noqa: F401
import os
import threading
from typing import Any

__all__ = ["import_lock", "wait_at_fork"]

# Lock that is held while numba and the kernels are imported.
import_lock = threading.RLock()

_locks: list[Any] = [import_lock]
_acquired: list[Any] = []


def wait_at_fork(lock: Any) -> None:
    """Register a reentrant lock: every later fork waits until it has acquired the lock."""
    _locks.append(lock)


def _acquire_all() -> None:
    for lock in _locks:  # a lock that is registered during this loop is acquired, too
        lock.acquire()
        _acquired.append(lock)


def _release_all() -> None:
    while _acquired:
        _acquired.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire_all, after_in_parent=_release_all, after_in_child=_release_all)
