"""Programs run on copies of `fastnn_kernels`, and kernels during whose compilation a function is called."""

import os
import re
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import numba

import fastnn_kernels
from fastnn_kernels.compiler.jit import kernel

KERNELS = Path(fastnn_kernels.__file__).parent

# Runs one kernel and tells whether it was compiled or loaded, and what it gave.
PROGRAM = """
    import numpy as np
    from fastnn_kernels.update import add_to_average
    average = np.arange(4.0)
    add_to_average(np.ones(4), 0.5, 0, 4, average)
    print("loaded" if add_to_average.stats.cache_hits else "compiled", average.tolist())
"""
RESULT = "[0.5, 1.0, 1.5, 2.0]"


def start(package, program=PROGRAM, stderr=subprocess.PIPE, **environment):
    variables = {**os.environ, "PYTHONPATH": str(package.parent), "HOME": str(package.parent / "home")}
    for name in ("NUMBA_CACHE_DIR", "NUMBA_BOUNDSCHECK", "XDG_CACHE_HOME"):
        variables.pop(name, None)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env={**variables, **environment}, cwd=package.parent,
        stdout=subprocess.PIPE, stderr=stderr, text=True,
    )  # fmt: skip


def result(process, warned=""):
    out, err = process.communicate(timeout=300)
    assert err == "" if not warned else re.fullmatch(f"{warned}\n", err)
    assert process.returncode == 0
    return out.strip()


def run(package, program=PROGRAM, *, warned="", **environment):
    return result(start(package, program, **environment), warned)


def told_while_compiled(tell):
    """A kernel, never seen before, in the middle of whose compilation `tell` is called."""
    unique = str(uuid.uuid4())

    @numba.extending.intrinsic
    def told(typing_context, x):
        tell()
        return x(x), lambda context, builder, signature, args: args[0]

    @kernel
    def inner(x):
        return told(x) if unique else x

    @kernel
    def outer(x):
        return inner(x) + 1

    return outer
