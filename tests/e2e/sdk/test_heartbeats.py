"""Streams with comments before and between their events: the SDK's users have the text, and nothing else."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import anyio
import pytest

from ogw_asgi import Gateway, OpenAI, OpenAICompatible, Timeouts
from ogw_asgi.testing import (
    SSE_DONE,
    Hang,
    RawScript,
    RawUpstream,
    Wait,
    chunked,
    completion_chunk,
    http_head,
    serve,
    sse_event,
)
from ogw_asgi.testing._signals import Bell

from ..served import Endings, Served
from .clients import Make, listen, sdk

pytestmark = pytest.mark.anyio

HEAD = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
BEAT = b": keep-alive\n\n"
OFTEN = Timeouts(heartbeat_s=0.01)


class Beats:
    """Counts the comments that an app hands to its server."""

    def __init__(self) -> None:
        self.app: Any = None
        self.count = 0
        self._bell = Bell()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def tell(message: MutableMapping[str, Any]) -> None:
            await send(message)
            if message.get("body") == BEAT:
                self.count += 1
                self._bell.ring()

        await self.app(scope, receive, tell)

    async def reach(self, count: int) -> None:
        await self._bell.wait_until(lambda: self.count >= count)


class Reached:
    """What a provider waits for: so many comments more than there were."""

    def __init__(self, beats: Beats, more: int = 2) -> None:
        self._beats = beats
        self._more = more

    async def wait(self) -> None:
        await self._beats.reach(self._beats.count + self._more)


def text(part: str) -> bytes:
    return chunked(sse_event(completion_chunk({"content": part})))


@pytest.mark.contract("5.heartbeat.comments", "5.heartbeat.head", "5.heartbeat.whole-events")
@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_stream_with_comments_before_and_between_its_events_is_read_as_ever(make: Make, http: str) -> None:
    beats, endings = Beats(), Endings()
    silence = Wait(Reached(beats))
    finish = sse_event(completion_chunk({}, finish_reason="stop"))
    script: RawScript = [
        silence,
        HEAD,
        silence,
        text("Grüße, "),
        silence,
        text("世界"),
        silence,
        chunked(finish + SSE_DONE, last=True),
    ]
    with anyio.fail_after(10):
        async with RawUpstream(script) as provider:
            one = OpenAI(base_url=f"{provider.url}/v1", api_key="sk-c4n4ry-test")
            gateway = beats.app = Gateway(providers=[one], timeouts=OFTEN, sinks=[endings])
            async with serve(beats, http=http) as url:
                served = Served(url, gateway, [], endings, {})
                async with sdk(make, served) as client:
                    heard = await listen(client)
                assert await endings.wait_for(1) == ["ok"]
    assert heard.failure is None
    assert heard.text == "Grüße, 世界"
    assert [choice.finish_reason for chunk in heard.chunks for choice in chunk.choices] == [None, None, "stop"]
    assert beats.count >= 8


@pytest.mark.contract("5.heartbeat.failure")
async def test_a_total_failure_behind_comments_is_an_api_error(make: Make) -> None:
    beats, endings = Beats(), Endings()
    timeouts = Timeouts(heartbeat_s=0.01, total_s=0.1)
    with anyio.fail_after(10):
        async with RawUpstream([Hang()]) as silent:
            providers = [OpenAICompatible(name, base_url=f"{silent.url}/v1") for name in ("one", "two")]
            gateway = beats.app = Gateway(providers=providers, timeouts=timeouts, sinks=[endings])
            async with serve(beats) as url:
                async with sdk(make, Served(url, gateway, [], endings, {}), max_retries=2) as client:
                    heard = await listen(client)
                assert await endings.wait_for(1) == ["failed"]
    assert heard.chunks == []
    failure = heard.failure
    assert failure is not None
    assert (failure.type, failure.code, failure.param) == ("upstream_error", "stream_interrupted", None)
    assert beats.count > 0
    assert len(endings.seen) == 1, "what has begun is not asked for again"
