"""From an address to a connection that a pool knows: dial, shake hands, within one limit. For every engine of ours."""

from __future__ import annotations

import asyncio
import ssl
import sys

import anyio

from .._values import UpstreamRequest
from ._connection import BROKEN, Connection
from ._pool import Pool
from ._protocol import ProtocolConnection
from ._request import Origin
from ._stream import StreamConnection
from .base import TransportFailure
from .dial import Dialer


async def connect(
    pool: Pool, dialer: Dialer, origin: Origin, tls: ssl.SSLContext, request: UpstreamRequest
) -> Connection:
    """A new connection. Raises TransportFailure: nothing of a request has been sent, and nothing is left open."""
    if pool.closed:
        raise TransportFailure("connect")
    scheme, host, port = origin
    context = tls if scheme == "https" else None
    with anyio.CancelScope(deadline=anyio.current_time() + request.connect_s):
        sock = await dialer.dial(host, port, request.permits)
        try:
            connection = await _kind_of_connection().take_over(sock, context, host)
        except (*BROKEN, ValueError):  # ValueError: a name that no certificate can be for
            raise TransportFailure("connect" if context is None else "tls") from None
        if not pool.add(connection):
            raise TransportFailure("connect")
        return connection
    raise TransportFailure("connect_timeout")


def _kind_of_connection() -> type[ProtocolConnection | StreamConnection]:
    try:
        # Not the running loop: trio in guest mode has one beneath it.
        on_asyncio = asyncio.current_task() is not None
    except RuntimeError:
        on_asyncio = False
    return ProtocolConnection if on_asyncio and sys.platform != "win32" else StreamConnection
