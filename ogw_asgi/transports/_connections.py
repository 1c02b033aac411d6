"""The connections of one engine of ours: how they are made, lent and given back."""

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


class Connections:
    """Without `keepalive` each is used once."""

    def __init__(self, tls: ssl.SSLContext, dialer: Dialer | None, *, keepalive: bool) -> None:
        self._tls = tls
        self._dialer = Dialer() if dialer is None else dialer
        self._keepalive = keepalive
        self._pool = Pool()

    def keeps(self, request: UpstreamRequest) -> bool:
        """Whether its connection is for others afterwards, too; one with permits of its own is not."""
        return self._keepalive and request.permits is None

    def idle(self, origin: Origin, request: UpstreamRequest) -> Connection | None:
        """One that has been given back, and is good still. Whatever is lent is given back, or ends."""
        return self._pool.take(origin) if request.permits is None else None

    async def new(self, origin: Origin, request: UpstreamRequest, *, resent: bool = False) -> Connection:
        """Raises TransportFailure, and nothing is left open.

        `resent`: the request has gone out before, so that no failure may promise that nothing was sent.
        """
        try:
            return await self._connect(origin, request)
        except TransportFailure:
            if not resent:
                raise
        raise TransportFailure("reset")

    async def _connect(self, origin: Origin, request: UpstreamRequest) -> Connection:
        if self._pool.closed:
            raise TransportFailure("connect")
        scheme, host, port = origin
        tls = self._tls if scheme == "https" else None
        with anyio.CancelScope(deadline=anyio.current_time() + request.connect_s):
            sock = await self._dialer.dial(host, port, request.permits)
            try:
                connection = await _kind_of_connection().take_over(sock, tls, host)
            except (*BROKEN, ValueError):  # ValueError: a name that no certificate can be for
                raise TransportFailure("connect" if tls is None else "tls") from None
            if not self._pool.add(connection):
                raise TransportFailure("connect")
            return connection
        raise TransportFailure("connect_timeout")

    def give_back(self, origin: Origin, connection: Connection, *, reusable: bool) -> None:
        """`reusable`: it is one to be kept, and its answer has been read to its end."""
        if reusable and not connection.lost and not connection.unsent:
            self._pool.put(origin, connection)
        else:
            connection.abort()

    def close(self) -> None:
        """Those that are lent, too."""
        self._pool.close()


def _kind_of_connection() -> type[ProtocolConnection | StreamConnection]:
    try:
        # Not the running loop: trio in guest mode has one beneath it.
        on_asyncio = asyncio.current_task() is not None
    except RuntimeError:
        on_asyncio = False
    return ProtocolConnection if on_asyncio and sys.platform != "win32" else StreamConnection
