"""Requests begin a few in each turn of the loop: everybody's turn comes, whoever leaves, and whatever holds it up."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import uvloop
from anyio.lowlevel import checkpoint

from ogw_asgi import Limits, Principal, Timeouts, bearer_tokens
from ogw_asgi._dispatch import pace as pace_module
from ogw_asgi._dispatch.pace import AT_ONCE, PER_S, Pace, so_many
from ogw_asgi.telemetry import Event, RequestEnded
from ogw_asgi.testing import RawUpstream, ScriptedUpstream, chat, http_response
from tests.asgi.hosts import http_scope
from tests.contract.harness import World, gateway_of

pytestmark = pytest.mark.anyio

BACKENDS = [
    pytest.param(("asyncio", {}), id="asyncio"),
    pytest.param(("asyncio", {"loop_factory": uvloop.new_event_loop}), id="uvloop"),
    pytest.param(("trio", {}), id="trio"),
]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many in a turn, however long this machine takes for one."""
    monkeypatch.setattr(pace_module, "PER_S", 0)


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.now = 0

    async def count(self) -> None:
        while True:
            self.now += 1
            await checkpoint()


@asynccontextmanager
async def counted() -> AsyncIterator[Turns]:
    turns = Turns()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(turns.count)
            yield turns
            group.cancel_scope.cancel()


async def begin(pace: Pace) -> None:
    if not pace.free():
        await pace.turn()


async def full(pace: Pace) -> None:
    """As many have begun as may in this turn."""
    await begin(pace)
    while pace.free():
        pass


@pytest.mark.parametrize(
    ("turn_s", "many"),
    [
        (0.0, AT_ONCE),
        (0.001, AT_ONCE),
        (AT_ONCE / PER_S, AT_ONCE),
        (0.05, 25),
        (2.0, 1000),
        (-1.0, AT_ONCE),  # no clock that is asked goes back
    ],
)
def test_how_many_may_begin_after_a_turn(turn_s: float, many: int) -> None:
    assert so_many(turn_s) == many


async def test_a_few_begin_at_once_and_the_next_one_waits_for_a_turn() -> None:
    pace = Pace()
    await begin(pace)  # the first one of a loop looks which it is, and counts
    for _ in range(AT_ONCE - 1):
        assert pace.free()
    assert not pace.free()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await pace.turn()
    assert scope.cancelled_caught, "it waited"
    assert pace.free(), "a turn has passed, whoever waited for it"


@pytest.mark.usefixtures("however_slow")
async def test_of_many_who_come_at_once_a_few_begin_in_each_turn() -> None:
    pace, began = Pace(), Counter[int]()
    async with counted() as turns:

        async def one() -> None:
            await begin(pace)
            began[turns.now] += 1

        async with anyio.create_task_group() as group:
            for _ in range(300):
                group.start_soon(one)
        assert began.total() == 300
        # On trio those of two turns may come between two looks of the one who counts.
        assert max(began.values()) <= 2 * AT_ONCE + 1
        assert pace.free()


@pytest.mark.usefixtures("however_slow")
async def test_nobody_is_overtaken_by_those_of_a_later_turn() -> None:
    pace, order = Pace(), list[int]()
    await full(pace)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for number in range(200):

                async def one(number: int = number) -> None:
                    order.append(number)
                    await pace.turn()
                    order.append(~number)

                group.start_soon(one)
    came = [number for number in order if number >= 0]
    began = [~number for number in order if number < 0]
    assert sorted(began) == sorted(came) == list(range(200))
    places = {number: place for place, number in enumerate(came)}
    # trio wakes those of one turn in any order.
    assert all(abs(places[number] - place) <= 2 * AT_ONCE for place, number in enumerate(began))


@pytest.mark.usefixtures("however_slow")
async def test_who_comes_while_others_queue_begins_after_them() -> None:
    pace, began = Pace(), list[str]()
    await full(pace)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:

            async def one(name: str) -> None:
                await begin(pace)
                began.append(name)

            for _ in range(5 * AT_ONCE):
                group.start_soon(one, "queued")
            await checkpoint()
            await checkpoint()
            group.start_soon(one, "late")
    assert began.index("late") >= 3 * AT_ONCE


