"""Tool calls and structured output through the SDK, by its plain methods and by its helpers."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import anyio.to_thread
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from ogw_asgi.testing import ScriptedUpstream, answer, chat, dead_port, stream
from ogw_asgi.testing.replies import Reply, completion_chunk

from ..served import ServeGateway
from .clients import QUESTION, Client, Make, ask, listen, sdk

pytestmark = pytest.mark.anyio


class Weather(BaseModel):
    """Get the weather."""

    city: str
    days: int


ARGUMENTS = {"lookup_weather": {"city": "Zürich 🏔", "days": 3}, "lookup_time": {"zone": "Europe/Zurich"}}
FRAGMENTS = {
    "lookup_weather": ['{"city":', ' "Zürich 🏔"', ', "days"', ": 3}"],
    "lookup_time": ['{"zo', 'ne": "Europe/', 'Zurich"}'],
}
TOOL_CALLS = [
    {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    for index, (name, arguments) in enumerate(ARGUMENTS.items())
]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "lookup_weather",
            "description": "Get the weather.",
            "parameters": Weather.model_json_schema(),
            "strict": True,
        },
    },
    {"type": "function", "function": {"name": "lookup_time", "parameters": {"type": "object"}}},
]


def tool_stream() -> Reply:
    """Two tool calls as OpenAI streams them: id and name once, the arguments in fragments, the calls in turn."""
    pieces: list[Any] = [completion_chunk({"role": "assistant", "content": None})]
    for index, (name, fragments) in enumerate(FRAGMENTS.items()):
        call = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        pieces.append(completion_chunk({"tool_calls": [call]}))
        for fragment in fragments:
            delta = {"index": index, "function": {"arguments": fragment}}
            pieces.append(completion_chunk({"tool_calls": [delta]}))
    return stream(pieces, role_first=False, finish_reason="tool_calls")


async def test_tool_calls_of_a_completion_arrive_and_the_tools_reach_the_provider(
    gateway_served: ServeGateway, make: Make
) -> None:
    provider = ScriptedUpstream(answer(None, tool_calls=TOOL_CALLS))
    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        completion = await ask(
            client, lambda c: c.chat.completions.create(**QUESTION, tools=TOOLS, tool_choice="required")
        )
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert [call.id for call in choice.message.tool_calls] == ["call_0", "call_1"]
    called = {call.function.name: json.loads(call.function.arguments) for call in choice.message.tool_calls}
    assert called == ARGUMENTS
    assert provider.requests[0].json["tools"] == TOOLS
    assert provider.requests[0].json["tool_choice"] == "required"


async def test_a_conversation_with_tool_results_reaches_the_provider_as_it_was(
    gateway_served: ServeGateway, make: Make
) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {"role": "assistant", "content": None, "tool_calls": TOOL_CALLS},
        {"role": "tool", "tool_call_id": "call_0", "content": "Schnee ❄"},
        {"role": "tool", "tool_call_id": "call_1", "content": "12:00"},
    ]
    provider = ScriptedUpstream(chat("It snows."))
    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        completion = await ask(client, lambda c: c.chat.completions.create(model="m", messages=messages, tools=TOOLS))
    assert completion.choices[0].message.content == "It snows."
    assert provider.requests[0].json["messages"] == messages


@pytest.mark.contract("2.first-chunk.substance")
async def test_deltas_of_tool_calls_add_up(gateway_served: ServeGateway, make: Make) -> None:
    async with gateway_served(openai=ScriptedUpstream(tool_stream())) as served, sdk(make, served) as client:
        heard = await listen(client, tools=TOOLS)
    assert heard.failure is None
    names: dict[int, str] = {}
    arguments: defaultdict[int, str] = defaultdict(str)
    for chunk in heard.chunks:
        for delta in chunk.choices[0].delta.tool_calls or []:
            assert delta.function is not None
            if delta.function.name:
                names[delta.index] = delta.function.name
            arguments[delta.index] += delta.function.arguments or ""
    assert {names[index]: json.loads(text) for index, text in arguments.items()} == ARGUMENTS
    assert heard.chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_the_sdks_stream_helper_assembles_tool_calls_after_a_failover(
    gateway_served: ServeGateway, make: Make
) -> None:
    with dead_port() as port:
        dead = f"http://127.0.0.1:{port}"
        async with gateway_served(openai=dead, azure=ScriptedUpstream(tool_stream())) as served:
            async with sdk(make, served) as client:
                events, completion = await _help(client, tools=TOOLS)
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert {event.name: json.loads(event.arguments) for event in done} == ARGUMENTS
    calls = completion.choices[0].message.tool_calls
    assert {call.function.name: json.loads(call.function.arguments) for call in calls} == ARGUMENTS
    weather = next(event for event in done if event.name == "lookup_weather")
    assert weather.parsed_arguments == ARGUMENTS["lookup_weather"]


async def test_the_sdks_stream_helper_assembles_structured_output(gateway_served: ServeGateway, make: Make) -> None:
    provider = ScriptedUpstream(stream(FRAGMENTS["lookup_weather"]))
    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        _, completion = await _help(client, response_format=Weather)
    assert completion.choices[0].message.parsed == Weather(city="Zürich 🏔", days=3)


async def test_parse_gives_a_pydantic_model_of_the_schema_that_the_provider_was_sent(
    gateway_served: ServeGateway, make: Make
) -> None:
    provider = ScriptedUpstream(answer(json.dumps(ARGUMENTS["lookup_weather"])))
    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        completion = await ask(client, lambda c: c.chat.completions.parse(**QUESTION, response_format=Weather))
    assert completion.choices[0].message.parsed == Weather(city="Zürich 🏔", days=3)
    sent = provider.requests[0].json["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == "Weather"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"]["required"] == ["city", "days"]


async def test_parse_gives_the_arguments_of_a_pydantic_tool(gateway_served: ServeGateway, make: Make) -> None:
    call = {**TOOL_CALLS[0], "function": {"name": "Weather", "arguments": json.dumps(ARGUMENTS["lookup_weather"])}}
    provider = ScriptedUpstream(answer(None, tool_calls=[call]))
    tools = [openai.pydantic_function_tool(Weather)]
    async with gateway_served(openai=provider) as served, sdk(make, served) as client:
        completion = await ask(client, lambda c: c.chat.completions.parse(**QUESTION, tools=tools))
    (parsed,) = completion.choices[0].message.tool_calls
    assert parsed.function.parsed_arguments == Weather(city="Zürich 🏔", days=3)


async def _help(client: Client, **request: Any) -> tuple[list[Any], Any]:
    """The events of the SDK's `stream()` helper, and its final completion."""

    def help_here(client: OpenAI) -> tuple[list[Any], Any]:
        with client.chat.completions.stream(**QUESTION, **request) as events:
            return list(events), events.get_final_completion()

    if isinstance(client, OpenAI):
        return await anyio.to_thread.run_sync(help_here, client, abandon_on_cancel=True)
    assert isinstance(client, AsyncOpenAI)
    async with client.chat.completions.stream(**QUESTION, **request) as events:
        return [event async for event in events], await events.get_final_completion()
