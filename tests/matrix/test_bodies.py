"""F57 and F58: bodies that are refused before anybody is called."""

from __future__ import annotations

import pytest

from ogw_asgi.testing import RawUpstream, http_response
from ogw_asgi.testing.encoding import json_bytes
from tests.leaks.heartbeat import heartbeat

from .selection import Case
from .wire import JSON, completion
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

WELL = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'


def with_member(member: bytes) -> bytes:
    return WELL[:-1] + b"," + member + b"}"


def nested(depth: int) -> bytes:
    """A body whose deepest value lies that deep, the object of the body itself counted."""
    return with_member(b'"x":' + b"[" * (depth - 1) + b"]" * (depth - 1))


INVALID = {
    "nothing": b"",
    "not JSON": b"hello",
    "half JSON": WELL[:-1],
    "UTF-16": WELL.decode().encode("utf-16"),
    "UTF-16 without a BOM": WELL.decode().encode("utf-16-le"),
    "UTF-32": WELL.decode().encode("utf-32"),
    "BOM": b"\xef\xbb\xbf" + WELL,
    "bad UTF-8": WELL.replace(b"Hi", b"\xff"),
    "surrogate bytes": WELL.replace(b"Hi", b"\xed\xa0\x80"),
    "NaN": with_member(b'"temperature":NaN'),
    "Infinity": with_member(b'"x":Infinity'),
    "-Infinity": with_member(b'"x":[-Infinity]'),
    "1e999": with_member(b'"x":1e999'),
    "a number of 5,000 digits": with_member(b'"x":' + b"1" * 5000),
    "model twice": with_member(b'"model":"other"'),
    "model twice, once escaped": with_member(b'"m\\u006fdel":"other"'),
    "trailing bytes": WELL + b"x",
    "a second body": WELL + WELL,
    "NUL": WELL.replace(b"Hi", b"H\0i"),
    "NUL behind": WELL + b"\0",
}
TOO_DEEP = {f"depth {depth}": nested(depth) for depth in (129, 1000, 10_000, 1_000_000)}
TOO_COMPLEX = {
    "8 MiB of empty arrays": with_member(b'"x":[' + b"[]," * ((8 << 20) // 3) + b"[]]"),
    "8 MiB of empty arrays alone": b"[" + b"[]," * ((8 << 20) // 3) + b"[]]",
    "10^6 keys": with_member(b",".join(b'"k%d":1' % number for number in range(1_000_000))),
}


@pytest.mark.fault("F57")
@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
async def test_a_body_that_is_no_sound_json_is_a_400_and_calls_nobody(open_world: OpenWorld, body: bytes) -> None:
    await assert_refused(open_world, body, "invalid_body")


@pytest.mark.fault("F57")
@pytest.mark.parametrize("body", TOO_DEEP.values(), ids=TOO_DEEP)
async def test_a_body_that_is_nested_too_deep_is_a_400_and_calls_nobody(open_world: OpenWorld, body: bytes) -> None:
    await assert_refused(open_world, body, "body_too_complex")


@pytest.mark.fault("F58")
@pytest.mark.parametrize("body", TOO_COMPLEX.values(), ids=TOO_COMPLEX)
async def test_a_body_that_would_take_long_to_read_is_a_400_and_holds_nobody_up(
    open_world: OpenWorld, body: bytes
) -> None:
    await assert_refused(open_world, body, "body_too_complex")


@pytest.mark.fault("F58")
async def test_a_hundred_thousand_messages_are_a_400_and_hold_nobody_up(open_world: OpenWorld) -> None:
    messages = [{"role": "user", "content": "Hi"}] * 100_000
    await assert_refused(open_world, json_bytes({"model": "m", "messages": messages}), "body_too_complex")


async def assert_refused(open_world: OpenWorld, body: bytes, code: str) -> None:
    async with open_world(one=Good(), two=Good()) as world:
        # What others do at the same time only adds to it: the shortest of three is nearest to what it takes.
        held_s = []
        for _ in range(3):
            async with heartbeat() as lag:
                reply = await world.ask(content=body)
            held_s.append(lag.cpu_s)
        assert (reply.status, reply.ended) == (400, True), reply.body
        assert (reply.error["code"], reply.error["type"]) == (code, "invalid_request_error"), reply.body
        assert reply.header("x-opengateway-attempts") is None
        assert world.calls() == {"one": 0, "two": 0}
        assert min(held_s) <= 0.1


BOTH_LOOPS = [Case("native", "asyncio", "json"), Case("native", "trio", "json")]
"""Engines have no part in it."""

LARGE = {
    "half a million empty arrays": with_member(b'"x":[' + b"[]," * 490_000 + b"[]]"),
    "half a million keys": with_member(b'"x":{' + b",".join(b'"%d":1' % number for number in range(490_000)) + b"}"),
    "numbers with a point": with_member(b'"x":[' + b"1.234567890123456," * 800_000 + b"1]"),
    "numbers of 4,000 digits": with_member(b'"x":[' + (b"1" * 4000 + b",") * 4000 + b"1]"),
    "16 MB of escapes": WELL.replace(b"Hi", b"\\n" * 8_000_000),
    "100,000 tools": with_member(
        b'"tools":[' + b",".join([b'{"type":"function","function":{"name":"a"}}'] * 100_000) + b"]"
    ),
}
"""Within every limit, so that they must be read."""


@pytest.mark.fault("F58")
@pytest.mark.parametrize("case", BOTH_LOOPS, ids=str)
@pytest.mark.parametrize("body", LARGE.values(), ids=LARGE)
async def test_a_body_that_takes_long_to_read_is_read_and_holds_nobody_up(open_world: OpenWorld, body: bytes) -> None:
    async with open_world(one=Good(), two=Good(), limit_s=30, idle=["one", "two"]) as world:
        assert await held(world, body) <= 0.1
        assert world.calls()["one"] >= 1


async def held(world: World, body: bytes) -> float:
    """For how long nobody else had a turn, whichever of this process's threads held the interpreter."""
    held_s = 1.0
    for _ in range(5):  # what others do on the machine only adds to it
        async with heartbeat() as lag:
            reply = await world.ask(content=body)
        assert reply.status == 201, reply.body
        held_s = min(held_s, lag.process_s)
        if held_s <= 0.1:
            break
    return held_s


@pytest.mark.fault("F35")
@pytest.mark.parametrize("case", BOTH_LOOPS, ids=str)
@pytest.mark.parametrize(
    "member",
    [
        b'"x":[' + b"[]," * 1_900_000 + b"1]",
        b'"x":{' + b",".join(b'"%d":1' % number for number in range(1_000_000)) + b"}",
        b'"x":[' + b"1.2345678," * 1_000_000 + b"1]",
    ],
    ids=["empty arrays", "keys", "numbers"],
)
async def test_an_answer_that_takes_long_to_read_is_relayed_and_holds_nobody_up(
    open_world: OpenWorld, member: bytes
) -> None:
    body = completion("Hello")[:-1] + b"," + member + b"}"
    async with open_world(
        one=RawUpstream([http_response(200, body, JSON)]), two=Good(), limit_s=60, idle=["one"]
    ) as world:
        assert await held(world, WELL) <= 0.1