@pytest.mark.parametrize("seed", range(30))
async def test_whoever_leaves_whenever_everybody_else_begins(seed: int) -> None:
    chance = random.Random(seed)
    pace, began = Pace(), set[int]()
    scopes = [anyio.CancelScope() for _ in range(80)]
    leaving = {number for number in range(80) if chance.random() < chance.choice([0.05, 0.5, 0.95])}
    async with counted() as turns:

        async def one(number: int) -> None:
            with scopes[number]:
                await begin(pace)
                began.add(number)

        async def leave() -> None:
            for number in chance.sample(sorted(leaving), len(leaving)):
                scopes[number].cancel()
                if chance.random() < 0.3:
                    await checkpoint()

        async with anyio.create_task_group() as group:
            for number in range(80):
                group.start_soon(one, number)
                if chance.random() < 0.1:
                    await checkpoint()
            group.start_soon(leave)
        assert began >= set(range(80)) - leaving
        now = turns.now
        for _ in range(3 * AT_ONCE):
            await begin(pace)
        assert turns.now - now <= 8, "the queue is as it was at first"


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2])  # trio has no cancel() of a task
async def test_a_task_that_is_cancelled_by_itself_gives_its_turn_on() -> None:
    for victim in range(2 * AT_ONCE):
        for turns in range(4):
            pace, began = Pace(), list[int]()

            async def one(number: int, pace: Pace = pace, began: list[int] = began) -> None:
                await begin(pace)
                began.append(number)

            await full(pace)
            tasks = [asyncio.ensure_future(one(number)) for number in range(3 * AT_ONCE)]
            for _ in range(turns):
                await checkpoint()
            tasks[victim].cancel()
            with anyio.fail_after(10):
                await asyncio.gather(*tasks, return_exceptions=True)
            assert set(began) >= set(range(3 * AT_ONCE)) - {victim}


async def test_where_something_holds_up_the_loop_more_begin_in_a_turn() -> None:
    pace, began = Pace(), Counter[int]()
    async with counted() as turns:

        async def held_up() -> None:
            while True:
                time.sleep(0.05)  # noqa: ASYNC251  # what a host should not do, and some do
                await checkpoint()

        async def one() -> None:
            await begin(pace)
            began[turns.now] += 1

        async with anyio.create_task_group() as around:
            around.start_soon(held_up)
            async with anyio.create_task_group() as group:
                for _ in range(300):
                    group.start_soon(one)
            around.cancel_scope.cancel()
        assert max(began.values()) >= 0.05 * PER_S


async def test_what_a_long_turn_would_have_let_in_is_not_saved_up_for_a_later_crowd() -> None:
    pace, begun = Pace(), list[int]()

    async def one() -> None:
        await begin(pace)
        begun.append(1)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(2 * AT_ONCE):
                group.start_soon(one)
            await checkpoint()
            time.sleep(0.2)  # noqa: ASYNC251
        await checkpoint()
    free = 0
    while pace.free():
        free += 1
    assert free <= AT_ONCE


def test_those_who_queued_in_a_loop_that_is_gone_are_in_nobodys_way() -> None:
    pace = Pace()

    async def crowd() -> None:
        for _ in range(3 * AT_ONCE):
            await begin(pace)

    async def stuck() -> None:
        queue = [asyncio.ensure_future(crowd()) for _ in range(3 * AT_ONCE)]
        await asyncio.sleep(0)
        assert not all(one.done() for one in queue)

    loop = asyncio.new_event_loop()
    kept = [loop.create_task(begin(pace)) for _ in range(5 * AT_ONCE)]
    loop.run_until_complete(asyncio.sleep(0))
    assert not all(task.done() for task in kept)
    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(crowd, backend=backend)
    asyncio.run(stuck())
    anyio.run(crowd)
    loop.run_until_complete(asyncio.wait_for(asyncio.gather(*kept), 5))  # nor were they forgotten
    loop.close()


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_is_closed_while_some_queue_leaves_no_noise(
    factory: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: noise.append(found.exc_value))
    pace, loop = Pace(), factory()
    loop.set_exception_handler(lambda *_: None)  # that it destroyed pending tasks, which is so
    kept = [loop.create_task(begin(pace)) for _ in range(5 * AT_ONCE)]
    loop.run_until_complete(asyncio.sleep(0))
    assert not all(task.done() for task in kept)
    loop.close()
    kept.clear()
    gc.collect()
    assert noise == []


async def test_nothing_is_kept_of_those_who_have_begun() -> None:
    pace = Pace()

    class Thing:
        pass

    things: list[weakref.ref[Thing]] = []

    async def one() -> None:
        thing = Thing()
        things.append(weakref.ref(thing))
        await begin(pace)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(one)
    for _ in range(5):
        await checkpoint()
    gc.collect()
    assert [thing() for thing in things] == [None] * 50


# --- at the gateway ---------------------------------------------------------------------------------------------------

BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}'
ANSWER = b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"}}]}'


class Told:
    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.durations_ms: list[int] = []

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, RequestEnded):
            self.outcomes.append(event.outcome)
            self.durations_ms.append(event.duration_ms)


async def statuses(world: World, many: int) -> Counter[int]:
    found = Counter[int]()

    async def ask() -> None:
        found[(await world.post()).status_code] += 1

    async with anyio.create_task_group() as group:
        for _ in range(many):
            group.start_soon(ask)
    return found


