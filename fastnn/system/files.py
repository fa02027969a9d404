"""Atomic writing of files: a file is written as a draft in a hidden folder beside its final name, then moved.

A process that is killed leaves its draft behind, whose name begins with ``.fastnn-``.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastnn_kernels.compiler.interrupts import defer_signals

from .validation import short_repr

# Prefix of the names of drafts.
PREFIX = ".fastnn-"
# Prefix of the name of a folder in a draft that holds older files until their replacements are in place.
OLDER = ".older-"
# Seconds between attempts to replace a file. Windows refuses it while a program has the file open, as virus
# scanners do for a moment after every change.
PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if os.name == "nt" else ()

# Numbers of the errors of a disk that takes no more of a file.
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Draft:
    """Unfinished files and folders in a hidden folder beside their final names, all in one existing folder.

    The hidden folder is on the same disk, so that files are moved and not copied, and files in it get the
    usual permissions of new files. They are moved in the order of `paths`.
    """

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self._holds_older = False  # True if older files could not be moved back
        folder = paths[0].absolute().parent
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))

    def name(self, path: Path) -> Path:
        """Return the temporary name of the file that becomes `path`."""
        return self.folder / path.name

    def publish(self) -> None:
        """Move all files to their final names; if a move fails, restore the older files."""
        moves: list[tuple[Path, Path]] = []
        try:
            for path in self.paths:
                _keep_mode(path, self.name(path))
            only, *others = self.paths
            if not others and not self.name(only).is_dir():
                # Replaces an older file atomically. After it, an interrupt has nothing to restore.
                _replace(self.name(only), only)
            else:
                # Several files or a folder cannot: move the older ones away first. The last name may be a
                # page that refers to the others: the reverse order ensures that it never exists without them.
                older = Path(tempfile.mkdtemp(prefix=OLDER, dir=self.folder))
                for path in reversed(self.paths):
                    if os.path.lexists(path):  # also a link to nothing, which no folder can replace
                        _move(path, older / path.name, moves)
                for path in self.paths:
                    _move(self.name(path), path, moves)
        except BaseException as error:
            self._holds_older = True
            try:
                for source, goal in reversed(moves):
                    if os.path.lexists(goal) and not os.path.lexists(source):
                        _replace(goal, source)
            except BaseException:
                error.add_note(f"Older files that are not in their place are in {self.folder}")
                raise error from None
            self._holds_older = False
            self.discard()
            raise
        self.discard()

    def discard(self) -> None:
        """Remove the draft, unless it holds older files that could not be moved back."""
        if not self._holds_older:
            shutil.rmtree(self.folder, ignore_errors=True)


def _move(source: Path, goal: Path, moves: list[tuple[Path, Path]]) -> None:
    moves.append((source, goal))
    _replace(source, goal)


def _keep_mode(older: Path, draft: Path) -> None:
    """Give a draft the permissions of the older file that it replaces, as if that had been written to."""
    with suppress(OSError):  # there is none, or the disk has no permissions
        if not older.is_symlink():  # a link may lead to a device that all may write to
            shutil.copymode(older, draft)


def _replace(source: Path, goal: Path) -> None:
    """Move a file or folder, over an older file if there is one; on Windows try again for a second."""
    for pause in PAUSES:
        try:
            os.replace(source, goal)
            return
        except PermissionError:
            time.sleep(pause)
    os.replace(source, goal)


@contextmanager
def atomic_path(path: Path, synced: bool = False) -> Iterator[Path]:
    """Yield a temporary name for a file; move the file to `path` at the end unless an error is raised.

    The name is in the folder of a `Draft`. With `synced`, wait until the disk holds the file, before and
    after the move: a loss of power then leaves the older file or the new one, and no empty file.
    """
    draft = Draft(path)
    try:
        yield draft.name(path)
        if synced:
            _sync(draft.name(path))
        draft.publish()
    except BaseException as error:
        with defer_signals():
            draft.discard()
        raise_written(error, path, draft.folder)
        raise
    if synced:
        _sync(path.absolute().parent)


def raise_written(error: BaseException | None, path: Path, draft: Path) -> None:
    """Raise an error of a full disk, or of a draft, with the name that the user knows."""
    if not isinstance(error, OSError) or error.errno is None:
        return
    if error.errno in FULL or str(error.filename).startswith(str(draft)):
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def _sync(path: Path) -> None:
    """Wait until the disk holds a file's content or a folder's entries, where the system supports it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        with suppress(OSError):  # some network disks support no fsync
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_folder(path: Path, argument: str) -> None:
    """Raise ValueError, which names the argument, unless the folder of a file can be written to."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{argument}: there is no folder {folder}: create it, or choose another")
    try:
        # Permissions prove little: root ignores them, and a disk may be read-only or full. Create a draft.
        with defer_signals():
            Draft(path).discard()
    except OSError as error:
        raise ValueError(
            f"{argument}: the folder {folder} cannot be written to ({error.strerror}): choose another"
        ) from error


def check_replaceable(path: Path, argument: str, what: str = "a picture") -> None:
    """Raise ValueError if `path` is a folder, a device, a pipe or an open file, which no file may replace.

    If root moved a file to the name of a device, the device would be removed, and so would /dev/stdout, a
    link to an open file of the process. `argument` is the name of the argument, and `what` the kind of the
    file, in error messages.
    """
    if path.is_dir():
        raise ValueError(f"{argument}: {path} is a folder, not the name of {what}")
    if path.exists() and not path.is_file() and not path.is_symlink():
        raise ValueError(f"{argument}: {path} is a device or a pipe, not the name of {what}")
    if path.is_symlink() and os.readlink(path).startswith("/proc/"):
        raise ValueError(f"{argument}: {path} is an open file of the process, not the name of {what}")


def is_url(source: object) -> bool:
    """Return True for a URL, such as "s3://bucket/table.parquet"."""
    return isinstance(source, str) and "://" in source


def check_file_name(path: object, name: str) -> Path:
    """Return the path of a file whose name the file system accepts; the folder need not exist.

    `name` names the argument in error messages. A name that the file system refuses, such as a very long one,
    and a URL are a ValueError; what is neither text nor a path is a TypeError.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {short_repr(path)}")
    if not os.fspath(path):
        raise ValueError(f"{name}: '' is not the name of a file")
    if is_url(path):
        raise ValueError(f"{name}: {path} is a URL: name a file or folder of this machine")
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{name}: a file cannot be called {short_repr(str(path))}: {reason}") from None
    return Path(path)


