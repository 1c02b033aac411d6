"""`hold`: nothing of a stream goes out before it is complete, so that every break is an ordinary failover."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

import anyio
import httpx
import pytest

from ogw_asgi import Gateway, Limits, OpenAI, Timeouts
from ogw_asgi._environment.reading import read_environment
from ogw_asgi.telemetry.events import AttemptEnded, Event, RequestEnded
from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    Break,
    Fin,
    Hang,
    RawScript,
    RawUpstream,
    Reset,
    ScriptedUpstream,
    SharedEvent,
    Wait,
    asgi_client,
    chat,
    chunked,
    completion_chunk,
    error,
    http_head,
    raw,
    sse_event,
    stream,
    tokens,
)

from ..asgi.hosts import http_scope
from ..matrix.faults import Endless
from .checks import mock_clock, outcomes, pause, sequence
from .harness import World, gateway_of
from .streams import CHUNKED_HEAD, SSE, Got, assert_broken, delta, finish, read_stream

pytestmark = pytest.mark.anyio

ON_BREAK = "x-opengateway-on-stream-break"
HOLD = {ON_BREAK: "hold"}
HOUR_S = 3600.0

ROLE = sse_event(completion_chunk({"role": "assistant", "content": ""}))
USAGE = sse_event({**completion_chunk({}), "choices": [], "usage": tokens(3, 2)})
BEGUN = [ROLE, delta("Hel"), delta("lo, wörld"), delta(" and on"), delta(" and on")]
OWN = ROLE + delta("Guten") + b": ping\n\n" + delta(" Tag") + finish() + USAGE + SSE_DONE
"""What the second provider says: other words than the first."""


def whole(events: bytes = OWN) -> RawScript:
    return [CHUNKED_HEAD, chunked(events, last=True)]


def assert_whole(got: Got, *, labels: list[str], provider: str = "azure", body: bytes = OWN) -> None:
    """One provider's stream byte for byte, and the head of an ordinary answer after these attempts."""
    assert (got.status, got.body, got.ended) == (201, body, True)
    assert got.headers["x-opengateway-provider"] == provider
    assert got.headers["x-opengateway-attempts"] == str(len(labels))
    assert re.findall(r'desc="([^"]*)"', got.headers["server-timing"]) == labels
    assert got.headers["content-type"] == "text/event-stream"
    assert (got.headers["cache-control"], got.headers["x-accel-buffering"]) == ("no-cache, no-transform", "no")


# --- every break is an ordinary failover ------------------------------------------------------------------------------

DATA = b'data: {"choices":[{"index":0,"delta":{"content":"'
ERROR = sse_event({"error": {"message": "engine died", "type": "server_error"}})
BREAKS: dict[str, tuple[list[Any], str]] = {
    "RST": ([Reset()], "reset"),
    "FIN": ([Fin()], "reset"),
    "FIN in mid-event": ([chunked(delta("half")[:-20]), Fin()], "reset"),
    "a stall": ([Hang()], "timeout"),
    "a stall in mid-event": ([chunked(delta("half")[:-20]), Hang()], "timeout"),
    "a stall with comments": ([chunked(b": ping\n\n"), Hang()], "timeout"),
    "half JSON": ([chunked(DATA + b"ha\n\n" + finish() + SSE_DONE, last=True)], "invalid_answer"),
    "an error event": ([chunked(ERROR + SSE_DONE, last=True)], "invalid_answer"),
    "invalid UTF-8": ([chunked(DATA + b'\xff"}}]}\n\n' + finish() + SSE_DONE, last=True)], "invalid_answer"),
    "a clean end": ([LAST_CHUNK], "invalid_answer"),
    "a clean end in mid-event": ([chunked(delta("half")[:-20], last=True)], "invalid_answer"),
}


