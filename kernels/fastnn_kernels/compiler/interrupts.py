"""Postponing signals such as Ctrl-C while an operation must not be interrupted.

This module imports the standard library alone, so that importing it does not load numba.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

try:
    # The functions of the module `signal` convert between numbers and enums: 2 and 4 us a call instead of
    # 0.01 and 0.2. A training calls them some twenty times.
    import _signal as handlers  # type: ignore[import-not-found]
except ImportError:  # another Python
    import signal as handlers

Handler = Callable[[int, FrameType | None], object]

# SIGINT (Ctrl-C), and other signals whose Python handlers may raise, such as a time-out by SIGALRM.
NAMES = ["SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGVTALRM", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGBREAK"]
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class _Hold:
    """A context, and a signal handler in it that queues signals for the handlers that were installed before.

    Holds may be nested; `outer` is the enclosing hold. `previous` has the earlier handler of each signal. An
    open hold passes signals on at once, and so does a finished one.
    """

    def __init__(self, note: Callable[[], object] | None, outer: _Hold | None) -> None:
        self.note, self.outer = note, outer
        self.previous: dict[int, Handler] = {}
        self.is_open = False
        self.is_finished = False
        self._pending: list[int] = []

    def __enter__(self) -> None:
        global _innermost
        try:
            _innermost = self
            for number in SIGNALS:
                previous = handlers.getsignal(number)
                # A handler that raised while holds were removed may have left a finished hold: skip it.
                while isinstance(previous, _Hold) and previous.is_finished:
                    previous = previous.previous[number]
                if callable(previous):
                    self.previous[number] = previous
                    handlers.signal(number, self)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        global _innermost
        _innermost = self.outer
        # A restored handler may raise before the others are restored: a finished hold passes their signals
        # on to them.
        self.is_finished = True
        try:
            for number, previous in self.previous.items():
                handlers.signal(number, previous)
        finally:
            self.deliver()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.is_open or self.is_finished:
            self.previous[number](number, frame)
            return
        self.enqueue(number)
        hold: _Hold | None = self
        while hold is not None and number == signal.SIGINT:
            if hold.note is not None:
                hold.note()
            hold = hold.outer

    def enqueue(self, number: int) -> None:
        """Queue a signal, once however often it arrives."""
        if number not in self._pending:
            self._pending.append(number)

    def deliver(self) -> None:
        """Call the earlier handlers of all queued signals, even if one of the handlers raises."""
        while self._pending:
            number = self._pending.pop(0)
            previous = self.previous[number]
            if isinstance(previous, _Hold) and not (previous.is_open or previous.is_finished):
                previous.enqueue(number)  # its `note` was called when the signal arrived
                continue
            try:
                previous(number, sys._getframe(1))
            finally:
                self.deliver()


# Innermost hold of the main thread. Python runs signal handlers in the main thread alone.
_innermost: _Hold | None = None
_NOTHING = nullcontext()


def defer_signals(note: Callable[[], object] | None = None) -> AbstractContextManager[None]:
    """Return a context that postpones the Python handlers of Ctrl-C and other signals to its end.

    Use the context for an operation that must not stop half-way, such as moving files, and for an operation
    that `note` can ask to stop. `note` is called at once for each Ctrl-C, but not for other signals; it must
    not acquire a lock, which the interrupted code may hold. In any other thread than the main one the context
    does nothing, since Python runs no signal handlers there; within another such context, nor without `note`.
    """
    is_held = _innermost is not None and not _innermost.is_open and note is None
    if is_held or threading.current_thread() is not threading.main_thread():
        return _NOTHING
    return _Hold(note, _innermost)


def deliver_interrupts() -> None:
    """Call the handlers of the signals that `defer_signals` has postponed so far; a handler may raise.

    Call this function at the points of a long operation where an exception may leave it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    hold = _innermost
    while hold is not None:
        hold.deliver()
        hold = hold.outer


@contextmanager
def let_interrupts_through() -> Iterator[None]:
    """Handle signals at once within the context, even inside `defer_signals`.

    Use the context around calls of a user's code, which may take long.
    """
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
