"""Imports inside functions: a fork in another thread waits for their end, at one place."""

import os
import sys
import threading
from pathlib import Path

import pytest
from processes import run_python

import fastnn
from fastnn.system.imports import imported
from fastnn_kernels.compiler.forks import import_lock

PACKAGE = Path(fastnn.__file__).parent


def test_only_one_module_takes_the_lock_of_imports():
    users = [path for path in PACKAGE.rglob("*.py") if "import_lock" in path.read_text()]
    assert users == [PACKAGE / "system" / "imports.py"]


def test_a_module_is_imported_once():
    assert imported("fastnn.engine.choice") is sys.modules["fastnn.engine.choice"]


def in_thread(function, *args):
    """Call a function in a new thread; return the thread and a list to which it appends the result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)), daemon=True)
    thread.start()
    return thread, results


def test_a_loaded_module_waits_for_no_import_of_another():
    with import_lock:
        thread, results = in_thread(imported, "fastnn.engine.choice")
        thread.join(60)
        assert results == [sys.modules["fastnn.engine.choice"]]


def test_a_module_that_another_thread_imports_is_returned_when_it_is_loaded(tmp_path, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "events", (begun, may_end), raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "half_loaded.py").write_text(
        "import sys\nbegun, may_end = sys.events\nbegun.set()\nmay_end.wait(60)\nvalue = 7\n"
    )
    first, _ = in_thread(imported, "half_loaded")
    assert begun.wait(60)
    assert "half_loaded" in sys.modules
    second, values = in_thread(lambda: imported("half_loaded").value)
    second.join(0.2)
    assert not values
    may_end.set()
    first.join(60)
    second.join(60)
    assert values == [7]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_waits_for_the_end_of_an_import(tmp_path):
    """The child would wait for ever for the lock of the module that a thread of the parent imports."""
    (tmp_path / "slow.py").write_text(
        "import __main__, time\n__main__.begun.set()\ntime.sleep(0.5)\nvalue = 7\n"
    )
    program = """
    import os, signal, sys, threading, warnings
    from fastnn.system.imports import imported

    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
    sys.path.insert(0, sys.argv[1])
    begun = threading.Event()
    thread = threading.Thread(target=imported, args=["slow"])
    thread.start()
    begun.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        import slow

        os._exit(slow.value)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    thread.join()
    """
    assert run_python(program, tmp_path).split() == ["7"]
