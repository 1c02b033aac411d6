"""The engine of a bare install: an `httpx` or `httpx2` AsyncClient of ours, over a network of ours.

The one file that speaks to httpcore or httpcore2, by their public names and as the library in use brings them. Theirs
is the connection that speaks HTTP/1.1; the pool is the native engine's. httpcore's own looks at all of its connections
for every request, twice, and that of 1.0 never recovers from a storm of cancellations while it is contended
(encode/httpcore issue 1093).
"""

from __future__ import annotations

import importlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute, TLSStream

from .._values import UpstreamRequest
from ._connecting import TakeOver, connect
from ._pool import Pool, Pooled
from ._request import Route, read_url, refuse_headers
from ._socket import BROKEN, PIECE_BYTES, SocketStream, close, holds_bytes, readable
from .base import FailureKind, TransportFailure
from .dial import Dialer
from .httpx import HTTPXResponse, read_head, request_body_type

PLACES = 256
"""So many URLs are remembered; then all are forgotten, for classic Azure deployments are named by callers."""

_CORES = {"httpx": "httpcore", "httpx2": "httpcore2"}
_ASKED = "ogw_asgi"


class OwnHTTPXTransport:
    """See base.Transport. HTTP/1.1 alone; no redirect, no proxy, no cookie, nothing of the environment, no time limit
    but the connect limit: the caller's cancel scopes are the only clock.
    """

    def __init__(
        self,
        library: Any,
        tls: ssl.SSLContext,
        *,
        head_bytes: int,
        keepalive: bool = True,
        dialer: Dialer | None = None,
    ) -> None:
        self._library = library
        self._head_bytes = head_bytes
        self._core = importlib.import_module(_CORES[library.__name__])
        self._places: dict[str, _Place] = {}
        self._body_type = request_body_type(library)
        network = type("Network", (_Network, library.AsyncBaseTransport), {})
        self._client = library.AsyncClient(
            transport=network(library, self._core, tls, Dialer() if dialer is None else dialer, keepalive=keepalive),
            trust_env=False,
            follow_redirects=False,
            timeout=None,
            # Cookies are never sent back, so none is kept: a server could fill the jar without end.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def open(self, request: UpstreamRequest) -> HTTPXResponse:
        # Not left to the library, whose complaint quotes the header, and which logs its complaints at DEBUG.
        refuse_headers(request.headers)
        place = self._places.get(request.url) or self._place(request.url)
        if request.origin is not None and request.origin != place.route.shown:
            raise TransportFailure("misdirected")
        message = self._library.Request(
            request.method,
            place.shown,
            headers=request.headers,
            content=request.body,
            extensions={_ASKED: (request, place)},
        )
        message.stream = self._body_type(request.body)
        failed = False
        try:
            response = await self._client.send(message, stream=True, follow_redirects=False)
        except TransportFailure:
            raise
        except Exception:  # the client's own: it is closed
            failed = True
        if failed:
            # Out here it has no context: that would hold the library's words, whatever was not to be shown of it.
            raise TransportFailure("connect" if self._client.is_closed else "protocol")
        return await read_head(response, self._head_bytes)

    def _place(self, url: str) -> _Place:
        if len(self._places) >= PLACES:
            self._places.clear()
        route = read_url(url)
        try:
            place = self._places[url] = _Place.of(route, self._library, self._core)
        except self._library.InvalidURL:
            raise TransportFailure("connect") from None
        return place

    async def aclose(self) -> None:
        await self._client.aclose()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a URL leads, in the words of both libraries.

    `shown`: without its path. Whoever sends it, an AsyncClient logs the URL at INFO, and a path may hold an account or
    a token.
    """

    route: Route
    shown: Any
    asked: Any

    @classmethod
    def of(cls, route: Route, library: Any, core: Any) -> _Place:
        scheme, host, port = route.origin
        asked = core.URL(scheme=scheme.encode(), host=host.encode(), port=port, target=route.target)
        return cls(route, library.URL(f"{scheme}://{route.netloc}/"), asked)


class _Network:
    """An AsyncBaseTransport: it is asked by the client above, and asks httpcore's connections."""

    def __init__(self, library: Any, core: Any, tls: ssl.SSLContext, dialer: Dialer, *, keepalive: bool) -> None:
        self._library = library
        self._core = core
        self._tls = tls
        self._dialer = dialer
        self._keepalive = keepalive
        self._pool: Pool[_Connection] = Pool()
        self._body_type = type("ResponseBody", (_ResponseBody, library.AsyncByteStream), {})

    async def handle_async_request(self, message: Any) -> Any:
        request: UpstreamRequest
        place: _Place
        request, place = message.extensions[_ASKED]
        asked = self._core.Request(message.method, place.asked, headers=message.headers.raw, content=message.stream)
        connection = self._pool.take(place.route.origin) if request.permits is None else None
        while True:
            reused = connection is not None
            if connection is None:
                connection = await connect(
                    self._pool,
                    self._dialer,
                    place.route.origin,
                    self._taker(place),
                    tls=self._tls,
                    connect_s=request.connect_s,
                    permits=request.permits,
                )
            response, failed = await self._ask(connection, asked)
            unheard = reused and not connection.stream.received_bytes
            if failed == "reset" and unheard:
                connection = None  # the peer had closed it
                continue
            if failed is not None:
                # Out here it has no context: that would hold the library's words.
                raise TransportFailure(failed)
            if unheard:
                # The head lay there before the request was sent, so it answers something else. Not sent again: this
                # one has gone out, on a connection that lives.
                connection.abort()
                raise TransportFailure("protocol")
            keep = self._keepalive and request.permits is None
            return self._library.Response(
                response.status,
                headers=response.headers,
                stream=self._body_type(response.stream, connection, place, self._pool if keep else None),
            )

    async def _ask(self, connection: _Connection, asked: Any) -> tuple[Any, FailureKind | None]:
        """httpcore's response; or why there is none, and then the connection is closed."""
        connection.stream.received_bytes = 0
        try:
            return await connection.http.handle_async_request(asked), None
        except Exception as error:
            connection.abort()
            return None, self._kind(error)
        except BaseException:
            connection.abort()
            raise

    def _kind(self, error: Exception) -> FailureKind:
        core = self._core
        if isinstance(error, (core.ReadError, core.WriteError)):
            return "reset"
        return "reset" if isinstance(error, core.RemoteProtocolError) and "disconnected" in str(error) else "protocol"

    def _taker(self, place: _Place) -> TakeOver[_Connection]:
        async def take_over(sock: socket.socket, tls: ssl.SSLContext | None, host: str) -> _Connection:
            stream: ByteStream = SocketStream(sock)
            if tls is not None:
                try:
                    stream = await TLSStream.wrap(stream, hostname=host, ssl_context=tls, standard_compatible=False)
                except BaseException:
                    close(sock)
                    raise
            return _Connection(self._core, place.asked.origin, sock, stream)

        return take_over

    async def aclose(self) -> None:
        self._pool.close()


class _Connection(Pooled):
    """`http` is httpcore's, with all that it reads and writes in `stream`."""

    def __init__(self, core: Any, origin: Any, sock: socket.socket, stream: ByteStream) -> None:
        self._socket = sock
        self._tls: ssl.SSLObject | None = stream.extra(TLSAttribute.ssl_object, None)
        self.stream = _NetworkStream(core, stream)
        self.http = core.AsyncHTTP11Connection(origin, self.stream)

    def still_good(self) -> bool:
        return not readable(self._socket) and not holds_bytes(self._tls)

    def abort(self) -> None:
        self._leave_the_shelf()
        close(self._socket)


class _ResponseBody:
    """Its errors are httpcore's: once an answer has begun, all mean the same (`httpx.HTTPXResponse`)."""

    def __init__(self, stream: Any, connection: _Connection, place: _Place, pool: Pool[_Connection] | None) -> None:
        self._stream = stream
        self._connection = connection
        self._place = place
        self._pool = pool
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        iterator: AsyncIterator[bytes] = self._stream.__aiter__()
        return iterator

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        connection = self._connection
        try:
            await self._stream.aclose()
        except BaseException:
            connection.abort()
            raise
        # httpcore takes a connection for idle whose answer was ended by the connection's end.
        if self._pool is not None and connection.http.is_idle() and not connection.stream.at_end:
            self._pool.put(self._place.route.origin, connection)
        else:
            connection.abort()


class _NetworkStream:
    """An httpcore.AsyncNetworkStream, as far as a connection asks for one: a socket, or TLS over one."""

    received_bytes = 0
    at_end = False
    _held = b""
    """The head of a request, which goes out with what follows it."""

    def __init__(self, core: Any, stream: ByteStream) -> None:
        self._core = core
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            self.at_end = True
            return b""
        except BROKEN:
            raise self._core.ReadError from None
        self.received_bytes += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # httpcore writes the head, then the body if there is one, and then, for the end, nothing.
        if not self._held:
            self._held = buffer
            return
        held, self._held = self._held, b""
        try:
            await self._stream.send(held + buffer[: PIECE_BYTES - len(held)])
            for start in range(PIECE_BYTES - len(held), len(buffer), PIECE_BYTES):
                await self._stream.send(buffer[start : start + PIECE_BYTES])
        except BROKEN:
            raise self._core.WriteError from None

    async def aclose(self) -> None:
        await self._stream.aclose()
