"""Files of compiled kernels, the entries of the on-disk cache.

The name of an entry begins with a digest of *all* kernel sources (``sources.py``). An entry is one file,
written atomically, with its checksum. Two processes share no index that one could overwrite, and a truncated
file, a full disk or a folder without write permission breaks no run. If entries cannot be saved, each process
warns once and says why.

The code in an entry runs with the rights of the process. Folders and files that others can change are
ignored, where others are all but root, this user, and whoever can change the package's folder, and thus the
sources.

A process that loads a kernel knows its function and the types of its arguments. An entry holds the rest: a
header, one line of JSON that names no Python object, with the names of symbols and the type of the result;
and the code.

A process that compiles a kernel claims its entry. Another process that needs the kernel waits for the end of
the claim, and loads the entry, instead of compiling the same kernel a second time.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import types

from .numba_internals import get_cache_setting, get_user_cache_folder
from .prebuilt import get_kernel_target, warn_or_log
from .sources import PACKAGE, digest_sources, list_source_files
from .target import read_vector_bytes

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


# Longest time that a process waits for another process that compiles a kernel, and time between two attempts
# to get the claim. A stopped process may hold its claim forever.
WAIT_SECONDS, RETRY_SECONDS = 60.0, 0.005

REMEDY = "Set the environment variable NUMBA_CACHE_DIR to a folder that you, and nobody else, can write to"

# Two versions that share a folder must not delete each other's entries in turn: an entry of another version
# is removed only once it has this age.
KEEP_STALE_SECONDS = 30 * 24 * 3600

# Types that have no parts, by name.
SCALARS: dict[str, types.Type] = {
    str(kind): kind
    for kind in (types.none, types.boolean, *types.integer_domain, *types.real_domain, *types.complex_domain)
}


def list_source_states() -> list[tuple]:
    """Return path, times, size and inode of each source file; an empty list if a folder cannot be read."""
    try:
        found = [(path, path.stat()) for path in list_source_files()]
    except OSError:
        return []
    return [
        (path, state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino) for path, state in found
    ]


def digest_version() -> str:
    """Return the digest of sources, compiler's versions and target; "" if no source can be read."""
    sources = digest_sources()
    versions = numba.__version__, llvmlite.__version__, sys.version
    target = get_kernel_target()
    settings = *versions, read_vector_bytes(), target and target.constants, sources
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16] if sources else ""


# Digest of the sources at import. Files may change later: code compiled from the imported sources must not be
# saved under the digest of the changed files.
STATES, DIGEST = list_source_states(), digest_version()


def list_cache_folders() -> Iterator[Path]:
    """Yield the cache folders in order of preference: NUMBA_CACHE_DIR, else the package's and the user's."""
    if not DIGEST:
        return
    if get_cache_setting():
        yield Path(get_cache_setting()) / "fastnn_kernels"
        return
    yield PACKAGE / "__pycache__"
    user_folder = get_user_cache_folder()
    if user_folder.is_absolute():  # a user without a home directory has a folder relative to "~"
        yield user_folder


def is_current() -> bool:
    """Return True if no source file has changed since the import.

    Files whose times and sizes have not changed are not read, because this function is called for every
    kernel that is saved.
    """
    return (list_source_states() == STATES and STATES != []) or digest_version() == DIGEST


def _list_writers(state: os.stat_result) -> set[str]:
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
    others = _list_writers(state) - {"user 0", "group 0", f"user {user}"} - _list_writers(PACKAGE.stat())
    if group in others and _is_private(state.st_gid, user):
        others.remove(group)
    if others:
        names, mode = " and ".join(sorted(others)), stat.S_IMODE(state.st_mode)
        raise DistrustError(
            f"{names} can change it (mode {mode:03o}), so their code would run as user {user}"
        )


def _list_trusted_folders() -> Iterator[Path]:
    """Yield the cache folders that exist and that nobody else can change."""
    for folder in list_cache_folders():
        try:
            _check_writers(folder.stat())
        except OSError:
            continue
        yield folder


def read_entries(name: str) -> Iterator[bytes]:
    """Yield the payload of every entry `name` with a valid checksum, folder by folder."""
    for folder in _list_trusted_folders():
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
        if _compute_checksum(name, payload) == checksum:
            with contextlib.suppress(OSError):  # another user's file cannot be marked as in use
                os.utime(path)
            yield payload


