"""HTTP connections of the playground's server, which must send their request in time."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEADER_SECONDS", "TimelyProtocol"]

# Longest time from the start of a connection to the end of its request's headers.
HEADER_SECONDS = 10.0


class TimelyProtocol(H11Protocol):
    """uvicorn's protocol with a limit of the time until a request is complete.

    uvicorn has a time limit between requests, but none for the first: connections that send nothing, or half
    a request, would stay open without a token. As each answer ends its connection, the first request is the
    only one.
    """

    def connection_made(self, transport: Any) -> None:
        """Set the limit of a new connection."""
        super().connection_made(transport)
        self._limit = self.loop.call_later(HEADER_SECONDS, self._end_if_waiting)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the limit of a connection that has ended."""
        self._limit.cancel()
        super().connection_lost(exc)

    def _end_if_waiting(self) -> None:
        """End the connection if it has sent no complete request; a websocket has another protocol."""
        cycle: Any = self.cycle  # None until the headers are complete
        if cycle is None and self.transport.get_protocol() is self:
            self.transport.abort()
