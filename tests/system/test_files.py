"""Drafts, the unfinished files of processes: a later write to the folder removes those of ended processes."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

import fastnn
from fastnn.system import files
from fastnn.system.files import Draft, written_whole

RENDERS = """
import sys, time
import fastnn

def predict(points):
    print("painting", flush=True)
    time.sleep(600)

fastnn.render_boundary(predict, (0, 1), (0, 1), 100, classes=[0, 1], out=sys.argv[1])
"""

DRAFTS = """
import sys, time
from pathlib import Path
from fastnn.system.files import written_whole

with written_whole(Path(sys.argv[1]) / "a.txt") as draft:
    draft.touch()
    print("drafting", flush=True)
    time.sleep(600)
"""

ENDS = """
import os
from fastnn.system import files

print(files._prefix(os.getpid()))
"""

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

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL and no zombie processes")


def started(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.fixture
def ended_prefix():
    """Return the prefix of the names of drafts of a process that has ended."""
    process = started(ENDS)
    printed, _ = process.communicate()
    assert process.returncode == 0
    return printed.strip()


@pytest.fixture
def rendering(tmp_path):
    """Yield a process that is rendering a picture."""
    process = started(RENDERS, tmp_path / "killed.png")
    assert process.stdout.readline() == "painting\n"
    yield process
    process.kill()
    process.communicate()


def write(folder, name="b.txt"):
    with written_whole(folder / name) as path:
        path.write_text("b")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def abandoned(folder, prefix):
    """Make a draft with half a file in it, and return the draft."""
    draft = folder / f"{prefix}abc123"
    draft.mkdir()
    (draft / "a.png").write_text("half")
    return draft


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_the_draft_of_a_killed_process_is_removed_by_the_next_write(tmp_path, rendering, end):
    (left,) = names(tmp_path)
    write(tmp_path)
    assert names(tmp_path) == [left, "b.txt"], "a running process keeps its draft"
    getattr(rendering, end)()
    rendering.wait()
    assert names(tmp_path) == [left, "b.txt"]
    fastnn.render_boundary(
        lambda P: P[:, 0] > 0.5, (0, 1), (0, 1), 10, classes=[0, 1], out=tmp_path / "a.png"
    )
    assert names(tmp_path) == ["a.png", "b.txt"]


@posix
def test_a_zombie_process_counts_as_ended(tmp_path):
    process = started(DRAFTS, tmp_path)
    assert process.stdout.readline() == "drafting\n"
    assert len(names(tmp_path)) == 1
    process.kill()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    write(tmp_path)
    process.communicate()
    assert names(tmp_path) == ["b.txt"]


def test_drafts_of_this_process_stay(tmp_path):
    draft = Draft(tmp_path / "a.txt")
    draft.name(tmp_path / "a.txt").write_text("a")
    write(tmp_path)
    draft.publish()
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_a_reused_process_id_is_another_process(tmp_path):
    process, start, _ = files._prefix(os.getpid()).rsplit("-", 2)
    other = abandoned(tmp_path, f"{process}-{int(start) - 10}-")
    same = abandoned(tmp_path, f"{process}-{int(start) - 1}-")  # rounding changes a start by 1 at most
    write(tmp_path)
    assert not other.exists()
    assert same.exists()


def test_drafts_of_other_hosts_and_of_unknown_owners_stay(tmp_path, ended_prefix):
    _, host, pid, start, _ = ended_prefix.split("-")
    other = "0" * 12 if host != "0" * 12 else "1" * 12
    kept = [
        abandoned(tmp_path, prefix)
        for prefix in (f".fastnn-{other}-{pid}-{start}-", ".fastnn-", f".fastnn-{host}-{pid}-", "fastnn-")
    ]
    before = names(tmp_path)
    write(tmp_path)
    assert names(tmp_path) == sorted([*before, "b.txt"])
    assert all((draft / "a.png").exists() for draft in kept)
    gone = abandoned(tmp_path, ended_prefix)
    write(tmp_path)
    assert not gone.exists()


def test_hosts_with_different_names_are_different(monkeypatch):
    here = files._host()
    files._host.cache_clear()
    assert files._host() == here
    monkeypatch.setattr(files.platform, "node", lambda: "elsewhere")
    files._host.cache_clear()
    try:
        assert files._host() != here
    finally:
        files._host.cache_clear()


@posix
@pytest.mark.parametrize("moves", range(5))
def test_a_draft_that_holds_older_files_is_not_removed(tmp_path, moves):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"older {name}")
    process = started(IS_KILLED_PUBLISHING, tmp_path, moves)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    write(tmp_path, "c.txt")
    texts = sorted(path.read_text() for path in tmp_path.rglob("*.txt"))
    if moves == 0:
        assert texts == ["b", "older a.txt", "older b.txt"]
    elif moves == 4:
        assert texts == ["b", "new", "new"]
    else:
        assert texts == ["b", "new", "new", "older a.txt", "older b.txt"]
    has_draft = any(name.startswith(".fastnn-") for name in names(tmp_path))
    assert has_draft == (0 < moves < 4)


def test_files_are_written_to_folders_that_cannot_be_listed(tmp_path, ended_prefix, monkeypatch):
    left = abandoned(tmp_path, ended_prefix)
    listdir = os.listdir

    def refused(path):
        if Path(path) in (tmp_path, left):
            raise PermissionError(path)
        return listdir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refused)
        write(tmp_path)
    assert names(tmp_path) == [left.name, "b.txt"]


def test_drafts_that_cannot_be_removed_stay(tmp_path, ended_prefix, monkeypatch):
    left = abandoned(tmp_path, ended_prefix)

    def refused(path, *_, **__):
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refused)
        write(tmp_path)
    assert left.exists()
    write(tmp_path)
    assert names(tmp_path) == ["b.txt"]


def test_drafts_without_a_known_owner_can_be_published_and_stay(tmp_path, ended_prefix, monkeypatch):
    left = abandoned(tmp_path, ended_prefix)

    def refused(*_):
        raise psutil.AccessDenied

    files._prefix.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(files.psutil, "Process", refused)
        draft = Draft(tmp_path / "a.txt")
    files._prefix.cache_clear()
    assert left.exists()
    assert files.OWNED.fullmatch(draft.folder.name) is None
    write(tmp_path)
    assert names(tmp_path) == [draft.folder.name, "b.txt"]
    draft.discard()


def test_several_threads_may_remove_drafts_at_once(tmp_path, ended_prefix):
    for k in range(20):
        abandoned(tmp_path, f"{ended_prefix}{k}")
    threads = [threading.Thread(target=write, args=(tmp_path, f"{k}.txt")) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == [f"{k}.txt" for k in range(8)]


def test_large_folders_are_not_listed_at_every_write(tmp_path, ended_prefix, monkeypatch):
    monkeypatch.setattr(files, "ENTRIES_A_DRAFT", 3)
    for k in range(11):
        (tmp_path / f"{k}.txt").touch()
    write(tmp_path, "0.txt")
    left = abandoned(tmp_path, ended_prefix)
    for _ in range(3):
        write(tmp_path, "0.txt")
        assert left.exists()
    write(tmp_path, "0.txt")
    assert not left.exists()
