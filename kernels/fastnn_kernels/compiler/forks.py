"""Locks that `os.fork` waits for, and a property that needs no lock.

A forked child process has one thread. If another thread of the parent held a lock, as during an import or a
compilation, the lock stays held in the child, and the child waits for ever. So a fork first acquires all
locks. Importing this module does not load numba.
"""

from __future__ import annotations

import functools

# The hooks of a fork run last registered first. A thread that imports numba asks for logging's lock: its
# hook, registered when logging is imported, must run after the one below, which waits for the import's end.
import logging  # noqa: F401
import os
import threading
from typing import Any

from .interrupts import held_interrupts

__all__ = ["cached_property", "import_lock", "wait_at_fork"]


class cached_property(functools.cached_property):
    """Property that is computed once for each object, without a lock; all threads get the same value.

    Python 3.11 holds a lock while it computes the property of any object: a child that is forked at that time
    would wait for the lock for ever. Later versions have no lock, and may give two threads two values, of
    which the object keeps the second: an address in the first would be that of freed memory. Here, two
    threads may both compute the value, and both get the one that was stored first.
    """

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Compute and store the value; later accesses find it in the object's dictionary."""
        if instance is None:
            return self
        return instance.__dict__.setdefault(self.attrname, self.func(instance))


# Lock that is held while numba and the kernels are imported.
import_lock = threading.RLock()

_locks: list[Any] = [import_lock]
_acquired: list[Any] = []


def wait_at_fork(lock: Any) -> None:
    """Register a reentrant lock: every later fork waits until it has acquired the lock."""
    _locks.append(lock)


def _acquire_all() -> None:
    # Python drops an exception that this function raises, and forks all the same: Ctrl-C must wait, too.
    with held_interrupts():
        for lock in _locks:  # a lock that is registered during this loop is acquired, too
            lock.acquire()
            _acquired.append(lock)


def _release_all() -> None:
    while _acquired:
        _acquired.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire_all, after_in_parent=_release_all, after_in_child=_release_all)
