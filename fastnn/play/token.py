"""The token of a user's playgrounds: the same at every start, kept in a file that only the user can read.

Each port has a token of its own, derived from it, and tickets open the page once without a token.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import socket
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

import platformdirs

from ..system.messages import warn

__all__ = ["Tickets", "is_another_users", "kept_token", "new_token", "token_of_port"]

FILE_NAME = "playground-token"
# Permissions of all users but the owner.
OTHERS = stat.S_IRWXG | stat.S_IRWXO
# Time that a browser has to open the page.
TICKET_SECONDS = 30.0
# Linux's tables of connections, with their ends and owners.
CONNECTIONS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_TOKEN = re.compile(r"[\w-]{32}", re.ASCII)


class DistrustError(PermissionError):
    """A token that others may know, or a folder in which they could replace it."""


def new_token() -> str:
    """Return a new token."""
    return secrets.token_urlsafe(24)


def token_of_port(token: str, port: int) -> str:
    """Return the token of one port, derived from that of the user.

    A program of another user that holds the port is given the token by the user's bookmark: it must not open
    playgrounds on other ports.
    """
    digest = hashlib.blake2b(str(port).encode(), key=token.encode(), digest_size=24).digest()
    return base64.urlsafe_b64encode(digest).decode()


class Tickets:
    """Secrets that take the place of the token once, within `TICKET_SECONDS`.

    Other users can read the command line of a browser, which a ticket may be in, and a token may not.
    """

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def issue(self) -> str:
        """Return a new ticket."""
        ticket = new_token()
        self._ends[ticket] = time.monotonic() + TICKET_SECONDS
        return ticket

    def redeem(self, ticket: str) -> bool:
        """Return True if a ticket is valid, and make it invalid."""
        end = self._ends.pop(ticket, None)
        return end is not None and time.monotonic() < end


def is_another_users(client: tuple[str, int] | None, server: tuple[str, int] | None) -> bool:
    """Return True if a connection between addresses of this machine was made by another user.

    That user may have read the ticket, and be faster than the browser. False where the system does not tell
    who made it, and for root, who may pass connections on, as Windows does to its Linux.
    """
    if client is None or server is None:
        return False
    try:  # IPv4 addresses are the last eight digits of IPv6 ones, with their bytes in the machine's order
        own_end, other_end = (
            f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
            for host, port in (client, server)
        )
    except OSError:
        return False
    for table in CONNECTIONS:
        with suppress(OSError):
            for row in table.read_text().splitlines()[1:]:
                _, own, other, *_, user = row.split()[:8]
                if own.endswith(own_end) and other.endswith(other_end):
                    return int(user) not in (0, os.geteuid())
    return False


def kept_token() -> str:
    """Return the token of this user, which the first call creates.

    Whoever knows the token can use the user's playgrounds: one that others may know is replaced, with a
    warning. Where none can be kept, every call returns a new one, with a warning.
    """
    try:
        path = _folder() / FILE_NAME
        try:
            return _read(path)
        except FileNotFoundError:
            pass
        except DistrustError as error:
            path.unlink()
            warn(f"{error}: a new token replaces it, and addresses with the old one open no playground")
        _create(path)
        return _read(path)
    except (OSError, RuntimeError) as error:
        warn(f"the playground's token cannot be kept, so that its address changes with every start: {error}")
        return new_token()


def _folder() -> Path:
    """Return the folder for the state of the user's programs, which is closed to others.

    Raises
    ------
    OSError
        If the folder cannot be created, or belongs to another user.
    RuntimeError
        If the user has no home directory.
    """
    folder = Path(platformdirs.user_state_dir("fastnn", appauthor=False))
    if not folder.is_absolute():  # from old versions of platformdirs, which raise no error
        raise RuntimeError("there is no home directory")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    _check_owner(state, folder)
    if os.name == "posix" and state.st_mode & OTHERS:
        folder.chmod(0o700)
    return folder


def _check_owner(state: os.stat_result, path: Path) -> None:
    """Raise `DistrustError` if a file or folder is another user's."""
    if os.name == "posix" and state.st_uid != os.geteuid():
        raise DistrustError(f"{path} belongs to user {state.st_uid}")


def _read(path: Path) -> str:
    """Return the token in a file; raise `DistrustError` if others may know it, or the file holds none."""
    with path.open(encoding="utf-8", errors="replace") as file:
        state = os.fstat(file.fileno())  # of the opened file, to which a link may have led
        token = file.read(100)
    _check_owner(state, path)
    if os.name == "posix" and state.st_mode & OTHERS:
        raise DistrustError(f"{path} is open to other users (mode {stat.S_IMODE(state.st_mode):03o})")
    if not _TOKEN.fullmatch(token):
        raise DistrustError(f"{path} holds no token")
    return token


def _create(path: Path) -> None:
    """Write a new token to a file that does not exist.

    One that another process creates meanwhile stays, except on disks without links.
    """
    draft = path.with_name(f".fastnn-{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(new_token())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:  # the disk has no links
            os.replace(draft, path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
