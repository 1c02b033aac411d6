"""The caller's side of one request: a bare socket that can be read bit by bit and left in every way.

    async with call(port, request(b'{"model": ...}')) as exchange:
        await exchange.read_until(b"Hello")
        reply = await exchange.rest()

Knows HTTP as far as h11 does, and nothing of gateways or matrices.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import h11

READ_BYTES = 64 << 10
_TIMING = re.compile(r'([a-z0-9_.-]+);dur=(\d+);desc="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Timed:
    """One entry of Server-Timing."""

    provider: str
    duration_ms: int
    label: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `ended`: its body had its end; `raw`: everything that came over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = field(repr=False)
    ended: bool
    raw: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """The value, None if there is none. A header that came twice fails the test."""
        values = [value for each, value in self.headers if each == name]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def timings(self) -> list[Timed]:
        found = _TIMING.findall(self.header("server-timing") or "")
        return [Timed(provider, int(duration), label) for provider, duration, label in found]

    @property
    def error(self) -> dict[str, Any]:
        """The error of an envelope."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


class Exchange:
    """A request on a connection of its own, and its answer as it comes."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._http = h11.Connection(h11.CLIENT)
        self._head: h11.Response | None = None
        self._gone = self._ended = False
        self.raw = bytearray()
        self.body = bytearray()

    async def send(self, request: bytes) -> None:
        """A whole request, head and body; stops early when the server has closed the connection."""
        head, _, body = request.partition(b"\r\n\r\n")
        _follow(self._http, head, body)
        unsent = memoryview(request)
        while unsent:
            await anyio.wait_writable(self._socket)
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except BlockingIOError:
                continue
            except OSError:
                return

    async def send_raw(self, data: bytes) -> None:
        """Bytes as they are, for requests that are none; the answer is read as that of a POST."""
        if self._http.our_state is h11.IDLE:
            self._http.send(h11.Request(method="POST", target="/", headers=[("host", "gw"), ("content-length", "0")]))
            self._http.send(h11.EndOfMessage())
        unsent = memoryview(data)
        while unsent:
            await anyio.wait_writable(self._socket)
            unsent = unsent[self._socket.send(unsent) :]

    async def head(self) -> int:
        """Waits for the head of the answer, and gives its status."""
        while self._head is None:
            assert not self._gone, "the connection ended without an answer"
            await self._read()
        return self._head.status_code

    async def read_until(self, mark: bytes) -> bytes:
        """Reads on until the body holds `mark`; gives the body so far."""
        while mark not in self.body:
            assert not self._gone, f"the body ended without {mark!r}: {bytes(self.body)!r}"
            await self._read()
        return bytes(self.body)

    async def read_some(self) -> bool:
        """Reads what is there, or waits for it. False when there is nothing more to come."""
        if not (self._gone or self._ended):
            await self._read()
        return not (self._gone or self._ended)

    async def rest(self) -> Reply:
        """Everything up to the end of the answer, or of the connection."""
        while not (self._gone or self._ended):
            await self._read()
        assert self._head is not None, f"no answer: {bytes(self.raw)!r}"
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._head.headers]
        return Reply(self._head.status_code, headers, bytes(self.body), self._ended, bytes(self.raw))

    def leave(self, how: Literal["fin", "rst", "half-close"]) -> None:
        """Closes the connection, resets it, or only says that nothing more will be sent."""
        if how == "half-close":
            self._socket.shutdown(socket.SHUT_WR)
            return
        if how == "rst":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._gone = True
        self._socket.close()

    async def _read(self) -> None:
        await anyio.wait_readable(self._socket)
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.raw += data
        self._gone = not data
        try:
            self._http.receive_data(data)
            while not self._ended:
                event = self._http.next_event()
                if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                    break
                if isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self.body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self._ended = True
        except h11.RemoteProtocolError:
            self._gone = True  # an end in the middle; whatever came before it has been taken


def _follow(http: h11.Connection, head: bytes, body: bytes) -> None:
    """Tells h11 what is sent, so that it knows what it reads."""
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.split(b" ")
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, _, value = line.partition(b":")
        headers.append((name, value.strip()))
    http.send(h11.Request(method=method, target=target, headers=headers))
    if body:
        http.send(h11.Data(data=body))
    http.send(h11.EndOfMessage())


def request(
    body: bytes, headers: Iterable[tuple[str, str]] = (), *, path: str = "/chat/completions", method: str = "POST"
) -> bytes:
    """A whole request; `content-type: application/json` unless told otherwise."""
    pairs = [("host", "gateway.test"), *headers]
    if not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(("content-type", "application/json"))
    pairs.append(("content-length", str(len(body))))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Exchange]:
    """A connection on which nothing has been sent; closed in the end whatever happens."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Exchange(sock)


@asynccontextmanager
async def call(port: int, sent: bytes) -> AsyncIterator[Exchange]:
    """A connection on which a whole request has been sent."""
    async with connected(port) as exchange:
        await exchange.send(sent)
        yield exchange
