"""One gateway between a caller and its providers, everything on real sockets, all on the loop of the test.

    @pytest.mark.fault("F08")
    async def test_...(open_world: OpenWorld) -> None:
        async with open_world(one=RawUpstream([OnAccept(), Reset()]), two=Good()) as world:
            reply = await world.ask()                      # one request on a connection of its own, read to its end
            assert_moved_on(world, reply, "reset")         # see expect.py

- `open_world` is a fixture; it knows the test's case: engine, loop, and whether the caller asks for JSON or a stream.
- The keywords are providers in their order, which is the default sequence. Each is one of
  `Good(text)` (a healthy provider in the case's mode), a `RawUpstream` that has not been entered, a base URL (of
  `dead_port()` or of what the test itself serves), `Place(any of these, provider's arguments)`, or a `Provider`.
  `vllm` is a VLLM, `azure` an Azure, any other name an OpenAICompatible; each has a key of its own (`canary(name)`).
  Keywords that are arguments of `Gateway` go there (`timeouts=`, `limits=`, ...).
- `world.ask("two", "one", timeout_ms=100, headers={...}, n=2)` asks with this sequence, these headers and these members
  of the body; `world.asking(...)` is the same bit by bit (caller.py); `world.port` is for callers of the test's own.
- `host=` makes the app that is served from the gateway (which it must open); `path=` asks elsewhere than at the root.
  `on=` is a listening socket, for a gateway whose port had to be known before.
- The server is hypercorn on the loop of the test (asyncio, uvloop, trio). What the app raises fails the test.

The STANDING CHECKS ("R" in the matrix) run by themselves. After each `ask`, and whenever `asking` is left, as soon as
no other exchange is open: within 100 ms the gateway has ended its work, no slot and no permit is taken, and no socket
of the gateway is connected to an upstream, but to those named in `idle=` ("two" and "three" unless told otherwise),
where a connection may be kept for the next request. When the block is left without an error: `aclose()` closes these,
too; descriptors and tasks are those from before; no key is in what any caller received, in any log record at DEBUG, in
any event, or at any other provider; no URL of a provider is in what a caller received; nothing was "never retrieved",
unraisable, or left to the loop's exception handler.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Set
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio

from ogw_asgi import Gateway
from ogw_asgi.telemetry.events import Event
from ogw_asgi.testing import RawUpstream
from ogw_asgi.testing.encoding import json_bytes
from tests.telemetry.order import assert_in_order

from .caller import Exchange, Reply, call, request
from .places import Cast, Good, Place
from .selection import Case, Mode
from .serving import Watched, served
from .standing import (
    CLOSED_WITHIN_S,
    Complaints,
    assert_not_shown,
    canary,
    connected_to,
    listening,
    open_sockets,
    soon,
    tasks,
)

__all__ = ["Good", "OpenWorld", "Place", "World", "world_of"]

_GATEWAY = frozenset(inspect.signature(Gateway).parameters) - {"providers"}


@dataclass
class World:
    """The caller's side; see the module."""

    case: Case
    port: int
    gateway: Gateway
    upstreams: dict[str, RawUpstream]
    texts: dict[str, str]
    """What the healthy ones say."""
    events: list[Event]
    complaints: Complaints
    app: Watched
    keys: dict[str, str]
    ports: dict[str, int]
    idle: Collection[str]
    others: Set[int]
    """The sockets that were open before: the test's own."""
    received: list[str] = field(default_factory=list)
    _open: int = 0

    @property
    def mode(self) -> Mode:
        return self.case.mode

    def calls(self) -> dict[str, int]:
        """How many requests each upstream has read."""
        return {name: len(upstream.requests) for name, upstream in self.upstreams.items()}

    def plant(self, name: str) -> str:
        """A further key that nobody may show; as `vllm-caller` the caller's own, which vllm may see."""
        self.keys[name] = canary(name)
        return self.keys[name]

    async def ask(self, *sequence: str, **arguments: Any) -> Reply:
        """The whole answer to one request, the standing checks behind it."""
        async with self.asking(*sequence, **arguments) as exchange:
            return await exchange.rest()

    @asynccontextmanager
    async def asking(
        self,
        *sequence: str,
        headers: Mapping[str, str] | None = None,
        timeout_ms: int | None = None,
        content: bytes | None = None,
        path: str = "/chat/completions",
        **members: Any,
    ) -> AsyncIterator[Exchange]:
        """An exchange under way; when it is left, so is the connection."""
        pairs = dict(headers or {})
        if sequence:
            pairs["x-opengateway-failover-sequence"] = json_bytes(sequence).decode()
        if timeout_ms is not None:
            pairs["x-opengateway-timeout"] = str(timeout_ms)
        if content is None:
            message = {"role": "user", "content": "Hi"}
            content = json_bytes({"model": "m", "messages": [message], "stream": self.case.stream, **members})
        self._open += 1
        try:
            async with call(self.port, request(content, pairs.items(), path=path)) as exchange:
                try:
                    yield exchange
                finally:
                    self.received.append(bytes(exchange.raw).decode("latin-1"))
        finally:
            self._open -= 1
        if not self._open:
            await self.settled()

    async def settled(self) -> None:
        """The standing checks of an outcome."""
        opened = self.gateway._opened
        assert opened is not None
        slots, circuits = opened.dispatcher.slots, opened.dispatcher.circuits
        closed = [port for name, port in self.ports.items() if name not in self.idle]

        def left() -> str:
            return (
                f"requests: {self.app.in_flight}, slots: {slots.in_flight()}, permits: {circuits.in_flight()}, "
                f"sockets to those that may keep none: {len(connected_to(closed) - self.others)}"
            )

        def nothing_left() -> bool:
            return (
                not self.app.in_flight
                and not slots.in_flight()
                and not circuits.in_flight()
                and connected_to(closed) <= self.others
            )

        await soon(nothing_left, CLOSED_WITHIN_S, lambda: f"left over after the outcome: {left()}")

    async def closed(self) -> None:
        """The standing checks of the end, as far as they need the world."""
        await self.settled()
        await self.gateway.aclose()
        ports = self.ports.values()
        await soon(
            lambda: connected_to(ports) <= self.others, CLOSED_WITHIN_S, lambda: "aclose() left connections open"
        )

    def nothing_shown(self) -> None:
        """No key, and to callers no URL of a provider either, anywhere."""
        for received in self.received:
            assert_not_shown(received, self.keys, "an answer")
            for name, port in self.ports.items():
                assert f"127.0.0.1:{port}" not in received, f"the URL of {name} is shown to a caller"
        assert_not_shown(self.complaints.shown(), self.keys, "a log record")
        assert_not_shown(repr(self.events), self.keys, "an event")
        assert_in_order(self.events)
        for name, upstream in self.upstreams.items():
            others = {each: key for each, key in self.keys.items() if each not in (name, f"{name}-caller")}
            for seen in upstream.requests:
                assert_not_shown((seen.head + seen.body).decode("latin-1"), others, f"a request to {name}")


