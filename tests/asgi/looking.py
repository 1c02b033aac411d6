"""A status page to look at: requests as a browser or curl on this machine makes them, and a desk that a test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import httpx

from ogw_asgi import Gateway, OpenAI
from ogw_asgi._asgi.status import StatusPage
from ogw_asgi._status.snapshot import Overhead, Requests, Snapshot
from ogw_asgi.testing import asgi_client

TOKEN = "a-token-that-nobody-can-guess-c4n4ry-0123456789"
LOCAL = "http://localhost:8000"
PATHS = ("/_status", "/_status.json", "/_status/events")
EMPTY = Snapshot(
    at_s=1.0,
    number=1,
    process=1,
    version="0",
    engine="httpx",
    loop="asyncio",
    uptime_s=1.0,
    in_flight=0,
    sharing="own",
    requests=Requests(0, 0, 0, 0, 0, 0, 0, 0, 0.0),
    targets=(),
    failovers=(),
    running=(),
    recent=(),
    overhead=Overhead(None, None),
    settings=(),
    warnings=(),
)


class TurnedDesk:
    """Shows the snapshot that the test has put there, or a new one each second of the loop's own clock."""

    def __init__(self, *, ticking: bool = False) -> None:
        self.snapshot = EMPTY
        self.looks = 0
        self.surroundings: list[bool] = []
        self._ticking = ticking
        self._made_s: float | None = None

    def turn(self) -> None:
        self.snapshot = replace(self.snapshot, number=self.snapshot.number + 1)

    async def look(self) -> Snapshot:
        self.looks += 1
        now_s = anyio.current_time()
        if self._made_s is None or (self._ticking and now_s - self._made_s >= 1):
            if self._made_s is not None:
                self.turn()
            self._made_s = now_s
        return self.snapshot

    def note_surroundings(self, base_http: bool) -> None:
        self.surroundings.append(base_http)


def shown(gateway: Gateway, desk: TurnedDesk, status_auth: Any = None) -> StatusPage:
    """The page of this gateway, before another desk than its own."""
    page = StatusPage(gateway.app.door, desk, status_auth, gateway._still_open)
    gateway.app.status = page
    return page


@dataclass
class Looking:
    client: httpx.AsyncClient
    gateway: Gateway
    page: StatusPage
    desk: TurnedDesk


@asynccontextmanager
async def looking(
    desk: TurnedDesk | None = None, *, base_url: str = LOCAL, status_auth: Any = None, **settings: Any
) -> AsyncIterator[Looking]:
    desk = desk or TurnedDesk()
    async with Gateway(providers=[OpenAI(api_key="k")], status=True, status_auth=status_auth, **settings) as gateway:
        page = shown(gateway, desk, status_auth)
        async with asgi_client(gateway, base_url=base_url) as client:
            yield Looking(client, gateway, page, desk)


def basic(password: str, name: str = "me") -> dict[str, str]:
    return {"authorization": httpx.BasicAuth(name, password)._auth_header}


def fields(frame: str) -> dict[str, str]:
    """Of one event."""
    return dict(line.split(": ", 1) for line in frame.splitlines())


class Frames:
    """What comes of a stream, between empty lines."""

    def __init__(self, reply: httpx.Response) -> None:
        self._chunks = reply.aiter_text()
        self._text = ""

    async def next(self) -> str | None:
        """None: it has ended."""
        while "\n\n" not in self._text:
            try:
                self._text += await anext(self._chunks)
            except StopAsyncIteration:
                assert self._text == ""
                return None
        frame, self._text = self._text.split("\n\n", 1)
        return frame

    async def rest(self) -> list[str]:
        found = []
        while (frame := await self.next()) is not None:
            found.append(frame)
        return found