def write_entry(name: str, payload: bytes) -> None:
    """Write the entry `name` to the first folder in which a file can be written.

    If no folder can be written to, an OSError gives each folder's reason.
    """
    content = _compute_checksum(name, payload) + payload
    _remove_stale(_use_first_folder(lambda folder: _write_atomically(folder / f"{DIGEST}.{name}", content)))


@contextlib.contextmanager
def claim_entry(name: str) -> Iterator[None]:
    """Claim the entry `name` for this process within the context; wait while another process has the claim.

    A claim is the lock of an empty file beside the entry, which stays there. The system ends the claim of a
    process that is killed. Where files cannot be locked there are no claims.
    """
    with contextlib.ExitStack() as claims:

        def claim(folder: Path) -> None:
            file = os.open(folder / f"{DIGEST}.{name}.claim", os.O_RDWR | os.O_CREAT, 0o644)
            claims.callback(os.close, file)
            _lock(file)

        with contextlib.suppress(OSError):
            _use_first_folder(claim)
        yield


def _lock(descriptor: int) -> None:
    """Lock a file, unless another process holds it for `WAIT_SECONDS`; OSError without locks of files."""
    last = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < last:
        try:
            return _try_lock(descriptor)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        time.sleep(RETRY_SECONDS)


def _use_first_folder(write: Callable[[Path], None]) -> Path:
    """Return the first folder that nobody else can change and in which `write` succeeds."""
    reasons = []
    for folder in list_cache_folders():
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
        self.has_warned = False

    def note(self, reason: str) -> None:
        """Store the reason if it is the first. Call `warn` afterwards: it may not interrupt a compilation."""
        self.reason = self.reason or reason

    def warn(self, stacklevel: int = 2) -> None:
        """Warn once why an entry could not be saved or loaded; the warning points `stacklevel` calls up."""
        if self.reason and not self.has_warned:
            self.has_warned = True
            message = f"compiled kernels cannot be kept or loaded, so they are compiled again: {self.reason}"
            warn_or_log(message, stacklevel + 1)


refusal = _Refusal()


def _compute_checksum(name: str, payload: bytes) -> bytes:
    """Return the checksum of an entry's name and payload: a copy under another name is invalid."""
    return hashlib.sha256(name.encode() + b"\0" + payload).digest()


def _write_atomically(path: Path, content: bytes) -> None:
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


# --- what an entry holds -----------------------------------------------------------------------------


def pack_entry(header: dict[str, Any], code: bytes) -> bytes:
    """Return the payload of an entry; `unpack_entry` is the inverse."""
    return json.dumps(header).encode() + b"\n" + code  # JSON escapes line breaks


def unpack_entry(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and code of an entry; raise ValueError if there is no header."""
    line, _, code = payload.partition(b"\n")
    header = json.loads(line)
    if not isinstance(header, dict):
        raise ValueError("the entry has no header")
    return header, code


def describe_type(kind: types.Type) -> Any:
    """Return a type of numba in values that JSON can express; `parse_type` is the inverse.

    Other types than scalars, constants, arrays, and tuples of these are a ValueError.
    """
    plain: Any = str(kind)
    if isinstance(kind, types.Literal):
        plain = ["constant", kind.literal_value]
    elif isinstance(kind, types.Array):
        plain = ["array", describe_type(kind.dtype), kind.ndim, kind.layout, kind.mutable, kind.aligned]
    elif isinstance(kind, types.BaseTuple):
        plain = ["tuple", *map(describe_type, kind)]
    if parse_type(plain) != kind:
        raise ValueError(f"no result can be of type {kind}")
    return plain


def parse_type(plain: Any) -> types.Type:
    """Return the type of numba that `describe_type` described; raise ValueError for anything else."""
    match plain:
        case str() if plain in SCALARS:
            return SCALARS[plain]
        case ["constant", int(value) | str(value)]:
            return types.literal(value)
        case ["array", str(dtype), int(ndim), "C" | "F" | "A" as layout, bool(mutable), bool(aligned)]:
            return types.Array(parse_type(dtype), ndim, layout, readonly=not mutable, aligned=aligned)
        case ["tuple", *items]:
            return types.Tuple([parse_type(item) for item in items])
    raise ValueError(f"no result can be of type {plain!r:.80}")
