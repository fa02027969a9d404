"""Notices of compilations: before the compilation, once, and only where somebody sees them."""

import contextlib
import io
import logging
import os
import sys
import types as python_types
from pathlib import Path

import numpy as np
import pytest
from kernel_packages import start, told_while_compiled
from numba import types
from tqdm import tqdm

import fastnn
from fastnn.system import notices
from fastnn_kernels.compiler import jit
from fastnn_kernels.compiler.pointer import ArgumentsType, array_types

WIDE, NARROW = (array_types(np.dtype(name)).matrix for name in ("float64", "float32"))
LINE = "fastnn: compiling kernels for float64, once: this takes some seconds ...\n"


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch):
    monkeypatch.setattr(notices, "_announced", set())


def shown(*arguments, on=None):
    """Return the text on stderr after announcements for dtypes."""
    stream = Screen() if on is None else on
    with contextlib.redirect_stderr(stream):
        for types_of_one in arguments:
            notices.announce_compilation(types_of_one)
    return stream.getvalue()


def test_one_line_a_process_and_dtype():
    assert shown((types.int64, WIDE), (WIDE,)) == LINE
    assert shown((WIDE,), (NARROW,)) == LINE.replace("float64", "float32")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((types.Tuple([types.int64, WIDE]),), ["float64"]),
        ((ArgumentsType([WIDE, types.float64]),), ["float64"]),
        ((WIDE, NARROW, WIDE), ["float32"]),  # sums are float64 whatever the network is
        ((types.int64, types.float64, types.Array(types.int64, 1, "C")), []),
    ],
)
def test_the_dtype_is_that_of_the_arrays(arguments, told, caplog):
    caplog.set_level(logging.INFO, "fastnn")
    notices.announce_compilation(arguments)
    messages = [record.getMessage() for record in caplog.records if record.name == "fastnn"]
    assert [message.split()[3].rstrip(",") for message in messages] == told


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_whoever_sets_up_the_logger_decides(level, caplog):
    caplog.set_level(level, "fastnn")
    assert shown((WIDE,)) == ""


def test_no_line_where_nobody_looks():
    assert shown((WIDE,), on=io.StringIO()) == ""
    with contextlib.redirect_stderr(None):
        notices.announce_compilation((NARROW,))


def test_a_notebook_sees_it(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class Shell(ZMQInteractiveShell):
        """A shell like those of services that subclass Jupyter's."""

    monkeypatch.setitem(sys.modules, "IPython", python_types.SimpleNamespace(get_ipython=Shell))
    assert shown((WIDE,), on=io.StringIO()) == LINE


def test_a_bar_on_the_screen_goes_on_below():
    screen = Screen()
    with tqdm(total=2, file=screen, mininterval=0) as bar:
        bar.update()
        shown((WIDE,), on=screen)
    before, after = screen.getvalue().split(LINE)
    assert before.endswith("\r")  # the bar is cleared
    assert "50%" in after


# --- when listeners are called ---------------------------------------------------------------------


@pytest.fixture
def heard(monkeypatch):
    heard = []
    monkeypatch.setattr(jit, "compilation_listeners", [heard.append])
    return heard


def test_listeners_are_called_before_the_compilation_and_not_for_its_parts(heard):
    before = []
    outer = told_while_compiled(lambda: before.append(list(heard)))
    outer(1.5)
    assert heard == [(types.float64,)]
    assert before
    assert all(then == heard for then in before)
    outer(2.5)
    assert len(heard) == 1


def test_a_listener_that_fails_breaks_nothing(monkeypatch):
    def fail(types):
        raise OSError("the terminal is gone")

    monkeypatch.setattr(jit, "compilation_listeners", [fail])
    assert told_while_compiled(lambda: None)(1.5) == 2.5


PROGRAM = """
    import numpy as np
    from fastnn.engine.choice import get_backend
    from fastnn_kernels.layer import forward_table

    get_backend("numba")
    forward_table(("tanh", "relu"), np.dtype("float32")).compile()
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals to be had here")
def test_the_first_process_tells_a_terminal_and_the_next_loads(package):
    path = os.pathsep.join([str(package.parent), str(Path(fastnn.__file__).parents[1])])

    def told():
        outer, inner = os.openpty()
        process = start(package, PROGRAM, stderr=inner, PYTHONPATH=path)
        process.communicate(timeout=300)
        assert process.returncode == 0
        os.write(inner, b"end\n")  # something to read even if nothing was announced
        text = b""
        while not text.endswith(b"end\r\n"):
            text += os.read(outer, 10000)
        os.close(outer), os.close(inner)
        return text.decode().replace("\r\n", "\n").removesuffix("end\n")

    assert told() == LINE.replace("float64", "float32")
    assert told() == ""
