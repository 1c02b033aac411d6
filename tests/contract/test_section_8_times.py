"""Section 8: the times out of the box, met by requests.

The clock is trio's mock, which jumps over every wait, so an hour is proven as it stands, to the millisecond.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import trio

from ogw_asgi import Limits, Timeouts
from ogw_asgi.testing import (
    Hang,
    OnAccept,
    RawUpstream,
    ScriptedUpstream,
    chat,
    completion_chunk,
    hang,
    hold,
    raw,
    sse_event,
    stream,
)

from .checks import Diary, Sleep, events, mock_clock, outcomes, pause, read_stream, refusal, said, sequence
from .harness import World, gateway_of

pytestmark = pytest.mark.anyio

DAY_S = 86400.0
SSE = {"content-type": "text/event-stream"}


@pytest.fixture
def anyio_backend() -> Any:
    return mock_clock()


@pytest.mark.contract("8.idle-tail")
@pytest.mark.parametrize("quiet_s", [59.0, 61.0])
async def test_a_stream_may_be_idle_for_60_s_between_two_events(quiet_s: float) -> None:
    diary = Diary()
    upstream = diary.upstream("openai", stream(["Hel", pause(quiet_s), "lo"]))
    async with gateway_of(openai=upstream, limit_s=DAY_S) as world:
        text, complete = await read_stream(world)
        assert complete is (quiet_s < 60)
        assert said(text) == "Hello" if complete else "stream_interrupted" in events(text)[-1]
        assert diary.passed_s() == min(quiet_s, 60.0)


@pytest.mark.contract("8.idle-tail")
async def test_the_tail_after_the_last_finish_reason_may_take_5_s() -> None:
    end = sse_event(completion_chunk({"content": "Hi"}, finish_reason="stop"))
    diary = Diary()
    upstream = diary.upstream("openai", raw(200, SSE, [end, Hang()]))
    async with gateway_of(openai=upstream, limit_s=DAY_S) as world:
        text, complete = await read_stream(world)
        assert (events(text)[-1], complete) == ("[DONE]", True)
        assert diary.passed_s() == 5.0


@pytest.mark.contract("8.off")
async def test_hedging_and_heartbeat_are_off() -> None:
    quiet = stream([b"", "Hel", pause(59.0), "lo"])
    diary = Diary()
    one = diary.upstream("one", hold(quiet, until=Sleep(29.0)))
    async with gateway_of(one=one, two=diary.upstream("two", chat()), limit_s=DAY_S) as world:
        reply = await world.post(stream=True)
        assert diary.lines == [("one", 0.0)]
        assert all(block.startswith("data: ") for block in reply.text.split("\n\n")[:-1])
        assert diary.passed_s() == 88.0


@pytest.mark.contract("8.upstream-stream-time")
@pytest.mark.parametrize(("timeouts", "limit_s"), [(None, 3600.0), (Timeouts(stream_max_s=120), 120.0)])
async def test_a_stream_may_take_1_h(timeouts: Timeouts | None, limit_s: float) -> None:
    endless = stream([step for index in range(100) for step in (f"{index} ", pause(50.0))])
    diary = Diary()
    async with gateway_of(openai=diary.upstream("openai", endless), timeouts=timeouts, limit_s=DAY_S) as world:
        text, complete = await read_stream(world)
        assert not complete
        assert '"code":"stream_interrupted"' in events(text)[-1]
        assert diary.passed_s() == limit_s


@pytest.mark.contract("8.upstream-stream-time")
async def test_a_stream_of_just_under_1_h_is_whole() -> None:
    long = stream([step for index in range(71) for step in (f"{index} ", pause(50.0))])
    async with gateway_of(openai=ScriptedUpstream(long), limit_s=DAY_S) as world:
        text, complete = await read_stream(world)
        assert (events(text)[-1], complete) == ("[DONE]", True)


async def occupy(world: World, tasks: anyio.abc.TaskGroup, target: str = "openai", **body: Any) -> None:
    """Sends a request to openai from a task of its own, and returns when it is there."""

    async def ask() -> None:
        await world.post(headers=sequence(target), **body)

    before = len(world.upstreams["openai"].requests)
    tasks.start_soon(ask)
    await world.upstreams["openai"].wait_for_requests(before + 1)


@pytest.mark.contract("8.concurrency", "8.concurrency.next")
async def test_a_target_without_a_free_slot_is_passed_over_after_1_s() -> None:
    diary = Diary()
    openai, azure = diary.upstream("openai", hang()), diary.upstream("azure", chat())
    async with gateway_of(openai=openai, azure=azure, limits=Limits(concurrency=1), limit_s=DAY_S) as world:
        async with anyio.create_task_group() as tasks:
            await occupy(world, tasks)
            reply = await world.post()
            assert reply.headers["x-opengateway-provider"] == "azure"
            assert reply.headers["x-opengateway-attempts"] == "1"
            assert diary.lines == [("openai", 0.0), ("azure", 1.0)]
            tasks.cancel_scope.cancel()


@pytest.mark.contract("8.concurrency", "8.concurrency.next")
async def test_with_no_other_target_left_the_request_is_shed() -> None:
    diary = Diary()
    upstream = diary.upstream("openai", hang())
    async with gateway_of(openai=upstream, limits=Limits(concurrency=2), limit_s=DAY_S) as world:
        async with anyio.create_task_group() as tasks:
            await occupy(world, tasks)
            await occupy(world, tasks)
            reply = await world.post()
            assert refusal(reply, 503)["code"] == "gateway_overloaded"
            assert outcomes(reply) == ["busy"]
            assert (len(diary.lines), diary.passed_s()) == (2, 1.0)
            tasks.cancel_scope.cancel()


@pytest.mark.contract("8.concurrency")
async def test_a_slot_that_becomes_free_within_the_wait_is_taken() -> None:
    diary = Diary()
    openai = diary.upstream("openai", hold(chat(), until=Sleep(0.7)), chat())
    async with gateway_of(openai=openai, limits=Limits(concurrency=1), limit_s=DAY_S) as world:
        async with anyio.create_task_group() as tasks:
            await occupy(world, tasks)
            assert (await world.post()).status_code == 201
            assert diary.lines == [("openai", 0.0), ("openai", 0.7)]


@pytest.mark.contract("8.concurrency")
async def test_a_stream_keeps_its_slot_to_its_end() -> None:
    long = stream([step for _ in range(20) for step in ("x", pause(10.0))])
    async with gateway_of(openai=ScriptedUpstream(long), limits=Limits(concurrency=1), limit_s=DAY_S) as world:
        async with anyio.create_task_group() as tasks:
            await occupy(world, tasks, stream=True)
            await anyio.sleep(100)
            assert (await world.post(stream=True)).status_code == 503
            await anyio.sleep(200)
            assert (await world.post(stream=True)).status_code == 201


@pytest.mark.contract("8.concurrency")
async def test_slots_are_per_target_and_another_model_is_another_target() -> None:
    upstream = ScriptedUpstream(hang(), chat())
    async with gateway_of(openai=upstream, limits=Limits(concurrency=1), limit_s=DAY_S) as world:
        async with anyio.create_task_group() as tasks:
            await occupy(world, tasks, "openai/big")
            started_s = anyio.current_time()
            assert (await world.post(headers=sequence("openai/small"))).status_code == 201
            assert anyio.current_time() == started_s
            tasks.cancel_scope.cancel()


@pytest.mark.contract("8.connect")
@pytest.mark.parametrize(("timeouts", "limit_s"), [(None, 3.0), (Timeouts(connect_s=0.5), 0.5)])
async def test_connecting_may_take_3_s_tls_included(timeouts: Timeouts | None, limit_s: float) -> None:
    # Real sockets: the clock may jump only when nothing has come from them for a while.
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.autojump_threshold = 0.05
    async with RawUpstream([OnAccept(), Hang()]) as silent:
        one = f"https://127.0.0.1:{silent.port}"
        async with gateway_of(one=one, two=ScriptedUpstream(chat()), timeouts=timeouts, limit_s=DAY_S) as world:
            started_s = anyio.current_time()
            reply = await world.post()
            assert reply.headers["x-opengateway-provider"] == "two"
            assert reply.headers["server-timing"].startswith(f"one;dur={limit_s * 1000:.0f};")
            assert anyio.current_time() - started_s == pytest.approx(limit_s, abs=0.001)
            assert silent.connections == 1


GOOD = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'


@pytest.mark.contract("1.upload-stall")
@pytest.mark.parametrize(("quiet_s", "status"), [(9.9, 201), (10.1, 408)])
async def test_an_upload_may_stall_for_10_s(quiet_s: float, status: int) -> None:
    async def upload() -> AsyncIterator[bytes]:
        yield GOOD[:20]
        await anyio.sleep(quiet_s)
        yield GOOD[20:]

    async with gateway_of(openai=ScriptedUpstream(chat()), limit_s=DAY_S) as world:
        headers = {"content-type": "application/json"}
        reply = await world.client.post("/chat/completions", headers=headers, content=upload())
        assert reply.status_code == status
        assert world.calls() == (["openai"] if status == 201 else [])


@pytest.mark.contract("1.upload-slow")
@pytest.mark.parametrize(("step_bytes", "status"), [(20 << 10, 201), (10 << 10, 408)])
async def test_an_upload_needs_16_kib_per_second_after_that(step_bytes: int, status: int) -> None:
    async def upload() -> AsyncIterator[bytes]:
        yield GOOD[:-1]
        for _ in range(60):
            yield b" " * step_bytes
            await anyio.sleep(1)
        yield b"}"

    async with gateway_of(openai=ScriptedUpstream(chat()), limit_s=DAY_S) as world:
        headers = {"content-type": "application/json"}
        reply = await world.client.post("/chat/completions", headers=headers, content=upload())
        assert reply.status_code == status
