"""The provider, in a process of its own so that its sockets and tasks are nobody's leak, and the handle on it.

What it does with a request is written in its `x-request-id`, `leak-NUMBER-SCRIPT`:

    whole5    five chunks and a proper end
    mute0     no answer
    open3     the head and three chunks, then silence
    bulk80    the head and 80 events of 64 KiB, then silence

Of requests that do not end by themselves it tells on standard output, with the time of the monotonic clock, which all
processes of a Linux system share: `reached NUMBER TIME` when everything has been written, and `closed NUMBER TIME` when
the connection ends. `?` on standard input is answered by `open COUNT`, the connections that are open; `!` closes those
that are idle.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from typing import ClassVar

from ogw_asgi.testing import SSE_DONE, chunked, completion_chunk, http_head, sse_event

HEAD = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
CHUNK = chunked(sse_event(completion_chunk({"content": "Hello"})))
BULK_BYTES = 64 << 10
BULK = chunked(sse_event(completion_chunk({"content": "x" * (BULK_BYTES - 200)})))
END = chunked(sse_event(completion_chunk({}, finish_reason="stop")), SSE_DONE, last=True)

_length = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE).search
_script = re.compile(rb"\r\nx-request-id:[ \t]*leak-(\d+)-([a-z]+)(\d+)\r\n", re.IGNORECASE).search


class _Connection(asyncio.Protocol):
    all: ClassVar[set[_Connection]] = set()

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._unread = b""
        self._number = -1
        self._bulk_left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.all.add(self)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        end_of_head = self._unread.find(b"\r\n\r\n")
        if end_of_head < 0:
            return
        length = _length(self._unread, 0, end_of_head)
        if len(self._unread) < end_of_head + 4 + int(length[1] if length else 0):
            return
        script = _script(self._unread, 0, end_of_head + 2)
        assert script is not None
        self._unread = b""
        self._play(int(script[1]), script[2], int(script[3]))

    def _play(self, number: int, kind: bytes, count: int) -> None:
        if kind == b"whole":
            self._transport.write(HEAD + CHUNK * count + END)
            return
        self._number = number
        if kind == b"bulk":
            self._transport.write(HEAD)
            self._bulk_left = count
            self.resume_writing()
            return
        if kind == b"open":
            self._transport.write(HEAD + CHUNK * count)
        say("reached", number)

    def resume_writing(self) -> None:
        while self._bulk_left:
            self._bulk_left -= 1
            self._transport.write(BULK)
            if self._transport.get_write_buffer_size() > BULK_BYTES:
                return

    def close_if_idle(self) -> None:
        if self._number < 0:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.all.discard(self)
        self._bulk_left = 0
        if self._number >= 0:
            say("closed", self._number)


def say(word: str, number: int) -> None:
    os.write(sys.stdout.fileno(), f"{word} {number} {time.monotonic()}\n".encode())


async def main() -> None:
    """Until standard input ends, however the other process ended."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def read_input() -> None:
        commands = os.read(sys.stdin.fileno(), 64)
        if b"!" in commands:
            for connection in list(_Connection.all):
                connection.close_if_idle()
        if b"?" in commands:
            say("open", len(_Connection.all))
        if not commands:
            loop.remove_reader(sys.stdin.fileno())
            over.set()

    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=2048)
    loop.add_reader(sys.stdin.fileno(), read_input)
    say("port", server.sockets[0].getsockname()[1])
    await over.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
