"""What the faults leave behind for the requests after them: breakers, cooldowns, budgets; and F38, F39, P08.

Seen from outside: who is asked next. The open times are short ones, for the clock is the real one; to the second the
same rules are shown on a mock clock in tests/contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import pytest

from ogw_asgi import Breaker, Timeouts
from ogw_asgi.telemetry.events import CircuitChanged
from ogw_asgi.testing import Hang, OnAccept, RawScript, RawUpstream, Reset, SharedEvent, Wait, dead_port

from .expect import assert_answered, assert_failed
from .faults import Pause
from .selection import Case
from .wire import good, refusal
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

KEPT = ("one", "two")
QUICK = Breaker(open_s=0.05, open_max_s=0.2)
LIMIT_S = 0.1


async def providers(world: World, asks: int, **arguments: int) -> list[tuple[str | None, str | None]]:
    """Who answered each of so many requests, and in which attempt."""
    found = []
    for _ in range(asks):
        reply = await world.ask(**arguments)
        assert reply.status == 201
        found.append((reply.header("x-opengateway-provider"), reply.header("x-opengateway-attempts")))
    return found


FAILING: Mapping[str, RawScript] = {
    "F08": [OnAccept(), Reset()],
    "F11": [Hang()],
    "F17": [refusal(500)],
    "F24": [refusal(200)],
}


@pytest.mark.fault("F01")
async def test_after_five_refused_connections_nobody_waits_for_the_sixth(open_world: OpenWorld) -> None:
    with dead_port() as port:
        async with open_world(one=f"http://127.0.0.1:{port}", two=Good()) as world:
            assert await providers(world, 8) == [("two", "2")] * 5 + [("two", "1")] * 3
            opened = [(event.provider, event.model) for event in world.events if isinstance(event, CircuitChanged)]
            assert opened == [("one", None)], "the origin's, for the network said so"


@pytest.mark.fault("F08", "F11", "F17", "F24")
@pytest.mark.parametrize("script", FAILING.values(), ids=FAILING)
async def test_after_five_failures_in_a_row_the_others_are_asked_first(
    open_world: OpenWorld, script: RawScript
) -> None:
    limits = Timeouts(first_chunk_s=LIMIT_S, answer_s=LIMIT_S)
    async with open_world(one=RawUpstream(script), two=Good(), idle=KEPT, timeouts=limits) as world:
        assert await providers(world, 7) == [("two", "2")] * 5 + [("two", "1")] * 2
        assert world.calls()["one"] in (0, 5)


@pytest.mark.fault("F11")
async def test_a_model_that_takes_its_time_and_answers_never_trips(open_world: OpenWorld, case: Case) -> None:
    slow = RawUpstream([Wait(Pause(0.05)), good(case.mode)])
    limits = Timeouts(first_chunk_s=10, answer_s=10)
    async with open_world(one=slow, two=Good(), idle=["one"], timeouts=limits) as world:
        assert await providers(world, 10) == [("one", "1")] * 10


@pytest.mark.fault("F17")
@pytest.mark.parametrize("status", [503, 529])
async def test_an_overloaded_provider_cools_down(open_world: OpenWorld, status: int) -> None:
    async with open_world(one=RawUpstream([refusal(status)]), two=Good(), idle=KEPT) as world:
        assert await providers(world, 3) == [("two", "2"), ("two", "1"), ("two", "1")]
        assert world.calls() == {"one": 1, "two": 3}


@pytest.mark.fault("F17")
async def test_another_server_error_does_not_cool_anybody_down(open_world: OpenWorld, case: Case) -> None:
    once = RawUpstream([refusal(500)], [good(case.mode)])
    async with open_world(one=once, two=Good(), idle=KEPT) as world:
        assert await providers(world, 2) == [("two", "2"), ("one", "1")]


NAMED = ["2", "0.5", "86400", "-1", "NaN", "soon", None]


@pytest.mark.fault("F18")
@pytest.mark.parametrize("named", NAMED)
async def test_a_rate_limited_provider_is_left_alone_whatever_it_named(
    open_world: OpenWorld, named: str | None
) -> None:
    headers = [] if named is None else [("retry-after", named)]
    async with open_world(one=RawUpstream([refusal(429, headers=headers)]), two=Good(), idle=KEPT) as world:
        assert await providers(world, 3) == [("two", "2"), ("two", "1"), ("two", "1")]
        # Skipped ones go to the back of the queue, never away.
        limited = await world.ask("one")
        assert_failed(limited, 429, "rate_limit_exceeded", "rate_limited", labels=("429",))


@pytest.mark.fault("F18")
async def test_a_rate_limited_provider_is_asked_again_when_its_time_is_over(open_world: OpenWorld, case: Case) -> None:
    # Whatever is named below a second counts as one.
    once = RawUpstream([refusal(429, headers=[("retry-after-ms", "20")])], [good(case.mode)])
    async with open_world(one=once, two=Good(), idle=KEPT) as world:
        assert await providers(world, 2) == [("two", "2"), ("two", "1")]
        await Pause(1.05).wait()
        assert await providers(world, 2) == [("one", "1")] * 2


@pytest.mark.fault("F19")
async def test_an_empty_account_is_tried_again_by_one_request_alone(open_world: OpenWorld, case: Case) -> None:
    gate = SharedEvent()
    money = refusal(429, {"message": "No money.", "code": "insufficient_quota"}, [("retry-after", "1")])
    broke = RawUpstream([money], [Wait(gate), good(case.mode)])
    async with open_world(one=broke, two=Good(), idle=KEPT, breaker=QUICK) as world:
        assert await providers(world, 2) == [("two", "2"), ("two", "1")]
        await Pause(1.05).wait()
        async with world.asking() as probe:
            await broke.wait_for_requests(2)
            assert await providers(world, 2) == [("two", "1")] * 2
            gate.set()
            assert_answered(world, await probe.rest(), "one", text="Hello")
        assert world.calls() == {"one": 2, "two": 4}


# --- F38 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F38")
async def test_while_a_provider_flaps_with_each_request_every_caller_is_served(
    open_world: OpenWorld, case: Case
) -> None:
    flapping = [[refusal(500)], [good(case.mode)]] * 30
    async with open_world(one=RawUpstream(*flapping), two=Good(), idle=KEPT, breaker=QUICK) as world:
        answered = await providers(world, 60)
        assert {attempts for _, attempts in answered} <= {"1", "2"}
        assert opened(world), "half of the last ones failed"


@pytest.mark.fault("F38")
async def test_while_a_provider_is_down_for_a_while_and_up_again_every_caller_is_served_and_it_comes_back(
    open_world: OpenWorld, case: Case
) -> None:
    down: Sequence[RawScript] = [[refusal(500)]] * 5
    up: Sequence[RawScript] = [[good(case.mode)]] * 4
    phases = RawUpstream(*down, *up, *down, *up, [good(case.mode)])
    async with open_world(one=phases, two=Good(), idle=KEPT, breaker=QUICK) as world:
        while world.calls()["one"] < 20:
            await providers(world, 1)
        assert 2 <= len(opened(world)) <= 6
        assert await providers(world, 3) == [("one", "1")] * 3


@pytest.mark.fault("F38")
async def test_the_open_time_of_a_provider_that_stays_down_grows_to_its_cap(open_world: OpenWorld) -> None:
    async with open_world(one=RawUpstream([refusal(500)]), two=Good(), idle=KEPT, breaker=QUICK) as world:
        while len(opened(world)) < 5:
            await providers(world, 1)
        for open_ms, expected_ms in zip(opened(world), (50, 100, 200, 200, 200), strict=True):
            assert 0.75 * expected_ms <= open_ms <= 1.25 * expected_ms


def opened(world: World) -> list[int]:
    """For how many milliseconds the circuit of `one` opened, each time that it did."""
    changes = [event for event in world.events if isinstance(event, CircuitChanged)]
    return [change.open_ms for change in changes if change.provider == "one" and change.state == "open"]


# --- F39 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F39")
async def test_the_answer_of_a_cancelled_loser_is_nobodys_and_says_nothing_of_it(
    open_world: OpenWorld, case: Case
) -> None:
    gate = SharedEvent()
    late = RawUpstream([Wait(gate), good(case.mode, "late")])
    timeouts = Timeouts(hedge_after_s=0.05)
    async with open_world(one=late, two=Good("in time"), idle=KEPT, timeouts=timeouts) as world:
        for asked in range(1, 3):
            reply = await world.ask()
            assert_answered(world, reply, "two", attempts=2)
            assert [timed.label for timed in reply.timings] == ["cancelled", "200"]
            assert b"late" not in reply.raw
            await late.peer_closed(asked)
        gate.set()
        reply = await world.ask(headers={"x-opengateway-hedge-after": "0"})
        assert_answered(world, reply, "one", text="late")
        assert not [event for event in world.events if isinstance(event, CircuitChanged)]


# --- P08 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("P08")
async def test_with_every_breaker_open_one_attempt_goes_out_and_further_ones_while_the_budget_lasts(
    open_world: OpenWorld,
) -> None:
    down = {name: RawUpstream([refusal(500)]) for name in ("one", "two")}
    async with open_world(**down, idle=KEPT, breaker=Breaker(open_s=30, open_max_s=30)) as world:
        for _ in range(5):
            assert_failed(await world.ask(), 502, "all_attempts_failed", *["server_error"] * 2, labels=("500",) * 2)
        started_s = anyio.current_time()
        made = [int((await world.ask()).header("x-opengateway-attempts") or 0) for _ in range(60)]
        passed_s = anyio.current_time() - started_s
        assert min(made) == 1, "never none"
        assert made[0] == 2, "the budget is there to be spent"
        extra = sum(made) - len(made)
        assert extra <= 30 + 0.1 * len(made) + 3 * passed_s + 1
        assert made[-10:].count(1) >= 5 or passed_s > 2
        assert sum(world.calls().values()) == 10 + sum(made)
