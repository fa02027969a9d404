"""The companion: a second process compiles kernels for this one, and no kernel is compiled twice."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from kernel_packages import run, start
from processes import PATIENCE

from fastnn_kernels.compiler import companion

pytestmark = pytest.mark.slow

TASK = ("fastnn_kernels.layer", "forward_table", [["tanh"], "float64"])

# Compile three activations, and print the number of kernels that this process compiled.
COMPILE = """
    import numpy as np
    from fastnn_kernels.layer import forward_table
    from fastnn_kernels.compiler import cache, jit

    cache.WAIT_SECONDS = float("inf")  # however long the others compile
    compiled = []
    jit.compilation_listeners.append(compiled.append)
    forward_table(("gelu", "tanh", "elu"), np.dtype(np.float64)).compile()
    print(len(compiled))
"""


def test_processes_that_need_the_same_kernels_compile_them_once(package):
    processes = [start(package, COMPILE) for _ in range(3)]
    counts = []
    for process in processes:
        out, err = process.communicate(timeout=PATIENCE)
        assert err == ""
        counts.append(int(out))
    assert sum(counts) == 3


def test_the_claim_of_a_killed_process_ends(package):
    program = """
        import os, signal
        import numpy as np
        from fastnn_kernels.layer import forward_table
        from fastnn_kernels.compiler import jit
        jit.compilation_listeners.append(lambda types: os.kill(os.getpid(), signal.SIGKILL))
        forward_table(("tanh",), np.dtype(np.float64)).compile()
    """
    process = start(package, program)
    process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert list(package.rglob("*.claim"))
    assert run(package, COMPILE).split() == ["3"]
    assert not list(package.rglob("*.claim"))


def test_a_companion_starts_before_numba_is_loaded(package):
    program = """
        import sys
        from fastnn_kernels.compiler import cache, companion

        assert cache.entry_files() == {}
        assert companion.start_companion([("time", "sleep", [0])])
        assert not {"numpy", "numba"} & set(sys.modules)

        digest, folders = cache.DIGEST, list(cache.cache_folders())
        import numba
        assert cache.numba_version() == numba.__version__
        assert (cache.source_digest(), list(cache.cache_folders())) == (digest, folders)
        print("done")
    """
    assert run(package, program, FASTNN_COMPANION="") == "done"


def test_kernels_that_the_companion_compiled_are_loaded(package):
    program = """
        import time
        import numpy as np
        from fastnn_kernels.gradient import compile_gradient
        from fastnn_kernels.compiler import companion, jit
        from fastnn_kernels.compiler.cache import entry_files

        task = companion.gradient_task(["tanh"], "softmax_cross_entropy", False, False, False, "float64")
        assert companion.start_companion([task])
        assert not companion.start_companion([task])
        (process,) = companion._running
        assert process.wait() == 0
        compiled = []
        jit.compilation_listeners.append(compiled.append)
        compile_gradient(*task[2])
        print(len(compiled))
    """
    assert run(package, program, FASTNN_COMPANION="").split() == ["0"]


@pytest.mark.parametrize("obstacle", ["switched off", "no executable", "not Python", "no process"])
def test_start_companion_returns_false_if_none_can_start(monkeypatch, obstacle):
    monkeypatch.setattr(companion, "_given", set())
    monkeypatch.setenv(companion.SWITCH, "0" if obstacle == "switched off" else "")
    if obstacle == "no executable":
        monkeypatch.setattr(sys, "executable", "")
    elif obstacle == "not Python":
        monkeypatch.setattr(sys, "executable", "/opt/blender/blender")
    elif obstacle == "no process":

        def refuse(*arguments, **options):
            raise OSError("no more processes")

        monkeypatch.setattr(subprocess, "Popen", refuse)
    assert not companion.start_companion([TASK])


def test_entries_of_the_search_path_that_are_no_text_are_left_out(package):
    """Python ignores such entries, for instance of ``sys.path.append(Path("folder"))``."""
    program = """
        import pathlib, sys
        from fastnn_kernels.compiler import companion

        sys.path.append(pathlib.Path("folder"))
        assert companion.start_companion([("os", "mkdir", ["done"])])
        (process,) = companion._running
        assert process.wait() == 0
    """
    run(package, program, FASTNN_COMPANION="")
    assert (package.parent / "done").is_dir()


def test_threads_that_look_for_ended_companions_at_the_same_time_forget_no_other(monkeypatch):
    monkeypatch.setenv(companion.SWITCH, "0")
    polls = []

    def poll():
        polls.append(0)
        if len(polls) == 1:
            assert not companion.start_companion([TASK])  # as another thread does meanwhile
        return 0

    ended, busy = SimpleNamespace(poll=poll), SimpleNamespace(poll=lambda: None)
    monkeypatch.setattr(companion, "_running", [ended, busy])
    assert not companion.start_companion([TASK])
    assert companion._running == [busy]


def test_a_failed_task_does_not_stop_the_others(tmp_path):
    done = tmp_path / "done"
    companion.run_tasks([("os", "no_such_function", []), ("pathlib", "no", []), ("os", "mkdir", [str(done)])])
    assert done.is_dir()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_end_of_a_process_ends_its_companion(package):
    program = """
        import os, sys
        from fastnn_kernels.compiler import companion
        assert companion.start_companion([("time", "sleep", [1000])])
        (process,) = companion._running
        child = os.fork()
        if child == 0:
            sys.exit(0)  # the end of a fork must not end the companion
        os.waitpid(child, 0)
        assert process.poll() is None
        print(process.pid)
    """
    pid = int(run(package, program, FASTNN_COMPANION=""))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
