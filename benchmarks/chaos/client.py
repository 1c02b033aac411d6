"""A caller's HTTP: one POST at a time over a kept connection, and exactly what came back, a missing end included."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from .verdict import Received

IDLE_MAX_S = 2.0
"""Below what every server keeps an idle connection for: a caller of the bench never meets one that is just closing."""

_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Exchanged:
    """`first_s` is when the first byte of the body was there; None without one."""

    received: Received
    first_s: float | None
    end_s: float


class Left(Exception):
    """The caller went away, as it was told to."""


class Client:
    """Connections that are open and idle, shared by all callers of the process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(
        self, path: str, headers: dict[str, str], body: bytes, *, leave_after_s: float | None = None
    ) -> Exchanged:
        """Raises Left when `leave_after_s` ran out first; the connection is closed without a further word then."""
        reader, writer = await self._connect()
        lines = [f"POST {path} HTTP/1.1", "host: gateway", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(body)}", "", ""]
        kept = False
        try:
            writer.write("\r\n".join(lines).encode("ascii") + body)
            answer = _Answer()
            try:
                async with asyncio.timeout(leave_after_s):
                    await answer.read(reader)
            except TimeoutError:
                raise Left from None
            kept = answer.ended and not answer.close
            return Exchanged(answer.received(), answer.first_s, time.monotonic())
        finally:
            if kept:
                self._idle.append((time.monotonic(), reader, writer))
            else:
                writer.close()

    async def get(self, path: str) -> bytes:
        """Over a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_BYTES)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n".encode("ascii"))
            answer = _Answer()
            await answer.read(reader)
            return answer.received().body
        finally:
            writer.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[2].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            since_s, reader, writer = self._idle.pop()
            if time.monotonic() - since_s < IDLE_MAX_S and not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port, limit=_BYTES)


class _Answer:
    """Grows while it is read; a connection that breaks leaves what has come until then."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.ended = False
        self.close = False
        self.first_s: float | None = None

    def received(self) -> Received:
        return Received(status=self.status, headers=self.headers, body=bytes(self.body), ended=self.ended)

    async def read(self, reader: asyncio.StreamReader) -> None:
        try:
            await self._read(reader)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            self.close = True

    async def _read(self, reader: asyncio.StreamReader) -> None:
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        for field in fields:
            name, colon, value = field.partition(":")
            if colon:
                self.headers[name.lower()] = value.strip()
        self.status = int(status.split(" ")[1])
        self.close = "close" in self.headers.get("connection", "")
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                self._take((await reader.readexactly(size + 2))[:-2])
            await reader.readexactly(2)
        else:
            self._take(await reader.readexactly(int(self.headers["content-length"])))
        self.ended = True

    def _take(self, data: bytes) -> None:
        # The gateway holds a role-only event back until the first words: whatever comes first comes with them.
        if self.first_s is None:
            self.first_s = time.monotonic()
        self.body += data
