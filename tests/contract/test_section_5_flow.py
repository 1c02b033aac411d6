"""However a provider cuts its bytes the caller gets the same ones, and never more are read than the caller takes."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ogw_asgi import OpenAI
from ogw_asgi.testing import SSE_DONE, ScriptedUpstream, asgi_client, completion_chunk, raw, sse_event, tokens

from .harness import gateway_of
from .streams import PRIOR, SSE, delta, finish, read_stream

pytestmark = pytest.mark.anyio

ROLE = sse_event(completion_chunk({"role": "assistant", "content": ""}))
USAGE = sse_event({**completion_chunk({}), "choices": [], "usage": tokens(3, 2)})
RECORDED = b"".join(
    [
        b"\xef\xbb\xbf: connected\n\n",
        ROLE.replace(b"\n\n", b"\r\n\r\n"),
        PRIOR,
        b": ping\r\n\r\n",
        b"id: 3\nevent: message\n" + delta("h\u00e4 \U0001f30d \u9519"),
        b'data:{"choices":\r\ndata: [{"index":0,"delta":{"content":"two lines"}}]}\r\r\n',
        b"data:\n\n",
        b'data: {"error" : null, "choices":[{"index":0,"delta":{"content":"\\"error\\""}}]}\n\n',
        finish(),
        USAGE,
        SSE_DONE,
    ]
)
EXPECTED = b"".join(
    [
        b": connected\n\n",
        ROLE,
        PRIOR,
        b": ping\n\n",
        delta("h\u00e4 \U0001f30d \u9519"),
        b'data: {"choices": [{"index":0,"delta":{"content":"two lines"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\\"error\\""}}]}\n\n',
        finish(),
        USAGE,
        SSE_DONE,
    ]
)


async def assert_relayed(chunks: list[Any]) -> None:
    async with gateway_of(openai=ScriptedUpstream(raw(200, SSE, chunks))) as world:
        got = await read_stream(world)
    assert got.body == EXPECTED
    assert got.ended


@pytest.mark.contract("5.frame.payload", "5.frame.normalised")
@given(cuts=st.sets(st.integers(1, len(RECORDED) - 1), max_size=60))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_chunking_of_a_stream_gives_the_caller_the_same_bytes(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(RECORDED)]
    await assert_relayed([RECORDED[start:end] for start, end in zip(edges, edges[1:], strict=False)])


@pytest.mark.contract("5.frame.payload", "5.frame.normalised")
@pytest.mark.parametrize("size", [1, 2, 3, len(RECORDED)])
async def test_segments_of_one_size_give_the_caller_the_same_bytes(size: int) -> None:
    await assert_relayed([RECORDED[at : at + size] for at in range(0, len(RECORDED), size)])


@pytest.mark.contract("5.frame.payload")
async def test_a_caller_who_does_not_read_slows_the_provider_down() -> None:
    produced: list[int] = []
    event = delta("x" * 1000)

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(500):
            await send({"type": "http.response.body", "body": event, "more_body": True})
            produced.append(number)
        await send({"type": "http.response.body", "body": finish() + SSE_DONE})

    with anyio.fail_after(5):
        async with asgi_client(endless, base_url="http://openai.test") as client:
            async with gateway_of(given=OpenAI(api_key="sk-c4n4ry-test", client=client)) as world:
                async with world.stream() as response:
                    parts = response.aiter_raw()
                    received = len(await anext(parts))
                    await anyio.wait_all_tasks_blocked()
                    assert len(produced) * len(event) - received < 64 << 10
                    whole = received + sum([len(part) async for part in parts])
    assert len(produced) == 500
    assert whole == 500 * len(event) + len(finish() + SSE_DONE)
