"""The engine of our own: ask, read one answer, HTTP/1.1 with keep-alive. Needs httptools (extra `fast`).

It knows no proxy, no redirect, no cookie, no compression and no environment, so there is nothing to switch off.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence

import anyio.lowlevel

from .._values import Header, UpstreamRequest
from ._connecting import connect
from ._connection import Connection
from ._http1 import ResponseParser
from ._pool import Pool
from ._request import Origin, Route, read_url, write_head, write_question
from .base import TransportFailure
from .dial import Dialer

ROUTES = 256
"""So many URLs are remembered; then all are forgotten, for classic Azure deployments are named by callers."""


class NativeTransport:
    """See base.Transport."""

    def __init__(
        self, tls: ssl.SSLContext, *, head_bytes: int, keepalive: bool = True, dialer: Dialer | None = None
    ) -> None:
        self._tls = tls
        self._head_bytes = head_bytes
        self._keepalive = keepalive
        self._dialer = Dialer() if dialer is None else dialer
        self._pool = Pool()
        self._routes: dict[str, Route] = {}

    async def open(self, request: UpstreamRequest) -> _Response:
        route = self._routes.get(request.url) or self._route(request.url)
        if request.origin is not None and request.origin != route.shown:
            raise TransportFailure("misdirected")
        if request.method == "POST":
            body = request.body
            head = write_head(route, request.headers, len(body))
        else:
            head, body = write_question(route, request.headers), b""
        await anyio.lowlevel.checkpoint_if_cancelled()  # nothing is sent for somebody who has left
        connection = self._pool.take(route.origin) if request.permits is None else None
        while True:
            reused = connection is not None
            if connection is None:
                connection = await connect(self._pool, self._dialer, route.origin, self._tls, request)
            parser = ResponseParser(self._head_bytes)
            connection.begin(parser)
            await connection.send(head, body)
            while not parser.status and not parser.failure:
                await connection.wait()
            if not reused or parser.failure != "reset" or parser.received_bytes:
                return self._answer(route, connection, parser, keep=request.permits is None)
            connection.abort()  # the peer had closed it
            connection = None

    def _answer(self, route: Route, connection: Connection, parser: ResponseParser, *, keep: bool) -> _Response:
        if not parser.status:
            connection.abort()
            raise TransportFailure(parser.failure or "protocol")
        return _Response(connection, parser, route.origin, self._pool if self._keepalive and keep else None)

    def _route(self, url: str) -> Route:
        if len(self._routes) >= ROUTES:
            self._routes.clear()
        route = self._routes[url] = read_url(url)
        return route

    async def aclose(self) -> None:
        self._pool.close()


class _Response:
    """See base.UpstreamResponse; it is its own iterator, so a body that is left half-way leaves nothing behind."""

    def __init__(self, connection: Connection, parser: ResponseParser, origin: Origin, pool: Pool | None) -> None:
        self._connection = connection
        self._parser = parser
        self._origin = origin
        self._pool = pool
        self._closed = False
        self.status = parser.status
        self.headers: Sequence[Header] = parser.headers

    @property
    def at_end(self) -> bool:
        return self._parser.complete and not self._parser.has_body

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> _Response:
        return self

    async def __anext__(self) -> bytes:
        parser = self._parser
        while not parser.has_body:
            if parser.failure:
                self._connection.abort()
                raise TransportFailure(parser.failure)
            if parser.complete:
                raise StopAsyncIteration
            await self._connection.wait()
        return parser.take()

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        connection, parser, pool = self._connection, self._parser, self._pool
        reusable = parser.complete and parser.reusable and not parser.has_body
        if pool and reusable and not connection.lost and not connection.unsent:
            pool.put(self._origin, connection)
        else:
            connection.abort()
