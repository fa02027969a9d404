"""Signals and forks at any moment of a call: results stay the same, and every core is free afterwards.

A signal is raised between two bytecode instructions, drawn with a fixed seed: a signal of the system could
come at the same places. The handler raises KeyboardInterrupt or an error of the user's.
"""

import os
import signal
import threading
from pathlib import Path

import pytest
from processes import run_program

from fastnn_kernels.compiler.interrupts import defer_signals, let_interrupts_through

posix = pytest.mark.skipif(os.name != "posix", reason="these signals and forks are POSIX's")

PROGRAM = Path(__file__).parents[1] / "helpers" / "disturbed_calls.py"
TRAININGS = ["train", "train on threads", "lbfgs", "levenberg_marquardt"]
TRAININGS += ["diverge", "fit", "fit_many", "predict"]
PICTURES = ["png", "certified", "lines"]


@posix
@pytest.mark.slow
@pytest.mark.parametrize(
    ("disturbance", "arguments"),
    [
        ("interrupt", ["SIGINT", *TRAININGS]),
        ("interrupt", ["SIGINT", *PICTURES]),
        # Each of the other calls takes the path of one of these.
        ("interrupt", ["SIGALRM", "train on threads", "fit_many", "predict", "png"]),
        ("fork", [*TRAININGS, *PICTURES]),
        ("pool", ["fork"]),
        ("pool", ["forkserver"]),
        ("pool", ["spawn"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_calls_survive_signals_and_processes_at_any_moment(tmp_path, disturbance, arguments):
    run_program(PROGRAM, disturbance, tmp_path, *arguments)


def test_an_interrupt_waits_for_the_outer_context_but_not_in_users_code():
    done = []

    def work():
        with defer_signals(lambda: done.append("noted")):
            with defer_signals():
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["noted", "inner", "outer"]
    threading.Thread(target=lambda: defer_signals().__enter__()).start()  # does nothing in other threads
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    received = []
    old = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        with defer_signals():
            with let_interrupts_through():
                signal.raise_signal(signal.SIGINT)
                assert len(received) == 1, "the earlier handler is called at once"
            signal.raise_signal(signal.SIGINT)
            assert len(received) == 1
        assert len(received) == 2
    finally:
        signal.signal(signal.SIGINT, old)
