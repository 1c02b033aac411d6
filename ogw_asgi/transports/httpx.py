"""The engine over an `httpx` or `httpx2` AsyncClient: the default of a bare install, and for clients that users bring.

The one file that imports either library. Both have the same shape, so this speaks to the shape (`Library`) and is told
which one at run time. Own clients have no pool limits: httpcore's pool never recovers from a storm of cancellations
while it is contended (encode/httpcore issue 1093), and the gateway bounds concurrency by itself.
"""

from __future__ import annotations

import importlib
import math
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, cast

import anyio

from .._values import Header, UpstreamRequest
from ..exceptions import ConfigurationError
from .base import FailureKind, TransportFailure

KEEPALIVE_S = 4.0
"""Below the 5 s after which vLLM and uvicorn close idle connections, so that we are the first to let go."""

CLOSE_S = 1.0

# Every request error of either library by its name. Connect errors are looked into (`_connect_kind`).
_KINDS: Mapping[str, FailureKind] = {
    "ConnectTimeout": "connect_timeout",
    "ReadTimeout": "timeout",
    "WriteTimeout": "timeout",
    "PoolTimeout": "timeout",
    "ReadError": "reset",
    "WriteError": "reset",
    "CloseError": "reset",
    "NetworkError": "reset",
    "ProxyError": "connect",
    "UnsupportedProtocol": "connect",
    "InvalidURL": "connect",
    "LocalProtocolError": "protocol",
    "RemoteProtocolError": "protocol",
    "ProtocolError": "protocol",
    "DecodingError": "protocol",
    "TooManyRedirects": "protocol",
    "StreamError": "protocol",
    "SSEError": "protocol",
    "TimeoutException": "timeout",
    "TransportError": "connect",
    "RequestError": "protocol",
    "HTTPError": "protocol",
}

_STALE = ("ReadError", "WriteError", "CloseError", "RemoteProtocolError")


def load_library(name: str) -> Any:
    """The module `httpx` or `httpx2`. Raises ConfigurationError when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigurationError(f"engine {name!r} needs the package {name}: pip install {name}") from None


def preferred_library() -> Any:
    """httpx2 where it is installed (its pool survives cancellation, and it is maintained), else httpx."""
    try:
        return importlib.import_module("httpx2")
    except ImportError:
        return importlib.import_module("httpx")


def make_ssl_context(library: Any) -> ssl.SSLContext:
    """The library's own context, without the environment. Loading the authorities takes long: once per gateway."""
    return cast(ssl.SSLContext, library.create_ssl_context(trust_env=False))


def is_client(client: object) -> bool:
    """Whether this is an AsyncClient of either library (compared by name: neither need be installed)."""
    return any(
        base.__name__ == "AsyncClient" and base.__module__.split(".")[0] in ("httpx", "httpx2")
        for base in type(client).__mro__
    )


def _library_of(client: object) -> Any:
    for base in type(client).__mro__:
        root = base.__module__.split(".")[0]
        if base.__name__ == "AsyncClient" and root in ("httpx", "httpx2"):
            return importlib.import_module(root)
    raise ConfigurationError("client= must be an httpx.AsyncClient or an httpx2.AsyncClient")


