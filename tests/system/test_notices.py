"""Notices of compilations: shown before the compilation, once, and only on terminals and in notebooks."""

import contextlib
import io
import logging
import os
import sys
import types as python_types
from pathlib import Path

import pytest
from kernel_packages import start, told_while_compiled
from numba import types
from processes import PATIENCE
from tqdm import tqdm

import fastnn
from fastnn.system import notices
from fastnn_kernels.compiler import jit
from fastnn_kernels.compiler.pointer import ArgumentsType

WIDE, NARROW = (types.Array(item, 2, "C") for item in (types.float64, types.float32))
LINE = "fastnn: compiling kernels for float64, once: this takes some seconds ...\n"


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def no_notice_yet(monkeypatch):
    """Begin every test like a process that has not announced any dtype."""
    monkeypatch.setattr(notices, "_announced", set())


def shown(*compilations, stream=None):
    """Announce compilations, each a tuple of argument types, and return the text on stderr."""
    stream = Screen() if stream is None else stream
    with contextlib.redirect_stderr(stream):
        for argument_types in compilations:
            notices.announce_compilation(argument_types)
    return stream.getvalue()


def test_each_dtype_is_announced_once():
    assert shown((types.int64, WIDE), (WIDE,)) == LINE
    assert shown((WIDE,), (NARROW,)) == LINE.replace("float64", "float32")


@pytest.mark.parametrize(
    ("arguments", "dtypes"),
    [
        ((types.Tuple([types.int64, WIDE]),), ["float64"]),
        ((ArgumentsType([WIDE, types.float64]),), ["float64"]),
        ((WIDE, NARROW, WIDE), ["float32"]),  # the sums of a float32 network are float64
        ((types.int64, types.float64, types.Array(types.int64, 1, "C")), []),
    ],
)
def test_the_announced_dtype_is_that_of_the_arrays(arguments, dtypes, caplog):
    caplog.set_level(logging.INFO, "fastnn")
    notices.announce_compilation(arguments)
    messages = [record.getMessage() for record in caplog.records if record.name == "fastnn"]
    assert [message.split()[3].rstrip(",") for message in messages] == dtypes


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_a_logger_with_a_level_suppresses_the_line(level, caplog):
    caplog.set_level(level, "fastnn")
    assert shown((WIDE,)) == ""


def test_no_line_is_shown_without_a_terminal():
    assert shown((WIDE,), stream=io.StringIO()) == ""
    with contextlib.redirect_stderr(None):
        notices.announce_compilation((NARROW,))


def test_a_notebook_shows_the_line(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class Shell(ZMQInteractiveShell):
        """A shell like those of services that subclass Jupyter's."""

    monkeypatch.setitem(sys.modules, "IPython", python_types.SimpleNamespace(get_ipython=Shell))
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)  # in a notebook without ipywidgets, its import warns
    assert shown((WIDE,), stream=io.StringIO()) == LINE


def test_a_progress_bar_continues_below_the_line():
    screen = Screen()
    with tqdm(total=2, file=screen, mininterval=0) as bar:
        bar.update()
        shown((WIDE,), stream=screen)
    before, after = screen.getvalue().split(LINE)
    assert before.endswith("\r")  # the bar is cleared
    assert "50%" in after


# --- when listeners are called ---------------------------------------------------------------------


@pytest.fixture
def announced(monkeypatch):
    """Return a list to which a listener adds the argument types of every compilation."""
    announced = []
    monkeypatch.setattr(jit, "compilation_listeners", [announced.append])
    return announced


def test_listeners_are_called_before_a_compilation_but_not_for_inlined_kernels(announced):
    meanwhile = []
    outer = told_while_compiled(lambda: meanwhile.append(list(announced)))
    outer(1.5)
    assert announced == [(types.float64,)]
    assert meanwhile
    assert all(earlier == announced for earlier in meanwhile)
    outer(2.5)
    assert len(announced) == 1


def test_an_error_of_a_listener_is_dropped(monkeypatch):
    def fail(types):
        raise OSError("the terminal is gone")

    monkeypatch.setattr(jit, "compilation_listeners", [fail])
    assert told_while_compiled(lambda: None)(1.5) == 2.5


PROGRAM = """
    import numpy as np
    from fastnn.engine.choice import get_backend
    from fastnn_kernels.calls.formulas import forward_table

    get_backend("numba")
    forward_table(("tanh", "relu"), np.dtype("float32")).compile()
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_only_a_process_that_compiles_shows_the_line_on_its_terminal(package):
    path = os.pathsep.join([str(package.parent), str(Path(fastnn.__file__).parents[1])])

    def printed():
        outer, inner = os.openpty()
        process = start(package, PROGRAM, stderr=inner, PYTHONPATH=path)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        os.write(inner, b"end\n")  # something to read even if nothing was announced
        text = b""
        while not text.endswith(b"end\r\n"):
            text += os.read(outer, 10000)
        os.close(outer), os.close(inner)
        return text.decode().replace("\r\n", "\n").removesuffix("end\n")

    assert printed() == LINE.replace("float64", "float32")
    assert printed() == ""
