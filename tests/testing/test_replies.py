"""What the scripted provider says, byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    Break,
    Hang,
    Reply,
    SharedEvent,
    Wait,
    answer,
    chunked,
    error,
    hang,
    hold,
    http_head,
    http_response,
    raw,
    sse_event,
    stream,
    tokens,
)


def events(reply: Reply) -> list[Any]:
    data = [step.removeprefix(b"data: ").removesuffix(b"\n\n") for step in reply.body if isinstance(step, bytes)]
    return [item.decode() if item == b"[DONE]" else json.loads(item) for item in data]


def only_json(reply: Reply) -> Any:
    (body,) = reply.body
    assert isinstance(body, bytes)
    assert dict(reply.headers)[b"content-length"] == str(len(body)).encode()
    return json.loads(body)


def test_an_answer_is_a_whole_completion_with_usage_and_a_true_length() -> None:
    completion = only_json(answer("Grüße", model="m", usage=tokens(1, 2)))
    assert completion["object"] == "chat.completion"
    assert completion["model"] == "m"
    assert completion["choices"][0]["message"] == {"role": "assistant", "content": "Grüße", "refusal": None}
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert completion["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_an_answer_with_tool_calls_finishes_because_of_them() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = only_json(answer(None, tool_calls=[call]))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [call]
    assert choice["message"]["content"] is None


def test_a_stream_is_role_contents_finish_and_done() -> None:
    *chunks, done = events(stream(["Hel", "lo"]))
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]


def test_without_role_first_the_first_content_carries_the_role() -> None:
    first, second, *_ = events(stream(["a", "b"], role_first=False))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "a"}
    assert second["choices"][0]["delta"] == {"content": "b"}


def test_usage_comes_as_an_event_of_its_own_before_done() -> None:
    *_, finish, usage, done = events(stream(["a"], usage=tokens(3, 4), finish_reason="length"))
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 7
    assert done == "[DONE]"


def test_a_stream_can_lack_its_end() -> None:
    assert len(events(stream(["a"], finish_reason=None, done=False, role_first=False))) == 1


def test_pieces_may_be_events_bytes_and_steps_and_a_gate_stands_behind_the_first() -> None:
    gate = SharedEvent()
    reply = stream(
        ["a", {"error": {"message": "x"}}, b": ping\n\n", Break()],
        gate=gate,
        role_first=False,
        finish_reason=None,
        done=False,
    )
    assert reply.body[1:] == (Wait(gate), b'data: {"error":{"message":"x"}}\n\n', b": ping\n\n", Break())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(500), "server_error"),
        (error(429), "invalid_request_error"),
        (error(429, type="requests"), "requests"),
    ],
)
def test_an_error_has_the_envelope_of_openai(reply: Reply, kind: str) -> None:
    assert only_json(reply) == {
        "error": {"message": "scripted error", "type": kind, "param": None, "code": None},
    }


def test_an_error_takes_every_field_and_further_headers() -> None:
    reply = error(429, "slow down", code="rate_limit_exceeded", param="model", headers={"Retry-After": "7"})
    assert reply.status == 429
    assert (b"retry-after", b"7") in reply.headers
    assert only_json(reply)["error"]["code"] == "rate_limit_exceeded"
    assert only_json(reply)["error"]["param"] == "model"


def test_a_given_header_replaces_the_default_of_its_name() -> None:
    reply = stream(["a"], headers={"Content-Type": "text/html"})
    assert reply.headers == ((b"content-type", b"text/html"),)


def test_raw_adds_nothing() -> None:
    reply = raw(207, [("X-A", "1"), (b"x-a", b"\xff")], [b"a", b"", b"b"])
    assert reply == Reply(207, ((b"x-a", b"1"), (b"x-a", b"\xff")), (b"a", b"", b"b"))


def test_hang_and_hold_act_before_the_head_or_before_the_body() -> None:
    gate = SharedEvent()
    assert hang().before_head == (Hang(),)
    assert hang(before="body").body == (Hang(),)
    held = hold(hang(), until=gate)
    assert isinstance(held, Reply)
    assert held.before_head == (Wait(gate), Hang())


@pytest.mark.parametrize(
    ("made", "wire"),
    [
        (http_head(200, {"A": "b"}), b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
        (http_head(599), b"HTTP/1.1 599 \r\n\r\n"),
        (http_head(200, reason="Fine"), b"HTTP/1.1 200 Fine\r\n\r\n"),
        (http_response(404, b"no"), b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"),
        (chunked(b"a" * 26), b"1a\r\n" + b"a" * 26 + b"\r\n"),
        (chunked(b"a", b"", b"b", last=True), b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
        (chunked(last=True), LAST_CHUNK),
        (sse_event({"a": "ü"}), 'data: {"a":"ü"}\n\n'.encode()),
        (sse_event("[DONE]"), SSE_DONE),
    ],
)
def test_helpers_build_exactly_these_bytes(made: bytes, wire: bytes) -> None:
    assert made == wire
