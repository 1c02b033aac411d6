"""F71: streams that are held until they are complete, so that no break is ever seen."""

from __future__ import annotations

from typing import Any

import pytest

from ogw_asgi import Timeouts
from ogw_asgi.telemetry.events import StreamBroken
from ogw_asgi.testing import LAST_CHUNK, SSE_DONE, Fin, Hang, RawUpstream, Reset, chunked, completion_chunk, sse_event

from .expect import assert_answered, assert_failed, assert_moved_on
from .wire import PING, ROLE, SSE_HEAD, STOP, delta
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio

HOLD = {"x-opengateway-on-stream-break": "hold"}
IDLE_S = 0.1

HALF = delta("half of an event")[:-20]
DATA = b'data: {"choices":[{"index":0,"delta":{"content":"'
TEXT = [ROLE, delta("Hel"), delta("lo, wörld"), delta(" and on")]
TOOL_CALL: dict[str, Any] = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "f", "arguments": ""}}
TOOLS = [
    sse_event(completion_chunk({"role": "assistant", "content": None})),
    sse_event(completion_chunk({"tool_calls": [TOOL_CALL]})),
    sse_event(completion_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "K'}}]})),
    sse_event(completion_chunk({"tool_calls": [{"index": 0, "function": {"arguments": "öln"}}]})),
]

BREAKS: dict[str, tuple[list[Any], str]] = {
    "RST": ([Reset()], "reset"),
    "RST in mid-event": ([chunked(HALF), Reset()], "reset"),
    "FIN": ([Fin()], "reset"),
    "FIN in mid-event": ([chunked(HALF), Fin()], "reset"),
    "stall": ([Hang()], "timeout"),
    "stall with a comment": ([chunked(PING + HALF), Hang()], "timeout"),
    "half JSON": ([chunked(DATA + b"ha\n\n" + STOP + SSE_DONE, last=True)], "invalid_answer"),
    "invalid UTF-8": ([chunked(DATA + b'\xff"}}]}\n\n' + STOP + SSE_DONE, last=True)], "invalid_answer"),
    "error event": (
        [chunked(sse_event({"error": {"message": "Engine died."}}) + SSE_DONE, last=True)],
        "invalid_answer",
    ),
    "clean end": ([LAST_CHUNK], "invalid_answer"),
}


@pytest.mark.fault("F71", mode="sse")
@pytest.mark.parametrize("begun", [TEXT, TOOLS], ids=["text", "tool calls"])
@pytest.mark.parametrize(("ending", "outcome"), BREAKS.values(), ids=BREAKS)
async def test_a_held_stream_that_breaks_is_the_next_providers_turn(
    open_world: OpenWorld, ending: list[Any], outcome: str, begun: list[bytes]
) -> None:
    for events in range(2, len(begun) + 1):
        broken = RawUpstream([SSE_HEAD, chunked(*begun[:events]), *ending])
        idle = ["two", "one"] if isinstance(ending[-1], bytes) else ["two"]
        async with open_world(one=broken, two=Good("whole"), timeouts=Timeouts(idle_s=IDLE_S), idle=idle) as world:
            reply = await world.ask(headers=HOLD)
            assert_moved_on(world, reply, outcome)
            assert world.calls() == {"one": 1, "two": 1}
            assert not [event for event in world.events if isinstance(event, StreamBroken)]


@pytest.mark.fault("F71", mode="sse")
async def test_a_held_stream_that_is_complete_is_passed_on_as_it_came(open_world: OpenWorld) -> None:
    async with open_world(one=Good("one's own"), two=Good(), on_stream_break="hold", idle=["one"]) as world:
        assert_answered(world, await world.ask(), "one")
        assert world.calls() == {"one": 1, "two": 0}


@pytest.mark.fault("F71", mode="sse")
@pytest.mark.parametrize(
    ("ending", "status", "code", "outcome"),
    [(Fin(), 502, "all_attempts_failed", "reset"), (Hang(), 504, "timeout", "timeout")],
    ids=["FIN", "stall"],
)
async def test_when_every_held_stream_breaks_the_caller_gets_the_ordinary_refusal(
    open_world: OpenWorld, ending: Any, status: int, code: str, outcome: str
) -> None:
    one, two = (RawUpstream([SSE_HEAD, chunked(*TEXT), ending]) for _ in range(2))
    timeouts = Timeouts(idle_s=IDLE_S)
    async with open_world(one=one, two=two, on_stream_break="hold", timeouts=timeouts, idle=()) as world:
        assert_failed(await world.ask(), status, code, outcome, outcome)


@pytest.mark.fault("F71", mode="sse")
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_caller_who_leaves_while_a_stream_is_held_ends_it(open_world: OpenWorld, how: Any) -> None:
    held = RawUpstream([SSE_HEAD, chunked(*TEXT), Hang()])
    async with open_world(one=held, two=Good(), on_stream_break="hold") as world:
        async with world.asking() as exchange:
            await held.wait_for_requests(1)
            exchange.leave(how)
        await held.peer_closed(1)
        assert world.calls() == {"one": 1, "two": 0}
