"""Files that are there whole or not at all: written beside their final names, then moved there.

A process that is killed leaves its drafts behind. Their names tell whose they are, and the next draft in the
same folder removes those of processes that have ended.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from fastnn_kernels.compiler.interrupts import held_interrupts

from .validation import shown

__all__ = ["Draft", "check_file_name", "check_folder", "check_replaceable", "written_whole"]

# Drafts begin with it, and then have their process: host, process ID, seconds from boot to its start.
PREFIX = ".fastnn-"
OWNED = re.compile(rf"{re.escape(PREFIX)}([0-9a-f]{{12}})-([0-9]+)-([0-9]+)-.+")
# Where a draft puts the files that it replaces, until its own are in their place.
OLDER = ".older-"
# Rounding of two times, in seconds. A process ID does not come again so soon.
SAME_START = 2
# Entries of a folder that one draft may take the time to look at.
ENTRIES_A_DRAFT = 1000
# By folder: how many drafts do not look for those left behind, since there are so many entries.
_not_looking: dict[Path, int] = {}


class Draft:
    """Files and folders in the making, in a hidden folder beside where they will be.

    The folder is on the same disk, so that they are moved rather than copied, and what is made in it
    has the permissions of any new file. Folders that processes of this machine left there when they were
    killed are removed, unless they hold older files that were about to be replaced.

    Parameters
    ----------
    *paths : Path
        Final names, in one folder that exists: in the order in which they shall appear.
    """

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self._holds_older = False  # what could not be moved back
        folder = paths[0].absolute().parent
        _remove_abandoned(folder)
        self.folder = Path(tempfile.mkdtemp(prefix=_prefix(os.getpid()), dir=folder))

    def name(self, path: Path) -> Path:
        """Where to write what will be `path`."""
        return self.folder / path.name

    def publish(self) -> None:
        """Move everything into its place; if that fails, what was there is there again."""
        moves: list[tuple[Path, Path]] = []
        try:
            # One file replaces another in one step. Of several, or of folders, the old ones go first and
            # in the opposite order: who comes between sees the first of them without the last, or none.
            if len(self.paths) > 1 or self.paths[0].is_dir():
                older = Path(tempfile.mkdtemp(prefix=OLDER, dir=self.folder))
                for path in reversed(self.paths):
                    if path.exists():
                        _move(path, older / path.name, moves)
            for path in self.paths:
                _move(self.name(path), path, moves)
        except BaseException as error:
            self._holds_older = True
            error.add_note(f"If older pictures are not in their place, they are in {self.folder}")
            for source, goal in reversed(moves):
                if os.path.lexists(goal) and not os.path.lexists(source):
                    os.replace(goal, source)
            self._holds_older = False
            self.discard()
            raise
        self.discard()

    def discard(self) -> None:
        """Remove what was written."""
        if self._holds_older:
            return
        shutil.rmtree(self.folder, ignore_errors=True)


def _move(source: Path, goal: Path, moves: list[tuple[Path, Path]]) -> None:
    moves.append((source, goal))
    os.replace(source, goal)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Write a file under another name, which becomes `path` at the end unless something is raised."""
    draft = None
    try:
        with held_interrupts():
            draft = Draft(path)
        yield draft.name(path)
        with held_interrupts():
            draft.publish()
    except BaseException:
        if draft is not None:
            with held_interrupts():
                draft.discard()
        raise


def _remove_abandoned(folder: Path) -> None:
    """Remove the drafts in a folder whose processes have ended.

    What cannot be read or removed stays; so does what several processes remove at once, for none of them.
    """
    skipped = _not_looking.pop(folder, 0)
    if skipped > 0:
        _not_looking[folder] = skipped - 1
        return
    try:
        names = os.listdir(folder)
    except OSError:
        return
    if len(names) > ENTRIES_A_DRAFT:
        _not_looking[folder] = len(names) // ENTRIES_A_DRAFT
    for name in names:
        owned = OWNED.fullmatch(name)
        if owned is None or owned[1] != _host():
            continue
        if _has_ended(int(owned[2]), int(owned[3])) and not _may_hold_older(folder / name):
            shutil.rmtree(folder / name, ignore_errors=True)


@functools.cache
def _prefix(pid: int) -> str:
    """Return what the names of this process's drafts begin with; `pid` is its own, which a fork changes."""
    try:
        return f"{PREFIX}{_host()}-{pid}-{_start(psutil.Process(pid))}-"
    except (psutil.Error, OSError, RuntimeError):  # where the system does not tell, nobody removes them
        return PREFIX


@functools.cache
def _host() -> str:
    """Return a name for this machine, and for the namespace that its process IDs are of."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="utf-8", errors="replace"))
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _start(process: psutil.Process) -> int:
    """Return the seconds from boot to the start of a process, which do not change when the clock is set."""
    boot = psutil.boot_time()
    return round(process.create_time() - boot)


def _has_ended(pid: int, start: int) -> bool:
    """Return whether the process that had this ID, and started then, is no more."""
    try:
        process = psutil.Process(pid)
        # One that is killed keeps its ID until its parent asks for its exit status.
        return process.status() == psutil.STATUS_ZOMBIE or abs(_start(process) - start) > SAME_START
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OSError, RuntimeError):
        return False


def _may_hold_older(draft: Path) -> bool:
    """Return whether a draft was left with older files in it, and its own not yet all in their place."""
    try:
        names = os.listdir(draft)
        older = [name for name in names if name.startswith(OLDER)]
        return len(older) < len(names) and any(os.listdir(draft / name) for name in older)
    except OSError:
        return True


def check_folder(path: Path, argument: str) -> None:
    """Find out whether a file can be made beside `path`, before the work rather than after it.

    Parameters
    ----------
    path : Path
        The file's name.
    argument : str
        What the messages call it.

    Raises
    ------
    ValueError
        Where there is no folder, or none that can be written to.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{argument}: there is no folder {folder}")
    try:
        with held_interrupts():  # permissions tell too little: root has all, a disk may be read-only or full
            Draft(path).discard()
    except OSError as error:
        raise ValueError(
            f"{argument}: the folder {folder} cannot be written to ({error.strerror}): choose another"
        ) from error


def check_replaceable(path: Path, argument: str) -> None:
    """Raise a ValueError that names the argument where `path` is what no file must replace.

    Moving a file to the name of a device, as root may, would remove the device.
    """
    if path.is_dir():
        raise ValueError(f"{argument}: {path} is a folder, not the name of a picture")
    if path.exists() and not path.is_file() and not path.is_symlink():
        raise ValueError(f"{argument}: {path} is a device or a pipe, not the name of a picture")


def check_file_name(path: Any, name: str) -> Path:
    """Return a file's path; whether its folder is there is another question.

    Raises
    ------
    TypeError
        For what is no path.
    ValueError
        For a name that the file system does not take: too long, or with a NUL in it.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {shown(path)}")
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{name}: a file cannot be called {shown(str(path))}: {reason}") from None
    return Path(path)
