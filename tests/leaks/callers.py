"""Callers on bare sockets: they ask, read as far as their plan says, and leave in the way that it says."""

from __future__ import annotations

import socket
import struct
import time

import anyio

from .plans import Plan
from .provider import Provider
from .upstream import BULK_BYTES

_BODY = b'{"model": "some-model", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'
_END = b"\r\n0\r\n\r\n"


def request(request_id: str) -> bytes:
    head = (
        b"POST /chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\nx-request-id: %b\r\n\r\n"
    )
    return head % (len(_BODY), request_id.encode()) + _BODY


class Socket:
    """A connection to the gateway, on the bare socket: close is FIN, and a reset is one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()

    async def connect(self) -> None:
        self._socket.connect_ex(("127.0.0.1", self._port))
        await anyio.wait_writable(self._socket)

    async def send(self, data: bytes) -> None:
        await anyio.wait_writable(self._socket)
        assert self._socket.send(data) == len(data)

    async def read(self) -> bool:
        """Some more; False at the end."""
        await anyio.wait_readable(self._socket)
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self.received += data
        return data != b""

    async def read_chunks(self, count: int) -> None:
        while self.received.count(b"data: ") < count:
            assert await self.read(), f"the gateway left after {bytes(self.received)!r}"

    async def read_bulk(self, count: int) -> None:
        """Keeps nothing of it."""
        left = count * BULK_BYTES
        while left > 0:
            assert await self.read(), "the gateway left"
            left -= len(self.received)
            self.received.clear()

    async def read_whole(self) -> None:
        while not self.received.endswith(_END):
            assert await self.read(), f"the gateway left after {bytes(self.received)!r}"
        assert b"data: [DONE]\n\n" in self.received

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        # A linger time of zero: RST instead of FIN (socket(7), SO_LINGER).
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def leave(self, way: str) -> None:
        if way == "half":
            self._socket.shutdown(socket.SHUT_WR)
        elif way == "rst":
            self.reset()
        else:
            self.close()

    async def read_to_end(self) -> None:
        while await self.read():
            pass


async def call(port: int, plan: Plan, provider: Provider) -> float | None:
    """Plays the plan; returns how long after the caller's leaving the provider's connection was closed, in seconds.

    None where nothing is to be closed, or where it is not known whether there was anything.
    """
    caller = Socket(port)
    try:
        await caller.connect()
        whole = request(plan.request_id)
        await caller.send(whole[:-20] if plan.leaves == "upload" else whole)
        if plan.leaves is None:
            await caller.read_whole()
            return None
        if plan.leaves in ("head", "first", "mid"):
            await provider.reached(plan.number)
            await caller.read_chunks(plan.chunks)
        left_s = time.monotonic()
        await caller.leave(plan.way)
        if plan.way == "half":
            await caller.read_to_end()
        if plan.leaves in ("upload", "sent"):
            return None
        return await provider.closed(plan.number) - left_s
    finally:
        caller.close()
