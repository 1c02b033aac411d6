"""Answers as ASGI messages: what stands in their heads, and what a refusal says."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from ogw_asgi import RequestRejected
from ogw_asgi._asgi.send import CallerGone, Reply, trail_headers
from ogw_asgi._values import AttemptRecord
from tests.asgi.hosts import http_scope
from tests.contract.checks import mock_clock

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
    server.reply.begin_stream(201, [(b"x-a", b"1")])
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


# --- the heartbeat ----------------------------------------------------------------------------------------------------

BEAT = b": keep-alive\n\n"
on_the_mock_clock = pytest.mark.parametrize("anyio_backend", [mock_clock()], ids=["mock clock"])


class Slow(Server):
    """Takes `seconds` for each message; `log` has when each was handed over, and when it was taken."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._busy = False
        self._started_s = anyio.current_time()
        self.log: list[tuple[float, bytes]] = []

    async def send(self, message: Any) -> None:
        assert not self._busy, "two messages at once"
        self._busy = True
        self.log.append((anyio.current_time() - self._started_s, message.get("body", b"head")))
        await anyio.sleep(self._seconds)
        self._busy = False
        await super().send(message)


@pytest.mark.contract("5.heartbeat.head")
async def test_a_head_that_a_heartbeat_has_begun_to_send_is_the_only_one() -> None:
    entered, free = anyio.Event(), anyio.Event()
    server = Server()
    take = server.send

    async def send(message: Any) -> None:
        entered.set()
        await free.wait()
        await take(message)

    reply = Reply(http_scope(), send, "request-1")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(reply.keep_alive, 201, 0.001)
            await entered.wait()
            assert reply.begun
            reply.begin_stream(201, [(b"x-opengateway-provider", b"openai")])
            group.start_soon(reply.last_part, b"data: 1\n\n")
            await anyio.wait_all_tasks_blocked()
            free.set()
    assert [message["type"] for message in server.sent].count("http.response.start") == 1
    assert b"x-opengateway-provider" not in server.headers
    assert server.body.startswith(BEAT)
    assert server.body.endswith(b"data: 1\n\n")


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.comments", "5.heartbeat.whole-events")
async def test_what_a_caller_takes_slowly_is_not_interrupted_and_no_silence() -> None:
    server = Slow(10.0)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(server.reply.keep_alive, 201, 3.0)
            await anyio.wait_all_tasks_blocked()
            server.reply.begin_stream(201, ())
            await server.reply.part(b"data: 1\n\n")
            await anyio.sleep(4.0)
            await server.reply.end_stream()
    assert server.log == [(0.0, b"head"), (10.0, b"data: 1\n\n"), (23.0, BEAT), (33.0, b"")]


@on_the_mock_clock
@pytest.mark.contract("5.heartbeat.end")
@pytest.mark.parametrize("last", ["the end of a stream", "the event of a break", "a refusal", "an empty answer"])
async def test_behind_the_last_message_there_is_no_heartbeat(last: str) -> None:
    server = Slow(5.0)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(server.reply.keep_alive, 201, 3.0)
            await anyio.sleep(1.0)
            match last:
                case "the end of a stream":
                    server.reply.begin_stream(201, ())
                    await server.reply.end_stream()
                case "the event of a break":
                    server.reply.begin_stream(201, ())
                    await server.reply.last_part(b"data: broken\n\n")
                case "a refusal":
                    await server.reply.refuse(RequestRejected(502, "all failed"))
                case "an empty answer":
                    await server.reply.empty(204, ())
            await anyio.sleep(10.0)
    assert BEAT not in server.body
    assert len(server.sent) == 2


async def test_a_heartbeat_that_nobody_takes_ends_without_an_error() -> None:
    async def send(message: Any) -> None:
        raise OSError("gone")

    with anyio.fail_after(5):
        await Reply(http_scope(), send, "request-1").keep_alive(201, 0.001)
