"""A stream over a unix socket. On asyncio, anyio's own raises into the loop where an answer comes in the turn in which
the limit passes, and spins where the server takes no more connections."""

from __future__ import annotations

import socket
from typing import Final

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream


class UnixStream(ByteStream):
    def __init__(self, connected: socket.socket) -> None:
        self._socket: Final = connected
        self._closed = False

    @classmethod
    async def connect(cls, path: str) -> UnixStream:
        """Raises OSError: nobody listens there, or as many wait already as may."""
        await anyio.lowlevel.checkpoint()
        made = socket.socket(socket.AF_UNIX)
        try:
            made.setblocking(False)
            made.connect(path)  # local: done at once, or refused
        except BaseException:
            made.close()
            raise
        return cls(made)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            except OSError as error:
                raise self._failure from error
            else:
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        left = memoryview(item)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise self._failure from error

    async def send_eof(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._failure from error

    @property
    def _failure(self) -> Exception:
        return anyio.ClosedResourceError() if self._closed else anyio.BrokenResourceError()

    async def aclose(self) -> None:
        self._closed = True
        anyio.notify_closing(self._socket)
        self._socket.close()
        await anyio.lowlevel.checkpoint()
