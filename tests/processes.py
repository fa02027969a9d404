"""Programs run in new processes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def run_python(program, *arguments, **environment):
    """Return the output of a program; the time limit ends programs that would wait for ever."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)], timeout=600,
        capture_output=True, text=True, cwd=Path(__file__).parents[1], env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
