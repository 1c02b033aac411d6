"""A caller who does not read holds a provider's connection and a slot for as long as a stream may last, no longer."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import anyio
import pytest

from ogw_asgi import Timeouts
from ogw_asgi.testing import Hang, RawUpstream, chunked, completion_chunk, http_head, sse_event
from tests.contract.harness import gateway_of

pytestmark = pytest.mark.anyio

HEAD = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
HELLO = sse_event(completion_chunk({"content": "Hello"}))
BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'


@pytest.mark.contract("8.upstream-stream-time")
async def test_a_caller_who_stopped_reading_lets_the_provider_go_when_the_stream_has_lasted_its_time() -> None:
    requests = [{"type": "http.request", "body": BODY, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if requests:
            return requests.pop()
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/chat/completions",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    async with RawUpstream([HEAD, chunked(HELLO), Hang()]) as one:
        async with (
            gateway_of(one=one, timeouts=Timeouts(stream_max_s=0.1)) as world,
            anyio.create_task_group() as group,
        ):
            group.start_soon(world.gateway, scope, receive, send)
            await one.peer_closed()
            group.cancel_scope.cancel()
    assert len(one.requests) == 1
