"""The heartbeat: a stream that is silent towards its caller says that it is alive, and moves nothing else.

Most of it is shown on trio's mock clock, which jumps over every wait, so that every comment has its second.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest

from ogw_asgi import Gateway, OpenAI, Timeouts
from ogw_asgi._environment.reading import read_environment
from ogw_asgi.telemetry.events import Event, RequestEnded
from ogw_asgi.testing import (
    SSE_DONE,
    Break,
    Hang,
    RawUpstream,
    ScriptedUpstream,
    asgi_client,
    chat,
    completion_chunk,
    error,
    hang,
    raw,
    sse_event,
    stream,
)

from ..asgi.hosts import http_scope
from .checks import mock_clock, outcomes, pause, sequence
from .harness import World, gateway_of
from .streams import SSE, delta, finish

pytestmark = pytest.mark.anyio

DAY_S = 86400.0
BEAT = b": keep-alive\n\n"
OURS = ("x-opengateway-provider", "x-opengateway-attempts", "server-timing")
on_the_mock_clock = pytest.mark.parametrize("anyio_backend", [mock_clock()], ids=["mock clock"])
on_both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


def every(seconds: float, **more: Any) -> Timeouts:
    return Timeouts(heartbeat_s=seconds, **more)


def answer(*pieces: Any) -> ScriptedUpstream:
    """These bytes, with the waits between them."""
    return ScriptedUpstream(raw(200, SSE, pieces))


@dataclass
class Timed:
    """A streamed answer, and when each piece of it came, in seconds since it was asked for. `ended`: with its end."""

    head_s: float = 0.0
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    ended: bool = True
    over_s: float = 0.0

    def add(self, at_s: float, piece: bytes) -> None:
        """Data of the same moment is one piece, however it came."""
        if self.pieces and self.pieces[-1][0] == at_s and BEAT not in (piece, self.pieces[-1][1]):
            piece = self.pieces.pop()[1] + piece
        self.pieces.append((at_s, piece))

    @property
    def beats(self) -> list[float]:
        return [at for at, piece in self.pieces if piece == BEAT]

    @property
    def data(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces if piece != BEAT)


async def timed(world: World, **request: Any) -> Timed:
    """On the mock clock: time passes only when nobody has anything to do."""
    started_s = anyio.current_time()
    got = Timed()

    def now_s() -> float:
        return round(anyio.current_time() - started_s, 6)

    async with world.stream(**request) as response:
        got.head_s, got.status, got.headers = now_s(), response.status_code, response.headers
        try:
            async for piece in response.aiter_raw():
                got.add(now_s(), piece)
        except httpx.RemoteProtocolError:
            got.ended = False
    got.over_s = now_s()
    return got


def assert_head_of_a_heartbeat(got: Timed, status: int = 201) -> None:
    """Success, our request id, the headers of a stream; nothing of who answers, which nobody knew yet."""
    assert got.status == status
    assert got.headers["content-type"] == "text/event-stream"
    assert (got.headers["cache-control"], got.headers["x-accel-buffering"]) == ("no-cache, no-transform", "no")
    assert got.headers["x-request-id"]
    assert not [name for name in OURS if name in got.headers]


# --- before the first chunk, and between targets ----------------------------------------------------------------------

HI = delta("Hi") + finish() + SSE_DONE


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.comments", "5.heartbeat.head")
@pytest.mark.parametrize("status", [200, 201])
async def test_behind_a_silent_first_target_there_are_comments_and_then_the_answer(status: int) -> None:
    async with gateway_of(
        openai=ScriptedUpstream(hang()), azure=answer(HI), timeouts=every(8.0), success_status=status, limit_s=DAY_S
    ) as world:
        got = await timed(world, headers={"x-request-id": "mine"})
        assert world.calls() == ["openai", "azure"]
    assert_head_of_a_heartbeat(got, status)
    assert got.headers["x-request-id"] == "mine"
    assert got.head_s == 8.0
    assert got.pieces == [(8.0, BEAT), (16.0, BEAT), (24.0, BEAT), (30.0, HI)]
    assert got.ended


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.head")
async def test_the_status_of_that_head_is_the_one_that_the_caller_asked_for() -> None:
    async with gateway_of(
        openai=ScriptedUpstream(hang()), azure=answer(HI), timeouts=every(8.0), limit_s=DAY_S
    ) as world:
        assert_head_of_a_heartbeat(await timed(world, headers={"x-opengateway-success-status": "200"}), 200)


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.comments")
async def test_the_pause_before_a_retry_in_place_is_such_a_silence_too() -> None:
    limited = error(429, headers={"retry-after": "5"})
    openai = ScriptedUpstream(limited, raw(200, SSE, [HI]))
    async with gateway_of(openai=openai, timeouts=every(2.0), limit_s=DAY_S) as world:
        got = await timed(world, headers=sequence("openai", "openai"))
    assert got.pieces == [(2.0, BEAT), (4.0, BEAT), (5.0, HI)]


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.comments")
async def test_head_and_comments_of_a_provider_are_no_sign_of_life_to_the_caller() -> None:
    slow = answer(b": ping\n\n", pause(5.0), b": ping\n\n", pause(5.0), HI)
    async with gateway_of(openai=slow, timeouts=every(4.0), limit_s=DAY_S) as world:
        got = await timed(world)
    assert (got.beats, got.over_s) == ([4.0, 8.0], 10.0)
    assert got.data == b": ping\n\n: ping\n\n" + HI


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.head")
async def test_an_answer_before_the_first_comment_has_the_head_that_it_always_had() -> None:
    upstream = answer(pause(3.0), HI)
    async with gateway_of(openai=ScriptedUpstream(error(500)), azure=upstream, timeouts=every(4.0)) as world:
        got = await timed(world)
    assert (got.headers["x-opengateway-provider"], got.headers["x-opengateway-attempts"]) == ("azure", "2")
    assert got.pieces == [(3.0, HI)]


# --- failure ----------------------------------------------------------------------------------------------------------


def interruption(got: Timed) -> dict[str, Any]:
    """The error of the one data event, which must be the last of the body, and the body unterminated."""
    assert not got.ended
    assert got.data.startswith(b"data: ")
    assert got.data.endswith(b"\n\n")
    assert got.data.count(b"\n\n") == 1
    assert got.pieces[-1][1] == got.data
    found: dict[str, Any] = json.loads(got.data.removeprefix(b"data: "))["error"]
    return found


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.failure")
async def test_total_failure_is_an_error_event_with_the_attempts_and_no_end() -> None:
    ends = Ends()
    async with gateway_of(
        openai=ScriptedUpstream(hang()),
        azure=ScriptedUpstream(error(500)),
        timeouts=every(20.0),
        sinks=[ends],
        limit_s=DAY_S,
    ) as world:
        got = await timed(world)
        assert world.calls() == ["openai", "azure"]
    assert_head_of_a_heartbeat(got)
    found = interruption(got)
    assert (found["type"], found["code"], found["param"]) == ("upstream_error", "stream_interrupted", None)
    assert [(one["provider"], one["outcome"], one["status"]) for one in found["attempts"]] == [
        ("openai", "timeout", None),
        ("azure", "server_error", 500),
    ]
    assert (got.beats, got.over_s) == ([20.0], 30.0)
    assert [(end.outcome, end.status, end.provider) for end in ends.seen] == [("failed", 201, None)]


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.failure")
async def test_a_refusal_that_ends_the_sequence_arrives_with_its_words_in_the_same_way() -> None:
    refusing = ScriptedUpstream(error(400, "Too hot.", code="invalid_value", param="temperature"))
    async with gateway_of(
        openai=ScriptedUpstream(hang()), azure=refusing, timeouts=every(20.0), limit_s=DAY_S
    ) as world:
        found = interruption(await timed(world))
    assert found["message"] == "Too hot."
    assert len(found["attempts"]) == 2


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.failure")
async def test_what_fails_before_the_first_comment_is_the_refusal_that_it_always_was() -> None:
    async with gateway_of(openai=ScriptedUpstream(error(500)), timeouts=every(1.0)) as world:
        reply = await world.post(stream=True)
    assert (reply.status_code, outcomes(reply)) == (502, ["server_error"])
    assert reply.headers["content-type"] == "application/json"


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.failure")
async def test_what_the_caller_did_wrong_is_a_400_whatever_the_heartbeat() -> None:
    async with gateway_of(openai=ScriptedUpstream(hang()), timeouts=every(0.001)) as world:
        assert (await world.post(stream=True, temperature=7)).status_code == 400


# --- in the middle of a stream ----------------------------------------------------------------------------------------


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.comments", "5.heartbeat.whole-events")
async def test_in_the_middle_of_a_stream_comments_stand_between_events() -> None:
    first, second = delta("Hel"), delta("lo")
    cut = len(second) // 2
    upstream = answer(first, pause(23.0), second[:cut], pause(23.0), second[cut:], pause(5.0), finish(), SSE_DONE)
    async with gateway_of(openai=upstream, timeouts=every(10.0), limit_s=DAY_S) as world:
        got = await timed(world)
    assert got.headers["x-opengateway-provider"] == "openai"
    comments = [(at_s, BEAT) for at_s in (10.0, 20.0, 30.0, 40.0)]
    assert got.pieces == [(0.0, first), *comments, (46.0, second), (51.0, finish() + SSE_DONE)]
    assert got.data == first + second + finish() + SSE_DONE
    assert got.ended


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.comments")
async def test_while_data_flows_there_are_none() -> None:
    upstream = answer(*[piece for _ in range(30) for piece in (delta("tick "), pause(7.0))], finish(), SSE_DONE)
    async with gateway_of(openai=upstream, timeouts=every(8.0), limit_s=DAY_S) as world:
        got = await timed(world)
    assert (got.beats, got.over_s, got.ended) == ([], 210.0, True)


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.comments")
async def test_silence_is_counted_from_what_was_sent_last() -> None:
    upstream = answer(delta("a"), pause(5.0), delta("b"), pause(9.0), finish(), SSE_DONE)
    async with gateway_of(openai=upstream, timeouts=every(8.0), limit_s=DAY_S) as world:
        got = await timed(world)
    assert got.beats == [13.0]


# --- nothing else moves -----------------------------------------------------------------------------------------------

ON_AND_OFF = (7.0, None)


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.timers")
@pytest.mark.parametrize("beat_s", ON_AND_OFF)
async def test_the_idle_limit_is_where_it_was(beat_s: float | None) -> None:
    upstream = answer(delta("Hel"), pause(50.0), delta("lo"), b": ping\n\n", Hang())
    async with gateway_of(openai=upstream, timeouts=Timeouts(heartbeat_s=beat_s), limit_s=DAY_S) as world:
        got = await timed(world)
    assert (got.over_s, got.ended) == (110.0, False)
    assert b'"code":"stream_interrupted"' in got.pieces[-1][1]


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.timers")
@pytest.mark.parametrize("beat_s", ON_AND_OFF)
async def test_the_limits_to_the_first_chunk_are_where_they_were(beat_s: float | None) -> None:
    pinging = answer(*[piece for _ in range(300) for piece in (b": ping\n\n", pause(3.0))])
    async with gateway_of(
        openai=pinging, azure=ScriptedUpstream(hang()), timeouts=Timeouts(heartbeat_s=beat_s), limit_s=DAY_S
    ) as world:
        started_s = anyio.current_time()
        reply = await got_whole(world)
        assert round(anyio.current_time() - started_s, 6) == 630.0
    assert [one["outcome"] for one in reply["attempts"]] == ["timeout", "timeout"]
    assert [one["duration_ms"] for one in reply["attempts"]] == [30_000, 600_000]


async def got_whole(world: World) -> dict[str, Any]:
    """The error, whether it came as a refusal or behind comments."""
    async with world.stream() as response:
        body = b""
        try:
            async for piece in response.aiter_raw():
                body += piece
        except httpx.RemoteProtocolError:
            pass
    found: dict[str, Any] = json.loads(body.rpartition(BEAT)[2].strip().removeprefix(b"data: "))["error"]
    return found


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.timers")
@pytest.mark.parametrize("beat_s", [2.0, None])
async def test_the_wait_for_the_tail_is_where_it_was(beat_s: float | None) -> None:
    upstream = answer(delta("Hi"), finish(), Hang())
    async with gateway_of(openai=upstream, timeouts=Timeouts(heartbeat_s=beat_s), limit_s=DAY_S) as world:
        got = await timed(world)
    assert (got.over_s, got.ended, got.data) == (5.0, True, HI)


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.timers")
@pytest.mark.parametrize("beat_s", ON_AND_OFF)
async def test_the_total_limit_is_where_it_was(beat_s: float | None) -> None:
    async with gateway_of(
        openai=ScriptedUpstream(hang()),
        azure=ScriptedUpstream(hang()),
        timeouts=Timeouts(heartbeat_s=beat_s, total_s=40.0),
        limit_s=DAY_S,
    ) as world:
        started_s = anyio.current_time()
        reply = await got_whole(world)
        assert round(anyio.current_time() - started_s, 6) == 40.0
    assert [one["outcome"] for one in reply["attempts"]] == ["timeout", "timeout"]


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.timers")
async def test_a_hedge_starts_when_it_would_have_started() -> None:
    timeouts = every(2.0, hedge_after_s=3.0)
    async with gateway_of(openai=ScriptedUpstream(hang()), azure=answer(HI), timeouts=timeouts, limit_s=DAY_S) as world:
        got = await timed(world)
    assert got.pieces == [(2.0, BEAT), (3.0, HI)]


# --- together with the other policies ---------------------------------------------------------------------------------


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.policies")
async def test_while_a_stream_is_held_its_caller_hears_the_comments() -> None:
    own = delta("Guten Tag") + finish() + SSE_DONE
    broken = answer(delta("Hel"), pause(15.0), Break())
    async with gateway_of(
        openai=broken,
        azure=answer(delta("Guten Tag"), pause(20.0), finish(), SSE_DONE),
        timeouts=every(10.0),
        on_stream_break="hold",
        limit_s=DAY_S,
    ) as world:
        got = await timed(world)
    assert_head_of_a_heartbeat(got)
    assert got.pieces == [(10.0, BEAT), (20.0, BEAT), (30.0, BEAT), (35.0, own)]
    assert (got.data, got.ended) == (own, True)


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.policies", "5.heartbeat.failure")
async def test_when_every_held_stream_breaks_that_is_a_total_failure_behind_the_comments() -> None:
    broken = [delta("Hel"), pause(14.0), Break()]
    async with gateway_of(
        openai=answer(*broken), azure=answer(*broken), timeouts=every(10.0), on_stream_break="hold", limit_s=DAY_S
    ) as world:
        got = await timed(world)
    found = interruption(got)
    assert [one["outcome"] for one in found["attempts"]] == ["reset", "reset"]
    assert (got.beats, got.over_s) == ([10.0, 20.0], 28.0)


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.policies")
async def test_while_somebody_is_asked_to_go_on_the_caller_hears_the_comments() -> None:
    whole = delta("Hello, ") + delta("world")
    going_on = answer(pause(15.0), whole, finish(), SSE_DONE)
    async with gateway_of(
        openai=answer(delta("Hello, "), Break()),
        azure=going_on,
        timeouts=every(10.0),
        on_stream_break="continue",
        limit_s=DAY_S,
    ) as world:
        got = await timed(world)
    assert got.beats == [10.0]
    events = [json.loads(line[6:]) for line in got.data.decode().split("\n") if line.startswith("data: {")]
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in events) == "Hello, world"
    assert got.ended


# --- the caller -------------------------------------------------------------------------------------------------------


class Ends:
    def __init__(self) -> None:
        self.seen: list[RequestEnded] = []

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, RequestEnded):
            self.seen.append(event)


@on_both_loops
@pytest.mark.contract("5.heartbeat.caller-gone", "4.caller-gone.receive")
@pytest.mark.parametrize("how", ["receive says so", "send fails"])
async def test_a_caller_who_leaves_during_the_comments_ends_everything(how: str) -> None:
    ends, beaten = Ends(), anyio.Event()
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
            return {"type": "http.request", "body": body, "more_body": False}
        await beaten.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            assert message["body"] == BEAT
            beaten.set()
            if how == "send fails":
                raise OSError("gone")

    async with RawUpstream([Hang()]) as silent:
        async with gateway_of(openai=silent, azure=ScriptedUpstream(), timeouts=every(0.01), sinks=[ends]) as world:
            await world.gateway(http_scope(), receive, send)
            await silent.peer_closed(1)
            assert world.gateway._opened is not None
            assert world.gateway._opened.dispatcher.slots.in_flight() == 0
            assert world.calls() == ["openai"]
    assert [(end.outcome, end.status) for end in ends.seen] == [("left", 201)]


# --- where it is chosen -----------------------------------------------------------------------------------------------


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.off", "8.off")
async def test_out_of_the_box_there_are_none() -> None:
    async with gateway_of(openai=ScriptedUpstream(hang()), azure=answer(HI), limit_s=DAY_S) as world:
        got = await timed(world)
    assert (got.head_s, got.pieces) == (30.0, [(30.0, HI)])
    assert got.headers["x-opengateway-attempts"] == "2"


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.streams-only")
async def test_a_plain_call_has_none_and_the_head_of_its_answer() -> None:
    async with gateway_of(openai=ScriptedUpstream(raw(200, JSON, SLOW)), timeouts=every(2.0), limit_s=DAY_S) as world:
        reply = await world.post()
    assert reply.json()["choices"][0]["message"]["content"] == "Hi"
    assert reply.headers["x-opengateway-provider"] == "openai"


JSON = {"content-type": "application/json"}
SLOW: list[Any] = [
    b'{"choices":[{"index":0,"message":{"role":"assistant",',
    pause(20.0),
    b'"content":"Hi"},"finish_reason":"stop"}]}',
]


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.setting")
async def test_the_environment_says_it_in_milliseconds() -> None:
    arguments = read_environment({"OGW_HEARTBEAT_MS": "2500"})
    assert arguments["timeouts"] == Timeouts(heartbeat_s=2.5)
    async with ScriptedUpstream(hang(), raw(200, SSE, [HI])).client() as client:
        providers = [OpenAI(name=name, client=client) for name in ("one", "two")]
        arguments |= {"providers": providers, "failover_sequence": ["one", "two"]}
        async with Gateway(**arguments) as gateway, asgi_client(gateway) as caller:
            got = await timed(World(gateway, caller))
    assert got.beats[:3] == [2.5, 5.0, 7.5]
    assert got.data == HI


ROLE = sse_event(completion_chunk({"role": "assistant", "content": ""}))


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.comments")
async def test_role_only_events_are_held_and_so_no_sign_of_life() -> None:
    upstream = answer(ROLE, pause(5.0), delta("Hi"), finish(), SSE_DONE)
    async with gateway_of(openai=upstream, timeouts=every(2.0), limit_s=DAY_S) as world:
        got = await timed(world)
    assert (got.beats, got.over_s) == ([2.0, 4.0], 5.0)
    assert got.data == ROLE + HI


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.end")
async def test_a_complete_stream_has_no_comment_behind_its_end() -> None:
    upstream = ScriptedUpstream(stream(["Hel", pause(3.0), "lo"]), chat())
    async with gateway_of(openai=upstream, timeouts=every(0.001), limit_s=DAY_S) as world:
        got = await timed(world)
    assert got.beats
    assert b"".join(piece for _, piece in got.pieces).endswith(SSE_DONE)
