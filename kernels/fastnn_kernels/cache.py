"""The files of compiled kernels.

They lie under a digest of *all* kernel sources, because a kernel is built from pieces in several files and
an edit of any of them must be seen. Every entry is one file written whole, with its checksum: no index that
two processes could overwrite for one another, and nothing that a truncated file, a full disk or a folder
without write permission could break.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import llvmlite
import numba
from numba.core import config
from numba.misc.appdirs import AppDirs

__all__ = ["cache_folders", "is_current", "keep", "kept"]

# A stale entry of another version is removed once it is this old: two versions that share a
# folder must not delete each other's entries in turn.
KEEP_STALE_SECONDS = 30 * 24 * 3600


def source_digest() -> str:
    """Return the digest of every kernel source and of what compiles them; "" where they cannot be read."""
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__, sys.version)).encode())
    try:
        # An editor's lock beside a source may be a link to nowhere.
        sources = [path for path in sorted(Path(__file__).parent.glob("*.py")) if path.is_file()]
        for path in sources:
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    except OSError:  # no permission, no file left to be opened, or just removed
        return ""
    return digest.hexdigest()[:16] if sources else ""


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
    users = Path(AppDirs(appname="fastnn", appauthor=False).user_cache_dir)
    if users.is_absolute():  # else the user has no home, and it would lie in whatever folder is current
        yield users


def is_current() -> bool:
    """Whether the sources are as they were imported."""
    return source_digest() == DIGEST


def kept(name: str) -> Iterator[bytes]:
    """What the folders hold under `name`, each whole."""
    for folder in cache_folders():
        try:
            content = (folder / f"{DIGEST}.{name}").read_bytes()
        except OSError:
            continue
        checksum, payload = content[:32], content[32:]
        if _checksum(name, payload) == checksum:
            with contextlib.suppress(OSError):  # not ours to mark as in use
                os.utime(folder / f"{DIGEST}.{name}")
            yield payload


def keep(name: str, payload: bytes) -> None:
    """Keep `payload` in the first folder that takes it; none taking it is no error."""
    content = _checksum(name, payload) + payload
    for folder in cache_folders():
        try:
            _write_whole(folder / f"{DIGEST}.{name}", content)
        except OSError:
            continue
        _remove_stale(folder)
        return


def _checksum(name: str, payload: bytes) -> bytes:
    """Of an entry and what it is called: a copy under another name is none."""
    return hashlib.sha256(name.encode() + b"\0" + payload).digest()


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
    with contextlib.suppress(OSError):  # the folder is gone already
        for path in (*folder.glob("*.nbc"), *folder.glob("*.tmp")):
            # Another process may be quicker, or it is not ours to remove.
            with contextlib.suppress(OSError):
                if not path.name.startswith(DIGEST) and path.stat().st_mtime < oldest:
                    path.unlink()
