"""The companion, a process that compiles kernels while this process compiles others.

The first training with an empty cache compiles for seconds, and numba's compiler uses one core. The companion
is a second Python process, which compiles some of the kernels and saves them in the cache. When this process
needs one of these kernels, it waits for the companion (`cache.claimed`) and loads the kernel. The environment
variable FASTNN_COMPANION=0 switches companions off.

This module imports the standard library alone, so that the companion can start before numba is imported.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "SWITCH",
    "Task",
    "gradient_task",
    "options_task",
    "run_tasks",
    "start_companion",
    "update_task",
]

# Module, function, and arguments that JSON can express.
Task = tuple[str, str, list[Any]]

# Garbage collection would take a tenth of the imports' time. numba loads SciPy for its linear algebra, which
# no kernel calls: the companion does without, and would leave a kernel that did to the other process. Kernels
# are saved whole, one by one: the companion ends at once after the last, not in the orderly way, which takes
# numba and LLVM a tenth of a second.
PROGRAM = (
    "import gc, json, os, sys; gc.disable(); path, tasks = json.load(sys.stdin); sys.path[:] = path; "
    "sys.modules['scipy'] = None; "
    "from fastnn_kernels.compiler.companion import run_tasks; run_tasks(tasks); os._exit(0)"
)

# Environment variable that switches companions off.
SWITCH = "FASTNN_COMPANION"
# Largest number of companions at the same time. A training may begin while the companion of another compiles.
MAX_COMPANIONS = 2

# Companions of this process that may be running, and the tasks given to any of them, as JSON: no task is
# given twice.
_running: list[subprocess.Popen] = []
_given: set[str] = set()


@atexit.register
def _end_companions() -> None:
    """End the companions when the process that started them exits."""
    for process in _running:
        process.terminate()
    for process in _running:
        process.wait()


def _forget_companions() -> None:
    """Forget the companions, in a fork of the process that started them."""
    for process in _running:
        process.returncode = 0  # not a child of the fork, which could neither wait for it nor end it
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_companions)


def start_companion(tasks: Sequence[Task]) -> bool:
    """Start a process that calls functions which compile kernels; return True if it runs.

    Do nothing for tasks that a companion got before, if companions are switched off, and if no process can be
    started: this process then compiles everything itself.

    Parameters
    ----------
    tasks : sequence of (str, str, list)
        Names of a module and of a function in it, and the arguments of the function; in the order of the
        calls.
    """
    for process in [*_running]:
        if process.poll() is not None:
            with contextlib.suppress(ValueError):  # another thread has removed it meanwhile
                _running.remove(process)
    if os.environ.get(SWITCH) == "0":
        return False
    new = [task for task in tasks if json.dumps(task) not in _given]
    # An application that embeds Python may be the executable: it would be started again.
    is_python = "python" in Path(sys.executable or "").name.lower()
    if not new or not is_python or len(_running) >= MAX_COMPANIONS:
        return False
    _given.update(map(json.dumps, new))
    # The import system ignores entries of other types than str, such as a Path, and JSON cannot express them.
    path = [entry for entry in sys.path if isinstance(entry, str)]
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, SWITCH: "0"},  # a companion starts none itself
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal ends this process, which ends its companions
        )
        _running.append(process)
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(json.dumps([path, new]).encode())
    except (OSError, ValueError):  # no process, no memory or no file descriptor is left
        return False
    return True


def gradient_task(
    activations: Sequence[str], loss: str, batch_norm: bool, dropped: bool, sparse: bool, dtype: str,
    by_rows: bool = False,
) -> Task:  # fmt: skip
    """Return the task that compiles the kernels of a gradient: the arguments are `compile_gradient`'s."""
    arguments = [list(activations), loss, batch_norm, dropped, sparse, dtype, by_rows]
    return "fastnn_kernels.gradient", "compile_gradient", arguments


def options_task(used: Sequence[str], team: bool, dtype: str) -> Task:
    """Return the task that compiles optional parts of a step: the arguments are `compile_options`'s."""
    return "fastnn_kernels.options", "compile_options", [list(used), team, dtype]


def update_task(name: str, with_l1: bool, dtype: str, plain: bool) -> Task:
    """Return the task that compiles an update: the arguments are `compile_update`'s."""
    return "fastnn_kernels.update", "compile_update", [name, with_l1, dtype, plain]


def run_tasks(tasks: Sequence[Task]) -> None:
    """Call the functions, in the companion. A kernel that fails is left to the process that needs it."""
    for module, function, arguments in tasks:
        with contextlib.suppress(Exception):
            getattr(importlib.import_module(module), function)(*arguments)
