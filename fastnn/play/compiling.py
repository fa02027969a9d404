"""Reports that a thread compiles kernels, which takes seconds once per machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["reported_compilations"]

# Functions that are told of compilations, by the identifier of the thread that compiles.
_listening: dict[int, Callable[[bool], None]] = {}


def _announce(types: tuple[Any, ...]) -> None:
    """Tell the function of this thread that a kernel is about to be compiled."""
    told = _listening.get(threading.get_ident())
    if told is not None:
        told(True)


@contextmanager
def reported_compilations(told: Callable[[bool], None]) -> Iterator[None]:
    """Call ``told(True)`` in this thread whenever it begins to compile a kernel within the context.

    The end of a compilation is not reported by numba: the caller knows it when the compiled code has run.
    """
    from fastnn_kernels.compiler import jit

    if _announce not in jit.compilation_listeners:
        jit.compilation_listeners.append(_announce)
    thread = threading.get_ident()
    _listening[thread] = told
    try:
        yield
    finally:
        del _listening[thread]