async def told_at_once(world: World, token: str) -> int:
    """The status of a request whose caller takes the answer without a turn of the loop."""
    messages = iter([{"type": "http.request", "body": BODY}])
    found = 0

    async def receive() -> Any:
        if (message := next(messages, None)) is None:
            await anyio.sleep_forever()
        return message

    async def send(message: Any) -> None:
        nonlocal found
        found = message.get("status", found)

    headers = [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + token.encode())]
    await world.gateway(http_scope(headers=headers), receive, send)
    return found


@pytest.mark.usefixtures("however_slow")
async def test_a_crowd_asks_a_quick_provider_over_a_few_connections() -> None:
    script = [http_response(200, ANSWER, {"content-type": "application/json"})]
    async with RawUpstream(script) as server, gateway_of(openai=server, limit_s=30) as world:
        assert await statuses(world, 400) == {201: 400}
        assert server.connections <= 300  # 400 where all of them begin at once
        assert world.gateway.app.completions.in_flight == 0


async def test_whoever_waits_for_a_turn_counts_and_who_comes_when_it_is_full_does_not_wait() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat()), limits=Limits(in_flight=20), limit_s=30) as world:
        found = await statuses(world, 300)
        assert found[201] >= 20
        assert found[503] >= 200
        assert found.total() == 300
        assert await statuses(world, 20) == {201: 20}
        assert world.gateway.app.completions.in_flight == 0


@pytest.mark.parametrize(("token", "refused"), [("wrong", 401), ("greedy", 429)])
async def test_who_is_refused_at_the_door_does_not_queue_and_is_in_nobodys_way(token: str, refused: int) -> None:
    tokens = bearer_tokens({Principal("good"): ["good"], Principal("greedy", in_flight=2): ["greedy"]})
    limits, found = Limits(in_flight=100), Counter[tuple[str, int]]()
    async with gateway_of(openai=ScriptedUpstream(chat()), limits=limits, authenticate=tokens, limit_s=30) as world:

        async def ask(token: str) -> None:
            found[token, await told_at_once(world, token)] += 1

        async with anyio.create_task_group() as group:
            for one in [token] * 300 + ["good"] * 20:
                group.start_soon(ask, one)
        assert found["good", 201] == 20
        assert found[token, refused] >= 290
        assert found[token, refused] + found[token, 201] == 300
        assert world.gateway.app.completions.in_flight == 0


async def test_the_time_in_the_queue_is_told_and_counts_towards_the_limit_of_the_whole() -> None:
    told = Told()
    async with gateway_of(openai=ScriptedUpstream(chat()), sinks=[told], limit_s=30) as world:
        began_s = time.monotonic()
        assert await statuses(world, 100) == {201: 100}
        took_ms = (time.monotonic() - began_s) * 1000
        assert max(told.durations_ms) >= took_ms / 3
    limits = Timeouts(total_s=took_ms / 1000 / 10)
    async with gateway_of(openai=ScriptedUpstream(chat()), timeouts=limits, limit_s=30) as world:
        found = await statuses(world, 100)
        assert found[504] >= 25  # or a breaker is open by then
        assert found.total() == 100


@pytest.mark.contract("1.unavailable.closed")
async def test_who_has_queued_for_a_gateway_that_is_closed_by_then_is_told_so() -> None:
    found = Counter[int]()
    async with gateway_of(openai=ScriptedUpstream(chat()), limit_s=30) as world:
        assert await told_at_once(world, "") == 201

        async def ask() -> None:
            found[await told_at_once(world, "")] += 1

        async with anyio.create_task_group() as group:
            for _ in range(300):
                group.start_soon(ask)
            await checkpoint()
            await world.gateway.aclose()
    assert found[503] >= 200
    assert found.total() == 300


@pytest.mark.contract("4.caller-gone.receive")
async def test_for_callers_who_have_left_while_they_queued_nobody_is_asked() -> None:
    upstream, told = ScriptedUpstream(chat()), Told()
    async with gateway_of(openai=upstream, sinks=[told], limit_s=30) as world:

        async def gone() -> None:
            messages = iter([{"type": "http.request", "body": BODY}, {"type": "http.disconnect"}])

            async def receive() -> Any:
                return next(messages)

            async def send(message: Any) -> None:
                raise AssertionError("nobody is there")

            await world.gateway(http_scope(), receive, send)

        async with anyio.create_task_group() as group:
            for _ in range(10 * AT_ONCE):
                group.start_soon(gone)
        assert upstream.requests == []
        assert told.outcomes == ["left"] * 10 * AT_ONCE
        assert world.gateway.app.completions.in_flight == 0
        assert await statuses(world, 20) == {201: 20}
