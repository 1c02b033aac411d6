"""When a stream is complete, what is waited for at its end, and what counts as silence."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from ogw_asgi import Timeouts
from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    Fin,
    Hang,
    RawScript,
    RawUpstream,
    ScriptedUpstream,
    Wait,
    chat,
    chunked,
    completion_chunk,
    raw,
    sse_event,
    tokens,
)

from ..asgi.hosts import http_scope
from .harness import gateway_of
from .streams import (
    CHUNKED_HEAD,
    MOCK_CLOCK,
    PRIOR,
    SSE,
    Pause,
    assert_broken,
    assert_one_warning,
    delta,
    finish,
    read_stream,
)

both_loops = pytest.mark.anyio
USAGE = sse_event({**completion_chunk({}), "choices": [], "usage": tokens(3, 2)})


def bodies(*events: bytes) -> list[Any]:
    return [CHUNKED_HEAD, *(chunked(event) for event in events)]


# --- complete ---------------------------------------------------------------------------------------------------------


@both_loops
@pytest.mark.contract("5.complete.done")
async def test_done_without_any_finish_reason_is_a_complete_stream() -> None:
    async with RawUpstream([*bodies(PRIOR, SSE_DONE), LAST_CHUNK]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert (got.body, got.ended) == (PRIOR + SSE_DONE, True)


@both_loops
@pytest.mark.contract("5.complete.finish-reason", "5.done-added")
@pytest.mark.parametrize(
    "end",
    [
        pytest.param([LAST_CHUNK], id="chunked"),
        pytest.param([Fin()], id="cut without its last chunk"),
    ],
)
async def test_every_finish_reason_without_done_is_complete_and_gets_its_done(end: list[Any]) -> None:
    async with RawUpstream([*bodies(PRIOR, finish()), *end]) as upstream:
        async with gateway_of(openai=upstream, azure=ScriptedUpstream()) as world:
            got = await read_stream(world)
            assert world.calls() == ["openai"]
    assert (got.body, got.ended) == (PRIOR + finish() + SSE_DONE, True)


@both_loops
@pytest.mark.contract("5.done-added", "5.tail.every-choice")
async def test_with_several_choices_each_needs_its_finish_reason(caplog: pytest.LogCaptureFixture) -> None:
    one = delta("a", 0) + delta("b", 1) + finish(1)
    whole, half = [*bodies(one, finish(0)), LAST_CHUNK], [*bodies(one), LAST_CHUNK]
    async with RawUpstream(whole, half) as upstream:
        async with gateway_of(openai=upstream) as world:
            complete = await read_stream(world, n=2)
            broken = await read_stream(world, n=2)
    assert (complete.body, complete.ended) == (one + finish(0) + SSE_DONE, True)
    assert_broken(broken, one)
    assert_one_warning(caplog, "incomplete")


@both_loops
@pytest.mark.contract("5.done-added")
async def test_there_is_one_done_and_nothing_behind_it() -> None:
    late = sse_event(completion_chunk({"content": "too late"}))
    async with RawUpstream([*bodies(PRIOR + finish() + SSE_DONE + SSE_DONE + late), LAST_CHUNK]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert got.body == PRIOR + finish() + SSE_DONE


# --- the tail ---------------------------------------------------------------------------------------------------------


@both_loops
@pytest.mark.contract("5.tail.usage")
async def test_usage_behind_the_last_finish_reason_is_relayed() -> None:
    async with RawUpstream([*bodies(PRIOR, finish(), USAGE, SSE_DONE), LAST_CHUNK]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert (got.body, got.ended) == (PRIOR + finish() + USAGE + SSE_DONE, True)


@both_loops
@pytest.mark.contract("5.tail.no-break")
@pytest.mark.parametrize("seen", [finish(), finish() + SSE_DONE], ids=["no done", "done"])
async def test_a_missing_end_of_the_http_body_is_no_break(seen: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with RawUpstream([*bodies(PRIOR + seen), Hang()]) as upstream:
        async with gateway_of(openai=upstream, timeouts=Timeouts(tail_s=0.05)) as world:
            got = await read_stream(world)
            await upstream.peer_closed(1)
    assert (got.body, got.ended) == (PRIOR + finish() + SSE_DONE, True)
    assert "stream_broken" not in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [MOCK_CLOCK])
@pytest.mark.contract("5.tail.limit")
@pytest.mark.parametrize(("after_s", "relayed"), [(4.9, True), (5.1, False)])
async def test_usage_and_done_are_waited_for_5_s(after_s: float, relayed: bool) -> None:
    reply = raw(200, SSE, [PRIOR + finish(), Wait(Pause(after_s)), USAGE + SSE_DONE])
    async with gateway_of(openai=ScriptedUpstream(reply), limit_s=100) as world:
        started_s = anyio.current_time()
        got = await read_stream(world)
        waited_s = anyio.current_time() - started_s
    assert got.ended
    assert got.body == PRIOR + finish() + (USAGE if relayed else b"") + SSE_DONE
    assert waited_s == pytest.approx(min(after_s, 5.0), abs=0.15)


@both_loops
@pytest.mark.contract("5.tail.every-choice")
async def test_an_error_behind_a_complete_answer_breaks_nothing() -> None:
    error = sse_event({"error": {"message": "no usage today", "type": "server_error"}})
    async with RawUpstream([*bodies(PRIOR, finish(), error, SSE_DONE), LAST_CHUNK]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert (got.body, got.ended) == (PRIOR + finish() + SSE_DONE, True)


# --- silence ----------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [MOCK_CLOCK])
@pytest.mark.contract("5.idle.comments", "5.break.idle")
@pytest.mark.parametrize("comments", [False, True])
async def test_silence_counts_from_data_event_to_data_event(comments: bool, caplog: pytest.LogCaptureFixture) -> None:
    beat: list[Any] = [Wait(Pause(20)), b": ping\n\n"] if comments else [Wait(Pause(20))]
    reply = raw(200, SSE, [PRIOR, *(beat * 10), delta("too late"), finish(), SSE_DONE])
    async with gateway_of(openai=ScriptedUpstream(reply), limit_s=1000) as world:
        started_s = anyio.current_time()
        got = await read_stream(world)
        waited_s = anyio.current_time() - started_s
    pings = b": ping\n\n" * 2 if comments else b""
    assert_broken(got, PRIOR + pings)
    assert_one_warning(caplog, "idle")
    assert waited_s == pytest.approx(60, abs=0.15)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [MOCK_CLOCK])
@pytest.mark.contract("5.idle.comments")
async def test_a_slow_stream_that_goes_on_is_never_idle() -> None:
    words = [piece for number in range(20) for piece in (Wait(Pause(59)), delta(f"{number} "))]
    reply = raw(200, SSE, [PRIOR, *words, finish(), SSE_DONE])
    async with gateway_of(openai=ScriptedUpstream(reply), limit_s=5000) as world:
        got = await read_stream(world)
    assert got.ended
    assert len(got.events) == 2 + 20 + 2


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [MOCK_CLOCK])
@pytest.mark.contract("5.idle.comments")
async def test_a_caller_that_reads_slowly_is_no_silence_of_the_provider() -> None:
    reply = raw(200, SSE, [PRIOR, *(delta(str(number)) for number in range(5)), finish(), SSE_DONE])
    patient = Timeouts(send_s=200)
    async with gateway_of(openai=ScriptedUpstream(reply), timeouts=patient, limit_s=5000) as world:
        body = b""
        async with world.stream() as response:
            async for chunk in response.aiter_raw():
                body += chunk
                await anyio.sleep(100)
    assert body.endswith(finish() + SSE_DONE)


@both_loops
@pytest.mark.contract("5.caller-stalled")
@pytest.mark.parametrize("last", ["the first chunk", "a chunk", "the end"])
async def test_a_caller_that_takes_nothing_is_gone_and_the_provider_is_closed(last: str) -> None:
    taken = {"the first chunk": 1, "a chunk": 2, "the end": 3}[last]
    sent: list[Any] = []

    async def receive() -> Any:
        if not sent and not body:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": body.pop()} if body else await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > taken:
            await anyio.sleep_forever()

    body = [b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": true}']
    gate = anyio.Event()
    tail: RawScript = [Wait(gate), chunked(delta("more") + finish()), Hang()]
    timeouts = Timeouts(send_s=0.05, tail_s=0.05)
    async with RawUpstream([*bodies(PRIOR), *tail]) as upstream:
        async with gateway_of(openai=upstream, timeouts=timeouts) as world:
            gate.set()
            await world.gateway(http_scope(), receive, send)
            assert len(sent) == taken + 1
            await upstream.peer_closed()
            opened = world.gateway._opened
            assert opened is not None
            assert opened.dispatcher.slots.in_flight() == 0


@both_loops
@pytest.mark.contract("5.nothing-resent")
async def test_after_the_first_chunk_nobody_else_is_asked() -> None:
    async with RawUpstream([*bodies(PRIOR), Fin()]) as upstream:
        async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat("other"))) as world:
            got = await read_stream(world, headers={"x-opengateway-failover-sequence": '["openai","openai","azure"]'})
            assert world.calls() == ["openai"]
    assert_broken(got)
