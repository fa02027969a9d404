"""The playground's server: a socket on 127.0.0.1, a thread that serves it, and `playground`."""

from __future__ import annotations

import secrets
import socket
import threading
import webbrowser
from typing import Any

import uvicorn

from .app import make_app
from .table import checked_table

__all__ = ["Playground", "playground"]

HOST = "127.0.0.1"


class Playground:
    """A running playground.

    Parameters
    ----------
    application : callable
        Function that returns the ASGI application, given the accepted hosts.
    port : int
        Port to serve, 0 for any that is free.
    token : str
        Secret that the page's address holds.

    Attributes
    ----------
    address : str
        Address of the page.
    """

    def __init__(self, table: Any, state: dict[str, Any], port: int, token: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError as error:
            self._socket.close()
            raise OSError(
                f"port {port} cannot be used ({error.strerror}): choose another, or 0 for any"
            ) from None
        self._socket.listen(128)
        self.port = self._socket.getsockname()[1]
        self.address = f"http://{HOST}:{self.port}/?token={token}"
        hosts = {f"{HOST}:{self.port}", f"localhost:{self.port}"}
        config = uvicorn.Config(
            make_app(token, table, state, lambda: hosts), log_level="warning", access_log=False, ws="websockets-sansio",
            ws_max_size=1 << 21, ws_per_message_deflate=False, timeout_graceful_shutdown=1, lifespan="off",
            server_header=False,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="fastnn playground", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """Serve until `close` is called."""
        self._server.run(sockets=[self._socket])

    def wait(self) -> None:
        """Wait until the server ends."""
        self._thread.join()

    def close(self) -> None:
        """End the server and all its trainings."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Playground:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Playground({self.address!r})"


def playground(
    X: Any = None,
    y: Any = None,
    *,
    target: str | None = None,
    port: int = 0,
    browser: bool = True,
    block: bool = True,
    token: str | None = None,
) -> Playground | None:
    """Open a page in the browser on which a network is changed while it learns."""
    table = None if X is None else checked_table(X, y, target)
    state = {} if table is None else {"dataset": "table"}
    running = Playground(table, state, port, token or secrets.token_urlsafe(24))
    if browser:
        webbrowser.open(running.address)
    if not block:
        return running
    print(running.address, flush=True)
    try:
        running.wait()
    except KeyboardInterrupt:
        print()
    finally:
        running.close()
    return None
