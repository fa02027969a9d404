"""Files of compiled kernels, the entries of the on-disk cache.

The name of an entry begins with a digest of *all* kernel sources (``sources.py``). An entry is one file,
written atomically, with its checksum. Two processes share no index that one could overwrite, and a truncated
file, a full disk or a folder without write permission breaks no run. If entries cannot be saved, each process
warns once and says why.

The code in an entry runs with the rights of the process. Folders and files that others can change are
ignored, where others are all but root, this user, and whoever can change the package's folder, and thus the
sources.

A process that compiles a kernel claims its entry. Another process that needs the kernel waits for the end of
the claim, and loads the entry, instead of compiling the same kernel a second time.

This module does not import numba, so that a command can look into the cache before it loads numba.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import importlib.util
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
import platformdirs

from .prebuilt import kernel_target
from .sources import PACKAGE, digest_of_sources, source_files
from .target import chosen_vector_bytes

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        """Lock the first byte of an open file, or raise OSError."""
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl
    import grp
    import pwd

    def _try_lock(descriptor: int) -> None:
        """Lock an open file, or raise OSError."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


__all__ = [
    "cache_folders",
    "claimed",
    "entry_files",
    "is_current",
    "read_entries",
    "refusal",
    "usable_folder",
    "write_entry",
]

# Longest time that a process waits for another process that compiles a kernel, and time between two attempts
# to get the claim. A stopped process may hold its claim for ever.
WAIT_SECONDS, RETRY_SECONDS = 60.0, 0.005

REMEDY = "Set the environment variable NUMBA_CACHE_DIR to a folder that you, and nobody else, can write to"

# Two versions that share a folder must not delete each other's entries in turn: an entry of another version
# is removed only once it has this age.
KEEP_STALE_SECONDS = 30 * 24 * 3600


@functools.cache
def numba_version() -> str:
    """Return the version of numba: the loaded module's, else the one in the name of its metadata folder.

    If numba was updated after this process had loaded it, the folder's version is not the one that compiles.
    """
    if "numba" not in sys.modules:
        spec = importlib.util.find_spec("numba")
        if spec is not None and spec.has_location and spec.origin is not None:
            folders = list(Path(spec.origin).parent.parent.glob("numba-*.dist-info"))
            if len(folders) == 1:  # an application in one file has none, and a half done update may leave two
                return folders[0].stem.removeprefix("numba-")
    import numba

    return numba.__version__


def cache_setting() -> str:
    """Return the folder that the user chose for compiled code, or an empty string.

    Before numba is loaded, the environment variable alone counts, and not the file .numba_config.yaml.
    """
    if "numba" not in sys.modules:
        return os.environ.get("NUMBA_CACHE_DIR", "")
    from . import numba_internals

    return numba_internals.cache_setting()


def source_states() -> list[tuple]:
    """Return path, times, size and inode of each source file; an empty list if a folder cannot be read."""
    try:
        found = [(path, path.stat()) for path in source_files()]
    except OSError:
        return []
    return [
        (path, state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino) for path, state in found
    ]


def source_digest() -> str:
    """Return the digest of sources, compiler's versions and target; "" if no source can be read."""
    sources = digest_of_sources()
    versions = numba_version(), llvmlite.__version__, sys.version
    target = kernel_target()
    settings = *versions, chosen_vector_bytes(), target and target.constants, sources
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16] if sources else ""


# Digest of the sources at import. Files may change later: code compiled from the imported sources must not be
# saved under the digest of the changed files.
STATES, DIGEST = source_states(), source_digest()


def cache_folders() -> Iterator[Path]:
    """Yield the cache folders in order of preference: NUMBA_CACHE_DIR, else the package's and the user's."""
    if not DIGEST:
        return
    if cache_setting():
        yield Path(cache_setting()) / "fastnn_kernels"
        return
    yield PACKAGE / "__pycache__"
    # For a user without a home directory, old versions of platformdirs return a path relative to "~", and new
    # versions raise RuntimeError: skip the user's folder in both cases.
    try:
        user_folder = Path(platformdirs.user_cache_dir("fastnn", appauthor=False))
    except RuntimeError:
        return
    if user_folder.is_absolute():
        yield user_folder


