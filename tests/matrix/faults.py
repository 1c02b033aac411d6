"""How the rows make faults that no script of an upstream can: endless sending, names, ports and certificates."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, overload

import anyio
import anyio.abc
import pytest
from anyio.streams.tls import TLSStream

from ogw_asgi.testing import http_response
from ogw_asgi.testing._playing import RawStep

from .wire import completion


class Endless(Sequence[RawStep]):
    """A script that begins like this and then repeats the last step until the connection is closed."""

    def __init__(self, *steps: RawStep) -> None:
        self._steps = steps

    def __len__(self) -> int:
        return 1 << 60

    @overload
    def __getitem__(self, index: int) -> RawStep: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RawStep]: ...
    def __getitem__(self, index: int | slice) -> RawStep | Sequence[RawStep]:
        if isinstance(index, slice):
            raise NotImplementedError
        return self._steps[min(index, len(self._steps) - 1)]


class Pause:
    """What an upstream waits for between two things that it sends: its own slowness."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def wait(self) -> None:
        await anyio.sleep(self._seconds)


def resolve(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, Callable[[], Sequence[str]]]) -> None:
    """The system's resolver, but for these names: their addresses, or whatever the function does instead."""
    known = socket.getaddrinfo

    def look_up(name: Any, *arguments: Any, **options: Any) -> Any:
        host = name.decode() if isinstance(name, bytes) else name
        if host not in names:
            return known(name, *arguments, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in names[host]()]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@contextmanager
def black_hole(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port whose queue of connections is full, so that the kernel drops every further SYN."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        queued: list[socket.socket] = []
        try:
            while True:
                waiting = socket.socket()
                queued.append(waiting)
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
                if not select.select([], [waiting], [], 0.02)[1]:
                    break
                assert len(queued) < 64, "the queue never fills up here"
            yield listener.getsockname()[1]
        finally:
            for waiting in queued:
                waiting.close()


class _Tapped(anyio.abc.ByteStream):
    """Passes everything on and keeps what was received."""

    def __init__(self, stream: anyio.abc.ByteStream, received: bytearray) -> None:
        self._stream = stream
        self._received = received

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._stream.receive(max_bytes)
        self._received += data
        return data

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def tls_upstream(context: ssl.SSLContext) -> AsyncIterator[tuple[str, bytearray]]:
    """A provider behind TLS; yields its URL, and all that was sent to it, as it was on the wire."""
    on_the_wire = bytearray()
    (listener,) = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            try:
                tapped = _Tapped(stream, on_the_wire)
                tls = await TLSStream.wrap(tapped, server_side=True, ssl_context=context, standard_compatible=False)
                received = b""
                while b'"messages"' not in received:
                    received += await tls.receive()
                await tls.send(http_response(200, completion("Hello"), {"content-type": "application/json"}))
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
                pass  # the gateway does not trust us

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"https://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}", on_the_wire
        group.cancel_scope.cancel()
