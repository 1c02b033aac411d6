"""The engine of our own: POST one body, read one answer, HTTP/1.1 with keep-alive. Needs httptools (extra `fast`).

It knows no proxy, no redirect, no cookie, no compression and no environment, so there is nothing to switch off.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import anyio

from .._values import Header, UpstreamRequest
from ._connection import BROKEN, Connection
from ._http1 import ResponseParser
from ._pool import Origin, Pool
from ._protocol import ProtocolConnection
from ._stream import StreamConnection
from .base import OWN_HEADERS, TransportFailure
from .dial import Dialer

ROUTES = 256

_URL = re.compile(r"[!-~]+")
_HEADERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*")


class _Route(NamedTuple):
    """What is the same for every request to one URL."""

    origin: Origin
    prefix: bytes


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
        self._routes: dict[str, _Route] = {}

    async def open(self, request: UpstreamRequest) -> _Response:
        route = self._routes.get(request.url) or self._route(request.url)
        head = _head(route, request)
        connection = self._pool.take(route.origin)
        if connection is not None:
            parser = await self._exchange(connection, head, request.body)
            if parser.failure != "reset" or parser.received_bytes:
                return self._answer(route, connection, parser)
            connection.abort()
        connection = await self._connect(route.origin, request.connect_s)
        return self._answer(route, connection, await self._exchange(connection, head, request.body))

    async def _connect(self, origin: Origin, connect_s: float) -> Connection:
        if self._pool.closed:
            raise TransportFailure("connect")
        scheme, host, port = origin
        with anyio.CancelScope(deadline=anyio.current_time() + connect_s):
            sock = await self._dialer.dial(host, port)
            tls = self._tls if scheme == "https" else None
            try:
                connection = await _kind_of_connection().over(sock, tls, host)
            except (*BROKEN, anyio.EndOfStream, ValueError):  # ValueError: a name that no certificate can be for
                raise TransportFailure("connect" if tls is None else "tls") from None
            self._pool.add(connection)
            if self._pool.closed:
                connection.abort()
                raise TransportFailure("connect")
            return connection
        raise TransportFailure("connect_timeout")

    async def _exchange(self, connection: Connection, head: bytes, body: bytes) -> ResponseParser:
        """Until the head of the answer is there, or there will be none."""
        parser = connection.parser = ResponseParser(self._head_bytes)
        await connection.send(head, body)
        while not parser.status and not parser.failure:
            await connection.wait()
        return parser

    def _answer(self, route: _Route, connection: Connection, parser: ResponseParser) -> _Response:
        if not parser.status:
            connection.abort()
            raise TransportFailure(parser.failure or "protocol")
        return _Response(connection, parser, route.origin, self._pool if self._keepalive else None)

    def _route(self, url: str) -> _Route:
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        except ValueError:
            raise TransportFailure("connect") from None
        if scheme not in ("http", "https") or not host or port == 0 or "@" in parts.netloc or not _URL.fullmatch(url):
            raise TransportFailure("connect")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        default = 443 if scheme == "https" else 80
        shown = f"[{host.partition('%')[0]}]" if ":" in host else host  # a zone is nobody else's business (RFC 6874)
        netloc = shown if port in (None, default) else f"{shown}:{port}"
        route = _Route((scheme, host, port or default), f"POST {path} HTTP/1.1\r\nhost: {netloc}\r\n".encode())
        if len(self._routes) >= ROUTES:
            self._routes.clear()
        self._routes[url] = route
        return route

    async def aclose(self) -> None:
        self._pool.close()


def _kind_of_connection() -> type[ProtocolConnection | StreamConnection]:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return StreamConnection
    return ProtocolConnection


def _head(route: _Route, request: UpstreamRequest) -> bytes:
    """Raises TransportFailure("protocol") for what would end a line or the head, or contradict what is ours to say."""
    try:
        block = b"".join([b"%b: %b\r\n" % header for header in request.headers])
    except TypeError:  # str, from a provider class of somebody's own
        raise TransportFailure("protocol") from None
    if (
        block.count(b"\n") != len(request.headers)
        or not _HEADERS.fullmatch(block)
        or not OWN_HEADERS.isdisjoint([name.lower() for name, _ in request.headers])
    ):
        raise TransportFailure("protocol")
    return b"%b%bcontent-length: %d\r\n\r\n" % (route.prefix, block, len(request.body))


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

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> _Response:
        return self

    async def __anext__(self) -> bytes:
        parser = self._parser
        while not parser.waiting:
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
        reusable = parser.complete and parser.reusable and not parser.waiting
        if pool and reusable and not pool.closed and not connection.lost and not connection.unsent:
            pool.put(self._origin, connection)
        else:
            connection.abort()
