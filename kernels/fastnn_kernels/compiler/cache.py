"""The files of compiled kernels.

Names begin with a digest of *all* kernel sources: a kernel is built from pieces in several files, and an edit
of any of them makes a new kernel. Every entry is one file, written whole, with its checksum: there is no
index that two processes could overwrite for one another, and a truncated file, a full disk or a folder
without write permission breaks nothing. Where entries cannot be saved, one warning a process says why.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import llvmlite
import numba
import platformdirs

from .numba_internals import cache_setting

__all__ = ["cache_folders", "is_current", "keep", "kept", "kept_files", "refusal", "usable_folder"]

# Folder of the whole package `fastnn_kernels`: its sources, and its kernels where it can be written to.
PACKAGE = Path(__file__).parents[1]

# A stale entry of another version is removed once it is this old: two versions that share a
# folder must not delete each other's entries in turn.
KEEP_STALE_SECONDS = 30 * 24 * 3600


def source_digest() -> str:
    """Return the digest of every kernel source and of what compiles them; "" where they cannot be read."""
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__, sys.version)).encode())
    try:
        # An editor's lock beside a source may be a link to nowhere.
        sources = [path for path in sorted(PACKAGE.rglob("*.py")) if path.is_file()]
        for path in sources:
            digest.update(path.relative_to(PACKAGE).as_posix().encode())
            digest.update(path.read_bytes())
    except OSError:  # no permission, no file left to be opened, or just removed
        return ""
    return digest.hexdigest()[:16] if sources else ""


# The digest of the sources as they were imported. Code compiled from them must not be saved under the digest
# of files that were changed later.
DIGEST = source_digest()


def cache_folders() -> Iterator[Path]:
    """Yield the folders of entries, best first: NUMBA_CACHE_DIR, else the package and the user's folder."""
    if not DIGEST:
        return
    if cache_setting():
        yield Path(cache_setting()) / "fastnn_kernels"
        return
    yield PACKAGE / "__pycache__"
    # For a user without a home, old versions return "~", a folder in the current one; new versions raise.
    try:
        users = Path(platformdirs.user_cache_dir("fastnn", appauthor=False))
    except RuntimeError:
        return
    if users.is_absolute():
        yield users


def is_current() -> bool:
    """Return True if the sources are as they were imported."""
    return source_digest() == DIGEST


def kept(name: str) -> Iterator[bytes]:
    """Yield the contents of the entries `name` in all folders whose checksum is right."""
    for folder in cache_folders():
        try:
            content = (folder / f"{DIGEST}.{name}").read_bytes()
        except OSError:
            continue
        checksum, payload = content[:32], content[32:]
        if _checksum(name, payload) == checksum:
            with contextlib.suppress(OSError):  # a file of somebody else: it cannot be marked as in use
                os.utime(folder / f"{DIGEST}.{name}")
            yield payload


def keep(name: str, payload: bytes) -> None:
    """Write `payload` to the first folder that takes it.

    Raises
    ------
    OSError
        Where no folder takes it, with the reasons.
    """
    content = _checksum(name, payload) + payload
    _remove_stale(_first_folder(lambda folder: _write_whole(folder / f"{DIGEST}.{name}", content)))


def usable_folder() -> Path:
    """Return the folder that entries will be written to, found by making a file there.

    Raises
    ------
    OSError
        Where no folder takes it, with the reasons.
    """

    def probe(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"probe")

    return _first_folder(probe)


def kept_files() -> dict[Path, int]:
    """Return the entries of these sources in all folders, with their sizes in bytes."""
    files = {}
    for folder in cache_folders():
        for path in folder.glob(f"{DIGEST}.*.nbc"):
            with contextlib.suppress(OSError):  # gone meanwhile
                files[path] = path.stat().st_size
    return files


def _first_folder(write: Callable[[Path], None]) -> Path:
    """Return the first folder in which `write` succeeds."""
    reasons = []
    for folder in cache_folders():
        try:
            write(folder)
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror or error}")
            continue
        return folder
    if not DIGEST:
        raise OSError(
            "the sources of the kernels, which tell versions of them apart, are missing from "
            f"{PACKAGE}: install the package with its .py files"
        )
    raise OSError(
        f"{'; '.join(reasons)}. Set the environment variable NUMBA_CACHE_DIR to a folder that can be "
        "written to"
    )


class _Refusal:
    """The reason why an entry could not be saved or loaded, given by one warning a process."""

    def __init__(self) -> None:
        self.reason = ""
        self._is_told = False

    def note(self, reason: str) -> None:
        """Remember the reason, if it is the first: in the middle of a compilation nothing may be raised."""
        self.reason = self.reason or reason

    def tell(self, stacklevel: int = 3) -> None:
        """Warn once of the reason, if there is one, at the line `stacklevel` calls up.

        A filter that turns warnings into errors breaks no run: the warning is logged then.
        """
        if self._is_told or not self.reason:
            return
        self._is_told = True
        message = f"compiled kernels cannot be kept, and are compiled anew again and again: {self.reason}"
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
        except Exception:
            logging.getLogger(__name__).warning(message)


refusal = _Refusal()


def _checksum(name: str, payload: bytes) -> bytes:
    """Return the checksum of an entry and its name: a copy under another name is not valid."""
    return hashlib.sha256(name.encode() + b"\0" + payload).digest()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # As readable as the folder: kernels that an administrator compiled serve all users.
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
            # Another process may have removed the file, or another user owns it.
            with contextlib.suppress(OSError):
                if not path.name.startswith(DIGEST) and path.stat().st_mtime < oldest:
                    path.unlink()
