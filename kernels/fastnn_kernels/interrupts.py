"""Ctrl-C, where it must wait: of Python's own, so that it loads nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["held_interrupts", "let_interrupts_through"]


class _Hold:
    """A handler that keeps interrupts for later."""

    def __init__(self, previous: Callable[[int, Any], object], note: Callable[[], object]) -> None:
        self.previous, self.came = previous, False
        self._note = note

    def __call__(self, number: int, frame: Any) -> None:
        self.came = True
        self._note()


@contextmanager
def held_interrupts(note: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let Ctrl-C wait: `note` is called when it comes, and it is raised at the end.

    For what must not be left half done, such as moving files, and for what ends by itself when it is told to.
    `note` must not take a lock, which the interrupted code may hold. In another thread than the main one,
    which no interrupt comes to, nothing happens.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    hold = _Hold(previous, note)
    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if hold.came:
            previous(signal.SIGINT, None)


@contextmanager
def let_interrupts_through() -> Iterator[None]:
    """Within `held_interrupts`: Ctrl-C does what it did outside, since somebody else's code may take long."""
    holding = outside = signal.getsignal(signal.SIGINT)
    while isinstance(outside, _Hold):
        outside = outside.previous
    if outside is holding or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, outside)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, holding)
