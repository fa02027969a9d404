"""Drafts, the unfinished files of processes: a process that is killed loses neither older nor new files."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fastnn.system import files
from fastnn.system.files import Draft, written_whole

# Kill a process before the k-th move of a file, or after all moves, while the draft is removed.
IS_KILLED_PUBLISHING = """
import os, shutil, signal, sys
from pathlib import Path
from fastnn.system.files import Draft

folder, moves = Path(sys.argv[1]), int(sys.argv[2])
replace = os.replace

def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def move(source, goal):
    global moves
    moves -= 1
    if moves < 0:
        killed()
    replace(source, goal)

draft = Draft(folder / "a.txt", folder / "b.txt")
for path in draft.paths:
    draft.name(path).write_text("new")
os.replace, shutil.rmtree = move, killed
draft.publish()
"""

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL")


def started(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def write(folder, name="b.txt"):
    with written_whole(folder / name) as path:
        path.write_text("b")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_drafts_of_this_process_stay(tmp_path):
    draft = Draft(tmp_path / "a.txt")
    draft.name(tmp_path / "a.txt").write_text("a")
    write(tmp_path)
    draft.publish()
    assert names(tmp_path) == ["a.txt", "b.txt"]


@posix
@pytest.mark.parametrize("moves", range(5))
def test_a_process_that_is_killed_loses_no_file(tmp_path, moves):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"older {name}")
    process = started(IS_KILLED_PUBLISHING, tmp_path, moves)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    write(tmp_path, "c.txt")
    texts = sorted(path.read_text() for path in tmp_path.rglob("*.txt"))
    assert texts == ["b", "new", "new", "older a.txt", "older b.txt"]


@pytest.fixture
def busy(monkeypatch):
    """Let a file be open in other programs for the first attempts to replace it, as on Windows."""
    attempts, replace = [], os.replace

    def refuse(source, goal):
        attempts.append(goal.name)
        if len(attempts) <= busy.n_refused:
            raise PermissionError(13, "The process cannot access the file")
        replace(source, goal)

    def busy(n_refused):
        busy.n_refused = n_refused
        return attempts

    monkeypatch.setattr(files, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(files.os, "replace", refuse)
    return busy


def test_a_file_that_is_open_for_a_moment_is_replaced(tmp_path, busy):
    (tmp_path / "b.txt").write_text("older")
    attempts = busy(3)
    write(tmp_path)
    assert attempts == ["b.txt"] * 4
    assert (tmp_path / "b.txt").read_text() == "b"
    draft = Draft(tmp_path / "b.txt")
    draft.name(tmp_path / "b.txt").write_text("c")
    attempts.clear()
    draft.publish()
    assert attempts == ["b.txt"] * 4
    assert names(tmp_path) == ["b.txt"]


def test_a_file_that_stays_open_stays_whole(tmp_path, busy):
    (tmp_path / "b.txt").write_text("older")
    attempts = busy(100)
    with pytest.raises(PermissionError):
        write(tmp_path)
    assert attempts == ["b.txt"] * 4
    assert names(tmp_path) == ["b.txt"]
    assert (tmp_path / "b.txt").read_text() == "older"


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses for a moment")
def test_other_systems_refuse_at_once():
    assert not files.PAUSES
