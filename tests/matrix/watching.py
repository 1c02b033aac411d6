"""What tests say and hear beside their world: a plain question, the gateway's events as they come, its circuits."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from ogw_asgi._rules.circuit import Circuit
from ogw_asgi.circuits.base import Key
from ogw_asgi.telemetry.events import CircuitChanged, Event
from ogw_asgi.testing._signals import Bell
from ogw_asgi.testing.encoding import json_bytes

from .selection import FULL_VARIABLE
from .world import World

Kind = TypeVar("Kind")
Size = TypeVar("Size", int, float)


def sized(ordinary: Size, full: Size) -> Size:
    """The matrix's own number in the full product; in the ordinary suite one that shows the same in less time."""
    return full if os.environ.get(FULL_VARIABLE) == "full" else ordinary


def question(*, stream: bool) -> bytes:
    """The body of a request, for callers who do not ask through a world."""
    return json_bytes({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": stream})


class Heard:
    """A sink to wait at: every event with the time at which it was told."""

    def __init__(self) -> None:
        self._told: list[tuple[float, Event]] = []
        self._bell = Bell()

    def on_event(self, event: Event, /) -> None:
        self._told.append((anyio.current_time(), event))
        self._bell.ring()

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for _, event in self._told if isinstance(event, kind)]

    def times_s(self, kind: type[Any]) -> list[float]:
        return [told_s for told_s, event in self._told if isinstance(event, kind)]

    async def until(self, kind: type[Any], count: int = 1) -> None:
        await self._bell.wait_until(lambda: len(self.of(kind)) >= count)


def circuits(world: World) -> dict[Key, Circuit]:
    """Everything that the gateway's breakers and cooldowns hold now."""
    opened = world.gateway._opened
    assert opened is not None
    store: Any = opened.dispatcher.circuits.store
    return dict(store._circuits)


def assert_unmoved(world: World) -> None:
    """Breakers and cooldowns know of nothing but successes."""
    assert not [event for event in world.events if isinstance(event, CircuitChanged)]
    for key, circuit in circuits(world).items():
        assert circuit.phase == "closed", key
        assert (circuit.in_a_row, circuit.lease, circuit.trips) == (0, None, 0), key
        assert {result.kind for result in circuit.results} <= {"ok"}, key
        assert circuit.cooling_until_s == float("-inf"), key


async def turns(count: int = 20) -> None:
    """Lets whatever can go on go on, where nothing tells that it has."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()
