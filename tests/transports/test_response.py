"""What an engine makes of an answer: as it stood on the wire, or a failure that says how it broke."""

from __future__ import annotations

import gzip

import anyio
import pytest

from ogw_asgi.testing import (
    LAST_CHUNK,
    Fin,
    OnHead,
    RawScript,
    RawUpstream,
    Reset,
    Wait,
    chunked,
    http_head,
    http_response,
)
from ogw_asgi.transports.base import FailureKind, Transport, TransportFailure, UpstreamResponse
from ogw_asgi.transports.native import NativeTransport

from .engines import DIFFERENCES, ENGINES, HEAD_BYTES, OK, Difference, Engine, fetch, outcome, request_to

pytestmark = pytest.mark.anyio

CHUNKED = {"transfer-encoding": "chunked"}


@pytest.mark.parametrize("status", [200, 201, 202, 299, 300, 304, 400, 401, 418, 429, 451, 499, 500, 503, 529, 599])
async def test_any_status_is_given_as_it_is(transport: Transport, status: int) -> None:
    body = b"" if status == 304 else b"hello"
    with anyio.fail_after(5):
        async with RawUpstream([http_response(status, body)]) as server:
            seen = await fetch(transport, request_to(server.url))
    assert (seen.status, seen.body) == (status, body)


async def test_headers_keep_order_and_repetitions_and_their_names_are_lower_case(transport: Transport) -> None:
    headers = [("X-B", "1"), ("Set-Cookie", "a=1"), ("x-A", "\xe9"), ("SET-COOKIE", "b=2"), ("X-B", "2, 3")]
    with anyio.fail_after(5):
        async with RawUpstream([http_response(200, b"", headers)]) as server:
            seen = await fetch(transport, request_to(server.url))
    assert seen.headers == [
        (b"x-b", b"1"),
        (b"set-cookie", b"a=1"),
        (b"x-a", b"\xe9"),
        (b"set-cookie", b"b=2"),
        (b"x-b", b"2, 3"),
        (b"content-length", b"0"),
    ]


WHOLE: dict[str, tuple[RawScript, bytes]] = {
    "with a length": ([http_response(200, b"hello")], b"hello"),
    "in chunks": ([http_head(200, CHUNKED), chunked(b"he", b"llo"), LAST_CHUNK], b"hello"),
    "in chunks with extensions and a trailer": (
        [http_head(200, CHUNKED), b"5;a=b\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n"],
        b"hello",
    ),
    "until the connection ends": ([http_head(200), b"hello", Fin()], b"hello"),
    "empty until the connection ends": ([http_head(200), Fin()], b""),
    "one byte at a time": ([bytes([byte]) for byte in http_response(200, b"hello")], b"hello"),
    "after early hints and a continue": (
        [http_head(103, {"link": "</x>; rel=preload"}), http_head(100), http_head(102), OK],
        b"hello",
    ),
    "with no content": ([http_head(204)], b""),
}


@pytest.mark.parametrize(("script", "body"), WHOLE.values(), ids=WHOLE)
async def test_a_whole_body_arrives_dechunked(transport: Transport, script: RawScript, body: bytes) -> None:
    with anyio.fail_after(5):
        async with RawUpstream(script) as server:
            assert (await fetch(transport, request_to(server.url))).body == body


def in_two_pieces(first: anyio.Event) -> RawScript:
    """The second one, and the end with it, when `first` is set."""
    return [http_head(200, CHUNKED), chunked(b"one"), Wait(first), chunked(b"two", last=True)]


async def test_what_says_that_it_is_at_its_end_has_nothing_more_and_needs_not_be_waited_for(
    transport: Transport,
) -> None:
    waits = anyio.Event()
    with anyio.fail_after(5):
        async with RawUpstream(in_two_pieces(waits)) as server:
            response = await transport.open(request_to(server.url))
            chunks = response.chunks()
            assert not response.at_end
            assert await anext(chunks) == b"one"
            assert not response.at_end, "the server has more to say"
            waits.set()
            assert await anext(chunks) == b"two"
            said = response.at_end
            with pytest.raises(StopAsyncIteration):
                await anext(chunks)
            assert said == isinstance(transport, NativeTransport), "its last chunk and its end came in one piece"
            await response.aclose()


