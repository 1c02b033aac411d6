"""F34 and F35: answers that are cut oddly and good, and those that a parser stumbles over."""

from __future__ import annotations

import pytest

from ogw_asgi.testing import LAST_CHUNK, SSE_DONE, Fin, RawUpstream, chunked, http_head, http_response

from .expect import assert_alone, assert_answered, assert_moved_on
from .wire import JSON, JSON_HEAD, SSE, SSE_HEAD, STOP, completion, delta
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio

KEPT = ("one", "two")


def as_json(body: bytes) -> bytes:
    return http_response(200, body, JSON)


TEXT = delta("hä \U0001f30d 错") + STOP + SSE_DONE
LINES = {
    "LF": TEXT,
    "CRLF": TEXT.replace(b"\n", b"\r\n"),
    "CR": TEXT.replace(b"\n", b"\r"),
    "BOM": b"\xef\xbb\xbf" + TEXT,
    "BOM and CRLF": b"\xef\xbb\xbf" + TEXT.replace(b"\n", b"\r\n"),
}


@pytest.mark.fault("F34", mode="sse")
@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
@pytest.mark.parametrize("framing", ["chunked", "length", "end"])
async def test_a_stream_in_segments_of_one_byte_reaches_the_caller_as_it_is(
    open_world: OpenWorld, lines: bytes, framing: str
) -> None:
    wires = {
        "chunked": SSE_HEAD + chunked(lines[:50], lines[50:]) + LAST_CHUNK,
        "length": http_head(200, {**SSE, "content-length": str(len(lines))}) + lines,
        "end": http_head(200, SSE) + lines,
    }
    wire = wires[framing]
    script = [wire[at : at + 1] for at in range(len(wire))]
    async with open_world(one=RawUpstream([*script, Fin()] if framing == "end" else script), idle=["one"]) as world:
        reply = await world.ask()
        assert reply.status == 201
        assert reply.ended
        assert reply.body == TEXT
        assert reply.header("x-opengateway-attempts") == "1"


@pytest.mark.fault("F34", mode="json")
@pytest.mark.parametrize("framing", ["chunked", "length", "end"])
async def test_a_plain_answer_in_segments_of_one_byte_reaches_the_caller_as_it_is(
    open_world: OpenWorld, framing: str
) -> None:
    body = completion("hä \U0001f30d 错")
    wires = {
        "chunked": JSON_HEAD + chunked(*(body[at : at + 3] for at in range(0, len(body), 3))) + LAST_CHUNK,
        "length": as_json(body),
        "end": http_head(200, JSON) + body,
    }
    wire = wires[framing]
    script = [wire[at : at + 1] for at in range(len(wire))]
    async with open_world(one=RawUpstream([*script, Fin()] if framing == "end" else script), idle=["one"]) as world:
        assert_answered(world, await world.ask(), "one", text="hä \U0001f30d 错")


NASTY = {
    "nested 10^5 deep": b"[" * 100_000 + b"]" * 100_000,
    "nested 10^5 deep, never closed": b"[" * 100_000,
    "a number of 5,000 digits": b"1" * 5000,
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "a lone surrogate": b'"\\ud800"',
    "a surrogate's bytes": b'"\xed\xa0\x80"',
}


@pytest.mark.fault("F35", mode="json")
@pytest.mark.parametrize("value", NASTY.values(), ids=NASTY)
async def test_a_completion_that_a_parser_stumbles_over_is_the_next_providers_turn(
    open_world: OpenWorld, value: bytes
) -> None:
    body = completion("Hello").replace(b'"created":1', b'"created":' + value)
    async with open_world(one=RawUpstream([as_json(body)]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), "invalid_answer")
        assert_alone(await world.ask("one"), "invalid_answer")


@pytest.mark.fault("F35", mode="json")
async def test_a_completion_of_millions_of_brackets_is_the_next_providers_turn(open_world: OpenWorld) -> None:
    body = completion("Hello").replace(b'"created":1', b'"created":[' + b"[]," * 3_000_000 + b"1]")
    async with open_world(one=RawUpstream([as_json(body)]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), "invalid_answer")


def first_event(value: bytes) -> bytes:
    return delta("Hello").replace(b'"created":1700000000', b'"created":' + value)


@pytest.mark.fault("F35", mode="sse")
@pytest.mark.parametrize("name", [name for name in NASTY if name != "a lone surrogate"])
async def test_a_first_chunk_that_a_parser_stumbles_over_is_the_next_providers_turn(
    open_world: OpenWorld, name: str
) -> None:
    stumbling = RawUpstream([SSE_HEAD, chunked(first_event(NASTY[name]) + STOP + SSE_DONE, last=True)])
    async with open_world(one=stumbling, two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), "invalid_answer")


@pytest.mark.fault("F35", mode="sse")
async def test_half_a_surrogate_pair_in_an_escape_of_a_stream_is_relayed(open_world: OpenWorld) -> None:
    # Servers that cut text by UTF-16 units send one half of a character in one event and the other in the next.
    halves = [delta("?").replace(b"?", half) for half in (b"\\ud83c", b"\\udf0d")]
    events = b"".join(halves) + STOP + SSE_DONE
    async with open_world(one=RawUpstream([SSE_HEAD, chunked(events, last=True)]), two=Good(), idle=["one"]) as world:
        reply = await world.ask()
        assert (reply.status, reply.body, reply.ended) == (201, events, True)
        assert reply.header("x-opengateway-provider") == "one"


@pytest.mark.fault("F35")
@pytest.mark.parametrize("value", NASTY.values(), ids=NASTY)
async def test_an_error_that_a_parser_stumbles_over_is_an_error_all_the_same(
    open_world: OpenWorld, value: bytes
) -> None:
    body = b'{"error":{"message":' + value + b',"code":' + value + b"}}"
    async with open_world(one=RawUpstream([http_response(500, body, JSON)]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), "500")
        assert_alone(await world.ask("one"), "server_error", label="500")