def check_output(
    path: object, argument: str, what: str = "a picture", inputs: Iterable[str | os.PathLike[str]] = ()
) -> Path:
    """Return the path of a file that can be written; raise the errors of the three checks above.

    One of `inputs`, files and folders that are read before, is a ValueError, and so is a file in one of them.
    """
    checked = check_file_name(path, argument)
    check_folder(checked, argument)
    check_replaceable(checked, argument, what)
    parent = checked.absolute().parent.resolve()
    for one in map(find_local, inputs):
        if one is not None and checked.exists() and one.exists() and checked.samefile(one):
            raise ValueError(f"{argument}: {checked} is read, and would be lost: name another file")
        if one is not None and one.is_dir() and one.resolve() in (parent, *parent.parents):
            raise ValueError(f"{argument}: {checked} lies in the folder {one}, which is read: name another")
    return checked


def find_local(source: str | os.PathLike[str]) -> Path | None:
    """Return the path of a file or folder of this machine, also of one named by its URL; None for others."""
    if not is_url(source):
        return Path(source)
    scheme, _, rest = os.fspath(source).partition("://")
    if scheme.lower() not in ("file", "local"):
        return None
    from urllib.request import url2pathname  # it loads HTTP and email

    return Path(url2pathname(rest.removeprefix("localhost")))
