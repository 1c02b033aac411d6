"""Messages and the model of a body: roles, contents, and the path that a refusal names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi._values import ChatCall, Limits
from ogw_asgi._wire.body import read_body
from ogw_asgi.exceptions import RequestRejected

USER = {"role": "user", "content": "hi"}
HUGE = 2**63


def read(**fields: Any) -> ChatCall:
    return read_body(json.dumps({"model": "m", "messages": [USER], **fields}).encode(), Limits())


def refused(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(RequestRejected) as caught:
        read(**fields)
    error = caught.value
    assert (error.status, error.param, error.code) == (400, param, code)
    assert error.type == "invalid_request_error"
    assert param in error.message


# --- messages -------------------------------------------------------------------------------------------------

PART = {"type": "text", "text": "hi"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}


@pytest.mark.contract("3.messages", "3.content", "A.message-fields")
@pytest.mark.parametrize(
    "message",
    [
        *({"role": role, "content": "x"} for role in ("system", "user", "assistant", "tool", "developer")),
        {"role": "function", "content": "x", "name": "f"},
        {"role": "function", "content": None},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "as SDKs dump it", "tool_calls": None, "name": None, "refusal": None},
        {"role": "user", "content": "a", "name": None, "tool_call_id": None},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": []},
        {"role": "user"},
        {"role": "user", "content": ""},
        {"role": "user", "content": []},
        {"role": "user", "content": [PART, {"type": "of_next_year"}, {}]},
        {"role": "user", "content": "x", "name": "n", "unknown": [1]},
        {"role": "tool", "content": "x", "tool_call_id": "c"},
    ],
)
def test_messages_of_each_role_pass_unchanged(message: dict[str, Any]) -> None:
    assert json.loads(read(messages=[message]).body)["messages"] == [message]


@pytest.mark.contract("3.messages", "3.content", "3.param-path", "A.message-fields")
@pytest.mark.parametrize(
    ("message", "param", "code"),
    [
        ("hi", "messages[2]", "invalid_type"),
        (None, "messages[2]", "invalid_type"),
        ([], "messages[2]", "invalid_type"),
        ({}, "messages[2].role", "missing_required_parameter"),
        ({"content": "x"}, "messages[2].role", "missing_required_parameter"),
        ({"role": None}, "messages[2].role", "invalid_type"),
        ({"role": 1}, "messages[2].role", "invalid_type"),
        ({"role": ["user"]}, "messages[2].role", "invalid_type"),
        ({"role": "robot"}, "messages[2].role", "invalid_value"),
        ({"role": "User"}, "messages[2].role", "invalid_value"),
        ({"role": ""}, "messages[2].role", "invalid_value"),
        ({"role": "user", "content": None}, "messages[2].content", "invalid_type"),
        ({"role": "system", "content": None}, "messages[2].content", "invalid_type"),
        ({"role": "tool", "content": None}, "messages[2].content", "invalid_type"),
        ({"role": "user", "content": 1}, "messages[2].content", "invalid_type"),
        ({"role": "user", "content": True}, "messages[2].content", "invalid_type"),
        ({"role": "user", "content": PART}, "messages[2].content", "invalid_type"),
        ({"role": "user", "content": [PART, "x"]}, "messages[2].content[1]", "invalid_type"),
        ({"role": "user", "content": [None]}, "messages[2].content[0]", "invalid_type"),
        ({"role": "user", "name": 1}, "messages[2].name", "invalid_type"),
        ({"role": "tool", "tool_call_id": 1}, "messages[2].tool_call_id", "invalid_type"),
        ({"role": "assistant", "tool_calls": CALL}, "messages[2].tool_calls", "invalid_type"),
        ({"role": "assistant", "tool_calls": [CALL, 1]}, "messages[2].tool_calls[1]", "invalid_type"),
    ],
)
def test_a_message_of_another_form_is_refused(message: Any, param: str, code: str) -> None:
    refused({"messages": [USER, USER, message]}, param, code)


@pytest.mark.contract("3.messages")
@pytest.mark.parametrize(
    ("value", "code"),
    [([], "invalid_value"), ({}, "invalid_type"), ("hi", "invalid_type"), (1, "invalid_type")],
)
def test_messages_must_be_a_non_empty_array(value: Any, code: str) -> None:
    refused({"messages": value}, "messages", code)


@pytest.mark.contract("3.model")
@pytest.mark.parametrize("value", ["m", "meta-llama/Llama-3.1-8B", "ü😀", "a b", "m" * 256])
def test_a_model_is_any_decent_name(value: str) -> None:
    assert read(model=value).model == value


@pytest.mark.contract("3.model")
@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "invalid_value"),
        ("m" * 257, "invalid_value"),
        ("a\nb", "invalid_value"),
        ("\x00", "invalid_value"),
        ("a\x7f", "invalid_value"),
        ("a\x85", "invalid_value"),
        ("\ud800", "invalid_value"),
        ("a\udfff", "invalid_value"),
        (1, "invalid_type"),
        (True, "invalid_type"),
        (["m"], "invalid_type"),
        ({}, "invalid_type"),
    ],
)
def test_another_model_is_refused(value: Any, code: str) -> None:
    refused({"model": value}, "model", code)
