"""The machine, the versions of packages, and the commit, on which measurements depend."""

from __future__ import annotations

import importlib.metadata
import subprocess
from contextlib import suppress
from pathlib import Path

import llvmlite.binding
import threadpoolctl

from fastnn.system.threads import count_cores
from fastnn_kernels.compiler.prebuilt import load_library
from fastnn_kernels.vectors.processor import VECTOR_BYTES

PACKAGES = ("fastnn-numba", "numba", "numpy", "scikit-learn", "torch", "jax")
# What is said of a BLAS: NumPy and SciPy have one each.
KEYS = ("internal_api", "version", "architecture", "num_threads")


def machine() -> dict[str, object]:
    """Return processor, cores, vectors, kernels, BLAS and versions, in values that JSON has."""
    found, versions = load_library(), {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "microarchitecture": llvmlite.binding.get_host_cpu_name(),
        "cores": count_cores(),
        "vector_bytes": VECTOR_BYTES,
        "kernels": found.path.name if found else "compiled by numba",
        "blas": [
            {"library": Path(one["filepath"]).parent.name, **{key: one.get(key) for key in KEYS}}
            for one in threadpoolctl.threadpool_info()
            if one["user_api"] == "blas"
        ],
        "versions": versions,
    }


def commit() -> str:
    """Return the commit of the checkout, with ``-dirty`` if files were changed; "" if there is none."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    with suppress(OSError, subprocess.CalledProcessError):
        done = subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
        return done.stdout.strip()
    return ""
