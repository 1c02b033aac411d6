"""F11 to F16: providers that accept the request and say nothing, or nothing that counts."""

from __future__ import annotations

import time

import pytest

from ogw_asgi import Timeouts
from ogw_asgi.testing import Hang, RawScript, RawUpstream, Wait, chunked, http_head
from ogw_asgi.testing._playing import RawStep

from .expect import assert_answered, assert_moved_on, assert_timed_out
from .faults import Endless, Pause
from .selection import Case
from .wire import JSON, JSON_HEAD, PING, ROLE, SSE_HEAD, STOP, delta, good, head
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

LIMIT_MS = 150


async def assert_moves_on_at_the_limit(world: World, outcome: str = "timeout") -> None:
    """Within 50 ms after it, of which a busy machine gets three tries, and never before it."""
    took: list[int] = []
    while len(took) < 3 and not any(each <= LIMIT_MS + 50 for each in took):
        reply = await world.ask(timeout_ms=LIMIT_MS)
        assert_moved_on(world, reply, outcome)
        took.append(reply.timings[0].duration_ms)
    assert LIMIT_MS <= min(took) <= LIMIT_MS + 50
    assert_timed_out(await world.ask("one", timeout_ms=LIMIT_MS))
    assert world.calls()["one"] == len(took) + 1, "nobody is asked twice"


@pytest.mark.fault("F11")
async def test_a_provider_that_never_answers_is_left_at_the_limit_of_the_first_chunk(open_world: OpenWorld) -> None:
    silent = RawUpstream([Hang()])
    async with open_world(one=silent, two=Good()) as world:
        await assert_moves_on_at_the_limit(world)
        await silent.peer_closed(len(silent.requests))


@pytest.mark.fault("F12")
async def test_a_head_and_then_silence_is_left_at_the_same_limit(open_world: OpenWorld, case: Case) -> None:
    silent = RawUpstream([head(case.mode), Hang()])
    async with open_world(one=silent, two=Good()) as world:
        await assert_moves_on_at_the_limit(world)
        await silent.peer_closed(len(silent.requests))


@pytest.mark.fault("F13", mode="sse")
async def test_comments_alone_do_not_move_the_limit(open_world: OpenWorld) -> None:
    async with open_world(one=RawUpstream(Endless(SSE_HEAD, chunked(PING))), two=Good()) as world:
        await assert_moves_on_at_the_limit(world)


@pytest.mark.fault("F13", mode="sse")
async def test_of_the_comments_before_a_first_chunk_at_most_4_kib_are_held(open_world: OpenWorld) -> None:
    events = delta("Hello") + STOP
    chatty: RawScript = [SSE_HEAD, *[chunked(PING * 100)] * 100, chunked(ROLE, events, last=True)]
    async with open_world(one=RawUpstream(chatty), idle=["one"]) as world:
        reply = await world.ask()
        assert reply.status == 201
        comments, _, _ = reply.body.partition(ROLE)
        assert 0 < len(comments) <= 4096
        assert comments == PING * (len(comments) // len(PING))


@pytest.mark.fault("F13", mode="sse")
async def test_role_only_events_alone_do_not_move_the_limit(open_world: OpenWorld) -> None:
    async with open_world(one=RawUpstream([SSE_HEAD, chunked(ROLE * 10), Hang()]), two=Good()) as world:
        await assert_moves_on_at_the_limit(world)


@pytest.mark.fault("F14", mode="json")
@pytest.mark.parametrize(
    "head_and_byte",
    [(JSON_HEAD, chunked(b" ")), (http_head(200, {**JSON, "content-length": "100000000"}), b" ")],
    ids=["chunks", "length"],
)
async def test_a_body_that_drips_ends_at_the_limit_of_a_plain_answer(
    open_world: OpenWorld, head_and_byte: tuple[bytes, bytes]
) -> None:
    start, byte = head_and_byte
    dripping = RawUpstream(Endless(start, byte))
    async with open_world(one=dripping, two=Good(), timeouts=Timeouts(answer_s=LIMIT_MS / 1000)) as world:
        reply = await world.ask()
        assert_moved_on(world, reply, "timeout")
        assert LIMIT_MS <= reply.timings[0].duration_ms < LIMIT_MS + 500
        assert_timed_out(await world.ask("one"))


class Paced(Endless):
    """Repeats its last step with a pause in front of each."""

    def __getitem__(self, index: int) -> RawStep:  # type: ignore[override]
        return Wait(Pause(0.01)) if index % 2 else super().__getitem__(index // 2)


@pytest.mark.fault("F15")
@pytest.mark.parametrize("status", [100, 103])
async def test_interim_responses_without_end_do_not_move_the_limit_and_cost_little(
    open_world: OpenWorld, status: int
) -> None:
    async with open_world(one=RawUpstream(Paced(http_head(status))), two=Good()) as world:
        await world.ask("two")
        shares: list[float] = []
        while len(shares) < 3 and not any(share < 0.2 for share in shares):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            reply = await world.ask(timeout_ms=LIMIT_MS)
            shares.append((time.process_time() - cpu_s) / (time.perf_counter() - wall_s))
            assert_moved_on(world, reply, "timeout")
            assert LIMIT_MS <= reply.timings[0].duration_ms < LIMIT_MS + 500
        assert min(shares) < 0.2


@pytest.mark.fault("F15")
@pytest.mark.parametrize("status", [100, 103])
async def test_a_flood_of_interim_responses_is_left_at_the_limit_at_the_latest(
    open_world: OpenWorld, status: int
) -> None:
    async with open_world(one=RawUpstream(Endless(http_head(status) * 100)), two=Good()) as world:
        reply = await world.ask(timeout_ms=LIMIT_MS)
        assert_answered(world, reply, "two", attempts=2)
        assert reply.timings[0].label in ("timeout", "protocol")
        assert reply.timings[0].duration_ms < LIMIT_MS + 500


@pytest.mark.fault("F16")
async def test_one_early_hint_before_a_good_answer_is_no_failure(open_world: OpenWorld, case: Case) -> None:
    hinting = RawUpstream([http_head(103, {"link": "</x>; rel=preload"}) + good(case.mode)])
    async with open_world(one=hinting, two=Good(), idle=["one"]) as world:
        assert_answered(world, await world.ask(), "one", text="Hello")
        assert world.calls() == {"one": 1, "two": 0}
