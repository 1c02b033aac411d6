"""F29, F30, F32 and F33: answers that cost a provider little and are to cost us much."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import pytest

from ogw_asgi.testing import Hang, RawScript, RawUpstream, chunked, http_response

from .expect import assert_alone, assert_answered, assert_broken, assert_moved_on
from .faults import Endless
from .memory import grown_bytes, traced
from .selection import Case
from .wire import JSON, PRIOR, SSE, SSE_HEAD, head
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio

KIB, MIB = 1 << 10, 1 << 20
BLOCK = b"a" * 16 * KIB


def endless(case: Case) -> Mapping[str, RawScript]:
    """The parts of an HTTP message that have no length of their own."""
    chunk = chunked(b" " if case.mode == "json" else b": ping\n\n")
    return {
        "header line": Endless(b"HTTP/1.1 200 OK\r\nx-a: ", BLOCK),
        "list of headers": Endless(b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n" * 1000),
        "reason phrase": Endless(b"HTTP/1.1 200 ", BLOCK),
        "chunk extension": Endless(head(case.mode) + chunk + b"5;", BLOCK),
        "chunk size": Endless(head(case.mode) + chunk, b"0" * 16 * KIB),
        "trailers": Endless(head(case.mode) + chunk + b"0\r\n", b"x-a: b\r\n" * 1000),
    }


@pytest.mark.fault("F29")
@pytest.mark.parametrize("name", endless(Case("native", "asyncio", "json")))
async def test_a_part_of_http_without_end_is_the_next_providers_turn_within_a_second_and_little_memory(
    open_world: OpenWorld, case: Case, name: str
) -> None:
    async with open_world(one=RawUpstream(endless(case)[name]), two=Good()) as world:
        reply = await world.ask()
        assert_answered(world, reply, "two", attempts=2)
        assert reply.timings[0].duration_ms < 1000
        with traced():
            healthy = await grown_bytes(lambda: world.ask("two"))
            assert await grown_bytes(world.ask) - healthy <= 256 * KIB
        alone = await world.ask("one")
        assert (alone.status, alone.error["code"]) == (502, "all_attempts_failed")


@pytest.fixture(scope="module")
def zeros() -> bytes:
    """1:1000."""
    return zlib.compress(bytes(64 * MIB), level=9)


@pytest.mark.fault("F30")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_a_compressed_bomb_is_the_next_providers_turn_and_is_not_unpacked(
    open_world: OpenWorld, case: Case, coding: str, zeros: bytes
) -> None:
    media = JSON if case.mode == "json" else SSE
    answer = http_response(200, zeros, {**media, "content-encoding": coding})
    async with open_world(one=RawUpstream([answer]), two=Good()) as world:
        assert_moved_on(world, await world.ask(), "invalid_answer")
        with traced():
            assert await grown_bytes(world.ask) <= MIB
        assert_alone(await world.ask("one"), "invalid_answer")


@pytest.mark.fault("F30")
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_bomb_for_an_error_is_not_unpacked_either(
    open_world: OpenWorld, coding: str, zeros: bytes
) -> None:
    answer = http_response(500, zeros, {**JSON, "content-encoding": coding})
    async with open_world(one=RawUpstream([answer]), two=Good(), idle=["one", "two"]) as world:
        assert_moved_on(world, await world.ask(), "500")
        with traced():
            assert await grown_bytes(world.ask) <= MIB


@pytest.mark.fault("F32", mode="sse")
@pytest.mark.parametrize("begun", [b"data: ", b": ", b"x"], ids=["data", "comment", "field"])
async def test_a_line_without_end_is_left_at_1_mib(open_world: OpenWorld, begun: bytes) -> None:
    flood = RawUpstream(Endless(SSE_HEAD + chunked(begun), chunked(BLOCK)))
    async with open_world(one=flood, two=Good()) as world:
        assert_moved_on(world, await world.ask(), "invalid_answer")
        with traced():
            assert await grown_bytes(world.ask) <= 2 * MIB
        assert_alone(await world.ask("one"), "invalid_answer")


@pytest.mark.fault("F32", mode="sse")
async def test_a_line_without_end_after_the_first_chunk_shows(open_world: OpenWorld) -> None:
    flood = RawUpstream(Endless(SSE_HEAD + chunked(PRIOR + b"data: "), chunked(BLOCK)))
    async with open_world(one=flood, two=Good()) as world:
        assert_broken(world, await world.ask(), "event_too_large")
        with traced():
            assert await grown_bytes(world.ask) <= 2 * MIB
        assert world.calls() == {"one": 2, "two": 0}


LINES = chunked(b"data:\n" * 100_000)
SPARSE = chunked(b"data: x\n" * 100_000)


@pytest.mark.fault("F33", mode="sse")
@pytest.mark.parametrize("lines", [LINES, SPARSE], ids=["empty", "of one letter"])
async def test_100_000_lines_of_one_event_are_the_next_providers_turn(open_world: OpenWorld, lines: bytes) -> None:
    async with open_world(one=RawUpstream([SSE_HEAD, lines, Hang()]), two=Good()) as world:
        assert_moved_on(world, await world.ask(timeout_ms=2000), "invalid_answer")
        with traced():
            assert await grown_bytes(lambda: world.ask(timeout_ms=4000)) <= 2 * MIB


@pytest.mark.fault("F33", mode="sse")
@pytest.mark.parametrize("lines", [LINES, SPARSE], ids=["empty", "of one letter"])
async def test_100_000_lines_of_one_event_after_the_first_chunk_show(open_world: OpenWorld, lines: bytes) -> None:
    async with open_world(one=RawUpstream([SSE_HEAD, chunked(PRIOR), lines, Hang()]), two=Good()) as world:
        assert_broken(world, await world.ask(), "event_too_large")
        assert world.calls() == {"one": 1, "two": 0}
