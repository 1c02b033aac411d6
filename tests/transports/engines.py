"""The engines that the contract suite runs against, and the one table of what they may do differently.

A new engine is one more entry in `ENGINES`, and a column in `DIFFERENCES`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ogw_asgi._values import Header, UpstreamRequest
from ogw_asgi.testing import http_head, http_response
from ogw_asgi.transports._httpcore import OwnHTTPXTransport
from ogw_asgi.transports.base import FailureKind, Transport, TransportFailure
from ogw_asgi.transports.dial import Dialer
from ogw_asgi.transports.httpx import HTTPXTransport, load_library
from ogw_asgi.transports.native import NativeTransport

HEAD_BYTES = 64 << 10
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody; also spares every test the 20 ms of loading the real authorities."""

HEADERS: list[Header] = [
    (b"content-type", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"authorization", b"Bearer sk-c4n4ry-one"),
    (b"x-request-id", b"r-1"),
]
BODY = b'{"model": "m"}'
OK = http_response(200, b"hello")

Outcome = FailureKind | tuple[int, bytes]
"""The kind of the failure, or the status and the body."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How one engine is made."""

    _make: Callable[..., Transport]

    def make(
        self,
        *,
        verify: ssl.SSLContext = NO_AUTHORITIES,
        head_bytes: int = HEAD_BYTES,
        keepalive: bool = True,
        dialer: Dialer | None = None,
    ) -> Transport:
        return self._make(verify, head_bytes=head_bytes, keepalive=keepalive, dialer=dialer)


ENGINES: Mapping[str, Engine] = {
    "httpx": Engine(partial(OwnHTTPXTransport, load_library("httpx"))),
    "httpx2": Engine(partial(OwnHTTPXTransport, load_library("httpx2"))),
    "native": Engine(NativeTransport),
}


class _OverAClient(HTTPXTransport):
    """A client such as a user may bring, on its own network and pool; closed with the engine, as tests expect it."""

    def __init__(self, library: Any, verify: ssl.SSLContext, *, head_bytes: int, keepalive: bool, **_: Any) -> None:
        limits = library.Limits(max_connections=None, max_keepalive_connections=None if keepalive else 0)
        client = library.AsyncClient(verify=verify, limits=limits, timeout=None, trust_env=False)
        super().__init__(client, head_bytes=head_bytes)
        self._own = client

    async def aclose(self) -> None:
        await self._own.aclose()


CLIENTS: Mapping[str, Engine] = {
    f"client-{name}": Engine(partial(_OverAClient, load_library(name))) for name in ("httpx", "httpx2")
}
"""No engines that can be chosen: what a provider's `client=` is asked through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An answer that engines may read differently, why nobody is harmed by it, and how each engine reads it.

    `first` is what the request that got this answer comes to, `second` the next one where it does not get its own.
    """

    answer: bytes
    reason: str
    first: Mapping[str, Outcome]
    second: Mapping[str, Outcome] = field(default_factory=dict)


def _read_as(h11: Outcome, *, native: Outcome) -> dict[str, Outcome]:
    return {"httpx": h11, "httpx2": h11, "native": native}


_CHUNKED_HELLO = b"5\r\nhello\r\n0\r\n\r\n"

_UNSEEN = (
    "httpcore has them in a buffer that nobody else can see. That they answer nothing shows when the next request has "
    "gone out, which therefore fails, and is not sent again; it never gets them. Native sees them and closes"
)

DIFFERENCES: Mapping[str, Difference] = {
    "a length beside chunks": Difference(
        answer=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n" + _CHUNKED_HELLO,
        reason="RFC 9112, 6.3 lets a client read the chunks or refuse; neither length is relayed",
        first=_read_as((200, b"hello"), native="protocol"),
    ),
    "the same length twice": Difference(
        answer=b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        reason="RFC 9112, 6.3 lets a client take equal lengths as one or refuse",
        first=_read_as((200, b"hello"), native="protocol"),
    ),
    "a folded header": Difference(
        answer=b"HTTP/1.1 200 OK\r\nx-a: one\r\n two\r\ncontent-length: 5\r\n\r\nhello",
        reason="RFC 9112, 5.2: a user agent replaces the fold by a blank; refusing it is stricter",
        first=_read_as((200, b"hello"), native="protocol"),
    ),
    "lines that end with LF alone": Difference(
        answer=b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
        reason="RFC 9112, 2.2 lets a client take LF as the end of a line",
        first=_read_as((200, b"hello"), native="protocol"),
    ),
    "a status above 599": Difference(
        answer=http_response(999, b"hello"),
        reason="RFC 9110, 15: to be treated as 5xx, which the classification does; or an error of the protocol",
        first=_read_as((999, b"hello"), native="protocol"),
    ),
    "an HTTP/1.0 answer": Difference(
        answer=b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        reason="small servers and proxies still say it; every engine here reads it, none has to",
        first=_read_as((200, b"hello"), native=(200, b"hello")),
    ),
    "more interim responses than a head may have bytes": Difference(
        answer=http_head(103, {"link": "</x>; rel=preload"}) * 4000 + OK,
        reason="httpx has no limit on them, so without an end they end with the first-chunk limit; native counts them "
        "as a head that does not end. Either way the next provider is asked",
        first=_read_as((200, b"hello"), native="protocol"),
    ),
    "a second response behind the first": Difference(
        answer=OK + http_response(200, b"somebody else's"),
        reason=_UNSEEN,
        first=_read_as((200, b"hello"), native=(200, b"hello")),
        second=_read_as("protocol", native=(200, b"own answer")),
    ),
    "the head of a second response behind the first": Difference(
        answer=OK + http_head(200, {"content-length": "9"}),
        reason=_UNSEEN,
        first=_read_as((200, b"hello"), native=(200, b"hello")),
        second=_read_as("protocol", native=(200, b"own answer")),
    ),
    "bytes beyond the length that use a word of httpcore's": Difference(
        answer=OK + b"Server disconnected without sending a response.\r\n\r\n",
        reason=_UNSEEN,
        first=_read_as((200, b"hello"), native=(200, b"hello")),
        second=_read_as("protocol", native=(200, b"own answer")),
    ),
    "bytes beyond the length that are no whole head": Difference(
        answer=OK + b"extra",
        reason=_UNSEEN,
        first=_read_as((200, b"hello"), native=(200, b"hello")),
        second=_read_as("protocol", native=(200, b"own answer")),
    ),
}


def request_to(
    base_url: str, *, headers: list[Header] = HEADERS, body: bytes = BODY, connect_s: float = 2.0
) -> UpstreamRequest:
    return UpstreamRequest(f"{base_url}/v1/chat/completions", headers, body, connect_s)


@dataclass(frozen=True, slots=True)
class Seen:
    status: int
    headers: list[Header]
    body: bytes


async def fetch(transport: Transport, request: UpstreamRequest) -> Seen:
    """A whole exchange, closed in the end whatever happens."""
    response = await transport.open(request)
    try:
        body = b"".join([chunk async for chunk in response.chunks()])
    finally:
        await response.aclose()
    return Seen(response.status, list(response.headers), body)


async def outcome(transport: Transport, request: UpstreamRequest) -> Outcome:
    try:
        seen = await fetch(transport, request)
    except TransportFailure as failure:
        return failure.kind
    return seen.status, seen.body
