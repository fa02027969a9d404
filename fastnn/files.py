"""Files that are there whole or not at all: written beside their final names, then moved there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastnn_kernels.interrupts import held_interrupts

__all__ = ["Draft", "check_folder", "check_is_no_folder", "written_whole"]


class Draft:
    """Files and folders in the making, in a hidden folder beside where they will be.

    The folder is on the same disk, so that they are moved rather than copied, and what is made in it
    has the permissions of any new file.

    Parameters
    ----------
    *paths : Path
        Final names, in one folder that exists: in the order in which they shall appear.
    """

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self._holds_older = False  # what could not be moved back
        self.folder = Path(tempfile.mkdtemp(prefix=".fastnn-", dir=paths[0].absolute().parent))

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
                older = Path(tempfile.mkdtemp(dir=self.folder))
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


def check_is_no_folder(path: Path, argument: str) -> None:
    """Raise a ValueError that calls `path` by the name of the argument if it is a folder."""
    if path.is_dir():
        raise ValueError(f"{argument}: {path} is a folder, not the name of a picture")
