"""The network below an httpx client of ours: httpcore's pool over sockets that the Dialer connects.

The one file that speaks to httpcore or httpcore2, by their public names and as the library in use brings them. It
resolves nothing and chooses no address, and has no time limits: the caller's cancel scopes are the only clock.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from ._exchange import close, permits_of_the_current
from ._socket import PIECE_BYTES, SocketStream, readable
from .base import TransportFailure
from .dial import Dialer

_CORES = {"httpx": "httpcore", "httpx2": "httpcore2"}


def make_network(library: Any, verify: ssl.SSLContext, dialer: Dialer, *, keepalive_s: float | None) -> Any:
    """An AsyncBaseTransport of `library`: HTTP/1.1, any number of connections, no proxy.

    Idle connections are kept for `keepalive_s`, or not at all.
    """
    core = importlib.import_module(_CORES[library.__name__])
    pool = core.AsyncConnectionPool(
        ssl_context=verify,
        max_connections=None,
        max_keepalive_connections=0 if keepalive_s is None else None,
        keepalive_expiry=keepalive_s,
        network_backend=_Backend(core, dialer),
    )
    return type("PoolTransport", (_PoolTransport, library.AsyncBaseTransport), {})(library, core, pool)


class _PoolTransport:
    """Requests and responses from the one library to the other, as httpx's own transport does it."""

    def __init__(self, library: Any, core: Any, pool: Any) -> None:
        self._library = library
        self._core = core
        self._pool = pool
        self._body_type = type("ResponseBody", (_ResponseBody, library.AsyncByteStream), {})

    async def handle_async_request(self, request: Any) -> Any:
        url = request.url
        try:
            response = await self._pool.handle_async_request(
                self._core.Request(
                    method=request.method,
                    url=self._core.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except TransportFailure:  # of the Dialer or of TLS: it has its kind
            raise
        except Exception as error:
            # What both packages have, they call by the same name.
            name = type(error).__name__
            if getattr(self._core, name, None) is not type(error) or not hasattr(self._library, name):
                raise
            raise getattr(self._library, name)(str(error)) from None
        return self._library.Response(
            status_code=response.status,
            headers=response.headers,
            stream=self._body_type(response.stream),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _ResponseBody:
    """Its errors are httpcore's: once an answer has begun, all mean the same (`httpx._Response`)."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        iterator: AsyncIterator[bytes] = self._stream.__aiter__()
        return iterator

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Backend:
    """An httpcore.AsyncNetworkBackend, for a pool that tries once (`sleep` is between tries)."""

    def __init__(self, core: Any, dialer: Dialer) -> None:
        self._core = core
        self._dialer = dialer

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> _NetworkStream:
        # httpcore hands nothing of the request down to here.
        sock = await self._dialer.dial(host, port, permits_of_the_current())
        return _NetworkStream(self._core, SocketStream(sock))

    async def connect_unix_socket(self, *_: Any, **__: Any) -> _NetworkStream:
        raise TransportFailure("connect")


class _NetworkStream:
    """An httpcore.AsyncNetworkStream: a socket, or TLS over one."""

    def __init__(self, core: Any, stream: ByteStream) -> None:
        self._core = core
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
            raise self._core.ReadError from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            for start in range(0, len(buffer), PIECE_BYTES):
                await self._stream.send(buffer[start : start + PIECE_BYTES])
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
            raise self._core.WriteError from None

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _NetworkStream:
        try:
            wrapped = await TLSStream.wrap(
                self._stream,
                server_side=False,
                hostname=server_hostname,
                ssl_context=ssl_context,
                standard_compatible=False,
            )
        except BaseException as error:
            await close(self._stream)  # httpcore would forget it
            if isinstance(error, Exception):
                raise TransportFailure("tls") from None
            raise
        return _NetworkStream(self._core, wrapped)

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "ssl_object":
                return self._stream.extra(TLSAttribute.ssl_object, None)
            case "socket":
                return self._stream.extra(SocketAttribute.raw_socket)
            case "client_addr":
                return self._stream.extra(SocketAttribute.raw_socket).getsockname()
            case "server_addr":
                return self._stream.extra(SocketAttribute.raw_socket).getpeername()
            case "is_readable":
                return readable(self._stream.extra(SocketAttribute.raw_socket))
        return None
