"""What an engine puts on the wire: what it was given, once, and nothing of its own."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import anyio
import pytest

from ogw_asgi._values import Header, UpstreamQuestion
from ogw_asgi.testing import RawUpstream, dead_port, http_response
from ogw_asgi.transports.base import Transport, TransportFailure

from .engines import BODY, HEADERS, OK, Engine, fetch, request_to

pytestmark = pytest.mark.anyio


def head_of(raw: bytes) -> tuple[bytes, list[Header]]:
    """The request line, and the headers in the order of the wire."""
    line, *fields = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = (field.split(b": ", 1) for field in fields)
    return line, [(name.lower(), value) for name, value in pairs]


@pytest.mark.parametrize(
    "body",
    [BODY, b"", b"\x00\xff\r\n\r\nPOST / HTTP/1.1\r\n\r\n" * 3, b"x" * (1 << 20)],
    ids=["json", "empty", "binary", "1 MiB"],
)
async def test_the_request_is_one_line_host_length_our_headers_and_the_body(transport: Transport, body: bytes) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            await fetch(transport, request_to(server.url, body=body))
    (request,) = server.requests
    line, headers = head_of(request.head)
    assert line == b"POST /v1/chat/completions HTTP/1.1"
    assert sorted(headers) == sorted(
        [*HEADERS, (b"host", b"127.0.0.1:%d" % server.port), (b"content-length", b"%d" % len(body))]
    )
    assert request.body == body


async def test_a_question_is_a_get_without_a_body_and_the_connection_serves_what_is_posted_next(
    transport: Transport,
) -> None:
    asked = [header for header in HEADERS if header[0] != b"content-type"]
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            url = f"{server.url}/v1/models?api-version=2024-10-21"
            question = UpstreamQuestion(url, asked, b"", 2.0)
            for request in (question, request_to(server.url), question):
                assert (await fetch(transport, request)).body == b"hello"
    first, posted, again = server.requests
    line, headers = head_of(first.head)
    assert line == b"GET /v1/models?api-version=2024-10-21 HTTP/1.1"
    assert sorted(headers) == sorted([*asked, (b"host", b"127.0.0.1:%d" % server.port)])
    assert (first.head, first.body) == (again.head, again.body) == (again.head, b"")
    assert head_of(posted.head)[0] == b"POST /v1/chat/completions HTTP/1.1"
    assert posted.body == BODY
    assert server.connections == 1


async def test_our_headers_keep_their_order_and_repetitions(transport: Transport) -> None:
    ours = [(b"via", b"1.1 ogw-a"), (b"x-z", b"1"), (b"via", b"1.1 ogw-b"), (b"x-a", b"2"), (b"x-z", b"\xfc 3")]
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            await fetch(transport, request_to(server.url, headers=ours))
    _, headers = head_of(server.requests[0].head)
    assert [header for header in headers if header[0] not in (b"host", b"content-length")] == ours


async def test_the_path_and_query_are_sent_as_written(transport: Transport) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            await fetch(transport, request_to(f"{server.url}/openai/deployments/a%2Fb~c"))
    assert head_of(server.requests[0].head)[0] == b"POST /openai/deployments/a%2Fb~c/v1/chat/completions HTTP/1.1"


async def test_cookies_are_not_sent_back(transport: Transport) -> None:
    cookies = [("set-cookie", "__cf_bm=abc; path=/"), ("set-cookie", "b=2")]
    with anyio.fail_after(5):
        async with RawUpstream([http_response(200, b"", cookies)]) as server:
            for _ in range(3):
                await fetch(transport, request_to(server.url))
    for request in server.requests:
        assert b"cookie" not in request.head.lower()


async def test_the_environment_names_no_proxy_and_no_password(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password netrc-secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    headers: list[Header] = [(b"content-type", b"application/json")]
    with dead_port() as nowhere, anyio.fail_after(5):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{nowhere}")
        transport = engine.make()
        async with RawUpstream([OK]) as server:
            assert (await fetch(transport, request_to(server.url, headers=headers))).status == 200
        await transport.aclose()
    assert b"authorization" not in server.requests[0].head.lower()


@pytest.mark.contract("4.no-redirects")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(transport: Transport, status: int) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([http_response(status, b"gone", {"location": "/elsewhere"})]) as server:
            seen = await fetch(transport, request_to(server.url))
    assert (seen.status, seen.body) == (status, b"gone")
    assert (b"location", b"/elsewhere") in seen.headers
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "value", [b"Bearer sk-c4n4ry-secret\n", b"Bearer sk-c4n4ry-secret\r\nx: y", b"Bearer sk-c4n4ry-secret\0"]
)
async def test_an_illegal_header_value_is_not_sent_and_not_told(
    transport: Transport, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            with pytest.raises(TransportFailure) as caught:
                await transport.open(request_to(server.url, headers=[(b"authorization", value)]))
    assert caught.value.kind == "protocol"
    assert server.requests == []
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "sk-c4n4ry-secret" not in told
    assert server.url not in told


FRAMING: list[Header] = [
    (b"content-length", b"3"),
    (b"Content-Length", b"3"),
    (b"transfer-encoding", b"chunked"),
    (b"host", b"evil.test"),
]


@pytest.mark.parametrize("header", FRAMING, ids=str)
async def test_a_header_that_is_the_engines_own_to_say_is_refused(transport: Transport, header: Header) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            with pytest.raises(TransportFailure, match="^protocol$"):
                await transport.open(request_to(server.url, headers=[*HEADERS, header]))
    assert server.requests == []
