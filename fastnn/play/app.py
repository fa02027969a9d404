"""The playground's web application: the page, its files, and a websocket for each page.

Only a page of this server may drive a training. A request must name the host 127.0.0.1 or localhost with the
server's port, since a foreign name may be made to point here (DNS rebinding). A websocket must come from a
page of that origin, and it and the page itself must bring the token. A ticket, which is good for one request
of the same user, leads to the address with the token.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..saving.container import parse_json
from .datasets import DATASETS, TABLES, DataSet
from .fields import RequestError
from .saves import Saves
from .script import script_of
from .session import Run, Session
from .settings import Settings, described_fields
from .table import PlayTable
from .thumbnails import thumbnail
from .token import Tickets, is_another_users

__all__ = ["MAX_MESSAGE_BYTES", "make_app", "page_path"]

STATIC = Path(__file__).parent / "static"
# Largest message of a page: settings with as many painted points as there may be. The server closes a
# connection on which a larger one comes, and the page may not learn why, so it must not send one.
MAX_MESSAGE_BYTES = 1 << 20
# Largest number of pages at a time: each has a training that uses a core.
MAX_PAGES = 16
# Largest number of messages that wait for a page. When it is reached, the server stops reading the page's
# messages: otherwise a page that sends and does not read would fill the memory.
MAX_WAITING = 100

logger = logging.getLogger("fastnn")
REFUSAL = "The playground answers only its own page: open the address that the terminal shows."
SPENT = "This address opens the page once, soon after the start: open the one that the terminal shows."


class GuardedApp:
    """Middleware that refuses foreign hosts and origins, and adds headers for security.

    Parameters
    ----------
    app : ASGI application
        Application behind it.
    hosts : set of str
        Accepted values of the header Host.
    """

    def __init__(self, app: ASGIApp, hosts: set[str]) -> None:
        self._app, self._hosts = app, hosts
        sources = " ".join(f"ws://{host}" for host in sorted(hosts))
        headers = {
            "content-security-policy": (
                f"default-src 'self'; connect-src 'self' {sources}; img-src 'self' data: blob:; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "no-store",
            "connection": "close",  # a connection has a single request, whose time `TimelyProtocol` limits
        }
        self._headers = {name.encode(): value.encode() for name, value in headers.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [entry for entry in message["headers"] if entry[0] not in self._headers]
                message = {**message, "headers": [*kept, *self._headers.items()]}
            await send(message)

        if self._is_own(HTTPConnection(scope)):
            await self._app(scope, receive, send_with_headers)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(1008)
        else:
            await PlainTextResponse(REFUSAL, 403)(scope, receive, send_with_headers)

    def _is_own(self, request: HTTPConnection) -> bool:
        """Return True if a request names this host, and comes from a page of this host or from none."""
        hosts, origin = self._hosts, request.headers.get("origin")
        if request.headers.get("host") not in hosts:
            return False
        if origin is None:
            return request.scope["type"] == "http"  # browsers send an origin with every websocket
        return origin in {f"http://{host}" for host in hosts}


def page_path(token: str) -> str:
    """Return the path of the page, with the token."""
    return f"/?token={quote(token, safe='')}"


def make_app(
    token: str, tickets: Tickets, table: PlayTable | None, state: dict[str, Any], hosts: set[str]
) -> ASGIApp:
    """Return the application.

    Parameters
    ----------
    token : str
        Secret that the page's address holds.
    tickets : Tickets
        Tickets that open the page once without the token.
    table : PlayTable or None
        The user's table.
    state : dict
        State of a page whose address holds none.
    hosts : set of str
        Accepted values of the header Host.
    """
    saves = Saves()
    n_pages = 0

    def is_authorised(connection: HTTPConnection) -> bool:
        given = connection.query_params.get("token", "")
        return secrets.compare_digest(given.encode(), token.encode())

    async def index(request: Request) -> Response:
        if not is_authorised(request):
            return PlainTextResponse(REFUSAL, 403)
        return FileResponse(STATIC / "index.html")

    async def open_page(request: Request) -> Response:
        if is_another_users(request.client, request.scope["server"]):
            return PlainTextResponse(REFUSAL, 403)
        if not tickets.redeem(request.path_params["ticket"]):
            return PlainTextResponse(SPENT, 403)
        return RedirectResponse(page_path(token), 303)

    async def download(request: Request) -> Response:
        if not is_authorised(request):
            return PlainTextResponse(REFUSAL, 403)
        saved = saves.get(request.path_params["number"])
        if saved is None:
            return PlainTextResponse("This file is no longer kept: save it again.", 404)
        disposition = f'attachment; filename="{saved.name}"'
        return Response(
            saved.content, media_type=saved.media_type, headers={"content-disposition": disposition}
        )

    async def training(socket: WebSocket) -> None:
        nonlocal n_pages
        if not is_authorised(socket):
            await socket.close(1008)
            return
        await socket.accept()
        if n_pages >= MAX_PAGES:
            text = f"{MAX_PAGES} pages train already: close one of them"
            await socket.send_text(json.dumps({"type": "problem", "field": None, "text": text}))
            await socket.close(1013)
            return
        n_pages += 1
        try:
            await Page(socket, table, saves, state).serve()
        finally:
            n_pages -= 1

    routes = [
        Route("/", index),
        Route("/open/{ticket}", open_page),
        Route("/download/{number}", download),
        WebSocketRoute("/training", training),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return GuardedApp(Starlette(routes=routes), hosts)


class Page:
    """The connection to one page.

    Parameters
    ----------
    socket : WebSocket
        Accepted websocket.
    table : PlayTable or None
        The user's table.
    saves : Saves
        Files that the page saves.
    state : dict
        State of a page whose address holds none.
    """

    def __init__(
        self, socket: WebSocket, table: PlayTable | None, saves: Saves, state: dict[str, Any]
    ) -> None:
        self._socket, self._table, self._saves, self._state = socket, table, saves, state
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[Any] = asyncio.Queue()
        self._has_room = asyncio.Event()  # fewer messages than MAX_WAITING wait
        self._has_room.set()
        self._session = Session(self._put_from_thread, table)
        self._tasks: Any = None
        self._is_saving = False

    async def serve(self) -> None:
        """Exchange messages until the page closes the connection, and end its training."""
        try:
            self._put(await run_in_threadpool(self._hello))
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._send)
                await self._receive()
                tasks.cancel_scope.cancel()
        finally:
            self._session.close()

    def _put_from_thread(self, message: Any) -> None:
        """Queue a message for the page, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._put, message)
        except RuntimeError:  # the server has ended
            self._session.close()

    def _put(self, message: Any) -> None:
        self._waiting.put_nowait(message)
        if self._waiting.qsize() >= MAX_WAITING:
            self._has_room.clear()

    async def _send(self) -> None:
        """Send the queued messages."""
        while True:
            message = await self._waiting.get()
            if self._waiting.qsize() < MAX_WAITING:
                self._has_room.set()
            try:
                if isinstance(message, bytes):
                    await self._socket.send_bytes(message)
                else:
                    await self._socket.send_text(json.dumps(message, allow_nan=False))
            except (WebSocketDisconnect, RuntimeError):  # the page has closed the connection
                self._tasks.cancel_scope.cancel()
                return

    async def _receive(self) -> None:
        """Act on the page's messages until it closes the connection."""
        while True:
            await self._has_room.wait()
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            await self._report_problems(self._act, received.get("text"))

    async def _report_problems(self, act: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Call a function; if it raises an exception, tell the page. The connection lives on."""
        try:
            await act(*arguments)
        except RequestError as problem:
            further = [{"field": each.name, "text": str(each)} for each in problem.further]
            self._put({"type": "problem", "field": problem.name, "text": str(problem), "further": further})
        except Exception as error:
            logger.exception("the playground failed to act on a message")
            text = f"the playground has failed: {type(error).__name__}: {error}"
            self._put({"type": "problem", "field": None, "text": text})

    async def _act(self, text: str | None) -> None:
        """Act on one message; `text` is None for a binary one."""
        if text is None:
            raise RequestError(None, "a message was not text")
        try:
            message = parse_json(text)
        except (ValueError, RecursionError):
            raise RequestError(None, "a message was not JSON") from None
        if not isinstance(message, dict):
            raise RequestError(None, "a message was not an object")
        kind = message.get("type")
        if kind == "script":
            run = self._session.running
            self._put({"type": "script", "text": await run_in_threadpool(script_of, run)})
        elif kind == "save":
            if self._is_saving:
                raise RequestError(None, "a file is being saved already: wait for it")
            run = self._session.running
            # An animation takes seconds: meanwhile the page draws and is steered as ever.
            self._is_saving = True
            self._tasks.start_soon(self._report_problems, self._save, run, message.get("what"))
        elif kind in ("start", "reset"):
            await run_in_threadpool(self._session.handle, message)  # draws data: not in the event loop
        else:
            self._session.handle(message)

    async def _save(self, run: Run, what: Any) -> None:
        """Save a file of a run, and tell the page where it is.

        A page that is closed meanwhile does not wait for the file, so that its training ends at once.
        """
        try:
            number, name = await anyio.to_thread.run_sync(self._saves.save, run, what, abandon_on_cancel=True)
        finally:
            self._is_saving = False
        url = f"/download/{number}?token={quote(self._socket.query_params['token'], safe='')}"
        self._put({"type": "saved", "what": what, "url": url, "name": name})

    def _hello(self) -> dict[str, Any]:
        """Return the first message: everything that can be set, and the state to begin with."""
        from .. import __version__

        datasets = [described_dataset(name, data, None) for name, data in DATASETS.items()]
        columns = about_table = None
        table = self._table
        if table is not None:
            columns = list(table.columns)
            datasets.append(described_dataset("table", TABLES[table.kind], table))
            about_table = {"columns": columns, "n_rows": table.n_rows, "target": table.target}
        return {
            "type": "hello",
            "version": __version__,
            "choices": described_fields(columns),
            "datasets": datasets,
            "state": Settings.of_state(self._state).state,
            "table": about_table,
            "max_bytes": MAX_MESSAGE_BYTES,
        }


def described_dataset(name: str, data: DataSet, table: PlayTable | None) -> dict[str, Any]:
    """Return a data set as the page reads it."""
    return {
        "name": name,
        "title": data.title,
        "kind": data.kind,
        "best": data.best,
        "why": data.why,
        "thumbnail": thumbnail(name, table),
    }
