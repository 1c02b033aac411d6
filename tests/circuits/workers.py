"""Workers of one fleet for tests: gateways that share a Redis, each with upstreams of its own to count its calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from trio.testing import MockClock

from ogw_asgi import Breaker
from ogw_asgi.circuits.redis import RedisLink
from ogw_asgi.circuits.shared import SharedCircuits
from ogw_asgi.telemetry.events import CircuitChanged, Event
from ogw_asgi.testing import Script, ScriptedUpstream, chat

from ..contract.checks import SEQUENCE
from ..contract.harness import World, gateway_of

ONCE = Breaker(failures=1, open_s=5, open_max_s=5)
"""Its open times are between 3.75 and 6.25 s."""


class Clock:
    """The loop's, which runs as clocks do, and goes on by leaps when a test says so."""

    def __init__(self) -> None:
        self._clock = MockClock(rate=1.0)

    @property
    def backend(self) -> tuple[str, dict[str, Any]]:
        return "trio", {"clock": self._clock}

    def jump(self, seconds: float) -> None:
        self._clock.jump(seconds)


class Changes:
    """A sink: how the circuits of provider a have changed."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, CircuitChanged) and event.provider == "a":
            self.seen.append(event.state)


class Worker:
    """Attributes: world, as in the contract's tests; changes, what was told of the circuits of provider a."""

    def __init__(self, world: World, changes: Changes) -> None:
        self.world = world
        self.changes = changes.seen

    @property
    def store(self) -> SharedCircuits:
        assert self.world.gateway._opened is not None
        store = self.world.gateway._opened.dispatcher.circuits.store
        assert isinstance(store, SharedCircuits)
        return store

    @property
    def link(self) -> RedisLink:
        assert isinstance(self.store._link, RedisLink)
        return self.store._link

    @property
    def a(self) -> ScriptedUpstream:
        upstream = self.world.upstreams["a"]
        assert isinstance(upstream, ScriptedUpstream)
        return upstream

    @property
    def calls(self) -> int:
        """How often this worker has asked provider a."""
        return len(self.a.requests)

    async def ask(self, *sequence: str, **body: Any) -> str:
        """Who answers."""
        reply = await self.world.post(headers={SEQUENCE: json.dumps(sequence or ("a", "b"))}, **body)
        assert reply.status_code == 201, reply.text
        return reply.headers["x-opengateway-provider"]


@asynccontextmanager
async def worker(url: str, *a: Script, **settings: Any) -> AsyncIterator[Worker]:
    """With the providers a, which plays these replies, and b, which is well."""
    changes = Changes()
    settings = {"breaker": ONCE, "limit_s": 1000, "sinks": [changes], **settings}
    bad, well = ScriptedUpstream(*a), ScriptedUpstream(chat("from b"))
    async with gateway_of(a=bad, b=well, redis_url=url, **settings) as world:
        yield Worker(world, changes)
