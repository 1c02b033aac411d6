"""A connected socket that belongs to us and not to the loop: read only when somebody wants bytes, closed at once."""

from __future__ import annotations

import socket
import ssl

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream

PIECE_BYTES = 256 << 10
"""A long body is handed on in such pieces: loops copy what they cannot send at once; TLS keeps its largest buffer."""

_AGAIN = (BlockingIOError, InterruptedError)
_HAS_SENDMSG = hasattr(socket.socket, "sendmsg")  # not on Windows


def readable(sock: socket.socket) -> bool:
    """Whether a read would return at once: on an idle connection, that it is over, or out of step."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except _AGAIN:
        return False
    except OSError:
        pass
    return True


def holds_bytes(tls: ssl.SSLObject | None) -> bool:
    """Whether TLS has more to give of what was read from the socket already; to be asked when nothing may be left.

    It takes a byte to find out, so a connection where this is true is of no use any more.
    """
    if tls is None:
        return False
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        pass
    return True


def send_at_once(sock: socket.socket, head: bytes, body: bytes | memoryview) -> int:
    """How many bytes of both the kernel took, in one segment where they fit. Raises OSError."""
    try:
        if _HAS_SENDMSG:
            return sock.sendmsg((head, body))
        return sock.send(b"".join((head, body)))
    except _AGAIN:
        return 0


def close(sock: socket.socket) -> None:
    """Whoever waits for it is told. Harmless when repeated."""
    if sock.fileno() >= 0:
        anyio.notify_closing(sock)
        sock.close()


class SocketStream(ByteStream):
    """A socket as a byte stream, on any loop.

    anyio's own stream over an existing socket reads ahead on asyncio from the moment that it is made, and for as long
    as its queue has not run empty since: a server that talks before it is asked would fill the memory.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            self._require_open()
            try:
                data = self._socket.recv(max_bytes)
            except _AGAIN:
                await anyio.wait_readable(self._socket)
                waited = True
                continue
            except OSError:
                raise anyio.BrokenResourceError from None
            if not waited:  # others get their turn, however fast it comes
                await anyio.lowlevel.cancel_shielded_checkpoint()
            if not data:
                raise anyio.EndOfStream
            return data

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()  # most often all goes out at once, and nothing below waits
        rest = memoryview(item)
        while rest:
            self._require_open()
            try:
                rest = rest[self._socket.send(rest) :]
            except _AGAIN:
                await anyio.wait_writable(self._socket)
            except OSError:
                raise anyio.BrokenResourceError from None

    async def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        close(self._socket)

    def _require_open(self) -> None:
        if self._socket.fileno() < 0:
            raise anyio.ClosedResourceError
