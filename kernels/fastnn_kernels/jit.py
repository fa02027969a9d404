"""The one decorator: every compiler option, and the cache of compiled kernels, stand here.

``@kernel`` compiles a function; one that a factory specialises, as ``train_passes(("tanh",))``, names
what it was specialised on: ``@specialised("tanh")``. A kernel that another calls is built into it.

The compiled code is kept on disk under a digest of *all* kernel sources, because a kernel is
built from pieces in several files and an edit of any of them must be seen. Every entry is one
file written whole, with its checksum: no index that two processes could overwrite for one
another, and nothing that a truncated file, a full disk or a folder without write permission
could break. What cannot be kept is compiled again, without a word.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

__all__ = ["kernel", "specialised"]

# nogil: Python threads run kernels side by side. error_model: a division by zero gives inf, as in
# NumPy, and costs no branch. contract: a * b + c may be one instruction. Never nnan or ninf: they
# let the compiler drop the checks that catch a diverging run. forceinline: passing a handful of
# arrays to a function costs as much as a small layer.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
    "forceinline": True,
}

# A stale entry of another version is removed once it is this old: two versions that share a
# folder must not delete each other's entries in turn.
KEEP_STALE_SECONDS = 30 * 24 * 3600


def kernel(function: Callable) -> Any:
    """Compile `function` into a kernel, cached on disk."""
    return specialised()(function)


def specialised(*key: object) -> Callable[[Callable], Any]:
    """Like `kernel`, for a kernel that closes over compiled functions or constants.

    Parameters
    ----------
    *key : object
        What sets this kernel apart from its siblings out of the same factory; its ``repr`` is
        part of the cache key, since numba cannot hash a closure that holds other kernels.
    """

    def compile(function: Callable) -> Any:
        dispatcher = numba.njit(**OPTIONS)(function)
        if not config.DISABLE_JIT:  # with it njit returns the plain function
            dispatcher._cache = KernelCache(function, key)
        return dispatcher

    return compile


@functools.cache
def source_digest() -> str:
    """Digest of every kernel source, numba's version and Python's: what makes an entry stale."""
    digest = hashlib.sha256(repr((numba.__version__, sys.version)).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folders() -> Iterator[Path]:
    """Where entries may lie, best first: NUMBA_CACHE_DIR, else the package, else the user's."""
    if config.CACHE_DIR:
        yield Path(config.CACHE_DIR) / "fastnn_kernels"
        return
    yield Path(__file__).parent / "__pycache__"
    yield Path(AppDirs(appname="fastnn", appauthor=False).user_cache_dir)


class KernelCache:
    """On-disk cache of one kernel's compiled signatures, in the shape a numba dispatcher expects.

    Parameters
    ----------
    function : callable
        The Python function that is compiled.
    key : tuple
        What it is specialised on.
    """

    def __init__(self, function: Callable, key: tuple) -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._identity = (function.__module__, function.__qualname__, key)

    def load_overload(self, signature: Any, target_context: Any) -> CompileResult | None:
        """The compiled code for `signature`, or None where no folder holds it whole."""
        target_context.refresh()
        name = self._file_name(signature, target_context.codegen())
        for folder in cache_folders():
            try:
                content = (folder / name).read_bytes()
            except OSError:
                continue
            checksum, payload = content[:32], content[32:]
            if hashlib.sha256(payload).digest() != checksum:
                continue
            try:
                return CompileResult._rebuild(target_context, *pickle.loads(payload))
            except (pickle.UnpicklingError, ImportError, AttributeError, RuntimeError, TypeError):
                continue  # whole, but made by a numba that differs: compile again
        return None

    def save_overload(self, signature: Any, compiled: CompileResult) -> None:
        """Keep `compiled` in the first folder that takes it; none taking it is no error."""
        if compiled.library.has_dynamic_globals:
            return
        payload = dumps(compiled._reduce())
        content = hashlib.sha256(payload).digest() + payload
        name = self._file_name(signature, compiled.codegen)
        for folder in cache_folders():
            try:
                _write_whole(folder / name, content)
            except OSError:
                continue
            _remove_stale(folder)
            return

    def enable(self) -> None:
        """Numba's hook; the cache is always on."""

    def disable(self) -> None:
        """Numba's hook; the cache is always on."""

    def flush(self) -> None:
        """Numba's hook for ``recompile``: entries are keyed by their sources, so none is stale."""

    @property
    def cache_path(self) -> str:
        """The first folder looked into."""
        return str(next(cache_folders()))

    def _file_name(self, signature: Any, codegen: Any) -> str:
        # Everything that changes the machine code and is not in the sources: numba leaves bounds
        # checking and the optimisation level out of its own key.
        key = (
            self._identity,
            str(signature),
            codegen.magic_tuple(),
            config.BOUNDSCHECK,
            int(config.OPT),
            config.DEBUGINFO_DEFAULT,
        )
        return f"{source_digest()}.{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@functools.cache
def _remove_stale(folder: Path) -> None:
    """Remove entries of other versions that nobody has renewed for a month; once a process."""
    oldest = time.time() - KEEP_STALE_SECONDS
    for path in folder.glob("*.nbc"):
        try:
            if not path.name.startswith(source_digest()) and path.stat().st_mtime < oldest:
                path.unlink()
        except OSError:
            continue  # another process was quicker, or it is not ours to remove
