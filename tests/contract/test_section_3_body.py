"""Section 3: what of a body the gateway judges, what it rewrites, and that every other byte goes through."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi.testing import ScriptedUpstream, chat, error

from .checks import MESSAGES, refusal, sequence
from .harness import gateway_of, using

pytestmark = pytest.mark.anyio

ABSENT = object()


async def upstream_body(content: bytes) -> bytes:
    """What the provider got of a body that is accepted."""
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        reply = await world.post(content=content)
        assert reply.status_code == 201, reply.text
        (request,) = world.upstreams["openai"].requests
        body: bytes = request.body
        return body


async def refused(**body: Any) -> str | None:
    """The `param` of the 400 for a body that no provider gets to see."""
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        whole = {"model": "m", "messages": MESSAGES, **body}
        content = json.dumps({name: value for name, value in whole.items() if value is not ABSENT}).encode()
        found = refusal(await world.post(content=content))
        assert found["type"] == "invalid_request_error"
        assert world.calls() == []
        param: str | None = found["param"]
        return param


@pytest.mark.contract("3.model")
@pytest.mark.parametrize("model", [ABSENT, "", None, 7, ["m"], "a\nb"])
async def test_without_a_good_model_no_provider_is_called(model: Any) -> None:
    assert await refused(model=model) == "model"


@pytest.mark.contract("3.messages", "3.param-path")
@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (ABSENT, "messages"),
        (None, "messages"),
        ([], "messages"),
        ("Hi", "messages"),
        ({"role": "user"}, "messages"),
        (["Hi"], "messages[0]"),
        ([*MESSAGES, None], "messages[1]"),
        ([{"content": "Hi"}], "messages[0].role"),
        ([*MESSAGES, *MESSAGES, {"role": "robot", "content": "Hi"}], "messages[2].role"),
        ([{"role": 7}], "messages[0].role"),
    ],
)
async def test_without_good_messages_no_provider_is_called(messages: Any, param: str) -> None:
    assert await refused(messages=messages) == param


@pytest.mark.contract("3.messages")
@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool", "developer", "function"])
async def test_every_role_of_the_page_goes_through(role: str) -> None:
    content = json.dumps({"model": "m", "messages": [{"role": role, "content": "Hi"}]}).encode()
    assert await upstream_body(content) == content


RANGES: list[tuple[str, Any, str]] = [
    ("temperature", 2.1, "temperature"),
    ("temperature", "1", "temperature"),
    ("top_p", -0.1, "top_p"),
    ("frequency_penalty", 2.5, "frequency_penalty"),
    ("presence_penalty", -3, "presence_penalty"),
    ("n", 0, "n"),
    ("n", 129, "n"),
    ("n", 1.5, "n"),
    ("top_logprobs", 21, "top_logprobs"),
    ("seed", 2**63, "seed"),
    ("max_tokens", "7", "max_tokens"),
    ("max_tokens", True, "max_tokens"),
    ("stop", [], "stop"),
    ("stop", ["a"] * 5, "stop"),
    ("stop", ["a", 1], "stop[1]"),
    ("logit_bias", {"50256": -101}, "logit_bias.50256"),
    ("logprobs", 1, "logprobs"),
    ("stream", "true", "stream"),
    ("response_format", {}, "response_format.type"),
    ("response_format", 7, "response_format"),
    ("stream_options", [], "stream_options"),
    ("tool_choice", 7, "tool_choice"),
    ("tools", {}, "tools"),
    ("tools", [{"type": "function"}], "tools[0].function"),
    ("tools", [{"type": "web"}, {"type": "function", "function": {}}], "tools[1].function.name"),
    ("service_tier", 1, "service_tier"),
    ("messages", [{"role": "user", "content": 7}], "messages[0].content"),
    ("messages", [{"role": "user", "content": ["Hi"]}], "messages[0].content[0]"),
    ("messages", [{"role": "user", "content": "Hi", "name": 7}], "messages[0].name"),
    ("messages", [*MESSAGES, {"role": "tool", "content": "", "tool_call_id": 1}], "messages[1].tool_call_id"),
    ("messages", [{"role": "assistant", "content": None, "tool_calls": [7]}], "messages[0].tool_calls[0]"),
]


@pytest.mark.contract("3.out-of-range", "3.param-path")
@pytest.mark.parametrize(("field", "value", "param"), RANGES)
async def test_a_known_field_out_of_range_is_a_400_with_its_path(field: str, value: Any, param: str) -> None:
    assert await refused(**{field: value}) == param


@pytest.mark.contract("3.content")
@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]},
        {"role": "assistant", "tool_calls": [{"id": "c"}]},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "hologram", "x": [1]}]},
    ],
)
async def test_content_may_be_text_null_or_parts(message: dict[str, Any]) -> None:
    content = json.dumps({"model": "m", "messages": [message]}).encode()
    assert await upstream_body(content) == content


@pytest.mark.contract("3.real-numbers")
async def test_real_numbers_go_through_where_the_page_says_int32() -> None:
    numbers = b'"temperature":0.70,"top_p":9.5e-1,"frequency_penalty":-1.25,"presence_penalty":2.0'
    content = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],' + numbers + b"}"
    assert await upstream_body(content) == content


def with_member(member: str) -> bytes:
    return b'{"model":"m", ' + member.encode() + b', "messages":[{"role":"user","content":"Hi"}]}'


@pytest.mark.contract("3.json-string")
@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (r'"logit_bias": "{\"50256\": -100}"', '"logit_bias": {"50256": -100}'),
        (r'"stream_options": "{\"include_usage\":true}"', '"stream_options": {"include_usage":true}'),
        (r'"response_format": "{\"type\":\"text\"}"', '"response_format": {"type":"text"}'),
        (
            r'"tool_choice": "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"',
            '"tool_choice": {"type":"function","function":{"name":"f"}}',
        ),
        ('"tool_choice": "auto"', '"tool_choice": "auto"'),
        ('"tool_choice": "required"', '"tool_choice": "required"'),
        (r'"stream_options": " {\"x\":1.0}\n"', '"stream_options": {"x":1.0}'),
        (r'"logit_bias": "{\"1\":\u0031}"', '"logit_bias": {"1":1}'),
        (r'"response_format": "{\"type\":\"grün\"}"', '"response_format": {"type":"grün"}'),
    ],
)
async def test_a_string_that_holds_json_is_sent_on_as_its_value(sent: str, received: str) -> None:
    assert await upstream_body(with_member(sent)) == with_member(received)


@pytest.mark.contract("3.json-string")
async def test_a_message_s_tool_calls_may_be_a_string_that_holds_json() -> None:
    calls = '[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]'
    head = '{"messages": [{"role":"user","content":"Hi"}, {"role":"assistant", "tool_calls": '
    tail = ', "content": null}], "model": "m"}'
    assert await upstream_body(f"{head}{json.dumps(calls)}{tail}".encode()) == f"{head}{calls}{tail}".encode()


@pytest.mark.contract("3.json-string.response-format")
async def test_a_bare_json_object_is_sent_on_as_the_object_it_means() -> None:
    sent, received = '"response_format": "json_object"', '"response_format": {"type": "json_object"}'
    assert await upstream_body(with_member(sent)) == with_member(received)


@pytest.mark.contract("3.json-string", "3.out-of-range")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logit_bias", "{"),
        ("logit_bias", "[]"),
        ("logit_bias", '{"1":101}'),
        ("response_format", "yaml"),
        ("stream_options", '{"x":NaN}'),
        ("tool_choice", '{"type":'),
    ],
)
async def test_a_string_that_holds_no_such_json_is_a_400(field: str, value: str) -> None:
    assert (await refused(**{field: value}) or "").startswith(field)


ODD = (
    b'\r\n {"unknown": {"b":1.0, "a":1E2 ,"big":123456789012345678901234567890,"tiny":-0.0e-0},\t"messages":\n'
    b' [ {"content":"gr\\u00fcn \xc3\xa4 \\/ \\ud83d\\ude00 \xf0\x9f\x98\x80", "role":"user", "custom":[ ]} ],'
    b'"temperature":1.0 ,"n":1.0,"seed":1e3,"max_completion_tokens":10,"also_unknown":1,"also_unknown":2,'
    b' "m\\u006fdel" : "m" ,"stream":false,"metadata":null, "logit_bias":{"2":1,"1":2}} \n'
)


@pytest.mark.contract("3.byte-for-byte", "3.unknown-fields", "3.nothing-added")
async def test_numbers_key_order_escapes_blanks_and_unknown_fields_survive_byte_for_byte() -> None:
    assert await upstream_body(ODD) == ODD


@pytest.mark.contract("3.unknown-fields")
@pytest.mark.parametrize(
    "member",
    ['"top_k": -5', '"guided_json": "{}"', '"reasoning_effort": 9', '"modalities": {}', '"store": "yes"', '"user": []'],
)
async def test_an_unknown_field_is_the_provider_s_to_judge(member: str) -> None:
    assert await upstream_body(with_member(member)) == with_member(member)


@pytest.mark.contract("3.nothing-added")
@pytest.mark.parametrize(
    "member",
    [
        '"stream": true',
        '"stream": true, "stream_options": {"include_usage": false}',
        '"stream": true, "stream_options": null',
        '"stream": true, "stream_options": {"include_obfuscation": false}',
    ],
)
async def test_stream_options_are_the_caller_s(member: str) -> None:
    assert await upstream_body(with_member(member)) == with_member(member)


@pytest.mark.contract("3.model-rewritten")
@pytest.mark.parametrize("served", ["gpt-9", "a", 'quo"te', "gr\u00fcn"])
async def test_another_model_s_name_replaces_the_value_of_model_and_no_other_byte(served: str) -> None:
    async with gateway_of(openai=using(ScriptedUpstream(chat()), models={"m": served})) as world:
        assert (await world.post(content=ODD)).status_code == 201
        (request,) = world.upstreams["openai"].requests
        name = json.dumps(served).encode()
        assert request.body == ODD.replace(b'"m\\u006fdel" : "m"', b'"m\\u006fdel" : ' + name)


@pytest.mark.contract("3.model-rewritten", "3.json-string")
async def test_each_target_gets_its_own_model_in_an_otherwise_unchanged_body() -> None:
    sent = with_member(r'"logit_bias": "{\"1\":1}", "x": "\u00e9 m"')
    received = with_member(r'"logit_bias": {"1":1}, "x": "\u00e9 m"')
    async with gateway_of(
        openai=using(ScriptedUpstream(chat()), models={"*": "rest"}), azure=ScriptedUpstream(error(503))
    ) as world:
        reply = await world.post(content=sent, headers=sequence("azure/first", "azure", "openai"))
        assert reply.status_code == 201
        bodies = [request.body for name in ("azure", "openai") for request in world.upstreams[name].requests]
        assert bodies == [
            received.replace(b'"model":"m"', b'"model":"first"'),
            received,
            received.replace(b'"model":"m"', b'"model":"rest"'),
        ]
