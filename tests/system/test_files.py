"""Drafts, the unfinished files of processes: a process that is killed loses neither older nor new files."""

import errno
import os
import re
import signal
import subprocess
import sys

import pytest

import fastnn
from fastnn.cli import main as cli
from fastnn.system import files
from fastnn.system.files import Draft, atomic_path, check_folder

# Kill a process before the k-th move of a file, or after all moves, while the draft is removed.
IS_KILLED_PUBLISHING = """
import os, shutil, signal, sys
from pathlib import Path
from fastnn.system.files import Draft

folder, moves = Path(sys.argv[1]), int(sys.argv[2])
replace = os.replace

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def move(source, goal):
    global moves
    moves -= 1
    if moves < 0:
        kill()
    replace(source, goal)

draft = Draft(folder / "a.txt", folder / "b.txt")
for path in draft.paths:
    draft.name(path).write_text("new")
os.replace, shutil.rmtree = move, kill
draft.publish()
"""


def write(path, text):
    with atomic_path(path) as draft:
        draft.write_text(text)


def publish(path, text):
    draft = Draft(path)
    draft.name(path).write_text(text)
    draft.publish()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("moves", range(5))
def test_a_process_that_is_killed_loses_no_file(tmp_path, moves):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"older {name}")
    program = [sys.executable, "-c", IS_KILLED_PUBLISHING, str(tmp_path), str(moves)]
    assert subprocess.run(program, check=False).returncode == -signal.SIGKILL
    write(tmp_path / "c.txt", "c")
    texts = sorted(path.read_text() for path in tmp_path.rglob("*.txt"))
    assert texts == ["c", "new", "new", "older a.txt", "older b.txt"]


@pytest.mark.parametrize("save", [write, publish])
@pytest.mark.parametrize("n_refused", [3, 100])
def test_a_file_that_is_open_elsewhere_is_replaced_or_stays_whole(tmp_path, monkeypatch, save, n_refused):
    """Windows refuses to replace such a file; virus scanners open every file for a moment."""
    attempts, replace, path = [], os.replace, tmp_path / "b.txt"

    def refuse(source, goal):
        attempts.append(goal.name)
        if len(attempts) <= n_refused:
            raise PermissionError(13, "The process cannot access the file")
        replace(source, goal)

    path.write_text("older")
    monkeypatch.setattr(files, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(os, "replace", refuse)
    if n_refused == 3:
        save(path, "newer")
    else:
        with pytest.raises(PermissionError):
            save(path, "newer")
    assert (attempts, [*tmp_path.iterdir()]) == (["b.txt"] * 4, [path])
    assert path.read_text() == ("newer" if n_refused == 3 else "older")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such permissions")
@pytest.mark.parametrize("save", [write, publish])
def test_a_file_has_the_permissions_of_the_one_that_it_replaces(tmp_path, save):
    path = tmp_path / "a.txt"
    for text in ("older", "newer"):
        save(path, text)
        assert text == "older" or path.stat().st_mode & 0o777 == 0o704
        path.chmod(0o704)


def test_a_folder_that_cannot_be_written_to_is_an_error_before_any_work(tmp_path, monkeypatch, capsys):
    """A read-only disk refuses every draft, also to root."""
    check_folder(tmp_path / "a.png", "out")
    assert not list(tmp_path.iterdir())
    model = fastnn.Model([2, 3, 2], random_state=0)

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def work(*arguments, **options):
        raise AssertionError("the work must not begin")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    monkeypatch.setattr(fastnn.Model, "train", work)
    monkeypatch.setattr(fastnn.Model, "predict", work)
    message = f"the folder {tmp_path} cannot be written to (Read-only file system): choose another"
    for name in ("a.png", "a.dzi"):
        with pytest.raises(ValueError, match=f"^out: {re.escape(message)}$"):
            fastnn.render_boundary(model, (0, 1), (0, 1), 8, out=tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["moons"]) == 1
    assert capsys.readouterr() == ("", f"fastnn: --out: {message}\n")
    assert not list(tmp_path.iterdir())
