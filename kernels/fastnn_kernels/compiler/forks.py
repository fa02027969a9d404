"""Locks that a fork waits for: of Python's own, so that it loads nothing.

A child process has one thread. What another thread was in the middle of, such as an import or a
compilation, is never finished there, and whoever needs it waits for ever.
"""

from __future__ import annotations

import os
import threading
from typing import Any

__all__ = ["loading", "wait_at_fork"]

# Held while numba and the kernels are imported.
loading = threading.RLock()

_locks: list[Any] = [loading]
_taken: list[Any] = []


def wait_at_fork(lock: Any) -> None:
    """Let every fork wait until it has `lock`, which is reentrant."""
    _locks.append(lock)


def _take() -> None:
    for lock in _locks:  # what is added while it waits for the one before comes as well
        lock.acquire()
        _taken.append(lock)


def _give_back() -> None:
    while _taken:
        _taken.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_give_back)
