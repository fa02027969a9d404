"""Programs run in new processes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def run_python(program, *arguments, **environment):
    """Run a Python program in a new process, for ten minutes at most, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)], timeout=600,
        capture_output=True, text=True, cwd=Path(__file__).parents[1], env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
