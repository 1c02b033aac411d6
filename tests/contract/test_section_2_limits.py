"""Section 2: how long an attempt, and a whole sequence, may take to the first chunk.

Out of the box that is minutes. The clock is trio's mock, which jumps over every wait, so the defaults are proven as
they stand, to the millisecond; `OGW_TIMEOUT_MS` is proven over real sockets in `test_section_2_real_time.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from ogw_asgi import Timeouts
from ogw_asgi.testing import (
    Hang,
    Reply,
    ScriptedUpstream,
    chat,
    completion_chunk,
    error,
    hang,
    hold,
    raw,
    sse_event,
    stream,
)

from .checks import TIMEOUT, Diary, Sleep, mock_clock, outcomes, pause, refusal, said, sequence
from .harness import gateway_of

pytestmark = pytest.mark.anyio

DAY_S = 86400.0


@pytest.fixture
def anyio_backend() -> Any:
    return mock_clock()


def silent(diary: Diary, *names: str) -> dict[str, ScriptedUpstream]:
    return {name: diary.upstream(name, hang()) for name in names}


@pytest.mark.contract("2.limits.stream", "2.limits.last", "8.first-chunk")
async def test_a_stream_s_first_chunk_may_take_30_s_while_a_target_is_left_and_600_s_from_the_last() -> None:
    diary = Diary()
    async with gateway_of(**silent(diary, "one", "two", "three"), limit_s=DAY_S) as world:
        reply = await world.post(stream=True)
        assert refusal(reply, 504)["code"] == "timeout"
        assert outcomes(reply) == ["timeout"] * 3
        assert diary.lines == [("one", 0.0), ("two", 30.0), ("three", 60.0)]
        assert diary.passed_s() == 660.0


@pytest.mark.contract("2.limits.last", "8.first-chunk")
@pytest.mark.parametrize(("late_s", "status"), [(599.0, 201), (601.0, 502)])
async def test_a_slow_last_answer_beats_a_504(late_s: float, status: int) -> None:
    late = ScriptedUpstream(hold(chat(), until=Sleep(late_s)))
    async with gateway_of(one=ScriptedUpstream(error(503)), two=late, limit_s=DAY_S) as world:
        assert (await world.post(stream=True)).status_code == status


@pytest.mark.contract("2.limits.last")
async def test_targets_behind_the_most_that_are_tried_do_not_count_as_left() -> None:
    diary = Diary()
    upstream = diary.upstream("openai", *[error(503)] * 4, hang())
    async with gateway_of(openai=upstream, limit_s=DAY_S) as world:
        names = [f"openai/m{index}" for index in range(8)]
        assert (await world.post(headers=sequence(*names), stream=True)).status_code == 502
        assert len(diary.lines) == 5
        assert diary.passed_s() == 600.0


@pytest.mark.contract("2.limits.plain", "8.answer", "8.off")
@pytest.mark.parametrize("late_s", [0.0, 599.0])
async def test_a_plain_answer_may_take_600_s_from_each_and_there_is_no_total(late_s: float) -> None:
    diary = Diary()
    last = diary.upstream("three", hold(chat(), until=Sleep(late_s)))
    async with gateway_of(**silent(diary, "one", "two"), three=last, limit_s=DAY_S) as world:
        assert (await world.post()).status_code == 201
        assert diary.lines == [("one", 0.0), ("two", 600.0), ("three", 1200.0)]
        assert diary.passed_s() == 1200.0 + late_s


@pytest.mark.contract("2.limits.plain", "2.first-chunk.plain")
async def test_a_plain_answer_s_limit_is_for_all_of_its_body() -> None:
    half = raw(200, {"content-type": "application/json", "content-length": "100"}, [b'{"choices":', Hang()])
    diary = Diary()
    one, two = diary.upstream("one", half), diary.upstream("two", chat())
    async with gateway_of(one=one, two=two, limit_s=DAY_S) as world:
        assert (await world.post()).headers["x-opengateway-provider"] == "two"
        assert diary.lines == [("one", 0.0), ("two", 600.0)]


@pytest.mark.contract("2.limits.configured")
@pytest.mark.parametrize(("streamed", "times"), [(True, [0.0, 7.0, 14.0]), (False, [0.0, 600.0, 1200.0])])
async def test_a_configured_first_chunk_replaces_the_30_s_alone(streamed: bool, times: list[float]) -> None:
    diary = Diary()
    upstreams = silent(diary, "one", "two", "three")
    async with gateway_of(**upstreams, timeouts=Timeouts(first_chunk_s=7), limit_s=DAY_S) as world:
        assert (await world.post(stream=streamed)).status_code == 504
        assert [at for _, at in diary.lines] == times
        assert diary.passed_s() == times[-1] + 600.0


@pytest.mark.contract("2.timeout.each-attempt", "2.limits.header-holds-last")
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("value", "limit_s"), [("1", 0.001), ("1500", 1.5), ("45000", 45.0), ("3600000", 3600.0)])
async def test_a_limit_of_the_header_holds_for_every_attempt_the_last_included(
    streamed: bool, value: str, limit_s: float
) -> None:
    diary = Diary()
    async with gateway_of(**silent(diary, "one", "two", "three"), limit_s=DAY_S) as world:
        reply = await world.post(headers={TIMEOUT: value}, stream=streamed)
        assert refusal(reply, 504)["code"] == "timeout"
        assert diary.lines == [("one", 0.0), ("two", limit_s), ("three", 2 * limit_s)]
        assert diary.passed_s() == 3 * limit_s


@pytest.mark.contract("2.timeout.each-attempt")
async def test_the_limit_ends_with_the_first_chunk() -> None:
    slow = ScriptedUpstream(stream(["Hel", pause(50.0), "lo"]))
    async with gateway_of(openai=slow, limit_s=DAY_S) as world:
        reply = await world.post(headers={TIMEOUT: "1000"}, stream=True)
        assert (reply.status_code, said(reply.text)) == (201, "Hello")


def dripping(piece: bytes) -> Reply:
    return stream([step for _ in range(40) for step in (pause(0.3), piece)], role_first=False)


ROLE = sse_event(completion_chunk({"role": "assistant"}))


@pytest.mark.contract("2.first-chunk.absolute")
@pytest.mark.parametrize("piece", [b": ping\n\n", ROLE, b"data:", b"\n", b"event: ping\n\n"])
async def test_nothing_without_substance_resets_the_limit(piece: bytes) -> None:
    diary = Diary()
    one, two = diary.upstream("one", dripping(piece)), diary.upstream("two", chat())
    async with gateway_of(one=one, two=two, limit_s=DAY_S) as world:
        reply = await world.post(headers={TIMEOUT: "1000"}, stream=True)
        assert reply.headers["x-opengateway-provider"] == "two"
        assert diary.lines == [("one", 0.0), ("two", 1.0)]


@pytest.mark.contract("2.first-chunk.absolute")
async def test_a_dripping_plain_answer_does_not_reset_the_limit() -> None:
    drip = [step for _ in range(40) for step in (b" ", pause(0.3))]
    diary = Diary()
    one = diary.upstream("one", raw(200, {"content-type": "application/json"}, drip))
    async with gateway_of(one=one, two=diary.upstream("two", chat()), limit_s=DAY_S) as world:
        assert (await world.post(headers={TIMEOUT: "1000"})).headers["x-opengateway-provider"] == "two"
        assert diary.lines == [("one", 0.0), ("two", 1.0)]


def announced(seconds: str) -> dict[str, str]:
    return {"x-stainless-read-timeout": seconds}


@pytest.mark.contract("2.limits.caller")
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("seconds", "limit_s"), [("10", 10.0), ("2.5", 2.5), ("599", 599.0)])
async def test_a_limit_that_the_caller_s_sdk_announces_bounds_the_whole(
    streamed: bool, seconds: str, limit_s: float
) -> None:
    diary = Diary()
    async with gateway_of(**silent(diary, "openai"), limit_s=DAY_S) as world:
        reply = await world.post(headers=announced(seconds), stream=streamed)
        assert refusal(reply, 504)["code"] == "timeout"
        assert diary.passed_s() == limit_s


@pytest.mark.contract("2.limits.caller")
@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "NaN", "inf", ""])
async def test_an_announced_limit_that_is_none_is_ignored(seconds: str) -> None:
    diary = Diary()
    async with gateway_of(**silent(diary, "openai"), limit_s=DAY_S) as world:
        assert (await world.post(headers=announced(seconds))).status_code == 504
        assert diary.passed_s() == 600.0


@pytest.mark.contract("2.limits.total", "2.limits.caller")
@pytest.mark.parametrize(("total_s", "caller_s", "limit_s"), [(8.0, None, 8.0), (8.0, "20", 8.0), (20.0, "8", 8.0)])
async def test_the_total_bounds_the_whole_sequence(total_s: float, caller_s: str | None, limit_s: float) -> None:
    diary = Diary()
    upstreams = silent(diary, "one", "two")
    async with gateway_of(**upstreams, timeouts=Timeouts(total_s=total_s), limit_s=DAY_S) as world:
        reply = await world.post(headers=announced(caller_s) if caller_s else {})
        assert refusal(reply, 504)["code"] == "timeout"
        assert diary.lines == [("one", 0.0), ("two", limit_s / 2)]
        assert diary.passed_s() == limit_s


@pytest.mark.contract("2.limits.total")
async def test_the_total_ends_with_the_first_chunk() -> None:
    slow = ScriptedUpstream(stream(["Hel", pause(50.0), "lo"]))
    async with gateway_of(openai=slow, timeouts=Timeouts(total_s=5), limit_s=DAY_S) as world:
        assert said((await world.post(stream=True)).text) == "Hello"


@pytest.mark.contract("2.limits.total")
async def test_waits_between_attempts_count_towards_the_total() -> None:
    diary = Diary()
    one = diary.upstream("one", error(503, headers={"retry-after": "4"}), hang())
    async with gateway_of(one=one, timeouts=Timeouts(total_s=10), limit_s=DAY_S) as world:
        assert (await world.post(headers=sequence("one", "one"))).status_code == 504
        assert diary.lines == [("one", 0.0), ("one", 4.0)]
        assert diary.passed_s() == 10.0


@pytest.mark.contract("2.limits.shared")
@pytest.mark.parametrize(
    ("total_s", "streamed", "times"),
    [
        (100.0, False, [0.0, 40.0, 70.0]),  # two times 30 s kept back, the rest is the first one's
        (100.0, True, [0.0, 30.0, 60.0]),  # the 30 s of a stream are less than its part
        (30.0, False, [0.0, 10.0, 20.0]),  # less than 30 s for each: equal parts
        (30.0, True, [0.0, 10.0, 20.0]),
        (660.0, False, [0.0, 600.0, 630.0]),
        (3000.0, False, [0.0, 600.0, 1200.0]),  # enough for all
    ],
)
async def test_of_what_is_left_a_part_is_kept_back_for_each_target_not_tried_yet(
    total_s: float, streamed: bool, times: list[float]
) -> None:
    diary = Diary()
    upstreams = silent(diary, "one", "two", "three")
    async with gateway_of(**upstreams, timeouts=Timeouts(total_s=total_s), limit_s=DAY_S) as world:
        assert (await world.post(stream=streamed)).status_code == 504
        assert [at for _, at in diary.lines] == times
        assert diary.passed_s() == min(total_s, times[-1] + 600.0)


@pytest.mark.contract("2.limits.shared")
async def test_what_a_quick_failure_left_over_goes_to_the_next() -> None:
    diary = Diary()
    one, rest = diary.upstream("one", error(503)), silent(diary, "two", "three")
    async with gateway_of(one=one, **rest, timeouts=Timeouts(total_s=100), limit_s=DAY_S) as world:
        assert (await world.post()).status_code == 504
        assert diary.lines == [("one", 0.0), ("two", 0.0), ("three", 70.0)]
        assert diary.passed_s() == 100.0
