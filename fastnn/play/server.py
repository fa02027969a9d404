"""The playground's server: a socket on 127.0.0.1, a thread that serves it, and `playground`."""

from __future__ import annotations

import html
import socket
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..system.extras import import_extra
from ..system.messages import format_range
from ..system.validation import check_count, check_flag, short_repr
from .learning_problem import draw_samples
from .session import warm_up
from .settings import MAX_MESSAGE_BYTES, Settings
from .table import PlayTable, make_table
from .token import derive_token, keep_token

HOST = "127.0.0.1"
MAX_PORT = 65535
# Ports of playgrounds that name none, of which the first that is free is taken.
USUAL_PORTS = range(8800, 8900)
# Port of addresses that name none.
HTTP_PORT = 80
# Longest time that a Ctrl-C may go unnoticed.
WAKE_SECONDS = 0.1
# File that leads a browser to the page.
REDIRECT = """<!doctype html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={0}">
<title>fastnn playground</title>
<p>This page leads to <a href="{0}">the playground</a>.</p>
"""


def list_hosts(port: int) -> set[str]:
    """Return the values of the header Host of requests to a port; browsers leave HTTP's own port out."""
    names = {HOST, "localhost"}
    return {f"{name}:{port}" for name in names} | (names if port == HTTP_PORT else set())


