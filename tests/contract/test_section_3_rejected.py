"""Section 3: bodies that are refused before any provider is called."""

from __future__ import annotations

import json

import pytest

from ogw_asgi import Limits
from ogw_asgi.testing import ScriptedUpstream, chat

from .checks import refusal
from .harness import gateway_of

pytestmark = pytest.mark.anyio

GOOD = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
MODEL = b'"model":"m"'
MESSAGES = b'"messages":[{"role":"user","content":"Hi"}]'


def each(bodies: list[bytes], *ids: str) -> list[object]:
    return [pytest.param(body, marks=pytest.mark.contract(*ids), id=repr(body[:30])) for body in bodies]


def body(*members: bytes) -> bytes:
    return b"{" + b",".join(members) + b"}"


NO_UTF8 = [
    GOOD.replace(b"Hi", b"\xff"),
    GOOD.replace(b"Hi", b"\xc3"),
    GOOD.replace(b"Hi", b"\xed\xa0\x80"),
    GOOD.replace(b"Hi", b"\xc0\x80"),
    GOOD.decode().encode("utf-16"),
]
NO_JSON = [
    b"",
    b" ",
    b"{",
    b"hello",
    GOOD[:-1],
    GOOD + b"}",
    GOOD + GOOD,
    body(MODEL, MESSAGES, b""),
    body(b"model:'m'", MESSAGES),
    body(MODEL, MESSAGES, b'"x":01'),
    body(MODEL, MESSAGES, b'"x":"a\nb"'),
    body(MODEL, MESSAGES, b'"x":tru'),
    b"\xef\xbb\xbf" + GOOD,
]
NO_OBJECT = [b"[]", b"[" + GOOD + b"]", b"null", b'"{}"', b"7"]
DUPLICATES = [
    body(MODEL, MESSAGES, MODEL),
    body(MODEL, MESSAGES, b'"m\\u006fdel":"other"'),
    body(b'"stream":false', MODEL, MESSAGES, b'"stream":true'),
]
NO_NUMBERS = [
    body(MODEL, MESSAGES, b'"temperature":NaN'),
    body(MODEL, MESSAGES, b'"x":Infinity'),
    body(MODEL, MESSAGES, b'"x":[{"y":-Infinity}]'),
    body(MODEL, MESSAGES, b'"x":1e999'),
]


@pytest.mark.parametrize(
    "content",
    [
        *each(NO_UTF8, "3.reject.utf8"),
        *each(NO_JSON, "3.reject.not-json"),
        *each(NO_OBJECT, "3.reject.not-object"),
        *each(DUPLICATES, "3.reject.duplicate"),
        *each(NO_NUMBERS, "3.reject.nan"),
    ],
)
async def test_such_a_body_is_a_400_and_no_provider_is_called(content: bytes) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        error = refusal(await world.post(content=content))
        assert error["type"] == "invalid_request_error"
        assert world.calls() == []


@pytest.mark.contract("3.reject.duplicate")
async def test_the_refusal_of_a_duplicate_names_it() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        assert refusal(await world.post(content=DUPLICATES[2]))["param"] == "stream"


def nested(depth: int, opening: bytes, closing: bytes, inner: bytes = b"") -> bytes:
    """A body whose deepest value lies that deep, the object of the body itself counted."""
    value = opening * (depth - 1) + inner + closing * (depth - 1)
    return body(MODEL, MESSAGES, b'"x":' + value)


@pytest.mark.contract("3.reject.depth", "8.structure-limit")
@pytest.mark.parametrize(("opening", "closing", "inner"), [(b"[", b"]", b""), (b'{"a":', b"}", b"1")])
@pytest.mark.parametrize(("depth", "status"), [(128, 201), (129, 400), (10_000, 400), (400_000, 400)])
async def test_a_body_may_be_nested_128_deep(
    depth: int, status: int, opening: bytes, closing: bytes, inner: bytes
) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        reply = await world.post(content=nested(depth, opening, closing, inner))
        assert reply.status_code == status
        assert world.calls() == (["openai"] if status == 201 else [])


@pytest.mark.contract("3.reject.depth", "8.structure-limit")
async def test_what_a_string_holds_counts_where_it_is_sent_on_as_json() -> None:
    held = json.dumps('{"x":' + "[" * 128 + "]" * 128 + "}").encode()
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        error = refusal(await world.post(content=body(MODEL, MESSAGES, b'"stream_options":' + held)))
        assert error["code"] == "body_too_complex"
        assert world.calls() == []


@pytest.mark.contract("3.reject.depth")
async def test_brackets_in_text_are_no_nesting() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        assert (await world.post(content=GOOD.replace(b"Hi", b"[{" * 500 + b'\\"['))).status_code == 201


@pytest.mark.contract("1.too-large.declared", "8.body-limit")
async def test_a_body_over_a_configured_limit_is_a_413() -> None:
    limits = Limits(body_bytes=len(GOOD))
    async with gateway_of(openai=ScriptedUpstream(chat()), limits=limits) as world:
        assert (await world.post(content=GOOD)).status_code == 201
        assert refusal(await world.post(content=GOOD + b" "), 413)["code"] == "body_too_large"
        assert world.calls() == ["openai"]
