"""Connections: kept while all is well, closed behind a caller who leaves; and no mixing of what runs at once."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from ogw_asgi.testing import (
    LAST_CHUNK,
    Hang,
    RawUpstream,
    RecordedRequest,
    Script,
    ScriptedUpstream,
    SharedEvent,
    Wait,
    chunked,
    hang,
    http_head,
    stream,
)
from ogw_asgi.testing.replies import Reply

from ..served import ServeGateway
from .clients import ENGINES, QUESTION, Make, ask, complete, listen, raised, sdk

pytestmark = pytest.mark.anyio


async def test_two_streams_at_once_do_not_mix(gateway_served: ServeGateway, make: Make) -> None:
    reached = {"a": SharedEvent(), "b": SharedEvent()}

    def echo(request: RecordedRequest) -> Script:
        name = request.json["messages"][0]["content"]
        other = "b" if name == "a" else "a"
        # Each goes on behind its first word only when the other has begun.
        return stream([f"{name}{index} " for index in range(20)], gate=reached[other])

    heard: dict[str, str] = {}
    async with gateway_served(openai=ScriptedUpstream(echo)) as served, sdk(make, served) as client:

        async def one(name: str) -> None:
            messages = [{"role": "user", "content": name}]
            heard[name] = (await listen(client, lambda chunk: reached[name].set(), messages=messages)).text

        async with anyio.create_task_group() as group:
            group.start_soon(one, "a")
            group.start_soon(one, "b")
    assert heard == {name: "".join(f"{name}{index} " for index in range(20)) for name in "ab"}


@pytest.mark.parametrize("engine", ENGINES)
async def test_fifty_streams_of_one_client_share_connections_and_leave_nothing_in_flight(
    gateway_served: ServeGateway, make: Make, engine: str
) -> None:
    async with RawUpstream(_kept_stream()) as provider:
        async with gateway_served(openai=provider, engine=engine) as served, sdk(make, served) as client:
            for count in range(1, 51):
                assert (await listen(client)).text == "Hello"
                await served.endings.wait_for(count)
            assert served.in_flight() == 0
            assert [ending.outcome for ending in served.endings.seen] == ["ok"] * 50
            # The synchronous client closes its connection at `[DONE]`, whoever serves it.
            assert len({arrival.connection for arrival in served.arrivals}) == (50 if make is OpenAI else 1)
            assert (provider.connections, provider.reused) == (1, 49)


async def test_the_end_of_a_providers_stream_is_read_after_the_callers_so_that_its_connection_is_kept(
    gateway_served: ServeGateway, make: Make
) -> None:
    heard = SharedEvent()
    *stream_steps, end = _kept_stream()
    async with RawUpstream([*stream_steps, Wait(heard), end]) as provider:
        async with gateway_served(openai=provider) as served, sdk(make, served) as client:
            for count in (1, 2):
                assert (await listen(client)).text == "Hello"
                heard.set()
                await served.endings.wait_for(count)
            assert (provider.connections, provider.reused) == (1, 1)


@pytest.mark.contract("4.caller-gone.receive")
@pytest.mark.parametrize("engine", ENGINES)
async def test_closing_a_stream_in_the_middle_closes_the_providers_connection(
    gateway_served: ServeGateway, make: Make, engine: str
) -> None:
    raw = [*_kept_stream()[:3], Hang()]
    async with RawUpstream(raw) as provider, gateway_served(openai=provider, engine=engine) as served:
        async with sdk(make, served) as client:
            await ask(client, _close_after_the_first if make is OpenAI else _close_after_the_first_async)
            # The client lives on: it was the stream that was closed.
            await provider.peer_closed()
            assert await served.endings.wait_for(1) == ["left"]
            assert served.in_flight() == 0


@pytest.mark.contract("4.caller-gone.receive")
async def test_breaking_out_of_the_loop_of_a_stream_closes_the_providers_connection(
    gateway_served: ServeGateway, make: Make
) -> None:
    provider = ScriptedUpstream(stream(["Hel", Hang()]))
    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        await ask(client, _break_out if make is OpenAI else _break_out_async)
        await provider.requests[0].closed.wait()
        assert await served.endings.wait_for(1) == ["left"]


@pytest.mark.contract("4.caller-gone.receive")
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_a_client_that_times_out_before_the_first_chunk_ends_the_attempt(
    gateway_served: ServeGateway, make: Make, streamed: bool
) -> None:
    silent, spare = ScriptedUpstream(hang()), ScriptedUpstream()
    async with gateway_served(openai=silent, azure=spare) as served, sdk(make, served) as client:
        # Patience that the gateway is not told of: else it would share it out, and ask the next provider.
        headers = {"x-stainless-read-timeout": ""}
        failure = await raised(complete(client, stream=streamed, timeout=0.5, extra_headers=headers))
        await silent.requests[0].closed.wait()
        assert await served.endings.wait_for(1) == ["left"]
    assert isinstance(failure, openai.APITimeoutError)
    assert spare.requests == []


@pytest.mark.contract("4.caller-gone.receive")
@pytest.mark.parametrize("reply", [hang(), stream(["Hel", Hang()])], ids=["before the head", "in the stream"])
async def test_cancelling_the_task_of_an_async_call_ends_the_attempt(
    gateway_served: ServeGateway, reply: Reply
) -> None:
    provider = ScriptedUpstream(reply)
    async with gateway_served(openai=provider) as served, sdk(AsyncOpenAI, served) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(listen, client)
            (request,) = await provider.wait_for_requests()
            group.cancel_scope.cancel()
        await request.closed.wait()
        assert await served.endings.wait_for(1) == ["left"]


def _kept_stream() -> list[Any]:
    """A stream after which the connection may be used again."""
    reply: Reply = stream(["Hel", "lo"])
    head = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
    return [head, *(chunked(step) for step in reply.body if isinstance(step, bytes)), LAST_CHUNK]


def _close_after_the_first(client: OpenAI) -> None:
    stream = client.chat.completions.create(**QUESTION, stream=True)
    next(stream)
    stream.close()


async def _close_after_the_first_async(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(**QUESTION, stream=True)
    await anext(stream)
    await stream.close()


def _break_out(client: OpenAI) -> None:
    with client.chat.completions.create(**QUESTION, stream=True) as stream:
        for _ in stream:
            break


async def _break_out_async(client: AsyncOpenAI) -> None:
    async with await client.chat.completions.create(**QUESTION, stream=True) as stream:
        async for _ in stream:
            break
