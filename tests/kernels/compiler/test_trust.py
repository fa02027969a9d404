"""Folders and files of the cache that others can change: they are ignored, and a warning names the remedy."""

import os
import stat
from types import SimpleNamespace

import pytest
from kernel_packages import told_while_compiled

from fastnn_kernels.compiler import cache, jit

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")

NAME, PAYLOAD, SOMEBODY = "kernel.0123.nbc", b"code", 12345
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(autouse=True)
def refusal(monkeypatch):
    """Begin every test like a process that has not warned yet."""
    refusal = cache._Refusal()
    for module in (cache, jit):
        monkeypatch.setattr(module, "refusal", refusal)
    return refusal


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of a cache with one entry."""
    monkeypatch.setattr(cache, "cache_setting", lambda: str(tmp_path))
    cache.write_entry(NAME, PAYLOAD)
    return tmp_path / "fastnn_kernels"


def is_read(folder):
    """Return True if the entry is read; what looks for entries must agree with what reads them."""
    found = [*cache.read_entries(NAME)] == [PAYLOAD]
    assert found or not cache.refusal.reason or str(folder) in cache.refusal.reason
    return found


def owned(uid, gid, mode):
    return SimpleNamespace(st_uid=uid, st_gid=gid, st_mode=stat.S_IFDIR | mode)


# User 1000 with the private group 1000 runs a package of root; 50 is another group, 0 is root's.
@pytest.mark.parametrize(
    ("state", "others"),
    [
        (owned(1000, 50, 0o755), None),
        (owned(0, 0, 0o755), None),
        (owned(0, 0, 0o775), None),  # containers that run as any user
        (owned(1000, 1000, 0o775), None),  # the umask 002 of a user with a private group
        (owned(1000, 50, 0o775), "group 50"),
        (owned(1000, 1000, 0o777), "every user"),
        (owned(0, 0, 0o1777), "every user"),
        (owned(SOMEBODY, 50, 0o700), f"user {SOMEBODY}"),
        (owned(SOMEBODY, 50, 0o777), f"every user and group 50 and user {SOMEBODY}"),
    ],
)
def test_others_are_all_but_root_and_this_user(monkeypatch, state, others):
    package = SimpleNamespace(stat=lambda: owned(0, 0, 0o755))
    monkeypatch.setattr(cache, "PACKAGE", package)
    monkeypatch.setattr(cache.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(cache, "_is_private", lambda gid, uid: gid == uid == 1000)
    if others is None:
        cache._check_writers(state)
    else:
        with pytest.raises(cache.DistrustError, match=f"^{others} can change it .* run as user 1000"):
            cache._check_writers(state)
    package.stat = lambda: state  # who can change the sources may change the entries
    cache._check_writers(state)


def test_a_private_group_has_the_users_name_and_no_other_member(monkeypatch):
    def is_private(user, group, members):
        monkeypatch.setattr(cache.pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name=user, pw_gid=1000))
        monkeypatch.setattr(cache.grp, "getgrgid", lambda g: SimpleNamespace(gr_name=group, gr_mem=members))
        return cache._is_private.__wrapped__(1000, 1000)

    assert is_private("ann", "ann", [])
    assert is_private("ann", "ann", ["ann"])
    assert not is_private("ann", "ann", ["ann", "bob"])
    assert not is_private("ann", "staff", [])
    monkeypatch.undo()
    assert not cache._is_private.__wrapped__(2**31 - 5, 2**31 - 5)  # neither has a name


def test_a_folder_that_everybody_can_write_to_is_ignored(folder):
    assert is_read(folder)
    folder.chmod(0o777)
    assert not is_read(folder)
    assert cache.entry_files() == {}
    with cache.claimed(NAME):
        assert len(list(folder.iterdir())) == 1
    for use in (cache.usable_folder, lambda: cache.write_entry(NAME, PAYLOAD)):
        with pytest.raises(OSError, match=rf"{folder}: every user .*mode 777.* Set .* NUMBA_CACHE_DIR to a"):
            use()
    folder.chmod(0o755)
    assert is_read(folder)


def test_a_link_to_a_folder_is_judged_by_the_folder(folder, tmp_path):
    goal = tmp_path / "goal"
    folder.rename(goal)
    folder.symlink_to(goal)
    assert is_read(folder)
    goal.chmod(0o777)
    assert not is_read(folder)


def test_the_next_folder_is_used(folder, tmp_path, monkeypatch):
    other = tmp_path / "other"
    monkeypatch.setattr(cache, "cache_folders", lambda: iter([folder, other]))
    folder.chmod(0o777)
    cache.write_entry(NAME, PAYLOAD)
    assert [path.parent for path in cache.entry_files()] == [other]
    assert is_read(other)
    assert cache.usable_folder() == other


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_what_is_written_is_read_whatever_the_umask(tmp_path, monkeypatch, umask):
    monkeypatch.setattr(cache, "cache_setting", lambda: str(tmp_path))
    before = os.umask(umask)
    try:
        with cache.claimed(NAME):
            cache.write_entry(NAME, PAYLOAD)
    finally:
        os.umask(before)
    assert is_read(tmp_path)


def test_a_file_that_everybody_can_write_to_is_ignored_and_replaced(folder):
    (entry,) = cache.entry_files()
    entry.chmod(0o666)
    assert not is_read(folder)
    assert f"{entry}: every user" in cache.refusal.reason
    assert "Remove the file. Set the environment variable NUMBA_CACHE_DIR" in cache.refusal.reason
    cache.write_entry(NAME, PAYLOAD)
    assert is_read(folder)


@as_root
def test_folders_files_and_the_goals_of_links_of_another_user_are_ignored(folder, tmp_path):
    (entry,) = cache.entry_files()
    os.chown(folder, SOMEBODY, -1)
    assert not is_read(folder)
    with pytest.raises(OSError, match=rf"{folder}: user {SOMEBODY} can change it .*mode 755.* as user 0"):
        cache.usable_folder()
    os.chown(folder, 0, -1)
    assert is_read(folder)
    goal = tmp_path / "goal"
    entry.rename(goal)
    entry.symlink_to(goal)
    assert is_read(folder)
    os.chown(goal, SOMEBODY, -1)
    assert not is_read(folder)
    assert f"{entry}: user {SOMEBODY} can change it" in cache.refusal.reason


def test_a_process_warns_once(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_setting", lambda: str(tmp_path))
    (tmp_path / "fastnn_kernels").mkdir()
    (tmp_path / "fastnn_kernels").chmod(0o777)
    kernels = [told_while_compiled(lambda: None) for _ in range(2)]
    with pytest.warns(RuntimeWarning, match=r"kept or loaded, .* every user .* NUMBA_CACHE_DIR") as caught:
        assert [kernel(1.5) for kernel in kernels] == [2.5, 2.5]
    assert [warning.filename for warning in caught] == [__file__]
