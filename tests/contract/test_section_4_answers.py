"""Section 4, a 2xx that is no answer: whatever stands in it instead of what was asked, the next target is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ogw_asgi.testing import (
    RawUpstream,
    Reply,
    ScriptedUpstream,
    answer,
    chat,
    error,
    http_head,
    raw,
    stream,
)

from .harness import gateway_of
from .streams import PRIOR, SSE, delta

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
DEEP = b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def plain(body: bytes, headers: Mapping[str, str] = JSON, status: int = 200) -> Reply:
    return raw(status, headers, [body] if body else [])


async def assert_moved_on(wrong: Any, *, streamed: bool) -> None:
    async with gateway_of(openai=ScriptedUpstream(wrong), azure=ScriptedUpstream(chat("Right"))) as world:
        reply = await world.post(stream=streamed)
        assert world.calls() == ["openai", "azure"]
    assert reply.status_code == 201
    assert "Right" in reply.text
    assert "wrong" not in reply.text
    assert reply.headers["x-opengateway-provider"] == "azure"
    assert reply.headers["x-opengateway-attempts"] == "2"


@pytest.mark.contract("4.next.invalid-answer", "B.any-invalid-answer")
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(plain(b""), id="empty"),
        pytest.param(plain(b"", status=204), id="204"),
        pytest.param(plain(b"   \n"), id="blank"),
        pytest.param(plain(b"<html>wrong</html>", {"content-type": "text/html"}), id="html"),
        pytest.param(plain(b"<html>wrong</html>"), id="html-called-json"),
        pytest.param(plain(b'{"choices":[{"message"'), id="truncated"),
        pytest.param(plain(b"wrong", {"content-type": "text/plain"}), id="text"),
        pytest.param(plain(b"{}"), id="no-members"),
        pytest.param(plain(b'{"choices":[]}'), id="no-choice"),
        pytest.param(plain(b'{"choices":null}'), id="choices-null"),
        pytest.param(plain(b'["wrong"]'), id="array"),
        pytest.param(plain(b"null"), id="null"),
        pytest.param(error(200, "wrong"), id="error-key"),
        pytest.param(plain(b'{"error":"wrong","choices":[{"index":0}]}'), id="error-beside-choices"),
        pytest.param(plain(b'{"object":"error","message":"wrong"}'), id="object-error"),
        pytest.param(plain(b'{"choices":[{"index":0,"finish_reason":"error"}]}'), id="finish-reason-error"),
        pytest.param(plain(DEEP), id="nested-100000-deep"),
        pytest.param(plain(b'{"choices":[{"index":' + b"9" * 5000 + b"}]}"), id="integer-of-5000-digits"),
        pytest.param(plain(b'{"choices":[{"x":NaN}]}'), id="nan"),
        pytest.param(plain(b'{"choices":[{"x":"\xff"}]}'), id="not-utf-8"),
        pytest.param(plain(b'{"choices":[{"x":"\\ud800"}]}'), id="lone-surrogate"),
        pytest.param(plain(b"\x1f\x8bwrong", {**JSON, "content-encoding": "gzip"}), id="compressed-unasked"),
    ],
)
async def test_a_plain_answer_that_is_none_moves_on(wrong: Reply) -> None:
    await assert_moved_on(wrong, streamed=False)


@pytest.mark.contract("4.next.sse-for-plain")
async def test_a_stream_for_a_plain_call_moves_on() -> None:
    await assert_moved_on(stream(["wrong"]), streamed=False)


@pytest.mark.contract("4.next.json-for-stream")
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(answer("wrong"), id="json"),
        pytest.param(error(200, "wrong"), id="error-as-json"),
        pytest.param(plain(b'{"choices":[]}', {"content-type": "application/json; charset=utf-8"}), id="parameters"),
        pytest.param(plain(b"<html>wrong</html>", {"content-type": "text/html"}), id="html"),
        pytest.param(plain(b"<html>wrong</html>", SSE), id="html-called-sse"),
        pytest.param(plain(b'{"choices":[{"message":{"content":"wrong"}}]}', SSE), id="json-called-sse"),
        pytest.param(plain(b'{"choices":[{"message":{"content":"wrong"}}]}', {}), id="no-content-type"),
    ],
)
async def test_anything_but_a_stream_for_a_streaming_call_moves_on(wrong: Reply) -> None:
    await assert_moved_on(wrong, streamed=True)


@pytest.mark.contract("4.next.empty-stream")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param([], id="nothing"),
        pytest.param([b"\n\n", b"data:\n\n", b"data: \n\n"], id="empty-data"),
        pytest.param([b": ping\n\n"], id="comments-only"),
        pytest.param([b"data: [DONE]\n\n"], id="done-only"),
        pytest.param([b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'], id="role-only"),
        pytest.param(
            [b'data: {"choices":[{"index":0,"delta":{"content":""}}]}\n\n', b"data: [DONE]\n\n"], id="empty-then-done"
        ),
        pytest.param([b'data: {"choices":[],"prompt_filter_results":[]}\n\n'], id="prompt-filter-only"),
        pytest.param([b"id: 1\nretry: 5\nevent: message\n\n"], id="other-fields-only"),
    ],
)
async def test_a_stream_that_ends_without_substance_moves_on(body: list[bytes | Any]) -> None:
    await assert_moved_on(raw(200, SSE, body), streamed=True)


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'


@pytest.mark.contract("4.next.error-event", "2.first-chunk.error-event")
@pytest.mark.parametrize("in_front", [[], [b": ping\n\n"], [ROLE]], ids=["first", "after-a-comment", "after-a-role"])
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(b'data: {"error":{"message":"wrong","type":"server_error","code":500}}', id="vllm"),
        pytest.param(
            b'data: {"error":{"object":"error","message":"wrong","type":"x","param":null,"code":400}}', id="sglang"
        ),
        pytest.param(b'data: {"error":"wrong"}', id="text"),
        pytest.param(b'data: {"object":"error","message":"wrong"}', id="object-error"),
        pytest.param(b'event: error\ndata: {"message":"wrong"}', id="named-error"),
        pytest.param(b"event: error\ndata:", id="named-error-without-data"),
        pytest.param(
            b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":502}}',
            id="openrouter",
        ),
        pytest.param(b'error: {"error":{"message":"wrong"}}', id="llama-cpp-of-old"),
        pytest.param(b"data: wrong", id="plain-text"),
        pytest.param(b"data: [1]", id="no-object"),
        pytest.param(b'data: {"choices":', id="half-json"),
        pytest.param(b'data: {"choices":"\xff"}', id="not-utf-8"),
    ],
)
async def test_an_error_before_the_first_chunk_moves_on_and_shows_nothing(event: bytes, in_front: list[bytes]) -> None:
    await assert_moved_on(raw(200, SSE, [*in_front, event + b"\n\n", b"data: [DONE]\n\n"]), streamed=True)


@pytest.mark.contract("4.next.error-event", "4.next.empty-stream")
async def test_what_was_held_of_a_failed_stream_never_reaches_the_caller() -> None:
    held = [b": wrong\n\n", ROLE.replace(b'"index"', b'"wrong":1,"index"')]
    await assert_moved_on(raw(200, SSE, [*held, b'data: {"error":{"message":"wrong"}}\n\n']), streamed=True)


@pytest.mark.contract("B.any-200-content-filter")
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_filtered_answer_is_a_success_and_relayed(streamed: bool) -> None:
    filtered = (
        stream(["Hel"], finish_reason="content_filter") if streamed else answer("", finish_reason="content_filter")
    )
    async with gateway_of(openai=ScriptedUpstream(filtered), azure=ScriptedUpstream()) as world:
        reply = await world.post(stream=streamed)
        assert world.calls() == ["openai"]
    assert reply.status_code == 201
    assert reply.content == b"".join(step for step in filtered.body if isinstance(step, bytes))


@pytest.mark.contract("B.any-200-content-filter")
async def test_a_stream_whose_first_substance_is_the_filter_is_a_success() -> None:
    filtered = stream([], finish_reason="content_filter", role_first=False)
    async with gateway_of(openai=ScriptedUpstream(filtered), azure=ScriptedUpstream()) as world:
        assert (await world.post(stream=True)).headers["x-opengateway-provider"] == "openai"


@pytest.mark.contract("4.next.invalid-answer")
async def test_a_plain_answer_without_a_content_type_but_with_blank_lines_in_front_is_one() -> None:
    whole = b"\n\n\n" + b"".join(step for step in answer("Hi").body if isinstance(step, bytes))
    async with gateway_of(openai=ScriptedUpstream(plain(whole, {})), azure=ScriptedUpstream()) as world:
        reply = await world.post()
        assert world.calls() == ["openai"]
    assert reply.content == whole
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.contract("4.next.invalid-answer")
async def test_bytes_after_an_answer_s_end_never_become_the_next_request_s_answer() -> None:
    good = b"".join(step for step in answer("one").body if isinstance(step, bytes))
    whole = http_head(200, {**JSON, "content-length": str(len(good))}) + good
    async with RawUpstream([whole + whole.replace(b"one", b"bad")], [whole.replace(b"one", b"two")]) as upstream:
        async with gateway_of(openai=upstream) as world:
            assert (await world.post()).json()["choices"][0]["message"]["content"] == "one"
            assert (await world.post()).json()["choices"][0]["message"]["content"] == "two"


@pytest.mark.contract("4.next.error-event")
async def test_an_error_after_the_first_chunk_does_not_move_on() -> None:
    late = raw(200, SSE, [PRIOR, delta("!"), b'data: {"error":{"message":"late"}}\n\n'])
    async with gateway_of(openai=ScriptedUpstream(late), azure=ScriptedUpstream()) as world:
        async with world.stream() as response:
            assert response.headers["x-opengateway-provider"] == "openai"
            assert response.headers["x-opengateway-attempts"] == "1"
        assert world.calls() == ["openai"]
