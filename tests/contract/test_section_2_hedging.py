"""Section 2, hedging: a second attempt beside the first, when it starts, what it may cost, and who wins."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from ogw_asgi import Timeouts
from ogw_asgi.testing import Hang, RawUpstream, ScriptedUpstream, chat, error, hang, hold, stream

from .checks import Sleep, mock_clock, outcomes, pause, sequence
from .harness import World, gateway_of

pytestmark = pytest.mark.anyio

HOUR_S = 3600.0
HEDGE = "x-opengateway-hedge-after"


@pytest.fixture
def anyio_backend() -> Any:
    return mock_clock()


def slow(seconds: float) -> Any:
    return hold(chat("slow"), until=Sleep(seconds))


async def timed(world: World, after_ms: int | None = None, **body: Any) -> tuple[str, float]:
    """Who answered, and how many seconds it took."""
    began_s = anyio.current_time()
    headers = {} if after_ms is None else {HEDGE: str(after_ms)}
    reply = await world.post(headers=headers, **body)
    return reply.headers["x-opengateway-provider"], round(anyio.current_time() - began_s, 3)


@pytest.mark.contract("2.hedge-after.hedges", "2.hedge-after.losers")
@pytest.mark.parametrize("body", [{}, {"stream": True}], ids=["plain", "stream"])
async def test_a_second_target_is_asked_beside_a_slow_one_and_the_first_good_answer_wins(body: Any) -> None:
    async with gateway_of(openai=ScriptedUpstream(slow(9)), azure=ScriptedUpstream(slow(1)), limit_s=HOUR_S) as world:
        began_s = anyio.current_time()
        reply = await world.post(headers={HEDGE: "500"}, **body)
        assert anyio.current_time() - began_s == pytest.approx(1.5)
        assert (reply.headers["x-opengateway-provider"], reply.headers["x-opengateway-attempts"]) == ("azure", "2")
        assert reply.headers["server-timing"] == 'openai;dur=1500;desc="cancelled", azure;dur=1000;desc="200"'
        assert "slow" in reply.text


@pytest.mark.contract("2.hedge-after.hedges")
async def test_the_first_may_still_win() -> None:
    async with gateway_of(openai=ScriptedUpstream(slow(1)), azure=ScriptedUpstream(slow(9)), limit_s=HOUR_S) as world:
        assert await timed(world, 500) == ("openai", 1.0)
        assert world.calls() == ["openai", "azure"]
        assert await timed(world, 2000) == ("openai", 1.0)
        assert world.calls() == ["openai", "openai", "azure"], "it was in time"


@pytest.mark.contract("2.hedge-after.hedges", "2.hedge-after.zero", "8.off")
async def test_the_setting_holds_where_the_header_is_absent_and_zero_switches_it_off() -> None:
    upstreams = {"openai": ScriptedUpstream(slow(3)), "azure": ScriptedUpstream(chat())}
    async with gateway_of(**upstreams, timeouts=Timeouts(hedge_after_s=0.25), limit_s=HOUR_S) as world:
        assert await timed(world) == ("azure", 0.25)
        assert await timed(world, 1000) == ("azure", 1.0)
        assert await timed(world, 0) == ("openai", 3.0)
    async with gateway_of(**upstreams, limit_s=HOUR_S) as world:
        assert await timed(world) == ("openai", 3.0)


@pytest.mark.contract("2.hedge-after.losers")
@pytest.mark.parametrize("body", [{}, {"stream": True}], ids=["plain", "stream"])
async def test_the_loser_is_closed_before_the_first_byte_goes_out(body: Any) -> None:
    async with RawUpstream([Hang()]) as loser:
        async with gateway_of(openai=loser, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
            async with world.stream(headers={HEDGE: "500"}, **{"stream": False, **body}) as reply:
                opened = world.gateway._opened
                assert opened is not None
                assert opened.dispatcher.slots.in_flight() <= 1, "the winner's, until its last byte has come"
                assert opened.dispatcher.circuits.in_flight() == 0
                await loser.peer_closed()
                assert reply.status_code == 201


@pytest.mark.contract("2.hedge-after.once")
async def test_there_is_one_hedge_however_many_targets_are_silent() -> None:
    one, two, three = (ScriptedUpstream(hang()) for _ in range(3))
    timeouts = Timeouts(first_chunk_s=10, answer_s=10)
    async with gateway_of(one=one, two=two, three=three, timeouts=timeouts, limit_s=HOUR_S) as world:
        began_s = anyio.current_time()
        reply = await world.post(headers={HEDGE: "1000"}, stream=True)
        assert reply.status_code == 504
        assert outcomes(reply) == ["timeout"] * 3
        assert world.calls() == ["one", "two", "three"]
        assert anyio.current_time() - began_s == pytest.approx(21.0), "the third waits until the second has failed"


@pytest.mark.contract("2.hedge-after.once")
async def test_a_hedge_that_fails_does_not_bring_on_a_third_while_the_first_is_in_time() -> None:
    upstreams = {"one": ScriptedUpstream(slow(5)), "two": ScriptedUpstream(error(500))}
    async with gateway_of(**upstreams, three=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        assert await timed(world, 1000) == ("one", 5.0)
        assert world.calls() == ["one", "two"]


async def test_when_the_first_fails_and_the_hedge_is_under_way_the_hedge_decides() -> None:
    first = ScriptedUpstream(hold(error(500), until=Sleep(2)))
    upstreams = {"one": first, "two": ScriptedUpstream(slow(5)), "three": ScriptedUpstream(chat())}
    async with gateway_of(**upstreams, limit_s=HOUR_S) as world:
        assert await timed(world, 1000) == ("two", 6.0)
        assert world.calls() == ["one", "two"]


@pytest.mark.contract("2.retry.skip-final", "2.retry.backoff")
@pytest.mark.parametrize(("status", "asked"), [(401, ["one", "two", "three"]), (500, ["one", "one", "two"])])
async def test_a_retry_in_place_is_judged_by_its_own_target_and_not_by_the_hedge(status: int, asked: list[str]) -> None:
    one = ScriptedUpstream(hold(error(status), until=Sleep(1)), chat())
    two = ScriptedUpstream(hold(error(500), until=Sleep(2)))
    async with gateway_of(one=one, two=two, three=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        reply = await world.post(headers={HEDGE: "500", **sequence("one", "one", "two", "three")})
        assert reply.status_code == 201
        assert world.calls() == asked


async def test_when_both_fail_the_next_target_is_asked_at_once() -> None:
    late_failure = ScriptedUpstream(hold(error(500), until=Sleep(2)))
    upstreams = {"one": late_failure, "two": ScriptedUpstream(error(500)), "three": ScriptedUpstream(chat())}
    async with gateway_of(**upstreams, limit_s=HOUR_S) as world:
        assert await timed(world, 1000) == ("three", 2.0)
        assert world.calls() == ["one", "two", "three"]


async def test_the_callers_own_fault_ends_both() -> None:
    async with RawUpstream([Hang()]) as silent:
        async with gateway_of(one=silent, two=ScriptedUpstream(error(400, "no such field"))) as world:
            reply = await world.post(headers={HEDGE: "10"})
            assert reply.status_code == 400
            assert reply.json()["error"]["message"] == "no such field"
            assert reply.headers["x-opengateway-attempts"] == "2"
            await silent.peer_closed()


@pytest.mark.contract("2.hedge-after.once")
async def test_a_target_is_not_hedged_with_itself_nor_with_one_that_is_down() -> None:
    upstreams = {"one": ScriptedUpstream(slow(2)), "two": ScriptedUpstream(error(500))}
    async with gateway_of(**upstreams, limit_s=HOUR_S) as world:
        reply = await world.post(headers={HEDGE: "100", **sequence("one", "one")})
        assert reply.headers["x-opengateway-attempts"] == "1"
        for _ in range(5):
            await world.post(headers=sequence("two"))
        before = len(world.calls())
        assert await timed(world, 100) == ("one", 2.0)
        assert len(world.calls()) == before + 1


@pytest.mark.contract("2.hedge-after.budget")
async def test_hedges_stay_within_one_for_twenty_requests() -> None:
    upstreams = {"one": ScriptedUpstream(slow(1)), "two": ScriptedUpstream(chat())}
    async with gateway_of(**upstreams, timeouts=Timeouts(hedge_after_s=0.5), limit_s=HOUR_S) as world:
        for _ in range(1000):
            await world.post()
        assert 50 <= len(world.upstreams["two"].requests) <= 53
        assert len(world.upstreams["one"].requests) == 1000


@pytest.mark.contract("2.hedge-after.budget")
async def test_without_a_hedge_left_the_next_target_is_still_there_when_the_first_fails() -> None:
    first = ScriptedUpstream(*[slow(1)] * 3, hold(error(500), until=Sleep(2)))
    async with gateway_of(one=first, two=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        for _ in range(3):
            assert await timed(world, 500) == ("two", 0.5)
        assert await timed(world, 500) == ("two", 2.0)


@pytest.mark.contract("2.hedge-after.quantile")
@pytest.mark.parametrize("body", [{}, {"stream": True}], ids=["plain", "stream"])
async def test_a_quantile_is_the_targets_own_and_needs_twenty_times_to_be_known(body: Any) -> None:
    times = [slow(0.5)] * 18 + [slow(1)] * 2
    upstreams = {"one": ScriptedUpstream(*times, slow(9)), "two": ScriptedUpstream(chat())}
    async with gateway_of(**upstreams, timeouts=Timeouts(hedge_after_s="p95"), limit_s=HOUR_S) as world:
        for _ in range(20):
            assert (await timed(world, **body))[0] == "one"
        assert world.calls() == ["one"] * 20
        assert await timed(world, **body) == ("two", 1.0)


@pytest.mark.contract("2.hedge-after.quantile")
async def test_a_quantile_is_never_under_200_ms() -> None:
    upstreams = {"one": ScriptedUpstream(*[slow(0.01)] * 20, slow(9)), "two": ScriptedUpstream(chat())}
    async with gateway_of(**upstreams, timeouts=Timeouts(hedge_after_s="p95"), limit_s=HOUR_S) as world:
        for _ in range(20):
            await world.post()
        assert await timed(world) == ("two", 0.2)


async def test_a_stream_that_has_begun_is_nobodys_to_hedge() -> None:
    begun = ScriptedUpstream(stream(["Hel", pause(3), "lo"]))
    async with gateway_of(one=begun, two=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        reply = await world.post(headers={HEDGE: "1000"}, stream=True)
        assert "lo" in reply.text
        assert world.calls() == ["one"]