def is_current() -> bool:
    """Return True if no source file has changed since the import.

    Files whose times and sizes are those at the import are not read: this function is called for every kernel
    that is saved.
    """
    return (source_states() == STATES and STATES != []) or source_digest() == DIGEST


def _writers(state: os.stat_result) -> set[str]:
    """Return who can change a folder or file."""
    found = {f"user {state.st_uid}"}
    if state.st_mode & stat.S_IWGRP:
        found.add(f"group {state.st_gid}")
    if state.st_mode & stat.S_IWOTH:
        found.add("every user")
    return found


@functools.cache
def _is_private(gid: int, uid: int) -> bool:
    """Return True for the group of one user that systems create with the user; its umask is often 002."""
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:  # a container may run as a user without a name
        return False
    return user.pw_gid == gid and user.pw_name == group.gr_name and {*group.gr_mem} <= {user.pw_name}


class DistrustError(PermissionError):
    """A folder or file of the cache can be changed by others."""


def _check_writers(state: os.stat_result) -> None:
    """Raise `DistrustError` if others can change a folder or file: their code would run in this process."""
    if os.name != "posix":  # files have no such owners
        return
    user, group = os.geteuid(), f"group {state.st_gid}"
    others = _writers(state) - {"user 0", "group 0", f"user {user}"} - _writers(PACKAGE.stat())
    if group in others and _is_private(state.st_gid, user):
        others.remove(group)
    if others:
        names, mode = " and ".join(sorted(others)), stat.S_IMODE(state.st_mode)
        raise DistrustError(
            f"{names} can change it (mode {mode:03o}), so their code would run as user {user}"
        )


def _trusted_folders() -> Iterator[Path]:
    """Yield the cache folders that exist and that nobody else can change."""
    for folder in cache_folders():
        try:
            _check_writers(folder.stat())
        except OSError:
            continue
        yield folder


def read_entries(name: str) -> Iterator[bytes]:
    """Yield the payload of every entry `name` with a valid checksum, folder by folder."""
    for folder in _trusted_folders():
        path = folder / f"{DIGEST}.{name}"
        try:
            with path.open("rb") as file:
                _check_writers(os.fstat(file.fileno()))  # of the opened file, which a link may have led to
                content = file.read()
        except DistrustError as error:
            refusal.note(f"{path}: {error}. Remove the file. {REMEDY}")
            continue
        except OSError:
            continue
        checksum, payload = content[:32], content[32:]
        if _checksum(name, payload) == checksum:
            with contextlib.suppress(OSError):  # another user's file cannot be marked as in use
                os.utime(path)
            yield payload


def write_entry(name: str, payload: bytes) -> None:
    """Write the entry `name` to the first folder in which a file can be written.

    Raises
    ------
    OSError
        If no folder can be written to; the message gives each folder's reason.
    """
    content = _checksum(name, payload) + payload
    _remove_stale(_first_folder(lambda folder: _write_whole(folder / f"{DIGEST}.{name}", content)))


@contextlib.contextmanager
def claimed(name: str) -> Iterator[None]:
    """Claim the entry `name` for this process within the context; wait while another process has the claim.

    The system ends the claim of a process that is killed. Where files cannot be locked there are no claims.
    """
    held: list[tuple[Path, int]] = []

    def hold(folder: Path) -> None:
        path = folder / f"{DIGEST}.{name}.claim"
        if (descriptor := _locked_file(path)) is not None:
            held.append((path, descriptor))

    try:
        with contextlib.suppress(OSError):
            _first_folder(hold)
        yield
    finally:
        for path, descriptor in held:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)
            if os.name == "nt":  # removes no open file
                with contextlib.suppress(OSError):
                    path.unlink()