class HTTPXTransport:
    """A transport over one AsyncClient. A client that the user passed is used as it is and never closed."""

    def __init__(self, client: Any, *, owned: bool, head_bytes: int) -> None:
        self._client = client
        self._owned = owned
        self._head_bytes = head_bytes
        self._library = _library_of(client)
        self._no_timeout = self._library.Timeout(None)

    @classmethod
    def make(
        cls, library: Any, verify: ssl.SSLContext, *, head_bytes: int, keepalive: bool = True
    ) -> HTTPXTransport:
        """An engine with a client of its own: no proxies or .netrc from the environment, no redirects, HTTP/1.1."""
        limits = library.Limits(
            max_connections=None,
            max_keepalive_connections=None if keepalive else 0,
            keepalive_expiry=KEEPALIVE_S,
        )
        client = library.AsyncClient(
            verify=verify, trust_env=False, follow_redirects=False, http2=False, limits=limits, timeout=None
        )
        return cls(client, owned=True, head_bytes=head_bytes)

    async def open(self, request: UpstreamRequest) -> _Response:
        exchange = _Exchange(request.connect_s)
        try:
            return await self._send(request, exchange)
        except TransportFailure:
            if not exchange.stale:
                raise
        return await self._send(request, _Exchange(request.connect_s))

    async def _send(self, request: UpstreamRequest, exchange: _Exchange) -> _Response:
        with anyio.CancelScope() as scope:
            exchange.scope = scope
            try:
                message = self._library.Request(
                    "POST",
                    request.url,
                    headers=request.headers,
                    content=request.body,
                    extensions={"trace": exchange.trace, "timeout": self._no_timeout.as_dict()},
                )
                response = await self._client.send(message, stream=True, follow_redirects=False)
            except Exception as error:
                kind = self._kind(error)
                if kind is None:
                    raise
                exchange.failed(error)
                raise TransportFailure(kind) from None
        if scope.cancelled_caught:
            raise TransportFailure("connect_timeout")
        head = sum(len(name) + len(value) + 4 for name, value in response.headers.raw)
        if head > self._head_bytes:
            await _close(response)
            raise TransportFailure("protocol")
        return _Response(self, response)

    def _kind(self, error: Exception) -> FailureKind | None:
        """What an exception of the library means; None for one that is not the library's."""
        library = self._library
        if not isinstance(error, (library.HTTPError, library.InvalidURL, library.StreamError)):
            # A client that was closed (the gateway's end, or the user's) says so with a RuntimeError.
            return "connect" if isinstance(error, RuntimeError) and self._client.is_closed else None
        names = [base.__name__ for base in type(error).__mro__]
        if "ConnectError" in names:
            return _connect_kind(error)
        if "RemoteProtocolError" in names and "disconnected" in str(error):
            return "reset"
        return next((_KINDS[name] for name in names if name in _KINDS), "protocol")

    async def aclose(self) -> None:
        if self._owned:
            await self._client.aclose()


class _Exchange:
    """What the engine's trace tells of one request: was its connection new, and how far did it get?

    It also is the connect limit: the scope's deadline is set when the connection is begun and lifted when the request
    goes out. Transports that connect nothing (in-process ASGI) send no such event and are not limited.
    """

    def __init__(self, connect_s: float) -> None:
        self._connect_s = connect_s
        self._connected = False
        self._sending = False
        self._answered = False
        self.scope: anyio.CancelScope | None = None
        self.stale = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        step = event.partition(".")[2]
        if step in ("connect_tcp.started", "connect_unix_socket.started"):
            self._connected = True
            if self.scope is not None:
                self.scope.deadline = anyio.current_time() + self._connect_s
        elif step == "send_request_headers.started":
            self._sending = True
            if self.scope is not None:
                self.scope.deadline = math.inf
        elif step == "receive_response_headers.complete":
            self._answered = True

    def failed(self, error: Exception) -> None:
        reused = self._sending and not self._connected and not self._answered
        self.stale = reused and type(error).__name__ in _STALE


class _Response:
    """See base.UpstreamResponse."""

    def __init__(self, transport: HTTPXTransport, response: Any) -> None:
        self._transport = transport
        self._response = response
        self._body: AsyncGenerator[bytes, None] | None = None
        self.status: int = response.status_code
        self.headers: Sequence[Header] = [
            (name.lower(), value) for name, value in cast("list[Header]", response.headers.raw)
        ]

    def chunks(self) -> AsyncIterator[bytes]:
        self._body = self._read()
        return self._body

    async def _read(self) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except Exception as error:
            kind = self._transport._kind(error)
            if kind is None:
                raise
            raise TransportFailure("reset" if kind == "protocol" else kind) from None

    async def aclose(self) -> None:
        if self._body is not None:
            await self._body.aclose()
        await _close(self._response)


async def _close(response: Any) -> None:
    # Shielded: this runs while the caller's leaving is being cancelled through us, and a connection that is
    # dropped half-closed would never leave the pool. Bounded: a peer must not hold us by not reading.
    with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_S):
        try:
            await response.aclose()
        except Exception:  # the connection is gone either way
            pass


def _connect_kind(error: BaseException) -> FailureKind:
    """DNS, TLS or TCP? The libraries fold all three into ConnectError; its causes keep the difference."""
    seen: list[BaseException | None] = [error]
    while seen:
        cause = seen.pop()
        if isinstance(cause, socket.gaierror):
            return "dns"
        if isinstance(cause, ssl.SSLError):
            return "tls"
        if isinstance(cause, BaseExceptionGroup):
            seen.extend(cause.exceptions)
        if cause is not None:
            seen.extend((cause.__cause__, cause.__context__))
    return "connect"
