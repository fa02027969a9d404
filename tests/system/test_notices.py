"""Notices of compilations: shown before the compilation, once, and only on terminals and in notebooks."""

import contextlib
import io
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from kernel_packages import make_telling_kernel, start
from numba import types
from processes import PATIENCE, load_again
from tqdm import tqdm

import fastnn
from fastnn_kernels.compiler import jit
from fastnn_kernels.compiler.pointer import ArgumentsType

WIDE, NARROW = (types.Array(item, 2, "C") for item in (types.float64, types.float32))
LINE = "fastnn: compiling kernels for float64, once: this takes some seconds ...\n"


class Screen(io.StringIO):
    def isatty(self):
        return True


def announce(*compilations, stream):
    """Announce compilations in a process that has announced none; return the text on stderr."""
    notices = load_again("fastnn.system.notices")
    with contextlib.redirect_stderr(stream):
        for argument_types in compilations:
            notices.announce_compilation(argument_types)
    return stream.getvalue() if stream else ""


@pytest.mark.parametrize(
    ("compilations", "dtypes"),
    [
        ([(types.int64, WIDE), (WIDE,)], ["float64"]),  # each dtype is announced once
        ([(WIDE,), (NARROW,)], ["float64", "float32"]),
        ([(types.Tuple([types.int64, WIDE]),)], ["float64"]),
        ([(ArgumentsType([WIDE, types.float64]),)], ["float64"]),
        ([(WIDE, NARROW, WIDE)], ["float32"]),  # the sums of a float32 network are float64
        ([(types.int64, types.float64, types.Array(types.int64, 1, "C"))], []),
    ],
)
def test_each_dtype_of_arrays_is_announced_once(compilations, dtypes):
    expected = "".join(LINE.replace("float64", dtype) for dtype in dtypes)
    assert announce(*compilations, stream=Screen()) == expected


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_a_logger_with_a_level_suppresses_the_line(level, caplog):
    caplog.set_level(level, "fastnn")
    assert announce((WIDE,), stream=Screen()) == ""
    assert len(caplog.records) == (level == logging.INFO)


def test_the_line_is_shown_in_a_notebook_and_not_without_a_terminal(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class Shell(ZMQInteractiveShell):
        """A shell of a service that subclasses Jupyter's."""

    for stream in (io.StringIO(), None):
        assert announce((WIDE,), stream=stream) == ""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=Shell))
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)  # in a notebook without ipywidgets, its import warns
    assert announce((WIDE,), stream=io.StringIO()) == LINE


def test_a_progress_bar_continues_below_the_line():
    screen = Screen()
    with tqdm(total=2, file=screen, mininterval=0) as bar:
        bar.update()
        announce((WIDE,), stream=screen)
    before, after = screen.getvalue().split(LINE)
    assert before.endswith("\r")  # the bar is cleared
    assert "50%" in after


def test_listeners_are_called_before_a_compilation_and_their_errors_dropped(monkeypatch):
    announced, meanwhile = [], []

    def listen(types):
        announced.append(types)
        raise OSError("the terminal is gone")

    monkeypatch.setattr(jit, "compilation_listeners", [listen])
    outer = make_telling_kernel(lambda: meanwhile.append(list(announced)))
    assert outer(1.5) == 2.5
    assert announced == [(types.float64,)], "an inlined kernel is not announced"
    assert meanwhile
    assert all(earlier == announced for earlier in meanwhile)
    outer(2.5)
    assert len(announced) == 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_only_a_process_that_compiles_shows_the_line_on_its_terminal(package):
    path = os.pathsep.join([str(package.parent), str(Path(fastnn.__file__).parents[1])])
    program = """
        import numpy as np
        from fastnn.engine import get_backend
        from fastnn_kernels.calls.formulas import forward_table

        get_backend("numba")
        _ = forward_table(("relu",), np.dtype("float64")).address
    """
    for expected in (LINE, ""):
        outer, inner = os.openpty()
        process = start(package, program, stderr=inner, PYTHONPATH=path)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        os.write(inner, b"end\n")  # something to read even if nothing was announced
        text = b""
        while not text.endswith(b"end\r\n"):
            text += os.read(outer, 10000)
        os.close(outer), os.close(inner)
        assert text.decode().replace("\r\n", "\n") == f"{expected}end\n"
