"""Signals, where their handlers must wait: of Python's own, so that it loads nothing."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["deliver_interrupts", "held_interrupts", "let_interrupts_through"]

# Ctrl-C, and signals whose handlers in Python may raise as well: a time-out by SIGALRM is an example.
SIGNALS = tuple(
    getattr(signal, name)
    for name in (
        "SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGVTALRM", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGBREAK",
    )
    if hasattr(signal, name)
)  # fmt: skip


class _Hold:
    """A handler that keeps signals for the handlers that were there before."""

    def __init__(self, note: Callable[[], object], outer: _Hold | None) -> None:
        self.note, self.outer = note, outer
        self.previous: dict[int, Callable[[int, Any], object]] = {}
        self.is_open = False  # passes signals on at once
        self.is_over = False
        self._came: list[int] = []

    def __call__(self, number: int, frame: Any) -> None:
        if self.is_open or self.is_over:
            self.previous[number](number, frame)
            return
        self.keep(number)
        hold: _Hold | None = self
        while hold is not None and number == signal.SIGINT:
            hold.note()
            hold = hold.outer

    def keep(self, number: int) -> None:
        if number not in self._came:
            self._came.append(number)

    def deliver(self) -> None:
        """Hand what came to the handlers that were there before, all of it even if one of them raises."""
        while self._came:
            number = self._came.pop(0)
            previous = self.previous[number]
            if isinstance(previous, _Hold) and not (previous.is_open or previous.is_over):
                previous.keep(number)  # noted already
                continue
            try:
                previous(number, sys._getframe(1))
            finally:
                self.deliver()


# The innermost hold of the main thread, which alone handles signals.
_innermost: _Hold | None = None


@contextmanager
def held_interrupts(note: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let Ctrl-C wait: `note` is called when it comes, and it is raised at the end.

    For what must not be left half done, such as moving files, and for what ends by itself when it is told to.
    `note` must not take a lock, which the interrupted code may hold. Other signals that Python handles wait
    as well, of which nothing is noted: their handlers may raise too. In another thread than the main one,
    which no signal comes to, nothing happens.
    """
    global _innermost
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hold = _Hold(note, _innermost)
    try:
        for number in SIGNALS:
            previous = signal.getsignal(number)
            while isinstance(previous, _Hold) and previous.is_over:  # left behind by what is told below
                previous = previous.previous[number]
            if callable(previous):
                hold.previous[number] = previous
                signal.signal(number, hold)
        _innermost = hold
        yield
    finally:
        _innermost = hold.outer
        # A handler that is back may raise before the others are: this one does then what those did.
        hold.is_over = True
        try:
            for number, previous in hold.previous.items():
                signal.signal(number, previous)
        finally:
            hold.deliver()


def deliver_interrupts() -> None:
    """Within `held_interrupts`: hand the signals that came so far to the handlers outside, which may raise.

    For the places in a long task where it may be left.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    hold = _innermost
    while hold is not None:
        hold.deliver()
        hold = hold.outer


@contextmanager
def let_interrupts_through() -> Iterator[None]:
    """Within `held_interrupts`: signals do what they did outside, since somebody else's code may be slow."""
    holds = []
    if threading.current_thread() is threading.main_thread():
        hold = _innermost
        while hold is not None:
            if not hold.is_open:
                holds.append(hold)
            hold = hold.outer
    try:
        for hold in reversed(holds):
            hold.is_open = True
        yield
    finally:
        for hold in holds:
            hold.is_open = False
