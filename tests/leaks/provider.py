"""The measuring process's handle on the provider's process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc

from ogw_asgi.testing._signals import leave

ROOT = Path(__file__).resolve().parents[2]


class Provider:
    """What the provider has told and nobody has asked for yet, so that nothing piles up."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process
        self._told: dict[tuple[str, int], float] = {}
        self._connections: list[int] = []
        self._heard = anyio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        assert self._process.stdout is not None
        unread = b""
        async for data in self._process.stdout:
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                word, number, at_s = line.decode().split()
                match word:
                    case "open":
                        self._connections.append(int(number))
                    case "port":
                        self.port = int(number)
                    case _:
                        self._told[word, int(number)] = float(at_s)
            heard, self._heard = self._heard, anyio.Event()
            heard.set()

    async def started(self) -> None:
        while not self.port:
            await self._heard.wait()

    async def reached(self, number: int) -> None:
        """Waits until all that comes before the silence has been sent for this request."""
        await self._wait_for("reached", number)

    async def closed(self, number: int) -> float:
        """Waits until the connection of this request is closed; when that was."""
        return await self._wait_for("closed", number)

    async def _wait_for(self, word: str, number: int) -> float:
        while (word, number) not in self._told:
            await self._heard.wait()
        return self._told.pop((word, number))

    async def connections(self) -> int:
        """How many connections are open at the provider now."""
        await self._say(b"?")
        while not self._connections:
            await self._heard.wait()
        return self._connections.pop()

    async def close_idle(self) -> None:
        """Closes the connections that no request is using."""
        await self._say(b"!")
        await self.no_connections()

    async def no_connections(self) -> None:
        """Waits until none is open."""
        while await self.connections():
            pass

    async def _say(self, command: bytes) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send(command)


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    process = await anyio.open_process([sys.executable, "-m", "tests.leaks.upstream"], cwd=ROOT, stderr=None)
    async with process:
        found = Provider(process)
        group = anyio.create_task_group()
        await group.__aenter__()
        try:
            group.start_soon(found.listen)
            await found.started()
            yield found
        finally:
            with anyio.CancelScope(shield=True):
                assert process.stdin is not None
                await process.stdin.aclose()
                await process.wait()
            group.cancel_scope.cancel()
            await leave(group)
