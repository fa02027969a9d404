"""Programs run on copies of `fastnn_kernels`, and kernels that wrap others for tests."""

import functools
import os
import re
import shutil
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import numba
from processes import PATIENCE

import fastnn_kernels
from fastnn_kernels.compiler.jit import kernel

KERNELS = Path(fastnn_kernels.__file__).parent

# Run one kernel; print "compiled" or "loaded", and its result.
PROGRAM = """
    import numpy as np
    from fastnn_kernels.update import add_to_average
    average = np.arange(4.0)
    add_to_average(np.ones(4), 0.5, 0, 4, average)
    print("loaded" if add_to_average.stats.cache_hits else "compiled", average.tolist())
"""
RESULT = "[0.5, 1.0, 1.5, 2.0]"

# Build a library of a few kernels, and of the one shared function that they call: others take seconds.
BUILD_LIBRARY = """
    import numpy as np
    from fastnn_kernels.calls import encoding, formulas, training
    from fastnn_kernels.compiler import library, shared

    shared.FUNCTIONS["fastnn_product_float64"] = None  # its module, which is imported later, replaces it
    real = np.dtype(float)
    pointers = [*formulas.forward_table(("tanh",), real).pointers, encoding.smooth_scaled()]
    loss = formulas.backward_pointer("squared_error", real)
    gradient = training.gradient_pointers(("tanh",), loss, False, False, False, False, real)
    library.build(library.find_target(), pointers=[*pointers, gradient[0]])
"""

# Print True if a process uses the library: numba compiles the kernels of others.
HAS_LIBRARY = """
    from fastnn_kernels.compiler.prebuilt import load_library
    print(load_library() is not None)
"""


def copy_kernels(package, folder):
    ignored = shutil.ignore_patterns("__pycache__", "prebuilt")
    return shutil.copytree(package, folder / "fastnn_kernels", ignore=ignored)


def start(package, program=PROGRAM, stderr=subprocess.PIPE, **environment):
    """Start a program on a copy of the kernels, without the caches and switches of this process."""
    variables = {**os.environ, "PYTHONPATH": str(package.parent), "HOME": str(package.parent / "home")}
    for name in ("NUMBA_CACHE_DIR", "NUMBA_BOUNDSCHECK", "XDG_CACHE_HOME"):
        variables.pop(name, None)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env={**variables, **environment},
        cwd=package.parent,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def finish(process, warned=""):
    """Return the output of a program; its standard error must match `warned`, "" for none."""
    out, err = process.communicate(timeout=PATIENCE)
    assert err == "" if not warned else re.fullmatch(f"{warned}\n", err)
    assert process.returncode == 0
    return out.strip()


def run(package, program=PROGRAM, *, warned="", **environment):
    return finish(start(package, program, **environment), warned)


def make_telling_kernel(tell):
    """Return a new kernel that calls `tell` in the middle of its compilation."""
    unique = str(uuid.uuid4())

    @numba.extending.intrinsic
    def telling(typing_context, x):
        tell()
        return x(x), lambda context, builder, signature, args: args[0]

    @kernel
    def inner(x):
        return telling(x) if unique else x

    @kernel
    def outer(x):
        return inner(x) + 1

    return outer


@functools.cache
def copying(function):
    """Return a function ``(arguments, result)`` that calls a kernel and copies what it returns to `result`.

    The kernel `function` returns a matrix, or the four matrices of an affine form. Python cannot call it,
    because kernels own no arrays that they could return.
    """

    @kernel
    def copy(window, result):
        for r in range(result.shape[0]):
            for c in range(result.shape[1]):
                result[r, c] = window[r, c]

    @kernel
    def copying_one(arguments, result):
        copy(function(*arguments), result)

    @kernel
    def copying_form(arguments, result):
        form = function(*arguments)
        copy(form[0], result[0])
        copy(form[1], result[1])
        copy(form[2], result[2])
        copy(form[3], result[3])

    def call(arguments, result):
        (copying_form if isinstance(result, tuple) else copying_one)(arguments, result)
        return result

    return call
