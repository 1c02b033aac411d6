"""The caller leaves, at every point where the gateway waits: the provider's connection is closed at once."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import anyio
import pytest

from ogw_asgi import Gateway, OpenAI, OpenAICompatible
from ogw_asgi.telemetry import Event, RequestEnded
from ogw_asgi.testing import Hang, OnHead, RawScript, RawUpstream, chunked, http_head, http_response

from .streams import CHUNKED_HEAD, PRIOR

pytestmark = pytest.mark.anyio

PLAIN_HEAD = http_head(200, {"content-type": "application/json", "content-length": "99"})
LIMITED = http_response(429, b"{}", {"retry-after": "4", "content-type": "application/json"})


class Caller:
    """An ASGI caller that sends its request, and is gone when `leave` is set. Never reads more than it is given."""

    def __init__(self, *, stream: bool) -> None:
        flag = b"true" if stream else b"false"
        self._body = b'{"model":"m","stream":%s,"messages":[{"role":"user","content":"Hi"}]}' % flag
        self._asked = False
        self.leave = anyio.Event()
        self.got_body = anyio.Event()
        self.sent: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.got_body.set()


class Ends:
    def __init__(self) -> None:
        self.seen: list[RequestEnded] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, RequestEnded):
            self.seen.append(event)


def scope(sequence: bytes) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json"), (b"x-opengateway-failover-sequence", sequence)]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/chat/completions",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
    }


POINTS: dict[str, tuple[RawScript, bool]] = {
    "while the request goes out": ([OnHead(), Hang()], False),
    "before the head": ([Hang()], False),
    "before the head of a stream": ([Hang()], True),
    "in a plain body": ([PLAIN_HEAD, b'{"half":', Hang()], False),
    "before the first chunk": ([CHUNKED_HEAD, chunked(b": ping\n\n"), Hang()], True),
    "in an error's body": ([http_head(500, {"content-length": "9"}), b"{", Hang()], False),
}


@pytest.mark.contract("4.caller-gone.receive")
@pytest.mark.parametrize(("script", "stream"), POINTS.values(), ids=POINTS)
async def test_the_attempt_ends_and_nobody_else_is_asked(
    script: RawScript, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ends, caller = Ends(), Caller(stream=stream)
    with anyio.fail_after(5):
        async with RawUpstream(script) as first, RawUpstream([LIMITED]) as second:
            providers = [
                OpenAI(api_key="sk-c4n4ry-test", base_url=f"{first.url}/v1"),
                OpenAICompatible("other", base_url=f"{second.url}/v1"),
            ]
            async with Gateway(providers=providers, failover_sequence=["openai", "other"], sinks=[ends]) as gateway:
                async with anyio.create_task_group() as group:
                    group.start_soon(gateway, scope(b'["openai","other"]'), caller.receive, caller.send)
                    await (
                        first.wait_for_connections(1) if isinstance(script[0], OnHead) else first.wait_for_requests(1)
                    )
                    caller.leave.set()
                await first.peer_closed(1)
                assert in_flight(gateway) == 0
            assert second.connections == 0
    assert caller.sent == []
    assert [(end.outcome, end.status, end.provider) for end in ends.seen] == [("left", None, None)]
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.contract("4.caller-gone.receive")
async def test_in_the_middle_of_a_stream_the_provider_is_closed() -> None:
    ends, caller = Ends(), Caller(stream=True)
    with anyio.fail_after(5):
        async with RawUpstream([CHUNKED_HEAD, chunked(PRIOR), Hang()]) as upstream:
            providers = [OpenAI(api_key="sk-c4n4ry-test", base_url=f"{upstream.url}/v1")]
            async with Gateway(providers=providers, sinks=[ends]) as gateway:
                async with anyio.create_task_group() as group:
                    group.start_soon(gateway, scope(b'["openai"]'), caller.receive, caller.send)
                    await caller.got_body.wait()
                    caller.leave.set()
                await upstream.peer_closed(1)
                assert in_flight(gateway) == 0
    assert [end.outcome for end in ends.seen] == ["left"]
    assert caller.sent[-1].get("more_body") is True


@pytest.mark.contract("4.caller-gone.send")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_send_that_fails_is_the_callers_leaving(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    ends, caller = Ends(), Caller(stream=stream)
    script: RawScript = [CHUNKED_HEAD, chunked(PRIOR), Hang()]
    if not stream:
        body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
        script = [http_response(200, body, {"content-type": "application/json"})]

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            raise RuntimeError("the transport is closed")

    with anyio.fail_after(5):
        async with RawUpstream(script) as upstream:
            providers = [OpenAI(api_key="sk-c4n4ry-test", base_url=f"{upstream.url}/v1")]
            async with Gateway(providers=providers, sinks=[ends]) as gateway:
                await gateway(scope(b'["openai"]'), caller.receive, send)
                if stream:
                    await upstream.peer_closed(1)
                assert in_flight(gateway) == 0
    assert [end.outcome for end in ends.seen] == ["left"]
    assert not [record for record in caplog.records if record.exc_info]


def in_flight(gateway: Gateway) -> int:
    assert gateway._opened is not None
    return gateway._opened.dispatcher.slots.in_flight()
