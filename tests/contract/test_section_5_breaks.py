"""Every way in which a stream can break after its first chunk, and what the caller sees of it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from ogw_asgi import Gateway, Limits, OpenAI, Timeouts
from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    Fin,
    Hang,
    RawScript,
    RawUpstream,
    Reset,
    ScriptedUpstream,
    SharedEvent,
    Wait,
    chunked,
    completion_chunk,
    http_head,
    serve,
    sse_event,
)

from .harness import gateway_of, key_of
from .streams import (
    CHUNKED_HEAD,
    PRIOR,
    SSE,
    assert_break_event,
    assert_broken,
    assert_one_warning,
    delta,
    finish,
    read_stream,
)

pytestmark = pytest.mark.anyio

HALF = delta("half of an event")[:-20]
GOES_ON = delta(" and on") + finish() + SSE_DONE


def said(error: Any, **more: Any) -> bytes:
    return sse_event({"error": error, **more})


CUT: dict[str, tuple[list[Any], str]] = {
    "FIN at an event boundary, chunked": ([CHUNKED_HEAD, chunked(PRIOR), Fin()], "reset"),
    "FIN in mid-event, chunked": ([CHUNKED_HEAD, chunked(PRIOR + HALF), Fin()], "reset"),
    "FIN under the content-length": ([http_head(200, {**SSE, "content-length": "9999"}), PRIOR + HALF, Fin()], "reset"),
    "FIN of a close-delimited body": ([http_head(200, SSE), PRIOR, Fin()], "incomplete"),
    "FIN in mid-event of a close-delimited body": ([http_head(200, SSE), PRIOR + HALF, Fin()], "not_json"),
    "a clean end in mid-sentence": ([CHUNKED_HEAD, chunked(PRIOR, last=True)], "incomplete"),
    "garbage for a chunk head": ([CHUNKED_HEAD, chunked(PRIOR), b"zz\r\nboo\r\n"], "reset"),
}


@pytest.mark.contract("5.break.reset", "5.break.clean-end", "5.error-event", "5.no-done-after-break", "5.unterminated")
@pytest.mark.contract("5.warning", "5.never-raises", "5.nothing-resent")
@pytest.mark.parametrize(("script", "cause"), CUT.values(), ids=CUT)
async def test_a_stream_that_is_cut_ends_visibly(
    script: list[Any], cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawUpstream(script) as upstream:
        async with gateway_of(openai=upstream, azure=ScriptedUpstream()) as world:
            got = await read_stream(world)
            assert world.calls() == ["openai"]
    message = assert_broken(got)
    assert message == f"The stream of openai was interrupted ({cause.replace('_', ' ')})."
    assert_one_warning(caplog, cause)


@pytest.mark.contract("5.break.reset")
@pytest.mark.parametrize("tail", [b"", HALF], ids=["at a boundary", "in mid-event"])
async def test_a_reset_breaks_the_stream_where_it_is(tail: bytes, caplog: pytest.LogCaptureFixture) -> None:
    # A reset may overtake what was sent before it, so it waits until the caller has the events.
    gate = SharedEvent()
    async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR + tail), Wait(gate), Reset()]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world, gate=gate)
    assert_broken(got)
    assert_one_warning(caplog, "reset")


@pytest.mark.contract("5.break.idle")
@pytest.mark.parametrize("held", [b"", HALF], ids=["silence", "half an event"])
async def test_silence_breaks_the_stream_and_closes_the_provider(held: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR + held), Hang()]) as upstream:
        async with gateway_of(openai=upstream, timeouts=Timeouts(idle_s=0.1)) as world:
            got = await read_stream(world)
            await upstream.peer_closed(1)
    assert_broken(got)
    assert_one_warning(caplog, "idle")


ERRORS: dict[str, tuple[bytes, str]] = {
    "OpenAI": (said({"message": "The server had an error", "type": "server_error"}), "The server had an error"),
    "vLLM": (
        said({"message": "engine died", "type": "InternalServerError", "param": None, "code": 500}),
        "engine died",
    ),
    "SGLang": (said({"object": "error", "message": "no memory", "type": "X", "param": None, "code": 500}), "no memory"),
    "SGLang, flat": (sse_event({"object": "error", "message": "flat", "type": "X", "code": 500}), "flat"),
    "llama.cpp": (said({"code": 500, "message": "context full", "type": "server_error"}), "context full"),
    "LM Studio": (said("plain text"), "plain text"),
    "OpenRouter": (
        said(
            {"code": 502, "message": "upstream gone"},
            id="x",
            choices=[{"index": 0, "delta": {}, "finish_reason": "error"}],
        ),
        "upstream gone",
    ),
    "Responses-style": (b'event: error\ndata: {"type":"error","error":{"message":"named"}}\n\n', "named"),
    "Responses-style, flat": (b'event: error\ndata: {"message":"flat and named","code":"x"}\n\n', "flat and named"),
    "a named event without words": (b"event: error\ndata:\n\n", ""),
}


@pytest.mark.contract("5.break.error-event", "5.no-done-after-break", "5.unterminated", "5.error-event")
@pytest.mark.parametrize(("event", "words"), ERRORS.values(), ids=ERRORS)
async def test_an_error_event_is_shown_and_the_done_behind_it_withheld(
    event: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR), chunked(event + SSE_DONE, last=True)]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    message = assert_broken(got)
    assert message.startswith("The stream of openai was interrupted (error event).")
    assert message.endswith(words)
    assert_one_warning(caplog, "error_event")


@pytest.mark.contract("5.break.error-event")
async def test_an_error_event_that_echoes_our_key_or_url_is_masked() -> None:
    url = "http://openai.test/v1"
    event = said({"message": f"{key_of('openai')} was refused at {url}/chat/completions"})
    reply = [CHUNKED_HEAD, chunked(PRIOR + event, last=True)]
    async with RawUpstream(reply) as upstream:
        provider = OpenAI(base_url=upstream.url, api_key=key_of("openai"))
        async with gateway_of(given=provider) as world:
            got = await read_stream(world)
    message = assert_broken(got)
    assert key_of("openai") not in message
    assert upstream.url not in message


DAMAGED: dict[str, bytes] = {
    "invalid UTF-8": b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n',
    "surrogate bytes": b'data: {"choices":[{"index":0,"delta":{"content":"\xed\xa0\x80"}}]}\n\n',
    "half JSON": b'data: {"choices":[{"index":0,"delta":{"content":"ha\n\n',
    "plain text": b"data: upstream timed out\n\n",
    "an array": b"data: []\n\n",
    "a number": b"data: 1\n\n",
    "HTML": b"data: <html>\n\n",
}


@pytest.mark.contract("5.break.utf8", "5.break.not-object", "5.no-done-after-break")
@pytest.mark.parametrize("event", DAMAGED.values(), ids=DAMAGED)
async def test_a_data_event_that_is_no_json_object_breaks_the_stream(
    event: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR), chunked(event + GOES_ON, last=True)]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert_broken(got)
    assert_one_warning(caplog, "not_json")


WHOLE = delta("two {braces}").removesuffix(b"\n\n")
HALVES = [WHOLE[: at + 1] for at in range(len(WHOLE) - 1) if WHOLE[at : at + 1] == b"}"]


@pytest.mark.contract("5.break.clean-end", "5.break.not-object")
@pytest.mark.parametrize("half", HALVES, ids=lambda half: f"{len(half)} bytes")
@pytest.mark.parametrize("framing", ["chunks", "length", "end"])
async def test_half_an_event_before_a_clean_end_is_no_event_though_it_ends_with_a_brace(
    half: bytes, framing: str
) -> None:
    whole = PRIOR + half
    scripts: dict[str, RawScript] = {
        "chunks": [CHUNKED_HEAD, chunked(whole, last=True)],
        "length": [http_head(200, {"content-type": "text/event-stream", "content-length": str(len(whole))}), whole],
        "end": [http_head(200, {"content-type": "text/event-stream"}), whole, Fin()],
    }
    async with RawUpstream(scripts[framing]) as upstream, gateway_of(openai=upstream) as world:
        assert_broken(await read_stream(world))


@pytest.mark.contract("5.complete.finish-reason")
async def test_a_last_event_without_its_blank_line_is_an_event() -> None:
    last = finish().removesuffix(b"\n\n")
    async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR + last, last=True)]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert (got.body, got.ended) == (PRIOR + finish() + SSE_DONE, True)


@pytest.mark.contract("5.break.utf8")
async def test_a_character_that_the_network_has_split_is_whole_again() -> None:
    event = delta("wörld 🌍")
    at = event.index("🌍".encode()) + 2
    parts = [chunked(PRIOR + event[:at]), chunked(event[at:] + finish() + SSE_DONE, last=True)]
    async with RawUpstream([CHUNKED_HEAD, *parts]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert (got.body, got.ended) == (PRIOR + event + finish() + SSE_DONE, True)


@pytest.mark.contract("5.error-event")
@pytest.mark.parametrize(
    ("limits", "event", "cause"),
    [
        (Limits(upstream_event_bytes=2000), b"data: " + b"x" * 3000, "event_too_large"),
        (Limits(upstream_event_bytes=2000), b"data:\n" * 400, "event_too_large"),
        (Limits(upstream_stream_bytes=3000), delta("x" * 3000), "too_long"),
    ],
    ids=["a line without end", "lines without end", "a stream without end"],
)
@pytest.mark.parametrize("together", [True, False], ids=["with what was good", "after what was good"])
async def test_what_grows_without_end_is_cut_visibly(
    limits: Limits, event: bytes, cause: str, together: bool, caplog: pytest.LogCaptureFixture
) -> None:
    body = [chunked(PRIOR + event)] if together else [chunked(PRIOR), chunked(event)]
    async with RawUpstream([CHUNKED_HEAD, *body, Hang()]) as upstream:
        async with gateway_of(openai=upstream, limits=limits) as world:
            got = await read_stream(world)
            await upstream.peer_closed(1)
    assert_broken(got)
    assert_one_warning(caplog, cause)


# --- on the wire ------------------------------------------------------------------------------------------------------


async def everything(stream: SocketStream) -> bytes:
    data = bytearray()
    try:
        while True:
            data += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return bytes(data)


@pytest.mark.contract("5.unterminated", "5.never-raises", "5.error-event")
@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_server_leaves_the_body_without_its_end_and_logs_no_traceback(
    http: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
    head = (
        b"POST /chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    with anyio.fail_after(10):
        async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR, last=True)]) as upstream:
            gateway = Gateway(providers=[OpenAI(api_key="sk-c4n4ry-test", base_url=f"{upstream.url}/v1")])
            async with serve(gateway, http=http) as url:
                port = int(url.rpartition(":")[2])
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(head % len(body) + body)
                    answer = await everything(stream)
    sent_head, _, sent = answer.partition(b"\r\n\r\n")
    assert sent_head.startswith(b"HTTP/1.1 201 ")
    assert b"transfer-encoding: chunked" in sent_head.lower()
    assert not sent.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in sent
    events = dechunked(sent)
    assert events.startswith(PRIOR)
    assert_break_event(events[len(PRIOR) :])
    assert not [record for record in caplog.records if record.exc_info or "Exception" in record.getMessage()]
    assert_one_warning(caplog, "incomplete")


def dechunked(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        whole, data = whole + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return whole


# --- framing ----------------------------------------------------------------------------------------------------------

PAYLOAD = b'{"id" : "x", "choices":[ {"index":0,"delta":{"content":"h\\u00e4 \xc3\xa4 1.0"}} ],"x":1E2}'
FRAMED: dict[str, bytes] = {
    "canonical": b"data: " + PAYLOAD + b"\n\n",
    "CRLF": b"data: " + PAYLOAD + b"\r\n\r\n",
    "CR": b"data: " + PAYLOAD + b"\r\r",
    "no blank": b"data:" + PAYLOAD + b"\n\n",
    "other fields": b"id: 7\nretry: 10\nevent: message\ndata: " + PAYLOAD + b"\n\n",
    "empty data": b"data:\n\ndata: \n\nevent: ping\n\ndata: " + PAYLOAD + b"\n\n",
    "many blank lines": b"\n\n\n\ndata: " + PAYLOAD + b"\n\n\n\n",
    "null error": b'data: {"error" : null, ' + PAYLOAD[1:] + b"\n\n",
}


@pytest.mark.contract("5.frame.payload", "5.frame.normalised", "5.frame.no-other-fields", "5.frame.error-null")
@pytest.mark.parametrize("framed", FRAMED.values(), ids=FRAMED)
@pytest.mark.parametrize("first", [True, False], ids=["as the first chunk", "later"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
async def test_framing_is_put_right_and_the_payload_left_alone(framed: bytes, first: bool, bom: bytes) -> None:
    before = b"" if first else PRIOR
    body = bom + before + framed + finish() + SSE_DONE
    pieces = [chunked(body[at : at + 7]) for at in range(0, len(body), 7)]
    async with RawUpstream([CHUNKED_HEAD, *pieces, LAST_CHUNK]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert (got.body, got.ended) == (before + b"data: " + PAYLOAD + b"\n\n" + finish() + SSE_DONE, True)


@pytest.mark.contract("5.frame.normalised")
async def test_data_over_several_lines_becomes_one_line_that_means_the_same() -> None:
    event = b'data: {"choices":\ndata: [{"index":0,"delta":\ndata: {"content":"a"}}]}\n\n'
    async with RawUpstream([CHUNKED_HEAD, chunked(event + finish() + SSE_DONE, last=True)]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    one_line = b'data: {"choices": [{"index":0,"delta": {"content":"a"}}]}\n\n'
    assert got.body == one_line + finish() + SSE_DONE


@pytest.mark.contract("5.frame.no-other-fields")
async def test_comments_go_on_to_the_caller_and_break_no_client() -> None:
    chatter = b": keep-alive\n\n:\n\n: \xff\n\n"
    async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR + chatter + finish() + SSE_DONE, last=True)]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert got.body == PRIOR + b": keep-alive\n\n:\n\n: \xef\xbf\xbd\n\n" + finish() + SSE_DONE


@pytest.mark.contract("5.frame.payload")
async def test_a_word_that_only_looks_like_an_error_is_relayed() -> None:
    chunk = completion_chunk({"content": 'she said "error" and "finish_reason": "stop"'})
    event = sse_event({**chunk, "note": {"error": "inside"}})
    async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR + event + finish() + SSE_DONE, last=True)]) as upstream:
        async with gateway_of(openai=upstream) as world:
            got = await read_stream(world)
    assert (got.body, got.ended) == (PRIOR + event + finish() + SSE_DONE, True)
