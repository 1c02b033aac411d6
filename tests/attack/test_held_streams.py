"""Whose fault it is when a held stream, or one that somebody goes on with, does not come to its end."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import anyio
import pytest

from ogw_asgi import Breaker, Timeouts
from ogw_asgi.testing import (
    SSE_DONE,
    Hang,
    ScriptedUpstream,
    chunked,
    completion_chunk,
    http_head,
    sse_event,
    stream,
)
from tests.contract.checks import mock_clock, pause, sequence
from tests.contract.continuing import broken
from tests.contract.harness import World, gateway_of

pytestmark = pytest.mark.anyio
without_waiting = pytest.mark.parametrize("anyio_backend", [mock_clock()])

SHORT = {"x-stainless-read-timeout": "1.5"}


async def who_answers(world: World, *names: str) -> str:
    async with world.stream(headers=sequence(*names)) as reply:
        await reply.aread()
    return str(reply.headers["x-opengateway-provider"])


@without_waiting
@pytest.mark.contract("4.breaker.neutral")
async def test_callers_in_a_hurry_do_not_open_the_circuit_of_a_target_whose_stream_takes_its_time() -> None:
    one = ScriptedUpstream(stream(["Hel", pause(2), "lo"]))
    upstreams: dict[str, Any] = {"one": one, "two": ScriptedUpstream(stream())}
    async with gateway_of(limit_s=100, **upstreams, on_stream_break="hold", breaker=Breaker(failures=2)) as world:
        for _ in range(3):
            async with world.stream(headers={**sequence("one"), **SHORT}) as reply:
                assert reply.status_code == 504
        assert await who_answers(world, "one", "two") == "one"


@without_waiting
@pytest.mark.contract("4.breaker.neutral")
async def test_nor_of_one_that_repeats_a_text_in_its_own_time() -> None:
    one = ScriptedUpstream(lambda _: broken(["Hel", "lo"]))
    two = ScriptedUpstream(stream(["Hel", pause(2), "lo", "!"]))
    upstreams: dict[str, Any] = {"one": one, "two": two, "three": ScriptedUpstream(stream())}
    async with gateway_of(limit_s=100, **upstreams, on_stream_break="continue", breaker=Breaker(failures=2)) as world:
        for _ in range(3):
            async with world.stream(headers={**sequence("one", "two"), **SHORT}) as reply:
                assert reply.status_code == 201
                with pytest.raises(Exception, match="incomplete chunked read|peer closed"):
                    await reply.aread()
        assert await who_answers(world, "two", "three") == "two"


@without_waiting
@pytest.mark.contract("4.breaker.opens")
async def test_a_target_that_falls_silent_while_it_is_held_is_charged() -> None:
    one = ScriptedUpstream(stream(["Hel", Hang()]))
    upstreams: dict[str, Any] = {"one": one, "two": ScriptedUpstream(stream())}
    settings: dict[str, Any] = {"breaker": Breaker(failures=2), "timeouts": Timeouts(idle_s=1)}
    async with gateway_of(limit_s=100, **upstreams, on_stream_break="hold", **settings) as world:
        for _ in range(5):
            assert await who_answers(world, "one", "two") == "two"
        assert world.calls().count("one") < 5


async def test_a_first_chunk_that_was_there_in_time_is_held_although_the_host_had_blocked_the_loop() -> None:
    def serve() -> None:  # in a thread, because the loop is blocked
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
            time.sleep(0.1)
            connection.sendall(chunked(sse_event(completion_chunk({"content": "Hel"}))))
            time.sleep(0.4)
            end = completion_chunk({"content": "lo"}, finish_reason="stop")
            connection.sendall(chunked(sse_event(end), SSE_DONE, last=True))

    async def block() -> None:
        await anyio.sleep(0.07)
        time.sleep(0.3)  # noqa: ASYNC251 - as a host may do

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        async with gateway_of(one=url, on_stream_break="hold") as world, anyio.create_task_group() as group:
            group.start_soon(block)
            async with world.stream(headers={"x-opengateway-timeout": "250"}) as reply:
                text = (await reply.aread()).decode()
        thread.join()
    assert (reply.status_code, text.count("[DONE]")) == (201, 1), text
