"""F70: callers of streams that are silent hear that they are alive, and nothing else is different."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi import Timeouts
from ogw_asgi.telemetry.events import AttemptEnded, RequestEnded, StreamBroken
from ogw_asgi.testing import SSE_DONE, Hang, RawUpstream, SharedEvent, Wait, chunked

from .caller import Exchange, Reply
from .expect import assert_alone, assert_answered
from .wire import PRIOR, SSE_HEAD, STOP, delta, payload, refusal
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

BEAT = b": keep-alive\n\n"
OFTEN = Timeouts(heartbeat_s=0.02)
LIMIT_MS = 150
IDLE_S = 0.15


def assert_begun_by_a_heartbeat(reply: Reply, body: bytes) -> None:
    """Comments, then this; the head is that of a stream, and says nothing of who answers."""
    assert reply.status == 201
    assert reply.header("content-type") == "text/event-stream"
    assert reply.header("x-request-id")
    for name in ("x-opengateway-provider", "x-opengateway-attempts", "server-timing"):
        assert reply.header(name) is None
    assert reply.body.startswith(BEAT)
    assert reply.body.replace(BEAT, b"") == body


def durations(world: World) -> list[tuple[str, int]]:
    ended = [event.attempt for event in world.events if isinstance(event, AttemptEnded)]
    return [(attempt.provider, attempt.duration_ms) for attempt in ended]


@pytest.mark.fault("F70", mode="sse")
async def test_behind_a_silent_first_target_there_are_comments_and_then_the_answer(open_world: OpenWorld) -> None:
    silent = RawUpstream([Hang()])
    async with open_world(one=silent, two=Good(), timeouts=OFTEN) as world:
        reply = await world.ask(timeout_ms=LIMIT_MS)
        assert_begun_by_a_heartbeat(reply, payload("sse", "Hello"))
        assert reply.ended
        await silent.peer_closed(1)
        (first, took_ms), (second, _) = durations(world)
        assert (first, second) == ("one", "two")
        assert LIMIT_MS <= took_ms < LIMIT_MS + 500


@pytest.mark.fault("F70", mode="sse")
async def test_when_every_target_fails_behind_the_comments_there_is_an_error_event_and_no_end(
    open_world: OpenWorld,
) -> None:
    failing = {"one": RawUpstream([Hang()]), "two": RawUpstream([refusal(500)])}
    async with open_world(**failing, timeouts=OFTEN) as world:
        reply = await world.ask(timeout_ms=LIMIT_MS)
        event = reply.body.replace(BEAT, b"")
        assert_begun_by_a_heartbeat(reply, event)
        assert not reply.ended
        assert event.startswith(b"data: ")
        assert event.count(b"\n\n") == 1
        error: dict[str, Any] = json.loads(event.removeprefix(b"data: "))["error"]
        assert (error["type"], error["code"]) == ("upstream_error", "stream_interrupted")
        assert [attempt["outcome"] for attempt in error["attempts"]] == ["timeout", "server_error"]
        assert b"[DONE]" not in reply.body


@pytest.mark.fault("F70", mode="sse")
async def test_what_fails_at_once_is_the_refusal_that_it_always_was(open_world: OpenWorld) -> None:
    failing = RawUpstream([refusal(500)])
    async with open_world(one=failing, timeouts=Timeouts(heartbeat_s=5), idle=["one"]) as world:
        assert_alone(await world.ask(), "server_error", label="500")


async def read_beats(exchange: Exchange, behind: bytes) -> None:
    """Reads on until there is a comment of ours behind this."""
    await exchange.read_until(behind)
    while BEAT not in exchange.body.partition(behind)[2]:
        assert await exchange.read_some()


@pytest.mark.fault("F70", mode="sse")
async def test_with_a_data_event_in_each_gap_the_comments_stand_between_the_events(open_world: OpenWorld) -> None:
    events = [delta("one"), delta("two"), delta("three"), STOP]
    gates = [SharedEvent() for _ in events]
    steps = [step for event, gate in zip(events, gates, strict=True) for step in (chunked(event), Wait(gate))]
    slow = RawUpstream([SSE_HEAD, *steps, chunked(SSE_DONE, last=True)])
    async with open_world(one=slow, two=Good(), timeouts=OFTEN, idle=["one"]) as world:
        async with world.asking() as exchange:
            for event, gate in zip(events, gates, strict=True):
                await read_beats(exchange, event)
                gate.set()
            reply = await exchange.rest()
        assert (reply.status, reply.ended) == (201, True)
        assert reply.body.replace(BEAT, b"") == b"".join(events) + SSE_DONE
        assert world.calls() == {"one": 1, "two": 0}


@pytest.mark.fault("F70", mode="sse")
async def test_the_idle_limit_breaks_a_stream_as_it_did(open_world: OpenWorld) -> None:
    silent = RawUpstream([SSE_HEAD, chunked(PRIOR), Hang()])
    timeouts = Timeouts(heartbeat_s=0.02, idle_s=IDLE_S)
    async with open_world(one=silent, two=Good(), timeouts=timeouts) as world:
        reply = await world.ask()
        assert (reply.status, reply.ended) == (201, False)
        prior, begun, error = reply.body.partition(b'data: {"error"')
        assert BEAT in prior.partition(PRIOR)[2]
        assert prior.replace(BEAT, b"") == PRIOR
        assert b'"code":"stream_interrupted"' in begun + error
        assert error.count(b"\n\n") == 1, "nothing comes behind it"
        broken = [event for event in world.events if isinstance(event, StreamBroken)]
        (end,) = [event for event in world.events if isinstance(event, RequestEnded)]
        assert [event.cause for event in broken] == ["idle"]
        assert IDLE_S * 1000 <= end.duration_ms < IDLE_S * 1000 + 500
        await silent.peer_closed(1)
        assert world.calls() == {"one": 1, "two": 0}


@pytest.mark.fault("F70", mode="sse")
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_caller_who_leaves_during_the_comments_ends_everything(open_world: OpenWorld, how: Any) -> None:
    silent = RawUpstream([Hang()])
    async with open_world(one=silent, two=Good(), timeouts=OFTEN) as world:
        async with world.asking() as exchange:
            await exchange.read_until(BEAT)
            exchange.leave(how)
        await silent.peer_closed(1)
        assert world.calls() == {"one": 1, "two": 0}


@pytest.mark.fault("F70", mode="sse")
async def test_an_answer_in_time_has_no_comments_and_every_header(open_world: OpenWorld) -> None:
    async with open_world(one=Good(), timeouts=Timeouts(heartbeat_s=5), idle=["one"]) as world:
        assert_answered(world, await world.ask(), "one")
