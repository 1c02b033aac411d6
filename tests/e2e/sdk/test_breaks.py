"""A stream that breaks in the middle: the SDK's users have the text before it, and an error that says so."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import httpx2
import openai
import pytest
from openai import APIError, AsyncOpenAI, OpenAI

from ogw_asgi import Timeouts
from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    Break,
    Fin,
    Hang,
    RawUpstream,
    Reset,
    ScriptedUpstream,
    chat,
    chunked,
    completion_chunk,
    http_head,
    sse_event,
    stream,
)

from ..served import ServeGateway
from .clients import ENGINES, QUESTION, Client, Make, ask, listen, raised, sdk

pytestmark = pytest.mark.anyio

HEAD = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
ROLE = chunked(sse_event(completion_chunk({"role": "assistant", "content": ""})))
TEXT = "Grüße, 世界 👩🏽‍🚀"
BEGUN = [HEAD, ROLE, *(chunked(sse_event(completion_chunk({"content": part}))) for part in (TEXT[:8], TEXT[8:]))]
FAILED = sse_event({"error": {"message": "engine died", "type": "server_error", "param": None, "code": 500}})

ENDINGS: dict[str, list[Any]] = {
    "reset": [Reset()],
    "closed inside the body": [Fin()],
    "ended in mid-sentence": [LAST_CHUNK],
    "half an event": [chunked(b'data: {"choices": [{"ind'), Fin()],
    "an error event that is followed by DONE": [chunked(FAILED, SSE_DONE, last=True)],
    "not JSON": [chunked(b"data: <html>\n\n", last=True)],
    "invalid UTF-8": [chunked(b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n', last=True)],
}


@pytest.mark.contract(
    "5.error-event",
    "5.break.reset",
    "5.break.clean-end",
    "5.break.error-event",
    "5.break.not-object",
    "5.break.utf8",
    "5.nothing-resent",
)
@pytest.mark.parametrize("ending", [pytest.param(steps, id=name) for name, steps in ENDINGS.items()])
async def test_a_broken_stream_is_an_api_error_behind_all_of_the_text(
    gateway_served: ServeGateway, make: Make, ending: list[Any]
) -> None:
    spare = ScriptedUpstream()
    async with RawUpstream([*BEGUN, *ending]) as provider:
        async with gateway_served(openai=provider, azure=spare) as served, sdk(make, served) as client:
            heard = await listen(client)
            assert await served.endings.wait_for(1) == ["broken"]
            assert served.in_flight() == 0
    assert heard.text == TEXT
    assert_interrupted(heard.failure)
    assert served.calls() == ["openai"]


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("engine", ENGINES)
async def test_a_reset_is_told_whatever_engine_and_server_stand_between(
    gateway_served: ServeGateway, make: Make, engine: str, http: str
) -> None:
    async with RawUpstream([*BEGUN, Reset()]) as provider:
        async with gateway_served(openai=provider, engine=engine, http=http) as served:
            async with sdk(make, served) as client:
                heard = await listen(client)
    assert heard.text == TEXT
    assert_interrupted(heard.failure)


@pytest.mark.contract("5.break.idle")
async def test_a_provider_that_falls_silent_is_told_as_a_break(gateway_served: ServeGateway, make: Make) -> None:
    provider = ScriptedUpstream(stream([TEXT, Hang()]))
    async with gateway_served(openai=provider, timeouts=Timeouts(idle_s=0.1)) as served:
        async with sdk(make, served) as client:
            heard = await listen(client)
        await provider.requests[0].closed.wait()
    assert heard.text == TEXT
    assert_interrupted(heard.failure)


@pytest.mark.contract("5.unterminated", "5.no-done-after-break")
@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_client_that_does_not_know_the_event_sees_a_broken_connection(
    gateway_served: ServeGateway, make: Make, http: str
) -> None:
    provider = ScriptedUpstream(stream(["Hello", Break()]))
    async with gateway_served(openai=provider, http=http) as served, sdk(make, served) as client:
        lines, failure = await _lines(client)
    assert lines[-1].startswith('data: {"error":{"message":"The stream of openai was interrupted')
    assert "data: [DONE]" not in lines
    assert isinstance(failure, httpx2.RemoteProtocolError)


async def test_the_sdks_stream_helper_raises_the_break_too(gateway_served: ServeGateway, make: Make) -> None:
    texts: list[str] = []

    def hear(event: Any) -> None:
        if event.type == "content.delta":
            texts.append(event.delta)

    def help_here(client: OpenAI) -> None:
        with client.chat.completions.stream(**QUESTION) as events:
            for event in events:
                hear(event)

    async def help_async(client: AsyncOpenAI) -> None:
        async with client.chat.completions.stream(**QUESTION) as events:
            async for event in events:
                hear(event)

    async with gateway_served(openai=ScriptedUpstream(stream(["Hel", "lo", Break()]))) as served:
        async with sdk(make, served) as client:
            failure = await raised(ask(client, help_here if make is OpenAI else help_async))
    assert "".join(texts) == "Hello"
    assert_interrupted(failure)


async def test_the_same_client_goes_on_after_a_break(gateway_served: ServeGateway, make: Make) -> None:
    provider = ScriptedUpstream(stream(["Hel", Break()]), chat("well again"))
    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        broken = await listen(client)
        whole = await listen(client)
    assert_interrupted(broken.failure)
    assert whole.failure is None
    assert whole.text == "well again"


async def test_a_break_is_never_repeated_by_the_sdk(gateway_served: ServeGateway, make: Make) -> None:
    provider = ScriptedUpstream(stream(["Hel", Break()]))
    async with gateway_served(openai=provider) as served, sdk(make, served, max_retries=2) as client:
        heard = await listen(client)
        assert len(served.arrivals) == 1
    assert heard.text == "Hel"
    assert_interrupted(heard.failure)


@pytest.mark.contract("5.complete.finish-reason", "5.done-added")
@pytest.mark.parametrize(
    "ending",
    [pytest.param([LAST_CHUNK], id="no DONE"), pytest.param([Reset()], id="reset behind the finish_reason")],
)
async def test_a_complete_stream_is_no_error_however_its_connection_ends(
    gateway_served: ServeGateway, make: Make, ending: list[Any]
) -> None:
    finish = chunked(sse_event(completion_chunk({}, finish_reason="stop")))
    async with RawUpstream([*BEGUN, finish, *ending]) as provider:
        async with gateway_served(openai=provider) as served, sdk(make, served) as client:
            heard = await listen(client)
            lines, failure = await _lines(client)
            assert await served.endings.wait_for(2) == ["ok", "ok"]
    assert heard.failure is None
    assert heard.text == TEXT
    assert lines[-1] == "data: [DONE]"
    assert failure is None


def assert_interrupted(failure: APIError | None) -> None:
    """The event, and not the broken connection behind it: only the event can say what happened."""
    assert failure is not None
    assert type(failure) is openai.APIError
    assert (failure.type, failure.code, failure.param) == ("upstream_error", "stream_interrupted", None)
    assert failure.message.startswith("The stream of openai was interrupted")


async def _lines(client: Client) -> tuple[list[str], Exception | None]:
    """The lines of a stream that are not empty, and what reading them ended with."""
    lines: list[str] = []

    def read_here(client: OpenAI) -> Exception | None:
        with client.chat.completions.with_streaming_response.create(**QUESTION, stream=True) as response:
            try:
                lines.extend(line for line in response.iter_lines() if line)
            except httpx2.HTTPError as error:
                return error
        return None

    if isinstance(client, OpenAI):
        return lines, await anyio.to_thread.run_sync(read_here, client, abandon_on_cancel=True)
    assert isinstance(client, AsyncOpenAI)
    async with client.chat.completions.with_streaming_response.create(**QUESTION, stream=True) as response:
        try:
            async for line in response.iter_lines():
                lines += [line] if line else []
        except httpx2.HTTPError as error:
            return lines, error
    return lines, None
