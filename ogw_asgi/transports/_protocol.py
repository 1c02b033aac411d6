"""The connection on asyncio: a protocol, not a stream. Cheaper, and it sees what comes while nobody reads.

Not for Windows, whose loop reads ahead: what has come could not be looked at in the socket.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from typing import Any, Self

import anyio.lowlevel

from ._connection import READ_BYTES, Connection, Shelf
from ._socket import PIECE_BYTES, readable, send_at_once

UNREAD_BYTES = 64 << 10
"""With so much waiting for a slow reader the source is stopped; one more read may have come on top of it."""

WAITS = 8
"""So many in a row go by before it is asked whether the task has been cancelled: asking costs as much as waiting."""

_NO_BUFFER = memoryview(b"")

_of_thread = threading.local()


def _buffer() -> memoryview:
    """What a loop reads into; it hands that over before it reads again, so all connections of a thread share one: of
    their own, 64 KiB each, most of an idle stream's memory would be that.
    """
    shared: memoryview | None = getattr(_of_thread, "buffer", None)
    if shared is None:
        shared = _of_thread.buffer = memoryview(bytearray(READ_BYTES))
    return shared


class ProtocolConnection(Connection, asyncio.BufferedProtocol):
    """See Connection."""

    _transport: Any = None
    _raw: Any = None
    """The transport of the socket itself, below TLS if there is TLS; only this one is ever paused."""
    _unread_bytes = 0
    _reading = _writing = True
    _waiter: asyncio.Future[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _idle_since_s = 0.0
    _waits = 0

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._buffer = _buffer()

    @classmethod
    async def take_over(cls, sock: socket.socket, tls: ssl.SSLContext | None, host: str) -> Self:
        connection = cls(sock)
        loop = connection._loop
        raw, _ = await loop.create_connection(lambda: connection, sock=sock)
        if tls is not None:
            if connection.lost or raw.is_closing():  # uvloop would begin a handshake that never ends
                raise ConnectionResetError
            try:
                upper: Any = await loop.start_tls(raw, _AboveTLS(connection), tls, server_hostname=host)
            except BaseException:
                raw.abort()
                raise
            upper.set_read_buffer_limits(high=16 * PIECE_BYTES)  # else it would resume what we have paused
            connection._transport = upper
            connection._buffer = _NO_BUFFER
        return connection

    async def send(self, head: bytes, body: bytes) -> None:
        try:
            await self._send(head, memoryview(body))
        except (ConnectionError, RuntimeError):  # the latter is uvloop's word for a connection that is gone
            self.unsent = True  # but what the peer may have said before is still to be read
        except OSError:  # of our own system
            self.abort()

    async def _send(self, head: bytes, body: memoryview) -> None:
        if self._transport is not self._raw:
            self._transport.writelines((head, body[:PIECE_BYTES]))
            left = body[PIECE_BYTES:]
        else:
            sent = send_at_once(self._socket, head, body)  # nothing of ours is before it: see `still_good`
            if sent < len(head):
                self._transport.write(head[sent:])
            left = body[max(0, sent - len(head)) :]
        while left or not self._writing:
            if self._answered() or self._transport.is_closing():
                self.unsent = True
                return
            if self._writing:
                self._transport.write(left[:PIECE_BYTES])
                left = left[PIECE_BYTES:]
            else:
                await self.wait()

    async def wait(self) -> None:
        self._resume()
        self._waiter = self._loop.create_future()
        try:
            # anyio does not cancel a task whose wait is over, and a peer that is never silent ends every one at once.
            self._waits = (self._waits + 1) % WAITS
            if not self._waits:
                await anyio.lowlevel.checkpoint_if_cancelled()
            await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None

    def still_good(self) -> bool:
        # A server may have answered before it has read all: what is on its way still must not mix with what comes next.
        return not self.lost and not self._raw.get_write_buffer_size() and not readable(self._socket)

    def park(self, idle_s: float, shelf: Shelf) -> None:
        super().park(idle_s, shelf)
        self._resume()
        self._idle_since_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(idle_s, self._expire, idle_s)

    def abort(self) -> None:
        super().abort()
        self._transport.abort()

    def _expire(self, idle_s: float) -> None:
        self._timer = None  # set anew by `park` if it is busy: so there is one timer, not one for each exchange
        if self.parser is None and not self.lost:
            left_s = self._idle_since_s + idle_s - self._loop.time()
            if left_s > 0:
                self._timer = self._loop.call_later(left_s, self._expire, idle_s)
            else:
                self.abort()

    def _resume(self) -> None:
        self._unread_bytes = 0
        if not self._reading and not self._raw.is_closing():
            self._reading = True
            self._raw.resume_reading()

    def _end(self, *, clean: bool) -> None:
        super()._end(clean=clean)
        if self._timer is not None:
            self._timer.cancel()
        self._buffer = _NO_BUFFER  # an answer that is still read may know this connection for longer
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- called by the loop ---

    def connection_made(self, transport: Any) -> None:
        self._transport = self._raw = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self._buffer[:nbytes])

    def data_received(self, data: bytes | memoryview) -> None:
        if self.parser is None:
            self.abort()
            return
        self.parser.feed(data)
        self._unread_bytes += len(data)
        # TLS reads four times as much at once, so there one read is as much as may wait.
        if self._reading and (self._unread_bytes > UNREAD_BYTES or self._transport is not self._raw):
            self._reading = False
            self._raw.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._end(clean=True)
        if self.parser is None:
            self.abort()  # asyncio would wait until all is sent that nobody reads any more

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(clean=False)

    def pause_writing(self) -> None:
        self._writing = False

    def resume_writing(self) -> None:
        self._writing = True
        self._wake()


class _AboveTLS(asyncio.Protocol):
    """Hands on what TLS has decrypted: for a BufferedProtocol asyncio drops what is left in its own buffers at the end.

    Their limits, too, are asyncio's own, which is why TLS is stopped below it, at the socket.
    """

    def __init__(self, connection: ProtocolConnection) -> None:
        for name in ("data_received", "eof_received", "connection_lost", "pause_writing", "resume_writing"):
            setattr(self, name, getattr(connection, name))
