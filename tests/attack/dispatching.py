"""A gateway whose providers are played at the transport seam, so that every connection is counted; no sockets, no HTTP.

What is played is a function per provider: it waits for what it likes and says a status, or raises TransportFailure.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import anyio.lowlevel

from ogw_asgi import Breaker, Gateway, Limits, OpenAICompatible, Timeouts
from ogw_asgi._dispatch.admission import Admission
from ogw_asgi._dispatch.dispatcher import Dispatcher
from ogw_asgi._dispatch.slots import Slots
from ogw_asgi._rules.circuit import Circuit
from ogw_asgi._values import Header, Target, UpstreamRequest
from ogw_asgi.circuits.base import CircuitStore, Key
from ogw_asgi.circuits.memory import MemoryCircuits
from ogw_asgi.testing import completion_chunk, sse_event
from ogw_asgi.testing.replies import answer as completion

Play = Callable[[UpstreamRequest], Awaitable[int]]
"""The status that comes, when it comes; 200 is a good answer."""

MODEL = "some-model"
SEQUENCE = "x-opengateway-failover-sequence"
HEDGE = "x-opengateway-hedge-after"


@dataclass(eq=False)
class Connection:
    """Of one attempt; closed is closed."""

    upstreams: Upstreams
    name: str
    status: int
    headers: Sequence[Header] = ()
    stream: bool = False
    at_end: bool = False

    def chunks(self) -> Connection:
        # Not a generator: trio warns of each that is left half-way.
        self._parts = self._body()
        return self

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        for part in self._parts:
            return part
        raise StopAsyncIteration

    def _body(self) -> Iterator[bytes]:
        if self.status != 200:
            yield b'{"error": {"message": "played"}}'
        elif self.stream:
            yield sse_event(completion_chunk({"content": f"from {self.name}"}))
            yield sse_event(completion_chunk({}, finish_reason="stop")) + b"data: [DONE]\n\n"
        else:
            yield b"".join(part for part in completion(f"from {self.name}").body if isinstance(part, bytes))

    async def aclose(self) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
        finally:
            self.upstreams.connected.pop(self, None)


@dataclass
class Upstreams:
    plays: Mapping[str, Play]
    connected: dict[Connection, None] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Who was asked, and for which request."""

    def transport_for(self, target: Target) -> Transport:
        return Transport(self, target.provider)


@dataclass
class Transport:
    upstreams: Upstreams
    name: str

    async def open(self, request: UpstreamRequest) -> Connection:
        stream = bool(json.loads(request.body).get("stream"))
        kind = b"text/event-stream" if stream else b"application/json"
        connection = Connection(self.upstreams, self.name, 0, [(b"content-type", kind)], stream)
        self.upstreams.connected[connection] = None
        self.upstreams.asked.append((self.name, dict(request.headers)[b"x-request-id"].decode()))
        try:
            connection.status = await self.upstreams.plays[self.name](request)
        except BaseException:
            await connection.aclose()
            raise
        if connection.status != 200:
            connection.headers = [(b"content-type", b"application/json")]
        return connection

    async def aclose(self) -> None:
        pass


