"""Answers as ASGI messages: what stands in their heads, and what a refusal says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi import RequestRejected
from ogw_asgi._asgi.send import CallerGone, Reply, trail_headers
from ogw_asgi._values import AttemptRecord
from tests.asgi.hosts import http_scope

pytestmark = pytest.mark.anyio

RECORD = AttemptRecord("openai", "timeout", None, None, 5001, "gpt-4o")


class Server:
    def __init__(self, **scope: Any) -> None:
        self.sent: list[Any] = []
        self.reply = Reply(http_scope(**scope), self.send, "request-1")

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


@pytest.mark.contract("1.method.head", "6.json-type")
@pytest.mark.parametrize(("method", "body"), [("POST", b"{}"), ("HEAD", b"")])
async def test_the_answer_to_head_has_every_header_and_no_body(method: str, body: bytes) -> None:
    server = Server(method=method)
    await server.reply.json(200, b"{}")
    assert server.body == body
    assert server.headers[b"content-length"] == b"2"
    assert server.headers[b"content-type"] == b"application/json"
    assert server.headers[b"x-request-id"] == b"request-1"
    assert server.reply.status == 200


@pytest.mark.contract("6.sse-headers")
async def test_a_stream_has_a_head_that_proxies_leave_alone_and_an_end_of_its_own() -> None:
    server = Server()
    await server.reply.start_stream(201, [(b"x-a", b"1")])
    await server.reply.part(b"data: 1\n\n")
    assert server.sent[-1]["more_body"] is True
    await server.reply.end_stream()
    assert server.headers == {
        b"content-type": b"text/event-stream",
        b"cache-control": b"no-cache, no-transform",
        b"x-accel-buffering": b"no",
        b"x-request-id": b"request-1",
        b"x-a": b"1",
    }
    assert server.sent[-1].get("more_body", False) is False
    assert server.body == b"data: 1\n\n"


async def test_an_empty_answer_has_no_body_and_no_type() -> None:
    server = Server()
    await server.reply.empty(204, [(b"allow", b"POST")])
    assert (server.sent[0]["status"], server.body) == (204, b"")
    assert server.headers == {b"x-request-id": b"request-1", b"allow": b"POST"}


@pytest.mark.parametrize(
    ("version", "close", "present"),
    [("1.1", True, True), ("1.0", True, True), ("2", True, False), ("3", True, False), ("1.1", False, False)],
)
async def test_a_connection_whose_body_is_unread_is_closed_on_http_1_alone(
    version: str, close: bool, present: bool
) -> None:
    server = Server(http_version=version)
    await server.reply.refuse(RequestRejected(413, "too large", close=close))
    assert (b"connection" in server.headers) == present


@pytest.mark.contract("6.retry-after.range", "6.retry-after.ms", "C.sent")
@pytest.mark.parametrize(
    ("after_s", "seconds", "milliseconds"),
    [
        (1, b"1", b"1000"),
        (0.25, b"1", b"250"),
        (1.2, b"2", b"1200"),
        (1.0001, b"2", b"1001"),
        (59.5, b"60", b"59500"),
        (60, b"60", b"60000"),
        (61, b"60", b"60000"),
        (86_400, b"60", b"60000"),
        (0, b"1", b"1"),
        (-5, b"1", b"1"),
        (None, None, None),
    ],
)
async def test_retry_after_is_rounded_up_and_stays_within_a_minute(
    after_s: float | None, seconds: bytes | None, milliseconds: bytes | None
) -> None:
    server = Server()
    await server.reply.refuse(RequestRejected(503, "later", retry_after_s=after_s))
    assert server.headers.get(b"retry-after") == seconds
    assert server.headers.get(b"retry-after-ms") == milliseconds


@pytest.mark.contract("6.envelope.should-retry")
@pytest.mark.parametrize(("should", "header"), [(False, b"false"), (True, b"true"), (None, None)])
async def test_should_retry_is_said_only_when_it_is_known(should: bool | None, header: bytes | None) -> None:
    server = Server()
    await server.reply.refuse(RequestRejected(503, "later", should_retry=should))
    assert server.headers.get(b"x-should-retry") == header


@pytest.mark.contract("6.envelope.shape", "6.envelope.attempts", "6.envelope.request-id")
async def test_a_refusal_is_openais_envelope_with_the_trail() -> None:
    server = Server()
    refusal = RequestRejected(502, "all failed", type="upstream_error", code="all_failed", param=None)
    await server.reply.refuse(refusal, trail_headers([RECORD], 1, None), [RECORD])
    attempt = {"provider": "openai", "outcome": "timeout", "status": None, "code": None, "duration_ms": 5001}
    assert json.loads(server.body) == {
        "error": {
            "message": "all failed",
            "type": "upstream_error",
            "param": None,
            "code": "all_failed",
            "attempts": [attempt],
        }
    }
    assert server.headers[b"x-opengateway-attempts"] == b"1"
    assert server.headers[b"server-timing"] == b'openai;dur=5001;desc="timeout"'
    assert server.headers[b"x-request-id"] == b"request-1"
    assert b"x-opengateway-provider" not in server.headers


@pytest.mark.parametrize(
    ("refusal", "header", "value"),
    [
        (RequestRejected(401, "who?"), b"www-authenticate", b"Bearer"),
        (RequestRejected(405, "how?", allow="POST, OPTIONS"), b"allow", b"POST, OPTIONS"),
    ],
)
async def test_a_refusal_says_what_would_help(refusal: RequestRejected, header: bytes, value: bytes) -> None:
    server = Server()
    await server.reply.refuse(refusal)
    assert server.headers[header] == value
    assert "attempts" not in json.loads(server.body)["error"]


def test_without_an_attempt_there_is_no_trail() -> None:
    assert trail_headers([], 0, None) == []


@pytest.mark.contract("4.caller-gone.send")
@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("closed"), ValueError("anything")])
async def test_whatever_send_raises_means_that_the_caller_has_gone(error: Exception) -> None:
    async def send(message: Any) -> None:
        raise error

    reply = Reply(http_scope(), send, "r")
    with pytest.raises(CallerGone):
        await reply.json(200, b"{}")
    assert reply.status is None
