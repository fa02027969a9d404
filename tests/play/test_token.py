"""The token of a user's playgrounds: it stays the same, and one that others may know is not trusted."""

import os
import stat

import pytest

from fastnn.play.token import keep_token

needs_permissions = pytest.mark.skipif(os.name != "posix", reason="files have no permissions of others")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Return the path of the token's file in a new folder for the state of programs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "fastnn" / "playground-token"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@needs_permissions
def test_the_token_stays_the_same_and_is_the_users_alone(path):
    before = os.umask(0)
    try:
        token = keep_token()
    finally:
        os.umask(before)
    assert len(token) == 32
    assert path.read_text() == token
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert keep_token() == token
    assert os.listdir(path.parent) == [path.name]


@needs_permissions
@pytest.mark.parametrize("permissions", [0o640, 0o602])
def test_a_token_that_others_may_know_is_replaced(path, permissions):
    token = keep_token()
    path.chmod(permissions)
    with pytest.warns(
        UserWarning, match=f"open to other users .mode {permissions:o}.: a new token replaces it"
    ):
        new = keep_token()
    assert new != token
    assert mode(path) == 0o600
    assert keep_token() == new


@pytest.mark.parametrize("content", ["", "x" * 31, "x" * 33, "x" * 31 + "\n", "ä" * 32, "x" * 10_000])
def test_a_file_that_holds_no_token_is_replaced(path, content):
    keep_token()
    path.write_text(content)
    with pytest.warns(UserWarning, match="holds no token"):
        token = keep_token()
    assert len(token) == 32
    assert keep_token() == token


@needs_permissions
def test_a_token_of_another_user_is_not_trusted(path, monkeypatch):
    token = keep_token()
    user = os.geteuid()
    owners = iter([user + 1, user])
    monkeypatch.setattr(os, "geteuid", lambda: next(owners, user))
    with pytest.warns(UserWarning, match="belongs to user"):
        assert keep_token() != token


@needs_permissions
def test_a_disk_that_keeps_no_permissions_keeps_no_token(path, monkeypatch):
    monkeypatch.setattr("fastnn.play.token.OTHERS", stat.S_IRWXU)  # all files are open to others
    with pytest.warns(UserWarning, match="changes with every start"):
        tokens = [keep_token()]
    with pytest.warns(UserWarning, match="replaces it"), pytest.warns(UserWarning, match="every start"):
        tokens.append(keep_token())
    assert len({*tokens, path.read_text()}) == 3
    assert all(len(token) == 32 for token in tokens)


def test_without_a_home_directory_tokens_are_new(monkeypatch):
    def homeless(*_, **__):
        raise RuntimeError("Could not determine home directory.")

    for folder in (homeless, lambda *_, **__: "~/.local/state/fastnn"):
        monkeypatch.setattr("platformdirs.user_state_dir", folder)
        with pytest.warns(UserWarning, match="home directory"):
            assert keep_token() != keep_token()


def test_a_file_in_place_of_the_folder_is_left_alone(path):
    path.parent.write_text("mine")
    with pytest.warns(UserWarning, match="changes with every start"):
        assert len(keep_token()) == 32
    assert path.parent.read_text() == "mine"
