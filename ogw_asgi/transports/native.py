"""The engine of our own: ask, read one answer, HTTP/1.1 with keep-alive. Needs httptools (extra `fast`).

It knows no proxy, no redirect, no cookie, no compression and no environment, so there is nothing to switch off.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache

import anyio.lowlevel

from .._values import Header, UpstreamRequest
from ._connection import Connection
from ._connections import Connections
from ._http1 import ResponseParser
from ._request import URLS, Origin, read_url, write_head, write_question
from .base import TransportFailure
from .dial import Dialer


class NativeTransport:
    """See base.Transport."""

    def __init__(
        self, tls: ssl.SSLContext, *, head_bytes: int, keepalive: bool = True, dialer: Dialer | None = None
    ) -> None:
        self._head_bytes = head_bytes
        self._connections = Connections(tls, dialer, keepalive=keepalive)
        self._route = lru_cache(URLS)(read_url)

    async def open(self, request: UpstreamRequest) -> _Response:
        route = self._route(request.url)
        if request.origin is not None and request.origin != route.shown:
            raise TransportFailure("misdirected")
        if request.method == "POST":
            body = request.body
            head = write_head(route, request.headers, len(body))
        else:
            head, body = write_question(route, request.headers), b""
        await anyio.lowlevel.checkpoint_if_cancelled()  # nothing is sent for somebody who has left
        connections = self._connections
        connection, resent = connections.idle(route.origin, request), False
        while True:
            reused = connection is not None
            connection = connection or await connections.new(route.origin, request, resent=resent)
            parser = ResponseParser(self._head_bytes)
            connection.begin(parser)
            await connection.send(head, body)
            while not parser.status and not parser.failure:
                await connection.wait()
            if parser.status:
                keep = connections.keeps(request)
                return _Response(connection, parser, route.origin, connections, keep=keep)
            connection.abort()
            if not reused or parser.failure != "reset" or parser.received_bytes:
                raise TransportFailure(parser.failure or "protocol")
            connection, resent = None, True  # the peer had closed it

    async def aclose(self) -> None:
        self._connections.close()


class _Response:
    """See base.UpstreamResponse; it is its own iterator, so a body that is left half-way leaves nothing behind."""

    def __init__(
        self, connection: Connection, parser: ResponseParser, origin: Origin, connections: Connections, *, keep: bool
    ) -> None:
        self._connection = connection
        self._parser = parser
        self._origin = origin
        self._connections = connections
        self._keep = keep
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
        parser = self._parser
        reusable = self._keep and parser.complete and parser.reusable and not parser.has_body
        self._connections.give_back(self._origin, self._connection, reusable=reusable)
