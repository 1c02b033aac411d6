"""Error envelopes, read and written: the bodies are real ones of the wire facts, sections 3 to 8."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import AttemptRecord, ProviderError
from ogw_asgi._wire.envelope import (
    READ_BYTES,
    interruption,
    read_error,
    read_error_value,
    render_error,
    without_null_error,
)
from ogw_asgi._wire.members import InvalidJSON
from ogw_asgi._wire.sse import Event, SSEDecoder

RATE = AttemptRecord("openai", "status", 429, "rate_limit_exceeded", 420, "gpt-4o")
SLOW = AttemptRecord("azure", "timeout", None, None, 5001, "prod")


@pytest.mark.contract("B.read-forms")
@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(
            b'{"error":{"message":"m","type":"invalid_request_error","param":"messages","code":"c"}}',
            ProviderError("m", "invalid_request_error", "messages", "c"),
            id="OpenAI",
        ),
        pytest.param(
            b'{"error":{"message":"filtered","type":null,"param":"prompt","code":"content_filter","status":400,'
            b'"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{}}}}',
            ProviderError("filtered", None, "prompt", "content_filter", "ResponsibleAIPolicyViolation"),
            id="Azure's filter",
        ),
        pytest.param(
            b'{"error":{"message":"m","inner_error":{"code":"X"}}}',
            ProviderError("m", inner_code="X"),
            id="inner_error",
        ),
        pytest.param(
            b'{"error":{"message":"m","innererror":"x","inner_error":{"code":null},"details":{"error_code":"limit"}}}',
            ProviderError("m", inner_code="limit"),
            id="Anthropic's details",
        ),
        pytest.param(
            b'{"statusCode":401,"message":"Unauthorized."}',
            ProviderError("Unauthorized.", code="401"),
            id="Azure, flat",
        ),
        pytest.param(b'{"error":"Unauthorized"}', ProviderError("Unauthorized"), id="vLLM's 401"),
        pytest.param(
            b'{"error":"Bad","message":"other","code":7}', ProviderError("Bad", code="7"), id="a string beside others"
        ),
        pytest.param(
            b'{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}',
            ProviderError("m", "BadRequestError", None, "400"),
            id="SGLang",
        ),
        pytest.param(
            b'{"object":"error","message":{"detail":[{"msg":"x"}]},"code":"1300","raw_status_code":422}',
            ProviderError('{"detail":[{"msg":"x"}]}', code="1300"),
            id="Mistral",
        ),
        pytest.param(b'{"detail":"Not Found"}', ProviderError("Not Found"), id="FastAPI"),
        pytest.param(
            '{"detail":[{"loc":["body"],"msg":"é"}]}'.encode(),
            ProviderError('[{"loc":["body"],"msg":"é"}]'),
            id="FastAPI's list",
        ),
        pytest.param(b'{"msg":"m","code":3.5}', ProviderError("m", code="3.5"), id="msg"),
        pytest.param(
            b'[{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}]',
            ProviderError("quota", code="429"),
            id="Gemini",
        ),
        pytest.param(b'{"error":[[{"message":"m"}]]}', ProviderError("m"), id="an error within arrays of one"),
        pytest.param(
            b'{"error":{"code":403,"message":"m","metadata":{"reasons":[]}}}',
            ProviderError("m", code="403", metadata=True),
            id="OpenRouter's moderation",
        ),
        pytest.param(
            b'{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"r"}',
            ProviderError("m", "overloaded_error"),
            id="Anthropic",
        ),
        pytest.param(b'{"error":{"code":"x"},"message":"m"}', ProviderError("m", code="x"), id="message outside"),
        pytest.param(b'{"error":true,"message":"m"}', ProviderError("m"), id="an error that is a flag"),
        pytest.param(b'{"error":{},"message":"m"}', ProviderError("m"), id="an empty error"),
        pytest.param(b'{"error":"","message":"m"}', ProviderError("m"), id="an empty string"),
        pytest.param(
            b'{"error":{"message":"","type":"","param":["a"],"code":true,"metadata":1}}',
            ProviderError(),
            id="nothing usable",
        ),
        pytest.param(b"{}", ProviderError(), id="an empty object"),
        pytest.param(b"null", ProviderError(), id="null"),
        pytest.param(b'"text"', ProviderError("text"), id="a JSON string"),
        pytest.param(b"[1,2]", ProviderError("[1,2]"), id="an array of two"),
        pytest.param(b'\xef\xbb\xbf\n{"error":"m"}', ProviderError("m"), id="a byte order mark and a blank line"),
        pytest.param(b'{"error":"\xff"}', ProviderError("\ufffd"), id="invalid UTF-8"),
    ],
)
def test_every_providers_shape_is_read(body: bytes, error: ProviderError) -> None:
    assert read_error(body) == error


@pytest.mark.contract("B.read-limit")
@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(b"", ProviderError(form="empty"), id="empty"),
        pytest.param(b" \r\n", ProviderError(form="empty"), id="blank"),
        pytest.param(b"<!DOCTYPE html><p>502", ProviderError(form="html"), id="HTML"),
        pytest.param(b"\n<?xml ?>", ProviderError(form="html"), id="XML"),
        pytest.param(b"upstream\n  error\x00", ProviderError("upstream error\x00", form="text"), id="text"),
        pytest.param(b'{"error":{"mess', ProviderError('{"error":{"mess', form="text"), id="cut JSON"),
        pytest.param(b"NaN", ProviderError("NaN", form="text"), id="NaN"),
        pytest.param(b"x" * 1000, ProviderError("x" * 500, form="text"), id="long text"),
    ],
)
def test_what_is_no_json_is_told_by_its_form(body: bytes, error: ProviderError) -> None:
    assert read_error(body) == error


@pytest.mark.contract("B.read-limit")
def test_only_the_first_64_kib_are_read() -> None:
    whole = json.dumps({"error": {"message": "x" * (READ_BYTES - 40), "code": "c"}}).encode()
    assert len(whole) <= READ_BYTES
    assert read_error(whole).code == "c"
    longer = read_error(whole.replace(b'"c"', b'"c' + b"c" * 64 + b'"'))
    assert (longer.form, longer.code, len(longer.message or "")) == ("text", None, 500)


def test_an_html_content_type_is_believed_of_all_that_is_no_json() -> None:
    assert read_error(b"Bad Gateway", html=True) == ProviderError(form="html")
    assert read_error(b"", html=True) == ProviderError(form="empty")
    assert read_error(b'{"error":"m"}', html=True) == ProviderError("m")


def test_names_of_any_length_are_shortened() -> None:
    error = read_error(json.dumps({"error": {"type": "t" * 999, "code": 10**999}}).encode())
    assert (error.type, error.code) == ("t" * 256, "1" + "0" * 255)


@pytest.mark.parametrize("depth", [10, 500, 900, 990, 20_000])
def test_a_message_nested_to_any_depth_never_raises(depth: int) -> None:
    body = b'{"message":' + b"[" * depth + b"]" * depth + b"}"
    assert read_error(body).form in {"json", "text"}


def test_a_message_too_deep_to_be_written_is_left_out() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep, None]
    assert read_error_value({"message": deep, "code": "c"}) == ProviderError(code="c")
    while isinstance(deep, list):  # taken apart by hand: what frees it, or shows it, may recurse as well
        deep = deep[0]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "detail", "msg", "code", "type", "param", "innererror", "metadata", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@pytest.mark.contract("B.read-limit")
@given(body=st.binary(max_size=200) | json_values.map(json.dumps).map(str.encode), html=st.booleans())
@settings(max_examples=200, deadline=None)
def test_reading_is_total_and_what_was_read_can_be_written(body: bytes, html: bool) -> None:
    error = read_error(body, html)
    for name in (error.type, error.param, error.code, error.inner_code):
        assert name is None or 0 < len(name) <= 256
    rendered = render_error(message=error.message or "", type="t", param=error.param, code=error.code)
    assert json.loads(rendered)["error"]["type"] == "t"


@pytest.mark.contract("6.envelope.shape")
def test_our_envelope_is_compact_and_error_is_its_only_key() -> None:
    assert (
        render_error(message="No", type="upstream_error", param=None, code="all_failed")
        == b'{"error":{"message":"No","type":"upstream_error","param":null,"code":"all_failed"}}'
    )


@pytest.mark.contract("6.envelope.attempts")
def test_the_attempts_stand_in_the_envelope_in_their_order_without_the_models() -> None:
    rendered = render_error(message="No", type="t", param="p", code=None, attempts=[SLOW, RATE])
    assert json.loads(rendered)["error"] == {
        "message": "No",
        "type": "t",
        "param": "p",
        "code": None,
        "attempts": [
            {"provider": "azure", "outcome": "timeout", "status": None, "code": None, "duration_ms": 5001},
            {
                "provider": "openai",
                "outcome": "status",
                "status": 429,
                "code": "rate_limit_exceeded",
                "duration_ms": 420,
            },
        ],
    }


@pytest.mark.parametrize("attempts", [None, []])
def test_without_attempts_the_envelope_has_no_such_key(attempts: list[AttemptRecord] | None) -> None:
    rendered = render_error(message="", type="t", param=None, code=None, attempts=attempts)
    assert "attempts" not in json.loads(rendered)["error"]


def test_lone_surrogates_are_replaced_rather_than_escaped_or_raised() -> None:
    bad = "a\ud800b"
    attempt = AttemptRecord("p", "status", 500, bad, 1, "m")
    rendered = render_error(message=bad, type=bad, param=bad, code=bad, attempts=[attempt])
    assert b"\\ud800" not in rendered
    error = json.loads(rendered)["error"]
    assert [error[key] for key in ("message", "type", "param", "code")] == ["a?b"] * 4
    assert error["attempts"][0]["code"] == "a?b"


@given(message=st.text(st.characters(codec=None)), param=st.none() | st.text(), code=st.none() | st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_becomes_one_line_of_ascii_with_strings_and_nulls(
    message: str, param: str | None, code: str | None
) -> None:
    rendered = render_error(message=message, type="t", param=param, code=code)
    assert rendered.isascii()
    assert not set(rendered) & set(b"\r\n")
    error = json.loads(rendered)["error"]
    assert isinstance(error["message"], str)
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.contract("5.error-event")
@pytest.mark.parametrize("attempts", [None, [RATE]])
def test_an_interruption_is_one_data_event_with_the_nested_envelope(attempts: list[AttemptRecord] | None) -> None:
    event = interruption("The provider's stream broke.\n", attempts=attempts)
    assert event.startswith(b'data: {"error":')
    (only,) = SSEDecoder(1 << 20).feed(event)
    assert isinstance(only, Event)
    error = json.loads(only.data)["error"]
    assert (error["type"], error["code"], error["param"]) == ("upstream_error", "stream_interrupted", None)
    assert ("attempts" in error) is (attempts is not None)


@given(
    members=st.lists(
        st.tuples(st.sampled_from(["error", "id", "n"]), st.sampled_from(["null", "1.50", '"x"', '{"error":null}'])),
        max_size=6,
    ),
    blank=st.sampled_from(["", " ", "\n\t"]),
)
@settings(max_examples=200, deadline=None)
def test_cutting_null_errors_leaves_every_other_member_as_it_was(members: list[tuple[str, str]], blank: str) -> None:
    def write(pairs: list[tuple[str, str]]) -> str:
        return "{" + ("," + blank).join(f'"{key}"{blank}:{value}' for key, value in pairs) + "}"

    kept = [pair for pair in members if pair != ("error", "null")]
    if len(kept) < len(members) and any(key == "error" for key, _ in kept):
        with pytest.raises(InvalidJSON):
            without_null_error(write(members))
        return
    assert without_null_error(blank + write(members) + blank) == blank + write(kept) + blank


@pytest.mark.parametrize(
    "text",
    [
        '{"error":{"message":"no"},"error":null,"id":1}',
        '{"error":null,"\\u0065rror":"no"}',
        '{"\\u0065rror":null,"error":{"message":"no"}}',
    ],
)
def test_cutting_a_null_error_never_brings_another_one_to_light(text: str) -> None:
    """A parser takes the last of them, so with the null gone the one before it would count."""
    with pytest.raises(InvalidJSON):
        without_null_error(text)


def test_many_null_errors_are_cut_in_one_pass() -> None:
    assert without_null_error('{"id":1' + ',"error":null' * 9_000 + "}") == '{"id":1}'


def test_cutting_refuses_what_is_no_object() -> None:
    with pytest.raises(InvalidJSON):
        without_null_error("[]")
