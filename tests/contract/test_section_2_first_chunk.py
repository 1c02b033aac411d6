"""Section 2: what the first chunk is, and that nothing before it binds the caller to a provider."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from ogw_asgi import Limits
from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    Break,
    Hang,
    RawUpstream,
    Reply,
    Reset,
    ScriptedUpstream,
    Wait,
    chat,
    chunked,
    completion_chunk,
    error,
    hang,
    http_head,
    raw,
    sse_event,
)

from .checks import TIMEOUT, asked, events, read_stream, said, sequence
from .harness import World, gateway_of

pytestmark = pytest.mark.anyio

SSE = {"content-type": "text/event-stream"}
PROMPT_FILTER = {"id": "", "model": "", "object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
ROLE = completion_chunk({"role": "assistant"})
EMPTY = completion_chunk({"role": "assistant", "content": ""})
NOTHING = completion_chunk({})
HELLO = completion_chunk({"content": "Hello"})

SUBSTANCE: dict[str, Any] = {
    "content": HELLO,
    "a blank": completion_chunk({"content": " "}),
    "reasoning": completion_chunk({"reasoning": "Well"}),
    "reasoning_content": completion_chunk({"content": None, "reasoning_content": "Well"}),
    "refusal": completion_chunk({"refusal": "No"}),
    "tool calls": completion_chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}),
    "something new": completion_chunk({"audio": {"id": "a"}}),
    "finish_reason": completion_chunk({}, finish_reason="stop"),
    "another choice": {**NOTHING, "choices": [NOTHING["choices"][0], {"index": 1, "delta": {"content": "Hi"}}]},
}
NO_SUBSTANCE: dict[str, Any] = {
    "role": ROLE,
    "empty content": EMPTY,
    "null content": completion_chunk({"content": None, "refusal": None}),
    "empty delta": NOTHING,
    "empty tool calls": completion_chunk({"tool_calls": []}),
    "prompt filter": PROMPT_FILTER,
    "empty reason": {**NOTHING, "choices": [{"index": 0, "delta": {}, "finish_reason": ""}]},
}


def streaming(*steps: Any) -> Reply:
    """A stream of exactly these events and steps."""
    return raw(200, SSE, [sse_event(step) if isinstance(step, dict) else step for step in steps])


def payloads(*steps: Any) -> list[str]:
    return [json.dumps(step, ensure_ascii=False, separators=(",", ":")) for step in steps]


async def read_while_the_provider_waits(world: World, count: int, go_on: anyio.Event) -> tuple[list[str], list[str]]:
    """The first `count` events, which come before `go_on` is set, and the rest, which come after it."""
    received = b""
    async with world.stream() as reply:
        assert reply.status_code == 201
        parts = reply.aiter_raw()
        while len(events(received.decode())) < count:
            received += await anext(parts)
        first = events(received.decode())
        go_on.set()
        async for part in parts:
            received += part
    return first, events(received.decode())[len(first) :]


@pytest.mark.contract("2.first-chunk.substance")
@pytest.mark.parametrize("event", SUBSTANCE.values(), ids=SUBSTANCE)
async def test_an_event_with_substance_reaches_the_caller_while_the_provider_still_writes(event: Any) -> None:
    go_on = anyio.Event()
    one = ScriptedUpstream(streaming(ROLE, event, Wait(go_on), SSE_DONE))
    async with gateway_of(one=one, two=ScriptedUpstream(chat())) as world:
        first, rest = await read_while_the_provider_waits(world, 2, go_on)
        assert (first, rest) == (payloads(ROLE, event), ["[DONE]"])
        assert world.calls() == ["one"]


@pytest.mark.contract("2.first-chunk.substance", "2.first-chunk.failover")
@pytest.mark.parametrize("event", NO_SUBSTANCE.values(), ids=NO_SUBSTANCE)
async def test_after_an_event_without_substance_the_next_target_still_takes_over(event: Any) -> None:
    one = ScriptedUpstream(streaming(ROLE, event, event, Break()))
    async with gateway_of(one=one, two=ScriptedUpstream(streaming(HELLO, SSE_DONE))) as world:
        reply = await world.post(stream=True)
        assert reply.status_code == 201
        assert events(reply.text) == [*payloads(HELLO), "[DONE]"]
        assert asked(world) == ["one", "two"]


@pytest.mark.contract("2.first-chunk.held")
async def test_what_was_held_is_relayed_in_order_in_front_of_the_first_chunk() -> None:
    held = [PROMPT_FILTER, ROLE, EMPTY, NOTHING]
    async with gateway_of(azure=ScriptedUpstream(streaming(*held, HELLO, SSE_DONE))) as world:
        reply = await world.post(stream=True)
        frames = [f"data: {payload}\n\n" for payload in [*payloads(*held, HELLO), "[DONE]"]]
        assert reply.text == "".join(frames)


@pytest.mark.contract("2.first-chunk.held")
async def test_of_a_target_that_failed_nothing_that_was_held_is_relayed() -> None:
    one = ScriptedUpstream(streaming(b": of one\n\n", PROMPT_FILTER, ROLE, Break()))
    async with gateway_of(one=one, two=ScriptedUpstream(streaming(EMPTY, HELLO, SSE_DONE))) as world:
        reply = await world.post(stream=True)
        assert events(reply.text) == [*payloads(EMPTY, HELLO), "[DONE]"]
        assert "of one" not in reply.text


PAD = completion_chunk({"role": "assistant" + "t" * (10 << 10)})


@pytest.mark.contract("2.first-chunk.held-limit")
@pytest.mark.parametrize(
    ("held", "committed"),
    [([ROLE] * 64, True), ([ROLE] * 63, False), ([PAD] * 7, True), ([PAD] * 6, False)],
    ids=["64 events", "63 events", "70 KiB", "60 KiB"],
)
async def test_so_much_is_held_and_then_the_stream_is_committed(held: Sequence[Any], committed: bool) -> None:
    one = ScriptedUpstream(streaming(*held, Break()))
    async with gateway_of(one=one, two=ScriptedUpstream(streaming(HELLO, SSE_DONE))) as world:
        text, complete = await read_stream(world)
        found = events(text)
        assert complete is not committed
        assert (found[: len(held)] == payloads(*held)) is committed
        assert asked(world) == (["one"] if committed else ["one", "two"])
        assert ("stream_interrupted" in found[-1]) is committed


@pytest.mark.contract("2.first-chunk.held-limit")
@pytest.mark.parametrize(("limits", "count"), [(None, 64), (Limits(held_events=3), 3)])
async def test_when_so_many_are_held_the_caller_gets_them_at_once(limits: Limits | None, count: int) -> None:
    go_on = anyio.Event()
    one = ScriptedUpstream(streaming(*[ROLE] * count, Wait(go_on), HELLO, SSE_DONE))
    async with gateway_of(one=one, limits=limits) as world:
        first, rest = await read_while_the_provider_waits(world, count, go_on)
        assert (first, rest) == (payloads(*[ROLE] * count), [*payloads(HELLO), "[DONE]"])


@pytest.mark.contract("2.first-chunk.held-limit", "8.upstream-event")
@pytest.mark.parametrize(("size", "provider"), [((1 << 20) - 1000, "one"), ((1 << 20) + 1, "two")])
async def test_an_event_over_1_mib_before_the_first_chunk_is_a_failed_attempt(size: int, provider: str) -> None:
    big = completion_chunk({"role": "x" * size})
    async with gateway_of(one=ScriptedUpstream(streaming(big, HELLO, SSE_DONE)), two=ScriptedUpstream(chat())) as world:
        reply = await world.post(stream=True)
        assert reply.headers["x-opengateway-provider"] == provider


@pytest.mark.contract("2.first-chunk.comments")
async def test_comments_are_relayed_where_they_stood_up_to_4_kib() -> None:
    long, too_long = b":" + b"x" * 4000 + b"\n\n", b":" + b"y" * 200 + b"\n\n"
    one = ScriptedUpstream(streaming(b": first\n\n", ROLE, long, too_long, HELLO, b": behind it\n\n", SSE_DONE))
    async with gateway_of(one=one) as world:
        reply = await world.post(stream=True)
        role, hello = payloads(ROLE, HELLO)
        blocks = [": first", f"data: {role}", ":" + "x" * 4000, f"data: {hello}", ": behind it", "data: [DONE]"]
        assert reply.text == "".join(f"{block}\n\n" for block in blocks)


@pytest.mark.contract("2.first-chunk.comments")
@pytest.mark.parametrize("count", [1, 100, 2000])
async def test_comments_never_commit(count: int) -> None:
    one = ScriptedUpstream(streaming(b": OPENROUTER PROCESSING\n\n" * count, Break()))
    async with gateway_of(one=one, two=ScriptedUpstream(streaming(HELLO, SSE_DONE))) as world:
        assert events((await world.post(stream=True)).text) == [*payloads(HELLO), "[DONE]"]
        assert asked(world) == ["one", "two"]


@pytest.mark.contract("2.first-chunk.error-event")
@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "Overloaded", "type": "server_error", "code": 503}},
        {"error": "out of memory"},
        {"object": "error", "message": "CUDA out of memory", "code": 500},
        b'event: error\ndata: {"message":"no"}\n\n',
        b"event: error\ndata: no\n\n",
        completion_chunk({"content": ""}, finish_reason="error"),
    ],
)
async def test_an_error_event_before_the_first_chunk_is_a_failed_attempt(event: Any) -> None:
    one = ScriptedUpstream(streaming(ROLE, event, SSE_DONE))
    async with gateway_of(one=one, two=ScriptedUpstream(streaming(HELLO, SSE_DONE))) as world:
        reply = await world.post(stream=True)
        assert events(reply.text) == [*payloads(HELLO), "[DONE]"]
        assert asked(world) == ["one", "two"]


HALF = b'{"object":"chat.completion","choices":[{"index":0,"message":{"rol'


@pytest.mark.contract("2.first-chunk.plain", "2.first-chunk.failover")
@pytest.mark.parametrize("tail", [Break(), Hang()], ids=["cut", "silent"])
async def test_half_a_plain_answer_is_no_first_chunk(tail: Break | Hang) -> None:
    half = raw(200, {"content-type": "application/json", "x-request-id": "of-one"}, [HALF, tail])
    async with gateway_of(one=ScriptedUpstream(half), two=ScriptedUpstream(chat("Whole"))) as world:
        reply = await world.post(headers={TIMEOUT: "150"})
        assert reply.json()["choices"][0]["message"]["content"] == "Whole"
        assert (reply.status_code, asked(world)) == (201, ["one", "two"])


FAILURES: dict[str, Reply] = {
    "status": error(500, "one is down", headers={"x-ratelimit-limit-requests": "1"}),
    "rate limit": error(429, "one is busy", headers={"retry-after": "30"}),
    "html": raw(200, {"content-type": "text/html"}, [b"<html>one</html>"]),
    "silence": hang(),
    "silence behind the head": hang("body"),
    "cut before a byte": raw(200, SSE, [Break()]),
    "empty": raw(200, SSE, []),
    "done at once": raw(200, SSE, [SSE_DONE]),
}


@pytest.mark.contract("2.first-chunk.failover")
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_a_failure_before_the_first_chunk_leaves_no_trace_in_the_answer(failure: Reply) -> None:
    good = streaming(ROLE, HELLO, SSE_DONE)
    async with gateway_of(one=ScriptedUpstream(failure), two=ScriptedUpstream(good)) as world:
        alone = await world.post(headers=sequence("two"), stream=True)
        reply = await world.post(headers={TIMEOUT: "150"}, stream=True)
        assert (reply.status_code, reply.content) == (alone.status_code, alone.content)
        varying = {"x-opengateway-attempts", "server-timing", "x-request-id"}
        assert reply.headers["x-opengateway-attempts"] == "2"
        assert {name: value for name, value in reply.headers.items() if name not in varying} == {
            name: value for name, value in alone.headers.items() if name not in varying
        }


@pytest.mark.contract("2.first-chunk.failover")
async def test_a_connection_that_is_reset_before_the_first_chunk_moves_on_over_real_sockets() -> None:
    head = http_head(200, {**SSE, "transfer-encoding": "chunked"})
    cut: list[Any] = [head, chunked(sse_event(ROLE)), Reset()]
    whole = [head, chunked(sse_event(HELLO), SSE_DONE), LAST_CHUNK]
    async with RawUpstream(cut) as one, RawUpstream(whole) as two, gateway_of(one=one, two=two) as world:
        reply = await world.post(stream=True)
        assert said(reply.text) == "Hello"
        assert (len(one.requests), len(two.requests)) == (1, 1)
