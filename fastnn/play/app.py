"""The playground's web application: the page, its files, and a websocket for each page.

Only a page of this server may drive a training. A request must name the host 127.0.0.1 or localhost with the
server's port, since a foreign name may be made to point here (DNS rebinding). A websocket must come from a
page of that origin, and it and the page itself must bring the token.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from .session import Session
from .table import PlayTable

STATIC = Path(__file__).parent / "static"
INDEX = STATIC / "index.html"
# Largest number of pages at a time, since each has a training that uses a core.
MAX_PAGES = 16

REFUSAL = "The playground answers only its own page: open the address that the terminal shows."


def make_headers(hosts: set[str]) -> dict[str, str]:
    """Return the headers of all answers: a page loads nothing from elsewhere, and no other page shows it."""
    sources = " ".join(f"ws://{host}" for host in sorted(hosts))
    return {
        "content-security-policy": (
            f"default-src 'self'; connect-src 'self' {sources}; img-src 'self' data: blob:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }


def make_app(token: str, table: PlayTable | None, hosts: set[str]) -> Starlette:
    """Return the application; the page's address holds the token, `hosts` are the accepted headers Host."""
    n_pages, headers = 0, make_headers(hosts)

    def is_own(connection: HTTPConnection) -> bool:
        origin = connection.headers.get("origin")
        if origin is None:  # browsers send an origin with every websocket
            is_from_here = connection.scope["type"] == "http"
        else:
            is_from_here = origin in {f"http://{host}" for host in hosts}
        return is_from_here and connection.headers.get("host") in hosts

    def is_authorised(connection: HTTPConnection) -> bool:
        given = connection.query_params.get("token", "")
        return secrets.compare_digest(given.encode(), token.encode())

    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request) if is_own(request) else PlainTextResponse(REFUSAL, 403)
        response.headers.update(headers)
        return response

    async def index(request: Request) -> Response:
        return FileResponse(INDEX) if is_authorised(request) else PlainTextResponse(REFUSAL, 403)

    async def training(socket: WebSocket) -> None:
        nonlocal n_pages
        if not (is_own(socket) and is_authorised(socket)):
            await socket.close(1008)
            return
        await socket.accept()
        if n_pages >= MAX_PAGES:
            text = f"{MAX_PAGES} pages train already: close one of them"
            await socket.send_json({"type": "error", "field": None, "text": text})
            await socket.close(1013)
            return
        n_pages += 1
        try:
            await serve_page(socket, table)
        finally:
            n_pages -= 1

    routes = [
        Route("/", index),
        WebSocketRoute("/training", training),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)])


async def serve_page(socket: WebSocket, table: PlayTable | None) -> None:
    """Serve a page until it closes its connection: act on its messages, train and draw between them.

    The session works in a thread, so that other pages are served meanwhile, but does one thing at a time. A
    page that does not read what it is sent is not read from either.
    """
    waiting: list[str | bytes] = []
    session = Session(waiting.append, table)

    async def call(work: Callable[..., Any], *arguments: Any) -> Any:
        result = await anyio.to_thread.run_sync(work, *arguments)
        while waiting:
            message = waiting.pop(0)
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_text(message)
        return result

    receiving = asyncio.ensure_future(socket.receive())
    try:
        await call(session.greet)
        wait = None
        while True:
            if (await asyncio.wait({receiving}, timeout=wait))[0]:
                received = receiving.result()
                if received["type"] == "websocket.disconnect":
                    return
                receiving = asyncio.ensure_future(socket.receive())
                await call(session.receive, received.get("text"))
                wait = 0.0
            else:
                wait = await call(session.advance)
    except (WebSocketDisconnect, RuntimeError, asyncio.CancelledError):
        pass  # the page has closed the connection, or the server ends and does not wait for a long step
    finally:
        receiving.cancel()
        with suppress(ValueError):  # the generator of a step that is not done cannot be closed
            session.close()
