"""What the SDK's users get when all is well: completions, streams, headers, models."""

from __future__ import annotations

from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from ogw_asgi.testing import (
    LAST_CHUNK,
    RawUpstream,
    ScriptedUpstream,
    SharedEvent,
    Wait,
    chat,
    chunked,
    http_head,
    stream,
    tokens,
)

from ..served import ServeGateway, key_of
from .clients import ATTEMPTS, ENGINES, PROVIDER, QUESTION, Make, ask, complete, listen, sdk

pytestmark = pytest.mark.anyio

TEXT = "Grüße, 世界 – こんにちは 👩🏽‍🚀🎉!"


@pytest.mark.contract("1.alias-v1", "1.created", "6.content.plain", "6.content.model")
@pytest.mark.parametrize("engine", ENGINES)
async def test_a_completion_arrives_whole_under_the_status_201(
    gateway_served: ServeGateway, make: Make, engine: str
) -> None:
    provider = ScriptedUpstream(chat(TEXT, model="served-model", usage=tokens(7, 5)))
    async with gateway_served(openai=provider, engine=engine) as served, sdk(make, served) as client:
        answer = await complete(client)
    completion = answer.parse()
    assert answer.status_code == 201
    assert completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "served-model"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (7, 5)
    (request,) = provider.requests
    assert request.header("authorization") == f"Bearer {key_of('openai')}"
    assert request.json == QUESTION