async def test_a_compressed_body_is_not_decoded(transport: Transport) -> None:
    packed = gzip.compress(b"hello" * 1000)
    answer = http_response(200, packed, {"content-encoding": "gzip"})
    with anyio.fail_after(5):
        async with RawUpstream([answer], [http_response(200, b"no gzip", {"content-encoding": "gzip"})]) as server:
            seen = await fetch(transport, request_to(server.url))
            assert seen.body == packed
            assert (b"content-encoding", b"gzip") in seen.headers
            assert (await fetch(transport, request_to(server.url))).body == b"no gzip"


async def test_chunks_are_handed_out_as_they_arrive(transport: Transport) -> None:
    read = anyio.Event()
    with anyio.fail_after(5):
        async with RawUpstream(in_two_pieces(read)) as server:
            response = await transport.open(request_to(server.url))
            chunks = response.chunks()
            assert await anext(chunks) == b"one"
            read.set()  # only now does the server go on
            assert [chunk async for chunk in chunks] == [b"two"]
            await response.aclose()


BEFORE_THE_HEAD: dict[str, tuple[RawScript, FailureKind]] = {
    "reset": ([Reset()], "reset"),
    "end": ([Fin()], "reset"),
    "reset within the head": ([b"HTTP/1.1 200 OK\r\nx: y", Reset()], "reset"),
    "end within the head": ([b"HTTP/1.1 200 OK\r\nx: y", Fin()], "reset"),
    "end after early hints": ([http_head(103), Fin()], "reset"),
    "garbage": ([b"SSH-2.0-OpenSSH_9.6\r\n\r\n"], "protocol"),
    "HTTP/0.9": ([b"<html>hello</html>\r\n\r\n", Fin()], "protocol"),
    "two lengths": ([http_head(200, [("content-length", "5"), ("content-length", "6")]), b"hello"], "protocol"),
    "a signed length": ([http_head(200, {"content-length": "+5"}), b"hello"], "protocol"),
    "a negative length": ([http_head(200, {"content-length": "-5"}), b"hello"], "protocol"),
    "a length of 30 digits": ([http_head(200, {"content-length": "9" * 30}), b"hello"], "protocol"),
    "an unknown transfer encoding": ([http_head(200, {"transfer-encoding": "xchunked"}), b"hello"], "protocol"),
    "NUL in a header": ([http_head(200, [("x", "a\0b")])], "protocol"),
    "a blank before the colon": ([b"HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello"], "protocol"),
    "a header without a colon": ([b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"], "protocol"),
    "a switch of protocols that nobody asked for": (
        [http_head(101, {"upgrade": "h2c", "connection": "upgrade"})],
        "protocol",
    ),
    "an endless header": ([b"HTTP/1.1 200 OK\r\nx: ", b"a" * (1 << 20), Fin()], "protocol"),
    "an endless list of headers": ([b"HTTP/1.1 200 OK\r\n", b"x: yyyyyyyyyy\r\n" * (1 << 16), Fin()], "protocol"),
    "a whole head over the limit": ([http_response(200, b"", {"x": "a" * HEAD_BYTES})], "protocol"),
}


@pytest.mark.parametrize(("script", "kind"), BEFORE_THE_HEAD.values(), ids=BEFORE_THE_HEAD)
async def test_no_head_is_a_failure_and_the_connection_is_closed(
    transport: Transport, script: RawScript, kind: FailureKind
) -> None:
    with anyio.fail_after(5):
        async with RawUpstream(script, [OK]) as server:
            assert await outcome(transport, request_to(server.url)) == kind
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")
            assert len(server.requests) == 2, "a fresh connection that fails is not asked again"
            assert server.reused == 0


async def test_a_head_below_the_limit_is_read(engine: Engine) -> None:
    transport = engine.make(head_bytes=1000)
    with anyio.fail_after(5):
        answers = [[http_response(200, b"", {"x": "a" * length})] for length in (900, 1100)]
        async with RawUpstream(*answers) as server:
            assert await outcome(transport, request_to(server.url)) == (200, b"")
            assert await outcome(transport, request_to(server.url)) == "protocol"
        await transport.aclose()


IN_THE_BODY: dict[str, RawScript] = {
    "reset in a chunked body": [http_head(200, CHUNKED), chunked(b"he"), Reset()],
    "reset in a body with a length": [http_head(200, {"content-length": "5"}), b"he", Reset()],
    "reset in a body without a length": [http_head(200), b"he", Reset()],
    "end in a chunked body": [http_head(200, CHUNKED), chunked(b"he"), Fin()],
    "end within a chunk": [http_head(200, CHUNKED), b"5\r\nhe", Fin()],
    "end before a declared length": [http_head(200, {"content-length": "5"}), b"he", Fin()],
    "no number as the length of a chunk": [http_head(200, CHUNKED), chunked(b"he"), b"zz\r\nllo\r\n"],
    "a chunk longer than it said": [http_head(200, CHUNKED), b"2\r\nhello\r\n"],
    "an endless chunk extension": [http_head(200, CHUNKED), chunked(b"he"), b"5;", b"a" * (1 << 20), Fin()],
    "endless trailers": [http_head(200, CHUNKED), chunked(b"he"), b"0\r\n", b"x: yyyy\r\n" * (1 << 17), Fin()],
}


@pytest.mark.parametrize("script", IN_THE_BODY.values(), ids=IN_THE_BODY)
async def test_a_body_that_breaks_gives_what_came_and_then_fails(transport: Transport, script: RawScript) -> None:
    received = b""

    async def read(response: UpstreamResponse) -> None:
        nonlocal received
        async for chunk in response.chunks():
            received += chunk

    with anyio.fail_after(5):
        async with RawUpstream(script, [OK]) as server:
            response = await transport.open(request_to(server.url))
            assert response.status == 200
            with pytest.raises(TransportFailure) as caught:
                await read(response)
            await response.aclose()
            assert caught.value.kind == "reset"
            # What stood in the same segment as an RST is lost with it, by the rules of TCP.
            assert b"he".startswith(received)
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")
            assert (len(server.requests), server.reused) == (2, 0)


@pytest.mark.parametrize("location", ["/there", "mailto:x", "http://[::1", "http://xn--99999999/"])
async def test_a_redirect_is_an_answer_like_others_wherever_it_leads(transport: Transport, location: str) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([http_response(303, b"there", {"location": location})]) as server:
            assert await outcome(transport, request_to(server.url)) == (303, b"there")


async def test_an_answer_before_the_upload_has_ended_is_read(transport: Transport) -> None:
    script: RawScript = [OnHead(), http_response(413, b"too large", {"connection": "close"})]
    with anyio.fail_after(5):
        async with RawUpstream(script) as server:
            assert await outcome(transport, request_to(server.url, body=b"x" * (4 << 20))) == (413, b"too large")


@pytest.mark.parametrize("difference", DIFFERENCES.values(), ids=DIFFERENCES)
async def test_where_engines_may_differ_they_do_as_the_table_says(
    engine_name: str, transport: Transport, difference: Difference
) -> None:
    assert set(difference.first) == set(ENGINES)
    with anyio.fail_after(5):
        async with RawUpstream([difference.answer], [http_response(200, b"own answer")]) as server:
            assert await outcome(transport, request_to(server.url)) == difference.first[engine_name]
            second = difference.second.get(engine_name, (200, b"own answer"))
            assert await outcome(transport, request_to(server.url)) == second
            assert await outcome(transport, request_to(server.url)) == (200, b"own answer")
