"""The library of kernels that were compiled ahead of time, and the target for which kernels are compiled.

The folder ``prebuilt`` of this package has a shared library for each target of a system, such as
``linux-x86-64-v3.so``; ``library.py`` builds them. A process loads the first that its processor can run. The
environment variable FASTNN_PREBUILT=0 makes numba compile all kernels, and so do the settings of numba that
change machine code.

A library says of itself whether the processor can run it (the function `RUNS_HERE`), and from which sources
it was built (the text `SOURCES`): if a source has been edited, numba compiles all kernels. Beside a library
that is in use, numba compiles with the constants of the library's target: kernels of different widths of
vectors must not mix, or results would depend on which kernels were prebuilt. This module does not import
numba.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import platform
import struct
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

from .sources import PACKAGE, digest_sources
from .target import TARGETS, Target, read_vector_bytes

# Symbols of a library: a C function without arguments that returns an int, and a C string.
RUNS_HERE, SOURCES = "fastnn_runs_here", "fastnn_sources"
# The first part of a target's name by Python's name of the system, and the suffix of the library by that
# part; the second part by the system's name of the architecture, where the two differ.
SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows", "emscripten": "emscripten"}
SUFFIXES = {"linux": ".so", "macos": ".dylib", "windows": ".dll", "emscripten": ".so"}
ARCHITECTURES = {"x86_64": "x86-64", "amd64": "x86-64"}

FOLDER = PACKAGE / "prebuilt"

# Settings that change machine code: a library has none of them. The first two may also be set to 0, which is
# off, and the last to the library's own width.
SETTINGS = (
    "NUMBA_BOUNDSCHECK",
    "NUMBA_DEBUGINFO",
    "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "NUMBA_LOOP_VECTORIZE",
    "NUMBA_OPT",
    "NUMBA_SLP_VECTORIZE",
    "FASTNN_VECTOR_BYTES",
)

# Target for which this process compiles, whatever the processor: the target of a library that is being built.
building: Target | None = None


class Library(NamedTuple):
    """A loaded library, its file, and the target for which it was built."""

    path: Path
    target: Target
    handle: ctypes.CDLL


@functools.cache
def load_library() -> Library | None:
    """Return the library of this processor; None if there is none that fits sources and settings."""
    if building or os.environ.get("FASTNN_PREBUILT") == "0":
        return None
    settings = [os.environ.get(name, "") for name in SETTINGS]
    if any(value not in ("", "0") for value in settings[:2]) or any(settings[2:-1]):
        return None
    suffix = SUFFIXES.get(SYSTEMS.get(sys.platform, ""), "")
    for name in list_targets():
        target, path = TARGETS[name], FOLDER / f"{name}{suffix}"
        if not path.exists() or read_vector_bytes() not in (0, target.vector_bytes):
            continue
        try:
            _check_size(path)
            handle = ctypes.CDLL(str(path))
            if not handle[RUNS_HERE]():
                continue
            built_from = ctypes.c_char.in_dll(handle, SOURCES)
            sources = digest_sources()
            if not sources:
                _warn("their sources cannot be read", f"check the folder {PACKAGE}")
                return None
            if ctypes.string_at(ctypes.addressof(built_from)).decode() != sources:
                remedy = f"rebuild it (python -m fastnn_kernels.compiler.library {name}), or remove it"
                _warn(f"{path} was built from other sources", remedy)
                return None
            return Library(path, target, handle)
        except (OSError, ValueError, AttributeError) as error:
            _warn(f"{path} cannot be loaded ({error})", "reinstall fastnn, or remove the file")
            return None
    return None


def _check_size(path: Path) -> None:
    """Raise OSError if an ELF file has been cut off: the system would map what is not there, and crash."""
    with path.open("rb") as file:
        header = file.read(64).ljust(64, b"\xff")
    if header[:4] == b"\x7fELF":  # the table of sections, which is last: offset, size of an item, number
        (offset,), (size, n) = struct.unpack_from("<Q", header, 40), struct.unpack_from("<HH", header, 58)
        if path.stat().st_size < offset + size * n:
            raise OSError("the file has been cut off")


def list_targets() -> list[str]:
    """Return the names of the targets of this system and architecture, the fastest first."""
    architecture = platform.machine().lower()
    prefix = f"{SYSTEMS.get(sys.platform)}-{ARCHITECTURES.get(architecture, architecture)}"
    return [name for name in TARGETS if name.startswith(prefix)]


def _warn(problem: str, remedy: str) -> None:
    warn_or_log(f"numba compiles the kernels, because {problem}: {remedy}", stacklevel=2)


def warn_or_log(message: str, stacklevel: int) -> None:
    """Warn, `stacklevel` calls up; log the message if a filter turns warnings into errors: no run breaks."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel + 1)
    except RuntimeWarning:
        logging.getLogger(__name__).warning(message)


def find_prebuilt(symbol: str) -> int:
    """Return the address of a kernel in the library; 0 if it is not there."""
    found = load_library()
    if found is None:
        return 0
    try:
        return ctypes.addressof(ctypes.c_char.in_dll(found.handle, symbol))
    except ValueError:
        return 0


def get_kernel_target() -> Target | None:
    """Return the target for which numba compiles kernels; None for this processor."""
    found = load_library()
    return building or (found.target if found else None)
