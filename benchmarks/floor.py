"""A lower bound, and no client: an asyncio Protocol fused with httptools, without one line for what can go wrong.

No limits, no re-send, no back-pressure, no TLS, no name resolution, no cancellation, asyncio alone. What an engine
costs above this is the price of being right.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast
from urllib.parse import urlsplit

import httptools

from ogw_asgi._values import Header, UpstreamRequest


class Floor:
    """See ogw_asgi.transports.base.Transport for the shape; the promises are not kept."""

    def __init__(self) -> None:
        self._idle: list[_Connection] = []
        self._all: list[_Connection] = []

    async def open(self, request: UpstreamRequest) -> _Connection:
        url = urlsplit(request.url)
        assert url.hostname is not None
        assert url.port is not None
        if self._idle:
            connection = self._idle.pop()
        else:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self._idle), url.hostname, url.port
            )
            self._all.append(connection)
        head = b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n" % (
            (f"{url.path}?{url.query}" if url.query else url.path).encode(),
            url.netloc.encode(),
            b"".join([b"%b: %b\r\n" % header for header in request.headers]),
            len(request.body),
        )
        await connection.send(head + request.body)
        return connection

    async def aclose(self) -> None:
        for connection in self._all:
            connection.close()


class _Connection(asyncio.Protocol):
    """The connection, its parser's callbacks and its response in one object: that is what fused means."""

    status: int
    headers: Sequence[Header]

    def __init__(self, idle: list[_Connection]) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle = idle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    async def send(self, message: bytes) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[Header] = []
        self._pieces: list[bytes] = []
        self._complete = False
        self._transport.write(message)
        self._waiter = self._loop.create_future()
        await self._waiter

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if not self._waiter.done():
            self._waiter.set_result(None)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.headers = self._fields

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self._complete = True

    @property
    def at_end(self) -> bool:
        return self._complete and not self._pieces

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                yield b"".join(pieces)
            elif self._complete:
                return
            else:
                self._waiter = self._loop.create_future()
                await self._waiter

    async def aclose(self) -> None:
        self._idle.append(self)

    def close(self) -> None:
        self._transport.abort()