@pytest.mark.contract("5.hold.failover", "2.on-stream-break.hold")
@pytest.mark.parametrize("events", range(2, len(BEGUN) + 1), ids=lambda events: f"after {events} events")
@pytest.mark.parametrize(("ending", "label"), BREAKS.values(), ids=BREAKS)
async def test_any_break_after_any_number_of_events_is_the_next_providers_turn(
    ending: list[Any], label: str, events: int, caplog: pytest.LogCaptureFixture
) -> None:
    script = [CHUNKED_HEAD, chunked(b"".join(BEGUN[:events])), *ending]
    limits = Timeouts(idle_s=0.05 if label == "timeout" else 5)
    async with RawUpstream(script) as broken, RawUpstream(whole()) as good:
        async with gateway_of(openai=broken, azure=good, timeouts=limits) as world:
            got = await read_stream(world, headers=HOLD)
            assert world.calls() == ["openai", "azure"]
    assert_whole(got, labels=[label, "200"])
    assert not [record for record in caplog.records if record.getMessage().startswith("stream_broken")]


KINDS: dict[str, tuple[dict[str, Any], list[bytes]]] = {
    "tool calls": (
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"},
        [
            sse_event(completion_chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]})),
            sse_event(completion_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]})),
            finish(reason="tool_calls"),
        ],
    ),
    "several choices": ({"n": 2}, [delta("one"), delta("two", index=1), finish(), finish(index=1)]),
    "reasoning": ({}, [sse_event(completion_chunk({"reasoning_content": "Hm."})), delta("Yes."), finish()]),
    "logprobs": (
        {"logprobs": True},
        [sse_event({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": []}}]}), finish()],
    ),
    "structured output": ({"response_format": {"type": "json_object"}}, [delta('{"a"'), delta(": 1}"), finish()]),
}


@pytest.mark.contract("5.hold.every-kind")
@pytest.mark.parametrize(("members", "events"), KINDS.values(), ids=KINDS)
async def test_whatever_the_answer_is_made_of_it_is_held(members: dict[str, Any], events: list[bytes]) -> None:
    *begun, last = events
    good = b"".join([*begun, last, SSE_DONE])
    broken: RawScript = [CHUNKED_HEAD, chunked(b"".join(begun)), Fin()]
    async with RawUpstream(broken) as first, RawUpstream(whole(good)) as second:
        async with gateway_of(openai=first, azure=second) as world:
            got = await read_stream(world, headers=HOLD, **members)
    assert_whole(got, labels=["reset", "200"], body=good)


@pytest.mark.contract("5.hold.failover")
async def test_a_break_before_the_first_chunk_is_the_failover_that_it_always_was() -> None:
    async with gateway_of(openai=ScriptedUpstream(error(503)), azure=ScriptedUpstream(raw(200, SSE, [OWN]))) as world:
        assert_whole(await read_stream(world, headers=HOLD), labels=["503", "200"])


@pytest.mark.contract("5.hold.failover")
@pytest.mark.parametrize("end", [[LAST_CHUNK], [Fin()], [Reset()]], ids=["with its end", "FIN", "RST"])
async def test_a_complete_stream_is_whole_however_its_connection_ends_and_gets_its_done(end: list[Any]) -> None:
    events = ROLE + delta("Hi") + finish()
    async with RawUpstream([CHUNKED_HEAD, chunked(events), *end]) as upstream:
        # A reset may overtake what was sent before it: then the second one answers.
        async with gateway_of(openai=upstream, azure=ScriptedUpstream(raw(200, SSE, [events]))) as world:
            got = await read_stream(world, headers=HOLD)
    assert (got.status, got.body, got.ended) == (201, events + SSE_DONE, True)
    if not isinstance(end[0], Reset):
        assert got.headers["x-opengateway-attempts"] == "1"


@pytest.mark.contract("5.hold.failover")
async def test_framing_is_put_right_in_what_is_held_too() -> None:
    untidy = b"\xef\xbb\xbfid: 1\nevent: message\n" + delta("Hi").replace(b"\n\n", b"\r\n\r\n") + finish()
    async with gateway_of(openai=ScriptedUpstream(raw(200, SSE, [untidy]))) as world:
        got = await read_stream(world, headers=HOLD)
    assert (got.body, got.ended) == (delta("Hi") + finish() + SSE_DONE, True)


# --- all have failed --------------------------------------------------------------------------------------------------


@pytest.mark.contract("5.hold.refusal")
@pytest.mark.parametrize(
    ("endings", "status", "code", "expected"),
    [
        ([Fin(), Fin()], 502, "all_attempts_failed", ["reset", "reset"]),
        ([Hang(), Fin()], 502, "all_attempts_failed", ["timeout", "reset"]),
        ([Hang(), Hang()], 504, "timeout", ["timeout", "timeout"]),
    ],
    ids=["reset", "mixed", "stalled"],
)
async def test_when_every_stream_breaks_the_caller_gets_the_ordinary_refusal(
    endings: list[Any], status: int, code: str, expected: list[str]
) -> None:
    first, second = ([CHUNKED_HEAD, chunked(b"".join(BEGUN)), end] for end in endings)
    async with RawUpstream(first) as one, RawUpstream(second) as two:
        async with gateway_of(openai=one, azure=two, timeouts=Timeouts(idle_s=0.05)) as world:
            reply = await world.post(headers=HOLD, stream=True)
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/json")
    assert reply.json()["error"]["code"] == code
    assert outcomes(reply) == expected
    assert reply.headers["x-opengateway-attempts"] == "2"
    assert "x-opengateway-provider" not in reply.headers


# --- nothing goes out before ------------------------------------------------------------------------------------------


class Caller:
    """An ASGI caller that has asked for a held stream; reads nothing of a body until `reads` is set."""

    def __init__(self) -> None:
        self._asked = False
        self.leave, self.reads, self.offered = anyio.Event(), anyio.Event(), anyio.Event()
        self.sent: list[MutableMapping[str, Any]] = []

    async def __call__(self, gateway: Gateway) -> None:
        headers = [(b"content-type", b"application/json"), (ON_BREAK.encode(), b"hold")]
        await gateway(http_scope(headers=headers), self.receive, self.send)

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
            return {"type": "http.request", "body": body, "more_body": False}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.offered.set()
            await self.reads.wait()

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


def in_flight(gateway: Gateway) -> tuple[int, int]:
    """Slots and permits that are taken."""
    assert gateway._opened is not None
    dispatcher = gateway._opened.dispatcher
    return dispatcher.slots.in_flight(), dispatcher.circuits.in_flight()


@pytest.mark.contract("5.hold.nothing-before")
@pytest.mark.parametrize("missing", [[finish(), SSE_DONE], [SSE_DONE], [delta("!"), finish(), USAGE, SSE_DONE]])
async def test_nothing_goes_out_before_the_stream_is_complete(missing: list[bytes]) -> None:
    gate, caller = SharedEvent(), Caller()
    caller.reads.set()
    begun = BEGUN if finish() in missing else [*BEGUN, finish()]
    async with gateway_of(openai=ScriptedUpstream(raw(200, SSE, [*begun, Wait(gate), *missing]))) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(caller, world.gateway)
            await world.upstreams["openai"].wait_for_requests(1)
            await anyio.wait_all_tasks_blocked()
            assert caller.sent == []
            gate.set()
            await caller.offered.wait()
            caller.leave.set()
    assert caller.sent[0]["status"] == 201
    assert caller.body == b"".join([*begun, *missing])


@pytest.mark.contract("5.hold.released")
@pytest.mark.parametrize(
    ("end", "kept"),
    [([LAST_CHUNK], True), ([Hang()], False)],
    ids=["its end comes", "its end never comes"],
)
async def test_a_provider_waits_for_no_caller_that_reads_slowly(end: list[Any], kept: bool) -> None:
    caller = Caller()
    script: RawScript = [CHUNKED_HEAD, chunked(OWN), *end]
    async with RawUpstream(script, whole()) as upstream, gateway_of(openai=upstream) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(caller, world.gateway)
            await caller.offered.wait()
            assert in_flight(world.gateway) == (0, 0)
            if not kept:
                await upstream.peer_closed(1)
            assert_whole(await read_stream(world, headers=HOLD), labels=["200"], provider="openai")
            assert upstream.reused == int(kept)
            caller.reads.set()
            caller.leave.set()
    assert caller.sent[0]["status"] == 201


@pytest.mark.contract("5.hold.nothing-before", "4.caller-gone.receive")
async def test_a_caller_who_leaves_while_the_stream_is_held_ends_it() -> None:
    caller, ends = Caller(), Events()
    held = ScriptedUpstream(raw(200, SSE, [*BEGUN, Hang()]))
    async with gateway_of(openai=held, azure=ScriptedUpstream(), sinks=[ends]) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(caller, world.gateway)
            await held.wait_for_requests(1)
            await anyio.wait_all_tasks_blocked()
            caller.leave.set()
        await held.requests[0].closed.wait()
        assert in_flight(world.gateway) == (0, 0)
        assert world.calls() == ["openai"]
    assert caller.sent == []
    assert [end.outcome for end in ends.of(RequestEnded)] == ["left"]


class Events:
    def __init__(self) -> None:
        self.seen: list[Event] = []

    def on_event(self, event: Event, /) -> None:
        self.seen.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]


@pytest.mark.contract("5.hold.failover")
async def test_the_trail_and_the_end_are_told_as_of_any_failover() -> None:
    events = Events()
    broken = ScriptedUpstream(stream(["Hel", Break()]))
    async with gateway_of(openai=broken, azure=ScriptedUpstream(chat()), sinks=[events]) as world:
        await read_stream(world, headers=HOLD)
        assert [(each.attempt.provider, each.attempt.outcome) for each in events.of(AttemptEnded)] == [
            ("openai", "reset"),
            ("azure", "ok"),
        ]
        (end,) = events.of(RequestEnded)
        assert (end.outcome, end.status, end.provider, end.stream) == ("ok", 201, "azure", True)
        assert len(end.attempts) == 2


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.contract("5.hold.limit")
@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("pieces", [1, 7], ids=["at once", "piece by piece"])
async def test_at_most_so_much_is_held_and_what_is_longer_is_no_answer(over: int, pieces: int) -> None:
    small = delta("Hi") + finish() + SSE_DONE
    body = [OWN[at : at + len(OWN) // pieces + 1] for at in range(0, len(OWN), len(OWN) // pieces + 1)]
    first = ScriptedUpstream(raw(200, SSE, body))
    second = ScriptedUpstream(raw(200, SSE, [small]))
    limits = Limits(upstream_answer_bytes=len(OWN) - over)
    async with gateway_of(openai=first, azure=second, limits=limits) as world:
        got = await read_stream(world, headers=HOLD)
    if over:
        assert_whole(got, labels=["invalid_answer", "200"], body=small)
    else:
        assert_whole(got, labels=["200"], provider="openai")


@pytest.mark.contract("5.hold.limit")
async def test_a_provider_that_never_ends_is_closed_at_the_limit() -> None:
    async with RawUpstream(Endless(CHUNKED_HEAD, chunked(delta("token " * 100)))) as upstream:
        limits = Limits(upstream_answer_bytes=100_000)
        async with gateway_of(openai=upstream, azure=ScriptedUpstream(raw(200, SSE, [OWN])), limits=limits) as world:
            got = await read_stream(world, headers=HOLD)
            await upstream.peer_closed(1)
    assert_whole(got, labels=["invalid_answer", "200"])


@pytest.mark.contract("5.hold.limit")
def test_out_of_the_box_32_mib_are_held() -> None:
    assert Limits().upstream_answer_bytes == 32 << 20


@pytest.mark.contract("5.hold.limit", "5.hold.nothing-before")
async def test_a_long_answer_arrives_whole() -> None:
    events = [ROLE, *[delta("x" * 10_000)] * 300, finish(), SSE_DONE]
    async with gateway_of(openai=ScriptedUpstream(raw(200, SSE, events))) as world:
        got = await read_stream(world, headers=HOLD)
    assert got.body == b"".join(events)
    assert got.ended


@pytest.mark.contract("5.hold.total")
@pytest.mark.parametrize("anyio_backend", [mock_clock()], ids=["mock clock"])
async def test_what_is_held_counts_towards_the_total_limit() -> None:
    dripping = stream(["Hel", *[piece for _ in range(9) for piece in (pause(20.0), "lo")]])
    openai, azure = ScriptedUpstream(dripping), ScriptedUpstream(chat())
    async with gateway_of(
        openai=openai, azure=azure, timeouts=Timeouts(total_s=50.0), on_stream_break="hold", limit_s=HOUR_S
    ) as world:
        reply = await world.post(stream=True)
        assert (reply.status_code, outcomes(reply)) == (504, ["timeout"])
        assert reply.json()["error"]["attempts"][0]["duration_ms"] == 50_000


@pytest.mark.contract("5.hold.failover")
@pytest.mark.parametrize("anyio_backend", [mock_clock()], ids=["mock clock"])
async def test_a_held_stream_may_take_longer_than_its_first_chunk_and_is_not_raced() -> None:
    slow = ScriptedUpstream(stream(["Hel", *[piece for _ in range(9) for piece in (pause(50.0), "lo")]]))
    timeouts = Timeouts(first_chunk_s=10.0, hedge_after_s=1.0)
    async with gateway_of(
        openai=slow, azure=ScriptedUpstream(chat()), timeouts=timeouts, on_stream_break="hold", limit_s=HOUR_S
    ) as world:
        got = await read_stream(world)
        assert (got.headers["x-opengateway-provider"], got.ended) == ("openai", True)
        assert world.calls() == ["openai"]


# --- who else is asked ------------------------------------------------------------------------------------------------


@pytest.mark.contract("5.hold.retry")
@pytest.mark.parametrize("anyio_backend", [mock_clock()], ids=["mock clock"])
async def test_a_broken_held_stream_is_repeated_in_place_where_the_sequence_says_so() -> None:
    openai = ScriptedUpstream(stream(["Hel", Break()]), raw(200, SSE, [OWN]))
    async with gateway_of(openai=openai, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        got = await read_stream(world, headers={**HOLD, **sequence("openai", "openai", "azure")})
        assert world.calls() == ["openai", "openai"]
    assert_whole(got, labels=["reset", "200"], provider="openai")


@pytest.mark.contract("5.hold.retry")
@pytest.mark.parametrize("anyio_backend", [mock_clock()], ids=["mock clock"])
async def test_a_target_whose_held_stream_fell_silent_is_not_repeated_in_place() -> None:
    openai = ScriptedUpstream(stream(["Hel", Hang()]))
    async with gateway_of(openai=openai, azure=ScriptedUpstream(raw(200, SSE, [OWN])), limit_s=HOUR_S) as world:
        got = await read_stream(world, headers={**HOLD, **sequence("openai", "openai", "azure")})
        assert world.calls() == ["openai", "azure"]
    assert_whole(got, labels=["timeout", "200"])


@pytest.mark.contract("5.hold.breaker", "4.breaker.broken-stream")
async def test_the_breaker_learns_of_a_held_stream_that_broke() -> None:
    broken = ScriptedUpstream(stream(["Hel", Break()]))
    async with gateway_of(openai=broken, azure=ScriptedUpstream(chat()), on_stream_break="hold") as world:
        attempts = []
        for _ in range(8):
            got = await read_stream(world)
            assert (got.headers["x-opengateway-provider"], got.ended) == ("azure", True)
            attempts.append(got.headers["x-opengateway-attempts"])
        assert in_flight(world.gateway) == (0, 0)
    assert (attempts[0], attempts[-1]) == ("2", "1")
    assert attempts.count("2") <= 5


@pytest.mark.contract("5.hold.breaker")
async def test_the_breaker_of_a_provider_whose_held_streams_are_complete_stays_closed() -> None:
    async with gateway_of(
        openai=ScriptedUpstream(chat()), azure=ScriptedUpstream(chat()), on_stream_break="hold"
    ) as world:
        for _ in range(8):
            await read_stream(world)
        assert world.calls() == ["openai"] * 8


@pytest.mark.contract("5.hold.failover", "2.hedge-after.hedges")
@pytest.mark.parametrize("anyio_backend", [mock_clock()], ids=["mock clock"])
@pytest.mark.parametrize("first_breaks", [True, False], ids=["the first one breaks", "the second one is sooner"])
async def test_two_side_by_side_are_both_held_and_the_first_complete_one_is_the_answer(first_breaks: bool) -> None:
    end: list[Any] = [pause(2.0), Break()] if first_breaks else [Hang()]
    first = ScriptedUpstream(raw(200, SSE, [pause(5.0), delta("Hel"), *end]))
    second = ScriptedUpstream(raw(200, SSE, [pause(3.0), delta("Guten"), pause(4.0), finish(), SSE_DONE]))
    timeouts = Timeouts(hedge_after_s=1.0)
    async with gateway_of(
        openai=first, azure=second, timeouts=timeouts, on_stream_break="hold", limit_s=HOUR_S
    ) as world:
        started_s = anyio.current_time()
        got = await read_stream(world)
        assert round(anyio.current_time() - started_s, 6) == 8.0
        if not first_breaks:
            await first.requests[0].closed.wait()
        assert in_flight(world.gateway) == (0, 0)
        assert world.calls() == ["openai", "azure"]
    assert (got.body, got.ended) == (delta("Guten") + finish() + SSE_DONE, True)
    assert got.headers["x-opengateway-provider"] == "azure"
    assert ('desc="reset"' in got.headers["server-timing"]) is first_breaks


# --- where it is chosen -----------------------------------------------------------------------------------------------

HELD, BROKEN = True, False


async def survives(world: World, headers: dict[str, str]) -> bool:
    got = await read_stream(world, headers=headers)
    if got.ended:
        assert got.headers["x-opengateway-provider"] == "azure"
        return HELD
    assert_broken(got, prior=got.body[: got.body.index(b'data: {"error"')])
    assert got.headers["x-opengateway-provider"] == "openai"
    return BROKEN


@pytest.mark.contract("5.policy.setting", "2.on-stream-break.hold", "2.on-stream-break.error")
@pytest.mark.parametrize(
    ("configured", "headers", "expected"),
    [
        ("error", {}, BROKEN),
        ("error", HOLD, HELD),
        ("hold", {}, HELD),
        ("hold", {ON_BREAK: ""}, HELD),
        ("hold", {ON_BREAK: "error"}, BROKEN),
        ("hold", HOLD, HELD),
        ("continue", HOLD, HELD),
    ],
)
async def test_the_gateway_says_and_the_header_says_otherwise(
    configured: str, headers: dict[str, str], expected: bool
) -> None:
    broken = ScriptedUpstream(stream(["Hel", "lo", Break()]))
    async with gateway_of(openai=broken, azure=ScriptedUpstream(chat()), on_stream_break=configured) as world:
        assert await survives(world, headers) is expected


@pytest.mark.contract("5.policy.setting")
async def test_the_environment_says_it_too() -> None:
    with anyio.fail_after(5):
        async with ScriptedUpstream(stream(["Hel", Break()]), chat()).client() as client:
            arguments = read_environment({"OGW_ON_STREAM_BREAK": "hold"})
            arguments["providers"] = [OpenAI(client=client), OpenAI(name="second", client=client)]
            arguments["failover_sequence"] = ["openai", "second"]
            async with Gateway(**arguments) as gateway, asgi_client(gateway) as caller:
                message = {"role": "user", "content": "Hi"}
                body = {"model": "m", "messages": [message], "stream": True}
                reply: httpx.Response = await caller.post("/chat/completions", json=body)
    assert (reply.status_code, reply.headers["x-opengateway-provider"]) == (201, "second")


@pytest.mark.contract("5.hold.plain")
async def test_a_plain_call_is_what_it_was() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat("Hello")), on_stream_break="hold") as world:
        reply = await world.post()
    assert (reply.status_code, reply.headers["content-type"]) == (201, "application/json")
    assert reply.json()["choices"][0]["message"]["content"] == "Hello"
    assert reply.headers["x-opengateway-attempts"] == "1"


@pytest.mark.contract("5.hold.plain")
async def test_a_plain_answer_that_is_cut_moves_on_as_it_did() -> None:
    head = http_head(200, {"content-type": "application/json", "content-length": "99"})
    async with RawUpstream([head, b'{"half":', Fin()]) as cut:
        async with gateway_of(openai=cut, azure=ScriptedUpstream(chat()), on_stream_break="hold") as world:
            reply = await world.post()
    assert (reply.status_code, reply.headers["x-opengateway-attempts"]) == (201, "2")
