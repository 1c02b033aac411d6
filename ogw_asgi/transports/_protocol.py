"""The connection on asyncio: a protocol, not a stream. Cheaper, and it sees what comes while nobody reads."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Self

from ._connection import PIECE_BYTES, READ_BYTES, Connection
from ._socket import readable, send_at_once

UNREAD_BYTES = 64 << 10
"""With so much waiting for a slow reader the source is stopped; one more read may have come on top of it."""


class ProtocolConnection(Connection, asyncio.BufferedProtocol):
    """See Connection."""

    _transport: Any = None
    _tls = False
    _unread_bytes = 0
    _reading = _writing = True
    _waiter: asyncio.Future[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _idle_since_s = 0.0

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._buffer = memoryview(bytearray(READ_BYTES))

    @classmethod
    async def over(cls, sock: socket.socket, tls: ssl.SSLContext | None, host: str) -> Self:
        connection = cls(sock)
        loop = connection._loop
        plain, _ = await loop.create_connection(lambda: connection, sock=sock)
        if tls is not None:
            if connection.lost or plain.is_closing():  # uvloop would begin a handshake that never ends
                raise ConnectionResetError
            try:
                connection._transport = await loop.start_tls(plain, connection, tls, server_hostname=host)
            except BaseException:
                plain.abort()
                raise
            connection._tls = True
        return connection

    async def send(self, head: bytes, body: bytes) -> None:
        try:
            await self._send(head, memoryview(body))
        except (OSError, RuntimeError):  # the latter is uvloop's word for a connection that is gone
            self.unsent = True  # but what the peer may have said before is still to be read

    async def _send(self, head: bytes, body: memoryview) -> None:
        assert self.parser is not None
        if self._tls:
            self._transport.writelines((head, body[:PIECE_BYTES]))
            rest = body[PIECE_BYTES:]
        else:
            sent = send_at_once(self._socket, head, body)
            if sent < len(head):
                self._transport.write(head[sent:])
            rest = body[max(0, sent - len(head)) :]
        while rest or not self._writing:
            if self.lost or self.parser.received_bytes:
                self.unsent = True
                return
            if self._writing:
                self._transport.write(rest[:PIECE_BYTES])
                rest = rest[PIECE_BYTES:]
            else:
                await self.wait()

    async def wait(self) -> None:
        self._resume()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None

    def quiet(self) -> bool:
        return not self.lost and not readable(self._socket)

    def rest(self, idle_s: float) -> None:
        super().rest(idle_s)
        self._resume()
        self._idle_since_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(idle_s, self._expire, idle_s)

    def abort(self) -> None:
        super().abort()
        self._transport.abort()

    def _expire(self, idle_s: float) -> None:
        self._timer = None  # set anew by `rest` if it is busy: so there is one timer, not one for each exchange
        if self.parser is None and not self.lost:
            left_s = self._idle_since_s + idle_s - self._loop.time()
            if left_s > 0:
                self._timer = self._loop.call_later(left_s, self._expire, idle_s)
            else:
                self.abort()

    def _resume(self) -> None:
        self._unread_bytes = 0
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def _end(self, *, clean: bool) -> None:
        super()._end(clean=clean)
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- called by the loop ---

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.parser is None:
            self.abort()
            return
        self.parser.feed(self._buffer[:nbytes])
        self._unread_bytes += nbytes
        if self._unread_bytes > UNREAD_BYTES and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._end(clean=True)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self.parser is not None and not self._tls and not self.lost:
            # A write that fails ends the transport, with an early answer (413, and closed) perhaps still unread.
            try:
                for data in iter(lambda: self._socket.recv(READ_BYTES), b""):
                    self.parser.feed(data)
            except OSError:
                pass
        self._end(clean=False)

    def pause_writing(self) -> None:
        self._writing = False

    def resume_writing(self) -> None:
        self._writing = True
        self._wake()