def _locked_file(path: Path) -> int | None:
    """Create and lock a file; return its descriptor, or None if others hold the lock for `WAIT_SECONDS`.

    A process removes its file before it unlocks the file. Of two processes that wait, the first then holds
    the lock of a file without a name, while the other may lock a new file of this name. The file is opened
    again until the locked file is the one with the name: only one process holds the claim.

    Raises
    ------
    OSError
        If the file cannot be created, or the file system has no locks.
    """
    last = time.monotonic() + WAIT_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)  # not inherited by other programs
        is_kept = False
        try:
            if not _lock(descriptor, last):
                return None
            is_kept = _is_file_of(path, descriptor)
            if is_kept:
                return descriptor
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        finally:
            if not is_kept:
                os.close(descriptor)


def _lock(descriptor: int, last: float) -> bool:
    """Lock a file, and return True; return False if another process holds the lock at the time `last`."""
    while time.monotonic() < last:
        try:
            _try_lock(descriptor)
            return True
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise  # the file system has no locks
        time.sleep(RETRY_SECONDS)
    return False


def _is_file_of(path: Path, descriptor: int) -> bool:
    """Return True if an open file is the file that a path names at present."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def usable_folder() -> Path:
    """Return the first folder in which a temporary file can be written: entries are saved there.

    Raises
    ------
    OSError
        If no folder can be written to; the message gives each folder's reason.
    """

    def probe(folder: Path) -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"probe")

    return _first_folder(probe)


def entry_files() -> dict[Path, int]:
    """Return the paths of the entries of these sources in all folders, with their sizes in bytes.

    A folder that cannot be read counts as empty.
    """
    files = {}
    for folder in _trusted_folders():
        # Path.glob raises OSError for a folder in a folder of another user.
        with contextlib.suppress(OSError):
            for path in folder.glob(f"{DIGEST}.*.nbc"):
                with contextlib.suppress(OSError):  # removed meanwhile
                    files[path] = path.stat().st_size
    return files


def _first_folder(write: Callable[[Path], None]) -> Path:
    """Return the first folder in which `write` succeeds, of those that nobody else can change."""
    reasons = []
    for folder in cache_folders():
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)  # writable by this user, whatever the umask
            _check_writers(folder.stat())
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
    raise OSError(f"{'; '.join(reasons)}. {REMEDY}")


class _Refusal:
    """The reason why an entry could not be saved or loaded; each process warns of it once."""

    def __init__(self) -> None:
        self.reason = ""
        self._has_warned = False

    def note(self, reason: str) -> None:
        """Store the reason if it is the first. Call `warn` afterwards: it may not interrupt a compilation."""
        self.reason = self.reason or reason

    def warn(self, stacklevel: int = 3) -> None:
        """Warn once why an entry could not be saved or loaded; the warning points `stacklevel` calls up.

        If a filter turns warnings into errors, the warning is logged instead, so that no run breaks.
        """
        if self._has_warned or not self.reason:
            return
        self._has_warned = True
        message = f"compiled kernels cannot be kept or loaded, so they are compiled again: {self.reason}"
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
        except RuntimeWarning:
            logging.getLogger(__name__).warning(message)


refusal = _Refusal()


def _checksum(name: str, payload: bytes) -> bytes:
    """Return the checksum of an entry's name and payload: a copy under another name is invalid."""
    return hashlib.sha256(name.encode() + b"\0" + payload).digest()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the whole file or none."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # Kernels that an administrator compiled serve all users: make the file as readable as its folder.
        os.chmod(temporary, stat.S_IMODE(path.parent.stat().st_mode) & 0o644)
        try:
            os.replace(temporary, path)
        except PermissionError:
            # Windows replaces no file that another process reads: that process has found the same entry.
            if os.name != "nt" or not path.exists():
                raise
            os.unlink(temporary)
    except BaseException:
        os.unlink(temporary)
        raise


@functools.cache
def _remove_stale(folder: Path) -> None:
    """Remove other versions' entries and unfinished files that no process has used for a month."""
    oldest = time.time() - KEEP_STALE_SECONDS
    with contextlib.suppress(OSError):  # the folder has been removed meanwhile
        for path in (*folder.glob("*.nbc"), *folder.glob("*.tmp"), *folder.glob("*.claim")):
            # Another process may have removed the file, or another user may own it: continue with the next
            # one.
            with contextlib.suppress(OSError):
                if not path.name.startswith(DIGEST) and path.stat().st_mtime < oldest:
                    path.unlink()
