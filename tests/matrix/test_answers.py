"""F24 to F28 and F31: 2xx answers that are none."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    Fin,
    Hang,
    RawScript,
    RawUpstream,
    chunked,
    http_head,
    http_response,
    sse_event,
)

from .expect import assert_alone, assert_answered, assert_moved_on
from .selection import Case
from .wire import JSON, ROLE, SSE, SSE_HEAD, completion, good, head, payload
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio

KEPT = ("one", "two")


def as_json(body: bytes) -> bytes:
    return http_response(200, body, JSON)


NO_COMPLETION: Mapping[str, bytes] = {
    "HTML": http_response(200, b"<html>Welcome</html>", {"content-type": "text/html"}),
    "HTML that says JSON": as_json(b"<html>Welcome</html>"),
    "an empty object": as_json(b"{}"),
    "no choices": as_json(completion("x").replace(b'"choices"', b'"options"')),
    "choices that are no array": as_json(b'{"choices":{"0":{}}}'),
    "an error key": as_json(b'{"error":{"message":"Engine died.","code":500}}'),
    "an error beside choices": as_json(completion("x", error={"message": "Engine died."})),
    "truncated JSON": as_json(completion("Hello, world")[:-20]),
    "an array": as_json(b"[]"),
    "null": as_json(b"null"),
}


@pytest.mark.fault("F24", mode="json")
@pytest.mark.parametrize("answer", NO_COMPLETION.values(), ids=NO_COMPLETION)
async def test_a_200_that_is_no_completion_is_the_next_providers_turn(open_world: OpenWorld, answer: bytes) -> None:
    async with open_world(one=RawUpstream([answer]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), "invalid_answer")
        assert world.calls() == {"one": 1, "two": 1}
        assert_alone(await world.ask("one"), "invalid_answer")


ERROR = sse_event({"error": {"message": "Engine died.", "type": "server_error", "code": None}})
ERRORS_FIRST: Mapping[str, bytes] = {
    "alone": ERROR,
    "before [DONE]": ERROR + SSE_DONE,
    "behind the role": ROLE + ERROR + SSE_DONE,
    "behind comments": b": ping\n\n" * 10 + ERROR,
    "with a name": b'event: error\ndata: {"message":"Engine died."}\n\n',
    "before good ones": ERROR + payload("sse", "Hello"),
}


@pytest.mark.fault("F25", mode="sse")
@pytest.mark.parametrize("events", ERRORS_FIRST.values(), ids=ERRORS_FIRST)
async def test_a_stream_that_begins_with_an_error_is_the_next_providers_turn(
    open_world: OpenWorld, events: bytes
) -> None:
    async with open_world(one=RawUpstream([SSE_HEAD, chunked(events, last=True)]), two=Good(), idle=KEPT) as world:
        reply = await world.ask()
        assert_moved_on(world, reply, "invalid_answer")
        assert b"Engine died" not in reply.raw
        assert_alone(await world.ask("one"), "invalid_answer")


@pytest.mark.fault("F26")
async def test_a_plain_answer_to_a_stream_and_the_reverse_are_the_next_providers_turn(
    open_world: OpenWorld, case: Case
) -> None:
    wrong = RawUpstream([good("sse" if case.mode == "json" else "json")])
    async with open_world(one=wrong, two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), "invalid_answer")
        assert world.calls() == {"one": 1, "two": 1}
        assert_alone(await world.ask("one"), "invalid_answer")


@pytest.mark.fault("F26", mode="sse")
@pytest.mark.parametrize("answer", list(NO_COMPLETION.values())[:2], ids=list(NO_COMPLETION)[:2])
async def test_html_instead_of_a_stream_is_the_next_providers_turn(open_world: OpenWorld, answer: bytes) -> None:
    async with open_world(one=RawUpstream([answer]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), "invalid_answer")


def restated(answer: bytes, status: str) -> bytes:
    return answer.replace(b"200 OK", status.encode())


NO_STATUS = {
    "200, empty": lambda whole: http_response(200),
    "200, empty, JSON": lambda whole: as_json(b""),
    "200, empty, SSE": lambda whole: SSE_HEAD + LAST_CHUNK,
    "204": lambda whole: http_head(204),
    "101": lambda whole: http_head(101, {"upgrade": "h2c", "connection": "upgrade"}),
    "099": lambda whole: restated(whole, "099 Low"),
    "600": lambda whole: restated(whole, "600 High"),
    "999": lambda whole: restated(whole, "999 Higher"),
    "two digits": lambda whole: restated(whole, "20 OK"),
    "four digits": lambda whole: restated(whole, "2000 OK"),
}


WHOLE = {"200, empty", "200, empty, JSON", "200, empty, SSE", "204", "600", "999"}
"""Whose connections may be kept: HTTP allows these answers."""


@pytest.mark.fault("F27")
@pytest.mark.parametrize("name", NO_STATUS)
async def test_a_status_that_carries_no_answer_is_the_next_providers_turn_on_every_engine(
    open_world: OpenWorld, case: Case, name: str
) -> None:
    whole = name in WHOLE
    odd = RawUpstream([NO_STATUS[name](good(case.mode)), *([] if whole else [Hang()])])
    async with open_world(one=odd, two=Good(), idle=KEPT if whole else ["two"]) as world:
        assert_answered(world, await world.ask(), "two", attempts=2)
        assert world.calls() == {"one": 1, "two": 1}
        alone = await world.ask("one")
        assert (alone.status, alone.error["code"]) == (502, "all_attempts_failed")


def framed(case: Case, *headers: tuple[str, str], body: bytes | None = None) -> RawScript:
    """An answer with this framing, and the end of its connection behind it."""
    media = JSON if case.mode == "json" else SSE
    return [http_head(200, [*media.items(), *headers]), payload(case.mode, "Hello") if body is None else body, Fin()]


def in_chunks(case: Case, *pieces: bytes) -> RawScript:
    return [head(case.mode), *pieces, Hang()]


def framings(case: Case) -> Mapping[str, RawScript]:
    """What RFC 9112 does not allow, each in the way of a good answer."""
    body = payload(case.mode, "Hello")
    short = chunked(body[:1])
    whole = framed(case, ("content-length", str(len(body))))
    return {
        "two lengths": framed(case, ("content-length", str(len(body))), ("content-length", "3")),
        "a list of two lengths": framed(case, ("content-length", f"{len(body)}, 3")),
        "a length with a plus": framed(case, ("content-length", f"+{len(body)}")),
        "a negative length": framed(case, ("content-length", "-5")),
        "a length of 20 digits": framed(case, ("content-length", "9" * 20), body=body[:1]),
        "transfer-encoding: xchunked": framed(case, ("transfer-encoding", "xchunked")),
        "a chunk size that is none": in_chunks(case, short, b"zz\r\nabc\r\n"),
        "a chunk size with a sign": in_chunks(case, short, b"+5\r\nabcde\r\n"),
        "a chunk size of 21 digits": in_chunks(case, short, b"f" * 21 + b"\r\nabc"),
        "no terminator of a chunk": in_chunks(case, short, b"1\r\n  "),
        "an interim response with a body": [http_head(143, {"content-length": "3"}), b"bad", *whole],
        "an interim response in chunks": [
            http_head(143, {"transfer-encoding": "chunked"}),
            chunked(b"bad", last=True),
            *whole,
        ],
        "HTTP/0.9": [body, b"\r\n\r\n", Fin()],
        "NUL in a header": framed(case, ("x-a", "a\0b"), ("content-length", str(len(body)))),
        "a bare CR in a header": framed(case, ("x-a", "a\rb"), ("content-length", str(len(body)))),
    }


@pytest.mark.fault("F28")
@pytest.mark.parametrize("name", framings(Case("native", "asyncio", "json")))
async def test_broken_framing_is_the_next_providers_turn(open_world: OpenWorld, case: Case, name: str) -> None:
    async with open_world(one=RawUpstream(framings(case)[name]), two=Good()) as world:
        assert_answered(world, await world.ask(), "two", attempts=2)
        assert world.calls() == {"one": 1, "two": 1}
        alone = await world.ask("one")
        assert (alone.status, alone.error["code"]) == (502, "all_attempts_failed")


@pytest.mark.fault("F28")
@pytest.mark.parametrize("name", ["CL and TE", "the same CL twice", "a list of the same CL"])
async def test_framing_that_may_be_read_or_refused_never_reaches_the_caller(
    open_world: OpenWorld, case: Case, name: str
) -> None:
    body = payload(case.mode, "Hello")
    size = str(len(body))
    scripts: dict[str, RawScript] = {
        "CL and TE": framed(
            case,
            ("content-length", "9"),
            ("transfer-encoding", "chunked"),
            body=chunked(body, last=True),
        ),
        "the same CL twice": framed(case, ("content-length", size), ("content-length", size)),
        "a list of the same CL": framed(case, ("content-length", f"{size}, {size}")),
    }
    one = RawUpstream(scripts[name])
    async with open_world(one=one, two=Good()) as world:
        reply = await world.ask()
        if reply.header("x-opengateway-provider") == "one":
            assert_answered(world, reply, "one", text="Hello")
        else:
            assert_answered(world, reply, "two", attempts=2)
        assert (reply.header("content-length") is None) != (reply.header("transfer-encoding") is None)
        await world.ask()
        assert one.reused == 0


CODED = {
    "unknown": ("x-secret", b"\x01\x02\x03"),
    "gzip that is none": ("gzip", b"this is no gzip"),
    "truncated gzip": ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"),
    "br": ("br", b"\x0b\x02\x80hello\x03"),
    "zstd": ("zstd", b"\x28\xb5\x2f\xfd\x04\x00"),
    "two at once": ("gzip, br", b"\x1f\x8b"),
}


@pytest.mark.fault("F31")
@pytest.mark.parametrize(("coding", "body"), CODED.values(), ids=CODED)
async def test_an_answer_in_a_coding_that_was_not_asked_for_is_the_next_providers_turn(
    open_world: OpenWorld, case: Case, coding: str, body: bytes
) -> None:
    media = JSON if case.mode == "json" else SSE
    coded = http_response(200, body, {**media, "content-encoding": coding})
    async with open_world(one=RawUpstream([coded]), two=Good()) as world:
        reply = await world.ask()
        assert_moved_on(world, reply, "invalid_answer")
        assert reply.header("content-encoding") is None
        assert b"accept-encoding: identity" in world.upstreams["one"].requests[0].head.lower()
        assert_alone(await world.ask("one"), "invalid_answer")
