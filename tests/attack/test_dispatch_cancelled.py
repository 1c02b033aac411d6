"""A request that ends at any of the dispatch's awaits leaves no permit, lease, slot, connection or task behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi import Breaker, Limits, Timeouts
from ogw_asgi._dispatch import contest
from ogw_asgi._dispatch.admission import scope_of
from ogw_asgi._rules import failover
from ogw_asgi._rules.circuit import Failed
from ogw_asgi._values import Target
from ogw_asgi.telemetry.events import Event, RequestEnded, RequestStarted

from ..telemetry.order import assert_in_order
from ..transports.cancelling import Cancellation, Moment, count_tasks, nothing_unheard, until
from .dispatching import MODEL, Play, Played, Told, noted, opened, played

pytestmark = pytest.mark.anyio

SOON_S = 0.002
"""What takes a second otherwise."""

SOON = "1"
"""A hedge after as many milliseconds."""

MOMENTS: tuple[Moment, ...] = ("blocked", "resuming")

LIMITS = Timeouts(slot_wait_s=SOON_S)


@dataclass(slots=True)
class Leaving(Cancellation):
    """Not cancelled: the caller leaves, as `receive()` says."""

    left: anyio.Event = field(default_factory=anyio.Event)

    def begin(self) -> None:
        if not self._over and not self.begun:
            self.begun = True
            self.left.set()


def says(status: int, turns: int = 1) -> Play:
    async def play(_: Any) -> int:
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        return status

    return play


async def silence(_: Any) -> int:
    await anyio.sleep_forever()
    raise AssertionError


async def late(_: Any) -> int:
    await anyio.sleep(2 * SOON_S)
    return 200


@dataclass(frozen=True)
class Scenario:
    plays: Callable[[list[Played]], dict[str, Play]]
    sequence: tuple[str, ...] = ("a", "b", "c")
    headers: dict[str, str] = field(default_factory=dict)
    stream: bool = False
    open_before: tuple[str, ...] = ()
    limits: Limits = Limits()
    busy: tuple[str, ...] = ()


HEDGED = {"x-opengateway-hedge-after": SOON}


def opening(world: list[Played]) -> Play:
    async def play(_: Any) -> int:
        await anyio.lowlevel.checkpoint()
        await world[0].dispatcher.circuits.broken(scope_of(Target("a", MODEL, MODEL), None), anyio.current_time())
        return await silence(_)

    return play


def together(_: object) -> dict[str, Play]:
    """Both answer in the same turn."""
    asked = anyio.Event()

    async def first(_: Any) -> int:
        await asked.wait()
        return 200

    async def second(_: Any) -> int:
        asked.set()
        await anyio.lowlevel.checkpoint()
        return 200

    return {"a": first, "b": second}


SCENARIOS = {
    "plain": Scenario(lambda _: {"a": says(500), "b": says(200)}),
    "stream": Scenario(lambda _: {"a": says(500), "b": says(200)}, stream=True),
    "probe": Scenario(lambda _: {"a": silence, "b": says(200)}, open_before=("a",)),
    "probes": Scenario(lambda _: {"a": late, "b": silence, "c": silence}, open_before=("a", "b", "c"), stream=True),
    "hedge": Scenario(lambda _: {"a": silence, "b": says(200)}, headers=HEDGED, stream=True),
    "hedge that fails": Scenario(lambda _: {"a": late, "b": says(500)}, headers=HEDGED),
    "a breaker opens": Scenario(lambda world: {"a": opening(world), "b": says(200)}, stream=True),
    "repeat": Scenario(lambda _: {"a": says(500), "b": says(200)}, sequence=("a", "a", "b")),
    "same turn": Scenario(together, headers=HEDGED, stream=True),
    "stop": Scenario(lambda _: {"a": silence, "b": says(400)}, headers=HEDGED),
    "slot": Scenario(lambda _: {"a": silence, "b": says(200)}, limits=Limits(concurrency=1), busy=("a",)),
    "slot of a probe": Scenario(
        lambda _: {"a": silence, "b": late, "c": late},
        limits=Limits(concurrency=1),
        busy=("a",),
        open_before=("a", "b"),
    ),
    "all fail": Scenario(
        lambda _: {"a": says(500), "b": says(500), "c": says(500)}, headers=HEDGED, open_before=("a",)
    ),
}


class Heard:
    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def on_event(self, event: Event, /) -> None:
        self._events.append(event)


async def one_run(world: Played, scenario: Scenario, cancellation: Cancellation) -> None:
    now_s = anyio.current_time()
    for name in scenario.open_before:
        await world.memory.apply([((name, MODEL), Failed(1, silent=True))], now_s)
    holds = [await world.dispatcher.slots.acquire((name, None, MODEL), 1) for name in scenario.busy]
    left = cancellation.left if isinstance(cancellation, Leaving) else None
    told: list[Told] = []

    async def call() -> None:
        told.append(await world.call(*scenario.sequence, stream=scenario.stream, leaves=left, **scenario.headers))

    tasks = count_tasks()
    await cancellation.run(call)
    for slot in holds:
        assert slot is not None
        slot.release()
    if not cancellation.begun:
        assert told[0].status in (201, 400, 502)
        assert told[0].whole
    await until(lambda: count_tasks() == tasks, lambda: f"{count_tasks()} tasks instead of {tasks}")
    assert world.left_over() == {}


async def at_every_await(
    scenario: Scenario, means: str, moment: Moment, wait: Callable[[], Awaitable[None]] | None
) -> None:
    events: list[Event] = []
    async with opened("a", "b", "c", sinks=[Heard(events)]) as gateway:
        with nothing_unheard():
            ended = begun = 0
            for n in count(0 if means != "task" else 1):
                cancellation = Leaving(n, moment, "scope") if means == "receive" else Cancellation(n, moment, means)  # type: ignore[arg-type]
                world: list[Played] = []
                plays = scenario.plays(world)
                world.append(
                    played(
                        gateway,
                        plays,
                        timeouts=LIMITS,
                        limits=scenario.limits,
                        breaker=Breaker(failures=1, open_s=1e-6, open_max_s=1e-6),
                        wait=wait,
                        at_once=means == "task",
                    )
                )
                with noted(lambda c=cancellation: f"{c}, of {c.awaits}"):  # type: ignore[misc]
                    with anyio.fail_after(5):
                        await one_run(world[0], scenario, cancellation)
                    assert_in_order(events)
                    assert [type(event) for event in events].count(RequestStarted) == [
                        type(event) for event in events
                    ].count(RequestEnded), "whoever has begun has ended"
                events.clear()
                begun += cancellation.begun
                ended = 0 if cancellation.begun else ended + 1
                if ended == 2:
                    break
            assert begun > 5


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "PROBE_S", SOON_S)
    monkeypatch.setattr(failover, "BACKOFF_S", SOON_S)


@pytest.mark.parametrize("means", ["scope", "task", "receive"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_nothing_is_left_over_wherever_a_request_ends(name: str, means: str, anyio_backend_name: str) -> None:
    for moment in MOMENTS:
        if means != "task" or anyio_backend_name == "asyncio":
            await at_every_await(SCENARIOS[name], means, moment, None)


@pytest.mark.parametrize("means", ["scope", "task", "receive"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_nothing_is_left_over_where_the_store_is_waited_for(
    name: str, means: str, anyio_backend_name: str
) -> None:
    if means == "task" and anyio_backend_name != "asyncio":
        return  # trio's tasks have no cancel() of their own
    await at_every_await(SCENARIOS[name], means, "resuming", anyio.lowlevel.checkpoint)
