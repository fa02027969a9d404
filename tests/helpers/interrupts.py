"""Interrupts of the main thread, as by Ctrl-C."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def interrupt_after(seconds):
    """Interrupt the main thread after some seconds, at any place in the context.

    Enter the context where the interrupt is expected: on a busy machine, it may come before the first line.
    """
    if hasattr(signal, "pthread_kill"):
        arguments = signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]
    else:  # Windows
        arguments = signal.raise_signal, [signal.SIGINT]
    timer = threading.Timer(seconds, *arguments)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