class Playground:
    """A running playground: a server on 127.0.0.1 in a thread.

    `playground` with ``block=False`` returns it. It may be used as a context, which closes it at its end.

    Attributes
    ----------
    address : str
        Address of the page.
    port : int
        Port of the server.
    """

    def __init__(self, table: PlayTable | None, port: int | None, token: str | None) -> None:
        for package in ("platformdirs", "starlette", "uvicorn", "websockets"):
            import_extra(package, "playground", "the playground")
        import uvicorn

        from .app import make_app

        settings = Settings.of_state({} if table is None else table.state)
        draw_samples(settings, table)
        self._socket = _listen(port)
        self.port = self._socket.getsockname()[1]
        token = token or derive_token(keep_token(), self.port)
        self.address = f"http://{HOST}:{self.port}/?token={quote(token, safe='')}"
        self._redirect: Path | None = None
        config = uvicorn.Config(
            make_app(token, table, list_hosts(self.port)),
            # Other servers of uvicorn in this process keep the handlers of their logs.
            log_config=None,
            log_level="warning",
            access_log=False,
            # No proxy is in front, so a request may not choose the address that it seems to come from.
            proxy_headers=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
            ws="websockets-sansio",
            # A page that is stopped or busy for a while answers no pings, and must not lose its training. The
            # end of its process closes the connection, since both are on this machine.
            ws_ping_interval=None,
            ws_max_size=MAX_MESSAGE_BYTES,
            # Frames are pixels of pictures that change, so compressing them takes longer than sending them.
            ws_per_message_deflate=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, name="fastnn playground", kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()
        warming = threading.Thread(target=warm_up, args=(settings, table), name="fastnn warm-up", daemon=True)
        warming.start()

    def _open_browser(self) -> None:
        """Open the page in the default browser, by a file that leads to its address.

        Other users can read the command line of a browser, which must not have the token, but not the file.
        """
        number, name = tempfile.mkstemp(".html", "fastnn-playground-")
        self._redirect = Path(name)
        with open(number, "w", encoding="utf-8") as file:
            file.write(REDIRECT.format(html.escape(self.address)))
        webbrowser.open(self._redirect.as_uri())

    def wait(self) -> None:
        # The system may deliver SIGINT to another thread of the process. Python's handler runs in this one
        # alone, which a join without a timeout would not leave for it.
        while self._thread.is_alive():
            self._thread.join(WAKE_SECONDS)

    def close(self) -> None:
        """End the server and all its training runs."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        if self._redirect is not None:
            self._redirect.unlink(missing_ok=True)

    def __enter__(self) -> Playground:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Playground(port={self.port})"  # a notebook shows and stores it: the address is a secret


def _listen(port: int | None) -> socket.socket:
    """Return a socket that listens on a port; None is the first of `USUAL_PORTS` that is free."""
    # Windows gives a port that is in use to sockets that reuse addresses, and has an option against it. Other
    # systems would refuse the port of a server that has just ended.
    option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
    for number in USUAL_PORTS if port is None else (port,):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            listening.bind((HOST, number))
            listening.listen(128)
        except OSError as error:
            listening.close()
            reason = error.strerror
        else:
            return listening
    ports = f"ports {format_range(USUAL_PORTS)}" if port is None else f"port {port}"
    raise OSError(f"{ports} cannot be used ({reason}): choose another, or 0 for any")


def playground(
    X: Any = None,
    y: Any = None,
    *,
    target: str | None = None,
    port: int | None = None,
    browser: bool = True,
    block: bool = True,
    token: str | None = None,
    settings: str | None = None,
) -> Playground | None:
    """Open a page in the browser on which a network is changed while it learns.

    Data set, layers and every other setting of a training are chosen on the page. It shows the decision
    boundary, every hidden unit's picture, the weights and the curves while the kernels train. A run can be
    copied as a Python script that repeats it, bit for bit, and saved as a model, a picture or an animation.

    Parameters
    ----------
    X : dataframe or array-like (n, n_columns), optional
        Own data: at least two columns of numbers, two of which the page shows at a time, and at most 5,000
        rows. By default the page's own data sets alone.
    y : array-like (n,), optional
        Targets of the rows: classes as text, booleans or at most ten integers; or the numbers of a
        regression.
    target : str, optional
        Name of the target; by default the name of y, or "y".
    port : int, optional
        Port of the server; by default 8800, or the next one that is free. 0 is any that is free.
    browser : bool, default True
        Open the page in the default browser.
    block : bool, default True
        Print the address and serve until Ctrl-C. False returns at once.
    token : str, optional
        Secret that the address of the page holds; by default the user's, which is the same at every start.
    settings : str, optional
        Settings to begin with, as the page's address has them after ``#``, such as "dataset=xor&layers=4".

    Returns
    -------
    Playground or None
        The running playground if `block` is False: its `address` leads to the page, and `close` ends it.

    Raises
    ------
    ValueError
        If X holds fewer than two columns of numbers or too many rows, or y does not fit it.
    ImportError
        If the extra ``playground`` is not installed; the message says how to install it.
    OSError
        If the port cannot be used.

    Notes
    -----
    The server listens on 127.0.0.1 alone, and answers only the page whose address holds the token: requests
    that name another host, and pages of other origins, are refused. A page that is closed ends its training.

    The user's token is kept in a file that only the user can read, ``playground-token`` in the folder of
    fastnn for the state of programs (``~/.local/state/fastnn`` on Linux). The token of each port is derived
    from it, so an address opens later playgrounds on the same port too. If the file is removed, the next
    start creates a new token.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> with fastnn.playground(X, y, browser=False, block=False) as running:
    ...     running.address.startswith("http://127.0.0.1:")
    True
    """
    if (X is None) != (y is None):
        raise ValueError("X and y go together: pass both, or none for the page's own data sets")
    if port is not None and check_count(port, "port") > MAX_PORT:
        raise ValueError(f"port must be at most {MAX_PORT}, got {port}")
    browser, block = check_flag(browser, "browser"), check_flag(block, "block")
    table = None if X is None else make_table(X, y, target)
    for name, value in (("token", token), ("settings", settings)):
        if not (value is None or isinstance(value, str)):
            raise ValueError(f"{name} must be a str or None, got {short_repr(value)}")
    running = Playground(table, port, token)
    if settings is not None:
        running.address += f"#{quote(settings.removeprefix('#'), safe='=&,;.-')}"
    if not block:
        if browser:
            running._open_browser()
        return running
    try:
        # The address comes first, because a browser in the terminal returns only when the user leaves it.
        print(running.address, flush=True)
        if browser:
            running._open_browser()
        running.wait()
    except KeyboardInterrupt:
        print("the playground has ended", flush=True)
    finally:
        running.close()
    return None