@dataclass
class Told:
    """What the caller got."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False

    @property
    def attempts(self) -> int:
        return int(self.headers.get("x-opengateway-attempts", 0))


@dataclass
class Played:
    gateway: Gateway
    upstreams: Upstreams
    store: CircuitStore
    memory: MemoryCircuits

    @property
    def dispatcher(self) -> Dispatcher:
        assert self.gateway._opened is not None
        return self.gateway._opened.dispatcher

    async def call(
        self,
        *sequence: str,
        request_id: str = "one",
        stream: bool = False,
        leaves: anyio.Event | None = None,
        **headers: str,
    ) -> Told:
        """One request, in this very task; `leaves`: when the caller goes away."""
        told = Told()
        body = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
        sent = {
            "content-type": "application/json",
            "x-request-id": request_id,
            SEQUENCE: json.dumps(sequence),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        incoming = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

        async def receive() -> MutableMapping[str, Any]:
            for message in incoming:
                return message
            await (leaves or anyio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                told.status = message["status"]
                told.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                mine = list(self.upstreams.connected)
                assert alone_at_last(mine), f"{len(mine)} connections as the head goes out"
            else:
                told.body += message["body"]
                told.whole = not message.get("more_body", False)
            await anyio.lowlevel.checkpoint()

        def alone_at_last(mine: list[Connection]) -> bool:
            return self.crowd or len(mine) <= int(told.status in (200, 201) and stream)

        await self.gateway(_scope(sent), receive, send)
        return told

    crowd: bool = False
    """Other requests are under way."""

    def left_over(self) -> dict[str, object]:
        """What no request may leave behind: empty."""
        dispatcher = self.dispatcher
        leases = [key for key, circuit in self.memory._circuits.items() if circuit.lease is not None]
        found = {
            "permits": dispatcher.circuits.in_flight(),
            "slots": dispatcher.slots.in_flight(),
            "queues": len(dispatcher.slots._waiting),
            "connections": len(self.upstreams.connected),
            "leases": leases,
        }
        return {name: value for name, value in found.items() if value}


def _scope(headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/chat/completions",
        "raw_path": b"/chat/completions",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "extensions": {},
    }


class Yielding:
    """A store that others may share: each of its steps is atomic, and each is waited for.

    `at_once`: what is applied is, before it is waited for, so that no Task.cancel() can come between.
    """

    def __init__(self, store: MemoryCircuits, wait: Callable[[], Awaitable[None]], *, at_once: bool = False) -> None:
        self._store = store
        self._wait = wait
        self._at_once = at_once

    async def read(self, keys: Sequence[Key], now_s: float) -> Any:
        await self._wait()
        return await self._store.read(keys, now_s)

    async def known(self, keys: Iterable[Key], now_s: float) -> Mapping[Key, Circuit]:
        await self._wait()
        return await self._store.known(keys, now_s)

    async def apply(self, events: Any, now_s: float) -> Any:
        with anyio.CancelScope(shield=True):  # as the base asks for
            if not self._at_once:
                await self._wait()
            changes = await self._store.apply(events, now_s)
            await self._wait()
        return changes

    async def draw(self, key: Key, now_s: float, *, spend: bool) -> bool:
        await self._wait()
        return await self._store.draw(key, now_s, spend=spend)


@asynccontextmanager
async def opened(*names: str, **settings: Any) -> AsyncIterator[Gateway]:
    providers = [OpenAICompatible(name, base_url=f"http://{name}.test/v1", api_key=f"sk-{name}") for name in names]
    async with Gateway(providers=providers, engine="httpx", **settings) as gateway:
        yield gateway


def played(
    gateway: Gateway,
    plays: Mapping[str, Play],
    *,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    breaker: Breaker | None = None,
    wait: Callable[[], Awaitable[None]] | None = None,
    at_once: bool = False,
    crowd: bool = False,
) -> Played:
    """The gateway with new, empty circuits and slots, and these providers; `wait`: what its store waits for."""
    opened = gateway._opened
    assert opened is not None
    timeouts, limits = timeouts or Timeouts(), limits or Limits()
    memory = MemoryCircuits(breaker or Breaker(), jitter=lambda: 0.5)
    store: CircuitStore = memory if wait is None else Yielding(memory, wait, at_once=at_once)
    upstreams = Upstreams(plays)
    dispatcher = replace(
        opened.dispatcher,
        transport_for=upstreams.transport_for,
        slots=Slots(limits.concurrency),
        circuits=Admission(store, timeouts, opened.dispatcher.observers),
        timeouts=timeouts,
        limits=limits,
    )
    gateway._opened = replace(opened, dispatcher=dispatcher)
    return Played(gateway, upstreams, store, memory, crowd)


@contextmanager
def noted(note: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(note())
        raise
