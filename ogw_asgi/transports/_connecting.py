"""From an address to a connection that a pool knows: dial, shake hands, within one limit."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .._values import Permits
from ._pool import Pool, Pooled
from ._request import Origin
from ._socket import BROKEN
from .base import TransportFailure
from .dial import Dialer

C = TypeVar("C", bound=Pooled)

TakeOver = Callable[[socket.socket, ssl.SSLContext | None, str], Awaitable[C]]
"""Takes a connected socket over and shakes hands. Raises one of `BROKEN`, or ValueError; then the socket is closed."""


async def connect(
    pool: Pool[C],
    dialer: Dialer,
    origin: Origin,
    take_over: TakeOver[C],
    *,
    tls: ssl.SSLContext,
    connect_s: float,
    permits: Permits | None,
) -> C:
    """A new connection. Raises TransportFailure: nothing of a request has been sent, and nothing is left open."""
    if pool.closed:
        raise TransportFailure("connect")
    scheme, host, port = origin
    context = tls if scheme == "https" else None
    with anyio.CancelScope(deadline=anyio.current_time() + connect_s):
        sock = await dialer.dial(host, port, permits)
        try:
            connection = await take_over(sock, context, host)
        except (*BROKEN, ValueError):  # ValueError: a name that no certificate can be for
            raise TransportFailure("connect" if context is None else "tls") from None
        if not pool.add(connection):
            raise TransportFailure("connect")
        return connection
    raise TransportFailure("connect_timeout")
