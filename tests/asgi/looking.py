"""A status page to look at: requests as a browser or curl on this machine makes them, and a desk that a test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import httpx

from ogw_asgi import Gateway, OpenAI
from ogw_asgi._asgi.status import StatusPage
from ogw_asgi._status.snapshot import Overhead, Requests, Snapshot
from ogw_asgi.testing import asgi_client
from ogw_asgi.testing._exchange import Exchange
from ogw_asgi.testing._signals import leave
from tests.asgi.hosts import http_scope

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
    async with Gateway(
        providers=[OpenAI(api_key="k", base_url="http://127.0.0.1:1/v1")],
        status=True,
        status_auth=status_auth,
        **settings,
    ) as gateway:
        page = shown(gateway, desk, status_auth)
        async with asgi_client(gateway, base_url=base_url) as client:
            yield Looking(client, gateway, page, desk)


def basic(password: str, name: str = "me") -> dict[str, str]:
    return {"authorization": httpx.BasicAuth(name, password)._auth_header}


class Viewer:
    """Who follows the events, by the app's own messages: nothing is read of it before the test asks."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._text = ""

    @property
    def status(self) -> int | None:
        return self._exchange.status

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self._exchange.headers}

    async def next(self) -> str | None:
        """What comes before the next empty line; None: it has ended as it should."""
        while "\n\n" not in self._text:
            chunk = await self._exchange.next_chunk()
            if chunk is None:
                assert self._text == ""
                return None
            self._text += chunk.decode()
        frame, self._text = self._text.split("\n\n", 1)
        return frame

    async def event(self) -> dict[str, str]:
        """The next one that is an event."""
        while True:
            frame = await self.next()
            assert frame is not None
            if frame.startswith("event: "):
                return dict(line.split(": ", 1) for line in frame.splitlines())

    async def rest(self) -> list[str]:
        """All until it ends."""
        found = []
        while (frame := await self.next()) is not None:
            found.append(frame)
        return found

    async def body(self) -> bytes:
        found = b""
        while (chunk := await self._exchange.next_chunk()) is not None:
            found += chunk
        return found

    async def leave(self) -> None:
        """Returns when the app has ended."""
        await self._exchange.close()


@asynccontextmanager
async def viewing(
    app: Any, path: str = "/_status/events", headers: Mapping[str, str] | None = None, **extra: Any
) -> AsyncIterator[Viewer]:
    sent = {"host": "localhost", **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    exchange = Exchange(app, http_scope("GET", path, headers=raw, **extra))
    group = anyio.create_task_group()
    await group.__aenter__()
    try:
        group.start_soon(exchange.run)
        exchange._put(b"")
        await exchange.head()
        yield Viewer(exchange)
    finally:
        with anyio.CancelScope(shield=True):  # to be told is enough, and quick
            await exchange.close()
        await leave(group)
