"""Reports that kernels are being compiled, which takes seconds once per machine.

numba reports the beginning of a compilation and not its end: a thread that has run its compiled code says so
by `note_compiled`. Only one thread compiles at a time, and all others wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastnn_kernels.compiler.entry import compilation_listeners

__all__ = ["note_compiled", "reported_compilations"]

# Functions that report compilations, by the identifier of the thread that compiles.
_listening: dict[int, Callable[[bool], None]] = {}
# Identifiers of the threads that compile or wait for their turn.
_compiling: set[int] = set()


def _announce(types: tuple[Any, ...]) -> None:
    """Report to the function of this thread that a kernel is about to be compiled."""
    thread = threading.get_ident()
    if thread in _listening:
        _compiling.add(thread)
        _listening[thread](True)


def note_compiled() -> None:
    """Report to the function of this thread that compiled code has run, if a compilation was reported."""
    thread = threading.get_ident()
    if thread in _compiling:
        _compiling.discard(thread)
        _listening[thread](False)


@contextmanager
def reported_compilations(report: Callable[[bool], None] = lambda busy: None) -> Iterator[None]:
    """Call ``report(True)`` when this thread begins to compile a kernel or must wait for another thread.

    ``report(False)`` follows at the next `note_compiled` in this thread, or at the end of the context.
    """
    if _announce not in compilation_listeners:
        compilation_listeners.append(_announce)
    _listening[threading.get_ident()] = report
    if _compiling:
        _announce(())
    try:
        yield
    finally:
        note_compiled()
        del _listening[threading.get_ident()]
