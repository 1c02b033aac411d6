"""F62, P05 and P07: limits that are too short, clocks that jump, and a loop that stands still."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
import pytest

from ogw_asgi import Breaker
from ogw_asgi.telemetry.events import CircuitChanged
from ogw_asgi.testing import RawUpstream, SharedEvent, Wait

from .expect import assert_answered, assert_moved_on, assert_timed_out
from .faults import Pause
from .selection import Case
from .upstreams import threaded
from .watching import assert_unmoved, circuits, sized, turns
from .wire import good, refusal
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

KEPT = ("one", "two", "three")


# --- F62 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F62")
@pytest.mark.timeout(300)
async def test_any_number_of_calls_with_a_limit_of_a_millisecond_is_their_callers_own_trouble(
    open_world: OpenWorld, case: Case
) -> None:
    calls, at_a_time = sized(100, 10_000), 20
    steady = RawUpstream([Wait(Pause(0.02)), good(case.mode)])
    async with open_world(one=steady, two=Good(), idle=["one"], limit_s=sized(10, 280)) as world:
        left = iter(range(calls))

        async def ask_impatiently() -> None:
            for _ in left:
                async with world.asking("one", timeout_ms=1) as exchange:
                    assert_timed_out(await exchange.rest())

        async with anyio.create_task_group() as group:
            for _ in range(at_a_time):
                group.start_soon(ask_impatiently)
        assert_unmoved(world)
        assert_answered(world, await world.ask("one", "two"), "one", text="Hello")
        assert world.calls()["two"] == 0


# --- P05 --------------------------------------------------------------------------------------------------------------

HOUR_S = 3600.0
real_time = time.time


@pytest.fixture(params=[HOUR_S, -HOUR_S], ids=["an hour on", "an hour back"])
def jump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Sets the clock on the wall, as an administrator or NTP does; the monotonic one goes on as before."""
    return lambda: monkeypatch.setattr(time, "time", lambda: real_time() + request.param)


@pytest.mark.fault("P05")
async def test_a_jump_of_the_clock_moves_no_breaker_and_no_cooldown(
    open_world: OpenWorld, jump: Callable[[], None]
) -> None:
    down = RawUpstream([refusal(500)])
    cooling = RawUpstream([refusal(429, headers=[("retry-after", "60")])])
    settings = Breaker(failures=2, open_s=60, open_max_s=60)
    async with open_world(one=down, two=cooling, three=Good(), idle=KEPT, breaker=settings) as world:
        assert_moved_on(world, await world.ask("one", "three"), "500", to="three")
        assert_answered(world, await world.ask(), "three", attempts=3)
        before, changes = states(world), changed(world)
        for _ in range(2):
            assert_answered(world, await world.ask(), "three")
        jump()
        for _ in range(2):
            assert_answered(world, await world.ask(), "three")
        assert world.calls() == {"one": 2, "two": 1, "three": 6}
        assert states(world) == before
        assert changed(world) == changes == ["open"]


@pytest.mark.fault("P05")
async def test_a_jump_of_the_clock_ends_no_lease_and_no_open_time_that_was_over(
    open_world: OpenWorld, case: Case, jump: Callable[[], None]
) -> None:
    gate = SharedEvent()
    back = RawUpstream([refusal(500)], [Wait(gate), good(case.mode)])
    brief = Breaker(failures=1, open_s=0.02, open_max_s=0.02)
    async with open_world(one=back, two=Good(), idle=KEPT, breaker=brief) as world:
        assert_moved_on(world, await world.ask(), "500")
        await Pause(0.03).wait()  # the open time, and the most of its jitter
        async with world.asking() as probe:
            await back.wait_for_requests(2)
            assert_answered(world, await world.ask(), "two")
            jump()
            assert_answered(world, await world.ask(), "two")
            assert world.calls() == {"one": 2, "two": 3}, "there is one probe, as before"
            gate.set()
            assert_answered(world, await probe.rest(), "one", text="Hello")
        assert_answered(world, await world.ask(), "one", text="Hello")
        assert changed(world) == ["open", "half_open", "closed"]


def changed(world: World) -> list[str]:
    return [event.state for event in world.events if isinstance(event, CircuitChanged)]


def states(world: World) -> dict[object, object]:
    """What stands in the way of a target, by its key; successes elsewhere come on top all the time."""
    return {
        key: (circuit.phase, circuit.since_s, circuit.open_s, circuit.cooling_until_s)
        for key, circuit in circuits(world).items()
        if key[0] != "three"
    }


# --- P07 --------------------------------------------------------------------------------------------------------------

LIMIT_MS = sized(100, 200)
BLOCKED_S = sized(0.25, 0.5)
WAITING = {
    "an answer": ("in time", False),
    "the rest of an answer": ("in time", True),
    "an answer that takes more than one read": ("in time" * 30_000, False),
}


def block_the_loop() -> None:
    """What no host should do, and many do."""
    time.sleep(BLOCKED_S)


@pytest.mark.fault("P07")
@pytest.mark.parametrize(("text", "begun"), WAITING.values(), ids=WAITING)
async def test_an_answer_that_lies_there_when_a_blocked_loop_goes_on_is_in_time(
    open_world: OpenWorld, case: Case, text: str, begun: bool
) -> None:
    answer = good(case.mode, text)
    cut = answer.index(b"in time") if begun else 0  # no first chunk yet, in either mode
    with threaded(answer[cut:], answer[:cut]) as upstream:
        async with open_world(one=upstream.url, idle=["one"]) as world:
            async with world.asking(timeout_ms=LIMIT_MS) as exchange:
                await upstream.asked.wait()
                await turns()  # until the gateway, too, waits for nothing but the answer
                upstream.answer_now()
                block_the_loop()
                reply = await exchange.rest()
            upstream.close()
            assert_answered(world, reply, "one", text=text)
            assert_unmoved(world)


@pytest.mark.fault("P07")
async def test_a_silent_provider_is_late_on_a_blocked_loop_too(open_world: OpenWorld) -> None:
    with threaded(b"") as upstream:
        async with open_world(one=upstream.url, two=Good()) as world:
            async with world.asking(timeout_ms=LIMIT_MS) as exchange:
                await upstream.asked.wait()
                await turns()
                block_the_loop()
                reply = await exchange.rest()
            upstream.close()
            assert_moved_on(world, reply, "timeout")
            assert_unmoved(world)
