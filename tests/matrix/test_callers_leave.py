"""F50 to F52 and F73: callers who are gone before their answer, whenever and however they go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, get_args

import anyio
import pytest

from ogw_asgi import Breaker
from ogw_asgi.telemetry.events import AttemptEnded, CircuitChanged, RequestEnded
from ogw_asgi.testing import Hang, RawScript, RawUpstream, SharedEvent, Wait, chunked
from ogw_asgi.testing.encoding import json_bytes
from tests.leaks.heartbeat import heartbeat

from .caller import Exchange, call, connected, request
from .expect import assert_answered
from .selection import Case, Mode
from .watching import Heard, assert_unmoved, circuits, question, sized, turns
from .wire import PING, PRIOR, SSE_HEAD, completion, delta, good, head, refusal
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

Way = Literal["fin", "rst", "half-close"]
WAYS: Sequence[Way] = get_args(Way)


class Sent:
    """A step that tells the test that what stands before it has been sent."""

    def __init__(self) -> None:
        self.event = SharedEvent()

    async def wait(self) -> None:
        self.event.set()


@asynccontextmanager
async def world_with_one(open_world: OpenWorld, *scripts: RawScript) -> AsyncIterator[tuple[World, Heard, RawUpstream]]:
    heard, one = Heard(), RawUpstream(*scripts)
    async with open_world(one=one, two=Good(), sinks=[heard]) as world:
        yield world, heard, one


async def assert_let_go(world: World, heard: Heard, exchange: Exchange, way: Way, *calls: int) -> None:
    """The caller leaves, and 100 ms later nothing is left of the request; nobody else has been asked."""
    exchange.leave(way)
    await world.settled()
    await heard.until(RequestEnded)
    assert [ended.outcome for ended in heard.of(RequestEnded)] == ["left"]
    assert list(world.calls().values()) == [*calls, 0]
    loud = [record for record in world.complaints.records if record.levelname in ("WARNING", "ERROR")]
    assert not loud, "a caller who leaves is nobody's fault"


def half(mode: Mode) -> bytes:
    """What may come before the first chunk."""
    return chunked(PING) if mode == "sse" else chunked(completion("Hello")[:20])


@pytest.mark.fault("F50", "F51", "F52")
@pytest.mark.parametrize("way", WAYS)
async def test_leaving_before_the_head_closes_the_provider(open_world: OpenWorld, way: Way) -> None:
    async with world_with_one(open_world, [Hang()]) as (world, heard, one):
        async with world.asking() as exchange:
            await one.wait_for_requests()
            await assert_let_go(world, heard, exchange, way, 1)
            await one.peer_closed()
        assert_unmoved(world)


@pytest.mark.fault("F50", "F51", "F52")
@pytest.mark.parametrize("way", WAYS)
async def test_leaving_before_the_first_chunk_closes_the_provider(open_world: OpenWorld, case: Case, way: Way) -> None:
    sent = Sent()
    script: RawScript = [head(case.mode) + half(case.mode), Wait(sent), Hang()]
    async with world_with_one(open_world, script) as (world, heard, one):
        async with world.asking() as exchange:
            await sent.event.wait()
            await turns()
            await assert_let_go(world, heard, exchange, way, 1)
            await one.peer_closed()
        assert not exchange.raw.startswith(b"HTTP/1.1 201")
        assert_unmoved(world)


@pytest.mark.fault("F50", "F51", "F52", mode="sse")
@pytest.mark.parametrize("way", WAYS)
async def test_leaving_in_the_stream_closes_the_provider(open_world: OpenWorld, way: Way) -> None:
    async with world_with_one(open_world, [SSE_HEAD, chunked(PRIOR), Hang()]) as (world, heard, one):
        async with world.asking() as exchange:
            await exchange.read_until(PRIOR)
            await assert_let_go(world, heard, exchange, way, 1)
            await one.peer_closed()
        assert_unmoved(world)


@pytest.mark.fault("F50", "F51", "F52", mode="sse")
@pytest.mark.parametrize("way", WAYS)
async def test_leaving_a_stream_that_flows_closes_the_provider_and_is_told_to_nobody(
    open_world: OpenWorld, way: Way
) -> None:
    much = chunked(delta("x" * 10_000))
    async with world_with_one(open_world, [SSE_HEAD, *[much] * 500, Hang()]) as (world, heard, one):
        async with world.asking() as exchange:
            await exchange.read_until(b"xxx")
            await assert_let_go(world, heard, exchange, way, 1)
            await one.peer_closed()
        assert_unmoved(world)


@pytest.mark.fault("F50", "F51", "F52")
@pytest.mark.parametrize("way", WAYS)
async def test_leaving_in_the_upload_calls_nobody(open_world: OpenWorld, case: Case, way: Way) -> None:
    body = json_bytes({"model": "m", "messages": [{"role": "user", "content": "x" * 1000}], "stream": case.stream})
    async with world_with_one(open_world, [Hang()]) as (world, heard, _):
        async with connected(world.port) as exchange:
            await exchange.send_raw(request(body)[:-500])
            while not world.app.in_flight:
                await turns(1)
            await turns()
            exchange.leave(way)
            await world.settled()
        assert world.calls() == {"one": 0, "two": 0}
        assert heard.of(RequestEnded) == [], "there was no whole request"
        assert_unmoved(world)


@pytest.mark.fault("F50", "F51", "F52")
@pytest.mark.parametrize("way", WAYS)
async def test_leaving_between_two_attempts_spares_the_second(open_world: OpenWorld, way: Way) -> None:
    waiting = refusal(500, headers=[("retry-after", "4")])
    async with world_with_one(open_world, [waiting]) as (world, heard, _):
        world.idle = ["one"]
        async with world.asking("one", "one", "two") as exchange:
            await heard.until(AttemptEnded)
            await turns()
            await assert_let_go(world, heard, exchange, way, 1)
        assert not heard.of(CircuitChanged)
        assert [circuit.in_a_row for key, circuit in circuits(world).items() if len(key) == 2] == [1], "the 500 alone"


@pytest.mark.fault("F50", "F51", "F52")
@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_who_was_the_probe_gives_it_back(open_world: OpenWorld, case: Case, way: Way) -> None:
    one = RawUpstream([refusal(500)], [Hang()], [good(case.mode)])
    brief = Breaker(failures=1, open_s=0.02, open_max_s=0.02)
    async with open_world(one=one, two=Good(), idle=["two"], breaker=brief) as world:
        world.idle = ["one", "two"]
        await world.ask()
        await anyio.sleep(0.03)  # the open time, and the most of its jitter
        world.idle = ["two"]
        async with world.asking() as exchange:
            await one.wait_for_requests(2)
            (held,) = [circuit for circuit in circuits(world).values() if circuit.phase == "half_open"]
            assert held.lease is not None
            exchange.leave(way)
            await world.settled()
        (free,) = [circuit for circuit in circuits(world).values() if circuit.phase == "half_open"]
        assert (free.lease, free.recovered, free.trips) == (None, 0, 1)
        world.idle = ["one", "two"]
        assert_answered(world, await world.ask(), "one", text="Hello")
        assert world.calls() == {"one": 3, "two": 1}


CALLERS = 30
EVENT = delta("x" * (64 << 10))


@pytest.mark.fault("F73", mode="sse")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("leave", [Exchange.close, lambda exchange: exchange.leave("rst")], ids=["FIN", "RST"])
async def test_thirty_callers_who_drop_long_streams_at_once_do_not_hold_the_loop(
    open_world: OpenWorld, leave: Callable[[Exchange], Any]
) -> None:
    events = sized(2, 80)
    heard = Heard()
    long = RawUpstream([SSE_HEAD, chunked(EVENT) * events, Hang()])
    async with open_world(one=long, two=Good(), sinks=[heard], limit_s=sized(10, 250)) as world:
        async with anyio.create_task_group() as group:
            callers: list[Exchange] = []
            over = anyio.Event()

            async def listen() -> None:
                async with call(world.port, request(question(stream=True))) as exchange:
                    while len(exchange.body) < events * len(EVENT):
                        assert await exchange.read_some()
                    callers.append(exchange)
                    exchange.raw.clear()
                    exchange.body.clear()
                    await over.wait()

            for _ in range(CALLERS):
                group.start_soon(listen)
            while len(callers) < CALLERS:
                await turns(1)
            async with heartbeat() as lag:
                for exchange in callers:
                    leave(exchange)
                await long.peer_closed(CALLERS)
                await heard.until(RequestEnded, CALLERS)
            assert lag.cpu_s <= 0.05
            over.set()
        await world.settled()
        assert {ended.outcome for ended in heard.of(RequestEnded)} == {"left"}
        assert world.calls() == {"one": CALLERS, "two": 0}
        assert_unmoved(world)
