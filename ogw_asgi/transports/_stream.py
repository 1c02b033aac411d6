"""The connection on any loop that anyio runs on, over its byte streams."""

from __future__ import annotations

import socket
import ssl
from typing import Self

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute, TLSStream

from ._connection import BROKEN, READ_BYTES, Connection, Shelf
from ._socket import PIECE_BYTES, SocketStream, close, holds_bytes, readable, send_at_once


class StreamConnection(Connection):
    """See Connection."""

    def __init__(self, sock: socket.socket, lower: _Stoppable, stream: ByteStream) -> None:
        self._socket = sock
        self._lower = lower
        self._stream = stream
        self._tls: ssl.SSLObject | None = stream.extra(TLSAttribute.ssl_object, None)

    @classmethod
    async def take_over(cls, sock: socket.socket, tls: ssl.SSLContext | None, host: str) -> Self:
        lower = _Stoppable(sock)
        stream: ByteStream = lower
        try:
            if tls is not None:
                stream = await TLSStream.wrap(lower, hostname=host, ssl_context=tls, standard_compatible=False)
        except BaseException:
            close(sock)
            raise
        return cls(sock, lower, stream)

    async def send(self, head: bytes, body: bytes) -> None:
        try:
            if self._tls is None:
                sent = send_at_once(self._socket, head, body)
                if sent < len(head) + len(body):
                    await self._send_or_be_answered(head[sent:], body, max(0, sent - len(head)))
            else:
                start = max(0, READ_BYTES - len(head))  # so much goes with the head: one record, one segment
                await self._stream.send(head + body[:start])
                if start < len(body):
                    await self._send_or_be_answered(b"", body, start)
        except (ConnectionError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            self.unsent = True  # but what the peer may have said before is still to be read
        except OSError:  # of our own system
            self.abort()
        except BaseException:
            self.abort()
            raise

    async def _send_or_be_answered(self, head: bytes, body: bytes, start: int) -> None:
        async with anyio.create_task_group() as group:

            async def listen() -> None:
                while not self._answered():
                    await self._read()
                self.unsent = True
                self._lower.stop_sending()

            group.start_soon(listen)
            try:
                if head:
                    await self._stream.send(head)
                for begin in range(start, len(body), PIECE_BYTES):
                    if self.unsent:
                        break
                    await self._stream.send(body[begin : begin + PIECE_BYTES])
            except BROKEN:
                self.unsent = True
            group.cancel_scope.cancel()

    async def wait(self) -> None:
        try:
            await self._read()
        except BaseException:
            self.abort()
            raise

    async def _read(self) -> None:
        assert self.parser is not None
        try:
            self.parser.feed(await self._stream.receive(READ_BYTES))
        except anyio.EndOfStream:
            self._end(clean=True)
        except BROKEN:
            self._end(clean=False)

    def still_good(self) -> bool:
        return not self.lost and not readable(self._socket) and not holds_bytes(self._tls)

    def park(self, idle_s: float, shelf: Shelf) -> None:
        super().park(idle_s, shelf)
        if not self.still_good():  # nobody reads from now on, and many a server ends it with its answer
            self.abort()

    def abort(self) -> None:
        super().abort()
        close(self._socket)


class _Stoppable(SocketStream):
    """A socket whose `send` can be made to return: cancelled within it, anyio's TLS would take no byte any more."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._sending = anyio.CancelScope()
        self._stopped = False

    async def send(self, item: bytes) -> None:
        if not self._stopped:
            with anyio.CancelScope() as self._sending:
                await super().send(item)

    def stop_sending(self) -> None:
        self._stopped = True
        self._sending.cancel()
