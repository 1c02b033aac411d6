"""Callers on bare sockets, who see how a body ends: with its last chunk, or without."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.abc

QUESTION = {"model": "some-model", "messages": [{"role": "user", "content": "Hi"}]}
END_OF_BODY = b"\r\n0\r\n\r\n"
_WORKER = re.compile(rb"\r\nx-worker: (\d+)\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class ServerLeft(AssertionError):
    """The connection ended before what was waited for had come."""


class Caller:
    """One connection to the server, and all that came over it."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream
        self.received = b""

    async def ask_for_a_stream(self) -> None:
        await self.ask({**QUESTION, "stream": True})

    async def ask(self, question: Mapping[str, object], fields: bytes = b"") -> None:
        """`fields`: header lines, each with its end."""
        fields += b"content-type: application/json\r\n"
        await self._send(b"POST /llm/v1/chat/completions", fields, json.dumps(question).encode())

    async def ask_for_the_models(self) -> None:
        """A whole exchange that asks no provider; the connection is idle afterwards."""
        await self._send(b"GET /llm/models")
        head = await self.read_until(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None
        while len(self.received) < len(head) + int(length[1]):
            await self._more()

    async def _send(self, line: bytes, fields: bytes = b"", body: bytes = b"") -> None:
        length = b"content-length: %d\r\n" % len(body) if body else b""
        await self._stream.send(line + b" HTTP/1.1\r\nhost: gateway\r\n" + fields + length + b"\r\n" + body)

    async def read_until(self, mark: bytes) -> bytes:
        """All up to the mark, which is kept."""
        while mark not in self.received:
            await self._more()
        return self.received[: self.received.index(mark) + len(mark)]

    async def read_to_end(self) -> None:
        """Until the server has closed the connection, or reset it."""
        while await self._read():
            pass

    async def read_whole(self) -> None:
        """Up to the end of the body; the server may keep the connection."""
        await self.read_until(END_OF_BODY)

    async def leave(self) -> None:
        await self._stream.aclose()

    async def _more(self) -> None:
        if not await self._read():
            raise ServerLeft(f"after {self.received!r}")

    async def _read(self) -> bool:
        try:
            self.received += await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return False
        return True

    @property
    def worker(self) -> int:
        """The process that answers."""
        found = _WORKER.search(self.received)
        assert found is not None
        return int(found[1])

    @property
    def is_whole(self) -> bool:
        """`[DONE]` and the end of the body have come."""
        return b"data: [DONE]\n\n" in self.received and self.received.endswith(END_OF_BODY)

    @property
    def is_visibly_broken(self) -> bool:
        """Neither `[DONE]` nor the end of the body."""
        return b"[DONE]" not in self.received and not self.received.endswith(END_OF_BODY)


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        yield Caller(stream)


async def open_streams(port: int, count: int, close: AsyncExitStack) -> list[Caller]:
    """So many callers who have the first event of their streams, until `close` ends them."""
    callers = [await close.enter_async_context(calling(port)) for _ in range(count)]
    async with anyio.create_task_group() as group:
        for caller in callers:
            group.start_soon(begin, caller)
    return callers


async def open_streams_on_two_workers(port: int, count: int, close: AsyncExitStack) -> list[list[Caller]]:
    """At least so many callers, in two lists: whom one worker answers, and whom the other."""
    callers: list[Caller] = []
    for _ in range(10):  # the kernel chooses who accepts
        callers += await open_streams(port, count, close)
        workers = {caller.worker for caller in callers}
        if len(workers) == 2:
            return [[caller for caller in callers if caller.worker == worker] for worker in workers]
    raise AssertionError(f"one worker took all {len(callers)} streams")


async def begin(caller: Caller) -> None:
    await caller.ask_for_a_stream()
    await caller.read_until(b"data: ")


async def begin_until_served(port: int) -> None:
    """Asks again for as long as the connection goes to a worker that is dying."""
    while True:
        try:
            async with calling(port) as caller:
                await begin(caller)
                return
        except (OSError, ServerLeft):
            continue


async def all_of(reading: Iterable[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    async with anyio.create_task_group() as group:
        for read in reading:
            group.start_soon(read)
