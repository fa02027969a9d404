"""Postponed interrupts: Ctrl-C waits for the end of an operation that must not stop half-way."""

import os
import signal
import threading

import pytest
from processes import run_python

from fastnn_kernels.compiler.interrupts import held_interrupts, let_interrupts_through


def test_an_interrupt_waits_for_the_end_of_the_outer_context():
    done = []

    @held_interrupts(lambda: done.append("noted"))
    def work():
        with held_interrupts():
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["noted", "inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_users_code_within_the_context_is_interrupted_at_once():
    received = []
    old = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        with held_interrupts():
            with let_interrupts_through():
                signal.raise_signal(signal.SIGINT)
                assert received == [signal.SIGINT], "the earlier handler is called at once"
            signal.raise_signal(signal.SIGINT)
            assert received == [signal.SIGINT]
        assert received == [signal.SIGINT] * 2
        with let_interrupts_through():
            signal.raise_signal(signal.SIGINT)
        assert len(received) == 3
    finally:
        signal.signal(signal.SIGINT, old)


def test_the_context_does_nothing_in_other_threads():
    results = []
    thread = threading.Thread(target=lambda: results.append(held_interrupts().__enter__()))
    thread.start()
    thread.join()
    assert results == [None]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


FORK = """
import os
import signal
import threading

from fastnn_kernels.compiler.interrupts import held_interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)

def fork():
    child = os.fork()
    if child == 0:
        try:
            signal.raise_signal(signal.SIGINT)
            os._exit(1)
        except KeyboardInterrupt:
            os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

thread = threading.Thread(target=fork)
with held_interrupts(), held_interrupts():
    thread.start()
    thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_child_of_another_thread_is_interrupted_at_once():
    """The child lacks the main thread, at the end of whose context the interrupt would come."""
    assert run_python(FORK, PYTHONWARNINGS="ignore").split() == ["0"]
