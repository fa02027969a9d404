"""The token of a user's playgrounds: the same at every start, kept in a file that only the user can read.

Each port has a token of its own, derived from it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import stat
from pathlib import Path

from ..system.files import atomic_path
from ..system.messages import warn

FILE_NAME = "playground-token"
# Permissions of all users but the owner.
OTHERS = stat.S_IRWXG | stat.S_IRWXO
_TOKEN = re.compile(r"[\w-]{32}", re.ASCII)


class TokenError(PermissionError):
    """Others may know a token."""


def derive_token(token: str, port: int) -> str:
    """Return the token of one port, derived from the user's token.

    A program of another user that holds the port is given the token by the user's bookmark: it must not open
    playgrounds on other ports.
    """
    digest = hashlib.blake2b(str(port).encode(), key=token.encode(), digest_size=24).digest()
    return base64.urlsafe_b64encode(digest).decode()


def keep_token() -> str:
    """Return the token of this user, which the first call creates.

    Whoever knows the token can use the user's playgrounds: one that others may know is replaced, with a
    warning. Where none can be kept, every call returns a new one, with a warning.
    """
    import platformdirs

    try:
        path = Path(platformdirs.user_state_dir("fastnn", appauthor=False)) / FILE_NAME
        if not path.is_absolute():  # from old versions of platformdirs, which raise no error
            raise RuntimeError("there is no home directory")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return _read(path)
        except FileNotFoundError:
            pass
        except TokenError as error:
            warn(f"{error}: a new token replaces it, and addresses with the old one no longer work")
            path.unlink()  # a file that replaces another has the same permissions
        with atomic_path(path) as draft:
            number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(number, "w", encoding="utf-8") as file:
                file.write(secrets.token_urlsafe(24))
        return _read(path)
    except (OSError, RuntimeError) as error:
        warn(f"the playground's token cannot be kept, so that its address changes with every start: {error}")
        return secrets.token_urlsafe(24)


def _read(path: Path) -> str:
    """Return the token in a file; raise `TokenError` if others may know it, or the file holds none."""
    with path.open(encoding="utf-8", errors="replace") as file:
        state = os.fstat(file.fileno())  # of the opened file, to which a link may have led
        token = file.read(100)
    if os.name == "posix" and state.st_uid != os.geteuid():
        raise TokenError(f"{path} belongs to user {state.st_uid}")
    if os.name == "posix" and state.st_mode & OTHERS:
        raise TokenError(f"{path} is open to other users (mode {stat.S_IMODE(state.st_mode):03o})")
    if not _TOKEN.fullmatch(token):
        raise TokenError(f"{path} holds no token")
    return token