class OpenWorld(Protocol):
    """`world_of` without its first argument."""

    def __call__(self, **arguments: Any) -> AbstractAsyncContextManager[World]: ...


@asynccontextmanager
async def world_of(
    case: Case,
    *,
    limit_s: float = 5,
    idle: Collection[str] = ("two", "three"),
    host: Callable[[Gateway], Any] | None = None,
    on: socket.socket | None = None,
    **arguments: Any,
) -> AsyncIterator[World]:
    """Opens a world; see the module. All that happens in the block may take `limit_s`."""
    settings = {name: value for name, value in arguments.items() if name in _GATEWAY}
    before, sockets_before = tasks(), open_sockets()
    with listening() as complaints:
        with anyio.fail_after(limit_s):
            async with AsyncExitStack() as stack:
                cast = Cast(case)
                for name, spot in arguments.items():
                    if name not in settings:
                        await cast.add(name, spot, stack)
                events: list[Event] = []
                gateway = _gateway(cast, settings, events, case)
                app = Watched(gateway if host is None else host(gateway))
                port = await stack.enter_async_context(served(app, on=on))
                world = World(
                    case=case,
                    port=port,
                    gateway=gateway,
                    upstreams=cast.upstreams,
                    texts=cast.texts,
                    events=events,
                    complaints=complaints,
                    app=app,
                    keys=cast.keys,
                    ports=cast.ports,
                    idle=idle,
                    others=sockets_before,
                )
                yield world
                await world.closed()
        await soon(
            lambda: tasks().keys() <= before.keys(),
            CLOSED_WITHIN_S,
            lambda: f"tasks left over: {[name for key, name in tasks().items() if key not in before]}",
        )
        left = open_sockets() - sockets_before
        assert not left, f"{len(left)} sockets left over"
        assert not app.raised, f"the app raised {app.raised!r}"
        world.nothing_shown()
        complaints.assert_none()


class _Keen:
    """The sink of the world's events."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def on_event(self, event: Event, /) -> None:
        self._events.append(event)


def _gateway(cast: Cast, settings: dict[str, Any], events: list[Event], case: Case) -> Gateway:
    chosen = {
        "failover_sequence": [provider.name for provider in cast.providers],
        "engine": case.engine,
        **settings,
        "sinks": [_Keen(events), *settings.get("sinks", ())],
    }
    return Gateway(providers=cast.providers, **chosen)
