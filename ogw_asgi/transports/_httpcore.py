"""The engine of a bare install: an `httpx` or `httpx2` AsyncClient of ours, over a network of ours.

The one file that speaks to httpcore or httpcore2, by their public names and as the library in use brings them. Theirs
is what speaks HTTP/1.1; the connections and the pool are the native engine's. httpcore's own pool looks at all of its
connections for every request, twice, and that of 1.0 never recovers from a storm of cancellations while it is
contended (encode/httpcore issue 1093).
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from .._values import Header, UpstreamRequest
from ._arrived import Arrived
from ._connection import Connection
from ._connections import Connections
from ._messages import HTTPXResponse, checked, request_body_type
from ._request import URLS, Origin, Route, read_url, refuse_headers
from .base import FailureKind, TransportFailure
from .dial import Dialer

_CORES = {"httpx": "httpcore", "httpx2": "httpcore2"}
_REQUEST = "ogw_asgi.request"
_BODY = "ogw_asgi.body"
_DISCONNECTED = "Server disconnected without sending a response."


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
        self._place = lru_cache(URLS)(self._read_place)
        self._body_type = request_body_type(library)
        self._connections = Connections(tls, dialer, keepalive=keepalive)
        network = type("Network", (_Network, library.AsyncBaseTransport), {})
        self._client = library.AsyncClient(
            transport=network(library, self._core, self._connections),
            trust_env=False,
            follow_redirects=False,
            timeout=None,
        )

    async def open(self, request: UpstreamRequest) -> HTTPXResponse:
        # Not left to the library, whose complaint quotes the header, and which logs its complaints at DEBUG.
        refuse_headers(request.headers)
        place = self._place(request.url)
        if request.origin is not None and request.origin != place.route.shown:
            raise TransportFailure("misdirected")
        response = None
        try:
            message = self._library.Request(
                request.method,
                place.shown,
                headers=[(b"Host", place.host), *request.headers],
                content=request.body,
                extensions={_REQUEST: (request, place)},
            )
            message.stream = self._body_type(request.body)
            response = await self._client.send(message, stream=True, follow_redirects=False)
        except TransportFailure:
            raise
        except Exception:  # the client's own: it is closed, or can do less than we know
            pass
        if response is None:
            # Out here it has no context: that would hold the library's words, whatever was not to be shown of it.
            raise TransportFailure("connect" if self._client.is_closed else "protocol")
        # Read from below: the client would add nothing but two generators for each piece.
        body: _ResponseBody = response.extensions[_BODY]
        response.stream = body  # the client's own knows the response, and both would wait for the garbage collector
        return await checked(response.status_code, body.headers, body, self._head_bytes)

    def _read_place(self, url: str) -> _Place:
        route = read_url(url)
        scheme, host, port = route.origin
        try:
            shown = self._library.URL(f"{scheme}://{route.netloc}/")
        except self._library.InvalidURL:
            shown = None
        if shown is None:
            raise TransportFailure("connect")  # out here, where it has no context
        core_url = self._core.URL(scheme=scheme.encode(), host=host.encode(), port=port, target=route.target)
        return _Place(route, route.netloc.encode(), shown, core_url)

    async def aclose(self) -> None:
        await self._client.aclose()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a URL leads, in the words of both libraries.

    `shown`: without its path. Whoever sends it, an AsyncClient logs the URL at INFO, and a path may hold an account or
    a token. `host`: as the header has it, for httpx decodes a URL's to write it, and there are names that it cannot.
    """

    route: Route
    host: bytes
    shown: Any
    core_url: Any


class _Network:
    """An AsyncBaseTransport: it is asked by the client above, and asks httpcore's connections."""

    def __init__(self, library: Any, core: Any, connections: Connections) -> None:
        self._library = library
        self._core = core
        self._connections = connections
        self._body_type = type("ResponseBody", (_ResponseBody, library.AsyncByteStream), {})

    async def handle_async_request(self, message: Any) -> Any:
        request: UpstreamRequest
        place: _Place
        request, place = message.extensions[_REQUEST]
        origin = place.route.origin
        core_request = self._core.Request(
            message.method, place.core_url, headers=message.headers.raw, content=message.stream
        )
        connection, resent = self._connections.idle(origin, request), False
        while True:
            arrived = Arrived(kept=connection is not None)
            if connection is None:
                connection = await self._connections.new(origin, request, resent=resent)
                stream = _NetworkStream(self._core, connection)
                connection.upper = self._core.AsyncHTTP11Connection(place.core_url.origin, stream)
            connection.begin(arrived)
            response, failed = await self._ask(connection, arrived, core_request)
            if response is not None and not arrived.taken:
                # The head lay with httpcore before the request was sent, so it answers something else. Not sent again:
                # this one has gone out, on a connection that lives.
                connection.abort()
                failed = "protocol"
            if failed is None:
                break
            if failed != "reset" or not arrived.kept or arrived.received_bytes:
                raise TransportFailure(failed)
            connection, resent = None, True  # the peer had closed it
        keep = self._connections.keeps(request)
        body = self._body_type(response, connection, arrived, origin, self._connections, keep=keep)
        # All that the client is told of an answer is its status: of the rest it would keep cookies, and read locations.
        return self._library.Response(response.status, stream=body, extensions={_BODY: body})

    async def _ask(self, connection: Connection, arrived: Arrived, core_request: Any) -> tuple[Any, FailureKind | None]:
        """httpcore's response; or why there is none, and then the connection is closed."""
        try:
            return await connection.upper.handle_async_request(core_request), None
        except self._core.ReadError:  # of `_NetworkStream`
            failed = arrived.failure or "reset"
        except Exception as error:
            failed = "reset" if str(error) == _DISCONNECTED else "protocol"
        except BaseException:
            connection.abort()
            raise
        # Told, not raised: what is raised out there has no context, which would hold the library's words.
        connection.abort()
        return None, failed

    async def aclose(self) -> None:
        self._connections.close()


class _NetworkStream:
    """An httpcore.AsyncNetworkStream, as far as httpcore's connection asks for one."""

    _held = b""
    """The head of a request, which goes out with what follows it."""

    def __init__(self, core: Any, connection: Connection) -> None:
        self._core = core
        self._connection = connection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        arrived = cast(Arrived, self._connection.parser)
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
        connection = self._connection
        arrived = cast(Arrived, connection.parser)
        if arrived.kept and (arrived.refuse_early() or not connection.still_good()):
            # In the turns of the loop that httpcore has taken until now.
            connection.abort()
            raise self._core.WriteError
        await connection.send(held, buffer)

    async def aclose(self) -> None:
        self._connection.abort()


class _ResponseBody:
    """Its errors are httpcore's: once an answer has begun, all mean the same (`HTTPXResponse`)."""

    def __init__(
        self,
        response: Any,
        connection: Connection,
        arrived: Arrived,
        origin: Origin,
        connections: Connections,
        *,
        keep: bool,
    ) -> None:
        self.headers: Sequence[Header] = response.headers
        self._stream = response.stream
        self._connection = connection
        self._arrived = arrived
        self._origin = origin
        self._connections = connections
        self._keep = keep
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
        # What came behind the answer is forgotten, and its rest would be taken for another one.
        unread = self._arrived.unread
        self._arrived.forget()
        try:
            await self._stream.aclose()
        except BaseException:
            connection.abort()
            raise
        reusable = self._keep and not unread and not connection.lost and connection.upper.is_idle()
        self._connections.give_back(self._origin, connection, reusable=reusable)
