"""Programs run in new processes, and waiting for what others do."""

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

# Seconds after which a test gives up waiting: far more than anything takes, even on a slow and busy machine
# that must compile all kernels first.
PATIENCE = 1200

# The program of Chromium, best without windows, which needs half the processor time; None if there is none.
NAMES = "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


def wait_for(condition, pause=lambda: time.sleep(0.001)):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"the condition does not hold after {PATIENCE} seconds"
        pause()


def run_python(program, *arguments, **environment):
    """Run a program, given as text, and return what it prints."""
    return run_program("-c", textwrap.dedent(program), *arguments, **environment)


def run_program(*arguments, **environment):
    """Run Python with some arguments, such as a file, and return what it prints; fail unless it succeeds."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        timeout=PATIENCE,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def load_again(name):
    """Load a module a second time: the copy has the state of a module in a new process."""
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
