"""The token of a user's playgrounds: it stays the same, and one that others may know is not trusted."""

import os
import stat

import pytest

from fastnn.play.token import keep_token

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files have no permissions of others")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Return the path of the token's file in a new folder for the state of programs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "fastnn" / "playground-token"


def test_the_token_stays_the_same_and_is_the_users_alone(path):
    before = os.umask(0)
    try:
        token = keep_token()
    finally:
        os.umask(before)
    assert len(token) == 32
    assert path.read_text() == token == keep_token()
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
    assert os.listdir(path.parent) == [path.name]


# What makes a token untrustworthy: permissions or content of its file, or another owner; and the warning.
UNTRUSTED = [
    *((mode, f"open to other users .mode {mode:o}.: a new token replaces it") for mode in (0o640, 0o602)),
    *((text, "holds no token") for text in ("", "x" * 31, "x" * 33, "x" * 31 + "\n", "ä" * 32, "x" * 10_000)),
    (None, "belongs to user"),
]


@pytest.mark.parametrize(("change", "message"), UNTRUSTED)
def test_a_token_that_others_may_know_is_replaced(change, message, path, monkeypatch):
    token, user = keep_token(), os.geteuid()
    if isinstance(change, int):
        path.chmod(change)
    elif isinstance(change, str):
        path.write_text(change)
    else:
        owners = iter([user + 1, user])
        monkeypatch.setattr(os, "geteuid", lambda: next(owners, user))
    with pytest.warns(UserWarning, match=message):
        new = keep_token()
    assert len(new) == 32
    assert new != token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keep_token() == new


def test_where_no_file_can_be_kept_every_token_is_new(path, monkeypatch):
    path.parent.write_text("mine")
    with pytest.warns(UserWarning, match="changes with every start"):
        assert len(keep_token()) == 32
    assert path.parent.read_text() == "mine"
    monkeypatch.setattr("platformdirs.user_state_dir", lambda *_, **__: "~/.local/state/fastnn")
    with pytest.warns(UserWarning, match="home directory"):
        assert keep_token() != keep_token()
