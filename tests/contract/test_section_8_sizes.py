"""Section 8: how big things may be, on the caller's side and on the providers'."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi import Limits
from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    RawUpstream,
    Reply,
    ScriptedUpstream,
    answer,
    chat,
    chunked,
    completion_chunk,
    http_head,
    http_response,
    raw,
    sse_event,
)

from .checks import MESSAGES, asked, events, read_stream, refusal
from .harness import gateway_of

pytestmark = pytest.mark.anyio

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
KIB, MIB = 1 << 10, 1 << 20
COMPLETION = b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"}}]}'


def sized(size: int) -> bytes:
    """A good body of this many bytes."""
    head, tail = b'{"model":"m","messages":[{"role":"user","content":"', b'"}]}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


@pytest.mark.contract("8.body-limit")
@pytest.mark.parametrize(("size", "status"), [(16 * MIB, 201), (16 * MIB + 1, 413)])
async def test_a_body_may_have_16_mib(size: int, status: int) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        reply = await world.post(content=sized(size))
        assert reply.status_code == status
        assert [len(request.body) for request in world.upstreams["openai"].requests] == [size] * (status == 201)


@pytest.mark.contract("8.messages-limit")
@pytest.mark.parametrize(("count", "status"), [(10_000, 201), (10_001, 400)])
async def test_there_may_be_10_000_messages(count: int, status: int) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        reply = await world.post(messages=MESSAGES * count)
        assert reply.status_code == status
        if status == 400:
            assert refusal(reply)["param"] == "messages"
            assert world.calls() == []


@pytest.mark.contract("8.structure-limit")
@pytest.mark.parametrize(("count", "status"), [(10**6, 201), (10**6 + 1, 400)])
async def test_there_may_be_a_million_structural_characters(count: int, status: int) -> None:
    head = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"x":[0'
    there = sum(head.count(char) for char in (b"[", b"{", b","))
    content = head + b",0" * (count - there) + b"]}"
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        reply = await world.post(content=content)
        assert reply.status_code == status
        if status == 400:
            assert refusal(reply)["code"] == "body_too_complex"
            assert world.calls() == []


def with_head(size: int) -> Reply:
    """An answer whose head, name, colon, blank, value and line end of each header, has this many bytes."""
    reply = answer()
    there = sum(len(name) + len(value) + 4 for name, value in reply.headers)
    pads, left = [], size - there
    while left:
        part = min(left, 8000) if left - 8000 > 10 or left <= 8000 else left - 4000
        pads.append((b"x-pad", b"y" * (part - len("x-pad") - 4)))
        left -= part
    return Reply(reply.status, (*reply.headers, *pads), reply.body)


@pytest.mark.contract("8.upstream-head")
@pytest.mark.parametrize(("size", "provider"), [(64 * KIB, "one"), (64 * KIB + 1, "two"), (200 * KIB, "two")])
async def test_a_provider_s_head_may_have_64_kib(size: int, provider: str) -> None:
    async with gateway_of(one=ScriptedUpstream(with_head(size)), two=ScriptedUpstream(chat())) as world:
        assert (await world.post()).headers["x-opengateway-provider"] == provider


@pytest.mark.contract("8.upstream-head")
@pytest.mark.parametrize(("size", "provider"), [(60 * KIB, "one"), (70 * KIB, "two"), (4 * MIB, "two")])
async def test_the_same_holds_on_the_wire(size: int, provider: str) -> None:
    reply = http_response(200, COMPLETION, [("content-type", "application/json"), ("x-pad", "y" * size)])
    async with RawUpstream([reply]) as one, gateway_of(one=one, two=ScriptedUpstream(chat())) as world:
        assert (await world.post()).headers["x-opengateway-provider"] == provider


def answer_of(size: int) -> Reply:
    return raw(200, JSON, [b" " * (size - len(COMPLETION)), COMPLETION])


@pytest.mark.contract("8.upstream-answer")
@pytest.mark.parametrize(("size", "provider"), [(2000, "one"), (2001, "two"), (100_000, "two")])
async def test_how_big_a_plain_answer_may_be_can_be_set(size: int, provider: str) -> None:
    upstreams: dict[str, Any] = {"one": ScriptedUpstream(answer_of(size)), "two": ScriptedUpstream(chat())}
    async with gateway_of(**upstreams, limits=Limits(upstream_answer_bytes=2000)) as world:
        assert (await world.post()).headers["x-opengateway-provider"] == provider


@pytest.mark.contract("8.upstream-answer")
@pytest.mark.parametrize(("size", "provider"), [(32 * MIB, "one"), (32 * MIB + 1, "two")])
async def test_a_plain_answer_may_have_32_mib(size: int, provider: str) -> None:
    async with gateway_of(one=ScriptedUpstream(answer_of(size)), two=ScriptedUpstream(chat())) as world:
        assert (await world.post()).headers["x-opengateway-provider"] == provider


def event_of(size: int) -> bytes:
    """An event whose line, `data: ` included, has this many bytes."""
    there = len(sse_event(completion_chunk({"content": ""}))) - 2
    return sse_event(completion_chunk({"content": "x" * (size - there)}))


@pytest.mark.contract("8.upstream-event")
@pytest.mark.parametrize(("size", "fits"), [(MIB, True), (MIB + 1, False)])
@pytest.mark.parametrize("pieces", [1, 7])
async def test_an_event_may_have_1_mib(size: int, fits: bool, pieces: int) -> None:
    event = event_of(size)
    step = len(event) // pieces + 1
    parts = [event[at : at + step] for at in range(0, len(event), step)]
    first = sse_event(completion_chunk({"content": "Hi"}))
    async with gateway_of(openai=ScriptedUpstream(raw(200, SSE, [first, *parts, SSE_DONE]))) as world:
        text, complete = await read_stream(world)
        assert complete is fits
        found = events(text)
        assert f"data: {found[1]}\n\n".encode() == event if fits else "event too large" in found[-1]


@pytest.mark.contract("8.upstream-stream-bytes")
@pytest.mark.parametrize(("limit_bytes", "fits"), [(10_000, True), (9_999, False)])
async def test_how_much_a_stream_may_carry_can_be_set(limit_bytes: int, fits: bool) -> None:
    end = sse_event(completion_chunk({}, finish_reason="stop"))
    body = [event_of(1000)] * 8
    body += [event_of(10_000 - sum(map(len, [*body, end])) - 2), end]
    assert sum(map(len, body)) == 10_000
    limits = Limits(upstream_stream_bytes=limit_bytes)
    async with gateway_of(openai=ScriptedUpstream(raw(200, SSE, [*body])), limits=limits) as world:
        text, complete = await read_stream(world)
        assert complete is fits
        found = events(text)
        assert found[-1] == "[DONE]" if fits else json.loads(found[-1])["error"]["code"] == "stream_interrupted"


@pytest.mark.contract("8.upstream-stream-bytes")
async def test_a_stream_over_the_limit_before_its_first_chunk_moves_on() -> None:
    much = raw(200, SSE, [b": " + b"x" * 1000 + b"\n\n"] * 20)
    async with gateway_of(
        one=ScriptedUpstream(much), two=ScriptedUpstream(chat()), limits=Limits(upstream_stream_bytes=10_000)
    ) as world:
        assert (await world.post(stream=True)).headers["x-opengateway-provider"] == "two"
        assert asked(world) == ["one", "two"]


@pytest.mark.contract("8.upstream-event")
async def test_over_real_sockets_an_event_that_never_ends_is_cut_off() -> None:
    head = http_head(200, {**SSE, "transfer-encoding": "chunked"})
    endless = [head, *[chunked(b"data: " + b"x" * 100_000)] * 12, LAST_CHUNK]
    async with RawUpstream(endless) as one, gateway_of(one=one, two=ScriptedUpstream(chat())) as world:
        assert (await world.post(stream=True)).headers["x-opengateway-provider"] == "two"
        await one.peer_closed()
