"""F39: attempts side by side, of which one is the answer and the other nothing at all."""

from __future__ import annotations

import pytest

from ogw_asgi.telemetry.events import AttemptEnded, RequestEnded
from ogw_asgi.testing import Hang, RawUpstream, SharedEvent, Wait, chunked

from .expect import assert_answered
from .selection import Case
from .standing import connected_to
from .upstreams import answering_late
from .watching import Heard, assert_unmoved
from .wire import PRIOR, SSE_HEAD, good
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio

HEDGED = {"x-opengateway-hedge-after": "50"}


@pytest.mark.fault("F39")
async def test_what_a_loser_sends_on_its_closed_connection_is_nobodys_answer(open_world: OpenWorld, case: Case) -> None:
    heard = Heard()
    async with answering_late(good(case.mode, "too late")) as (url, answered):
        async with open_world(one=url, two=Good("in time"), sinks=[heard]) as world:
            async with world.asking(headers=HEDGED) as exchange:
                await exchange.head()
                assert connected_to([world.ports["one"]]) <= world.others, "closed before the answer's first byte"
                reply = await exchange.rest()
            assert_answered(world, reply, "two", attempts=2)
            assert [(timed.provider, timed.label) for timed in reply.timings] == [("one", "cancelled"), ("two", "200")]
            await answered.wait()
            await world.settled()
            assert b"too late" not in reply.raw
            assert (len(heard.of(RequestEnded)), len(heard.of(AttemptEnded))) == (1, 2)
            assert_unmoved(world)
            assert_answered(world, await world.ask("two", headers=HEDGED), "two")


@pytest.mark.fault("F39")
async def test_of_two_that_answer_at_the_same_moment_the_caller_gets_one_whole(
    open_world: OpenWorld, case: Case
) -> None:
    gate = SharedEvent()
    texts = {"one": "the one says this", "two": "and this the other"}
    both = {name: RawUpstream([Wait(gate), good(case.mode, text)]) for name, text in texts.items()}
    async with open_world(**both, idle=["one", "two"]) as world:
        async with world.asking(headers=HEDGED) as exchange:
            await both["two"].wait_for_requests()
            gate.set()
            reply = await exchange.rest()
        winner = reply.header("x-opengateway-provider")
        assert winner is not None
        assert (reply.status, reply.ended, reply.header("x-opengateway-attempts")) == (201, True, "2")
        (loser,) = texts.keys() - {winner}
        assert texts[winner].encode() in reply.body
        assert texts[loser].encode() not in reply.raw
        assert {timed.provider: timed.label for timed in reply.timings} == {winner: "200", loser: "cancelled"}
        assert world.calls() == {"one": 1, "two": 1}
        assert_unmoved(world)
        for name, text in texts.items():  # whatever became of the loser's connection, the next answer is the right one
            assert_answered(world, await world.ask(name), name, text=text)


@pytest.mark.fault("F39")
async def test_when_the_caller_leaves_both_are_closed(open_world: OpenWorld) -> None:
    both = {name: RawUpstream([Hang()]) for name in ("one", "two")}
    async with open_world(**both, idle=()) as world:
        async with world.asking(headers=HEDGED) as exchange:
            await both["two"].wait_for_requests()
            exchange.leave("fin")
            await world.settled()
            for upstream in both.values():
                await upstream.peer_closed()
        assert_unmoved(world)


@pytest.mark.fault("F39", mode="sse")
async def test_a_winner_that_breaks_its_stream_is_not_replaced_by_the_loser(open_world: OpenWorld, case: Case) -> None:
    gate = SharedEvent()
    slow = RawUpstream([Wait(gate), good(case.mode, "too late")])
    cut = RawUpstream([SSE_HEAD, chunked(PRIOR), b"0\r\n\r\n"], [Hang()])
    async with open_world(one=slow, two=cut) as world:
        reply = await world.ask(headers=HEDGED)
        # Two attempts were made, both before the head.
        assert reply.header("x-opengateway-attempts") == "2"
        assert reply.body.startswith(PRIOR)
        assert b"stream_interrupted" in reply.body
        assert b"too late" not in reply.raw
        assert not reply.ended
        await slow.peer_closed()
        gate.set()
        assert world.calls() == {"one": 1, "two": 1}
