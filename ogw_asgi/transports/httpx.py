"""The engine over an `httpx` or `httpx2` AsyncClient that a user brings.

The one file that imports either library. Both have the same shape, so this speaks to the shape and is told
which one at run time.
"""

from __future__ import annotations

import importlib
import socket
import ssl
from collections.abc import Mapping
from typing import Any, cast

from .._values import UpstreamRequest, written_origin
from ..exceptions import ConfigurationError
from ._exchange import Exchange, close
from ._messages import HTTPXResponse, checked, request_body_type
from ._request import refuse_headers
from .base import FailureKind, TransportFailure

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


def load_library(name: str) -> Any:
    """The module `httpx` or `httpx2`. Raises ConfigurationError when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigurationError(f"engine {name!r} needs the package {name}: pip install {name}") from None


def preferred_library() -> Any:
    """httpx2 where it is installed (it is maintained), else httpx."""
    try:
        return importlib.import_module("httpx2")
    except ImportError:
        return importlib.import_module("httpx")


def make_ssl_context(library: Any) -> ssl.SSLContext:
    """The library's own context, without the environment. Loading the authorities takes long: once per gateway."""
    context = cast(ssl.SSLContext, library.create_ssl_context(trust_env=False))
    context.set_alpn_protocols(["http/1.1"])
    context.keylog_filename = None  # type: ignore[assignment]  # SSLKEYLOGFILE, which trust_env forgets
    return context


def is_client(client: object) -> bool:
    """Whether this is an AsyncClient of either library (compared by name: neither need be installed)."""
    return _root_of(client) is not None


def _root_of(client: object) -> str | None:
    for base in type(client).__mro__:
        root = base.__module__.split(".")[0]
        if base.__name__ == "AsyncClient" and root in ("httpx", "httpx2"):
            return root
    return None


def _library_of(client: object) -> Any:
    root = _root_of(client)
    if root is None:
        raise ConfigurationError("client= must be an httpx.AsyncClient or an httpx2.AsyncClient")
    return importlib.import_module(root)


class HTTPXTransport:
    """See base.Transport. The client is used as it is, and never closed. It connects for itself, so nothing that asks
    for `permits` can be sent.
    """

    def __init__(self, client: Any, *, head_bytes: int) -> None:
        self._client = client
        self._head_bytes = head_bytes
        self._library = _library_of(client)
        self._no_timeout = self._library.Timeout(None)
        self._body_type = request_body_type(self._library)

    async def open(self, request: UpstreamRequest) -> HTTPXResponse:
        # Not left to the library, whose complaint quotes the header, and which logs its complaints at DEBUG.
        refuse_headers(request.headers)
        if request.permits is not None:
            raise TransportFailure("denied")
        response = await self._send(request)
        if response is None:
            response = await self._send(request, resend=False)
        assert response is not None
        return await checked(response.status_code, response.headers.raw, response, self._head_bytes)

    async def _send(self, request: UpstreamRequest, *, resend: bool = True) -> Any:
        """The response, or None if the request went to a connection that had been closed and may be re-sent."""
        exchange = Exchange(request.connect_s)
        failed: FailureKind | None = None
        try:
            with exchange:
                message = self._library.Request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    content=request.body,
                    extensions={"trace": exchange.trace, "timeout": self._no_timeout.as_dict()},
                )
                if request.origin is not None and request.origin != _origin_of(message.url):
                    raise TransportFailure("misdirected")
                message.stream = self._body_type(request.body)
                response = await self._client.send(message, stream=True, follow_redirects=False)
        except TransportFailure:
            if resend and exchange.late_bytes:
                return None
            raise
        except Exception as error:
            if resend and exchange.is_stale(error):
                return None
            failed = self._kind(error, exchange.step)
        finally:
            await exchange.close_unfinished()
        if failed is not None:
            # Out here it has no context: that would hold the library's words, whatever was not to be shown of it.
            raise TransportFailure(failed)
        if exchange.is_stray:
            # Not sent again: this one has gone out, on a connection that lives.
            await close(response)
            raise TransportFailure("protocol")
        return response

    def _kind(self, error: Exception, step: str | None) -> FailureKind:
        """What an exception means; the base promises a kind for every one, a user's hooks and transports included."""
        library = self._library
        if not isinstance(error, (library.HTTPError, library.InvalidURL, library.StreamError)):
            if step == "connect":  # a name that cannot even be encoded, e.g. with a label over 63 letters
                return "dns" if isinstance(error, UnicodeError) else "connect"
            # A client that was closed says so with a RuntimeError.
            return "connect" if isinstance(error, RuntimeError) and self._client.is_closed else "protocol"
        names = [base.__name__ for base in type(error).__mro__]
        if "ConnectError" in names:
            kind = _connect_kind(error)
            return "tls" if kind == "connect" and step == "tls" else kind
        if "RemoteProtocolError" in names and "disconnected" in str(error):
            return "reset"
        return next((_KINDS[name] for name in names if name in _KINDS), "protocol")

    async def aclose(self) -> None:
        """The client is its user's to close."""


def _origin_of(url: Any) -> str:
    return written_origin(url.scheme, url.raw_host.decode("ascii").lower(), url.port)


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
