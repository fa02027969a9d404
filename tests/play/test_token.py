"""The token of a user's playgrounds: it stays the same, and one that others may know is not trusted."""

import os
import socket
import stat
import subprocess
import sys
import threading

import pytest

from fastnn.play.token import CONNECTIONS, is_another_users, kept_token

needs_permissions = pytest.mark.skipif(os.name != "posix", reason="files have no permissions of others")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Return the path of the token's file in a new folder for the state of programs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "fastnn" / "playground-token"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


CLIENT, SERVER = ("127.0.0.1", 0x9C40), ("127.0.0.1", 8800)
LOOPBACK = f"{int.from_bytes(bytes([127, 0, 0, 1]), sys.byteorder):08X}"
MAPPED = f"{'0' * 16}{int.from_bytes(bytes([0, 0, 255, 255]), sys.byteorder):08X}{LOOPBACK}"


@needs_permissions
@pytest.mark.parametrize("address", [LOOPBACK, MAPPED])
@pytest.mark.parametrize(("user", "is_other"), [(os.geteuid(), False), (0, False), (os.geteuid() + 1, True)])
def test_a_connection_of_another_user_is_known(address, user, is_other, tmp_path, monkeypatch):
    rows = (
        f"1: {address}:2260 {address}:9C40 01 0:0 00:0 0 {os.geteuid() + 7} 0 1",  # the server's end
        f"0: {address}:9C40 {address}:2260 01 0:0 00:0 0 {user} 0 1",
    )
    (tmp_path / "tcp").write_text("\n".join(["sl local rem st", *rows]))
    monkeypatch.setattr("fastnn.play.token.CONNECTIONS", (tmp_path / "none", tmp_path / "tcp"))
    assert is_another_users(CLIENT, SERVER) == is_other
    assert not is_another_users(("127.0.0.2", CLIENT[1]), SERVER)
    assert not is_another_users(None, SERVER)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_ones_own_connection_is_found_in_the_tables_of_linux(family, monkeypatch):
    if not all(table.exists() for table in CONNECTIONS):
        pytest.skip("the system has no such tables")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(family) as connection:
        host, port = server.getsockname()
        connection.connect(("::ffff:127.0.0.1" if family == socket.AF_INET6 else host, port))
        accepted, client = server.accept()
        with accepted:
            assert not is_another_users(client, (host, port))
            if os.geteuid():  # root is not another user
                monkeypatch.setattr("os.geteuid", lambda: 12345)
                assert is_another_users(client, (host, port))


@needs_permissions
def test_the_token_stays_the_same_and_is_the_users_alone(path):
    before = os.umask(0)
    try:
        token = kept_token()
    finally:
        os.umask(before)
    assert len(token) == 32
    assert path.read_text() == token
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert kept_token() == token
    assert os.listdir(path.parent) == [path.name]


def test_another_process_has_the_same_token(path):
    token = kept_token()
    code = "from fastnn.play.token import kept_token; print(kept_token())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == token


def test_processes_that_start_at_once_agree(path):
    tokens = []
    starts = threading.Barrier(8)

    def start():
        starts.wait()
        tokens.append(kept_token())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert set(tokens) == {path.read_text()}


def test_a_token_is_kept_on_a_disk_without_links(path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links")

    monkeypatch.setattr(os, "link", refuse)
    assert kept_token() == kept_token() == path.read_text()


@needs_permissions
@pytest.mark.parametrize("permissions", [0o640, 0o604, 0o620, 0o602])
def test_a_token_that_others_may_know_is_replaced(path, permissions):
    token = kept_token()
    path.chmod(permissions)
    with pytest.warns(
        UserWarning, match=f"open to other users .mode {permissions:o}.: a new token replaces it"
    ):
        new = kept_token()
    assert new != token
    assert mode(path) == 0o600
    assert kept_token() == new


@pytest.mark.parametrize(
    "content", ["", "short", "x" * 31, "x" * 33, "x" * 31 + "\n", "ä" * 32, "x" * 10_000]
)
def test_a_file_that_holds_no_token_is_replaced(path, content):
    kept_token()
    path.write_text(content)
    with pytest.warns(UserWarning, match="holds no token"):
        token = kept_token()
    assert len(token) == 32
    assert kept_token() == token


@needs_permissions
def test_a_token_of_another_user_is_not_trusted(path, monkeypatch):
    token = kept_token()
    user = os.geteuid()
    # The folder is this user's, and the file another's.
    owners = iter([user, user + 1, user])
    monkeypatch.setattr(os, "geteuid", lambda: next(owners, user))
    with pytest.warns(UserWarning, match="belongs to user"):
        assert kept_token() != token


@needs_permissions
def test_a_folder_of_another_user_is_not_trusted(path, monkeypatch):
    token = kept_token()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.warns(UserWarning, match="changes with every start"):
        assert len({kept_token(), kept_token(), token}) == 3
    assert path.read_text() == token


@needs_permissions
def test_a_folder_that_is_open_to_others_is_closed(path):
    path.parent.mkdir()
    path.parent.chmod(0o777)
    kept_token()
    assert mode(path.parent) == 0o700


@needs_permissions
def test_a_disk_that_keeps_no_permissions_keeps_no_token(path, monkeypatch):
    monkeypatch.setattr("fastnn.play.token.OTHERS", stat.S_IRWXU)  # all files are open to others
    with pytest.warns(UserWarning, match="changes with every start"):
        tokens = [kept_token()]
    with pytest.warns(UserWarning, match="replaces it"), pytest.warns(UserWarning, match="every start"):
        tokens.append(kept_token())
    assert len({*tokens}) == 2
    assert all(len(token) == 32 for token in tokens)


def test_without_a_home_directory_tokens_are_new(monkeypatch):
    def homeless(*_, **__):
        raise RuntimeError("Could not determine home directory.")

    for folder in (homeless, lambda *_, **__: "~/.local/state/fastnn"):
        monkeypatch.setattr("platformdirs.user_state_dir", folder)
        with pytest.warns(UserWarning, match="home directory"):
            assert kept_token() != kept_token()


def test_a_file_in_place_of_the_folder_is_left_alone(path):
    path.parent.write_text("mine")
    with pytest.warns(UserWarning, match="changes with every start"):
        assert len(kept_token()) == 32
    assert path.parent.read_text() == "mine"
