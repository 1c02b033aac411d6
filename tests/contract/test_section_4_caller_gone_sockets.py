"""The caller's leaving as a server tells it: FIN, RST and half-closing, and between one attempt and the next."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi import Gateway, Limits, OpenAI, OpenAICompatible, Timeouts
from ogw_asgi.telemetry import AttemptEnded, Event, RequestEnded
from ogw_asgi.testing import Hang, RawScript, RawUpstream, Reset, SharedEvent, Wait, chunked, http_response, serve

from .streams import CHUNKED_HEAD, PRIOR, delta

pytestmark = pytest.mark.anyio

GOOD = http_response(
    200,
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}]}',
    {"content-type": "application/json"},
)
ONE_AT_A_TIME = {"limits": Limits(concurrency=1), "timeouts": Timeouts(slot_wait_s=0.05)}


class Seen:
    """Observes from whatever thread the gateway runs in."""

    def __init__(self) -> None:
        self.attempt_ended = SharedEvent()
        self.request_ended = SharedEvent()
        self.outcomes: list[str] = []

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, AttemptEnded):
            self.attempt_ended.set()
        if isinstance(event, RequestEnded):
            self.outcomes.append(event.outcome)
            self.request_ended.set()


def request(*, stream: bool, sequence: str = '["openai","other"]') -> bytes:
    body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    return (
        b"POST /chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        b"x-opengateway-failover-sequence: %s\r\ncontent-length: %d\r\n\r\n%s" % (sequence.encode(), len(body), body)
    )


class Caller:
    """A bare socket, so that it can leave in every way."""

    def __init__(self, url: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        self._socket.setblocking(False)

    def send(self, data: bytes) -> None:
        assert self._socket.send(data) == len(data)

    async def read_until(self, end: bytes) -> bytes:
        data = b""
        while end not in data:
            await anyio.wait_readable(self._socket)
            part = self._socket.recv(65536)
            assert part, data
            data += part
        return data

    def leave(self, how: str) -> None:
        if how == "half-close":
            self._socket.shutdown(socket.SHUT_WR)
            return
        if how == "rst":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def served(first: RawUpstream, second: RawUpstream, seen: Seen, **settings: Any) -> AsyncIterator[str]:
    providers = [
        OpenAI(api_key="sk-c4n4ry-test", base_url=f"{first.url}/v1"),
        OpenAICompatible("other", base_url=f"{second.url}/v1"),
    ]
    async with serve(
        Gateway(providers=providers, failover_sequence=["openai", "other"], sinks=[seen], **settings)
    ) as url:
        yield url


POINTS: dict[str, tuple[RawScript, bool]] = {
    "before the head": ([Hang()], False),
    "before the first chunk": ([CHUNKED_HEAD, chunked(b": ping\n\n"), Hang()], True),
    "in mid-stream": ([CHUNKED_HEAD, chunked(PRIOR), Hang()], True),
}


@pytest.mark.contract("4.caller-gone.receive")
@pytest.mark.parametrize("how", ["fin", "rst", "half-close"])
@pytest.mark.parametrize(("script", "stream"), POINTS.values(), ids=POINTS)
async def test_a_caller_who_closes_the_connection_ends_the_attempt_and_gives_its_slot_back(
    script: RawScript, stream: bool, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    with anyio.fail_after(5):
        async with RawUpstream(script, [GOOD]) as first, RawUpstream([GOOD]) as second:
            async with served(first, second, seen, **ONE_AT_A_TIME) as url:
                caller = Caller(url)
                caller.send(request(stream=stream))
                await first.wait_for_requests(1)
                if script[-2:-1] == [chunked(PRIOR)]:
                    await caller.read_until(b"rld")
                caller.leave(how)
                await first.peer_closed(1)
                await seen.request_ended.wait()
                caller.close()
                # With one place in all, only a slot that was given back lets the next one in.
                after = Caller(url)
                after.send(request(stream=False, sequence='["openai"]'))
                assert (await after.read_until(b"}]}")).startswith(b"HTTP/1.1 201 ")
                after.close()
            assert len(first.requests) == 2
            assert second.connections == 0
    assert seen.outcomes == ["left", "ok"]
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.contract("4.caller-gone.receive")
async def test_a_caller_who_leaves_unread_data_behind_frees_the_provider() -> None:
    seen, much = Seen(), chunked(delta("x" * 60_000))
    with anyio.fail_after(8):
        async with RawUpstream([CHUNKED_HEAD, *([much] * 400), Hang()]) as first, RawUpstream([GOOD]) as second:
            async with served(first, second, seen) as url:
                caller = Caller(url)
                caller.send(request(stream=True))
                await caller.read_until(b"xxx")
                caller.leave("fin")
                await first.peer_closed(1)
                await seen.request_ended.wait()
    assert seen.outcomes == ["left"]


# --- in-process, where the moment can be chosen exactly ---------------------------------------------------------------


def scope(sequence: bytes) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/chat/completions",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"x-opengateway-failover-sequence", sequence)],
    }


async def call(gateway: Gateway, sequence: bytes, leaves: Any, send: Any, *, stream: bool = False) -> None:
    """One request of a caller who is gone when `leaves` is set."""
    body = request(stream=stream).partition(b"\r\n\r\n")[2]
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await leaves.wait()
        return {"type": "http.disconnect"}

    await gateway(scope(sequence), receive, send)


async def nobody_is_told(message: Any) -> None:
    raise AssertionError(f"sent to a caller who had left: {message}")


@pytest.mark.contract("4.caller-gone.receive")
async def test_a_caller_who_leaves_during_the_second_attempt_is_spared_the_third() -> None:
    seen, leaves = Seen(), anyio.Event()
    tasks = {task.id for task in anyio.get_running_tasks()}
    with anyio.fail_after(5):
        async with RawUpstream([Reset()]) as first, RawUpstream([Hang()], [GOOD]) as second:
            providers = [
                OpenAI(api_key="sk-c4n4ry-test", base_url=f"{first.url}/v1"),
                OpenAICompatible("other", base_url=f"{second.url}/v1"),
            ]
            async with Gateway(providers=providers, sinks=[seen]) as gateway:
                async with anyio.create_task_group() as group:
                    group.start_soon(call, gateway, b'["openai","other","openai","other"]', leaves, nobody_is_told)
                    await second.wait_for_requests(1)
                    leaves.set()
                await second.peer_closed(1)
            assert (len(first.requests), len(second.requests)) == (1, 1)
        while {task.id for task in anyio.get_running_tasks()} - tasks:
            await anyio.lowlevel.checkpoint()
    assert seen.outcomes == ["left"]


@pytest.mark.contract("4.caller-gone.receive")
async def test_a_caller_who_leaves_when_the_wait_for_a_repeat_has_begun_is_not_waited_for() -> None:
    limited = http_response(429, b"{}", {"retry-after": "4", "content-type": "application/json"})
    seen = Seen()
    with anyio.fail_after(3):
        async with RawUpstream([limited], [GOOD]) as upstream:
            providers = [OpenAI(api_key="sk-c4n4ry-test", base_url=f"{upstream.url}/v1")]
            async with Gateway(providers=providers, sinks=[seen]) as gateway:
                await call(gateway, b'["openai","openai"]', seen.attempt_ended, nobody_is_told)
            assert len(upstream.requests) == 1
    assert seen.outcomes == ["left"]


@pytest.mark.contract("4.caller-gone.send")
@pytest.mark.parametrize("failure", [OSError("gone"), RuntimeError("closed"), Exception("anything")])
@pytest.mark.parametrize("at", [0, 1, 2], ids=["the head", "the first part", "a later part"])
async def test_whatever_send_raises_wherever_it_does_closes_the_provider_and_escapes_nobody(
    failure: Exception, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    seen, begun = Seen(), SharedEvent()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > at:
            raise failure
        if message["type"] == "http.response.body":
            begun.set()

    script: RawScript = [CHUNKED_HEAD, chunked(PRIOR), Wait(begun), chunked(delta("!")), Hang()]
    with anyio.fail_after(5):
        async with RawUpstream(script) as first, RawUpstream([GOOD]) as second:
            providers = [
                OpenAI(api_key="sk-c4n4ry-test", base_url=f"{first.url}/v1"),
                OpenAICompatible("other", base_url=f"{second.url}/v1"),
            ]
            async with Gateway(providers=providers, failover_sequence=["openai", "other"], sinks=[seen]) as gateway:
                await call(gateway, b'["openai","other"]', anyio.Event(), send, stream=True)
                await first.peer_closed(1)
            assert second.connections == 0
    assert len(sent) == at + 1
    assert seen.outcomes == ["left"]
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.contract("4.caller-gone.receive")
async def test_a_caller_who_stopped_reading_and_then_leaves_is_not_waited_for() -> None:
    seen, leaves = Seen(), anyio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            leaves.set()
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR), Hang()]) as upstream:
            providers = [OpenAI(api_key="sk-c4n4ry-test", base_url=f"{upstream.url}/v1")]
            async with Gateway(providers=providers, sinks=[seen]) as gateway:
                await call(gateway, b'["openai"]', leaves, send, stream=True)
                await upstream.peer_closed(1)
    assert seen.outcomes == ["left"]
