"""One accepted TCP connection, on the bare socket; knows the framing of HTTP/1.1 requests and no script.

Not anyio's SocketStream: closing that sends FIN first, which hides the RST that `reset()` must put on the
wire.
"""

from __future__ import annotations

import re
import socket
import struct
from types import TracebackType
from typing import Self

import anyio

from ._signals import Waitable

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class PeerClosed(Exception):
    """The other side has closed or reset the connection."""


class Connection:
    """Owns the socket; to be used by one task."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        # Nagle would hold small chunks back, and an RST throws away what was not yet sent.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self._unread = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    @property
    def is_open(self) -> bool:
        return self._socket.fileno() != -1

    async def read_head(self) -> bytes:
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            await self._fill()
        return self._take(end + 4)

    async def read_body(self, head: bytes) -> bytes:
        if _CHUNKED.search(head):
            raise ValueError("RawUpstream reads content-length bodies; this request has a transfer-encoding")
        length = _CONTENT_LENGTH.search(head)
        count = int(length[1]) if length else 0
        while len(self._unread) < count:
            await self._fill()
        return self._take(count)

    async def read_to_end(self) -> None:
        while True:
            await self._fill()

    async def send(self, data: bytes) -> None:
        unsent = memoryview(data)
        while unsent:
            await anyio.wait_writable(self._socket)
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise PeerClosed from error

    async def wait_for(self, event: Waitable) -> None:
        """Returns when the event is set; raises PeerClosed when the other side closes first."""
        closed: PeerClosed | None = None
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                nonlocal closed
                try:
                    await self.read_to_end()
                except PeerClosed as error:
                    closed = error
                    group.cancel_scope.cancel()

            group.start_soon(watch)
            await event.wait()
            group.cancel_scope.cancel()
        if closed is not None:
            raise closed

    def send_fin(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise PeerClosed from error

    def reset(self) -> None:
        # close() with a linger time of zero sends RST instead of FIN (socket(7), SO_LINGER).
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def _fill(self) -> None:
        await anyio.wait_readable(self._socket)
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            raise PeerClosed from error
        if not data:
            raise PeerClosed
        self._unread += data

    def _take(self, count: int) -> bytes:
        taken = bytes(self._unread[:count])
        del self._unread[:count]
        return taken


async def accept(listener: socket.socket) -> Connection:
    """The next connection of a listening, non-blocking socket."""
    while True:
        await anyio.wait_readable(listener)
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            continue  # the caller gave up between the two calls
        return Connection(accepted)
