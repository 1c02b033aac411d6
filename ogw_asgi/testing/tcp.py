"""A TCP server on loopback for faults below HTTP: exact bytes, FIN, RST and silence, by script."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from ._connection import Connection, PeerClosed, accept
from ._playing import RawScript, RawStep, play
from ._signals import Bell, leave
from .encoding import http_response
from .steps import OnAccept, OnHead, Sequencer

_EXHAUSTED: RawScript = (http_response(500, b"script exhausted"),)


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One request off the wire: the head with its blank line, the body, the number of the connection."""

    head: bytes
    body: bytes
    connection: int


class RawUpstream:
    """Serves one script per request, across connections; the last one for all that follow.

        cut = [http_head(200, {"content-length": "5"}), b"he", Reset()]
        async with RawUpstream(cut, [http_response(200, b"hello")]) as server:
            ...  # server.url

    A script is played when a whole HTTP/1.1 request (head and content-length body) has been read;
    `OnAccept` and `OnHead` as its first step play it earlier. `bytes` are sent as they are. A script that
    ends without `Fin`, `Reset` or `Hang` leaves the connection open, and the next request on it takes the
    next script. `strict=True` answers 500 when the scripts are used up. Leaving the block closes
    everything.
    """

    def __init__(self, *scripts: RawScript, strict: bool = False) -> None:
        self.requests: list[RawRequest] = []
        self.connections = 0
        self.peer_closes = 0
        self._bell = Bell()
        self._scripts = Sequencer[RawScript](scripts, strict=strict)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._port = 0

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def reused(self) -> int:
        """How many requests came over a connection that had carried one before."""
        return len(self.requests) - len({request.connection for request in self.requests})

    async def wait_for_requests(self, count: int = 1) -> list[RawRequest]:
        """Waits until that many requests have been received, and returns all of them."""
        await self._bell.wait_until(lambda: len(self.requests) >= count)
        return list(self.requests)

    async def wait_for_connections(self, count: int = 1) -> None:
        """Waits until that many connections have been accepted."""
        await self._bell.wait_until(lambda: self.connections >= count)

    async def peer_closed(self, count: int = 1) -> None:
        """Waits until the caller has closed, or reset, that many connections."""
        await self._bell.wait_until(lambda: self.peer_closes >= count)

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(self._accept, group, listener)
        self._tasks = group
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        group, self._tasks = self._tasks, None
        if group is not None:
            group.cancel_scope.cancel()
            await leave(group)

    async def _accept(self, group: anyio.abc.TaskGroup, listener: socket.socket) -> None:
        with listener:
            while True:
                connection = await accept(listener)
                index = self.connections
                self.connections += 1
                self._bell.ring()
                group.start_soon(self._serve, connection, index)

    async def _serve(self, connection: Connection, index: int) -> None:
        with connection:
            try:
                await self._converse(connection, index)
            except PeerClosed:
                self.peer_closes += 1
                self._bell.ring()

    async def _converse(self, connection: Connection, index: int) -> None:
        if _first(self._scripts.upcoming()) is OnAccept:
            await play(self._scripts.take() or (), connection)
        while connection.is_open:
            head = await connection.read_head()
            script = self._scripts.take() or _EXHAUSTED
            if _first(script) is OnHead:
                self._record(RawRequest(head, b"", index))
                await play(script, connection)
                if connection.is_open:
                    await connection.read_body(head)
                continue
            self._record(RawRequest(head, await connection.read_body(head), index))
            await play(script, connection)

    def _record(self, request: RawRequest) -> None:
        self.requests.append(request)
        self._bell.ring()


def _first(script: RawScript | None) -> type[RawStep] | None:
    return type(script[0]) if script else None