@pytest.mark.contract("1.created-stream", "3.nothing-added", "6.content.stream")
@pytest.mark.parametrize("engine", ENGINES)
async def test_a_stream_arrives_chunk_by_chunk_with_the_usage_that_was_asked_for(
    gateway_served: ServeGateway, make: Make, engine: str
) -> None:
    provider = ScriptedUpstream(chat("one two three four", model="served-model", usage=tokens(7, 4)))
    async with gateway_served(openai=provider, engine=engine) as served, sdk(make, served) as client:
        with_usage = await listen(client, stream_options={"include_usage": True})
        without = await listen(client)
    for heard in (with_usage, without):
        assert heard.failure is None
        assert heard.text == "one two three four"
        assert {chunk.model for chunk in heard.chunks} == {"served-model"}
        assert [choice.finish_reason for chunk in heard.chunks for choice in chunk.choices if choice.finish_reason] == [
            "stop"
        ]
    last = with_usage.chunks[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 11
    assert [chunk.usage for chunk in without.chunks] == [None] * len(without.chunks)
    assert "stream_options" not in provider.requests[1].json


@pytest.mark.contract("1.success-status")
async def test_a_gateway_may_say_200_for_clients_that_insist_on_it(gateway_served: ServeGateway, make: Make) -> None:
    async with gateway_served(openai=ScriptedUpstream(), success_status=200) as served, sdk(make, served) as client:
        assert (await complete(client)).status_code == 200
        assert (await complete(client, stream=True)).status_code == 200


@pytest.mark.contract("2.success-status.used")
@pytest.mark.parametrize("status", [200, 201])
async def test_a_caller_may_choose_the_success_status_per_request(
    gateway_served: ServeGateway, make: Make, status: int
) -> None:
    headers = {"x-opengateway-success-status": str(status)}
    async with gateway_served(openai=ScriptedUpstream()) as served, sdk(make, served) as client:
        assert (await complete(client, extra_headers=headers)).status_code == status


@pytest.mark.contract("6.header.provider", "6.header.attempts", "6.request-id.new", "6.header.server-timing")
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_raw_response_tells_who_answered_and_under_which_id(
    gateway_served: ServeGateway, make: Make, streamed: bool
) -> None:
    async with gateway_served(openai=ScriptedUpstream()) as served, sdk(make, served) as client:
        answer = await complete(client, stream=streamed)
        completion = answer.parse()
        if streamed:
            await ask(client, lambda _: completion.close())
    assert answer.headers[PROVIDER] == "openai"
    assert answer.headers[ATTEMPTS] == "1"
    assert answer.headers["server-timing"].startswith("openai;dur=")
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.request_id == answer.headers["x-request-id"]
    if not streamed:
        assert completion._request_id == answer.request_id


@pytest.mark.contract("6.request-id.kept", "2.upstream.request-id")
async def test_the_callers_request_id_is_the_one_that_the_sdk_shows(gateway_served: ServeGateway, make: Make) -> None:
    provider = ScriptedUpstream()
    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        completion = await ask(
            client, lambda c: c.chat.completions.create(**QUESTION, extra_headers={"x-request-id": "trace-7"})
        )
    assert completion._request_id == "trace-7"
    assert provider.requests[0].header("x-request-id") == "trace-7"


@pytest.mark.contract("6.sse-headers")
async def test_a_streaming_response_gives_head_and_first_line_while_the_provider_still_waits(
    gateway_served: ServeGateway, make: Make
) -> None:
    gate = SharedEvent()
    provider = ScriptedUpstream(stream(["Hel", "lo"], gate=gate))

    def read_here(client: OpenAI) -> tuple[Any, list[str]]:
        with client.chat.completions.with_streaming_response.create(**QUESTION, stream=True) as response:
            lines = response.iter_lines()
            first = next(line for line in lines if "Hel" in line)
            gate.set()
            return response.headers, [first, *lines]

    async def read(client: AsyncOpenAI) -> tuple[Any, list[str]]:
        async with client.chat.completions.with_streaming_response.create(**QUESTION, stream=True) as response:
            lines = []
            async for line in response.iter_lines():
                lines.append(line)
                if "Hel" in line:
                    gate.set()
            return response.headers, lines[lines.index(next(line for line in lines if "Hel" in line)) :]

    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        headers, lines = await ask(client, read_here if isinstance(client, OpenAI) else read)
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers[PROVIDER] == "openai"
    assert [line for line in lines if line][-1] == "data: [DONE]"


async def test_every_chunk_is_there_before_the_provider_sends_the_next(
    gateway_served: ServeGateway, make: Make
) -> None:
    gates = [SharedEvent() for _ in range(4)]
    words = ["a", "b", "c", "d"]
    pieces: list[Any] = []
    for word, gate in zip(words, gates, strict=True):
        pieces += [word, Wait(gate)]
    seen: list[str] = []

    def on_chunk(chunk: Any) -> None:
        content = chunk.choices[0].delta.content if chunk.choices else None
        if content:
            seen.append(content)
            gates[len(seen) - 1].set()

    async with gateway_served(openai=ScriptedUpstream(stream(pieces))) as served, sdk(make, served) as client:
        heard = await listen(client, on_chunk)
    assert heard.failure is None
    assert seen == words


@pytest.mark.contract("6.models.listed", "6.models.no-call")
async def test_the_models_of_the_gateway_are_listed(gateway_served: ServeGateway, make: Make) -> None:
    provider = ScriptedUpstream()
    names = ["gpt-4o", "org/model-b"]
    async with gateway_served(openai=provider, models=names) as served, sdk(make, served) as client:
        page = (await ask(client, lambda c: c.models.with_raw_response.list())).parse()
    assert [model.id for model in page.data] == names
    assert {model.object for model in page.data} == {"model"}
    assert provider.requests == []


@pytest.mark.contract("5.frame.payload")
async def test_characters_survive_a_provider_that_sends_byte_by_byte(gateway_served: ServeGateway, make: Make) -> None:
    reply = stream([TEXT[:9], TEXT[9:]])
    wire = b"".join(step for step in reply.body if isinstance(step, bytes))
    assert any(byte >= 0x80 for byte in wire), "the emoji must be on the wire as UTF-8, not as escapes"
    bytewise = [chunked(wire[i : i + 1]) for i in range(len(wire))]
    head = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
    async with RawUpstream([head, *bytewise, LAST_CHUNK]) as provider:
        async with gateway_served(openai=provider) as served, sdk(make, served) as client:
            heard = await listen(client)
    assert heard.failure is None
    assert heard.text == TEXT


async def test_what_the_sdk_sends_of_parameters_reaches_the_provider_as_it_was(
    gateway_served: ServeGateway, make: Make
) -> None:
    provider = ScriptedUpstream()
    parameters: dict[str, Any] = {
        "temperature": 0.25,
        "top_p": 0.9,
        "seed": 2**53 + 1,
        "logit_bias": {"50256": -100},
        "stop": ["\n\n", "Ende"],
        "n": 2,
        "response_format": {"type": "json_object"},
        "max_completion_tokens": 17,
        "metadata": {"who": "Zoë 🦊"},
    }
    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        await complete(client, **parameters, extra_body={"provider_specific": {"depth": [1, 2.50, None]}})
    sent = provider.requests[0].json
    assert sent == {**QUESTION, **parameters, "provider_specific": {"depth": [1, 2.5, None]}}
