"""Interrupts that wait."""

import signal
import threading

import pytest

from fastnn_kernels.compiler.interrupts import held_interrupts, let_interrupts_through


def test_an_interrupt_waits_for_the_end_of_what_must_not_be_left():
    done = []

    @held_interrupts(lambda: done.append("told"))
    def work():
        with held_interrupts():
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["told", "inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_within_it_somebody_elses_code_is_interrupted_at_once():
    own = []
    old = signal.signal(signal.SIGINT, lambda number, frame: own.append(number))
    try:
        with held_interrupts():
            with let_interrupts_through():
                signal.raise_signal(signal.SIGINT)
                assert own == [signal.SIGINT], "as the handler has it that was there before"
            signal.raise_signal(signal.SIGINT)
            assert own == [signal.SIGINT]
        assert own == [signal.SIGINT] * 2
        with let_interrupts_through():
            signal.raise_signal(signal.SIGINT)
        assert len(own) == 3
    finally:
        signal.signal(signal.SIGINT, old)


def test_in_other_threads_no_interrupt_comes():
    told = []
    thread = threading.Thread(target=lambda: told.append(held_interrupts().__enter__()))
    thread.start()
    thread.join()
    assert told == [None]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
