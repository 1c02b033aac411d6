"""The engine of a bare install: an `httpx` or `httpx2` AsyncClient of ours, over a network of ours.

The one file that speaks to httpcore or httpcore2, by their public names and as the library in use brings them. Theirs
is what speaks HTTP/1.1; the connections and the pool are the native engine's. httpcore's own pool looks at all of its
connections for every request, twice, and that of 1.0 never recovers from a storm of cancellations while it is
contended (encode/httpcore issue 1093).
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, cast

from .._values import UpstreamRequest
from ._connecting import connect
from ._connection import Connection
from ._pool import Pool
from ._request import Origin, Route, read_url, refuse_headers
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
        return await read_head(response, self._head_bytes, response.extensions[_ASKED])

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
        self._pool = Pool()
        self._body_type = type("ResponseBody", (_ResponseBody, library.AsyncByteStream), {})

    async def handle_async_request(self, message: Any) -> Any:
        request: UpstreamRequest
        place: _Place
        request, place = message.extensions[_ASKED]
        asked = self._core.Request(message.method, place.asked, headers=message.headers.raw, content=message.stream)
        connection = self._pool.take(place.route.origin) if request.permits is None else None
        while True:
            reused = connection is not None
            connection = connection or await self._connect(place, request)
            arrived = _Arrived()
            connection.begin(arrived)
            response, failed = await self._ask(connection, asked)
            unheard = reused and not arrived.received_bytes
            if failed == "reset" and unheard:
                connection = None  # the peer had closed it
                continue
            if failed is None and unheard:
                # The head lay there before the request was sent, so it answers something else. Not sent again: this
                # one has gone out, on a connection that lives.
                connection.abort()
                failed = "protocol"
            if failed is not None:
                raise TransportFailure(failed)
            pool = self._pool if self._keepalive and request.permits is None else None
            body = self._body_type(response.stream, connection, place.route.origin, pool)
            # Read from right here: the client above would add nothing to it but two generators.
            return self._library.Response(
                response.status, headers=response.headers, stream=body, extensions={_ASKED: body}
            )

    async def _connect(self, place: _Place, request: UpstreamRequest) -> Connection:
        connection = await connect(self._pool, self._dialer, place.route.origin, self._tls, request)
        connection.upper = self._core.AsyncHTTP11Connection(place.asked.origin, _NetworkStream(self._core, connection))
        return connection

    async def _ask(self, connection: Connection, asked: Any) -> tuple[Any, FailureKind | None]:
        """httpcore's response; or why there is none, and then the connection is closed."""
        try:
            return await connection.upper.handle_async_request(asked), None
        except Exception as error:
            # Told, not raised: what is raised out there has no context, which would hold the library's words.
            connection.abort()
            return None, self._kind(error)
        except BaseException:
            connection.abort()
            raise

    def _kind(self, error: Exception) -> FailureKind:
        core = self._core
        if isinstance(error, core.ReadError):
            return "reset"
        return "reset" if isinstance(error, core.RemoteProtocolError) and "disconnected" in str(error) else "protocol"

    async def aclose(self) -> None:
        self._pool.close()


class _Arrived:
    """A Parser that reads nothing, for httpcore does: nobody knows of an answer while the request is still sent."""

    status = 0
    failure: FailureKind | None = None
    received_bytes = 0
    at_end = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> None:
        self._pieces.append(bytes(data))
        self.received_bytes += len(data)

    def end(self, *, clean: bool) -> None:
        self.at_end = True
        if not clean:
            self.failure = "reset"

    def take(self) -> bytes:
        """What has come since the last time."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return data


class _NetworkStream:
    """An httpcore.AsyncNetworkStream, as far as httpcore's connection asks for one."""

    _held = b""
    """The head of a request, which goes out with what follows it."""

    def __init__(self, core: Any, connection: Connection) -> None:
        self._core = core
        self._connection = connection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        arrived = cast(_Arrived, self._connection.parser)
        while not (data := arrived.take()):
            if arrived.failure:
                raise self._core.ReadError
            if arrived.at_end:
                return b""
            await self._connection.wait()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # httpcore writes the head, then the body if there is one, and then, for the end, nothing.
        if not self._held:
            self._held = buffer
            return
        held, self._held = self._held, b""
        await self._connection.send(held, buffer)

    async def aclose(self) -> None:
        self._connection.abort()


class _ResponseBody:
    """Its errors are httpcore's: once an answer has begun, all mean the same (`httpx.HTTPXResponse`)."""

    def __init__(self, stream: Any, connection: Connection, origin: Origin, pool: Pool | None) -> None:
        self._stream = stream
        self._connection = connection
        self._origin = origin
        self._pool = pool
        self._closed = False

    def aiter_raw(self) -> AsyncGenerator[bytes, None]:
        generator: AsyncGenerator[bytes, None] = self._stream.__aiter__()
        return generator

    __aiter__ = aiter_raw

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
        if self._pool is not None and not connection.lost and not connection.unsent and connection.upper.is_idle():
            self._pool.put(self._origin, connection)
        else:
            connection.abort()
