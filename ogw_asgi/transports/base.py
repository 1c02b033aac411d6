"""The transport seam: POST one body, read one answer. Only primitives cross it.

An engine knows an HTTP library and sockets; it knows nothing of chat, of providers or of ASGI. What it promises is
written here and proved by one contract suite (`tests/transports/`) that every engine is plugged into.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

from .._values import Header, UpstreamRequest

FailureKind = Literal[
    "dns", "connect", "connect_timeout", "tls", "denied", "misdirected", "exhausted", "reset", "protocol", "timeout"
]


OWN_HEADERS = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""What an engine says itself. A request that brings one of them fails with `protocol`: two framings are smuggling."""


class TransportFailure(Exception):
    """The exchange failed below HTTP.

    `kind` says how; `dns`, `connect`, `connect_timeout`, `tls`, `denied`, `misdirected` and `exhausted` promise that
    not one byte of the request was sent. `exhausted`: our own system gave no socket, port or thread; that says nothing
    of the server. `denied`: the host leads to an `address` that the request's `permits` forbids, or the peer was
    another than was dialled. `misdirected`: the URL leads elsewhere than to the request's `origin`.
    The text never holds what the library said: libraries put URLs and header values, keys included, into theirs.
    """

    def __init__(self, kind: FailureKind, address: str | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.address = address


class UpstreamResponse(Protocol):
    """A response whose head has arrived.

    Attributes:
        status: as it stood on the wire, whatever it was (redirects are never followed).
        headers: lower-case names, repeated headers kept, in the order of the wire.
    """

    status: int
    headers: Sequence[Header]

    @property
    def at_end(self) -> bool:
        """All of the body has been taken, and its end has come, as far as that can be told without waiting."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, not decoded, dechunked; may be iterated once.

        A body that ends early (a reset, a short content-length, a missing last chunk) raises TransportFailure; a
        body that ends with its connection, without either length, cannot be told from a whole one and ends cleanly.
        """
        ...

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else close it. Harmless when repeated."""
        ...


class Transport(Protocol):
    """One engine, with its connections, for one provider. Safe for concurrent use from one event loop."""

    async def open(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request and wait for the response's head. An `UpstreamQuestion` has no body and no length.

        DNS, TCP and TLS together end after `request.connect_s`; nothing else here has a time limit, for the caller
        brings its own cancel scope. Cancelling at any point closes the connection. A reused connection that the
        peer had closed, and that gave not one byte back, is replaced and the request re-sent once, silently.
        A request with `permits` has a connection of its own, which is made to no address that it forbids.

        Raises TransportFailure, and nothing else, when no head arrives.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection that this engine opened. Harmless when repeated."""
        ...
