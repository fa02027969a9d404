"""The one decorator: every compiler option, and the cache of compiled kernels, stand here.

``@kernel`` compiles a function. One that a factory specialises, as ``train_passes(("tanh",))``, closes
over the kernels and constants it is made of. A kernel that another calls is built into it.

The compiled code is kept on disk under a digest of *all* kernel sources, because a kernel is
built from pieces in several files and an edit of any of them must be seen. Every entry is one
file written whole, with its checksum: no index that two processes could overwrite for one
another, and nothing that a truncated file, a full disk or a folder without write permission
could break. What cannot be kept is compiled again, without a word.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import pickle
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

__all__ = ["kernel"]

# nogil: Python threads run kernels side by side. error_model: a division by zero gives inf, as in
# NumPy, and costs no branch. contract: a * b + c may be one instruction. Never nnan or ninf: they
# let the compiler drop the checks that catch a diverging run. forceinline: passing a handful of
# arrays to a function costs as much as a small layer.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
    "forceinline": True,
    "no_cfunc_wrapper": True,
}

# A stale entry of another version is removed once it is this old: two versions that share a
# folder must not delete each other's entries in turn.
KEEP_STALE_SECONDS = 30 * 24 * 3600


def kernel(function: Callable) -> Any:
    """Compile `function` into a kernel, cached on disk."""
    # Numba tells symbols of one name apart by a number that every process counts anew: of two kernels out of
    # one factory, compiled by two processes, a third would link one in place of the other.
    tag = hashlib.sha256(repr(identity(function)).encode()).hexdigest()[:16]
    function.__qualname__ = f"{function.__qualname__}_{tag}"
    dispatcher = numba.njit(**OPTIONS)(function)
    if not config.DISABLE_JIT:  # with it njit returns the plain function
        dispatcher._cache = KernelCache(function)
    return dispatcher


def identity(function: Callable) -> tuple:
    """What sets a kernel apart from its siblings out of the same factory: all it closes over.

    Numba cannot hash a closure that holds other kernels, so this is what the cache's key is of.
    """
    cells = inspect.getclosurevars(function).nonlocals
    return (
        function.__module__,
        function.__qualname__,
        tuple((name, _identity_of(value)) for name, value in sorted(cells.items())),
    )


def _identity_of(value: object) -> object:
    if isinstance(value, Dispatcher):
        return identity(value.py_func)
    if isinstance(value, _Intrinsic):
        return value._defn.__module__, value._defn.__qualname__
    if isinstance(value, (int, float, str, tuple)):
        return value
    raise TypeError(f"a kernel may close over kernels, intrinsics and constants, not over {value!r}")


def source_digest() -> str:
    """Digest of every kernel source and of what compiles them; empty where there are no sources."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    if not sources:
        return ""
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__, sys.version)).encode())
    for path in sources:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


# Of the sources as they were imported. A file changed later must not lend its name to this code.
DIGEST = source_digest()


def cache_folders() -> Iterator[Path]:
    """Where entries may lie, best first: NUMBA_CACHE_DIR, else the package, else the user's."""
    if not DIGEST:
        return
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
    """

    def __init__(self, function: Callable) -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._identity = identity(function)

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
                compiled = CompileResult._rebuild(target_context, *pickle.loads(payload))
            except Exception:  # whole, but of a numba that differs in whatever way: compile again
                continue
            with contextlib.suppress(OSError):  # not ours to mark as in use
                os.utime(folder / name)
            return compiled
        return None

    def save_overload(self, signature: Any, compiled: CompileResult) -> None:
        """Keep `compiled` in the first folder that takes it; none taking it is no error."""
        if compiled.library.has_dynamic_globals or source_digest() != DIGEST:
            return
        try:
            payload = dumps(compiled._reduce())
        except Exception:  # numba's own business, and no reason to break a run
            return
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
        return str(next(cache_folders(), ""))

    def _file_name(self, signature: Any, codegen: Any) -> str:
        # What changes the machine code and is not in the sources; numba leaves most of it out of its
        # own key.
        settings = (
            config.BOUNDSCHECK,
            int(config.OPT),
            config.DEBUGINFO_DEFAULT,
            config.LOOP_VECTORIZE,
            config.SLP_VECTORIZE,
        )
        key = (self._identity, str(signature), codegen.magic_tuple(), settings)
        return f"{DIGEST}.{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # As readable as its folder: what an administrator compiled serves everybody.
        os.chmod(temporary, stat.S_IMODE(path.parent.stat().st_mode) & 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@functools.cache
def _remove_stale(folder: Path) -> None:
    """Remove what no process has used for a month: other versions' entries, halves of files."""
    oldest = time.time() - KEEP_STALE_SECONDS
    for path in (*folder.glob("*.nbc"), *folder.glob("*.tmp")):
        try:
            if not path.name.startswith(DIGEST) and path.stat().st_mtime < oldest:
                path.unlink()
        except OSError:
            continue  # another process was quicker, or it is not ours to remove
