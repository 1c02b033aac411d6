"""Callers: as many connections as asked for, each with one request at a time, every answer looked at.

They run in the bench's own process, beside the provider's, so what they cost is nobody's result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import cast

LIMIT_S = 50.0
"""For one sample: what hangs is an error, not a result."""

_END_OF_HEAD = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_TAIL = len(_LAST_CHUNK)


class WrongAnswer(Exception):
    """A proxy did not do what it was measured at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`body`: with the framing of its chunks left in, where it has any."""

    status: int
    head: bytes
    body: bytes
    first_s: float
    """From the request to the first byte."""
    took_s: float


Check = Callable[[Answer], None]
"""Raises WrongAnswer."""

_Times = list[tuple[float, float]]
"""Of each answer `first_s` and `took_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    requests: int
    wall_s: float
    first_s: Sequence[float] = field(repr=False)
    took_s: Sequence[float] = field(repr=False)

    @property
    def per_s(self) -> float:
        return self.requests / self.wall_s


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._pieces: list[bytes] = []
        self._head = b""
        self._left = 0
        self._tail: bytes | None = None
        """The last bytes of a chunked body; None: its length is known."""
        self._waiter: asyncio.Future[None] | None = None
        self._to_the_end = True
        self._asked_s = self._first_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(WrongAnswer("the connection ended"))

    async def ask(self, request: bytes) -> Answer:
        await self._send(request, to_the_end=True)
        end_s = time.perf_counter()
        return Answer(
            status=int(self._head[9:12]),
            head=self._head,
            body=b"".join(self._pieces),
            first_s=self._first_s - self._asked_s,
            took_s=end_s - self._asked_s,
        )

    async def begin(self, request: bytes) -> None:
        """Ask, and be content with the first bytes of the body."""
        await self._send(request, to_the_end=False)

    async def _send(self, request: bytes, *, to_the_end: bool) -> None:
        self._pieces, self._head, self._left, self._tail = [], b"", 0, None
        self._to_the_end = to_the_end
        self._waiter = self._loop.create_future()
        self._asked_s = time.perf_counter()
        self._transport.write(request)
        await self._waiter

    def data_received(self, data: bytes) -> None:
        if not self._head:
            if self._pieces:
                data = b"".join(self._pieces) + data
                self._pieces = []
            else:
                self._first_s = time.perf_counter()
            head, found, data = data.partition(_END_OF_HEAD)
            if not found:
                self._pieces.append(head)
                return
            self._head = head
            fields = head.lower()
            _, found, value = fields.partition(b"\r\ncontent-length:")
            if found:
                self._left = int(value.partition(b"\r\n")[0])
            else:
                self._tail = b""
            if not data and (self._left or self._tail is not None):
                return
        self._pieces.append(data)
        if self._tail is None:
            self._left -= len(data)
            over = self._left <= 0
        else:
            self._tail = data[-_TAIL:] if len(data) >= _TAIL else (self._tail + data)[-_TAIL:]
            over = self._tail == _LAST_CHUNK
        if (over or not self._to_the_end) and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        self._transport.abort()


class Callers:
    """`count` open connections to a port of loopback."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._count = count
        self._connections: list[_Connection] = []

    async def __aenter__(self) -> Callers:
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
            self._connections.append(connection)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for connection in self._connections:
            connection.close()
        await asyncio.sleep(0)

    async def for_seconds(self, seconds: float, request: bytes, check: Check) -> Sample:
        """One request after the other until the time is over; those under way then are awaited, and count."""
        until_s = time.perf_counter() + seconds

        def in_time() -> Iterator[bytes]:
            while time.perf_counter() < until_s:
                yield request

        return await self._run([in_time() for _ in self._connections], check)

    async def times(self, count: int, request: bytes, check: Check) -> Sample:
        """So many in all, by whoever is free."""
        shared = iter(repeat(request, count))
        return await self._run([shared for _ in self._connections], check)

    async def each(self, requests: Sequence[tuple[bytes, Check]]) -> Sample:
        """The first connection the first request, and so on; at once."""
        tasks = [
            self._one(connection, iter([request]), check)
            for connection, (request, check) in zip(self._connections, requests, strict=True)
        ]
        return await _gathered(tasks)

    async def begin_all(self, request: bytes) -> None:
        """All ask, and have the first byte of the body."""
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            for connection in self._connections:
                group.create_task(connection.begin(request))

    async def _run(self, requests: Sequence[Iterator[bytes]], check: Check) -> Sample:
        pairs = zip(self._connections, requests, strict=True)
        return await _gathered([self._one(connection, mine, check) for connection, mine in pairs])

    async def _one(self, connection: _Connection, requests: Iterator[bytes], check: Check) -> _Times:
        times = []
        for request in requests:
            answer = await connection.ask(request)
            check(answer)
            times.append((answer.first_s, answer.took_s))
        return times


async def _gathered(work: Sequence[Coroutine[None, None, _Times]]) -> Sample:
    started_s = time.perf_counter()
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    wall_s = time.perf_counter() - started_s
    times = [pair for task in tasks for pair in task.result()]
    return Sample(
        requests=len(times), wall_s=wall_s, first_s=[first for first, _ in times], took_s=[took for _, took in times]
    )
